#include "bench/bench.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

#define DRAWS 200000u

static void assert_near(double found, double wanted, double part) {
  if (fabs(found - wanted) > wanted * part)
    fail_msg("%g is not within %g of %g", found, part, wanted);
}

static struct lc_bench_histogram *new_histogram(void) {
  struct lc_bench_histogram *histogram = calloc(1, sizeof(*histogram));
  assert_non_null(histogram);
  return histogram;
}

static void an_empty_histogram_says_zero(void **state) {
  (void)state;
  struct lc_bench_histogram *histogram = new_histogram();
  assert_int_equal(lc_bench_histogram_at(histogram, 50), 0);
  assert_int_equal(lc_bench_histogram_at(histogram, 100), 0);
  free(histogram);
}

static void percentiles_of_a_ramp_are_within_two_percent(void **state) {
  (void)state;
  static const double percentiles[] = {0.1, 1, 10, 50, 90, 99, 99.9, 100};
  struct lc_bench_histogram *histogram = new_histogram();
  for (uint64_t ns = 1000; ns <= 1000u * 100000; ns += 1000)
    lc_bench_histogram_add(histogram, ns);
  for (size_t i = 0; i < sizeof(percentiles) / sizeof(percentiles[0]); i++)
    assert_near((double)lc_bench_histogram_at(histogram, percentiles[i]), percentiles[i] * 1e6, 0.02);
  assert_int_equal(histogram->max_ns, 100000000);
  assert_int_equal(histogram->total, 100000);
  assert_near(histogram->sum_ns / (double)histogram->total, 50000500, 1e-9);
  free(histogram);
}

/* From below a nanosecond's 64 to half an hour, each alone. */
static void any_value_is_kept_within_two_percent(void **state) {
  (void)state;
  for (uint64_t ns = 1; ns < UINT64_C(1800000000000); ns += ns / 32 + 1) {
    struct lc_bench_histogram *histogram = new_histogram();
    lc_bench_histogram_add(histogram, ns);
    lc_bench_histogram_add(histogram, UINT64_C(2000000000000));
    assert_near((double)lc_bench_histogram_at(histogram, 50), (double)ns, 0.02);
    free(histogram);
  }
}

static void what_is_off_the_scale_is_counted_at_its_end(void **state) {
  (void)state;
  struct lc_bench_histogram *histogram = new_histogram();
  lc_bench_histogram_add(histogram, UINT64_MAX);
  lc_bench_histogram_add(histogram, 0);
  assert_int_equal(histogram->total, 2);
  assert_int_equal(histogram->max_ns, UINT64_MAX);
  assert_int_equal(lc_bench_histogram_at(histogram, 1), 0);
  assert_true(lc_bench_histogram_at(histogram, 99) > UINT64_C(2000000000000));
  free(histogram);
}

/* How often each of the keys came in DRAWS. */
static uint32_t *draw(enum lc_bench_distribution distribution, uint64_t keys, double theta) {
  struct lc_bench_options options = {.keys = keys, .distribution = distribution, .theta = theta};
  struct lc_bench_keys source;
  uint32_t *counts = calloc(keys, sizeof(*counts));
  assert_non_null(counts);
  lc_bench_keys_init(&source, &options, 42);
  for (unsigned i = 0; i < DRAWS; i++) {
    uint64_t key = lc_bench_keys_next(&source);
    assert_true(key < keys);
    counts[key]++;
  }
  return counts;
}

static void uniform_gives_each_key_its_share(void **state) {
  (void)state;
  uint32_t *counts = draw(LC_BENCH_UNIFORM, 100, 0);
  for (unsigned i = 0; i < 100; i++)
    assert_near(counts[i], DRAWS / 100.0, 0.12); /* 5 standard deviations */
  free(counts);
}

/* Rank r gets 1 / r^theta of what rank 1 gets; the approximation that is used is exact for the first two. */
static void zipf_favours_keys_by_their_rank(void **state) {
  (void)state;
  enum { KEYS = 10000 };
  double zeta = 0;
  for (unsigned rank = 1; rank <= KEYS; rank++)
    zeta += 1 / pow(rank, 0.99);
  uint32_t *counts = draw(LC_BENCH_ZIPF, KEYS, 0.99);
  assert_near(counts[0], DRAWS / zeta, 0.05);
  assert_near(counts[1], DRAWS / zeta / pow(2, 0.99), 0.07);
  uint32_t head = 0;
  double wanted = 0;
  for (unsigned rank = 1; rank <= 100; rank++) {
    head += counts[rank - 1];
    wanted += DRAWS / zeta / pow(rank, 0.99);
  }
  assert_near(head, wanted, 0.05);
  free(counts);
}

static void zipf_of_very_few_keys_stays_among_them(void **state) {
  (void)state;
  for (uint64_t keys = 1; keys <= 3; keys++)
    free(draw(LC_BENCH_ZIPF, keys, 0.5));
}

static void sequential_takes_the_keys_in_turn_and_single_always_one(void **state) {
  (void)state;
  uint32_t *counts = draw(LC_BENCH_SEQUENTIAL, 7, 0);
  for (unsigned i = 0; i < 7; i++)
    assert_in_range(counts[i], DRAWS / 7, DRAWS / 7 + 1);
  free(counts);
  counts = draw(LC_BENCH_SINGLE, 7, 0);
  assert_int_equal(counts[0], DRAWS);
  free(counts);
}

static void a_key_is_the_prefix_and_twelve_digits(void **state) {
  (void)state;
  char key[LC_BENCH_KEY_MAX + 1] = {0};
  assert_int_equal(lc_bench_key_format("user-", 42, key), 17);
  assert_string_equal(key, "user-000000000042");
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(an_empty_histogram_says_zero),
      cmocka_unit_test(percentiles_of_a_ramp_are_within_two_percent),
      cmocka_unit_test(any_value_is_kept_within_two_percent),
      cmocka_unit_test(what_is_off_the_scale_is_counted_at_its_end),
      cmocka_unit_test(uniform_gives_each_key_its_share),
      cmocka_unit_test(zipf_favours_keys_by_their_rank),
      cmocka_unit_test(zipf_of_very_few_keys_stays_among_them),
      cmocka_unit_test(sequential_takes_the_keys_in_turn_and_single_always_one),
      cmocka_unit_test(a_key_is_the_prefix_and_twelve_digits),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
