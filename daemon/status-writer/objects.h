/* objects.h: what is remembered of each ProxyVIP and ProxyIPPool: the little of it that its status depends on.
 *
 * Used by schedule.c, news.c, pass.c and writer.c. It knows which parts of an object matter, which addresses statuses show, and
 * when each object is looked at next (a queue by time); it must not know ipamd, the API server or the loop: times are milliseconds of some clock, as values.
 * An object is kept as one compact JSON text of a few hundred bytes.
 */
#ifndef IPAM_STATUS_OBJECTS_H
#define IPAM_STATUS_OBJECTS_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>
#include <bsd/sys/tree.h>

#include <ipam/addr.h>

#include "filter.h"
#include "policy.h"
#include "ranges.h"

enum object_kind { OBJECT_VIP, OBJECT_POOL, OBJECT_KINDS };

struct object_kind_info {
    const char *kind;                       /* "ProxyVIP" */
    const char *plural;                     /* "proxyvips" */
    const struct kube_field *fields;        /* all that is read of one */
    const struct kube_field *status_fields; /* of these, the status's */
    const char *const *conditions;          /* types of those that are ours, to NULL */
};

extern const struct object_kind_info object_kinds[OBJECT_KINDS];

/* An address in the status of a VIP that is ours there, or is about to stand there. */
struct shown {
    RB_ENTRY(shown) node;
    struct ipam_addr address; /* family IPAM_FAMILY_NONE: not in the index */
    struct object *object;
};

struct object {
    RB_ENTRY(object) by_name, by_due;
    enum object_kind kind;
    char *name, *uid, *version;       /* version: resourceVersion */
    char *seen;                       /* compact JSON of metadata, spec and status as far as they matter */
    char *residue;                    /* patch that the server took without keeping it; NULL: none */
    struct shown shown[2], coming[2]; /* coming: of a patch whose outcome is not known yet */
    struct ranges ranges;             /* of a pool, as it was when it was read last */

    uint64_t due, order; /* its place in the queue */
    bool queued;
    bool recheck;   /* queued only to see whether something has changed that nobody tells */
    bool in_flight; /* it has a pass (pass.h) */
    struct pass *pass;
    bool again;    /* marked while in flight */
    bool unsure;   /* what is seen may be old: it is read before it is written */
    bool changed;  /* ipamd's state of it changed since the last write */
    bool gone;     /* deleted while in flight: freed when that ends */
    bool troubled; /* a trouble about it was told */

    struct policy_history history;
    uint64_t unsettled_since;        /* its claims are not on the terms of its spec; 0: they are */
    uint64_t digest, written_digest; /* of our part of its status as it is, and as it was after the last write */
};

struct objects;

struct objects *objects_new(void);
struct objects *objects_free(struct objects *objects); /* NULL is fine; returns NULL. None may be in flight. */

/* The object as the API server has it. NULL: it has no name or is as it was. An object with another uid takes the old one's
 * place. `no_older`: one with a lower resourceVersion is late news and left out. */
struct object *objects_take(struct objects *objects, enum object_kind kind, const json_t *json, bool no_older);
struct object *objects_get(struct objects *objects, enum object_kind kind, const char *name); /* NULL: none */
void objects_remove(struct objects *objects, struct object *object);

/* Every object of a kind: NULL gives the first, and NULL comes after the last. */
struct object *objects_next(struct objects *objects, enum object_kind kind, struct object *object);
size_t objects_count(const struct objects *objects, enum object_kind kind);

/* Until objects_settle the object's status may show these, too. */
void objects_expect(struct objects *objects, struct object *object, const struct ipam_addr coming[2]);

void objects_settle(struct objects *objects, struct object *object);

/* A VIP other than `object` whose status shows the address as ours; NULL: none. */
struct object *objects_showing(struct objects *objects, const struct ipam_addr *address, const struct object *object);

/* Of our part of a status: a number that is another one if somebody changes it. */
uint64_t objects_digest(enum object_kind kind, const json_t *json);

/* ---- Which is looked at next ---- */

void objects_queue(struct objects *objects, struct object *object, uint64_t due); /* sooner, if it is queued already */
void objects_queue_recheck(struct objects *objects, struct object *object,
                           uint64_t due); /* unless it is queued already */
/* The next one of a kind, still queued; NULL: none. Each kind has a queue of its own, so that none waits for another. */
struct object *objects_due(struct objects *objects, enum object_kind kind);
void objects_unqueue(struct objects *objects, struct object *object);
size_t objects_queued(const struct objects *objects, enum object_kind kind); /* without those for a recheck */

#endif
