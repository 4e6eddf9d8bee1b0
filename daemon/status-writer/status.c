#include "status.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include <ipam/error.h>

#define MESSAGE_MAX 4096 /* bytes; the API takes 32,768 characters */
#define REASON_MAX  128

void status_update_done(struct status_update *update)
{
    json_decref(update->status);
    json_decref(update->adopt);
    *update = (struct status_update){.status = NULL};
}

void status_event_add(struct status_update *update, bool warning, const char *reason, const char *message)
{
    if (update->n_events < STATUS_EVENTS_MAX)
        update->events[update->n_events++] = (struct status_event){warning, reason, message};
}

/* ---- Reading objects ----------------------------------------------------------------------------------------------- */

const json_t *status_get(const json_t *object, const char *outer, const char *inner)
{
    return json_object_get(json_object_get(object, outer), inner);
}

static const char *text_of(const json_t *value)
{
    const char *text = json_string_value(value);
    return text ? text : "";
}

const char *status_text(const json_t *object, const char *outer, const char *inner)
{
    return text_of(status_get(object, outer, inner));
}

int64_t status_generation(const json_t *object)
{
    json_int_t generation = json_integer_value(status_get(object, "metadata", "generation"));
    return generation > 0 ? generation : 0;
}

static bool has_type(const json_t *condition, const char *type)
{
    return strcmp(text_of(json_object_get(condition, "type")), type) == 0;
}

const json_t *status_condition(const json_t *conditions, const char *type)
{
    size_t i;
    json_t *condition;
    json_array_foreach(conditions, i, condition) if (has_type(condition, type)) return condition;
    return NULL;
}

/* ---- Managed fields ------------------------------------------------------------------------------------------------- */

static const json_t *owned_fields(const json_t *entry)
{
    bool ours = strcmp(text_of(json_object_get(entry, "manager")), STATUS_MANAGER) == 0;
    return ours ? status_get(entry, "fieldsV1", "f:status") : NULL;
}

enum status_manager status_manager_of(const json_t *object, const char *field)
{
    enum status_manager manager = STATUS_MANAGER_UNKNOWN;
    char key[64];
    size_t i;
    json_t *entry;
    snprintf(key, sizeof(key), "f:%s", field);
    json_array_foreach(status_get(object, "metadata", "managedFields"), i, entry)
    {
        const json_t *owned = owned_fields(entry);
        if (json_object_get(owned, key))
            return STATUS_MANAGER_OURS;
        if (owned)
            manager = STATUS_MANAGER_OTHER;
    }
    return manager;
}

json_t *status_managed_fields(const json_t *managed)
{
    json_t *list = json_array(), *entry, *ignored;
    const char *key;
    size_t i;
    json_array_foreach(managed, i, entry)
    {
        json_t *owned = (json_t *)(uintptr_t)owned_fields(entry), *names = json_object();
        json_object_foreach(owned, key, ignored) json_object_set_new(names, key, json_object());
        if (owned)
            json_array_append_new(
                list, json_pack("{s:s, s:{s:O}}", "manager", STATUS_MANAGER, "fieldsV1", "f:status", names));
        json_decref(names);
    }
    return list;
}

/* ---- Texts --------------------------------------------------------------------------------------------------------- */

json_t *status_string(const char *text)
{
    struct ipam_error escaped;
    json_t *string = json_string(text);
    if (string)
        return string;
    ipam_error_set(&escaped, IPAM_REASON_INTERNAL, "%s", text);
    return json_string(escaped.message);
}

/* Cut where a character ends. */
static json_t *message_string(const char *text)
{
    size_t length = strnlen(text, MESSAGE_MAX + 1);
    if (length <= MESSAGE_MAX)
        return status_string(text);
    for (length = MESSAGE_MAX; length > 0 && ((unsigned char)text[length] & 0xc0) == 0x80;)
        length--;
    json_t *string = json_stringn(text, length);
    return string ? string : status_string("");
}

const char *status_time(int64_t seconds, char text[STATUS_TIME_MAX])
{
    time_t time = (time_t)seconds;
    struct tm parts;
    if (!gmtime_r(&time, &parts) || parts.tm_year < -1899 || parts.tm_year > 8099 ||
        strftime(text, STATUS_TIME_MAX, "%Y-%m-%dT%H:%M:%SZ", &parts) == 0)
        strcpy(text, "1970-01-01T00:00:00Z"); /* the API refuses years that have not four digits */
    return text;
}

const char *status_reason(struct arena *arena, const char *reason)
{
    char text[REASON_MAX];
    size_t n = 0;
    bool upper = true;
    for (; *reason && n < sizeof(text) - 1; reason++) {
        if (isalnum((unsigned char)*reason))
            text[n++] = (char)(upper ? toupper((unsigned char)*reason) : tolower((unsigned char)*reason));
        upper = *reason == '_';
    }
    text[n] = '\0';
    return isalpha((unsigned char)text[0]) ? arena_strdup(arena, text) : "Waiting";
}

/* Reasons whose messages, as ipamd writes them, say what is wrong and not what to do. */
static bool says_only_what_is_wrong(enum ipam_reason reason)
{
    static const enum ipam_reason reasons[] = {IPAM_REASON_POOL_EXHAUSTED, IPAM_REASON_POOL_REJECTED,
                                               IPAM_REASON_INVALID_ADDRESS, IPAM_REASON_ADDRESS_IN_USE,
                                               IPAM_REASON_ADDRESS_COOLING};
    for (size_t i = 0; i < sizeof(reasons) / sizeof(*reasons); i++)
        if (reasons[i] == reason)
            return true;
    return false;
}

const char *status_advice(struct arena *arena, const char *reason, const char *message)
{
    enum ipam_reason row = ipam_reason_parse(reason);
    const char *remedy = ipam_reason_remedy(row);
    bool bare = !*message || says_only_what_is_wrong(row);
    if (!*message)
        message = *ipam_reason_summary(row) ? ipam_reason_summary(row) : "no address can be given now";
    if (!bare || !*remedy)
        return arena_strdup(arena, message); /* it is shown after the write, and its claim may be gone by then */
    char *advice = arena_printf(arena, "%s; %s", message, remedy);
    char *first = advice + strlen(message) + 2, *last = advice + strlen(advice) - 1;
    *first = (char)tolower((unsigned char)*first);
    if (*last == '.')
        *last = '\0';
    return advice;
}

/* ---- Conditions ---------------------------------------------------------------------------------------------------- */

static bool says(const json_t *condition, const struct condition *wanted, const json_t *message)
{
    return strcmp(text_of(json_object_get(condition, "status")), wanted->status) == 0 &&
           strcmp(text_of(json_object_get(condition, "reason")), wanted->reason) == 0 &&
           json_equal(json_object_get(condition, "message"), message) &&
           *text_of(json_object_get(condition, "lastTransitionTime")) &&
           json_integer_value(json_object_get(condition, "observedGeneration")) == wanted->observed_generation;
}

static json_t *condition_json(const json_t *before, const struct condition *wanted, json_t *message, int64_t now)
{
    char text[STATUS_TIME_MAX];
    const char *since = text_of(json_object_get(before, "lastTransitionTime"));
    if (!*since || strcmp(text_of(json_object_get(before, "status")), wanted->status) != 0)
        since = status_time(now, text);
    json_t *condition = json_pack("{s:s, s:s, s:s, s:O, s:s}", "type", wanted->type, "status", wanted->status, "reason",
                                  wanted->reason, "message", message, "lastTransitionTime", since);
    if (wanted->observed_generation > 0)
        json_object_set_new(condition, "observedGeneration", json_integer(wanted->observed_generation));
    return condition;
}

static void condition_remove(json_t *list, const char *type)
{
    for (size_t i = json_array_size(list); i-- > 0;)
        if (has_type(json_array_get(list, i), type))
            json_array_remove(list, i);
}

/* In its place if it is there, else at the end; a second one of the type goes. */
static void condition_set(json_t *list, const struct condition *wanted, int64_t now)
{
    const json_t *before = status_condition(list, wanted->type);
    json_t *message = message_string(wanted->message);
    json_t *condition =
        before && says(before, wanted, message) ? json_deep_copy(before) : condition_json(before, wanted, message, now);
    json_decref(message);
    bool placed = false;
    for (size_t i = 0; i < json_array_size(list);) {
        bool ours = has_type(json_array_get(list, i), wanted->type);
        if (ours && placed) {
            json_array_remove(list, i);
            continue;
        }
        if (ours)
            json_array_set(list, i, condition);
        placed = placed || ours;
        i++;
    }
    if (!placed)
        json_array_append(list, condition);
    json_decref(condition);
}

json_t *status_conditions(const json_t *conditions, const struct condition *wanted, size_t n, int64_t now)
{
    json_t *list = json_is_array(conditions) ? json_copy((json_t *)(uintptr_t)conditions) : json_array();
    for (size_t i = 0; i < n; i++)
        if (wanted[i].type && !wanted[i].status)
            condition_remove(list, wanted[i].type);
        else if (wanted[i].type)
            condition_set(list, &wanted[i], now);
    return list;
}

/* ---- Patches ------------------------------------------------------------------------------------------------------- */

static bool is_nothing(const json_t *value)
{
    return !value || json_is_null(value) || (json_is_array(value) && json_array_size(value) == 0);
}

static bool same(const json_t *a, const json_t *b)
{
    return (is_nothing(a) && is_nothing(b)) || json_equal(a, b);
}

void status_set(struct status_update *update, const json_t *status, const char *field, json_t *value)
{
    if (same(json_object_get(status, field), value)) {
        json_decref(value);
        return;
    }
    if (!update->status)
        update->status = json_object();
    json_object_set_new(update->status, field, value);
}

json_t *status_residue(const json_t *patch, const json_t *object)
{
    const json_t *status = json_object_get(object, "status");
    json_t *residue = NULL, *value;
    const char *field;
    json_object_foreach((json_t *)(uintptr_t)patch, field, value)
    {
        if (same(value, json_object_get(status, field)))
            continue;
        if (!residue)
            residue = json_object();
        json_object_set(residue, field, value);
    }
    return residue;
}
