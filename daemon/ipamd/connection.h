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
#include "seats.h"

struct connection;

/* Clients that share their time on the loop: those of a user, or all without a role. */
struct share {
    struct rpc_party party;
    TAILQ_HEAD(, connection) paused; /* that have brought much and read on in turn */
    TAILQ_ENTRY(share) line;         /* in all->line, while any of them waits */
    uint64_t turn, spent;            /* ns in that turn: receiving, what that led to, and sending */
};

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
    struct seats seats;
    size_t max_buffered; /* bytes held for all of them, beyond what a connection takes that has done nothing */
    size_t buffered, buffered_of[RANKS];
    size_t refused;                      /* that have no seat and wait to be told so */
    struct connection *first;            /* all of them */
    struct connection *dirty;            /* those with something to send */
    TAILQ_HEAD(, share) line;            /* whose clients read on in turn */
    struct share roleless;               /* of all clients without a role */
    uint64_t roleless_left, roleless_at; /* that may come now; as of then, in ms */
    const struct share *last;            /* that brought something */
    uint64_t contested_at;               /* ns: that was another one than before */
    uint64_t turn;                       /* of the loop */
    uint64_t heavy_at, heavy_spent;      /* ns: those in line read on last, and what they took since */
    const struct connection *light;      /* that brought little */
    uint64_t light_at;                   /* ns: when the last one did */
    size_t lines[RANKS], lines_left_out; /* said of clients since the last sweep */
    bool stopping;
};

/* What is not an option, for a zeroed `all` whose options are set. */
void connections_init(struct connections *all, size_t max, size_t max_user);

/* Takes the client whose socket `fd` is; false: it was sent away at once, which costs next to nothing. */
bool connection_accept(struct connections *all, int fd);

void connection_wake(struct grpc_endpoint *endpoint);    /* rpc_host.wake */
bool connections_crowded(const struct connections *all); /* half of `max_buffered` is held */
void connections_flush(struct connections *all);         /* once per loop turn: sends what there is to send */
/* Some wait in line to read on: the loop should turn again in so many ms. */
bool connections_wait(const struct connections *all, uint64_t *ret_ms);
/* About once a second while there are any: ends those that take too long, or are idle. */
void connections_sweep(struct connections *all);
void connections_shutdown(struct connections *all); /* each finishes the calls it has, then closes */
void connections_abort(struct connections *all);    /* closes all at once */
void connections_done(struct connections *all);     /* after the last one has gone */

#endif
