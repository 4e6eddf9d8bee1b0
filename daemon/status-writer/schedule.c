#include "schedule.h"

static uint64_t later(uint64_t a, uint64_t b)
{
    return a > b ? a : b;
}

static size_t at_once(const struct schedule *schedule, enum object_kind kind)
{
    if (schedule->gate.failures)
        return 1; /* it tries whether the server is well again */
    return kind == OBJECT_POOL ? SCHEDULE_POOLS : schedule->max_vips;
}

/* The next one of a kind, when it may be looked at as far as others are concerned; *ret_due: from when on. */
static struct object *next_of(struct schedule *schedule, enum object_kind kind, uint64_t *ret_due)
{
    struct object *next = objects_due(schedule->objects, kind);
    if (!next || schedule->running[kind] >= at_once(schedule, kind) || !schedule->may_begin(schedule->user))
        return NULL;
    *ret_due = later(next->due, schedule->gate.until);
    return next;
}

static void on_timer(uv_timer_t *timer)
{
    struct schedule *schedule = timer->data;
    schedule_run(schedule);
    schedule->ran(schedule->user);
}

static void arm(struct schedule *schedule)
{
    uint64_t now = uv_now(schedule->loop), first = UINT64_MAX, due;
    for (int kind = 0; kind < OBJECT_KINDS; kind++)
        if (next_of(schedule, kind, &due) && due < first)
            first = due;
    if (first < UINT64_MAX)
        uv_timer_start(&schedule->timer, on_timer, first > now ? first - now : 0, 0);
}

void schedule_run(struct schedule *schedule)
{
    uint64_t now = uv_now(schedule->loop), due;
    struct object *object;
    for (int kind = 0; kind < OBJECT_KINDS; kind++)
        while ((object = next_of(schedule, kind, &due)) && due <= now) {
            schedule->running[kind]++;
            schedule->begin(object, schedule->user);
        }
    arm(schedule);
}

void schedule_ended(struct schedule *schedule, struct object *object)
{
    schedule->running[object->kind]--;
}

void schedule_at(struct schedule *schedule, struct object *object, uint64_t due)
{
    objects_queue(schedule->objects, object, due);
    arm(schedule);
}

void schedule_recheck(struct schedule *schedule, struct object *object, uint64_t due)
{
    objects_queue_recheck(schedule->objects, object, due);
    arm(schedule);
}

void schedule_mark(struct schedule *schedule, struct object *object, bool news)
{
    object->changed = object->changed || news;
    if (object->in_flight)
        object->again = true;
    else
        schedule_at(schedule, object, policy_due(&object->history, object->changed, uv_now(schedule->loop)));
}

void schedule_mark_all(struct schedule *schedule, enum object_kind kind)
{
    struct object *object = NULL;
    while ((object = objects_next(schedule->objects, kind, object)))
        schedule_mark(schedule, object, true);
}

size_t schedule_running(const struct schedule *schedule)
{
    return schedule->running[OBJECT_VIP] + schedule->running[OBJECT_POOL];
}

bool schedule_is_idle(const struct schedule *schedule)
{
    return schedule_running(schedule) == 0 && objects_queued(schedule->objects, OBJECT_VIP) == 0 &&
           objects_queued(schedule->objects, OBJECT_POOL) == 0;
}

void schedule_init(struct schedule *schedule)
{
    uv_timer_init(schedule->loop, &schedule->timer);
    schedule->timer.data = schedule;
}

void schedule_close(struct schedule *schedule, uv_close_cb closed, void *user)
{
    schedule->timer.data = user;
    uv_close((uv_handle_t *)&schedule->timer, closed);
}
