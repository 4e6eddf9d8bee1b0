#include <stdlib.h>

#include "engine_fixture.h"

/* What one owner, one user and all together may have, and for whom a caller may act. */

/* ---- Helpers ---- */

static char name[32];

static const char *numbered(const char *prefix, unsigned int n)
{
    snprintf(name, sizeof(name), "%s%u", prefix, n);
    return name;
}

static int move(const char *owner, const char *pool, unsigned int last_byte)
{
    char address[32];

    snprintf(address, sizeof(address), "10.0.0.%u", last_byte);
    return allocate(owner, pool, .address = address, .replace = true);
}

static const struct claim_record *change_at(size_t from_the_end)
{
    return &fx.changes.items[fx.changes.count - from_the_end].claim;
}

static uint64_t cooling_of(const char *pool)
{
    return pool_of(pool).total.cooling;
}

static void expect_change(size_t from_the_end, enum claim_state state, const char *owner, const char *address)
{
    const struct claim_record *claim = change_at(from_the_end);
    char text[IPAM_ADDR_TEXT_MAX];

    assert_int_equal(claim->state, state);
    assert_string_equal(claim->owner.name, owner);
    assert_string_equal(ipam_addr_format(&claim->address, text), address);
}

/* ---- Tests: what cools ---- */

static void an_owner_that_moves_through_a_pool_leaves_it_to_the_others(void **state)
{
    (void)state;
    fx.limits.cooling_max = 4;
    make_pool_cooling("p", "10.0.0.0/28", 3600);
    assert_int_equal(allocate("web", "p"), 0);
    for (unsigned int i = 2; i <= 14; i++)
        assert_int_equal(move("web", "p", i), 0);
    assert_int_equal(release("web"), 0);
    assert_int_equal(cooling_of("p"), 4);
    for (unsigned int i = 0; i < 10; i++)
        assert_int_equal(allocate(numbered("other-", i), "p"), 0);
    expect_refused(allocate("one-too-many", "p"), POOL_EXHAUSTED, "4 cooling");
}

static void cooling_past_the_limit_ends_with_the_oldest_release(void **state)
{
    (void)state;
    fx.limits.cooling_max = 2;
    make_pool_cooling("p", "10.0.0.0/28", 3600);
    assert_int_equal(allocate("web", "p"), 0);
    assert_int_equal(move("web", "p", 2), 0);
    assert_int_equal(move("web", "p", 3), 0);
    assert_int_equal(cooling_of("p"), 2);
    expect_change(1, CLAIM_BOUND, "web", "10.0.0.3"); /* at the limit nothing ends */
    assert_int_equal(move("web", "p", 4), 0);
    expect_change(3, CLAIM_COOLING, "web", "10.0.0.3");
    expect_change(2, CLAIM_BOUND, "web", "10.0.0.4");
    expect_change(1, CLAIM_RELEASED, "web", "10.0.0.1");
    assert_int_equal(fx.changes.items[fx.changes.count - 1].actor.uid, 1000);
    assert_int_equal(allocate("other", "p"), 0);
    expect_address("other", "10.0.0.1");
    assert_int_equal(release("web"), 0);
    expect_change(2, CLAIM_COOLING, "web", "10.0.0.4");
    expect_change(1, CLAIM_RELEASED, "web", "10.0.0.2");
    assert_int_equal(fx.claims.count, 1); /* what was asked for, and no more */
    assert_string_equal(claim_text(&fx.claims.items[0]), "10.0.0.4");
}

static void what_ends_early_serves_the_queue_in_the_same_decision(void **state)
{
    size_t before;

    (void)state;
    fx.limits.cooling_max = 1;
    make_pool_cooling("p", "10.0.0.0/30", 3600);
    assert_int_equal(allocate("web", "p"), 0);
    assert_int_equal(release("web"), 0);
    assert_int_equal(allocate("web", "p", .address = "10.0.0.2"), 0);
    assert_int_equal(allocate("waits", "p", .enqueue = true), 0);
    before = fx.changes.count;
    assert_int_equal(release("", .address = "10.0.0.2"), 0);
    assert_int_equal(fx.changes.count, before + 3);
    expect_change(3, CLAIM_COOLING, "web", "10.0.0.2");
    expect_change(2, CLAIM_RELEASED, "web", "10.0.0.1");
    expect_change(1, CLAIM_BOUND, "waits", "10.0.0.1");
}

static void an_owner_keeps_the_cooling_address_that_it_goes_back_to(void **state)
{
    (void)state;
    fx.limits.cooling_max = 1;
    make_pool_cooling("p", "10.0.0.0/28", 3600);
    assert_int_equal(allocate("web", "p"), 0);
    assert_int_equal(move("web", "p", 2), 0);
    assert_int_equal(move("web", "p", 1), 0);
    assert_int_equal(claim_of("web", IPAM_IPV4).record.id, 2); /* the same claim again: it was not ended first */
    assert_int_equal(cooling_of("p"), 1);
}

static void each_family_and_each_owner_has_its_own_cooling(void **state)
{
    (void)state;
    fx.limits.cooling_max = 1;
    assert_int_equal(apply("p", .spec = {.cidrs = LIST("10.0.0.0/28", "2001:db8::/124"),
                                         .auto_assign = true,
                                         .reuse_delay_seconds = 3600}),
                     0);
    assert_int_equal(allocate("a", "p", .families = FAMILY_SET_DUAL), 0);
    assert_int_equal(allocate("b", "p"), 0);
    assert_int_equal(release("a"), 0);
    assert_int_equal(release("b"), 0);
    assert_int_equal(cooling_of("p"), 3);
    assert_int_equal(allocate("a", "p", .address = "10.0.0.9"), 0);
    assert_int_equal(release("a"), 0);
    assert_int_equal(pool_of("p").ipv4.cooling, 2);
    assert_int_equal(pool_of("p").ipv6.cooling, 1);
}

static void what_cools_of_the_other_family_is_passed_over(void **state)
{
    (void)state;
    assert_int_equal(apply("p", .spec = {.cidrs = LIST("10.0.0.0/28", "2001:db8::/124"),
                                         .auto_assign = true,
                                         .reuse_delay_seconds = 3600}),
                     0);
    assert_int_equal(allocate("a", "p", .families = FAMILY_SET_DUAL), 0);
    assert_int_equal(release("a"), 0);
    for (unsigned int i = 9; i <= 11; i++) {
        assert_int_equal(allocate("a", "p", .address = numbered("10.0.0.", i)), 0);
        fx.limits.cooling_max = i == 11;
        assert_int_equal(release("a"), 0);
    }
    assert_int_equal(pool_of("p").ipv4.cooling, 1); /* three ended, before and after … */
    assert_int_equal(pool_of("p").ipv6.cooling, 1); /* … this one */
}

/* As after an upgrade, or when the option has been lowered. */
static void all_that_is_beyond_a_lowered_limit_ends_with_the_next_release(void **state)
{
    (void)state;
    make_pool_cooling("p", "10.0.0.0/28", 3600);
    assert_int_equal(allocate("web", "p"), 0);
    for (unsigned int i = 2; i <= 9; i++)
        assert_int_equal(move("web", "p", i), 0);
    assert_int_equal(cooling_of("p"), 8);
    fx.limits.cooling_max = 3;
    assert_int_equal(allocate("web", "p"), 0); /* the same terms again are no change */
    assert_int_equal(allocate("other", "p", .address = "10.0.0.14"), 0);
    assert_int_equal(cooling_of("p"), 8);
    assert_int_equal(release("web"), 0);
    assert_int_equal(cooling_of("p"), 3);
    for (size_t i = 6; i >= 1; i--)
        assert_int_equal(change_at(i)->address.lo & 255, 7 - i); /* 1, 2, … */
    expect_refused(allocate("x", "p", .address = "10.0.0.7"), ADDRESS_COOLING, "");
    assert_int_equal(allocate("x", "p", .address = "10.0.0.6"), 0);
}

static void a_replace_that_is_refused_ends_no_cooling(void **state)
{
    size_t before;

    (void)state;
    fx.limits.cooling_max = 1;
    make_pool_cooling("p", "10.0.0.0/28", 3600);
    assert_int_equal(allocate("web", "p"), 0);
    assert_int_equal(move("web", "p", 2), 0);
    before = fx.changes.count;
    expect_refused(allocate("web", "gone", .replace = true), POOL_NOT_FOUND, "");
    assert_int_equal(allocate("web", "p", .address = "10.0.0.3", .replace = true, .dry_run = true), 0);
    assert_int_equal(fx.changes.count, before);
    assert_int_equal(cooling_of("p"), 1);
}

/* ---- Tests: how many claims ---- */

static void claims_go_up_to_the_total_whatever_their_kind(void **state)
{
    (void)state;
    fx.limits.claims_max = 3;
    make_pool_cooling("p", "10.0.0.0/24", 60);
    for (unsigned int i = 0; i < 3; i++)
        assert_int_equal(allocate_as(numbered("Fresh", i), "x", "", "p"), 0);
    expect_refused(allocate_as("Fresh3", "x", "", "p"), LIMIT_EXCEEDED,
                   "there are 3 claims, waiting and cooling ones included, and there may be 3");
    expect_refused(allocate_as("Fresh3", "x", "", "gone", .enqueue = true), LIMIT_EXCEEDED, "--max-claims-total");
    assert_int_equal(allocate_as("Fresh0", "x", "", "p"), 0); /* no new claim */
    assert_int_equal(fx_release(&(struct release_args){.kind = "Fresh0", .name = "x"}), 0);
    expect_refused(allocate_as("Fresh3", "x", "", "p"), LIMIT_EXCEEDED, "there are 3 claims"); /* one cools */
    fx_wait(60);
    assert_int_equal(allocate_as("Fresh3", "x", "", "p"), 0);
}

static void claims_of_a_user_go_up_to_the_limit_whatever_their_kind(void **state)
{
    (void)state;
    make_pool_cooling("p", "10.0.0.0/24", 60);
    fx.limits.user_claims_max = 2;
    assert_int_equal(allocate_as("A", "x", "", "p"), 0);
    assert_int_equal(allocate_as("B", "x", "", "p"), 0);
    expect_refused(allocate_as("C", "x", "", "p"), LIMIT_EXCEEDED, "the user with uid 1000 has made 2 claims");
    expect_refused(allocate_as("C", "x", "", "p", .enqueue = true), LIMIT_EXCEEDED, "--max-user-claims");
    fx.user = 0;
    assert_int_equal(allocate_as("C", "x", "", "p"), 0);
    assert_int_equal(allocate_as("D", "x", "", "p", .families = FAMILY_SET_IPV4), 0);
    expect_refused(allocate_as("E", "x", "", "p"), LIMIT_EXCEEDED, "the user with uid 0 has made 2 claims");
    fx.user = 1000;
    assert_int_equal(fx_release(&(struct release_args){.kind = "A", .name = "x"}), 0);
    expect_refused(allocate_as("E", "x", "", "p"), LIMIT_EXCEEDED, "2 claims"); /* one cools */
    fx_wait(60);
    assert_int_equal(allocate_as("E", "x", "", "p"), 0);
}

static void an_owner_that_comes_back_to_its_cooling_address_adds_no_claim(void **state)
{
    static const struct claim_limit limits[] = {{"ProxyVIP", 1}};

    (void)state;
    fx.limits = (struct engine_limits){.claims = limits, .n_claims = 1, .claims_max = 1, .user_claims_max = 1};
    make_pool_cooling("p", "10.0.0.0/24", 60);
    assert_int_equal(allocate("web", "p"), 0);
    assert_int_equal(release("web"), 0);
    expect_refused(allocate("other", "p"), LIMIT_EXCEEDED, "kind ProxyVIP have 1 claims");
    expect_refused(allocate("web", "p", .address = "10.0.0.9"), LIMIT_EXCEEDED, "have 1 claims");
    assert_int_equal(allocate("web", "p"), 0);
    expect_address("web", "10.0.0.1");
}

static void a_claim_remembers_who_made_it(void **state)
{
    (void)state;
    make_pool_cooling("p", "10.0.0.1/32", 60);
    assert_int_equal(allocate("web", "p"), 0);
    assert_true(fx.claims.items[0].record.has_user);
    assert_int_equal(fx.claims.items[0].record.user, 1000);
    assert_int_equal(allocate("waits", "p", .enqueue = true), 0);
    fx.user = 7;
    assert_int_equal(allocate_as("ProxyVIP", "web", "u2", "p"), 0); /* taken over */
    assert_int_equal(claim_of("web", IPAM_IPV4).record.user, 1000);
    assert_int_equal(release("web"), 0);
    assert_int_equal(allocate("web", "p"), 0); /* taken up again */
    assert_int_equal(claim_of("web", IPAM_IPV4).record.user, 1000);
    assert_int_equal(release("web"), 0);
    fx_wait(60);
    expect_address("waits", "10.0.0.1");
    assert_int_equal(claim_of("waits", IPAM_IPV4).record.user, 1000); /* granted by itself */
    assert_int_equal(allocate("web", "p", .enqueue = true), 0);
    assert_int_equal(claim_of("web", IPAM_IPV4).record.user, 7); /* a new one */
}

static void claims_recorded_without_a_user_count_for_nobody(void **state)
{
    (void)state;
    make_pool("p", "10.0.0.0/24");
    assert_int_equal(allocate("web", "p"), 0);
    fx.changes.items[1].claim.has_user = false; /* as an ipamd that kept no users wrote it */
    fx.changes.items[1].claim.user = 0;
    fx_rebuild();
    fx.limits.user_claims_max = 1;
    assert_int_equal(allocate("api", "p"), 0);
    expect_refused(allocate("third", "p"), LIMIT_EXCEEDED, "uid 1000 has made 1 claims");
    fx.user = 0;
    assert_int_equal(allocate("root", "p"), 0);
    assert_false(claim_of("web", IPAM_IPV4).record.has_user);
    assert_int_equal(release("web"), 0);
}

/* ---- Tests: for whom ---- */

static const char *const nodes[] = {"Node"}, *const vips[] = {"ProxyVIP"};
static const struct string_list groups[] = {{NULL, 0}, {nodes, 1}, {vips, 1}};

enum { ANY = 1, NODES = 2, VIPS = 4 };

static void act_as(uint32_t member)
{
    fx.scope = (struct engine_scope){.groups = groups, .member = member, .objects = {vips, 1}};
}

static void act_as_admin(void)
{
    fx.scope = (struct engine_scope){0};
}

static void a_group_with_kinds_is_for_these_kinds_alone(void **state)
{
    (void)state;
    make_pool("p", "10.0.0.0/24");
    act_as(NODES);
    assert_int_equal(allocate_as("Node", "n1", "any uid", "p"), 0);
    expect_refused(allocate("web", "p"), PERMISSION_DENIED, "may not act for owners of kind ProxyVIP");
    expect_refused(allocate("web", "gone", .enqueue = true), PERMISSION_DENIED, "--allocate-group GROUP:ProxyVIP");
    expect_refused(allocate("web", "p", .dry_run = true), PERMISSION_DENIED, "(uid 1000)");
    assert_string_equal(fx.error.details[0].value, "ProxyVIP");
    act_as(NODES | VIPS); /* groups add up */
    assert_int_equal(allocate_as("ProxyVIP", "web", "u1", "p"), 0);
    assert_int_equal(allocate_as("Node", "n2", "", "p"), 0);
    expect_refused(allocate_as("Manual", "m", "", "p"), PERMISSION_DENIED, "kind Manual");
    act_as(0);
    expect_refused(allocate_as("Node", "n3", "", "p"), PERMISSION_DENIED, "kind Node");
}

static void a_group_without_kinds_is_not_for_objects_of_kubernetes(void **state)
{
    (void)state;
    make_pool_cooling("p", "10.0.0.0/24", 60);
    assert_int_equal(allocate_as("ProxyVIP", "web", "u1", "p"), 0);
    act_as(ANY);
    expect_refused(allocate_as("ProxyVIP", "new", "u2", "p"), PERMISSION_DENIED,
                   "ProxyVIP/new is an object of Kubernetes");
    expect_refused(allocate("web", "p"), PERMISSION_DENIED, "ProxyVIP/web is an object");
    expect_refused(allocate_as("ProxyVIP", "web", "u2", "p"), PERMISSION_DENIED, "");
    expect_refused(allocate("web", "p", .address = "10.0.0.9", .replace = true), PERMISSION_DENIED, "");
    expect_refused(release("web"), PERMISSION_DENIED, "ProxyVIP/web is an object");
    expect_refused(release("web", .uid = "u1"), PERMISSION_DENIED, "");
    expect_refused(release("web", .dry_run = true), PERMISSION_DENIED, "");
    expect_refused(release("", .address = "10.0.0.1"), PERMISSION_DENIED, "ProxyVIP/web");
    act_as_admin();
    assert_int_equal(release("web"), 0);
    act_as(ANY);
    expect_refused(allocate("web", "p"), PERMISSION_DENIED, ""); /* its address cools */
    assert_int_equal(allocate("by-hand", "p"), 0);               /* ipamc sets no uid */
    assert_int_equal(release("by-hand"), 0);
    assert_int_equal(allocate_as("Node", "n", "uid", "p"), 0);
    assert_int_equal(allocate_as("Manual", "m", "", "p"), 0);
    act_as(ANY | VIPS);
    assert_int_equal(allocate_as("ProxyVIP", "web", "u2", "p"), 0);
    assert_int_equal(release("web"), 0);
}

static void an_address_alone_is_released_for_whom_its_holder_is_allowed(void **state)
{
    (void)state;
    make_pool("p", "10.0.0.0/24");
    assert_int_equal(allocate_as("Node", "n", "", "p"), 0);
    assert_int_equal(allocate_as("Manual", "m", "", "p"), 0);
    act_as(NODES);
    assert_int_equal(release("", .address = "10.0.0.1"), 0);
    assert_int_equal(fx.claims.count, 1);
    expect_refused(release("", .address = "10.0.0.2"), PERMISSION_DENIED, "kind Manual");
    assert_int_equal(release("", .address = "10.0.0.7"), 0); /* nobody's */
    assert_int_equal(fx.claims.count, 0);
    expect_refused(release("nobody"), PERMISSION_DENIED, "kind ProxyVIP");
}

static void an_address_alone_leaves_what_waits_for_it(void **state)
{
    (void)state;
    make_pool("p", "10.0.0.0/24");
    assert_int_equal(allocate("web", "p"), 0);
    assert_int_equal(allocate("web", "p", .families = FAMILY_SET_IPV6, .address = "10.0.0.1", .enqueue = true), 0);
    assert_int_equal(release("", .address = "10.0.0.1"), 0);
    assert_int_equal(fx.claims.count, 1);
    assert_int_equal(claim_of("web", IPAM_IPV6).record.state, CLAIM_WAITING);
}

/* Time comes first: the one who holds the address by now is who counts. */
static void a_holder_that_time_made_is_seen_before_it_is_released(void **state)
{
    (void)state;
    make_pool_cooling("p", "10.0.0.1/32", 60);
    assert_int_equal(allocate_as("Node", "n", "", "p"), 0);
    assert_int_equal(fx_release(&(struct release_args){.kind = "Node", .name = "n"}), 0);
    assert_int_equal(allocate_as("ProxyVIP", "web", "u1", "p", .enqueue = true), 0);
    fx.seconds += 61;
    fx.elapsed += 61;
    act_as(ANY);
    expect_refused(release("", .address = "10.0.0.1"), PERMISSION_DENIED, "ProxyVIP/web");
    expect_address("web", "10.0.0.1");
}

#define TEST(test) cmocka_unit_test_setup_teardown(test, engine_setup, engine_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(an_owner_that_moves_through_a_pool_leaves_it_to_the_others),
        TEST(cooling_past_the_limit_ends_with_the_oldest_release),
        TEST(what_ends_early_serves_the_queue_in_the_same_decision),
        TEST(an_owner_keeps_the_cooling_address_that_it_goes_back_to),
        TEST(each_family_and_each_owner_has_its_own_cooling),
        TEST(what_cools_of_the_other_family_is_passed_over),
        TEST(all_that_is_beyond_a_lowered_limit_ends_with_the_next_release),
        TEST(a_replace_that_is_refused_ends_no_cooling),
        TEST(claims_go_up_to_the_total_whatever_their_kind),
        TEST(claims_of_a_user_go_up_to_the_limit_whatever_their_kind),
        TEST(an_owner_that_comes_back_to_its_cooling_address_adds_no_claim),
        TEST(a_claim_remembers_who_made_it),
        TEST(claims_recorded_without_a_user_count_for_nobody),
        TEST(a_group_with_kinds_is_for_these_kinds_alone),
        TEST(a_group_without_kinds_is_not_for_objects_of_kubernetes),
        TEST(an_address_alone_is_released_for_whom_its_holder_is_allowed),
        TEST(an_address_alone_leaves_what_waits_for_it),
        TEST(a_holder_that_time_made_is_seen_before_it_is_released),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
