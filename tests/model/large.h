/* large.h: one pool with more addresses than the model's universe, and an array of who has which.
 *
 * Called by test_model.c. It knows one rule, lowest free address first, and sees that the engine keeps it at every fill;
 * it must not know how the engine finds that address.
 */
#ifndef TESTS_LARGE_H
#define TESTS_LARGE_H

#include "engine.h"

#define LARGE_RANGES 3
#define LARGE_MAX    (LARGE_RANGES * IPAM_CIDR_USABLE_MAX)

struct large {
    uint64_t random;
    struct engine *engine;
    struct arena arena;
    struct changes changes;
    struct ipam_error error;               /* why a step failed */
    struct ipam_addr addresses[LARGE_MAX]; /* of the pool, ascending */
    uint32_t owner_at[LARGE_MAX];          /* 0: free */
    uint32_t owners;                       /* so far */
    size_t count, held;
    bool emptying;
};

void large_init(struct large *large, const char *const *cidrs, size_t count, uint64_t seed);
void large_done(struct large *large);

/* Up to 1,000 calls that mostly fill the pool, or once it was full mostly empty it. 0, or -1 when the engine broke the rule. */
int large_step(struct large *large);

#endif
