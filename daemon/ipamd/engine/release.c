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

struct claim *release_emit(struct engine *engine, struct claim *claim)
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
    return emit_claim(engine, &target, &record);
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

/* ---- What cools beyond the limit ---- */

/* The newest of the owner's cooling claims of the family that is one too many; NULL: none is. */
static struct claim *cooling_beyond(const struct owner *owner, unsigned int family, uint64_t max)
{
    struct claim *claim = owner->cooling;

    for (uint64_t count = 0; claim; claim = claim->cooling->older)
        if (claim->family == family && ++count > max)
            break;
    return claim;
}

static struct claim *oldest_cooling(const struct claim *claim)
{
    const struct claim *oldest = claim;

    for (; claim; claim = claim->cooling->older)
        oldest = claim->family == oldest->family ? claim : oldest;
    return (struct claim *)oldest;
}

/* The owner itself stays: `max` is not 0. */
static void end_oldest(struct engine *engine, const struct owner *owner, unsigned int family, uint64_t max)
{
    struct claim *last = cooling_beyond(owner, family, max), *next;

    for (struct claim *claim = last ? oldest_cooling(last) : NULL; claim; claim = next) {
        next = claim == last ? NULL : claim->cooling->newer;
        if (claim->family == family)
            cooling_end_emit(engine, claim, true);
    }
}

void release_end_oldest(struct engine *engine, const struct owner *owner)
{
    uint64_t max = engine->batch->ctx->limits.cooling_max;

    for (unsigned int f = 0; max && owner && f < FAMILIES; f++)
        end_oldest(engine, owner, f, max);
}

/* ---- What matches ---- */

struct release {
    const struct release_args *args;
    struct owner_ref who; /* whose claims they are: as given, or the holder of the address */
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

/* Of the claim that an address alone means. */
static enum claim_state state_of_holder(const struct release_args *args)
{
    return args->end_cooling ? CLAIM_COOLING : CLAIM_BOUND;
}

static bool matches(const struct release *release, const struct claim *claim)
{
    const struct release_args *args = release->args;

    if (!claim || (text_empty(args->kind) && claim->state != state_of_holder(args)))
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
    bool has_owner = !text_empty(args->kind) || !text_empty(args->name);

    *ret =
        (struct release){.args = args, .who = {args->kind, args->name, ""}, .has_address = !text_empty(args->address)};
    if (!text_empty(args->kind) && !text_empty(args->name))
        ret->owner = owner_find(engine, owner_hash(engine, args->kind, args->name), args->kind, args->name);
    if (has_owner && !ret->owner && text_check_owner(&ret->who, reterr) < 0)
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

static struct claim *holder_of(const struct engine *engine, const struct release *release)
{
    struct claim *claim = held_get(engine, family_index(release->address.family), addr_number(&release->address));

    return claim && claim->state == state_of_holder(release->args) ? claim : NULL;
}

static void end_cooling_of(struct engine *engine, const struct release *release, struct claim_views *ret)
{
    struct claim *claim = holder_of(engine, release);

    if (!matches(release, claim) || (!text_empty(release->args->kind) && claim->owner != release->owner))
        return;
    cooling_end_emit(engine, claim, true);
    ret->items[ret->count++] = claim_view_last(engine, engine->batch->ctx->arena);
}

/* An address alone: what is released is its holder's. */
static void release_find_holder(const struct engine *engine, struct release *release)
{
    const struct claim *claim = text_empty(release->args->kind) ? holder_of(engine, release) : NULL;

    if (!claim)
        return;
    release->owner = claim->owner;
    release->who = (struct owner_ref){claim->owner->kind->text, claim->owner->name, ""};
}

/* The owner itself goes with its last claim; *ret_cooling is one that keeps it. */
static bool release_one(struct engine *engine, const struct release *release, struct claim *claim,
                        struct claim_views *ret, struct claim **ret_cooling)
{
    struct claim *cooling;

    if (!matches(release, claim))
        return false;
    cooling = release_emit(engine, claim);
    *ret_cooling = cooling ? cooling : *ret_cooling;
    ret->items[ret->count++] = claim_view_last(engine, engine->batch->ctx->arena);
    return true;
}

static void release_owned(struct engine *engine, const struct release *release, struct claim_views *ret)
{
    struct claim *active[FAMILIES] = {release->owner->active[0], release->owner->active[1]}, *cooling = NULL;
    unsigned int released = 0;
    bool left = false;

    for (unsigned int f = 0; f < FAMILIES; f++)
        if (release_one(engine, release, active[f], ret, &cooling))
            released |= 1u << f;
        else
            left = left || active[f];
    if (released && left)
        undual_emit(engine, release->owner, released);
    if (cooling)
        release_end_oldest(engine, cooling->owner);
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
    release_find_holder(engine, &release);
    if (!text_empty(release.who.kind) && scope_check(engine, &release.who, release.owner, reterr) < 0)
        return batch_end(engine, -1);
    if (args->end_cooling)
        end_cooling_of(engine, &release, &released);
    else if (release.owner)
        release_owned(engine, &release, &released);
    batch_settle(engine);
    *ret = released;
    return batch_end(engine, 0);
}
