/* The store on a disk that fails, is full or can't be written: nothing acknowledged is lost, reads go on, and when the disk is
 * well again the same store writes again. */
#include "store_fixture.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <unistd.h>

#include "fault_vfs.h"
#include "private.h" /* for the moment at which the log is moved */

/* ---- Fixture ---------------------------------------------------------------------------------- */

/* A small disk of its own, mounted on the fixture's directory; none where mounting is not allowed. */
static int small_disk_setup(void **state)
{
    fixture_setup(state);
    struct fixture *fixture = *state;
    fixture->mounted = mount("none", fixture->dir, "tmpfs", 0, "size=2m") == 0;
    return 0;
}

static int small_disk_teardown(void **state)
{
    struct fixture *fixture = *state;
    if (fixture->mounted)
        assert_int_equal(umount(fixture->dir), 0);
    return fixture_teardown(state);
}

static void skip_without_disk(const struct fixture *fixture)
{
    if (fixture->mounted)
        return;
    print_message("skipped: mounting a small disk takes root\n");
    skip();
}

/* ---- Helpers ---------------------------------------------------------------------------------- */

static int try_commit(struct store *store, struct world *world, size_t count, struct ipam_error *reterr)
{
    struct changes changes;
    struct world next = *world;
    changes_init(&changes);
    world_append(&next, &changes, count);
    int r = store_commit(store, &changes, NULL, reterr);
    changes_done(&changes);
    if (r == 0)
        *world = next;
    return r;
}

static void assert_unavailable(const struct ipam_error *error)
{
    if (error->reason != IPAM_REASON_STORE_UNAVAILABLE)
        fail_msg("%s: %s", ipam_reason_name(error->reason), error->message);
}

static void assert_history_ends_at(struct store *store, uint64_t revision)
{
    struct store_query query = {
        .after_revision = revision ? revision - 1 : 0, .limit = 5, .pool = "", .kind = "", .name = ""};
    struct store_page page;
    struct ipam_error error = {0};
    struct arena arena;
    arena_init(&arena);
    if (store_read_changes(store, &query, &arena, &page, &error) < 0)
        fail_msg("%s", error.message);
    assert_int_equal(page.revision, revision);
    assert_int_equal(page.count, revision ? 1 : 0);
    arena_done(&arena);
}

static void must_probe(struct store *store)
{
    struct ipam_error error = {0};
    if (store_probe(store, &error) < 0)
        fail_msg("store_probe: %s", error.message);
}

static void must_verify(struct store *store)
{
    struct ipam_error error = {0};
    if (store_verify(store, &error) < 0)
        fail_msg("store_verify: %s", error.message);
}

/* Commits, moves the log, commits, reads; every failed commit must leave the store at what was acknowledged. */
static void work(struct store *store, struct world *world)
{
    for (int i = 0; i < 3; i++) {
        struct ipam_error error = {0};
        if (try_commit(store, world, 12, &error) < 0) {
            assert_unavailable(&error);
            assert_history_ends_at(store, world->revision);
            assert_store_holds(store, world);
        }
        store->wal_pages = INT_MAX;
        store_tidy(store);
    }
}

static void work_with_fault(const struct fixture *fixture, unsigned int nth, bool lasting, bool full, bool *ret_failed)
{
    struct world world = {0};
    struct store *store = must_open(fixture->dir, 100);
    must_commit(store, &world, 1200); /* enough for the history to be compacted */
    fault_vfs_arm(nth, lasting, full);
    work(store, &world);
    assert_store_holds(store, &world);
    *ret_failed = fault_vfs_disarm();
    if (nth % 2)
        must_probe(store);
    must_commit(store, &world, 40);
    assert_store_holds(store, &world);
    must_verify(store);
    store_close(store);

    store = must_open(fixture->dir, 100);
    assert_store_holds(store, &world);
    must_verify(store);
    store_close(store);
    fixture_empty(fixture);
}

static void each_fault(const struct fixture *fixture, unsigned int step, bool lasting, bool full)
{
    bool failed = true;
    unsigned int nth = 1;
    for (; failed; nth += step)
        work_with_fault(fixture, nth, lasting, full, &failed);
    print_message("%u calls to fail\n", nth - step - 1);
    assert_true(nth > 20);
}

/* ---- Tests: failing calls ----------------------------------------------------------------------- */

static void one_failed_call_loses_nothing(void **state)
{
    each_fault(*state, 1, false, false);
}

static void disk_that_stays_broken_loses_nothing(void **state)
{
    each_fault(*state, 7, true, false);
}

static void disk_that_stays_full_loses_nothing(void **state)
{
    each_fault(*state, 7, true, true);
}

static void failed_probe_says_so(void **state)
{
    struct fixture *fixture = *state;
    struct world world = {0};
    struct store *store = must_open(fixture->dir, 0);
    struct ipam_error error = {0};
    must_commit(store, &world, 10);
    must_probe(store);
    fault_vfs_arm(1, true, true);
    assert_int_equal(store_probe(store, &error), -1);
    assert_unavailable(&error);
    assert_non_null(strstr(error.message, "No space left on device"));
    fault_vfs_disarm();
    must_probe(store);
    assert_store_holds(store, &world);
    store_close(store);
}

static void failed_first_start_can_be_repeated(void **state)
{
    struct fixture *fixture = *state;
    bool failed = true;
    for (unsigned int nth = 1; failed; nth++) {
        struct store_options options = {.dir = fixture->dir};
        struct ipam_error error = {0};
        struct store *store = NULL;
        struct world world = {0};
        fault_vfs_arm(nth, false, nth % 2);
        if (store_open(&options, &store, &error) < 0)
            assert_unavailable(&error);
        failed = fault_vfs_disarm();
        store_close(store);
        store = must_open(fixture->dir, 0);
        must_commit(store, &world, 10);
        assert_store_holds(store, &world);
        store_close(store);
        fixture_empty(fixture);
    }
}

/* Where the log can't be had for writing the store opens for reading, and a probe opens it for writing later. */
static void failed_later_start_reads_or_refuses(void **state)
{
    struct fixture *fixture = *state;
    struct world world = {0};
    bool failed = true;
    unsigned int for_reading = 0;
    for (unsigned int nth = 1; failed; nth++) {
        struct store_options options = {.dir = fixture->dir};
        struct ipam_error error = {0};
        struct store *store = NULL;
        killed_store(fixture->dir, &world, 1, 200);
        fault_vfs_arm(nth, false, false);
        int r = store_open(&options, &store, &error);
        if (r == 0)
            assert_store_holds(store, &world);
        else
            assert_unavailable(&error);
        failed = fault_vfs_disarm();
        if (!store)
            store = must_open(fixture->dir, 0);
        for_reading += store->access != DB_WRITE;
        must_probe(store);
        must_commit(store, &world, 3);
        assert_store_holds(store, &world);
        store_close(store);
    }
    assert_true(for_reading > 0);
}

/* ---- Tests: real disks -------------------------------------------------------------------------- */

static void write_ballast(const struct fixture *fixture, size_t size)
{
    static char block[4096];
    char path[96];
    snprintf(path, sizeof(path), "%s/ballast", fixture->dir);
    int fd = open(path, O_WRONLY | O_CREAT | O_APPEND, 0600);
    for (size_t done = 0; done < size && write(fd, block, sizeof(block)) > 0; done += sizeof(block))
        ;
    close(fd);
}

static void drop_ballast(const struct fixture *fixture)
{
    char path[96];
    snprintf(path, sizeof(path), "%s/ballast", fixture->dir);
    assert_int_equal(unlink(path), 0);
}

static void commit_until_full(struct store *store, struct world *world)
{
    struct ipam_error error = {0};
    for (int i = 0; try_commit(store, world, 50, &error) == 0; i++)
        assert_true(i < 10000);
    assert_unavailable(&error);
    if (!strstr(error.message, "No space left on device"))
        fail_msg("%s", error.message);
}

static void full_disk_stops_writes_and_nothing_else(void **state)
{
    struct fixture *fixture = *state;
    struct world world = {0};
    struct ipam_error error = {0};
    skip_without_disk(fixture);
    write_ballast(fixture, 800 * 1024);
    struct store *store = must_open(fixture->dir, 0);
    commit_until_full(store, &world);
    assert_store_holds(store, &world);
    assert_history_ends_at(store, world.revision);
    assert_int_equal(store_probe(store, &error) == 0 && try_commit(store, &world, 500, &error) == 0, 0);
    drop_ballast(fixture);
    must_probe(store);
    must_commit(store, &world, 50);
    assert_store_holds(store, &world);
    must_verify(store);
    store_close(store);
}

static void store_starts_on_a_full_disk(void **state)
{
    struct fixture *fixture = *state;
    struct world world = {0};
    struct ipam_error error = {0};
    skip_without_disk(fixture);
    fill_store(fixture->dir, &world, 4, 100);
    for (int with_log = 0; with_log < 2; with_log++) {
        if (with_log)
            killed_store(fixture->dir, &world, 1, 200);
        write_ballast(fixture, 4096 * 1024);
        struct store *store = must_open(fixture->dir, 0);
        assert_store_holds(store, &world);
        assert_history_ends_at(store, world.revision);
        assert_int_equal(try_commit(store, &world, 500, &error), -1);
        assert_unavailable(&error);
        drop_ballast(fixture);
        must_probe(store);
        must_commit(store, &world, 50);
        must_verify(store);
        store_close(store);
    }
}

static void remount(const struct fixture *fixture, unsigned long flags)
{
    if (mount("none", fixture->dir, NULL, MS_REMOUNT | flags, "size=2m") < 0)
        fail_msg("remount: %s", strerror(errno));
}

static void read_only_disk_is_read_and_written_when_it_can_be(void **state)
{
    struct fixture *fixture = *state;
    struct world world = {0};
    skip_without_disk(fixture);
    fill_store(fixture->dir, &world, 4, 100);
    for (int with_log = 0; with_log < 2; with_log++) {
        struct ipam_error error = {0};
        if (with_log)
            killed_store(fixture->dir, &world, 1, 200);
        remount(fixture, MS_RDONLY);
        struct store *store = must_open(fixture->dir, 0);
        assert_store_holds(store, &world);
        assert_history_ends_at(store, world.revision);
        must_verify(store);
        assert_int_equal(try_commit(store, &world, 5, &error), -1);
        assert_unavailable(&error);
        if (!strstr(error.message, "Read-only file system"))
            fail_msg("%s", error.message);
        assert_int_equal(store_probe(store, &error), -1);
        assert_unavailable(&error);
        assert_store_holds(store, &world);
        remount(fixture, 0);
        must_probe(store);
        must_commit(store, &world, 5);
        assert_store_holds(store, &world);
        must_verify(store);
        store_close(store);
    }
}

/* Opened for reading because its first call failed, then to be opened anew for writing while calls fail: after each try the store
 * reads and refuses, or is well; it is never half of both. */
static void opening_anew_is_all_or_nothing(void **state)
{
    struct fixture *fixture = *state;
    struct world world = {0};
    unsigned int for_reading = 0, tries = 0;
    fill_store(fixture->dir, &world, 4, 100);
    bool failed = true;
    for (unsigned int nth = 1; failed; nth++) {
        killed_store(fixture->dir, &world, 1, 3);
        struct store_options options = {.dir = fixture->dir};
        struct ipam_error error = {0};
        struct store *store = NULL;
        fault_vfs_arm(2, false, false); /* the log can't be opened */
        assert_int_equal(store_open(&options, &store, &error), 0);
        fault_vfs_disarm();
        for_reading += store->access != DB_WRITE;
        assert_store_holds(store, &world);
        fault_vfs_arm(nth, true, false);
        int probed = store_probe(store, &error);
        failed = fault_vfs_disarm();
        tries += probed < 0;
        if (probed < 0) {
            struct changes changes;
            struct world next = world;
            changes_init(&changes);
            world_append(&next, &changes, 3);
            if (store->access != DB_WRITE)
                assert_int_equal(store_commit(store, &changes, NULL, &error), -1);
            changes_done(&changes);
            assert_true(store->access == DB_CLOSED || store->db.statements[SQL_COUNT - 1] != NULL);
            must_probe(store);
        }
        must_commit(store, &world, 3);
        assert_true(store->wal_pages > 0); /* it knows of its log */
        assert_store_holds(store, &world);
        must_verify(store);
        store_close(store);
    }
    print_message("%u opened for reading, %u tries failed\n", for_reading, tries);
    assert_true(for_reading > 3);
    assert_true(tries > 3);
}

/* Another program changed it meanwhile: the engine is of before, so no later try may serve on it either. */
static void database_that_was_changed_meanwhile_is_never_served(void **state)
{
    struct fixture *fixture = *state;
    struct world world = {0};
    struct ipam_error error = {0};
    fill_store(fixture->dir, &world, 4, 100);
    killed_store(fixture->dir, &world, 1, 3);
    struct store_options options = {.dir = fixture->dir};
    struct store *store = NULL;
    fault_vfs_arm(2, false, false);
    assert_int_equal(store_open(&options, &store, &error), 0);
    fault_vfs_disarm();
    assert_int_not_equal(store->access, DB_WRITE);
    assert_store_holds(store, &world);
    char lock[128];
    snprintf(lock, sizeof(lock), "%s/ipamd.lock", fixture->dir);
    assert_int_equal(unlink(lock), 0); /* as on a disk that had none */
    killed_store(fixture->dir, &world, 1, 3);
    for (int i = 0; i < 3; i++) {
        assert_int_equal(store_probe(store, &error), -1);
        assert_unavailable(&error);
        assert_non_null(strstr(error.message, "was changed by another program"));
    }
    store_close(store);
}

static void missing_directory_is_unavailable(void **state)
{
    struct fixture *fixture = *state;
    char dir[128];
    struct store *store = NULL;
    struct ipam_error error = {0};
    snprintf(dir, sizeof(dir), "%s/not/there", fixture->dir);
    struct store_options options = {.dir = dir};
    assert_int_equal(store_open(&options, &store, &error), -1);
    assert_unavailable(&error);
    assert_non_null(strstr(error.message, "No such file or directory"));
}

#define TEST(name)               cmocka_unit_test_setup_teardown(name, fixture_setup, fixture_teardown)
#define TEST_ON_SMALL_DISK(name) cmocka_unit_test_setup_teardown(name, small_disk_setup, small_disk_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(one_failed_call_loses_nothing),
        TEST(disk_that_stays_broken_loses_nothing),
        TEST(disk_that_stays_full_loses_nothing),
        TEST(failed_probe_says_so),
        TEST(failed_first_start_can_be_repeated),
        TEST(failed_later_start_reads_or_refuses),
        TEST_ON_SMALL_DISK(full_disk_stops_writes_and_nothing_else),
        TEST_ON_SMALL_DISK(store_starts_on_a_full_disk),
        TEST_ON_SMALL_DISK(read_only_disk_is_read_and_written_when_it_can_be),
        TEST(opening_anew_is_all_or_nothing),
        TEST(database_that_was_changed_meanwhile_is_never_served),
        TEST(missing_directory_is_unavailable),
    };
    fault_vfs_install();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
