/* status.h: what the status of every kind of object is made of: conditions, reasons, times, and the smallest patch.
 *
 * Used by vip_status.c and pool_status.c, and their results by writer.c. Pure: JSON and texts in, JSON and texts out; no
 * clock (the time is a value), no loop. It must not know pools or claims. Objects come from the API server: any
 * field may be missing or of another type than it should be.
 */
#ifndef IPAM_STATUS_STATUS_H
#define IPAM_STATUS_STATUS_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "arena.h"

#define STATUS_EVENTS_MAX 3

/* Something that just came to be and that a user should see; an Event on the object. */
struct status_event {
    bool warning;
    const char *reason, *message; /* of the arena */
};

/* What is to be done about an object. */
struct status_update {
    json_t *status; /* JSON merge patch of .status; NULL: it is as it should be */
    json_t *adopt;  /* of .status, what is right but was written by another program, to be applied; NULL: nothing */
    struct status_event events[STATUS_EVENTS_MAX];
    size_t n_events;
    bool passes;    /* what it says is mostly over in a moment, and it takes no address away: it may wait as long */
    bool unsettled; /* what ipamd has is not on the terms of the present spec, and why is not known */
};

void status_update_done(struct status_update *update);
void status_event_add(struct status_update *update, bool warning, const char *reason, const char *message);

/* ---- Reading objects ---- */

const json_t *status_get(const json_t *object, const char *outer, const char *inner); /* NULL when not there */
/* "" when it is not there or no text. */
const char *status_text(const json_t *object, const char *outer, const char *inner);
int64_t status_generation(const json_t *object); /* 0: none */
/* The condition of a type in a list of conditions; NULL: none. */
const json_t *status_condition(const json_t *conditions, const char *type);

#define STATUS_MANAGER "ipam-status-writer" /* our name in managedFields */

/* Who wrote a field of .status last, by metadata.managedFields. */
enum status_manager {
    STATUS_MANAGER_UNKNOWN, /* they know nothing of us */
    STATUS_MANAGER_OURS,
    STATUS_MANAGER_OTHER,
};

enum status_manager status_manager_of(const json_t *object, const char *field);
/* Of managedFields what status_manager_of reads. A new reference. */
json_t *status_managed_fields(const json_t *managed);

/* ---- Making status ---- */

struct condition {
    const char *type; /* NULL: none is wanted, and what there is stays */
    const char *status /* "True", "False", "Unknown"; NULL: there should be none of the type */, *reason, *message;
    int64_t observed_generation; /* 0: not said */
};

/* The list with the wanted conditions in it: others stay as they are and where they are. One that says so already is kept to
 * the byte; lastTransitionTime moves only when status does. `conditions` may be NULL or no list. A new reference. */
json_t *status_conditions(const json_t *conditions, const struct condition *wanted, size_t n, int64_t now);

/* Adds field: value to the patch when the status says otherwise; takes `value` over. An empty list and null say the same as
 * no field. */
void status_set(struct status_update *update, const json_t *status, const char *field, json_t *value);

/* What of a patch an object does not say after it was applied: fields that the server does not keep. NULL: nothing. */
json_t *status_residue(const json_t *patch, const json_t *object);

json_t *status_string(const char *text); /* escapes what is not UTF-8 */

#define STATUS_TIME_MAX 24
const char *status_time(int64_t seconds, char text[STATUS_TIME_MAX]); /* 2024-01-15T10:30:00Z */

/* POOL_EXHAUSTED → PoolExhausted; what can't be a condition's reason → Waiting. */
const char *status_reason(struct arena *arena, const char *reason);

/* A message that tells what to do: ipamd's own, and for the reasons whose messages only say what is wrong, the advice of
 * the error table behind it. Of the arena. */
const char *status_advice(struct arena *arena, const char *reason, const char *message);

#endif
