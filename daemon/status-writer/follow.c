#include "follow.h"

#include <stdlib.h>
#include <string.h>

#include <ipam/subscriber.h>

#include "arena.h"
#include "client.h"

#define PAGE 1000

struct follow {
    struct follow_options options;
    const struct follow_callbacks *callbacks;
    void *user;
    struct claims *claims;
    bool in_step; /* with a subscriber that has caught up since the snapshot */
    uint64_t revision, newest;

    struct ipam_subscriber *subscriber;
    struct ipam_pending *page; /* call under way */
    char *page_token;
    uint64_t snapshot; /* revision of the first page; 0 before it */
    unsigned int attempts;
    uv_timer_t retry;

    unsigned int open; /* what is to be closed yet */
    bool closing;
    void (*closed)(void *user);
    void *closed_user;
};

static void snapshot_next(struct follow *follow);

/* ---- Changes ------------------------------------------------------------------------------------------------------- */

static void on_touched(const struct claim *claim, void *user)
{
    struct follow *follow = user;
    if (follow->in_step)
        follow->callbacks->claim(claim, follow->user);
}

/* An address that was given back or that has cooled concerns its pool, also when no claim is recorded here any more. */
static void on_change(const Ipam__V1__Change *change, void *user)
{
    struct follow *follow = user;
    const char *pool = NULL;
    follow->revision = change->revision;
    if (change->entity_case == IPAM__V1__CHANGE__ENTITY_CLAIM) {
        claims_apply(follow->claims, change->claim, on_touched, follow);
        pool = change->claim->pool;
    } else if (change->entity_case == IPAM__V1__CHANGE__ENTITY_POOL && change->pool->spec) {
        pool = change->pool->spec->name;
    }
    if (pool && *pool && follow->in_step)
        follow->callbacks->pool(pool, follow->user);
}

static void on_synced(uint64_t revision, void *user)
{
    struct follow *follow = user;
    bool fresh = !follow->in_step;
    follow->newest = revision;
    follow->in_step = true;
    follow->attempts = 0;
    if (fresh)
        follow->callbacks->fresh(follow->user);
    if (!follow->closing)
        follow->callbacks->synced(follow->user);
}

static void on_trouble(const struct ipam_error *error, void *user)
{
    struct follow *follow = user;
    follow->callbacks->trouble(error, follow->user);
}

/* ---- Closing ------------------------------------------------------------------------------------------------------- */

static void let_go(struct follow *follow)
{
    if (--follow->open > 0 || !follow->closing)
        return;
    void (*closed)(void *) = follow->closed;
    void *user = follow->closed_user;
    claims_free(follow->claims);
    free(follow->page_token);
    free(follow);
    closed(user);
}

static void on_subscriber_closed(void *user)
{
    let_go(user);
}

static void on_timer_closed(uv_handle_t *handle)
{
    let_go(handle->data);
}

static void unsubscribe(struct follow *follow)
{
    if (follow->subscriber)
        ipam_subscriber_close(follow->subscriber, on_subscriber_closed, follow);
    follow->subscriber = NULL;
}

void follow_close(struct follow *follow, void (*closed)(void *user), void *user)
{
    follow->closing = true;
    follow->in_step = false;
    follow->closed = closed;
    follow->closed_user = user;
    unsubscribe(follow);
    if (follow->page)
        ipam_channel_cancel(follow->options.channel, follow->page);
    uv_close((uv_handle_t *)&follow->retry, on_timer_closed);
}

/* ---- Snapshot ------------------------------------------------------------------------------------------------------ */

static void on_retry(uv_timer_t *timer)
{
    struct follow *follow = timer->data;
    follow->claims = claims_free(follow->claims);
    follow->claims = claims_new();
    free(follow->page_token);
    follow->page_token = mem_strdup("");
    follow->snapshot = 0;
    snapshot_next(follow);
}

/* From the beginning, after a while. */
static void snapshot_again(struct follow *follow)
{
    follow->in_step = false;
    uv_timer_start(&follow->retry, on_retry, kube_backoff(++follow->attempts, 0), 0);
}

static void on_ended(const struct ipam_error *error, void *user)
{
    struct follow *follow = user;
    follow->callbacks->trouble(error, follow->user);
    unsubscribe(follow);
    snapshot_again(follow);
}

/* The pages were read one after the other: changes since the first may be in them or not. All of them come again by the
 * subscriber, and each says the whole state of its claim. */
static void subscribe(struct follow *follow)
{
    static const struct ipam_subscriber_callbacks callbacks = {
        .change = on_change, .synced = on_synced, .trouble = on_trouble, .ended = on_ended};
    struct ipam_options connection = {.socket = follow->options.socket};
    struct ipam_subscriber_options options = {
        .connection = &connection, .events = follow->options.events, .after_revision = follow->snapshot};
    struct ipam_error error;
    follow->revision = follow->newest = follow->snapshot;
    if (ipam_subscriber_new(follow->options.loop, &options, &callbacks, follow, &follow->subscriber, &error) < 0) {
        follow->callbacks->trouble(&error, follow->user);
        snapshot_again(follow);
        return;
    }
    follow->open++;
    follow->callbacks->trouble(NULL, follow->user);
}

static void take_page(struct follow *follow, const Ipam__V1__ListClaimsReply *reply)
{
    for (size_t i = 0; i < reply->n_claims; i++)
        claims_apply(follow->claims, reply->claims[i], on_touched, follow);
    if (!follow->snapshot)
        follow->snapshot = reply->revision;
    free(follow->page_token);
    follow->page_token = mem_strdup(reply->next_page_token);
    if (*follow->page_token)
        snapshot_next(follow);
    else
        subscribe(follow);
}

static void on_page(const ProtobufCMessage *reply, const struct ipam_error *error, void *user)
{
    struct follow *follow = user;
    follow->page = NULL;
    if (!follow->closing && error) {
        follow->callbacks->trouble(error, follow->user);
        snapshot_again(follow);
    } else if (!follow->closing) {
        take_page(follow, (const Ipam__V1__ListClaimsReply *)reply);
    }
    let_go(follow);
}

static void snapshot_next(struct follow *follow)
{
    Ipam__V1__ListClaimsRequest request = IPAM__V1__LIST_CLAIMS_REQUEST__INIT;
    struct ipam_error error;
    request.page_size = PAGE;
    request.page_token = follow->page_token;
    follow->page = ipam_channel_call(follow->options.channel, "/ipam.v1.IPAM/ListClaims", &request.base,
                                     &ipam__v1__list_claims_reply__descriptor, 0, on_page, follow, &error);
    if (follow->page) {
        follow->open++;
    } else {
        follow->callbacks->trouble(&error, follow->user);
        snapshot_again(follow);
    }
}

struct follow *follow_new(const struct follow_options *options, const struct follow_callbacks *callbacks, void *user)
{
    struct follow *follow = mem_zalloc(sizeof(*follow));
    follow->options = *options;
    follow->callbacks = callbacks;
    follow->user = user;
    uv_timer_init(options->loop, &follow->retry);
    follow->retry.data = follow;
    follow->open = 1;
    on_retry(&follow->retry);
    return follow;
}

const struct claims *follow_claims(const struct follow *follow)
{
    return follow->in_step ? follow->claims : NULL;
}

uint64_t follow_revision(const struct follow *follow)
{
    return follow->revision;
}

uint64_t follow_newest(const struct follow *follow)
{
    return follow->newest > follow->revision ? follow->newest : follow->revision;
}
