#include "watch.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "absence.h"
#include "arena.h"

#define PAGE_SIZE        500
#define TIMEOUT_S        290
#define IDLE_MS          150000 /* bookmarks come about once a minute */
#define STEADY_MS        10000  /* a watch that held so long was a good one */
#define CHECK_MS         25000
#define OPENED_MS        100  /* that it has ended already, an API server says at once */
#define DOUBT_MS         1000 /* an event may be under way */
#define DOUBTS           3    /* then it is not */
#define RETRY_MS         5000 /* of a check that failed */
#define CHECK_TIMEOUT_MS 10000
#define DOUBLINGS        6 /* of the wait before the next try: 8 s, as nothing is seen meanwhile */
#define GONE             410
#define NOT_FOUND        404
#define HTTP_OK          200

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
    struct kube_absence_search *search; /* after a 404 */
    struct kube_call *check;            /* a list of one object */
    char *check_path;
    struct kube_request check_request;
    uv_timer_t timer, silence; /* silence: since the watch brought something */
    unsigned int n_handles;
    enum step next;
    unsigned int attempt;        /* failures in a row */
    uint64_t opened_at;          /* ms; 0: this watch has not been answered yet */
    char *revision;              /* resourceVersion to watch from; NULL: list first */
    char *next_page;             /* of a list that is being read; NULL: its first page */
    json_t *known;               /* name: uid; jansson's tables are keyed, names come from users */
    json_t *listed;              /* the same, of the list being read */
    json_t *bad;                 /* name: why it can't be read whole */
    uint32_t limit;              /* of a page */
    bool complete;               /* the first list has been delivered */
    bool in_step;                /* no sign since that events may be missing */
    bool fresh;                  /* the next watch is the first since a list */
    unsigned int doubts;         /* checks in a row that counted other objects than are known */
    bool doubted;                /* this list is for them … */
    size_t doubted_count;        /* … and so many were known */
    bool inexact;                /* the server's counts can't be relied on */
    enum ipam_reason in_trouble; /* what was told last; NONE: all is well */
    int trouble_status;          /* and with which answer */
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
    if (--watch->n_handles > 0)
        return;
    void (*closed)(void *) = watch->closed;
    void *user = watch->closed_user;
    json_decref(watch->bad);
    free(watch->check_path);
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
    if (watch->call || watch->check || watch->search)
        return;
    uv_close((uv_handle_t *)&watch->timer, on_closed);
    uv_close((uv_handle_t *)&watch->silence, on_closed);
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
    watch->attempt += watch->attempt < DOUBLINGS;
    step_after(watch, step, kube_backoff(watch->attempt, retry_after_ms));
}

/* The same again is no news; messages differ by milliseconds and ports. */
static void trouble(struct kube_watch *watch, const struct ipam_error *error)
{
    enum ipam_reason reason = error ? error->reason : IPAM_REASON_NONE;
    int status = error ? kube_error_status(error) : 0;
    watch->in_step = watch->in_step && !error;
    if (watch->closing || (reason == watch->in_trouble && status == watch->trouble_status))
        return;
    watch->in_trouble = reason;
    watch->trouble_status = status;
    if (watch->callbacks.trouble)
        watch->callbacks.trouble(error, watch->user);
}

static void well(struct kube_watch *watch)
{
    watch->in_step = true;
    trouble(watch, NULL);
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
static void path_set(const struct kube_watch *watch, char **to, char *query)
{
    const char *path = watch->options.path;
    free(*to);
    if (asprintf(to, "%s%c%s", path, strchr(path, '?') ? '&' : '?', query) < 0)
        abort();
    free(query);
}

static void request_set(struct kube_watch *watch, char *query, uint32_t timeout_ms)
{
    path_set(watch, &watch->path, query);
    watch->request = (struct kube_request){.method = "GET",
                                           .path = watch->path,
                                           .fields = watch->options.fields,
                                           .shape = KUBE_PAGE,
                                           .timeout_ms = timeout_ms};
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

static void problem_note(struct kube_watch *watch, const char *name, const char *why)
{
    const char *before = json_string_value(json_object_get(watch->bad, name));
    if (why ? before && strcmp(why, before) == 0 : !before)
        return;
    if (why)
        json_object_set_new_nocheck(watch->bad, name, json_string_nocheck(why));
    else
        json_object_del(watch->bad, name);
    if (watch->callbacks.problem)
        watch->callbacks.problem(name, why, watch->user);
}

static void delete_known(struct kube_watch *watch, const char *name, const json_t *object)
{
    json_t *uid = json_incref(json_object_get(watch->known, name));
    const char *given = object ? metadata(object, "uid") : NULL;
    if (uid) {
        char *copy = mem_strdup(name); /* may be a key of the table */
        json_object_del(watch->known, copy);
        json_object_del(watch->bad, copy);
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
    problem_note(watch, name, kube_object_problem(object));
    if (!watch->closing)
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
    watch->inexact = watch->inexact || (watch->doubted && count == watch->doubted_count);
    watch->doubted = false;
    watch->complete = watch->fresh = true;
    watch->limit = 2 * watch->limit < watch->options.page_size ? 2 * watch->limit : watch->options.page_size;
    well(watch);
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

/* One page at a time is halved; a server that is slow with it may be quicker with less. */
static bool page_halve(struct kube_watch *watch, const struct ipam_error *error)
{
    bool too_large = kube_error_is_too_large(error);
    if (watch->limit == 1 || (!too_large && error->reason != IPAM_REASON_DEADLINE_EXCEEDED))
        return false;
    watch->limit /= 2;
    return too_large;
}

static void list_failed(struct kube_watch *watch, const struct ipam_error *error, uint32_t retry_after_ms)
{
    if (page_halve(watch, error)) {
        step_after(watch, STEP_LIST, 0);
        return;
    }
    trouble(watch, error);
    step_with_backoff(watch, STEP_LIST, retry_after_ms);
}

/* The kind is there all the same when the server has just begun, or just been taught it. */
static void on_searched(enum kube_absence what, const struct ipam_error *error, void *user)
{
    struct kube_watch *watch = user;
    struct ipam_error refusal;
    struct kube_response not_found = {.status = NOT_FOUND};
    watch->search = NULL;
    if (watch->closing) {
        end(watch);
        return;
    }
    kube_response_error(&watch->request, &not_found, &refusal);
    list_failed(watch, what == KUBE_ABSENT_KIND ? error : &refusal, 0);
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
        watch->search = kube_absence_ask(watch->client, watch->options.path, on_searched, watch);
    else
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
    unsigned int limit = watch->limit;
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

static void check(struct kube_watch *watch);

static void on_silence(uv_timer_t *timer)
{
    check(timer->data);
}

static void check_after(struct kube_watch *watch, uint64_t ms)
{
    if (!watch->closing)
        uv_timer_start(&watch->silence, on_silence, ms, 0);
}

static void check_stop(struct kube_watch *watch)
{
    uv_timer_stop(&watch->silence);
    if (watch->check)
        kube_call_cancel(watch->check);
}

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

/* All that was known may be past what the server knows. */
static void restored(struct kube_watch *watch, const char *revision)
{
    struct ipam_error error;
    ipam_error_set(
        &error, IPAM_REASON_API_REFUSED,
        "%s: the API server went back from resourceVersion %s to %s, as after a restore of etcd: listing all "
        "of it anew",
        watch->options.path, watch->revision, revision);
    trouble(watch, &error);
    kube_watch_relist(watch);
}

static void event_bookmark(struct kube_watch *watch, const json_t *object)
{
    const char *revision = metadata(object, "resourceVersion");
    if (revision && went_back(watch->revision, revision))
        restored(watch, revision);
}

static void event_error(struct kube_watch *watch, const json_t *object)
{
    struct ipam_error error;
    struct kube_response response = {.status = (int)json_integer_value(json_object_get(object, "code")),
                                     .body = object};
    kube_response_error(&watch->request, &response, &error);
    watch->in_step = false;
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
    watch->doubts = 0;
    check_after(watch, watch->options.check_ms);
    while (i < n && !(type && strcmp(events[i].type, type) == 0))
        i++;
    if (i < n && events[i].take != event_error)
        well(watch);
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
    check_after(watch, watch->in_step ? watch->options.check_ms : OPENED_MS);
}

/* These may pass by themselves; any other refusal means that this watch can't be had: list afresh. */
static bool is_passing(int status)
{
    return status == 401 || status == 403 || status == 429 || status >= 500;
}

static void watch_refused(struct kube_watch *watch, const struct kube_response *response)
{
    struct ipam_error error;
    watch->in_step = false;
    if (!is_passing(response->status))
        text_set(&watch->revision, NULL);
    if (response->status == GONE || response->status == NOT_FOUND) /* of the latter the list knows more */
        return;
    kube_response_error(&watch->request, response, &error);
    trouble(watch, &error);
}

/* What broke it off; that it ended in peace, or that we ended it ourselves, is none. */
static void watch_failed(struct kube_watch *watch, const struct ipam_error *error)
{
    watch->in_step = watch->in_step && error->reason == IPAM_REASON_CANCELLED;
    if (error->reason == IPAM_REASON_DEADLINE_EXCEEDED && watch->opened_at)
        text_set(&watch->revision, NULL); /* not even a bookmark: it may be past what the server knows */
    else if (error->reason != IPAM_REASON_CANCELLED)
        trouble(watch, error);
}

static void on_end(const struct kube_response *response, const struct ipam_error *error, void *user)
{
    struct kube_watch *watch = user;
    uint64_t held = watch->opened_at ? uv_now(watch->timer.loop) - watch->opened_at : 0;
    bool was_fresh = watch->fresh;
    watch->call = NULL;
    watch->fresh = false;
    check_stop(watch);
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
    bool expired = !watch->revision && !was_fresh; /* while nobody could watch: no reason to wait */
    if (held >= STEADY_MS || expired)
        watch->attempt = 0;
    if (watch->relist || expired || (held >= STEADY_MS && !watch->in_trouble))
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

/* ---- Does it hear anything? -------------------------------------------------------------------------------------- */

/* How many objects there are by a list of one; -1: the server does not say. */
static json_int_t count_of(const json_t *body)
{
    const char *more = metadata(body, "continue");
    const json_t *remaining = json_object_get(json_object_get(body, "metadata"), "remainingItemCount");
    json_int_t listed = (json_int_t)json_array_size(json_object_get(body, "items"));
    if (!more || !*more)
        return listed;
    return json_is_integer(remaining) ? listed + json_integer_value(remaining) : -1;
}

static void deaf(struct kube_watch *watch, json_int_t count)
{
    struct ipam_error error;
    ipam_error_set(&error, IPAM_REASON_API_REFUSED,
                   "%s: the API server has %lld objects, and its watch told of %zu: listing all of them again",
                   watch->options.path, (long long)count, json_object_size(watch->known));
    watch->doubted = true;
    watch->doubted_count = json_object_size(watch->known);
    trouble(watch, &error);
    kube_watch_relist(watch);
}

static void check_judge(struct kube_watch *watch, const json_t *body)
{
    const char *revision = metadata(body, "resourceVersion");
    json_int_t count = count_of(body);
    bool other = count >= 0 && (size_t)count != json_object_size(watch->known) && !watch->inexact;
    watch->doubts = other ? watch->doubts + 1 : 0;
    if (went_back(watch->revision, revision)) {
        restored(watch, revision);
    } else if (watch->doubts >= DOUBTS) {
        deaf(watch, count);
    } else {
        if (!other)
            well(watch);
        check_after(watch, other ? DOUBT_MS : watch->options.check_ms);
    }
}

static void check_refused(struct kube_watch *watch, const struct kube_response *response)
{
    struct ipam_error error;
    if (response->status == NOT_FOUND) {
        watch->in_step = false;
        kube_watch_relist(watch);
        return;
    }
    kube_response_error(&watch->check_request, response, &error);
    trouble(watch, &error);
    check_after(watch, response->retry_after_ms > RETRY_MS ? response->retry_after_ms : RETRY_MS);
}

static void on_check(const struct kube_response *response, const struct ipam_error *error, void *user)
{
    struct kube_watch *watch = user;
    watch->check = NULL;
    if (watch->closing) {
        end(watch);
    } else if (error && error->reason == IPAM_REASON_CANCELLED) {
        return;
    } else if (error) {
        trouble(watch, error);
        check_after(watch, RETRY_MS);
    } else if (response->status != HTTP_OK) {
        check_refused(watch, response);
    } else if (is_list(response->body)) {
        check_judge(watch, response->body);
    } else {
        check_after(watch, RETRY_MS);
    }
}

static void check(struct kube_watch *watch)
{
    static const struct kube_field fields[] = {KUBE_END};
    path_set(watch, &watch->check_path, kube_path("limit=1&timeoutSeconds=%u", CHECK_TIMEOUT_MS / 1000));
    watch->check_request = (struct kube_request){.method = "GET",
                                                 .path = watch->check_path,
                                                 .fields = fields,
                                                 .shape = KUBE_PAGE,
                                                 .timeout_ms = CHECK_TIMEOUT_MS};
    watch->check = kube_call(watch->client, &watch->check_request, on_check, watch);
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
    watch->options.check_ms = options->check_ms ? options->check_ms : CHECK_MS;
    watch->limit = watch->options.page_size;
    watch->callbacks = *callbacks;
    watch->user = user;
    watch->known = json_object();
    watch->bad = json_object();
    uv_timer_init(kube_client_loop(client), &watch->timer);
    uv_timer_init(kube_client_loop(client), &watch->silence);
    watch->timer.data = watch->silence.data = watch;
    watch->n_handles = 2;
    step_after(watch, STEP_LIST, 0);
    return watch;
}

void kube_watch_close(struct kube_watch *watch, void (*closed)(void *user), void *user)
{
    watch->closing = true;
    watch->closed = closed;
    watch->closed_user = user;
    uv_timer_stop(&watch->timer);
    check_stop(watch);
    if (watch->call)
        kube_call_cancel(watch->call);
    if (watch->search)
        kube_absence_cancel(watch->search);
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
    return watch->complete && watch->in_step && !watch->in_trouble;
}

size_t kube_watch_problems(const struct kube_watch *watch)
{
    return json_object_size(watch->bad);
}
