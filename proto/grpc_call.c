#include "grpc_internal.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* What a closed call keeps for the next one, and how many such calls an endpoint keeps. */
#define KEEP_CALLS 256
#define KEEP_ARENA (16 * 1024)
#define KEEP_QUEUE (4 * 1024)

/* The call itself; its stream is counted with what nghttp2 holds. */
#define CALL_COST (sizeof(struct grpc_call) + 64)

/* ---- Life -------------------------------------------------------------------------------------------------------- */

static struct grpc_call *call_take_idle(struct grpc_endpoint *endpoint)
{
    struct grpc_call *call = endpoint->idle;
    if (call == NULL) {
        call = mem_zalloc(sizeof(*call));
        arena_init(&call->arena);
        call->arena.total = &endpoint->held;
        endpoint->held += CALL_COST;
        return call;
    }
    endpoint->idle = call->next;
    endpoint->n_idle--;
    return call;
}

struct grpc_call *call_new(struct grpc_endpoint *endpoint)
{
    struct grpc_call *call = call_take_idle(endpoint);
    call->endpoint = endpoint;
    call->max_message = endpoint->limits.max_message;
    call->headers.timeout = GRPC_NO_DEADLINE;
    call->headers.grpc_status = -1;
    call->previous = NULL;
    call->next = endpoint->calls;
    if (call->next != NULL) {
        call->next->previous = call;
    }
    endpoint->calls = call;
    endpoint->n_calls++;
    endpoint->n_started++;
    return call;
}

static void call_unlink(struct grpc_call *call)
{
    struct grpc_endpoint *endpoint = call->endpoint;
    if (call->previous != NULL) {
        call->previous->next = call->next;
    } else {
        endpoint->calls = call->next;
    }
    if (call->next != NULL) {
        call->next->previous = call->previous;
    }
    endpoint->n_calls--;
}

void call_free(struct grpc_endpoint *endpoint, struct grpc_call *call)
{
    endpoint->held -= CALL_COST + call->arena.held + call->out.size;
    arena_done(&call->arena);
    free(call->out.data);
    free(call);
}

/* Keeps the memory of an ordinary call, and that of a large one not. What is kept counts on. */
static void call_recycle(struct grpc_call *call)
{
    struct grpc_endpoint *endpoint = call->endpoint;
    if (endpoint->n_idle >= KEEP_CALLS || call->arena.held > KEEP_ARENA || call->out.size > KEEP_QUEUE) {
        call_free(endpoint, call);
        return;
    }
    struct arena arena = call->arena;
    struct grpc_bytes out = {.data = call->out.data, .size = call->out.size};
    endpoint->held -= arena.held;
    arena_reset(&arena);
    arena.total = &endpoint->held;
    endpoint->held += arena.held;
    memset(call, 0, sizeof(*call));
    call->arena = arena;
    call->out = out;
    call->next = endpoint->idle;
    endpoint->idle = call;
    endpoint->n_idle++;
}

void call_close(struct grpc_call *call)
{
    struct grpc_endpoint *endpoint = call->endpoint;
    call->is_ended = call->is_deaf = true;
    call_drop_queue(call);
    message_drop(call);
    if (call->is_known && endpoint->callbacks.on_close != NULL) {
        endpoint->callbacks.on_close(call, endpoint->user);
    }
    if (endpoint->header_call == call) {
        endpoint->header_call = NULL;
    }
    call_unlink(call);
    call_recycle(call);
}

void call_append_metadata(struct grpc_call *call, const char *name, size_t name_size, const char *value,
                          size_t value_size)
{
    if (call->n_metadata == call->metadata_room) {
        size_t room = call->metadata_room == 0 ? 8 : 2 * call->metadata_room;
        struct grpc_metadata *metadata = arena_alloc(&call->arena, room * sizeof(*metadata));
        if (call->n_metadata > 0) {
            memcpy(metadata, call->metadata, call->n_metadata * sizeof(*metadata));
        }
        call->metadata = metadata;
        call->metadata_room = room;
    }
    call->metadata[call->n_metadata++] = (struct grpc_metadata){
        .name = arena_memdup(&call->arena, name, name_size),
        .value = arena_memdup(&call->arena, value, value_size),
    };
}

/* ---- Sending ----------------------------------------------------------------------------------------------------- */

static size_t queue_length(const struct grpc_call *call)
{
    return call->out.end - call->out.begin;
}

void call_drop_queue(struct grpc_call *call)
{
    call->endpoint->queued -= queue_length(call);
    call->out.begin = call->out.end = 0;
}

static void queue_reserve(struct grpc_call *call, size_t size)
{
    struct grpc_bytes *queue = &call->out;
    if (queue->end + size <= queue->size) {
        return;
    }
    size_t length = queue->end - queue->begin;
    if (queue->begin > 0) {
        memmove(queue->data, queue->data + queue->begin, length);
        queue->begin = 0;
        queue->end = length;
    }
    if (length + size > queue->size) {
        size_t room = 2 * queue->size > length + size ? 2 * queue->size : length + size;
        room = room < 512 ? 512 : room;
        call->endpoint->held += room - queue->size;
        queue->size = room;
        queue->data = mem_realloc(queue->data, queue->size);
    }
}

static void queue_append(struct grpc_call *call, const uint8_t *message, size_t size)
{
    struct grpc_bytes *queue = &call->out;
    queue_reserve(call, GRPC_PREFIX_SIZE + size);
    uint8_t *to = queue->data + queue->end;
    to[0] = 0; /* not compressed */
    to[1] = (uint8_t)(size >> 24);
    to[2] = (uint8_t)(size >> 16);
    to[3] = (uint8_t)(size >> 8);
    to[4] = (uint8_t)size;
    if (size > 0) {
        memcpy(to + GRPC_PREFIX_SIZE, message, size);
    }
    queue->end += GRPC_PREFIX_SIZE + size;
    call->endpoint->queued += GRPC_PREFIX_SIZE + size;
}

static size_t queue_take(struct grpc_call *call, uint8_t *to, size_t room)
{
    struct grpc_bytes *queue = &call->out;
    size_t n = queue_length(call) < room ? queue_length(call) : room;
    if (n > 0) {
        memcpy(to, queue->data + queue->begin, n);
    }
    queue->begin += n;
    call->endpoint->queued -= n;
    call->endpoint->taken += n;
    if (queue->begin == queue->end) {
        queue->begin = queue->end = 0;
    }
    return n;
}

static void call_notify_writable(struct grpc_call *call)
{
    struct grpc_endpoint *endpoint = call->endpoint;
    if (call->is_awaited && queue_length(call) < GRPC_WRITABLE_BELOW) {
        call->is_awaited = false;
        if (endpoint->callbacks.on_writable != NULL && !call->is_ended) {
            endpoint->callbacks.on_writable(call, endpoint->user);
        }
    }
}

/* nghttp2 has room in a DATA frame of the call, which was not given up, for RST_STREAM goes before DATA. on_writable comes
 * before the decision whether this was all. */
static ssize_t call_read(nghttp2_session *session, int32_t stream_id, uint8_t *to, size_t room, uint32_t *flags,
                         nghttp2_data_source *source, void *user)
{
    struct grpc_call *call = source->ptr;
    (void)session;
    (void)stream_id;
    (void)user;
    size_t n = queue_take(call, to, room);
    call_notify_writable(call);
    if (queue_length(call) > 0 || !call->is_ended) {
        call->is_deferred = n == 0;
        return n > 0 ? (ssize_t)n : NGHTTP2_ERR_DEFERRED;
    }
    *flags |= NGHTTP2_DATA_FLAG_EOF;
    if (call->endpoint->is_server) {
        *flags |= NGHTTP2_DATA_FLAG_NO_END_STREAM;
        server_submit_trailers(call);
    }
    return (ssize_t)n;
}

nghttp2_data_provider call_data_provider(struct grpc_call *call)
{
    return (nghttp2_data_provider){.source = {.ptr = call}, .read_callback = call_read};
}

static void call_resume(struct grpc_call *call)
{
    if (call->is_deferred) {
        call->is_deferred = false;
        endpoint_check(call->endpoint, nghttp2_session_resume_data(call->endpoint->session, call->stream_id));
    }
}

void grpc_call_send(struct grpc_call *call, const uint8_t *message, size_t size, bool end)
{
    struct grpc_endpoint *endpoint = call->endpoint;
    if (call->is_ended) {
        return;
    }
    if (!endpoint->is_server && size > endpoint->limits.max_message) {
        call_fail(call, IPAM_REASON_MESSAGE_TOO_LARGE, "message of %zu bytes is larger than the limit of %u", size,
                  endpoint->limits.max_message);
        return;
    }
    queue_append(call, message, size);
    call->is_ended = end && !endpoint->is_server;
    if (endpoint->is_server && !call->is_started) {
        server_submit_headers(call);
    }
    call_resume(call);
}

bool grpc_call_writable(const struct grpc_call *call)
{
    bool is_writable = queue_length(call) < GRPC_WRITABLE_BELOW;
    if (!is_writable) {
        ((struct grpc_call *)call)->is_awaited = true; /* what was asked, not what the call is */
    }
    return is_writable;
}

/* ---- Ending ------------------------------------------------------------------------------------------------------ */

/* PROTOCOL-HTTP2: the trailers that call_read sends after the last message, or all there is. */
void grpc_call_finish(struct grpc_call *call, const struct grpc_status *status)
{
    static const char codes[][3] = {"0", "1",  "2",  "3",  "4",  "5",  "6",  "7", "8",
                                    "9", "10", "11", "12", "13", "14", "15", "16"};
    if (call->is_ended) {
        return;
    }
    const char *code =
        codes[(unsigned)status->code < sizeof(codes) / sizeof(codes[0]) ? status->code : IPAM_STATUS_UNKNOWN];
    size_t size;
    call->n_trailers = 0;
    call->trailers[call->n_trailers++] = nv_make("grpc-status", 11, code, strlen(code), 0);
    /* The texts differ from error to error, so they would only push useful headers out of HPACK's
     * table. */
    if (status->message != NULL && status->message[0] != '\0') {
        const char *text = text_percent_encode(&call->arena, status->message, &size);
        call->trailers[call->n_trailers++] = nv_make("grpc-message", 12, text, size, NGHTTP2_NV_FLAG_NO_INDEX);
    }
    if (status->details != NULL && status->details_size > 0) {
        const char *text = text_base64_encode(&call->arena, status->details, status->details_size, &size);
        call->trailers[call->n_trailers++] =
            nv_make("grpc-status-details-bin", 23, text, size, NGHTTP2_NV_FLAG_NO_INDEX);
    }
    call->is_ended = call->is_deaf = true;
    if (!call->is_started) {
        server_submit_trailers(call);
    }
    call_resume(call);
}

void grpc_call_finish_ok(struct grpc_call *call)
{
    grpc_call_finish(call, &(struct grpc_status){.code = IPAM_STATUS_OK});
}

void grpc_call_finish_error(struct grpc_call *call, const struct ipam_error *error)
{
    if (!call->is_ended) {
        struct grpc_status status = status_from_error(&call->arena, error);
        grpc_call_finish(call, &status);
    }
}

void call_reset_stream(struct grpc_call *call, uint32_t code)
{
    struct grpc_endpoint *endpoint = call->endpoint;
    endpoint_check(endpoint, nghttp2_submit_rst_stream(endpoint->session, NGHTTP2_FLAG_NONE, call->stream_id, code));
}

void call_fail(struct grpc_call *call, enum ipam_reason reason, const char *format, ...)
{
    struct ipam_error error = {0};
    char text[256];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    ipam_error_set(&error, reason, "%s", text);
    if (call->endpoint->is_server) {
        grpc_call_finish_error(call, &error);
    } else {
        client_give_up(call, &error);
    }
}

void grpc_call_cancel(struct grpc_call *call, bool deadline)
{
    struct ipam_error error = {0};
    if (!call->endpoint->is_server) {
        ipam_error_set(&error, deadline ? IPAM_REASON_DEADLINE_EXCEEDED : IPAM_REASON_CANCELLED, "%s",
                       deadline ? "deadline exceeded" : "cancelled");
        client_give_up(call, &error);
        return;
    }
    call->is_ended = call->is_deaf = true;
    call_drop_queue(call);
    call_reset_stream(call, NGHTTP2_CANCEL);
}

void grpc_call_limit_message(struct grpc_call *call, uint32_t max)
{
    if (max < call->max_message) {
        call->max_message = max;
    }
}

bool grpc_call_is_midway(const struct grpc_call *call)
{
    return !call->is_deaf && message_is_partial(call);
}

/* ---- What a call is ---------------------------------------------------------------------------------------------- */

const char *grpc_call_path(const struct grpc_call *call)
{
    return call->headers.path;
}

uint64_t grpc_call_timeout(const struct grpc_call *call)
{
    return call->headers.timeout;
}

const struct grpc_metadata *grpc_call_metadata(const struct grpc_call *call, size_t *ret_count)
{
    *ret_count = call->n_metadata;
    return call->metadata;
}

struct arena *grpc_call_arena(struct grpc_call *call)
{
    return &call->arena;
}

struct grpc_endpoint *grpc_call_endpoint(struct grpc_call *call)
{
    return call->endpoint;
}

void grpc_call_set_user(struct grpc_call *call, void *user)
{
    call->user = user;
}

void *grpc_call_user(const struct grpc_call *call)
{
    return call->user;
}
