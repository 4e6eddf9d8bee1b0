#include "turn.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "pool_status.h"
#include "vip_status.h"

#define APART_MAX   25 /* then a status that does not agree with itself for a moment is better than an old one */
#define PASSING_MAX 10 /* then it has not passed */

const char *const turn_outcome_names[TURN_OUTCOMES] = {
    [TURN_RIGHT] = "right",         [TURN_WRITTEN] = "written", [TURN_BLOCKED] = "blocked",
    [TURN_APART] = "apart",         [TURN_PASSING] = "passing", [TURN_STALE] = "conflict",
    [TURN_GONE] = "gone",           [TURN_BUSY] = "throttled",  [TURN_DEFERRED] = "deferred",
    [TURN_FORBIDDEN] = "forbidden", [TURN_FAILED] = "failed",   [TURN_REFUSED] = "refused",
    [TURN_CANCELLED] = "cancelled",
};

struct turn {
    const struct turn_context *context;
    struct object *object;
    char *uid; /* of the object when the turn began */
    struct arena arena;
    struct status_update update;
    bool news, undone;
    char *path;
    struct kube_request request;  /* under way */
    struct kube_call *call;       /* NULL: none */
    struct ipam_pending *pending; /* NULL: none */
};

static void turn_end(struct turn *turn, enum turn_outcome outcome, const struct ipam_error *error,
                     uint32_t retry_after_ms)
{
    struct object *object = turn->object;
    const struct turn_context *context = turn->context;
    struct turn_report report = {.object = object,
                                 .outcome = outcome,
                                 .error = error,
                                 .retry_after_ms = retry_after_ms,
                                 .update = &turn->update,
                                 .undone = turn->undone,
                                 .replaced = strcmp(turn->uid, object->uid) != 0};
    if (outcome != TURN_WRITTEN && outcome != TURN_RIGHT)
        object->changed = object->changed || turn->news;
    object->in_flight = false;
    object->turn = NULL;
    context->done(&report, context->user);
    status_update_done(&turn->update);
    arena_done(&turn->arena);
    free(turn->path);
    free(turn->uid);
    free(turn);
}

/* ---- What an answer means ------------------------------------------------------------------------------------------ */

static const struct {
    int status;
    enum turn_outcome outcome;
} answers[] = {
    {401, TURN_FORBIDDEN}, {403, TURN_FORBIDDEN}, {404, TURN_GONE}, {409, TURN_STALE},
    {429, TURN_BUSY},      {502, TURN_BUSY},      {503, TURN_BUSY}, {504, TURN_BUSY},
};

static enum turn_outcome outcome_of(int status)
{
    if (status >= 200 && status < 300)
        return TURN_WRITTEN;
    for (size_t i = 0; i < sizeof(answers) / sizeof(*answers); i++)
        if (answers[i].status == status)
            return answers[i].outcome;
    return status >= 500 ? TURN_FAILED : TURN_REFUSED;
}

/* Ends the turn unless the answer is a success. */
static bool turn_failed(struct turn *turn, const struct kube_response *response, const struct ipam_error *error)
{
    struct ipam_error refusal;
    turn->call = NULL;
    if (error) {
        turn->object->unsure = true; /* it may have taken effect */
        turn_end(turn, error->reason == IPAM_REASON_CANCELLED ? TURN_CANCELLED : TURN_BUSY, error, 0);
        return true;
    }
    enum turn_outcome outcome = outcome_of(response->status);
    if (outcome == TURN_WRITTEN)
        return false;
    kube_response_error(&turn->request, response, &refusal);
    turn->object->unsure = true;
    turn_end(turn, outcome, &refusal, response->retry_after_ms);
    return true;
}

static void turn_call(struct turn *turn, const char *method, bool of_status, const json_t *body,
                      kube_response_cb callback)
{
    const char *plural = object_kinds[turn->object->kind].plural, *name = turn->object->name;
    free(turn->path);
    turn->path = of_status ? kube_path("/apis/novaedge.io/v1alpha1/%s/%s/status", plural, name)
                           : kube_path("/apis/novaedge.io/v1alpha1/%s/%s", plural, name);
    turn->request = (struct kube_request){.method = method,
                                          .path = turn->path,
                                          .content_type = KUBE_MERGE_PATCH,
                                          .body = body,
                                          .fields = object_kinds[turn->object->kind].fields};
    turn->call = kube_call(turn->context->client, &turn->request, callback, turn);
    turn->request.body = NULL;
}

static void take(struct turn *turn, const json_t *json)
{
    objects_settle(turn->context->objects, turn->object);
    turn->context->take(turn->object->kind, json, turn->context->user);
}

/* ---- Writing ------------------------------------------------------------------------------------------------------- */

/* What the server took without keeping it is no reason to write again. */
static void learn_residue(struct object *object, const json_t *patch, const json_t *answer)
{
    json_t *residue = status_residue(patch, answer);
    free(object->residue);
    object->residue = residue ? json_dumps(residue, JSON_COMPACT | JSON_SORT_KEYS) : NULL;
    json_decref(residue);
}

static bool is_residue(const struct object *object, const json_t *patch)
{
    char *text = object->residue ? json_dumps(patch, JSON_COMPACT | JSON_SORT_KEYS) : NULL;
    bool same = text && strcmp(text, object->residue) == 0;
    free(text);
    return same;
}

static void on_written(const struct kube_response *response, const struct ipam_error *error, void *user)
{
    struct turn *turn = user;
    if (turn_failed(turn, response, error))
        return;
    learn_residue(turn->object, turn->update.status, response->body);
    take(turn, response->body);
    turn_end(turn, TURN_WRITTEN, NULL, 0);
}

static void write_status(struct turn *turn)
{
    struct object *object = turn->object;
    json_t *patch =
        json_pack("{s:{s:s}, s:O}", "metadata", "resourceVersion", object->version, "status", turn->update.status);
    turn->undone = !turn->news && object->last_write;
    turn_call(turn, "PATCH", true, patch, on_written);
    json_decref(patch);
}

/* An address must leave one status before it comes into another, else it would be seen in two at once. */
static bool is_blocked(struct turn *turn)
{
    struct ipam_addr given[2];
    vip_status_given(turn->update.status, given);
    for (int i = 0; i < 2; i++)
        if (given[i].family != IPAM_FAMILY_NONE && objects_showing(turn->context->objects, &given[i], turn->object))
            return true;
    objects_expect(turn->context->objects, turn->object, given);
    return false;
}

static void decide(struct turn *turn)
{
    if (!turn->update.status || is_residue(turn->object, turn->update.status))
        turn_end(turn, TURN_RIGHT, NULL, 0);
    else if (turn->update.passes && turn->object->postponed < PASSING_MAX)
        turn_end(turn, TURN_PASSING, NULL, 0);
    else if (turn->object->kind == OBJECT_VIP && is_blocked(turn))
        turn_end(turn, TURN_BLOCKED, NULL, 0);
    else
        write_status(turn);
}

/* ---- Working out --------------------------------------------------------------------------------------------------- */

static void work_out_vip(struct turn *turn)
{
    const struct claims *claims = follow_claims(turn->context->follow);
    json_t *seen = json_loads(turn->object->seen, 0, NULL);
    if (claims)
        vip_status(seen, claims, (int64_t)time(NULL), &turn->arena, &turn->update);
    decide(turn);
    json_decref(seen);
}

static void work_out_pool(struct turn *turn, const Ipam__V1__Pool *pool)
{
    struct object *object = turn->object;
    const struct claims *claims = follow_claims(turn->context->follow);
    json_t *seen = json_loads(object->seen, 0, NULL);
    ranges_done(&object->ranges);
    ranges_init(&object->ranges, pool->spec);
    if (claims)
        pool_status(seen, pool, &object->ranges, claims, (int64_t)time(NULL), &turn->arena, &turn->update);
    decide(turn);
    json_decref(seen);
}

/* Its counts come with the pool, its list is that of the claims. */
static bool is_apart(const struct turn *turn, const Ipam__V1__GetPoolReply *reply)
{
    return reply->revision != follow_revision(turn->context->follow) && turn->object->postponed < APART_MAX;
}

static void on_pool(const ProtobufCMessage *message, const struct ipam_error *error, void *user)
{
    struct turn *turn = user;
    const Ipam__V1__GetPoolReply *reply = (const Ipam__V1__GetPoolReply *)message;
    turn->pending = NULL;
    if (error && error->reason == IPAM_REASON_POOL_NOT_FOUND)
        turn_end(turn, TURN_RIGHT, NULL, 0);
    else if (error)
        turn_end(turn, error->reason == IPAM_REASON_CANCELLED ? TURN_CANCELLED : TURN_DEFERRED, error, 0);
    else if (!reply->pool)
        turn_end(turn, TURN_RIGHT, NULL, 0);
    else if (is_apart(turn, reply))
        turn_end(turn, TURN_APART, NULL, 0);
    else
        work_out_pool(turn, reply->pool);
}

static void ask_pool(struct turn *turn)
{
    Ipam__V1__GetPoolRequest request = IPAM__V1__GET_POOL_REQUEST__INIT;
    struct ipam_error error;
    request.name = turn->object->name;
    turn->pending = ipam_channel_call(turn->context->channel, "/ipam.v1.IPAM/GetPool", &request.base,
                                      &ipam__v1__get_pool_reply__descriptor, 0, on_pool, turn, &error);
    if (!turn->pending)
        turn_end(turn, TURN_DEFERRED, &error, 0);
}

static void work_out(struct turn *turn)
{
    if (turn->object->kind == OBJECT_POOL)
        ask_pool(turn);
    else
        work_out_vip(turn);
}

static void on_read(const struct kube_response *response, const struct ipam_error *error, void *user)
{
    struct turn *turn = user;
    if (turn_failed(turn, response, error))
        return;
    take(turn, response->body);
    turn->object->unsure = false;
    work_out(turn);
}

void turn_start(const struct turn_context *context, struct object *object)
{
    struct turn *turn = mem_zalloc(sizeof(*turn));
    turn->context = context;
    turn->object = object;
    turn->uid = mem_strdup(object->uid);
    turn->news = object->changed;
    arena_init(&turn->arena);
    objects_unqueue(context->objects, object);
    object->turn = turn;
    object->in_flight = true;
    object->changed = object->again = false;
    if (object->unsure)
        turn_call(turn, "GET", false, NULL, on_read);
    else
        work_out(turn);
}

void turn_cancel(struct object *object)
{
    struct turn *turn = object->turn;
    if (turn->call)
        kube_call_cancel(turn->call);
    if (turn->pending)
        ipam_channel_cancel(turn->context->channel, turn->pending);
}
