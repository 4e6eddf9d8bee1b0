#include "watcher.h"

#include <stdlib.h>
#include <string.h>

#include "log.h"

#define HEARTBEAT_MS         1000
#define HEARTBEAT_TIMEOUT_MS 3000

/* ---- The pump: what can be done now is ------------------------------------------------------------------------------- */

static void job_begin(struct watcher *w, struct work_item *item)
{
    struct kept *kept = (struct kept *)((char *)item - offsetof(struct kept, work));
    if (kept->missing)
        job_gone(w, kept);
    else if (kept->kind == KEPT_POOL)
        pool_begin(w, kept);
    else
        vip_begin(w, kept);
}

static bool both_listed(const struct watcher *w)
{
    return w->listings[KEPT_POOL] && w->listings[KEPT_VIP];
}

/* Something changed that may let refused ones in. */
static void wake_refused(struct watcher *w)
{
    struct kept *kept;
    w->woken = false;
    RB_FOREACH(kept, kept_tree, &w->objects[KEPT_VIP])
    if (kept->outcome == OUTCOME_REFUSED && kept->work.state == WORK_DELAYED)
        work_add(&w->work, &kept->work);
}

static void begin_work(struct watcher *w)
{
    struct work_item *item;
    if (w->woken && w->state == STATE_RUNNING)
        wake_refused(w);
    if (!ipam_channel_connected(program_channel(w->program)))
        w->ipamd_up = false; /* it may come back as another one: the heartbeat asks first */
    while (w->ipamd_up && (item = work_take(&w->work, uv_now(w->loop))))
        job_begin(w, item);
    if (w->state == STATE_SYNCING && work_is_idle(&w->work))
        sync_step(w);
}

/* Delayed for another reason than that something else must change first. */
static bool any_failed(struct watcher *w)
{
    struct kept *kept;
    for (int kind = KEPT_POOL; kind <= KEPT_VIP; kind++)
        RB_FOREACH(kept, kept_tree, &w->objects[kind])
    if (kept->work.state == WORK_DELAYED && kept->outcome != OUTCOME_REFUSED && kept->outcome != OUTCOME_WAITING &&
        kept->outcome != OUTCOME_DRAINING)
        return true;
    return false;
}

/* --once: nothing is left to do or to be confirmed. */
static void finish_once(struct watcher *w)
{
    struct ipam_error error;
    if (w->state == STATE_HELD) {
        ipam_error_set(&error, IPAM_REASON_OTHER_CLUSTER, "nothing was done, as the log says");
        program_finish(w->program, &error);
    } else if (w->state == STATE_RUNNING && work_is_idle(&w->work) && w->swept && !w->sweep && !w->n_freeing &&
               !any_failed(w)) {
        program_finish(w->program, NULL);
    }
}

static void pump(struct watcher *w)
{
    if (w->reading || !w->ipamd_up || !both_listed(w))
        return;
    if (w->resync && !w->work.n_running && !w->n_freeing)
        sync_begin(w);
    else if (sweep_is_due(w))
        sweep_begin(w);
    else if (!w->resync && (w->state == STATE_SYNCING || w->state == STATE_RUNNING))
        begin_work(w);
    if (w->options->program.once)
        finish_once(w);
}

static void on_pump(uv_timer_t *timer)
{
    struct watcher *w = timer->data;
    uint64_t now = uv_now(w->loop), due;
    pump(w);
    if (!uv_is_active((uv_handle_t *)timer) && work_next_due(&w->work, &due) && w->state == STATE_RUNNING)
        uv_timer_start(timer, on_pump, due > now ? due - now : 1, 0);
}

void watcher_pump(struct watcher *w)
{
    if (!w->stopping)
        uv_timer_start(&w->pump, on_pump, 0, 0);
}

/* In a sync, what belongs to a later phase waits for it. */
void watcher_enqueue(struct watcher *w, struct kept *kept)
{
    if (w->state == STATE_RUNNING || (w->state == STATE_SYNCING && kept_phase(kept) <= w->phase) ||
        kept->work.state == WORK_RUNNING)
        work_add(&w->work, &kept->work);
    watcher_pump(w);
}

/* ---- Objects ----------------------------------------------------------------------------------------------------------- */

void watcher_forget(struct watcher *w, struct kept *kept)
{
    work_remove(&w->work, &kept->work);
    w->n_kept--;
    kept_drop(&w->objects[kept->kind], kept);
}

static void on_object(struct watcher *w, enum kept_kind kind, const json_t *object)
{
    struct object_id id;
    struct ipam_error error;
    char ignored[160];
    if (object_identify(object, &id, &error) < 0) {
        log_error(&error, "%s, ignoring", kind == KEPT_POOL ? "a ProxyIPPool" : "a ProxyVIP");
        return;
    }
    bool known = kept_find(&w->objects[kind], id.name);
    struct kept *kept = kept_get(&w->objects[kind], kind, id.name);
    w->n_kept += !known;
    w->n_objects[kind] += !kept->present;
    if (!kept_update(kept, object, &id, &error, ignored))
        return;
    if (!kept->readable)
        tell(w, kept, "InvalidSpec", error.message);
    else if (*ignored)
        tell(w, kept, "FieldIgnored", ignored);
    else if (kind == KEPT_VIP && !kept->request)
        tell(w, kept, "NothingToAllocate", "neither spec.poolRef nor spec.address is given: write one of them");
    watcher_enqueue(w, kept);
}

/* With `object`, somebody deleted it. Without, it is missing from a list: whether that counts, a sweep finds out. */
static void on_deleted(struct watcher *w, enum kept_kind kind, const char *name, const char *uid, const json_t *object)
{
    struct kept *kept = kept_find(&w->objects[kind], name);
    if (!kept || !kept->present || strcmp(kept->uid, uid) != 0)
        return;
    w->n_objects[kind]--;
    kept->present = false;
    if (object) {
        watcher_enqueue(w, kept);
        return;
    }
    kept->missing = true;
    sweep_request(w, 0);
    if (kept->work.state == WORK_RUNNING)
        work_add(&w->work, &kept->work);
    else
        watcher_forget(w, kept);
}

static void on_listed(struct watcher *w, enum kept_kind kind)
{
    w->listings[kind]++;
    watcher_pump(w);
}

static void on_pool(const json_t *object, void *user)
{
    on_object(user, KEPT_POOL, object);
}

static void on_vip(const json_t *object, void *user)
{
    on_object(user, KEPT_VIP, object);
}

static void on_pool_deleted(const char *name, const char *uid, const json_t *object, void *user)
{
    on_deleted(user, KEPT_POOL, name, uid, object);
}

static void on_vip_deleted(const char *name, const char *uid, const json_t *object, void *user)
{
    on_deleted(user, KEPT_VIP, name, uid, object);
}

static void on_pools_listed(size_t count, void *user)
{
    (void)count;
    on_listed(user, KEPT_POOL);
}

static void on_vips_listed(size_t count, void *user)
{
    (void)count;
    on_listed(user, KEPT_VIP);
}

static void on_pools_trouble(const struct ipam_error *error, void *user)
{
    program_watch_trouble(((struct watcher *)user)->program, "proxyippools", error);
}

static void on_vips_trouble(const struct ipam_error *error, void *user)
{
    program_watch_trouble(((struct watcher *)user)->program, "proxyvips", error);
}

static const struct {
    struct kube_watch_options options;
    struct kube_watch_callbacks callbacks;
} collections[] = {
    [KEPT_POOL] =
        {{.path = "/apis/novaedge.io/v1alpha1/proxyippools", .fields = pool_fields},
         {.object = on_pool, .deleted = on_pool_deleted, .listed = on_pools_listed, .trouble = on_pools_trouble}},
    [KEPT_VIP] = {{.path = "/apis/novaedge.io/v1alpha1/proxyvips", .fields = vip_fields},
                  {.object = on_vip, .deleted = on_vip_deleted, .listed = on_vips_listed, .trouble = on_vips_trouble}},
};

/* ---- Heartbeat: is it there, and is it the one it was? ------------------------------------------------------------------ */

/* That it can't be reached is told by the frame. */
static void status_tell(struct watcher *w, const Ipam__V1__GetStatusReply *status, const struct ipam_error *error)
{
    struct ipam_error trouble;
    bool unavailable = !error && !status->store_available;
    if (unavailable)
        ipam_error_set(&trouble, IPAM_REASON_STORE_UNAVAILABLE, "ipamd takes no changes: %s", status->store_message);
    program_trouble(w->program, "ipamd status",
                    unavailable                           ? &trouble
                    : error && !error_is_transient(error) ? error
                                                          : NULL);
}

static void on_status(struct watcher *w, struct kept *unused, const ProtobufCMessage *reply,
                      const struct ipam_error *error)
{
    const Ipam__V1__GetStatusReply *status = (const Ipam__V1__GetStatusReply *)reply;
    (void)unused;
    w->heartbeat_under_way = false;
    w->ipamd_up = !error && status->store_available;
    status_tell(w, status, error);
    if (error)
        return;
    int64_t started = status->started_at ? status->started_at->seconds * 1000000000 + status->started_at->nanos : 1;
    if (w->ipamd_started && (started != w->ipamd_started || status->revision < w->revision)) {
        log_info("ipamd was started anew: syncing with it");
        w->resync = true;
    }
    w->ipamd_started = started;
    w->revision = status->revision;
}

static void on_heartbeat(uv_timer_t *timer)
{
    struct watcher *w = timer->data;
    Ipam__V1__GetStatusRequest request = IPAM__V1__GET_STATUS_REQUEST__INIT;
    if (w->heartbeat_under_way)
        return;
    w->heartbeat_under_way = true;
    rpc_call(w, NULL, "/ipam.v1.IPAM/GetStatus", &request.base, &ipam__v1__get_status_reply__descriptor,
             HEARTBEAT_TIMEOUT_MS, on_status);
}

/* ---- A turn ------------------------------------------------------------------------------------------------------------- */

static struct watcher *turn; /* the one that acts; NULL: none */
static struct watcher_counters counters;

static void start(struct program *program, void *user)
{
    struct watcher *w = mem_zalloc(sizeof *w);
    uv_timer_t *timers[] = {&w->pump, &w->heartbeat, &w->sweeper};
    (void)user;
    w->program = program;
    w->options = program_options(program);
    w->loop = program_loop(program);
    w->counters = &counters;
    w->resync = true;
    w->swept = true;
    TAILQ_INIT(&w->rpcs);
    TAILQ_INIT(&w->api_calls);
    work_init(&w->work, w->options->max_in_flight);
    for (size_t i = 0; i < sizeof timers / sizeof *timers; i++) {
        uv_timer_init(w->loop, timers[i]);
        timers[i]->data = w;
    }
    for (int kind = KEPT_POOL; kind <= KEPT_VIP; kind++) {
        RB_INIT(&w->objects[kind]);
        w->watches[kind] =
            kube_watch_new(program_client(program), &collections[kind].options, &collections[kind].callbacks, w);
    }
    uv_timer_start(&w->heartbeat, on_heartbeat, 0, HEARTBEAT_MS);
    turn = w;
    follow_start(w);
}

static void free_turn(struct watcher *w)
{
    struct program *program = w->program;
    struct kept *kept, *next;
    for (int kind = KEPT_POOL; kind <= KEPT_VIP; kind++)
        RB_FOREACH_SAFE(kept, kept_tree, &w->objects[kind], next)
    kept_drop(&w->objects[kind], kept);
    guard_done(&w->guard);
    free(w);
    program_stopped(program);
}

void watcher_closed(void *user)
{
    struct watcher *w = user;
    if (--w->n_closing == 0 && w->stopping)
        free_turn(w);
}

static void on_timer_closed(uv_handle_t *handle)
{
    watcher_closed(handle->data);
}

static void stop(struct program *program, void *user)
{
    struct watcher *w = turn;
    uv_timer_t *timers[] = {&w->pump, &w->heartbeat, &w->sweeper};
    (void)program, (void)user;
    turn = NULL;
    w->stopping = true;
    reading_cancel(w);
    calls_cancel(w);
    for (size_t i = 0; i < sizeof timers / sizeof *timers; i++) {
        w->n_closing++;
        uv_close((uv_handle_t *)timers[i], on_timer_closed);
    }
    for (int kind = KEPT_POOL; kind <= KEPT_VIP; kind++) {
        w->n_closing++;
        kube_watch_close(w->watches[kind], watcher_closed, w);
    }
    if (w->subscriber) {
        w->n_closing++;
        ipam_subscriber_close(w->subscriber, watcher_closed, w);
    }
}

/* ---- What others see ------------------------------------------------------------------------------------------------- */

static const char *ready(void *user)
{
    static const char *const reasons[STATE_RUNNING + 1] = {
        [STATE_LISTING] = "not synced yet: pools and VIPs are being listed, or ipamd does not answer",
        [STATE_READING] = "not synced yet: reading what ipamd holds",
        [STATE_HELD] = "held back: ipamd's records are of another cluster",
        [STATE_SYNCING] = "not synced yet: asking ipamd for each object",
    };
    (void)user;
    if (!turn || reasons[turn->state])
        return turn ? reasons[turn->state] : NULL;
    return !kube_watch_synced(turn->watches[KEPT_POOL])  ? "not in step with the proxyippools of the API server"
           : !kube_watch_synced(turn->watches[KEPT_VIP]) ? "not in step with the proxyvips of the API server"
                                                         : NULL;
}

static void count_objects(size_t ret[2][OUTCOME_DRAINING + 1])
{
    struct kept *kept;
    for (int kind = KEPT_POOL; kind <= KEPT_VIP; kind++)
        RB_FOREACH(kept, kept_tree, &turn->objects[kind])
    ret[kind][kept->outcome] += kept->present;
}

static void metrics(FILE *out, void *user)
{
    static const char *const kinds[] = {"ProxyIPPool", "ProxyVIP"}, *const results[] = {"ok", "refused", "failed"};
    static const char *const outcomes[] = {"none", "bound", "waiting", "refused", "applied", "draining"};
    size_t objects[2][OUTCOME_DRAINING + 1] = {0};
    (void)user;
    if (turn)
        count_objects(objects);
    fputs("# HELP ipam_watcher_objects Objects by kind and by what ipamd made of them.\n"
          "# TYPE ipam_watcher_objects gauge\n",
          out);
    for (int kind = KEPT_POOL; kind <= KEPT_VIP; kind++)
        for (int i = 0; i <= OUTCOME_DRAINING; i++)
            fprintf(out, "ipam_watcher_objects{kind=\"%s\",outcome=\"%s\"} %zu\n", kinds[kind], outcomes[i],
                    objects[kind][i]);
    fputs("# HELP ipam_kube_unreadable_objects Objects with a field that can't be read.\n"
          "# TYPE ipam_kube_unreadable_objects gauge\n",
          out);
    for (int kind = KEPT_POOL; kind <= KEPT_VIP; kind++)
        fprintf(out, "ipam_kube_unreadable_objects{kind=\"%s\"} %zu\n", kinds[kind],
                turn ? kube_watch_problems(turn->watches[kind]) : 0);
    fprintf(out,
            "# HELP ipam_watcher_queue Objects that are to be dealt with, by state.\n"
            "# TYPE ipam_watcher_queue gauge\n"
            "ipam_watcher_queue{state=\"ready\"} %zu\nipam_watcher_queue{state=\"running\"} %zu\n"
            "ipam_watcher_queue{state=\"delayed\"} %zu\n",
            turn ? turn->work.n_ready : 0, turn ? turn->work.n_running : 0, turn ? turn->work.n_delayed : 0);
    fputs("# HELP ipam_watcher_rpcs_total Calls to ipamd by result.\n# TYPE ipam_watcher_rpcs_total counter\n", out);
    for (int i = 0; i < 3; i++)
        fprintf(out, "ipam_watcher_rpcs_total{result=\"%s\"} %llu\n", results[i],
                (unsigned long long)counters.calls[i]);
    fprintf(out,
            "# HELP ipam_watcher_syncs_total Syncs of all objects.\n# TYPE ipam_watcher_syncs_total counter\n"
            "ipam_watcher_syncs_total %llu\n"
            "# HELP ipam_watcher_synced_timestamp_seconds When the last sync was complete; 0: never.\n"
            "# TYPE ipam_watcher_synced_timestamp_seconds gauge\nipam_watcher_synced_timestamp_seconds %lld\n"
            "# HELP ipam_watcher_released_absent_total Pools and claims released as their objects were gone.\n"
            "# TYPE ipam_watcher_released_absent_total counter\nipam_watcher_released_absent_total %llu\n"
            "# HELP ipam_watcher_held_back Pools and claims without an object that are not released.\n"
            "# TYPE ipam_watcher_held_back gauge\nipam_watcher_held_back %llu\n",
            (unsigned long long)counters.syncs, (long long)counters.synced_at, (unsigned long long)counters.freed,
            (unsigned long long)counters.held_back);
}

int main(int argc, char *argv[])
{
    static const struct program_role role = {
        .options = &watcher_options_table, .start = start, .stop = stop, .ready = ready, .metrics = metrics};
    return program_main(&role, argc, argv, NULL);
}
