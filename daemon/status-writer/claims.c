#include "claims.h"

#include <stdlib.h>
#include <string.h>

#include "arena.h"

static int compare_owners(const struct claim *a, const struct claim *b)
{
    int order = strcmp(a->name, b->name);
    if (order == 0)
        order = strcmp(a->kind, b->kind);
    return order ? order : (a->family > b->family) - (a->family < b->family);
}

/* While a snapshot is being caught up with, two claims may have one address for a moment. */
static int compare_addresses(const struct claim *a, const struct claim *b)
{
    int order = ipam_addr_compare(&a->address, &b->address);
    return order ? order : (a->id > b->id) - (a->id < b->id);
}

static int compare_wanted(const struct claim *a, const struct claim *b)
{
    int order = ipam_addr_compare(&a->wanted, &b->wanted);
    return order ? order : (a->id > b->id) - (a->id < b->id);
}

RB_HEAD(claims_by_owner, claim);
RB_HEAD(claims_by_address, claim);
RB_PROTOTYPE(claims_by_owner, claim, by_owner, compare_owners)
RB_GENERATE(claims_by_owner, claim, by_owner, compare_owners)
RB_PROTOTYPE(claims_by_address, claim, by_address, compare_addresses)
RB_GENERATE(claims_by_address, claim, by_address, compare_addresses)
RB_HEAD(claims_by_wanted, claim);
RB_PROTOTYPE(claims_by_wanted, claim, by_address, compare_wanted)
RB_GENERATE(claims_by_wanted, claim, by_address, compare_wanted)

struct claims {
    struct claims_by_owner by_owner;
    struct claims_by_address by_address;
    struct claims_by_wanted by_wanted;
};

struct claims *claims_new(void)
{
    struct claims *claims = mem_alloc(sizeof(*claims));
    RB_INIT(&claims->by_owner);
    RB_INIT(&claims->by_address);
    RB_INIT(&claims->by_wanted);
    return claims;
}

static void claim_remove(struct claims *claims, struct claim *claim)
{
    RB_REMOVE(claims_by_owner, &claims->by_owner, claim);
    if (claim->address.family != IPAM_FAMILY_NONE)
        RB_REMOVE(claims_by_address, &claims->by_address, claim);
    if (claim->wanted.family != IPAM_FAMILY_NONE)
        RB_REMOVE(claims_by_wanted, &claims->by_wanted, claim);
    free(claim);
}

struct claims *claims_free(struct claims *claims)
{
    if (!claims)
        return NULL;
    while (!RB_EMPTY(&claims->by_owner))
        claim_remove(claims, RB_ROOT(&claims->by_owner));
    free(claims);
    return NULL;
}

/* ---- From a message ------------------------------------------------------------------------------------------------ */

/* The texts of a claim stand behind it, one after the other. */
static const char *put(char **at, const char *text)
{
    const char *copy = *at;
    *at = stpcpy(*at, text) + 1;
    return copy;
}

static struct claim *claim_new(const Ipam__V1__Claim *message)
{
    const Ipam__V1__Owner *owner = message->owner;
    const char *texts[] = {owner->kind,     owner->name,     owner->uid, message->pool, message->requested_address,
                           message->reason, message->message};
    size_t size = sizeof(struct claim);
    for (size_t i = 0; i < sizeof(texts) / sizeof(*texts); i++)
        size += strlen(texts[i]) + 1;
    struct claim *claim = mem_zalloc(size);
    char *at = (char *)(claim + 1);
    claim->id = message->id;
    claim->family = message->family == IPAM__V1__FAMILY__IPV6 ? IPAM_IPV6 : IPAM_IPV4;
    claim->dual = message->dual;
    claim->allocated_at = message->allocated_at ? message->allocated_at->seconds : 0;
    claim->kind = put(&at, owner->kind);
    claim->name = put(&at, owner->name);
    claim->uid = put(&at, owner->uid);
    claim->pool = put(&at, message->pool);
    claim->requested = put(&at, message->requested_address);
    claim->reason = put(&at, message->reason);
    claim->message = put(&at, message->message);
    return claim;
}

static void claim_insert(struct claims *claims, const Ipam__V1__Claim *message, claims_touched touched, void *user)
{
    struct claim *claim = claim_new(message);
    if (message->state == IPAM__V1__CLAIM_STATE__BOUND &&
        ipam_addr_parse(message->address, &claim->address, NULL) < 0) {
        free(claim);
        return;
    }
    if (message->state == IPAM__V1__CLAIM_STATE__WAITING)
        ipam_addr_parse(message->requested_address, &claim->wanted, NULL);
    RB_INSERT(claims_by_owner, &claims->by_owner, claim);
    if (claim->address.family != IPAM_FAMILY_NONE)
        RB_INSERT(claims_by_address, &claims->by_address, claim);
    if (claim->wanted.family != IPAM_FAMILY_NONE)
        RB_INSERT(claims_by_wanted, &claims->by_wanted, claim);
    touched(claim, user);
}

static struct claim *claim_get(const struct claims *claims, const char *kind, const char *name, enum ipam_family family)
{
    struct claim key = {.kind = kind, .name = name, .family = family};
    struct claims_by_owner *tree = (struct claims_by_owner *)(uintptr_t)&claims->by_owner; /* RB_FIND changes nothing */
    return RB_FIND(claims_by_owner, tree, &key);
}

void claims_apply(struct claims *claims, const Ipam__V1__Claim *message, claims_touched touched, void *user)
{
    bool holds = message->state == IPAM__V1__CLAIM_STATE__BOUND || message->state == IPAM__V1__CLAIM_STATE__WAITING;
    if (!message->owner || (message->family != IPAM__V1__FAMILY__IPV4 && message->family != IPAM__V1__FAMILY__IPV6))
        return;
    struct claim *before = claim_get(claims, message->owner->kind, message->owner->name,
                                     message->family == IPAM__V1__FAMILY__IPV6 ? IPAM_IPV6 : IPAM_IPV4);
    /* The end of an earlier claim, which has cooled until now, is not the end of the one that its owner has by now. */
    if (before && !holds && before->id != message->id)
        return;
    if (before) {
        touched(before, user);
        claim_remove(claims, before);
    }
    if (holds)
        claim_insert(claims, message, touched, user);
}

/* ---- Reading ------------------------------------------------------------------------------------------------------- */

const struct claim *claims_of(const struct claims *claims, const char *kind, const char *name, enum ipam_family family)
{
    return claim_get(claims, kind, name, family);
}

const struct claim *claims_from(const struct claims *claims, const struct ipam_addr *address)
{
    struct claim key = {.id = 0};
    struct claims_by_address *tree = (struct claims_by_address *)(uintptr_t)&claims->by_address;
    if (!address)
        return RB_MIN(claims_by_address, tree);
    key.address = *address;
    return RB_NFIND(claims_by_address, tree, &key);
}

const struct claim *claims_next(const struct claim *claim)
{
    return RB_NEXT(claims_by_address, NULL, (struct claim *)(uintptr_t)claim);
}

const struct claim *claims_holder(const struct claims *claims, const struct ipam_addr *address)
{
    const struct claim *claim = claims_from(claims, address);
    return claim && ipam_addr_equal(&claim->address, address) ? claim : NULL;
}

const struct claim *claims_waiting(const struct claims *claims, const struct ipam_addr *address)
{
    struct claim key = {.wanted = *address};
    struct claims_by_wanted *tree = (struct claims_by_wanted *)(uintptr_t)&claims->by_wanted;
    const struct claim *claim = RB_NFIND(claims_by_wanted, tree, &key);
    return claim && ipam_addr_equal(&claim->wanted, address) ? claim : NULL;
}

const struct claim *claims_waiting_next(const struct claim *claim)
{
    const struct claim *next = RB_NEXT(claims_by_wanted, NULL, (struct claim *)(uintptr_t)claim);
    return next && ipam_addr_equal(&next->wanted, &claim->wanted) ? next : NULL;
}
