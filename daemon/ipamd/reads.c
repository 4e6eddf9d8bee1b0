#include "reads.h"

#include <stdlib.h>

#include "arena.h"

#define AT_ONCE   2
#define SECOND    UINT64_C(1000000000)
#define WINDOW_NS (SECOND / 10)
#define BUSY_RATE 1000 /* changes a second */

struct read {
    uv_work_t request;
    struct reads *reads;
    struct reader *reader; /* NULL: it runs */
    TAILQ_ENTRY(read) link;
    void (*run)(void *arg);
    void (*done)(void *arg);
    void *arg;
};

void reads_init(struct reads *reads, uv_loop_t *loop, uint64_t rate)
{
    *reads = (struct reads){.loop = loop, .pause_ns = SECOND / rate};
    TAILQ_INIT(&reads->readers);
}

static struct reader *reader_find(struct reads *reads, uid_t uid)
{
    struct reader *reader;
    for (reader = TAILQ_FIRST(&reads->readers); reader; reader = TAILQ_NEXT(reader, link))
        if (reader->uid == uid)
            return reader;
    reader = mem_alloc(sizeof *reader);
    *reader = (struct reader){.uid = uid};
    TAILQ_INIT(&reader->waiting);
    TAILQ_INSERT_TAIL(&reads->readers, reader, link);
    return reader;
}

struct read *reads_add(struct reads *reads, uid_t uid, void (*run)(void *arg), void (*done)(void *arg), void *arg)
{
    struct read *read = mem_alloc(sizeof *read);
    *read = (struct read){.reads = reads, .reader = reader_find(reads, uid), .run = run, .done = done, .arg = arg};
    read->request.data = read;
    TAILQ_INSERT_TAIL(&read->reader->waiting, read, link);
    return read;
}

/* Off its queue; its user keeps its place, or is gone with its last read. */
static void read_take(struct reads *reads, struct read *read)
{
    struct reader *reader = read->reader;
    read->reader = NULL;
    TAILQ_REMOVE(&reader->waiting, read, link);
    if (!TAILQ_EMPTY(&reader->waiting))
        return;
    TAILQ_REMOVE(&reads->readers, reader, link);
    free(reader);
}

bool reads_drop(struct reads *reads, struct read *read)
{
    if (!read->reader)
        return false;
    read_take(reads, read);
    free(read);
    return true;
}

static void read_run(uv_work_t *request)
{
    struct read *read = request->data;
    read->run(read->arg);
}

static void read_done(uv_work_t *request, int status)
{
    struct read *read = request->data;
    (void)status;
    read->reads->n_running--;
    read->done(read->arg);
    free(read);
}

static void read_start(struct reads *reads)
{
    struct reader *reader = TAILQ_FIRST(&reads->readers);
    struct read *read = TAILQ_FIRST(&reader->waiting);
    TAILQ_REMOVE(&reads->readers, reader, link);
    TAILQ_INSERT_TAIL(&reads->readers, reader, link);
    read_take(reads, read);
    reads->n_running++;
    uv_queue_work(reads->loop, &read->request, read_run, read_done);
}

/* Looked at over a while: between two bursts of calls nothing may be under way for a moment. */
static void window_turn(struct reads *reads, uint64_t changes, uint64_t now)
{
    uint64_t elapsed = now - reads->window_at;
    if (elapsed < WINDOW_NS)
        return;
    reads->is_busy = changes - reads->window_changes > BUSY_RATE * elapsed / SECOND;
    reads->window_at = now;
    reads->window_changes = changes;
}

void reads_turn(struct reads *reads, uint64_t changes, bool crowded)
{
    uint64_t now = uv_hrtime();
    window_turn(reads, changes, now);
    bool is_paced = reads->is_busy || crowded;
    while (!TAILQ_EMPTY(&reads->readers) && reads->n_running < AT_ONCE &&
           (!is_paced || now - reads->started_at >= reads->pause_ns)) {
        reads->started_at = now;
        read_start(reads);
    }
}
