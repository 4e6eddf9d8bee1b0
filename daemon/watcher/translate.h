/* translate.h: what a ProxyIPPool or ProxyVIP asks for, as the requests that ipamd takes.
 *
 * Called by the reconciler for each object that the API server shows. Pure: an object goes in, a request comes out. It must not
 * know the loop, a socket or the clock, nor whether ipamd can grant what it translates.
 *
 * Objects come from outside: any field may be missing, of another type, or absurd. Texts in results are borrowed from the object.
 */
#ifndef IPAM_WATCHER_TRANSLATE_H
#define IPAM_WATCHER_TRANSLATE_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include <ipam/addr.h>
#include <ipam/ipam.pb-c.h>

#include "arena.h"
#include "filter.h"

#define OWNER_KIND     "ProxyVIP"
#define POOL_FINALIZER "ipam.novaedge.io/pool-protection"

#define NAME_MAX_BYTES 253
#define UID_MAX_BYTES  128

/* What is read of the objects: for the watches, which keep nothing else. */
extern const struct kube_field pool_fields[], vip_fields[];

/* What every object has. */
struct object_id {
    const char *name, *uid;
    const char *created; /* RFC 3339, as it sorts; "" when missing */
    bool deleting;       /* deletionTimestamp is set */
    bool finalizer;      /* ours is there */
};

/* -1 with INVALID_REQUEST: it can't even be named (metadata.name or metadata.uid missing or too long). */
int object_identify(const json_t *object, struct object_id *ret, struct ipam_error *reterr);

/* What a VIP wants. */
struct vip_wish {
    bool asks;                         /* false: neither a pool nor an address is given: nothing is to be allocated */
    Ipam__V1__AllocateRequest request; /* without preferred addresses */
    Ipam__V1__Owner owner;             /* request.owner points here, so a wish is never copied */
    struct ipam_addr recorded[2]; /* what status.allocatedAddress and allocatedIPv6Address say; none: family NONE */
    char ignored[160];            /* a field that has no effect, and what to write instead; "" */
};

/* -1 with INVALID_REQUEST: which field is wrong, and what to write instead. */
int vip_read(const json_t *object, struct vip_wish *ret, struct ipam_error *reterr);

/* Lists live in the arena. */
int pool_read(const json_t *object, struct arena *arena, Ipam__V1__PoolSpec *ret, struct ipam_error *reterr);

/* A merge patch that puts our finalizer on the object or takes it off, and fails with 409 if the object is by now another one
 * than `object`. NULL: it is so already. The caller's reference. */
json_t *finalizer_patch(const json_t *object, bool wanted);

#endif
