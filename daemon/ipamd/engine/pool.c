#include <stdlib.h>

#include "internal.h"

/* ---- Vectors of pools ---- */

void pool_vector_add(struct pool_vector *vector, struct pool *pool)
{
    if (vector->count == vector->capacity) {
        vector->capacity = vector->capacity ? vector->capacity * 2 : 8;
        vector->items = mem_realloc(vector->items, vector->capacity * sizeof(*vector->items));
    }
    vector->items[vector->count++] = pool;
}

static void vector_remove_at(struct pool_vector *vector, size_t index)
{
    vector->count--;
    memmove(&vector->items[index], &vector->items[index + 1], (vector->count - index) * sizeof(*vector->items));
}

void pool_vector_remove(struct pool_vector *vector, const struct pool *pool)
{
    for (size_t i = vector->count; i-- > 0;)
        if (vector->items[i] == pool)
            vector_remove_at(vector, i);
}

size_t pools_after(const struct engine *engine, const char *name)
{
    size_t low = 0, high = engine->listed.count;

    while (low < high) {
        size_t middle = (low + high) / 2;

        if (strcmp(engine->listed.items[middle]->name, name) <= 0)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

/* ---- Finding ---- */

static bool pool_equal(const void *item, const void *key)
{
    return !strcmp(((const struct pool *)item)->name, key);
}

/* The one found last is often the next, and a comparison costs less than a keyed hash. */
struct pool *pool_find(struct engine *engine, const char *name)
{
    struct pool *pool = engine->recent_pool;

    if (pool && !strcmp(pool->name, name))
        return pool;
    pool = table_find(&engine->pools, name_hash(engine, name), pool_equal, name);
    if (pool)
        engine->recent_pool = pool;
    return pool;
}

struct pool *pool_listed(struct engine *engine, const char *name)
{
    struct pool *pool = pool_find(engine, name);

    return pool && pool->listed ? pool : NULL;
}

struct pool *pool_get(struct engine *engine, const char *name)
{
    struct pool *pool = pool_find(engine, name);

    if (pool)
        return pool;
    pool = mem_zalloc(sizeof(*pool));
    pool->name = mem_strdup(name);
    pool->hash = name_hash(engine, name);
    changes_init(&pool->store);
    table_insert(&engine->pools, pool->hash, pool);
    return pool;
}

void pool_free(struct pool *pool)
{
    for (unsigned int f = 0; f < FAMILIES; f++)
        space_done(&pool->families[f].space);
    plan_done(&pool->plan);
    plan_done(&pool->rejected_plan);
    plan_done(&pool->aside_plan);
    changes_done(&pool->store);
    free(pool->name);
    free(pool);
}

void pool_drop_unused(struct engine *engine, struct pool *pool)
{
    if (pool->listed || pool->refs)
        return;
    pool_vector_remove(&engine->gained, pool);
    pool_vector_remove(&engine->drained, pool);
    table_remove(&engine->pools, pool->hash, pool);
    if (engine->recent_pool == pool)
        engine->recent_pool = NULL;
    pool_free(pool);
}

uint64_t pool_claims(const struct pool *pool)
{
    return pool->families[0].through + pool->families[1].through;
}

/* ---- From state to state ---- */

/* A DRAINING pool with a reason has lost its addresses to an older one. */
static bool record_in_force(const struct pool_record *record)
{
    return record->state != POOL_REMOVED && record->has_spec &&
           !(record->state == POOL_DRAINING && record->reason != IPAM_REASON_NONE);
}

static int pool_damaged(const struct pool_record *record, const struct ipam_error *why, struct ipam_error *reterr)
{
    return ipam_error_set(reterr, IPAM_REASON_STORE_DAMAGED, "store damaged: pool %s as recorded can't be: %s",
                          record->name, why->message);
}

/* Two pools may meet by today's rules, but no version ever let them have an address that both had by those of 0.1.0. */
static int check_overlap(const struct engine *engine, const struct pool *pool, const struct pool_record *record,
                         const struct plan *plan, struct ipam_error *reterr)
{
    struct ipam_error error;
    struct pool *other;
    struct ipam_range range;

    if (!regions_overlap(engine, plan, pool, &other, &range) || !spec_had(&record->spec, &range.first) ||
        !spec_had(&other->record.spec, &range.first))
        return 0;
    overlap_error(record->name, other, &range, &error);
    return pool_damaged(record, &error, reterr);
}

/* The plans that the record means. That of `rejected` may be none: that may be why. */
static int make_plans(const struct engine *engine, const struct pool *pool, const struct pool_record *record,
                      struct plan *ret, struct plan *ret_rejected, bool *ret_has_rejected, struct ipam_error *reterr)
{
    struct ipam_error error;

    if (record_in_force(record) && plan_make(record->name, &record->spec, ret, &error) < 0)
        return pool_damaged(record, &error, reterr);
    if (check_overlap(engine, pool, record, ret, reterr) < 0) {
        plan_done(ret);
        return -1;
    }
    if (!record->has_rejected || plan_make(record->name, &record->rejected, ret_rejected, NULL) < 0)
        return 0;
    *ret_has_rejected = !plan_check_new(record->name, ret_rejected, NULL);
    if (!*ret_has_rejected)
        plan_done(ret_rejected);
    return 0;
}

static void pool_list(struct engine *engine, struct pool *pool, bool listed)
{
    size_t index = pools_after(engine, pool->name);
    struct pool **at;

    if (listed == pool->listed)
        return;
    pool->listed = listed;
    if (!listed) {
        vector_remove_at(&engine->listed, index - 1);
        return;
    }
    pool_vector_add(&engine->listed, pool);
    at = &engine->listed.items[index];
    memmove(at + 1, at, (engine->listed.count - 1 - index) * sizeof(*at));
    *at = pool;
}

/* The new plan borrows from the new record: it goes in whether or not it means the same addresses. */
static void pool_replan(struct engine *engine, struct pool *pool, struct plan *plan)
{
    if (!plan_same(&pool->plan, plan)) {
        pool_move(engine, pool, plan);
        return;
    }
    plan_done(&pool->plan);
    pool->plan = *plan;
}

/* Manual claims wait for what a spec keeps from them. */
static void pend_around(struct engine *engine, const struct plan *plan)
{
    for (unsigned int f = 0; f < FAMILIES; f++)
        for (size_t i = 0; i < plan->ranges.families[f].whole.count; i++)
            waits_pend_span(engine, f, &plan->ranges.families[f].whole.items[i]);
}

/* ---- Specs that today's rules don't let be, but earlier ones did ----
 *
 * Replay decides nothing, but an address is in one pool at most: of two pools that meet, the younger is set aside, and so is
 * one that has become too large. Which ones are depends on all pools and not on the order in which they came: a pool is set
 * aside if it meets an older one that is not. */

static bool fits_in(const struct engine *engine, const struct pool *pool, const struct plan *plan)
{
    struct pool *other;
    struct ipam_range range;

    return !plan_check_capacity("", plan, NULL) && !regions_overlap(engine, plan, pool, &other, &range);
}

static void set_aside(struct engine *engine, struct pool *pool, struct plan *plan)
{
    pool->aside_plan = *plan;
    pool->aside = true;
    pool->in_force = false;
    engine->n_aside++;
}

static void aside_drop(struct engine *engine, struct pool *pool)
{
    engine->n_aside -= pool->aside;
    pool->aside = false;
    plan_done(&pool->aside_plan);
}

static void take_out(struct engine *engine, struct pool *pool)
{
    struct plan plan = pool->plan, none = {0};

    pool->plan = none;
    pool_move(engine, pool, &none);
    set_aside(engine, pool, &plan);
}

static void put_in(struct engine *engine, struct pool *pool)
{
    struct plan plan = pool->aside_plan;

    if (!fits_in(engine, pool, &plan))
        return;
    pool->aside_plan = (struct plan){0};
    aside_drop(engine, pool);
    pool->in_force = true;
    pool_move(engine, pool, &plan);
}

static void sort_out(struct engine *engine)
{
    struct pool_vector pools = {0};

    for (size_t i = 0; i < engine->listed.count; i++)
        if (engine->listed.items[i]->in_force || engine->listed.items[i]->aside)
            pool_vector_add(&pools, engine->listed.items[i]);
    qsort(pools.items, pools.count, sizeof(*pools.items), pools_older_first);
    for (size_t i = 0; i < pools.count; i++)
        if (!pools.items[i]->aside)
            take_out(engine, pools.items[i]);
    for (size_t i = 0; i < pools.count; i++)
        put_in(engine, pools.items[i]);
    free(pools.items);
}

/* Gives the pool its plan (taken). */
static void pool_place(struct engine *engine, struct pool *pool, struct plan *plan, bool in_force)
{
    struct plan none = {0};

    aside_drop(engine, pool);
    pool->in_force = in_force;
    if (fits_in(engine, pool, plan)) {
        pool_replan(engine, pool, plan);
        return;
    }
    pool_replan(engine, pool, &none);
    set_aside(engine, pool, plan);
}

int pool_put(struct engine *engine, const struct pool_record *record, uint64_t revision, struct ipam_error *reterr)
{
    struct pool *pool = pool_get(engine, record->name);
    struct change change = {.kind = CHANGE_POOL, .pool = *record};
    struct changes store;
    struct plan plan = {0}, rejected = {0};
    bool has_rejected = false;

    changes_init(&store);
    changes_append(&store, &change);
    if (make_plans(engine, pool, &store.items[0].pool, &plan, &rejected, &has_rejected, reterr)) {
        changes_done(&store);
        pool_drop_unused(engine, pool);
        return -1;
    }
    engine->n_rejected -= pool->has_rejected_plan;
    plan_done(&pool->rejected_plan);
    pool->rejected_plan = rejected;
    pool->has_rejected_plan = has_rejected;
    engine->n_rejected += has_rejected;
    pend_around(engine, &pool->plan);
    pend_around(engine, &plan);
    pool_place(engine, pool, &plan, record_in_force(record));
    changes_done(&pool->store);
    pool->store = store;
    pool->record = store.items[0].pool;
    pool->revision = revision;
    pool_list(engine, pool, record->state != POOL_REMOVED);
    if (engine->n_aside)
        sort_out(engine);
    waits_pend_pool(engine, pool);
    pool_drop_unused(engine, pool);
    return 0;
}
