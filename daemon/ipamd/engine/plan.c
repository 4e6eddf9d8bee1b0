#include <stdlib.h>

#include "internal.h"

#define NUMBER_MAX (~(addr_value)0)

/* ---- Spans ---- */

static void spans_add(struct spans *spans, addr_value first, addr_value last)
{
    if (spans->count == spans->capacity) {
        spans->capacity = spans->capacity ? spans->capacity * 2 : 4;
        spans->items = mem_realloc(spans->items, spans->capacity * sizeof(*spans->items));
    }
    spans->items[spans->count++] = (struct span){first, last};
}

static void spans_done(struct spans *spans)
{
    free(spans->items);
    *spans = (struct spans){0};
}

static int span_compare(const void *a, const void *b)
{
    const struct span *left = a, *right = b;

    return (left->first > right->first) - (left->first < right->first);
}

/* Sorts, and joins what overlaps or touches. */
static void spans_normalise(struct spans *spans)
{
    size_t kept = 0;

    if (!spans->count)
        return;
    qsort(spans->items, spans->count, sizeof(*spans->items), span_compare);
    for (size_t i = 1; i < spans->count; i++) {
        struct span *last = &spans->items[kept], *next = &spans->items[i];

        if (last->last == NUMBER_MAX || next->first <= last->last + 1) {
            if (next->last > last->last)
                last->last = next->last;
        } else {
            spans->items[++kept] = *next;
        }
    }
    spans->count = kept + 1;
}

/* Puts what is left of `from` without `without` (both normalised) into *ret. */
static void spans_subtract(const struct spans *from, const struct spans *without, struct spans *ret)
{
    size_t w = 0;

    for (size_t i = 0; i < from->count; i++) {
        addr_value first = from->items[i].first, last = from->items[i].last;
        bool left = true;

        while (w < without->count && without->items[w].last < first)
            w++;
        for (size_t n = w; left && n < without->count && without->items[n].first <= last; n++) {
            if (without->items[n].first > first)
                spans_add(ret, first, without->items[n].first - 1);
            left = without->items[n].last < last;
            first = left ? without->items[n].last + 1 : first;
        }
        if (left)
            spans_add(ret, first, last);
    }
}

/* The last span that begins at or before the number; count when there is none. */
static size_t spans_find(const struct spans *spans, addr_value number)
{
    size_t low = 0, high = spans->count;

    while (low < high) {
        size_t middle = (low + high) / 2;

        if (spans->items[middle].first <= number)
            low = middle + 1;
        else
            high = middle;
    }
    return low ? low - 1 : spans->count;
}

bool spans_contain(const struct spans *spans, addr_value number)
{
    size_t i = spans_find(spans, number);

    return i < spans->count && number <= spans->items[i].last;
}

static uint64_t spans_size(const struct spans *spans)
{
    uint64_t size = 0;

    for (size_t i = 0; i < spans->count; i++)
        size += (uint64_t)(spans->items[i].last - spans->items[i].first) + 1;
    return size;
}

/* ---- Reading a spec ---- */

/* What the entries of one field mean, by family. */
struct reading {
    struct plan *plan;
    struct spans expanded[FAMILIES];
};

static void reading_expand(struct reading *reading, struct ipam_range range, const char *text, bool clipped)
{
    if (ipam_range_size(&range) > IPAM_CIDR_USABLE_MAX) {
        range.last = ipam_addr_add(&range.first, IPAM_CIDR_USABLE_MAX - 1);
        clipped = true;
    }
    if (clipped)
        reading->plan->clipped[reading->plan->n_clipped++] = text;
    spans_add(&reading->expanded[family_index(range.first.family)], addr_number(&range.first),
              addr_number(&range.last));
}

static int read_cidr(struct reading *reading, const char *text, struct ipam_error *reterr)
{
    struct ipam_cidr cidr;
    struct ipam_range range;
    bool clipped;

    if (ipam_cidr_parse(text, &cidr, reterr) < 0)
        return -1;
    range = ipam_cidr_usable(&cidr, &clipped);
    reading_expand(reading, range, text, clipped);
    return 0;
}

static int read_addresses(struct reading *reading, const char *text, struct ipam_error *reterr)
{
    struct ipam_range range;

    if (ipam_addr_range_parse(text, &range, reterr) < 0)
        return -1;
    reading_expand(reading, range, text, false);
    return 0;
}

static int read_excluded(struct reading *reading, const char *text, struct ipam_error *reterr)
{
    struct ipam_range range;

    if (ipam_exclusion_parse(text, &range, reterr) < 0)
        return -1;
    spans_add(&reading->plan->families[family_index(range.first.family)].excluded, addr_number(&range.first),
              addr_number(&range.last));
    return 0;
}

typedef int (*entry_reader)(struct reading *reading, const char *text, struct ipam_error *reterr);

static int read_field(struct reading *reading, const char *name, const char *field, const struct string_list *list,
                      entry_reader read, struct ipam_error *reterr)
{
    struct ipam_error error;

    for (size_t i = 0; i < list->count; i++) {
        if (!read(reading, list->items[i], &error))
            continue;
        ipam_error_set(reterr, IPAM_REASON_INVALID_POOL_SPEC, "invalid pool spec: %s: %s: %s", name, field,
                       error.message);
        ipam_error_add(reterr, "pool", name);
        return -1;
    }
    return 0;
}

static void finish_family(struct plan_family *family, struct spans *expanded)
{
    spans_normalise(expanded);
    spans_normalise(&family->excluded);
    spans_subtract(expanded, &family->excluded, &family->usable);
    family->base = mem_alloc(family->usable.count * sizeof(*family->base));
    for (size_t i = 0; i < family->usable.count; i++) {
        family->base[i] = family->capacity;
        family->capacity += (uint64_t)(family->usable.items[i].last - family->usable.items[i].first) + 1;
    }
    family->n_excluded = spans_size(expanded) - family->capacity;
}

static int check_capacity(const char *name, const struct plan *plan, struct ipam_error *reterr)
{
    uint64_t capacity = plan->families[0].capacity + plan->families[1].capacity;

    if (capacity <= ENGINE_POOL_CAPACITY_MAX)
        return 0;
    ipam_error_set(reterr, IPAM_REASON_INVALID_POOL_SPEC,
                   "invalid pool spec: %s: %llu addresses are more than a pool may have (%u); split "
                   "it into several pools",
                   name, (unsigned long long)capacity, ENGINE_POOL_CAPACITY_MAX);
    ipam_error_add(reterr, "pool", name);
    return -1;
}

static int check_not_empty(const char *name, const struct pool_spec *spec, struct ipam_error *reterr)
{
    if (spec->cidrs.count || spec->addresses.count)
        return 0;
    ipam_error_set(reterr, IPAM_REASON_INVALID_POOL_SPEC,
                   "invalid pool spec: %s has neither cidrs nor addresses; write at least one, such "
                   "as cidrs: [\"10.200.0.0/24\"]",
                   name);
    ipam_error_add(reterr, "pool", name);
    return -1;
}

int plan_make(const char *name, const struct pool_spec *spec, struct plan *ret, struct ipam_error *reterr)
{
    struct plan plan = {0};
    struct reading reading = {.plan = &plan};
    int status = check_not_empty(name, spec, reterr);

    plan.clipped = mem_alloc((spec->cidrs.count + spec->addresses.count) * sizeof(*plan.clipped));
    if (!status)
        status = read_field(&reading, name, "cidrs", &spec->cidrs, read_cidr, reterr);
    if (!status)
        status = read_field(&reading, name, "addresses", &spec->addresses, read_addresses, reterr);
    if (!status)
        status = read_field(&reading, name, "excluded", &spec->excluded, read_excluded, reterr);
    for (unsigned int f = 0; f < FAMILIES; f++) {
        if (!status)
            finish_family(&plan.families[f], &reading.expanded[f]);
        spans_done(&reading.expanded[f]);
    }
    if (!status)
        status = check_capacity(name, &plan, reterr);
    if (status)
        plan_done(&plan);
    else
        *ret = plan;
    return status;
}

void plan_done(struct plan *plan)
{
    for (unsigned int f = 0; f < FAMILIES; f++) {
        spans_done(&plan->families[f].usable);
        spans_done(&plan->families[f].excluded);
        free(plan->families[f].base);
    }
    free(plan->clipped);
    *plan = (struct plan){0};
}

bool plan_same(const struct plan *a, const struct plan *b)
{
    for (unsigned int f = 0; f < FAMILIES; f++) {
        const struct spans *left = &a->families[f].usable, *right = &b->families[f].usable;

        if (left->count != right->count)
            return false;
        for (size_t i = 0; i < left->count; i++)
            if (left->items[i].first != right->items[i].first || left->items[i].last != right->items[i].last)
                return false;
    }
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
