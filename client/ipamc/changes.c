#include "changes.h"

#include <inttypes.h>
#include <string.h>

#include "views.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

static bool by_itself(const Ipam__V1__Actor *actor)
{
    return actor == NULL || (actor->uid == 0 && actor->command[0] == '\0' && actor->method[0] == '\0');
}

const char *change_actor(struct arena *arena, const Ipam__V1__Actor *actor)
{
    if (by_itself(actor))
        return "ipamd";
    return arena_printf(arena, "%s (uid %" PRIu32 ")", actor->command[0] == '\0' ? "?" : actor->command, actor->uid);
}

/* ---- Claims --------------------------------------------------------------------------------------------------------- */

static const char *owner_text(struct arena *arena, const Ipam__V1__Claim *claim)
{
    return claim->owner == NULL ? "?" : arena_printf(arena, "%s/%s", claim->owner->kind, claim->owner->name);
}

static bool same_time(const Google__Protobuf__Timestamp *a, const Google__Protobuf__Timestamp *b)
{
    return a != NULL && b != NULL && a->seconds == b->seconds && a->nanos == b->nanos;
}

static const char *waiting_words(struct arena *arena, const Ipam__V1__Change *change)
{
    const Ipam__V1__Claim *claim = change->claim;
    const char *what = claim->requested_address[0] != '\0'
                           ? claim->requested_address
                           : arena_printf(arena, "an %s address", view_family(claim->family));
    const char *of = claim->pool[0] == '\0' ? "" : arena_printf(arena, " of %s", claim->pool);

    return arena_printf(arena, "%s %s for %s%s: %s", owner_text(arena, claim),
                        claim->waiting_since == change->revision ? "waits" : "still waits", what, of, claim->message);
}

static const char *bound_words(struct arena *arena, const Ipam__V1__Change *change)
{
    const Ipam__V1__Claim *claim = change->claim;

    if (!same_time(claim->allocated_at, change->at))
        return arena_printf(arena, "%s kept by %s, now with uid %s", claim->address, owner_text(arena, claim),
                            claim->owner == NULL ? "" : claim->owner->uid);
    if (claim->pool[0] == '\0')
        return arena_printf(arena, "%s recorded for %s, outside of pools", claim->address, owner_text(arena, claim));
    return arena_printf(arena, "%s allocated to %s from %s", claim->address, owner_text(arena, claim), claim->pool);
}

static const char *cooling_words(struct arena *arena, const Ipam__V1__Change *change)
{
    return arena_printf(arena, "%s released by %s, cooling until %s", change->claim->address,
                        owner_text(arena, change->claim), view_time(arena, change->claim->cooling_until));
}

static const char *released_words(struct arena *arena, const Ipam__V1__Change *change)
{
    const Ipam__V1__Claim *claim = change->claim;

    if (claim->address[0] == '\0')
        return arena_printf(arena, "%s no longer waits for an %s address", owner_text(arena, claim),
                            view_family(claim->family));
    if (claim->cooling_until != NULL)
        return arena_printf(arena, "cooling of %s ended before its time, which was %s, last held by %s", claim->address,
                            view_time(arena, claim->cooling_until), owner_text(arena, claim));
    if (by_itself(change->actor))
        return arena_printf(arena, "%s has cooled and is free, last held by %s", claim->address,
                            owner_text(arena, claim));
    return arena_printf(arena, "%s released by %s", claim->address, owner_text(arena, claim));
}

/* ---- Pools ---------------------------------------------------------------------------------------------------------- */

static const char *pool_name(const Ipam__V1__Pool *pool)
{
    const Ipam__V1__PoolSpec *spec = pool->spec != NULL ? pool->spec : pool->rejected_spec;
    return spec == NULL ? "?" : spec->name;
}

static const char *ready_words(struct arena *arena, const Ipam__V1__Change *change)
{
    return arena_printf(arena, "pool %s %s%s", pool_name(change->pool),
                        change->pool->id == change->revision ? "created" : "edited",
                        change->pool->spec != NULL && change->pool->spec->paused ? ", paused" : "");
}

static const char *rejected_words(struct arena *arena, const Ipam__V1__Change *change)
{
    return arena_printf(arena, "pool %s rejected: %s", pool_name(change->pool), change->pool->message);
}

static const char *draining_words(struct arena *arena, const Ipam__V1__Change *change)
{
    return arena_printf(arena, "pool %s is being deleted, drains", pool_name(change->pool));
}

static const char *removed_words(struct arena *arena, const Ipam__V1__Change *change)
{
    return arena_printf(arena, "pool %s removed", pool_name(change->pool));
}

/* ---- Lost changes ------------------------------------------------------------------------------------------------- */

const char *change_lost_words(struct arena *arena, const Ipam__V1__ChangesLost *lost)
{
    if (lost->lost_revision > lost->kept_revision)
        return arena_printf(arena,
                            "changes lost: revisions %" PRIu64 " to %" PRIu64
                            " had been acknowledged and were gone; their numbers are used again",
                            lost->kept_revision + 1, lost->lost_revision);
    return arena_printf(arena,
                        "changes lost: what was acknowledged after revision %" PRIu64
                        " is gone, how much is not known; the numbers are used again",
                        lost->kept_revision);
}

/* ---- All ----------------------------------------------------------------------------------------------------------- */

typedef const char *(*speaker)(struct arena *arena, const Ipam__V1__Change *change);

const char *change_words(struct arena *arena, const Ipam__V1__Change *change)
{
    static const speaker of_claims[] = {[IPAM__V1__CLAIM_STATE__WAITING] = waiting_words,
                                        [IPAM__V1__CLAIM_STATE__BOUND] = bound_words,
                                        [IPAM__V1__CLAIM_STATE__COOLING] = cooling_words,
                                        [IPAM__V1__CLAIM_STATE__RELEASED] = released_words};
    static const speaker of_pools[] = {[IPAM__V1__POOL_STATE__READY] = ready_words,
                                       [IPAM__V1__POOL_STATE__REJECTED] = rejected_words,
                                       [IPAM__V1__POOL_STATE__DRAINING] = draining_words,
                                       [IPAM__V1__POOL_STATE__REMOVED] = removed_words};
    speaker speak = NULL;

    if (change->entity_case == IPAM__V1__CHANGE__ENTITY_CLAIM && (size_t)change->claim->state < COUNT(of_claims))
        speak = of_claims[change->claim->state];
    else if (change->entity_case == IPAM__V1__CHANGE__ENTITY_POOL && (size_t)change->pool->state < COUNT(of_pools))
        speak = of_pools[change->pool->state];
    else if (change->entity_case == IPAM__V1__CHANGE__ENTITY_CHANGES_LOST)
        return change_lost_words(arena, change->changes_lost);
    return speak == NULL ? "a change that this ipamc does not know" : speak(arena, change);
}

/* ---- The view ------------------------------------------------------------------------------------------------------- */

static const char *cell_revision(const struct output *output, const void *row)
{
    return arena_printf(output->arena, "%" PRIu64, ((const Ipam__V1__Change *)row)->revision);
}

static const char *cell_time(const struct output *output, const void *row)
{
    return view_time(output->arena, ((const Ipam__V1__Change *)row)->at);
}

static const char *cell_actor(const struct output *output, const void *row)
{
    return change_actor(output->arena, ((const Ipam__V1__Change *)row)->actor);
}

static const char *cell_method(const struct output *output, const void *row)
{
    const Ipam__V1__Actor *actor = ((const Ipam__V1__Change *)row)->actor;
    (void)output;
    return actor == NULL ? "" : actor->method;
}

static const char *cell_words(const struct output *output, const void *row)
{
    return change_words(output->arena, row);
}

static const char *cell_hash(const struct output *output, const void *row)
{
    const Ipam__V1__Change *change = row;
    char *text = arena_zalloc(output->arena, 2 * change->hash.len + 1);

    for (size_t i = 0; i < change->hash.len; i++)
        sprintf(text + 2 * i, "%02x", change->hash.data[i]);
    return text;
}

static const char *change_label(const struct output *output, const void *row)
{
    return arena_printf(output->arena, "change/%s", cell_revision(output, row));
}

/* The words stand last, as they are as long as they are. */
static const struct column change_columns[] = {
    {"REVISION", false, cell_revision}, {"TIME", false, cell_time}, {"BY", false, cell_actor},
    {"METHOD", true, cell_method},      {"HASH", true, cell_hash},  {"CHANGE", false, cell_words},
};

const struct view change_view = {change_columns, COUNT(change_columns), change_label};
