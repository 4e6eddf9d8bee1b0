/* The canonical record: what our tables write is what protobuf-c writes, and comes back whole. */
#include <stdarg.h>
#include <setjmp.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "record.h"

/* One row of the error table, one number: the last is how many there are. */
enum {
#define IPAM_ERROR_ROW(name, number, status, exit_class, summary, remedy) COUNT_##name,
#include <ipam/errors.def>
#undef IPAM_ERROR_ROW
    LAST_REASON
};

/* ---- Fixture ---------------------------------------------------------------------------------- */

#define ROUNDS 20000

static uint64_t seed = 20240115;

/* splitmix64 */
static uint64_t random_number(void)
{
    uint64_t z = (seed += 0x9e3779b97f4a7c15);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
    z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
    return z ^ (z >> 31);
}

static uint64_t below(uint64_t n)
{
    return random_number() % n;
}

/* ---- Helpers: changes with every field on or off ---------------------------------------------- */

static const char *random_text(struct arena *arena, size_t longest)
{
    size_t size = below(3) ? below(12) : below(longest + 1);
    char *text = arena_alloc(arena, size + 1);
    for (size_t i = 0; i < size; i++)
        text[i] = (char)(' ' + below(95));
    text[size] = '\0';
    return text;
}

static struct string_list random_list(struct arena *arena)
{
    size_t count = below(3) ? below(4) : below(300);
    const char **items = arena_alloc(arena, (count + 1) * sizeof(*items));
    for (size_t i = 0; i < count; i++)
        items[i] = random_text(arena, 40);
    return (struct string_list){items, count};
}

static struct wall_time random_time(void)
{
    static const int64_t edges[] = {0, 1, -1, 999999999, 1000000000, -1000000000, INT64_MAX, -1999999999};
    if (below(2))
        return (struct wall_time){edges[below(sizeof(edges) / sizeof(edges[0]))]};
    return (struct wall_time){(int64_t)(random_number() >> 2)};
}

static uint64_t random_size(void)
{
    return random_number() >> below(64);
}

static struct pool_spec random_spec(struct arena *arena)
{
    return (struct pool_spec){
        .cidrs = random_list(arena),
        .addresses = random_list(arena),
        .excluded = random_list(arena),
        .uid = random_text(arena, ENGINE_UID_MAX),
        .generation = (int64_t)random_size() - (int64_t)below(3),
        .reuse_delay_seconds = (uint32_t)random_size(),
        .auto_assign = below(2),
        .paused = below(2),
    };
}

static void random_pool(struct arena *arena, struct pool_record *pool)
{
    *pool = (struct pool_record){
        .id = 1 + (random_size() >> 1),
        .name = random_text(arena, ENGINE_NAME_MAX),
        .state = (enum pool_state)(1 + below(4)),
        .message = random_text(arena, 900),
        .has_spec = true,
        .spec = random_spec(arena),
        .rejected = {.uid = ""},
        .created_at = random_time(),
    };
    if (pool->state != POOL_REJECTED)
        return;
    pool->reason = (enum ipam_reason)(1 + below(LAST_REASON));
    pool->has_rejected = true;
    pool->rejected = random_spec(arena);
    pool->has_spec = below(2);
    if (!pool->has_spec)
        pool->spec = (struct pool_spec){.uid = ""};
}

static const struct cooling_record *random_cooling(struct arena *arena)
{
    struct cooling_record *cooling = arena_alloc(arena, sizeof(*cooling));
    *cooling = (struct cooling_record){
        .released_at = random_time(),
        .delay_seconds = (uint32_t)random_size(),
        .boot_time.ns = (int64_t)(random_size() >> 1),
    };
    for (size_t i = 0; i < BOOT_ID_SIZE; i++)
        cooling->boot_id[i] = (uint8_t)below(256);
    return cooling;
}

static void random_claim(struct arena *arena, struct claim_record *claim)
{
    static const struct ipam_addr addresses[] = {
        {0, 0, IPAM_FAMILY_NONE},           {0, 0x0ac80001, IPAM_IPV4},          {0, 0xffffffff, IPAM_IPV4},
        {0x20010db800000000, 1, IPAM_IPV6}, {UINT64_MAX, UINT64_MAX, IPAM_IPV6},
    };
    *claim = (struct claim_record){
        .id = 1 + (random_size() >> 1),
        .owner = {random_text(arena, ENGINE_NAME_MAX), random_text(arena, ENGINE_NAME_MAX),
                  random_text(arena, ENGINE_UID_MAX)},
        .family = below(2) ? IPAM_IPV4 : IPAM_IPV6,
        .state = (enum claim_state)(1 + below(4)),
        .pool = random_text(arena, ENGINE_NAME_MAX),
        .address = addresses[below(sizeof(addresses) / sizeof(addresses[0]))],
        .requested = random_text(arena, ENGINE_ADDRESS_MAX),
        .preferred = random_text(arena, ENGINE_ADDRESS_MAX),
        .dual = below(2),
        .reason = (enum ipam_reason)below(LAST_REASON + 1),
        .message = random_text(arena, 900),
        .created_at = random_time(),
        .allocated_at = random_time(),
        .cooling_until = random_time(),
        .cooling = below(2) ? random_cooling(arena) : NULL,
        .waiting_since = random_size(),
        .has_user = below(2),
    };
    if (claim->has_user)
        claim->user = below(3) ? (uint32_t)random_size() : 0;
    if (claim->address.lo == 0x0ac80001)
        claim->address.lo += below(0x10000); /* text of every length */
}

static struct change random_change(struct arena *arena)
{
    struct change change = {
        .revision = 1 + (random_size() >> 1),
        .at = random_time(),
        .actor = {(uint32_t)random_size(), random_text(arena, 15), random_text(arena, 40)},
        .kind = below(2) ? CHANGE_POOL : CHANGE_CLAIM,
    };
    if (change.kind == CHANGE_POOL)
        random_pool(arena, &change.pool);
    else
        random_claim(arena, &change.claim);
    return change;
}

/* ---- Helpers: comparing ----------------------------------------------------------------------- */

static void assert_list_equal(struct string_list a, struct string_list b)
{
    assert_int_equal(a.count, b.count);
    for (size_t i = 0; i < a.count; i++)
        assert_string_equal(a.items[i], b.items[i]);
}

static void assert_spec_equal(const struct pool_spec *a, const struct pool_spec *b)
{
    assert_list_equal(a->cidrs, b->cidrs);
    assert_list_equal(a->addresses, b->addresses);
    assert_list_equal(a->excluded, b->excluded);
    assert_string_equal(a->uid, b->uid);
    assert_true(a->generation == b->generation && a->reuse_delay_seconds == b->reuse_delay_seconds &&
                a->auto_assign == b->auto_assign && a->paused == b->paused);
}

static void assert_pool_equal(const struct pool_record *a, const struct pool_record *b)
{
    assert_string_equal(a->name, b->name);
    assert_string_equal(a->message, b->message);
    assert_true(a->id == b->id && a->state == b->state && a->reason == b->reason && a->has_spec == b->has_spec &&
                a->has_rejected == b->has_rejected && a->created_at.ns == b->created_at.ns);
    assert_spec_equal(&a->spec, &b->spec);
    assert_spec_equal(&a->rejected, &b->rejected);
}

static void assert_cooling_equal(const struct cooling_record *a, const struct cooling_record *b)
{
    assert_true(!a == !b);
    if (!a)
        return;
    assert_true(a->released_at.ns == b->released_at.ns && a->delay_seconds == b->delay_seconds &&
                a->boot_time.ns == b->boot_time.ns);
    assert_memory_equal(a->boot_id, b->boot_id, BOOT_ID_SIZE);
}

static void assert_claim_equal(const struct claim_record *a, const struct claim_record *b)
{
    assert_string_equal(a->owner.kind, b->owner.kind);
    assert_string_equal(a->owner.name, b->owner.name);
    assert_string_equal(a->owner.uid, b->owner.uid);
    assert_string_equal(a->pool, b->pool);
    assert_string_equal(a->requested, b->requested);
    assert_string_equal(a->preferred, b->preferred);
    assert_string_equal(a->message, b->message);
    assert_true(ipam_addr_equal(&a->address, &b->address));
    assert_true(a->id == b->id && a->family == b->family && a->state == b->state && a->dual == b->dual &&
                a->reason == b->reason && a->waiting_since == b->waiting_since);
    assert_true(a->created_at.ns == b->created_at.ns && a->allocated_at.ns == b->allocated_at.ns &&
                a->cooling_until.ns == b->cooling_until.ns && a->has_user == b->has_user && a->user == b->user);
    assert_cooling_equal(a->cooling, b->cooling);
}

static void assert_change_equal(const struct change *a, const struct change *b)
{
    assert_true(a->revision == b->revision && a->at.ns == b->at.ns && a->kind == b->kind);
    assert_int_equal(a->actor.uid, b->actor.uid);
    assert_string_equal(a->actor.command, b->actor.command);
    assert_string_equal(a->actor.method, b->actor.method);
    if (a->kind == CHANGE_POOL)
        assert_pool_equal(&a->pool, &b->pool);
    else
        assert_claim_equal(&a->claim, &b->claim);
}

static void assert_packs_to(const Ipam__V1__Change *message, const uint8_t *record, size_t size)
{
    size_t packed_size = ipam__v1__change__get_packed_size(message);
    uint8_t *packed = malloc(packed_size);
    ipam__v1__change__pack(message, packed);
    assert_int_equal(packed_size, size);
    assert_memory_equal(packed, record, size);
    free(packed);
}

/* What is in changes only. */
static void add_boot(const struct cooling_record *cooling, Ipam__V1__Cooling *message)
{
    if (!cooling)
        return;
    message->boot_id = (ProtobufCBinaryData){BOOT_ID_SIZE, (uint8_t *)cooling->boot_id};
    message->boot_time_ns = cooling->boot_time.ns;
}

/* The Change that the RPC layer's messages would make of it, without what is not in changes. */
static void assert_message_packs_to(const struct change *change, struct arena *arena, const uint8_t *record,
                                    size_t size)
{
    Ipam__V1__Actor actor = IPAM__V1__ACTOR__INIT;
    actor.uid = change->actor.uid;
    actor.command = (char *)change->actor.command;
    actor.method = (char *)change->actor.method;
    Ipam__V1__Change message = IPAM__V1__CHANGE__INIT;
    message.revision = change->revision;
    message.at = record_timestamp(change->at, arena);
    message.actor = &actor;
    if (change->kind == CHANGE_POOL) {
        struct pool_view view = {.record = change->pool};
        message.entity_case = IPAM__V1__CHANGE__ENTITY_POOL;
        message.pool = record_pool_message(&view, arena);
        message.pool->counts = message.pool->ipv4 = message.pool->ipv6 = NULL;
    } else {
        struct claim_view view = {.record = change->claim};
        message.entity_case = IPAM__V1__CHANGE__ENTITY_CLAIM;
        message.claim = record_claim_message(&view, arena);
        add_boot(change->claim.cooling, message.claim->cooling);
    }
    assert_packs_to(&message, record, size);
}

/* ---- Tests ------------------------------------------------------------------------------------ */

static void record_comes_back_whole(void **state)
{
    (void)state;
    struct arena arena;
    arena_init(&arena);
    for (int i = 0; i < ROUNDS; i++, arena_reset(&arena)) {
        struct change change = random_change(&arena), back;
        struct ipam_error error = {0};
        size_t size;
        uint8_t *record = record_encode(&change, &arena, &size);
        if (record_decode(record, size, &arena, &back, &error) < 0)
            fail_msg("%s", error.message);
        assert_change_equal(&change, &back);
    }
    arena_done(&arena);
}

static void record_is_what_protobuf_writes(void **state)
{
    (void)state;
    struct arena arena;
    arena_init(&arena);
    for (int i = 0; i < ROUNDS; i++, arena_reset(&arena)) {
        struct change change = random_change(&arena);
        size_t size;
        uint8_t *record = record_encode(&change, &arena, &size);
        ProtobufCAllocator allocator = record_allocator(&arena);
        Ipam__V1__Change *message = ipam__v1__change__unpack(&allocator, size, record);
        assert_non_null(message);
        assert_packs_to(message, record, size);
        assert_message_packs_to(&change, &arena, record, size);
    }
    arena_done(&arena);
}

static void record_is_all_but_the_last_34_bytes_of_the_change(void **state)
{
    (void)state;
    struct arena arena;
    arena_init(&arena);
    for (int i = 0; i < ROUNDS / 10; i++, arena_reset(&arena)) {
        struct change change = random_change(&arena);
        uint8_t hash[32];
        memset(hash, i, sizeof(hash));
        size_t size;
        uint8_t *record = record_encode(&change, &arena, &size);
        uint8_t *whole = arena_alloc(&arena, size + 34);
        memcpy(whole, record, size);
        memcpy(whole + size, "\x7a\x20", 2);
        memcpy(whole + size + 2, hash, sizeof(hash));
        ProtobufCAllocator allocator = record_allocator(&arena);
        Ipam__V1__Change *message = ipam__v1__change__unpack(&allocator, size, record);
        message->hash = (ProtobufCBinaryData){sizeof(hash), hash};
        assert_packs_to(message, whole, size + 34);
    }
    arena_done(&arena);
}

static void record_cut_or_lengthened_is_refused(void **state)
{
    (void)state;
    struct arena arena;
    arena_init(&arena);
    for (int i = 0; i < 200; i++, arena_reset(&arena)) {
        struct change change = random_change(&arena), back;
        size_t size;
        uint8_t *record = record_encode(&change, &arena, &size);
        struct ipam_error error = {0};
        uint8_t *longer = arena_alloc(&arena, size + 2);
        memcpy(longer, record, size);
        memcpy(longer + size, "\x30\x01", 2); /* field 6, unknown */
        assert_int_equal(record_decode(longer, size + 2, &arena, &back, &error), -1);
        assert_int_equal(error.reason, IPAM_REASON_STORE_DAMAGED);
        size_t entity_at_least = 12; /* a cut before the entity ends is always seen */
        for (size_t cut = 0; cut < size && cut < entity_at_least; cut++)
            assert_int_equal(record_decode(record, cut, &arena, &back, &error), -1);
        assert_int_equal(record_decode(record, size - 1, &arena, &back, &error), -1);
    }
    arena_done(&arena);
}

/* Under AddressSanitizer this reads nowhere else. */
static void record_of_garbage_is_refused_or_read_safely(void **state)
{
    (void)state;
    struct arena arena;
    arena_init(&arena);
    for (int i = 0; i < ROUNDS; i++, arena_reset(&arena)) {
        struct change change = random_change(&arena), back;
        size_t size;
        uint8_t *record = record_encode(&change, &arena, &size);
        uint8_t *copy = malloc(size);
        memcpy(copy, record, size);
        for (uint64_t n = 1 + below(4); n-- > 0;)
            copy[below(size)] ^= (uint8_t)(1u << below(8));
        record_decode(copy, size, &arena, &back, NULL);
        free(copy);
    }
    arena_done(&arena);
}

static void record_with_embedded_nul_is_refused(void **state)
{
    (void)state;
    static const char before[] = "vip-a-b";
    struct arena arena;
    arena_init(&arena);
    struct change change = {.revision = 7, .actor = {0, "", ""}, .kind = CHANGE_CLAIM}, back;
    random_claim(&arena, &change.claim);
    change.claim.owner.name = before;
    size_t size;
    uint8_t *record = record_encode(&change, &arena, &size);
    assert_int_equal(record_decode(record, size, &arena, &back, NULL), 0);
    uint8_t *at = memmem(record, size, before, strlen(before));
    at[3] = '\0';
    assert_int_equal(record_decode(record, size, &arena, &back, NULL), -1);
    arena_done(&arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(record_comes_back_whole),
        cmocka_unit_test(record_is_what_protobuf_writes),
        cmocka_unit_test(record_is_all_but_the_last_34_bytes_of_the_change),
        cmocka_unit_test(record_cut_or_lengthened_is_refused),
        cmocka_unit_test(record_of_garbage_is_refused_or_read_safely),
        cmocka_unit_test(record_with_embedded_nul_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
