/* spans.h: sets of addresses of one family, as sorted spans of numbers.
 *
 * Used by whatever works out which addresses a pool means (pool_ranges.h) and by the engine. It must not know a pool.
 * Sorted and apart from each other once normalised, which every function but spans_add and spans_normalise expects.
 */
#ifndef IPAM_SPANS_H
#define IPAM_SPANS_H

#include <stdbool.h>
#include <stddef.h>

#include <ipam/addr.h>

typedef unsigned __int128 addr_value; /* an address as a number, within its family */

#define NUMBER_MAX (~(addr_value)0)
#define FAMILIES   2

static inline unsigned int family_index(enum ipam_family family)
{
    return (unsigned int)family - 1;
}

static inline enum ipam_family family_at(unsigned int index)
{
    return (enum ipam_family)(index + 1);
}

static inline addr_value addr_number(const struct ipam_addr *addr)
{
    return (addr_value)addr->hi << 64 | addr->lo;
}

static inline struct ipam_addr addr_make(enum ipam_family family, addr_value number)
{
    return (struct ipam_addr){(uint64_t)(number >> 64), (uint64_t)number, family};
}

struct span {
    addr_value first, last; /* both inclusive */
};

struct spans {
    struct span *items;
    size_t count, capacity;
};

void spans_add(struct spans *spans, addr_value first, addr_value last);
void spans_done(struct spans *spans);
void spans_normalise(struct spans *spans); /* sorts, and joins what overlaps or touches */
/* Puts what is left of `from` without `without` into *ret, which is empty. */
void spans_subtract(const struct spans *from, const struct spans *without, struct spans *ret);
bool spans_meet(const struct spans *spans, const struct span *span);
bool spans_same(const struct spans *a, const struct spans *b);
addr_value spans_size(const struct spans *spans); /* modulo 2^128: 0 for all of IPv6 */

/* The last span that begins at or before the number; count when there is none. */
static inline size_t spans_find(const struct spans *spans, addr_value number)
{
    size_t low = 0, high = spans->count;

    while (low < high) {
        size_t middle = (low + high) / 2;

        if (spans->items[middle].first <= number)
            low = middle + 1;
        else
            high = middle;
    }
    return low ? low - 1 : spans->count;
}

static inline bool spans_contain(const struct spans *spans, addr_value number)
{
    size_t i = spans_find(spans, number);

    return i < spans->count && number <= spans->items[i].last;
}

#endif
