/* wire.h: what protobuf-c does not check of a message: that its strings are text.
 *
 * Called by the RPC layer before it unpacks a request. proto3 demands UTF-8 in a string; and as
 * protobuf-c hands strings out as C strings, a NUL inside one would silently cut a name to another
 * name. It knows the wire format only.
 */
#ifndef IPAMD_RPC_WIRE_H
#define IPAMD_RPC_WIRE_H

#include <protobuf-c/protobuf-c.h>

#include <ipam/error.h>

/* 0, or -1 with INVALID_REQUEST naming the field. Bytes that are no message at all are left to the
 * unpacking. */
int wire_check_strings(const ProtobufCMessageDescriptor *type, const uint8_t *data, size_t size,
                       struct ipam_error *reterr);

#endif
