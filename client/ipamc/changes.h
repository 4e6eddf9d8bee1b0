/* changes.h: what happened, in words: a change as a row of get changes and as a line of events.
 *
 * Used by get changes, events and history; it knows the messages and makes no call. A change is only the state that
 * followed: words that need the state before are not used.
 */
#ifndef IPAMC_CHANGES_H
#define IPAMC_CHANGES_H

#include <ipam/ipam.pb-c.h>

#include "output.h"

extern const struct view change_view; /* rows are Ipam__V1__Change */

/* "10.200.0.1/32 allocated to ProxyVIP/web-vip from main-vip-pool". */
const char *change_words(struct arena *arena, const Ipam__V1__Change *change);

/* "changes lost: revisions 151 to 200 had been acknowledged and …". */
const char *change_lost_words(struct arena *arena, const Ipam__V1__ChangesLost *lost);

/* "ipamc (uid 0)"; what ipamd did by itself: "ipamd". */
const char *change_actor(struct arena *arena, const Ipam__V1__Actor *actor);

#endif
