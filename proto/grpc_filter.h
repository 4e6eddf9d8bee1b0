/* grpc_filter.h: takes RST_STREAM frames of streams that were never opened out of what a client sends.
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
};

void filter_init(struct grpc_filter *filter);

/* Takes from *data and *size as much as goes together; false when nothing is left. What *ret points at holds until the
 * next call. */
bool filter_next(struct grpc_filter *filter, const uint8_t **data, size_t *size, const uint8_t **ret, size_t *ret_size);

#endif
