#include "writer.h"

#include <stdlib.h>
#include <string.h>

#include "arena.h"
#include "follow.h"
#include "metrics.h"
#include "news.h"
#include "options.h"
#include "pass.h"
#include "watch.h"

#define SPARE 2 /* requests at once, for Events */

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
    struct schedule schedule;
    struct news news;
    struct pass_context passes;
    struct policy_asking asking;
    bool synced;
    unsigned int open;  /* what is to be closed yet */
    char why[96];       /* not ready */
    pass_counts counts; /* since the process began */
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

static void finish(struct writer *writer, const struct ipam_error *error)
{
    if (!writer->finished)
        program_finish(writer->program, error);
    writer->finished = true;
}

/* With --once it ends when all is as it should be. */
static void check_once(struct writer *writer)
{
    bool listed = writer->watched[OBJECT_VIP].listed && writer->watched[OBJECT_POOL].listed;
    if (writer->program && writer->options->shared.once && listed && writer->synced && follow_claims(writer->follow) &&
        schedule_is_idle(&writer->schedule))
        finish(writer, NULL);
}

static void run(struct writer *writer)
{
    schedule_run(&writer->schedule);
    check_once(writer);
}

/* ---- Passes -------------------------------------------------------------------------------------------------------- */

static bool may_begin(void *user)
{
    const struct writer *writer = user;
    return writer->program && follow_claims(writer->follow);
}

static void begin(struct object *object, void *user)
{
    const struct writer *writer = user;
    pass_start(&writer->passes, object);
}

static void ran(void *user)
{
    check_once(user);
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
    trouble_about(writer, object, NULL);
    news_gone(&writer->news, object);
}

static void tell_events(struct writer *writer, const struct pass_report *report)
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

/* Troubles by whom they concern; what is told of a kind is over once one of it was written. */
static void tell_trouble(struct writer *writer, const struct pass_report *report, enum policy_trouble trouble)
{
    const char *kind = object_kinds[report->object->kind].kind;
    switch (trouble) {
    case TROUBLE_SAME:
        break;
    case TROUBLE_WELL:
        program_trouble(writer->program, "writing status", NULL);
        trouble_about(writer, report->object, NULL);
        if (report->outcome == PASS_WRITTEN || report->outcome == PASS_LEFT)
            program_trouble(writer->program, kind, NULL);
        break;
    case TROUBLE_OF_SERVER:
        program_trouble(writer->program, "writing status", report->error);
        break;
    case TROUBLE_OF_KIND:
        program_trouble(writer->program, kind, report->error);
        break;
    case TROUBLE_OF_OBJECT:
        trouble_about(writer, report->object, report->error);
        break;
    }
}

static void look_next(struct writer *writer, const struct pass_report *report, const struct policy_next *next)
{
    struct object *object = report->object;
    if (next->look == LOOK_LATER)
        schedule_at(&writer->schedule, object, uv_now(writer->loop) + next->wait_ms);
    if (object->again || next->look == LOOK_AGAIN)
        schedule_mark(&writer->schedule, object, false);
    if (report->settle_at)
        schedule_at(&writer->schedule, object, report->settle_at);
    if (report->recheck_at)
        schedule_recheck(&writer->schedule, object, report->recheck_at);
}

static void conclude(struct writer *writer, const struct pass_report *report)
{
    struct object *object = report->object;
    struct policy_end end = {.outcome = report->outcome,
                             .undone = report->undone,
                             .replaced = report->replaced,
                             .unfinished = report->unfinished,
                             .now = uv_now(writer->loop),
                             .pace = object->kind == OBJECT_POOL ? writer->options->pool_interval : 0,
                             .retry_after_ms = report->retry_after_ms};
    struct policy_next next = policy_after(&object->history, &end, kube_backoff);
    policy_gate_after(&writer->schedule.gate, &end, kube_backoff);
    tell_trouble(writer, report, next.trouble);
    if (report->outcome == PASS_WRITTEN || report->outcome == PASS_LEFT)
        tell_events(writer, report);
    if (next.fatal && writer->options->shared.once)
        finish(writer, report->error);
    if (!writer->program)
        return;
    if (object->gone || next.look == LOOK_FORGET)
        forget(writer, object);
    else
        look_next(writer, report, &next);
    run(writer);
}

static void stop_next(struct writer *writer);

static void on_pass(const struct pass_report *report, void *user)
{
    struct writer *writer = user;
    schedule_ended(&writer->schedule, report->object);
    writer->counts[report->object->kind][report->outcome]++;
    if (writer->program)
        conclude(writer, report);
    else
        stop_next(writer);
}

/* ---- News ---------------------------------------------------------------------------------------------------------- */

static void on_pool(const char *name, void *user)
{
    struct writer *writer = user;
    news_pool(&writer->news, name);
}

static void on_claim(const struct claim *claim, void *user)
{
    struct writer *writer = user;
    news_claim(&writer->news, claim);
}

static void on_fresh(void *user)
{
    struct writer *writer = user;
    news_all(&writer->news);
}

static void on_synced(void *user)
{
    struct writer *writer = user;
    writer->synced = true;
    run(writer);
}

static void on_follow_trouble(const struct ipam_error *error, void *user)
{
    struct writer *writer = user;
    program_trouble(writer->program, "ipamd", error);
}

static void lose(struct writer *writer, struct object *object)
{
    if (object->in_flight)
        object->gone = true;
    else
        forget(writer, object);
}

/* What can't be read whole is not written: what is missing in it may be there. */
static void pass_over(struct writer *writer, enum object_kind kind, const json_t *json)
{
    struct object *object = objects_get(writer->objects, kind, status_text(json, "metadata", "name"));
    if (object)
        lose(writer, object);
}

static void on_answer(enum object_kind kind, const json_t *json, void *user)
{
    struct writer *writer = user;
    if (kube_object_problem(json))
        pass_over(writer, kind, json);
    else
        news_object(&writer->news, kind, json, false);
}

static void on_object(const json_t *json, void *user)
{
    struct watched *watched = user;
    if (!kube_object_problem(json)) {
        news_object(&watched->writer->news, watched->kind, json, true);
        return;
    }
    pass_over(watched->writer, watched->kind, json);
    run(watched->writer);
}

static void on_deleted(const char *name, const char *uid, const json_t *json, void *user)
{
    (void)json;
    struct watched *watched = user;
    struct object *object = objects_get(watched->writer->objects, watched->kind, name);
    if (!object || (*uid && strcmp(object->uid, uid) != 0))
        return;
    lose(watched->writer, object);
    run(watched->writer);
}

static void on_listed(size_t count, void *user)
{
    (void)count;
    struct watched *watched = user;
    watched->listed = true;
    run(watched->writer);
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
    struct follow_options follow = {.loop = writer->loop,
                                    .channel = program_channel(program),
                                    .socket = writer->options->shared.socket,
                                    .events = writer->options->shared.events};
    writer->follow = follow_new(&follow, &follow_callbacks, writer);
    writer->passes = (struct pass_context){.loop = writer->loop,
                                           .client = program_client(program),
                                           .channel = program_channel(program),
                                           .objects = writer->objects,
                                           .follow = writer->follow,
                                           .asking = &writer->asking,
                                           .take = on_answer,
                                           .done = on_pass,
                                           .user = writer};
    writer->schedule = (struct schedule){.loop = writer->loop,
                                         .objects = writer->objects,
                                         .max_vips = writer->options->max_writes,
                                         .may_begin = may_begin,
                                         .begin = begin,
                                         .ran = ran,
                                         .user = writer};
    schedule_init(&writer->schedule);
    writer->news = (struct news){.objects = writer->objects, .schedule = &writer->schedule, .follow = writer->follow};
    writer->open = 2; /* follow and the schedule */
    watch_start(writer, OBJECT_VIP);
    watch_start(writer, OBJECT_POOL);
}

/* When all is closed and no pass is under way. */
static void stop_next(struct writer *writer)
{
    struct program *program = writer->stopping;
    if (writer->open > 0 || schedule_running(&writer->schedule) > 0)
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

static void on_schedule_closed(uv_handle_t *handle)
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
                pass_cancel(object);
        kube_watch_close(writer->watched[kind].watch, on_closed, writer);
    }
    follow_close(writer->follow, on_closed, writer);
    schedule_close(&writer->schedule, on_schedule_closed, writer);
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

static void metrics(FILE *out, void *user)
{
    const struct writer *writer = user;
    size_t unreadable[OBJECT_KINDS];
    metrics_passes(out, &writer->counts);
    if (!writer->program)
        return;
    metrics_state(out, writer->objects, &writer->schedule, writer->follow);
    for (int kind = 0; kind < OBJECT_KINDS; kind++)
        unreadable[kind] = kube_watch_problems(writer->watched[kind].watch);
    metrics_unreadable(out, unreadable);
}

static uint32_t connections(const void *options)
{
    const struct writer_options *of = options;
    return (uint32_t)of->max_writes + SCHEDULE_POOLS + SPARE;
}

const struct program_role writer_role = {.options = &writer_options,
                                         .start = start,
                                         .stop = stop,
                                         .ready = ready,
                                         .metrics = metrics,
                                         .connections = connections};
