#include "writer.h"

#include <assert.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "private.h"

/*      writer_…()        store thread         store thread      writer_take()
 * IDLE ──────────► QUEUED ────────────► RUNNING ────────────► DONE ─────────────► IDLE */
enum writer_state { WRITER_IDLE, WRITER_QUEUED, WRITER_RUNNING, WRITER_DONE };

struct writer {
    struct store *store;
    uint8_t hash_key[16];
    struct engine_clock clock;
    void (*wake)(void *user);
    void *user;
    pthread_t thread;

    pthread_mutex_t mutex; /* of all that follows; `result` and `hashes` are the store thread's while RUNNING */
    pthread_cond_t queued;
    enum writer_state state;
    bool stopping;
    enum writer_task task;
    const struct changes *batch;
    struct writer_result result;
    uint8_t *hashes;
    size_t hashes_size;
};

static void run_commit(struct writer *writer)
{
    struct writer_result *result = &writer->result;
    size_t size = STORE_HASH_SIZE * writer->batch->count;
    if (size > writer->hashes_size) {
        writer->hashes = mem_realloc(writer->hashes, size);
        writer->hashes_size = size;
    }
    result->status = store_commit(writer->store, writer->batch, writer->hashes, &result->error);
    result->hashes = result->status == 0 ? writer->hashes : NULL;
}

static void run_reload(struct writer *writer)
{
    struct writer_result *result = &writer->result;
    struct engine *engine = engine_new(writer->hash_key);
    engine_set_clock(engine, &writer->clock);
    result->status = store_load(writer->store, engine, &result->error);
    result->engine = result->status == 0 ? engine : engine_free(engine);
}

static void run_probe(struct writer *writer)
{
    writer->result.status = store_probe(writer->store, &writer->result.error);
}

static void (*const tasks[])(struct writer *writer) = {
    [WRITER_COMMIT] = run_commit,
    [WRITER_RELOAD] = run_reload,
    [WRITER_PROBE] = run_probe,
};

/* False: the writer is stopping. */
static bool wait_for_task(struct writer *writer)
{
    pthread_mutex_lock(&writer->mutex);
    while (writer->state != WRITER_QUEUED && !writer->stopping)
        pthread_cond_wait(&writer->queued, &writer->mutex);
    bool found = writer->state == WRITER_QUEUED;
    if (found)
        writer->state = WRITER_RUNNING;
    pthread_mutex_unlock(&writer->mutex);
    return found;
}

static void finish_task(struct writer *writer)
{
    pthread_mutex_lock(&writer->mutex);
    writer->state = WRITER_DONE;
    pthread_mutex_unlock(&writer->mutex);
    writer->wake(writer->user);
}

static void *writer_thread(void *user)
{
    struct writer *writer = user;
    while (wait_for_task(writer)) {
        writer->result = (struct writer_result){.task = writer->task};
        tasks[writer->task](writer);
        finish_task(writer);
        store_tidy(writer->store); /* while the replies go out */
    }
    return NULL;
}

struct writer *writer_new(struct store *store, const uint8_t hash_key[16], const struct engine_clock *clock,
                          void (*wake)(void *user), void *user)
{
    struct writer *writer = mem_zalloc(sizeof(*writer));
    writer->store = store;
    memcpy(writer->hash_key, hash_key, sizeof(writer->hash_key));
    writer->clock = *clock;
    writer->wake = wake;
    writer->user = user;
    pthread_mutex_init(&writer->mutex, NULL);
    pthread_cond_init(&writer->queued, NULL);
    if (pthread_create(&writer->thread, NULL, writer_thread, writer) != 0)
        abort(); /* as with memory: a machine that gives no thread at start-up runs no daemon */
    return writer;
}

struct writer *writer_free(struct writer *writer)
{
    if (!writer)
        return NULL;
    pthread_mutex_lock(&writer->mutex);
    writer->stopping = true;
    pthread_cond_signal(&writer->queued);
    pthread_mutex_unlock(&writer->mutex);
    pthread_join(writer->thread, NULL);
    engine_free(writer->result.engine); /* of a reload that nobody took */
    pthread_cond_destroy(&writer->queued);
    pthread_mutex_destroy(&writer->mutex);
    free(writer->hashes);
    free(writer);
    return NULL;
}

static void writer_start(struct writer *writer, enum writer_task task, const struct changes *batch)
{
    pthread_mutex_lock(&writer->mutex);
    assert(writer->state == WRITER_IDLE);
    writer->state = WRITER_QUEUED;
    writer->task = task;
    writer->batch = batch;
    pthread_cond_signal(&writer->queued);
    pthread_mutex_unlock(&writer->mutex);
}

void writer_commit(struct writer *writer, const struct changes *batch)
{
    writer_start(writer, WRITER_COMMIT, batch);
}

void writer_reload(struct writer *writer)
{
    writer_start(writer, WRITER_RELOAD, NULL);
}

void writer_probe(struct writer *writer)
{
    writer_start(writer, WRITER_PROBE, NULL);
}

bool writer_take(struct writer *writer, struct writer_result *ret)
{
    pthread_mutex_lock(&writer->mutex);
    bool done = writer->state == WRITER_DONE;
    if (done) {
        *ret = writer->result;
        writer->result.engine = NULL; /* the caller's now */
        writer->state = WRITER_IDLE;
    }
    pthread_mutex_unlock(&writer->mutex);
    return done;
}
