#include "connection.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#define READS_PER_TURN 4 /* the loop's other handles get their turn, too */

/* What the library lets ipamd make it hold. Requests are the caller's own: nothing is lost for them. */
static struct grpc_limits endpoint_limits(const struct ipam_options *options)
{
    return (struct grpc_limits){
        .max_streams = 1u << 20,
        .max_message = options->max_message,
        .max_header_list = 64 * 1024,
        .max_unread = SIZE_MAX,
    };
}

bool connection_ready(const struct connection *connection)
{
    return connection->state == CONNECTION_OPEN && grpc_endpoint_ready(connection->endpoint);
}

/* ---- Losing it ------------------------------------------------------------------------------------------------- */

static void on_retry(uv_timer_t *timer)
{
    struct connection *connection = timer->data;
    connection->state = CONNECTION_NONE;
    connection->callbacks.wake(connection->user);
}

/* Between half and all of the time, so that clients that lost ipamd at the same moment don't come back as one. */
static uint64_t jitter(struct connection *connection, uint64_t ms)
{
    uint64_t x = connection->random; /* xorshift64 */
    x ^= x << 13;
    x ^= x >> 7;
    x ^= x << 17;
    connection->random = x;
    return ms / 2 + x % (ms / 2 + 1);
}

static void back_off(struct connection *connection)
{
    uint64_t delay = jitter(connection, connection->backoff_ms);
    connection->state = CONNECTION_BACKOFF;
    connection->backoff_ms *= 2;
    if (connection->backoff_ms > connection->options->backoff_max_ms) {
        connection->backoff_ms = connection->options->backoff_max_ms;
    }
    uv_timer_start(&connection->retry, on_retry, delay, 0);
}

static void attempt_failed(struct connection *connection)
{
    connection->is_unreachable = true;
    back_off(connection);
    connection->callbacks.unreachable(connection->user);
}

/* After a good connection the next attempt is made at once, but never more often than backoff_min. */
static void try_again(struct connection *connection)
{
    uint64_t since = uv_now(connection->loop) - connection->attempted_at;
    connection->backoff_ms = connection->options->backoff_min_ms;
    if (since < connection->backoff_ms) {
        back_off(connection);
        return;
    }
    connection->state = CONNECTION_NONE;
    connection->callbacks.wake(connection->user);
}

static void handle_closed(struct connection *connection)
{
    if (--connection->n_handles == 0) {
        connection->callbacks.closed(connection->user);
    }
}

/* Freeing the endpoint ends the calls that are open; their callbacks must find the state that holds from now on. */
static void on_poll_closed(uv_handle_t *handle)
{
    struct connection *connection = handle->data;
    struct grpc_endpoint *endpoint = connection->endpoint;
    bool was_ready = grpc_endpoint_ready(endpoint);
    close(connection->fd);
    connection->endpoint = NULL;
    if (connection->state != CONNECTION_OVER && was_ready) {
        try_again(connection);
    } else if (connection->state != CONNECTION_OVER) {
        attempt_failed(connection);
    }
    grpc_endpoint_free(endpoint);
    handle_closed(connection);
}

static void connection_lost(struct connection *connection, const char *why)
{
    if (connection->state != CONNECTION_OPEN) {
        return;
    }
    ipam_error_set(&connection->why, IPAM_REASON_UNREACHABLE, "connection to ipamd at %s was lost: %s",
                   connection->options->socket, why);
    connection->state = CONNECTION_CLOSING;
    uv_close((uv_handle_t *)&connection->poll, on_poll_closed);
}

/* ---- Moving bytes ---------------------------------------------------------------------------------------------- */

static void on_poll(uv_poll_t *poll, int status, int events);

static void poll_for(struct connection *connection, bool writable)
{
    if (connection->polls_writable != writable) {
        connection->polls_writable = writable;
        uv_poll_start(&connection->poll, UV_READABLE | (writable ? UV_WRITABLE : 0), on_poll);
    }
}

/* 1: sent something; 0: not now. A peer that is gone shows when its last words have been read. */
static int send_some(struct connection *connection, const uint8_t *data, size_t size)
{
    ssize_t n = send(connection->fd, data, size, MSG_NOSIGNAL | MSG_DONTWAIT);
    if (n >= 0) {
        grpc_endpoint_sent(connection->endpoint, (size_t)n);
        return 1;
    }
    if (errno == EINTR) {
        return 1;
    }
    if (errno == EAGAIN) {
        poll_for(connection, true);
    }
    return 0;
}

static void connection_flush(struct connection *connection)
{
    struct ipam_error error;
    const uint8_t *data;
    size_t size = 1;
    while (connection->state == CONNECTION_OPEN) {
        if (grpc_endpoint_output(connection->endpoint, &data, &size, &error) < 0) {
            connection_lost(connection, error.message);
            return;
        }
        if (size == 0) {
            poll_for(connection, false);
            break;
        }
        if (send_some(connection, data, size) == 0) {
            return;
        }
    }
    if (connection->state == CONNECTION_OPEN && grpc_endpoint_done(connection->endpoint)) {
        connection_lost(connection, "it takes no more calls");
    }
}

/* True when there may be more to read. */
static bool read_some(struct connection *connection)
{
    struct ipam_error error;
    ssize_t n = recv(connection->fd, connection->input, sizeof(connection->input), MSG_DONTWAIT);
    if (n < 0 && (errno == EAGAIN || errno == EINTR)) {
        return false;
    }
    if (n <= 0) {
        connection_lost(connection, n == 0 ? "ipamd closed it" : strerrordesc_np(errno));
        return false;
    }
    if (grpc_endpoint_receive(connection->endpoint, connection->input, (size_t)n, &error) < 0) {
        connection_lost(connection, error.message);
    }
    return (size_t)n == sizeof(connection->input);
}

static void on_poll(uv_poll_t *poll, int status, int events)
{
    struct connection *connection = poll->data;
    bool more =
        status != 0 || (events & UV_READABLE) != 0; /* libuv calls every poll error EBADF: reading tells which */
    for (int i = 0; i < READS_PER_TURN && more && connection->state == CONNECTION_OPEN; i++) {
        more = read_some(connection);
    }
    if (status != 0) {
        connection_lost(connection, "the socket failed");
    }
    if (connection_ready(connection)) {
        connection->is_unreachable = false;
    }
    if (connection->state == CONNECTION_OPEN) {
        connection->callbacks.wake(connection->user);
    }
}

/* ---- Making it ------------------------------------------------------------------------------------------------- */

/* What to look at, by errno. */
static const struct {
    int code;
    const char *hint;
} connect_hints[] = {
    {ENOENT, "; is ipamd running?"},
    {ECONNREFUSED, "; is ipamd running?"},
    {EACCES, "; it takes write permission on the socket and search permission on the folders above it"},
    {ENOTDIR, "; a part of the path is no folder"},
    {EPROTOTYPE, "; it is a socket of another type"},
    {EAGAIN, "; more clients are waiting to be accepted than it allows"},
};

static void connect_failed(struct connection *connection, int code)
{
    const char *hint = "";
    for (size_t i = 0; i < sizeof(connect_hints) / sizeof(connect_hints[0]); i++) {
        hint = connect_hints[i].code == code ? connect_hints[i].hint : hint;
    }
    ipam_error_set(&connection->why, IPAM_REASON_UNREACHABLE, "can't reach ipamd at %s: %s%s",
                   connection->options->socket, strerrordesc_np(code), hint);
    if (code == EAGAIN) { /* it is there, and busy: calls wait */
        back_off(connection);
    } else {
        attempt_failed(connection);
    }
}

/* A socket that is connected, or -errno: a Unix socket connects at once or not at all. */
static int open_socket(const char *path)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0) {
        return -errno;
    }
    memcpy(address.sun_path, path, strlen(path)); /* options_resolve saw to its length */
    if (connect(fd, (const struct sockaddr *)&address, sizeof(address)) < 0) {
        int code = errno;
        close(fd);
        return -code;
    }
    return fd;
}

static void connection_open(struct connection *connection)
{
    struct grpc_limits limits = endpoint_limits(connection->options);
    connection->attempted_at = uv_now(connection->loop);
    int fd = open_socket(connection->options->socket);
    if (fd < 0) {
        connect_failed(connection, -fd);
        return;
    }
    int code = uv_poll_init(connection->loop, &connection->poll, fd);
    if (code < 0) {
        close(fd);
        connect_failed(connection, -code);
        return;
    }
    connection->fd = fd;
    connection->poll.data = connection;
    connection->n_handles++;
    connection->polls_writable = false;
    connection->state = CONNECTION_OPEN;
    connection->endpoint =
        grpc_client_new(&limits, &connection->grpc_callbacks, connection->options->user_agent, connection->user);
    uv_poll_start(&connection->poll, UV_READABLE, on_poll);
}

void connection_turn(struct connection *connection)
{
    if (connection->state == CONNECTION_NONE) {
        connection_open(connection);
    }
    connection_flush(connection);
}

void connection_retry_now(struct connection *connection)
{
    if (connection->state == CONNECTION_BACKOFF) {
        uv_timer_stop(&connection->retry);
        connection->is_unreachable = false;
        on_retry(&connection->retry);
    }
}

void connection_init(struct connection *connection, uv_loop_t *loop, const struct ipam_options *options,
                     const struct connection_callbacks *callbacks, const struct grpc_callbacks *grpc_callbacks,
                     void *user)
{
    connection->loop = loop;
    connection->options = options;
    connection->callbacks = *callbacks;
    connection->grpc_callbacks = *grpc_callbacks;
    connection->user = user;
    connection->state = CONNECTION_NONE;
    connection->backoff_ms = options->backoff_min_ms;
    connection->random = (uv_hrtime() ^ (uintptr_t)connection) | 1; /* xorshift sticks at 0 */
    uv_timer_init(loop, &connection->retry);
    connection->retry.data = connection;
    connection->n_handles = 1;
}

static void on_retry_closed(uv_handle_t *handle)
{
    handle_closed(handle->data);
}

void connection_close(struct connection *connection)
{
    bool was_open = connection->state == CONNECTION_OPEN;
    connection->state = CONNECTION_OVER;
    if (was_open) {
        uv_close((uv_handle_t *)&connection->poll, on_poll_closed);
    }
    uv_close((uv_handle_t *)&connection->retry, on_retry_closed);
}
