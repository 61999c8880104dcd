#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/alloc.h"
#include "base/arena.h"

static void test_blocks_are_aligned_apart_and_writable(void **state) {
  (void)state;
  struct lc_arena arena;
  char first[100];
  unsigned char *blocks[200];
  lc_arena_init(&arena, first, sizeof first, 1 << 20);
  for (size_t i = 0; i < 200; i++) {
    blocks[i] = lc_arena_alloc(&arena, i);
    assert_non_null(blocks[i]);
    assert_int_equal((uintptr_t)blocks[i] % 16, 0);
    memset(blocks[i], (int)i, i);
  }
  for (size_t i = 0; i < 200; i++) {
    for (size_t j = 0; j < i; j++)
      assert_int_equal(blocks[i][j], i);
  }
  lc_arena_fini(&arena);
}

static void test_a_small_request_never_touches_the_heap(void **state) {
  (void)state;
  struct lc_arena arena;
  _Alignas(16) char first[64];
  lc_arena_init(&arena, first, sizeof first, 0);
  assert_ptr_equal(lc_arena_alloc(&arena, 1), first);
  assert_ptr_equal(lc_arena_alloc(&arena, 48), first + 16);
  assert_null(lc_arena_alloc(&arena, 1));
  assert_int_equal(arena.used_bytes, 0);
  lc_arena_fini(&arena);
}

static void test_a_misaligned_first_buffer_is_used_from_its_first_boundary(void **state) {
  (void)state;
  struct lc_arena arena;
  _Alignas(16) char first[64];
  lc_arena_init(&arena, first + 1, 40, 0);
  assert_ptr_equal(lc_arena_alloc(&arena, 16), first + 16);
  assert_null(lc_arena_alloc(&arena, 16));
  lc_arena_init(&arena, first + 1, 3, 0);
  assert_null(lc_arena_alloc(&arena, 1));
}

static void test_size_zero_gives_a_block_of_its_own(void **state) {
  (void)state;
  struct lc_arena arena;
  lc_arena_init(&arena, NULL, 0, 4096);
  void *a = lc_arena_alloc(&arena, 0), *b = lc_arena_alloc(&arena, 0);
  assert_non_null(a);
  assert_non_null(b);
  assert_ptr_not_equal(a, b);
  lc_arena_fini(&arena);
}

static void test_the_heap_is_never_used_past_the_limit(void **state) {
  (void)state;
  struct lc_arena arena;
  lc_arena_init(&arena, NULL, 0, 20000);
  size_t got = 0;
  while (lc_arena_alloc(&arena, 100)) {
    got += 100;
    assert_true(arena.used_bytes <= 20000);
  }
  assert_true(got > 15000);
  assert_null(lc_arena_alloc(&arena, 30000));
  assert_null(lc_arena_alloc(&arena, SIZE_MAX));
  assert_null(lc_arena_alloc(&arena, SIZE_MAX - 20));
  assert_true(arena.used_bytes <= 20000);
  lc_arena_fini(&arena);
}

static void test_a_block_over_the_limit_is_refused_at_once(void **state) {
  (void)state;
  struct lc_arena arena;
  lc_arena_init(&arena, NULL, 0, 20000);
  assert_null(lc_arena_alloc(&arena, 20000));
  assert_int_equal(arena.used_bytes, 0);
  assert_non_null(lc_arena_alloc(&arena, 19000));
  lc_arena_fini(&arena);
}

static void test_a_large_block_leaves_the_present_chunk_in_use(void **state) {
  (void)state;
  struct lc_arena arena;
  lc_arena_init(&arena, NULL, 0, 1 << 20);
  char *before = lc_arena_alloc(&arena, 752);
  for (int i = 1; i < 4; i++)
    assert_ptr_equal(lc_arena_alloc(&arena, 752), before + 752 * i);
  memset(lc_arena_alloc(&arena, 2000), 1, 2000);
  memset(lc_arena_alloc(&arena, 100000), 1, 100000);
  assert_ptr_equal(lc_arena_alloc(&arena, 16), before + 752 * 4);
  lc_arena_fini(&arena);
}

static void test_a_failed_allocation_is_an_error_and_the_next_one_works(void **state) {
  (void)state;
  if (!lc_alloc_faults_built())
    skip();
  struct lc_arena arena;
  lc_arena_init(&arena, NULL, 0, 1 << 20);
  lc_alloc_fail_at(1);
  assert_null(lc_arena_alloc(&arena, 10));
  assert_int_equal(arena.used_bytes, 0);
  assert_non_null(lc_arena_alloc(&arena, 10));
  lc_alloc_fail_at(1);
  assert_null(lc_arena_alloc(&arena, 100000));
  lc_alloc_fail_at(0);
  assert_non_null(lc_arena_alloc(&arena, 10));
  lc_arena_fini(&arena);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_blocks_are_aligned_apart_and_writable),
      cmocka_unit_test(test_a_small_request_never_touches_the_heap),
      cmocka_unit_test(test_a_misaligned_first_buffer_is_used_from_its_first_boundary),
      cmocka_unit_test(test_size_zero_gives_a_block_of_its_own),
      cmocka_unit_test(test_the_heap_is_never_used_past_the_limit),
      cmocka_unit_test(test_a_block_over_the_limit_is_refused_at_once),
      cmocka_unit_test(test_a_large_block_leaves_the_present_chunk_in_use),
      cmocka_unit_test(test_a_failed_allocation_is_an_error_and_the_next_one_works),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
