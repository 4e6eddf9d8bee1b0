/* claims.h: what ipamd's claims are now, in memory: by owner, by address in numeric order, and by the address waited for.
 *
 * Filled by follow.c from ListClaims and the changes after it, read by the translation (vip_status.h, pool_status.h). It knows
 * the messages of ipam.proto, and must not know objects of Kubernetes, sockets or the loop. Only claims that hold or wait
 * stand in it; a claim is one allocation of a few hundred bytes.
 */
#ifndef IPAM_STATUS_CLAIMS_H
#define IPAM_STATUS_CLAIMS_H

#include <stdbool.h>
#include <stdint.h>
#include <bsd/sys/tree.h>

#include <ipam/addr.h>
#include <ipam/ipam.pb-c.h>

struct claim {
    RB_ENTRY(claim) by_owner, by_address; /* by_address: that it holds, or while it waits the one it asks for */
    uint64_t id;
    enum ipam_family family;
    struct ipam_addr address; /* family IPAM_FAMILY_NONE: it waits */
    struct ipam_addr wanted;  /* while it waits, the address that it asks for; family IPAM_FAMILY_NONE: any */
    bool dual;                /* it waits together with its owner's other family */
    int64_t allocated_at;     /* seconds since 1970 */
    const char *kind, *name, *uid;
    const char *pool; /* "": manual */
    const char *requested;
    const char *reason, *message; /* while it waits */
};

struct claims;

struct claims *claims_new(void);
struct claims *claims_free(struct claims *claims); /* NULL is fine; returns NULL */

/* Takes a claim over as a reply or a change has it; one that can't be (no owner, no family) is left out. `touched` is called
 * with what was recorded before of that owner and family, and with what is now, as far as there is such. */
typedef void (*claims_touched)(const struct claim *claim, void *user);
void claims_apply(struct claims *claims, const Ipam__V1__Claim *message, claims_touched touched, void *user);

/* Borrowed until the next claims_apply. NULL: none. */
const struct claim *claims_of(const struct claims *claims, const char *kind, const char *name, enum ipam_family family);
const struct claim *claims_holder(const struct claims *claims, const struct ipam_addr *address);
/* Bound claims in numeric order, from the first at or after `address` (NULL: the first of all). */
const struct claim *claims_from(const struct claims *claims, const struct ipam_addr *address);
const struct claim *claims_next(const struct claim *claim);
/* Claims that wait for this very address, the oldest first. */
const struct claim *claims_waiting(const struct claims *claims, const struct ipam_addr *address);
const struct claim *claims_waiting_next(const struct claim *claim);

#endif
