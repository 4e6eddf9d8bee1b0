/* special.h: address ranges with a meaning of their own, which no virtual IP can have or should have.
 *
 * The one table of them: the engine refuses or warns by it, ipamc draws and notes by it, docs/operations.md shows it.
 * Sources are the IANA registries of special-purpose addresses (RFC 6890) and the RFCs that the rows name.
 */
#ifndef IPAM_SPECIAL_H
#define IPAM_SPECIAL_H

#include "spans.h"

struct special_range {
    enum ipam_family family;
    struct span span;
    const char *text; /* "127.0.0.0/8" */
    const char *what; /* "loopback" */
    const char *source;
    bool refused; /* no virtual IP; else taken with a warning */
};

#define SPECIAL_RANGES 11 /* rows, in order of family and address; no two of them meet */
extern const struct special_range special_ranges[SPECIAL_RANGES];

const struct special_range *special_range_find(const struct ipam_addr *addr); /* NULL: an address like any other */
/* The refused ranges of a family. The caller has spans_done. */
struct spans special_ranges_refused(unsigned int family);

#endif
