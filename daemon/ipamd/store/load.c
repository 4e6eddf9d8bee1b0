#include "private.h"
#include "record.h"

#include <stdlib.h>

/* Reading and decoding a row takes about as long as replaying it, so a thread reads ahead and the caller replays: a start with a
 * million claims takes the longer of the two and not their sum. Chunks go round in a ring. */

#define CHUNK_ROWS 128
#define RING_SIZE  4

struct chunk {
    struct arena arena;
    struct change changes[CHUNK_ROWS];
    size_t count;
};

struct ahead {
    struct rows rows; /* first: the reading callback gets this */
    struct store *store;
    pthread_t thread;
    struct chunk ring[RING_SIZE];

    pthread_mutex_t mutex; /* of what follows; a chunk is the reader's until it is filled, then the caller's */
    pthread_cond_t moved;
    size_t filled, emptied; /* chunks since the start */
    bool finished;          /* the reader has ended, with `status` */
    bool abandoned;         /* the caller wants no more */
    int status;
    struct ipam_error error;
};

/* ---- The reader's side -------------------------------------------------------------------------- */

/* Hands the chunk over and waits for the next; false when the caller wants no more. */
static bool chunk_publish(struct ahead *ahead)
{
    pthread_mutex_lock(&ahead->mutex);
    ahead->filled++;
    pthread_cond_signal(&ahead->moved);
    while (ahead->filled - ahead->emptied == RING_SIZE && !ahead->abandoned)
        pthread_cond_wait(&ahead->moved, &ahead->mutex);
    struct chunk *next = &ahead->ring[ahead->filled % RING_SIZE];
    bool wanted = !ahead->abandoned;
    pthread_mutex_unlock(&ahead->mutex);
    if (!wanted)
        return false;
    next->count = 0;
    arena_reset(&next->arena);
    ahead->rows.arena = &next->arena;
    return true;
}

static int chunk_add(struct rows *rows, const struct change *change, const uint8_t *record, size_t size,
                     struct ipam_error *reterr)
{
    struct ahead *ahead = (struct ahead *)rows;
    struct chunk *chunk = &ahead->ring[ahead->filled % RING_SIZE]; /* `filled` is written by this thread alone */
    (void)record;
    (void)size;
    chunk->changes[chunk->count++] = *change;
    if (chunk->count == CHUNK_ROWS && !chunk_publish(ahead))
        return ipam_error_set(reterr, IPAM_REASON_CANCELLED, "loading has ended");
    return 0;
}

static void *read_ahead(void *user)
{
    struct ahead *ahead = user;
    struct ipam_error error;
    int status = rows_read(&ahead->store->db, &ahead->store->head, &ahead->rows, &error);
    pthread_mutex_lock(&ahead->mutex);
    ahead->filled++; /* the last one, perhaps empty */
    ahead->finished = true;
    ahead->status = status;
    if (status < 0)
        ahead->error = error;
    pthread_cond_signal(&ahead->moved);
    pthread_mutex_unlock(&ahead->mutex);
    return NULL;
}

/* ---- The caller's side -------------------------------------------------------------------------- */

static int chunk_replay(const struct chunk *chunk, struct engine *engine, struct ipam_error *reterr)
{
    for (size_t i = 0; i < chunk->count; i++)
        if (engine_replay(engine, &chunk->changes[i], reterr) < 0)
            return -1;
    return 0;
}

/* NULL when all was read. */
static const struct chunk *chunk_wait(struct ahead *ahead)
{
    pthread_mutex_lock(&ahead->mutex);
    while (ahead->filled == ahead->emptied && !ahead->finished)
        pthread_cond_wait(&ahead->moved, &ahead->mutex);
    const struct chunk *chunk = ahead->filled > ahead->emptied ? &ahead->ring[ahead->emptied % RING_SIZE] : NULL;
    pthread_mutex_unlock(&ahead->mutex);
    return chunk;
}

static void chunk_done(struct ahead *ahead, bool abandon)
{
    pthread_mutex_lock(&ahead->mutex);
    ahead->emptied++;
    ahead->abandoned = abandon;
    pthread_cond_signal(&ahead->moved);
    pthread_mutex_unlock(&ahead->mutex);
}

static struct ahead *ahead_new(struct store *store)
{
    struct ahead *ahead = mem_zalloc(sizeof(*ahead));
    ahead->store = store;
    for (size_t i = 0; i < RING_SIZE; i++)
        arena_init(&ahead->ring[i].arena);
    ahead->rows = (struct rows){&ahead->ring[0].arena, chunk_add};
    pthread_mutex_init(&ahead->mutex, NULL);
    pthread_cond_init(&ahead->moved, NULL);
    return ahead;
}

static void ahead_free(struct ahead *ahead)
{
    for (size_t i = 0; i < RING_SIZE; i++)
        arena_done(&ahead->ring[i].arena);
    pthread_cond_destroy(&ahead->moved);
    pthread_mutex_destroy(&ahead->mutex);
    free(ahead);
}

static int replay_rows(struct store *store, struct engine *engine, struct ipam_error *reterr)
{
    struct ahead *ahead = ahead_new(store);
    const struct chunk *chunk;
    int r = 0;
    if (pthread_create(&ahead->thread, NULL, read_ahead, ahead) != 0) {
        ahead_free(ahead);
        return ipam_error_set(reterr, IPAM_REASON_OUT_OF_MEMORY, "no thread can be started to load %s", store->db_path);
    }
    while (r == 0 && (chunk = chunk_wait(ahead))) {
        r = chunk_replay(chunk, engine, reterr);
        chunk_done(ahead, r < 0);
    }
    pthread_join(ahead->thread, NULL);
    if (r < 0)
        ipam_error_prefix(reterr, "%s is damaged: its rows contradict each other", store->db_path);
    else if ((r = ahead->status) < 0 && reterr)
        *reterr = ahead->error;
    ahead_free(ahead);
    return r;
}

int store_load(struct store *store, struct engine *engine, struct ipam_error *reterr)
{
    if (replay_rows(store, engine, reterr) < 0)
        return -1;
    engine_set_revision(engine, store->head.revision);
    store_accept(store);
    return 0;
}
