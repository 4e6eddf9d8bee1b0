#include <arpa/inet.h>
#include <stdio.h>
#include <string.h>

#include <ipam/addr.h>

#define TEXT_MAX  128 /* longer text is no address, whatever it says */
#define QUOTE_MAX 64  /* bytes of a text that a message quotes */

/* ---- Values ---- */

static unsigned int family_bits(enum ipam_family family)
{
    return family == IPAM_IPV4 ? 32 : 128;
}

const char *ipam_family_name(enum ipam_family family)
{
    static const char *const names[] = {[IPAM_FAMILY_NONE] = "", [IPAM_IPV4] = "ipv4", [IPAM_IPV6] = "ipv6"};
    size_t i = (size_t)family;

    return names[i < sizeof(names) / sizeof(names[0]) ? i : IPAM_FAMILY_NONE];
}

static int compare_u64(uint64_t a, uint64_t b)
{
    return (a > b) - (a < b);
}

int ipam_addr_compare(const struct ipam_addr *a, const struct ipam_addr *b)
{
    int order = compare_u64(a->family, b->family);

    if (order == 0)
        order = compare_u64(a->hi, b->hi);
    return order ? order : compare_u64(a->lo, b->lo);
}

bool ipam_addr_equal(const struct ipam_addr *a, const struct ipam_addr *b)
{
    return ipam_addr_compare(a, b) == 0;
}

bool ipam_range_contains(const struct ipam_range *range, const struct ipam_addr *addr)
{
    return ipam_addr_compare(&range->first, addr) <= 0 && ipam_addr_compare(addr, &range->last) <= 0;
}

struct ipam_addr ipam_addr_add(const struct ipam_addr *addr, uint64_t n)
{
    struct ipam_addr sum = *addr;

    sum.lo += n;
    sum.hi += sum.lo < n;
    return sum;
}

uint64_t ipam_range_size(const struct ipam_range *range)
{
    uint64_t hi = range->last.hi - range->first.hi - (range->last.lo < range->first.lo);
    uint64_t lo = range->last.lo - range->first.lo;

    return hi > 0 || lo == UINT64_MAX ? UINT64_MAX : lo + 1;
}

/* ---- Prefixes ---- */

/* The host bits of a prefix, all set, as the two halves of an address. */
static struct ipam_addr host_mask(enum ipam_family family, unsigned int length)
{
    unsigned int bits = family_bits(family) - length;
    struct ipam_addr mask = {.family = family};

    mask.lo = bits >= 64 ? UINT64_MAX : (UINT64_C(1) << bits) - 1;
    if (bits > 64)
        mask.hi = bits >= 128 ? UINT64_MAX : (UINT64_C(1) << (bits - 64)) - 1;
    return mask;
}

struct ipam_range ipam_cidr_range(const struct ipam_cidr *cidr)
{
    struct ipam_addr mask = host_mask(cidr->network.family, cidr->length);
    struct ipam_range range = {.first = cidr->network, .last = cidr->network};

    range.last.hi |= mask.hi;
    range.last.lo |= mask.lo;
    return range;
}

struct ipam_range ipam_cidr_hosts(const struct ipam_cidr *cidr)
{
    struct ipam_range range = ipam_cidr_range(cidr);

    /* RFC 3021: both addresses of a /31 are usable; a /32 is one address. IPv6 has no broadcast. */
    if (cidr->network.family == IPAM_IPV4 && cidr->length <= 30) {
        range.first.lo++;
        range.last.lo--;
    }
    return range;
}

struct ipam_range ipam_cidr_usable(const struct ipam_cidr *cidr, bool *ret_clipped)
{
    struct ipam_range range = ipam_cidr_hosts(cidr);
    bool clipped;

    clipped = ipam_range_size(&range) > IPAM_CIDR_USABLE_MAX;
    if (clipped)
        range.last = ipam_addr_add(&range.first, IPAM_CIDR_USABLE_MAX - 1);
    if (ret_clipped)
        *ret_clipped = clipped;
    return range;
}

/* ---- Formatting ---- */

/* Not sprintf, which would be most of the cost of an answer's text. */
static char *put_number(char *out, unsigned int value, unsigned int base)
{
    char reversed[8];
    int count = 0;

    do {
        reversed[count++] = "0123456789abcdef"[value % base];
        value /= base;
    } while (value > 0);
    while (count > 0)
        *out++ = reversed[--count];
    *out = '\0';
    return out;
}

static char *format_ipv4(uint64_t value, char *out)
{
    for (int shift = 24; shift >= 0; shift -= 8) {
        out = put_number(out, (unsigned int)(value >> shift) & 255, 10);
        if (shift > 0)
            *out++ = '.';
    }
    return out;
}

static unsigned int group_of(const struct ipam_addr *addr, int i)
{
    uint64_t half = i < 4 ? addr->hi : addr->lo;

    return (unsigned int)(half >> (48 - 16 * (i % 4))) & 0xffff;
}

/* RFC 5952 section 4.2: "::" stands for the longest run of zero groups, the first of equals, never
 * for one group. */
static int longest_zeros(const struct ipam_addr *addr, int *ret_start)
{
    int best = 1, run = 0;

    *ret_start = -1;
    for (int i = 0; i < 8; i++) {
        run = group_of(addr, i) ? 0 : run + 1;
        if (run > best) {
            best = run;
            *ret_start = i - run + 1;
        }
    }
    return *ret_start < 0 ? 0 : best;
}

/* Not inet_ntop, which writes every address of ::/96 with a dotted tail. */
static char *format_ipv6(const struct ipam_addr *addr, char *out)
{
    int start, zeros = longest_zeros(addr, &start);

    for (int i = 0; i < 8; i++) {
        if (i == start) {
            *out++ = ':';
            *out++ = ':';
            i += zeros - 1;
            continue;
        }
        if (i > 0 && i != start + zeros)
            *out++ = ':';
        out = put_number(out, group_of(addr, i), 16);
    }
    *out = '\0';
    return out;
}

static char *format_end(const struct ipam_addr *addr, char *text)
{
    text[0] = '\0';
    if (addr->family == IPAM_IPV4)
        return format_ipv4(addr->lo, text);
    return addr->family == IPAM_IPV6 ? format_ipv6(addr, text) : text;
}

const char *ipam_addr_format(const struct ipam_addr *addr, char text[IPAM_ADDR_TEXT_MAX])
{
    format_end(addr, text);
    return text;
}

const char *ipam_addr_format_cidr(const struct ipam_addr *addr, char text[IPAM_ADDR_TEXT_MAX])
{
    char *end = format_end(addr, text);

    if (addr->family != IPAM_FAMILY_NONE) {
        *end++ = '/';
        put_number(end, family_bits(addr->family), 10);
    }
    return text;
}

const char *ipam_range_format(const struct ipam_range *range, char text[IPAM_RANGE_TEXT_MAX])
{
    char *end = format_end(&range->first, text);

    if (!ipam_addr_equal(&range->first, &range->last)) {
        *end++ = '-';
        format_end(&range->last, end);
    }
    return text;
}

/* ---- Parsing ---- */

struct quote {
    char text[QUOTE_MAX + 8];
};

/* `size` bytes of text between quotation marks, cut at a character boundary. Errors make it
 * printable. */
static const char *quote(const char *text, size_t size, struct quote *out)
{
    size_t cut = size;

    if (cut > QUOTE_MAX) {
        cut = QUOTE_MAX;
        while (cut > 0 && ((unsigned char)text[cut] & 0xc0) == 0x80)
            cut--;
    }
    snprintf(out->text, sizeof(out->text), "\"%.*s%s\"", (int)cut, text, cut < size ? "…" : "");
    return out->text;
}

/* A piece of the text being read, and the whole of it for messages. */
struct piece {
    const char *text;
    size_t size;
    struct ipam_error *reterr;
};

static int refuse(const struct piece *piece, const char *what)
{
    struct quote quoted;

    return ipam_error_set(piece->reterr, IPAM_REASON_INVALID_ADDRESS, "%s %s", quote(piece->text, piece->size, &quoted),
                          what);
}

static int refuse_junk(const struct piece *piece)
{
    return refuse(piece, "is not an address: write it as 192.0.2.1 or 2001:db8::1");
}

static int refuse_zeros(const struct piece *piece, const struct ipam_addr *meant)
{
    char text[IPAM_ADDR_TEXT_MAX], what[128];

    snprintf(what, sizeof(what), "has leading zeros: write %s", ipam_addr_format(meant, text));
    return refuse(piece, what);
}

/* Up to `most` decimal digits at *at; their number of digits, 0 when there is none or one too many.
 */
static size_t read_digits(const char **at, const char *end, size_t most, unsigned int *ret)
{
    const char *start = *at;

    *ret = 0;
    while (*at < end && **at >= '0' && **at <= '9') {
        if ((size_t)(*at - start) == most)
            return 0;
        *ret = *ret * 10 + (unsigned int)(**at - '0');
        (*at)++;
    }
    return (size_t)(*at - start);
}

static int parse_ipv4(const struct piece *piece, struct ipam_addr *ret)
{
    const char *at = piece->text, *end = piece->text + piece->size;
    struct ipam_addr addr = {.family = IPAM_IPV4};
    bool zeros = false;

    for (int i = 0; i < 4; i++) {
        const char *start;
        unsigned int octet;
        size_t digits;

        if (i > 0 && (at == end || *at++ != '.'))
            return refuse_junk(piece);
        start = at;
        digits = read_digits(&at, end, 8, &octet);
        if (digits == 0)
            return refuse_junk(piece);
        if (octet > 255)
            return refuse(piece, "is not an address: each of its four numbers is at most 255");
        zeros |= digits > 1 && *start == '0';
        addr.lo = addr.lo << 8 | octet;
    }
    if (at != end)
        return refuse_junk(piece);
    /* Some readers take them for octal, so the same text would mean two addresses. */
    if (zeros)
        return refuse_zeros(piece, &addr);
    *ret = addr;
    return 0;
}

static int refuse_mapped(const struct piece *piece, uint64_t lo)
{
    struct ipam_addr addr = {.family = IPAM_IPV4, .lo = lo & UINT32_MAX};
    char text[IPAM_ADDR_TEXT_MAX], what[128];

    snprintf(what, sizeof(what), "is an IPv4-mapped IPv6 address: write %s", ipam_addr_format(&addr, text));
    return refuse(piece, what);
}

static int parse_ipv6(const struct piece *piece, struct ipam_addr *ret)
{
    struct ipam_addr addr = {.family = IPAM_IPV6};
    char text[TEXT_MAX + 1];
    uint8_t bytes[16];

    memcpy(text, piece->text, piece->size);
    text[piece->size] = '\0';
    if (inet_pton(AF_INET6, text, bytes) != 1)
        return refuse_junk(piece);
    for (int i = 0; i < 8; i++) {
        addr.hi = addr.hi << 8 | bytes[i];
        addr.lo = addr.lo << 8 | bytes[8 + i];
    }
    if (addr.hi == 0 && addr.lo >> 32 == 0xffff)
        return refuse_mapped(piece, addr.lo);
    *ret = addr;
    return 0;
}

static int refuse_zone(const struct piece *piece, const char *percent)
{
    struct quote bare;
    char what[2 * QUOTE_MAX];

    snprintf(what, sizeof(what), "has a zone: write %s", quote(piece->text, (size_t)(percent - piece->text), &bare));
    return refuse(piece, what);
}

/* An address and nothing else. */
static int parse_bare(const struct piece *piece, struct ipam_addr *ret)
{
    const char *percent = memchr(piece->text, '%', piece->size);

    if (piece->size == 0)
        return ipam_error_set(piece->reterr, IPAM_REASON_INVALID_ADDRESS,
                              "an address is empty: write it as 192.0.2.1 or 2001:db8::1");
    if (piece->size > TEXT_MAX)
        return refuse(piece, "is too long for an address: write it as 192.0.2.1 or 2001:db8::1");
    if (percent)
        return refuse_zone(piece, percent);
    return memchr(piece->text, ':', piece->size) ? parse_ipv6(piece, ret) : parse_ipv4(piece, ret);
}

/* "a" or "a/n". *ret_length is the family's full length and *ret_slash false when there is no "/n".
 */
static int parse_prefix(const struct piece *piece, struct ipam_addr *ret, unsigned int *ret_length, bool *ret_slash)
{
    const char *end = piece->text + piece->size;
    const char *slash = memchr(piece->text, '/', piece->size);
    struct piece bare = *piece;
    struct ipam_addr addr;

    if (slash)
        bare.size = (size_t)(slash - piece->text);
    if (parse_bare(&bare, &addr) < 0)
        return -1;
    *ret_length = family_bits(addr.family);
    *ret_slash = slash != NULL;
    if (slash) {
        const char *at = slash + 1;
        size_t digits = read_digits(&at, end, 3, ret_length);

        if (digits == 0 || at != end || (digits > 1 && slash[1] == '0') || *ret_length > family_bits(addr.family))
            return refuse(piece, addr.family == IPAM_IPV4
                                     ? "has no prefix length from 0 to 32: write it as 10.0.0.0/24"
                                     : "has no prefix length from 0 to 128: write it as 2001:db8::/64");
    }
    *ret = addr;
    return 0;
}

static int parse_address(const struct piece *piece, struct ipam_addr *ret)
{
    char text[IPAM_ADDR_TEXT_MAX], what[128];
    struct ipam_addr addr;
    unsigned int length;
    bool slash;

    if (parse_prefix(piece, &addr, &length, &slash) < 0)
        return -1;
    if (length != family_bits(addr.family)) {
        snprintf(what, sizeof(what), "is a prefix: write %s for one address", ipam_addr_format_cidr(&addr, text));
        return refuse(piece, what);
    }
    *ret = addr;
    return 0;
}

static int parse_cidr(const struct piece *piece, struct ipam_cidr *ret)
{
    char text[IPAM_ADDR_TEXT_MAX], network[IPAM_ADDR_TEXT_MAX], what[192];
    struct ipam_addr addr, mask, masked;
    unsigned int length;
    bool slash;

    if (parse_prefix(piece, &addr, &length, &slash) < 0)
        return -1;
    ipam_addr_format_cidr(&addr, text);
    if (!slash) {
        snprintf(what, sizeof(what), "has no prefix length: write %s for one address", text);
        return refuse(piece, what);
    }
    mask = host_mask(addr.family, length);
    masked = (struct ipam_addr){addr.hi & ~mask.hi, addr.lo & ~mask.lo, addr.family};
    if (!ipam_addr_equal(&addr, &masked)) {
        snprintf(what, sizeof(what), "has host bits set: write %s/%u for the range or %s for the address",
                 ipam_addr_format(&masked, network), length, text);
        return refuse(piece, what);
    }
    *ret = (struct ipam_cidr){.network = addr, .length = (uint8_t)length};
    return 0;
}

/* "a-b", with `dash` pointing into it. */
static int parse_range(const struct piece *piece, const char *dash, struct ipam_range *ret)
{
    struct piece first = {piece->text, (size_t)(dash - piece->text), piece->reterr};
    struct piece last = {dash + 1, piece->size - first.size - 1, piece->reterr};
    char text[IPAM_RANGE_TEXT_MAX], what[160];
    struct ipam_range range;

    if (memchr(piece->text, '/', piece->size))
        return refuse(piece, "has a prefix length in a range: write it as 10.0.0.1-10.0.0.9");
    if (parse_bare(&first, &range.first) < 0 || parse_bare(&last, &range.last) < 0)
        return ipam_error_prefix(piece->reterr, "range \"%.*s\"",
                                 piece->size > QUOTE_MAX ? QUOTE_MAX : (int)piece->size, piece->text);
    if (range.first.family != range.last.family)
        return refuse(piece, "mixes IPv4 and IPv6: write one range for each");
    if (ipam_addr_compare(&range.first, &range.last) > 0) {
        struct ipam_range turned = {range.last, range.first};

        snprintf(what, sizeof(what), "is reversed: write %s", ipam_range_format(&turned, text));
        return refuse(piece, what);
    }
    *ret = range;
    return 0;
}

static struct piece piece_of(const char *text, struct ipam_error *reterr)
{
    return (struct piece){text, strlen(text), reterr};
}

int ipam_addr_parse(const char *text, struct ipam_addr *ret, struct ipam_error *reterr)
{
    struct piece piece = piece_of(text, reterr);

    return parse_address(&piece, ret);
}

int ipam_cidr_parse(const char *text, struct ipam_cidr *ret, struct ipam_error *reterr)
{
    struct piece piece = piece_of(text, reterr);

    return parse_cidr(&piece, ret);
}

int ipam_addr_range_parse(const char *text, struct ipam_range *ret, struct ipam_error *reterr)
{
    struct piece piece = piece_of(text, reterr);
    const char *dash = strchr(text, '-');
    struct ipam_addr addr;

    if (dash)
        return parse_range(&piece, dash, ret);
    if (parse_address(&piece, &addr) < 0)
        return -1;
    *ret = (struct ipam_range){addr, addr};
    return 0;
}

int ipam_exclusion_parse(const char *text, struct ipam_range *ret, struct ipam_error *reterr)
{
    struct piece piece = piece_of(text, reterr);
    struct ipam_cidr cidr;

    if (!strchr(text, '/') || strchr(text, '-'))
        return ipam_addr_range_parse(text, ret, reterr);
    if (parse_cidr(&piece, &cidr) < 0)
        return -1;
    *ret = ipam_cidr_range(&cidr);
    return 0;
}
