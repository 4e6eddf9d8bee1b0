/* persist.h: a world's changes on a real disk, and the engine read back from there.
 *
 * Called by test_model.c for some of its worlds, to show that what the store gives back is the state in memory. It knows
 * the store's header and a directory of its own; it must not know what the changes say.
 */
#ifndef TESTS_PERSIST_H
#define TESTS_PERSIST_H

#include "store.h"

struct persist {
    char dir[64];
    struct store *store;
    struct changes pending; /* not yet committed */
};

/* 0, or -1 with *reterr, as in the functions below. */
int persist_init(struct persist *persist, struct ipam_error *reterr);
void persist_done(struct persist *persist); /* and the directory is gone */

int persist_add(struct persist *persist, const struct changes *changes, struct ipam_error *reterr);

/* Commits what is pending, closes the store, opens it again and loads `engine` from it. */
int persist_reload(struct persist *persist, struct engine *engine, struct ipam_error *reterr);

#endif
