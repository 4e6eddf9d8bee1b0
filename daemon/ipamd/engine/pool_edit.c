#include <stdlib.h>

#include "internal.h"

/* ---- Specs ---- */

static bool lists_equal(const struct string_list *a, const struct string_list *b)
{
    if (a->count != b->count)
        return false;
    for (size_t i = 0; i < a->count; i++)
        if (strcmp(a->items[i], b->items[i]))
            return false;
    return true;
}

static bool specs_equal(const struct pool_spec *a, const struct pool_spec *b)
{
    return !strcmp(a->uid, b->uid) && a->generation == b->generation &&
           a->reuse_delay_seconds == b->reuse_delay_seconds && a->auto_assign == b->auto_assign &&
           a->paused == b->paused && lists_equal(&a->cidrs, &b->cidrs) && lists_equal(&a->addresses, &b->addresses) &&
           lists_equal(&a->excluded, &b->excluded);
}

/* The newest spec that the pool was given. */
static const struct pool_spec *newest_spec(const struct pool *pool)
{
    return pool->record.has_rejected ? &pool->record.rejected : &pool->record.spec;
}

/* ---- Rejected pools, again ---- */

int pools_older_first(const void *a, const void *b)
{
    const struct pool *left = *(struct pool *const *)a, *right = *(struct pool *const *)b;

    return (left->record.id > right->record.id) - (left->record.id < right->record.id);
}

/* True if it was accepted. */
static bool retry(struct engine *engine, struct pool *pool)
{
    struct pool_record record = pool->record;
    struct pool *other;
    struct ipam_range range;

    if (regions_overlap(engine, &pool->rejected_plan, pool, &other, &range))
        return false;
    record.state = POOL_READY;
    record.reason = IPAM_REASON_NONE;
    record.message = plan_message(&pool->rejected_plan, engine->batch->ctx->arena);
    record.has_spec = true;
    record.spec = record.rejected;
    record.has_rejected = false;
    record.rejected = (struct pool_spec){.uid = ""};
    emit_pool(engine, &record);
    return true;
}

static void record_overlap(struct engine *engine, struct pool *pool)
{
    struct pool_record record = pool->record;
    struct ipam_error error;
    struct pool *other;
    struct ipam_range range;

    if (!regions_overlap(engine, &pool->rejected_plan, pool, &other, &range))
        return;
    overlap_error(pool->name, other, &range, &error);
    if (!strcmp(error.message, record.message))
        return;
    record.message = error.message;
    emit_pool(engine, &record);
}

void pools_retry_rejected(struct engine *engine)
{
    struct pool_vector rejected = {0};
    size_t i = 0;

    if (!engine->space_changed || !engine->n_rejected)
        return;
    for (size_t n = 0; n < engine->listed.count; n++)
        if (engine->listed.items[n]->has_rejected_plan)
            pool_vector_add(&rejected, engine->listed.items[n]);
    if (rejected.count) /* qsort takes no NULL */
        qsort(rejected.items, rejected.count, sizeof(*rejected.items), pools_older_first);
    while (i < rejected.count) {
        if (rejected.items[i]->has_rejected_plan && retry(engine, rejected.items[i]))
            i = 0; /* what it gave up may be what an older one needs */
        else
            i++;
    }
    for (i = 0; i < rejected.count; i++)
        if (rejected.items[i]->has_rejected_plan)
            record_overlap(engine, rejected.items[i]);
    free(rejected.items);
}

/* ---- After a replay ---- */

/* It has nothing in force from here on. */
static void record_aside(struct engine *engine, const struct pool *pool)
{
    struct pool_record record = pool->record;
    struct ipam_error error;
    struct pool *other;
    struct ipam_range range;

    if (regions_overlap(engine, &pool->aside_plan, pool, &other, &range))
        overlap_error(pool->name, other, &range, &error);
    else
        plan_check_capacity(pool->name, &pool->aside_plan, &error);
    if (record.state == POOL_DRAINING || !record.has_rejected) {
        record.reason = error.reason;
        record.message = error.message;
    }
    if (record.state != POOL_DRAINING) {
        record.rejected = *newest_spec(pool);
        record.state = POOL_REJECTED;
        record.has_rejected = true;
        record.has_spec = false;
        record.spec = (struct pool_spec){.uid = ""};
    }
    emit_pool(engine, &record);
}

static void refresh_message(struct engine *engine, const struct pool *pool)
{
    struct pool_record record = pool->record;

    record.message = plan_message(&pool->plan, engine->batch->ctx->arena);
    if (record.state == POOL_READY && strcmp(record.message, pool->record.message))
        emit_pool(engine, &record);
}

void pools_settle_loaded(struct engine *engine)
{
    struct pool_vector pools = {0};

    for (size_t i = 0; i < engine->listed.count; i++)
        pool_vector_add(&pools, engine->listed.items[i]);
    if (pools.count) /* qsort takes no NULL */
        qsort(pools.items, pools.count, sizeof(*pools.items), pools_older_first);
    for (size_t i = 0; i < pools.count; i++)
        if (pools.items[i]->aside)
            record_aside(engine, pools.items[i]);
    for (size_t i = 0; i < pools.count; i++)
        refresh_message(engine, pools.items[i]);
    free(pools.items);
    engine->space_changed = true;
    pools_retry_rejected(engine);
}

/* ---- Apply ---- */

struct application {
    const struct apply_pool_args *args;
    struct pool *pool;     /* NULL: new */
    struct pool_spec spec; /* as given, with the uid that it means */
    bool unchanged;
};

static const char *known(const char *text)
{
    return text ? text : "";
}

static int check_standing(struct application *application, struct ipam_error *reterr)
{
    const struct pool *pool = application->pool;
    struct pool_spec *spec = &application->spec;
    const struct pool_spec *newest;
    bool recreated;

    spec->uid = known(spec->uid);
    if (!pool)
        return 0;
    newest = newest_spec(pool);
    if (!*spec->uid)
        spec->uid = newest->uid;
    recreated = *newest->uid && strcmp(spec->uid, newest->uid);
    if (!recreated && spec->generation > 0 && spec->generation < newest->generation)
        return ipam_error_set(reterr, IPAM_REASON_STALE_GENERATION,
                              "stale generation: %s has generation %lld already, this is %lld; "
                              "apply the newest",
                              pool->name, (long long)newest->generation, (long long)spec->generation);
    if (pool->record.state == POOL_DRAINING && !recreated)
        return ipam_error_set(reterr, IPAM_REASON_POOL_DRAINING,
                              "pool draining: %s is being deleted and goes with its last claim; "
                              "apply it again once it is gone",
                              pool->name);
    application->unchanged = pool->record.state != POOL_DRAINING && specs_equal(spec, newest);
    return 0;
}

/* The very spec that is in force now. */
static bool is_in_force(const struct application *application)
{
    return application->unchanged && application->pool->record.state == POOL_READY;
}

/* -1: refused for INVALID_POOL_SPEC or POOL_OVERLAP. */
static int make_plan(const struct engine *engine, const struct application *application, struct plan *ret,
                     struct ipam_error *reterr)
{
    const char *name = application->args->name;
    struct plan plan;
    struct pool *other;
    struct ipam_range range;

    if (plan_make(name, &application->spec, &plan, reterr) < 0)
        return -1;
    if (!is_in_force(application) && plan_check_new(name, &plan, reterr) < 0) {
        plan_done(&plan);
        return -1;
    }
    if (regions_overlap(engine, &plan, application->pool, &other, &range)) {
        plan_done(&plan);
        return overlap_error(name, other, &range, reterr);
    }
    *ret = plan;
    return 0;
}

static struct pool_record record_base(const struct engine *engine, const struct application *application)
{
    const struct pool *pool = application->pool;
    struct pool_record record = {.id = next_revision(engine),
                                 .name = application->args->name,
                                 .created_at = {engine->now},
                                 .message = "",
                                 .spec.uid = "",
                                 .rejected.uid = ""};

    if (!pool)
        return record;
    record.id = pool->record.id;
    record.created_at = pool->record.created_at;
    record.has_spec = pool->in_force;
    if (pool->in_force)
        record.spec = pool->record.spec;
    return record;
}

static void apply_rejected(struct engine *engine, const struct application *application, const struct ipam_error *why)
{
    struct pool_record record = record_base(engine, application);

    record.state = POOL_REJECTED;
    record.reason = why->reason;
    record.message = why->message;
    record.has_rejected = true;
    record.rejected = application->spec;
    emit_pool(engine, &record);
}

static void apply_accepted(struct engine *engine, const struct application *application, const struct plan *plan)
{
    struct pool_record record = record_base(engine, application);

    record.state = POOL_READY;
    record.message = plan_message(plan, engine->batch->ctx->arena);
    record.has_spec = true;
    record.spec = application->spec;
    emit_pool(engine, &record);
}

/* Bound claims made through the pool whose address it has now and has no more by the plan. */
static struct claim **find_stranded(const struct pool *pool, const struct plan *plan, struct arena *arena,
                                    size_t *ret_count)
{
    size_t most = (size_t)(pool->families[0].through_in + pool->families[1].through_in);
    struct claim **found = arena_alloc(arena, most * sizeof(*found)), *claim;

    *ret_count = 0;
    for (unsigned int f = 0; f < FAMILIES; f++)
        for (uint64_t at = 0; (claim = space_next(&pool->families[f].space, &at));)
            if (claim->state == CLAIM_BOUND && claim->pool == pool &&
                plan_index(&plan->families[f], claim_number(claim)) == PLAN_NOWHERE)
                found[(*ret_count)++] = claim;
    return found;
}

static void view_stranded(struct engine *engine, struct claim *const *claims, size_t count, struct arena *arena,
                          struct claim_views *ret)
{
    ret->items = arena_alloc(arena, count * sizeof(*ret->items));
    ret->count = count;
    for (size_t i = 0; i < count; i++)
        ret->items[i] = claim_view_of(engine, claims[i], arena);
}

static int apply(struct engine *engine, struct application *application, struct apply_pool_result *ret,
                 struct ipam_error *reterr)
{
    const struct apply_pool_args *args = application->args;
    struct arena *arena = engine->batch->ctx->arena;
    struct claim **stranded = NULL;
    size_t n_stranded = 0;
    struct ipam_error error;
    struct plan plan;

    if (text_check_pool(args->name, &args->spec, reterr) < 0)
        return -1;
    application->pool = pool_listed(engine, args->name);
    if (!application->pool && text_check_new_pool(args->name, engine->batch->ctx->limits.name_max, reterr) < 0)
        return -1;
    if (check_standing(application, reterr) < 0) {
        ipam_error_add(reterr, "pool", args->name);
        return -1;
    }
    if (make_plan(engine, application, &plan, &error) < 0) {
        if (!args->record_rejected) {
            *reterr = error;
            return -1;
        }
        if (!application->unchanged)
            apply_rejected(engine, application, &error);
    } else {
        if (application->pool)
            stranded = find_stranded(application->pool, &plan, arena, &n_stranded);
        if (!application->unchanged)
            apply_accepted(engine, application, &plan);
        plan_done(&plan);
    }
    batch_settle(engine);
    ret->changed = !application->unchanged;
    ret->pool = pool_view_of(engine, pool_listed(engine, args->name), arena);
    view_stranded(engine, stranded, n_stranded, arena, &ret->stranded);
    return 0;
}

int engine_apply_pool(struct engine *engine, const struct engine_ctx *ctx, const struct apply_pool_args *args,
                      struct apply_pool_result *ret, struct ipam_error *reterr)
{
    struct application application = {.args = args, .spec = args->spec};
    struct ipam_error error;
    struct batch batch;
    int status;

    batch_begin(engine, &batch, ctx, args->dry_run);
    status = apply(engine, &application, ret, reterr ? reterr : &error);
    return batch_end(engine, status);
}

/* ---- Delete ---- */

static void emit_end(struct engine *engine, const struct pool *pool, enum pool_state state)
{
    struct pool_record record = pool->record;

    record.state = state;
    if (pool->in_force || state == POOL_REMOVED) {
        record.reason = IPAM_REASON_NONE;
        record.message = "";
    } else {
        record.has_spec = true; /* for the record only: the reason says that it is not in force */
        record.spec = *newest_spec(pool);
    }
    record.has_rejected = false;
    record.rejected = (struct pool_spec){.uid = ""};
    emit_pool(engine, &record);
}

void pools_remove_drained(struct engine *engine)
{
    struct pool_vector drained = engine->drained;

    if (!drained.count)
        return;
    engine->drained = (struct pool_vector){0};
    qsort(drained.items, drained.count, sizeof(struct pool *), pools_older_first);
    for (size_t i = 0; i < drained.count; i++)
        if ((!i || drained.items[i] != drained.items[i - 1]) && !pool_claims(drained.items[i]))
            emit_end(engine, drained.items[i], POOL_REMOVED);
    free(drained.items);
}

static int delete_pool(struct engine *engine, const struct delete_pool_args *args, struct delete_pool_result *ret,
                       struct ipam_error *reterr)
{
    struct pool *pool = pool_listed(engine, known(args->name));
    const char *uid = known(args->uid);

    *ret = (struct delete_pool_result){0};
    if (!pool) {
        ipam_error_set(reterr, IPAM_REASON_POOL_NOT_FOUND, "pool not found: there is no pool %.64s", known(args->name));
        ipam_error_add(reterr, "pool", known(args->name));
        return -1;
    }
    if (*uid && *newest_spec(pool)->uid && strcmp(uid, newest_spec(pool)->uid))
        return 0;
    ret->claims = pool_claims(pool);
    if (ret->claims && args->only_if_unused) {
        ipam_error_set(reterr, IPAM_REASON_POOL_IN_USE,
                       "pool in use: %s has %llu bound claims; release them first, or delete it "
                       "without only_if_unused and let it drain",
                       pool->name, (unsigned long long)ret->claims);
        ipam_error_add(reterr, "pool", pool->name);
        return -1;
    }
    ret->removed = !ret->claims;
    ret->draining = ret->claims;
    if (ret->removed)
        emit_end(engine, pool, POOL_REMOVED);
    else if (pool->record.state != POOL_DRAINING)
        emit_end(engine, pool, POOL_DRAINING);
    return 0;
}

int engine_delete_pool(struct engine *engine, const struct engine_ctx *ctx, const struct delete_pool_args *args,
                       struct delete_pool_result *ret, struct ipam_error *reterr)
{
    struct delete_pool_result result;
    struct batch batch;

    batch_begin(engine, &batch, ctx, args->dry_run);
    if (delete_pool(engine, args, &result, reterr) < 0)
        return batch_end(engine, -1);
    batch_settle(engine);
    *ret = result;
    return batch_end(engine, 0);
}
