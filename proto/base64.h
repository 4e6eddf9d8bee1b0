/* base64.h: bytes as RFC 4648 base64, as JSON carries them.
 *
 * Used by the JSON mapping of protobuf and by the reader of kubeconfig files. Reads the standard and the URL-safe alphabet, with padding or without; writes the
 * standard one with padding. Knows nothing of either.
 */
#ifndef IPAM_PROTO_BASE64_H
#define IPAM_PROTO_BASE64_H

#include <stddef.h>
#include <stdint.h>

#include "arena.h"

const char *base64_encode(struct arena *arena, const uint8_t *data, size_t size);
int base64_decode(struct arena *arena, const char *text, uint8_t **ret, size_t *ret_size); /* -1: not base64 */

#endif
