#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/alloc.h"
#include "base/err.h"
#include "group/heat.h"

static int setup(void **state) {
  struct lc_heat *heat;
  assert_int_equal(lc_heat_create(&heat), LC_OK);
  *state = heat;
  return 0;
}

static int teardown(void **state) {
  lc_heat_destroy(*state);
  return 0;
}

/* How many of `times` forwards, one every step_ms, found the key hot. */
static unsigned feed(struct lc_heat *heat, uint64_t hash, uint64_t *now_ms, unsigned step_ms, unsigned times) {
  unsigned hot = 0;
  for (unsigned i = 0; i < times; i++, *now_ms += step_ms)
    hot += lc_heat_add(heat, hash, *now_ms);
  return hot;
}

#define HASH UINT64_C(0x123456789abcdef0)

static void test_a_key_forwarded_three_times_a_second_never_gets_hot(void **state) {
  uint64_t now_ms = 1000;
  assert_int_equal(feed(*state, HASH, &now_ms, 333, 300), 0);
}

static void test_a_key_forwarded_five_times_a_second_gets_hot_within_seconds(void **state) {
  uint64_t now_ms = 1000;
  feed(*state, HASH, &now_ms, 200, 25);
  assert_int_equal(feed(*state, HASH, &now_ms, 200, 100), 100);
}

static void test_a_burst_is_hot_at_its_seventh(void **state) {
  uint64_t now_ms = 1000;
  assert_int_equal(feed(*state, HASH, &now_ms, 1, 6), 0);
  assert_true(lc_heat_add(*state, HASH, now_ms));
}

static void test_a_hot_key_cools_down(void **state) {
  uint64_t now_ms = 1000;
  feed(*state, HASH, &now_ms, 1, 12);
  now_ms += 5000;
  assert_false(lc_heat_add(*state, HASH, now_ms));
}

static void test_a_very_hot_key_counts_on_without_overflow(void **state) {
  uint64_t now_ms = 1000;
  assert_int_equal(feed(*state, HASH, &now_ms, 0, 100000), 100000 - 6);
  now_ms += 20000; /* 4,096 at most, halved 20 times */
  assert_false(lc_heat_add(*state, HASH, now_ms));
}

static void test_a_key_keeps_its_slot_until_it_is_cold(void **state) {
  struct lc_heat *heat = *state;
  const uint64_t other = HASH ^ (UINT64_C(1) << 63);
  uint64_t now_ms = 1000;
  feed(heat, HASH, &now_ms, 1, 10);
  assert_int_equal(feed(heat, other, &now_ms, 1, 100), 0);
  assert_true(lc_heat_add(heat, HASH, now_ms));
  now_ms += 10000;
  assert_int_equal(feed(heat, other, &now_ms, 1, 100), 94);
}

static void test_keys_of_other_slots_count_apart(void **state) {
  uint64_t now_ms = 1000;
  for (unsigned i = 0; i < 7; i++) {
    for (uint64_t slot = 0; slot < LC_HEAT_SLOTS; slot++)
      assert_int_equal(lc_heat_add(*state, slot, now_ms), i == 6);
  }
}

static void test_a_clock_that_lags_behind_another_workers_changes_little(void **state) {
  uint64_t now_ms = 1000000;
  feed(*state, HASH, &now_ms, 1, 7);
  assert_true(lc_heat_add(*state, HASH, now_ms - 500));
}

static void test_creation_without_memory_fails(void **state) {
  (void)state;
  if (!lc_alloc_faults_built())
    skip();
  struct lc_heat *heat;
  lc_alloc_fail_at(1);
  assert_int_equal(lc_heat_create(&heat), LC_ENOMEM);
  lc_alloc_fail_at(0);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void) {
  const struct CMUnitTest tests[] = {
      TEST(test_a_key_forwarded_three_times_a_second_never_gets_hot),
      TEST(test_a_key_forwarded_five_times_a_second_gets_hot_within_seconds),
      TEST(test_a_burst_is_hot_at_its_seventh),
      TEST(test_a_hot_key_cools_down),
      TEST(test_a_very_hot_key_counts_on_without_overflow),
      TEST(test_a_key_keeps_its_slot_until_it_is_cold),
      TEST(test_keys_of_other_slots_count_apart),
      TEST(test_a_clock_that_lags_behind_another_workers_changes_little),
      cmocka_unit_test(test_creation_without_memory_fails),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
