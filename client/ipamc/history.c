#include "history.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "changes.h"
#include "json_message.h"
#include "views.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

/* ---- Folding -------------------------------------------------------------------------------------------------------- */

/* The tenure of the claim that is not over. */
static struct tenure *open_tenure(const struct history *history, uint64_t claim_id)
{
    for (size_t i = 0; i < history->n_open; i++) {
        struct tenure *tenure = &history->items[history->open[i]];
        if (tenure->claim->id == claim_id)
            return tenure;
    }
    return NULL;
}

/* The oldest makes way: there are never so many at once, unless the history is not as ipamd makes it. */
static void open_add(struct history *history, size_t index)
{
    if (history->n_open == HISTORY_OPEN_MAX)
        memmove(history->open, history->open + 1, --history->n_open * sizeof(*history->open));
    history->open[history->n_open++] = index;
}

static void open_remove(struct history *history, size_t index)
{
    size_t kept = 0;

    for (size_t i = 0; i < history->n_open; i++) {
        if (history->open[i] != index)
            history->open[kept++] = history->open[i];
    }
    history->n_open = kept;
}

static struct tenure *add_tenure(struct history *history, const Ipam__V1__Claim *claim)
{
    if (history->count == history->capacity) {
        size_t capacity = history->capacity == 0 ? 16 : 2 * history->capacity;
        struct tenure *items = arena_alloc(history->arena, capacity * sizeof(*items));
        if (history->count > 0)
            memcpy(items, history->items, history->count * sizeof(*items));
        history->items = items;
        history->capacity = capacity;
    }
    open_add(history, history->count);
    struct tenure *tenure = &history->items[history->count++];
    *tenure = (struct tenure){.claim = claim, .from = claim->allocated_at};
    return tenure;
}

static bool is_grant(const Ipam__V1__Change *change)
{
    const Google__Protobuf__Timestamp *at = change->at, *since = change->claim->allocated_at;
    return at != NULL && since != NULL && at->seconds == since->seconds && at->nanos == since->nanos;
}

static void add_bound(struct history *history, const Ipam__V1__Change *change)
{
    struct tenure *tenure = open_tenure(history, change->claim->id);

    if (tenure == NULL)
        tenure = add_tenure(history, change->claim);
    tenure->claim = change->claim; /* of a new uid, perhaps */
    if (tenure->allocated == NULL && is_grant(change))
        tenure->allocated = change;
}

/* The end of a cooling ends no tenure: it is ipamd's own doing, or asked for, and then tells how long it was to last. */
static bool is_given_back(const Ipam__V1__Change *change)
{
    const Ipam__V1__Claim *claim = change->claim;
    bool asked_for = change->actor != NULL && change->actor->method[0] != '\0' && claim->cooling_until == NULL;

    return claim->address[0] != '\0' && (claim->state == IPAM__V1__CLAIM_STATE__COOLING || asked_for);
}

/* One whose beginning is no longer kept is known by its end. */
static void add_end(struct history *history, const Ipam__V1__Change *change)
{
    struct tenure *tenure = open_tenure(history, change->claim->id);

    if (!is_given_back(change))
        return;
    if (tenure == NULL)
        tenure = add_tenure(history, change->claim);
    tenure->to = change->at;
    tenure->ended = change;
    open_remove(history, (size_t)(tenure - history->items));
}

void history_add(struct history *history, const Ipam__V1__Change *change)
{
    if (change->entity_case != IPAM__V1__CHANGE__ENTITY_CLAIM)
        return;
    if (change->claim->state == IPAM__V1__CLAIM_STATE__BOUND)
        add_bound(history, change);
    else if (change->claim->state != IPAM__V1__CLAIM_STATE__WAITING)
        add_end(history, change);
}

void history_add_present(struct history *history, const Ipam__V1__Claim *claim)
{
    if (claim->state == IPAM__V1__CLAIM_STATE__BOUND && open_tenure(history, claim->id) == NULL)
        add_tenure(history, claim);
}

int compare_times(const Google__Protobuf__Timestamp *a, const Google__Protobuf__Timestamp *b)
{
    int64_t a_seconds = a == NULL ? INT64_MIN : a->seconds, b_seconds = b == NULL ? INT64_MIN : b->seconds;
    int32_t a_nanos = a == NULL ? 0 : a->nanos, b_nanos = b == NULL ? 0 : b->nanos;

    if (a_seconds != b_seconds)
        return a_seconds < b_seconds ? -1 : 1;
    return (a_nanos > b_nanos) - (a_nanos < b_nanos);
}

static int compare_numbers(uint64_t a, uint64_t b)
{
    return (a > b) - (a < b);
}

/* Those whose beginning is no longer kept began before all others. */
static int compare_tenures(const void *a, const void *b)
{
    const struct tenure *left = a, *right = b;
    uint64_t left_from = left->allocated == NULL ? 0 : left->allocated->revision;
    uint64_t right_from = right->allocated == NULL ? 0 : right->allocated->revision;
    int order = compare_numbers(left_from, right_from);
    return order != 0 ? order : compare_numbers(left->claim->id, right->claim->id);
}

/* What is no longer kept happened before all that is. */
static bool begins_by(const struct tenure *tenure, const struct history_moment *moment)
{
    if (tenure->allocated != NULL)
        return tenure->allocated->revision <= moment->revision;
    return moment->revision > 0 || compare_times(tenure->from, &moment->at) <= 0;
}

/* From the revision of the grant on, up to that of the release. */
static bool holds_at(const struct tenure *tenure, const struct history_moment *moment)
{
    return begins_by(tenure, moment) && (tenure->ended == NULL || tenure->ended->revision > moment->revision);
}

void history_finish(struct history *history, const struct history_moment *moment)
{
    size_t kept = 0;

    for (size_t i = 0; i < history->count; i++) {
        if (moment == NULL || holds_at(&history->items[i], moment))
            history->items[kept++] = history->items[i];
    }
    history->count = kept;
    if (kept > 1)
        qsort(history->items, kept, sizeof(*history->items), compare_tenures);
}

/* ---- How it ended --------------------------------------------------------------------------------------------------- */

/* What ends a claim is a method: Allocate gives an address back only to swap it. */
static const struct {
    const char *method, *word;
} endings[] = {{"Release", "released"}, {"Allocate", "replaced"}};

/* NULL: it has not ended. */
static const char *ending(const struct tenure *tenure)
{
    const Ipam__V1__Actor *actor = tenure->ended == NULL ? NULL : tenure->ended->actor;

    if (tenure->ended == NULL)
        return NULL;
    for (size_t i = 0; actor != NULL && i < COUNT(endings); i++) {
        if (strcmp(actor->method, endings[i].method) == 0)
            return endings[i].word;
    }
    return "ended";
}

/* ---- Rows ----------------------------------------------------------------------------------------------------------- */

#define TENURE_CELL(function, expression)                                     \
    static const char *function(const struct output *output, const void *row) \
    {                                                                         \
        const struct tenure *tenure = row;                                    \
        (void)output;                                                         \
        return expression;                                                    \
    }

static const char *revision_text(struct arena *arena, const Ipam__V1__Change *change)
{
    return change == NULL ? "" : arena_printf(arena, "%" PRIu64, change->revision);
}

TENURE_CELL(cell_owner, tenure->claim->owner == NULL ? ""
                                                     : arena_printf(output->arena, "%s/%s", tenure->claim->owner->kind,
                                                                    tenure->claim->owner->name))
TENURE_CELL(cell_uid, tenure->claim->owner == NULL ? "" : tenure->claim->owner->uid)
TENURE_CELL(cell_address, tenure->claim->address)
TENURE_CELL(cell_from, view_time(output->arena, tenure->from))
TENURE_CELL(cell_to, tenure->to == NULL ? "now" : view_time(output->arena, tenure->to))
TENURE_CELL(cell_pool, tenure->claim->pool)
TENURE_CELL(cell_ending, ending(tenure))
TENURE_CELL(cell_by, tenure->ended == NULL ? "" : change_actor(output->arena, tenure->ended->actor))
TENURE_CELL(cell_allocated_by, tenure->allocated == NULL ? "" : change_actor(output->arena, tenure->allocated->actor))
TENURE_CELL(cell_from_revision, revision_text(output->arena, tenure->allocated))
TENURE_CELL(cell_to_revision, revision_text(output->arena, tenure->ended))
TENURE_CELL(tenure_label,
            arena_printf(output->arena, "claim/%s/%s", cell_owner(output, row), view_family(tenure->claim->family)))

static const struct column tenure_columns[] = {
    {"OWNER", false, cell_owner},
    {"UID", true, cell_uid},
    {"ADDRESS", false, cell_address},
    {"FROM", false, cell_from},
    {"TO", false, cell_to},
    {"POOL", false, cell_pool},
    {"ENDED", false, cell_ending},
    {"BY", false, cell_by},
    {"ALLOCATED-BY", true, cell_allocated_by},
    {"FROM-REVISION", true, cell_from_revision},
    {"TO-REVISION", true, cell_to_revision},
};

const struct view tenure_view = {tenure_columns, COUNT(tenure_columns), tenure_label};

/* ---- JSON ----------------------------------------------------------------------------------------------------------- */

static json_t *message_or_null(const void *message)
{
    return message == NULL ? json_null() : json_message_encode(message);
}

static json_t *revision_or_null(struct arena *arena, const Ipam__V1__Change *change)
{
    return change == NULL ? json_null() : json_string(revision_text(arena, change));
}

json_t *tenure_json(struct arena *arena, const struct tenure *tenure)
{
    const Ipam__V1__Change *allocated = tenure->allocated, *ended = tenure->ended;

    return json_pack("{s:o, s:s, s:s, s:o, s:o, s:o, s:o, s:o, s:o, s:s?, s:o}", "owner",
                     message_or_null(tenure->claim->owner), "family", view_family(tenure->claim->family), "address",
                     tenure->claim->address, "pool", json_text(tenure->claim->pool), "from",
                     message_or_null(tenure->from), "fromRevision", revision_or_null(arena, allocated), "allocatedBy",
                     message_or_null(allocated == NULL ? NULL : allocated->actor), "to", message_or_null(tenure->to),
                     "toRevision", revision_or_null(arena, ended), "ended", ending(tenure), "endedBy",
                     message_or_null(ended == NULL ? NULL : ended->actor));
}
