/* vip_status.h: the status of a ProxyVIP: the claims of an owner and the object as it is → the patch, or none.
 *
 * Called by writer.c for each object that may be out of date, and by tests. Pure; it must not know the loop or the API server.
 *
 * What it writes: allocatedAddress, allocatedIPv6Address and the condition Bound; never observedGeneration, never anything
 * else. An address in a status is ours when the condition Bound names it in its message; only then is it ever taken away.
 * While ipamd has no claim of the VIP (it was just created, or ipamd lost its state) its status stays as it is: it is what
 * the watcher takes the address from. Only when the VIP asks for no address, or somebody else holds it, it is taken away.
 */
#ifndef IPAM_STATUS_VIP_STATUS_H
#define IPAM_STATUS_VIP_STATUS_H

#include "claims.h"
#include "status.h"

#define VIP_KIND "ProxyVIP"

/* `object`: a ProxyVIP, or of it metadata, the parts of spec that ask for an address, and status. Claims whose uid is
 * another one than the object's are those of an earlier object of the name and don't count; a claim without uid fits any.
 * What *ret holds is of the arena, but ret->status, which is the caller's (status_update_done). */
void vip_status(const json_t *object, const struct claims *claims, int64_t now, struct arena *arena,
                struct status_update *ret);

/* For while the status of another VIP still shows an address that this one is to get: what is no longer the VIP's leaves its
 * status, and nothing comes into it; the condition says that the address is on its way. So VIPs that have exchanged addresses
 * let go first, all of them, and then each shows its own. What stays of one family stays. */
void vip_status_leave(const json_t *object, const struct claims *claims, int64_t now, struct arena *arena,
                      struct status_update *ret);

/* The addresses in a status that are ours, IPv4 and IPv6; family IPAM_FAMILY_NONE where there is none. */
void vip_status_shown(const json_t *object, struct ipam_addr ret[2]);

/* The addresses that the patch puts on the object. */
void vip_status_given(const json_t *patch, struct ipam_addr ret[2]);

#endif
