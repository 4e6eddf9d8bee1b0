#include "internal.h"

/* ---- From state to state ---- */

/* Adds `by` (1 or -1, modulo 2^64) where the claim counts. */
static void claim_count(struct engine *engine, const struct claim *claim, struct pool *in, uint64_t by)
{
    claim->owner->kind->n_claims += by;
    if (claim->state == CLAIM_COOLING) {
        engine->n_cooling += by;
        if (in)
            in->families[claim->family].cooling += by;
    } else if (claim->state == CLAIM_WAITING) {
        engine->n_waiting += by;
        if (claim->pool)
            claim->pool->families[claim->family].waiting += by;
    } else {
        engine->n_bound += by;
        if (in)
            in->families[claim->family].allocated += by;
        if (claim->pool)
            claim->pool->families[claim->family].through += by;
        if (claim->pool && claim->pool == in)
            in->families[claim->family].through_in += by;
    }
}

static struct place claim_place(const struct engine *engine, const struct claim *claim)
{
    return claim_holds(claim) ? place_find(engine, claim->pool, claim->family, claim_number(claim)) : (struct place){0};
}

static void address_changed(struct engine *engine, const struct claim *claim)
{
    if (!RB_EMPTY(&engine->watchers[claim->family]))
        waits_pend_address(engine, claim->family, claim_number(claim));
}

/* Takes the claim out of all that its state put it into; `keeps`: all but the address. Gives back what is left of a
 * waiting one: the record that is next may borrow from it. */
static struct wait *claim_leave(struct engine *engine, struct claim *claim, bool keeps)
{
    struct place place = claim_place(engine, claim);
    struct wait *wait = NULL;

    claim_count(engine, claim, place.pool, (uint64_t)-1);
    if (claim_holds(claim)) {
        if (!keeps)
            held_give(engine, &place, claim);
        address_changed(engine, claim);
    }
    if (claim->state == CLAIM_COOLING)
        cooling_stop(engine, claim);
    else
        claim->owner->active[claim->family] = NULL;
    if (claim->state == CLAIM_WAITING)
        wait = wait_stop(engine, claim);
    if (claim->state == CLAIM_BOUND && claim->pool && claim->pool->listed &&
        claim->pool->record.state == POOL_DRAINING && !pool_claims(claim->pool))
        pool_vector_add(&engine->drained, claim->pool);
    return wait;
}

static void claim_enter(struct engine *engine, struct claim *claim, const struct claim_record *record, bool keeps)
{
    struct place place = claim_place(engine, claim);

    if (claim->state == CLAIM_COOLING)
        cooling_start(engine, claim, record);
    else
        claim->owner->active[claim->family] = claim;
    if (claim->state == CLAIM_WAITING)
        wait_start(engine, claim, record);
    if (claim_holds(claim)) {
        if (!keeps)
            held_take(engine, &place, claim);
        address_changed(engine, claim);
    }
    claim_count(engine, claim, place.pool, 1);
}

static void uid_free(struct engine *engine, char *uid)
{
    if (uid)
        slab_free(&engine->slab, uid, strlen(uid) + 1);
}

static void set_uid(struct engine *engine, struct claim *claim, const char *uid)
{
    char *before = claim->uid;
    size_t size = strlen(uid) + 1;

    if (!strcmp(claim_uid(claim), uid))
        return;
    claim->uid = size > 1 ? memcpy(slab_alloc(&engine->slab, size), uid, size) : NULL;
    uid_free(engine, before);
}

static void set_pool(struct engine *engine, struct claim *claim, struct pool *pool, const char *name)
{
    struct pool *before = claim->pool;

    if (!pool && *name)
        pool = pool_get(engine, name);
    if (pool)
        pool->refs++;
    claim->pool = pool;
    if (before) {
        before->refs--;
        pool_drop_unused(engine, before);
    }
}

static void claim_set(struct engine *engine, struct claim *claim, struct pool *pool, const struct claim_record *record,
                      uint64_t revision)
{
    set_pool(engine, claim, pool, record->pool);
    set_uid(engine, claim, record->owner.uid);
    claim_set_user(engine, claim, record);
    claim->revision = revision;
    claim->created_at = record->created_at.ns;
    claim->allocated_at = record->allocated_at.ns;
    claim->addr_hi = record->address.hi;
    claim->addr_lo = record->address.lo;
    claim->state = (uint8_t)record->state;
    claim->asked = record->state != CLAIM_WAITING && *record->requested;
}

static struct claim *claim_new(struct engine *engine, const struct target *target, const struct claim_record *record)
{
    struct claim *claim = slab_alloc(&engine->slab, sizeof(*claim));
    const struct owner_ref *who = &record->owner;
    uint64_t hash = target->owner_hash;

    *claim = (struct claim){
        .id = record->id,
        .owner = target->owner,
        .family = (uint8_t)family_index(record->family),
    };
    if (!claim->owner && !hash) {
        hash = owner_hash(engine, who->kind, who->name);
        claim->owner = owner_find(engine, hash, who->kind, who->name);
    }
    if (!claim->owner)
        claim->owner = owner_new(engine, hash, who->kind, who->name);
    ids_add(engine, claim);
    return claim;
}

static void claim_delete(struct engine *engine, struct claim *claim)
{
    uid_free(engine, claim->uid);
    slab_free(&engine->slab, claim, sizeof(*claim));
}

void claim_free(struct engine *engine, struct claim *claim)
{
    if (claim->state == CLAIM_WAITING)
        wait_free(claim->wait);
    if (claim->state == CLAIM_COOLING)
        slab_free(&engine->slab, claim->cooling, sizeof(*claim->cooling));
    claim_delete(engine, claim);
}

static void claim_drop(struct engine *engine, struct claim *claim)
{
    ids_remove(engine, claim);
    owner_drop_unused(engine, claim->owner);
    set_pool(engine, claim, NULL, "");
    claim_set_user(engine, claim, NULL);
    claim_delete(engine, claim);
}

struct claim *claim_put(struct engine *engine, const struct target *target, const struct claim_record *record,
                        uint64_t revision)
{
    struct claim *claim = target->claim;
    bool holds = record->state == CLAIM_BOUND || record->state == CLAIM_COOLING;
    bool keeps = claim && holds && claim_holds(claim) && claim_number(claim) == addr_number(&record->address);
    struct wait *wait = claim ? claim_leave(engine, claim, keeps) : NULL;

    if (record->state == CLAIM_RELEASED) {
        claim_drop(engine, claim);
        claim = NULL;
    } else {
        claim = claim ? claim : claim_new(engine, target, record);
        claim_set(engine, claim, target->pool, record, revision);
        claim_enter(engine, claim, record, keeps);
    }
    wait_free(wait);
    return claim;
}
