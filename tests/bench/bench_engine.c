/* bench_engine: the engine alone: what allocate and release cost by pool size and fill, and what a claim costs in memory.
 *
 * Usage: bench_engine [RUNS]. Prints one JSON line a measurement. A pool is filled whole and then thinned out at random, so
 * that its free addresses lie scattered as after years of use. At each fill two things are timed, in groups of up to 64:
 *   fresh: so many new owners allocate, then release again;
 *   old: so many owners chosen at random, who have held their addresses since the filling, release, then allocate again.
 * The first finds its claims in the cache, the second does not. The lists of changes are reset after each group, and that is
 * part of the time, as in the daemon. Times are the median group of a run, and the median of the runs. */
#include <inttypes.h>
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "engine.h"

#define GROUP          64
#define GROUPS_PER_RUN 2000
#define ELSEWHERE      1000000
#define RUNS_MAX       99
#define CLAIM_BYTES    500 /* what a claim is allowed to need before a pool is left out for lack of memory */

struct bench {
    struct engine *engine;
    struct arena arena;
    struct changes changes;
    int64_t now;
    const char *pool; /* of the owners that are named from here on */
    uint64_t named;   /* owners that have had a name */
    uint64_t random;
};

/* The texts of up to GROUP owners, made before the clock runs. */
struct owners {
    size_t count;
    char names[GROUP][32], uids[GROUP][40];
};

struct pool_shape {
    const char *name;
    const char *network; /* with a %u for the number of the CIDR */
    unsigned int cidrs;
    uint64_t capacity;
};

static const struct pool_shape shapes[] = {
    {"/24", "192.0.%u.0/24", 1, 254},
    {"/16", "172.%u.0.0/16", 1, 65534},
    {"256 x /16", "10.%u.0.0/16", 256, 256 * 65534},
    {"IPv6 /112", "2001:db8:%u::/112", 1, 65536},
};

static const double fills[] = {0.999, 0.99, 0.5}; /* besides empty; falling, as thinning out goes */

/* ---- Calls ------------------------------------------------------------------------------------------------------ */

static uint64_t clock_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

/* What two readings of the clock take out of each time: the least that they ever show. */
static uint64_t clock_cost(void)
{
    uint64_t least = UINT64_MAX;
    for (int i = 0; i < 100000; i++) {
        uint64_t begin = clock_ns();
        uint64_t took = clock_ns() - begin;
        least = took < least ? took : least;
    }
    return least;
}

static _Noreturn void die(const char *what, const struct ipam_error *error)
{
    fprintf(stderr, "bench_engine: %s: %s\n", what, error->message);
    exit(1);
}

static struct engine_ctx context(struct bench *bench)
{
    bench->now += 1000;
    return (struct engine_ctx){.now = {bench->now},
                               .actor = {1000, "bench_engine", "bench"},
                               .arena = &bench->arena,
                               .changes = &bench->changes};
}

static void results_drop(struct bench *bench)
{
    arena_reset(&bench->arena);
    changes_reset(&bench->changes);
}

static void owner_name(struct owners *owners, size_t i, const char *pool, uint64_t n)
{
    snprintf(owners->names[i], sizeof owners->names[i], "%.8s-%09" PRIu64, pool, n);
    snprintf(owners->uids[i], sizeof owners->uids[i], "%08" PRIx64 "-7d1c-4b6e-9a52-%012" PRIx64,
             n * 2654435761u & 0xffffffffu, n & 0xffffffffffffu);
}

static void owners_new(struct bench *bench, struct owners *owners, size_t count)
{
    owners->count = count;
    for (size_t i = 0; i < count; i++)
        owner_name(owners, i, bench->pool, bench->named++);
}

static void allocate(struct bench *bench, const struct owners *owners)
{
    struct allocate_args args = {
        .pool = bench->pool, .address = "", .ipv6_address = "", .preferred_address = "", .preferred_ipv6_address = ""};
    struct claim_views views;
    struct ipam_error error;
    struct engine_ctx ctx = context(bench);
    for (size_t i = 0; i < owners->count; i++) {
        args.owner = (struct owner_ref){"ProxyVIP", owners->names[i], owners->uids[i]};
        if (engine_allocate(bench->engine, &ctx, &args, &views, &error) < 0)
            die("allocate", &error);
    }
    results_drop(bench);
}

static void release(struct bench *bench, const struct owners *owners)
{
    struct release_args args = {.kind = "ProxyVIP", .address = ""};
    struct claim_views views;
    struct ipam_error error;
    struct engine_ctx ctx = context(bench);
    for (size_t i = 0; i < owners->count; i++) {
        args.name = owners->names[i];
        args.uid = owners->uids[i];
        if (engine_release(bench->engine, &ctx, &args, &views, &error) < 0)
            die("release", &error);
        if (views.count != 1) {
            fprintf(stderr, "bench_engine: %s held no claim\n", args.name);
            exit(1);
        }
    }
    results_drop(bench);
}

/* ---- Pools ------------------------------------------------------------------------------------------------------ */

static void pool_apply(struct bench *bench, const struct pool_shape *shape)
{
    static char texts[256][40];
    static const char *items[256];
    for (unsigned int i = 0; i < shape->cidrs; i++) {
        /* A pool's one CIDR is its 16th: 172.16.0.0/16, 192.0.16.0/24. */
        snprintf(texts[i], sizeof texts[i], shape->network, shape->cidrs == 1 ? 16 : i);
        items[i] = texts[i];
    }
    struct apply_pool_args args = {.name = bench->pool};
    args.spec = (struct pool_spec){.cidrs = {items, shape->cidrs}, .uid = "", .auto_assign = true};
    struct apply_pool_result result;
    struct ipam_error error;
    struct engine_ctx ctx = context(bench);
    if (engine_apply_pool(bench->engine, &ctx, &args, &result, &error) < 0)
        die("pool", &error);
    if (result.pool.total.capacity != shape->capacity) {
        fprintf(stderr, "bench_engine: %s has %" PRIu64 " addresses\n", shape->name, result.pool.total.capacity);
        exit(1);
    }
    results_drop(bench);
}

static void fill(struct bench *bench, uint64_t count)
{
    struct owners owners;
    for (uint64_t left = count; left > 0; left -= owners.count) {
        owners_new(bench, &owners, left < GROUP ? left : GROUP);
        allocate(bench, &owners);
    }
}

static uint64_t random_below(struct bench *bench, uint64_t limit)
{
    bench->random ^= bench->random << 13; /* Marsaglia's xorshift */
    bench->random ^= bench->random >> 7;
    bench->random ^= bench->random << 17;
    return bench->random % limit;
}

static uint32_t *shuffled(struct bench *bench, uint64_t count)
{
    uint32_t *order = mem_alloc(count * sizeof *order);
    for (uint64_t i = 0; i < count; i++)
        order[i] = (uint32_t)i;
    for (uint64_t i = count - 1; i > 0; i--) {
        uint64_t j = random_below(bench, i + 1);
        uint32_t other = order[j];
        order[j] = order[i];
        order[i] = other;
    }
    return order;
}

static void owners_take(struct bench *bench, struct owners *owners, const uint32_t *order, size_t count)
{
    owners->count = count;
    for (size_t i = 0; i < count; i++)
        owner_name(owners, i, bench->pool, order[i]);
}

/* Releases order[keep…held-1]. */
static void thin_out(struct bench *bench, const uint32_t *order, uint64_t held, uint64_t keep)
{
    struct owners owners;
    for (uint64_t i = keep; i < held; i += owners.count) {
        owners_take(bench, &owners, order + i, held - i < GROUP ? held - i : GROUP);
        release(bench, &owners);
    }
}

/* ---- Timing ----------------------------------------------------------------------------------------------------- */

static uint64_t clock_overhead;

static int double_compare(const void *a, const void *b)
{
    double left = *(const double *)a, right = *(const double *)b;
    return left < right ? -1 : left > right;
}

static double median(double *values, size_t count)
{
    qsort(values, count, sizeof *values, double_compare);
    return values[count / 2];
}

typedef void (*group_fn)(struct bench *bench, const struct owners *owners);

static double timed(struct bench *bench, group_fn group, const struct owners *owners)
{
    uint64_t begin = clock_ns();
    group(bench, owners);
    uint64_t took = clock_ns() - begin;
    return (double)(took > clock_overhead ? took - clock_overhead : 0) / (double)owners->count;
}

/* One run: `first` and then `second` on each group; the median nanoseconds a call of each. */
static void run(struct bench *bench, const uint32_t *order, uint64_t held, size_t count, group_fn first,
                group_fn second, double ret[2])
{
    static double times[2][GROUPS_PER_RUN];
    struct owners owners;
    for (size_t i = 0; i < GROUPS_PER_RUN; i++) {
        if (order)
            owners_take(bench, &owners, order + random_below(bench, held - count + 1), count);
        else
            owners_new(bench, &owners, count);
        times[0][i] = timed(bench, first, &owners);
        times[1][i] = timed(bench, second, &owners);
    }
    ret[0] = median(times[0], GROUPS_PER_RUN);
    ret[1] = median(times[1], GROUPS_PER_RUN);
}

struct figures {
    double allocate, release, old_allocate, old_release;
};

static struct figures measure(struct bench *bench, const uint32_t *order, uint64_t held, uint64_t capacity, int runs)
{
    static double times[4][RUNS_MAX];
    uint64_t room = capacity - held;
    size_t fresh = room < GROUP ? (size_t)room : GROUP, old = held < GROUP ? (size_t)held : GROUP;
    for (int i = 0; i < runs; i++) {
        double pair[2];
        run(bench, NULL, 0, fresh, allocate, release, pair);
        times[0][i] = pair[0], times[1][i] = pair[1];
        if (held > 0)
            run(bench, order, held, old, release, allocate, pair);
        times[2][i] = held > 0 ? pair[1] : 0, times[3][i] = held > 0 ? pair[0] : 0;
    }
    size_t count = (size_t)runs;
    return (struct figures){median(times[0], count), median(times[1], count), median(times[2], count),
                            median(times[3], count)};
}

/* ---- The matrix ------------------------------------------------------------------------------------------------- */

static size_t heap_bytes(void)
{
    struct mallinfo2 info = mallinfo2();
    return info.uordblks + info.hblkhd;
}

static void fill_elsewhere(struct bench *bench)
{
    static const struct pool_shape shape = {"elsewhere", "100.%u.0.0/16", 16, 16 * 65534};
    bench->pool = "elsewhere";
    pool_apply(bench, &shape);
    size_t before = heap_bytes();
    uint64_t begin = clock_ns();
    fill(bench, ELSEWHERE);
    printf("{\"what\": \"memory\", \"claims\": %d, \"bytes_per_claim\": %.1f, \"fill_ns_per_claim\": %.1f}\n",
           ELSEWHERE, (double)(heap_bytes() - before) / ELSEWHERE, (double)(clock_ns() - begin) / ELSEWHERE);
}

static void measure_and_print(struct bench *bench, const struct pool_shape *shape, double fill, uint64_t elsewhere,
                              const uint32_t *order, uint64_t held, int runs)
{
    struct figures ns = measure(bench, order, held, shape->capacity, runs);
    printf("{\"what\": \"calls\", \"pool\": \"%s\", \"fill\": %g, \"elsewhere\": %" PRIu64 ", \"allocate_ns\": %.1f, "
           "\"release_ns\": %.1f, \"old_allocate_ns\": %.1f, \"old_release_ns\": %.1f}\n",
           shape->name, fill, elsewhere, ns.allocate, ns.release, ns.old_allocate, ns.old_release);
    fflush(stdout);
}

static void bench_fills(struct bench *bench, const struct pool_shape *shape, uint64_t elsewhere, int runs)
{
    uint64_t held = shape->capacity;
    bench->named = 0;
    pool_apply(bench, shape);
    measure_and_print(bench, shape, 0, elsewhere, NULL, 0, runs);
    bench->named = 0; /* those that were measured are gone: owner n of `order` is the n-th that fills the pool */
    fill(bench, shape->capacity);
    uint32_t *order = shuffled(bench, shape->capacity);
    for (size_t i = 0; i < sizeof fills / sizeof *fills; i++) {
        uint64_t keep = (uint64_t)((double)shape->capacity * fills[i]);
        thin_out(bench, order, held, keep);
        held = keep;
        measure_and_print(bench, shape, fills[i], elsewhere, order, held, runs);
    }
    free(order);
}

static void bench_pool(const struct pool_shape *shape, uint64_t elsewhere, int runs)
{
    static const uint8_t key[16] = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16};
    struct bench bench = {.engine = engine_new(key), .now = 1000000000, .random = 88172645463325252u};
    arena_init(&bench.arena);
    changes_init(&bench.changes);
    if (elsewhere > 0)
        fill_elsewhere(&bench);
    bench.pool = "measured";
    bench_fills(&bench, shape, elsewhere, runs);
    changes_done(&bench.changes);
    arena_done(&bench.arena);
    engine_free(bench.engine);
}

/* A pool that holds millions itself is not measured again beside a million elsewhere. */
static bool is_measured(const struct pool_shape *shape, uint64_t elsewhere)
{
    uint64_t memory = (uint64_t)sysconf(_SC_AVPHYS_PAGES) * (uint64_t)sysconf(_SC_PAGESIZE);
    if (elsewhere > 0 && shape->capacity > elsewhere)
        return false;
    if ((shape->capacity + elsewhere) * CLAIM_BYTES < memory)
        return true;
    printf("{\"what\": \"skipped\", \"pool\": \"%s\", \"elsewhere\": %" PRIu64 "}\n", shape->name, elsewhere);
    return false;
}

int main(int argc, char *argv[])
{
    int runs = argc > 1 ? atoi(argv[1]) : 5;
    if (runs < 1 || runs > RUNS_MAX) {
        fprintf(stderr, "usage: bench_engine [RUNS], from 1 to %d\n", RUNS_MAX);
        return 2;
    }
    clock_overhead = clock_cost();
    for (uint64_t elsewhere = 0; elsewhere <= ELSEWHERE; elsewhere += ELSEWHERE) {
        for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++) {
            if (is_measured(&shapes[i], elsewhere))
                bench_pool(&shapes[i], elsewhere, runs);
        }
    }
    return 0;
}
