#include "private.h"
#include "record.h"

#include <inttypes.h>

struct table {
    const char *name;
    enum statement all;
    enum change_kind kind;
};

static const struct table tables[] = {
    {"pools", SQL_POOLS_ALL, CHANGE_POOL},
    {"claims", SQL_CLAIMS_ALL, CHANGE_CLAIM},
};

struct reading {
    struct db *db;
    const struct head *head;
    row_fn each;
    void *user;
    struct arena arena; /* of the row at hand */
    uint64_t sum;
};

static uint64_t entity_id(const struct change *change)
{
    return change->kind == CHANGE_POOL ? change->pool.id : change->claim.id;
}

static int row_read(struct reading *reading, const struct table *table, sqlite3_stmt *row, struct ipam_error *reterr)
{
    const char *path = reading->db->path;
    uint64_t id = (uint64_t)sqlite3_column_int64(row, 0);
    const uint8_t *record = sqlite3_column_blob(row, 1);
    size_t size = (size_t)sqlite3_column_bytes(row, 1);
    uint64_t checksum = (uint64_t)sqlite3_column_int64(row, 2);
    struct change change;
    if (row_checksum(record, size) != checksum)
        return report_damage(path, reterr, "row %" PRIu64 " of %s has another checksum than was written", id,
                             table->name);
    arena_reset(&reading->arena);
    if (record_decode(record, size, &reading->arena, &change, reterr) < 0)
        return ipam_error_prefix(reterr, "%s is damaged: row %" PRIu64 " of %s", path, id, table->name);
    if (change.kind != table->kind || entity_id(&change) != id || change.revision > reading->head->revision)
        return report_damage(path, reterr, "row %" PRIu64 " of %s holds another one's record", id, table->name);
    reading->sum += checksum;
    return reading->each(reading->user, &change, record, size, reterr);
}

static int table_read(struct reading *reading, const struct table *table, struct ipam_error *reterr)
{
    sqlite3_stmt *row = reading->db->statements[table->all];
    int code, r = 0;
    while (r == 0 && (code = sqlite3_step(row)) == SQLITE_ROW)
        r = row_read(reading, table, row, reterr);
    if (r == 0 && code != SQLITE_DONE)
        r = db_fail(reading->db, "can't be read", reterr);
    sqlite3_reset(row);
    return r;
}

int rows_read(struct db *db, const struct head *head, row_fn each, void *user, struct ipam_error *reterr)
{
    struct reading reading = {.db = db, .head = head, .each = each, .user = user};
    int r = 0;
    arena_init(&reading.arena);
    for (size_t i = 0; r == 0 && i < sizeof(tables) / sizeof(tables[0]); i++)
        r = table_read(&reading, &tables[i], reterr);
    if (r == 0 && reading.sum != head->state_sum)
        r = report_damage(db->path, reterr, "a row of pools or claims is missing or older than the last one written");
    arena_done(&reading.arena);
    return r;
}

static int replay_row(void *user, const struct change *change, const uint8_t *record, size_t size,
                      struct ipam_error *reterr)
{
    (void)record;
    (void)size;
    return engine_replay(user, change, reterr);
}

/* When the newest change was made: no later one may be dated before it. */
static int last_change_time(struct store *store, struct wall_time *ret, struct ipam_error *reterr)
{
    sqlite3_stmt *row = store->db.statements[SQL_CHANGES_AFTER];
    struct arena arena;
    struct change change;
    arena_init(&arena);
    sqlite3_bind_int64(row, 1, (int64_t)store->head.revision - 1);
    int r =
        sqlite3_step(row) == SQLITE_ROW
            ? record_decode(sqlite3_column_blob(row, 1), (size_t)sqlite3_column_bytes(row, 1), &arena, &change, reterr)
            : db_fail(&store->db, "its history can't be read", reterr);
    if (r == 0)
        *ret = change.at;
    sqlite3_reset(row);
    arena_done(&arena);
    return r;
}

int store_load(struct store *store, struct engine *engine, struct ipam_error *reterr)
{
    struct wall_time at = {0};
    if (rows_read(&store->db, &store->head, replay_row, engine, reterr) < 0)
        return -1;
    if (store->head.revision > 0 && last_change_time(store, &at, reterr) < 0)
        return -1;
    engine_set_revision(engine, store->head.revision, at);
    store_accept(store);
    return 0;
}
