#include "internal.h"

/* The owner's waiting claim of the family, or NULL. */
static struct claim *waiting_claim(const struct owner *owner, unsigned int family)
{
    struct claim *claim = owner ? owner->active[family] : NULL;

    return claim && claim->state == CLAIM_WAITING ? claim : NULL;
}

static const char *uid_going_on(const struct claim *claim, const char *uid)
{
    return *uid || !claim->uid ? uid : claim->uid;
}

struct claim *grant_emit(struct engine *engine, const struct request *request, unsigned int family,
                         const struct grant *grant, const struct owner_ref *who, uint64_t owner_hash)
{
    struct claim *waiting = waiting_claim(request->owner, family);
    struct claim *from = grant->again ? grant->again : waiting;
    struct target target = {from, request->owner, request->pool, owner_hash};
    char text[IPAM_ADDR_TEXT_MAX];
    struct claim_record record = {
        .owner = *who,
        .family = family_at(family),
        .state = CLAIM_BOUND,
        .pool = request->pool_name,
        .address = grant->address,
        .requested = request->demands[family].given ? ipam_addr_format(&grant->address, text) : "",
        .preferred = "",
        .message = "",
        .allocated_at = {engine->now},
    };

    if (waiting && from == waiting)
        record.owner.uid = uid_going_on(waiting, who->uid);
    else if (waiting)
        release_emit(engine, waiting);
    record.id = from ? from->id : next_revision(engine);
    record.created_at.ns = from ? from->created_at : engine->now;
    user_of_record(engine, from, &record);
    return emit_claim(engine, &target, &record);
}

void undual_emit(struct engine *engine, const struct owner *owner, unsigned int families)
{
    for (unsigned int f = 0; owner && f < FAMILIES; f++) {
        struct claim *claim = waiting_claim(owner, f);
        struct target target = {.claim = claim};
        struct claim_record record;

        if ((families & 1u << f) || !claim || !claim->wait->dual)
            continue;
        target.pool = claim->pool;
        claim_record_of(claim, &record);
        record.dual = false;
        emit_claim(engine, &target, &record);
    }
}
