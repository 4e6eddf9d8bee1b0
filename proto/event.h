/* event.h: messages of the bus: topic, a NUL, and what the topic says the rest is.
 *
 * The bus of ipamd makes them, libipam's subscriber reads them; docs/protocol.md is the contract. Bytes in, bytes out: it must
 * not know what carries them, and a message that is not as it should be is an error and nothing else.
 */
#ifndef IPAM_PROTO_EVENT_H
#define IPAM_PROTO_EVENT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <ipam/error.h>
#include <ipam/ipam.pb-c.h>

enum event_kind {
    EVENT_TICK,  /* "tick", a Tick */
    EVENT_CLAIM, /* "claim/KIND/NAME", a Change */
    EVENT_POOL,  /* "pool/NAME", a Change */
    EVENT_LOST,  /* "lost/", a Change: changes were lost; it has no name */
};

/* A message taken apart; borrowed from it. */
struct event {
    enum event_kind kind;
    const char *topic;
    const uint8_t *body;
    size_t body_size;
};

#define EVENT_TICK_MAX 32 /* bytes that hold any tick */

/* Writes topic and NUL to `ret`, which has room for event_topic_size(…) bytes, and returns the end. */
size_t event_topic_size(enum event_kind kind, const char *owner_kind, const char *name);
uint8_t *event_put_topic(enum event_kind kind, const char *owner_kind, const char *name, uint8_t *ret);

/* A whole tick; returns its size. */
size_t event_put_tick(uint64_t revision, uint32_t interval_ms, uint8_t ret[EVENT_TICK_MAX]);

/* -1: MALFORMED_MESSAGE: no NUL, or a topic of no kind. */
int event_parse(const uint8_t *message, size_t size, struct event *ret, struct ipam_error *reterr);

/* The body of an EVENT_TICK. -1: MALFORMED_MESSAGE. */
int event_read_tick(const struct event *event, uint64_t *ret_revision, uint32_t *ret_interval_ms,
                    struct ipam_error *reterr);

/* The body of another event, made by `allocator` (NULL: malloc) and to be freed with it. -1: MALFORMED_MESSAGE: it is no
 * Change, or one without revision, or one that belongs under another topic. */
int event_read_change(const struct event *event, ProtobufCAllocator *allocator, Ipam__V1__Change **ret,
                      struct ipam_error *reterr);

#endif
