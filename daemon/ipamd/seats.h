/* seats.h: who has how many seats, and who must give one up: connections to a socket, shared by user and by rank.
 *
 * Used by connection.c for clients and by publisher.c for subscribers, each with seats of its own. It counts, and decides; it must
 * not know what sits on a seat. A user is a uid with a rank: one that comes with several roles is several users.
 *
 * Ranks are the roles, and above them root and the user that ipamd runs as. One table says what all of a rank and of those below
 * it may have together, of seats and of whatever else is shared so (bytes, lines of the log). So every rank has a part that none
 * below it can take, with however many connections or users.
 */
#ifndef IPAMD_SEATS_H
#define IPAMD_SEATS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/queue.h>
#include <sys/types.h>

#include "rpc.h"

enum rank { RANK_OWN = RPC_ROLES, RANKS }; /* a role, or root and ipamd's own user; 0 is none */

const char *rank_clients(enum rank rank); /* "clients without a role": that rank and those below it */

/* What the rank and those below it may have together of `total`; 1 at least. */
size_t rank_part(enum rank rank, size_t total);

/* The lowest rank that has more of `total` than it may together with those below it, by what each has; 0: none. */
enum rank rank_over(const size_t each[RANKS], size_t total);

/* First member of what the owner keeps for a user. */
struct seat_user {
    TAILQ_ENTRY(seat_user) link;
    uid_t uid;
    enum rank rank;
    size_t count; /* its seats */
    size_t holds; /* user_hold without user_let_go: while there are any it stays */
};

struct seats {
    size_t max, max_user; /* seats; of these, of one user */
    size_t count, of_rank[RANKS];
    size_t user_size; /* bytes of what is kept for a user, zeroed at first but for its first member */
    TAILQ_HEAD(, seat_user) users;
};

void seats_init(struct seats *seats, size_t max, size_t max_user, size_t user_size);

/* The user of that uid and rank, made if need be. */
struct seat_user *user_hold(struct seats *seats, uid_t uid, enum rank rank);
void user_let_go(struct seats *seats, struct seat_user *user);

void seat_take(struct seats *seats, struct seat_user *user);
void seat_leave(struct seats *seats, struct seat_user *user);

enum seats_state { SEATS_FREE, SEATS_TAKEN, SEATS_USER_FULL };
enum seats_state seats_state(const struct seats *seats,
                             const struct seat_user *user); /* for one more seat of the user's */

/* Who gives up a seat so that the user gets one: of the lowest rank below its own that has any; else of its own rank if that one
 * still has as many as the user then; in a rank, who has most. NULL: nobody. */
struct seat_user *seats_victim(const struct seats *seats, const struct seat_user *user);

#endif
