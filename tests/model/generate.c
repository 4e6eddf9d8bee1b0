#include <stdio.h>
#include <string.h>

#include "world.h"

/* ---- Pool specs ---- */

static void add(struct entries *entries, const struct entry *entry)
{
    if (entries->count < MODEL_ENTRIES)
        entries->items[entries->count++] = *entry;
}

static address_set span(int first, int last)
{
    address_set set = 0;

    for (int i = first; i <= last; i++)
        set |= ONE_ADDRESS(i);
    return set;
}

/* A prefix of 1 to 32 addresses; `whole` counts network and broadcast addresses in. */
static struct entry make_cidr(struct world *world, enum ipam_family family, bool whole)
{
    int bits = (int)world_random(world, 5) + (family == IPAM_IPV4 && world_chance(world, 10));
    int size = 1 << bits;
    int total = family == IPAM_IPV4 ? MODEL_IPV4 : MODEL_IPV6;
    int base = family == IPAM_IPV4 ? 0 : MODEL_IPV4;
    int first = base + (int)world_random(world, (uint64_t)(total / size)) * size;
    int edge = family == IPAM_IPV4 && size > 2 && !whole ? 1 : 0;
    struct entry entry = {.valid = true,
                          .addresses = span(first + edge, first + size - 1 - edge),
                          .whole = span(first, first + size - 1)};
    char text[TEXT_BYTES];

    snprintf(entry.text, sizeof(entry.text), "%.40s/%d", model_address_text(first, false, text),
             (family == IPAM_IPV4 ? 32 : 128) - bits);
    return entry;
}

static int any_address(struct world *world, enum ipam_family family)
{
    return family == IPAM_IPV4 ? (int)world_random(world, MODEL_IPV4)
                               : MODEL_IPV4 + (int)world_random(world, MODEL_IPV6);
}

static struct entry make_range(struct world *world, enum ipam_family family)
{
    int a = any_address(world, family), b = any_address(world, family);
    int first = a < b ? a : b, last = a < b ? b : a;
    char from[TEXT_BYTES], to[TEXT_BYTES];
    struct entry entry = {.valid = true};

    if (last > first + 5)
        last = first + 5;
    entry.addresses = span(first, last);
    snprintf(entry.text, sizeof(entry.text), "%.24s-%.24s", model_address_text(first, false, from),
             model_address_text(last, false, to));
    return entry;
}

static struct entry make_single(struct world *world, enum ipam_family family)
{
    int address = any_address(world, family);
    struct entry entry = {.valid = true, .addresses = ONE_ADDRESS(address)};
    char text[TEXT_BYTES];

    snprintf(entry.text, sizeof(entry.text), "%.40s", model_address_text(address, world_chance(world, 50), text));
    return entry;
}

static struct entry make_bad(struct world *world)
{
    static const char *const texts[] = {"10.0.0.1/28",       "junk", "10.0.0.0/33", "::ffff:10.0.0.1/128",
                                        "10.0.0.9-10.0.0.1", "",     "010.0.0.1/32"};
    struct entry entry = {.valid = false};

    snprintf(entry.text, sizeof(entry.text), "%s", texts[world_random(world, sizeof(texts) / sizeof(texts[0]))]);
    return entry;
}

static enum ipam_family any_family(struct world *world)
{
    return world_chance(world, 60) ? IPAM_IPV4 : IPAM_IPV6;
}

/* A /29 of the pool's own, so that most pools get along with each other. */
static struct entry home_cidr(int pool)
{
    int first = (pool % 4) * 8;
    struct entry entry = {.valid = true, .addresses = span(first + 1, first + 6), .whole = span(first, first + 7)};

    snprintf(entry.text, sizeof(entry.text), "10.0.0.%d/29", first);
    return entry;
}

static void add_entry(struct world *world, int pool, struct model_spec *spec)
{
    enum ipam_family family = any_family(world);
    struct entry entry;
    uint64_t kind = world_random(world, 100);

    if (kind < 30) {
        entry = home_cidr(pool);
        add(&spec->cidrs, &entry);
    } else if (kind < 50) {
        entry = make_cidr(world, family, false);
        add(&spec->cidrs, &entry);
    } else if (kind < 75) {
        entry = kind < 62 ? make_single(world, family) : make_range(world, family);
        add(&spec->addresses, &entry);
    } else if (kind < 97) {
        entry = kind < 82   ? make_single(world, family)
                : kind < 90 ? make_range(world, family)
                            : make_cidr(world, family, true);
        add(&spec->excluded, &entry);
    } else {
        entry = make_bad(world);
        add(kind == 97 ? &spec->cidrs : kind == 98 ? &spec->addresses : &spec->excluded, &entry);
    }
}

static void remove_entry(struct world *world, struct entries *entries)
{
    size_t at;

    if (entries->count == 0)
        return;
    at = (size_t)world_random(world, entries->count);
    entries->items[at] = entries->items[--entries->count];
}

static void fresh_spec(struct world *world, int pool, struct model_spec *ret)
{
    *ret = (struct model_spec){.auto_assign = world_chance(world, 80),
                               .paused = world_chance(world, 10),
                               .reuse_delay = world_chance(world, 50) ? 0 : (uint32_t)world_random(world, 20) + 1,
                               .uid = (int)world_random(world, MODEL_UIDS),
                               .generation = (int64_t)world_random(world, 4)};
    for (int i = 1 + (int)world_random(world, 3); i > 0; i--)
        add_entry(world, pool, ret);
}

static void edit_spec(struct world *world, int pool, struct model_spec *spec)
{
    switch (world_random(world, 8)) {
    case 0:
        spec->paused = !spec->paused;
        break;
    case 1:
        spec->auto_assign = !spec->auto_assign;
        break;
    case 2:
        spec->reuse_delay = (uint32_t)world_random(world, 10);
        break;
    case 3:
        remove_entry(world, &spec->cidrs);
        break;
    case 4:
        remove_entry(world, world_chance(world, 50) ? &spec->addresses : &spec->excluded);
        break;
    case 5:
        spec->uid = (int)world_random(world, MODEL_UIDS);
        break;
    default:
        add_entry(world, pool, spec);
    }
    if (world_chance(world, 60))
        spec->generation += (int64_t)world_random(world, 3);
    else if (world_chance(world, 10))
        spec->generation = (int64_t)world_random(world, 3);
}

void generate_spec(struct world *world, int pool, struct model_spec *ret)
{
    const struct model_pool *now = &world->model.pools[pool];

    if (!now->exists || world_chance(world, 20)) {
        fresh_spec(world, pool, ret);
        return;
    }
    *ret = now->has_rejected && world_chance(world, 50) ? now->rejected : now->spec;
    if (!world_chance(world, 12))
        edit_spec(world, pool, ret);
}

/* ---- Claims ---- */

static void bad_wish(struct world *world, struct wish *ret)
{
    static const char *const texts[] = {"junk", "10.0.0.05", "10.0.0.8/29", "::ffff:10.0.0.1", "2001:db8::1%eth0"};

    *ret = (struct wish){.address = NOWHERE};
    if (world_chance(world, 10))
        memset(ret->text, '1', ENGINE_ADDRESS_MAX + world_random(world, 2));
    else
        snprintf(ret->text, sizeof(ret->text), "%s", texts[world_random(world, sizeof(texts) / sizeof(texts[0]))]);
}

/* Some addresses are asked for by many. */
static int any_wanted(struct world *world, enum ipam_family family)
{
    static const int popular[2][3] = {{1, 2, 9}, {MODEL_IPV4, MODEL_IPV4 + 1, MODEL_IPV4 + 9}};

    if (world_chance(world, 40))
        return popular[family - 1][world_random(world, 3)];
    return any_address(world, family);
}

void generate_wish(struct world *world, enum ipam_family family, struct wish *ret)
{
    int address = any_wanted(world, family);

    if (world_chance(world, 4)) {
        bad_wish(world, ret);
        return;
    }
    if (world_chance(world, 2))
        address = (world_chance(world, 50) ? MODEL_STRANGE : MODEL_SPECIAL) + (family == IPAM_IPV6);
    ret->address = address;
    model_address_text(address, world_chance(world, 30), ret->text);
}

static void no_wish(struct wish *ret)
{
    *ret = (struct wish){.address = NOWHERE};
}

static void generate_preferred(struct world *world, struct model_allocate *ret)
{
    /* What can't be read is ignored, but how it is remembered is nobody's promise: so not with enqueue. */
    if (ret->families == 0 && ret->enqueue)
        return;
    if (world_chance(world, 15))
        generate_wish(world, ret->families == FAMILY_SET_IPV6 ? IPAM_IPV6 : IPAM_IPV4, &ret->preferred);
    if (world_chance(world, 15))
        generate_wish(world, IPAM_IPV6, &ret->preferred_ipv6);
    if (ret->enqueue && ret->preferred.address == NOWHERE)
        no_wish(&ret->preferred);
    if (ret->enqueue && ret->preferred_ipv6.address == NOWHERE)
        no_wish(&ret->preferred_ipv6);
}

static unsigned int any_families(struct world *world)
{
    return world_chance(world, 2) ? (unsigned int)world_random(world, 8) : (unsigned int)world_random(world, 4);
}

void generate_allocate(struct world *world, struct model_allocate *ret)
{
    bool manual = world_chance(world, 15);

    *ret = (struct model_allocate){
        .owner = world_chance(world, 1) ? MODEL_OWNERS : (int)world_random(world, MODEL_OWNERS),
        .uid = world_chance(world, 60) ? 0 : (int)world_random(world, MODEL_UIDS),
        .pool = manual                   ? MANUAL
                : world_chance(world, 1) ? MODEL_POOLS
                                         : (int)world_random(world, MODEL_POOLS),
        .families = any_families(world),
        .enqueue = world_chance(world, 45),
        .replace = world_chance(world, 25),
    };
    no_wish(&ret->address);
    no_wish(&ret->ipv6_address);
    no_wish(&ret->preferred);
    no_wish(&ret->preferred_ipv6);
    if (world_chance(world, manual ? 95 : 25)) {
        bool ipv6 = ret->families == FAMILY_SET_IPV6 || (ret->families == 0 && world_chance(world, 40));

        generate_wish(world, ipv6 != world_chance(world, 3) ? IPAM_IPV6 : IPAM_IPV4, &ret->address);
    }
    if ((ret->families & FAMILY_SET_IPV6 && world_chance(world, manual ? 80 : 20)) || world_chance(world, 3))
        generate_wish(world, IPAM_IPV6, &ret->ipv6_address);
    generate_preferred(world, ret);
}

/* The address of a claim that cools, if there is one. */
static void wish_what_cools(struct world *world, struct wish *ret)
{
    uint64_t first = world_random(world, MODEL_CLAIMS);

    for (uint64_t i = 0; i < MODEL_CLAIMS; i++) {
        const struct model_claim *claim = &world->model.claims[(first + i) % MODEL_CLAIMS];

        if (!claim->exists || claim->state != CLAIM_COOLING)
            continue;
        ret->address = claim->address;
        model_address_text(claim->address, false, ret->text);
        return;
    }
}

void generate_release(struct world *world, struct model_release *ret)
{
    bool by_address = world_chance(world, 25);

    *ret = (struct model_release){
        .owner = by_address && world_chance(world, 70) ? MODEL_OWNERS : (int)world_random(world, MODEL_OWNERS),
        .families = world_chance(world, 50) ? 0 : any_families(world),
        .uid = world_chance(world, 70) ? 0 : (int)world_random(world, MODEL_UIDS),
        .end_cooling = world_chance(world, by_address ? 25 : 1),
    };
    no_wish(&ret->address);
    if (by_address && !world_chance(world, 2))
        generate_wish(world, any_family(world), &ret->address);
    if (by_address && ret->end_cooling)
        wish_what_cools(world, &ret->address);
}
