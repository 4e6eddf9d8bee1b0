/* describe.h: all about one object, a line for each fact.
 *
 * Used by the describe commands and status. Facts are tables of {label, cell}, as the columns of a table are; it makes no call.
 */
#ifndef IPAMC_DESCRIBE_H
#define IPAMC_DESCRIBE_H

#include <ipam/ipam.pb-c.h>

#include "output.h"

/* "Label:   value" for each column whose value is not "". */
void describe_row(const struct output *output, const struct view *view, const void *row);

extern const struct view pool_facts;   /* Ipam__V1__Pool */
extern const struct view claim_facts;  /* Ipam__V1__Claim */
extern const struct view status_facts; /* Ipam__V1__GetStatusReply */

/* The pool's counts, a line each for both families together and for each of them. */
void describe_counts(const struct output *output, const Ipam__V1__Pool *pool);

#endif
