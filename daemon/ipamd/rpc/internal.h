/* internal.h: calls and the server that they are of; for rpc.c and the files of this folder that it is divided into.
 *
 * Services know rpc.h alone. rpc.c takes a call from its request to its answer; turns.c decides when it is handled, deadlines.c
 * until when.
 */
#ifndef IPAMD_RPC_INTERNAL_H
#define IPAMD_RPC_INTERNAL_H

#include <bsd/sys/tree.h>

#include "rpc.h"

struct rpc_call {
    struct rpc_ring link;    /* all open calls of the server; first member */
    struct rpc_ring put_off; /* of the peer's; next is NULL while it is not */
    struct waiter waiter;
    struct rpc_server *server;
    struct grpc_call *stream;
    const struct rpc_method *method;
    const uint8_t *request; /* unary: as it came; it is read when it is handled, as that takes many times the memory */
    uint64_t deadline;      /* monotonic ns; UINT64_MAX: none */
    uint64_t complete_by;   /* the same for its request to have come, or to be looked at; UINT64_MAX: none, or it has */
    uint64_t messages, seen;     /* stream: that have come; plus one: as the last look found one half sent */
    uint64_t due;                /* of both the earlier, or one that has been put off since; UINT64_MAX: in no tree */
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

RB_HEAD(calls_due, rpc_call);

struct rpc_server {
    struct rpc_server_options options;
    struct wall_time started_at;
    struct rpc_counters counters;
    struct rpc_ring calls;
    struct calls_due due;  /* those that may be late one day, the first one first */
    struct rpc_ring queue; /* parties whose calls wait for a later turn, in order */
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

static inline const struct rpc_host *call_host(const struct rpc_call *call)
{
    return &call->server->options.host;
}

static inline void call_wake(struct rpc_call *call)
{
    call_host(call)->wake(grpc_call_endpoint(call->stream));
}

static inline struct rpc_peer *call_peer(const struct rpc_call *call)
{
    return grpc_endpoint_user(grpc_call_endpoint(call->stream));
}

static inline void ring_add(struct rpc_ring *ring, struct rpc_ring *link)
{
    link->prev = ring->prev;
    link->next = ring;
    link->prev->next = link->next->prev = link;
}

static inline void ring_remove(struct rpc_ring *link)
{
    if (!link->next)
        return;
    link->prev->next = link->next;
    link->next->prev = link->prev;
    link->next = link->prev = NULL;
}

static inline void call_count(struct rpc_call *call, size_t held)
{
    struct rpc_peer *peer = call_peer(call);
    peer->held += held - call->held;
    call->held = held;
}

/* ---- rpc.c ---- */

/* Reads the request and has its method handle it; the call waits for nothing any more. */
void call_handle(struct rpc_call *call);

/* ---- turns.c ---- */

/* The request has come: it is handled now, or put off until it is its turn. */
void call_take_turn(struct rpc_call *call);

/* ---- deadlines.c ---- */

void deadline_begin(struct rpc_call *call); /* the call is new, and its method known */
void deadline_forget(struct rpc_call *call);

#endif
