/* histogram.h: durations counted in a fixed number of buckets.
 *
 * Used by the load generator for each call's latency. A bucket is at most 1/64 of its value wide, so a quantile is off by
 * no more than 1.6 %. It knows nothing of clocks or calls.
 */
#ifndef IPAMD_BENCH_HISTOGRAM_H
#define IPAMD_BENCH_HISTOGRAM_H

#include <stdint.h>

#define HISTOGRAM_STEPS   64 /* buckets for each doubling */
#define HISTOGRAM_BUCKETS (HISTOGRAM_STEPS * 40)

struct histogram {
    uint64_t count;
    uint64_t buckets[HISTOGRAM_BUCKETS];
};

void histogram_add(struct histogram *histogram, uint64_t ns);
/* The value that the share `quantile` (0 to 1) of what was added does not exceed; 0 when nothing was. */
uint64_t histogram_quantile(const struct histogram *histogram, double quantile);

#endif
