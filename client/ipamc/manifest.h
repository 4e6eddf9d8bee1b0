/* manifest.h: ProxyIPPool and ProxyVIP objects, read from YAML into the requests that they stand for.
 *
 * Called by apply and delete with the text of one file after the other; it opens no file and makes no call. Every object is
 * checked as far as that goes without ipamd, and every refusal says FILE:LINE, what is wrong and what to write.
 * All that an object points at lives in the manifest's arena.
 */
#ifndef IPAMC_MANIFEST_H
#define IPAMC_MANIFEST_H

#include <ipam/error.h>
#include <ipam/ipam.pb-c.h>

#include "arena.h"

#define MANIFEST_API_VERSION "novaedge.io/v1alpha1"
#define MANIFEST_VIP_KIND    "ProxyVIP"

enum manifest_kind { MANIFEST_POOL, MANIFEST_VIP };

struct manifest_object {
    enum manifest_kind kind;
    const char *name;
    const char *source; /* file name */
    unsigned int line;
    Ipam__V1__PoolSpec pool;         /* MANIFEST_POOL */
    Ipam__V1__AllocateRequest claim; /* MANIFEST_VIP; its owner points at `owner` once manifest_finish is done */
    Ipam__V1__Owner owner;
};

struct manifest {
    struct arena arena;
    struct manifest_object *items;
    size_t count, capacity;
};

void manifest_init(struct manifest *manifest);
void manifest_done(struct manifest *manifest);

/* Adds all objects of one text. `source` is copied. */
int manifest_add(struct manifest *manifest, const char *source, const char *text, size_t size,
                 struct ipam_error *reterr);

/* To be called once all texts are in: refuses an object that stands twice, then brings the objects into the order in which
 * they are to be sent: pools, VIPs that ask for a certain address, the other VIPs; each as read. */
int manifest_finish(struct manifest *manifest, struct ipam_error *reterr);

/* "proxyippool/NAME" or "proxyvip/NAME". */
const char *manifest_object_label(struct arena *arena, const struct manifest_object *object);

#endif
