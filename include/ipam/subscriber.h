/* ipam/subscriber.h: every change of ipamd, once and in order, on a libuv loop.
 *
 * For programs that follow what ipamd does: controllers, `ipamc events`. The subscriber reads the history by ListChanges and
 * listens to the bus for when to read on; the user sees neither, nor gaps, nor what was delivered before. It must not
 * know what a change means. Include <uv.h> before this header. One thread at a time. nanomsg, which carries the
 * bus, runs a thread of its own as long as there is a subscriber, with all signals blocked, and has 512 sockets a process: more
 * subscribers than that get LIMIT_EXCEEDED.
 *
 * Lossless: whatever happens to the process, to ipamd or to messages on the bus, each change after the starting point is
 * delivered exactly once, in order of revision, its hash checked against that of the one before (docs/protocol.md). A user
 * that keeps the revision and hash of the last change it has dealt with goes on from there after a restart.
 */
#ifndef IPAM_SUBSCRIBER_H
#define IPAM_SUBSCRIBER_H

#include <stdbool.h>
#include <stdint.h>

#include <ipam/chain.h>
#include <ipam/client.h>
#include <ipam/error.h>
#include <ipam/ipam.pb-c.h>

#ifdef __cplusplus
extern "C" {
#endif
#pragma GCC visibility push(default)

#ifdef UV_H

struct ipam_subscriber;

struct ipam_subscriber_options {
    const struct ipam_options *connection; /* of the gRPC socket; NULL: all defaults */
    /* Path of the bus; NULL: $IPAMD_EVENTS if set and not empty, else events.sock beside the socket. */
    const char *events;
    bool from_now; /* start after the newest change there is when ipamd answers first; else after `after_revision` */
    uint64_t after_revision; /* 0: from the beginning */
    /* IPAM_HASH_SIZE bytes, of the change `after_revision`; NULL: not known, what ipamd has there is believed. */
    const uint8_t *hash;
};

/* None may be NULL but `synced` and `trouble`. All come from the loop. What they get is borrowed for the callback. */
struct ipam_subscriber_callbacks {
    void (*change)(const Ipam__V1__Change *change, void *user);
    /* All changes up to `revision`, the newest that we know of, have been delivered. Comes at first, also when there was
     * nothing to deliver, and then after each burst of changes: a good moment to do what is worth doing once for many. */
    void (*synced)(uint64_t revision, void *user);
    /* ipamd or its bus can't be reached or answered with an error; goes on by itself. Comes once per trouble, and with
     * NULL when it is over. */
    void (*trouble)(const struct ipam_error *error, void *user);
    /* The end: nothing more comes, close the subscriber. Reasons: HISTORY_COMPACTED (changes after the starting point
     * are no longer kept), HISTORY_REPLACED (ipamd has another history than the one followed: its state was lost or
     * restored from a backup), HISTORY_BROKEN (a hash does not fit). A user that needs the present state reads it
     * afresh (ListPools, ListClaims) and subscribes again from the revision of that reply. */
    void (*ended)(const struct ipam_error *error, void *user);
};

/* Starts by itself; nothing is called before the loop runs. -1: out of memory, or a path is too long. */
int ipam_subscriber_new(uv_loop_t *loop, const struct ipam_subscriber_options *options,
                        const struct ipam_subscriber_callbacks *callbacks, void *user, struct ipam_subscriber **ret,
                        struct ipam_error *reterr);

/* No callback comes any more but closed(user) (may be NULL), from the loop, when the memory is gone. May be called from
 * within a callback. */
void ipam_subscriber_close(struct ipam_subscriber *subscriber, void (*closed)(void *user), void *user);

/* Of the last change delivered (the starting point before there was one). */
uint64_t ipam_subscriber_revision(const struct ipam_subscriber *subscriber);

#endif /* UV_H */

#pragma GCC visibility pop
#ifdef __cplusplus
}
#endif
#endif
