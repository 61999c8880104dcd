#include "test_store_util.h"

/* One-letter keys without a value: all items of these tests cost the same. */
#define UNIT lc_item_charge(1, 0)

static void put_letters(struct lc_store *store, const char *letters) {
  for (; *letters; letters++) {
    char key[2] = {*letters, '\0'};
    assert_int_equal(put(store, key, ""), 0);
  }
}

static void hit_letters(struct lc_store *store, const char *letters) {
  for (; *letters; letters++) {
    char key[2] = {*letters, '\0'};
    assert_true(hit(store, key));
  }
}

static void assert_gone(const struct gone_log *log, const char *keys) {
  char text[LOG_MAX];
  assert_string_equal(gone_keys(log, text, sizeof(text)), keys);
}

static void a_value_is_found_until_it_is_deleted(void **state) {
  (void)state;
  struct gone_log log = {0};
  struct lc_pool *pool = make_pool(1 << 20);
  struct lc_store *store = make_store(pool, LC_POLICY_LRU2, 0, &log);
  assert_false(hit(store, "a"));
  assert_int_equal(put(store, "a", "one"), 0);
  assert_true(value_is(store, "a", "one"));
  assert_true(drop(store, "a", 0));
  assert_false(hit(store, "a"));
  assert_false(drop(store, "a", 0));
  assert_int_equal(log.count, 1);
  assert_int_equal(log.entries[0].reason, LC_EVICT_DELETED);
  assert_int_equal(lc_pool_used(pool), 0);
  assert_int_equal(stats_of(store).deletes, 1);
  lc_store_destroy(store);
  lc_pool_destroy(pool);
}

static void a_newer_value_replaces_the_older_and_nobody_is_told(void **state) {
  (void)state;
  struct gone_log log = {0};
  struct lc_pool *pool = make_pool(1 << 20);
  struct lc_store *store = make_store(pool, LC_POLICY_LRU2, 0, &log);
  put(store, "a", "one");
  put(store, "a", "another");
  assert_true(value_is(store, "a", "another"));
  assert_int_equal(log.count, 0);
  assert_int_equal(stats_of(store).items, 1);
  assert_int_equal(stats_of(store).puts, 2);
  assert_int_equal(lc_pool_used(pool), lc_item_charge(1, 7));
  check(store);
  lc_store_destroy(store);
  lc_pool_destroy(pool);
}

static void any_bytes_are_a_key(void **state) {
  (void)state;
  struct lc_pool *pool = make_pool(8 << 20);
  struct lc_store *store = make_store(pool, LC_POLICY_LRU2, 0, NULL);
  uint8_t *big = calloc(1, LC_KEY_MAX + 1);
  assert_non_null(big);
  struct lc_slice keys[] = {lc_slice_of(NULL, 0),   lc_slice_of("\0", 1),   lc_slice_of("\0\0", 2),
                            lc_slice_of("a\0b", 3), lc_slice_of("a\0c", 3), lc_slice_of(big, LC_KEY_MAX)};
  const size_t count = sizeof(keys) / sizeof(keys[0]);
  for (size_t i = 0; i < count; i++) {
    assert_int_equal(put_slices(store, keys[i], lc_slice_of(&i, sizeof(i)), LC_TIME_NEVER, 0), 0);
  }
  for (size_t i = 0; i < count; i++) {
    struct lc_item *item = lc_store_get(store, keys[i], lc_store_hash(store, keys[i]), 0);
    assert_non_null(item);
    assert_true(lc_slice_eq(lc_item_key(item), keys[i]));
    assert_true(lc_slice_eq(lc_item_value(item), lc_slice_of(&i, sizeof(i))));
    lc_item_unref(item);
  }
  assert_null(lc_item_create(lc_slice_of(big, LC_KEY_MAX + 1), lc_slice_of(NULL, 0), LC_TIME_NEVER, 0));
  assert_null(lc_item_create(lc_slice_of(big, 1), lc_slice_of(big, (size_t)LC_VALUE_MAX + 1), LC_TIME_NEVER, 0));
  check(store);
  free(big);
  lc_store_destroy(store);
  lc_pool_destroy(pool);
}

static void a_reader_keeps_its_bytes_after_replacement_eviction_and_destroy(void **state) {
  (void)state;
  struct lc_pool *pool = make_pool(4 * UNIT);
  struct lc_store *store = make_store(pool, LC_POLICY_LRU, 1, NULL);
  put_letters(store, "ab");
  struct lc_item *replaced = get_at(store, "a", 0);
  struct lc_item *evicted = get_at(store, "b", 0);
  put_letters(store, "acdefg");
  struct lc_item *last = get_at(store, "g", 0);
  assert_false(has(store, "b"));
  lc_store_destroy(store);
  lc_pool_destroy(pool);
  assert_true(lc_slice_eq(lc_item_key(replaced), lc_slice_str("a")));
  assert_true(lc_slice_eq(lc_item_key(evicted), lc_slice_str("b")));
  assert_true(lc_slice_eq(lc_item_key(last), lc_slice_str("g")));
  lc_item_unref(replaced);
  lc_item_unref(evicted);
  lc_item_unref_void(last);
  lc_item_unref(NULL);
}

static uint64_t version_of(struct lc_store *store, const char *key) {
  struct lc_item *item = get_at(store, key, 0);
  assert_non_null(item);
  uint64_t version = lc_item_version(item);
  lc_item_unref(item);
  return version;
}

static void put_version(struct lc_store *store, const char *key, uint64_t version) {
  struct lc_slice slice = lc_slice_str(key);
  struct lc_item *item = lc_item_create(slice, slice, LC_TIME_NEVER, version);
  assert_int_equal(lc_store_put(store, item, lc_store_hash(store, slice), 0), 0);
  lc_item_unref(item);
}

static void versions_grow_with_every_put_and_past_those_given(void **state) {
  (void)state;
  struct lc_pool *pool = make_pool(1 << 20);
  struct lc_store *store = make_store(pool, LC_POLICY_LRU2, 0, NULL);
  put(store, "a", "");
  put(store, "b", "");
  assert_true(version_of(store, "a") > 0);
  assert_true(version_of(store, "b") > version_of(store, "a"));
  put_version(store, "a", 1000000);
  assert_int_equal(version_of(store, "a"), 1000000);
  put(store, "a", "");
  assert_true(version_of(store, "a") > 1000000);
  put_version(store, "a", UINT64_MAX);
  put(store, "b", "");
  assert_true(version_of(store, "b") > 1000000);
  assert_true(version_of(store, "b") < UINT64_MAX / 2);
  lc_store_destroy(store);
  lc_pool_destroy(pool);
}

static void lru_evicts_in_the_exact_order_of_last_use(void **state) {
  (void)state;
  struct gone_log log = {0};
  struct lc_pool *pool = make_pool(8 * UNIT);
  struct lc_store *store = make_store(pool, LC_POLICY_LRU, 1, &log);
  put_letters(store, "abcdefgh");
  hit_letters(store, "cab");
  put_letters(store, "d"); /* a write is a use */
  assert_true(has(store, "e"));
  put_letters(store, "stuvwxyz");
  assert_gone(&log, "e f g h c a b d");
  assert_int_equal(log.entries[0].reason, LC_EVICT_SIZE);
  assert_int_equal(stats_of(store).evictions[LC_EVICT_SIZE], 8);
  assert_int_equal(stats_of(store).level2_items, 0);
  assert_int_equal(lc_pool_used(pool), lc_pool_limit(pool));
  check(store);
  lc_store_destroy(store);
  lc_pool_destroy(pool);
}

static void lru2_demotes_what_overflows_level_2_to_the_head_of_level_1(void **state) {
  (void)state;
  struct gone_log log = {0};
  struct lc_pool *pool = make_pool(8 * UNIT);
  struct lc_store *store = make_store(pool, LC_POLICY_LRU2, 1, &log);
  put_letters(store, "abcdefgh");
  hit_letters(store, "abcd");
  assert_int_equal(stats_of(store).level2_items, 4);
  assert_int_equal(stats_of(store).demotions, 0);
  hit_letters(store, "e"); /* half is four: a goes back */
  assert_int_equal(stats_of(store).level2_items, 4);
  assert_int_equal(stats_of(store).demotions, 1);
  assert_int_equal(log.count, 0);
  assert_true(has(store, "a"));
  put_letters(store, "wxyz");
  assert_gone(&log, "f g h a");
  hit_letters(store, "bcde");
  check(store);
  lc_store_destroy(store);
  lc_pool_destroy(pool);
}

static void lru2_keeps_what_was_hit_through_a_scan(void **state) {
  (void)state;
  struct lc_pool *pool = make_pool(16 * UNIT);
  struct lc_store *store = make_store(pool, LC_POLICY_LRU2, 1, NULL);
  put_letters(store, "abcd");
  hit_letters(store, "abcd");
  for (unsigned i = 0; i < 1000; i++) {
    char key[8];
    snprintf(key, sizeof(key), "%u", i);
    put(store, key, "");
    assert_true(lc_pool_used(pool) <= lc_pool_limit(pool));
  }
  hit_letters(store, "abcd");
  check(store);
  lc_store_destroy(store);
  lc_pool_destroy(pool);
}

static void lru2_holds_the_byte_limit_when_everything_is_hit(void **state) {
  (void)state;
  struct lc_pool *pool = make_pool(64 << 10);
  struct lc_store *store = make_store(pool, LC_POLICY_LRU2, 4, NULL);
  for (unsigned i = 0; i < 20000; i++) {
    char key[8];
    snprintf(key, sizeof(key), "%u", i);
    put_sized(store, key, i % 300);
    assert_true(lc_pool_used(pool) <= lc_pool_limit(pool));
    hit(store, key);
    hit(store, key);
  }
  check(store);
  lc_store_destroy(store);
  lc_pool_destroy(pool);
}

static void an_older_value_never_returns_after_a_newer_one_was_evicted(void **state) {
  (void)state;
  struct lc_pool *pool = make_pool(8 * lc_item_charge(1, 3));
  struct lc_store *store = make_store(pool, LC_POLICY_LRU2, 1, NULL);
  for (unsigned hits = 0; hits < 3; hits++) {
    put(store, "k", "old");
    hit_letters(store, "kk"); /* into level 2 */
    put(store, "k", "new");
    for (unsigned i = 0; i < hits; i++) {
      hit(store, "k");
    }
    for (char c = 'A'; c <= 'Z' && has(store, "k"); c++) {
      char key[2] = {c, '\0'};
      put(store, key, "xxx");
      hit(store, key);
      assert_false(value_is(store, "k", "old"));
    }
    lc_store_clear(store);
  }
  lc_store_destroy(store);
  lc_pool_destroy(pool);
}

static void a_newer_value_keeps_its_keys_level(void **state) {
  (void)state;
  struct lc_pool *pool = make_pool(8 * UNIT);
  struct lc_store *store = make_store(pool, LC_POLICY_LRU2, 1, NULL);
  put_letters(store, "ab");
  hit_letters(store, "a");
  put_letters(store, "ab");
  assert_int_equal(stats_of(store).level2_items, 1);
  put_letters(store, "stuvwxyz");
  assert_true(has(store, "a"));
  assert_false(has(store, "b"));
  check(store);
  lc_store_destroy(store);
  lc_pool_destroy(pool);
}

static void a_deleted_keys_memory_is_freed_from_either_level(void **state) {
  (void)state;
  struct lc_pool *pool = make_pool(1 << 20);
  struct lc_store *store = make_store(pool, LC_POLICY_LRU2, 0, NULL);
  put_sized(store, "a", 1000);
  put_sized(store, "b", 1000);
  hit(store, "b");
  struct lc_item *held = get_at(store, "b", 0);
  assert_true(drop(store, "a", 0));
  assert_true(drop(store, "b", 0));
  assert_int_equal(lc_pool_used(pool), 0);
  assert_false(hit(store, "b"));
  check(store);
  lc_item_unref(held); /* the last reference: the leak checker sees to the rest */
  lc_store_destroy(store);
  lc_pool_destroy(pool);
}

static void an_item_over_a_quarter_of_the_limit_is_refused_and_evicts_nothing(void **state) {
  (void)state;
  struct gone_log log = {0};
  struct lc_pool *pool = make_pool(64 << 10);
  struct lc_store *store = make_store(pool, LC_POLICY_LRU2, 4, &log);
  size_t fits = 16 << 10;
  while (lc_item_charge(1, fits) > (16 << 10)) {
    fits--;
  }
  for (unsigned i = 0; i < 100; i++) {
    char key[8];
    snprintf(key, sizeof(key), "%u", i);
    put_sized(store, key, 400);
  }
  assert_int_equal(log.count, 0);
  assert_int_equal(put_sized(store, "X", fits + 1), LC_ETOOBIG);
  assert_int_equal(log.count, 0);
  assert_false(has(store, "X"));
  assert_int_equal(put_sized(store, "X", fits), 0);
  assert_true(has(store, "X"));
  log.count = 0;
  assert_int_equal(put_sized(store, "X", fits + 1), LC_ETOOBIG);
  assert_false(has(store, "X"));
  assert_gone(&log, "X");
  assert_int_equal(log.entries[0].reason, LC_EVICT_DELETED);
  assert_int_equal(stats_of(store).refused, 2);
  check(store);
  lc_store_destroy(store);
  lc_pool_destroy(pool);
}

static void sizes_near_the_end_of_the_range_dont_overflow_the_charge(void **state) {
  (void)state;
  assert_true(lc_item_charge(SIZE_MAX, 0) == SIZE_MAX);
  assert_true(lc_item_charge(0, SIZE_MAX) == SIZE_MAX);
  assert_true(lc_item_charge(SIZE_MAX, SIZE_MAX) == SIZE_MAX);
  for (size_t under = 0; under < 10000; under++) {
    assert_true(lc_item_charge(20, SIZE_MAX - 20 - under) > SIZE_MAX / 2);
  }
  assert_true(lc_item_charge(20, 100) <= 200);
  struct lc_pool *pool = make_pool(0);
  struct lc_store *store = make_store(pool, LC_POLICY_LRU2, 0, NULL);
  assert_int_equal(put(store, "a", ""), LC_ETOOBIG);
  lc_store_destroy(store);
  lc_pool_destroy(pool);
}

struct reentrant {
  struct lc_store *store;
  unsigned calls;
};

static void put_again(void *arg, struct lc_item *item, enum lc_evict_reason reason) {
  struct reentrant *reentrant = arg;
  (void)reason;
  reentrant->calls++;
  assert_false(has(reentrant->store, (const char[]){(char)lc_item_key(item).ptr[0], '\0'}));
  if (reentrant->calls < 5) {
    put(reentrant->store, "again", "");
  }
  check(reentrant->store);
}

static void on_evict_runs_outside_the_locks(void **state) {
  (void)state;
  struct lc_pool *pool = make_pool(8 * UNIT);
  struct reentrant reentrant = {0};
  struct lc_store_config config = {
      .pool = pool, .shards = 1, .key = fixed_hash_key(), .on_evict = put_again, .on_evict_arg = &reentrant};
  assert_int_equal(lc_store_create(&config, &reentrant.store), 0);
  put_letters(reentrant.store, "abcdefghij");
  drop(reentrant.store, "j", 0);
  lc_store_clear(reentrant.store);
  assert_true(reentrant.calls >= 10);
  lc_store_destroy(reentrant.store);
  lc_pool_destroy(pool);
}

static void clear_empties_the_store_and_tells(void **state) {
  (void)state;
  struct gone_log log = {0};
  struct lc_pool *pool = make_pool(8 << 20);
  struct lc_store *store = make_store(pool, LC_POLICY_LRU2, 4, &log);
  for (unsigned i = 0; i < 3000; i++) {
    char key[8];
    snprintf(key, sizeof(key), "%u", i);
    put(store, key, "v");
    if (i % 3 == 0) {
      hit(store, key);
    }
  }
  assert_int_equal(lc_store_clear(store), 3000);
  assert_int_equal(log.count, 3000);
  assert_int_equal(log.entries[2999].reason, LC_EVICT_CLEARED);
  assert_int_equal(lc_pool_used(pool), 0);
  assert_int_equal(lc_store_clear(store), 0);
  put(store, "a", "v");
  assert_true(hit(store, "a"));
  check(store);
  lc_store_destroy(store);
  lc_pool_destroy(pool);
}

static void a_wrong_configuration_is_refused(void **state) {
  (void)state;
  struct lc_pool *pool = make_pool(1 << 20);
  struct lc_store_config good = {.pool = pool, .shards = 256, .key = fixed_hash_key()};
  struct lc_store *store = NULL;
  struct lc_store_config config = good;
  config.shards = 3;
  assert_int_equal(lc_store_create(&config, &store), LC_EINVAL);
  config.shards = 512;
  assert_int_equal(lc_store_create(&config, &store), LC_EINVAL);
  config = good;
  config.pool = NULL;
  assert_int_equal(lc_store_create(&config, &store), LC_EINVAL);
  config = good;
  config.key = NULL;
  assert_int_equal(lc_store_create(&config, &store), LC_EINVAL);
  config = good;
  config.policy = (enum lc_policy)7;
  assert_int_equal(lc_store_create(&config, &store), LC_EINVAL);
  assert_null(store);
  assert_int_equal(lc_store_create(&good, &store), 0);
  lc_store_destroy(store);
  lc_store_destroy(NULL);
  lc_pool_destroy(pool);
  lc_pool_destroy(NULL);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(a_value_is_found_until_it_is_deleted),
      cmocka_unit_test(a_newer_value_replaces_the_older_and_nobody_is_told),
      cmocka_unit_test(any_bytes_are_a_key),
      cmocka_unit_test(a_reader_keeps_its_bytes_after_replacement_eviction_and_destroy),
      cmocka_unit_test(versions_grow_with_every_put_and_past_those_given),
      cmocka_unit_test(lru_evicts_in_the_exact_order_of_last_use),
      cmocka_unit_test(lru2_demotes_what_overflows_level_2_to_the_head_of_level_1),
      cmocka_unit_test(lru2_keeps_what_was_hit_through_a_scan),
      cmocka_unit_test(lru2_holds_the_byte_limit_when_everything_is_hit),
      cmocka_unit_test(an_older_value_never_returns_after_a_newer_one_was_evicted),
      cmocka_unit_test(a_newer_value_keeps_its_keys_level),
      cmocka_unit_test(a_deleted_keys_memory_is_freed_from_either_level),
      cmocka_unit_test(an_item_over_a_quarter_of_the_limit_is_refused_and_evicts_nothing),
      cmocka_unit_test(sizes_near_the_end_of_the_range_dont_overflow_the_charge),
      cmocka_unit_test(on_evict_runs_outside_the_locks),
      cmocka_unit_test(clear_empties_the_store_and_tells),
      cmocka_unit_test(a_wrong_configuration_is_refused),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
