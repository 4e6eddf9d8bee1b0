/* Whose read is next. On a real loop with its threads; one read at a time, as while clients leave much unread. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "../../daemon/ipamd/reads.h"

#define READS 12

/* ---- Fixture ----------------------------------------------------------------------------------------------------- */

static struct {
    uv_loop_t loop;
    struct reads reads;
    char order[READS + 1];
    size_t n_done;
} f;

struct one {
    char name;
    struct read *read;
};

static void run(void *arg)
{
    (void)arg;
}

static void done(void *arg)
{
    f.order[f.n_done++] = ((struct one *)arg)->name;
}

static int setup(void **state)
{
    (void)state;
    memset(&f, 0, sizeof f);
    uv_loop_init(&f.loop);
    reads_init(&f.reads, &f.loop, 100000);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    assert_int_equal(uv_loop_close(&f.loop), 0);
    return 0;
}

/* ---- Helpers ----------------------------------------------------------------------------------------------------- */

static void add(struct one *one, uid_t uid, char name)
{
    one->name = name;
    one->read = reads_add(&f.reads, uid, run, done, one);
}

static void run_to_the_end(size_t count)
{
    while (f.n_done < count) {
        uv_sleep(1);
        reads_turn(&f.reads, 0, true);
        uv_run(&f.loop, UV_RUN_DEFAULT);
    }
}

/* ---- Tests ------------------------------------------------------------------------------------------------------- */

static void users_take_turns_however_much_they_ask_for(void **state)
{
    (void)state;
    struct one ones[READS];
    for (int i = 0; i < 6; i++)
        add(&ones[i], 1, 'a');
    add(&ones[6], 2, 'b');
    add(&ones[7], 3, 'c');
    add(&ones[8], 2, 'b');
    run_to_the_end(9);
    assert_string_equal(f.order, "abcabaaaa");
}

static void what_is_dropped_costs_its_user_no_turn(void **state)
{
    (void)state;
    struct one ones[READS];
    add(&ones[0], 1, 'x');
    add(&ones[1], 2, 'b');
    add(&ones[2], 1, 'a');
    add(&ones[3], 3, 'x');
    assert_true(reads_drop(&f.reads, ones[0].read));
    assert_true(reads_drop(&f.reads, ones[3].read));
    run_to_the_end(2);
    assert_string_equal(f.order, "ab");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(users_take_turns_however_much_they_ask_for, setup, teardown),
        cmocka_unit_test_setup_teardown(what_is_dropped_costs_its_user_no_turn, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
