#include "transfer.h"

#include <assert.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "arena.h"

#define CONNECT_TIMEOUT_MS 10000
#define UNACKNOWLEDGED_MS  30000 /* data that the peer's kernel has not confirmed: the machine or the network is gone */

static void header_add(struct transfer *transfer, const char *name, const char *value)
{
    char *line;
    if (asprintf(&line, "%s: %s", name, value) < 0)
        abort();
    struct curl_slist *headers = curl_slist_append(transfer->headers, line);
    if (!headers)
        abort();
    transfer->headers = headers;
    explicit_bzero(line, strlen(line));
    free(line);
}

/* ---- Where to ---------------------------------------------------------------------------------------------------- */

/* "https://HOST:PORT/PREFIX" in its parts; they point into `server`. */
struct server_parts {
    int scheme, host, port, prefix; /* lengths; port with its colon */
    const char *scheme_at, *host_at, *port_at, *prefix_at;
};

static void server_split(const char *server, struct server_parts *ret)
{
    const char *host = strstr(server, "://") + 3, *end = host + strcspn(host, "/");
    const char *bracket = *host == '[' ? memchr(host, ']', (size_t)(end - host)) : NULL;
    const char *colon = memchr(bracket ? bracket : host, ':', (size_t)(end - (bracket ? bracket : host)));
    *ret = (struct server_parts){
        .scheme_at = server,
        .scheme = (int)(host - server),
        .host_at = host,
        .host = (int)((colon ? colon : end) - host),
        .port_at = colon ? colon : end,
        .port = (int)(colon ? end - colon : 0),
        .prefix_at = end,
        .prefix = (int)strlen(end),
    };
}

/* curl verifies the name in the URL: that of tls-server-name stands there, and the connection goes to the real host. */
static char *url_with_server_name(struct transfer *transfer, const struct kube_config *config, const char *path)
{
    struct server_parts server;
    char *url, *target, *host;
    server_split(config->server, &server);
    if (asprintf(&url, "%.*s%s%.*s%.*s%s", server.scheme, server.scheme_at, config->tls_server_name, server.port,
                 server.port_at, server.prefix, server.prefix_at, path) < 0 ||
        asprintf(&target, "::%.*s%s", server.host, server.host_at, server.port ? "" : ":") < 0 ||
        asprintf(&host, "%.*s%.*s", server.host, server.host_at, server.port, server.port_at) < 0)
        abort();
    char *with_port = NULL;
    if (asprintf(&with_port, "%s%.*s", target, server.port, server.port_at) < 0)
        abort();
    transfer->connect_to = curl_slist_append(NULL, with_port);
    curl_easy_setopt(transfer->easy, CURLOPT_CONNECT_TO, transfer->connect_to);
    header_add(transfer, "Host", host);
    free(with_port);
    free(target);
    free(host);
    return url;
}

static void address_set(struct transfer *transfer, const struct kube_config *config, const char *path)
{
    char *url;
    if (config->tls_server_name)
        url = url_with_server_name(transfer, config, path);
    else if (asprintf(&url, "%s%s", config->server, path) < 0)
        abort();
    curl_easy_setopt(transfer->easy, CURLOPT_URL, url);
    curl_easy_setopt(transfer->easy, CURLOPT_PATH_AS_IS, 1L);
    curl_easy_setopt(transfer->easy, CURLOPT_PROTOCOLS_STR, "http,https");
    curl_easy_setopt(transfer->easy, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1);
    if (config->proxy_url)
        curl_easy_setopt(transfer->easy, CURLOPT_PROXY, config->proxy_url);
    else if (kube_config_is_loopback(config)) /* a proxy of the environment has another localhost; as kubectl does */
        curl_easy_setopt(transfer->easy, CURLOPT_PROXY, "");
    curl_easy_setopt(transfer->easy, CURLOPT_SUPPRESS_CONNECT_HEADERS, 1L);
    free(url);
}

/* ---- As whom ----------------------------------------------------------------------------------------------------- */

/* As bytes and not as a path: curl then sees that another certificate needs another connection. */
static void blob_set(struct transfer *transfer, CURLoption option, const char *text)
{
    struct curl_blob blob = {.data = (void *)(uintptr_t)text, .len = strlen(text), .flags = CURL_BLOB_COPY};
    curl_easy_setopt(transfer->easy, option, &blob);
}

static void credentials_set(struct transfer *transfer, const struct kube_config *config,
                            const struct credentials *credentials)
{
    static const struct {
        enum credential which;
        CURLoption option;
    } blobs[] = {
        {CREDENTIAL_CA, CURLOPT_CAINFO_BLOB},
        {CREDENTIAL_CERTIFICATE, CURLOPT_SSLCERT_BLOB},
        {CREDENTIAL_KEY, CURLOPT_SSLKEY_BLOB},
    };
    for (size_t i = 0; i < sizeof blobs / sizeof *blobs; i++)
        if (credentials->items[blobs[i].which].text)
            blob_set(transfer, blobs[i].option, credentials->items[blobs[i].which].text);
    if (credentials->items[CREDENTIAL_CA].text) /* that one alone is trusted, not those of the system, too */
        curl_easy_setopt(transfer->easy, CURLOPT_CAPATH, NULL);
    curl_easy_setopt(transfer->easy, CURLOPT_SSL_VERIFYPEER, config->insecure_skip_tls_verify ? 0L : 1L);
    curl_easy_setopt(transfer->easy, CURLOPT_SSL_VERIFYHOST, config->insecure_skip_tls_verify ? 0L : 2L);
    const char *token = credentials->items[CREDENTIAL_TOKEN].text;
    if (token) {
        char *value;
        if (asprintf(&value, "Bearer %s", token) < 0)
            abort();
        header_add(transfer, "Authorization", value);
        explicit_bzero(value, strlen(value));
        free(value);
    } else if (config->username) {
        curl_easy_setopt(transfer->easy, CURLOPT_HTTPAUTH, (long)CURLAUTH_BASIC);
        curl_easy_setopt(transfer->easy, CURLOPT_USERNAME, config->username);
        curl_easy_setopt(transfer->easy, CURLOPT_PASSWORD, config->password ? config->password : "");
    }
}

/* ---- What, and how long ------------------------------------------------------------------------------------------ */

static int socket_options(void *user, curl_socket_t fd, curlsocktype purpose)
{
    (void)user, (void)purpose;
    unsigned int timeout = UNACKNOWLEDGED_MS;
    setsockopt(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &timeout, sizeof timeout); /* best effort */
    return CURL_SOCKOPT_OK;
}

static void patience_set(struct transfer *transfer, const struct transfer_request *request)
{
    long ms = (long)request->timeout_ms;
    curl_easy_setopt(transfer->easy, CURLOPT_CONNECTTIMEOUT_MS, ms < CONNECT_TIMEOUT_MS ? ms : CONNECT_TIMEOUT_MS);
    if (request->is_stream) {
        curl_easy_setopt(transfer->easy, CURLOPT_LOW_SPEED_LIMIT, 1L); /* bytes a second */
        curl_easy_setopt(transfer->easy, CURLOPT_LOW_SPEED_TIME, ms < 1000 ? 1 : ms / 1000);
    } else {
        curl_easy_setopt(transfer->easy, CURLOPT_TIMEOUT_MS, ms);
    }
    curl_easy_setopt(transfer->easy, CURLOPT_TCP_KEEPALIVE, 1L);
    curl_easy_setopt(transfer->easy, CURLOPT_TCP_KEEPIDLE, 15L);
    curl_easy_setopt(transfer->easy, CURLOPT_TCP_KEEPINTVL, 5L);
    curl_easy_setopt(transfer->easy, CURLOPT_SOCKOPTFUNCTION, socket_options);
}

static void message_set(struct transfer *transfer, const struct transfer_request *request)
{
    header_add(transfer, "Accept", "application/json");
    if (request->body) {
        header_add(transfer, "Content-Type", request->content_type);
        header_add(transfer, "Expect", "");
        curl_easy_setopt(transfer->easy, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)strlen(request->body));
        curl_easy_setopt(transfer->easy, CURLOPT_POSTFIELDS, request->body);
    }
    curl_easy_setopt(transfer->easy, CURLOPT_CUSTOMREQUEST, request->method);
}

static int before_request(void *user, char *address, char *local, int port, int local_port)
{
    const struct transfer_request *request = user;
    (void)address, (void)local, (void)port, (void)local_port;
    return request->may_send(request->user) ? CURL_PREREQFUNC_OK : CURL_PREREQFUNC_ABORT;
}

static void permission_set(struct transfer *transfer, const struct transfer_request *request)
{
    if (!request->may_send)
        return;
    curl_easy_setopt(transfer->easy, CURLOPT_PREREQFUNCTION, before_request);
    curl_easy_setopt(transfer->easy, CURLOPT_PREREQDATA, request);
}

void transfer_init(struct transfer *transfer, const struct kube_config *config, const struct credentials *credentials,
                   const char *user_agent, const struct transfer_request *request)
{
    *transfer = (struct transfer){.easy = curl_easy_init()};
    if (!transfer->easy)
        abort();
    curl_easy_setopt(transfer->easy, CURLOPT_ERRORBUFFER, transfer->error);
    curl_easy_setopt(transfer->easy, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(transfer->easy, CURLOPT_USERAGENT, user_agent);
    address_set(transfer, config, request->path);
    credentials_set(transfer, config, credentials);
    patience_set(transfer, request);
    message_set(transfer, request);
    permission_set(transfer, request);
    curl_easy_setopt(transfer->easy, CURLOPT_HTTPHEADER, transfer->headers);
}

static void headers_wipe(struct curl_slist *headers)
{
    for (; headers; headers = headers->next)
        explicit_bzero(headers->data, strlen(headers->data));
}

void transfer_done(struct transfer *transfer)
{
    curl_easy_cleanup(transfer->easy);
    headers_wipe(transfer->headers);
    curl_slist_free_all(transfer->headers);
    curl_slist_free_all(transfer->connect_to);
    *transfer = (struct transfer){0};
}

/* ---- What became of it ------------------------------------------------------------------------------------------- */

int transfer_check(const struct transfer *transfer, CURLcode result, const struct kube_config *config,
                   const struct transfer_request *request, struct ipam_error *reterr)
{
    curl_off_t begun = 0; /* when the request could be sent; 0: there was no connection yet */
    if (result == CURLE_OK)
        return 0;
    curl_easy_getinfo(transfer->easy, CURLINFO_PRETRANSFER_TIME_T, &begun);
    int length = (int)strcspn(request->path, "?");
    if (result == CURLE_ABORTED_BY_CALLBACK)
        return ipam_error_set(reterr, IPAM_REASON_CANCELLED, "%s %.*s was given up before it was sent", request->method,
                              length, request->path);
    if (result == CURLE_OPERATION_TIMEDOUT && begun > 0 && request->is_stream)
        return ipam_error_set(reterr, IPAM_REASON_DEADLINE_EXCEEDED, "%s %.*s: nothing came from %s for %u s",
                              request->method, length, request->path, config->server, request->timeout_ms / 1000);
    if (result == CURLE_OPERATION_TIMEDOUT && begun > 0)
        return ipam_error_set(reterr, IPAM_REASON_DEADLINE_EXCEEDED, "%s %.*s: no answer from %s within %u ms",
                              request->method, length, request->path, config->server, request->timeout_ms);
    return ipam_error_set(reterr, IPAM_REASON_API_UNREACHABLE, "%s %.*s: %s: %s", request->method, length,
                          request->path, config->server,
                          *transfer->error ? transfer->error : curl_easy_strerror(result));
}
