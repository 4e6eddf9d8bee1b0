#include "pipeline.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

/* ---- Entries ----------------------------------------------------------------------------------------------------- */

static struct entry *entry_new(struct pipeline *pipeline)
{
    struct entry *entry = pipeline->spare;
    pipeline->spare = NULL;
    if (!entry) {
        entry = mem_zalloc(sizeof *entry);
        changes_init(&entry->changes);
    }
    entry->next = NULL;
    return entry;
}

static void entry_free(struct entry *entry)
{
    if (entry)
        changes_done(&entry->changes);
    free(entry);
}

/* The memory of one is kept, but not that of a large one. */
static void entry_release(struct pipeline *pipeline, struct entry *entry)
{
    changes_reset(&entry->changes);
    if (pipeline->spare || entry->changes.capacity * sizeof *entry->changes.items > PIPELINE_COMMIT_BYTES) {
        entry_free(entry);
        return;
    }
    pipeline->spare = entry;
}

static void entry_begin(struct pipeline *pipeline)
{
    struct entry *entry = entry_new(pipeline);
    if (pipeline->last) {
        pipeline->gathered += changes_bytes(&pipeline->last->changes);
        pipeline->last->next = entry;
    } else {
        pipeline->first = entry;
    }
    pipeline->last = entry;
}

/* All that has gathered is undone. */
static void entries_drop(struct pipeline *pipeline)
{
    while (pipeline->first) {
        struct entry *next = pipeline->first->next;
        entry_release(pipeline, pipeline->first);
        pipeline->first = next;
    }
    pipeline->last = NULL;
    pipeline->gathered = 0;
    entry_begin(pipeline);
}

static size_t bytes_waiting(const struct pipeline *pipeline)
{
    return pipeline->gathered + (pipeline->last->changes.count ? changes_bytes(&pipeline->last->changes) : 0);
}

struct changes *pipeline_gather(struct pipeline *pipeline)
{
    struct changes *last = &pipeline->last->changes;
    if (changes_bytes(last) >= PIPELINE_COMMIT_BYTES) {
        if (last->count > 0)
            entry_begin(pipeline);
        else
            changes_reset(last); /* nothing but what refused decisions left */
    }
    return &pipeline->last->changes;
}

/* ---- Life and state ---------------------------------------------------------------------------------------------- */

void pipeline_init(struct pipeline *pipeline, struct engine *engine, struct writer *writer, size_t max_gathered,
                   const struct ipam_error *trouble, void (*on_state)(void *), void *user)
{
    *pipeline = (struct pipeline){
        .engine = engine,
        .writer = writer,
        .max_gathered = max_gathered,
        .state = trouble ? PIPELINE_DEGRADED : PIPELINE_SERVING,
        .durable = engine_revision(engine),
        .on_state = on_state,
        .user = user,
    };
    if (trouble)
        pipeline->error = *trouble;
    entry_begin(pipeline);
    pipeline->waiters.next = pipeline->waiters.prev = &pipeline->waiters;
}

void pipeline_done(struct pipeline *pipeline)
{
    assert(pipeline->waiters.next == &pipeline->waiters);
    entries_drop(pipeline);
    entry_free(pipeline->first);
    entry_free(pipeline->writing);
    entry_free(pipeline->spare);
    pipeline->engine = engine_free(pipeline->engine);
}

static void state_set(struct pipeline *pipeline, enum pipeline_state state)
{
    if (pipeline->state == state)
        return;
    pipeline->state = state;
    pipeline->on_state(pipeline->user);
}

static int check_room(const struct pipeline *pipeline, struct ipam_error *reterr)
{
    size_t waiting = bytes_waiting(pipeline);
    if (waiting < pipeline->max_gathered)
        return 0;
    return ipam_error_set(
        reterr, IPAM_REASON_STORE_UNAVAILABLE,
        "the disk does not keep up: %zu bytes of changes wait for it, and --max-gathered is %zu; nothing "
        "is taken until half of them are written",
        waiting, pipeline->max_gathered);
}

int pipeline_writable(const struct pipeline *pipeline, struct ipam_error *reterr)
{
    if (pipeline->state == PIPELINE_SERVING)
        return check_room(pipeline, reterr);
    *reterr = pipeline->error;
    return -1;
}

/* ---- Waiters ----------------------------------------------------------------------------------------------------- */

void pipeline_forget(struct waiter *waiter)
{
    if (!waiter->next)
        return;
    waiter->prev->next = waiter->next;
    waiter->next->prev = waiter->prev;
    waiter->next = waiter->prev = NULL;
}

void pipeline_wait(struct pipeline *pipeline, struct waiter *waiter, uint64_t revision)
{
    assert(!waiter->next);
    if (revision <= pipeline->durable) {
        waiter->done(waiter, NULL);
        return;
    }
    /* Decisions come in order of revision, so the end of the ring is the place. */
    assert(pipeline->waiters.prev->revision <= revision);
    waiter->revision = revision;
    waiter->prev = pipeline->waiters.prev;
    waiter->next = &pipeline->waiters;
    waiter->prev->next = waiter->next->prev = waiter;
}

void pipeline_expire(struct pipeline *pipeline, const struct engine_ctx *ctx)
{
    struct ipam_error error;
    if (pipeline_writable(pipeline, &error) == 0)
        engine_expire(pipeline->engine, ctx);
}

/* ---- Writing ----------------------------------------------------------------------------------------------------- */

void pipeline_flush(struct pipeline *pipeline)
{
    if (pipeline->state == PIPELINE_SERVING && check_room(pipeline, &pipeline->error) < 0)
        state_set(pipeline, PIPELINE_STALLED);
    bool writes = pipeline->state == PIPELINE_SERVING || pipeline->state == PIPELINE_STALLED;
    if (pipeline->busy || !writes || pipeline->first->changes.count == 0)
        return;
    if (pipeline->first == pipeline->last)
        entry_begin(pipeline);
    pipeline->writing = pipeline->first;
    pipeline->first = pipeline->writing->next;
    pipeline->busy = true;
    writer_commit(pipeline->writer, &pipeline->writing->changes);
}

bool pipeline_idle(const struct pipeline *pipeline)
{
    return !pipeline->busy && pipeline->first->changes.count == 0;
}

static void waiters_release(struct pipeline *pipeline)
{
    struct waiter *ring = &pipeline->waiters;
    while (ring->next != ring && ring->next->revision <= pipeline->durable) {
        struct waiter *waiter = ring->next;
        pipeline_forget(waiter);
        waiter->done(waiter, NULL);
    }
}

static void waiters_fail(struct pipeline *pipeline)
{
    struct waiter *ring = &pipeline->waiters;
    while (ring->next != ring) {
        struct waiter *waiter = ring->next;
        pipeline_forget(waiter);
        waiter->done(waiter, &pipeline->error);
    }
}

static void reload_start(struct pipeline *pipeline)
{
    pipeline->busy = true;
    writer_reload(pipeline->writer);
}

static void commit_taken(struct pipeline *pipeline, const struct writer_result *result)
{
    struct entry *entry = pipeline->writing;
    const struct changes *written = &entry->changes;
    pipeline->writing = NULL;
    if (result->status == 0) {
        pipeline->durable = written->items[written->count - 1].revision;
        pipeline->counters.batches++;
        pipeline->counters.changes += written->count;
        if (pipeline->on_durable)
            pipeline->on_durable(written, result->hashes, pipeline->user);
        pipeline->gathered -= changes_bytes(written);
        entry_release(pipeline, entry);
        if (pipeline->state == PIPELINE_STALLED && bytes_waiting(pipeline) < pipeline->max_gathered / 2)
            state_set(pipeline, PIPELINE_SERVING);
        pipeline_flush(pipeline); /* the disk works on while the answers go out */
        waiters_release(pipeline);
        return;
    }
    /* What was decided since the last durable revision is undone: nobody was told of it. */
    pipeline->counters.failures++;
    pipeline->error = result->error;
    entry_release(pipeline, entry);
    entries_drop(pipeline);
    state_set(pipeline, PIPELINE_RELOADING);
    waiters_fail(pipeline);
    reload_start(pipeline);
}

static void reload_taken(struct pipeline *pipeline, const struct writer_result *result)
{
    if (result->status < 0) {
        pipeline->error = result->error;
        state_set(pipeline, PIPELINE_UNREADABLE); /* pipeline_retry tries again */
        return;
    }
    engine_free(pipeline->engine);
    pipeline->engine = result->engine;
    pipeline->durable = engine_revision(pipeline->engine);
    state_set(pipeline, PIPELINE_DEGRADED);
}

static void probe_taken(struct pipeline *pipeline, const struct writer_result *result)
{
    if (result->status < 0)
        pipeline->error = result->error;
    else
        state_set(pipeline, PIPELINE_SERVING);
}

void pipeline_take(struct pipeline *pipeline)
{
    static void (*const taken[])(struct pipeline *, const struct writer_result *) = {
        [WRITER_COMMIT] = commit_taken,
        [WRITER_RELOAD] = reload_taken,
        [WRITER_PROBE] = probe_taken,
    };
    struct writer_result result;
    while (writer_take(pipeline->writer, &result)) {
        pipeline->busy = false;
        taken[result.task](pipeline, &result);
    }
}

void pipeline_retry(struct pipeline *pipeline)
{
    if (pipeline->busy || pipeline->state == PIPELINE_SERVING || pipeline->state == PIPELINE_STALLED)
        return;
    if (pipeline->state == PIPELINE_UNREADABLE) {
        reload_start(pipeline);
        return;
    }
    pipeline->busy = true;
    writer_probe(pipeline->writer);
}
