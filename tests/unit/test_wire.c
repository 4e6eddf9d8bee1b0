/* Requests whose strings are not text are refused before protobuf-c can cut them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "ipam.pb-c.h"
#include "wire.h"

/* ---- Helpers ----------------------------------------------------------------------------------------------------- */

/* An AllocateRequest with owner.name as given, packed by hand so that any byte can stand in it. */
static int check_name(const char *name, size_t size, struct ipam_error *error)
{
    uint8_t bytes[64] = {0x0a, (uint8_t)(size + 2), 0x12, (uint8_t)size};
    assert_in_range(size, 0, 60);
    memcpy(bytes + 4, name, size);
    return wire_check(&ipam__v1__allocate_request__descriptor, bytes, size + 4, error);
}

/* ---- Tests ------------------------------------------------------------------------------------------------------- */

static void text_passes(void **state)
{
    (void)state;
    static const char *const texts[] = {
        "", "web-vip", "café", "€", "\xf0\x9f\x98\x80", "\xed\x9f\xbf", "\xf4\x8f\xbf\xbf"};
    struct ipam_error error;
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++)
        assert_int_equal(check_name(texts[i], strlen(texts[i]), &error), 0);
}

static void nul_inside_a_string_is_refused_by_field_name(void **state)
{
    (void)state;
    struct ipam_error error;
    assert_int_equal(check_name("web\0vip", 7, &error), -1);
    assert_int_equal(error.reason, IPAM_REASON_INVALID_REQUEST);
    assert_non_null(strstr(error.message, "name of Owner"));
}

static void bytes_that_are_not_utf8_are_refused(void **state)
{
    (void)state;
    static const char *const texts[] = {"\x80",
                                        "\xc0\x80",
                                        "\xc1\xbf",
                                        "\xe0\x80\x80",
                                        "\xed\xa0\x80",
                                        "\xf0\x80\x80\x80",
                                        "\xf4\x90\x80\x80",
                                        "\xf5\x80\x80\x80",
                                        "\xff",
                                        "\xe2\x82",
                                        "a\xc3",
                                        "\xc3("};
    struct ipam_error error;
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++)
        assert_int_equal(check_name(texts[i], strlen(texts[i]), &error), -1);
}

static void bytes_that_are_no_message_are_left_to_the_unpacking(void **state)
{
    (void)state;
    static const char *const junk[] = {"\x0a", "\x0a\xff", "\xff\xff\xff", "\x0b", "\x0a\x05\x12\x7f", "\x80"};
    struct ipam_error error;
    for (size_t i = 0; i < sizeof junk / sizeof *junk; i++)
        assert_int_equal(
            wire_check(&ipam__v1__allocate_request__descriptor, (const uint8_t *)junk[i], strlen(junk[i]), &error), 0);
}

/* Unknown fields of two bytes each, within a message of a message. */
static int check_fields(size_t count, struct ipam_error *error)
{
    static uint8_t bytes[2 * WIRE_FIELDS_MAX + 64];
    size_t size = 2 * (count - 1), n = 0;
    bytes[n++] = 0x0a; /* owner */
    for (size_t left = size; n == 1 || left > 0; left >>= 7)
        bytes[n++] = (uint8_t)((left & 0x7f) | (left > 0x7f ? 0x80 : 0));
    for (size_t i = 0; i < size; i += 2) {
        bytes[n + i] = 0x50; /* field 10, a number */
        bytes[n + i + 1] = 0;
    }
    return wire_check(&ipam__v1__allocate_request__descriptor, bytes, n + size, error);
}

static void fields_up_to_the_limit_pass_and_one_more_is_refused(void **state)
{
    (void)state;
    struct ipam_error error;
    assert_int_equal(check_fields(WIRE_FIELDS_MAX, &error), 0);
    assert_int_equal(check_fields(WIRE_FIELDS_MAX + 1, &error), -1);
    assert_int_equal(error.reason, IPAM_REASON_LIMIT_EXCEEDED);
    assert_non_null(strstr(error.message, "too many fields"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(text_passes),
        cmocka_unit_test(nul_inside_a_string_is_refused_by_field_name),
        cmocka_unit_test(bytes_that_are_not_utf8_are_refused),
        cmocka_unit_test(bytes_that_are_no_message_are_left_to_the_unpacking),
        cmocka_unit_test(fields_up_to_the_limit_pass_and_one_more_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
