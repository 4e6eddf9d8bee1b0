#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "large.h"

static uint64_t random_below(struct large *large, uint64_t below)
{
    uint64_t z = large->random += 0x9e3779b97f4a7c15;

    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9;
    z = (z ^ z >> 27) * 0x94d049bb133111eb;
    return (z ^ z >> 31) % below;
}

static struct engine_ctx begin(struct large *large)
{
    arena_reset(&large->arena);
    changes_reset(&large->changes);
    return (struct engine_ctx){.now = {1}, .actor = {0, "", ""}, .arena = &large->arena, .changes = &large->changes};
}

static int ascending(const void *a, const void *b)
{
    return ipam_addr_compare(a, b);
}

static void add_range(struct large *large, const char *text)
{
    struct ipam_cidr cidr = {0};
    struct ipam_range range;

    ipam_cidr_parse(text, &cidr, NULL);
    range = ipam_cidr_usable(&cidr, NULL);
    for (uint64_t i = 0; i < ipam_range_size(&range); i++)
        large->addresses[large->count++] = ipam_addr_add(&range.first, i);
}

void large_init(struct large *large, const char *const *cidrs, size_t count, uint64_t seed)
{
    static const uint8_t key[16] = "sixteen bytes 16";
    struct apply_pool_args args = {.name = "large", .spec = {.cidrs = {cidrs, count}, .uid = "", .auto_assign = true}};
    struct apply_pool_result result;
    struct engine_ctx ctx;

    memset(large, 0, sizeof(*large));
    large->random = seed;
    large->engine = engine_new(key);
    arena_init(&large->arena);
    changes_init(&large->changes);
    for (size_t i = 0; i < count; i++)
        add_range(large, cidrs[i]);
    qsort(large->addresses, large->count, sizeof(large->addresses[0]), ascending);
    ctx = begin(large);
    engine_apply_pool(large->engine, &ctx, &args, &result, &large->error);
}

void large_done(struct large *large)
{
    large->engine = engine_free(large->engine);
    arena_done(&large->arena);
    changes_done(&large->changes);
}

static struct owner_ref owner_of(struct large *large, uint32_t number)
{
    return (struct owner_ref){"Test", arena_printf(&large->arena, "owner-%u", number), ""};
}

/* `lowest` is where the search may start, and where the next one may. */
static int take(struct large *large, size_t *lowest)
{
    struct engine_ctx ctx = begin(large);
    struct allocate_args args = {.owner = owner_of(large, large->owners + 1),
                                 .pool = "large",
                                 .address = "",
                                 .ipv6_address = "",
                                 .preferred_address = "",
                                 .preferred_ipv6_address = ""};
    struct claim_views claims;
    char got[IPAM_ADDR_TEXT_MAX], expected[IPAM_ADDR_TEXT_MAX];

    while (*lowest < large->count && large->owner_at[*lowest])
        (*lowest)++;
    if (engine_allocate(large->engine, &ctx, &args, &claims, &large->error) < 0)
        return *lowest == large->count && large->error.reason == IPAM_REASON_POOL_EXHAUSTED ? 0 : -1;
    if (*lowest == large->count || !ipam_addr_equal(&claims.items[0].record.address, &large->addresses[*lowest]))
        return ipam_error_set(&large->error, IPAM_REASON_INTERNAL, "got %s, expected %s",
                              ipam_addr_format(&claims.items[0].record.address, got),
                              *lowest == large->count ? "a refusal"
                                                      : ipam_addr_format(&large->addresses[*lowest], expected));
    large->owner_at[*lowest] = ++large->owners;
    large->held++;
    return 0;
}

static int give_back(struct large *large, size_t *lowest)
{
    struct engine_ctx ctx = begin(large);
    size_t at = random_below(large, large->count);
    struct owner_ref owner = owner_of(large, large->owner_at[at]);
    struct release_args args = {.kind = owner.kind, .name = owner.name, .address = "", .uid = ""};
    struct claim_views claims;

    if (!large->owner_at[at])
        return 0;
    if (engine_release(large->engine, &ctx, &args, &claims, &large->error) < 0)
        return -1;
    if (claims.count != 1 || !ipam_addr_equal(&claims.items[0].record.address, &large->addresses[at]))
        return ipam_error_set(&large->error, IPAM_REASON_INTERNAL, "%s released another address", owner.name);
    large->owner_at[at] = 0;
    large->held--;
    *lowest = at < *lowest ? at : *lowest;
    return 0;
}

int large_step(struct large *large)
{
    uint64_t calls = random_below(large, 1000);
    size_t lowest = 0;
    int status = 0;

    for (uint64_t i = 0; i < calls && status == 0; i++) {
        bool takes = random_below(large, 100) < (large->emptying ? 20u : 90u);

        status = takes ? take(large, &lowest) : give_back(large, &lowest);
    }
    /* Up to the last address, and down to half. */
    if (large->held == large->count || large->held < large->count / 2)
        large->emptying = large->held == large->count;
    return status;
}
