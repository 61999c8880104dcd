#include "test_store_util.h"

/*
 * The store against a model: plain arrays, moved about in the obvious way. With one shard the model foretells every
 * eviction and its order; with many shards and two stores it is told of evictions and holds each against what may go.
 */

#define KEYS 600
#define HELD 64
#define LIMIT (32u << 10)
#define MIRROR_LIMIT (LIMIT / 8)

struct entry {
  bool present, level2, mirror;
  unsigned view;
  uint64_t expires_ms, tag;
  size_t size;
};

struct order {
  int keys[KEYS]; /* most recently used first */
  int count;
};

struct model {
  bool exact, two_levels;
  uint64_t random, now_ms;
  struct entry entries[KEYS];
  struct order level1, level2;
  size_t used, level2_used;
  size_t mirrors_used[2]; /* bytes, of each store */
  struct gone_log expected;
  /* what is tested */
  struct lc_pool *pool;
  struct lc_store *stores[2];
  struct gone_log log;
  struct lc_item *held[HELD];
  uint64_t held_tags[HELD];
};

static void order_remove(struct order *order, int key) {
  int at = 0;
  while (at < order->count && order->keys[at] != key) {
    at++;
  }
  assert_true(at < order->count);
  memmove(&order->keys[at], &order->keys[at + 1], (size_t)(order->count - at - 1) * sizeof(int));
  order->count--;
}

static void order_push(struct order *order, int key) {
  memmove(&order->keys[1], &order->keys[0], (size_t)order->count * sizeof(int));
  order->keys[0] = key;
  order->count++;
}

static size_t key_text(int key, char *text, size_t size) {
  return (size_t)snprintf(text, size, "%.*s%d", key % 9, "kkkkkkkkk", key);
}

static int key_number(const char *text) {
  return atoi(text + strspn(text, "k"));
}

static size_t cost_of(int key, size_t size) {
  char text[24];
  return lc_item_charge(key_text(key, text, sizeof(text)), size);
}

static struct order *level_of(struct model *m, bool level2) {
  return level2 ? &m->level2 : &m->level1;
}

static void model_link(struct model *m, int key, bool level2) {
  struct entry *entry = &m->entries[key];
  entry->level2 = level2;
  m->level2_used += level2 ? cost_of(key, entry->size) : 0;
  if (m->exact) {
    order_push(level_of(m, level2), key);
  }
}

static void model_unlink(struct model *m, int key) {
  struct entry *entry = &m->entries[key];
  m->level2_used -= entry->level2 ? cost_of(key, entry->size) : 0;
  if (m->exact) {
    order_remove(level_of(m, entry->level2), key);
  }
}

static size_t store_number(const struct model *m, int key) {
  return m->exact ? 0 : (size_t)key % 2;
}

static void model_remove(struct model *m, int key) {
  assert_true(m->entries[key].present);
  model_unlink(m, key);
  m->entries[key].present = false;
  m->used -= cost_of(key, m->entries[key].size);
  if (m->entries[key].mirror) {
    m->mirrors_used[store_number(m, key)] -= cost_of(key, m->entries[key].size);
  }
}

static void expect_gone(struct model *m, int key, enum lc_evict_reason reason) {
  struct gone *gone = &m->expected.entries[m->expected.count++];
  key_text(key, gone->key, sizeof(gone->key));
  gone->reason = reason;
  model_remove(m, key);
}

static bool expired(const struct model *m, int key) {
  const struct entry *entry = &m->entries[key];
  return entry->expires_ms != LC_TIME_NEVER && entry->expires_ms <= m->now_ms;
}

static bool model_live(struct model *m, int key) {
  if (m->entries[key].present && expired(m, key)) {
    expect_gone(m, key, LC_EVICT_EXPIRED);
  }
  return m->entries[key].present;
}

static void model_settle_level2(struct model *m) {
  while (m->exact && m->level2_used > LIMIT / 2) {
    int key = m->level2.keys[m->level2.count - 1];
    model_unlink(m, key);
    model_link(m, key, false);
  }
}

static void model_hit(struct model *m, int key) {
  model_unlink(m, key);
  model_link(m, key, m->two_levels);
  model_settle_level2(m);
}

static void model_evict(struct model *m) {
  while (m->exact && m->used > LIMIT) {
    struct order *order = level_of(m, m->level1.count == 0);
    int key = order->keys[order->count - 1];
    expect_gone(m, key, expired(m, key) ? LC_EVICT_EXPIRED : LC_EVICT_SIZE);
  }
}

/* In place of the key's present mirror, if it is one. */
static bool mirror_fits(const struct model *m, int key, size_t cost) {
  const struct entry *old = &m->entries[key];
  size_t given_back = old->present && old->mirror ? cost_of(key, old->size) : 0;
  return m->mirrors_used[store_number(m, key)] - given_back + cost <= MIRROR_LIMIT;
}

/* Returns what the store's put must. */
static int model_put(struct model *m, int key, const struct entry *put_entry) {
  bool was_there = model_live(m, key);
  bool level2 = was_there && m->entries[key].level2;
  size_t cost = cost_of(key, put_entry->size);
  bool exhausted = put_entry->mirror && !mirror_fits(m, key, cost);
  if (cost > LIMIT / 4 || exhausted) {
    if (was_there) {
      expect_gone(m, key, LC_EVICT_DELETED);
    }
    return cost > LIMIT / 4 ? LC_ETOOBIG : LC_EEXHAUSTED;
  }
  if (was_there) {
    model_remove(m, key);
  }
  m->entries[key] = *put_entry;
  m->entries[key].present = true;
  m->used += cost;
  m->mirrors_used[store_number(m, key)] += put_entry->mirror ? cost : 0;
  model_link(m, key, level2);
  model_settle_level2(m);
  model_evict(m);
  return 0;
}

/* What the model could not foretell: it must be allowed, and then it is so in the model too. */
static void learn(struct model *m, const struct gone *gone, enum lc_evict_reason reason) {
  int key = key_number(gone->key);
  assert_true(m->entries[key].present);
  assert_int_equal(gone->reason, expired(m, key) ? LC_EVICT_EXPIRED : reason);
  model_remove(m, key);
}

static void compare_logs(struct model *m) {
  assert_true(m->log.count >= m->expected.count);
  for (size_t i = 0; i < m->log.count; i++) {
    if (i < m->expected.count) {
      assert_string_equal(m->log.entries[i].key, m->expected.entries[i].key);
      assert_int_equal(m->log.entries[i].reason, m->expected.entries[i].reason);
    } else {
      assert_false(m->exact);
      learn(m, &m->log.entries[i], LC_EVICT_SIZE);
    }
  }
  m->log.count = m->expected.count = 0;
}

static struct lc_store *store_of(struct model *m, int key) {
  return m->stores[store_number(m, key)];
}

static void fill_value(uint8_t *bytes, size_t size, uint64_t tag) {
  memset(bytes, (int)(tag & 0xff), size);
  memcpy(bytes, &tag, sizeof(tag));
}

static void assert_value(const struct lc_item *item, uint64_t tag, size_t size) {
  uint8_t bytes[LIMIT];
  struct lc_slice value = lc_item_value(item);
  fill_value(bytes, size, tag);
  assert_true(lc_slice_eq(value, lc_slice_of(bytes, size)));
}

/* Keeps the reference for a while, and looks at another's bytes when it goes. */
static void hold(struct model *m, struct lc_item *item, uint64_t tag) {
  size_t at = next_random(&m->random) % HELD;
  if (m->held[at]) {
    assert_value(m->held[at], m->held_tags[at], lc_item_value(m->held[at]).len);
    lc_item_unref(m->held[at]);
  }
  m->held[at] = item;
  m->held_tags[at] = tag;
}

static void do_put(struct model *m, int key, const char *text, uint64_t random) {
  uint8_t bytes[LIMIT];
  struct entry entry = {.tag = random, .size = 8 + random % 300, .expires_ms = LC_TIME_NEVER};
  if (random % 97 == 0) {
    entry.size = 8 + random % (LIMIT / 3);
  }
  if (random % 3 == 0) {
    entry.expires_ms = m->now_ms + random % 500;
  }
  entry.mirror = random % 4 == 1;
  entry.view = random >> 33 & LC_ITEM_VIEW_MASK;
  fill_value(bytes, entry.size, entry.tag);
  struct lc_item *item = lc_item_create(lc_slice_str(text), lc_slice_of(bytes, entry.size), entry.expires_ms, 0);
  lc_item_set_view(item, entry.view, entry.mirror);
  int rc = lc_store_put(store_of(m, key), item, lc_store_hash(store_of(m, key), lc_slice_str(text)), m->now_ms);
  assert_int_equal(rc, model_put(m, key, &entry));
  lc_item_unref(item);
}

static void do_get(struct model *m, int key, const char *text, bool touch) {
  struct lc_store *store = store_of(m, key);
  uint64_t hash = lc_store_hash(store, lc_slice_str(text));
  struct lc_item *item = (touch ? lc_store_get : lc_store_peek)(store, lc_slice_str(text), hash, m->now_ms);
  bool live = model_live(m, key);
  assert_int_equal(item != NULL, live);
  if (item) {
    assert_value(item, m->entries[key].tag, m->entries[key].size);
    assert_true(lc_item_expires_ms(item) == m->entries[key].expires_ms);
    assert_int_equal(lc_item_view(item), m->entries[key].view);
    assert_int_equal(lc_item_mirror(item), m->entries[key].mirror);
    assert_true(lc_store_holds(store, item, hash));
    hold(m, item, m->entries[key].tag);
    if (touch) {
      model_hit(m, key);
    }
  }
}

static void do_delete(struct model *m, int key, const char *text) {
  bool live = model_live(m, key);
  assert_int_equal(drop(store_of(m, key), text, m->now_ms), live);
  if (live) {
    expect_gone(m, key, LC_EVICT_DELETED);
  }
}

static void do_sweep(struct model *m, int key, size_t most) {
  size_t removed = lc_store_sweep(store_of(m, key), m->now_ms, most);
  assert_true(removed <= most);
  assert_int_equal(removed, m->log.count);
  for (size_t i = 0; i < m->log.count; i++) {
    assert_int_equal(m->log.entries[i].reason, LC_EVICT_EXPIRED);
    learn(m, &m->log.entries[i], LC_EVICT_EXPIRED);
  }
  m->log.count = 0;
}

static void do_clear(struct model *m, int key) {
  size_t removed = lc_store_clear(store_of(m, key));
  assert_int_equal(removed, m->log.count);
  for (size_t i = 0; i < m->log.count; i++) {
    assert_int_equal(m->log.entries[i].reason, LC_EVICT_CLEARED);
    model_remove(m, key_number(m->log.entries[i].key));
  }
  m->log.count = 0;
  assert_int_equal(stats_of(store_of(m, key)).items, 0);
}

static void step(struct model *m) {
  uint64_t random = next_random(&m->random);
  unsigned what = (unsigned)(random % 1000);
  /* half of the operations on a tenth of the keys, so that there are hits */
  int key = (int)((random >> 20) % ((random >> 50) & 1 ? KEYS : KEYS / 10));
  char text[24];
  key_text(key, text, sizeof(text));
  if (what < 400) {
    do_put(m, key, text, next_random(&m->random));
  } else if (what < 880) {
    do_get(m, key, text, what < 840);
  } else if (what < 960) {
    do_delete(m, key, text);
  } else if (what < 990) {
    m->now_ms += random >> 40 & 0x3f;
  } else if (what < 999) {
    do_sweep(m, key, random >> 40 & 0x1f);
  } else if ((random >> 40) % 20 == 0) {
    do_clear(m, key);
  }
  compare_logs(m);
}

/* All that are there, live and no mirrors, each once. */
static void check_collected(struct model *m, size_t number) {
  bool seen[KEYS] = {false};
  struct lc_item **items = NULL;
  size_t count = 0, expected = 0;
  assert_int_equal(lc_store_collect(m->stores[number], m->now_ms, &items, &count), 0);
  for (size_t i = 0; i < count; i++) {
    char text[24];
    struct lc_slice slice = lc_item_key(items[i]);
    snprintf(text, sizeof(text), "%.*s", (int)slice.len, (const char *)slice.ptr);
    int key = key_number(text);
    assert_false(seen[key]);
    seen[key] = true;
    assert_value(items[i], m->entries[key].tag, m->entries[key].size);
    lc_item_unref(items[i]);
  }
  lc_free(items);
  for (int key = 0; key < KEYS; key++) {
    const struct entry *entry = &m->entries[key];
    bool due = entry->present && !entry->mirror && !expired(m, key) && store_number(m, key) == number;
    assert_int_equal(seen[key], due);
    expected += due;
  }
  assert_int_equal(count, expected);
}

static void check_mirrors(struct model *m) {
  size_t mirrors[2] = {0};
  for (int key = 0; key < KEYS; key++) {
    mirrors[store_number(m, key)] += m->entries[key].present && m->entries[key].mirror;
  }
  for (size_t i = 0; i < 2; i++) {
    struct lc_store_stats stats = stats_of(m->stores[i]);
    assert_int_equal(stats.mirrors, mirrors[i]);
    assert_int_equal(stats.mirror_bytes, m->mirrors_used[i]);
    check_collected(m, i);
  }
}

static void count_and_check(struct model *m) {
  check(m->stores[0]);
  check_mirrors(m);
  size_t items = 0;
  for (int key = 0; key < KEYS; key++) {
    items += m->entries[key].present;
  }
  struct lc_store_stats stats = stats_of(m->stores[0]);
  assert_int_equal(stats.items + (m->exact ? 0 : stats_of(m->stores[1]).items), items);
  if (m->exact) {
    assert_int_equal(stats.level2_items, m->level2.count);
  }
}

static void run(bool exact, enum lc_policy policy, unsigned shards, unsigned steps) {
  struct model *m = calloc(1, sizeof(*m));
  assert_non_null(m);
  m->exact = exact;
  m->two_levels = policy == LC_POLICY_LRU2;
  m->random = 20261123 + shards;
  m->now_ms = 1;
  m->pool = make_pool(LIMIT);
  m->stores[0] = make_mirroring_store(m->pool, policy, shards, MIRROR_LIMIT, &m->log);
  m->stores[1] = make_mirroring_store(m->pool, policy, shards, MIRROR_LIMIT, &m->log);
  for (unsigned i = 0; i < steps; i++) {
    step(m);
    assert_int_equal(lc_pool_used(m->pool), m->used);
    assert_true(m->used <= LIMIT);
    if (i % 4096 == 0) {
      count_and_check(m);
    }
  }
  count_and_check(m);
  lc_store_destroy(m->stores[0]);
  lc_store_destroy(m->stores[1]);
  assert_int_equal(lc_pool_used(m->pool), 0);
  lc_pool_destroy(m->pool);
  for (size_t i = 0; i < HELD; i++) {
    if (m->held[i]) {
      assert_value(m->held[i], m->held_tags[i], lc_item_value(m->held[i]).len);
    }
    lc_item_unref(m->held[i]);
  }
  free(m);
}

#define STEPS 1000000u

static void one_shard_of_lru_does_what_the_model_foretells(void **state) {
  (void)state;
  run(true, LC_POLICY_LRU, 1, STEPS);
}

static void one_shard_of_lru2_does_what_the_model_foretells(void **state) {
  (void)state;
  run(true, LC_POLICY_LRU2, 1, STEPS);
}

static void two_stores_of_many_shards_do_what_the_model_allows(void **state) {
  (void)state;
  run(false, LC_POLICY_LRU2, 16, STEPS);
  run(false, LC_POLICY_LRU, 4, STEPS / 4);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(one_shard_of_lru_does_what_the_model_foretells),
      cmocka_unit_test(one_shard_of_lru2_does_what_the_model_foretells),
      cmocka_unit_test(two_stores_of_many_shards_do_what_the_model_allows),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
