#include "config.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "arena.h"
#include "files.h"
#include "kubeconfig.h"

#define SERVICE_ACCOUNT_DIR "/var/run/secrets/kubernetes.io/serviceaccount"
#define NAMESPACE_MAX       1024
#define LOOK_MS             1000

/* How a configuration was found, so that it can be read again. */
struct config_files {
    char *kubeconfig, *context; /* as asked for; NULL: not given */
    struct config_file {
        char *path;
        struct stat seen; /* when it was read */
    } * items;
    size_t count;
    uint64_t looked_at; /* ms */
};

static const char *environment(const char *name)
{
    const char *value = getenv(name);
    return value && *value ? value : NULL;
}

static void text_wipe(char *text)
{
    if (text)
        explicit_bzero(text, strlen(text));
    free(text);
}

/* ---- In a Pod ---------------------------------------------------------------------------------------------------- */

static bool in_pod(void)
{
    return environment("KUBERNETES_SERVICE_HOST") && environment("KUBERNETES_SERVICE_PORT");
}

static char *service_account_path(const char *file)
{
    const char *folder = environment("KUBERNETES_SERVICE_ACCOUNT_DIR");
    char *path;
    if (asprintf(&path, "%s/%s", folder ? folder : SERVICE_ACCOUNT_DIR, file) < 0)
        abort();
    return path;
}

static char *service_account_namespace(void)
{
    size_t size;
    char *path = service_account_path("namespace"), *text = file_text(path, NAMESPACE_MAX, &size);
    free(path);
    if (text)
        text[strcspn(text, " \t\r\n")] = '\0';
    return text;
}

static void pod_read(struct kube_config *config)
{
    const char *host = environment("KUBERNETES_SERVICE_HOST"), *port = environment("KUBERNETES_SERVICE_PORT");
    bool ipv6 = strchr(host, ':') != NULL;
    if (asprintf(&config->server, "https://%s%s%s:%s", ipv6 ? "[" : "", host, ipv6 ? "]" : "", port) < 0)
        abort();
    config->token_file = service_account_path("token");
    config->ca_file = service_account_path("ca.crt");
    config->namespace_ = service_account_namespace();
    config->source = mem_strdup("the service account of this Pod");
}

/* ---- kubeconfig files -------------------------------------------------------------------------------------------- */

struct paths {
    char **items;
    size_t count;
};

static void paths_add(struct paths *paths, const char *path, size_t length)
{
    paths->items = mem_realloc(paths->items, (paths->count + 1) * sizeof *paths->items);
    paths->items[paths->count] = mem_zalloc(length + 1);
    memcpy(paths->items[paths->count++], path, length);
}

static void paths_done(struct paths *paths)
{
    for (size_t i = 0; i < paths->count; i++)
        free(paths->items[i]);
    free(paths->items);
}

/* Of $KUBECONFIG: as with kubectl, files that are not there are passed over, unless none is. */
static int paths_split(struct paths *paths, const char *list, struct ipam_error *reterr)
{
    for (const char *at = list; *at;) {
        size_t length = strcspn(at, ":");
        if (length > 0)
            paths_add(paths, at, length);
        if (length > 0 && access(paths->items[paths->count - 1], F_OK) < 0 && errno == ENOENT)
            free(paths->items[--paths->count]);
        at += length + (at[length] == ':');
    }
    if (paths->count > 0)
        return 0;
    return ipam_error_set(reterr, IPAM_REASON_INVALID_CONFIG,
                          "$KUBECONFIG is %s: no such file; name one that there is, or unset it", list);
}

static int paths_find(const struct kube_config_options *options, struct paths *paths, struct ipam_error *reterr)
{
    const char *list = environment("KUBECONFIG"), *home = environment("HOME");
    char *path = NULL;
    if (options->kubeconfig) {
        paths_add(paths, options->kubeconfig, strlen(options->kubeconfig));
        return 0;
    }
    if (list)
        return paths_split(paths, list, reterr);
    if (home && asprintf(&path, "%s/.kube/config", home) < 0)
        abort();
    if (path && access(path, F_OK) == 0)
        paths_add(paths, path, strlen(path));
    free(path);
    if (paths->count > 0)
        return 0;
    return ipam_error_set(
        reterr, IPAM_REASON_INVALID_CONFIG,
        "no API server is configured: give --kubeconfig FILE or set $KUBECONFIG; this is not a Pod, and "
        "there is no ~/.kube/config%s",
        home ? "" : " ($HOME is not set)");
}

static struct stat file_state(const char *path)
{
    struct stat st = {0};
    if (stat(path, &st) < 0)
        return (struct stat){0};
    return st;
}

/* Before they are read: what is written meanwhile counts as new. */
static struct config_files *files_new(const struct kube_config_options *options, const struct paths *paths)
{
    struct config_files *files = mem_zalloc(sizeof *files);
    files->kubeconfig = options->kubeconfig ? mem_strdup(options->kubeconfig) : NULL;
    files->context = options->context ? mem_strdup(options->context) : NULL;
    files->items = mem_zalloc(paths->count * sizeof *files->items);
    files->count = paths->count;
    for (size_t i = 0; i < paths->count; i++)
        files->items[i] = (struct config_file){mem_strdup(paths->items[i]), file_state(paths->items[i])};
    return files;
}

static void files_free(struct config_files *files)
{
    if (!files)
        return;
    for (size_t i = 0; i < files->count; i++)
        free(files->items[i].path);
    free(files->items);
    free(files->kubeconfig);
    free(files->context);
    free(files);
}

static int files_read(const struct kube_config_options *options, struct kube_config *config, struct ipam_error *reterr)
{
    struct paths paths = {0};
    int status = paths_find(options, &paths, reterr);
    if (status == 0)
        config->files = files_new(options, &paths);
    if (status == 0)
        status = kubeconfig_read(paths.items, paths.count, options->context, config, reterr);
    paths_done(&paths);
    return status;
}

/* ---- Does it make sense ------------------------------------------------------------------------------------------ */

static int wrong(const struct kube_config *config, struct ipam_error *reterr, const char *what)
{
    return ipam_error_set(reterr, IPAM_REASON_INVALID_CONFIG, "%s: %s", config->source, what);
}

static int server_check(struct kube_config *config, struct ipam_error *reterr)
{
    if (!config->server)
        return wrong(config, reterr, "the cluster has no server: write server: https://HOST:PORT");
    const char *host = strncmp(config->server, "https://", 8) == 0  ? config->server + 8
                       : strncmp(config->server, "http://", 7) == 0 ? config->server + 7
                                                                    : "";
    if (strcspn(host, "/?#@ \t\r\n") == 0 || host[strcspn(host, "?#@ \t\r\n")])
        return ipam_error_set(reterr, IPAM_REASON_INVALID_CONFIG,
                              "%s: server %s can't be used: write https://HOST:PORT, or http:// where there is no TLS",
                              config->source, config->server);
    for (size_t end = strlen(config->server); config->server[end - 1] == '/'; end--)
        config->server[end - 1] = '\0';
    return 0;
}

static int credentials_check(const struct kube_config *config, struct ipam_error *reterr)
{
    if ((config->ca_file || config->ca_data) && config->insecure_skip_tls_verify)
        return wrong(config, reterr,
                     "certificate-authority and insecure-skip-tls-verify exclude each other: keep one of them");
    bool certificate = config->client_certificate_file || config->client_certificate_data;
    bool key = config->client_key_file || config->client_key_data;
    if (certificate != key)
        return wrong(config, reterr,
                     certificate ? "client-certificate needs its client-key"
                                 : "client-key needs its client-certificate");
    return 0;
}

static int file_check(const struct kube_config *config, const char *what, const char *path, struct ipam_error *reterr)
{
    if (!path || access(path, R_OK) == 0)
        return 0;
    return ipam_error_set(reterr, IPAM_REASON_INVALID_CONFIG, "%s: %s %s can't be read: %s", config->source, what, path,
                          strerrordesc_np(errno));
}

/* Data counts before the file of the same thing; a token in a file before one in the configuration, as it is the newer one. */
static void precedence(struct kube_config *config)
{
    struct {
        char **loser;
        const char *winner;
    } pairs[] = {
        {&config->ca_file, config->ca_data},
        {&config->client_certificate_file, config->client_certificate_data},
        {&config->client_key_file, config->client_key_data},
        {&config->token, config->token_file},
    };
    for (size_t i = 0; i < sizeof pairs / sizeof *pairs; i++) {
        if (!pairs[i].winner)
            continue;
        text_wipe(*pairs[i].loser);
        *pairs[i].loser = NULL;
    }
}

static int config_check(struct kube_config *config, struct ipam_error *reterr)
{
    precedence(config);
    if (!config->namespace_ || !*config->namespace_) {
        free(config->namespace_);
        config->namespace_ = mem_strdup("default");
    }
    if (server_check(config, reterr) < 0 || credentials_check(config, reterr) < 0 ||
        file_check(config, "certificate-authority", config->ca_file, reterr) < 0 ||
        file_check(config, "tokenFile", config->token_file, reterr) < 0 ||
        file_check(config, "client-certificate", config->client_certificate_file, reterr) < 0 ||
        file_check(config, "client-key", config->client_key_file, reterr) < 0)
        return -1;
    return 0;
}

/* ---- All of it --------------------------------------------------------------------------------------------------- */

int kube_config_load(const struct kube_config_options *options, struct kube_config **ret, struct ipam_error *reterr)
{
    struct kube_config *config = mem_zalloc(sizeof *config);
    int status = 0;
    if (!options->kubeconfig && !options->context && !environment("KUBECONFIG") && in_pod())
        pod_read(config);
    else
        status = files_read(options, config, reterr);
    if (status == 0)
        status = config_check(config, reterr);
    if (status == 0)
        *ret = config;
    else
        kube_config_free(config);
    return status;
}

struct kube_config *kube_config_free(struct kube_config *config)
{
    if (!config)
        return NULL;
    char *texts[] = {
        config->server,
        config->ca_file,
        config->ca_data,
        config->tls_server_name,
        config->token,
        config->token_file,
        config->client_certificate_file,
        config->client_certificate_data,
        config->client_key_file,
        config->client_key_data,
        config->username,
        config->password,
        config->proxy_url,
        config->namespace_,
        config->source,
    };
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++)
        text_wipe(texts[i]);
    files_free(config->files);
    free(config);
    return NULL;
}

/* ---- After a change ---------------------------------------------------------------------------------------------- */

/* A file that is away for a moment is about to be written. */
static bool files_changed(const struct config_files *files)
{
    for (size_t i = 0; i < files->count; i++) {
        struct stat now = file_state(files->items[i].path);
        if (now.st_ino != 0 && !file_is_same(&now, &files->items[i].seen))
            return true;
    }
    return false;
}

int kube_config_refresh(struct kube_config *config, uint64_t now_ms, struct ipam_error *reterr)
{
    struct config_files *files = config->files;
    struct kube_config *fresh, old = *config;
    if (!files || (files->looked_at && now_ms - files->looked_at < LOOK_MS))
        return 0;
    files->looked_at = now_ms;
    if (!files_changed(files))
        return 0;
    struct kube_config_options options = {files->kubeconfig, files->context};
    if (kube_config_load(&options, &fresh, reterr) < 0)
        return -1;
    fresh->version = old.version + 1;
    fresh->files->looked_at = now_ms;
    *config = *fresh;
    *fresh = old;
    kube_config_free(fresh);
    return 1;
}

/* ---- What is dangerous ------------------------------------------------------------------------------------------- */

bool kube_config_is_loopback(const struct kube_config *config)
{
    char host[64];
    struct in_addr v4;
    struct in6_addr v6;
    const char *at = strstr(config->server, "://") + 3;
    bool is_bracketed = *at == '[';
    int length = (int)strcspn(at + is_bracketed, is_bracketed ? "]" : ":/");
    snprintf(host, sizeof host, "%.*s", length, at + is_bracketed);
    if (inet_pton(AF_INET, host, &v4) == 1)
        return ntohl(v4.s_addr) >> 24 == 127;
    if (inet_pton(AF_INET6, host, &v6) == 1)
        return IN6_IS_ADDR_LOOPBACK(&v6);
    return strcmp(host, "localhost") == 0;
}

static void open_to_all(const char *what, const char *path, void (*warn)(const char *text, void *user), void *user)
{
    char text[1024];
    struct stat st;
    if (!path || stat(path, &st) < 0 || !(st.st_mode & S_IROTH))
        return;
    snprintf(text, sizeof text, "%s %s can be read by every user of this machine: run chmod 600 %s", what, path, path);
    warn(text, user);
}

void kube_config_warn(const struct kube_config *config, void (*warn)(const char *text, void *user), void *user)
{
    char text[1024];
    bool has_secret = config->token || config->token_file || config->password;
    if (has_secret && strncmp(config->server, "http://", 7) == 0 && !kube_config_is_loopback(config)) {
        snprintf(
            text, sizeof text,
            "%s: the token or password goes to %s unencrypted, where everybody on the way can read it: write https://",
            config->source, config->server);
        warn(text, user);
    }
    if (config->insecure_skip_tls_verify) {
        snprintf(text, sizeof text,
                 "%s: insecure-skip-tls-verify is set, so anybody on the way can pose as the API server: give its "
                 "certificate-authority instead",
                 config->source);
        warn(text, user);
    }
    for (size_t i = 0; config->files && i < config->files->count; i++)
        open_to_all("kubeconfig", config->files->items[i].path, warn, user);
    open_to_all("client-key", config->client_key_file, warn, user);
}
