#include <stdlib.h>

#include "internal.h"

RB_GENERATE(watches, watched, node, watches_compare)
RB_GENERATE(pendings, wait, pending_node, pendings_compare)

int pendings_compare(const struct wait *a, const struct wait *b)
{
    return (a->since > b->since) - (a->since < b->since);
}

int watches_compare(const struct watched *a, const struct watched *b)
{
    return (a->number > b->number) - (a->number < b->number);
}

/* ---- Dual pairs ---- */

struct wait *wait_peer(const struct wait *wait)
{
    const struct claim *claim = wait->claim;
    struct claim *other = claim->owner->active[!claim->family];

    if (!wait->dual || !other || other->state != CLAIM_WAITING || !other->wait->dual)
        return NULL;
    return other->wait;
}

struct wait *wait_lead(struct wait *wait)
{
    struct wait *peer = wait_peer(wait);

    return peer && wait->claim->family ? peer : wait;
}

unsigned int wait_families(const struct wait *wait)
{
    return wait_peer(wait) ? FAMILY_SET_DUAL : FAMILY_BIT(family_at(wait->claim->family));
}

/* ---- Addresses that are waited for ---- */

static struct watched *watched_find(struct engine *engine, unsigned int family, addr_value number)
{
    struct watched key = {.number = number};

    return RB_FIND(watches, &engine->watches[family], &key);
}

static struct watched *watched_get(struct engine *engine, const struct ipam_addr *address)
{
    unsigned int family = family_index(address->family);
    struct watched *watched = watched_find(engine, family, addr_number(address));

    if (!watched) {
        watched = mem_zalloc(sizeof(*watched));
        watched->number = addr_number(address);
        watched->family = (uint8_t)family;
        RB_INSERT(watches, &engine->watches[family], watched);
    }
    watched->refs++;
    return watched;
}

static void changed_add(struct engine *engine, struct watched *watched)
{
    if (watched->changed)
        return;
    watched->changed = true;
    watched->prev = NULL;
    watched->next = engine->changed;
    if (watched->next)
        watched->next->prev = watched;
    engine->changed = watched;
}

static void changed_remove(struct engine *engine, struct watched *watched)
{
    if (!watched->changed)
        return;
    watched->changed = false;
    *(watched->prev ? &watched->prev->next : &engine->changed) = watched->next;
    if (watched->next)
        watched->next->prev = watched->prev;
}

static void watched_drop(struct engine *engine, struct watched *watched)
{
    if (!watched || --watched->refs)
        return;
    changed_remove(engine, watched);
    RB_REMOVE(watches, &engine->watches[watched->family], watched);
    free(watched);
}

void watches_free(struct engine *engine)
{
    struct watched *watched;

    for (unsigned int f = 0; f < FAMILIES; f++)
        while ((watched = RB_ROOT(&engine->watches[f]))) {
            RB_REMOVE(watches, &engine->watches[f], watched);
            free(watched);
        }
}

static struct wait *wait_at_address(const struct rank_node *node)
{
    return node ? (struct wait *)((char *)(uintptr_t)node - offsetof(struct wait, at_address)) : NULL;
}

struct wait *wait_in_queue(const struct rank_node *node)
{
    return node ? (struct wait *)((char *)(uintptr_t)node - offsetof(struct wait, queue)) : NULL;
}

/* ---- Pairs that more than any address of each family can help ---- */

static void mixed_add(struct pool *pool, struct wait *wait)
{
    wait->mixed = true;
    wait->mixed_prev = NULL;
    wait->mixed_next = pool->mixed;
    if (pool->mixed)
        pool->mixed->mixed_prev = wait;
    pool->mixed = wait;
}

static void mixed_remove(struct pool *pool, struct wait *wait)
{
    wait->mixed = false;
    *(wait->mixed_prev ? &wait->mixed_prev->mixed_next : &pool->mixed) = wait->mixed_next;
    if (wait->mixed_next)
        wait->mixed_next->mixed_prev = wait->mixed_prev;
}

/* ---- Where a wait stands ---- */

static void wait_unlist(struct engine *engine, struct wait *wait)
{
    if (wait->queue.rank)
        rank_remove(&wait->queue);
    if (wait->at_address.rank)
        rank_remove(&wait->at_address);
    if (wait->mixed)
        mixed_remove(wait->claim->pool, wait);
    if (wait->pending)
        RB_REMOVE(pendings, &engine->pending, wait);
    wait->pending = false;
}

static void request_unlist(struct engine *engine, struct wait *lead)
{
    struct wait *peer = wait_peer(lead);

    wait_unlist(engine, lead);
    if (peer)
        wait_unlist(engine, peer);
}

void wait_pend(struct engine *engine, struct wait *wait)
{
    wait = wait_lead(wait);
    if (wait->pending)
        return;
    request_unlist(engine, wait);
    wait->pending = true;
    RB_INSERT(pendings, &engine->pending, wait);
}

/* A pair can do with any address of each family unless a half says more: one of its own that cools, or one it names. */
static bool needs_more_than_any(const struct wait *wait)
{
    const struct wait *peer = wait_peer(wait);

    return peer &&
           (wait->watched || peer->watched || *wait->requested || *peer->requested || wait->claim->owner->cooling);
}

bool wait_reason_is_held(enum ipam_reason reason)
{
    return reason == IPAM_REASON_ADDRESS_IN_USE || reason == IPAM_REASON_ADDRESS_COOLING;
}

/* A preferred address that its pool could give, and that would be looked at before what the request is refused for. */
static bool is_hoping(const struct wait *wait, enum ipam_reason reason)
{
    const struct pool *pool = wait->claim->pool;

    if (reason != IPAM_REASON_AUTO_ASSIGN_DISABLED && reason != IPAM_REASON_POOL_PAUSED &&
        reason != IPAM_REASON_POOL_EXHAUSTED)
        return false;
    return wait->hint.family != IPAM_FAMILY_NONE &&
           plan_index(&pool->plan.families[wait->claim->family], addr_number(&wait->hint)) != PLAN_NOWHERE;
}

/* Where the half stands at the address that it names; NULL: nowhere. */
static struct rank *rank_at_address(const struct wait *wait, const struct refusal *refusal)
{
    struct watched *watched = wait->watched;

    if (!watched)
        return NULL;
    if (refusal && wait_reason_is_held(refusal->reason) && refusal->family == wait->claim->family)
        return &watched->blocked;
    if (wait_peer(wait))
        return &watched->pairs;
    if (refusal && !wait->claim->pool)
        return &watched->kept;
    return !refusal || is_hoping(wait, refusal->reason) ? &watched->hoping : NULL;
}

void wait_enlist(struct engine *engine, struct wait *wait, const struct refusal *refusal)
{
    struct wait *halves[FAMILIES] = {wait, wait_peer(wait)};
    struct pool *pool = wait->claim->pool;

    request_unlist(engine, wait);
    for (unsigned int i = 0; i < FAMILIES && halves[i]; i++) {
        struct rank *rank = rank_at_address(halves[i], refusal);

        if (rank)
            rank_insert(rank, &halves[i]->at_address, wait->since);
    }
    if (pool && needs_more_than_any(wait))
        mixed_add(pool, wait);
    if (pool && refusal && refusal->reason == IPAM_REASON_POOL_EXHAUSTED)
        rank_insert(&pool->queues[wait_families(wait) - 1], &wait->queue, wait->since);
}

/* ---- What wakes ---- */

void waits_pend_pool(struct engine *engine, struct pool *pool)
{
    for (struct wait *wait = pool->waits; wait; wait = wait->pool_next)
        wait_pend(engine, wait);
}

void waits_pend_mixed(struct engine *engine, struct pool *pool)
{
    while (pool->mixed)
        wait_pend(engine, pool->mixed);
}

static void pend_all(struct engine *engine, const struct rank *rank)
{
    while (rank->root)
        wait_pend(engine, wait_at_address(rank->root));
}

static void pend_after(struct engine *engine, const struct rank *rank, uint64_t since)
{
    struct rank_node *node = rank_after(rank, since);

    if (node)
        wait_pend(engine, wait_at_address(node));
}

/* Of the many that an address can be asked for by, it serves one: the others are not looked at. */
void waits_address_changed(struct engine *engine, unsigned int family, addr_value number)
{
    struct watched *watched = watched_find(engine, family, number);

    if (!watched)
        return;
    changed_add(engine, watched);
    pend_all(engine, &watched->pairs);
}

static void pend_served(struct engine *engine, const struct watched *watched, uint64_t since)
{
    if (held_get(engine, watched->family, watched->number))
        return;
    pend_after(engine, &watched->blocked, since);
    pend_after(engine, &watched->hoping, since);
}

void waits_pend_served(struct engine *engine)
{
    for (const struct watched *watched = engine->changed; watched; watched = watched->next)
        pend_served(engine, watched, 0);
}

void waits_pend_next(struct engine *engine, const struct wait *refused)
{
    const struct wait *halves[FAMILIES] = {refused, wait_peer(refused)};

    for (unsigned int i = 0; i < FAMILIES && halves[i]; i++)
        if (halves[i]->watched && halves[i]->watched->changed)
            pend_served(engine, halves[i]->watched, refused->since);
}

/* Those that a holder blocks stay where they are, no matter who it is now. */
static void settle_address(struct engine *engine, const struct watched *watched)
{
    if (held_get(engine, watched->family, watched->number))
        return;
    pend_all(engine, &watched->blocked);
    pend_all(engine, &watched->hoping);
}

void waits_settle_addresses(struct engine *engine)
{
    while (engine->changed) {
        struct watched *watched = engine->changed;

        changed_remove(engine, watched);
        settle_address(engine, watched);
    }
}

void waits_pend_span(struct engine *engine, unsigned int family, const struct span *span)
{
    struct watched key = {.number = span->first}, *next;
    struct watches *watches = &engine->watches[family];

    for (struct watched *watched = RB_NFIND(watches, watches, &key); watched && watched->number <= span->last;
         watched = next) {
        next = RB_NEXT(watches, watches, watched);
        pend_all(engine, &watched->blocked);
        pend_all(engine, &watched->pairs);
        pend_all(engine, &watched->kept);
    }
}

void waits_pend_all(struct engine *engine)
{
    for (size_t i = claims_after(engine, 0); i < engine->n_ids; i = claims_next(engine, i)) {
        struct claim *claim = claim_at(engine, i);

        if (claim && claim->state == CLAIM_WAITING)
            wait_pend(engine, claim->wait);
    }
}

/* ---- A claim starts and stops to wait ---- */

void wait_free(struct wait *wait)
{
    if (!wait)
        return;
    free(wait->requested);
    free(wait->preferred);
    free(wait->message);
    free(wait);
}

static void pool_add_wait(struct pool *pool, struct wait *wait)
{
    wait->pool_prev = NULL;
    wait->pool_next = pool->waits;
    if (pool->waits)
        pool->waits->pool_prev = wait;
    pool->waits = wait;
}

static void pool_remove_wait(struct pool *pool, struct wait *wait)
{
    *(wait->pool_prev ? &wait->pool_prev->pool_next : &pool->waits) = wait->pool_next;
    if (wait->pool_next)
        wait->pool_next->pool_prev = wait->pool_prev;
}

void wait_start(struct engine *engine, struct claim *claim, const struct claim_record *record)
{
    struct wait *wait = mem_zalloc(sizeof(*wait));

    claim->wait = wait;
    wait->claim = claim;
    wait->since = record->waiting_since;
    wait->requested = mem_strdup(record->requested);
    wait->preferred = mem_strdup(record->preferred);
    wait->message = mem_strdup(record->message);
    wait->reason = record->reason;
    wait->dual = record->dual;
    if (text_read_address(record->requested, claim->family, &wait->address))
        wait->watched = watched_get(engine, &wait->address);
    else if (!*record->requested && text_read_address(record->preferred, claim->family, &wait->hint))
        wait->watched = watched_get(engine, &wait->hint);
    if (claim->pool)
        pool_add_wait(claim->pool, wait);
    if (wait_peer(wait)) { /* until now each was on lists alone */
        wait_unlist(engine, wait_peer(wait));
        wait_unlist(engine, wait);
    }
    wait_pend(engine, wait);
}

/* The owner's active claim is gone already: the other half of a pair is on its own from here. */
struct wait *wait_stop(struct engine *engine, struct claim *claim)
{
    struct wait *wait = claim->wait;
    struct claim *other = claim->owner->active[!claim->family];

    wait_unlist(engine, wait);
    watched_drop(engine, wait->watched);
    if (claim->pool)
        pool_remove_wait(claim->pool, wait);
    if (wait->dual && other && other->state == CLAIM_WAITING && other->wait->dual)
        wait_pend(engine, other->wait);
    claim->wait = NULL;
    return wait;
}

/* ---- Places in the queue ---- */

uint64_t wait_position(struct wait *wait)
{
    const struct wait *lead = wait_lead(wait), *peer = wait_peer(lead);

    if (lead->queue.rank)
        return rank_position(&lead->queue);
    if (lead->watched && lead->at_address.rank == &lead->watched->blocked)
        return rank_position(&lead->at_address);
    if (peer && peer->watched && peer->at_address.rank == &peer->watched->blocked)
        return rank_position(&peer->at_address);
    return 0;
}
