#include <stdio.h>
#include <time.h>

#include "internal.h"

#define HOLDER_TEXT_MAX (2 * ENGINE_NAME_MAX + 2)
#define TIME_TEXT_MAX   32

/* What messages are made of. */
struct facts {
    const struct refusal *refusal;
    const char *pool;   /* name of the refusal's, "" when it is none */
    const char *family; /* "ipv4" */
    const char *text;   /* the address as asked for */
    char address[IPAM_ADDR_TEXT_MAX];
    char holder[HOLDER_TEXT_MAX];
};

typedef int (*describer)(const struct facts *facts, struct ipam_error *reterr);

static int describe_pool_not_found(const struct facts *facts, struct ipam_error *reterr)
{
    return ipam_error_set(reterr, facts->refusal->reason,
                          "pool not found: there is no pool %s; apply it first, or name another", facts->pool);
}

static int describe_pool_draining(const struct facts *facts, struct ipam_error *reterr)
{
    return ipam_error_set(reterr, facts->refusal->reason,
                          "pool draining: %s is being deleted and gives no new address; use "
                          "another pool",
                          facts->pool);
}

static int describe_pool_rejected(const struct facts *facts, struct ipam_error *reterr)
{
    const struct pool *pool = facts->refusal->pool;

    return ipam_error_set(reterr, facts->refusal->reason, "pool rejected: %s %s accepted (%s)", facts->pool,
                          pool_claims(pool) ? "is no longer" : "was never", pool->record.message);
}

static int describe_family_not_in_pool(const struct facts *facts, struct ipam_error *reterr)
{
    const struct plan *plan = &facts->refusal->pool->plan;

    if (plan->ranges.families[facts->refusal->family].n_excluded)
        return ipam_error_set(reterr, facts->refusal->reason,
                              "family not in pool: %s has no %s addresses left, it excludes them all; take some out of "
                              "excluded, or add %s addresses to the pool",
                              facts->pool, facts->family, facts->family);
    return ipam_error_set(reterr, facts->refusal->reason,
                          "family not in pool: %s has no %s addresses; ask for another family, or "
                          "add %s addresses to the pool",
                          facts->pool, facts->family, facts->family);
}

static int describe_auto_assign(const struct facts *facts, struct ipam_error *reterr)
{
    return ipam_error_set(reterr, facts->refusal->reason,
                          "auto assign disabled: %s gives no %s address by itself; ask for a "
                          "certain address, or set autoAssign: true",
                          facts->pool, facts->family);
}

static int describe_paused(const struct facts *facts, struct ipam_error *reterr)
{
    return ipam_error_set(reterr, facts->refusal->reason,
                          "pool paused: %s chooses no %s address for now; resume it, or ask for a "
                          "certain address",
                          facts->pool, facts->family);
}

static int describe_exhausted(const struct facts *facts, struct ipam_error *reterr)
{
    const struct refusal *refusal = facts->refusal;
    struct pool_counts counts;
    char cooling[40] = "";

    pool_counts_of(refusal->request->pool, refusal->family, &counts);
    if (counts.cooling)
        snprintf(cooling, sizeof(cooling), ", %llu cooling", (unsigned long long)counts.cooling);
    return ipam_error_set(
        reterr, refusal->reason, "pool exhausted: %s has no free %s address (%llu of %llu allocated%s)", facts->pool,
        facts->family, (unsigned long long)counts.allocated, (unsigned long long)counts.capacity, cooling);
}

/* Reads it again: what is wrong with it is not kept. */
static int describe_invalid_address(const struct facts *facts, struct ipam_error *reterr)
{
    struct ipam_addr address;

    if (ipam_addr_parse(facts->text, &address, reterr) < 0)
        return ipam_error_prefix(reterr, "invalid address");
    return ipam_error_set(reterr, facts->refusal->reason, "invalid address: %s is an %s address; write an %s address",
                          facts->text, ipam_family_name(address.family), facts->family);
}

static int describe_excluded(const struct facts *facts, struct ipam_error *reterr)
{
    return ipam_error_set(reterr, facts->refusal->reason, "address excluded: %s excludes %s; ask for another address",
                          facts->pool, facts->address);
}

/* Of the refusal's pool; *ret_entry as with pool_ranges_place. */
static enum pool_place place_of(const struct facts *facts, const char **ret_entry)
{
    const struct refusal *refusal = facts->refusal;

    return pool_ranges_place(&refusal->pool->plan.ranges, &refusal->request->demands[refusal->family].address,
                             ret_entry);
}

static int describe_not_in_pool(const struct facts *facts, struct ipam_error *reterr)
{
    static const char *const ways[] = {
        [POOL_NETWORK] = "is the network address of",
        [POOL_BROADCAST] = "is the broadcast address of",
        [POOL_PAST_LIMIT] = "lies past the first 65536 usable addresses of",
    };
    const char *entry;
    enum pool_place place = place_of(facts, &entry);

    if (entry)
        return ipam_error_set(reterr, facts->refusal->reason,
                              "address not in pool: %s %s %s, so %s does not give it; ask for an address of the pool",
                              facts->address, ways[place], entry, facts->pool);
    return ipam_error_set(reterr, facts->refusal->reason,
                          "address not in pool: %s does not lie in %s; ask for an address of the "
                          "pool",
                          facts->address, facts->pool);
}

static int describe_reserved(const struct facts *facts, struct ipam_error *reterr)
{
    const struct refusal *refusal = facts->refusal;
    const struct special_range *special = special_range_find(&refusal->request->demands[refusal->family].address);
    const char *cidr;
    enum pool_place place;

    if (special && special->refused)
        return ipam_error_set(reterr, refusal->reason,
                              "address reserved: %s can't be a virtual IP: %s is %s (%s); ask for another address",
                              facts->address, special->text, special->what, special->source);
    place = place_of(facts, &cidr);
    return ipam_error_set(reterr, refusal->reason,
                          "address reserved: %s is the %s address of %s in pool %s; ask for another address",
                          facts->address, place == POOL_NETWORK ? "network" : "broadcast", cidr, facts->pool);
}

static int describe_in_use(const struct facts *facts, struct ipam_error *reterr)
{
    return ipam_error_set(reterr, facts->refusal->reason, "address in use: %s is held by %s", facts->address,
                          facts->holder);
}

static int describe_cooling(const struct facts *facts, struct ipam_error *reterr)
{
    time_t until = (time_t)(facts->refusal->until.ns / 1000000000);
    char text[TIME_TEXT_MAX] = "";
    struct tm parts;

    if (gmtime_r(&until, &parts))
        strftime(text, sizeof(text), "%Y-%m-%dT%H:%M:%SZ", &parts);
    return ipam_error_set(reterr, facts->refusal->reason,
                          "address cooling: %s was released by %s and is kept from others until %s", facts->address,
                          facts->holder, text);
}

struct description {
    enum ipam_reason reason;
    describer describe;
    bool of_family;  /* which family is a fact of it */
    bool of_address; /* and which address */
};

static const struct description descriptions[] = {
    {IPAM_REASON_INVALID_ADDRESS, describe_invalid_address, true, false},
    {IPAM_REASON_POOL_NOT_FOUND, describe_pool_not_found, false, false},
    {IPAM_REASON_POOL_DRAINING, describe_pool_draining, false, false},
    {IPAM_REASON_POOL_REJECTED, describe_pool_rejected, false, false},
    {IPAM_REASON_FAMILY_NOT_IN_POOL, describe_family_not_in_pool, true, false},
    {IPAM_REASON_ADDRESS_RESERVED, describe_reserved, false, true},
    {IPAM_REASON_ADDRESS_EXCLUDED, describe_excluded, false, true},
    {IPAM_REASON_ADDRESS_NOT_IN_POOL, describe_not_in_pool, false, true},
    {IPAM_REASON_ADDRESS_IN_USE, describe_in_use, false, true},
    {IPAM_REASON_ADDRESS_COOLING, describe_cooling, false, true},
    {IPAM_REASON_AUTO_ASSIGN_DISABLED, describe_auto_assign, true, false},
    {IPAM_REASON_POOL_PAUSED, describe_paused, true, false},
    {IPAM_REASON_POOL_EXHAUSTED, describe_exhausted, true, false},
};

static const struct description *description_of(enum ipam_reason reason)
{
    for (size_t i = 0; i < sizeof(descriptions) / sizeof(*descriptions); i++)
        if (descriptions[i].reason == reason)
            return &descriptions[i];
    assert(!"every reason of a refusal has its row");
    return descriptions;
}

int refusal_error(const struct refusal *refusal, struct ipam_error *reterr)
{
    const struct description *row = description_of(refusal->reason);
    const struct demand *demand = &refusal->request->demands[refusal->family];
    const struct claim *holder = refusal->holder;
    struct facts facts = {.refusal = refusal,
                          .pool = refusal->pool ? refusal->pool->name : refusal->request->pool_name,
                          .family = ipam_family_name(family_at(refusal->family)),
                          .text = demand->text};

    if (row->of_address)
        ipam_addr_format(&demand->address, facts.address);
    if (holder)
        snprintf(facts.holder, sizeof(facts.holder), "%s/%s", holder->owner->kind->text, holder->owner->name);
    row->describe(&facts, reterr);
    if (*facts.pool)
        ipam_error_add(reterr, "pool", facts.pool);
    if (row->of_family)
        ipam_error_add(reterr, "family", facts.family);
    if (row->of_address)
        ipam_error_add(reterr, "address", facts.address);
    if (holder)
        ipam_error_add(reterr, "holder", facts.holder);
    return -1;
}

int overlap_error(const char *name, const struct pool *other, const struct ipam_range *range, struct ipam_error *reterr)
{
    char text[IPAM_RANGE_TEXT_MAX];

    ipam_error_set(reterr, IPAM_REASON_POOL_OVERLAP,
                   "pool overlaps: %s and %s both have %s; take it out of one of them", name, other->name,
                   ipam_range_format(range, text));
    ipam_error_add(reterr, "pool", name);
    ipam_error_add(reterr, "other", other->name);
    ipam_error_add(reterr, "range", text);
    return -1;
}
