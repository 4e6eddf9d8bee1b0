#include <stdlib.h>

#include "engine_fixture.h"

/* The queue: who waits, for what, and what wakes whom; and records that can't be replayed. */

/* ---- Helpers ---- */

#define expect_waits(owner, reason_name) assert_string_equal(ipam_reason_name(waits_for(owner)), #reason_name)

static uint64_t position_of(const char *name)
{
    return claim_of(name, waits_for(name) ? IPAM_IPV4 : IPAM_FAMILY_NONE).queue_position;
}

/* A pool of one address, which `holder` has. */
static void make_full(const char *pool, const char *cidr)
{
    make_pool(pool, cidr);
    assert_int_equal(allocate("holder", pool), 0);
}

static void enqueue(const char *owner, const char *pool)
{
    assert_int_equal(allocate(owner, pool, .enqueue = true), 0);
    assert_int_equal(fx.claims.items[0].record.state, CLAIM_WAITING);
}

/* ---- Tests: first come, first served ---- */

static void release_serves_the_longest_waiting(void **state)
{
    (void)state;
    make_full("a", "10.0.0.1/32");
    enqueue("first", "a");
    enqueue("second", "a");
    enqueue("third", "a");
    expect_waits("first", POOL_EXHAUSTED);
    assert_int_equal(position_of("first"), 1);
    assert_int_equal(position_of("third"), 3);
    assert_int_equal(pool_of("a").total.waiting, 3);
    assert_int_equal(release("second"), 0);
    assert_int_equal(position_of("third"), 2);
    assert_int_equal(release("holder"), 0);
    expect_address("first", "10.0.0.1");
    assert_int_equal(position_of("third"), 1);
    assert_int_equal(release("first"), 0);
    expect_address("third", "10.0.0.1");
}

static void who_still_waits_for_an_address_is_told_who_has_it_now(void **state)
{
    (void)state;
    make_pool("a", "10.0.0.0/24");
    assert_int_equal(allocate("holder", "a", .address = "10.0.0.9"), 0);
    assert_int_equal(allocate("first", "a", .address = "10.0.0.9", .enqueue = true), 0);
    assert_int_equal(allocate("second", "a", .address = "10.0.0.9", .enqueue = true), 0);
    assert_int_equal(release("holder"), 0);
    expect_address("first", "10.0.0.9");
    assert_string_equal(claim_of("second", IPAM_IPV4).record.message,
                        "address in use: 10.0.0.9 is held by ProxyVIP/first");
}

static void release_records_only_whom_it_serves(void **state)
{
    size_t before;

    (void)state;
    make_pool("a", "10.0.0.0/24");
    assert_int_equal(allocate("holder", "a", .address = "10.0.0.9"), 0);
    for (unsigned int i = 0; i < 20; i++) {
        char name[16];

        snprintf(name, sizeof(name), "vip-%u", i);
        assert_int_equal(allocate(name, "a", .address = "10.0.0.9", .enqueue = true), 0);
    }
    before = fx.changes.count;
    assert_int_equal(release("holder"), 0);
    assert_int_equal(fx.changes.count, before + 2); /* what was released, and what was granted */
    expect_address("vip-0", "10.0.0.9");
    assert_int_equal(position_of("vip-19"), 19);
    assert_int_equal(allocate("vip-19", "a", .address = "10.0.0.9", .enqueue = true), 0);
    assert_int_equal(fx.changes.count, before + 2);
    assert_string_equal(fx.claims.items[0].record.message, "address in use: 10.0.0.9 is held by ProxyVIP/vip-0");
}

/* That the address cools now is told to whoever asks. */
static void release_into_cooling_records_nobody_who_waits(void **state)
{
    size_t before;

    (void)state;
    make_pool_cooling("a", "10.0.0.0/24", 60);
    assert_int_equal(allocate("holder", "a", .address = "10.0.0.9"), 0);
    assert_int_equal(allocate("first", "a", .address = "10.0.0.9", .enqueue = true), 0);
    assert_int_equal(allocate("second", "a", .address = "10.0.0.9", .enqueue = true), 0);
    before = fx.changes.count;
    assert_int_equal(release("holder"), 0);
    assert_int_equal(fx.changes.count, before + 1);
    assert_int_equal(waits_for("first"), IPAM_REASON_ADDRESS_COOLING);
    assert_int_equal(waits_for("second"), IPAM_REASON_ADDRESS_COOLING);
    assert_non_null(strstr(claim_of("second", IPAM_IPV4).record.message, "was released by ProxyVIP/holder"));
    assert_int_equal(position_of("second"), 2);
    fx_wait(61);
    assert_int_equal(fx.changes.count, before + 3); /* the end of the cooling, and the grant */
    expect_address("first", "10.0.0.9");
    assert_int_equal(waits_for("second"), IPAM_REASON_ADDRESS_IN_USE);
}

/* Of a preferred address likewise: one gets it, the others were never promised it. */
static void preferred_address_goes_to_the_oldest_and_wakes_no_other(void **state)
{
    size_t before;

    (void)state;
    make_full("a", "10.0.0.1/32");
    assert_int_equal(apply("a", .spec = {.cidrs = LIST("10.0.0.1/32"), .auto_assign = true, .paused = true}), 0);
    assert_int_equal(allocate("one", "a", .preferred_address = "10.0.0.1", .enqueue = true), 0);
    assert_int_equal(allocate("two", "a", .address = "10.0.0.1", .enqueue = true), 0);
    assert_int_equal(allocate("three", "a", .preferred_address = "10.0.0.1", .enqueue = true), 0);
    assert_int_equal(position_of("two"), 1);
    before = fx.changes.count;
    assert_int_equal(release("holder"), 0);
    assert_int_equal(fx.changes.count, before + 2);
    expect_address("one", "10.0.0.1");
    assert_int_equal(release("one"), 0);
    expect_address("two", "10.0.0.1");
    assert_int_equal(release("two"), 0);
    expect_address("three", "10.0.0.1");
}

/* A pair at the head that can't have its other half holds nobody up. */
static void pair_that_lacks_its_other_half_is_passed_over(void **state)
{
    (void)state;
    assert_int_equal(apply("a", .spec = {.cidrs = LIST("10.0.0.0/24", "2001:db8::/126"), .auto_assign = true}), 0);
    assert_int_equal(allocate("four", "a", .address = "10.0.0.9"), 0);
    assert_int_equal(allocate("six", "a", .address = "2001:db8::1"), 0);
    assert_int_equal(allocate("pair", "a", .families = FAMILY_SET_DUAL, .address = "10.0.0.9",
                              .ipv6_address = "2001:db8::1", .enqueue = true),
                     0);
    assert_int_equal(allocate("single", "a", .address = "10.0.0.9", .enqueue = true), 0);
    assert_int_equal(position_of("single"), 2);
    assert_int_equal(release("four"), 0);
    expect_address("single", "10.0.0.9");
    assert_int_equal(position_of("pair"), 1);
    assert_string_equal(claim_of("pair", IPAM_IPV6).record.message,
                        "address in use: 10.0.0.9 is held by ProxyVIP/single");
    assert_int_equal(release("single"), 0);
    assert_string_equal(claim_of("pair", IPAM_IPV4).record.message,
                        "address in use: 2001:db8::1 is held by ProxyVIP/six");
    assert_int_equal(release("six"), 0);
    expect_address("pair", "10.0.0.9");
}

static void same_terms_again_keep_the_place(void **state)
{
    size_t before;

    (void)state;
    make_full("a", "10.0.0.1/32");
    enqueue("first", "a");
    enqueue("second", "a");
    before = fx.changes.count;
    enqueue("first", "a");
    assert_int_equal(fx.changes.count, before);
    assert_int_equal(allocate_as("ProxyVIP", "first", "u1", "a", .enqueue = true), 0);
    assert_int_equal(fx.changes.count, before + 1);
    assert_int_equal(position_of("first"), 1);
    assert_int_equal(allocate("first", "a", .address = "10.0.0.1", .enqueue = true), 0);
    expect_waits("first", ADDRESS_IN_USE);
    enqueue("first", "a"); /* other terms, twice: at the end now */
    assert_int_equal(position_of("first"), 2);
    assert_int_equal(position_of("second"), 1);
}

static void refusal_without_enqueue_leaves_the_old_terms(void **state)
{
    (void)state;
    make_full("a", "10.0.0.1/32");
    enqueue("web", "a");
    expect_refused(allocate("web", "nowhere"), POOL_NOT_FOUND, "");
    assert_string_equal(claim_of("web", IPAM_IPV4).record.pool, "a");
    assert_int_equal(allocate("web", "", .address = "10.9.9.9"), 0); /* but what can be had is */
    expect_address("web", "10.9.9.9");
    assert_int_equal(pool_of("a").total.waiting, 0);
}

static void waiting_for_a_certain_address_holds_nobody_up(void **state)
{
    (void)state;
    make_pool("a", "10.0.0.0/30");
    assert_int_equal(allocate("one", "a"), 0);
    assert_int_equal(allocate("two", "a"), 0);
    assert_int_equal(allocate("certain", "a", .address = "10.0.0.1", .enqueue = true), 0);
    enqueue("any", "a");
    assert_int_equal(position_of("certain"), 1);
    assert_int_equal(position_of("any"), 1);
    assert_int_equal(release("two"), 0);
    expect_address("any", "10.0.0.2");
    expect_waits("certain", ADDRESS_IN_USE);
    assert_int_equal(release("one"), 0);
    expect_address("certain", "10.0.0.1");
}

static void older_claim_goes_before_a_younger_one_that_names_the_address(void **state)
{
    (void)state;
    make_full("a", "10.0.0.1/32");
    enqueue("any", "a");
    assert_int_equal(allocate("certain", "a", .address = "10.0.0.1", .enqueue = true), 0);
    assert_int_equal(release("holder"), 0);
    expect_address("any", "10.0.0.1");
    expect_waits("certain", ADDRESS_IN_USE);
}

/* ---- Tests: what wakes ---- */

static void pool_that_appears_grows_or_resumes_serves_its_queue(void **state)
{
    (void)state;
    enqueue("early", "a");
    expect_waits("early", POOL_NOT_FOUND);
    assert_int_equal(position_of("early"), 0);
    make_pool("a", "10.0.0.1/32");
    expect_address("early", "10.0.0.1");
    enqueue("grown", "a");
    assert_int_equal(apply("a", .spec = {.cidrs = LIST("10.0.0.0/30"), .auto_assign = true}), 0);
    expect_address("grown", "10.0.0.2");
    assert_int_equal(apply("a", .spec = {.cidrs = LIST("10.0.0.0/29"), .auto_assign = true, .paused = true}), 0);
    enqueue("paused", "a");
    expect_waits("paused", POOL_PAUSED);
    assert_int_equal(apply("a", .spec = {.cidrs = LIST("10.0.0.0/29"), .auto_assign = true}), 0);
    expect_address("paused", "10.0.0.3");
}

static void pool_that_is_accepted_at_last_serves_its_queue(void **state)
{
    (void)state;
    make_pool("a", "10.0.0.0/28");
    assert_int_equal(apply("b", .record_rejected = true, .spec = {.cidrs = LIST("10.0.0.0/28"), .auto_assign = true}),
                     0);
    enqueue("web", "b");
    expect_waits("web", POOL_REJECTED);
    assert_int_equal(delete_pool("a"), 0);
    expect_address("web", "10.0.0.1");
}

static void pool_that_goes_leaves_its_queue_with_a_reason(void **state)
{
    (void)state;
    make_full("a", "10.0.0.1/32");
    enqueue("web", "a");
    assert_int_equal(delete_pool("a"), 0);
    expect_waits("web", POOL_DRAINING);
    assert_int_equal(release("holder"), 0);
    expect_waits("web", POOL_NOT_FOUND);
    make_pool("a", "10.0.0.1/32");
    expect_address("web", "10.0.0.1");
}

static void cooling_that_ends_serves_the_queue(void **state)
{
    (void)state;
    make_pool_cooling("a", "10.0.0.1/32", 30);
    assert_int_equal(allocate("holder", "a"), 0);
    enqueue("any", "a");
    assert_int_equal(allocate("certain", "a", .address = "10.0.0.1", .enqueue = true), 0);
    assert_int_equal(release("holder"), 0);
    expect_waits("any", POOL_EXHAUSTED);
    expect_waits("certain", ADDRESS_COOLING);
    fx_wait(30);
    expect_address("any", "10.0.0.1");
    expect_waits("certain", ADDRESS_IN_USE);
    assert_string_equal(fx.changes.items[fx.changes.count - 1].actor.method, "");
}

static void preferred_address_that_is_freed_is_taken_though_the_pool_is_paused(void **state)
{
    (void)state;
    make_full("a", "10.0.0.1/32");
    assert_int_equal(apply("a", .spec = {.cidrs = LIST("10.0.0.1/32"), .auto_assign = true, .paused = true}), 0);
    assert_int_equal(allocate("web", "a", .preferred_address = "10.0.0.1", .enqueue = true), 0);
    expect_waits("web", POOL_PAUSED);
    assert_int_equal(release("holder"), 0);
    expect_address("web", "10.0.0.1");
}

static void what_can_never_be_granted_is_remembered(void **state)
{
    (void)state;
    make_pool("a", "10.0.0.0/30");
    assert_int_equal(allocate("bad", "a", .address = "10.0.0.999", .enqueue = true), 0);
    assert_int_equal(allocate("off", "a", .address = "10.1.0.1", .enqueue = true), 0);
    expect_waits("bad", INVALID_ADDRESS);
    expect_waits("off", ADDRESS_NOT_IN_POOL);
    assert_string_equal(claim_of("bad", IPAM_IPV4).record.requested, "10.0.0.999");
    assert_int_equal(position_of("off"), 0);
    expect_refused(allocate("ugly", "a", .address = "10.0.0.1\n", .enqueue = true), INVALID_ADDRESS, "");
    assert_int_equal(allocate("bad", "a", .enqueue = true), 0);
    expect_address("bad", "10.0.0.1");
}

static void manual_claim_waits_for_its_address(void **state)
{
    (void)state;
    assert_int_equal(allocate("one", "", .address = "192.0.2.1"), 0);
    assert_int_equal(allocate("two", "", .address = "192.0.2.1", .enqueue = true), 0);
    assert_int_equal(allocate("three", "", .address = "192.0.2.1", .enqueue = true), 0);
    assert_int_equal(position_of("three"), 2);
    assert_int_equal(release("one"), 0);
    expect_address("two", "192.0.2.1");
    assert_int_equal(position_of("three"), 1);
}

/* ---- Tests: dual ---- */

static void make_dual(const char *ipv4, const char *ipv6)
{
    assert_int_equal(apply("both", .spec = {.cidrs = LIST(ipv4, ipv6), .auto_assign = true}), 0);
}

static void dual_waits_for_both_and_holds_nobody_up(void **state)
{
    (void)state;
    make_dual("10.0.0.1/32", "2001:db8::/127");
    assert_int_equal(allocate("holder", "both"), 0);
    assert_int_equal(allocate("pair", "both", .families = FAMILY_SET_DUAL, .enqueue = true), 0);
    assert_int_equal(fx.claims.count, 2);
    assert_true(fx.claims.items[1].record.dual);
    assert_int_equal(fx.claims.items[1].queue_position, 1);
    assert_int_equal(allocate("six", "both", .families = FAMILY_SET_IPV6), 0);
    expect_address("six", "2001:db8::");
    assert_int_equal(release("holder"), 0);
    expect_address("pair", "10.0.0.1");
    assert_string_equal(claim_text(&(struct claim_view){.record = claim_of("pair", IPAM_IPV6).record}), "2001:db8::1");
}

static void pairs_and_single_claims_are_served_by_age(void **state)
{
    (void)state;
    make_dual("10.0.0.1/32", "2001:db8::/128");
    assert_int_equal(allocate("holder", "both", .families = FAMILY_SET_DUAL), 0);
    enqueue("first", "both");
    assert_int_equal(allocate("pair", "both", .families = FAMILY_SET_DUAL, .enqueue = true), 0);
    enqueue("last", "both");
    assert_int_equal(release("holder"), 0);
    expect_address("first", "10.0.0.1");
    assert_int_equal(release("first"), 0);
    expect_address("pair", "10.0.0.1");
    assert_int_equal(release("pair"), 0);
    expect_address("last", "10.0.0.1");
}

static void pools_are_served_by_age_of_their_claims(void **state)
{
    size_t count;

    (void)state;
    make_pool_cooling("a", "10.0.0.1/32", 30);
    make_pool_cooling("b", "10.1.0.1/32", 30);
    assert_int_equal(allocate("holder-a", "a"), 0);
    assert_int_equal(allocate("holder-b", "b"), 0);
    enqueue("older", "b");
    enqueue("younger", "a");
    assert_int_equal(release("holder-a"), 0);
    assert_int_equal(release("holder-b"), 0);
    fx_wait(30); /* both at once */
    count = fx.changes.count;
    assert_string_equal(fx.changes.items[count - 2].claim.owner.name, "older");
    assert_string_equal(fx.changes.items[count - 1].claim.owner.name, "younger");
}

static void claim_that_waited_keeps_its_id_and_birth(void **state)
{
    struct claim_record before, after;

    (void)state;
    make_full("a", "10.0.0.1/32");
    enqueue("web", "a");
    before = claim_of("web", IPAM_IPV4).record;
    fx.seconds += 7;
    assert_int_equal(release("holder"), 0);
    after = claim_of("web", IPAM_IPV4).record;
    assert_int_equal(after.id, before.id);
    assert_true(after.created_at.ns == before.created_at.ns);
    assert_true(after.allocated_at.ns == before.created_at.ns + 7000000000);
    assert_int_equal(after.waiting_since, 0);
    assert_string_equal(after.message, "");
}

static void dual_reason_follows_what_blocks_it(void **state)
{
    (void)state;
    make_dual("10.0.0.0/30", "2001:db8::/127");
    assert_int_equal(allocate("six", "both", .ipv6_address = "2001:db8::1"), 0);
    assert_int_equal(
        allocate("pair", "both", .families = FAMILY_SET_DUAL, .ipv6_address = "2001:db8::1", .enqueue = true), 0);
    expect_waits("pair", ADDRESS_IN_USE);
    assert_int_equal(allocate("one", "both"), 0);
    assert_int_equal(allocate("two", "both"), 0); /* the last one of IPv4 */
    expect_waits("pair", POOL_EXHAUSTED);
    assert_int_equal(release("one"), 0);
    expect_waits("pair", ADDRESS_IN_USE);
    assert_int_equal(release("six"), 0);
    expect_address("pair", "10.0.0.1");
}

static void half_of_a_pair_waits_on_alone(void **state)
{
    (void)state;
    make_dual("10.0.0.1/32", "2001:db8::/128");
    assert_int_equal(allocate("holder", "both", .families = FAMILY_SET_DUAL), 0);
    assert_int_equal(allocate("pair", "both", .families = FAMILY_SET_DUAL, .enqueue = true), 0);
    assert_int_equal(release("pair", .families = FAMILY_SET_IPV4), 0);
    assert_false(claim_of("pair", IPAM_IPV6).record.dual);
    assert_int_equal(release("holder", .families = FAMILY_SET_IPV6), 0);
    expect_address("pair", "2001:db8::");
}

static void own_cooling_address_ends_the_wait_under_its_own_id(void **state)
{
    uint64_t id;

    (void)state;
    make_pool_cooling("a", "10.0.0.1/32", 30);
    assert_int_equal(allocate("web", "a"), 0);
    id = claim_of("web", IPAM_IPV4).record.id;
    assert_int_equal(release("web"), 0);
    assert_int_equal(
        apply("a",
              .spec = {.cidrs = LIST("10.0.0.1/32"), .auto_assign = true, .reuse_delay_seconds = 30, .paused = true}),
        0);
    enqueue("web", "a");
    expect_waits("web", POOL_PAUSED);
    make_pool_cooling("a", "10.0.0.1/32", 30);
    expect_address("web", "10.0.0.1");
    assert_int_equal(claim_of("web", IPAM_IPV4).record.id, id);
}

/* ---- Tests: damaged histories ---- */

static void expect_damaged(const struct change *change)
{
    struct engine *engine = engine_new((const uint8_t *)"0123456789abcdef");

    for (size_t i = 0; i < fx.changes.count; i++)
        assert_int_equal(engine_replay(engine, &fx.changes.items[i], &fx.error), 0);
    assert_int_equal(engine_replay(engine, change, &fx.error), -1);
    assert_string_equal(ipam_reason_name(fx.error.reason), "STORE_DAMAGED");
    engine_free(engine);
}

static void records_that_contradict_the_state_are_damage(void **state)
{
    struct change claim, pool;

    (void)state;
    make_pool("a", "10.0.0.0/24");
    assert_int_equal(allocate("web", "a"), 0);
    claim = fx.changes.items[1];
    claim.revision = claim.claim.id = 3;
    expect_damaged(&claim); /* the address twice */
    claim.claim.address.lo++;
    expect_damaged(&claim); /* the owner twice */
    claim.claim.owner.name = "api";
    claim.claim.pool = "b";
    expect_damaged(&claim); /* through a pool that is not there */
    claim.claim.pool = "a";
    claim.claim.state = CLAIM_RELEASED;
    expect_damaged(&claim); /* the end of nothing */
    pool = fx.changes.items[0];
    pool.revision = pool.pool.id = 3;
    expect_damaged(&pool); /* the name twice */
    pool.pool.name = "b";
    expect_damaged(&pool); /* the addresses twice */
    pool.pool.spec.cidrs = (struct string_list)LIST("10.9.0.1/24");
    expect_damaged(&pool); /* a spec that can't be read */
}

static void long_queue_is_served_in_order(void **state)
{
    char name[16];

    (void)state;
    make_full("a", "10.0.0.1/32");
    for (unsigned int i = 0; i < 60; i++) {
        snprintf(name, sizeof(name), "vip-%u", i);
        enqueue(name, "a");
    }
    assert_int_equal(position_of("vip-59"), 60);
    assert_int_equal(apply("a", .spec = {.cidrs = LIST("10.0.0.0/26"), .auto_assign = true}), 0);
    expect_address("vip-0", "10.0.0.2");
    expect_address("vip-59", "10.0.0.61");
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, engine_setup, engine_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(release_serves_the_longest_waiting),
        TEST(who_still_waits_for_an_address_is_told_who_has_it_now),
        TEST(release_records_only_whom_it_serves),
        TEST(release_into_cooling_records_nobody_who_waits),
        TEST(preferred_address_goes_to_the_oldest_and_wakes_no_other),
        TEST(pair_that_lacks_its_other_half_is_passed_over),
        TEST(same_terms_again_keep_the_place),
        TEST(refusal_without_enqueue_leaves_the_old_terms),
        TEST(waiting_for_a_certain_address_holds_nobody_up),
        TEST(older_claim_goes_before_a_younger_one_that_names_the_address),
        TEST(pool_that_appears_grows_or_resumes_serves_its_queue),
        TEST(pool_that_is_accepted_at_last_serves_its_queue),
        TEST(pool_that_goes_leaves_its_queue_with_a_reason),
        TEST(cooling_that_ends_serves_the_queue),
        TEST(preferred_address_that_is_freed_is_taken_though_the_pool_is_paused),
        TEST(what_can_never_be_granted_is_remembered),
        TEST(manual_claim_waits_for_its_address),
        TEST(dual_waits_for_both_and_holds_nobody_up),
        TEST(pairs_and_single_claims_are_served_by_age),
        TEST(pools_are_served_by_age_of_their_claims),
        TEST(claim_that_waited_keeps_its_id_and_birth),
        TEST(dual_reason_follows_what_blocks_it),
        TEST(half_of_a_pair_waits_on_alone),
        TEST(own_cooling_address_ends_the_wait_under_its_own_id),
        TEST(records_that_contradict_the_state_are_damage),
        TEST(long_queue_is_served_in_order),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
