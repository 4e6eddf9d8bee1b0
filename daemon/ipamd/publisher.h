/* publisher.h: the events socket: a thread that sends what it is given to every subscriber, and never waits for one.
 *
 * Made and fed by the bus (bus.h). It knows nanomsg's publish/subscribe on the wire, so that stock nanomsg subscribers work,
 * and ticks; it must not know what a change is. A subscriber that does not keep up misses messages, holds one message of
 * memory at most, and is told by the next tick; one that takes nothing for long, sends anything but its greeting, or none, is
 * disconnected. Places are shared by user and role (seats.h).
 */
#ifndef IPAMD_PUBLISHER_H
#define IPAMD_PUBLISHER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <ipam/error.h>

#include "seats.h"

#define PUBLISHER_ROOM (256 * 1024) /* bytes of messages that wait for the thread */

struct publisher;

struct publisher_options {
    int fd;                             /* of a bound and listening Unix socket; taken */
    uint32_t tick_ms;                   /* between ticks */
    uint64_t max_subscribers, max_user; /* of these, of one user */
    uint64_t stall_ms;                  /* that a subscriber may take nothing of what it is sent; 0: no end */
    uint64_t budget;                    /* deliveries a second, for the pace of ticks */
    uint64_t revision;                  /* durable at the start */
    /* Asked on the thread for each that connects: who it is; false: it may not, and is cut off. */
    bool (*identify)(int fd, void *user, uid_t *ret_uid, enum rank *ret_rank);
    void *user;
};

/* Starts the thread, which has the caller's signal mask. -1: INTERNAL, when the system gives no event loop or no thread. */
int publisher_start(const struct publisher_options *options, struct publisher **ret, struct ipam_error *reterr);

/* What was given is sent, as far as subscribers take it at once; then all are disconnected. NULL is fine; returns NULL. */
struct publisher *publisher_stop(struct publisher *publisher);

/* Of the caller's thread, and cheap: */

uint64_t publisher_subscribers(const struct publisher *publisher); /* that have greeted */

/* Room for one message of `size` bytes, to be filled before publisher_commit. NULL: there is none now. */
uint8_t *publisher_reserve(struct publisher *publisher, size_t size);

/* Sends what was reserved since the last time. `revision`: durable, as from now on. `left_out`: changes up to it that were not
 * given here. */
void publisher_commit(struct publisher *publisher, uint64_t revision, bool left_out);

#endif
