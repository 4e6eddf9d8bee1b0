#include "manifest.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "manifest_fields.h"
#include "text.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

/* Where the reading is: one object of one file. */
struct reader {
    struct manifest *manifest;
    struct field_place place;
    struct manifest_object *object;
};

typedef int (*read_object)(struct reader *reader, const struct yaml_node *node);

void manifest_init(struct manifest *manifest)
{
    *manifest = (struct manifest){0};
    arena_init(&manifest->arena);
}

void manifest_done(struct manifest *manifest)
{
    arena_done(&manifest->arena);
    free(manifest->items);
    *manifest = (struct manifest){0};
}

static struct manifest_object *manifest_append(struct manifest *manifest)
{
    if (manifest->count == manifest->capacity) {
        manifest->capacity = manifest->capacity == 0 ? 16 : 2 * manifest->capacity;
        manifest->items = mem_realloc(manifest->items, manifest->capacity * sizeof(*manifest->items));
    }
    struct manifest_object *object = &manifest->items[manifest->count++];
    *object = (struct manifest_object){0};
    return object;
}

/* ---- Mappings against tables of fields ------------------------------------------------------------------------------ */

static int need_mapping(const struct reader *reader, const struct yaml_node *node, const char *path)
{
    if (node->kind == YAML_MAPPING)
        return 0;
    return field_fail(&reader->place, node, IPAM_REASON_INVALID_REQUEST,
                      "%s is not a mapping: write \"key: value\" lines", path);
}

static int fail_unknown(struct reader *reader, const struct yaml_node *key, const char *where, const char *const *known,
                        size_t count)
{
    return field_fail(&reader->place, key, IPAM_REASON_INVALID_REQUEST, "unknown field %s in %s%s", key->text, where,
                      text_did_you_mean(reader->place.arena, key->text, known, count));
}

static bool is_one_of(const char *word, const char *const *known, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (strcmp(word, known[i]) == 0)
            return true;
    }
    return false;
}

/* Every key must be one of the known. */
static int check_keys(struct reader *reader, const struct yaml_node *mapping, const char *where,
                      const char *const *known, size_t count)
{
    for (size_t i = 0; i < mapping->count; i += 2) {
        if (!is_one_of(mapping->items[i]->text, known, count))
            return fail_unknown(reader, mapping->items[i], where, known, count);
    }
    return 0;
}

/* Keys that are none of the known pass, unless they are nearly one of them: "adress" must not be overlooked. */
static int check_misspelt(struct reader *reader, const struct yaml_node *mapping, const char *where,
                          const char *const *known, size_t count)
{
    for (size_t i = 0; i < mapping->count; i += 2) {
        const char *key = mapping->items[i]->text;
        for (size_t k = 0; !is_one_of(key, known, count) && k < count; k++) {
            if (text_distance(key, known[k]) <= 1)
                return fail_unknown(reader, mapping->items[i], where, known, count);
        }
    }
    return 0;
}

/* ---- ProxyIPPool --------------------------------------------------------------------------------------------------- */

static int read_cidrs(const struct field_place *place, const struct yaml_node *node, Ipam__V1__PoolSpec *pool)
{
    return field_strings(place, node, field_check_cidr, &pool->cidrs, &pool->n_cidrs);
}

static int read_addresses(const struct field_place *place, const struct yaml_node *node, Ipam__V1__PoolSpec *pool)
{
    return field_strings(place, node, field_check_addresses, &pool->addresses, &pool->n_addresses);
}

static int read_excluded(const struct field_place *place, const struct yaml_node *node, Ipam__V1__PoolSpec *pool)
{
    return field_strings(place, node, field_check_excluded, &pool->excluded, &pool->n_excluded);
}

static int read_auto_assign(const struct field_place *place, const struct yaml_node *node, Ipam__V1__PoolSpec *pool)
{
    return field_bool(place, node, &pool->auto_assign);
}

static int read_reuse_delay(const struct field_place *place, const struct yaml_node *node, Ipam__V1__PoolSpec *pool)
{
    return field_uint32(place, node, &pool->reuse_delay_seconds);
}

static int read_paused(const struct field_place *place, const struct yaml_node *node, Ipam__V1__PoolSpec *pool)
{
    return field_bool(place, node, &pool->paused);
}

/* The fields of a pool's spec. The last three are ours, beyond NovaEdge's own. */
static const char *const pool_fields[] = {"cidrs", "addresses", "autoAssign", "excludedAddresses", "reuseDelaySeconds",
                                          "paused"};

static const struct {
    const char *path;
    int (*read)(const struct field_place *place, const struct yaml_node *node, Ipam__V1__PoolSpec *pool);
} pool_readers[] = {
    {"spec.cidrs", read_cidrs},
    {"spec.addresses", read_addresses},
    {"spec.autoAssign", read_auto_assign},
    {"spec.excludedAddresses", read_excluded},
    {"spec.reuseDelaySeconds", read_reuse_delay},
    {"spec.paused", read_paused},
};

_Static_assert(COUNT(pool_fields) == COUNT(pool_readers), "one reader for each field, in the same order");

static int read_pool(struct reader *reader, const struct yaml_node *spec)
{
    Ipam__V1__PoolSpec *pool = &reader->object->pool;

    ipam__v1__pool_spec__init(pool);
    pool->name = (char *)reader->object->name;
    reader->object->kind = MANIFEST_POOL;
    if (check_keys(reader, spec, "the spec of a ProxyIPPool", pool_fields, COUNT(pool_fields)) < 0)
        return -1;
    for (size_t i = 0; i < COUNT(pool_fields); i++) {
        const struct yaml_node *value = yaml_get(spec, pool_fields[i]);
        reader->place.path = pool_readers[i].path;
        if (value != NULL && pool_readers[i].read(&reader->place, value, pool) < 0)
            return -1;
    }
    if (pool->n_cidrs + pool->n_addresses == 0)
        return field_fail(&reader->place, spec, IPAM_REASON_INVALID_POOL_SPEC,
                          "the pool %s has no addresses: write spec.cidrs or spec.addresses", reader->object->name);
    return 0;
}

/* ---- ProxyVIP ------------------------------------------------------------------------------------------------------ */

static const char *const vip_fields[] = {"address", "ipv6Address", "addressFamily", "poolRef"};

static const struct family_word {
    const char *word;
    Ipam__V1__Family family;
    enum ipam_family address; /* what spec.address is */
} family_words[] = {
    {"ipv4", IPAM__V1__FAMILY__IPV4, IPAM_IPV4},
    {"ipv6", IPAM__V1__FAMILY__IPV6, IPAM_IPV6},
    {"dual", IPAM__V1__FAMILY__DUAL, IPAM_IPV4},
};

static int read_family(struct reader *reader, const struct yaml_node *spec, const struct family_word **ret)
{
    const struct yaml_node *node = yaml_get(spec, "addressFamily");
    char *word = "ipv4";

    reader->place.path = "spec.addressFamily";
    if (node != NULL && field_string(&reader->place, node, &word) < 0)
        return -1;
    for (size_t i = 0; i < COUNT(family_words); i++) {
        if (strcmp(word, family_words[i].word) == 0) {
            *ret = &family_words[i];
            return 0;
        }
    }
    return field_fail(&reader->place, node == NULL ? spec : node, IPAM_REASON_INVALID_REQUEST,
                      "spec.addressFamily is %s: write ipv4, ipv6 or dual", word);
}

static int read_vip_addresses(struct reader *reader, const struct yaml_node *spec, const struct family_word *family)
{
    const struct yaml_node *address = yaml_get(spec, "address"), *ipv6_address = yaml_get(spec, "ipv6Address");
    Ipam__V1__AllocateRequest *claim = &reader->object->claim;

    reader->place.path = "spec.address";
    if (address != NULL && field_address(&reader->place, address, family->address, &claim->address) < 0)
        return -1;
    reader->place.path = "spec.ipv6Address";
    if (ipv6_address != NULL && family->family == IPAM__V1__FAMILY__IPV4)
        return field_fail(&reader->place, ipv6_address, IPAM_REASON_INVALID_REQUEST,
                          "spec.ipv6Address goes with another family: set spec.addressFamily to dual or ipv6");
    if (ipv6_address != NULL && address != NULL && family->family == IPAM__V1__FAMILY__IPV6)
        return field_fail(&reader->place, ipv6_address, IPAM_REASON_INVALID_REQUEST,
                          "spec.address and spec.ipv6Address both ask for the one IPv6 address: write one of them");
    return ipv6_address == NULL ? 0 : field_address(&reader->place, ipv6_address, IPAM_IPV6, &claim->ipv6_address);
}

static int read_pool_ref(struct reader *reader, const struct yaml_node *spec, char **ret)
{
    const struct yaml_node *ref = yaml_get(spec, "poolRef");

    if (ref == NULL)
        return 0;
    if (need_mapping(reader, ref, "spec.poolRef") < 0)
        return -1;
    const struct yaml_node *name = yaml_get(ref, "name");
    if (name == NULL)
        return field_fail(&reader->place, ref, IPAM_REASON_INVALID_REQUEST,
                          "spec.poolRef has no name: write the pool's name as spec.poolRef.name");
    reader->place.path = "spec.poolRef.name";
    return field_string(&reader->place, name, ret);
}

/* A VIP without a pool is a manual claim; each of its families needs its address. */
static int check_manual(struct reader *reader, const struct yaml_node *spec)
{
    const Ipam__V1__AllocateRequest *claim = &reader->object->claim;
    bool has_address = claim->address[0] != '\0', has_ipv6 = claim->ipv6_address[0] != '\0';

    if (claim->pool[0] != '\0')
        return 0;
    if (!has_address && !has_ipv6)
        return field_fail(&reader->place, spec, IPAM_REASON_INVALID_REQUEST,
                          "the VIP %s has neither a pool nor an address: write spec.poolRef.name or spec.address",
                          reader->object->name);
    if (claim->family == IPAM__V1__FAMILY__DUAL && !(has_address && has_ipv6))
        return field_fail(
            &reader->place, spec, IPAM_REASON_INVALID_REQUEST,
            "the dual VIP %s has no pool and one address: write spec.poolRef.name, or both spec.address and "
            "spec.ipv6Address",
            reader->object->name);
    return 0;
}

static int read_vip(struct reader *reader, const struct yaml_node *spec)
{
    struct manifest_object *object = reader->object;
    const struct family_word *family = &family_words[0];

    object->kind = MANIFEST_VIP;
    ipam__v1__owner__init(&object->owner);
    object->owner.kind = MANIFEST_VIP_KIND;
    object->owner.name = (char *)object->name;
    ipam__v1__allocate_request__init(&object->claim);
    object->claim.replace = true;
    if (check_misspelt(reader, spec, "the spec of a ProxyVIP", vip_fields, COUNT(vip_fields)) < 0)
        return -1;
    if (read_family(reader, spec, &family) < 0)
        return -1;
    object->claim.family = family->family;
    if (read_vip_addresses(reader, spec, family) < 0 || read_pool_ref(reader, spec, &object->claim.pool) < 0)
        return -1;
    return check_manual(reader, spec);
}

/* ---- Objects ------------------------------------------------------------------------------------------------------- */

static const struct kind_row {
    const char *kind;
    read_object read;
} kinds[] = {{"ProxyIPPool", read_pool}, {"ProxyVIP", read_vip}};

/* The text of a field that every object must have. */
static int need_text(struct reader *reader, const struct yaml_node *mapping, const char *key, const char *path,
                     char **ret)
{
    const struct yaml_node *value = yaml_get(mapping, key);

    if (value == NULL || (value->kind == YAML_SCALAR && value->text[0] == '\0'))
        return field_fail(&reader->place, value == NULL ? mapping : value, IPAM_REASON_INVALID_REQUEST,
                          "the object has no %s: write one", path);
    reader->place.path = path;
    return field_string(&reader->place, value, ret);
}

static int read_name(struct reader *reader, const struct yaml_node *node, char **ret)
{
    const struct yaml_node *metadata = yaml_get(node, "metadata");

    if (metadata == NULL)
        return field_fail(&reader->place, node, IPAM_REASON_INVALID_REQUEST,
                          "the object has no name: write metadata.name");
    if (need_mapping(reader, metadata, "metadata") < 0)
        return -1;
    return need_text(reader, metadata, "name", "metadata.name", ret);
}

static int find_kind(struct reader *reader, const struct yaml_node *node, const struct kind_row **ret)
{
    char *version, *kind;

    if (need_text(reader, node, "apiVersion", "apiVersion", &version) < 0 ||
        need_text(reader, node, "kind", "kind", &kind) < 0)
        return -1;
    for (size_t i = 0; i < COUNT(kinds); i++) {
        if (strcmp(kind, kinds[i].kind) == 0)
            *ret = &kinds[i];
    }
    if (*ret == NULL)
        return field_fail(&reader->place, yaml_get(node, "kind"), IPAM_REASON_INVALID_REQUEST,
                          "unknown kind %s: write ProxyIPPool or ProxyVIP (of " MANIFEST_API_VERSION "), or List",
                          kind);
    if (strcmp(version, MANIFEST_API_VERSION) != 0)
        return field_fail(&reader->place, yaml_get(node, "apiVersion"), IPAM_REASON_INVALID_REQUEST,
                          "%s of %s is not known: write apiVersion: " MANIFEST_API_VERSION, kind, version);
    return 0;
}

static int read_one(struct reader *reader, const struct yaml_node *node)
{
    static const char *const fields[] = {"apiVersion", "kind", "metadata", "spec", "status"};
    const struct kind_row *kind = NULL;
    char *name;

    if (need_mapping(reader, node, "the object") < 0 || find_kind(reader, node, &kind) < 0)
        return -1;
    if (check_keys(reader, node, kind->kind, fields, COUNT(fields)) < 0 || read_name(reader, node, &name) < 0)
        return -1;
    const struct yaml_node *spec = yaml_get(node, "spec");
    if (spec == NULL)
        return field_fail(&reader->place, node, IPAM_REASON_INVALID_REQUEST, "the %s %s has no spec: write one",
                          kind->kind, name);
    if (need_mapping(reader, spec, "spec") < 0)
        return -1;
    reader->object = manifest_append(reader->manifest);
    reader->object->name = name;
    reader->object->source = reader->place.source;
    reader->object->line = node->line;
    return kind->read(reader, spec);
}

static bool is_list(const struct yaml_node *node)
{
    const struct yaml_node *kind = node->kind == YAML_MAPPING ? yaml_get(node, "kind") : NULL;
    size_t length = kind != NULL && kind->kind == YAML_SCALAR ? strlen(kind->text) : 0;

    return length >= 4 && strcmp(kind->text + length - 4, "List") == 0;
}

/* One document: an object, or a List of them as kubectl get -o yaml writes it. */
static int read_document(struct reader *reader, const struct yaml_node *node)
{
    if (!is_list(node))
        return read_one(reader, node);
    const struct yaml_node *items = yaml_get(node, "items");
    if (items == NULL || items->kind != YAML_SEQUENCE)
        return field_fail(&reader->place, node, IPAM_REASON_INVALID_REQUEST,
                          "the List has no items: write the objects under items");
    for (size_t i = 0; i < items->count; i++) {
        if (read_one(reader, items->items[i]) < 0)
            return -1;
    }
    return 0;
}

int manifest_add(struct manifest *manifest, const char *source, const char *text, size_t size,
                 struct ipam_error *reterr)
{
    struct reader reader = {.manifest = manifest};
    struct yaml_documents documents;

    reader.place = (struct field_place){
        .arena = &manifest->arena, .source = arena_strdup(&manifest->arena, source), .path = "", .reterr = reterr};
    if (yaml_read(&manifest->arena, reader.place.source, text, size, &documents, reterr) < 0)
        return -1;
    if (documents.count == 0)
        return ipam_error_set(reterr, IPAM_REASON_INVALID_REQUEST,
                              "%s: holds no object: write a ProxyIPPool or a ProxyVIP", source);
    for (size_t i = 0; i < documents.count; i++) {
        if (read_document(&reader, documents.items[i]) < 0)
            return -1;
    }
    return 0;
}

/* ---- The whole ------------------------------------------------------------------------------------------------------ */

static int compare_names(const void *a, const void *b)
{
    const struct manifest_object *const *left = a, *const *right = b;

    if ((*left)->kind != (*right)->kind)
        return (*left)->kind < (*right)->kind ? -1 : 1;
    int order = strcmp((*left)->name, (*right)->name);
    return order != 0 ? order : (*left < *right ? -1 : *left > *right);
}

static int check_twice(struct manifest *manifest, struct ipam_error *reterr)
{
    const struct manifest_object **sorted = arena_alloc(&manifest->arena, (manifest->count + 1) * sizeof(*sorted));

    for (size_t i = 0; i < manifest->count; i++)
        sorted[i] = &manifest->items[i];
    qsort(sorted, manifest->count, sizeof(*sorted), compare_names);
    for (size_t i = 1; i < manifest->count; i++) {
        const struct manifest_object *first = sorted[i - 1], *second = sorted[i];
        if (first->kind == second->kind && strcmp(first->name, second->name) == 0)
            return ipam_error_set(reterr, IPAM_REASON_INVALID_REQUEST,
                                  "%s:%u: %s stands twice, first at %s:%u: keep one of them", second->source,
                                  second->line, manifest_object_label(&manifest->arena, second), first->source,
                                  first->line);
    }
    return 0;
}

static unsigned int send_rank(const struct manifest_object *object)
{
    if (object->kind == MANIFEST_POOL)
        return 0;
    return object->claim.address[0] != '\0' || object->claim.ipv6_address[0] != '\0' ? 1 : 2;
}

int manifest_finish(struct manifest *manifest, struct ipam_error *reterr)
{
    if (check_twice(manifest, reterr) < 0)
        return -1;
    struct manifest_object *ordered = mem_alloc((manifest->count + 1) * sizeof(*ordered));
    size_t count = 0;
    for (unsigned int rank = 0; rank <= 2; rank++) {
        for (size_t i = 0; i < manifest->count; i++) {
            if (send_rank(&manifest->items[i]) == rank)
                ordered[count++] = manifest->items[i];
        }
    }
    free(manifest->items);
    manifest->items = ordered;
    manifest->capacity = count;
    for (size_t i = 0; i < count; i++)
        ordered[i].claim.owner = &ordered[i].owner;
    return 0;
}

const char *manifest_object_label(struct arena *arena, const struct manifest_object *object)
{
    return arena_printf(arena, "%s/%s", object->kind == MANIFEST_POOL ? "proxyippool" : "proxyvip", object->name);
}
