/* The load generator's histogram: a quantile that is wrong would be believed. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "../bench/histogram.h"

/* ---- Fixture ---------------------------------------------------------------------------------------------------- */

static int histogram_new(void **state)
{
    *state = test_calloc(1, sizeof(struct histogram));
    return 0;
}

static int histogram_drop(void **state)
{
    test_free(*state);
    return 0;
}

/* ---- Helpers ---------------------------------------------------------------------------------------------------- */

static void assert_near(uint64_t got, uint64_t wanted)
{
    assert_in_range(got, wanted - wanted / HISTOGRAM_STEPS, wanted + wanted / HISTOGRAM_STEPS);
}

/* ---- Tests ------------------------------------------------------------------------------------------------------ */

static void quantile_of_nothing_is_zero(void **state)
{
    assert_int_equal(histogram_quantile(*state, 0.5), 0);
}

static void one_value_is_every_quantile(void **state)
{
    for (uint64_t ns = 1; ns < UINT64_C(30000000000); ns = ns * 5 / 4 + 1) {
        struct histogram histogram = {0};
        histogram_add(&histogram, ns);
        assert_near(histogram_quantile(&histogram, 0), ns);
        assert_near(histogram_quantile(&histogram, 0.99), ns);
        assert_near(histogram_quantile(&histogram, 1), ns);
    }
    (void)state;
}

static void quantiles_of_a_ramp_lie_where_they_must(void **state)
{
    for (uint64_t ns = 100000; ns > 0; ns--)
        histogram_add(*state, ns);
    assert_near(histogram_quantile(*state, 0.01), 1000);
    assert_near(histogram_quantile(*state, 0.5), 50000);
    assert_near(histogram_quantile(*state, 0.99), 99000);
}

static void a_value_past_the_last_bucket_is_counted_there(void **state)
{
    histogram_add(*state, UINT64_MAX);
    assert_true(histogram_quantile(*state, 1) > UINT64_C(30000000000));
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, histogram_new, histogram_drop)
    const struct CMUnitTest tests[] = {
        TEST(quantile_of_nothing_is_zero),
        TEST(one_value_is_every_quantile),
        TEST(quantiles_of_a_ramp_lie_where_they_must),
        TEST(a_value_past_the_last_bucket_is_counted_there),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
