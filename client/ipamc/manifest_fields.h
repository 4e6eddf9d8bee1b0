/* manifest_fields.h: one YAML value into one field of a request.
 *
 * Used by manifest.c's tables of fields. Every function takes the reader's place (source name, arena, error) and the
 * node; it returns 0, or -1 with FILE:LINE, what is wrong and what to write. Nothing here knows which kind has which field.
 */
#ifndef IPAMC_MANIFEST_FIELDS_H
#define IPAMC_MANIFEST_FIELDS_H

#include <ipam/addr.h>
#include <ipam/error.h>

#include "yaml_in.h"

struct field_place {
    struct arena *arena;
    const char *source; /* file name, for messages */
    const char *path;   /* of the field, for messages: "spec.cidrs" */
    struct ipam_error *reterr;
};

/* FILE:LINE: what, with a reason. Returns -1. */
int field_fail(const struct field_place *place, const struct yaml_node *node, enum ipam_reason reason,
               const char *format, ...) __attribute__((format(printf, 4, 5)));

/* Says whether an entry of a list can be used; its error tells no place. */
typedef int (*field_check)(const char *text, struct ipam_error *reterr);

int field_string(const struct field_place *place, const struct yaml_node *node, char **ret);
int field_bool(const struct field_place *place, const struct yaml_node *node, int *ret);
int field_uint32(const struct field_place *place, const struct yaml_node *node, uint32_t *ret);
int field_strings(const struct field_place *place, const struct yaml_node *node, field_check check, char ***ret,
                  size_t *ret_count);

/* An address of a family that is not IPAM_FAMILY_NONE; stays as it was written. */
int field_address(const struct field_place *place, const struct yaml_node *node, enum ipam_family family, char **ret);

int field_check_cidr(const char *text, struct ipam_error *reterr);
int field_check_addresses(const char *text, struct ipam_error *reterr);
int field_check_excluded(const char *text, struct ipam_error *reterr);

#endif
