#include "reads.h"

#include <stdlib.h>

#include "arena.h"
#include "process.h"

#define AT_ONCE 2

struct read {
    uv_work_t request;
    struct reads *reads;
    struct read *next;
    void (*run)(void *arg);
    void (*done)(void *arg);
    void *arg;
};

void reads_init(struct reads *reads, uv_loop_t *loop, uint64_t rate)
{
    *reads = (struct reads){.loop = loop, .pause_ns = 1000000000 / rate};
    reads->last = &reads->first;
}

void reads_add(struct reads *reads, void (*run)(void *arg), void (*done)(void *arg), void *arg)
{
    struct read *read = mem_alloc(sizeof *read);
    *read = (struct read){.reads = reads, .run = run, .done = done, .arg = arg};
    read->request.data = read;
    *reads->last = read;
    reads->last = &read->next;
}

static void read_run(uv_work_t *request)
{
    static _Thread_local bool is_background;
    struct read *read = request->data;
    if (!is_background)
        process_background();
    is_background = true;
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
    struct read *read = reads->first;
    reads->first = read->next;
    if (!reads->first)
        reads->last = &reads->first;
    reads->n_running++;
    uv_queue_work(reads->loop, &read->request, read_run, read_done);
}

void reads_turn(struct reads *reads, bool busy)
{
    uint64_t now = uv_hrtime();
    while (reads->first && reads->n_running < AT_ONCE && (!busy || now - reads->started_at >= reads->pause_ns)) {
        reads->started_at = now;
        read_start(reads);
    }
}
