#include "pipeline.h"

#include <assert.h>
#include <string.h>

void pipeline_init(struct pipeline *pipeline, struct engine *engine, struct writer *writer, void (*on_state)(void *),
                   void *user)
{
    *pipeline = (struct pipeline){
        .engine = engine,
        .writer = writer,
        .durable = engine_revision(engine),
        .on_state = on_state,
        .user = user,
    };
    changes_init(&pipeline->batches[0]);
    changes_init(&pipeline->batches[1]);
    pipeline->gathering = &pipeline->batches[0];
    pipeline->waiters.next = pipeline->waiters.prev = &pipeline->waiters;
}

void pipeline_done(struct pipeline *pipeline)
{
    assert(pipeline->waiters.next == &pipeline->waiters);
    changes_done(&pipeline->batches[0]);
    changes_done(&pipeline->batches[1]);
    pipeline->engine = engine_free(pipeline->engine);
}

int pipeline_writable(const struct pipeline *pipeline, struct ipam_error *reterr)
{
    if (pipeline->state == PIPELINE_SERVING)
        return 0;
    *reterr = pipeline->error;
    return -1;
}

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
    if (pipeline->state == PIPELINE_SERVING)
        engine_expire(pipeline->engine, ctx);
}

void pipeline_flush(struct pipeline *pipeline)
{
    if (pipeline->busy || pipeline->state != PIPELINE_SERVING || pipeline->gathering->count == 0)
        return;
    pipeline->writing = pipeline->gathering;
    pipeline->gathering = pipeline->writing == &pipeline->batches[0] ? &pipeline->batches[1] : &pipeline->batches[0];
    pipeline->busy = true;
    writer_commit(pipeline->writer, pipeline->writing);
}

bool pipeline_idle(const struct pipeline *pipeline)
{
    return !pipeline->busy && pipeline->gathering->count == 0;
}

static void state_set(struct pipeline *pipeline, enum pipeline_state state)
{
    if (pipeline->state == state)
        return;
    pipeline->state = state;
    pipeline->on_state(pipeline->user);
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
    struct changes *written = pipeline->writing;
    pipeline->writing = NULL;
    if (result->status == 0) {
        pipeline->durable = written->items[written->count - 1].revision;
        pipeline->counters.batches++;
        pipeline->counters.changes += written->count;
        if (pipeline->on_durable)
            pipeline->on_durable(written, result->hashes, pipeline->user);
        changes_reset(written);
        pipeline_flush(pipeline); /* the disk works on while the answers go out */
        waiters_release(pipeline);
        return;
    }
    /* What was decided since the last durable revision is undone: nobody was told of it. */
    pipeline->counters.failures++;
    pipeline->error = result->error;
    changes_reset(written);
    changes_reset(pipeline->gathering);
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
    if (pipeline->busy || pipeline->state == PIPELINE_SERVING)
        return;
    if (pipeline->state == PIPELINE_UNREADABLE) {
        reload_start(pipeline);
        return;
    }
    pipeline->busy = true;
    writer_probe(pipeline->writer);
}
