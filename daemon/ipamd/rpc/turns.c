#include "internal.h"

/* What a peer is served in one turn of the loop before its further calls wait, and what all that wait are served in one: bytes
 * of answers. Others' calls take turns with a client that asks for large ones. */
#define TURN_SHARE (128 * 1024)
/* What a call costs besides its answer, in bytes of an answer that cost as much. */
#define CALL_COST 1024
/* How long those that wait are passed over while others have something to do, or had a moment ago. */
#define PASSED_OVER_NS 5000000
/* Bytes that a client has left unread when it is made no further large answer: enough to keep one busy that reads. */
#define LARGE_UNREAD (1024 * 1024)

/* A client that pipelines faster than it reads, or than the disk writes, has its further calls put off at half of the limit:
 * so only one who never reads a stream of ours ever reaches the limit itself. Its bytes are read on, because what lets us send
 * (WINDOW_UPDATE) is among them. */
static bool peer_overloaded(struct rpc_call *call)
{
    const struct rpc_peer *peer = call_peer(call);
    size_t unread = grpc_endpoint_unread(grpc_call_endpoint(call->stream));
    if (call->method->flags & RPC_LARGE && unread > LARGE_UNREAD)
        return true;
    return unread + peer->held + peer->expected > peer->max_unread / 2;
}

static bool call_must_wait(struct rpc_call *call)
{
    if (call->method->flags & RPC_ALWAYS)
        return false;
    return rpc_pipeline(call)->state == PIPELINE_RELOADING || peer_overloaded(call);
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

static bool party_waits(const struct rpc_party *party)
{
    return party->peers.next != &party->peers;
}

static void party_queue(struct rpc_server *server, struct rpc_party *party)
{
    if (!party->queued.next)
        ring_add(&server->queue, &party->queued);
}

/* Who makes more connections is served no sooner: the queue is one of parties. */
static void peer_queue(struct rpc_peer *peer)
{
    if (peer->queued.next)
        return;
    ring_add(&peer->party->peers, &peer->queued);
    party_queue(peer->server, peer->party);
}

static bool has_put_off(const struct rpc_peer *peer)
{
    return peer->put_off.next != &peer->put_off;
}

/* Handles it, at the cost of its peer's share. */
static void call_serve(struct rpc_call *call)
{
    call_handle(call);
    share_spend(call_peer(call), CALL_COST + call->reply_size);
}

static void call_resume(struct rpc_call *call)
{
    struct rpc_server *server = call->server;
    call_serve(call);
    server->spent += CALL_COST + call->reply_size;
    server->resumed_at = call_host(call)->monotonic_now(call_host(call)->user);
}

void rpc_peer_init(struct rpc_peer *peer, struct rpc_server *server, struct rpc_party *party, const struct actor *actor,
                   enum rpc_role role, size_t max_unread)
{
    *peer =
        (struct rpc_peer){.server = server, .party = party, .actor = *actor, .role = role, .max_unread = max_unread};
    peer->put_off.next = peer->put_off.prev = &peer->put_off;
    if (!party->peers.next)
        party->peers.next = party->peers.prev = &party->peers;
}

void rpc_peer_done(struct rpc_peer *peer)
{
    ring_remove(&peer->queued);
    if (!party_waits(peer->party))
        ring_remove(&peer->party->queued);
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

/* The first of its peers; the party goes to the end of the queue. */
static void party_serve(struct rpc_server *server, struct rpc_party *party)
{
    struct rpc_ring *first = party->peers.next;
    ring_remove(&party->queued);
    ring_remove(first);
    if (party_waits(party))
        party_queue(server, party);
    peer_serve((struct rpc_peer *)((char *)first - offsetof(struct rpc_peer, queued)));
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
    while (has_queue(server) && server->spent < TURN_SHARE)
        party_serve(server, (struct rpc_party *)((char *)server->queue.next - offsetof(struct rpc_party, queued)));
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

void call_take_turn(struct rpc_call *call)
{
    call_count(call, 0); /* it must not stand in its own way */
    if (call_must_queue(call)) {
        call_count(call, call->request_size);
        ring_add(&call_peer(call)->put_off, &call->put_off);
        peer_queue(call_peer(call));
    } else if (call->method->flags & RPC_LARGE) {
        call_resume(call);
    } else {
        call->server->served_at = call_host(call)->monotonic_now(call_host(call)->user);
        call_serve(call);
    }
}
