/* read_changes.h: the history, page by page.
 *
 * Used by get changes, history and audit verify. It tells on a terminal how far it has read, since a filter has ipamd look
 * at every change; what the changes mean is the visitor's business.
 */
#ifndef IPAMC_READ_CHANGES_H
#define IPAMC_READ_CHANGES_H

#include "commands.h"
#include "requests.h"

struct changes_read {
    uint64_t compacted_through; /* changes up to here are no longer kept */
    uint64_t revision;          /* of the newest */
};

/* -1: an error that ends the reading. */
typedef int (*change_visitor)(const Ipam__V1__Change *change, void *user, struct ipam_error *reterr);

/* Visits every change that the filter lets through, oldest first, at most `limit` (0: all). Changes are borrowed for the
 * visit only, or, with a listing (may be NULL), until that is done. */
int read_changes(struct cli *cli, const Ipam__V1__ListChangesRequest *filter, uint64_t limit, change_visitor visit,
                 void *user, struct listing *keep, struct changes_read *ret, struct ipam_error *reterr);

/* --pool, --owner, --address and --after as a filter. */
void changes_filter(struct cli *cli, Ipam__V1__ListChangesRequest *ret);

#endif
