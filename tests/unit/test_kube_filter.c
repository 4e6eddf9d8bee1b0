/* Of JSON text, the fields that somebody reads: what is kept, what is read over, and what costs just itself. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include <cmocka.h>

#include "filter.h"

/* ---- Fixture: objects of which a few fields are read --------------------------------------------------------------- */

static const struct kube_field part[] = {KUBE_LEAF("who"), KUBE_END};
static const struct kube_field metadata[] = {KUBE_LEAF("name"), KUBE_LEAF("uid"), KUBE_TABLES("parts", part), KUBE_END};
static const struct kube_field reference[] = {KUBE_LEAF("name"), KUBE_END};
static const struct kube_field spec[] = {KUBE_LEAF("address"), KUBE_LEAF("list"), KUBE_TABLE("poolRef", reference),
                                         KUBE_END};
static const struct kube_field object[] = {KUBE_TABLE("metadata", metadata), KUBE_TABLE("spec", spec), KUBE_END};
static const struct kube_field one = {.fields = object, .part = KUBE_OBJECT};
static const struct kube_field page[] = {
    KUBE_LEAF("metadata"), {.name = "items", .fields = object, .part = KUBE_LIST}, KUBE_END};
static const struct kube_field list = {.fields = page};
static const struct kube_field everything = {.name = NULL};

/* ---- Helpers ----------------------------------------------------------------------------------------------------- */

static void on_value(json_t *value, void *user)
{
    json_array_append_new(user, value);
}

/* All values of a text that comes in pieces of `step` bytes; the caller's. */
static json_t *read_pieces(const struct kube_field *row, const char *text, size_t size, size_t step,
                           enum filter_result *ret)
{
    json_t *values = json_array();
    struct filter *filter = filter_new(row, true, on_value, values);
    for (size_t at = 0; at < size; at += step)
        filter_add(filter, text + at, step < size - at ? step : size - at);
    *ret = filter_end(filter);
    filter_free(filter);
    return values;
}

static json_t *read_text(const struct kube_field *row, const char *text)
{
    enum filter_result result;
    json_t *values = read_pieces(row, text, strlen(text), strlen(text), &result);
    if (result != FILTER_GOOD || json_array_size(values) != 1)
        fail_msg("%.80s…: result %d, %zu values", text, (int)result, json_array_size(values));
    json_t *value = json_incref(json_array_get(values, 0));
    json_decref(values);
    return value;
}

static void assert_kept(const struct kube_field *row, const char *text, const char *wanted)
{
    json_t *value = read_text(row, text);
    char *kept = json_dumps(value, JSON_COMPACT | JSON_ENCODE_ANY);
    assert_string_equal(kept, wanted);
    free(kept);
    json_decref(value);
}

/* "[[[…]]]", `depth` of them. */
static char *nested(size_t depth)
{
    char *text = calloc(2 * depth + 1, 1);
    memset(text, '[', depth);
    memset(text + depth, ']', depth);
    return text;
}

static char *zeros(size_t count)
{
    char *text = malloc(2 * count + 2);
    for (size_t i = 0; i < count; i++)
        memcpy(text + 1 + 2 * i, "0,", 2);
    text[0] = '[';
    memcpy(text + 2 * count, "]", 2);
    return text;
}

/* An object named "bad" with `value` in spec.FIELD. The caller frees. */
static char *object_text(const char *field, const char *value)
{
    char *text;
    if (asprintf(
            &text,
            "{\"metadata\":{\"name\":\"bad\"},\"spec\":{\"address\":\"a\",\"%s\":%s,\"poolRef\":{\"name\":\"p\"}}}",
            field, value) < 0)
        abort();
    return text;
}

/* ---- Tests: what is kept ----------------------------------------------------------------------------------------- */

static void only_fields_with_a_row_are_kept(void **state)
{
    (void)state;
    assert_kept(
        &one,
        "{\"kind\":\"X\",\"metadata\":{\"name\":\"a\",\"labels\":{\"name\":\"no\"},\"uid\":\"u\"},"
        "\"spec\":{\"list\":[1,{\"x\":[null,true]}],\"name\":[\"no\"],\"poolRef\":{\"name\":\"p\",\"x\":{}}},\"x\":1}",
        "{\"metadata\":{\"name\":\"a\",\"uid\":\"u\"},"
        "\"spec\":{\"list\":[1,{\"x\":[null,true]}],\"poolRef\":{\"name\":\"p\"}}}");
}

static void of_a_list_each_object_is_filtered(void **state)
{
    (void)state;
    assert_kept(
        &list,
        "{\"items\":[{\"x\":1,\"metadata\":{\"name\":\"a\"}},{},3,[]],\"metadata\":{\"continue\":\"c\"},\"x\":{}}",
        "{\"items\":[{\"metadata\":{\"name\":\"a\"}},{},3,[]],\"metadata\":{\"continue\":\"c\"}}");
}

static void what_is_no_object_where_one_belongs_is_kept_as_it_stands(void **state)
{
    (void)state;
    assert_kept(&one, "{\"spec\":[{\"x\":1}],\"metadata\":\"m\"}", "{\"spec\":[{\"x\":1}],\"metadata\":\"m\"}");
    assert_kept(&one, "[1,[2]]", "[1,[2]]");
    assert_kept(&list, "{\"items\":{\"x\":1}}", "{\"items\":{}}");
}

static void a_name_counts_as_it_reads_and_the_last_of_one_name_counts(void **state)
{
    (void)state;
    assert_kept(&one, "{\"\\u0073pec\":{\"address\":1},\"spec\":{\"address\":\"\\u00e9\\u0000\"}}",
                "{\"spec\":{\"address\":\"\xc3\xa9\\u0000\"}}");
}

static void numbers_are_kept_as_exactly_as_may_be(void **state)
{
    (void)state;
    assert_kept(&everything, "[0,-9223372036854775808,9223372036854775807]",
                "[0,-9223372036854775808,9223372036854775807]");
    assert_kept(&everything, "[1.5000000000000000000000000000000000000000000000000000000000000000000000]", "[1.5]");
    assert_kept(&everything, "[100000000000000000000,0.5,1e999]", "[1e20,0.5,\"1e999\"]");
}

static void cut_at_every_byte_the_same_comes(void **state)
{
    (void)state;
    static const char text[] = "{\"items\":[{\"x\":[\"\\\\\\\"]\",-1.5e3,{\"\\u0000\":null}],\"spec\":{\"list\":[true,"
                               "12]}}],\"metadata\":{}}  {\"items\":[]}";
    for (size_t step = 1; step < sizeof text; step++) {
        enum filter_result result;
        json_t *values = read_pieces(&list, text, sizeof text - 1, step, &result);
        char *kept = json_dumps(values, JSON_COMPACT);
        assert_int_equal(result, FILTER_GOOD);
        assert_string_equal(kept, "[{\"items\":[{\"spec\":{\"list\":[true,12]}}],\"metadata\":{}},{\"items\":[]}]");
        free(kept);
        json_decref(values);
    }
}

/* ---- Tests: what is read over ------------------------------------------------------------------------------------ */

static void what_nobody_reads_may_be_anything(void **state)
{
    (void)state;
    char *deep = nested(10000), *text;
    const char *values[] = {"100000000000000000000", "{\"\\u0000\":{\"a\":1e999999}}", "\"\\u0000\\ud800\"", "\"\xff\"",
                            deep};
    for (size_t i = 0; i < sizeof values / sizeof *values; i++) {
        if (asprintf(&text, "{\"spec\":{\"x\":%s,\"address\":\"a\"}}", values[i]) < 0)
            abort();
        assert_kept(&one, text, "{\"spec\":{\"address\":\"a\"}}");
        free(text);
    }
    free(deep);
}

/* Were it kept, it would be some 600 MB. */
static void what_nobody_reads_takes_no_memory(void **state)
{
    (void)state;
    char *many = zeros(12 << 20), *text = object_text("x", many);
    struct rusage before, after;
    getrusage(RUSAGE_SELF, &before);
    assert_kept(&one, text,
                "{\"metadata\":{\"name\":\"bad\"},\"spec\":{\"address\":\"a\",\"poolRef\":{\"name\":\"p\"}}}");
    getrusage(RUSAGE_SELF, &after);
    assert_in_range(after.ru_maxrss - before.ru_maxrss, 0, 8192); /* KiB */
    free(text);
    free(many);
}

/* ---- Tests: what costs just itself ------------------------------------------------------------------------------- */

static void a_leaf_that_can_not_be_kept_is_left_out_and_told(void **state)
{
    (void)state;
    char *deep = nested(FILTER_DEPTH_MAX + 1), *many = zeros(FILTER_LEAF_MAX / 90);
    const struct {
        const char *value, *says;
    } cases[] = {
        {deep, "spec.list is left out: it nests deeper than 32 levels"},
        {many, "spec.list is left out: it is too large"},
        {"[1,{\"a\":{\"\\u0000\":[2]}},3]", "spec.list is left out: a name in it has a NUL character or is not UTF-8"},
        {"{\"\xff\":1}", "spec.list is left out: a name in it has a NUL character or is not UTF-8"},
        {"[[\"\xff\"],1]", "spec.list is left out: a text in it is not UTF-8"},
        {"\"\xff\"", "spec.list is left out: a text in it is not UTF-8"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char *text = object_text("list", cases[i].value);
        json_t *value = read_text(&one, text), *kept = json_object_get(value, "spec");
        assert_string_equal(kube_object_problem(value), cases[i].says);
        assert_null(json_object_get(kept, "list"));
        assert_string_equal(json_string_value(json_object_get(kept, "address")), "a");
        assert_non_null(json_object_get(json_object_get(kept, "poolRef"), "name")); /* it came after */
        json_decref(value);
        free(text);
    }
    free(deep);
    free(many);
}

static void a_leaf_at_the_limit_is_kept(void **state)
{
    (void)state;
    char *deep = nested(FILTER_DEPTH_MAX), *text = object_text("list", deep);
    json_t *value = read_text(&one, text);
    assert_null(kube_object_problem(value));
    assert_non_null(json_object_get(json_object_get(value, "spec"), "list"));
    json_decref(value);
    free(text);
    free(deep);
}

static void of_a_list_only_the_object_that_it_is_in_tells_of_it(void **state)
{
    (void)state;
    json_t *value = read_text(&list, "{\"items\":[{\"spec\":{\"list\":{\"\\u0000\":1}}},{\"spec\":{\"list\":[7]}}]}");
    const json_t *items = json_object_get(value, "items");
    assert_non_null(kube_object_problem(json_array_get(items, 0)));
    assert_null(kube_object_problem(json_array_get(items, 1)));
    assert_int_equal(json_array_size(json_object_get(json_object_get(json_array_get(items, 1), "spec"), "list")), 1);
    json_decref(value);
}

static void of_an_array_of_parts_each_has_the_fields_that_are_read(void **state)
{
    (void)state;
    assert_kept(&one, "{\"metadata\":{\"parts\":[{\"who\":1,\"x\":{\"\\u0000\":1}},{},7,[8,{\"x\":9}]],\"x\":1}}",
                "{\"metadata\":{\"parts\":[{\"who\":1},{},7,[8,{\"x\":9}]]}}");
    assert_kept(&one, "{\"metadata\":{\"parts\":{\"who\":1,\"x\":2}}}", "{\"metadata\":{\"parts\":{\"who\":1}}}");
}

static void what_can_not_be_kept_of_a_part_is_told_by_the_object(void **state)
{
    (void)state;
    static const struct {
        const char *value, *says, *kept;
    } cases[] = {
        {"{\"who\":\"\xff\"}", "metadata.parts.who is left out: a text in it is not UTF-8", "[{},{}]"},
        {"{\"who\":{\"\xff\":1}}", "metadata.parts.who is left out: a name in it has a NUL character or is not UTF-8",
         "[{},{}]"},
        {"\"\xff\"", "metadata.parts is left out: a text in it is not UTF-8", "[{}]"},
        {"[1,\"\xff\"]", "metadata.parts is left out: a text in it is not UTF-8", "[{}]"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char *text;
        if (asprintf(&text, "{\"items\":[{\"metadata\":{\"parts\":[%s,{}]}},{}]}", cases[i].value) < 0)
            abort();
        json_t *value = read_text(&list, text), *items = json_object_get(value, "items");
        const json_t *first = json_array_get(items, 0);
        char *kept = json_dumps(json_object_get(json_object_get(first, "metadata"), "parts"), JSON_COMPACT);
        assert_string_equal(kube_object_problem(first), cases[i].says);
        assert_string_equal(kept, cases[i].kept);
        assert_null(kube_object_problem(json_array_get(items, 1)));
        free(kept);
        json_decref(value);
        free(text);
    }
}

static void nobody_can_write_a_problem_into_an_object(void **state)
{
    (void)state;
    json_t *value = read_text(&one, "{\"!problem\":\"x\",\"spec\":{\"!problem\":\"x\"}}");
    assert_null(kube_object_problem(value));
    json_decref(value);
}

static void objects_that_take_too_much_together_fail_the_page_and_one_alone_does_not(void **state)
{
    (void)state;
    enum filter_result result;
    char *many = zeros(FILTER_LEAF_MAX / 100), *item = object_text("list", many);
    size_t count = 6, size = count * (strlen(item) + 1) + 32;
    char *text = calloc(size, 1), *at = text + sprintf(text, "{\"items\":[");
    for (size_t i = 0; i < count; i++)
        at += sprintf(at, "%s%s", i > 0 ? "," : "", item);
    strcpy(at, "]}");
    json_t *values = read_pieces(&list, text, strlen(text), 16384, &result);
    assert_int_equal(result, FILTER_LARGE);
    assert_int_equal(json_array_size(values), 0);
    json_decref(values);
    free(text);
    free(item);
    free(many);
}

/* ---- Tests: what is no JSON -------------------------------------------------------------------------------------- */

static void what_is_no_json_fails_and_stays_so(void **state)
{
    (void)state;
    static const char *const texts[] = {"{\"x\":tru}",      "{\"x\":[1 2]}", "{\"x\":{\"a\"}}", "{\"x\":01}",
                                        "{\"x\":\"a\nb\"}", "{\"x\":1,}",    "{\"x\":'a'}",     "{\"x\":1}]",
                                        "{\"x\":\"\\q\"}",  "{\"x\":NaN}",   "{\"x\":/**/1}",   "{\"x\":[}]",
                                        "{\"x\":"};
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        json_t *values = json_array();
        struct filter *filter = filter_new(&one, true, on_value, values);
        filter_add(filter, texts[i], strlen(texts[i]));
        if (filter_end(filter) != FILTER_BAD || !*filter_error(filter))
            fail_msg("%s was taken", texts[i]);
        assert_int_equal(filter_add(filter, "{}", 2), FILTER_BAD);
        filter_free(filter);
        json_decref(values);
    }
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(only_fields_with_a_row_are_kept),
        cmocka_unit_test(of_a_list_each_object_is_filtered),
        cmocka_unit_test(what_is_no_object_where_one_belongs_is_kept_as_it_stands),
        cmocka_unit_test(a_name_counts_as_it_reads_and_the_last_of_one_name_counts),
        cmocka_unit_test(numbers_are_kept_as_exactly_as_may_be),
        cmocka_unit_test(cut_at_every_byte_the_same_comes),
        cmocka_unit_test(what_nobody_reads_may_be_anything),
        cmocka_unit_test(what_nobody_reads_takes_no_memory),
        cmocka_unit_test(a_leaf_that_can_not_be_kept_is_left_out_and_told),
        cmocka_unit_test(a_leaf_at_the_limit_is_kept),
        cmocka_unit_test(of_a_list_only_the_object_that_it_is_in_tells_of_it),
        cmocka_unit_test(of_an_array_of_parts_each_has_the_fields_that_are_read),
        cmocka_unit_test(what_can_not_be_kept_of_a_part_is_told_by_the_object),
        cmocka_unit_test(nobody_can_write_a_problem_into_an_object),
        cmocka_unit_test(objects_that_take_too_much_together_fail_the_page_and_one_alone_does_not),
        cmocka_unit_test(what_is_no_json_fails_and_stays_so),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
