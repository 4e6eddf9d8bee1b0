#include <stdlib.h>

#include "engine_fixture.h"

struct fixture fx;

static const uint8_t hash_key[16] = "engine unit test";

int engine_setup(void **state)
{
    (void)state;
    fx = (struct fixture){.engine = engine_new(hash_key), .seconds = 1700000000, .elapsed = 1000, .user = 1000};
    fx.clock = (struct engine_clock){{fx.seconds * 1000000000}, {fx.elapsed * 1000000000}, "the first boot"};
    engine_set_clock(fx.engine, &fx.clock);
    arena_init(&fx.arena);
    changes_init(&fx.changes);
    return 0;
}

/* ---- Replay ---- */

struct text {
    char *bytes;
    size_t size;
};

static void text_add(void *user, const char *bytes, size_t size)
{
    struct text *text = user;

    text->bytes = mem_realloc(text->bytes, text->size + size + 1);
    memcpy(text->bytes + text->size, bytes, size);
    text->size += size;
    text->bytes[text->size] = '\0';
}

char *dump_of(struct engine *engine)
{
    struct text text = {0};

    engine_dump(engine, text_add, &text);
    return text.bytes;
}

static uint64_t id_of(const struct change *change)
{
    return change->kind == CHANGE_POOL ? change->pool.id : change->claim.id;
}

static bool is_last(size_t index)
{
    const struct change *change = &fx.changes.items[index];

    for (size_t i = index + 1; i < fx.changes.count; i++)
        if (fx.changes.items[i].kind == change->kind && id_of(&fx.changes.items[i]) == id_of(change))
            return false;
    return change->kind == CHANGE_POOL ? change->pool.state != POOL_REMOVED : change->claim.state != CLAIM_RELEASED;
}

static int by_kind_and_id(const void *a, const void *b)
{
    const struct change *left = *(struct change *const *)a, *right = *(struct change *const *)b;

    if (left->kind != right->kind)
        return left->kind == CHANGE_POOL ? -1 : 1;
    return (id_of(left) > id_of(right)) - (id_of(left) < id_of(right));
}

static void replay(struct engine *engine, const struct change *change)
{
    struct ipam_error error;

    if (engine_replay(engine, change, &error) < 0)
        fail_msg("replay: %s", error.message);
}

static struct engine *engine_begin(void)
{
    struct engine *engine = engine_new(hash_key);

    engine_set_clock(engine, &fx.clock);
    return engine;
}

static struct engine *engine_of_history(void)
{
    struct engine *engine = engine_begin();

    for (size_t i = 0; i < fx.changes.count; i++)
        replay(engine, &fx.changes.items[i]);
    return engine;
}

static struct engine *engine_of_last_records(void)
{
    struct engine *engine = engine_begin();
    const struct change **last = mem_alloc(fx.changes.count * sizeof(*last));
    size_t count = 0;

    for (size_t i = 0; i < fx.changes.count; i++)
        if (is_last(i))
            last[count++] = &fx.changes.items[i];
    qsort(last, count, sizeof(*last), by_kind_and_id);
    for (size_t i = 0; i < count; i++)
        replay(engine, last[i]);
    if (fx.changes.count)
        engine_set_revision(engine, fx.changes.count);
    free(last);
    return engine;
}

static void expect_same(struct engine *rebuilt)
{
    char *before = dump_of(fx.engine), *after = dump_of(rebuilt);

    engine_check(rebuilt);
    assert_string_equal(after, before);
    free(before);
    free(after);
    engine_free(rebuilt);
}

int engine_teardown(void **state)
{
    (void)state;
    engine_check(fx.engine);
    for (size_t i = 0; i < fx.changes.count; i++)
        assert_int_equal(fx.changes.items[i].revision, i + 1);
    expect_same(engine_of_history());
    expect_same(engine_of_last_records());
    fx.engine = engine_free(fx.engine);
    changes_done(&fx.changes);
    arena_done(&fx.arena);
    return 0;
}

void fx_rebuild(void)
{
    struct engine *rebuilt = engine_of_history();

    engine_free(fx.engine);
    fx.engine = rebuilt;
}

/* ---- Calls ---- */

static struct engine_ctx context(void)
{
    return (struct engine_ctx){
        .now = {fx.seconds * 1000000000},
        .elapsed = {fx.elapsed * 1000000000},
        .max_ends = fx.max_ends,
        .actor = {fx.user, "test", "Test"},
        .arena = &fx.arena,
        .changes = &fx.changes,
        .limits = fx.limits,
        .scope = fx.scope,
    };
}

int fx_apply(const struct apply_pool_args *args)
{
    struct engine_ctx ctx = context();

    return engine_apply_pool(fx.engine, &ctx, args, &fx.applied, &fx.error);
}

int fx_delete(const struct delete_pool_args *args)
{
    struct engine_ctx ctx = context();

    return engine_delete_pool(fx.engine, &ctx, args, &fx.deleted, &fx.error);
}

int fx_allocate(const struct allocate_args *args)
{
    struct engine_ctx ctx = context();

    return engine_allocate(fx.engine, &ctx, args, &fx.claims, &fx.error);
}

int fx_release(const struct release_args *args)
{
    struct engine_ctx ctx = context();

    return engine_release(fx.engine, &ctx, args, &fx.claims, &fx.error);
}

void fx_wait(int64_t seconds)
{
    struct engine_ctx ctx;

    fx.seconds += seconds;
    fx.elapsed += seconds;
    ctx = context();
    engine_expire(fx.engine, &ctx);
}

void fx_restart(int64_t asleep, int64_t by_clock, bool same_boot)
{
    fx.seconds += by_clock;
    fx.elapsed = same_boot ? fx.elapsed + asleep : 60;
    fx.clock.now.ns = fx.seconds * 1000000000;
    fx.clock.elapsed.ns = fx.elapsed * 1000000000;
    fx.clock.boot_id[BOOT_ID_SIZE - 1] += !same_boot;
    engine_free(fx.engine);
    fx.engine = engine_of_last_records();
}

/* ---- Short ways ---- */

void make_pool_cooling(const char *name, const char *cidr, uint32_t seconds)
{
    if (apply(name, .spec = {.cidrs = LIST(cidr), .auto_assign = true, .reuse_delay_seconds = seconds}) < 0)
        fail_msg("%s", fx.error.message);
}

void make_pool(const char *name, const char *cidr)
{
    make_pool_cooling(name, cidr, 0);
}

const char *claim_text(const struct claim_view *claim)
{
    char text[IPAM_ADDR_TEXT_MAX] = "";

    if (claim->record.address.family != IPAM_FAMILY_NONE)
        ipam_addr_format(&claim->record.address, text);
    return arena_strdup(&fx.arena, text);
}

static struct claim_views claims_of(const char *owner)
{
    struct claim_views views;

    assert_int_equal(engine_claims_of(fx.engine, "ProxyVIP", owner, &fx.arena, &views, &fx.error), 0);
    return views;
}

const char *address_of(const char *owner)
{
    struct claim_views views = claims_of(owner);

    return views.count ? claim_text(&views.items[0]) : "";
}

struct claim_view claim_of(const char *owner, enum ipam_family family)
{
    struct claim_views views = claims_of(owner);

    for (size_t i = 0; i < views.count; i++)
        if (views.items[i].record.family == family)
            return views.items[i];
    fail_msg("%s has no %s claim", owner, ipam_family_name(family));
    return (struct claim_view){0};
}

enum ipam_reason waits_for(const char *owner)
{
    struct claim_views views = claims_of(owner);

    return views.count ? views.items[0].record.reason : IPAM_REASON_NONE;
}

struct pool_view pool_of(const char *name)
{
    struct pool_view view;

    if (engine_pool_get(fx.engine, name, &fx.arena, &view, &fx.error) < 0)
        fail_msg("%s", fx.error.message);
    return view;
}
