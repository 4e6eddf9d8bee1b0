#include "ranges.h"

#include <stdlib.h>

#include "arena.h"

static int by_first(const void *a, const void *b)
{
    const struct ipam_range *left = a, *right = b;
    return ipam_addr_compare(&left->first, &right->first);
}

/* Sorts, and joins ranges that meet. */
static size_t merge(struct ipam_range *ranges, size_t n)
{
    size_t kept = 0;
    qsort(ranges, n, sizeof(*ranges), by_first);
    for (size_t i = 0; i < n; i++) {
        if (kept > 0 && ipam_addr_compare(&ranges[i].first, &ranges[kept - 1].last) <= 0) {
            if (ipam_addr_compare(&ranges[i].last, &ranges[kept - 1].last) > 0)
                ranges[kept - 1].last = ranges[i].last;
        } else {
            ranges[kept++] = ranges[i];
        }
    }
    return kept;
}

void ranges_init(struct ranges *ranges, const Ipam__V1__PoolSpec *spec)
{
    struct ipam_cidr cidr;
    *ranges = (struct ranges){.usable = NULL};
    if (!spec)
        return;
    ranges->usable = mem_alloc((spec->n_cidrs + spec->n_addresses + 1) * sizeof(*ranges->usable));
    ranges->excluded = mem_alloc((spec->n_excluded + 1) * sizeof(*ranges->excluded));
    for (size_t i = 0; i < spec->n_cidrs; i++)
        if (ipam_cidr_parse(spec->cidrs[i], &cidr, NULL) == 0)
            ranges->usable[ranges->n_usable++] = ipam_cidr_usable(&cidr, NULL);
    for (size_t i = 0; i < spec->n_addresses; i++)
        if (ipam_addr_range_parse(spec->addresses[i], &ranges->usable[ranges->n_usable], NULL) == 0)
            ranges->n_usable++;
    for (size_t i = 0; i < spec->n_excluded; i++)
        if (ipam_exclusion_parse(spec->excluded[i], &ranges->excluded[ranges->n_excluded], NULL) == 0)
            ranges->n_excluded++;
    ranges->n_usable = merge(ranges->usable, ranges->n_usable);
    ranges->n_excluded = merge(ranges->excluded, ranges->n_excluded);
}

void ranges_done(struct ranges *ranges)
{
    free(ranges->usable);
    free(ranges->excluded);
    *ranges = (struct ranges){.usable = NULL};
}

static int around(const void *key, const void *range)
{
    const struct ipam_addr *address = key;
    const struct ipam_range *r = range;
    if (ipam_addr_compare(address, &r->first) < 0)
        return -1;
    return ipam_addr_compare(address, &r->last) > 0;
}

static bool within(const struct ipam_range *ranges, size_t n, const struct ipam_addr *address)
{
    return n > 0 && bsearch(address, ranges, n, sizeof(*ranges), around) != NULL;
}

bool ranges_exclude(const struct ranges *ranges, const struct ipam_addr *address)
{
    return within(ranges->excluded, ranges->n_excluded, address);
}

bool ranges_contain(const struct ranges *ranges, const struct ipam_addr *address)
{
    return within(ranges->usable, ranges->n_usable, address) && !ranges_exclude(ranges, address);
}
