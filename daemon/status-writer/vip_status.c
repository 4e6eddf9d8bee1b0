#include "vip_status.h"

#include <string.h>

#define FAMILIES 2

static const char *const fields[FAMILIES] = {"allocatedAddress", "allocatedIPv6Address"};
static const enum ipam_family families[FAMILIES] = {IPAM_IPV4, IPAM_IPV6};

/* One object under translation. */
struct vip {
    const json_t *object, *status, *bound; /* bound: the condition as it is */
    const char *name, *uid;
    const struct claim *claims[FAMILIES]; /* of this object; NULL: none */
    const char *shown[FAMILIES];          /* in the status now; "": none */
    bool ours[FAMILIES];                  /* and put there by us */
    const char *given[FAMILIES];          /* to stand there; "": none */
    struct arena *arena;
};

/* ---- The object as it is ------------------------------------------------------------------------------------------- */

/* As a word of its own: 10.0.0.1/32 is not in 110.0.0.1/32. */
static bool names(const char *message, const char *address)
{
    size_t length = strlen(address);
    for (const char *at = message; length && (at = strstr(at, address)); at++)
        if ((at == message || at[-1] == ' ') && (at[length] == '\0' || strchr(" ,.;", at[length])))
            return true;
    return false;
}

static const struct claim *claim_for(const struct vip *vip, const struct claims *claims, enum ipam_family family)
{
    const struct claim *claim = claims_of(claims, VIP_KIND, vip->name, family);
    bool fits = claim && (!*claim->uid || strcmp(claim->uid, vip->uid) == 0);
    return fits ? claim : NULL;
}

static void read_status(struct vip *vip, const json_t *object)
{
    vip->object = object;
    vip->status = json_object_get(object, "status");
    vip->bound = status_condition(json_object_get(vip->status, "conditions"), "Bound");
    const char *message = json_string_value(json_object_get(vip->bound, "message"));
    for (int i = 0; i < FAMILIES; i++) {
        vip->shown[i] = status_text(object, "status", fields[i]);
        vip->ours[i] = message && names(message, vip->shown[i]);
        vip->given[i] = "";
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

static bool is_bound(const struct claim *claim)
{
    return claim && claim->address.family != IPAM_FAMILY_NONE;
}

/* ---- Does ipamd know of this generation? --------------------------------------------------------------------------- */

/* The address that the object asks for, per family; "": any. */
static const char *requested(const json_t *object, enum ipam_family family)
{
    const char *address = status_text(object, "spec", "address");
    const char *ipv6 = status_text(object, "spec", "ipv6Address");
    bool is_ipv6 = strchr(address, ':') != NULL;
    if (family == IPAM_IPV4)
        return is_ipv6 ? "" : address;
    return *ipv6 || !is_ipv6 ? ipv6 : address;
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
static bool claim_fits(const struct claim *claim, const json_t *object)
{
    char text[IPAM_ADDR_TEXT_MAX];
    const char *wanted = requested(object, claim->family);
    if (strcmp(claim->pool, status_text(json_object_get(object, "spec"), "poolRef", "name")) != 0)
        return false;
    if (!is_bound(claim))
        return same_address(claim->requested, wanted);
    return !*wanted || same_address(ipam_addr_format_cidr(&claim->address, text), wanted);
}

static bool family_fits(const struct vip *vip, int i)
{
    const char *wanted = status_text(vip->object, "spec", "addressFamily");
    bool asked = strcmp(wanted, "dual") == 0 || strcmp(wanted, ipam_family_name(families[i])) == 0;
    return !*wanted || asked == (vip->claims[i] != NULL);
}

/* What the claims are an answer to: this generation if they are on the terms of its spec, else the one they were before. */
static int64_t observed_generation(const struct vip *vip)
{
    for (int i = 0; i < FAMILIES; i++)
        if (!family_fits(vip, i) || (vip->claims[i] && !claim_fits(vip->claims[i], vip->object)))
            return json_integer_value(json_object_get(vip->bound, "observedGeneration"));
    return status_generation(vip->object);
}

/* ---- The condition Bound ------------------------------------------------------------------------------------------- */

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

static void condition_waiting(const struct vip *vip, struct condition *ret)
{
    const struct claim *first = vip->claims[0] && !is_bound(vip->claims[0]) ? vip->claims[0] : vip->claims[1];
    const struct claim *second = vip->claims[1];
    const char *message = status_advice(vip->arena, first->reason, first->message);
    if (second != first && second && !is_bound(second) && strcmp(first->message, second->message) != 0)
        message =
            arena_printf(vip->arena, "%s. %s", message, status_advice(vip->arena, second->reason, second->message));
    for (int i = 0; i < FAMILIES; i++)
        if (is_bound(vip->claims[i]))
            message = arena_printf(vip->arena, "%s. Address %s is kept", message, vip->given[i]);
    *ret = (struct condition){"Bound", "False", status_reason(vip->arena, first->reason), message, 0};
}

/* The claims say what stands in the status. */
static void decide_claimed(struct vip *vip, struct condition *ret)
{
    bool waits = false;
    for (int i = 0; i < FAMILIES; i++) {
        char text[IPAM_ADDR_TEXT_MAX];
        if (is_bound(vip->claims[i]))
            vip->given[i] = arena_strdup(vip->arena, ipam_addr_format_cidr(&vip->claims[i]->address, text));
        else if (!vip->ours[i])
            vip->given[i] = vip->shown[i];
        waits = waits || (vip->claims[i] && !is_bound(vip->claims[i]));
    }
    if (waits)
        condition_waiting(vip, ret);
    else
        *ret = (struct condition){"Bound", "True", "AddressAllocated", bound_message(vip), 0};
    ret->observed_generation = observed_generation(vip);
}

static bool asks_for_address(const json_t *object)
{
    const json_t *pool = status_get(object, "spec", "poolRef");
    return (pool && !json_is_null(pool)) || *status_text(object, "spec", "address") ||
           *status_text(object, "spec", "ipv6Address");
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

/* ipamd has no claim of the VIP. false: its status stays as it is. */
static bool decide_unclaimed(struct vip *vip, const struct claims *claims, struct condition *ret)
{
    const struct claim *taker = NULL;
    bool wanted = asks_for_address(vip->object), any = false;
    for (int i = 0; i < FAMILIES; i++) {
        const struct claim *other = vip->ours[i] ? taken_by_other(vip, claims, vip->shown[i]) : NULL;
        bool take = vip->ours[i] && (other || !wanted);
        taker = other ? other : taker;
        any = any || take;
        vip->given[i] = take ? "" : vip->shown[i];
    }
    if (!any)
        return false;
    *ret = (struct condition){"Bound", "False", "NoAddressRequested",
                              "the VIP asks for no address; set spec.poolRef.name, spec.address or spec.ipv6Address",
                              status_generation(vip->object)};
    if (taker) {
        ret->reason = "AddressInUse";
        ret->message = arena_printf(
            vip->arena,
            "address in use: %s/%s holds the address that this VIP had; ask for another address, or release it first",
            taker->kind, taker->name);
    }
    return true;
}

/* Bound as vip_status has decided it, while one of the addresses given stands in another status. */
static void decide_leaving(struct vip *vip, struct condition *ret)
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
    ret->status = "False";
    ret->reason = "AddressMoving";
    ret->message = arena_printf(vip->arena,
                                "address moving: %s was another VIP's and is shown here once that one's status shows it no "
                                "longer; nothing is to be done%s",
                                coming, kept);
}

/* ipam-watcher pauses a pool while it syncs; then thousands of VIPs wait for no longer than that takes. */
static bool only_waits_for_pause(const struct vip *vip, const json_t *patch)
{
    const char *paused = ipam_reason_name(IPAM_REASON_POOL_PAUSED);
    bool waits = false;
    for (int i = 0; i < FAMILIES; i++) {
        const struct claim *claim = vip->claims[i];
        if (json_object_get(patch, fields[i]) || (claim && !is_bound(claim) && strcmp(claim->reason, paused) != 0))
            return false;
        waits = waits || (claim && !is_bound(claim));
    }
    return waits;
}

/* ---- What a user should see ---------------------------------------------------------------------------------------- */

static void add_events(const struct vip *vip, const struct condition *bound, struct status_update *ret)
{
    bool moved = false;
    for (int i = 0; i < FAMILIES; i++) {
        bool gone = vip->ours[i] && strcmp(vip->shown[i], vip->given[i]) != 0;
        moved = moved || (*vip->given[i] && strcmp(vip->shown[i], vip->given[i]) != 0);
        if (gone)
            status_event_add(ret, false, "AddressReleased",
                             arena_printf(vip->arena, "Address %s is no longer this VIP's", vip->shown[i]));
    }
    const char *status = json_string_value(json_object_get(vip->bound, "status"));
    const char *reason = json_string_value(json_object_get(vip->bound, "reason"));
    bool turned = !status || strcmp(status, bound->status) != 0 || !reason || strcmp(reason, bound->reason) != 0;
    if (turned || (moved && strcmp(bound->status, "True") == 0))
        status_event_add(ret, strcmp(bound->status, "True") != 0, bound->reason, bound->message);
}

static void translate(const json_t *object, const struct claims *claims, bool leaves, int64_t now, struct arena *arena,
                      struct status_update *ret)
{
    struct vip vip = {
        .name = status_text(object, "metadata", "name"), .uid = status_text(object, "metadata", "uid"), .arena = arena};
    struct condition bound;
    *ret = (struct status_update){.status = NULL};
    read_status(&vip, object);
    for (int i = 0; i < FAMILIES; i++)
        vip.claims[i] = claim_for(&vip, claims, families[i]);
    if (vip.claims[0] || vip.claims[1])
        decide_claimed(&vip, &bound);
    else if (!decide_unclaimed(&vip, claims, &bound))
        return;
    if (leaves)
        decide_leaving(&vip, &bound);
    for (int i = 0; i < FAMILIES; i++)
        status_set(ret, vip.status, fields[i], *vip.given[i] ? status_string(vip.given[i]) : json_null());
    status_set(ret, vip.status, "conditions",
               status_conditions(json_object_get(vip.status, "conditions"), &bound, 1, now));
    if (ret->status)
        add_events(&vip, &bound, ret);
    ret->passes = ret->status && only_waits_for_pause(&vip, ret->status);
}

void vip_status(const json_t *object, const struct claims *claims, int64_t now, struct arena *arena,
                struct status_update *ret)
{
    translate(object, claims, false, now, arena, ret);
}

void vip_status_leave(const json_t *object, const struct claims *claims, int64_t now, struct arena *arena,
                      struct status_update *ret)
{
    translate(object, claims, true, now, arena, ret);
}
