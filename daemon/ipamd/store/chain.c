#include "private.h"

#include <inttypes.h>
#include <sodium.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

int report_damage(const char *path, struct ipam_error *reterr, const char *format, ...)
{
    char what[512];
    va_list args;
    va_start(args, format);
    vsnprintf(what, sizeof(what), format, args);
    va_end(args);
    return ipam_error_set(reterr, IPAM_REASON_STORE_DAMAGED,
                          "%s is damaged: %s; nothing was altered: restore it from a backup, and "
                          "see what `ipamd --check` says",
                          path, what);
}

void chain_next(const uint8_t previous[STORE_HASH_SIZE], const void *record, size_t size, uint8_t ret[STORE_HASH_SIZE])
{
    crypto_generichash_state state;
    crypto_generichash_init(&state, NULL, 0, STORE_HASH_SIZE);
    crypto_generichash_update(&state, previous, STORE_HASH_SIZE);
    crypto_generichash_update(&state, record, size);
    crypto_generichash_final(&state, ret, STORE_HASH_SIZE);
}

/* Against accidents, not against people: the key is no secret. */
uint64_t row_checksum(const void *record, size_t size)
{
    static const uint8_t key[crypto_shorthash_KEYBYTES] = "ipamd state row";
    uint64_t sum;
    _Static_assert(sizeof(sum) == crypto_shorthash_BYTES, "SipHash gives 64 bits");
    crypto_shorthash((uint8_t *)&sum, record, size, key);
    return sum;
}

static bool column_hash(sqlite3_stmt *row, int column, uint8_t ret[STORE_HASH_SIZE])
{
    const void *hash = sqlite3_column_blob(row, column);
    if (sqlite3_column_bytes(row, column) != STORE_HASH_SIZE)
        return false;
    memcpy(ret, hash, STORE_HASH_SIZE);
    return true;
}

static int head_from_row(struct db *db, sqlite3_stmt *row, struct head *ret, struct ipam_error *reterr)
{
    struct head head = {
        .revision = (uint64_t)sqlite3_column_int64(row, 0),
        .compacted_through = (uint64_t)sqlite3_column_int64(row, 2),
        .state_sum = (uint64_t)sqlite3_column_int64(row, 4),
    };
    if (!column_hash(row, 1, head.hash) || !column_hash(row, 3, head.compacted_hash) ||
        head.compacted_through > head.revision)
        return report_damage(db->path, reterr, "its table meta makes no sense");
    *ret = head;
    return 0;
}

int head_read(struct db *db, struct head *ret, struct ipam_error *reterr)
{
    sqlite3_stmt *row = db->statements[SQL_HEAD_GET];
    int code = sqlite3_step(row), r;
    if (code == SQLITE_ROW)
        r = head_from_row(db, row, ret, reterr);
    else if (code == SQLITE_DONE)
        r = report_damage(db->path, reterr, "its table meta is empty");
    else
        r = db_fail(db, "can't be read", reterr);
    sqlite3_reset(row);
    return r;
}

int chain_hash(struct db *db, const struct head *head, uint64_t revision, uint8_t ret[STORE_HASH_SIZE],
               struct ipam_error *reterr)
{
    if (revision == head->compacted_through) {
        memcpy(ret, head->compacted_hash, STORE_HASH_SIZE);
        return 0;
    }
    sqlite3_stmt *row = db->statements[SQL_CHANGE_HASH];
    sqlite3_bind_int64(row, 1, (int64_t)revision);
    int code = sqlite3_step(row), r = 0;
    if (code != SQLITE_ROW && code != SQLITE_DONE)
        r = db_fail(db, "its history can't be read", reterr);
    else if (code == SQLITE_DONE || !column_hash(row, 0, ret))
        r = report_damage(db->path, reterr, "change %" PRIu64 " is missing from its history", revision);
    sqlite3_reset(row);
    return r;
}

/* One step: `hash` is that of the change before and becomes that of this one. */
static int chain_step(struct db *db, sqlite3_stmt *row, uint64_t expected, uint8_t hash[STORE_HASH_SIZE],
                      struct ipam_error *reterr)
{
    uint64_t revision = (uint64_t)sqlite3_column_int64(row, 0);
    uint8_t next[STORE_HASH_SIZE], written[STORE_HASH_SIZE];
    if (revision != expected)
        return report_damage(db->path, reterr, "change %" PRIu64 " is missing from its history", expected);
    chain_next(hash, sqlite3_column_blob(row, 1), (size_t)sqlite3_column_bytes(row, 1), next);
    if (!column_hash(row, 2, written) || memcmp(next, written, STORE_HASH_SIZE) != 0)
        return report_damage(db->path, reterr, "change %" PRIu64 " does not fit the hash chain of its history",
                             revision);
    memcpy(hash, next, STORE_HASH_SIZE);
    return 0;
}

int chain_verify(struct db *db, const struct head *head, uint64_t after, struct ipam_error *reterr)
{
    uint8_t hash[STORE_HASH_SIZE];
    uint64_t revision = after;
    if (chain_hash(db, head, after, hash, reterr) < 0)
        return -1;
    sqlite3_stmt *row = db->statements[SQL_CHANGES_AFTER];
    sqlite3_bind_int64(row, 1, (int64_t)after);
    int code, r = 0;
    while (r == 0 && (code = sqlite3_step(row)) == SQLITE_ROW)
        r = chain_step(db, row, ++revision, hash, reterr);
    if (r == 0 && code != SQLITE_DONE)
        r = db_fail(db, "its history can't be read", reterr);
    sqlite3_reset(row);
    if (r == 0 && (revision != head->revision || memcmp(hash, head->hash, STORE_HASH_SIZE) != 0))
        r = report_damage(db->path, reterr,
                          "its history ends at change %" PRIu64 " and not as written at change %" PRIu64, revision,
                          head->revision);
    return r;
}
