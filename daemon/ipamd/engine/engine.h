/* engine.h: the decisions. Pools, claims, queue and cooling in memory; a request goes in with the time, changes come out.
 *
 * Called by ipamd's loop, the store's replay, and by simulators, fuzzers and benchmarks with nothing else linked.
 * It must not know the clock, the disk, a socket, a log or a random source: all that comes in as values.
 *
 * Every deciding function works in one go: on success (0) the engine is in its new state and the changes that led there
 * have been appended to `ctx->changes`, one atomic batch; on refusal (-1) nothing has changed but what `ctx->changes`
 * got from cooling that ended by ctx->now, and *reterr says why. With dry_run, nothing at all changes: the answer is what
 * the call would give. Results and strings in them are borrowed until the next engine_ call or the end of ctx->arena,
 * whichever is first.
 */
#ifndef IPAMD_ENGINE_ENGINE_H
#define IPAMD_ENGINE_ENGINE_H

#include "change.h"

struct engine;

/* Families as a set, IPAM_IPV4 and IPAM_IPV6 as bits: what Family DUAL means. */
#define FAMILY_BIT(family) (1u << ((family)-1))
#define FAMILY_SET_IPV4    FAMILY_BIT(IPAM_IPV4)
#define FAMILY_SET_IPV6    FAMILY_BIT(IPAM_IPV6)
#define FAMILY_SET_DUAL    (FAMILY_SET_IPV4 | FAMILY_SET_IPV6)

#define ENGINE_NAME_MAX    253 /* bytes of a pool name, an owner kind or an owner name (RFC 1123; Kubernetes) */
#define ENGINE_UID_MAX     128 /* bytes of a uid */
#define ENGINE_ADDRESS_MAX 128 /* bytes of an address as a request writes it; longer is INVALID_ADDRESS and not remembered */

/* What comes with every request. `now` before that of an earlier call counts as that one's. */
struct engine_ctx {
    struct wall_time now;
    struct actor actor;
    struct arena *arena;     /* results live here */
    struct changes *changes; /* appended to */
};

/* hash_key: random bytes, so that names from users can't be chosen to collide (SipHash). */
struct engine *engine_new(const uint8_t hash_key[16]);
struct engine *engine_free(struct engine *engine); /* NULL is fine; returns NULL */

uint64_t engine_revision(const struct engine *engine); /* of the newest change; 0 when empty */

/* ---- Pools ---------------------------------------------------------------------------------------------------- */

struct pool_counts {
    uint64_t capacity, allocated, available, cooling, excluded, orphaned, waiting;
};

/* A pool as seen now. `waiting` counts claims that name the pool; by family where a per-family count makes sense. */
struct pool_view {
    struct pool_record record;
    uint64_t revision; /* of its last change */
    struct pool_counts total, ipv4, ipv6;
    struct string_list clipped; /* cidrs (and ranges) that serve their first 65,536 addresses only */
    uint64_t claims;            /* bound claims made through it, orphans included: what draining waits for */
};

/* A claim as seen now. */
struct claim_view {
    struct claim_record record;
    uint64_t revision;       /* of its last change */
    uint64_t queue_position; /* WAITING in a queue: 1 is next; 0: no release can serve it, something else must change */
};

struct claim_views {
    struct claim_view *items;
    size_t count;
};

struct apply_pool_args {
    const char *name;
    struct pool_spec spec;
    bool record_rejected; /* a refusal for INVALID_POOL_SPEC or POOL_OVERLAP is remembered as POOL_REJECTED: success */
    bool dry_run;
};

struct apply_pool_result {
    struct pool_view pool;
    struct claim_views stranded; /* bound claims made through it whose address leaves it by this edit */
    bool changed;
};

/* Creates or edits a pool.
 *  - The same spec (uid and generation included) again: no change.
 *  - A uid that differs from the recorded one, both not empty: the pool was recreated; it takes the new uid and keeps its
 *    claims, even while DRAINING, which ends that. An empty uid leaves the recorded one.
 *  - The same uid with a generation below the recorded one (both over 0): STALE_GENERATION.
 *  - DRAINING otherwise: POOL_DRAINING.
 *  - Usable addresses = expanded cidrs and addresses without excluded. INVALID_POOL_SPEC quotes the entry that is wrong.
 *    POOL_OVERLAP names the other pool and the first range in common; `addresses` ranges are clipped as cidrs are.
 *  - Whenever a pool changes or goes, rejected pools are retried, the oldest first, then the queue is served: all in the
 *    same batch. A pool that was READY and is rejected keeps its last good spec in force (state REJECTED, still serving).
 */
int engine_apply_pool(struct engine *engine, const struct engine_ctx *ctx, const struct apply_pool_args *args,
                      struct apply_pool_result *ret, struct ipam_error *reterr);

struct delete_pool_args {
    const char *name;
    const char *uid; /* not "" and different from the recorded one, both known: nothing is deleted, success */
    bool only_if_unused, dry_run;
};

struct delete_pool_result {
    bool removed, draining;
    uint64_t claims; /* bound claims made through it */
};

/* Deletes a pool; unknown: POOL_NOT_FOUND. Manual claims in its range do not hold it up. */
int engine_delete_pool(struct engine *engine, const struct engine_ctx *ctx, const struct delete_pool_args *args,
                       struct delete_pool_result *ret, struct ipam_error *reterr);

int engine_pool_get(struct engine *engine, const char *name, struct arena *arena, struct pool_view *ret,
                    struct ipam_error *reterr);

struct pool_views {
    struct pool_view *items;
    size_t count;
    bool more; /* pools follow after the last one */
};

/* Pools with a name after `after` in byte order ("" for all), at most `limit`. */
void engine_pools_list(struct engine *engine, const char *after, size_t limit, struct arena *arena, struct pool_views *ret);

/* ---- Claims --------------------------------------------------------------------------------------------------- */

struct allocate_args {
    struct owner_ref owner;
    const char *pool;      /* "": manual; then every family asked for must come with an address */
    unsigned int families; /* FAMILY_SET_…, 0 for unset: those of the addresses, else the pool's only one, else IPv4 */
    const char *address, *ipv6_address;                     /* "" for any */
    const char *preferred_address, *preferred_ipv6_address; /* "" for none */
    bool enqueue, replace, dry_run;
};

/* Grants, or finds granted, the owner's claims of the families asked for; IPv4 before IPv6.
 *
 * Which family a text belongs to: `ipv6_address` is for IPv6; `address` is for IPv4, or for IPv6 when the request's
 * families are IPv6 alone, or unset and it reads as IPv6. The preferred ones likewise; a preferred address that can't be
 * read or had is ignored. Texts may be bare or in CIDR notation with full length.
 *
 * What it does, per family asked for:
 *  1. The owner holds a BOUND claim. It fits if the pool is the same and no address or this address is asked for: then it
 *     is the answer, also when the pool is by now draining, paused, gone or without the address. A uid that is not empty
 *     and differs is taken over (one change: rebound). If it does not fit: CLAIM_EXISTS, or with `replace` it is given
 *     back and the new one granted in the same batch; the address may stay the same while the pool changes.
 *  2. Else it is to be granted. All that is to be granted is granted together or not at all.
 *
 * Checks, in this order; the first that fails is the reason:
 *   INVALID_OWNER, then INVALID_REQUEST (unknown family set, manual without address, pool name too long or not a name),
 *   INVALID_ADDRESS, CLAIM_EXISTS; then if a pool is named: POOL_NOT_FOUND, POOL_DRAINING, POOL_REJECTED (no spec in
 *   force), FAMILY_NOT_IN_POOL (the pool has no usable address of the family); then per family, IPv4 first:
 *   with an address: ADDRESS_EXCLUDED, ADDRESS_NOT_IN_POOL, ADDRESS_IN_USE, ADDRESS_COOLING (manual: the last two);
 *   with a preferred address that passes those: granted, whatever follows;
 *   for any: AUTO_ASSIGN_DISABLED, POOL_PAUSED; then the owner's own cooling address of that pool and family, the most
 *   recently released first; then the lowest free address; else POOL_EXHAUSTED.
 * An address that is held by the same owner under a claim being replaced counts as free to it; a cooling address counts as
 * free to the owner (kind, name) that held it last, and its claim is taken up again under the same id.
 *
 * enqueue: a refusal from INVALID_ADDRESS or from POOL_NOT_FOUND on becomes WAITING claims (one per family to be granted,
 * `dual` when there are two) with the reason and message; success. The same terms (pool, families, address) again keep the
 * place in the queue, other terms join at its end under the same claim ids where the family stays. A family that waited
 * and is no longer asked for stays as it is, but no longer dual. Not possible together with a BOUND claim that is to be
 * replaced: the refusal is returned and the old claim stays.
 * Without enqueue, a waiting owner whose request can't be granted gets the refusal and keeps waiting on its old terms.
 *
 * Serving the queue: after every change of free space or of a pool, in the same batch, waiting claims that can now be
 * granted are, the longest waiting (waiting_since) first within the pool; one that can't be holds up nobody else. So no
 * grantable claim ever waits. A waiting claim's reason and message are recorded anew when its reason changes. */
int engine_allocate(struct engine *engine, const struct engine_ctx *ctx, const struct allocate_args *args,
                    struct claim_views *ret, struct ipam_error *reterr);

struct release_args {
    const char *kind, *name; /* both "" when only the address is given */
    unsigned int families;   /* 0: both */
    const char *address;     /* "" for whatever the owner has */
    const char *uid;         /* not "": only claims whose recorded uid is this one */
    bool dry_run;
};

/* Gives back BOUND and WAITING claims, all that match; none is success too. Neither owner nor address: INVALID_REQUEST.
 * A bound address cools for the reuse delay of the pool in which it lies, else of the pool the claim was made through;
 * with no delay it is free at once. The last claim made through a DRAINING pool takes the pool with it. */
int engine_release(struct engine *engine, const struct engine_ctx *ctx, const struct release_args *args,
                   struct claim_views *ret, struct ipam_error *reterr);

/* The owner's BOUND and WAITING claims, IPv4 before IPv6. */
int engine_claims_of(struct engine *engine, const char *kind, const char *name, struct arena *arena,
                     struct claim_views *ret, struct ipam_error *reterr);

struct claim_filter {
    const char *pool, *kind;         /* "" for any */
    enum claim_state state;          /* 0: WAITING and BOUND; CLAIM_COOLING must be asked for */
    const struct ipam_addr *address; /* NULL for any; BOUND or COOLING claim of this address, then `state` 0 means both */
};

/* Claims with an id after `after_id` in order of id, at most `limit`, looking at no more than `scan` claims; *ret_last is
 * the id to go on after, 0 when there are no more. */
void engine_claims_list(struct engine *engine, const struct claim_filter *filter, uint64_t after_id, size_t limit,
                        size_t scan, struct arena *arena, struct claim_views *ret, uint64_t *ret_last);

/* Ends every cooling whose time has come by ctx->now, then serves the queue. The deciding functions do this first by
 * themselves; the loop calls it when engine_next_expiry's time is reached. */
void engine_expire(struct engine *engine, const struct engine_ctx *ctx);
bool engine_next_expiry(const struct engine *engine, struct wall_time *ret);

struct engine_totals {
    uint64_t pools, bound, waiting, cooling;
};
void engine_totals(const struct engine *engine, struct engine_totals *ret);

/* ---- Replay and inspection ------------------------------------------------------------------------------------- */

/* Puts the engine where the change says, without deciding anything. Works with a whole history in order of revision,
 * and with the last change of every living pool and claim, pools first, each kind in order of id; then engine_set_revision
 * tells how far the history goes. -1 with STORE_DAMAGED when the record contradicts the state. */
int engine_replay(struct engine *engine, const struct change *change, struct ipam_error *reterr);
void engine_set_revision(struct engine *engine, uint64_t revision, struct wall_time at);

/* All state as text, in order of id, the same for equal states however they came about. */
void engine_dump(struct engine *engine, void (*write)(void *user, const char *text, size_t size), void *user);

/* Aborts unless every invariant holds: no address with two claims, an address in one pool at most, counts that add up,
 * bitmaps that match claims, no grantable claim waiting, at most one live claim per owner and family. O(everything). */
void engine_check(struct engine *engine);

#endif
