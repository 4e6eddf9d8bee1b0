/* connection.h: a channel's connection to ipamd's socket: connecting, back-off, and moving the endpoint's bytes.
 *
 * Used by channel.c, which is told when calls can start and when the connection is lost. It knows nothing of calls,
 * messages or deadlines. It works on the socket itself rather than through uv_pipe_t, because a library must not raise
 * SIGPIPE in its user's process, and libuv writes without MSG_NOSIGNAL.
 */
#ifndef IPAM_CLIENT_CONNECTION_H
#define IPAM_CLIENT_CONNECTION_H

#include <uv.h>

#include "channel.h"
#include "grpc.h"

enum connection_state {
    CONNECTION_NONE, /* will be tried by the next connection_turn */
    CONNECTION_OPEN,
    CONNECTION_CLOSING, /* lost; its handle is being closed */
    CONNECTION_BACKOFF, /* to be tried again later */
    CONNECTION_OVER,    /* connection_close was called */
};

struct connection_callbacks {
    void (*wake)(void *user);        /* connection_turn is due from the loop */
    void (*unreachable)(void *user); /* an attempt failed: `why` says how */
    void (*closed)(void *user);      /* after connection_close: all handles are closed */
};

struct connection {
    uv_loop_t *loop;
    const struct ipam_options *options;
    struct connection_callbacks callbacks;
    struct grpc_callbacks grpc_callbacks;
    void *user; /* of both */
    enum connection_state state;
    bool is_unreachable; /* the last attempt failed and no other was made since */
    bool polls_writable;
    unsigned int n_handles;
    uv_poll_t poll;
    uv_timer_t retry;
    int fd;
    struct grpc_endpoint *endpoint; /* while OPEN or CLOSING */
    struct ipam_error why;          /* there is no connection */
    uint64_t attempted_at;          /* ms */
    uint64_t backoff_ms, random;
    uint8_t input[64 * 1024];
};

void connection_init(struct connection *connection, uv_loop_t *loop, const struct ipam_options *options,
                     const struct connection_callbacks *callbacks, const struct grpc_callbacks *grpc_callbacks,
                     void *user);
void connection_close(struct connection *connection); /* from then on only `closed` comes, and the end of open calls */
void connection_turn(struct connection *connection);  /* connects if that is due, and sends what there is to send */
void connection_retry_now(struct connection *connection);
bool connection_ready(const struct connection *connection); /* calls can start */

#endif
