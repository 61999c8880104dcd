#include "test_flight_util.h"

struct stored {
  int calls;
  bool detached;
};

static void note_store(void *arg, bool detached) {
  struct stored *stored = arg;
  stored->calls++;
  stored->detached = detached;
}

static struct stored finish_storing(struct lc_flight *flight) {
  struct stored stored = {0};
  struct lc_list waiters;
  lc_flight_complete(flight, note_store, &stored, &waiters);
  return stored;
}

static void test_second_asker_joins_the_first_ones_flight(void **state) {
  struct lc_flight_waiter first = {0}, second = {0};
  struct lc_flight *flight = lead(*state, "scores", "42", NULL, &first);
  follow(*state, "scores", "42", NULL, &second);
  size_t flights, waiters;
  lc_flight_count(*state, &flights, &waiters);
  assert_int_equal(flights, 1);
  assert_int_equal(waiters, 2);
  assert_int_equal(finish(flight), 2);
  assert_int_equal(fini_calls, 1);
}

static void test_lengths_count_in_the_comparison(void **state) {
  struct lc_flight_waiter waiters[3] = {0};
  struct lc_flight *one = lead(*state, "a", "bc", NULL, &waiters[0]);
  struct lc_flight *two = lead(*state, "ab", "c", NULL, &waiters[1]);
  struct lc_flight *three = lead(*state, "abc", "", NULL, &waiters[2]);
  assert_true(lc_slice_eq(lc_flight_group(two), S("ab")));
  assert_true(lc_slice_eq(lc_flight_key(two), S("c")));
  finish(one);
  finish(two);
  finish(three);
}

static void test_owner_bytes_are_zeroed_and_aligned(void **state) {
  struct lc_flight_waiter waiter = {0};
  struct lc_flight *flight = lead(*state, "g", "k", NULL, &waiter);
  const unsigned char *owner = lc_flight_owner(flight);
  assert_int_equal((uintptr_t)owner % 16, 0);
  for (int i = 0; i < 24; i++)
    assert_int_equal(owner[i], 0);
  finish(flight);
}

static void test_the_block_lives_until_its_last_reference_goes(void **state) {
  struct lc_flight_waiter waiter = {0};
  struct lc_flight *flight = lc_flight_ref(lead(*state, "g", "k", NULL, &waiter));
  finish(flight);
  assert_int_equal(fini_calls, 0);
  assert_true(lc_slice_eq(lc_flight_key(flight), S("k")));
  lc_flight_unref(flight);
  assert_int_equal(fini_calls, 1);
}

static int say_seven(void *arg) {
  ++*(int *)arg;
  return 7;
}

static void test_recheck_ends_the_join(void **state) {
  struct lc_flight_waiter waiter = {0};
  int calls = 0;
  struct lc_flight_join join = ask("g", "k", NULL);
  struct lc_flight *flight = NULL;
  join.recheck = say_seven;
  join.arg = &calls;
  assert_int_equal(lc_flight_join(*state, &join, &waiter, &flight, NULL), 7);
  assert_int_equal(calls, 1);
  assert_null(waiter.flight);
}

static void test_a_completed_flight_is_not_joined(void **state) {
  struct lc_flight_waiter first = {0}, second = {0};
  struct stored stored = finish_storing(lead(*state, "g", "k", NULL, &first));
  assert_int_equal(stored.calls, 1);
  assert_false(stored.detached);
  finish(lead(*state, "g", "k", NULL, &second));
}

static void note_write(void *arg) {
  ++*(int *)arg;
}

static void test_a_write_detaches_the_flight(void **state) {
  struct lc_flight_waiter first = {0}, second = {0}, third = {0};
  int writes = 0;
  struct lc_flight *old = lead(*state, "g", "k", NULL, &first);
  lc_flight_detach(*state, S("g"), S("k"), 7, note_write, &writes);
  assert_int_equal(writes, 1);
  struct lc_flight *young = lead(*state, "g", "k", NULL, &second);
  follow(*state, "g", "k", NULL, &third);
  assert_true(finish_storing(old).detached);
  struct stored stored = {0};
  struct lc_list waiters;
  lc_flight_complete(young, note_store, &stored, &waiters);
  assert_false(stored.detached);
}

static void test_a_write_of_another_key_detaches_nothing(void **state) {
  struct lc_flight_waiter waiter = {0};
  struct lc_flight *flight = lead(*state, "g", "k", NULL, &waiter);
  lc_flight_detach(*state, S("g"), S("other"), 7, NULL, NULL);
  lc_flight_detach(*state, S("other"), S("k"), 7, NULL, NULL);
  assert_false(finish_storing(flight).detached);
}

static void test_clearing_a_group_detaches_its_flights_only(void **state) {
  struct lc_flight_waiter waiters[3] = {0};
  struct lc_flight *a = lead(*state, "g", "a", NULL, &waiters[0]);
  struct lc_flight *b = lead(*state, "g", "b", NULL, &waiters[1]);
  struct lc_flight *other = lead(*state, "h", "a", NULL, &waiters[2]);
  lc_flight_detach_group(*state, S("g"));
  assert_true(finish_storing(a).detached);
  assert_true(finish_storing(b).detached);
  assert_false(finish_storing(other).detached);
}

static void test_alone_begins_a_flight_beside_the_old_one(void **state) {
  struct lc_flight_waiter first = {0}, second = {0}, third = {0};
  struct lc_flight *old = lead(*state, "g", "k", NULL, &first);
  struct lc_flight_join join = ask("g", "k", NULL);
  struct lc_flight *young = NULL;
  join.alone = true;
  assert_int_equal(lc_flight_join(*state, &join, &second, &young, NULL), LC_FLIGHT_LEADER);
  assert_ptr_not_equal(old, young);
  follow(*state, "g", "k", NULL, &third);
  assert_true(finish_storing(old).detached);
  assert_int_equal(finish(young), 2);
}

static void test_the_last_to_leave_abandons_the_flight(void **state) {
  struct lc_flight_waiter first = {0}, second = {0}, third = {0};
  struct lc_flight *left = NULL;
  struct lc_flight *flight = lead(*state, "g", "k", NULL, &first);
  follow(*state, "g", "k", NULL, &second);
  assert_int_equal(lc_flight_leave(*state, &first, 7, &left), LC_FLIGHT_LEFT);
  assert_null(left);
  assert_int_equal(lc_flight_leave(*state, &second, 7, &left), LC_FLIGHT_ABANDONED);
  assert_ptr_equal(left, flight);
  struct lc_flight *young = lead(*state, "g", "k", NULL, &third);
  assert_true(finish_storing(flight).detached);
  assert_int_equal(fini_calls, 0);
  lc_flight_unref(left);
  assert_int_equal(fini_calls, 1);
  finish(young);
}

static void test_leaving_after_the_end_is_too_late(void **state) {
  struct lc_flight_waiter waiter = {0};
  struct lc_flight *left = NULL;
  finish(lead(*state, "g", "k", NULL, &waiter));
  assert_int_equal(lc_flight_leave(*state, &waiter, 7, &left), LC_FLIGHT_GONE);
  assert_null(left);
}

static void test_a_load_that_asks_for_its_own_key_is_refused(void **state) {
  struct lc_flight_waiter waiter = {0};
  struct lc_flight *flight = lead(*state, "scores", "42", NULL, &waiter);
  refuse(*state, "scores", "42", flight, "scores/\"42\" waits for itself");
  finish(flight);
}

static void test_two_loads_that_ask_for_each_other_are_refused(void **state) {
  struct lc_flight_waiter a_waiter = {0}, b_waiter = {0};
  struct lc_flight *a = lead(*state, "scores", "42", NULL, &a_waiter);
  struct lc_flight *b = lead(*state, "teams", "7", a, &b_waiter);
  refuse(*state, "scores", "42", b, "scores/\"42\" waits for itself, by teams/\"7\"");
  finish(b);
  finish(a);
}

static void test_a_cycle_over_flights_that_began_apart_is_refused(void **state) {
  struct lc_flight_waiter own[3] = {0}, nested[2] = {0};
  struct lc_flight *a = lead(*state, "g", "a", NULL, &own[0]);
  struct lc_flight *b = lead(*state, "g", "b", NULL, &own[1]);
  struct lc_flight *c = lead(*state, "g", "c\x01\"", NULL, &own[2]);
  follow(*state, "g", "b", a, &nested[0]);
  follow(*state, "g", "c\x01\"", b, &nested[1]);
  refuse(*state, "g", "a", c, "g/\"a\" waits for itself, by g/\"b\", g/\"c\\x01\\\"\"");
  finish(c);
  finish(b);
  finish(a);
}

static void test_a_cycle_is_gone_once_its_waiter_is_answered(void **state) {
  struct lc_flight_waiter own[2] = {0}, nested[2] = {0};
  struct lc_flight *a = lead(*state, "g", "a", NULL, &own[0]);
  finish(lead(*state, "g", "b", a, &nested[0]));
  struct lc_flight *b = lead(*state, "g", "b", NULL, &own[1]);
  follow(*state, "g", "a", b, &nested[1]);
  finish(a);
  finish(b);
}

static void test_a_cycle_is_gone_once_its_waiter_has_left(void **state) {
  struct lc_flight_waiter own[2] = {0}, nested[2] = {0};
  struct lc_flight *left = NULL;
  struct lc_flight *a = lead(*state, "g", "a", NULL, &own[0]);
  struct lc_flight *b = lead(*state, "g", "b", NULL, &own[1]);
  follow(*state, "g", "b", a, &nested[0]);
  assert_int_equal(lc_flight_leave(*state, &nested[0], 7, &left), LC_FLIGHT_LEFT);
  follow(*state, "g", "a", b, &nested[1]);
  finish(a);
  finish(b);
}

static void test_a_refresh_of_an_ancestor_is_refused(void **state) {
  struct lc_flight_waiter a_waiter = {0}, waiter = {0};
  struct lc_flight *a = lead(*state, "g", "a", NULL, &a_waiter);
  struct lc_flight_join join = ask("g", "a", a);
  struct lc_flight *flight = NULL;
  struct lc_err err;
  join.alone = true;
  assert_int_equal(lc_flight_join(*state, &join, &waiter, &flight, &err), LC_EINVAL);
  assert_false(finish_storing(a).detached);
}

static void test_a_load_waits_for_one_key_at_a_time(void **state) {
  struct lc_flight_waiter a_waiter = {0}, b_waiter = {0};
  struct lc_flight *a = lead(*state, "g", "a", NULL, &a_waiter);
  struct lc_flight *b = lead(*state, "g", "b", a, &b_waiter);
  refuse(*state, "g", "c", a, "a getter can wait for one key at a time");
  finish(b);
  finish(a);
}

static void test_eight_ancestors_are_allowed_and_nine_are_not(void **state) {
  struct lc_flight_waiter waiters[9] = {0};
  struct lc_flight *flights[9];
  char key[16];
  for (int i = 0; i < 9; i++) {
    snprintf(key, sizeof key, "%d", i);
    flights[i] = lead(*state, "g", key, i > 0 ? flights[i - 1] : NULL, &waiters[i]);
  }
  refuse(*state, "g", "9", flights[8], "g/\"9\": getters that ask for one another are nested more than 8 deep");
  for (int i = 8; i >= 0; i--)
    finish(flights[i]);
}

static void test_a_chain_put_together_by_joins_has_the_same_bound(void **state) {
  struct lc_flight_waiter own[10] = {0}, nested[10] = {0};
  struct lc_flight *flights[10];
  char key[16];
  for (int i = 0; i < 10; i++) {
    snprintf(key, sizeof key, "%d", i);
    flights[i] = lead(*state, "g", key, NULL, &own[i]);
  }
  for (int i = 8; i >= 1; i--) {
    snprintf(key, sizeof key, "%d", i + 1);
    follow(*state, "g", key, flights[i], &nested[i]);
  }
  refuse(*state, "g", "1", flights[0], "g/\"1\": getters that ask for one another are nested more than 8 deep");
  for (int i = 9; i >= 0; i--)
    finish(flights[i]);
}

static void test_the_parent_outlives_what_waits_for_it_to_be_told(void **state) {
  struct lc_flight_waiter a_waiter = {0}, b_waiter = {0};
  struct lc_flight *a = lead(*state, "g", "a", NULL, &a_waiter);
  struct lc_flight *b = lead(*state, "g", "b", a, &b_waiter);
  finish(a);
  assert_int_equal(fini_calls, 0);
  finish(b);
  assert_int_equal(fini_calls, 2);
}

#define MANY 3000
static void test_many_flights_and_waiters_are_found_again(void **state) {
  static struct lc_flight_waiter waiters[2 * MANY];
  static struct lc_flight *flights[MANY];
  struct lc_err err;
  char key[16];
  memset(waiters, 0, sizeof waiters);
  for (int i = 0; i < 2 * MANY; i++) {
    snprintf(key, sizeof key, "%d", i % MANY);
    struct lc_flight_join join = ask("g", key, NULL);
    join.hash = (uint64_t)(i % MANY) * 0x9e3779b97f4a7c15u;
    int role = lc_flight_join(*state, &join, &waiters[i], &flights[i % MANY], &err);
    assert_int_equal(role, i < MANY ? LC_FLIGHT_LEADER : LC_FLIGHT_JOINED);
  }
  for (int i = 0; i < MANY; i++)
    assert_int_equal(finish(flights[i]), 2);
}

static void test_without_memory_nothing_is_linked(void **state) {
  if (!lc_alloc_faults_built())
    skip();
  struct lc_flight_waiter waiter = {0};
  struct lc_flight_join join = ask("g", "k", NULL);
  struct lc_flight *flight = NULL;
  struct lc_err err;
  lc_alloc_fail_at(1);
  assert_int_equal(lc_flight_join(*state, &join, &waiter, &flight, &err), LC_ENOMEM);
  lc_alloc_fail_at(0);
  assert_null(waiter.flight);
  finish(lead(*state, "g", "k", NULL, &waiter));
}

static void test_a_failed_refresh_leaves_the_running_flight_alone(void **state) {
  if (!lc_alloc_faults_built())
    skip();
  struct lc_flight_waiter first = {0}, second = {0};
  struct lc_flight *old = lead(*state, "g", "k", NULL, &first);
  struct lc_flight_join join = ask("g", "k", NULL);
  struct lc_flight *flight = NULL;
  join.alone = true;
  lc_alloc_fail_at(1);
  assert_int_equal(lc_flight_join(*state, &join, &second, &flight, NULL), LC_ENOMEM);
  lc_alloc_fail_at(0);
  assert_false(finish_storing(old).detached);
}

static void test_a_table_is_made_whole_or_not_at_all(void **state) {
  (void)state;
  struct lc_flight_table *table;
  assert_int_equal(lc_flight_table_create(0, &table), LC_EINVAL);
  assert_int_equal(lc_flight_table_create(3, &table), LC_EINVAL);
  if (!lc_alloc_faults_built())
    return;
  for (size_t n = 1; n <= 4; n++) {
    lc_alloc_fail_at(n);
    assert_int_equal(lc_flight_table_create(2, &table), LC_ENOMEM);
  }
  lc_alloc_fail_at(0);
  lc_flight_table_destroy(NULL);
}

static void test_names_are_quoted_escaped_and_cut(void **state) {
  (void)state;
  char out[LC_NAME_QUOTED_SIZE];
  lc_name_quote(out, lc_slice_of("a\0\xff\\", 4));
  assert_string_equal(out, "\"a\\x00\\xff\\\\\"");
  lc_name_quote(out, S("0123456789abcdef0123456789abcdef!"));
  assert_string_equal(out, "\"0123456789abcdef0123456789abcdef...\"");
  char worst[64];
  memset(worst, 0x80, sizeof worst);
  assert_true(lc_name_quote(out, lc_slice_of(worst, sizeof worst)) < sizeof out);
}

#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void) {
  const struct CMUnitTest tests[] = {
      T(test_second_asker_joins_the_first_ones_flight),
      T(test_lengths_count_in_the_comparison),
      T(test_owner_bytes_are_zeroed_and_aligned),
      T(test_the_block_lives_until_its_last_reference_goes),
      T(test_recheck_ends_the_join),
      T(test_a_completed_flight_is_not_joined),
      T(test_a_write_detaches_the_flight),
      T(test_a_write_of_another_key_detaches_nothing),
      T(test_clearing_a_group_detaches_its_flights_only),
      T(test_alone_begins_a_flight_beside_the_old_one),
      T(test_the_last_to_leave_abandons_the_flight),
      T(test_leaving_after_the_end_is_too_late),
      T(test_a_load_that_asks_for_its_own_key_is_refused),
      T(test_two_loads_that_ask_for_each_other_are_refused),
      T(test_a_cycle_over_flights_that_began_apart_is_refused),
      T(test_a_cycle_is_gone_once_its_waiter_is_answered),
      T(test_a_cycle_is_gone_once_its_waiter_has_left),
      T(test_a_refresh_of_an_ancestor_is_refused),
      T(test_a_load_waits_for_one_key_at_a_time),
      T(test_eight_ancestors_are_allowed_and_nine_are_not),
      T(test_a_chain_put_together_by_joins_has_the_same_bound),
      T(test_the_parent_outlives_what_waits_for_it_to_be_told),
      T(test_many_flights_and_waiters_are_found_again),
      T(test_without_memory_nothing_is_linked),
      T(test_a_failed_refresh_leaves_the_running_flight_alone),
      cmocka_unit_test(test_a_table_is_made_whole_or_not_at_all),
      cmocka_unit_test(test_names_are_quoted_escaped_and_cut),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
