/* What an API server sends, or anybody in its name: for libFuzzer, and for test_fuzz_kube.c, which needs none.
 *
 * The first two bytes choose the shape of the response and how it is cut; the rest is its text. Cut or whole, the same must come of
 * it; what is kept must obey the rules of filter.h; and what jansson can read, the filter must read alike.
 */
#include "fuzz_kube.h"

#include <stdlib.h>
#include <string.h>

#include "response.h"

#define CHECK(truth) ((truth) ? (void)0 : abort())

/* ---- Objects of which a few fields are read ------------------------------------------------------------------------ */

static const struct kube_field metadata[] = {KUBE_LEAF("name"), KUBE_LEAF("resourceVersion"), KUBE_END};
static const struct kube_field spec[] = {KUBE_LEAF("address"), KUBE_LEAF("list"), KUBE_END};
static const struct kube_field fields[] = {KUBE_TABLE("metadata", metadata), KUBE_TABLE("spec", spec), KUBE_END};

/* ---- Helpers ----------------------------------------------------------------------------------------------------- */

/* All values that come of a text; *ret: whether it is good to its end. */
static json_t *read_all(enum kube_shape shape, const struct kube_field *rows, const uint8_t *text, size_t size,
                        size_t step, bool *ret)
{
    struct response response;
    struct ipam_error error;
    json_t *values = json_array();
    response_init(&response, shape, rows, 1 << 20);
    for (size_t at = 0; at < size; at += step)
        if (response_add(&response, text + at, step < size - at ? step : size - at) != FILTER_GOOD)
            break;
    *ret = response_check(&response, &error) == 0;
    CHECK(*ret || *error.message);
    while (response_has_value(&response))
        json_array_append_new(values, response_take(&response));
    response_done(&response);
    return values;
}

static unsigned int depth_of(const json_t *json)
{
    unsigned int depth = 0;
    const char *name;
    json_t *value;
    size_t i;
    json_object_foreach((json_t *)(uintptr_t)json, name, value) depth =
        depth > depth_of(value) ? depth : depth_of(value);
    json_array_foreach((json_t *)(uintptr_t)json, i, value) depth = depth > depth_of(value) ? depth : depth_of(value);
    return json_is_object(json) || json_is_array(json) ? depth + 1 : 0;
}

/* ---- What must hold ---------------------------------------------------------------------------------------------- */

static void check_pieces(enum kube_shape shape, const struct kube_field *rows, const uint8_t *text, size_t size,
                         size_t step)
{
    bool whole_good, cut_good;
    json_t *whole = read_all(shape, rows, text, size, size + 1, &whole_good);
    json_t *cut = read_all(shape, rows, text, size, step, &cut_good);
    CHECK(whole_good == cut_good);
    CHECK(!whole_good || json_equal(whole, cut));
    CHECK(depth_of(whole) <= 1 + 4 + FILTER_DEPTH_MAX); /* all values, tables, a leaf */
    json_decref(whole);
    json_decref(cut);
}

static void check_jansson(const uint8_t *text, size_t size)
{
    bool good;
    json_t *other = json_loadb((const char *)text, size, JSON_ALLOW_NUL | JSON_DECODE_ANY, NULL);
    json_t *values = read_all(KUBE_ONE, NULL, text, size, size + 1, &good);
    bool ended = memchr(text, '\0', size) != NULL; /* a NUL byte after the value is the end of the text to jansson */
    if (other && !ended && depth_of(other) <= FILTER_DEPTH_MAX) {
        CHECK(good && json_array_size(values) == 1);
        CHECK(json_equal(json_array_get(values, 0), other));
    }
    json_decref(values);
    json_decref(other);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const enum kube_shape shapes[] = {KUBE_ONE, KUBE_PAGE, KUBE_EVENTS};
    if (size < 2)
        return 0;
    enum kube_shape shape = shapes[data[0] % 3];
    check_pieces(shape, data[0] & 4 ? NULL : fields, data + 2, size - 2, 1 + data[1] % 64);
    check_jansson(data + 2, size - 2);
    return 0;
}
