#include "internal.h"

static int due_compare(const struct rpc_call *a, const struct rpc_call *b)
{
    if (a->due != b->due)
        return a->due < b->due ? -1 : 1;
    return a < b ? -1 : a > b;
}

RB_PROTOTYPE(calls_due, rpc_call, due_node, due_compare)
RB_GENERATE(calls_due, rpc_call, due_node, due_compare)

void deadline_forget(struct rpc_call *call)
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

/* A unary request has so long to come; a stream is looked at after as long, again and again. */
static uint64_t complete_by(const struct rpc_call *call)
{
    uint64_t timeout = call->server->options.request_timeout;
    if (timeout == 0 || !call->method)
        return UINT64_MAX;
    return call_host(call)->monotonic_now(call_host(call)->user) + timeout;
}

void deadline_begin(struct rpc_call *call)
{
    call->deadline = deadline_of(call);
    call->complete_by = complete_by(call);
    due_add(call);
}

/* A stream's messages come when they come, but one that has begun must be whole by the second look. */
static bool stream_goes_on(struct rpc_call *call)
{
    uint64_t now_at = call->messages + 1;
    bool is_midway = grpc_call_is_midway(call->stream);
    if (!(call->method->flags & RPC_STREAM) || (is_midway && call->seen == now_at))
        return false;
    call->seen = is_midway ? now_at : 0;
    call->complete_by = complete_by(call);
    return true;
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
        deadline_forget(call);
        if (call->finished)
            continue;
        if (call->deadline <= now || (call->complete_by <= now && !stream_goes_on(call)))
            call_expire(call, now);
        else /* its request has come since, or it is a stream */
            due_add(call);
    }
}
