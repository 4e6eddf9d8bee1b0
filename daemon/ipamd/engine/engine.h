/* engine.h: the decisions. Pools, claims, queue and cooling in memory; a request goes in with the time, changes come out.
 *
 * Called by ipamd's loop, the store's replay, and by simulators, fuzzers and benchmarks with nothing else linked.
 * It must not know the clock, the disk, a socket, a log or a random source: all that comes in as values.
 *
 * Every deciding function works in one go: on success (0) the engine is in its new state and the changes that led there
 * have been appended to `ctx->changes`, one atomic batch; on refusal (-1) nothing has changed but what `ctx->changes`
 * got from cooling that ended by ctx->elapsed, and *reterr says why. With dry_run, nothing at all changes (no cooling ends
 * either): the answer is what the call would give, revisions and ids included. Results and strings in them are borrowed
 * until the next engine_ call or the end of ctx->arena or ctx->changes, whichever is first.
 *
 * The order of changes in a batch, so that equal calls make equal histories:
 *  1. cooling that ended, the first ctx->max_ends of it by (end, id), then the queue (5): a part of its own, with an empty
 *     actor {0, "", ""};
 *  2. what was asked for, as each function says;
 *  3. DRAINING pools through which no bound claim is left any more: REMOVED, the oldest first;
 *  4. if a pool changed or went: rejected pools. The oldest that can be accepted is; then again from the oldest, until none
 *     can. Then those, the oldest first, whose message changes because the range or pool they meet is another one;
 *  5. the queue: see engine_allocate.
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
#define ENGINE_ADDRESS_MAX 128 /* bytes of an address as a request or a pool writes it */

#define ENGINE_POOL_ENTRIES_MAX  65536      /* cidrs, addresses and excluded of a pool together */
#define ENGINE_POOL_CAPACITY_MAX (1u << 25) /* usable addresses of a pool, both families together */
#define ENGINE_REUSE_DELAY_MAX   315360000  /* seconds: ten years */

/* How many claims, bound, waiting and cooling, owners of a kind may have. */
struct claim_limit {
    const char *kind; /* "*": each kind that no other row names */
    uint64_t max;
};

/* What new claims, pools and owners must keep to; those that are there already stay, whatever they are. Claims are counted
 * in every state, cooling ones too: they take memory and addresses alike. 0: no limit, unless said otherwise. */
struct engine_limits {
    const struct claim_limit *claims;
    size_t n_claims;
    uint64_t claims_max;      /* of all owners together */
    uint64_t user_claims_max; /* that the caller (ctx->actor.uid) has made, for whichever owner */
    uint64_t cooling_max;     /* addresses of an owner and family that cool at once; past it the oldest end early */
    size_t name_max;          /* bytes of a pool's name, an owner's kind and name; 0: ENGINE_NAME_MAX */
    bool manual_bounded;      /* claims without a pool may lie in these ranges only; false: wherever else they may */
    const struct ipam_range *manual;
    size_t n_manual;
    const char *manual_text; /* the ranges, for messages; when there are any */
};

/* For whom the caller may make, change and release claims: what the groups allow together of which it is a member. */
struct engine_scope {
    const struct string_list *groups; /* kinds of owners, by group: an empty list is every kind. NULL: for everybody */
    uint32_t member;                  /* bit i: of groups[i] */
    struct string_list
        objects; /* owners of these kinds with a uid are Kubernetes': only for groups that name the kind */
};

/* What comes with every request. `now` dates the changes as it is, and may go back; what ends by itself ends by `elapsed`,
 * which counts as that of an earlier call if it is before it. */
struct engine_ctx {
    struct wall_time now;
    struct elapsed_time elapsed;
    size_t max_ends; /* so many coolings end with this call at most, so that none takes long; 0: all that are over */
    struct actor actor;
    struct arena *arena;     /* results live here */
    struct changes *changes; /* appended to */
    struct engine_limits limits;
    struct engine_scope scope; /* of engine_allocate and engine_release */
};

/* hash_key: random bytes, so that names from users can't be chosen to collide (SipHash). */
struct engine *engine_new(const uint8_t hash_key[16]);
struct engine *engine_free(struct engine *engine); /* NULL is fine; returns NULL */

/* Both clocks when the process started, and which boot of the machine that is. */
struct engine_clock {
    struct wall_time now;
    struct elapsed_time elapsed;
    uint8_t boot_id[BOOT_ID_SIZE];
};

/* Before the first call and the first replay; an engine without starts at 0 in a boot 0. What cooled when it was recorded
 * ends
 *  - at boot_time + delay, if it was released in this boot: exactly;
 *  - else, or if that is not known (ipamd 0.1.0), clamp(cooling_until - now, 0, delay) after `elapsed`. No wall clock, then
 *    or now, can make it last longer than its delay. 0.1.0's delay is cooling_until less the time of its change. */
void engine_set_clock(struct engine *engine, const struct engine_clock *clock);

uint64_t engine_revision(const struct engine *engine); /* of the newest change; 0 when empty */

/* ---- Pools ---------------------------------------------------------------------------------------------------- */

struct pool_counts {
    uint64_t capacity, allocated, available, cooling, excluded, orphaned, waiting;
};

/* A pool as seen now. By family all counts are of claims or addresses; in `total` waiting and orphaned are of owners: one
 * that waits, or is orphaned, with both families counts once. */
struct pool_view {
    struct pool_record record;
    uint64_t revision; /* of its last change */
    struct pool_counts total, ipv4, ipv6;
    struct string_list
        clipped; /* cidrs and ranges that have addresses past their first 65,536, which the pool has not */
    struct string_list warnings; /* what its user should know of the spec in force, a sentence each */
    uint64_t claims;             /* bound claims made through it, orphans included: what draining waits for */
};

/* A claim as seen now. */
struct claim_view {
    struct claim_record record;
    const char *lies_in;     /* the pool whose address it holds, whatever pool it was made through; "" for none */
    uint64_t revision;       /* of its last change */
    uint64_t queue_position; /* WAITING with POOL_EXHAUSTED: its place among those that ask the same pool for the same
                                set of families for that reason; with ADDRESS_IN_USE or ADDRESS_COOLING: among those
                                that wait for that very address; else 0: something else must change first */
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
    struct claim_views stranded; /* bound claims made through it whose address leaves it by this edit; by address */
    bool changed;                /* a change of this pool was recorded */
};

/* Creates or edits a pool. Which addresses it means: pool_ranges.h. What is recorded of a pool is its newest spec: `rejected` if it has one, else `spec`.
 *  - An empty uid stands for the recorded one.
 *  - A generation below the recorded one (both over 0), unless the uid differs (both not empty): STALE_GENERATION.
 *  - DRAINING: draining ends, whether the uid is the recorded one (it was deleted by mistake) or another (it was recreated).
 *    The pool keeps id, created_at and claims and takes the spec as given. An owner of objects that are being deleted
 *    (ipam-watcher) must not apply them.
 *  - A refused spec that is remembered leaves the one before in force, unless that was the spec of a pool that is gone or
 *    going: DRAINING, or of another uid, both not empty. Then no spec is in force: the pool gives no address, and claims
 *    made through it keep theirs as orphans, until a spec is accepted.
 *  - The recorded spec (uid and generation included, lists in the same order) again: no change, and the same answer.
 *  - INVALID_POOL_SPEC quotes the entry that is wrong. So it is for an entry that has no address that can be a virtual IP
 *    (special.h), but not for the very spec that is in force.
 *    POOL_OVERLAP names the other pool and the first range in common, IPv4 before IPv6. Addresses count against every pool
 *    that has a spec in force, REJECTED and DRAINING ones included.
 *  - The message of a READY pool is its warnings, "" when there are none.
 *  - Whenever a pool changes or goes, rejected pools are retried, then the queue is served: all in the same batch. A pool
 *    that is rejected with a spec in force goes on serving by that (state REJECTED).
 * Checked in this order: INVALID_POOL_SPEC for what is never remembered (a name that is no DNS-1123 subdomain, a uid or an
 * entry that is too long or not printable UTF-8, too many entries, a reuse delay too long), STALE_GENERATION,
 * INVALID_POOL_SPEC for the rest (neither cidrs nor addresses, unreadable entries in the order cidrs, addresses, excluded,
 * capacity, entries without a virtual IP), POOL_OVERLAP.
 */
int engine_apply_pool(struct engine *engine, const struct engine_ctx *ctx, const struct apply_pool_args *args,
                      struct apply_pool_result *ret, struct ipam_error *reterr);

struct delete_pool_args {
    const char *name;
    const char *uid; /* not "" and different from the recorded one, both known: nothing is deleted, success, all zero */
    bool only_if_unused, dry_run;
};

struct delete_pool_result {
    bool removed, draining;
    uint64_t claims; /* bound claims made through it */
};

/* Deletes a pool; unknown: POOL_NOT_FOUND. Bound claims made through it: POOL_IN_USE with only_if_unused, else DRAINING (a
 * rejected spec is forgotten). Manual claims in its range, waiting and cooling ones do not hold it up. Waiting claims
 * that name it stay, with another reason. */
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
void engine_pools_list(struct engine *engine, const char *after, size_t limit, struct arena *arena,
                       struct pool_views *ret);

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
 * Families asked for: args->families, or when 0: IPv4 if `address` is given and does not read as IPv6, IPv6 if it does or
 * `ipv6_address` is given; with neither, the pool's only one (of which it has usable addresses; when it has none at all, of
 * which its ranges are), else IPv4.
 * `ipv6_address` is for IPv6; `address` is for IPv6 when that is the only family asked for, else for IPv4. Two texts for one
 * family, or a text for a family that is not asked for, are INVALID_REQUEST. The preferred ones likewise, but one that is
 * too much, can't be read or can't be had is ignored, and so is one for a family that comes with an address. With IPv6
 * alone, preferred_ipv6_address goes before preferred_address. Texts may be bare or in CIDR notation with full length.
 *
 * What it does, per family asked for:
 *  1. The owner holds a BOUND claim. It fits if the pool is the same and no address or this address is asked for: then it
 *     is the answer, also when the pool is by now draining, paused or without the address. A uid that is not empty
 *     and differs is taken over (one change: rebound). If it does not fit: CLAIM_EXISTS, or with `replace` it is given
 *     back first, exactly as engine_release would, and then the new one is decided on: so it may be granted the same
 *     address again, also as its own cooling one. If the new one is refused, nothing has happened.
 *  2. Else it is to be granted. All that is to be granted is granted together or not at all.
 *
 * Checks, in this order; the first that fails is the reason:
 *   INVALID_OWNER (kind, name or uid empty where it may not be, too long, not printable UTF-8, a '/' in the kind), then
 *   INVALID_REQUEST (unknown family set, texts and families that contradict, manual without address, a pool that is no
 *   DNS-1123 subdomain), PERMISSION_DENIED (ctx->scope does not allow the owner, by its kind, the uid given, and the uids
 *   that its claims are recorded with, cooling ones too), INVALID_ADDRESS, CLAIM_EXISTS, LIMIT_EXCEEDED (the claims that the
 *   owner's kind, the caller and all would have by ctx->limits, in this order; never enqueued. One that waits or cools and goes on
 *   as this one adds none), ADDRESS_NOT_PERMITTED (without a pool: outside of the ranges of
 *   ctx->limits, unless the owner waits for that very address already; never enqueued); then if a pool is named: POOL_NOT_FOUND, POOL_DRAINING,
 *   POOL_REJECTED (no spec in force), FAMILY_NOT_IN_POOL (the pool has no usable address of the family; all families
 *   that are to be granted); then per family, IPv4 first:
 *   with an address: ADDRESS_RESERVED (no virtual IP: special.h), ADDRESS_EXCLUDED (lies in an `excluded` entry),
 *   ADDRESS_NOT_IN_POOL, ADDRESS_IN_USE, ADDRESS_COOLING. Without a pool: ADDRESS_RESERVED; then if no pool has the address
 *   usable, of the first by name that keeps it to itself: ADDRESS_EXCLUDED (it lies in the pool's ranges, too), or
 *   ADDRESS_RESERVED (network or broadcast address of its CIDR); ADDRESS_IN_USE, ADDRESS_COOLING. With a preferred address that passes those: granted, whatever follows;
 *   for any: AUTO_ASSIGN_DISABLED, POOL_PAUSED; then the owner's own cooling address that lies in that pool, of the family,
 *   the most recently released (revision) first; then the lowest free address; else POOL_EXHAUSTED.
 * A cooling address counts as free to the owner (kind, name) that held it last, and its claim is taken up again under the
 * same id and created_at, with the uid of the request; if the owner waited, the waiting claim is RELEASED just before.
 * Else a claim that waited is granted under its own id and created_at. Wherever a claim goes on (rebound, waiting on, or
 * from WAITING to BOUND), an empty uid of the request leaves the recorded one.
 *
 * enqueue: a refusal from INVALID_ADDRESS or from POOL_NOT_FOUND on becomes WAITING claims (one per family to be granted,
 * `dual` when there are two) with the reason and message; success. Not so if a BOUND claim of a family asked for does not
 * fit: the refusal is returned and the old claim stays; nor if a text for a family to be granted is longer than
 * ENGINE_ADDRESS_MAX or not printable UTF-8. The same terms (for all to be granted: pool, dual, and the address, equal as
 * text or as address) again keep place, reason and message, and only a uid or preferred text that is not empty and differs
 * is taken over; other terms join at the queue's end (waiting_since is the revision of each claim's own change) under the
 * same claim ids where the family waited. The answer holds the claims as they are after the batch.
 * Without enqueue, a waiting owner whose request can't be granted gets the refusal and keeps waiting on its old terms.
 * A family that waits and is not asked for stays as it is, but when its other half is granted or joins the queue anew, it is
 * no longer dual (a change, with `dual` false and nothing else).
 *
 * Changes of a call: the claims given back (IPv4, IPv6), the one that is no longer dual, then IPv4 and IPv6 asked for, then the
 * owner's cooling claims beyond ctx->limits.cooling_max that end early (RELEASED, with cooling_until; IPv4, IPv6, each the oldest release first).
 *
 * Serving the queue: after every change of free space or of a pool, in the same batch, waiting claims that can now be
 * granted are, those of all pools in order of waiting_since (of a dual pair: that of its IPv4 claim); one that can't be
 * holds up nobody else. So no grantable claim ever waits. The claim granted has the uid of the one that waited. Then each waiting claim whose reason is now another one is
 * recorded with it and the message of now, in order of waiting_since, a dual pair as IPv4, IPv6, both with the one reason.
 * So the reason recorded is always the one that deciding again would give, but that ADDRESS_IN_USE and ADDRESS_COOLING stand
 * for each other: who still waits for an address that goes from hand to hand, or cools, has no change of its own. The
 * message recorded is of that moment, too. In a claim_view both are those of now. */
int engine_allocate(struct engine *engine, const struct engine_ctx *ctx, const struct allocate_args *args,
                    struct claim_views *ret, struct ipam_error *reterr);

struct release_args {
    const char *kind, *name; /* both "" when only the address is given */
    unsigned int families;   /* 0: both */
    const char *address;     /* "" for whatever the owner has */
    const char *uid;         /* not "": only claims whose recorded uid is this one */
    bool end_cooling;        /* ends the cooling of `address`, and releases nothing */
    bool dry_run;
};

/* Gives back BOUND and WAITING claims, all that match; none is success too. Order: IPv4, IPv6.
 * Neither owner nor address: INVALID_REQUEST, like an unknown family set; a kind without a name, a name without a kind, or
 * either not as in engine_allocate: INVALID_OWNER; an address that can't be read: INVALID_ADDRESS; checked in the order
 * INVALID_OWNER, INVALID_REQUEST, INVALID_ADDRESS, PERMISSION_DENIED (as in engine_allocate, of the owner given; of an address
 * alone, the one that holds it). An address alone matches the BOUND claim that holds it; with an owner it
 * matches its BOUND claim that holds it or its WAITING claim that asks for it.
 * A bound address cools for the reuse delay of the pool in which it lies, else of the pool the claim was made through;
 * with no delay it is free at once; what cools beyond ctx->limits.cooling_max ends, as in engine_allocate, after the claims given
 * back and the one no longer dual. The last claim made through a DRAINING pool takes the pool with it. When one half of a
 * dual pair that waits is given back, the other is no longer dual (a change, after those of the claims given back).
 *
 * end_cooling: the COOLING claim of `address` (INVALID_REQUEST without one), if owner, families and uid match where they are
 * given, is RELEASED; nothing that cools is success too. Its record keeps cooling_until. */
int engine_release(struct engine *engine, const struct engine_ctx *ctx, const struct release_args *args,
                   struct claim_views *ret, struct ipam_error *reterr);

/* The owner's BOUND and WAITING claims, IPv4 before IPv6. */
int engine_claims_of(struct engine *engine, const char *kind, const char *name, struct arena *arena,
                     struct claim_views *ret, struct ipam_error *reterr);

struct claim_filter {
    const char *pool;       /* "" for any; claims made through it, and all whose address lies in it */
    const char *kind;       /* "" for any */
    enum claim_state state; /* 0: WAITING and BOUND; CLAIM_COOLING must be asked for */
    const struct ipam_addr
        *address; /* NULL for any; BOUND or COOLING claim of this address, then `state` 0 means both */
};

/* Claims with an id after `after_id` in order of id, at most `limit`, looking at no more than `scan` claims; *ret_last is
 * the id to go on after, 0 when there are no more. */
void engine_claims_list(struct engine *engine, const struct claim_filter *filter, uint64_t after_id, size_t limit,
                        size_t scan, struct arena *arena, struct claim_views *ret, uint64_t *ret_last);

/* Ends coolings whose time has come by ctx->elapsed, ctx->max_ends at most, then serves the queue. The deciding functions do
 * this first by themselves; the loop calls it when engine_next_expiry's time is reached, again and again until that lies
 * ahead: what is over and has not ended yet still cools. Late is fine, early is not. */
void engine_expire(struct engine *engine, const struct engine_ctx *ctx);
bool engine_next_expiry(const struct engine *engine, struct elapsed_time *ret);

struct engine_totals {
    uint64_t pools, bound, waiting, cooling;
};
void engine_totals(const struct engine *engine, struct engine_totals *ret);

/* ---- Replay and inspection ------------------------------------------------------------------------------------- */

/* Puts the engine where the change says, without deciding anything. Earlier versions may have decided by other rules: of pools
 * that meet, the younger have no addresses for now (their claims stay), and the next deciding call or engine_expire first
 * records what today's rules make of all that was replayed, with an empty actor: REJECTED for POOL_OVERLAP (DRAINING ones
 * stay so, with that reason), the oldest first; new messages of READY pools; rejected pools and the queue as ever. Works with a whole history in order of revision,
 * and with the last change of every living pool and claim, pools first, each kind in order of id; then engine_set_revision
 * tells how far the history goes (needed in the second case only). -1 with STORE_DAMAGED when the record contradicts the
 * state; the engine is then good for engine_free only. */
int engine_replay(struct engine *engine, const struct change *change, struct ipam_error *reterr);
void engine_set_revision(struct engine *engine, uint64_t revision);

/* Records that the changes after the newest one were acknowledged once and are lost: the next change, of kind CHANGE_LOSS.
 * `kept` is filled in. Nothing else is decided, no cooling ends. */
void engine_record_loss(struct engine *engine, const struct engine_ctx *ctx, const struct loss_record *loss);

/* All state as text, pools and then claims in order of id, the same for equal states however they came about. */
void engine_dump(struct engine *engine, void (*write)(void *user, const char *text, size_t size), void *user);

/* Aborts unless every invariant holds: no address with two claims, an address in one pool at most, counts that add up,
 * bitmaps that match claims, no grantable claim waiting, at most one live claim per owner and family. O(everything). */
void engine_check(struct engine *engine);

#endif
