/* connection.h: one client: its pipe, its gRPC endpoint, and who is at the other end.
 *
 * Made by the daemon for each accepted client; it moves bytes between the two and knows nothing of
 * what they say. A connection frees itself when it is closed.
 */
#ifndef IPAMD_CONNECTION_H
#define IPAMD_CONNECTION_H

#include <sys/queue.h>
#include <uv.h>

#include "access.h"
#include "rpc.h"

struct connection;
struct connection_user;

/* ms; 0: no end. */
struct connection_timeouts {
    uint64_t handshake, idle, stall;
};

/* The connections of a daemon. */
struct connections {
    uv_loop_t *loop;
    struct rpc_server *rpc;
    const struct access *access;
    struct grpc_limits limits;
    struct connection_timeouts timeouts;
    size_t max, count;   /* that are served */
    size_t max_user;     /* of these, of one user */
    size_t max_buffered; /* bytes held for all of them */
    size_t buffered;
    size_t refused;                  /* that are past max and wait to be told so */
    struct connection *first;        /* all of them */
    struct connection *dirty;        /* those with something to send */
    TAILQ_HEAD(, connection) paused; /* those that have brought much and read on in turn */
    struct connection_user *users;
    uint64_t turn;                  /* of the loop */
    uint64_t heavy_at, heavy_spent; /* ns: those in line read on last, and what they took since */
    const struct connection *light; /* that brought little */
    uint64_t light_at;              /* ns: when the last one did */
    size_t lines, lines_left_out;   /* said of clients since the last sweep */
    bool stopping;
};

/* Takes the client that waits on the listener. */
void connection_accept(struct connections *all, uv_stream_t *listener);

void connection_wake(struct grpc_endpoint *endpoint);    /* rpc_host.wake */
bool connections_crowded(const struct connections *all); /* half of `max_buffered` is held */
void connections_flush(struct connections *all);         /* once per loop turn: sends what there is to send */
/* Some wait in line to read on: the loop should turn again in so many ms. */
bool connections_wait(const struct connections *all, uint64_t *ret_ms);
/* About once a second while there are any: ends those that take too long, or are idle. */
void connections_sweep(struct connections *all);
void connections_shutdown(struct connections *all); /* each finishes the calls it has, then closes */
void connections_abort(struct connections *all);    /* closes all at once */

#endif
