#include "pool_ranges.h"

#include <stdlib.h>

#include "arena.h"

/* ---- Reading ---- */

/* An entry of cidrs or addresses, by rule 1. */
struct entry {
    const char *text;
    unsigned int family;
    struct span span;
};

struct reading {
    struct pool_ranges *ranges;
    struct entry *entries;
    size_t n_entries;
};

static struct span span_of(const struct ipam_range *range)
{
    return (struct span){addr_number(&range->first), addr_number(&range->last)};
}

static void add_edges(struct pool_family_ranges *family, const char *cidr, const struct span *all)
{
    family->edges[family->n_edges++] = (struct pool_edge){all->first, cidr, false};
    family->edges[family->n_edges++] = (struct pool_edge){all->last, cidr, true};
}

static void add_entry(struct reading *reading, const char *text, const struct ipam_range *all,
                      const struct ipam_range *hosts)
{
    unsigned int f = family_index(all->first.family);
    struct pool_family_ranges *family = &reading->ranges->families[f];
    struct span whole = span_of(all), span = span_of(hosts);

    spans_add(&family->whole, whole.first, whole.last);
    if (whole.first != span.first)
        add_edges(family, text, &whole);
    reading->entries[reading->n_entries++] = (struct entry){text, f, span};
}

static int read_cidr(struct reading *reading, const char *text, struct ipam_error *reterr)
{
    struct ipam_cidr cidr;
    struct ipam_range all, hosts;

    if (ipam_cidr_parse(text, &cidr, reterr) < 0)
        return -1;
    all = ipam_cidr_range(&cidr);
    hosts = ipam_cidr_hosts(&cidr);
    add_entry(reading, text, &all, &hosts);
    return 0;
}

static int read_addresses(struct reading *reading, const char *text, struct ipam_error *reterr)
{
    struct ipam_range range;

    if (ipam_addr_range_parse(text, &range, reterr) < 0)
        return -1;
    add_entry(reading, text, &range, &range);
    return 0;
}

static int read_excluded(struct reading *reading, const char *text, struct ipam_error *reterr)
{
    struct ipam_range range;
    struct span span;

    if (ipam_exclusion_parse(text, &range, reterr) < 0)
        return -1;
    span = span_of(&range);
    spans_add(&reading->ranges->families[family_index(range.first.family)].excluded, span.first, span.last);
    return 0;
}

static int read_fields(struct reading *reading, const struct pool_texts *texts, const char **ret_field,
                       struct ipam_error *reterr)
{
    const struct {
        const char *name;
        const char *const *items;
        size_t count;
        int (*read)(struct reading *reading, const char *text, struct ipam_error *reterr);
    } fields[] = {
        {"cidrs", texts->cidrs, texts->n_cidrs, read_cidr},
        {"addresses", texts->addresses, texts->n_addresses, read_addresses},
        {"excluded", texts->excluded, texts->n_excluded, read_excluded},
    };

    for (size_t f = 0; f < sizeof(fields) / sizeof(*fields); f++)
        for (size_t i = 0; i < fields[f].count; i++)
            if (fields[f].read(reading, fields[f].items[i], reterr) < 0) {
                *ret_field = fields[f].name;
                return -1;
            }
    return 0;
}

/* ---- Ranks: how many addresses of a set lie before another ---- */

struct ranked {
    struct spans spans; /* borrowed */
    addr_value *base;   /* addresses in the spans before each */
};

static struct ranked ranked_make(const struct spans *spans)
{
    struct ranked ranked = {*spans, mem_alloc(spans->count * sizeof(*ranked.base))};
    addr_value base = 0;

    for (size_t i = 0; i < spans->count; i++) {
        ranked.base[i] = base;
        base += spans->items[i].last - spans->items[i].first + 1;
    }
    return ranked;
}

/* Addresses of the set up to and including the number. */
static addr_value ranked_through(const struct ranked *ranked, addr_value number)
{
    size_t i = spans_find(&ranked->spans, number);
    const struct span *span = &ranked->spans.items[i];

    if (i == ranked->spans.count)
        return 0;
    return ranked->base[i] + ((number < span->last ? number : span->last) - span->first) + 1;
}

static addr_value ranked_within(const struct ranked *ranked, const struct span *span)
{
    return ranked_through(ranked, span->last) - (span->first ? ranked_through(ranked, span->first - 1) : 0);
}

/* The address of the set with that rank (from 0), or the last one when there are no so many; the set is not empty. */
static addr_value ranked_at(const struct ranked *ranked, addr_value rank)
{
    size_t low = 0, high = ranked->spans.count;
    const struct span *span;

    while (high - low > 1) {
        size_t middle = (low + high) / 2;

        if (ranked->base[middle] <= rank)
            low = middle;
        else
            high = middle;
    }
    span = &ranked->spans.items[low];
    rank -= ranked->base[low];
    return span->last - span->first < rank ? span->last : span->first + rank;
}

/* ---- The rules ---- */

/* The sets of one family, while they are worked out. */
struct sets {
    struct spans refused;  /* no virtual IP */
    struct spans allowed;  /* neither that nor excluded */
    struct spans wished;   /* rule 1 of all entries */
    struct ranked by_rank; /* of allowed */
};

static void sets_init(struct sets *sets, const struct pool_family_ranges *family, unsigned int f)
{
    static const addr_value last[FAMILIES] = {UINT32_MAX, NUMBER_MAX};
    struct span everything = {0, last[f]};
    struct spans all = {&everything, 1, 1}, virtual = {0};

    *sets = (struct sets){.refused = special_ranges_refused(f)};
    spans_subtract(&all, &sets->refused, &virtual);
    spans_subtract(&virtual, &family->excluded, &sets->allowed);
    spans_done(&virtual);
    sets->by_rank = ranked_make(&sets->allowed);
}

static void sets_done(struct sets *sets)
{
    spans_done(&sets->refused);
    spans_done(&sets->allowed);
    spans_done(&sets->wished);
    free(sets->by_rank.base);
}

static uint64_t saturate(addr_value number)
{
    return number > UINT64_MAX ? UINT64_MAX : (uint64_t)number;
}

/* Of the addresses that entries have by rule 1 and special.h. */
static uint64_t count_excluded(const struct pool_family_ranges *family, struct sets *sets)
{
    struct spans possible = {0}, left = {0};
    uint64_t count;

    spans_normalise(&sets->wished);
    spans_subtract(&sets->wished, &sets->refused, &possible);
    spans_subtract(&possible, &family->excluded, &left);
    count = saturate(spans_size(&possible) - spans_size(&left));
    spans_done(&possible);
    spans_done(&left);
    return count;
}

/* Rule 3: from the entry's first address to the last one that it may have of those allowed. False: it has none. */
static bool clip(const struct entry *entry, const struct ranked *allowed, struct span *ret)
{
    addr_value before = entry->span.first ? ranked_through(allowed, entry->span.first - 1) : 0, last;

    if (!ranked_within(allowed, &entry->span))
        return false;
    last = ranked_at(allowed, before + IPAM_CIDR_USABLE_MAX - 1);
    *ret = (struct span){entry->span.first, last < entry->span.last ? last : entry->span.last};
    return true;
}

/* The first refused range that the entry meets, if such ranges take all of it, else NULL. */
static const struct special_range *hopeless_range(const struct sets *sets, const struct entry *entry)
{
    struct span span = entry->span;
    struct spans whole = {&span, 1, 1}, left = {0};
    bool hopeless;

    spans_subtract(&whole, &sets->refused, &left);
    hopeless = !left.count;
    spans_done(&left);
    for (size_t row = 0; hopeless && row < SPECIAL_RANGES; row++)
        if (family_index(special_ranges[row].family) == entry->family && special_ranges[row].span.last >= span.first)
            return &special_ranges[row];
    return NULL;
}

/* Rows of special.h, refused or not, that the set meets; a bit each. */
static uint32_t special_met(const struct spans *spans, unsigned int family, bool refused)
{
    uint32_t rows = 0;

    for (unsigned int row = 0; row < SPECIAL_RANGES; row++)
        if (family_index(special_ranges[row].family) == family && special_ranges[row].refused == refused &&
            spans_meet(spans, &special_ranges[row].span))
            rows |= UINT32_C(1) << row;
    return rows;
}

/* An entry of which the pool has nothing. If it is no virtual IPs that is worth a word (special_met). */
static void add_hopeless(struct pool_ranges *ranges, const struct entry *entry, const struct sets *sets,
                         struct spans *expanded)
{
    const struct special_range *because = hopeless_range(sets, entry);

    if (!because)
        return;
    spans_add(expanded, entry->span.first, entry->span.last);
    if (ranges->hopeless)
        return;
    ranges->hopeless = entry->text;
    ranges->hopeless_because = because;
}

static void finish_family(struct pool_ranges *ranges, unsigned int f, struct spans *expanded, const struct sets *sets)
{
    struct pool_family_ranges *family = &ranges->families[f];
    struct spans left = {0};

    spans_normalise(expanded);
    spans_subtract(expanded, &family->excluded, &left);
    spans_subtract(&left, &sets->refused, &family->usable);
    ranges->left_out |= special_met(&left, f, true);
    ranges->served |= special_met(&family->usable, f, false);
    spans_done(&left);
    spans_done(expanded);
}

static void expand(struct reading *reading, struct sets sets[FAMILIES])
{
    struct pool_ranges *ranges = reading->ranges;
    struct spans expanded[FAMILIES] = {{0}};
    struct span kept;

    for (size_t i = 0; i < reading->n_entries; i++) {
        const struct entry *entry = &reading->entries[i];

        spans_add(&sets[entry->family].wished, entry->span.first, entry->span.last);
        if (clip(entry, &sets[entry->family].by_rank, &kept))
            spans_add(&expanded[entry->family], kept.first, kept.last);
        else
            add_hopeless(ranges, entry, &sets[entry->family], &expanded[entry->family]);
    }
    for (unsigned int f = 0; f < FAMILIES; f++)
        finish_family(ranges, f, &expanded[f], &sets[f]);
}

/* What an entry could not have may be there by another one. */
static void find_clipped(struct reading *reading, const struct sets sets[FAMILIES])
{
    struct pool_ranges *ranges = reading->ranges;
    struct ranked usable[FAMILIES];

    ranges->clipped = mem_alloc(reading->n_entries * sizeof(*ranges->clipped));
    for (unsigned int f = 0; f < FAMILIES; f++)
        usable[f] = ranked_make(&ranges->families[f].usable);
    for (size_t i = 0; i < reading->n_entries; i++) {
        const struct entry *entry = &reading->entries[i];

        if (ranked_within(&sets[entry->family].by_rank, &entry->span) >
            ranked_within(&usable[entry->family], &entry->span))
            ranges->clipped[ranges->n_clipped++] = (struct pool_clipped){entry->text, entry->family, entry->span};
    }
    for (unsigned int f = 0; f < FAMILIES; f++)
        free(usable[f].base);
}

static void find_outside(struct pool_ranges *ranges, const struct pool_texts *texts)
{
    struct ipam_range range;

    ranges->outside = mem_alloc(texts->n_excluded * sizeof(*ranges->outside));
    for (size_t i = 0; i < texts->n_excluded; i++) {
        struct span span;

        ipam_exclusion_parse(texts->excluded[i], &range, NULL);
        span = span_of(&range);
        if (!spans_meet(&ranges->families[family_index(range.first.family)].whole, &span))
            ranges->outside[ranges->n_outside++] = texts->excluded[i];
    }
}

static int edge_compare(const void *a, const void *b)
{
    const struct pool_edge *left = a, *right = b;

    return (left->number > right->number) - (left->number < right->number);
}

static void work_out(struct reading *reading, const struct pool_texts *texts)
{
    struct pool_ranges *ranges = reading->ranges;
    struct sets sets[FAMILIES];

    for (unsigned int f = 0; f < FAMILIES; f++) {
        struct pool_family_ranges *family = &ranges->families[f];

        spans_normalise(&family->whole);
        spans_normalise(&family->excluded);
        qsort(family->edges, family->n_edges, sizeof(*family->edges), edge_compare);
        sets_init(&sets[f], family, f);
    }
    expand(reading, sets);
    find_clipped(reading, sets);
    find_outside(ranges, texts);
    for (unsigned int f = 0; f < FAMILIES; f++) {
        ranges->families[f].n_excluded = count_excluded(&ranges->families[f], &sets[f]);
        sets_done(&sets[f]);
    }
}

int pool_ranges_make(const struct pool_texts *texts, struct pool_ranges *ret, const char **ret_field,
                     struct ipam_error *reterr)
{
    struct pool_ranges ranges = {0};
    struct reading reading = {.ranges = &ranges};
    int status;

    reading.entries = mem_alloc((texts->n_cidrs + texts->n_addresses) * sizeof(*reading.entries));
    for (unsigned int f = 0; f < FAMILIES; f++)
        ranges.families[f].edges = mem_alloc(2 * texts->n_cidrs * sizeof(*ranges.families[f].edges));
    status = read_fields(&reading, texts, ret_field, reterr);
    if (status < 0) {
        pool_ranges_done(&ranges);
    } else {
        work_out(&reading, texts);
        *ret = ranges;
    }
    free(reading.entries);
    return status;
}

void pool_ranges_done(struct pool_ranges *ranges)
{
    for (unsigned int f = 0; f < FAMILIES; f++) {
        spans_done(&ranges->families[f].usable);
        spans_done(&ranges->families[f].whole);
        spans_done(&ranges->families[f].excluded);
        free(ranges->families[f].edges);
    }
    free(ranges->clipped);
    free(ranges->outside);
    *ranges = (struct pool_ranges){0};
}

/* ---- One address ---- */

static bool among_first(const struct ipam_range *range, const struct ipam_addr *address)
{
    return ipam_range_contains(range, address) &&
           addr_number(address) - addr_number(&range->first) < IPAM_CIDR_USABLE_MAX;
}

bool pool_texts_had(const struct pool_texts *texts, const struct ipam_addr *address)
{
    struct ipam_cidr cidr;
    struct ipam_range range;

    for (size_t i = 0; i < texts->n_cidrs; i++) {
        if (ipam_cidr_parse(texts->cidrs[i], &cidr, NULL) < 0)
            continue;
        range = ipam_cidr_hosts(&cidr);
        if (among_first(&range, address))
            return true;
    }
    for (size_t i = 0; i < texts->n_addresses; i++)
        if (!ipam_addr_range_parse(texts->addresses[i], &range, NULL) && among_first(&range, address))
            return true;
    return false;
}

static const char *clipped_entry(const struct pool_ranges *ranges, unsigned int family, addr_value number)
{
    for (size_t i = 0; i < ranges->n_clipped; i++) {
        const struct pool_clipped *clipped = &ranges->clipped[i];

        if (clipped->family == family && clipped->span.first <= number && number <= clipped->span.last)
            return clipped->text;
    }
    return NULL;
}

enum pool_place pool_ranges_place(const struct pool_ranges *ranges, const struct ipam_addr *address,
                                  const char **ret_entry)
{
    unsigned int f = family_index(address->family);
    const struct pool_family_ranges *family = &ranges->families[f];
    addr_value number = addr_number(address);
    const struct special_range *special = special_range_find(address);
    const struct pool_edge key = {.number = number}, *edge;
    const char *ignored, **entry = ret_entry ? ret_entry : &ignored;

    *entry = NULL;
    if (!spans_contain(&family->whole, number))
        return POOL_OUTSIDE;
    if (spans_contain(&family->usable, number))
        return POOL_USABLE;
    if (spans_contain(&family->excluded, number))
        return POOL_EXCLUDED;
    if (special && special->refused)
        return POOL_SPECIAL;
    edge = bsearch(&key, family->edges, family->n_edges, sizeof(key), edge_compare);
    *entry = edge ? edge->cidr : clipped_entry(ranges, f, number);
    if (edge)
        return edge->broadcast ? POOL_BROADCAST : POOL_NETWORK;
    return POOL_PAST_LIMIT;
}
