/* explain.h: why an owner gets an address or does not: ipamd's checks in its order, with what they met.
 *
 * Used by the explain commands, which ask ipamd; this part restates the order of its checks (a table), and works out which
 * one failed and what would change that. It makes no call and decides nothing itself: the answer is ipamd's.
 */
#ifndef IPAMC_EXPLAIN_H
#define IPAMC_EXPLAIN_H

#include <ipam/ipam.pb-c.h>

#include "output.h"

#define EXPLAIN_FAMILIES 2 /* index 0: IPv4, 1: IPv6 */

/* The question, and what ipamd says to it and around it. Borrowed; absent: NULL, "" or 0. */
struct explain {
    struct arena *arena;
    const char *owner; /* "Manual/web" */
    const char *pool_name;
    bool asked[EXPLAIN_FAMILIES];
    const char *address[EXPLAIN_FAMILIES];           /* "": any */
    const char *preferred[EXPLAIN_FAMILIES];         /* "": none */
    const Ipam__V1__Pool *pool;                      /* NULL: none is named, or there is none */
    const Ipam__V1__Claim *held[EXPLAIN_FAMILIES];   /* what the owner holds (BOUND) before */
    const Ipam__V1__Claim *answer[EXPLAIN_FAMILIES]; /* what it would get, holds, or waits with */
    const Ipam__V1__Claim *holder;                   /* of the address that is in the way */
    const Ipam__V1__Claim *next_cooling;             /* of the pool: the one that is free first */
    enum ipam_reason reason;                         /* of the refusal; NONE: there is none */
    const char *message;
    int failing_family; /* index, or -1: of no family, or not told */
    uint64_t place;     /* in the queue: has it, or would get with --enqueue; 0: none */
    bool waits;         /* it is remembered and waits already */
};

/* Table on output->out, or JSON and YAML by explain_json. */
void explain_print(const struct output *output, const struct explain *explain);

/* {owner, pool, counts, steps: [{check, family, result, detail}], outcome, reason, message, claims, place, unblock}. A new
 * reference. */
json_t *explain_json(const struct explain *explain);

/* Whether the reason is one of the checks'; others (no permission, not reached) are errors of the command. */
bool explain_knows(enum ipam_reason reason);

#endif
