#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "log.h"
#include "watcher.h"

#define PAGE_SIZE       1000
#define HELD_RECHECK_MS 30000

/* ---- What ipamd holds ------------------------------------------------------------------------------------------------ */

/* A reading of ipamd: all pools, then all claims of VIPs. One at a time; `sync`: a sync follows, else a sweep. */
struct reading {
    bool sync;
    struct arena arena;
    struct guard_record *records;
    size_t n_records, capacity;
};

static struct reading *reading_free(struct reading *reading)
{
    arena_done(&reading->arena);
    free(reading->records);
    free(reading);
    return NULL;
}

static void reading_add(struct reading *reading, enum guard_kind kind, const char *name, const char *uid,
                        const struct kept *kept)
{
    if (!*uid || strlen(uid) > UID_MAX_BYTES || strlen(name) > NAME_MAX_BYTES)
        return; /* not made by a watcher */
    if (reading->n_records == reading->capacity) {
        reading->capacity = reading->capacity ? 2 * reading->capacity : 256;
        reading->records = mem_realloc(reading->records, reading->capacity * sizeof *reading->records);
    }
    bool listed = kept && kept->present;
    reading->records[reading->n_records++] = (struct guard_record){
        .kind = kind,
        .name = arena_strdup(&reading->arena, name),
        .uid = arena_strdup(&reading->arena, uid),
        .listed = kept, /* of one that was deleted, the release is under way */
        .same_uid = listed && strcmp(kept->uid, uid) == 0,
    };
}

static void on_failed(struct watcher *w)
{
    if (w->reading->sync)
        w->resync = true;
    else
        w->sweep = true;
    w->reading = reading_free(w->reading);
    w->state = w->state == STATE_READING ? STATE_LISTING : w->state;
    w->ipamd_up = false; /* until it answers again */
}

static void claims_page(struct watcher *w, const char *token);
static void pools_page(struct watcher *w, const char *token);
static void judge(struct watcher *w);

static void note_pool(struct watcher *w, const Ipam__V1__Pool *pool)
{
    struct kept *kept = kept_find(&w->objects[KEPT_POOL], pool->spec->name);
    if (kept && w->reading->sync)
        kept->paused = pool->spec->paused; /* maybe by a sync that did not come to its end */
    reading_add(w->reading, GUARD_POOL, pool->spec->name, pool->spec->uid, kept);
}

static void on_pools(struct watcher *w, struct kept *unused, const ProtobufCMessage *reply,
                     const struct ipam_error *error)
{
    const Ipam__V1__ListPoolsReply *pools = (const Ipam__V1__ListPoolsReply *)reply;
    (void)unused;
    if (error) {
        on_failed(w);
        return;
    }
    for (size_t i = 0; i < pools->n_pools; i++)
        if (pools->pools[i]->spec)
            note_pool(w, pools->pools[i]);
    if (*pools->next_page_token)
        pools_page(w, pools->next_page_token);
    else
        claims_page(w, "");
}

static void pools_page(struct watcher *w, const char *token)
{
    Ipam__V1__ListPoolsRequest request = IPAM__V1__LIST_POOLS_REQUEST__INIT;
    request.page_size = PAGE_SIZE;
    request.page_token = (char *)(uintptr_t)token;
    RPC(w, NULL, "ListPools", list_pools, &request, on_pools);
}

static void note_claim(struct watcher *w, const Ipam__V1__Claim *claim)
{
    struct kept *kept = kept_find(&w->objects[KEPT_VIP], claim->owner->name);
    if (kept && claim->state == IPAM__V1__CLAIM_STATE__BOUND)
        kept->held |= (uint8_t)claim->family;
    reading_add(w->reading, GUARD_CLAIM, claim->owner->name, claim->owner->uid, kept);
}

static void on_claims(struct watcher *w, struct kept *unused, const ProtobufCMessage *reply,
                      const struct ipam_error *error)
{
    const Ipam__V1__ListClaimsReply *claims = (const Ipam__V1__ListClaimsReply *)reply;
    (void)unused;
    if (error) {
        on_failed(w);
        return;
    }
    for (size_t i = 0; i < claims->n_claims; i++)
        if (claims->claims[i]->owner)
            note_claim(w, claims->claims[i]);
    if (*claims->next_page_token)
        claims_page(w, claims->next_page_token);
    else
        judge(w);
}

static void claims_page(struct watcher *w, const char *token)
{
    Ipam__V1__ListClaimsRequest request = IPAM__V1__LIST_CLAIMS_REQUEST__INIT;
    request.kind = (char *)(uintptr_t)OWNER_KIND;
    request.page_size = PAGE_SIZE;
    request.page_token = (char *)(uintptr_t)token;
    RPC(w, NULL, "ListClaims", list_claims, &request, on_claims);
}

static void read_ipamd(struct watcher *w, bool sync)
{
    struct kept *kept;
    w->reading = mem_zalloc(sizeof *w->reading);
    w->reading->sync = sync;
    arena_init(&w->reading->arena);
    if (sync) {
        RB_FOREACH(kept, kept_tree, &w->objects[KEPT_POOL])
        kept->paused = true; /* unless ipamd knows it, and not as paused */
    }
    RB_FOREACH(kept, kept_tree, &w->objects[KEPT_VIP])
    kept->held = 0;
    pools_page(w, "");
}

void sync_begin(struct watcher *w)
{
    w->state = STATE_READING;
    w->resync = false;
    w->sync_began = uv_now(w->loop);
    read_ipamd(w, true);
}

void reading_cancel(struct watcher *w)
{
    if (w->reading)
        w->reading = reading_free(w->reading);
}

/* ---- What no object stands for any more ------------------------------------------------------------------------------- */

static void on_freed(struct watcher *w, struct kept *unused, const ProtobufCMessage *reply,
                     const struct ipam_error *error)
{
    (void)unused, (void)reply;
    w->n_freeing--;
    if (error && error->reason != IPAM_REASON_POOL_NOT_FOUND)
        say(w, "something without an object could not be released: %s; it is tried again", error->message);
    else
        w->counters->freed++;
    if (!w->n_freeing)
        sweep_request(w, w->options->confirm_delay * 1000); /* it says whether all of it is gone */
}

static void free_claim(struct watcher *w, const struct guard_record *record)
{
    Ipam__V1__Owner owner = IPAM__V1__OWNER__INIT;
    Ipam__V1__ReleaseRequest request = IPAM__V1__RELEASE_REQUEST__INIT;
    owner.kind = (char *)(uintptr_t)OWNER_KIND;
    owner.name = (char *)(uintptr_t)record->name;
    request.owner = &owner;
    request.uid = (char *)(uintptr_t)record->uid;
    say(w, "vip %s is gone from two complete lists: what it had is given back", record->name);
    RPC(w, NULL, "Release", release, &request, on_freed);
}

static void free_pool(struct watcher *w, const struct guard_record *record)
{
    Ipam__V1__DeletePoolRequest request = IPAM__V1__DELETE_POOL_REQUEST__INIT;
    request.name = (char *)(uintptr_t)record->name;
    request.uid = (char *)(uintptr_t)record->uid;
    say(w, "pool %s is gone from two complete lists: it is deleted", record->name);
    RPC(w, NULL, "DeletePool", delete_pool, &request, on_freed);
}

static void free_absent(struct watcher *w, const struct reading *reading)
{
    for (size_t i = 0; i < reading->n_records; i++) {
        const struct guard_record *record = &reading->records[i];
        if (!record->free)
            continue;
        w->n_freeing++;
        if (record->kind == GUARD_CLAIM)
            free_claim(w, record);
        else
            free_pool(w, record);
    }
}

static void tell_held(struct watcher *w, const struct guard_verdict *verdict, const struct guard_limits *limits)
{
    struct ipam_error error;
    bool held = guard_explain(verdict, limits, w->n_objects[0] + w->n_objects[1], &error);
    w->counters->held_back = !held                    ? 0
                             : verdict->other_cluster ? verdict->records[0] + verdict->records[1]
                                                      : (verdict->held[0] ? verdict->absent[0] : 0) +
                                                            (verdict->held[1] ? verdict->absent[1] : 0);
    program_trouble(w->program, "releases", held ? &error : NULL);
}

/* ---- The verdict ------------------------------------------------------------------------------------------------------ */

/* ipamd knows the pool, but not an address that a VIP's status has: its state is older than the status. Nobody takes that
 * address before its VIP has it again. */
static void pause_for_lost_addresses(struct watcher *w)
{
    struct kept *kept, *pool;
    RB_FOREACH(kept, kept_tree, &w->objects[KEPT_VIP])
    {
        unsigned int recorded = (kept->recorded[0].family ? 1u : 0) | (kept->recorded[1].family ? 2u : 0);
        if (!kept->present || !kept->request || !(recorded & kept->wanted & ~(unsigned int)kept->held))
            continue;
        Ipam__V1__AllocateRequest *request =
            ipam__v1__allocate_request__unpack(NULL, kept->request_size, kept->request);
        pool = request ? kept_find(&w->objects[KEPT_POOL], request->pool) : NULL;
        if (pool)
            pool->paused = true;
        ipam__v1__allocate_request__free_unpacked(request, NULL);
    }
}

static void begin_phase(struct watcher *w, enum phase phase);

static void go_on(struct watcher *w, bool sync)
{
    if (!sync)
        return;
    struct kept *kept;
    for (int kind = KEPT_POOL; kind <= KEPT_VIP; kind++)
        RB_FOREACH(kept, kept_tree, &w->objects[kind])
    work_remove(&w->work, &kept->work);
    pause_for_lost_addresses(w);
    w->state = STATE_SYNCING;
    begin_phase(w, PHASE_POOLS);
}

/* Absent from the same lists again is no second sighting. */
static void forget_unless_listed_anew(struct watcher *w)
{
    bool anew = w->listings[0] > w->judged[0] && w->listings[1] > w->judged[1];
    if (!anew)
        guard_done(&w->guard);
    memcpy(w->judged, w->listings, sizeof w->judged);
}

static void judge(struct watcher *w)
{
    struct reading *reading = w->reading;
    struct guard_verdict verdict;
    struct guard_limits limits = {.share = w->options->max_release_share,
                                  .count = w->options->max_release_count,
                                  .accept_cluster = w->options->accept_cluster || w->anchored};
    forget_unless_listed_anew(w);
    guard_judge(&w->guard, &limits, reading->records, reading->n_records, &verdict);
    tell_held(w, &verdict, &limits);
    w->reading = NULL;
    bool unsure = verdict.unsure[GUARD_POOL] || verdict.unsure[GUARD_CLAIM];
    bool held = verdict.other_cluster || verdict.held[GUARD_POOL] || verdict.held[GUARD_CLAIM];
    w->swept = !unsure;
    if (verdict.other_cluster) {
        w->state = STATE_HELD;
        sweep_request(w, HELD_RECHECK_MS);
    } else {
        w->anchored = true;
        free_absent(w, reading);
        go_on(w, reading->sync || w->state == STATE_HELD);
    }
    if (!verdict.other_cluster && (unsure || held))
        sweep_request(w, unsure ? w->options->confirm_delay * 1000 : HELD_RECHECK_MS);
    reading_free(reading);
}

/* ---- Sweeps: two complete lists from now on, and ipamd beside them ----------------------------------------------------- */

static void on_sweeper(uv_timer_t *timer)
{
    struct watcher *w = timer->data;
    w->sweep = true;
    for (int kind = KEPT_POOL; kind <= KEPT_VIP; kind++) {
        w->sweep_after[kind] = w->listings[kind];
        kube_watch_relist(w->watches[kind]);
    }
}

void sweep_request(struct watcher *w, uint64_t delay_ms)
{
    w->swept = false;
    uv_timer_start(&w->sweeper, on_sweeper, delay_ms, 0);
}

bool sweep_is_due(const struct watcher *w)
{
    return w->sweep && !w->reading && !w->n_freeing && (w->state == STATE_RUNNING || w->state == STATE_HELD) &&
           w->listings[0] > w->sweep_after[0] && w->listings[1] > w->sweep_after[1];
}

void sweep_begin(struct watcher *w)
{
    w->sweep = false;
    read_ipamd(w, w->state == STATE_HELD);
}

/* ---- Phases ------------------------------------------------------------------------------------------------------------ */

/* First come, first served, as far as the API server knows. */
static int compare_age(const void *a, const void *b)
{
    const struct kept *const *left = a, *const *right = b;
    int order = strcmp((*left)->created, (*right)->created);
    return order ? order : strcmp((*left)->name, (*right)->name);
}

static void begin_phase(struct watcher *w, enum phase phase)
{
    struct kept *kept, **chosen;
    size_t count = 0, room = w->n_kept + 1;
    chosen = mem_alloc(room * sizeof(struct kept *));
    w->phase = phase;
    for (int kind = KEPT_POOL; kind <= KEPT_VIP; kind++)
        RB_FOREACH(kept, kept_tree, &w->objects[kind])
        {
            bool resumes = phase == PHASE_RESUME && kept->paused;
            if (resumes)
                kept->paused = false;
            if (resumes || kept_phase(kept) == phase)
                chosen[count++] = kept;
        }
    qsort(chosen, count, sizeof(struct kept *), compare_age);
    for (size_t i = 0; i < count; i++)
        work_add(&w->work, &chosen[i]->work);
    free(chosen);
    watcher_pump(w);
}

static void finish(struct watcher *w)
{
    w->state = STATE_RUNNING;
    w->counters->syncs++;
    w->counters->synced_at = time(NULL);
    log_info("synced with ipamd in %" PRIu64 " ms: %zu pools, %zu VIPs", uv_now(w->loop) - w->sync_began,
             w->n_objects[KEPT_POOL], w->n_objects[KEPT_VIP]);
    watcher_pump(w);
}

void sync_step(struct watcher *w)
{
    if (w->phase == PHASE_RESUME)
        finish(w);
    else
        begin_phase(w, w->phase + 1);
}
