/* Who gets a seat, and whose it is: by rank and by user, without a socket. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "../../daemon/ipamd/seats.h"

#define MAX  160
#define NONE ((enum rank)RPC_ROLE_NONE)
#define READ ((enum rank)RPC_ROLE_READ)

/* ---- Helpers ----------------------------------------------------------------------------------------------------- */

/* One more seat for the user; false: it is refused. Somebody else may have lost one. */
static bool sit(struct seats *seats, uid_t uid, enum rank rank)
{
    struct seat_user *user = user_hold(seats, uid, rank), *victim = user;
    while (seats_state(seats, user) == SEATS_TAKEN && (victim = seats_victim(seats, user))) {
        seat_leave(seats, victim);
        user_let_go(seats, victim);
    }
    if (seats_state(seats, user) != SEATS_FREE) {
        user_let_go(seats, user);
        return false;
    }
    seat_take(seats, user);
    return true;
}

static size_t sit_many(struct seats *seats, uid_t uid, enum rank rank, size_t count)
{
    size_t seated = 0;
    while (count-- > 0)
        seated += sit(seats, uid, rank);
    return seated;
}

static size_t count_of(struct seats *seats, uid_t uid, enum rank rank)
{
    struct seat_user *user = user_hold(seats, uid, rank);
    size_t count = user->count;
    user_let_go(seats, user);
    return count;
}

static void empty(struct seats *seats)
{
    for (struct seat_user *user = TAILQ_FIRST(&seats->users), *next; user; user = next) {
        next = TAILQ_NEXT(user, link);
        for (size_t count = user->count; count > 0; count--) {
            seat_leave(seats, user);
            user_let_go(seats, user);
        }
    }
    assert_true(TAILQ_EMPTY(&seats->users));
    assert_int_equal(seats->count, 0);
}

/* ---- Tests ------------------------------------------------------------------------------------------------------- */

static void a_rank_takes_no_more_than_its_part_however_many_users_it_has(void **state)
{
    (void)state;
    static const size_t parts[RANKS] = {0, 40, 100, 130, 150, 160};
    struct seats seats;
    for (enum rank rank = NONE; rank < RANKS; rank++) {
        seats_init(&seats, MAX, MAX, sizeof(struct seat_user));
        for (uid_t uid = 1; uid <= 2 * MAX; uid++)
            sit(&seats, uid, rank);
        assert_int_equal(seats.count, parts[rank]);
        empty(&seats);
    }
}

static void a_higher_rank_takes_the_seat_of_the_lowest(void **state)
{
    (void)state;
    struct seats seats;
    seats_init(&seats, MAX, MAX, sizeof(struct seat_user));
    assert_int_equal(sit_many(&seats, 1, NONE, MAX), 40);
    assert_int_equal(sit_many(&seats, 2, READ, MAX), 100);
    assert_int_equal(count_of(&seats, 1, NONE), 0); /* reading needed them */
    assert_int_equal(sit_many(&seats, 1, NONE, MAX), 0);
    assert_int_equal(sit_many(&seats, 0, RANK_OWN, MAX), MAX);
    assert_int_equal(count_of(&seats, 2, READ), 0);
    assert_false(sit(&seats, 2, READ));
    empty(&seats);
}

static void users_of_a_rank_share_its_seats_evenly(void **state)
{
    (void)state;
    struct seats seats;
    seats_init(&seats, MAX, MAX, sizeof(struct seat_user));
    sit_many(&seats, 1, NONE, MAX);
    assert_int_equal(sit_many(&seats, 2, NONE, 5), 5);
    assert_int_equal(count_of(&seats, 1, NONE), 35);
    sit_many(&seats, 2, NONE, MAX);
    sit_many(&seats, 3, NONE, MAX);
    for (uid_t uid = 1; uid <= 3; uid++)
        assert_in_range(count_of(&seats, uid, NONE), 13, 14);
    empty(&seats);
}

static void a_user_has_no_more_than_its_limit_though_seats_are_free(void **state)
{
    (void)state;
    struct seats seats;
    seats_init(&seats, MAX, 7, sizeof(struct seat_user));
    assert_int_equal(sit_many(&seats, 1, READ, 10), 7);
    assert_int_equal(sit_many(&seats, 1, RANK_OWN, 10), 7); /* a user is a uid with a rank */
    empty(&seats);
}

static void the_smallest_limits_let_one_in(void **state)
{
    (void)state;
    struct seats seats;
    for (enum rank rank = NONE; rank < RANKS; rank++) {
        seats_init(&seats, 1, 1, sizeof(struct seat_user));
        assert_true(sit(&seats, 1, rank));
        assert_false(sit(&seats, 2, rank));
        empty(&seats);
    }
}

/* Whoever comes, in whatever order: nobody is refused while one below him has a seat, or one of his rank has two more. */
static void who_is_refused_has_no_less_than_others(void **state)
{
    (void)state;
    struct seats seats;
    seats_init(&seats, MAX, MAX, sizeof(struct seat_user));
    srandom(1);
    for (int i = 0; i < 20000; i++) {
        uid_t uid = (uid_t)(random() % 5);
        enum rank rank = (enum rank)(1 + random() % (RANKS - 1));
        if (random() % 3 == 0 && count_of(&seats, uid, rank) > 0) {
            struct seat_user *user = user_hold(&seats, uid, rank);
            seat_leave(&seats, user);
            user_let_go(&seats, user);
            user_let_go(&seats, user);
            continue;
        }
        if (sit(&seats, uid, rank))
            continue;
        for (enum rank lower = NONE; lower < rank; lower++)
            assert_int_equal(seats.of_rank[lower], 0);
        for (uid_t other = 0; other < 5; other++)
            assert_true(count_of(&seats, other, rank) <= count_of(&seats, uid, rank) + 1);
    }
    assert_true(seats.count <= MAX);
    empty(&seats);
}

static void the_lowest_rank_that_has_too_much_is_the_one(void **state)
{
    (void)state;
    size_t each[RANKS] = {0};
    assert_int_equal(rank_over(each, 160), 0);
    each[RANK_OWN] = 160;
    assert_int_equal(rank_over(each, 160), 0);
    each[NONE] = 1;
    assert_int_equal(rank_over(each, 160), RANK_OWN); /* its own doing */
    each[NONE] = 41;
    assert_int_equal(rank_over(each, 160), NONE);
    each[NONE] = 40;
    each[READ] = 61;
    assert_int_equal(rank_over(each, 160), READ);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_rank_takes_no_more_than_its_part_however_many_users_it_has),
        cmocka_unit_test(a_higher_rank_takes_the_seat_of_the_lowest),
        cmocka_unit_test(users_of_a_rank_share_its_seats_evenly),
        cmocka_unit_test(a_user_has_no_more_than_its_limit_though_seats_are_free),
        cmocka_unit_test(the_smallest_limits_let_one_in),
        cmocka_unit_test(who_is_refused_has_no_less_than_others),
        cmocka_unit_test(the_lowest_rank_that_has_too_much_is_the_one),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
