/* response.h: the bytes of a response while they come: whole bodies, or lines.
 *
 * Used by the API client. It knows JSON and the bound on what is kept, and must not know curl.
 */
#ifndef IPAM_KUBE_RESPONSE_H
#define IPAM_KUBE_RESPONSE_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <ipam/error.h>

struct response_bytes {
    char *data;
    size_t size, capacity;
    size_t taken;   /* of data: lines that were given out */
    size_t scanned; /* of data: no newline before */
    uint64_t max;
    uint64_t lines;
};

int response_add(struct response_bytes *bytes, const void *data, size_t size); /* -1: more than max */
void response_done(struct response_bytes *bytes);

/* The body as JSON; NULL with *reterr: why not, with the byte. */
json_t *response_parse(const struct response_bytes *bytes, struct ipam_error *reterr);

/* The next whole line; `last`: what has no newline counts, too. 1 with *ret, 0: none, -1: it is not JSON. */
int response_line(struct response_bytes *bytes, bool last, json_t **ret, struct ipam_error *reterr);

#endif
