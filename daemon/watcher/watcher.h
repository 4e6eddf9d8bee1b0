/* watcher.h: one turn of ipam-watcher: what its parts share.
 *
 * Included by the parts of the program only. watcher.c has the turn and its events, sync.c the order of a sync and what is
 * given back after it, vip.c and pool.c what is done for one object, rpc.c the calls, say.c what people are told.
 */
#ifndef IPAM_WATCHER_WATCHER_H
#define IPAM_WATCHER_WATCHER_H

#include <uv.h>

#include <ipam/subscriber.h>

#include "guard.h"
#include "kept.h"
#include "program.h"
#include "watch.h"

struct watcher_options {
    struct program_options program; /* first */
    uint64_t max_in_flight;
    uint64_t max_release_share, max_release_count;
    uint64_t confirm_delay; /* seconds */
    bool accept_cluster;
};

extern const struct option_table watcher_options_table;

enum watcher_state {
    STATE_LISTING, /* until both collections are known and ipamd answers */
    STATE_READING, /* what ipamd holds */
    STATE_HELD,    /* another cluster: nothing is done */
    STATE_SYNCING, /* phase by phase */
    STATE_RUNNING,
};

/* What outlives a turn: for /metrics. */
struct watcher_counters {
    uint64_t calls[3]; /* to ipamd: succeeded, refused, failed */
    uint64_t held_back, syncs,
        freed;         /* objects held back now; syncs; claims and pools freed as their objects were gone */
    int64_t synced_at; /* seconds since 1970 of the last sync; 0: none */
};

struct watcher {
    struct program *program;
    const struct watcher_options *options;
    uv_loop_t *loop;
    struct watcher_counters *counters;

    struct kube_watch *watches[2]; /* by enum kept_kind */
    unsigned int listings[2];      /* complete lists so far */
    struct kept_tree objects[2];
    size_t n_objects[2]; /* present */
    size_t n_kept;       /* those, and gone ones that still have something */
    struct work work;

    enum watcher_state state;
    enum phase phase;
    bool resync, sweep;          /* wanted */
    unsigned int sweep_after[2]; /* listings that a sweep waits for */
    unsigned int judged[2];      /* listings at the last verdict */
    bool swept;                  /* nothing is left to be confirmed */
    bool anchored;               /* the cluster was found to be the right one in this turn */
    size_t n_freeing;            /* RPCs under way for what no object stands for */
    struct reading *reading;     /* NULL: none */
    uint64_t sync_began;         /* ms */
    struct guard guard;

    bool ipamd_up, heartbeat_under_way;
    int64_t ipamd_started; /* ns; 0: not known yet */
    uint64_t revision;     /* of ipamd, as seen last */
    struct ipam_subscriber *subscriber;

    uv_timer_t pump, heartbeat, sweeper;
    bool woken; /* refused ones are to be asked again with the next pump */
    struct {
        uint64_t since;
        unsigned int lines, dropped;
    } speech;

    TAILQ_HEAD(, rpc) rpcs;
    TAILQ_HEAD(, api_call) api_calls;
    bool stopping;
    unsigned int n_closing;
};

/* watcher.c */
void watcher_pump(struct watcher *w); /* soon, from the loop */
void watcher_enqueue(struct watcher *w, struct kept *kept);
void watcher_closed(void *user); /* one part less */
void watcher_forget(struct watcher *w, struct kept *kept);

/* follow.c: changes of ipamd's, by the subscriber. */
void follow_start(struct watcher *w);

/* rpc.c. The callback comes once unless the turn is being stopped; reply or error as in ipam/client.h. */
typedef void (*rpc_done)(struct watcher *w, struct kept *kept, const ProtobufCMessage *reply,
                         const struct ipam_error *error);
void rpc_call(struct watcher *w, struct kept *kept, const char *path, const ProtobufCMessage *request,
              const ProtobufCMessageDescriptor *reply_type, uint32_t timeout_ms, rpc_done done);
#define RPC(w, kept, method, type, request, done) \
    rpc_call(w, kept, "/ipam.v1.IPAM/" method, &(request)->base, &ipam__v1__##type##_reply__descriptor, 0, done)
/* The same for the API server: response or error as in kube/client.h. */
typedef void (*api_done)(struct watcher *w, struct kept *kept, const struct kube_response *response,
                         const struct ipam_error *error);
void api_request(struct watcher *w, struct kept *kept, const struct kube_request *request, api_done done);
void calls_cancel(struct watcher *w);
bool error_is_transient(const struct ipam_error *error); /* says nothing about the request */

/* vip.c, pool.c: begin with an object that work_take gave; they end by one of job_… */
void vip_begin(struct watcher *w, struct kept *kept);
void pool_begin(struct watcher *w, struct kept *kept);

void job_end(struct watcher *w, struct kept *kept, enum kept_outcome outcome);
void job_later(struct watcher *w, struct kept *kept, enum kept_outcome outcome); /* done so far, looked at again */
void job_gone(struct watcher *w, struct kept *kept); /* nothing is left to do for a gone object */
void job_failed(struct watcher *w, struct kept *kept, const struct ipam_error *error);
void job_refused(struct watcher *w, struct kept *kept, const struct ipam_error *error, const char *but);

/* sync.c */
void sync_begin(struct watcher *w);
void reading_cancel(struct watcher *w);
void sync_step(struct watcher *w); /* the queue is empty: the next phase */
void sweep_request(struct watcher *w, uint64_t delay_ms);
bool sweep_is_due(const struct watcher *w);
void sweep_begin(struct watcher *w);

/* say.c */
void say(struct watcher *w, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* A log line and an Event, once per message. */
void tell(struct watcher *w, struct kept *kept, const char *reason, const char *message);

#endif
