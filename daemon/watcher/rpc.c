#include "watcher.h"

#include <stdlib.h>

struct rpc {
    TAILQ_ENTRY(rpc) link;
    struct watcher *watcher;
    struct kept *kept;
    struct ipam_pending *pending;
    rpc_done done;
};

struct api_call {
    TAILQ_ENTRY(api_call) link;
    struct watcher *watcher;
    struct kept *kept;
    struct kube_call *call;
    api_done done;
};

bool error_is_transient(const struct ipam_error *error)
{
    return error->status == IPAM_STATUS_UNAVAILABLE || error->status == IPAM_STATUS_DEADLINE_EXCEEDED ||
           error->status == IPAM_STATUS_CANCELLED || error->reason == IPAM_REASON_TOO_MANY_CLIENTS;
}

static void count_call(struct watcher *w, const struct ipam_error *error)
{
    w->counters->calls[!error ? 0 : error_is_transient(error) ? 2 : 1]++;
}

static void on_reply(const ProtobufCMessage *reply, const struct ipam_error *error, void *user)
{
    struct rpc rpc = *(struct rpc *)user;
    struct watcher *w = rpc.watcher;
    TAILQ_REMOVE(&w->rpcs, (struct rpc *)user, link);
    free(user);
    if (w->stopping) {
        watcher_closed(w);
        return;
    }
    count_call(w, error);
    rpc.done(w, rpc.kept, reply, error);
    watcher_pump(w);
}

void rpc_call(struct watcher *w, struct kept *kept, const char *path, const ProtobufCMessage *request,
              const ProtobufCMessageDescriptor *reply_type, uint32_t timeout_ms, rpc_done done)
{
    struct rpc *rpc = mem_zalloc(sizeof *rpc);
    *rpc = (struct rpc){.watcher = w, .kept = kept, .done = done};
    rpc->pending =
        ipam_channel_call(program_channel(w->program), path, request, reply_type, timeout_ms, on_reply, rpc, NULL);
    if (!rpc->pending)
        abort(); /* out of memory: as everywhere (arena.h) */
    TAILQ_INSERT_TAIL(&w->rpcs, rpc, link);
}

static void on_response(const struct kube_response *response, const struct ipam_error *error, void *user)
{
    struct api_call call = *(struct api_call *)user;
    struct watcher *w = call.watcher;
    TAILQ_REMOVE(&w->api_calls, (struct api_call *)user, link);
    free(user);
    if (w->stopping) {
        watcher_closed(w);
        return;
    }
    call.done(w, call.kept, response, error);
    watcher_pump(w);
}

void api_request(struct watcher *w, struct kept *kept, const struct kube_request *request, api_done done)
{
    struct api_call *call = mem_zalloc(sizeof *call);
    *call = (struct api_call){.watcher = w, .kept = kept, .done = done};
    TAILQ_INSERT_TAIL(&w->api_calls, call, link);
    call->call = kube_call(program_client(w->program), request, on_response, call);
}

/* Each of them is one part that is not closed yet. */
void calls_cancel(struct watcher *w)
{
    struct rpc *rpc;
    struct api_call *call;
    TAILQ_FOREACH(rpc, &w->rpcs, link)
    {
        w->n_closing++;
        ipam_channel_cancel(program_channel(w->program), rpc->pending);
    }
    TAILQ_FOREACH(call, &w->api_calls, link)
    {
        w->n_closing++;
        kube_call_cancel(call->call);
    }
}
