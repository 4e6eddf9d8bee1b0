/* internal.h: what the engine is made of; for the files of this folder alone.
 *
 * Each block names the file that implements it. State changes in two places only: claim_put and pool_put take an object
 * from any state to the one that a record gives, for decisions, for replay and for taking back what a dry run did.
 */
#ifndef IPAMD_ENGINE_INTERNAL_H
#define IPAMD_ENGINE_INTERNAL_H

#include <assert.h>
#include <stddef.h>
#include <string.h>

#include <bsd/sys/tree.h>

#include "engine.h"
#include "pool_ranges.h"

#define LEAF_SIZE        64
#define SPACE_LEVELS_MAX 5 /* 64^5 > ENGINE_POOL_CAPACITY_MAX */

static inline bool text_empty(const char *text)
{
    return !text || !*text;
}

/* ---- text.c: what a name may look like ---- */

bool text_printable(const char *text, size_t max); /* UTF-8 without control characters, at most max bytes */
bool text_pool_name(const char *text);             /* DNS-1123 subdomain */
int text_check_owner(const struct owner_ref *owner, struct ipam_error *reterr); /* INVALID_OWNER */
/* The same for an owner and a pool that are not there yet; max: engine_limits.name_max. */
int text_check_new_owner(const struct owner_ref *owner, size_t max, struct ipam_error *reterr);
int text_check_new_pool(const char *name, size_t max, struct ipam_error *reterr);
int text_check_pool(const char *name, const struct pool_spec *spec,
                    struct ipam_error *reterr); /* INVALID_POOL_SPEC, for what is never remembered */
/* True with the address, if the text is one of the family. */
bool text_read_address(const char *text, unsigned int family, struct ipam_addr *ret);
bool text_same_address(const char *a, const char *b, unsigned int family); /* equal as text or as address */

/* ---- table.c: a hash table of pointers, keyed by SipHash of user-chosen names ---- */

struct table_slot {
    uint64_t hash;
    void *item;
};

struct table {
    struct table_slot *slots;
    uint8_t *tags;      /* of each slot: 0 when empty, else from the hash; small enough to stay in the cache */
    size_t count, mask; /* mask + 1 slots, or none when slots is NULL */
};

typedef bool (*table_equal)(const void *item, const void *key);

void *table_find(const struct table *table, uint64_t hash, table_equal equal, const void *key);
/* The first item from slot *at on, which moves past it; NULL: no more. */
void *table_next(const struct table *table, size_t *at);
void table_insert(struct table *table, uint64_t hash, void *item);
void table_remove(struct table *table, uint64_t hash, const void *item);
static inline void table_prefetch(const struct table *table, uint64_t hash)
{
    if (!table->slots)
        return;
    __builtin_prefetch(&table->tags[hash & table->mask]);
    __builtin_prefetch(&table->slots[hash & table->mask]);
}
void table_done(struct table *table);

/* ---- slab.c: memory for what there are millions of, without malloc's bookkeeping; freed pieces are used again ---- */

#define SLAB_STEP     8
#define SLAB_SIZE_MAX 320

struct slab_block;
struct slab_piece;

struct slab {
    struct slab_piece *pieces[SLAB_SIZE_MAX / SLAB_STEP]; /* free ones by size */
    struct slab_block *blocks;                            /* newest first */
    uint8_t *next, *end;                                  /* what is left of the newest */
};

void *slab_alloc(struct slab *slab, size_t size); /* not cleared, aligned to SLAB_STEP */
void slab_free(struct slab *slab, void *ptr, size_t size);
void slab_done(struct slab *slab); /* with all pieces */

/* ---- plan.c: which addresses a pool's spec means ---- */

struct plan_family {
    struct spans usable, excluded; /* borrowed from `ranges` */
    uint64_t *base; /* index of the first address of each usable span, in all of the plan's of the family */
    uint64_t capacity, n_excluded;
};

struct plan {
    struct plan_family families[FAMILIES];
    struct pool_ranges ranges;
};

#define PLAN_NOWHERE      UINT64_MAX
#define PLAN_WARNINGS_MAX 4

/* -1 with INVALID_POOL_SPEC. The spec must stay while the plan is used. */
int plan_make(const char *name, const struct pool_spec *spec, struct plan *ret, struct ipam_error *reterr);
int plan_check_capacity(const char *name, const struct plan *plan, struct ipam_error *reterr);
/* That, and what only a new spec must keep to: what is recorded stays. */
int plan_check_new(const char *name, const struct plan *plan, struct ipam_error *reterr);
bool spec_had(const struct pool_spec *spec, const struct ipam_addr *address); /* see pool_texts_had */
void plan_done(struct plan *plan);
bool plan_same(const struct plan *a, const struct plan *b);               /* the same usable addresses */
uint64_t plan_index(const struct plan_family *family, addr_value number); /* or PLAN_NOWHERE */
addr_value plan_number(const struct plan_family *family, uint64_t index);
/* What the pool's user should know, a sentence each; and all of it as one text, "" for nothing. */
void plan_warnings(const struct plan *plan, struct arena *arena, struct string_list *ret);
const char *plan_message(const struct plan *plan, struct arena *arena);

/* ---- space.c: which addresses of a plan are free, and who holds the others ---- */

struct claim;

struct space {
    uint64_t capacity, free;
    uint64_t *levels[SPACE_LEVELS_MAX]; /* a 1: free; above the first: a 1: some free below */
    unsigned int n_levels;
    struct claim ***leaves; /* per 64 addresses, or NULL when all are free */
};

void space_init(struct space *space, uint64_t capacity);
void space_done(struct space *space);
uint64_t space_lowest(const struct space *space); /* only when some are free */
struct claim *space_get(const struct space *space, uint64_t index);
void space_take(struct space *space, uint64_t index, struct claim *claim);
void space_give(struct space *space, uint64_t index);
/* The holder with the lowest index from *index on, which moves past it; NULL: no more. */
struct claim *space_next(const struct space *space, uint64_t *index);

/* ---- rank.c: what waits, by age: who is next, and who has which place, each in O(log n) ---- */

struct rank_node {
    struct rank *rank; /* that it stands in, or NULL */
    struct rank_node *left, *right;
    uint64_t since;
    size_t size; /* of the subtree */
};

struct rank {
    struct rank_node *root;
};

void rank_insert(struct rank *rank, struct rank_node *node, uint64_t since); /* no two have the same `since` */
void rank_remove(struct rank_node *node);
struct rank_node *rank_after(const struct rank *rank, uint64_t since); /* the first after `since`, or NULL */
uint64_t rank_position(const struct rank_node *node);                  /* from 1 */

/* ---- objects ---- */

struct pool;
struct owner;

struct cooling {
    struct claim *newer, *older; /* of the same owner, by revision */
    int64_t until;               /* wall time, as recorded */
    int64_t ends;                /* elapsed time */
    uint32_t delay, heap_index;
};

/* The part of a claim that only waiting ones need. A dual pair stands in the pool's queue by its IPv4 half, its lead. */
struct wait {
    struct claim *claim;
    uint64_t since;                        /* revision */
    char *requested, *preferred, *message; /* message: as recorded; what is shown is made when read */
    enum ipam_reason reason;
    bool dual, mixed, pending;
    struct ipam_addr address;             /* requested, if it can be read */
    struct ipam_addr hint;                /* preferred, if nothing is requested and it can be read */
    struct watched *watched;              /* that address, or NULL */
    struct wait *pool_prev, *pool_next;   /* all of the pool */
    struct rank_node queue;               /* in one of the pool's queues, or in none */
    struct rank_node at_address;          /* in one of `watched`, or in none */
    struct wait *mixed_prev, *mixed_next; /* with `mixed` */
    RB_ENTRY(wait) pending_node;          /* with `pending` */
};

/* An address that waiting claims name. Each stands where what happens to the address can change what is decided for it;
 * one that only its pool can help stands nowhere. */
struct watched {
    RB_ENTRY(watched) node;
    addr_value number;
    uint8_t family;
    size_t refs;                 /* waiting claims that name it */
    struct rank blocked;         /* refused because another claim has it */
    struct rank hoping;          /* refused for something else, but would take it at once if it were free */
    struct rank pairs;           /* halves of pairs that are refused for something else */
    struct rank kept;            /* without a pool, refused because it is no address for them */
    struct watched *prev, *next; /* with `changed` */
    bool changed;                /* who has it is another one than when `blocked` was last looked at */
};

struct claim {
    uint64_t id, revision;
    int64_t created_at, allocated_at;
    uint64_t addr_hi, addr_lo;
    struct owner *owner;
    struct pool *pool; /* NULL: manual */
    char *uid;         /* NULL: none */
    struct user *user; /* who made it; NULL: not known */
    union {
        struct cooling *cooling; /* COOLING */
        struct wait *wait;       /* WAITING */
    };
    uint32_t slot; /* in engine->ids */
    uint8_t family, state;
    bool asked;  /* BOUND, COOLING: the owner asked for this address */
    bool orphan; /* BOUND: does not lie in the pool that it was made through */
};

struct kind {
    uint64_t hash;
    size_t refs;
    uint64_t n_claims; /* in any state */
    char text[];
};

/* A user of the system who has made claims. */
struct user {
    uint64_t hash, n_claims; /* n_claims: those that are left, in any state */
    uint32_t id;
};

struct owner {
    uint64_t hash;
    struct kind *kind;
    struct claim *active[FAMILIES]; /* WAITING or BOUND */
    struct claim *cooling;          /* the one released last */
    char name[];
};

struct pool_family {
    struct space space;
    uint64_t allocated, cooling;  /* that lie in it */
    uint64_t through, through_in; /* bound, made through it; of these, those that lie in it */
    uint64_t waiting;
};

/* Exists while it is listed, or while a claim names it. */
struct pool {
    char *name;
    uint64_t hash, revision;
    size_t refs;               /* claims that name it */
    bool listed, in_force;     /* in_force: listed, and `plan` is that of its spec */
    struct changes store;      /* holds what `record` points at */
    struct pool_record record; /* when listed */
    struct plan plan;          /* of record.spec, when in force; else empty */
    struct plan rejected_plan; /* of record.rejected, when it can be read */
    bool has_rejected_plan;
    struct plan aside_plan; /* of record.spec, when set aside: pool.c; until pools_settle_loaded */
    bool aside;
    struct pool_family families[FAMILIES];
    uint64_t both_wait, both_orphaned;   /* owners whose claims of both families do */
    struct rank queues[FAMILY_SET_DUAL]; /* blocked by POOL_EXHAUSTED, by families asked for - 1 */
    struct wait *waits;                  /* all, in no order */
    struct wait *mixed;                  /* dual ones that need more than any address of each family */
    bool gained;                         /* stands in engine->gained */
};

struct region { /* one usable span of a pool */
    struct span span;
    struct pool *pool;
};

struct regions {
    struct region *items;
    size_t count, capacity;
};

struct outsider { /* a held address that lies in no pool */
    RB_ENTRY(outsider) node;
    addr_value number;
    struct claim *claim;
};

RB_HEAD(outsiders, outsider);
RB_HEAD(watches, watched);
RB_HEAD(pendings, wait);

struct pool_vector {
    struct pool **items;
    size_t count, capacity;
};

struct engine {
    uint8_t key[16];
    uint64_t revision;
    struct engine_clock start;
    int64_t now, elapsed; /* of the newest call */

    struct slab slab; /* of owners, claims, their uids and their cooling */
    struct table owners, kinds, pools, users;
    struct kind *recent_kind;
    struct user *recent_user;
    struct pool *recent_pool;
    struct pool_vector listed; /* by name */
    size_t n_rejected, n_aside;
    bool loaded; /* by replay, and not settled since */
    struct regions regions[FAMILIES];
    struct outsiders outsiders[FAMILIES];

    uintptr_t *ids; /* claims by id: a pointer, or id << 1 | 1 for one that is gone */
    size_t n_ids, ids_capacity, n_gone;
    size_t ids_to, ids_from; /* a gap up to which the array has been closed up; none: both 0 */

    struct claim **heap; /* cooling, the first to end on top */
    size_t n_heap, heap_capacity;

    struct watches watches[FAMILIES];
    struct watched *changed;    /* the first of them */
    struct pendings pending;    /* to be decided on anew, by since */
    struct pool_vector gained;  /* have free space that they had not, and a queue */
    struct pool_vector drained; /* perhaps to be removed */
    bool space_changed;         /* rejected pools are to be retried */

    uint64_t n_bound, n_waiting, n_cooling;

    struct batch *batch; /* of the call under way */
    unsigned int n_checks;
};

/* ---- owner.c ---- */

uint64_t name_hash(const struct engine *engine, const char *name);
uint64_t owner_hash(const struct engine *engine, const char *kind, const char *name);
struct owner *owner_find(const struct engine *engine, uint64_t hash, const char *kind, const char *name);
struct owner *owner_new(struct engine *engine, uint64_t hash, const char *kind, const char *name);
uint64_t kind_claims(const struct engine *engine, const char *kind);
uint64_t user_claims(const struct engine *engine, uint32_t id);
/* Counts the claim for the record's user instead of its own; NULL: for nobody. */
void claim_set_user(struct engine *engine, struct claim *claim, const struct claim_record *record);
void owner_drop_unused(struct engine *engine, struct owner *owner);
void owner_free(struct engine *engine, struct owner *owner);
void owner_add_cooling(struct owner *owner, struct claim *claim);
void owner_remove_cooling(struct owner *owner, struct claim *claim);

/* ---- held.c: which pool an address lies in, and which claim holds it ---- */

struct place {
    struct pool *pool; /* NULL: in none */
    uint64_t index;
};

struct place place_find(const struct engine *engine, struct pool *likely, unsigned int family, addr_value number);
struct claim *held_get(const struct engine *engine, unsigned int family, addr_value number);
void held_take(struct engine *engine, const struct place *place, struct claim *claim);
void held_give(struct engine *engine, const struct place *place, struct claim *claim);
/* True, and where, when the plan's addresses meet those of a pool other than `self`. */
bool regions_overlap(const struct engine *engine, const struct plan *plan, const struct pool *self,
                     struct pool **ret_pool, struct ipam_range *ret_range);
/* Gives the pool the plan (taken) instead of its own: held addresses go where they now belong. */
void pool_move(struct engine *engine, struct pool *pool, struct plan *plan);
int outsiders_compare(const struct outsider *a, const struct outsider *b);
RB_PROTOTYPE(outsiders, outsider, node, outsiders_compare)

/* ---- cooling.c: what ends when ---- */

void cooling_start(struct engine *engine, struct claim *claim, const struct claim_record *record);
void cooling_stop(struct engine *engine, struct claim *claim);
/* What is to be recorded of a claim that cools, in the terms of this boot; NULL for any other. */
const struct cooling_record *cooling_record_of(const struct engine *engine, const struct claim *claim,
                                               struct cooling_record *ret);

/* ---- ids.c: all claims by id, in an array that closes up behind those that are gone ---- */

struct claim *claim_by_id(const struct engine *engine, uint64_t id);
void ids_add(struct engine *engine, struct claim *claim);
void ids_remove(struct engine *engine, const struct claim *claim);
size_t claims_after(const struct engine *engine, uint64_t id); /* index in engine->ids */
static inline size_t claims_next(const struct engine *engine, size_t index)
{
    return index + 1 == engine->ids_to ? engine->ids_from : index + 1;
}
static inline struct claim *claim_at(const struct engine *engine, size_t index) /* NULL: gone */
{
    return engine->ids[index] & 1 ? NULL : (struct claim *)engine->ids[index];
}

/* ---- claim.c ---- */

/* What is known already of a claim that is to change; NULL where it is not. */
struct target {
    struct claim *claim;
    struct owner *owner;
    struct pool *pool;
    uint64_t owner_hash; /* when owner and claim are NULL; 0: not known */
};

/* Puts the claim into the record's state; NULL when that is the end of it. */
struct claim *claim_put(struct engine *engine, const struct target *target, const struct claim_record *record,
                        uint64_t revision);
void claim_free(struct engine *engine, struct claim *claim);

/* Counts it, and its owner once. */
void claim_set_orphan(struct claim *claim, bool orphan);

static inline addr_value claim_number(const struct claim *claim)
{
    return (addr_value)claim->addr_hi << 64 | claim->addr_lo;
}

static inline const char *claim_uid(const struct claim *claim)
{
    return claim->uid ? claim->uid : "";
}

static inline bool claim_holds(const struct claim *claim)
{
    return claim->state == CLAIM_BOUND || claim->state == CLAIM_COOLING;
}

static inline struct ipam_addr claim_address(const struct claim *claim)
{
    if (!claim_holds(claim))
        return (struct ipam_addr){0};
    return (struct ipam_addr){claim->addr_hi, claim->addr_lo, family_at(claim->family)};
}

/* ---- pool.c ---- */

struct pool *pool_find(struct engine *engine, const char *name);   /* listed or not */
struct pool *pool_listed(struct engine *engine, const char *name); /* or NULL */
struct pool *pool_get(struct engine *engine, const char *name);
void pool_drop_unused(struct engine *engine, struct pool *pool);
void pool_free(struct pool *pool);
/* Puts the pool into the record's state. -1 with STORE_DAMAGED, which decisions of ours never get. */
int pool_put(struct engine *engine, const struct pool_record *record, uint64_t revision, struct ipam_error *reterr);
uint64_t pool_claims(const struct pool *pool);
size_t pools_after(const struct engine *engine, const char *name); /* index in engine->listed */
void pool_vector_add(struct pool_vector *vector, struct pool *pool);
void pool_vector_remove(struct pool_vector *vector, const struct pool *pool);

/* ---- wait.c: what waits for what ---- */

void wait_start(struct engine *engine, struct claim *claim, const struct claim_record *record);
struct wait *wait_stop(struct engine *engine, struct claim *claim); /* the caller frees it */
void wait_free(struct wait *wait);
void watches_free(struct engine *engine);        /* when nothing waits any more */
struct wait *wait_peer(const struct wait *wait); /* the other half of a dual pair, or NULL */
struct wait *wait_lead(struct wait *wait);       /* the half that stands on lists */
unsigned int wait_families(const struct wait *wait);
/* ADDRESS_IN_USE or ADDRESS_COOLING: another claim has the address. Who, and which of the two, is seen when it is read. */
bool wait_reason_is_held(enum ipam_reason reason);
void wait_pend(struct engine *engine, struct wait *wait); /* to be decided on anew */
struct refusal;
/* It has been decided on: puts it where what blocks it has it woken. NULL: it could be granted, and will be woken anyhow. */
void wait_enlist(struct engine *engine, struct wait *wait, const struct refusal *refusal);
struct wait *wait_in_queue(const struct rank_node *node); /* NULL is fine */
void waits_pend_pool(struct engine *engine, struct pool *pool);
void waits_pend_mixed(struct engine *engine, struct pool *pool);
void waits_pend_span(struct engine *engine, unsigned int family,
                     const struct span *span); /* that name an address of it */
void waits_pend_all(struct engine *engine);
void waits_address_changed(struct engine *engine, unsigned int family, addr_value number);
void waits_pend_served(struct engine *engine); /* the oldest at each changed address that is free */
void waits_pend_next(struct engine *engine, const struct wait *refused); /* those after it at its free addresses */
void waits_settle_addresses(struct engine *engine); /* those that a changed address moves elsewhere */
uint64_t wait_position(struct wait *wait);
int watches_compare(const struct watched *a, const struct watched *b);
int pendings_compare(const struct wait *a, const struct wait *b);
RB_PROTOTYPE(watches, watched, node, watches_compare)
RB_PROTOTYPE(pendings, wait, pending_node, pendings_compare)

/* ---- decide.c: pure reads ---- */

struct demand {
    bool given, readable, hinted; /* address asked for; it can be read; hint can */
    struct ipam_addr address, hint;
    const char *text, *hint_text; /* as written */
};

struct request {
    struct owner *owner;   /* NULL: not known yet */
    const char *pool_name; /* "": manual */
    struct pool *pool;     /* listed, else NULL */
    unsigned int families; /* to be granted */
    struct demand demands[FAMILIES];
};

struct grant {
    struct ipam_addr address;
    struct claim *again; /* the owner's cooling claim that is taken up again, or NULL */
};

struct refusal {
    enum ipam_reason reason;
    unsigned int family;
    const struct request *request;
    struct claim *holder; /* of the address, or NULL */
    const struct pool
        *pool; /* that the address has to do with: the request's, or one that keeps it from manual claims */
    struct wall_time until; /* ADDRESS_COOLING: when that ends, by the wall clock of the newest call */
};

int decide(const struct engine *engine, const struct request *request, struct grant grants[FAMILIES],
           struct refusal *ret);
void request_of_wait(const struct wait *wait, struct request *ret);

/* ---- refusal.c: the message of a refusal ---- */

int refusal_error(const struct refusal *refusal, struct ipam_error *reterr);
int overlap_error(const char *name, const struct pool *other, const struct ipam_range *range,
                  struct ipam_error *reterr);

/* ---- record.c: objects as records and views; strings borrowed, or copied in a dry run ---- */

/* Without `cooling`, and with `requested` only of a waiting one. */
void claim_record_of(const struct claim *claim, struct claim_record *ret);
/* The user of the claim that goes on with the record; NULL: a new one, of the user that asks. */
void user_of_record(const struct engine *engine, const struct claim *from, struct claim_record *ret);
const char *claim_requested(const struct claim *claim, char text[IPAM_ADDR_TEXT_MAX]);
struct claim_view claim_view_of(struct engine *engine, struct claim *claim, struct arena *arena);
struct claim_view claim_view_last(struct engine *engine, struct arena *arena); /* of the last change */
struct pool_view pool_view_of(struct engine *engine, struct pool *pool, struct arena *arena);
void pool_counts_of(const struct pool *pool, unsigned int family, struct pool_counts *ret);

/* ---- engine.c: one call ---- */

struct batch_mark {
    uint64_t revision;
    size_t n_changes, n_undo;
    bool undoing;
};

struct batch {
    const struct engine_ctx *ctx;
    struct changes *changes; /* where changes go */
    struct actor actor;
    bool dry, undoing;            /* undoing: `undo` is kept */
    struct changes undo, scratch; /* earlier states of what changed; the changes of a dry run */
    struct batch_mark start;
    bool loaded; /* engine->loaded before */
};

void batch_begin(struct engine *engine, struct batch *batch, const struct engine_ctx *ctx, bool dry);
int batch_end(struct engine *engine, int status);               /* returns status */
void batch_mark(struct engine *engine, struct batch_mark *ret); /* from here on can be taken back */
void batch_back(struct engine *engine, const struct batch_mark *mark);
void batch_forget(struct engine *engine); /* what should follow from the changes so far */
void batch_settle(struct engine *engine); /* what follows from the changes so far */
static inline uint64_t next_revision(const struct engine *engine)
{
    return engine->revision + 1;
}
struct claim *emit_claim(struct engine *engine, const struct target *target, const struct claim_record *record);
void emit_pool(struct engine *engine, const struct pool_record *record);

/* ---- queue.c ---- */

void queue_serve(struct engine *engine);  /* grants, and records new reasons */
void queue_settle(struct engine *engine); /* puts what is pending where it belongs, no more */

/* ---- grant.c ---- */

/* Grants one family of the request: BOUND under the cooling claim's id, the waiting claim's or a new one. */
struct claim *grant_emit(struct engine *engine, const struct request *request, unsigned int family,
                         const struct grant *grant, const struct owner_ref *who, uint64_t owner_hash);
/* What the owner waits for in the other family than those given is no longer dual. */
void undual_emit(struct engine *engine, const struct owner *owner, unsigned int families);

/* ---- release.c ---- */

/* A bound claim cools, or is gone like all others: then NULL is returned. */
struct claim *release_emit(struct engine *engine, struct claim *claim);
/* A cooling is over. If a request ended it, the record still says how long it was to last. */
void cooling_end_emit(struct engine *engine, struct claim *claim, bool asked_for);
/* What the owner has cooling beyond the limit ends. */
void release_end_oldest(struct engine *engine, const struct owner *owner);

/* ---- scope.c: for whom the caller may act ---- */

/* -1 with PERMISSION_DENIED: not for `who`, or not for the owner (NULL: none) by a uid of its claims. */
int scope_check(const struct engine *engine, const struct owner_ref *who, const struct owner *owner,
                struct ipam_error *reterr);

/* ---- pool_edit.c ---- */

void pools_remove_drained(struct engine *engine);
void pools_retry_rejected(struct engine *engine);
void pools_settle_loaded(struct engine *engine); /* records what today's rules make of the specs that were replayed */
int pools_older_first(const void *a, const void *b); /* of struct pool pointers */

/* ---- check.c ---- */

#ifdef ENGINE_CHECKS /* debug builds: all invariants after each call */
#define ENGINE_CHECK(engine) engine_check_some(engine)
void engine_check_some(struct engine *engine);
#else
#define ENGINE_CHECK(engine) ((void)(engine))
#endif

#endif
