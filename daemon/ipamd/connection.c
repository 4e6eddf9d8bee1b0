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
/* What all clients of a user take in one turn while others are served, before the rest of them stand in line. */
#define SHARE_NS 2000000
/* Clients past the limit that are kept until their first call, to be told why it fails; past these the door stays shut. */
#define REFUSED_MAX 64
/* Clients without a role that are taken in, in a ms and at once. */
#define ROLELESS_A_MS  1
#define ROLELESS_BURST 256
/* Lines in the log about clients between two sweeps, and of these about those of one user: a flood of broken ones must not
 * become one of lines, nor hide what is said of others. */
#define LINES_MAX      48
#define LINES_USER_MAX 12
/* Frames without request or data that a client earns between two sweeps. */
#define SWEEP_CREDIT 1000
/* A user whose clients hold too much has what they keep for later taken away, but no more often than that, in ms. */
#define TRIM_MS 100

TAILQ_HEAD(connection_list, connection);

struct connection_user {
    struct seat_user seat; /* first member */
    struct connection_list connections;
    struct share *share, own;
    size_t buffered;     /* bytes, of all->buffered */
    size_t lines;        /* said of it since the last sweep; it is held while there are any */
    uint64_t trimmed_at; /* ms */
};

/* Something that waits for the peer: since when its number has been the same. */
struct stand {
    uint64_t number, since; /* since: ms; 0: nothing waits */
};

struct connection {
    uv_pipe_t pipe;
    struct rpc_peer peer;
    struct connection_user *user; /* until it closes */
    struct grpc_endpoint
        *endpoint;           /* NULL until the first byte comes, as who says nothing costs next to nothing; and when it
                                       closes: what libuv says afterwards has no part in it */
    size_t buffered;         /* what it counts for in all->buffered */
    uint64_t opened, writes; /* ms; writes that were done */
    uint64_t calls;          /* that had begun by the last sweep */
    struct stand idle, receiving, sending, writing;
    struct connections *all;
    struct connection *next, *prev; /* in all->first */
    TAILQ_ENTRY(connection) of_user;
    struct connection *next_dirty;
    uv_write_t write;
    uint8_t
        *rest; /* that libuv is writing; it is the connection's own until libuv has told the end of it. NULL: none */
    size_t rest_size;
    bool dirty, broken;
    TAILQ_ENTRY(connection) line; /* in its share's paused */
    bool paused, is_heavy;        /* it stood in line when it brought bytes the last time */
    uint64_t turn, spent;         /* ns in that turn: receiving, what that led to, and sending */
    char command[32];
};

static bool is_closing(const struct connection *connection)
{
    return uv_is_closing((const uv_handle_t *)&connection->pipe);
}

/* ---- What is said of clients ------------------------------------------------------------------------------------- */

static bool line_is_due(struct connections *all, struct connection_user *user)
{
    all->lines[user->seat.rank]++;
    if (user->lines < LINES_USER_MAX && !rank_over(all->lines, LINES_MAX)) {
        user->seat.holds += user->lines++ == 0;
        return true;
    }
    all->lines[user->seat.rank]--;
    all->lines_left_out++;
    return false;
}

static void lines_count_anew(struct connections *all)
{
    if (all->lines_left_out > 0)
        log_warning("%zu more clients were disconnected, their lines are left out", all->lines_left_out);
    memset(all->lines, 0, sizeof all->lines);
    all->lines_left_out = 0;
    struct seat_user *each, *next;
    for (each = TAILQ_FIRST(&all->seats.users); each; each = next) {
        struct connection_user *user = (struct connection_user *)each;
        next = TAILQ_NEXT(each, link);
        if (user->lines == 0)
            continue;
        user->lines = 0;
        user_let_go(&all->seats, each);
    }
}

static void log_disconnecting(struct connection *connection, const struct ipam_error *error)
{
    if (line_is_due(connection->all, connection->user))
        log_error(error, "client %s (uid %u): disconnecting", connection->command, connection->peer.actor.uid);
}

/* ---- Closing ----------------------------------------------------------------------------------------------------- */

/* After all that libuv had to say of it, in whatever order. */
static void connection_closed(uv_handle_t *handle)
{
    struct connection *connection = handle->data;
    free(connection->rest);
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

static void line_leave(struct connection *connection)
{
    struct share *share = connection->user->share;
    if (!connection->paused)
        return;
    connection->paused = false;
    TAILQ_REMOVE(&share->paused, connection, line);
    if (TAILQ_EMPTY(&share->paused))
        TAILQ_REMOVE(&connection->all->line, share, line);
}

static void buffered_set(struct connection *connection, size_t held)
{
    struct connections *all = connection->all;
    all->buffered += held - connection->buffered;
    all->buffered_of[connection->user->seat.rank] += held - connection->buffered;
    connection->user->buffered += held - connection->buffered;
    connection->buffered = held;
}

static void user_leave(struct connection *connection)
{
    struct connections *all = connection->all;
    struct connection_user *user = connection->user;
    connection->user = NULL;
    TAILQ_REMOVE(&user->connections, connection, of_user);
    if (connection->peer.refused)
        all->refused--;
    else
        seat_leave(&all->seats, &user->seat);
    rpc_server_counters(all->rpc)->connections = all->seats.count;
    user_let_go(&all->seats, &user->seat);
}

/* The one place where a client goes. Its memory is wanted now, not when the loop has come round: all but the connection itself
 * and what libuv is writing goes at once. */
static void connection_close(struct connection *connection)
{
    struct connections *all = connection->all;
    if (is_closing(connection))
        return;
    uv_close((uv_handle_t *)&connection->pipe, connection_closed);
    connection->endpoint = grpc_endpoint_free(connection->endpoint);
    rpc_peer_done(&connection->peer);
    if (connection->dirty)
        dirty_remove(connection);
    line_leave(connection);
    if (all->light == connection)
        all->light = NULL;
    *(connection->prev ? &connection->prev->next : &all->first) = connection->next;
    if (connection->next)
        connection->next->prev = connection->prev;
    buffered_set(connection, 0);
    user_leave(connection);
}

/* ---- Sending ----------------------------------------------------------------------------------------------------- */

static void dirty_add(struct connection *connection)
{
    if (connection->dirty || is_closing(connection))
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

/* It may be closing: then libuv tells what became of the write before it tells that it is closed. */
static void write_done(uv_write_t *request, int status)
{
    struct connection *connection = request->data;
    free(connection->rest);
    connection->rest = NULL;
    connection->rest_size = 0;
    connection->writes++;
    if (status < 0)
        connection_close(connection);
    else
        dirty_add(connection);
}

/* The socket is full: libuv sends the rest when it can, from a copy, so that it never looks into the endpoint. */
static void write_later(struct connection *connection, const uint8_t *data, size_t size)
{
    connection->rest = memcpy(mem_alloc(size), data, size);
    connection->rest_size = size;
    grpc_endpoint_sent(connection->endpoint, size);
    uv_buf_t buffer = uv_buf_init((char *)connection->rest, (unsigned int)size);
    connection->write.data = connection;
    if (uv_write(&connection->write, (uv_stream_t *)&connection->pipe, &buffer, 1, write_done) < 0)
        connection_close(connection);
}

/* Memory becomes short, of all clients or of those of a rank: nothing is kept for later. */
static bool is_tight(const struct connections *all)
{
    return rank_over(all->buffered_of, all->max_buffered / 2) > 0;
}

static void all_is_sent(struct connection *connection)
{
    if (connection->broken || grpc_endpoint_done(connection->endpoint)) {
        connection_close(connection);
        return;
    }
    rpc_peer_resume(&connection->peer);
    if (is_tight(connection->all))
        grpc_endpoint_trim(connection->endpoint);
}

static void connection_flush(struct connection *connection)
{
    const uint8_t *data;
    size_t size;
    struct ipam_error error;
    while (connection->endpoint && !connection->rest) {
        if (grpc_endpoint_output(connection->endpoint, &data, &size, &error) < 0) {
            if (!connection->broken) /* else it was said when it broke */
                log_disconnecting(connection, &error);
            connection_close(connection);
            return;
        }
        if (size == 0) {
            all_is_sent(connection);
            return;
        }
        uv_buf_t buffer = uv_buf_init((char *)data, (unsigned int)size);
        int sent = uv_try_write((uv_stream_t *)&connection->pipe, &buffer, 1);
        if (sent < 0 && sent != UV_EAGAIN) {
            connection_close(connection);
            return;
        }
        size_t gone = sent > 0 ? (size_t)sent : 0;
        grpc_endpoint_sent(connection->endpoint, gone);
        if (gone < size)
            write_later(connection, data + gone, size - gone);
    }
}

/* ---- Memory ------------------------------------------------------------------------------------------------------ */

static void buffered_count(struct connection *connection)
{
    size_t held = connection->endpoint ? grpc_endpoint_held(connection->endpoint) + connection->peer.held : 0;
    buffered_set(connection, held + connection->rest_size);
}

static struct connection_user *user_with_most(const struct connections *all, enum rank rank)
{
    struct connection_user *most = NULL;
    struct seat_user *each;
    for (each = TAILQ_FIRST(&all->seats.users); each; each = TAILQ_NEXT(each, link)) {
        struct connection_user *user = (struct connection_user *)each;
        if (each->rank == rank && (!most || user->buffered > most->buffered))
            most = user;
    }
    return most;
}

static void user_trim(struct connection_user *user, uint64_t now)
{
    struct connection *each;
    if (now - user->trimmed_at < TRIM_MS)
        return;
    user->trimmed_at = now;
    for (each = TAILQ_FIRST(&user->connections); each; each = TAILQ_NEXT(each, of_user))
        if (each->endpoint) {
            grpc_endpoint_trim(each->endpoint);
            buffered_count(each);
        }
}

static void connection_evict(struct connection *connection, enum rank rank)
{
    struct ipam_error error;
    const struct connections *all = connection->all;
    ipam_error_set(&error, IPAM_REASON_LIMIT_EXCEEDED,
                   "requests and replies of %s hold more than --max-buffered allows (%zu bytes), its user has most of "
                   "them (%zu), and it the most of these (%zu)",
                   rank_clients(rank), rank_part(rank, all->max_buffered), connection->user->buffered,
                   connection->buffered);
    log_disconnecting(connection, &error);
    connection_close(connection);
}

static void user_evict(struct connection_user *user)
{
    struct connection *most = NULL, *each;
    for (each = TAILQ_FIRST(&user->connections); each; each = TAILQ_NEXT(each, of_user))
        if (!most || each->buffered > most->buffered)
            most = each;
    connection_evict(most, user->seat.rank);
}

/* The clients of a rank and those below it hold more than they may together. The user goes short that holds most in that rank:
 * the ranks below hold no more than their part, and those above have no part in it. */
static void buffered_shrink(struct connections *all)
{
    enum rank rank;
    while ((rank = rank_over(all->buffered_of, all->max_buffered))) {
        struct connection_user *user = user_with_most(all, rank);
        user_trim(user, uv_now(all->loop));
        if (rank_over(all->buffered_of, all->max_buffered) == rank)
            user_evict(user);
    }
}

bool connections_crowded(const struct connections *all)
{
    return all->buffered > all->max_buffered / 2;
}

/* ---- Time -------------------------------------------------------------------------------------------------------- */

static void spend(struct connection *connection, uint64_t begin)
{
    struct connections *all = connection->all;
    struct share *share = connection->user->share;
    if (connection->turn != all->turn)
        connection->spent = 0;
    if (share->turn != all->turn)
        share->spent = 0;
    connection->turn = share->turn = all->turn;
    uint64_t spent = uv_hrtime() - begin;
    connection->spent += spent;
    share->spent += spent;
    all->heavy_spent += connection->is_heavy ? spent : 0;
}

static void share_note(struct connections *all, const struct share *share, uint64_t now)
{
    if (all->last != share)
        all->contested_at = now;
    all->last = share;
}

/* Its clients have taken enough of this turn, and others have been served a moment ago. */
static bool share_is_spent(const struct connections *all, const struct share *share)
{
    return share->turn == all->turn && share->spent >= SHARE_NS && uv_hrtime() - all->contested_at < LIGHT_NS;
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
        if (is_closing(connection))
            continue;
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
    if (share_is_spent(connection->all, connection->user->share))
        *ret = uv_buf_init(NULL, 0); /* bytes_read gets ENOBUFS, and its bytes stay where they are */
    else
        *ret = uv_buf_init(buffer, connection->endpoint ? READ_SIZE : FIRST_READ_SIZE);
}

static void light_note(const struct connection *connection)
{
    connection->all->light = connection;
    connection->all->light_at = uv_hrtime();
}

static void read_pause(struct connection *connection)
{
    struct share *share = connection->user->share;
    if (TAILQ_EMPTY(&share->paused))
        TAILQ_INSERT_TAIL(&connection->all->line, share, line);
    connection->paused = connection->is_heavy = true;
    TAILQ_INSERT_TAIL(&share->paused, connection, line);
    uv_read_stop((uv_stream_t *)&connection->pipe);
}

/* The first one in line: of each share in turn. */
static struct connection *line_first(const struct connections *all)
{
    return TAILQ_EMPTY(&all->line) ? NULL : TAILQ_FIRST(&TAILQ_FIRST(&all->line)->paused);
}

static struct connection *line_take(struct connections *all)
{
    struct connection *connection = line_first(all);
    struct share *share = connection->user->share;
    line_leave(connection);
    if (TAILQ_EMPTY(&share->paused))
        return connection;
    TAILQ_REMOVE(&all->line, share, line);
    TAILQ_INSERT_TAIL(&all->line, share, line);
    return connection;
}

/* What a client has sent so far, and what is left of its turn. */
static void bytes_take(struct connection *connection, const uv_buf_t *buffer, size_t size)
{
    struct connections *all = connection->all;
    struct ipam_error error;
    uint64_t begin = uv_hrtime();
    share_note(all, connection->user->share, begin);
    if (!connection->endpoint)
        connection->endpoint = grpc_server_new(&all->limits, &rpc_callbacks, &connection->peer);
    if (grpc_endpoint_receive(connection->endpoint, (const uint8_t *)buffer->base, size, &error) < 0) {
        log_disconnecting(connection, &error);
        connection->broken = true; /* what it has still to say, a GOAWAY, goes out first */
        uv_read_stop((uv_stream_t *)&connection->pipe);
    } else {
        spend(connection, begin);
        connection->is_heavy = false;
        if (size == buffer->len) /* a full buffer: libuv would go on for 32 times as much */
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
    if (size == UV_ENOBUFS) {
        read_pause(connection);
        return;
    }
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
    bool is_alone = now - all->light_at > LIGHT_NS || all->light == line_first(all);
    return is_alone || now >= due ? 0 : due - now;
}

/* As many as took a turn's time when they read last, and one at least: a thousand busy clients make no turn of a second. */
static void paused_read_on(struct connections *all)
{
    uint64_t now = uv_hrtime(), spent = 0;
    if (TAILQ_EMPTY(&all->line) || line_stands_back(all, now) > 0)
        return;
    all->heavy_at = now;
    all->heavy_spent = 0;
    while (!TAILQ_EMPTY(&all->line) && spent < TURN_NS) {
        struct connection *connection = line_take(all);
        spent += connection->spent;
        if (uv_read_start((uv_stream_t *)&connection->pipe, buffer_lend, bytes_read) < 0)
            connection_close(connection);
    }
}

bool connections_wait(const struct connections *all, uint64_t *ret_ms)
{
    *ret_ms = (line_stands_back(all, uv_hrtime()) + 999999) / 1000000;
    return !TAILQ_EMPTY(&all->line);
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

static void share_init(struct share *share)
{
    TAILQ_INIT(&share->paused);
}

static struct connection_user *user_enter(struct connections *all, uid_t uid, enum rank rank)
{
    struct connection_user *user = (struct connection_user *)user_hold(&all->seats, uid, rank);
    if (user->share)
        return user;
    TAILQ_INIT(&user->connections);
    share_init(&user->own);
    user->share = rank == (enum rank)RPC_ROLE_NONE ? &all->roleless : &user->own;
    return user;
}

static enum rpc_role peer_role(const struct connection *connection, struct ucred *ret)
{
    socklen_t size = sizeof *ret;
    uv_os_fd_t fd;
    *ret = (struct ucred){.uid = (uid_t)-1};
    if (uv_fileno((const uv_handle_t *)&connection->pipe, &fd) < 0 ||
        getsockopt(fd, SOL_SOCKET, SO_PEERCRED, ret, &size) < 0)
        return RPC_ROLE_NONE;
    return access_role(connection->all->access, fd, ret);
}

/* The kernel has one queue of clients to be accepted, for all users. Those without a role must not fill it by
 * coming again and again: beyond this pace they are sent away before anything else is done for them. */
static bool door_is_open(struct connections *all, enum rpc_role role)
{
    uint64_t now = uv_now(all->loop), left = all->roleless_left + (now - all->roleless_at) * ROLELESS_A_MS;
    if (role > RPC_ROLE_NONE)
        return true;
    all->roleless_at = now;
    all->roleless_left = left < ROLELESS_BURST ? left : ROLELESS_BURST;
    all->lines_left_out += all->roleless_left == 0;
    return all->roleless_left > 0 && all->roleless_left-- > 0;
}

static void peer_enter(struct connection *connection, const struct ucred *cred, enum rpc_role role)
{
    struct connections *all = connection->all;
    command_read(cred->pid, connection->command, sizeof connection->command);
    struct actor actor = {.uid = cred->uid, .command = connection->command, .method = ""};
    connection->user = user_enter(all, cred->uid, access_is_own(cred) ? RANK_OWN : (enum rank)role);
    rpc_peer_init(&connection->peer, all->rpc, &connection->user->share->party, &actor, role, all->limits.max_unread);
    uv_os_fd_t fd;
    if (role == RPC_ROLE_ALLOCATE && uv_fileno((uv_handle_t *)&connection->pipe, &fd) == 0)
        connection->peer.scope = access_scope(all->access, fd, cred);
}

/* One without a call; of several, or if there is none, the one that has been there longest. */
static struct connection *seat_to_give_up(const struct connection_user *user)
{
    struct connection *each, *oldest = NULL;
    TAILQ_FOREACH_REVERSE(each, &user->connections, connection_list, of_user)
    {
        if (each->peer.refused)
            continue;
        if (!each->endpoint || grpc_endpoint_calls(each->endpoint) == 0)
            return each;
        oldest = oldest ? oldest : each;
    }
    return oldest;
}

static void seat_give_up(const struct connection_user *user)
{
    struct ipam_error error;
    struct connection *connection = seat_to_give_up(user);
    ipam_error_set(&error, IPAM_REASON_TOO_MANY_CLIENTS,
                   "as many clients as --max-connections allows are connected, and one of a higher role, or of a user "
                   "that has fewer, takes its place");
    log_disconnecting(connection, &error);
    connection_close(connection);
}

/* NULL: there is a seat for it, if need be one that another user had to give up. */
static const char *refusal_of(struct connections *all, const struct connection_user *user)
{
    enum seats_state state;
    const struct seat_user *victim = &user->seat;
    while ((state = seats_state(&all->seats, &user->seat)) == SEATS_TAKEN && victim) {
        victim = seats_victim(&all->seats, &user->seat);
        if (victim)
            seat_give_up((const struct connection_user *)victim);
    }
    if (state == SEATS_USER_FULL)
        return "too many clients: this user has as many connected as --max-user-connections allows; close idle ones, "
               "or raise it";
    if (state == SEATS_TAKEN)
        return "too many clients: as many as --max-connections allows, all in all or for clients of this role, are "
               "connected; close idle ones, or raise it";
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
    connection->peer.refused = refusal_of(all, connection->user);
    TAILQ_INSERT_HEAD(&connection->user->connections, connection, of_user);
    if (connection->peer.refused)
        all->refused++;
    else
        seat_take(&all->seats, &connection->user->seat);
    rpc_server_counters(all->rpc)->connections = all->seats.count;
    rpc_server_counters(all->rpc)->connections_total++;
}

bool connection_accept(struct connections *all, int fd)
{
    struct ucred cred;
    enum rpc_role role;
    struct connection *connection = mem_zalloc(sizeof *connection);
    uv_pipe_init(all->loop, &connection->pipe, 0);
    connection->pipe.data = connection;
    connection->all = all;
    connection->opened = uv_now(all->loop);
    bool opened = uv_pipe_open(&connection->pipe, fd) == 0;
    if (!opened)
        close(fd);
    if (!opened || all->stopping || !door_is_open(all, role = peer_role(connection, &cred))) {
        uv_close((uv_handle_t *)&connection->pipe, connection_dropped);
        return false;
    }
    peer_enter(connection, &cred, role);
    connection_enter(connection);
    if ((connection->peer.refused && all->refused > REFUSED_MAX) ||
        uv_read_start((uv_stream_t *)&connection->pipe, buffer_lend, bytes_read) < 0)
        connection_close(connection);
    return true;
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
    bool writes = connection->rest != NULL;
    if (past(stands_still(&connection->receiving, progress.receiving, progress.received, now), timeouts->stall))
        return "a frame or header list stayed half sent for longer than --stall-timeout allows";
    if (past(stands_still(&connection->sending, progress.sending, progress.taken, now), timeouts->stall) ||
        past(stands_still(&connection->writing, writes, connection->writes, now), timeouts->stall))
        return "it read nothing of its replies for longer than --stall-timeout allows";
    return NULL;
}

/* Clients without a role have little to do here: they stay for as long as a stalled one at most. */
static uint64_t idle_timeout(const struct connection *connection)
{
    const struct connection_timeouts *timeouts = &connection->all->timeouts;
    bool is_short = timeouts->idle > 0 && (timeouts->stall == 0 || timeouts->idle < timeouts->stall);
    return connection->peer.role > RPC_ROLE_NONE || is_short ? timeouts->idle : timeouts->stall;
}

/* What is kept for the next call goes when there was none for a sweep, whether one is open or not. */
static void idle_check(struct connection *connection, uint64_t now)
{
    struct grpc_progress progress = grpc_endpoint_progress(connection->endpoint);
    bool is_idle = grpc_endpoint_calls(connection->endpoint) == 0;
    uint64_t idle = stands_still(&connection->idle, is_idle, progress.calls, now);
    if (connection->calls == progress.calls)
        grpc_endpoint_trim(connection->endpoint);
    connection->calls = progress.calls;
    if (past(idle, idle_timeout(connection)))
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

/* ---- Beginning and stopping -------------------------------------------------------------------------------------- */

void connections_init(struct connections *all, size_t max, size_t max_user)
{
    seats_init(&all->seats, max, max_user, sizeof(struct connection_user));
    TAILQ_INIT(&all->line);
    share_init(&all->roleless);
}

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

void connections_done(struct connections *all)
{
    lines_count_anew(all);
}
