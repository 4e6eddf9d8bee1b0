/* db.h: one SQLite connection to ipamd.db with its prepared statements, and SQLite's errors as
 * ours.
 *
 * Called by the other files of the store only. It knows SQL and files; it must not know what a
 * change is. A struct db that is all zero is closed. One thread at a time uses a connection.
 */
#ifndef IPAMD_STORE_DB_H
#define IPAMD_STORE_DB_H

#include <sqlite3.h>
#include <stdbool.h>
#include <stdint.h>

#include <ipam/error.h>

enum statement {
    SQL_BEGIN,
    SQL_BEGIN_READ,
    SQL_COMMIT,
    SQL_ROLLBACK,
    SQL_CHANGE_ADD,
    SQL_CHANGES_AFTER,
    SQL_CHANGES_DROP,
    SQL_CHANGE_HASH,
    SQL_CHANGES_ENDS,
    SQL_POOL_CHECKSUM, /* the same four for pools and claims, in the same order */
    SQL_POOL_PUT,
    SQL_POOL_DROP,
    SQL_POOLS_ALL,
    SQL_CLAIM_CHECKSUM,
    SQL_CLAIM_PUT,
    SQL_CLAIM_DROP,
    SQL_CLAIMS_ALL,
    SQL_HEAD_GET,
    SQL_HEAD_PUT,
    SQL_PROBE,
    SQL_COUNT
};

struct db {
    const char *path; /* borrowed; for messages */
    sqlite3 *handle;
    sqlite3_stmt *statements[SQL_COUNT];
};

enum db_access {
    DB_CLOSED,    /* none */
    DB_WRITE,     /* the store's own connection */
    DB_READ,      /* beside it */
    DB_IMMUTABLE, /* on a disk that can't be written: without log, locks or shared memory */
    DB_STATIC_WAL /* the same, with a log that was left behind: its index is kept in our memory */
};

/* Opens without altering anything; the file must exist. Statements are not prepared yet: the schema
 * may be another one. */
int db_open(struct db *db, const char *path, enum db_access access, struct ipam_error *reterr);
int db_prepare(struct db *db, struct ipam_error *reterr);
void db_close(struct db *db); /* closed is fine */

int db_exec(struct db *db, const char *sql, struct ipam_error *reterr);
int db_pragma_number(struct db *db, const char *pragma, int64_t *ret, struct ipam_error *reterr);
/* "ok", or the first thing that SQLite's integrity_check or quick_check finds: STORE_DAMAGED. */
int db_check(struct db *db, const char *pragma, struct ipam_error *reterr);

/* Steps a statement that gives no row, and resets it. False: the error is still at the connection,
 * for db_fail. */
bool db_run(struct db *db, enum statement statement);

/* The connection's last error as ours: STORE_DAMAGED when the file is at fault, else
 * STORE_UNAVAILABLE with the system's reason. Returns -1. */
int db_fail(struct db *db, const char *what, struct ipam_error *reterr);

#endif
