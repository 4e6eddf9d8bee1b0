/* What is remembered of objects: which news count, which addresses statuses show, which is next; and of claims. */
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

/* ---- Fixture ------------------------------------------------------------------------------------------------------- */

static int setup(void **state)
{
    *state = objects_new();
    return 0;
}

static int teardown(void **state)
{
    objects_free(*state);
    return 0;
}

/* ---- Helpers ------------------------------------------------------------------------------------------------------- */

static struct object *take(struct objects *objects, const char *name, const char *uid, const char *version,
                           const char *address, bool no_older)
{
    json_t *json = json_pack("{s:{s:s, s:s, s:s}, s:{s:s}, s:{s:s, s:[{s:s, s:s}]}}", "metadata", "name", name, "uid",
                             uid, "resourceVersion", version, "spec", "mode", "BGP", "status", "allocatedAddress",
                             address, "conditions", "type", "Bound", "status", "True");
    struct object *object = objects_take(objects, OBJECT_VIP, json, no_older);
    json_decref(json);
    return object;
}

static struct ipam_addr addr(const char *text)
{
    struct ipam_addr address;
    assert_int_equal(ipam_addr_parse(text, &address, NULL), 0);
    return address;
}

static void keep(json_t *value, void *user)
{
    *(json_t **)user = value;
}

/* ---- Tests --------------------------------------------------------------------------------------------------------- */

static void the_same_version_is_no_news_and_an_older_one_only_if_wanted(void **state)
{
    assert_non_null(take(*state, "a", "u", "9", "10.0.0.1/32", false));
    assert_null(take(*state, "a", "u", "9", "10.0.0.1/32", false));
    assert_null(take(*state, "a", "u", "8", "10.0.0.1/32", true));
    assert_non_null(take(*state, "a", "u", "10", "10.0.0.1/32", true));
    assert_non_null(take(*state, "a", "u", "8", "10.0.0.1/32", false)); /* a database from a backup */
    assert_non_null(take(*state, "a", "u", "odd", "10.0.0.1/32", true));
    assert_int_equal(objects_count(*state, OBJECT_VIP), 1);
}

static void another_uid_is_another_object(void **state)
{
    struct object *object = take(*state, "a", "u1", "9", "10.0.0.1/32", false);
    object->history.strikes = 7;
    object->history.last_write = 1;
    assert_ptr_equal(take(*state, "a", "u2", "3", "10.0.0.1/32", true), object);
    assert_int_equal(object->history.strikes + object->history.last_write, 0);
}

static void only_what_matters_is_kept(void **state)
{
    struct object *object = take(*state, "a", "u", "9", "10.0.0.1/32", false);
    assert_null(strstr(object->seen, "BGP"));
    assert_non_null(strstr(object->seen, "10.0.0.1/32"));
}

static void an_object_without_a_name_is_none(void **state)
{
    json_t *json = json_of("{'metadata': {'uid': 'x'}}");
    assert_null(objects_take(*state, OBJECT_VIP, json, false));
    json_decref(json);
}

static void an_address_is_found_in_the_other_status_that_shows_it(void **state)
{
    struct ipam_addr address = addr("10.0.0.1"), other = addr("10.0.0.2");
    struct object *a = take(*state, "a", "u", "9", "10.0.0.1/32", false);
    assert_null(objects_showing(*state, &address, a));
    assert_ptr_equal(objects_showing(*state, &address, NULL), a);
    struct object *b = take(*state, "b", "v", "10", "10.0.0.1/32", false);
    assert_ptr_equal(objects_showing(*state, &address, a), b);
    assert_ptr_equal(objects_showing(*state, &address, b), a);
    assert_null(objects_showing(*state, &other, NULL));
    take(*state, "a", "u", "11", "10.0.0.2/32", false);
    assert_ptr_equal(objects_showing(*state, &other, b), a);
    objects_remove(*state, a);
    assert_null(objects_showing(*state, &other, NULL));
}

static void an_address_on_its_way_counts_until_the_outcome_is_known(void **state)
{
    struct ipam_addr coming[2] = {addr("10.0.0.7"), addr("2001:db8::1")};
    struct object *a = take(*state, "a", "u", "9", "10.0.0.1/32", false);
    objects_expect(*state, a, coming);
    take(*state, "a", "u", "10", "10.0.0.1/32", false); /* somebody else's write */
    assert_ptr_equal(objects_showing(*state, &coming[1], NULL), a);
    assert_null(objects_showing(*state, &coming[0], a));
    objects_settle(*state, a);
    assert_null(objects_showing(*state, &coming[0], NULL));
}

/* Against looking through all of them. */
static void the_index_of_addresses_is_right_whatever_happens(void **state)
{
    char text[32], name[8], version[16];
    struct object *objects[40] = {NULL};
    srand(2);
    for (int step = 0; step < 20000; step++) {
        int i = rand() % 40;
        struct ipam_addr some[2] = {addr("10.0.0.1"), {.family = IPAM_FAMILY_NONE}};
        some[0].lo += (uint64_t)(rand() % 20);
        snprintf(text, sizeof(text), "10.0.0.%d/32", 1 + rand() % 20);
        snprintf(name, sizeof(name), "v%d", i);
        snprintf(version, sizeof(version), "%d", step + 1);
        if (!objects[i] || rand() % 3 == 0)
            objects[i] = take(*state, name, "u", version, text, false);
        else if (rand() % 2)
            objects_expect(*state, objects[i], some);
        else if (rand() % 2)
            objects_settle(*state, objects[i]);
        else
            objects_remove(*state, objects[i]), objects[i] = NULL;
        bool shown = false;
        for (int n = 0; n < 40; n++)
            shown = shown || (objects[n] && (ipam_addr_equal(&objects[n]->shown[0].address, &some[0]) ||
                                             ipam_addr_equal(&objects[n]->coming[0].address, &some[0])));
        assert_true(shown == (objects_showing(*state, &some[0], NULL) != NULL));
    }
}

static void passes_come_by_time_and_then_in_order(void **state)
{
    struct object *a = take(*state, "a", "u", "1", "x", false), *b = take(*state, "b", "u", "1", "x", false),
                  *c = take(*state, "c", "u", "1", "x", false);
    objects_queue(*state, c, 20);
    objects_queue(*state, b, 10);
    objects_queue(*state, a, 10);
    objects_queue(*state, b, 30); /* is queued sooner already */
    assert_ptr_equal(objects_due(*state, OBJECT_VIP), b);
    objects_unqueue(*state, b);
    assert_ptr_equal(objects_due(*state, OBJECT_VIP), a);
    objects_queue(*state, c, 5);
    assert_ptr_equal(objects_due(*state, OBJECT_VIP), c);
    assert_int_equal(objects_queued(*state, OBJECT_VIP), 2);
    objects_remove(*state, c);
    objects_remove(*state, a);
    assert_null(objects_due(*state, OBJECT_VIP));
}

static void a_recheck_is_nothing_to_do_and_gives_way_to_what_is(void **state)
{
    struct object *a = take(*state, "a", "u", "1", "x", false);
    objects_queue_recheck(*state, a, 20);
    assert_ptr_equal(objects_due(*state, OBJECT_VIP), a);
    assert_int_equal(objects_queued(*state, OBJECT_VIP), 0);
    objects_queue(*state, a, 30);
    assert_int_equal(a->due, 20);
    assert_int_equal(objects_queued(*state, OBJECT_VIP), 1);
    objects_queue_recheck(*state, a, 1);
    assert_int_equal(a->due, 20);
    objects_unqueue(*state, a);
    objects_queue_recheck(*state, a, 20);
    objects_queue(*state, a, 10);
    assert_int_equal(a->due, 10);
    objects_unqueue(*state, a);
    assert_int_equal(objects_queued(*state, OBJECT_VIP), 0);
}

/* An edit of the spec, and what others write, is no undoing of what we wrote. */
static void the_digest_is_of_our_part_of_a_status_only(void **state)
{
    (void)state;
    static const char *const same[] = {
        "{'spec': {'ports': [81]}, 'status': {'activeNode': 'n', 'conditions': [{'type': 'Announced'}, {'type': "
        "'Bound', "
        "'status': 'True'}], 'allocatedAddress': '10.0.0.1/32'}}",
        "{'metadata': {'generation': 7}, 'status': {'allocatedAddress': '10.0.0.1/32', 'conditions': [{'status': "
        "'True', "
        "'type': 'Bound'}]}}",
    };
    static const char *const others[] = {
        "{'status': {'conditions': [{'status': 'True', 'type': 'Bound'}]}}",
        "{'status': {'allocatedAddress': '10.0.0.1/32', 'conditions': []}}",
        "{'status': {'allocatedAddress': '10.0.0.2/32', 'conditions': [{'status': 'True', 'type': 'Bound'}]}}",
        "{}",
    };
    json_t *first = json_of(same[0]), *second = json_of(same[1]);
    assert_true(objects_digest(OBJECT_VIP, first) == objects_digest(OBJECT_VIP, second));
    for (size_t i = 0; i < sizeof(others) / sizeof(*others); i++) {
        json_t *other = json_of(others[i]);
        assert_true(objects_digest(OBJECT_VIP, first) != objects_digest(OBJECT_VIP, other));
        json_decref(other);
    }
    json_decref(first);
    json_decref(second);
}

static void only_our_names_of_managed_fields_are_kept(void **state)
{
    json_t *json =
        json_of("{'metadata': {'name': 'a', 'uid': 'u', 'resourceVersion': '1', 'managedFields': [{'manager': "
                "'kubectl', 'fieldsV1': {'f:spec': {'f:secret': {}}}}, {'manager': 'ipam-status-writer', "
                "'time': 'now', 'fieldsV1': {'f:status': {'f:allocatedAddress': {'deep': 1}}}}]}}");
    struct object *object = objects_take(*state, OBJECT_VIP, json, false);
    json_decref(json);
    json_t *seen = json_of(object->seen);
    assert_int_equal(status_manager_of(seen, "allocatedAddress"), STATUS_MANAGER_OURS);
    assert_int_equal(status_manager_of(seen, "conditions"), STATUS_MANAGER_OTHER);
    assert_null(strstr(object->seen, "secret"));
    assert_null(strstr(object->seen, "deep"));
    json_decref(seen);
}

/* managedFields name every field that anybody wrote, and an author chooses the names. */
static void what_others_wrote_makes_no_object_unreadable(void **state)
{
    static const char head[] = "{\"metadata\":{\"name\":\"a\",\"uid\":\"u\",\"managedFields\":[{\"manager\":"
                               "\"kubectl\",\"fieldsV1\":{\"f:spec\":"
                               "{\"f:\\u0000\":{}},\"f:status\":{\"f:x\":";
    static const char tail[] =
        "}}},{\"manager\":\"ipam-status-writer\",\"fieldsV1\":{\"f:status\":{\"f:allocatedAddress\":{}}}"
        "}]},\"spec\":{\"poolRef\":{\"name\":\"p\",\"x\":{\"\\u0000\":1}},\"address\":[1]}}";
    json_t *read = NULL;
    const struct kube_field row = {.fields = object_kinds[OBJECT_VIP].fields, .part = KUBE_OBJECT};
    struct filter *filter = filter_new(&row, false, keep, &read);
    filter_add(filter, head, sizeof(head) - 1);
    for (int i = 0; i < 100; i++)
        filter_add(filter, "{\"f:x\":", 7);
    filter_add(filter, "1", 1);
    for (int i = 0; i < 100; i++)
        filter_add(filter, "}", 1);
    filter_add(filter, tail, sizeof(tail) - 1);
    assert_int_equal(filter_end(filter), FILTER_GOOD);
    filter_free(filter);
    assert_null(kube_object_problem(read));
    struct object *object = objects_take(*state, OBJECT_VIP, read, false);
    json_t *seen = json_of(object->seen);
    assert_int_equal(status_manager_of(seen, "allocatedAddress"), STATUS_MANAGER_OURS);
    assert_int_equal(status_manager_of(seen, "allocatedIPv6Address"), STATUS_MANAGER_OTHER);
    json_t *spec = json_pack("{s:{s:s}, s:[i]}", "poolRef", "name", "p", "address", 1);
    assert_true(json_equal(json_object_get(seen, "spec"), spec));
    json_decref(spec);
    json_decref(seen);
    json_decref(read);
}

static void each_kind_is_walked_by_itself(void **state)
{
    json_t *json = json_of("{'metadata': {'name': 'a'}}");
    struct object *pool = objects_take(*state, OBJECT_POOL, json, false),
                  *vip = take(*state, "a", "u", "1", "x", false);
    json_decref(json);
    assert_ptr_equal(objects_next(*state, OBJECT_VIP, NULL), vip);
    assert_null(objects_next(*state, OBJECT_VIP, vip));
    assert_ptr_equal(objects_next(*state, OBJECT_POOL, NULL), pool);
    assert_ptr_equal(objects_get(*state, OBJECT_POOL, "a"), pool);
    assert_null(objects_get(*state, OBJECT_POOL, "b"));
    objects_queue(*state, vip, 1);
    assert_null(objects_due(*state, OBJECT_POOL));
    objects_queue(*state, pool, 2);
    assert_ptr_equal(objects_due(*state, OBJECT_VIP), vip);
    assert_ptr_equal(objects_due(*state, OBJECT_POOL), pool);
}

/* ---- Tests: claims ------------------------------------------------------------------------------------------------- */

static void the_end_of_an_earlier_claim_is_not_that_of_its_successor(void **state)
{
    (void)state;
    struct fixture *fixture;
    fixture_setup((void **)&fixture);
    Ipam__V1__Claim late = IPAM__V1__CLAIM__INIT;
    Ipam__V1__Owner owner = IPAM__V1__OWNER__INIT;
    owner.kind = (char *)(uintptr_t) "ProxyVIP";
    owner.name = (char *)(uintptr_t) "a";
    late.owner = &owner;
    late.family = IPAM__V1__FAMILY__IPV4;
    late.state = IPAM__V1__CLAIM_STATE__RELEASED;
    late.id = 77; /* cooled until now */
    give(fixture, "a", "", "p", "10.0.0.1/32");
    claims_apply(fixture->claims, &late, NULL, NULL);
    assert_non_null(claims_of(fixture->claims, "ProxyVIP", "a", IPAM_IPV4));
    give_back(fixture, "a", IPAM_IPV4);
    assert_null(claims_of(fixture->claims, "ProxyVIP", "a", IPAM_IPV4));
    assert_null(claims_from(fixture->claims, NULL));
    fixture_teardown((void **)&fixture);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(the_same_version_is_no_news_and_an_older_one_only_if_wanted),
        TEST(another_uid_is_another_object),
        TEST(only_what_matters_is_kept),
        TEST(an_object_without_a_name_is_none),
        TEST(an_address_is_found_in_the_other_status_that_shows_it),
        TEST(an_address_on_its_way_counts_until_the_outcome_is_known),
        TEST(the_index_of_addresses_is_right_whatever_happens),
        TEST(passes_come_by_time_and_then_in_order),
        TEST(a_recheck_is_nothing_to_do_and_gives_way_to_what_is),
        TEST(the_digest_is_of_our_part_of_a_status_only),
        TEST(only_our_names_of_managed_fields_are_kept),
        TEST(what_others_wrote_makes_no_object_unreadable),
        TEST(each_kind_is_walked_by_itself),
        cmocka_unit_test(the_end_of_an_earlier_claim_is_not_that_of_its_successor),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
