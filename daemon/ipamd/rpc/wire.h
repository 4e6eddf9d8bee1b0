/* wire.h: what protobuf-c does not check of a message: that its strings are text, and its fields no more than we unpack.
 *
 * Called by the RPC layer before it unpacks a request. proto3 demands UTF-8 in a string; and as
 * protobuf-c hands strings out as C strings, a NUL inside one would silently cut a name to another
 * name. A field of two bytes takes fifty when it is unpacked, known or not, so they are counted before. It knows the wire
 * format only.
 */
#ifndef IPAMD_RPC_WIRE_H
#define IPAMD_RPC_WIRE_H

#include <protobuf-c/protobuf-c.h>

#include <ipam/error.h>

#define WIRE_FIELDS_MAX 70000 /* a pool has 65,536 entries at most */

/* 0, or -1 with INVALID_REQUEST naming the field, or LIMIT_EXCEEDED. Bytes that are no message at all are left to the
 * unpacking. */
int wire_check(const ProtobufCMessageDescriptor *type, const uint8_t *data, size_t size, struct ipam_error *reterr);

#endif
