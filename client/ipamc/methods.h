/* methods.h: the unary methods that `ipamc call` can call, known at build time.
 *
 * The services are a table of protobuf-c's own descriptors; a new contract is one more row. Nothing here makes a call.
 */
#ifndef IPAMC_METHODS_H
#define IPAMC_METHODS_H

#include <protobuf-c/protobuf-c.h>

#include <ipam/error.h>

#include "arena.h"

struct method {
    const char *path; /* "/ipam.v1.IPAM/Allocate" */
    const ProtobufCMessageDescriptor *request, *reply;
};

/* All of them, in the arena. */
const struct method *methods_all(struct arena *arena, size_t *ret_count);

/* By "ipam.v1.IPAM/Allocate", with or without a slash before it, or the method's name alone. UNKNOWN_METHOD if there is none. */
int method_find(struct arena *arena, const char *name, struct method *ret, struct ipam_error *reterr);

#endif
