/* map.h: a pool as cells: which address of it is free, held, cooling, excluded.
 *
 * Made by the map command of a pool and its claims; drawn by map_draw.h, or told as runs of addresses in JSON. It makes
 * no call and prints nothing. A block is what is drawn under one heading: a CIDR, a range, or all single addresses.
 */
#ifndef IPAMC_MAP_H
#define IPAMC_MAP_H

#include <jansson.h>

#include <ipam/addr.h>
#include <ipam/ipam.pb-c.h>

#include "arena.h"

enum map_state {
    MAP_NOTHING, /* no address of the block, or drawn in another one */
    MAP_FREE,
    MAP_HELD,
    MAP_MANUAL, /* held by a claim that was made without a pool */
    MAP_COOLING,
    MAP_EXCLUDED,
    MAP_RESERVED, /* network and broadcast, and what is no virtual IP */
    MAP_ORPHANED, /* held through the pool, but excluded or reserved by now */
    MAP_STATES,
};

struct map_span {
    struct ipam_range range;
    uint8_t *states; /* enum map_state of each address */
    size_t size;
};

struct map_block {
    const char *heading; /* "10.200.0.0/24" */
    const struct map_span *spans;
    size_t n_spans;
    bool clipped;      /* has addresses past its first 65,536 usable ones, which the pool has not */
    uint32_t per_cell; /* addresses that a cell stands for: 1 up to 256 of them, else a power of two */
    uint64_t counts[MAP_STATES];
};

struct map {
    const char *pool, *state;
    const struct map_block *blocks;
    size_t n_blocks;
    uint64_t counts[MAP_STATES];
    uint64_t orphaned_elsewhere; /* claims through the pool whose address is in none of its ranges */
};

#define MAP_CELLS_MAX 256 /* of a block, about */

/* Everything lives in the arena. Claims may be of other pools, too. -1: an entry of the pool can't be read. */
int map_make(struct arena *arena, const Ipam__V1__Pool *pool, const Ipam__V1__Claim *const *claims, size_t count,
             struct map *ret, struct ipam_error *reterr);

const char *map_state_name(enum map_state state); /* "free" */

/* {"pool", "state", "counts": {…}, "blocks": [{"range", "clipped", "counts", "runs": [{"first", "last", "state"}]}]}.
 * A new reference. */
json_t *map_json(const struct map *map);

#endif
