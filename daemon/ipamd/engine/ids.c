#include "internal.h"

#define IDS_FIRST  256
#define GONE_LEAST 256 /* not worth closing up for */
#define STEP_ENTRIES \
    4 /* that each removal closes up: an array half of which is gone is done before it has grown by half */

static uint64_t id_at(const struct engine *engine, size_t index)
{
    uintptr_t entry = engine->ids[index];

    return entry & 1 ? entry >> 1 : ((const struct claim *)entry)->id;
}

/* Index of the first above id in the part, before or behind the gap, that id belongs to; perhaps the end of the part. */
static size_t ids_above(const struct engine *engine, uint64_t id)
{
    bool behind = engine->ids_from < engine->n_ids && id_at(engine, engine->ids_from) <= id;
    size_t low = behind ? engine->ids_from : 0, high = behind ? engine->n_ids : engine->ids_to;

    while (low < high) {
        size_t middle = (low + high) / 2;

        if (id_at(engine, middle) <= id)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

size_t claims_after(const struct engine *engine, uint64_t id)
{
    size_t index = ids_above(engine, id);

    return index == engine->ids_to ? engine->ids_from : index;
}

struct claim *claim_by_id(const struct engine *engine, uint64_t id)
{
    size_t index = engine->n_ids;

    if (index && id_at(engine, index - 1) > id) /* replay comes with new ones mostly */
        index = ids_above(engine, id);
    return index && id_at(engine, index - 1) == id ? claim_at(engine, index - 1) : NULL;
}

static void ids_set(struct engine *engine, size_t slot, struct claim *claim)
{
    assert(slot <= UINT32_MAX);
    engine->ids[slot] = (uintptr_t)claim;
    claim->slot = (uint32_t)slot;
}

/* Moves those from ids_from on down to ids_to, `entries` of them at most: all at once would keep every caller waiting. */
static void ids_close_up(struct engine *engine, size_t entries)
{
    while (entries-- && engine->ids_from < engine->n_ids) {
        struct claim *claim = claim_at(engine, engine->ids_from++);

        if (claim)
            ids_set(engine, engine->ids_to++, claim);
        else
            engine->n_gone--;
    }
    if (engine->ids_from < engine->n_ids)
        return;
    engine->n_ids = engine->ids_to;
    engine->ids_to = engine->ids_from = 0;
}

/* One that is not the newest is back after a dry run, mostly in the place that it left. */
static void ids_insert(struct engine *engine, struct claim *claim)
{
    size_t slot = ids_above(engine, claim->id);

    if (slot && id_at(engine, slot - 1) == claim->id) {
        ids_set(engine, slot - 1, claim);
        engine->n_gone--;
        return;
    }
    if (engine->ids_from) {
        ids_close_up(engine, SIZE_MAX);
        slot = ids_above(engine, claim->id);
    }
    for (size_t i = engine->n_ids++; i > slot; i--) {
        engine->ids[i] = engine->ids[i - 1];
        if (claim_at(engine, i))
            ids_set(engine, i, claim_at(engine, i));
    }
    ids_set(engine, slot, claim);
}

/* What a dry run made is gone, but its ids are given again. */
static void ids_drop_last(struct engine *engine, uint64_t id)
{
    while (engine->n_ids && !claim_at(engine, engine->n_ids - 1) && id_at(engine, engine->n_ids - 1) >= id) {
        engine->n_ids--;
        engine->n_gone--;
        if (engine->n_ids == engine->ids_from)
            ids_close_up(engine, 0);
    }
}

void ids_add(struct engine *engine, struct claim *claim)
{
    ids_drop_last(engine, claim->id);
    if (engine->n_ids == engine->ids_capacity) {
        engine->ids_capacity = engine->ids_capacity ? engine->ids_capacity * 2 : IDS_FIRST;
        engine->ids = mem_realloc(engine->ids, engine->ids_capacity * sizeof(*engine->ids));
    }
    if (engine->n_ids && id_at(engine, engine->n_ids - 1) >= claim->id)
        ids_insert(engine, claim);
    else
        ids_set(engine, engine->n_ids++, claim);
}

/* While what happens may be taken back, the places of those that are gone are kept for them. */
void ids_remove(struct engine *engine, const struct claim *claim)
{
    bool kept = engine->batch && engine->batch->undoing;

    engine->ids[claim->slot] = claim->id << 1 | 1;
    engine->n_gone++;
    if (!kept && (engine->ids_from || (engine->n_gone >= GONE_LEAST && engine->n_gone * 2 >= engine->n_ids)))
        ids_close_up(engine, STEP_ENTRIES);
}
