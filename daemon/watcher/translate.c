#include "translate.h"

#include <stdio.h>
#include <string.h>

/* ---- What is read of an object; nothing else of it comes ------------------------------------------------------------- */

static const struct kube_field metadata_fields[] = {KUBE_LEAF("name"),
                                                    KUBE_LEAF("uid"),
                                                    KUBE_LEAF("resourceVersion"),
                                                    KUBE_LEAF("generation"),
                                                    KUBE_LEAF("creationTimestamp"),
                                                    KUBE_LEAF("deletionTimestamp"),
                                                    KUBE_LEAF("finalizers"),
                                                    KUBE_END};

static const struct kube_field pool_spec_fields[] = {KUBE_LEAF("cidrs"),
                                                     KUBE_LEAF("addresses"),
                                                     KUBE_LEAF("excludedAddresses"),
                                                     KUBE_LEAF("autoAssign"),
                                                     KUBE_LEAF("reuseDelaySeconds"),
                                                     KUBE_LEAF("paused"),
                                                     KUBE_END};

static const struct kube_field reference_fields[] = {KUBE_LEAF("name"), KUBE_END};
static const struct kube_field vip_spec_fields[] = {KUBE_TABLE("poolRef", reference_fields), KUBE_LEAF("addressFamily"),
                                                    KUBE_LEAF("address"), KUBE_LEAF("ipv6Address"), KUBE_END};
static const struct kube_field vip_status_fields[] = {KUBE_LEAF("allocatedAddress"), KUBE_LEAF("allocatedIPv6Address"),
                                                      KUBE_END};

const struct kube_field pool_fields[] = {KUBE_TABLE("metadata", metadata_fields), KUBE_TABLE("spec", pool_spec_fields),
                                         KUBE_END};
const struct kube_field vip_fields[] = {KUBE_TABLE("metadata", metadata_fields), KUBE_TABLE("spec", vip_spec_fields),
                                        KUBE_TABLE("status", vip_status_fields), KUBE_END};

static char *mutable(const char *text) /* protobuf-c's structs know no const */
{
    return (char *)(uintptr_t)text;
}

/* ---- Fields -------------------------------------------------------------------------------------------------------- */

static bool missing(const json_t *value)
{
    return !value || json_is_null(value);
}

static int wrong(const char *path, const char *takes, struct ipam_error *reterr)
{
    return ipam_error_set(reterr, IPAM_REASON_INVALID_REQUEST, "%s can't be used: write %s", path, takes);
}

/* Missing: "" stands there. */
static int read_text(const json_t *parent, const char *key, const char *path, const char **ret,
                     struct ipam_error *reterr)
{
    const json_t *value = json_object_get(parent, key);
    if (!missing(value) && !json_is_string(value))
        return wrong(path, "a string", reterr);
    *ret = missing(value) ? "" : json_string_value(value);
    return 0;
}

static int read_flag(const json_t *parent, const char *key, const char *path, protobuf_c_boolean *ret,
                     struct ipam_error *reterr)
{
    const json_t *value = json_object_get(parent, key);
    if (!missing(value) && !json_is_boolean(value))
        return wrong(path, "true or false", reterr);
    *ret = json_is_true(value);
    return 0;
}

static int read_object(const json_t *parent, const char *key, const char *path, const json_t **ret,
                       struct ipam_error *reterr)
{
    const json_t *value = json_object_get(parent, key);
    if (!missing(value) && !json_is_object(value))
        return wrong(path, "an object", reterr);
    *ret = missing(value) ? NULL : value;
    return 0;
}

static int read_list(const json_t *parent, const char *key, const char *path, struct arena *arena, size_t *ret_count,
                     char ***ret, struct ipam_error *reterr)
{
    const json_t *value = json_object_get(parent, key);
    if (!missing(value) && !json_is_array(value))
        return wrong(path, "a list of strings", reterr);
    size_t count = json_array_size(value);
    char **items = arena_alloc(arena, (count + 1) * sizeof *items);
    for (size_t i = 0; i < count; i++) {
        const char *text = json_string_value(json_array_get(value, i));
        if (!text)
            return wrong(path, "a list of strings", reterr);
        items[i] = mutable(text);
    }
    *ret_count = count;
    *ret = items;
    return 0;
}

/* ---- Metadata ------------------------------------------------------------------------------------------------------ */

static bool has_finalizer(const json_t *metadata)
{
    const json_t *list = json_object_get(metadata, "finalizers"), *item;
    size_t i;
    json_array_foreach((json_t *)(uintptr_t)list, i, item)
    {
        const char *text = json_string_value(item);
        if (text && strcmp(text, POOL_FINALIZER) == 0)
            return true;
    }
    return false;
}

static int read_word(const json_t *metadata, const char *key, const char *path, size_t max, const char **ret,
                     struct ipam_error *reterr)
{
    if (read_text(metadata, key, path, ret, reterr) < 0)
        return -1;
    if (!**ret)
        return ipam_error_set(reterr, IPAM_REASON_INVALID_REQUEST, "%s is missing", path);
    if (strlen(*ret) > max)
        return ipam_error_set(reterr, IPAM_REASON_INVALID_REQUEST, "%s is longer than %zu bytes: %.32s…", path, max,
                              *ret);
    return 0;
}

int object_identify(const json_t *object, struct object_id *ret, struct ipam_error *reterr)
{
    const json_t *metadata = json_object_get(object, "metadata");
    struct object_id id;
    if (read_word(metadata, "name", "metadata.name", NAME_MAX_BYTES, &id.name, reterr) < 0)
        return -1;
    if (read_word(metadata, "uid", "metadata.uid", UID_MAX_BYTES, &id.uid, reterr) < 0)
        return ipam_error_prefix(reterr, "%s", id.name);
    const char *created = json_string_value(json_object_get(metadata, "creationTimestamp"));
    id.created = created ? created : "";
    id.deleting = !missing(json_object_get(metadata, "deletionTimestamp"));
    id.finalizer = has_finalizer(metadata);
    *ret = id;
    return 0;
}

/* ---- VIPs ---------------------------------------------------------------------------------------------------------- */

static const struct {
    const char *text;
    Ipam__V1__Family family;
} families[] = {
    {"", IPAM__V1__FAMILY__IPV4}, /* the default of the field */
    {"ipv4", IPAM__V1__FAMILY__IPV4},
    {"ipv6", IPAM__V1__FAMILY__IPV6},
    {"dual", IPAM__V1__FAMILY__DUAL},
};

static int read_family(const json_t *spec, Ipam__V1__Family *ret, struct ipam_error *reterr)
{
    const char *text;
    if (read_text(spec, "addressFamily", "spec.addressFamily", &text, reterr) < 0)
        return -1;
    for (size_t i = 0; i < sizeof families / sizeof *families; i++)
        if (strcmp(text, families[i].text) == 0) {
            *ret = families[i].family;
            return 0;
        }
    return wrong("spec.addressFamily", "ipv4, ipv6 or dual", reterr);
}

/* Which of the two texts counts. With ipv6 alone `address` may hold the address too, as there is no other. */
static void choose_addresses(const char *address, const char *ipv6_address, struct vip_wish *ret)
{
    Ipam__V1__AllocateRequest *request = &ret->request;
    bool ipv6_only = request->family == IPAM__V1__FAMILY__IPV6;
    if (*ipv6_address && request->family == IPAM__V1__FAMILY__IPV4) {
        snprintf(ret->ignored, sizeof ret->ignored,
                 "spec.ipv6Address is not used: addressFamily is ipv4; write dual to have both");
        ipv6_address = "";
    }
    if (*address && *ipv6_address && ipv6_only) {
        snprintf(ret->ignored, sizeof ret->ignored,
                 "spec.address is not used: addressFamily is ipv6; write dual to have both");
        address = "";
    }
    request->address = mutable(address);
    request->ipv6_address = mutable(ipv6_address);
}

static struct ipam_addr read_recorded(const json_t *status, const char *key, enum ipam_family family)
{
    const char *text = json_string_value(json_object_get(status, key));
    struct ipam_addr address;
    if (text && ipam_addr_parse(text, &address, NULL) == 0 && address.family == family)
        return address;
    return (struct ipam_addr){0};
}

static int read_pool_ref(const json_t *spec, const char **ret, struct ipam_error *reterr)
{
    const json_t *reference;
    if (read_object(spec, "poolRef", "spec.poolRef", &reference, reterr) < 0 ||
        read_text(reference, "name", "spec.poolRef.name", ret, reterr) < 0)
        return -1;
    if (reference && !**ret)
        return wrong("spec.poolRef.name", "the name of a ProxyIPPool, or leave poolRef out", reterr);
    return 0;
}

/* What could not be kept of an object is not known to be absent from it. */
static int read_spec(const json_t *object, const json_t **ret, struct ipam_error *reterr)
{
    const char *problem = kube_object_problem(object);
    if (problem)
        return ipam_error_set(reterr, IPAM_REASON_INVALID_REQUEST, "%s: write what the field takes", problem);
    return read_object(object, "spec", "spec", ret, reterr);
}

int vip_read(const json_t *object, struct vip_wish *ret, struct ipam_error *reterr)
{
    const json_t *spec, *status = json_object_get(object, "status");
    const char *pool, *address, *ipv6_address;
    struct object_id id;
    ipam__v1__allocate_request__init(&ret->request);
    ipam__v1__owner__init(&ret->owner);
    ret->ignored[0] = '\0';
    ret->recorded[0] = read_recorded(status, "allocatedAddress", IPAM_IPV4);
    ret->recorded[1] = read_recorded(status, "allocatedIPv6Address", IPAM_IPV6);
    if (object_identify(object, &id, reterr) < 0 || read_spec(object, &spec, reterr) < 0 ||
        read_family(spec, &ret->request.family, reterr) < 0 || read_pool_ref(spec, &pool, reterr) < 0 ||
        read_text(spec, "address", "spec.address", &address, reterr) < 0 ||
        read_text(spec, "ipv6Address", "spec.ipv6Address", &ipv6_address, reterr) < 0)
        return -1;
    ret->owner.kind = mutable(OWNER_KIND);
    ret->owner.name = mutable(id.name);
    ret->owner.uid = mutable(id.uid);
    ret->request.owner = &ret->owner;
    ret->request.pool = mutable(pool);
    ret->request.enqueue = ret->request.replace = true;
    choose_addresses(address, ipv6_address, ret);
    ret->asks = *pool || *ret->request.address || *ret->request.ipv6_address;
    return 0;
}

/* ---- Pools --------------------------------------------------------------------------------------------------------- */

static int read_reuse_delay(const json_t *spec, uint32_t *ret, struct ipam_error *reterr)
{
    const json_t *value = json_object_get(spec, "reuseDelaySeconds");
    json_int_t seconds = json_integer_value(value);
    if (!missing(value) && (!json_is_integer(value) || seconds < 0 || seconds > UINT32_MAX))
        return wrong("spec.reuseDelaySeconds", "a whole number of seconds, 0 or more", reterr);
    *ret = (uint32_t)seconds;
    return 0;
}

int pool_read(const json_t *object, struct arena *arena, Ipam__V1__PoolSpec *ret, struct ipam_error *reterr)
{
    const json_t *spec;
    struct object_id id;
    ipam__v1__pool_spec__init(ret);
    if (object_identify(object, &id, reterr) < 0 || read_spec(object, &spec, reterr) < 0 ||
        read_list(spec, "cidrs", "spec.cidrs", arena, &ret->n_cidrs, &ret->cidrs, reterr) < 0 ||
        read_list(spec, "addresses", "spec.addresses", arena, &ret->n_addresses, &ret->addresses, reterr) < 0 ||
        read_list(spec, "excludedAddresses", "spec.excludedAddresses", arena, &ret->n_excluded, &ret->excluded,
                  reterr) < 0 ||
        read_flag(spec, "autoAssign", "spec.autoAssign", &ret->auto_assign, reterr) < 0 ||
        read_flag(spec, "paused", "spec.paused", &ret->paused, reterr) < 0 ||
        read_reuse_delay(spec, &ret->reuse_delay_seconds, reterr) < 0)
        return -1;
    ret->name = mutable(id.name);
    ret->uid = mutable(id.uid);
    ret->generation = json_integer_value(json_object_get(json_object_get(object, "metadata"), "generation"));
    return 0;
}

json_t *finalizer_patch(const json_t *object, bool wanted)
{
    const json_t *metadata = json_object_get(object, "metadata"), *item;
    const json_t *version = json_object_get(metadata, "resourceVersion");
    json_t *list = json_array(), *now = json_object_get(metadata, "finalizers");
    size_t i;
    json_array_foreach(now, i, item)
    {
        const char *text = json_string_value(item);
        if (!text || strcmp(text, POOL_FINALIZER) != 0)
            json_array_append(list, (json_t *)(uintptr_t)item);
    }
    bool there = json_array_size(list) < json_array_size(now);
    if (there == wanted || !json_is_string(version)) {
        json_decref(list);
        return NULL;
    }
    if (wanted)
        json_array_append_new(list, json_string(POOL_FINALIZER));
    return json_pack("{s:{s:O,s:o}}", "metadata", "resourceVersion", version, "finalizers", list);
}
