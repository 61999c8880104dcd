#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/alloc.h"
#include "base/pool.h"

static uint32_t next_random(uint32_t *seed) {
  *seed = *seed * 1664525u + 1013904223u;
  return *seed >> 8;
}

struct block {
  unsigned char *ptr;
  size_t size;
  unsigned char fill;
};

static void assert_filled(const struct block *block, size_t len) {
  for (size_t i = 0; i < len; i++)
    assert_int_equal(block->ptr[i], block->fill);
}

static void refill(struct block *block, uint32_t *seed) {
  block->fill = (unsigned char)next_random(seed);
  assert_int_equal((uintptr_t)block->ptr % 16, 0);
  memset(block->ptr, block->fill, block->size);
}

static size_t random_size(uint32_t *seed) {
  static const size_t limits[] = {17, 130, 520, 1100, 4200, 20000};
  return next_random(seed) % limits[next_random(seed) % 6];
}

static void step(struct lc_mempool *pool, struct block *block, uint32_t *seed) {
  size_t size = random_size(seed);
  assert_filled(block, block->size);
  if (!block->ptr) {
    bool zeroed = next_random(seed) % 2;
    block->ptr = zeroed ? lc_mempool_calloc(pool, size, 1) : lc_mempool_alloc(pool, size);
    block->fill = 0;
    assert_filled(block, zeroed ? size : 0);
  } else if (next_random(seed) % 2) {
    block->ptr = lc_mempool_realloc(pool, block->ptr, size);
    assert_filled(block, size < block->size ? size : block->size);
  } else {
    lc_mempool_free(pool, block->ptr);
    *block = (struct block){0};
    return;
  }
  assert_non_null(block->ptr);
  block->size = size;
  refill(block, seed);
}

static void test_blocks_keep_their_bytes_under_random_operations(void **state) {
  (void)state;
  struct lc_mempool *pool = lc_mempool_create(20000);
  struct block blocks[100] = {{0}};
  uint32_t seed = 7;
  for (int i = 0; i < 100000; i++) {
    step(pool, &blocks[next_random(&seed) % 100], &seed);
    assert_true(pool->kept_bytes <= 20000);
  }
  for (int i = 0; i < 100; i++)
    lc_mempool_free(pool, blocks[i].ptr);
  lc_mempool_destroy(pool);
}

static void test_a_freed_block_comes_back_without_the_heap(void **state) {
  (void)state;
  static const size_t sizes[] = {1, 16, 17, 500, 512, 513, 1024, 1025, 4096};
  struct lc_mempool *pool = lc_mempool_create(1 << 20);
  for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
    void *block = lc_mempool_alloc(pool, sizes[i]);
    lc_mempool_free(pool, block);
    lc_alloc_fail_at(0);
    assert_ptr_equal(lc_mempool_alloc(pool, sizes[i]), block);
    assert_int_equal(lc_alloc_fail_at(0), 0);
    assert_int_equal(pool->kept_bytes, 0);
    lc_free((struct lc_mempool_block *)block - 1);
  }
  lc_mempool_destroy(pool);
}

static void test_the_lists_keep_no_more_than_they_may(void **state) {
  (void)state;
  struct lc_mempool *pool = lc_mempool_create(10 * (100 + 12 + 16));
  void *blocks[50];
  for (int i = 0; i < 50; i++)
    blocks[i] = lc_mempool_alloc(pool, 100);
  for (int i = 0; i < 50; i++)
    lc_mempool_free(pool, blocks[i]);
  assert_int_equal(pool->kept_bytes, 10 * 128);
  lc_mempool_destroy(pool);
}

static void test_a_pool_that_keeps_nothing_works(void **state) {
  (void)state;
  struct lc_mempool *pool = lc_mempool_create(0);
  lc_mempool_free(pool, lc_mempool_alloc(pool, 100));
  lc_mempool_free(pool, lc_mempool_alloc(pool, 100000));
  assert_int_equal(pool->kept_bytes, 0);
  lc_mempool_destroy(pool);
}

static void test_large_blocks_are_never_kept(void **state) {
  (void)state;
  struct lc_mempool *pool = lc_mempool_create(SIZE_MAX);
  lc_mempool_free(pool, lc_mempool_alloc(pool, LC_MEMPOOL_MAX + 1));
  assert_int_equal(pool->kept_bytes, 0);
  lc_mempool_destroy(pool);
}

static void test_size_zero_and_null_are_as_in_malloc(void **state) {
  (void)state;
  struct lc_mempool *pool = lc_mempool_create(1000);
  void *a = lc_mempool_alloc(pool, 0), *b = lc_mempool_alloc(pool, 0);
  assert_non_null(a);
  assert_ptr_not_equal(a, b);
  a = lc_mempool_realloc(pool, a, 10);
  memset(a, 1, 10);
  lc_mempool_free(pool, a);
  lc_mempool_free(pool, b);
  lc_mempool_free(pool, NULL);
  a = lc_mempool_realloc(pool, NULL, 20);
  assert_non_null(a);
  lc_mempool_free(pool, a);
  lc_mempool_destroy(pool);
  lc_mempool_destroy(NULL);
}

static void test_impossible_sizes_are_refused(void **state) {
  (void)state;
  struct lc_mempool *pool = lc_mempool_create(1000);
  assert_null(lc_mempool_alloc(pool, SIZE_MAX));
  assert_null(lc_mempool_alloc(pool, SIZE_MAX - 10));
  assert_null(lc_mempool_calloc(pool, SIZE_MAX / 2, 3));
  void *large = lc_mempool_alloc(pool, 5000);
  assert_null(lc_mempool_realloc(pool, large, SIZE_MAX - 3));
  lc_mempool_free(pool, large);
  lc_mempool_destroy(pool);
}

static void test_a_failing_heap_is_null_and_harms_nothing(void **state) {
  (void)state;
  if (!lc_alloc_faults_built())
    skip();
  lc_alloc_fail_at(1);
  assert_null(lc_mempool_create(1000));
  static const size_t sizes[][2] = {{10, 100}, {10, 5000}, {5000, 9000}, {5000, 10}};
  for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
    struct lc_mempool *pool = lc_mempool_create(1000);
    lc_alloc_fail_at(1);
    assert_null(lc_mempool_alloc(pool, sizes[i][0]));
    struct block block = {lc_mempool_calloc(pool, 1, sizes[i][0]), sizes[i][0], 0};
    lc_alloc_fail_at(1);
    assert_null(lc_mempool_realloc(pool, block.ptr, sizes[i][1]));
    assert_filled(&block, block.size);
    lc_mempool_free(pool, block.ptr);
    lc_mempool_destroy(pool);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_blocks_keep_their_bytes_under_random_operations),
      cmocka_unit_test(test_a_freed_block_comes_back_without_the_heap),
      cmocka_unit_test(test_the_lists_keep_no_more_than_they_may),
      cmocka_unit_test(test_a_pool_that_keeps_nothing_works),
      cmocka_unit_test(test_large_blocks_are_never_kept),
      cmocka_unit_test(test_size_zero_and_null_are_as_in_malloc),
      cmocka_unit_test(test_impossible_sizes_are_refused),
      cmocka_unit_test(test_a_failing_heap_is_null_and_harms_nothing),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
