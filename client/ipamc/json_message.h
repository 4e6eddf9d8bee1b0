/* json_message.h: protobuf messages as JSON and back, by the proto3 JSON mapping (protobuf.dev, "ProtoJSON Format").
 *
 * Used for -o json and yaml and for `ipamc call`, on any message that protobuf-c describes; knows none by name but
 * google.protobuf.Timestamp. Names are lowerCamelCase on the way out, that or the original on the way in; 64-bit
 * integers are strings, bytes base64, enums names; fields at their default are written too, unset messages are not.
 */
#ifndef IPAMC_JSON_MESSAGE_H
#define IPAMC_JSON_MESSAGE_H

#include <stdbool.h>

#include <jansson.h>
#include <protobuf-c/protobuf-c.h>

#include <ipam/error.h>

#include "arena.h"

/* A new reference. Never NULL: aborts when memory is out. */
json_t *json_message_encode(const ProtobufCMessage *message);

/* The message lives in the arena and is not to be freed otherwise. An unknown field, or a value that does not fit, is refused
 * with the field's path and the message's name (INVALID_REQUEST). */
int json_message_decode(struct arena *arena, const ProtobufCMessageDescriptor *type, const json_t *json,
                        ProtobufCMessage **ret, struct ipam_error *reterr);

/* "reuseDelaySeconds" of "reuse_delay_seconds". */
const char *json_field_name(struct arena *arena, const char *name);

/* A map<K, V> is, in protobuf-c's eyes, a list of entry messages. */
bool json_field_is_map(const ProtobufCFieldDescriptor *field, const ProtobufCMessageDescriptor *message);

/* What a text is in JSON: bytes that are not UTF-8 become U+FFFD. A new reference. */
json_t *json_text(const char *text);

/* Reads JSON text; duplicate keys are refused. `source` names it in messages. *ret is the caller's to json_decref. */
int json_text_parse(const char *source, const char *text, size_t size, json_t **ret, struct ipam_error *reterr);

#endif
