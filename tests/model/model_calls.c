#include <string.h>

#include "model.h"

static const enum ipam_family families[2] = {IPAM_IPV4, IPAM_IPV6};

/* ---- Allocate ---- */

/* The families asked for, as a set. */
static unsigned int asked_families(const struct model *model, const struct model_allocate *args)
{
    bool reads_ipv6 = model_family(args->address.address) == IPAM_IPV6;
    address_set usable;
    unsigned int set = 0;

    if (args->families)
        return args->families;
    if (args->address.text[0])
        set |= reads_ipv6 ? FAMILY_SET_IPV6 : FAMILY_SET_IPV4;
    if (args->ipv6_address.text[0])
        set |= FAMILY_SET_IPV6;
    if (set || args->pool == MANUAL || !model->pools[args->pool].exists || !model->pools[args->pool].has_spec)
        return set ? set : FAMILY_SET_IPV4;
    usable = model_usable(&model->pools[args->pool].spec);
    if (!usable)
        usable = model_ranges(&model->pools[args->pool].spec);
    if (usable && !(usable & model_family_addresses(IPAM_IPV4)))
        return FAMILY_SET_IPV6;
    return FAMILY_SET_IPV4;
}

/* Sorts the texts by family; false: they contradict each other or the families. */
static bool sort_wishes(const struct model_allocate *args, unsigned int set, struct demand *ret)
{
    int address_for = set == FAMILY_SET_IPV6 ? 1 : 0;

    if (args->ipv6_address.text[0] && (!(set & FAMILY_SET_IPV6) || (address_for == 1 && args->address.text[0])))
        return false;
    ret->wish[0].address = ret->wish[1].address = NOWHERE;
    ret->preferred[0] = ret->preferred[1] = ret->wish[0];
    ret->wish[address_for] = args->address;
    ret->preferred[address_for] = args->preferred;
    if (args->ipv6_address.text[0])
        ret->wish[1] = args->ipv6_address;
    if (args->preferred_ipv6.text[0])
        ret->preferred[1] = args->preferred_ipv6;
    for (int i = 0; i < 2; i++) {
        if (ret->wish[i].text[0] || model_family(ret->preferred[i].address) != families[i])
            ret->preferred[i] = (struct wish){.address = NOWHERE};
        ret->wanted[i] = (set & FAMILY_BIT(families[i])) != 0;
    }
    return true;
}

static enum ipam_reason read_request(const struct model *model, const struct model_allocate *args, struct demand *ret)
{
    *ret = (struct demand){.owner = args->owner, .uid = args->uid, .pool = args->pool};
    if (args->owner == MODEL_OWNERS)
        return IPAM_REASON_INVALID_OWNER;
    if (args->pool == MODEL_POOLS || args->families > FAMILY_SET_DUAL ||
        !sort_wishes(args, asked_families(model, args), ret))
        return IPAM_REASON_INVALID_REQUEST;
    for (int i = 0; i < 2; i++) {
        if (args->pool == MANUAL && ret->wanted[i] && !ret->wish[i].text[0])
            return IPAM_REASON_INVALID_REQUEST;
    }
    return IPAM_REASON_NONE;
}

static bool fits(const struct model_claim *bound, const struct demand *demand)
{
    const struct wish *wish = &demand->wish[bound->family - 1];

    return bound->pool == demand->pool && (!wish->text[0] || wish->address == bound->address);
}

/* How the owner's bound claims stand to what it asks for. */
struct standing {
    struct model_claim *fitting[2], *other[2];
};

static struct standing standing_of(struct model *model, const struct demand *demand)
{
    struct standing standing = {0};

    for (int i = 0; i < 2; i++) {
        struct model_claim *bound = model_find(model, demand->owner, families[i], CLAIM_BOUND);

        if (bound && demand->wanted[i])
            *(fits(bound, demand) ? &standing.fitting[i] : &standing.other[i]) = bound;
    }
    return standing;
}

static void rebind(struct model *model, struct model_claim *bound, int uid)
{
    if (uid && bound->uid != uid) {
        bound->uid = uid;
        model_record_claim(model, bound, CLAIM_BOUND);
    }
}

static bool same_wish(const struct wish *a, const struct wish *b)
{
    return strcmp(a->text, b->text) == 0 || (a->address != NOWHERE && a->address == b->address);
}

/* Does the owner wait for just this already? */
static bool waits_for(struct model *model, const struct demand *demand)
{
    bool dual = demand->wanted[0] && demand->wanted[1], same = true;

    for (int i = 0; i < 2; i++) {
        struct model_claim *claim = model_find(model, demand->owner, families[i], CLAIM_WAITING);

        if (demand->wanted[i])
            same &= claim && claim->pool == demand->pool && claim->dual == dual &&
                    same_wish(&claim->wish, &demand->wish[i]);
    }
    return same;
}

/* The place in the queue stays; a new uid or hint is noted. */
static void wait_on(struct model *model, struct model_claim *claim, const struct demand *demand)
{
    const struct wish *preferred = &demand->preferred[claim->family - 1];
    bool other_uid = demand->uid && demand->uid != claim->uid;
    bool other_hint = preferred->text[0] && strcmp(preferred->text, claim->preferred.text) != 0;

    if (other_uid)
        claim->uid = demand->uid;
    if (other_hint)
        claim->preferred = *preferred;
    if (other_uid || other_hint)
        model_record_claim(model, claim, CLAIM_WAITING);
}

static void join_queue(struct model *model, const struct demand *demand, enum ipam_family family,
                       enum ipam_reason reason)
{
    struct model_claim *claim = model_find(model, demand->owner, family, CLAIM_WAITING);

    for (int i = 0; !claim; i++) {
        if (!model->claims[i].exists) {
            claim = &model->claims[i];
            *claim = (struct model_claim){.owner = demand->owner, .family = family};
        }
    }
    claim->uid = demand->uid ? demand->uid : claim->uid;
    claim->pool = demand->pool;
    claim->address = NOWHERE;
    claim->wish = demand->wish[family - 1];
    claim->preferred = demand->preferred[family - 1];
    claim->dual = demand->wanted[0] && demand->wanted[1];
    claim->reason = reason;
    claim->held_by = model_held_by(model, demand, reason);
    claim->since = model->revision + 1;
    model_record_claim(model, claim, CLAIM_WAITING);
}

/* The other half of a pair of which one half goes its own way. */
static void part(struct model *model, const struct demand *demand)
{
    for (int i = 0; i < 2; i++) {
        struct model_claim *claim = model_find(model, demand->owner, families[i], CLAIM_WAITING);

        if (claim && claim->dual && !demand->wanted[i]) {
            claim->dual = false;
            model_record_claim(model, claim, CLAIM_WAITING);
        }
    }
}

static void answer_with(struct model *model, const struct demand *asked, struct model_answer *ret)
{
    for (int i = 0; i < 2; i++) {
        struct model_claim *bound = model_find(model, asked->owner, families[i], CLAIM_BOUND);
        struct model_claim *waiting = model_find(model, asked->owner, families[i], CLAIM_WAITING);

        if (asked->wanted[i])
            ret->claims[ret->count++] = bound ? *bound : *waiting;
    }
}

static bool may_wait(const struct demand *demand, const struct standing *standing)
{
    bool may = true;

    for (int i = 0; i < 2; i++) {
        may &= !standing->other[i];
        may &= !demand->wanted[i] || strlen(demand->wish[i].text) <= ENGINE_ADDRESS_MAX;
    }
    return may;
}

static uint64_t kind_max(const struct model *model, const char *kind)
{
    uint64_t max = UINT64_MAX;

    for (size_t i = model->limits.n_claims; i-- > 0;) {
        const struct claim_limit *limit = &model->limits.claims[i];

        if (!strcmp(limit->kind, kind) || (max == UINT64_MAX && !strcmp(limit->kind, "*")))
            max = limit->max;
    }
    return max;
}

static bool passes(uint64_t count, uint64_t more, uint64_t max)
{
    return max && max != UINT64_MAX && count + more > max;
}

/* Would the owner's kind, the user or all have more claims than they may? chosen: what would be granted, NULL: nothing. */
static bool over_limit(struct model *model, const struct demand *demand, const int *chosen)
{
    const char *kind = model_owners[demand->owner].kind;
    uint64_t max = kind_max(model, kind), of_kind = 0, of_user = 0, all = 0, more = 0;

    for (int i = 0; i < MODEL_CLAIMS; i++) {
        const struct model_claim *claim = &model->claims[i];

        all += claim->exists;
        of_kind += claim->exists && !strcmp(model_owners[claim->owner].kind, kind);
        of_user += claim->exists && claim->user == model->user;
    }
    for (int i = 0; i < 2; i++)
        more += demand->wanted[i] && !model_find(model, demand->owner, families[i], CLAIM_BOUND) &&
                !model_find(model, demand->owner, families[i], CLAIM_WAITING) &&
                !(chosen && model_cools(model, chosen[i]));
    return more && ((!max || passes(of_kind, more, max)) || passes(of_user, more, model->limits.user_claims_max) ||
                    passes(all, more, model->limits.claims_max));
}

/* Does it ask, without a pool, for an address that no such claim may have now? What waits for it may go on. */
static bool not_permitted(struct model *model, const struct demand *demand)
{
    bool refused = false;

    for (int i = 0; i < 2; i++) {
        struct model_claim *waiting = model_find(model, demand->owner, families[i], CLAIM_WAITING);
        int address = demand->wish[i].address;

        if (demand->pool == MANUAL && demand->wanted[i] && model_family(address) == families[i] &&
            !(waiting && waiting->pool == MANUAL && waiting->wish.address == address))
            refused |= !(model->permitted & ONE_ADDRESS(address));
    }
    return refused;
}

static bool nothing_wanted(const struct demand *demand)
{
    return !demand->wanted[0] && !demand->wanted[1];
}

/* Grants or enqueues `demand`, of which the fitting claims are no longer part, and rebinds those. */
static enum ipam_reason carry_out(struct model *model, const struct model_allocate *args,
                                  const struct standing *standing, const struct demand *demand, enum ipam_reason reason,
                                  const int chosen[2])
{
    bool same;

    if (reason && !(args->enqueue && may_wait(demand, standing)))
        return reason;
    if (reason == IPAM_REASON_INVALID_ADDRESS && over_limit(model, demand, NULL))
        return IPAM_REASON_LIMIT_EXCEEDED;
    if (reason == IPAM_REASON_INVALID_ADDRESS && not_permitted(model, demand))
        return IPAM_REASON_ADDRESS_NOT_PERMITTED;
    same = reason && waits_for(model, demand);
    if (!same && !nothing_wanted(demand))
        part(model, demand);
    for (int i = 0; i < 2; i++) {
        if (standing->fitting[i])
            rebind(model, standing->fitting[i], demand->uid);
        else if (demand->wanted[i] && same)
            wait_on(model, model_find(model, demand->owner, families[i], CLAIM_WAITING), demand);
        else if (demand->wanted[i] && reason)
            join_queue(model, demand, families[i], reason);
        else if (demand->wanted[i])
            model_grant(model, demand, families[i], chosen[i]);
    }
    return IPAM_REASON_NONE;
}

static enum ipam_reason allocate(struct model *model, const struct model_allocate *args, const struct demand *asked)
{
    struct demand demand = *asked;
    struct standing standing = standing_of(model, asked);
    enum ipam_reason reason = IPAM_REASON_INVALID_ADDRESS;
    int chosen[2] = {NOWHERE, NOWHERE};

    for (int i = 0; i < 2; i++)
        demand.wanted[i] &= !standing.fitting[i];
    if (model_readable(asked)) {
        if ((standing.other[0] || standing.other[1]) && !args->replace)
            return IPAM_REASON_CLAIM_EXISTS;
        for (int i = 0; i < 2; i++) {
            if (standing.other[i])
                model_give_back(model, standing.other[i]);
        }
        reason = nothing_wanted(&demand) ? IPAM_REASON_NONE : model_decide(model, &demand, chosen);
        if (over_limit(model, &demand, reason ? NULL : chosen))
            return IPAM_REASON_LIMIT_EXCEEDED;
        if (not_permitted(model, &demand))
            return IPAM_REASON_ADDRESS_NOT_PERMITTED;
    }
    reason = carry_out(model, args, &standing, &demand, reason, chosen);
    if (!reason && (standing.other[0] || standing.other[1]))
        model_end_oldest(model, args->owner);
    return reason;
}

void model_allocate(struct model *model, const struct model_allocate *args, struct model_answer *ret)
{
    struct model before = *model;
    struct demand asked;

    *ret = (struct model_answer){0};
    ret->refused = read_request(model, args, &asked);
    if (!ret->refused && !model_may_act(model, args->owner, args->uid))
        ret->refused = IPAM_REASON_PERMISSION_DENIED;
    if (!ret->refused)
        ret->refused = allocate(model, args, &asked);
    if (ret->refused) {
        *model = before;
        return;
    }
    model_settle(model);
    answer_with(model, &asked, ret);
}

/* ---- Release ---- */

static bool ended_by(const struct model_claim *claim, const struct model_release *args)
{
    unsigned int set = args->families ? args->families : FAMILY_SET_DUAL;

    return claim->exists && claim->state == CLAIM_COOLING && claim->address == args->address.address &&
           (set & FAMILY_BIT(claim->family)) && (!args->uid || claim->uid == args->uid) &&
           (args->owner == MODEL_OWNERS || claim->owner == args->owner);
}

static bool released_by(const struct model_claim *claim, const struct model_release *args)
{
    unsigned int set = args->families ? args->families : FAMILY_SET_DUAL;
    int address = claim->state == CLAIM_BOUND ? claim->address : claim->wish.address;

    if (!claim->exists || claim->state == CLAIM_COOLING || !(set & FAMILY_BIT(claim->family)))
        return false;
    if (args->uid && claim->uid != args->uid)
        return false;
    if (args->owner == MODEL_OWNERS && claim->state != CLAIM_BOUND)
        return false;
    if (args->owner != MODEL_OWNERS && claim->owner != args->owner)
        return false;
    return !args->address.text[0] || address == args->address.address;
}

/* Whose claims a release is about: of an address alone, its holder; MODEL_OWNERS: nobody. */
static int owner_of_release(const struct model *model, const struct model_release *args)
{
    enum claim_state state = args->end_cooling ? CLAIM_COOLING : CLAIM_BOUND;
    int owner = args->owner;

    for (int i = 0; i < MODEL_CLAIMS && args->owner == MODEL_OWNERS; i++)
        if (model->claims[i].exists && model->claims[i].state == state &&
            model->claims[i].address == args->address.address)
            owner = model->claims[i].owner;
    return owner;
}

static enum ipam_reason release_refused(const struct model *model, const struct model_release *args)
{
    int owner = owner_of_release(model, args);

    if (args->families > FAMILY_SET_DUAL || (args->owner == MODEL_OWNERS && !args->address.text[0]))
        return IPAM_REASON_INVALID_REQUEST;
    if (args->end_cooling && !args->address.text[0])
        return IPAM_REASON_INVALID_REQUEST;
    if (args->address.text[0] && args->address.address == NOWHERE)
        return IPAM_REASON_INVALID_ADDRESS;
    if (owner != MODEL_OWNERS && !model_may_act(model, owner, 0))
        return IPAM_REASON_PERMISSION_DENIED;
    return IPAM_REASON_NONE;
}

static void end_cooling(struct model *model, const struct model_release *args, struct model_answer *ret)
{
    for (int i = 0; i < MODEL_CLAIMS; i++) {
        if (!ended_by(&model->claims[i], args))
            continue;
        model_record_claim(model, &model->claims[i], CLAIM_RELEASED);
        ret->claims[ret->count++] = model->claims[i];
    }
    model_settle(model);
}

void model_release(struct model *model, const struct model_release *args, struct model_answer *ret)
{
    struct demand staying = {.owner = args->owner, .wanted = {false, false}};
    bool parted = false, cools = false;
    int owner = owner_of_release(model, args);

    *ret = (struct model_answer){.refused = release_refused(model, args)};
    if (ret->refused)
        return;
    if (args->end_cooling) {
        end_cooling(model, args, ret);
        return;
    }
    for (int i = 0; i < 2; i++) {
        for (int k = 0; k < MODEL_CLAIMS; k++) {
            struct model_claim *claim = &model->claims[k];

            if (claim->family != families[i] || !released_by(claim, args))
                continue;
            parted |= claim->state == CLAIM_WAITING;
            model_give_back(model, claim);
            cools |= claim->state == CLAIM_COOLING;
            ret->claims[ret->count++] = *claim;
        }
    }
    if (parted)
        part(model, &staying);
    if (cools)
        model_end_oldest(model, owner);
    model_settle(model);
}
