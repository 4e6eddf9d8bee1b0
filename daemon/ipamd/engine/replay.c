#include "internal.h"

static int damaged(const struct change *change, const char *why, struct ipam_error *reterr)
{
    return ipam_error_set(reterr, IPAM_REASON_STORE_DAMAGED, "store damaged: change %llu: %s",
                          (unsigned long long)change->revision, why);
}

/* ---- Pools ---- */

static const char *wrong_with_pool(struct engine *engine, const struct pool_record *record)
{
    const struct pool *pool = pool_listed(engine, record->name);

    if (!text_pool_name(record->name) || !record->id)
        return "a pool without a name or id";
    if (record->state < POOL_READY || record->state > POOL_REMOVED)
        return "a pool in an unknown state";
    if (pool && pool->record.id != record->id)
        return "a second pool of the same name";
    if (!pool && record->state == POOL_REMOVED)
        return "the end of a pool that is not there";
    if ((record->state == POOL_READY || record->state == POOL_DRAINING) && !record->has_spec)
        return "a pool without a spec";
    if (record->has_rejected != (record->state == POOL_REJECTED))
        return "a rejected spec that does not go with the pool's state";
    return NULL;
}

/* ---- What is left of a cooling ---- */

#define NS_PER_S INT64_C(1000000000)

/* From one reading of the wall clock to another, 0 at least and `max` at most: no reading is to be trusted. */
static int64_t time_between(struct wall_time from, struct wall_time to, int64_t max)
{
    uint64_t ns = (uint64_t)to.ns - (uint64_t)from.ns;

    if (to.ns <= from.ns)
        return 0;
    return ns < (uint64_t)max ? (int64_t)ns : max;
}

/* ipamd 0.1.0 recorded no delay, but added it to the time of the change. */
static uint32_t delay_of(const struct change *change)
{
    const struct claim_record *record = &change->claim;

    if (record->cooling)
        return record->cooling->delay_seconds;
    return (uint32_t)(time_between(change->at, record->cooling_until, ENGINE_REUSE_DELAY_MAX * NS_PER_S) / NS_PER_S);
}

/* In the terms of this boot: in memory there are no others. */
static struct cooling_record cooling_of_this_boot(const struct engine *engine, const struct change *change)
{
    const struct claim_record *record = &change->claim;
    const struct engine_clock *start = &engine->start;
    struct cooling_record cooling = {.delay_seconds = delay_of(change)};
    int64_t delay = (int64_t)cooling.delay_seconds * NS_PER_S;

    if (record->cooling && !memcmp(record->cooling->boot_id, start->boot_id, BOOT_ID_SIZE))
        return *record->cooling;
    cooling.boot_time.ns = start->elapsed.ns + time_between(start->now, record->cooling_until, delay) - delay;
    return cooling;
}

/* ---- Claims ---- */

static const char *wrong_with_fields(struct engine *engine, const struct claim_record *record)
{
    bool holds = record->state == CLAIM_BOUND || record->state == CLAIM_COOLING;

    if (!record->id || text_check_owner(&record->owner, NULL) < 0)
        return "a claim without an id or owner";
    if (record->family != IPAM_IPV4 && record->family != IPAM_IPV6)
        return "a claim of no family";
    if (record->state < CLAIM_WAITING || record->state > CLAIM_RELEASED)
        return "a claim in an unknown state";
    if (holds && record->address.family != record->family)
        return "a claim with an address that is not of its family";
    if (*record->pool && !text_pool_name(record->pool))
        return "a claim through a pool that can't be";
    if (record->state == CLAIM_BOUND && *record->pool && !pool_listed(engine, record->pool))
        return "a bound claim through a pool that is not there";
    if (record->cooling && (record->cooling->delay_seconds > ENGINE_REUSE_DELAY_MAX ||
                            record->cooling->boot_time.ns < 0 || record->cooling->boot_time.ns > INT64_MAX / 2))
        return "a cooling that no release begins";
    return NULL;
}

static const char *wrong_with_claim(struct engine *engine, const struct target *target,
                                    const struct claim_record *record)
{
    const struct claim *claim = target->claim, *other;
    unsigned int family = family_index(record->family);
    bool holds = record->state == CLAIM_BOUND || record->state == CLAIM_COOLING;
    bool active = record->state == CLAIM_BOUND || record->state == CLAIM_WAITING;

    if (claim && (claim->owner != target->owner || claim->family != family))
        return "a claim that changed its owner or family";
    if (!claim && record->state == CLAIM_RELEASED)
        return "the end of a claim that is not there";
    other = holds ? held_get(engine, family, addr_number(&record->address)) : NULL;
    if (other && other != claim)
        return "an address that another claim holds";
    other = active && target->owner ? target->owner->active[family] : NULL;
    if (other && other != claim)
        return "a second claim of the same owner and family";
    return NULL;
}

static int replay_claim(struct engine *engine, const struct change *change, struct ipam_error *reterr)
{
    const struct claim_record *record = &change->claim;
    const char *wrong = wrong_with_fields(engine, record);
    struct target target = {.claim = claim_by_id(engine, record->id)};
    struct claim_record cooling_claim;
    struct cooling_record cooling;

    if (wrong)
        return damaged(change, wrong, reterr);
    target.owner_hash = owner_hash(engine, record->owner.kind, record->owner.name);
    target.owner = owner_find(engine, target.owner_hash, record->owner.kind, record->owner.name);
    wrong = wrong_with_claim(engine, &target, record);
    if (wrong)
        return damaged(change, wrong, reterr);
    if (record->state == CLAIM_COOLING) {
        cooling = cooling_of_this_boot(engine, change);
        cooling_claim = *record;
        cooling_claim.cooling = &cooling;
        record = &cooling_claim;
    }
    claim_put(engine, &target, record, change->revision);
    return 0;
}

static int replay_pool(struct engine *engine, const struct change *change, struct ipam_error *reterr)
{
    const char *wrong = wrong_with_pool(engine, &change->pool);

    if (wrong)
        return damaged(change, wrong, reterr);
    return pool_put(engine, &change->pool, change->revision, reterr);
}

int engine_replay(struct engine *engine, const struct change *change, struct ipam_error *reterr)
{
    int status =
        change->kind == CHANGE_POOL ? replay_pool(engine, change, reterr) : replay_claim(engine, change, reterr);

    batch_forget(engine);
    engine->loaded = true;
    if (!status && change->revision > engine->revision)
        engine_set_revision(engine, change->revision);
    return status;
}

void engine_set_revision(struct engine *engine, uint64_t revision)
{
    engine->revision = revision;
}
