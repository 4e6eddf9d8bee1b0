#include "watch.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "arena.h"

#define PAGE_SIZE 500
#define TIMEOUT_S 290
#define IDLE_MS   150000 /* bookmarks come about once a minute */
#define STEADY_MS 10000  /* a watch that held so long was a good one */
#define GONE      410
#define NOT_FOUND 404
#define HTTP_OK   200

/* What is done next when the timer fires. */
enum step { STEP_LIST, STEP_WATCH };

struct kube_watch {
    struct kube_client *client;
    struct kube_watch_options options;
    struct kube_watch_callbacks callbacks;
    void *user;
    char *path; /* of the request under way */
    struct kube_request request;
    struct kube_call *call;
    uv_timer_t timer;
    enum step next;
    unsigned int attempt;        /* failures in a row */
    uint64_t opened_at;          /* ms; 0: this watch has not been answered yet */
    char *revision;              /* resourceVersion to watch from; NULL: list first */
    char *next_page;             /* of a list that is being read; NULL: its first page */
    json_t *known;               /* name: uid; jansson's tables are keyed, names come from users */
    json_t *listed;              /* the same, of the list being read */
    bool complete;               /* the first list has been delivered */
    enum ipam_reason in_trouble; /* what was told last; NONE: all is well */
    bool relist, closing;
    void (*closed)(void *user);
    void *closed_user;
};

static void list(struct kube_watch *watch);
static void stream(struct kube_watch *watch);

/* ---- The end ------------------------------------------------------------------------------------------------------ */

static void on_closed(uv_handle_t *handle)
{
    struct kube_watch *watch = handle->data;
    void (*closed)(void *) = watch->closed;
    void *user = watch->closed_user;
    json_decref(watch->listed);
    json_decref(watch->known);
    free(watch->next_page);
    free(watch->revision);
    free(watch->path);
    free(watch);
    if (closed)
        closed(user);
}

/* When no call is under way any more. */
static void end(struct kube_watch *watch)
{
    uv_close((uv_handle_t *)&watch->timer, on_closed);
}

/* ---- What comes next --------------------------------------------------------------------------------------------- */

static void on_timer(uv_timer_t *timer)
{
    struct kube_watch *watch = timer->data;
    if (watch->next == STEP_LIST)
        list(watch);
    else
        stream(watch);
}

static void step_after(struct kube_watch *watch, enum step step, uint64_t ms)
{
    watch->next = step;
    if (!watch->closing)
        uv_timer_start(&watch->timer, on_timer, ms, 0);
}

static void step_with_backoff(struct kube_watch *watch, enum step step, uint32_t retry_after_ms)
{
    step_after(watch, step, kube_backoff(++watch->attempt, retry_after_ms));
}

/* The same again is no news; messages differ by milliseconds and ports. */
static void trouble(struct kube_watch *watch, const struct ipam_error *error)
{
    enum ipam_reason reason = error ? error->reason : IPAM_REASON_NONE;
    if (watch->closing || reason == watch->in_trouble)
        return;
    watch->in_trouble = reason;
    if (watch->callbacks.trouble)
        watch->callbacks.trouble(error, watch->user);
}

static void text_set(char **to, const char *text)
{
    char *copy = text && *text ? mem_strdup(text) : NULL;
    free(*to);
    *to = copy;
}

static void list_forget(struct kube_watch *watch)
{
    text_set(&watch->next_page, NULL);
    json_decref(watch->listed);
    watch->listed = NULL;
}

/* Takes `query`. */
static void request_set(struct kube_watch *watch, char *query, uint32_t timeout_ms)
{
    const char *path = watch->options.path;
    free(watch->path);
    if (asprintf(&watch->path, "%s%c%s", path, strchr(path, '?') ? '&' : '?', query) < 0)
        abort();
    free(query);
    watch->request = (struct kube_request){.method = "GET", .path = watch->path, .timeout_ms = timeout_ms};
}

/* ---- Objects ----------------------------------------------------------------------------------------------------- */

static const char *metadata(const json_t *object, const char *field)
{
    return json_string_value(json_object_get(json_object_get(object, "metadata"), field));
}

static void without_name(struct kube_watch *watch)
{
    struct ipam_error error;
    ipam_error_set(&error, IPAM_REASON_API_REFUSED, "%s: an object without metadata.name came, ignoring it",
                   watch->options.path);
    trouble(watch, &error);
}

static void delete_known(struct kube_watch *watch, const char *name, const json_t *object)
{
    json_t *uid = json_incref(json_object_get(watch->known, name));
    const char *given = object ? metadata(object, "uid") : NULL;
    if (uid) {
        char *copy = mem_strdup(name); /* may be a key of the table */
        json_object_del(watch->known, copy);
        watch->callbacks.deleted(copy, given ? given : json_string_value(uid), object, watch->user);
        free(copy);
    }
    json_decref(uid);
}

/* Another uid under the same name: the one before is gone, unseen. */
static void object_came(struct kube_watch *watch, const json_t *object)
{
    const char *name = metadata(object, "name"), *uid = metadata(object, "uid");
    if (!name || !*name) {
        without_name(watch);
        return;
    }
    const char *before = json_string_value(json_object_get(watch->known, name));
    uid = uid ? uid : "";
    if (before && strcmp(before, uid) != 0)
        delete_known(watch, name, NULL);
    if (json_object_set_new_nocheck(watch->known, name, json_string_nocheck(uid)) < 0)
        abort();
    watch->callbacks.object(object, watch->user);
}

static void object_went(struct kube_watch *watch, const json_t *object)
{
    const char *name = metadata(object, "name");
    if (name)
        delete_known(watch, name, object);
}

/* ---- List -------------------------------------------------------------------------------------------------------- */

static void missing_delete(struct kube_watch *watch)
{
    void *next;
    for (void *at = json_object_iter(watch->known); at && !watch->closing; at = next) {
        const char *name = json_object_iter_key(at);
        next = json_object_iter_next(watch->known, at);
        if (!json_object_get(watch->listed, name))
            delete_known(watch, name, NULL);
    }
}

static void list_complete(struct kube_watch *watch)
{
    size_t count = json_object_size(watch->listed);
    missing_delete(watch);
    list_forget(watch);
    if (watch->closing)
        return;
    watch->complete = true;
    watch->callbacks.listed(count, watch->user);
    step_after(watch, watch->relist ? STEP_LIST : STEP_WATCH, 0);
}

static void items_take(struct kube_watch *watch, const json_t *items)
{
    for (size_t i = 0; i < json_array_size(items) && !watch->closing; i++) {
        const json_t *item = json_array_get(items, i);
        const char *name = metadata(item, "name");
        if (name && *name && json_object_set_new_nocheck(watch->listed, name, json_true()) < 0)
            abort();
        object_came(watch, item);
    }
}

static void page_take(struct kube_watch *watch, const json_t *body)
{
    text_set(&watch->revision, metadata(body, "resourceVersion"));
    text_set(&watch->next_page, metadata(body, "continue"));
    trouble(watch, NULL);
    items_take(watch, json_object_get(body, "items"));
    if (watch->closing)
        return;
    if (watch->next_page)
        step_after(watch, STEP_LIST, 0);
    else
        list_complete(watch);
}

static void list_failed(struct kube_watch *watch, const struct ipam_error *error, uint32_t retry_after_ms)
{
    trouble(watch, error);
    step_with_backoff(watch, STEP_LIST, retry_after_ms);
}

static void list_refused(struct kube_watch *watch, const struct kube_response *response)
{
    struct ipam_error error;
    bool begun = watch->next_page != NULL;
    if (response->status == GONE)
        list_forget(watch);
    if (response->status == GONE && begun) { /* the server keeps a list's pages for some minutes only */
        step_with_backoff(watch, STEP_LIST, response->retry_after_ms);
        return;
    }
    kube_response_error(&watch->request, response, &error);
    if (response->status == NOT_FOUND)
        ipam_error_set(&error, IPAM_REASON_API_REFUSED,
                       "GET %s: 404 NotFound: the API server does not know this kind of object: install its "
                       "CustomResourceDefinition",
                       watch->options.path);
    list_failed(watch, &error, response->retry_after_ms);
}

static bool is_list(const json_t *body)
{
    const char *revision = metadata(body, "resourceVersion");
    return json_is_array(json_object_get(body, "items")) && revision && *revision;
}

static void no_list(struct kube_watch *watch)
{
    struct ipam_error error;
    ipam_error_set(&error, IPAM_REASON_API_REFUSED,
                   "GET %s: the answer is no list: it has no items or no metadata.resourceVersion",
                   watch->options.path);
    list_failed(watch, &error, 0);
}

static void on_list(const struct kube_response *response, const struct ipam_error *failure, void *user)
{
    struct kube_watch *watch = user;
    watch->call = NULL;
    if (watch->closing)
        end(watch);
    else if (failure)
        list_failed(watch, failure, 0);
    else if (response->status != HTTP_OK)
        list_refused(watch, response);
    else if (is_list(response->body))
        page_take(watch, response->body);
    else
        no_list(watch);
}

static void list(struct kube_watch *watch)
{
    unsigned int limit = watch->options.page_size;
    if (!watch->listed) {
        watch->relist = false;
        watch->listed = json_object();
    }
    request_set(watch,
                watch->next_page ? kube_path("limit=%u&continue=%s", limit, watch->next_page)
                                 : kube_path("limit=%u", limit),
                0);
    watch->call = kube_call(watch->client, &watch->request, on_list, watch);
}

/* ---- Watch ------------------------------------------------------------------------------------------------------- */

/* Of an etcd that was restored from a backup. Versions are numbers in every server there is; where they are not, we don't know. */
static bool went_back(const char *before, const char *now)
{
    char *end_before, *end_now;
    unsigned long long a = strtoull(before, &end_before, 10), b = strtoull(now, &end_now, 10);
    return !*end_before && !*end_now && b < a;
}

static void event_added(struct kube_watch *watch, const json_t *object)
{
    object_came(watch, object);
}

static void event_deleted(struct kube_watch *watch, const json_t *object)
{
    object_went(watch, object);
}

static void event_bookmark(struct kube_watch *watch, const json_t *object)
{
    const char *revision = metadata(object, "resourceVersion");
    if (revision && went_back(watch->revision, revision))
        kube_watch_relist(watch);
}

static void event_error(struct kube_watch *watch, const json_t *object)
{
    struct ipam_error error;
    struct kube_response response = {.status = (int)json_integer_value(json_object_get(object, "code")),
                                     .body = object};
    kube_response_error(&watch->request, &response, &error);
    if (response.status == GONE)
        text_set(&watch->revision, NULL);
    else
        trouble(watch, &error);
    kube_call_cancel(watch->call); /* on_end goes on from here */
}

static const struct {
    const char *type;
    void (*take)(struct kube_watch *watch, const json_t *object);
} events[] = {
    {"ADDED", event_added},       {"MODIFIED", event_added}, {"DELETED", event_deleted},
    {"BOOKMARK", event_bookmark}, {"ERROR", event_error},
};

static void unknown_event(struct kube_watch *watch)
{
    struct ipam_error error;
    ipam_error_set(&error, IPAM_REASON_API_REFUSED, "%s: an event of an unknown type came, ignoring it",
                   watch->options.path);
    trouble(watch, &error);
}

/* A watch that brought something was no failure, however soon it ended: a busy API server closes those that it can't serve. */
static void revision_note(struct kube_watch *watch, const char *revision)
{
    if (strcmp(revision, watch->revision) != 0)
        watch->attempt = 0;
    text_set(&watch->revision, revision);
}

/* The version is noted last: what was not dealt with comes again. */
static void on_line(const json_t *event, void *user)
{
    struct kube_watch *watch = user;
    const char *type = json_string_value(json_object_get(event, "type"));
    const json_t *object = json_object_get(event, "object");
    const char *revision = metadata(object, "resourceVersion");
    size_t i = 0, n = sizeof events / sizeof *events;
    if (watch->closing || watch->relist || !watch->revision)
        return;
    trouble(watch, NULL);
    while (i < n && !(type && strcmp(events[i].type, type) == 0))
        i++;
    if (i == n)
        unknown_event(watch);
    else
        events[i].take(watch, object);
    if (!watch->closing && watch->revision && revision)
        revision_note(watch, revision);
}

static void on_open(void *user)
{
    struct kube_watch *watch = user;
    watch->opened_at = uv_now(watch->timer.loop);
    trouble(watch, NULL);
}

/* These may pass by themselves; any other refusal means that this watch can't be had: list afresh. */
static bool is_passing(int status)
{
    return status == 401 || status == 403 || status == 429 || status >= 500;
}

static void watch_refused(struct kube_watch *watch, const struct kube_response *response)
{
    struct ipam_error error;
    if (!is_passing(response->status))
        text_set(&watch->revision, NULL);
    if (response->status == GONE)
        return;
    kube_response_error(&watch->request, response, &error);
    trouble(watch, &error);
}

/* What broke it off; that it ended in peace, or that we ended it ourselves, is none. */
static void watch_failed(struct kube_watch *watch, const struct ipam_error *error)
{
    if (error->reason == IPAM_REASON_DEADLINE_EXCEEDED && watch->opened_at)
        text_set(&watch->revision, NULL); /* not even a bookmark: it may be past what the server knows */
    else if (error->reason != IPAM_REASON_CANCELLED)
        trouble(watch, error);
}

static void on_end(const struct kube_response *response, const struct ipam_error *error, void *user)
{
    struct kube_watch *watch = user;
    uint64_t held = watch->opened_at ? uv_now(watch->timer.loop) - watch->opened_at : 0;
    watch->call = NULL;
    if (watch->closing) {
        end(watch);
        return;
    }
    if (error)
        watch_failed(watch, error);
    else if (response->status != HTTP_OK)
        watch_refused(watch, response);
    if (watch->closing)
        return;
    enum step step = watch->relist || !watch->revision ? STEP_LIST : STEP_WATCH;
    if (held >= STEADY_MS)
        watch->attempt = 0;
    if (watch->relist || (held >= STEADY_MS && !watch->in_trouble))
        step_after(watch, step, 0);
    else
        step_with_backoff(watch, step, response ? response->retry_after_ms : 0);
}

static void stream(struct kube_watch *watch)
{
    static const struct kube_stream_callbacks callbacks = {on_open, on_line, on_end};
    unsigned int timeout = watch->options.timeout_s - arc4random_uniform(watch->options.timeout_s / 5 + 1);
    request_set(
        watch,
        kube_path("watch=true&allowWatchBookmarks=true&timeoutSeconds=%u&resourceVersion=%s", timeout, watch->revision),
        watch->options.idle_ms);
    watch->opened_at = 0;
    watch->call = kube_stream(watch->client, &watch->request, &callbacks, watch);
}

/* ---- Beginning and end ------------------------------------------------------------------------------------------- */

struct kube_watch *kube_watch_new(struct kube_client *client, const struct kube_watch_options *options,
                                  const struct kube_watch_callbacks *callbacks, void *user)
{
    struct kube_watch *watch = mem_zalloc(sizeof *watch);
    watch->client = client;
    watch->options = *options;
    watch->options.page_size = options->page_size ? options->page_size : PAGE_SIZE;
    watch->options.timeout_s = options->timeout_s ? options->timeout_s : TIMEOUT_S;
    watch->options.idle_ms = options->idle_ms ? options->idle_ms : IDLE_MS;
    watch->callbacks = *callbacks;
    watch->user = user;
    watch->known = json_object();
    uv_timer_init(kube_client_loop(client), &watch->timer);
    watch->timer.data = watch;
    step_after(watch, STEP_LIST, 0);
    return watch;
}

void kube_watch_close(struct kube_watch *watch, void (*closed)(void *user), void *user)
{
    watch->closing = true;
    watch->closed = closed;
    watch->closed_user = user;
    uv_timer_stop(&watch->timer);
    if (watch->call)
        kube_call_cancel(watch->call);
    else
        end(watch);
}

/* A list that is being read is read to its end first: it began before what the caller knows. */
void kube_watch_relist(struct kube_watch *watch)
{
    watch->relist = true;
    watch->next = STEP_LIST;
    if (watch->call && !watch->listed)
        kube_call_cancel(watch->call);
}

bool kube_watch_synced(const struct kube_watch *watch)
{
    return watch->complete && !watch->in_trouble;
}
