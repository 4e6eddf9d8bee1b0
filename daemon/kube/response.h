/* response.h: a response while it comes: one value, or one after the other.
 *
 * Used by the API client. It knows the bounds on what may come, how lists, events and refusals look, and must not know curl.
 */
#ifndef IPAM_KUBE_RESPONSE_H
#define IPAM_KUBE_RESPONSE_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <ipam/error.h>

#include "client.h"
#include "filter.h"

#define RESPONSE_ROWS 16

struct response {
    struct filter *filter;
    struct kube_field top, rows[RESPONSE_ROWS], object[RESPONSE_ROWS]; /* what the filter keeps */
    json_t *values;                                                    /* complete, not taken yet */
    uint64_t max;                                                      /* bytes of a value's text */
    uint64_t size, n_values;
    bool is_stream, too_large;
};

/* `fields`: of the API objects in it, borrowed; NULL: everything is kept. Stays where it is until response_done. */
void response_init(struct response *response, enum kube_shape shape, const struct kube_field *fields, uint64_t max);
void response_done(struct response *response);

/* BAD: it is no JSON; more may come, and is passed over. LARGE: no more is wanted. */
enum filter_result response_add(struct response *response, const void *data, size_t size);
bool response_has_value(const struct response *response);
json_t *response_take(struct response *response); /* the next complete value, the caller's; NULL: none */

/* Nothing more comes. -1: API_UNREACHABLE: it was too large (kube_error_is_too_large), no JSON, or of a call, nothing. */
int response_check(struct response *response, struct ipam_error *reterr);

#endif
