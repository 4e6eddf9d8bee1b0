#include "grpc_internal.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- Requests ---------------------------------------------------------------------------------------------------- */

enum { REQUEST_PATH = 2, REQUEST_USER_AGENT = 6, REQUEST_TIMEOUT = 7 };

/* The user agent is copied: it outlives the caller's. Timeouts repeat from call to call, so HPACK
 * may index them. */
void client_init(struct grpc_endpoint *endpoint, const char *user_agent)
{
    static const nghttp2_nv template[GRPC_REQUEST_HEADERS] = {
        NV(":method", "POST"),         NV(":scheme", "http"),  NV(":path", ""),
        NV(":authority", "localhost"), NV("te", "trailers"),   NV("content-type", "application/grpc"),
        NV("user-agent", ""),          NV("grpc-timeout", ""),
    };
    memcpy(endpoint->request, template, sizeof(template));
    endpoint->request[REQUEST_USER_AGENT].value = (uint8_t *)mem_strdup(user_agent);
    endpoint->request[REQUEST_USER_AGENT].valuelen = strlen(user_agent);
}

void client_done(struct grpc_endpoint *endpoint)
{
    free(endpoint->request[REQUEST_USER_AGENT].value);
}

static bool client_takes_calls(struct grpc_endpoint *endpoint)
{
    nghttp2_session *session = endpoint->session;
    uint32_t peer_max = nghttp2_session_get_remote_settings(session, NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS);
    return !endpoint->is_failed && !endpoint->is_shut_down && endpoint->n_calls < peer_max &&
           endpoint->n_calls < endpoint->limits.max_streams && nghttp2_session_check_request_allowed(session);
}

/* Writes the headers to `to`, which has room for all; returns how many. What they point to is in
 * the call's arena. */
static size_t request_headers(struct grpc_call *call, const struct grpc_metadata *metadata, size_t n_metadata,
                              nghttp2_nv *to)
{
    size_t n = REQUEST_TIMEOUT;
    memcpy(to, call->endpoint->request, sizeof(call->endpoint->request));
    to[REQUEST_PATH].value = (uint8_t *)call->headers.path;
    to[REQUEST_PATH].valuelen = strlen(call->headers.path);
    if (call->headers.timeout != GRPC_NO_DEADLINE) {
        char *text = arena_alloc(&call->arena, GRPC_TIMEOUT_TEXT);
        to[n].valuelen = text_timeout_format(call->headers.timeout, text);
        to[n++].value = (uint8_t *)text;
    }
    for (size_t i = 0; i < n_metadata; i++) {
        const char *name = arena_strdup(&call->arena, metadata[i].name);
        const char *value = arena_strdup(&call->arena, metadata[i].value);
        to[n++] = nv_make(name, strlen(name), value, strlen(value), NGHTTP2_NV_FLAG_NONE);
    }
    return n;
}

struct grpc_call *grpc_call_start(struct grpc_endpoint *endpoint, const char *path, uint64_t timeout_ns,
                                  const struct grpc_metadata *metadata, size_t n_metadata, void *user)
{
    if (!client_takes_calls(endpoint)) {
        return NULL;
    }
    struct grpc_call *call = call_new(endpoint);
    nghttp2_nv few[GRPC_REQUEST_HEADERS + 8], *headers = few;
    if (n_metadata > 8) {
        headers = arena_alloc(&call->arena, (GRPC_REQUEST_HEADERS + n_metadata) * sizeof(*headers));
    }
    call->is_known = true;
    call->user = user;
    call->headers.path = arena_strdup(&call->arena, path);
    call->headers.timeout = timeout_ns;
    size_t n = request_headers(call, metadata, n_metadata, headers);
    nghttp2_data_provider provider = call_data_provider(call);
    call->stream_id = nghttp2_submit_request(endpoint->session, NULL, headers, n, &provider, call);
    endpoint_check(endpoint, call->stream_id < 0 ? call->stream_id : 0);
    return call;
}

/* ---- Answers ----------------------------------------------------------------------------------------------------- */

static int parse_code(const char *value, size_t size)
{
    int code = 0;
    for (size_t i = 0; i < size && i < 4; i++) {
        if (value[i] < '0' || value[i] > '9') {
            return -1;
        }
        code = code * 10 + (value[i] - '0');
    }
    return size > 0 && size < 4 ? code : -1;
}

static void take_http_status(struct grpc_call *call, const char *value, size_t size)
{
    call->headers.http_status = parse_code(value, size);
}

static void take_content_type(struct grpc_call *call, const char *value, size_t size)
{
    static const char type[] = "application/grpc";
    call->headers.is_grpc = size >= sizeof(type) - 1 && memcmp(value, type, sizeof(type) - 1) == 0;
}

/* A code that gRPC does not know is UNKNOWN (grpc.io, "Status codes"). */
static void take_grpc_status(struct grpc_call *call, const char *value, size_t size)
{
    int code = parse_code(value, size);
    call->headers.grpc_status = code >= 0 && code <= IPAM_STATUS_UNAUTHENTICATED ? code : IPAM_STATUS_UNKNOWN;
}

static void take_grpc_message(struct grpc_call *call, const char *value, size_t size)
{
    call->headers.grpc_message = text_percent_decode(&call->arena, value, size);
}

static void take_details(struct grpc_call *call, const char *value, size_t size)
{
    call->headers.details = text_base64_decode(&call->arena, value, size, &call->headers.details_size);
}

/* Other headers of an answer say nothing to us. */
#define RULE(name, take)             \
    {                                \
        name, sizeof(name) - 1, take \
    }
const struct grpc_header_rule client_header_rules[] = {
    RULE(":status", take_http_status),
    RULE("content-type", take_content_type),
    RULE("grpc-status", take_grpc_status),
    RULE("grpc-message", take_grpc_message),
    RULE("grpc-status-details-bin", take_details),
    {NULL, 0, NULL},
};
#undef RULE

/* What follows wrong headers is some other protocol's body. 1xx headers are followed by others. */
void client_response(struct grpc_call *call)
{
    const struct grpc_headers *headers = &call->headers;
    if (headers->bytes > call->endpoint->limits.max_header_list) {
        call_fail(call, IPAM_REASON_LIMIT_EXCEEDED, "the answer's headers are larger than the limit of %u bytes",
                  call->endpoint->limits.max_header_list);
    } else if (headers->http_status >= 200) {
        call->is_deaf |= headers->http_status != 200 || !headers->is_grpc;
    }
}

/* The server needs nothing more from us: what we still had to say is dropped. */
void client_end(struct grpc_call *call)
{
    call->is_answered = true;
    if (!nghttp2_session_get_stream_local_close(call->endpoint->session, call->stream_id)) {
        call->is_ended = true;
        call_drop_queue(call);
        call_reset_stream(call, NGHTTP2_NO_ERROR);
    }
}

/* ---- The status -------------------------------------------------------------------------------------------------- */

void client_give_up(struct grpc_call *call, const struct ipam_error *error)
{
    if (call->is_given_up || call->is_answered) {
        return;
    }
    call->is_given_up = call->is_ended = call->is_deaf = true;
    call->local = (struct grpc_status){
        .code = error->status,
        .reason = error->reason,
        .message = arena_strdup(&call->arena, error->message),
    };
    call_drop_queue(call);
    call_reset_stream(call, NGHTTP2_CANCEL);
}

static struct grpc_status status_of_reason(enum ipam_reason reason, const char *message)
{
    return (struct grpc_status){.code = ipam_reason_status(reason), .reason = reason, .message = message};
}

/* grpc.io, "HTTP to gRPC status code mapping". */
static struct grpc_status status_of_http(struct grpc_call *call)
{
    static const struct {
        int http;
        enum ipam_status status;
    } rows[] = {
        {400, IPAM_STATUS_INTERNAL},      {401, IPAM_STATUS_UNAUTHENTICATED}, {403, IPAM_STATUS_PERMISSION_DENIED},
        {404, IPAM_STATUS_UNIMPLEMENTED}, {429, IPAM_STATUS_UNAVAILABLE},     {502, IPAM_STATUS_UNAVAILABLE},
        {503, IPAM_STATUS_UNAVAILABLE},   {504, IPAM_STATUS_UNAVAILABLE},
    };
    struct grpc_status status = {.code = IPAM_STATUS_UNKNOWN};
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        if (rows[i].http == call->headers.http_status) {
            status.code = rows[i].status;
        }
    }
    status.message =
        arena_printf(&call->arena, "the peer answered HTTP status %d without a gRPC status", call->headers.http_status);
    return status;
}

/* PROTOCOL-HTTP2, "Errors". A refused stream was not looked at: calling again is safe. */
static struct grpc_status status_of_reset(struct grpc_call *call, uint32_t h2_code)
{
    static const struct {
        uint32_t h2;
        enum ipam_status status;
        enum ipam_reason reason;
    } rows[] = {
        {NGHTTP2_REFUSED_STREAM, IPAM_STATUS_UNAVAILABLE, IPAM_REASON_UNREACHABLE},
        {NGHTTP2_CANCEL, IPAM_STATUS_CANCELLED, IPAM_REASON_CANCELLED},
        {NGHTTP2_ENHANCE_YOUR_CALM, IPAM_STATUS_RESOURCE_EXHAUSTED, IPAM_REASON_NONE},
        {NGHTTP2_INADEQUATE_SECURITY, IPAM_STATUS_PERMISSION_DENIED, IPAM_REASON_NONE},
        {NGHTTP2_STREAM_CLOSED, IPAM_STATUS_UNKNOWN, IPAM_REASON_NONE},
        {NGHTTP2_HTTP_1_1_REQUIRED, IPAM_STATUS_UNKNOWN, IPAM_REASON_NONE},
    };
    struct grpc_status status = {.code = IPAM_STATUS_INTERNAL, .reason = IPAM_REASON_PROTOCOL_ERROR};
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        if (rows[i].h2 == h2_code) {
            status.code = rows[i].status;
            status.reason = rows[i].reason;
        }
    }
    status.message = arena_printf(&call->arena, "the peer reset the call: %s", nghttp2_http2_strerror(h2_code));
    return status;
}

static struct grpc_status status_of_answer(struct grpc_call *call)
{
    const struct grpc_headers *headers = &call->headers;
    if (headers->grpc_status < 0) {
        return status_of_http(call);
    }
    if (headers->grpc_status == IPAM_STATUS_OK && message_is_partial(call)) {
        return status_of_reason(IPAM_REASON_PROTOCOL_ERROR, "the answer ends within a message");
    }
    return (struct grpc_status){
        .code = (enum ipam_status)headers->grpc_status,
        .message = headers->grpc_message != NULL ? headers->grpc_message : "",
        .details = headers->details,
        .details_size = headers->details != NULL ? headers->details_size : 0,
    };
}

void client_close(struct grpc_call *call, uint32_t h2_code, bool is_lost)
{
    struct grpc_endpoint *endpoint = call->endpoint;
    struct grpc_status status;
    if (call->is_given_up) {
        status = call->local;
    } else if (call->is_answered) {
        status = status_of_answer(call);
    } else if (is_lost) {
        status = status_of_reason(IPAM_REASON_UNREACHABLE, "the connection was lost");
    } else {
        status = status_of_reset(call, h2_code);
    }
    if (endpoint->callbacks.on_status != NULL) {
        endpoint->callbacks.on_status(call, &status, endpoint->user);
    }
}
