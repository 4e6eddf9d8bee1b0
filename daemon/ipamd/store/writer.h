/* writer.h: the store thread. Takes one batch at a time, makes it durable, and says so.
 *
 * Called by ipamd's loop thread, which never blocks on disk because of it. It knows threads and the
 * store, not libuv: `wake` is called on the store thread when something is done, and the loop then
 * asks for it.
 */
#ifndef IPAMD_STORE_WRITER_H
#define IPAMD_STORE_WRITER_H

#include "store.h"

struct writer;

enum writer_task { WRITER_COMMIT, WRITER_RELOAD, WRITER_PROBE };

struct writer_result {
    enum writer_task task;
    int status;              /* 0 or -1 with error */
    struct ipam_error error; /* meaningful with -1 */
    uint8_t *hashes;         /* WRITER_COMMIT: one per change of the batch, borrowed until the next writer_
                        call */
    struct engine *engine;   /* WRITER_RELOAD: a new engine in the durable state; taken by the caller */
};

/* Engines are begun with the hash key and with the clock of the process's start, so that a reload gives back what was. */
struct writer *writer_new(struct store *store, const uint8_t hash_key[16], const struct engine_clock *clock,
                          void (*wake)(void *user), void *user);
struct writer *writer_free(struct writer *writer); /* waits for the task under way; NULL is fine; returns NULL */

/* Starts a task; only when none is under way. The batch is borrowed until its result has been
 * taken. */
void writer_commit(struct writer *writer, const struct changes *batch);
void writer_reload(struct writer *writer);
void writer_probe(struct writer *writer);

/* True once per finished task. */
bool writer_take(struct writer *writer, struct writer_result *ret);

#endif
