/* follow.h: how far a subscriber has come, what it has to ask for next, and whether an answer fits.
 *
 * Used by subscriber.c, which does the asking and delivers. Pure: it must not know sockets, loops or time, and keeps nothing of
 * the messages that it looks at.
 *
 * Every page begins with the change delivered last, if ipamd has it still: that its hash is the one we know says that we still
 * follow the same history, whatever became of ipamd and its state meanwhile.
 */
#ifndef IPAM_CLIENT_FOLLOW_H
#define IPAM_CLIENT_FOLLOW_H

#include <ipam/chain.h>

#define FOLLOW_PAGE 1000 /* changes asked for at once: the most that ipamd gives */

struct follow {
    struct ipam_chain chain; /* delivered */
    uint64_t heard;          /* the newest revision there is, as far as we know */
    bool from_now;           /* the starting point is not known yet */
    bool is_due;             /* a page is to be asked for, whether or not there is something new */
    bool is_bare;            /* the next page is to begin after the last change: that one alone filled a page */
};

void follow_init(struct follow *follow, bool from_now, uint64_t after_revision, const uint8_t *hash);
void follow_hear(struct follow *follow, uint64_t revision);      /* of a change: it may be an old one */
void follow_hear_tick(struct follow *follow, uint64_t revision); /* of a tick: it is the newest */
bool follow_is_behind(const struct follow *follow);              /* a page is to be asked for */
void follow_request(const struct follow *follow, Ipam__V1__ListChangesRequest *ret);

/* Looks at the answer to that. Its changes from *ret_first on are to be given to follow_take, one by one. -1, and nothing of it
 * is to be used: HISTORY_COMPACTED, HISTORY_REPLACED or HISTORY_BROKEN. */
int follow_page(struct follow *follow, const Ipam__V1__ListChangesReply *page, size_t *ret_first,
                struct ipam_error *reterr);

/* The next change is about to be delivered. -1, and it must not be: HISTORY_BROKEN or OUT_OF_MEMORY. */
int follow_take(struct follow *follow, const Ipam__V1__Change *change, struct ipam_error *reterr);

#endif
