#include <stdio.h>
#include <string.h>

#include "engine.h"
#include "ranges.h"

#define WINDOW  (1u << 18) /* addresses: 10.4.0.0/14 and 2001:db8::/110 */
#define ENTRIES 4          /* of each kind, at most */
#define PROBES  200

enum { CIDR, RANGE, EXCLUSION, KINDS };

struct entry {
    char text[96];
    uint32_t first, last; /* in the window; of a CIDR what hosts can have */
};

struct pool {
    uint64_t random;
    enum ipam_family family; /* of all entries */
    struct entry entries[KINDS][ENTRIES];
    const char *texts[KINDS][ENTRIES];
    size_t count[KINDS];
    bool excluded[WINDOW], had[WINDOW], usable[WINDOW]; /* had: an entry's, whether excluded or not */
};

static uint64_t random_below(struct pool *pool, uint64_t below)
{
    uint64_t z = pool->random += 0x9e3779b97f4a7c15;

    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9;
    z = (z ^ z >> 27) * 0x94d049bb133111eb;
    return (z ^ z >> 31) % below;
}

static const char *text_of(const struct pool *pool, uint32_t at, char text[IPAM_ADDR_TEXT_MAX])
{
    struct ipam_addr address = {.family = pool->family, .lo = at};

    if (pool->family == IPAM_IPV4)
        address.lo += UINT64_C(10) << 24 | UINT64_C(4) << 16;
    else
        address.hi = UINT64_C(0x20010db8) << 32;
    return ipam_addr_format(&address, text);
}

/* ---- A pool ---- */

static void make_cidr(struct pool *pool, struct entry *entry, bool whole)
{
    unsigned int bits =
        random_below(pool, 2) ? 16 + (unsigned int)random_below(pool, 3) : (unsigned int)random_below(pool, 19);
    uint32_t size = 1u << bits, first = (uint32_t)random_below(pool, WINDOW / size) * size;
    uint32_t edge = pool->family == IPAM_IPV4 && bits >= 2 && !whole ? 1 : 0;
    char text[IPAM_ADDR_TEXT_MAX];

    snprintf(entry->text, sizeof(entry->text), "%s/%u", text_of(pool, first, text),
             (pool->family == IPAM_IPV4 ? 32 : 128) - bits);
    entry->first = first + edge;
    entry->last = first + size - 1 - edge;
}

static void make_range(struct pool *pool, struct entry *entry)
{
    uint32_t a = (uint32_t)random_below(pool, WINDOW), b = (uint32_t)random_below(pool, WINDOW);
    char from[IPAM_ADDR_TEXT_MAX], to[IPAM_ADDR_TEXT_MAX];

    if (random_below(pool, 3) == 0)
        b = a + (uint32_t)random_below(pool, WINDOW - a < 100 ? WINDOW - a : 100);
    entry->first = a < b ? a : b;
    entry->last = a < b ? b : a;
    snprintf(entry->text, sizeof(entry->text), "%s-%s", text_of(pool, entry->first, from),
             text_of(pool, entry->last, to));
}

static void make_entry(struct pool *pool, int kind)
{
    struct entry *entry = &pool->entries[kind][pool->count[kind]];

    pool->texts[kind][pool->count[kind]++] = entry->text;
    if (kind == CIDR || (kind == EXCLUSION && random_below(pool, 2)))
        make_cidr(pool, entry, kind == EXCLUSION);
    else
        make_range(pool, entry);
}

/* ---- The rules, as docs/ipamc.md has them ---- */

static void serve(struct pool *pool, const struct entry *entry)
{
    uint32_t served = 0;

    for (uint32_t at = entry->first; at <= entry->last; at++) {
        pool->had[at] = true;
        if (!pool->excluded[at] && served < IPAM_CIDR_USABLE_MAX) {
            pool->usable[at] = true;
            served++;
        }
    }
}

static bool is_clipped(const struct pool *pool, const struct entry *entry)
{
    for (uint32_t at = entry->first; at <= entry->last; at++)
        if (!pool->excluded[at] && !pool->usable[at])
            return true;
    return false;
}

static void make(struct pool *pool)
{
    pool->family = random_below(pool, 2) ? IPAM_IPV4 : IPAM_IPV6;
    make_entry(pool, random_below(pool, 4) ? CIDR : RANGE);
    for (uint64_t more = random_below(pool, ENTRIES); more > 0; more--)
        make_entry(pool, (int)random_below(pool, KINDS));
    for (size_t i = 0; i < pool->count[EXCLUSION]; i++)
        for (uint32_t at = pool->entries[EXCLUSION][i].first; at <= pool->entries[EXCLUSION][i].last; at++)
            pool->excluded[at] = true;
    for (int kind = CIDR; kind <= RANGE; kind++)
        for (size_t i = 0; i < pool->count[kind]; i++)
            serve(pool, &pool->entries[kind][i]);
}

/* ---- Against the engine ---- */

static int differ(const struct pool *pool, uint64_t seed, const char *what, uint64_t got, uint64_t expected)
{
    static const char *const names[KINDS] = {"cidr", "address", "excluded"};

    fprintf(stderr, "ranges, seed %llu: %s %llu, expected %llu\n", (unsigned long long)seed, what,
            (unsigned long long)got, (unsigned long long)expected);
    for (int kind = 0; kind < KINDS; kind++)
        for (size_t i = 0; i < pool->count[kind]; i++)
            fprintf(stderr, "  %s %s\n", names[kind], pool->texts[kind][i]);
    return -1;
}

static int compare_counts(const struct pool *pool, uint64_t seed, const struct pool_view *view)
{
    uint64_t capacity = 0, excluded = 0, clipped = 0;

    for (uint32_t at = 0; at < WINDOW; at++) {
        capacity += pool->usable[at];
        excluded += pool->had[at] && pool->excluded[at];
    }
    if (view->total.capacity != capacity)
        return differ(pool, seed, "capacity", view->total.capacity, capacity);
    if (view->total.excluded != excluded)
        return differ(pool, seed, "excluded", view->total.excluded, excluded);
    for (int kind = CIDR; kind <= RANGE; kind++)
        for (size_t i = 0; i < pool->count[kind]; i++) {
            if (!is_clipped(pool, &pool->entries[kind][i]))
                continue;
            if (clipped == view->clipped.count || strcmp(view->clipped.items[clipped], pool->texts[kind][i]))
                return differ(pool, seed, "clipped entry", clipped, clipped);
            clipped++;
        }
    return view->clipped.count == clipped ? 0 : differ(pool, seed, "clipped", view->clipped.count, clipped);
}

/* Where usable begins or ends, or anywhere. */
static uint32_t probe_at(struct pool *pool)
{
    uint32_t at = (uint32_t)random_below(pool, WINDOW);

    for (uint32_t steps = 0; steps < WINDOW && random_below(pool, 1000); steps++, at = (at + 1) % WINDOW)
        if (at && pool->usable[at] != pool->usable[at - 1])
            return at - (uint32_t)random_below(pool, 2);
    return at;
}

static int probe(struct pool *pool, uint64_t seed, struct engine *engine, const struct engine_ctx *ctx)
{
    struct allocate_args args = {
        .owner = {"Probe", "probe", ""}, .pool = "p", .families = FAMILY_BIT(pool->family), .dry_run = true};
    char text[IPAM_ADDR_TEXT_MAX];

    for (int i = 0; i < PROBES; i++) {
        struct ipam_error error = {.reason = IPAM_REASON_NONE};
        struct claim_views claims;
        uint32_t at = probe_at(pool);

        args.address = text_of(pool, at, text);
        if ((engine_allocate(engine, ctx, &args, &claims, &error) == 0) != pool->usable[at])
            return differ(pool, seed, text, (uint64_t)error.reason, pool->usable[at]);
    }
    return 0;
}

int ranges_compare(uint64_t seed)
{
    static const uint8_t key[16] = "sixteen bytes 16";
    static struct pool pool;
    struct engine *engine = engine_new(key);
    struct arena arena;
    struct changes changes;
    struct engine_ctx ctx = {.now = {1}, .actor = {0, "", ""}, .arena = &arena, .changes = &changes};
    struct apply_pool_result result;
    int status;

    arena_init(&arena);
    changes_init(&changes);
    memset(&pool, 0, sizeof(pool));
    pool.random = seed;
    make(&pool);
    struct apply_pool_args args = {.name = "p",
                                   .spec = {.cidrs = {pool.texts[CIDR], pool.count[CIDR]},
                                            .addresses = {pool.texts[RANGE], pool.count[RANGE]},
                                            .excluded = {pool.texts[EXCLUSION], pool.count[EXCLUSION]},
                                            .uid = ""}};
    status = engine_apply_pool(engine, &ctx, &args, &result, NULL);
    if (!status)
        status = compare_counts(&pool, seed, &result.pool);
    if (!status)
        status = probe(&pool, seed, engine, &ctx);
    engine_free(engine);
    changes_done(&changes);
    arena_done(&arena);
    return status;
}
