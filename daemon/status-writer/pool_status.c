#include "pool_status.h"

#include <inttypes.h>
#include <string.h>

#define ORPHANS_NAMED 3

/* What goes into the status as a number. */
struct count {
    const char *field;
    size_t offset; /* in Ipam__V1__PoolCounts */
};

static const struct count counts[] = {
    {"capacity", offsetof(Ipam__V1__PoolCounts, capacity)},   {"allocated", offsetof(Ipam__V1__PoolCounts, allocated)},
    {"available", offsetof(Ipam__V1__PoolCounts, available)}, {"cooling", offsetof(Ipam__V1__PoolCounts, cooling)},
    {"excluded", offsetof(Ipam__V1__PoolCounts, excluded)},   {"orphaned", offsetof(Ipam__V1__PoolCounts, orphaned)},
    {"waiting", offsetof(Ipam__V1__PoolCounts, waiting)},
};

/* One object under translation. */
struct view {
    const json_t *object, *status;
    const Ipam__V1__Pool *pool;
    const Ipam__V1__PoolCounts *counts; /* never NULL */
    const struct ranges *ranges;
    const struct claims *claims;
    struct arena *arena;
};

/* ---- Allocations --------------------------------------------------------------------------------------------------- */

static const char *reference(const struct claim *claim, struct arena *arena)
{
    return strcmp(claim->kind, "ProxyVIP") == 0 ? claim->name : arena_printf(arena, "%s/%s", claim->kind, claim->name);
}

static json_t *allocation(const struct claim *claim, struct arena *arena)
{
    char address[IPAM_ADDR_TEXT_MAX], time[STATUS_TIME_MAX];
    return json_pack("{s:s, s:o, s:s}", "address", ipam_addr_format_cidr(&claim->address, address), "vipRef",
                     status_string(reference(claim, arena)), "allocatedAt", status_time(claim->allocated_at, time));
}

/* false: the list is full. */
static bool append(json_t *list, const struct claim *claim, struct arena *arena, size_t *bytes)
{
    json_t *entry = allocation(claim, arena);
    char *text = json_dumps(entry, JSON_COMPACT);
    size_t size = *bytes + strlen(text) + 1;
    bool fits = json_array_size(list) < POOL_ALLOCATIONS_MAX && size <= POOL_ALLOCATIONS_BYTES;
    free(text);
    if (fits) {
        json_array_append(list, entry);
        *bytes = size;
    }
    json_decref(entry);
    return fits;
}

static json_t *allocations(const struct view *view, bool *ret_truncated)
{
    json_t *list = json_array();
    size_t bytes = 2;
    *ret_truncated = false;
    if (view->counts->capacity == 0) /* never accepted: its ranges may be another pool's */
        return list;
    for (size_t i = 0; i < view->ranges->n_usable && !*ret_truncated; i++) {
        const struct ipam_range *range = &view->ranges->usable[i];
        const struct claim *claim = claims_from(view->claims, &range->first);
        for (; claim && ipam_range_contains(range, &claim->address) && !*ret_truncated; claim = claims_next(claim))
            *ret_truncated = !append(list, claim, view->arena, &bytes);
    }
    return list;
}

/* ---- Ready --------------------------------------------------------------------------------------------------------- */

/* "; 2 claims keep addresses that the pool no longer has: 10.200.0.77/32 (web-vip), …" */
static const char *orphans_text(const struct view *view)
{
    const char *text = "";
    uint64_t n = 0;
    if (!view->counts->orphaned)
        return "";
    for (const struct claim *claim = claims_from(view->claims, NULL); claim && n <= ORPHANS_NAMED;
         claim = claims_next(claim)) {
        char address[IPAM_ADDR_TEXT_MAX];
        if (strcmp(claim->pool, view->pool->spec->name) != 0 || ranges_contain(view->ranges, &claim->address))
            continue;
        if (n++ < ORPHANS_NAMED)
            text = arena_printf(view->arena, "%s%s %s (%s)", text, n > 1 ? "," : ":",
                                ipam_addr_format_cidr(&claim->address, address), reference(claim, view->arena));
    }
    return arena_printf(view->arena, "; %" PRIu64 " %s no longer has%s%s", view->counts->orphaned,
                        view->counts->orphaned == 1 ? "claim keeps an address that the pool"
                                                    : "claims keep addresses that the pool",
                        text, view->counts->orphaned > ORPHANS_NAMED ? ", …" : "");
}

static const char *available_text(const struct view *view)
{
    uint64_t n = view->counts->available;
    return arena_printf(view->arena, "%" PRIu64 " available address%s", n, n == 1 ? "" : "es");
}

static void ready(const struct view *view, struct condition *ret)
{
    const char *remark = *view->pool->message ? "; " : "";
    *ret = (struct condition){
        "Ready", "True", "PoolReady",
        arena_printf(view->arena, "Pool has %s%s%s%s%s", available_text(view),
                     view->pool->spec->paused ? "; it is paused and chooses no address by itself" : "",
                     orphans_text(view), remark, view->pool->message),
        0};
}

static void rejected(const struct view *view, struct condition *ret)
{
    const char *message = status_advice(view->arena, view->pool->reason, view->pool->message);
    if (view->counts->capacity)
        message = arena_printf(view->arena, "%s. Until then the specification before stays in force, with %s%s",
                               message, available_text(view), orphans_text(view));
    *ret = (struct condition){"Ready", "False", status_reason(view->arena, view->pool->reason), message, 0};
}

static void draining(const struct view *view, struct condition *ret)
{
    uint64_t n = view->counts->allocated + view->counts->orphaned;
    *ret = (struct condition){
        "Ready", "False", "Terminating",
        arena_printf(view->arena,
                     "Pool is being deleted: it gives no new address and goes with its last claim (%" PRIu64
                     " left)%s; delete the VIPs, or name another pool in their spec.poolRef",
                     n, orphans_text(view)),
        0};
}

/* ---- Exhausted ----------------------------------------------------------------------------------------------------- */

static bool is_out(const Ipam__V1__PoolCounts *of)
{
    return of && of->capacity > 0 && of->available == 0;
}

static void exhausted(const struct view *view, struct condition *ret)
{
    bool ipv4 = is_out(view->pool->ipv4), ipv6 = is_out(view->pool->ipv6), all = view->counts->available == 0;
    const Ipam__V1__PoolCounts *of = all ? view->counts : ipv4 ? view->pool->ipv4 : view->pool->ipv6;
    *ret = (struct condition){"Exhausted", "False", "AddressesAvailable", "Pool has free addresses", 0};
    if (view->counts->capacity == 0)
        *ret = (struct condition){"Exhausted", "Unknown", "PoolNotReady", "Pool has no addresses to give yet", 0};
    else if (all || ipv4 || ipv6)
        *ret = (struct condition){"Exhausted", "True", "PoolExhausted",
                                  arena_printf(view->arena,
                                               "Pool has no free %saddress (%" PRIu64 " of %" PRIu64
                                               " allocated, %" PRIu64 " cooling); %s",
                                               all    ? ""
                                               : ipv4 ? "ipv4 "
                                                      : "ipv6 ",
                                               of->allocated, of->capacity, of->cooling,
                                               "delete VIPs that are no longer needed, or add addresses to the pool"),
                                  0};
}

/* ---- The whole ----------------------------------------------------------------------------------------------------- */

typedef void (*describer)(const struct view *view, struct condition *ret);

static describer describer_of(Ipam__V1__PoolState state)
{
    switch (state) {
    case IPAM__V1__POOL_STATE__READY:
        return ready;
    case IPAM__V1__POOL_STATE__REJECTED:
        return rejected;
    case IPAM__V1__POOL_STATE__DRAINING:
        return draining;
    default:
        return NULL;
    }
}

static bool turned(const json_t *conditions, const struct condition *now)
{
    const json_t *before = status_condition(conditions, now->type);
    const char *status = json_string_value(json_object_get(before, "status"));
    const char *reason = json_string_value(json_object_get(before, "reason"));
    return !status || strcmp(status, now->status) != 0 || !reason || strcmp(reason, now->reason) != 0;
}

static void add_events(const json_t *conditions, const struct condition now[2], struct status_update *ret)
{
    bool is_ready = strcmp(now[0].status, "True") == 0, is_exhausted = strcmp(now[1].status, "True") == 0;
    const json_t *before = status_condition(conditions, "Exhausted");
    const char *was = json_string_value(json_object_get(before, "status"));
    if (turned(conditions, &now[0]))
        status_event_add(ret, !is_ready && strcmp(now[0].reason, "Terminating") != 0, now[0].reason, now[0].message);
    if (turned(conditions, &now[1]) && (is_exhausted || (was && strcmp(was, "True") == 0)))
        status_event_add(ret, is_exhausted, now[1].reason, now[1].message);
}

static void set_counts(const struct view *view, struct status_update *ret)
{
    for (size_t i = 0; i < sizeof(counts) / sizeof(*counts); i++) {
        const uint64_t *n = (const void *)((const char *)view->counts + counts[i].offset);
        /* The definition has int64: more excluded addresses than that are told as that many. */
        status_set(ret, view->status, counts[i].field, json_integer(*n > INT64_MAX ? INT64_MAX : (json_int_t)*n));
    }
}

/* The generation that ipamd was given last; of a pool that was made without one (ipamc apply), the object's. */
static int64_t observed_generation(const struct view *view)
{
    const Ipam__V1__PoolSpec *spec = view->pool->rejected_spec ? view->pool->rejected_spec : view->pool->spec;
    return spec->generation > 0 ? spec->generation : status_generation(view->object);
}

static bool is_of(const Ipam__V1__Pool *pool, const json_t *object)
{
    return !*pool->spec->uid || strcmp(pool->spec->uid, status_text(object, "metadata", "uid")) == 0;
}

static void set_all(const struct view *view, const struct condition conditions[2], int64_t now,
                    struct status_update *ret)
{
    bool truncated;
    set_counts(view, ret);
    status_set(ret, view->status, "allocations", allocations(view, &truncated));
    status_set(ret, view->status, "allocationsTruncated", truncated ? json_true() : json_null());
    status_set(ret, view->status, "observedGeneration", json_integer(conditions[0].observed_generation));
    status_set(ret, view->status, "conditions",
               status_conditions(json_object_get(view->status, "conditions"), conditions, 2, now));
}

void pool_status(const json_t *object, const Ipam__V1__Pool *pool, const struct ranges *ranges,
                 const struct claims *claims, int64_t now, struct arena *arena, struct status_update *ret)
{
    static const Ipam__V1__PoolCounts none = IPAM__V1__POOL_COUNTS__INIT;
    struct view view = {.object = object,
                        .status = json_object_get(object, "status"),
                        .pool = pool,
                        .counts = pool->counts ? pool->counts : &none,
                        .ranges = ranges,
                        .claims = claims,
                        .arena = arena};
    describer describe = describer_of(pool->state);
    struct condition conditions[2];
    *ret = (struct status_update){.status = NULL};
    if (!describe || !pool->spec || !is_of(pool, object))
        return;
    describe(&view, &conditions[0]);
    exhausted(&view, &conditions[1]);
    conditions[0].observed_generation = conditions[1].observed_generation = observed_generation(&view);
    set_all(&view, conditions, now, ret);
    if (ret->status)
        add_events(view.status ? json_object_get(view.status, "conditions") : NULL, conditions, ret);
}
