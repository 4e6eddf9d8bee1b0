#include "describe.h"

#include <inttypes.h>
#include <string.h>

#include "text.h"
#include "views.h"
#include "when.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

void describe_row(const struct output *output, const struct view *view, const void *row)
{
    size_t width = 0;

    for (size_t i = 0; i < view->n_columns; i++) {
        size_t label = text_width(view->columns[i].header);
        width = label > width ? label : width;
    }
    for (size_t i = 0; i < view->n_columns; i++) {
        const struct column *column = &view->columns[i];
        const char *text = column->cell(output, row);
        if (text != NULL && text[0] != '\0')
            fprintf(output->out, "%s:%*s  %s\n", column->header, (int)(width - text_width(column->header)), "",
                    text_printable(output->arena, text));
    }
}

static const char *number(const struct output *output, uint64_t value)
{
    return arena_printf(output->arena, "%" PRIu64, value);
}

static const char *list(const struct output *output, char *const *texts, size_t count)
{
    const char *all = "";
    for (size_t i = 0; i < count; i++)
        all = arena_printf(output->arena, "%s%s%s", all, i == 0 ? "" : ", ", texts[i]);
    return all;
}

/* "2024-01-15T10:30:00Z (5h ago)", or "" without a time. */
static const char *moment(const struct output *output, const Google__Protobuf__Timestamp *at)
{
    char text[WHEN_RFC3339_MAX];

    if (at == NULL || when_rfc3339_format(at->seconds, 0, text) < 0)
        return "";
    if (at->seconds > output->now)
        return arena_strdup(output->arena, text);
    return arena_printf(output->arena, "%s (%s ago)", text, output_age(output, true, at->seconds));
}

/* ---- Pool ----------------------------------------------------------------------------------------------------------- */

#define POOL_FACT(function, expression)                                       \
    static const char *function(const struct output *output, const void *row) \
    {                                                                         \
        const Ipam__V1__Pool *pool = row;                                     \
        (void)output;                                                         \
        return expression;                                                    \
    }
#define SPEC_FACT(function, expression)                                       \
    static const char *function(const struct output *output, const void *row) \
    {                                                                         \
        const Ipam__V1__PoolSpec *spec = ((const Ipam__V1__Pool *)row)->spec; \
        (void)output;                                                         \
        return spec == NULL ? "" : expression;                                \
    }

SPEC_FACT(pool_name, spec->name)
SPEC_FACT(pool_uid, spec->uid)
SPEC_FACT(pool_cidrs, list(output, spec->cidrs, spec->n_cidrs))
SPEC_FACT(pool_addresses, list(output, spec->addresses, spec->n_addresses))
SPEC_FACT(pool_excluded, list(output, spec->excluded, spec->n_excluded))
SPEC_FACT(pool_auto_assign, spec->auto_assign ? "true" : "false")
SPEC_FACT(pool_paused, spec->paused ? "true" : "false")
SPEC_FACT(pool_reuse_delay, arena_printf(output->arena, "%us", spec->reuse_delay_seconds))
POOL_FACT(pool_state, view_pool_state(pool))
POOL_FACT(pool_reason, pool->reason)
POOL_FACT(pool_message, pool->message)
/* The message of one that is ready is its warnings. */
POOL_FACT(pool_warnings,
          pool->state == IPAM__V1__POOL_STATE__READY ? "" : list(output, pool->warnings, pool->n_warnings))
POOL_FACT(pool_clipped, list(output, pool->clipped_cidrs, pool->n_clipped_cidrs))
POOL_FACT(pool_created, moment(output, pool->created_at))
POOL_FACT(pool_revision, number(output, pool->revision))

static const struct column pool_rows[] = {
    {"Name", false, pool_name},
    {"UID", false, pool_uid},
    {"State", false, pool_state},
    {"Reason", false, pool_reason},
    {"Message", false, pool_message},
    {"CIDRs", false, pool_cidrs},
    {"Addresses", false, pool_addresses},
    {"Excluded", false, pool_excluded},
    {"Clipped", false, pool_clipped},
    {"Warnings", false, pool_warnings},
    {"Auto-assign", false, pool_auto_assign},
    {"Paused", false, pool_paused},
    {"Reuse delay", false, pool_reuse_delay},
    {"Created", false, pool_created},
    {"Revision", false, pool_revision},
};
const struct view pool_facts = {pool_rows, COUNT(pool_rows), NULL};

struct counts_row {
    const char *family;
    const Ipam__V1__PoolCounts *counts;
};

#define COUNT_CELL(field)                                                          \
    static const char *count_##field(const struct output *output, const void *row) \
    {                                                                              \
        return number(output, ((const struct counts_row *)row)->counts->field);    \
    }

COUNT_CELL(capacity)
COUNT_CELL(allocated)
COUNT_CELL(available)
COUNT_CELL(cooling)
COUNT_CELL(excluded)
COUNT_CELL(orphaned)
COUNT_CELL(waiting)

static const char *count_family(const struct output *output, const void *row)
{
    (void)output;
    return ((const struct counts_row *)row)->family;
}

static const struct column count_columns[] = {
    {"FAMILY", false, count_family},       {"CAPACITY", false, count_capacity}, {"ALLOCATED", false, count_allocated},
    {"AVAILABLE", false, count_available}, {"COOLING", false, count_cooling},   {"EXCLUDED", false, count_excluded},
    {"ORPHANED", false, count_orphaned},   {"WAITING", false, count_waiting},
};
static const struct view counts_view = {count_columns, COUNT(count_columns), NULL};

void describe_counts(const struct output *output, const Ipam__V1__Pool *pool)
{
    const struct counts_row rows[] = {{"both", pool->counts}, {"ipv4", pool->ipv4}, {"ipv6", pool->ipv6}};
    const void *present[COUNT(rows)];
    size_t count = 0;

    for (size_t i = 0; i < COUNT(rows); i++) {
        if (rows[i].counts != NULL)
            present[count++] = &rows[i];
    }
    output_rows(output, &counts_view, present, count);
}

/* ---- Claim ---------------------------------------------------------------------------------------------------------- */

#define CLAIM_FACT(function, expression)                                      \
    static const char *function(const struct output *output, const void *row) \
    {                                                                         \
        const Ipam__V1__Claim *claim = row;                                   \
        (void)output;                                                         \
        return expression;                                                    \
    }

CLAIM_FACT(claim_name, claim->owner == NULL ? "" : text_printable(output->arena, claim->owner->name))
CLAIM_FACT(claim_family, view_family(claim->family))
CLAIM_FACT(claim_state, view_claim_state(claim))
CLAIM_FACT(claim_address, claim->address)
CLAIM_FACT(claim_pool, claim->pool)
CLAIM_FACT(claim_uid, claim->owner == NULL ? "" : claim->owner->uid)
CLAIM_FACT(claim_requested, claim->requested_address)
CLAIM_FACT(claim_preferred, claim->preferred_address)
CLAIM_FACT(claim_reason, claim->reason)
CLAIM_FACT(claim_message, claim->message)
CLAIM_FACT(claim_queue, claim->queue_position == 0 ? "" : number(output, claim->queue_position))
CLAIM_FACT(claim_created, moment(output, claim->created_at))
CLAIM_FACT(claim_made_by, claim->made_by_case == IPAM__V1__CLAIM__MADE_BY_USER
                              ? arena_printf(output->arena, "uid %" PRIu32, claim->user)
                              : "")
CLAIM_FACT(claim_allocated, moment(output, claim->allocated_at))
CLAIM_FACT(claim_cooling, moment(output, claim->cooling_until))
CLAIM_FACT(claim_revision, number(output, claim->revision))

static const struct column claim_rows[] = {
    {"Name", false, claim_name},
    {"Family", false, claim_family},
    {"State", false, claim_state},
    {"Address", false, claim_address},
    {"Pool", false, claim_pool},
    {"UID", false, claim_uid},
    {"Requested", false, claim_requested},
    {"Preferred", false, claim_preferred},
    {"Reason", false, claim_reason},
    {"Message", false, claim_message},
    {"Place in queue", false, claim_queue},
    {"Created", false, claim_created},
    {"Made by", false, claim_made_by},
    {"Allocated", false, claim_allocated},
    {"Cooling until", false, claim_cooling},
    {"Revision", false, claim_revision},
};
const struct view claim_facts = {claim_rows, COUNT(claim_rows), NULL};

/* ---- Status --------------------------------------------------------------------------------------------------------- */

#define STATUS_FACT(function, expression)                                     \
    static const char *function(const struct output *output, const void *row) \
    {                                                                         \
        const Ipam__V1__GetStatusReply *status = row;                         \
        (void)output;                                                         \
        return expression;                                                    \
    }
#define COUNTER_FACT(field) \
    STATUS_FACT(status_##field, status->counters == NULL ? "" : number(output, status->counters->field))

STATUS_FACT(status_version, status->version)
STATUS_FACT(status_store,
            arena_printf(output->arena, "%s, %s", status->store, status->store_available ? "available" : "unavailable"))
STATUS_FACT(status_message, status->store_message)
STATUS_FACT(status_revision, number(output, status->revision))
STATUS_FACT(status_durable, number(output, status->durable_revision))
STATUS_FACT(status_started, moment(output, status->started_at))
COUNTER_FACT(pools)
COUNTER_FACT(claims_bound)
COUNTER_FACT(claims_waiting)
COUNTER_FACT(claims_cooling)
COUNTER_FACT(connections)
COUNTER_FACT(connections_total)
COUNTER_FACT(calls_total)
COUNTER_FACT(calls_failed)
COUNTER_FACT(allocations_total)
COUNTER_FACT(releases_total)
COUNTER_FACT(batches_total)
COUNTER_FACT(changes_total)
COUNTER_FACT(commit_failures)
COUNTER_FACT(clock_steps)

static const struct column status_rows[] = {
    {"Version", false, status_version},
    {"Store", false, status_store},
    {"Store says", false, status_message},
    {"Revision", false, status_revision},
    {"Durable revision", false, status_durable},
    {"Started", false, status_started},
    {"Pools", false, status_pools},
    {"Claims bound", false, status_claims_bound},
    {"Claims waiting", false, status_claims_waiting},
    {"Claims cooling", false, status_claims_cooling},
    {"Connections", false, status_connections},
    {"Connections ever", false, status_connections_total},
    {"Calls", false, status_calls_total},
    {"Calls failed", false, status_calls_failed},
    {"Allocations", false, status_allocations_total},
    {"Releases", false, status_releases_total},
    {"Commits", false, status_batches_total},
    {"Commits failed", false, status_commit_failures},
    {"Changes", false, status_changes_total},
    {"Clock steps", false, status_clock_steps},
};
const struct view status_facts = {status_rows, COUNT(status_rows), NULL};
