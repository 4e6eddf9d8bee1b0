/* watch.h: goes on with what changes, until Ctrl-C: the loop under --watch and events.
 *
 * Used by the cmd_ files that follow something; it stands on libipam's subscriber, says on stderr when ipamd is away and
 * when it is back, and ends when nobody reads the output any more. What a change means is the follower's business.
 * Ctrl-C is left to the system: each row is written out when it is printed, so that there is nothing to finish.
 */
#ifndef IPAMC_WATCH_H
#define IPAMC_WATCH_H

#include "commands.h"

/* Either may be NULL. They print on `output`, whose arena is emptied after each call and whose present is that of the call.
 * -1 ends the watch with that error; WATCH_END ends it well. */
struct watch_follower {
    int (*change)(void *user, struct output *output, const Ipam__V1__Change *change, struct ipam_error *reterr);
    int (*synced)(void *user, struct output *output, struct ipam_error *reterr); /* after all changes there are */
};

#define WATCH_END 1

/* Follows what happens after the revision. */
int watch_run(struct cli *cli, uint64_t after_revision, const struct watch_follower *follower, void *user,
              struct ipam_error *reterr);

#endif
