#include "work.h"

#include <assert.h>
#include <string.h>

static int compare_due(const struct work_item *a, const struct work_item *b)
{
    if (a->due != b->due)
        return a->due < b->due ? -1 : 1;
    return (a > b) - (a < b);
}

RB_GENERATE(work_delays, work_item, due_link, compare_due)

void work_init(struct work *work, size_t max_running)
{
    *work = (struct work){.max_running = max_running};
    TAILQ_INIT(&work->ready);
    RB_INIT(&work->delayed);
}

static void make_ready(struct work *work, struct work_item *item)
{
    item->state = WORK_READY;
    TAILQ_INSERT_TAIL(&work->ready, item, link);
    work->n_ready++;
}

static void end_delay(struct work *work, struct work_item *item)
{
    RB_REMOVE(work_delays, &work->delayed, item);
    work->n_delayed--;
}

void work_add(struct work *work, struct work_item *item)
{
    if (item->state == WORK_RUNNING)
        item->again = true;
    if (item->state == WORK_DELAYED)
        end_delay(work, item);
    if (item->state == WORK_IDLE || item->state == WORK_DELAYED)
        make_ready(work, item);
}

struct work_item *work_take(struct work *work, uint64_t now)
{
    struct work_item *item;
    while ((item = RB_MIN(work_delays, &work->delayed)) && item->due <= now) {
        end_delay(work, item);
        make_ready(work, item);
    }
    item = TAILQ_FIRST(&work->ready);
    if (!item || work->n_running >= work->max_running)
        return NULL;
    TAILQ_REMOVE(&work->ready, item, link);
    work->n_ready--;
    work->n_running++;
    item->state = WORK_RUNNING;
    item->again = false;
    return item;
}

static void end_running(struct work *work, struct work_item *item)
{
    assert(item->state == WORK_RUNNING);
    work->n_running--;
    item->state = WORK_IDLE;
}

void work_done(struct work *work, struct work_item *item)
{
    end_running(work, item);
    item->attempts = 0;
    if (item->again)
        make_ready(work, item);
}

void work_retry(struct work *work, struct work_item *item, uint64_t due)
{
    end_running(work, item);
    if (item->again) {
        make_ready(work, item);
        return;
    }
    item->attempts++;
    item->state = WORK_DELAYED;
    item->due = due;
    RB_INSERT(work_delays, &work->delayed, item);
    work->n_delayed++;
}

void work_put_back(struct work *work, struct work_item *item)
{
    end_running(work, item);
    item->state = WORK_READY;
    TAILQ_INSERT_HEAD(&work->ready, item, link);
    work->n_ready++;
}

void work_remove(struct work *work, struct work_item *item)
{
    assert(item->state != WORK_RUNNING);
    if (item->state == WORK_DELAYED)
        end_delay(work, item);
    if (item->state == WORK_READY) {
        TAILQ_REMOVE(&work->ready, item, link);
        work->n_ready--;
    }
    item->state = WORK_IDLE;
}

bool work_is_idle(const struct work *work)
{
    return !work->n_ready && !work->n_running;
}

bool work_next_due(const struct work *work, uint64_t *ret)
{
    const struct work_item *item = RB_MIN(work_delays, (struct work_delays *)(uintptr_t)&work->delayed);
    if (item)
        *ret = item->due;
    return item;
}
