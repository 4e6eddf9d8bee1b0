/* vip_status.h: the status of a ProxyVIP: the claims of an owner and the object as it is → the patch, or none.
 *
 * Called by pass.c for each object that may be out of date, and by tests. Pure; it must not know the loop or the API server.
 *
 * What it writes: allocatedAddress, allocatedIPv6Address and the conditions Bound and SpecAccepted; never observedGeneration,
 * never anything else. Bound tells what the VIP has, or why it has nothing. SpecAccepted is there, and False, only while the VIP
 * keeps an address although its present spec was refused.
 * An address in a status is ours when the API server's managedFields say that we wrote it; only then is it ever taken away. Where
 * they know nothing of us (the status was put back from a backup), it is ours if Bound is True.
 * While ipamd has no claim of the VIP (it was just created, or ipamd lost its state) its status stays as it is: it is what
 * the watcher takes the address from. Only when the VIP asks for no address, or somebody else holds it, it is taken away.
 */
#ifndef IPAM_STATUS_VIP_STATUS_H
#define IPAM_STATUS_VIP_STATUS_H

#include "claims.h"
#include "status.h"

#define VIP_KIND "ProxyVIP"

/* What ipamd says to the present spec (Allocate with dry_run), if its claims are not on the spec's terms. */
struct vip_answer {
    enum {
        VIP_ACCEPTED,   /* it would be granted, or queued: ipam-watcher has not come by yet */
        VIP_REFUSED,    /* `reason` and `message` say why */
        VIP_MAY_NOT_ASK /* ipamd does not let us ask */
    } verdict;
    const char *reason;  /* "ADDRESS_IN_USE" */
    const char *message; /* as ipamd wrote it */
};

struct vip_facts {
    const json_t *object; /* a ProxyVIP, or of it metadata, the parts of spec that ask for an address, and status */
    const struct claims *claims;
    const struct vip_answer *answer; /* NULL: ipamd was not asked */
    /* The status of another VIP still shows an address that this one is to get: what is no longer the VIP's leaves its status, and
     * nothing comes into it. So VIPs that have exchanged addresses let go first, all of them, and then each shows its own. */
    bool leaves;
    int64_t now; /* seconds since 1970 */
};

/* Claims whose uid is another one than the object's are those of an earlier object of the name and don't count; a claim
 * without uid fits any. What *ret holds is of the arena, but its JSON, which is the caller's (status_update_done). */
void vip_status(const struct vip_facts *facts, struct arena *arena, struct status_update *ret);

/* The addresses in a status that are ours, IPv4 and IPv6; family IPAM_FAMILY_NONE where there is none. */
void vip_status_shown(const json_t *object, struct ipam_addr ret[2]);

/* The addresses that the patch puts on the object. */
void vip_status_given(const json_t *patch, struct ipam_addr ret[2]);

#endif
