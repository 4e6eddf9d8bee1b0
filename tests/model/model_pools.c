#include <assert.h>
#include <stdio.h>
#include <string.h>

#include "model.h"

const char *const model_pool_names[MODEL_POOLS] = {"alpha", "beta", "delta.example", "gamma", "zeta-0"};
const char *const model_uids[MODEL_UIDS] = {"", "uid-1", "uid-2"};
const struct owner_ref model_owners[MODEL_OWNERS + 1] = {
    {"ProxyVIP", "web", ""}, {"ProxyVIP", "api", ""}, {"ProxyVIP", "grpc", ""}, {"Manual", "web", ""},
    {"Manual", "db", ""},    {"Node", "n1/eth0", ""}, {"Node", "größe", ""},    {"", "", ""},
};

/* ---- Addresses ---- */

enum ipam_family model_family(int address)
{
    bool ipv4 = address < MODEL_IPV4 || (address >= MODEL_STRANGE && address % 2 == MODEL_STRANGE % 2);

    if (address == NOWHERE)
        return IPAM_FAMILY_NONE;
    return ipv4 ? IPAM_IPV4 : IPAM_IPV6;
}

const char *model_address_text(int address, bool cidr, char text[TEXT_BYTES])
{
    const char *suffix = !cidr ? "" : model_family(address) == IPAM_IPV4 ? "/32" : "/128";

    if (address < MODEL_IPV4)
        snprintf(text, TEXT_BYTES, "10.0.0.%d%s", address, suffix);
    else if (address == MODEL_IPV4)
        snprintf(text, TEXT_BYTES, "2001:db8::%s", suffix);
    else if (address < MODEL_STRANGE)
        snprintf(text, TEXT_BYTES, "2001:db8::%x%s", (unsigned int)(address - MODEL_IPV4), suffix);
    else if (address < MODEL_SPECIAL)
        snprintf(text, TEXT_BYTES, "%s%s", model_family(address) == IPAM_IPV4 ? "192.0.2.1" : "2001:db8:ff::1", suffix);
    else
        snprintf(text, TEXT_BYTES, "%s%s", model_family(address) == IPAM_IPV4 ? "127.0.0.1" : "ff02::1", suffix);
    return text;
}

address_set model_family_addresses(enum ipam_family family)
{
    address_set set = 0;

    for (int i = 0; i < MODEL_ADDRESSES; i++) {
        if (model_family(i) == family)
            set |= ONE_ADDRESS(i);
    }
    return set;
}

/* ---- Specs ---- */

static address_set entries_addresses(const struct entries *entries)
{
    address_set set = 0;

    for (size_t i = 0; i < entries->count; i++)
        set |= entries->items[i].addresses;
    return set;
}

static bool entries_valid(const struct entries *entries)
{
    bool valid = true;

    for (size_t i = 0; i < entries->count; i++)
        valid &= entries->items[i].valid;
    return valid;
}

static bool entries_equal(const struct entries *a, const struct entries *b)
{
    bool equal = a->count == b->count;

    for (size_t i = 0; equal && i < a->count; i++)
        equal = strcmp(a->items[i].text, b->items[i].text) == 0;
    return equal;
}

static bool spec_equal(const struct model_spec *a, const struct model_spec *b)
{
    return entries_equal(&a->cidrs, &b->cidrs) && entries_equal(&a->addresses, &b->addresses) &&
           entries_equal(&a->excluded, &b->excluded) && a->uid == b->uid && a->generation == b->generation &&
           a->reuse_delay == b->reuse_delay && a->auto_assign == b->auto_assign && a->paused == b->paused;
}

static bool spec_valid(const struct model_spec *spec)
{
    return spec->cidrs.count + spec->addresses.count > 0 && entries_valid(&spec->cidrs) &&
           entries_valid(&spec->addresses) && entries_valid(&spec->excluded);
}

static address_set spec_ranges(const struct model_spec *spec)
{
    return entries_addresses(&spec->cidrs) | entries_addresses(&spec->addresses);
}

address_set model_excluded(const struct model_spec *spec)
{
    return entries_addresses(&spec->excluded);
}

address_set model_ranges(const struct model_spec *spec)
{
    address_set set = 0;

    for (size_t i = 0; i < spec->cidrs.count; i++)
        set |= spec->cidrs.items[i].whole;
    return set | entries_addresses(&spec->addresses);
}

bool model_warns(const struct model_spec *spec)
{
    bool warns = false;

    for (size_t i = 0; i < spec->excluded.count; i++)
        warns |= !(spec->excluded.items[i].addresses & model_ranges(spec));
    return warns;
}

address_set model_usable(const struct model_spec *spec)
{
    return spec_ranges(spec) & ~model_excluded(spec);
}

/* ---- Pools ---- */

/* The addresses of a pool now, whatever its state. */
static address_set pool_usable(const struct model_pool *pool)
{
    return pool->exists && pool->has_spec ? model_usable(&pool->spec) : 0;
}

bool model_pool_contains(const struct model *model, int pool, int address)
{
    return (pool_usable(&model->pools[pool]) & ONE_ADDRESS(address)) != 0;
}

/* The pool but `pool` to which the address belongs; MANUAL: none. */
static int other_pool_at(const struct model *model, int pool, int address)
{
    for (int i = 0; i < MODEL_POOLS; i++) {
        if (i != pool && model_pool_contains(model, i, address))
            return i;
    }
    return MANUAL;
}

int model_pool_at(const struct model *model, int address)
{
    return other_pool_at(model, MANUAL, address);
}

uint64_t model_claims_through(const struct model *model, int pool)
{
    uint64_t count = 0;

    for (int i = 0; i < MODEL_CLAIMS; i++) {
        const struct model_claim *claim = &model->claims[i];

        count += claim->exists && claim->state == CLAIM_BOUND && claim->pool == pool;
    }
    return count;
}

static void record_pool(struct model *model, struct model_pool *pool, enum pool_state state)
{
    pool->revision = ++model->revision;
    if (!pool->id)
        pool->id = pool->revision;
    pool->state = state;
    pool->exists = state != POOL_REMOVED;
    model->pool_changed = true;
    assert(model->n_changes < MODEL_CHANGES);
    model->changes[model->n_changes++] = (struct model_change){CHANGE_POOL, pool->id, (int)state};
}

/* The lowest address that the spec has in common with another pool, and how far the two go together from there. */
static bool spec_meets(const struct model *model, int pool, const struct model_spec *spec, struct model_overlap *ret)
{
    address_set usable = model_usable(spec);

    for (int address = 0; address < MODEL_ADDRESSES; address++) {
        int other = other_pool_at(model, pool, address), last = address;

        if (!(usable & ONE_ADDRESS(address)) || other == MANUAL)
            continue;
        while (model_family(last + 1) == model_family(address) &&
               (usable & pool_usable(&model->pools[other]) & ONE_ADDRESS(last + 1)))
            last++;
        *ret = (struct model_overlap){other, address, last};
        return true;
    }
    return false;
}

/* Why the pool can't have this spec now; NONE: it can. */
static enum ipam_reason spec_refused(const struct model *model, int pool, const struct model_spec *spec,
                                     struct model_overlap *ret)
{
    *ret = (struct model_overlap){MANUAL, NOWHERE, NOWHERE};
    if (!spec_valid(spec))
        return IPAM_REASON_INVALID_POOL_SPEC;
    return spec_meets(model, pool, spec, ret) ? IPAM_REASON_POOL_OVERLAP : IPAM_REASON_NONE;
}

static void pool_accept(struct model *model, struct model_pool *pool, const struct model_spec *spec)
{
    struct model_spec accepted = *spec;

    pool->reason = IPAM_REASON_NONE;
    pool->has_spec = true;
    pool->spec = accepted;
    pool->has_rejected = false;
    record_pool(model, pool, POOL_READY);
}

static void pool_reject(struct model *model, struct model_pool *pool, const struct model_spec *spec,
                        enum ipam_reason reason, const struct model_overlap *overlap)
{
    pool->reason = reason;
    pool->has_rejected = true;
    pool->rejected = *spec;
    pool->overlap = *overlap;
    record_pool(model, pool, POOL_REJECTED);
}

/* Pools from the oldest to the newest. */
static int pools_by_age(const struct model *model, int order[MODEL_POOLS])
{
    int count = 0;

    for (int i = 0; i < MODEL_POOLS; i++) {
        int at = count;

        if (!model->pools[i].exists)
            continue;
        for (; at > 0 && model->pools[order[at - 1]].id > model->pools[i].id; at--)
            order[at] = order[at - 1];
        order[at] = i;
        count++;
    }
    return count;
}

/* Accepts the oldest rejected pool that can be; false: none can. */
static bool retry_one(struct model *model)
{
    int order[MODEL_POOLS], count = pools_by_age(model, order);

    for (int i = 0; i < count; i++) {
        struct model_pool *pool = &model->pools[order[i]];
        struct model_overlap overlap;

        if (pool->state == POOL_REJECTED &&
            spec_refused(model, order[i], &pool->rejected, &overlap) == IPAM_REASON_NONE) {
            pool_accept(model, pool, &pool->rejected);
            return true;
        }
    }
    return false;
}

/* Rejected pools whose message would now name something else say so. */
static void refresh_rejected(struct model *model)
{
    int order[MODEL_POOLS], count = pools_by_age(model, order);

    for (int i = 0; i < count; i++) {
        struct model_pool *pool = &model->pools[order[i]];
        struct model_overlap overlap;

        if (pool->state != POOL_REJECTED)
            continue;
        spec_refused(model, order[i], &pool->rejected, &overlap);
        if (overlap.pool != pool->overlap.pool || overlap.first != pool->overlap.first ||
            overlap.last != pool->overlap.last) {
            pool->overlap = overlap;
            record_pool(model, pool, POOL_REJECTED);
        }
    }
}

static void remove_drained(struct model *model)
{
    int order[MODEL_POOLS], count = pools_by_age(model, order);

    for (int i = 0; i < count; i++) {
        struct model_pool *pool = &model->pools[order[i]];

        if (pool->state == POOL_DRAINING && model_claims_through(model, order[i]) == 0)
            record_pool(model, pool, POOL_REMOVED);
    }
}

void model_settle(struct model *model)
{
    remove_drained(model);
    if (model->pool_changed) {
        while (retry_one(model))
            ;
        refresh_rejected(model);
    }
    model->pool_changed = false;
    model_serve(model);
}

/* The spec that was last applied, whether it was accepted or not. */
static const struct model_spec *pool_recorded(const struct model_pool *pool)
{
    return pool->has_rejected ? &pool->rejected : &pool->spec;
}

/* What stands against an edit, whatever the spec says. */
static enum ipam_reason edit_refused(const struct model_pool *pool, const struct model_spec *spec)
{
    const struct model_spec *recorded = pool_recorded(pool);

    if (!pool->exists || (spec->uid && recorded->uid && spec->uid != recorded->uid))
        return IPAM_REASON_NONE;
    if (spec->generation > 0 && spec->generation < recorded->generation)
        return IPAM_REASON_STALE_GENERATION;
    return pool->state == POOL_DRAINING ? IPAM_REASON_POOL_DRAINING : IPAM_REASON_NONE;
}

/* Bound claims made through the pool whose address is in `left`, by address. */
static void find_stranded(const struct model *model, int pool, address_set left, struct model_answer *ret)
{
    for (int address = 0; address < MODEL_ADDRESSES; address++) {
        for (int i = 0; i < MODEL_CLAIMS; i++) {
            const struct model_claim *claim = &model->claims[i];

            if (claim->exists && claim->state == CLAIM_BOUND && claim->pool == pool && claim->address == address &&
                (left & ONE_ADDRESS(address)))
                ret->claims[ret->count++] = *claim;
        }
    }
}

static bool already_so(const struct model_pool *pool, const struct model_spec *spec, bool refused)
{
    return pool->exists && pool->state == (refused ? POOL_REJECTED : POOL_READY) &&
           spec_equal(pool_recorded(pool), spec);
}

void model_apply(struct model *model, const struct model_apply *args, struct model_answer *ret)
{
    struct model_pool *pool = &model->pools[args->pool];
    struct model_spec spec = args->spec;
    struct model_overlap overlap;
    enum ipam_reason reason = edit_refused(pool, &spec);

    *ret = (struct model_answer){.refused = reason};
    if (reason)
        return;
    if (pool->exists && !spec.uid)
        spec.uid = pool_recorded(pool)->uid;
    reason = spec_refused(model, args->pool, &spec, &overlap);
    if (reason && !args->record_rejected) {
        ret->refused = reason;
        return;
    }
    if (already_so(pool, &spec, reason != IPAM_REASON_NONE))
        return;
    if (!pool->exists)
        *pool = (struct model_pool){.created_at = model->now};
    if (reason) {
        pool_reject(model, pool, &spec, reason, &overlap);
    } else {
        find_stranded(model, args->pool, pool_usable(pool) & ~model_usable(&spec), ret);
        pool_accept(model, pool, &spec);
    }
    ret->changed = true;
    model_settle(model);
}

static void pool_drain(struct model *model, struct model_pool *pool, uint64_t held)
{
    pool->reason = IPAM_REASON_NONE;
    pool->has_rejected = false;
    record_pool(model, pool, held ? POOL_DRAINING : POOL_REMOVED);
    model_settle(model);
}

void model_delete(struct model *model, const struct model_delete *args, struct model_answer *ret)
{
    struct model_pool *pool = &model->pools[args->pool];
    int recorded = pool_recorded(pool)->uid;

    *ret = (struct model_answer){0};
    if (!pool->exists) {
        ret->refused = IPAM_REASON_POOL_NOT_FOUND;
        return;
    }
    if (args->uid && recorded && args->uid != recorded)
        return;
    ret->held = model_claims_through(model, args->pool);
    if (ret->held > 0 && args->only_if_unused) {
        ret->refused = IPAM_REASON_POOL_IN_USE;
        return;
    }
    ret->draining = ret->held > 0;
    ret->removed = ret->held == 0;
    if (pool->state != POOL_DRAINING)
        pool_drain(model, pool, ret->held);
}

struct model_counts model_count(const struct model *model, int pool, enum ipam_family family)
{
    address_set usable = pool_usable(&model->pools[pool]) & model_family_addresses(family);
    address_set ranges = model->pools[pool].has_spec ? spec_ranges(&model->pools[pool].spec) : 0;
    struct model_counts counts = {.capacity = (uint64_t)__builtin_popcountll(usable)};

    counts.excluded = (uint64_t)__builtin_popcountll(ranges & model_family_addresses(family) & ~usable);
    for (int i = 0; i < MODEL_CLAIMS; i++) {
        const struct model_claim *claim = &model->claims[i];
        bool inside;

        if (!claim->exists || claim->family != family)
            continue;
        inside = claim->address != NOWHERE && (usable & ONE_ADDRESS(claim->address));
        counts.allocated += inside && claim->state == CLAIM_BOUND;
        counts.cooling += inside && claim->state == CLAIM_COOLING;
        counts.orphaned += !inside && claim->state == CLAIM_BOUND && claim->pool == pool;
        counts.waiting += claim->state == CLAIM_WAITING && claim->pool == pool;
    }
    counts.available = counts.capacity - counts.allocated - counts.cooling;
    return counts;
}
