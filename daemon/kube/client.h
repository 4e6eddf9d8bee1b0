/* client.h: requests to the API server on the loop.
 *
 * Used by the watcher and the status-writer, and by watch.h, lease.h and event.h, which stand on it. It knows HTTP (libcurl)
 * and JSON (jansson), paths as they are given, and must not know what an object means. Requests are not retried here: who
 * asks decides (kube_backoff).
 */
#ifndef IPAM_KUBE_CLIENT_H
#define IPAM_KUBE_CLIENT_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>
#include <uv.h>

#include "config.h"
#include "filter.h"

struct kube_client;
struct kube_call; /* a request under way */

struct kube_client_options {
    const char *user_agent;   /* "ipam-watcher/0.1.0" */
    uint32_t timeout_ms;      /* of a request that says nothing else; 0: 15 s */
    uint64_t max_response;    /* bytes of one response body, or of one event; 0: 64 MiB */
    uint32_t max_connections; /* requests to the server at once; 0: 8 */
    /* Whether what changes something may still be sent; asked before any byte goes out, and once it says no all such calls
     * under way are cancelled. For a lease whose end was slept through. NULL: always. */
    bool (*may_write)(void *user);
    /* The kubeconfig has changed: it counts from now on (NULL), or it can't be used, and the one before goes on. May be
     * NULL. */
    void (*config_changed)(const struct ipam_error *error, void *user);
    void *user; /* of both */
};

/* `config` is borrowed for the client's life, and refreshed by it; several clients may share one. -1: INVALID_CONFIG (a credential file can't be read), INTERNAL. */
int kube_client_new(uv_loop_t *loop, struct kube_config *config, const struct kube_client_options *options,
                    struct kube_client **ret, struct ipam_error *reterr);
/* Cancels what is under way (its callbacks come with CANCELLED), then closed(user) from the loop. No call may follow. */
void kube_client_close(struct kube_client *client, void (*closed)(void *user), void *user);

#define KUBE_JSON        "application/json"
#define KUBE_MERGE_PATCH "application/merge-patch+json"
#define KUBE_JSON_PATCH  "application/json-patch+json"

/* What a response carries; of a stream it is KUBE_EVENTS, whatever the request says. */
enum kube_shape { KUBE_ONE, KUBE_PAGE, KUBE_EVENTS };

struct kube_request {
    const char *method; /* "GET", "POST", "PUT", "PATCH", "DELETE" */
    const char *path;   /* "/apis/novaedge.io/v1alpha1/proxyvips/web-vip/status?fieldManager=…": names in it escaped
                                 with kube_path */
    const char *content_type; /* of body, static; NULL: KUBE_JSON */
    const json_t *body;       /* NULL: none; not needed after the call */
    const struct kube_field
        *fields;           /* of the API objects in the response, static: nothing else of them is kept, and what
                                        anybody wrote into other fields can't spoil it. NULL: everything is kept */
    enum kube_shape shape; /* with `fields` */
    uint32_t timeout_ms;   /* from when it is sent; 0: the client's */
    bool background;       /* nobody waits for it: it goes when no other does, a few at once */
};

struct kube_response {
    int status;              /* 200, 404, …: every one that came whole is a response, not an error */
    const json_t *body;      /* NULL: none; or of a status from 300 on, not JSON */
    uint32_t retry_after_ms; /* of the header Retry-After; 0: none */
};

/* One of the two is NULL. The response is borrowed for the callback. Errors: API_UNREACHABLE (could not connect, TLS, broken
 * off, too large, not JSON), DEADLINE_EXCEEDED, CANCELLED. Comes once, from the loop, never from within kube_call. */
typedef void (*kube_response_cb)(const struct kube_response *response, const struct ipam_error *error, void *user);

/* Calls beyond max_connections wait their turn, first come, first served, those in the background behind all others. */
struct kube_call *kube_call(struct kube_client *client, const struct kube_request *request, kube_response_cb callback,
                            void *user);
void kube_call_cancel(struct kube_call *call); /* only before its callback; it comes with CANCELLED */

/* A response that carries newline-separated JSON for as long as the server likes: a watch. `end` comes once: with the response
 * when the server ended it (status 200, no body) or refused it, or with the error. The request's timeout_ms is how long nothing
 * may come (DEADLINE_EXCEEDED; 0: 150 s, as bookmarks come about once a minute). Streams don't count as connections of
 * max_connections. */
struct kube_stream_callbacks {
    void (*opened)(void *user);                     /* the server has begun its answer, with status 200 */
    void (*line)(const json_t *object, void *user); /* each object, borrowed */
    kube_response_cb end;
};

struct kube_call *kube_stream(struct kube_client *client, const struct kube_request *request,
                              const struct kube_stream_callbacks *callbacks, void *user);

/* Of a response that is no success: API_REFUSED with the server's own message and reason, e.g.
 * "PATCH /apis/…/proxyvips/web-vip/status: 403 Forbidden: proxyvips \"web-vip\" is forbidden: User …". */
void kube_response_error(const struct kube_request *request, const struct kube_response *response,
                         struct ipam_error *ret);

/* Of an error of a response: it was larger than the client takes; the HTTP status of a refusal, else 0. */
bool kube_error_is_too_large(const struct ipam_error *error);
int kube_error_status(const struct ipam_error *error);

/* printf for paths: every %s is percent-escaped as one path segment or query value; %u stands for a number; nothing else is
 * known. The caller frees. Aborts when memory runs out. */
char *kube_path(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* Time to wait before attempt n (from 1): doubles from 250 ms to 30 s, with jitter, at least retry_after_ms. */
uint32_t kube_backoff(unsigned int attempt, uint32_t retry_after_ms);

/* Requests by verb and outcome, for /metrics: counts since start. */
struct kube_client_counters {
    uint64_t requests, failures /* no response */, throttled /* 429 */, server_errors /* 5xx */, conflicts /* 409 */;
};
uv_loop_t *kube_client_loop(const struct kube_client *client);
const struct kube_client_counters *kube_client_counters(const struct kube_client *client);

#endif
