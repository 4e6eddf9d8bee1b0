#include "private.h"
#include "record.h"

#include <string.h>

/* ---- Readers ----------------------------------------------------------------------------------------------------- */

static int reader_open(struct store *store, struct db *ret, struct ipam_error *reterr)
{
    enum db_access access = store->access == DB_WRITE ? DB_READ : store->access;
    int r = db_open(ret, store->db_path, access, reterr);
    if (r == 0)
        r = db_prepare(ret, reterr);
    if (r < 0)
        db_close(ret);
    return r;
}

int readers_open(struct store *store, struct ipam_error *reterr)
{
    int r = reader_open(store, &store->idle_readers[0], reterr);
    if (r == 0)
        store->idle_count = 1;
    return r;
}

void readers_close(struct store *store)
{
    while (store->idle_count > 0)
        db_close(&store->idle_readers[--store->idle_count]);
}

int reader_take(struct store *store, struct db *ret, struct ipam_error *reterr)
{
    int r = 0;
    pthread_rwlock_rdlock(&store->access_lock);
    if (store->access == DB_CLOSED) {
        r = ipam_error_set(reterr, IPAM_REASON_STORE_UNAVAILABLE, "%s", store->cause.message);
        pthread_rwlock_unlock(&store->access_lock);
        return r;
    }
    pthread_mutex_lock(&store->readers_mutex);
    bool found = store->idle_count > 0;
    if (found)
        *ret = store->idle_readers[--store->idle_count];
    pthread_mutex_unlock(&store->readers_mutex);
    if (!found)
        r = reader_open(store, ret, reterr);
    if (r < 0)
        pthread_rwlock_unlock(&store->access_lock);
    return r;
}

void reader_give(struct store *store, struct db *reader)
{
    bool kept = false;
    pthread_mutex_lock(&store->readers_mutex);
    if (store->idle_count < STORE_READERS_IDLE) {
        store->idle_readers[store->idle_count++] = *reader;
        kept = true;
    }
    pthread_mutex_unlock(&store->readers_mutex);
    if (!kept)
        db_close(reader);
    pthread_rwlock_unlock(&store->access_lock);
}

/* ---- Filters ----------------------------------------------------------------------------------------------------- */

static bool query_filters(const struct store_query *query)
{
    return *query->pool || *query->kind || *query->name || query->address;
}

static bool text_matches(const char *wanted, const char *text)
{
    return !*wanted || strcmp(wanted, text) == 0;
}

/* Lost changes may have been of any pool, owner and address. */
static bool change_matches(const struct store_query *query, const struct change *change)
{
    if (change->kind == CHANGE_LOSS)
        return true;
    if (change->kind == CHANGE_POOL)
        return text_matches(query->pool, change->pool.name) && !*query->kind && !*query->name && !query->address;
    const struct claim_record *claim = &change->claim;
    return text_matches(query->pool, claim->pool) && text_matches(query->kind, claim->owner.kind) &&
           text_matches(query->name, claim->owner.name) &&
           (!query->address || ipam_addr_equal(query->address, &claim->address));
}

/* ---- Reading ----------------------------------------------------------------------------------------------------- */

struct page_maker {
    struct db *db;
    const struct store_query *query;
    struct arena *arena;  /* of the results */
    struct arena scratch; /* of the record that is looked at */
    size_t capacity;
    size_t scanned, bytes;
    struct store_page page;
};

static void page_append(struct page_maker *maker, sqlite3_stmt *row)
{
    struct store_page *page = &maker->page;
    if (page->count == maker->capacity) {
        maker->capacity = maker->capacity ? 2 * maker->capacity : 16;
        struct store_record *items = arena_alloc(maker->arena, maker->capacity * sizeof(*items));
        if (page->count)
            memcpy(items, page->items, page->count * sizeof(*items));
        page->items = items;
    }
    size_t size = (size_t)sqlite3_column_bytes(row, 1);
    maker->bytes += size;
    page->items[page->count++] = (struct store_record){
        .revision = (uint64_t)sqlite3_column_int64(row, 0),
        .record = (uint8_t *)arena_memdup(maker->arena, sqlite3_column_blob(row, 1), size),
        .size = size,
        .hash = (uint8_t *)arena_memdup(maker->arena, sqlite3_column_blob(row, 2), STORE_HASH_SIZE),
    };
}

static int page_consider(struct page_maker *maker, sqlite3_stmt *row, struct ipam_error *reterr)
{
    struct change change;
    if (sqlite3_column_bytes(row, 2) != STORE_HASH_SIZE)
        return report_damage(maker->db->path, reterr, "a hash in its history has another length");
    if (query_filters(maker->query)) {
        arena_reset(&maker->scratch);
        if (record_decode(sqlite3_column_blob(row, 1), (size_t)sqlite3_column_bytes(row, 1), &maker->scratch, &change,
                          reterr) < 0)
            return ipam_error_prefix(reterr, "%s is damaged: history", maker->db->path);
        if (!change_matches(maker->query, &change))
            return 0;
    }
    page_append(maker, row);
    return 0;
}

static bool page_full(const struct page_maker *maker)
{
    const struct store_query *query = maker->query;
    return maker->page.count >= query->limit || (query->bytes > 0 && maker->bytes >= query->bytes) ||
           (query->scan > 0 && maker->scanned >= query->scan);
}

static int page_fill(struct page_maker *maker, uint64_t after, struct ipam_error *reterr)
{
    sqlite3_stmt *row = maker->db->statements[SQL_CHANGES_AFTER];
    int code = SQLITE_ROW, r = 0;
    sqlite3_bind_int64(row, 1, (int64_t)after);
    maker->page.scanned_through = after;
    while (r == 0 && !page_full(maker) && (code = sqlite3_step(row)) == SQLITE_ROW) {
        r = page_consider(maker, row, reterr);
        maker->page.scanned_through = (uint64_t)sqlite3_column_int64(row, 0);
        maker->scanned++;
    }
    if (r == 0 && code != SQLITE_ROW && code != SQLITE_DONE)
        r = db_fail(maker->db, "its history can't be read", reterr);
    sqlite3_reset(row);
    return r;
}

static int page_make(struct page_maker *maker, struct ipam_error *reterr)
{
    struct head head;
    if (head_read(maker->db, &head, reterr) < 0)
        return -1;
    uint64_t after = maker->query->after_revision;
    maker->page.revision = head.revision;
    maker->page.compacted_through = head.compacted_through;
    if (after < head.compacted_through)
        after = head.compacted_through;
    if (after > head.revision)
        after = head.revision;
    return page_fill(maker, after, reterr);
}

int store_read_changes(struct store *store, const struct store_query *query, struct arena *arena,
                       struct store_page *ret, struct ipam_error *reterr)
{
    struct db reader;
    if (reader_take(store, &reader, reterr) < 0)
        return -1;
    struct page_maker maker = {.db = &reader, .query = query, .arena = arena};
    arena_init(&maker.scratch);
    int r = db_run(&reader, SQL_BEGIN_READ) ? page_make(&maker, reterr) : db_fail(&reader, "can't be read", reterr);
    if (!sqlite3_get_autocommit(reader.handle))
        db_run(&reader, SQL_ROLLBACK); /* head and changes were read as of one moment; there is
                                          nothing to keep */
    arena_done(&maker.scratch);
    reader_give(store, &reader);
    if (r == 0)
        *ret = maker.page;
    return r;
}
