/* The option rows of ipam-status-writer: defaults, bounds and what is said past them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "../../daemon/status-writer/options.h"

/* ---- Helpers ----------------------------------------------------------------------------------------------------- */

static int parse(const char *option, const char *value, struct writer_options *options, struct ipam_error *error)
{
    char *argv[] = {"ipam-status-writer", (char *)(uintptr_t)option, (char *)(uintptr_t)value, NULL};
    return option_table_parse(&writer_options, option ? 3 : 1, argv, options, error);
}

static void assert_refused(const char *option, const char *value, const char *says)
{
    struct writer_options options;
    struct ipam_error error;
    assert_int_equal(parse(option, value, &options, &error), -1);
    if (!strstr(error.message, says))
        fail_msg("\"%s\" does not say \"%s\"", error.message, says);
}

/* ---- Tests ------------------------------------------------------------------------------------------------------- */

static void defaults_are_those_of_the_manual(void **state)
{
    (void)state;
    struct writer_options options;
    struct ipam_error error;
    assert_int_equal(parse(NULL, NULL, &options, &error), 0);
    assert_int_equal(options.max_writes, 64);
    assert_int_equal(options.pool_interval, 1000);
}

static void numbers_are_taken_at_their_bounds_and_refused_past_them(void **state)
{
    (void)state;
    struct writer_options options;
    struct ipam_error error;
    assert_int_equal(parse("--max-writes", "1", &options, &error), 0);
    assert_int_equal(options.max_writes, 1);
    assert_int_equal(parse("--max-writes", "1024", &options, &error), 0);
    assert_int_equal(options.max_writes, 1024);
    assert_refused("--max-writes", "0", "--max-writes 0 can't be used: write a whole number from 1 to 1024");
    assert_refused("--max-writes", "1025", "--max-writes 1025 can't be used: write a whole number from 1 to 1024");
    assert_int_equal(parse("--pool-interval", "0", &options, &error), 0);
    assert_int_equal(options.pool_interval, 0);
    assert_int_equal(parse("--pool-interval", "3600000", &options, &error), 0);
    assert_int_equal(options.pool_interval, 3600000);
    assert_refused("--pool-interval", "3600001", "write a whole number from 0 to 3600000");
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(defaults_are_those_of_the_manual),
        cmocka_unit_test(numbers_are_taken_at_their_bounds_and_refused_past_them),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
