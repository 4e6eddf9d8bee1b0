#include <stdio.h>
#include <stdlib.h>

#include "internal.h"

#define SMALL_ENGINE 200 /* claims up to which every call is checked in debug builds */
#define CHECK_EVERY  512 /* calls, of larger ones */

#ifdef ENGINE_CHECKS
void engine_check_some(struct engine *engine)
{
    if (engine->n_ids <= SMALL_ENGINE || ++engine->n_checks % CHECK_EVERY == 0)
        engine_check(engine);
}
#endif

#define REQUIRE(holds) require(holds, #holds, __LINE__)

static void require(bool holds, const char *what, int line)
{
    if (holds)
        return;
    fprintf(stderr, "engine: invariant of line %d does not hold: %s\n", line, what);
    abort();
}

/* ---- Claims ---- */

static void check_cooling(const struct engine *engine, const struct claim *claim)
{
    const struct cooling *cooling = claim->cooling;

    REQUIRE(cooling->heap_index < engine->n_heap);
    REQUIRE(engine->heap[cooling->heap_index] == claim);
    REQUIRE(!cooling->older || cooling->older->revision < claim->revision);
    REQUIRE(!cooling->older || cooling->older->owner == claim->owner);
    REQUIRE(cooling->newer ? cooling->newer->cooling->older == claim : claim->owner->cooling == claim);
    REQUIRE(!cooling->heap_index || engine->heap[(cooling->heap_index - 1) / 2]->cooling->ends <= cooling->ends);
}

/* A half that an address's holder blocks stands there and has a place. */
static void check_watched(const struct engine *engine, const struct wait *wait, const struct refusal *refusal)
{
    const struct rank_node *node = &wait->at_address;
    bool blocked = wait_reason_is_held(refusal->reason) && refusal->family == wait->claim->family;

    REQUIRE(!engine->changed);
    REQUIRE(!blocked || wait->watched);
    REQUIRE(blocked == (wait->watched && node->rank == &wait->watched->blocked));
    REQUIRE(!wait_peer(wait) || !wait->watched || node->rank);
    REQUIRE(!node->rank || rank_after(node->rank, node->since - 1) == node);
    REQUIRE(!blocked || rank_position(node) <= node->rank->root->size);
}

/* On the lists where what blocks it has it found, and not to be granted. */
static void check_wait(const struct engine *engine, struct wait *wait)
{
    struct wait *peer = wait_peer(wait), *lead = wait_lead(wait);
    struct grant grants[FAMILIES];
    struct request request;
    struct refusal refusal;

    REQUIRE(wait->since <= engine->revision);
    REQUIRE(!peer || wait_peer(peer) == wait);
    REQUIRE(!wait->dual || peer);
    REQUIRE(!peer || peer->claim->pool == wait->claim->pool);
    REQUIRE(!wait->pending);
    REQUIRE(wait == lead || (!wait->queue.rank && !wait->mixed));
    request_of_wait(lead, &request);
    REQUIRE(decide(engine, &request, grants, &refusal) < 0);
    REQUIRE(refusal.reason == wait->reason ||
            (wait_reason_is_held(refusal.reason) && wait_reason_is_held(wait->reason)));
    REQUIRE(!lead->queue.rank == (refusal.reason != IPAM_REASON_POOL_EXHAUSTED));
    REQUIRE(!lead->queue.rank || lead->queue.rank == &lead->claim->pool->queues[wait_families(lead) - 1]);
    check_watched(engine, wait, &refusal);
}

static void check_claim(struct engine *engine, struct claim *claim)
{
    struct owner *owner = claim->owner;

    REQUIRE(owner_find(engine, owner->hash, owner->kind->text, owner->name) == owner);
    REQUIRE(claim_by_id(engine, claim->id) == claim && claim_at(engine, claim->slot) == claim);
    REQUIRE(claim->id <= claim->revision && claim->revision <= engine->revision);
    REQUIRE(!claim->pool || pool_find(engine, claim->pool->name) == claim->pool);
    if (claim_holds(claim))
        REQUIRE(held_get(engine, claim->family, claim_number(claim)) == claim);
    if (claim->state == CLAIM_COOLING)
        check_cooling(engine, claim);
    else
        REQUIRE(owner->active[claim->family] == claim);
    if (claim->state == CLAIM_BOUND)
        REQUIRE(!claim->pool || claim->pool->listed);
    REQUIRE(claim->orphan == (claim->state == CLAIM_BOUND && claim->pool &&
                              place_find(engine, NULL, claim->family, claim_number(claim)).pool != claim->pool));
    if (claim->state == CLAIM_WAITING)
        check_wait(engine, claim->wait);
}

/* ---- Pools ---- */

static void check_space(const struct pool *pool, unsigned int f)
{
    const struct pool_family *family = &pool->families[f];
    const struct space *space = &family->space;
    uint64_t bound = 0, cooling = 0, own = 0, at = 0, free_bits = 0;
    const struct claim *claim;

    while ((claim = space_next(space, &at))) {
        REQUIRE(claim->family == f);
        REQUIRE(plan_index(&pool->plan.families[f], claim_number(claim)) == at - 1);
        REQUIRE(!(space->levels[0][(at - 1) / LEAF_SIZE] >> (at - 1) % LEAF_SIZE & 1));
        bound += claim->state == CLAIM_BOUND;
        cooling += claim->state == CLAIM_COOLING;
        own += claim->state == CLAIM_BOUND && claim->pool == pool;
    }
    for (uint64_t word = 0; word * LEAF_SIZE < space->capacity; word++)
        free_bits += (uint64_t)__builtin_popcountll(space->levels[0][word]);
    for (unsigned int level = 1; level < space->n_levels; level++)
        for (uint64_t word = 0; word < space->capacity >> 6 * level; word++)
            REQUIRE((space->levels[level - 1][word] != 0) ==
                    (space->levels[level][word / LEAF_SIZE] >> word % LEAF_SIZE & 1));
    REQUIRE(space->capacity == pool->plan.families[f].capacity);
    REQUIRE(free_bits == space->free);
    REQUIRE(bound == family->allocated && cooling == family->cooling && own == family->through_in);
    REQUIRE(space->free + bound + cooling == space->capacity);
}

/* Owners that wait, and that are orphaned, with both families. */
static void check_owners(const struct engine *engine, const struct pool *pool)
{
    uint64_t wait = 0, orphaned = 0;

    for (size_t i = claims_after(engine, 0); i < engine->n_ids; i = claims_next(engine, i)) {
        const struct claim *claim = claim_at(engine, i), *other;

        if (!claim || claim->state == CLAIM_COOLING || claim->pool != pool || claim->family)
            continue;
        other = claim->owner->active[1];
        wait += other && other->pool == pool && claim->state == CLAIM_WAITING && other->state == CLAIM_WAITING;
        orphaned += other && other->pool == pool && claim->orphan && other->orphan;
    }
    REQUIRE(wait == pool->both_wait && orphaned == pool->both_orphaned);
}

static void check_pool(struct engine *engine, const struct pool *pool)
{
    struct pool *other;
    struct ipam_range range;
    size_t waits = 0;

    REQUIRE(pool_find(engine, pool->name) == pool);
    REQUIRE(pool->listed && pool->record.state != POOL_REMOVED);
    REQUIRE(!pool->gained);
    REQUIRE(!pool->in_force || (pool->record.has_spec && !pool->aside));
    REQUIRE(pool->in_force || !(pool->plan.families[0].capacity + pool->plan.families[1].capacity));
    REQUIRE(!pool->aside || engine->loaded);
    REQUIRE(pool->record.state != POOL_DRAINING || pool_claims(pool));
    REQUIRE(!regions_overlap(engine, &pool->plan, pool, &other, &range));
    REQUIRE(!pool->has_rejected_plan || regions_overlap(engine, &pool->rejected_plan, pool, &other, &range));
    for (unsigned int f = 0; f < FAMILIES; f++)
        check_space(pool, f);
    check_owners(engine, pool);
    for (const struct wait *wait = pool->waits; wait; wait = wait->pool_next, waits++)
        REQUIRE(wait->claim->pool == pool && (!wait->pool_next || wait->pool_next->pool_prev == wait));
    REQUIRE(waits == pool->families[0].waiting + pool->families[1].waiting);
}

static void check_regions(const struct regions *regions)
{
    for (size_t i = 1; i < regions->count; i++)
        REQUIRE(regions->items[i - 1].span.last < regions->items[i].span.first);
}

static void check_outsiders(struct engine *engine, unsigned int f)
{
    struct outsider *outsider;

    RB_FOREACH(outsider, outsiders, &engine->outsiders[f])
    {
        REQUIRE(outsider->number == claim_number(outsider->claim));
        REQUIRE(!place_find(engine, NULL, f, outsider->number).pool);
    }
}

static void check_kinds(const struct engine *engine)
{
    const struct kind *kind;
    uint64_t claims = 0;
    size_t at = 0;

    while ((kind = table_next(&engine->kinds, &at)))
        claims += kind->n_claims;
    REQUIRE(claims == engine->n_bound + engine->n_waiting + engine->n_cooling);
}

static void check_users(const struct engine *engine, uint64_t with_user)
{
    const struct user *user;
    uint64_t claims = 0;
    size_t at = 0;

    while ((user = table_next(&engine->users, &at))) {
        REQUIRE(user->n_claims && user_claims(engine, user->id) == user->n_claims);
        claims += user->n_claims;
    }
    REQUIRE(claims == with_user);
}

void engine_check(struct engine *engine)
{
    uint64_t states[CLAIM_RELEASED] = {0}, gone = 0, with_user = 0;

    queue_settle(engine);
    for (size_t i = claims_after(engine, 0); i < engine->n_ids; i = claims_next(engine, i)) {
        struct claim *claim = claim_at(engine, i);

        gone += !claim;
        if (!claim)
            continue;
        states[claim->state]++;
        with_user += claim->user != NULL;
        check_claim(engine, claim);
    }
    REQUIRE(gone == engine->n_gone);
    REQUIRE(states[CLAIM_BOUND] == engine->n_bound);
    REQUIRE(states[CLAIM_WAITING] == engine->n_waiting);
    REQUIRE(states[CLAIM_COOLING] == engine->n_cooling && engine->n_cooling == engine->n_heap);
    check_kinds(engine);
    check_users(engine, with_user);
    for (size_t i = 0; i < engine->listed.count; i++) {
        REQUIRE(!i || strcmp(engine->listed.items[i - 1]->name, engine->listed.items[i]->name) < 0);
        check_pool(engine, engine->listed.items[i]);
    }
    for (unsigned int f = 0; f < FAMILIES; f++) {
        check_regions(&engine->regions[f]);
        check_outsiders(engine, f);
    }
}
