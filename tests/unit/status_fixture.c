#include "status_fixture.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

int fixture_setup(void **state)
{
    struct fixture *fixture = calloc(1, sizeof(*fixture));
    arena_init(&fixture->arena);
    fixture->claims = claims_new();
    *state = fixture;
    return 0;
}

int fixture_teardown(void **state)
{
    struct fixture *fixture = *state;
    arena_done(&fixture->arena);
    claims_free(fixture->claims);
    free(fixture);
    return 0;
}

static void nobody(const struct claim *claim, void *user)
{
    (void)claim;
    (void)user;
}

struct parts {
    Ipam__V1__Claim claim;
    Ipam__V1__Owner owner;
    Google__Protobuf__Timestamp at;
    char kind[64];
};

static void make_claim(struct parts *parts, const char *owner, enum ipam_family family)
{
    const char *slash = strchr(owner, '/');
    ipam__v1__claim__init(&parts->claim);
    ipam__v1__owner__init(&parts->owner);
    google__protobuf__timestamp__init(&parts->at);
    snprintf(parts->kind, sizeof(parts->kind), "%.*s", slash ? (int)(slash - owner) : 8, slash ? owner : "ProxyVIP");
    parts->owner.kind = parts->kind;
    parts->owner.name = (char *)(uintptr_t)(slash ? slash + 1 : owner);
    parts->claim.owner = &parts->owner;
    parts->claim.family = family == IPAM_IPV6 ? IPAM__V1__FAMILY__IPV6 : IPAM__V1__FAMILY__IPV4;
}

void give(struct fixture *fixture, const char *owner, const char *uid, const char *pool, const char *address)
{
    struct parts parts;
    make_claim(&parts, owner, strchr(address, ':') ? IPAM_IPV6 : IPAM_IPV4);
    parts.at.seconds = NOW;
    parts.owner.uid = (char *)(uintptr_t)uid;
    parts.claim.id = ++fixture->id;
    parts.claim.state = IPAM__V1__CLAIM_STATE__BOUND;
    parts.claim.pool = (char *)(uintptr_t)pool;
    parts.claim.address = (char *)(uintptr_t)address;
    parts.claim.allocated_at = &parts.at;
    claims_apply(fixture->claims, &parts.claim, nobody, NULL);
}

void let_wait(struct fixture *fixture, const char *owner, const char *pool, enum ipam_family family, const char *reason,
              const char *message)
{
    let_wait_naming(fixture, owner, pool, family, "", reason, message);
}

void let_wait_naming(struct fixture *fixture, const char *owner, const char *pool, enum ipam_family family,
                     const char *address, const char *reason, const char *message)
{
    struct parts parts;
    make_claim(&parts, owner, family);
    parts.claim.id = ++fixture->id;
    parts.claim.state = IPAM__V1__CLAIM_STATE__WAITING;
    parts.claim.pool = (char *)(uintptr_t)pool;
    parts.claim.requested_address = (char *)(uintptr_t)address;
    parts.claim.reason = (char *)(uintptr_t)reason;
    parts.claim.message = (char *)(uintptr_t)message;
    claims_apply(fixture->claims, &parts.claim, nobody, NULL);
}

void let_wait_for(struct fixture *fixture, const char *owner, const char *address, bool dual, const char *message)
{
    struct parts parts;
    make_claim(&parts, owner, strchr(address, ':') ? IPAM_IPV6 : IPAM_IPV4);
    parts.claim.id = ++fixture->id;
    parts.claim.state = IPAM__V1__CLAIM_STATE__WAITING;
    parts.claim.pool = (char *)(uintptr_t) "p";
    parts.claim.requested_address = (char *)(uintptr_t)address;
    parts.claim.dual = dual;
    parts.claim.reason = (char *)(uintptr_t) "ADDRESS_IN_USE";
    parts.claim.message = (char *)(uintptr_t)message;
    claims_apply(fixture->claims, &parts.claim, nobody, NULL);
}

void give_back(struct fixture *fixture, const char *owner, enum ipam_family family)
{
    struct parts parts;
    make_claim(&parts, owner, family);
    const struct claim *claim = claims_of(fixture->claims, parts.owner.kind, parts.owner.name, family);
    parts.claim.id = claim->id;
    parts.claim.state = IPAM__V1__CLAIM_STATE__RELEASED;
    claims_apply(fixture->claims, &parts.claim, nobody, NULL);
}

json_t *json_of(const char *text)
{
    char *copy = strdup(text);
    json_error_t error;
    for (char *at = copy; *at; at++)
        if (*at == '\'')
            *at = '"';
    json_t *json = json_loads(copy, JSON_DECODE_ANY, &error);
    if (!json)
        fail_msg("%s: %s", copy, error.text);
    free(copy);
    return json;
}

json_t *object_of(const char *name, const char *spec, const char *status)
{
    char uid[280];
    snprintf(uid, sizeof(uid), "u-%s", name);
    json_t *object = json_pack("{s:{s:s, s:s, s:i, s:s}}", "metadata", "name", name, "uid", uid, "generation", 1,
                               "resourceVersion", "7");
    if (spec)
        json_object_set_new(object, "spec", json_of(spec));
    if (status)
        json_object_set_new(object, "status", json_of(status));
    return object;
}

/* The fields of .status that a manager wrote last; made if there is none. */
static json_t *managed_by(json_t *object, const char *manager)
{
    json_t *metadata = json_object_get(object, "metadata"), *list = json_object_get(metadata, "managedFields"), *entry;
    size_t i;
    if (!list)
        json_object_set_new(metadata, "managedFields", list = json_array());
    json_array_foreach(list, i, entry)
    {
        const char *name = json_string_value(json_object_get(entry, "manager"));
        if (name && strcmp(name, manager) == 0)
            return (json_t *)(uintptr_t)status_get(entry, "fieldsV1", "f:status");
    }
    entry = json_pack("{s:s, s:{s:{}}}", "manager", manager, "fieldsV1", "f:status");
    json_array_append_new(list, entry);
    return (json_t *)(uintptr_t)status_get(entry, "fieldsV1", "f:status");
}

static void note_manager(json_t *object, const char *manager, const char *field, bool there)
{
    char key[80];
    json_t *entry;
    size_t i;
    snprintf(key, sizeof(key), "f:%s", field);
    json_array_foreach((json_t *)(uintptr_t)status_get(object, "metadata", "managedFields"), i, entry)
        json_object_del((json_t *)(uintptr_t)status_get(entry, "fieldsV1", "f:status"), key);
    if (there)
        json_object_set_new(managed_by(object, manager), key, json_object());
}

void merge_as(json_t *object, const char *manager, const json_t *patch, const char *pruned)
{
    json_t *status = json_object_get(object, "status"), *value;
    const char *field;
    char word[64];
    if (!status) {
        status = json_object();
        json_object_set_new(object, "status", status);
    }
    json_object_foreach((json_t *)(uintptr_t)patch, field, value)
    {
        snprintf(word, sizeof(word), "%s,", field);
        bool kept = !json_is_null(value) && (!pruned || !strstr(pruned, word));
        if (json_is_null(value))
            json_object_del(status, field);
        if (kept && json_equal(json_object_get(status, field), value))
            continue;
        if (kept)
            json_object_set_new(status, field, json_deep_copy(value));
        note_manager(object, manager, field, kept);
    }
}

void merge(json_t *object, const json_t *patch, const char *pruned)
{
    merge_as(object, STATUS_MANAGER, patch, pruned);
}

const char *message_of(const json_t *object, const char *type)
{
    const json_t *condition = status_condition(status_get(object, "status", "conditions"), type);
    return json_string_value(json_object_get(condition, "message"));
}

void assert_status(const json_t *object, const char *expected)
{
    json_t *wanted = json_of(expected);
    if (!json_equal(json_object_get(object, "status"), wanted)) {
        char *is = json_dumps(json_object_get(object, "status"), JSON_SORT_KEYS | JSON_INDENT(1));
        char *should = json_dumps(wanted, JSON_SORT_KEYS | JSON_INDENT(1));
        fail_msg("status is %s\nand should be %s", is, should);
    }
    json_decref(wanted);
}
