#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/alloc.h"
#include "base/warm.h"

#define MIB ((size_t)1 << 20)

static int drop(void **state) {
  (void)state;
  lc_warm_drop();
  return 0;
}

static void *filled(size_t size) {
  void *block = lc_warm_alloc(size);
  assert_non_null(block);
  memset(block, 0xa5, size);
  return block;
}

static void a_freed_block_is_handed_out_again_with_what_it_held(void **state) {
  (void)state;
  lc_warm_free(filled(MIB), MIB);
  uint8_t *again = lc_warm_alloc(MIB);
  assert_non_null(again);
  assert_int_equal(again[MIB - 1], 0xa5); /* from the kernel it would be 0 */
  lc_warm_free(again, MIB);
}

static void a_block_is_cut_or_grown_to_the_size_asked_for(void **state) {
  (void)state;
  lc_warm_free(filled(MIB), MIB);
  uint8_t *grown = lc_warm_alloc(2 * MIB);
  assert_int_equal(grown[MIB - 1], 0xa5);
  memset(grown, 0x5a, 2 * MIB);
  lc_warm_free(grown, 2 * MIB);
  uint8_t *cut = lc_warm_alloc(MIB);
  assert_int_equal(cut[MIB - 1], 0x5a);
  lc_warm_free(cut, MIB);
}

static void blocks_of_other_sizes_are_the_heaps(void **state) {
  (void)state;
  size_t sizes[] = {0, 1, LC_WARM_MIN - 1, LC_WARM_KEEP + 1};
  for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++)
    lc_warm_free(filled(sizes[i]), sizes[i]);
  lc_warm_free(NULL, MIB);
}

/* Leaks and a free of the wrong block are for the sanitizers to tell. */
static void more_than_is_kept_may_be_freed(void **state) {
  (void)state;
  void *blocks[40];
  for (size_t i = 0; i < 40; i++)
    blocks[i] = filled(LC_WARM_MIN << (i % 4));
  for (size_t i = 0; i < 40; i++)
    lc_warm_free(blocks[i], LC_WARM_MIN << (i % 4));
  for (size_t i = 0; i < 40; i++)
    lc_warm_free(filled(MIB + i), MIB + i);
}

static void without_memory_there_is_none_whether_one_is_kept_or_not(void **state) {
  (void)state;
  if (!lc_alloc_faults_built())
    skip();
  for (int kept = 0; kept < 2; kept++) {
    if (kept)
      lc_warm_free(filled(MIB), MIB);
    lc_alloc_fail_at(1);
    assert_null(lc_warm_alloc(MIB));
    assert_int_equal(lc_alloc_fail_at(0), 1);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test_teardown(a_freed_block_is_handed_out_again_with_what_it_held, drop),
      cmocka_unit_test_teardown(a_block_is_cut_or_grown_to_the_size_asked_for, drop),
      cmocka_unit_test_teardown(blocks_of_other_sizes_are_the_heaps, drop),
      cmocka_unit_test_teardown(more_than_is_kept_may_be_freed, drop),
      cmocka_unit_test_teardown(without_memory_there_is_none_whether_one_is_kept_or_not, drop),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
