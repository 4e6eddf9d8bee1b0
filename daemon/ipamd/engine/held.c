#include <stdlib.h>

#include "internal.h"

RB_GENERATE(outsiders, outsider, node, outsiders_compare)

int outsiders_compare(const struct outsider *a, const struct outsider *b)
{
    return (a->number > b->number) - (a->number < b->number);
}

/* ---- Regions: the usable addresses of all pools ---- */

/* The first region that ends at or after the number; count when there is none. */
static size_t regions_find(const struct regions *regions, addr_value number)
{
    size_t low = 0, high = regions->count;

    while (low < high) {
        size_t middle = (low + high) / 2;

        if (regions->items[middle].span.last < number)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

/* The first address that the span shares with a pool other than `self`. */
static const struct region *span_meets(const struct regions *regions, const struct span *span, const struct pool *self)
{
    for (size_t i = regions_find(regions, span->first);
         i < regions->count && regions->items[i].span.first <= span->last; i++)
        if (regions->items[i].pool != self)
            return &regions->items[i];
    return NULL;
}

bool regions_overlap(const struct engine *engine, const struct plan *plan, const struct pool *self,
                     struct pool **ret_pool, struct ipam_range *ret_range)
{
    for (unsigned int f = 0; f < FAMILIES; f++) {
        const struct spans *spans = &plan->families[f].usable;

        for (size_t i = 0; i < spans->count; i++) {
            const struct span *span = &spans->items[i];
            const struct region *region = span_meets(&engine->regions[f], span, self);

            if (!region)
                continue;
            *ret_pool = region->pool;
            ret_range->first =
                addr_make(family_at(f), span->first > region->span.first ? span->first : region->span.first);
            ret_range->last = addr_make(family_at(f), span->last < region->span.last ? span->last : region->span.last);
            return true;
        }
    }
    return false;
}

static void regions_remove(struct regions *regions, const struct pool *pool)
{
    size_t kept = 0;

    for (size_t i = 0; i < regions->count; i++)
        if (regions->items[i].pool != pool)
            regions->items[kept++] = regions->items[i];
    regions->count = kept;
}

/* Merges from the end, in place. */
static void regions_add(struct regions *regions, struct pool *pool, const struct spans *spans)
{
    size_t old = regions->count, added = spans->count, at = old + added;

    if (at > regions->capacity) {
        regions->capacity = at * 2;
        regions->items = mem_realloc(regions->items, regions->capacity * sizeof(*regions->items));
    }
    regions->count = at;
    while (added) {
        if (old && regions->items[old - 1].span.first > spans->items[added - 1].first)
            regions->items[--at] = regions->items[--old];
        else
            regions->items[--at] = (struct region){spans->items[--added], pool};
    }
}

/* ---- Who holds an address ---- */

struct place place_find(const struct engine *engine, struct pool *likely, unsigned int family, addr_value number)
{
    const struct regions *regions = &engine->regions[family];
    uint64_t index;
    size_t i;

    if (likely) {
        index = plan_index(&likely->plan.families[family], number);
        if (index != PLAN_NOWHERE)
            return (struct place){likely, index};
    }
    i = regions_find(regions, number);
    if (i == regions->count || regions->items[i].span.first > number)
        return (struct place){0};
    index = plan_index(&regions->items[i].pool->plan.families[family], number);
    return (struct place){regions->items[i].pool, index};
}

static struct outsider *outsider_find(const struct engine *engine, unsigned int family, addr_value number)
{
    struct outsider key = {.number = number};

    return RB_FIND(outsiders, (struct outsiders *)&engine->outsiders[family], &key);
}

struct claim *held_get(const struct engine *engine, unsigned int family, addr_value number)
{
    struct place place = place_find(engine, NULL, family, number);
    struct outsider *outsider;

    if (place.pool)
        return space_get(&place.pool->families[family].space, place.index);
    outsider = outsider_find(engine, family, number);
    return outsider ? outsider->claim : NULL;
}

static void outsider_add(struct engine *engine, struct claim *claim)
{
    struct outsider *outsider = mem_alloc(sizeof(*outsider));

    outsider->number = claim_number(claim);
    outsider->claim = claim;
    RB_INSERT(outsiders, &engine->outsiders[claim->family], outsider);
}

static void outsider_remove(struct engine *engine, unsigned int family, struct outsider *outsider)
{
    RB_REMOVE(outsiders, &engine->outsiders[family], outsider);
    free(outsider);
}

void held_take(struct engine *engine, const struct place *place, struct claim *claim)
{
    struct space *space;

    if (!place->pool) {
        outsider_add(engine, claim);
        return;
    }
    space = &place->pool->families[claim->family].space;
    space_take(space, place->index, claim);
    if (!space->free)
        waits_pend_mixed(engine, place->pool);
}

static bool pool_has_queue(const struct pool *pool)
{
    for (unsigned int i = 0; i < FAMILY_SET_DUAL; i++)
        if (pool->queues[i].root)
            return true;
    return false;
}

void held_give(struct engine *engine, const struct place *place, struct claim *claim)
{
    struct space *space;

    if (!place->pool) {
        outsider_remove(engine, claim->family, outsider_find(engine, claim->family, claim_number(claim)));
        return;
    }
    space = &place->pool->families[claim->family].space;
    space_give(space, place->index);
    if (space->free == 1)
        waits_pend_mixed(engine, place->pool);
    if (!place->pool->gained && pool_has_queue(place->pool)) {
        place->pool->gained = true;
        pool_vector_add(&engine->gained, place->pool);
    }
}

/* ---- A pool's addresses change ---- */

static void count_inside(struct pool *pool, struct claim *claim, uint64_t by)
{
    struct pool_family *family = &pool->families[claim->family];

    if (claim->state == CLAIM_COOLING) {
        family->cooling += by;
        return;
    }
    family->allocated += by;
    if (claim->pool != pool)
        return;
    family->through_in += by;
    claim_set_orphan(claim, by != 1);
}

/* Held addresses that are in the new plan too go to their new place, the others outside. */
static void move_inside(struct engine *engine, struct pool *pool, unsigned int f, const struct plan *plan,
                        struct space *space)
{
    struct space *old = &pool->families[f].space;
    struct claim *claim;

    for (uint64_t at = 0; (claim = space_next(old, &at));) {
        uint64_t index = plan_index(&plan->families[f], claim_number(claim));

        if (index != PLAN_NOWHERE) {
            space_take(space, index, claim);
        } else {
            count_inside(pool, claim, (uint64_t)-1);
            outsider_add(engine, claim);
        }
    }
}

/* Held addresses outside that are in the new plan come in. */
static void move_outsiders(struct engine *engine, struct pool *pool, unsigned int f, const struct plan *plan,
                           struct space *space)
{
    const struct spans *spans = &plan->families[f].usable;

    for (size_t i = 0; i < spans->count; i++) {
        struct outsider key = {.number = spans->items[i].first};
        struct outsider *outsider = RB_NFIND(outsiders, &engine->outsiders[f], &key);

        while (outsider && outsider->number <= spans->items[i].last) {
            struct outsider *next = RB_NEXT(outsiders, &engine->outsiders[f], outsider);

            space_take(space, plan_index(&plan->families[f], outsider->number), outsider->claim);
            count_inside(pool, outsider->claim, 1);
            outsider_remove(engine, f, outsider);
            outsider = next;
        }
    }
}

void pool_move(struct engine *engine, struct pool *pool, struct plan *plan)
{
    for (unsigned int f = 0; f < FAMILIES; f++) {
        struct space space;

        space_init(&space, plan->families[f].capacity);
        move_inside(engine, pool, f, plan, &space);
        move_outsiders(engine, pool, f, plan, &space);
        space_done(&pool->families[f].space);
        pool->families[f].space = space;
        regions_remove(&engine->regions[f], pool);
        regions_add(&engine->regions[f], pool, &plan->families[f].usable);
    }
    plan_done(&pool->plan);
    pool->plan = *plan;
    engine->space_changed = true;
}
