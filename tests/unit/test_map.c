/* A pool as cells and as a picture: what is drawn where, and that it reads at any width, without colour and in ASCII. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "map_draw.h"
#include "text.h"

/* ---- Fixture -------------------------------------------------------------------------------------------------------- */

#define MOST 300

struct fixture {
    struct arena arena;
    Ipam__V1__Pool pool;
    Ipam__V1__PoolSpec spec;
    char *cidrs[4], *addresses[MOST], *excluded[4];
    Ipam__V1__Claim claims[MOST];
    const Ipam__V1__Claim *rows[MOST];
    size_t n_claims;
    struct terminal terminal;
    struct map map;
    char *text;
};

static int setup(void **state)
{
    struct fixture *fixture = calloc(1, sizeof(*fixture));

    arena_init(&fixture->arena);
    ipam__v1__pool__init(&fixture->pool);
    ipam__v1__pool_spec__init(&fixture->spec);
    fixture->pool.spec = &fixture->spec;
    fixture->pool.state = IPAM__V1__POOL_STATE__READY;
    fixture->spec.name = "p";
    fixture->spec.cidrs = fixture->cidrs;
    fixture->spec.addresses = fixture->addresses;
    fixture->spec.excluded = fixture->excluded;
    fixture->terminal = (struct terminal){.columns = 80};
    *state = fixture;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *fixture = *state;
    free(fixture->text);
    arena_done(&fixture->arena);
    free(fixture);
    return 0;
}

/* ---- Helpers -------------------------------------------------------------------------------------------------------- */

static void add_cidr(struct fixture *fixture, const char *text)
{
    fixture->cidrs[fixture->spec.n_cidrs++] = (char *)(uintptr_t)text;
}

static void add_address(struct fixture *fixture, const char *text)
{
    fixture->addresses[fixture->spec.n_addresses++] = (char *)(uintptr_t)text;
}

static void exclude(struct fixture *fixture, const char *text)
{
    fixture->excluded[fixture->spec.n_excluded++] = (char *)(uintptr_t)text;
}

static void claim(struct fixture *fixture, const char *address, const char *pool, Ipam__V1__ClaimState state)
{
    Ipam__V1__Claim *claim = &fixture->claims[fixture->n_claims];

    ipam__v1__claim__init(claim);
    claim->address = (char *)(uintptr_t)address;
    claim->pool = (char *)(uintptr_t)pool;
    claim->state = state;
    fixture->rows[fixture->n_claims++] = claim;
}

static void hold(struct fixture *fixture, const char *address)
{
    claim(fixture, address, "p", IPAM__V1__CLAIM_STATE__BOUND);
}

static void make(struct fixture *fixture)
{
    struct ipam_error error;
    assert_int_equal(map_make(&fixture->arena, &fixture->pool, fixture->rows, fixture->n_claims, &fixture->map, &error),
                     0);
}

static const char *draw(struct fixture *fixture)
{
    size_t size;

    free(fixture->text);
    fixture->text = NULL;
    make(fixture);
    FILE *out = open_memstream(&fixture->text, &size);
    map_draw(out, &fixture->arena, &fixture->map, &fixture->terminal);
    fclose(out);
    return fixture->text;
}

static size_t widest_line(const char *text)
{
    size_t widest = 0;

    for (const char *end; *text != '\0'; text = end + (*end == '\n')) {
        char line[512];
        end = text + strcspn(text, "\n");
        snprintf(line, sizeof(line), "%.*s", (int)(end - text), text);
        widest = text_width(line) > widest ? text_width(line) : widest;
    }
    return widest;
}

/* ---- Tests ---------------------------------------------------------------------------------------------------------- */

static void every_state_has_a_character_of_its_own(void **state)
{
    struct fixture *fixture = *state;

    add_cidr(fixture, "10.0.0.0/28");
    exclude(fixture, "10.0.0.5-10.0.0.6");
    hold(fixture, "10.0.0.1/32");
    claim(fixture, "10.0.0.2/32", "", IPAM__V1__CLAIM_STATE__BOUND);
    claim(fixture, "10.0.0.3/32", "p", IPAM__V1__CLAIM_STATE__COOLING);
    hold(fixture, "10.0.0.6/32"); /* excluded since */
    assert_string_equal(draw(fixture), "p  READY\n\n"
                                       "10.0.0.0/28  9 of 12 free\n"
                                       "          +0              +8\n"
                                       "10.0.0.0  - # M o . x ! . . . . . . . . -\n\n"
                                       ". free 9  # held 1  M manual 1  o cooling 1  x excluded 1  - reserved 2\n"
                                       "! orphaned 1\n");
}

static void claims_of_other_pools_and_waiting_ones_are_not_drawn(void **state)
{
    struct fixture *fixture = *state;

    add_cidr(fixture, "10.0.0.0/30");
    claim(fixture, "", "p", IPAM__V1__CLAIM_STATE__WAITING);
    hold(fixture, "10.9.9.9/32");
    make(fixture);
    assert_int_equal(fixture->map.counts[MAP_FREE], 2);
    assert_int_equal(fixture->map.orphaned_elsewhere, 1);
}

static void address_that_two_entries_have_is_drawn_once(void **state)
{
    struct fixture *fixture = *state;

    add_cidr(fixture, "10.0.0.0/30");
    add_cidr(fixture, "10.0.0.0/29");
    add_address(fixture, "10.0.0.2");
    hold(fixture, "10.0.0.1/32");
    make(fixture);
    assert_int_equal(fixture->map.counts[MAP_HELD], 1);
    assert_int_equal(fixture->map.counts[MAP_FREE], 5);
}

/* 10.0.0.0 is the network of the CIDR and yet an address of the pool. */
static void explicit_network_address_is_held_and_not_orphaned(void **state)
{
    struct fixture *fixture = *state;

    add_cidr(fixture, "10.0.0.0/30");
    add_address(fixture, "10.0.0.0");
    hold(fixture, "10.0.0.0/32");
    make(fixture);
    assert_int_equal(fixture->map.counts[MAP_HELD], 1);
    assert_int_equal(fixture->map.counts[MAP_ORPHANED], 0);
}

static void single_addresses_stand_together_and_large_ranges_alone(void **state)
{
    struct fixture *fixture = *state;

    add_address(fixture, "10.0.1.7");
    add_address(fixture, "10.0.1.6");
    add_address(fixture, "10.0.2.200");
    add_address(fixture, "10.0.3.0-10.0.3.40");
    make(fixture);
    assert_int_equal(fixture->map.n_blocks, 2);
    assert_string_equal(fixture->map.blocks[0].heading, "10.0.3.0-10.0.3.40");
    assert_string_equal(fixture->map.blocks[1].heading, "addresses");
    assert_int_equal(fixture->map.blocks[1].n_spans, 2); /* .6 and .7 are neighbours */
}

static void block_of_256_is_drawn_by_address_and_a_larger_one_shaded(void **state)
{
    struct fixture *fixture = *state;

    add_cidr(fixture, "10.0.0.0/24");
    add_cidr(fixture, "10.1.0.0/16");
    add_cidr(fixture, "10.2.0.0/23");
    make(fixture);
    assert_int_equal(fixture->map.blocks[0].per_cell, 1);
    assert_int_equal(fixture->map.blocks[1].per_cell, 256);
    assert_int_equal(fixture->map.blocks[2].per_cell, 2);
}

static void shade_tells_none_some_and_all(void **state)
{
    static char texts[256][IPAM_ADDR_TEXT_MAX];
    struct fixture *fixture = *state;

    add_cidr(fixture, "10.0.0.0/16");
    for (unsigned int i = 0; i < 255; i++) { /* all of the first /24, whose network address is no address of the pool */
        snprintf(texts[i], sizeof(texts[i]), "10.0.0.%u/32", i + 1);
        hold(fixture, texts[i]);
    }
    hold(fixture, "10.0.1.1/32");
    const char *row = strstr(draw(fixture), "\n10.0.0.0  ");
    assert_non_null(row);
    assert_memory_equal(row, "\n10.0.0.0    ##::....", 20);
}

static void clipped_range_says_so_and_draws_what_it_serves(void **state)
{
    struct fixture *fixture = *state;

    add_cidr(fixture, "2001:db8::/64");
    assert_non_null(strstr(draw(fixture), "65536 of 65536 free"));
    assert_non_null(strstr(fixture->text, "clipped"));
}

/* What it serves lies behind what it excludes, however much that is. */
static void exclusion_before_what_is_served_is_not_drawn_when_large(void **state)
{
    struct fixture *fixture = *state;

    add_cidr(fixture, "10.0.0.0/8");
    add_cidr(fixture, "2001:db8::/64");
    exclude(fixture, "10.0.0.0-10.63.255.255");
    exclude(fixture, "2001:db8::/65");
    hold(fixture, "10.64.0.0/32");
    hold(fixture, "2001:db8:0:0:8000::/128");
    assert_non_null(strstr(draw(fixture), "10.0.0.0/8  65535 of 65536 free"));
    assert_non_null(strstr(fixture->text, "2001:db8::/64  65535 of 65536 free"));
    assert_non_null(strstr(fixture->text, "clipped"));
    assert_int_equal(fixture->map.counts[MAP_HELD], 2);
    assert_int_equal(fixture->map.counts[MAP_EXCLUDED], 0);
}

static void large_block_that_is_all_excluded_is_drawn_as_a_sample(void **state)
{
    struct fixture *fixture = *state;

    add_cidr(fixture, "10.0.0.0/8");
    exclude(fixture, "0.0.0.0/0");
    assert_non_null(strstr(draw(fixture), "10.0.0.0/8  0 of 0 free"));
    assert_int_equal(fixture->map.counts[MAP_EXCLUDED], 255);
    assert_int_equal(fixture->map.counts[MAP_RESERVED], 1);
}

static void addresses_past_the_limit_are_drawn_only_if_another_entry_has_them(void **state)
{
    struct fixture *fixture = *state;

    add_cidr(fixture, "10.0.0.0/15");
    add_cidr(fixture, "10.1.255.0/24");
    make(fixture);
    assert_int_equal(fixture->map.counts[MAP_FREE], 65536 + 254);
    assert_true(fixture->map.blocks[0].clipped);
    assert_false(fixture->map.blocks[1].clipped);
}

static void picture_fits_into_any_width(void **state)
{
    static const size_t widths[] = {40, 60, 80, 120, 200};
    struct fixture *fixture = *state;

    add_cidr(fixture, "10.200.100.0/24");
    add_cidr(fixture, "10.201.0.0/16");
    add_cidr(fixture, "2001:db8:1:2:3:4::/120");
    for (size_t i = 0; i < sizeof(widths) / sizeof(widths[0]); i++) {
        for (int utf8 = 0; utf8 < 2; utf8++) {
            fixture->terminal = (struct terminal){.columns = widths[i], .utf8 = utf8 == 1};
            assert_in_range(widest_line(draw(fixture)), 20, widths[i]);
        }
    }
}

static void long_ipv6_labels_are_cut_where_they_do_not_fit(void **state)
{
    struct fixture *fixture = *state;

    add_cidr(fixture, "2001:db8:1234:5678:9abc:def0:1234:5600/120");
    fixture->terminal.columns = 40;
    assert_non_null(strstr(draw(fixture), "\n..:56f0  ...."));
    fixture->terminal.columns = 120;
    assert_non_null(strstr(draw(fixture), "\n2001:db8:1234:5678:9abc:def0:1234:56e0  . . ."));
}

static void every_label_has_its_place(void **state)
{
    struct fixture *fixture = *state;

    add_cidr(fixture, "10.128.0.0/9"); /* its last row, 10.129.0.0, has a shorter label than those in its middle */
    assert_non_null(strstr(draw(fixture), "\n10.128.0.0    ...."));
    assert_non_null(strstr(fixture->text, "\n10.128.128.0  ...."));
}

static void few_addresses_have_a_label_of_their_own(void **state)
{
    struct fixture *fixture = *state;

    add_cidr(fixture, "10.0.0.9/32");
    add_cidr(fixture, "10.0.0.18/31");
    assert_non_null(strstr(draw(fixture), "free\n10.0.0.9  .\n"));
    assert_non_null(strstr(fixture->text, "free\n10.0.0.18  . .\n"));
}

static void offsets_stand_above_addresses_that_begin_within_a_row(void **state)
{
    struct fixture *fixture = *state;

    add_address(fixture, "10.0.0.10-10.0.0.12");
    assert_non_null(strstr(draw(fixture), "+0              +8"));
    assert_non_null(strstr(fixture->text, "\n10.0.0.0                      . . .\n"));
}

static void color_adds_nothing_but_color(void **state)
{
    struct fixture *fixture = *state;
    char plain[4096], *to = plain;

    add_cidr(fixture, "10.0.0.0/28");
    hold(fixture, "10.0.0.1/32");
    fixture->terminal.color = true;
    for (const char *from = draw(fixture); *from != '\0'; from++) {
        if (*from == '\033')
            from = strchr(from, 'm');
        else
            *to++ = *from;
    }
    *to = '\0';
    assert_true(strlen(fixture->text) > strlen(plain));
    fixture->terminal.color = false;
    assert_string_equal(draw(fixture), plain);
}

static void runs_cover_every_address_once(void **state)
{
    struct fixture *fixture = *state;

    add_cidr(fixture, "10.0.0.0/29");
    hold(fixture, "10.0.0.2/32");
    make(fixture);
    json_t *json = map_json(&fixture->map);
    json_t *runs = json_object_get(json_array_get(json_object_get(json, "blocks"), 0), "runs");
    assert_int_equal(json_array_size(runs), 5); /* network, .1, .2, .3-.6, broadcast */
    assert_string_equal(json_string_value(json_object_get(json_array_get(runs, 3), "last")), "10.0.0.6");
    assert_string_equal(json_string_value(json_object_get(json_array_get(runs, 2), "state")), "held");
    json_decref(json);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(every_state_has_a_character_of_its_own),
        TEST(claims_of_other_pools_and_waiting_ones_are_not_drawn),
        TEST(address_that_two_entries_have_is_drawn_once),
        TEST(explicit_network_address_is_held_and_not_orphaned),
        TEST(single_addresses_stand_together_and_large_ranges_alone),
        TEST(block_of_256_is_drawn_by_address_and_a_larger_one_shaded),
        TEST(shade_tells_none_some_and_all),
        TEST(clipped_range_says_so_and_draws_what_it_serves),
        TEST(exclusion_before_what_is_served_is_not_drawn_when_large),
        TEST(large_block_that_is_all_excluded_is_drawn_as_a_sample),
        TEST(addresses_past_the_limit_are_drawn_only_if_another_entry_has_them),
        TEST(picture_fits_into_any_width),
        TEST(long_ipv6_labels_are_cut_where_they_do_not_fit),
        TEST(every_label_has_its_place),
        TEST(few_addresses_have_a_label_of_their_own),
        TEST(offsets_stand_above_addresses_that_begin_within_a_row),
        TEST(color_adds_nothing_but_color),
        TEST(runs_cover_every_address_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
