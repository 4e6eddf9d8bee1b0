#include <stdlib.h>

#include "engine_fixture.h"

/* Pools: what a spec means, which are refused, how they change and go. */

/* ---- Helpers ---- */

static void expect_capacity(const char *cidr, uint64_t capacity)
{
    make_pool("sized", cidr);
    assert_int_equal(pool_of("sized").total.capacity, capacity);
    assert_int_equal(pool_of("sized").total.available, capacity);
}

#define apply_cidr(pool, ...) apply(pool, .spec = {.cidrs = LIST(__VA_ARGS__), .auto_assign = true})
#define apply_recorded(pool, ...) \
    apply(pool, .record_rejected = true, .spec = {.cidrs = LIST(__VA_ARGS__), .auto_assign = true})

/* ---- Tests: what a spec means ---- */

static void capacities_are_those_of_the_reference_page(void **state)
{
    (void)state;
    expect_capacity("10.0.0.1/32", 1);
    expect_capacity("10.0.0.0/31", 2);
    expect_capacity("10.0.0.0/28", 14);
    expect_capacity("10.0.0.0/24", 254);
    expect_capacity("10.0.0.0/20", 4094);
    expect_capacity("10.0.0.0/16", 65534);
    expect_capacity("2001:db8::/120", 256);
    assert_int_equal(pool_of("sized").clipped.count, 0);
}

static void larger_cidr_serves_its_first_65536_and_says_so(void **state)
{
    (void)state;
    expect_capacity("10.0.0.0/12", 65536);
    assert_int_equal(pool_of("sized").clipped.count, 1);
    assert_string_equal(pool_of("sized").clipped.items[0], "10.0.0.0/12");
    assert_non_null(strstr(pool_of("sized").record.message, "10.0.0.0/12 serves its first 65536"));
    assert_int_equal(allocate("first", "sized"), 0);
    expect_address("first", "10.0.0.1");
    assert_int_equal(allocate("last", "sized", .address = "10.1.0.0"), 0);
    expect_refused(allocate("past", "sized", .address = "10.1.0.1"), ADDRESS_NOT_IN_POOL, "10.1.0.1");
}

#define apply_excluding(pool, cidr, ...) \
    apply(pool, .spec = {.cidrs = LIST(cidr), .excluded = LIST(__VA_ARGS__), .auto_assign = true})

static void limit_counts_what_is_left_after_exclusions(void **state)
{
    (void)state;
    assert_int_equal(apply_excluding("a", "10.0.0.0/8", "10.0.0.0/16"), 0);
    assert_int_equal(pool_of("a").total.capacity, 65536);
    assert_int_equal(pool_of("a").total.excluded, 65535); /* 10.0.0.0 is the network address */
    assert_int_equal(pool_of("a").clipped.count, 1);
    assert_int_equal(allocate("first", "a"), 0);
    expect_address("first", "10.1.0.0");
    assert_int_equal(allocate("last", "a", .address = "10.1.255.255"), 0);
    expect_refused(allocate("past", "a", .address = "10.2.0.0"), ADDRESS_NOT_IN_POOL,
                   "10.2.0.0 lies past the first 65536 usable addresses of 10.0.0.0/8, so a does not give it");
    assert_int_equal(apply_excluding("six", "fd00:9::/64", "fd00:9::/112"), 0);
    assert_int_equal(pool_of("six").ipv6.capacity, 65536);
    assert_int_equal(allocate("six", "six"), 0);
    expect_address("six", "fd00:9::1:0");
}

/* A hole after each address served, and no hole at all. */
static void limit_counts_across_many_exclusions(void **state)
{
    char(*texts)[24] = calloc(30000, sizeof(*texts));
    const char **excluded = calloc(30000, sizeof(*excluded));

    (void)state;
    for (unsigned int i = 0; i < 30000; i++) {
        snprintf(texts[i], sizeof(texts[i]), "10.%u.%u.%u", i / 32768, i / 128 % 256, i % 128 * 2);
        excluded[i] = texts[i];
    }
    assert_int_equal(
        apply("a", .spec = {.cidrs = LIST("10.0.0.0/8"), .excluded = {excluded, 30000}, .auto_assign = true}), 0);
    assert_int_equal(pool_of("a").total.capacity, 65536);
    assert_int_equal(pool_of("a").total.excluded, 29999);
    assert_int_equal(allocate("first", "a"), 0);
    expect_address("first", "10.0.0.1");
    assert_int_equal(allocate("last", "a", .address = "10.1.117.47"), 0); /* 65,536 + 29,999 after the first */
    expect_refused(allocate("past", "a", .address = "10.1.117.48"), ADDRESS_NOT_IN_POOL, "past the first 65536");
    free(texts);
    free(excluded);
}

static void entries_that_overlap_are_clipped_each_and_count_once(void **state)
{
    (void)state;
    /* The /15 has two addresses more than its first 65,536 and the /16 have between them. */
    assert_int_equal(apply_cidr("a", "10.0.0.0/15", "10.1.0.0/16"), 0);
    assert_int_equal(pool_of("a").total.capacity, 65536 + 65534);
    assert_int_equal(pool_of("a").clipped.count, 0);
    assert_string_equal(pool_of("a").record.message, "");
    assert_int_equal(apply_cidr("a", "10.0.0.0/14", "10.0.0.0/14", "10.1.0.0/16"), 0);
    assert_int_equal(pool_of("a").total.capacity, 65536 + 65534);
    assert_int_equal(pool_of("a").clipped.count, 2);
}

static void counts_of_excluded_fit_and_saturate(void **state)
{
    (void)state;
    assert_int_equal(apply_excluding("half", "2001:db8::/64", "2001:db8::/65"), 0);
    assert_true(pool_of("half").ipv6.excluded == UINT64_C(1) << 63);
    assert_true(pool_of("half").total.excluded == UINT64_C(1) << 63);
    assert_int_equal(pool_of("half").total.capacity, 65536);
    assert_int_equal(apply("all", .spec = {.cidrs = LIST("::/0", "10.0.0.0/24"), .excluded = LIST("::/0", "10.0.0.1")}),
                     0);
    assert_true(pool_of("all").ipv6.excluded == UINT64_MAX);
    assert_true(pool_of("all").total.excluded == UINT64_MAX);
    assert_int_equal(pool_of("all").ipv4.excluded, 1);
    assert_int_equal(pool_of("all").total.capacity, 253);
    assert_int_equal(pool_of("all").clipped.count, 0);
}

static void range_of_addresses_is_clipped_as_a_cidr(void **state)
{
    (void)state;
    assert_int_equal(apply("a", .spec = {.addresses = LIST("10.0.0.0-10.2.0.0")}), 0);
    assert_int_equal(pool_of("a").total.capacity, 65536);
    assert_string_equal(pool_of("a").clipped.items[0], "10.0.0.0-10.2.0.0");
}

static void mixed_pool_counts_cidrs_and_addresses_once(void **state)
{
    (void)state;
    assert_int_equal(apply("mixed-pool", .spec = {.cidrs = LIST("10.200.0.0/28", "10.200.0.0/29"),
                                                  .addresses = LIST("10.200.1.100/32", "10.200.1.200/32", "10.200.0.5"),
                                                  .auto_assign = true}),
                     0);
    assert_int_equal(pool_of("mixed-pool").total.capacity, 16);
}

static void excluded_addresses_are_never_given(void **state)
{
    (void)state;
    assert_int_equal(
        apply("a", .spec = {.cidrs = LIST("10.0.0.0/29"),
                            .excluded = LIST("10.0.0.1", "10.0.0.2-10.0.0.3", "10.0.0.3/32", "192.0.2.0/24"),
                            .auto_assign = true}),
        0);
    assert_int_equal(pool_of("a").total.capacity, 3);
    assert_int_equal(pool_of("a").total.excluded, 3);
    assert_int_equal(allocate("web", "a"), 0);
    expect_address("web", "10.0.0.4");
    expect_refused(allocate("api", "a", .address = "10.0.0.2"), ADDRESS_EXCLUDED,
                   "address excluded: a excludes 10.0.0.2");
}

static void pool_that_excludes_everything_has_none(void **state)
{
    (void)state;
    assert_int_equal(
        apply("a", .spec = {.cidrs = LIST("10.0.0.0/29"), .excluded = LIST("0.0.0.0/0"), .auto_assign = true}), 0);
    assert_int_equal(pool_of("a").total.capacity, 0);
    expect_refused(allocate("web", "a"), FAMILY_NOT_IN_POOL, "family not in pool: a has no ipv4 addresses");
}

/* ---- Tests: warnings, and addresses that are no virtual IP ---- */

static void exclusion_that_lies_in_no_range_is_warned_of(void **state)
{
    (void)state;
    assert_int_equal(apply_excluding("a", "10.0.0.0/24", "10.0.1.1", "10.0.0.1", "10.0.0.255"), 0);
    assert_string_equal(pool_of("a").record.message,
                        "Exclusion 10.0.1.1 lies in no range of the pool; correct it or take it out");
    assert_int_equal(fx.applied.pool.warnings.count, 1);
    assert_int_equal(apply_excluding("a", "10.0.0.0/8", "192.0.2.0/24", "2001:db8::1", "10.9.0.0/16"), 0);
    assert_string_equal(pool_of("a").record.message,
                        "10.0.0.0/8 serves its first 65536 usable addresses only; split it to use more. Exclusions "
                        "192.0.2.0/24 and 1 more lie in no range of the pool; correct them or take them out");
    assert_int_equal(pool_of("a").warnings.count, 2);
    assert_int_equal(apply_excluding("a", "10.0.0.0/24", "0.0.0.0/0"), 0);
    assert_string_equal(pool_of("a").record.message, "");
}

static void pool_of_addresses_that_are_no_virtual_ip_is_refused(void **state)
{
    static const char *const cidrs[] = {
        "0.0.0.0/8",          "127.0.0.0/24", "224.0.0.0/4", "239.1.1.1/32", "::/128",
        "255.255.255.255/32", "::1/128",      "::/127",      "ff02::1/128",  "ff00::/8"};

    (void)state;
    for (size_t i = 0; i < sizeof(cidrs) / sizeof(*cidrs); i++)
        expect_refused(apply_cidr("a", cidrs[i]), INVALID_POOL_SPEC, "can be a virtual IP");
    expect_refused(
        apply_cidr("a", "10.0.0.0/24", "127.0.0.0/24"), INVALID_POOL_SPEC,
        "a: no address of 127.0.0.0/24 can be a virtual IP: 127.0.0.0/8 is loopback (RFC 1122); write another");
    expect_refused(apply("a", .spec = {.addresses = LIST("127.0.0.5")}), INVALID_POOL_SPEC, "no address of 127.0.0.5");
    assert_int_equal(apply_recorded("a", "127.0.0.0/24"), 0);
    assert_int_equal(pool_of("a").record.state, POOL_REJECTED);
    make_pool("b", "10.0.0.0/24"); /* rejected pools are retried */
    assert_int_equal(pool_of("a").record.state, POOL_REJECTED);
}

static void range_that_contains_such_addresses_leaves_them_out(void **state)
{
    (void)state;
    assert_int_equal(apply_cidr("a", "0.0.0.0/0"), 0);
    assert_int_equal(pool_of("a").total.capacity, 65536);
    assert_int_equal(allocate("web", "a"), 0);
    expect_address("web", "1.0.0.0");
    assert_non_null(strstr(pool_of("a").record.message,
                           "Addresses that can't be virtual IPs are left out: 0.0.0.0/8 (\"this network\", RFC 791)"));
    expect_refused(allocate("lo", "a", .address = "127.0.0.1"), ADDRESS_RESERVED, "127.0.0.0/8 is loopback");
    assert_int_equal(apply_cidr("six", "::/64"), 0);
    assert_int_equal(allocate("six", "six"), 0);
    expect_address("six", "::2");
    assert_int_equal(apply("edge", .spec = {.addresses = LIST("126.255.255.254-127.0.0.1")}), 0);
    assert_int_equal(pool_of("edge").total.capacity, 2);
    assert_int_equal(apply_excluding("edge", "126.0.0.0/7", "126.0.0.0-127.255.255.253", "127.0.0.0/8"), 0);
    assert_int_equal(pool_of("edge").total.capacity, 0);
}

static void addresses_that_not_everybody_accepts_are_served_with_a_warning(void **state)
{
    static const char *const cidrs[] = {"169.254.9.0/24", "fe80::/120", "240.0.0.0/24"};

    (void)state;
    for (size_t i = 0; i < sizeof(cidrs) / sizeof(*cidrs); i++) {
        make_pool("a", cidrs[i]);
        assert_true(pool_of("a").total.capacity >= 254);
        assert_non_null(strstr(pool_of("a").record.message, "Hosts and routers may not accept addresses of "));
        assert_int_equal(allocate("web", "a", .replace = true, .families = i == 1 ? FAMILY_SET_IPV6 : 0), 0);
    }
}

/* ---- Tests: refusals ---- */

static void names_that_are_no_dns_subdomain_are_refused(void **state)
{
    static const char *const names[] = {"", "Main", "a_b", "-a", "a-", "a..b", ".a", "a.", "a.-b", "pool/x", "größe"};
    char name[ENGINE_NAME_MAX + 2];

    (void)state;
    for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++)
        expect_refused(apply_cidr(names[i], "10.0.0.0/24"), INVALID_POOL_SPEC,
                       "is no pool name; write lower-case letters");
    for (size_t i = 0; i <= ENGINE_NAME_MAX; i++)
        name[i] = i % 64 == 63 ? '.' : 'a';
    name[ENGINE_NAME_MAX + 1] = '\0';
    expect_refused(apply_recorded(name, "10.0.0.0/24"), INVALID_POOL_SPEC, "at most 253 bytes");
    name[ENGINE_NAME_MAX] = '\0';
    assert_int_equal(apply_cidr(name, "10.0.0.0/24"), 0);
    memset(name, 'a', 64);
    name[64] = '\0';
    expect_refused(apply_cidr(name, "10.1.0.0/24"), INVALID_POOL_SPEC, "is no pool name");
    name[63] = '\0';
    assert_int_equal(apply_cidr(name, "10.1.0.0/24"), 0);
}

static void unreadable_entries_are_refused_with_the_entry(void **state)
{
    (void)state;
    expect_refused(apply("a"), INVALID_POOL_SPEC, "a has neither cidrs nor addresses");
    expect_refused(apply_cidr("a", "10.0.0.1/24"), INVALID_POOL_SPEC, "10.0.0.1/24");
    expect_refused(apply("a", .spec = {.addresses = LIST("10.0.0.0/24")}), INVALID_POOL_SPEC,
                   "invalid pool spec: a: addresses: ");
    expect_refused(apply("a", .spec = {.addresses = LIST("10.0.0.9-10.0.0.1")}), INVALID_POOL_SPEC,
                   "10.0.0.9-10.0.0.1");
    expect_refused(apply("a", .spec = {.cidrs = LIST("10.0.0.0/24"), .excluded = LIST("x")}), INVALID_POOL_SPEC,
                   "a: excluded: ");
    expect_refused(apply_recorded("a", "10.0.0.0/24\n"), INVALID_POOL_SPEC, "not printable");
}

static void spec_is_bounded(void **state)
{
    const char **entries = calloc(ENGINE_POOL_ENTRIES_MAX + 1, sizeof(*entries));
    char(*texts)[32] = calloc(513, sizeof(*texts));

    (void)state;
    for (size_t i = 0; i <= ENGINE_POOL_ENTRIES_MAX; i++)
        entries[i] = "10.0.0.1";
    assert_int_equal(apply("most", .dry_run = true, .spec.addresses = {entries, ENGINE_POOL_ENTRIES_MAX}), 0);
    expect_refused(apply("a", .record_rejected = true, .spec.addresses = {entries, ENGINE_POOL_ENTRIES_MAX + 1}),
                   INVALID_POOL_SPEC, "more than 65536");
    for (unsigned int i = 0; i < 513; i++) {
        snprintf(texts[i], sizeof(texts[i]), "2001:db8:%x::/112", i);
        entries[i] = texts[i];
    }
    assert_int_equal(apply("large", .dry_run = true, .spec.cidrs = {entries, 512}), 0);
    expect_refused(apply("a", .spec.cidrs = {entries, 513}), INVALID_POOL_SPEC, "33619968 addresses are more than");
    expect_refused(
        apply("a", .spec = {.cidrs = LIST("10.0.0.0/24"), .reuse_delay_seconds = ENGINE_REUSE_DELAY_MAX + 1}),
        INVALID_POOL_SPEC, "ten years");
    assert_int_equal(apply("a", .spec = {.cidrs = LIST("10.0.0.0/24"), .reuse_delay_seconds = ENGINE_REUSE_DELAY_MAX}),
                     0);
    free(entries);
    free(texts);
}

static void overlap_names_the_older_pool_and_the_range(void **state)
{
    (void)state;
    make_pool("a", "10.0.0.0/28");
    expect_refused(apply_cidr("b", "10.0.0.0/24"), POOL_OVERLAP, "pool overlaps: b and a both have 10.0.0.1-10.0.0.14");
    assert_int_equal(apply("b", .spec = {.cidrs = LIST("10.0.0.0/24"), .excluded = LIST("10.0.0.0/28")}), 0);
    expect_refused(apply("c", .spec = {.addresses = LIST("10.0.0.99")}), POOL_OVERLAP, "c and b both have 10.0.0.99;");
}

static void older_generation_is_stale(void **state)
{
    (void)state;
    assert_int_equal(apply("a", .spec = {.cidrs = LIST("10.0.0.0/24"), .uid = "u1", .generation = 5}), 0);
    expect_refused(apply("a", .spec = {.cidrs = LIST("10.0.0.0/25"), .uid = "u1", .generation = 4}), STALE_GENERATION,
                   "a has generation 5 already, this is 4");
    expect_refused(apply("a", .spec = {.cidrs = LIST("10.0.0.0/25"), .uid = "", .generation = 4}), STALE_GENERATION,
                   "");
    assert_int_equal(apply("a", .spec = {.cidrs = LIST("10.0.0.0/25"), .uid = "u1"}), 0);
    assert_int_equal(apply("a", .spec = {.cidrs = LIST("10.0.0.0/25"), .uid = "u2", .generation = 1}), 0);
    assert_string_equal(pool_of("a").record.spec.uid, "u2");
}

/* ---- Tests: edits ---- */

static void same_spec_again_is_no_change(void **state)
{
    (void)state;
    assert_int_equal(apply("a", .spec = {.cidrs = LIST("10.0.0.0/24"), .uid = "u1", .generation = 5}), 0);
    assert_true(fx.applied.changed);
    assert_int_equal(apply("a", .spec = {.cidrs = LIST("10.0.0.0/24"), .uid = "", .generation = 5}), 0);
    assert_false(fx.applied.changed);
    assert_int_equal(fx.changes.count, 1);
    assert_int_equal(apply("a", .spec = {.cidrs = LIST("10.0.0.0/24"), .uid = "u1", .generation = 6}), 0);
    assert_true(fx.applied.changed);
}

static void shrinking_strands_claims_and_keeps_them(void **state)
{
    (void)state;
    make_pool("a", "10.0.0.0/24");
    assert_int_equal(allocate("low", "a"), 0);
    assert_int_equal(allocate("high", "a", .address = "10.0.0.200"), 0);
    assert_int_equal(apply("a", .dry_run = true, .spec = {.cidrs = LIST("10.0.0.0/28"), .auto_assign = true}), 0);
    assert_int_equal(fx.applied.stranded.count, 1);
    assert_string_equal(fx.applied.stranded.items[0].record.owner.name, "high");
    assert_int_equal(pool_of("a").total.orphaned, 0);
    assert_int_equal(apply_cidr("a", "10.0.0.0/28"), 0);
    assert_int_equal(fx.applied.stranded.count, 1);
    assert_int_equal(pool_of("a").total.orphaned, 1);
    assert_int_equal(pool_of("a").total.allocated, 1);
    assert_int_equal(pool_of("a").total.available, 13);
    assert_int_equal(pool_of("a").claims, 2);
    expect_address("high", "10.0.0.200");
    assert_int_equal(allocate("high", "a"), 0); /* still its terms */
    assert_int_equal(apply_cidr("a", "10.0.0.0/24"), 0);
    assert_int_equal(pool_of("a").total.orphaned, 0);
    assert_int_equal(pool_of("a").total.allocated, 2);
}

static void orphan_keeps_its_address_from_the_pool_that_gets_it(void **state)
{
    (void)state;
    make_pool("a", "10.0.0.0/30");
    assert_int_equal(allocate("one", "a"), 0);
    assert_int_equal(apply_cidr("a", "10.9.0.0/30"), 0);
    make_pool("b", "10.0.0.0/30");
    assert_int_equal(pool_of("b").total.allocated, 1);
    assert_int_equal(pool_of("a").total.orphaned, 1);
    assert_int_equal(allocate("two", "b"), 0);
    expect_address("two", "10.0.0.2");
}

/* ---- Tests: reject and retry ---- */

static void refusal_is_remembered_when_asked_for(void **state)
{
    (void)state;
    assert_int_equal(apply_recorded("bad", "10.0.0.1/24"), 0);
    assert_int_equal(pool_of("bad").record.state, POOL_REJECTED);
    assert_string_equal(ipam_reason_name(pool_of("bad").record.reason), "INVALID_POOL_SPEC");
    assert_false(pool_of("bad").record.has_spec);
    assert_string_equal(pool_of("bad").record.rejected.cidrs.items[0], "10.0.0.1/24");
    expect_refused(allocate("web", "bad"), POOL_REJECTED, "bad was never accepted");
    assert_int_equal(apply_recorded("bad", "10.0.0.1/24"), 0);
    assert_false(fx.applied.changed);
    assert_int_equal(fx.changes.count, 1);
    expect_refused(apply_cidr("bad", "10.0.0.1/24"), INVALID_POOL_SPEC, "10.0.0.1/24");
}

static void rejected_pool_is_retried_when_another_goes(void **state)
{
    (void)state;
    make_pool("a", "10.0.0.0/28");
    assert_int_equal(apply_recorded("b", "10.0.0.0/24"), 0);
    assert_int_equal(apply_recorded("c", "10.0.0.0/24"), 0);
    assert_int_equal(pool_of("c").record.state, POOL_REJECTED);
    assert_int_equal(delete_pool("a"), 0);
    assert_int_equal(pool_of("b").record.state, POOL_READY);
    assert_int_equal(pool_of("c").record.state, POOL_REJECTED);
    assert_string_equal(pool_of("c").record.message,
                        "pool overlaps: c and b both have 10.0.0.1-10.0.0.254; take it out of one of them");
}

static void rejected_edit_leaves_the_last_good_spec_in_force(void **state)
{
    (void)state;
    make_pool("a", "10.0.0.0/28");
    make_pool("b", "10.1.0.0/28");
    assert_int_equal(apply_recorded("b", "10.0.0.0/24"), 0);
    assert_int_equal(pool_of("b").record.state, POOL_REJECTED);
    assert_int_equal(allocate("web", "b"), 0);
    expect_address("web", "10.1.0.1");
    assert_int_equal(delete_pool("a"), 0);
    assert_int_equal(pool_of("b").record.state, POOL_READY);
    assert_string_equal(pool_of("b").record.spec.cidrs.items[0], "10.0.0.0/24");
    assert_int_equal(pool_of("b").total.orphaned, 1);
}

static void two_rejected_pools_can_free_each_other(void **state)
{
    (void)state;
    make_pool("a", "10.0.0.0/24");
    make_pool("b", "10.0.1.0/24");
    make_pool("c", "10.0.2.0/24");
    assert_int_equal(apply_recorded("a", "10.0.1.0/24"), 0); /* waits for b */
    assert_int_equal(apply_recorded("b", "10.0.2.0/24"), 0); /* waits for c */
    assert_int_equal(delete_pool("c"), 0);
    assert_int_equal(pool_of("a").record.state, POOL_READY);
    assert_int_equal(pool_of("b").record.state, POOL_READY);
}

/* ---- Tests: what earlier rules let be ---- */

/* A history by the rules of 0.1.0: `older` had 10.1.0.0 alone, so that `younger` did not meet it. */
static void make_old_history(void)
{
    assert_int_equal(apply("older", .spec = {.addresses = LIST("10.1.0.0"), .auto_assign = true}), 0);
    make_pool("younger", "10.1.0.0/24");
    assert_int_equal(allocate("web", "older"), 0);
    assert_int_equal(allocate("api", "younger"), 0);
    assert_int_equal(allocate("waits", "older", .enqueue = true), 0);
    for (size_t i = 0; i < 2; i++) { /* once more, so that the older one comes last of the two */
        assert_int_equal(apply("younger", .spec = {.cidrs = LIST("10.1.0.0/24"), .paused = true}), 0);
        assert_int_equal(apply("older", .spec = {.addresses = LIST("10.1.0.0"), .auto_assign = true, .generation = 1}),
                         0);
    }
}

static struct engine *replay_old(bool backwards)
{
    static const uint8_t key[16] = "engine unit test";
    const struct string_list cidrs = LIST("10.0.0.0/8"), excluded = LIST("10.0.0.0/16");
    struct engine *engine = engine_new(key);

    for (size_t i = 0; i < fx.changes.count; i++) {
        struct change change = fx.changes.items[i];

        /* The last record of each alone, the other pool first. */
        if (backwards && change.kind == CHANGE_POOL && (i < 2 || i + 2 < fx.changes.count))
            change = fx.changes.items[fx.changes.count - 1 - (i + 1) % 2];
        if (change.kind == CHANGE_POOL && !strcmp(change.pool.name, "older")) {
            change.pool.spec.addresses.count = 0;
            change.pool.spec.cidrs = cidrs;
            change.pool.spec.excluded = excluded;
        }
        if (engine_replay(engine, &change, &fx.error) < 0)
            fail_msg("%s", fx.error.message);
    }
    return engine;
}

static void settle(struct engine *engine)
{
    struct engine_ctx ctx = {.now = {fx.seconds * 1000000000}, .arena = &fx.arena, .changes = &fx.changes};
    struct delete_pool_args dry = {.name = "younger", .dry_run = true};
    struct delete_pool_result result;
    char *before = dump_of(engine), *after;
    size_t count = fx.changes.count;

    assert_int_equal(engine_delete_pool(engine, &ctx, &dry, &result, &fx.error), 0);
    after = dump_of(engine);
    assert_string_equal(after, before); /* a dry run settles nothing */
    engine_expire(engine, &ctx);
    engine_check(engine);
    assert_int_equal(fx.changes.count, count + 3);
    engine_expire(engine, &ctx);
    assert_int_equal(fx.changes.count, count + 3);
    fx.changes.count = count; /* they are not the fixture's engine's */
    free(before);
    free(after);
}

static void pools_that_meet_by_todays_rules_are_settled_in_any_order_of_replay(void **state)
{
    struct engine *forwards, *backwards;
    struct pool_view view;
    struct claim_views claims;
    char *a, *b;

    (void)state;
    make_old_history();
    forwards = replay_old(false);
    backwards = replay_old(true);
    a = dump_of(forwards);
    b = dump_of(backwards);
    assert_string_equal(a, b);
    free(a);
    free(b);
    settle(forwards);
    settle(backwards);
    assert_int_equal(engine_pool_get(forwards, "younger", &fx.arena, &view, &fx.error), 0);
    assert_int_equal(view.record.state, POOL_REJECTED);
    assert_string_equal(view.record.message,
                        "pool overlaps: younger and older both have 10.1.0.1-10.1.0.254; take it out of one of them");
    assert_int_equal(view.claims, 1);
    assert_int_equal(engine_claims_of(forwards, "ProxyVIP", "api", &fx.arena, &claims, &fx.error), 0);
    assert_string_equal(claim_text(&claims.items[0]), "10.1.0.1");
    assert_int_equal(engine_claims_of(forwards, "ProxyVIP", "waits", &fx.arena, &claims, &fx.error), 0);
    assert_string_equal(claim_text(&claims.items[0]), "10.1.0.2"); /* free in the older one: nobody holds it */
    a = dump_of(forwards);
    b = dump_of(backwards);
    assert_string_equal(a, b);
    free(a);
    free(b);
    engine_free(forwards);
    engine_free(backwards);
}

/* ---- Tests: deleting ---- */

static void unused_pool_is_removed_at_once(void **state)
{
    struct pool_view view;

    (void)state;
    make_pool("a", "10.0.0.0/24");
    assert_int_equal(allocate("vip", "", .address = "10.0.0.7"), 0); /* manual: does not hold it up */
    assert_int_equal(delete_pool("a"), 0);
    assert_true(fx.deleted.removed);
    assert_int_equal(engine_pool_get(fx.engine, "a", &fx.arena, &view, &fx.error), -1);
    expect_refused(delete_pool("a"), POOL_NOT_FOUND, "pool not found: there is no pool a");
    expect_address("vip", "10.0.0.7");
}

static void used_pool_drains_and_goes_with_its_last_claim(void **state)
{
    (void)state;
    make_pool("a", "10.0.0.0/24");
    assert_int_equal(allocate("web", "a"), 0);
    assert_int_equal(allocate("api", "a"), 0);
    expect_refused(delete_pool("a", .only_if_unused = true), POOL_IN_USE, "pool in use: a has 2 bound claims");
    assert_int_equal(delete_pool("a", .uid = ""), 0);
    assert_true(fx.deleted.draining);
    assert_int_equal(fx.deleted.claims, 2);
    expect_refused(allocate("new", "a"), POOL_DRAINING, "pool draining: a");
    expect_refused(apply_cidr("a", "10.0.0.0/24"), POOL_DRAINING, "pool draining: a");
    assert_int_equal(allocate("web", "a"), 0); /* has it already */
    assert_int_equal(release("web"), 0);
    assert_int_equal(pool_of("a").record.state, POOL_DRAINING);
    assert_int_equal(release("api"), 0);
    expect_refused(delete_pool("a"), POOL_NOT_FOUND, "");
}

static void delete_with_another_uid_deletes_nothing(void **state)
{
    (void)state;
    assert_int_equal(apply("a", .spec = {.cidrs = LIST("10.0.0.0/24"), .uid = "u1"}), 0);
    assert_int_equal(delete_pool("a", .uid = "u2"), 0);
    assert_false(fx.deleted.removed);
    assert_int_equal(pool_of("a").record.state, POOL_READY);
    assert_int_equal(delete_pool("a", .uid = "u1"), 0);
    assert_true(fx.deleted.removed);
}

static void pool_made_anew_ends_draining(void **state)
{
    (void)state;
    assert_int_equal(apply("a", .spec = {.cidrs = LIST("10.0.0.0/24"), .uid = "u1", .auto_assign = true}), 0);
    assert_int_equal(allocate("web", "a"), 0);
    assert_int_equal(delete_pool("a"), 0);
    assert_int_equal(apply("a", .spec = {.cidrs = LIST("10.0.0.0/24"), .uid = "u2", .auto_assign = true}), 0);
    assert_int_equal(pool_of("a").record.state, POOL_READY);
    assert_int_equal(pool_of("a").record.id, 1);
    assert_int_equal(pool_of("a").claims, 1);
}

static void draining_pool_is_removed_by_a_replace(void **state)
{
    (void)state;
    make_pool("a", "10.0.0.0/24");
    make_pool("b", "10.1.0.0/24");
    assert_int_equal(allocate("web", "a"), 0);
    assert_int_equal(delete_pool("a"), 0);
    assert_int_equal(allocate("web", "b", .replace = true), 0);
    expect_address("web", "10.1.0.1");
    expect_refused(delete_pool("a"), POOL_NOT_FOUND, "");
}

/* ---- Tests: listing ---- */

static void pools_are_listed_by_name_in_pages(void **state)
{
    struct pool_views page;

    (void)state;
    make_pool("b", "10.1.0.0/24");
    make_pool("c", "10.2.0.0/24");
    make_pool("a", "10.0.0.0/24");
    engine_pools_list(fx.engine, "", 2, &fx.arena, &page);
    assert_int_equal(page.count, 2);
    assert_true(page.more);
    assert_string_equal(page.items[0].record.name, "a");
    engine_pools_list(fx.engine, page.items[1].record.name, 2, &fx.arena, &page);
    assert_int_equal(page.count, 1);
    assert_false(page.more);
    assert_string_equal(page.items[0].record.name, "c");
}

static void dry_apply_and_delete_change_nothing(void **state)
{
    char *before, *after;

    (void)state;
    make_pool_cooling("a", "10.0.0.0/29", 10);
    assert_int_equal(apply_recorded("b", "10.0.0.0/28"), 0);
    assert_int_equal(allocate("web", "a"), 0);
    assert_int_equal(allocate("gone", "a"), 0);
    assert_int_equal(release("gone"), 0);
    assert_int_equal(allocate("waits", "b", .enqueue = true), 0);
    before = dump_of(fx.engine);
    fx.elapsed += 100; /* a dry run ends no cooling either */
    assert_int_equal(apply("a", .dry_run = true, .spec = {.cidrs = LIST("10.5.0.0/29"), .auto_assign = true}), 0);
    assert_true(fx.applied.changed);
    assert_int_equal(fx.applied.pool.total.orphaned, 1);
    assert_int_equal(delete_pool("a", .dry_run = true), 0);
    assert_true(fx.deleted.draining);
    assert_int_equal(delete_pool("b", .dry_run = true), 0);
    assert_true(fx.deleted.removed);
    assert_int_equal(apply("new", .dry_run = true, .spec = {.cidrs = LIST("10.6.0.0/29")}), 0);
    after = dump_of(fx.engine);
    assert_string_equal(after, before);
    free(before);
    free(after);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, engine_setup, engine_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(capacities_are_those_of_the_reference_page),
        TEST(larger_cidr_serves_its_first_65536_and_says_so),
        TEST(limit_counts_what_is_left_after_exclusions),
        TEST(limit_counts_across_many_exclusions),
        TEST(entries_that_overlap_are_clipped_each_and_count_once),
        TEST(counts_of_excluded_fit_and_saturate),
        TEST(exclusion_that_lies_in_no_range_is_warned_of),
        TEST(pool_of_addresses_that_are_no_virtual_ip_is_refused),
        TEST(range_that_contains_such_addresses_leaves_them_out),
        TEST(addresses_that_not_everybody_accepts_are_served_with_a_warning),
        TEST(range_of_addresses_is_clipped_as_a_cidr),
        TEST(mixed_pool_counts_cidrs_and_addresses_once),
        TEST(excluded_addresses_are_never_given),
        TEST(pool_that_excludes_everything_has_none),
        TEST(names_that_are_no_dns_subdomain_are_refused),
        TEST(unreadable_entries_are_refused_with_the_entry),
        TEST(spec_is_bounded),
        TEST(overlap_names_the_older_pool_and_the_range),
        TEST(older_generation_is_stale),
        TEST(same_spec_again_is_no_change),
        TEST(shrinking_strands_claims_and_keeps_them),
        TEST(orphan_keeps_its_address_from_the_pool_that_gets_it),
        TEST(refusal_is_remembered_when_asked_for),
        TEST(rejected_pool_is_retried_when_another_goes),
        TEST(rejected_edit_leaves_the_last_good_spec_in_force),
        TEST(two_rejected_pools_can_free_each_other),
        TEST(pools_that_meet_by_todays_rules_are_settled_in_any_order_of_replay),
        TEST(unused_pool_is_removed_at_once),
        TEST(used_pool_drains_and_goes_with_its_last_claim),
        TEST(delete_with_another_uid_deletes_nothing),
        TEST(pool_made_anew_ends_draining),
        TEST(draining_pool_is_removed_by_a_replace),
        TEST(pools_are_listed_by_name_in_pages),
        TEST(dry_apply_and_delete_change_nothing),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
