/* The status of a ProxyVIP, to the letter of the reference page; nothing of anybody else touched, nothing written twice. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "status_fixture.h"

#define AUTO "{'poolRef': {'name': 'main-vip-pool'}, 'addressFamily': 'ipv4'}"
#define DUAL "{'poolRef': {'name': 'p'}, 'addressFamily': 'dual'}"
#define BOUND(address, message)                                                                         \
    "{'allocatedAddress': '" address "', 'conditions': [{'type': 'Bound', 'status': 'True', 'reason': " \
    "'AddressAllocated', 'message': '" message "', 'lastTransitionTime': '2023-01-01T00:00:00Z', "      \
    "'observedGeneration': 1}]}"
#define BOUND_1 BOUND("10.200.0.1/32", "Address 10.200.0.1/32 allocated from pool main-vip-pool")

/* ---- Helpers ------------------------------------------------------------------------------------------------------- */

static void work_out(struct fixture *fixture, const json_t *object, const struct vip_answer *answer, bool leaves,
                     struct status_update *ret)
{
    struct vip_facts facts = {
        .object = object, .claims = fixture->claims, .answer = answer, .leaves = leaves, .now = NOW};
    vip_status(&facts, &fixture->arena, ret);
}

/* Brings the object up to date and returns how many events that gave; -1: nothing was to be written. */
static int write_vip(struct fixture *fixture, json_t *object)
{
    struct status_update update;
    work_out(fixture, object, NULL, false, &update);
    int events = update.status ? (int)update.n_events : -1;
    if (update.status)
        merge(object, update.status, NULL);
    status_update_done(&update);
    return events;
}

/* And again: what was written is right. */
static void assert_writes(struct fixture *fixture, json_t *object, const char *expected)
{
    assert_true(write_vip(fixture, object) >= 0);
    assert_status(object, expected);
    assert_int_equal(write_vip(fixture, object), -1);
}

/* ---- Tests --------------------------------------------------------------------------------------------------------- */

static void bound_vip_reads_as_on_the_reference_page(void **state)
{
    json_t *object = object_of("auto-vip", AUTO, NULL);
    give(*state, "auto-vip", "u-auto-vip", "main-vip-pool", "10.200.0.1/32");
    assert_writes(*state, object,
                  "{'allocatedAddress': '10.200.0.1/32', 'conditions': [{'type': 'Bound', 'status': 'True', "
                  "'reason': 'AddressAllocated', 'message': 'Address 10.200.0.1/32 allocated from pool main-vip-pool', "
                  "'lastTransitionTime': '2024-01-15T10:30:00Z', 'observedGeneration': 1}]}");
    json_decref(object);
}

static void what_is_right_is_not_written_whatever_the_order_of_fields(void **state)
{
    json_t *object = object_of("a", AUTO, BOUND_1);
    give(*state, "a", "u-a", "main-vip-pool", "10.200.0.1/32");
    assert_int_equal(write_vip(*state, object), -1);
    json_decref(object);
}

static void dual_vip_names_both_addresses(void **state)
{
    json_t *object = object_of("a", DUAL, NULL);
    give(*state, "a", "u-a", "p", "10.0.0.1/32");
    give(*state, "a", "u-a", "p", "2001:db8::1/128");
    write_vip(*state, object);
    assert_string_equal(status_text(object, "status", "allocatedIPv6Address"), "2001:db8::1/128");
    assert_string_equal(message_of(object, "Bound"), "Addresses 10.0.0.1/32 and 2001:db8::1/128 allocated from pool p");
    json_decref(object);
}

static void manual_vip_says_that_there_is_no_pool(void **state)
{
    json_t *object = object_of("a", "{'address': '192.0.2.7/32'}", NULL);
    give(*state, "a", "u-a", "", "192.0.2.7/32");
    write_vip(*state, object);
    assert_string_equal(message_of(object, "Bound"), "Address 192.0.2.7/32 allocated as requested, without a pool");
    json_decref(object);
}

static void ipv6_vip_has_no_ipv4_field(void **state)
{
    json_t *object = object_of("a", "{'poolRef': {'name': 'p'}, 'addressFamily': 'ipv6'}", NULL);
    give(*state, "a", "", "p", "2001:db8::1/128");
    write_vip(*state, object);
    assert_null(status_get(object, "status", "allocatedAddress"));
    assert_string_equal(message_of(object, "Bound"), "Address 2001:db8::1/128 allocated from pool p");
    json_decref(object);
}

static void waiting_vip_says_why_and_what_to_do(void **state)
{
    json_t *object = object_of("a", AUTO, NULL);
    let_wait(*state, "a", "main-vip-pool", IPAM_IPV4, "POOL_EXHAUSTED",
             "pool exhausted: main-vip-pool has no free ipv4 address (254 of 254 allocated)");
    assert_writes(
        *state, object,
        "{'conditions': [{'type': 'Bound', 'status': 'False', 'reason': 'PoolExhausted', 'message': 'pool "
        "exhausted: main-vip-pool has no free ipv4 address (254 of 254 allocated); release addresses, add addresses "
        "to the pool, or use another pool', 'lastTransitionTime': '2024-01-15T10:30:00Z', "
        "'observedGeneration': 1}]}");
    json_decref(object);
}

/* ipam-watcher's sync pauses pools for a moment; an address that is no longer the VIP's is never shown as long. */
static void only_a_pause_may_be_told_later_and_only_when_no_address_goes(void **state)
{
    static const struct {
        const char *spec, *status, *ipv4_reason, *ipv6_reason; /* NULL: no claim */
        bool passes;
    } cases[] = {
        {AUTO, NULL, "POOL_PAUSED", NULL, true},
        {AUTO, NULL, "POOL_EXHAUSTED", NULL, false},
        {DUAL, NULL, "POOL_PAUSED", "POOL_PAUSED", true},
        {DUAL, NULL, "POOL_PAUSED", "POOL_EXHAUSTED", false},
        {AUTO, "{'allocatedAddress': '10.200.0.1/32'}", "POOL_PAUSED", NULL, true}, /* not ours: it stays */
        {AUTO, BOUND("10.200.0.1/32", "Address 10.200.0.1/32 allocated from pool x"), "POOL_PAUSED", NULL, false},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
        struct status_update update;
        const char name[] = {(char)('a' + i), '\0'};
        json_t *object = object_of(name, cases[i].spec, cases[i].status);
        let_wait(*state, name, "main-vip-pool", IPAM_IPV4, cases[i].ipv4_reason, "waits");
        if (cases[i].ipv6_reason)
            let_wait(*state, name, "main-vip-pool", IPAM_IPV6, cases[i].ipv6_reason, "waits");
        struct fixture *fixture = *state;
        work_out(fixture, object, NULL, false, &update);
        assert_non_null(update.status);
        assert_int_equal(update.passes, cases[i].passes);
        status_update_done(&update);
        json_decref(object);
    }
}

static void advice_that_ipamd_gives_is_not_given_twice(void **state)
{
    json_t *object = object_of("a", AUTO, NULL);
    let_wait(*state, "a", "main-vip-pool", IPAM_IPV4, "POOL_NOT_FOUND",
             "pool not found: there is no pool main-vip-pool; apply it first, or name another");
    write_vip(*state, object);
    assert_string_equal(message_of(object, "Bound"),
                        "pool not found: there is no pool main-vip-pool; apply it first, or name another");
    json_decref(object);
}

#define IN_USE(address, holder) "address in use: " address " is held by " holder

static void assert_bound_says(struct fixture *fixture, json_t *object, const char *message)
{
    char start[200] = "";
    write_vip(fixture, object);
    snprintf(start, sizeof(start), "%.*s", (int)strlen(message), message_of(object, "Bound"));
    assert_string_equal(start, message);
    assert_string_equal(message_of(object, "Bound") + strlen(message),
                        "; ask for another address, or release it first");
}

/* ipamd records nothing of those that go on waiting while an address goes from hand to hand. */
static void waiting_vip_names_who_has_its_address_now(void **state)
{
    json_t *object = object_of("a", AUTO, NULL);
    give(*state, "first", "", "p", "10.0.0.9/32");
    let_wait_for(*state, "a", "10.0.0.9", false, IN_USE("10.0.0.9", "ProxyVIP/first"));
    assert_bound_says(*state, object, IN_USE("10.0.0.9", "ProxyVIP/first"));
    give_back(*state, "first", IPAM_IPV4);
    write_vip(*state, object);
    assert_string_equal(message_of(object, "Bound"),
                        "address cooling: 10.0.0.9 was released and is kept from others for a while; wait until the "
                        "cooling ends, ask for another address, or end it: ipamc release --address A --end-cooling");
    give(*state, "Node/second", "", "", "10.0.0.9/32");
    assert_bound_says(*state, object, IN_USE("10.0.0.9", "Node/second"));
    json_decref(object);
}

static void waiting_pair_names_the_address_that_is_in_its_way(void **state)
{
    json_t *object = object_of("a", DUAL, NULL);
    let_wait_for(*state, "a", "10.0.0.9", true, IN_USE("10.0.0.9", "ProxyVIP/gone"));
    let_wait_for(*state, "a", "2001:db8::9", true, IN_USE("10.0.0.9", "ProxyVIP/gone"));
    give(*state, "six", "", "p", "2001:db8::9/128");
    assert_bound_says(*state, object, IN_USE("2001:db8::9", "ProxyVIP/six"));
    give(*state, "four", "", "p", "10.0.0.9/32");
    assert_bound_says(*state, object, IN_USE("10.0.0.9", "ProxyVIP/four"));
    json_decref(object);
}

static void claims_that_wait_for_an_address_are_found_by_it(void **state)
{
    struct fixture *fixture = *state;
    struct ipam_addr address;
    ipam_addr_parse("10.0.0.9", &address, NULL);
    assert_null(claims_waiting(fixture->claims, &address));
    let_wait_for(fixture, "a", "10.0.0.9/32", false, "");
    let_wait_for(fixture, "b", "10.0.0.10", false, "");
    let_wait_for(fixture, "c", "10.0.0.9", false, "");
    give(fixture, "d", "", "p", "10.0.0.9/32");
    const struct claim *claim = claims_waiting(fixture->claims, &address);
    assert_string_equal(claim->name, "a");
    assert_string_equal(claims_waiting_next(claim)->name, "c");
    assert_null(claims_waiting_next(claims_waiting_next(claim)));
    give_back(fixture, "a", IPAM_IPV4);
    assert_string_equal(claims_waiting(fixture->claims, &address)->name, "c");
}

static void
events_outlive_the_claim(void **state) /* they are shown after the write, and the claim may have changed by then */
{
    struct fixture *fixture = *state;
    struct status_update update;
    const char *message = "pool not found: there is no pool main; apply it first, or name another";
    json_t *object = object_of("a", AUTO, NULL);
    let_wait(fixture, "a", "main", IPAM_IPV4, "POOL_NOT_FOUND", message);
    work_out(fixture, object, NULL, false, &update);
    assert_int_equal(update.n_events, 1);
    assert_ptr_not_equal(update.events[0].message, claims_of(fixture->claims, "ProxyVIP", "a", IPAM_IPV4)->message);
    give_back(fixture, "a", IPAM_IPV4);
    assert_string_equal(update.events[0].message, message);
    status_update_done(&update);
    json_decref(object);
}

static void losing_the_address_clears_it_and_moves_the_transition_time(void **state)
{
    json_t *object = object_of("a", AUTO, BOUND_1);
    let_wait(*state, "a", "main-vip-pool", IPAM_IPV4, "POOL_NOT_FOUND", "pool not found: …; …");
    assert_int_equal(write_vip(*state, object), 2); /* released, and why */
    assert_null(status_get(object, "status", "allocatedAddress"));
    const json_t *bound = status_condition(status_get(object, "status", "conditions"), "Bound");
    assert_string_equal(json_string_value(json_object_get(bound, "lastTransitionTime")), "2024-01-15T10:30:00Z");
    json_decref(object);
}

static void another_address_keeps_the_transition_time(void **state)
{
    json_t *object = object_of("a", AUTO, BOUND_1);
    give(*state, "a", "u-a", "main-vip-pool", "10.200.0.2/32");
    assert_int_equal(write_vip(*state, object), 2);
    const json_t *bound = status_condition(status_get(object, "status", "conditions"), "Bound");
    assert_string_equal(json_string_value(json_object_get(bound, "lastTransitionTime")), "2023-01-01T00:00:00Z");
    assert_string_equal(status_text(object, "status", "allocatedAddress"), "10.200.0.2/32");
    json_decref(object);
}

static void dual_vip_back_to_one_family_loses_the_other_address(void **state)
{
    json_t *object = object_of("a", DUAL, NULL);
    give(*state, "a", "u-a", "p", "10.0.0.1/32");
    give(*state, "a", "u-a", "p", "2001:db8::1/128");
    write_vip(*state, object);
    give_back(*state, "a", IPAM_IPV6);
    write_vip(*state, object);
    assert_null(status_get(object, "status", "allocatedIPv6Address"));
    assert_string_equal(status_text(object, "status", "allocatedAddress"), "10.0.0.1/32");
    json_decref(object);
}

static void half_bound_vip_keeps_its_address_and_says_what_is_missing(void **state)
{
    json_t *object = object_of("a", DUAL, NULL);
    give(*state, "a", "u-a", "p", "10.0.0.1/32");
    let_wait(*state, "a", "p", IPAM_IPV6, "FAMILY_NOT_IN_POOL", "family not in pool: …; add some");
    write_vip(*state, object);
    assert_string_equal(message_of(object, "Bound"), "family not in pool: …; add some. Address 10.0.0.1/32 is kept");
    give_back(*state, "a", IPAM_IPV4);
    write_vip(*state, object);
    assert_null(status_get(object, "status", "allocatedAddress"));
    json_decref(object);
}

static void others_fields_and_conditions_stay_as_they_are(void **state)
{
    json_t *object =
        object_of("a", AUTO,
                  "{'activeNode': 'n1', 'observedGeneration': 5, 'conditions': [{'type': 'Announced', 'x': 1}, "
                  "{'type': 'Bound', 'status': 'False'}, 7, {'type': 'Bound'}, {'type': 'Other'}]}");
    give(*state, "a", "u-a", "main-vip-pool", "10.200.0.1/32");
    assert_writes(
        *state, object,
        "{'activeNode': 'n1', 'observedGeneration': 5, 'allocatedAddress': '10.200.0.1/32', 'conditions': [{'type': "
        "'Announced', 'x': 1}, {'type': 'Bound', 'status': 'True', 'reason': 'AddressAllocated', 'message': "
        "'Address 10.200.0.1/32 allocated from pool main-vip-pool', 'lastTransitionTime': "
        "'2024-01-15T10:30:00Z', 'observedGeneration': 1}, 7, {'type': 'Other'}]}");
    json_decref(object);
}

/* ipamd's state was lost, or the VIP is new: its status is what the watcher takes the address from. */
static void status_stays_while_ipamd_has_no_claim(void **state)
{
    json_t *object = object_of("a", AUTO, BOUND_1);
    assert_int_equal(write_vip(*state, object), -1);
    json_decref(object);
}

static void vip_that_asks_for_nothing_loses_the_address(void **state)
{
    json_t *object = object_of("a", "{'mode': 'BGP'}", BOUND_1);
    assert_int_equal(write_vip(*state, object), 2);
    assert_null(status_get(object, "status", "allocatedAddress"));
    assert_int_equal(write_vip(*state, object), -1);
    json_decref(object);
}

static void address_that_another_owner_holds_goes_even_without_a_claim(void **state)
{
    json_t *object = object_of("a", AUTO, BOUND_1);
    give(*state, "b", "u-b", "main-vip-pool", "10.200.0.1/32");
    write_vip(*state, object);
    assert_null(status_get(object, "status", "allocatedAddress"));
    assert_int_equal(write_vip(*state, object), -1);
    json_decref(object);
}

/* Whose it is stands in managedFields; what the message says is for people. */
static void address_that_is_not_ours_is_never_cleared(void **state)
{
    static const char *const managed[] = {
        NULL, /* and Bound is not True */
        "[{'manager': 'ipam-status-writer', 'fieldsV1': {'f:status': {'f:conditions': {}}}}]",
        "[{'manager': 'kubectl', 'fieldsV1': {'f:status': {'f:allocatedAddress': {}}}}, 7, {}, {'manager': "
        "'ipam-status-writer', 'fieldsV1': {'f:status': {'f:allocatedIPv6Address': {}}}}]",
    };
    for (size_t i = 0; i < sizeof(managed) / sizeof(*managed); i++) {
        json_t *object = object_of("a", AUTO, managed[i] ? BOUND_1 : "{'allocatedAddress': '10.200.0.1/32'}");
        if (managed[i])
            json_object_set_new(json_object_get(object, "metadata"), "managedFields", json_of(managed[i]));
        let_wait(*state, "a", "main-vip-pool", IPAM_IPV4, "POOL_PAUSED", "pool paused: …; …");
        write_vip(*state, object);
        assert_string_equal(status_text(object, "status", "allocatedAddress"), "10.200.0.1/32");
        assert_int_equal(write_vip(*state, object), -1);
        json_decref(object);
    }
}

static void address_is_ours_by_managed_fields_whatever_the_message_says(void **state)
{
    json_t *object = object_of("a", AUTO, BOUND("10.200.0.1/32", "Adresse zugeteilt"));
    json_object_set_new(json_object_get(object, "metadata"), "managedFields",
                        json_of("[{'manager': 'ipam-status-writer', 'fieldsV1': {'f:status': {'f:allocatedAddress': "
                                "{}, 'f:conditions': {}}}}]"));
    struct ipam_addr shown[2];
    vip_status_shown(object, shown);
    assert_int_equal(shown[0].family, IPAM_IPV4);
    let_wait(*state, "a", "main-vip-pool", IPAM_IPV4, "POOL_NOT_FOUND", "pool not found: …; …");
    write_vip(*state, object);
    assert_null(status_get(object, "status", "allocatedAddress"));
    json_decref(object);
}

/* A status that was put back from a backup: nothing in managedFields says that we wrote it. */
static void address_of_a_restored_status_is_ours_and_is_adopted_after_our_first_write(void **state)
{
    struct fixture *fixture = *state;
    struct status_update update;
    json_t *object = object_of("a", AUTO, NULL), *status = json_of(BOUND_1);
    struct ipam_addr shown[2];
    merge_as(object, "velero", status, NULL);
    vip_status_shown(object, shown);
    assert_int_equal(shown[0].family, IPAM_IPV4);
    give(fixture, "a", "u-a", "main-vip-pool", "10.200.0.1/32");
    work_out(fixture, object, NULL, false, &update);
    assert_null(update.status);
    assert_null(update.adopt);
    status_update_done(&update);
    json_object_set_new(json_object_get(object, "metadata"), "generation", json_integer(2));
    assert_int_equal(write_vip(fixture, object), 0); /* its conditions are ours by now, its address is velero's yet */
    work_out(fixture, object, NULL, false, &update);
    assert_null(update.status);
    assert_string_equal(json_string_value(json_object_get(update.adopt, "allocatedAddress")), "10.200.0.1/32");
    status_update_done(&update);
    json_decref(status);
    json_decref(object);
}

static void claim_of_an_earlier_object_does_not_count_one_without_uid_does(void **state)
{
    json_t *object = object_of("a", AUTO, NULL);
    give(*state, "a", "u-old", "main-vip-pool", "10.200.0.1/32");
    assert_int_equal(write_vip(*state, object), -1);
    give(*state, "a", "", "main-vip-pool", "10.200.0.1/32");
    assert_true(write_vip(*state, object) >= 0);
    json_decref(object);
}

/* `kubectl wait` may not take the answer to the old spec for that to the new one. */
static void generation_is_observed_once_the_claim_is_on_its_terms(void **state)
{
    static const char *const specs[] = {
        "{'poolRef': {'name': 'other'}}",
        "{'poolRef': {'name': 'main-vip-pool'}, 'address': '10.200.0.9/32'}",
        DUAL,
    };
    for (size_t i = 0; i < sizeof(specs) / sizeof(*specs); i++) {
        json_t *object = object_of("a", specs[i], BOUND_1);
        json_object_set_new(json_object_get(object, "metadata"), "generation", json_integer(2));
        give(*state, "a", "u-a", "main-vip-pool", "10.200.0.1/32");
        assert_int_equal(write_vip(*state, object), -1);
        json_decref(object);
    }
    json_t *object = object_of("a", "{'poolRef': {'name': 'main-vip-pool'}, 'address': '10.200.0.1'}", BOUND_1);
    json_object_set_new(json_object_get(object, "metadata"), "generation", json_integer(2));
    assert_int_equal(write_vip(*state, object), 0);
    const json_t *bound = status_condition(status_get(object, "status", "conditions"), "Bound");
    assert_int_equal(json_integer_value(json_object_get(bound, "observedGeneration")), 2);
    json_decref(object);
}

/* ---- Tests: refusals ------------------------------------------------------------------------------------------------ */

static const struct vip_answer in_use = {VIP_REFUSED, "ADDRESS_IN_USE",
                                         "address in use: 10.200.0.9 is held by ProxyVIP/b"};

static int64_t generation_of(const json_t *object, const char *type)
{
    const json_t *condition = status_condition(status_get(object, "status", "conditions"), type);
    return json_integer_value(json_object_get(condition, "observedGeneration"));
}

static const char *reason_of(const json_t *object, const char *type)
{
    const json_t *condition = status_condition(status_get(object, "status", "conditions"), type);
    const char *reason = json_string_value(json_object_get(condition, "reason"));
    return reason ? reason : "";
}

static json_t *edited(const char *spec, const char *status)
{
    json_t *object = object_of("a", spec, status);
    json_object_set_new(json_object_get(object, "metadata"), "generation", json_integer(2));
    return object;
}

static void answer_with(struct fixture *fixture, json_t *object, const struct vip_answer *answer)
{
    struct status_update update;
    work_out(fixture, object, answer, false, &update);
    if (update.status)
        merge(object, update.status, NULL);
    status_update_done(&update);
}

static void a_refused_edit_stands_beside_the_address_that_is_kept_and_goes_with_it(void **state)
{
    json_t *object = edited("{'poolRef': {'name': 'main-vip-pool'}, 'address': '10.200.0.9'}", BOUND_1);
    give(*state, "a", "u-a", "main-vip-pool", "10.200.0.1/32");
    answer_with(*state, object, &in_use);
    assert_string_equal(reason_of(object, "Bound"), "AddressAllocated");
    assert_int_equal(generation_of(object, "Bound"), 1);
    assert_string_equal(reason_of(object, "SpecAccepted"), "AddressInUse");
    assert_int_equal(generation_of(object, "SpecAccepted"), 2);
    assert_string_equal(
        message_of(object, "SpecAccepted"),
        "address in use: 10.200.0.9 is held by ProxyVIP/b; ask for another address, or release it first. "
        "Address 10.200.0.1/32 is kept");
    assert_int_equal(write_vip(*state, object), -1); /* not asked: it stays */
    give(*state, "a", "u-a", "main-vip-pool", "10.200.0.9/32");
    write_vip(*state, object);
    assert_null(status_condition(status_get(object, "status", "conditions"), "SpecAccepted"));
    assert_int_equal(generation_of(object, "Bound"), 2);
    json_decref(object);
}

static void a_refusal_of_a_vip_without_address_stands_in_bound(void **state)
{
    static const struct vip_answer limit = {VIP_REFUSED, "LIMIT_EXCEEDED", "limit exceeded: …"};
    json_t *object = object_of("a", AUTO, NULL);
    answer_with(*state, object, &limit);
    assert_string_equal(reason_of(object, "Bound"), "LimitExceeded");
    assert_int_equal(generation_of(object, "Bound"), 1);
    assert_null(status_condition(status_get(object, "status", "conditions"), "SpecAccepted"));
    json_decref(object);
}

static void a_waiting_vip_that_is_edited_to_something_refused_says_so(void **state)
{
    static const struct vip_answer invalid = {VIP_REFUSED, "INVALID_REQUEST",
                                              "neither a pool nor an ipv6 address is given"};
    json_t *object = object_of("a", AUTO, NULL);
    let_wait(*state, "a", "main-vip-pool", IPAM_IPV4, "POOL_EXHAUSTED", "pool exhausted: …");
    write_vip(*state, object);
    json_object_set_new(object, "spec", json_of("{'addressFamily': 'dual', 'address': '10.99.0.5'}"));
    json_object_set_new(json_object_get(object, "metadata"), "generation", json_integer(2));
    assert_int_equal(write_vip(*state, object), -1);
    answer_with(*state, object, &invalid);
    assert_string_equal(reason_of(object, "Bound"), "InvalidRequest");
    assert_int_equal(generation_of(object, "Bound"), 2);
    json_decref(object);
}

static void a_spec_that_ipamd_may_not_be_asked_about_is_told_as_not_applied_and_one_that_it_accepts_is_not(void **state)
{
    static const struct vip_answer may_not = {VIP_MAY_NOT_ASK, "", ""}, accepted = {VIP_ACCEPTED, "", ""};
    json_t *object = edited("{'poolRef': {'name': 'main-vip-pool'}, 'address': '10.200.0.9'}", BOUND_1);
    give(*state, "a", "u-a", "main-vip-pool", "10.200.0.1/32");
    answer_with(*state, object, &may_not);
    const json_t *condition = status_condition(status_get(object, "status", "conditions"), "SpecAccepted");
    assert_string_equal(json_string_value(json_object_get(condition, "status")), "Unknown");
    assert_string_equal(reason_of(object, "SpecAccepted"), "NotApplied");
    answer_with(*state, object, &accepted);
    assert_null(status_condition(status_get(object, "status", "conditions"), "SpecAccepted"));
    assert_string_equal(reason_of(object, "Bound"), "AddressAllocated");
    assert_int_equal(generation_of(object, "Bound"), 1);
    json_decref(object);
}

static void a_spec_that_can_not_be_read_is_told_with_and_without_an_address(void **state)
{
    json_t *object = edited("{'poolRef': {'name': 7}}", BOUND_1), *other = object_of("b", "{'address': 7}", NULL);
    give(*state, "a", "u-a", "main-vip-pool", "10.200.0.1/32");
    write_vip(*state, object);
    assert_string_equal(reason_of(object, "SpecAccepted"), "InvalidSpec");
    assert_string_equal(message_of(object, "SpecAccepted"),
                        "spec.poolRef.name can't be used: write a string. Address 10.200.0.1/32 is kept");
    assert_string_equal(reason_of(object, "Bound"), "AddressAllocated");
    assert_int_equal(write_vip(*state, object), -1);
    write_vip(*state, other);
    assert_string_equal(reason_of(other, "Bound"), "InvalidSpec");
    assert_int_equal(generation_of(other, "Bound"), 1);
    json_decref(object);
    json_decref(other);
}

static void a_vip_that_never_asked_for_anything_says_so(void **state)
{
    json_t *object = object_of("a", "{'mode': 'BGP'}", NULL);
    assert_writes(
        *state, object,
        "{'conditions': [{'type': 'Bound', 'status': 'False', 'reason': 'NoAddressRequested', 'message': 'the VIP "
        "asks for no address; set spec.poolRef.name, spec.address or spec.ipv6Address', 'lastTransitionTime': "
        "'2024-01-15T10:30:00Z', 'observedGeneration': 1}]}");
    json_decref(object);
}

static void a_waiting_vip_that_asks_for_nothing_any_more_says_so_once_its_claim_is_gone(void **state)
{
    json_t *object = object_of("a", AUTO, NULL);
    let_wait(*state, "a", "main-vip-pool", IPAM_IPV4, "ADDRESS_NOT_IN_POOL", "address not in pool: …; …");
    write_vip(*state, object);
    json_object_set_new(object, "spec", json_of("{'mode': 'BGP'}"));
    json_object_set_new(json_object_get(object, "metadata"), "generation", json_integer(2));
    write_vip(*state, object);
    give_back(*state, "a", IPAM_IPV4);
    write_vip(*state, object);
    assert_string_equal(reason_of(object, "Bound"), "NoAddressRequested");
    assert_int_equal(generation_of(object, "Bound"), 2);
    json_decref(object);
}

/* Whatever the text is, it is what the claim of the family that is asked for was asked with. */
static void generation_is_observed_for_an_address_of_the_wrong_family_and_for_half_a_move(void **state)
{
    static const struct {
        const char *spec, *requested;
        enum ipam_family family;
    } cases[] = {
        {"{'poolRef': {'name': 'p'}, 'address': '2001:db8::5'}", "2001:db8::5", IPAM_IPV4},
        {"{'poolRef': {'name': 'p'}, 'address': '::::'}", "::::", IPAM_IPV4},
        {"{'poolRef': {'name': 'p'}, 'addressFamily': 'ipv6', 'address': '10.20.0.5'}", "10.20.0.5", IPAM_IPV6},
        {"{'poolRef': {'name': 'p'}, 'addressFamily': 'ipv6'}", "",
         IPAM_IPV6}, /* and it keeps an IPv4 address as long */
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
        const char name[] = {(char)('a' + i), '\0'};
        char uid[8];
        json_t *object = object_of(name, cases[i].spec, NULL);
        snprintf(uid, sizeof(uid), "u-%s", name);
        if (!*cases[i].requested)
            give(*state, name, uid, "p", "10.0.0.1/32");
        let_wait_naming(*state, name, "p", cases[i].family, cases[i].requested, "INVALID_ADDRESS",
                        "invalid address: …");
        write_vip(*state, object);
        assert_int_equal(generation_of(object, "Bound"), 1);
        json_decref(object);
    }
}

static void what_is_not_on_the_terms_of_the_spec_is_unsettled_and_nothing_else(void **state)
{
    static const struct {
        const char *spec;
        bool unsettled;
    } cases[] = {
        {AUTO, false},
        {"{'poolRef': {'name': 'main-vip-pool'}, 'address': '10.200.0.1'}", false},
        {"{'poolRef': {'name': 'main-vip-pool'}, 'address': '10.200.0.2'}", true},
        {"{'poolRef': {'name': 'other'}}", true},
        {DUAL, true},
        {"{'mode': 'BGP'}", false},
        {"{'address': 7}", false},
    };
    give(*state, "a", "u-a", "main-vip-pool", "10.200.0.1/32");
    for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
        struct status_update update;
        json_t *object = object_of("a", cases[i].spec, NULL), *new = object_of("new", cases[i].spec, NULL);
        work_out(*state, object, NULL, false, &update);
        assert_int_equal(update.unsettled, cases[i].unsettled);
        status_update_done(&update);
        work_out(*state, new, NULL, false, &update);
        assert_int_equal(update.unsettled, strstr(cases[i].spec, "poolRef") != NULL);
        status_update_done(&update);
        json_decref(object);
        json_decref(new);
    }
}

static void objects_of_any_shape_do_no_harm(void **state)
{
    static const char *const objects[] = {
        "{}",
        "[]",
        "7",
        "null",
        "{'metadata': 'x'}",
        "{'metadata': {'name': 7}}",
        "{'metadata': {'name': 'a'}, 'spec': [], 'status': 'x'}",
        "{'metadata': {'name': 'a', 'generation': 'x'}, 'spec': {'poolRef': 'x', 'address': 7}, 'status': "
        "{'conditions': 'x'}}",
        "{'metadata': {'name': 'a'}, 'spec': {'poolRef': null}, 'status': {'allocatedAddress': {}, 'conditions': [[], "
        "null]}}",
    };
    give(*state, "a", "", "p", "10.0.0.1/32");
    for (size_t i = 0; i < sizeof(objects) / sizeof(*objects); i++) {
        json_t *object = json_of(objects[i]);
        struct status_update update;
        struct ipam_addr shown[2];
        work_out(*state, object, NULL, false, &update);
        status_update_done(&update);
        vip_status_shown(object, shown);
        assert_int_equal(shown[0].family, IPAM_FAMILY_NONE);
        json_decref(object);
    }
}

static void odd_reasons_and_messages_are_good_conditions(void **state)
{
    char message[9000];
    memset(message, 'x', sizeof(message));
    memcpy(message + 4095, "\xc3\xa4", 2);
    message[sizeof(message) - 1] = '\0';
    json_t *object = object_of("a", AUTO, NULL);
    let_wait(*state, "a", "main-vip-pool", IPAM_IPV4, "9-odd", message);
    write_vip(*state, object);
    const json_t *bound = status_condition(status_get(object, "status", "conditions"), "Bound");
    assert_string_equal(json_string_value(json_object_get(bound, "reason")), "Waiting");
    assert_int_equal(strlen(message_of(object, "Bound")), 4095);
    let_wait(*state, "a", "main-vip-pool", IPAM_IPV4, "A_B", "broken \xff text");
    write_vip(*state, object);
    bound = status_condition(status_get(object, "status", "conditions"), "Bound");
    assert_string_equal(json_string_value(json_object_get(bound, "reason")), "AB");
    assert_string_equal(message_of(object, "Bound"), "broken \\xFF text");
    json_decref(object);
}

/* Claims and objects at random: after one write nothing is left to write, and nobody else's field has changed. */
static void any_status_is_right_after_one_write(void **state)
{
    static const char *const specs[] = {AUTO, DUAL, "{}", "{'address': '10.200.0.1/32'}"};
    static const char *const statuses[] = {
        BOUND_1, "{'activeNode': 'n'}", BOUND("10.200.0.2/32", "Address 10.200.0.2/32 allocated from pool p"),
        "{'allocatedAddress': '10.9.9.9/32', 'activeNode': 'n', 'conditions': [{'type': 'Announced'}]}"};
    static const char *const addresses[] = {"10.200.0.1/32", "10.200.0.2/32", "2001:db8::1/128"};
    srand(1);
    for (int i = 0; i < 2000; i++) {
        struct fixture *fixture = *state;
        fixture->claims = claims_free(fixture->claims);
        fixture->claims = claims_new();
        for (int n = rand() % 3; n > 0; n--)
            if (rand() % 3)
                give(fixture, rand() % 3 ? "a" : "b", rand() % 2 ? "" : "u-a", rand() % 2 ? "p" : "main-vip-pool",
                     addresses[rand() % 3]);
            else
                let_wait(fixture, "a", "p", rand() % 2 ? IPAM_IPV4 : IPAM_IPV6, "POOL_EXHAUSTED", "pool exhausted: …");
        json_t *object = object_of("a", specs[rand() % 4], statuses[rand() % 4]);
        json_t *node = json_incref((json_t *)(uintptr_t)status_get(object, "status", "activeNode"));
        write_vip(fixture, object);
        assert_int_equal(write_vip(fixture, object), -1);
        assert_true(node == status_get(object, "status", "activeNode"));
        json_decref(node);
        json_decref(object);
    }
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, fixture_setup, fixture_teardown)
    const struct CMUnitTest tests[] = {
        TEST(bound_vip_reads_as_on_the_reference_page),
        TEST(what_is_right_is_not_written_whatever_the_order_of_fields),
        TEST(dual_vip_names_both_addresses),
        TEST(manual_vip_says_that_there_is_no_pool),
        TEST(ipv6_vip_has_no_ipv4_field),
        TEST(waiting_vip_says_why_and_what_to_do),
        TEST(only_a_pause_may_be_told_later_and_only_when_no_address_goes),
        TEST(advice_that_ipamd_gives_is_not_given_twice),
        TEST(waiting_vip_names_who_has_its_address_now),
        TEST(waiting_pair_names_the_address_that_is_in_its_way),
        TEST(claims_that_wait_for_an_address_are_found_by_it),
        TEST(events_outlive_the_claim),
        TEST(losing_the_address_clears_it_and_moves_the_transition_time),
        TEST(another_address_keeps_the_transition_time),
        TEST(dual_vip_back_to_one_family_loses_the_other_address),
        TEST(half_bound_vip_keeps_its_address_and_says_what_is_missing),
        TEST(others_fields_and_conditions_stay_as_they_are),
        TEST(status_stays_while_ipamd_has_no_claim),
        TEST(vip_that_asks_for_nothing_loses_the_address),
        TEST(address_that_another_owner_holds_goes_even_without_a_claim),
        TEST(address_that_is_not_ours_is_never_cleared),
        TEST(address_is_ours_by_managed_fields_whatever_the_message_says),
        TEST(address_of_a_restored_status_is_ours_and_is_adopted_after_our_first_write),
        TEST(claim_of_an_earlier_object_does_not_count_one_without_uid_does),
        TEST(generation_is_observed_once_the_claim_is_on_its_terms),
        TEST(a_refused_edit_stands_beside_the_address_that_is_kept_and_goes_with_it),
        TEST(a_refusal_of_a_vip_without_address_stands_in_bound),
        TEST(a_waiting_vip_that_is_edited_to_something_refused_says_so),
        TEST(a_spec_that_ipamd_may_not_be_asked_about_is_told_as_not_applied_and_one_that_it_accepts_is_not),
        TEST(a_spec_that_can_not_be_read_is_told_with_and_without_an_address),
        TEST(a_vip_that_never_asked_for_anything_says_so),
        TEST(a_waiting_vip_that_asks_for_nothing_any_more_says_so_once_its_claim_is_gone),
        TEST(generation_is_observed_for_an_address_of_the_wrong_family_and_for_half_a_move),
        TEST(what_is_not_on_the_terms_of_the_spec_is_unsettled_and_nothing_else),
        TEST(objects_of_any_shape_do_no_harm),
        TEST(odd_reasons_and_messages_are_good_conditions),
        TEST(any_status_is_right_after_one_write),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
