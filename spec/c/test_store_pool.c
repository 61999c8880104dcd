#include "test_store_util.h"

static void fill(struct lc_store *store, const char *prefix, unsigned count, size_t value_size) {
  for (unsigned i = 0; i < count; i++) {
    char key[24];
    snprintf(key, sizeof(key), "%s%u", prefix, i);
    assert_int_equal(put_sized(store, key, value_size), 0);
  }
}

static void a_put_into_an_empty_store_of_a_full_pool_evicts_from_the_other(void **state) {
  (void)state;
  struct gone_log log = {0};
  struct lc_pool *pool = make_pool(64 << 10);
  struct lc_store *full = make_store(pool, LC_POLICY_LRU2, 4, &log);
  struct lc_store *empty = make_store(pool, LC_POLICY_LRU2, 4, NULL);
  fill(full, "f", 1000, 100);
  uint64_t before = stats_of(full).items;
  log.count = 0;
  assert_int_equal(put_sized(empty, "new", 100), 0);
  assert_true(has(empty, "new"));
  assert_int_equal(log.count, 1);
  assert_int_equal(stats_of(full).items, before - 1);
  assert_true(lc_pool_used(pool) <= lc_pool_limit(pool));
  check(full);
  lc_store_destroy(full);
  assert_int_equal(lc_pool_used(pool), stats_of(empty).bytes);
  assert_true(has(empty, "new"));
  check(empty);
  lc_store_destroy(empty);
  assert_int_equal(lc_pool_used(pool), 0);
  lc_pool_destroy(pool);
}

static void a_quarter_of_the_limit_is_accepted_however_items_are_spread(void **state) {
  (void)state;
  const size_t limit = 1 << 20;
  struct lc_pool *pool = make_pool(limit);
  struct lc_store *stores[3];
  for (unsigned i = 0; i < 3; i++) {
    stores[i] = make_store(pool, i == 1 ? LC_POLICY_LRU : LC_POLICY_LRU2, 64, NULL);
  }
  size_t size = limit / 4;
  while (lc_item_charge(4, size) > limit / 4) {
    size--;
  }
  for (unsigned round = 0; round < 60; round++) {
    char key[24];
    fill(stores[round % 2], "f", 4000, round);
    snprintf(key, sizeof(key), "q%03u", round);
    assert_int_equal(put_sized(stores[2], key, size), 0);
    assert_true(has(stores[2], key));
    assert_true(lc_pool_used(pool) <= limit);
    check(stores[0]);
  }
  for (unsigned i = 0; i < 3; i++) {
    lc_store_destroy(stores[i]);
  }
  lc_pool_destroy(pool);
}

static void the_limit_holds_with_a_few_big_items_in_many_shards(void **state) {
  (void)state;
  struct lc_pool *pool = make_pool(1 << 20);
  struct lc_store *store = make_store(pool, LC_POLICY_LRU2, 256, NULL);
  for (unsigned i = 0; i < 200; i++) {
    char key[24];
    snprintf(key, sizeof(key), "%u", i);
    assert_int_equal(put_sized(store, key, (1 << 18) - 8192), 0);
    assert_true(has(store, key));
    assert_true(lc_pool_used(pool) <= lc_pool_limit(pool));
    assert_int_equal(stats_of(store).items, i < 4 ? i + 1 : 4);
  }
  check(store);
  lc_store_destroy(store);
  lc_pool_destroy(pool);
}

static void a_store_nobody_uses_gives_way_to_one_in_use(void **state) {
  (void)state;
  struct lc_pool *pool = make_pool(1 << 20);
  struct lc_store *idle = make_store(pool, LC_POLICY_LRU2, 8, NULL);
  struct lc_store *busy = make_store(pool, LC_POLICY_LRU2, 8, NULL);
  fill(idle, "i", 10000, 50);
  for (unsigned i = 0; i < 10000; i++) { /* its level 2 is as full as it gets */
    char key[24];
    snprintf(key, sizeof(key), "i%u", i);
    hit(idle, key);
  }
  uint64_t had = stats_of(idle).items;
  fill(busy, "b", (unsigned)had * 3 / 4, 50);
  assert_true(stats_of(busy).evictions[LC_EVICT_SIZE] < had / 20);
  fill(busy, "c", (unsigned)had, 50);
  assert_true(stats_of(idle).items < had / 20);
  check(busy);
  lc_store_destroy(idle);
  lc_store_destroy(busy);
  lc_pool_destroy(pool);
}

static void eviction_over_shards_takes_roughly_the_oldest(void **state) {
  (void)state;
  struct lc_pool *pool = make_pool(1 << 20);
  struct lc_store *store = make_store(pool, LC_POLICY_LRU, 64, NULL);
  fill(store, "k", 20000, 50);
  uint64_t held = stats_of(store).items;
  uint64_t newest = 0;
  for (uint64_t i = 20000 - held; i < 20000; i++) {
    char key[24];
    snprintf(key, sizeof(key), "k%u", (unsigned)i);
    newest += has(store, key);
  }
  assert_true(newest > held * 9 / 10);
  check(store);
  lc_store_destroy(store);
  lc_pool_destroy(pool);
}

static void a_put_that_evicts_many_takes_them_from_all_by_age(void **state) {
  (void)state;
  struct lc_pool *pool = make_pool(64 << 10);
  struct lc_store *a = make_store(pool, LC_POLICY_LRU2, 1, NULL);
  struct lc_store *b = make_store(pool, LC_POLICY_LRU2, 1, NULL);
  for (unsigned i = 0; i < 400; i++) {
    char key[24];
    snprintf(key, sizeof(key), "%u", i);
    put_sized(i % 2 ? a : b, key, 80);
  }
  uint64_t had_a = stats_of(a).items;
  uint64_t had_b = stats_of(b).items;
  assert_int_equal(put_sized(a, "big", 15 << 10), 0);
  uint64_t from_a = had_a + 1 - stats_of(a).items;
  uint64_t from_b = had_b - stats_of(b).items;
  assert_true(from_a > 30 && from_b > 30);
  assert_in_range(from_a + 2 - from_b, 0, 4);
  lc_store_destroy(a);
  lc_store_destroy(b);
  lc_pool_destroy(pool);
}

static void level_2_of_all_stores_comes_down_to_half_when_memory_is_short(void **state) {
  (void)state;
  struct lc_pool *pool = make_pool(256 << 10);
  struct lc_store *a = make_store(pool, LC_POLICY_LRU2, 1, NULL);
  struct lc_store *b = make_store(pool, LC_POLICY_LRU2, 1, NULL);
  for (unsigned i = 0; i < 30000; i++) {
    char key[24];
    snprintf(key, sizeof(key), "%u", i);
    put_sized(i % 2 ? a : b, key, 50);
    if (i % 3) {
      hit(i % 2 ? a : b, key);
    }
  }
  struct lc_store_stats sa = stats_of(a);
  struct lc_store_stats sb = stats_of(b);
  assert_true(sa.level2_items + sb.level2_items <= (sa.items + sb.items) / 2 + 2);
  assert_true(sa.level2_items > 0 && sb.level2_items > 0);
  check(a);
  lc_store_destroy(a);
  lc_store_destroy(b);
  lc_pool_destroy(pool);
}

static void a_big_put_evicts_thousands_of_small_items(void **state) {
  (void)state;
  struct lc_pool *pool = make_pool(4 << 20);
  struct lc_store *store = make_store(pool, LC_POLICY_LRU2, 1, NULL);
  fill(store, "k", 60000, 0);
  uint64_t before = stats_of(store).items;
  assert_int_equal(put_sized(store, "big", (1 << 20) - 8192), 0);
  assert_true(has(store, "big"));
  assert_true(stats_of(store).items < before - 8000);
  assert_true(lc_pool_used(pool) <= lc_pool_limit(pool));
  assert_true(lc_pool_used(pool) > lc_pool_limit(pool) - 4096);
  check(store);
  lc_store_destroy(store);
  lc_pool_destroy(pool);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(a_put_into_an_empty_store_of_a_full_pool_evicts_from_the_other),
      cmocka_unit_test(a_quarter_of_the_limit_is_accepted_however_items_are_spread),
      cmocka_unit_test(the_limit_holds_with_a_few_big_items_in_many_shards),
      cmocka_unit_test(a_store_nobody_uses_gives_way_to_one_in_use),
      cmocka_unit_test(eviction_over_shards_takes_roughly_the_oldest),
      cmocka_unit_test(a_put_that_evicts_many_takes_them_from_all_by_age),
      cmocka_unit_test(level_2_of_all_stores_comes_down_to_half_when_memory_is_short),
      cmocka_unit_test(a_big_put_evicts_thousands_of_small_items),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
