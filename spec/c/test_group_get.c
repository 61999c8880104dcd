#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/alloc.h"
#include "test_group_fake.h"

static void test_a_miss_loads_and_the_next_get_hits(void **state) {
  struct fake *fake = *state;
  struct call call;
  assert_int_equal(call_get(fake, &call, 0, "g", "k"), LC_PENDING);
  fake_run(fake);
  assert_int_equal(call.done, 0);
  assert_true(lc_slice_eq(lc_load_key(fake_load(fake, 0)), lc_slice_str("k")));
  assert_true(lc_slice_eq(lc_load_group(fake_load(fake, 0)), lc_slice_str("g")));
  assert_int_equal(lc_load_deadline_ms(fake_load(fake, 0)), fake->now_ms + 5000);
  fake_finish(fake, 0, "v");
  assert_int_equal(call.done, 1);
  assert_value(&call, LC_FROM_SOURCE, "v");
  assert_int_equal(call.get.ttl_ms, 0);
  call_fini(&call);
  expect_hit(fake, "k", "v");
  assert_int_equal(fake->started, 1);
}

static void test_a_done_load_never_answers_inside_lc_load_done(void **state) {
  struct fake *fake = *state;
  struct call call;
  call_get(fake, &call, 0, "g", "k");
  struct lc_load *load = fake_load(fake, 0);
  lc_load_set_value(load, lc_slice_str("v"), -1);
  lc_load_done(load);
  assert_int_equal(call.done, 0);
  fake_run(fake);
  assert_int_equal(call.done, 1);
  call_fini(&call);
}

static void test_a_getter_that_answers_at_once_is_the_return_value(void **state) {
  struct fake *fake = *state;
  struct call call;
  fake->on_start = fake_answer_now;
  assert_int_equal(call_get(fake, &call, 1, "g", "k"), LC_OK);
  assert_value(&call, LC_FROM_SOURCE, "now");
  fake_run(fake);
  assert_int_equal(call.done, 0);
  call_fini(&call);
  expect_hit(fake, "k", "now");
}

static void test_an_error_goes_to_all_once_and_is_not_stored(void **state) {
  struct fake *fake = *state;
  struct call calls[3];
  for (unsigned i = 0; i < 3; i++)
    call_get(fake, &calls[i], i % FAKE_WORKERS, "g", "k");
  fake_fail(fake, 0, LC_EUNAVAILABLE, "source answered 500");
  for (unsigned i = 0; i < 3; i++) {
    assert_int_equal(calls[i].done, 1);
    assert_failed(&calls[i], LC_EUNAVAILABLE, "source answered 500");
    call_fini(&calls[i]);
  }
  assert_int_equal(call_get(fake, &calls[0], 0, "g", "k"), LC_PENDING);
  fake_finish(fake, 1, "v");
  assert_value(&calls[0], LC_FROM_SOURCE, "v");
  call_fini(&calls[0]);
  assert_int_equal(fake_stats(fake, 0).load_errors, 1);
}

static void test_not_found_is_an_answer_and_is_not_stored(void **state) {
  struct fake *fake = *state;
  struct call call;
  call_get(fake, &call, 0, "g", "k");
  fake_finish(fake, 0, NULL);
  assert_failed(&call, LC_ENOTFOUND, "not found");
  call_fini(&call);
  expect_absent(fake, "k");
  assert_int_equal(fake_stats(fake, 0).not_found, 1);
  assert_int_equal(fake_stats(fake, 0).load_errors, 0);
}

static void test_a_long_error_is_cut(void **state) {
  struct fake *fake = *state;
  static char text[8000];
  struct call call;
  memset(text, 'x', sizeof text - 1);
  call_get(fake, &call, 0, "g", "k");
  fake_fail(fake, 0, LC_EINTERNAL, text);
  assert_int_equal(strlen(call.get.message), 1024);
  call_fini(&call);
}

static void test_a_value_over_max_value_is_the_getters_error(void **state) {
  struct fake *fake = *state;
  struct call call;
  size_t size = (4u << 20) + 1;
  void *big = calloc(1, size);
  call_get(fake, &call, 0, "g", "k");
  lc_load_set_value(fake_load(fake, 0), lc_slice_of(big, size), -1);
  lc_load_done(fake_load(fake, 0));
  fake_run(fake);
  assert_failed(&call, LC_EINTERNAL, "the getter's value of 4194305 bytes is over the group's max_value of 4194304");
  call_fini(&call);
  free(big);
}

static void test_a_loads_ttl_wins_over_the_groups(void **state) {
  struct fake *fake = *state;
  struct call call;
  call_get(fake, &call, 0, "g", "k");
  lc_load_set_value(fake_load(fake, 0), lc_slice_str("v"), 250);
  lc_load_done(fake_load(fake, 0));
  fake_run(fake);
  assert_int_equal(call.get.ttl_ms, 250);
  call_fini(&call);
  fake_advance(fake, 249);
  expect_hit(fake, "k", "v");
  fake_advance(fake, 1);
  expect_absent(fake, "k");
}

static void test_a_refresh_loads_although_there_is_a_copy_and_a_load(void **state) {
  struct fake *fake = *state;
  struct call plain, refresh;
  assert_int_equal(set_value(fake, "k", "old"), LC_OK);
  call_init(fake, &refresh, 0, "g", "k");
  refresh.get.refresh = true;
  assert_int_equal(call_start(fake, &refresh), LC_PENDING);
  fake_finish(fake, 0, "new");
  assert_value(&refresh, LC_FROM_SOURCE, "new");
  call_fini(&refresh);
  expect_hit(fake, "k", "new");

  assert_int_equal(call_get(fake, &plain, 0, "g", "other"), LC_PENDING);
  call_init(fake, &refresh, 1, "g", "other");
  refresh.get.refresh = true;
  assert_int_equal(call_start(fake, &refresh), LC_PENDING);
  assert_int_equal(fake->started, 3);
  fake_finish(fake, 2, "young");
  fake_finish(fake, 1, "old");
  assert_value(&plain, LC_FROM_SOURCE, "old");
  assert_value(&refresh, LC_FROM_SOURCE, "young");
  call_fini(&plain);
  call_fini(&refresh);
  expect_hit(fake, "other", "young");
}

static void test_only_if_cached_never_loads(void **state) {
  struct fake *fake = *state;
  expect_absent(fake, "k");
  assert_int_equal(fake->started, 0);
  set_value(fake, "k", "v");
  struct call call;
  call_init(fake, &call, 0, "g", "k");
  call.get.only_if_cached = true;
  assert_int_equal(call_start(fake, &call), LC_OK);
  assert_value(&call, LC_FROM_STORE, "v");
  call_fini(&call);
}

static void allow_two_loads(struct lc_group_options options[2]) {
  options[0].max_loads = 2;
}

static void test_one_load_over_max_loads_is_refused(void **state) {
  (void)state;
  struct fake fake;
  struct call calls[3], other;
  fake_init(&fake, allow_two_loads);
  assert_int_equal(call_get(&fake, &calls[0], 0, "g", "0"), LC_PENDING);
  assert_int_equal(call_get(&fake, &calls[1], 0, "g", "1"), LC_PENDING);
  assert_int_equal(call_get(&fake, &calls[2], 0, "g", "2"), LC_EEXHAUSTED);
  call_fini(&calls[2]);
  assert_int_equal(call_get(&fake, &other, 0, "h", "2"), LC_PENDING);
  fake_finish(&fake, 0, "v");
  assert_int_equal(call_get(&fake, &calls[2], 0, "g", "2"), LC_PENDING);
  fake_finish(&fake, 1, "v");
  fake_finish(&fake, 2, "v");
  fake_finish(&fake, 3, "v");
  for (int i = 0; i < 3; i++)
    call_fini(&calls[i]);
  call_fini(&other);
  fake_fini(&fake);
}

static void test_bad_arguments_get_a_plain_message(void **state) {
  struct fake *fake = *state;
  static char long_key[4098], long_group[300];
  memset(long_key, 'k', sizeof long_key - 1);
  memset(long_group, 'g', sizeof long_group - 1);
  const struct {
    const char *group, *key;
    int code;
    const char *message;
  } rows[] = {
      {"", "k", LC_EINVAL, "the group is empty"},
      {"g", "", LC_EINVAL, "the key is empty"},
      {"nope", "k", LC_ENOTFOUND, "unknown group \"nope\""},
      {"a\"\n", "k", LC_ENOTFOUND, "unknown group \"a\\\"\\x0a\""},
      {long_group, "k", LC_ENOTFOUND, "unknown group \"gggggggggggggggggggggggggggggggg...\""},
      {"g", long_key, LC_EINVAL, "key of 4097 bytes is over the group's max_key of 4096"},
  };
  for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
    struct call call;
    assert_int_equal(call_get(fake, &call, 0, rows[i].group, rows[i].key), rows[i].code);
    assert_failed(&call, rows[i].code, rows[i].message);
    call_fini(&call);
  }
  struct call call;
  call_init(fake, &call, 0, "g", "k");
  call.get.only_if_cached = call.get.refresh = true;
  assert_int_equal(call_start(fake, &call), LC_EINVAL);
  call_fini(&call);
  assert_int_equal(fake->started, 0);
}

static void test_a_key_may_hold_any_byte(void **state) {
  struct fake *fake = *state;
  struct call call;
  call_init(fake, &call, 0, "g", "");
  call.get.key = lc_slice_of("a\0b", 3);
  fake->on_start = fake_answer_now;
  assert_int_equal(call_start(fake, &call), LC_OK);
  call_fini(&call);
  expect_absent(fake, "a");
}

static void test_a_hit_allocates_nothing(void **state) {
  if (!lc_alloc_faults_built())
    skip();
  struct fake *fake = *state;
  set_value(fake, "k", "v");
  lc_alloc_fail_at(0);
  expect_hit(fake, "k", "v");
  assert_int_equal(lc_alloc_fail_at(0), 0);
}

static void test_a_load_costs_two_allocations(void **state) {
  if (!lc_alloc_faults_built())
    skip();
  struct fake *fake = *state;
  const size_t loads = 5000;
  fake->on_start = fake_answer_now;
  lc_alloc_fail_at(0);
  for (size_t i = 0; i < loads; i++) {
    struct call call;
    char key[32];
    snprintf(key, sizeof key, "%zu", i);
    call_get(fake, &call, 0, "g", key);
    call_fini(&call);
  }
  size_t made = lc_alloc_fail_at(0);
  assert_true(made >= 2 * loads);
  assert_true(made < 2 * loads + loads / 5); /* flight with load, item; now and then an index of the store grows */
}

static void test_counters_tell_what_each_worker_served(void **state) {
  struct fake *fake = *state;
  struct call call;
  struct lc_write removal = {.group = lc_slice_str("g"), .key = lc_slice_str("k"), .worker = 1};
  fake->on_start = fake_answer_now;
  call_get(fake, &call, 1, "g", "k");
  call_fini(&call);
  expect_hit(fake, "k", "now");
  expect_hit(fake, "k", "now");
  set_value(fake, "k", "v");
  lc_group_delete(fake->groups, &removal);
  struct lc_group_stats stats = fake_stats(fake, 0);
  assert_int_equal(stats.gets, 3);
  assert_int_equal(stats.hits, 2);
  assert_int_equal(stats.misses, 1);
  assert_int_equal(stats.loads, 1);
  assert_int_equal(stats.sets, 1);
  assert_int_equal(stats.deletes, 1);
  assert_int_equal(lc_groups_worker_requests(fake->groups, 0), 3);
  assert_int_equal(lc_groups_worker_requests(fake->groups, 1), 2);
  assert_int_equal(fake_stats(fake, 1).gets, 0);
}

static int count_in(const char *text, const char *word) {
  int count = 0;
  for (const char *at = text; (at = strstr(at, word)) != NULL; at++)
    count++;
  return count;
}

static int fail_now(struct fake *fake, struct lc_load *load) {
  (void)fake;
  lc_load_set_error(load, LC_EUNAVAILABLE, "no answer", 9);
  return LC_OK;
}

static void test_failed_loads_are_logged_at_most_ten_times_a_second(void **state) {
  (void)state;
  static char text[65536];
  struct fake fake = {0};
  FILE *file = tmpfile();
  assert_int_equal(lc_log_create(fileno(file), LC_LOG_INFO, LC_LOG_TEXT, &fake.log), LC_OK);
  assert_int_equal(fake_create(&fake, NULL, NULL), LC_OK);
  fake.on_start = fail_now;
  for (int i = 0; i < 25; i++) {
    struct call call;
    call_get(&fake, &call, 0, "g", "k");
    call_fini(&call);
  }
  lc_groups_sweep(fake.groups, 0);
  fake_advance(&fake, 1000);
  lc_groups_sweep(fake.groups, 0);
  lc_groups_sweep(fake.groups, 0);
  struct lc_log *log = fake.log;
  fake_fini(&fake);
  lc_log_destroy(log);
  rewind(file);
  text[fread(text, 1, sizeof text - 1, file)] = '\0';
  fclose(file);
  assert_int_equal(count_in(text, "load failed group=g key=k code=UNAVAILABLE error=\"no answer\""), 10);
  assert_int_equal(count_in(text, "load failures not logged group=g count=15"), 1);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      FAKE_TEST(test_a_miss_loads_and_the_next_get_hits),
      FAKE_TEST(test_a_done_load_never_answers_inside_lc_load_done),
      FAKE_TEST(test_a_getter_that_answers_at_once_is_the_return_value),
      FAKE_TEST(test_an_error_goes_to_all_once_and_is_not_stored),
      FAKE_TEST(test_not_found_is_an_answer_and_is_not_stored),
      FAKE_TEST(test_a_long_error_is_cut),
      FAKE_TEST(test_a_value_over_max_value_is_the_getters_error),
      FAKE_TEST(test_a_loads_ttl_wins_over_the_groups),
      FAKE_TEST(test_a_refresh_loads_although_there_is_a_copy_and_a_load),
      FAKE_TEST(test_only_if_cached_never_loads),
      cmocka_unit_test(test_one_load_over_max_loads_is_refused),
      FAKE_TEST(test_bad_arguments_get_a_plain_message),
      FAKE_TEST(test_a_key_may_hold_any_byte),
      FAKE_TEST(test_a_hit_allocates_nothing),
      FAKE_TEST(test_a_load_costs_two_allocations),
      FAKE_TEST(test_counters_tell_what_each_worker_served),
      cmocka_unit_test(test_failed_loads_are_logged_at_most_ten_times_a_second),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
