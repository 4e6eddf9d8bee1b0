/* grpc_filter.h: what is looked at in a client's frames before nghttp2 sees them: RST_STREAM of streams that were never
 * opened is taken out, and frames that carry nothing are counted against a credit.
 *
 * gRPC's C core, and with it every client in Python, Ruby, PHP or C++, sends one when a call is cancelled between getting
 * its number and sending its headers. RFC 9113 section 5.1 makes that an error of the connection, and nghttp2 knows no
 * mercy: all other calls of the client would be lost. Called by grpc.c alone; it knows frame heads and nothing else of HTTP/2.
 */
#ifndef IPAM_PROTO_GRPC_FILTER_H
#define IPAM_PROTO_GRPC_FILTER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define GRPC_FRAME_HEAD 9

struct grpc_filter {
    size_t pass;                   /* bytes to go through as they are: of the preface, then of a frame's payload */
    size_t drop;                   /* bytes to go */
    uint8_t head[GRPC_FRAME_HEAD]; /* that has come in pieces */
    size_t head_size;
    uint32_t last_stream; /* highest that the client has opened */
    uint64_t frames;      /* heads that have come */
    int32_t credit;       /* frames without a request or data that it may still send; below 0: too many */
};

#define FILTER_CREDIT_MAX 10000

void filter_init(struct grpc_filter *filter);
bool filter_is_midway(const struct grpc_filter *filter);       /* a frame has begun to come in, and not ended */
void filter_earn(struct grpc_filter *filter, uint32_t frames); /* adds to the credit, up to its maximum */

/* Takes from *data and *size as much as goes together; false when nothing is left. What *ret points at holds until the
 * next call. */
bool filter_next(struct grpc_filter *filter, const uint8_t **data, size_t *size, const uint8_t **ret, size_t *ret_size);

#endif
