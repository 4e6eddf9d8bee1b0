#include "internal.h"

/* That of the pool in which the address lies, else of the one that the claim was made through. */
static uint32_t reuse_delay(const struct engine *engine, const struct claim *claim)
{
    struct place place = place_find(engine, claim->pool, claim->family, claim_number(claim));
    const struct pool *pool = place.pool ? place.pool : claim->pool;

    return pool && pool->in_force ? pool->record.spec.reuse_delay_seconds : 0;
}

static void cooling_begin(const struct engine *engine, uint32_t delay, struct claim_record *record,
                          struct cooling_record *ret)
{
    *ret =
        (struct cooling_record){.released_at = {engine->now}, .delay_seconds = delay, .boot_time = {engine->elapsed}};
    memcpy(ret->boot_id, engine->start.boot_id, sizeof(ret->boot_id));
    record->state = CLAIM_COOLING;
    record->cooling_until.ns = engine->now + (int64_t)delay * 1000000000;
    record->cooling = ret;
}

void release_emit(struct engine *engine, struct claim *claim)
{
    uint32_t delay = claim->state == CLAIM_BOUND ? reuse_delay(engine, claim) : 0;
    struct target target = {.claim = claim, .pool = claim->pool};
    struct claim_record record;
    struct cooling_record cooling;
    char text[IPAM_ADDR_TEXT_MAX];

    claim_record_of(claim, &record);
    record.requested = claim_requested(claim, text);
    record.state = CLAIM_RELEASED;
    if (delay)
        cooling_begin(engine, delay, &record, &cooling);
    record.preferred = "";
    record.dual = false;
    record.reason = IPAM_REASON_NONE;
    record.message = "";
    record.waiting_since = 0;
    emit_claim(engine, &target, &record);
}

void cooling_end_emit(struct engine *engine, struct claim *claim, bool asked_for)
{
    struct target target = {.claim = claim, .pool = claim->pool};
    struct claim_record record;
    char text[IPAM_ADDR_TEXT_MAX];

    claim_record_of(claim, &record);
    record.requested = claim_requested(claim, text);
    record.state = CLAIM_RELEASED;
    if (!asked_for)
        record.cooling_until.ns = 0;
    emit_claim(engine, &target, &record);
}

/* ---- What matches ---- */

struct release {
    const struct release_args *args;
    struct owner *owner;
    bool has_address;
    struct ipam_addr address;
};

/* Of a waiting claim that asks for an address of the other family, too: that is how it is got rid of. */
static bool has_address(const struct claim *claim, const struct ipam_addr *wanted)
{
    struct ipam_addr address;

    if (claim->state == CLAIM_WAITING)
        return !ipam_addr_parse(claim->wait->requested, &address, NULL) && ipam_addr_equal(&address, wanted);
    address = claim_address(claim);
    return ipam_addr_equal(&address, wanted);
}

static bool matches(const struct release *release, const struct claim *claim)
{
    const struct release_args *args = release->args;

    if (!claim)
        return false;
    if (args->families && !(args->families & 1u << claim->family))
        return false;
    if (!text_empty(args->uid) && strcmp(args->uid, claim_uid(claim)))
        return false;
    return !release->has_address || has_address(claim, &release->address);
}

/* An owner that is found needs no check of its name. */
static int read_release(const struct engine *engine, const struct release_args *args, struct release *ret,
                        struct ipam_error *reterr)
{
    struct owner_ref who = {args->kind, args->name, ""};
    bool has_owner = !text_empty(args->kind) || !text_empty(args->name);

    *ret = (struct release){.args = args, .has_address = !text_empty(args->address)};
    if (!text_empty(args->kind) && !text_empty(args->name))
        ret->owner = owner_find(engine, owner_hash(engine, args->kind, args->name), args->kind, args->name);
    if (has_owner && !ret->owner && text_check_owner(&who, reterr) < 0)
        return -1;
    if (!has_owner && !ret->has_address)
        return ipam_error_set(reterr, IPAM_REASON_INVALID_REQUEST,
                              "invalid request: neither an owner nor an address to release; give "
                              "the owner's kind and name, or the address");
    if (args->families > FAMILY_SET_DUAL)
        return ipam_error_set(reterr, IPAM_REASON_INVALID_REQUEST,
                              "invalid request: unknown family; give ipv4, ipv6, dual or none");
    if (args->end_cooling && !ret->has_address)
        return ipam_error_set(reterr, IPAM_REASON_INVALID_REQUEST,
                              "invalid request: end_cooling without an address; give the address that cools");
    if (!ret->has_address)
        return 0;
    if (ipam_addr_parse(args->address, &ret->address, reterr) < 0)
        return ipam_error_prefix(reterr, "invalid address");
    return 0;
}

static bool release_one(struct engine *engine, const struct release *release, struct claim *claim,
                        struct claim_views *ret)
{
    if (!matches(release, claim))
        return false;
    release_emit(engine, claim);
    ret->items[ret->count++] = claim_view_last(engine, engine->batch->ctx->arena);
    return true;
}

static struct claim *holder_of(const struct engine *engine, const struct release *release, enum claim_state state)
{
    struct claim *claim = held_get(engine, family_index(release->address.family), addr_number(&release->address));

    return claim && claim->state == state ? claim : NULL;
}

static void end_cooling_of(struct engine *engine, const struct release *release, struct claim_views *ret)
{
    struct claim *claim = holder_of(engine, release, CLAIM_COOLING);

    if (!matches(release, claim) || (!text_empty(release->args->kind) && claim->owner != release->owner))
        return;
    cooling_end_emit(engine, claim, true);
    ret->items[ret->count++] = claim_view_last(engine, engine->batch->ctx->arena);
}

/* The owner itself goes with its last claim. */
static void release_owned(struct engine *engine, const struct release *release, struct claim_views *ret)
{
    struct claim *active[FAMILIES] = {release->owner->active[0], release->owner->active[1]};
    unsigned int released = 0;
    bool left = false;

    for (unsigned int f = 0; f < FAMILIES; f++)
        if (release_one(engine, release, active[f], ret))
            released |= 1u << f;
        else
            left = left || active[f];
    if (released && left)
        undual_emit(engine, release->owner, released);
}

int engine_release(struct engine *engine, const struct engine_ctx *ctx, const struct release_args *args,
                   struct claim_views *ret, struct ipam_error *reterr)
{
    struct claim_views released = {arena_alloc(ctx->arena, FAMILIES * sizeof(*released.items)), 0};
    struct release release;
    struct batch batch;

    batch_begin(engine, &batch, ctx, args->dry_run);
    if (read_release(engine, args, &release, reterr) < 0)
        return batch_end(engine, -1);
    if (args->end_cooling)
        end_cooling_of(engine, &release, &released);
    else if (text_empty(args->kind))
        release_one(engine, &release, holder_of(engine, &release, CLAIM_BOUND), &released);
    else if (release.owner)
        release_owned(engine, &release, &released);
    batch_settle(engine);
    *ret = released;
    return batch_end(engine, 0);
}
