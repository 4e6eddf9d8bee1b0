#include "internal.h"

/* A call of engine_allocate, as far as it has been read. */
struct allocation {
    const struct allocate_args *args;
    uint64_t owner_hash;
    unsigned int families, fit, unfit; /* asked for; of these, bound on these terms, or on others */
    bool rememberable;                 /* texts can be kept with a waiting claim */
    struct request request;
};

/* ---- Which family each text is for ---- */

static const char *text_or_empty(const char *text)
{
    return text ? text : "";
}

static bool reads_as_ipv6(const char *text)
{
    struct ipam_addr address;

    return !ipam_addr_parse(text, &address, NULL) && address.family == IPAM_IPV6;
}

/* Those of which the pool has addresses to give, else those that its ranges are of. */
static unsigned int pool_families(const struct pool *pool)
{
    unsigned int usable = 0, ranges = 0;

    for (unsigned int f = 0; pool && f < FAMILIES; f++) {
        usable |= pool->plan.families[f].capacity ? 1u << f : 0;
        ranges |= pool->plan.ranges.families[f].whole.count ? 1u << f : 0;
    }
    return usable ? usable : ranges;
}

static unsigned int families_of(const struct allocate_args *args, const struct pool *pool)
{
    unsigned int families = args->families;

    if (families)
        return families;
    if (!text_empty(args->address))
        families |= reads_as_ipv6(args->address) ? FAMILY_SET_IPV6 : FAMILY_SET_IPV4;
    if (!text_empty(args->ipv6_address))
        families |= FAMILY_SET_IPV6;
    if (families)
        return families;
    return pool_families(pool) == FAMILY_SET_IPV6 ? FAMILY_SET_IPV6 : FAMILY_SET_IPV4;
}

static void read_demand(struct allocation *allocation, unsigned int family, const char *text, const char *hint)
{
    struct demand *demand = &allocation->request.demands[family];

    demand->text = text;
    demand->given = *text;
    demand->readable = text_read_address(text, family, &demand->address);
    demand->hinted = !*text && text_read_address(hint, family, &demand->hint);
    demand->hint_text = demand->hinted ? hint : "";
    if (*text && !text_printable(text, ENGINE_ADDRESS_MAX))
        allocation->rememberable = false;
}

static int read_demands(struct allocation *allocation, struct ipam_error *reterr)
{
    const struct allocate_args *args = allocation->args;
    const char *text = text_or_empty(args->address), *ipv6 = text_or_empty(args->ipv6_address);
    const char *hint = text_or_empty(args->preferred_address);
    const char *ipv6_hint = text_or_empty(args->preferred_ipv6_address);
    bool ipv6_alone = allocation->families == FAMILY_SET_IPV6;

    if (ipv6_alone && *text && *ipv6)
        return ipam_error_set(reterr, IPAM_REASON_INVALID_REQUEST,
                              "invalid request: address and ipv6_address are both given, but only "
                              "an ipv6 address is asked for; give one of them");
    if (!(allocation->families & FAMILY_SET_IPV6) && *ipv6)
        return ipam_error_set(reterr, IPAM_REASON_INVALID_REQUEST,
                              "invalid request: ipv6_address is given, but only an ipv4 address is "
                              "asked for; ask for family dual or leave it out");
    allocation->rememberable = true;
    if (!ipv6_alone)
        read_demand(allocation, 0, text, hint);
    if (ipv6_alone)
        read_demand(allocation, 1, *ipv6 ? ipv6 : text, *ipv6_hint ? ipv6_hint : hint);
    else
        read_demand(allocation, 1, ipv6, ipv6_hint);
    return 0;
}

static int check_manual(const struct allocation *allocation, struct ipam_error *reterr)
{
    for (unsigned int f = 0; f < FAMILIES; f++)
        if ((allocation->families & 1u << f) && !allocation->request.demands[f].given)
            return ipam_error_set(reterr, IPAM_REASON_INVALID_REQUEST,
                                  "invalid request: neither a pool nor an %s address is given; "
                                  "give one of them",
                                  ipam_family_name(family_at(f)));
    return 0;
}

/* ---- What the owner has ---- */

static bool claim_fits(const struct claim *claim, const struct request *request)
{
    const struct demand *demand = &request->demands[claim->family];
    struct ipam_addr address = claim_address(claim);

    if (claim->pool ? strcmp(claim->pool->name, request->pool_name) : *request->pool_name)
        return false;
    return !demand->given || (demand->readable && ipam_addr_equal(&address, &demand->address));
}

static void find_claims(struct allocation *allocation)
{
    const struct owner *owner = allocation->request.owner;

    for (unsigned int f = 0; owner && f < FAMILIES; f++) {
        const struct claim *claim = owner->active[f];

        if (!(allocation->families & 1u << f) || !claim || claim->state != CLAIM_BOUND)
            continue;
        if (claim_fits(claim, &allocation->request))
            allocation->fit |= 1u << f;
        else
            allocation->unfit |= 1u << f;
    }
    allocation->request.families = allocation->families & ~allocation->fit;
}

/* Everything up to INVALID_REQUEST. */
static int read_args(struct engine *engine, const struct allocate_args *args, struct allocation *ret,
                     struct ipam_error *reterr)
{
    const char *pool = text_or_empty(args->pool);

    *ret = (struct allocation){.args = args, .request.pool_name = pool};
    ret->owner_hash = owner_hash(engine, text_or_empty(args->owner.kind), text_or_empty(args->owner.name));
    table_prefetch(&engine->owners, ret->owner_hash); /* there is much to do until it is asked for */
    if (text_check_owner(&args->owner, reterr) < 0)
        return -1;
    if (args->families > FAMILY_SET_DUAL)
        return ipam_error_set(reterr, IPAM_REASON_INVALID_REQUEST,
                              "invalid request: unknown family; give ipv4, ipv6, dual or none");
    ret->request.pool = *pool ? pool_listed(engine, pool) : NULL;
    if (*pool && !ret->request.pool && !text_pool_name(pool))
        return ipam_error_set(reterr, IPAM_REASON_INVALID_REQUEST,
                              "invalid request: \"%.64s\" is no pool name; names are lower-case "
                              "letters, digits, '-' and '.', such as main-vip-pool",
                              pool);
    ret->families = families_of(args, ret->request.pool);
    if (read_demands(ret, reterr) < 0 || (!*pool && check_manual(ret, reterr) < 0))
        return -1;
    ret->request.owner = owner_find(engine, ret->owner_hash, args->owner.kind, args->owner.name);
    find_claims(ret);
    return ret->request.owner ? 0 : text_check_new_owner(&args->owner, engine->batch->ctx->limits.name_max, reterr);
}

/* ---- Limits ---- */

static const struct claim_limit *limit_of_kind(const struct engine_limits *limits, const char *kind)
{
    const struct claim_limit *other = NULL;

    for (size_t i = 0; i < limits->n_claims; i++) {
        if (!strcmp(limits->claims[i].kind, kind))
            return &limits->claims[i];
        if (!strcmp(limits->claims[i].kind, "*"))
            other = &limits->claims[i];
    }
    return other;
}

/* Claims that the request would add: one that waits or cools and goes on is counted already. `grants`: NULL when it is to wait. */
static unsigned int n_new_claims(const struct request *request, const struct grant *grants)
{
    unsigned int count = 0;

    for (unsigned int f = 0; f < FAMILIES; f++)
        count += (request->families & 1u << f) && (!request->owner || !request->owner->active[f]) &&
                 !(grants && grants[f].again);
    return count;
}

static bool exceeds(uint64_t count, unsigned int more, uint64_t max)
{
    return count > max || more > max - count;
}

static int refuse_kind(const char *kind, uint64_t count, uint64_t max, struct ipam_error *reterr)
{
    ipam_error_set(
        reterr, IPAM_REASON_LIMIT_EXCEEDED,
        "limit exceeded: owners of kind %s have %llu claims, waiting and cooling ones included, and may have "
        "%llu; release some, or have the limit of the kind raised (--max-claims)",
        kind, (unsigned long long)count, (unsigned long long)max);
    ipam_error_add(reterr, "kind", kind);
    return -1;
}

static int refuse_user(uint32_t user, uint64_t count, uint64_t max, struct ipam_error *reterr)
{
    return ipam_error_set(
        reterr, IPAM_REASON_LIMIT_EXCEEDED,
        "limit exceeded: the user with uid %u has made %llu claims that are there, waiting and cooling "
        "ones included, and may have %llu; release some, or have the limit raised (--max-user-claims)",
        user, (unsigned long long)count, (unsigned long long)max);
}

static int refuse_total(uint64_t count, uint64_t max, struct ipam_error *reterr)
{
    return ipam_error_set(reterr, IPAM_REASON_LIMIT_EXCEEDED,
                          "limit exceeded: there are %llu claims, waiting and cooling ones included, and there may be "
                          "%llu; release some, or have the limit raised (--max-claims-total)",
                          (unsigned long long)count, (unsigned long long)max);
}

static int check_claims(const struct engine *engine, const struct allocation *allocation, const struct grant *grants,
                        struct ipam_error *reterr)
{
    const struct engine_ctx *ctx = engine->batch->ctx;
    const char *kind = allocation->args->owner.kind;
    const struct claim_limit *limit = limit_of_kind(&ctx->limits, kind);
    uint64_t user_max = ctx->limits.user_claims_max, max = ctx->limits.claims_max, count;
    unsigned int more = n_new_claims(&allocation->request, grants);

    if (!more)
        return 0;
    if (limit && exceeds(count = kind_claims(engine, kind), more, limit->max))
        return refuse_kind(kind, count, limit->max, reterr);
    if (user_max && exceeds(count = user_claims(engine, ctx->actor.uid), more, user_max))
        return refuse_user(ctx->actor.uid, count, user_max, reterr);
    if (max && exceeds(count = engine->n_bound + engine->n_waiting + engine->n_cooling, more, max))
        return refuse_total(count, max, reterr);
    return 0;
}

/* True if the owner waits for that very address already, without a pool. */
static bool waits_for_it(const struct request *request, unsigned int family)
{
    const struct claim *claim = request->owner ? request->owner->active[family] : NULL;

    return claim && claim->state == CLAIM_WAITING && !claim->pool &&
           ipam_addr_equal(&claim->wait->address, &request->demands[family].address);
}

static bool is_permitted(const struct engine_limits *limits, const struct ipam_addr *address)
{
    for (size_t i = 0; i < limits->n_manual; i++)
        if (ipam_range_contains(&limits->manual[i], address))
            return true;
    return !limits->manual_bounded;
}

static int refuse_manual(const struct engine_limits *limits, const struct ipam_addr *address, struct ipam_error *reterr)
{
    char text[IPAM_ADDR_TEXT_MAX];

    ipam_addr_format(address, text);
    if (limits->n_manual)
        ipam_error_set(
            reterr, IPAM_REASON_ADDRESS_NOT_PERMITTED,
            "address not permitted: %s is not in %s, where claims without a pool may lie; ask for an address "
            "from there, or name a pool",
            text, limits->manual_text);
    else
        ipam_error_set(reterr, IPAM_REASON_ADDRESS_NOT_PERMITTED,
                       "address not permitted: %s is asked for without a pool, and such claims may lie nowhere; name a "
                       "pool",
                       text);
    ipam_error_add(reterr, "address", text);
    return -1;
}

static int check_permitted(const struct engine *engine, const struct request *request, struct ipam_error *reterr)
{
    const struct engine_limits *limits = &engine->batch->ctx->limits;

    for (unsigned int f = 0; f < FAMILIES && !*request->pool_name; f++) {
        const struct demand *demand = &request->demands[f];

        if ((request->families & 1u << f) && demand->readable && !waits_for_it(request, f) &&
            !is_permitted(limits, &demand->address))
            return refuse_manual(limits, &demand->address, reterr);
    }
    return 0;
}

/* What limits say of new claims: refused, never enqueued. grants: what would be granted, NULL: nothing. */
static int check_limits(const struct engine *engine, const struct allocation *allocation, const struct grant *grants,
                        struct ipam_error *reterr)
{
    if (check_claims(engine, allocation, grants, reterr) < 0)
        return -1;
    return check_permitted(engine, &allocation->request, reterr);
}

static int refuse_claim_exists(const struct allocation *allocation, struct ipam_error *reterr)
{
    unsigned int family = allocation->unfit & FAMILY_SET_IPV4 ? 0 : 1;
    const struct claim *claim = allocation->request.owner->active[family];
    const struct owner_ref *who = &allocation->args->owner;
    struct ipam_addr address = claim_address(claim);
    char text[IPAM_ADDR_TEXT_MAX];

    ipam_error_set(reterr, IPAM_REASON_CLAIM_EXISTS,
                   "claim exists: %s/%s holds %s%s%s; ask on the same terms, set replace to swap "
                   "it, or release it first",
                   who->kind, who->name, ipam_addr_format(&address, text), claim->pool ? " from pool " : ", manually",
                   claim->pool ? claim->pool->name : "");
    ipam_error_add(reterr, "address", text);
    if (claim->pool)
        ipam_error_add(reterr, "pool", claim->pool->name);
    return -1;
}

/* ---- Granting ---- */

static void rebind(struct engine *engine, struct claim *claim, const char *uid)
{
    struct target target = {.claim = claim, .pool = claim->pool};
    struct claim_record record;
    char text[IPAM_ADDR_TEXT_MAX];

    if (text_empty(uid) || (claim->uid && !strcmp(claim->uid, uid)))
        return;
    claim_record_of(claim, &record);
    record.requested = claim_requested(claim, text);
    record.owner.uid = uid;
    emit_claim(engine, &target, &record);
}

static void grant_all(struct engine *engine, struct allocation *allocation, const struct grant grants[FAMILIES])
{
    const struct owner_ref *given = &allocation->args->owner;
    struct owner_ref who = {given->kind, given->name, text_or_empty(given->uid)};
    struct request *request = &allocation->request;

    undual_emit(engine, request->owner, request->families ? request->families : FAMILY_SET_DUAL);
    for (unsigned int f = 0; f < FAMILIES; f++) {
        if (allocation->fit & 1u << f)
            rebind(engine, request->owner->active[f], who.uid);
        else if (request->families & 1u << f)
            request->owner = grant_emit(engine, request, f, &grants[f], &who, allocation->owner_hash)->owner;
    }
}

/* Its last claim may have gone, and itself with it. */
static void give_back_unfit(struct engine *engine, struct allocation *allocation)
{
    const struct owner_ref *who = &allocation->args->owner;
    struct claim *active[FAMILIES] = {allocation->request.owner->active[0], allocation->request.owner->active[1]};

    for (unsigned int f = 0; f < FAMILIES; f++)
        if (allocation->unfit & 1u << f)
            release_emit(engine, active[f]);
    allocation->request.owner = owner_find(engine, allocation->owner_hash, who->kind, who->name);
}

/* ---- Waiting ---- */

static const struct claim *waits_already(const struct request *request, unsigned int family)
{
    const struct claim *claim = request->owner ? request->owner->active[family] : NULL;

    return claim && claim->state == CLAIM_WAITING ? claim : NULL;
}

static bool same_terms(const struct request *request)
{
    for (unsigned int f = 0; f < FAMILIES; f++) {
        const struct claim *claim = waits_already(request, f);

        if (!(request->families & 1u << f))
            continue;
        if (!claim || strcmp(claim->pool ? claim->pool->name : "", request->pool_name) ||
            claim->wait->dual != (request->families == FAMILY_SET_DUAL) ||
            !text_same_address(claim->wait->requested, request->demands[f].text, f))
            return false;
    }
    return true;
}

/* The place is kept; who it is for and what it would rather have may be new. */
static void wait_on(struct engine *engine, struct claim *claim, const struct demand *demand, const char *uid)
{
    struct target target = {.claim = claim, .pool = claim->pool};
    struct claim_record record;

    claim_record_of(claim, &record);
    if (!text_empty(uid))
        record.owner.uid = uid;
    if (*demand->hint_text)
        record.preferred = demand->hint_text;
    if (!strcmp(record.owner.uid, claim_uid(claim)) && !strcmp(record.preferred, claim->wait->preferred))
        return;
    emit_claim(engine, &target, &record);
}

static struct claim *wait_anew(struct engine *engine, const struct allocation *allocation, unsigned int family,
                               enum ipam_reason reason, const char *message)
{
    const struct request *request = &allocation->request;
    const struct owner_ref *who = &allocation->args->owner;
    struct claim *claim = request->owner ? request->owner->active[family] : NULL;
    struct target target = {claim, request->owner, request->pool, allocation->owner_hash};
    const char *uid = text_or_empty(who->uid);
    struct claim_record record = {
        .id = claim ? claim->id : next_revision(engine),
        .owner = {who->kind, who->name, *uid || !claim || !claim->uid ? uid : claim->uid},
        .family = family_at(family),
        .state = CLAIM_WAITING,
        .pool = request->pool_name,
        .requested = request->demands[family].text,
        .preferred = request->demands[family].hint_text,
        .dual = request->families == FAMILY_SET_DUAL,
        .reason = reason,
        .message = message,
        .created_at = {claim ? claim->created_at : engine->now},
        .waiting_since = next_revision(engine),
    };

    user_of_record(engine, claim, &record);
    return emit_claim(engine, &target, &record);
}

static void enqueue(struct engine *engine, struct allocation *allocation, const struct refusal *refusal)
{
    struct request *request = &allocation->request;
    bool same = same_terms(request);
    const char *uid = allocation->args->owner.uid;
    struct ipam_error error;

    refusal_error(refusal, &error);
    if (!same)
        undual_emit(engine, request->owner, request->families);
    for (unsigned int f = 0; f < FAMILIES; f++) {
        if (allocation->fit & 1u << f)
            rebind(engine, request->owner->active[f], text_or_empty(uid));
        else if (same && (request->families & 1u << f))
            wait_on(engine, request->owner->active[f], &request->demands[f], uid);
        else if (request->families & 1u << f)
            request->owner = wait_anew(engine, allocation, f, refusal->reason, error.message)->owner;
    }
}

/* ---- The call ---- */

static bool may_enqueue(const struct allocation *allocation, const struct refusal *refusal)
{
    return allocation->args->enqueue && !allocation->unfit &&
           (refusal->reason != IPAM_REASON_INVALID_ADDRESS || allocation->rememberable);
}

/* Whether an address can be read is asked of all families, those that are bound already too. */
static bool find_unreadable(const struct allocation *allocation, struct refusal *ret)
{
    for (unsigned int f = 0; f < FAMILIES; f++) {
        const struct demand *demand = &allocation->request.demands[f];

        if (!(allocation->families & 1u << f) || !demand->given || demand->readable)
            continue;
        *ret = (struct refusal){.reason = IPAM_REASON_INVALID_ADDRESS, .family = f, .request = &allocation->request};
        return true;
    }
    return false;
}

static int refused(struct engine *engine, struct allocation *allocation, const struct refusal *refusal,
                   struct ipam_error *reterr)
{
    if (!may_enqueue(allocation, refusal))
        return refusal_error(refusal, reterr);
    if (check_limits(engine, allocation, NULL, reterr) < 0)
        return -1;
    enqueue(engine, allocation, refusal);
    return 0;
}

static int allocate(struct engine *engine, struct allocation *allocation, struct ipam_error *reterr)
{
    struct grant grants[FAMILIES];
    struct refusal refusal;
    struct batch_mark mark;
    bool granted;
    int status;

    if (find_unreadable(allocation, &refusal))
        return refused(engine, allocation, &refusal, reterr);
    if (allocation->unfit && !allocation->args->replace)
        return refuse_claim_exists(allocation, reterr);
    if (allocation->unfit) {
        batch_mark(engine, &mark);
        give_back_unfit(engine, allocation);
    }
    granted = !allocation->request.families || !decide(engine, &allocation->request, grants, &refusal);
    status = check_limits(engine, allocation, granted ? grants : NULL, reterr);
    if (!status && granted) {
        grant_all(engine, allocation, grants);
        if (allocation->unfit)
            release_end_oldest(engine, allocation->request.owner);
        return 0;
    }
    if (!status)
        status = refused(engine, allocation, &refusal, reterr);
    if (allocation->unfit)
        batch_back(engine, &mark);
    return status;
}

static void view_claims(struct engine *engine, const struct allocation *allocation, struct arena *arena,
                        struct claim_views *ret)
{
    ret->items = arena_alloc(arena, FAMILIES * sizeof(*ret->items));
    ret->count = 0;
    for (unsigned int f = 0; f < FAMILIES; f++)
        if (allocation->families & 1u << f)
            ret->items[ret->count++] = claim_view_of(engine, allocation->request.owner->active[f], arena);
}

int engine_allocate(struct engine *engine, const struct engine_ctx *ctx, const struct allocate_args *args,
                    struct claim_views *ret, struct ipam_error *reterr)
{
    struct allocation allocation;
    struct batch batch;

    batch_begin(engine, &batch, ctx, args->dry_run);
    if (read_args(engine, args, &allocation, reterr) < 0 ||
        scope_check(engine, &args->owner, allocation.request.owner, reterr) < 0 ||
        allocate(engine, &allocation, reterr) < 0)
        return batch_end(engine, -1);
    batch_settle(engine);
    view_claims(engine, &allocation, ctx->arena, ret);
    return batch_end(engine, 0);
}
