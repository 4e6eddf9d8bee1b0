#include "private.h"

#include <inttypes.h>
#include <string.h>

struct verification {
    struct rows rows; /* first: the reading callback gets this */
    struct db *db;
    const struct head *head;
};

/* A row of the state is the very record that the history has under its revision. */
static int row_verify(struct rows *rows, const struct change *change, const uint8_t *record, size_t size,
                      struct ipam_error *reterr)
{
    struct verification *verification = (struct verification *)rows;
    struct db *db = verification->db;
    arena_reset(rows->arena);
    if (change->revision <= verification->head->compacted_through)
        return 0;
    sqlite3_stmt *row = db->statements[SQL_CHANGES_AFTER];
    sqlite3_bind_int64(row, 1, (int64_t)change->revision - 1);
    bool same = sqlite3_step(row) == SQLITE_ROW && (size_t)sqlite3_column_bytes(row, 1) == size &&
                memcmp(sqlite3_column_blob(row, 1), record, size) == 0;
    sqlite3_reset(row);
    return same ? 0
                : report_damage(db->path, reterr, "change %" PRIu64 " reads otherwise in the history than in the state",
                                change->revision);
}

static int rows_verify(struct db *db, const struct head *head, struct ipam_error *reterr)
{
    struct arena arena;
    struct verification verification = {{&arena, row_verify}, db, head};
    arena_init(&arena);
    int r = rows_read(db, head, &verification.rows, reterr);
    arena_done(&arena);
    return r;
}

static int verify_all(struct db *db, struct ipam_error *reterr)
{
    struct head head;
    if (db_check(db, "integrity_check", reterr) < 0 || head_read(db, &head, reterr) < 0 ||
        chain_verify(db, &head, head.compacted_through, reterr) < 0)
        return -1;
    return rows_verify(db, &head, reterr);
}

int store_verify(struct store *store, struct ipam_error *reterr)
{
    struct db reader;
    if (reader_take(store, &reader, reterr) < 0)
        return -1;
    int r = db_run(&reader, SQL_BEGIN_READ) ? verify_all(&reader, reterr) : db_fail(&reader, "can't be read", reterr);
    if (!sqlite3_get_autocommit(reader.handle))
        db_run(&reader, SQL_ROLLBACK);
    reader_give(store, &reader);
    return r;
}
