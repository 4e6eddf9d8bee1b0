#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sodium.h>
#include <uv.h>

#include <ipam/subscriber.h>

#include "channel.h"
#include "event.h"
#include "follow.h"
#include "listening.h"

/* Between pages when everything that there was has been delivered: what comes meanwhile comes in one page. */
#define GATHER_MS 20
#define RETRY_MS  250
/* ipamd serves history when it has time for it: rather wait than ask anew. */
#define PAGE_TIMEOUT_MS 120000
/* The bus is silent when so many ticks in a row have not come; the interval is known from the last one. */
#define SILENT_TICKS       3
#define DEFAULT_TICK_MS    2000
#define LONGEST_TICK_MS    600000
#define EVENTS_SOCKET_NAME "events.sock"

enum trouble { TROUBLE_CALLS, TROUBLE_BUS, N_TROUBLES };

struct ipam_subscriber {
    struct follow follow;
    struct ipam_subscriber_callbacks callbacks;
    void *user;
    uv_loop_t *loop;
    struct ipam_channel *channel;
    struct listening listening;
    char *events;
    uv_timer_t ask;     /* a page is asked for when it ends */
    uv_timer_t silence; /* since the last message of the bus */
    uint64_t tick_ms;
    bool is_asking; /* a page is under way */
    bool is_over;   /* ended or being closed: nothing is delivered any more */
    bool is_closing;
    bool has_news;                /* delivered since `synced` was called last */
    bool is_troubled[N_TROUBLES]; /* and the user knows it */
    unsigned int n_open;          /* parts that are not closed yet */
    void (*closed)(void *user);
    void *closed_user;
};

/* ---- Telling the user ------------------------------------------------------------------------------------------ */

static void trouble_begins(struct ipam_subscriber *subscriber, enum trouble which, const struct ipam_error *error)
{
    if (subscriber->is_troubled[which]) {
        return;
    }
    subscriber->is_troubled[which] = true;
    if (subscriber->callbacks.trouble != NULL) {
        subscriber->callbacks.trouble(error, subscriber->user);
    }
}

static void trouble_ends(struct ipam_subscriber *subscriber, enum trouble which)
{
    if (!subscriber->is_troubled[which]) {
        return;
    }
    subscriber->is_troubled[which] = false;
    if (!subscriber->is_troubled[TROUBLE_CALLS] && !subscriber->is_troubled[TROUBLE_BUS] &&
        subscriber->callbacks.trouble != NULL) {
        subscriber->callbacks.trouble(NULL, subscriber->user);
    }
}

static void stop(struct ipam_subscriber *subscriber)
{
    subscriber->is_over = true;
    uv_timer_stop(&subscriber->ask);
    uv_timer_stop(&subscriber->silence);
}

static void end(struct ipam_subscriber *subscriber, const struct ipam_error *error)
{
    stop(subscriber);
    subscriber->callbacks.ended(error, subscriber->user);
}

/* Follow has taken it. */
static void hand_over(struct ipam_subscriber *subscriber, const Ipam__V1__Change *change)
{
    subscriber->has_news = true;
    subscriber->callbacks.change(change, subscriber->user);
}

static void tell_synced(struct ipam_subscriber *subscriber)
{
    subscriber->has_news = false;
    if (subscriber->callbacks.synced != NULL) {
        subscriber->callbacks.synced(subscriber->follow.chain.revision, subscriber->user);
    }
}

/* ---- Pages ----------------------------------------------------------------------------------------------------- */

static void on_ask(uv_timer_t *timer);

static void ask_after(struct ipam_subscriber *subscriber, uint64_t wait_ms)
{
    if (!subscriber->is_over && !subscriber->is_asking) {
        uv_timer_start(&subscriber->ask, on_ask, wait_ms, 0);
    }
}

/* Does not put off a page that is to be asked for already. */
static void ask_if_behind(struct ipam_subscriber *subscriber, uint64_t wait_ms)
{
    if (!subscriber->is_over && follow_is_behind(&subscriber->follow) &&
        !uv_is_active((uv_handle_t *)&subscriber->ask)) {
        ask_after(subscriber, wait_ms);
    }
}

/* `newest`: of the history when the page was read. */
static void page_delivered(struct ipam_subscriber *subscriber, uint64_t newest)
{
    const struct ipam_chain *chain = &subscriber->follow.chain;
    bool has_all = chain->revision == newest && !subscriber->follow.is_due;
    if (has_all) {
        tell_synced(subscriber);
    }
    ask_if_behind(subscriber, chain->revision == newest ? GATHER_MS : 0);
}

static void deliver_page(struct ipam_subscriber *subscriber, const Ipam__V1__ListChangesReply *page)
{
    struct ipam_error error;
    size_t i;
    if (follow_page(&subscriber->follow, page, &i, &error) < 0) {
        end(subscriber, &error);
        return;
    }
    for (; i < page->n_changes && !subscriber->is_over; i++) {
        if (follow_take(&subscriber->follow, page->changes[i], &error) < 0) {
            end(subscriber, &error);
        } else {
            hand_over(subscriber, page->changes[i]);
        }
    }
    if (!subscriber->is_over) {
        page_delivered(subscriber, page->revision);
    }
}

static void on_page(const ProtobufCMessage *reply, const struct ipam_error *error, void *user)
{
    struct ipam_subscriber *subscriber = user;
    subscriber->is_asking = false;
    if (subscriber->is_over) {
        return;
    }
    if (reply == NULL) {
        subscriber->follow.is_due = true;
        trouble_begins(subscriber, TROUBLE_CALLS, error);
        ask_after(subscriber, RETRY_MS);
        return;
    }
    trouble_ends(subscriber, TROUBLE_CALLS);
    if (!subscriber->is_over) {
        deliver_page(subscriber, (const Ipam__V1__ListChangesReply *)reply);
    }
}

static void on_ask(uv_timer_t *timer)
{
    struct ipam_subscriber *subscriber = timer->data;
    Ipam__V1__ListChangesRequest request;
    struct ipam_error error;
    follow_request(&subscriber->follow, &request);
    subscriber->is_asking = ipam_channel_call(subscriber->channel, "/ipam.v1.IPAM/ListChanges", &request.base,
                                              &ipam__v1__list_changes_reply__descriptor, PAGE_TIMEOUT_MS, on_page,
                                              subscriber, &error) != NULL;
    if (!subscriber->is_asking) {
        trouble_begins(subscriber, TROUBLE_CALLS, &error);
        ask_after(subscriber, RETRY_MS);
    }
}

/* ---- The bus --------------------------------------------------------------------------------------------------- */

static void on_silence(uv_timer_t *timer)
{
    struct ipam_subscriber *subscriber = timer->data;
    struct ipam_error error;
    ipam_error_set(&error, IPAM_REASON_UNREACHABLE,
                   "nothing comes from the bus at %s: changes are asked for now and then", subscriber->events);
    subscriber->follow.is_due = true;
    ask_if_behind(subscriber, 0);
    trouble_begins(subscriber, TROUBLE_BUS, &error);
}

static void silence_restart(struct ipam_subscriber *subscriber)
{
    uint64_t wait = SILENT_TICKS * subscriber->tick_ms;
    uv_timer_start(&subscriber->silence, on_silence, wait, wait);
}

static void on_tick(struct ipam_subscriber *subscriber, const struct event *event)
{
    uint64_t revision;
    uint32_t interval_ms;
    if (event_read_tick(event, &revision, &interval_ms, NULL) < 0) {
        subscriber->follow.is_due = true;
        return;
    }
    follow_hear_tick(&subscriber->follow, revision);
    if (interval_ms > 0 && interval_ms <= LONGEST_TICK_MS) {
        subscriber->tick_ms = interval_ms;
    }
}

/* Delivered as it is when it is the very next one and fits; what does not fit is left to a page, which tells why. */
static void on_change(struct ipam_subscriber *subscriber, const struct event *event)
{
    struct follow *follow = &subscriber->follow;
    Ipam__V1__Change *change;
    if (event_read_change(event, NULL, &change, NULL) < 0) {
        follow->is_due = true;
        return;
    }
    follow_hear(follow, change->revision);
    if (!subscriber->is_asking && !follow->is_due && change->revision == follow->chain.revision + 1) {
        if (follow_take(follow, change, NULL) == 0) {
            hand_over(subscriber, change);
        } else {
            follow->is_due = true;
        }
    }
    ipam__v1__change__free_unpacked(change, NULL);
}

static void on_message(void *user, const uint8_t *message, size_t size)
{
    struct ipam_subscriber *subscriber = user;
    struct event event;
    if (subscriber->is_over) {
        return;
    }
    if (event_parse(message, size, &event, NULL) < 0) {
        subscriber->follow.is_due = true;
    } else if (event.kind == EVENT_TICK) {
        on_tick(subscriber, &event);
    } else {
        on_change(subscriber, &event);
    }
}

/* All that had come has been looked at. */
static void on_bus_idle(void *user)
{
    struct ipam_subscriber *subscriber = user;
    if (subscriber->is_over) {
        return;
    }
    silence_restart(subscriber);
    trouble_ends(subscriber, TROUBLE_BUS);
    if (!subscriber->is_over && subscriber->has_news && !subscriber->is_asking &&
        !follow_is_behind(&subscriber->follow)) {
        tell_synced(subscriber);
    }
    ask_if_behind(subscriber, 0);
}

/* ---- Life ------------------------------------------------------------------------------------------------------ */

static void subscriber_free(struct ipam_subscriber *subscriber)
{
    free(subscriber->events);
    free(subscriber);
}

static void part_closed(struct ipam_subscriber *subscriber)
{
    if (--subscriber->n_open > 0) {
        return;
    }
    void (*closed)(void *user) = subscriber->closed;
    void *user = subscriber->closed_user;
    subscriber_free(subscriber);
    if (closed != NULL) {
        closed(user);
    }
}

static void on_part_closed(void *user)
{
    part_closed(user);
}

static void on_handle_closed(uv_handle_t *handle)
{
    part_closed(handle->data);
}

/* The path of the bus: given, of the environment, or beside the gRPC socket. NULL: no memory. */
static char *events_path(const char *given, const char *socket)
{
    const char *path = given != NULL ? given : getenv("IPAMD_EVENTS");
    if (path != NULL && path[0] != '\0') {
        return strdup(path);
    }
    const char *slash = strrchr(socket, '/');
    size_t size = slash != NULL ? (size_t)(slash - socket) + 1 : 0;
    char *beside = malloc(size + sizeof(EVENTS_SOCKET_NAME));
    if (beside != NULL) {
        memcpy(beside, socket, size);
        memcpy(beside + size, EVENTS_SOCKET_NAME, sizeof(EVENTS_SOCKET_NAME));
    }
    return beside;
}

static int parts_open(struct ipam_subscriber *subscriber, const struct ipam_options *connection,
                      struct ipam_error *reterr)
{
    subscriber->listening =
        (struct listening){.message = on_message, .idle = on_bus_idle, .closed = on_part_closed, .user = subscriber};
    if (listening_open(&subscriber->listening, subscriber->loop, subscriber->events, reterr) < 0) {
        return -1;
    }
    subscriber->n_open++;
    if (ipam_channel_new(subscriber->loop, connection, &subscriber->channel, reterr) < 0) {
        listening_close(&subscriber->listening);
        return -1;
    }
    uv_timer_init(subscriber->loop, &subscriber->ask);
    uv_timer_init(subscriber->loop, &subscriber->silence);
    subscriber->ask.data = subscriber->silence.data = subscriber;
    subscriber->n_open += 3;
    return 0;
}

int ipam_subscriber_new(uv_loop_t *loop, const struct ipam_subscriber_options *options,
                        const struct ipam_subscriber_callbacks *callbacks, void *user, struct ipam_subscriber **ret,
                        struct ipam_error *reterr)
{
    struct ipam_options connection;
    if (options_resolve(options->connection, &connection, reterr) < 0) {
        return -1;
    }
    struct ipam_subscriber *subscriber = calloc(1, sizeof(*subscriber));
    if (subscriber == NULL || sodium_init() < 0 ||
        (subscriber->events = events_path(options->events, connection.socket)) == NULL) {
        free(subscriber);
        return ipam_error_set(reterr, IPAM_REASON_OUT_OF_MEMORY, "no memory for a subscriber");
    }
    subscriber->callbacks = *callbacks;
    subscriber->user = user;
    subscriber->loop = loop;
    subscriber->tick_ms = DEFAULT_TICK_MS;
    follow_init(&subscriber->follow, options->from_now, options->after_revision, options->hash);
    if (parts_open(subscriber, &connection, reterr) < 0) {
        if (subscriber->n_open == 0) { /* else it goes when what is open has closed */
            subscriber_free(subscriber);
        }
        return -1;
    }
    ask_after(subscriber, 0);
    silence_restart(subscriber);
    *ret = subscriber;
    return 0;
}

void ipam_subscriber_close(struct ipam_subscriber *subscriber, void (*closed)(void *user), void *user)
{
    if (subscriber->is_closing) {
        return;
    }
    subscriber->is_closing = true;
    subscriber->closed = closed;
    subscriber->closed_user = user;
    stop(subscriber);
    listening_close(&subscriber->listening);
    ipam_channel_close(subscriber->channel, on_part_closed, subscriber);
    uv_close((uv_handle_t *)&subscriber->ask, on_handle_closed);
    uv_close((uv_handle_t *)&subscriber->silence, on_handle_closed);
}

uint64_t ipam_subscriber_revision(const struct ipam_subscriber *subscriber)
{
    return subscriber->follow.chain.revision;
}
