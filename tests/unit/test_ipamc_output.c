/* What ipamc prints: tables, ages, names, YAML that reads back, errors. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "describe.h"
#include "text.h"
#include "views.h"
#include "when.h"
#include "yaml_in.h"
#include "yaml_out.h"

#define NOW 1705334400 /* 2024-01-15T16:00:00Z */

/* ---- Fixture -------------------------------------------------------------------------------------------------------- */

struct fixture {
    struct arena arena;
    struct output output;
    char *text;
    size_t size;
};

static int setup(void **state)
{
    struct fixture *fixture = calloc(1, sizeof(*fixture));
    arena_init(&fixture->arena);
    fixture->output.out = open_memstream(&fixture->text, &fixture->size);
    fixture->output.now = NOW;
    fixture->output.arena = &fixture->arena;
    *state = fixture;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *fixture = *state;
    fclose(fixture->output.out);
    free(fixture->text);
    arena_done(&fixture->arena);
    free(fixture);
    return 0;
}

/* ---- Helpers -------------------------------------------------------------------------------------------------------- */

static void assert_printed(struct fixture *fixture, const char *expected)
{
    fflush(fixture->output.out);
    assert_string_equal(fixture->text, expected);
}

struct pool_parts {
    Ipam__V1__Pool pool;
    Ipam__V1__PoolSpec spec;
    Ipam__V1__PoolCounts counts;
    Google__Protobuf__Timestamp at;
    char *cidr;
};

static Ipam__V1__Pool *make_pool(struct pool_parts *parts, const char *name, uint64_t allocated, uint64_t available,
                                 bool automatic, int64_t age)
{
    ipam__v1__pool__init(&parts->pool);
    ipam__v1__pool_spec__init(&parts->spec);
    ipam__v1__pool_counts__init(&parts->counts);
    google__protobuf__timestamp__init(&parts->at);
    parts->pool.spec = &parts->spec;
    parts->pool.counts = &parts->counts;
    parts->pool.created_at = &parts->at;
    parts->pool.state = IPAM__V1__POOL_STATE__READY;
    parts->spec.name = (char *)(uintptr_t)name;
    parts->spec.auto_assign = automatic;
    parts->cidr = "10.200.0.0/24";
    parts->spec.cidrs = &parts->cidr;
    parts->spec.n_cidrs = 1;
    parts->counts.capacity = allocated + available;
    parts->counts.allocated = allocated;
    parts->counts.available = available;
    parts->at.seconds = NOW - age;
    return &parts->pool;
}

struct claim_parts {
    Ipam__V1__Claim claim;
    Ipam__V1__Owner owner;
    Google__Protobuf__Timestamp at;
};

static Ipam__V1__Claim *make_claim(struct claim_parts *parts, const char *name, const char *address,
                                   Ipam__V1__Family family)
{
    ipam__v1__claim__init(&parts->claim);
    ipam__v1__owner__init(&parts->owner);
    google__protobuf__timestamp__init(&parts->at);
    parts->claim.owner = &parts->owner;
    parts->claim.created_at = &parts->at;
    parts->claim.pool = "main-vip-pool";
    parts->claim.address = (char *)(uintptr_t)address;
    parts->claim.family = family;
    parts->claim.state = address[0] == '\0' ? IPAM__V1__CLAIM_STATE__WAITING : IPAM__V1__CLAIM_STATE__BOUND;
    parts->owner.kind = "ProxyVIP";
    parts->owner.name = (char *)(uintptr_t)name;
    parts->at.seconds = NOW - 90;
    return &parts->claim;
}

/* A YAML tree as the JSON that it stands for. */
static json_t *to_json(const struct yaml_node *node)
{
    if (node->kind == YAML_SCALAR) {
        json_t *value = node->plain ? json_loads(node->text, JSON_DECODE_ANY, NULL) : NULL;
        return value != NULL ? value : json_string(node->text);
    }
    json_t *json = node->kind == YAML_MAPPING ? json_object() : json_array();
    for (size_t i = 0; i < node->count; i++) {
        if (node->kind == YAML_SEQUENCE)
            json_array_append_new(json, to_json(node->items[i]));
        else if (i % 2 == 0)
            json_object_set_new(json, node->items[i]->text, to_json(node->items[i + 1]));
    }
    return json;
}

/* ---- Tests ---------------------------------------------------------------------------------------------------------- */

static void pool_table_has_the_columns_of_the_reference_page(void **state)
{
    struct fixture *fixture = *state;
    struct pool_parts parts[2];
    const void *rows[] = {make_pool(&parts[0], "main-vip-pool", 3, 251, true, 5 * 3600),
                          make_pool(&parts[1], "external-pool", 1, 2, false, 3 * 3600)};

    output_rows(&fixture->output, &pool_view, rows, 2);
    assert_printed(fixture, "NAME            ALLOCATED   AVAILABLE   AUTO-ASSIGN   AGE\n"
                            "main-vip-pool   3           251         true          5h\n"
                            "external-pool   1           2           false         3h\n");
}

static void wide_pool_table_adds_state_and_ranges(void **state)
{
    struct fixture *fixture = *state;
    struct pool_parts parts;
    const void *rows[] = {make_pool(&parts, "p", 3, 251, true, 60)};

    parts.spec.paused = true;
    fixture->output.format = OUTPUT_WIDE;
    output_rows(&fixture->output, &pool_view, rows, 1);
    assert_printed(fixture, "NAME   ALLOCATED   AVAILABLE   AUTO-ASSIGN   AGE   STATE          CAPACITY   COOLING   "
                            "WAITING   ORPHANED   EXCLUDED   "
                            "CIDRS           ADDRESSES   REASON\n"
                            "p      3           251         true          60s   READY,paused   254        0         0  "
                            "       0          0          "
                            "10.200.0.0/24   <none>      <none>\n");
}

static void claims_sort_by_address_with_waiting_ones_last(void **state)
{
    struct fixture *fixture = *state;
    struct claim_parts parts[4];
    const Ipam__V1__Claim *claims[] = {make_claim(&parts[0], "d", "", IPAM__V1__FAMILY__IPV4),
                                       make_claim(&parts[1], "c", "2001:db8::1/128", IPAM__V1__FAMILY__IPV6),
                                       make_claim(&parts[2], "b", "10.200.0.10/32", IPAM__V1__FAMILY__IPV4),
                                       make_claim(&parts[3], "a", "10.200.0.2/32", IPAM__V1__FAMILY__IPV4)};

    view_sort_claims(claims, 4);
    output_rows(&fixture->output, &claim_view, (const void *const *)claims, 4);
    assert_printed(fixture, "ADDRESS           KIND       NAME   POOL            STATE     AGE\n"
                            "10.200.0.2/32     ProxyVIP   a      main-vip-pool   BOUND     90s\n"
                            "10.200.0.10/32    ProxyVIP   b      main-vip-pool   BOUND     90s\n"
                            "2001:db8::1/128   ProxyVIP   c      main-vip-pool   BOUND     90s\n"
                            "<none>            ProxyVIP   d      main-vip-pool   WAITING   90s\n");
}

static void vip_has_one_line_for_both_families(void **state)
{
    struct fixture *fixture = *state;
    struct claim_parts parts[3];
    const Ipam__V1__Claim *claims[] = {make_claim(&parts[0], "web", "2001:db8::1/128", IPAM__V1__FAMILY__IPV6),
                                       make_claim(&parts[1], "api", "", IPAM__V1__FAMILY__IPV4),
                                       make_claim(&parts[2], "web", "10.200.0.1/32", IPAM__V1__FAMILY__IPV4)};
    size_t count;
    struct vip_row *vips = view_pair_vips(&fixture->arena, claims, 3, &count);
    const void *rows[] = {&vips[0], &vips[1]};

    assert_int_equal(count, 2);
    output_rows(&fixture->output, &vip_view, rows, count);
    assert_printed(fixture, "NAME   IPV4            IPV6              POOL            STATE     AGE\n"
                            "api    <none>          <none>            main-vip-pool   WAITING   90s\n"
                            "web    10.200.0.1/32   2001:db8::1/128   main-vip-pool   BOUND     90s\n");
}

static void names_are_kind_and_name(void **state)
{
    struct fixture *fixture = *state;
    struct pool_parts pool;
    struct claim_parts claim;
    const void *pools[] = {make_pool(&pool, "main-vip-pool", 0, 0, true, 0)};
    const void *claims[] = {make_claim(&claim, "web", "10.200.0.1/32", IPAM__V1__FAMILY__IPV4)};
    struct vip_row vip = {.ipv4 = claims[0]};
    const void *vips[] = {&vip};

    fixture->output.format = OUTPUT_NAME;
    output_rows(&fixture->output, &pool_view, pools, 1);
    output_rows(&fixture->output, &claim_view, claims, 1);
    output_rows(&fixture->output, &vip_view, vips, 1);
    assert_printed(fixture, "proxyippool/main-vip-pool\nclaim/ProxyVIP/web/ipv4\nproxyvip/web\n");
}

static void unprintable_bytes_are_escaped_and_columns_hold(void **state)
{
    struct fixture *fixture = *state;
    struct claim_parts parts[2];
    const void *rows[] = {make_claim(&parts[0], "a\x1b[31m\xff\n", "10.200.0.1/32", IPAM__V1__FAMILY__IPV4),
                          make_claim(&parts[1], "zü\xe2\x80\xae", "10.200.0.2/32", IPAM__V1__FAMILY__IPV4)};

    output_rows(&fixture->output, &claim_view, rows, 2);
    assert_printed(fixture, "ADDRESS         KIND       NAME                POOL            STATE   AGE\n"
                            "10.200.0.1/32   ProxyVIP   a\\x1b[31m\\xff\\x0a   main-vip-pool   BOUND   90s\n"
                            "10.200.0.2/32   ProxyVIP   zü\\xe2\\x80\\xae      main-vip-pool   BOUND   90s\n");
}

static void ages_read_as_kubectl_writes_them(void **state)
{
    static const struct {
        int64_t seconds;
        const char *text;
    } rows[] = {
        {-2, "<invalid>"},
        {-1, "0s"},
        {0, "0s"},
        {47, "47s"},
        {119, "119s"},
        {120, "2m"},
        {150, "2m30s"},
        {599, "9m59s"},
        {600, "10m"},
        {10799, "179m"},
        {10800, "3h"},
        {12000, "3h20m"},
        {18000, "5h"},
        {28799, "7h59m"},
        {28800, "8h"},
        {172799, "47h"},
        {172800, "2d"},
        {273600, "3d4h"},
        {691199, "7d23h"},
        {694800, "8d"},
        {63071999, "729d"},
        {63072000, "2y"},
        {72 * 86400 + 63072000, "2y72d"},
        {252287999, "7y364d"},
        {252288000, "8y"},
        {315360000, "10y"},
    };
    char text[WHEN_AGE_MAX];

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
        assert_string_equal(when_age(rows[i].seconds, text), rows[i].text);
}

static void timeouts_are_read_within_their_range(void **state)
{
    static const struct {
        const char *text;
        uint32_t ms;
    } rows[] = {{"10", 10000},  {"500ms", 500}, {"10s", 10000},    {"1m", 60000},
                {"1.5s", 1500}, {"1ms", 1},     {"24h", 86400000}, {".5", 500}};
    static const char *const wrong[] = {"",    "0",    "-1",  "+1",  "1x", "s",   "0.5ms", "25h",
                                        "1e3", "0x10", "nan", "inf", " 1", "1 s", "1..2",  "99999999999999999999"};
    struct ipam_error error;
    uint32_t ms;

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        assert_int_equal(when_timeout_parse(rows[i].text, &ms, &error), 0);
        assert_int_equal(ms, rows[i].ms);
    }
    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
        if (when_timeout_parse(wrong[i], &ms, &error) == 0)
            fail_msg("\"%s\" was taken", wrong[i]);
    }
}

static void nearest_word_is_suggested_only_when_it_is_near(void **state)
{
    static const char *const words[] = {"apply", "delete", "get", "describe", "allocate", "release"};
    static const struct {
        const char *word, *nearest;
    } rows[] = {{"aply", "apply"},      {"alocate", "allocate"},  {"GET", "get"},  {"teg", NULL}, {"gte", "get"},
                {"realese", "release"}, {"descrbie", "describe"}, {"xyzzy", NULL}, {"", NULL},    {"remove", NULL}};

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        const char *nearest = text_nearest(rows[i].word, words, 6);
        if (nearest != rows[i].nearest &&
            (nearest == NULL || rows[i].nearest == NULL || strcmp(nearest, rows[i].nearest) != 0))
            fail_msg("%s: %s", rows[i].word, nearest == NULL ? "nothing" : nearest);
    }
}

static void yaml_reads_back_as_the_same_json(void **state)
{
    struct fixture *fixture = *state;
    struct yaml_documents documents;
    struct ipam_error error;
    json_t *json = json_loads(
        "{\"texts\": [\"true\", \"1\", \"\", \"null\", \"~\", \"a: b\", \"- x\", \"#c\", \"2024-01-15T10:30:00Z\","
        " \"10.200.0.1/32\", \"ü\\n\\u0001\", \" pad \", \"&a\", \"*a\", \"!t\", \"{x\", \"@\", \"yes\", \"0x1f\", "
        "\"-\"],"
        " \"number\": 5, \"real\": 1.5, \"yes\": true, \"no\": false, \"none\": null, \"list\": [], \"map\": {},"
        " \"deep\": {\"a\": [{\"b\": [[]]}]}}",
        0, NULL);

    assert_non_null(json);
    yaml_write(fixture->output.out, json);
    fflush(fixture->output.out);
    if (yaml_read(&fixture->arena, "out", fixture->text, fixture->size, &documents, &error) < 0)
        fail_msg("%s\n%s", error.message, fixture->text);
    json_t *again = to_json(documents.items[0]);
    if (!json_equal(json, again))
        fail_msg("%s", fixture->text);
    json_decref(json);
    json_decref(again);
}

static void error_has_its_remedy_on_a_second_line(void **state)
{
    struct fixture *fixture = *state;
    struct ipam_error error;

    ipam_error_set(&error, IPAM_REASON_ADDRESS_IN_USE, "address in use: 10.200.0.50 is held by ProxyVIP/web-vip");
    output_error(fixture->output.out, OUTPUT_TABLE, &error);
    assert_printed(fixture, "ipamc: address in use: 10.200.0.50 is held by ProxyVIP/web-vip\n"
                            "       Ask for another address, or release it first.\n");
}

static void error_that_says_what_to_do_says_it_once(void **state)
{
    struct fixture *fixture = *state;
    struct ipam_error error;

    ipam_error_set(&error, IPAM_REASON_POOL_DRAINING, "pool draining: p is being deleted; use another pool");
    output_error(fixture->output.out, OUTPUT_TABLE, &error);
    ipam_error_set(&error, IPAM_REASON_INVALID_REQUEST, "x.yaml: No such file or directory");
    output_error(fixture->output.out, OUTPUT_TABLE, &error);
    assert_printed(fixture, "ipamc: pool draining: p is being deleted; use another pool\n"
                            "ipamc: x.yaml: No such file or directory\n");
}

static void error_is_an_object_with_json(void **state)
{
    struct fixture *fixture = *state;
    struct ipam_error error;

    ipam_error_set(&error, IPAM_REASON_POOL_NOT_FOUND, "pool not found: p");
    ipam_error_add(&error, "pool", "p");
    output_error(fixture->output.out, OUTPUT_JSON, &error);
    fflush(fixture->output.out);
    json_t *json = json_loads(fixture->text, 0, NULL), *object = json_object_get(json, "error");
    assert_string_equal(json_string_value(json_object_get(object, "status")), "NOT_FOUND");
    assert_string_equal(json_string_value(json_object_get(object, "reason")), "POOL_NOT_FOUND");
    assert_string_equal(json_string_value(json_object_get(object, "message")), "pool not found: p");
    assert_string_equal(json_string_value(json_object_get(json_object_get(object, "details"), "pool")), "p");
    assert_true(strlen(json_string_value(json_object_get(object, "remedy"))) > 0);
    json_decref(json);
}

static void description_leaves_out_what_is_not_there(void **state)
{
    struct fixture *fixture = *state;
    struct claim_parts parts;

    describe_row(&fixture->output, &claim_facts, make_claim(&parts, "web", "10.200.0.1/32", IPAM__V1__FAMILY__IPV4));
    assert_printed(fixture, "Name:            web\n"
                            "Family:          ipv4\n"
                            "State:           BOUND\n"
                            "Address:         10.200.0.1/32\n"
                            "Pool:            main-vip-pool\n"
                            "Created:         2024-01-15T15:58:30Z (90s ago)\n"
                            "Revision:        0\n");
}

int main(void)
{
#define ROW(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        ROW(pool_table_has_the_columns_of_the_reference_page),
        ROW(wide_pool_table_adds_state_and_ranges),
        ROW(claims_sort_by_address_with_waiting_ones_last),
        ROW(vip_has_one_line_for_both_families),
        ROW(names_are_kind_and_name),
        ROW(unprintable_bytes_are_escaped_and_columns_hold),
        ROW(ages_read_as_kubectl_writes_them),
        ROW(timeouts_are_read_within_their_range),
        ROW(nearest_word_is_suggested_only_when_it_is_near),
        ROW(yaml_reads_back_as_the_same_json),
        ROW(error_has_its_remedy_on_a_second_line),
        ROW(error_that_says_what_to_do_says_it_once),
        ROW(error_is_an_object_with_json),
        ROW(description_leaves_out_what_is_not_there),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
