#include "db.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

static const char *const statement_texts[SQL_COUNT] = {
    [SQL_BEGIN] = "BEGIN IMMEDIATE",
    [SQL_BEGIN_READ] = "BEGIN",
    [SQL_COMMIT] = "COMMIT",
    [SQL_ROLLBACK] = "ROLLBACK",
    [SQL_CHANGE_ADD] = "INSERT INTO changes(revision, record, hash) VALUES(?1, ?2, ?3)",
    [SQL_CHANGES_AFTER] = "SELECT revision, record, hash FROM changes WHERE revision > ?1 ORDER BY revision",
    [SQL_CHANGES_DROP] = "DELETE FROM changes WHERE revision <= ?1",
    [SQL_CHANGE_HASH] = "SELECT hash FROM changes WHERE revision = ?1",
    [SQL_CHANGES_ENDS] = "SELECT (SELECT min(revision) FROM changes), (SELECT max(revision) FROM changes)",
    [SQL_POOL_CHECKSUM] = "SELECT checksum FROM pools WHERE id = ?1",
    [SQL_POOL_PUT] = "INSERT OR REPLACE INTO pools(id, record, checksum) VALUES(?1, ?2, ?3)",
    [SQL_POOL_DROP] = "DELETE FROM pools WHERE id = ?1",
    [SQL_POOLS_ALL] = "SELECT id, record, checksum FROM pools ORDER BY id",
    [SQL_CLAIM_CHECKSUM] = "SELECT checksum FROM claims WHERE id = ?1",
    [SQL_CLAIM_PUT] = "INSERT OR REPLACE INTO claims(id, record, checksum) VALUES(?1, ?2, ?3)",
    [SQL_CLAIM_DROP] = "DELETE FROM claims WHERE id = ?1",
    [SQL_CLAIMS_ALL] = "SELECT id, record, checksum FROM claims ORDER BY id",
    [SQL_HEAD_GET] = "SELECT revision, hash, compacted_through, compacted_hash, state_sum FROM "
                     "meta WHERE id = 1",
    [SQL_HEAD_PUT] = "UPDATE meta SET revision = ?1, hash = ?2, compacted_through = ?3, "
                     "compacted_hash = ?4, state_sum = ?5"
                     " WHERE id = 1",
    [SQL_PROBE] = "UPDATE meta SET probes = probes + 1 WHERE id = 1",
};

/* None of these writes. A commit is durable (synchronous=FULL: the log is synced with each).
 * Checkpoints are ours to time. */
static const char settings[] = "PRAGMA synchronous = FULL;"
                               "PRAGMA cache_size = -16384;"
                               "PRAGMA temp_store = MEMORY;"
                               "PRAGMA trusted_schema = OFF;"
                               "PRAGMA wal_autocheckpoint = 0;"
                               "PRAGMA journal_size_limit = 67108864;";

#define BUSY_TIMEOUT_MS 5000 /* an operator's sqlite3 shell may hold a lock for a moment */

static const struct {
    int flags;
    const char *parameters, *first;
} accesses[] = {
    [DB_WRITE] = {SQLITE_OPEN_READWRITE, "", ""},
    [DB_READ] = {SQLITE_OPEN_READONLY, "", "PRAGMA query_only = ON;"},
    [DB_IMMUTABLE] = {SQLITE_OPEN_READONLY, "?immutable=1", ""},
    /* Exclusive locking keeps the log's index out of a shared memory file, and the VFS without
     * locks lets it have that on a file that is open for reading. Nobody else writes: the lock file
     * is ours, or the disk takes no writes. */
    [DB_STATIC_WAL] = {SQLITE_OPEN_READONLY, "?vfs=unix-none", "PRAGMA locking_mode = EXCLUSIVE;"},
};

/* file:PATH with what has a meaning in a URI escaped (RFC 3986). */
static char *file_uri(const char *path, const char *parameters)
{
    sqlite3_str *text = sqlite3_str_new(NULL);
    sqlite3_str_appendall(text, "file:");
    for (const char *at = path; *at; at++)
        sqlite3_str_appendf(text, strchr("%?#", *at) ? "%%%02x" : "%c", *at);
    sqlite3_str_appendall(text, parameters);
    return sqlite3_str_finish(text);
}

static bool is_damage(int code)
{
    int primary = code & 0xff;
    return primary == SQLITE_CORRUPT || primary == SQLITE_NOTADB || primary == SQLITE_FORMAT;
}

int db_fail(struct db *db, const char *what, struct ipam_error *reterr)
{
    int code = sqlite3_extended_errcode(db->handle);
    int number = sqlite3_system_errno(db->handle);
    const char *message = sqlite3_errmsg(db->handle);
    if (is_damage(code))
        return ipam_error_set(reterr, IPAM_REASON_STORE_DAMAGED,
                              "%s is damaged: %s: %s; restore it from a backup, and see what `ipamd --check` says",
                              db->path, what, message);
    if ((code & 0xff) == SQLITE_FULL)
        return ipam_error_set(reterr, IPAM_REASON_STORE_UNAVAILABLE, "%s: %s: %s", db->path, what, strerror(ENOSPC));
    if (number != 0)
        return ipam_error_set(reterr, IPAM_REASON_STORE_UNAVAILABLE, "%s: %s: %s (%s)", db->path, what, message,
                              strerror(number));
    return ipam_error_set(reterr, IPAM_REASON_STORE_UNAVAILABLE, "%s: %s: %s", db->path, what, message);
}

int db_exec(struct db *db, const char *sql, struct ipam_error *reterr)
{
    if (sqlite3_exec(db->handle, sql, NULL, NULL, NULL) != SQLITE_OK)
        return db_fail(db, "can't be used", reterr);
    return 0;
}

int db_open(struct db *db, const char *path, enum db_access access, struct ipam_error *reterr)
{
    char *uri = file_uri(path, accesses[access].parameters);
    *db = (struct db){.path = path};
    int flags = accesses[access].flags | SQLITE_OPEN_URI | SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_EXRESCODE;
    int code = sqlite3_open_v2(uri, &db->handle, flags, NULL);
    int r = code == SQLITE_OK ? 0 : db_fail(db, "can't be opened", reterr);
    sqlite3_free(uri);
    if (r == 0) {
        sqlite3_busy_timeout(db->handle, BUSY_TIMEOUT_MS);
        /* Until the store has accepted what it reads, closing must leave the log alone. */
        sqlite3_db_config(db->handle, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1, NULL);
        r = db_exec(db, accesses[access].first, reterr);
    }
    if (r == 0)
        r = db_exec(db, settings, reterr);
    if (r < 0)
        db_close(db);
    return r;
}

/* SQLITE_ERROR: a table or column is not there. */
static int fail_prepare(struct db *db, struct ipam_error *reterr)
{
    if (sqlite3_errcode(db->handle) != SQLITE_ERROR)
        return db_fail(db, "its tables can't be read", reterr);
    return ipam_error_set(reterr, IPAM_REASON_STORE_DAMAGED,
                          "%s is damaged: its tables are not as ipamd makes them: %s; restore it from a backup",
                          db->path, sqlite3_errmsg(db->handle));
}

int db_prepare(struct db *db, struct ipam_error *reterr)
{
    for (size_t i = 0; i < SQL_COUNT; i++)
        if (sqlite3_prepare_v3(db->handle, statement_texts[i], -1, SQLITE_PREPARE_PERSISTENT, &db->statements[i],
                               NULL) != SQLITE_OK)
            return fail_prepare(db, reterr);
    return 0;
}

void db_close(struct db *db)
{
    for (size_t i = 0; i < SQL_COUNT; i++)
        sqlite3_finalize(db->statements[i]);
    sqlite3_close(db->handle);
    *db = (struct db){.path = db->path};
}

int db_pragma_number(struct db *db, const char *pragma, int64_t *ret, struct ipam_error *reterr)
{
    sqlite3_stmt *statement = NULL;
    char text[64];
    snprintf(text, sizeof(text), "PRAGMA %s", pragma);
    int r = 0;
    if (sqlite3_prepare_v2(db->handle, text, -1, &statement, NULL) != SQLITE_OK ||
        sqlite3_step(statement) != SQLITE_ROW)
        r = db_fail(db, "can't be read", reterr);
    else
        *ret = sqlite3_column_int64(statement, 0);
    sqlite3_finalize(statement);
    return r;
}

int db_check(struct db *db, const char *pragma, struct ipam_error *reterr)
{
    sqlite3_stmt *statement = NULL;
    char text[64];
    snprintf(text, sizeof(text), "PRAGMA %s(1)", pragma);
    int r = 0;
    if (sqlite3_prepare_v2(db->handle, text, -1, &statement, NULL) != SQLITE_OK ||
        sqlite3_step(statement) != SQLITE_ROW)
        r = db_fail(db, "can't be read", reterr);
    else if (strcmp((const char *)sqlite3_column_text(statement, 0), "ok") != 0)
        r = ipam_error_set(reterr, IPAM_REASON_STORE_DAMAGED, "%s is damaged: %s; restore it from a backup", db->path,
                           sqlite3_column_text(statement, 0));
    sqlite3_finalize(statement);
    return r;
}

bool db_run(struct db *db, enum statement statement)
{
    int code = sqlite3_step(db->statements[statement]);
    sqlite3_reset(db->statements[statement]); /* reports the same error again */
    return code == SQLITE_DONE;
}
