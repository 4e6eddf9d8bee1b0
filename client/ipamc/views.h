/* views.h: the columns of pools, claims and VIPs, and claims in the order in which people look for them.
 *
 * Used by get and describe. A view is a table of {header, cell}; it knows the messages and nothing of how rows are
 * fetched or laid out.
 */
#ifndef IPAMC_VIEWS_H
#define IPAMC_VIEWS_H

#include <ipam/ipam.pb-c.h>

#include "output.h"

/* A VIP is an owner of kind ProxyVIP: its claims of both families on one line. Either may be NULL, not both. */
struct vip_row {
    const Ipam__V1__Claim *ipv4, *ipv6;
};

extern const struct view pool_view;  /* rows are Ipam__V1__Pool */
extern const struct view claim_view; /* rows are Ipam__V1__Claim */
extern const struct view vip_view;   /* rows are struct vip_row */

const char *view_pool_state(const Ipam__V1__Pool *pool); /* "READY" */
/* "BOUND"; of one that does not lie in the pool that it was made through "BOUND,orphaned" or "BOUND,manual" */
const char *view_claim_state(const struct output *output, const Ipam__V1__Claim *claim);
const char *view_family(Ipam__V1__Family family); /* "ipv4", "ipv6", "dual", "" */
/* RFC 3339 to the second; "" without a time. */
const char *view_time(struct arena *arena, const Google__Protobuf__Timestamp *at);

/* By address, numerically and IPv4 first; claims without one after them, as they queue. */
void view_sort_claims(const Ipam__V1__Claim **claims, size_t count);

/* Puts the claims of each owner on one row; by name. The rows live in the arena. */
struct vip_row *view_pair_vips(struct arena *arena, const Ipam__V1__Claim *const *claims, size_t count,
                               size_t *ret_count);

#endif
