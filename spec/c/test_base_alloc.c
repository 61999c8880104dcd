#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/alloc.h"

static void need_faults(void) {
  if (!lc_alloc_faults_built())
    skip();
}

static void test_calloc_zeroes(void **state) {
  (void)state;
  unsigned char *block = lc_calloc(100, 3);
  assert_non_null(block);
  for (size_t i = 0; i < 300; i++)
    assert_int_equal(block[i], 0);
  lc_free(block);
}

static void test_calloc_refuses_an_overflowing_product(void **state) {
  (void)state;
  volatile size_t half = SIZE_MAX / 2;
  assert_null(lc_calloc(half, 3));
}

static void test_realloc_to_zero_keeps_a_block(void **state) {
  (void)state;
  void *block = lc_malloc(10);
  block = lc_realloc(block, 0);
  assert_non_null(block);
  lc_free(block);
}

static void test_memdup0_copies_any_bytes_and_ends_them(void **state) {
  (void)state;
  char *copy = lc_memdup0("a\0b", 3);
  assert_memory_equal(copy, "a\0b\0", 4);
  lc_free(copy);
  copy = lc_memdup0(NULL, 0);
  assert_string_equal(copy, "");
  lc_free(copy);
  copy = lc_strdup("scores");
  assert_string_equal(copy, "scores");
  lc_free(copy);
}

static void test_free_of_null_is_harmless(void **state) {
  (void)state;
  lc_free(NULL);
}

static void test_only_the_nth_allocation_fails(void **state) {
  (void)state;
  need_faults();
  lc_alloc_fail_at(3);
  void *first = lc_malloc(1), *second = lc_calloc(1, 1), *third = lc_malloc(1), *fourth = lc_malloc(1);
  assert_non_null(first);
  assert_non_null(second);
  assert_null(third);
  assert_non_null(fourth);
  assert_int_equal(lc_alloc_fail_at(0), 4);
  lc_free(first);
  lc_free(second);
  lc_free(fourth);
}

static void test_a_failed_realloc_leaves_the_old_block(void **state) {
  (void)state;
  need_faults();
  char *block = lc_strdup("old");
  lc_alloc_fail_at(1);
  assert_null(lc_realloc(block, 1000));
  assert_string_equal(block, "old");
  assert_int_equal(lc_alloc_fail_at(0), 1);
  lc_free(block);
}

static void test_strdup_can_fail(void **state) {
  (void)state;
  need_faults();
  lc_alloc_fail_at(1);
  assert_null(lc_strdup("x"));
  lc_alloc_fail_at(0);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_calloc_zeroes),
      cmocka_unit_test(test_calloc_refuses_an_overflowing_product),
      cmocka_unit_test(test_realloc_to_zero_keeps_a_block),
      cmocka_unit_test(test_memdup0_copies_any_bytes_and_ends_them),
      cmocka_unit_test(test_free_of_null_is_harmless),
      cmocka_unit_test(test_only_the_nth_allocation_fails),
      cmocka_unit_test(test_a_failed_realloc_leaves_the_old_block),
      cmocka_unit_test(test_strdup_can_fail),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
