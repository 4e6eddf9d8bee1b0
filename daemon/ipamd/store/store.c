#include "private.h"
#include "record.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <libgen.h>
#include <sodium.h>
#include <stdio.h>
#include <string.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

/* Of each start, so many of the newest changes are held against the hash chain; store_verify does
 * them all. */
#define CHAIN_CHECKED_AT_OPEN 1000

/* Pages of 4 KiB in the log from which on the writer moves them into the database when nobody
 * waits, and from which on a commit does it itself. */
#define LOG_PAGES_TIDY 1024
#define LOG_PAGES_MOST 32768

/* Old changes go when so many more than the limit are kept, and then a piece with each commit. */
#define COMPACTION_SLACK(limit) ((limit) / 8 > 1000 ? (limit) / 8 : 1000)
#define COMPACTION_PIECE        1024

/* ---- Opening ----------------------------------------------------------------------------------------------------- */

static int remember_log_pages(void *user, sqlite3 *handle, const char *name, int pages)
{
    (void)handle;
    (void)name;
    ((struct store *)user)->wal_pages = pages;
    return SQLITE_OK;
}

void store_accept(struct store *store)
{
    if (store->accepted)
        return;
    store->accepted = true;
    if (store->access == DB_WRITE)
        sqlite3_db_config(store->db.handle, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 0, NULL);
}

/* SQLite opens what it can't write for reading and says so nowhere but here. */
static int check_writable(struct db *db, struct ipam_error *reterr)
{
    int64_t version;
    if (db_pragma_number(db, "user_version", &version, reterr) < 0)
        return -1;
    if (sqlite3_db_readonly(db->handle, "main") == 0)
        return 0;
    return ipam_error_set(reterr, IPAM_REASON_STORE_UNAVAILABLE, "%s can't be opened for writing", db->path);
}

/* The system's reason is plainer than what SQLite makes of the log that it could not create. */
static void explain_read_only(struct store *store, struct ipam_error *error)
{
    if (access(store->db_path, W_OK) < 0 || access(store->dir, W_OK) < 0)
        ipam_error_set(error, IPAM_REASON_STORE_UNAVAILABLE, "%s can't be opened for writing: %s", store->db_path,
                       strerror(errno));
}

/* The history's first and last revision and its newest hashes. */
static int check_history(struct store *store, struct ipam_error *reterr)
{
    const struct head *head = &store->head;
    sqlite3_stmt *row = store->db.statements[SQL_CHANGES_ENDS];
    if (sqlite3_step(row) != SQLITE_ROW)
        return db_fail(&store->db, "its history can't be read", reterr);
    uint64_t first = (uint64_t)sqlite3_column_int64(row, 0), last = (uint64_t)sqlite3_column_int64(row, 1);
    sqlite3_reset(row);
    bool sound = head->revision == 0 ? last == 0 : first == head->compacted_through + 1 && last == head->revision;
    if (!sound)
        return report_damage(store->db_path, reterr,
                             "its history goes from change %" PRIu64 " to %" PRIu64 " and not from %" PRIu64
                             " to %" PRIu64,
                             first, last, head->compacted_through + 1, head->revision);
    uint64_t kept = head->revision - head->compacted_through;
    uint64_t checked = kept < CHAIN_CHECKED_AT_OPEN ? kept : CHAIN_CHECKED_AT_OPEN;
    return chain_verify(&store->db, head, head->revision - checked, reterr);
}

static void close_connection(struct store *store);

static int error_pass(struct ipam_error *reterr, const struct ipam_error *error)
{
    if (reterr)
        *reterr = *error;
    return -1;
}

/* All that belongs to a connection, or nothing of it: DB_CLOSED. */
static int connect_as(struct store *store, enum db_access access, bool has_log, struct ipam_error *reterr)
{
    store->access = access;
    int r = db_open(&store->db, store->db_path, access, reterr);
    if (r == 0 && access == DB_WRITE)
        r = check_writable(&store->db, reterr);
    if (r == 0 && (schema_check(&store->db, reterr) < 0 || db_prepare(&store->db, reterr) < 0 ||
                   head_read(&store->db, &store->head, reterr) < 0 || check_history(store, reterr) < 0 ||
                   origin_read(&store->db, &store->origin, reterr) < 0 || readers_open(store, reterr) < 0))
        r = -1;
    if (r == 0)
        r = loss_judge(store, has_log, reterr);
    store->is_lost = r < 0 && store->accept_loss && reterr->reason == IPAM_REASON_CHANGES_LOST;
    if (r < 0 && !store->is_lost) {
        close_connection(store);
        return -1;
    }
    sqlite3_wal_hook(store->db.handle, remember_log_pages, store);
    store->wal_pages = has_log; /* the first commit tells how many */
    return 0;
}

/* For writing; or where the system forbids that, for reading what is there. */
static int connect_database(struct store *store, bool has_log, struct ipam_error *reterr)
{
    enum db_access reading = has_log ? DB_STATIC_WAL : DB_IMMUTABLE;
    struct ipam_error cause = {0}, again;
    ipam_error_set(&store->cause, IPAM_REASON_STORE_UNAVAILABLE, "%s is only looked at", store->db_path);
    if (store->read_only && connect_as(store, reading, has_log, &cause) == 0)
        return 0;
    if (store->read_only)
        return error_pass(reterr, &cause);
    if (connect_as(store, DB_WRITE, has_log, &cause) == 0)
        return 0;
    if (cause.reason == IPAM_REASON_STORE_UNAVAILABLE)
        explain_read_only(store, &cause);
    store->cause = cause;
    if (cause.reason == IPAM_REASON_STORE_UNAVAILABLE) {
        if (connect_as(store, reading, has_log, &again) == 0)
            return 0;
        if (again.reason == IPAM_REASON_CHANGES_LOST)
            cause = again;
    }
    return error_pass(reterr, &cause);
}

static int open_database(struct store *store, struct ipam_error *reterr)
{
    bool exists, has_log;
    if (inspect_files(store->db_path, store->wal_path, &exists, &has_log, reterr) < 0 ||
        mark_read(store->mark_path, &store->mark, reterr) < 0)
        return -1;
    store->log_was_there = access(store->wal_path, F_OK) == 0;
    store->mark_lags = true; /* for all that is known */
    store->ready = store->accepted = false;
    if (exists)
        return connect_database(store, has_log, reterr);
    bool is_lost = loss_judge_missing(store, reterr) < 0;
    if (is_lost && !store->accept_loss)
        return -1;
    if (store->read_only || (store->accept_loss && !is_lost))
        return ipam_error_set(reterr, IPAM_REASON_STORE_UNAVAILABLE,
                              "%s does not exist: write the --state-dir of an ipamd", store->db_path);
    if (schema_create(store->dir, store->db_path, reterr) < 0)
        return -1;
    return connect_database(store, false, reterr);
}

static int sync_parent(const char *dir, struct ipam_error *reterr)
{
    char *copy = mem_strdup(dir);
    int r = path_sync(dirname(copy), O_RDONLY | O_DIRECTORY, reterr);
    free(copy);
    return r;
}

static int make_directory(const char *dir, bool read_only, struct ipam_error *reterr)
{
    struct stat status;
    if (stat(dir, &status) == 0)
        return S_ISDIR(status.st_mode) ? 0
                                       : ipam_error_set(reterr, IPAM_REASON_STORE_UNAVAILABLE,
                                                        "state directory %s is not a directory", dir);
    if (read_only)
        return ipam_error_set(reterr, IPAM_REASON_STORE_UNAVAILABLE, "state directory %s can't be used: %s", dir,
                              strerror(errno));
    if (mkdir(dir, 0750) < 0)
        return ipam_error_set(reterr, IPAM_REASON_STORE_UNAVAILABLE, "state directory %s can't be made: %s", dir,
                              strerror(errno));
    return sync_parent(dir, reterr);
}

static char *join(const char *dir, const char *name)
{
    size_t size = strlen(dir) + strlen(name) + 2;
    char *path = mem_alloc(size);
    snprintf(path, size, "%s/%s", dir, name);
    return path;
}

int store_open(const struct store_options *options, struct store **ret, struct ipam_error *reterr)
{
    if (sodium_init() < 0)
        return ipam_error_set(reterr, IPAM_REASON_INTERNAL, "libsodium can't be initialised");
    /* Nobody reads SQLite's memory statistics, and keeping them takes a mutex with each allocation. Refused, and no matter,
     * when SQLite is in use already. */
    sqlite3_config(SQLITE_CONFIG_MEMSTATUS, 0);
    struct store *store = mem_zalloc(sizeof(*store));
    store->dir = mem_strdup(options->dir);
    store->db_path = join(options->dir, "ipamd.db");
    store->wal_path = join(options->dir, "ipamd.db-wal");
    store->mark_path = join(options->dir, "ipamd.mark");
    store->history_limit = options->history_limit;
    store->read_only = options->read_only;
    store->accept_loss = options->accept_loss;
    store->mark.fd = -1;
    store->lock_fd = -1;
    arena_init(&store->record_arena);
    arena_init(&store->hash_arena);
    pthread_rwlock_init(&store->access_lock, NULL);
    pthread_mutex_init(&store->readers_mutex, NULL);
    if (make_directory(store->dir, store->read_only, reterr) < 0 ||
        lock_take(store->dir, store->read_only, &store->lock_fd, reterr) < 0 || open_database(store, reterr) < 0) {
        store_close(store);
        return -1;
    }
    *ret = store;
    return 0;
}

/* ---- Closing ----------------------------------------------------------------------------------------------------- */

/* An empty log that SQLite made for a start that was then refused goes again: closing as usual
 * removes it and has no page to move. */
static void close_connection(struct store *store)
{
    struct stat log;
    readers_close(store);
    if (store->db.handle && !store->log_was_there && stat(store->wal_path, &log) == 0 && log.st_size == 0)
        store_accept(store);
    db_close(&store->db);
    mark_close(&store->mark);
    store->access = DB_CLOSED;
}

/* ipamd.db alone holds all, and says so. If that can't be written, it goes on saying that its log belongs to it. */
static void leave_database(struct store *store)
{
    if (!store->ready || !store->origin.in_use)
        return;
    store_fold(store);
    if (store->wal_pages == 0)
        origin_leave(&store->db, &store->origin, NULL);
}

struct store *store_close(struct store *store)
{
    if (!store)
        return NULL;
    leave_database(store);
    close_connection(store);
    if (store->lock_fd >= 0)
        close(store->lock_fd);
    pthread_mutex_destroy(&store->readers_mutex);
    pthread_rwlock_destroy(&store->access_lock);
    arena_done(&store->record_arena);
    arena_done(&store->hash_arena);
    free(store->mark_path);
    free(store->wal_path);
    free(store->db_path);
    free(store->dir);
    free(store);
    return NULL;
}

/* ---- Writing
 * --------------------------------------------------------------------------------------------------------
 *
 * The helpers return false and leave the error at the connection; transaction_fail takes it from
 * there, once.
 *
 * What a failed commit leaves behind: SQLite makes a transaction's frames visible (log index, then
 * its header) only after they were written and synced, so an error before that leaves readers and
 * us at the last good commit, and the next transaction writes over the same place in the log. What
 * it does not write over is dead: each frame's checksum builds on all frames before it. After a
 * failed fsync the kernel may have dropped the pages, so nothing of the failed transaction is
 * counted on, and all that came before was synced with success. There is one way left for such a
 * transaction to come back: a crash before the next successful commit or probe, if its frames did
 * reach the disk whole. Its callers were told UNAVAILABLE, which says just that; it is one
 * consistent batch and nothing was acknowledged on top of it. This is also why a connection is
 * never opened anew to get well: that would read the log as after a crash, below an engine that was
 * reloaded without it. */

static int transaction_fail(struct store *store, struct ipam_error *reterr)
{
    struct ipam_error cause;
    db_fail(&store->db, "can't be written", &cause);
    if (!sqlite3_get_autocommit(store->db.handle)) /* some errors have rolled back already */
        db_run(&store->db, SQL_ROLLBACK);
    return ipam_error_set(reterr, IPAM_REASON_STORE_UNAVAILABLE, "%s", cause.message);
}

static bool change_add(struct db *db, uint64_t revision, const void *record, size_t size, const uint8_t *hash)
{
    sqlite3_stmt *statement = db->statements[SQL_CHANGE_ADD];
    sqlite3_bind_int64(statement, 1, (int64_t)revision);
    sqlite3_bind_blob64(statement, 2, record, size, SQLITE_STATIC);
    sqlite3_bind_blob64(statement, 3, hash, STORE_HASH_SIZE, SQLITE_STATIC);
    return db_run(db, SQL_CHANGE_ADD);
}

/* Takes the entity's present row out of the sum. */
static bool state_forget(struct db *db, enum statement checksum, uint64_t id, uint64_t *sum)
{
    sqlite3_stmt *row = db->statements[checksum];
    sqlite3_bind_int64(row, 1, (int64_t)id);
    int code = sqlite3_step(row);
    if (code == SQLITE_ROW)
        *sum -= (uint64_t)sqlite3_column_int64(row, 0);
    sqlite3_reset(row);
    return code == SQLITE_ROW || code == SQLITE_DONE;
}

/* Puts the change in the place of the one before it of the same pool or claim, or takes the row
 * away. */
static bool state_put(struct db *db, const struct change *change, const void *record, size_t size, uint64_t *sum)
{
    bool pool = change->kind == CHANGE_POOL;
    uint64_t id = pool ? change->pool.id : change->claim.id;
    bool gone = pool ? change->pool.state == POOL_REMOVED : change->claim.state == CLAIM_RELEASED;
    if (id != change->revision && !state_forget(db, pool ? SQL_POOL_CHECKSUM : SQL_CLAIM_CHECKSUM, id, sum))
        return false;

    enum statement id_last = gone ? (pool ? SQL_POOL_DROP : SQL_CLAIM_DROP) : (pool ? SQL_POOL_PUT : SQL_CLAIM_PUT);
    sqlite3_stmt *statement = db->statements[id_last];
    sqlite3_bind_int64(statement, 1, (int64_t)id);
    if (!gone) {
        uint64_t checksum = row_checksum(record, size);
        sqlite3_bind_blob64(statement, 2, record, size, SQLITE_STATIC);
        sqlite3_bind_int64(statement, 3, (int64_t)checksum);
        *sum += checksum;
    }
    return db_run(db, id_last);
}

static bool change_put(struct store *store, const struct change *change, struct head *head)
{
    size_t size;
    arena_reset(&store->record_arena);
    const uint8_t *record = record_encode(change, &store->record_arena, &size);
    assert(change->revision == head->revision + 1);
    head->revision = change->revision;
    chain_next(head->hash, record, size, head->hash);
    return change_add(&store->db, change->revision, record, size, head->hash) &&
           (change->kind == CHANGE_LOSS || state_put(&store->db, change, record, size, &head->state_sum));
}

static bool head_put(struct db *db, const struct head *head)
{
    sqlite3_stmt *statement = db->statements[SQL_HEAD_PUT];
    sqlite3_bind_int64(statement, 1, (int64_t)head->revision);
    sqlite3_bind_blob64(statement, 2, head->hash, STORE_HASH_SIZE, SQLITE_STATIC);
    sqlite3_bind_int64(statement, 3, (int64_t)head->compacted_through);
    sqlite3_bind_blob64(statement, 4, head->compacted_hash, STORE_HASH_SIZE, SQLITE_STATIC);
    sqlite3_bind_int64(statement, 5, (int64_t)head->state_sum);
    return db_run(db, SQL_HEAD_PUT);
}

/* Deletes the next piece of what has become too old: at least as much as the batch brings, so that
 * it comes to an end. */
static bool history_compact(struct store *store, size_t batch, struct head *head)
{
    if (head->compacted_through >= store->compaction_target)
        return true;
    uint64_t piece = batch > COMPACTION_PIECE / 2 ? 2 * (uint64_t)batch : COMPACTION_PIECE;
    uint64_t left = store->compaction_target - head->compacted_through;
    uint64_t through = head->compacted_through + (piece < left ? piece : left);

    sqlite3_stmt *row = store->db.statements[SQL_CHANGE_HASH];
    sqlite3_bind_int64(row, 1, (int64_t)through);
    bool found = sqlite3_step(row) == SQLITE_ROW;
    if (found)
        memcpy(head->compacted_hash, sqlite3_column_blob(row, 0), STORE_HASH_SIZE);
    sqlite3_reset(row);
    head->compacted_through = through;
    sqlite3_bind_int64(store->db.statements[SQL_CHANGES_DROP], 1, (int64_t)through);
    return found && db_run(&store->db, SQL_CHANGES_DROP);
}

static bool batch_put(struct store *store, const struct changes *batch, uint8_t *hashes, struct head *head)
{
    if (!db_run(&store->db, SQL_BEGIN))
        return false;
    for (size_t i = 0; i < batch->count; i++) {
        if (!change_put(store, &batch->items[i], head))
            return false;
        memcpy(hashes + STORE_HASH_SIZE * i, head->hash, STORE_HASH_SIZE);
    }
    return history_compact(store, batch->count, head) && head_put(&store->db, head) && db_run(&store->db, SQL_COMMIT);
}

static void compaction_plan(struct store *store)
{
    uint64_t kept = store->head.revision - store->head.compacted_through, limit = store->history_limit;
    if (limit > 0 && kept > limit + COMPACTION_SLACK(limit))
        store->compaction_target = store->head.revision - limit;
}

/* A failure is no loss: the log keeps what the database did not get, and the next one moves it
 * again; so it does with what an operator's sqlite3 still reads. */
static void checkpoint(struct store *store)
{
    int in_log = 0, moved = 0;
    if (sqlite3_wal_checkpoint_v2(store->db.handle, "main", SQLITE_CHECKPOINT_PASSIVE, &in_log, &moved) == SQLITE_OK)
        store->wal_pages = in_log - moved;
}

void store_tidy(struct store *store)
{
    if (store->accepted && store->wal_pages >= LOG_PAGES_TIDY)
        checkpoint(store);
}

bool store_log_waits(const struct store *store)
{
    return store->ready && store->wal_pages > 0;
}

void store_fold(struct store *store)
{
    if (store_log_waits(store))
        checkpoint(store);
}

static int refuse_read_only(struct store *store, struct ipam_error *reterr)
{
    return ipam_error_set(reterr, IPAM_REASON_STORE_UNAVAILABLE, "%s", store->cause.message);
}

/* The mark of this database goes on; any other is replaced. */
static int mark_begin(struct store *store, const struct mark *mark, struct ipam_error *reterr)
{
    bool ours = store->mark.state == MARK_SOUND && !store->is_lost &&
                memcmp(store->mark.mark.database, mark->database, STORE_ID_SIZE) == 0;
    return ours ? mark_open(store->mark_path, &store->mark, reterr)
                : mark_create(store->dir, store->mark_path, mark, &store->mark, reterr);
}

/* The mark says what the head is. One that can't be written lags, which is safe; but no further commit is made on top of that:
 * the message then names the mark. */
static int mark_settle(struct store *store, struct ipam_error *reterr)
{
    struct mark mark = {.revision = store->head.revision};
    if (!store->mark_lags)
        return 0;
    memcpy(mark.database, store->origin.database, STORE_ID_SIZE);
    memcpy(mark.hash, store->head.hash, STORE_HASH_SIZE);
    if (store->mark.fd < 0 && mark_begin(store, &mark, reterr) < 0)
        return -1;
    if (memcmp(&mark, &store->mark.mark, sizeof(mark)) != 0 &&
        mark_write(store->mark_path, &mark, &store->mark, reterr) < 0)
        return -1;
    store->mark_lags = false;
    return 0;
}

static int upgrade(struct store *store, struct ipam_error *reterr)
{
    if (store->origin.known)
        return 0;
    if (schema_upgrade(&store->db, reterr) < 0)
        return -1;
    return origin_read(&store->db, &store->origin, reterr);
}

/* The mark comes first: a database that was in use and has none is one that was copied. What the log holds of the note is moved
 * at once, because a copy of ipamd.db alone has to show it. */
static int take_database(struct store *store, struct ipam_error *reterr)
{
    bool was_noted = store->origin.in_use && store->origin.same_file;
    if (upgrade(store, reterr) < 0 || mark_settle(store, reterr) < 0 ||
        origin_take(&store->db, &store->origin, reterr) < 0)
        return -1;
    if (!was_noted)
        checkpoint(store);
    store->ready = true;
    return 0;
}

int store_get_ready(struct store *store, struct ipam_error *reterr)
{
    if (store->access != DB_WRITE)
        return refuse_read_only(store, reterr);
    if (store->is_lost)
        return ipam_error_set(reterr, IPAM_REASON_CHANGES_LOST, "changes lost: that is to be recorded first");
    if (!store->ready && take_database(store, reterr) < 0)
        return -1;
    return mark_settle(store, reterr);
}

static int commit(struct store *store, const struct changes *batch, uint8_t *ret_hashes, struct ipam_error *reterr)
{
    struct head head = store->head;
    arena_reset(&store->hash_arena);
    uint8_t *hashes = arena_alloc(&store->hash_arena, STORE_HASH_SIZE * (batch->count + 1));
    if (!batch_put(store, batch, hashes, &head))
        return transaction_fail(store, reterr);
    store->head = head;
    store->mark_lags = true;
    store_accept(store);
    compaction_plan(store);
    if (ret_hashes)
        memcpy(ret_hashes, hashes, STORE_HASH_SIZE * batch->count);
    return 0;
}

int store_commit(struct store *store, const struct changes *batch, uint8_t *ret_hashes, struct ipam_error *reterr)
{
    if (store_get_ready(store, reterr) < 0 || commit(store, batch, ret_hashes, reterr) < 0)
        return -1;
    mark_settle(store, NULL); /* what is durable is acknowledged; the next commit tries again first of all */
    if (store->wal_pages >= LOG_PAGES_MOST)
        checkpoint(store);
    return 0;
}

/* ---- A loss ------------------------------------------------------------------------------------------------------ */

bool store_lost(const struct store *store, struct loss_record *ret)
{
    *ret = store->loss;
    return store->is_lost || store->mark.state != MARK_SOUND;
}

int store_commit_loss(struct store *store, const struct changes *batch, struct ipam_error *reterr)
{
    if (store->access != DB_WRITE)
        return refuse_read_only(store, reterr);
    if (upgrade(store, reterr) < 0 || commit(store, batch, NULL, reterr) < 0)
        return -1;
    store->mark.state = MARK_ABSENT; /* whatever it says */
    mark_close(&store->mark);
    return mark_settle(store, reterr);
}

uint64_t store_head(const struct store *store, uint8_t ret_hash[STORE_HASH_SIZE])
{
    memcpy(ret_hash, store->head.hash, STORE_HASH_SIZE);
    return store->head.revision;
}

/* ---- Getting well ------------------------------------------------------------------------------------------------ */

/* The disk could only be read when the store was opened. Nothing was written since, so opening anew must show the same
 * state: the engine is in it. If it does not, or if nothing opens any more, the store is closed until a later try. */
static int reopen(struct store *store, struct ipam_error *reterr)
{
    struct head before = store->head;
    if (store->lock_fd < 0 && lock_take(store->dir, false, &store->lock_fd, reterr) < 0)
        return -1;
    pthread_rwlock_wrlock(&store->access_lock);
    close_connection(store);
    int r = open_database(store, reterr);
    if (r == 0 && memcmp(before.hash, store->head.hash, STORE_HASH_SIZE) != 0) {
        close_connection(store);
        r = ipam_error_set(reterr, IPAM_REASON_STORE_UNAVAILABLE,
                           "%s was changed by another program while it could only be read: start ipamd again",
                           store->db_path);
    }
    if (r < 0) {
        store->head = before;
        store->cause = *reterr;
    } else {
        store->accepted = true; /* the engine was loaded from it */
    }
    pthread_rwlock_unlock(&store->access_lock);
    return r;
}

int store_probe(struct store *store, struct ipam_error *reterr)
{
    struct ipam_error error;
    if (store->access != DB_WRITE && reopen(store, &error) < 0)
        return error_pass(reterr, &error);
    if (store_get_ready(store, reterr) < 0)
        return -1;
    if (!db_run(&store->db, SQL_BEGIN) || !db_run(&store->db, SQL_PROBE) || !db_run(&store->db, SQL_COMMIT))
        return transaction_fail(store, reterr);
    return 0;
}
