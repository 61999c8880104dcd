#include <stdio.h>
#include <stdlib.h>

#include "base/alloc.h"
#include "base/clock.h"
#include "store/store.h"

/*
 * What a hit in the store costs, hash included: `bench_store KEYS HITS` puts that many items of 20 B keys and 100 B
 * values, hits them at random and prints nanoseconds of CPU time for each; then how long collecting all takes. Under
 * valgrind --tool=callgrind the difference between two numbers of hits gives instructions.
 */

static uint64_t next_random(uint64_t *state) {
  *state ^= *state << 13;
  *state ^= *state >> 7;
  *state ^= *state << 17;
  return *state;
}

static struct lc_slice key_of(uint64_t number, char *text) {
  memset(text, '0', 20);
  text[0] = 'k';
  for (char *at = text + 19; number > 0; at--, number /= 10) {
    *at = (char)('0' + number % 10);
  }
  return lc_slice_of(text, 20);
}

static bool fill(struct lc_store *store, uint64_t keys) {
  static const char value[100];
  for (uint64_t i = 0; i < keys; i++) {
    char text[20];
    struct lc_slice key = key_of(i, text);
    struct lc_item *item = lc_item_create(key, lc_slice_of(value, sizeof(value)), LC_TIME_NEVER, 0);
    if (!item || lc_store_put(store, item, lc_store_hash(store, key), 0) != 0) {
      return false;
    }
    lc_item_unref(item);
  }
  return true;
}

static void hit(struct lc_store *store, uint64_t keys, uint64_t hits) {
  uint64_t random = 88172645463325252;
  uint64_t missed = 0;
  uint64_t start = lc_clock_thread_cpu_ns();
  for (uint64_t i = 0; i < hits; i++) {
    char text[20];
    struct lc_slice key = key_of(next_random(&random) % keys, text);
    struct lc_item *item = lc_store_get(store, key, lc_store_hash(store, key), 0);
    missed += item == NULL;
    lc_item_unref(item);
  }
  double ns = (double)(lc_clock_thread_cpu_ns() - start) / (double)hits;
  printf("%llu keys: %.1f ns a hit, %llu missed\n", (unsigned long long)keys, ns, (unsigned long long)missed);
}

static bool collect(struct lc_store *store) {
  struct lc_item **items = NULL;
  size_t count = 0;
  uint64_t start = lc_clock_thread_cpu_ns();
  if (lc_store_collect(store, 0, &items, &count) != 0) {
    return false;
  }
  double ms = (double)(lc_clock_thread_cpu_ns() - start) / 1e6;
  for (size_t i = 0; i < count; i++) {
    lc_item_unref(items[i]);
  }
  lc_free(items);
  printf("%zu items collected in %.1f ms\n", count, ms);
  return true;
}

int main(int argc, char **argv) {
  uint64_t keys = argc > 1 ? strtoull(argv[1], NULL, 10) : 1000000;
  uint64_t hits = argc > 2 ? strtoull(argv[2], NULL, 10) : 10000000;
  struct lc_hash_key hash_key;
  struct lc_pool *pool = NULL;
  struct lc_store *store = NULL;
  if (keys == 0 || hits == 0 || lc_hash_key_init(&hash_key) != 0 || lc_pool_create((size_t)1 << 30, &pool) != 0) {
    return 1;
  }
  struct lc_store_config config = {.pool = pool, .policy = LC_POLICY_LRU2, .key = &hash_key};
  if (lc_store_create(&config, &store) != 0 || !fill(store, keys)) {
    return 1;
  }
  hit(store, keys, hits);
  if (!collect(store)) {
    return 1;
  }
  lc_store_destroy(store);
  lc_pool_destroy(pool);
  return 0;
}
