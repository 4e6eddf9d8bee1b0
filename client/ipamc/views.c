#include "views.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include <ipam/addr.h>

#include "when.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

/* ---- Names of enum values ------------------------------------------------------------------------------------------- */

static const char *enum_name(const ProtobufCEnumDescriptor *type, int value)
{
    const ProtobufCEnumValue *row = protobuf_c_enum_descriptor_get_value(type, value);
    return row == NULL ? "UNKNOWN" : row->name;
}

const char *view_pool_state(const Ipam__V1__Pool *pool)
{
    return enum_name(&ipam__v1__pool_state__descriptor, (int)pool->state);
}

/* Where it lies is known of claims that were listed, not of those in changes. */
static const char *claim_remark(const Ipam__V1__Claim *claim)
{
    bool known = claim->revision > 0 && claim->state == IPAM__V1__CLAIM_STATE__BOUND;

    if (!known || strcmp(claim->pool, claim->lies_in) == 0)
        return "";
    return claim->pool[0] == '\0' ? ",manual" : ",orphaned";
}

const char *view_claim_state(const struct output *output, const Ipam__V1__Claim *claim)
{
    return arena_printf(output->arena, "%s%s", enum_name(&ipam__v1__claim_state__descriptor, (int)claim->state),
                        claim_remark(claim));
}

const char *view_time(struct arena *arena, const Google__Protobuf__Timestamp *at)
{
    char text[WHEN_RFC3339_MAX];
    return at == NULL || when_rfc3339_format(at->seconds, 0, text) < 0 ? "" : arena_strdup(arena, text);
}

const char *view_family(Ipam__V1__Family family)
{
    static const char *const names[] = {"", "ipv4", "ipv6", "dual"};
    return (unsigned int)family < COUNT(names) ? names[family] : "";
}

/* ---- Pools ---------------------------------------------------------------------------------------------------------- */

static const Ipam__V1__PoolSpec *pool_spec(const Ipam__V1__Pool *pool)
{
    static const Ipam__V1__PoolSpec none = IPAM__V1__POOL_SPEC__INIT;
    return pool->spec == NULL ? &none : pool->spec;
}

static const Ipam__V1__PoolCounts *pool_counts(const Ipam__V1__Pool *pool)
{
    static const Ipam__V1__PoolCounts none = IPAM__V1__POOL_COUNTS__INIT;
    return pool->counts == NULL ? &none : pool->counts;
}

static const char *number(const struct output *output, uint64_t value)
{
    return arena_printf(output->arena, "%" PRIu64, value);
}

static const char *join(const struct output *output, char *const *texts, size_t count)
{
    const char *all = "";
    for (size_t i = 0; i < count; i++)
        all = arena_printf(output->arena, "%s%s%s", all, i == 0 ? "" : ",", texts[i]);
    return all;
}

static const char *pool_name(const struct output *output, const void *row)
{
    (void)output;
    return pool_spec(row)->name;
}

static const char *pool_allocated(const struct output *output, const void *row)
{
    return number(output, pool_counts(row)->allocated);
}

static const char *pool_available(const struct output *output, const void *row)
{
    return number(output, pool_counts(row)->available);
}

static const char *pool_auto_assign(const struct output *output, const void *row)
{
    (void)output;
    return pool_spec(row)->auto_assign ? "true" : "false";
}

/* A pool that is gone has none; --watch shows it a last time. */
static const char *pool_age(const struct output *output, const void *row)
{
    const Ipam__V1__Pool *pool = row;
    if (pool->state == IPAM__V1__POOL_STATE__REMOVED)
        return "removed";
    return output_age(output, pool->created_at != NULL, pool->created_at == NULL ? 0 : pool->created_at->seconds);
}

static const char *pool_state(const struct output *output, const void *row)
{
    const Ipam__V1__Pool *pool = row;
    if (pool_spec(pool)->paused && pool->state == IPAM__V1__POOL_STATE__READY)
        return arena_printf(output->arena, "%s,paused", view_pool_state(pool));
    return view_pool_state(pool);
}

static const char *pool_capacity(const struct output *output, const void *row)
{
    return number(output, pool_counts(row)->capacity);
}

static const char *pool_cooling(const struct output *output, const void *row)
{
    return number(output, pool_counts(row)->cooling);
}

static const char *pool_waiting(const struct output *output, const void *row)
{
    return number(output, pool_counts(row)->waiting);
}

static const char *pool_orphaned(const struct output *output, const void *row)
{
    return number(output, pool_counts(row)->orphaned);
}

static const char *pool_excluded(const struct output *output, const void *row)
{
    return number(output, pool_counts(row)->excluded);
}

static const char *pool_cidrs(const struct output *output, const void *row)
{
    return join(output, pool_spec(row)->cidrs, pool_spec(row)->n_cidrs);
}

static const char *pool_addresses(const struct output *output, const void *row)
{
    return join(output, pool_spec(row)->addresses, pool_spec(row)->n_addresses);
}

static const char *pool_reason(const struct output *output, const void *row)
{
    (void)output;
    return ((const Ipam__V1__Pool *)row)->reason;
}

static const char *pool_label(const struct output *output, const void *row)
{
    return arena_printf(output->arena, "proxyippool/%s", pool_spec(row)->name);
}

static const struct column pool_columns[] = {
    {"NAME", false, pool_name},
    {"ALLOCATED", false, pool_allocated},
    {"AVAILABLE", false, pool_available},
    {"AUTO-ASSIGN", false, pool_auto_assign},
    {"AGE", false, pool_age},
    {"STATE", true, pool_state},
    {"CAPACITY", true, pool_capacity},
    {"COOLING", true, pool_cooling},
    {"WAITING", true, pool_waiting},
    {"ORPHANED", true, pool_orphaned},
    {"EXCLUDED", true, pool_excluded},
    {"CIDRS", true, pool_cidrs},
    {"ADDRESSES", true, pool_addresses},
    {"REASON", true, pool_reason},
};

const struct view pool_view = {pool_columns, COUNT(pool_columns), pool_label};

/* ---- Claims --------------------------------------------------------------------------------------------------------- */

static const Ipam__V1__Owner *claim_owner(const Ipam__V1__Claim *claim)
{
    static const Ipam__V1__Owner none = IPAM__V1__OWNER__INIT;
    return claim->owner == NULL ? &none : claim->owner;
}

static const char *claim_address(const struct output *output, const void *row)
{
    (void)output;
    return ((const Ipam__V1__Claim *)row)->address;
}

static const char *claim_kind(const struct output *output, const void *row)
{
    (void)output;
    return claim_owner(row)->kind;
}

static const char *claim_name(const struct output *output, const void *row)
{
    (void)output;
    return claim_owner(row)->name;
}

static const char *claim_uid(const struct output *output, const void *row)
{
    (void)output;
    return claim_owner(row)->uid;
}

static const char *claim_pool(const struct output *output, const void *row)
{
    (void)output;
    return ((const Ipam__V1__Claim *)row)->pool;
}

static const char *claim_state(const struct output *output, const void *row)
{
    return view_claim_state(output, row);
}

static const char *claim_lies_in(const struct output *output, const void *row)
{
    (void)output;
    return ((const Ipam__V1__Claim *)row)->lies_in;
}

static const char *claim_age(const struct output *output, const void *row)
{
    const Ipam__V1__Claim *claim = row;
    return output_age(output, claim->created_at != NULL, claim->created_at == NULL ? 0 : claim->created_at->seconds);
}

static const char *claim_family(const struct output *output, const void *row)
{
    (void)output;
    return view_family(((const Ipam__V1__Claim *)row)->family);
}

static const char *claim_requested(const struct output *output, const void *row)
{
    (void)output;
    return ((const Ipam__V1__Claim *)row)->requested_address;
}

static const char *claim_queue(const struct output *output, const void *row)
{
    const Ipam__V1__Claim *claim = row;
    return claim->queue_position == 0 ? "" : number(output, claim->queue_position);
}

static const char *claim_reason(const struct output *output, const void *row)
{
    (void)output;
    return ((const Ipam__V1__Claim *)row)->reason;
}

static const char *claim_cooling(const struct output *output, const void *row)
{
    const Ipam__V1__Claim *claim = row;
    return view_time(output->arena, claim->cooling_until);
}

static const char *claim_label(const struct output *output, const void *row)
{
    const Ipam__V1__Claim *claim = row;
    return arena_printf(output->arena, "claim/%s/%s/%s", claim_owner(claim)->kind, claim_owner(claim)->name,
                        view_family(claim->family));
}

static const struct column claim_columns[] = {
    {"ADDRESS", false, claim_address},
    {"KIND", false, claim_kind},
    {"NAME", false, claim_name},
    {"POOL", false, claim_pool},
    {"STATE", false, claim_state},
    {"AGE", false, claim_age},
    {"FAMILY", true, claim_family},
    {"LIES-IN", true, claim_lies_in},
    {"UID", true, claim_uid},
    {"REQUESTED", true, claim_requested},
    {"QUEUE", true, claim_queue},
    {"REASON", true, claim_reason},
    {"COOLING-UNTIL", true, claim_cooling},
};

const struct view claim_view = {claim_columns, COUNT(claim_columns), claim_label};

/* ---- VIPs ----------------------------------------------------------------------------------------------------------- */

static const Ipam__V1__Claim *vip_first(const struct vip_row *vip)
{
    return vip->ipv4 != NULL ? vip->ipv4 : vip->ipv6;
}

/* What both families agree on, or one of them alone; else both, with a comma. */
static const char *vip_both(const struct output *output, const struct vip_row *vip,
                            const char *(*cell)(const struct output *output, const void *row))
{
    const char *first = cell(output, vip_first(vip));
    if (vip->ipv4 == NULL || vip->ipv6 == NULL || strcmp(first, cell(output, vip->ipv6)) == 0)
        return first;
    return arena_printf(output->arena, "%s,%s", first, cell(output, vip->ipv6));
}

static const char *vip_name(const struct output *output, const void *row)
{
    return claim_name(output, vip_first(row));
}

static const char *vip_ipv4(const struct output *output, const void *row)
{
    const struct vip_row *vip = row;
    (void)output;
    return vip->ipv4 == NULL ? "" : vip->ipv4->address;
}

static const char *vip_ipv6(const struct output *output, const void *row)
{
    const struct vip_row *vip = row;
    (void)output;
    return vip->ipv6 == NULL ? "" : vip->ipv6->address;
}

static const char *vip_pool(const struct output *output, const void *row)
{
    return vip_both(output, row, claim_pool);
}

static const char *vip_state(const struct output *output, const void *row)
{
    return vip_both(output, row, claim_state);
}

static const char *vip_age(const struct output *output, const void *row)
{
    return claim_age(output, vip_first(row));
}

static const char *vip_uid(const struct output *output, const void *row)
{
    return vip_both(output, row, claim_uid);
}

static const char *vip_reason(const struct output *output, const void *row)
{
    return vip_both(output, row, claim_reason);
}

static const char *vip_label(const struct output *output, const void *row)
{
    return arena_printf(output->arena, "proxyvip/%s", vip_name(output, row));
}

static const struct column vip_columns[] = {
    {"NAME", false, vip_name},   {"IPV4", false, vip_ipv4}, {"IPV6", false, vip_ipv6}, {"POOL", false, vip_pool},
    {"STATE", false, vip_state}, {"AGE", false, vip_age},   {"UID", true, vip_uid},    {"REASON", true, vip_reason},
};

const struct view vip_view = {vip_columns, COUNT(vip_columns), vip_label};

/* ---- Order ---------------------------------------------------------------------------------------------------------- */

struct claim_key {
    struct ipam_addr address;
    bool has_address;
    const Ipam__V1__Claim *claim;
};

static int compare_numbers(uint64_t a, uint64_t b)
{
    return (a > b) - (a < b);
}

static int compare_keys(const void *a, const void *b)
{
    const struct claim_key *left = a, *right = b;

    if (left->has_address != right->has_address)
        return left->has_address ? -1 : 1;
    int order = left->has_address ? ipam_addr_compare(&left->address, &right->address)
                                  : compare_numbers(left->claim->waiting_since, right->claim->waiting_since);
    return order != 0 ? order : compare_numbers(left->claim->id, right->claim->id);
}

void view_sort_claims(const Ipam__V1__Claim **claims, size_t count)
{
    struct claim_key *keys = mem_alloc((count + 1) * sizeof(*keys));

    for (size_t i = 0; i < count; i++) {
        keys[i] = (struct claim_key){.claim = claims[i]};
        keys[i].has_address = ipam_addr_parse(claims[i]->address, &keys[i].address, NULL) == 0;
    }
    qsort(keys, count, sizeof(*keys), compare_keys);
    for (size_t i = 0; i < count; i++)
        claims[i] = keys[i].claim;
    free(keys);
}

static int compare_owners(const void *a, const void *b)
{
    const Ipam__V1__Claim *const *left = a, *const *right = b;
    int order = strcmp(claim_owner(*left)->name, claim_owner(*right)->name);
    return order != 0 ? order : compare_numbers((*left)->family, (*right)->family);
}

struct vip_row *view_pair_vips(struct arena *arena, const Ipam__V1__Claim *const *claims, size_t count,
                               size_t *ret_count)
{
    const Ipam__V1__Claim **sorted = arena_alloc(arena, (count + 1) * sizeof(*sorted));
    struct vip_row *rows = arena_zalloc(arena, (count + 1) * sizeof(*rows));
    size_t n = 0;

    if (count > 0)
        memcpy(sorted, claims, count * sizeof(*sorted));
    qsort(sorted, count, sizeof(*sorted), compare_owners);
    for (size_t i = 0; i < count; i++) {
        if (i == 0 || strcmp(claim_owner(sorted[i])->name, claim_owner(sorted[i - 1])->name) != 0)
            n++;
        if (sorted[i]->family == IPAM__V1__FAMILY__IPV6)
            rows[n - 1].ipv6 = sorted[i];
        else
            rows[n - 1].ipv4 = sorted[i];
    }
    *ret_count = n;
    return rows;
}
