/* pool_status.h: the status of a ProxyIPPool: the pool as ipamd has it, its claims and the object as it is → the patch, or none.
 *
 * Called by writer.c for each pool that may be out of date, and by tests. Pure; it must not know the loop or the API server.
 *
 * What it writes: counts, allocations[], observedGeneration and the conditions Ready and Exhausted. Allocations are those
 * that `allocated` counts: every bound claim whose address lies in the pool, in numeric order, at most
 * POOL_ALLOCATIONS_MAX and POOL_ALLOCATIONS_BYTES of them; then allocationsTruncated is true.
 */
#ifndef IPAM_STATUS_POOL_STATUS_H
#define IPAM_STATUS_POOL_STATUS_H

#include "claims.h"
#include "ranges.h"
#include "status.h"

#define POOL_KIND              "ProxyIPPool"
#define POOL_ALLOCATIONS_MAX   1000
#define POOL_ALLOCATIONS_BYTES (160 * 1024) /* as JSON: the whole status stays under 200 KiB */

/* `ranges`: those of pool->spec. A pool whose uid is another one than the object's belongs to an earlier object of the name:
 * no patch. What *ret holds is of the arena, but ret->status, which is the caller's (status_update_done). */
void pool_status(const json_t *object, const Ipam__V1__Pool *pool, const struct ranges *ranges,
                 const struct claims *claims, int64_t now, struct arena *arena, struct status_update *ret);

#endif
