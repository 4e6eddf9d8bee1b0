/* The store when all is well: what was committed is there, after closing, after a crash, and as history. */
#include "store_fixture.h"

#include <poll.h>
#include <signal.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "record.h"

/* ---- Helpers ---------------------------------------------------------------------------------- */

static struct store_page must_read(struct store *store, const struct store_query *query, struct arena *arena)
{
    struct ipam_error error = {0};
    struct store_page page;
    if (store_read_changes(store, query, arena, &page, &error) < 0)
        fail_msg("store_read_changes: %s", error.message);
    return page;
}

static struct store_query all_after(uint64_t revision)
{
    return (struct store_query){.after_revision = revision, .limit = 1000, .pool = "", .kind = "", .name = ""};
}

static void must_verify(struct store *store)
{
    struct ipam_error error = {0};
    if (store_verify(store, &error) < 0)
        fail_msg("store_verify: %s", error.message);
}

static void edit(const char *path, const char *sql)
{
    sqlite3 *db;
    assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
    assert_int_equal(sqlite3_exec(db, sql, NULL, NULL, NULL), SQLITE_OK);
    sqlite3_close(db);
}

static void assert_verify_says(const char *dir, const char *what)
{
    struct ipam_error error = {0};
    struct store *store = must_open(dir, 0);
    assert_int_equal(store_verify(store, &error), -1);
    assert_int_equal(error.reason, IPAM_REASON_STORE_DAMAGED);
    if (!strstr(error.message, what))
        fail_msg("“%s” is not in “%s”", what, error.message);
    store_close(store);
}

/* ---- Tests: state ----------------------------------------------------------------------------- */

static void store_starts_empty(void **state)
{
    struct fixture *fixture = *state;
    struct world world = {0};
    struct store *store = must_open(fixture->dir, 0);
    assert_store_holds(store, &world);
    must_verify(store);
    store_close(store);
    store = must_open(fixture->dir, 0);
    assert_store_holds(store, &world);
    store_close(store);
}

static void store_makes_its_directory(void **state)
{
    struct fixture *fixture = *state;
    char inner[96], path[128];
    snprintf(inner, sizeof(inner), "%s/state", fixture->dir);
    store_close(must_open(inner, 0));
    snprintf(path, sizeof(path), "%s/ipamd.db", inner);
    assert_int_equal(unlink(path), 0);
    snprintf(path, sizeof(path), "%s/ipamd.mark", inner);
    unlink(path); /* there once something was loaded or written */
    snprintf(path, sizeof(path), "%s/ipamd.lock", inner);
    assert_int_equal(unlink(path), 0);
    assert_int_equal(rmdir(inner), 0); /* nothing else is left behind */
}

static void store_loads_what_was_committed(void **state)
{
    struct fixture *fixture = *state;
    struct world world = {0};
    struct store *store = must_open(fixture->dir, 0);
    for (size_t batch = 1; batch < 60; batch++) {
        must_commit(store, &world, batch);
        if (batch % 10 == 0)
            assert_store_holds(store, &world);
    }
    must_verify(store);
    store_close(store);
    store = must_open(fixture->dir, 0);
    assert_store_holds(store, &world);
    must_verify(store);
    store_close(store);
}

static void store_takes_an_empty_batch(void **state)
{
    struct fixture *fixture = *state;
    struct world world = {0};
    struct store *store = must_open(fixture->dir, 0);
    must_commit(store, &world, 0);
    must_commit(store, &world, 3);
    must_commit(store, &world, 0);
    assert_store_holds(store, &world);
    store_close(store);
}

static void store_is_refused_to_a_second_opener_by_pid(void **state)
{
    struct fixture *fixture = *state;
    struct store *store = must_open(fixture->dir, 0), *second = NULL;
    struct store_options options = {.dir = fixture->dir};
    struct ipam_error error = {0};
    char expected[192];
    snprintf(expected, sizeof(expected),
             "state directory %s is in use by process %d: stop it, or give this one another --state-dir", fixture->dir,
             (int)getpid());
    assert_int_equal(store_open(&options, &second, &error), -1);
    assert_int_equal(error.reason, IPAM_REASON_STORE_LOCKED);
    assert_string_equal(error.message, expected);
    store_close(store);
    store_close(must_open(fixture->dir, 0));
}

static void store_ignores_a_first_start_that_was_interrupted(void **state)
{
    struct fixture *fixture = *state;
    char path[128];
    snprintf(path, sizeof(path), "%s/ipamd.db.new", fixture->dir);
    file_write(path, "half", 4);
    struct world world = {0};
    fill_store(fixture->dir, &world, 2, 5);
    struct store *store = must_open(fixture->dir, 0);
    assert_store_holds(store, &world);
    store_close(store);
    assert_int_equal(access(path, F_OK), -1);
}

/* ---- Tests: history --------------------------------------------------------------------------- */

static void history_reads_back_records_and_hashes(void **state)
{
    struct fixture *fixture = *state;
    struct world world = {0};
    struct changes changes;
    struct arena arena;
    uint8_t hashes[300 * STORE_HASH_SIZE];
    changes_init(&changes);
    arena_init(&arena);
    struct store *store = must_open(fixture->dir, 0);
    world_append(&world, &changes, 300);
    assert_int_equal(store_commit(store, &changes, hashes, NULL), 0);

    struct store_query query = all_after(0);
    struct store_page page = must_read(store, &query, &arena);
    assert_int_equal(page.count, 300);
    assert_int_equal(page.revision, 300);
    assert_int_equal(page.scanned_through, 300);
    assert_int_equal(page.compacted_through, 0);
    for (size_t i = 0; i < page.count; i++) {
        size_t size;
        uint8_t *record = record_encode(&changes.items[i], &arena, &size);
        assert_int_equal(page.items[i].revision, i + 1);
        assert_int_equal(page.items[i].size, size);
        assert_memory_equal(page.items[i].record, record, size);
        assert_memory_equal(page.items[i].hash, hashes + STORE_HASH_SIZE * i, STORE_HASH_SIZE);
    }
    store_close(store);
    arena_done(&arena);
    changes_done(&changes);
}

static void history_pages_meet_without_gap(void **state)
{
    struct fixture *fixture = *state;
    struct world world = {0};
    fill_store(fixture->dir, &world, 10, 25);
    struct store *store = must_open(fixture->dir, 0);
    struct arena arena;
    arena_init(&arena);
    uint64_t next = 1;
    for (struct store_query query = {.limit = 7, .pool = "", .kind = "", .name = ""}; next <= 250;) {
        struct store_page page = must_read(store, &query, &arena);
        assert_true(page.count > 0);
        for (size_t i = 0; i < page.count; i++)
            assert_int_equal(page.items[i].revision, next++);
        assert_int_equal(page.scanned_through, next - 1);
        query.after_revision = page.scanned_through;
    }
    struct store_query beyond = all_after(9999);
    assert_int_equal(must_read(store, &beyond, &arena).count, 0);
    store_close(store);
    arena_done(&arena);
}

static void history_filters(void **state)
{
    struct fixture *fixture = *state;
    struct world world = {0};
    struct arena arena;
    fill_store(fixture->dir, &world, 4, 100);
    struct store *store = must_open(fixture->dir, 0);
    arena_init(&arena);

    struct store_query query = all_after(0);
    query.kind = "ProxyVIP";
    query.name = "vip-3"; /* given in change 6, taken back in change 16 */
    struct store_page page = must_read(store, &query, &arena);
    assert_int_equal(page.count, 2);
    assert_int_equal(page.items[0].revision, 6);
    assert_int_equal(page.items[1].revision, 16);
    assert_int_equal(page.scanned_through, 400);

    struct ipam_addr address = {0, 0x0a000001 + 3, IPAM_IPV4};
    query = all_after(6);
    query.address = &address;
    page = must_read(store, &query, &arena);
    assert_int_equal(page.count, 1);
    assert_int_equal(page.items[0].revision, 16);

    query = all_after(0);
    query.pool = "main"; /* the pool's own change and those of its claims */
    assert_int_equal(must_read(store, &query, &arena).count, 400);
    query.pool = "other";
    assert_int_equal(must_read(store, &query, &arena).count, 0);
    store_close(store);
    arena_done(&arena);
}

static void history_scan_is_bounded_and_says_how_far_it_got(void **state)
{
    struct fixture *fixture = *state;
    struct world world = {0};
    struct arena arena;
    fill_store(fixture->dir, &world, 4, 100);
    struct store *store = must_open(fixture->dir, 0);
    arena_init(&arena);
    struct store_query query = all_after(0);
    query.kind = "ProxyVIP";
    query.name = "vip-3";
    query.scan = 10;
    struct store_page page = must_read(store, &query, &arena);
    assert_int_equal(page.count, 1);
    assert_int_equal(page.scanned_through, 10);
    query.after_revision = page.scanned_through;
    page = must_read(store, &query, &arena);
    assert_int_equal(page.count, 1);
    assert_int_equal(page.scanned_through, 20);
    store_close(store);
    arena_done(&arena);
}

static void history_limit_drops_the_oldest_and_keeps_the_chain(void **state)
{
    struct fixture *fixture = *state;
    struct world world = {0};
    struct arena arena;
    arena_init(&arena);
    struct store *store = must_open(fixture->dir, 500);
    struct store_query query = all_after(0);
    must_commit(store, &world, 1498);
    must_commit(store, &world, 1);
    must_commit(store, &world, 1);
    assert_int_equal(must_read(store, &query, &arena).compacted_through, 0); /* within the slack */
    for (int i = 0; i < 40; i++)
        must_commit(store, &world, 300);
    struct store_page page = must_read(store, &query, &arena);
    assert_true(page.compacted_through > 0);
    assert_true(page.revision - page.compacted_through >= 500);
    assert_true(page.revision - page.compacted_through <= 500 + 1000 + 600);
    assert_int_equal(page.items[0].revision, page.compacted_through + 1);
    must_verify(store);
    store_close(store);

    store = must_open(fixture->dir, 500);
    assert_store_holds(store, &world);
    must_verify(store);
    store_close(store);
    arena_done(&arena);
}

/* ---- Tests: verification ---------------------------------------------------------------------- */

/* All old enough that the quick check of a start does not see them. */
static void verify_finds_an_edited_record(void **state)
{
    struct fixture *fixture = *state;
    struct world world = {0};
    fill_store(fixture->dir, &world, 5, 1000);
    edit(fixture->db, "UPDATE changes SET record = CAST(replace(CAST(record AS TEXT), 'Release', 'release') AS BLOB)"
                      " WHERE revision = 1000");
    assert_verify_says(fixture->dir, "change 1000 does not fit the hash chain");
}

static void verify_finds_a_missing_record(void **state)
{
    struct fixture *fixture = *state;
    struct world world = {0};
    fill_store(fixture->dir, &world, 5, 1000);
    edit(fixture->db, "DELETE FROM changes WHERE revision = 1000");
    assert_verify_says(fixture->dir, "change 1000 is missing");
}

static void verify_finds_reordered_records(void **state)
{
    struct fixture *fixture = *state;
    struct world world = {0};
    fill_store(fixture->dir, &world, 5, 1000);
    edit(fixture->db, "UPDATE changes SET revision = -1 WHERE revision = 1001;"
                      "UPDATE changes SET revision = 1001 WHERE revision = 1002;"
                      "UPDATE changes SET revision = 1002 WHERE revision = -1");
    assert_verify_says(fixture->dir, "change 1001 does not fit the hash chain");
}

static void open_finds_a_cut_history(void **state)
{
    struct fixture *fixture = *state;
    struct world world = {0};
    struct ipam_error error = {0};
    struct store *store = NULL;
    struct store_options options = {.dir = fixture->dir};
    fill_store(fixture->dir, &world, 5, 1000);
    edit(fixture->db, "DELETE FROM changes WHERE revision > 4990");
    assert_int_equal(store_open(&options, &store, &error), -1);
    assert_int_equal(error.reason, IPAM_REASON_STORE_DAMAGED);
    edit(fixture->db, "UPDATE meta SET revision = 4990, hash = (SELECT hash FROM changes WHERE revision = 4990)");
    assert_int_equal(store_open(&options, &store, &error), -1);
    assert_int_equal(error.reason, IPAM_REASON_CHANGES_LOST);
    unlink(fixture->mark);
    store = must_open(fixture->dir, 0); /* the history is whole in itself now, but the state is ahead of it */
    assert_int_equal(store_verify(store, &error), -1);
    store_close(store);
}

static void verify_finds_a_state_that_the_history_does_not_tell(void **state)
{
    struct fixture *fixture = *state;
    struct world world = {0};
    fill_store(fixture->dir, &world, 5, 1000);
    edit(fixture->db, "UPDATE meta SET state_sum = state_sum - (SELECT checksum FROM claims WHERE id = 3001)"
                      " + (SELECT checksum FROM claims WHERE id = 3002);"
                      "UPDATE claims SET (record, checksum) = (SELECT record, checksum FROM claims WHERE id = 3002)"
                      " WHERE id = 3001");
    assert_verify_says(fixture->dir, "row 3001 of claims holds another one's record");
}

/* ---- Tests: crash ----------------------------------------------------------------------------- */

#define CRASHES 20

/* Commits for ever, and tells each revision that was acknowledged through the pipe. */
static void commit_until_killed(const char *dir, const struct world *start, int pipe_end)
{
    struct world world = *start;
    struct changes changes;
    struct store *store = NULL;
    struct store_options options = {.dir = dir, .history_limit = 3000};
    changes_init(&changes);
    if (store_open(&options, &store, NULL) < 0)
        _exit(1);
    for (size_t count = 1;; count = count % 97 + 1) {
        changes_reset(&changes);
        world_append(&world, &changes, count);
        if (store_commit(store, &changes, NULL, NULL) < 0 ||
            write(pipe_end, &world.revision, sizeof(world.revision)) < 0)
            _exit(1);
    }
}

/* `commits`: not before it has committed something, however busy the machine is. */
static uint64_t run_and_kill(const char *dir, const struct world *world, unsigned int microseconds, bool commits)
{
    int ends[2];
    assert_int_equal(pipe(ends), 0);
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0)
        commit_until_killed(dir, world, ends[1]);
    close(ends[1]);
    struct pollfd ready = {.fd = ends[0], .events = POLLIN};
    if (commits)
        assert_int_equal(poll(&ready, 1, 300000), 1);
    usleep(microseconds);
    kill(child, SIGKILL);
    int status;
    waitpid(child, &status, 0);
    assert_true(WIFSIGNALED(status));
    uint64_t acknowledged = world->revision, revision;
    while (read(ends[0], &revision, sizeof(revision)) == sizeof(revision))
        acknowledged = revision;
    close(ends[0]);
    return acknowledged;
}

static void killed_store_has_all_that_was_acknowledged(void **state)
{
    struct fixture *fixture = *state;
    struct world world = {0};
    for (unsigned int round = 0; round < CRASHES; round++) {
        uint64_t acknowledged = run_and_kill(fixture->dir, &world, 20000 + round * 7919 % 60000, round % 2 == 0);
        struct store *store = must_open(fixture->dir, 3000);
        struct arena arena;
        arena_init(&arena);
        struct store_query query = all_after(UINT64_MAX >> 1);
        uint64_t found = must_read(store, &query, &arena).revision;
        arena_done(&arena);
        assert_true(found >= acknowledged && found <= acknowledged + 97);

        struct changes skipped; /* the world goes on from where the store is */
        changes_init(&skipped);
        world_append(&world, &skipped, found - world.revision);
        changes_done(&skipped);
        assert_store_holds(store, &world);
        must_verify(store);
        store_close(store);
    }
    assert_true(world.revision > CRASHES);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, fixture_setup, fixture_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(store_starts_empty),
        TEST(store_makes_its_directory),
        TEST(store_loads_what_was_committed),
        TEST(store_takes_an_empty_batch),
        TEST(store_is_refused_to_a_second_opener_by_pid),
        TEST(store_ignores_a_first_start_that_was_interrupted),
        TEST(history_reads_back_records_and_hashes),
        TEST(history_pages_meet_without_gap),
        TEST(history_filters),
        TEST(history_scan_is_bounded_and_says_how_far_it_got),
        TEST(history_limit_drops_the_oldest_and_keeps_the_chain),
        TEST(verify_finds_an_edited_record),
        TEST(verify_finds_a_missing_record),
        TEST(verify_finds_reordered_records),
        TEST(open_finds_a_cut_history),
        TEST(verify_finds_a_state_that_the_history_does_not_tell),
        TEST(killed_store_has_all_that_was_acknowledged),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
