#include "special.h"

#define V4(address) ((addr_value)(address))
#define V6(hi, lo)  ((addr_value)(hi) << 64 | (lo))
#define LOW_64      UINT64_MAX

const struct special_range special_ranges[SPECIAL_RANGES] = {
    {IPAM_IPV4, {V4(0x00000000), V4(0x00ffffff)}, "0.0.0.0/8", "\"this network\"", "RFC 791", true},
    {IPAM_IPV4, {V4(0x7f000000), V4(0x7fffffff)}, "127.0.0.0/8", "loopback", "RFC 1122", true},
    {IPAM_IPV4, {V4(0xa9fe0000), V4(0xa9feffff)}, "169.254.0.0/16", "link-local", "RFC 3927", false},
    {IPAM_IPV4, {V4(0xe0000000), V4(0xefffffff)}, "224.0.0.0/4", "multicast", "RFC 5771", true},
    {IPAM_IPV4, {V4(0xf0000000), V4(0xfffffffe)}, "240.0.0.0/4", "reserved for future use", "RFC 1112", false},
    {IPAM_IPV4, {V4(0xffffffff), V4(0xffffffff)}, "255.255.255.255", "limited broadcast", "RFC 919", true},
    {IPAM_IPV6, {V6(0, 0), V6(0, 0)}, "::", "the unspecified address", "RFC 4291", true},
    {IPAM_IPV6, {V6(0, 1), V6(0, 1)}, "::1", "loopback", "RFC 4291", true},
    {IPAM_IPV6,
     {V6(0, UINT64_C(0xffff00000000)), V6(0, UINT64_C(0xffffffffffff))},
     "::ffff:0:0/96",
     "IPv4-mapped",
     "RFC 4291",
     true},
    {IPAM_IPV6,
     {V6(UINT64_C(0xfe80) << 48, 0), V6(UINT64_C(0xfebfffffffffffff), LOW_64)},
     "fe80::/10",
     "link-local",
     "RFC 4291",
     false},
    {IPAM_IPV6, {V6(UINT64_C(0xff) << 56, 0), V6(LOW_64, LOW_64)}, "ff00::/8", "multicast", "RFC 4291", true},
};

const struct special_range *special_range_find(const struct ipam_addr *addr)
{
    addr_value number = addr_number(addr);

    for (size_t i = 0; i < SPECIAL_RANGES; i++) {
        const struct special_range *row = &special_ranges[i];

        if (row->family == addr->family && row->span.first <= number && number <= row->span.last)
            return row;
    }
    return NULL;
}

struct spans special_ranges_refused(unsigned int family)
{
    struct spans refused = {0};

    for (size_t i = 0; i < SPECIAL_RANGES; i++)
        if (special_ranges[i].refused && family_index(special_ranges[i].family) == family)
            spans_add(&refused, special_ranges[i].span.first, special_ranges[i].span.last);
    return refused;
}
