/* store.h: changes on disk. Writes batches of changes as transactions, and reads them back.
 *
 * Called by the store thread (writer.h), by start-up, and by history reads on pool threads. It knows SQLite and the
 * encoding of a change; it must not know the loop, a socket or how anything is decided. Another backend would be another
 * implementation of this header. All functions block; which may run beside which is said with each.
 */
#ifndef IPAMD_STORE_STORE_H
#define IPAMD_STORE_STORE_H

#include "engine.h"

struct store;

#define STORE_HASH_SIZE 32

struct store_options {
    const char *dir;        /* state directory; made (mode 0750) if its parent exists */
    uint64_t history_limit; /* changes kept at least; 0: all */
    bool must_exist;        /* makes no directory and no database: STORE_UNAVAILABLE where there is none */
};

/* Opens or creates DIR/ipamd.db and takes the lock DIR/ipamd.lock (flock, held until store_close). Refusals leave every
 * file as it was: STORE_LOCKED, STORE_TOO_NEW, STORE_DAMAGED (not a database, another program's, cut short, checksum), or
 * STORE_UNAVAILABLE (can't be read or created; the message carries the system's reason).
 *
 * An existing database on a disk that can't be written opens all the same, with a log that was left behind too: loading and
 * reading work, store_commit says STORE_UNAVAILABLE, and store_probe opens it for writing once the disk lets it. Where the
 * disk is read-only and has no lock file, there is no lock. */
int store_open(const struct store_options *options, struct store **ret, struct ipam_error *reterr);
struct store *store_close(struct store *store); /* checkpoints if the disk lets it; NULL is fine; returns NULL */

/* Replays the present state into an empty engine, which knows its clock, checking every row; STORE_DAMAGED leaves every file as it was, and the
 * engine is of no use then. Not beside store_commit. */
int store_load(struct store *store, struct engine *engine, struct ipam_error *reterr);

/* The newest change that is durable, and its hash; 0 and zero bytes in an empty history. Called as store_commit is. */
uint64_t store_head(const struct store *store, uint8_t ret_hash[STORE_HASH_SIZE]);

/* Writes `batch` durably: all or nothing. -1 with STORE_UNAVAILABLE: the store is as before the call and can be used on
 * (after a crash, and only then, the batch may be there after all: nobody was told that it is not).
 * On success the hash of change i is at ret_hashes + 32 * i (may be NULL). One caller at a time; beside reads. */
int store_commit(struct store *store, const struct changes *batch, uint8_t *ret_hashes, struct ipam_error *reterr);

/* Proves with a small durable transaction that writing works (again). Called as store_commit is. */
int store_probe(struct store *store, struct ipam_error *reterr);

struct store_query {
    uint64_t after_revision;
    size_t limit;
    size_t bytes;                    /* end the page with the record that passes so many; 0: no matter */
    size_t scan;                     /* look at no more than so many changes; 0: no bound */
    const char *pool;                /* "" for any */
    const char *kind, *name;         /* "" for any */
    const struct ipam_addr *address; /* NULL for any */
};

/* One change as written: `record` is its canonical record. */
struct store_record {
    uint64_t revision;
    const uint8_t *record;
    size_t size;
    const uint8_t *hash; /* STORE_HASH_SIZE bytes */
};

struct store_page {
    struct store_record *items;
    size_t count;
    uint64_t compacted_through; /* what was asked for before this is gone: the page begins after it */
    uint64_t revision;          /* of the newest change when the page was read */
    uint64_t scanned_through;   /* every match up to here is in the page; go on after it */
};

/* Reads history in order of revision. Any thread, several at once, beside store_commit; results live in `arena`. */
int store_read_changes(struct store *store, const struct store_query *query, struct arena *arena,
                       struct store_page *ret, struct ipam_error *reterr);

/* Reads everything once: SQLite's own integrity check, every record and checksum, the whole hash chain, and that the state
 * is what the history tells. As store_read_changes is called. */
int store_verify(struct store *store, struct ipam_error *reterr);

#endif
