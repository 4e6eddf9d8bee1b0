#include <stdlib.h>
#include <string.h>

#include "watcher.h"

/* What one pool needs: while its object is there, our finalizer on it and then ApplyPool; once it is being deleted, DeletePool
 * again and again until ipamd has no such pool, and then the finalizer goes. An object that is being deleted revives no pool
 * that drains. */

#define POOLS_PATH "/apis/novaedge.io/v1alpha1/proxyippools/%s"

/* ---- The finalizer -------------------------------------------------------------------------------------------------- */

static void apply(struct watcher *w, struct kept *kept);

static void finalizer_is_set(struct watcher *w, struct kept *kept, bool wanted)
{
    kept->finalizer = wanted;
    if (wanted)
        apply(w, kept);
    else
        job_end(w, kept, OUTCOME_NONE);
}

/* 404: it is gone, and its deletion comes by the watch. 409: it has changed meanwhile; again, from what it is now. */
static void api_failed(struct watcher *w, struct kept *kept, const char *method, const struct kube_response *response,
                       const struct ipam_error *error)
{
    char *path = kube_path(POOLS_PATH, kept->name);
    struct kube_request request = {.method = method, .path = path};
    struct ipam_error refusal;
    if (response && response->status == 404) {
        job_end(w, kept, OUTCOME_NONE);
    } else if (response && response->status == 409) {
        job_later(w, kept, kept->outcome);
    } else {
        if (response)
            kube_response_error(&request, response, &refusal);
        job_failed(w, kept, response ? &refusal : error);
    }
    free(path);
}

static void on_patched(struct watcher *w, struct kept *kept, const struct kube_response *response,
                       const struct ipam_error *error)
{
    if (response && response->status == 200)
        finalizer_is_set(w, kept, !kept->deleting);
    else
        api_failed(w, kept, "PATCH", response, error);
}

static void on_got(struct watcher *w, struct kept *kept, const struct kube_response *response,
                   const struct ipam_error *error)
{
    struct object_id id;
    if (!response || response->status != 200) {
        api_failed(w, kept, "GET", response, error);
        return;
    }
    if (object_identify(response->body, &id, NULL) < 0 || strcmp(id.uid, kept->uid) != 0 ||
        id.deleting != kept->deleting) {
        job_later(w, kept, kept->outcome); /* what it is now comes by the watch */
        return;
    }
    json_t *patch = finalizer_patch(response->body, !kept->deleting);
    char *path = kube_path(POOLS_PATH, kept->name);
    struct kube_request request = {.method = "PATCH", .path = path, .content_type = KUBE_MERGE_PATCH, .body = patch};
    if (patch)
        api_request(w, kept, &request, on_patched);
    else
        finalizer_is_set(w, kept, !kept->deleting);
    free(path);
    json_decref(patch);
}

static void finalizer_change(struct watcher *w, struct kept *kept)
{
    char *path = kube_path(POOLS_PATH, kept->name);
    struct kube_request request = {.method = "GET", .path = path};
    api_request(w, kept, &request, on_got);
    free(path);
}

/* ---- ApplyPool ------------------------------------------------------------------------------------------------------ */

static const char *state_name(Ipam__V1__PoolState state)
{
    const ProtobufCEnumValue *value =
        protobuf_c_enum_descriptor_get_value(&ipam__v1__pool_state__descriptor, (int)state);
    return value ? value->name : "";
}

static void on_applied(struct watcher *w, struct kept *kept, const ProtobufCMessage *reply,
                       const struct ipam_error *error)
{
    const Ipam__V1__ApplyPoolReply *applied = (const Ipam__V1__ApplyPoolReply *)reply;
    if (error && error_is_transient(error)) {
        job_failed(w, kept, error);
    } else if (error) {
        job_refused(w, kept, error, "");
    } else {
        const Ipam__V1__Pool *pool = applied->pool;
        if (applied->changed && pool)
            say(w, "pool %s: %s%s%s%s", kept->name, state_name(pool->state),
                kept->paused ? ", paused until the sync is done" : "", *pool->message ? ": " : "", pool->message);
        kept->told = 0;
        job_end(w, kept, OUTCOME_APPLIED);
    }
}

static void apply(struct watcher *w, struct kept *kept)
{
    Ipam__V1__ApplyPoolRequest request = IPAM__V1__APPLY_POOL_REQUEST__INIT;
    if (!kept->request) { /* it can't be read, and never could be */
        job_end(w, kept, OUTCOME_REFUSED);
        return;
    }
    request.pool = ipam__v1__pool_spec__unpack(NULL, kept->request_size, kept->request);
    if (!request.pool)
        abort(); /* what we packed can be unpacked, so memory ran out */
    request.pool->paused |= kept->paused;
    request.record_rejected = true;
    RPC(w, kept, "ApplyPool", apply_pool, &request, on_applied);
    ipam__v1__pool_spec__free_unpacked(request.pool, NULL);
}

static void on_looked(struct watcher *w, struct kept *kept, const ProtobufCMessage *reply,
                      const struct ipam_error *error)
{
    const Ipam__V1__GetPoolReply *found = (const Ipam__V1__GetPoolReply *)reply;
    if (error && error->reason != IPAM_REASON_POOL_NOT_FOUND)
        job_failed(w, kept, error);
    else if (!error && found->pool && found->pool->state == IPAM__V1__POOL_STATE__DRAINING)
        job_end(w, kept, OUTCOME_APPLIED);
    else
        apply(w, kept);
}

/* A pool that is being deleted is made again for a sync if ipamd has lost it, since VIPs hold addresses of it. But to apply a
 * pool that drains revives it. */
static void apply_unless_draining(struct watcher *w, struct kept *kept)
{
    Ipam__V1__GetPoolRequest request = IPAM__V1__GET_POOL_REQUEST__INIT;
    request.name = kept->name;
    RPC(w, kept, "GetPool", get_pool, &request, on_looked);
}

/* ---- DeletePool ----------------------------------------------------------------------------------------------------- */

static void deleted(struct watcher *w, struct kept *kept)
{
    if (!kept->present)
        job_gone(w, kept);
    else if (kept->finalizer)
        finalizer_change(w, kept);
    else
        job_end(w, kept, OUTCOME_NONE);
}

static void on_deleted(struct watcher *w, struct kept *kept, const ProtobufCMessage *reply,
                       const struct ipam_error *error)
{
    const Ipam__V1__DeletePoolReply *answer = (const Ipam__V1__DeletePoolReply *)reply;
    if (error && error->reason != IPAM_REASON_POOL_NOT_FOUND) {
        job_failed(w, kept, error);
    } else if (error || !answer->draining || !kept->present) {
        if (!error && answer->removed)
            say(w, "pool %s: removed", kept->name);
        deleted(w, kept);
    } else {
        if (kept->outcome != OUTCOME_DRAINING)
            say(w, "pool %s: draining, %llu claims are left", kept->name, (unsigned long long)answer->claims);
        job_later(w, kept, OUTCOME_DRAINING);
    }
}

static void delete_pool(struct watcher *w, struct kept *kept)
{
    Ipam__V1__DeletePoolRequest request = IPAM__V1__DELETE_POOL_REQUEST__INIT;
    request.name = kept->name;
    request.uid = kept->uid;
    RPC(w, kept, "DeletePool", delete_pool, &request, on_deleted);
}

void pool_begin(struct watcher *w, struct kept *kept)
{
    if (!kept->present || (kept->deleting && !kept->paused))
        delete_pool(w, kept);
    else if (!kept->finalizer && !kept->deleting)
        finalizer_change(w, kept);
    else if (kept->deleting)
        apply_unless_draining(w, kept);
    else
        apply(w, kept);
}
