#include <stdlib.h>

#include "engine_fixture.h"

#define YEAR 31536000

/* ---- Helpers ---- */

/* web's address cools for so many seconds. */
static void make_cooling(uint32_t delay)
{
    make_pool_cooling("a", "10.0.0.0/24", delay);
    assert_int_equal(allocate("web", "a"), 0);
    assert_int_equal(release("web"), 0);
    assert_int_equal(fx.claims.items[0].record.state, CLAIM_COOLING);
}

static uint64_t cooling(void)
{
    return pool_of("a").total.cooling;
}

/* It is over in so many seconds, and not before. */
static void expect_over_in(int64_t seconds)
{
    if (seconds > 0) {
        fx_wait(seconds - 1);
        assert_int_equal(cooling(), 1);
        expect_refused(allocate("other", "a", .address = "10.0.0.1"), ADDRESS_COOLING, "10.0.0.1");
        fx_wait(1);
    } else {
        fx_wait(0);
    }
    assert_int_equal(cooling(), 0);
    assert_int_equal(allocate("other", "a", .address = "10.0.0.1"), 0);
}

static const struct change *last_change(void)
{
    return &fx.changes.items[fx.changes.count - 1];
}

/* `count` owners w0, w1, … get an address and give it back in this order. */
static void cool_many(unsigned int count)
{
    char name[16];

    for (unsigned int i = 0; i < count; i++) {
        snprintf(name, sizeof(name), "w%u", i);
        assert_int_equal(allocate(name, "a"), 0);
    }
    for (unsigned int i = 0; i < count; i++) {
        snprintf(name, sizeof(name), "w%u", i);
        assert_int_equal(release(name), 0);
    }
}

static int end_cooling(const char *address, bool dry_run)
{
    return fx_release(
        &(struct release_args){.kind = "", .name = "", .address = address, .end_cooling = true, .dry_run = dry_run});
}

/* ---- The wall clock ---- */

static void clock_set_forward_ends_no_cooling_early(void **state)
{
    (void)state;
    make_cooling(60);
    fx.seconds += 61;
    expect_over_in(60);
}

static void clock_set_back_prolongs_no_cooling(void **state)
{
    (void)state;
    make_cooling(60);
    fx.seconds -= 10 * YEAR;
    expect_over_in(60);
}

static void call_while_the_clock_was_ahead_prolongs_no_later_cooling(void **state)
{
    (void)state;
    make_pool_cooling("a", "10.0.0.0/24", 2);
    assert_int_equal(allocate("web", "a"), 0);
    fx.seconds += 10 * YEAR;
    expect_refused(allocate("other", "a", .address = "10.0.0.1"), ADDRESS_IN_USE, "10.0.0.1");
    fx.seconds -= 10 * YEAR;
    assert_int_equal(release("web"), 0);
    expect_over_in(2);
}

static void changes_are_dated_as_the_clock_is_also_when_it_goes_back(void **state)
{
    (void)state;
    make_pool("a", "10.0.0.0/24");
    assert_int_equal(allocate("web", "a"), 0);
    fx.seconds -= YEAR;
    assert_int_equal(allocate("api", "a"), 0);
    assert_true(last_change()->at.ns == fx.seconds * 1000000000);
    assert_true(last_change()->claim.allocated_at.ns == fx.seconds * 1000000000);
    assert_int_equal(last_change()->revision, 3);
}

static void refusal_says_when_the_cooling_ends_by_the_clock_as_it_is_now(void **state)
{
    (void)state;
    make_cooling(60);
    expect_refused(allocate("other", "a", .address = "10.0.0.1"), ADDRESS_COOLING, "until 2023-11-14T22:14:20Z");
    fx.seconds += 3600;
    expect_refused(allocate("other", "a", .address = "10.0.0.1"), ADDRESS_COOLING, "until 2023-11-14T23:14:20Z");
    fx.seconds -= 7200;
    expect_refused(allocate("other", "a", .address = "10.0.0.1"), ADDRESS_COOLING, "until 2023-11-14T21:14:20Z");
}

/* ---- What is recorded ---- */

static void cooling_record_tells_release_delay_and_boot(void **state)
{
    const struct cooling_record *record;

    (void)state;
    make_cooling(60);
    record = last_change()->claim.cooling;
    assert_non_null(record);
    assert_true(record->released_at.ns == fx.seconds * 1000000000);
    assert_int_equal(record->delay_seconds, 60);
    assert_memory_equal(record->boot_id, fx.clock.boot_id, BOOT_ID_SIZE);
    assert_true(record->boot_time.ns == fx.elapsed * 1000000000);
    assert_int_equal(allocate("web", "a"), 0);
    assert_null(last_change()->claim.cooling);
}

static void dry_run_past_the_end_leaves_the_cooling_as_it_was(void **state)
{
    char *before, *after;

    (void)state;
    make_cooling(60);
    before = dump_of(fx.engine);
    fx.elapsed += 60;
    assert_int_equal(allocate("other", "a", .address = "10.0.0.1", .dry_run = true), 0);
    after = dump_of(fx.engine);
    assert_string_equal(after, before);
    free(before);
    free(after);
}

/* ---- Restarts ---- */

static void restart_in_the_same_boot_keeps_the_end_whatever_the_clock_says(void **state)
{
    static const int64_t by_clock[] = {10, 10 * YEAR, -10 * YEAR};

    (void)state;
    make_pool_cooling("a", "10.0.0.0/24", 60);
    for (size_t i = 0; i < sizeof(by_clock) / sizeof(*by_clock); i++) {
        assert_int_equal(allocate("web", "a"), 0);
        expect_address("web", "10.0.0.1");
        assert_int_equal(release("web"), 0);
        fx_restart(10, by_clock[i], true);
        expect_over_in(50);
        assert_int_equal(release("other"), 0);
        fx_wait(60);
    }
}

static void cooling_that_ended_while_ipamd_was_down_ends_at_once(void **state)
{
    (void)state;
    make_cooling(60);
    fx_restart(60, -YEAR, true);
    expect_over_in(0);
}

static void another_boot_with_the_clock_right_keeps_what_is_left(void **state)
{
    (void)state;
    make_cooling(60);
    fx_restart(0, 20, false);
    expect_over_in(40);
}

static void another_boot_with_the_clock_ahead_ends_the_cooling(void **state)
{
    (void)state;
    make_cooling(60);
    fx_restart(0, 10 * YEAR, false);
    expect_over_in(0);
}

static void another_boot_with_the_clock_behind_prolongs_by_no_more_than_the_delay(void **state)
{
    (void)state;
    make_cooling(60);
    fx_restart(0, -10 * YEAR, false);
    expect_over_in(60);
}

static void second_boot_counts_from_the_first_record(void **state)
{
    (void)state;
    make_cooling(60);
    fx_restart(0, 20, false);
    fx_wait(10);
    fx_restart(0, 5, false);
    expect_over_in(25);
}

/* As ipamd 0.1.0 wrote it: until 2036, by a clock that was ahead. */
static struct change record_of_0_1_0(uint32_t delay)
{
    struct change change = *last_change();
    int64_t at = 2090000000000000000;

    change.at.ns = at;
    change.claim.cooling_until.ns = at + (int64_t)delay * 1000000000;
    change.claim.cooling = NULL;
    return change;
}

static void record_without_a_delay_cools_no_longer_than_it_was_to(void **state)
{
    struct change change;

    (void)state;
    make_cooling(2);
    change = record_of_0_1_0(2);
    fx.changes.items[fx.changes.count - 1] = change;
    fx_restart(0, 0, false);
    assert_int_equal(cooling(), 1);
    expect_over_in(2);
}

static void record_without_a_delay_keeps_what_is_left_of_it(void **state)
{
    struct change change;

    (void)state;
    make_cooling(60);
    change = *last_change();
    change.claim.cooling = NULL;
    fx.changes.items[fx.changes.count - 1] = change;
    fx_restart(0, 25, true);
    expect_over_in(35);
}

static void record_with_a_delay_that_none_can_have_is_damage(void **state)
{
    struct cooling_record record;
    struct change change;

    (void)state;
    make_cooling(60);
    change = *last_change();
    record = *change.claim.cooling;
    change.claim.cooling = &record;
    record.delay_seconds = ENGINE_REUSE_DELAY_MAX + 1;
    assert_int_equal(engine_replay(fx.engine, &change, &fx.error), -1);
    assert_int_equal(fx.error.reason, IPAM_REASON_STORE_DAMAGED);
    record.delay_seconds = ENGINE_REUSE_DELAY_MAX;
    record.boot_time.ns = -1;
    assert_int_equal(engine_replay(fx.engine, &change, &fx.error), -1);
    assert_int_equal(fx.error.reason, IPAM_REASON_STORE_DAMAGED);
}

/* ---- Many ends at once ---- */

static void coolings_that_end_together_end_in_slices(void **state)
{
    size_t before;

    (void)state;
    make_pool_cooling("a", "10.0.0.0/24", 60);
    cool_many(10);
    fx.max_ends = 4;
    fx_wait(59);
    assert_int_equal(cooling(), 10);
    before = fx.changes.count;
    fx_wait(1);
    assert_int_equal(cooling(), 6);
    for (size_t i = before; i < fx.changes.count; i++)
        assert_int_equal(fx.changes.items[i].claim.id, 2 + i - before);
    fx_wait(0);
    assert_int_equal(cooling(), 2);
    fx_wait(0);
    assert_int_equal(cooling(), 0);
    assert_int_equal(fx.changes.count, before + 10);
}

static void address_whose_end_is_overdue_cools_until_its_slice_comes(void **state)
{
    struct elapsed_time next;

    (void)state;
    make_pool_cooling("a", "10.0.0.0/24", 60);
    cool_many(6);
    fx.max_ends = 2;
    fx.seconds += 90;
    fx.elapsed += 90;
    expect_refused(allocate("other", "a", .address = "10.0.0.6"), ADDRESS_COOLING, "until 2023-11-14T22:14:50Z");
    assert_true(engine_next_expiry(fx.engine, &next));
    assert_true(next.ns < fx.elapsed * 1000000000);
    assert_int_equal(allocate("other", "a", .address = "10.0.0.1"), 0);
    assert_int_equal(allocate("another", "a", .address = "10.0.0.6"), 0);
}

static void claim_that_waits_is_granted_by_the_slice_that_frees_its_address(void **state)
{
    (void)state;
    make_pool_cooling("a", "10.0.0.0/24", 60);
    cool_many(6);
    assert_int_equal(allocate("late", "a", .address = "10.0.0.6", .enqueue = true), 0);
    assert_int_equal(allocate("early", "a", .address = "10.0.0.1", .enqueue = true), 0);
    fx.max_ends = 3;
    fx_wait(60);
    expect_address("early", "10.0.0.1");
    assert_int_equal(waits_for("late"), IPAM_REASON_ADDRESS_COOLING);
    fx_wait(0);
    expect_address("late", "10.0.0.6");
}

/* ---- Ended by hand ---- */

static void end_cooling_frees_the_address_at_once(void **state)
{
    (void)state;
    make_cooling(3600);
    assert_int_equal(end_cooling("10.0.0.1", false), 0);
    assert_int_equal(fx.claims.count, 1);
    assert_int_equal(fx.claims.items[0].record.state, CLAIM_RELEASED);
    assert_int_equal(cooling(), 0);
    assert_string_equal(last_change()->actor.method, "Test");
    assert_true(last_change()->claim.cooling_until.ns == (fx.seconds + 3600) * 1000000000);
    assert_int_equal(allocate("other", "a"), 0);
    expect_address("other", "10.0.0.1");
}

static void end_cooling_twice_is_as_good_as_once(void **state)
{
    size_t changes;

    (void)state;
    make_cooling(3600);
    assert_int_equal(end_cooling("10.0.0.1", false), 0);
    changes = fx.changes.count;
    assert_int_equal(end_cooling("10.0.0.1", false), 0);
    assert_int_equal(fx.claims.count, 0);
    assert_int_equal(fx.changes.count, changes);
}

static void end_cooling_grants_who_waits_in_the_same_decision(void **state)
{
    (void)state;
    make_cooling(3600);
    assert_int_equal(allocate("other", "a", .address = "10.0.0.1", .enqueue = true), 0);
    assert_int_equal(end_cooling("10.0.0.1", false), 0);
    assert_string_equal(last_change()->claim.owner.name, "other");
    assert_int_equal(last_change()->claim.state, CLAIM_BOUND);
    expect_address("other", "10.0.0.1");
}

static void end_cooling_in_a_dry_run_changes_nothing(void **state)
{
    (void)state;
    make_cooling(3600);
    assert_int_equal(end_cooling("10.0.0.1", true), 0);
    assert_int_equal(fx.claims.count, 1);
    assert_string_equal(fx.claims.items[0].record.owner.name, "web");
    assert_int_equal(cooling(), 1);
    expect_over_in(3600);
}

static void end_cooling_releases_nothing_that_is_held(void **state)
{
    (void)state;
    make_cooling(3600);
    assert_int_equal(allocate("web", "a"), 0);
    assert_int_equal(end_cooling("10.0.0.1", false), 0);
    assert_int_equal(fx.claims.count, 0);
    expect_address("web", "10.0.0.1");
}

static void end_cooling_of_another_owner_or_uid_ends_nothing(void **state)
{
    (void)state;
    make_pool_cooling("a", "10.0.0.0/24", 3600);
    assert_int_equal(allocate_as("ProxyVIP", "web", "u1", "a"), 0);
    assert_int_equal(release("web"), 0);
    assert_int_equal(release("nobody", .address = "10.0.0.1", .end_cooling = true), 0);
    assert_int_equal(fx.claims.count, 0);
    assert_int_equal(release("web", .address = "10.0.0.1", .uid = "u2", .end_cooling = true), 0);
    assert_int_equal(fx.claims.count, 0);
    assert_int_equal(release("web", .address = "10.0.0.1", .uid = "u1", .end_cooling = true), 0);
    assert_int_equal(fx.claims.count, 1);
}

static void end_cooling_needs_an_address(void **state)
{
    (void)state;
    make_cooling(3600);
    expect_refused(release("web", .end_cooling = true), INVALID_REQUEST, "give the address that cools");
    assert_int_equal(cooling(), 1);
}

static void release_without_it_leaves_a_cooling_address_alone(void **state)
{
    (void)state;
    make_cooling(3600);
    assert_int_equal(release("", .address = "10.0.0.1"), 0);
    assert_int_equal(fx.claims.count, 0);
    assert_int_equal(cooling(), 1);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, engine_setup, engine_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(clock_set_forward_ends_no_cooling_early),
        TEST(clock_set_back_prolongs_no_cooling),
        TEST(call_while_the_clock_was_ahead_prolongs_no_later_cooling),
        TEST(changes_are_dated_as_the_clock_is_also_when_it_goes_back),
        TEST(refusal_says_when_the_cooling_ends_by_the_clock_as_it_is_now),
        TEST(cooling_record_tells_release_delay_and_boot),
        TEST(dry_run_past_the_end_leaves_the_cooling_as_it_was),
        TEST(restart_in_the_same_boot_keeps_the_end_whatever_the_clock_says),
        TEST(cooling_that_ended_while_ipamd_was_down_ends_at_once),
        TEST(another_boot_with_the_clock_right_keeps_what_is_left),
        TEST(another_boot_with_the_clock_ahead_ends_the_cooling),
        TEST(another_boot_with_the_clock_behind_prolongs_by_no_more_than_the_delay),
        TEST(second_boot_counts_from_the_first_record),
        TEST(record_without_a_delay_cools_no_longer_than_it_was_to),
        TEST(record_without_a_delay_keeps_what_is_left_of_it),
        TEST(record_with_a_delay_that_none_can_have_is_damage),
        TEST(coolings_that_end_together_end_in_slices),
        TEST(address_whose_end_is_overdue_cools_until_its_slice_comes),
        TEST(claim_that_waits_is_granted_by_the_slice_that_frees_its_address),
        TEST(end_cooling_frees_the_address_at_once),
        TEST(end_cooling_twice_is_as_good_as_once),
        TEST(end_cooling_grants_who_waits_in_the_same_decision),
        TEST(end_cooling_in_a_dry_run_changes_nothing),
        TEST(end_cooling_releases_nothing_that_is_held),
        TEST(end_cooling_of_another_owner_or_uid_ends_nothing),
        TEST(end_cooling_needs_an_address),
        TEST(release_without_it_leaves_a_cooling_address_alone),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
