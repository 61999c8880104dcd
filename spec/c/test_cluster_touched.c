/* Which handed-over items may be added: never one that may be older than a write known here. */
#include "test_cluster_fake.h"

#define A 7u /* writers */
#define B 8u
#define SETS 16384u /* keys whose hashes differ by this share a set of four */

static struct lc_touched *touched;

static int setup(void **state) {
  (void)state;
  return lc_touched_create(&touched);
}

static int teardown(void **state) {
  (void)state;
  lc_touched_destroy(touched);
  return 0;
}

static bool allows(uint64_t hash, uint64_t a, uint64_t b) {
  const struct lc_msg_applied applied[] = {{A, a}, {B, b}};
  return lc_touched_allows(touched, hash, applied, 2);
}

static void test_nothing_known_allows_everything(void **state) {
  (void)state;
  assert_true(lc_touched_allows(touched, 5, NULL, 0));
}

static void test_a_copy_from_before_the_write_is_refused(void **state) {
  (void)state;
  lc_touched_note(touched, 5, A, 10);
  assert_false(allows(5, 9, 0));
  assert_true(allows(5, 10, 0));
  assert_false(lc_touched_allows(touched, 5, NULL, 0)); /* the sender knows nothing of A */
  assert_true(allows(6, 0, 0));                         /* another key */
}

static void test_the_last_write_of_a_key_counts(void **state) {
  (void)state;
  lc_touched_note(touched, 5, A, 10);
  lc_touched_note(touched, 5, A, 20);
  assert_false(allows(5, 19, 0));
  assert_true(allows(5, 20, 0));
  lc_touched_note(touched, 5, A, 15); /* told again */
  assert_false(allows(5, 19, 0));
}

static void test_writes_of_one_key_by_two_writers_both_count(void **state) {
  (void)state;
  lc_touched_note(touched, 5, A, 10);
  lc_touched_note(touched, 5, B, 3);
  assert_false(allows(5, 10, 2));
  assert_false(allows(5, 9, 3));
  assert_true(allows(5, 10, 3));
  assert_true(allows(6, 0, 0));
}

static void test_a_key_that_another_wrote_lately_is_told_from_one_that_the_asked_wrote(void **state) {
  (void)state;
  uint64_t now_ms = lc_clock_ms();
  assert_false(lc_touched_elsewhere(touched, 5, A, now_ms));
  lc_touched_note(touched, 5, A, 10);
  assert_false(lc_touched_elsewhere(touched, 5, A, now_ms));
  assert_true(lc_touched_elsewhere(touched, 5, B, now_ms));
  assert_false(lc_touched_elsewhere(touched, 6, B, now_ms));
  assert_false(lc_touched_elsewhere(touched, 5, B, lc_clock_ms() + 10000)); /* known everywhere by then */
}

static void test_four_keys_of_a_set_are_kept_apart(void **state) {
  (void)state;
  for (uint64_t i = 0; i < 4; i++)
    lc_touched_note(touched, 5 + i * SETS, A, 10 + i);
  for (uint64_t i = 0; i < 4; i++) {
    assert_false(allows(5 + i * SETS, 9 + i, 0));
    assert_true(allows(5 + i * SETS, 10 + i, 0));
  }
  assert_true(allows(5 + 4 * SETS, 0, 0));
}

static void test_a_key_pushed_out_raises_its_writers_floor(void **state) {
  (void)state;
  for (uint64_t i = 0; i < 5; i++)
    lc_touched_note(touched, 5 + i * SETS, A, 10 + i);
  assert_false(allows(5, 9, 0)); /* it has no slot any more */
  assert_true(allows(5, 10, 0));
  assert_false(allows(12345, 9, 0)); /* nor has any key that isn't known */
  assert_true(allows(12345, 10, 0));
}

static void test_the_oldest_of_a_set_goes_first(void **state) {
  (void)state;
  for (uint64_t i = 0; i < 4; i++)
    lc_touched_note(touched, 5 + i * SETS, A, 10 + i);
  lc_touched_note(touched, 5, A, 20);            /* the first is the newest now */
  lc_touched_note(touched, 5 + 9 * SETS, A, 21); /* so the second goes: 11 */
  assert_true(allows(12345, 11, 0));
  assert_false(allows(12345, 10, 0));
}

static void test_a_drop_of_everything_stands_for_every_key(void **state) {
  (void)state;
  lc_touched_note(touched, 5, A, 10);
  lc_touched_floor(touched, A, 50);
  assert_false(allows(5, 49, 0)); /* the slot is older than what may have been written */
  assert_true(allows(5, 50, 0));
  assert_false(allows(6, 49, 0));
  lc_touched_note(touched, 5, B, 1);
  assert_false(allows(5, 49, 1));
}

static void test_what_is_in_force_here_is_told_of_for_every_writer(void **state) {
  (void)state;
  struct lc_msg_applied applied[4];
  lc_touched_note(touched, 5, A, 10);
  lc_touched_note(touched, 6, B, 2);
  lc_touched_note(touched, 7, A, 12);
  lc_touched_note(touched, 7, A, 11);
  lc_touched_floor(touched, B, 9); /* not dropped yet */
  assert_int_equal(lc_touched_applied(touched, applied, 4), 2);
  assert_int_equal(applied[0].process, A);
  assert_int_equal(applied[0].seq, 12);
  assert_int_equal(applied[1].seq, 2);
  lc_touched_seen(touched, B, 9);
  assert_int_equal(lc_touched_applied(touched, applied, 4), 2);
  assert_int_equal(applied[1].seq, 9);
  assert_int_equal(lc_touched_applied(touched, applied, 1), 1);
}

static void test_with_too_many_writers_nothing_is_allowed(void **state) {
  (void)state;
  for (uint64_t i = 0; i < 1024; i++)
    lc_touched_note(touched, 100 + i, 1000 + i, 1);
  assert_true(allows(5, 0, 0));
  lc_touched_note(touched, 5, A, 1);
  assert_false(allows(6, 100, 100));
}

/* Against a list of all writes: an allowed item is never older than a write of its key. */
static void test_a_random_history_allows_nothing_old(void **state) {
  (void)state;
  static uint64_t last[2][5000]; /* of each key by each writer */
  uint64_t seq[2] = {0}, random = 1, allowed = 0, young = 0;
  memset(last, 0, sizeof last);
  for (unsigned i = 0; i < 200000; i++) {
    random = random * 6364136223846793005u + 1442695040888963407u;
    uint64_t key = (random >> 33) % 5000, hash = key * 0x9e3779b97f4a7c15u, lag = (random >> 13) % 300;
    if (random >> 63) {
      unsigned who = (random >> 62) & 1;
      last[who][key] = ++seq[who];
      lc_touched_note(touched, hash, who ? B : A, seq[who]);
      continue;
    }
    uint64_t a = seq[0] > lag ? seq[0] - lag : 0, b = seq[1] > lag ? seq[1] - lag : 0;
    bool old = a < last[0][key] || b < last[1][key];
    bool says = allows(hash, a, b);
    assert_false(old && says);
    allowed += says;
    young += !old;
  }
  assert_true(young > 0 && allowed * 100 > young * 95); /* and it is of use */
}

static void test_without_memory_none_is_made(void **state) {
  (void)state;
  struct lc_touched *none = NULL;
  if (!lc_alloc_faults_built())
    skip();
  lc_alloc_fail_at(1);
  assert_int_equal(lc_touched_create(&none), LC_ENOMEM);
  lc_alloc_fail_at(0);
  assert_null(none);
}

#define TEST(name_) cmocka_unit_test_setup_teardown(name_, setup, teardown)

int main(void) {
  const struct CMUnitTest tests[] = {
      TEST(test_nothing_known_allows_everything),
      TEST(test_a_copy_from_before_the_write_is_refused),
      TEST(test_the_last_write_of_a_key_counts),
      TEST(test_writes_of_one_key_by_two_writers_both_count),
      TEST(test_a_key_that_another_wrote_lately_is_told_from_one_that_the_asked_wrote),
      TEST(test_four_keys_of_a_set_are_kept_apart),
      TEST(test_a_key_pushed_out_raises_its_writers_floor),
      TEST(test_the_oldest_of_a_set_goes_first),
      TEST(test_a_drop_of_everything_stands_for_every_key),
      TEST(test_what_is_in_force_here_is_told_of_for_every_writer),
      TEST(test_with_too_many_writers_nothing_is_allowed),
      TEST(test_a_random_history_allows_nothing_old),
      TEST(test_without_memory_none_is_made),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
