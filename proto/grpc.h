/* grpc.h: a gRPC endpoint without I/O: bytes in, bytes out, callbacks; one piece of code for server and client.
 *
 * Called by ipamd's connections and by libipam, which only move its bytes. It knows HTTP/2 (nghttp2) and gRPC's framing
 * ("gRPC over HTTP2", doc/PROTOCOL-HTTP2.md), and nothing of sockets, loops, clocks, threads or what the messages mean.
 * One endpoint is one connection; it is used from one thread.
 */
#ifndef IPAM_PROTO_GRPC_H
#define IPAM_PROTO_GRPC_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <ipam/error.h>

#include "arena.h"

struct grpc_endpoint;
struct grpc_call;

#define GRPC_NO_DEADLINE UINT64_MAX

/* All that a peer can make us hold. Each is an option of ipamd. */
struct grpc_limits {
    uint32_t max_streams; /* calls at once on the connection; announced in SETTINGS */
    /* Bytes of one message that comes in, and of a client's request: a larger one is RESOURCE_EXHAUSTED, MESSAGE_TOO_LARGE.
     * What a server answers may be larger: the change that it tells of has been made. */
    uint32_t max_message;
    uint32_t max_header_list; /* bytes of a header list as RFC 9113 counts them; announced */
    size_t max_unread;        /* bytes of replies that the peer has not taken; past it the connection is given up */
};

struct grpc_metadata {
    const char *name, *value; /* name in lower case; value as on the wire, so -bin values are still base64 */
};

struct grpc_status {
    enum ipam_status code;
    const char *message;    /* UTF-8, decoded */
    const uint8_t *details; /* google.rpc.Status, decoded from grpc-status-details-bin; NULL for none */
    size_t details_size;
    enum ipam_reason reason; /* client: of a status that was made here (lost connection, cancelled, …); else NONE */
};

/* All callbacks come from within grpc_endpoint_receive, grpc_endpoint_output or grpc_endpoint_free, never from the
 * grpc_call_ functions. What they get is borrowed for the callback, but for the call, which lives until on_close returns.
 * Any may be NULL. A callback may call any grpc_call_ function, and must not free the endpoint. */
struct grpc_callbacks {
    /* Server: a request's headers are complete and right. Wrong ones (method, content-type, encoding, path …) are answered
     * by the endpoint itself. grpc_call_path, _timeout and _metadata tell what it is. */
    void (*on_request)(struct grpc_call *call, void *user);
    /* One whole message, at any alignment. */
    void (*on_message)(struct grpc_call *call, const uint8_t *message, size_t size, void *user);
    /* Server: the client has sent all its messages. */
    void (*on_end)(struct grpc_call *call, void *user);
    /* The call's bytes wait no longer: a stream that got false from grpc_call_writable may go on. */
    void (*on_writable)(struct grpc_call *call, void *user);
    /* Client: the call is over; comes once, whatever happened (UNREACHABLE, PROTOCOL_ERROR and the like included). */
    void (*on_status)(struct grpc_call *call, const struct grpc_status *status, void *user);
    /* Both: the last word about the call: finished, cancelled by the peer or lost with the connection. Its memory goes. */
    void (*on_close)(struct grpc_call *call, void *user);
};

struct grpc_endpoint *grpc_server_new(const struct grpc_limits *limits, const struct grpc_callbacks *callbacks,
                                      void *user);
struct grpc_endpoint *grpc_client_new(const struct grpc_limits *limits, const struct grpc_callbacks *callbacks,
                                      const char *user_agent, void *user);
/* Calls on_close for every call that is left. NULL is fine; returns NULL. */
struct grpc_endpoint *grpc_endpoint_free(struct grpc_endpoint *endpoint);

/* Bytes from the peer. -1: the peer broke HTTP/2 or passed a limit; send what grpc_endpoint_output still has (a GOAWAY),
 * then close. */
int grpc_endpoint_receive(struct grpc_endpoint *endpoint, const uint8_t *data, size_t size, struct ipam_error *reterr);

/* Bytes for the peer: points *ret at up to about 80 KiB; *ret_size is how many, 0 for none now. They stay the next ones to
 * be sent until grpc_endpoint_sent says how many of them went; a further call meanwhile gives the same ones and perhaps more.
 * They may move when the endpoint is given bytes, or is asked again. -1: max_unread is passed or nghttp2 failed; close. */
int grpc_endpoint_output(struct grpc_endpoint *endpoint, const uint8_t **ret, size_t *ret_size,
                         struct ipam_error *reterr);
void grpc_endpoint_sent(struct grpc_endpoint *endpoint, size_t size);

void grpc_endpoint_shutdown(struct grpc_endpoint *endpoint); /* GOAWAY: takes no new calls, finishes those there are */
bool grpc_endpoint_done(const struct grpc_endpoint *endpoint);    /* nothing more to come or go: close the connection */
size_t grpc_endpoint_calls(const struct grpc_endpoint *endpoint); /* calls that are open */
/* Bytes that wait to be sent, those in the queues of calls and an estimate for control frames included. An owner that
 * takes on no further calls from half of max_unread on never loses a connection for a peer that is only slow. */
size_t grpc_endpoint_unread(const struct grpc_endpoint *endpoint);
bool grpc_endpoint_ready(const struct grpc_endpoint *endpoint); /* the peer's SETTINGS have arrived */

/* Bytes that the peer makes us hold beyond what a new endpoint takes (about 30 KiB): what waits to be sent, messages that are
 * still coming in, calls, streams, header tables, and what is kept of all that for later. */
size_t grpc_endpoint_held(const struct grpc_endpoint *endpoint);

/* Server: where the two directions stand, for an owner that keeps time. A direction that waits for the peer while its
 * number stays the same stands still. */
struct grpc_progress {
    bool receiving, sending;  /* a frame or a header list has begun to come in; bytes of answers wait */
    uint64_t received, taken; /* frames; bytes of answers that the peer's flow control has let through */
    uint64_t calls;           /* that have ever begun */
};
struct grpc_progress grpc_endpoint_progress(const struct grpc_endpoint *endpoint);

/* Server: a client may send so many more frames without a request or data. It starts with 10,000 and never has more; each
 * request and each frame of data, either way, earns it a few. Past them the connection fails with ENHANCE_YOUR_CALM. */
void grpc_endpoint_earn(struct grpc_endpoint *endpoint, uint32_t frames);

/* Gives back memory that is kept for calls to come, whether there are open ones or not; of use when no new one comes for a
 * while, or when memory is short. */
void grpc_endpoint_trim(struct grpc_endpoint *endpoint);

/* ---- Calls ----------------------------------------------------------------------------------------------------- */

const char *grpc_call_path(const struct grpc_call *call); /* "/ipam.v1.IPAM/Allocate" */
uint64_t grpc_call_timeout(const struct grpc_call *call); /* ns from the request's arrival, GRPC_NO_DEADLINE for none */
const struct grpc_metadata *grpc_call_metadata(const struct grpc_call *call, size_t *ret_count); /* request metadata */
/* Messages of the call that come from now on are no larger than that; max_message still holds. */
void grpc_call_limit_message(struct grpc_call *call, uint32_t max);
bool grpc_call_is_midway(const struct grpc_call *call); /* a message has begun to come in, and is not whole */
struct arena *grpc_call_arena(struct grpc_call *call);  /* lives as long as the call */
struct grpc_endpoint *grpc_call_endpoint(struct grpc_call *call);
void *grpc_endpoint_user(struct grpc_endpoint *endpoint);
void grpc_call_set_user(struct grpc_call *call, void *user);
void *grpc_call_user(const struct grpc_call *call);

/* Client: starts a call. NULL when the connection takes no more (shut down, or max_streams of either side are open). */
struct grpc_call *grpc_call_start(struct grpc_endpoint *endpoint, const char *path, uint64_t timeout_ns,
                                  const struct grpc_metadata *metadata, size_t n_metadata, void *user);

/* Queues one message (copied). `end`, client: it is the last one. Server: the status follows by grpc_call_finish. */
void grpc_call_send(struct grpc_call *call, const uint8_t *message, size_t size, bool end);
bool grpc_call_writable(const struct grpc_call *call); /* under 64 KiB wait to be sent on this call */

/* Server: ends the call with a status; what is queued goes first. details may be NULL. */
void grpc_call_finish(struct grpc_call *call, const struct grpc_status *status);
/* Server: the usual forms of it: OK; and an error with google.rpc.Status {ErrorInfo{reason, domain, details}}. */
void grpc_call_finish_ok(struct grpc_call *call);
void grpc_call_finish_error(struct grpc_call *call, const struct ipam_error *error);

/* Either side gives the call up: RST_STREAM CANCEL. The client gets on_status with CANCELLED or, with `deadline`,
 * DEADLINE_EXCEEDED. */
void grpc_call_cancel(struct grpc_call *call, bool deadline);

/* Reads an error out of a status: ErrorInfo of our domain gives reason and details, else the code alone. */
void grpc_status_error(const struct grpc_status *status, struct ipam_error *ret);

#define GRPC_ERROR_DOMAIN "ipam.novaedge.io"

#endif
