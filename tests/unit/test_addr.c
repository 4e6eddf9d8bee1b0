#include <arpa/inet.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

#include <ipam/addr.h>

#include "special.h"

#define ROUNDS 20000

/* ---- Fixture ---- */

static uint64_t random_state = 0x9e3779b97f4a7c15;

/* ---- Helpers ---- */

/* SplitMix64: the same numbers in every run. */
static uint64_t random_u64(void)
{
    uint64_t z = random_state += 0x9e3779b97f4a7c15;

    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9;
    z = (z ^ z >> 27) * 0x94d049bb133111eb;
    return z ^ z >> 31;
}

static struct ipam_addr random_ipv4(void)
{
    return (struct ipam_addr){.lo = random_u64() & UINT32_MAX, .family = IPAM_IPV4};
}

/* Zero groups are frequent, so that "::" falls anywhere; never IPv4-mapped. */
static struct ipam_addr random_ipv6(void)
{
    struct ipam_addr addr = {.family = IPAM_IPV6};
    uint64_t zeros = random_u64();

    for (int i = 0; i < 8; i++) {
        uint64_t group = zeros >> i & 1 ? 0 : random_u64() & (zeros >> (8 + i) & 1 ? 0xffff : 0xff);

        addr.hi = addr.hi << 16 | addr.lo >> 48;
        addr.lo = addr.lo << 16 | group;
    }
    if (addr.hi == 0 && addr.lo >> 32 == 0xffff)
        addr.hi = 1;
    return addr;
}

static struct in6_addr libc_ipv6(const struct ipam_addr *addr)
{
    struct in6_addr bytes;

    for (int i = 0; i < 8; i++) {
        bytes.s6_addr[i] = (uint8_t)(addr->hi >> (56 - 8 * i));
        bytes.s6_addr[8 + i] = (uint8_t)(addr->lo >> (56 - 8 * i));
    }
    return bytes;
}

static struct ipam_addr addr_of(const char *text)
{
    struct ipam_addr addr;
    struct ipam_error error;

    if (ipam_addr_parse(text, &addr, &error) < 0)
        fail_msg("%s", error.message);
    return addr;
}

static struct ipam_cidr cidr_of(const char *text)
{
    struct ipam_cidr cidr;
    struct ipam_error error;

    if (ipam_cidr_parse(text, &cidr, &error) < 0)
        fail_msg("%s", error.message);
    return cidr;
}

static void assert_round_trip(const struct ipam_addr *addr)
{
    char text[IPAM_ADDR_TEXT_MAX], again[IPAM_ADDR_TEXT_MAX];
    struct ipam_addr parsed;

    assert_int_equal(ipam_addr_parse(ipam_addr_format(addr, text), &parsed, NULL), 0);
    assert_true(ipam_addr_equal(addr, &parsed));
    assert_string_equal(ipam_addr_format(&parsed, again), text);
    assert_int_equal(ipam_addr_parse(ipam_addr_format_cidr(addr, text), &parsed, NULL), 0);
    assert_true(ipam_addr_equal(addr, &parsed));
}

/* A number of `bits` ones, 64 at most. */
static uint64_t ones(unsigned int bits)
{
    return bits >= 64 ? UINT64_MAX : (UINT64_C(1) << bits) - 1;
}

enum parser { ADDR, CIDR, RANGE, EXCLUSION };

static int parse(enum parser parser, const char *text, struct ipam_error *reterr)
{
    struct ipam_addr addr;
    struct ipam_cidr cidr;
    struct ipam_range range;

    switch (parser) {
    case ADDR:
        return ipam_addr_parse(text, &addr, reterr);
    case CIDR:
        return ipam_cidr_parse(text, &cidr, reterr);
    case RANGE:
        return ipam_addr_range_parse(text, &range, reterr);
    case EXCLUSION:
        break;
    }
    return ipam_exclusion_parse(text, &range, reterr);
}

/* ---- Tests ---- */

static void ipv4_text_round_trips(void **state)
{
    (void)state;
    for (int i = 0; i < ROUNDS; i++) {
        struct ipam_addr addr = random_ipv4();
        struct in_addr theirs = {.s_addr = htonl((uint32_t)addr.lo)};
        char text[IPAM_ADDR_TEXT_MAX], expected[INET_ADDRSTRLEN];

        assert_round_trip(&addr);
        assert_string_equal(ipam_addr_format(&addr, text), inet_ntop(AF_INET, &theirs, expected, sizeof(expected)));
    }
}

/* libc writes the addresses of ::/96 with a dotted tail, RFC 5952 does not: those are left to the
 * table below. */
static void ipv6_text_round_trips_and_is_written_as_libc_writes_it(void **state)
{
    (void)state;
    for (int i = 0; i < ROUNDS; i++) {
        struct ipam_addr addr = random_ipv6();
        struct in6_addr theirs = libc_ipv6(&addr);
        char text[IPAM_ADDR_TEXT_MAX], expected[INET6_ADDRSTRLEN];

        assert_round_trip(&addr);
        inet_ntop(AF_INET6, &theirs, expected, sizeof(expected));
        if (!strchr(expected, '.'))
            assert_string_equal(ipam_addr_format(&addr, text), expected);
    }
}

static void ipv6_is_written_as_rfc_5952_says(void **state)
{
    static const char *const table[][2] = {
        {"2001:0db8::0001", "2001:db8::1"},
        {"2001:db8:0:0:0:0:2:1", "2001:db8::2:1"},
        {"2001:db8:0:1:1:1:1:1", "2001:db8:0:1:1:1:1:1"},
        {"2001:0:0:1:0:0:0:1", "2001:0:0:1::1"},
        {"2001:db8:0:0:1:0:0:1", "2001:db8::1:0:0:1"},
        {"2001:DB8::ABCD", "2001:db8::abcd"},
        {"0:0:0:0:0:0:0:0", "::"},
        {"0::1", "::1"},
        {"1::", "1::"},
        {"::1.2.3.4", "::102:304"},
        {"64:ff9b::192.0.2.33", "64:ff9b::c000:221"},
        {"::1:0:0:0:0", "0:0:0:1::"},
    };
    char text[IPAM_ADDR_TEXT_MAX];

    (void)state;
    for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
        struct ipam_addr addr = addr_of(table[i][0]);

        assert_string_equal(ipam_addr_format(&addr, text), table[i][1]);
    }
}

static void longest_texts_fit_their_buffers(void **state)
{
    struct ipam_addr addr = addr_of("1111:1111:1111:1111:1111:1111:1111:1111");
    struct ipam_range range = {addr, ipam_addr_add(&addr, 1)};
    char text[IPAM_ADDR_TEXT_MAX], both[IPAM_RANGE_TEXT_MAX];

    (void)state;
    assert_string_equal(ipam_addr_format_cidr(&addr, text), "1111:1111:1111:1111:1111:1111:1111:1111/128");
    assert_string_equal(ipam_range_format(&range, both),
                        "1111:1111:1111:1111:1111:1111:1111:1111-1111:1111:1111:1111:1111:1111:1111:1112");
    addr = (struct ipam_addr){0};
    assert_string_equal(ipam_addr_format_cidr(&addr, text), "");
}

static void refusals_say_what_to_write_instead(void **state)
{
    static const struct {
        enum parser parser;
        const char *text, *message;
    } table[] = {
        {ADDR, "010.0.0.5", "\"010.0.0.5\" has leading zeros: write 10.0.0.5"},
        {ADDR, "10.00.0.5/32", "\"10.00.0.5\" has leading zeros: write 10.0.0.5"},
        {ADDR, "10.0.0.5/24", "\"10.0.0.5/24\" is a prefix: write 10.0.0.5/32 for one address"},
        {ADDR, "2001:db8::/64", "\"2001:db8::/64\" is a prefix: write 2001:db8::/128 for one address"},
        {ADDR, "::ffff:10.0.0.5", "\"::ffff:10.0.0.5\" is an IPv4-mapped IPv6 address: write 10.0.0.5"},
        {ADDR, "::ffff:a00:5/128", "\"::ffff:a00:5\" is an IPv4-mapped IPv6 address: write 10.0.0.5"},
        {ADDR, "fe80::1%eth0", "\"fe80::1%eth0\" has a zone: write \"fe80::1\""},
        {ADDR, "", "an address is empty: write it as 192.0.2.1 or 2001:db8::1"},
        {ADDR, "web", "\"web\" is not an address: write it as 192.0.2.1 or 2001:db8::1"},
        {ADDR, "10.0.0", "\"10.0.0\" is not an address: write it as 192.0.2.1 or 2001:db8::1"},
        {ADDR, " 10.0.0.1", "\" 10.0.0.1\" is not an address: write it as 192.0.2.1 or 2001:db8::1"},
        {ADDR, "10.0.0.1\n", "\"10.0.0.1\\x0A\" is not an address: write it as 192.0.2.1 or 2001:db8::1"},
        {ADDR, "10.0.0.256", "\"10.0.0.256\" is not an address: each of its four numbers is at most 255"},
        {ADDR, "10.0.0.1/33", "\"10.0.0.1/33\" has no prefix length from 0 to 32: write it as 10.0.0.0/24"},
        {CIDR, "10.0.0.5/24",
         "\"10.0.0.5/24\" has host bits set: write 10.0.0.0/24 for the range or 10.0.0.5/32 for "
         "the address"},
        {CIDR, "2001:db8::5/64",
         "\"2001:db8::5/64\" has host bits set: write 2001:db8::/64 for the range or "
         "2001:db8::5/128 for "
         "the address"},
        {CIDR, "10.0.0.5", "\"10.0.0.5\" has no prefix length: write 10.0.0.5/32 for one address"},
        {CIDR, "2001:db8::/129", "\"2001:db8::/129\" has no prefix length from 0 to 128: write it as 2001:db8::/64"},
        {RANGE, "10.0.0.9-10.0.0.1", "\"10.0.0.9-10.0.0.1\" is reversed: write 10.0.0.1-10.0.0.9"},
        {RANGE, "10.0.0.1-2001:db8::1", "\"10.0.0.1-2001:db8::1\" mixes IPv4 and IPv6: write one range for each"},
        {RANGE, "10.0.0.1/32-10.0.0.2/32",
         "\"10.0.0.1/32-10.0.0.2/32\" has a prefix length in a range: write it as "
         "10.0.0.1-10.0.0.9"},
        {RANGE, "10.0.0.1-5", "range \"10.0.0.1-5\": \"5\" is not an address: write it as 192.0.2.1 or 2001:db8::1"},
        {RANGE, "10.0.0.0/24", "\"10.0.0.0/24\" is a prefix: write 10.0.0.0/32 for one address"},
        {EXCLUSION, "10.0.0.5/24",
         "\"10.0.0.5/24\" has host bits set: write 10.0.0.0/24 for the range or 10.0.0.5/32 for "
         "the address"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
        struct ipam_error error = {0};

        assert_int_equal(parse(table[i].parser, table[i].text, &error), -1);
        assert_string_equal(error.message, table[i].message);
        assert_int_equal(error.reason, IPAM_REASON_INVALID_ADDRESS);
        assert_int_equal(error.status, IPAM_STATUS_INVALID_ARGUMENT);
    }
}

static void junk_is_refused_by_every_parser(void **state)
{
    static const char *const junk[] = {
        "",
        "/",
        "-",
        "/24",
        "10.0.0.1/",
        "10.0.0.1/ 24",
        "10.0.0.1/+8",
        "10.0.0.0/08",
        "1.2.3.4.5",
        "1..2.3",
        ".1.2.3",
        "1.2.3.",
        "+1.2.3.4",
        "1.2.3.-4",
        "0x1.2.3.4",
        "1.2.3.4/-1",
        "1.2.3.4/32/32",
        "1.2.3.4/4294967328",
        ":::",
        "1::2::3",
        "12345::",
        "1:2:3:4:5:6:7",
        "1:2:3:4:5:6:7:8:9",
        "::1.2.3.04",
        "[::1]",
        "::g",
        "10.0.0.1-",
        "-10.0.0.1",
        "10.0.0.1--10.0.0.2",
        "10.0.0.1-10.0.0.2-10.0.0.3",
        "10.0.0.1,10.0.0.2",
        "99999999999.0.0.1",
        "\xff\xfe",
        "fe80::1%",
    };

    (void)state;
    for (size_t i = 0; i < sizeof(junk) / sizeof(junk[0]); i++) {
        for (enum parser parser = ADDR; parser <= EXCLUSION; parser++) {
            struct ipam_error error = {0};

            if (parse(parser, junk[i], &error) == 0)
                fail_msg("parser %d takes \"%s\"", (int)parser, junk[i]);
            assert_int_equal(error.reason, IPAM_REASON_INVALID_ADDRESS);
            assert_int_equal(parse(parser, junk[i], NULL), -1);
        }
    }
}

/* Whatever is taken is taken by libc too, and means the same; random bytes near the grammar never
 * crash. */
static void random_text_is_read_as_libc_reads_it_or_refused(void **state)
{
    static const char alphabet[] = "0123456789abcf:::...../-%x";
    int taken = 0;

    (void)state;
    for (int i = 0; i < 20 * ROUNDS; i++) {
        char text[16];
        size_t size = random_u64() % sizeof(text);
        struct ipam_addr addr;

        for (size_t k = 0; k < size; k++)
            text[k] = alphabet[random_u64() % (sizeof(alphabet) - 1)];
        text[size] = '\0';
        for (enum parser parser = CIDR; parser <= EXCLUSION; parser++)
            parse(parser, text, NULL);
        if (strchr(text, '/') || ipam_addr_parse(text, &addr, NULL) < 0)
            continue;
        taken++;
        if (addr.family == IPAM_IPV4) {
            struct in_addr theirs;

            assert_int_equal(inet_pton(AF_INET, text, &theirs), 1);
            assert_int_equal(ntohl(theirs.s_addr), addr.lo);
        } else {
            struct in6_addr theirs, ours = libc_ipv6(&addr);

            assert_int_equal(inet_pton(AF_INET6, text, &theirs), 1);
            assert_memory_equal(&theirs, &ours, sizeof(ours));
        }
    }
    assert_true(taken > 50);
}

static void overlong_text_is_quoted_cut_and_printable(void **state)
{
    struct ipam_error error = {0};
    char text[5000];

    (void)state;
    memset(text, '1', sizeof(text) - 1);
    memcpy(text + 60, "€€", 6); /* the cut falls inside the second one */
    text[3] = '\t';
    text[sizeof(text) - 1] = '\0';
    for (enum parser parser = ADDR; parser <= EXCLUSION; parser++) {
        assert_int_equal(parse(parser, text, &error), -1);
        assert_non_null(strstr(error.message, "\"111\\x09111"));
        assert_non_null(strstr(error.message, "1€…\" is too long for an address"));
        assert_true(strlen(error.message) < 200);
    }
}

static void prefixes_have_the_usable_addresses_of_the_table(void **state)
{
    static const struct {
        const char *cidr;
        uint64_t usable;
        const char *range;
        bool clipped;
    } table[] = {
        {"10.200.0.0/32", 1, "10.200.0.0", false},
        {"10.200.0.0/31", 2, "10.200.0.0-10.200.0.1", false},
        {"10.200.0.0/30", 2, "10.200.0.1-10.200.0.2", false},
        {"10.200.0.0/28", 14, "10.200.0.1-10.200.0.14", false},
        {"10.200.0.0/24", 254, "10.200.0.1-10.200.0.254", false},
        {"10.200.0.0/20", 4094, "10.200.0.1-10.200.15.254", false},
        {"10.200.0.0/16", 65534, "10.200.0.1-10.200.255.254", false},
        {"10.200.0.0/15", 65536, "10.200.0.1-10.201.0.0", true},
        {"0.0.0.0/0", 65536, "0.0.0.1-0.1.0.0", true},
        {"2001:db8::/128", 1, "2001:db8::", false},
        {"2001:db8::/127", 2, "2001:db8::-2001:db8::1", false},
        {"2001:db8::/120", 256, "2001:db8::-2001:db8::ff", false},
        {"2001:db8::/112", 65536, "2001:db8::-2001:db8::ffff", false},
        {"2001:db8::/111", 65536, "2001:db8::-2001:db8::ffff", true},
        {"2001:db8::/64", 65536, "2001:db8::-2001:db8::ffff", true},
        {"::/0", 65536, "::-::ffff", true},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
        struct ipam_cidr cidr = cidr_of(table[i].cidr);
        bool clipped = !table[i].clipped;
        struct ipam_range range = ipam_cidr_usable(&cidr, &clipped);
        char text[IPAM_RANGE_TEXT_MAX];

        assert_int_equal(ipam_range_size(&range), table[i].usable);
        assert_string_equal(ipam_range_format(&range, text), table[i].range);
        assert_int_equal(clipped, table[i].clipped);
    }
}

static void hosts_of_a_prefix_are_not_cut(void **state)
{
    static const char *const table[][2] = {
        {"10.0.0.0/8", "10.0.0.1-10.255.255.254"},
        {"10.0.0.0/31", "10.0.0.0-10.0.0.1"},
        {"10.0.0.7/32", "10.0.0.7"},
        {"0.0.0.0/0", "0.0.0.1-255.255.255.254"},
        {"2001:db8::/64", "2001:db8::-2001:db8::ffff:ffff:ffff:ffff"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
        struct ipam_cidr cidr = cidr_of(table[i][0]);
        struct ipam_range hosts = ipam_cidr_hosts(&cidr);
        char text[IPAM_RANGE_TEXT_MAX];

        assert_string_equal(ipam_range_format(&hosts, text), table[i][1]);
    }
}

static void special_ranges_read_as_they_are_written(void **state)
{
    (void)state;
    for (size_t i = 0; i < SPECIAL_RANGES; i++) {
        const struct special_range *row = &special_ranges[i];
        struct ipam_addr first = addr_make(row->family, row->span.first), last = addr_make(row->family, row->span.last);
        struct ipam_range range;

        assert_ptr_equal(special_range_find(&first), row);
        assert_ptr_equal(special_range_find(&last), row);
        if (i > 0 && special_ranges[i - 1].family == row->family)
            assert_true(special_ranges[i - 1].span.last < row->span.first);
        if (ipam_exclusion_parse(row->text, &range, NULL) < 0)
            continue; /* IPv4-mapped, which no text may name */
        assert_true(ipam_addr_equal(&range.first, &first));
        /* 255.255.255.255 has a row of its own. */
        assert_true(addr_number(&range.last) - row->span.last <= (strcmp(row->text, "240.0.0.0/4") == 0));
    }
}

/* The page shows the table. */
static void special_ranges_are_those_of_the_documentation(void **state)
{
    char line[512], all[16384] = "";
    FILE *page = fopen(TEST_DOCS "/operations.md", "r");

    (void)state;
    assert_non_null(page);
    while (fgets(line, sizeof(line), page))
        if (strncmp(line, "| `", 3) == 0 && strlen(all) + strlen(line) < sizeof(all))
            strcat(all, line);
    fclose(page);
    for (size_t i = 0; i < SPECIAL_RANGES; i++) {
        const struct special_range *row = &special_ranges[i];

        snprintf(line, sizeof(line), "| `%s` | %s | %s | %s |\n", row->text, row->what, row->source,
                 row->refused ? "refused" : "warned of");
        if (!strstr(all, line))
            fail_msg("docs/operations.md lacks the line %s", line);
    }
}

/* Every length of both families: the range has 2^bits addresses, its ends differ in the host bits
 * alone. */
static void every_prefix_length_round_trips(void **state)
{
    (void)state;
    for (unsigned int n = 0; n <= 32 + 1 + 128; n++) {
        enum ipam_family family = n <= 32 ? IPAM_IPV4 : IPAM_IPV6;
        unsigned int length = n <= 32 ? n : n - 33;
        unsigned int bits = (family == IPAM_IPV4 ? 32 : 128) - length;
        struct ipam_cidr cidr = {.network = {.family = family}, .length = (uint8_t)length};
        char text[IPAM_ADDR_TEXT_MAX], whole[IPAM_ADDR_TEXT_MAX + 8];
        struct ipam_range range, again;

        cidr.network = family == IPAM_IPV4 ? random_ipv4() : random_ipv6();
        cidr.network.lo = bits >= 64 ? 0 : cidr.network.lo >> bits << bits;
        cidr.network.hi = bits >= 128 ? 0 : bits > 64 ? cidr.network.hi >> (bits - 64) << (bits - 64) : cidr.network.hi;
        snprintf(whole, sizeof(whole), "%s/%u", ipam_addr_format(&cidr.network, text), length);
        range = ipam_cidr_range(&cidr);
        assert_int_equal(ipam_range_size(&range), bits >= 64 ? UINT64_MAX : UINT64_C(1) << bits);
        assert_int_equal(range.last.lo - range.first.lo, ones(bits));
        assert_int_equal(range.last.hi - range.first.hi, bits > 64 ? ones(bits - 64) : 0);
        assert_int_equal(ipam_exclusion_parse(whole, &again, NULL), 0);
        assert_true(ipam_addr_equal(&again.first, &cidr.network));
        assert_true(ipam_addr_equal(&again.last, &range.last));
        assert_true(ipam_range_contains(&range, &range.last));
    }
}

static void ranges_round_trip(void **state)
{
    (void)state;
    for (int i = 0; i < ROUNDS; i++) {
        struct ipam_range range, again;
        char text[IPAM_RANGE_TEXT_MAX];

        range.first = i % 2 ? random_ipv4() : random_ipv6();
        range.first.lo &= UINT64_MAX >> 33;
        range.last = ipam_addr_add(&range.first, random_u64() % (i % 3 ? 1000 : 1));
        assert_int_equal(ipam_addr_range_parse(ipam_range_format(&range, text), &again, NULL), 0);
        assert_true(ipam_addr_equal(&range.first, &again.first));
        assert_true(ipam_addr_equal(&range.last, &again.last));
        assert_int_equal(ipam_exclusion_parse(text, &again, NULL), 0);
        assert_true(ipam_addr_equal(&range.last, &again.last));
    }
}

static void addition_carries_into_the_upper_half(void **state)
{
    struct ipam_addr addr = addr_of("2001:db8:0:0:ffff:ffff:ffff:ffff");
    struct ipam_addr next = addr_of("2001:db8:0:1::4");
    struct ipam_addr sum = ipam_addr_add(&addr, 5);
    struct ipam_range range = {addr, next};

    (void)state;
    assert_true(ipam_addr_equal(&sum, &next));
    assert_int_equal(ipam_range_size(&range), 6);
}

static void addresses_order_by_family_then_number(void **state)
{
    static const char *const sorted[] = {"0.0.0.0", "10.200.0.2", "10.200.0.10", "255.255.255.255",
                                         "::",      "::1",        "::1:0:0:0:0", "2001:db8::"};
    size_t count = sizeof(sorted) / sizeof(sorted[0]);

    (void)state;
    for (size_t i = 0; i < count; i++) {
        for (size_t k = 0; k < count; k++) {
            struct ipam_addr a = addr_of(sorted[i]), b = addr_of(sorted[k]);
            int order = ipam_addr_compare(&a, &b);

            assert_int_equal((order > 0) - (order < 0), (i > k) - (i < k));
            assert_int_equal(ipam_addr_equal(&a, &b), i == k);
        }
    }
    assert_string_equal(ipam_family_name(IPAM_IPV4), "ipv4");
    assert_string_equal(ipam_family_name(IPAM_IPV6), "ipv6");
    assert_string_equal(ipam_family_name(IPAM_FAMILY_NONE), "");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(ipv4_text_round_trips),
        cmocka_unit_test(ipv6_text_round_trips_and_is_written_as_libc_writes_it),
        cmocka_unit_test(ipv6_is_written_as_rfc_5952_says),
        cmocka_unit_test(longest_texts_fit_their_buffers),
        cmocka_unit_test(refusals_say_what_to_write_instead),
        cmocka_unit_test(junk_is_refused_by_every_parser),
        cmocka_unit_test(random_text_is_read_as_libc_reads_it_or_refused),
        cmocka_unit_test(overlong_text_is_quoted_cut_and_printable),
        cmocka_unit_test(prefixes_have_the_usable_addresses_of_the_table),
        cmocka_unit_test(hosts_of_a_prefix_are_not_cut),
        cmocka_unit_test(special_ranges_read_as_they_are_written),
        cmocka_unit_test(special_ranges_are_those_of_the_documentation),
        cmocka_unit_test(every_prefix_length_round_trips),
        cmocka_unit_test(ranges_round_trip),
        cmocka_unit_test(addition_carries_into_the_upper_half),
        cmocka_unit_test(addresses_order_by_family_then_number),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
