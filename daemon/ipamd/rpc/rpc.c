#include "rpc.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>
#include <bsd/sys/tree.h>

#include "record.h"
#include "wire.h"

/* What a peer is served in one turn of the loop before its further calls wait, and what all that wait are served in one: bytes
 * of answers. Others' calls take turns with a client that asks for large ones. */
#define TURN_SHARE (128 * 1024)
/* What a call costs besides its answer, in bytes of an answer that cost as much. */
#define CALL_COST 1024
/* How long those that wait are passed over while others have something to do, or had a moment ago. */
#define PASSED_OVER_NS 5000000

struct rpc_call {
    struct rpc_ring link;    /* all open calls of the server; first member */
    struct rpc_ring put_off; /* of the peer's; next is NULL while it is not */
    struct waiter waiter;
    struct rpc_server *server;
    struct grpc_call *stream;
    const struct rpc_method *method;
    const uint8_t *request; /* unary: as it came; it is read when it is handled, as that takes many times the memory */
    uint64_t deadline;      /* monotonic ns; UINT64_MAX: none */
    uint64_t complete_by;   /* the same for its request to have come; UINT64_MAX: none, or it has */
    uint64_t due;           /* of both the earlier, or one that has been put off since; UINT64_MAX: in no tree */
    RB_ENTRY(rpc_call) due_node; /* of the server's */
    const uint8_t *reply;        /* held until durable: this, or error */
    size_t reply_size;
    size_t held;         /* what the call counts for in its peer's `held` */
    size_t expected;     /* the same for its `expected` */
    size_t request_size; /* bytes */
    struct ipam_error *error;
    bool finished; /* a status has been sent */
    void *user;
};

static const char *const role_names[RPC_ROLES] = {
    [RPC_ROLE_NONE] = "none",
    [RPC_ROLE_READ] = "read",
    [RPC_ROLE_ALLOCATE] = "allocate",
    [RPC_ROLE_ADMIN] = "admin",
};

const char *rpc_role_name(enum rpc_role role)
{
    return role_names[role];
}

RB_HEAD(calls_due, rpc_call);

struct route {
    const char *path;
    const struct rpc_method *method;
};

struct rpc_server {
    struct rpc_server_options options;
    struct wall_time started_at;
    struct rpc_counters counters;
    struct rpc_ring calls;
    struct calls_due due;  /* those that may be late one day, the first one first */
    struct rpc_ring queue; /* peers whose calls wait for a later turn, in order */
    uint64_t turn;
    size_t spent;         /* in this turn by large calls, and by those that had waited */
    uint64_t resumed_at;  /* monotonic ns: such calls were served */
    uint64_t served_at;   /* the same for others */
    struct route *routes; /* sorted by path */
    size_t n_routes;
    struct arena arena;   /* paths of routes, reflection index */
    struct arena scratch; /* rpc_scratch */
    const struct reflection *reflection;
    bool stopping;
};

static const struct rpc_service *const services[] = {
    &ipam_service,
    &health_service,
    &reflection_service,
    &reflection_v1alpha_service,
};

/* ---- Routes ------------------------------------------------------------------------------------------------------ */

static int route_compare(const void *a, const void *b)
{
    return strcmp(((const struct route *)a)->path, ((const struct route *)b)->path);
}

static void routes_make(struct rpc_server *server)
{
    size_t count = 0;
    for (size_t i = 0; rpc_service_at(i); i++)
        count += services[i]->n_methods;
    server->routes = mem_alloc(count * sizeof *server->routes);
    for (size_t i = 0; rpc_service_at(i); i++) {
        for (size_t j = 0; j < services[i]->n_methods; j++) {
            const struct rpc_method *method = &services[i]->methods[j];
            assert(method->role);
            server->routes[server->n_routes++] = (struct route){
                .path = arena_printf(&server->arena, "/%s/%s", services[i]->name, method->name),
                .method = method,
            };
        }
    }
    qsort(server->routes, count, sizeof *server->routes, route_compare);
}

static const struct rpc_method *route_find(const struct rpc_server *server, const char *path)
{
    struct route key = {.path = path};
    const struct route *route = bsearch(&key, server->routes, server->n_routes, sizeof *server->routes, route_compare);
    return route ? route->method : NULL;
}

/* ---- Answers ----------------------------------------------------------------------------------------------------- */

static const struct rpc_host *call_host(const struct rpc_call *call)
{
    return &call->server->options.host;
}

static void call_wake(struct rpc_call *call)
{
    call_host(call)->wake(grpc_call_endpoint(call->stream));
}

static uint8_t *message_pack(struct arena *arena, const ProtobufCMessage *message, size_t *ret_size)
{
    size_t size = protobuf_c_message_get_packed_size(message);
    uint8_t *bytes = arena_alloc(arena, size);
    *ret_size = protobuf_c_message_pack(message, bytes);
    return bytes;
}

static void call_unhold(struct rpc_call *call);

static void call_finish_error(struct rpc_call *call, const struct ipam_error *error)
{
    call_unhold(call);
    call->finished = true;
    call->server->counters.calls_failed++;
    grpc_call_finish_error(call->stream, error);
    call_wake(call);
}

static void call_finish_reply(struct rpc_call *call, const uint8_t *reply, size_t size)
{
    call_unhold(call);
    call->finished = true;
    grpc_call_send(call->stream, reply, size, true);
    grpc_call_finish_ok(call->stream);
    call_wake(call);
}

static struct rpc_peer *call_peer(const struct rpc_call *call)
{
    return grpc_endpoint_user(grpc_call_endpoint(call->stream));
}

static void ring_add(struct rpc_ring *ring, struct rpc_ring *link)
{
    link->prev = ring->prev;
    link->next = ring;
    link->prev->next = link->next->prev = link;
}

static void ring_remove(struct rpc_ring *link)
{
    if (!link->next)
        return;
    link->prev->next = link->next;
    link->next->prev = link->prev;
    link->next = link->prev = NULL;
}

static void call_count(struct rpc_call *call, size_t held)
{
    struct rpc_peer *peer = call_peer(call);
    peer->held += held - call->held;
    call->held = held;
}

void rpc_expect(struct rpc_call *call, size_t size, size_t held)
{
    call_peer(call)->expected += size - call->expected;
    call->expected = size;
    call_count(call, held);
}

/* The call waits no longer, neither for the disk nor for its turn nor for an answer from elsewhere. */
static void call_unhold(struct rpc_call *call)
{
    pipeline_forget(&call->waiter);
    ring_remove(&call->put_off);
    rpc_expect(call, 0, 0);
}

static void call_durable(struct waiter *waiter, const struct ipam_error *error)
{
    struct rpc_call *call = (struct rpc_call *)((char *)waiter - offsetof(struct rpc_call, waiter));
    if (error)
        call_finish_error(call, error);
    else if (call->error)
        call_finish_error(call, call->error);
    else
        call_finish_reply(call, call->reply, call->reply_size);
}

static void call_hold(struct rpc_call *call)
{
    struct pipeline *pipeline = rpc_pipeline(call);
    call_count(call, call->reply_size);
    pipeline_wait(pipeline, &call->waiter, engine_revision(pipeline->engine));
}

void rpc_reply(struct rpc_call *call, const ProtobufCMessage *reply)
{
    call->reply = message_pack(rpc_arena(call), reply, &call->reply_size);
    call_hold(call);
}

void rpc_fail(struct rpc_call *call, const struct ipam_error *error)
{
    call->error = (struct ipam_error *)arena_memdup(rpc_arena(call), error, sizeof *error);
    call_hold(call);
}

void rpc_reply_now(struct rpc_call *call, const ProtobufCMessage *reply)
{
    size_t size;
    const uint8_t *bytes = message_pack(rpc_arena(call), reply, &size);
    call_finish_reply(call, bytes, size);
}

void rpc_reply_bytes(struct rpc_call *call, const uint8_t *reply, size_t size)
{
    call_finish_reply(call, reply, size);
}

void rpc_fail_now(struct rpc_call *call, const struct ipam_error *error)
{
    call_finish_error(call, error);
}

void rpc_send(struct rpc_call *call, const ProtobufCMessage *message)
{
    size_t size;
    const uint8_t *bytes = message_pack(rpc_scratch(call), message, &size);
    grpc_call_send(call->stream, bytes, size, false);
    call_wake(call);
}

void rpc_end(struct rpc_call *call)
{
    call->finished = true;
    grpc_call_finish_ok(call->stream);
    call_wake(call);
}

/* ---- For services ------------------------------------------------------------------------------------------------ */

struct arena *rpc_arena(struct rpc_call *call)
{
    return grpc_call_arena(call->stream);
}

struct arena *rpc_scratch(struct rpc_call *call)
{
    return &call->server->scratch;
}

const struct reflection *rpc_server_reflection(const struct rpc_server *server)
{
    return server->reflection;
}

const struct rpc_service *rpc_service_at(size_t index)
{
    return index < sizeof services / sizeof *services ? services[index] : NULL;
}

struct pipeline *rpc_pipeline(struct rpc_call *call)
{
    return call->server->options.pipeline;
}

struct rpc_server *rpc_call_server(struct rpc_call *call)
{
    return call->server;
}

const struct rpc_server_options *rpc_server_options(const struct rpc_server *server)
{
    return &server->options;
}

struct wall_time rpc_server_started_at(const struct rpc_server *server)
{
    return server->started_at;
}

struct engine_ctx rpc_engine_ctx(struct rpc_call *call)
{
    const struct rpc_host *host = call_host(call);
    struct engine_ctx ctx = {
        .now = host->wall_now(host->user),
        .actor = call_peer(call)->actor,
        .arena = rpc_arena(call),
        .changes = rpc_pipeline(call)->gathering,
        .limits = call->server->options.limits,
    };
    ctx.actor.method = call->method->name;
    return ctx;
}

void *rpc_user(const struct rpc_call *call)
{
    return call->user;
}

void rpc_set_user(struct rpc_call *call, void *user)
{
    call->user = user;
}

/* ---- A call's way ------------------------------------------------------------------------------------------------ */

/* A client that pipelines faster than it reads, or than the disk writes, has its further calls put off at half of the limit:
 * so only one who never reads a stream of ours ever reaches the limit itself. Its bytes are read on, because what lets us send
 * (WINDOW_UPDATE) is among them. */
static bool peer_overloaded(struct rpc_call *call)
{
    const struct rpc_peer *peer = call_peer(call);
    size_t unread = grpc_endpoint_unread(grpc_call_endpoint(call->stream));
    return unread + peer->held + peer->expected > peer->max_unread / 2;
}

static bool call_must_wait(struct rpc_call *call)
{
    if (call->method->flags & RPC_ALWAYS)
        return false;
    return rpc_pipeline(call)->state == PIPELINE_RELOADING || peer_overloaded(call);
}

/* Bytes of a message as a request; NULL: they are none, and the call is answered so. */
static const ProtobufCMessage *request_read(struct rpc_call *call, struct arena *arena, const uint8_t *message,
                                            size_t size)
{
    struct ipam_error error;
    ProtobufCAllocator allocator = record_allocator(arena);
    const ProtobufCMessage *request = NULL;
    if (wire_check_strings(call->method->request, message, size, &error) == 0) {
        request = protobuf_c_message_unpack(call->method->request, &allocator, size, message);
        if (!request)
            ipam_error_set(&error, IPAM_REASON_MALFORMED_MESSAGE, "malformed request: the %zu bytes are not a %s", size,
                           call->method->request->name);
    }
    if (!request)
        rpc_fail_now(call, &error);
    return request;
}

static void share_spend(struct rpc_peer *peer, size_t size)
{
    struct rpc_server *server = peer->server;
    if (peer->turn != server->turn)
        peer->spent = 0;
    peer->turn = server->turn;
    peer->spent += size;
}

static bool share_is_spent(const struct rpc_peer *peer)
{
    return peer->turn == peer->server->turn && peer->spent >= TURN_SHARE;
}

static void peer_queue(struct rpc_peer *peer)
{
    if (!peer->queued.next)
        ring_add(&peer->server->queue, &peer->queued);
}

static bool has_put_off(const struct rpc_peer *peer)
{
    return peer->put_off.next != &peer->put_off;
}

static void call_handle(struct rpc_call *call)
{
    const struct pipeline *pipeline = rpc_pipeline(call);
    call_unhold(call);
    if (pipeline->state == PIPELINE_UNREADABLE && !(call->method->flags & RPC_ALWAYS)) {
        rpc_fail_now(call, &pipeline->error);
        return;
    }
    const ProtobufCMessage *request = request_read(call, rpc_arena(call), call->request, call->request_size);
    if (request)
        call->method->handle(call, request);
    share_spend(call_peer(call), CALL_COST + call->reply_size);
}

static void call_resume(struct rpc_call *call)
{
    struct rpc_server *server = call->server;
    call_handle(call);
    server->spent += CALL_COST + call->reply_size;
    server->resumed_at = call_host(call)->monotonic_now(call_host(call)->user);
}

void rpc_peer_init(struct rpc_peer *peer, struct rpc_server *server, const struct actor *actor, enum rpc_role role,
                   size_t max_unread)
{
    *peer = (struct rpc_peer){.server = server, .actor = *actor, .role = role, .max_unread = max_unread};
    peer->put_off.next = peer->put_off.prev = &peer->put_off;
}

void rpc_peer_done(struct rpc_peer *peer)
{
    ring_remove(&peer->queued);
}

void rpc_peer_resume(struct rpc_peer *peer)
{
    if (has_put_off(peer))
        peer_queue(peer);
}

/* In order, until it must wait again: for a later turn, or for the peer to read. */
static void peer_serve(struct rpc_peer *peer)
{
    while (has_put_off(peer)) {
        if (share_is_spent(peer) || peer->server->spent >= TURN_SHARE) {
            peer_queue(peer);
            return;
        }
        struct rpc_call *call = (struct rpc_call *)((char *)peer->put_off.next - offsetof(struct rpc_call, put_off));
        call_count(call, 0); /* it must not stand in its own way */
        if (call_must_wait(call)) {
            call_count(call, call->request_size);
            return;
        }
        call_resume(call);
    }
}

static bool has_queue(const struct rpc_server *server)
{
    return server->queue.next != &server->queue;
}

/* ns that those in the queue must still stand back: a page takes a ms to make, and a write three turns. */
static uint64_t queue_stands_back(const struct rpc_server *server)
{
    const struct rpc_host *host = &server->options.host;
    uint64_t now = host->monotonic_now(host->user), since = now - server->resumed_at;
    bool is_quiet = now - server->served_at >= PASSED_OVER_NS && pipeline_idle(server->options.pipeline);
    return is_quiet || since >= PASSED_OVER_NS ? 0 : PASSED_OVER_NS - since;
}

bool rpc_server_waits(const struct rpc_server *server, uint64_t *ret_ms)
{
    *ret_ms = (queue_stands_back(server) + 999999) / 1000000;
    return has_queue(server);
}

void rpc_server_turn(struct rpc_server *server)
{
    server->turn++;
    server->spent = 0;
    if (!has_queue(server) || queue_stands_back(server) > 0)
        return;
    while (has_queue(server) && server->spent < TURN_SHARE) {
        struct rpc_ring *first = server->queue.next;
        ring_remove(first);
        peer_serve((struct rpc_peer *)((char *)first - offsetof(struct rpc_peer, queued)));
    }
}

/* Whoever comes anew has no share that is spent, so those that wait and all turns together count as well. */
static bool large_must_queue(const struct rpc_server *server)
{
    return has_queue(server) || server->spent >= TURN_SHARE || queue_stands_back(server) > 0;
}

/* Behind the peer's own calls that wait, too: they are handled in order. */
static bool call_must_queue(struct rpc_call *call)
{
    const struct rpc_peer *peer = call_peer(call);
    if (call->method->flags & RPC_ALWAYS)
        return false;
    return has_put_off(peer) || share_is_spent(peer) || call_must_wait(call) ||
           (call->method->flags & RPC_LARGE && large_must_queue(call->server));
}

static int due_compare(const struct rpc_call *a, const struct rpc_call *b)
{
    if (a->due != b->due)
        return a->due < b->due ? -1 : 1;
    return a < b ? -1 : a > b;
}

RB_PROTOTYPE(calls_due, rpc_call, due_node, due_compare)
RB_GENERATE(calls_due, rpc_call, due_node, due_compare)

static void due_remove(struct rpc_call *call)
{
    if (call->due < UINT64_MAX)
        RB_REMOVE(calls_due, &call->server->due, call);
    call->due = UINT64_MAX;
}

static void due_add(struct rpc_call *call)
{
    call->due = call->deadline < call->complete_by ? call->deadline : call->complete_by;
    if (call->due < UINT64_MAX)
        RB_INSERT(calls_due, &call->server->due, call);
}

static uint64_t deadline_of(const struct rpc_call *call)
{
    uint64_t timeout = grpc_call_timeout(call->stream);
    if (timeout == GRPC_NO_DEADLINE)
        return UINT64_MAX;
    uint64_t now = call_host(call)->monotonic_now(call_host(call)->user);
    return timeout > UINT64_MAX - now ? UINT64_MAX : now + timeout;
}

/* A stream's messages come when they come. */
static uint64_t complete_by(const struct rpc_call *call)
{
    uint64_t timeout = call->server->options.request_timeout;
    if (timeout == 0 || !call->method || call->method->flags & RPC_STREAM)
        return UINT64_MAX;
    return call_host(call)->monotonic_now(call_host(call)->user) + timeout;
}

static int refuse_role(const struct rpc_call *call, struct ipam_error *reterr)
{
    const struct rpc_peer *peer = call_peer(call);
    const char *needed = rpc_role_name(call->method->role), *has = rpc_role_name(peer->role);
    const char *remedy = call->server->options.role_remedy[call->method->role];
    ipam_error_set(reterr, IPAM_REASON_PERMISSION_DENIED,
                   "permission denied: %s needs the role %s, and %s (uid %u) has %s; %s", call->method->name, needed,
                   *peer->actor.command ? peer->actor.command : "the caller", peer->actor.uid, has, remedy);
    ipam_error_add(reterr, "method", grpc_call_path(call->stream) + 1);
    ipam_error_add(reterr, "role", needed);
    ipam_error_add(reterr, "has", has);
    return -1;
}

static int call_admit(const struct rpc_call *call, struct ipam_error *reterr)
{
    if (call_peer(call)->refused)
        return ipam_error_set(reterr, IPAM_REASON_TOO_MANY_CLIENTS, "%s", call_peer(call)->refused);
    if (!call->method)
        return ipam_error_set(reterr, IPAM_REASON_UNKNOWN_METHOD, "unknown method: %s is not served here",
                              grpc_call_path(call->stream));
    if (call_peer(call)->role < call->method->role)
        return refuse_role(call, reterr);
    if (call->server->stopping)
        return ipam_error_set(reterr, IPAM_REASON_SHUTTING_DOWN, "shutting down: ipamd is stopping, try again");
    if (grpc_call_timeout(call->stream) == 0)
        return ipam_error_set(reterr, IPAM_REASON_DEADLINE_EXCEEDED,
                              "deadline exceeded: it had passed when the call came");
    return 0;
}

static void on_request(struct grpc_call *stream, void *user)
{
    struct rpc_peer *peer = user;
    struct rpc_server *server = peer->server;
    struct rpc_call *call = arena_zalloc(grpc_call_arena(stream), sizeof *call);
    call->server = server;
    call->stream = stream;
    call->waiter.done = call_durable;
    call->deadline = deadline_of(call);
    ring_add(&server->calls, &call->link);
    grpc_call_set_user(stream, call);
    server->counters.calls++;

    call->method = route_find(server, grpc_call_path(stream));
    call->complete_by = complete_by(call);
    due_add(call);
    struct ipam_error error;
    if (call_admit(call, &error) == 0)
        return;
    rpc_fail_now(call, &error);
    if (peer->refused)
        grpc_endpoint_shutdown(grpc_call_endpoint(stream));
}

/* Keeps a unary request until it is complete. */
static int request_keep(struct rpc_call *call, const uint8_t *message, size_t size, struct ipam_error *reterr)
{
    const struct rpc_peer *peer = call_peer(call);
    if (call->request)
        return ipam_error_set(reterr, IPAM_REASON_MALFORMED_MESSAGE,
                              "malformed request: %s takes one message, not several", call->method->name);
    call_count(call, size);
    if (peer->held > peer->max_unread)
        return ipam_error_set(reterr, IPAM_REASON_LIMIT_EXCEEDED,
                              "too much at once: %zu bytes of requests and answers wait on this connection; send less "
                              "before reading the answers, or raise --max-unread",
                              peer->held);
    call->request = (const uint8_t *)arena_memdup(rpc_arena(call), message, size);
    call->request_size = size;
    return 0;
}

static void on_message(struct grpc_call *stream, const uint8_t *message, size_t size, void *user)
{
    (void)user;
    struct rpc_call *call = grpc_call_user(stream);
    struct ipam_error error;
    if (call->finished)
        return;
    if (call->method->flags & RPC_STREAM) {
        arena_reset(rpc_scratch(call));
        const ProtobufCMessage *request = request_read(call, rpc_scratch(call), message, size);
        if (request)
            call->method->handle(call, request);
    } else if (request_keep(call, message, size, &error) < 0) {
        rpc_fail_now(call, &error);
    }
}

static void on_end(struct grpc_call *stream, void *user)
{
    (void)user;
    struct rpc_call *call = grpc_call_user(stream);
    call->complete_by = UINT64_MAX;
    if (call->finished)
        return;
    if (call->method->flags & RPC_STREAM) {
        if (call->method->end)
            call->method->end(call);
        return;
    }
    if (!call->request) {
        struct ipam_error error;
        ipam_error_set(&error, IPAM_REASON_MALFORMED_MESSAGE, "malformed request: %s needs a message and none came",
                       call->method->name);
        rpc_fail_now(call, &error);
        return;
    }
    call_count(call, 0); /* it must not stand in its own way */
    if (call_must_queue(call)) {
        call_count(call, call->request_size);
        ring_add(&call_peer(call)->put_off, &call->put_off);
        peer_queue(call_peer(call));
    } else if (call->method->flags & RPC_LARGE) {
        call_resume(call);
    } else {
        call->server->served_at = call_host(call)->monotonic_now(call_host(call)->user);
        call_handle(call);
    }
}

static void on_close(struct grpc_call *stream, void *user)
{
    (void)user;
    struct rpc_call *call = grpc_call_user(stream);
    if (call->method && call->method->close)
        call->method->close(call);
    call_unhold(call);
    due_remove(call);
    ring_remove(&call->link);
}

const struct grpc_callbacks rpc_callbacks = {
    .on_request = on_request,
    .on_message = on_message,
    .on_end = on_end,
    .on_close = on_close,
};

/* ---- The server -------------------------------------------------------------------------------------------------- */

struct rpc_server *rpc_server_new(const struct rpc_server_options *options)
{
    struct rpc_server *server = mem_zalloc(sizeof *server);
    server->options = *options;
    server->started_at = options->host.wall_now(options->host.user);
    server->calls.next = server->calls.prev = &server->calls;
    server->queue.next = server->queue.prev = &server->queue;
    RB_INIT(&server->due);
    server->turn = 1;
    arena_init(&server->arena);
    arena_init(&server->scratch);
    routes_make(server);
    server->reflection = reflection_new(&server->arena);
    return server;
}

struct rpc_server *rpc_server_free(struct rpc_server *server)
{
    if (!server)
        return NULL;
    assert(server->calls.next == &server->calls);
    free(server->routes);
    arena_done(&server->arena);
    arena_done(&server->scratch);
    free(server);
    return NULL;
}

bool rpc_server_busy(const struct rpc_server *server)
{
    return server->calls.next != &server->calls;
}

struct rpc_counters *rpc_server_counters(struct rpc_server *server)
{
    return &server->counters;
}

/* Visits open calls; `visit` may finish the call that it gets, which stays on the ring until its
 * on_close. */
static void calls_visit(struct rpc_server *server, void (*visit)(struct rpc_call *call, void *arg), void *arg)
{
    for (struct rpc_ring *link = server->calls.next, *next; link != &server->calls; link = next) {
        next = link->next;
        visit((struct rpc_call *)link, arg);
    }
}

static void call_look_again(struct rpc_call *call, void *arg)
{
    (void)arg;
    if (call->put_off.next)
        call_wake(call); /* the flush that follows resumes its peer */
}

void rpc_server_state_changed(struct rpc_server *server)
{
    arena_reset(&server->scratch);
    health_changed(server);
    if (server->options.pipeline->state != PIPELINE_RELOADING)
        calls_visit(server, call_look_again, NULL);
}

static void call_expire(struct rpc_call *call, uint64_t now)
{
    struct ipam_error error;
    if (call->deadline <= now)
        ipam_error_set(&error, IPAM_REASON_DEADLINE_EXCEEDED, "deadline exceeded: %s was not answered in time",
                       call->method->name);
    else
        ipam_error_set(&error, IPAM_REASON_DEADLINE_EXCEEDED,
                       "deadline exceeded: the request of %s stayed half sent for longer than --stall-timeout allows",
                       call->method->name);
    rpc_fail_now(call, &error);
}

void rpc_server_expire(struct rpc_server *server)
{
    uint64_t now = server->options.host.monotonic_now(server->options.host.user);
    struct rpc_call *call;
    while ((call = RB_MIN(calls_due, &server->due)) && call->due <= now) {
        due_remove(call);
        if (call->finished)
            continue;
        if (call->deadline <= now || call->complete_by <= now)
            call_expire(call, now);
        else /* its request has come since */
            due_add(call);
    }
}

static void call_stop(struct rpc_call *call, void *arg)
{
    (void)arg;
    if (call->finished || !(call->method->flags & RPC_STREAM))
        return;
    struct ipam_error error;
    ipam_error_set(&error, IPAM_REASON_SHUTTING_DOWN, "shutting down: ipamd is stopping, the stream ends here");
    rpc_fail_now(call, &error);
}

void rpc_server_shutdown(struct rpc_server *server)
{
    server->stopping = true;
    calls_visit(server, call_stop, NULL);
}

void rpc_server_visit(struct rpc_server *server, const struct rpc_method *method, void (*visit)(struct rpc_call *call))
{
    for (struct rpc_ring *link = server->calls.next; link != &server->calls; link = link->next) {
        struct rpc_call *call = (struct rpc_call *)link;
        if (call->method == method && !call->finished)
            visit(call);
    }
}
