#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <cmocka.h>

#include "large.h"
#include "persist.h"
#include "ranges.h"
#include "world.h"

/* MODEL_OPS sets how many operations a run makes. Each run has seeds of its own and prints them; MODEL_SEED=N lives through
 * the world of that seed alone, checking after each step, and MODEL_VERBOSE=1 prints every operation. */
#define OPS_DEFAULT   1000000 /* of all worlds together; MODEL_OPS */
#define WORLD_STEPS   250     /* of one world */
#define CHECK_EVERY   8       /* steps between two engine_check */
#define CHECK_ALWAYS  16      /* every so many worlds it runs after each step */
#define RESTART_EVERY 60      /* steps between two restarts, on average */
#define COVERING_OPS  100000  /* from so many operations on, every reason must have come up */
#define STORE_EVERY   50      /* every so many worlds the changes go to disk as well */

/* ---- Fixture ---- */

static const struct world *running;

/* An assertion of the engine tells no seed; this does. */
static void print_world(int signal_number)
{
    (void)signal_number;
    if (running)
        world_print(running);
}

/* Sanitizers end the process by themselves, so they are told to do it the same way. */
__attribute__((visibility("default"))) const char *__asan_default_options(void);
__attribute__((visibility("default"))) const char *__ubsan_default_options(void);

const char *__asan_default_options(void)
{
    return "abort_on_error=1";
}

const char *__ubsan_default_options(void)
{
    return "abort_on_error=1:print_stacktrace=1";
}

/* ---- Helpers ---- */

static uint64_t number_from_environment(const char *name, uint64_t otherwise)
{
    const char *text = getenv(name);

    return text && *text ? strtoull(text, NULL, 0) : otherwise;
}

struct dump {
    char *text;
    size_t size, capacity;
};

static void dump_write(void *user, const char *text, size_t size)
{
    struct dump *dump = user;

    if (dump->size + size > dump->capacity) {
        dump->capacity = (dump->size + size) * 2;
        dump->text = mem_realloc(dump->text, dump->capacity);
    }
    memcpy(dump->text + dump->size, text, size);
    dump->size += size;
}

static void expect_same_dump(struct world *world, struct engine *engine, struct engine *rebuilt, const char *how)
{
    struct dump before = {0}, after = {0};

    engine_dump(engine, dump_write, &before);
    engine_dump(rebuilt, dump_write, &after);
    if (before.size == 0 || before.size != after.size || memcmp(before.text, after.text, before.size) != 0)
        world_disagree(world, "the state rebuilt from %s is another one:\n%.*s\nbefore:\n%.*s", how, (int)after.size,
                       after.text, (int)before.size, before.text);
    free(before.text);
    free(after.text);
}

static void replay(struct world *world, struct engine *engine, const struct change *change)
{
    struct ipam_error error;

    if (engine_replay(engine, change, &error) < 0)
        world_disagree(world, "replay of revision %llu: %s", (unsigned long long)change->revision, error.message);
}

static void replay_history(struct world *world, struct engine *engine)
{
    for (size_t i = 0; i < world->history.count; i++)
        replay(world, engine, &world->history.items[i]);
}

static uint64_t change_id(const struct change *change)
{
    return change->kind == CHANGE_POOL ? change->pool.id : change->claim.id;
}

static bool living(const struct change *change)
{
    if (change->kind == CHANGE_POOL)
        return change->pool.state != POOL_REMOVED;
    return change->claim.state != CLAIM_RELEASED;
}

/* As ipamd 0.1.0 would have written it. */
static struct change without_delay(const struct change *change)
{
    struct change old = *change;

    if (old.kind == CHANGE_CLAIM)
        old.claim.cooling = NULL;
    return old;
}

/* The last change of every living pool and claim. Ids are revisions, so they index the history. */
static void replay_living(struct world *world, struct engine *engine, bool as_0_1_0)
{
    size_t count = world->history.count;
    const struct change **last = mem_zalloc((count + 1) * sizeof(const struct change *));

    for (size_t i = 0; i < count; i++)
        last[change_id(&world->history.items[i])] = &world->history.items[i];
    for (enum change_kind kind = CHANGE_POOL; kind <= CHANGE_CLAIM; kind++) {
        for (size_t id = 1; id <= count; id++) {
            if (last[id] && last[id]->kind == kind && living(last[id])) {
                struct change old = without_delay(last[id]);

                replay(world, engine, as_0_1_0 ? &old : last[id]);
            }
        }
    }
    if (count > 0)
        engine_set_revision(engine, count);
    free(last);
}

static void load(struct world *world, struct persist *persist, struct engine *engine)
{
    struct ipam_error error;

    if (persist_reload(persist, engine, &error) < 0)
        world_disagree(world, "store: %s", error.message);
}

/* The engine goes, another one is rebuilt from what it recorded and takes its place. `persist` may be NULL. In the first
 * boot nothing but what was recorded says when a cooling ends. */
static void restart(struct world *world, struct persist *persist)
{
    static const uint8_t key[16] = "another 16 bytes";
    struct engine *rebuilt[3] = {engine_new(key), engine_new(key), engine_new(key)};
    uint64_t chosen = world_random(world, persist ? 3 : 2);
    bool boots = world_sleep(world);

    for (int i = 0; i < 3; i++)
        engine_set_clock(rebuilt[i], &world->clock);
    replay_history(world, rebuilt[0]);
    if (world->model.boot == 0)
        expect_same_dump(world, world->engine, rebuilt[0], "the whole history");
    replay_living(world, rebuilt[1], boots && world_chance(world, 50));
    expect_same_dump(world, rebuilt[0], rebuilt[1], "the last changes");
    if (persist) {
        load(world, persist, rebuilt[2]);
        expect_same_dump(world, rebuilt[0], rebuilt[2], "the store");
    }
    engine_free(world->engine);
    world->engine = rebuilt[chosen];
    for (uint64_t i = 0; i < 3; i++) {
        if (i != chosen)
            engine_free(rebuilt[i]);
    }
    arena_reset(&world->arena);
    compare_state(world);
    engine_check(world->engine);
}

static void begin_store(struct world *world, struct persist *persist)
{
    struct ipam_error error;

    if (persist_init(persist, &error) < 0)
        world_disagree(world, "store: %s", error.message);
}

static void keep(struct world *world, struct persist *persist)
{
    struct ipam_error error;

    if (persist && persist_add(persist, &world->changes, &error) < 0)
        world_disagree(world, "store: %s", error.message);
}

static void live(uint64_t seed, bool fixed, bool verbose, struct coverage *coverage)
{
    static struct world world;
    bool check_always = fixed || seed % CHECK_ALWAYS == 0;
    struct persist disk, *persist = seed % STORE_EVERY == 0 ? &disk : NULL;

    world_init(&world, seed, verbose, coverage);
    running = &world;
    if (persist)
        begin_store(&world, persist);
    for (int i = 0; i < WORLD_STEPS; i++) {
        world_step(&world);
        keep(&world, persist);
        if (check_always || i % CHECK_EVERY == 0)
            engine_check(world.engine);
        if (world_random(&world, RESTART_EVERY) == 0)
            restart(&world, persist);
    }
    restart(&world, persist);
    running = NULL;
    if (persist)
        persist_done(persist);
    world_done(&world);
}

/* A run of this size that never met one of these has stopped testing it. */
static void expect_covered(const struct coverage *coverage)
{
    static const enum ipam_reason only_refused[] = {
        IPAM_REASON_LIMIT_EXCEEDED,        IPAM_REASON_INVALID_POOL_SPEC, IPAM_REASON_POOL_OVERLAP,
        IPAM_REASON_POOL_IN_USE,           IPAM_REASON_CLAIM_EXISTS,      IPAM_REASON_INVALID_OWNER,
        IPAM_REASON_INVALID_REQUEST,       IPAM_REASON_STALE_GENERATION,  IPAM_REASON_PERMISSION_DENIED,
        IPAM_REASON_ADDRESS_NOT_PERMITTED,
    };
    static const enum ipam_reason waited[] = {
        IPAM_REASON_POOL_NOT_FOUND,     IPAM_REASON_POOL_DRAINING,    IPAM_REASON_POOL_REJECTED,
        IPAM_REASON_POOL_PAUSED,        IPAM_REASON_POOL_EXHAUSTED,   IPAM_REASON_AUTO_ASSIGN_DISABLED,
        IPAM_REASON_FAMILY_NOT_IN_POOL, IPAM_REASON_INVALID_ADDRESS,  IPAM_REASON_ADDRESS_NOT_IN_POOL,
        IPAM_REASON_ADDRESS_IN_USE,     IPAM_REASON_ADDRESS_EXCLUDED, IPAM_REASON_ADDRESS_COOLING,
        IPAM_REASON_ADDRESS_RESERVED,
    };

    for (size_t i = 0; i < sizeof(only_refused) / sizeof(only_refused[0]); i++) {
        if (!coverage->refused[only_refused[i]])
            fail_msg("nothing was refused for %s", ipam_reason_name(only_refused[i]));
    }
    for (size_t i = 0; i < sizeof(waited) / sizeof(waited[0]); i++) {
        if (!coverage->refused[waited[i]] || !coverage->waited[waited[i]])
            fail_msg("nothing was refused or waited for %s", ipam_reason_name(waited[i]));
    }
}

/* ---- Tests ---- */

static void engine_and_model_agree_after_every_step(void **state)
{
    uint64_t ops = number_from_environment("MODEL_OPS", OPS_DEFAULT);
    uint64_t fixed = number_from_environment("MODEL_SEED", 0);
    uint64_t base = fixed ? fixed : (uint64_t)time(NULL) * 1000000;
    bool verbose = number_from_environment("MODEL_VERBOSE", 0) != 0;
    uint64_t worlds = fixed && !getenv("MODEL_OPS") ? 1 : (ops + WORLD_STEPS - 1) / WORLD_STEPS;

    struct coverage coverage = {0};

    (void)state;
    printf("model test: %llu operations in %llu worlds, seeds from %llu on\n", (unsigned long long)worlds * WORLD_STEPS,
           (unsigned long long)worlds, (unsigned long long)base);
    fflush(stdout);
    for (uint64_t i = 0; i < worlds; i++)
        live(base + i, fixed != 0, verbose, &coverage);
    if (worlds * WORLD_STEPS >= COVERING_OPS)
        expect_covered(&coverage);
}

/* More addresses than the worlds have: the lowest free one, while the fill moves between empty and full. */
static void lowest_free_address_of_a_large_pool_is_given(void **state)
{
    static struct large large;
    static const char *const cidrs[] = {"10.8.0.0/15", "10.4.0.0/16", "10.10.0.0/16"};
    uint64_t seed = number_from_environment("MODEL_SEED", (uint64_t)time(NULL));
    uint64_t steps = number_from_environment("MODEL_OPS", OPS_DEFAULT) / 700;

    (void)state;
    printf("large pool: seed %llu\n", (unsigned long long)seed);
    large_init(&large, cidrs, sizeof(cidrs) / sizeof(cidrs[0]), seed);
    for (uint64_t i = 0; i < steps; i++) {
        if (large_step(&large) < 0)
            fail_msg("seed %llu, step %llu: %s", (unsigned long long)seed, (unsigned long long)i, large.error.message);
    }
    engine_check(large.engine);
    large_done(&large);
}

/* Ranges of more addresses than a CIDR serves, which lie over and in each other. */
static void ranges_mean_what_they_mean_address_by_address(void **state)
{
    uint64_t seed = number_from_environment("MODEL_SEED", (uint64_t)time(NULL) * 1000000);
    uint64_t rounds = number_from_environment("MODEL_OPS", OPS_DEFAULT) / 2000 + 1;

    (void)state;
    printf("ranges: seeds from %llu on\n", (unsigned long long)seed);
    for (uint64_t i = 0; i < rounds; i++)
        assert_int_equal(ranges_compare(seed + i), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(engine_and_model_agree_after_every_step),
        cmocka_unit_test(lowest_free_address_of_a_large_pool_is_given),
        cmocka_unit_test(ranges_mean_what_they_mean_address_by_address),
    };

    signal(SIGABRT, print_world);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
