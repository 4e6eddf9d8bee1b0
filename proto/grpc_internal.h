/* grpc_internal.h: what the files of the gRPC endpoint share: the endpoint, the call and who does
 * what to them.
 *
 * Included by proto/grpc*.c alone. grpc.c owns the connection, grpc_call.c a call's life and what
 * it sends, grpc_message.c what it receives, grpc_server.c and grpc_client.c the headers and
 * statuses of one side, grpc_text.c and grpc_status.c the spelling of values, grpc_memory.c what
 * nghttp2 allocates. It knows no caller: everything goes up through struct grpc_callbacks.
 */
#ifndef IPAM_PROTO_GRPC_INTERNAL_H
#define IPAM_PROTO_GRPC_INTERNAL_H

#include <nghttp2/nghttp2.h>

#include "grpc.h"
#include "grpc_filter.h"

#define GRPC_PREFIX_SIZE     5           /* compressed flag, length in network order */
#define GRPC_WRITABLE_BELOW  (64 * 1024) /* grpc_call_writable */
#define GRPC_REQUEST_HEADERS 8           /* what every request of ours has; the last is grpc-timeout */
#define GRPC_TIMEOUT_TEXT    16

/* A queue of bytes: those from begin to end are in it. */
struct grpc_bytes {
    uint8_t *data;
    size_t begin, end, size;
};

/* What the table of header rules of a side does with a header. */
struct grpc_header_rule {
    const char *name;
    size_t length;
    void (*take)(struct grpc_call *call, const char *value, size_t size);
};

/* What a request's headers or an answer's headers said. */
struct grpc_headers {
    const char *path; /* "" until it comes */
    uint64_t timeout;
    size_t bytes;    /* as RFC 9113 section 6.5.2 counts a header list */
    int http_status; /* client */
    int grpc_status; /* client; -1: none came */
    const char *grpc_message;
    uint8_t *details;
    size_t details_size;
    bool is_post, is_grpc, is_grpc_proto, is_encoded, has_bad_timeout, has_bad_path;
};

struct request_check;

struct grpc_call {
    struct grpc_endpoint *endpoint;
    struct grpc_call *next, *previous; /* open calls; next alone: free ones */
    int32_t stream_id;
    bool is_known;    /* server: on_request was called, so on_close is due */
    bool is_started;  /* server: response headers are submitted */
    bool is_ended;    /* nothing more will be queued to be sent */
    bool is_deaf;     /* what still comes in is thrown away */
    bool is_deferred; /* nghttp2 waits for grpc_call_send or _finish */
    bool is_awaited;  /* grpc_call_writable said no: on_writable is due */
    bool is_answered; /* client: the answer is whole (END_STREAM) */
    bool is_given_up; /* client: `local` is the status, whatever comes */
    void *user;
    struct arena arena;

    struct grpc_headers headers;
    struct grpc_metadata *metadata;
    size_t n_metadata, metadata_room;

    uint8_t prefix[GRPC_PREFIX_SIZE]; /* of the message that is coming in */
    size_t prefix_size;
    uint32_t message_size, max_message;
    struct grpc_bytes in; /* what is there of it, when it comes in pieces */

    struct grpc_bytes out;
    struct grpc_status local; /* client: is_given_up; strings in the arena */
    nghttp2_nv trailers[3];   /* server: set by grpc_call_finish; strings in the arena */
    size_t n_trailers;
    const struct request_check *refusal; /* server: why the request never reached the callbacks */
};

#define GRPC_MEMORY_CLASSES 17 /* up to 1 KiB in steps of 64 bytes */

struct memory_head;

/* What nghttp2 gave back and will want again, by size. */
struct grpc_memory {
    struct memory_head *free[GRPC_MEMORY_CLASSES];
    size_t held; /* bytes got from malloc, those that are kept included */
};

struct grpc_endpoint {
    struct grpc_memory memory; /* of the session */
    nghttp2_session *session;
    struct grpc_filter filter; /* server: of what comes in */
    struct grpc_limits limits;
    struct grpc_callbacks callbacks;
    void *user;
    bool is_server;
    bool is_ready; /* the peer's SETTINGS have come */
    bool is_shut_down;
    bool is_failed; /* `failure` says why */
    char failure[128];

    struct grpc_call *calls, *idle; /* open; kept for the next ones */
    size_t n_calls, n_idle;
    size_t held;                   /* bytes that calls take, open ones and those that are kept */
    size_t base;                   /* bytes that nghttp2 took for an endpoint that has done nothing */
    uint64_t n_started;            /* calls that have ever begun */
    struct grpc_call *header_call; /* whose header block is coming in */
    const struct grpc_header_rule *header_rules;

    uint8_t
        *out; /* frames to be sent, those from begin to end; up to OUT_SIZE bytes of room. NULL: none, and no room */
    size_t out_begin, out_end, out_size;
    size_t queued;  /* bytes in the out queues of all calls */
    uint64_t taken; /* bytes that have left them */
    bool is_calmed; /* server: the client has been told that its frames are too many */
    size_t partial; /* bytes held for messages that are not whole yet */

    nghttp2_nv request[GRPC_REQUEST_HEADERS]; /* client: filled but for path and timeout */
};

/* grpc.c */
void endpoint_fail(struct grpc_endpoint *endpoint, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* nghttp2 takes what we submit unless memory ran out: that ends the connection. */
void endpoint_check(struct grpc_endpoint *endpoint, int nghttp2_code);

/* grpc_call.c */
struct grpc_call *call_new(struct grpc_endpoint *endpoint);
void call_close(struct grpc_call *call); /* on_close, and its memory goes, or is kept for the next call */
void call_free(struct grpc_endpoint *endpoint, struct grpc_call *call); /* one that is kept */
void call_append_metadata(struct grpc_call *call, const char *name, size_t name_size, const char *value,
                          size_t value_size);
void call_drop_queue(struct grpc_call *call);
void call_reset_stream(struct grpc_call *call, uint32_t code);
/* Gives the call up for a reason found here: an error to the client, a status from nowhere on the
 * client. */
void call_fail(struct grpc_call *call, enum ipam_reason reason, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
nghttp2_data_provider call_data_provider(struct grpc_call *call);

/* grpc_message.c */
void message_receive(struct grpc_call *call, const uint8_t *data, size_t size);
bool message_is_partial(const struct grpc_call *call);
void message_drop(struct grpc_call *call);

/* grpc_server.c */
extern const struct grpc_header_rule server_header_rules[];
void server_request(struct grpc_call *call); /* the headers are complete */
void server_end(struct grpc_call *call);     /* the client has sent everything */
void server_submit_headers(struct grpc_call *call);
void server_submit_trailers(struct grpc_call *call);

/* grpc_client.c */
extern const struct grpc_header_rule client_header_rules[];
void client_init(struct grpc_endpoint *endpoint, const char *user_agent);
void client_done(struct grpc_endpoint *endpoint);
void client_response(struct grpc_call *call);                              /* a header block is complete */
void client_end(struct grpc_call *call);                                   /* the answer is complete */
void client_close(struct grpc_call *call, uint32_t h2_code, bool is_lost); /* on_status; the stream is closed */
void client_give_up(struct grpc_call *call, const struct ipam_error *error);

/* grpc_memory.c */
nghttp2_mem memory_functions(struct grpc_memory *memory);
void memory_done(struct grpc_memory *memory);

/* grpc_text.c: results are in the arena. */
const char *text_percent_encode(struct arena *arena, const char *text, size_t *ret_size);
const char *text_percent_decode(struct arena *arena, const char *text, size_t size);
const char *text_base64_encode(struct arena *arena, const uint8_t *data, size_t size, size_t *ret_size);
/* With padding or without; NULL when it is not base64. */
uint8_t *text_base64_decode(struct arena *arena, const char *text, size_t size, size_t *ret_size);
/* grpc-timeout. 0, or -1 when it isn't 1 to 8 digits and one of HMSmun. */
int text_timeout_parse(const char *text, size_t size, uint64_t *ret_ns);
size_t text_timeout_format(uint64_t ns, char text[GRPC_TIMEOUT_TEXT]); /* rounded up */

/* grpc_status.c */
struct grpc_status status_from_error(struct arena *arena, const struct ipam_error *error);

static inline nghttp2_nv nv_make(const char *name, size_t name_size, const char *value, size_t value_size,
                                 uint8_t flags)
{
    return (nghttp2_nv){.name = (uint8_t *)name,
                        .value = (uint8_t *)value,
                        .namelen = name_size,
                        .valuelen = value_size,
                        .flags = (uint8_t)(flags | NGHTTP2_NV_FLAG_NO_COPY_NAME | NGHTTP2_NV_FLAG_NO_COPY_VALUE)};
}

/* An initializer; both are string literals. */
#define NV(name, value)                                                             \
    {                                                                               \
        (uint8_t *)(name), (uint8_t *)(value), sizeof(name) - 1, sizeof(value) - 1, \
            NGHTTP2_NV_FLAG_NO_COPY_NAME | NGHTTP2_NV_FLAG_NO_COPY_VALUE            \
    }

#endif
