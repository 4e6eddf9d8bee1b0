/* ranges.h: the addresses that a pool's specification serves, as sorted ranges.
 *
 * Used by pool_status.c to list a pool's allocations and by objects.c to tell which pool an address concerns. Pure; it must
 * not know claims or objects, and leaves it to pool_ranges.h what a specification means. One that can't be read serves
 * nothing: ipamd has refused it with a reason.
 */
#ifndef IPAM_STATUS_RANGES_H
#define IPAM_STATUS_RANGES_H

#include <stdbool.h>
#include <stddef.h>

#include <ipam/addr.h>
#include <ipam/ipam.pb-c.h>

struct ranges {
    struct ipam_range *usable; /* sorted, apart from each other */
    size_t n_usable;
};

void ranges_init(struct ranges *ranges, const Ipam__V1__PoolSpec *spec); /* spec NULL: none */
void ranges_done(struct ranges *ranges);
bool ranges_contain(const struct ranges *ranges, const struct ipam_addr *address);

#endif
