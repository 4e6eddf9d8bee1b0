/* schedule.h: which object is looked at next, and how many at once.
 *
 * Used by writer.c, and by news.c to mark objects. It has the queue's timer and the gate that is shut while the API server is out
 * of reach, and must not know what a pass does.
 */
#ifndef IPAM_STATUS_SCHEDULE_H
#define IPAM_STATUS_SCHEDULE_H

#include <uv.h>

#include "objects.h"

#define SCHEDULE_POOLS 4 /* at once: beside the VIPs, so that pools wait behind none of them */

struct schedule {
    uv_loop_t *loop;
    struct objects *objects;                          /* borrowed */
    uint64_t max_vips;                                /* at once */
    bool (*may_begin)(void *user);                    /* whether what is needed to look at objects is known */
    void (*begin)(struct object *object, void *user); /* a pass; schedule_ended when it is over, maybe from within */
    void (*ran)(void *user);                          /* after the timer has begun what was due */
    void *user;

    struct policy_gate gate;
    size_t running[OBJECT_KINDS];
    uv_timer_t timer;
};

/* The fields up to user are the caller's to fill. */
void schedule_init(struct schedule *schedule);
void schedule_close(struct schedule *schedule, uv_close_cb closed, void *user); /* user: data of the handle */

/* `news`: ipamd's state of it changed; else something about the object did. */
void schedule_mark(struct schedule *schedule, struct object *object, bool news);
void schedule_mark_all(struct schedule *schedule, enum object_kind kind);
void schedule_at(struct schedule *schedule, struct object *object, uint64_t due);
void schedule_recheck(struct schedule *schedule, struct object *object, uint64_t due); /* counts as nothing to do */

void schedule_run(struct schedule *schedule); /* begins what is due, and sees to the rest by the timer */
void schedule_ended(struct schedule *schedule, struct object *object);
size_t schedule_running(const struct schedule *schedule);
bool schedule_is_idle(const struct schedule *schedule); /* nothing is under way or to be done */

#endif
