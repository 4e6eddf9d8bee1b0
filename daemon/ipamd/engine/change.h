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

/* Nanoseconds since the Unix epoch, UTC: for people. May be wrong, and may go back. Wrapped, so that seconds can't be added
 * by mistake. 0: none. */
struct wall_time {
    int64_t ns;
};

/* Nanoseconds since the machine started, time asleep included (CLOCK_BOOTTIME): what delays are measured in. Never goes back,
 * and says nothing in another boot. */
struct elapsed_time {
    int64_t ns;
};

#define BOOT_ID_SIZE 16

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

/* What the end of a cooling is worked out from. In the boot of `boot_id` it ends at boot_time + delay, whatever the wall clock
 * says; in any other boot, see engine_clock. */
struct cooling_record {
    struct wall_time released_at;
    uint32_t delay_seconds;
    uint8_t boot_id[BOOT_ID_SIZE];
    struct elapsed_time boot_time; /* of the release */
};

static inline struct elapsed_time cooling_end(const struct cooling_record *cooling)
{
    return (struct elapsed_time){cooling->boot_time.ns + (int64_t)cooling->delay_seconds * 1000000000};
}

/* When a cooling ends for people: as `recorded`, unless the wall clock was set since, so that `computed`, what is left of it
 * from now on, lies a second or more away. Two clocks can't be read at one moment: each computed one is some digits off. */
static inline struct wall_time cooling_until_now(struct wall_time recorded, struct wall_time computed)
{
    int64_t off = computed.ns - recorded.ns;
    return off > -1000000000 && off < 1000000000 ? recorded : computed;
}

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
    struct wall_time allocated_at; /* BOUND (when it got the address), COOLING, RELEASED if it had one; else 0 */
    struct wall_time
        cooling_until; /* COOLING, and RELEASED if a request ended the cooling: released_at + delay; else 0 */
    const struct cooling_record *cooling; /* COOLING; else NULL. ipamd 0.1.0 recorded none */
    uint64_t waiting_since;               /* WAITING: revision at which it joined the queue with these terms; else 0 */
    bool has_user;                        /* false: recorded before users were */
    uint32_t user; /* user id of the client that made it (its first change); stays the same all along */
};

/* Changes that were acknowledged and are not there any more: an operator accepted that. It changes no pool and no claim; the
 * revisions after `kept` are used again, this change's first. */
struct loss_record {
    uint64_t kept; /* revision up to which nothing is missing */
    uint64_t lost; /* the last one that was acknowledged; 0: not known */
    bool has_hash;
    uint8_t hash[32]; /* of `lost` */
};

enum change_kind { CHANGE_POOL = 1, CHANGE_CLAIM = 2, CHANGE_LOSS = 3 };

struct change {
    uint64_t revision;
    struct wall_time at; /* as the clock had it: the order of changes is that of revisions */
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
