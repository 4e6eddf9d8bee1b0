#include "connection.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "log.h"

#define READ_SIZE 65536
/* Clients past the limit that are kept until their first call, to be told why it fails; past these the door stays shut. */
#define REFUSED_MAX 64

struct connection {
    uv_pipe_t pipe;
    struct rpc_peer peer;
    struct grpc_endpoint *endpoint;
    struct connections *all;
    struct connection *next, *prev; /* in all->first */
    struct connection *next_dirty;
    uv_write_t write;
    size_t write_size; /* bytes of the endpoint's output that `write` is sending; 0: none */
    bool dirty, broken;
    char command[32];
};

/* ---- Closing ----------------------------------------------------------------------------------------------------- */

static void connection_closed(uv_handle_t *handle)
{
    struct connection *connection = handle->data;
    grpc_endpoint_free(connection->endpoint);
    free(connection);
}

static void dirty_remove(struct connection *connection)
{
    struct connection **link = &connection->all->dirty;
    while (*link && *link != connection)
        link = &(*link)->next_dirty;
    if (*link)
        *link = connection->next_dirty;
    connection->dirty = false;
}

static void connection_close(struct connection *connection)
{
    struct connections *all = connection->all;
    if (uv_is_closing((uv_handle_t *)&connection->pipe))
        return;
    if (connection->dirty)
        dirty_remove(connection);
    *(connection->prev ? &connection->prev->next : &all->first) = connection->next;
    if (connection->next)
        connection->next->prev = connection->prev;
    *(connection->peer.refused ? &all->refused : &all->count) -= 1;
    rpc_server_counters(all->rpc)->connections -= !connection->peer.refused;
    uv_close((uv_handle_t *)&connection->pipe, connection_closed);
}

/* ---- Sending ----------------------------------------------------------------------------------------------------- */

static void dirty_add(struct connection *connection)
{
    if (connection->dirty || uv_is_closing((uv_handle_t *)&connection->pipe))
        return;
    connection->dirty = true;
    connection->next_dirty = connection->all->dirty;
    connection->all->dirty = connection;
}

void connection_wake(struct grpc_endpoint *endpoint)
{
    struct rpc_peer *peer = grpc_endpoint_user(endpoint);
    dirty_add((struct connection *)((char *)peer - offsetof(struct connection, peer)));
}

static void write_done(uv_write_t *request, int status)
{
    struct connection *connection = request->data;
    size_t size = connection->write_size;
    connection->write_size = 0;
    if (status < 0) {
        connection_close(connection);
        return;
    }
    grpc_endpoint_sent(connection->endpoint, size);
    dirty_add(connection);
}

/* The socket is full: libuv sends the rest when it can. The endpoint keeps the bytes in place until
 * they are sent. */
static void write_later(struct connection *connection, const uint8_t *data, size_t size)
{
    uv_buf_t buffer = uv_buf_init((char *)data, (unsigned int)size);
    connection->write.data = connection;
    connection->write_size = size;
    if (uv_write(&connection->write, (uv_stream_t *)&connection->pipe, &buffer, 1, write_done) < 0) {
        connection->write_size = 0;
        connection_close(connection);
    }
}

static void connection_flush(struct connection *connection)
{
    const uint8_t *data;
    size_t size;
    struct ipam_error error;
    while (connection->write_size == 0) {
        if (grpc_endpoint_output(connection->endpoint, &data, &size, &error) < 0) {
            if (!connection->broken) /* else it was said when it broke */
                log_error(&error, "client %s (uid %u): disconnected", connection->command, connection->peer.actor.uid);
            connection_close(connection);
            return;
        }
        if (size == 0) {
            if (connection->broken || grpc_endpoint_done(connection->endpoint))
                connection_close(connection);
            else if (rpc_peer_resume(&connection->peer))
                continue;
            return;
        }
        uv_buf_t buffer = uv_buf_init((char *)data, (unsigned int)size);
        int sent = uv_try_write((uv_stream_t *)&connection->pipe, &buffer, 1);
        if (sent < 0 && sent != UV_EAGAIN) {
            connection_close(connection);
            return;
        }
        if (sent > 0)
            grpc_endpoint_sent(connection->endpoint, (size_t)sent);
        if (sent < 0 || (size_t)sent < size) {
            size_t skip = sent > 0 ? (size_t)sent : 0;
            write_later(connection, data + skip, size - skip);
        }
    }
}

void connections_flush(struct connections *all)
{
    while (all->dirty) {
        struct connection *connection = all->dirty;
        all->dirty = connection->next_dirty;
        connection->dirty = false;
        connection_flush(connection);
    }
}

/* ---- Receiving --------------------------------------------------------------------------------------------------- */

static void buffer_lend(uv_handle_t *handle, size_t suggested, uv_buf_t *ret)
{
    static char buffer[READ_SIZE]; /* one loop, one read at a time: consumed before the next is lent */
    (void)handle, (void)suggested;
    *ret = uv_buf_init(buffer, sizeof buffer);
}

static void bytes_read(uv_stream_t *stream, ssize_t size, const uv_buf_t *buffer)
{
    struct connection *connection = stream->data;
    struct ipam_error error;
    if (size < 0) {
        connection_close(connection);
        return;
    }
    if (size == 0 || connection->broken)
        return;
    if (grpc_endpoint_receive(connection->endpoint, (const uint8_t *)buffer->base, (size_t)size, &error) < 0) {
        log_error(&error, "client %s (uid %u): disconnecting", connection->command, connection->peer.actor.uid);
        connection->broken = true; /* what it has still to say, a GOAWAY, goes out first */
        uv_read_stop(stream);
    }
    dirty_add(connection);
}

/* ---- Accepting --------------------------------------------------------------------------------------------------- */

static void command_read(pid_t pid, char *ret, size_t size)
{
    char path[64];
    snprintf(path, sizeof path, "/proc/%d/comm", (int)pid);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t got = fd < 0 ? -1 : read(fd, ret, size - 1);
    if (fd >= 0)
        close(fd);
    ret[got > 0 ? got : 0] = '\0';
    ret[strcspn(ret, "\n")] = '\0';
    for (char *byte = ret; *byte; byte++)
        if (*byte < ' ' || *byte > '~')
            *byte = '?'; /* a process names itself as it likes */
}

static void peer_identify(struct connection *connection)
{
    struct ucred cred = {.uid = (uid_t)-1};
    socklen_t size = sizeof cred;
    uv_os_fd_t fd;
    if (uv_fileno((uv_handle_t *)&connection->pipe, &fd) == 0 &&
        getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &cred, &size) == 0)
        command_read(cred.pid, connection->command, sizeof connection->command);
    struct actor actor = {.uid = cred.uid, .command = connection->command, .method = ""};
    rpc_peer_init(&connection->peer, connection->all->rpc, &actor, connection->all->limits.max_unread);
}

static void connection_dropped(uv_handle_t *handle)
{
    free(handle->data);
}

static bool room_for_client(const struct connections *all)
{
    return !all->stopping && (all->count < all->max || all->refused < REFUSED_MAX);
}

void connection_accept(struct connections *all, uv_stream_t *listener)
{
    struct connection *connection = mem_zalloc(sizeof *connection);
    uv_pipe_init(all->loop, &connection->pipe, 0);
    connection->pipe.data = connection;
    connection->all = all;
    if (uv_accept(listener, (uv_stream_t *)&connection->pipe) < 0 || !room_for_client(all)) {
        uv_close((uv_handle_t *)&connection->pipe, connection_dropped);
        return;
    }
    peer_identify(connection);
    connection->peer.refused = all->count >= all->max;
    connection->endpoint = grpc_server_new(&all->limits, &rpc_callbacks, &connection->peer);
    connection->next = all->first;
    if (all->first)
        all->first->prev = connection;
    all->first = connection;
    *(connection->peer.refused ? &all->refused : &all->count) += 1;
    rpc_server_counters(all->rpc)->connections += !connection->peer.refused;
    rpc_server_counters(all->rpc)->connections_total++;
    dirty_add(connection); /* SETTINGS */
    if (uv_read_start((uv_stream_t *)&connection->pipe, buffer_lend, bytes_read) < 0)
        connection_close(connection);
}

/* ---- Stopping ---------------------------------------------------------------------------------------------------- */

void connections_shutdown(struct connections *all)
{
    all->stopping = true;
    for (struct connection *connection = all->first; connection; connection = connection->next) {
        grpc_endpoint_shutdown(connection->endpoint);
        dirty_add(connection);
    }
}

void connections_abort(struct connections *all)
{
    while (all->first)
        connection_close(all->first);
}
