/* watch_objects.h: --watch of pools, claims and VIPs: a row for each that is new, is another one now, or is over.
 *
 * Called by get after it has listed them. Claims are told as each change has them; pools, whose counts stand in no change,
 * are listed again when something happened to them.
 */
#ifndef IPAMC_WATCH_OBJECTS_H
#define IPAMC_WATCH_OBJECTS_H

#include "commands.h"
#include "requests.h"

struct claims_watch {
    const char *kind; /* NULL: any */
    bool as_vips;     /* one row for both families */
    bool (*is_named)(const struct cli *cli, const Ipam__V1__Claim *claim, const char *kind); /* by the arguments */
};

/* Prints what was listed, then what happens after that. */
int watch_claims(struct cli *cli, const struct claims_watch *what, const struct listing *listing,
                 struct ipam_error *reterr);

/* Lists the pools that the command is about. */
typedef int (*pools_lister)(struct cli *cli, struct listing *ret, struct ipam_error *reterr);

int watch_pools(struct cli *cli, pools_lister list, struct ipam_error *reterr);

#endif
