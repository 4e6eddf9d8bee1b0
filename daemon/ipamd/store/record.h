/* record.h: a change and its parts as protobuf messages (proto/ipam.proto), and back.
 *
 * Called by the store for what it writes, and by the RPC handlers for what they answer, so that
 * both say the same. It knows the wire format and nothing of SQLite or sockets. Messages that it
 * makes borrow the strings of what they were made from.
 */
#ifndef IPAMD_STORE_RECORD_H
#define IPAMD_STORE_RECORD_H

#include "engine.h"
#include "ipam.pb-c.h"

/* The canonical record: see Change in proto/ipam.proto. The bytes live in `arena`. A pool that was never accepted has the
 * rejected spec as its only one, here and in record_pool_message; with state REJECTED it is read back as it was. */
uint8_t *record_encode(const struct change *change, struct arena *arena, size_t *ret_size);
/* The hash as the field that follows its record in a serialised Change; returns the end. */
#define RECORD_HASH_FIELD_SIZE 34
uint8_t *record_put_hash(const uint8_t hash[32], uint8_t *ret);
/* -1: STORE_DAMAGED. What *ret points at lives in `arena`. */
int record_decode(const uint8_t *record, size_t size, struct arena *arena, struct change *ret,
                  struct ipam_error *reterr);

Ipam__V1__Claim *record_claim_message(const struct claim_view *claim, struct arena *arena);
Ipam__V1__Pool *record_pool_message(const struct pool_view *pool, struct arena *arena);
Google__Protobuf__Timestamp *record_timestamp(struct wall_time time, struct arena *arena); /* NULL for no time */

/* An allocator for protobuf-c that takes from `arena` and never frees. */
ProtobufCAllocator record_allocator(struct arena *arena);

#endif
