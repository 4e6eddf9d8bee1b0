/* world.h: one engine and one model living through the same random history.
 *
 * Called by test_model.c. A world is all that its seed makes of it, so the seed and the step are enough to see any
 * disagreement again. It must not decide what is right: that the model does, and compare.c holds the two together.
 */
#ifndef TESTS_WORLD_H
#define TESTS_WORLD_H

#include "model.h"

#define WORLD_LOG 12 /* operations that a disagreement shows */

/* What has happened at least once, so that a run can tell whether it tried everything. */
struct coverage {
    bool refused[64], waited[64]; /* by reason */
};

struct world {
    struct coverage *coverage;
    uint64_t seed, random;
    int step;
    bool verbose;
    struct model model;
    struct model_answer expected;
    struct engine *engine;
    struct arena arena;
    struct changes changes;       /* of the operation under way */
    struct changes history;       /* since the beginning */
    struct claim_limit limits[2]; /* of the operation under way */
    struct ipam_range manual[2];  /* the same: where claims without a pool may lie */
    size_t n_manual;
    bool manual_bounded;
    size_t by_itself;          /* so many changes at the start of `changes` were asked for by nobody: time passed */
    int64_t elapsed;           /* since boot; the wall clock goes as it likes */
    int64_t offset;            /* of the wall clock */
    struct engine_clock clock; /* of the engine's start */
    bool may_go_back;          /* elapsed time, without asking for more than engine.h promises */
    char log[WORLD_LOG][1500];
    struct ipam_addr held[MODEL_OWNERS][2]; /* acknowledged addresses by owner and family */
};

void world_init(struct world *world, uint64_t seed, bool verbose, struct coverage *coverage);
void world_done(struct world *world);
void world_step(struct world *world); /* one random operation on both, compared */
/* ipamd goes down, and comes up later: world->clock is the clock then. True: in another boot of the machine. */
bool world_sleep(struct world *world);

uint64_t world_random(struct world *world, uint64_t below);
bool world_chance(struct world *world, unsigned int percent);

/* Prints seed, step and the last operations, and aborts. */
_Noreturn void world_disagree(const struct world *world, const char *format, ...) __attribute__((format(printf, 2, 3)));
void world_print(const struct world *world); /* the same without an opinion */

/* ---- generate.c: what the operations are made of ---- */

void generate_spec(struct world *world, int pool, struct model_spec *ret);
void generate_allocate(struct world *world, struct model_allocate *ret);
void generate_release(struct world *world, struct model_release *ret);
void generate_wish(struct world *world, enum ipam_family family, struct wish *ret);

/* ---- compare.c ---- */

/* The whole state, by everything that engine.h offers to look at it; then its invariants. */
void compare_state(struct world *world);
void compare_changes(struct world *world, const struct model *model);
void compare_claims(struct world *world, const struct claim_views *views, const struct model *model,
                    const struct model_claim *claims, size_t count);
void compare_pool(struct world *world, const struct pool_view *view, const struct model *model, int pool);

#endif
