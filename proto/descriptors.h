/* descriptors.h: the serialised google.protobuf.FileDescriptorSet of every contract, for server reflection.
 *
 * Used by the reflection service. It is data that protoc wrote at build time; nothing here reads it.
 */
#ifndef IPAM_PROTO_DESCRIPTORS_H
#define IPAM_PROTO_DESCRIPTORS_H

#include <stdint.h>

extern const uint8_t ipam_descriptor_set[];
extern const uint8_t ipam_descriptor_set_end[]; /* one past the last byte */

#endif
