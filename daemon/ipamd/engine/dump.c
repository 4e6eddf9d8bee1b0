#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "internal.h"

struct dump {
    void (*write)(void *user, const char *text, size_t size);
    void *user;
};

__attribute__((format(printf, 2, 3))) static void put(const struct dump *dump, const char *format, ...)
{
    char text[2048];
    va_list args;
    int size;

    va_start(args, format);
    size = vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    assert(size >= 0 && (size_t)size < sizeof(text)); /* names and messages are shorter */
    dump->write(dump->user, text, (size_t)size);
}

/* ---- Pools ---- */

static void put_list(const struct dump *dump, const char *name, const struct string_list *list)
{
    put(dump, " %s=[", name);
    for (size_t i = 0; i < list->count; i++)
        put(dump, "%s%s", i ? "," : "", list->items[i]);
    put(dump, "]");
}

static void put_spec(const struct dump *dump, const char *name, const struct pool_spec *spec)
{
    put(dump, "  %s uid=%s generation=%" PRId64 " reuse_delay=%u auto_assign=%d paused=%d", name, spec->uid,
        spec->generation, spec->reuse_delay_seconds, spec->auto_assign, spec->paused);
    put_list(dump, "cidrs", &spec->cidrs);
    put_list(dump, "addresses", &spec->addresses);
    put_list(dump, "excluded", &spec->excluded);
    put(dump, "\n");
}

static void put_pool(const struct dump *dump, const struct pool *pool)
{
    const struct pool_record *record = &pool->record;

    put(dump, "pool %" PRIu64 " %s state=%d revision=%" PRIu64 " created=%" PRId64 " reason=%s ", record->id,
        pool->name, record->state, pool->revision, record->created_at.ns, ipam_reason_name(record->reason));
    put(dump, "message=%s\n", record->message);
    if (record->has_spec)
        put_spec(dump, "spec", &record->spec);
    if (record->has_rejected)
        put_spec(dump, "rejected", &record->rejected);
    for (unsigned int f = 0; f < FAMILIES; f++) {
        struct pool_counts counts;

        pool_counts_of(pool, f, &counts);
        put(dump,
            "  %s capacity=%" PRIu64 " allocated=%" PRIu64 " available=%" PRIu64 " cooling=%" PRIu64
            " excluded=%" PRIu64 " orphaned=%" PRIu64 " waiting=%" PRIu64 "\n",
            ipam_family_name(family_at(f)), counts.capacity, counts.allocated, counts.available, counts.cooling,
            counts.excluded, counts.orphaned, counts.waiting);
    }
}

static int by_id(const void *a, const void *b)
{
    const struct pool *left = *(struct pool *const *)a, *right = *(struct pool *const *)b;

    return (left->record.id > right->record.id) - (left->record.id < right->record.id);
}

static void put_pools(const struct dump *dump, const struct engine *engine)
{
    size_t size = engine->listed.count * sizeof(struct pool *);
    struct pool **pools = mem_alloc(size);

    if (size)
        memcpy(pools, engine->listed.items, size);
    qsort(pools, engine->listed.count, sizeof(*pools), by_id);
    for (size_t i = 0; i < engine->listed.count; i++)
        put_pool(dump, pools[i]);
    free(pools);
}

/* ---- Claims ---- */

static void put_claim(const struct dump *dump, struct engine *engine, struct claim *claim)
{
    struct claim_record record;
    char address[IPAM_ADDR_TEXT_MAX] = "", requested[IPAM_ADDR_TEXT_MAX];

    claim_record_of(claim, &record);
    if (claim_holds(claim))
        ipam_addr_format(&record.address, address);
    put(dump, "claim %" PRIu64 " %s/%s uid=%s family=%s state=%d revision=%" PRIu64, record.id, record.owner.kind,
        record.owner.name, record.owner.uid, ipam_family_name(record.family), record.state, claim->revision);
    put(dump, " pool=%s address=%s requested=%s created=%" PRId64 " allocated=%" PRId64, record.pool, address,
        claim_requested(claim, requested), record.created_at.ns, record.allocated_at.ns);
    if (record.has_user)
        put(dump, " user=%u", record.user);
    if (claim->state == CLAIM_COOLING)
        put(dump, " until=%" PRId64 " delay=%u ends=%" PRId64, record.cooling_until.ns, claim->cooling->delay,
            claim->cooling->ends);
    if (claim->state == CLAIM_WAITING) {
        put(dump, " preferred=%s dual=%d reason=%s", record.preferred, record.dual, ipam_reason_name(record.reason));
        put(dump, " since=%" PRIu64 " position=%" PRIu64, record.waiting_since, wait_position(engine, claim->wait));
        put(dump, " message=%s", record.message);
    }
    put(dump, "\n");
}

void engine_dump(struct engine *engine, void (*write)(void *user, const char *text, size_t size), void *user)
{
    struct dump dump = {write, user};

    queue_settle(engine);
    put(&dump, "revision %" PRIu64 "\n", engine->revision);
    put_pools(&dump, engine);
    for (size_t i = claims_after(engine, 0); i < engine->n_ids; i = claims_next(engine, i))
        if (claim_at(engine, i))
            put_claim(&dump, engine, claim_at(engine, i));
}
