/* The way from decision to durable, on a real store with a real store thread; disk faults are made
 * by a file size limit. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cmocka.h>
#include <sqlite3.h>

#include "pipeline.h"

/* ---- Fixture ----------------------------------------------------------------------------------------------------- */

/* A disk that is stuck: its syncs hang. In the place of the C library's, for SQLite too. */
static struct {
    pthread_mutex_t mutex;
    pthread_cond_t freed;
    bool stuck;
} disk = {.mutex = PTHREAD_MUTEX_INITIALIZER, .freed = PTHREAD_COND_INITIALIZER};

#pragma GCC visibility push(default)

int fdatasync(int fd)
{
    pthread_mutex_lock(&disk.mutex);
    while (disk.stuck)
        pthread_cond_wait(&disk.freed, &disk.mutex);
    pthread_mutex_unlock(&disk.mutex);
    return (int)syscall(SYS_fdatasync, fd);
}

int fsync(int fd)
{
    return fdatasync(fd);
}

#pragma GCC visibility pop

static void disk_stick(bool stuck)
{
    pthread_mutex_lock(&disk.mutex);
    disk.stuck = stuck;
    pthread_cond_broadcast(&disk.freed);
    pthread_mutex_unlock(&disk.mutex);
}

static const uint8_t hash_key[16] = "0123456789abcdef";

#define MAX_GATHERED (16u * 1024 * 1024)

struct fixture {
    char dir[64];
    int wake;
    struct store *store;
    struct writer *writer;
    struct pipeline pipeline;
    struct arena arena;
    int states; /* changes of state seen */
};

/* What waits, and what it was told. */
struct witness {
    struct waiter waiter;
    int told;
    enum ipam_reason reason;
};

static void wake(void *user)
{
    struct fixture *f = user;
    uint64_t one = 1;
    assert_int_equal(write(f->wake, &one, sizeof one), sizeof one);
}

static void on_state(void *user)
{
    ((struct fixture *)user)->states++;
}

static int setup(void **state)
{
    struct fixture *f = calloc(1, sizeof *f);
    struct ipam_error error;
    strcpy(f->dir, "/tmp/test_pipeline.XXXXXX");
    assert_non_null(mkdtemp(f->dir));
    f->wake = eventfd(0, EFD_CLOEXEC);
    struct store_options options = {.dir = f->dir};
    assert_int_equal(store_open(&options, &f->store, &error), 0);
    struct engine *engine = engine_new(hash_key);
    assert_int_equal(store_load(f->store, engine, &error), 0);
    f->writer = writer_new(f->store, hash_key, &(struct engine_clock){0}, wake, f);
    pipeline_init(&f->pipeline, engine, f->writer, MAX_GATHERED, NULL, on_state, f);
    arena_init(&f->arena);
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    char command[128];
    f->writer = writer_free(f->writer);
    pipeline_done(&f->pipeline);
    f->store = store_close(f->store);
    arena_done(&f->arena);
    close(f->wake);
    snprintf(command, sizeof command, "rm -rf %s", f->dir);
    assert_int_equal(system(command), 0);
    free(f);
    return 0;
}

/* ---- Helpers ----------------------------------------------------------------------------------------------------- */

static struct engine_ctx context(struct fixture *f)
{
    return (struct engine_ctx){
        .now = {1700000000000000000},
        .actor = {.uid = 0, .command = "test", .method = "Test"},
        .arena = &f->arena,
        .changes = pipeline_gather(&f->pipeline),
    };
}

static void pool_make(struct fixture *f)
{
    static const char *const cidrs[] = {"10.200.0.0/16"};
    struct engine_ctx ctx = context(f);
    struct apply_pool_args args = {.name = "main", .spec = {.cidrs = {cidrs, 1}, .uid = "", .auto_assign = true}};
    struct apply_pool_result result;
    struct ipam_error error;
    assert_int_equal(engine_apply_pool(f->pipeline.engine, &ctx, &args, &result, &error), 0);
}

static void allocate(struct fixture *f, const char *name)
{
    struct engine_ctx ctx = context(f);
    struct allocate_args args = {.owner = {"Manual", name, ""},
                                 .pool = "main",
                                 .address = "",
                                 .ipv6_address = "",
                                 .preferred_address = "",
                                 .preferred_ipv6_address = ""};
    struct claim_views claims;
    struct ipam_error error;
    assert_int_equal(engine_allocate(f->pipeline.engine, &ctx, &args, &claims, &error), 0);
}

static size_t claims_held(struct fixture *f, const char *name)
{
    struct claim_views claims;
    struct ipam_error error;
    assert_int_equal(engine_claims_of(f->pipeline.engine, "Manual", name, &f->arena, &claims, &error), 0);
    return claims.count;
}

static void witness_done(struct waiter *waiter, const struct ipam_error *error)
{
    struct witness *witness = (struct witness *)waiter;
    witness->told++;
    witness->reason = error ? error->reason : IPAM_REASON_NONE;
}

static void witness_wait(struct fixture *f, struct witness *witness)
{
    *witness = (struct witness){.waiter.done = witness_done};
    pipeline_wait(&f->pipeline, &witness->waiter, engine_revision(f->pipeline.engine));
}

/* Lets the store thread finish one task. */
static void turn(struct fixture *f)
{
    uint64_t count;
    struct pollfd ready = {.fd = f->wake, .events = POLLIN};
    assert_int_equal(poll(&ready, 1, 30000), 1);
    assert_int_equal(read(f->wake, &count, sizeof count), sizeof count);
    pipeline_take(&f->pipeline);
}

static void disk_limit(rlim_t bytes)
{
    struct rlimit limit;
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &limit), 0);
    limit.rlim_cur = bytes;
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
}

/* By another connection, behind the store's back. */
static void database_do(struct fixture *f, const char *sql)
{
    char path[128];
    sqlite3 *db;
    snprintf(path, sizeof path, "%s/ipamd.db", f->dir);
    assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
    sqlite3_busy_timeout(db, 10000);
    assert_int_equal(sqlite3_exec(db, sql, NULL, NULL, NULL), SQLITE_OK);
    sqlite3_close(db);
}

/* ---- Tests ------------------------------------------------------------------------------------------------------- */

static void nobody_is_told_before_it_is_durable(void **state)
{
    struct fixture *f = *state;
    struct witness first, second;
    pool_make(f);
    witness_wait(f, &first);
    assert_int_equal(first.told, 0);
    pipeline_flush(&f->pipeline);
    allocate(f, "later"); /* gathers while the first batch is written */
    witness_wait(f, &second);
    turn(f);
    assert_int_equal(first.told, 1);
    assert_int_equal(first.reason, IPAM_REASON_NONE);
    assert_int_equal(second.told, 0);
    assert_int_equal(f->pipeline.durable, 1);
    assert_false(pipeline_idle(&f->pipeline));
    pipeline_flush(&f->pipeline);
    turn(f);
    assert_int_equal(second.told, 1);
    assert_int_equal(f->pipeline.durable, 2);
    assert_true(pipeline_idle(&f->pipeline));
    assert_int_equal(f->pipeline.counters.batches, 2);
}

static void what_is_durable_already_is_told_at_once(void **state)
{
    struct fixture *f = *state;
    struct witness witness;
    witness_wait(f, &witness);
    assert_int_equal(witness.told, 1);
}

static void one_that_has_left_is_not_told(void **state)
{
    struct fixture *f = *state;
    struct witness gone, stays;
    pool_make(f);
    witness_wait(f, &gone);
    witness_wait(f, &stays);
    pipeline_forget(&gone.waiter);
    pipeline_flush(&f->pipeline);
    turn(f);
    assert_int_equal(gone.told, 0);
    assert_int_equal(stays.told, 1);
}

static void a_failed_commit_is_undone_and_works_again_when_the_disk_does(void **state)
{
    struct fixture *f = *state;
    struct witness written, gathered, read;
    struct ipam_error error;
    pool_make(f);
    pipeline_flush(&f->pipeline);
    turn(f);

    disk_limit(0);
    allocate(f, "lost");
    witness_wait(f, &written);
    pipeline_flush(&f->pipeline);
    allocate(f, "lost-too");
    witness_wait(f, &gathered);
    turn(f);
    assert_int_equal(f->pipeline.state, PIPELINE_RELOADING);
    assert_int_equal(written.reason, IPAM_REASON_STORE_UNAVAILABLE);
    assert_int_equal(gathered.reason, IPAM_REASON_STORE_UNAVAILABLE);
    turn(f);
    assert_int_equal(f->pipeline.state, PIPELINE_DEGRADED);
    assert_int_equal(engine_revision(f->pipeline.engine), 1);
    assert_int_equal(claims_held(f, "lost") + claims_held(f, "lost-too"), 0);
    assert_int_equal(pipeline_writable(&f->pipeline, &error), -1);
    assert_int_equal(error.reason, IPAM_REASON_STORE_UNAVAILABLE);
    witness_wait(f, &read);
    assert_int_equal(read.told, 1); /* reads go on */

    pipeline_retry(&f->pipeline);
    turn(f);
    assert_int_equal(f->pipeline.state, PIPELINE_DEGRADED); /* still no space */

    disk_limit(RLIM_INFINITY);
    pipeline_retry(&f->pipeline);
    turn(f);
    assert_int_equal(f->pipeline.state, PIPELINE_SERVING);
    assert_int_equal(pipeline_writable(&f->pipeline, &error), 0);
    allocate(f, "kept");
    witness_wait(f, &written);
    pipeline_flush(&f->pipeline);
    turn(f);
    assert_int_equal(written.told, 1);
    assert_int_equal(written.reason, IPAM_REASON_NONE);
    assert_int_equal(f->pipeline.durable, 2); /* no gap */
    assert_int_equal(f->states, 3);
    assert_int_equal(f->pipeline.counters.failures, 1);
}

static void what_cant_be_read_back_is_tried_again_until_it_can(void **state)
{
    struct fixture *f = *state;
    struct ipam_error error;
    pool_make(f);
    pipeline_flush(&f->pipeline);
    turn(f);

    database_do(f, "ALTER TABLE claims RENAME TO elsewhere");
    allocate(f, "lost");
    pipeline_flush(&f->pipeline);
    turn(f);
    assert_int_equal(f->pipeline.state, PIPELINE_RELOADING);
    turn(f);
    assert_int_equal(f->pipeline.state, PIPELINE_UNREADABLE);
    assert_int_equal(pipeline_writable(&f->pipeline, &error), -1);
    assert_int_equal(error.reason, IPAM_REASON_STORE_UNAVAILABLE);
    pipeline_retry(&f->pipeline);
    assert_int_equal(f->pipeline.state, PIPELINE_UNREADABLE); /* calls are refused meanwhile, too */
    turn(f);
    assert_int_equal(f->pipeline.state, PIPELINE_UNREADABLE);

    database_do(f, "ALTER TABLE elsewhere RENAME TO claims");
    pipeline_retry(&f->pipeline);
    turn(f);
    assert_int_equal(f->pipeline.state, PIPELINE_DEGRADED);
    assert_int_equal(claims_held(f, "lost"), 0);
    pipeline_retry(&f->pipeline);
    turn(f);
    assert_int_equal(f->pipeline.state, PIPELINE_SERVING);
    assert_int_equal(f->states, 4);
}

/* A decision that is large: the pool is edited, with a spec of some 100 KiB. */
static void pool_edit_large(struct fixture *f, int64_t generation)
{
    static const char *const cidrs[] = {"10.200.0.0/16"};
    static char texts[4000][16];
    static const char *excluded[4000];
    struct engine_ctx ctx = context(f);
    for (size_t i = 0; i < 4000; i++) {
        snprintf(texts[i], sizeof texts[i], "10.200.%zu.%zu", 128 + i / 250, i % 250);
        excluded[i] = texts[i];
    }
    struct apply_pool_args args = {.name = "main",
                                   .spec = {.cidrs = {cidrs, 1},
                                            .excluded = {excluded, 4000},
                                            .uid = "",
                                            .generation = generation,
                                            .reuse_delay_seconds = 1,
                                            .auto_assign = true}};
    struct apply_pool_result result;
    struct ipam_error error;
    assert_int_equal(engine_apply_pool(f->pipeline.engine, &ctx, &args, &result, &error), 0);
}

/* Decisions until no more are taken; how many. */
static unsigned int gather_all(struct fixture *f)
{
    struct ipam_error error;
    unsigned int count = 0;
    for (; pipeline_writable(&f->pipeline, &error) == 0; count++) {
        pool_edit_large(f, 2 + count);
        pipeline_flush(&f->pipeline);
        assert_true(count < 10000);
    }
    assert_int_equal(error.reason, IPAM_REASON_STORE_UNAVAILABLE);
    assert_non_null(strstr(error.message, "--max-gathered"));
    return count;
}

static void what_gathers_for_a_stuck_disk_is_bounded(void **state)
{
    struct fixture *f = *state;
    struct witness last, later;
    struct ipam_error error;
    pool_make(f);
    pipeline_flush(&f->pipeline);
    turn(f);
    disk_stick(true);
    unsigned int taken = gather_all(f);
    assert_true(taken > 50);
    witness_wait(f, &last);
    pipeline_flush(&f->pipeline);
    assert_int_equal(f->pipeline.state, PIPELINE_STALLED);
    assert_int_equal(f->states, 1);
    assert_int_equal(last.told, 0); /* decided before: it goes on waiting */
    size_t bytes = 0, entries = 0;
    for (const struct entry *entry = f->pipeline.first; entry; entry = entry->next, entries++) {
        bytes += changes_bytes(&entry->changes);
        assert_true(changes_bytes(&entry->changes) < PIPELINE_COMMIT_BYTES + 256 * 1024);
    }
    assert_true(entries >= 3);
    assert_true(bytes < MAX_GATHERED + 512 * 1024);

    disk_stick(false);
    while (f->pipeline.durable < 1 + taken)
        turn(f);
    assert_int_equal(last.told, 1);
    assert_int_equal(last.reason, IPAM_REASON_NONE);
    assert_int_equal(f->pipeline.state, PIPELINE_SERVING);
    assert_int_equal(f->states, 2);
    assert_true(f->pipeline.counters.batches > entries); /* none of them was one for all */
    assert_int_equal(pipeline_writable(&f->pipeline, &error), 0);
    allocate(f, "later");
    witness_wait(f, &later);
    pipeline_flush(&f->pipeline);
    turn(f);
    assert_int_equal(later.told, 1);
    assert_true(pipeline_idle(&f->pipeline));
    assert_int_equal(f->pipeline.gathered, 0);
}

/* What the disk takes no more of, at the bound of a commit, is one decision whole. */
static void a_decision_is_never_split(void **state)
{
    struct fixture *f = *state;
    pool_make(f);
    struct changes *before = pipeline_gather(&f->pipeline);
    while (changes_bytes(before) < PIPELINE_COMMIT_BYTES) {
        assert_ptr_equal(pipeline_gather(&f->pipeline), before);
        struct change change = before->items[0];
        changes_append(before, &change); /* of one decision, as far as the pipeline knows */
    }
    struct changes *after = pipeline_gather(&f->pipeline);
    assert_ptr_not_equal(after, before);
    assert_int_equal(after->count, 0);
    changes_reset(before);
}

static void cooling_that_ends_heeds_the_bound(void **state)
{
    struct fixture *f = *state;
    struct ipam_error error;
    pool_edit_large(f, 1);
    allocate(f, "gone");
    struct engine_ctx ctx;
    struct release_args release = {.kind = "Manual", .name = "gone", .address = "", .uid = ""};
    struct claim_views released;
    ctx = context(f);
    assert_int_equal(engine_release(f->pipeline.engine, &ctx, &release, &released, &error), 0);
    pipeline_flush(&f->pipeline);
    turn(f);
    disk_stick(true);
    gather_all(f);
    uint64_t revision = engine_revision(f->pipeline.engine);
    ctx = context(f);
    ctx.elapsed.ns += 5000000000;
    pipeline_expire(&f->pipeline, &ctx);
    assert_int_equal(engine_revision(f->pipeline.engine), revision);
    disk_stick(false);
    while (!pipeline_idle(&f->pipeline))
        turn(f);
    ctx = context(f);
    ctx.elapsed.ns += 5000000000;
    pipeline_expire(&f->pipeline, &ctx);
    assert_int_equal(engine_revision(f->pipeline.engine), revision + 1);
    pipeline_flush(&f->pipeline);
    turn(f);
}

/* A stuck disk that fails in the end undoes all that had gathered, and none of it comes back. */
static void a_stuck_disk_that_fails_undoes_all(void **state)
{
    struct fixture *f = *state;
    struct witness last;
    pool_make(f);
    pipeline_flush(&f->pipeline);
    turn(f);
    disk_stick(true);
    gather_all(f);
    witness_wait(f, &last);
    disk_limit(0); /* the first sync was of what is written already; the next write fails */
    disk_stick(false);
    turn(f);
    turn(f);
    assert_int_equal(last.reason, IPAM_REASON_STORE_UNAVAILABLE);
    turn(f);
    assert_int_equal(f->pipeline.state, PIPELINE_DEGRADED);
    assert_int_equal(engine_revision(f->pipeline.engine), 2); /* the one whose sync hung */
    assert_true(pipeline_idle(&f->pipeline));
    disk_limit(RLIM_INFINITY);
    pipeline_retry(&f->pipeline);
    turn(f);
    assert_int_equal(f->pipeline.state, PIPELINE_SERVING);
}

static void a_start_without_a_writable_disk_does_not_serve_writes(void **state)
{
    struct fixture *f = *state;
    struct ipam_error trouble, error;
    struct pipeline *pipeline = &f->pipeline;
    pipeline_done(pipeline);
    ipam_error_set(&trouble, IPAM_REASON_STORE_UNAVAILABLE, "it can't be written");
    pipeline_init(pipeline, engine_new(hash_key), f->writer, MAX_GATHERED, &trouble, on_state, f);
    assert_int_equal(pipeline->state, PIPELINE_DEGRADED);
    assert_int_equal(pipeline_writable(pipeline, &error), -1);
    assert_string_equal(error.message, "it can't be written");
    pipeline_retry(pipeline);
    turn(f);
    assert_int_equal(pipeline->state, PIPELINE_SERVING);
}

int main(void)
{
    signal(SIGXFSZ, SIG_IGN); /* a write past the limit then fails with EFBIG */
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(nobody_is_told_before_it_is_durable, setup, teardown),
        cmocka_unit_test_setup_teardown(what_is_durable_already_is_told_at_once, setup, teardown),
        cmocka_unit_test_setup_teardown(one_that_has_left_is_not_told, setup, teardown),
        cmocka_unit_test_setup_teardown(a_failed_commit_is_undone_and_works_again_when_the_disk_does, setup, teardown),
        cmocka_unit_test_setup_teardown(what_cant_be_read_back_is_tried_again_until_it_can, setup, teardown),
        cmocka_unit_test_setup_teardown(what_gathers_for_a_stuck_disk_is_bounded, setup, teardown),
        cmocka_unit_test_setup_teardown(a_decision_is_never_split, setup, teardown),
        cmocka_unit_test_setup_teardown(cooling_that_ends_heeds_the_bound, setup, teardown),
        cmocka_unit_test_setup_teardown(a_stuck_disk_that_fails_undoes_all, setup, teardown),
        cmocka_unit_test_setup_teardown(a_start_without_a_writable_disk_does_not_serve_writes, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
