/* ipam.v1.IPAM: each method reads its request into the engine's terms, lets the engine decide, and
 * answers with what it said. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "record.h"
#include "rpc.h"

#define PAGE_DEFAULT 100
#define PAGE_MAX     1000
/* One page looks at no more claims or changes than this, so that a filter that finds little can't
 * hold up the loop. */
#define SCAN_MAX 65536
/* Nor does a page go on beyond so many bytes: every gRPC client takes 4 MiB. */
#define PAGE_BYTES (1024 * 1024)
/* An answer to ApplyPool has the spec up to three times (in force, refused, clipped ranges) and stranded claims, and must be
 * one that every client takes: the change has been made. */
#define SPEC_BYTES     (1024 * 1024)
#define STRANDED_BYTES (512 * 1024)

/* ---- Requests in the engine's terms ------------------------------------------------------------------------------ */

static struct string_list strings_of(char **items, size_t count)
{
    return (struct string_list){.items = (const char *const *)items, .count = count};
}

static struct owner_ref owner_of(const Ipam__V1__Owner *owner)
{
    if (!owner)
        return (struct owner_ref){.kind = "", .name = "", .uid = ""};
    return (struct owner_ref){.kind = owner->kind, .name = owner->name, .uid = owner->uid};
}

static struct pool_spec spec_of(const Ipam__V1__PoolSpec *spec)
{
    return (struct pool_spec){
        .cidrs = strings_of(spec->cidrs, spec->n_cidrs),
        .addresses = strings_of(spec->addresses, spec->n_addresses),
        .excluded = strings_of(spec->excluded, spec->n_excluded),
        .uid = spec->uid,
        .generation = spec->generation,
        .reuse_delay_seconds = spec->reuse_delay_seconds,
        .auto_assign = spec->auto_assign,
        .paused = spec->paused,
    };
}

static int families_of(Ipam__V1__Family family, unsigned int *ret, struct ipam_error *reterr)
{
    static const unsigned int sets[] = {
        [IPAM__V1__FAMILY__FAMILY_UNSPECIFIED] = 0,
        [IPAM__V1__FAMILY__IPV4] = FAMILY_SET_IPV4,
        [IPAM__V1__FAMILY__IPV6] = FAMILY_SET_IPV6,
        [IPAM__V1__FAMILY__DUAL] = FAMILY_SET_DUAL,
    };
    if ((size_t)family >= sizeof sets / sizeof *sets)
        return ipam_error_set(reterr, IPAM_REASON_INVALID_REQUEST, "invalid family: %d is none, use IPV4, IPV6 or DUAL",
                              (int)family);
    *ret = sets[family];
    return 0;
}

/* A write is refused while the store can't take it; a dry run is no write. */
static int write_check(struct rpc_call *call, bool dry_run, struct ipam_error *reterr)
{
    return dry_run ? 0 : pipeline_writable(rpc_pipeline(call), reterr);
}

static size_t page_of(uint32_t asked)
{
    return asked == 0 ? PAGE_DEFAULT : asked > PAGE_MAX ? PAGE_MAX : asked;
}

/* Page tokens of ListClaims are the id to go on after. */
static int id_of_token(const char *token, uint64_t *ret, struct ipam_error *reterr)
{
    char *end;
    errno = 0;
    uint64_t id = strtoull(token, &end, 10);
    if (*token == '\0')
        id = 0;
    else if (*token < '0' || *token > '9' || *end || errno)
        return ipam_error_set(reterr, IPAM_REASON_INVALID_REQUEST,
                              "invalid page_token: \"%s\" is none of ours, use next_page_token of the page before",
                              token);
    *ret = id;
    return 0;
}

/* ---- Answers in the messages' terms ------------------------------------------------------------------------------ */

static Ipam__V1__Claim **claims_message(const struct claim_views *claims, struct arena *arena)
{
    Ipam__V1__Claim **list = arena_alloc(arena, (claims->count + 1) * sizeof(*list));
    for (size_t i = 0; i < claims->count; i++)
        list[i] = record_claim_message(&claims->items[i], arena);
    return list;
}

static uint64_t revision_of(struct rpc_call *call)
{
    return engine_revision(rpc_pipeline(call)->engine);
}

/* ---- Pools ------------------------------------------------------------------------------------------------------- */

static int spec_check(const Ipam__V1__PoolSpec *spec, struct ipam_error *reterr)
{
    if (!spec)
        return ipam_error_set(reterr, IPAM_REASON_INVALID_REQUEST, "invalid request: pool is missing");
    size_t size = ipam__v1__pool_spec__get_packed_size(spec);
    if (size <= SPEC_BYTES)
        return 0;
    ipam_error_set(
        reterr, IPAM_REASON_INVALID_POOL_SPEC,
        "invalid pool spec: %.64s takes %zu bytes and may take %d; write ranges, or split it into several pools",
        spec->name, size, SPEC_BYTES);
    ipam_error_add(reterr, "pool", spec->name);
    return -1;
}

/* As many as there is room for in an answer; the pool's counts tell how many there are. */
static void stranded_message(const struct claim_views *claims, struct arena *arena, Ipam__V1__ApplyPoolReply *reply)
{
    reply->stranded = arena_alloc(arena, (claims->count + 1) * sizeof(*reply->stranded));
    for (size_t bytes = 0; reply->n_stranded < claims->count && bytes < STRANDED_BYTES; reply->n_stranded++) {
        Ipam__V1__Claim *claim = record_claim_message(&claims->items[reply->n_stranded], arena);
        reply->stranded[reply->n_stranded] = claim;
        bytes += ipam__v1__claim__get_packed_size(claim);
    }
}

static void handle_apply_pool(struct rpc_call *call, const ProtobufCMessage *message)
{
    const Ipam__V1__ApplyPoolRequest *request = (const Ipam__V1__ApplyPoolRequest *)message;
    struct engine_ctx ctx = rpc_engine_ctx(call);
    struct apply_pool_result result;
    struct ipam_error error;
    int status = spec_check(request->pool, &error);
    status = status ? status : write_check(call, request->dry_run, &error);
    if (status == 0) {
        struct apply_pool_args args = {
            .name = request->pool->name,
            .spec = spec_of(request->pool),
            .record_rejected = request->record_rejected,
            .dry_run = request->dry_run,
        };
        status = engine_apply_pool(rpc_pipeline(call)->engine, &ctx, &args, &result, &error);
    }
    if (status < 0) {
        rpc_fail(call, &error);
        return;
    }
    Ipam__V1__ApplyPoolReply reply = IPAM__V1__APPLY_POOL_REPLY__INIT;
    reply.pool = record_pool_message(&result.pool, ctx.arena);
    stranded_message(&result.stranded, ctx.arena, &reply);
    reply.changed = result.changed;
    reply.revision = revision_of(call);
    rpc_reply(call, &reply.base);
}

static void handle_delete_pool(struct rpc_call *call, const ProtobufCMessage *message)
{
    const Ipam__V1__DeletePoolRequest *request = (const Ipam__V1__DeletePoolRequest *)message;
    struct engine_ctx ctx = rpc_engine_ctx(call);
    struct delete_pool_args args = {
        .name = request->name,
        .uid = request->uid,
        .only_if_unused = request->only_if_unused,
        .dry_run = request->dry_run,
    };
    struct delete_pool_result result;
    struct ipam_error error;
    if (write_check(call, args.dry_run, &error) < 0 ||
        engine_delete_pool(rpc_pipeline(call)->engine, &ctx, &args, &result, &error) < 0) {
        rpc_fail(call, &error);
        return;
    }
    Ipam__V1__DeletePoolReply reply = IPAM__V1__DELETE_POOL_REPLY__INIT;
    reply.removed = result.removed;
    reply.draining = result.draining;
    reply.claims = result.claims;
    reply.revision = revision_of(call);
    rpc_reply(call, &reply.base);
}

static void handle_get_pool(struct rpc_call *call, const ProtobufCMessage *message)
{
    const Ipam__V1__GetPoolRequest *request = (const Ipam__V1__GetPoolRequest *)message;
    struct arena *arena = rpc_scratch(call);
    struct pool_view view;
    struct ipam_error error;
    if (engine_pool_get(rpc_pipeline(call)->engine, request->name, arena, &view, &error) < 0) {
        rpc_fail(call, &error);
        return;
    }
    Ipam__V1__GetPoolReply reply = IPAM__V1__GET_POOL_REPLY__INIT;
    reply.pool = record_pool_message(&view, arena);
    reply.revision = revision_of(call);
    rpc_reply(call, &reply.base);
}

static void handle_list_pools(struct rpc_call *call, const ProtobufCMessage *message)
{
    const Ipam__V1__ListPoolsRequest *request = (const Ipam__V1__ListPoolsRequest *)message;
    struct arena *arena = rpc_scratch(call);
    struct pool_views views;
    engine_pools_list(rpc_pipeline(call)->engine, request->page_token, page_of(request->page_size), arena, &views);
    Ipam__V1__ListPoolsReply reply = IPAM__V1__LIST_POOLS_REPLY__INIT;
    reply.pools = arena_alloc(arena, (views.count + 1) * sizeof(*reply.pools));
    for (size_t bytes = 0; reply.n_pools < views.count && bytes < PAGE_BYTES; reply.n_pools++) {
        Ipam__V1__Pool *pool = record_pool_message(&views.items[reply.n_pools], arena);
        reply.pools[reply.n_pools] = pool;
        bytes += ipam__v1__pool__get_packed_size(pool);
    }
    if (views.more || reply.n_pools < views.count)
        reply.next_page_token = arena_strdup(arena, views.items[reply.n_pools - 1].record.name);
    reply.revision = revision_of(call);
    rpc_reply(call, &reply.base);
}

/* ---- Claims ------------------------------------------------------------------------------------------------------ */

static void handle_allocate(struct rpc_call *call, const ProtobufCMessage *message)
{
    const Ipam__V1__AllocateRequest *request = (const Ipam__V1__AllocateRequest *)message;
    struct engine_ctx ctx = rpc_engine_ctx(call);
    struct allocate_args args = {
        .owner = owner_of(request->owner),
        .pool = request->pool,
        .address = request->address,
        .ipv6_address = request->ipv6_address,
        .preferred_address = request->preferred_address,
        .preferred_ipv6_address = request->preferred_ipv6_address,
        .enqueue = request->enqueue,
        .replace = request->replace,
        .dry_run = request->dry_run,
    };
    struct claim_views claims;
    struct ipam_error error;
    if (families_of(request->family, &args.families, &error) < 0 || write_check(call, args.dry_run, &error) < 0 ||
        engine_allocate(rpc_pipeline(call)->engine, &ctx, &args, &claims, &error) < 0) {
        rpc_fail(call, &error);
        return;
    }
    for (size_t i = 0; i < claims.count && !args.dry_run; i++)
        rpc_server_counters(rpc_call_server(call))->allocations += claims.items[i].record.state == CLAIM_BOUND;
    Ipam__V1__AllocateReply reply = IPAM__V1__ALLOCATE_REPLY__INIT;
    reply.n_claims = claims.count;
    reply.claims = claims_message(&claims, ctx.arena);
    reply.revision = revision_of(call);
    rpc_reply(call, &reply.base);
}

/* What others wait for is the administrator's to shorten. */
static int release_check(struct rpc_call *call, const Ipam__V1__ReleaseRequest *request, struct ipam_error *reterr)
{
    return request->end_cooling ? rpc_need_role(call, RPC_ROLE_ADMIN, "Release with end_cooling", reterr) : 0;
}

static void handle_release(struct rpc_call *call, const ProtobufCMessage *message)
{
    const Ipam__V1__ReleaseRequest *request = (const Ipam__V1__ReleaseRequest *)message;
    struct engine_ctx ctx = rpc_engine_ctx(call);
    struct owner_ref owner = owner_of(request->owner);
    struct release_args args = {
        .kind = owner.kind,
        .name = owner.name,
        .address = request->address,
        .uid = request->uid,
        .end_cooling = request->end_cooling,
        .dry_run = request->dry_run,
    };
    struct claim_views released;
    struct ipam_error error;
    if (release_check(call, request, &error) < 0 || families_of(request->family, &args.families, &error) < 0 ||
        write_check(call, args.dry_run, &error) < 0 ||
        engine_release(rpc_pipeline(call)->engine, &ctx, &args, &released, &error) < 0) {
        rpc_fail(call, &error);
        return;
    }
    if (!args.dry_run && !args.end_cooling)
        rpc_server_counters(rpc_call_server(call))->releases += released.count;
    Ipam__V1__ReleaseReply reply = IPAM__V1__RELEASE_REPLY__INIT;
    reply.n_released = released.count;
    reply.released = claims_message(&released, ctx.arena);
    reply.revision = revision_of(call);
    rpc_reply(call, &reply.base);
}

static void handle_get_claims(struct rpc_call *call, const ProtobufCMessage *message)
{
    const Ipam__V1__GetClaimsRequest *request = (const Ipam__V1__GetClaimsRequest *)message;
    struct arena *arena = rpc_arena(call);
    struct owner_ref owner = owner_of(request->owner);
    struct claim_views claims;
    struct ipam_error error;
    if (engine_claims_of(rpc_pipeline(call)->engine, owner.kind, owner.name, arena, &claims, &error) < 0) {
        rpc_fail(call, &error);
        return;
    }
    Ipam__V1__GetClaimsReply reply = IPAM__V1__GET_CLAIMS_REPLY__INIT;
    reply.n_claims = claims.count;
    reply.claims = claims_message(&claims, arena);
    reply.revision = revision_of(call);
    rpc_reply(call, &reply.base);
}

static int claim_filter_of(const Ipam__V1__ListClaimsRequest *request, struct claim_filter *ret,
                           struct ipam_addr *address, struct ipam_error *reterr)
{
    int state = (int)request->state;
    if (state < 0 || state > CLAIM_COOLING)
        return ipam_error_set(reterr, IPAM_REASON_INVALID_REQUEST,
                              "invalid state: %d can't be listed, use WAITING, BOUND or COOLING", state);
    *ret = (struct claim_filter){.pool = request->pool, .kind = request->kind, .state = (enum claim_state)state};
    if (*request->address == '\0')
        return 0;
    ret->address = address;
    return ipam_addr_parse(request->address, address, reterr);
}

/* People read when a cooling ends by the wall clock as it is now, whatever it was at the release. */
static void show_cooling_ends(struct rpc_call *call, struct claim_views *claims)
{
    const struct rpc_host *host = &rpc_server_options(rpc_call_server(call))->host;
    int64_t offset = host->wall_now(host->user).ns - host->elapsed_now(host->user).ns;
    for (size_t i = 0; i < claims->count; i++) {
        struct claim_record *record = &claims->items[i].record;
        if (record->cooling)
            record->cooling_until =
                cooling_until_now(record->cooling_until, (struct wall_time){cooling_end(record->cooling).ns + offset});
    }
}

static void handle_list_claims(struct rpc_call *call, const ProtobufCMessage *message)
{
    const Ipam__V1__ListClaimsRequest *request = (const Ipam__V1__ListClaimsRequest *)message;
    struct arena *arena = rpc_scratch(call);
    struct claim_filter filter;
    struct ipam_addr address;
    struct claim_views claims;
    struct ipam_error error;
    uint64_t after = 0, last;
    if (claim_filter_of(request, &filter, &address, &error) < 0 ||
        id_of_token(request->page_token, &after, &error) < 0) {
        rpc_fail(call, &error);
        return;
    }
    engine_claims_list(rpc_pipeline(call)->engine, &filter, after, page_of(request->page_size), SCAN_MAX, arena,
                       &claims, &last);
    show_cooling_ends(call, &claims);
    Ipam__V1__ListClaimsReply reply = IPAM__V1__LIST_CLAIMS_REPLY__INIT;
    reply.n_claims = claims.count;
    reply.claims = claims_message(&claims, arena);
    if (last)
        reply.next_page_token = arena_printf(arena, "%llu", (unsigned long long)last);
    reply.revision = revision_of(call);
    rpc_reply(call, &reply.base);
}

/* ---- History ----------------------------------------------------------------------------------------------------- */

/* A read on a worker thread. The call may be gone before it is done, so it has memory of its own.
 */
struct history_read {
    struct rpc_call *call; /* NULL once the call is gone */
    void *work;
    struct store *store;
    struct arena arena;
    struct store_query query;
    struct ipam_addr address;
    uint8_t *reply; /* packed */
    size_t reply_size;
    int status;
    struct ipam_error error;
};

static size_t varint_size(size_t value)
{
    size_t size = 1;
    for (; value >= 0x80; value >>= 7)
        size++;
    return size;
}

static uint8_t *put_varint(uint8_t *out, size_t value)
{
    for (; value >= 0x80; value >>= 7)
        *out++ = (uint8_t)(value | 0x80);
    *out++ = (uint8_t)value;
    return out;
}

/* ListChangesReply.changes, one of them: the canonical record and its hash are the Change as they stand. */
#define CHANGES_TAG (1 << 3 | 2)

static size_t change_size(const struct store_record *item)
{
    size_t size = item->size + RECORD_HASH_FIELD_SIZE;
    return 1 + varint_size(size) + size;
}

static uint8_t *put_change(uint8_t *out, const struct store_record *item)
{
    *out++ = CHANGES_TAG;
    out = put_varint(out, item->size + RECORD_HASH_FIELD_SIZE);
    memcpy(out, item->record, item->size);
    return record_put_hash(item->hash, out + item->size);
}

static void history_pack(struct history_read *read, const struct store_page *page)
{
    Ipam__V1__ListChangesReply rest = IPAM__V1__LIST_CHANGES_REPLY__INIT;
    rest.compacted_through = page->compacted_through;
    rest.scanned_through = page->scanned_through;
    rest.revision = page->revision;
    size_t size = ipam__v1__list_changes_reply__get_packed_size(&rest);
    for (size_t i = 0; i < page->count; i++)
        size += change_size(&page->items[i]);
    uint8_t *out = read->reply = arena_alloc(&read->arena, size);
    for (size_t i = 0; i < page->count; i++)
        out = put_change(out, &page->items[i]);
    ipam__v1__list_changes_reply__pack(&rest, out);
    read->reply_size = size;
}

/* What can't be read is not passed on. */
static int history_check(const struct store_page *page, struct ipam_error *reterr)
{
    struct arena scratch;
    struct change change;
    int status = 0;
    arena_init(&scratch);
    for (size_t i = 0; i < page->count && status == 0; i++) {
        arena_reset(&scratch);
        status = record_decode(page->items[i].record, page->items[i].size, &scratch, &change, reterr);
        if (status < 0)
            ipam_error_prefix(reterr, "damaged history: change %llu can't be read",
                              (unsigned long long)page->items[i].revision);
    }
    arena_done(&scratch);
    return status;
}

static void history_run(void *arg)
{
    struct history_read *read = arg;
    struct store_page page;
    read->status = store_read_changes(read->store, &read->query, &read->arena, &page, &read->error);
    if (read->status == 0)
        read->status = history_check(&page, &read->error);
    if (read->status == 0)
        history_pack(read, &page);
}

static void history_free(struct history_read *read)
{
    arena_done(&read->arena);
    free(read);
}

static void history_done(void *arg)
{
    struct history_read *read = arg;
    if (read->call) {
        rpc_set_user(read->call, NULL);
        if (read->status < 0)
            rpc_fail_now(read->call, &read->error);
        else
            rpc_reply_bytes(read->call, read->reply, read->reply_size);
    }
    history_free(read);
}

/* The call ends before the read does: by its deadline, its client or its connection. */
static void history_close(struct rpc_call *call)
{
    struct history_read *read = rpc_user(call);
    const struct rpc_host *host = &rpc_server_options(rpc_call_server(call))->host;
    if (read && host->drop(host->user, read->work))
        history_free(read);
    else if (read)
        read->call = NULL;
}

static void handle_list_changes(struct rpc_call *call, const ProtobufCMessage *message)
{
    const Ipam__V1__ListChangesRequest *request = (const Ipam__V1__ListChangesRequest *)message;
    const struct rpc_server_options *server = rpc_server_options(rpc_call_server(call));
    struct ipam_addr address;
    struct ipam_error error;
    if (*request->address && ipam_addr_parse(request->address, &address, &error) < 0) {
        rpc_fail(call, &error);
        return;
    }
    struct history_read *read = mem_zalloc(sizeof *read);
    struct owner_ref owner = owner_of(request->owner);
    arena_init(&read->arena);
    read->call = call;
    read->store = server->store;
    if (*request->address)
        read->address = address;
    read->query = (struct store_query){
        .after_revision = request->after_revision,
        .limit = page_of(request->limit),
        .scan = SCAN_MAX,
        .bytes = PAGE_BYTES,
        .pool = arena_strdup(&read->arena, request->pool),
        .kind = arena_strdup(&read->arena, owner.kind),
        .name = arena_strdup(&read->arena, owner.name),
        .address = *request->address ? &read->address : NULL,
    };
    rpc_set_user(call, read);
    rpc_expect(call, PAGE_BYTES, sizeof *read + read->arena.held);
    read->work = server->host.work(server->host.user, rpc_actor(call), history_run, history_done, read);
}

/* ---- Status ------------------------------------------------------------------------------------------------------ */

static void handle_get_status(struct rpc_call *call, const ProtobufCMessage *message)
{
    (void)message;
    struct rpc_server *server = rpc_call_server(call);
    const struct pipeline *pipeline = rpc_pipeline(call);
    const struct rpc_counters *counters = rpc_server_counters(server);
    struct engine_totals totals;
    engine_totals(pipeline->engine, &totals);

    Ipam__V1__Counters numbers = IPAM__V1__COUNTERS__INIT;
    numbers.pools = totals.pools;
    numbers.claims_bound = totals.bound;
    numbers.claims_waiting = totals.waiting;
    numbers.claims_cooling = totals.cooling;
    numbers.connections = counters->connections;
    numbers.connections_total = counters->connections_total;
    numbers.calls_total = counters->calls;
    numbers.calls_failed = counters->calls_failed;
    numbers.allocations_total = counters->allocations;
    numbers.releases_total = counters->releases;
    numbers.batches_total = pipeline->counters.batches;
    numbers.changes_total = pipeline->counters.changes;
    numbers.commit_failures = pipeline->counters.failures;
    numbers.clock_steps = counters->clock_steps;

    bool serving = pipeline->state == PIPELINE_SERVING;
    Ipam__V1__GetStatusReply reply = IPAM__V1__GET_STATUS_REPLY__INIT;
    reply.version = (char *)rpc_server_options(server)->version;
    reply.store = "sqlite";
    reply.store_available = serving;
    reply.store_message = (char *)(serving ? "" : pipeline->error.message);
    reply.revision = revision_of(call);
    reply.durable_revision = pipeline->durable;
    reply.started_at = record_timestamp(rpc_server_started_at(server), rpc_arena(call));
    reply.counters = &numbers;
    /* At once: it tells how far durability has come, so it must not wait for it. */
    rpc_reply_now(call, &reply.base);
}

#define METHOD(name, lower) #name, &ipam__v1__##lower##_request__descriptor, &ipam__v1__##lower##_reply__descriptor

static const struct rpc_method methods[] = {
    {METHOD(ApplyPool, apply_pool), RPC_ROLE_ADMIN, 0, handle_apply_pool, NULL, NULL, RPC_REQUEST_LONG},
    {METHOD(DeletePool, delete_pool), RPC_ROLE_ADMIN, 0, handle_delete_pool, NULL, NULL, RPC_REQUEST_SHORT},
    {METHOD(GetPool, get_pool), RPC_ROLE_READ, 0, handle_get_pool, NULL, NULL, RPC_REQUEST_SHORT},
    {METHOD(ListPools, list_pools), RPC_ROLE_READ, RPC_LARGE, handle_list_pools, NULL, NULL, RPC_REQUEST_SHORT},
    {METHOD(Allocate, allocate), RPC_ROLE_ALLOCATE, 0, handle_allocate, NULL, NULL, RPC_REQUEST_SHORT},
    {METHOD(Release, release), RPC_ROLE_ALLOCATE, 0, handle_release, NULL, NULL, RPC_REQUEST_SHORT},
    {METHOD(GetClaims, get_claims), RPC_ROLE_READ, 0, handle_get_claims, NULL, NULL, RPC_REQUEST_SHORT},
    {METHOD(ListClaims, list_claims), RPC_ROLE_READ, RPC_LARGE, handle_list_claims, NULL, NULL, RPC_REQUEST_SHORT},
    {METHOD(ListChanges, list_changes), RPC_ROLE_READ, 0, handle_list_changes, NULL, history_close, RPC_REQUEST_SHORT},
    {METHOD(GetStatus, get_status), RPC_ROLE_READ, 0, handle_get_status, NULL, NULL, RPC_REQUEST_SHORT},
};

const struct rpc_service ipam_service = {"ipam.v1.IPAM", methods, sizeof methods / sizeof *methods};
