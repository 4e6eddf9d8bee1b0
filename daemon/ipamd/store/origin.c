#include "private.h"

#include <inttypes.h>
#include <sodium.h>
#include <string.h>

/* How a copy of ipamd.db alone is told from a backup, while ipamd uses it. Both hold in_use = 1. What is lacking in the first
 * is what the log holds; the second is whole. SQLite's backup gives what it makes another schema cookie
 * than the source has (sqlite3_backup_step: that of the file written over, plus 1; 1 for a new one), as whoever has the
 * copy open must notice; a copy by other means has the same bytes. So the cookie is a number that no backup counts up to, and
 * `origin` repeats it: they agree in the database and in byte for byte copies of it, and nowhere else. */
#define COOKIE_LEAST 0x40000000

static int origin_from_row(struct db *db, sqlite3_stmt *row, struct origin *ret, struct ipam_error *reterr)
{
    int64_t cookie;
    if (sqlite3_step(row) != SQLITE_ROW)
        return db_fail(db, "its table origin can't be read", reterr);
    if (sqlite3_column_bytes(row, 0) != STORE_ID_SIZE)
        return report_damage(db->path, reterr, "its table origin makes no sense");
    memcpy(ret->database, sqlite3_column_blob(row, 0), STORE_ID_SIZE);
    ret->in_use = sqlite3_column_int64(row, 1) != 0;
    ret->cookie = sqlite3_column_int64(row, 2);
    if (db_pragma_number(db, "schema_version", &cookie, reterr) < 0)
        return -1;
    ret->known = true;
    ret->same_file = cookie == ret->cookie;
    return 0;
}

int origin_read(struct db *db, struct origin *ret, struct ipam_error *reterr)
{
    sqlite3_stmt *row = NULL;
    int64_t version;
    *ret = (struct origin){.known = false};
    if (db_pragma_number(db, "user_version", &version, reterr) < 0)
        return -1;
    if (version < 2)
        return 0;
    int code =
        sqlite3_prepare_v2(db->handle, "SELECT database, in_use, cookie FROM origin WHERE id = 1", -1, &row, NULL);
    int r = code == SQLITE_OK ? origin_from_row(db, row, ret, reterr)
                              : db_fail(db, "its table origin can't be read", reterr);
    sqlite3_finalize(row);
    return r;
}

static int origin_write(struct db *db, bool in_use, int64_t cookie, struct ipam_error *reterr)
{
    char *sql = sqlite3_mprintf("BEGIN IMMEDIATE; UPDATE origin SET in_use = %d, cookie = %lld;"
                                "PRAGMA schema_version = %lld; COMMIT;",
                                (int)in_use, (long long)cookie, (long long)cookie);
    int r = db_exec(db, sql, reterr);
    if (r < 0 && !sqlite3_get_autocommit(db->handle))
        sqlite3_exec(db->handle, "ROLLBACK", NULL, NULL, NULL); /* the error is in *reterr already */
    sqlite3_free(sql);
    return r;
}

int origin_take(struct db *db, struct origin *origin, struct ipam_error *reterr)
{
    int64_t cookie = origin->same_file ? origin->cookie : COOKIE_LEAST + randombytes_uniform(COOKIE_LEAST - 1);
    if (origin->in_use && origin->same_file)
        return 0;
    if (origin_write(db, true, cookie, reterr) < 0)
        return -1;
    origin->in_use = origin->same_file = true;
    origin->cookie = cookie;
    return 0;
}

int origin_leave(struct db *db, struct origin *origin, struct ipam_error *reterr)
{
    if (origin_write(db, false, origin->cookie, reterr) < 0)
        return -1;
    origin->in_use = false;
    return 0;
}
