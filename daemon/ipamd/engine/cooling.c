#include <stdlib.h>

#include "internal.h"

/* A binary heap, so that the next cooling to end is known at once. */

static bool ends_before(const struct claim *a, const struct claim *b)
{
    if (a->cooling->ends != b->cooling->ends)
        return a->cooling->ends < b->cooling->ends;
    return a->id < b->id;
}

static void heap_set(struct engine *engine, size_t index, struct claim *claim)
{
    engine->heap[index] = claim;
    claim->cooling->heap_index = (uint32_t)index;
}

static void heap_raise(struct engine *engine, size_t index, struct claim *claim)
{
    while (index && ends_before(claim, engine->heap[(index - 1) / 2])) {
        heap_set(engine, index, engine->heap[(index - 1) / 2]);
        index = (index - 1) / 2;
    }
    heap_set(engine, index, claim);
}

static void heap_lower(struct engine *engine, size_t index, struct claim *claim)
{
    for (size_t child; (child = 2 * index + 1) < engine->n_heap; index = child) {
        if (child + 1 < engine->n_heap && ends_before(engine->heap[child + 1], engine->heap[child]))
            child++;
        if (!ends_before(engine->heap[child], claim))
            break;
        heap_set(engine, index, engine->heap[child]);
    }
    heap_set(engine, index, claim);
}

void cooling_start(struct engine *engine, struct claim *claim, const struct claim_record *record)
{
    if (engine->n_heap == engine->heap_capacity) {
        engine->heap_capacity = engine->heap_capacity ? engine->heap_capacity * 2 : 64;
        engine->heap = mem_realloc(engine->heap, engine->heap_capacity * sizeof(*engine->heap));
    }
    claim->cooling = slab_alloc(&engine->slab, sizeof(*claim->cooling));
    claim->cooling->until = record->cooling_until.ns;
    claim->cooling->ends = cooling_end(record->cooling).ns;
    claim->cooling->delay = record->cooling->delay_seconds;
    heap_raise(engine, engine->n_heap++, claim);
    owner_add_cooling(claim->owner, claim);
}

void cooling_stop(struct engine *engine, struct claim *claim)
{
    size_t index = claim->cooling->heap_index;
    struct claim *last = engine->heap[--engine->n_heap];

    if (last != claim) {
        heap_lower(engine, index, last);
        heap_raise(engine, last->cooling->heap_index, last);
    }
    owner_remove_cooling(claim->owner, claim);
    slab_free(&engine->slab, claim->cooling, sizeof(*claim->cooling));
    claim->cooling = NULL;
}

const struct cooling_record *cooling_record_of(const struct engine *engine, const struct claim *claim,
                                               struct cooling_record *ret)
{
    int64_t delay;

    if (claim->state != CLAIM_COOLING)
        return NULL;
    delay = (int64_t)claim->cooling->delay * 1000000000;
    *ret = (struct cooling_record){
        .released_at = {claim->cooling->until - delay},
        .delay_seconds = claim->cooling->delay,
        .boot_time = {claim->cooling->ends - delay},
    };
    memcpy(ret->boot_id, engine->start.boot_id, sizeof(ret->boot_id));
    return ret;
}
