/* limits.h: what clients may have of the engine, read from the options.
 *
 * Made by start-up, handed to the engine with every call. It must not know what the engine does with it.
 */
#ifndef IPAMD_LIMITS_H
#define IPAMD_LIMITS_H

#include "engine.h"
#include "options.h"

#define MANUAL_RANGES_MAX 64

struct limits {
    struct engine_limits engine; /* points into the rest */
    struct claim_limit claims[OPTION_LIST_MAX];
    char kinds[OPTION_LIST_MAX][ENGINE_NAME_MAX + 1];
    struct ipam_range manual[MANUAL_RANGES_MAX];
    char manual_text[640]; /* the ranges, "…" instead of those that don't fit */
};

/* `limits` stays where it is. -1 with INVALID_REQUEST: a --max-claims that is no KIND=N, or names a kind twice; a
 * --manual-addresses that is no range, or `none` beside one, or more of them than fit. */
int limits_init(struct limits *limits, const struct options *options, struct ipam_error *reterr);

#endif
