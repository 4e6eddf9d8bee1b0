#include <stdio.h>
#include <string.h>

#include "world.h"

#define EXPECT(world, condition, ...)           \
    do {                                        \
        if (!(condition))                       \
            world_disagree(world, __VA_ARGS__); \
    } while (0)

/* ---- Parts ---- */

static void expect_text(struct world *world, const char *what, const char *got, const char *expected)
{
    EXPECT(world, strcmp(got, expected) == 0, "%s: \"%s\", expected \"%s\"", what, got, expected);
}

static void expect_number(struct world *world, const char *what, int64_t got, int64_t expected)
{
    EXPECT(world, got == expected, "%s: %lld, expected %lld", what, (long long)got, (long long)expected);
}

static const char *pool_name(int pool)
{
    return pool == MANUAL ? "" : model_pool_names[pool];
}

static void expect_address(struct world *world, const char *what, const struct ipam_addr *got, int expected)
{
    char text[IPAM_ADDR_TEXT_MAX], name[TEXT_BYTES] = "";

    expect_text(world, what, ipam_addr_format(got, text),
                expected == NOWHERE ? "" : model_address_text(expected, false, name));
}

/* ---- Claims ---- */

static const char *expected_request(const struct model_claim *claim, char text[TEXT_BYTES])
{
    if (claim->state == CLAIM_WAITING)
        return claim->wish.text;
    return claim->certain ? model_address_text(claim->address, false, text) : "";
}

static void compare_waiting(struct world *world, const struct claim_view *view, const struct model *model,
                            const struct model_claim *claim)
{
    enum ipam_reason reason = model_reason_now((struct model *)(uintptr_t)model, claim);
    char text[2 * TEXT_BYTES + 64];
    uint64_t position;

    expect_text(world, "preferred", view->record.preferred, claim->preferred.text);
    expect_text(world, "reason", ipam_reason_name(view->record.reason), ipam_reason_name(reason));
    EXPECT(world, view->record.message[0], "a claim waits without a message");
    if (reason == IPAM_REASON_ADDRESS_IN_USE) {
        model_in_use_message((struct model *)(uintptr_t)model, claim, text, sizeof(text));
        expect_text(world, "message", view->record.message, text);
    }
    expect_number(world, "waiting since", (int64_t)view->record.waiting_since, (int64_t)claim->since);
    if (model_queue_position(model, claim, &position))
        expect_number(world, "queue position", (int64_t)view->queue_position, (int64_t)position);
}

static void compare_claim(struct world *world, const struct claim_view *view, const struct model *model,
                          const struct model_claim *claim)
{
    const struct claim_record *record = &view->record;
    char text[TEXT_BYTES];

    expect_text(world, "owner kind", record->owner.kind, model_owners[claim->owner].kind);
    expect_text(world, "owner name", record->owner.name, model_owners[claim->owner].name);
    expect_number(world, "family", record->family, claim->family);
    expect_number(world, "claim state", record->state, claim->state);
    expect_text(world, "claim's pool", record->pool, pool_name(claim->pool));
    expect_address(world, "address", &record->address, claim->address);
    expect_text(world, "claim's uid", record->owner.uid, model_uids[claim->uid]);
    expect_number(world, "claim id", (int64_t)record->id, (int64_t)claim->id);
    expect_number(world, "claim's revision", (int64_t)view->revision, (int64_t)claim->revision);
    expect_number(world, "created at", record->created_at.ns, claim->created_at);
    expect_number(world, "allocated at", record->allocated_at.ns, claim->allocated_at);
    expect_number(world, "cooling until", record->cooling_until.ns, claim->cooling_until);
    if (claim->state == CLAIM_COOLING) {
        EXPECT(world, record->cooling, "a claim cools and says no delay");
        expect_number(world, "delay", (int64_t)record->cooling->delay_seconds * 1000000000, claim->delay);
        expect_number(world, "cooling ends", cooling_end(record->cooling).ns, claim->ends);
    } else {
        EXPECT(world, !record->cooling, "a claim that does not cool keeps a delay");
    }
    expect_number(world, "user", record->has_user ? (int64_t)record->user : -1, claim->user);
    expect_number(world, "dual", record->dual, claim->dual);
    if (claim->state != CLAIM_RELEASED)
        expect_text(world, "requested", record->requested, expected_request(claim, text));
    if (claim->state == CLAIM_WAITING)
        compare_waiting(world, view, model, claim);
    else
        EXPECT(world,
               record->reason == IPAM_REASON_NONE && !record->waiting_since && !view->queue_position &&
                   !record->preferred[0],
               "a claim that does not wait keeps what belongs to waiting");
}

void compare_claims(struct world *world, const struct claim_views *views, const struct model *model,
                    const struct model_claim *claims, size_t count)
{
    expect_number(world, "number of claims", (int64_t)views->count, (int64_t)count);
    for (size_t i = 0; i < count; i++)
        compare_claim(world, &views->items[i], model, &claims[i]);
}

/* ---- Pools ---- */

static void compare_entries(struct world *world, const struct string_list *got, const struct entries *expected)
{
    expect_number(world, "number of entries", (int64_t)got->count, (int64_t)expected->count);
    for (size_t i = 0; i < expected->count; i++)
        expect_text(world, "entry", got->items[i], expected->items[i].text);
}

static void compare_spec(struct world *world, const struct pool_spec *got, const struct model_spec *expected)
{
    compare_entries(world, &got->cidrs, &expected->cidrs);
    compare_entries(world, &got->addresses, &expected->addresses);
    compare_entries(world, &got->excluded, &expected->excluded);
    expect_text(world, "pool's uid", got->uid, model_uids[expected->uid]);
    expect_number(world, "generation", got->generation, expected->generation);
    expect_number(world, "reuse delay", got->reuse_delay_seconds, expected->reuse_delay);
    expect_number(world, "auto_assign", got->auto_assign, expected->auto_assign);
    expect_number(world, "paused", got->paused, expected->paused);
}

static void compare_counts(struct world *world, const struct pool_counts *got, const struct model_counts *expected)
{
    expect_number(world, "capacity", (int64_t)got->capacity, (int64_t)expected->capacity);
    expect_number(world, "allocated", (int64_t)got->allocated, (int64_t)expected->allocated);
    expect_number(world, "available", (int64_t)got->available, (int64_t)expected->available);
    expect_number(world, "cooling", (int64_t)got->cooling, (int64_t)expected->cooling);
    expect_number(world, "excluded", (int64_t)got->excluded, (int64_t)expected->excluded);
    expect_number(world, "orphaned", (int64_t)got->orphaned, (int64_t)expected->orphaned);
    expect_number(world, "waiting", (int64_t)got->waiting, (int64_t)expected->waiting);
    EXPECT(world, got->available + got->allocated + got->cooling == got->capacity,
           "available + allocated + cooling is not the capacity");
}

/* Owners with a claim in that state, in the pool's sense of it. */
static uint64_t owners_of(const struct model *model, int pool, enum claim_state state)
{
    uint64_t count = 0;

    for (int owner = 0; owner < MODEL_OWNERS; owner++) {
        bool found = false;

        for (int i = 0; i < MODEL_CLAIMS; i++) {
            const struct model_claim *claim = &model->claims[i];

            found |= claim->exists && claim->owner == owner && claim->state == state && claim->pool == pool &&
                     (state == CLAIM_WAITING || !model_pool_contains(model, pool, claim->address));
        }
        count += found;
    }
    return count;
}

static struct model_counts sum(const struct model *model, int pool, const struct model_counts *a,
                               const struct model_counts *b)
{
    return (struct model_counts){
        .capacity = a->capacity + b->capacity,
        .allocated = a->allocated + b->allocated,
        .available = a->available + b->available,
        .cooling = a->cooling + b->cooling,
        .excluded = a->excluded + b->excluded,
        .orphaned = owners_of(model, pool, CLAIM_BOUND),
        .waiting = owners_of(model, pool, CLAIM_WAITING),
    };
}

void compare_pool(struct world *world, const struct pool_view *view, const struct model *model, int pool)
{
    const struct model_pool *expected = &model->pools[pool];
    struct model_counts ipv4 = model_count(model, pool, IPAM_IPV4);
    struct model_counts ipv6 = model_count(model, pool, IPAM_IPV6), total = sum(model, pool, &ipv4, &ipv6);
    bool warns;

    expect_text(world, "pool name", view->record.name, model_pool_names[pool]);
    expect_number(world, "pool state", view->record.state, expected->state);
    expect_text(world, "pool's reason", ipam_reason_name(view->record.reason), ipam_reason_name(expected->reason));
    warns = expected->has_spec && model_warns(&expected->spec);
    EXPECT(world,
           (view->record.message[0] != '\0') ==
               (expected->state == POOL_REJECTED || (expected->state == POOL_READY && warns)),
           "pool %s: message \"%s\"", view->record.name, view->record.message);
    expect_number(world, "warnings", (int64_t)view->warnings.count, warns);
    expect_number(world, "pool id", (int64_t)view->record.id, (int64_t)expected->id);
    expect_number(world, "pool's revision", (int64_t)view->revision, (int64_t)expected->revision);
    expect_number(world, "pool created at", view->record.created_at.ns, expected->created_at);
    expect_number(world, "has spec", view->record.has_spec, expected->has_spec);
    expect_number(world, "has rejected", view->record.has_rejected, expected->has_rejected);
    if (expected->has_spec)
        compare_spec(world, &view->record.spec, &expected->spec);
    if (expected->has_rejected)
        compare_spec(world, &view->record.rejected, &expected->rejected);
    compare_counts(world, &view->ipv4, &ipv4);
    compare_counts(world, &view->ipv6, &ipv6);
    compare_counts(world, &view->total, &total);
    expect_number(world, "claims through the pool", (int64_t)view->claims, (int64_t)model_claims_through(model, pool));
}

static void compare_pools(struct world *world)
{
    struct pool_views views;
    size_t seen = 0;

    engine_pools_list(world->engine, "", MODEL_POOLS, &world->arena, &views);
    for (int i = 0; i < MODEL_POOLS; i++) {
        if (!world->model.pools[i].exists)
            continue;
        EXPECT(world, seen < views.count, "pool %s is not listed", model_pool_names[i]);
        compare_pool(world, &views.items[seen++], &world->model, i);
    }
    expect_number(world, "number of pools", (int64_t)views.count, (int64_t)seen);
    EXPECT(world, !views.more, "more pools are promised than there are");
}

static void compare_one_pool(struct world *world)
{
    int pool = (int)world_random(world, MODEL_POOLS);
    struct ipam_error error = {0};
    struct pool_view view;

    if (engine_pool_get(world->engine, model_pool_names[pool], &world->arena, &view, &error) < 0) {
        expect_number(world, "pool get", IPAM_REASON_POOL_NOT_FOUND, error.reason);
        EXPECT(world, !world->model.pools[pool].exists, "pool %s is not found", model_pool_names[pool]);
    } else {
        EXPECT(world, world->model.pools[pool].exists, "pool %s is found", model_pool_names[pool]);
        compare_pool(world, &view, &world->model, pool);
    }
}

/* ---- Lists of claims ---- */

struct filter {
    int pool, address; /* MANUAL, NOWHERE: any */
    const char *kind;
    enum claim_state state;
};

/* Made through the pool, or holding an address of it. */
static bool of_pool(const struct model *model, const struct model_claim *claim, int pool)
{
    return claim->pool == pool || (claim->address != NOWHERE && model_pool_contains(model, pool, claim->address));
}

static bool passes(const struct model *model, const struct model_claim *claim, const struct filter *filter)
{
    if (!claim->exists || (filter->pool != MANUAL && !of_pool(model, claim, filter->pool)))
        return false;
    if (filter->kind[0] && strcmp(model_owners[claim->owner].kind, filter->kind) != 0)
        return false;
    if (filter->address != NOWHERE && (claim->state == CLAIM_WAITING || claim->address != filter->address))
        return false;
    if (filter->state)
        return claim->state == filter->state;
    return filter->address != NOWHERE || claim->state != CLAIM_COOLING;
}

static size_t expected_list(const struct model *model, const struct filter *filter,
                            struct model_claim ret[MODEL_CLAIMS])
{
    const struct model_claim *sorted[MODEL_CLAIMS];
    size_t count = 0;

    for (int i = 0; i < MODEL_CLAIMS; i++) {
        const struct model_claim *claim = &model->claims[i];
        size_t at = count;

        if (!passes(model, claim, filter))
            continue;
        for (; at > 0 && sorted[at - 1]->id > claim->id; at--)
            sorted[at] = sorted[at - 1];
        sorted[at] = claim;
        count++;
    }
    for (size_t i = 0; i < count; i++)
        ret[i] = *sorted[i];
    return count;
}

static void compare_places(struct world *world, const struct claim_views *views, const struct model_claim *claims)
{
    for (size_t i = 0; i < views->count; i++) {
        int pool = claims[i].address == NOWHERE ? MANUAL : model_pool_at(&world->model, claims[i].address);

        expect_text(world, "lies in", views->items[i].lies_in, pool_name(pool));
    }
}

/* Lists in pages of any size and compares them one after the other. */
static void compare_list(struct world *world, const struct filter *filter, size_t limit, size_t scan)
{
    struct model_claim expected[MODEL_CLAIMS];
    size_t count = expected_list(&world->model, filter, expected), seen = 0;
    struct ipam_addr address = {.family = model_family(filter->address)};
    struct claim_filter args = {.pool = filter->pool == MANUAL ? "" : model_pool_names[filter->pool],
                                .kind = filter->kind,
                                .state = filter->state};
    char text[TEXT_BYTES];
    uint64_t after = 0;

    if (filter->address != NOWHERE) {
        ipam_addr_parse(model_address_text(filter->address, false, text), &address, NULL);
        args.address = &address;
    }
    do {
        struct claim_views views;

        engine_claims_list(world->engine, &args, after, limit, scan, &world->arena, &views, &after);
        EXPECT(world, views.count <= limit && seen + views.count <= count, "a list of claims is too long");
        compare_claims(world, &views, &world->model, expected + seen, views.count);
        compare_places(world, &views, expected + seen);
        seen += views.count;
    } while (after);
    expect_number(world, "number of claims listed", (int64_t)seen, (int64_t)count);
}

static void compare_lists(struct world *world)
{
    static const enum claim_state states[] = {0, CLAIM_WAITING, CLAIM_BOUND, CLAIM_COOLING};
    static const char *const kinds[] = {"", "", "ProxyVIP", "Node", "None"};
    struct filter living = {MANUAL, NOWHERE, "", 0}, cooling = {MANUAL, NOWHERE, "", CLAIM_COOLING};
    struct filter any = {
        .pool = world_chance(world, 50) ? MANUAL : (int)world_random(world, MODEL_POOLS),
        .address = world_chance(world, 50) ? NOWHERE : (int)world_random(world, MODEL_ADDRESSES),
        .kind = kinds[world_random(world, sizeof(kinds) / sizeof(kinds[0]))],
        .state = states[world_random(world, sizeof(states) / sizeof(states[0]))],
    };

    compare_list(world, &living, MODEL_CLAIMS, MODEL_CLAIMS);
    compare_list(world, &cooling, MODEL_CLAIMS, MODEL_CLAIMS);
    compare_list(world, &any, 1 + world_random(world, 5), 1 + world_random(world, 9));
}

static void compare_owner(struct world *world)
{
    int owner = (int)world_random(world, MODEL_OWNERS);
    struct model_claim expected[2];
    struct claim_views views;
    struct ipam_error error;
    size_t count = 0;

    for (enum ipam_family family = IPAM_IPV4; family <= IPAM_IPV6; family++) {
        struct model_claim *bound = model_find(&world->model, owner, family, CLAIM_BOUND);
        struct model_claim *waiting = model_find(&world->model, owner, family, CLAIM_WAITING);

        EXPECT(world, !bound || !waiting, "an owner has two claims of one family");
        if (bound || waiting)
            expected[count++] = bound ? *bound : *waiting;
    }
    if (engine_claims_of(world->engine, model_owners[owner].kind, model_owners[owner].name, &world->arena, &views,
                         &error) < 0)
        world_disagree(world, "claims of an owner: %s", error.message);
    compare_claims(world, &views, &world->model, expected, count);
}

/* ---- The whole ---- */

static void compare_totals(struct world *world)
{
    const struct model *model = &world->model;
    struct engine_totals totals, expected = {0};
    struct elapsed_time next = {0};
    int64_t earliest = 0;

    for (int i = 0; i < MODEL_POOLS; i++)
        expected.pools += model->pools[i].exists;
    for (int i = 0; i < MODEL_CLAIMS; i++) {
        const struct model_claim *claim = &model->claims[i];

        if (!claim->exists)
            continue;
        expected.bound += claim->state == CLAIM_BOUND;
        expected.waiting += claim->state == CLAIM_WAITING;
        expected.cooling += claim->state == CLAIM_COOLING;
        if (claim->state == CLAIM_COOLING && (!earliest || claim->ends < earliest))
            earliest = claim->ends;
    }
    engine_totals(world->engine, &totals);
    expect_number(world, "total pools", (int64_t)totals.pools, (int64_t)expected.pools);
    expect_number(world, "total bound", (int64_t)totals.bound, (int64_t)expected.bound);
    expect_number(world, "total waiting", (int64_t)totals.waiting, (int64_t)expected.waiting);
    expect_number(world, "total cooling", (int64_t)totals.cooling, (int64_t)expected.cooling);
    expect_number(world, "next expiry known", engine_next_expiry(world->engine, &next), earliest != 0);
    if (earliest)
        expect_number(world, "next expiry", next.ns, earliest);
    expect_number(world, "revision", (int64_t)engine_revision(world->engine), (int64_t)model->revision);
}

void compare_state(struct world *world)
{
    compare_totals(world);
    compare_pools(world);
    compare_one_pool(world);
    compare_lists(world);
    compare_owner(world);
}

void compare_changes(struct world *world, const struct model *model)
{
    const struct changes *changes = &world->changes;

    for (size_t i = 0; i < changes->count && i < model->n_changes; i++) {
        const struct change *change = &changes->items[i];
        const struct model_change *expected = &model->changes[i];
        bool pool = change->kind == CHANGE_POOL;

        expect_number(world, "kind of change", change->kind, expected->kind);
        expect_number(world, "id in change", (int64_t)(pool ? change->pool.id : change->claim.id),
                      (int64_t)expected->id);
        expect_number(world, "state in change", pool ? (int64_t)change->pool.state : (int64_t)change->claim.state,
                      expected->state);
        expect_number(world, "revision of change", (int64_t)change->revision,
                      (int64_t)(model->revision - model->n_changes + 1 + i));
        expect_number(world, "time of change", change->at.ns, model->now);
        expect_text(world, "actor", change->actor.command, i < world->by_itself ? "" : "model");
    }
    expect_number(world, "number of changes", (int64_t)changes->count, (int64_t)model->n_changes);
}
