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

static int pool_damaged(const struct pool_record *record, const struct ipam_error *why, struct ipam_error *reterr)
{
    return ipam_error_set(reterr, IPAM_REASON_STORE_DAMAGED, "store damaged: pool %s as recorded can't be: %s",
                          record->name, why->message);
}

/* The plans that the record means. Those of `rejected` may be none: that may be why. */
static int make_plans(struct engine *engine, const struct pool *pool, const struct pool_record *record,
                      struct plan *ret, struct plan *ret_rejected, bool *ret_has_rejected, struct ipam_error *reterr)
{
    bool in_force = record->state != POOL_REMOVED && record->has_spec;
    struct plan plan = {0};
    struct ipam_error error;
    struct pool *other;
    struct ipam_range range;

    if (in_force && plan_make(record->name, &record->spec, &plan, &error) < 0)
        return pool_damaged(record, &error, reterr);
    if (regions_overlap(engine, &plan, pool, &other, &range)) {
        overlap_error(record->name, other, &range, &error);
        plan_done(&plan);
        return pool_damaged(record, &error, reterr);
    }
    *ret = plan;
    *ret_has_rejected = record->has_rejected && !plan_make(record->name, &record->rejected, ret_rejected, NULL);
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
    pool_replan(engine, pool, &plan);
    changes_done(&pool->store);
    pool->store = store;
    pool->record = store.items[0].pool;
    pool->revision = revision;
    pool->in_force = record->state != POOL_REMOVED && record->has_spec;
    pool_list(engine, pool, record->state != POOL_REMOVED);
    waits_pend_pool(engine, pool);
    pool_drop_unused(engine, pool);
    return 0;
}
