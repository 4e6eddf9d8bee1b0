/* grpc.health.v1.Health: "" (the process) serves as long as it answers; "ipam.v1.IPAM" serves while
 * it can also write. */
#include <string.h>

#include "rpc.h"

#include "grpc/health/v1/health.pb-c.h"

#define REQUEST_MAX 1024 /* the name of a service */

typedef Grpc__Health__V1__HealthCheckResponse Response;
typedef Grpc__Health__V1__HealthCheckResponse__ServingStatus Status;

#define SERVING         GRPC__HEALTH__V1__HEALTH_CHECK_RESPONSE__SERVING_STATUS__SERVING
#define NOT_SERVING     GRPC__HEALTH__V1__HEALTH_CHECK_RESPONSE__SERVING_STATUS__NOT_SERVING
#define SERVICE_UNKNOWN GRPC__HEALTH__V1__HEALTH_CHECK_RESPONSE__SERVING_STATUS__SERVICE_UNKNOWN

/* What a watcher was told last, and of which service. */
struct watch {
    const char *service;
    Status told;
};

static Status status_of(struct rpc_call *call, const char *service)
{
    if (strcmp(service, "") == 0 || strcmp(service, health_service.name) == 0)
        return SERVING;
    if (strcmp(service, ipam_service.name) != 0)
        return SERVICE_UNKNOWN;
    return rpc_pipeline(call)->state == PIPELINE_SERVING ? SERVING : NOT_SERVING;
}

static void handle_check(struct rpc_call *call, const ProtobufCMessage *request)
{
    const char *service = ((const Grpc__Health__V1__HealthCheckRequest *)request)->service;
    Response response = GRPC__HEALTH__V1__HEALTH_CHECK_RESPONSE__INIT;
    response.status = status_of(call, service);
    if (response.status != SERVICE_UNKNOWN) {
        rpc_reply_now(call, &response.base);
        return;
    }
    struct ipam_error error;
    ipam_error_set(&error, IPAM_REASON_INVALID_REQUEST, "unknown service: \"%s\" is not served here", service);
    error.status = IPAM_STATUS_NOT_FOUND; /* as health.proto demands */
    rpc_fail_now(call, &error);
}

static void watch_tell(struct rpc_call *call)
{
    struct watch *watch = rpc_user(call);
    if (!watch)
        return;
    Response response = GRPC__HEALTH__V1__HEALTH_CHECK_RESPONSE__INIT;
    response.status = status_of(call, watch->service);
    if (response.status == watch->told)
        return;
    watch->told = response.status;
    rpc_send(call, &response.base);
}

static void handle_watch(struct rpc_call *call, const ProtobufCMessage *request)
{
    struct watch *watch = rpc_user(call);
    if (watch) {
        struct ipam_error error;
        ipam_error_set(&error, IPAM_REASON_MALFORMED_MESSAGE,
                       "malformed request: Watch takes one message, not several");
        rpc_fail_now(call, &error);
        return;
    }
    watch = arena_zalloc(rpc_arena(call), sizeof *watch);
    watch->service = arena_strdup(rpc_arena(call), ((const Grpc__Health__V1__HealthCheckRequest *)request)->service);
    rpc_set_user(call, watch);
    watch_tell(call);
}

enum { METHOD_CHECK, METHOD_WATCH };

static const struct rpc_method methods[] = {
    [METHOD_CHECK] = {"Check", &grpc__health__v1__health_check_request__descriptor,
                      &grpc__health__v1__health_check_response__descriptor, RPC_ROLE_NONE, RPC_ALWAYS, handle_check,
                      NULL, NULL, REQUEST_MAX},
    [METHOD_WATCH] = {"Watch", &grpc__health__v1__health_check_request__descriptor,
                      &grpc__health__v1__health_check_response__descriptor, RPC_ROLE_NONE, RPC_ALWAYS | RPC_STREAM,
                      handle_watch, NULL, NULL, REQUEST_MAX},
};

const struct rpc_service health_service = {"grpc.health.v1.Health", methods, sizeof methods / sizeof *methods};

void health_changed(struct rpc_server *server)
{
    rpc_server_visit(server, &methods[METHOD_WATCH], watch_tell);
}
