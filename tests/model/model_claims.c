#include <assert.h>
#include <stdio.h>
#include <string.h>

#include "model.h"

static const enum ipam_family families[2] = {IPAM_IPV4, IPAM_IPV6};

/* ---- Claims ---- */

void model_record_claim(struct model *model, struct model_claim *claim, enum claim_state state)
{
    claim->revision = ++model->revision;
    if (!claim->id) {
        claim->id = claim->revision;
        claim->created_at = model->now;
        claim->user = model->user;
    }
    claim->state = state;
    claim->exists = state != CLAIM_RELEASED;
    assert(model->n_changes < MODEL_CHANGES);
    model->changes[model->n_changes++] = (struct model_change){CHANGE_CLAIM, claim->id, (int)state};
}

struct model_claim *model_find(struct model *model, int owner, enum ipam_family family, enum claim_state state)
{
    for (int i = 0; i < MODEL_CLAIMS; i++) {
        struct model_claim *claim = &model->claims[i];

        if (claim->exists && claim->owner == owner && claim->family == family && claim->state == state)
            return claim;
    }
    return NULL;
}

/* The claim that has the address, bound or cooling. */
static const struct model_claim *holder_of(const struct model *model, int address)
{
    for (int i = 0; i < MODEL_CLAIMS; i++) {
        const struct model_claim *claim = &model->claims[i];

        if (claim->exists && claim->address == address && claim->state != CLAIM_WAITING)
            return claim;
    }
    return NULL;
}

static struct model_claim *claim_new(struct model *model)
{
    for (int i = 0; i < MODEL_CLAIMS; i++) {
        if (!model->claims[i].exists) {
            model->claims[i] = (struct model_claim){.address = NOWHERE};
            return &model->claims[i];
        }
    }
    assert(!"room for every claim");
    return NULL;
}

static void claim_forget_terms(struct model_claim *claim)
{
    claim->wish = claim->preferred = (struct wish){.address = NOWHERE};
    claim->dual = false;
    claim->reason = IPAM_REASON_NONE;
    claim->since = 0;
}

static int64_t cooling_time(const struct model *model, const struct model_claim *claim)
{
    int pool = model_pool_at(model, claim->address);

    if (pool == MANUAL)
        pool = claim->pool;
    if (pool == MANUAL || !model->pools[pool].exists || !model->pools[pool].has_spec)
        return 0;
    return (int64_t)model->pools[pool].spec.reuse_delay * 1000000000;
}

void model_give_back(struct model *model, struct model_claim *claim)
{
    int64_t delay = claim->state == CLAIM_BOUND ? cooling_time(model, claim) : 0;

    claim_forget_terms(claim);
    claim->cooling_until = delay ? model->now + delay : 0;
    claim->delay = delay;
    claim->ends = model->elapsed + delay;
    claim->boot = model->boot;
    model_record_claim(model, claim, delay ? CLAIM_COOLING : CLAIM_RELEASED);
}

/* The owner's cooling claim of the family that was released first; *ret_count: how many there are. */
static struct model_claim *first_cooling(struct model *model, int owner, enum ipam_family family, uint64_t *ret_count)
{
    struct model_claim *first = NULL;

    *ret_count = 0;
    for (int i = 0; i < MODEL_CLAIMS; i++) {
        struct model_claim *claim = &model->claims[i];

        if (!claim->exists || claim->state != CLAIM_COOLING || claim->owner != owner || claim->family != family)
            continue;
        ++*ret_count;
        if (!first || claim->revision < first->revision)
            first = claim;
    }
    return first;
}

void model_end_oldest(struct model *model, int owner)
{
    for (int i = 0; i < 2 && model->limits.cooling_max; i++) {
        uint64_t count;
        struct model_claim *first = first_cooling(model, owner, families[i], &count);

        for (; count > model->limits.cooling_max; first = first_cooling(model, owner, families[i], &count))
            model_give_back(model, first);
    }
}

bool model_cools(const struct model *model, int address)
{
    const struct model_claim *holder = holder_of(model, address);

    return holder && holder->state == CLAIM_COOLING;
}

/* ---- Who may ---- */

static bool has(const struct string_list *list, const char *text)
{
    bool found = false;

    for (size_t i = 0; i < list->count; i++)
        found |= !strcmp(list->items[i], text);
    return found;
}

static bool allowed(const struct engine_scope *scope, int owner, int uid)
{
    const char *kind = model_owners[owner].kind;
    bool object = uid && has(&scope->objects, kind), any = false;

    for (int i = 0; i < 32; i++)
        if (scope->member >> i & 1)
            any |= scope->groups[i].count ? has(&scope->groups[i], kind) : !object;
    return any;
}

bool model_may_act(const struct model *model, int owner, int uid)
{
    bool may = !model->scope.groups || allowed(&model->scope, owner, uid);

    for (int i = 0; i < MODEL_CLAIMS && may && model->scope.groups; i++)
        if (model->claims[i].exists && model->claims[i].owner == owner)
            may = allowed(&model->scope, owner, model->claims[i].uid);
    return may;
}

/* ---- Decisions ---- */

static enum ipam_reason address_refused(const struct model *model, int owner, int address)
{
    const struct model_claim *holder = holder_of(model, address);

    if (holder && holder->state == CLAIM_BOUND)
        return IPAM_REASON_ADDRESS_IN_USE;
    if (holder && holder->owner != owner)
        return IPAM_REASON_ADDRESS_COOLING;
    return IPAM_REASON_NONE;
}

/* Does a pool keep the address to itself? In its ranges, but not for anybody, and no other pool's to give. */
static enum ipam_reason kept(const struct model *model, int address)
{
    if (model_pool_at(model, address) != MANUAL)
        return IPAM_REASON_NONE;
    for (int i = 0; i < MODEL_POOLS; i++) {
        const struct model_pool *pool = &model->pools[i];

        if (pool->exists && pool->has_spec && (model_ranges(&pool->spec) & ONE_ADDRESS(address)))
            return model_excluded(&pool->spec) & ONE_ADDRESS(address) ? IPAM_REASON_ADDRESS_EXCLUDED
                                                                      : IPAM_REASON_ADDRESS_RESERVED;
    }
    return IPAM_REASON_NONE;
}

static enum ipam_reason certain_refused(const struct model *model, const struct demand *demand, int address)
{
    enum ipam_reason reason;

    if (address >= MODEL_SPECIAL)
        return IPAM_REASON_ADDRESS_RESERVED;
    if (demand->pool == MANUAL) {
        reason = kept(model, address);
        if (reason)
            return reason;
    } else {
        if (model_excluded(&model->pools[demand->pool].spec) & ONE_ADDRESS(address))
            return IPAM_REASON_ADDRESS_EXCLUDED;
        if (!model_pool_contains(model, demand->pool, address))
            return IPAM_REASON_ADDRESS_NOT_IN_POOL;
    }
    return address_refused(model, demand->owner, address);
}

/* The owner's own address that cools in the pool, the one released last; NOWHERE: none. */
static int own_cooling(const struct model *model, const struct demand *demand, enum ipam_family family)
{
    const struct model_claim *found = NULL;

    for (int i = 0; i < MODEL_CLAIMS; i++) {
        const struct model_claim *claim = &model->claims[i];

        if (claim->exists && claim->state == CLAIM_COOLING && claim->owner == demand->owner &&
            claim->family == family && model_pool_contains(model, demand->pool, claim->address) &&
            (!found || claim->revision > found->revision))
            found = claim;
    }
    return found ? found->address : NOWHERE;
}

static int lowest_free(const struct model *model, int pool, enum ipam_family family)
{
    for (int i = 0; i < MODEL_ADDRESSES; i++) {
        if (model_family(i) == family && model_pool_contains(model, pool, i) && !holder_of(model, i))
            return i;
    }
    return NOWHERE;
}

static enum ipam_reason decide_any(const struct model *model, const struct demand *demand, enum ipam_family family,
                                   int *chosen)
{
    const struct model_spec *spec = &model->pools[demand->pool].spec;

    if (!spec->auto_assign)
        return IPAM_REASON_AUTO_ASSIGN_DISABLED;
    if (spec->paused)
        return IPAM_REASON_POOL_PAUSED;
    *chosen = own_cooling(model, demand, family);
    if (*chosen == NOWHERE)
        *chosen = lowest_free(model, demand->pool, family);
    return *chosen == NOWHERE ? IPAM_REASON_POOL_EXHAUSTED : IPAM_REASON_NONE;
}

static enum ipam_reason decide_one(const struct model *model, const struct demand *demand, enum ipam_family family,
                                   int *chosen)
{
    const struct wish *wish = &demand->wish[family - 1];
    const struct wish *preferred = &demand->preferred[family - 1];

    if (wish->text[0]) {
        *chosen = wish->address;
        return certain_refused(model, demand, wish->address);
    }
    if (preferred->address != NOWHERE && certain_refused(model, demand, preferred->address) == IPAM_REASON_NONE) {
        *chosen = preferred->address;
        return IPAM_REASON_NONE;
    }
    return decide_any(model, demand, family, chosen);
}

bool model_readable(const struct demand *demand)
{
    bool readable = true;

    for (int i = 0; i < 2; i++) {
        if (demand->wanted[i] && demand->wish[i].text[0])
            readable &= model_family(demand->wish[i].address) == families[i];
    }
    return readable;
}

static enum ipam_reason pool_refused(const struct model *model, const struct demand *demand)
{
    const struct model_pool *pool = &model->pools[demand->pool];

    if (!pool->exists)
        return IPAM_REASON_POOL_NOT_FOUND;
    if (pool->state == POOL_DRAINING)
        return IPAM_REASON_POOL_DRAINING;
    if (!pool->has_spec)
        return IPAM_REASON_POOL_REJECTED;
    for (int i = 0; i < 2; i++) {
        if (demand->wanted[i] && !(model_usable(&pool->spec) & model_family_addresses(families[i])))
            return IPAM_REASON_FAMILY_NOT_IN_POOL;
    }
    return IPAM_REASON_NONE;
}

enum ipam_reason model_decide(const struct model *model, const struct demand *demand, int chosen[2])
{
    enum ipam_reason reason = IPAM_REASON_NONE;

    if (!model_readable(demand))
        return IPAM_REASON_INVALID_ADDRESS;
    if (demand->pool != MANUAL)
        reason = pool_refused(model, demand);
    for (int i = 0; i < 2 && !reason; i++) {
        if (demand->wanted[i])
            reason = decide_one(model, demand, families[i], &chosen[i]);
    }
    return reason;
}

void model_grant(struct model *model, const struct demand *demand, enum ipam_family family, int address)
{
    struct model_claim *waiting = model_find(model, demand->owner, family, CLAIM_WAITING);
    struct model_claim *claim = NULL;

    for (int i = 0; i < MODEL_CLAIMS; i++) {
        if (model->claims[i].exists && model->claims[i].state == CLAIM_COOLING && model->claims[i].address == address)
            claim = &model->claims[i];
    }
    if (claim) {
        claim->uid = demand->uid;
        if (waiting)
            model_give_back(model, waiting);
    } else {
        claim = waiting ? waiting : claim_new(model);
        claim->uid = demand->uid || !waiting ? demand->uid : waiting->uid;
    }
    claim_forget_terms(claim);
    claim->owner = demand->owner;
    claim->family = family;
    claim->pool = demand->pool;
    claim->address = address;
    claim->certain = demand->wish[family - 1].text[0] != '\0';
    claim->allocated_at = model->now;
    claim->cooling_until = 0;
    model_record_claim(model, claim, CLAIM_BOUND);
}

/* ---- The queue ---- */

/* Waiting claims in order; of a dual pair the IPv4 one stands for both. */
static int queue(struct model *model, struct model_claim *ret[MODEL_CLAIMS])
{
    int count = 0;

    for (int i = 0; i < MODEL_CLAIMS; i++) {
        struct model_claim *claim = &model->claims[i];
        int at = count;

        if (!claim->exists || claim->state != CLAIM_WAITING || (claim->dual && claim->family == IPAM_IPV6))
            continue;
        for (; at > 0 && ret[at - 1]->since > claim->since; at--)
            ret[at] = ret[at - 1];
        ret[at] = claim;
        count++;
    }
    return count;
}

/* The demand that a waiting claim, or a dual pair, stands for. */
static struct demand demand_of(struct model *model, const struct model_claim *claim)
{
    struct demand demand = {.owner = claim->owner, .uid = claim->uid, .pool = claim->pool};

    for (int i = 0; i < 2; i++) {
        struct model_claim *waiting = model_find(model, claim->owner, families[i], CLAIM_WAITING);

        demand.wanted[i] = waiting && (claim->dual || families[i] == claim->family);
        if (demand.wanted[i]) {
            demand.wish[i] = waiting->wish;
            demand.preferred[i] = waiting->preferred;
        }
    }
    return demand;
}

static void grant_queue(struct model *model)
{
    struct model_claim *waiting[MODEL_CLAIMS];
    int count = queue(model, waiting);

    for (int i = 0; i < count; i++) {
        struct demand demand = demand_of(model, waiting[i]);
        int chosen[2];

        if (model_decide(model, &demand, chosen))
            continue;
        for (int k = 0; k < 2; k++) {
            if (!demand.wanted[k])
                continue;
            demand.uid = model_find(model, demand.owner, families[k], CLAIM_WAITING)->uid;
            model_grant(model, &demand, families[k], chosen[k]);
        }
    }
}

static bool is_held(enum ipam_reason reason)
{
    return reason == IPAM_REASON_ADDRESS_IN_USE || reason == IPAM_REASON_ADDRESS_COOLING;
}

enum ipam_reason model_reason_now(struct model *model, const struct model_claim *claim)
{
    struct demand demand = demand_of(model, claim);
    int chosen[2];

    return is_held(claim->reason) ? model_decide(model, &demand, chosen) : claim->reason;
}

void model_serve(struct model *model)
{
    struct model_claim *waiting[MODEL_CLAIMS];
    int count;

    grant_queue(model);
    count = queue(model, waiting);
    for (int i = 0; i < count; i++) {
        struct demand demand = demand_of(model, waiting[i]);
        int chosen[2];
        enum ipam_reason reason = model_decide(model, &demand, chosen);

        for (int k = 0; k < 2; k++) {
            struct model_claim *claim = model_find(model, demand.owner, families[k], CLAIM_WAITING);

            if (demand.wanted[k] && claim->reason != reason && !(is_held(claim->reason) && is_held(reason))) {
                claim->reason = reason;
                model_record_claim(model, claim, CLAIM_WAITING);
            }
        }
    }
}

void model_in_use_message(struct model *model, const struct model_claim *claim, char *text, size_t size)
{
    struct demand demand = demand_of(model, claim);

    text[0] = '\0';
    for (int i = 0; i < 2; i++) {
        int address = demand.wish[i].address;
        char name[TEXT_BYTES];

        if (text[0] || !demand.wanted[i] || !demand.wish[i].text[0] ||
            certain_refused(model, &demand, address) != IPAM_REASON_ADDRESS_IN_USE)
            continue;
        snprintf(text, size, "address in use: %s is held by %s/%s", model_address_text(address, false, name),
                 model_owners[holder_of(model, address)->owner].kind,
                 model_owners[holder_of(model, address)->owner].name);
    }
}

static bool competes(const struct model_claim *claim, const struct model_claim *other)
{
    if (!other->exists || other->state != CLAIM_WAITING || other->since > claim->since)
        return false;
    if (claim->reason == IPAM_REASON_POOL_EXHAUSTED)
        return other->reason == claim->reason && other->pool == claim->pool && other->family == claim->family &&
               other->dual == claim->dual;
    return (other->reason == IPAM_REASON_ADDRESS_IN_USE || other->reason == IPAM_REASON_ADDRESS_COOLING) &&
           other->wish.address == claim->wish.address;
}

bool model_queue_position(const struct model *model, const struct model_claim *claim, uint64_t *ret)
{
    bool address = claim->reason == IPAM_REASON_ADDRESS_IN_USE || claim->reason == IPAM_REASON_ADDRESS_COOLING;

    *ret = 0;
    if (!address && claim->reason != IPAM_REASON_POOL_EXHAUSTED)
        return true;
    for (int i = 0; i < MODEL_CLAIMS; i++) {
        const struct model_claim *other = &model->claims[i];

        /* A pair waits for one of two addresses, and only the engine's message says for which. */
        if (address && other->exists && other->dual && (claim->dual || other->wish.address == claim->wish.address))
            return false;
        *ret += competes(claim, other);
    }
    return true;
}

/* ---- Time ---- */

static struct model_claim *next_cooled(struct model *model)
{
    struct model_claim *next = NULL;

    for (int i = 0; i < MODEL_CLAIMS; i++) {
        struct model_claim *claim = &model->claims[i];

        if (claim->exists && claim->state == CLAIM_COOLING && claim->ends <= model->elapsed &&
            (!next || claim->ends < next->ends || (claim->ends == next->ends && claim->id < next->id)))
            next = claim;
    }
    return next;
}

void model_time(struct model *model, int64_t now, int64_t elapsed, size_t max)
{
    struct model_claim *claim;

    model->now = now;
    if (elapsed > model->elapsed)
        model->elapsed = elapsed;
    for (size_t ended = 0; (!max || ended < max) && (claim = next_cooled(model)) != NULL; ended++)
        model_record_claim(model, claim, CLAIM_RELEASED);
    model_serve(model);
}

void model_restart(struct model *model, int64_t now, int64_t elapsed, bool boots)
{
    model->boot += boots;
    for (int i = 0; i < MODEL_CLAIMS; i++) {
        struct model_claim *claim = &model->claims[i];
        int64_t left = claim->cooling_until - now;

        left = left < 0 ? 0 : left > claim->delay ? claim->delay : left;
        if (claim->boot != model->boot)
            claim->ends = elapsed + left;
    }
    model->now = now;
    model->elapsed = elapsed;
}
