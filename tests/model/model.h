/* model.h: a second, naive engine to hold the real one against: arrays, linear scans and sets of addresses.
 *
 * Called by the model test alone. Written from engine.h and the design, for clarity and not for speed; it must not
 * know anything of how the engine works. Its world is small: a few pools, owners and addresses, all known by number.
 */
#ifndef TESTS_MODEL_H
#define TESTS_MODEL_H

#include "engine.h"

#define MODEL_POOLS   5
#define MODEL_OWNERS  7
#define MODEL_UIDS    3
#define MODEL_ENTRIES 3
#define MODEL_CLAIMS  96 /* one per address and two waiting per owner always fit */

/* The universe: 10.0.0.0/27, 2001:db8::/124, one address of each family that no pool ever names, and one of each that is no
 * virtual IP. IPv4 and IPv6 take turns in these. */
#define MODEL_IPV4      32
#define MODEL_IPV6      16
#define MODEL_STRANGE   (MODEL_IPV4 + MODEL_IPV6)
#define MODEL_SPECIAL   (MODEL_STRANGE + 2)
#define MODEL_ADDRESSES (MODEL_SPECIAL + 2)

#define NOWHERE    (-1) /* no address, or a text that is none */
#define MANUAL     (-1) /* no pool */
#define TEXT_BYTES 136

typedef uint64_t address_set; /* bit i: address i of the universe */

#define ONE_ADDRESS(i) (UINT64_C(1) << (i))

/* A line of a pool's cidrs, addresses or excluded, with what it means. */
struct entry {
    char text[64];
    address_set addresses; /* of a cidr: the usable ones */
    address_set whole;     /* of a cidr of more than two IPv4 addresses: with the first and the last */
    bool valid;
};

struct entries {
    struct entry items[MODEL_ENTRIES];
    size_t count;
};

struct model_spec {
    struct entries cidrs, addresses, excluded;
    int uid;
    int64_t generation;
    uint32_t reuse_delay;
    bool auto_assign, paused;
};

/* What a refused spec meets first: its message names it. */
struct model_overlap {
    int pool, first, last;
};

struct model_pool {
    bool exists;
    uint64_t id, revision;
    enum pool_state state;
    enum ipam_reason reason;
    bool has_spec, has_rejected;
    struct model_spec spec, rejected;
    struct model_overlap overlap; /* of `rejected` */
    int64_t created_at;
};

/* An address as a request writes it. */
struct wish {
    char text[TEXT_BYTES]; /* "": none */
    int address;           /* NOWHERE: can't be read */
};

struct model_claim {
    bool exists;
    uint64_t id, revision;
    int owner, uid;
    uint32_t user; /* who made it */
    enum ipam_family family;
    enum claim_state state;
    int pool, address;
    struct wish wish, preferred; /* WAITING: as asked */
    bool certain;                /* BOUND: a certain address was asked for */
    bool dual;
    enum ipam_reason reason;
    uint64_t since; /* WAITING: revision at which it joined the queue */
    int64_t created_at, allocated_at, cooling_until;
    int64_t delay, ends; /* COOLING: ns, and elapsed time */
    int boot;            /* COOLING: in which it was released */
};

/* A change as the model foresees it. */
struct model_change {
    enum change_kind kind;
    uint64_t id;
    int state;
};

#define MODEL_CHANGES 256 /* of one call */

struct model {
    struct model_pool pools[MODEL_POOLS];
    struct model_claim claims[MODEL_CLAIMS];
    uint64_t revision;
    int64_t now, elapsed;
    int boot;                                   /* of the machine, which one */
    struct engine_limits limits;                /* of the call under way … */
    struct engine_scope scope;                  /* … and for whom it may act */
    uint32_t user;                              /* who makes it */
    address_set permitted;                      /* by the limits, to claims without a pool */
    bool pool_changed;                          /* since the rejected ones were last retried */
    struct model_change changes[MODEL_CHANGES]; /* of the call under way; the caller empties it */
    size_t n_changes;
};

struct model_apply {
    int pool;
    struct model_spec spec;
    bool record_rejected;
};

struct model_delete {
    int pool, uid;
    bool only_if_unused;
};

struct model_allocate {
    int owner;     /* MODEL_OWNERS: one without a name */
    int uid, pool; /* MODEL_POOLS: what is no pool's name */
    unsigned int families;
    struct wish address, ipv6_address, preferred, preferred_ipv6;
    bool enqueue, replace;
};

struct model_release {
    int owner; /* MODEL_OWNERS: none given */
    unsigned int families;
    struct wish address;
    int uid;
    bool end_cooling;
};

/* What a call answers. Claims are copies, in the state that the answer shows. */
struct model_answer {
    enum ipam_reason refused; /* NONE: success */
    bool changed, removed, draining;
    uint64_t held; /* delete: bound claims made through the pool */
    size_t count;
    struct model_claim claims[MODEL_CLAIMS];
};

struct model_counts {
    uint64_t capacity, allocated, available, cooling, excluded, orphaned, waiting;
};

extern const char *const model_pool_names[MODEL_POOLS];
extern const char *const model_uids[MODEL_UIDS]; /* the first is "" */
extern const struct owner_ref model_owners[MODEL_OWNERS + 1];

enum ipam_family model_family(int address);
const char *model_address_text(int address, bool cidr, char text[TEXT_BYTES]);
address_set model_family_addresses(enum ipam_family family);

/* Lets time pass, ends what has cooled by then (at most `max` claims; 0: all), and serves the queue. */
void model_time(struct model *model, int64_t now, int64_t elapsed, size_t max);
/* ipamd starts again, in a new boot of the machine perhaps. Of a cooling that was released in an earlier one, what is left is
 * what the wall clock says, but no more than the delay. */
void model_restart(struct model *model, int64_t now, int64_t elapsed, bool boots);
void model_apply(struct model *model, const struct model_apply *args, struct model_answer *ret);
void model_delete(struct model *model, const struct model_delete *args, struct model_answer *ret);
void model_allocate(struct model *model, const struct model_allocate *args, struct model_answer *ret);
void model_release(struct model *model, const struct model_release *args, struct model_answer *ret);

struct model_counts model_count(const struct model *model, int pool, enum ipam_family family);
uint64_t model_claims_through(const struct model *model, int pool); /* bound ones */

/* What a claim that waits for ADDRESS_IN_USE says of who has the address now. */
/* Why it waits, as of now; what is recorded may be the other of ADDRESS_IN_USE and ADDRESS_COOLING. */
enum ipam_reason model_reason_now(struct model *model, const struct model_claim *claim);
void model_in_use_message(struct model *model, const struct model_claim *claim, char *text, size_t size);

/* Place in the queue as engine.h tells it; false: it does not say for a claim like this. */
bool model_queue_position(const struct model *model, const struct model_claim *claim, uint64_t *ret);

/* ---- Shared by the model's files ---- */

void model_record_claim(struct model *model, struct model_claim *claim, enum claim_state state);

address_set model_usable(const struct model_spec *spec);
address_set model_excluded(const struct model_spec *spec); /* all that the spec's excluded lines name */
address_set model_ranges(const struct model_spec *spec);   /* all that its other lines name, usable or not */
bool model_warns(const struct model_spec *spec);           /* an excluded line has nothing to do with the others */
bool model_pool_contains(const struct model *model, int pool, int address);
int model_pool_at(const struct model *model, int address); /* MANUAL: none */
void model_give_back(struct model *model, struct model_claim *claim);
void model_end_oldest(struct model *model, int owner); /* what the owner has cooling beyond the limit */
bool model_cools(const struct model *model, int address);
bool model_may_act(const struct model *model, int owner,
                   int uid); /* the caller, for the owner by its uid and its claims' */

/* What is asked for on behalf of an owner, by family - 1. */
struct demand {
    int owner, uid, pool;
    bool wanted[2];
    struct wish wish[2], preferred[2];
};

bool model_readable(const struct demand *demand); /* every text is an address of its family */
struct model_claim *model_find(struct model *model, int owner, enum ipam_family family, enum claim_state state);
enum ipam_reason model_decide(const struct model *model, const struct demand *demand, int chosen[2]);
void model_grant(struct model *model, const struct demand *demand, enum ipam_family family, int address);
void model_serve(struct model *model);
void model_settle(struct model *model); /* drained pools go, rejected ones are retried, the queue is served */

#endif
