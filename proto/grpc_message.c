#include "grpc_internal.h"

#include <stdlib.h>
#include <string.h>

/* All messages of a connection that are still coming in may hold this many times max_message. */
#define PARTIAL_MESSAGES 4
#define FIRST_ROOM       4096

static uint32_t prefix_length(const uint8_t prefix[GRPC_PREFIX_SIZE])
{
    return (uint32_t)prefix[1] << 24 | (uint32_t)prefix[2] << 16 | (uint32_t)prefix[3] << 8 | prefix[4];
}

static void too_large(struct grpc_call *call)
{
    bool is_own = call->max_message < call->endpoint->limits.max_message;
    call_fail(call, IPAM_REASON_MESSAGE_TOO_LARGE, "message of %u bytes is larger than the limit of %u%s%s",
              call->message_size, call->max_message, is_own ? " for " : "", is_own ? call->headers.path : "");
}

/* Looks at a complete prefix before a byte of its message is kept. */
static void prefix_check(struct grpc_call *call)
{
    call->message_size = prefix_length(call->prefix);
    if (call->prefix[0] == 1) {
        call_fail(call, IPAM_REASON_COMPRESSED_MESSAGE, "message is compressed: send it with grpc-encoding identity");
    } else if (call->prefix[0] != 0) {
        call_fail(call, IPAM_REASON_PROTOCOL_ERROR, "message begins with byte %u where 0 or 1 is due", call->prefix[0]);
    } else if (call->message_size > call->max_message) {
        too_large(call);
    }
}

static size_t prefix_take(struct grpc_call *call, const uint8_t *data, size_t size)
{
    size_t missing = GRPC_PREFIX_SIZE - call->prefix_size;
    size_t n = size < missing ? size : missing;
    memcpy(call->prefix + call->prefix_size, data, n);
    call->prefix_size += n;
    if (call->prefix_size == GRPC_PREFIX_SIZE) {
        prefix_check(call);
    }
    return n;
}

void message_drop(struct grpc_call *call)
{
    call->endpoint->partial -= call->in.size;
    free(call->in.data);
    call->in = (struct grpc_bytes){0};
}

static void message_deliver(struct grpc_call *call, const uint8_t *message)
{
    struct grpc_endpoint *endpoint = call->endpoint;
    call->prefix_size = 0;
    if (endpoint->callbacks.on_message != NULL) {
        endpoint->callbacks.on_message(call, message, call->message_size, endpoint->user);
    }
}

/* Room grows with what has come, not with what the prefix promises. */
static bool message_reserve(struct grpc_call *call, size_t size)
{
    struct grpc_endpoint *endpoint = call->endpoint;
    struct grpc_bytes *in = &call->in;
    if (in->end + size <= in->size) {
        return true;
    }
    size_t room = in->size == 0 ? FIRST_ROOM : 2 * in->size;
    room = room < in->end + size ? in->end + size : room;
    room = room > call->message_size ? call->message_size : room;
    size_t limit = PARTIAL_MESSAGES * (size_t)endpoint->limits.max_message;
    if (endpoint->partial - in->size + room > limit) {
        call_fail(call, IPAM_REASON_LIMIT_EXCEEDED, "messages that are still coming in hold more than %zu bytes",
                  limit);
        return false;
    }
    in->data = mem_realloc(in->data, room);
    endpoint->partial += room - in->size;
    in->size = room;
    return true;
}

static size_t message_take(struct grpc_call *call, const uint8_t *data, size_t size)
{
    size_t missing = call->message_size - call->in.end;
    size_t n = size < missing ? size : missing;
    if (!message_reserve(call, n)) {
        return size;
    }
    memcpy(call->in.data + call->in.end, data, n);
    call->in.end += n;
    if (call->in.end == call->message_size) {
        message_deliver(call, call->in.data);
        message_drop(call);
    }
    return n;
}

void message_receive(struct grpc_call *call, const uint8_t *data, size_t size)
{
    while (size > 0 && !call->is_deaf) {
        size_t taken;
        if (call->prefix_size < GRPC_PREFIX_SIZE) {
            taken = prefix_take(call, data, size);
            if (call->prefix_size == GRPC_PREFIX_SIZE && call->message_size == 0 && !call->is_deaf) {
                message_deliver(call, data);
            }
        } else if (call->in.end == 0 && size >= call->message_size) {
            taken = call->message_size;
            message_deliver(call, data);
        } else {
            taken = message_take(call, data, size);
        }
        data += taken;
        size -= taken;
    }
}

bool message_is_partial(const struct grpc_call *call)
{
    return call->prefix_size > 0;
}
