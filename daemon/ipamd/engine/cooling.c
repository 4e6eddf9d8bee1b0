#include <stdlib.h>

#include "internal.h"

/* A binary heap, so that the next cooling to end is known at once. */

static bool ends_before(const struct claim *a, const struct claim *b)
{
    if (a->cooling->until != b->cooling->until)
        return a->cooling->until < b->cooling->until;
    return a->id < b->id;
}

static void heap_set(struct engine *engine, size_t index, struct claim *claim)
{
    engine->heap[index] = claim;
    claim->cooling->heap_index = index;
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

void cooling_start(struct engine *engine, struct claim *claim, int64_t until)
{
    if (engine->n_heap == engine->heap_capacity) {
        engine->heap_capacity = engine->heap_capacity ? engine->heap_capacity * 2 : 64;
        engine->heap = mem_realloc(engine->heap, engine->heap_capacity * sizeof(*engine->heap));
    }
    claim->cooling = slab_alloc(&engine->slab, sizeof(*claim->cooling));
    claim->cooling->until = until;
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
