/* turn.h: one object's turn: read what is needed, work out its status, write it if it is not so.
 *
 * Used by writer.c, which decides whose turn it is and what follows from the outcome. It knows the calls to the API server and
 * to ipamd, and must not know the queue, back-off or leadership.
 */
#ifndef IPAM_STATUS_TURN_H
#define IPAM_STATUS_TURN_H

#include <uv.h>

#include <ipam/client.h>

#include "client.h"
#include "follow.h"
#include "objects.h"
#include "status.h"

enum turn_outcome {
    TURN_RIGHT,     /* nothing to write */
    TURN_WRITTEN,   /* done, and the object is known as it is now */
    TURN_BLOCKED,   /* the address that it is to show stands in another status yet */
    TURN_LEFT,      /* the same, and what was no longer its own has left its status */
    TURN_APART,     /* the pool and its claims are not known as of one moment yet */
    TURN_PASSING,   /* what is to be written is mostly over in a moment */
    TURN_STALE,     /* 409: to be read again */
    TURN_GONE,      /* 404 */
    TURN_BUSY,      /* the API server can't be reached, or has too much to do: as good for any other object */
    TURN_DEFERRED,  /* ipamd could not be asked */
    TURN_FORBIDDEN, /* 401, 403: as good for any other object of the kind */
    TURN_FAILED,    /* 500 and the like: the server's own fault, maybe with this object only */
    TURN_REFUSED,   /* any other answer: something about this object */
    TURN_CANCELLED,
    TURN_OUTCOMES
};

extern const char *const turn_outcome_names[TURN_OUTCOMES]; /* of metrics */

struct turn_report {
    struct object *object;
    enum turn_outcome outcome;
    const struct ipam_error *error;     /* NULL: none */
    uint32_t retry_after_ms;            /* 0: the server said nothing */
    const struct status_update *update; /* of WRITTEN */
    bool undone;                        /* it had been right before, and ipamd has had no news: somebody undid it */
    bool replaced;                      /* by another object of the name meanwhile */
};

struct turn_context {
    struct kube_client *client;
    struct ipam_channel *channel;
    struct objects *objects;
    struct follow *follow;
    /* The object as the API server answered. */
    void (*take)(enum object_kind kind, const json_t *json, void *user);
    /* The end, once each, from the loop or from within turn_start; all is borrowed. */
    void (*done)(const struct turn_report *report, void *user);
    void *user;
};

struct turn; /* from turn_start to done */

/* Takes the object out of the queue and sets in_flight; the caller keeps it alive until done, which finds in_flight cleared.
 * `context` is borrowed until then. */
void turn_start(const struct turn_context *context, struct object *object);
void turn_cancel(struct object *object); /* done comes from the loop */

#endif
