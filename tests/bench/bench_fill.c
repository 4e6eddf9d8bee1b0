/* bench_fill: makes a state directory with many claims, through the engine and the store and no socket.
 *
 * Usage: bench_fill DIR CLAIMS BATCH. Prints as JSON how fast the store took them, in batches of BATCH changes. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "store.h"

struct filler {
    struct store *store;
    struct engine *engine;
    struct arena arena;
    struct changes changes;
    int64_t now;
    uint64_t named;
};

static _Noreturn void die(const char *what, const struct ipam_error *error)
{
    fprintf(stderr, "bench_fill: %s: %s\n", what, error->message);
    exit(1);
}

static double clock_seconds(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

static struct engine_ctx context(struct filler *filler)
{
    filler->now += 1000;
    return (struct engine_ctx){.now = {filler->now},
                               .actor = {1000, "bench_fill", "Allocate"},
                               .arena = &filler->arena,
                               .changes = &filler->changes};
}

static void commit(struct filler *filler)
{
    struct ipam_error error;
    if (store_commit(filler->store, &filler->changes, NULL, &error) < 0)
        die("commit", &error);
    changes_reset(&filler->changes);
    arena_reset(&filler->arena);
}

static void pool_apply(struct filler *filler)
{
    static char texts[256][24];
    static const char *items[256];
    for (unsigned int i = 0; i < 256; i++) {
        snprintf(texts[i], sizeof texts[i], "10.%u.0.0/16", i);
        items[i] = texts[i];
    }
    struct apply_pool_args args = {.name = "bench"};
    args.spec = (struct pool_spec){.cidrs = {items, 256}, .uid = "", .auto_assign = true};
    struct apply_pool_result result;
    struct ipam_error error;
    struct engine_ctx ctx = context(filler);
    if (engine_apply_pool(filler->engine, &ctx, &args, &result, &error) < 0)
        die("pool", &error);
    commit(filler);
}

static void claim_add(struct filler *filler)
{
    char name[32], uid[40];
    uint64_t n = filler->named++;
    snprintf(name, sizeof name, "vip-%09" PRIu64, n);
    snprintf(uid, sizeof uid, "%08" PRIx64 "-7d1c-4b6e-9a52-%012" PRIx64, n * 2654435761u & 0xffffffffu,
             n & 0xffffffffffffu);
    struct allocate_args args = {.owner = {"ProxyVIP", name, uid},
                                 .pool = "bench",
                                 .address = "",
                                 .ipv6_address = "",
                                 .preferred_address = "",
                                 .preferred_ipv6_address = ""};
    struct claim_views views;
    struct ipam_error error;
    struct engine_ctx ctx = context(filler);
    if (engine_allocate(filler->engine, &ctx, &args, &views, &error) < 0)
        die("allocate", &error);
}

int main(int argc, char *argv[])
{
    static const uint8_t key[16] = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16};
    uint64_t claims = argc == 4 ? strtoull(argv[2], NULL, 10) : 0;
    uint64_t batch = argc == 4 ? strtoull(argv[3], NULL, 10) : 0;
    if (claims == 0 || batch == 0) {
        fprintf(stderr, "usage: bench_fill DIR CLAIMS BATCH\n");
        return 2;
    }
    struct filler filler = {.engine = engine_new(key), .now = (int64_t)time(NULL) * 1000000000};
    struct store_options options = {.dir = argv[1]};
    struct ipam_error error;
    arena_init(&filler.arena);
    changes_init(&filler.changes);
    if (store_open(&options, &filler.store, &error) < 0)
        die("store", &error);
    pool_apply(&filler);
    double begin = clock_seconds();
    while (filler.named < claims) {
        claim_add(&filler);
        if (filler.changes.count >= batch || filler.named == claims)
            commit(&filler);
    }
    double took = clock_seconds() - begin;
    store_close(filler.store);
    engine_free(filler.engine);
    changes_done(&filler.changes);
    arena_done(&filler.arena);
    printf("{\"claims\": %" PRIu64 ", \"batch\": %" PRIu64 ", \"claims_per_second\": %.1f}\n", claims, batch,
           (double)claims / took);
    return fflush(stdout) == 0 ? 0 : 1;
}
