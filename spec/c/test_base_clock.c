#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/clock.h"

static void test_time_is_never_zero_and_never_goes_back(void **state) {
  (void)state;
  uint64_t ms = lc_clock_ms(), ns = lc_clock_ns();
  assert_true(ms > 0 && ns > 0);
  for (int i = 0; i < 10000; i++) {
    uint64_t later_ms = lc_clock_ms(), later_ns = lc_clock_ns();
    assert_true(later_ms >= ms && later_ns >= ns);
    ms = later_ms;
    ns = later_ns;
  }
}

static void test_both_clocks_tell_the_same_time(void **state) {
  (void)state;
  uint64_t before = lc_clock_ms();
  uint64_t middle = lc_clock_ns() / 1000000;
  uint64_t after = lc_clock_ms();
  assert_in_range(middle, before, after);
}

static void test_thread_time_counts_work(void **state) {
  (void)state;
  uint64_t before = lc_clock_thread_cpu_ns(), deadline = lc_clock_ms() + 10000;
  while (lc_clock_thread_cpu_ns() < before + 1000000)
    assert_true(lc_clock_ms() < deadline);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_time_is_never_zero_and_never_goes_back),
      cmocka_unit_test(test_both_clocks_tell_the_same_time),
      cmocka_unit_test(test_thread_time_counts_work),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
