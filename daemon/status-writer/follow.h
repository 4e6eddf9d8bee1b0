/* follow.h: ipamd's claims, kept in step: a snapshot by ListClaims, then every change after it, for ever.
 *
 * Used by writer.c. It knows libipam's channel and subscriber, and must not know Kubernetes. When ipamd's history can't be
 * followed any more (compacted, or its state was lost or restored), it takes a snapshot afresh by itself.
 */
#ifndef IPAM_STATUS_FOLLOW_H
#define IPAM_STATUS_FOLLOW_H

#include <uv.h>

#include <ipam/client.h>

#include "claims.h"

struct follow;

struct follow_options {
    uv_loop_t *loop;
    struct ipam_channel *channel; /* borrowed */
    const char *socket, *events;  /* borrowed */
};

/* All come from the loop. */
struct follow_callbacks {
    /* A claim as it was and as it is, while in step. Borrowed for the callback. */
    claims_touched claim;
    /* Something about a pool changed, while in step. */
    void (*pool)(const char *name, void *user);
    /* In step for the first time since the start or since a new snapshot was needed: anything may be different. */
    void (*fresh)(void *user);
    void (*synced)(void *user); /* all that ipamd had is known; comes again and again */
    void (*trouble)(const struct ipam_error *error, void *user); /* as in ipam/subscriber.h */
};

struct follow *follow_new(const struct follow_options *options, const struct follow_callbacks *callbacks, void *user);
void follow_close(struct follow *follow, void (*closed)(void *user),
                  void *user); /* no callback but this comes any more */

const struct claims *follow_claims(const struct follow *follow); /* NULL while not in step; borrowed */
uint64_t follow_revision(const struct follow *follow);           /* of the last change known */
uint64_t follow_newest(const struct follow *follow);             /* the newest that ipamd is known to have */

#endif
