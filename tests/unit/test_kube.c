/* What daemon/kube decides by itself: configuration, paths, back-off, refusals, and the options that programs share. */
#include <malloc.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "client.h"
#include "config.h"
#include "program.h"
#include "response.h"

/* ---- Fixture: a folder for files, and a clean environment --------------------------------------------------------- */

struct fixture {
    char folder[64];
    struct kube_config *config;
    struct ipam_error error;
};

static int set_up(void **state)
{
    static struct fixture fixture;
    static const char *const variables[] = {"KUBECONFIG", "KUBERNETES_SERVICE_HOST", "KUBERNETES_SERVICE_PORT",
                                            "KUBERNETES_SERVICE_ACCOUNT_DIR"};
    fixture = (struct fixture){.folder = "/tmp/test_kube.XXXXXX"};
    for (size_t i = 0; i < sizeof variables / sizeof *variables; i++)
        unsetenv(variables[i]);
    *state = &fixture;
    return mkdtemp(fixture.folder) && setenv("HOME", fixture.folder, 1) == 0 && chdir(fixture.folder) == 0 ? 0 : -1;
}

static int tear_down(void **state)
{
    struct fixture *fixture = *state;
    char command[128];
    kube_config_free(fixture->config);
    snprintf(command, sizeof command, "rm -rf %s", fixture->folder);
    return system(command);
}

/* ---- Helpers ----------------------------------------------------------------------------------------------------- */

#define PEM_DATA "LS0tLS1CRUdJTiBDRVJUSUZJQ0FURS0tLS0tCg==" /* -----BEGIN CERTIFICATE----- */

static void write_file(const char *path, const char *text)
{
    FILE *out = fopen(path, "w");
    assert_non_null(out);
    fputs(text, out);
    fclose(out);
}

/* A kubeconfig `name` with one context, "c", of that cluster and user. */
static void write_config(const char *name, const char *cluster, const char *user)
{
    FILE *out = fopen(name, "w");
    assert_non_null(out);
    fprintf(out,
            "kind: Config\ncurrent-context: c\n"
            "contexts:\n- {name: c, context: {cluster: k, user: u, namespace: n}}\n"
            "clusters:\n- {name: k, cluster: {%s}}\nusers:\n- {name: u, user: {%s}}\n",
            cluster, user);
    fclose(out);
}

static int load(struct fixture *fixture, const char *file, const char *context)
{
    struct kube_config_options options = {file, context};
    fixture->config = kube_config_free(fixture->config);
    return kube_config_load(&options, &fixture->config, &fixture->error);
}

static void assert_refused(struct fixture *fixture, const char *file, const char *context, const char *says)
{
    assert_int_equal(load(fixture, file, context), -1);
    assert_int_equal(fixture->error.reason, IPAM_REASON_INVALID_CONFIG);
    if (!strstr(fixture->error.message, says))
        fail_msg("\"%s\" does not say \"%s\"", fixture->error.message, says);
}

/* ---- Tests: what is read ----------------------------------------------------------------------------------------- */

static void a_context_gives_server_user_and_namespace(void **state)
{
    struct fixture *fixture = *state;
    write_config("config",
                 "server: 'https://h:6443/prefix/', certificate-authority-data: " PEM_DATA
                 ", tls-server-name: t, proxy-url: 'http://p:1'",
                 "token: secret, username: x, password: y");
    assert_int_equal(load(fixture, "config", NULL), 0);
    assert_string_equal(fixture->config->server, "https://h:6443/prefix");
    assert_string_equal(fixture->config->ca_data, "-----BEGIN CERTIFICATE-----\n");
    assert_string_equal(fixture->config->tls_server_name, "t");
    assert_string_equal(fixture->config->proxy_url, "http://p:1");
    assert_string_equal(fixture->config->token, "secret");
    assert_string_equal(fixture->config->username, "x");
    assert_string_equal(fixture->config->namespace_, "n");
    assert_string_equal(fixture->config->source, "context c of config");
}

static void paths_are_relative_to_the_file_that_they_stand_in(void **state)
{
    struct fixture *fixture = *state;
    char path[128];
    mkdir("sub", 0755);
    write_file("sub/token", "t\n");
    write_config("sub/config", "server: 'http://h'", "tokenFile: token");
    snprintf(path, sizeof path, "%s/sub/config", fixture->folder);
    assert_int_equal(load(fixture, path, NULL), 0);
    snprintf(path, sizeof path, "%s/sub/token", fixture->folder);
    assert_string_equal(fixture->config->token_file, path);
}

static void data_counts_before_a_file_and_a_token_file_before_a_token(void **state)
{
    struct fixture *fixture = *state;
    write_file("token", "t");
    write_config("config", "server: 'http://h', certificate-authority: /nowhere, certificate-authority-data: " PEM_DATA,
                 "token: old, tokenFile: token");
    assert_int_equal(load(fixture, "config", NULL), 0);
    assert_null(fixture->config->ca_file);
    assert_null(fixture->config->token);
    assert_non_null(fixture->config->token_file);
}

static void of_several_files_the_first_counts_and_missing_ones_are_passed_over(void **state)
{
    struct fixture *fixture = *state;
    write_config("first", "server: 'http://first'", "token: a");
    write_config("second", "server: 'http://second'", "token: b");
    setenv("KUBECONFIG", "nowhere::first:second", 1);
    assert_int_equal(load(fixture, NULL, NULL), 0);
    assert_string_equal(fixture->config->server, "http://first");
    write_file("first", "current-context: c\nusers: [{name: u, user: {token: c}}]\n");
    assert_int_equal(load(fixture, NULL, NULL), 0);
    assert_string_equal(fixture->config->server, "http://second");
    assert_string_equal(fixture->config->token, "c");
}

static void the_home_folder_is_the_last_place(void **state)
{
    struct fixture *fixture = *state;
    assert_refused(fixture, NULL, NULL, "give --kubeconfig FILE or set $KUBECONFIG");
    mkdir(".kube", 0755);
    write_config(".kube/config", "server: 'http://home'", "token: a");
    assert_int_equal(load(fixture, NULL, NULL), 0);
    assert_string_equal(fixture->config->server, "http://home");
}

static void a_pod_uses_its_service_account(void **state)
{
    struct fixture *fixture = *state;
    setenv("KUBERNETES_SERVICE_HOST", "fd00::1", 1);
    setenv("KUBERNETES_SERVICE_PORT", "443", 1);
    setenv("KUBERNETES_SERVICE_ACCOUNT_DIR", fixture->folder, 1);
    assert_refused(fixture, NULL, NULL, "can't be read: No such file");
    write_file("token", "t");
    write_file("ca.crt", "-----BEGIN");
    write_file("namespace", "ipam-system\n");
    assert_int_equal(load(fixture, NULL, NULL), 0);
    assert_string_equal(fixture->config->server, "https://[fd00::1]:443");
    assert_string_equal(fixture->config->namespace_, "ipam-system");
    assert_non_null(strstr(fixture->config->token_file, "/token"));
    write_config("config", "server: 'http://file'", "token: a");
    setenv("KUBECONFIG", "config", 1);
    assert_int_equal(load(fixture, NULL, NULL), 0);
    assert_string_equal(fixture->config->server, "http://file");
}

/* ---- Tests: what is refused -------------------------------------------------------------------------------------- */

static void every_wrong_field_is_named_with_what_to_write(void **state)
{
    struct fixture *fixture = *state;
    static const struct {
        const char *cluster, *user, *says;
    } cases[] = {
        {"", "token: a", "the cluster has no server: write server: https://HOST:PORT"},
        {"server: 'ftp://h'", "token: a", "server ftp://h can't be used: write https://"},
        {"server: 'https://'", "token: a", "can't be used"},
        {"server: 'https://u:p@h'", "token: a", "can't be used"},
        {"server: [a]", "token: a", "config:6: server is a list or a mapping: write a text"},
        {"server: 'http://h', certificate-authority-data: '%'", "token: a", "certificate-authority-data is not base64"},
        {"server: 'http://h', certificate-authority-data: aGVsbG8=", "token: a", "is not PEM in base64"},
        {"server: 'http://h', certificate-authority: nowhere", "token: a",
         "certificate-authority ./nowhere can't be read"},
        {"server: 'http://h', insecure-skip-tls-verify: maybe", "token: a", "write true or false"},
        {"server: 'http://h', insecure-skip-tls-verify: true, certificate-authority-data: " PEM_DATA, "token: a",
         "exclude each other"},
        {"server: 'http://h'", "exec: {command: aws}", "config:8: exec is not supported: use token, tokenFile or"},
        {"server: 'http://h'", "auth-provider: {name: gcp}", "auth-provider is not supported"},
        {"server: 'http://h'", "as: admin", "as is not supported"},
        {"server: 'http://h'", "tokenFile: nowhere", "tokenFile ./nowhere can't be read"},
        {"server: 'http://h'", "client-key-data: " PEM_DATA, "client-key needs its client-certificate"},
        {"server: 'http://h'", "client-certificate-data: " PEM_DATA, "client-certificate needs its client-key"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        write_config("config", cases[i].cluster, cases[i].user);
        assert_refused(fixture, "config", NULL, cases[i].says);
    }
}

static void every_wrong_file_is_told(void **state)
{
    struct fixture *fixture = *state;
    static const struct {
        const char *text, *context, *says;
    } cases[] = {
        {"- a\n", NULL, "config:1: this is no kubeconfig"},
        {"kind: Pod\n", NULL, "its kind is not Config"},
        {"a: [\n", NULL, "config:2: "},
        {"a: 1\n---\nb: 2\n", NULL, "config:3: a second document"},
        {"", NULL, "config has no current-context: choose one by --context; there are: none"},
        {"contexts: [{name: a, context: {}}, {name: b}]\n", NULL, "there are: a, b"},
        {"contexts: [{name: a, context: {}}]\n", "x", "config has no context x; there are: a"},
        {"contexts: [{name: a}]\n", "a", "context a has no field context"},
        {"contexts: [{name: a, context: {cluster: k}}]\n", "a", "there is no cluster k; there are: none"},
        {"contexts: [{name: a, context: {cluster: [k]}}]\n", "a", "cluster: write a name"},
        {"contexts: [{name: a, context: {user: u}}]\nusers: [{name: v}]\n", "a", "there is no user u; there are: v"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        write_file("config", cases[i].text);
        assert_refused(fixture, "config", cases[i].context, cases[i].says);
    }
    assert_refused(fixture, "nowhere", NULL, "kubeconfig nowhere: No such file");
    assert_refused(fixture, fixture->folder, NULL, "Is a directory");
    setenv("KUBECONFIG", "nowhere:elsewhere", 1);
    assert_refused(fixture, NULL, NULL, "$KUBECONFIG is nowhere:elsewhere: no such file");
}

static void a_token_never_stands_in_a_message(void **state)
{
    struct fixture *fixture = *state;
    struct kube_client *client;
    struct kube_client_options options = {.user_agent = "t"};
    uv_loop_t loop;
    uv_loop_init(&loop);
    write_config("config", "server: 'http://h'", "token: \"hush hush\"");
    assert_int_equal(load(fixture, "config", NULL), 0);
    assert_int_equal(kube_client_new(&loop, fixture->config, &options, &client, &fixture->error), -1);
    assert_int_equal(fixture->error.reason, IPAM_REASON_INVALID_CONFIG);
    assert_non_null(strstr(fixture->error.message, "the token has blanks"));
    assert_null(strstr(fixture->error.message, "hush"));
    uv_loop_close(&loop);
}

static void a_key_that_needs_a_passphrase_is_refused_with_the_way_to_decrypt_it(void **state)
{
    struct fixture *fixture = *state;
    static const char *const keys[] = {
        "-----BEGIN ENCRYPTED PRIVATE KEY-----\nx\n",
        "-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\nDEK-Info: AES-256-CBC,0\n\nx\n",
    };
    struct kube_client *client;
    struct kube_client_options options = {.user_agent = "t"};
    uv_loop_t loop;
    uv_loop_init(&loop);
    write_file("crt", "-----BEGIN CERTIFICATE-----\n");
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++) {
        write_file("key", keys[i]);
        write_config("config", "server: 'https://h'", "client-certificate: crt, client-key: key");
        assert_int_equal(load(fixture, "config", NULL), 0);
        assert_int_equal(kube_client_new(&loop, fixture->config, &options, &client, &fixture->error), -1);
        assert_non_null(strstr(fixture->error.message, "client-key ./key is encrypted"));
        assert_non_null(strstr(fixture->error.message, "openssl pkey -in ./key -out NEW-FILE"));
    }
    write_config("config", "server: 'https://h'",
                 "client-certificate: crt, client-key-data: "
                 "LS0tLS1CRUdJTiBFTkNSWVBURUQgUFJJVkFURSBLRVktLS0tLQo=");
    assert_int_equal(load(fixture, "config", NULL), 0);
    assert_int_equal(kube_client_new(&loop, fixture->config, &options, &client, &fixture->error), -1);
    assert_non_null(strstr(fixture->error.message, "client-key-data is encrypted"));
    uv_loop_close(&loop);
}

static void empty_data_counts_as_none(void **state)
{
    struct fixture *fixture = *state;
    write_file("ca", "-----BEGIN CERTIFICATE-----\n");
    write_config("config", "server: 'https://h', certificate-authority-data: '', certificate-authority: ca",
                 "client-certificate-data: '', client-key-data: ''");
    assert_int_equal(load(fixture, "config", NULL), 0);
    assert_null(fixture->config->ca_data);
    assert_string_equal(fixture->config->ca_file, "./ca");
    assert_null(fixture->config->client_key_data);
}

/* ---- Tests: what is dangerous ------------------------------------------------------------------------------------ */

static void on_warning(const char *text, void *user)
{
    char *all = user;
    snprintf(all + strlen(all), 4096 - strlen(all), "%s\n", text);
}

static void warn(struct fixture *fixture, const char *cluster, const char *user, char ret[4096])
{
    write_config("config", cluster, user);
    chmod("config", 0600);
    assert_int_equal(load(fixture, "config", NULL), 0);
    *ret = '\0';
    kube_config_warn(fixture->config, on_warning, ret);
}

static void what_is_dangerous_is_told_and_what_is_not_is_not(void **state)
{
    struct fixture *fixture = *state;
    char text[4096];
    static const char *const safe[] = {"server: 'https://h'", "server: 'http://127.0.0.1:80'",
                                       "server: 'http://localhost'", "server: 'http://[::1]:80'"};
    for (size_t i = 0; i < sizeof safe / sizeof *safe; i++) {
        warn(fixture, safe[i], "token: t", text);
        assert_string_equal(text, "");
    }
    warn(fixture, "server: 'http://128.0.0.1'", "token: t", text);
    assert_non_null(strstr(text, "the token or password goes to http://128.0.0.1 unencrypted"));
    warn(fixture, "server: 'http://h'", "username: a, password: b", text);
    assert_non_null(strstr(text, "unencrypted"));
    warn(fixture, "server: 'http://h'", "username: a", text);
    assert_string_equal(text, "");
    warn(fixture, "server: 'https://h', insecure-skip-tls-verify: true", "token: t", text);
    assert_non_null(strstr(text, "insecure-skip-tls-verify is set"));
    chmod("config", 0604);
    *text = '\0';
    kube_config_warn(fixture->config, on_warning, text);
    assert_non_null(strstr(text, "kubeconfig config can be read by every user of this machine: run chmod 600 config"));
}

/* ---- Tests: secrets in memory ------------------------------------------------------------------------------------ */

static const char *secret; /* NULL: nobody looks */
static unsigned int n_left_behind;

void __real_free(void *block);
void __wrap_free(void *block);

void __wrap_free(void *block)
{
    if (block && secret && memmem(block, malloc_usable_size(block), secret, strlen(secret)))
        n_left_behind++;
    __real_free(block);
}

static void no_secret_is_left_in_memory_that_is_free(void **state)
{
    struct fixture *fixture = *state;
    char user[8192], token[] = "xusxrl-ohdbhv-yhub-sodlq-whaw"; /* so that this text is no finding itself */
    for (char *at = token; *at; at++)
        *at = *at == '-' ? '-' : (char)(*at - 3);
    snprintf(user, sizeof user, "token: %s, username: u, password: %s, x: '%05000d'", token, token, 0);
    write_config("config", "server: 'http://h'", user);
    explicit_bzero(user, sizeof user);
    secret = token;
    n_left_behind = 0;
    assert_int_equal(load(fixture, "config", NULL), 0);
    assert_string_equal(fixture->config->token, token);
    fixture->config = kube_config_free(fixture->config);
    secret = NULL;
    assert_int_equal(n_left_behind, 0);
}

/* ---- Tests: written anew ----------------------------------------------------------------------------------------- */

static void a_kubeconfig_that_is_written_anew_counts_at_the_next_look(void **state)
{
    struct fixture *fixture = *state;
    write_config("config", "server: 'http://first'", "token: a");
    assert_int_equal(load(fixture, "config", NULL), 0);
    struct kube_config *config = fixture->config;
    assert_int_equal(kube_config_refresh(config, 1000, &fixture->error), 0);
    write_config("config", "server: 'http://second'", "token: b");
    assert_int_equal(kube_config_refresh(config, 1500, &fixture->error), 0); /* once a second */
    assert_int_equal(kube_config_refresh(config, 2000, &fixture->error), 1);
    assert_string_equal(config->server, "http://second");
    assert_string_equal(config->token, "b");
    assert_int_equal(kube_config_refresh(config, 9000, &fixture->error), 0);
    write_config("config", "server: 'http://third'", "tokenFile: later");
    assert_int_equal(kube_config_refresh(config, 10000, &fixture->error), -1);
    assert_string_equal(config->server, "http://second");
    write_file("later", "t");
    assert_int_equal(kube_config_refresh(config, 11000, &fixture->error), 1);
    assert_string_equal(config->server, "http://third");
    unlink("config");
    assert_int_equal(kube_config_refresh(config, 12000, &fixture->error), 0);
}

/* ---- Tests: paths, back-off, refusals ---------------------------------------------------------------------------- */

static void names_in_paths_are_escaped(void **state)
{
    (void)state;
    char *path = kube_path("/a/%s?limit=%u&x=%s", "b/../c?d=\xc3\xa9 %", 7u, "A-z_0.~&");
    assert_string_equal(path, "/a/b%2F..%2Fc%3Fd%3D%C3%A9%20%25?limit=7&x=A-z_0.~%26");
    free(path);
}

static void back_off_doubles_with_jitter_and_keeps_what_the_server_asks(void **state)
{
    (void)state;
    for (unsigned int attempt = 0; attempt < 40; attempt++) {
        uint32_t full = attempt < 2 ? 250 : attempt < 8 ? 250u << (attempt - 1) : 30000;
        uint32_t wait = kube_backoff(attempt, 0);
        assert_in_range(wait, full / 2, full);
        assert_in_range(kube_backoff(attempt, 40000), 40000, 45000);
    }
}

static void a_refusal_is_told_in_the_servers_words(void **state)
{
    (void)state;
    struct ipam_error error;
    json_t *body =
        json_pack("{s:s, s:s}", "reason", "Forbidden", "message", "proxyvips \"w\" is forbidden: User \"x\"");
    struct kube_request request = {.method = "PATCH", .path = "/apis/x/proxyvips/w/status?fieldManager=f"};
    struct kube_response response = {.status = 403, .body = body}, proxy = {.status = 502}, moved = {.status = 302};
    kube_response_error(&request, &response, &error);
    assert_string_equal(error.message,
                        "PATCH /apis/x/proxyvips/w/status: 403 Forbidden: proxyvips \"w\" is forbidden: User \"x\"");
    assert_int_equal(error.reason, IPAM_REASON_API_REFUSED);
    kube_response_error(&request, &proxy, &error);
    assert_non_null(strstr(error.message, "502 BadGateway: the answer is not from a Kubernetes API server"));
    kube_response_error(&request, &moved, &error);
    assert_non_null(strstr(error.message, "302 Found: redirects are not followed"));
    json_decref(body);
}

static int64_t events_take(struct response *response)
{
    int64_t sum = 0;
    while (response_has_value(response)) {
        json_t *event = response_take(response);
        sum += json_integer_value(json_object_get(event, "a"));
        json_decref(event);
    }
    return sum;
}

/* Cut at every byte: the same events come, whatever the pieces. */
static void events_come_whole_however_they_are_cut(void **state)
{
    (void)state;
    static const char text[] = "{\"a\":1}\n\n{\"a\":2}\r\n{\"a\":3}";
    struct ipam_error error;
    for (size_t cut = 0; cut <= sizeof text - 1; cut++) {
        struct response response;
        response_init(&response, KUBE_EVENTS, NULL, 1000);
        assert_int_equal(response_add(&response, text, cut), FILTER_GOOD);
        int64_t sum = events_take(&response);
        assert_int_equal(response_add(&response, text + cut, sizeof text - 1 - cut), FILTER_GOOD);
        sum += events_take(&response);
        assert_int_equal(sum, 6);
        assert_int_equal(response_check(&response, &error), 0);
        response_done(&response);
    }
}

static void half_an_event_is_an_error_that_names_the_byte(void **state)
{
    (void)state;
    struct ipam_error error;
    struct response response;
    response_init(&response, KUBE_EVENTS, NULL, 1000);
    assert_int_equal(response_add(&response, "{\"a\":1}{\"a\":", 12), FILTER_GOOD);
    assert_int_equal(events_take(&response), 1);
    assert_int_equal(response_check(&response, &error), -1);
    assert_non_null(strstr(error.message, "event 2 is not JSON: byte 5: "));
    response_done(&response);
}

static void the_bound_of_a_stream_is_that_of_one_event_and_of_a_call_that_of_all(void **state)
{
    (void)state;
    static const char event[] = "{\"a\":0}\n";
    struct ipam_error error;
    struct response stream, call;
    response_init(&stream, KUBE_EVENTS, NULL, 10);
    response_init(&call, KUBE_ONE, NULL, 10);
    for (int i = 0; i < 100; i++)
        assert_int_equal(response_add(&stream, event, sizeof event - 1), FILTER_GOOD);
    assert_int_equal(response_add(&stream, "\"23456789", 9), FILTER_GOOD); /* and the newline before */
    assert_int_equal(response_add(&stream, "1", 1), FILTER_LARGE);
    assert_int_equal(response_check(&stream, &error), -1);
    assert_true(kube_error_is_too_large(&error));
    assert_int_equal(response_add(&call, "\"23456789\"", 10), FILTER_GOOD);
    assert_int_equal(response_check(&call, &error), 0);
    assert_int_equal(response_add(&call, " ", 1), FILTER_LARGE);
    assert_int_equal(response_check(&call, &error), -1);
    assert_non_null(strstr(error.message, "the response is larger than 10 bytes"));
    response_done(&stream);
    response_done(&call);
}

/* A proxy's page says nothing, a server's Status does, whatever was asked for. */
static void a_refusal_is_read_in_place_of_what_was_asked_for(void **state)
{
    (void)state;
    static const char text[] =
        "{\"kind\":\"Status\",\"status\":\"Failure\",\"reason\":\"Gone\",\"message\":\"m\",\"code\":410}";
    static const struct kube_field fields[] = {KUBE_LEAF("metadata"), KUBE_END};
    static const enum kube_shape shapes[] = {KUBE_ONE, KUBE_PAGE, KUBE_EVENTS};
    struct kube_request request = {.method = "GET", .path = "/x"};
    struct ipam_error error;
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++) {
        struct response response;
        response_init(&response, shapes[i], fields, 1000);
        assert_int_equal(response_add(&response, text, sizeof text - 1), FILTER_GOOD);
        json_t *body = response_take(&response);
        struct kube_response refusal = {.status = 410, .body = body};
        kube_response_error(&request, &refusal, &error);
        assert_string_equal(error.message, "GET /x: 410 Gone: m");
        assert_int_equal(kube_error_status(&error), 410);
        json_decref(body);
        response_done(&response);
    }
}

/* ---- Tests: shared options --------------------------------------------------------------------------------------- */

struct own_options {
    struct program_options shared;
    uint64_t share;
};

static void a_programs_rows_stand_beside_the_shared_ones(void **state)
{
    (void)state;
    static const struct option_row rows[] = {
        {"share", "PERCENT", OPTION_NUMBER, offsetof(struct own_options, share), "20", 0, 100, NULL, "a share"}};
    static const struct option_table table = {.program = "p",
                                              .summary = "s",
                                              .footer = "",
                                              .rows = rows,
                                              .n_rows = 1,
                                              .size = sizeof(struct own_options),
                                              .shared = &program_shared_options};
    struct own_options options;
    struct ipam_error error;
    char *argv[] = {"p", "--share", "7", "--leader-elect", "--lease-duration", "30", NULL};
    assert_int_equal(option_table_parse(&table, 6, argv, &options, &error), 0);
    assert_int_equal(options.share, 7);
    assert_true(options.shared.leader_elect);
    assert_int_equal(options.shared.lease_duration, 30);
    assert_string_equal(options.shared.lease_namespace, "ipam-system");
    assert_string_equal(options.shared.socket, "/run/ipamd/ipamd.sock");
    argv[5] = "4";
    assert_int_equal(option_table_parse(&table, 6, argv, &options, &error), -1);
    assert_non_null(strstr(error.message, "--lease-duration 4 can't be used: write a whole number from 5 to 3600"));
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, set_up, tear_down)

int main(void)
{
    static const struct CMUnitTest tests[] = {
        TEST(a_context_gives_server_user_and_namespace),
        TEST(paths_are_relative_to_the_file_that_they_stand_in),
        TEST(data_counts_before_a_file_and_a_token_file_before_a_token),
        TEST(of_several_files_the_first_counts_and_missing_ones_are_passed_over),
        TEST(the_home_folder_is_the_last_place),
        TEST(a_pod_uses_its_service_account),
        TEST(every_wrong_field_is_named_with_what_to_write),
        TEST(every_wrong_file_is_told),
        TEST(a_token_never_stands_in_a_message),
        TEST(a_key_that_needs_a_passphrase_is_refused_with_the_way_to_decrypt_it),
        TEST(empty_data_counts_as_none),
        TEST(what_is_dangerous_is_told_and_what_is_not_is_not),
        TEST(no_secret_is_left_in_memory_that_is_free),
        TEST(a_kubeconfig_that_is_written_anew_counts_at_the_next_look),
        TEST(names_in_paths_are_escaped),
        TEST(back_off_doubles_with_jitter_and_keeps_what_the_server_asks),
        TEST(a_refusal_is_told_in_the_servers_words),
        TEST(events_come_whole_however_they_are_cut),
        TEST(half_an_event_is_an_error_that_names_the_byte),
        TEST(the_bound_of_a_stream_is_that_of_one_event_and_of_a_call_that_of_all),
        TEST(a_refusal_is_read_in_place_of_what_was_asked_for),
        TEST(a_programs_rows_stand_beside_the_shared_ones),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
