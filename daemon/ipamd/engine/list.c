#include "internal.h"

/* ---- Pools ---- */

int engine_pool_get(struct engine *engine, const char *name, struct arena *arena, struct pool_view *ret,
                    struct ipam_error *reterr)
{
    struct pool *pool = pool_listed(engine, name);

    if (!pool) {
        ipam_error_set(reterr, IPAM_REASON_POOL_NOT_FOUND, "pool not found: there is no pool %.64s", name);
        ipam_error_add(reterr, "pool", name);
        return -1;
    }
    queue_settle(engine);
    *ret = pool_view_of(engine, pool, arena);
    return 0;
}

void engine_pools_list(struct engine *engine, const char *after, size_t limit, struct arena *arena,
                       struct pool_views *ret)
{
    size_t first = pools_after(engine, after), left = engine->listed.count - first;

    queue_settle(engine);
    ret->count = left < limit ? left : limit;
    ret->more = left > limit;
    ret->items = arena_alloc(arena, ret->count * sizeof(*ret->items));
    for (size_t i = 0; i < ret->count; i++)
        ret->items[i] = pool_view_of(engine, engine->listed.items[first + i], arena);
}

/* ---- Claims ---- */

int engine_claims_of(struct engine *engine, const char *kind, const char *name, struct arena *arena,
                     struct claim_views *ret, struct ipam_error *reterr)
{
    struct owner_ref who = {kind, name, ""};
    const struct owner *owner;

    if (text_check_owner(&who, reterr) < 0)
        return -1;
    queue_settle(engine);
    owner = owner_find(engine, owner_hash(engine, kind, name), kind, name);
    ret->items = arena_alloc(arena, FAMILIES * sizeof(*ret->items));
    ret->count = 0;
    for (unsigned int f = 0; owner && f < FAMILIES; f++)
        if (owner->active[f])
            ret->items[ret->count++] = claim_view_of(engine, owner->active[f], arena);
    return 0;
}

static bool state_wanted(const struct claim_filter *filter, const struct claim *claim)
{
    if (filter->state)
        return claim->state == filter->state;
    return filter->address || claim->state != CLAIM_COOLING;
}

static bool lies_in(const struct claim *claim, const struct pool *pool)
{
    return claim_holds(claim) && plan_index(&pool->plan.families[claim->family], claim_number(claim)) != PLAN_NOWHERE;
}

/* `pool`: that of the filter; NULL: there is none, and nothing is made through it or lies in it. */
static bool claim_wanted(const struct claim_filter *filter, const struct pool *pool, const struct claim *claim)
{
    return state_wanted(filter, claim) &&
           (text_empty(filter->pool) || (pool && (claim->pool == pool || lies_in(claim, pool)))) &&
           (text_empty(filter->kind) || !strcmp(claim->owner->kind->text, filter->kind));
}

static void list_by_address(struct engine *engine, const struct claim_filter *filter, const struct pool *pool,
                            uint64_t after_id, struct arena *arena, struct claim_views *ret)
{
    struct claim *claim = held_get(engine, family_index(filter->address->family), addr_number(filter->address));

    if (claim && claim->id > after_id && claim_wanted(filter, pool, claim))
        ret->items[ret->count++] = claim_view_of(engine, claim, arena);
}

static size_t smaller(size_t a, size_t b)
{
    return a < b ? a : b;
}

void engine_claims_list(struct engine *engine, const struct claim_filter *filter, uint64_t after_id, size_t limit,
                        size_t scan, struct arena *arena, struct claim_views *ret, uint64_t *ret_last)
{
    const struct pool *pool = text_empty(filter->pool) ? NULL : pool_find(engine, filter->pool);
    size_t at = claims_after(engine, after_id);
    uint64_t last = after_id;

    queue_settle(engine);
    ret->items = arena_alloc(arena, smaller(smaller(limit, scan), engine->n_ids + 1) * sizeof(*ret->items));
    ret->count = 0;
    *ret_last = 0;
    if (filter->address) {
        if (limit && filter->address->family != IPAM_FAMILY_NONE)
            list_by_address(engine, filter, pool, after_id, arena, ret);
        return;
    }
    for (; at < engine->n_ids && scan && ret->count < limit; at = claims_next(engine, at)) {
        struct claim *claim = claim_at(engine, at);

        if (!claim)
            continue;
        scan--;
        last = claim->id;
        if (claim_wanted(filter, pool, claim))
            ret->items[ret->count++] = claim_view_of(engine, claim, arena);
    }
    while (at < engine->n_ids && !claim_at(engine, at))
        at = claims_next(engine, at);
    if (at < engine->n_ids)
        *ret_last = last;
}
