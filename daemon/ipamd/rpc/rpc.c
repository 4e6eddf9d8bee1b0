#include "rpc.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "internal.h"
#include "record.h"
#include "wire.h"

/* Coolings that end before a call is decided, at most: the loop ends the others, iteration by iteration. */
#define CALL_ENDS 16

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

struct route {
    const char *path;
    const struct rpc_method *method;
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
            assert(method->role && method->max_request > 0);
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
    const struct pipeline *pipeline = rpc_pipeline(call);
    bool goes_at_once = engine_revision(pipeline->engine) <= pipeline->durable;
    call->reply = message_pack(goes_at_once ? rpc_scratch(call) : rpc_arena(call), reply, &call->reply_size);
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

const struct actor *rpc_actor(const struct rpc_call *call)
{
    return &call_peer(call)->actor;
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
        .elapsed = host->elapsed_now(host->user),
        .max_ends = CALL_ENDS,
        .actor = call_peer(call)->actor,
        .arena = rpc_arena(call),
        .changes = rpc_pipeline(call)->gathering,
        .limits = call->server->options.limits,
        .scope = call_peer(call)->scope,
    };
    if (call_peer(call)->role == RPC_ROLE_ADMIN)
        ctx.limits.user_claims_max = 0; /* Kubernetes' owners are all one user's */
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

/* Bytes of a message as a request; NULL: they are none, and the call is answered so. */
static const ProtobufCMessage *request_read(struct rpc_call *call, struct arena *arena, const uint8_t *message,
                                            size_t size)
{
    struct ipam_error error;
    ProtobufCAllocator allocator = record_allocator(arena);
    const ProtobufCMessage *request = NULL;
    if (wire_check(call->method->request, message, size, &error) == 0) {
        request = protobuf_c_message_unpack(call->method->request, &allocator, size, message);
        if (!request)
            ipam_error_set(&error, IPAM_REASON_MALFORMED_MESSAGE, "malformed request: the %zu bytes are not a %s", size,
                           call->method->request->name);
    }
    if (!request)
        rpc_fail_now(call, &error);
    return request;
}

void call_handle(struct rpc_call *call)
{
    const struct pipeline *pipeline = rpc_pipeline(call);
    call_unhold(call);
    arena_reset(rpc_scratch(call));
    if (pipeline->state == PIPELINE_UNREADABLE && !(call->method->flags & RPC_ALWAYS)) {
        rpc_fail_now(call, &pipeline->error);
        return;
    }
    const ProtobufCMessage *request = request_read(call, rpc_arena(call), call->request, call->request_size);
    if (request)
        call->method->handle(call, request);
}

int rpc_need_role(const struct rpc_call *call, enum rpc_role role, const char *what, struct ipam_error *reterr)
{
    const struct rpc_peer *peer = call_peer(call);
    const char *needed = rpc_role_name(role), *has = rpc_role_name(peer->role);
    const char *remedy = call->server->options.role_remedy[role];
    if (peer->role >= role)
        return 0;
    ipam_error_set(reterr, IPAM_REASON_PERMISSION_DENIED,
                   "permission denied: %s needs the role %s, and %s (uid %u) has %s; %s", what, needed,
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
    if (rpc_need_role(call, call->method->role, call->method->name, reterr) < 0)
        return -1;
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
    ring_add(&server->calls, &call->link);
    grpc_call_set_user(stream, call);
    server->counters.calls++;

    call->method = route_find(server, grpc_call_path(stream));
    deadline_begin(call);
    struct ipam_error error;
    if (call_admit(call, &error) == 0) {
        grpc_call_limit_message(stream, call->method->max_request);
        return;
    }
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
    call->messages++;
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
    call_take_turn(call);
}

static void on_close(struct grpc_call *stream, void *user)
{
    (void)user;
    struct rpc_call *call = grpc_call_user(stream);
    if (call->method && call->method->close)
        call->method->close(call);
    call_unhold(call);
    deadline_forget(call);
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
