#include "internal.h"

static int refuse(const struct request *request, unsigned int family, enum ipam_reason reason, struct refusal *ret)
{
    *ret = (struct refusal){.reason = reason, .family = family, .request = request, .pool = request->pool};
    return -1;
}

/* ---- One address ---- */

static enum ipam_reason judge_place(const struct pool *pool, unsigned int family, addr_value number)
{
    if (spans_contain(&pool->plan.families[family].excluded, number))
        return IPAM_REASON_ADDRESS_EXCLUDED;
    if (plan_index(&pool->plan.families[family], number) == PLAN_NOWHERE)
        return IPAM_REASON_ADDRESS_NOT_IN_POOL;
    return IPAM_REASON_NONE;
}

/* Without a pool: what the specs in force keep from everybody is kept from manual claims as well, unless another pool has it. */
static enum ipam_reason judge_manual(const struct engine *engine, const struct ipam_addr *address,
                                     const struct pool **ret_pool)
{
    static const enum ipam_reason reasons[] = {
        [POOL_EXCLUDED] = IPAM_REASON_ADDRESS_EXCLUDED,
        [POOL_NETWORK] = IPAM_REASON_ADDRESS_RESERVED,
        [POOL_BROADCAST] = IPAM_REASON_ADDRESS_RESERVED,
        [POOL_PAST_LIMIT] = IPAM_REASON_NONE,
    };

    if (place_find(engine, NULL, family_index(address->family), addr_number(address)).pool)
        return IPAM_REASON_NONE;
    for (size_t i = 0; i < engine->listed.count; i++) {
        const struct pool *pool = engine->listed.items[i];
        enum ipam_reason reason = reasons[pool_ranges_place(&pool->plan.ranges, address, NULL)];

        if (reason) {
            *ret_pool = pool;
            return reason;
        }
    }
    return IPAM_REASON_NONE;
}

/* NONE: it can be granted, *ret is filled. */
static enum ipam_reason judge_address(const struct engine *engine, const struct request *request, unsigned int family,
                                      const struct ipam_addr *address, struct grant *ret, struct refusal *refusal)
{
    const struct special_range *special = special_range_find(address);
    addr_value number = addr_number(address);
    enum ipam_reason reason;
    struct claim *holder;

    if (special && special->refused)
        return IPAM_REASON_ADDRESS_RESERVED;
    reason = request->pool ? judge_place(request->pool, family, number) : judge_manual(engine, address, &refusal->pool);
    if (reason)
        return reason;
    holder = held_get(engine, family, number);
    refusal->holder = holder;
    if (holder && holder->state == CLAIM_BOUND)
        return IPAM_REASON_ADDRESS_IN_USE;
    if (holder && holder->owner != request->owner)
        return IPAM_REASON_ADDRESS_COOLING;
    *ret = (struct grant){*address, holder};
    return IPAM_REASON_NONE;
}

/* ---- Any address ---- */

/* The address of the pool that the owner gave back last. */
static struct claim *own_cooling(const struct request *request, unsigned int family)
{
    struct claim *claim = request->owner ? request->owner->cooling : NULL;

    while (claim && (claim->family != family ||
                     plan_index(&request->pool->plan.families[family], claim_number(claim)) == PLAN_NOWHERE))
        claim = claim->cooling->older;
    return claim;
}

static enum ipam_reason judge_any(const struct request *request, unsigned int family, struct grant *ret)
{
    const struct pool *pool = request->pool;
    const struct space *space = &pool->families[family].space;
    struct claim *own;

    if (!pool->record.spec.auto_assign)
        return IPAM_REASON_AUTO_ASSIGN_DISABLED;
    if (pool->record.spec.paused)
        return IPAM_REASON_POOL_PAUSED;
    own = own_cooling(request, family);
    if (own) {
        *ret = (struct grant){claim_address(own), own};
        return IPAM_REASON_NONE;
    }
    if (!space->free)
        return IPAM_REASON_POOL_EXHAUSTED;
    *ret = (struct grant){addr_make(family_at(family), plan_number(&pool->plan.families[family], space_lowest(space))),
                          NULL};
    return IPAM_REASON_NONE;
}

/* ---- The whole request ---- */

/* One whose end is overdue ends now. */
static struct wall_time cooling_until(const struct engine *engine, const struct claim *claim)
{
    int64_t left = claim->cooling->ends - engine->elapsed;

    if (left <= 0)
        return (struct wall_time){engine->now};
    return cooling_until_now((struct wall_time){claim->cooling->until}, (struct wall_time){engine->now + left});
}

static int decide_family(const struct engine *engine, const struct request *request, unsigned int family,
                         struct grant *grant, struct refusal *ret)
{
    const struct demand *demand = &request->demands[family];
    struct refusal refusal = {.family = family, .request = request, .pool = request->pool};

    if (demand->given)
        refusal.reason = judge_address(engine, request, family, &demand->address, grant, &refusal);
    else if (!demand->hinted || judge_address(engine, request, family, &demand->hint, grant, &refusal))
        refusal.reason = judge_any(request, family, grant);
    if (!refusal.reason)
        return 0;
    if (refusal.reason == IPAM_REASON_ADDRESS_COOLING)
        refusal.until = cooling_until(engine, refusal.holder);
    *ret = refusal;
    return -1;
}

static int decide_pool(const struct request *request, struct refusal *ret)
{
    const struct pool *pool = request->pool;

    if (!*request->pool_name)
        return 0;
    if (!pool)
        return refuse(request, 0, IPAM_REASON_POOL_NOT_FOUND, ret);
    if (pool->record.state == POOL_DRAINING)
        return refuse(request, 0, IPAM_REASON_POOL_DRAINING, ret);
    if (!pool->in_force)
        return refuse(request, 0, IPAM_REASON_POOL_REJECTED, ret);
    for (unsigned int f = 0; f < FAMILIES; f++)
        if ((request->families & 1u << f) && !pool->plan.families[f].capacity)
            return refuse(request, f, IPAM_REASON_FAMILY_NOT_IN_POOL, ret);
    return 0;
}

int decide(const struct engine *engine, const struct request *request, struct grant grants[FAMILIES],
           struct refusal *ret)
{
    for (unsigned int f = 0; f < FAMILIES; f++)
        if ((request->families & 1u << f) && request->demands[f].given && !request->demands[f].readable)
            return refuse(request, f, IPAM_REASON_INVALID_ADDRESS, ret);
    if (decide_pool(request, ret) < 0)
        return -1;
    for (unsigned int f = 0; f < FAMILIES; f++)
        if ((request->families & 1u << f) && decide_family(engine, request, f, &grants[f], ret) < 0)
            return -1;
    return 0;
}

/* ---- What a waiting claim asked for ---- */

static void demand_of_wait(const struct wait *wait, struct request *request)
{
    request->families |= FAMILY_BIT(family_at(wait->claim->family));
    request->demands[wait->claim->family] = (struct demand){
        .given = *wait->requested,
        .readable = wait->address.family != IPAM_FAMILY_NONE,
        .hinted = wait->hint.family != IPAM_FAMILY_NONE,
        .address = wait->address,
        .hint = wait->hint,
        .text = wait->requested,
        .hint_text = wait->preferred,
    };
}

void request_of_wait(const struct wait *wait, struct request *ret)
{
    const struct claim *claim = wait->claim;
    const struct wait *peer = wait_peer(wait);

    *ret = (struct request){
        .owner = claim->owner,
        .pool_name = claim->pool ? claim->pool->name : "",
        .pool = claim->pool && claim->pool->listed ? claim->pool : NULL,
    };
    demand_of_wait(wait, ret);
    if (peer)
        demand_of_wait(peer, ret);
}
