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
