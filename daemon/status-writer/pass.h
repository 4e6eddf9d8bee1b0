/* pass.h: one look at one object: read what is needed, work out its status, write it if it says otherwise.
 *
 * Used by writer.c, which says when, and what follows from the outcome (policy.h). It knows the calls to the API server and to
 * ipamd, and must not know the queue, back-off or leadership.
 */
#ifndef IPAM_STATUS_PASS_H
#define IPAM_STATUS_PASS_H

#include <uv.h>

#include <ipam/client.h>

#include "client.h"
#include "follow.h"
#include "objects.h"
#include "status.h"

struct pass_report {
    struct object *object;
    enum pass_outcome outcome;
    const struct ipam_error *error;     /* NULL: none */
    uint32_t retry_after_ms;            /* 0: the server said nothing */
    const struct status_update *update; /* of WRITTEN */
    bool undone;                        /* somebody had changed what was written, and ipamd had no news */
    bool replaced;                      /* by another object of the name meanwhile */
    bool unfinished;                    /* of WRITTEN: there is more to do */
    uint64_t
        settle_at; /* milliseconds of the loop; then ipamd is asked why its claims are not on the spec's terms; 0: not */
    uint64_t recheck_at; /* then it is asked again; 0: not */
};

struct pass_context {
    uv_loop_t *loop;
    struct kube_client *client;
    struct ipam_channel *channel;
    struct objects *objects;
    struct follow *follow;
    struct policy_asking *asking;
    /* The object as the API server answered. */
    void (*take)(enum object_kind kind, const json_t *json, void *user);
    /* The end, once each, from the loop or from within pass_start; all is borrowed. */
    void (*done)(const struct pass_report *report, void *user);
    void *user;
};

struct pass; /* from pass_start to done */

/* Takes the object out of the queue and sets in_flight; the caller keeps it alive until done, which finds in_flight cleared.
 * `context` is borrowed until then. */
void pass_start(const struct pass_context *context, struct object *object);
void pass_cancel(struct object *object); /* done comes from the loop */

#endif
