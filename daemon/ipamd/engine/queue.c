#include "internal.h"

static bool has_free(const struct pool *pool, unsigned int families)
{
    for (unsigned int f = 0; f < FAMILIES; f++)
        if ((families & 1u << f) && !pool->families[f].space.free)
            return false;
    return true;
}

/* The oldest after `since` of those in the pool's queues that any free address serves. */
static struct wait *pool_next(const struct pool *pool, uint64_t since)
{
    struct wait *first = NULL;

    for (unsigned int families = 1; families <= FAMILY_SET_DUAL; families++) {
        const struct rank *queue = &pool->queues[families - 1];
        struct wait *wait;

        if (!has_free(pool, families))
            continue;
        wait = wait_in_queue(rank_after(queue, since));
        while (wait && wait->mixed)
            wait = wait_in_queue(rank_after(queue, wait->since));
        if (wait && (!first || wait->since < first->since))
            first = wait;
    }
    return first;
}

/* The oldest after `since` that could perhaps be granted. */
static struct wait *queue_next(struct engine *engine, uint64_t since)
{
    struct wait key = {.since = since + 1};
    struct wait *first = RB_NFIND(pendings, &engine->pending, &key);

    for (size_t i = 0; i < engine->gained.count; i++) {
        struct wait *wait = pool_next(engine->gained.items[i], since);

        if (wait && (!first || wait->since < first->since))
            first = wait;
    }
    return first;
}

static void wait_grant(struct engine *engine, const struct request *request, const struct grant grants[FAMILIES])
{
    const struct owner *owner = request->owner;

    for (unsigned int f = 0; f < FAMILIES; f++)
        if (request->families & 1u << f) {
            char uid[ENGINE_UID_MAX + 1]; /* the claim may go on under another id */
            struct owner_ref who = {owner->kind->text, owner->name, strcpy(uid, claim_uid(owner->active[f]))};

            grant_emit(engine, request, f, &grants[f], &who, 0);
        }
}

static void half_record(struct engine *engine, struct claim *claim, enum ipam_reason reason, const char *message)
{
    struct target target = {.claim = claim, .pool = claim->pool};
    struct claim_record record;

    claim_record_of(claim, &record);
    record.reason = reason;
    record.message = message;
    emit_claim(engine, &target, &record);
}

/* Records why the request, a pair perhaps, waits now. */
static void wait_record(struct engine *engine, const struct request *request, const struct refusal *refusal)
{
    struct owner *owner = request->owner;
    struct ipam_error error;

    refusal_error(refusal, &error);
    for (unsigned int f = 0; f < FAMILIES; f++)
        if (request->families & 1u << f)
            half_record(engine, owner->active[f], refusal->reason, error.message);
}

/* An address may go from hand to hand, and cool in between: that is no change of those that go on waiting for it. */
static bool is_another(enum ipam_reason recorded, enum ipam_reason reason)
{
    return recorded != reason && !(wait_reason_is_held(recorded) && wait_reason_is_held(reason));
}

/* The halves of a pair can differ, when one has just lost or found the other. */
static bool reason_differs(const struct wait *wait, enum ipam_reason reason)
{
    const struct wait *peer = wait_peer(wait);

    return is_another(wait->reason, reason) || (peer && is_another(peer->reason, reason));
}

/* Puts the wait where what blocks it has it woken; a reason of its own is recorded first, if it may be. */
static void wait_place(struct engine *engine, struct wait *wait, bool record)
{
    struct grant grants[FAMILIES];
    struct request request;
    struct refusal refusal;
    struct claim *claim = wait->claim;
    bool refused;

    request_of_wait(wait, &request);
    refused = decide(engine, &request, grants, &refusal) < 0;
    assert(refused || !record); /* those that can be granted have been */
    if (record && reason_differs(wait, refusal.reason))
        wait_record(engine, &request, &refusal);
    wait_enlist(engine, claim->wait, refused ? &refusal : NULL);
}

void queue_settle(struct engine *engine)
{
    struct wait *wait;

    waits_settle_addresses(engine);
    while ((wait = RB_MIN(pendings, &engine->pending)))
        wait_place(engine, wait, false);
}

/* Grants only ever take space, so one pass from the oldest to the youngest finds all that can be granted. */
void queue_serve(struct engine *engine)
{
    struct grant grants[FAMILIES];
    struct request request;
    struct refusal refusal;
    struct wait *wait;
    uint64_t since = 0;

    if (RB_EMPTY(&engine->pending) && !engine->gained.count && !engine->changed)
        return;
    waits_pend_served(engine);
    while ((wait = queue_next(engine, since))) {
        since = wait->since;
        request_of_wait(wait, &request);
        if (!decide(engine, &request, grants, &refusal))
            wait_grant(engine, &request, grants);
        else
            waits_pend_next(engine, wait);
    }
    waits_settle_addresses(engine);
    while ((wait = RB_MIN(pendings, &engine->pending)))
        wait_place(engine, wait, true);
}
