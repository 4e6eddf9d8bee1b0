#include "store_fixture.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

const uint8_t test_hash_key[16] = "0123456789abcde";

/* ---- The directory ---------------------------------------------------------------------------- */

int fixture_setup(void **state)
{
    struct fixture *fixture = test_calloc(1, sizeof(*fixture));
    strcpy(fixture->dir, "/tmp/ipamd-store-XXXXXX");
    assert_non_null(mkdtemp(fixture->dir));
    snprintf(fixture->db, sizeof(fixture->db), "%s/ipamd.db", fixture->dir);
    snprintf(fixture->mark, sizeof(fixture->mark), "%s/ipamd.mark", fixture->dir);
    snprintf(fixture->wal, sizeof(fixture->wal), "%s/ipamd.db-wal", fixture->dir);
    *state = fixture;
    return 0;
}

void fixture_empty(const struct fixture *fixture)
{
    static const char *const names[] = {"ipamd.db",   "ipamd.db-wal",         "ipamd.db-shm", "ipamd.db.new",
                                        "ipamd.lock", "ipamd.db.new-journal", "ipamd.mark"};
    char path[128];
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        snprintf(path, sizeof(path), "%s/%s", fixture->dir, names[i]);
        unlink(path);
    }
}

int fixture_teardown(void **state)
{
    struct fixture *fixture = *state;
    fixture_empty(fixture);
    assert_int_equal(rmdir(fixture->dir), 0);
    test_free(fixture);
    return 0;
}

/* ---- The world -------------------------------------------------------------------------------- */

#define EPOCH INT64_C(1700000000123456789)

static struct wall_time world_time(uint64_t revision)
{
    return (struct wall_time){EPOCH + (int64_t)revision * 1000003};
}

static void append_pool(struct changes *changes)
{
    static const char *const cidrs[] = {"10.0.0.0/16"};
    struct change change = {
        .revision = 1,
        .at = world_time(1),
        .actor = {0, "ipamc", "ApplyPool"},
        .kind = CHANGE_POOL,
        .pool = {.id = 1,
                 .name = "main",
                 .state = POOL_READY,
                 .message = "",
                 .has_spec = true,
                 .spec = {.cidrs = {cidrs, 1}, .uid = "", .auto_assign = true},
                 .rejected = {.uid = ""},
                 .created_at = world_time(1)},
    };
    changes_append(changes, &change);
}

/* Claim n comes with change 2 + n, and every change whose revision is a multiple of 4 is a release. */
uint64_t world_claim_id(uint32_t n)
{
    return 2 + n + (n + 1) / 3;
}

static void append_claim(struct world *world, struct changes *changes, uint64_t revision, bool release)
{
    uint32_t n = release ? world->released++ : world->allocated++;
    uint64_t id = release ? world_claim_id(n) : revision;
    char name[32];
    snprintf(name, sizeof(name), "vip-%u", n);
    assert_int_equal(id, world_claim_id(n));
    struct change change = {
        .revision = revision,
        .at = world_time(revision),
        .actor = {1000, "ipamc", release ? "Release" : "Allocate"},
        .kind = CHANGE_CLAIM,
        .claim = {.id = id,
                  .owner = {"ProxyVIP", name, "6f1d7c3e-0f6e-4a0d-9f9b-2f1b7c3e0f6e"},
                  .family = IPAM_IPV4,
                  .state = release ? CLAIM_RELEASED : CLAIM_BOUND,
                  .pool = "main",
                  .address = {0, 0x0a000001 + n, IPAM_IPV4},
                  .requested = "",
                  .preferred = "",
                  .message = "",
                  .created_at = world_time(id),
                  .allocated_at = world_time(id)},
    };
    changes_append(changes, &change);
}

void world_append(struct world *world, struct changes *changes, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        uint64_t revision = ++world->revision;
        if (revision == 1)
            append_pool(changes);
        else
            append_claim(world, changes, revision, revision % 4 == 0);
    }
}

/* ---- Stores ----------------------------------------------------------------------------------- */

struct store *must_open(const char *dir, uint64_t history_limit)
{
    struct store_options options = {.dir = dir, .history_limit = history_limit};
    struct ipam_error error = {0};
    struct store *store = NULL;
    if (store_open(&options, &store, &error) < 0)
        fail_msg("store_open: %s", error.message);
    return store;
}

void must_commit(struct store *store, struct world *world, size_t count)
{
    struct ipam_error error = {0};
    struct changes changes;
    changes_init(&changes);
    world_append(world, &changes, count);
    if (store_commit(store, &changes, NULL, &error) < 0)
        fail_msg("store_commit: %s", error.message);
    changes_done(&changes);
}

void fill_store(const char *dir, struct world *world, size_t batches, size_t count)
{
    struct store *store = must_open(dir, 0);
    for (size_t i = 0; i < batches; i++)
        must_commit(store, world, count);
    store_close(store);
}

static void world_pass(struct world *world, size_t count)
{
    struct changes changes;
    changes_init(&changes);
    world_append(world, &changes, count);
    changes_done(&changes);
}

void killed_store(const char *dir, struct world *world, size_t batches, size_t count)
{
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        struct store *store = must_open(dir, 0);
        for (size_t i = 0; i < batches; i++)
            must_commit(store, world, count);
        kill(getpid(), SIGKILL);
    }
    int status;
    waitpid(child, &status, 0);
    assert_true(WIFSIGNALED(status));
    world_pass(world, batches * count);
}

/* ---- Comparing -------------------------------------------------------------------------------- */

static void write_text(void *user, const char *text, size_t size)
{
    fwrite(text, 1, size, user);
}

static char *dump_engine(struct engine *engine)
{
    char *text = NULL;
    size_t size = 0;
    FILE *file = open_memstream(&text, &size);
    engine_dump(engine, write_text, file);
    fclose(file);
    engine_free(engine);
    return text;
}

char *dump_store(struct store *store)
{
    struct ipam_error error = {0};
    struct engine *engine = engine_new(test_hash_key);
    if (store_load(store, engine, &error) < 0)
        fail_msg("store_load: %s", error.message);
    return dump_engine(engine);
}

char *dump_world(const struct world *world)
{
    struct ipam_error error = {0};
    struct world past = {0};
    struct engine *engine = engine_new(test_hash_key);
    struct changes changes;
    changes_init(&changes);
    world_append(&past, &changes, world->revision);
    for (size_t i = 0; i < changes.count; i++)
        if (engine_replay(engine, &changes.items[i], &error) < 0)
            fail_msg("engine_replay: %s", error.message);
    changes_done(&changes);
    return dump_engine(engine);
}

void assert_store_holds(struct store *store, const struct world *world)
{
    char *found = dump_store(store), *expected = dump_world(world);
    assert_string_equal(found, expected);
    free(found);
    free(expected);
}

struct file_copy file_read(const char *path)
{
    struct file_copy copy = {0};
    struct stat status;
    snprintf(copy.path, sizeof(copy.path), "%s", path);
    FILE *file = fopen(path, "rb");
    if (!file)
        return copy;
    assert_int_equal(fstat(fileno(file), &status), 0);
    copy.size = (size_t)status.st_size;
    copy.bytes = test_malloc(copy.size + 1);
    assert_int_equal(fread(copy.bytes, 1, copy.size, file), copy.size);
    fclose(file);
    return copy;
}

void file_write(const char *path, const void *bytes, size_t size)
{
    FILE *file = fopen(path, "wb");
    assert_non_null(file);
    assert_int_equal(fwrite(bytes, 1, size, file), size);
    assert_int_equal(fclose(file), 0);
}

void assert_file_same(const struct file_copy *before)
{
    struct file_copy now = file_read(before->path);
    if (!before->bytes != !now.bytes || before->size != now.size)
        fail_msg("%s had %zu bytes (%s) and has %zu (%s)", before->path, before->size,
                 before->bytes ? "there" : "absent", now.size, now.bytes ? "there" : "absent");
    if (before->size)
        assert_memory_equal(before->bytes, now.bytes, before->size);
    file_copy_free(&now);
}

void file_copy_free(struct file_copy *copy)
{
    if (copy->bytes)
        test_free(copy->bytes);
    copy->bytes = NULL;
}
