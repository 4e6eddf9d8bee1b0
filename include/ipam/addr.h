/* ipam/addr.h: IP addresses, CIDR prefixes and ranges as values, and their text.
 *
 * Used by every part; knows nothing of pools, sockets or memory: nothing here allocates. Text rules: IPv4 in dotted
 * decimal without leading zeros, IPv6 as RFC 4291 section 2.2 reads and RFC 5952 writes; IPv4-mapped IPv6 addresses and
 * zones are refused. Each refusal is an ipam_error whose message quotes the text and says what to write instead.
 */
#ifndef IPAM_ADDR_H
#define IPAM_ADDR_H

#include <stdbool.h>
#include <stdint.h>

#include <ipam/error.h>

#ifdef __cplusplus
extern "C" {
#endif
#pragma GCC visibility push(default)

enum ipam_family {
    IPAM_FAMILY_NONE = 0, /* no address */
    IPAM_IPV4 = 1,
    IPAM_IPV6 = 2,
};

/* 128 bits as two host-order halves; an IPv4 address sits in the low 32 bits of lo, hi is 0. All zero: no address. */
struct ipam_addr {
    uint64_t hi, lo;
    enum ipam_family family;
};

/* first <= last, one family, both inclusive. */
struct ipam_range {
    struct ipam_addr first, last;
};

struct ipam_cidr {
    struct ipam_addr network; /* host bits are zero */
    uint8_t length;           /* 0–32 or 0–128 */
};

#define IPAM_ADDR_TEXT_MAX   48 /* bytes that hold any address in CIDR notation with its NUL */
#define IPAM_RANGE_TEXT_MAX  96 /* bytes that hold any range "a-b" with its NUL */
#define IPAM_CIDR_USABLE_MAX 65536

/* Parsers return 0, or -1 with *reterr (reason INVALID_ADDRESS; a caller that reads a pool's fields puts its own reason). */
int ipam_addr_parse(const char *text, struct ipam_addr *ret, struct ipam_error *reterr); /* a, a/32 or a/128 */
int ipam_cidr_parse(const char *text, struct ipam_cidr *ret, struct ipam_error *reterr); /* a/n, host bits zero */
int ipam_addr_range_parse(const char *text, struct ipam_range *ret,
                          struct ipam_error *reterr); /* a, a/32, a/128 or a-b */
int ipam_exclusion_parse(const char *text, struct ipam_range *ret, struct ipam_error *reterr); /* the same, or a/n */

/* The addresses of a prefix that hosts can have: IPv4 /0–/30 without network and broadcast, /31 both (RFC 3021), /32 one,
 * IPv6 all. */
struct ipam_range ipam_cidr_hosts(const struct ipam_cidr *cidr);
/* The same, cut to the first IPAM_CIDR_USABLE_MAX, and then *ret_clipped (may be NULL) is true. That is what a pool has of
 * the prefix as long as it excludes nothing there: it leaves out what it excludes before it counts. */
struct ipam_range ipam_cidr_usable(const struct ipam_cidr *cidr, bool *ret_clipped);
struct ipam_range ipam_cidr_range(const struct ipam_cidr *cidr); /* all addresses of the prefix */

const char *ipam_addr_format(const struct ipam_addr *addr, char text[IPAM_ADDR_TEXT_MAX]);      /* 10.200.0.1 */
const char *ipam_addr_format_cidr(const struct ipam_addr *addr, char text[IPAM_ADDR_TEXT_MAX]); /* 10.200.0.1/32 */
const char *ipam_range_format(const struct ipam_range *range, char text[IPAM_RANGE_TEXT_MAX]);  /* a, or a-b */
const char *ipam_family_name(enum ipam_family family);                                          /* "ipv4", "ipv6", "" */

int ipam_addr_compare(const struct ipam_addr *a, const struct ipam_addr *b); /* IPv4 before IPv6, then numerically */
bool ipam_addr_equal(const struct ipam_addr *a, const struct ipam_addr *b);
bool ipam_range_contains(const struct ipam_range *range, const struct ipam_addr *addr);
struct ipam_addr ipam_addr_add(const struct ipam_addr *addr,
                               uint64_t n);               /* within the family; the caller keeps it there */
uint64_t ipam_range_size(const struct ipam_range *range); /* saturates at UINT64_MAX */

#pragma GCC visibility pop
#ifdef __cplusplus
}
#endif
#endif
