#include <stdlib.h>

#include "internal.h"

static int refuse(const char *name, struct ipam_error *reterr)
{
    ipam_error_add(reterr, "pool", name);
    return -1;
}

/* ---- What a spec means ---- */

static int check_not_empty(const char *name, const struct pool_spec *spec, struct ipam_error *reterr)
{
    if (spec->cidrs.count || spec->addresses.count)
        return 0;
    ipam_error_set(reterr, IPAM_REASON_INVALID_POOL_SPEC,
                   "invalid pool spec: %s has neither cidrs nor addresses; write at least one, such "
                   "as cidrs: [\"10.200.0.0/24\"]",
                   name);
    return refuse(name, reterr);
}

static struct pool_texts texts_of(const struct pool_spec *spec)
{
    return (struct pool_texts){spec->cidrs.items, spec->addresses.items, spec->excluded.items,
                               spec->cidrs.count, spec->addresses.count, spec->excluded.count};
}

static int make_ranges(const char *name, const struct pool_spec *spec, struct pool_ranges *ret,
                       struct ipam_error *reterr)
{
    const struct pool_texts texts = texts_of(spec);
    const char *field;
    struct ipam_error error;

    if (!pool_ranges_make(&texts, ret, &field, &error))
        return 0;
    ipam_error_set(reterr, IPAM_REASON_INVALID_POOL_SPEC, "invalid pool spec: %s: %s: %s", name, field, error.message);
    return refuse(name, reterr);
}

static void number_family(struct plan_family *family, const struct pool_family_ranges *ranges)
{
    family->usable = ranges->usable;
    family->excluded = ranges->excluded;
    family->n_excluded = ranges->n_excluded;
    family->base = mem_alloc(family->usable.count * sizeof(*family->base));
    for (size_t i = 0; i < family->usable.count; i++) {
        family->base[i] = family->capacity;
        family->capacity += (uint64_t)(family->usable.items[i].last - family->usable.items[i].first) + 1;
    }
}

int plan_make(const char *name, const struct pool_spec *spec, struct plan *ret, struct ipam_error *reterr)
{
    struct plan plan = {0};

    if (check_not_empty(name, spec, reterr) < 0 || make_ranges(name, spec, &plan.ranges, reterr) < 0)
        return -1;
    for (unsigned int f = 0; f < FAMILIES; f++)
        number_family(&plan.families[f], &plan.ranges.families[f]);
    *ret = plan;
    return 0;
}

int plan_check_capacity(const char *name, const struct plan *plan, struct ipam_error *reterr)
{
    uint64_t capacity = plan->families[0].capacity + plan->families[1].capacity;

    if (capacity <= ENGINE_POOL_CAPACITY_MAX)
        return 0;
    ipam_error_set(reterr, IPAM_REASON_INVALID_POOL_SPEC,
                   "invalid pool spec: %s: %llu addresses are more than a pool may have (%u); split "
                   "it into several pools",
                   name, (unsigned long long)capacity, ENGINE_POOL_CAPACITY_MAX);
    return refuse(name, reterr);
}

int plan_check_new(const char *name, const struct plan *plan, struct ipam_error *reterr)
{
    const struct special_range *why = plan->ranges.hopeless_because;

    if (plan_check_capacity(name, plan, reterr) < 0)
        return -1;
    if (!why)
        return 0;
    ipam_error_set(reterr, IPAM_REASON_INVALID_POOL_SPEC,
                   "invalid pool spec: %s: no address of %s can be a virtual IP: %s is %s (%s); write another range",
                   name, plan->ranges.hopeless, why->text, why->what, why->source);
    return refuse(name, reterr);
}

bool spec_had(const struct pool_spec *spec, const struct ipam_addr *address)
{
    const struct pool_texts texts = texts_of(spec);

    return pool_texts_had(&texts, address);
}

void plan_done(struct plan *plan)
{
    for (unsigned int f = 0; f < FAMILIES; f++)
        free(plan->families[f].base);
    pool_ranges_done(&plan->ranges);
    *plan = (struct plan){0};
}

bool plan_same(const struct plan *a, const struct plan *b)
{
    for (unsigned int f = 0; f < FAMILIES; f++)
        if (!spans_same(&a->families[f].usable, &b->families[f].usable))
            return false;
    return true;
}

uint64_t plan_index(const struct plan_family *family, addr_value number)
{
    size_t i = spans_find(&family->usable, number);

    if (i == family->usable.count || number > family->usable.items[i].last)
        return PLAN_NOWHERE;
    return family->base[i] + (uint64_t)(number - family->usable.items[i].first);
}

addr_value plan_number(const struct plan_family *family, uint64_t index)
{
    size_t low = 0, high = family->usable.count;

    while (high - low > 1) {
        size_t middle = (low + high) / 2;

        if (family->base[middle] <= index)
            low = middle;
        else
            high = middle;
    }
    return family->usable.items[low].first + (index - family->base[low]);
}

/* ---- What its user should know ---- */

static const char *warn_clipped(const struct pool_ranges *ranges, struct arena *arena)
{
    if (ranges->n_clipped == 1)
        return arena_printf(arena, "%s serves its first %d usable addresses only; split it to use more",
                            ranges->clipped[0].text, IPAM_CIDR_USABLE_MAX);
    return arena_printf(arena,
                        "%s and %zu more serve their first %d usable addresses only; split them "
                        "to use more",
                        ranges->clipped[0].text, ranges->n_clipped - 1, IPAM_CIDR_USABLE_MAX);
}

static const char *warn_outside(const struct pool_ranges *ranges, struct arena *arena)
{
    if (ranges->n_outside == 1)
        return arena_printf(arena, "Exclusion %s lies in no range of the pool; correct it or take it out",
                            ranges->outside[0]);
    return arena_printf(arena, "Exclusions %s and %zu more lie in no range of the pool; correct them or take them out",
                        ranges->outside[0], ranges->n_outside - 1);
}

/* "0.0.0.0/8 ("this network", RFC 791), 127.0.0.0/8 (…)" */
static const char *special_list(uint32_t rows, struct arena *arena)
{
    const char *list = "";

    for (unsigned int row = 0; row < SPECIAL_RANGES; row++)
        if (rows & UINT32_C(1) << row)
            list = arena_printf(arena, "%s%s%s (%s, %s)", list, *list ? ", " : "", special_ranges[row].text,
                                special_ranges[row].what, special_ranges[row].source);
    return list;
}

void plan_warnings(const struct plan *plan, struct arena *arena, struct string_list *ret)
{
    const struct pool_ranges *ranges = &plan->ranges;
    const char **items;
    size_t count = 0;

    *ret = (struct string_list){0};
    if (!ranges->n_clipped && !ranges->n_outside && !ranges->left_out && !ranges->served)
        return;
    items = arena_alloc(arena, PLAN_WARNINGS_MAX * sizeof(*items));
    if (ranges->n_clipped)
        items[count++] = warn_clipped(ranges, arena);
    if (ranges->n_outside)
        items[count++] = warn_outside(ranges, arena);
    if (ranges->left_out)
        items[count++] = arena_printf(arena, "Addresses that can't be virtual IPs are left out: %s",
                                      special_list(ranges->left_out, arena));
    if (ranges->served)
        items[count++] = arena_printf(arena, "Hosts and routers may not accept addresses of %s",
                                      special_list(ranges->served, arena));
    *ret = (struct string_list){items, count};
}

const char *plan_message(const struct plan *plan, struct arena *arena)
{
    struct string_list warnings;
    const char *message = "";

    plan_warnings(plan, arena, &warnings);
    for (size_t i = 0; i < warnings.count; i++)
        message = arena_printf(arena, "%s%s%s", message, *message ? ". " : "", warnings.items[i]);
    return message;
}
