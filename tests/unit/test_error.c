#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

#include <ipam/error.h>

#include "arena.h"

/* ---- Fixture ---- */

static const struct {
    const char *name;
    enum ipam_reason number;
    enum ipam_status status;
    enum ipam_exit exit_class;
} rows[] = {
#define IPAM_ERROR_ROW(name, number, status, exit_class, summary, remedy) \
    {#name, number, IPAM_STATUS_##status, IPAM_EXIT_##exit_class},
#include <ipam/errors.def>
#undef IPAM_ERROR_ROW
};

#define N_ROWS (sizeof(rows) / sizeof(rows[0]))

/* ---- Helpers ---- */

static const char *message_of(const char *text)
{
    static struct ipam_error error;

    assert_int_equal(ipam_error_set(&error, IPAM_REASON_INTERNAL, "%s", text), -1);
    return error.message;
}

/* ---- Tests ---- */

static void every_row_of_the_table_is_found_by_name_and_number(void **state)
{
    (void)state;
    for (size_t i = 0; i < N_ROWS; i++) {
        struct ipam_error error;

        ipam_error_set(&error, rows[i].number, "x");
        assert_int_equal(error.status, rows[i].status);
        assert_int_equal(ipam_reason_status(rows[i].number), rows[i].status);
        assert_int_equal(ipam_error_exit_code(&error), rows[i].exit_class);
        assert_string_equal(ipam_reason_name(rows[i].number), rows[i].name);
        assert_int_equal(ipam_reason_parse(rows[i].name), rows[i].number);
        assert_true(strlen(ipam_reason_summary(rows[i].number)) > 10);
        assert_true(strlen(ipam_reason_remedy(rows[i].number)) > 10);
    }
}

/* Numbers of the first release: a reason that moved would change its meaning for every client. */
static void numbers_stay_what_they_are(void **state)
{
    (void)state;
    assert_int_equal(IPAM_REASON_INVALID_POOL_SPEC, 1);
    assert_int_equal(IPAM_REASON_POOL_EXHAUSTED, 8);
    assert_int_equal(IPAM_REASON_STORE_UNAVAILABLE, 19);
    assert_int_equal(IPAM_REASON_LIMIT_EXCEEDED, 38);
    for (size_t i = 0; i < N_ROWS; i++)
        assert_int_equal(rows[i].number, i + 1);
}

static void unknown_reasons_and_statuses_have_neutral_text(void **state)
{
    struct ipam_error error = {.status = IPAM_STATUS_NOT_FOUND, .reason = (enum ipam_reason)60000};

    (void)state;
    assert_int_equal(ipam_reason_parse("NO_SUCH_REASON"), IPAM_REASON_NONE);
    assert_int_equal(ipam_reason_parse(""), IPAM_REASON_NONE);
    assert_string_equal(ipam_reason_name((enum ipam_reason)60000), "");
    assert_string_equal(ipam_reason_summary(IPAM_REASON_NONE), "");
    assert_string_equal(ipam_reason_remedy(IPAM_REASON_NONE), "");
    assert_string_equal(ipam_status_name((enum ipam_status)99), "UNKNOWN");
    assert_string_equal(ipam_status_name(IPAM_STATUS_RESOURCE_EXHAUSTED), "RESOURCE_EXHAUSTED");
    assert_int_equal(ipam_error_exit_code(&error), IPAM_EXIT_NOT_FOUND);
    error.status = (enum ipam_status)99;
    assert_int_equal(ipam_error_exit_code(&error), IPAM_EXIT_FAILURE);
}

static void bytes_that_are_not_printable_utf8_are_escaped(void **state)
{
    static const char *const table[][2] = {
        {"plain", "plain"},
        {"Größe → 東京 🙂", "Größe → 東京 🙂"},
        {"a\nb\tc\x7f", "a\\x0Ab\\x09c\\x7F"},
        {"\x1b[31m", "\\x1B[31m"},
        {"\xff", "\\xFF"},
        {"\xc3", "\\xC3"},
        {"\xc3(", "\\xC3("},
        {"\xc0\xaf", "\\xC0\\xAF"},                   /* overlong */
        {"\xed\xa0\x80", "\\xED\\xA0\\x80"},          /* surrogate */
        {"\xf4\x90\x80\x80", "\\xF4\\x90\\x80\\x80"}, /* above U+10FFFF */
        {"\xe2\x80\xae", "\\xE2\\x80\\xAE"},          /* right-to-left override */
        {"\xc2\x85", "\\xC2\\x85"},                   /* next line */
        {"back\\slash", "back\\slash"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++)
        assert_string_equal(message_of(table[i][0]), table[i][1]);
}

/* Every offset of a three-byte character against the end of the buffer. */
static void long_messages_are_cut_between_characters(void **state)
{
    (void)state;
    for (int offset = 0; offset < 3; offset++) {
        char text[4000] = "xx";
        const char *message;

        for (int used = offset; used < 3900; used += 3)
            memcpy(text + used, "€", 4);
        message = message_of(text);
        assert_true(strlen(message) > sizeof(((struct ipam_error *)0)->message) - 4);
        assert_int_equal((strlen(message) - (size_t)offset) % 3, 0);
        assert_null(strchr(message, '\\'));
    }
}

static void escapes_are_not_cut_in_two(void **state)
{
    char text[1100];
    const char *message;

    (void)state;
    memset(text, '\n', sizeof(text) - 1);
    text[sizeof(text) - 1] = '\0';
    message = message_of(text);
    assert_int_equal(strlen(message), 1020);
    assert_string_equal(message + 1016, "\\x0A");
}

static void prefix_goes_before_the_message(void **state)
{
    struct ipam_error error;

    (void)state;
    ipam_error_set(&error, IPAM_REASON_POOL_NOT_FOUND, "no pool %s", "a\nb");
    ipam_error_add(&error, "pool", "a");
    assert_int_equal(ipam_error_prefix(&error, "line %d", 7), -1);
    assert_string_equal(error.message, "line 7: no pool a\\x0Ab");
    assert_int_equal(error.reason, IPAM_REASON_POOL_NOT_FOUND);
    assert_int_equal(error.n_details, 1);
}

static void prefix_of_a_full_message_cuts_its_end(void **state)
{
    struct ipam_error error;
    char text[2000];

    (void)state;
    memset(text, 'x', sizeof(text) - 1);
    text[sizeof(text) - 1] = '\0';
    ipam_error_set(&error, IPAM_REASON_INTERNAL, "%s", text);
    ipam_error_prefix(&error, "%s", "p");
    assert_int_equal(strlen(error.message), sizeof(error.message) - 1);
    assert_memory_equal(error.message, "p: xxx", 6);
}

static void details_are_cut_and_limited(void **state)
{
    struct ipam_error error;
    char value[1000];

    (void)state;
    memset(value, 'v', sizeof(value) - 1);
    value[sizeof(value) - 1] = '\0';
    ipam_error_set(&error, IPAM_REASON_INTERNAL, "x");
    for (int i = 0; i < IPAM_ERROR_DETAILS + 2; i++)
        ipam_error_add(&error, "a-key-that-is-longer-than-fits", value);
    assert_int_equal(error.n_details, IPAM_ERROR_DETAILS);
    assert_int_equal(strlen(error.details[3].value), sizeof(error.details[3].value) - 1);
    assert_int_equal(strlen(error.details[3].key), sizeof(error.details[3].key) - 1);
    ipam_error_set(&error, IPAM_REASON_INTERNAL, "again");
    assert_int_equal(error.n_details, 0);
}

static void null_errors_are_taken(void **state)
{
    (void)state;
    assert_int_equal(ipam_error_set(NULL, IPAM_REASON_INTERNAL, "x"), -1);
    assert_int_equal(ipam_error_prefix(NULL, "x"), -1);
    ipam_error_add(NULL, "k", "v");
}

static void arena_gives_aligned_memory_that_keeps_its_content(void **state)
{
    struct arena arena;
    char *texts[500];

    (void)state;
    arena_init(&arena);
    for (int i = 0; i < 500; i++) {
        texts[i] = arena_printf(&arena, "%0*d", i * 7 + 1, i);
        assert_int_equal((uintptr_t)texts[i] % _Alignof(max_align_t), 0);
    }
    for (int i = 0; i < 500; i++) {
        int number;

        assert_int_equal(strlen(texts[i]), i * 7 + 1);
        assert_int_equal(sscanf(texts[i], "%d", &number), 1);
        assert_int_equal(number, i);
    }
    assert_string_equal(arena_strdup(&arena, NULL), "");
    assert_memory_equal(arena_memdup(&arena, "a\0b", 3), "a\0b", 4);
    arena_done(&arena);
    assert_int_equal(arena.held, 0);
}

static void reset_arena_keeps_one_small_block(void **state)
{
    struct arena arena;
    size_t held;

    (void)state;
    arena_init(&arena);
    for (int i = 0; i < 1000; i++)
        arena_alloc(&arena, 1000);
    arena_alloc(&arena, 1000000);
    arena_reset(&arena);
    held = arena.held;
    assert_true(held > 0 && held <= 65536);
    for (int i = 0; i < 50; i++) {
        arena_zalloc(&arena, 1000);
    }
    assert_int_equal(arena.held, held);
    arena_done(&arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_row_of_the_table_is_found_by_name_and_number),
        cmocka_unit_test(numbers_stay_what_they_are),
        cmocka_unit_test(unknown_reasons_and_statuses_have_neutral_text),
        cmocka_unit_test(bytes_that_are_not_printable_utf8_are_escaped),
        cmocka_unit_test(long_messages_are_cut_between_characters),
        cmocka_unit_test(escapes_are_not_cut_in_two),
        cmocka_unit_test(prefix_goes_before_the_message),
        cmocka_unit_test(prefix_of_a_full_message_cuts_its_end),
        cmocka_unit_test(details_are_cut_and_limited),
        cmocka_unit_test(null_errors_are_taken),
        cmocka_unit_test(arena_gives_aligned_memory_that_keeps_its_content),
        cmocka_unit_test(reset_arena_keeps_one_small_block),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
