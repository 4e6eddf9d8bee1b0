#include "event.h"

#include <assert.h>
#include <ctype.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>
#include <time.h>

#include "arena.h"

#define COLLECTION  "/api/v1/namespaces/default/events"
#define REMEMBER_MS 600000 /* the same one again within this time raises the count */
#define REMEMBER    512
#define BURST       25
#define REFILL_MS   500 /* one more every so often */
#define TIMEOUT_MS  3000
#define CALLS_MAX   64  /* that wait or are under way: all others go first, and that may be for long */
#define NAME_MAX_   230 /* of the object's name in the Event's, which may be 253 bytes long */

/* An Event that was written, or is being written. */
struct entry {
    TAILQ_ENTRY(entry) link;
    struct kube_events *events;
    char *key, *name;
    uint64_t begun_at; /* ms */
    unsigned int count, told;
    struct kube_call *call; /* NULL: none under way */
    bool over;              /* not to be raised again: it could not be written, or is gone */
};

TAILQ_HEAD(entries, entry);

struct kube_events {
    struct kube_client *client;
    const char *component;
    struct entries entries; /* newest first */
    size_t n_entries;
    unsigned int calls, tokens;
    uint64_t dropped;
    uint64_t refilled_at; /* ms */
    uv_timer_t timer;     /* for closing from the loop */
    bool closing;
    void (*closed)(void *user);
    void *closed_user;
};

/* ---- Which it is ------------------------------------------------------------------------------------------------- */

static void entry_free(struct entry *entry)
{
    TAILQ_REMOVE(&entry->events->entries, entry, link);
    entry->events->n_entries--;
    free(entry->key);
    free(entry->name);
    free(entry);
}

static struct entry *entry_find(struct kube_events *events, const char *key, uint64_t now)
{
    struct entry *entry = TAILQ_FIRST(&events->entries);
    while (entry && (entry->over || now - entry->begun_at >= REMEMBER_MS || strcmp(entry->key, key) != 0))
        entry = TAILQ_NEXT(entry, link);
    return entry;
}

/* The oldest ones go, but none that a call is under way for. */
static void entries_trim(struct kube_events *events)
{
    struct entry *before, *entry = TAILQ_LAST(&events->entries, entries);
    for (; entry && events->n_entries > REMEMBER; entry = before) {
        before = TAILQ_PREV(entry, entries, link);
        if (!entry->call)
            entry_free(entry);
    }
}

/* "web-vip.186f3a5c11d2e4b7": the object's name, so that a listing of Events can be read, and something unique. */
static char *entry_name(const char *object)
{
    char *name;
    int length = (int)strnlen(object, NAME_MAX_);
    while (length > 0 && !isalnum((unsigned char)object[length - 1]))
        length--;
    if (asprintf(&name, "%.*s.%08x%08x", length, object, arc4random(), arc4random()) < 0)
        abort();
    return name;
}

static bool token_take(struct kube_events *events, uint64_t now)
{
    uint64_t more = (now - events->refilled_at) / REFILL_MS;
    events->refilled_at += more * REFILL_MS;
    events->tokens = more > BURST - events->tokens ? BURST : events->tokens + (unsigned int)more;
    if (events->tokens == 0)
        return false;
    events->tokens--;
    return true;
}

/* ---- What is written --------------------------------------------------------------------------------------------- */

static const char *const type_names[] = {[KUBE_EVENT_NORMAL] = "Normal", [KUBE_EVENT_WARNING] = "Warning"};

static void time_text(char text[32])
{
    time_t now = time(NULL);
    struct tm tm;
    strftime(text, 32, "%Y-%m-%dT%H:%M:%SZ", gmtime_r(&now, &tm));
}

static json_t *event_body(const char *component, const char *name, const struct kube_object_ref *object,
                          enum kube_event_type type, const char *reason, const char *message)
{
    char now[32];
    time_text(now);
    json_t *body =
        json_pack("{s:s, s:s, s:{s:s, s:s}, s:{s:s, s:s, s:s, s:s}, s:s, s:s, s:s, s:s, s:s, s:i, s:{s:s}, s:s, s:s}",
                  "apiVersion", "v1", "kind", "Event", "metadata", "name", name, "namespace", "default",
                  "involvedObject", "apiVersion", object->api_version, "kind", object->kind, "name", object->name,
                  "uid", object->uid ? object->uid : "", "reason", reason, "message", message, "type", type_names[type],
                  "firstTimestamp", now, "lastTimestamp", now, "count", 1, "source", "component", component,
                  "reportingComponent", component, "reportingInstance", component);
    if (!body)
        abort(); /* all of it is text of ours, or came as JSON */
    return body;
}

static void on_written(const struct kube_response *response, const struct ipam_error *error, void *user);

static void entry_send(struct entry *entry, const char *method, const char *path, const char *type, json_t *body)
{
    struct kube_request request = {.method = method,
                                   .path = path,
                                   .content_type = type,
                                   .body = body,
                                   .timeout_ms = TIMEOUT_MS,
                                   .background = true};
    entry->told = entry->count;
    entry->call = kube_call(entry->events->client, &request, on_written, entry);
    entry->events->calls++;
    json_decref(body);
}

static void entry_raise(struct entry *entry)
{
    char now[32], *path = kube_path(COLLECTION "/%s", entry->name);
    time_text(now);
    json_t *body = json_pack("{s:I, s:s}", "count", (json_int_t)entry->count, "lastTimestamp", now);
    entry_send(entry, "PATCH", path, KUBE_MERGE_PATCH, body);
    free(path);
}

static void end_when_idle(struct kube_events *events);

static void on_written(const struct kube_response *response, const struct ipam_error *error, void *user)
{
    struct entry *entry = user;
    struct kube_events *events = entry->events;
    entry->call = NULL;
    events->calls--;
    entry->over = error || response->status >= 300;
    events->dropped += entry->over;
    if (!entry->over && entry->told != entry->count && !events->closing)
        entry_raise(entry);
    entries_trim(events);
    end_when_idle(events);
}

static void entry_begin(struct kube_events *events, char *key, const struct kube_object_ref *object,
                        enum kube_event_type type, const char *reason, const char *message, uint64_t now)
{
    struct entry *entry = mem_zalloc(sizeof *entry);
    *entry =
        (struct entry){.events = events, .key = key, .name = entry_name(object->name), .begun_at = now, .count = 1};
    TAILQ_INSERT_HEAD(&events->entries, entry, link);
    events->n_entries++;
    entry_send(entry, "POST", COLLECTION, KUBE_JSON,
               event_body(events->component, entry->name, object, type, reason, message));
    entries_trim(events);
}

void kube_event(struct kube_events *events, const struct kube_object_ref *object, enum kube_event_type type,
                const char *reason, const char *message)
{
    uint64_t now = uv_now(events->timer.loop);
    char *key;
    if (events->closing || events->calls >= CALLS_MAX || !token_take(events, now)) {
        events->dropped++;
        return;
    }
    if (asprintf(&key, "%s/%s/%s/%s/%s", object->kind, object->name, object->uid ? object->uid : "", reason, message) <
        0)
        abort();
    struct entry *entry = entry_find(events, key, now);
    if (!entry) {
        entry_begin(events, key, object, type, reason, message, now);
        return;
    }
    free(key);
    entry->count++;
    if (!entry->call) /* else the answer comes first */
        entry_raise(entry);
}

uint64_t kube_events_dropped(const struct kube_events *events)
{
    return events->dropped;
}

/* ---- Beginning and end ------------------------------------------------------------------------------------------- */

struct kube_events *kube_events_new(struct kube_client *client, const char *component)
{
    struct kube_events *events = mem_zalloc(sizeof *events);
    events->client = client;
    events->component = component;
    events->tokens = BURST;
    TAILQ_INIT(&events->entries);
    uv_timer_init(kube_client_loop(client), &events->timer);
    events->timer.data = events;
    events->refilled_at = uv_now(events->timer.loop);
    return events;
}

static void on_closed(uv_handle_t *handle)
{
    struct kube_events *events = handle->data;
    void (*closed)(void *) = events->closed;
    void *user = events->closed_user;
    while (!TAILQ_EMPTY(&events->entries))
        entry_free(TAILQ_FIRST(&events->entries));
    free(events);
    if (closed)
        closed(user);
}

static void end_when_idle(struct kube_events *events)
{
    if (events->closing && events->calls == 0)
        uv_close((uv_handle_t *)&events->timer, on_closed);
}

void kube_events_close(struct kube_events *events, void (*closed)(void *user), void *user)
{
    events->closing = true;
    events->closed = closed;
    events->closed_user = user;
    end_when_idle(events);
}
