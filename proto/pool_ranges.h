/* pool_ranges.h: which addresses a pool means by its cidrs, addresses and excluded.
 *
 * The one place that knows: the engine serves them, ipamc draws them, ipam-status-writer lists what is held of them. It
 * must not know claims. The rules, in this order, at the cost of entries and not of addresses:
 *  1. An entry has the addresses that hosts can have of its CIDR (ipam_cidr_hosts), or those of its range.
 *  2. Without those that `excluded` names and those that are no virtual IP (special.h).
 *  3. Of these the first IPAM_CIDR_USABLE_MAX.
 * The pool has what its entries have, each address once.
 */
#ifndef IPAM_POOL_RANGES_H
#define IPAM_POOL_RANGES_H

#include "special.h"

struct pool_texts {
    const char *const *cidrs, *const *addresses, *const *excluded;
    size_t n_cidrs, n_addresses, n_excluded;
};

/* The network or broadcast address of a CIDR. */
struct pool_edge {
    addr_value number;
    const char *cidr;
    bool broadcast;
};

struct pool_family_ranges {
    struct spans usable;     /* what the pool has */
    struct spans whole;      /* all of its cidrs and addresses, with nothing left out */
    struct spans excluded;   /* what `excluded` names, in its ranges or not */
    struct pool_edge *edges; /* by number; some may be usable by another entry */
    size_t n_edges;
    uint64_t
        n_excluded; /* addresses that entries have by rule 1, could have by special.h and lose by `excluded`; saturates */
};

/* An entry that has addresses which the pool has not, because of rule 3. */
struct pool_clipped {
    const char *text;
    unsigned int family;
    struct span span; /* rule 1 */
};

/* Texts are borrowed. */
struct pool_ranges {
    struct pool_family_ranges families[FAMILIES];
    struct pool_clipped *clipped;
    size_t n_clipped;
    const char **outside; /* entries of `excluded` that meet none of the pool's ranges */
    size_t n_outside;
    uint32_t left_out,
        served; /* rows of special.h, a bit each: refused ones left out, not excluded; others that the pool has */
    const char *hopeless; /* the first entry all of whose addresses are no virtual IP, or NULL */
    const struct special_range *hopeless_because;
};

/* -1 with INVALID_ADDRESS and *ret_field ("cidrs", …): an entry can't be read. */
int pool_ranges_make(const struct pool_texts *texts, struct pool_ranges *ret, const char **ret_field,
                     struct ipam_error *reterr);
void pool_ranges_done(struct pool_ranges *ranges);

/* ipamd 0.1.0 had rule 3 before rule 2: true if the address was the pool's by that, unless excluded or no virtual IP. What it
 * meant by a pool is part of what is meant now. */
bool pool_texts_had(const struct pool_texts *texts, const struct ipam_addr *address);

/* How an address stands to a pool. */
enum pool_place {
    POOL_OUTSIDE, /* in none of its ranges */
    POOL_USABLE,
    POOL_EXCLUDED,
    POOL_SPECIAL, /* no virtual IP */
    POOL_NETWORK, /* the address of a CIDR that is no host's */
    POOL_BROADCAST,
    POOL_PAST_LIMIT, /* rule 3 */
};

/* *ret_entry (may be NULL): the CIDR or range, for POOL_NETWORK, POOL_BROADCAST and POOL_PAST_LIMIT, else NULL. */
enum pool_place pool_ranges_place(const struct pool_ranges *ranges, const struct ipam_addr *address,
                                  const char **ret_entry);

#endif
