#include "grpc_internal.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Frames are gathered while fewer than OUT_ENOUGH bytes wait; nghttp2 gives at most FRAME_MAX at a
 * time. */
#define OUT_ENOUGH (64 * 1024)
#define FRAME_MAX  (16 * 1024 + 128)
#define OUT_SIZE   (OUT_ENOUGH + FRAME_MAX)
#define OUT_FIRST  2048 /* bytes of room, and then as many as there were to send at once */

/* Windows that don't hold up a local socket. What they let in is not kept: messages go up as they
 * come, and those that are not whole yet are bounded in grpc_message.c. */
#define STREAM_WINDOW     (1024 * 1024)
#define CONNECTION_WINDOW (16 * 1024 * 1024)

/* What a frame that nghttp2 holds for us counts as: it and its bookkeeping. */
#define FRAME_COST 128

/* Frames that a client answers one of data with: WINDOW_UPDATE for stream and connection, a PING that measures. */
#define SENT_CREDIT 4

/* ---- Failures ---------------------------------------------------------------------------------------------------- */

void endpoint_fail(struct grpc_endpoint *endpoint, const char *format, ...)
{
    va_list args;
    if (endpoint->is_failed) {
        return;
    }
    endpoint->is_failed = true;
    va_start(args, format);
    vsnprintf(endpoint->failure, sizeof(endpoint->failure), format, args);
    va_end(args);
}

void endpoint_check(struct grpc_endpoint *endpoint, int nghttp2_code)
{
    if (nghttp2_code != 0) {
        endpoint_fail(endpoint, "HTTP/2: %s", nghttp2_strerror(nghttp2_code));
    }
}

static int endpoint_error(const struct grpc_endpoint *endpoint, struct ipam_error *reterr)
{
    return ipam_error_set(reterr, IPAM_REASON_PROTOCOL_ERROR, "%s", endpoint->failure);
}

/* ---- What nghttp2 tells ------------------------------------------------------------------------------------------ */

static struct grpc_call *find_call(struct grpc_endpoint *endpoint, int32_t stream_id)
{
    return nghttp2_session_get_stream_user_data(endpoint->session, stream_id);
}

static void begin_request(struct grpc_endpoint *endpoint, int32_t stream_id)
{
    if (endpoint->is_shut_down) { /* GOAWAY, which is still on its way, says that it was not looked at */
        endpoint_check(endpoint, nghttp2_submit_rst_stream(endpoint->session, NGHTTP2_FLAG_NONE, stream_id,
                                                           NGHTTP2_REFUSED_STREAM));
        return;
    }
    struct grpc_call *call = call_new(endpoint);
    call->stream_id = stream_id;
    call->headers.path = "";
    nghttp2_session_set_stream_user_data(endpoint->session, stream_id, call);
}

static int on_begin_headers(nghttp2_session *session, const nghttp2_frame *frame, void *user)
{
    struct grpc_endpoint *endpoint = user;
    (void)session;
    if (endpoint->is_server && frame->headers.cat == NGHTTP2_HCAT_REQUEST) {
        begin_request(endpoint, frame->hd.stream_id);
    }
    /* Frames of a header block come one after another (RFC 9113 section 6.2), so one variable
     * holds whose it is. */
    endpoint->header_call = find_call(endpoint, frame->hd.stream_id);
    return 0;
}

static int on_header(nghttp2_session *session, const nghttp2_frame *frame, const uint8_t *name, size_t name_size,
                     const uint8_t *value, size_t value_size, uint8_t flags, void *user)
{
    struct grpc_endpoint *endpoint = user;
    struct grpc_call *call = endpoint->header_call;
    (void)session;
    (void)frame;
    (void)flags;
    if (call == NULL) {
        return 0;
    }
    call->headers.bytes += name_size + value_size + 32;
    if (call->headers.bytes > endpoint->limits.max_header_list) {
        return 0;
    }
    for (const struct grpc_header_rule *rule = endpoint->header_rules; rule->name != NULL; rule++) {
        if (rule->length == name_size && memcmp(rule->name, name, name_size) == 0) {
            rule->take(call, (const char *)value, value_size);
            return 0;
        }
    }
    if (endpoint->is_server) {
        call_append_metadata(call, (const char *)name, name_size, (const char *)value, value_size);
    }
    return 0;
}

static int on_data(nghttp2_session *session, uint8_t flags, int32_t stream_id, const uint8_t *data, size_t size,
                   void *user)
{
    struct grpc_call *call = find_call(user, stream_id);
    (void)session;
    (void)flags;
    if (call != NULL) {
        message_receive(call, data, size);
    }
    return 0;
}

static void headers_received(struct grpc_endpoint *endpoint, struct grpc_call *call, const nghttp2_frame *frame)
{
    if (!endpoint->is_server) {
        client_response(call);
    } else if (frame->headers.cat == NGHTTP2_HCAT_REQUEST) {
        server_request(call);
    }
}

static int on_frame_received(nghttp2_session *session, const nghttp2_frame *frame, void *user)
{
    struct grpc_endpoint *endpoint = user;
    (void)session;
    if (frame->hd.type == NGHTTP2_SETTINGS && (frame->hd.flags & NGHTTP2_FLAG_ACK) == 0) {
        endpoint->is_ready = true;
    }
    if (frame->hd.type != NGHTTP2_HEADERS && frame->hd.type != NGHTTP2_DATA) {
        return 0;
    }
    if (frame->hd.type == NGHTTP2_HEADERS) {
        endpoint->header_call = NULL;
    }
    struct grpc_call *call = find_call(endpoint, frame->hd.stream_id);
    if (call != NULL && frame->hd.type == NGHTTP2_HEADERS) {
        headers_received(endpoint, call, frame);
    }
    if (call != NULL && (frame->hd.flags & NGHTTP2_FLAG_END_STREAM) != 0) {
        (endpoint->is_server ? server_end : client_end)(call);
    }
    return 0;
}

/* nghttp2 answers a broken peer with GOAWAY, and a request that got its answer while it was still
 * being sent is cut short with NO_ERROR (RFC 9113 section 8.1). */
static int on_frame_sent(nghttp2_session *session, const nghttp2_frame *frame, void *user)
{
    struct grpc_endpoint *endpoint = user;
    if (frame->hd.type == NGHTTP2_GOAWAY && frame->goaway.error_code != NGHTTP2_NO_ERROR) {
        endpoint_fail(endpoint, "HTTP/2: %s (%.*s)", nghttp2_http2_strerror(frame->goaway.error_code),
                      (int)frame->goaway.opaque_data_len, (const char *)frame->goaway.opaque_data);
    }
    if (frame->hd.type == NGHTTP2_DATA) {
        filter_earn(&endpoint->filter, SENT_CREDIT);
    }
    if (endpoint->is_server && frame->hd.type == NGHTTP2_HEADERS && (frame->hd.flags & NGHTTP2_FLAG_END_STREAM) != 0 &&
        nghttp2_session_get_stream_remote_close(session, frame->hd.stream_id) == 0) {
        endpoint_check(endpoint,
                       nghttp2_submit_rst_stream(session, NGHTTP2_FLAG_NONE, frame->hd.stream_id, NGHTTP2_NO_ERROR));
    }
    return 0;
}

static int on_stream_close(nghttp2_session *session, int32_t stream_id, uint32_t code, void *user)
{
    struct grpc_endpoint *endpoint = user;
    struct grpc_call *call = find_call(endpoint, stream_id);
    if (call == NULL) {
        return 0;
    }
    nghttp2_session_set_stream_user_data(session, stream_id, NULL);
    if (!endpoint->is_server) {
        client_close(call, code, false);
    }
    call_close(call);
    return 0;
}

/* ---- Making an endpoint ------------------------------------------------------------------------------------------ */

static nghttp2_session_callbacks *make_callbacks(void)
{
    nghttp2_session_callbacks *callbacks;
    if (nghttp2_session_callbacks_new(&callbacks) != 0) {
        return NULL;
    }
    nghttp2_session_callbacks_set_on_begin_headers_callback(callbacks, on_begin_headers);
    nghttp2_session_callbacks_set_on_header_callback(callbacks, on_header);
    nghttp2_session_callbacks_set_on_data_chunk_recv_callback(callbacks, on_data);
    nghttp2_session_callbacks_set_on_frame_recv_callback(callbacks, on_frame_received);
    nghttp2_session_callbacks_set_on_frame_send_callback(callbacks, on_frame_sent);
    nghttp2_session_callbacks_set_on_stream_close_callback(callbacks, on_stream_close);
    return callbacks;
}

/* Many deadlines that pass at once are no attack: as many resets at once as ten times the calls. */
static nghttp2_option *make_options(const struct grpc_limits *limits)
{
    nghttp2_option *options;
    if (nghttp2_option_new(&options) != 0) {
        return NULL;
    }
    nghttp2_option_set_no_closed_streams(options, 1);
    nghttp2_option_set_stream_reset_rate_limit(options, 10 * (uint64_t)limits->max_streams + 1000,
                                               limits->max_streams + 100);
    return options;
}

static int submit_settings(struct grpc_endpoint *endpoint)
{
    const nghttp2_settings_entry settings[] = {
        {NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, STREAM_WINDOW},
        {NGHTTP2_SETTINGS_MAX_HEADER_LIST_SIZE, endpoint->limits.max_header_list},
        {NGHTTP2_SETTINGS_NO_RFC7540_PRIORITIES, 1}, /* nobody's calls go before others' */
        {NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS, endpoint->is_server ? endpoint->limits.max_streams : 0},
        {NGHTTP2_SETTINGS_ENABLE_PUSH, 0}, /* for clients only to say */
    };
    size_t n = sizeof(settings) / sizeof(settings[0]) - (endpoint->is_server ? 1 : 0);
    int code = nghttp2_submit_settings(endpoint->session, NGHTTP2_FLAG_NONE, settings, n);
    return code != 0
               ? code
               : nghttp2_session_set_local_window_size(endpoint->session, NGHTTP2_FLAG_NONE, 0, CONNECTION_WINDOW);
}

/* nghttp2 fails here only when memory ran out; like every allocation of the endpoint that ends the
 * process. */
static void start_session(struct grpc_endpoint *endpoint)
{
    nghttp2_session_callbacks *callbacks = make_callbacks();
    nghttp2_option *options = make_options(&endpoint->limits);
    nghttp2_mem memory = memory_functions(&endpoint->memory); /* nghttp2 copies it */
    int (*new_session)(nghttp2_session **, const nghttp2_session_callbacks *, void *, const nghttp2_option *,
                       nghttp2_mem *) = endpoint->is_server ? nghttp2_session_server_new3 : nghttp2_session_client_new3;
    if (callbacks == NULL || options == NULL ||
        new_session(&endpoint->session, callbacks, endpoint, options, &memory) != 0 || submit_settings(endpoint) != 0) {
        fprintf(stderr, "out of memory: can't start an HTTP/2 session\n");
        abort();
    }
    nghttp2_option_del(options);
    nghttp2_session_callbacks_del(callbacks);
}

static struct grpc_endpoint *endpoint_new(const struct grpc_limits *limits, const struct grpc_callbacks *callbacks,
                                          bool is_server, void *user)
{
    struct grpc_endpoint *endpoint = mem_zalloc(sizeof(*endpoint));
    endpoint->limits = *limits;
    endpoint->callbacks = *callbacks;
    endpoint->is_server = is_server;
    endpoint->user = user;
    endpoint->header_rules = is_server ? server_header_rules : client_header_rules;
    filter_init(&endpoint->filter);
    start_session(endpoint);
    endpoint->base = endpoint->memory.held;
    return endpoint;
}

struct grpc_endpoint *grpc_server_new(const struct grpc_limits *limits, const struct grpc_callbacks *callbacks,
                                      void *user)
{
    return endpoint_new(limits, callbacks, true, user);
}

struct grpc_endpoint *grpc_client_new(const struct grpc_limits *limits, const struct grpc_callbacks *callbacks,
                                      const char *user_agent, void *user)
{
    struct grpc_endpoint *endpoint = endpoint_new(limits, callbacks, false, user);
    client_init(endpoint, user_agent);
    return endpoint;
}

void grpc_endpoint_trim(struct grpc_endpoint *endpoint)
{
    memory_done(&endpoint->memory);
    for (struct grpc_call *call = endpoint->idle, *next; call != NULL; call = next) {
        next = call->next;
        call_free(endpoint, call);
    }
    endpoint->idle = NULL;
    endpoint->n_idle = 0;
    if (endpoint->out_begin == endpoint->out_end) {
        free(endpoint->out);
        endpoint->out = NULL;
        endpoint->out_size = 0;
    }
}

/* The session goes last: a callback may still call grpc_call_ functions on calls that are open. */
struct grpc_endpoint *grpc_endpoint_free(struct grpc_endpoint *endpoint)
{
    if (endpoint == NULL) {
        return NULL;
    }
    endpoint->is_shut_down = true;
    while (endpoint->calls != NULL) {
        struct grpc_call *call = endpoint->calls;
        nghttp2_session_set_stream_user_data(endpoint->session, call->stream_id, NULL);
        if (!endpoint->is_server) {
            client_close(call, NGHTTP2_NO_ERROR, true);
        }
        call_close(call);
    }
    nghttp2_session_del(endpoint->session);
    grpc_endpoint_trim(endpoint);
    client_done(endpoint);
    free(endpoint->out);
    free(endpoint);
    return NULL;
}

/* ---- Bytes ------------------------------------------------------------------------------------------------------- */

size_t grpc_endpoint_unread(const struct grpc_endpoint *endpoint)
{
    return endpoint->queued + endpoint->out_end - endpoint->out_begin +
           FRAME_COST * nghttp2_session_get_outbound_queue_size(endpoint->session);
}

/* Room for another frame; false: it has no place in what is ever sent at once. */
static bool out_reserve(struct grpc_endpoint *endpoint, size_t size)
{
    size_t wanted = endpoint->out_end + size, room = endpoint->out_size > 0 ? endpoint->out_size : OUT_FIRST;
    if (wanted <= endpoint->out_size) {
        return true;
    }
    while (room < wanted) {
        room *= 2;
    }
    room = room < OUT_SIZE ? room : OUT_SIZE;
    if (wanted > room) {
        return false;
    }
    endpoint->out = mem_realloc(endpoint->out, room);
    endpoint->out_size = room;
    return true;
}

/* Moves frames to `out` while there is room. */
static void endpoint_gather(struct grpc_endpoint *endpoint)
{
    while (endpoint->out_end < OUT_ENOUGH) {
        const uint8_t *data;
        ssize_t size = nghttp2_session_mem_send(endpoint->session, &data);
        if (size < 0) {
            endpoint_check(endpoint, (int)size);
        }
        if (size <= 0) {
            return;
        }
        if (!out_reserve(endpoint, (size_t)size)) { /* a bug, here or in nghttp2 */
            endpoint_fail(endpoint, "HTTP/2: frame of %zd bytes", size);
            return;
        }
        memcpy(endpoint->out + endpoint->out_end, data, (size_t)size);
        endpoint->out_end += (size_t)size;
    }
}

static void endpoint_check_unread(struct grpc_endpoint *endpoint)
{
    if (grpc_endpoint_unread(endpoint) > endpoint->limits.max_unread) {
        endpoint_fail(endpoint, "the peer has left more than %zu bytes unread", endpoint->limits.max_unread);
    }
}

static void session_take(struct grpc_endpoint *endpoint, const uint8_t *data, size_t size)
{
    ssize_t n = nghttp2_session_mem_recv(endpoint->session, data, size);
    endpoint_check(endpoint, n < 0 ? (int)n : 0);
}

/* nghttp2 limits SETTINGS entries, resets, continuations and acknowledgements that wait; what costs nothing but time, such
 * as PING or PRIORITY frames from a peer that reads the answers, it takes for ever. */
static void endpoint_calm(struct grpc_endpoint *endpoint)
{
    static const char why[] = "too many frames that carry neither a request nor data";
    if (endpoint->filter.credit >= 0) {
        return;
    }
    endpoint->is_calmed = true;
    endpoint_check(endpoint, nghttp2_submit_goaway(endpoint->session, NGHTTP2_FLAG_NONE,
                                                   nghttp2_session_get_last_proc_stream_id(endpoint->session),
                                                   NGHTTP2_ENHANCE_YOUR_CALM, (const uint8_t *)why, sizeof(why) - 1));
}

static void endpoint_take(struct grpc_endpoint *endpoint, const uint8_t *data, size_t size)
{
    const uint8_t *piece;
    size_t piece_size;
    if (!endpoint->is_server) {
        session_take(endpoint, data, size);
        return;
    }
    while (!endpoint->is_failed && !endpoint->is_calmed &&
           filter_next(&endpoint->filter, &data, &size, &piece, &piece_size)) {
        session_take(endpoint, piece, piece_size);
        endpoint_calm(endpoint);
    }
}

/* Gathers at once what there is to say, so that nghttp2's GOAWAY to a broken peer shows here. */
int grpc_endpoint_receive(struct grpc_endpoint *endpoint, const uint8_t *data, size_t size, struct ipam_error *reterr)
{
    if (!endpoint->is_failed) {
        endpoint_take(endpoint, data, size);
        endpoint_gather(endpoint);
        endpoint_check_unread(endpoint);
    }
    return endpoint->is_failed ? endpoint_error(endpoint, reterr) : 0;
}

/* A failed endpoint still gives what it had gathered: the GOAWAY that says why. */
int grpc_endpoint_output(struct grpc_endpoint *endpoint, const uint8_t **ret, size_t *ret_size,
                         struct ipam_error *reterr)
{
    if (!endpoint->is_failed) {
        endpoint_check_unread(endpoint);
    }
    if (!endpoint->is_failed) {
        endpoint_gather(endpoint);
    }
    if (endpoint->is_failed && endpoint->out_begin == endpoint->out_end) {
        return endpoint_error(endpoint, reterr);
    }
    *ret = endpoint->out + endpoint->out_begin;
    *ret_size = endpoint->out_end - endpoint->out_begin;
    return 0;
}

void grpc_endpoint_sent(struct grpc_endpoint *endpoint, size_t size)
{
    endpoint->out_begin += size;
    if (endpoint->out_begin == endpoint->out_end) {
        endpoint->out_begin = endpoint->out_end = 0;
    }
}

/* ---- The connection ---------------------------------------------------------------------------------------------- */

void grpc_endpoint_shutdown(struct grpc_endpoint *endpoint)
{
    if (endpoint->is_shut_down) {
        return;
    }
    endpoint->is_shut_down = true;
    int32_t last = nghttp2_session_get_last_proc_stream_id(endpoint->session);
    endpoint_check(endpoint,
                   nghttp2_submit_goaway(endpoint->session, NGHTTP2_FLAG_NONE, last, NGHTTP2_NO_ERROR, NULL, 0));
}

/* A client that can start no further call, as after GOAWAY or 2^30 calls, is done with its last
 * one. */
bool grpc_endpoint_done(const struct grpc_endpoint *endpoint)
{
    nghttp2_session *session = endpoint->session;
    if (endpoint->out_begin < endpoint->out_end) {
        return false;
    }
    if (endpoint->is_failed || (!nghttp2_session_want_read(session) && !nghttp2_session_want_write(session))) {
        return true;
    }
    return !endpoint->is_server && endpoint->n_calls == 0 && !nghttp2_session_want_write(session) &&
           (endpoint->is_shut_down || !nghttp2_session_check_request_allowed(session));
}

size_t grpc_endpoint_calls(const struct grpc_endpoint *endpoint)
{
    return endpoint->n_calls;
}

size_t grpc_endpoint_held(const struct grpc_endpoint *endpoint)
{
    size_t session = endpoint->memory.held > endpoint->base ? endpoint->memory.held - endpoint->base : 0;
    return session + endpoint->out_size + endpoint->partial + endpoint->held;
}

struct grpc_progress grpc_endpoint_progress(const struct grpc_endpoint *endpoint)
{
    return (struct grpc_progress){
        .receiving = filter_is_midway(&endpoint->filter) || endpoint->header_call != NULL,
        .sending = endpoint->queued > 0,
        .received = endpoint->filter.frames,
        .taken = endpoint->taken,
        .calls = endpoint->n_started,
    };
}

void grpc_endpoint_earn(struct grpc_endpoint *endpoint, uint32_t frames)
{
    if (!endpoint->is_calmed) {
        filter_earn(&endpoint->filter, frames);
    }
}

bool grpc_endpoint_ready(const struct grpc_endpoint *endpoint)
{
    return endpoint->is_ready;
}

void *grpc_endpoint_user(struct grpc_endpoint *endpoint)
{
    return endpoint->user;
}
