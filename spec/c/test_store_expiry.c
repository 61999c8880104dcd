#include "test_store_util.h"

static int put_until(struct lc_store *store, const char *key, uint64_t expires_ms, uint64_t now_ms) {
  return put_slices(store, lc_slice_str(key), lc_slice_str("v"), expires_ms, now_ms);
}

static bool alive(struct lc_store *store, const char *key, uint64_t now_ms) {
  struct lc_item *item = get_at(store, key, now_ms);
  lc_item_unref(item);
  return item != NULL;
}

static void fill_until(struct lc_store *store, const char *prefix, unsigned count, uint64_t expires_ms) {
  for (unsigned i = 0; i < count; i++) {
    char key[24];
    snprintf(key, sizeof(key), "%s%u", prefix, i);
    put_until(store, key, expires_ms, 0);
  }
}

static void an_item_is_gone_from_the_millisecond_it_expires(void **state) {
  (void)state;
  struct gone_log log = {0};
  struct lc_pool *pool = make_pool(1 << 20);
  struct lc_store *store = make_store(pool, LC_POLICY_LRU2, 0, &log);
  put_until(store, "a", 1000, 0);
  assert_true(alive(store, "a", 999));
  assert_int_equal(log.count, 0);
  assert_false(alive(store, "a", 1000));
  assert_int_equal(log.count, 1);
  assert_int_equal(log.entries[0].reason, LC_EVICT_EXPIRED);
  assert_int_equal(lc_pool_used(pool), 0);
  assert_false(alive(store, "a", 0)); /* not even when the clock is wrong */
  check(store);
  lc_store_destroy(store);
  lc_pool_destroy(pool);
}

static void an_expired_item_is_gone_for_peek_delete_and_put_too(void **state) {
  (void)state;
  struct gone_log log = {0};
  struct lc_pool *pool = make_pool(1 << 20);
  struct lc_store *store = make_store(pool, LC_POLICY_LRU2, 0, &log);
  fill_until(store, "k", 3, 1000);
  struct lc_slice key = lc_slice_str("k0");
  assert_null(lc_store_peek(store, key, lc_store_hash(store, key), 5000));
  assert_false(drop(store, "k1", 5000));
  put_until(store, "k2", 9000, 5000);
  assert_int_equal(log.count, 3);
  for (size_t i = 0; i < log.count; i++) {
    assert_int_equal(log.entries[i].reason, LC_EVICT_EXPIRED);
  }
  assert_true(alive(store, "k2", 8999));
  assert_int_equal(stats_of(store).deletes, 0);
  check(store);
  lc_store_destroy(store);
  lc_pool_destroy(pool);
}

static void no_expiry_is_never(void **state) {
  (void)state;
  struct lc_pool *pool = make_pool(1 << 20);
  struct lc_store *store = make_store(pool, LC_POLICY_LRU2, 0, NULL);
  put_until(store, "never", LC_TIME_NEVER, 0);
  put_until(store, "far", (UINT64_C(1) << 48) - 2, 0);
  assert_true(alive(store, "never", UINT64_C(115) * 24 * 3600 * 1000 + 1));
  assert_true(alive(store, "never", (UINT64_C(1) << 48) + 5));
  assert_true(alive(store, "never", UINT64_MAX - 1));
  assert_true(alive(store, "never", UINT64_MAX));
  lc_store_sweep(store, UINT64_MAX, 100);
  assert_true(alive(store, "never", UINT64_MAX));
  assert_false(alive(store, "far", UINT64_MAX));
  lc_store_destroy(store);
  lc_pool_destroy(pool);
}

static int64_t ttl_at(uint64_t expires_ms, uint64_t now_ms) {
  struct lc_item *item = lc_item_create(lc_slice_str("k"), lc_slice_str("v"), expires_ms, 0);
  assert_non_null(item);
  int64_t ttl = lc_item_ttl_ms(item, now_ms);
  assert_true(lc_item_expires_ms(item) == expires_ms);
  lc_item_unref(item);
  return ttl;
}

static void the_ttl_left_is_0_only_for_no_expiry(void **state) {
  (void)state;
  assert_int_equal(ttl_at(LC_TIME_NEVER, 5), 0);
  assert_int_equal(ttl_at(1500, 1000), 500);
  assert_int_equal(ttl_at(1500, 1499), 1);
  assert_int_equal(ttl_at(1500, 1500), 1);
  assert_int_equal(ttl_at(1500, 99999), 1);
}

static void a_sweep_looks_at_no_more_items_than_it_is_told_and_goes_on_there(void **state) {
  (void)state;
  for (unsigned shards = 1; shards <= 16; shards *= 4) {
    struct lc_pool *pool = make_pool(8 << 20);
    struct lc_store *store = make_store(pool, LC_POLICY_LRU2, shards, NULL);
    fill_until(store, "e", 1000, 1000);
    for (unsigned i = 0; i < 100; i++) {
      assert_int_equal(lc_store_sweep(store, 1000, 10), 10);
    }
    assert_int_equal(lc_store_sweep(store, 1000, 10), 0);
    assert_int_equal(stats_of(store).evictions[LC_EVICT_EXPIRED], 1000);
    assert_int_equal(lc_pool_used(pool), 0);
    check(store);
    lc_store_destroy(store);
    lc_pool_destroy(pool);
  }
}

static void sweep_round(size_t most) {
  struct lc_pool *pool = make_pool(8 << 20);
  struct lc_store *store = make_store(pool, LC_POLICY_LRU2, 4, NULL);
  fill_until(store, "live", 1000, 2000);
  fill_until(store, "dead", 1000, 1000);
  size_t removed = 0;
  /* twice as often as there are items: those that the shrinking index moves down are looked at again */
  for (size_t i = 0; i < 2 * 2000 / most; i++) {
    size_t now = lc_store_sweep(store, 1500, most);
    assert_true(now <= most);
    removed += now;
  }
  assert_int_equal(removed, 1000);
  assert_int_equal(stats_of(store).items, 1000);
  assert_int_equal(lc_store_sweep(store, 1500, SIZE_MAX), 0); /* ends after a round */
  assert_int_equal(lc_store_sweep(store, 2000, SIZE_MAX), 1000);
  check(store);
  lc_store_destroy(store);
  lc_pool_destroy(pool);
}

static void a_sweep_reaches_every_item_and_removes_only_the_expired(void **state) {
  (void)state;
  sweep_round(1);
  sweep_round(7);
  sweep_round(400);
}

static void a_sweep_finds_what_is_put_while_it_goes_round(void **state) {
  (void)state;
  struct lc_pool *pool = make_pool(64 << 20);
  struct lc_store *store = make_store(pool, LC_POLICY_LRU2, 2, NULL);
  uint64_t random = 7;
  for (unsigned i = 0; i < 20000; i++) { /* the index grows under the cursor */
    char key[24];
    snprintf(key, sizeof(key), "k%u", i);
    put_until(store, key, 1000, 0);
    lc_store_sweep(store, 0, next_random(&random) % 8);
  }
  size_t removed = 0;
  for (unsigned i = 0; i < 20000 / 50 + 2; i++) {
    removed += lc_store_sweep(store, 1000, 50);
  }
  assert_int_equal(removed, 20000);
  assert_int_equal(stats_of(store).items, 0);
  check(store);
  lc_store_destroy(store);
  lc_pool_destroy(pool);
}

static void an_empty_store_is_swept_at_once(void **state) {
  (void)state;
  struct lc_pool *pool = make_pool(8 << 20);
  struct lc_store *store = make_store(pool, LC_POLICY_LRU2, 256, NULL);
  assert_int_equal(lc_store_sweep(store, 1000, 1000), 0);
  assert_int_equal(lc_store_sweep(store, 1000, 0), 0);
  lc_store_destroy(store);
  lc_pool_destroy(pool);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(an_item_is_gone_from_the_millisecond_it_expires),
      cmocka_unit_test(an_expired_item_is_gone_for_peek_delete_and_put_too),
      cmocka_unit_test(no_expiry_is_never),
      cmocka_unit_test(the_ttl_left_is_0_only_for_no_expiry),
      cmocka_unit_test(a_sweep_looks_at_no_more_items_than_it_is_told_and_goes_on_there),
      cmocka_unit_test(a_sweep_reaches_every_item_and_removes_only_the_expired),
      cmocka_unit_test(a_sweep_finds_what_is_put_while_it_goes_round),
      cmocka_unit_test(an_empty_store_is_swept_at_once),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
