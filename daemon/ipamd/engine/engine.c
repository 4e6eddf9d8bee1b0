#include <stdlib.h>

#include "internal.h"

/* ---- Life ---- */

struct engine *engine_new(const uint8_t hash_key[16])
{
    struct engine *engine = mem_zalloc(sizeof(*engine));

    memcpy(engine->key, hash_key, sizeof(engine->key));
    return engine;
}

static void outsiders_free(struct outsiders *outsiders)
{
    struct outsider *outsider;

    while ((outsider = RB_MIN(outsiders, outsiders))) {
        RB_REMOVE(outsiders, outsiders, outsider);
        free(outsider);
    }
}

static void table_free_items(struct engine *engine, struct table *table,
                             void (*item_free)(struct engine *engine, void *item))
{
    size_t at = 0;

    for (void *item; (item = table_next(table, &at));)
        item_free(engine, item);
    table_done(table);
}

static void owner_item_free(struct engine *engine, void *item)
{
    owner_free(engine, item);
}

static void plain_item_free(struct engine *engine, void *item)
{
    (void)engine;
    free(item);
}

static void pool_item_free(struct engine *engine, void *item)
{
    (void)engine;
    pool_free(item);
}

struct engine *engine_free(struct engine *engine)
{
    if (!engine)
        return NULL;
    for (size_t i = claims_after(engine, 0); i < engine->n_ids; i = claims_next(engine, i))
        if (claim_at(engine, i))
            claim_free(engine, claim_at(engine, i));
    for (unsigned int f = 0; f < FAMILIES; f++) {
        outsiders_free(&engine->outsiders[f]);
        free(engine->regions[f].items);
    }
    table_free_items(engine, &engine->owners, owner_item_free);
    table_free_items(engine, &engine->kinds, plain_item_free);
    table_free_items(engine, &engine->users, plain_item_free);
    table_free_items(engine, &engine->pools, pool_item_free);
    slab_done(&engine->slab);
    free(engine->ids);
    free(engine->heap);
    free(engine->listed.items);
    free(engine->gained.items);
    free(engine->drained.items);
    free(engine);
    return NULL;
}

void engine_set_clock(struct engine *engine, const struct engine_clock *clock)
{
    engine->start = *clock;
    engine->now = clock->now.ns;
    engine->elapsed = clock->elapsed.ns;
}

uint64_t engine_revision(const struct engine *engine)
{
    return engine->revision;
}

/* ---- Changes, and the way back ---- */

static void keep_claim(struct engine *engine, struct batch *batch, const struct target *target,
                       const struct claim_record *record)
{
    struct change before = {.kind = CHANGE_CLAIM};
    struct cooling_record cooling;
    char text[IPAM_ADDR_TEXT_MAX];

    if (target->claim) {
        claim_record_of(target->claim, &before.claim);
        before.claim.cooling = cooling_record_of(engine, target->claim, &cooling);
        before.claim.requested = claim_requested(target->claim, text);
        before.revision = target->claim->revision;
    } else {
        before.claim = *record;
        before.claim.state = CLAIM_RELEASED;
    }
    changes_append(&batch->undo, &before);
}

static void keep_pool(struct engine *engine, struct batch *batch, const struct pool_record *record)
{
    const struct pool *pool = pool_listed(engine, record->name);
    struct change before = {.kind = CHANGE_POOL};

    if (pool) {
        before.pool = pool->record;
        before.revision = pool->revision;
    } else {
        before.pool = *record;
        before.pool.state = POOL_REMOVED;
    }
    changes_append(&batch->undo, &before);
}

static void emit(struct engine *engine, struct change *change)
{
    engine->revision++;
    change->revision = engine->revision;
    change->at.ns = engine->now;
    change->actor = engine->batch->actor;
    changes_append(engine->batch->changes, change);
}

struct claim *emit_claim(struct engine *engine, const struct target *target, const struct claim_record *record)
{
    struct batch *batch = engine->batch;
    struct change change; /* filled piece by piece: clearing all of it first takes its time */

    if (batch->undoing)
        keep_claim(engine, batch, target, record);
    change.kind = CHANGE_CLAIM;
    change.claim = *record;
    emit(engine, &change);
    return claim_put(engine, target, record, change.revision);
}

void emit_pool(struct engine *engine, const struct pool_record *record)
{
    struct batch *batch = engine->batch;
    struct change change = {.kind = CHANGE_POOL, .pool = *record};
    int status;

    if (batch->undoing)
        keep_pool(engine, batch, record);
    emit(engine, &change);
    status = pool_put(engine, record, change.revision, NULL);
    assert(!status);
    (void)status;
}

static void put_back(struct engine *engine, const struct change *before)
{
    struct target target = {0};
    int status = 0;

    if (before->kind == CHANGE_POOL) {
        status = pool_put(engine, &before->pool, before->revision, NULL);
    } else {
        target.claim = claim_by_id(engine, before->claim.id);
        claim_put(engine, &target, &before->claim, before->revision);
    }
    assert(!status);
    (void)status;
}

void batch_mark(struct engine *engine, struct batch_mark *ret)
{
    struct batch *batch = engine->batch;

    *ret = (struct batch_mark){engine->revision, batch->changes->count, batch->undo.count, batch->undoing};
    batch->undoing = true;
}

void batch_back(struct engine *engine, const struct batch_mark *mark)
{
    struct batch *batch = engine->batch;

    while (batch->undo.count > mark->n_undo)
        put_back(engine, &batch->undo.items[--batch->undo.count]);
    batch->changes->count = mark->n_changes;
    batch->undoing = mark->undoing;
    engine->revision = mark->revision;
}

/* ---- A call ---- */

static bool cooling_is_over(const struct engine *engine)
{
    return engine->n_heap && engine->heap[0]->cooling->ends <= engine->elapsed;
}

static void end_cooling(struct engine *engine, size_t max)
{
    if (!cooling_is_over(engine))
        return;
    for (size_t left = max ? max : SIZE_MAX; left && cooling_is_over(engine); left--)
        cooling_end_emit(engine, engine->heap[0], false);
    queue_serve(engine);
}

/* The wall clock is taken as it is. Elapsed time of an earlier moment than that of a call before it is that one's. */
static void time_passes(struct engine *engine, const struct engine_ctx *ctx)
{
    engine->now = ctx->now.ns;
    if (engine->elapsed < ctx->elapsed.ns)
        engine->elapsed = ctx->elapsed.ns;
}

/* What was replayed may have been decided by other rules. */
static void settle_loaded(struct engine *engine)
{
    if (!engine->loaded)
        return;
    engine->loaded = false;
    waits_pend_all(engine);
    pools_settle_loaded(engine);
    queue_serve(engine);
}

void batch_begin(struct engine *engine, struct batch *batch, const struct engine_ctx *ctx, bool dry)
{
    batch->ctx = ctx;
    batch->changes = dry ? &batch->scratch : ctx->changes;
    batch->actor = (struct actor){0, "", ""};
    batch->dry = dry;
    batch->undoing = dry;
    batch->loaded = engine->loaded;
    changes_init(&batch->undo);
    if (dry)
        changes_init(&batch->scratch);
    engine->batch = batch;
    queue_settle(engine);
    batch_mark(engine, &batch->start);
    batch->undoing = dry;
    time_passes(engine, ctx);
    settle_loaded(engine);
    end_cooling(engine, ctx->max_ends);
    batch->actor = ctx->actor;
}

void batch_settle(struct engine *engine)
{
    pools_remove_drained(engine);
    pools_retry_rejected(engine);
    queue_serve(engine);
}

void batch_forget(struct engine *engine)
{
    for (size_t i = 0; i < engine->gained.count; i++)
        engine->gained.items[i]->gained = false;
    engine->gained.count = 0;
    engine->drained.count = 0;
    engine->space_changed = false;
}

int batch_end(struct engine *engine, int status)
{
    struct batch *batch = engine->batch;

    if (batch->dry) {
        batch_back(engine, &batch->start);
        engine->loaded = batch->loaded;
    }
    if (batch->undo.capacity)
        changes_done(&batch->undo);
    if (batch->dry)
        changes_done(&batch->scratch);
    batch_forget(engine);
    queue_settle(engine);
    engine->batch = NULL;
    if (!engine->loaded)
        ENGINE_CHECK(engine);
    return status;
}

void engine_expire(struct engine *engine, const struct engine_ctx *ctx)
{
    struct batch batch;

    batch_begin(engine, &batch, ctx, false);
    batch_end(engine, 0);
}

bool engine_next_expiry(const struct engine *engine, struct elapsed_time *ret)
{
    if (!engine->n_heap)
        return false;
    ret->ns = engine->heap[0]->cooling->ends;
    return true;
}

void engine_totals(const struct engine *engine, struct engine_totals *ret)
{
    *ret = (struct engine_totals){.pools = engine->listed.count,
                                  .bound = engine->n_bound,
                                  .waiting = engine->n_waiting,
                                  .cooling = engine->n_cooling};
}
