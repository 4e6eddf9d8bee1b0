/* json_types.h: the one table of protobuf's field types that both directions of the JSON mapping are made from.
 *
 * JSON_TYPE(TYPE, C type of one item, function): json_encode.c has an encode_<function>, json_decode.c a
 * decode_<function>. For those two files only.
 */
#ifndef IPAMC_JSON_TYPES_H
#define IPAMC_JSON_TYPES_H

#define JSON_TYPES(JSON_TYPE)                    \
    JSON_TYPE(INT32, int32_t, int32)             \
    JSON_TYPE(SINT32, int32_t, int32)            \
    JSON_TYPE(SFIXED32, int32_t, int32)          \
    JSON_TYPE(INT64, int64_t, int64)             \
    JSON_TYPE(SINT64, int64_t, int64)            \
    JSON_TYPE(SFIXED64, int64_t, int64)          \
    JSON_TYPE(UINT32, uint32_t, uint32)          \
    JSON_TYPE(FIXED32, uint32_t, uint32)         \
    JSON_TYPE(UINT64, uint64_t, uint64)          \
    JSON_TYPE(FIXED64, uint64_t, uint64)         \
    JSON_TYPE(FLOAT, float, float)               \
    JSON_TYPE(DOUBLE, double, double)            \
    JSON_TYPE(BOOL, protobuf_c_boolean, bool)    \
    JSON_TYPE(ENUM, int, enum)                   \
    JSON_TYPE(STRING, char *, string)            \
    JSON_TYPE(BYTES, ProtobufCBinaryData, bytes) \
    JSON_TYPE(MESSAGE, ProtobufCMessage *, message)

#endif
