#include "daemon.h"

#include <inttypes.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <systemd/sd-daemon.h>
#include <time.h>
#include <unistd.h>
#include <sodium.h>

#include "acceptor.h"
#include "bus.h"
#include "clock.h"
#include "connection.h"
#include "files.h"
#include "log.h"
#include "notify.h"
#include "pipeline.h"
#include "reads.h"
#include "rpc.h"
#include "writer.h"

#define DEADLINE_SWEEP_MS 50
#define STORE_RETRY_MS    500
#define CLIENTS_SWEEP_MS  1000
#define ACCEPTS_A_TURN    8
#define DROPS_A_TURN      512 /* of clients that are sent away at once: the kernel queues 4,096 at most for all users */
/* A flood of clients that come and go must not take up the loop; as many as all agents of a cluster may come at once. */
#define ACCEPTS_A_MS     4
#define ACCEPT_LINE_MS   1000
#define ACCEPTS_BURST    1024
#define HEAD_LOG_MS      86400000 /* a line in a log that is kept elsewhere is what a rewritten history is found by */
#define COOLING_WAIT_MAX 60000 /* ms: time asleep counts for cooling, and not for timers, so look again after a while */
#define COOLING_ENDS     1000  /* in one iteration at most, and no more while so many changes wait for the disk */
#define CLOCK_LOOK_MS    5000

/* The handles of the loop; all are closed together. */
enum handle {
    HANDLE_PREPARE,
    HANDLE_WRITER,
    HANDLE_TURN,
    HANDLE_COOLING,
    HANDLE_CLOCK,
    HANDLE_DEADLINES,
    HANDLE_SWEEP,
    HANDLE_RETRY,
    HANDLE_HEAD,
    HANDLE_WATCHDOG,
    HANDLE_SHUTDOWN,
    HANDLE_TERM,
    HANDLE_INT,
    HANDLE_HUP,
    N_HANDLES
};

struct daemon {
    const struct options *options;
    const struct access *access;
    const struct limits *limits;
    uv_loop_t loop;
    union uv_any_handle handles[N_HANDLES];
    struct acceptor acceptor;
    struct connections connections;
    struct pipeline pipeline;
    struct rpc_server *rpc;
    struct listener *listener, *events;
    struct bus bus;
    struct reads reads;
    uint64_t head; /* the newest change that is durable, and its hash */
    uint8_t head_hash[STORE_HASH_SIZE];
    struct clock clock;
    bool clock_is_read; /* in this iteration */
    struct elapsed_time cooling_armed_for;
    unsigned int accepts, drops;               /* in this turn of the loop */
    uint64_t accepts_left, accepts_at;         /* as of then, in ms */
    uint64_t accepts_failed, accept_failed_at; /* since the start; ms of the last line that said so, 0: none */
    bool client_waits;                         /* for the next turn, to be accepted; the acceptor pauses */
    bool stopping, closed;
};

static struct daemon *daemon_of(const void *handle)
{
    return ((const uv_handle_t *)handle)->data;
}

/* ---- What the RPC layer borrows ---------------------------------------------------------------------------------- */

static void clock_stepped(struct daemon *daemon, int64_t step)
{
    rpc_server_counters(daemon->rpc)->clock_steps++;
    log_warning("clock: the wall clock was set %s by %" PRId64
                " s; cooling addresses wait out their delay all the same",
                step > 0 ? "forward" : "back", (step > 0 ? step : -step) / 1000000000);
}

/* The same throughout an iteration. */
static const struct clock *clock_now(struct daemon *daemon)
{
    int64_t step = daemon->clock_is_read ? 0 : clock_read(&daemon->clock);
    daemon->clock_is_read = true;
    if (step)
        clock_stepped(daemon, step);
    return &daemon->clock;
}

static struct wall_time host_wall_now(void *user)
{
    return clock_now(user)->now;
}

static struct elapsed_time host_elapsed_now(void *user)
{
    return clock_now(user)->elapsed;
}

static uint64_t host_monotonic_now(void *user)
{
    struct daemon *daemon = user;
    return uv_now(&daemon->loop) * 1000000;
}

static void *host_work(void *user, const struct actor *who, void (*run)(void *), void (*done)(void *), void *arg)
{
    struct daemon *daemon = user;
    return reads_add(&daemon->reads, who->uid, run, done, arg);
}

static bool host_drop(void *user, void *work)
{
    struct daemon *daemon = user;
    return reads_drop(&daemon->reads, work);
}

/* ---- Timers and wake-ups ----------------------------------------------------------------------------------------- */

/* On the store thread. */
static void writer_wake(void *user)
{
    struct daemon *daemon = user;
    uv_async_send(&daemon->handles[HANDLE_WRITER].async);
}

static void on_writer(uv_async_t *handle)
{
    pipeline_take(&daemon_of(handle)->pipeline);
}

/* To systemd; and the store is tried again while it is not well. */
static void state_tell(struct daemon *daemon)
{
    bool serves = daemon->pipeline.state == PIPELINE_SERVING;
    if (serves)
        uv_timer_stop(&daemon->handles[HANDLE_RETRY].timer);
    else
        uv_timer_again(&daemon->handles[HANDLE_RETRY].timer);
    notify_send("STATUS=%s", serves ? "Serving" : daemon->pipeline.error.message);
}

static void pipeline_changed(void *user)
{
    struct daemon *daemon = user;
    const struct pipeline *pipeline = &daemon->pipeline;
    if (pipeline->state == PIPELINE_SERVING)
        log_info("store: writes work again at revision %" PRIu64, pipeline->durable);
    else if (pipeline->state == PIPELINE_STALLED)
        log_error(&pipeline->error, "store: writes are refused, reads wait for the disk");
    else if (pipeline->state == PIPELINE_DEGRADED)
        log_warning("store: back at revision %" PRIu64 "; reads go on, writes are refused until the disk is well",
                    pipeline->durable);
    else if (pipeline->state == PIPELINE_UNREADABLE)
        log_error(&pipeline->error, "store: can't be read back, all calls are refused until it can");
    else
        log_error(&pipeline->error, "store: a commit failed, nobody was told of what it held");
    state_tell(daemon);
    rpc_server_state_changed(daemon->rpc);
}

static void batch_durable(const struct changes *batch, const uint8_t *hashes, void *user)
{
    struct daemon *daemon = user;
    daemon->head = batch->items[batch->count - 1].revision;
    memcpy(daemon->head_hash, hashes + STORE_HASH_SIZE * (batch->count - 1), STORE_HASH_SIZE);
    bus_publish(&daemon->bus, batch, hashes, host_monotonic_now(daemon));
}

/* As `ipamc audit head` prints it and `ipamc audit verify --expect` takes it. */
static void head_log(const struct daemon *daemon)
{
    char hash[2 * STORE_HASH_SIZE + 1];
    log_info("head of the history %" PRIu64 ":%s", daemon->head,
             sodium_bin2hex(hash, sizeof hash, daemon->head_hash, sizeof daemon->head_hash));
}

static void on_head(uv_timer_t *handle)
{
    head_log(daemon_of(handle));
}

static void on_retry(uv_timer_t *handle)
{
    pipeline_retry(&daemon_of(handle)->pipeline);
}

static void on_deadlines(uv_timer_t *handle)
{
    rpc_server_expire(daemon_of(handle)->rpc);
}

static void on_sweep(uv_timer_t *handle)
{
    connections_sweep(&daemon_of(handle)->connections);
}

static void on_watchdog(uv_timer_t *handle)
{
    (void)handle;
    notify_send("WATCHDOG=1");
}

static void cooling_expire(struct daemon *daemon)
{
    struct arena arena;
    arena_init(&arena);
    struct engine_ctx ctx = {
        .now = host_wall_now(daemon),
        .elapsed = host_elapsed_now(daemon),
        .max_ends = COOLING_ENDS,
        .actor = {.uid = geteuid(), .command = "ipamd", .method = ""},
        .arena = &arena,
        .changes = pipeline_gather(&daemon->pipeline),
    };
    pipeline_expire(&daemon->pipeline, &ctx);
    arena_done(&arena);
}

static void on_cooling(uv_timer_t *handle)
{
    struct daemon *daemon = daemon_of(handle);
    daemon->cooling_armed_for.ns = 0;
    cooling_expire(daemon);
}

/* Steps are told even when nobody calls. */
static void on_clock(uv_timer_t *handle)
{
    clock_now(daemon_of(handle));
}

/* When the disk has taken what waits for it, the loop comes by here again. */
static bool cooling_may_end(const struct pipeline *pipeline)
{
    struct ipam_error error;
    return pipeline_writable(pipeline, &error) == 0 && pipeline->last->changes.count < COOLING_ENDS;
}

static void cooling_arm(struct daemon *daemon)
{
    struct elapsed_time next = {0};
    uv_timer_t *timer = &daemon->handles[HANDLE_COOLING].timer;
    if (!cooling_may_end(&daemon->pipeline) || !engine_next_expiry(daemon->pipeline.engine, &next)) {
        uv_timer_stop(timer);
        daemon->cooling_armed_for.ns = 0;
        return;
    }
    if (next.ns == daemon->cooling_armed_for.ns)
        return;
    int64_t wait = (next.ns - host_elapsed_now(daemon).ns) / 1000000 + 1;
    daemon->cooling_armed_for = next;
    uv_timer_start(timer, on_cooling, (uint64_t)(wait < 0 ? 0 : wait > COOLING_WAIT_MAX ? COOLING_WAIT_MAX : wait), 0);
}

/* ---- The turn of the loop ---------------------------------------------------------------------------------------- */

static void handle_close(struct daemon *daemon, enum handle which)
{
    uv_handle_t *handle = &daemon->handles[which].handle;
    if (handle->data && !uv_is_closing(handle))
        uv_close(handle, NULL);
}

static void finish(struct daemon *daemon)
{
    daemon->closed = true;
    acceptor_close(&daemon->acceptor);
    for (int i = 0; i < N_HANDLES; i++)
        handle_close(daemon, (enum handle)i);
}

static bool client_is_due(struct daemon *daemon)
{
    uint64_t now = uv_now(&daemon->loop), left = daemon->accepts_left + (now - daemon->accepts_at) * ACCEPTS_A_MS;
    daemon->accepts_left = left < ACCEPTS_BURST ? left : ACCEPTS_BURST;
    daemon->accepts_at = now;
    return daemon->accepts < ACCEPTS_A_TURN && daemon->drops < DROPS_A_TURN && daemon->accepts_left > 0;
}

static void accept_failed(struct daemon *daemon, int status)
{
    uint64_t now = uv_now(&daemon->loop);
    daemon->accepts_failed++;
    if (daemon->accept_failed_at != 0 && now - daemon->accept_failed_at < ACCEPT_LINE_MS)
        return;
    log_warning("accept: %s, trying again; it has failed %" PRIu64 " times since the start", uv_strerror(status),
                daemon->accepts_failed);
    daemon->accept_failed_at = now;
}

/* A flood of clients is taken in bit by bit, so that those that are there are served in between. */
static void on_clients(struct acceptor *acceptor)
{
    struct daemon *daemon = acceptor->user;
    int fd = 0;
    while (client_is_due(daemon) && (fd = acceptor_take(acceptor)) >= 0) {
        bool stays = connection_accept(&daemon->connections, fd);
        daemon->accepts += stays;
        daemon->accepts_left -= stays;
        daemon->drops += !stays;
    }
    if (fd < 0 && fd != UV_EAGAIN)
        accept_failed(daemon, fd);
    daemon->client_waits = fd >= 0;
    if (daemon->client_waits)
        acceptor_pause(acceptor);
}

static void accepts_begin_anew(struct daemon *daemon)
{
    daemon->accepts = daemon->drops = 0;
    if (!daemon->client_waits || !client_is_due(daemon))
        return;
    daemon->client_waits = false;
    acceptor_resume(&daemon->acceptor);
}

static void timers_arm(struct daemon *daemon)
{
    uv_timer_t *deadlines = &daemon->handles[HANDLE_DEADLINES].timer, *sweep = &daemon->handles[HANDLE_SWEEP].timer;
    cooling_arm(daemon);
    if (rpc_server_busy(daemon->rpc) && !uv_is_active((uv_handle_t *)deadlines))
        uv_timer_start(deadlines, on_deadlines, DEADLINE_SWEEP_MS, 0);
    if (daemon->connections.first && !uv_is_active((uv_handle_t *)sweep))
        uv_timer_start(sweep, on_sweep, CLIENTS_SWEEP_MS, 0);
}

/* It is enough that the loop wakes. */
static void on_turn(uv_timer_t *handle)
{
    (void)handle;
}

static void turn_again(struct daemon *daemon)
{
    uint64_t wait = UINT64_MAX, ms;
    if (rpc_server_waits(daemon->rpc, &ms))
        wait = ms;
    if (connections_wait(&daemon->connections, &ms) && ms < wait)
        wait = ms;
    if (daemon->client_waits && !daemon->stopping && wait > 1)
        wait = 1;
    if (wait < UINT64_MAX)
        uv_timer_start(&daemon->handles[HANDLE_TURN].timer, on_turn, wait, 0);
}

/* Before the loop sleeps: all that this turn has decided starts on its way to the disk, all that is
 * answered to the clients. */
static void on_prepare(uv_prepare_t *handle)
{
    struct daemon *daemon = daemon_of(handle);
    accepts_begin_anew(daemon);
    rpc_server_turn(daemon->rpc);
    pipeline_flush(&daemon->pipeline);
    connections_flush(&daemon->connections);
    pipeline_flush(&daemon->pipeline); /* calls that were put off may have been handled by now */
    reads_turn(&daemon->reads, daemon->pipeline.counters.changes, connections_crowded(&daemon->connections));
    timers_arm(daemon);
    turn_again(daemon);
    if (daemon->stopping && !daemon->connections.first && pipeline_idle(&daemon->pipeline) && !daemon->closed)
        finish(daemon);
    daemon->clock_is_read = false;
}

/* One line a second: where no file is left, each client that comes fails. */
/* ---- Signals ----------------------------------------------------------------------------------------------------- */

static void on_shutdown_timeout(uv_timer_t *handle)
{
    struct daemon *daemon = daemon_of(handle);
    log_warning("stopping: %zu clients have not finished in time, disconnecting them", daemon->connections.seats.count);
    connections_abort(&daemon->connections);
}

static void on_stop_signal(uv_signal_t *handle, int signum)
{
    struct daemon *daemon = daemon_of(handle);
    if (daemon->stopping)
        return;
    daemon->stopping = true;
    log_info("stopping on %s", signum == SIGTERM ? "SIGTERM" : "SIGINT");
    notify_send("STOPPING=1");
    acceptor_close(&daemon->acceptor);
    listener_close(daemon->listener);
    listener_close(daemon->events);
    uv_timer_start(&daemon->handles[HANDLE_SHUTDOWN].timer, on_shutdown_timeout,
                   daemon->options->shutdown_timeout * 1000, 0);
    rpc_server_shutdown(daemon->rpc);
    connections_shutdown(&daemon->connections);
}

static void on_hangup(uv_signal_t *handle, int signum)
{
    (void)signum;
    struct daemon *daemon = daemon_of(handle);
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    notify_state("RELOADING=1\nMONOTONIC_USEC=%" PRIu64, (uint64_t)now.tv_sec * 1000000 + (uint64_t)now.tv_nsec / 1000);
    log_info("SIGHUP: %s", daemon->pipeline.state == PIPELINE_SERVING ? "the store is well, nothing to do"
                                                                      : "trying the store again");
    pipeline_retry(&daemon->pipeline);
    notify_state("READY=1");
}

/* ---- Set-up ------------------------------------------------------------------------------------------------------ */

static int handles_init(struct daemon *daemon)
{
    union uv_any_handle *handles = daemon->handles;
    static const enum handle timers[] = {HANDLE_TURN,  HANDLE_COOLING, HANDLE_CLOCK,    HANDLE_DEADLINES, HANDLE_SWEEP,
                                         HANDLE_RETRY, HANDLE_HEAD,    HANDLE_WATCHDOG, HANDLE_SHUTDOWN};
    static const enum handle signals[] = {HANDLE_TERM, HANDLE_INT, HANDLE_HUP};
    int status = uv_prepare_init(&daemon->loop, &handles[HANDLE_PREPARE].prepare);
    status = status ? status : uv_async_init(&daemon->loop, &handles[HANDLE_WRITER].async, on_writer);
    for (size_t i = 0; i < sizeof timers / sizeof *timers; i++)
        status = status ? status : uv_timer_init(&daemon->loop, &handles[timers[i]].timer);
    for (size_t i = 0; i < sizeof signals / sizeof *signals; i++)
        status = status ? status : uv_signal_init(&daemon->loop, &handles[signals[i]].signal);
    for (int i = 0; i < N_HANDLES; i++)
        handles[i].handle.data = handles[i].handle.type == UV_UNKNOWN_HANDLE ? NULL : daemon;
    return status;
}

/* main blocked them before it made the socket. */
static void unblock_signals(void)
{
    sigset_t signals;
    sigemptyset(&signals);
    sigaddset(&signals, SIGTERM);
    sigaddset(&signals, SIGINT);
    sigaddset(&signals, SIGHUP);
    pthread_sigmask(SIG_UNBLOCK, &signals, NULL);
}

static void watchdog_start(struct daemon *daemon)
{
    uint64_t usec = 0;
    if (sd_watchdog_enabled(0, &usec) <= 0)
        return;
    uint64_t half = usec / 2000 > 0 ? usec / 2000 : 1;
    uv_timer_start(&daemon->handles[HANDLE_WATCHDOG].timer, on_watchdog, half, half);
}

static int handles_start(struct daemon *daemon)
{
    union uv_any_handle *handles = daemon->handles;
    int status =
        acceptor_start(&daemon->acceptor, &daemon->loop, daemon->listener->fd, LISTENER_BACKLOG, on_clients, daemon);
    status = status ? status : uv_prepare_start(&handles[HANDLE_PREPARE].prepare, on_prepare);
    status = status ? status : uv_signal_start(&handles[HANDLE_TERM].signal, on_stop_signal, SIGTERM);
    status = status ? status : uv_signal_start(&handles[HANDLE_INT].signal, on_stop_signal, SIGINT);
    status = status ? status : uv_signal_start(&handles[HANDLE_HUP].signal, on_hangup, SIGHUP);
    uv_timer_start(&handles[HANDLE_RETRY].timer, on_retry, STORE_RETRY_MS, STORE_RETRY_MS);
    uv_timer_stop(&handles[HANDLE_RETRY].timer); /* uv_timer_again starts it */
    uv_timer_start(&handles[HANDLE_CLOCK].timer, on_clock, CLOCK_LOOK_MS, CLOCK_LOOK_MS);
    uv_timer_start(&handles[HANDLE_HEAD].timer, on_head, HEAD_LOG_MS, HEAD_LOG_MS);
    unblock_signals();
    watchdog_start(daemon);
    return status;
}

static void rpc_init(struct daemon *daemon, struct store *store)
{
    struct rpc_server_options rpc = {
        .version = IPAM_VERSION,
        .host = {host_wall_now, host_elapsed_now, host_monotonic_now, host_work, host_drop, connection_wake, daemon},
        .store = store,
        .pipeline = &daemon->pipeline,
        .limits = daemon->limits->engine,
        .request_timeout = daemon->options->stall_timeout * 1000000000,
    };
    for (int role = 0; role < RPC_ROLES; role++)
        rpc.role_remedy[role] = daemon->access->remedies[role];
    daemon->rpc = rpc_server_new(&rpc);
}

struct room {
    uint64_t clients, subscribers;
};

/* Clients and subscribers as many as the options say, or fewer of both when ipamd may not open so many files. */
static struct room room_for_peers(const struct options *options)
{
    struct room room = {options->max_connections, options->max_subscribers};
    uint64_t wanted = room.clients + room.subscribers, fit = files_make_room(wanted);
    if (fit == wanted)
        return room;
    room.clients = fit * room.clients / wanted + 1;
    room.subscribers = fit * room.subscribers / wanted + 1;
    log_warning("--max-connections %" PRIu64 " and --max-subscribers %" PRIu64
                " do not fit the files that ipamd may open: %" PRIu64 " clients and %" PRIu64
                " subscribers may connect; raise the limit (LimitNOFILE=, ulimit -n), or write lower numbers",
                options->max_connections, options->max_subscribers, room.clients, room.subscribers);
    return room;
}

static void clients_init(struct daemon *daemon, uint64_t max)
{
    const struct options *options = daemon->options;
    daemon->connections = (struct connections){
        .loop = &daemon->loop,
        .rpc = daemon->rpc,
        .access = daemon->access,
        .limits =
            {
                .max_streams = (uint32_t)options->max_streams,
                .max_message = (uint32_t)options->max_message,
                .max_header_list = (uint32_t)options->max_header_list,
                .max_unread = options->max_unread,
            },
        .timeouts =
            {
                .handshake = options->handshake_timeout * 1000,
                .idle = options->idle_timeout * 1000,
                .stall = options->stall_timeout * 1000,
            },
        .max_buffered = options->max_buffered,
    };
    connections_init(&daemon->connections, max, options->max_user_connections);
}

/* Who may read the history may hear of it. On the publisher's thread. */
static bool subscriber_identify(int fd, void *user, uid_t *ret_uid, enum rank *ret_rank)
{
    const struct daemon *daemon = user;
    struct ucred peer;
    socklen_t size = sizeof peer;
    if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &size) < 0)
        return false;
    enum rpc_role role = access_role(daemon->access, fd, &peer);
    *ret_uid = peer.uid;
    *ret_rank = access_is_own(&peer) ? RANK_OWN : (enum rank)role;
    return role >= RPC_ROLE_READ;
}

static int bus_start(struct daemon *daemon, uint64_t max_subscribers, uint64_t revision, struct ipam_error *reterr)
{
    const struct options *options = daemon->options;
    struct publisher_options publish = {
        .fd = daemon->events->fd,
        .tick_ms = (uint32_t)options->tick_interval,
        .budget = options->bus_budget,
        .max_subscribers = max_subscribers,
        .max_user = options->max_user_connections,
        .stall_ms = options->stall_timeout * 1000,
        .revision = revision,
        .identify = subscriber_identify,
        .user = daemon,
    };
    struct publisher *publisher;
    if (publisher_start(&publish, &publisher, reterr) < 0)
        return -1;
    bus_init(&daemon->bus, publisher, options->bus_budget);
    return 0;
}

int daemon_run(const struct options *options, const struct access *access, const struct limits *limits,
               struct store *store, struct engine *engine, const uint8_t hash_key[16], const struct engine_clock *start,
               struct listener *listener, struct listener *events, struct ipam_error *reterr)
{
    struct daemon *daemon = mem_zalloc(sizeof *daemon);
    daemon->clock = (struct clock){start->now, start->elapsed};
    daemon->clock_is_read = true; /* steps are counted when there is who counts */
    daemon->options = options;
    daemon->access = access;
    daemon->limits = limits;
    daemon->acceptor.fd = -1;
    daemon->listener = listener;
    daemon->events = events;
    daemon->head = store_head(store, daemon->head_hash);
    struct room room = room_for_peers(options);
    int status = uv_loop_init(&daemon->loop);
    if (status < 0)
        ipam_error_set(reterr, IPAM_REASON_INTERNAL, "event loop: %s", uv_strerror(status));
    if (status < 0 || bus_start(daemon, room.subscribers, engine_revision(engine), reterr) < 0) {
        engine_free(engine);
        free(daemon);
        return -1;
    }
    struct ipam_error trouble;
    bool is_well = store_probe(store, &trouble) == 0; /* nobody is told that it serves before a write has worked */
    struct writer *writer = writer_new(store, hash_key, start, writer_wake, daemon);
    pipeline_init(&daemon->pipeline, engine, writer, options->max_gathered, is_well ? NULL : &trouble, pipeline_changed,
                  daemon);
    daemon->pipeline.on_durable = batch_durable;
    reads_init(&daemon->reads, &daemon->loop, options->history_rate);
    rpc_init(daemon, store);
    clients_init(daemon, room.clients);
    status = handles_init(daemon);
    status = status ? status : handles_start(daemon);
    if (status == 0) {
        cooling_expire(daemon); /* and what today's rules make of what was loaded */
        log_info("ipamd " IPAM_VERSION " serves at revision %" PRIu64, engine_revision(engine));
        if (!is_well)
            log_error(&trouble, "store: can't be written; reads go on, writes are refused until the disk is well");
        head_log(daemon);
        notify_state("READY=1");
        state_tell(daemon);
    } else {
        ipam_error_set(reterr, IPAM_REASON_INTERNAL, "event loop: %s", uv_strerror(status));
        finish(daemon);
    }
    uv_run(&daemon->loop, UV_RUN_DEFAULT);
    if (status == 0)
        head_log(daemon);

    connections_done(&daemon->connections);
    writer_free(writer);
    bus_done(&daemon->bus);
    pipeline_done(&daemon->pipeline);
    rpc_server_free(daemon->rpc);
    uv_loop_close(&daemon->loop);
    free(daemon);
    return status ? -1 : 0;
}
