#include "wire.h"

#include <stdbool.h>
#include <string.h>

struct cursor {
    const uint8_t *next, *end;
};

enum wire_type { WIRE_VARINT = 0, WIRE_64BIT = 1, WIRE_LENGTH = 2, WIRE_32BIT = 5 };

static bool varint_read(struct cursor *cursor, uint64_t *ret)
{
    *ret = 0;
    for (unsigned int shift = 0; shift < 64 && cursor->next < cursor->end; shift += 7) {
        uint8_t byte = *cursor->next++;
        *ret |= (uint64_t)(byte & 0x7f) << shift;
        if (byte < 0x80)
            return true;
    }
    return false;
}

/* Steps over a field's value; of one with a length, *ret is the value. */
static bool value_read(struct cursor *cursor, enum wire_type type, struct cursor *ret)
{
    uint64_t size = type == WIRE_64BIT ? 8 : 4, ignored;
    if (type == WIRE_VARINT)
        return varint_read(cursor, &ignored);
    if (type == WIRE_LENGTH) {
        if (!varint_read(cursor, &size))
            return false;
    } else if (type != WIRE_64BIT && type != WIRE_32BIT) {
        return false;
    }
    if (size > (uint64_t)(cursor->end - cursor->next))
        return false;
    *ret = (struct cursor){cursor->next, cursor->next + size};
    cursor->next += size;
    return true;
}

/* The length of the UTF-8 character at `at` (RFC 3629), 0 if it is none. */
static size_t utf8_length(const uint8_t *at, size_t left)
{
    static const struct {
        uint8_t mask, lead, length;
    } forms[] = {{0xe0, 0xc0, 2}, {0xf0, 0xe0, 3}, {0xf8, 0xf0, 4}};
    for (size_t i = 0; i < sizeof forms / sizeof *forms; i++) {
        if ((at[0] & forms[i].mask) != forms[i].lead)
            continue;
        if (left < forms[i].length)
            return 0;
        for (size_t j = 1; j < forms[i].length; j++)
            if ((at[j] & 0xc0) != 0x80)
                return 0;
        bool overlong = at[0] < 0xc2 || (at[0] == 0xe0 && at[1] < 0xa0) || (at[0] == 0xf0 && at[1] < 0x90);
        bool surrogate = at[0] == 0xed && at[1] > 0x9f, beyond = at[0] > 0xf4 || (at[0] == 0xf4 && at[1] > 0x8f);
        return overlong || surrogate || beyond ? 0 : forms[i].length;
    }
    return 0;
}

static bool is_text(struct cursor value)
{
    while (value.next < value.end) {
        if (*value.next < 0x80) {
            if (*value.next++ == 0)
                return false;
            continue;
        }
        size_t length = utf8_length(value.next, (size_t)(value.end - value.next));
        if (length == 0)
            return false;
        value.next += length;
    }
    return true;
}

static int message_check(const ProtobufCMessageDescriptor *type, struct cursor cursor, size_t *fields,
                         struct ipam_error *reterr);

static int field_check(const ProtobufCMessageDescriptor *type, uint64_t key, struct cursor value, size_t *fields,
                       struct ipam_error *reterr)
{
    const ProtobufCFieldDescriptor *field = protobuf_c_message_descriptor_get_field(type, (unsigned int)(key >> 3));
    if (!field || (key & 7) != WIRE_LENGTH)
        return 0;
    if (field->type == PROTOBUF_C_TYPE_MESSAGE)
        return message_check(field->descriptor, value, fields, reterr);
    if (field->type != PROTOBUF_C_TYPE_STRING || is_text(value))
        return 0;
    return ipam_error_set(reterr, IPAM_REASON_INVALID_REQUEST,
                          "invalid %s of %s: it is no text; write UTF-8 without NUL bytes", field->name,
                          type->short_name);
}

static int message_check(const ProtobufCMessageDescriptor *type, struct cursor cursor, size_t *fields,
                         struct ipam_error *reterr)
{
    while (cursor.next < cursor.end) {
        uint64_t key;
        struct cursor value = {NULL, NULL};
        if (!varint_read(&cursor, &key) || !value_read(&cursor, (enum wire_type)(key & 7), &value))
            return 0;
        if (++*fields > WIRE_FIELDS_MAX)
            return ipam_error_set(reterr, IPAM_REASON_LIMIT_EXCEEDED,
                                  "too many fields: a request has %d at most, list entries and unknown fields included",
                                  WIRE_FIELDS_MAX);
        if (field_check(type, key, value, fields, reterr) < 0)
            return -1;
    }
    return 0;
}

int wire_check(const ProtobufCMessageDescriptor *type, const uint8_t *data, size_t size, struct ipam_error *reterr)
{
    size_t fields = 0;
    return message_check(type, (struct cursor){data, data + size}, &fields, reterr);
}
