/* yaml_in.h: YAML (and JSON, which is YAML) as a tree of nodes that know their lines.
 *
 * Used by the readers of manifests and of kubeconfig files; knows nothing of either. Input is hostile: size, depth and number of nodes (aliases
 * counted as often as they are used) are bounded; duplicate keys, merge keys and aliases to what contains them are refused.
 */
#ifndef IPAM_PROTO_YAML_IN_H
#define IPAM_PROTO_YAML_IN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <ipam/error.h>

#include "arena.h"

#define YAML_SIZE_MAX  (16u * 1024 * 1024)
#define YAML_DEPTH_MAX 64
#define YAML_NODES_MAX 2000000

enum yaml_kind { YAML_SCALAR, YAML_SEQUENCE, YAML_MAPPING };

struct yaml_node {
    enum yaml_kind kind;
    unsigned int line;        /* from 1 */
    const char *text;         /* YAML_SCALAR */
    bool plain;               /* YAML_SCALAR without quotes, so that true and 1 are not strings */
    struct yaml_node **items; /* YAML_SEQUENCE: its items; YAML_MAPPING: key, value, key, value … */
    size_t count;             /* of items; of a mapping: twice its pairs */
    uint64_t weight;          /* nodes below and including this one, aliases followed; 0 while it is being read */
};

struct yaml_documents {
    struct yaml_node **items; /* empty documents are left out */
    size_t count;
};

/* `source` names the text in messages: "pools.yaml:3: …". Nodes live in the arena. Reason INVALID_REQUEST. */
int yaml_read(struct arena *arena, const char *source, const char *text, size_t size, struct yaml_documents *ret,
              struct ipam_error *reterr);

/* The value of a key, or NULL. A null value (~, null or nothing) counts as none. */
const struct yaml_node *yaml_get(const struct yaml_node *mapping, const char *key);
bool yaml_is_null(const struct yaml_node *node);

#endif
