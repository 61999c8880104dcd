/* The log of writes: numbers, what it keeps, what it lets go. */
#include <stdio.h>

#include "test_cluster_fake.h"

#define BIG 60000u

static struct lc_write_log *make(void) {
  struct lc_write_log *log = NULL;
  assert_int_equal(lc_write_log_create(&log), LC_OK);
  return log;
}

static uint64_t append(struct lc_write_log *log, const char *group, const char *key) {
  return lc_write_log_append(log, lc_slice_str(group), lc_slice_str(key));
}

static void assert_name(const struct lc_msg_name *name, const char *group, const char *key) {
  assert_true(lc_slice_eq(name->group, lc_slice_str(group)));
  assert_true(lc_slice_eq(name->key, lc_slice_str(key)));
}

static void test_an_empty_log_has_no_head_and_reaches_back_to_the_start(void **state) {
  (void)state;
  struct lc_write_log *log = make();
  assert_int_equal(lc_write_log_head(log), 0);
  assert_int_equal(lc_write_log_oldest(log), 1);
  assert_true(lc_write_log_reaches(log, 1));
  lc_write_log_destroy(log);
}

static void test_writes_are_numbered_from_one_and_copied_out_in_order(void **state) {
  (void)state;
  struct lc_write_log *log = make();
  assert_int_equal(append(log, "g", "a"), 1);
  assert_int_equal(append(log, "other", "b"), 2);
  assert_int_equal(append(log, "g", "a"), 3);
  lc_write_log_copy(log, 2);
  assert_int_equal(log->batch->count, 2);
  assert_name(&log->batch->names[0], "other", "b");
  assert_name(&log->batch->names[1], "g", "a");
  lc_write_log_destroy(log);
}

static void test_the_65537th_write_lets_the_first_go(void **state) {
  (void)state;
  struct lc_write_log *log = make();
  for (unsigned i = 0; i < LC_LOG_ENTRIES; i++)
    append(log, "g", "key");
  assert_int_equal(lc_write_log_oldest(log), 1);
  append(log, "g", "last");
  assert_int_equal(lc_write_log_oldest(log), 2);
  assert_false(lc_write_log_reaches(log, 1));
  assert_true(lc_write_log_reaches(log, 2));
  lc_write_log_destroy(log);
}

static void test_a_batch_ends_at_1024_entries(void **state) {
  (void)state;
  struct lc_write_log *log = make();
  for (unsigned i = 0; i < 1500; i++)
    append(log, "g", "key");
  lc_write_log_copy(log, 1);
  assert_int_equal(log->batch->count, 1024);
  lc_write_log_copy(log, 1025);
  assert_int_equal(log->batch->count, 1500 - 1024);
  lc_write_log_destroy(log);
}

static void test_a_batch_ends_at_256_kib_of_keys(void **state) {
  (void)state;
  struct lc_write_log *log = make();
  char *key = malloc(BIG);
  memset(key, 'k', BIG);
  for (unsigned i = 0; i < 10; i++)
    lc_write_log_append(log, lc_slice_str("g"), lc_slice_of(key, BIG));
  lc_write_log_copy(log, 1);
  assert_int_equal(log->batch->count, 4); /* 4 x 60,001 */
  free(key);
  lc_write_log_destroy(log);
}

static void test_the_longest_names_go_into_a_batch(void **state) {
  (void)state;
  struct lc_write_log *log = make();
  char *key = calloc(1, LC_KEY_MAX), group[LC_GROUP_NAME_MAX];
  memset(group, 'g', sizeof group);
  lc_write_log_append(log, lc_slice_of(group, sizeof group), lc_slice_of(key, LC_KEY_MAX));
  lc_write_log_copy(log, 1);
  assert_int_equal(log->batch->count, 1);
  assert_int_equal(log->batch->names[0].group.len, sizeof group);
  assert_int_equal(log->batch->names[0].key.len, LC_KEY_MAX);
  free(key);
  lc_write_log_destroy(log);
}

/* A model: key n is a run of a letter, its length from a generator; all that is kept must read back. */
static size_t length_of(uint64_t number) {
  uint64_t mixed = number * 0x9e3779b97f4a7c15u;
  return mixed % 7 == 0 ? 1 + mixed % 65000 : 1 + mixed % 300;
}

static void assert_kept(struct lc_write_log *log, uint64_t number) {
  lc_write_log_copy(log, number);
  assert_true(log->batch->count > 0);
  for (size_t i = 0; i < log->batch->count; i++) {
    struct lc_slice key = log->batch->names[i].key;
    assert_int_equal(key.len, length_of(number + i));
    assert_int_equal(key.ptr[0], 'a' + (number + i) % 26);
    assert_int_equal(key.ptr[key.len - 1], 'a' + (number + i) % 26);
  }
}

static void test_long_keys_push_old_ones_out_and_what_is_kept_reads_back(void **state) {
  (void)state;
  struct lc_write_log *log = make();
  char *key = malloc(65536);
  size_t least = SIZE_MAX;
  for (uint64_t number = 1; number <= 20000; number++) {
    size_t len = length_of(number);
    memset(key, (int)('a' + number % 26), len);
    assert_int_equal(lc_write_log_append(log, lc_slice_str("g"), lc_slice_of(key, len)), number);
    if (number % 50 == 0) {
      assert_kept(log, log->oldest);
      assert_kept(log, (log->oldest + number) / 2);
      assert_kept(log, number);
    }
    if (number > 15000 && number - log->oldest < least)
      least = number - log->oldest;
  }
  assert_true(log->oldest > 1);
  assert_true(least > 1000); /* 8 MiB of about 5,000 bytes each */
  free(key);
  lc_write_log_destroy(log);
}

static void test_without_memory_none_is_made(void **state) {
  (void)state;
  if (!lc_alloc_faults_built())
    skip();
  for (size_t n = 1; n <= 4; n++) {
    struct lc_write_log *log = NULL;
    lc_alloc_fail_at(n);
    assert_int_equal(lc_write_log_create(&log), LC_ENOMEM);
    assert_null(log);
  }
  lc_alloc_fail_at(0);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_an_empty_log_has_no_head_and_reaches_back_to_the_start),
      cmocka_unit_test(test_writes_are_numbered_from_one_and_copied_out_in_order),
      cmocka_unit_test(test_the_65537th_write_lets_the_first_go),
      cmocka_unit_test(test_a_batch_ends_at_1024_entries),
      cmocka_unit_test(test_a_batch_ends_at_256_kib_of_keys),
      cmocka_unit_test(test_the_longest_names_go_into_a_batch),
      cmocka_unit_test(test_long_keys_push_old_ones_out_and_what_is_kept_reads_back),
      cmocka_unit_test(test_without_memory_none_is_made),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
