/* The pure parts of ipam-watcher: objects to requests, what is kept, what is next, what may be released. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "guard.h"
#include "kept.h"

/* ---- Helpers ----------------------------------------------------------------------------------------------------- */

#define META "\"metadata\":{\"name\":\"web\",\"uid\":\"u1\",\"generation\":3}"

static json_t *parse(const char *text)
{
    json_t *object = json_loads(text, 0, NULL);
    assert_non_null(object);
    return object;
}

static json_t *vip_object(const char *spec, const char *status)
{
    char text[2048];
    snprintf(text, sizeof text, "{" META ",\"spec\":%s,\"status\":%s}", spec, status);
    return parse(text);
}

static void assert_vip(const char *spec, const char *pool, Ipam__V1__Family family, const char *address,
                       const char *ipv6_address)
{
    json_t *object = vip_object(spec, "{}");
    struct vip_wish wish;
    struct ipam_error error;
    if (vip_read(object, &wish, &error) < 0)
        fail_msg("%s: %s", spec, error.message);
    assert_true(wish.asks);
    assert_string_equal(wish.request.owner->kind, "ProxyVIP");
    assert_string_equal(wish.request.owner->name, "web");
    assert_string_equal(wish.request.owner->uid, "u1");
    assert_true(wish.request.enqueue && wish.request.replace);
    assert_string_equal(wish.request.pool, pool);
    assert_int_equal(wish.request.family, family);
    assert_string_equal(wish.request.address, address);
    assert_string_equal(wish.request.ipv6_address, ipv6_address);
    json_decref(object);
}

static void assert_vip_refused(const char *spec, const char *says)
{
    json_t *object = vip_object(spec, "{}");
    struct vip_wish wish;
    struct ipam_error error;
    assert_int_equal(vip_read(object, &wish, &error), -1);
    if (!strstr(error.message, says))
        fail_msg("%s: \"%s\" does not say \"%s\"", spec, error.message, says);
    json_decref(object);
}

/* True: ipamd is to be asked. */
static bool update(struct kept_tree *tree, enum kept_kind kind, const char *text, struct kept **ret)
{
    json_t *object = parse(text);
    struct object_id id;
    struct ipam_error error;
    char ignored[160];
    assert_int_equal(object_identify(object, &id, &error), 0);
    *ret = kept_get(tree, kind, id.name);
    bool changed = kept_update(*ret, object, &id, &error, ignored);
    json_decref(object);
    return changed;
}

static struct guard_record record(enum guard_kind kind, const char *name, bool listed)
{
    return (struct guard_record){.kind = kind, .name = name, .uid = "u", .listed = listed, .same_uid = listed};
}

static const struct guard_limits LIMITS = {.share = 20, .count = 10};

/* `count` claims with names, of which the first `absent` have no object, beside a pool that has one. */
static struct guard_verdict judge(struct guard *guard, const struct guard_limits *limits, size_t count, size_t absent,
                                  size_t *ret_free)
{
    struct guard_record records[128] = {record(GUARD_POOL, "pool", true)};
    char names[128][24];
    struct guard_verdict verdict;
    for (size_t i = 0; i < count; i++) {
        snprintf(names[i], sizeof names[i], "v%zu", i);
        records[i + 1] = record(GUARD_CLAIM, names[i], i >= absent);
    }
    guard_judge(guard, limits, records, count + 1, &verdict);
    *ret_free = 0;
    for (size_t i = 0; i <= count; i++)
        *ret_free += records[i].free;
    return verdict;
}

/* ---- Tests: translation -------------------------------------------------------------------------------------------- */

static void a_vip_becomes_an_allocate(void **state)
{
    (void)state;
    assert_vip("{\"poolRef\":{\"name\":\"main\"}}", "main", IPAM__V1__FAMILY__IPV4, "", "");
    assert_vip("{\"poolRef\":{\"name\":\"main\"},\"addressFamily\":null}", "main", IPAM__V1__FAMILY__IPV4, "", "");
    assert_vip("{\"address\":\"10.0.0.1/32\"}", "", IPAM__V1__FAMILY__IPV4, "10.0.0.1/32", "");
    assert_vip("{\"poolRef\":{\"name\":\"m\"},\"addressFamily\":\"dual\",\"address\":\"10.0.0.1/32\","
               "\"ipv6Address\":\"2001:db8::1/128\"}",
               "m", IPAM__V1__FAMILY__DUAL, "10.0.0.1/32", "2001:db8::1/128");
    assert_vip("{\"addressFamily\":\"ipv6\",\"address\":\"2001:db8::1/128\"}", "", IPAM__V1__FAMILY__IPV6,
               "2001:db8::1/128", "");
}

static void an_address_of_a_family_that_is_not_asked_for_is_left_out_and_named(void **state)
{
    (void)state;
    json_t *object = vip_object("{\"poolRef\":{\"name\":\"m\"},\"ipv6Address\":\"2001:db8::1/128\"}", "{}");
    struct vip_wish wish;
    struct ipam_error error;
    assert_int_equal(vip_read(object, &wish, &error), 0);
    assert_string_equal(wish.request.ipv6_address, "");
    assert_non_null(strstr(wish.ignored, "spec.ipv6Address is not used: addressFamily is ipv4; write dual"));
    json_decref(object);
    assert_vip("{\"addressFamily\":\"ipv6\",\"address\":\"10.0.0.1/32\",\"ipv6Address\":\"2001:db8::1/128\"}", "",
               IPAM__V1__FAMILY__IPV6, "", "2001:db8::1/128");
}

static void a_vip_field_of_another_type_is_refused_by_name(void **state)
{
    (void)state;
    assert_vip_refused("[]", "spec can't be used: write an object");
    assert_vip_refused("{\"poolRef\":\"main\"}", "spec.poolRef can't be used: write an object");
    assert_vip_refused("{\"poolRef\":{}}", "spec.poolRef.name can't be used: write the name of a ProxyIPPool");
    assert_vip_refused("{\"poolRef\":{\"name\":5}}", "spec.poolRef.name can't be used: write a string");
    assert_vip_refused("{\"address\":true}", "spec.address can't be used: write a string");
    assert_vip_refused("{\"ipv6Address\":{}}", "spec.ipv6Address can't be used: write a string");
    assert_vip_refused("{\"addressFamily\":\"IPv4\"}", "spec.addressFamily can't be used: write ipv4, ipv6 or dual");
}

static void a_vip_that_names_nothing_asks_for_nothing(void **state)
{
    (void)state;
    json_t *object = vip_object("{\"addressFamily\":\"dual\"}", "{}");
    struct vip_wish wish;
    struct ipam_error error;
    assert_int_equal(vip_read(object, &wish, &error), 0);
    assert_false(wish.asks);
    json_decref(object);
}

static void only_an_address_of_the_right_family_counts_as_recorded(void **state)
{
    (void)state;
    struct vip_wish wish;
    struct ipam_error error;
    char text[IPAM_ADDR_TEXT_MAX];
    json_t *object = vip_object("{\"address\":\"10.0.0.1\"}",
                                "{\"allocatedAddress\":\"10.0.0.7/32\",\"allocatedIPv6Address\":\"10.0.0.8/32\"}");
    assert_int_equal(vip_read(object, &wish, &error), 0);
    assert_string_equal(ipam_addr_format(&wish.recorded[0], text), "10.0.0.7");
    assert_int_equal(wish.recorded[1].family, IPAM_FAMILY_NONE);
    json_decref(object);
    object = vip_object("{\"address\":\"10.0.0.1\"}", "[1]");
    assert_int_equal(vip_read(object, &wish, &error), 0);
    assert_int_equal(wish.recorded[0].family, IPAM_FAMILY_NONE);
    json_decref(object);
}

static void an_object_without_name_or_uid_is_refused(void **state)
{
    (void)state;
    static const char *const texts[] = {"[]",
                                        "{}",
                                        "{\"metadata\":[]}",
                                        "{\"metadata\":{\"name\":5,\"uid\":\"u\"}}",
                                        "{\"metadata\":{\"name\":\"web\"}}",
                                        "{\"metadata\":{\"name\":\"web\",\"uid\":\"\"}}"};
    struct object_id id;
    struct ipam_error error;
    char name[300], text[400];
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        json_t *object = parse(texts[i]);
        assert_int_equal(object_identify(object, &id, &error), -1);
        assert_non_null(strstr(error.message, "metadata."));
        json_decref(object);
    }
    for (int length = 253; length <= 254; length++) {
        memset(name, 'a', sizeof name);
        name[length] = '\0';
        snprintf(text, sizeof text, "{\"metadata\":{\"name\":\"%s\",\"uid\":\"u\"}}", name);
        json_t *object = parse(text);
        assert_int_equal(object_identify(object, &id, &error), length == 253 ? 0 : -1);
        json_decref(object);
    }
}

static void a_pool_becomes_its_spec(void **state)
{
    (void)state;
    json_t *object =
        parse("{" META ",\"spec\":{\"cidrs\":[\"10.0.0.0/24\",\"10.1.0.0/24\"],\"addresses\":[\"10.9.0.1/32\"],"
              "\"excludedAddresses\":[\"10.0.0.1\"],\"autoAssign\":true,\"reuseDelaySeconds\":60,"
              "\"paused\":true}}");
    Ipam__V1__PoolSpec spec;
    struct ipam_error error;
    struct arena arena;
    arena_init(&arena);
    assert_int_equal(pool_read(object, &arena, &spec, &error), 0);
    assert_string_equal(spec.name, "web");
    assert_string_equal(spec.uid, "u1");
    assert_int_equal(spec.generation, 3);
    assert_int_equal(spec.n_cidrs, 2);
    assert_string_equal(spec.cidrs[1], "10.1.0.0/24");
    assert_string_equal(spec.addresses[0], "10.9.0.1/32");
    assert_string_equal(spec.excluded[0], "10.0.0.1");
    assert_true(spec.auto_assign && spec.paused);
    assert_int_equal(spec.reuse_delay_seconds, 60);
    json_decref(object);
    object = parse("{" META "}");
    assert_int_equal(pool_read(object, &arena, &spec, &error), 0);
    assert_false(spec.auto_assign || spec.paused || spec.n_cidrs || spec.reuse_delay_seconds);
    json_decref(object);
    arena_done(&arena);
}

static void a_pool_field_of_another_type_is_refused_by_name(void **state)
{
    (void)state;
    static const struct {
        const char *spec, *says;
    } cases[] = {
        {"{\"cidrs\":\"10.0.0.0/24\"}", "spec.cidrs can't be used: write a list of strings"},
        {"{\"cidrs\":[\"10.0.0.0/24\",5]}", "spec.cidrs can't be used"},
        {"{\"addresses\":{}}", "spec.addresses can't be used"},
        {"{\"excludedAddresses\":[null]}", "spec.excludedAddresses can't be used"},
        {"{\"autoAssign\":\"yes\"}", "spec.autoAssign can't be used: write true or false"},
        {"{\"paused\":1}", "spec.paused can't be used: write true or false"},
        {"{\"reuseDelaySeconds\":-1}", "spec.reuseDelaySeconds can't be used: write a whole number"},
        {"{\"reuseDelaySeconds\":4294967296}", "spec.reuseDelaySeconds can't be used"},
        {"{\"reuseDelaySeconds\":1.5}", "spec.reuseDelaySeconds can't be used"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        json_t *object = vip_object(cases[i].spec, "{}");
        Ipam__V1__PoolSpec spec;
        struct ipam_error error;
        struct arena arena;
        arena_init(&arena);
        assert_int_equal(pool_read(object, &arena, &spec, &error), -1);
        if (!strstr(error.message, cases[i].says))
            fail_msg("%s: %s", cases[i].spec, error.message);
        arena_done(&arena);
        json_decref(object);
    }
}

static void assert_patch(const char *finalizers, bool wanted, const char *expected)
{
    char text[256];
    snprintf(text, sizeof text, "{\"metadata\":{\"resourceVersion\":\"7\"%s%s}}", finalizers ? ",\"finalizers\":" : "",
             finalizers ? finalizers : "");
    json_t *object = parse(text), *patch = finalizer_patch(object, wanted);
    if (expected) {
        json_t *is_to_be = parse(expected);
        assert_non_null(patch);
        assert_true(json_equal(patch, is_to_be));
        json_decref(is_to_be);
    } else {
        assert_null(patch);
    }
    json_decref(patch);
    json_decref(object);
}

static void a_finalizer_patch_keeps_those_of_others_and_names_the_version(void **state)
{
    (void)state;
#define OURS "\"" POOL_FINALIZER "\""
    assert_patch(NULL, true, "{\"metadata\":{\"resourceVersion\":\"7\",\"finalizers\":[" OURS "]}}");
    assert_patch("[\"a/b\"]", true, "{\"metadata\":{\"resourceVersion\":\"7\",\"finalizers\":[\"a/b\"," OURS "]}}");
    assert_patch("[" OURS "]", true, NULL);
    assert_patch("[\"a/b\"," OURS ",\"c/d\"]", false,
                 "{\"metadata\":{\"resourceVersion\":\"7\",\"finalizers\":[\"a/b\",\"c/d\"]}}");
    assert_patch("[\"a/b\"]", false, NULL);
    assert_patch(NULL, false, NULL);
}

/* ---- Tests: what is kept -------------------------------------------------------------------------------------------- */

#define VIP(uid, spec, status) \
    "{\"metadata\":{\"name\":\"web\",\"uid\":\"" uid "\"},\"spec\":" spec ",\"status\":" status "}"
#define IN_MAIN "{\"poolRef\":{\"name\":\"main\"}}"

static void only_another_uid_or_other_terms_ask_ipamd_again(void **state)
{
    (void)state;
    struct kept_tree tree = RB_INITIALIZER(&tree);
    struct kept *kept;
    assert_true(update(&tree, KEPT_VIP, VIP("u1", IN_MAIN, "{}"), &kept));
    assert_false(update(&tree, KEPT_VIP, VIP("u1", IN_MAIN, "{}"), &kept));
    assert_false(update(&tree, KEPT_VIP, VIP("u1", IN_MAIN, "{\"allocatedAddress\":\"10.0.0.1/32\"}"), &kept));
    assert_true(update(&tree, KEPT_VIP, VIP("u2", IN_MAIN, "{}"), &kept));
    assert_true(update(&tree, KEPT_VIP, VIP("u2", "{\"poolRef\":{\"name\":\"other\"}}", "{}"), &kept));
    assert_true(update(&tree, KEPT_VIP, VIP("u2", "{}", "{}"), &kept));
    assert_null(kept->request);
    kept_drop(&tree, kept);
}

static void what_a_status_said_is_kept_when_it_says_nothing_and_forgotten_with_the_uid(void **state)
{
    (void)state;
    struct kept_tree tree = RB_INITIALIZER(&tree);
    struct kept *kept;
    update(&tree, KEPT_VIP, VIP("u1", IN_MAIN, "{\"allocatedAddress\":\"10.0.0.1/32\"}"), &kept);
    update(&tree, KEPT_VIP, VIP("u1", IN_MAIN, "{}"), &kept);
    assert_int_equal(kept->recorded[0].family, IPAM_IPV4);
    assert_int_equal(kept_phase(kept), PHASE_RECORDED);
    update(&tree, KEPT_VIP, VIP("u2", IN_MAIN, "{}"), &kept);
    assert_int_equal(kept->recorded[0].family, IPAM_FAMILY_NONE);
    assert_int_equal(kept_phase(kept), PHASE_REST);
    update(&tree, KEPT_VIP, VIP("u2", "{\"address\":\"10.0.0.1/32\"}", "{}"), &kept);
    assert_int_equal(kept_phase(kept), PHASE_REQUESTED);
    kept_drop(&tree, kept);
}

static void a_spec_that_can_not_be_read_leaves_the_last_good_one(void **state)
{
    (void)state;
    struct kept_tree tree = RB_INITIALIZER(&tree);
    struct kept *kept;
    update(&tree, KEPT_VIP, VIP("u1", IN_MAIN, "{}"), &kept);
    assert_true(update(&tree, KEPT_VIP, VIP("u1", "{\"poolRef\":5}", "{}"), &kept));
    assert_false(kept->readable);
    assert_non_null(kept->request);
    assert_false(update(&tree, KEPT_VIP, VIP("u1", "{\"poolRef\":5}", "{}"), &kept));
    assert_true(update(&tree, KEPT_VIP, VIP("u1", IN_MAIN, "{}"), &kept));
    assert_true(kept->readable);
    kept_drop(&tree, kept);
}

static void a_pool_that_is_deleted_waits_for_the_end_of_a_sync(void **state)
{
    (void)state;
    struct kept_tree tree = RB_INITIALIZER(&tree);
    struct kept *kept;
    update(&tree, KEPT_POOL, "{\"metadata\":{\"name\":\"p\",\"uid\":\"u\"}}", &kept);
    assert_int_equal(kept_phase(kept), PHASE_POOLS);
    assert_true(
        update(&tree, KEPT_POOL, "{\"metadata\":{\"name\":\"p\",\"uid\":\"u\",\"deletionTimestamp\":\"now\"}}", &kept));
    assert_int_equal(kept_phase(kept), PHASE_RESUME);
    kept->paused = true; /* ipamd does not know it: first its VIPs get their addresses */
    assert_int_equal(kept_phase(kept), PHASE_POOLS);
    kept_drop(&tree, kept);
}

static void a_pool_without_our_finalizer_is_to_be_seen_to(void **state)
{
    (void)state;
    struct kept_tree tree = RB_INITIALIZER(&tree);
    struct kept *kept;
    update(&tree, KEPT_POOL, "{\"metadata\":{\"name\":\"p\",\"uid\":\"u\",\"finalizers\":[\"" POOL_FINALIZER "\"]}}",
           &kept);
    assert_true(kept->finalizer);
    assert_true(
        update(&tree, KEPT_POOL, "{\"metadata\":{\"name\":\"p\",\"uid\":\"u\",\"finalizers\":[\"a/b\"]}}", &kept));
    assert_false(kept->finalizer);
    kept_drop(&tree, kept);
}

/* ---- Tests: what is next -------------------------------------------------------------------------------------------- */

static void work_is_taken_in_order_and_never_more_than_the_limit(void **state)
{
    (void)state;
    struct work work;
    struct work_item a = {0}, b = {0}, c = {0};
    work_init(&work, 2);
    work_add(&work, &a);
    work_add(&work, &b);
    work_add(&work, &c);
    work_add(&work, &a);
    assert_ptr_equal(work_take(&work, 0), &a);
    assert_ptr_equal(work_take(&work, 0), &b);
    assert_null(work_take(&work, 0));
    work_done(&work, &a);
    assert_ptr_equal(work_take(&work, 0), &c);
    work_done(&work, &b);
    work_done(&work, &c);
    assert_true(work_is_idle(&work));
}

static void what_changes_while_it_runs_runs_once_more(void **state)
{
    (void)state;
    struct work work;
    struct work_item a = {0};
    work_init(&work, 9);
    work_add(&work, &a);
    work_take(&work, 0);
    work_add(&work, &a);
    work_add(&work, &a);
    assert_null(work_take(&work, 0));
    work_done(&work, &a);
    assert_ptr_equal(work_take(&work, 0), &a);
    work_done(&work, &a);
    assert_null(work_take(&work, 0));
}

static void a_failure_waits_for_its_time_unless_something_changes(void **state)
{
    (void)state;
    struct work work;
    struct work_item a = {0}, b = {0};
    uint64_t due;
    work_init(&work, 9);
    work_add(&work, &a);
    work_add(&work, &b);
    work_take(&work, 0);
    work_take(&work, 0);
    work_retry(&work, &a, 200);
    work_retry(&work, &b, 100);
    assert_int_equal(a.attempts, 1);
    assert_true(work_next_due(&work, &due));
    assert_int_equal(due, 100);
    assert_null(work_take(&work, 99));
    assert_ptr_equal(work_take(&work, 100), &b);
    work_add(&work, &a);
    assert_ptr_equal(work_take(&work, 100), &a);
    work_add(&work, &a);
    work_retry(&work, &a, 900);
    assert_ptr_equal(work_take(&work, 100), &a);
    work_retry(&work, &a, 900);
    work_remove(&work, &a);
    work_done(&work, &b);
    assert_false(work_next_due(&work, &due));
    assert_int_equal(work.n_ready + work.n_running + work.n_delayed, 0);
}

/* ---- Tests: what may be released ------------------------------------------------------------------------------------- */

static void what_is_absent_is_released_at_the_second_sight(void **state)
{
    (void)state;
    struct guard guard = {0};
    size_t n;
    struct guard_verdict verdict = judge(&guard, &LIMITS, 20, 3, &n);
    assert_int_equal(n, 0);
    assert_int_equal(verdict.unsure[GUARD_CLAIM], 3);
    judge(&guard, &LIMITS, 20, 0, &n); /* they were there after all */
    verdict = judge(&guard, &LIMITS, 20, 3, &n);
    assert_int_equal(n, 0);
    verdict = judge(&guard, &LIMITS, 20, 3, &n);
    assert_int_equal(n, 3);
    assert_int_equal(verdict.unsure[GUARD_CLAIM], 0);
    guard_done(&guard);
}

static void assert_held(size_t count, size_t absent, const struct guard_limits *limits, bool expected)
{
    struct guard guard = {0};
    struct ipam_error error;
    size_t n;
    judge(&guard, limits, count, absent, &n);
    struct guard_verdict verdict = judge(&guard, limits, count, absent, &n);
    assert_int_equal(verdict.held[GUARD_CLAIM], expected);
    assert_int_equal(n, expected ? 0 : absent);
    assert_int_equal(guard_explain(&verdict, limits, count, &error), expected);
    guard_done(&guard);
}

static void more_than_the_share_and_the_count_is_held_back(void **state)
{
    (void)state;
    static const struct guard_limits all = {.share = 100, .count = 10}, none = {.share = 0, .count = 0};
    assert_held(10, 10, &LIMITS, false);
    assert_held(11, 11, &LIMITS, true);
    assert_held(55, 11, &LIMITS, false);
    assert_held(54, 11, &LIMITS, true);
    assert_held(54, 54, &all, false);
    assert_held(54, 1, &none, true);
}

static void a_cluster_with_no_uid_that_ipamd_knows_is_another_one(void **state)
{
    (void)state;
    struct guard guard = {0};
    struct guard_limits limits = LIMITS;
    struct guard_verdict verdict;
    struct ipam_error error;
    struct guard_record records[] = {record(GUARD_POOL, "pool", false), record(GUARD_CLAIM, "web", true)};
    records[1].same_uid = false; /* of that name, but not the same object */
    guard_judge(&guard, &limits, records, 2, &verdict);
    guard_judge(&guard, &limits, records, 2, &verdict);
    assert_true(verdict.other_cluster && !records[0].free);
    assert_true(guard_explain(&verdict, &limits, 1, &error));
    assert_int_equal(error.reason, IPAM_REASON_OTHER_CLUSTER);
    limits.accept_cluster = true;
    guard_judge(&guard, &limits, records, 2, &verdict);
    assert_true(!verdict.other_cluster && records[0].free);
    guard_judge(&guard, &LIMITS, records, 0, &verdict); /* an ipamd that holds nothing is of any cluster */
    assert_false(verdict.other_cluster);
    guard_done(&guard);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_vip_becomes_an_allocate),
        cmocka_unit_test(an_address_of_a_family_that_is_not_asked_for_is_left_out_and_named),
        cmocka_unit_test(a_vip_field_of_another_type_is_refused_by_name),
        cmocka_unit_test(a_vip_that_names_nothing_asks_for_nothing),
        cmocka_unit_test(only_an_address_of_the_right_family_counts_as_recorded),
        cmocka_unit_test(an_object_without_name_or_uid_is_refused),
        cmocka_unit_test(a_pool_becomes_its_spec),
        cmocka_unit_test(a_pool_field_of_another_type_is_refused_by_name),
        cmocka_unit_test(a_finalizer_patch_keeps_those_of_others_and_names_the_version),
        cmocka_unit_test(only_another_uid_or_other_terms_ask_ipamd_again),
        cmocka_unit_test(what_a_status_said_is_kept_when_it_says_nothing_and_forgotten_with_the_uid),
        cmocka_unit_test(a_spec_that_can_not_be_read_leaves_the_last_good_one),
        cmocka_unit_test(a_pool_without_our_finalizer_is_to_be_seen_to),
        cmocka_unit_test(a_pool_that_is_deleted_waits_for_the_end_of_a_sync),
        cmocka_unit_test(work_is_taken_in_order_and_never_more_than_the_limit),
        cmocka_unit_test(what_changes_while_it_runs_runs_once_more),
        cmocka_unit_test(a_failure_waits_for_its_time_unless_something_changes),
        cmocka_unit_test(what_is_absent_is_released_at_the_second_sight),
        cmocka_unit_test(more_than_the_share_and_the_count_is_held_back),
        cmocka_unit_test(a_cluster_with_no_uid_that_ipamd_knows_is_another_one),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
