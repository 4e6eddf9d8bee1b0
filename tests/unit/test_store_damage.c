/* Databases that must not be used: each is refused with its reason, and not a byte of it is altered. */
#include "store_fixture.h"

#include <signal.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

/* ---- Helpers ---------------------------------------------------------------------------------- */

/* Opens and loads; -1 and the error of whichever refuses. */
static int try_store(const char *dir, struct ipam_error *reterr)
{
    struct store_options options = {.dir = dir};
    struct store *store = NULL;
    if (store_open(&options, &store, reterr) < 0)
        return -1;
    struct engine *engine = engine_new(test_hash_key);
    int r = store_load(store, engine, reterr);
    engine_free(engine);
    store_close(store);
    return r;
}

static void assert_refused(const struct fixture *fixture, enum ipam_reason reason, const char *what)
{
    struct ipam_error error = {0};
    struct file_copy db = file_read(fixture->db), wal = file_read(fixture->wal);
    assert_int_equal(try_store(fixture->dir, &error), -1);
    if (error.reason != reason || !strstr(error.message, what))
        fail_msg("%s: “%s”, where “%s” was expected", ipam_reason_name(error.reason), error.message, what);
    if (!strstr(error.message, fixture->dir))
        fail_msg("“%s” does not name the file", error.message);
    assert_file_same(&db);
    assert_file_same(&wal);
    file_copy_free(&db);
    file_copy_free(&wal);
}

static void make_store(const struct fixture *fixture)
{
    struct world world = {0};
    fill_store(fixture->dir, &world, 8, 250);
}

/* A process that was killed leaves its last changes in the log. */
static void make_killed_store(const struct fixture *fixture)
{
    struct world world = {0};
    killed_store(fixture->dir, &world, 8, 250);
    struct file_copy wal = file_read(fixture->wal);
    assert_true(wal.size > 0);
    file_copy_free(&wal);
}

static void patch(const char *path, size_t offset, const void *bytes, size_t size)
{
    struct file_copy copy = file_read(path);
    assert_true(offset + size <= copy.size);
    memcpy(copy.bytes + offset, bytes, size);
    file_write(path, copy.bytes, copy.size);
    file_copy_free(&copy);
}

static void run_sql(const char *path, const char *sql)
{
    sqlite3 *db;
    assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
    if (sqlite3_exec(db, sql, NULL, NULL, NULL) != SQLITE_OK)
        fail_msg("%s: %s", sql, sqlite3_errmsg(db));
    sqlite3_close(db);
}

/* ---- Tests: what the files show ---------------------------------------------------------------- */

static void empty_file_is_refused(void **state)
{
    struct fixture *fixture = *state;
    file_write(fixture->db, "", 0);
    assert_refused(fixture, IPAM_REASON_STORE_DAMAGED, "cut short to 0 bytes");
}

static void file_cut_within_the_header_is_refused(void **state)
{
    struct fixture *fixture = *state;
    make_store(fixture);
    assert_int_equal(truncate(fixture->db, 60), 0);
    assert_refused(fixture, IPAM_REASON_STORE_DAMAGED, "cut short to 60 bytes");
}

static void file_cut_at_any_page_is_refused(void **state)
{
    struct fixture *fixture = *state;
    make_store(fixture);
    struct file_copy whole = file_read(fixture->db);
    for (size_t size = whole.size - 4096; size > 4096; size -= 4096 * 7) {
        file_write(fixture->db, whole.bytes, size);
        assert_refused(fixture, IPAM_REASON_STORE_DAMAGED, "bytes long where");
        if (size < 4096 * 8)
            break;
    }
    file_copy_free(&whole);
}

static void file_that_is_no_database_is_refused(void **state)
{
    struct fixture *fixture = *state;
    make_store(fixture);
    patch(fixture->db, 0, "garbage garbage!", 16);
    assert_refused(fixture, IPAM_REASON_STORE_DAMAGED, "does not begin as a database does");
}

static void database_of_another_program_is_refused(void **state)
{
    struct fixture *fixture = *state;
    run_sql(fixture->db, "CREATE TABLE phones(name, number); INSERT INTO phones VALUES('a', 1)");
    assert_refused(fixture, IPAM_REASON_STORE_DAMAGED, "another program");
}

static void newer_schema_is_refused(void **state)
{
    struct fixture *fixture = *state;
    make_store(fixture);
    run_sql(fixture->db, "PRAGMA user_version = 7");
    assert_refused(fixture, IPAM_REASON_STORE_TOO_NEW, "has schema 7");
}

/* The upgrade may still stand in the log of the newer ipamd. */
static void newer_schema_in_the_log_alone_is_refused(void **state)
{
    struct fixture *fixture = *state;
    make_store(fixture);
    pid_t child = fork();
    if (child == 0) {
        sqlite3 *db;
        sqlite3_open(fixture->db, &db);
        sqlite3_exec(db, "PRAGMA user_version = 7", NULL, NULL, NULL);
        kill(getpid(), SIGKILL);
    }
    waitpid(child, NULL, 0);
    assert_refused(fixture, IPAM_REASON_STORE_TOO_NEW, "has schema 7");
}

static void log_without_database_is_refused(void **state)
{
    struct fixture *fixture = *state;
    make_killed_store(fixture);
    assert_int_equal(unlink(fixture->db), 0);
    assert_refused(fixture, IPAM_REASON_STORE_DAMAGED, "is missing, but its log");
}

static void log_with_a_damaged_header_is_refused(void **state)
{
    struct fixture *fixture = *state;
    make_killed_store(fixture);
    for (size_t offset = 0; offset < 32; offset += 5) {
        struct file_copy wal = file_read(fixture->wal);
        uint8_t flipped = wal.bytes[offset] ^ 0x10;
        patch(fixture->wal, offset, &flipped, 1);
        assert_refused(fixture, IPAM_REASON_STORE_DAMAGED, "ipamd.db-wal is damaged");
        patch(fixture->wal, offset, wal.bytes + offset, 1);
        file_copy_free(&wal);
    }
    assert_int_equal(try_store(fixture->dir, NULL), 0);
}

/* ---- Tests: what the tables show --------------------------------------------------------------- */

/* Page kinds: 0x0d is a leaf of a table (SQLite file format, section 1.6). */
static size_t find_leaf(const struct file_copy *db, size_t from)
{
    for (size_t page = from; page < db->size / 4096; page++)
        if (db->bytes[page * 4096] == 0x0d)
            return page * 4096;
    fail_msg("no leaf page from page %zu on", from);
    return 0;
}

static void garbage_in_the_middle_is_refused(void **state)
{
    struct fixture *fixture = *state;
    uint8_t garbage[4096];
    memset(garbage, 0xa5, sizeof(garbage));
    make_store(fixture);
    struct file_copy whole = file_read(fixture->db);
    patch(fixture->db, 4096, garbage, sizeof(garbage)); /* the root of changes */
    assert_refused(fixture, IPAM_REASON_STORE_DAMAGED, "damaged");
    file_write(fixture->db, whole.bytes, whole.size);
    patch(fixture->db, 3 * 4096, garbage, sizeof(garbage)); /* the root of claims */
    assert_refused(fixture, IPAM_REASON_STORE_DAMAGED, "damaged");
    file_copy_free(&whole);
}

/* Of every page that a start reads, one bit; and the same where a killed process left a log. */
static void flip_bits(const struct fixture *fixture)
{
    struct file_copy whole = file_read(fixture->db);
    unsigned int refused = 0, tried = 0;
    for (size_t page = 1; page < whole.size / 4096; page++) {
        size_t offset = page * 4096 + 3500 + (page * 37) % 500;
        uint8_t flipped = whole.bytes[offset] ^ (uint8_t)(1u << page % 8);
        patch(fixture->db, offset, &flipped, 1);
        struct file_copy damaged = file_read(fixture->db);
        struct ipam_error error = {0};
        if (try_store(fixture->dir, &error) < 0) {
            refused++;
            assert_int_equal(error.reason, IPAM_REASON_STORE_DAMAGED);
            assert_file_same(&damaged);
        }
        tried++;
        file_copy_free(&damaged);
        file_write(fixture->db, whole.bytes, whole.size);
    }
    file_copy_free(&whole);
    /* The older half of the history is looked at by store_verify alone, and bits of interior pages may be unused. */
    if (refused < tried / 2)
        fail_msg("%u of %u flipped bits were found", refused, tried);
}

static void flipped_bits_are_found_at_load(void **state)
{
    struct fixture *fixture = *state;
    make_store(fixture);
    flip_bits(fixture);
}

static void flip_in_table(const struct fixture *fixture, const char *sql)
{
    struct file_copy whole = file_read(fixture->db);
    run_sql(fixture->db, sql);
    assert_refused(fixture, IPAM_REASON_STORE_DAMAGED, "damaged");
    file_write(fixture->db, whole.bytes, whole.size);
    assert_int_equal(try_store(fixture->dir, NULL), 0);
    file_copy_free(&whole);
}

static void damage_in_each_table_is_found_at_load(void **state)
{
    static const char *const damages[] = {
        "UPDATE pools SET record = CAST(replace(CAST(record AS TEXT), 'main', 'mein') AS BLOB)",
        "UPDATE pools SET checksum = checksum + 1",
        "DELETE FROM pools",
        "UPDATE claims SET record = CAST(replace(CAST(record AS TEXT), '10.0.', '10.1.') AS BLOB) WHERE id = 1901",
        "UPDATE claims SET checksum = checksum + 1 WHERE id = 1901",
        "UPDATE claims SET id = 5000 WHERE id = 1901",
        "UPDATE claims SET record = x'' WHERE id = 1901",
        "DELETE FROM claims WHERE id = 1901",
        "INSERT INTO claims SELECT 5000, record, checksum FROM claims WHERE id = 1901",
        "UPDATE changes SET hash = zeroblob(32) WHERE revision = 1500",
        "UPDATE changes SET hash = x'00' WHERE revision = 1500",
        "UPDATE changes SET record = x'00' WHERE revision = 1500",
        "DELETE FROM changes WHERE revision = 1500",
        "DELETE FROM changes WHERE revision = 1",
        "DELETE FROM changes",
        "UPDATE meta SET revision = revision - 1",
        "UPDATE meta SET hash = zeroblob(32)",
        "UPDATE meta SET hash = x'00'",
        "UPDATE meta SET compacted_through = 10",
        "UPDATE meta SET state_sum = state_sum + 1",
        "DELETE FROM meta",
        "DROP TABLE claims",
    };
    struct fixture *fixture = *state;
    make_store(fixture);
    for (size_t i = 0; i < sizeof(damages) / sizeof(damages[0]); i++) {
        print_message("%s\n", damages[i]);
        flip_in_table(fixture, damages[i]);
    }
}

/* ---- Tests: a log that a killed process left ----------------------------------------------------- */

static void damage_beside_a_log_is_refused_and_neither_altered(void **state)
{
    struct fixture *fixture = *state;
    make_killed_store(fixture); /* the database itself is still empty: all is in the log */
    struct file_copy wal = file_read(fixture->wal);
    assert_true(wal.size > 100 * 4096);
    patch(fixture->db, 68, "none", 4);
    assert_refused(fixture, IPAM_REASON_STORE_DAMAGED, "another program");
    patch(fixture->db, 68, "ipam", 4);
    assert_int_equal(try_store(fixture->dir, NULL), 0); /* this one moves the log into the database */

    struct file_copy db = file_read(fixture->db);
    file_write(fixture->wal, wal.bytes, wal.size);
    uint8_t garbage[512];
    memset(garbage, 0x5a, sizeof(garbage));
    size_t offset = find_leaf(&db, db.size / 4096 / 2);
    for (; offset < db.size; offset += 4096)
        patch(fixture->db, offset + 2048, garbage, sizeof(garbage)); /* the log has these pages, and wins */
    struct ipam_error error = {0};
    if (try_store(fixture->dir, &error) < 0)
        fail_msg("%s", error.message);
    file_copy_free(&wal);
    file_copy_free(&db);
}

static void damaged_state_in_a_log_is_refused_and_neither_altered(void **state)
{
    struct fixture *fixture = *state;
    make_store(fixture);
    pid_t child = fork();
    if (child == 0) {
        sqlite3 *db;
        sqlite3_open(fixture->db, &db);
        sqlite3_exec(db, "DELETE FROM claims WHERE id = 1901", NULL, NULL, NULL);
        kill(getpid(), SIGKILL);
    }
    waitpid(child, NULL, 0);
    assert_refused(fixture, IPAM_REASON_STORE_DAMAGED, "missing or older");
    assert_refused(fixture, IPAM_REASON_STORE_DAMAGED, "missing or older");
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, fixture_setup, fixture_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(empty_file_is_refused),
        TEST(file_cut_within_the_header_is_refused),
        TEST(file_cut_at_any_page_is_refused),
        TEST(file_that_is_no_database_is_refused),
        TEST(database_of_another_program_is_refused),
        TEST(newer_schema_is_refused),
        TEST(newer_schema_in_the_log_alone_is_refused),
        TEST(log_without_database_is_refused),
        TEST(log_with_a_damaged_header_is_refused),
        TEST(garbage_in_the_middle_is_refused),
        TEST(flipped_bits_are_found_at_load),
        TEST(damage_in_each_table_is_found_at_load),
        TEST(damage_beside_a_log_is_refused_and_neither_altered),
        TEST(damaged_state_in_a_log_is_refused_and_neither_altered),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
