#include "manifest_fields.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int field_fail(const struct field_place *place, const struct yaml_node *node, enum ipam_reason reason,
               const char *format, ...)
{
    char what[sizeof(((struct ipam_error *)NULL)->message)];
    va_list args;

    va_start(args, format);
    vsnprintf(what, sizeof(what), format, args);
    va_end(args);
    return ipam_error_set(place->reterr, reason, "%s:%u: %s", place->source, node->line, what);
}

int field_string(const struct field_place *place, const struct yaml_node *node, char **ret)
{
    if (node->kind != YAML_SCALAR || yaml_is_null(node))
        return field_fail(place, node, IPAM_REASON_INVALID_REQUEST, "%s is not a text: write a single value",
                          place->path);
    *ret = arena_strdup(place->arena, node->text);
    return 0;
}

int field_bool(const struct field_place *place, const struct yaml_node *node, int *ret)
{
    static const struct {
        const char *text;
        int value;
    } words[] = {{"true", 1}, {"True", 1}, {"TRUE", 1}, {"false", 0}, {"False", 0}, {"FALSE", 0}};

    for (size_t i = 0; node->kind == YAML_SCALAR && node->plain && i < sizeof(words) / sizeof(words[0]); i++) {
        if (strcmp(node->text, words[i].text) == 0) {
            *ret = words[i].value;
            return 0;
        }
    }
    return field_fail(place, node, IPAM_REASON_INVALID_REQUEST,
                      "%s is not a truth value: write true or false, without quotes", place->path);
}

int field_uint32(const struct field_place *place, const struct yaml_node *node, uint32_t *ret)
{
    size_t length = node->kind == YAML_SCALAR && node->plain ? strlen(node->text) : 0;

    if (length > 0 && length <= 10 && strspn(node->text, "0123456789") == length) {
        unsigned long long number = strtoull(node->text, NULL, 10);
        if (number <= UINT32_MAX) {
            *ret = (uint32_t)number;
            return 0;
        }
    }
    return field_fail(place, node, IPAM_REASON_INVALID_REQUEST,
                      "%s is not a whole number from 0 to %u: write one like 300", place->path, UINT32_MAX);
}

int field_strings(const struct field_place *place, const struct yaml_node *node, field_check check, char ***ret,
                  size_t *ret_count)
{
    if (node->kind != YAML_SEQUENCE)
        return field_fail(place, node, IPAM_REASON_INVALID_REQUEST,
                          "%s is not a list: write each entry on a line of its own after \"- \"", place->path);
    char **texts = arena_alloc(place->arena, (node->count + 1) * sizeof(*texts));
    for (size_t i = 0; i < node->count; i++) {
        struct ipam_error why;
        if (field_string(place, node->items[i], &texts[i]) < 0)
            return -1;
        if (check(texts[i], &why) < 0)
            return field_fail(place, node->items[i], IPAM_REASON_INVALID_POOL_SPEC, "%s: %s", place->path, why.message);
    }
    *ret = texts;
    *ret_count = node->count;
    return 0;
}

int field_address(const struct field_place *place, const struct yaml_node *node, enum ipam_family family, char **ret)
{
    struct ipam_addr addr;
    struct ipam_error why;

    if (field_string(place, node, ret) < 0)
        return -1;
    if (ipam_addr_parse(*ret, &addr, &why) < 0)
        return field_fail(place, node, IPAM_REASON_INVALID_ADDRESS, "%s: %s", place->path, why.message);
    if (addr.family != family)
        return field_fail(place, node, IPAM_REASON_INVALID_ADDRESS,
                          "%s: %s is no %s address: write one, or set spec.addressFamily to %s", place->path, *ret,
                          ipam_family_name(family), ipam_family_name(addr.family));
    return 0;
}

int field_check_cidr(const char *text, struct ipam_error *reterr)
{
    struct ipam_cidr cidr;
    return ipam_cidr_parse(text, &cidr, reterr);
}

int field_check_addresses(const char *text, struct ipam_error *reterr)
{
    struct ipam_range range;
    return ipam_addr_range_parse(text, &range, reterr);
}

int field_check_excluded(const char *text, struct ipam_error *reterr)
{
    struct ipam_range range;
    return ipam_exclusion_parse(text, &range, reterr);
}
