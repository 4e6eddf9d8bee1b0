#include "writer.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "arena.h"
#include "follow.h"
#include "objects.h"
#include "options.h"
#include "turn.h"
#include "watch.h"

#define ECHO_MS       10000 /* a watch may bring what was before our own write for as long */
#define APART_MS      20    /* changes are known a moment after ipamd has made them */
#define PASSING_MS    100   /* a sync of thousands of VIPs takes a few times as long */
#define BLOCKED_MS    1000  /* looked at again, if nothing says earlier that the way is free */
#define FORGIVEN_MS   60000 /* one who undid us longer ago than that starts anew */
#define DOUBLINGS_MAX 6     /* of a pause that only keeps us from asking too often: up to 8 s */
#define CONFLICTS     3     /* conflicts in a row that are answered at once */
#define REFUSED_WAIT  5     /* doublings more after an answer that will hardly be another one soon */
#define POOL_TURNS    4     /* at once: beside the VIPs, so that pools wait behind none of them */
#define SPARE         2     /* requests at once, for Events */

struct watched {
    struct writer *writer;
    enum object_kind kind;
    struct kube_watch *watch;
    char *path;
    bool listed;
};

struct writer {
    struct program *program;  /* NULL: does not act */
    struct program *stopping; /* while what was under way is being closed */
    bool finished;            /* --once: said so */
    const struct writer_options *options;
    uv_loop_t *loop;
    struct objects *objects;
    struct follow *follow;
    struct watched watched[OBJECT_KINDS];
    struct turn_context turns;
    uv_timer_t pump;
    size_t n_turns[OBJECT_KINDS];
    bool synced;
    uint64_t gate_until; /* no write before: the API server was out of reach or had too much to do */
    unsigned int failures;
    unsigned int open; /* what is to be closed yet */
    char why[96];      /* not ready */

    uint64_t outcomes[OBJECT_KINDS][TURN_OUTCOMES]; /* since the process began */
};

struct writer *writer_new(void)
{
    return mem_zalloc(sizeof(struct writer));
}

struct writer *writer_free(struct writer *writer)
{
    free(writer);
    return NULL;
}

/* ---- Whose turn it is ---------------------------------------------------------------------------------------------- */

static void pump(struct writer *writer);

static void on_pump(uv_timer_t *timer)
{
    pump(timer->data);
}

static uint64_t later(uint64_t a, uint64_t b)
{
    return a > b ? a : b;
}

static size_t turns_max(const struct writer *writer, enum object_kind kind)
{
    if (writer->failures)
        return 1; /* it tries whether the server is well again */
    return kind == OBJECT_POOL ? POOL_TURNS : writer->options->max_writes;
}

/* The next one of a kind, when it may have its turn as far as others are concerned; *ret_due: from when on. */
static struct object *turn_next(const struct writer *writer, enum object_kind kind, uint64_t *ret_due)
{
    struct object *next = objects_due(writer->objects, kind);
    if (!writer->program || !next || writer->n_turns[kind] >= turns_max(writer, kind) || !follow_claims(writer->follow))
        return NULL;
    *ret_due = later(next->due, writer->gate_until);
    return next;
}

static void arm(struct writer *writer)
{
    uint64_t now = uv_now(writer->loop), first = UINT64_MAX, due;
    for (int kind = 0; kind < OBJECT_KINDS; kind++)
        if (turn_next(writer, kind, &due) && due < first)
            first = due;
    if (first < UINT64_MAX)
        uv_timer_start(&writer->pump, on_pump, first > now ? first - now : 0, 0);
}

static size_t turns_under_way(const struct writer *writer)
{
    return writer->n_turns[OBJECT_VIP] + writer->n_turns[OBJECT_POOL];
}

static bool is_idle(const struct writer *writer)
{
    return turns_under_way(writer) == 0 && !objects_due(writer->objects, OBJECT_VIP) &&
           !objects_due(writer->objects, OBJECT_POOL);
}

static void finish(struct writer *writer, const struct ipam_error *error)
{
    if (!writer->finished)
        program_finish(writer->program, error);
    writer->finished = true;
}

static void check_once(struct writer *writer)
{
    bool listed = writer->watched[OBJECT_VIP].listed && writer->watched[OBJECT_POOL].listed;
    if (writer->program && writer->options->shared.once && listed && writer->synced && follow_claims(writer->follow) &&
        is_idle(writer))
        finish(writer, NULL);
}

static void pump(struct writer *writer)
{
    uint64_t now = uv_now(writer->loop), due;
    struct object *object;
    for (int kind = 0; kind < OBJECT_KINDS; kind++)
        while ((object = turn_next(writer, kind, &due)) && due <= now) {
            writer->n_turns[kind]++;
            turn_start(&writer->turns, object);
        }
    arm(writer);
    check_once(writer);
}

/* `news`: ipamd's state of it changed; else something about the object did. */
static void mark(struct writer *writer, struct object *object, bool news)
{
    object->changed = object->changed || news;
    if (object->in_flight) {
        object->again = true;
        return;
    }
    uint64_t due = later(uv_now(writer->loop), object->rest_until);
    objects_queue(writer->objects, object, object->changed ? due : later(due, object->calm_until));
    arm(writer);
}

static void mark_all(struct writer *writer, enum object_kind kind)
{
    struct object *object = NULL;
    while ((object = objects_next(writer->objects, kind, object)))
        mark(writer, object, true);
}

/* ---- News of ipamd ------------------------------------------------------------------------------------------------- */

static void on_pool(const char *name, void *user)
{
    struct writer *writer = user;
    struct object *object = objects_get(writer->objects, OBJECT_POOL, name);
    if (object)
        mark(writer, object, true);
}

/* The pools in whose range the address lies, whatever pool the claim was made through. */
static void mark_pools(struct writer *writer, const struct claim *claim)
{
    struct object *pool = NULL;
    while ((pool = objects_next(writer->objects, OBJECT_POOL, pool)))
        if (strcmp(pool->name, claim->pool) == 0 ||
            (claim->address.family != IPAM_FAMILY_NONE && ranges_contain(&pool->ranges, &claim->address)))
            mark(writer, pool, true);
}

static void mark_holder(struct writer *writer, const struct claim *claim, bool news)
{
    struct object *object = strcmp(claim->kind, object_kinds[OBJECT_VIP].kind) == 0
                                ? objects_get(writer->objects, OBJECT_VIP, claim->name)
                                : NULL;
    if (object)
        mark(writer, object, news);
}

static void on_claim(const struct claim *claim, void *user)
{
    struct writer *writer = user;
    mark_holder(writer, claim, true);
    mark_pools(writer, claim);
    struct object *other =
        claim->address.family == IPAM_FAMILY_NONE ? NULL : objects_showing(writer->objects, &claim->address, NULL);
    if (other)
        mark(writer, other, true);
}

static void on_fresh(void *user)
{
    struct writer *writer = user;
    mark_all(writer, OBJECT_VIP);
    mark_all(writer, OBJECT_POOL);
}

static void on_synced(void *user)
{
    struct writer *writer = user;
    writer->synced = true;
    pump(writer);
}

static void on_follow_trouble(const struct ipam_error *error, void *user)
{
    struct writer *writer = user;
    program_trouble(writer->program, "ipamd", error);
}

/* ---- Objects ------------------------------------------------------------------------------------------------------- */

/* An address that a status shows no more may come into that of its holder. */
static void free_way(struct writer *writer, const struct ipam_addr was[2])
{
    const struct claims *claims = follow_claims(writer->follow);
    for (int i = 0; i < 2; i++) {
        const struct claim *holder =
            claims && was[i].family != IPAM_FAMILY_NONE && !objects_showing(writer->objects, &was[i], NULL)
                ? claims_holder(claims, &was[i])
                : NULL;
        if (holder)
            mark_holder(writer, holder, false);
    }
}

static void shown_by(struct writer *writer, enum object_kind kind, const char *name, struct ipam_addr ret[2])
{
    const struct object *object = objects_get(writer->objects, kind, name);
    for (int i = 0; i < 2; i++)
        ret[i] = object ? object->shown[i].address : (struct ipam_addr){.family = IPAM_FAMILY_NONE};
}

static void forget(struct writer *writer, struct object *object);

/* What can't be read whole is not written: what is missing in it may be there. */
static void pass_over(struct writer *writer, enum object_kind kind, const char *name)
{
    struct object *object = objects_get(writer->objects, kind, name);
    if (object && object->in_flight)
        object->gone = true;
    else if (object)
        forget(writer, object);
}

static void take(struct writer *writer, enum object_kind kind, const json_t *json, bool no_older, bool news)
{
    struct ipam_addr was[2];
    const char *name = status_text(json, "metadata", "name");
    if (kube_object_problem(json)) {
        pass_over(writer, kind, name);
        return;
    }
    shown_by(writer, kind, name, was);
    struct object *object = objects_take(writer->objects, kind, json, no_older);
    if (!object)
        return;
    if (news)
        mark(writer, object, false);
    free_way(writer, was);
}

/* The watch may have been faster with what somebody wrote after us. */
static void on_answer(enum object_kind kind, const json_t *json, void *user)
{
    take(user, kind, json, true, false);
}

static void on_object(const json_t *json, void *user)
{
    struct watched *watched = user;
    struct writer *writer = watched->writer;
    const struct object *object = objects_get(writer->objects, watched->kind, status_text(json, "metadata", "name"));
    bool echo = object && object->last_write && uv_now(writer->loop) - object->last_write < ECHO_MS;
    take(writer, watched->kind, json, echo, true);
}

/* Tells a trouble of one object, or its end. */
static void trouble_about(struct writer *writer, struct object *object, const struct ipam_error *error)
{
    char what[320];
    if (!error && !object->troubled)
        return;
    snprintf(what, sizeof(what), "%s/%s", object_kinds[object->kind].plural, object->name);
    program_trouble(writer->program, what, error);
    object->troubled = error != NULL;
}

static void forget(struct writer *writer, struct object *object)
{
    struct ipam_addr was[2];
    shown_by(writer, object->kind, object->name, was);
    trouble_about(writer, object, NULL);
    objects_remove(writer->objects, object);
    free_way(writer, was);
}

static void on_deleted(const char *name, const char *uid, const json_t *json, void *user)
{
    (void)json;
    struct watched *watched = user;
    struct object *object = objects_get(watched->writer->objects, watched->kind, name);
    if (!object || (*uid && strcmp(object->uid, uid) != 0))
        return;
    if (object->in_flight)
        object->gone = true;
    else
        forget(watched->writer, object);
    pump(watched->writer);
}

static void on_listed(size_t count, void *user)
{
    (void)count;
    struct watched *watched = user;
    watched->listed = true;
    pump(watched->writer);
}

static void on_watch_trouble(const struct ipam_error *error, void *user)
{
    const struct watched *watched = user;
    program_watch_trouble(watched->writer->program, object_kinds[watched->kind].plural, error);
}

static void on_problem(const char *name, const char *why, void *user)
{
    const struct watched *watched = user;
    program_object_problem(watched->writer->program, object_kinds[watched->kind].plural, name, why);
}

/* ---- What follows from a turn -------------------------------------------------------------------------------------- */

static void tell(struct writer *writer, const struct turn_report *report)
{
    const struct object *object = report->object;
    struct kube_object_ref ref = {.api_version = "novaedge.io/v1alpha1",
                                  .kind = object_kinds[object->kind].kind,
                                  .name = object->name,
                                  .uid = object->uid};
    for (size_t i = 0; i < report->update->n_events && !report->undone; i++) {
        const struct status_event *event = &report->update->events[i];
        kube_event(program_events(writer->program), &ref, event->warning ? KUBE_EVENT_WARNING : KUBE_EVENT_NORMAL,
                   event->reason, event->message);
    }
}

static unsigned int capped(unsigned int doublings)
{
    return doublings < DOUBLINGS_MAX ? doublings : DOUBLINGS_MAX;
}

/* Somebody who keeps undoing what is written is answered ever more slowly. */
static void after_written(struct writer *writer, const struct turn_report *report, uint64_t now)
{
    struct object *object = report->object;
    bool forgiven = now - object->last_write > FORGIVEN_MS;
    object->strikes = !report->undone ? 0 : forgiven ? 1 : object->strikes + 1;
    object->calm_until = object->strikes ? now + kube_backoff(capped(object->strikes), 0) : 0;
    object->last_write = now ? now : 1;
    object->attempts = object->postponed = 0;
    tell(writer, report);
}

static void after_right(struct writer *writer, const struct turn_report *report, uint64_t now)
{
    (void)writer;
    (void)now;
    report->object->attempts = report->object->postponed = 0;
}

static void retry(struct object *object, uint64_t now, const struct turn_report *report, unsigned int doublings)
{
    object->attempts++;
    object->rest_until =
        later(object->rest_until, now + kube_backoff(object->attempts + doublings, report->retry_after_ms));
    object->again = true;
}

static void after_stale(struct writer *writer, const struct turn_report *report, uint64_t now)
{
    (void)writer;
    struct object *object = report->object;
    object->again = true;
    if (object->attempts < CONFLICTS)
        object->attempts++;
    else
        retry(object, now, report, 0);
}

static void after_blocked(struct writer *writer, const struct turn_report *report, uint64_t now)
{
    objects_queue(writer->objects, report->object, now + BLOCKED_MS);
}

static void postpone(struct writer *writer, struct object *object, uint64_t due)
{
    object->postponed++;
    object->rest_until = 0;
    objects_queue(writer->objects, object, due);
}

static void after_apart(struct writer *writer, const struct turn_report *report, uint64_t now)
{
    postpone(writer, report->object, now + APART_MS);
}

static void after_passing(struct writer *writer, const struct turn_report *report, uint64_t now)
{
    postpone(writer, report->object, now + PASSING_MS);
}

static void after_gone(struct writer *writer, const struct turn_report *report, uint64_t now)
{
    (void)writer;
    (void)now;
    if (report->replaced)
        report->object->again = true;
    else
        report->object->gone = true;
}

static void after_busy(struct writer *writer, const struct turn_report *report, uint64_t now)
{
    bool first = now >= writer->gate_until; /* those that were under way with it fail for the same cause */
    uint32_t wait = first ? kube_backoff(capped(++writer->failures), report->retry_after_ms) : report->retry_after_ms;
    writer->gate_until = later(writer->gate_until, now + wait);
    report->object->again = true;
    program_trouble(writer->program, "writing status", report->error);
}

static void after_deferred(struct writer *writer, const struct turn_report *report, uint64_t now)
{
    (void)writer;
    report->object->attempts = report->object->attempts < CONFLICTS ? report->object->attempts : CONFLICTS;
    retry(report->object, now, report, 0);
}

static void after_forbidden(struct writer *writer, const struct turn_report *report, uint64_t now)
{
    retry(report->object, now, report, REFUSED_WAIT);
    program_trouble(writer->program, object_kinds[report->object->kind].kind, report->error);
    if (writer->options->shared.once)
        finish(writer, report->error);
}

static void bear(struct writer *writer, const struct turn_report *report, uint64_t now, unsigned int doublings)
{
    retry(report->object, now, report, doublings);
    trouble_about(writer, report->object, report->error);
    if (writer->options->shared.once)
        finish(writer, report->error);
}

static void after_failed(struct writer *writer, const struct turn_report *report, uint64_t now)
{
    bear(writer, report, now, 0);
}

static void after_refused(struct writer *writer, const struct turn_report *report, uint64_t now)
{
    bear(writer, report, now, REFUSED_WAIT);
}

/* The lease was nearly lost. */
static void after_cancelled(struct writer *writer, const struct turn_report *report, uint64_t now)
{
    (void)writer;
    (void)now;
    report->object->again = true;
}

typedef void (*consequence)(struct writer *writer, const struct turn_report *report, uint64_t now);

static const consequence consequences[TURN_OUTCOMES] = {
    [TURN_RIGHT] = after_right,         [TURN_WRITTEN] = after_written, [TURN_BLOCKED] = after_blocked,
    [TURN_APART] = after_apart,         [TURN_PASSING] = after_passing, [TURN_STALE] = after_stale,
    [TURN_GONE] = after_gone,           [TURN_BUSY] = after_busy,       [TURN_DEFERRED] = after_deferred,
    [TURN_FORBIDDEN] = after_forbidden, [TURN_FAILED] = after_failed,   [TURN_REFUSED] = after_refused,
    [TURN_CANCELLED] = after_cancelled,
};

static bool is_answer(enum turn_outcome outcome)
{
    return outcome == TURN_WRITTEN || outcome == TURN_STALE || outcome == TURN_GONE;
}

static void end_troubles(struct writer *writer, const struct turn_report *report)
{
    if (!is_answer(report->outcome))
        return;
    if (writer->failures)
        program_trouble(writer->program, "writing status", NULL);
    writer->failures = 0;
    if (report->outcome == TURN_WRITTEN)
        program_trouble(writer->program, object_kinds[report->object->kind].kind, NULL);
    trouble_about(writer, report->object, NULL);
}

static void stop_next(struct writer *writer);

static void on_turn(const struct turn_report *report, void *user)
{
    struct writer *writer = user;
    struct object *object = report->object;
    uint64_t now = uv_now(writer->loop);
    writer->n_turns[object->kind]--;
    writer->outcomes[object->kind][report->outcome]++;
    if (!writer->program) {
        stop_next(writer);
        return;
    }
    object->rest_until = object->kind == OBJECT_POOL ? now + writer->options->pool_interval : 0;
    end_troubles(writer, report);
    consequences[report->outcome](writer, report, now);
    if (!writer->program)
        return;
    if (object->gone)
        forget(writer, object);
    else if (object->again)
        mark(writer, object, false);
    arm(writer);
    check_once(writer);
}

/* ---- Start and stop ------------------------------------------------------------------------------------------------ */

static const struct kube_watch_callbacks watch_callbacks = {.object = on_object,
                                                            .problem = on_problem,
                                                            .deleted = on_deleted,
                                                            .listed = on_listed,
                                                            .trouble = on_watch_trouble};

static const struct follow_callbacks follow_callbacks = {
    .claim = on_claim, .pool = on_pool, .fresh = on_fresh, .synced = on_synced, .trouble = on_follow_trouble};

static void watch_start(struct writer *writer, enum object_kind kind)
{
    struct watched *watched = &writer->watched[kind];
    *watched = (struct watched){.writer = writer, .kind = kind};
    watched->path = kube_path("/apis/novaedge.io/v1alpha1/%s", object_kinds[kind].plural);
    struct kube_watch_options options = {.path = watched->path, .fields = object_kinds[kind].fields};
    watched->watch = kube_watch_new(program_client(writer->program), &options, &watch_callbacks, watched);
    writer->open++;
}

static void start(struct program *program, void *user)
{
    struct writer *writer = user;
    writer->program = program;
    writer->options = program_options(program);
    writer->loop = program_loop(program);
    writer->objects = objects_new();
    writer->synced = false;
    writer->gate_until = writer->failures = 0;
    struct follow_options follow = {.loop = writer->loop,
                                    .channel = program_channel(program),
                                    .socket = writer->options->shared.socket,
                                    .events = writer->options->shared.events};
    writer->follow = follow_new(&follow, &follow_callbacks, writer);
    writer->turns = (struct turn_context){.client = program_client(program),
                                          .channel = program_channel(program),
                                          .objects = writer->objects,
                                          .follow = writer->follow,
                                          .take = on_answer,
                                          .done = on_turn,
                                          .user = writer};
    uv_timer_init(writer->loop, &writer->pump);
    writer->pump.data = writer;
    writer->open = 2; /* follow and the timer */
    watch_start(writer, OBJECT_VIP);
    watch_start(writer, OBJECT_POOL);
}

/* When all is closed and no turn is under way. */
static void stop_next(struct writer *writer)
{
    struct program *program = writer->stopping;
    if (writer->open > 0 || turns_under_way(writer) > 0)
        return;
    for (int kind = 0; kind < OBJECT_KINDS; kind++)
        free(writer->watched[kind].path);
    writer->objects = objects_free(writer->objects);
    writer->stopping = NULL;
    program_stopped(program);
}

static void on_closed(void *user)
{
    struct writer *writer = user;
    writer->open--;
    stop_next(writer);
}

static void on_timer_closed(uv_handle_t *handle)
{
    on_closed(handle->data);
}

static void stop(struct program *program, void *user)
{
    struct writer *writer = user;
    writer->program = NULL;
    writer->stopping = program;
    for (int kind = 0; kind < OBJECT_KINDS; kind++) {
        struct object *object = NULL;
        while ((object = objects_next(writer->objects, kind, object)))
            if (object->in_flight)
                turn_cancel(object);
        kube_watch_close(writer->watched[kind].watch, on_closed, writer);
    }
    follow_close(writer->follow, on_closed, writer);
    uv_close((uv_handle_t *)&writer->pump, on_timer_closed);
}

/* ---- What is told -------------------------------------------------------------------------------------------------- */

static const char *ready(void *user)
{
    struct writer *writer = user;
    for (int kind = 0; kind < OBJECT_KINDS; kind++) {
        if (kube_watch_synced(writer->watched[kind].watch))
            continue;
        snprintf(writer->why, sizeof(writer->why), "not in step with the %s of the API server",
                 object_kinds[kind].plural);
        return writer->why;
    }
    return follow_claims(writer->follow) ? NULL : "not in step with ipamd";
}

static void metrics_of_kind(FILE *out, const struct writer *writer, enum object_kind kind)
{
    const char *name = object_kinds[kind].kind;
    for (int i = 0; i < TURN_OUTCOMES; i++)
        fprintf(out, "ipam_status_turns_total{kind=\"%s\",outcome=\"%s\"} %" PRIu64 "\n", name, turn_outcome_names[i],
                writer->outcomes[kind][i]);
}

static void metrics_of_turn(FILE *out, const struct writer *writer)
{
    fprintf(out, "# HELP ipam_status_objects Objects known.\n# TYPE ipam_status_objects gauge\n");
    for (int kind = 0; kind < OBJECT_KINDS; kind++)
        fprintf(out, "ipam_status_objects{kind=\"%s\"} %zu\n", object_kinds[kind].kind,
                objects_count(writer->objects, kind));
    fprintf(out, "# HELP ipam_kube_unreadable_objects Objects with a field that can't be read.\n"
                 "# TYPE ipam_kube_unreadable_objects gauge\n");
    for (int kind = 0; kind < OBJECT_KINDS; kind++)
        fprintf(out, "ipam_kube_unreadable_objects{kind=\"%s\"} %zu\n", object_kinds[kind].kind,
                kube_watch_problems(writer->watched[kind].watch));
    fprintf(out, "# HELP ipam_status_dirty Objects whose status may be out of date.\n# TYPE ipam_status_dirty gauge\n");
    for (int kind = 0; kind < OBJECT_KINDS; kind++)
        fprintf(out, "ipam_status_dirty{kind=\"%s\"} %zu\n", object_kinds[kind].kind,
                objects_queued(writer->objects, kind));
    fprintf(out,
            "# HELP ipam_status_in_flight Objects being looked at or written.\n# TYPE ipam_status_in_flight gauge\n"
            "ipam_status_in_flight %zu\n"
            "# HELP ipam_status_revision Last change of ipamd that was seen.\n# TYPE ipam_status_revision gauge\n"
            "ipam_status_revision %" PRIu64 "\n"
            "# HELP ipam_status_revision_newest Newest change that ipamd is known to have.\n"
            "# TYPE ipam_status_revision_newest gauge\nipam_status_revision_newest %" PRIu64 "\n",
            turns_under_way(writer), follow_revision(writer->follow), follow_newest(writer->follow));
}

static void metrics(FILE *out, void *user)
{
    const struct writer *writer = user;
    fprintf(out, "# HELP ipam_status_turns_total Looks at an object, by what came of it.\n"
                 "# TYPE ipam_status_turns_total counter\n");
    for (int kind = 0; kind < OBJECT_KINDS; kind++)
        metrics_of_kind(out, writer, kind);
    if (writer->program)
        metrics_of_turn(out, writer);
}

static uint32_t connections(const void *options)
{
    const struct writer_options *of = options;
    return (uint32_t)of->max_writes + POOL_TURNS + SPARE;
}

const struct program_role writer_role = {.options = &writer_options,
                                         .start = start,
                                         .stop = stop,
                                         .ready = ready,
                                         .metrics = metrics,
                                         .connections = connections};
