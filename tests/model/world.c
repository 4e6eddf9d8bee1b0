#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "world.h"

#define SECOND INT64_C(1000000000)
#define START  (1700000000 * SECOND)
#define YEAR   (31536000 * SECOND)

/* ---- Chance ---- */

/* SplitMix64 */
uint64_t world_random(struct world *world, uint64_t below)
{
    uint64_t z = world->random += 0x9e3779b97f4a7c15;

    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9;
    z = (z ^ z >> 27) * 0x94d049bb133111eb;
    return (z ^ z >> 31) % below;
}

bool world_chance(struct world *world, unsigned int percent)
{
    return world_random(world, 100) < percent;
}

/* ---- Telling ---- */

void world_print(const struct world *world)
{
    int first = world->step < WORLD_LOG ? 0 : world->step - WORLD_LOG + 1;

    fprintf(stderr, "model test: seed %llu, step %d; the last operations:\n", (unsigned long long)world->seed,
            world->step);
    for (int i = first; i <= world->step; i++)
        fprintf(stderr, "  %4d %s\n", i, world->log[i % WORLD_LOG]);
    fprintf(stderr, "Again: MODEL_SEED=%llu MODEL_VERBOSE=1\n", (unsigned long long)world->seed);
}

static void print_changes(const struct world *world)
{
    for (size_t i = 0; i < world->changes.count; i++) {
        const struct change *change = &world->changes.items[i];
        bool pool = change->kind == CHANGE_POOL;
        char text[IPAM_ADDR_TEXT_MAX];

        fprintf(stderr, "  change %llu: %s %llu, state %d, %s %s%s%s, %s\n", (unsigned long long)change->revision,
                pool ? "pool" : "claim", (unsigned long long)(pool ? change->pool.id : change->claim.id),
                pool ? (int)change->pool.state : (int)change->claim.state,
                pool ? change->pool.name : change->claim.owner.kind, pool ? "" : change->claim.owner.name,
                pool ? "" : " ", pool ? "" : ipam_addr_format(&change->claim.address, text),
                pool ? change->pool.message : change->claim.message);
    }
}

void world_disagree(const struct world *world, const char *format, ...)
{
    va_list args;

    fprintf(stderr, "\nseed %llu, step %d: engine and model disagree: ", (unsigned long long)world->seed, world->step);
    va_start(args, format);
    vfprintf(stderr, format, args);
    va_end(args);
    fprintf(stderr, "\n");
    print_changes(world);
    abort(); /* whose handler prints the world */
}

static void say(struct world *world, const char *format, ...) __attribute__((format(printf, 2, 3)));

static void say(struct world *world, const char *format, ...)
{
    char *line = world->log[world->step % WORLD_LOG];
    size_t used = strlen(line);
    va_list args;

    va_start(args, format);
    vsnprintf(line + used, sizeof(world->log[0]) - used, format, args);
    va_end(args);
}

static void say_entries(struct world *world, const char *what, const struct entries *entries)
{
    for (size_t i = 0; i < entries->count; i++)
        say(world, " %s=%s", what, entries->items[i].text);
}

static void say_wish(struct world *world, const char *what, const struct wish *wish)
{
    if (wish->text[0])
        say(world, " %s=%s", what, wish->text);
}

static void say_spec(struct world *world, const struct model_spec *spec)
{
    say_entries(world, "cidr", &spec->cidrs);
    say_entries(world, "address", &spec->addresses);
    say_entries(world, "excluded", &spec->excluded);
    say(world, " uid=%s generation=%lld delay=%us%s%s", model_uids[spec->uid], (long long)spec->generation,
        spec->reuse_delay, spec->auto_assign ? " auto" : "", spec->paused ? " paused" : "");
}

/* ---- Fixture ---- */

void world_init(struct world *world, uint64_t seed, bool verbose, struct coverage *coverage)
{
    static const uint8_t key[16] = "a key of 16 byte";

    memset(world, 0, sizeof(*world));
    world->seed = world->random = seed;
    world->step = -1;
    world->verbose = verbose;
    world->coverage = coverage;
    world->elapsed = world->model.elapsed = 500 * SECOND;
    world->offset = START;
    world->clock = (struct engine_clock){{START}, {world->elapsed}, "of a model boot"};
    world->engine = engine_new(key);
    engine_set_clock(world->engine, &world->clock);
    arena_init(&world->arena);
    changes_init(&world->changes);
    changes_init(&world->history);
}

void world_done(struct world *world)
{
    world->engine = engine_free(world->engine);
    arena_done(&world->arena);
    changes_done(&world->changes);
    changes_done(&world->history);
}

/* ---- Operations ---- */

/* One operation on its way: what the engine answered. */
struct turn {
    struct engine_ctx ctx;
    struct model *model; /* the world's, or with dry_run a copy that is thrown away */
    bool dry_run;
    int status;
    struct ipam_error error;
    struct claim_views claims;
};

static void expect_answer(struct world *world, const struct turn *turn)
{
    const struct model_answer *expected = &world->expected;
    enum ipam_reason got = turn->status < 0 ? turn->error.reason : IPAM_REASON_NONE;

    if (got != expected->refused)
        world_disagree(world, "answer: %s (%s), expected %s", ipam_reason_name(got),
                       turn->status < 0 ? turn->error.message : "",
                       expected->refused ? ipam_reason_name(expected->refused) : "success");
    if (turn->status < 0 && (turn->error.status != ipam_reason_status(got) || !turn->error.message[0]))
        world_disagree(world, "refused with status %d and message \"%s\"", (int)turn->error.status,
                       turn->error.message);
    if (turn->status == 0)
        compare_claims(world, &turn->claims, turn->model, expected->claims, expected->count);
}

static struct string_list texts_of(struct world *world, const struct entries *entries)
{
    const char **items = arena_alloc(&world->arena, (entries->count + 1) * sizeof(*items));

    for (size_t i = 0; i < entries->count; i++)
        items[i] = entries->items[i].text;
    return (struct string_list){items, entries->count};
}

static void apply(struct world *world, struct turn *turn)
{
    int pool = (int)world_random(world, MODEL_POOLS);
    struct model_apply args = {.pool = pool, .record_rejected = world_chance(world, 60)};
    struct apply_pool_result result = {0};
    struct apply_pool_args given;

    generate_spec(world, pool, &args.spec);
    given = (struct apply_pool_args){
        .name = model_pool_names[pool],
        .spec = {.cidrs = texts_of(world, &args.spec.cidrs),
                 .addresses = texts_of(world, &args.spec.addresses),
                 .excluded = texts_of(world, &args.spec.excluded),
                 .uid = model_uids[args.spec.uid],
                 .generation = args.spec.generation,
                 .reuse_delay_seconds = args.spec.reuse_delay,
                 .auto_assign = args.spec.auto_assign,
                 .paused = args.spec.paused},
        .record_rejected = args.record_rejected,
        .dry_run = turn->dry_run,
    };
    say(world, "apply %s", model_pool_names[pool]);
    say_spec(world, &args.spec);
    say(world, "%s", args.record_rejected ? " record_rejected" : "");
    model_apply(turn->model, &args, &world->expected);
    turn->status = engine_apply_pool(world->engine, &turn->ctx, &given, &result, &turn->error);
    turn->claims = result.stranded;
    expect_answer(world, turn);
    if (turn->status < 0)
        return;
    compare_pool(world, &result.pool, turn->model, pool);
    if (result.changed != world->expected.changed)
        world_disagree(world, "changed: %d", result.changed);
}

static void delete (struct world *world, struct turn *turn)
{
    int pool = (int)world_random(world, MODEL_POOLS);
    struct model_delete args = {.pool = pool,
                                .uid = world_chance(world, 50) ? 0 : (int)world_random(world, 3),
                                .only_if_unused = world_chance(world, 20)};
    struct delete_pool_args given = {.name = model_pool_names[pool],
                                     .uid = model_uids[args.uid],
                                     .only_if_unused = args.only_if_unused,
                                     .dry_run = turn->dry_run};
    struct delete_pool_result result = {0};

    say(world, "delete %s uid=%s%s", given.name, given.uid, args.only_if_unused ? " only_if_unused" : "");
    model_delete(turn->model, &args, &world->expected);
    turn->status = engine_delete_pool(world->engine, &turn->ctx, &given, &result, &turn->error);
    expect_answer(world, turn);
    if (turn->status == 0 && (result.removed != world->expected.removed ||
                              result.draining != world->expected.draining || result.claims != world->expected.held))
        world_disagree(world, "removed %d, draining %d, claims %llu", result.removed, result.draining,
                       (unsigned long long)result.claims);
}

static void allocate(struct world *world, struct turn *turn)
{
    struct model_allocate args;
    struct allocate_args given;

    generate_allocate(world, &args);
    given = (struct allocate_args){
        .owner = {model_owners[args.owner].kind, model_owners[args.owner].name, model_uids[args.uid]},
        .pool = args.pool == MANUAL        ? ""
                : args.pool == MODEL_POOLS ? "Not_A_Name"
                                           : model_pool_names[args.pool],
        .families = args.families,
        .address = args.address.text,
        .ipv6_address = args.ipv6_address.text,
        .preferred_address = args.preferred.text,
        .preferred_ipv6_address = args.preferred_ipv6.text,
        .enqueue = args.enqueue,
        .replace = args.replace,
        .dry_run = turn->dry_run,
    };
    say(world, "allocate %s/%s uid=%s pool=%s families=%u", given.owner.kind, given.owner.name, given.owner.uid,
        given.pool, given.families);
    say_wish(world, "address", &args.address);
    say_wish(world, "ipv6_address", &args.ipv6_address);
    say_wish(world, "preferred", &args.preferred);
    say_wish(world, "preferred_ipv6", &args.preferred_ipv6);
    say(world, "%s%s", args.enqueue ? " enqueue" : "", args.replace ? " replace" : "");
    model_allocate(turn->model, &args, &world->expected);
    turn->status = engine_allocate(world->engine, &turn->ctx, &given, &turn->claims, &turn->error);
    expect_answer(world, turn);
}

static void release(struct world *world, struct turn *turn)
{
    struct model_release args;
    struct release_args given;

    generate_release(world, &args);
    given = (struct release_args){.kind = model_owners[args.owner].kind,
                                  .name = model_owners[args.owner].name,
                                  .families = args.families,
                                  .address = args.address.text,
                                  .uid = model_uids[args.uid],
                                  .end_cooling = args.end_cooling,
                                  .dry_run = turn->dry_run};
    say(world, "%s %s/%s uid=%s families=%u", args.end_cooling ? "end cooling" : "release", given.kind, given.name,
        given.uid, given.families);
    say_wish(world, "address", &args.address);
    model_release(turn->model, &args, &world->expected);
    turn->status = engine_release(world->engine, &turn->ctx, &given, &turn->claims, &turn->error);
    expect_answer(world, turn);
}

static void expire(struct world *world, struct turn *turn)
{
    say(world, "expire");
    world->expected = (struct model_answer){0};
    engine_expire(world->engine, &turn->ctx);
}

/* `edits`: the operation is about pools or time, and must leave every bound claim where it is. */
static const struct operation {
    unsigned int percent;
    void (*run)(struct world *world, struct turn *turn);
    bool edits, may_be_dry;
} operations[] = {
    {17, apply, true, true},    {5, delete, true, true},  {48, allocate, false, true},
    {26, release, false, true}, {4, expire, true, false},
};

static const struct operation *any_operation(struct world *world)
{
    uint64_t at = world_random(world, 100);
    size_t i = 0;

    while (at >= operations[i].percent)
        at -= operations[i++].percent;
    return &operations[i];
}

/* Addresses that were given must still be there after what only pools were asked for. */
static void check_held(struct world *world, bool edit)
{
    for (int i = 0; i < MODEL_OWNERS; i++) {
        struct claim_views views;
        struct ipam_addr now[2] = {0};

        if (engine_claims_of(world->engine, model_owners[i].kind, model_owners[i].name, &world->arena, &views, NULL) <
            0)
            world_disagree(world, "claims of an owner can't be read");
        for (size_t k = 0; k < views.count; k++) {
            if (views.items[k].record.state == CLAIM_BOUND)
                now[views.items[k].record.family - 1] = views.items[k].record.address;
        }
        for (int k = 0; k < 2; k++) {
            const struct ipam_addr *held = &world->held[i][k];

            if (edit && held->family && !ipam_addr_equal(held, &now[k]))
                world_disagree(world, "an edit moved the address of %s/%s", model_owners[i].kind, model_owners[i].name);
            world->held[i][k] = now[k];
        }
    }
}

static struct ipam_addr address_of(int address)
{
    struct ipam_addr addr;
    char text[TEXT_BYTES];

    ipam_addr_parse(model_address_text(address, false, text), &addr, NULL);
    return addr;
}

/* Mostly everywhere; else nowhere, or in up to two ranges. */
static void any_manual(struct world *world)
{
    world->n_manual = 0;
    world->manual_bounded = world_chance(world, 15);
    for (int i = 0; world->manual_bounded && i < 2; i++) {
        int first = (int)world_random(world, MODEL_STRANGE - 8), last = first + (int)world_random(world, 8);

        if (model_family(first) == model_family(last) && world_chance(world, 70))
            world->manual[world->n_manual++] = (struct ipam_range){address_of(first), address_of(last)};
    }
}

static address_set permitted(const struct world *world)
{
    address_set set = 0;

    for (int i = 0; i < MODEL_ADDRESSES; i++) {
        struct ipam_addr address = address_of(i);

        if (!world->manual_bounded)
            set |= ONE_ADDRESS(i);
        for (size_t k = 0; k < world->n_manual; k++) {
            if (ipam_range_contains(&world->manual[k], &address))
                set |= ONE_ADDRESS(i);
        }
    }
    return set;
}

/* Limits come with each call, so those of one call may be below what an earlier one left. */
static struct engine_limits any_limits(struct world *world)
{
    world->limits[0] = (struct claim_limit){"*", world_random(world, 5)};
    world->limits[1] = (struct claim_limit){"ProxyVIP", world_random(world, 7)};
    any_manual(world);
    return (struct engine_limits){.claims = world->limits,
                                  .n_claims = world_chance(world, 80) ? 0 : world_random(world, 3),
                                  .claims_max = world_chance(world, 90) ? 0 : 1 + world_random(world, 12),
                                  .user_claims_max = world_chance(world, 90) ? 0 : 1 + world_random(world, 6),
                                  .cooling_max = world_chance(world, 40) ? 0 : 1 + world_random(world, 3),
                                  .manual_bounded = world->manual_bounded,
                                  .manual = world->manual,
                                  .n_manual = world->n_manual,
                                  .manual_text = "some ranges"};
}

static struct engine_scope any_scope(struct world *world)
{
    static const char *const named[] = {"ProxyVIP", "Node"};
    static const struct string_list groups[] = {{NULL, 0}, {named, 1}, {named + 1, 1}};

    if (world_chance(world, 85))
        return (struct engine_scope){.groups = NULL};
    return (struct engine_scope){.groups = groups, .member = (uint32_t)world_random(world, 8), .objects = {named, 1}};
}

/* Both ways, by a little or by years. */
static void set_clock(struct world *world)
{
    static const int64_t steps[] = {1, 2 * SECOND, 61 * SECOND, 3600 * SECOND, 10 * YEAR};
    int64_t step = steps[world_random(world, sizeof(steps) / sizeof(steps[0]))];

    world->offset += world_chance(world, 50) ? step : -step;
    if (world->offset < 0)
        world->offset = START;
}

static struct wall_time wall_now(const struct world *world)
{
    return (struct wall_time){world->offset + world->elapsed};
}

bool world_sleep(struct world *world)
{
    bool boots = world_chance(world, 50);
    int64_t asleep = (int64_t)world_random(world, 8) * SECOND;

    if (world_chance(world, 50))
        set_clock(world);
    world->offset += boots ? world->elapsed - SECOND : 0;
    world->elapsed = (boots ? SECOND : world->elapsed) + asleep;
    world->clock.now = wall_now(world);
    world->clock.elapsed.ns = world->elapsed;
    world->clock.boot_id[0] += boots;
    world->may_go_back = false;
    model_restart(&world->model, world->clock.now.ns, world->elapsed, boots);
    return boots;
}

static struct engine_ctx context_of(struct world *world)
{
    static const uint64_t pauses[] = {0, 0, 0, 1, 1, 2, 5, 12};
    int64_t back = world->may_go_back && world_chance(world, 3) ? 2 * SECOND : 0;

    if (!back)
        world->elapsed += (int64_t)pauses[world_random(world, 8)] * SECOND + (int64_t)world_random(world, 2);
    if (world_chance(world, 4))
        set_clock(world);
    return (struct engine_ctx){.now = wall_now(world),
                               .elapsed = {world->elapsed - back},
                               .max_ends = world_chance(world, 50) ? 0 : 1 + world_random(world, 3),
                               .actor = {(uint32_t)world_random(world, 3), "model", "Test"},
                               .arena = &world->arena,
                               .changes = &world->changes,
                               .limits = any_limits(world),
                               .scope = any_scope(world)};
}

static void cover(struct world *world)
{
    struct coverage *coverage = world->coverage;

    coverage->refused[world->expected.refused] = true;
    for (int i = 0; i < MODEL_CLAIMS; i++) {
        const struct model_claim *claim = &world->model.claims[i];

        if (claim->exists && claim->state == CLAIM_WAITING)
            coverage->waited[claim->reason] = true;
    }
}

void world_step(struct world *world)
{
    static struct model copy;
    const struct operation *operation;
    struct turn turn = {.model = &world->model};

    world->log[++world->step % WORLD_LOG][0] = '\0';
    arena_reset(&world->arena);
    changes_reset(&world->changes);
    operation = any_operation(world);
    turn.ctx = context_of(world);
    turn.dry_run = operation->may_be_dry && world_chance(world, 8);
    world->may_go_back = !turn.dry_run;
    say(world, "[%.9f, clock %+.9f, ends %zu] %s", (double)turn.ctx.elapsed.ns / 1e9,
        (double)(turn.ctx.now.ns - START) / 1e9, turn.ctx.max_ends, turn.dry_run ? "dry-run " : "");
    if (turn.dry_run) {
        copy = world->model;
        turn.model = &copy;
    }
    turn.model->n_changes = 0;
    turn.model->limits = turn.ctx.limits;
    turn.model->scope = turn.ctx.scope;
    turn.model->user = turn.ctx.actor.uid;
    turn.model->permitted = permitted(world);
    model_time(turn.model, turn.ctx.now.ns, turn.ctx.elapsed.ns, turn.ctx.max_ends);
    world->by_itself = turn.model->n_changes;
    operation->run(world, &turn);
    if (turn.dry_run)
        world->model.n_changes = 0;
    if (world->verbose)
        fprintf(stderr, "%4d %s\n", world->step, world->log[world->step % WORLD_LOG]);
    compare_changes(world, &world->model);
    for (size_t i = 0; i < world->changes.count; i++)
        changes_append(&world->history, &world->changes.items[i]);
    compare_state(world);
    check_held(world, operation->edits);
    cover(world);
}
