/* The store thread: one task at a time, and history read by other threads while it writes. */
#include "store_fixture.h"

#include <pthread.h>
#include <semaphore.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include "writer.h"

/* ---- Helpers ---------------------------------------------------------------------------------- */

static void post(void *user)
{
    sem_post(user);
}

/* A writer whose wake-up is waited for as a loop would. */
struct bench {
    struct store *store;
    struct writer *writer;
    sem_t woken;
};

static void bench_init(struct bench *bench, const char *dir, uint64_t history_limit)
{
    bench->store = must_open(dir, history_limit);
    sem_init(&bench->woken, 0, 0);
    bench->writer = writer_new(bench->store, test_hash_key, &(struct engine_clock){0}, post, &bench->woken);
}

static void bench_done(struct bench *bench)
{
    bench->writer = writer_free(bench->writer);
    bench->store = store_close(bench->store);
    sem_destroy(&bench->woken);
}

static struct writer_result wait_result(struct bench *bench)
{
    struct writer_result result;
    while (sem_wait(&bench->woken) < 0)
        ;
    assert_true(writer_take(bench->writer, &result));
    struct writer_result again;
    assert_false(writer_take(bench->writer, &again));
    return result;
}

static void must_write(struct bench *bench, struct world *world, size_t count)
{
    struct changes changes;
    changes_init(&changes);
    world_append(world, &changes, count);
    writer_commit(bench->writer, &changes);
    struct writer_result result = wait_result(bench);
    assert_int_equal(result.task, WRITER_COMMIT);
    if (result.status < 0)
        fail_msg("%s", result.error.message);
    changes_done(&changes);
}

/* ---- Tests ------------------------------------------------------------------------------------ */

static void writer_commits_and_gives_the_hashes(void **state)
{
    struct fixture *fixture = *state;
    struct world world = {0};
    struct bench bench;
    struct changes changes;
    struct arena arena;
    bench_init(&bench, fixture->dir, 0);
    changes_init(&changes);
    arena_init(&arena);
    world_append(&world, &changes, 20);
    writer_commit(bench.writer, &changes);
    struct writer_result result = wait_result(&bench);
    assert_int_equal(result.status, 0);

    struct store_query query = {.limit = 20, .pool = "", .kind = "", .name = ""};
    struct store_page page;
    assert_int_equal(store_read_changes(bench.store, &query, &arena, &page, NULL), 0);
    assert_int_equal(page.count, 20);
    for (size_t i = 0; i < page.count; i++)
        assert_memory_equal(page.items[i].hash, result.hashes + STORE_HASH_SIZE * i, STORE_HASH_SIZE);
    bench_done(&bench);
    changes_done(&changes);
    arena_done(&arena);
}

static void writer_reloads_the_durable_state(void **state)
{
    struct fixture *fixture = *state;
    struct world world = {0};
    struct bench bench;
    bench_init(&bench, fixture->dir, 0);
    must_write(&bench, &world, 50);
    must_write(&bench, &world, 7);
    writer_reload(bench.writer);
    struct writer_result result = wait_result(&bench);
    assert_int_equal(result.task, WRITER_RELOAD);
    assert_int_equal(result.status, 0);
    assert_int_equal(engine_revision(result.engine), 57);
    engine_free(result.engine);
    must_write(&bench, &world, 3);
    assert_store_holds(bench.store, &world);
    bench_done(&bench);
}

static void writer_free_drops_a_reload_that_nobody_took(void **state)
{
    struct fixture *fixture = *state;
    struct world world = {0};
    struct bench bench;
    bench_init(&bench, fixture->dir, 0);
    must_write(&bench, &world, 50);
    writer_reload(bench.writer);
    bench_done(&bench);
}

/* RLIMIT_FSIZE is a disk that refuses to grow, for whoever has no other. */
static void writer_reports_a_failed_commit_and_gets_well(void **state)
{
    struct fixture *fixture = *state;
    struct world world = {0};
    struct bench bench;
    struct rlimit before, small = {.rlim_cur = 4096};
    struct changes changes;
    bench_init(&bench, fixture->dir, 0);
    must_write(&bench, &world, 50);
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &before), 0);
    small.rlim_max = before.rlim_max;
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);

    struct world next = world;
    changes_init(&changes);
    world_append(&next, &changes, 20);
    writer_commit(bench.writer, &changes);
    struct writer_result result = wait_result(&bench);
    assert_int_equal(result.status, -1);
    assert_int_equal(result.error.reason, IPAM_REASON_STORE_UNAVAILABLE);
    assert_null(result.hashes);
    writer_probe(bench.writer);
    result = wait_result(&bench);
    assert_int_equal(result.task, WRITER_PROBE);
    assert_int_equal(result.status, -1);

    assert_int_equal(setrlimit(RLIMIT_FSIZE, &before), 0);
    writer_probe(bench.writer);
    assert_int_equal(wait_result(&bench).status, 0);
    must_write(&bench, &world, 20);
    assert_store_holds(bench.store, &world);
    bench_done(&bench);
    changes_done(&changes);
}

/* ---- Tests: readers beside the writer ----------------------------------------------------------- */

#define READERS 6 /* more than connections are kept */

struct reading {
    struct store *store;
    atomic_bool *stop;
    _Atomic uint64_t *acknowledged;
    uint64_t pages;
    const char *failure;
};

static const char *page_defect(const struct store_page *page, uint64_t after, uint64_t acknowledged)
{
    if (page->revision < acknowledged)
        return "an acknowledged change can't be read";
    for (size_t i = 0; i < page->count; i++)
        if (page->items[i].revision != after + 1 + i)
            return "a gap within a page";
    if (page->count && page->scanned_through != page->items[page->count - 1].revision)
        return "scanned_through is not the last one's";
    return NULL;
}

static void *read_on(void *user)
{
    struct reading *reading = user;
    struct arena arena;
    uint64_t after = 0;
    arena_init(&arena);
    while (!atomic_load(reading->stop) && !reading->failure) {
        struct store_query query = {.after_revision = after, .limit = 50, .pool = "", .kind = "", .name = ""};
        struct store_page page;
        uint64_t acknowledged = atomic_load(reading->acknowledged);
        if (store_read_changes(reading->store, &query, &arena, &page, NULL) < 0) {
            reading->failure = "store_read_changes failed";
            break;
        }
        if (after < page.compacted_through)
            after = page.compacted_through;
        reading->failure = page_defect(&page, after, acknowledged);
        after = page.scanned_through;
        reading->pages++;
        arena_reset(&arena);
    }
    arena_done(&arena);
    return NULL;
}

static void history_is_read_while_it_is_written(void **state)
{
    struct fixture *fixture = *state;
    struct world world = {0};
    struct bench bench;
    atomic_bool stop = false;
    _Atomic uint64_t acknowledged = 0;
    struct reading readings[READERS];
    pthread_t threads[READERS];
    bench_init(&bench, fixture->dir, 2000);
    for (size_t i = 0; i < READERS; i++) {
        readings[i] = (struct reading){bench.store, &stop, &acknowledged, 0, NULL};
        assert_int_equal(pthread_create(&threads[i], NULL, read_on, &readings[i]), 0);
    }
    for (size_t batch = 0; batch < 150; batch++) {
        must_write(&bench, &world, 1 + batch % 64);
        atomic_store(&acknowledged, world.revision);
    }
    atomic_store(&stop, true);
    for (size_t i = 0; i < READERS; i++) {
        pthread_join(threads[i], NULL);
        if (readings[i].failure)
            fail_msg("reader %zu: %s", i, readings[i].failure);
        assert_true(readings[i].pages > 0);
    }
    assert_store_holds(bench.store, &world);
    bench_done(&bench);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, fixture_setup, fixture_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(writer_commits_and_gives_the_hashes),         TEST(writer_reloads_the_durable_state),
        TEST(writer_free_drops_a_reload_that_nobody_took), TEST(writer_reports_a_failed_commit_and_gets_well),
        TEST(history_is_read_while_it_is_written),
    };
    signal(SIGXFSZ, SIG_IGN); /* a write past the limit fails with EFBIG instead */
    return cmocka_run_group_tests(tests, NULL, NULL);
}
