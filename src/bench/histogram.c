#include "bench/bench.h"

#define STEP_BITS 6u
#define STEPS (1u << STEP_BITS)

/* The first STEPS buckets are exact; after them each doubling has STEPS buckets. */
static unsigned bucket_of(uint64_t ns) {
  if (ns < STEPS)
    return (unsigned)ns;
  unsigned shift = 63u - (unsigned)__builtin_clzll(ns) - STEP_BITS;
  unsigned bucket = (shift + 1) * STEPS + (unsigned)((ns >> shift) - STEPS);
  return bucket < LC_BENCH_BUCKETS ? bucket : LC_BENCH_BUCKETS - 1;
}

static uint64_t value_of(unsigned bucket) {
  if (bucket < STEPS)
    return bucket;
  unsigned shift = bucket / STEPS - 1;
  return ((uint64_t)(bucket % STEPS) + STEPS) << shift;
}

void lc_bench_histogram_add(struct lc_bench_histogram *histogram, uint64_t ns) {
  histogram->counts[bucket_of(ns)]++;
  histogram->total++;
  histogram->sum_ns += (double)ns;
  if (ns > histogram->max_ns)
    histogram->max_ns = ns;
}

uint64_t lc_bench_histogram_at(const struct lc_bench_histogram *histogram, double percentile) {
  if (histogram->total == 0)
    return 0;
  double wanted = percentile / 100.0 * (double)histogram->total;
  uint64_t seen = 0;
  for (unsigned i = 0; i < LC_BENCH_BUCKETS; i++) {
    seen += histogram->counts[i];
    if (seen > 0 && (double)seen >= wanted)
      return value_of(i) < histogram->max_ns ? value_of(i) : histogram->max_ns;
  }
  return histogram->max_ns;
}
