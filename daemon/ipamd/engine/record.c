#include "internal.h"

/* ---- Claims ---- */

static void waiting_record_of(const struct claim *claim, struct claim_record *ret)
{
    const struct wait *wait = claim->wait;

    ret->requested = wait->requested;
    ret->preferred = wait->preferred;
    ret->message = wait->message;
    ret->reason = wait->reason;
    ret->dual = wait->dual;
    ret->waiting_since = wait->since;
}

static void user_of_claim(const struct claim *claim, struct claim_record *ret)
{
    ret->has_user = claim->user;
    ret->user = claim->user ? claim->user->id : 0;
}

void user_of_record(const struct engine *engine, const struct claim *from, struct claim_record *ret)
{
    if (from) {
        user_of_claim(from, ret);
        return;
    }
    ret->has_user = true;
    ret->user = engine->batch->actor.uid;
}

/* `cooling`, and `requested` of a claim with an address, are left out: they have to be made. */
void claim_record_of(const struct claim *claim, struct claim_record *ret)
{
    *ret = (struct claim_record){
        .id = claim->id,
        .owner = {claim->owner->kind->text, claim->owner->name, claim_uid(claim)},
        .family = family_at(claim->family),
        .state = (enum claim_state)claim->state,
        .pool = claim->pool ? claim->pool->name : "",
        .address = claim_address(claim),
        .requested = "",
        .preferred = "",
        .message = "",
        .created_at = {claim->created_at},
        .allocated_at = {claim->allocated_at},
    };
    user_of_claim(claim, ret);
    if (claim->state == CLAIM_WAITING)
        waiting_record_of(claim, ret);
    if (claim->state == CLAIM_COOLING)
        ret->cooling_until.ns = claim->cooling->until;
}

const char *claim_requested(const struct claim *claim, char text[IPAM_ADDR_TEXT_MAX])
{
    struct ipam_addr address = claim_address(claim);

    if (claim->state == CLAIM_WAITING)
        return claim->wait->requested;
    return claim->asked ? ipam_addr_format(&address, text) : "";
}

/* What is answered in a dry run is gone before it is read. */
static const char *text_of(const struct engine *engine, struct arena *arena, const char *text)
{
    if (!engine->batch || !engine->batch->dry)
        return text;
    return *text ? arena_strdup(arena, text) : "";
}

static void claim_texts(const struct engine *engine, struct arena *arena, struct claim_record *claim)
{
    const char **texts[] = {&claim->owner.kind, &claim->owner.name, &claim->owner.uid, &claim->pool,
                            &claim->requested,  &claim->preferred,  &claim->message};

    if (!engine->batch || !engine->batch->dry)
        return;
    if (claim->cooling)
        claim->cooling = (const struct cooling_record *)arena_memdup(arena, claim->cooling, sizeof(*claim->cooling));
    for (size_t i = 0; i < sizeof(texts) / sizeof(*texts); i++)
        *texts[i] = text_of(engine, arena, *texts[i]);
}

/* Why it waits, as of now: who has the address and how full the pool is change too often to be recorded each time. */
static void view_refusal(const struct engine *engine, const struct claim *claim, struct arena *arena,
                         struct claim_record *ret)
{
    struct grant grants[FAMILIES];
    struct request request;
    struct refusal refusal;
    struct ipam_error error;

    request_of_wait(claim->wait, &request);
    if (!decide(engine, &request, grants, &refusal))
        return;
    refusal_error(&refusal, &error);
    ret->reason = refusal.reason;
    ret->message = arena_strdup(arena, error.message);
}

static const char *lies_in(const struct engine *engine, const struct claim *claim)
{
    struct place place = {0};

    if (claim_holds(claim))
        place = place_find(engine, claim->pool, claim->family, claim_number(claim));
    return place.pool ? place.pool->name : "";
}

struct claim_view claim_view_of(struct engine *engine, struct claim *claim, struct arena *arena)
{
    struct claim_view view = {.revision = claim->revision};
    char text[IPAM_ADDR_TEXT_MAX];

    claim_record_of(claim, &view.record);
    view.lies_in = lies_in(engine, claim);
    if (claim->state == CLAIM_COOLING)
        view.record.cooling = cooling_record_of(engine, claim, arena_alloc(arena, sizeof(*view.record.cooling)));
    if (claim->state == CLAIM_WAITING) {
        view.queue_position = wait_position(claim->wait);
        view_refusal(engine, claim, arena, &view.record);
    } else if (claim->asked) {
        view.record.requested = arena_strdup(arena, claim_requested(claim, text));
    }
    claim_texts(engine, arena, &view.record);
    view.lies_in = text_of(engine, arena, view.lies_in);
    return view;
}

struct claim_view claim_view_last(struct engine *engine, struct arena *arena)
{
    const struct changes *changes = engine->batch->changes;
    const struct change *last = &changes->items[changes->count - 1];
    struct claim_view view = {.record = last->claim, .revision = last->revision, .lies_in = ""};

    claim_texts(engine, arena, &view.record);
    return view;
}

/* ---- Pools ---- */

void pool_counts_of(const struct pool *pool, unsigned int family, struct pool_counts *ret)
{
    const struct pool_family *counted = &pool->families[family];

    *ret = (struct pool_counts){
        .capacity = counted->space.capacity,
        .allocated = counted->allocated,
        .available = counted->space.free,
        .cooling = counted->cooling,
        .excluded = pool->plan.families[family].n_excluded,
        .orphaned = counted->through - counted->through_in,
        .waiting = counted->waiting,
    };
}

static struct string_list list_of(const struct engine *engine, struct arena *arena, struct string_list list)
{
    const char **items = arena_alloc(arena, list.count * sizeof(*items));

    for (size_t i = 0; i < list.count; i++)
        items[i] = text_of(engine, arena, list.items[i]);
    return (struct string_list){items, list.count};
}

static struct string_list clipped_of(const struct engine *engine, struct arena *arena, const struct pool_ranges *ranges)
{
    const char **items = arena_alloc(arena, ranges->n_clipped * sizeof(*items));

    for (size_t i = 0; i < ranges->n_clipped; i++)
        items[i] = text_of(engine, arena, ranges->clipped[i].text);
    return (struct string_list){items, ranges->n_clipped};
}

static void spec_texts(const struct engine *engine, struct arena *arena, struct pool_spec *spec)
{
    spec->cidrs = list_of(engine, arena, spec->cidrs);
    spec->addresses = list_of(engine, arena, spec->addresses);
    spec->excluded = list_of(engine, arena, spec->excluded);
    spec->uid = text_of(engine, arena, spec->uid);
}

/* The one count that may be larger than a pool: of IPv6. */
static uint64_t add_saturating(uint64_t a, uint64_t b)
{
    return a > UINT64_MAX - b ? UINT64_MAX : a + b;
}

/* Of the whole pool: an owner that waits, or is orphaned, with both families is one. */
static struct pool_counts counts_of_both(const struct pool *pool, const struct pool_counts *a,
                                         const struct pool_counts *b)
{
    return (struct pool_counts){
        .capacity = a->capacity + b->capacity,
        .allocated = a->allocated + b->allocated,
        .available = a->available + b->available,
        .cooling = a->cooling + b->cooling,
        .excluded = add_saturating(a->excluded, b->excluded),
        .orphaned = a->orphaned + b->orphaned - pool->both_orphaned,
        .waiting = a->waiting + b->waiting - pool->both_wait,
    };
}

struct pool_view pool_view_of(struct engine *engine, struct pool *pool, struct arena *arena)
{
    struct pool_view view = {.record = pool->record, .revision = pool->revision, .claims = pool_claims(pool)};

    pool_counts_of(pool, 0, &view.ipv4);
    pool_counts_of(pool, 1, &view.ipv6);
    view.total = counts_of_both(pool, &view.ipv4, &view.ipv6);
    view.clipped = clipped_of(engine, arena, &pool->plan.ranges);
    plan_warnings(&pool->plan, arena, &view.warnings);
    if (!engine->batch || !engine->batch->dry)
        return view;
    view.record.name = text_of(engine, arena, view.record.name);
    view.record.message = text_of(engine, arena, view.record.message);
    spec_texts(engine, arena, &view.record.spec);
    spec_texts(engine, arena, &view.record.rejected);
    return view;
}
