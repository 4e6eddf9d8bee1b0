/* history.h: who held an address, from when to when: changes folded into tenures.
 *
 * Used by the history command, which reads the changes; this part knows the messages and makes no call. A tenure is the
 * time from when a claim was bound to an address to when it was given back.
 */
#ifndef IPAMC_HISTORY_H
#define IPAMC_HISTORY_H

#include <ipam/ipam.pb-c.h>

#include "output.h"

struct tenure {
    const Ipam__V1__Claim *claim;                 /* as it was bound last; borrowed */
    const Google__Protobuf__Timestamp *from, *to; /* to: NULL while it is held */
    const Ipam__V1__Change *allocated, *ended;    /* NULL: not kept, or still held */
};

#define HISTORY_OPEN_MAX 16

struct history {
    struct arena *arena;
    struct tenure *items;
    size_t count, capacity;
    size_t open[HISTORY_OPEN_MAX]; /* items that are not over: of one address or owner there are few */
    size_t n_open;
};

/* Changes and claims are borrowed as long as the history lives. Changes come in the order of revisions. */
void history_add(struct history *history, const Ipam__V1__Change *change);

/* A claim that is bound now, for those whose changes are no longer kept. */
void history_add_present(struct history *history, const Ipam__V1__Claim *claim);

/* What "at this time" means: the clock may have gone back, so it is the state after one revision. */
struct history_moment {
    Google__Protobuf__Timestamp at;
    uint64_t revision; /* the highest whose time is not after `at`; 0: none that is kept */
};

/* Sorts by beginning, as revisions have it; only those that held at the moment (may be NULL) are left. */
void history_finish(struct history *history, const struct history_moment *moment);

/* Before 0: none. */
int compare_times(const Google__Protobuf__Timestamp *a, const Google__Protobuf__Timestamp *b);

extern const struct view tenure_view; /* rows are struct tenure */

/* {owner, family, address, pool, from, fromRevision, allocatedBy, to, toRevision, ended, endedBy}; what is not known or
 * not over is null. A new reference. */
json_t *tenure_json(struct arena *arena, const struct tenure *tenure);

#endif
