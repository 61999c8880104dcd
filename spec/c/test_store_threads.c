#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>

#include "test_store_util.h"

/* cmocka's assertions belong to the main thread: the others count what is wrong. */

#define THREADS 4
#define KEYS 500
#define STEPS 40000

struct shared {
  const struct lc_hash_key *key;
  struct lc_pool *pool;
  struct lc_store *stores[2];
  atomic_uint wrong, evicted;
  atomic_uint running;
};

struct thread {
  pthread_t id;
  struct shared *shared;
  uint64_t random;
  uint64_t seen[2][KEYS]; /* the newest version this thread has met of each key */
};

static void count_gone(void *arg, struct lc_item *item, enum lc_evict_reason reason) {
  struct shared *shared = arg;
  (void)reason;
  if (lc_item_key(item).len == 0) {
    atomic_fetch_add(&shared->wrong, 1);
  }
  atomic_fetch_add(&shared->evicted, 1);
}

static void put_one(struct thread *thread, struct lc_store *store, struct lc_slice key, uint64_t hash) {
  uint8_t bytes[700];
  size_t size = 20 + next_random(&thread->random) % (sizeof(bytes) - 20);
  memset(bytes, key.ptr[key.len - 1], size);
  struct lc_item *item = lc_item_create(key, lc_slice_of(bytes, size), LC_TIME_NEVER, 0);
  if (!item || lc_store_put(store, item, hash, 1) != 0) {
    atomic_fetch_add(&thread->shared->wrong, 1);
  }
  lc_item_unref(item);
}

/* The bytes are the key's, and never of an older value than this thread has met before. */
static void get_one(struct thread *thread, struct lc_store *store, struct lc_slice key, uint64_t hash, uint64_t *seen) {
  struct lc_item *item = lc_store_get(store, key, hash, 1);
  if (!item) {
    return;
  }
  struct lc_slice value = lc_item_value(item);
  bool right = lc_slice_eq(lc_item_key(item), key) && value.len >= 20 && lc_item_version(item) >= *seen;
  for (size_t i = 0; i < value.len; i++) {
    right = right && value.ptr[i] == key.ptr[key.len - 1];
  }
  *seen = lc_item_version(item);
  if (!right) {
    atomic_fetch_add(&thread->shared->wrong, 1);
  }
  lc_item_unref(item);
}

static void *hammer(void *arg) {
  struct thread *thread = arg;
  struct shared *shared = thread->shared;
  for (unsigned i = 0; i < STEPS; i++) {
    uint64_t random = next_random(&thread->random);
    unsigned number = (unsigned)(random >> 20) % KEYS;
    unsigned which = random >> 60 & 1;
    struct lc_store *store = shared->stores[which];
    char text[16];
    struct lc_slice key = lc_slice_of(text, (size_t)snprintf(text, sizeof(text), "key%u", number));
    uint64_t hash = lc_store_hash(store, key);
    unsigned what = (unsigned)(random % 1000);
    if (what < 600) {
      get_one(thread, store, key, hash, &thread->seen[which][number]);
    } else if (what < 940) {
      put_one(thread, store, key, hash);
    } else if (what < 999) {
      lc_store_delete(store, key, hash, 1);
    } else {
      lc_store_clear(store);
    }
  }
  atomic_fetch_sub(&shared->running, 1);
  return NULL;
}

/* Stores that come and go in the pool while others evict from them. */
static void *come_and_go(void *arg) {
  struct thread *thread = arg;
  struct shared *shared = thread->shared;
  while (atomic_load(&shared->running) > 0) {
    struct lc_store_config config = {.pool = shared->pool, .shards = 4, .key = shared->key};
    struct shared *alone = calloc(1, sizeof(*alone)); /* freed with the store: a late on_evict would be seen */
    config.on_evict = count_gone;
    config.on_evict_arg = alone;
    struct lc_store *store = NULL;
    if (!alone || lc_store_create(&config, &store) != 0) {
      atomic_fetch_add(&shared->wrong, 1);
      free(alone);
      return NULL;
    }
    for (unsigned i = 0; i < 100; i++) {
      struct lc_slice key = lc_slice_of(&i, 1);
      put_one(thread, store, key, lc_store_hash(store, key));
    }
    lc_store_sweep(shared->stores[0], 1, 100);
    lc_store_destroy(store);
    atomic_fetch_add(&shared->evicted, atomic_load(&alone->evicted));
    free(alone);
  }
  return NULL;
}

static void make_shared(struct shared *shared) {
  shared->pool = make_pool(256 << 10);
  for (unsigned i = 0; i < 2; i++) {
    struct lc_store_config config = {.pool = shared->pool,
                                     .policy = i ? LC_POLICY_LRU : LC_POLICY_LRU2,
                                     .shards = 8,
                                     .key = shared->key,
                                     .on_evict = count_gone,
                                     .on_evict_arg = shared};
    assert_int_equal(lc_store_create(&config, &shared->stores[i]), 0);
  }
}

static void four_threads_see_only_whole_and_never_older_values(void **state) {
  (void)state;
  struct shared shared = {.running = THREADS, .key = fixed_hash_key()};
  make_shared(&shared);
  struct thread *threads = calloc(THREADS + 1, sizeof(*threads));
  assert_non_null(threads);
  for (unsigned i = 0; i <= THREADS; i++) {
    threads[i].shared = &shared;
    threads[i].random = i;
    assert_int_equal(pthread_create(&threads[i].id, NULL, i < THREADS ? hammer : come_and_go, &threads[i]), 0);
  }
  for (unsigned i = 0; i <= THREADS; i++) {
    pthread_join(threads[i].id, NULL);
  }
  assert_int_equal(shared.wrong, 0);
  assert_true(shared.evicted > 0);
  assert_true(lc_pool_used(shared.pool) <= lc_pool_limit(shared.pool));
  check(shared.stores[0]);
  lc_store_destroy(shared.stores[0]);
  lc_store_destroy(shared.stores[1]);
  assert_int_equal(lc_pool_used(shared.pool), 0);
  lc_pool_destroy(shared.pool);
  free(threads);
}

struct late {
  struct lc_store *other;
  atomic_bool entered, destroying, told;
};

static void be_late(void *arg, struct lc_item *item, enum lc_evict_reason reason) {
  struct late *late = arg;
  (void)item;
  (void)reason;
  atomic_store(&late->entered, true);
  while (!atomic_load(&late->destroying)) {
    sched_yield();
  }
  for (unsigned i = 0; i < 2000; i++) { /* time for a destroy that doesn't wait to return */
    sched_yield();
  }
  atomic_store(&late->told, true);
}

static void *evict_from_other(void *arg) {
  struct late *late = arg;
  static const uint8_t value[100];
  for (unsigned i = 0; i < 1000 && !atomic_load(&late->told); i++) {
    struct lc_slice key = lc_slice_of(&i, sizeof(i));
    struct lc_item *item = lc_item_create(key, lc_slice_of(value, sizeof(value)), LC_TIME_NEVER, 0);
    lc_store_put(late->other, item, lc_store_hash(late->other, key), 0);
    lc_item_unref(item);
  }
  return NULL;
}

static void destroy_waits_for_on_evict_on_another_stores_thread(void **state) {
  (void)state;
  struct late late = {0};
  struct lc_pool *pool = make_pool(16 << 10);
  struct lc_store_config config = {.pool = pool, .shards = 1, .key = fixed_hash_key(), .on_evict = be_late};
  config.on_evict_arg = &late;
  struct lc_store *store = NULL;
  assert_int_equal(lc_store_create(&config, &store), 0);
  late.other = make_store(pool, LC_POLICY_LRU2, 1, NULL);
  assert_int_equal(put(store, "oldest", "v"), 0);
  pthread_t thread;
  assert_int_equal(pthread_create(&thread, NULL, evict_from_other, &late), 0);
  while (!atomic_load(&late.entered)) {
    sched_yield();
  }
  atomic_store(&late.destroying, true);
  lc_store_destroy(store);
  assert_true(atomic_load(&late.told));
  pthread_join(thread, NULL);
  lc_store_destroy(late.other);
  lc_pool_destroy(pool);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(four_threads_see_only_whole_and_never_older_values),
      cmocka_unit_test(destroy_waits_for_on_evict_on_another_stores_thread),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
