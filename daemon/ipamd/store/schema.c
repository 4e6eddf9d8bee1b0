#include "private.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* Migration i leads from schema i to schema i + 1 (PRAGMA user_version). Append only.
 *
 * `changes` is the history. `pools` and `claims` hold the last change of each that lives, so that a start reads what is and
 * not all that was. The history has no index beside the revision: indexes by owner and by address cut the rate of commits
 * to a quarter, and a filtered read can say how far it has looked. */
static const char *const migrations[] = {
    "CREATE TABLE changes(revision INTEGER PRIMARY KEY, record BLOB NOT NULL, hash BLOB NOT NULL) STRICT;"
    "CREATE TABLE pools(id INTEGER PRIMARY KEY, record BLOB NOT NULL, checksum INTEGER NOT NULL) STRICT;"
    "CREATE TABLE claims(id INTEGER PRIMARY KEY, record BLOB NOT NULL, checksum INTEGER NOT NULL) STRICT;"
    "CREATE TABLE meta(id INTEGER PRIMARY KEY CHECK(id = 1), revision INTEGER NOT NULL, hash BLOB NOT NULL,"
    " compacted_through INTEGER NOT NULL, compacted_hash BLOB NOT NULL, state_sum INTEGER NOT NULL,"
    " probes INTEGER NOT NULL) STRICT;"
    "INSERT INTO meta VALUES(1, 0, zeroblob(32), 0, zeroblob(32), 0, 0);",
    /* Which database this is, and whether an ipamd uses it: see origin.c. */
    "CREATE TABLE origin(id INTEGER PRIMARY KEY CHECK(id = 1), database BLOB NOT NULL, in_use INTEGER NOT NULL,"
    " cookie INTEGER NOT NULL) STRICT;"
    "INSERT INTO origin VALUES(1, randomblob(16), 0, 0);",
};

#define SCHEMA_VERSION ((int64_t)(sizeof(migrations) / sizeof(migrations[0])))

int schema_refuse_newer(const char *path, int64_t version, struct ipam_error *reterr)
{
    if (version <= SCHEMA_VERSION)
        return 0;
    return ipam_error_set(reterr, IPAM_REASON_STORE_TOO_NEW,
                          "%s has schema %" PRId64 " and ipamd " IPAM_VERSION " knows schemas up to %" PRId64
                          ": run the ipamd that wrote it or a newer one, or restore a backup from before the upgrade",
                          path, version, SCHEMA_VERSION);
}

/* One migration with its version number: both or neither. */
static int migrate_once(struct db *db, int64_t version, struct ipam_error *reterr)
{
    char *sql = sqlite3_mprintf("BEGIN IMMEDIATE; %s PRAGMA user_version = %lld; COMMIT;", migrations[version],
                                (long long)version + 1);
    int r = db_exec(db, sql, reterr);
    if (r < 0 && !sqlite3_get_autocommit(db->handle))
        sqlite3_exec(db->handle, "ROLLBACK", NULL, NULL, NULL); /* the error is in *reterr already */
    sqlite3_free(sql);
    return r;
}

static int migrate(struct db *db, int64_t version, struct ipam_error *reterr)
{
    int r = 0;
    for (; r == 0 && version < SCHEMA_VERSION; version++)
        r = migrate_once(db, version, reterr);
    return r;
}

/* The log may hold another version than the file's header. */
int schema_check(struct db *db, struct ipam_error *reterr)
{
    int64_t version;
    if (db_pragma_number(db, "user_version", &version, reterr) < 0)
        return -1;
    return schema_refuse_newer(db->path, version, reterr);
}

int schema_upgrade(struct db *db, struct ipam_error *reterr)
{
    int64_t version;
    if (db_pragma_number(db, "user_version", &version, reterr) < 0)
        return -1;
    if (version == SCHEMA_VERSION)
        return 0;
    if (db_check(db, "quick_check", reterr) < 0) /* a damaged one is not altered */
        return -1;
    return migrate(db, version, reterr);
}

/* ---- A new database ---------------------------------------------------------------------------------------------- */

int path_fail(const char *path, const char *what, struct ipam_error *reterr)
{
    return ipam_error_set(reterr, IPAM_REASON_STORE_UNAVAILABLE, "%s can't be %s: %s", path, what, strerror(errno));
}

int path_sync(const char *path, int flags, struct ipam_error *reterr)
{
    int fd = open(path, flags | O_CLOEXEC);
    int r = fd < 0 || fsync(fd) < 0 ? path_fail(path, "synced", reterr) : 0;
    if (fd >= 0)
        close(fd);
    return r;
}

static void remove_new(const char *path)
{
    static const char *const suffixes[] = {"", "-journal", "-wal", "-shm"};
    char name[4096];
    for (size_t i = 0; i < sizeof(suffixes) / sizeof(suffixes[0]); i++) {
        snprintf(name, sizeof(name), "%s%s", path, suffixes[i]);
        unlink(name);
    }
}

static int make_file(const char *path, struct ipam_error *reterr)
{
    int fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0640); /* SQLite gives log and index the same mode */
    if (fd < 0)
        return path_fail(path, "created", reterr);
    close(fd);
    return 0;
}

static int fill_file(const char *path, struct ipam_error *reterr)
{
    struct db db;
    char pragmas[128];
    snprintf(pragmas, sizeof(pragmas), "PRAGMA page_size = 4096; PRAGMA application_id = %d;", STORE_APPLICATION_ID);
    int r = db_open(&db, path, DB_WRITE, reterr);
    if (r == 0)
        r = db_exec(&db, pragmas, reterr);
    if (r == 0)
        r = migrate(&db, 0, reterr);
    if (r == 0)
        r = db_exec(&db, "PRAGMA journal_mode = WAL;", reterr); /* remembered in the header; the log itself is empty */
    if (r == 0)
        sqlite3_db_config(db.handle, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 0, NULL);
    db_close(&db);
    return r;
}

/* Made under another name and renamed when it is whole and on disk, so that an ipamd.db that is
 * empty or cut short is always damage and never a first start that was interrupted. */
int schema_create(const char *dir, const char *db_path, struct ipam_error *reterr)
{
    char path[4096];
    snprintf(path, sizeof(path), "%s.new", db_path);
    remove_new(path);
    int r = make_file(path, reterr);
    if (r == 0)
        r = fill_file(path, reterr);
    if (r == 0)
        r = path_sync(path, O_RDWR, reterr);
    if (r == 0 && rename(path, db_path) < 0)
        r = path_fail(db_path, "created", reterr);
    if (r == 0)
        r = path_sync(dir, O_RDONLY | O_DIRECTORY, reterr);
    if (r < 0)
        remove_new(path);
    return r;
}
