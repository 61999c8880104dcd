#ifndef LC_TEST_STORE_UTIL_H
#define LC_TEST_STORE_UTIL_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/alloc.h"
#include "base/clock.h"
#include "store/store.h"

/* What the tests of the store share: stores with a fixed hash key, and a log of what on_evict was told. */

#define LOG_MAX 4096

struct gone {
  char key[24];
  enum lc_evict_reason reason;
};

struct gone_log {
  size_t count;
  struct gone entries[LOG_MAX];
};

static inline void log_gone(void *arg, struct lc_item *item, enum lc_evict_reason reason) {
  struct gone_log *log = arg;
  struct lc_slice key = lc_item_key(item);
  assert_true(log->count < LOG_MAX);
  struct gone *entry = &log->entries[log->count++];
  snprintf(entry->key, sizeof(entry->key), "%.*s", (int)key.len, (const char *)key.ptr);
  entry->reason = reason;
}

/* The keys of the log in their order, "a b c". */
static inline const char *gone_keys(const struct gone_log *log, char *out, size_t size) {
  size_t len = 0;
  out[0] = '\0';
  for (size_t i = 0; i < log->count && len < size; i++) {
    len += (size_t)snprintf(out + len, size - len, "%s%s", i ? " " : "", log->entries[i].key);
  }
  return out;
}

static inline const struct lc_hash_key *fixed_hash_key(void) {
  static struct lc_hash_key key;
  for (size_t i = 0; i < sizeof(key.secret); i++) {
    key.secret[i] = (uint8_t)(i * 167 + 13);
  }
  return &key;
}

static inline struct lc_pool *make_pool(size_t limit) {
  struct lc_pool *pool = NULL;
  assert_int_equal(lc_pool_create(limit, &pool), 0);
  return pool;
}

static inline struct lc_store *make_mirroring_store(struct lc_pool *pool, enum lc_policy policy, unsigned shards,
                                                    size_t mirror_limit, struct gone_log *log) {
  struct lc_store_config config = {.pool = pool, .policy = policy, .shards = shards, .key = fixed_hash_key()};
  config.mirror_limit_bytes = mirror_limit;
  config.on_evict = log ? log_gone : NULL;
  config.on_evict_arg = log;
  struct lc_store *store = NULL;
  assert_int_equal(lc_store_create(&config, &store), 0);
  return store;
}

static inline struct lc_store *make_store(struct lc_pool *pool, enum lc_policy policy, unsigned shards,
                                          struct gone_log *log) {
  return make_mirroring_store(pool, policy, shards, 0, log);
}

static inline int put_slices(struct lc_store *store, struct lc_slice key, struct lc_slice value, uint64_t expires_ms,
                             uint64_t now_ms) {
  struct lc_item *item = lc_item_create(key, value, expires_ms, 0);
  assert_non_null(item);
  int rc = lc_store_put(store, item, lc_store_hash(store, key), now_ms);
  lc_item_unref(item);
  return rc;
}

static inline int put(struct lc_store *store, const char *key, const char *value) {
  return put_slices(store, lc_slice_str(key), lc_slice_str(value), LC_TIME_NEVER, 0);
}

/* A value of `size` bytes. */
static inline int put_sized(struct lc_store *store, const char *key, size_t size) {
  void *bytes = calloc(1, size + 1);
  assert_non_null(bytes);
  int rc = put_slices(store, lc_slice_str(key), lc_slice_of(bytes, size), LC_TIME_NEVER, 0);
  free(bytes);
  return rc;
}

static inline struct lc_item *get_at(struct lc_store *store, const char *key, uint64_t now_ms) {
  struct lc_slice slice = lc_slice_str(key);
  return lc_store_get(store, slice, lc_store_hash(store, slice), now_ms);
}

/* Counts as a use. */
static inline bool hit(struct lc_store *store, const char *key) {
  struct lc_item *item = get_at(store, key, 0);
  lc_item_unref(item);
  return item != NULL;
}

/* Doesn't. */
static inline bool has(struct lc_store *store, const char *key) {
  struct lc_slice slice = lc_slice_str(key);
  struct lc_item *item = lc_store_peek(store, slice, lc_store_hash(store, slice), 0);
  lc_item_unref(item);
  return item != NULL;
}

static inline bool drop(struct lc_store *store, const char *key, uint64_t now_ms) {
  struct lc_slice slice = lc_slice_str(key);
  return lc_store_delete(store, slice, lc_store_hash(store, slice), now_ms);
}

static inline bool value_is(struct lc_store *store, const char *key, const char *value) {
  struct lc_item *item = get_at(store, key, 0);
  bool same = item && lc_slice_eq(lc_item_value(item), lc_slice_str(value));
  lc_item_unref(item);
  return same;
}

static inline void check(struct lc_store *store) {
  struct lc_err err = {0};
  if (lc_store_check(store, &err) != 0) {
    fail_msg("%s", err.msg);
  }
}

static inline struct lc_store_stats stats_of(struct lc_store *store) {
  struct lc_store_stats stats;
  lc_store_stats(store, &stats);
  return stats;
}

/* splitmix64 (Steele, Lea, Flood 2014). */
static inline uint64_t next_random(uint64_t *state) {
  uint64_t z = *state += UINT64_C(0x9e3779b97f4a7c15);
  z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
  z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
  return z ^ (z >> 31);
}

#endif
