#include "map.h"

#include <stdlib.h>
#include <string.h>

#include "json_message.h"
#include "pool_ranges.h"
#include "views.h"

#define COLLECTED_MAX 16                         /* a range of addresses larger than this is a block of its own */
#define DRAWN_MAX     (2 * IPAM_CIDR_USABLE_MAX) /* of a block that is larger, excluded addresses are not drawn */

static const char *const state_names[MAP_STATES] = {
    [MAP_FREE] = "free",         [MAP_HELD] = "held",         [MAP_MANUAL] = "manual",    [MAP_COOLING] = "cooling",
    [MAP_EXCLUDED] = "excluded", [MAP_RESERVED] = "reserved", [MAP_ORPHANED] = "orphaned"};

const char *map_state_name(enum map_state state)
{
    return state_names[state];
}

struct maker {
    struct arena *arena;
    struct map_block *blocks;
    size_t n_blocks;
    struct pool_ranges ranges;
    struct spans refused[FAMILIES]; /* special.h */
    struct ipam_range *drawn;       /* of all blocks so far: an address is drawn once */
    size_t n_drawn;
};

/* ---- Ranges --------------------------------------------------------------------------------------------------------- */

static struct ipam_range range_of(enum ipam_family family, const struct span *span)
{
    return (struct ipam_range){addr_make(family, span->first), addr_make(family, span->last)};
}

/* The part that both have. false: none. */
static bool range_meet(const struct ipam_range *a, const struct ipam_range *b, struct ipam_range *ret)
{
    if (a->first.family != b->first.family)
        return false;
    ret->first = ipam_addr_compare(&a->first, &b->first) > 0 ? a->first : b->first;
    ret->last = ipam_addr_compare(&a->last, &b->last) < 0 ? a->last : b->last;
    return ipam_addr_compare(&ret->first, &ret->last) <= 0;
}

/* Index of an address within the span, which has it. The halves wrap as they should. */
static size_t span_index(const struct map_span *span, const struct ipam_addr *address)
{
    return (size_t)(address->lo - span->range.first.lo);
}

/* Makes addresses of the range that are `from` into `to`. */
static void paint(struct map_span *span, const struct ipam_range *range, enum map_state from, enum map_state to)
{
    struct ipam_range both;

    if (!range_meet(&span->range, range, &both))
        return;
    for (size_t i = span_index(span, &both.first); i <= span_index(span, &both.last); i++)
        span->states[i] = span->states[i] == from ? (uint8_t)to : span->states[i];
}

static void paint_all(struct map_span *span, const struct ipam_range *hosts, const struct spans *spans,
                      enum map_state from, enum map_state to)
{
    for (size_t i = 0; i < spans->count; i++) {
        struct ipam_range range = range_of(hosts->first.family, &spans->items[i]), both;
        if (range_meet(hosts, &range, &both))
            paint(span, &both, from, to);
    }
}

/* A span of what `drawn` has; `hosts`: by its entry. What is left out of these is reserved, what an earlier block has is not
 * drawn again, and neither is what lies past the limit. */
static void span_make(struct maker *maker, const struct ipam_range *drawn, const struct ipam_range *hosts,
                      struct map_span *ret)
{
    unsigned int f = family_index(hosts->first.family);
    const struct pool_family_ranges *family = &maker->ranges.families[f];

    *ret = (struct map_span){.range = *drawn, .size = (size_t)ipam_range_size(drawn)};
    ret->states = arena_alloc(maker->arena, ret->size);
    memset(ret->states, MAP_RESERVED, ret->size);
    paint(ret, hosts, MAP_RESERVED, MAP_NOTHING);
    paint_all(ret, hosts, &maker->refused[f], MAP_NOTHING, MAP_RESERVED);
    paint_all(ret, hosts, &family->excluded, MAP_NOTHING, MAP_EXCLUDED);
    paint_all(ret, hosts, &family->usable, MAP_NOTHING, MAP_FREE);
    for (size_t i = 0; i < maker->n_drawn; i++) {
        paint(ret, &maker->drawn[i], MAP_FREE, MAP_NOTHING);
        paint(ret, &maker->drawn[i], MAP_EXCLUDED, MAP_NOTHING);
    }
}

/* A few cells at most, however many addresses. */
static uint32_t cell_size(size_t addresses)
{
    uint32_t size = 1;
    while (addresses > 0 && (addresses - 1) / size > MAP_CELLS_MAX)
        size *= 2;
    return addresses <= MAP_CELLS_MAX ? 1 : size;
}

static void add_block(struct maker *maker, const char *heading, struct map_span *spans, size_t n_spans, bool clipped)
{
    size_t n_cells = 0;

    for (size_t i = 0; i < n_spans; i++)
        n_cells += spans[i].size;
    maker->blocks[maker->n_blocks++] = (struct map_block){
        .heading = heading, .spans = spans, .n_spans = n_spans, .clipped = clipped, .per_cell = cell_size(n_cells)};
}

/* ---- Blocks --------------------------------------------------------------------------------------------------------- */

/* Entries that serve only a part are drawn up to the last address that the pool has of them. */
static bool cut(const struct maker *maker, const char *text, const struct ipam_range *hosts, struct ipam_range *drawn)
{
    const struct spans *usable = &maker->ranges.families[family_index(hosts->first.family)].usable;
    size_t last = spans_find(usable, addr_number(&hosts->last));
    bool clipped = false;

    for (size_t i = 0; i < maker->ranges.n_clipped; i++)
        clipped |= maker->ranges.clipped[i].text == text;
    if (clipped && last < usable->count)
        drawn->last = range_of(hosts->first.family, &usable->items[last]).last;
    return clipped;
}

/* Of a range that is too large to draw only what the pool has of it. */
static size_t make_pieces(struct maker *maker, const struct ipam_range *hosts, struct map_span **ret)
{
    const struct spans *usable = &maker->ranges.families[family_index(hosts->first.family)].usable;
    struct map_span *pieces = arena_alloc(maker->arena, (usable->count + 1) * sizeof(*pieces));
    size_t count = 0;

    for (size_t i = 0; i < usable->count; i++) {
        struct ipam_range range = range_of(hosts->first.family, &usable->items[i]), piece;
        if (range_meet(hosts, &range, &piece))
            span_make(maker, &piece, hosts, &pieces[count++]);
    }
    *ret = pieces;
    return count;
}

/* A block of its own, for one entry. */
static void add_entry(struct maker *maker, const char *text, const char *heading, const struct ipam_range *all,
                      const struct ipam_range *hosts)
{
    struct map_span *spans = arena_alloc(maker->arena, sizeof(*spans));
    struct ipam_range drawn = *all;
    bool clipped = cut(maker, text, hosts, &drawn);
    size_t count = ipam_range_size(&drawn) > DRAWN_MAX ? make_pieces(maker, hosts, &spans) : 0;

    if (count == 0) {
        if (ipam_range_size(&drawn) > DRAWN_MAX) /* nothing of it is the pool's: a sample */
            drawn.last = ipam_addr_add(&drawn.first, MAP_CELLS_MAX - 1);
        span_make(maker, &drawn, hosts, spans);
        count = 1;
    }
    add_block(maker, heading, spans, count, clipped);
    maker->drawn[maker->n_drawn++] = *hosts;
}

static int add_cidr(struct maker *maker, const char *text, struct ipam_error *reterr)
{
    struct ipam_range all, hosts;
    struct ipam_cidr cidr;

    if (ipam_cidr_parse(text, &cidr, reterr) < 0)
        return -1;
    all = ipam_cidr_range(&cidr);
    hosts = ipam_cidr_hosts(&cidr);
    add_entry(maker, text, arena_strdup(maker->arena, text), &all, &hosts);
    return 0;
}

static int compare_ranges(const void *a, const void *b)
{
    const struct ipam_range *left = a, *right = b;
    return ipam_addr_compare(&left->first, &right->first);
}

/* Sorted, and those that touch made one. */
static size_t merge_ranges(struct ipam_range *ranges, size_t count)
{
    size_t kept = 0;

    if (count > 1)
        qsort(ranges, count, sizeof(*ranges), compare_ranges);
    for (size_t i = 0; i < count; i++) {
        struct ipam_addr after;
        if (kept > 0)
            after = ipam_addr_add(&ranges[kept - 1].last, 1);
        if (kept == 0 || ranges[kept - 1].last.family != ranges[i].first.family ||
            (ipam_addr_compare(&ranges[i].first, &after) > 0 &&
             !ipam_range_contains(&ranges[kept - 1], &ranges[i].first)))
            ranges[kept++] = ranges[i];
        else if (ipam_addr_compare(&ranges[i].last, &ranges[kept - 1].last) > 0)
            ranges[kept - 1].last = ranges[i].last;
    }
    return kept;
}

/* Large ranges are blocks of their own, the others stand together in the last one. */
static void add_ranges(struct maker *maker, const struct ipam_range *ranges, size_t count)
{
    struct map_span *spans = arena_alloc(maker->arena, (count + 1) * sizeof(*spans)), *single = spans;
    char text[IPAM_RANGE_TEXT_MAX];

    for (size_t i = 0; i < count; i++) {
        const char *heading;
        if (ipam_range_size(&ranges[i]) <= COLLECTED_MAX) {
            span_make(maker, &ranges[i], &ranges[i], single++);
            continue;
        }
        heading = arena_strdup(maker->arena, ipam_range_format(&ranges[i], text));
        add_entry(maker, "", heading, &ranges[i], &ranges[i]);
    }
    if (single > spans)
        add_block(maker, "addresses", spans, (size_t)(single - spans), false);
}

/* A range that serves only a part is drawn alone, the others as far as they touch. */
static int add_addresses(struct maker *maker, const Ipam__V1__PoolSpec *spec, struct ipam_error *reterr)
{
    struct ipam_range *ranges = arena_alloc(maker->arena, (spec->n_addresses + 1) * sizeof(*ranges)), range;
    size_t count = 0;

    for (size_t i = 0; i < spec->n_addresses; i++) {
        if (ipam_addr_range_parse(spec->addresses[i], &range, reterr) < 0)
            return -1;
        if (ipam_range_size(&range) > IPAM_CIDR_USABLE_MAX)
            add_entry(maker, spec->addresses[i], arena_strdup(maker->arena, spec->addresses[i]), &range, &range);
        else
            ranges[count++] = range;
    }
    add_ranges(maker, ranges, merge_ranges(ranges, count));
    return 0;
}

/* ---- Claims --------------------------------------------------------------------------------------------------------- */

struct mark {
    struct ipam_addr address;
    enum map_state state;
    bool through_pool, drawn;
};

static int compare_marks(const void *a, const void *b)
{
    return ipam_addr_compare(&((const struct mark *)a)->address, &((const struct mark *)b)->address);
}

static struct mark *make_marks(struct arena *arena, const char *pool, const Ipam__V1__Claim *const *claims,
                               size_t count, size_t *ret_count)
{
    struct mark *marks = arena_alloc(arena, (count + 1) * sizeof(*marks));
    size_t n = 0;

    for (size_t i = 0; i < count; i++) {
        struct mark mark = {.through_pool = strcmp(claims[i]->pool, pool) == 0};
        bool bound = claims[i]->state == IPAM__V1__CLAIM_STATE__BOUND;
        if ((!bound && claims[i]->state != IPAM__V1__CLAIM_STATE__COOLING) ||
            ipam_addr_parse(claims[i]->address, &mark.address, NULL) < 0)
            continue;
        mark.state = !bound ? MAP_COOLING : claims[i]->pool[0] == '\0' ? MAP_MANUAL : MAP_HELD;
        marks[n++] = mark;
    }
    if (n > 1)
        qsort(marks, n, sizeof(*marks), compare_marks);
    *ret_count = n;
    return marks;
}

/* The first mark that does not lie before the address. */
static size_t marks_from(const struct mark *marks, size_t count, const struct ipam_addr *address)
{
    size_t low = 0, high = count;

    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (ipam_addr_compare(&marks[middle].address, address) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

/* Over free cells first; a claim that has none may lie on an excluded or reserved one. */
static void mark_span(struct map_span *span, struct mark *marks, size_t count, bool over_free)
{
    for (size_t i = marks_from(marks, count, &span->range.first);
         i < count && ipam_range_contains(&span->range, &marks[i].address); i++) {
        uint8_t *cell = &span->states[span_index(span, &marks[i].address)];
        if (marks[i].drawn || (*cell == MAP_FREE) != over_free || *cell == MAP_NOTHING)
            continue;
        if (!over_free && (marks[i].state == MAP_COOLING || (marks[i].state == MAP_HELD && !marks[i].through_pool)))
            continue;
        *cell = !over_free && marks[i].state == MAP_HELD ? MAP_ORPHANED : (uint8_t)marks[i].state;
        marks[i].drawn = true;
    }
}

static void mark_all(struct maker *maker, struct mark *marks, size_t count)
{
    for (int over_free = 1; over_free >= 0; over_free--) {
        for (size_t b = 0; b < maker->n_blocks; b++) {
            for (size_t s = 0; s < maker->blocks[b].n_spans; s++)
                mark_span((struct map_span *)(uintptr_t)&maker->blocks[b].spans[s], marks, count, over_free != 0);
        }
    }
}

/* ---- All ------------------------------------------------------------------------------------------------------------ */

static void count_cells(struct map_block *block, uint64_t totals[MAP_STATES])
{
    for (size_t s = 0; s < block->n_spans; s++) {
        for (size_t i = 0; i < block->spans[s].size; i++)
            block->counts[block->spans[s].states[i]]++;
    }
    for (size_t i = 0; i < MAP_STATES; i++)
        totals[i] += block->counts[i];
}

static int make_blocks(struct maker *maker, const Ipam__V1__PoolSpec *spec, struct ipam_error *reterr)
{
    size_t most = spec->n_cidrs + spec->n_addresses + 1;

    maker->blocks = arena_alloc(maker->arena, most * sizeof(*maker->blocks));
    maker->drawn = arena_alloc(maker->arena, most * sizeof(*maker->drawn));
    for (size_t i = 0; i < spec->n_cidrs; i++) {
        if (add_cidr(maker, spec->cidrs[i], reterr) < 0)
            return -1;
    }
    return add_addresses(maker, spec, reterr);
}

static int make_all(struct maker *maker, const Ipam__V1__PoolSpec *spec, struct ipam_error *reterr)
{
    const struct pool_texts texts = {(const char *const *)spec->cidrs,
                                     (const char *const *)spec->addresses,
                                     (const char *const *)spec->excluded,
                                     spec->n_cidrs,
                                     spec->n_addresses,
                                     spec->n_excluded};
    const char *field;

    if (pool_ranges_make(&texts, &maker->ranges, &field, reterr) < 0)
        return -1;
    for (unsigned int f = 0; f < FAMILIES; f++)
        maker->refused[f] = special_ranges_refused(f);
    int result = make_blocks(maker, spec, reterr);
    for (unsigned int f = 0; f < FAMILIES; f++)
        spans_done(&maker->refused[f]);
    pool_ranges_done(&maker->ranges);
    return result;
}

int map_make(struct arena *arena, const Ipam__V1__Pool *pool, const Ipam__V1__Claim *const *claims, size_t count,
             struct map *ret, struct ipam_error *reterr)
{
    static const Ipam__V1__PoolSpec none = IPAM__V1__POOL_SPEC__INIT;
    const Ipam__V1__PoolSpec *spec = pool->spec == NULL ? &none : pool->spec;
    struct maker maker = {.arena = arena};
    size_t n_marks;

    if (make_all(&maker, spec, reterr) < 0)
        return -1;
    struct mark *marks = make_marks(arena, spec->name, claims, count, &n_marks);
    mark_all(&maker, marks, n_marks);
    *ret = (struct map){
        .pool = spec->name, .state = view_pool_state(pool), .blocks = maker.blocks, .n_blocks = maker.n_blocks};
    for (size_t i = 0; i < maker.n_blocks; i++)
        count_cells(&maker.blocks[i], ret->counts);
    for (size_t i = 0; i < n_marks; i++)
        ret->orphaned_elsewhere += marks[i].through_pool && !marks[i].drawn && marks[i].state == MAP_HELD;
    return 0;
}

/* ---- JSON ----------------------------------------------------------------------------------------------------------- */

static json_t *counts_json(const uint64_t counts[MAP_STATES])
{
    json_t *object = json_object();
    for (size_t i = MAP_FREE; i < MAP_STATES; i++)
        json_object_set_new(object, state_names[i], json_sprintf("%llu", (unsigned long long)counts[i]));
    return object;
}

static json_t *run_json(const struct map_span *span, size_t first, size_t last)
{
    struct ipam_addr from = ipam_addr_add(&span->range.first, first), to = ipam_addr_add(&span->range.first, last);
    char from_text[IPAM_ADDR_TEXT_MAX], to_text[IPAM_ADDR_TEXT_MAX];

    return json_pack("{s:s, s:s, s:s}", "first", ipam_addr_format(&from, from_text), "last",
                     ipam_addr_format(&to, to_text), "state", state_names[span->states[first]]);
}

/* Neighbours of one state are one run. */
static void add_runs(json_t *runs, const struct map_span *span)
{
    size_t first = 0;

    for (size_t i = 1; i <= span->size; i++) {
        if (i < span->size && span->states[i] == span->states[first])
            continue;
        if (span->states[first] != MAP_NOTHING)
            json_array_append_new(runs, run_json(span, first, i - 1));
        first = i;
    }
}

static json_t *block_json(const struct map_block *block)
{
    json_t *runs = json_array();

    for (size_t i = 0; i < block->n_spans; i++)
        add_runs(runs, &block->spans[i]);
    return json_pack("{s:s, s:b, s:o, s:o}", "range", block->heading, "clipped", block->clipped, "counts",
                     counts_json(block->counts), "runs", runs);
}

json_t *map_json(const struct map *map)
{
    json_t *blocks = json_array();

    for (size_t i = 0; i < map->n_blocks; i++)
        json_array_append_new(blocks, block_json(&map->blocks[i]));
    return json_pack("{s:s, s:s, s:o, s:o, s:o}", "pool", map->pool, "state", map->state, "counts",
                     counts_json(map->counts), "orphanedElsewhere",
                     json_sprintf("%llu", (unsigned long long)map->orphaned_elsewhere), "blocks", blocks);
}
