#include "seats.h"

#include <stdlib.h>

#include "arena.h"

/* ---- Ranks ------------------------------------------------------------------------------------------------------- */

#define PARTS 16

static const struct {
    const char *clients;
    unsigned int parts; /* of PARTS */
} ranks[RANKS] = {
    [RPC_ROLE_NONE] = {"clients without a role", 4},
    [RPC_ROLE_READ] = {"clients with no role or the role read", 10},
    [RPC_ROLE_ALLOCATE] = {"clients without the role admin", 13},
    [RPC_ROLE_ADMIN] = {"all clients but root's", 15},
    [RANK_OWN] = {"all clients", PARTS},
};

const char *rank_clients(enum rank rank)
{
    return ranks[rank].clients;
}

size_t rank_part(enum rank rank, size_t total)
{
    size_t part = total / PARTS * ranks[rank].parts + total % PARTS * ranks[rank].parts / PARTS;
    return part > 0 ? part : 1;
}

enum rank rank_over(const size_t each[RANKS], size_t total)
{
    size_t sum = 0;
    for (enum rank rank = (enum rank)RPC_ROLE_NONE; rank < RANKS; rank++) {
        sum += each[rank];
        if (sum > rank_part(rank, total))
            return rank;
    }
    return (enum rank)0;
}

/* ---- Users ------------------------------------------------------------------------------------------------------- */

void seats_init(struct seats *seats, size_t max, size_t max_user, size_t user_size)
{
    *seats = (struct seats){.max = max, .max_user = max_user, .user_size = user_size};
    TAILQ_INIT(&seats->users);
}

static struct seat_user *user_find(struct seats *seats, uid_t uid, enum rank rank)
{
    struct seat_user *user;
    for (user = TAILQ_FIRST(&seats->users); user; user = TAILQ_NEXT(user, link))
        if (user->uid == uid && user->rank == rank)
            return user;
    user = mem_zalloc(seats->user_size);
    user->uid = uid;
    user->rank = rank;
    TAILQ_INSERT_HEAD(&seats->users, user, link);
    return user;
}

struct seat_user *user_hold(struct seats *seats, uid_t uid, enum rank rank)
{
    struct seat_user *user = user_find(seats, uid, rank);
    user->holds++;
    return user;
}

void user_let_go(struct seats *seats, struct seat_user *user)
{
    if (--user->holds > 0)
        return;
    TAILQ_REMOVE(&seats->users, user, link);
    free(user);
}

/* ---- Seats ------------------------------------------------------------------------------------------------------- */

void seat_take(struct seats *seats, struct seat_user *user)
{
    user->count++;
    seats->count++;
    seats->of_rank[user->rank]++;
}

void seat_leave(struct seats *seats, struct seat_user *user)
{
    user->count--;
    seats->count--;
    seats->of_rank[user->rank]--;
}

enum seats_state seats_state(const struct seats *seats, const struct seat_user *user)
{
    size_t sum = 0;
    if (user->count >= seats->max_user)
        return SEATS_USER_FULL;
    for (enum rank rank = (enum rank)RPC_ROLE_NONE; rank < RANKS; rank++) {
        sum += seats->of_rank[rank];
        if (rank >= user->rank && sum >= rank_part(rank, seats->max))
            return SEATS_TAKEN;
    }
    return SEATS_FREE;
}

static bool is_better_victim(const struct seat_user *user, const struct seat_user *than)
{
    if (!than || user->rank != than->rank)
        return !than || user->rank < than->rank;
    return user->count > than->count;
}

struct seat_user *seats_victim(const struct seats *seats, const struct seat_user *user)
{
    struct seat_user *each, *victim = NULL;
    for (each = TAILQ_FIRST(&seats->users); each; each = TAILQ_NEXT(each, link)) {
        bool may = each->rank < user->rank || (each->rank == user->rank && each->count > user->count + 1);
        if (may && each->count > 0 && is_better_victim(each, victim))
            victim = each;
    }
    return victim;
}
