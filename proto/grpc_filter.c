#include "grpc_filter.h"

#include <string.h>

#define PREFACE_SIZE     24 /* RFC 9113 section 3.4 */
#define FRAME_DATA       0
#define FRAME_HEADERS    1
#define FLAG_END_STREAM  1
#define FRAME_RST_STREAM 3
#define RST_STREAM_SIZE  4
#define REQUEST_CREDIT   8 /* frames that go with a request or with data: WINDOW_UPDATE, PING, RST_STREAM */
#define STREAM_MASK      0x7fffffffu
#define IS_OF_CLIENT(id) ((id) % 2 == 1)

void filter_init(struct grpc_filter *filter)
{
    *filter = (struct grpc_filter){.pass = PREFACE_SIZE, .credit = FILTER_CREDIT_MAX};
}

bool filter_is_midway(const struct grpc_filter *filter)
{
    return filter->pass > 0 || filter->drop > 0 || filter->head_size > 0;
}

void filter_earn(struct grpc_filter *filter, uint32_t frames)
{
    uint32_t room = (uint32_t)(FILTER_CREDIT_MAX - filter->credit);
    filter->credit += (int32_t)(frames < room ? frames : room);
}

static void frame_count(struct grpc_filter *filter, const uint8_t head[GRPC_FRAME_HEAD], uint32_t size)
{
    bool is_data = head[3] == FRAME_DATA && (size > 0 || head[4] & FLAG_END_STREAM);
    filter->frames++;
    if (head[3] == FRAME_HEADERS || is_data)
        filter_earn(filter, REQUEST_CREDIT);
    else if (filter->credit >= 0)
        filter->credit--;
}

static size_t smaller(size_t a, size_t b)
{
    return a < b ? a : b;
}

static uint32_t number(const uint8_t *bytes, size_t size)
{
    uint32_t value = 0;
    for (size_t i = 0; i < size; i++) {
        value = value << 8 | bytes[i];
    }
    return value;
}

/* Sets what becomes of the bytes behind the head; true when the frame goes through. */
static bool frame_passes(struct grpc_filter *filter, const uint8_t head[GRPC_FRAME_HEAD])
{
    uint32_t size = number(head, 3), stream = number(head + 5, 4) & STREAM_MASK;
    frame_count(filter, head, size);
    bool is_new = IS_OF_CLIENT(stream) && stream > filter->last_stream;
    if (is_new && head[3] == FRAME_RST_STREAM && size == RST_STREAM_SIZE) {
        filter->drop = size;
        return false;
    }
    if (is_new && head[3] == FRAME_HEADERS) {
        filter->last_stream = stream;
    }
    filter->pass = size;
    return true;
}

/* Whole heads, where they stand, and what is behind them: returns how many bytes go through. Ends at a frame that does
 * not, at a head that is cut, or with the data. */
static size_t passing(struct grpc_filter *filter, const uint8_t *data, size_t size)
{
    size_t at = 0;
    for (;;) {
        size_t more = smaller(filter->pass, size - at);
        filter->pass -= more;
        at += more;
        if (filter->pass > 0 || size - at < GRPC_FRAME_HEAD || !frame_passes(filter, data + at)) {
            return at;
        }
        at += GRPC_FRAME_HEAD;
    }
}

/* Collects a head that comes in pieces; true once it is whole. */
static bool head_collect(struct grpc_filter *filter, const uint8_t **data, size_t *size)
{
    size_t more = smaller(GRPC_FRAME_HEAD - filter->head_size, *size);
    memcpy(filter->head + filter->head_size, *data, more);
    filter->head_size += more;
    *data += more;
    *size -= more;
    return filter->head_size == GRPC_FRAME_HEAD;
}

static void skip_dropped(struct grpc_filter *filter, const uint8_t **data, size_t *size)
{
    size_t less = smaller(filter->drop, *size);
    filter->drop -= less;
    *data += less;
    *size -= less;
}

bool filter_next(struct grpc_filter *filter, const uint8_t **data, size_t *size, const uint8_t **ret, size_t *ret_size)
{
    for (;;) {
        skip_dropped(filter, data, size);
        if (*size == 0) {
            return false;
        }
        if (filter->head_size == 0) {
            *ret = *data;
            *ret_size = passing(filter, *data, *size);
            *data += *ret_size;
            *size -= *ret_size;
            filter->drop += filter->drop > 0 ? GRPC_FRAME_HEAD : 0; /* its head is still to come */
            if (*ret_size > 0) {
                return true;
            }
            if (filter->drop > 0) {
                continue;
            }
        }
        if (!head_collect(filter, data, size)) {
            return false;
        }
        filter->head_size = 0;
        *ret = filter->head;
        *ret_size = GRPC_FRAME_HEAD;
        if (frame_passes(filter, filter->head)) {
            return true;
        }
    }
}
