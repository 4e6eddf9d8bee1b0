/* bus.h: changes on their way to whoever listens: what is durable is published, as far as the budget goes.
 *
 * The loop calls it with each batch that has become durable. It knows changes and their encoding, and that a delivery costs; it
 * must not know sockets (publisher.h). It is lossy by design and never waits: a batch that is too much is left out, and the next
 * tick tells subscribers to read it from the history.
 */
#ifndef IPAMD_BUS_H
#define IPAMD_BUS_H

#include "change.h"
#include "publisher.h"

struct bus {
    struct publisher *publisher;
    uint64_t budget;    /* deliveries (messages × subscribers) a second */
    uint64_t tokens;    /* deliveries that may be made now */
    uint64_t filled_at; /* ns */
    struct arena arena;
};

/* Takes the publisher. */
void bus_init(struct bus *bus, struct publisher *publisher, uint64_t budget);
void bus_done(struct bus *bus); /* stops the publisher */

/* `changes` have become durable; the hash of change i is at hashes + 32 × i. `now`: monotonic, ns. Without subscribers nothing
 * is encoded or copied. */
void bus_publish(struct bus *bus, const struct changes *changes, const uint8_t *hashes, uint64_t now);

#endif
