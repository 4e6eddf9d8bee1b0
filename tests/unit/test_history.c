/* Changes in words, and folded into who held what from when to when. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "changes.h"
#include "history.h"
#include "when.h"

/* ---- Fixture -------------------------------------------------------------------------------------------------------- */

#define MOST 16

struct event {
    Ipam__V1__Change change;
    Ipam__V1__Claim claim;
    Ipam__V1__Owner owner;
    Ipam__V1__Actor actor;
    Google__Protobuf__Timestamp at, allocated, cooling;
};

struct fixture {
    struct arena arena;
    struct history history;
    struct event events[MOST];
    size_t count;
};

static int setup(void **state)
{
    struct fixture *fixture = calloc(1, sizeof(*fixture));
    arena_init(&fixture->arena);
    fixture->history.arena = &fixture->arena;
    *state = fixture;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *fixture = *state;
    arena_done(&fixture->arena);
    free(fixture);
    return 0;
}

/* ---- Helpers -------------------------------------------------------------------------------------------------------- */

/* The claim `id` of Manual/NAME on 10.0.0.1 comes into a state, at a second, by a method ("": ipamd itself). */
static struct event *happen(struct fixture *fixture, int64_t second, uint64_t id, const char *name,
                            Ipam__V1__ClaimState state, int64_t allocated, const char *method)
{
    struct event *event = &fixture->events[fixture->count++];

    ipam__v1__change__init(&event->change);
    ipam__v1__claim__init(&event->claim);
    ipam__v1__owner__init(&event->owner);
    ipam__v1__actor__init(&event->actor);
    google__protobuf__timestamp__init(&event->at);
    google__protobuf__timestamp__init(&event->allocated);
    google__protobuf__timestamp__init(&event->cooling);
    event->change.revision = fixture->count;
    event->change.entity_case = IPAM__V1__CHANGE__ENTITY_CLAIM;
    event->change.claim = &event->claim;
    event->change.actor = &event->actor;
    event->change.at = &event->at;
    event->at.seconds = second;
    event->actor.method = (char *)(uintptr_t)method;
    event->actor.command = method[0] == '\0' ? "" : "ipamc";
    event->actor.uid = method[0] == '\0' ? 0 : 7;
    event->claim.owner = &event->owner;
    event->owner.kind = "Manual";
    event->owner.name = (char *)(uintptr_t)name;
    event->claim.id = id;
    event->claim.state = state;
    event->claim.family = IPAM__V1__FAMILY__IPV4;
    event->claim.pool = "p";
    if (allocated > 0) {
        event->claim.address = "10.0.0.1/32";
        event->claim.allocated_at = &event->allocated;
        event->allocated.seconds = allocated;
    }
    return event;
}

static struct event *bind(struct fixture *fixture, int64_t second, uint64_t id, const char *name)
{
    return happen(fixture, second, id, name, IPAM__V1__CLAIM_STATE__BOUND, second, "Allocate");
}

static struct event *cool(struct fixture *fixture, int64_t second, uint64_t id, const char *name, int64_t allocated)
{
    struct event *event = happen(fixture, second, id, name, IPAM__V1__CLAIM_STATE__COOLING, allocated, "Release");
    event->claim.cooling_until = &event->cooling;
    event->cooling.seconds = second + 100;
    return event;
}

static struct event *end_by_hand(struct fixture *fixture, int64_t second, uint64_t id, const char *name,
                                 int64_t allocated)
{
    struct event *event = cool(fixture, second, id, name, allocated);
    event->claim.state = IPAM__V1__CLAIM_STATE__RELEASED;
    return event;
}

static void fold(struct fixture *fixture, size_t first)
{
    for (size_t i = first; i < fixture->count; i++)
        history_add(&fixture->history, &fixture->events[i].change);
}

/* How many held after the revision, as the changes from `first` on tell it; asked for at second 1,000. */
static size_t holders_after(struct fixture *fixture, size_t first, uint64_t revision)
{
    struct history_moment moment = {GOOGLE__PROTOBUF__TIMESTAMP__INIT, revision};

    moment.at.seconds = 1000;
    fixture->history = (struct history){.arena = &fixture->arena};
    fold(fixture, first);
    history_finish(&fixture->history, &moment);
    size_t count = fixture->history.count;
    fixture->history = (struct history){.arena = &fixture->arena};
    return count;
}

static void assert_tenure(const struct fixture *fixture, size_t index, const char *name, int64_t from, int64_t to)
{
    assert_true(index < fixture->history.count);
    const struct tenure *tenure = &fixture->history.items[index];
    assert_string_equal(tenure->claim->owner->name, name);
    assert_int_equal(tenure->from->seconds, from);
    if (to == 0)
        assert_null(tenure->to);
    else
        assert_int_equal(tenure->to->seconds, to);
}

static const char *words(struct fixture *fixture, const struct event *event)
{
    return change_words(&fixture->arena, &event->change);
}

/* ---- Tests ---------------------------------------------------------------------------------------------------------- */

static void holders_follow_each_other(void **state)
{
    struct fixture *fixture = *state;

    bind(fixture, 10, 1, "a");
    happen(fixture, 20, 1, "a", IPAM__V1__CLAIM_STATE__RELEASED, 10, "Release");
    bind(fixture, 30, 3, "b");
    fold(fixture, 0);
    history_finish(&fixture->history, NULL);
    assert_int_equal(fixture->history.count, 2);
    assert_tenure(fixture, 0, "a", 10, 20);
    assert_tenure(fixture, 1, "b", 30, 0);
}

static void tenure_ends_when_cooling_begins_and_not_when_it_ends(void **state)
{
    struct fixture *fixture = *state;

    bind(fixture, 10, 1, "a");
    cool(fixture, 20, 1, "a", 10);
    happen(fixture, 120, 1, "a", IPAM__V1__CLAIM_STATE__RELEASED, 10, "");
    fold(fixture, 0);
    history_finish(&fixture->history, NULL);
    assert_int_equal(fixture->history.count, 1);
    assert_tenure(fixture, 0, "a", 10, 20);
}

static void owner_that_takes_its_cooling_address_again_has_two_tenures(void **state)
{
    struct fixture *fixture = *state;

    bind(fixture, 10, 1, "a");
    cool(fixture, 20, 1, "a", 10);
    bind(fixture, 30, 1, "a");
    fold(fixture, 0);
    history_finish(&fixture->history, NULL);
    assert_int_equal(fixture->history.count, 2);
    assert_tenure(fixture, 1, "a", 30, 0);
}

static void new_uid_is_the_same_tenure(void **state)
{
    struct fixture *fixture = *state;

    bind(fixture, 10, 1, "a");
    happen(fixture, 20, 1, "a", IPAM__V1__CLAIM_STATE__BOUND, 10, "Allocate")->owner.uid = "u-2";
    fold(fixture, 0);
    history_finish(&fixture->history, NULL);
    assert_int_equal(fixture->history.count, 1);
    assert_string_equal(fixture->history.items[0].claim->owner->uid, "u-2");
    assert_int_equal(fixture->history.items[0].allocated->revision, 1);
}

static void waiting_holds_nothing(void **state)
{
    struct fixture *fixture = *state;

    happen(fixture, 10, 1, "a", IPAM__V1__CLAIM_STATE__WAITING, 0, "Allocate");
    happen(fixture, 20, 1, "a", IPAM__V1__CLAIM_STATE__RELEASED, 0, "Release");
    fold(fixture, 0);
    assert_int_equal(fixture->history.count, 0);
}

static void beginning_is_known_though_its_change_is_no_longer_kept(void **state)
{
    struct fixture *fixture = *state;

    bind(fixture, 10, 1, "a");
    cool(fixture, 20, 1, "a", 10);
    happen(fixture, 120, 1, "a", IPAM__V1__CLAIM_STATE__RELEASED, 10, "");
    fold(fixture, 1);
    history_finish(&fixture->history, NULL);
    assert_int_equal(fixture->history.count, 1);
    assert_tenure(fixture, 0, "a", 10, 20);
    assert_null(fixture->history.items[0].allocated);
}

static void end_of_cooling_alone_tells_nothing(void **state)
{
    struct fixture *fixture = *state;

    struct event *event = happen(fixture, 120, 1, "a", IPAM__V1__CLAIM_STATE__RELEASED, 10, "");
    event->claim.cooling_until = &event->cooling;
    fold(fixture, 0);
    assert_int_equal(fixture->history.count, 0);
}

/* By a move past --max-cooling: the record tells until when it was to cool. */
static void early_end_of_cooling_ends_no_tenure(void **state)
{
    struct fixture *fixture = *state;

    bind(fixture, 10, 1, "a");
    cool(fixture, 20, 1, "a", 10);
    struct event *event = happen(fixture, 30, 1, "a", IPAM__V1__CLAIM_STATE__RELEASED, 10, "Allocate");
    event->claim.cooling_until = &event->cooling;
    assert_string_equal(
        words(fixture, event),
        "cooling of 10.0.0.1/32 ended before its time, which was 1970-01-01T00:00:00Z, last held by Manual/a");
    fold(fixture, 0);
    assert_int_equal(fixture->history.count, 1);
    assert_tenure(fixture, 0, "a", 10, 20);
    fixture->history = (struct history){.arena = &fixture->arena};
    fold(fixture, 2);
    assert_int_equal(fixture->history.count, 0);
}

static void present_holder_is_added_once(void **state)
{
    struct fixture *fixture = *state;

    bind(fixture, 10, 1, "a");
    fold(fixture, 0);
    history_add_present(&fixture->history, &fixture->events[0].claim);
    bind(fixture, 5, 2, "b");
    history_add_present(&fixture->history, &fixture->events[1].claim);
    history_finish(&fixture->history, NULL);
    assert_int_equal(fixture->history.count, 2);
    assert_tenure(fixture, 0, "b", 5, 0);
}

static void revision_of_grant_counts_and_that_of_release_does_not(void **state)
{
    static const size_t holders[] = {0, 1, 0};
    struct fixture *fixture = *state;

    bind(fixture, 10, 1, "a");
    cool(fixture, 20, 1, "a", 10);
    for (uint64_t revision = 0; revision < sizeof(holders) / sizeof(holders[0]); revision++)
        assert_int_equal(holders_after(fixture, 0, revision), holders[revision]);
}

/* The grant is dated 2036, by a clock that was ahead. */
static void time_of_a_change_does_not_say_what_came_before_it(void **state)
{
    struct fixture *fixture = *state;

    bind(fixture, 2100000000, 1, "a");
    happen(fixture, 50, 1, "a", IPAM__V1__CLAIM_STATE__RELEASED, 2100000000, "Release");
    bind(fixture, 40, 3, "b");
    assert_int_equal(holders_after(fixture, 0, 1), 1);
    assert_int_equal(holders_after(fixture, 0, 2), 0);
    fold(fixture, 0);
    history_finish(&fixture->history, NULL);
    assert_tenure(fixture, 0, "a", 2100000000, 50);
    assert_tenure(fixture, 1, "b", 40, 0);
}

/* Its change is no longer kept, so it happened before all that are. */
static void beginning_that_is_not_kept_came_before_any_revision_that_is(void **state)
{
    struct fixture *fixture = *state;

    bind(fixture, 2100000000, 1, "a");
    cool(fixture, 60, 1, "a", 2100000000);
    assert_int_equal(holders_after(fixture, 1, 1), 1);
    assert_int_equal(holders_after(fixture, 1, 2), 0);
    assert_int_equal(holders_after(fixture, 1, 0), 0);
}

static void cooling_that_a_request_ends_is_no_second_tenure(void **state)
{
    struct fixture *fixture = *state;

    bind(fixture, 10, 1, "a");
    cool(fixture, 20, 1, "a", 10);
    end_by_hand(fixture, 30, 1, "a", 10);
    fold(fixture, 0);
    history_finish(&fixture->history, NULL);
    assert_int_equal(fixture->history.count, 1);
    assert_tenure(fixture, 0, "a", 10, 20);
    fixture->history = (struct history){.arena = &fixture->arena};
    fold(fixture, 2);
    assert_int_equal(fixture->history.count, 0);
}

static void words_tell_what_happened(void **state)
{
    struct fixture *fixture = *state;

    assert_string_equal(words(fixture, bind(fixture, 10, 1, "a")), "10.0.0.1/32 allocated to Manual/a from p");
    assert_string_equal(words(fixture, cool(fixture, 20, 1, "a", 10)),
                        "10.0.0.1/32 released by Manual/a, cooling until 1970-01-01T00:02:00Z");
    assert_string_equal(words(fixture, happen(fixture, 120, 1, "a", IPAM__V1__CLAIM_STATE__RELEASED, 10, "")),
                        "10.0.0.1/32 has cooled and is free, last held by Manual/a");
    assert_string_equal(words(fixture, happen(fixture, 130, 1, "a", IPAM__V1__CLAIM_STATE__RELEASED, 10, "Release")),
                        "10.0.0.1/32 released by Manual/a");
    assert_string_equal(words(fixture, end_by_hand(fixture, 135, 1, "a", 10)),
                        "cooling of 10.0.0.1/32 ended before its time, which was 1970-01-01T00:03:55Z, last held by "
                        "Manual/a");
    struct event *event = happen(fixture, 140, 6, "a", IPAM__V1__CLAIM_STATE__WAITING, 0, "Allocate");
    event->claim.waiting_since = 6;
    event->claim.message = "why";
    assert_string_equal(words(fixture, event), "Manual/a waits for an ipv4 address of p: why");
    event->claim.waiting_since = 4;
    assert_string_equal(words(fixture, event), "Manual/a still waits for an ipv4 address of p: why");
}

static void unknown_change_is_no_crash(void **state)
{
    struct fixture *fixture = *state;
    struct event *event = happen(fixture, 10, 1, "a", (Ipam__V1__ClaimState)99, 0, "Allocate");

    assert_string_equal(words(fixture, event), "a change that this ipamc does not know");
    event->change.entity_case = IPAM__V1__CHANGE__ENTITY__NOT_SET;
    assert_string_equal(words(fixture, event), "a change that this ipamc does not know");
}

static void moments_are_read_as_people_write_them(void **state)
{
    static const struct {
        const char *text;
        int64_t seconds; /* -1: refused */
    } rows[] = {{"now", 1000000},   {"-2h", 992800}, {"2h ago", 992800},   {"90s ago", 999910},
                {"1d ago", 913600}, {"-1w", 395200}, {"2h", -1},           {"ago", -1},
                {"-", -1},          {"-2", -1},      {"- 2h", -1},         {"1970-01-01", -1},
                {"-2h ago", -1},    {"", -1},        {"-9999999999w", -1}, {"1970-01-02T00:00:00Z", 86400}};
    (void)state;

    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        int64_t seconds = -1;
        int32_t nanos;
        int result = when_moment_parse(rows[i].text, 1000000, &seconds, &nanos, NULL);
        assert_int_equal(result, rows[i].seconds < 0 ? -1 : 0);
        assert_int_equal(seconds, rows[i].seconds);
    }
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(holders_follow_each_other),
        TEST(tenure_ends_when_cooling_begins_and_not_when_it_ends),
        TEST(owner_that_takes_its_cooling_address_again_has_two_tenures),
        TEST(new_uid_is_the_same_tenure),
        TEST(waiting_holds_nothing),
        TEST(beginning_is_known_though_its_change_is_no_longer_kept),
        TEST(end_of_cooling_alone_tells_nothing),
        TEST(early_end_of_cooling_ends_no_tenure),
        TEST(present_holder_is_added_once),
        TEST(revision_of_grant_counts_and_that_of_release_does_not),
        TEST(time_of_a_change_does_not_say_what_came_before_it),
        TEST(beginning_that_is_not_kept_came_before_any_revision_that_is),
        TEST(cooling_that_a_request_ends_is_no_second_tenure),
        TEST(words_tell_what_happened),
        TEST(unknown_change_is_no_crash),
        TEST(moments_are_read_as_people_write_them),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
