/* clock.h: what both clocks say, and whether the wall clock was set.
 *
 * Called by main for the start and by the loop once an iteration. It must not know what the time is for.
 */
#ifndef IPAMD_CLOCK_H
#define IPAMD_CLOCK_H

#include "engine.h"

struct clock {
    struct wall_time now;
    struct elapsed_time elapsed;
};

/* The clocks, and which boot this is. Where the system does not tell, the boot is like no other. */
void clock_start(struct engine_clock *ret);

/* Reads both. Returns by how many ns the wall clock was set since the reading before, which *clock holds: forward if over 0;
 * 0 when it kept within a few seconds of elapsed time. */
int64_t clock_read(struct clock *clock);

#endif
