#include "connection.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "log.h"

#define READ_SIZE       16384 /* that a client is given in one turn of the loop: a busy one must not hold up the others */
#define FIRST_READ_SIZE 2048 /* nor must many that come at once, before they stand in line */
/* What those take in one turn that stand in line, because they had more to bring than that. */
#define TURN_NS  500000
#define LIGHT_NS 5000000 /* how long a client that brings little counts as being served */
/* Clients past the limit that are kept until their first call, to be told why it fails; past these the door stays shut. */
#define REFUSED_MAX 64
/* Lines in the log about clients between two sweeps: a flood of broken ones must not become one of lines. */
#define LINES_MAX 50
/* Frames without request or data that a client earns between two sweeps. */
#define SWEEP_CREDIT 1000

/* The clients of a user. */
struct connection_user {
    struct connection_user *next;
    uid_t uid;
    size_t count;
};

/* Something that waits for the peer: since when its number has been the same. */
struct stand {
    uint64_t number, since; /* since: ms; 0: nothing waits */
};

struct connection {
    uv_pipe_t pipe;
    struct rpc_peer peer;
    struct connection_user *user;
    struct grpc_endpoint *endpoint; /* NULL until the first byte comes: who says nothing costs next to nothing */
    size_t buffered;                /* what it counts for in all->buffered */
    uint64_t opened, writes;        /* ms; writes that were done */
    struct stand idle, receiving, sending, writing;
    struct connections *all;
    struct connection *next, *prev; /* in all->first */
    struct connection *next_dirty;
    uv_write_t write;
    size_t write_size; /* bytes of the endpoint's output that `write` is sending; 0: none */
    bool dirty, broken;
    TAILQ_ENTRY(connection) line; /* in all->paused */
    bool paused, is_heavy;        /* it stood in line when it brought bytes the last time */
    uint64_t turn, spent;         /* ns in that turn: receiving, what that led to, and sending */
    char command[32];
};

/* ---- What is said of clients ------------------------------------------------------------------------------------- */

static bool line_is_due(struct connections *all)
{
    if (all->lines++ < LINES_MAX)
        return true;
    all->lines_left_out++;
    return false;
}

static void lines_count_anew(struct connections *all)
{
    if (all->lines_left_out > 0)
        log_warning("%zu more clients were disconnected, their lines are left out", all->lines_left_out);
    all->lines = all->lines_left_out = 0;
}

static void log_disconnecting(struct connection *connection, const struct ipam_error *error)
{
    if (line_is_due(connection->all))
        log_error(error, "client %s (uid %u): disconnecting", connection->command, connection->peer.actor.uid);
}

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

static void user_leave(struct connections *all, struct connection_user *user)
{
    struct connection_user **link = &all->users;
    if (--user->count > 0)
        return;
    while (*link != user)
        link = &(*link)->next;
    *link = user->next;
    free(user);
}

static void connection_close(struct connection *connection)
{
    struct connections *all = connection->all;
    if (uv_is_closing((uv_handle_t *)&connection->pipe))
        return;
    if (connection->dirty)
        dirty_remove(connection);
    if (connection->paused)
        TAILQ_REMOVE(&all->paused, connection, line);
    if (all->light == connection)
        all->light = NULL;
    *(connection->prev ? &connection->prev->next : &all->first) = connection->next;
    if (connection->next)
        connection->next->prev = connection->prev;
    *(connection->peer.refused ? &all->refused : &all->count) -= 1;
    rpc_server_counters(all->rpc)->connections -= !connection->peer.refused;
    all->buffered -= connection->buffered;
    user_leave(all, connection->user);
    rpc_peer_done(&connection->peer);
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
    connection->writes++;
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
    while (connection->endpoint && connection->write_size == 0) {
        if (grpc_endpoint_output(connection->endpoint, &data, &size, &error) < 0) {
            if (!connection->broken) /* else it was said when it broke */
                log_disconnecting(connection, &error);
            connection_close(connection);
            return;
        }
        if (size == 0) {
            if (connection->broken || grpc_endpoint_done(connection->endpoint))
                connection_close(connection);
            else
                rpc_peer_resume(&connection->peer);
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

static void buffered_count(struct connection *connection)
{
    size_t held = connection->endpoint ? grpc_endpoint_held(connection->endpoint) + connection->peer.held : 0;
    if (uv_is_closing((uv_handle_t *)&connection->pipe))
        return;
    connection->all->buffered += held - connection->buffered;
    connection->buffered = held;
}

/* All clients together have more waiting than may be: the one that has most goes. */
static void buffered_shrink(struct connections *all)
{
    struct ipam_error error;
    while (all->buffered > all->max_buffered && all->first) {
        struct connection *most = all->first;
        for (struct connection *each = all->first; each; each = each->next)
            most = each->buffered > most->buffered ? each : most;
        ipam_error_set(
            &error, IPAM_REASON_LIMIT_EXCEEDED,
            "requests and replies of all clients hold more than --max-buffered allows (%zu bytes), and it has "
            "most of them (%zu)",
            all->max_buffered, most->buffered);
        log_disconnecting(most, &error);
        connection_close(most);
        most->endpoint = grpc_endpoint_free(most->endpoint); /* its memory is wanted now, not when the turn is over */
    }
}

bool connections_crowded(const struct connections *all)
{
    return all->buffered > all->max_buffered / 2;
}

static void spend(struct connection *connection, uint64_t begin)
{
    if (connection->turn != connection->all->turn)
        connection->spent = 0;
    connection->turn = connection->all->turn;
    uint64_t spent = uv_hrtime() - begin;
    connection->spent += spent;
    connection->all->heavy_spent += connection->is_heavy ? spent : 0;
}

static void paused_read_on(struct connections *all);

void connections_flush(struct connections *all)
{
    while (all->dirty) {
        struct connection *connection = all->dirty;
        uint64_t begin = uv_hrtime();
        all->dirty = connection->next_dirty;
        connection->dirty = false;
        connection_flush(connection);
        buffered_count(connection);
        spend(connection, begin);
        buffered_shrink(all);
    }
    paused_read_on(all);
    all->turn++;
}

/* ---- Receiving --------------------------------------------------------------------------------------------------- */

static void buffer_lend(uv_handle_t *handle, size_t suggested, uv_buf_t *ret)
{
    static char buffer[READ_SIZE]; /* one loop, one read at a time: consumed before the next is lent */
    const struct connection *connection = handle->data;
    (void)suggested;
    *ret = uv_buf_init(buffer, connection->endpoint ? READ_SIZE : FIRST_READ_SIZE);
}

static void light_note(const struct connection *connection)
{
    connection->all->light = connection;
    connection->all->light_at = uv_hrtime();
}

static void read_pause(struct connection *connection)
{
    connection->paused = true;
    TAILQ_INSERT_TAIL(&connection->all->paused, connection, line);
    uv_read_stop((uv_stream_t *)&connection->pipe);
}

/* What a client has sent so far, and what is left of its turn. */
static void bytes_take(struct connection *connection, const uv_buf_t *buffer, size_t size)
{
    struct connections *all = connection->all;
    struct ipam_error error;
    uint64_t begin = uv_hrtime();
    if (!connection->endpoint)
        connection->endpoint = grpc_server_new(&all->limits, &rpc_callbacks, &connection->peer);
    if (grpc_endpoint_receive(connection->endpoint, (const uint8_t *)buffer->base, size, &error) < 0) {
        log_disconnecting(connection, &error);
        connection->broken = true; /* what it has still to say, a GOAWAY, goes out first */
        uv_read_stop((uv_stream_t *)&connection->pipe);
    } else {
        spend(connection, begin);
        connection->is_heavy = size == buffer->len;
        if (connection->is_heavy) /* a full buffer: libuv would go on for 32 times as much */
            read_pause(connection);
        else
            light_note(connection);
    }
    dirty_add(connection);
    buffered_count(connection);
    buffered_shrink(all); /* one turn may bring as much from each of many clients */
}

static void bytes_read(uv_stream_t *stream, ssize_t size, const uv_buf_t *buffer)
{
    struct connection *connection = stream->data;
    if (size < 0) {
        connection_close(connection);
        return;
    }
    if (size == 0 || connection->broken)
        return;
    bytes_take(connection, buffer, (size_t)size);
}

/* ns that those in line must still stand back: while others are served they take half of the time. */
static uint64_t line_stands_back(const struct connections *all, uint64_t now)
{
    uint64_t due = all->heavy_at + 2 * all->heavy_spent;
    bool is_alone = now - all->light_at > LIGHT_NS || all->light == TAILQ_FIRST(&all->paused);
    return is_alone || now >= due ? 0 : due - now;
}

/* As many as took a turn's time when they read last, and one at least: a thousand busy clients make no turn of a second. */
static void paused_read_on(struct connections *all)
{
    uint64_t now = uv_hrtime(), spent = 0;
    if (TAILQ_EMPTY(&all->paused) || line_stands_back(all, now) > 0)
        return;
    all->heavy_at = now;
    all->heavy_spent = 0;
    while (!TAILQ_EMPTY(&all->paused) && spent < TURN_NS) {
        struct connection *connection = TAILQ_FIRST(&all->paused);
        TAILQ_REMOVE(&all->paused, connection, line);
        connection->paused = false;
        spent += connection->spent;
        if (uv_read_start((uv_stream_t *)&connection->pipe, buffer_lend, bytes_read) < 0)
            connection_close(connection);
    }
}

bool connections_wait(const struct connections *all, uint64_t *ret_ms)
{
    *ret_ms = (line_stands_back(all, uv_hrtime()) + 999999) / 1000000;
    return !TAILQ_EMPTY(&all->paused);
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
    struct connections *all = connection->all;
    struct ucred cred = {.uid = (uid_t)-1};
    socklen_t size = sizeof cred;
    uv_os_fd_t fd;
    enum rpc_role role = RPC_ROLE_NONE;
    if (uv_fileno((uv_handle_t *)&connection->pipe, &fd) == 0 &&
        getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &cred, &size) == 0) {
        command_read(cred.pid, connection->command, sizeof connection->command);
        role = access_role(all->access, fd, &cred);
    }
    struct actor actor = {.uid = cred.uid, .command = connection->command, .method = ""};
    rpc_peer_init(&connection->peer, all->rpc, &actor, role, all->limits.max_unread);
    if (role == RPC_ROLE_ALLOCATE)
        connection->peer.scope = access_scope(all->access, fd, &cred);
}

static struct connection_user *user_enter(struct connections *all, uid_t uid)
{
    struct connection_user *user = all->users;
    while (user && user->uid != uid)
        user = user->next;
    if (!user) {
        user = mem_alloc(sizeof *user);
        *user = (struct connection_user){.next = all->users, .uid = uid};
        all->users = user;
    }
    user->count++;
    return user;
}

static const char *refusal_of(const struct connections *all, const struct connection_user *user)
{
    if (all->count >= all->max)
        return "too many clients: as many as --max-connections allows are connected; close idle ones, or raise it";
    if (user->count > all->max_user)
        return "too many clients: this user has as many connected as --max-user-connections allows; close idle ones, "
               "or "
               "raise it";
    return NULL;
}

static void connection_dropped(uv_handle_t *handle)
{
    free(handle->data);
}

static void connection_enter(struct connection *connection)
{
    struct connections *all = connection->all;
    connection->next = all->first;
    if (all->first)
        all->first->prev = connection;
    all->first = connection;
    connection->user = user_enter(all, connection->peer.actor.uid);
    connection->peer.refused = refusal_of(all, connection->user);
    *(connection->peer.refused ? &all->refused : &all->count) += 1;
    rpc_server_counters(all->rpc)->connections += !connection->peer.refused;
    rpc_server_counters(all->rpc)->connections_total++;
}

void connection_accept(struct connections *all, uv_stream_t *listener)
{
    struct connection *connection = mem_zalloc(sizeof *connection);
    uv_pipe_init(all->loop, &connection->pipe, 0);
    connection->pipe.data = connection;
    connection->all = all;
    connection->opened = uv_now(all->loop);
    if (uv_accept(listener, (uv_stream_t *)&connection->pipe) < 0 || all->stopping) {
        uv_close((uv_handle_t *)&connection->pipe, connection_dropped);
        return;
    }
    peer_identify(connection);
    connection_enter(connection);
    if ((connection->peer.refused && all->refused > REFUSED_MAX) ||
        uv_read_start((uv_stream_t *)&connection->pipe, buffer_lend, bytes_read) < 0)
        connection_close(connection);
}

/* ---- Those that take too long ------------------------------------------------------------------------------------ */

/* How long, in ms, what waits has been seen to stand still. */
static uint64_t stands_still(struct stand *stand, bool waits, uint64_t number, uint64_t now)
{
    if (!waits)
        stand->since = 0;
    else if (stand->since == 0 || stand->number != number)
        *stand = (struct stand){number, now};
    return waits ? now - stand->since : 0;
}

static bool past(uint64_t time, uint64_t timeout)
{
    return timeout > 0 && time >= timeout;
}

/* NULL: nothing. */
static const char *overdue(struct connection *connection, uint64_t now)
{
    const struct connection_timeouts *timeouts = &connection->all->timeouts;
    bool began = connection->endpoint && grpc_endpoint_ready(connection->endpoint);
    if (!began || connection->peer.refused)
        return past(now - connection->opened, timeouts->handshake)
                   ? "it took longer to begin HTTP/2 than --handshake-timeout allows"
                   : NULL;
    struct grpc_progress progress = grpc_endpoint_progress(connection->endpoint);
    bool writes = connection->write_size > 0;
    if (past(stands_still(&connection->receiving, progress.receiving, progress.received, now), timeouts->stall))
        return "a frame or header list stayed half sent for longer than --stall-timeout allows";
    if (past(stands_still(&connection->sending, progress.sending, progress.taken, now), timeouts->stall) ||
        past(stands_still(&connection->writing, writes, connection->writes, now), timeouts->stall))
        return "it read nothing of its replies for longer than --stall-timeout allows";
    return NULL;
}

static void idle_check(struct connection *connection, uint64_t now)
{
    struct grpc_progress progress = grpc_endpoint_progress(connection->endpoint);
    bool is_idle = grpc_endpoint_calls(connection->endpoint) == 0;
    uint64_t idle = stands_still(&connection->idle, is_idle, progress.calls, now);
    if (idle > 0)
        grpc_endpoint_trim(connection->endpoint);
    if (past(idle, connection->all->timeouts.idle))
        grpc_endpoint_shutdown(connection->endpoint);
    dirty_add(connection);
}

void connections_sweep(struct connections *all)
{
    uint64_t now = uv_now(all->loop);
    struct ipam_error error;
    for (struct connection *connection = all->first, *next; connection; connection = next) {
        next = connection->next;
        const char *why = overdue(connection, now);
        if (why) {
            ipam_error_set(&error, IPAM_REASON_DEADLINE_EXCEEDED, "%s", why);
            log_disconnecting(connection, &error);
            connection_close(connection);
        } else if (connection->endpoint) {
            grpc_endpoint_earn(connection->endpoint, SWEEP_CREDIT);
            idle_check(connection, now);
        }
    }
    lines_count_anew(all);
}

/* ---- Stopping ---------------------------------------------------------------------------------------------------- */

void connections_shutdown(struct connections *all)
{
    all->stopping = true;
    for (struct connection *connection = all->first, *next; connection; connection = next) {
        next = connection->next;
        if (connection->endpoint)
            grpc_endpoint_shutdown(connection->endpoint);
        else
            connection_close(connection);
        dirty_add(connection);
    }
}

void connections_abort(struct connections *all)
{
    while (all->first)
        connection_close(all->first);
}
