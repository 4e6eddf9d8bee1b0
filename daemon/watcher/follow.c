#include <string.h>

#include "watcher.h"

/* ipamd's changes only say what is to be looked at again; the answer comes by asking. */

static void on_pool(struct watcher *w, const Ipam__V1__Pool *pool)
{
    struct kept *kept = pool->spec ? kept_find(&w->objects[KEPT_POOL], pool->spec->name) : NULL;
    bool gone = pool->state == IPAM__V1__POOL_STATE__REMOVED;
    if (kept && (gone || (pool->state == IPAM__V1__POOL_STATE__DRAINING && !kept->deleting)))
        watcher_enqueue(w, kept); /* its finalizer may go, or somebody deleted it in ipamd alone */
    w->woken = true;
}

/* An address that somebody else gave back is asked for again; one that was granted may let go of another one. */
static void on_claim(struct watcher *w, const Ipam__V1__Claim *claim)
{
    struct kept *kept = NULL;
    bool bound = claim->state == IPAM__V1__CLAIM_STATE__BOUND;
    if (claim->owner && strcmp(claim->owner->kind, OWNER_KIND) == 0)
        kept = kept_find(&w->objects[KEPT_VIP], claim->owner->name);
    if (kept && kept->present &&
        ((bound && kept->outcome == OUTCOME_WAITING) || (!bound && kept->outcome == OUTCOME_BOUND)))
        watcher_enqueue(w, kept);
    if (!bound)
        w->woken = true;
}

static void on_change(const Ipam__V1__Change *change, void *user)
{
    struct watcher *w = user;
    if (w->stopping)
        return;
    if (change->entity_case == IPAM__V1__CHANGE__ENTITY_POOL)
        on_pool(w, change->pool);
    else if (change->entity_case == IPAM__V1__CHANGE__ENTITY_CLAIM)
        on_claim(w, change->claim);
    watcher_pump(w);
}

static void on_resumed(void *user)
{
    struct watcher *w = user;
    watcher_closed(w);
    if (!w->stopping)
        follow_start(w);
}

/* Another history, or one that does not hang together: what ipamd has is compared with all objects anew. */
static void on_ended(const struct ipam_error *error, void *user)
{
    struct watcher *w = user;
    struct ipam_subscriber *ended = w->subscriber;
    if (w->stopping)
        return;
    say(w, "changes of ipamd can't be followed on: %s; syncing anew", error->message);
    w->resync = true;
    w->subscriber = NULL;
    w->n_closing++;
    ipam_subscriber_close(ended, on_resumed, w);
    watcher_pump(w);
}

void follow_start(struct watcher *w)
{
    static const struct ipam_subscriber_callbacks callbacks = {.change = on_change, .ended = on_ended};
    const struct program_options *options = &w->options->program;
    struct ipam_options connection = {.socket = options->socket, .user_agent = "ipam-watcher/" IPAM_VERSION};
    struct ipam_subscriber_options subscriber = {
        .connection = &connection, .events = options->events, .from_now = true};
    struct ipam_error error;
    if (ipam_subscriber_new(w->loop, &subscriber, &callbacks, w, &w->subscriber, &error) < 0)
        program_finish(w->program, &error);
}
