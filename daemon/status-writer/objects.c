#include "objects.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "arena.h"
#include "status.h"
#include "vip_status.h"

/* All that is read of an object; nothing else of it comes. Of managedFields, which name every field that anybody wrote, only
 * whether we wrote an address. */
static const struct kube_field manager_status_fields[] = {KUBE_LEAF("f:allocatedAddress"),
                                                          KUBE_LEAF("f:allocatedIPv6Address"), KUBE_END};
static const struct kube_field manager_fields[] = {KUBE_TABLE("f:status", manager_status_fields), KUBE_END};
static const struct kube_field managed_fields[] = {KUBE_LEAF("manager"), KUBE_TABLE("fieldsV1", manager_fields),
                                                   KUBE_END};
static const struct kube_field vip_metadata_fields[] = {KUBE_LEAF("name"),
                                                        KUBE_LEAF("uid"),
                                                        KUBE_LEAF("generation"),
                                                        KUBE_LEAF("resourceVersion"),
                                                        KUBE_LEAF("deletionTimestamp"),
                                                        KUBE_TABLES("managedFields", managed_fields),
                                                        KUBE_END};
static const struct kube_field pool_metadata_fields[] = {KUBE_LEAF("name"),
                                                         KUBE_LEAF("uid"),
                                                         KUBE_LEAF("generation"),
                                                         KUBE_LEAF("resourceVersion"),
                                                         KUBE_LEAF("deletionTimestamp"),
                                                         KUBE_END};
static const struct kube_field reference_fields[] = {KUBE_LEAF("name"), KUBE_END};
static const struct kube_field vip_spec_fields[] = {KUBE_LEAF("address"), KUBE_LEAF("ipv6Address"),
                                                    KUBE_LEAF("addressFamily"), KUBE_TABLE("poolRef", reference_fields),
                                                    KUBE_END};
static const struct kube_field vip_status_fields[] = {KUBE_LEAF("allocatedAddress"), KUBE_LEAF("allocatedIPv6Address"),
                                                      KUBE_LEAF("conditions"), KUBE_END};
static const struct kube_field pool_status_fields[] = {KUBE_LEAF("capacity"),
                                                       KUBE_LEAF("allocated"),
                                                       KUBE_LEAF("available"),
                                                       KUBE_LEAF("cooling"),
                                                       KUBE_LEAF("excluded"),
                                                       KUBE_LEAF("orphaned"),
                                                       KUBE_LEAF("waiting"),
                                                       KUBE_LEAF("allocations"),
                                                       KUBE_LEAF("allocationsTruncated"),
                                                       KUBE_LEAF("observedGeneration"),
                                                       KUBE_LEAF("conditions"),
                                                       KUBE_END};

static const struct kube_field vip_fields[] = {KUBE_TABLE("metadata", vip_metadata_fields),
                                               KUBE_TABLE("spec", vip_spec_fields),
                                               KUBE_TABLE("status", vip_status_fields), KUBE_END};
static const struct kube_field pool_fields[] = {KUBE_TABLE("metadata", pool_metadata_fields),
                                                KUBE_TABLE("status", pool_status_fields), KUBE_END};

static const char *const vip_conditions[] = {"Bound", "SpecAccepted", NULL};
static const char *const pool_conditions[] = {"Ready", "Exhausted", NULL};

const struct object_kind_info object_kinds[OBJECT_KINDS] = {
    [OBJECT_VIP] = {"ProxyVIP", "proxyvips", vip_fields, vip_status_fields, vip_conditions},
    [OBJECT_POOL] = {"ProxyIPPool", "proxyippools", pool_fields, pool_status_fields, pool_conditions},
};

static int compare_names(const struct object *a, const struct object *b)
{
    int order = (a->kind > b->kind) - (a->kind < b->kind);
    return order ? order : strcmp(a->name, b->name);
}

static int compare_due(const struct object *a, const struct object *b)
{
    int order = (a->due > b->due) - (a->due < b->due);
    return order ? order : (a->order > b->order) - (a->order < b->order);
}

static int compare_shown(const struct shown *a, const struct shown *b)
{
    int order = ipam_addr_compare(&a->address, &b->address);
    return order ? order : ((uintptr_t)a > (uintptr_t)b) - ((uintptr_t)a < (uintptr_t)b);
}

RB_HEAD(objects_by_name, object);
RB_HEAD(objects_by_due, object);
RB_HEAD(objects_shown, shown);
RB_PROTOTYPE(objects_by_name, object, by_name, compare_names)
RB_GENERATE(objects_by_name, object, by_name, compare_names)
RB_PROTOTYPE(objects_by_due, object, by_due, compare_due)
RB_GENERATE(objects_by_due, object, by_due, compare_due)
RB_PROTOTYPE(objects_shown, shown, node, compare_shown)
RB_GENERATE(objects_shown, shown, node, compare_shown)

struct objects {
    struct objects_by_name by_name;
    struct objects_by_due by_due[OBJECT_KINDS];
    struct objects_shown shown;
    uint64_t order;
    size_t count[OBJECT_KINDS], queued[OBJECT_KINDS];
};

struct objects *objects_new(void)
{
    struct objects *objects = mem_zalloc(sizeof(*objects));
    RB_INIT(&objects->by_name);
    for (int kind = 0; kind < OBJECT_KINDS; kind++)
        RB_INIT(&objects->by_due[kind]);
    RB_INIT(&objects->shown);
    return objects;
}

struct objects *objects_free(struct objects *objects)
{
    if (!objects)
        return NULL;
    while (!RB_EMPTY(&objects->by_name))
        objects_remove(objects, RB_ROOT(&objects->by_name));
    free(objects);
    return NULL;
}

/* ---- The part of an object that matters ---------------------------------------------------------------------------- */

static json_t *trim(const json_t *json, const struct kube_field *fields)
{
    json_t *part = json_object();
    for (; fields->name; fields++) {
        json_t *value = json_object_get(json, fields->name);
        if (fields->fields && fields->part == KUBE_FIELD && json_is_object(value))
            json_object_set_new(part, fields->name, trim(value, fields->fields));
        else if (value)
            json_object_set(part, fields->name, value);
    }
    return part;
}

static json_t *part_of(const json_t *json, enum object_kind kind)
{
    json_t *part = trim(json, object_kinds[kind].fields);
    if (kind == OBJECT_VIP)
        json_object_set_new(json_object_get(part, "metadata"), "managedFields",
                            status_managed_fields(status_get(json, "metadata", "managedFields")));
    return part;
}

static uint64_t fnv1a(const char *text)
{
    uint64_t hash = 14695981039346656037u;
    for (; *text; text++)
        hash = (hash ^ (uint8_t)*text) * 1099511628211u;
    return hash;
}

uint64_t objects_digest(enum object_kind kind, const json_t *json)
{
    const struct object_kind_info *info = &object_kinds[kind];
    json_t *ours = trim(json_object_get(json, "status"), info->status_fields), *conditions = json_array();
    for (const char *const *type = info->conditions; *type; type++)
        json_array_append_new(conditions, json_deep_copy(status_condition(json_object_get(ours, "conditions"), *type)));
    json_object_set_new(ours, "conditions", conditions);
    char *text = json_dumps(ours, JSON_COMPACT | JSON_SORT_KEYS);
    uint64_t digest = fnv1a(text);
    free(text);
    json_decref(ours);
    return digest;
}

static const struct ipam_addr no_addresses[2] = {{.family = IPAM_FAMILY_NONE}, {.family = IPAM_FAMILY_NONE}};

static void index_set(struct objects *objects, struct shown shown[2], const struct ipam_addr now[2])
{
    for (int i = 0; i < 2; i++) {
        if (shown[i].address.family != IPAM_FAMILY_NONE)
            RB_REMOVE(objects_shown, &objects->shown, &shown[i]);
        shown[i].address = now[i];
        if (now[i].family != IPAM_FAMILY_NONE)
            RB_INSERT(objects_shown, &objects->shown, &shown[i]);
    }
}

static void index_shown(struct objects *objects, struct object *object, const json_t *json)
{
    struct ipam_addr now[2];
    memcpy(now, no_addresses, sizeof(now));
    if (json && object->kind == OBJECT_VIP)
        vip_status_shown(json, now);
    index_set(objects, object->shown, now);
}

void objects_expect(struct objects *objects, struct object *object, const struct ipam_addr coming[2])
{
    index_set(objects, object->coming, coming);
}

void objects_settle(struct objects *objects, struct object *object)
{
    index_set(objects, object->coming, no_addresses);
}

struct object *objects_showing(struct objects *objects, const struct ipam_addr *address, const struct object *object)
{
    struct shown *shown = RB_ROOT(&objects->shown), *found = NULL;
    while (shown) { /* the first with the address; the rest follow it */
        bool before = ipam_addr_compare(&shown->address, address) < 0;
        found = before ? found : shown;
        shown = before ? RB_RIGHT(shown, node) : RB_LEFT(shown, node);
    }
    shown = found;
    while (shown && shown->object == object)
        shown = RB_NEXT(objects_shown, &objects->shown, shown);
    return shown && ipam_addr_equal(&shown->address, address) ? shown->object : NULL;
}

/* ---- Objects come and go ------------------------------------------------------------------------------------------- */

static struct object *object_new(struct objects *objects, enum object_kind kind, const char *name)
{
    struct object *object = mem_zalloc(sizeof(*object));
    object->kind = kind;
    object->name = mem_strdup(name);
    object->uid = mem_strdup("");
    object->version = mem_strdup("");
    object->shown[0].object = object->shown[1].object = object;
    object->coming[0].object = object->coming[1].object = object;
    RB_INSERT(objects_by_name, &objects->by_name, object);
    objects->count[kind]++;
    return object;
}

void objects_remove(struct objects *objects, struct object *object)
{
    objects_unqueue(objects, object);
    index_shown(objects, object, NULL);
    objects_settle(objects, object);
    RB_REMOVE(objects_by_name, &objects->by_name, object);
    objects->count[object->kind]--;
    ranges_done(&object->ranges);
    free(object->residue);
    free(object->seen);
    free(object->version);
    free(object->uid);
    free(object->name);
    free(object);
}

struct object *objects_get(struct objects *objects, enum object_kind kind, const char *name)
{
    struct object key = {.kind = kind, .name = (char *)(uintptr_t)name};
    return RB_FIND(objects_by_name, &objects->by_name, &key);
}

struct object *objects_next(struct objects *objects, enum object_kind kind, struct object *object)
{
    struct object key = {.kind = kind, .name = (char *)(uintptr_t) ""};
    object = object ? RB_NEXT(objects_by_name, &objects->by_name, object)
                    : RB_NFIND(objects_by_name, &objects->by_name, &key);
    return object && object->kind == kind ? object : NULL;
}

size_t objects_count(const struct objects *objects, enum object_kind kind)
{
    return objects->count[kind];
}

static void set_text(char **text, const char *now)
{
    if (strcmp(*text, now) != 0) {
        free(*text);
        *text = mem_strdup(now);
    }
}

/* A new object of the name: what was learnt about the old one is not true of it. */
static void object_renew(struct object *object, const char *uid)
{
    set_text(&object->uid, uid);
    free(object->residue);
    object->residue = NULL;
    object->changed = object->gone = object->unsure = false;
    object->unsettled_since = 0;
    object->history = (struct policy_history){.attempts = 0};
}

/* resourceVersions are numbers since ever, and officially since Kubernetes 1.35; what is none is taken as newer. */
static bool is_older(const char *version, const char *than)
{
    char *end, *than_end;
    errno = 0;
    unsigned long long a = strtoull(version, &end, 10), b = strtoull(than, &than_end, 10);
    return errno == 0 && end != version && *end == '\0' && than_end != than && *than_end == '\0' && a < b;
}

struct object *objects_take(struct objects *objects, enum object_kind kind, const json_t *json, bool no_older)
{
    const char *name = status_text(json, "metadata", "name"), *uid = status_text(json, "metadata", "uid"),
               *version = status_text(json, "metadata", "resourceVersion");
    struct object *object = *name ? objects_get(objects, kind, name) : NULL;
    if (!*name)
        return NULL;
    if (!object)
        object = object_new(objects, kind, name);
    if (object->seen && strcmp(object->uid, uid) == 0 && !object->gone &&
        (strcmp(object->version, version) == 0 || (no_older && is_older(version, object->version))))
        return NULL;
    if (strcmp(object->uid, uid) != 0 || object->gone)
        object_renew(object, uid);
    set_text(&object->version, version);
    json_t *part = part_of(json, kind);
    free(object->seen);
    object->seen = json_dumps(part, JSON_COMPACT);
    object->digest = objects_digest(kind, part);
    index_shown(objects, object, part);
    json_decref(part);
    return object;
}

/* ---- Which is looked at next --------------------------------------------------------------------------------------- */

static void place(struct objects *objects, struct object *object, uint64_t due)
{
    objects_unqueue(objects, object);
    object->due = due;
    object->order = ++objects->order;
    object->queued = true;
    RB_INSERT(objects_by_due, &objects->by_due[object->kind], object);
}

void objects_queue(struct objects *objects, struct object *object, uint64_t due)
{
    if (object->queued && !object->recheck && object->due <= due)
        return;
    place(objects, object, object->queued && object->due < due ? object->due : due);
    objects->queued[object->kind]++;
}

void objects_queue_recheck(struct objects *objects, struct object *object, uint64_t due)
{
    if (object->queued)
        return;
    place(objects, object, due);
    object->recheck = true;
}

void objects_unqueue(struct objects *objects, struct object *object)
{
    if (!object->queued)
        return;
    RB_REMOVE(objects_by_due, &objects->by_due[object->kind], object);
    objects->queued[object->kind] -= !object->recheck;
    object->queued = object->recheck = false;
}

struct object *objects_due(struct objects *objects, enum object_kind kind)
{
    return RB_MIN(objects_by_due, &objects->by_due[kind]);
}

size_t objects_queued(const struct objects *objects, enum object_kind kind)
{
    return objects->queued[kind];
}
