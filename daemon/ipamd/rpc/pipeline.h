/* pipeline.h: from decision to durable: the engine, the changes that gather, those that are being written, and who waits.
 *
 * Called by the RPC services (decide, then wait for the disk) and by the process (flush once per loop turn, take what the
 * store thread has finished). It knows the engine and the store's writer; it must not know libuv, sockets or messages.
 *
 *      SERVING ──commit failed──► RELOADING ──engine is as on disk──► DEGRADED ──probe succeeded──► SERVING
 *       │   ▲                         └──can't be read──► UNREADABLE ──a later try──┘
 *       │   └─half of it is durable──┐
 *       └──too much has gathered──► STALLED ──commit failed──► RELOADING
 *
 * In SERVING everything works. In STALLED the disk does not keep up: writes are refused until it does, and whoever has been
 * decided on goes on waiting. In RELOADING nothing can be read: calls are put off. In UNREADABLE that has lasted too long:
 * all calls are refused with STORE_UNAVAILABLE. In DEGRADED, where it also starts if the disk takes no write, reads work and
 * writes are refused so.
 */
#ifndef IPAMD_RPC_PIPELINE_H
#define IPAMD_RPC_PIPELINE_H

#include "engine.h"
#include "writer.h"

enum pipeline_state { PIPELINE_SERVING, PIPELINE_STALLED, PIPELINE_RELOADING, PIPELINE_UNREADABLE, PIPELINE_DEGRADED };

/* A commit takes no further decision from so many bytes of changes on, so that its time stays bounded. */
#define PIPELINE_COMMIT_BYTES (4u * 1024 * 1024)

/* Something that waits until a revision is durable. Embedded in what waits; zeroed before first
 * use. */
struct waiter {
    struct waiter *next, *prev;
    uint64_t revision;
    /* error is NULL when durable, else STORE_UNAVAILABLE and the decision is undone. The waiter is
     * off the list by then. */
    void (*done)(struct waiter *waiter, const struct ipam_error *error);
};

struct pipeline_counters {
    uint64_t batches, changes, failures; /* a batch: one commit */
};

/* Whole decisions that become durable together. */
struct entry {
    struct entry *next;
    struct changes changes;
};

struct pipeline {
    struct engine *engine;
    struct writer *writer;
    enum pipeline_state state;
    struct ipam_error error;    /* why it is not SERVING */
    uint64_t durable;           /* revision */
    struct entry *first, *last; /* that gather, oldest first: at least one; decisions go into the last */
    struct entry *writing;      /* NULL when no commit is under way */
    struct entry *spare;        /* kept for its memory; may be NULL */
    size_t max_gathered;        /* bytes */
    size_t gathered;            /* bytes of all entries before the last, the one that is written included */
    bool busy;                  /* the writer has a task */
    struct waiter waiters;      /* ring, in order of revision */
    struct pipeline_counters counters;
    void (*on_state)(void *user); /* the state has changed, from within pipeline_take or pipeline_flush */
    /* A batch has become durable, from within pipeline_take; hash of change i at hashes + 32 × i. May be NULL. */
    void (*on_durable)(const struct changes *batch, const uint8_t *hashes, void *user);
    void *user;
};

/* Takes the engine. `pipeline` stays where it is (it is pointed at). Past `max_gathered` bytes of changes that are not durable,
 * writes are refused; the decision that passes it is still taken. It starts DEGRADED with `trouble`, where writing does not
 * work; NULL: it does. */
void pipeline_init(struct pipeline *pipeline, struct engine *engine, struct writer *writer, size_t max_gathered,
                   const struct ipam_error *trouble, void (*on_state)(void *), void *user);
void pipeline_done(struct pipeline *pipeline); /* frees the engine; waiters must be gone */

/* 0 when changes can be taken now, else -1 with STORE_UNAVAILABLE. */
int pipeline_writable(const struct pipeline *pipeline, struct ipam_error *reterr);

/* Where the next decision's changes go. Asked for anew before each decision: one never stands in two entries. */
struct changes *pipeline_gather(struct pipeline *pipeline);

/* Calls waiter->done once `revision` is durable, which may be at once. */
void pipeline_wait(struct pipeline *pipeline, struct waiter *waiter, uint64_t revision);
void pipeline_forget(struct waiter *waiter); /* takes it off the list; fine if it is not on one */

void pipeline_expire(struct pipeline *pipeline,
                     const struct engine_ctx *ctx);  /* cooling that is over; when pipeline_writable */
void pipeline_flush(struct pipeline *pipeline);      /* starts writing what has gathered, if the writer is free */
void pipeline_take(struct pipeline *pipeline);       /* after the writer's wake: handles what it has finished */
void pipeline_retry(struct pipeline *pipeline);      /* now and then while not SERVING: tries the store again */
bool pipeline_idle(const struct pipeline *pipeline); /* nothing gathered, nothing being written */

#endif
