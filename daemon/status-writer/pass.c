#include "pass.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "pool_status.h"
#include "translate.h"
#include "vip_status.h"

#define APPLY_PATCH "application/apply-patch+yaml" /* JSON is YAML */

struct pass {
    const struct pass_context *context;
    struct object *object;
    char *uid; /* of the object when the pass began */
    struct arena arena;
    struct status_update update;
    enum policy_step step;
    bool news, undone;
    uint64_t settle_at, recheck_at; /* 0: not */
    char *path;
    struct kube_request request;  /* under way */
    struct kube_call *call;       /* NULL: none */
    struct ipam_pending *pending; /* NULL: none */
};

static void pass_end(struct pass *pass, enum pass_outcome outcome, const struct ipam_error *error,
                     uint32_t retry_after_ms)
{
    struct object *object = pass->object;
    const struct pass_context *context = pass->context;
    struct pass_report report = {.object = object,
                                 .outcome = outcome,
                                 .error = error,
                                 .retry_after_ms = retry_after_ms,
                                 .update = &pass->update,
                                 .undone = pass->undone,
                                 .unfinished = pass->step == STEP_WRITE && pass->update.adopt,
                                 .settle_at = pass->settle_at,
                                 .recheck_at = pass->recheck_at,
                                 .replaced = strcmp(pass->uid, object->uid) != 0};
    if (outcome != PASS_WRITTEN && outcome != PASS_RIGHT)
        object->changed = object->changed || pass->news;
    object->in_flight = false;
    object->pass = NULL;
    context->done(&report, context->user);
    status_update_done(&pass->update);
    arena_done(&pass->arena);
    free(pass->path);
    free(pass->uid);
    free(pass);
}

/* ---- Calls to the API server --------------------------------------------------------------------------------------- */

static void pass_call(struct pass *pass, const char *method, const char *content_type, char *path, const json_t *body,
                      kube_response_cb callback)
{
    free(pass->path);
    pass->path = path;
    pass->request = (struct kube_request){.method = method,
                                          .path = path,
                                          .content_type = content_type,
                                          .body = body,
                                          .fields = object_kinds[pass->object->kind].fields};
    pass->call = kube_call(pass->context->client, &pass->request, callback, pass);
    pass->request.body = NULL;
}

static void read_object(struct pass *pass, kube_response_cb callback)
{
    const struct object *object = pass->object;
    pass_call(pass, "GET", NULL,
              kube_path("/apis/novaedge.io/v1alpha1/%s/%s", object_kinds[object->kind].plural, object->name), NULL,
              callback);
}

static void patch_status(struct pass *pass, const char *content_type, bool force, json_t *body,
                         kube_response_cb callback)
{
    const struct object *object = pass->object;
    const char *plural = object_kinds[object->kind].plural;
    char *path = force ? kube_path("/apis/novaedge.io/v1alpha1/%s/%s/status?fieldManager=%s&force=true", plural,
                                   object->name, STATUS_MANAGER)
                       : kube_path("/apis/novaedge.io/v1alpha1/%s/%s/status?fieldManager=%s", plural, object->name,
                                   STATUS_MANAGER);
    pass->undone = !pass->news && object->history.last_write && object->digest != object->written_digest;
    pass_call(pass, "PATCH", content_type, path, body, callback);
    json_decref(body);
}

/* Ends the pass unless the answer is a success. */
static bool pass_failed(struct pass *pass, const struct kube_response *response, const struct ipam_error *error)
{
    struct ipam_error refusal;
    pass->call = NULL;
    if (error) {
        pass->object->unsure = true; /* it may have taken effect */
        pass_end(pass, error->reason == IPAM_REASON_CANCELLED ? PASS_CANCELLED : PASS_BUSY, error, 0);
        return true;
    }
    enum pass_outcome outcome = policy_outcome(response->status);
    if (outcome == PASS_WRITTEN)
        return false;
    kube_response_error(&pass->request, response, &refusal);
    pass->object->unsure = true;
    pass_end(pass, outcome, &refusal, response->retry_after_ms);
    return true;
}

static void take(struct pass *pass, const json_t *json)
{
    objects_settle(pass->context->objects, pass->object);
    pass->context->take(pass->object->kind, json, pass->context->user);
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

/* Nothing was found where the status should be, although the object is there. */
static void no_status(struct pass *pass)
{
    const char *plural = object_kinds[pass->object->kind].plural;
    struct ipam_error error;
    ipam_error_set(
        &error, IPAM_REASON_API_REFUSED,
        "the CustomResourceDefinition %s.novaedge.io has no status subresource, so no status can be written; write "
        "subresources: {status: {}} into its version v1alpha1, or apply proto/crd",
        plural);
    pass_end(pass, PASS_NO_STATUS, &error, 0);
}

static void on_looked_for(const struct kube_response *response, const struct ipam_error *error, void *user)
{
    struct pass *pass = user;
    if (pass_failed(pass, response, error))
        return;
    take(pass, response->body);
    if (strcmp(pass->uid, pass->object->uid) == 0)
        no_status(pass);
    else
        pass_end(pass, PASS_GONE, NULL, 0);
}

/* 404 is also the answer when the object is there and its definition has no status subresource. */
static bool is_missing(struct pass *pass, const struct kube_response *response)
{
    if (!response || response->status != 404)
        return false;
    pass->object->unsure = true;
    read_object(pass, on_looked_for);
    return true;
}

static void on_written(const struct kube_response *response, const struct ipam_error *error, void *user)
{
    struct pass *pass = user;
    if (is_missing(pass, response) || pass_failed(pass, response, error))
        return;
    if (pass->update.status)
        learn_residue(pass->object, pass->update.status, response->body);
    pass->object->written_digest = objects_digest(pass->object->kind, response->body);
    take(pass, response->body);
    pass_end(pass, pass->step == STEP_LEAVE ? PASS_LEFT : PASS_WRITTEN, NULL, 0);
}

static void write_status(struct pass *pass)
{
    struct ipam_addr given[2];
    vip_status_given(pass->update.status, given);
    objects_expect(pass->context->objects, pass->object, given);
    patch_status(pass, KUBE_MERGE_PATCH, false,
                 json_pack("{s:{s:s}, s:O}", "metadata", "resourceVersion", pass->object->version, "status",
                           pass->update.status),
                 on_written);
}

/* An apply makes us a manager of a field also when its value stays. */
static void adopt(struct pass *pass)
{
    const struct object *object = pass->object;
    patch_status(pass, APPLY_PATCH, true,
                 json_pack("{s:s, s:s, s:{s:s, s:s}, s:O}", "apiVersion", "novaedge.io/v1alpha1", "kind",
                           object_kinds[object->kind].kind, "metadata", "name", object->name, "resourceVersion",
                           object->version, "status", pass->update.adopt),
                 on_written);
}

/* An address must leave one status before it comes into another, else it would be seen in two at once. */
static bool is_blocked(struct pass *pass)
{
    struct ipam_addr given[2];
    vip_status_given(pass->update.status, given);
    for (int i = 0; i < 2; i++)
        if (given[i].family != IPAM_FAMILY_NONE && objects_showing(pass->context->objects, &given[i], pass->object))
            return true;
    return false;
}

static void leave(struct pass *pass, const json_t *seen)
{
    struct vip_facts facts = {
        .object = seen, .claims = follow_claims(pass->context->follow), .leaves = true, .now = (int64_t)time(NULL)};
    status_update_done(&pass->update);
    vip_status(&facts, &pass->arena, &pass->update);
    if (pass->update.status)
        write_status(pass);
    else
        pass_end(pass, PASS_BLOCKED, NULL, 0);
}

static void take_step(struct pass *pass, const json_t *seen)
{
    const struct status_update *update = &pass->update;
    struct policy_view view = {.differs = update->status,
                               .futile = update->status && is_residue(pass->object, update->status),
                               .passes = update->passes,
                               .blocked = update->status && pass->object->kind == OBJECT_VIP && is_blocked(pass),
                               .foreign = update->adopt,
                               .postponed = pass->object->history.postponed};
    pass->step = policy_step(&view);
    switch (pass->step) {
    case STEP_NOTHING:
        pass_end(pass, PASS_RIGHT, NULL, 0);
        break;
    case STEP_LET_PASS:
        pass_end(pass, PASS_PASSING, NULL, 0);
        break;
    case STEP_WAIT:
        pass_end(pass, PASS_BLOCKED, NULL, 0);
        break;
    case STEP_LEAVE:
        leave(pass, seen);
        break;
    case STEP_ADOPT:
        adopt(pass);
        break;
    case STEP_WRITE:
        write_status(pass);
        break;
    }
}

/* ---- Working out --------------------------------------------------------------------------------------------------- */

static void ask_allocate(struct pass *pass, const json_t *seen);

static bool is_to_be_asked(struct pass *pass)
{
    struct object *object = pass->object;
    uint64_t now = uv_now(pass->context->loop);
    if (!object->unsettled_since)
        object->unsettled_since = now ? now : 1;
    uint64_t at = policy_ask_at(pass->context->asking, object->unsettled_since, now);
    pass->settle_at = at > now ? at : 0;
    return at <= now;
}

/* `answer`: NULL before ipamd was asked. */
static void work_out_vip(struct pass *pass, const struct vip_answer *answer)
{
    json_t *seen = json_loads(pass->object->seen, 0, NULL);
    struct vip_facts facts = {
        .object = seen, .claims = follow_claims(pass->context->follow), .answer = answer, .now = (int64_t)time(NULL)};
    if (facts.claims)
        vip_status(&facts, &pass->arena, &pass->update);
    if (answer)
        pass->recheck_at = uv_now(pass->context->loop) + POLICY_RECHECK_MS;
    else if (!pass->update.unsettled)
        pass->object->unsettled_since = 0;
    if (pass->update.unsettled && is_to_be_asked(pass)) {
        status_update_done(&pass->update);
        ask_allocate(pass, seen);
    } else {
        take_step(pass, seen);
    }
    json_decref(seen);
}

static bool is_refusal(const struct ipam_error *error)
{
    static const enum ipam_status statuses[] = {
        IPAM_STATUS_INVALID_ARGUMENT,   IPAM_STATUS_NOT_FOUND,           IPAM_STATUS_ALREADY_EXISTS,
        IPAM_STATUS_RESOURCE_EXHAUSTED, IPAM_STATUS_FAILED_PRECONDITION, IPAM_STATUS_OUT_OF_RANGE,
    };
    for (size_t i = 0; i < sizeof(statuses) / sizeof(*statuses); i++)
        if (error->status == statuses[i])
            return error->reason != IPAM_REASON_TOO_MANY_CLIENTS;
    return false;
}

static void on_answer(const ProtobufCMessage *message, const struct ipam_error *error, void *user)
{
    struct pass *pass = user;
    struct vip_answer answer = {.verdict = VIP_ACCEPTED};
    (void)message;
    pass->pending = NULL;
    if (error && error->status == IPAM_STATUS_PERMISSION_DENIED) {
        answer.verdict = VIP_MAY_NOT_ASK;
    } else if (error && is_refusal(error)) {
        answer = (struct vip_answer){VIP_REFUSED, ipam_reason_name(error->reason), error->message};
    } else if (error) {
        pass_end(pass, error->reason == IPAM_REASON_CANCELLED ? PASS_CANCELLED : PASS_DEFERRED, error, 0);
        return;
    }
    work_out_vip(pass, &answer);
}

/* As ipam-watcher asks, but for the answer only. */
static void ask_allocate(struct pass *pass, const json_t *seen)
{
    struct vip_wish wish;
    struct ipam_error error;
    if (vip_read(seen, &wish, &error) < 0) { /* then it is not unsettled */
        pass_end(pass, PASS_RIGHT, NULL, 0);
        return;
    }
    wish.request.dry_run = true;
    pass->pending = ipam_channel_call(pass->context->channel, "/ipam.v1.IPAM/Allocate", &wish.request.base,
                                      &ipam__v1__allocate_reply__descriptor, 0, on_answer, pass, &error);
    if (!pass->pending)
        pass_end(pass, PASS_DEFERRED, &error, 0);
}

static void work_out_pool(struct pass *pass, const Ipam__V1__Pool *pool)
{
    struct object *object = pass->object;
    const struct claims *claims = follow_claims(pass->context->follow);
    json_t *seen = json_loads(object->seen, 0, NULL);
    ranges_done(&object->ranges);
    ranges_init(&object->ranges, pool->spec);
    if (claims)
        pool_status(seen, pool, &object->ranges, claims, (int64_t)time(NULL), &pass->arena, &pass->update);
    take_step(pass, seen);
    json_decref(seen);
}

/* Its counts come with the pool, its list is that of the claims. */
static bool is_apart(const struct pass *pass, const Ipam__V1__GetPoolReply *reply)
{
    return policy_waits_for_claims(reply->revision != follow_revision(pass->context->follow),
                                   pass->object->history.postponed);
}

static void on_pool(const ProtobufCMessage *message, const struct ipam_error *error, void *user)
{
    struct pass *pass = user;
    const Ipam__V1__GetPoolReply *reply = (const Ipam__V1__GetPoolReply *)message;
    pass->pending = NULL;
    if (error && error->reason == IPAM_REASON_POOL_NOT_FOUND)
        pass_end(pass, PASS_RIGHT, NULL, 0);
    else if (error)
        pass_end(pass, error->reason == IPAM_REASON_CANCELLED ? PASS_CANCELLED : PASS_DEFERRED, error, 0);
    else if (!reply->pool)
        pass_end(pass, PASS_RIGHT, NULL, 0);
    else if (is_apart(pass, reply))
        pass_end(pass, PASS_APART, NULL, 0);
    else
        work_out_pool(pass, reply->pool);
}

static void ask_pool(struct pass *pass)
{
    Ipam__V1__GetPoolRequest request = IPAM__V1__GET_POOL_REQUEST__INIT;
    struct ipam_error error;
    request.name = pass->object->name;
    pass->pending = ipam_channel_call(pass->context->channel, "/ipam.v1.IPAM/GetPool", &request.base,
                                      &ipam__v1__get_pool_reply__descriptor, 0, on_pool, pass, &error);
    if (!pass->pending)
        pass_end(pass, PASS_DEFERRED, &error, 0);
}

static void work_out(struct pass *pass)
{
    if (pass->object->kind == OBJECT_POOL)
        ask_pool(pass);
    else
        work_out_vip(pass, NULL);
}

static void on_read(const struct kube_response *response, const struct ipam_error *error, void *user)
{
    struct pass *pass = user;
    if (pass_failed(pass, response, error))
        return;
    take(pass, response->body);
    pass->object->unsure = false;
    if (pass->object->gone)
        pass_end(pass, PASS_GONE, NULL, 0);
    else
        work_out(pass);
}

void pass_start(const struct pass_context *context, struct object *object)
{
    struct pass *pass = mem_zalloc(sizeof(*pass));
    pass->context = context;
    pass->object = object;
    pass->uid = mem_strdup(object->uid);
    pass->news = object->changed;
    arena_init(&pass->arena);
    objects_unqueue(context->objects, object);
    object->pass = pass;
    object->in_flight = true;
    object->changed = object->again = false;
    if (object->unsure)
        read_object(pass, on_read);
    else
        work_out(pass);
}

void pass_cancel(struct object *object)
{
    struct pass *pass = object->pass;
    if (pass->call)
        kube_call_cancel(pass->call);
    if (pass->pending)
        ipam_channel_cancel(pass->context->channel, pass->pending);
}
