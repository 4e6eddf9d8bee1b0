#include "vip_status.h"

#include <string.h>

#include "translate.h"

#define FAMILIES 2

static const char *const fields[FAMILIES] = {"allocatedAddress", "allocatedIPv6Address"};
static const enum ipam_family families[FAMILIES] = {IPAM_IPV4, IPAM_IPV6};

/* One object under translation. */
struct vip {
    const json_t *object, *status, *bound; /* bound: the condition as it is */
    const char *name, *uid;
    struct vip_wish wish;
    struct ipam_error unreadable;         /* reason NONE: the spec can be read */
    const struct claim *claims[FAMILIES]; /* of this object; NULL: none */
    const char *shown[FAMILIES];          /* in the status now; "": none */
    bool ours[FAMILIES];                  /* and put there by us */
    const char *given[FAMILIES];          /* to stand there; "": none */
    struct condition conditions[2]; /* to stand there: Bound and SpecAccepted; without a type: it stays as it is */
    struct arena *arena;
};

enum { BOUND, SPEC_ACCEPTED };

/* ---- The object as it is ------------------------------------------------------------------------------------------- */

static bool is_ours(const struct vip *vip, const char *field)
{
    enum status_manager manager = status_manager_of(vip->object, field);
    if (manager != STATUS_MANAGER_UNKNOWN)
        return manager == STATUS_MANAGER_OURS;
    const char *bound = json_string_value(json_object_get(vip->bound, "status"));
    return bound && strcmp(bound, "True") == 0;
}

static void read_status(struct vip *vip, const json_t *object)
{
    vip->object = object;
    vip->status = json_object_get(object, "status");
    vip->bound = status_condition(json_object_get(vip->status, "conditions"), "Bound");
    for (int i = 0; i < FAMILIES; i++) {
        vip->shown[i] = status_text(object, "status", fields[i]);
        vip->ours[i] = *vip->shown[i] && is_ours(vip, fields[i]);
        vip->given[i] = vip->shown[i];
    }
}

void vip_status_shown(const json_t *object, struct ipam_addr ret[2])
{
    struct vip vip = {.object = NULL};
    read_status(&vip, object);
    for (int i = 0; i < FAMILIES; i++)
        if (!vip.ours[i] || ipam_addr_parse(vip.shown[i], &ret[i], NULL) < 0)
            ret[i] = (struct ipam_addr){.family = IPAM_FAMILY_NONE};
}

void vip_status_given(const json_t *patch, struct ipam_addr ret[2])
{
    for (int i = 0; i < FAMILIES; i++) {
        const char *text = json_string_value(json_object_get(patch, fields[i]));
        if (!text || ipam_addr_parse(text, &ret[i], NULL) < 0)
            ret[i] = (struct ipam_addr){.family = IPAM_FAMILY_NONE};
    }
}

/* ---- What it has --------------------------------------------------------------------------------------------------- */

static const struct claim *claim_for(const struct vip *vip, const struct claims *claims, enum ipam_family family)
{
    const struct claim *claim = claims_of(claims, VIP_KIND, vip->name, family);
    bool fits = claim && (!*claim->uid || strcmp(claim->uid, vip->uid) == 0);
    return fits ? claim : NULL;
}

static bool is_bound(const struct claim *claim)
{
    return claim && claim->address.family != IPAM_FAMILY_NONE;
}

static bool is_waiting(const struct claim *claim)
{
    return claim && !is_bound(claim);
}

static bool has_claims(const struct vip *vip)
{
    return vip->claims[0] || vip->claims[1];
}

/* An address of ours stays in its status. */
static bool keeps_address(const struct vip *vip)
{
    for (int i = 0; i < FAMILIES; i++)
        if (*vip->given[i] && (is_bound(vip->claims[i]) || vip->ours[i]))
            return true;
    return false;
}

/* ---- Does ipamd know of this generation? --------------------------------------------------------------------------- */

static bool is_wanted(const struct vip *vip, int i)
{
    Ipam__V1__Family family = vip->wish.request.family;
    return family == IPAM__V1__FAMILY__DUAL ||
           family == (families[i] == IPAM_IPV4 ? IPAM__V1__FAMILY__IPV4 : IPAM__V1__FAMILY__IPV6);
}

/* The address that the spec asks for, per family; "": any. With ipv6 alone either field may hold it. */
static const char *requested(const struct vip *vip, int i)
{
    const Ipam__V1__AllocateRequest *request = &vip->wish.request;
    if (families[i] == IPAM_IPV4)
        return request->address;
    return *request->ipv6_address || request->family == IPAM__V1__FAMILY__DUAL ? request->ipv6_address
                                                                               : request->address;
}

static bool same_address(const char *a, const char *b)
{
    struct ipam_addr left, right;
    if (strcmp(a, b) == 0)
        return true;
    return ipam_addr_parse(a, &left, NULL) == 0 && ipam_addr_parse(b, &right, NULL) == 0 &&
           ipam_addr_equal(&left, &right);
}

/* As the engine has it: a bound claim fits when any address is asked for, or this one. */
static bool claim_fits(const struct vip *vip, int i)
{
    const struct claim *claim = vip->claims[i];
    char text[IPAM_ADDR_TEXT_MAX];
    const char *wanted = requested(vip, i);
    if (!claim || strcmp(claim->pool, vip->wish.request.pool) != 0)
        return false;
    if (!is_bound(claim))
        return same_address(claim->requested, wanted);
    return !*wanted || same_address(ipam_addr_format_cidr(&claim->address, text), wanted);
}

/* Whether the claims are on the terms of the present spec. What it has of a family that it no longer asks for may stay until
 * what it asks for is there. */
static bool is_settled(const struct vip *vip)
{
    bool waits = false, more = false;
    if (vip->unreadable.reason != IPAM_REASON_NONE || !vip->wish.asks)
        return false;
    for (int i = 0; i < FAMILIES; i++) {
        if (is_wanted(vip, i) && !claim_fits(vip, i))
            return false;
        waits = waits || (is_wanted(vip, i) && is_waiting(vip->claims[i]));
        more = more || (!is_wanted(vip, i) && vip->claims[i]);
    }
    return !more || waits;
}

/* ---- Bound, by the claims ------------------------------------------------------------------------------------------ */

static const char *from_pool(const struct vip *vip, const struct claim *claim)
{
    return *claim->pool ? arena_printf(vip->arena, "allocated from pool %s", claim->pool)
                        : "allocated as requested, without a pool";
}

static const char *bound_message(const struct vip *vip)
{
    const struct claim *ipv4 = vip->claims[0], *ipv6 = vip->claims[1];
    if (!ipv4 || !ipv6)
        return arena_printf(vip->arena, "Address %s %s", vip->given[ipv4 ? 0 : 1], from_pool(vip, ipv4 ? ipv4 : ipv6));
    if (strcmp(ipv4->pool, ipv6->pool) == 0)
        return arena_printf(vip->arena, "Addresses %s and %s %s", vip->given[0], vip->given[1], from_pool(vip, ipv4));
    return arena_printf(vip->arena, "Address %s %s; address %s %s", vip->given[0], from_pool(vip, ipv4), vip->given[1],
                        from_pool(vip, ipv6));
}

/* message, and which addresses the VIP keeps all the same. */
static const char *with_kept(const struct vip *vip, const char *message)
{
    for (int i = 0; i < FAMILIES; i++)
        if (is_bound(vip->claims[i]))
            message = arena_printf(vip->arena, "%s. Address %s is kept", message, vip->given[i]);
    return message;
}

static const struct claim *taken_by_other(const struct vip *vip, const struct claims *claims, const char *text)
{
    struct ipam_addr address;
    if (ipam_addr_parse(text, &address, NULL) < 0)
        return NULL;
    const struct claim *holder = claims_holder(claims, &address);
    bool other = holder && (strcmp(holder->kind, VIP_KIND) != 0 || strcmp(holder->name, vip->name) != 0);
    return other ? holder : NULL;
}

/* The holder of the address that the claim waits for; NULL: none. Of a pair, IPv4 first, as ipamd decides. */
static const struct claim *holder_in_way(const struct vip *vip, const struct claims *claims, const struct claim *claim,
                                         struct ipam_addr *ret)
{
    for (int i = 0; i < FAMILIES; i++) {
        const struct claim *half = vip->claims[i];
        bool asked = half && (half == claim || (claim->dual && half->dual)) && *half->requested;
        const struct claim *holder = asked ? taken_by_other(vip, claims, half->requested) : NULL;
        if (!holder)
            continue;
        *ret = holder->address;
        return holder;
    }
    return NULL;
}

static bool is_reason(const struct claim *claim, enum ipam_reason reason)
{
    return strcmp(claim->reason, ipam_reason_name(reason)) == 0;
}

struct why {
    const char *reason, *message;
};

/* ipamd records nothing of those that go on waiting while an address goes from hand to hand, or cools: whether and by whom it
 * is held is seen from the claims. One that nobody holds cools, else it would have been given. */
static struct why why_waiting(const struct vip *vip, const struct claims *claims, const struct claim *claim)
{
    struct why why = {claim->reason, claim->message};
    bool was_held = is_reason(claim, IPAM_REASON_ADDRESS_IN_USE);
    char text[IPAM_ADDR_TEXT_MAX];
    struct ipam_addr address;
    const struct claim *holder = NULL;
    if (was_held || is_reason(claim, IPAM_REASON_ADDRESS_COOLING))
        holder = holder_in_way(vip, claims, claim, &address);
    if (holder) {
        why.reason = ipam_reason_name(IPAM_REASON_ADDRESS_IN_USE);
        why.message = arena_printf(vip->arena, "address in use: %s is held by %s/%s", ipam_addr_format(&address, text),
                                   holder->kind, holder->name);
    } else if (was_held) {
        why.reason = ipam_reason_name(IPAM_REASON_ADDRESS_COOLING);
        why.message = arena_printf(vip->arena, "address cooling: %s was released and is kept from others for a while",
                                   claim->requested);
    }
    why.message = status_advice(vip->arena, why.reason, why.message);
    return why;
}

static struct condition waiting(const struct vip *vip, const struct claims *claims)
{
    const struct claim *first = is_waiting(vip->claims[0]) ? vip->claims[0] : vip->claims[1];
    const struct claim *second = vip->claims[1];
    struct why why = why_waiting(vip, claims, first);
    struct why other = is_waiting(second) && second != first ? why_waiting(vip, claims, second) : why;
    if (strcmp(why.message, other.message) != 0)
        why.message = arena_printf(vip->arena, "%s. %s", why.message, other.message);
    return (struct condition){"Bound", "False", status_reason(vip->arena, why.reason), with_kept(vip, why.message), 0};
}

/* The claims say what stands in the status. Their condition is of this generation if they are on its terms, else of the one
 * before. */
static void decide_claimed(struct vip *vip, const struct claims *claims)
{
    struct condition *bound = &vip->conditions[BOUND];
    for (int i = 0; i < FAMILIES; i++) {
        char text[IPAM_ADDR_TEXT_MAX];
        if (is_bound(vip->claims[i]))
            vip->given[i] = arena_strdup(vip->arena, ipam_addr_format_cidr(&vip->claims[i]->address, text));
        else
            vip->given[i] = vip->ours[i] ? "" : vip->shown[i];
    }
    if (is_waiting(vip->claims[0]) || is_waiting(vip->claims[1]))
        *bound = waiting(vip, claims);
    else
        *bound = (struct condition){"Bound", "True", "AddressAllocated", bound_message(vip), 0};
    bound->observed_generation = is_settled(vip)
                                     ? status_generation(vip->object)
                                     : json_integer_value(json_object_get(vip->bound, "observedGeneration"));
}

/* ---- Bound, without a claim ---------------------------------------------------------------------------------------- */

static struct condition unbound(const struct vip *vip, const char *reason, const char *message)
{
    return (struct condition){"Bound", "False", reason, message, status_generation(vip->object)};
}

/* Addresses that others hold leave the status. */
static void decide_taken(struct vip *vip, const struct claims *claims)
{
    for (int i = 0; i < FAMILIES; i++) {
        const struct claim *taker = vip->ours[i] ? taken_by_other(vip, claims, vip->shown[i]) : NULL;
        if (!taker)
            continue;
        vip->given[i] = "";
        vip->conditions[BOUND] = unbound(
            vip, "AddressInUse",
            arena_printf(vip->arena,
                         "address in use: %s/%s holds the address that this VIP had; ask for another address, or "
                         "release it first",
                         taker->kind, taker->name));
    }
}

static void decide_nothing_asked(struct vip *vip)
{
    for (int i = 0; i < FAMILIES; i++)
        vip->given[i] = vip->ours[i] ? "" : vip->shown[i];
    vip->conditions[BOUND] =
        unbound(vip, "NoAddressRequested",
                "the VIP asks for no address; set spec.poolRef.name, spec.address or spec.ipv6Address");
}

/* ---- What was refused ---------------------------------------------------------------------------------------------- */

/* It stands in Bound if the VIP has nothing, else beside it. `status`: that of SpecAccepted. */
static void decide_refused(struct vip *vip, const char *status, const char *reason, const char *message)
{
    if (keeps_address(vip))
        vip->conditions[SPEC_ACCEPTED] =
            (struct condition){"SpecAccepted", status, reason, with_kept(vip, message), status_generation(vip->object)};
    else
        vip->conditions[BOUND] = unbound(vip, reason, message);
}

static void decide_accepted(struct vip *vip)
{
    vip->conditions[SPEC_ACCEPTED] = (struct condition){"SpecAccepted", NULL, "", "", 0};
}

static void decide_answered(struct vip *vip, const struct vip_answer *answer)
{
    if (answer->verdict == VIP_ACCEPTED)
        decide_accepted(vip);
    else if (answer->verdict == VIP_REFUSED)
        decide_refused(vip, "False", status_reason(vip->arena, answer->reason),
                       status_advice(vip->arena, answer->reason, answer->message));
    else
        decide_refused(vip, "Unknown", "NotApplied",
                       "ipamd has not applied the present spec, and ipam-status-writer may not ask it why; look at the "
                       "Events of the VIP, or give the user of ipam-status-writer ipamd's role allocate for ProxyVIP");
}

/* ---- The whole ----------------------------------------------------------------------------------------------------- */

static void decide(struct vip *vip, const struct vip_facts *facts, struct status_update *ret)
{
    const struct vip_answer *answer = facts->answer;
    if (has_claims(vip))
        decide_claimed(vip, facts->claims);
    else
        decide_taken(vip, facts->claims);
    if (vip->unreadable.reason != IPAM_REASON_NONE) {
        decide_refused(vip, "False", "InvalidSpec", vip->unreadable.message);
    } else if (!vip->wish.asks || is_settled(vip)) {
        if (!has_claims(vip))
            decide_nothing_asked(vip);
        decide_accepted(vip);
    } else if (answer) {
        decide_answered(vip, answer);
    } else {
        ret->unsettled = true;
    }
}

/* Bound as it was decided, while one of the addresses given stands in another status. */
static void decide_leaving(struct vip *vip)
{
    const char *coming = "", *kept = "";
    for (int i = 0; i < FAMILIES; i++) {
        if (!*vip->given[i] || strcmp(vip->given[i], vip->shown[i]) == 0) {
            kept = *vip->given[i] ? arena_printf(vip->arena, ". Address %s is kept", vip->given[i]) : kept;
            continue;
        }
        coming = arena_printf(vip->arena, "%s%s%s", coming, *coming ? " and " : "", vip->given[i]);
        vip->given[i] = vip->ours[i] ? "" : vip->shown[i];
    }
    vip->conditions[BOUND].status = "False";
    vip->conditions[BOUND].reason = "AddressMoving";
    vip->conditions[BOUND].message = arena_printf(
        vip->arena,
        "address moving: %s was another VIP's and is shown here once that one's status shows it no longer; "
        "nothing is to be done%s",
        coming, kept);
}

/* ipam-watcher pauses a pool while it syncs; then thousands of VIPs wait for no longer than that takes. */
static bool only_waits_for_pause(const struct vip *vip, const json_t *patch)
{
    const char *paused = ipam_reason_name(IPAM_REASON_POOL_PAUSED);
    bool waits = false;
    for (int i = 0; i < FAMILIES; i++) {
        if (json_object_get(patch, fields[i]) ||
            (is_waiting(vip->claims[i]) && strcmp(vip->claims[i]->reason, paused) != 0))
            return false;
        waits = waits || is_waiting(vip->claims[i]);
    }
    return waits;
}

static void add_events(const struct vip *vip, struct status_update *ret)
{
    const struct condition *bound = &vip->conditions[BOUND];
    bool moved = false;
    for (int i = 0; i < FAMILIES; i++) {
        bool gone = vip->ours[i] && strcmp(vip->shown[i], vip->given[i]) != 0;
        moved = moved || (*vip->given[i] && strcmp(vip->shown[i], vip->given[i]) != 0);
        if (gone)
            status_event_add(ret, false, "AddressReleased",
                             arena_printf(vip->arena, "Address %s is no longer this VIP's", vip->shown[i]));
    }
    if (!bound->type)
        return;
    const char *status = json_string_value(json_object_get(vip->bound, "status"));
    const char *reason = json_string_value(json_object_get(vip->bound, "reason"));
    bool turned = !status || strcmp(status, bound->status) != 0 || !reason || strcmp(reason, bound->reason) != 0;
    if (turned || (moved && strcmp(bound->status, "True") == 0))
        status_event_add(ret, strcmp(bound->status, "True") != 0, bound->reason, bound->message);
}

/* What is right and was written by another program is to be ours, or it could never be taken away. */
static json_t *to_adopt(const struct vip *vip)
{
    bool foreign = false;
    json_t *adopt = json_object();
    for (int i = 0; i < FAMILIES; i++) {
        if (!is_bound(vip->claims[i]))
            continue;
        foreign = foreign || (strcmp(vip->shown[i], vip->given[i]) == 0 && !vip->ours[i]);
        json_object_set_new(adopt, fields[i], status_string(vip->given[i]));
    }
    if (foreign)
        return adopt;
    json_decref(adopt);
    return NULL;
}

void vip_status(const struct vip_facts *facts, struct arena *arena, struct status_update *ret)
{
    struct vip vip = {.name = status_text(facts->object, "metadata", "name"),
                      .uid = status_text(facts->object, "metadata", "uid"),
                      .arena = arena};
    *ret = (struct status_update){.status = NULL};
    read_status(&vip, facts->object);
    if (vip_read(facts->object, &vip.wish, &vip.unreadable) == 0)
        vip.unreadable.reason = IPAM_REASON_NONE;
    for (int i = 0; i < FAMILIES; i++)
        vip.claims[i] = claim_for(&vip, facts->claims, families[i]);
    decide(&vip, facts, ret);
    if (facts->leaves)
        decide_leaving(&vip);
    else
        ret->adopt = to_adopt(&vip);
    for (int i = 0; i < FAMILIES; i++)
        status_set(ret, vip.status, fields[i], *vip.given[i] ? status_string(vip.given[i]) : json_null());
    status_set(ret, vip.status, "conditions",
               status_conditions(json_object_get(vip.status, "conditions"), vip.conditions, 2, facts->now));
    if (ret->status)
        add_events(&vip, ret);
    ret->passes = ret->status && only_waits_for_pause(&vip, ret->status);
}
