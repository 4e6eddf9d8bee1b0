#include "lease.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "arena.h"

#define DURATION_MS  15000
#define RELEASE_MS   2000 /* for giving it back at the end */
#define API_VERSION  "coordination.k8s.io/v1"
#define RENEWALS     5 /* in one duration */
#define HTTP_OK      200
#define HTTP_CREATED 201
#define NOT_FOUND    404
#define CONFLICT     409

struct kube_lease {
    struct kube_client *client;
    struct kube_lease_options options;
    struct kube_lease_callbacks callbacks;
    void *user;
    char *path, *collection;
    struct kube_request request;
    struct kube_call *call;
    uv_timer_t retry, deadline;
    unsigned int n_handles;
    json_t *object;       /* as the server has it, as far as we know; NULL: not known */
    char *observed;       /* holder and renewal as seen last … */
    uint64_t observed_at; /* … and when they were seen to change, ms */
    uint64_t asked_at;    /* when the request under way left, ms */
    uint64_t good_until;  /* of our term, ms */
    enum ipam_reason in_trouble;
    bool held, closing;
    void (*closed)(void *user);
    void *closed_user;
};

static void lease_try(struct kube_lease *lease);

/* Others' clocks go on while this machine sleeps: CLOCK_MONOTONIC would not. */
static uint64_t now_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_BOOTTIME, &now);
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

static uint64_t term_ms(const struct kube_lease *lease)
{
    return lease->options.duration_ms * 2 / 3;
}

static void trouble(struct kube_lease *lease, const struct ipam_error *error)
{
    enum ipam_reason reason = error ? error->reason : IPAM_REASON_NONE;
    if (lease->closing || reason == lease->in_trouble)
        return;
    lease->in_trouble = reason;
    if (lease->callbacks.trouble)
        lease->callbacks.trouble(error, lease->user);
}

/* ---- Whose it is ------------------------------------------------------------------------------------------------- */

static const json_t *spec_field(const json_t *object, const char *field)
{
    return json_object_get(json_object_get(object, "spec"), field);
}

static const char *holder(const json_t *object)
{
    const char *name = json_string_value(spec_field(object, "holderIdentity"));
    return name ? name : "";
}

static bool is_ours(const struct kube_lease *lease)
{
    return strcmp(holder(lease->object), lease->options.identity) == 0;
}

/* What the holder says of its lease, but by our own clock. */
static bool is_expired(const struct kube_lease *lease)
{
    json_int_t seconds = json_integer_value(spec_field(lease->object, "leaseDurationSeconds"));
    uint64_t duration = seconds > 0 && seconds < 86400 ? (uint64_t)seconds * 1000 : lease->options.duration_ms;
    return now_ms() - lease->observed_at >= duration;
}

static void observe(struct kube_lease *lease, json_t *object)
{
    const char *renewed = json_string_value(spec_field(object, "renewTime"));
    char *seen;
    if (asprintf(&seen, "%s %s", renewed ? renewed : "", holder(object)) < 0)
        abort();
    if (!lease->observed || strcmp(lease->observed, seen) != 0)
        lease->observed_at = now_ms();
    free(lease->observed);
    lease->observed = seen;
    json_incref(object);
    json_decref(lease->object);
    lease->object = object;
}

static void object_forget(struct kube_lease *lease)
{
    json_decref(lease->object);
    lease->object = NULL;
}

/* ---- The object that we write ------------------------------------------------------------------------------------ */

static json_t *micro_time(void)
{
    struct timespec now;
    struct tm tm;
    char date[32], text[64];
    clock_gettime(CLOCK_REALTIME, &now);
    strftime(date, sizeof date, "%Y-%m-%dT%H:%M:%S", gmtime_r(&now.tv_sec, &tm));
    snprintf(text, sizeof text, "%s.%06ldZ", date, now.tv_nsec / 1000);
    return json_string(text);
}

static json_t *object_new(const struct kube_lease *lease)
{
    json_t *object =
        json_pack("{s:s, s:s, s:{s:s, s:s}, s:{s:i}}", "apiVersion", API_VERSION, "kind", "Lease", "metadata", "name",
                  lease->options.name, "namespace", lease->options.namespace_, "spec", "leaseTransitions", -1);
    if (!object)
        abort();
    return object;
}

/* Whatever else stands in the object stays. `identity` "": it is given back, and the next one need not wait. */
static json_t *object_with_holder(const struct kube_lease *lease, const char *identity)
{
    json_t *object = lease->object ? json_deep_copy(lease->object) : object_new(lease);
    json_t *spec = json_object_get(object, "spec");
    if (!json_is_object(spec)) {
        spec = json_object();
        json_object_set_new(object, "spec", spec);
    }
    json_int_t transitions = json_integer_value(json_object_get(spec, "leaseTransitions"));
    bool changes_hands = strcmp(holder(object), identity) != 0;
    uint32_t seconds = *identity ? (lease->options.duration_ms + 999) / 1000 : 1;
    if (changes_hands)
        json_object_set_new(spec, "acquireTime", micro_time());
    if (changes_hands && *identity)
        json_object_set_new(spec, "leaseTransitions", json_integer(transitions + 1));
    json_object_set_new(spec, "holderIdentity", json_string(identity));
    json_object_set_new(spec, "leaseDurationSeconds", json_integer(seconds));
    json_object_set_new(spec, "renewTime", micro_time());
    return object;
}

/* ---- Turns ------------------------------------------------------------------------------------------------------- */

static void lose(struct kube_lease *lease, const struct ipam_error *error)
{
    lease->held = false;
    uv_timer_stop(&lease->deadline);
    lease->callbacks.lost(error, lease->user);
}

static void on_deadline(uv_timer_t *timer)
{
    struct kube_lease *lease = timer->data;
    struct ipam_error error;
    ipam_error_set(&error, IPAM_REASON_API_UNREACHABLE, "lease %s/%s could not be renewed for %u ms",
                   lease->options.namespace_, lease->options.name, (unsigned int)term_ms(lease));
    object_forget(lease);
    if (lease->call)
        kube_call_cancel(lease->call); /* a renewal that comes late would not be known to us */
    lose(lease, &error);
}

/* The term counts from when the request left: others can't have seen the renewal before. */
static void hold(struct kube_lease *lease)
{
    uint64_t now = now_ms();
    lease->good_until = lease->asked_at + term_ms(lease);
    uv_update_time(lease->deadline.loop);
    uv_timer_start(&lease->deadline, on_deadline, lease->good_until > now ? lease->good_until - now : 0, 0);
    if (lease->held)
        return;
    lease->held = true;
    lease->callbacks.acquired(lease->user);
}

static void taken_away(struct kube_lease *lease)
{
    struct ipam_error error;
    ipam_error_set(&error, IPAM_REASON_API_REFUSED, "lease %s/%s was taken by %s", lease->options.namespace_,
                   lease->options.name, holder(lease->object));
    lose(lease, &error);
}

/* ---- Requests ---------------------------------------------------------------------------------------------------- */

static void on_retry(uv_timer_t *timer)
{
    lease_try(timer->data);
}

/* Those who wait spread out a little, so that they don't all ask at once. */
static void try_after(struct kube_lease *lease, uint64_t ms)
{
    uint64_t jitter = lease->held ? 0 : arc4random_uniform(lease->options.duration_ms / RENEWALS / 5 + 1);
    if (!lease->closing)
        uv_timer_start(&lease->retry, on_retry, ms + jitter, 0);
}

static uint32_t period_ms(const struct kube_lease *lease)
{
    return lease->options.duration_ms / RENEWALS;
}

static void ask(struct kube_lease *lease, const char *method, const char *path, const json_t *body,
                kube_response_cb callback)
{
    uint32_t timeout = lease->closing ? RELEASE_MS : lease->options.duration_ms / 3;
    lease->request = (struct kube_request){.method = method, .path = path, .body = body, .timeout_ms = timeout};
    lease->asked_at = now_ms();
    lease->call = kube_call(lease->client, &lease->request, callback, lease);
    lease->request.body = NULL;
}

/* ---- The end ------------------------------------------------------------------------------------------------------ */

static void on_handle_closed(uv_handle_t *handle)
{
    struct kube_lease *lease = handle->data;
    if (--lease->n_handles > 0)
        return;
    void (*closed)(void *) = lease->closed;
    void *user = lease->closed_user;
    json_decref(lease->object);
    free(lease->observed);
    free(lease->path);
    free(lease->collection);
    free(lease);
    if (closed)
        closed(user);
}

static void end(struct kube_lease *lease)
{
    uv_close((uv_handle_t *)&lease->retry, on_handle_closed);
    uv_close((uv_handle_t *)&lease->deadline, on_handle_closed);
}

static void on_released(const struct kube_response *response, const struct ipam_error *failure, void *user)
{
    (void)response, (void)failure; /* then it expires by itself */
    end(user);
}

static void on_release_read(const struct kube_response *response, const struct ipam_error *failure, void *user)
{
    struct kube_lease *lease = user;
    (void)failure;
    if (!response || response->status != HTTP_OK) {
        end(lease);
        return;
    }
    observe(lease, (json_t *)(uintptr_t)response->body);
    if (!is_ours(lease)) {
        end(lease);
        return;
    }
    json_t *body = object_with_holder(lease, "");
    ask(lease, "PUT", lease->path, body, on_released);
    json_decref(body);
}

/* A renewal that was cut short may have arrived, so it is read first. */
static void release(struct kube_lease *lease)
{
    if (!lease->held) {
        end(lease);
        return;
    }
    lease->held = false;
    ask(lease, "GET", lease->path, NULL, on_release_read);
}

void kube_lease_close(struct kube_lease *lease, void (*closed)(void *user), void *user)
{
    lease->closing = true;
    lease->closed = closed;
    lease->closed_user = user;
    uv_timer_stop(&lease->retry);
    uv_timer_stop(&lease->deadline);
    if (lease->call)
        kube_call_cancel(lease->call);
    else
        release(lease);
}

/* ---- Answers ----------------------------------------------------------------------------------------------------- */

/* Common to all answers: true when the caller has nothing more to do. */
static bool is_over(struct kube_lease *lease, const struct kube_response *response, const struct ipam_error *failure)
{
    struct ipam_error error;
    lease->call = NULL;
    if (lease->closing) {
        release(lease);
        return true;
    }
    if (response && (response->status == HTTP_OK || response->status == HTTP_CREATED))
        return false;
    if (response)
        kube_response_error(&lease->request, response, &error);
    object_forget(lease);
    if (!failure || failure->reason != IPAM_REASON_CANCELLED)
        trouble(lease, failure ? failure : &error);
    uint64_t wait = period_ms(lease);
    try_after(lease, response && response->retry_after_ms > wait ? response->retry_after_ms : wait);
    return true;
}

static void on_written(const struct kube_response *response, const struct ipam_error *failure, void *user)
{
    struct kube_lease *lease = user;
    bool changed = response && (response->status == CONFLICT || (response->status == NOT_FOUND && lease->object));
    if (!lease->closing && changed) {
        lease->call = NULL; /* somebody wrote in between: look who */
        object_forget(lease);
        try_after(lease, 0);
        return;
    }
    if (is_over(lease, response, failure))
        return;
    trouble(lease, NULL);
    observe(lease, (json_t *)(uintptr_t)response->body);
    try_after(lease, period_ms(lease));
    hold(lease);
}

static void lease_take(struct kube_lease *lease)
{
    json_t *body = object_with_holder(lease, lease->options.identity);
    bool exists = lease->object != NULL;
    ask(lease, exists ? "PUT" : "POST", exists ? lease->path : lease->collection, body, on_written);
    json_decref(body);
}

static void on_read(const struct kube_response *response, const struct ipam_error *failure, void *user)
{
    struct kube_lease *lease = user;
    if (!lease->closing && response && response->status == NOT_FOUND) {
        lease->call = NULL;
        object_forget(lease);
        lease_take(lease);
        return;
    }
    if (is_over(lease, response, failure))
        return;
    trouble(lease, NULL);
    observe(lease, (json_t *)(uintptr_t)response->body);
    if (is_ours(lease) || !*holder(lease->object) || is_expired(lease)) {
        lease_take(lease);
        return;
    }
    if (lease->held)
        taken_away(lease);
    object_forget(lease);
    try_after(lease, period_ms(lease));
}

/* While it is ours nobody else should write, so it is written at once; a conflict tells. */
static void lease_try(struct kube_lease *lease)
{
    if (lease->held && lease->object)
        lease_take(lease);
    else
        ask(lease, "GET", lease->path, NULL, on_read);
}

struct kube_lease *kube_lease_new(struct kube_client *client, const struct kube_lease_options *options,
                                  const struct kube_lease_callbacks *callbacks, void *user)
{
    struct kube_lease *lease = mem_zalloc(sizeof *lease);
    lease->client = client;
    lease->options = *options;
    lease->options.duration_ms = options->duration_ms ? options->duration_ms : DURATION_MS;
    lease->callbacks = *callbacks;
    lease->user = user;
    lease->collection = kube_path("/apis/coordination.k8s.io/v1/namespaces/%s/leases", options->namespace_);
    lease->path = kube_path("/apis/coordination.k8s.io/v1/namespaces/%s/leases/%s", options->namespace_, options->name);
    uv_timer_init(kube_client_loop(client), &lease->retry);
    uv_timer_init(kube_client_loop(client), &lease->deadline);
    lease->retry.data = lease->deadline.data = lease;
    lease->n_handles = 2;
    uv_timer_start(&lease->retry, on_retry, 0, 0);
    return lease;
}

/* The clock is asked, too: this turn of the loop may have begun before the term was over. */
bool kube_lease_held(const struct kube_lease *lease)
{
    return lease->held && now_ms() < lease->good_until;
}
