#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "test_group_fake.h"

static bool delete_key(struct fake *fake, const char *key) {
  struct lc_write write = {.group = lc_slice_str("g"), .key = lc_slice_str(key)};
  assert_int_equal(lc_group_delete(fake->groups, &write), LC_OK);
  return write.deleted;
}

static int set_with_ttl(struct fake *fake, const char *key, int64_t ttl_ms) {
  struct lc_write write = {
      .group = lc_slice_str("g"), .key = lc_slice_str(key), .value = lc_slice_str("v"), .ttl_ms = ttl_ms};
  return lc_group_set(fake->groups, &write);
}

static void test_a_set_is_seen_by_the_next_get(void **state) {
  struct fake *fake = *state;
  assert_int_equal(set_value(fake, "k", "one"), LC_OK);
  expect_hit(fake, "k", "one");
  assert_int_equal(set_value(fake, "k", ""), LC_OK);
  expect_hit(fake, "k", "");
}

static void test_delete_says_whether_something_was_there(void **state) {
  struct fake *fake = *state;
  set_value(fake, "k", "v");
  assert_true(delete_key(fake, "k"));
  expect_absent(fake, "k");
  assert_false(delete_key(fake, "k"));
}

static void test_a_set_during_a_load_wins_over_it(void **state) {
  struct fake *fake = *state;
  struct call call;
  call_get(fake, &call, 0, "g", "k");
  assert_int_equal(set_value(fake, "k", "set"), LC_OK);
  expect_hit(fake, "k", "set");
  fake_finish(fake, 0, "loaded");
  assert_value(&call, LC_FROM_SOURCE, "loaded");
  call_fini(&call);
  expect_hit(fake, "k", "set");
}

static void test_a_delete_during_a_load_is_not_undone_by_it(void **state) {
  struct fake *fake = *state;
  struct call call, next;
  call_get(fake, &call, 0, "g", "k");
  assert_false(delete_key(fake, "k"));
  assert_int_equal(call_get(fake, &next, 1, "g", "k"), LC_PENDING);
  assert_int_equal(fake->started, 2);
  fake_finish(fake, 0, "old");
  expect_absent(fake, "k");
  assert_int_equal(next.done, 0);
  fake_finish(fake, 1, "new");
  assert_value(&call, LC_FROM_SOURCE, "old");
  assert_value(&next, LC_FROM_SOURCE, "new");
  call_fini(&call);
  call_fini(&next);
  expect_hit(fake, "k", "new");
}

static void test_a_write_of_one_group_leaves_the_others_alone(void **state) {
  struct fake *fake = *state;
  struct call call;
  call_get(fake, &call, 0, "h", "k");
  set_value(fake, "k", "v");
  fake_finish(fake, 0, "h's");
  call_fini(&call);
  assert_int_equal(call_get(fake, &call, 0, "h", "k"), LC_OK);
  assert_value(&call, LC_FROM_STORE, "h's");
  call_fini(&call);
}

static void ttl_of_a_second(struct lc_group_options options[2]) {
  options[0].ttl_ms = 1000;
}

static void test_ttl_is_the_groups_or_its_own_or_never(void **state) {
  (void)state;
  struct fake fake;
  fake_init(&fake, ttl_of_a_second);
  assert_int_equal(set_with_ttl(&fake, "group", LC_TTL_GROUP), LC_OK);
  assert_int_equal(set_with_ttl(&fake, "own", 2000), LC_OK);
  assert_int_equal(set_with_ttl(&fake, "never", LC_TTL_NEVER), LC_OK);
  assert_int_equal(set_with_ttl(&fake, "huge", INT64_MAX), LC_OK);
  assert_int_equal(set_with_ttl(&fake, "bad", -2), LC_EINVAL);
  fake_advance(&fake, 999);
  expect_hit(&fake, "group", "v");
  fake_advance(&fake, 1);
  expect_absent(&fake, "group");
  expect_hit(&fake, "own", "v");
  fake_advance(&fake, 1000);
  expect_absent(&fake, "own");
  fake_advance(&fake, 1000u * 86400 * 365 * 100);
  expect_hit(&fake, "never", "v");
  expect_hit(&fake, "huge", "v");
  fake_fini(&fake);
}

static void test_a_value_over_its_limit_is_refused_and_removes_the_old(void **state) {
  struct fake *fake = *state;
  size_t size = 5242880;
  void *big = calloc(1, size);
  struct lc_write write = {.group = lc_slice_str("g"), .key = lc_slice_str("k"), .value = lc_slice_of(big, size)};
  set_value(fake, "k", "old");
  assert_int_equal(lc_group_set(fake->groups, &write), LC_ETOOBIG);
  assert_string_equal(write.err.msg, "value of 5242880 bytes is over the group's max_value of 4194304");
  expect_absent(fake, "k");
  assert_int_equal(fake_stats(fake, 0).refused, 1);
  assert_int_equal(fake_stats(fake, 0).sets, 1);
  free(big);
}

static void test_a_refused_set_detaches_the_load_too(void **state) {
  struct fake *fake = *state;
  struct call call;
  size_t size = 5242880;
  void *big = calloc(1, size);
  struct lc_write write = {.group = lc_slice_str("g"), .key = lc_slice_str("k"), .value = lc_slice_of(big, size)};
  call_get(fake, &call, 0, "g", "k");
  assert_int_equal(lc_group_set(fake->groups, &write), LC_ETOOBIG);
  fake_finish(fake, 0, "old");
  call_fini(&call);
  expect_absent(fake, "k");
  free(big);
}

static void tiny(struct lc_group_options options[2]) {
  options[0].limit_bytes = 65536;
  options[0].max_value = 16384;
}

static void test_a_quarter_of_the_groups_bytes_is_the_end(void **state) {
  (void)state;
  struct fake fake;
  char value[16384] = {0};
  struct lc_write write = {
      .group = lc_slice_str("g"), .key = lc_slice_str("k"), .value = lc_slice_of(value, sizeof value)};
  fake_init(&fake, tiny);
  set_value(&fake, "k", "old");
  assert_int_equal(lc_group_set(fake.groups, &write), LC_ETOOBIG);
  assert_string_equal(write.err.msg, "key and value of 16385 bytes are over a quarter of the group's 65536 bytes");
  expect_absent(&fake, "k");
  struct call call;
  call_get(&fake, &call, 0, "g", "k");
  lc_load_set_value(fake_load(&fake, 0), lc_slice_of(value, sizeof value), -1);
  lc_load_done(fake_load(&fake, 0));
  fake_run(&fake);
  assert_int_equal(call.get.code, LC_OK);
  assert_int_equal(lc_item_value(call.get.item).len, sizeof value);
  call_fini(&call);
  expect_absent(&fake, "k");
  fake_fini(&fake);
}

static void test_bad_writes_get_a_plain_message(void **state) {
  struct fake *fake = *state;
  const struct {
    const char *group, *key;
    int64_t ttl_ms;
    int code;
    const char *message;
  } rows[] = {
      {"", "k", 0, LC_EINVAL, "the group is empty"},
      {"g", "", 0, LC_EINVAL, "the key is empty"},
      {"nope", "k", 0, LC_ENOTFOUND, "unknown group \"nope\""},
      {"g", "k", -5, LC_EINVAL, "ttl_ms of -5: use milliseconds, 0 for the group's, -1 for never"},
  };
  for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
    struct lc_write write = {
        .group = lc_slice_str(rows[i].group), .key = lc_slice_str(rows[i].key), .ttl_ms = rows[i].ttl_ms};
    assert_int_equal(lc_group_set(fake->groups, &write), rows[i].code);
    assert_string_equal(write.err.msg, rows[i].message);
    write.ttl_ms = 0;
    if (rows[i].ttl_ms == 0)
      assert_int_equal(lc_group_delete(fake->groups, &write), rows[i].code);
  }
}

static void test_the_sweep_removes_what_has_expired(void **state) {
  struct fake *fake = *state;
  char key[16];
  for (int i = 0; i < 500; i++) {
    snprintf(key, sizeof key, "%d", i);
    assert_int_equal(set_with_ttl(fake, key, 10), LC_OK);
  }
  fake_advance(fake, 10);
  lc_groups_sweep(fake->groups, 1);
  assert_int_equal(fake_stats(fake, 0).store.items, 500);
  for (int i = 0; i < 4; i++)
    lc_groups_sweep(fake->groups, 0);
  assert_int_equal(fake_stats(fake, 0).store.items, 0);
}

static void hear_evictions(struct lc_group_options options[2]) {
  options[0].limit_bytes = 65536;
  options[0].wants_evict = true;
  options[1].limit_bytes = 65536;
}

static void test_the_loader_hears_of_evictions_later_on_worker_0(void **state) {
  (void)state;
  struct fake fake;
  fake_init(&fake, hear_evictions);
  set_value(&fake, "gone", "value");
  set_with_ttl(&fake, "short", 10);
  assert_true(delete_key(&fake, "gone"));
  assert_int_equal(fake.evicted, 0);
  fake_run(&fake);
  assert_int_equal(fake.evicted_reasons[LC_EVICT_DELETED], 1);
  assert_string_equal(fake.evicted_key, "gone");
  assert_int_equal(fake.evicted_group, 0);
  fake_advance(&fake, 10);
  expect_absent(&fake, "short");
  fake_run(&fake);
  assert_int_equal(fake.evicted_reasons[LC_EVICT_EXPIRED], 1);
  assert_int_equal(fake.evicted_value_bytes, 0);
  fake_fini(&fake);
}

static void test_a_group_without_on_evict_queues_nothing(void **state) {
  (void)state;
  struct fake fake;
  fake_init(&fake, hear_evictions);
  struct lc_write write = {.group = lc_slice_str("h"), .key = lc_slice_str("k")};
  assert_int_equal(lc_group_set(fake.groups, &write), LC_OK);
  assert_int_equal(lc_group_delete(fake.groups, &write), LC_OK);
  fake_run(&fake);
  assert_int_equal(fake.evicted, 0);
  fake_fini(&fake);
}

static void test_evictions_past_the_queue_are_dropped_and_counted(void **state) {
  (void)state;
  struct fake fake;
  char key[16];
  fake_init(&fake, hear_evictions);
  for (int i = 0; i < 5000; i++) {
    snprintf(key, sizeof key, "%d", i);
    set_value(&fake, key, "v");
    delete_key(&fake, key);
  }
  assert_int_equal(fake_stats(&fake, 0).evict_dropped, 5000 - 4096);
  fake_run(&fake);
  assert_int_equal(fake.evicted, 4096);
  set_value(&fake, "k", "v");
  delete_key(&fake, "k");
  fake_run(&fake);
  assert_int_equal(fake.evicted, 4097);
  fake_fini(&fake);
}

static void spend_20_ms(void *ctx, unsigned group_index, struct lc_item *item, int reason) {
  (void)group_index, (void)item, (void)reason;
  uint64_t until = lc_clock_ms() + 20;
  while (lc_clock_ms() < until) {
  }
  ((struct fake *)ctx)->evicted++;
}

struct waiting_task {
  struct lc_task task;
  struct fake *fake;
  size_t evicted_before;
};

static void note_evicted(struct lc_task *task) {
  struct waiting_task *waiting = lc_container_of(task, struct waiting_task, task);
  waiting->evicted_before = waiting->fake->evicted;
}

static void test_a_slow_on_evict_lets_others_run_between(void **state) {
  (void)state;
  struct fake fake;
  char key[16];
  fake_init(&fake, hear_evictions);
  fake.loader.evicted = spend_20_ms;
  for (int i = 0; i < 5; i++) {
    snprintf(key, sizeof key, "%d", i);
    set_value(&fake, key, "v");
    delete_key(&fake, key);
  }
  struct waiting_task waiting = {.task.run = note_evicted, .fake = &fake};
  fake.exec.post(fake.exec.ctx, 0, &waiting.task);
  fake_run(&fake);
  assert_int_equal(waiting.evicted_before, 1);
  assert_int_equal(fake.evicted, 5);
  fake_fini(&fake);
}

static void test_long_keys_fill_the_queue_by_their_bytes(void **state) {
  (void)state;
  struct fake fake;
  static char key[4096];
  memset(key, 'k', sizeof key);
  fake_init(&fake, hear_evictions);
  for (int i = 0; i < 2000; i++) {
    struct lc_write write = {.group = lc_slice_str("g"), .key = lc_slice_of(key, sizeof key)};
    assert_int_equal(lc_group_set(fake.groups, &write), LC_OK);
    assert_int_equal(lc_group_delete(fake.groups, &write), LC_OK);
  }
  assert_true(fake_stats(&fake, 0).evict_dropped > 900);
  fake_run(&fake);
  assert_true(fake.evicted > 900);
  assert_int_equal(fake.evicted + fake_stats(&fake, 0).evict_dropped, 2000);
  fake_fini(&fake);
}

static void test_a_queue_that_was_never_drained_leaks_nothing(void **state) {
  (void)state;
  struct fake fake;
  fake_init(&fake, hear_evictions);
  set_value(&fake, "k", "v");
  delete_key(&fake, "k");
  lc_groups_destroy(fake.groups);
  assert_int_equal(fake.evicted, 0);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      FAKE_TEST(test_a_set_is_seen_by_the_next_get),
      FAKE_TEST(test_delete_says_whether_something_was_there),
      FAKE_TEST(test_a_set_during_a_load_wins_over_it),
      FAKE_TEST(test_a_delete_during_a_load_is_not_undone_by_it),
      FAKE_TEST(test_a_write_of_one_group_leaves_the_others_alone),
      cmocka_unit_test(test_ttl_is_the_groups_or_its_own_or_never),
      FAKE_TEST(test_a_value_over_its_limit_is_refused_and_removes_the_old),
      FAKE_TEST(test_a_refused_set_detaches_the_load_too),
      cmocka_unit_test(test_a_quarter_of_the_groups_bytes_is_the_end),
      FAKE_TEST(test_bad_writes_get_a_plain_message),
      FAKE_TEST(test_the_sweep_removes_what_has_expired),
      cmocka_unit_test(test_the_loader_hears_of_evictions_later_on_worker_0),
      cmocka_unit_test(test_a_group_without_on_evict_queues_nothing),
      cmocka_unit_test(test_evictions_past_the_queue_are_dropped_and_counted),
      cmocka_unit_test(test_a_slow_on_evict_lets_others_run_between),
      cmocka_unit_test(test_long_keys_fill_the_queue_by_their_bytes),
      cmocka_unit_test(test_a_queue_that_was_never_drained_leaks_nothing),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
