/* The filter of what a client sends, alone: bytes in pieces of any size. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "grpc_filter.h"

enum { DATA = 0, HEADERS = 1, RST_STREAM = 3, SETTINGS = 4 };

/* ---- Fixture ------------------------------------------------------------------------------------------------------ */

struct bytes {
    uint8_t data[4096];
    size_t size;
};

static const char preface[] = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

static void add(struct bytes *bytes, const void *data, size_t size)
{
    assert_true(bytes->size + size <= sizeof bytes->data);
    memcpy(bytes->data + bytes->size, data, size);
    bytes->size += size;
}

static void add_frame(struct bytes *bytes, uint8_t type, uint32_t stream, uint8_t size)
{
    const uint8_t head[] = {
        0, 0, size, type, 0, (uint8_t)(stream >> 24), (uint8_t)(stream >> 16), (uint8_t)(stream >> 8), (uint8_t)stream};
    uint8_t payload[256];
    memset(payload, RST_STREAM, sizeof payload); /* looks like a head's type to who loses count */
    add(bytes, head, sizeof head);
    add(bytes, payload, size);
}

/* ---- Helpers ------------------------------------------------------------------------------------------------------ */

static struct bytes filtered(const struct bytes *in, size_t piece_size)
{
    struct grpc_filter filter;
    struct bytes out = {.size = 0};
    filter_init(&filter);
    for (size_t at = 0; at < in->size; at += piece_size) {
        size_t size = in->size - at < piece_size ? in->size - at : piece_size, piece_length;
        uint8_t *copy = malloc(size); /* of just that size: reads past it show under AddressSanitizer */
        const uint8_t *data = copy, *piece;
        memcpy(copy, in->data + at, size);
        while (filter_next(&filter, &data, &size, &piece, &piece_length))
            add(&out, piece, piece_length);
        assert_int_equal(size, 0);
        free(copy);
    }
    return out;
}

static void assert_filtered(const struct bytes *in, const struct bytes *expected)
{
    for (size_t piece_size = 1; piece_size <= in->size; piece_size++) {
        struct bytes out = filtered(in, piece_size);
        assert_int_equal(out.size, expected->size);
        assert_memory_equal(out.data, expected->data, expected->size);
    }
}

/* ---- Tests -------------------------------------------------------------------------------------------------------- */

static void reset_of_unopened_stream_is_taken_out(void **state)
{
    struct bytes in = {.size = 0}, expected = {.size = 0};
    (void)state;
    add(&in, preface, sizeof preface - 1);
    add_frame(&in, SETTINGS, 0, 18);
    add_frame(&in, RST_STREAM, 1, 4);
    add_frame(&in, HEADERS, 3, 50);
    add_frame(&in, RST_STREAM, 5, 4);
    add_frame(&in, RST_STREAM, 7, 4);
    add_frame(&in, DATA, 3, 200);
    add_frame(&in, RST_STREAM, 9, 4);

    add(&expected, preface, sizeof preface - 1);
    add_frame(&expected, SETTINGS, 0, 18);
    add_frame(&expected, HEADERS, 3, 50);
    add_frame(&expected, DATA, 3, 200);
    assert_filtered(&in, &expected);
}

static void all_else_goes_through_untouched(void **state)
{
    struct bytes in = {.size = 0};
    (void)state;
    add(&in, preface, sizeof preface - 1);
    add_frame(&in, HEADERS, 5, 10);
    add_frame(&in, RST_STREAM, 5, 4);  /* open */
    add_frame(&in, RST_STREAM, 3, 4);  /* passed over, so closed */
    add_frame(&in, RST_STREAM, 0, 4);  /* wrong in other ways: for nghttp2 to say */
    add_frame(&in, RST_STREAM, 6, 4);  /* the server's */
    add_frame(&in, RST_STREAM, 99, 5); /* of a wrong size */
    add_frame(&in, DATA, 99, 0);
    add(&in, "\0\0", 2); /* a head that never ends is held back */
    struct bytes expected = in;
    expected.size -= 2;
    assert_filtered(&in, &expected);
}

static void pass(struct grpc_filter *filter, const struct bytes *in)
{
    const uint8_t *data = in->data, *piece;
    size_t size = in->size, piece_size;
    while (filter_next(filter, &data, &size, &piece, &piece_size))
        continue;
}

static void pass_frame(struct grpc_filter *filter, uint8_t type, uint32_t stream, uint8_t size)
{
    struct bytes in = {.size = 0};
    add_frame(&in, type, stream, size);
    pass(filter, &in);
}

static void frames_without_request_or_data_use_up_the_credit(void **state)
{
    struct grpc_filter filter;
    struct bytes in = {.size = 0};
    (void)state;
    filter_init(&filter);
    add(&in, preface, sizeof preface - 1);
    pass(&filter, &in);
    for (int i = 0; i < FILTER_CREDIT_MAX; i++)
        pass_frame(&filter, SETTINGS, 0, 6);
    assert_int_equal(filter.credit, 0);
    pass_frame(&filter, SETTINGS, 0, 6);
    assert_true(filter.credit < 0);
    for (int i = 0; i < 10; i++)
        pass_frame(&filter, SETTINGS, 0, 6);
    assert_int_equal(filter.credit, -1); /* no debt that grows */
    assert_int_equal(filter.frames, FILTER_CREDIT_MAX + 11);
}

static void requests_and_data_earn_credit_up_to_its_maximum(void **state)
{
    struct grpc_filter filter;
    struct bytes in = {.size = 0};
    (void)state;
    filter_init(&filter);
    add(&in, preface, sizeof preface - 1);
    pass(&filter, &in);
    pass_frame(&filter, HEADERS, 1, 20);
    assert_int_equal(filter.credit, FILTER_CREDIT_MAX);
    for (int i = 0; i < 100; i++)
        pass_frame(&filter, SETTINGS, 0, 6);
    pass_frame(&filter, HEADERS, 3, 20);
    assert_int_equal(filter.credit, FILTER_CREDIT_MAX - 92);
    pass_frame(&filter, DATA, 3, 20);
    assert_int_equal(filter.credit, FILTER_CREDIT_MAX - 84);
    pass_frame(&filter, DATA, 3, 0); /* carries nothing */
    assert_int_equal(filter.credit, FILTER_CREDIT_MAX - 85);
    pass_frame(&filter, RST_STREAM, 99, 4); /* is taken out, and counts all the same */
    assert_int_equal(filter.credit, FILTER_CREDIT_MAX - 86);
    filter_earn(&filter, 6);
    assert_int_equal(filter.credit, FILTER_CREDIT_MAX - 80);
    filter_earn(&filter, UINT32_MAX);
    assert_int_equal(filter.credit, FILTER_CREDIT_MAX);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reset_of_unopened_stream_is_taken_out),
        cmocka_unit_test(all_else_goes_through_untouched),
        cmocka_unit_test(frames_without_request_or_data_use_up_the_credit),
        cmocka_unit_test(requests_and_data_earn_credit_up_to_its_maximum),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
