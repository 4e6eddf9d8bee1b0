#include <stdlib.h>

#include "internal.h"

RB_GENERATE(watchers, wait, node, watchers_compare)
RB_GENERATE(pendings, wait, pending_node, pendings_compare)

int pendings_compare(const struct wait *a, const struct wait *b)
{
    return (a->since > b->since) - (a->since < b->since);
}

/* By address, then by age. */
int watchers_compare(const struct wait *a, const struct wait *b)
{
    addr_value left = addr_number(&a->watched), right = addr_number(&b->watched);

    if (left != right)
        return left < right ? -1 : 1;
    return (a->since > b->since) - (a->since < b->since);
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

/* ---- Lists of blocked requests, by age ---- */

static void list_insert(struct wait_list *list, struct wait *wait)
{
    struct wait *after = list->last;

    while (after && after->since > wait->since)
        after = after->prev;
    list->numbered = list->numbered && after == list->last;
    wait->position = ++list->count; /* right if it is the last and all are */
    wait->list = list;
    wait->prev = after;
    wait->next = after ? after->next : list->first;
    *(after ? &after->next : &list->first) = wait;
    *(wait->next ? &wait->next->prev : &list->last) = wait;
}

static void list_remove(struct wait *wait)
{
    struct wait_list *list = wait->list;

    list->numbered = list->numbered && !wait->next;
    *(wait->prev ? &wait->prev->next : &list->first) = wait->next;
    *(wait->next ? &wait->next->prev : &list->last) = wait->prev;
    list->count--;
    wait->list = NULL;
}

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

void wait_unlist(struct engine *engine, struct wait *wait)
{
    if (wait->list)
        list_remove(wait);
    if (wait->mixed)
        mixed_remove(wait->claim->pool, wait);
    if (wait->pending)
        RB_REMOVE(pendings, &engine->pending, wait);
    wait->pending = false;
}

void wait_pend(struct engine *engine, struct wait *wait)
{
    wait = wait_lead(wait);
    if (wait->pending)
        return;
    wait_unlist(engine, wait);
    wait->pending = true;
    RB_INSERT(pendings, &engine->pending, wait);
}

/* A pair can do with any address of each family unless a half says more: one of its own that cools, or one it names. */
static bool needs_more_than_any(const struct wait *wait)
{
    const struct wait *peer = wait_peer(wait);

    return peer &&
           (wait->watching || peer->watching || *wait->requested || *peer->requested || wait->claim->owner->cooling);
}

void wait_enlist(struct engine *engine, struct wait *wait, enum ipam_reason reason)
{
    struct pool *pool = wait->claim->pool;

    wait_unlist(engine, wait);
    if (!pool)
        return;
    if (needs_more_than_any(wait))
        mixed_add(pool, wait);
    if (reason == IPAM_REASON_POOL_EXHAUSTED)
        list_insert(&pool->fifo[wait_families(wait) - 1], wait);
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

void waits_pend_address(struct engine *engine, unsigned int family, addr_value number)
{
    struct wait key = {.watched = addr_make(family_at(family), number)};
    struct watchers *watchers = &engine->watchers[family];

    for (struct wait *wait = RB_NFIND(watchers, watchers, &key); wait && addr_number(&wait->watched) == number;
         wait = RB_NEXT(watchers, watchers, wait))
        wait_pend(engine, wait);
}

void waits_pend_span(struct engine *engine, unsigned int family, const struct span *span)
{
    struct wait key = {.watched = addr_make(family_at(family), span->first)};
    struct watchers *watchers = &engine->watchers[family];

    if (RB_EMPTY(watchers))
        return;
    for (struct wait *wait = RB_NFIND(watchers, watchers, &key); wait && addr_number(&wait->watched) <= span->last;
         wait = RB_NEXT(watchers, watchers, wait))
        wait_pend(engine, wait);
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
    struct wait *after = pool->waits_last;

    while (after && after->since > wait->since)
        after = after->pool_prev;
    wait->pool_prev = after;
    wait->pool_next = after ? after->pool_next : pool->waits;
    *(after ? &after->pool_next : &pool->waits) = wait;
    *(wait->pool_next ? &wait->pool_next->pool_prev : &pool->waits_last) = wait;
}

static void pool_remove_wait(struct pool *pool, struct wait *wait)
{
    *(wait->pool_prev ? &wait->pool_prev->pool_next : &pool->waits) = wait->pool_next;
    *(wait->pool_next ? &wait->pool_next->pool_prev : &pool->waits_last) = wait->pool_prev;
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
        wait->watched = wait->address;
    else if (!*record->requested)
        text_read_address(record->preferred, claim->family, &wait->watched);
    wait->watching = wait->watched.family != IPAM_FAMILY_NONE;
    if (wait->watching)
        RB_INSERT(watchers, &engine->watchers[claim->family], wait);
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
    if (wait->watching)
        RB_REMOVE(watchers, &engine->watchers[claim->family], wait);
    if (claim->pool)
        pool_remove_wait(claim->pool, wait);
    if (wait->dual && other && other->state == CLAIM_WAITING && other->wait->dual)
        wait_pend(engine, other->wait);
    claim->wait = NULL;
    return wait;
}

/* ---- Places in the queue ---- */

static void list_number(struct wait_list *list)
{
    uint64_t position = 0;

    for (struct wait *wait = list->first; wait; wait = wait->next)
        wait->position = ++position;
    list->numbered = true;
}

/* The address that the request, a pair perhaps, is refused for: that of the first family whose address is held. */
static bool blocked_by(const struct engine *engine, struct wait *wait, const struct wait **ret)
{
    struct wait *halves[FAMILIES] = {wait, wait_peer(wait)};

    for (unsigned int i = 0; i < FAMILIES && halves[i]; i++) {
        const struct claim *holder;

        if (halves[i]->address.family == IPAM_FAMILY_NONE)
            continue;
        holder = held_get(engine, halves[i]->claim->family, addr_number(&halves[i]->address));
        if (holder && !(holder->state == CLAIM_COOLING && holder->owner == wait->claim->owner)) {
            *ret = halves[i];
            return true;
        }
    }
    return false;
}

static uint64_t address_position(struct engine *engine, struct wait *wait)
{
    const struct wait *blocked, *other;
    uint64_t position = 1;
    struct wait key, *each;
    struct watchers *watchers;

    if (!blocked_by(engine, wait, &blocked))
        return 0;
    watchers = &engine->watchers[blocked->claim->family];
    key = (struct wait){.watched = blocked->address};
    for (each = RB_NFIND(watchers, watchers, &key); each && ipam_addr_equal(&each->watched, &key.watched);
         each = RB_NEXT(watchers, watchers, each)) {
        struct wait *lead = wait_lead(each);

        if (lead->since < wait->since && lead->reason == wait->reason && blocked_by(engine, lead, &other) &&
            other == each)
            position++;
    }
    return position;
}

uint64_t wait_position(struct engine *engine, struct wait *wait)
{
    wait = wait_lead(wait);
    if (wait->reason == IPAM_REASON_ADDRESS_IN_USE || wait->reason == IPAM_REASON_ADDRESS_COOLING)
        return address_position(engine, wait);
    if (!wait->list)
        return 0;
    if (!wait->list->numbered)
        list_number(wait->list);
    return wait->position;
}
