/* pending.h: calls under way, their lists and their deadlines.
 *
 * Used by channel.c. A pending is in one list at a time and, while its callback has not come, in the heap of deadlines
 * of its channel; it knows neither sockets nor the loop.
 */
#ifndef IPAM_CLIENT_PENDING_H
#define IPAM_CLIENT_PENDING_H

#include <stddef.h>
#include <stdint.h>

#include "channel.h"
#include "grpc.h"

#define NOT_IN_HEAP SIZE_MAX

struct pending_list;

struct ipam_pending {
    struct ipam_pending *next, *previous;
    struct pending_list *list;
    uint64_t deadline;      /* ms of the loop's clock */
    size_t heap_index;      /* NOT_IN_HEAP once it has no deadline any more */
    struct grpc_call *call; /* NULL while it waits for a connection */
    char *request;          /* while it waits: the packed request, and behind it the path */
    size_t request_size;
    const ProtobufCMessageDescriptor *reply_type;
    ProtobufCMessage *reply;
    const char *fault;        /* what is wrong with the reply that came in; NULL for nothing */
    enum ipam_reason failure; /* while it waits for its callback: CANCELLED or UNREACHABLE */
    ipam_reply_cb callback;   /* one of the two */
    channel_owned_reply_cb owned_callback;
    void *user;
};

struct pending_list {
    struct ipam_pending *first, *last;
};

void pending_append(struct pending_list *list, struct ipam_pending *pending);
void pending_remove(struct ipam_pending *pending); /* from its list, if it is in one */

/* A binary heap, earliest deadline first. Deadlines mostly come in order, so that adding costs a comparison. */
struct deadline_heap {
    struct ipam_pending **items;
    size_t n, room;
};

int deadline_add(struct deadline_heap *heap, struct ipam_pending *pending); /* -1: out of memory */
void deadline_remove(struct deadline_heap *heap, struct ipam_pending *pending);
struct ipam_pending *deadline_first(const struct deadline_heap *heap); /* NULL: none */

#endif
