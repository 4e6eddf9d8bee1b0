#include "histogram.h"

#include <stddef.h>

/* Below HISTOGRAM_STEPS a bucket a nanosecond; above, the leading 7 bits of the value choose the bucket. */
static size_t bucket_of(uint64_t ns)
{
    if (ns < HISTOGRAM_STEPS)
        return (size_t)ns;
    unsigned int shift = 57u - (unsigned int)__builtin_clzll(ns);
    size_t bucket = (shift + 1u) * HISTOGRAM_STEPS + (size_t)(ns >> shift) - HISTOGRAM_STEPS;
    return bucket < HISTOGRAM_BUCKETS ? bucket : HISTOGRAM_BUCKETS - 1;
}

static uint64_t bucket_value(size_t bucket)
{
    if (bucket < HISTOGRAM_STEPS)
        return bucket;
    unsigned int shift = (unsigned int)(bucket / HISTOGRAM_STEPS) - 1;
    uint64_t low = (HISTOGRAM_STEPS + bucket % HISTOGRAM_STEPS) << shift;
    return low + (UINT64_C(1) << shift) / 2;
}

void histogram_add(struct histogram *histogram, uint64_t ns)
{
    histogram->count++;
    histogram->buckets[bucket_of(ns)]++;
}

uint64_t histogram_quantile(const struct histogram *histogram, double quantile)
{
    uint64_t rank = (uint64_t)(quantile * (double)histogram->count);
    uint64_t seen = 0;
    for (size_t i = 0; i < HISTOGRAM_BUCKETS; i++) {
        seen += histogram->buckets[i];
        if (seen > rank || (seen == histogram->count && seen > 0))
            return bucket_value(i);
    }
    return 0;
}
