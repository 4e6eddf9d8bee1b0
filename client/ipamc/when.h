/* when.h: times and spans as people and JSON write them.
 *
 * Used by option parsing (--timeout), tables (AGE) and the JSON mapping (RFC 3339). It reads no clock: the present
 * comes in as a value.
 */
#ifndef IPAMC_WHEN_H
#define IPAMC_WHEN_H

#include <stdint.h>

#include <ipam/error.h>

#define WHEN_TIMEOUT_MAX_MS 86400000 /* a day */
#define WHEN_AGE_MAX        32
#define WHEN_RFC3339_MAX    32

/* "10" (seconds), "500ms", "10s", "1.5s", "1m", "2h"; from 1 ms to a day. */
int when_timeout_parse(const char *text, uint32_t *ret_ms, struct ipam_error *reterr);

/* A span as kubectl writes ages: 47s, 5m30s, 90m, 5h, 3d4h, 2y. One that is negative by more than a second: <invalid>. */
const char *when_age(int64_t seconds, char text[WHEN_AGE_MAX]);

/* 2024-01-15T10:30:00Z with 0, 3, 6 or 9 digits of fraction. -1: outside the years 1 to 9999, or nanos not within a second. */
int when_rfc3339_format(int64_t seconds, int32_t nanos, char text[WHEN_RFC3339_MAX]);

/* Any RFC 3339 time, with its offset taken out. -1: not one. */
int when_rfc3339_parse(const char *text, int64_t *ret_seconds, int32_t *ret_nanos);

/* A moment: RFC 3339, "now", or a span before `now`: "-2h", "2h ago", "90m ago" (s, m, h, d, w). -1 with *reterr. */
int when_moment_parse(const char *text, int64_t now, int64_t *ret_seconds, int32_t *ret_nanos,
                      struct ipam_error *reterr);

#endif
