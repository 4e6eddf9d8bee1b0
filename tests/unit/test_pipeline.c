/* The way from decision to durable, on a real store with a real store thread; disk faults are made
 * by a file size limit. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <unistd.h>

#include <cmocka.h>
#include <sqlite3.h>

#include "pipeline.h"

/* ---- Fixture ----------------------------------------------------------------------------------------------------- */

static const uint8_t hash_key[16] = "0123456789abcdef";

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
    pipeline_init(&f->pipeline, engine, f->writer, on_state, f);
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
        .changes = f->pipeline.gathering,
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

int main(void)
{
    signal(SIGXFSZ, SIG_IGN); /* a write past the limit then fails with EFBIG */
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(nobody_is_told_before_it_is_durable, setup, teardown),
        cmocka_unit_test_setup_teardown(what_is_durable_already_is_told_at_once, setup, teardown),
        cmocka_unit_test_setup_teardown(one_that_has_left_is_not_told, setup, teardown),
        cmocka_unit_test_setup_teardown(a_failed_commit_is_undone_and_works_again_when_the_disk_does, setup, teardown),
        cmocka_unit_test_setup_teardown(what_cant_be_read_back_is_tried_again_until_it_can, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
