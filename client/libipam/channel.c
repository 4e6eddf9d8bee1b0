#include "channel.h"

#include <stdlib.h>
#include <string.h>

#include "connection.h"
#include "pending.h"

struct ipam_channel {
    struct ipam_options options;
    char *socket, *user_agent; /* what the options point to */
    struct connection connection;
    uv_idle_t turn;       /* active when something is to be done by the loop */
    uv_timer_t deadlines; /* one for all calls */
    uint64_t timer_at;    /* what `deadlines` is set to, while it is active */
    struct deadline_heap heap;
    struct pending_list waiting; /* for a connection that takes them */
    struct pending_list started;
    struct pending_list failed; /* their callbacks are due */
    struct ipam_pending *spare;
    uint8_t *scratch; /* requests are packed here */
    size_t scratch_size;
    bool is_closing;
    unsigned int n_closing; /* parts that are not closed yet */
    void (*closed)(void *user);
    void *closed_user;
};

static void on_turn(uv_idle_t *idle);

/* uv_idle_t: runs before the loop polls next, however far this turn has got. */
static void channel_wake(void *user)
{
    struct ipam_channel *channel = user;
    if (!channel->is_closing) {
        uv_idle_start(&channel->turn, on_turn);
    }
}

static uint64_t now_ms(void)
{
    return uv_hrtime() / 1000000;
}

/* ---- Pending calls --------------------------------------------------------------------------------------------- */

static struct ipam_pending *pending_new(struct ipam_channel *channel)
{
    struct ipam_pending *pending = channel->spare;
    if (pending == NULL) {
        pending = malloc(sizeof(*pending));
    } else {
        channel->spare = pending->next;
    }
    if (pending != NULL) {
        *pending = (struct ipam_pending){.heap_index = NOT_IN_HEAP};
    }
    return pending;
}

static void pending_recycle(struct ipam_channel *channel, struct ipam_pending *pending)
{
    deadline_remove(&channel->heap, pending);
    pending_remove(pending);
    free(pending->request);
    pending->next = channel->spare;
    channel->spare = pending;
}

/* The one place from which callbacks come. The pending is spare before its callback makes the next call. */
static void pending_finish(struct ipam_channel *channel, struct ipam_pending *pending, const struct ipam_error *error)
{
    struct ipam_pending done = *pending;
    ProtobufCMessage *reply = error == NULL ? done.reply : NULL;
    if (pending->call != NULL) {
        grpc_call_set_user(pending->call, NULL);
    }
    if (done.owned_callback != NULL && error != NULL && done.reply != NULL) {
        ipam_reply_free(done.reply);
    }
    pending_recycle(channel, pending);
    if (done.owned_callback != NULL) {
        done.owned_callback(reply, error, done.user);
    } else if (done.callback != NULL) {
        done.callback(reply, error, done.user);
    }
}

/* Its callback comes with the next turn of the loop. */
static void pending_fail_later(struct ipam_channel *channel, struct ipam_pending *pending, enum ipam_reason reason)
{
    deadline_remove(&channel->heap, pending);
    pending_remove(pending);
    pending->failure = reason;
    pending_append(&channel->failed, pending);
    channel_wake(channel);
}

/* ---- What the endpoint tells ----------------------------------------------------------------------------------- */

static void *allocate_in_arena(void *arena, size_t size)
{
    return arena_alloc(arena, size);
}

static void leave_in_arena(void *arena, void *data)
{
    (void)arena;
    (void)data;
}

static void on_message(struct grpc_call *call, const uint8_t *message, size_t size, void *user)
{
    struct ipam_pending *pending = grpc_call_user(call);
    ProtobufCAllocator in_arena = {allocate_in_arena, leave_in_arena, grpc_call_arena(call)};
    (void)user;
    if (pending == NULL) {
        return;
    }
    if (pending->reply != NULL) {
        pending->fault = "is followed by another one";
        return;
    }
    pending->reply = protobuf_c_message_unpack(pending->reply_type, pending->owned_callback != NULL ? NULL : &in_arena,
                                               size, message);
    if (pending->reply == NULL) {
        pending->fault = "can't be decoded";
    }
}

/* A deadline is looked at on both sides, and the other one's clock may be ahead. */
static bool is_late(const struct ipam_pending *pending, const struct grpc_status *status)
{
    return status->code == IPAM_STATUS_CANCELLED && now_ms() >= pending->deadline;
}

static void status_to_error(const struct ipam_channel *channel, const struct ipam_pending *pending,
                            const struct grpc_status *status, struct ipam_error *ret)
{
    if (is_late(pending, status)) {
        ipam_error_set(ret, IPAM_REASON_DEADLINE_EXCEEDED, "the deadline passed before ipamd answered");
    } else if (channel->is_closing) {
        ipam_error_set(ret, IPAM_REASON_CANCELLED, "the channel was closed");
    } else if (status->reason == IPAM_REASON_UNREACHABLE && channel->connection.endpoint == NULL) {
        *ret = channel->connection.why;
    } else {
        grpc_status_error(status, ret);
    }
}

static void on_status(struct grpc_call *call, const struct grpc_status *status, void *user)
{
    struct ipam_channel *channel = user;
    struct ipam_pending *pending = grpc_call_user(call);
    struct ipam_error error; /* large: filled only where there is one */
    if (pending == NULL) {
        return;
    }
    if (status->code != IPAM_STATUS_OK) {
        status_to_error(channel, pending, status, &error);
        pending_finish(channel, pending, &error);
    } else if (pending->reply == NULL || pending->fault != NULL) {
        ipam_error_set(&error, IPAM_REASON_PROTOCOL_ERROR, "the reply of %s %s: %s is due", grpc_call_path(call),
                       pending->fault != NULL ? pending->fault : "is missing", pending->reply_type->name);
        pending_finish(channel, pending, &error);
    } else {
        pending_finish(channel, pending, NULL);
    }
}

/* ---- Deadlines ------------------------------------------------------------------------------------------------- */

static void pending_expire(struct ipam_channel *channel, struct ipam_pending *pending)
{
    struct ipam_error error = {0};
    if (pending->call != NULL) {
        ipam_error_set(&error, IPAM_REASON_DEADLINE_EXCEEDED, "the deadline passed before ipamd answered");
        grpc_call_set_user(pending->call, NULL);
        grpc_call_cancel(pending->call, true);
        pending->call = NULL;
        channel_wake(channel);
    } else if (channel->connection.why.message[0] != '\0') {
        ipam_error_set(&error, IPAM_REASON_DEADLINE_EXCEEDED, "the deadline passed before there was a connection: %s",
                       channel->connection.why.message);
    } else {
        ipam_error_set(&error, IPAM_REASON_DEADLINE_EXCEEDED, "the deadline passed before ipamd at %s took the call",
                       channel->socket);
    }
    pending_finish(channel, pending, &error);
}

static void on_deadlines(uv_timer_t *timer);

/* A timer that is set too early costs one idle wake-up; setting it anew for every call would cost more. */
static void deadlines_watch(struct ipam_channel *channel)
{
    const struct ipam_pending *first = deadline_first(&channel->heap);
    uint64_t now = uv_now(channel->connection.loop);
    if (first == NULL || channel->is_closing ||
        (uv_is_active((uv_handle_t *)&channel->deadlines) && channel->timer_at <= first->deadline)) {
        return;
    }
    channel->timer_at = first->deadline;
    uv_timer_start(&channel->deadlines, on_deadlines, first->deadline > now ? first->deadline - now : 0, 0);
}

static void on_deadlines(uv_timer_t *timer)
{
    struct ipam_channel *channel = timer->data;
    uint64_t now = uv_now(channel->connection.loop);
    struct ipam_pending *pending = deadline_first(&channel->heap);
    while (pending != NULL && pending->deadline <= now && !channel->is_closing) {
        pending_expire(channel, pending);
        pending = deadline_first(&channel->heap);
    }
    deadlines_watch(channel);
}

/* ---- Calls ----------------------------------------------------------------------------------------------------- */

static bool pending_start(struct ipam_channel *channel, struct ipam_pending *pending, const char *path,
                          const uint8_t *request, size_t size)
{
    uint64_t now = now_ms();
    uint64_t left = pending->deadline > now ? pending->deadline - now : 0;
    if (!connection_ready(&channel->connection)) {
        return false;
    }
    pending->call = grpc_call_start(channel->connection.endpoint, path, left * 1000000, NULL, 0, pending);
    if (pending->call == NULL) {
        return false;
    }
    grpc_call_send(pending->call, request, size, true);
    pending_remove(pending);
    pending_append(&channel->started, pending);
    return true;
}

static int pending_wait(struct ipam_channel *channel, struct ipam_pending *pending, const char *path,
                        const uint8_t *request, size_t size)
{
    size_t path_size = strlen(path) + 1;
    pending->request = malloc(size + path_size);
    if (pending->request == NULL) {
        return -1;
    }
    memcpy(pending->request, request, size);
    memcpy(pending->request + size, path, path_size);
    pending->request_size = size;
    pending_append(&channel->waiting, pending);
    return 0;
}

static void start_waiting(struct ipam_channel *channel)
{
    struct ipam_pending *pending;
    while ((pending = channel->waiting.first) != NULL) {
        const char *path = pending->request + pending->request_size;
        if (!pending_start(channel, pending, path, (const uint8_t *)pending->request, pending->request_size)) {
            return;
        }
        free(pending->request);
        pending->request = NULL;
    }
}

static int pack_request(struct ipam_channel *channel, const ProtobufCMessage *request, size_t *ret_size)
{
    size_t size = protobuf_c_message_get_packed_size(request);
    if (size >= channel->scratch_size) {
        size_t room = 2 * size + 256;
        uint8_t *scratch = realloc(channel->scratch, room);
        if (scratch == NULL) {
            return -1;
        }
        channel->scratch = scratch;
        channel->scratch_size = room;
    }
    *ret_size = protobuf_c_message_pack(request, channel->scratch);
    return 0;
}

/* Starts at once when there is a connection and nobody waits before it; else it waits, or fails with the next turn. */
static int pending_submit(struct ipam_channel *channel, struct ipam_pending *pending, const char *path, size_t size)
{
    if (channel->connection.is_unreachable && channel->connection.state == CONNECTION_BACKOFF &&
        !channel->options.wait_for_ready) {
        pending_fail_later(channel, pending, IPAM_REASON_UNREACHABLE);
        return 0;
    }
    if (deadline_add(&channel->heap, pending) < 0) {
        return -1;
    }
    if (channel->waiting.first == NULL && pending_start(channel, pending, path, channel->scratch, size)) {
        return 0;
    }
    return pending_wait(channel, pending, path, channel->scratch, size);
}

static struct ipam_pending *channel_call(struct ipam_channel *channel, const char *path,
                                         const ProtobufCMessage *request, uint32_t timeout_ms,
                                         const struct ipam_pending *template, struct ipam_error *reterr)
{
    size_t size;
    if (channel->is_closing) {
        ipam_error_set(reterr, IPAM_REASON_CANCELLED, "the channel is being closed");
        return NULL;
    }
    struct ipam_pending *pending = pending_new(channel);
    if (pending == NULL) {
        ipam_error_set(reterr, IPAM_REASON_OUT_OF_MEMORY, "no memory for a call of %s", path);
        return NULL;
    }
    *pending = *template;
    pending->heap_index = NOT_IN_HEAP;
    pending->deadline = now_ms() + (timeout_ms != 0 ? timeout_ms : channel->options.timeout_ms);
    if (pack_request(channel, request, &size) < 0 || pending_submit(channel, pending, path, size) < 0) {
        pending_recycle(channel, pending);
        ipam_error_set(reterr, IPAM_REASON_OUT_OF_MEMORY, "no memory for a call of %s", path);
        return NULL;
    }
    deadlines_watch(channel);
    channel_wake(channel);
    return pending;
}

struct ipam_pending *ipam_channel_call(struct ipam_channel *channel, const char *path, const ProtobufCMessage *request,
                                       const ProtobufCMessageDescriptor *reply_type, uint32_t timeout_ms,
                                       ipam_reply_cb callback, void *user, struct ipam_error *reterr)
{
    struct ipam_pending template = {.reply_type = reply_type, .callback = callback, .user = user};
    return channel_call(channel, path, request, timeout_ms, &template, reterr);
}

struct ipam_pending *channel_call_owned(struct ipam_channel *channel, const char *path, const ProtobufCMessage *request,
                                        const ProtobufCMessageDescriptor *reply_type, uint32_t timeout_ms,
                                        channel_owned_reply_cb callback, void *user, struct ipam_error *reterr)
{
    struct ipam_pending template = {.reply_type = reply_type, .owned_callback = callback, .user = user};
    return channel_call(channel, path, request, timeout_ms, &template, reterr);
}

void ipam_channel_cancel(struct ipam_channel *channel, struct ipam_pending *pending)
{
    if (pending->call != NULL) {
        grpc_call_set_user(pending->call, NULL);
        grpc_call_cancel(pending->call, false);
        pending->call = NULL;
    }
    pending_fail_later(channel, pending, IPAM_REASON_CANCELLED);
}

/* ---- The loop's turn ------------------------------------------------------------------------------------------- */

static void fail_all(struct ipam_channel *channel, struct pending_list *list, enum ipam_reason reason)
{
    while (list->first != NULL) {
        pending_fail_later(channel, list->first, reason);
    }
}

static void on_unreachable(void *user)
{
    struct ipam_channel *channel = user;
    if (!channel->options.wait_for_ready) {
        fail_all(channel, &channel->waiting, IPAM_REASON_UNREACHABLE);
    }
}

/* Calls that fail while their callbacks come have theirs with the next turn. */
static void deliver_failed(struct ipam_channel *channel)
{
    struct ipam_pending *last = channel->failed.last, *pending = NULL;
    while (last != NULL && pending != last && channel->failed.first != NULL) {
        struct ipam_error error = {0};
        pending = channel->failed.first;
        if (pending->failure == IPAM_REASON_UNREACHABLE) {
            error = channel->connection.why;
        } else {
            ipam_error_set(&error, pending->failure, channel->is_closing ? "the channel was closed" : "cancelled");
        }
        pending_finish(channel, pending, &error);
    }
}

static void on_turn(uv_idle_t *idle)
{
    struct ipam_channel *channel = idle->data;
    uv_idle_stop(idle);
    deliver_failed(channel);
    start_waiting(channel);
    connection_turn(&channel->connection);
}

/* ---- Life ------------------------------------------------------------------------------------------------------ */

static void channel_free(struct ipam_channel *channel)
{
    for (struct ipam_pending *pending = channel->spare, *next; pending != NULL; pending = next) {
        next = pending->next;
        free(pending);
    }
    free(channel->heap.items);
    free(channel->scratch);
    free(channel->socket);
    free(channel->user_agent);
    free(channel);
}

/* The connection ended the calls that had started. */
static void part_closed(struct ipam_channel *channel)
{
    if (--channel->n_closing > 0) {
        return;
    }
    fail_all(channel, &channel->waiting, IPAM_REASON_CANCELLED);
    deliver_failed(channel);
    void (*closed)(void *user) = channel->closed;
    void *user = channel->closed_user;
    channel_free(channel);
    if (closed != NULL) {
        closed(user);
    }
}

static void on_connection_closed(void *user)
{
    part_closed(user);
}

static void on_handle_closed(uv_handle_t *handle)
{
    part_closed(handle->data);
}

int ipam_channel_new(uv_loop_t *loop, const struct ipam_options *options, struct ipam_channel **ret,
                     struct ipam_error *reterr)
{
    static const struct connection_callbacks callbacks = {channel_wake, on_unreachable, on_connection_closed};
    static const struct grpc_callbacks grpc_callbacks = {.on_message = on_message, .on_status = on_status};
    struct ipam_options resolved;
    if (options_resolve(options, &resolved, reterr) < 0) {
        return -1;
    }
    struct ipam_channel *channel = calloc(1, sizeof(*channel));
    if (channel == NULL || (channel->socket = strdup(resolved.socket)) == NULL ||
        (channel->user_agent = strdup(resolved.user_agent)) == NULL) {
        if (channel != NULL) {
            channel_free(channel);
        }
        return ipam_error_set(reterr, IPAM_REASON_OUT_OF_MEMORY, "no memory for a channel");
    }
    channel->options = resolved;
    channel->options.socket = channel->socket;
    channel->options.user_agent = channel->user_agent;
    connection_init(&channel->connection, loop, &channel->options, &callbacks, &grpc_callbacks, channel);
    uv_idle_init(loop, &channel->turn);
    uv_timer_init(loop, &channel->deadlines);
    channel->turn.data = channel->deadlines.data = channel;
    channel_wake(channel);
    *ret = channel;
    return 0;
}

void ipam_channel_close(struct ipam_channel *channel, void (*closed)(void *user), void *user)
{
    if (channel->is_closing) {
        return;
    }
    channel->is_closing = true;
    channel->closed = closed;
    channel->closed_user = user;
    channel->n_closing = 3;
    connection_close(&channel->connection);
    uv_close((uv_handle_t *)&channel->turn, on_handle_closed);
    uv_close((uv_handle_t *)&channel->deadlines, on_handle_closed);
}

bool ipam_channel_connected(const struct ipam_channel *channel)
{
    return connection_ready(&channel->connection);
}

void channel_connect_now(struct ipam_channel *channel)
{
    connection_retry_now(&channel->connection);
}
