#include <malloc.h>
#include <unistd.h>

#include "test_store_util.h"

#define ITEMS 1000000u

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define SANITIZED true
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define SANITIZED true
#endif
#endif
#ifndef SANITIZED
#define SANITIZED false
#endif

static size_t resident_bytes(void) {
  malloc_trim(0);
  FILE *file = fopen("/proc/self/statm", "r");
  unsigned long total = 0;
  unsigned long resident = 0;
  assert_non_null(file);
  assert_int_equal(fscanf(file, "%lu %lu", &total, &resident), 2);
  fclose(file);
  return resident * (size_t)sysconf(_SC_PAGESIZE);
}

static void fill(struct lc_store *store, unsigned count, size_t value_size) {
  static const uint8_t value[1024];
  for (unsigned i = 0; i < count; i++) {
    char key[24];
    snprintf(key, sizeof(key), "player/%013u", i);
    put_slices(store, lc_slice_of(key, 20), lc_slice_of(value, value_size), LC_TIME_NEVER, 0);
  }
}

static void a_million_small_items_cost_at_most_200_bytes_each(void **state) {
  (void)state;
  if (SANITIZED) {
    skip();
  }
  size_t before = resident_bytes();
  struct lc_pool *pool = make_pool((size_t)1 << 30);
  struct lc_store *store = make_store(pool, LC_POLICY_LRU2, 0, NULL);
  fill(store, ITEMS, 100);
  double resident = (double)(resident_bytes() - before) / ITEMS;
  double charged = (double)lc_pool_used(pool) / ITEMS;
  printf("%u items of 20 B keys and 100 B values: %.1f B resident, %.1f B charged each\n", ITEMS, resident, charged);
  assert_int_equal(stats_of(store).items, ITEMS);
  assert_true(resident <= 200.0);
  assert_true(charged <= 200.0);
  assert_true(resident / charged > 0.98 && resident / charged < 1.02);
  lc_store_destroy(store);
  lc_pool_destroy(pool);
}

static void resident_memory_follows_what_is_charged_through_turnover(void **state) {
  (void)state;
  if (SANITIZED) {
    skip();
  }
  struct lc_pool *pool = make_pool((size_t)64 << 20);
  struct lc_store *store = make_store(pool, LC_POLICY_LRU2, 0, NULL);
  size_t before = resident_bytes();
  for (unsigned round = 0; round < 8; round++) {
    fill(store, 300000, 40 + round % 4 * 100);
  }
  size_t resident = resident_bytes() > before ? resident_bytes() - before : 0;
  printf("64 MiB after 2,400,000 puts of 40 to 340 B: %.1f MiB resident\n", (double)resident / (1 << 20));
  assert_true(resident < (size_t)(64 * 11 / 10 + 32) << 20); /* what the design promises */
  lc_store_destroy(store);
  lc_pool_destroy(pool);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(a_million_small_items_cost_at_most_200_bytes_each),
      cmocka_unit_test(resident_memory_follows_what_is_charged_through_turnover),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
