#include "record.h"

#include <string.h>

/* protobuf-c's structs hold char * where nothing is ever written through it. */
static char *borrow(const char *text)
{
    return (char *)text;
}

static char **borrow_list(const struct string_list *list)
{
    return (char **)list->items;
}

static char *address_text(const struct ipam_addr *address, struct arena *arena)
{
    char text[IPAM_ADDR_TEXT_MAX];
    if (address->family == IPAM_FAMILY_NONE)
        return borrow("");
    return arena_strdup(arena, ipam_addr_format_cidr(address, text));
}

Google__Protobuf__Timestamp *record_timestamp(struct wall_time time, struct arena *arena)
{
    const int64_t second = 1000000000;
    if (time.ns == 0)
        return NULL;
    Google__Protobuf__Timestamp *message = arena_alloc(arena, sizeof(*message));
    google__protobuf__timestamp__init(message);
    message->nanos = (int32_t)(((time.ns % second) + second) % second); /* forward, before 1970 too */
    message->seconds = (time.ns - message->nanos) / second;
    return message;
}

static Ipam__V1__Cooling *cooling_message(const struct cooling_record *cooling, struct arena *arena)
{
    if (!cooling)
        return NULL;
    Ipam__V1__Cooling *message = arena_alloc(arena, sizeof(*message));
    ipam__v1__cooling__init(message);
    message->released_at = record_timestamp(cooling->released_at, arena);
    message->delay_seconds = cooling->delay_seconds;
    return message;
}

Ipam__V1__Claim *record_claim_message(const struct claim_view *claim, struct arena *arena)
{
    const struct claim_record *record = &claim->record;
    Ipam__V1__Owner *owner = arena_alloc(arena, sizeof(*owner));
    ipam__v1__owner__init(owner);
    owner->kind = borrow(record->owner.kind);
    owner->name = borrow(record->owner.name);
    owner->uid = borrow(record->owner.uid);

    Ipam__V1__Claim *message = arena_alloc(arena, sizeof(*message));
    ipam__v1__claim__init(message);
    message->owner = owner;
    message->family = (Ipam__V1__Family)record->family;
    message->state = (Ipam__V1__ClaimState)record->state;
    message->pool = borrow(record->pool);
    message->address = address_text(&record->address, arena);
    message->requested_address = borrow(record->requested);
    message->preferred_address = borrow(record->preferred);
    message->dual = record->dual;
    message->reason = borrow(ipam_reason_name(record->reason));
    message->message = borrow(record->message);
    message->created_at = record_timestamp(record->created_at, arena);
    message->allocated_at = record_timestamp(record->allocated_at, arena);
    message->cooling_until = record_timestamp(record->cooling_until, arena);
    message->waiting_since = record->waiting_since;
    message->queue_position = claim->queue_position;
    message->revision = claim->revision;
    message->id = record->id;
    message->cooling = cooling_message(record->cooling, arena);
    if (record->has_user) {
        message->made_by_case = IPAM__V1__CLAIM__MADE_BY_USER;
        message->user = record->user;
    }
    return message;
}

static Ipam__V1__PoolSpec *spec_message(const char *name, const struct pool_spec *spec, struct arena *arena)
{
    Ipam__V1__PoolSpec *message = arena_alloc(arena, sizeof(*message));
    ipam__v1__pool_spec__init(message);
    message->name = borrow(name);
    message->uid = borrow(spec->uid);
    message->generation = spec->generation;
    message->n_cidrs = spec->cidrs.count;
    message->cidrs = borrow_list(&spec->cidrs);
    message->n_addresses = spec->addresses.count;
    message->addresses = borrow_list(&spec->addresses);
    message->n_excluded = spec->excluded.count;
    message->excluded = borrow_list(&spec->excluded);
    message->auto_assign = spec->auto_assign;
    message->reuse_delay_seconds = spec->reuse_delay_seconds;
    message->paused = spec->paused;
    return message;
}

static Ipam__V1__PoolCounts *counts_message(const struct pool_counts *counts, struct arena *arena)
{
    Ipam__V1__PoolCounts *message = arena_alloc(arena, sizeof(*message));
    ipam__v1__pool_counts__init(message);
    message->capacity = counts->capacity;
    message->allocated = counts->allocated;
    message->available = counts->available;
    message->cooling = counts->cooling;
    message->excluded = counts->excluded;
    message->orphaned = counts->orphaned;
    message->waiting = counts->waiting;
    return message;
}

/* A pool that was never accepted shows the rejected spec as its only one, as its record does. */
static void pool_message_specs(Ipam__V1__Pool *message, const struct pool_record *pool, struct arena *arena)
{
    static const struct pool_spec none = {.uid = ""};
    const struct pool_spec *rejected = pool->has_rejected ? &pool->rejected : NULL;
    const struct pool_spec *spec = pool->has_spec ? &pool->spec : rejected ? rejected : &none;
    message->spec = spec_message(pool->name, spec, arena);
    if (rejected && rejected != spec)
        message->rejected_spec = spec_message(pool->name, rejected, arena);
}

Ipam__V1__Pool *record_pool_message(const struct pool_view *pool, struct arena *arena)
{
    const struct pool_record *record = &pool->record;
    Ipam__V1__Pool *message = arena_alloc(arena, sizeof(*message));
    ipam__v1__pool__init(message);
    pool_message_specs(message, record, arena);
    message->state = (Ipam__V1__PoolState)record->state;
    message->reason = borrow(ipam_reason_name(record->reason));
    message->message = borrow(record->message);
    message->counts = counts_message(&pool->total, arena);
    message->ipv4 = counts_message(&pool->ipv4, arena);
    message->ipv6 = counts_message(&pool->ipv6, arena);
    message->n_clipped_cidrs = pool->clipped.count;
    message->clipped_cidrs = borrow_list(&pool->clipped);
    message->n_warnings = pool->warnings.count;
    message->warnings = borrow_list(&pool->warnings);
    message->created_at = record_timestamp(record->created_at, arena);
    message->revision = pool->revision;
    message->id = record->id;
    return message;
}

static void *allocator_alloc(void *user, size_t size)
{
    return arena_alloc(user, size);
}

static void allocator_free(void *user, void *pointer)
{
    (void)user;
    (void)pointer;
}

ProtobufCAllocator record_allocator(struct arena *arena)
{
    return (ProtobufCAllocator){allocator_alloc, allocator_free, arena};
}
