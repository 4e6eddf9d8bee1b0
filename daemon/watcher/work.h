/* work.h: which object is dealt with next: each once at a time, the newest state only, so many at once, later after a failure.
 *
 * Used by the reconciler; an item is embedded in what is kept of an object. Pure: the time comes in. It must not know what
 * the work is.
 */
#ifndef IPAM_WATCHER_WORK_H
#define IPAM_WATCHER_WORK_H

#include <sys/queue.h>
#include <bsd/sys/tree.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum work_state { WORK_IDLE, WORK_READY, WORK_RUNNING, WORK_DELAYED };

struct work_item { /* all zero: idle */
    enum work_state state;
    bool again;            /* RUNNING, and asked for anew meanwhile */
    unsigned int attempts; /* failures in a row */
    uint64_t due;          /* ms, of DELAYED */
    TAILQ_ENTRY(work_item) link;
    RB_ENTRY(work_item) due_link;
};

TAILQ_HEAD(work_list, work_item);
RB_HEAD(work_delays, work_item);
RB_PROTOTYPE(work_delays, work_item, due_link, compare_due)

struct work {
    struct work_list ready;
    struct work_delays delayed;
    size_t n_ready, n_running, n_delayed;
    size_t max_running;
};

void work_init(struct work *work, size_t max_running);

/* Is to be dealt with, in the order of the calls. A delay ends by it; what is running runs once more. */
void work_add(struct work *work, struct work_item *item);
/* The next one, now running; NULL: none is due, or enough are running. */
struct work_item *work_take(struct work *work, uint64_t now);
void work_done(struct work *work, struct work_item *item);
/* It failed: again at `due`, or at once if it was asked for meanwhile. */
void work_retry(struct work *work, struct work_item *item, uint64_t due);
/* As it was before work_take, at the front: nothing can be done now. */
void work_put_back(struct work *work, struct work_item *item);
/* An item that is not running leaves. */
void work_remove(struct work *work, struct work_item *item);

/* Nothing is ready or running; what is delayed doesn't count. */
bool work_is_idle(const struct work *work);
bool work_next_due(const struct work *work, uint64_t *ret);

#endif
