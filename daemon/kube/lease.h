/* lease.h: leader election by a Lease of coordination.k8s.io: one of several processes acts.
 *
 * Used by the programs with --leader-elect. It knows the Lease object and clocks only as far as client-go's rules go: a lease
 * is judged expired by how long its renewal has not been seen to change here, never by comparing clocks.
 */
#ifndef IPAM_KUBE_LEASE_H
#define IPAM_KUBE_LEASE_H

#include "client.h"

struct kube_lease;

struct kube_lease_options {
    const char *namespace_, *name; /* "ipam-system", "ipam-watcher"; borrowed */
    const char *identity;          /* who we are: host name, pid and something random; borrowed */
    uint32_t duration_ms; /* 0: 15000; it is renewed every fifth of it, given up when not renewed for two thirds */
};

/* Turns of being the leader. `lost` comes when it can't be renewed in time or somebody else has it: stop acting at once;
 * the process may go on and will try again. */
struct kube_lease_callbacks {
    void (*acquired)(void *user);
    void (*lost)(const struct ipam_error *error, void *user);
    void (*trouble)(const struct ipam_error *error, void *user); /* as in watch.h; must not close the lease */
};

struct kube_lease *kube_lease_new(struct kube_client *client, const struct kube_lease_options *options,
                                  const struct kube_lease_callbacks *callbacks, void *user);
/* Gives the lease back if we hold it (another one can take it at once), then closed(user). */
void kube_lease_close(struct kube_lease *lease, void (*closed)(void *user), void *user);
bool kube_lease_held(const struct kube_lease *lease); /* by the clock, too: `lost` may be yet to come */

#endif
