#include "filter.h"

#include <errno.h>
#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <yajl/yajl_parse.h>

#include "arena.h"

#define PROBLEM    "!problem" /* no field of an object has a row of this name */
#define TABLES_MAX 8          /* within each other */
#define COST       96         /* memory of a value besides its text, and of a name */
#define TEXT(x)    TEXT_(x)
#define TEXT_(x)   #x

/* An object or array that is open and kept. */
struct frame {
    json_t *json;
    const struct kube_field *row; /* where it stands; NULL: within a leaf */
    bool is_table;                /* its members have rows */
    bool is_object;               /* an API object */
};

struct filter {
    yajl_handle parser;
    const struct kube_field *top;
    void (*value)(json_t *value, void *user);
    void *user;

    json_t *root; /* what is being read */
    struct frame frames[TABLES_MAX + FILTER_DEPTH_MAX];
    unsigned int depth;
    unsigned int leaf;            /* frames outside the leaf that is open, and one; 0: none is */
    const struct kube_field *row; /* of the value to come, in a table */
    char *name;                   /* of the value to come, in a leaf */
    size_t name_size;
    bool unwanted;    /* the value to come has no row */
    uint64_t skipped; /* objects and arrays that are open in what is read over */
    size_t leaf_size, size;
    size_t n_objects;

    size_t since; /* bytes since the last value was complete */
    size_t ended; /* of the bytes at hand: where a value was complete last */
    bool begun;   /* something else than blanks has come */
    enum filter_result result;
    char error[256];
};

const char *kube_object_problem(const json_t *object)
{
    return json_string_value(json_object_get(object, PROBLEM));
}

/* ---- Problems ---------------------------------------------------------------------------------------------------- */

static int fail(struct filter *filter, enum filter_result result, const char *why)
{
    filter->result = result;
    snprintf(filter->error, sizeof filter->error, "%s", why);
    return 0; /* ends the parser */
}

/* The frame of the API object that the leaf at `depth` belongs to. */
static const struct frame *object_around(const struct filter *filter, unsigned int depth)
{
    while (depth > 0 && !filter->frames[depth - 1].is_object)
        depth--;
    return depth > 0 ? &filter->frames[depth - 1] : NULL;
}

static void problem_tell(const struct filter *filter, const struct frame *object, unsigned int depth,
                         const struct kube_field *leaf, const char *why)
{
    char path[128] = "";
    const struct frame *end = &filter->frames[depth];
    for (const struct frame *frame = object + 1; frame < end; frame++) {
        size_t length = strlen(path);
        if (frame->row != (frame + 1 < end ? frame[1].row : leaf)) /* an array and its elements have one row */
            snprintf(path + length, sizeof path - length, "%s.", frame->row->name);
    }
    if (!kube_object_problem(object->json))
        json_object_set_new(object->json, PROBLEM, json_sprintf("%s%s is left out: %s", path, leaf->name, why));
}

static const struct frame *top_frame(const struct filter *filter)
{
    return filter->depth > 0 ? &filter->frames[filter->depth - 1] : NULL;
}

/* The row of the value that begins; NULL: within a leaf. */
static const struct kube_field *row_of(const struct filter *filter)
{
    const struct frame *frame = top_frame(filter);
    return !frame ? filter->top : filter->leaf ? NULL : frame->is_table ? filter->row : frame->row;
}

/* The leaf that is open, or the value at hand if that is one by itself, is left out; `opens`: an object or array began. */
static int leave_out(struct filter *filter, bool opens, const char *why)
{
    bool is_open = filter->leaf > 0;
    unsigned int outside = is_open ? filter->leaf - 1 : filter->depth;
    const struct frame *object = object_around(filter, outside);
    if (!object)
        return fail(filter, FILTER_BAD, why);
    const struct kube_field *row = is_open ? filter->frames[outside].row : row_of(filter);
    json_t *around = filter->frames[outside - 1].json;
    problem_tell(filter, object, outside, row, why);
    if (json_is_object(around))
        json_object_del(around, row->name);
    else if (is_open)
        json_array_remove(around, json_array_size(around) - 1);
    filter->skipped = filter->depth - outside + opens;
    filter->size -= is_open ? filter->leaf_size : 0;
    filter->depth = outside;
    filter->leaf = 0;
    return 1;
}

/* ---- Values ------------------------------------------------------------------------------------------------------ */

static bool is_wanted(struct filter *filter)
{
    bool wanted = filter->skipped == 0 && !filter->unwanted;
    filter->unwanted = false;
    return wanted;
}

static void attach(struct filter *filter, json_t *value)
{
    const struct frame *frame = top_frame(filter);
    int status = 0;
    if (!frame)
        filter->root = value;
    else if (json_is_array(frame->json))
        status = json_array_append_new(frame->json, value);
    else if (frame->is_table)
        status = json_object_set_new_nocheck(frame->json, filter->row->name, value);
    else
        status = json_object_setn_new_nocheck(frame->json, filter->name, filter->name_size, value);
    if (status < 0)
        abort();
}

static void complete(struct filter *filter)
{
    json_t *root = filter->root;
    filter->root = NULL;
    filter->size = filter->n_objects = 0;
    filter->ended = yajl_get_bytes_consumed(filter->parser);
    filter->value(root, filter->user);
}

/* Takes `value`; NULL: it is no UTF-8. 0: the parser ends. *ret_kept: whether it is part of the tree now. */
static int keep(struct filter *filter, json_t *value, size_t length, bool opens, bool *ret_kept)
{
    const char *why = !value ? "a text in it is not UTF-8"
                      : (filter->leaf ? filter->leaf_size : 0) + length + COST > FILTER_LEAF_MAX ? "it is too large"
                                                                                                 : NULL;
    bool is_full = filter->size + length + COST > FILTER_VALUE_MAX;
    *ret_kept = !why && !is_full;
    if (*ret_kept) {
        filter->leaf_size = (filter->leaf ? filter->leaf_size : 0) + length + COST;
        filter->size += length + COST;
        attach(filter, value);
        return 1;
    }
    json_decref(value);
    if (!why && filter->n_objects > 1)
        return fail(filter, FILTER_LARGE, "its objects take too much memory");
    return leave_out(filter, opens, why ? why : "the object is too large");
}

static int scalar(struct filter *filter, json_t *value, size_t length)
{
    bool kept;
    if (!keep(filter, value, length, false, &kept))
        return 0;
    if (filter->depth == 0)
        complete(filter);
    return 1;
}

static int on_null(void *user)
{
    return !is_wanted(user) || scalar(user, json_null(), 0);
}

static int on_boolean(void *user, int value)
{
    return !is_wanted(user) || scalar(user, json_boolean(value), 0);
}

static json_t *number_of(const char *text, size_t length)
{
    char *copy = mem_alloc(length + 1), *end;
    memcpy(copy, text, length);
    copy[length] = '\0';
    errno = 0;
    long long integer = strtoll(copy, &end, 10);
    bool is_integer = !*end && errno == 0;
    double real = is_integer ? 0 : strtod(copy, NULL);
    free(copy);
    return is_integer ? json_integer(integer) : isfinite(real) ? json_real(real) : json_stringn(text, length);
}

static int on_number(void *user, const char *text, size_t length)
{
    return !is_wanted(user) || scalar(user, number_of(text, length), length);
}

static int on_string(void *user, const unsigned char *text, size_t length)
{
    return !is_wanted(user) || scalar(user, json_stringn((const char *)text, length), length);
}

/* ---- Objects and arrays ------------------------------------------------------------------------------------------ */

static bool is_too_deep(const struct filter *filter)
{
    return filter->leaf > 0 && filter->depth - filter->leaf + 1 >= FILTER_DEPTH_MAX;
}

/* Takes `container`. */
static int push(struct filter *filter, json_t *container)
{
    const struct kube_field *row = row_of(filter);
    const struct frame *around = top_frame(filter);
    bool in_list = around && !around->is_table && around->row && !filter->leaf, kept;
    bool is_table = row && row->fields && json_is_object(container);
    bool is_list = row && (row->part == KUBE_LIST || row->part == KUBE_ARRAY) && !in_list && json_is_array(container);
    if (is_too_deep(filter)) {
        json_decref(container);
        return leave_out(filter, true, "it nests deeper than " TEXT(FILTER_DEPTH_MAX) " levels");
    }
    if (!keep(filter, container, 0, true, &kept) || !kept)
        return filter->result == FILTER_GOOD;
    if (!filter->leaf && !is_table && !is_list)
        filter->leaf = filter->depth + 1;
    bool is_object = is_table && (row->part == KUBE_OBJECT || row->part == KUBE_LIST);
    filter->n_objects += is_object;
    filter->frames[filter->depth++] =
        (struct frame){.json = container, .row = row, .is_table = is_table, .is_object = is_object};
    return 1;
}

static int begin(struct filter *filter, json_t *(*make)(void))
{
    if (is_wanted(filter))
        return push(filter, make());
    filter->skipped++;
    return 1;
}

static int end(struct filter *filter)
{
    if (filter->skipped > 0) {
        filter->skipped--;
        return 1;
    }
    filter->depth--;
    if (filter->leaf > filter->depth)
        filter->leaf = 0;
    if (filter->depth == 0)
        complete(filter);
    return 1;
}

static int on_object(void *user)
{
    return begin(user, json_object);
}

static int on_array(void *user)
{
    return begin(user, json_array);
}

static int on_end(void *user)
{
    return end(user);
}

static bool is_utf8(const char *text, size_t length)
{
    json_t *json = json_stringn(text, length);
    json_decref(json);
    return json != NULL;
}

static int name_in_leaf(struct filter *filter, const char *name, size_t length)
{
    if (memchr(name, '\0', length) || !is_utf8(name, length))
        return leave_out(filter, false, "a name in it has a NUL character or is not UTF-8");
    filter->name = mem_realloc(filter->name, length + 1);
    memcpy(filter->name, name, length);
    filter->name_size = length;
    filter->leaf_size += length + COST;
    filter->size += length + COST;
    return 1;
}

static int name_in_table(struct filter *filter, const struct kube_field *row, const char *name, size_t length)
{
    while (row->name && (strlen(row->name) != length || memcmp(row->name, name, length) != 0))
        row++;
    filter->row = row;
    filter->unwanted = !row->name;
    return 1;
}

static int on_name(void *user, const unsigned char *text, size_t length)
{
    struct filter *filter = user;
    const struct frame *frame = top_frame(filter);
    const char *name = (const char *)text;
    if (filter->skipped > 0)
        return 1;
    return frame->is_table ? name_in_table(filter, frame->row->fields, name, length)
                           : name_in_leaf(filter, name, length);
}

/* ---- All of it --------------------------------------------------------------------------------------------------- */

static const yajl_callbacks callbacks = {
    .yajl_null = on_null,
    .yajl_boolean = on_boolean,
    .yajl_number = on_number,
    .yajl_string = on_string,
    .yajl_start_map = on_object,
    .yajl_map_key = on_name,
    .yajl_end_map = on_end,
    .yajl_start_array = on_array,
    .yajl_end_array = on_end,
};

struct filter *filter_new(const struct kube_field *row, bool is_stream, void (*value)(json_t *value, void *user),
                          void *user)
{
    struct filter *filter = mem_zalloc(sizeof *filter);
    filter->top = row;
    filter->value = value;
    filter->user = user;
    filter->parser = yajl_alloc(&callbacks, NULL, filter);
    if (!filter->parser)
        abort();
    yajl_config(filter->parser, yajl_allow_multiple_values, (int)is_stream);
    yajl_config(filter->parser, yajl_dont_validate_strings, 1); /* what is kept is looked at */
    return filter;
}

struct filter *filter_free(struct filter *filter)
{
    if (!filter)
        return NULL;
    yajl_free(filter->parser);
    json_decref(filter->root);
    free(filter->name);
    free(filter);
    return NULL;
}

static enum filter_result parser_check(struct filter *filter, yajl_status status)
{
    if (status == yajl_status_ok || filter->result != FILTER_GOOD)
        return filter->result;
    unsigned char *text = yajl_get_error(filter->parser, 0, NULL, 0);
    text[strcspn((char *)text, "\n")] = '\0';
    fail(filter, FILTER_BAD, (char *)text);
    yajl_free_error(filter->parser, text);
    return filter->result;
}

static bool is_blank(const char *text, size_t size)
{
    while (size > 0 && (*text == ' ' || *text == '\t' || *text == '\r' || *text == '\n')) {
        text++;
        size--;
    }
    return size == 0;
}

enum filter_result filter_add(struct filter *filter, const void *data, size_t size)
{
    if (filter->result != FILTER_GOOD)
        return filter->result;
    filter->begun = filter->begun || !is_blank(data, size);
    filter->ended = 0;
    yajl_status status = yajl_parse(filter->parser, data, size);
    size_t consumed = status == yajl_status_ok ? size : yajl_get_bytes_consumed(filter->parser);
    filter->since = filter->ended > 0 ? consumed - filter->ended : filter->since + consumed;
    return parser_check(filter, status);
}

enum filter_result filter_end(struct filter *filter)
{
    if (filter->result != FILTER_GOOD || !filter->begun)
        return filter->result;
    return parser_check(filter, yajl_complete_parse(filter->parser));
}

const char *filter_error(const struct filter *filter)
{
    return filter->error;
}

size_t filter_position(const struct filter *filter)
{
    return filter->since;
}
