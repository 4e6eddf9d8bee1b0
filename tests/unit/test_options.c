/* The option table of ipamd: every row's default, range and error. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "../../daemon/ipamd/options.h"

/* ---- Helpers ----------------------------------------------------------------------------------------------------- */

static int parse(const char *first, const char *second, struct options *options, struct ipam_error *error)
{
    char *argv[] = {"ipamd", (char *)first, (char *)second, NULL};
    int argc = first ? second ? 3 : 2 : 1;
    return option_table_parse(&ipamd_options, argc, argv, options, error);
}

static void assert_refused(const char *first, const char *second, const char *says)
{
    struct options options;
    struct ipam_error error;
    assert_int_equal(parse(first, second, &options, &error), -1);
    assert_int_equal(error.reason, IPAM_REASON_INVALID_REQUEST);
    if (!strstr(error.message, says))
        fail_msg("\"%s\" does not say \"%s\"", error.message, says);
}

/* ---- Tests ------------------------------------------------------------------------------------------------------- */

static void defaults_are_those_that_help_prints(void **state)
{
    (void)state;
    struct options options;
    struct ipam_error error;
    assert_int_equal(parse(NULL, NULL, &options, &error), 0);
    assert_string_equal(options.socket, "/run/ipamd/ipamd.sock");
    assert_string_equal(options.events, "/run/ipamd/events.sock");
    assert_string_equal(options.state_dir, "/var/lib/ipamd");
    assert_string_equal(options.log_format, "text");
    assert_int_equal(options.socket_mode, 0660);
    assert_int_equal(options.max_message, 4 * 1024 * 1024);
    assert_int_equal(options.history_limit, 1000000);
    assert_false(options.check || options.help || options.version);

    char *text;
    size_t size;
    FILE *out = open_memstream(&text, &size);
    option_table_help(&ipamd_options, out);
    fclose(out);
    assert_non_null(strstr(text, "[/run/ipamd/ipamd.sock]"));
    assert_non_null(strstr(text, "(1024 to 67108864) [4194304]"));
    assert_non_null(strstr(text, "(may be given several times)"));
    free(text);
}

static void a_number_is_taken_at_its_bounds_and_refused_past_them(void **state)
{
    (void)state;
    struct options options;
    struct ipam_error error;
    assert_int_equal(parse("--max-streams", "1", &options, &error), 0);
    assert_int_equal(options.max_streams, 1);
    assert_int_equal(parse("--max-streams=65536", NULL, &options, &error), 0);
    assert_int_equal(options.max_streams, 65536);
    assert_refused("--max-streams", "0", "--max-streams 0 can't be used: write a whole number from 1 to 65536");
    assert_refused("--max-streams", "65537", "from 1 to 65536");
    assert_refused("--max-streams", "99999999999999999999999", "from 1 to 65536");
    assert_refused("--max-streams", "-1", "from 1 to 65536");
    assert_refused("--max-streams", "12x", "from 1 to 65536");
    assert_refused("--max-streams", "", "from 1 to 65536");
}

static void limits_of_claims_are_taken_at_their_bounds_and_refused_past_them(void **state)
{
    static const struct {
        const char *name, *most, *past;
        size_t offset;
        uint64_t by_default;
    } rows[] = {
        {"--max-claims-total", "1000000000", "1000000001", offsetof(struct options, max_claims_total), 2000000},
        {"--max-user-claims", "1000000000", "1000000001", offsetof(struct options, max_user_claims), 65536},
        {"--max-cooling", "1000000", "1000001", offsetof(struct options, max_cooling), 4},
    };
    (void)state;
    struct options options;
    struct ipam_error error;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        const uint64_t *field = (const uint64_t *)((const char *)&options + rows[i].offset);
        assert_int_equal(parse(NULL, NULL, &options, &error), 0);
        assert_int_equal(*field, rows[i].by_default);
        assert_int_equal(parse(rows[i].name, "1", &options, &error), 0);
        assert_int_equal(*field, 1);
        assert_int_equal(parse(rows[i].name, rows[i].most, &options, &error), 0);
        assert_int_equal(*field, strtoull(rows[i].most, NULL, 10));
        assert_refused(rows[i].name, "0", "write a whole number from 1 to");
        assert_refused(rows[i].name, rows[i].past, rows[i].name);
    }
}

static void a_mode_is_octal(void **state)
{
    (void)state;
    struct options options;
    struct ipam_error error;
    assert_int_equal(parse("--socket-mode", "0777", &options, &error), 0);
    assert_int_equal(options.socket_mode, 0777);
    assert_refused("--socket-mode", "1000", "--socket-mode 1000");
    assert_refused("--socket-mode", "9", "octal");
}

static void a_choice_is_one_of_those_listed(void **state)
{
    (void)state;
    struct options options;
    struct ipam_error error;
    assert_int_equal(parse("--log-format", "json", &options, &error), 0);
    assert_string_equal(options.log_format, "json");
    assert_refused("--log-format", "xml", "--log-format xml can't be used: write one of text|json");
    assert_refused("--log-format", "jso", "text|json");
}

static void a_list_is_taken_in_order_up_to_its_length(void **state)
{
    (void)state;
    struct options options;
    struct ipam_error error;
    char *argv[2 * OPTION_LIST_MAX + 4] = {"ipamd"}, texts[OPTION_LIST_MAX + 1][8];
    int argc = 1;
    assert_int_equal(parse(NULL, NULL, &options, &error), 0);
    assert_int_equal(options.read_groups.count, 0);
    for (int i = 0; i <= OPTION_LIST_MAX; i++) {
        snprintf(texts[i], sizeof texts[i], "g%d", i);
        argv[argc++] = "--read-group";
        argv[argc++] = texts[i];
    }
    assert_int_equal(option_table_parse(&ipamd_options, argc - 2, argv, &options, &error), 0);
    assert_int_equal(options.read_groups.count, OPTION_LIST_MAX);
    assert_int_equal(options.admin_groups.count, 0);
    for (int i = 0; i < OPTION_LIST_MAX; i++)
        assert_string_equal(options.read_groups.items[i], texts[i]);
    assert_int_equal(option_table_parse(&ipamd_options, argc, argv, &options, &error), -1);
    assert_non_null(strstr(error.message, "--read-group is given more than 32 times"));
    assert_refused("--read-group", "", "--read-group is empty: write a GROUP");
}

static void what_is_no_option_is_named(void **state)
{
    (void)state;
    assert_refused("--sokcet", "x", "unknown option --sokcet");
    assert_refused("--socket", NULL, "--socket needs a value");
    assert_refused("--socket", "", "--socket is empty");
    assert_refused("serve", NULL, "unexpected argument serve");
}

static void a_refused_command_line_leaves_the_options_untouched(void **state)
{
    (void)state;
    struct options options = {.max_streams = 7};
    struct ipam_error error;
    assert_int_equal(parse("--max-streams", "0", &options, &error), -1);
    assert_int_equal(options.max_streams, 7);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(defaults_are_those_that_help_prints),
        cmocka_unit_test(a_number_is_taken_at_its_bounds_and_refused_past_them),
        cmocka_unit_test(limits_of_claims_are_taken_at_their_bounds_and_refused_past_them),
        cmocka_unit_test(a_mode_is_octal),
        cmocka_unit_test(a_choice_is_one_of_those_listed),
        cmocka_unit_test(a_list_is_taken_in_order_up_to_its_length),
        cmocka_unit_test(what_is_no_option_is_named),
        cmocka_unit_test(a_refused_command_line_leaves_the_options_untouched),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
