/* private.h: what the files of the store share: the store itself, its head, checks of files, rows
 * and chain.
 *
 * Included by daemon/ipamd/store alone. Damage is reported by whoever finds it with the file, what
 * is wrong and what to do.
 */
#ifndef IPAMD_STORE_PRIVATE_H
#define IPAMD_STORE_PRIVATE_H

#include <pthread.h>

#include "db.h"
#include "store.h"

#define STORE_APPLICATION_ID 0x6970616d /* "ipam", in the file's header */
#define STORE_READERS_IDLE   4

/* Where the store is after its last commit: the only row of `meta`. */
struct head {
    uint64_t revision;
    uint8_t hash[STORE_HASH_SIZE];           /* of `revision` */
    uint64_t compacted_through;              /* changes up to here are gone … */
    uint8_t compacted_hash[STORE_HASH_SIZE]; /* … and the chain goes on from this hash */
    uint64_t state_sum;                      /* checksums of all rows of pools and claims, added up: finds a row that is
                           missing or stale */
};

#define STORE_ID_SIZE 16

/* The last change that was acknowledged, and of which database. */
struct mark {
    uint8_t database[STORE_ID_SIZE];
    uint64_t revision;
    uint8_t hash[STORE_HASH_SIZE]; /* of `revision` */
};

enum mark_state { MARK_ABSENT, MARK_SOUND, MARK_UNREADABLE };

/* DIR/ipamd.mark: written after each commit and before anybody hears of it, without a sync. So it is never ahead of the
 * database on disk, survives kill -9, and may lag after a power loss. */
struct mark_file {
    int fd; /* for writing; -1: not open */
    enum mark_state state;
    struct mark mark;  /* with MARK_SOUND */
    unsigned int next; /* the slot that is written next */
};

/* The only row of the table `origin`, of schema 2 on. */
struct origin {
    bool known; /* false: an older schema has none */
    uint8_t database[STORE_ID_SIZE];
    bool in_use;    /* an ipamd has it open, or ended by force: its log belongs to it */
    bool same_file; /* byte for byte the file that ipamd opened, not what SQLite's backup made of it */
    int64_t cookie;
};

struct store {
    char *dir, *db_path, *wal_path, *mark_path;
    uint64_t history_limit;
    bool read_only, accept_loss;
    int lock_fd;

    /* The store thread's. */
    struct db db;
    enum db_access access;   /* DB_WRITE, or how it is read where nothing can be written */
    struct ipam_error cause; /* why it is not DB_WRITE */
    struct mark_file mark;
    bool mark_lags; /* behind `head` */
    struct origin origin;
    bool is_lost;            /* changes are missing, and the caller wants to accept that … */
    struct loss_record loss; /* … with what is known of them */
    bool log_was_there;      /* when the database was opened, be it empty */
    bool accepted;           /* the rows were read and are sound */
    bool ready;              /* of this build's schema, marked and noted as in use: can be written */
    struct head head;
    uint64_t compaction_target; /* changes up to here are being deleted, a piece with each commit */
    int wal_pages;              /* in the log after the last commit */
    struct arena record_arena, hash_arena;

    /* Readers share it; opening the database anew, when a disk has become writable, takes it alone.
     */
    pthread_rwlock_t access_lock;
    pthread_mutex_t readers_mutex;
    struct db idle_readers[STORE_READERS_IDLE];
    size_t idle_count;
};

/* ---- inspect.c: what can be said without SQLite, so that nothing is touched */

/* -1 in *ret_fd: a read-only disk without lock file, or with `read_only`, which makes none and writes into none. */
int lock_take(const char *dir, bool read_only, int *ret_fd, struct ipam_error *reterr);
/* *ret_exists false: there is none and one may be made. *ret_has_log: ipamd.db-wal holds something.
 */
int inspect_files(const char *db_path, const char *wal_path, bool *ret_exists, bool *ret_has_log,
                  struct ipam_error *reterr);

/* ---- schema.c */

int schema_create(const char *dir, const char *db_path, struct ipam_error *reterr);
int schema_check(struct db *db, struct ipam_error *reterr);   /* STORE_TOO_NEW */
int schema_upgrade(struct db *db, struct ipam_error *reterr); /* to this build's, after schema_check */
int schema_refuse_newer(const char *path, int64_t version, struct ipam_error *reterr); /* 0 when this build knows it */

int path_fail(const char *path, const char *what,
              struct ipam_error *reterr); /* "… can't be WHAT: " and errno's text; -1 */
int path_sync(const char *path, int flags, struct ipam_error *reterr);

/* ---- mark.c */

int mark_read(const char *path, struct mark_file *ret, struct ipam_error *reterr); /* STORE_UNAVAILABLE */
int mark_open(const char *path, struct mark_file *file, struct ipam_error *reterr);
/* In the place of the one that is there, durably: the one thing that may take a mark back. */
int mark_create(const char *dir, const char *path, const struct mark *mark, struct mark_file *file,
                struct ipam_error *reterr);
int mark_write(const char *path, const struct mark *mark, struct mark_file *file, struct ipam_error *reterr);
void mark_close(struct mark_file *file);

/* ---- origin.c */

int origin_read(struct db *db, struct origin *ret, struct ipam_error *reterr);
int origin_take(struct db *db, struct origin *origin,
                struct ipam_error *reterr); /* in use; one durable transaction or none */
int origin_leave(struct db *db, struct origin *origin, struct ipam_error *reterr); /* not in use, as durably */

/* ---- loss.c */

/* CHANGES_LOST when something that was acknowledged is missing, or when nothing tells that it is not; store->loss says what. */
int loss_judge(struct store *store, bool has_log, struct ipam_error *reterr);
int loss_judge_missing(struct store *store, struct ipam_error *reterr); /* there is no database at all */

/* ---- chain.c */

void chain_next(const uint8_t previous[STORE_HASH_SIZE], const void *record, size_t size, uint8_t ret[STORE_HASH_SIZE]);
uint64_t row_checksum(const void *record, size_t size); /* the record holds its id, so rows can't change places */
int head_read(struct db *db, struct head *ret, struct ipam_error *reterr);
/* The hash that the change after `revision` builds on. */
int chain_hash(struct db *db, const struct head *head, uint64_t revision, uint8_t ret[STORE_HASH_SIZE],
               struct ipam_error *reterr);
/* Follows the chain from `after` (at least compacted_through) to the head. */
int chain_verify(struct db *db, const struct head *head, uint64_t after, struct ipam_error *reterr);
/* "… is damaged: WHAT; …". Returns -1. */
int report_damage(const char *path, struct ipam_error *reterr, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* ---- rows.c */

/* Who reads the rows: each is decoded into `arena`, which `each` may reset or put another in the place of. */
struct rows {
    struct arena *arena;
    int (*each)(struct rows *rows, const struct change *change, const uint8_t *record, size_t size,
                struct ipam_error *reterr);
};
/* Every row of pools, then of claims, in order of id, checked; then their sum. */
int rows_read(struct db *db, const struct head *head, struct rows *rows, struct ipam_error *reterr);

/* ---- history.c */

/* One is kept open from the start, so that history can be read when the system has no file to give. */
int readers_open(struct store *store, struct ipam_error *reterr);
int reader_take(struct store *store, struct db *ret, struct ipam_error *reterr); /* holds access_lock for reading … */
void reader_give(struct store *store, struct db *reader);                        /* … until this */
void readers_close(struct store *store);

/* ---- store.c */

/* What was read is sound: from now on closing may move the log's pages into the database. */
void store_accept(struct store *store);

/* Makes the database one that can be written, if it is not yet: this build's schema, a mark, and a note that it is in use.
 * STORE_UNAVAILABLE, and all is tried again the next time. */
int store_get_ready(struct store *store, struct ipam_error *reterr);

/* Moves the log's pages into the database when there are many. Called as store_commit is, when nobody waits. */
void store_tidy(struct store *store);

/* The same for the last page, when nobody has come for a while: so that little hangs on the log. False: there is none left. */
bool store_log_waits(const struct store *store);
void store_fold(struct store *store);

#endif
