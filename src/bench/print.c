#include <inttypes.h>
#include <stdio.h>

#include "bench/bench.h"
#include "wire/grpc.h"

static const double PERCENTILES[] = {50, 90, 99, 99.9, 99.99};
#define PERCENTILE_COUNT (sizeof(PERCENTILES) / sizeof(PERCENTILES[0]))

static uint64_t failures(const struct lc_bench_result *result) {
  uint64_t sum = result->broken;
  for (unsigned i = 1; i < LC_BENCH_STATUSES; i++)
    sum += result->by_status[i];
  return sum;
}

static const char *name_of(unsigned status) {
  return status == 16 ? "RESET" : status == LC_BENCH_STATUSES - 1 ? "OTHER" : lc_grpc_status_name((int)status);
}

static void print_text(const struct lc_bench_options *options, const struct lc_bench_result *result) {
  const struct lc_bench_histogram *histogram = &result->histogram;
  printf("%s: %u connections x %u outstanding, %" PRIu64 " keys\n", options->driver->name, options->connections,
         options->outstanding, options->keys);
  printf("requests  %" PRIu64 " in %.2f s, %.0f a second, %.1f MiB/s\n", histogram->total, result->seconds,
         (double)histogram->total / result->seconds, (double)result->bytes / result->seconds / 1048576.0);
  printf("latency   mean %.1f us", histogram->total ? histogram->sum_ns / (double)histogram->total / 1e3 : 0.0);
  for (unsigned i = 0; i < PERCENTILE_COUNT; i++)
    printf(", p%g %.1f us", PERCENTILES[i], (double)lc_bench_histogram_at(histogram, PERCENTILES[i]) / 1e3);
  printf(", max %.1f us\n", (double)histogram->max_ns / 1e3);
  printf("failed    %" PRIu64, failures(result));
  for (unsigned i = 1; i < LC_BENCH_STATUSES; i++) {
    if (result->by_status[i] > 0)
      printf(", %s %" PRIu64, name_of(i), result->by_status[i]);
  }
  if (result->broken > 0)
    printf(", connection lost %" PRIu64, result->broken);
  printf("\n");
}

static void print_json(const struct lc_bench_result *result) {
  const struct lc_bench_histogram *histogram = &result->histogram;
  printf("{\"requests\":%" PRIu64 ",\"seconds\":%.6f,\"per_second\":%.1f,\"bytes\":%" PRIu64 ",\"failed\":%" PRIu64,
         histogram->total, result->seconds, (double)histogram->total / result->seconds, result->bytes,
         failures(result));
  printf(",\"by_status\":{");
  bool first = true;
  for (unsigned i = 0; i < LC_BENCH_STATUSES; i++) {
    if (result->by_status[i] == 0)
      continue;
    printf("%s\"%s\":%" PRIu64, first ? "" : ",", name_of(i), result->by_status[i]);
    first = false;
  }
  printf("},\"latency_us\":{\"mean\":%.3f",
         histogram->total ? histogram->sum_ns / (double)histogram->total / 1e3 : 0.0);
  for (unsigned i = 0; i < PERCENTILE_COUNT; i++)
    printf(",\"p%g\":%.3f", PERCENTILES[i], (double)lc_bench_histogram_at(histogram, PERCENTILES[i]) / 1e3);
  printf(",\"max\":%.3f}}\n", (double)histogram->max_ns / 1e3);
}

int lc_bench_print(const struct lc_bench_options *options, const struct lc_bench_result *result) {
  if (options->json)
    print_json(result);
  else
    print_text(options, result);
  return failures(result) > 0 ? 1 : 0;
}
