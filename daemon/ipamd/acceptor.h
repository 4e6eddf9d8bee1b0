/* acceptor.h: clients of a listening socket, one by one, on a uv loop.
 *
 * Used by the loop and by the bus, each for its own socket. It must not know who connects or how many may. It polls the
 * socket itself: uv_listen of libuv 1.44 turns for ever in a process that has no file left once its one spare file, which
 * it closes to turn a client away, could not be opened again.
 */
#ifndef IPAMD_ACCEPTOR_H
#define IPAMD_ACCEPTOR_H

#include <stdbool.h>
#include <uv.h>

struct acceptor {
    uv_poll_t poll;
    uv_timer_t rest;
    int fd; /* -1: closed, or never started */
    bool resting;
    void (*ready)(struct acceptor *acceptor); /* clients wait; comes again in each iteration until they are taken */
    void *user;
};

/* Listens on `fd`, a bound stream socket, and closes it in the end. `acceptor` stays where it is until the loop has run after
 * acceptor_close. Returns 0 or an error of libuv; acceptor_close is due in either case. */
int acceptor_start(struct acceptor *acceptor, uv_loop_t *loop, int fd, int backlog,
                   void (*ready)(struct acceptor *acceptor), void *user);

/* The next client's socket, non-blocking; UV_EAGAIN: there is none. Any other error, such as UV_EMFILE: clients wait and can't
 * be had now; `ready` comes again after 100 ms. */
int acceptor_take(struct acceptor *acceptor);

void acceptor_pause(struct acceptor *acceptor);  /* no `ready` until … */
void acceptor_resume(struct acceptor *acceptor); /* … this; it does not end a rest */
void acceptor_close(struct acceptor *acceptor);  /* again is fine */

#endif
