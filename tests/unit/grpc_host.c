#include "grpc_host.h"

#include <assert.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <ipam/ipam.pb-c.h>

#include "grpc.h"

struct connection {
    struct host *host;
    uv_pipe_t pipe;
    struct grpc_endpoint *endpoint;
    char input[65536];
};

/* ---- Answers --------------------------------------------------------------------------------------------------- */

static void answer_pool(struct grpc_call *call, const char *name)
{
    Ipam__V1__GetPoolReply reply = IPAM__V1__GET_POOL_REPLY__INIT;
    Ipam__V1__Pool pool = IPAM__V1__POOL__INIT;
    Ipam__V1__PoolSpec spec = IPAM__V1__POOL_SPEC__INIT;
    spec.name = (char *)name;
    pool.spec = &spec;
    reply.pool = &pool;
    reply.revision = 7;
    size_t size = ipam__v1__get_pool_reply__get_packed_size(&reply);
    uint8_t *data = malloc(size);
    ipam__v1__get_pool_reply__pack(&reply, data);
    grpc_call_send(call, data, size, false);
    if (strcmp(name, "twice") == 0) {
        grpc_call_send(call, data, size, false);
    }
    free(data);
    grpc_call_finish_ok(call);
}

static void answer_missing(struct grpc_call *call, const char *name)
{
    struct ipam_error error = {0};
    ipam_error_set(&error, IPAM_REASON_POOL_NOT_FOUND, "pool not found: %s", name);
    ipam_error_add(&error, "pool", name);
    grpc_call_finish_error(call, &error);
}

static void answer_garbage(struct grpc_call *call, const char *name)
{
    (void)name;
    grpc_call_send(call, (const uint8_t *)"\xff\xff\xff", 3, false);
    grpc_call_finish_ok(call);
}

static void answer_nothing(struct grpc_call *call, const char *name)
{
    (void)name;
    grpc_call_finish_ok(call);
}

static void answer_big(struct grpc_call *call, const char *name)
{
    (void)name;
    char *text = calloc(1, 200001);
    memset(text, 'x', 200000);
    answer_pool(call, text);
    free(text);
}

static void answer_never(struct grpc_call *call, const char *name)
{
    (void)call;
    (void)name;
}

static void answer_goaway(struct grpc_call *call, const char *name)
{
    answer_pool(call, name);
    grpc_endpoint_shutdown(grpc_call_endpoint(call));
}

static const struct {
    const char *name;
    void (*answer)(struct grpc_call *call, const char *name);
} host_answers[] = {
    {"missing", answer_missing}, {"garbage", answer_garbage}, {"nothing", answer_nothing},
    {"big", answer_big},         {"hold", answer_never},      {"goaway", answer_goaway},
};

static void on_message(struct grpc_call *call, const uint8_t *message, size_t size, void *user)
{
    struct connection *connection = user;
    Ipam__V1__GetPoolRequest *request = ipam__v1__get_pool_request__unpack(NULL, size, message);
    void (*answer)(struct grpc_call *, const char *) = answer_pool;
    connection->host->n_calls++;
    assert(request != NULL);
    for (size_t i = 0; i < sizeof(host_answers) / sizeof(host_answers[0]); i++) {
        if (strcmp(request->name, host_answers[i].name) == 0) {
            answer = host_answers[i].answer;
        }
    }
    answer(call, request->name);
    ipam__v1__get_pool_request__free_unpacked(request, NULL);
}

static void on_close(struct grpc_call *call, void *user)
{
    struct connection *connection = user;
    (void)call;
    connection->host->n_closed++;
}

/* ---- Connections ----------------------------------------------------------------------------------------------- */

static void on_pipe_closed(uv_handle_t *handle)
{
    struct connection *connection = handle->data;
    grpc_endpoint_free(connection->endpoint);
    free(connection);
}

static void connection_drop(struct connection *connection)
{
    if (!uv_is_closing((uv_handle_t *)&connection->pipe)) {
        uv_close((uv_handle_t *)&connection->pipe, on_pipe_closed);
    }
}

static void on_written(uv_write_t *write, int status)
{
    (void)status;
    free(write);
}

/* Copies what can't be sent at once: simpler than ipamd, and enough here. */
static void connection_flush(struct connection *connection)
{
    const uint8_t *data;
    size_t size;
    while (grpc_endpoint_output(connection->endpoint, &data, &size, NULL) == 0 && size > 0) {
        uv_write_t *write = malloc(sizeof(*write) + size);
        uv_buf_t buffer = uv_buf_init((char *)(write + 1), (unsigned int)size);
        memcpy(buffer.base, data, size);
        grpc_endpoint_sent(connection->endpoint, size);
        uv_write(write, (uv_stream_t *)&connection->pipe, &buffer, 1, on_written);
    }
    if (grpc_endpoint_done(connection->endpoint)) {
        connection_drop(connection);
    }
}

static void on_allocate(uv_handle_t *handle, size_t suggested, uv_buf_t *ret)
{
    struct connection *connection = handle->data;
    (void)suggested;
    *ret = uv_buf_init(connection->input, sizeof(connection->input));
}

static void on_read(uv_stream_t *stream, ssize_t n, const uv_buf_t *buffer)
{
    struct connection *connection = stream->data;
    if (n < 0 || grpc_endpoint_receive(connection->endpoint, (const uint8_t *)buffer->base, (size_t)n, NULL) < 0) {
        connection_drop(connection);
        return;
    }
    connection_flush(connection);
}

static void on_connection(uv_stream_t *listener, int status)
{
    static const struct grpc_callbacks callbacks = {.on_message = on_message, .on_close = on_close};
    struct host *host = listener->data;
    struct connection *connection = calloc(1, sizeof(*connection));
    struct grpc_limits limits = {(uint32_t)host->n_streams, 4 << 20, 16384, 64 << 20};
    assert(status == 0);
    connection->host = host;
    connection->endpoint = grpc_server_new(&limits, &callbacks, connection);
    uv_pipe_init(&host->loop, &connection->pipe, 0);
    connection->pipe.data = connection;
    uv_accept(listener, (uv_stream_t *)&connection->pipe);
    uv_read_start((uv_stream_t *)&connection->pipe, on_allocate, on_read);
    host->n_connections++;
    connection_flush(connection);
}

/* ---- The thread ------------------------------------------------------------------------------------------------ */

static void close_handle(uv_handle_t *handle, void *user)
{
    struct host *host = user;
    if (uv_is_closing(handle)) {
        return;
    }
    bool is_own = handle == (uv_handle_t *)&host->listener || handle == (uv_handle_t *)&host->stop;
    uv_close(handle, is_own ? NULL : on_pipe_closed);
}

static void on_stop(uv_async_t *async)
{
    uv_walk(async->loop, close_handle, async->data);
}

static void *host_run(void *user)
{
    struct host *host = user;
    sigset_t pipe; /* of this thread alone: libipam in the other one must do without */
    sigemptyset(&pipe);
    sigaddset(&pipe, SIGPIPE);
    pthread_sigmask(SIG_BLOCK, &pipe, NULL);
    uv_loop_init(&host->loop);
    uv_async_init(&host->loop, &host->stop, on_stop);
    uv_pipe_init(&host->loop, &host->listener, 0);
    host->stop.data = host->listener.data = host;
    unlink(host->path);
    int code = uv_pipe_bind(&host->listener, host->path);
    assert(code == 0);
    code = uv_listen((uv_stream_t *)&host->listener, 128, on_connection);
    assert(code == 0);
    (void)code;
    uv_barrier_wait(&host->started);
    uv_run(&host->loop, UV_RUN_DEFAULT);
    uv_loop_close(&host->loop);
    return NULL;
}

void host_init(struct host *host)
{
    static unsigned int number;
    memset(host, 0, sizeof(*host));
    host->n_streams = 1000;
    snprintf(host->path, sizeof(host->path), "/tmp/test_client.%d.%u.sock", (int)getpid(), number++);
}

void host_start(struct host *host)
{
    uv_barrier_init(&host->started, 2);
    pthread_create(&host->thread, NULL, host_run, host);
    uv_barrier_wait(&host->started);
}

void host_stop(struct host *host)
{
    uv_async_send(&host->stop);
    pthread_join(host->thread, NULL);
    uv_barrier_destroy(&host->started);
    unlink(host->path);
}
