#include "test_store_util.h"

#include "store/internal.h"

/* Views and mirrors: what an item says of them, and what mirrors may take. */

static int put_mirror(struct lc_store *store, const char *key, size_t size, uint64_t expires_ms, uint64_t now_ms) {
  void *bytes = calloc(1, size + 1);
  assert_non_null(bytes);
  struct lc_item *item = lc_item_create(lc_slice_str(key), lc_slice_of(bytes, size), expires_ms, 0);
  free(bytes);
  assert_non_null(item);
  lc_item_set_view(item, 7, true);
  int rc = lc_store_put(store, item, lc_store_hash(store, lc_slice_str(key)), now_ms);
  lc_item_unref(item);
  check(store);
  return rc;
}

static int mirror(struct lc_store *store, const char *key) {
  return put_mirror(store, key, 0, LC_TIME_NEVER, 0);
}

/* Room for that many mirrors with keys of one letter and no value. */
static size_t room_for(size_t mirrors) {
  return mirrors * lc_item_charge(1, 0);
}

struct fixture {
  struct lc_pool *pool;
  struct lc_store *store;
  struct gone_log log;
};

static int setup(void **state) {
  struct fixture *f = calloc(1, sizeof(*f));
  assert_non_null(f);
  f->pool = make_pool(1 << 20);
  f->store = make_mirroring_store(f->pool, LC_POLICY_LRU2, 4, room_for(3), &f->log);
  *state = f;
  return 0;
}

static int teardown(void **state) {
  struct fixture *f = *state;
  check(f->store);
  lc_store_destroy(f->store);
  lc_pool_destroy(f->pool);
  free(f);
  return 0;
}

static struct lc_store *full_store(void **state) {
  struct fixture *f = *state;
  assert_int_equal(mirror(f->store, "a"), 0);
  assert_int_equal(mirror(f->store, "b"), 0);
  assert_int_equal(mirror(f->store, "c"), 0);
  return f->store;
}

static void an_item_keeps_view_mirror_and_version_apart(void **state) {
  (void)state;
  struct lc_item *item = lc_item_create(lc_slice_str("k"), lc_slice_str("v"), LC_TIME_NEVER, UINT64_MAX);
  assert_int_equal(lc_item_view(item), 0);
  assert_false(lc_item_mirror(item));
  lc_item_set_view(item, LC_ITEM_VIEW_MASK + 1 + 5, true);
  assert_int_equal(lc_item_view(item), 5);
  assert_true(lc_item_mirror(item));
  lc_item_set_view(item, LC_ITEM_VIEW_MASK, false);
  assert_int_equal(lc_item_view(item), LC_ITEM_VIEW_MASK);
  assert_false(lc_item_mirror(item));
  assert_true(lc_item_version(item) == LC_VERSION_MASK);
  lc_item_unref(item);
}

static void versions_wrap_past_zero(void **state) {
  struct fixture *f = *state;
  f->pool->versions = LC_VERSION_MASK - 1;
  const uint64_t expected[] = {LC_VERSION_MASK, 1, 2};
  for (size_t i = 0; i < 3; i++) {
    assert_int_equal(put(f->store, "k", "v"), 0);
    struct lc_item *item = get_at(f->store, "k", 0);
    assert_true(lc_item_version(item) == expected[i]);
    lc_item_unref(item);
  }
}

static void a_version_counts_as_later_when_it_is_less_than_half_the_range_ahead(void **state) {
  struct fixture *f = *state;
  f->pool->versions = LC_VERSION_MASK - 1;
  lc_pool_saw_version(f->pool, 3); /* after the wrap */
  assert_true(lc_pool_next_version(f->pool) == 4);
  lc_pool_saw_version(f->pool, LC_VERSION_MASK); /* before it */
  assert_true(lc_pool_next_version(f->pool) == 5);
  lc_pool_saw_version(f->pool, 1000);
  assert_true(lc_pool_next_version(f->pool) == 1001);
}

static void a_store_without_a_limit_for_mirrors_takes_none(void **state) {
  (void)state;
  struct lc_pool *pool = make_pool(1 << 20);
  struct lc_store *store = make_store(pool, LC_POLICY_LRU, 1, NULL);
  assert_int_equal(mirror(store, "a"), LC_EEXHAUSTED);
  assert_int_equal(put(store, "a", "mine"), 0);
  assert_true(has(store, "a"));
  lc_store_destroy(store);
  lc_pool_destroy(pool);
}

static void mirrors_fill_their_limit_to_the_byte_and_no_more(void **state) {
  struct lc_store *store = full_store(state);
  assert_int_equal(mirror(store, "d"), LC_EEXHAUSTED);
  assert_false(has(store, "d"));
  assert_int_equal(put(store, "d", "an owner's copy is no mirror"), 0);
  struct lc_store_stats stats = stats_of(store);
  assert_int_equal(stats.mirrors, 3);
  assert_int_equal(stats.mirror_bytes, room_for(3));
  assert_int_equal(stats.items, 4);
  assert_int_equal(stats.refused, 0);
}

static void a_refused_mirror_takes_its_keys_old_copy_along(void **state) {
  struct fixture *f = *state;
  struct lc_store *store = full_store(state);
  put(store, "own", "old");
  assert_int_equal(mirror(store, "own"), LC_EEXHAUSTED);
  assert_false(has(store, "own"));
  assert_int_equal(put_mirror(store, "a", 100, LC_TIME_NEVER, 0), LC_EEXHAUSTED);
  assert_false(has(store, "a"));
  assert_int_equal(f->log.count, 2);
  assert_int_equal(f->log.entries[0].reason, LC_EVICT_DELETED);
  assert_string_equal(f->log.entries[1].key, "a");
  assert_int_equal(mirror(store, "e"), 0);
}

static void a_mirror_may_use_the_room_of_the_one_it_replaces(void **state) {
  struct fixture *f = *state;
  struct lc_store *store = full_store(state);
  assert_int_equal(mirror(store, "b"), 0);
  assert_int_equal(stats_of(store).mirror_bytes, room_for(3));
  assert_int_equal(f->log.count, 0);
}

static void an_owners_copy_that_replaces_a_mirror_frees_its_room(void **state) {
  struct lc_store *store = full_store(state);
  put(store, "b", "mine now");
  assert_int_equal(stats_of(store).mirrors, 2);
  assert_int_equal(mirror(store, "d"), 0);
}

static void a_deleted_mirror_frees_its_room(void **state) {
  struct lc_store *store = full_store(state);
  assert_true(drop(store, "a", 0));
  assert_int_equal(mirror(store, "d"), 0);
}

static void cleared_mirrors_free_their_room(void **state) {
  struct lc_store *store = full_store(state);
  assert_int_equal(lc_store_clear(store), 3);
  assert_int_equal(stats_of(store).mirror_bytes, 0);
  full_store(state);
}

static void expired_mirrors_free_their_room_when_found_by_a_get_or_a_sweep(void **state) {
  struct fixture *f = *state;
  assert_int_equal(put_mirror(f->store, "a", 0, 10, 0), 0);
  assert_int_equal(put_mirror(f->store, "b", 0, 10, 0), 0);
  assert_null(get_at(f->store, "a", 10));
  assert_int_equal(stats_of(f->store).mirrors, 1);
  assert_int_equal(lc_store_sweep(f->store, 10, 100), 1);
  assert_int_equal(stats_of(f->store).mirror_bytes, 0);
}

static void evicted_mirrors_free_their_room(void **state) {
  struct fixture *f = *state;
  full_store(state);
  for (unsigned i = 0; stats_of(f->store).mirrors > 0; i++) {
    assert_true(i < 1000);
    char key[16];
    snprintf(key, sizeof(key), "own %u", i);
    put_sized(f->store, key, 60000);
    f->log.count = 0;
  }
  check(f->store);
  full_store(state);
}

static void holds_knows_the_very_item(void **state) {
  struct fixture *f = *state;
  uint64_t hash = lc_store_hash(f->store, lc_slice_str("k"));
  put(f->store, "k", "old");
  struct lc_item *old = get_at(f->store, "k", 0);
  assert_true(lc_store_holds(f->store, old, hash));
  put(f->store, "k", "new");
  assert_false(lc_store_holds(f->store, old, hash));
  struct lc_item *young = get_at(f->store, "k", 0);
  assert_true(lc_store_holds(f->store, young, hash));
  drop(f->store, "k", 0);
  assert_false(lc_store_holds(f->store, young, hash));
  lc_item_unref(old);
  lc_item_unref(young);
}

#define THREADS 4
#define ROUNDS 20000u

struct contender {
  pthread_t thread;
  struct lc_store *store;
  unsigned number;
};

static void *put_and_delete(void *arg) {
  struct contender *c = arg;
  uint64_t random = c->number;
  for (unsigned i = 0; i < ROUNDS; i++) {
    uint64_t r = next_random(&random);
    char key[2] = {(char)('a' + r % 16), '\0'};
    struct lc_slice slice = lc_slice_str(key);
    uint64_t hash = lc_store_hash(c->store, slice);
    if (r >> 32 & 1) {
      lc_store_delete(c->store, slice, hash, 0);
      continue;
    }
    struct lc_item *item = lc_item_create(slice, lc_slice_of("", 0), LC_TIME_NEVER, 0);
    lc_item_set_view(item, i, r >> 33 & 3);
    int rc = lc_store_put(c->store, item, hash, 0);
    if (rc != 0 && !(rc == LC_EEXHAUSTED && lc_item_mirror(item))) {
      fail();
    }
    lc_item_unref(item);
  }
  return NULL;
}

static void threads_cannot_together_pass_the_limit(void **state) {
  (void)state;
  struct lc_pool *pool = make_pool(1 << 20);
  struct lc_store *store = make_mirroring_store(pool, LC_POLICY_LRU2, 4, room_for(3), NULL);
  struct contender contenders[THREADS];
  for (unsigned i = 0; i < THREADS; i++) {
    contenders[i] = (struct contender){.store = store, .number = i};
    assert_int_equal(pthread_create(&contenders[i].thread, NULL, put_and_delete, &contenders[i]), 0);
  }
  for (unsigned i = 0; i < THREADS; i++) {
    pthread_join(contenders[i].thread, NULL);
  }
  check(store);
  lc_store_destroy(store);
  lc_pool_destroy(pool);
}

#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(an_item_keeps_view_mirror_and_version_apart),
      T(versions_wrap_past_zero),
      T(a_version_counts_as_later_when_it_is_less_than_half_the_range_ahead),
      cmocka_unit_test(a_store_without_a_limit_for_mirrors_takes_none),
      T(mirrors_fill_their_limit_to_the_byte_and_no_more),
      T(a_refused_mirror_takes_its_keys_old_copy_along),
      T(a_mirror_may_use_the_room_of_the_one_it_replaces),
      T(an_owners_copy_that_replaces_a_mirror_frees_its_room),
      T(a_deleted_mirror_frees_its_room),
      T(cleared_mirrors_free_their_room),
      T(expired_mirrors_free_their_room_when_found_by_a_get_or_a_sweep),
      T(evicted_mirrors_free_their_room),
      T(holds_knows_the_very_item),
      cmocka_unit_test(threads_cannot_together_pass_the_limit),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
