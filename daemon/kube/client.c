#include "client.h"

#include <assert.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>

#include "arena.h"
#include "response.h"
#include "transfer.h"

#define TIMEOUT_MS      15000
#define STREAM_IDLE_MS  150000
#define MAX_RESPONSE    (64u * 1024 * 1024)
#define MAX_CONNECTIONS 8
#define MAX_BACKGROUND  2   /* calls of that kind at once */
#define MAX_RETRY_AFTER 600 /* s */
#define HTTP_OK         200

/* A call waits for its turn, is under way, or has ended and its callback is yet to come. */
enum call_state { CALL_WAITING, CALL_RUNNING, CALL_ENDED };

struct kube_call {
    TAILQ_ENTRY(kube_call) link;
    struct kube_client *client;
    enum call_state state;
    char *method, *path, *body;
    struct transfer_request request;
    struct transfer transfer;
    struct response response;
    struct kube_stream_callbacks callbacks; /* of a call, only end */
    void *user;
    bool background, opened, open_told;
    int status;
    uint32_t retry_after_ms;
    json_t *json;            /* of a call that is no stream */
    struct ipam_error error; /* of a call that failed */
    bool failed;
};

TAILQ_HEAD(calls, kube_call);

struct kube_client {
    uv_loop_t *loop;
    struct kube_config *config;
    unsigned int config_version; /* that the credentials are of */
    bool config_told;            /* that it can't be used */
    struct kube_client_options options;
    char *user_agent;
    struct credentials credentials;
    CURLM *multi;
    uv_timer_t timer;                                 /* curl's */
    uv_timer_t soon;                                  /* to come back from the loop */
    struct calls waiting, background, running, ended; /* background: those that wait */
    uint32_t n_running;                               /* streams apart */
    uint32_t n_background;                            /* of n_running */
    struct kube_client_counters counters;
    unsigned int n_handles;
    bool closing, in_turn;
    void (*closed)(void *user);
    void *closed_user;
};

static void client_turn(struct kube_client *client);
static void writes_stop(struct kube_client *client);

/* ---- curl on the loop -------------------------------------------------------------------------------------------- */

struct watched_socket {
    uv_poll_t poll;
    struct kube_client *client;
    curl_socket_t fd;
};

static void on_socket_closed(uv_handle_t *handle)
{
    free(handle->data);
}

static void on_socket(uv_poll_t *poll, int status, int events)
{
    struct watched_socket *watched = poll->data;
    struct kube_client *client = watched->client;
    int flags = (status < 0 ? CURL_CSELECT_ERR : 0) | (events & UV_READABLE ? CURL_CSELECT_IN : 0) |
                (events & UV_WRITABLE ? CURL_CSELECT_OUT : 0);
    int running;
    writes_stop(client);
    curl_multi_socket_action(client->multi, watched->fd, flags, &running);
    client_turn(client);
}

static int socket_changed(CURL *easy, curl_socket_t fd, int what, void *user, void *assigned)
{
    (void)easy;
    struct kube_client *client = user;
    struct watched_socket *watched = assigned;
    if (what == CURL_POLL_REMOVE) {
        if (watched)
            uv_close((uv_handle_t *)&watched->poll, on_socket_closed);
        curl_multi_assign(client->multi, fd, NULL);
        return 0;
    }
    if (!watched) {
        watched = mem_zalloc(sizeof *watched);
        watched->client = client;
        watched->fd = fd;
        if (uv_poll_init(client->loop, &watched->poll, fd) < 0) {
            free(watched);
            return -1;
        }
        watched->poll.data = watched;
        curl_multi_assign(client->multi, fd, watched);
    }
    int events = (what & CURL_POLL_IN ? UV_READABLE : 0) | (what & CURL_POLL_OUT ? UV_WRITABLE : 0);
    return uv_poll_start(&watched->poll, events, on_socket);
}

static void on_timer(uv_timer_t *timer)
{
    struct kube_client *client = timer->data;
    int running;
    writes_stop(client);
    curl_multi_socket_action(client->multi, CURL_SOCKET_TIMEOUT, 0, &running);
    client_turn(client);
}

static int timer_changed(CURLM *multi, long ms, void *user)
{
    (void)multi;
    struct kube_client *client = user;
    if (ms < 0)
        uv_timer_stop(&client->timer);
    else if (!uv_is_closing((uv_handle_t *)&client->timer))
        uv_timer_start(&client->timer, on_timer, (uint64_t)ms, 0);
    return 0;
}

static void on_soon(uv_timer_t *timer)
{
    client_turn(timer->data);
}

static void come_back(struct kube_client *client)
{
    uv_timer_start(&client->soon, on_soon, 0, 0);
}

/* ---- Bytes that come: within curl, so nobody is called from here ------------------------------------------------- */

static long http_status(const struct kube_call *call)
{
    long status = 0;
    curl_easy_getinfo(call->transfer.easy, CURLINFO_RESPONSE_CODE, &status);
    return status;
}

static size_t on_header(char *data, size_t size, size_t count, void *user)
{
    struct kube_call *call = user;
    if (size * count <= 2 && http_status(call) == HTTP_OK) /* the blank line after the headers */
        call->opened = true;
    (void)data;
    return size * count;
}

static size_t on_body(char *data, size_t size, size_t count, void *user)
{
    struct kube_call *call = user;
    enum filter_result result = response_add(&call->response, data, size * count);
    bool is_broken = result == FILTER_BAD && call->request.is_stream && call->opened;
    return result == FILTER_LARGE || is_broken ? 0 : size * count; /* the text of a refusal may be a proxy's */
}

/* ---- Calls ------------------------------------------------------------------------------------------------------- */

static void call_free(struct kube_call *call)
{
    response_done(&call->response);
    json_decref(call->json);
    free(call->method);
    free(call->path);
    free(call->body);
    free(call);
}

static void config_tell(struct kube_client *client, const struct ipam_error *error)
{
    if (client->options.config_changed && !(error && client->config_told))
        client->options.config_changed(error, client->options.user);
    client->config_told = error != NULL;
}

/* All of the configuration that is there now; what it names may come a moment after it. */
static void config_refresh(struct kube_client *client, uint64_t now)
{
    struct credentials credentials;
    struct ipam_error error;
    int status = kube_config_refresh(client->config, now, &error);
    if (status < 0)
        config_tell(client, &error);
    if (client->config_version == client->config->version)
        return;
    if (credentials_init(&credentials, client->config, &error) < 0) {
        config_tell(client, &error);
        return;
    }
    credentials_done(&client->credentials);
    client->credentials = credentials;
    client->config_version = client->config->version;
    client->config_told = false;
    config_tell(client, NULL);
}

static void call_start(struct kube_call *call)
{
    struct kube_client *client = call->client;
    uint64_t now = uv_now(client->loop) + 1;
    config_refresh(client, now);
    credentials_refresh(&client->credentials, now);
    transfer_init(&call->transfer, client->config, &client->credentials, client->user_agent, &call->request);
    CURL *easy = call->transfer.easy;
    curl_easy_setopt(easy, CURLOPT_PRIVATE, call);
    curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, on_body);
    curl_easy_setopt(easy, CURLOPT_WRITEDATA, call);
    curl_easy_setopt(easy, CURLOPT_HEADERFUNCTION, on_header);
    curl_easy_setopt(easy, CURLOPT_HEADERDATA, call);
    call->state = CALL_RUNNING;
    TAILQ_INSERT_TAIL(&client->running, call, link);
    client->n_running += !call->request.is_stream;
    client->n_background += call->background;
    client->counters.requests++;
    curl_multi_add_handle(client->multi, easy); /* sends from the loop */
}

/* Takes a call that runs off curl. */
static void call_halt(struct kube_call *call)
{
    struct kube_client *client = call->client;
    curl_multi_remove_handle(client->multi, call->transfer.easy);
    transfer_done(&call->transfer);
    TAILQ_REMOVE(&client->running, call, link);
    client->n_running -= !call->request.is_stream;
    client->n_background -= call->background;
    call->state = CALL_ENDED;
    TAILQ_INSERT_TAIL(&client->ended, call, link);
}

static void call_fail(struct kube_call *call, const struct ipam_error *error)
{
    call->failed = true;
    call->error = *error;
}

static struct calls *queue_of(const struct kube_call *call)
{
    return call->background ? &call->client->background : &call->client->waiting;
}

/* Whose turn it is, or NULL. */
static struct kube_call *waiting_next(const struct kube_client *client)
{
    if (client->n_running >= client->options.max_connections)
        return NULL;
    if (!TAILQ_EMPTY(&client->waiting))
        return TAILQ_FIRST(&client->waiting);
    return client->n_background < MAX_BACKGROUND ? TAILQ_FIRST(&client->background) : NULL;
}

static void waiting_start(struct kube_client *client)
{
    struct kube_call *call;
    while ((call = waiting_next(client))) {
        TAILQ_REMOVE(queue_of(call), call, link);
        call_start(call);
    }
}

static struct kube_call *call_new(struct kube_client *client, const struct kube_request *request, bool is_stream,
                                  const struct kube_stream_callbacks *callbacks, void *user)
{
    assert(!client->closing && *request->path == '/');
    struct kube_call *call = mem_zalloc(sizeof *call);
    uint32_t timeout = is_stream ? STREAM_IDLE_MS : client->options.timeout_ms;
    call->client = client;
    call->method = mem_strdup(request->method);
    call->path = mem_strdup(request->path);
    call->body = request->body ? json_dumps(request->body, JSON_COMPACT) : NULL;
    if (request->body && !call->body)
        abort();
    call->request = (struct transfer_request){
        .method = call->method,
        .path = call->path,
        .content_type = request->content_type ? request->content_type : KUBE_JSON,
        .body = call->body,
        .timeout_ms = request->timeout_ms ? request->timeout_ms : timeout,
        .is_stream = is_stream,
        .may_send = strcmp(request->method, "GET") != 0 ? client->options.may_write : NULL,
        .user = client->options.user,
    };
    call->background = request->background && !is_stream;
    response_init(&call->response, is_stream ? KUBE_EVENTS : request->shape, request->fields,
                  client->options.max_response);
    call->callbacks = *callbacks;
    call->user = user;
    return call;
}

struct kube_call *kube_call(struct kube_client *client, const struct kube_request *request, kube_response_cb callback,
                            void *user)
{
    struct kube_stream_callbacks callbacks = {.end = callback};
    struct kube_call *call = call_new(client, request, false, &callbacks, user);
    TAILQ_INSERT_TAIL(queue_of(call), call, link);
    waiting_start(client);
    return call;
}

struct kube_call *kube_stream(struct kube_client *client, const struct kube_request *request,
                              const struct kube_stream_callbacks *callbacks, void *user)
{
    struct kube_call *call = call_new(client, request, true, callbacks, user);
    call_start(call);
    return call;
}

void kube_call_cancel(struct kube_call *call)
{
    struct kube_client *client = call->client;
    struct ipam_error error;
    ipam_error_set(&error, IPAM_REASON_CANCELLED, "%s %.*s was given up", call->method, (int)strcspn(call->path, "?"),
                   call->path);
    call_fail(call, &error);
    if (call->state == CALL_RUNNING) {
        call_halt(call);
    } else if (call->state == CALL_WAITING) {
        TAILQ_REMOVE(queue_of(call), call, link);
        call->state = CALL_ENDED;
        TAILQ_INSERT_TAIL(&client->ended, call, link);
    }
    come_back(client);
}

/* Sockets come before timers: after a process stood still, before any that would have told it to stop. */
static void writes_stop(struct kube_client *client)
{
    struct kube_call *next, *call = TAILQ_FIRST(&client->running);
    if (!client->options.may_write || client->options.may_write(client->options.user))
        return;
    for (; call; call = next) {
        next = TAILQ_NEXT(call, link);
        if (strcmp(call->method, "GET") != 0)
            kube_call_cancel(call);
    }
}

/* ---- Streams ----------------------------------------------------------------------------------------------------- */

/* A stream that has something to tell, or NULL. */
static struct kube_call *stream_next(struct kube_client *client)
{
    struct kube_call *call = TAILQ_FIRST(&client->running);
    while (call &&
           !(call->request.is_stream && call->opened && (!call->open_told || response_has_value(&call->response))))
        call = TAILQ_NEXT(call, link);
    return call;
}

/* The call may be cancelled within. */
static void stream_tell(struct kube_call *call)
{
    if (!call->open_told) {
        call->open_told = true;
        call->callbacks.opened(call->user);
        return;
    }
    json_t *object = response_take(&call->response);
    call->callbacks.line(object, call->user);
    json_decref(object);
}

static void streams_tell(struct kube_client *client)
{
    struct kube_call *call;
    while ((call = stream_next(client)))
        stream_tell(call);
}

/* What had come when it ended. */
static void stream_rest(struct kube_call *call)
{
    while (!call->failed && call->opened && (!call->open_told || response_has_value(&call->response)))
        stream_tell(call);
}

/* ---- Ends -------------------------------------------------------------------------------------------------------- */

/* That too much came, or no JSON, is why curl was told to stop. */
static int response_verify(struct kube_call *call, struct ipam_error *reterr)
{
    if (response_check(&call->response, reterr) == 0)
        return 0;
    return ipam_error_prefix(reterr, "%s %.*s", call->method, (int)strcspn(call->path, "?"), call->path);
}

static bool is_success(const struct kube_call *call)
{
    return call->status >= 200 && call->status < 300;
}

static void result_check(struct kube_call *call, CURLcode result)
{
    struct ipam_error error;
    curl_off_t retry_after = 0;
    call->status = (int)http_status(call);
    curl_easy_getinfo(call->transfer.easy, CURLINFO_RETRY_AFTER, &retry_after);
    retry_after = retry_after > MAX_RETRY_AFTER ? MAX_RETRY_AFTER : retry_after;
    call->retry_after_ms = retry_after > 0 ? (uint32_t)retry_after * 1000 : 0;
    if (result != CURLE_WRITE_ERROR &&
        transfer_check(&call->transfer, result, call->client->config, &call->request, &error) < 0)
        call_fail(call, &error);
    else if ((is_success(call) || result == CURLE_WRITE_ERROR) && response_verify(call, &error) < 0)
        call_fail(call, &error);
}

static void call_finish(struct kube_call *call, CURLcode result)
{
    result_check(call, result);
    call_halt(call);
    if (!call->failed && !(call->request.is_stream && call->opened))
        call->json = response_take(&call->response);
}

static void outcome_count(struct kube_client *client, const struct kube_call *call)
{
    struct kube_client_counters *counters = &client->counters;
    counters->failures += call->failed && call->error.reason != IPAM_REASON_CANCELLED;
    counters->throttled += !call->failed && call->status == 429;
    counters->conflicts += !call->failed && call->status == 409;
    counters->server_errors += !call->failed && call->status >= 500;
    if (!call->failed && call->status == 401)
        credentials_doubt(&client->credentials);
}

static void call_tell(struct kube_call *call)
{
    struct kube_response response = {
        .status = call->status, .body = call->json, .retry_after_ms = call->retry_after_ms};
    if (call->request.is_stream)
        stream_rest(call);
    outcome_count(call->client, call);
    TAILQ_REMOVE(&call->client->ended, call, link);
    call->callbacks.end(call->failed ? NULL : &response, call->failed ? &call->error : NULL, call->user);
    call_free(call);
}

static void finished_take(struct kube_client *client)
{
    CURLMsg *message;
    int left;
    while ((message = curl_multi_info_read(client->multi, &left))) {
        char *call;
        CURLcode result = message->data.result;
        curl_easy_getinfo(message->easy_handle, CURLINFO_PRIVATE, &call);
        call_finish((struct kube_call *)(void *)call, result);
    }
}

static void on_handle_closed(uv_handle_t *handle)
{
    struct kube_client *client = handle->data;
    if (--client->n_handles > 0)
        return;
    void (*closed)(void *) = client->closed;
    void *user = client->closed_user;
    free(client->user_agent);
    free(client);
    curl_global_cleanup();
    if (closed)
        closed(user);
}

static void client_end(struct kube_client *client)
{
    curl_multi_cleanup(client->multi); /* closes the sockets that it kept */
    credentials_done(&client->credentials);
    uv_close((uv_handle_t *)&client->timer, on_handle_closed);
    uv_close((uv_handle_t *)&client->soon, on_handle_closed);
}

/* All that is to be told, told; nobody is called from within curl, and so callbacks may do as they like. */
static void client_turn(struct kube_client *client)
{
    if (client->in_turn)
        return;
    client->in_turn = true;
    streams_tell(client);
    finished_take(client);
    while (!TAILQ_EMPTY(&client->ended))
        call_tell(TAILQ_FIRST(&client->ended));
    client->in_turn = false;
    if (client->closing && client->multi)
        client_end(client);
    else
        waiting_start(client);
}

/* ---- Beginning and end ------------------------------------------------------------------------------------------- */

static void options_set(struct kube_client *client, const struct kube_client_options *options)
{
    client->options = *options;
    client->options.timeout_ms = options->timeout_ms ? options->timeout_ms : TIMEOUT_MS;
    client->options.max_response = options->max_response ? options->max_response : MAX_RESPONSE;
    client->options.max_connections = options->max_connections ? options->max_connections : MAX_CONNECTIONS;
    client->user_agent = mem_strdup(options->user_agent);
}

static void multi_set(struct kube_client *client)
{
    curl_multi_setopt(client->multi, CURLMOPT_SOCKETFUNCTION, socket_changed);
    curl_multi_setopt(client->multi, CURLMOPT_SOCKETDATA, client);
    curl_multi_setopt(client->multi, CURLMOPT_TIMERFUNCTION, timer_changed);
    curl_multi_setopt(client->multi, CURLMOPT_TIMERDATA, client);
    curl_multi_setopt(client->multi, CURLMOPT_MAXCONNECTS, (long)client->options.max_connections + 4);
}

int kube_client_new(uv_loop_t *loop, struct kube_config *config, const struct kube_client_options *options,
                    struct kube_client **ret, struct ipam_error *reterr)
{
    struct credentials credentials;
    if (credentials_init(&credentials, config, reterr) < 0)
        return -1;
    CURLM *multi = curl_global_init(CURL_GLOBAL_DEFAULT) == CURLE_OK ? curl_multi_init() : NULL;
    if (!multi) {
        credentials_done(&credentials);
        return ipam_error_set(reterr, IPAM_REASON_INTERNAL, "libcurl can't be used");
    }
    struct kube_client *client = mem_zalloc(sizeof *client);
    client->loop = loop;
    client->config = config;
    client->config_version = config->version;
    client->credentials = credentials;
    client->multi = multi;
    TAILQ_INIT(&client->waiting);
    TAILQ_INIT(&client->background);
    TAILQ_INIT(&client->running);
    TAILQ_INIT(&client->ended);
    uv_timer_init(loop, &client->timer);
    uv_timer_init(loop, &client->soon);
    client->timer.data = client->soon.data = client;
    client->n_handles = 2;
    options_set(client, options);
    multi_set(client);
    *ret = client;
    return 0;
}

void kube_client_close(struct kube_client *client, void (*closed)(void *user), void *user)
{
    struct kube_call *call;
    client->closing = true;
    client->closed = closed;
    client->closed_user = user;
    while ((call = TAILQ_FIRST(&client->waiting)) || (call = TAILQ_FIRST(&client->background)) ||
           (call = TAILQ_FIRST(&client->running)))
        kube_call_cancel(call);
    for (call = TAILQ_FIRST(&client->ended); call; call = TAILQ_NEXT(call, link))
        kube_call_cancel(call);
    come_back(client);
}

uv_loop_t *kube_client_loop(const struct kube_client *client)
{
    return client->loop;
}

const struct kube_client_counters *kube_client_counters(const struct kube_client *client)
{
    return &client->counters;
}
