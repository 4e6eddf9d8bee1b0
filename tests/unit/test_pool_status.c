/* The status of a ProxyIPPool, to the letter of the reference page; short whatever the pool's size; nothing written twice. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "status_fixture.h"

#define EXTRAS \
    "capacity,cooling,excluded,orphaned,waiting,allocationsTruncated," /* that NovaEdge's definition prunes */

/* ---- Helpers ------------------------------------------------------------------------------------------------------- */

/* A pool of one CIDR in state READY. */
struct pool_parts {
    Ipam__V1__Pool pool;
    Ipam__V1__PoolSpec spec;
    Ipam__V1__PoolCounts counts, ipv4;
    char *cidrs[1], *excluded[1];
};

static void make_pool(struct pool_parts *parts, const char *name, const char *cidr, uint64_t allocated,
                      uint64_t available)
{
    ipam__v1__pool__init(&parts->pool);
    ipam__v1__pool_spec__init(&parts->spec);
    ipam__v1__pool_counts__init(&parts->counts);
    parts->pool.spec = &parts->spec;
    parts->pool.counts = &parts->counts;
    parts->pool.state = IPAM__V1__POOL_STATE__READY;
    parts->spec.name = (char *)(uintptr_t)name;
    parts->spec.generation = 1;
    parts->cidrs[0] = (char *)(uintptr_t)cidr;
    parts->spec.cidrs = parts->cidrs;
    parts->spec.n_cidrs = 1;
    parts->counts.allocated = allocated;
    parts->counts.available = available;
    parts->counts.capacity = allocated + available;
}

/* Brings the object up to date and returns how many events that gave; -1: nothing was to be written. */
static int write_pool(struct fixture *fixture, json_t *object, const struct pool_parts *parts, const char *pruned)
{
    struct status_update update;
    struct ranges ranges;
    ranges_init(&ranges, parts->pool.spec);
    pool_status(object, &parts->pool, &ranges, fixture->claims, NOW, &fixture->arena, &update);
    int events = update.status ? (int)update.n_events : -1;
    if (update.status)
        merge(object, update.status, pruned);
    status_update_done(&update);
    ranges_done(&ranges);
    return events;
}

/* Of one write on an empty status. */
static json_t *written(struct fixture *fixture, const struct pool_parts *parts)
{
    json_t *object = object_of(parts->pool.spec->name, NULL, NULL);
    assert_true(write_pool(fixture, object, parts, NULL) >= 0);
    assert_int_equal(write_pool(fixture, object, parts, NULL), -1);
    return object;
}

static void assert_condition(const json_t *object, const char *type, const char *status, const char *reason,
                             const char *message)
{
    const json_t *condition = status_condition(status_get(object, "status", "conditions"), type);
    assert_string_equal(json_string_value(json_object_get(condition, "status")), status);
    assert_string_equal(json_string_value(json_object_get(condition, "reason")), reason);
    assert_string_equal(message_of(object, type), message);
}

/* ---- Tests --------------------------------------------------------------------------------------------------------- */

static void ready_pool_reads_as_on_the_reference_page(void **state)
{
    struct pool_parts parts;
    give(*state, "grpc-vip", "", "main-vip-pool", "10.200.0.3/32");
    give(*state, "web-vip", "", "main-vip-pool", "10.200.0.1/32");
    give(*state, "Manual/router", "", "", "10.200.0.2/32");
    give(*state, "elsewhere", "", "", "10.201.0.2/32");
    make_pool(&parts, "main-vip-pool", "10.200.0.0/24", 3, 251);
    json_t *object = written(*state, &parts);
    assert_status(
        object,
        "{'capacity': 254, 'allocated': 3, 'available': 251, 'cooling': 0, 'excluded': 0, 'orphaned': 0, 'waiting': 0, "
        "'allocations': [{'address': '10.200.0.1/32', 'vipRef': 'web-vip', 'allocatedAt': '2024-01-15T10:30:00Z'}, "
        "{'address': '10.200.0.2/32', 'vipRef': 'Manual/router', 'allocatedAt': '2024-01-15T10:30:00Z'}, "
        "{'address': '10.200.0.3/32', 'vipRef': 'grpc-vip', 'allocatedAt': '2024-01-15T10:30:00Z'}], "
        "'observedGeneration': 1, 'conditions': [{'type': 'Ready', 'status': 'True', 'reason': 'PoolReady', 'message': "
        "'Pool "
        "has 251 available addresses', 'lastTransitionTime': '2024-01-15T10:30:00Z', 'observedGeneration': 1}, "
        "{'type': "
        "'Exhausted', 'status': 'False', 'reason': 'AddressesAvailable', 'message': 'Pool has free addresses', "
        "'lastTransitionTime': '2024-01-15T10:30:00Z', 'observedGeneration': 1}]}");
    json_decref(object);
}

static void allocations_are_in_numeric_order(void **state)
{
    struct pool_parts parts;
    static const char *const addresses[] = {"10.0.0.10/32", "10.0.0.9/32", "10.0.0.100/32"};
    static const char *const names[] = {"a", "b", "c"};
    for (int i = 0; i < 3; i++)
        give(*state, names[i], "", "p", addresses[i]);
    make_pool(&parts, "p", "10.0.0.0/24", 3, 251);
    json_t *object = written(*state, &parts);
    const json_t *list = status_get(object, "status", "allocations");
    assert_string_equal(json_string_value(json_object_get(json_array_get(list, 0), "address")), "10.0.0.9/32");
    assert_string_equal(json_string_value(json_object_get(json_array_get(list, 2), "address")), "10.0.0.100/32");
    json_decref(object);
}

static void one_address_is_not_addresses(void **state)
{
    struct pool_parts parts;
    make_pool(&parts, "p", "10.0.0.0/30", 1, 1);
    json_t *object = written(*state, &parts);
    assert_string_equal(message_of(object, "Ready"), "Pool has 1 available address");
    json_decref(object);
}

static void exhausted_pool_says_so_and_what_to_do(void **state)
{
    struct pool_parts parts;
    make_pool(&parts, "p", "10.0.0.0/30", 2, 0);
    json_t *object = written(*state, &parts);
    assert_condition(
        object, "Exhausted", "True", "PoolExhausted",
        "Pool has no free address (2 of 2 allocated, 0 cooling); delete VIPs that are no longer needed, or add "
        "addresses to the pool");
    assert_condition(object, "Ready", "True", "PoolReady", "Pool has 0 available addresses");
    json_decref(object);
}

static void pool_without_free_addresses_of_one_family_says_which(void **state)
{
    struct pool_parts parts;
    make_pool(&parts, "p", "10.0.0.0/30", 2, 100);
    ipam__v1__pool_counts__init(&parts.ipv4);
    parts.ipv4.capacity = parts.ipv4.allocated = 2;
    parts.pool.ipv4 = &parts.ipv4;
    json_t *object = written(*state, &parts);
    assert_condition(
        object, "Exhausted", "True", "PoolExhausted",
        "Pool has no free ipv4 address (2 of 2 allocated, 0 cooling); delete VIPs that are no longer needed, or "
        "add addresses to the pool");
    json_decref(object);
}

static void rejected_pool_has_the_reason_and_lists_nobody_elses_claims(void **state)
{
    struct pool_parts parts;
    give(*state, "a", "", "other", "10.0.0.1/32");
    make_pool(&parts, "p", "10.0.0.0/30", 0, 0);
    parts.pool.state = IPAM__V1__POOL_STATE__REJECTED;
    parts.pool.reason = (char *)(uintptr_t) "POOL_OVERLAP";
    parts.pool.message =
        (char *)(uintptr_t) "pool overlaps: p and other both have 10.0.0.1-10.0.0.2; take it out of one";
    parts.pool.rejected_spec = &parts.spec;
    json_t *object = written(*state, &parts);
    assert_condition(object, "Ready", "False", "PoolOverlap", parts.pool.message);
    assert_condition(object, "Exhausted", "Unknown", "PoolNotReady", "Pool has no addresses to give yet");
    assert_null(status_get(object, "status", "allocations")); /* as in an empty list */
    json_decref(object);
}

static void rejected_edit_says_what_stays_in_force(void **state)
{
    struct pool_parts parts;
    Ipam__V1__PoolSpec rejected = IPAM__V1__POOL_SPEC__INIT;
    make_pool(&parts, "p", "10.0.0.0/24", 0, 254);
    rejected.generation = 2;
    parts.pool.state = IPAM__V1__POOL_STATE__REJECTED;
    parts.pool.reason = (char *)(uintptr_t) "INVALID_POOL_SPEC";
    parts.pool.message = (char *)(uintptr_t) "invalid pool spec: x";
    parts.pool.rejected_spec = &rejected;
    json_t *object = written(*state, &parts);
    assert_condition(object, "Ready", "False", "InvalidPoolSpec",
                     "invalid pool spec: x; write the field as the message shows. Until then the specification before "
                     "stays in force, with 254 available addresses");
    assert_int_equal(json_integer_value(status_get(object, "status", "observedGeneration")), 2);
    json_decref(object);
}

static void draining_pool_is_terminating(void **state)
{
    struct pool_parts parts;
    make_pool(&parts, "p", "10.0.0.0/24", 2, 252);
    parts.pool.state = IPAM__V1__POOL_STATE__DRAINING;
    json_t *object = written(*state, &parts);
    assert_condition(
        object, "Ready", "False", "Terminating",
        "Pool is being deleted: it gives no new address and goes with its last claim (2 left); delete the VIPs, or "
        "name another pool in their spec.poolRef");
    json_decref(object);
}

static void orphans_are_named_and_not_listed(void **state)
{
    struct pool_parts parts;
    give(*state, "web-vip", "", "p", "10.0.0.77/32");
    give(*state, "api-vip", "", "p", "10.0.0.2/32");
    give(*state, "ok-vip", "", "p", "10.0.0.1/32");
    make_pool(&parts, "p", "10.0.0.0/28", 1, 12);
    parts.excluded[0] = (char *)(uintptr_t) "10.0.0.2";
    parts.spec.excluded = parts.excluded;
    parts.spec.n_excluded = 1;
    parts.counts.orphaned = 2;
    json_t *object = written(*state, &parts);
    assert_string_equal(
        message_of(object, "Ready"),
        "Pool has 12 available addresses; 2 claims keep addresses that the pool no longer has: 10.0.0.2/32 "
        "(api-vip), 10.0.0.77/32 (web-vip)");
    assert_int_equal(json_array_size(status_get(object, "status", "allocations")), 1);
    json_decref(object);
}

static void paused_and_clipped_pools_say_so(void **state)
{
    struct pool_parts parts;
    make_pool(&parts, "p", "10.0.0.0/24", 0, 254);
    parts.spec.paused = true;
    parts.pool.message =
        (char *)(uintptr_t) "10.0.0.0/8 serves its first 65536 usable addresses only; split it to use more";
    json_t *object = written(*state, &parts);
    assert_string_equal(
        message_of(object, "Ready"),
        "Pool has 254 available addresses; it is paused and chooses no address by itself; 10.0.0.0/8 serves "
        "its first 65536 usable addresses only; split it to use more");
    json_decref(object);
}

static void addresses_behind_large_exclusions_are_listed(void **state)
{
    struct pool_parts parts;
    give(*state, "web-vip", "", "p", "10.1.0.5/32");
    give(*state, "other", "", "q", "10.2.0.0/32"); /* past what the pool has */
    make_pool(&parts, "p", "10.0.0.0/8", 1, 65535);
    parts.excluded[0] = (char *)(uintptr_t) "10.0.0.0/16";
    parts.spec.excluded = parts.excluded;
    parts.spec.n_excluded = 1;
    json_t *object = written(*state, &parts);
    const json_t *list = status_get(object, "status", "allocations");
    assert_int_equal(json_array_size(list), 1);
    assert_string_equal(json_string_value(json_object_get(json_array_get(list, 0), "address")), "10.1.0.5/32");
    json_decref(object);
}

static void counts_fit_the_definition(void **state)
{
    static const uint64_t large[] = {INT64_MAX, UINT64_C(1) << 63, UINT64_MAX};
    struct pool_parts parts;
    make_pool(&parts, "p", "2001:db8::/64", 0, 65536);
    for (size_t i = 0; i < sizeof(large) / sizeof(*large); i++) {
        parts.counts.excluded = large[i];
        json_t *object = written(*state, &parts);
        assert_true(json_integer_value(status_get(object, "status", "excluded")) == INT64_MAX);
        json_decref(object);
    }
}

static void long_lists_are_cut_by_number_and_by_size(void **state)
{
    struct pool_parts parts;
    char address[32], name[300];
    for (int length = 8; length <= 250; length += 242) {
        for (int i = 1; i <= 1001; i++) {
            snprintf(address, sizeof(address), "10.0.%d.%d/32", i / 256, i % 256);
            snprintf(name, sizeof(name), "%0*d", length, i);
            give(*state, name, "", "p", address);
        }
        make_pool(&parts, "p", "10.0.0.0/16", 1001, 64533);
        json_t *object = written(*state, &parts);
        char *text = json_dumps(json_object_get(object, "status"), JSON_COMPACT);
        assert_true(strlen(text) < (size_t)200 * 1024);
        assert_true(json_is_true(status_get(object, "status", "allocationsTruncated")));
        size_t n = json_array_size(status_get(object, "status", "allocations"));
        assert_true(length == 8 ? n == 1000 : n > 400 && n < 1000);
        free(text);
        if (length == 8) { /* a list that fits again is not called cut */
            for (int i = 1; i <= 1001; i++) {
                snprintf(name, sizeof(name), "%0*d", length, i);
                give_back(*state, name, IPAM_IPV4);
            }
            write_pool(*state, object, &parts, NULL);
            assert_null(status_get(object, "status", "allocationsTruncated"));
        }
        json_decref(object);
    }
}

static void pool_of_an_earlier_object_or_a_removed_one_is_not_written(void **state)
{
    struct pool_parts parts;
    json_t *object = object_of("p", NULL, NULL);
    make_pool(&parts, "p", "10.0.0.0/24", 0, 254);
    parts.spec.uid = (char *)(uintptr_t) "u-old";
    assert_int_equal(write_pool(*state, object, &parts, NULL), -1);
    parts.spec.uid = (char *)(uintptr_t) "u-p";
    parts.pool.state = IPAM__V1__POOL_STATE__REMOVED;
    assert_int_equal(write_pool(*state, object, &parts, NULL), -1);
    parts.pool.state = IPAM__V1__POOL_STATE__READY;
    parts.pool.spec = NULL;
    assert_int_equal(write_pool(*state, object, &parts, NULL), -1);
    json_decref(object);
}

static void events_come_with_turns_only(void **state)
{
    struct pool_parts parts;
    make_pool(&parts, "p", "10.0.0.0/30", 1, 1);
    json_t *object = object_of("p", NULL, NULL);
    assert_int_equal(write_pool(*state, object, &parts, NULL), 1); /* PoolReady */
    parts.counts.waiting = 1;
    assert_int_equal(write_pool(*state, object, &parts, NULL), 0);
    parts.counts.allocated = 2;
    parts.counts.available = 0;
    assert_int_equal(write_pool(*state, object, &parts, NULL), 1); /* PoolExhausted */
    parts.counts.allocated = 1;
    parts.counts.available = 1;
    assert_int_equal(write_pool(*state, object, &parts, NULL), 1); /* AddressesAvailable */
    json_decref(object);
}

/* The patch that is left after a write is what the server does not keep, and is the same one again. */
static void what_the_server_prunes_is_the_residue(void **state)
{
    struct pool_parts parts;
    struct status_update update;
    struct ranges ranges;
    struct fixture *fixture = *state;
    json_t *object = object_of("p", NULL, NULL);
    make_pool(&parts, "p", "10.0.0.0/24", 0, 254);
    ranges_init(&ranges, &parts.spec);
    pool_status(object, &parts.pool, &ranges, fixture->claims, NOW, &fixture->arena, &update);
    merge(object, update.status, EXTRAS);
    json_t *residue = status_residue(update.status, object);
    status_update_done(&update);
    pool_status(object, &parts.pool, &ranges, fixture->claims, NOW, &fixture->arena, &update);
    assert_non_null(residue);
    assert_true(json_equal(update.status, residue));
    assert_int_equal(json_object_size(residue), 5);
    status_update_done(&update);
    json_decref(residue);
    json_decref(object);
    ranges_done(&ranges);
}

static void objects_of_any_shape_do_no_harm(void **state)
{
    static const char *const objects[] = {
        "{}", "7", "{'status': 'x'}", "{'status': {'conditions': 'x', 'allocations': 7, 'allocated': 'x'}}",
        "{'status': {'conditions': [{'type': 7}, {'type': 'Ready', 'status': {}, 'observedGeneration': 'x'}]}}"};
    struct pool_parts parts;
    make_pool(&parts, "p", "10.0.0.0/24", 0, 254);
    for (size_t i = 0; i < sizeof(objects) / sizeof(*objects); i++) {
        json_t *object = json_of(objects[i]);
        struct status_update update;
        struct ranges ranges;
        ranges_init(&ranges, &parts.spec);
        pool_status(object, &parts.pool, &ranges, ((struct fixture *)*state)->claims, NOW,
                    &((struct fixture *)*state)->arena, &update);
        assert_non_null(update.status);
        status_update_done(&update);
        ranges_done(&ranges);
        json_decref(object);
    }
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, fixture_setup, fixture_teardown)
    const struct CMUnitTest tests[] = {
        TEST(ready_pool_reads_as_on_the_reference_page),
        TEST(allocations_are_in_numeric_order),
        TEST(one_address_is_not_addresses),
        TEST(exhausted_pool_says_so_and_what_to_do),
        TEST(pool_without_free_addresses_of_one_family_says_which),
        TEST(rejected_pool_has_the_reason_and_lists_nobody_elses_claims),
        TEST(rejected_edit_says_what_stays_in_force),
        TEST(draining_pool_is_terminating),
        TEST(orphans_are_named_and_not_listed),
        TEST(paused_and_clipped_pools_say_so),
        TEST(addresses_behind_large_exclusions_are_listed),
        TEST(counts_fit_the_definition),
        TEST(long_lists_are_cut_by_number_and_by_size),
        TEST(pool_of_an_earlier_object_or_a_removed_one_is_not_written),
        TEST(events_come_with_turns_only),
        TEST(what_the_server_prunes_is_the_residue),
        TEST(objects_of_any_shape_do_no_harm),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
