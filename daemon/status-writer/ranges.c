#include "ranges.h"

#include <stdlib.h>

#include "arena.h"
#include "pool_ranges.h"

static void take_family(struct ranges *ranges, const struct spans *usable, enum ipam_family family)
{
    for (size_t i = 0; i < usable->count; i++)
        ranges->usable[ranges->n_usable++] =
            (struct ipam_range){addr_make(family, usable->items[i].first), addr_make(family, usable->items[i].last)};
}

void ranges_init(struct ranges *ranges, const Ipam__V1__PoolSpec *spec)
{
    struct pool_ranges pool;
    const char *field;
    *ranges = (struct ranges){.usable = NULL};
    if (!spec)
        return;
    const struct pool_texts texts = {(const char *const *)spec->cidrs,
                                     (const char *const *)spec->addresses,
                                     (const char *const *)spec->excluded,
                                     spec->n_cidrs,
                                     spec->n_addresses,
                                     spec->n_excluded};
    if (pool_ranges_make(&texts, &pool, &field, NULL) < 0)
        return;
    size_t count = pool.families[0].usable.count + pool.families[1].usable.count;
    ranges->usable = mem_alloc(count * sizeof(*ranges->usable));
    for (unsigned int f = 0; f < FAMILIES; f++)
        take_family(ranges, &pool.families[f].usable, family_at(f));
    pool_ranges_done(&pool);
}

void ranges_done(struct ranges *ranges)
{
    free(ranges->usable);
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

bool ranges_contain(const struct ranges *ranges, const struct ipam_addr *address)
{
    return ranges->n_usable > 0 &&
           bsearch(address, ranges->usable, ranges->n_usable, sizeof(*ranges->usable), around) != NULL;
}
