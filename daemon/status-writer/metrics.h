/* metrics.h: the status-writer's lines of /metrics.
 *
 * Called by writer.c. It knows names and formats, and reads what it is given.
 */
#ifndef IPAM_STATUS_METRICS_H
#define IPAM_STATUS_METRICS_H

#include <stdio.h>

#include "follow.h"
#include "schedule.h"

typedef uint64_t pass_counts[OBJECT_KINDS][PASS_OUTCOMES];

void metrics_passes(FILE *out, const pass_counts *counts);
void metrics_state(FILE *out, const struct objects *objects, const struct schedule *schedule,
                   const struct follow *follow); /* while it acts */
void metrics_unreadable(FILE *out, const size_t counts[OBJECT_KINDS]);

#endif
