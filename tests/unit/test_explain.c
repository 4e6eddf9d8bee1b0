/* The order of ipamd's checks as explain tells it: which are made, which failed, what is left out. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "explain.h"

/* ---- Fixture -------------------------------------------------------------------------------------------------------- */

struct fixture {
    struct arena arena;
    struct explain explain;
    Ipam__V1__Claim claim;
    json_t *json;
};

static int setup(void **state)
{
    struct fixture *fixture = calloc(1, sizeof(*fixture));

    arena_init(&fixture->arena);
    ipam__v1__claim__init(&fixture->claim);
    fixture->claim.address = "10.0.0.1/32";
    fixture->claim.state = IPAM__V1__CLAIM_STATE__BOUND;
    fixture->explain = (struct explain){.arena = &fixture->arena,
                                        .owner = "Manual/a",
                                        .pool_name = "p",
                                        .asked = {true, false},
                                        .address = {"", ""},
                                        .preferred = {"", ""},
                                        .message = "",
                                        .failing_family = -1};
    *state = fixture;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *fixture = *state;
    json_decref(fixture->json);
    arena_done(&fixture->arena);
    free(fixture);
    return 0;
}

/* ---- Helpers -------------------------------------------------------------------------------------------------------- */

/* "owner claim/ipv4 !pool -family/ipv4": ! failed, - not reached. */
static const char *steps(struct fixture *fixture)
{
    const char *all = "";
    size_t i;
    json_t *step;

    json_decref(fixture->json);
    fixture->json = explain_json(&fixture->explain);
    json_array_foreach(json_object_get(fixture->json, "steps"), i, step)
    {
        const char *family = json_string_value(json_object_get(step, "family"));
        const char *result = json_string_value(json_object_get(step, "result"));
        all = arena_printf(&fixture->arena, "%s%s%s%s%s%s", all, i == 0 ? "" : " ",
                           strcmp(result, "failed") == 0       ? "!"
                           : strcmp(result, "notReached") == 0 ? "-"
                                                               : "",
                           json_string_value(json_object_get(step, "check")), family == NULL ? "" : "/",
                           family == NULL ? "" : family);
    }
    return all;
}

static void refuse(struct fixture *fixture, enum ipam_reason reason, int family)
{
    fixture->explain.reason = reason;
    fixture->explain.message = "why";
    fixture->explain.failing_family = family;
}

static const char *outcome(struct fixture *fixture)
{
    return json_string_value(json_object_get(fixture->json, "outcome"));
}

static bool is_advised(struct fixture *fixture, const char *words)
{
    size_t i;
    json_t *item;

    json_array_foreach(json_object_get(fixture->json, "unblock"), i, item)
    {
        if (strstr(json_string_value(item), words) != NULL)
            return true;
    }
    return false;
}

/* ---- Tests ---------------------------------------------------------------------------------------------------------- */

static void any_address_of_a_pool_takes_these_checks(void **state)
{
    struct fixture *fixture = *state;

    fixture->explain.answer[0] = &fixture->claim;
    assert_string_equal(steps(fixture), "owner request claim/ipv4 pool draining rejected family/ipv4 auto-assign/ipv4 "
                                        "paused/ipv4 free address/ipv4");
    assert_string_equal(outcome(fixture), "granted");
}

static void certain_address_takes_others(void **state)
{
    struct fixture *fixture = *state;

    fixture->explain.address[0] = "10.0.0.1";
    assert_string_equal(steps(fixture), "owner request address/ipv4 claim/ipv4 pool draining rejected family/ipv4 "
                                        "reserved/ipv4 excluded/ipv4 in pool/ipv4 in use/ipv4 cooling/ipv4");
}

static void manual_address_asks_no_pool(void **state)
{
    struct fixture *fixture = *state;

    fixture->explain.pool_name = "";
    fixture->explain.address[0] = "10.0.0.1";
    assert_string_equal(steps(fixture), "owner request address/ipv4 claim/ipv4 permitted/ipv4 reserved/ipv4 kept/ipv4 "
                                        "in use/ipv4 cooling/ipv4");
}

static void checks_after_the_one_that_failed_are_not_reached(void **state)
{
    struct fixture *fixture = *state;

    refuse(fixture, IPAM_REASON_POOL_PAUSED, 0);
    assert_string_equal(steps(fixture), "owner request claim/ipv4 pool draining rejected family/ipv4 auto-assign/ipv4 "
                                        "!paused/ipv4 -free address/ipv4");
    assert_string_equal(outcome(fixture), "refused");
    assert_true(is_advised(fixture, "paused: false"));
}

static void dual_fails_in_the_family_that_is_told(void **state)
{
    struct fixture *fixture = *state;

    fixture->explain.asked[1] = true;
    refuse(fixture, IPAM_REASON_POOL_EXHAUSTED, 1);
    assert_string_equal(steps(fixture), "owner request claim/ipv4 claim/ipv6 pool draining rejected family/ipv4 "
                                        "family/ipv6 auto-assign/ipv4 paused/ipv4 free address/ipv4 auto-assign/ipv6 "
                                        "paused/ipv6 !free address/ipv6");
}

static void ipv6_alone_takes_every_check(void **state)
{
    struct fixture *fixture = *state;

    fixture->explain.asked[0] = false;
    fixture->explain.asked[1] = true;
    assert_string_equal(steps(fixture), "owner request claim/ipv6 pool draining rejected family/ipv6 auto-assign/ipv6 "
                                        "paused/ipv6 free address/ipv6");
}

static void what_is_held_already_is_not_decided_anew(void **state)
{
    struct fixture *fixture = *state;

    fixture->explain.held[0] = fixture->explain.answer[0] = &fixture->claim;
    assert_string_equal(steps(fixture), "owner request claim/ipv4");
    assert_string_equal(outcome(fixture), "held");
}

static void preferred_address_that_is_had_spares_the_other_checks(void **state)
{
    struct fixture *fixture = *state;

    fixture->explain.answer[0] = &fixture->claim;
    fixture->explain.preferred[0] = "10.0.0.1";
    assert_non_null(strstr(steps(fixture), "family/ipv4 preferred/ipv4"));
    assert_null(strstr(steps(fixture), "paused"));
    fixture->explain.preferred[0] = "10.0.0.10"; /* of which 10.0.0.1 is only the beginning */
    assert_non_null(strstr(steps(fixture), "preferred/ipv4 auto-assign/ipv4"));
    fixture->explain.preferred[0] = "10.0.0";
    assert_non_null(strstr(steps(fixture), "preferred/ipv4 auto-assign/ipv4"));
}

static void waiting_tells_its_place_and_enqueue_the_place_it_would_have(void **state)
{
    struct fixture *fixture = *state;

    refuse(fixture, IPAM_REASON_POOL_EXHAUSTED, 0);
    fixture->explain.place = 3;
    steps(fixture);
    assert_true(is_advised(fixture, "--enqueue it would be at place 3"));
    fixture->explain.waits = true;
    steps(fixture);
    assert_string_equal(outcome(fixture), "waiting");
    assert_false(is_advised(fixture, "--enqueue"));
    assert_string_equal(json_string_value(json_object_get(fixture->json, "place")), "3");
}

static void address_kept_from_manual_claims_fails_where_ipamd_says_so(void **state)
{
    struct fixture *fixture = *state;

    fixture->explain.pool_name = "";
    fixture->explain.address[0] = "10.0.0.0";
    refuse(fixture, IPAM_REASON_ADDRESS_NOT_PERMITTED, 0);
    assert_string_equal(steps(fixture),
                        "owner request address/ipv4 claim/ipv4 !permitted/ipv4 -reserved/ipv4 -kept/ipv4 "
                        "-in use/ipv4 -cooling/ipv4");
    refuse(fixture, IPAM_REASON_ADDRESS_RESERVED, 0);
    assert_non_null(strstr(steps(fixture), " permitted/ipv4 !reserved/ipv4 -kept/ipv4"));
    refuse(fixture, IPAM_REASON_ADDRESS_EXCLUDED, 0);
    assert_non_null(strstr(steps(fixture), " reserved/ipv4 !kept/ipv4 -in use/ipv4"));
}

static void only_reasons_of_checks_are_explained(void **state)
{
    (void)state;
    assert_true(explain_knows(IPAM_REASON_ADDRESS_RESERVED));
    assert_true(explain_knows(IPAM_REASON_ADDRESS_NOT_PERMITTED));
    assert_true(explain_knows(IPAM_REASON_ADDRESS_COOLING));
    assert_false(explain_knows(IPAM_REASON_NONE));
    assert_false(explain_knows(IPAM_REASON_PERMISSION_DENIED));
    assert_false(explain_knows(IPAM_REASON_UNREACHABLE));
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(any_address_of_a_pool_takes_these_checks),
        TEST(certain_address_takes_others),
        TEST(manual_address_asks_no_pool),
        TEST(checks_after_the_one_that_failed_are_not_reached),
        TEST(dual_fails_in_the_family_that_is_told),
        TEST(ipv6_alone_takes_every_check),
        TEST(what_is_held_already_is_not_decided_anew),
        TEST(preferred_address_that_is_had_spares_the_other_checks),
        TEST(waiting_tells_its_place_and_enqueue_the_place_it_would_have),
        TEST(address_kept_from_manual_claims_fails_where_ipamd_says_so),
        TEST(only_reasons_of_checks_are_explained),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
