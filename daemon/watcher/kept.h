/* kept.h: what the watcher keeps of each object: enough to ask ipamd again, and no JSON.
 *
 * Used by the reconciler and the sync. It knows objects and the requests made of them, and must not know the loop, RPCs or the
 * API server. One tree for pools, one for VIPs, by name.
 */
#ifndef IPAM_WATCHER_KEPT_H
#define IPAM_WATCHER_KEPT_H

#include "translate.h"
#include "work.h"

/* The order of a first sync: whoever has an address comes before whoever wants a certain one, before whoever takes any. */
enum phase { PHASE_POOLS, PHASE_RECORDED, PHASE_REQUESTED, PHASE_REST, PHASE_RESUME, PHASE_DONE };

enum kept_kind { KEPT_POOL, KEPT_VIP };

enum kept_outcome { OUTCOME_NONE, OUTCOME_BOUND, OUTCOME_WAITING, OUTCOME_REFUSED, OUTCOME_APPLIED, OUTCOME_DRAINING };

struct kept {
    RB_ENTRY(kept) link;
    struct work_item work;
    enum kept_kind kind;
    char *name, *uid;
    char created[24];
    uint8_t *request; /* packed AllocateRequest or PoolSpec; NULL: nothing is asked for, or the object can't be read */
    size_t request_size;
    bool present;   /* the object exists */
    bool missing;   /* nobody saw it being deleted: what it had is not given back yet */
    bool readable;  /* else what ipamd has stays as it is */
    bool deleting;  /* with deletionTimestamp */
    bool finalizer; /* a pool's has our finalizer */
    bool paused;    /* a pool's automatic choice waits for the end of the sync */
    bool in_spec;   /* a VIP asks for a certain address */
    uint8_t wanted; /* families a VIP asks for: bit 0 IPv4, bit 1 IPv6 */
    uint8_t held;   /* the same bits: what ipamd had bound for it when it was read last */
    enum kept_outcome outcome;
    struct ipam_addr recorded[2]; /* IPv4, IPv6: what status said last, also when it says nothing by now */
    struct ipam_error *refusal;   /* while it is looked at why; NULL: none yet */
    uint64_t told;                /* of the last message to the user, so that it isn't said again */
};

RB_HEAD(kept_tree, kept);
RB_PROTOTYPE(kept_tree, kept, link, kept_compare)

struct kept *kept_find(struct kept_tree *tree, const char *name);
struct kept *kept_get(struct kept_tree *tree, enum kept_kind kind, const char *name); /* made if there is none */
void kept_drop(struct kept_tree *tree, struct kept *kept);                            /* its work is removed already */

/* The object as it is now. True: ipamd is to be asked. *ret_error says why it can't be read (readable is false), and
 * *ret_ignored names a field without effect; both are empty else. */
bool kept_update(struct kept *kept, const json_t *object, const struct object_id *id, struct ipam_error *ret_error,
                 char ret_ignored[160]);

enum phase kept_phase(const struct kept *kept);

#endif
