/* What comes next for an object, and that VIPs which exchanged addresses all show their own in the end, and never one twice. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "objects.h"
#include "status_fixture.h"

#define NOW_MS 1000000

/* ---- Helpers ------------------------------------------------------------------------------------------------------- */

static uint32_t backoff(unsigned int attempt, uint32_t retry_after_ms) /* kube_backoff without jitter */
{
    uint32_t wait = 250;
    for (; attempt > 1 && wait < 30000; attempt--)
        wait *= 2;
    wait = wait > 30000 ? 30000 : wait;
    return wait > retry_after_ms ? wait : retry_after_ms;
}

static struct policy_next after(struct policy_history *history, enum pass_outcome outcome)
{
    struct policy_end end = {.outcome = outcome, .now = NOW_MS};
    return policy_after(history, &end, backoff);
}

/* ---- Tests: in a pass ---------------------------------------------------------------------------------------------- */

static void what_is_right_or_was_not_kept_by_the_server_is_not_written(void **state)
{
    (void)state;
    assert_int_equal(policy_step(&(struct policy_view){.differs = false}), STEP_NOTHING);
    assert_int_equal(policy_step(&(struct policy_view){.differs = true, .futile = true}), STEP_NOTHING);
    assert_int_equal(policy_step(&(struct policy_view){.differs = true, .futile = true, .foreign = true}),
                     STEP_NOTHING);
    assert_int_equal(policy_step(&(struct policy_view){.differs = true}), STEP_WRITE);
}

static void an_address_that_another_program_wrote_is_adopted_once_all_is_right(void **state)
{
    (void)state;
    assert_int_equal(policy_step(&(struct policy_view){.foreign = true}), STEP_ADOPT);
    assert_int_equal(policy_step(&(struct policy_view){.differs = true, .foreign = true}), STEP_WRITE);
    struct policy_history history = {.attempts = 0};
    struct policy_end end = {.outcome = PASS_WRITTEN, .unfinished = true, .now = NOW_MS};
    assert_int_equal(policy_after(&history, &end, backoff).look, LOOK_AGAIN);
}

static void a_pause_is_told_after_a_second(void **state)
{
    (void)state;
    struct policy_view view = {.differs = true, .passes = true};
    struct policy_history history = {.attempts = 0};
    uint64_t waited = 0;
    for (; policy_step(&view) == STEP_LET_PASS; view.postponed = history.postponed)
        waited += after(&history, PASS_PASSING).wait_ms;
    assert_int_equal(policy_step(&view), STEP_WRITE);
    assert_int_equal(waited, 1000);
}

static void a_blocked_one_waits_for_a_moment_and_then_lets_go(void **state)
{
    (void)state;
    struct policy_view view = {.differs = true, .blocked = true};
    struct policy_history history = {.attempts = 0};
    assert_int_equal(policy_step(&view), STEP_WAIT);
    assert_in_range(after(&history, PASS_BLOCKED).wait_ms, 1, 500);
    view.postponed = history.postponed;
    assert_int_equal(policy_step(&view), STEP_LEAVE);
    struct policy_next next = after(&history, PASS_LEFT);
    assert_int_equal(next.look, LOOK_LATER); /* it is not right yet */
    view.postponed = history.postponed;
    assert_int_equal(policy_step(&view), STEP_LEAVE);
    view.blocked = false;
    assert_int_equal(policy_step(&view), STEP_WRITE);
}

static void a_pool_waits_for_its_claims_but_not_for_ever(void **state)
{
    (void)state;
    unsigned int looks = 0;
    assert_false(policy_waits_for_claims(false, 0));
    while (policy_waits_for_claims(true, looks))
        looks++;
    assert_in_range(looks, 10, 100);
}

static void ipamd_is_asked_once_ipam_watcher_has_had_the_time_and_not_about_thousands_at_once(void **state)
{
    (void)state;
    struct policy_asking asking = {.since = 0};
    assert_int_equal(policy_ask_at(&asking, NOW_MS, NOW_MS), NOW_MS + POLICY_SETTLE_MS);
    assert_int_equal(policy_ask_at(&asking, NOW_MS, NOW_MS + POLICY_SETTLE_MS - 1), NOW_MS + POLICY_SETTLE_MS);
    uint64_t now = NOW_MS + POLICY_SETTLE_MS;
    unsigned int asked = 0;
    for (int i = 0; i < 20000; i++) {
        uint64_t at = policy_ask_at(&asking, NOW_MS, now);
        asked += at == now;
        assert_true(at == now || at >= now + 1000);
    }
    assert_in_range(asked, 100, 500);
    assert_int_equal(policy_ask_at(&asking, NOW_MS, now + 1000), now + 1000);
}

/* ---- Tests: after a pass ------------------------------------------------------------------------------------------- */

static void answers_are_told_apart(void **state)
{
    (void)state;
    static const struct {
        int status;
        enum pass_outcome outcome;
    } cases[] = {
        {200, PASS_WRITTEN}, {201, PASS_WRITTEN},  {400, PASS_REFUSED}, {401, PASS_FORBIDDEN}, {403, PASS_FORBIDDEN},
        {404, PASS_GONE},    {409, PASS_CONFLICT}, {422, PASS_REFUSED}, {429, PASS_BUSY},      {500, PASS_FAILED},
        {502, PASS_BUSY},    {503, PASS_BUSY},     {504, PASS_BUSY},    {507, PASS_FAILED},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++)
        assert_int_equal(policy_outcome(cases[i].status), cases[i].outcome);
}

static void every_outcome_has_its_consequence(void **state)
{
    (void)state;
    static const struct {
        enum pass_outcome outcome;
        enum policy_look look;
        enum policy_trouble trouble;
        bool fatal;
        uint64_t rest; /* milliseconds, after one in a row */
    } cases[] = {
        {PASS_RIGHT, LOOK_NONE, TROUBLE_SAME, false, 0},
        {PASS_WRITTEN, LOOK_NONE, TROUBLE_WELL, false, 0},
        {PASS_BLOCKED, LOOK_LATER, TROUBLE_SAME, false, 0},
        {PASS_LEFT, LOOK_LATER, TROUBLE_WELL, false, 0},
        {PASS_APART, LOOK_LATER, TROUBLE_SAME, false, 0},
        {PASS_PASSING, LOOK_LATER, TROUBLE_SAME, false, 0},
        {PASS_CONFLICT, LOOK_AGAIN, TROUBLE_WELL, false, 0},
        {PASS_GONE, LOOK_FORGET, TROUBLE_WELL, false, 0},
        {PASS_NO_STATUS, LOOK_AGAIN, TROUBLE_OF_KIND, true, 8000},
        {PASS_BUSY, LOOK_AGAIN, TROUBLE_OF_SERVER, false, 0},
        {PASS_DEFERRED, LOOK_AGAIN, TROUBLE_SAME, false, 250},
        {PASS_FORBIDDEN, LOOK_AGAIN, TROUBLE_OF_KIND, true, 8000},
        {PASS_FAILED, LOOK_AGAIN, TROUBLE_OF_OBJECT, true, 250},
        {PASS_REFUSED, LOOK_AGAIN, TROUBLE_OF_OBJECT, true, 8000},
        {PASS_CANCELLED, LOOK_AGAIN, TROUBLE_SAME, false, 0},
    };
    assert_int_equal(sizeof(cases) / sizeof(*cases), PASS_OUTCOMES);
    for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
        struct policy_history history = {.attempts = 0};
        struct policy_next next = after(&history, cases[i].outcome);
        assert_int_equal(cases[i].outcome, i);
        assert_int_equal(next.look, cases[i].look);
        assert_int_equal(next.trouble, cases[i].trouble);
        assert_int_equal(next.fatal, cases[i].fatal);
        assert_int_equal(history.rest_until, cases[i].rest ? NOW_MS + cases[i].rest : 0);
        assert_true(next.look != LOOK_LATER || next.wait_ms > 0);
        assert_true(*pass_outcome_names[i]);
    }
}

static void one_that_was_replaced_by_another_of_the_name_is_not_forgotten(void **state)
{
    (void)state;
    struct policy_history history = {.attempts = 0};
    struct policy_end end = {.outcome = PASS_GONE, .replaced = true, .now = NOW_MS};
    assert_int_equal(policy_after(&history, &end, backoff).look, LOOK_AGAIN);
}

static void conflicts_are_answered_at_once_and_the_fourth_in_a_row_with_a_pause(void **state)
{
    (void)state;
    struct policy_history history = {.attempts = 0};
    for (int i = 0; i < 3; i++) {
        after(&history, PASS_CONFLICT);
        assert_int_equal(history.rest_until, 0);
    }
    after(&history, PASS_CONFLICT);
    assert_true(history.rest_until > NOW_MS);
    after(&history, PASS_WRITTEN);
    after(&history, PASS_CONFLICT);
    assert_int_equal(history.rest_until, 0);
}

static void failures_wait_ever_longer_but_ipamd_is_asked_every_few_seconds(void **state)
{
    (void)state;
    struct policy_history failed = {.attempts = 0}, deferred = {.attempts = 0};
    for (int i = 0; i < 20; i++) {
        after(&failed, PASS_FAILED);
        after(&deferred, PASS_DEFERRED);
    }
    assert_int_equal(failed.rest_until, NOW_MS + 30000);
    assert_in_range(deferred.rest_until, NOW_MS + 1000, NOW_MS + 4000);
}

static void who_keeps_undoing_is_answered_ever_more_slowly_and_forgiven_after_a_minute(void **state)
{
    (void)state;
    struct policy_history history = {.attempts = 0};
    struct policy_end end = {.outcome = PASS_WRITTEN, .now = NOW_MS};
    policy_after(&history, &end, backoff);
    assert_int_equal(history.calm_until, 0);
    end.undone = true;
    uint64_t last = 0;
    for (int i = 0; i < 10; i++) {
        policy_after(&history, &end, backoff);
        assert_true(history.calm_until - end.now >= last);
        last = history.calm_until - end.now;
        end.now += 10;
    }
    assert_int_equal(last, 8000);
    assert_int_equal(policy_due(&history, true, end.now), end.now); /* news of ipamd are written all the same */
    assert_int_equal(policy_due(&history, false, end.now), history.calm_until);
    end.now += 61000;
    policy_after(&history, &end, backoff);
    assert_int_equal(history.calm_until, end.now + 250);
    end.undone = false;
    policy_after(&history, &end, backoff);
    assert_int_equal(history.calm_until, 0);
}

static void a_pool_keeps_its_pace_unless_it_only_waited(void **state)
{
    (void)state;
    struct policy_history history = {.attempts = 0};
    struct policy_end end = {.outcome = PASS_WRITTEN, .now = NOW_MS, .pace = 1000};
    policy_after(&history, &end, backoff);
    assert_int_equal(policy_due(&history, true, NOW_MS + 1), NOW_MS + 1000);
    end.outcome = PASS_APART;
    policy_after(&history, &end, backoff);
    assert_int_equal(policy_due(&history, true, NOW_MS + 1), NOW_MS + 1);
}

static void while_the_server_is_out_of_reach_all_wait_and_writes_that_fail_together_are_one_failure(void **state)
{
    (void)state;
    struct policy_gate gate = {.until = 0};
    struct policy_end end = {.outcome = PASS_BUSY, .now = NOW_MS};
    for (int i = 0; i < 20; i++)
        policy_gate_after(&gate, &end, backoff);
    assert_int_equal(gate.failures, 1);
    assert_int_equal(gate.until, NOW_MS + 250);
    for (int i = 0; i < 20; i++) {
        end.now = gate.until;
        policy_gate_after(&gate, &end, backoff);
    }
    assert_int_equal(gate.until - end.now, 8000);
    end.retry_after_ms = 20000;
    policy_gate_after(&gate, &end, backoff);
    assert_int_equal(gate.until, end.now + 20000);
    end.outcome = PASS_CONFLICT;
    policy_gate_after(&gate, &end, backoff);
    assert_int_equal(gate.failures, 0);
}

/* ---- Tests: VIPs that exchanged addresses ---------------------------------------------------------------------------- */

#define VIPS_MAX 12

/* VIPs whose statuses show one arrangement of addresses, while ipamd has another. */
struct knot {
    struct fixture *fixture;
    struct objects *objects;
    json_t *vips[VIPS_MAX];
    size_t n;
    bool dual;
    int version;
    unsigned int writes;
};

static void address_text(char text[IPAM_ADDR_TEXT_MAX], bool ipv6, size_t i)
{
    snprintf(text, IPAM_ADDR_TEXT_MAX, ipv6 ? "2001:db8::%zx/128" : "10.0.0.%zu/32", i + 1);
}

static const char *name_of(const json_t *vip)
{
    return status_text(vip, "metadata", "name");
}

static void see(struct knot *knot, size_t i)
{
    char version[16];
    snprintf(version, sizeof(version), "%d", ++knot->version);
    json_object_set_new(json_object_get(knot->vips[i], "metadata"), "resourceVersion", json_string(version));
    objects_take(knot->objects, OBJECT_VIP, knot->vips[i], false);
}

/* shows[i], has[i]: number of the address of VIP i; VIPS_MAX or more: none. */
static void knot_make(struct knot *knot, struct fixture *fixture, size_t n, bool dual, const size_t shows[2][VIPS_MAX],
                      const size_t has[2][VIPS_MAX])
{
    *knot = (struct knot){.fixture = fixture, .objects = objects_new(), .n = n, .dual = dual};
    fixture->claims = claims_free(fixture->claims);
    fixture->claims = claims_new();
    for (size_t i = 0; i < n; i++) {
        char name[32], uid[32], text[IPAM_ADDR_TEXT_MAX];
        snprintf(name, sizeof(name), "v%zu", i);
        snprintf(uid, sizeof(uid), "u-v%zu", i);
        knot->vips[i] = object_of(
            name, dual ? "{'poolRef': {'name': 'p'}, 'addressFamily': 'dual'}" : "{'poolRef': {'name': 'p'}}", NULL);
        json_t *status = json_of("{'conditions': [{'type': 'Bound', 'status': 'True', 'reason': 'AddressAllocated', "
                                 "'message': 'm', 'lastTransitionTime': '2023-01-01T00:00:00Z'}]}");
        for (int f = 0; f < 1 + dual; f++) {
            address_text(text, f, shows[f][i]);
            if (shows[f][i] < VIPS_MAX)
                json_object_set_new(status, f ? "allocatedIPv6Address" : "allocatedAddress", json_string(text));
            address_text(text, f, has[f][i]);
            give(fixture, name, uid, "p", text);
        }
        merge(knot->vips[i], status, NULL);
        json_decref(status);
        see(knot, i);
    }
}

static void knot_done(struct knot *knot)
{
    for (size_t i = 0; i < knot->n; i++)
        json_decref(knot->vips[i]);
    objects_free(knot->objects);
}

static void assert_none_twice(const struct knot *knot)
{
    static const char *const fields[] = {"allocatedAddress", "allocatedIPv6Address"};
    for (size_t i = 0; i < knot->n; i++)
        for (size_t j = 0; j < i; j++)
            for (size_t f = 0; f < 2; f++) {
                const char *one = status_text(knot->vips[i], "status", fields[f]);
                if (*one && strcmp(one, status_text(knot->vips[j], "status", fields[f])) == 0)
                    fail_msg("%s shows %s, and so does %s", name_of(knot->vips[i]), one, name_of(knot->vips[j]));
            }
}

static bool is_blocked(struct knot *knot, const json_t *patch, const struct object *object)
{
    struct ipam_addr given[2];
    vip_status_given(patch, given);
    for (int f = 0; f < 2; f++)
        if (given[f].family != IPAM_FAMILY_NONE && objects_showing(knot->objects, &given[f], object))
            return true;
    return false;
}

/* One pass as pass.c makes it. false: there was nothing to do. */
static bool pass(struct knot *knot, size_t i)
{
    struct object *object = objects_get(knot->objects, OBJECT_VIP, name_of(knot->vips[i]));
    struct vip_facts facts = {.object = knot->vips[i], .claims = knot->fixture->claims, .now = NOW};
    struct status_update update;
    vip_status(&facts, &knot->fixture->arena, &update);
    struct policy_view view = {.differs = update.status,
                               .blocked = update.status && is_blocked(knot, update.status, object),
                               .postponed = object->history.postponed};
    enum policy_step step = policy_step(&view);
    if (step == STEP_LEAVE) {
        status_update_done(&update);
        facts.leaves = true;
        vip_status(&facts, &knot->fixture->arena, &update);
    }
    bool writes = (step == STEP_WRITE || step == STEP_LEAVE) && update.status;
    if (writes) {
        merge(knot->vips[i], update.status, NULL);
        see(knot, i);
        assert_none_twice(knot);
        knot->writes++;
    }
    after(&object->history, step == STEP_NOTHING ? PASS_RIGHT
                            : !writes            ? PASS_BLOCKED
                            : step == STEP_WRITE ? PASS_WRITTEN
                                                 : PASS_LEFT);
    status_update_done(&update);
    return step != STEP_NOTHING;
}

/* Passes in random order, until nothing is to be done. */
static void untie(struct knot *knot)
{
    bool busy = true;
    for (size_t round = 0; busy; round++) {
        bool all = round % 4 == 3; /* else some come later */
        size_t first = (size_t)rand() % knot->n;
        busy = !all;
        for (size_t i = 0; i < knot->n; i++)
            if (all || rand() % 3)
                busy = pass(knot, (first + i * 13) % knot->n) || busy;
        if (round > 40)
            fail_msg("it goes on for ever");
    }
    arena_reset(&knot->fixture->arena);
}

static void assert_untied(const struct knot *knot, const size_t has[2][VIPS_MAX])
{
    for (size_t i = 0; i < knot->n; i++)
        for (int f = 0; f < 1 + knot->dual; f++) {
            char text[IPAM_ADDR_TEXT_MAX];
            address_text(text, f, has[f][i]);
            assert_string_equal(status_text(knot->vips[i], "status", f ? "allocatedIPv6Address" : "allocatedAddress"),
                                text);
            const json_t *bound = status_condition(status_get(knot->vips[i], "status", "conditions"), "Bound");
            assert_string_equal(json_string_value(json_object_get(bound, "status")), "True");
        }
    assert_true(knot->writes <= 2 * knot->n); /* let go, and show */
}

static void check(struct fixture *fixture, size_t n, bool dual, const size_t shows[2][VIPS_MAX],
                  const size_t has[2][VIPS_MAX])
{
    struct knot knot;
    knot_make(&knot, fixture, n, dual, shows, has);
    untie(&knot);
    assert_untied(&knot, has);
    knot_done(&knot);
}

static void a_swap_of_any_length_ends_right(void **state)
{
    srand(7);
    for (size_t n = 2; n <= 11; n++) {
        size_t shows[2][VIPS_MAX], has[2][VIPS_MAX];
        for (size_t i = 0; i < n; i++) {
            shows[0][i] = shows[1][i] = i;
            has[0][i] = has[1][i] = (i + 1) % n;
        }
        check(*state, n, false, shows, has);
        check(*state, n, true, shows, has);
    }
}

/* v0 → the first of a cycle of three; the others of the chain behind it. */
static void a_chain_into_a_cycle_ends_right(void **state)
{
    static const size_t shows[2][VIPS_MAX] = {{0, 1, 2, 3, 4}}, has[2][VIPS_MAX] = {{1, 2, 5, 4, 3}};
    srand(8);
    for (int i = 0; i < 50; i++)
        check(*state, 5, false, shows, has);
}

/* Random arrangements: any addresses, some VIPs show none, one family moves and the other does not. */
static void any_arrangement_ends_right_and_shows_no_address_twice(void **state)
{
    srand(9);
    for (int run = 0; run < 3000; run++) {
        size_t n = 2 + (size_t)rand() % 9, arrangement[VIPS_MAX], shows[2][VIPS_MAX], has[2][VIPS_MAX];
        bool dual = rand() % 2;
        for (int side = 0; side < 4; side++) {
            size_t *to = side < 2 ? shows[side] : has[side - 2];
            for (size_t i = 0; i < VIPS_MAX; i++)
                arrangement[i] = i;
            for (size_t i = VIPS_MAX - 1; i > 0; i--) {
                size_t j = (size_t)rand() % (i + 1), was = arrangement[i];
                arrangement[i] = arrangement[j];
                arrangement[j] = was;
            }
            for (size_t i = 0; i < n; i++)
                to[i] = side < 2 && rand() % 5 == 0 ? VIPS_MAX : arrangement[i];
        }
        if (rand() % 3 == 0)
            memcpy(has[1], shows[1], sizeof(has[1]));
        for (size_t i = 0; i < n; i++) /* an address has to be had */
            if (has[1][i] >= VIPS_MAX)
                dual = false;
        check(*state, n, dual, shows, has);
    }
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, fixture_setup, fixture_teardown)
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_right_or_was_not_kept_by_the_server_is_not_written),
        cmocka_unit_test(an_address_that_another_program_wrote_is_adopted_once_all_is_right),
        cmocka_unit_test(a_pause_is_told_after_a_second),
        cmocka_unit_test(a_blocked_one_waits_for_a_moment_and_then_lets_go),
        cmocka_unit_test(a_pool_waits_for_its_claims_but_not_for_ever),
        cmocka_unit_test(ipamd_is_asked_once_ipam_watcher_has_had_the_time_and_not_about_thousands_at_once),
        cmocka_unit_test(answers_are_told_apart),
        cmocka_unit_test(every_outcome_has_its_consequence),
        cmocka_unit_test(one_that_was_replaced_by_another_of_the_name_is_not_forgotten),
        cmocka_unit_test(conflicts_are_answered_at_once_and_the_fourth_in_a_row_with_a_pause),
        cmocka_unit_test(failures_wait_ever_longer_but_ipamd_is_asked_every_few_seconds),
        cmocka_unit_test(who_keeps_undoing_is_answered_ever_more_slowly_and_forgiven_after_a_minute),
        cmocka_unit_test(a_pool_keeps_its_pace_unless_it_only_waited),
        cmocka_unit_test(while_the_server_is_out_of_reach_all_wait_and_writes_that_fail_together_are_one_failure),
        TEST(a_swap_of_any_length_ends_right),
        TEST(a_chain_into_a_cycle_ends_right),
        TEST(any_arrangement_ends_right_and_shows_no_address_twice),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
