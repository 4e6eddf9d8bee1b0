#include "json_message.h"

#include <ctype.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base64.h"
#include "json_types.h"
#include "text.h"
#include "when.h"

#define TIMESTAMP_NAME "google.protobuf.Timestamp"

typedef json_t *(*encode_value)(const ProtobufCFieldDescriptor *field, const void *value);

static json_t *must(json_t *json)
{
    if (json == NULL) {
        fputs("ipamc: out of memory\n", stderr);
        abort();
    }
    return json;
}

json_t *json_text(const char *text)
{
    json_t *json = json_string(text);
    struct arena arena;
    unsigned int point;

    if (json != NULL)
        return json;
    arena_init(&arena);
    char *copy = arena_alloc(&arena, 3 * strlen(text) + 1), *to = copy;
    for (const char *end = text + strlen(text); text < end;) {
        size_t length = text_utf8(text, end, &point);
        memcpy(to, length > 0 ? text : "\xef\xbf\xbd", length > 0 ? length : 3);
        to += length > 0 ? length : 3;
        text += length > 0 ? length : 1;
    }
    *to = '\0';
    json = must(json_string(copy));
    arena_done(&arena);
    return json;
}

const char *json_field_name(struct arena *arena, const char *name)
{
    char *camel = arena_alloc(arena, strlen(name) + 1), *to = camel;

    for (; *name != '\0'; name++) {
        if (*name == '_' && name[1] != '\0')
            *to++ = (char)toupper((unsigned char)*++name);
        else
            *to++ = *name;
    }
    *to = '\0';
    return camel;
}

bool json_field_is_map(const ProtobufCFieldDescriptor *field, const ProtobufCMessageDescriptor *message)
{
    size_t length = strlen(message->name), name_length = strlen(field->name), letters = 0;

    if (field->label != PROTOBUF_C_LABEL_REPEATED || field->type != PROTOBUF_C_TYPE_MESSAGE)
        return false;
    const ProtobufCMessageDescriptor *entry = field->descriptor;
    if (strncmp(entry->name, message->name, length) != 0 || entry->name[length] != '.' || entry->n_fields != 2)
        return false;
    /* protoc names the entry of a map my_field MyFieldEntry. */
    const char *at = entry->short_name;
    for (size_t i = 0; i < name_length; i++) {
        if (field->name[i] != '_')
            letters += (size_t)(tolower((unsigned char)field->name[i]) == tolower((unsigned char)*at++));
        else
            letters++;
    }
    return letters == name_length && strcmp(at, "Entry") == 0 && strcmp(entry->fields[0].name, "key") == 0 &&
           strcmp(entry->fields[1].name, "value") == 0;
}

/* ---- Values, by type ------------------------------------------------------------------------------------------------ */

static json_t *encode_int32(const ProtobufCFieldDescriptor *field, const void *value)
{
    (void)field;
    return json_integer(*(const int32_t *)value);
}

static json_t *encode_uint32(const ProtobufCFieldDescriptor *field, const void *value)
{
    (void)field;
    return json_integer(*(const uint32_t *)value);
}

static json_t *encode_int64(const ProtobufCFieldDescriptor *field, const void *value)
{
    (void)field;
    return json_sprintf("%" PRId64, *(const int64_t *)value);
}

static json_t *encode_uint64(const ProtobufCFieldDescriptor *field, const void *value)
{
    (void)field;
    return json_sprintf("%" PRIu64, *(const uint64_t *)value);
}

/* JSON has no number for these. */
static json_t *encode_number(double number)
{
    if (isnan(number))
        return json_string("NaN");
    if (isinf(number))
        return json_string(number > 0 ? "Infinity" : "-Infinity");
    return json_real(number);
}

static json_t *encode_float(const ProtobufCFieldDescriptor *field, const void *value)
{
    (void)field;
    return encode_number((double)*(const float *)value);
}

static json_t *encode_double(const ProtobufCFieldDescriptor *field, const void *value)
{
    (void)field;
    return encode_number(*(const double *)value);
}

static json_t *encode_bool(const ProtobufCFieldDescriptor *field, const void *value)
{
    (void)field;
    return json_boolean(*(const protobuf_c_boolean *)value);
}

static json_t *encode_enum(const ProtobufCFieldDescriptor *field, const void *value)
{
    int number = *(const int *)value;
    const ProtobufCEnumValue *row = protobuf_c_enum_descriptor_get_value(field->descriptor, number);
    return row == NULL ? json_integer(number) : json_string(row->name);
}

static json_t *encode_string(const ProtobufCFieldDescriptor *field, const void *value)
{
    const char *text = *(const char *const *)value;
    (void)field;
    return json_text(text == NULL ? "" : text);
}

static json_t *encode_bytes(const ProtobufCFieldDescriptor *field, const void *value)
{
    const ProtobufCBinaryData *bytes = value;
    struct arena arena;

    (void)field;
    arena_init(&arena);
    json_t *json = json_string(base64_encode(&arena, bytes->data, bytes->len));
    arena_done(&arena);
    return json;
}

static json_t *encode_message(const ProtobufCFieldDescriptor *field, const void *value)
{
    const ProtobufCMessage *message = *(const ProtobufCMessage *const *)value;
    (void)field;
    return message == NULL ? json_null() : json_message_encode(message);
}

static const struct type_row {
    size_t size; /* of one item of a list */
    encode_value encode;
} types[] = {
#define JSON_TYPE(type, item, function) [PROTOBUF_C_TYPE_##type] = {sizeof(item), encode_##function},
    JSON_TYPES(JSON_TYPE)
#undef JSON_TYPE
};

/* ---- Fields and messages -------------------------------------------------------------------------------------------- */

static json_t *encode_list(const ProtobufCFieldDescriptor *field, size_t count, const char *items)
{
    json_t *list = must(json_array());
    for (size_t i = 0; i < count; i++)
        json_array_append_new(list, must(types[field->type].encode(field, items + i * types[field->type].size)));
    return list;
}

/* A key is any scalar, written as a string. */
static json_t *encode_map(size_t count, ProtobufCMessage *const *entries)
{
    json_t *map = must(json_object());
    for (size_t i = 0; i < count; i++) {
        const ProtobufCFieldDescriptor *fields = entries[i]->descriptor->fields;
        const char *base = (const char *)entries[i];
        json_t *key = must(types[fields[0].type].encode(&fields[0], base + fields[0].offset));
        char *text = json_is_string(key) ? strdup(json_string_value(key)) : json_dumps(key, JSON_ENCODE_ANY);
        json_object_set_new(map, text, must(types[fields[1].type].encode(&fields[1], base + fields[1].offset)));
        free(text);
        json_decref(key);
    }
    return map;
}

/* Whether a field that is not a list is there to be written: oneof members and messages only when they are set. */
static bool is_set(const ProtobufCFieldDescriptor *field, const char *base)
{
    bool oneof = (field->flags & PROTOBUF_C_FIELD_FLAG_ONEOF) != 0;

    if (oneof && *(const uint32_t *)(const void *)(base + field->quantifier_offset) != field->id)
        return false;
    if (field->type == PROTOBUF_C_TYPE_MESSAGE)
        return *(ProtobufCMessage *const *)(const void *)(base + field->offset) != NULL;
    if (field->label != PROTOBUF_C_LABEL_OPTIONAL || oneof)
        return true;
    if (field->type == PROTOBUF_C_TYPE_STRING) {
        const void *text = *(void *const *)(const void *)(base + field->offset);
        return text != NULL && text != field->default_value;
    }
    return *(const protobuf_c_boolean *)(const void *)(base + field->quantifier_offset) != 0;
}

static json_t *encode_field(const ProtobufCMessage *message, const ProtobufCFieldDescriptor *field)
{
    const char *base = (const char *)message;

    if (field->label != PROTOBUF_C_LABEL_REPEATED)
        return is_set(field, base) ? types[field->type].encode(field, base + field->offset) : NULL;
    size_t count = *(const size_t *)(const void *)(base + field->quantifier_offset);
    void *const *items = (void *const *)(const void *)(base + field->offset);
    if (json_field_is_map(field, message->descriptor))
        return encode_map(count, *items);
    return encode_list(field, count, *items);
}

/* NULL when the time can't be written as RFC 3339; then it stands as the two numbers it is made of. */
static json_t *encode_timestamp(const ProtobufCMessage *message)
{
    const char *base = (const char *)message;
    const ProtobufCFieldDescriptor *fields = message->descriptor->fields;
    char text[WHEN_RFC3339_MAX];

    if (strcmp(message->descriptor->name, TIMESTAMP_NAME) != 0 ||
        when_rfc3339_format(*(const int64_t *)(const void *)(base + fields[0].offset),
                            *(const int32_t *)(const void *)(base + fields[1].offset), text) < 0)
        return NULL;
    return json_string(text);
}

json_t *json_message_encode(const ProtobufCMessage *message)
{
    json_t *object = encode_timestamp(message);
    struct arena arena;

    if (object != NULL)
        return object;
    arena_init(&arena);
    object = must(json_object());
    for (unsigned int i = 0; i < message->descriptor->n_fields; i++) {
        const ProtobufCFieldDescriptor *field = &message->descriptor->fields[i];
        json_t *value = encode_field(message, field);
        if (value != NULL)
            json_object_set_new(object, json_field_name(&arena, field->name), value);
    }
    arena_done(&arena);
    return object;
}
