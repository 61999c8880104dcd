#include "test_store_util.h"

/* Creates, fills past the first growth of the index, evicts, clears, destroys. False when memory was out anywhere. */
static bool scenario(void) {
  struct lc_pool *pool = NULL;
  struct lc_store *store = NULL;
  bool all = false;
  if (lc_pool_create(1 << 20, &pool) != 0) {
    return false;
  }
  struct lc_store_config config = {.pool = pool, .shards = 2, .key = fixed_hash_key()};
  if (lc_store_create(&config, &store) != 0) {
    assert_null(store);
    goto out;
  }
  all = true;
  for (unsigned i = 0; i < 4000; i++) {
    char key[8];
    snprintf(key, sizeof(key), "%u", i);
    struct lc_slice slice = lc_slice_str(key);
    struct lc_item *item = lc_item_create(slice, slice, LC_TIME_NEVER, 0);
    int rc = item ? lc_store_put(store, item, lc_store_hash(store, slice), 0) : LC_ENOMEM;
    assert_true(rc == 0 || rc == LC_ENOMEM);
    assert_int_equal(hit(store, key), rc == 0);
    all = all && rc == 0;
    lc_item_unref(item);
  }
  check(store);
  lc_store_clear(store);
  check(store);
out:
  lc_store_destroy(store);
  assert_int_equal(lc_pool_used(pool), 0);
  lc_pool_destroy(pool);
  return all;
}

static void skip_without_faults(void) {
  if (!lc_alloc_faults_built()) {
    skip();
  }
}

static void any_one_failing_allocation_is_survived(void **state) {
  (void)state;
  skip_without_faults();
  lc_alloc_fail_at(0);
  assert_true(scenario());
  size_t made = lc_alloc_fail_at(0);
  assert_true(made > 4000);
  /* the first 60 are those of the structures; then each hundred items' worth is like the last */
  for (size_t n = 1; n <= made; n += n < 60 ? 1 : 37) {
    lc_alloc_fail_at(n);
    scenario();
  }
  lc_alloc_fail_at(0);
}

static void a_store_whose_index_cannot_grow_serves_on_and_catches_up(void **state) {
  (void)state;
  skip_without_faults();
  struct lc_pool *pool = make_pool(8 << 20);
  struct lc_store *store = make_store(pool, LC_POLICY_LRU2, 1, NULL);
  for (unsigned i = 0; i < 6000; i++) {
    char key[8];
    snprintf(key, sizeof(key), "%u", i);
    struct lc_slice slice = lc_slice_str(key);
    struct lc_item *item = lc_item_create(slice, slice, LC_TIME_NEVER, 0);
    assert_non_null(item);
    lc_alloc_fail_at(i > 0 && i < 4000 ? 1 : 0);
    assert_int_equal(lc_store_put(store, item, lc_store_hash(store, slice), 0), 0);
    lc_alloc_fail_at(0);
    lc_item_unref(item);
  }
  check(store);
  for (unsigned i = 0; i < 6000; i++) {
    char key[8];
    snprintf(key, sizeof(key), "%u", i);
    assert_true(hit(store, key));
  }
  lc_store_destroy(store);
  lc_pool_destroy(pool);
}

static void without_memory_for_the_index_a_put_fails_and_leaves_nothing(void **state) {
  (void)state;
  skip_without_faults();
  struct lc_pool *pool = make_pool(8 << 20);
  struct lc_store *store = make_store(pool, LC_POLICY_LRU2, 1, NULL);
  struct lc_item *item = lc_item_create(lc_slice_str("a"), lc_slice_str("v"), LC_TIME_NEVER, 0);
  assert_non_null(item);
  for (size_t n = 1; n <= 2; n++) {
    lc_alloc_fail_at(n);
    assert_int_equal(lc_store_put(store, item, lc_store_hash(store, lc_slice_str("a")), 0), LC_ENOMEM);
    lc_alloc_fail_at(0);
    assert_false(has(store, "a"));
    assert_int_equal(lc_pool_used(pool), 0);
    check(store);
  }
  assert_int_equal(lc_store_put(store, item, lc_store_hash(store, lc_slice_str("a")), 0), 0);
  assert_true(has(store, "a"));
  lc_item_unref(item);
  lc_store_destroy(store);
  lc_pool_destroy(pool);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(any_one_failing_allocation_is_survived),
      cmocka_unit_test(a_store_whose_index_cannot_grow_serves_on_and_catches_up),
      cmocka_unit_test(without_memory_for_the_index_a_put_fails_and_leaves_nothing),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
