#include "json_message.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base64.h"
#include "json_types.h"
#include "text.h"
#include "when.h"

#define TIMESTAMP_NAME "google.protobuf.Timestamp"
#define DEPTH_MAX      64

struct decoder {
    struct arena *arena;
    const char *path; /* of the value being read, for messages: "pool.cidrs[2]" */
    unsigned int depth;
    struct ipam_error *reterr;
};

typedef int (*decode_value)(struct decoder *decoder, const ProtobufCFieldDescriptor *field, const json_t *json,
                            void *ret);

static int decode_object(struct decoder *decoder, const ProtobufCMessageDescriptor *type, const json_t *json,
                         ProtobufCMessage **ret);

int json_text_parse(const char *source, const char *text, size_t size, json_t **ret, struct ipam_error *reterr)
{
    json_error_t error;
    json_t *json = json_loadb(text, size, JSON_REJECT_DUPLICATES | JSON_DECODE_ANY, &error);

    if (json == NULL)
        return ipam_error_set(reterr, IPAM_REASON_INVALID_REQUEST, "%s:%d:%d: %s", source, error.line, error.column,
                              error.text);
    *ret = json;
    return 0;
}

static int fail_value(struct decoder *decoder, const char *what)
{
    return ipam_error_set(decoder->reterr, IPAM_REASON_INVALID_REQUEST, "%s is not %s", decoder->path, what);
}

/* ---- Values, by type ------------------------------------------------------------------------------------------------ */

/* A number, or a string that is one; whole, within the limits. Reals such as 1e3 and 5.0 are whole. */
static int decode_signed(struct decoder *decoder, const json_t *json, int64_t least, int64_t most, int64_t *ret)
{
    long long number = 0;
    bool good = false;

    if (json_is_integer(json)) {
        number = json_integer_value(json);
        good = true;
    } else if (json_is_real(json)) {
        double real = json_real_value(json);
        bool exact = real >= -9007199254740992.0 && real <= 9007199254740992.0; /* 2^53 */
        number = exact ? (long long)real : 0;
        good = exact && (double)number == real;
    } else if (json_is_string(json)) {
        const char *text = json_string_value(json);
        char *end;
        errno = 0;
        number = strtoll(text, &end, 10);
        good = errno == 0 && *end == '\0' && strspn(text, "-0123456789") == strlen(text) && end != text;
    }
    if (!good || number < least || number > most)
        return ipam_error_set(decoder->reterr, IPAM_REASON_INVALID_REQUEST,
                              "%s is not a whole number from %" PRId64 " to %" PRId64, decoder->path, least, most);
    *ret = number;
    return 0;
}

static int decode_int32(struct decoder *decoder, const ProtobufCFieldDescriptor *field, const json_t *json, void *ret)
{
    int64_t number;

    (void)field;
    if (decode_signed(decoder, json, INT32_MIN, INT32_MAX, &number) < 0)
        return -1;
    *(int32_t *)ret = (int32_t)number;
    return 0;
}

static int decode_uint32(struct decoder *decoder, const ProtobufCFieldDescriptor *field, const json_t *json, void *ret)
{
    int64_t number;

    (void)field;
    if (decode_signed(decoder, json, 0, UINT32_MAX, &number) < 0)
        return -1;
    *(uint32_t *)ret = (uint32_t)number;
    return 0;
}

static int decode_int64(struct decoder *decoder, const ProtobufCFieldDescriptor *field, const json_t *json, void *ret)
{
    (void)field;
    return decode_signed(decoder, json, INT64_MIN, INT64_MAX, ret);
}

static int decode_uint64(struct decoder *decoder, const ProtobufCFieldDescriptor *field, const json_t *json, void *ret)
{
    const char *text = json_string_value(json);
    int64_t number;
    char *end;

    (void)field;
    if (text != NULL && text[0] != '\0' && strspn(text, "0123456789") == strlen(text)) {
        errno = 0;
        *(uint64_t *)ret = strtoull(text, &end, 10);
        if (errno == 0)
            return 0;
    }
    if (!json_is_string(json) && decode_signed(decoder, json, 0, INT64_MAX, &number) == 0) {
        *(uint64_t *)ret = (uint64_t)number;
        return 0;
    }
    return fail_value(decoder, "a whole number from 0 to 18446744073709551615 (write large ones as strings)");
}

static int decode_double(struct decoder *decoder, const ProtobufCFieldDescriptor *field, const json_t *json, void *ret)
{
    const char *text = json_string_value(json);
    char *end = NULL;

    (void)field;
    if (json_is_number(json)) {
        *(double *)ret = json_number_value(json);
        return 0;
    }
    if (text == NULL || text[0] == '\0')
        return fail_value(decoder, "a number");
    *(double *)ret = strtod(text, &end);
    return *end == '\0' ? 0 : fail_value(decoder, "a number");
}

static int decode_float(struct decoder *decoder, const ProtobufCFieldDescriptor *field, const json_t *json, void *ret)
{
    double number;

    if (decode_double(decoder, field, json, &number) < 0)
        return -1;
    *(float *)ret = (float)number;
    return 0;
}

static int decode_bool(struct decoder *decoder, const ProtobufCFieldDescriptor *field, const json_t *json, void *ret)
{
    (void)field;
    if (!json_is_boolean(json))
        return fail_value(decoder, "true or false");
    *(protobuf_c_boolean *)ret = json_is_true(json);
    return 0;
}

static int fail_enum(struct decoder *decoder, const ProtobufCEnumDescriptor *type, const char *text)
{
    const char **names = arena_alloc(decoder->arena, (type->n_values + 1) * sizeof(*names));
    char *all = "";

    for (unsigned int i = 0; i < type->n_values; i++) {
        names[i] = type->values[i].name;
        all = arena_printf(decoder->arena, "%s%s%s", all, i == 0 ? "" : ", ", names[i]);
    }
    return ipam_error_set(decoder->reterr, IPAM_REASON_INVALID_REQUEST, "%s is %s, which is not one of %s%s",
                          decoder->path, text, all, text_did_you_mean(decoder->arena, text, names, type->n_values));
}

static int decode_enum(struct decoder *decoder, const ProtobufCFieldDescriptor *field, const json_t *json, void *ret)
{
    const ProtobufCEnumDescriptor *type = field->descriptor;

    if (!json_is_string(json))
        return decode_int32(decoder, field, json, ret);
    const ProtobufCEnumValue *row = protobuf_c_enum_descriptor_get_value_by_name(type, json_string_value(json));
    if (row == NULL)
        return fail_enum(decoder, type, json_string_value(json));
    *(int *)ret = row->value;
    return 0;
}

static int decode_string(struct decoder *decoder, const ProtobufCFieldDescriptor *field, const json_t *json, void *ret)
{
    (void)field;
    if (!json_is_string(json))
        return fail_value(decoder, "a string");
    *(char **)ret = arena_strdup(decoder->arena, json_string_value(json));
    return 0;
}

static int decode_bytes(struct decoder *decoder, const ProtobufCFieldDescriptor *field, const json_t *json, void *ret)
{
    ProtobufCBinaryData *bytes = ret;

    (void)field;
    if (!json_is_string(json) || base64_decode(decoder->arena, json_string_value(json), &bytes->data, &bytes->len) < 0)
        return fail_value(decoder, "a base64 string");
    return 0;
}

static int decode_message(struct decoder *decoder, const ProtobufCFieldDescriptor *field, const json_t *json, void *ret)
{
    return decode_object(decoder, field->descriptor, json, ret);
}

static const struct type_row {
    size_t size; /* of one item of a list */
    decode_value decode;
} types[] = {
#define JSON_TYPE(type, item, function) [PROTOBUF_C_TYPE_##type] = {sizeof(item), decode_##function},
    JSON_TYPES(JSON_TYPE)
#undef JSON_TYPE
};

/* ---- Fields and messages -------------------------------------------------------------------------------------------- */

/* Puts one value, its place in messages being `path`. */
static int decode_at(struct decoder *decoder, const char *path, const ProtobufCFieldDescriptor *field,
                     const json_t *json, void *ret)
{
    const char *outer = decoder->path;

    decoder->path = path;
    int result = types[field->type].decode(decoder, field, json, ret);
    decoder->path = outer;
    return result;
}

static int decode_list(struct decoder *decoder, const ProtobufCFieldDescriptor *field, const json_t *json, char *base)
{
    size_t count = json_array_size(json), size = types[field->type].size;

    if (!json_is_array(json))
        return fail_value(decoder, "a list");
    char *items = arena_zalloc(decoder->arena, (count + 1) * size);
    for (size_t i = 0; i < count; i++) {
        const char *path = arena_printf(decoder->arena, "%s[%zu]", decoder->path, i);
        if (decode_at(decoder, path, field, json_array_get(json, i), items + i * size) < 0)
            return -1;
    }
    *(size_t *)(void *)(base + field->quantifier_offset) = count;
    *(void **)(void *)(base + field->offset) = count == 0 ? NULL : items;
    return 0;
}

/* A map's key is a string in JSON whatever its type: numbers are read from it, true and false too. */
static int decode_key(struct decoder *decoder, const ProtobufCFieldDescriptor *field, const char *key, void *ret)
{
    json_t *json = field->type != PROTOBUF_C_TYPE_BOOL ? json_string(key)
                   : strcmp(key, "true") == 0          ? json_true()
                   : strcmp(key, "false") == 0         ? json_false()
                                                       : json_null();
    int result = types[field->type].decode(decoder, field, json, ret);
    json_decref(json);
    return result;
}

static int decode_map(struct decoder *decoder, const ProtobufCFieldDescriptor *field, const json_t *json, char *base)
{
    const ProtobufCMessageDescriptor *type = field->descriptor;
    ProtobufCMessage **entries = arena_alloc(decoder->arena, (json_object_size(json) + 1) * sizeof(*entries));
    const char *key;
    json_t *value;
    size_t count = 0;

    if (!json_is_object(json))
        return fail_value(decoder, "an object");
    json_object_foreach((json_t *)(uintptr_t)json, key, value)
    {
        const char *path = arena_printf(decoder->arena, "%s[\"%s\"]", decoder->path, key);
        ProtobufCMessage *entry = arena_alloc(decoder->arena, type->sizeof_message);
        protobuf_c_message_init(type, entry);
        if (decode_key(decoder, &type->fields[0], key, (char *)entry + type->fields[0].offset) < 0 ||
            decode_at(decoder, path, &type->fields[1], value, (char *)entry + type->fields[1].offset) < 0)
            return -1;
        entries[count++] = entry;
    }
    *(size_t *)(void *)(base + field->quantifier_offset) = count;
    *(void **)(void *)(base + field->offset) = count == 0 ? NULL : entries;
    return 0;
}

/* Notes that a field is set, where its absence is told apart from its default. */
static int mark_set(struct decoder *decoder, const ProtobufCFieldDescriptor *field, char *base)
{
    if ((field->flags & PROTOBUF_C_FIELD_FLAG_ONEOF) != 0) {
        uint32_t *which = (uint32_t *)(void *)(base + field->quantifier_offset);
        if (*which != 0)
            return ipam_error_set(decoder->reterr, IPAM_REASON_INVALID_REQUEST,
                                  "%s stands beside another field of the same oneof: "
                                  "keep one of them",
                                  decoder->path);
        *which = field->id;
    } else if (field->label == PROTOBUF_C_LABEL_OPTIONAL && field->type != PROTOBUF_C_TYPE_STRING &&
               field->type != PROTOBUF_C_TYPE_MESSAGE) {
        *(protobuf_c_boolean *)(void *)(base + field->quantifier_offset) = 1;
    }
    return 0;
}

static int decode_field(struct decoder *decoder, const ProtobufCMessageDescriptor *type,
                        const ProtobufCFieldDescriptor *field, const json_t *json, char *base)
{
    if (json_is_null(json)) /* the field's default */
        return 0;
    if (json_field_is_map(field, type))
        return decode_map(decoder, field, json, base);
    if (field->label == PROTOBUF_C_LABEL_REPEATED)
        return decode_list(decoder, field, json, base);
    if (mark_set(decoder, field, base) < 0)
        return -1;
    return types[field->type].decode(decoder, field, json, base + field->offset);
}

static const ProtobufCFieldDescriptor *find_field(struct arena *arena, const ProtobufCMessageDescriptor *type,
                                                  const char *name)
{
    for (unsigned int i = 0; i < type->n_fields; i++) {
        const ProtobufCFieldDescriptor *field = &type->fields[i];
        if (strcmp(field->name, name) == 0 || strcmp(json_field_name(arena, field->name), name) == 0)
            return field;
    }
    return NULL;
}

static int fail_unknown(struct decoder *decoder, const ProtobufCMessageDescriptor *type, const char *path,
                        const char *key)
{
    const char **names = arena_alloc(decoder->arena, (type->n_fields + 1) * sizeof(*names));

    for (unsigned int i = 0; i < type->n_fields; i++)
        names[i] = json_field_name(decoder->arena, type->fields[i].name);
    return ipam_error_set(decoder->reterr, IPAM_REASON_INVALID_REQUEST, "unknown field %s in %s%s", path, type->name,
                          text_did_you_mean(decoder->arena, key, names, type->n_fields));
}

static int decode_fields(struct decoder *decoder, const ProtobufCMessageDescriptor *type, const json_t *json,
                         char *base)
{
    bool *seen = arena_zalloc(decoder->arena, type->n_fields + 1);
    const char *outer = decoder->path, *key;
    json_t *value;

    json_object_foreach((json_t *)(uintptr_t)json, key, value)
    {
        const ProtobufCFieldDescriptor *field = find_field(decoder->arena, type, key);
        const char *path = arena_printf(decoder->arena, "%s%s%s", outer, outer[0] == '\0' ? "" : ".", key);
        if (field == NULL)
            return fail_unknown(decoder, type, path, key);
        if (seen[field - type->fields])
            return ipam_error_set(decoder->reterr, IPAM_REASON_INVALID_REQUEST, "%s stands twice, by both of its names",
                                  path);
        seen[field - type->fields] = true;
        decoder->path = path;
        int result = decode_field(decoder, type, field, value, base);
        decoder->path = outer;
        if (result < 0)
            return -1;
    }
    return 0;
}

static int decode_timestamp(struct decoder *decoder, const ProtobufCMessageDescriptor *type, const json_t *json,
                            char *base)
{
    if (!json_is_string(json) ||
        when_rfc3339_parse(json_string_value(json), (int64_t *)(void *)(base + type->fields[0].offset),
                           (int32_t *)(void *)(base + type->fields[1].offset)) < 0)
        return fail_value(decoder, "a time such as 2024-01-15T10:30:00Z");
    return 0;
}

static int decode_object(struct decoder *decoder, const ProtobufCMessageDescriptor *type, const json_t *json,
                         ProtobufCMessage **ret)
{
    bool timestamp = strcmp(type->name, TIMESTAMP_NAME) == 0 && !json_is_object(json);
    int result;

    if (!timestamp && !json_is_object(json))
        return ipam_error_set(decoder->reterr, IPAM_REASON_INVALID_REQUEST, "%s is not an object (%s)",
                              decoder->path[0] == '\0' ? "the message" : decoder->path, type->name);
    if (++decoder->depth > DEPTH_MAX)
        return fail_value(decoder, "readable: it is nested too deep");
    ProtobufCMessage *message = arena_alloc(decoder->arena, type->sizeof_message);
    protobuf_c_message_init(type, message);
    if (timestamp)
        result = decode_timestamp(decoder, type, json, (char *)message);
    else
        result = decode_fields(decoder, type, json, (char *)message);
    decoder->depth--;
    if (result == 0)
        *ret = message;
    return result;
}

int json_message_decode(struct arena *arena, const ProtobufCMessageDescriptor *type, const json_t *json,
                        ProtobufCMessage **ret, struct ipam_error *reterr)
{
    struct decoder decoder = {.arena = arena, .path = "", .reterr = reterr};
    return decode_object(&decoder, type, json, ret);
}
