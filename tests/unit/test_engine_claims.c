#include <stdlib.h>

#include "engine_fixture.h"

/* Claims: who gets which address, on which terms it is kept, how it is given back and cools. */

/* ---- Helpers ---- */

static void make_dual(const char *name, const char *ipv4, const char *ipv6)
{
    assert_int_equal(apply(name, .spec = {.cidrs = LIST(ipv4, ipv6), .auto_assign = true}), 0);
}

static void fill(const char *pool, unsigned int count)
{
    char name[16];

    for (unsigned int i = 0; i < count; i++) {
        snprintf(name, sizeof(name), "vip-%u", i);
        assert_int_equal(allocate(name, pool), 0);
    }
}

/* Claims listed in pages of 10; fails if they are not in the order of their ids. */
static unsigned int count_listed(void)
{
    struct claim_filter filter = {.pool = "", .kind = ""};
    struct claim_views page;
    uint64_t last = 0, id = 0;
    unsigned int count = 0;

    do {
        engine_claims_list(fx.engine, &filter, last, 10, 10, &fx.arena, &page, &last);
        for (size_t i = 0; i < page.count; i++, count++) {
            assert_true(page.items[i].record.id > id);
            id = page.items[i].record.id;
        }
    } while (last);
    return count;
}

/* ---- Tests: which address ---- */

static void allocate_takes_the_lowest_free_numerically(void **state)
{
    (void)state;
    make_pool("a", "10.200.0.0/24");
    fill("a", 12);
    expect_address("vip-0", "10.200.0.1");
    expect_address("vip-1", "10.200.0.2");
    expect_address("vip-9", "10.200.0.10");
    assert_int_equal(release("vip-4"), 0);
    assert_int_equal(allocate("new", "a"), 0);
    expect_address("new", "10.200.0.5");
    assert_int_equal(pool_of("a").total.allocated, 12);
    assert_int_equal(pool_of("a").total.available, 242);
}

static void ipv6_pool_gives_every_address(void **state)
{
    (void)state;
    make_pool("a", "2001:db8::/126");
    fill("a", 4);
    expect_address("vip-0", "2001:db8::");
    expect_address("vip-3", "2001:db8::3");
    expect_refused(allocate("more", "a"), POOL_EXHAUSTED, "a has no free ipv6 address (4 of 4 allocated)");
}

static void exhausted_pool_says_how_full_it_is(void **state)
{
    (void)state;
    make_pool_cooling("main-vip-pool", "10.200.0.0/24", 60);
    fill("main-vip-pool", 254);
    expect_refused(allocate("more", "main-vip-pool"), POOL_EXHAUSTED,
                   "pool exhausted: main-vip-pool has no free ipv4 address (254 of 254 allocated)");
    assert_string_equal(fx.error.details[0].key, "pool");
    assert_string_equal(fx.error.details[0].value, "main-vip-pool");
    assert_int_equal(release("vip-7"), 0);
    expect_refused(allocate("more", "main-vip-pool"), POOL_EXHAUSTED, "(253 of 254 allocated, 1 cooling)");
}

static void requested_address_is_given_or_refused(void **state)
{
    (void)state;
    make_pool("main", "10.200.0.0/24");
    assert_int_equal(allocate("web-vip", "main", .address = "10.200.0.50/32"), 0);
    expect_address("web-vip", "10.200.0.50");
    assert_string_equal(claim_of("web-vip", IPAM_IPV4).record.requested, "10.200.0.50");
    expect_refused(allocate("api", "main", .address = "10.200.0.50"), ADDRESS_IN_USE,
                   "address in use: 10.200.0.50 is held by ProxyVIP/web-vip");
    assert_string_equal(fx.error.details[2].value, "ProxyVIP/web-vip");
    expect_refused(allocate("api", "main", .address = "10.201.0.1"), ADDRESS_NOT_IN_POOL,
                   "address not in pool: 10.201.0.1 does not lie in main");
    expect_refused(allocate("api", "main", .address = "10.200.0.0"), ADDRESS_NOT_IN_POOL, "10.200.0.0");
    expect_refused(allocate("api", "main", .address = "10.200.0.050"), INVALID_ADDRESS,
                   "invalid address: \"10.200.0.050\"");
    expect_refused(allocate("api", "main", .families = FAMILY_SET_IPV4, .address = "2001:db8::1"), INVALID_ADDRESS,
                   "2001:db8::1 is an ipv6 address; write an ipv4 address");
}

static void preferred_address_is_taken_if_it_can_be_had(void **state)
{
    (void)state;
    make_pool("a", "10.0.0.0/24");
    assert_int_equal(allocate("one", "a", .preferred_address = "10.0.0.9"), 0);
    expect_address("one", "10.0.0.9");
    assert_int_equal(allocate("two", "a", .preferred_address = "10.0.0.9"), 0);
    expect_address("two", "10.0.0.1");
    assert_int_equal(allocate("three", "a", .preferred_address = "rubbish"), 0);
    expect_address("three", "10.0.0.2");
}

static void without_auto_assign_only_certain_addresses_are_given(void **state)
{
    (void)state;
    assert_int_equal(apply("a", .spec = {.addresses = LIST("203.0.113.10/32", "203.0.113.11/32")}), 0);
    expect_refused(allocate("web", "a"), AUTO_ASSIGN_DISABLED, "set autoAssign: true");
    assert_int_equal(allocate("web", "a", .address = "203.0.113.11"), 0);
    assert_int_equal(allocate("api", "a", .preferred_address = "203.0.113.10"), 0);
    expect_address("api", "203.0.113.10");
}

static void paused_pool_gives_certain_addresses_only(void **state)
{
    (void)state;
    assert_int_equal(apply("a", .spec = {.cidrs = LIST("10.0.0.0/24"), .auto_assign = true, .paused = true}), 0);
    expect_refused(allocate("web", "a"), POOL_PAUSED, "pool paused: a");
    assert_int_equal(allocate("web", "a", .address = "10.0.0.3"), 0);
}

static void unknown_pool_and_family_are_refused(void **state)
{
    (void)state;
    make_pool("a", "10.0.0.0/24");
    expect_refused(allocate("web", "b"), POOL_NOT_FOUND, "pool not found: there is no pool b");
    expect_refused(allocate("web", "B!"), INVALID_REQUEST, "\"B!\" is no pool name");
    expect_refused(allocate("web", "a", .families = FAMILY_SET_IPV6), FAMILY_NOT_IN_POOL, "a has no ipv6 addresses");
    expect_refused(allocate("web", "a", .families = 4), INVALID_REQUEST, "unknown family");
}

/* ---- Tests: families ---- */

static void unset_family_follows_address_then_pool_then_ipv4(void **state)
{
    (void)state;
    make_pool("six", "2001:db8::/120");
    make_dual("both", "10.0.0.0/24", "2001:db8:1::/120");
    assert_int_equal(allocate("one", "six"), 0);
    expect_address("one", "2001:db8::");
    assert_int_equal(allocate("two", "both"), 0);
    expect_address("two", "10.0.0.1");
    assert_int_equal(allocate("three", "both", .address = "2001:db8:1::7"), 0);
    expect_address("three", "2001:db8:1::7");
    assert_int_equal(allocate("four", "both", .address = "10.0.0.9", .ipv6_address = "2001:db8:1::9"), 0);
    assert_int_equal(fx.claims.count, 2);
}

static void texts_that_contradict_the_family_are_refused(void **state)
{
    (void)state;
    make_dual("both", "10.0.0.0/24", "2001:db8::/120");
    expect_refused(allocate("a", "both", .families = FAMILY_SET_IPV4, .ipv6_address = "2001:db8::1"), INVALID_REQUEST,
                   "only an ipv4 address is asked for");
    expect_refused(allocate("a", "both", .address = "2001:db8::2", .ipv6_address = "2001:db8::1"), INVALID_REQUEST,
                   "address and ipv6_address are both given");
}

static void dual_gets_both_or_neither(void **state)
{
    (void)state;
    make_dual("both", "10.0.0.0/24", "2001:db8::/128");
    assert_int_equal(allocate("one", "both", .families = FAMILY_SET_DUAL), 0);
    assert_int_equal(fx.claims.count, 2);
    assert_string_equal(claim_text(&fx.claims.items[0]), "10.0.0.1");
    assert_string_equal(claim_text(&fx.claims.items[1]), "2001:db8::");
    expect_refused(allocate("two", "both", .families = FAMILY_SET_DUAL), POOL_EXHAUSTED, "no free ipv6 address");
    expect_address("two", "");
    assert_int_equal(pool_of("both").ipv4.allocated, 1);
}

/* ---- Tests: terms ---- */

static void same_terms_again_are_no_change(void **state)
{
    (void)state;
    make_pool("a", "10.0.0.0/24");
    assert_int_equal(allocate("web", "a"), 0);
    assert_int_equal(allocate("web", "a"), 0);
    assert_int_equal(allocate("web", "a", .address = "10.0.0.1"), 0);
    assert_int_equal(allocate("web", "a", .preferred_address = "10.0.0.9"), 0);
    assert_int_equal(fx.changes.count, 2);
    expect_address("web", "10.0.0.1");
}

static void new_uid_is_taken_over_and_keeps_the_address(void **state)
{
    (void)state;
    make_pool("a", "10.0.0.0/24");
    assert_int_equal(allocate_as("ProxyVIP", "web", "u1", "a"), 0);
    assert_int_equal(allocate_as("ProxyVIP", "web", "u2", "a"), 0);
    assert_int_equal(fx.changes.count, 3);
    assert_string_equal(claim_of("web", IPAM_IPV4).record.owner.uid, "u2");
    assert_int_equal(claim_of("web", IPAM_IPV4).record.id, 2);
    assert_int_equal(allocate("web", "a"), 0); /* an empty one says nothing */
    assert_string_equal(claim_of("web", IPAM_IPV4).record.owner.uid, "u2");
    assert_int_equal(fx.changes.count, 3);
}

static void other_terms_are_refused_without_replace(void **state)
{
    (void)state;
    make_pool("a", "10.0.0.0/24");
    make_pool("b", "10.1.0.0/24");
    assert_int_equal(allocate("web", "a"), 0);
    expect_refused(allocate("web", "b"), CLAIM_EXISTS, "claim exists: ProxyVIP/web holds 10.0.0.1 from pool a");
    expect_refused(allocate("web", "a", .address = "10.0.0.2"), CLAIM_EXISTS, "set replace to swap it");
    expect_refused(allocate("web", "b", .enqueue = true), CLAIM_EXISTS, "");
    expect_refused(allocate("web", "", .address = "10.0.0.1"), CLAIM_EXISTS, "");
}

static void replace_swaps_in_one_batch_or_not_at_all(void **state)
{
    size_t before;

    (void)state;
    make_pool("a", "10.0.0.0/24");
    make_pool("b", "10.1.0.0/32");
    assert_int_equal(allocate("web", "a"), 0);
    assert_int_equal(allocate("web", "b", .replace = true), 0);
    expect_address("web", "10.1.0.0");
    assert_int_equal(pool_of("a").total.allocated, 0);
    assert_int_equal(allocate("api", "a"), 0);
    before = fx.changes.count;
    expect_refused(allocate("api", "b", .replace = true), POOL_EXHAUSTED, "");
    expect_refused(allocate("api", "b", .replace = true, .enqueue = true), POOL_EXHAUSTED, "");
    assert_int_equal(fx.changes.count, before);
    expect_address("api", "10.0.0.1");
}

static void replace_may_keep_the_address_in_another_pool(void **state)
{
    (void)state;
    make_pool_cooling("a", "10.0.0.0/24", 30);
    assert_int_equal(allocate("web", "", .address = "10.0.0.7"), 0);
    assert_int_equal(allocate("web", "a", .replace = true, .address = "10.0.0.7"), 0);
    expect_address("web", "10.0.0.7");
    assert_string_equal(claim_of("web", IPAM_IPV4).record.pool, "a");
    assert_int_equal(claim_of("web", IPAM_IPV4).record.id, 2); /* it cooled, and was taken up again */
}

/* ---- Tests: manual claims ---- */

static void manual_claim_keeps_pools_from_its_address(void **state)
{
    (void)state;
    make_pool("a", "10.0.0.0/29");
    assert_int_equal(allocate("inside", "", .address = "10.0.0.1"), 0);
    assert_int_equal(allocate("outside", "", .address = "10.1.0.1"), 0);
    assert_int_equal(allocate("web", "a"), 0);
    expect_address("web", "10.0.0.2");
    assert_int_equal(pool_of("a").total.allocated, 2);
    assert_int_equal(pool_of("a").claims, 1);
    make_pool("b", "10.1.0.0/29"); /* covers it later */
    assert_int_equal(pool_of("b").total.allocated, 1);
    assert_int_equal(allocate("api", "b"), 0);
    expect_address("api", "10.1.0.2");
    expect_refused(allocate("other", "", .address = "10.1.0.1"), ADDRESS_IN_USE, "ProxyVIP/outside");
    expect_refused(allocate("other", ""), INVALID_REQUEST, "neither a pool nor an ipv4 address");
    expect_refused(allocate("other", "", .families = FAMILY_SET_DUAL, .address = "10.9.0.1"), INVALID_REQUEST,
                   "ipv6 address");
}

/* ---- Tests: release and cooling ---- */

static void release_makes_the_address_available_again(void **state)
{
    (void)state;
    make_pool("a", "10.0.0.0/29");
    assert_int_equal(allocate("web", "a"), 0);
    assert_int_equal(release("web"), 0);
    assert_int_equal(fx.claims.count, 1);
    assert_int_equal(fx.claims.items[0].record.state, CLAIM_RELEASED);
    assert_string_equal(claim_text(&fx.claims.items[0]), "10.0.0.1");
    assert_int_equal(pool_of("a").total.available, 6);
    assert_int_equal(release("web"), 0);
    assert_int_equal(fx.claims.count, 0);
}

static void release_heeds_uid_family_and_address(void **state)
{
    (void)state;
    make_dual("both", "10.0.0.0/24", "2001:db8::/120");
    assert_int_equal(allocate_as("ProxyVIP", "web", "u1", "both", .families = FAMILY_SET_DUAL), 0);
    assert_int_equal(release("web", .uid = "u2"), 0);
    assert_int_equal(fx.claims.count, 0);
    assert_int_equal(release("web", .address = "10.0.0.2"), 0);
    assert_int_equal(fx.claims.count, 0);
    assert_int_equal(release("web", .families = FAMILY_SET_IPV6, .uid = "u1"), 0);
    assert_int_equal(fx.claims.count, 1);
    expect_address("web", "10.0.0.1");
    assert_int_equal(release("", .address = "10.0.0.1/32"), 0);
    assert_int_equal(fx.claims.count, 1);
    expect_address("web", "");
}

static void release_of_nothing_named_is_refused(void **state)
{
    (void)state;
    expect_refused(release(""), INVALID_REQUEST, "neither an owner nor an address");
    expect_refused(release("", .families = FAMILY_SET_IPV4), INVALID_REQUEST, "neither an owner nor an address");
    expect_refused(release("", .address = "10.0.0"), INVALID_ADDRESS, "invalid address: \"10.0.0\"");
    expect_refused(fx_release(&(struct release_args){.kind = "ProxyVIP", .name = ""}), INVALID_OWNER,
                   "the name is empty");
    expect_refused(release("web", .families = 8), INVALID_REQUEST, "unknown family");
}

static void released_address_cools_for_the_reuse_delay(void **state)
{
    struct elapsed_time next;

    (void)state;
    make_pool_cooling("a", "10.0.0.0/24", 30);
    assert_int_equal(allocate("web", "a"), 0);
    assert_int_equal(release("web"), 0);
    assert_int_equal(fx.claims.items[0].record.state, CLAIM_COOLING);
    assert_int_equal(pool_of("a").total.cooling, 1);
    assert_int_equal(pool_of("a").total.available, 253);
    assert_int_equal(allocate("api", "a"), 0);
    expect_address("api", "10.0.0.2");
    expect_refused(allocate("other", "a", .address = "10.0.0.1"), ADDRESS_COOLING,
                   "10.0.0.1 was released by ProxyVIP/web and is kept from others until 2023-11-14T22:13:50Z");
    assert_true(engine_next_expiry(fx.engine, &next));
    assert_true(next.ns == (fx.elapsed + 30) * 1000000000);
    fx_wait(29);
    assert_int_equal(pool_of("a").total.cooling, 1);
    fx_wait(1);
    assert_int_equal(pool_of("a").total.cooling, 0);
    assert_false(engine_next_expiry(fx.engine, &next));
    assert_int_equal(allocate("other", "a", .address = "10.0.0.1"), 0);
}

static void owner_gets_its_cooling_address_back(void **state)
{
    (void)state;
    make_pool_cooling("a", "10.0.0.0/24", 30);
    assert_int_equal(allocate_as("ProxyVIP", "web", "u1", "a", .address = "10.0.0.9"), 0);
    assert_int_equal(release("web"), 0);
    assert_int_equal(allocate_as("ProxyVIP", "web", "u2", "a", .address = "10.0.0.5"), 0);
    assert_int_equal(release("web"), 0);
    fx.seconds += 5;
    assert_int_equal(allocate_as("ProxyVIP", "web", "u3", "a"), 0); /* the most recent first */
    expect_address("web", "10.0.0.5");
    assert_int_equal(claim_of("web", IPAM_IPV4).record.id, 4);
    assert_string_equal(claim_of("web", IPAM_IPV4).record.owner.uid, "u3");
    assert_string_equal(claim_of("web", IPAM_IPV4).record.requested, "");
    assert_int_equal(pool_of("a").total.cooling, 1);
    assert_int_equal(allocate("web", "a", .replace = true, .address = "10.0.0.9"), 0);
    expect_address("web", "10.0.0.9");
}

static void cooling_ends_before_a_call_is_decided(void **state)
{
    (void)state;
    make_pool_cooling("a", "10.0.0.1/32", 30);
    assert_int_equal(allocate("web", "a"), 0);
    assert_int_equal(release("web"), 0);
    fx.elapsed += 31;
    assert_int_equal(allocate("api", "a"), 0);
    expect_address("api", "10.0.0.1");
}

static void elapsed_time_that_goes_back_counts_as_the_latest(void **state)
{
    (void)state;
    make_pool_cooling("a", "10.0.0.0/24", 30);
    assert_int_equal(allocate("web", "a"), 0);
    fx.elapsed -= 500;
    assert_int_equal(release("web"), 0);
    fx.elapsed += 500;
    fx_wait(29);
    assert_int_equal(pool_of("a").total.cooling, 1);
    fx_wait(1);
    assert_int_equal(pool_of("a").total.cooling, 0);
}

/* ---- Tests: owners ---- */

static void owners_that_cant_be_are_refused(void **state)
{
    char name[ENGINE_NAME_MAX + 2];

    (void)state;
    make_pool("a", "10.0.0.0/24");
    memset(name, 'x', sizeof(name));
    name[ENGINE_NAME_MAX + 1] = '\0';
    expect_refused(allocate("", "a"), INVALID_OWNER, "the name is empty");
    expect_refused(allocate(name, "a"), INVALID_OWNER, "the name is longer than 253 bytes");
    expect_refused(allocate("a\nb", "a"), INVALID_OWNER, "not printable UTF-8");
    expect_refused(allocate("abcdefgh\177", "a"), INVALID_OWNER, "not printable UTF-8");
    expect_refused(allocate("abcdefg\177h", "a"), INVALID_OWNER, "not printable UTF-8");
    expect_refused(allocate("\xc3\x28", "a"), INVALID_OWNER, "not printable UTF-8");
    expect_refused(allocate("\xed\xa0\x80", "a"), INVALID_OWNER, "not printable UTF-8");
    expect_refused(allocate("\xc0\xaf", "a"), INVALID_OWNER, "not printable UTF-8");
    expect_refused(allocate_as("Proxy/VIP", "x", "", "a"), INVALID_OWNER, "has a slash");
    memset(name, 'u', ENGINE_UID_MAX + 1);
    name[ENGINE_UID_MAX + 1] = '\0';
    expect_refused(allocate_as("ProxyVIP", "x", name, "a"), INVALID_OWNER, "the uid is longer than 128 bytes");
    memset(name, 'x', sizeof(name));
    name[ENGINE_NAME_MAX] = '\0';
    assert_int_equal(allocate(name, "a"), 0);
    assert_int_equal(allocate("node/größe-✓", "a"), 0);
}

/* ---- Tests: listing ---- */

static void claims_are_listed_by_id_with_filters(void **state)
{
    struct ipam_addr address;
    struct claim_filter filter = {.pool = "a", .kind = ""};
    struct claim_views page;
    uint64_t last;

    (void)state;
    make_pool_cooling("a", "10.0.0.0/24", 30);
    make_pool("b", "10.1.0.0/24");
    fill("a", 5);
    assert_int_equal(allocate("other", "b"), 0);
    assert_int_equal(release("vip-1"), 0);
    engine_claims_list(fx.engine, &filter, 0, 3, 100, &fx.arena, &page, &last);
    assert_int_equal(page.count, 3);
    assert_string_equal(page.items[1].record.owner.name, "vip-2");
    engine_claims_list(fx.engine, &filter, last, 3, 100, &fx.arena, &page, &last);
    assert_int_equal(page.count, 1);
    assert_int_equal(last, 0);
    engine_claims_list(fx.engine, &filter, 0, 3, 2, &fx.arena, &page, &last);
    assert_int_equal(page.count, 1); /* one of the two looked at cools */
    assert_int_not_equal(last, 0);
    filter.state = CLAIM_COOLING;
    engine_claims_list(fx.engine, &filter, 0, 3, 100, &fx.arena, &page, &last);
    assert_int_equal(page.count, 1);
    assert_int_equal(ipam_addr_parse("10.0.0.2", &address, NULL), 0);
    engine_claims_list(fx.engine, &(struct claim_filter){.address = &address}, 0, 3, 100, &fx.arena, &page, &last);
    assert_int_equal(page.count, 1);
    assert_string_equal(page.items[0].record.owner.name, "vip-1");
}

static void claims_are_listed_in_order_while_many_go(void **state)
{
    char name[16];

    (void)state;
    make_pool("a", "10.0.0.0/22");
    fill("a", 900);
    for (unsigned int i = 0; i < 850; i++) {
        snprintf(name, sizeof(name), "vip-%u", i * 7 % 900);
        assert_int_equal(release(name), 0);
        if (i % 10)
            continue;
        assert_int_equal(allocate("dry", "a", .dry_run = true), 0);
        snprintf(name, sizeof(name), "new-%u", i);
        assert_int_equal(allocate(name, "a"), 0);
        assert_int_equal(count_listed(), 900 - i + i / 10);
    }
}

static void totals_count_by_state(void **state)
{
    struct engine_totals totals;

    (void)state;
    make_pool_cooling("a", "10.0.0.0/30", 30);
    fill("a", 2);
    assert_int_equal(allocate("waits", "a", .enqueue = true), 0);
    assert_int_equal(release("vip-0"), 0);
    engine_totals(fx.engine, &totals);
    assert_int_equal(totals.pools, 1);
    assert_int_equal(totals.bound, 1);
    assert_int_equal(totals.waiting, 1);
    assert_int_equal(totals.cooling, 1);
}

/* ---- Tests: dry runs ---- */

static void dry_run_answers_what_the_call_would(void **state)
{
    char *before, *after;

    (void)state;
    make_pool_cooling("a", "10.0.0.0/30", 30);
    assert_int_equal(allocate("web", "a"), 0);
    assert_int_equal(allocate("full", "a"), 0);
    assert_int_equal(allocate("waits", "a", .enqueue = true), 0);
    before = dump_of(fx.engine);
    fx.elapsed += 60;
    assert_int_equal(release("web", .dry_run = true), 0);
    assert_int_equal(fx.claims.items[0].record.state, CLAIM_COOLING);
    assert_string_equal(fx.claims.items[0].record.owner.name, "web");
    assert_int_equal(allocate("web", "", .address = "10.7.0.1", .replace = true, .dry_run = true), 0);
    assert_string_equal(claim_text(&fx.claims.items[0]), "10.7.0.1");
    assert_int_equal(allocate("new", "nowhere", .enqueue = true, .dry_run = true), 0);
    assert_int_equal(fx.claims.items[0].record.state, CLAIM_WAITING);
    expect_refused(allocate("new", "a", .dry_run = true), POOL_EXHAUSTED, "");
    after = dump_of(fx.engine);
    assert_string_equal(after, before);
    free(before);
    free(after);
}

/* ---- Limits ---- */

static void limit_claims(const struct claim_limit *claims, size_t count)
{
    fx.limits = (struct engine_limits){.claims = claims, .n_claims = count};
}

static void claims_of_a_kind_go_up_to_the_limit(void **state)
{
    static const struct claim_limit limits[] = {{"*", 1}, {"ProxyVIP", 2}};

    (void)state;
    limit_claims(limits, 2);
    make_pool("p", "10.0.0.0/24");
    assert_int_equal(allocate("a", "p"), 0);
    assert_int_equal(allocate("b", "p"), 0);
    expect_refused(allocate("c", "p"), LIMIT_EXCEEDED, "kind ProxyVIP have 2 claims");
    expect_refused(allocate("c", "p", .enqueue = true), LIMIT_EXCEEDED, "may have 2");
    assert_int_equal(allocate("a", "p"), 0); /* no new claim */
    assert_int_equal(allocate_as("Node", "n", "", "p"), 0);
    expect_refused(allocate_as("Node", "m", "", "p"), LIMIT_EXCEEDED, "kind Node have 1");
    assert_int_equal(allocate_as("Manual", "n", "", "p"), 0); /* each kind has the number of * */
    assert_int_equal(release("a"), 0);
    assert_int_equal(allocate("c", "p"), 0);
}

static void claims_that_wait_and_those_that_cool_count(void **state)
{
    static const struct claim_limit limits[] = {{"ProxyVIP", 2}};

    (void)state;
    limit_claims(limits, 1);
    make_pool_cooling("p", "10.0.0.1/32", 60);
    assert_int_equal(allocate("a", "p"), 0);
    assert_int_equal(allocate("waits", "p", .enqueue = true), 0);
    expect_refused(allocate("b", "p", .enqueue = true), LIMIT_EXCEEDED, "have 2 claims");
    assert_int_equal(allocate("waits", "p", .enqueue = true, .address = "10.0.0.1"), 0); /* it is counted already */
    assert_int_equal(release("a"), 0);
    expect_refused(allocate("b", "p", .enqueue = true), LIMIT_EXCEEDED, "have 2 claims"); /* one waits, one cools */
    fx_wait(60);
    expect_address("waits", "10.0.0.1");
    assert_int_equal(allocate("b", "p", .enqueue = true), 0);
}

static void dual_counts_twice_and_replace_does_not(void **state)
{
    static const struct claim_limit limits[] = {{"ProxyVIP", 2}};

    (void)state;
    assert_int_equal(apply("p", .spec = {.cidrs = LIST("10.0.0.0/24", "2001:db8::/120"), .auto_assign = true}), 0);
    limit_claims(limits, 1);
    assert_int_equal(allocate("a", "p"), 0);
    expect_refused(allocate("b", "p", .families = FAMILY_SET_DUAL), LIMIT_EXCEEDED, "have 1 claims");
    assert_int_equal(allocate("a", "p", .address = "10.0.0.9", .replace = true), 0);
    assert_int_equal(allocate("b", "p"), 0);
    assert_int_equal(allocate("b", "p", .address = "10.0.0.8", .replace = true), 0);
}

static void claims_over_a_lowered_limit_stay(void **state)
{
    static const struct claim_limit limits[] = {{"ProxyVIP", 0}};

    (void)state;
    make_pool("p", "10.0.0.0/24");
    assert_int_equal(allocate("a", "p"), 0);
    limit_claims(limits, 1);
    expect_address("a", "10.0.0.1");
    assert_int_equal(allocate("a", "p"), 0);
    expect_refused(allocate("b", "p"), LIMIT_EXCEEDED, "may have 0");
}

static void new_names_go_up_to_the_limit(void **state)
{
    (void)state;
    make_pool("there-before", "10.1.0.0/24");
    assert_int_equal(allocate("there-before", "there-before"), 0);
    fx.limits.name_max = 8;
    make_pool("12345678", "10.0.0.0/24");
    expect_refused(apply("123456789", .spec = {.cidrs = LIST("10.2.0.0/24")}), INVALID_POOL_SPEC,
                   "longer than 8 bytes");
    assert_int_equal(allocate("12345678", "12345678"), 0);
    expect_refused(allocate("123456789", "12345678"), INVALID_OWNER, "8");
    assert_int_equal(allocate_as("12345678", "x", "", "12345678"), 0);
    expect_refused(allocate_as("123456789", "x", "", "12345678"), INVALID_OWNER, "8");
    assert_int_equal(apply("there-before", .spec = {.cidrs = LIST("10.1.0.0/23"), .auto_assign = true}), 0);
    assert_int_equal(allocate("there-before", "there-before"), 0); /* what is there stays, whatever it is called */
}

/* ---- Tests: claims without a pool, and messages ---- */

#define manual(owner, at, ...) allocate(owner, "", .address = (at), __VA_ARGS__)

static void manual_claim_gets_no_address_that_a_pool_keeps(void **state)
{
    (void)state;
    assert_int_equal(apply("a", .spec = {.cidrs = LIST("10.0.0.0/24"),
                                         .excluded = LIST("10.0.0.1", "10.0.0.128/25", "192.0.2.1"),
                                         .auto_assign = true}),
                     0);
    expect_refused(manual("gateway", "10.0.0.1"), ADDRESS_EXCLUDED, "address excluded: a excludes 10.0.0.1");
    expect_refused(manual("network", "10.0.0.0"), ADDRESS_RESERVED,
                   "10.0.0.0 is the network address of 10.0.0.0/24 in pool a");
    assert_int_equal(manual("inside", "10.0.0.2"), 0);
    assert_int_equal(manual("outside", "192.0.2.1"), 0); /* excluded, but none of the pool's */
    make_pool("b", "10.0.0.192/26");                     /* whose the excluded ones are */
    assert_int_equal(manual("of-b", "10.0.0.193"), 0);
    expect_refused(manual("broadcast", "10.0.0.255"), ADDRESS_EXCLUDED, "10.0.0.255");
    assert_int_equal(apply("a", .spec = {.cidrs = LIST("10.0.0.0/24"), .excluded = LIST("10.0.0.192/26")}), 0);
    assert_int_equal(manual("gateway", "10.0.0.1"), 0);
    assert_int_equal(delete_pool("b"), 0);
    assert_int_equal(delete_pool("a"), 0);
    assert_int_equal(manual("network", "10.0.0.0"), 0);
}

static void manual_claim_that_is_there_stays(void **state)
{
    uint64_t revision;

    (void)state;
    assert_int_equal(manual("first", "10.0.0.1", .enqueue = true), 0);
    assert_int_equal(manual("second", "10.0.0.1", .enqueue = true), 0);
    assert_int_equal(waits_for("second"), IPAM_REASON_ADDRESS_IN_USE);
    assert_int_equal(apply("a", .spec = {.cidrs = LIST("10.0.0.0/24"), .excluded = LIST("10.0.0.1")}), 0);
    revision = engine_revision(fx.engine);
    assert_int_equal(waits_for("second"), IPAM_REASON_ADDRESS_EXCLUDED);
    assert_int_equal(manual("first", "10.0.0.1"), 0);
    assert_int_equal(engine_revision(fx.engine), revision);
    expect_address("first", "10.0.0.1");
    assert_int_equal(release("first"), 0);
    assert_int_equal(waits_for("second"), IPAM_REASON_ADDRESS_EXCLUDED);
    assert_int_equal(apply("a", .spec = {.cidrs = LIST("10.0.0.0/24")}), 0);
    expect_address("second", "10.0.0.1");
    assert_int_equal(manual("third", "10.0.0.0", .enqueue = true), 0);
    assert_int_equal(waits_for("third"), IPAM_REASON_ADDRESS_RESERVED);
    assert_int_equal(delete_pool("a"), 0); /* of which only the old plan tells whom to wake */
    expect_address("third", "10.0.0.0");
}

static void address_that_is_no_virtual_ip_is_refused(void **state)
{
    static const struct {
        const char *address, *what;
    } table[] = {
        {"0.0.0.0", "0.0.0.0/8 is \"this network\" (RFC 791)"},
        {"0.1.2.3", "0.0.0.0/8"},
        {"127.0.0.1", "127.0.0.0/8 is loopback (RFC 1122)"},
        {"224.0.0.1", "224.0.0.0/4 is multicast (RFC 5771)"},
        {"239.255.255.255", "224.0.0.0/4"},
        {"255.255.255.255", "limited broadcast (RFC 919)"},
        {"::", ":: is the unspecified address (RFC 4291)"},
        {"::1", "::1 is loopback (RFC 4291)"},
        {"ff02::1", "ff00::/8 is multicast (RFC 4291)"},
    };
    static const char *const taken[] = {"1.0.0.0",         "126.255.255.255", "128.0.0.0",       "169.254.169.254",
                                        "223.255.255.255", "240.0.0.0",       "255.255.255.254", "::2",
                                        "fe80::1",         "feff::1"};
    char name[16];

    (void)state;
    for (size_t i = 0; i < sizeof(table) / sizeof(*table); i++)
        expect_refused(manual("web", table[i].address), ADDRESS_RESERVED, table[i].what);
    expect_refused(manual("web", "::ffff:10.0.0.1"), INVALID_ADDRESS, "write 10.0.0.1");
    for (size_t i = 0; i < sizeof(taken) / sizeof(*taken); i++) {
        snprintf(name, sizeof(name), "vip-%zu", i);
        assert_int_equal(manual(name, taken[i]), 0);
    }
}

static void manual_claims_lie_where_they_are_permitted(void **state)
{
    const struct ipam_range range = {{.family = IPAM_IPV4, .lo = 0x0a000000}, {.family = IPAM_IPV4, .lo = 0x0a0000ff}};
    uint64_t revision;

    (void)state;
    make_pool("a", "10.9.0.0/24");
    assert_int_equal(manual("old", "192.0.2.1"), 0);
    assert_int_equal(manual("waits", "192.0.2.1", .enqueue = true), 0);
    fx.limits = (struct engine_limits){
        .manual_bounded = true, .manual = &range, .n_manual = 1, .manual_text = "10.0.0.0-10.0.0.255"};
    expect_refused(manual("new", "192.0.2.2"), ADDRESS_NOT_PERMITTED,
                   "192.0.2.2 is not in 10.0.0.0-10.0.0.255, where claims without a pool may lie");
    expect_refused(manual("new", "2001:db8::1"), ADDRESS_NOT_PERMITTED, "2001:db8::1 is not in");
    expect_refused(manual("new", "192.0.2.2", .enqueue = true), ADDRESS_NOT_PERMITTED, "192.0.2.2");
    expect_refused(allocate("new", "", .families = FAMILY_SET_DUAL, .address = "10.0.0.0x",
                            .ipv6_address = "2001:db8::1", .enqueue = true),
                   ADDRESS_NOT_PERMITTED, "2001:db8::1");
    expect_refused(manual("old", "192.0.2.2", .replace = true), ADDRESS_NOT_PERMITTED, "192.0.2.2");
    expect_address("old", "192.0.2.1");
    assert_int_equal(manual("new", "10.0.0.0"), 0);
    assert_int_equal(manual("end", "10.0.0.255"), 0);
    assert_int_equal(allocate("pooled", "a"), 0);
    revision = engine_revision(fx.engine);
    assert_int_equal(manual("old", "192.0.2.1"), 0); /* they are there */
    assert_int_equal(manual("waits", "192.0.2.1", .enqueue = true), 0);
    assert_int_equal(engine_revision(fx.engine), revision);
    assert_int_equal(release("old"), 0);
    expect_address("waits", "192.0.2.1");
    fx.limits.n_manual = 0;
    expect_refused(manual("none", "10.0.0.9"), ADDRESS_NOT_PERMITTED, "may lie nowhere; name a pool");
}

static void family_of_a_pool_without_addresses_is_that_of_its_ranges(void **state)
{
    (void)state;
    assert_int_equal(
        apply("six", .spec = {.cidrs = LIST("2001:db8::/120"), .excluded = LIST("::/0"), .auto_assign = true}), 0);
    expect_refused(allocate("web", "six"), FAMILY_NOT_IN_POOL, "six has no ipv6 addresses left, it excludes them all");
    assert_int_equal(apply("both", .spec = {.cidrs = LIST("10.0.0.0/24", "2001:db8:1::/120"),
                                            .excluded = LIST("10.0.0.0/24"),
                                            .auto_assign = true}),
                     0);
    assert_int_equal(allocate("web", "both"), 0);
    expect_address("web", "2001:db8:1::");
    expect_refused(allocate("four", "both", .families = FAMILY_SET_IPV4), FAMILY_NOT_IN_POOL,
                   "both has no ipv4 addresses");
}

static void refusal_says_why_an_address_is_not_the_pools(void **state)
{
    (void)state;
    assert_int_equal(apply("a", .spec = {.cidrs = LIST("10.0.0.0/24", "10.16.0.0/12"), .addresses = LIST("10.0.0.0")}),
                     0);
    assert_int_equal(allocate("web", "a", .address = "10.0.0.0"), 0); /* the network address, but also an entry */
    expect_refused(allocate("x", "a", .address = "10.0.0.255"), ADDRESS_NOT_IN_POOL,
                   "10.0.0.255 is the broadcast address of 10.0.0.0/24, so a does not give it");
    expect_refused(allocate("x", "a", .address = "10.16.0.0"), ADDRESS_NOT_IN_POOL,
                   "10.16.0.0 is the network address of 10.16.0.0/12");
    expect_refused(allocate("x", "a", .address = "10.17.0.1"), ADDRESS_NOT_IN_POOL,
                   "10.17.0.1 lies past the first 65536 usable addresses of 10.16.0.0/12");
    expect_refused(allocate("x", "a", .address = "10.1.0.1"), ADDRESS_NOT_IN_POOL, "10.1.0.1 does not lie in a;");
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, engine_setup, engine_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(allocate_takes_the_lowest_free_numerically),
        TEST(ipv6_pool_gives_every_address),
        TEST(exhausted_pool_says_how_full_it_is),
        TEST(requested_address_is_given_or_refused),
        TEST(preferred_address_is_taken_if_it_can_be_had),
        TEST(without_auto_assign_only_certain_addresses_are_given),
        TEST(paused_pool_gives_certain_addresses_only),
        TEST(unknown_pool_and_family_are_refused),
        TEST(unset_family_follows_address_then_pool_then_ipv4),
        TEST(texts_that_contradict_the_family_are_refused),
        TEST(dual_gets_both_or_neither),
        TEST(same_terms_again_are_no_change),
        TEST(new_uid_is_taken_over_and_keeps_the_address),
        TEST(other_terms_are_refused_without_replace),
        TEST(replace_swaps_in_one_batch_or_not_at_all),
        TEST(replace_may_keep_the_address_in_another_pool),
        TEST(manual_claim_keeps_pools_from_its_address),
        TEST(release_makes_the_address_available_again),
        TEST(release_heeds_uid_family_and_address),
        TEST(release_of_nothing_named_is_refused),
        TEST(released_address_cools_for_the_reuse_delay),
        TEST(owner_gets_its_cooling_address_back),
        TEST(cooling_ends_before_a_call_is_decided),
        TEST(elapsed_time_that_goes_back_counts_as_the_latest),
        TEST(owners_that_cant_be_are_refused),
        TEST(claims_are_listed_by_id_with_filters),
        TEST(claims_are_listed_in_order_while_many_go),
        TEST(totals_count_by_state),
        TEST(dry_run_answers_what_the_call_would),
        TEST(claims_of_a_kind_go_up_to_the_limit),
        TEST(claims_that_wait_and_those_that_cool_count),
        TEST(dual_counts_twice_and_replace_does_not),
        TEST(claims_over_a_lowered_limit_stay),
        TEST(new_names_go_up_to_the_limit),
        TEST(manual_claim_gets_no_address_that_a_pool_keeps),
        TEST(manual_claim_that_is_there_stays),
        TEST(address_that_is_no_virtual_ip_is_refused),
        TEST(manual_claims_lie_where_they_are_permitted),
        TEST(family_of_a_pool_without_addresses_is_that_of_its_ranges),
        TEST(refusal_says_why_an_address_is_not_the_pools),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
