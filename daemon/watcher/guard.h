/* guard.h: what may be given back when its object is not in the cluster any more.
 *
 * Called by the sync with all that ipamd holds for Kubernetes objects. Pure. It must not know RPCs or the API server.
 *
 * What an absent object had is freed only if it was absent from two complete lists, if it isn't too much at one go, and if the
 * cluster is the one that ipamd's records come from. A uid is of one object in the world, and a pool's finalizer keeps its
 * object there while no watcher runs, so: the cluster is the same if any object has the uid that ipamd recorded for it.
 */
#ifndef IPAM_WATCHER_GUARD_H
#define IPAM_WATCHER_GUARD_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <ipam/error.h>

struct guard {
    json_t *absent; /* "kind/uid/name" of what was absent from the lists before */
};

enum guard_kind { GUARD_POOL, GUARD_CLAIM };

/* A pool or a claim of ipamd's with a uid. */
struct guard_record {
    enum guard_kind kind;
    const char *name, *uid;
    bool listed, same_uid; /* the cluster has an object of that name, and with that uid */
    bool free;             /* the verdict: it may go */
};

struct guard_limits {
    uint64_t share, count; /* no more than `share` percent and more than `count` of a kind at one go */
    bool accept_cluster;   /* the cluster is the right one whatever the uids say */
};

struct guard_verdict {
    bool other_cluster;                              /* nothing may be applied or freed */
    size_t records[2], common, absent[2], unsure[2]; /* by kind; unsure: seen absent for the first time */
    bool held[2];                                    /* too many at one go */
};

void guard_done(struct guard *guard); /* all zero afterwards, as before */

/* One pair of complete lists has been compared with ipamd. */
void guard_judge(struct guard *guard, const struct guard_limits *limits, struct guard_record *records, size_t count,
                 struct guard_verdict *ret);

/* What is held back and what to do about it; false: nothing is. */
bool guard_explain(const struct guard_verdict *verdict, const struct guard_limits *limits, size_t n_objects,
                   struct ipam_error *ret);

#endif
