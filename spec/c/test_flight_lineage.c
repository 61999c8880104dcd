#include <pthread.h>
#include <string.h>

#include "test_flight_util.h"

/* Loads on other nodes that wait: cycles through them, depth, and what a flight says of its own chain. */

#define NAMES(...) ((const struct lc_flight_name[]){__VA_ARGS__})
#define N(group_, key_)                                                                                                \
  {                                                                                                                    \
    .group = {(const uint8_t *)(group_), sizeof(group_) - 1}, .key = {(const uint8_t *)(key_), sizeof(key_) - 1 }      \
  }

static int join_from(struct lc_flight_table *table, const char *key, const struct lc_flight_name *lineage, size_t count,
                     struct lc_flight_waiter *waiter, struct lc_flight **flight, struct lc_err *err) {
  struct lc_flight_join join = ask("g", key, NULL);
  join.lineage = lineage;
  join.lineage_count = count;
  return lc_flight_join(table, &join, waiter, flight, err);
}

static struct lc_flight *lead_from(struct lc_flight_table *table, const char *key, const struct lc_flight_name *lineage,
                                   size_t count, struct lc_flight_waiter *waiter) {
  struct lc_flight *flight = NULL;
  assert_int_equal(join_from(table, key, lineage, count, waiter, &flight, NULL), LC_FLIGHT_LEADER);
  return flight;
}

static void refuse_from(struct lc_flight_table *table, const char *key, const struct lc_flight_name *lineage,
                        size_t count, const char *message) {
  struct lc_flight_waiter waiter = {0};
  struct lc_flight *flight = NULL;
  struct lc_err err = {0};
  assert_int_equal(join_from(table, key, lineage, count, &waiter, &flight, &err), LC_EINVAL);
  assert_null(flight);
  assert_null(waiter.flight);
  assert_string_equal(err.msg, message);
}

/* The lineage as "group/key group/key". */
static const char *lineage_of(const struct lc_flight *flight, char *out, size_t size) {
  struct lc_flight_name names[LC_FLIGHT_MAX_DEPTH + 1];
  size_t count = lc_flight_lineage(flight, names), len = 0;
  for (size_t i = 0; i < count; i++) {
    len += (size_t)snprintf(out + len, size - len, "%s%.*s/%.*s", i > 0 ? " " : "", (int)names[i].group.len,
                            (const char *)names[i].group.ptr, (int)names[i].key.len, (const char *)names[i].key.ptr);
  }
  return out;
}

static void test_a_flight_of_no_lineage_names_itself(void **state) {
  struct lc_flight_waiter waiter = {0};
  char text[64];
  struct lc_flight *flight = lead(*state, "scores", "42", NULL, &waiter);
  assert_string_equal(lineage_of(flight, text, sizeof text), "scores/42");
  finish(flight);
}

static void test_a_lineage_is_copied_and_outlives_what_it_came_from(void **state) {
  struct lc_flight_waiter own[3] = {0};
  char text[128], group[] = "far", key[] = "a";
  struct lc_flight_name lineage = {.group = S(group), .key = S(key)};
  struct lc_flight *b = lead_from(*state, "b", &lineage, 1, &own[0]);
  memset(group, 'x', 3);
  key[0] = 'x';
  struct lc_flight *c = lead(*state, "h", "c", b, &own[1]);
  finish(c);
  struct lc_flight *d = lc_flight_ref(lead(*state, "h", "d", b, &own[2]));
  finish(b);
  finish(d);
  assert_int_equal(fini_calls, 2);
  assert_string_equal(lineage_of(d, text, sizeof text), "far/a g/b h/d");
  lc_flight_unref(d);
}

static void test_odd_lengths_and_owner_sizes_keep_the_names_whole(void **state) {
  for (size_t owner = 0; owner < 18; owner++) {
    struct lc_flight_waiter waiter = {0};
    struct lc_flight_join join = ask("g", "odd", NULL);
    struct lc_flight *flight = NULL;
    char text[64];
    join.owner_size = owner;
    join.lineage = NAMES(N("", ""), N("abc", "d"));
    join.lineage_count = 2;
    assert_int_equal(lc_flight_join(*state, &join, &waiter, &flight, NULL), LC_FLIGHT_LEADER);
    assert_string_equal(lineage_of(flight, text, sizeof text), "/ abc/d g/odd");
    assert_true(lc_slice_eq(lc_flight_key(flight), S("odd")));
    finish(flight);
  }
}

static void test_a_key_that_waits_elsewhere_for_itself_is_refused(void **state) {
  refuse_from(*state, "a", NAMES(N("g", "a")), 1, "g/\"a\" waits for itself");
  refuse_from(*state, "a", NAMES(N("f", "0"), N("g", "a"), N("g", "b")), 3, "g/\"a\" waits for itself, by g/\"b\"");
}

static void test_the_same_key_of_another_group_is_no_cycle(void **state) {
  struct lc_flight_waiter waiter = {0};
  finish(lead_from(*state, "a", NAMES(N("f", "a"), N("ga", "")), 2, &waiter));
}

static void test_a_running_flight_that_waits_for_the_lineage_is_refused(void **state) {
  struct lc_flight_waiter own[3] = {0};
  struct lc_flight *a = lead(*state, "g", "a", NULL, &own[0]);
  struct lc_flight *b = lead(*state, "g", "b", a, &own[1]);
  struct lc_flight *c = lead(*state, "g", "c", b, &own[2]);
  refuse_from(*state, "a", NAMES(N("g", "c"), N("g", "d")), 2,
              "g/\"a\" waits for itself, by g/\"b\", g/\"c\", g/\"d\"");
  finish(c);
  finish(b);
  struct lc_flight_waiter late = {0};
  struct lc_flight *flight = NULL;
  assert_int_equal(join_from(*state, "a", NAMES(N("g", "c")), 1, &late, &flight, NULL), LC_FLIGHT_JOINED);
  assert_int_equal(finish(a), 2);
}

static void test_a_getter_here_that_asks_for_a_key_that_waits_elsewhere_is_refused(void **state) {
  struct lc_flight_waiter own[2] = {0};
  struct lc_flight *b = lead_from(*state, "b", NAMES(N("g", "a")), 1, &own[0]);
  struct lc_flight *c = lead(*state, "g", "c", b, &own[1]);
  refuse(*state, "g", "a", c, "g/\"a\" waits for itself, by g/\"b\", g/\"c\"");
  finish(c);
  finish(b);
}

/* Node A loads a, whose owner is elsewhere; there it asked for b, which is loaded here and asks for a. */
static void test_a_key_that_went_out_and_came_back_is_refused(void **state) {
  struct lc_flight_waiter own[2] = {0};
  struct lc_flight *a = lead(*state, "g", "a", NULL, &own[0]);
  struct lc_flight *b = lead_from(*state, "b", NAMES(N("g", "a")), 1, &own[1]);
  refuse(*state, "g", "a", b, "g/\"a\" waits for itself, by g/\"b\"");
  finish(b);
  finish(a);
}

static void test_a_getter_here_may_not_join_a_chain_that_ends_elsewhere_in_itself(void **state) {
  struct lc_flight_waiter own[3] = {0};
  struct lc_flight *c = lead(*state, "g", "c", NULL, &own[0]);
  struct lc_flight *a = lead(*state, "g", "a", c, &own[1]);
  struct lc_flight *b = lead_from(*state, "b", NAMES(N("g", "a")), 1, &own[2]);
  refuse(*state, "g", "c", b, "g/\"c\" waits for itself, by g/\"a\", g/\"b\"");
  finish(b);
  finish(a);
  finish(c);
}

static void test_an_ancestor_here_that_has_ended_may_be_asked_for(void **state) {
  struct lc_flight_waiter own[4] = {0};
  struct lc_flight *a = lead(*state, "g", "a", NULL, &own[0]);
  struct lc_flight *b = lead(*state, "g", "b", a, &own[1]);
  struct lc_flight *left = NULL;
  follow(*state, "g", "b", NULL, &own[2]);
  assert_int_equal(lc_flight_leave(*state, &own[1], 7, &left), LC_FLIGHT_LEFT);
  finish(a);
  finish(lead(*state, "g", "a", b, &own[3]));
  finish(b);
}

static void test_a_refresh_of_what_waits_elsewhere_is_refused(void **state) {
  struct lc_flight_waiter own = {0}, waiter = {0};
  struct lc_flight *a = lead(*state, "g", "a", NULL, &own);
  struct lc_flight_join join = ask("g", "a", NULL);
  struct lc_flight *flight = NULL;
  join.alone = true;
  join.lineage = NAMES(N("g", "a"));
  join.lineage_count = 1;
  assert_int_equal(lc_flight_join(*state, &join, &waiter, &flight, NULL), LC_EINVAL);
  finish(a);
}

static void test_depth_counts_loads_on_other_nodes(void **state) {
  static const struct lc_flight_name far[] = {N("f", "1"), N("f", "2"), N("f", "3"), N("f", "4"), N("f", "5"),
                                              N("f", "6"), N("f", "7"), N("f", "8"), N("f", "9")};
  struct lc_flight_waiter own[3] = {0};
  char text[128];
  struct lc_flight *seven = lead_from(*state, "a", far, 7, &own[0]);
  struct lc_flight *eight = lead(*state, "g", "b", seven, &own[1]);
  assert_string_equal(lineage_of(eight, text, sizeof text), "f/1 f/2 f/3 f/4 f/5 f/6 f/7 g/a g/b");
  refuse(*state, "g", "c", eight, "g/\"c\": getters that ask for one another are nested more than 8 deep");
  refuse_from(*state, "c", far, 9, "g/\"c\": getters that ask for one another are nested more than 8 deep");
  refuse_from(*state, "a", far, 8, "g/\"a\": getters that ask for one another are nested more than 8 deep");
  finish(lead_from(*state, "c", far, 8, &own[2]));
  finish(eight);
  finish(seven);
}

static struct lc_flight *lead_remote(struct lc_flight_table *table, struct lc_flight_waiter *waiter) {
  struct lc_flight_join join = ask("g", "k", NULL);
  struct lc_flight *flight = NULL;
  join.remote = true;
  assert_int_equal(lc_flight_join(table, &join, waiter, &flight, NULL), LC_FLIGHT_LEADER);
  return flight;
}

static void test_who_must_be_answered_here_begins_a_flight_beside_one_that_asks_elsewhere(void **state) {
  struct lc_flight_waiter own[2] = {0}, late[2] = {0};
  struct lc_flight *away = lead_remote(*state, &own[0]);
  struct lc_flight_join join = ask("g", "k", NULL);
  struct lc_flight *local = NULL, *none = NULL;
  join.here = true;
  assert_int_equal(lc_flight_join(*state, &join, &own[1], &local, NULL), LC_FLIGHT_LEADER);
  assert_int_equal(lc_flight_join(*state, &join, &late[0], &none, NULL), LC_FLIGHT_JOINED);
  follow(*state, "g", "k", NULL, &late[1]);
  assert_int_equal(finish(away), 1);
  assert_int_equal(finish(local), 3);
}

static void test_others_join_a_flight_that_asks_elsewhere(void **state) {
  struct lc_flight_waiter own = {0}, late = {0};
  struct lc_flight *away = lead_remote(*state, &own);
  follow(*state, "g", "k", NULL, &late);
  assert_int_equal(finish(away), 2);
}

static void test_without_memory_a_lineage_leaves_nothing_behind(void **state) {
  if (!lc_alloc_faults_built())
    skip();
  struct lc_flight_waiter waiter = {0};
  struct lc_flight *flight = NULL;
  lc_alloc_fail_at(1);
  assert_int_equal(join_from(*state, "a", NAMES(N("g", "b")), 1, &waiter, &flight, NULL), LC_ENOMEM);
  lc_alloc_fail_at(0);
  assert_null(waiter.flight);
}

static void count_call(void *arg) {
  ++*(int *)arg;
}

static void test_locked_runs_once_and_leaves_the_flight_alone(void **state) {
  struct lc_flight_waiter waiter = {0};
  int calls = 0;
  struct lc_flight *flight = lead(*state, "g", "k", NULL, &waiter);
  lc_flight_locked(*state, 7, count_call, &calls);
  assert_int_equal(calls, 1);
  struct lc_flight_waiter second = {0};
  follow(*state, "g", "k", NULL, &second);
  assert_int_equal(finish(flight), 2);
}

struct counter {
  struct lc_flight_table *table;
  int unguarded; /* written under the key's lock only: TSan would tell */
};

static void add_one(void *arg) {
  ((struct counter *)arg)->unguarded++;
}

static void *add_many(void *arg) {
  struct counter *counter = arg;
  for (int i = 0; i < 10000; i++)
    lc_flight_locked(counter->table, 7, add_one, counter);
  return NULL;
}

static void test_locked_keeps_threads_apart(void **state) {
  struct counter counter = {.table = *state};
  pthread_t threads[3];
  for (int i = 0; i < 3; i++)
    assert_int_equal(pthread_create(&threads[i], NULL, add_many, &counter), 0);
  for (int i = 0; i < 3; i++)
    pthread_join(threads[i], NULL);
  assert_int_equal(counter.unguarded, 30000);
}

#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void) {
  const struct CMUnitTest tests[] = {
      T(test_a_flight_of_no_lineage_names_itself),
      T(test_a_lineage_is_copied_and_outlives_what_it_came_from),
      T(test_odd_lengths_and_owner_sizes_keep_the_names_whole),
      T(test_a_key_that_waits_elsewhere_for_itself_is_refused),
      T(test_the_same_key_of_another_group_is_no_cycle),
      T(test_a_running_flight_that_waits_for_the_lineage_is_refused),
      T(test_a_getter_here_that_asks_for_a_key_that_waits_elsewhere_is_refused),
      T(test_a_key_that_went_out_and_came_back_is_refused),
      T(test_a_getter_here_may_not_join_a_chain_that_ends_elsewhere_in_itself),
      T(test_an_ancestor_here_that_has_ended_may_be_asked_for),
      T(test_a_refresh_of_what_waits_elsewhere_is_refused),
      T(test_depth_counts_loads_on_other_nodes),
      T(test_who_must_be_answered_here_begins_a_flight_beside_one_that_asks_elsewhere),
      T(test_others_join_a_flight_that_asks_elsewhere),
      T(test_without_memory_a_lineage_leaves_nothing_behind),
      T(test_locked_runs_once_and_leaves_the_flight_alone),
      T(test_locked_keeps_threads_apart),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
