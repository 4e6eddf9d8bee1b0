/* Manifests: the reference page's own, what is refused and how it is said, order, and hostile YAML. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "manifest_files.h"
#include "yaml_in.h"

#define POOL  "apiVersion: novaedge.io/v1alpha1\nkind: ProxyIPPool\nmetadata:\n  name: p\nspec:\n"
#define VIP   "apiVersion: novaedge.io/v1alpha1\nkind: ProxyVIP\nmetadata:\n  name: v\nspec:\n"
#define CIDRS "  cidrs: [10.0.0.0/24]\n"

/* ---- Fixture -------------------------------------------------------------------------------------------------------- */

struct fixture {
    struct manifest manifest;
    struct ipam_error error;
};

static int setup(void **state)
{
    struct fixture *fixture = calloc(1, sizeof(*fixture));
    manifest_init(&fixture->manifest);
    *state = fixture;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *fixture = *state;
    manifest_done(&fixture->manifest);
    free(fixture);
    return 0;
}

/* ---- Helpers -------------------------------------------------------------------------------------------------------- */

static int add(struct fixture *fixture, const char *text)
{
    return manifest_add(&fixture->manifest, "m.yaml", text, strlen(text), &fixture->error);
}

/* Adds a text that must be right, and returns its first object. */
static struct manifest_object *must_add(struct fixture *fixture, const char *text)
{
    size_t first = fixture->manifest.count;
    if (add(fixture, text) < 0)
        fail_msg("%s", fixture->error.message);
    assert_true(fixture->manifest.count > first);
    return &fixture->manifest.items[first];
}

static void assert_refused(const char *text, const char *why)
{
    struct fixture fixture;

    manifest_init(&fixture.manifest);
    if (add(&fixture, text) == 0)
        fail_msg("not refused:\n%s", text);
    if (strstr(fixture.error.message, why) == NULL)
        fail_msg("\"%s\" does not say \"%s\"", fixture.error.message, why);
    manifest_done(&fixture.manifest);
}

static struct manifest_object *read_reference(struct fixture *fixture, const char *name)
{
    const char *path = arena_printf(&fixture->manifest.arena, "%s/reference/%s.yaml", TEST_DATA, name);

    if (manifest_read_files(&fixture->manifest, &path, 1, &fixture->error) < 0)
        fail_msg("%s", fixture->error.message);
    return &fixture->manifest.items[0];
}

static char *repeat(struct arena *arena, const char *text, size_t times)
{
    size_t length = strlen(text);
    char *all = arena_alloc(arena, length * times + 1);

    for (size_t i = 0; i < times; i++)
        memcpy(all + i * length, text, length);
    all[length * times] = '\0';
    return all;
}

/* ---- Tests ---------------------------------------------------------------------------------------------------------- */

static void reference_pools_read_as_on_the_page(void **state)
{
    static const struct {
        const char *name;
        size_t cidrs, addresses;
        const char *cidr, *address;
        int auto_assign;
    } rows[] = {
        {"main-vip-pool", 1, 0, "10.200.0.0/24", "", 1},
        {"external-vip-pool", 0, 3, "", "203.0.113.10/32", 0},
        {"mixed-pool", 1, 2, "10.200.0.0/28", "10.200.1.100/32", 1},
        {"ipv6-pool", 1, 0, "2001:db8::/120", "", 1},
    };

    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct fixture *fixture = *state;
        manifest_done(&fixture->manifest);
        manifest_init(&fixture->manifest);
        const Ipam__V1__PoolSpec *pool = &read_reference(fixture, rows[i].name)->pool;
        assert_string_equal(pool->name, rows[i].name);
        assert_int_equal(pool->n_cidrs, rows[i].cidrs);
        assert_int_equal(pool->n_addresses, rows[i].addresses);
        assert_string_equal(pool->n_cidrs > 0 ? pool->cidrs[0] : "", rows[i].cidr);
        assert_string_equal(pool->n_addresses > 0 ? pool->addresses[0] : "", rows[i].address);
        assert_int_equal(pool->auto_assign, rows[i].auto_assign);
        assert_string_equal(pool->uid, "");
    }
}

static void reference_vip_takes_any_address_of_its_pool(void **state)
{
    const struct manifest_object *vip = read_reference(*state, "auto-vip");

    assert_int_equal(vip->kind, MANIFEST_VIP);
    assert_string_equal(vip->claim.owner->kind, "ProxyVIP");
    assert_string_equal(vip->claim.owner->name, "auto-vip");
    assert_string_equal(vip->claim.owner->uid, "");
    assert_string_equal(vip->claim.pool, "main-vip-pool");
    assert_string_equal(vip->claim.address, "");
    assert_int_equal(vip->claim.family, IPAM__V1__FAMILY__IPV4);
    assert_true(vip->claim.replace);
}

static void reference_vip_asks_for_its_address(void **state)
{
    const struct manifest_object *vip = read_reference(*state, "specific-vip");
    assert_string_equal(vip->claim.address, "10.200.0.50/32");
    assert_string_equal(vip->claim.pool, "main-vip-pool");
}

static void pool_takes_our_fields_beyond_novaedges(void **state)
{
    const Ipam__V1__PoolSpec *pool =
        &must_add(*state, POOL CIDRS "  excludedAddresses: [10.0.0.1, 10.0.0.8/30, 10.0.0.20-10.0.0.30]\n"
                                     "  reuseDelaySeconds: 300\n  paused: true\n")
             ->pool;
    assert_int_equal(pool->n_excluded, 3);
    assert_int_equal(pool->reuse_delay_seconds, 300);
    assert_true(pool->paused);
    assert_false(pool->auto_assign);
}

static void json_is_read_as_well(void **state)
{
    const struct manifest_object *vip = must_add(
        *state,
        "{\"apiVersion\": \"novaedge.io/v1alpha1\", \"kind\": \"ProxyVIP\",\n"
        " \"metadata\": {\"name\": \"v\"}, \"spec\": {\"poolRef\": {\"name\": \"p\"}, \"addressFamily\": \"dual\"}}");
    assert_int_equal(vip->claim.family, IPAM__V1__FAMILY__DUAL);
}

static void list_of_kubectl_is_read(void **state)
{
    struct fixture *fixture = *state;

    must_add(fixture, "apiVersion: v1\nkind: List\nmetadata:\n  resourceVersion: \"\"\nitems:\n"
                      "- apiVersion: novaedge.io/v1alpha1\n  kind: ProxyIPPool\n"
                      "  metadata: {name: p, uid: 1-2, generation: 4, annotations: {a: b}, managedFields: [{x: y}]}\n"
                      "  spec: {cidrs: [10.0.0.0/24]}\n  status: {allocated: 3, available: 251}\n"
                      "- apiVersion: novaedge.io/v1alpha1\n  kind: ProxyVIP\n  metadata: {name: v}\n"
                      "  spec: {mode: BGP, ports: [80], poolRef: {name: p}, bgpConfig: {localAS: 65000}}\n"
                      "  status: {allocatedAddress: 10.0.0.1/32}\n");
    assert_int_equal(fixture->manifest.count, 2);
    assert_string_equal(fixture->manifest.items[0].pool.uid, "");
    assert_int_equal(fixture->manifest.items[0].pool.generation, 0);
    assert_int_equal(fixture->manifest.items[1].line, 11);
}

static void objects_go_pools_first_then_certain_addresses(void **state)
{
    static const char *const names[] = {"p1", "p2", "certain", "certain6", "any1", "any2"};
    struct fixture *fixture = *state;

#define OBJECT(kind, name, spec) \
    "---\n{apiVersion: novaedge.io/v1alpha1, kind: " kind ", metadata: {name: " name "}, spec: {" spec "}}\n"
    must_add(fixture,
             OBJECT("ProxyVIP", "any1", "poolRef: {name: p1}") OBJECT("ProxyVIP", "certain", "address: 10.0.0.5")
                 OBJECT("ProxyIPPool", "p1", "cidrs: [10.0.0.0/24]"));
    must_add(fixture, OBJECT("ProxyVIP", "any2", "poolRef: {name: p2}")
                          OBJECT("ProxyVIP", "certain6", "ipv6Address: \"::1\", addressFamily: ipv6")
                              OBJECT("ProxyIPPool", "p2", "cidrs: [10.0.1.0/24]"));
    assert_int_equal(manifest_finish(&fixture->manifest, &fixture->error), 0);
    assert_int_equal(fixture->manifest.count, 6);
    for (size_t i = 0; i < 6; i++)
        assert_string_equal(fixture->manifest.items[i].name, names[i]);
}

static void object_that_stands_twice_is_refused_with_both_places(void **state)
{
    struct fixture *fixture = *state;

    must_add(fixture, POOL CIDRS);
    must_add(fixture, "---\n" POOL CIDRS);
    assert_int_equal(manifest_finish(&fixture->manifest, &fixture->error), -1);
    assert_string_equal(fixture->error.message,
                        "m.yaml:2: proxyippool/p stands twice, first at m.yaml:1: keep one of them");
}

static void pool_and_vip_of_one_name_are_two_objects(void **state)
{
    struct fixture *fixture = *state;

    must_add(
        fixture,
        "{apiVersion: novaedge.io/v1alpha1, kind: ProxyIPPool, metadata: {name: x}, spec: {cidrs: [10.0.0.0/24]}}");
    must_add(fixture,
             "{apiVersion: novaedge.io/v1alpha1, kind: ProxyVIP, metadata: {name: x}, spec: {address: 10.0.0.1}}");
    assert_int_equal(manifest_finish(&fixture->manifest, &fixture->error), 0);
}

static void wrong_pools_are_refused_with_line_and_remedy(void **state)
{
    static const struct {
        const char *text, *why;
    } rows[] = {
        {POOL "  cidr: [10.0.0.0/24]\n",
         "m.yaml:6: unknown field cidr in the spec of a ProxyIPPool; did you mean cidrs?"},
        {POOL CIDRS "  autoassign: true\n",
         "m.yaml:7: unknown field autoassign in the spec of a ProxyIPPool; did you mean autoAssign?"},
        {POOL CIDRS "  wholly: other\n", "m.yaml:7: unknown field wholly in the spec of a ProxyIPPool"},
        {POOL "  cidrs:\n  - 10.0.0.0/24\n  - 10.0.1.1/24\n", "m.yaml:8: spec.cidrs: "},
        {POOL "  addresses: [10.0.0.9/31]\n", "m.yaml:6: spec.addresses: "},
        {POOL CIDRS "  excludedAddresses: [ten]\n", "m.yaml:7: spec.excludedAddresses: "},
        {POOL "  autoAssign: true\n", "has no addresses: write spec.cidrs or spec.addresses"},
        {POOL "  cidrs: []\n", "has no addresses"},
        {POOL "  cidrs: 10.0.0.0/24\n", "spec.cidrs is not a list"},
        {POOL "  cidrs: [[10.0.0.0/24]]\n", "spec.cidrs is not a text"},
        {POOL "  cidrs: [~]\n", "spec.cidrs is not a text"},
        {POOL CIDRS "  autoAssign: \"true\"\n", "write true or false, without quotes"},
        {POOL CIDRS "  autoAssign: yes\n", "write true or false"},
        {POOL CIDRS "  reuseDelaySeconds: -1\n", "spec.reuseDelaySeconds is not a whole number"},
        {POOL CIDRS "  reuseDelaySeconds: 4294967296\n", "spec.reuseDelaySeconds is not a whole number"},
        {POOL CIDRS "  reuseDelaySeconds: 5m\n", "spec.reuseDelaySeconds is not a whole number"},
        {POOL CIDRS "sepc: {}\n", "m.yaml:7: unknown field sepc in ProxyIPPool; did you mean spec?"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
        assert_refused(rows[i].text, rows[i].why);
}

static void wrong_vips_are_refused_with_line_and_remedy(void **state)
{
    static const struct {
        const char *text, *why;
    } rows[] = {
        {VIP "  mode: BGP\n", "neither a pool nor an address: write spec.poolRef.name or spec.address"},
        {VIP "  adress: 10.0.0.1\n  poolRef: {name: p}\n", "m.yaml:6: unknown field adress"},
        {VIP "  poolref: {name: p}\n  address: 10.0.0.1\n", "did you mean poolRef?"},
        {VIP "  poolRef: {}\n", "spec.poolRef has no name"},
        {VIP "  poolRef: p\n", "spec.poolRef is not a mapping"},
        {VIP "  address: 10.0.0.256\n", "m.yaml:6: spec.address: "},
        {VIP "  address: 10.0.0.0/24\n", "m.yaml:6: spec.address: "},
        {VIP "  address: 2001:db8::1\n", "set spec.addressFamily to ipv6"},
        {VIP "  address: 10.0.0.1\n  addressFamily: ipv6\n", "is no ipv6 address"},
        {VIP "  address: 10.0.0.1\n  addressFamily: IPv4\n", "write ipv4, ipv6 or dual"},
        {VIP "  address: 10.0.0.1\n  ipv6Address: 2001:db8::1\n", "set spec.addressFamily to dual or ipv6"},
        {VIP "  address: 10.0.0.1\n  addressFamily: dual\n", "write spec.poolRef.name, or both"},
        {VIP "  address: \"::1\"\n  ipv6Address: \"::2\"\n  addressFamily: ipv6\n", "write one of them"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
        assert_refused(rows[i].text, rows[i].why);
}

static void what_is_no_object_of_ours_is_refused(void **state)
{
    static const struct {
        const char *text, *why;
    } rows[] = {
        {"apiVersion: v1\nkind: Service\n", "m.yaml:2: unknown kind Service: write ProxyIPPool or ProxyVIP"},
        {"apiVersion: novaedge.io/v1\nkind: ProxyVIP\n",
         "m.yaml:1: ProxyVIP of novaedge.io/v1 is not known: write apiVersion: "
         "novaedge.io/v1alpha1"},
        {"kind: ProxyVIP\n", "m.yaml:1: the object has no apiVersion"},
        {"apiVersion: novaedge.io/v1alpha1\nkind: ProxyVIP\n", "write metadata.name"},
        {"apiVersion: novaedge.io/v1alpha1\nkind: ProxyVIP\nmetadata: {name: \"\"}\n", "has no metadata.name"},
        {"apiVersion: novaedge.io/v1alpha1\nkind: ProxyVIP\nmetadata: {name: [a]}\n", "metadata.name is not a text"},
        {"apiVersion: novaedge.io/v1alpha1\nkind: ProxyVIP\nmetadata: {name: v}\n", "has no spec"},
        {"apiVersion: novaedge.io/v1alpha1\nkind: ProxyVIP\nmetadata: {name: v}\nspec: 5\n", "spec is not a mapping"},
        {"- a\n", "the object is not a mapping"},
        {"word\n", "the object is not a mapping"},
        {"apiVersion: v1\nkind: List\n", "has no items"},
        {"apiVersion: v1\nkind: List\nitems: [{apiVersion: v1, kind: List, items: []}]\n", "unknown kind List"},
        {"# nothing\n---\n---\n", "holds no object"},
        {"", "holds no object"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
        assert_refused(rows[i].text, rows[i].why);
}

static void malformed_yaml_is_refused_with_its_line(void **state)
{
    static const struct {
        const char *text, *why;
    } rows[] = {
        {"a: b\n c: d\n", "m.yaml:2: "},
        {"a: [1, 2\n", "m.yaml:2: "},
        {"a: \"x\n", "m.yaml:2: "},
        {"\ta: b\n", "m.yaml:1: "},
        {"a: \xff\n", "write the file as UTF-8"},
        {"a: \"\\0\"\n", "the character NUL"},
        {"a: 1\nb: 2\na: 3\n", "m.yaml:3: the key a stands twice, first on line 1: keep one of them"},
        {"? [a]\n: b\n", "a key is a list or a mapping"},
        {"a: &x {b: c}\nd:\n  <<: *x\n", "m.yaml:3: merge keys"},
        {"a: *x\n", "no anchor &x"},
        {"a: &x [*x]\n", "the alias *x contains itself"},
        {"a: &x 1\n---\na: *x\n", "no anchor &x"},
        {"{\"a\": 1,}}", "m.yaml:1: "},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
        assert_refused(rows[i].text, rows[i].why);
}

static void aliases_are_followed(void **state)
{
    const Ipam__V1__PoolSpec *pool =
        &must_add(*state, POOL "  cidrs: &c [10.0.0.0/24]\n  excludedAddresses: *c\n")->pool;
    assert_string_equal(pool->excluded[0], "10.0.0.0/24");
}

static void alias_bomb_is_refused(void **state)
{
    struct fixture *fixture = *state;
    char *text = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n";

    for (int i = 1; i < 9; i++)
        text = arena_printf(&fixture->manifest.arena,
                            "%sa%d: &a%d [*a%d, *a%d, *a%d, *a%d, *a%d, *a%d, *a%d, *a%d, *a%d]\n", text, i, i, i - 1,
                            i - 1, i - 1, i - 1, i - 1, i - 1, i - 1, i - 1, i - 1);
    assert_refused(text, "aliases followed: write several smaller files");
}

static void nesting_is_taken_to_the_limit_and_not_past_it(void **state)
{
    struct fixture *fixture = *state;
    struct arena *arena = &fixture->manifest.arena;
    struct yaml_documents documents;
    const char *at =
        arena_printf(arena, "%s%s", repeat(arena, "[", YAML_DEPTH_MAX), repeat(arena, "]", YAML_DEPTH_MAX));
    const char *past = arena_printf(arena, "[%s]", at);

    assert_int_equal(yaml_read(arena, "m.yaml", at, strlen(at), &documents, &fixture->error), 0);
    assert_int_equal(yaml_read(arena, "m.yaml", past, strlen(past), &documents, &fixture->error), -1);
    assert_non_null(strstr(fixture->error.message, "nested more than 64 deep"));
    const char *far = repeat(arena, "[", 500000);
    assert_int_equal(yaml_read(arena, "m.yaml", far, strlen(far), &documents, &fixture->error), -1);
}

static void size_is_taken_to_the_limit_and_not_past_it(void **state)
{
    struct fixture *fixture = *state;
    struct yaml_documents documents;
    char *text = repeat(&fixture->manifest.arena, "#", YAML_SIZE_MAX + 1);

    assert_int_equal(yaml_read(&fixture->manifest.arena, "m.yaml", text, YAML_SIZE_MAX, &documents, &fixture->error),
                     0);
    assert_int_equal(
        yaml_read(&fixture->manifest.arena, "m.yaml", text, YAML_SIZE_MAX + 1, &documents, &fixture->error), -1);
    assert_non_null(strstr(fixture->error.message, "larger than 16 MiB"));
}

int main(void)
{
#define ROW(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        ROW(reference_pools_read_as_on_the_page),
        ROW(reference_vip_takes_any_address_of_its_pool),
        ROW(reference_vip_asks_for_its_address),
        ROW(pool_takes_our_fields_beyond_novaedges),
        ROW(json_is_read_as_well),
        ROW(list_of_kubectl_is_read),
        ROW(objects_go_pools_first_then_certain_addresses),
        ROW(object_that_stands_twice_is_refused_with_both_places),
        ROW(pool_and_vip_of_one_name_are_two_objects),
        ROW(wrong_pools_are_refused_with_line_and_remedy),
        ROW(wrong_vips_are_refused_with_line_and_remedy),
        ROW(what_is_no_object_of_ours_is_refused),
        ROW(malformed_yaml_is_refused_with_its_line),
        ROW(aliases_are_followed),
        ROW(alias_bomb_is_refused),
        ROW(nesting_is_taken_to_the_limit_and_not_past_it),
        ROW(size_is_taken_to_the_limit_and_not_past_it),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
