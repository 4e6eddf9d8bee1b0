/* sp.h: the bytes of nanomsg's ipc transport, as a publisher needs them (SP over IPC, the RFCs of nanomsg).
 *
 * Called by the publisher. Bytes in, bytes out: it must not know sockets or what is published. Not nanomsg's own library,
 * because that one ends the process when a peer sends a publisher anything after its greeting (see docs/architecture.md).
 *
 * Both sides greet with 8 bytes: NUL "SP" version 0, the protocol's number in 16 bits, 16 bits of 0. Then come messages, from
 * the publisher only: a byte 1, the length in 64 bits, the message; numbers are big-endian.
 */
#ifndef IPAMD_SP_H
#define IPAMD_SP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define SP_GREETING_SIZE 8
#define SP_FRAME_HEADER  9 /* bytes before each message */

extern const uint8_t sp_publisher_greeting[SP_GREETING_SIZE];

/* Are the first `size` bytes, at most SP_GREETING_SIZE, those of a subscriber's greeting? */
bool sp_subscriber_greets(const uint8_t *bytes, size_t size);

void sp_put_frame_header(size_t message_size, uint8_t ret[SP_FRAME_HEADER]);

/* Where the frame ends in which byte `offset` of `frames` lies; `frames` are whole frames and longer than `offset`. Gives
 * `offset` itself where a frame begins. */
size_t sp_frame_end(const uint8_t *frames, size_t offset);

#endif
