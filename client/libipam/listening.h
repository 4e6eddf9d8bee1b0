/* listening.h: a subscription to ipamd's bus on a libuv loop: nanomsg's SUB socket, polled.
 *
 * Used by subscriber.c, which gets the messages whole and is told nothing of connections: nanomsg makes them anew by itself. It
 * must not know what a message says.
 */
#ifndef IPAM_CLIENT_LISTENING_H
#define IPAM_CLIENT_LISTENING_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <uv.h>

#include <ipam/error.h>

struct listening {
    int socket; /* nanomsg's */
    uv_poll_t poll;
    /* All that has come, one by one, and then `idle`. `message` is borrowed for the call. */
    void (*message)(void *user, const uint8_t *message, size_t size);
    void (*idle)(void *user);
    void (*closed)(void *user); /* after listening_close */
    void *user;
};

/* The callbacks and `user` are set already. -1: INVALID_REQUEST (the path is too long), LIMIT_EXCEEDED (nanomsg has no socket
 * left: 512 a process), OUT_OF_MEMORY. */
int listening_open(struct listening *listening, uv_loop_t *loop, const char *path, struct ipam_error *reterr);
void listening_close(struct listening *listening);

#endif
