/* connection.h: one client: its pipe, its gRPC endpoint, and who is at the other end.
 *
 * Made by the daemon for each accepted client; it moves bytes between the two and knows nothing of
 * what they say. A connection frees itself when it is closed.
 */
#ifndef IPAMD_CONNECTION_H
#define IPAMD_CONNECTION_H

#include <uv.h>

#include "rpc.h"

struct connection;

/* The connections of a daemon. */
struct connections {
    uv_loop_t *loop;
    struct rpc_server *rpc;
    struct grpc_limits limits;
    size_t max, count;        /* that are served */
    size_t refused;           /* that are past max and wait to be told so */
    struct connection *first; /* all of them */
    struct connection *dirty; /* those with something to send */
    bool stopping;
};

/* Takes the client that waits on the listener. */
void connection_accept(struct connections *all, uv_stream_t *listener);

void connection_wake(struct grpc_endpoint *endpoint); /* rpc_host.wake */
void connections_flush(struct connections *all);      /* once per loop turn: sends what there is to send */
void connections_shutdown(struct connections *all);   /* each finishes the calls it has, then closes */
void connections_abort(struct connections *all);      /* closes all at once */

#endif
