/* The command line: options before and after the command, both ways to give a value, what is refused, commands by noun. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "commands.h"

#define WORDS_MAX 16

/* ---- Fixture -------------------------------------------------------------------------------------------------------- */

/* A table of the test's own: commands are found in what is linked. */
const struct command commands[] = {
    {"apply", NULL, "-f FILE", 0, 0, NULL, OPTION_BIT(OPTION_FILE) | OPTION_BIT(OPTION_DRY_RUN), "apply"},
    {"get", "pool", "[NAME …]", 0, SIZE_MAX, NULL, 0, "pools"},
    {"get", "vip", "[NAME …]", 0, SIZE_MAX, NULL, OPTION_BIT(OPTION_STATE), "vips"},
    {"delete", "pool", "NAME …", 1, SIZE_MAX, NULL, 0, "delete pools"},
    {"delete", NULL, "-f FILE", 0, 0, NULL, OPTION_BIT(OPTION_FILE), "delete files"},
    {"allocate", NULL, "POOL OWNER", 2, 2, NULL, OPTION_BIT(OPTION_FAMILY), "allocate"},
};
const size_t n_commands = sizeof(commands) / sizeof(commands[0]);

struct fixture {
    struct arena arena;
    struct options options;
    struct ipam_error error;
    const struct command *command;
    size_t used;
};

static int setup(void **state)
{
    struct fixture *fixture = calloc(1, sizeof(*fixture));
    arena_init(&fixture->arena);
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

/* Parses a line whose words are parted by single spaces. */
static int parse(struct fixture *fixture, const char *line)
{
    char *argv[WORDS_MAX] = {"ipamc"}, *rest = arena_strdup(&fixture->arena, line);
    int argc = 1;

    for (char *word; (word = strsep(&rest, " ")) != NULL && line[0] != '\0';)
        argv[argc++] = word;
    return options_parse(&fixture->arena, argc, argv, &fixture->options, &fixture->error);
}

static int find(struct fixture *fixture, const char *line)
{
    assert_int_equal(parse(fixture, line), 0);
    if (command_find(&fixture->arena, &fixture->options, &fixture->command, &fixture->used, &fixture->error) < 0)
        return -1;
    return command_check(fixture->command, &fixture->options, fixture->options.n_words - fixture->used,
                         &fixture->error);
}

static void assert_error(const struct fixture *fixture, const char *what)
{
    if (strstr(fixture->error.message, what) == NULL)
        fail_msg("\"%s\" does not say \"%s\"", fixture->error.message, what);
    assert_int_equal(ipam_error_exit_code(&fixture->error), IPAM_EXIT_USAGE);
}

/* ---- Tests ---------------------------------------------------------------------------------------------------------- */

static void options_stand_before_and_after_the_command(void **state)
{
    static const char *const lines[] = {
        "--socket /s --timeout 500ms -o json allocate p o", "allocate --socket=/s p -ojson o --timeout=500ms",
        "allocate p o --output json --timeout 0.5s --socket /s", "-o=json --timeout .5 --socket /s allocate p o"};
    struct fixture *fixture = *state;

    for (size_t i = 0; i < sizeof(lines) / sizeof(lines[0]); i++) {
        if (parse(fixture, lines[i]) < 0)
            fail_msg("%s: %s", lines[i], fixture->error.message);
        assert_string_equal(fixture->options.socket, "/s");
        assert_int_equal(fixture->options.timeout_ms, 500);
        assert_int_equal(fixture->options.output, OUTPUT_JSON);
        assert_int_equal(fixture->options.n_words, 3);
    }
}

static void words_after_two_dashes_are_no_options(void **state)
{
    struct fixture *fixture = *state;

    assert_int_equal(parse(fixture, "allocate - -- --socket"), 0);
    assert_int_equal(fixture->options.n_words, 3);
    assert_string_equal(fixture->options.words[1], "-");
    assert_string_equal(fixture->options.words[2], "--socket");
}

static void files_are_gathered_in_order(void **state)
{
    struct fixture *fixture = *state;

    assert_int_equal(parse(fixture, "apply -f a --filename b -f-"), 0);
    assert_int_equal(fixture->options.n_files, 3);
    assert_string_equal(fixture->options.files[0], "a");
    assert_string_equal(fixture->options.files[2], "-");
}

#define HASH_TEXT "00112233445566778899aabbccddeeff000102030405060708090a0b0c0d0eff"

static void expected_heads_are_gathered_in_order(void **state)
{
    struct fixture *fixture = *state;

    assert_int_equal(parse(fixture, "audit verify --expect 7:" HASH_TEXT " --expect=18446744073709551615:" HASH_TEXT),
                     0);
    assert_int_equal(fixture->options.n_expected, 2);
    assert_int_equal(fixture->options.expected[0].revision, 7);
    assert_true(fixture->options.expected[1].revision == UINT64_MAX);
    assert_int_equal(fixture->options.expected[0].hash[1], 0x11);
    assert_int_equal(fixture->options.expected[0].hash[9], 0x99);
    assert_int_equal(fixture->options.expected[0].hash[31], 0xff);
}

static void choices_are_the_contracts_numbers(void **state)
{
    struct fixture *fixture = *state;

    assert_int_equal(parse(fixture, "x --family dual --state cooling"), 0);
    assert_int_equal(fixture->options.family, IPAM__V1__FAMILY__DUAL);
    assert_int_equal(fixture->options.state, IPAM__V1__CLAIM_STATE__COOLING);
}

static void wrong_options_are_refused(void **state)
{
    static const struct {
        const char *line, *why;
    } rows[] = {
        {"apply --dry-rn", "unknown option --dry-rn; did you mean --dry-run?"},
        {"apply -x", "unknown option -x"},
        {"audit verify --expect 7", "--expect 7: write a revision, a colon and 64 hexadecimal digits"},
        {"audit verify --expect :" HASH_TEXT, "write a revision, a colon"},
        {"audit verify --expect 7:" HASH_TEXT "0", "64 hexadecimal digits"},
        {"audit verify --expect 7:0" HASH_TEXT, "64 hexadecimal digits"},
        {"audit verify --expect 7:g" HASH_TEXT, "64 hexadecimal digits"},
        {"audit verify --expect 7:0", "64 hexadecimal digits"},
        {"audit verify --expect 18446744073709551616:" HASH_TEXT, "write a revision"},
        {"apply --dry-run=yes", "--dry-run takes no value"},
        {"apply --socket", "--socket needs a value: write --socket PATH"},
        {"apply --socket=", "--socket is empty"},
        {"apply -f", "-f needs a value"},
        {"apply -f=", "--filename is empty"},
        {"x --family ipv5", "write ipv4, ipv6 or dual"},
        {"x -o jsn", "did you mean json?"},
        {"x --timeout 0", "--timeout \"0\""},
        {"x --socket a --socket b", "--socket stands twice"},
    };
    struct fixture *fixture = *state;

    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        assert_int_equal(parse(fixture, rows[i].line), -1);
        assert_error(fixture, rows[i].why);
    }
}

static void format_counts_behind_an_error_and_the_first_error_is_told(void **state)
{
    struct fixture *fixture = *state;

    assert_int_equal(parse(fixture, "get pools --bogus --timeout 0 -o json"), -1);
    assert_error(fixture, "--bogus");
    assert_int_equal(fixture->options.output, OUTPUT_JSON);
}

static void nouns_have_all_their_names(void **state)
{
    static const char *const pools[] = {"pool", "pools", "ippool", "ippools", "proxyippool", "proxyippools"};
    static const char *const vips[] = {"vip", "vips", "proxyvip", "proxyvips"};
    struct fixture *fixture = *state;

    for (size_t i = 0; i < sizeof(pools) / sizeof(pools[0]); i++) {
        assert_int_equal(find(fixture, arena_printf(&fixture->arena, "get %s a", pools[i])), 0);
        assert_ptr_equal(fixture->command, &commands[1]);
        assert_int_equal(fixture->used, 2);
    }
    for (size_t i = 0; i < sizeof(vips) / sizeof(vips[0]); i++) {
        assert_int_equal(find(fixture, arena_printf(&fixture->arena, "get %s", vips[i])), 0);
        assert_ptr_equal(fixture->command, &commands[2]);
    }
    assert_int_equal(find(fixture, "delete -f a"), 0);
    assert_ptr_equal(fixture->command, &commands[4]);
    assert_int_equal(find(fixture, "allocate pool vip"), 0);
    assert_int_equal(fixture->used, 1);
}

static void wrong_commands_are_refused(void **state)
{
    static const struct {
        const char *line, *why;
    } rows[] = {
        {"aply", "unknown command aply; did you mean apply?"},
        {"get", "get what: write ipamc get with one of pools, vips"},
        {"get pols", "get pols: write one of pools, vips; did you mean pools?"},
        {"delete vips a", "delete vips: write one of pools"},
        {"delete pool", "too few arguments: write ipamc delete pool NAME"},
        {"allocate a", "too few arguments"},
        {"allocate a b c", "too many arguments"},
        {"apply a", "too many arguments"},
        {"get pools --state bound", "get pool takes no --state (ipamc get --help"},
    };
    struct fixture *fixture = *state;

    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        assert_int_equal(find(fixture, rows[i].line), -1);
        assert_error(fixture, rows[i].why);
    }
}

static void help_names_every_command_and_its_options(void **state)
{
    char *text = NULL;
    size_t size;
    FILE *out = open_memstream(&text, &size);

    (void)state;
    command_help(out, NULL);
    fflush(out);
    for (size_t i = 0; i < n_commands; i++)
        assert_non_null(strstr(text, commands[i].summary));
    assert_non_null(strstr(text, "--timeout TIME"));
    assert_null(strstr(text, "--dry-run"));
    rewind(out);
    command_help(out, "apply");
    fclose(out);
    assert_non_null(strstr(text, "--dry-run"));
    assert_null(strstr(text, "--family"));
    free(text);
}

int main(void)
{
#define ROW(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        ROW(options_stand_before_and_after_the_command),
        ROW(words_after_two_dashes_are_no_options),
        ROW(files_are_gathered_in_order),
        ROW(expected_heads_are_gathered_in_order),
        ROW(choices_are_the_contracts_numbers),
        ROW(wrong_options_are_refused),
        ROW(format_counts_behind_an_error_and_the_first_error_is_told),
        ROW(nouns_have_all_their_names),
        ROW(wrong_commands_are_refused),
        ROW(help_names_every_command_and_its_options),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
