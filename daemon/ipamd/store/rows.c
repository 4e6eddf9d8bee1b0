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
    struct rows *rows;
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
    if (record_decode(record, size, reading->rows->arena, &change, reterr) < 0)
        return ipam_error_prefix(reterr, "%s is damaged: row %" PRIu64 " of %s", path, id, table->name);
    if (change.kind != table->kind || entity_id(&change) != id || change.revision > reading->head->revision)
        return report_damage(path, reterr, "row %" PRIu64 " of %s holds another one's record", id, table->name);
    reading->sum += checksum;
    return reading->rows->each(reading->rows, &change, record, size, reterr);
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

int rows_read(struct db *db, const struct head *head, struct rows *rows, struct ipam_error *reterr)
{
    struct reading reading = {.db = db, .head = head, .rows = rows};
    int r = 0;
    for (size_t i = 0; r == 0 && i < sizeof(tables) / sizeof(tables[0]); i++)
        r = table_read(&reading, &tables[i], reterr);
    if (r == 0 && reading.sum != head->state_sum)
        r = report_damage(db->path, reterr, "a row of pools or claims is missing or older than the last one written");
    return r;
}
