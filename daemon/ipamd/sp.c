#include "sp.h"

#include <endian.h>
#include <string.h>

/* nanomsg's pubsub.h: NN_PUB is 32, NN_SUB is 33. */
const uint8_t sp_publisher_greeting[SP_GREETING_SIZE] = {0, 'S', 'P', 0, 0, 32, 0, 0};
static const uint8_t subscriber_greeting[SP_GREETING_SIZE] = {0, 'S', 'P', 0, 0, 33, 0, 0};

#define FRAME_MESSAGE 1 /* the only type there is: the message follows in the stream */

bool sp_subscriber_greets(const uint8_t *bytes, size_t size)
{
    return memcmp(bytes, subscriber_greeting, size) == 0;
}

void sp_put_frame_header(size_t message_size, uint8_t ret[SP_FRAME_HEADER])
{
    uint64_t size = htobe64(message_size);
    ret[0] = FRAME_MESSAGE;
    memcpy(ret + 1, &size, sizeof size);
}

size_t sp_frame_end(const uint8_t *frames, size_t offset)
{
    size_t at = 0;
    while (at < offset) {
        uint64_t size;
        memcpy(&size, frames + at + 1, sizeof size);
        at += SP_FRAME_HEADER + (size_t)be64toh(size);
    }
    return at;
}
