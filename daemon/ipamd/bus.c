#include "bus.h"

#include <string.h>

#include "event.h"
#include "record.h"
#include "store.h"

#define SECOND 1000000000

void bus_init(struct bus *bus, struct publisher *publisher, uint64_t budget)
{
    *bus = (struct bus){.publisher = publisher, .budget = budget};
    arena_init(&bus->arena);
}

void bus_done(struct bus *bus)
{
    bus->publisher = publisher_stop(bus->publisher);
    arena_done(&bus->arena);
}

/* A bucket that holds what may be delivered in a second. */
static bool budget_take(struct bus *bus, uint64_t deliveries, uint64_t now)
{
    uint64_t elapsed = now - bus->filled_at;
    uint64_t earned = elapsed >= SECOND ? bus->budget : bus->budget * elapsed / SECOND;
    if (earned > 0) {
        bus->tokens = bus->tokens + earned < bus->budget ? bus->tokens + earned : bus->budget;
        bus->filled_at = now;
    }
    if (deliveries > bus->tokens)
        return false;
    bus->tokens -= deliveries;
    return true;
}

static const char *change_name(const struct change *change)
{
    return change->kind == CHANGE_POOL    ? change->pool.name
           : change->kind == CHANGE_CLAIM ? change->claim.owner.name
                                          : "";
}

/* False: the publisher has no room. */
static bool change_put(struct bus *bus, const struct change *change, const uint8_t *hash)
{
    static const enum event_kind kinds[] = {
        [CHANGE_POOL] = EVENT_POOL, [CHANGE_CLAIM] = EVENT_CLAIM, [CHANGE_LOSS] = EVENT_LOST};
    const char *owner_kind = change->kind == CHANGE_CLAIM ? change->claim.owner.kind : "";
    enum event_kind kind = kinds[change->kind];
    size_t record_size;
    arena_reset(&bus->arena);
    const uint8_t *record = record_encode(change, &bus->arena, &record_size);
    size_t size = event_topic_size(kind, owner_kind, change_name(change)) + record_size + RECORD_HASH_FIELD_SIZE;
    uint8_t *out = publisher_reserve(bus->publisher, size);
    if (!out)
        return false;
    out = event_put_topic(kind, owner_kind, change_name(change), out);
    memcpy(out, record, record_size);
    record_put_hash(hash, out + record_size);
    return true;
}

void bus_publish(struct bus *bus, const struct changes *changes, const uint8_t *hashes, uint64_t now)
{
    uint64_t subscribers = publisher_subscribers(bus->publisher);
    bool given = subscribers > 0 && budget_take(bus, subscribers * changes->count, now);
    for (size_t i = 0; given && i < changes->count; i++)
        given = change_put(bus, &changes->items[i], hashes + STORE_HASH_SIZE * i);
    publisher_commit(bus->publisher, changes->items[changes->count - 1].revision, subscribers > 0 && !given);
}
