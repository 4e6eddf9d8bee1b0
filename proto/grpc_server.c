#include "grpc_internal.h"

#include <string.h>

#define PATH_MAX_SIZE 512

/* ---- Request headers --------------------------------------------------------------------------------------------- */

static bool text_is(const char *text, size_t size, const char *expected)
{
    return size == strlen(expected) && memcmp(text, expected, size) == 0;
}

static void take_method(struct grpc_call *call, const char *value, size_t size)
{
    call->headers.is_post = text_is(value, size, "POST");
}

/* "/" Service-Name "/" {method name} */
static void take_path(struct grpc_call *call, const char *value, size_t size)
{
    const char *slash = size > 0 ? memchr(value + 1, '/', size - 1) : NULL;
    const char *end = value + size;
    call->headers.has_bad_path = size > PATH_MAX_SIZE || value[0] != '/' || slash == NULL || slash == value + 1 ||
                                 slash + 1 == end || memchr(slash + 1, '/', (size_t)(end - slash - 1)) != NULL;
    call->headers.path = arena_memdup(&call->arena, value, size < PATH_MAX_SIZE ? size : PATH_MAX_SIZE);
}

/* "application/grpc" [("+proto" / "+json" / {custom})], and parameters after a semicolon. Protobuf
 * is what we have. */
static void take_content_type(struct grpc_call *call, const char *value, size_t size)
{
    const char *parameters = memchr(value, ';', size);
    size_t type = parameters != NULL ? (size_t)(parameters - value) : size;
    while (type > 0 && value[type - 1] == ' ') {
        type--;
    }
    call->headers.is_grpc_proto = text_is(value, type, "application/grpc+proto");
    call->headers.is_grpc = call->headers.is_grpc_proto || text_is(value, type, "application/grpc");
}

static void take_encoding(struct grpc_call *call, const char *value, size_t size)
{
    call->headers.is_encoded = !text_is(value, size, "identity");
}

static void take_timeout(struct grpc_call *call, const char *value, size_t size)
{
    call->headers.has_bad_timeout = text_timeout_parse(value, size, &call->headers.timeout) < 0;
}

static void take_nothing(struct grpc_call *call, const char *value, size_t size)
{
    (void)call;
    (void)value;
    (void)size;
}

/* Other headers are the request's metadata. */
#define RULE(name, take)             \
    {                                \
        name, sizeof(name) - 1, take \
    }
const struct grpc_header_rule server_header_rules[] = {
    RULE(":method", take_method),
    RULE(":scheme", take_nothing),
    RULE(":path", take_path),
    RULE(":authority", take_nothing),
    RULE("content-type", take_content_type),
    RULE("te", take_nothing),
    RULE("grpc-encoding", take_encoding),
    RULE("grpc-accept-encoding", take_nothing),
    RULE("grpc-timeout", take_timeout),
    {NULL, 0, NULL},
};
#undef RULE

/* ---- Requests that are wrong ------------------------------------------------------------------------------------- */

static bool is_not_post(const struct grpc_call *call)
{
    return !call->headers.is_post;
}

static bool is_not_grpc(const struct grpc_call *call)
{
    return !call->headers.is_grpc;
}

static bool is_too_long(const struct grpc_call *call)
{
    return call->headers.bytes > call->endpoint->limits.max_header_list;
}

static bool has_bad_path(const struct grpc_call *call)
{
    return call->headers.has_bad_path;
}

static bool is_encoded(const struct grpc_call *call)
{
    return call->headers.is_encoded;
}

static bool has_bad_timeout(const struct grpc_call *call)
{
    return call->headers.has_bad_timeout;
}

static const nghttp2_nv header_accept_encoding = NV("grpc-accept-encoding", "identity");

/* The first row that applies is the answer. Status codes as in PROTOCOL-HTTP2 and in grpc-go's
 * server. */
static const struct request_check {
    bool (*is_wrong)(const struct grpc_call *call);
    nghttp2_nv status;
    const nghttp2_nv *extra;
    enum ipam_reason reason;
    const char *message;
} request_checks[] = {
    {is_not_post, NV(":status", "405"), NULL, IPAM_REASON_PROTOCOL_ERROR, "gRPC requests use the method POST"},
    {is_not_grpc, NV(":status", "415"), NULL, IPAM_REASON_PROTOCOL_ERROR,
     "gRPC requests have the content-type application/grpc"},
    {is_too_long, NV(":status", "200"), NULL, IPAM_REASON_LIMIT_EXCEEDED, "request headers are larger than the limit"},
    {has_bad_path, NV(":status", "200"), NULL, IPAM_REASON_UNKNOWN_METHOD,
     "path is not a method: write it as /package.Service/Method"},
    {is_encoded, NV(":status", "200"), &header_accept_encoding, IPAM_REASON_COMPRESSED_MESSAGE,
     "grpc-encoding is not supported: send with identity"},
    {has_bad_timeout, NV(":status", "200"), NULL, IPAM_REASON_PROTOCOL_ERROR,
     "grpc-timeout is malformed: write 1 to 8 digits and one of H, M, S, m, u, n"},
};

static const struct request_check *request_find_fault(const struct grpc_call *call)
{
    for (size_t i = 0; i < sizeof(request_checks) / sizeof(request_checks[0]); i++) {
        if (request_checks[i].is_wrong(call)) {
            return &request_checks[i];
        }
    }
    return NULL;
}

void server_request(struct grpc_call *call)
{
    struct grpc_endpoint *endpoint = call->endpoint;
    call->refusal = request_find_fault(call);
    if (call->refusal != NULL) {
        call_fail(call, call->refusal->reason, "%s", call->refusal->message);
        return;
    }
    call->is_known = true;
    if (endpoint->callbacks.on_request != NULL) {
        endpoint->callbacks.on_request(call, endpoint->user);
    }
}

void server_end(struct grpc_call *call)
{
    struct grpc_endpoint *endpoint = call->endpoint;
    if (message_is_partial(call) && !call->is_deaf) {
        call_fail(call, IPAM_REASON_PROTOCOL_ERROR, "the request ends within a message");
    }
    if (!call->is_deaf && endpoint->callbacks.on_end != NULL) {
        endpoint->callbacks.on_end(call, endpoint->user);
    }
}

/* ---- Answers ----------------------------------------------------------------------------------------------------- */

static const nghttp2_nv header_ok = NV(":status", "200");
static const nghttp2_nv header_grpc = NV("content-type", "application/grpc");
static const nghttp2_nv header_grpc_proto = NV("content-type", "application/grpc+proto");

static size_t response_headers(const struct grpc_call *call, nghttp2_nv headers[3])
{
    size_t n = 0;
    headers[n++] = call->refusal != NULL ? call->refusal->status : header_ok;
    headers[n++] = call->headers.is_grpc_proto ? header_grpc_proto : header_grpc;
    if (call->refusal != NULL && call->refusal->extra != NULL) {
        headers[n++] = *call->refusal->extra;
    }
    return n;
}

void server_submit_headers(struct grpc_call *call)
{
    struct grpc_endpoint *endpoint = call->endpoint;
    nghttp2_nv headers[3];
    size_t n = response_headers(call, headers);
    nghttp2_data_provider provider = call_data_provider(call);
    call->is_started = true;
    endpoint_check(endpoint, nghttp2_submit_response(endpoint->session, call->stream_id, headers, n, &provider));
}

/* After headers and messages, or, when there were none, all in one HEADERS frame (Trailers-Only).
 */
void server_submit_trailers(struct grpc_call *call)
{
    struct grpc_endpoint *endpoint = call->endpoint;
    if (call->is_started) {
        endpoint_check(endpoint,
                       nghttp2_submit_trailer(endpoint->session, call->stream_id, call->trailers, call->n_trailers));
        return;
    }
    nghttp2_nv headers[3 + sizeof(call->trailers) / sizeof(call->trailers[0])];
    size_t n = response_headers(call, headers);
    memcpy(headers + n, call->trailers, call->n_trailers * sizeof(headers[0]));
    call->is_started = true;
    endpoint_check(endpoint,
                   nghttp2_submit_response(endpoint->session, call->stream_id, headers, n + call->n_trailers, NULL));
}
