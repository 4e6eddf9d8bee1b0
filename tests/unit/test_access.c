/* What --allocate-group says: groups, and the kinds that each is bound to. Whose role a client has: test_access.py. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "../../daemon/ipamd/access.h"

static struct access access_now; /* of the call before */

/* ---- Helpers ----------------------------------------------------------------------------------------------------- */

static int init(const char *first, const char *second, struct ipam_error *error)
{
    struct options options = {.allocate_groups = {{first, second}, second ? 2 : 1}};
    access_done(&access_now);
    return access_init(&access_now, &options, error);
}

static void assert_refused(const char *given, const char *says)
{
    struct ipam_error error;
    assert_int_equal(init(given, NULL, &error), -1);
    assert_int_equal(error.reason, IPAM_REASON_INVALID_REQUEST);
    if (!strstr(error.message, says))
        fail_msg("\"%s\" does not say \"%s\"", error.message, says);
}

/* ---- Tests ------------------------------------------------------------------------------------------------------- */

static void a_group_alone_is_bound_to_no_kind(void **state)
{
    (void)state;
    struct ipam_error error;
    assert_int_equal(init("61002", NULL, &error), 0);
    assert_int_equal(access_now.groups[RPC_ROLE_ALLOCATE].gids[0], 61002);
    assert_int_equal(access_now.kinds[0].count, 0);
    assert_false(access_now.open);
}

static void kinds_follow_the_group_and_each_group_has_its_own(void **state)
{
    (void)state;
    struct ipam_error error;
    assert_int_equal(init("61002:Node,Manual", "61003:a:b", &error), 0);
    assert_int_equal(access_now.groups[RPC_ROLE_ALLOCATE].count, 2);
    assert_int_equal(access_now.groups[RPC_ROLE_ALLOCATE].gids[1], 61003);
    assert_int_equal(access_now.kinds[0].count, 2);
    assert_string_equal(access_now.kinds[0].items[0], "Node");
    assert_string_equal(access_now.kinds[0].items[1], "Manual");
    assert_int_equal(access_now.kinds[1].count, 1);
    assert_string_equal(access_now.kinds[1].items[0], "a:b"); /* a kind may have a colon, a group has none */
    assert_non_null(strstr(access_now.remedies[RPC_ROLE_ALLOCATE], "the group 61002 have it (--allocate-group)"));
}

static void a_kind_may_be_as_long_as_a_kind_of_owner_and_no_longer(void **state)
{
    (void)state;
    struct ipam_error error;
    char text[300] = "61002:";
    memset(text + 6, 'k', ENGINE_NAME_MAX);
    assert_int_equal(init(text, NULL, &error), 0);
    assert_int_equal(strlen(access_now.kinds[0].items[0]), ENGINE_NAME_MAX);
    text[6 + ENGINE_NAME_MAX] = 'k';
    assert_refused(text, "can't be a kind of owner");
}

static void what_is_no_group_or_kind_is_refused_with_what_to_write(void **state)
{
    (void)state;
    assert_refused("61002:", "--allocate-group 61002:: \"\" can't be a kind of owner; write GROUP:KIND,KIND such as "
                             "agents:Node,Manual, or GROUP alone");
    assert_refused("61002:Node,", "\"\" can't be a kind");
    assert_refused("61002:Node,,Manual", "\"\" can't be a kind");
    assert_refused("61002:Node/n1", "\"Node/n1\" can't be a kind");
    assert_refused("no-such-group:Node", "--allocate-group no-such-group: no group has that name");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_group_alone_is_bound_to_no_kind),
        cmocka_unit_test(kinds_follow_the_group_and_each_group_has_its_own),
        cmocka_unit_test(a_kind_may_be_as_long_as_a_kind_of_owner_and_no_longer),
        cmocka_unit_test(what_is_no_group_or_kind_is_refused_with_what_to_write),
    };
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    access_done(&access_now);
    return failed;
}
