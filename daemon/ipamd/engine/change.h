/* change.h: the change, the one record that everything in ipamd is made of, and lists of them.
 *
 * The engine makes changes, the store writes and replays them, the bus and the history show them. A change is a value:
 * one pool or claim in its next state, complete in itself. Nothing here knows how it is encoded.
 */
#ifndef IPAMD_ENGINE_CHANGE_H
#define IPAMD_ENGINE_CHANGE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <ipam/addr.h>
#include <ipam/error.h>

#include "arena.h"

/* Nanoseconds since the Unix epoch, UTC. Wrapped, so that seconds can't be added by mistake. 0: none. */
struct wall_time {
    int64_t ns;
};

/* Who holds an address. Strings are never NULL ("" for none). */
struct owner_ref {
    const char *kind, *name, *uid;
};

/* Who asked for a change. */
struct actor {
    uint32_t uid;        /* user id of the peer */
    const char *command; /* its command name */
    const char *method;  /* the RPC; "" for what ipamd does by itself (a cooling that ends) */
};

struct string_list {
    const char *const *items;
    size_t count;
};

/* A pool as its user wrote it. */
struct pool_spec {
    struct string_list cidrs, addresses, excluded;
    const char *uid;
    int64_t generation;
    uint32_t reuse_delay_seconds;
    bool auto_assign, paused;
};

/* Numbers as in ipam.v1.PoolState and ipam.v1.ClaimState. */
enum pool_state { POOL_READY = 1, POOL_REJECTED = 2, POOL_DRAINING = 3, POOL_REMOVED = 4 };
enum claim_state { CLAIM_WAITING = 1, CLAIM_BOUND = 2, CLAIM_COOLING = 3, CLAIM_RELEASED = 4 };

struct pool_record {
    uint64_t id; /* revision that created it; pools are older or newer by this */
    const char *name;
    enum pool_state state;
    enum ipam_reason reason; /* with POOL_REJECTED, else NONE */
    const char *message;
    bool has_spec; /* false: never accepted, only `rejected` says something */
    struct pool_spec spec;
    bool has_rejected; /* with POOL_REJECTED: the spec that is retried whenever another pool changes */
    struct pool_spec rejected;
    struct wall_time created_at;
};

/* One owner's demand for one address of one family.
 *
 *             (none) ──► WAITING ──► BOUND ──► COOLING ──► RELEASED (gone)
 *                └─────────────────────┘└── or at once, without reuse delay ──┘      COOLING ──► BOUND: same owner
 *
 * The id stays the same all along: a cooling claim that its owner takes back is the same claim. */
struct claim_record {
    uint64_t id; /* revision that created it */
    struct owner_ref owner;
    enum ipam_family family;
    enum claim_state state;
    const char *pool;         /* "" for a manual claim */
    struct ipam_addr address; /* BOUND, COOLING, and RELEASED if it had one */
    const char *requested;   /* WAITING: as the owner wrote it, perhaps unreadable; later: the address, bare. "": any */
    const char *preferred;   /* WAITING: the hint of the request, "" for none; else "" */
    bool dual;               /* WAITING: granted together with the owner's other family or not at all */
    enum ipam_reason reason; /* WAITING: why */
    const char *message;
    struct wall_time created_at;
    struct wall_time allocated_at;  /* BOUND (when it got the address), COOLING, RELEASED if it had one; else 0 */
    struct wall_time cooling_until; /* COOLING; else 0 */
    uint64_t waiting_since;         /* WAITING: revision at which it joined the queue with these terms; else 0 */
};

/* Changes that were acknowledged and are not there any more: an operator accepted that. It changes no pool and no claim; the
 * revisions after `kept` are given anew, this change's first. */
struct loss_record {
    uint64_t kept; /* revision up to which nothing is missing */
    uint64_t lost; /* the last one that was acknowledged; 0: not known */
    bool has_hash;
    uint8_t hash[32]; /* of `lost` */
};

enum change_kind { CHANGE_POOL = 1, CHANGE_CLAIM = 2, CHANGE_LOSS = 3 };

struct change {
    uint64_t revision;
    struct wall_time at; /* never before that of the change before it */
    struct actor actor;
    enum change_kind kind;
    union {
        struct pool_record pool;
        struct claim_record claim;
        struct loss_record loss;
    };
};

/* Changes in order of revision, with all that they point at. */
struct changes {
    struct arena arena;
    struct change *items;
    size_t count, capacity;
};

void changes_init(struct changes *changes);
void changes_done(struct changes *changes);
void changes_reset(struct changes *changes); /* empty again, memory kept */
size_t
changes_bytes(const struct changes *changes); /* of the changes and all that they point at, unused room included */

/* Appends a deep copy of *change. */
void changes_append(struct changes *changes, const struct change *change);

#endif
