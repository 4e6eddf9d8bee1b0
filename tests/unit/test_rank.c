#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "internal.h"

/* The tree of those that wait: right places in any order of coming and going, and a depth that stays logarithmic. */

/* ---- Helpers ---- */

#define SMALL 200
#define LARGE 100000
#define DEEP  64 /* of 100,000; a list of them is 100,000 deep, a full tree 17 */

static uint64_t random_below(uint64_t below)
{
    static uint64_t state = 1; /* Lehmer: the same in every run */

    state = state * 48271 % 2147483647;
    return state % below;
}

static unsigned int depth_of(const struct rank_node *node)
{
    unsigned int left, right;

    if (!node)
        return 0;
    left = depth_of(node->left);
    right = depth_of(node->right);
    return 1 + (left > right ? left : right);
}

/* ---- Tests ---- */

static void places_and_successors_are_right_whatever_comes_and_goes(void **state)
{
    static struct rank_node nodes[SMALL];
    struct rank rank = {0};

    (void)state;
    for (unsigned int step = 0; step < 20000; step++) {
        uint64_t one = random_below(SMALL), place = 0;
        struct rank_node *next = NULL;

        if (nodes[one].rank)
            rank_remove(&nodes[one]);
        else
            rank_insert(&rank, &nodes[one], one + 1);
        one = random_below(SMALL);
        for (uint64_t i = 0; i < SMALL; i++) {
            place += i <= one && nodes[i].rank;
            if (i > one && nodes[i].rank && !next)
                next = &nodes[i];
        }
        assert_ptr_equal(rank_after(&rank, one + 1), next);
        if (nodes[one].rank)
            assert_int_equal(rank_position(&nodes[one]), place);
    }
}

static void depth_is_logarithmic_in_order_of_age_and_in_any_other(void **state)
{
    static struct rank_node nodes[LARGE];
    struct rank rank = {0};

    (void)state;
    for (uint64_t i = 0; i < LARGE; i++)
        rank_insert(&rank, &nodes[i], i + 1);
    assert_true(depth_of(rank.root) < DEEP);
    for (uint64_t i = 0; i < LARGE / 2; i++) /* the oldest go first */
        rank_remove(&nodes[i]);
    assert_true(depth_of(rank.root) < DEEP);
    for (uint64_t i = LARGE / 2; i-- > 0;)
        rank_insert(&rank, &nodes[i], i + 1);
    assert_true(depth_of(rank.root) < DEEP);
    assert_int_equal(rank_position(&nodes[LARGE - 1]), LARGE);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(places_and_successors_are_right_whatever_comes_and_goes),
        cmocka_unit_test(depth_is_logarithmic_in_order_of_age_and_in_any_other),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
