#include <pthread.h>
#include <stdatomic.h>

#include "store/internal.h"
#include "test_store_util.h"

static void let_go(struct lc_item **items, size_t count) {
  for (size_t i = 0; i < count; i++) {
    lc_item_unref(items[i]);
  }
  lc_free(items);
}

/* The keys collected, "a b c". */
static const char *collected(struct lc_store *store, uint64_t now_ms, char *out, size_t size) {
  struct lc_item **items = NULL;
  size_t count = 0, len = 0;
  assert_int_equal(lc_store_collect(store, now_ms, &items, &count), 0);
  out[0] = '\0';
  for (size_t i = 0; i < count; i++) {
    struct lc_slice key = lc_item_key(items[i]);
    len += (size_t)snprintf(out + len, size - len, "%s%.*s", i ? " " : "", (int)key.len, (const char *)key.ptr);
  }
  let_go(items, count);
  return out;
}

static void an_empty_store_gives_no_items(void **state) {
  (void)state;
  struct lc_pool *pool = make_pool(1 << 20);
  struct lc_store *store = make_store(pool, LC_POLICY_LRU2, 4, NULL);
  struct lc_item **items = NULL;
  size_t count = 1;
  assert_int_equal(lc_store_collect(store, 0, &items, &count), 0);
  assert_int_equal(count, 0);
  assert_non_null(items);
  lc_free(items);
  lc_store_destroy(store);
  lc_pool_destroy(pool);
}

static void the_most_recently_used_come_first_over_all_shards(void **state) {
  (void)state;
  struct lc_pool *pool = make_pool(1 << 20);
  struct lc_store *store = make_store(pool, LC_POLICY_LRU2, 8, NULL);
  char keys[64];
  put(store, "a", "");
  put(store, "b", "");
  put(store, "c", "");
  put(store, "d", "");
  assert_string_equal(collected(store, 0, keys, sizeof(keys)), "d c b a");
  put(store, "e", "");
  hit(store, "b");
  put(store, "f", "");
  hit(store, "a");
  put(store, "g", "");
  drop(store, "g", 0);
  put(store, "c", "anew");
  const char *order = collected(store, 0, keys, sizeof(keys));
  assert_int_equal(strlen(order), 11);
  assert_int_equal(order[0], 'c');
  assert_string_equal(order + 10, "d");
  lc_store_destroy(store);
  lc_pool_destroy(pool);
}

static void ages_count_in_full_and_past_the_clocks_end(void **state) {
  (void)state;
  struct lc_pool *pool = make_pool(1 << 20);
  struct lc_store *store = make_store(pool, LC_POLICY_LRU, 1, NULL);
  char keys[64];
  pool->clock = LC_STAMP_MASK - 0x30000000;
  put(store, "a", "");
  pool->clock = LC_STAMP_MASK - 0x20000000;
  put(store, "b", "");
  pool->clock = LC_STAMP_MASK - 0x1000;
  put(store, "c", "");
  pool->clock = LC_STAMP_MASK;
  put(store, "d", ""); /* stamp 0 */
  assert_string_equal(collected(store, 0, keys, sizeof(keys)), "d c b a");
  lc_store_destroy(store);
  lc_pool_destroy(pool);
}

static void mirrors_and_what_has_expired_stay_behind(void **state) {
  (void)state;
  struct lc_pool *pool = make_pool(1 << 20);
  struct lc_store *store = make_mirroring_store(pool, LC_POLICY_LRU, 2, 1 << 16, NULL);
  char keys[64];
  put_slices(store, lc_slice_str("old"), lc_slice_str(""), 10, 0);
  put_slices(store, lc_slice_str("young"), lc_slice_str(""), 11, 0);
  struct lc_item *mirror = lc_item_create(lc_slice_str("mirror"), lc_slice_str(""), LC_TIME_NEVER, 0);
  lc_item_set_view(mirror, 1, true);
  assert_int_equal(lc_store_put(store, mirror, lc_store_hash(store, lc_slice_str("mirror")), 0), 0);
  lc_item_unref(mirror);
  assert_string_equal(collected(store, 10, keys, sizeof(keys)), "young");
  lc_store_destroy(store);
  lc_pool_destroy(pool);
}

static void collected_items_outlive_the_store(void **state) {
  (void)state;
  struct lc_pool *pool = make_pool(1 << 20);
  struct lc_store *store = make_store(pool, LC_POLICY_LRU2, 1, NULL);
  struct lc_item **items;
  size_t count;
  put(store, "k", "value");
  assert_int_equal(lc_store_collect(store, 0, &items, &count), 0);
  lc_store_destroy(store);
  lc_pool_destroy(pool);
  assert_true(lc_slice_eq(lc_item_value(items[0]), lc_slice_str("value")));
  let_go(items, count);
}

static void without_memory_nothing_is_collected_and_nothing_leaks(void **state) {
  (void)state;
  if (!lc_alloc_faults_built()) {
    skip();
  }
  struct lc_pool *pool = make_pool(1 << 20);
  struct lc_store *store = make_store(pool, LC_POLICY_LRU2, 2, NULL);
  for (unsigned i = 0; i < 1000; i++) {
    char key[16];
    snprintf(key, sizeof(key), "%u", i);
    put(store, key, "");
  }
  struct lc_item **items;
  size_t count, failed = 0;
  int rc;
  do {
    lc_alloc_fail_at(++failed);
    rc = lc_store_collect(store, 0, &items, &count);
    lc_alloc_fail_at(0);
    assert_true(rc == 0 || rc == LC_ENOMEM);
    if (rc == 0) {
      assert_int_equal(count, 1000);
      let_go(items, count);
    }
  } while (rc != 0);
  assert_true(failed > 2);
  lc_store_destroy(store);
  lc_pool_destroy(pool);
}

/* With no memory for buckets, chains get longer than a slice. */
static void chains_of_any_length_are_collected(void **state) {
  (void)state;
  if (!lc_alloc_faults_built()) {
    skip();
  }
  struct lc_pool *pool = make_pool((size_t)256 << 20);
  struct lc_store *store = make_store(pool, LC_POLICY_LRU, 1, NULL);
  const unsigned many = 120000;
  put(store, "first", "");
  for (unsigned i = 0; i < many; i++) {
    char key[16];
    snprintf(key, sizeof(key), "%u", i);
    struct lc_slice slice = lc_slice_str(key);
    struct lc_item *item = lc_item_create(slice, slice, LC_TIME_NEVER, 0);
    lc_alloc_fail_at(1);
    assert_int_equal(lc_store_put(store, item, lc_store_hash(store, slice), 0), 0);
    lc_alloc_fail_at(0);
    lc_item_unref(item);
  }
  struct lc_item **items;
  size_t count;
  assert_int_equal(lc_store_collect(store, 0, &items, &count), 0);
  assert_int_equal(count, many + 1);
  let_go(items, count);
  lc_store_destroy(store);
  lc_pool_destroy(pool);
}

/* ---- while others put and delete ---- */

#define STAYING 2000
#define CHURNED 20000

struct churn {
  struct lc_store *store;
  atomic_bool stop;
  atomic_uint rounds;
};

/* Makes the index grow to ten times its size and shrink again, over and over. */
static void *churn(void *arg) {
  struct churn *c = arg;
  char key[16];
  while (!atomic_load(&c->stop)) {
    for (int i = 0; i < CHURNED; i++) {
      snprintf(key, sizeof(key), "c%d", i);
      put(c->store, key, "");
    }
    for (int i = 0; i < CHURNED; i++) {
      snprintf(key, sizeof(key), "c%d", i);
      drop(c->store, key, 0);
    }
    atomic_fetch_add(&c->rounds, 1);
  }
  return NULL;
}

/* Counts the item if it is one of those that stay: "s" and a number. */
static void count_staying(const struct lc_item *item, unsigned char seen[STAYING]) {
  struct lc_slice key = lc_item_key(item);
  if (key.ptr[0] == 's') {
    char digits[16];
    snprintf(digits, sizeof(digits), "%.*s", (int)key.len - 1, (const char *)key.ptr + 1);
    seen[atoi(digits)]++;
  }
}

static void assert_each_once(const unsigned char seen[STAYING]) {
  for (int i = 0; i < STAYING; i++) {
    assert_int_equal(seen[i], 1);
  }
}

static void put_staying(struct lc_store *store) {
  char key[16];
  for (int i = 0; i < STAYING; i++) {
    snprintf(key, sizeof(key), "s%d", i);
    put(store, key, "");
  }
}

static void collect_and_count(struct lc_store *store) {
  unsigned char seen[STAYING] = {0};
  struct lc_item **items;
  size_t count;
  assert_int_equal(lc_store_collect(store, 0, &items, &count), 0);
  for (size_t i = 0; i < count; i++) {
    count_staying(items[i], seen);
  }
  let_go(items, count);
  assert_each_once(seen);
}

/* Puts or deletes up to 2,000 of the churned: `there` are put, from number 0 on. */
static void change(struct lc_store *store, int *there, uint64_t random) {
  char key[16];
  int target = (int)(random % CHURNED), most = 2000;
  for (; *there < target && most > 0; most--) {
    snprintf(key, sizeof(key), "c%d", (*there)++);
    put(store, key, "");
  }
  for (; *there > target && most > 0; most--) {
    snprintf(key, sizeof(key), "c%d", --*there);
    drop(store, key, 0);
  }
}

static void the_index_may_change_between_any_two_slices(void **state) {
  (void)state;
  struct lc_pool *pool = make_pool((size_t)64 << 20);
  struct lc_store *store = make_store(pool, LC_POLICY_LRU, 1, NULL);
  struct lc_collection all = {.cap = 100 * (STAYING + CHURNED)};
  uint64_t random = 1;
  int there = 0;
  all.found = calloc(all.cap, sizeof(*all.found));
  put_staying(store);
  for (unsigned round = 0; round < 20; round++) {
    unsigned char seen[STAYING] = {0};
    all.count = 0;
    for (uint64_t at = 0; at >> 32 == 0; change(store, &there, next_random(&random))) {
      assert_int_equal(lc_shard_collect(&store->shards[0], &at, &all), 0);
    }
    for (size_t i = 0; i < all.count; i++) {
      count_staying(all.found[i].item, seen);
      lc_item_unref(all.found[i].item);
    }
    assert_each_once(seen);
  }
  free(all.found);
  lc_store_destroy(store);
  lc_pool_destroy(pool);
}

static void what_stays_is_collected_once_however_the_index_changes(void **state) {
  (void)state;
  struct lc_pool *pool = make_pool((size_t)64 << 20);
  struct churn c = {.store = make_store(pool, LC_POLICY_LRU, 2, NULL)};
  put_staying(c.store);
  pthread_t thread;
  assert_int_equal(pthread_create(&thread, NULL, churn, &c), 0);
  for (unsigned i = 0; i < 50 || atomic_load(&c.rounds) < 5; i++) {
    collect_and_count(c.store);
  }
  atomic_store(&c.stop, true);
  pthread_join(thread, NULL);
  check(c.store);
  lc_store_destroy(c.store);
  lc_pool_destroy(pool);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(an_empty_store_gives_no_items),
      cmocka_unit_test(the_most_recently_used_come_first_over_all_shards),
      cmocka_unit_test(ages_count_in_full_and_past_the_clocks_end),
      cmocka_unit_test(mirrors_and_what_has_expired_stay_behind),
      cmocka_unit_test(collected_items_outlive_the_store),
      cmocka_unit_test(without_memory_nothing_is_collected_and_nothing_leaks),
      cmocka_unit_test(chains_of_any_length_are_collected),
      cmocka_unit_test(the_index_may_change_between_any_two_slices),
      cmocka_unit_test(what_stays_is_collected_once_however_the_index_changes),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
