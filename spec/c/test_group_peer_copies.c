#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "test_group_peers.h"

/* What other nodes do to the copies here. */

#define CONTROL FAKE_WORKERS /* the control thread's number */

static struct lc_item *peek(struct peers *peers, const char *key) {
  return lc_group_peek(peers->fake.groups, lc_slice_str("g"), lc_slice_str(key), 0);
}

static void expect_peek(struct peers *peers, const char *key, const char *value) {
  struct lc_item *item = peek(peers, key);
  assert_non_null(item);
  assert_true(lc_slice_eq(lc_item_value(item), lc_slice_str(value)));
  lc_item_unref(item);
}

static void count(void *arg) {
  ++*(int *)arg;
}

static bool invalidate(struct peers *peers, const char *group, const char *key, int *under) {
  return lc_group_invalidate(peers->fake.groups, lc_slice_str(group), lc_slice_str(key), 0, count, under);
}

static void test_a_peek_gives_an_owners_and_a_former_owners_copy(void **state) {
  struct peers *peers = *state;
  own_copy(peers, "k", "own");
  expect_peek(peers, "k", "own");
  peers->ours = false;
  peers->view++;
  expect_peek(peers, "k", "own");
  assert_null(peek(peers, "none"));
  assert_null(lc_group_peek(peers->fake.groups, lc_slice_str("nope"), lc_slice_str("k"), 0));
}

static void test_a_peek_never_gives_a_mirror(void **state) {
  struct peers *peers = *state;
  mirror_copy(peers, "k");
  peers->ours = false;
  assert_null(peek(peers, "k"));
  peers->view++;
  peers->ours = true;
  assert_null(peek(peers, "k"));
}

static void test_a_peek_gives_nothing_while_copies_may_not_be_served(void **state) {
  struct peers *peers = *state;
  own_copy(peers, "k", "own");
  peers->stale = true;
  assert_null(peek(peers, "k"));
  peers->stale = false;
  expect_peek(peers, "k", "own");
}

static void test_an_invalidation_drops_any_copy(void **state) {
  struct peers *peers = *state;
  int under = 0;
  own_copy(peers, "own", "own");
  own_copy(peers, "former", "own");
  mirror_copy(peers, "mirror");
  peers->ours = false;
  peers->view++;
  assert_true(invalidate(peers, "g", "own", &under));
  assert_true(invalidate(peers, "g", "former", &under));
  assert_true(invalidate(peers, "g", "mirror", &under));
  assert_false(invalidate(peers, "g", "none", &under));
  assert_false(invalidate(peers, "nope", "k", &under));
  assert_int_equal(under, 5);
  assert_null(peek(peers, "own"));
  assert_null(peek(peers, "former"));
  expect_none(peers, "mirror");
  assert_int_equal(fake_stats(&peers->fake, 0).invalidated, 4);
  assert_int_equal(fake_stats(&peers->fake, 0).store.items, 0);
}

static void test_the_control_thread_invalidates_and_counts_too(void **state) {
  struct peers *peers = *state;
  own_copy(peers, "k", "own");
  assert_true(lc_group_invalidate(peers->fake.groups, lc_slice_str("g"), lc_slice_str("k"), CONTROL, NULL, NULL));
  assert_int_equal(fake_stats(&peers->fake, 0).invalidated, 1);
}

struct gate {
  bool open;
  int asked;
};

static bool allow(void *arg) {
  struct gate *gate = arg;
  gate->asked++;
  return gate->open;
}

static bool add(struct peers *peers, const char *key, const char *value, int64_t ttl_ms, struct gate *gate) {
  return lc_group_add(peers->fake.groups, lc_slice_str("g"), lc_slice_str(key), lc_slice_str(value), ttl_ms, 1, allow,
                      gate);
}

static void test_a_handed_over_item_is_stored_as_our_own(void **state) {
  struct peers *peers = *state;
  struct gate gate = {true, 0};
  assert_true(add(peers, "k", "given", 1000, &gate));
  assert_true(add(peers, "ever", "given", 0, &gate));
  assert_int_equal(gate.asked, 2);
  expect_from(peers, "k", LC_FROM_STORE, "given");
  expect_peek(peers, "k", "given");
  assert_int_equal(fake_stats(&peers->fake, 0).added, 2);
  fake_advance(&peers->fake, 1000);
  expect_none(peers, "k");
  fake_advance(&peers->fake, 100000);
  expect_from(peers, "ever", LC_FROM_STORE, "given");
}

static void test_a_handed_over_item_is_refused_for_what_is_here_or_not_ours_or_written(void **state) {
  struct peers *peers = *state;
  struct gate gate = {true, 0}, shut = {false, 0};
  own_copy(peers, "k", "own");
  assert_false(add(peers, "k", "given", 0, &gate));
  expect_from(peers, "k", LC_FROM_STORE, "own");
  assert_false(add(peers, "far", "given", 0, &gate));
  assert_int_equal(gate.asked, 0);
  assert_false(add(peers, "written", "given", 0, &shut));
  assert_int_equal(shut.asked, 1);
  expect_none(peers, "written");
  assert_false(add(peers, "", "given", 0, &gate));
  assert_false(
      lc_group_add(peers->fake.groups, lc_slice_str("nope"), lc_slice_str("k"), lc_slice_str("v"), 0, 0, allow, &gate));
  size_t size = 5242880;
  void *big = calloc(1, size);
  assert_false(lc_group_add(peers->fake.groups, lc_slice_str("g"), lc_slice_str("big"), lc_slice_of(big, size), 0, 0,
                            allow, &gate));
  free(big);
  assert_int_equal(gate.asked, 0);
  assert_int_equal(fake_stats(&peers->fake, 0).added, 0);
}

static void test_a_mirror_gives_way_to_a_handed_over_item(void **state) {
  struct peers *peers = *state;
  struct gate gate = {true, 0};
  mirror_copy(peers, "k");
  peers->ours = false;
  peers->ours = true;
  peers->view++;
  assert_true(add(peers, "k", "given", 0, &gate));
  expect_from(peers, "k", LC_FROM_STORE, "given");
  assert_int_equal(fake_stats(&peers->fake, 0).store.mirrors, 0);
}

static void test_adding_without_memory_adds_nothing(void **state) {
  if (!lc_alloc_faults_built())
    skip();
  struct peers *peers = *state;
  struct gate gate = {true, 0};
  lc_alloc_fail_at(1);
  assert_false(add(peers, "k", "given", 0, &gate));
  lc_alloc_fail_at(0);
  expect_none(peers, "k");
}

static void test_dropping_all_empties_every_group_and_detaches_all_loads(void **state) {
  struct peers *peers = *state;
  struct call loading, other;
  own_copy(peers, "k", "own");
  mirror_copy(peers, "m");
  peers->ours = false;
  peers->ours = true;
  assert_int_equal(call_get(&peers->fake, &loading, 0, "g", "l"), LC_PENDING);
  assert_int_equal(call_get(&peers->fake, &other, 0, "h", "l"), LC_PENDING);
  lc_groups_drop_all(peers->fake.groups);
  fake_finish(&peers->fake, peers->fake.started - 2, "old");
  fake_finish(&peers->fake, peers->fake.started - 1, "old");
  assert_value(&loading, LC_FROM_SOURCE, "old");
  call_fini(&loading);
  call_fini(&other);
  expect_none(peers, "k");
  expect_none(peers, "m");
  expect_none(peers, "l");
  assert_int_equal(fake_stats(&peers->fake, 0).store.items, 0);
  assert_int_equal(fake_stats(&peers->fake, 1).store.items, 0);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      PEERS_TEST(test_a_peek_gives_an_owners_and_a_former_owners_copy),
      PEERS_TEST(test_a_peek_never_gives_a_mirror),
      PEERS_TEST(test_a_peek_gives_nothing_while_copies_may_not_be_served),
      PEERS_TEST(test_an_invalidation_drops_any_copy),
      PEERS_TEST(test_the_control_thread_invalidates_and_counts_too),
      PEERS_TEST(test_a_handed_over_item_is_stored_as_our_own),
      PEERS_TEST(test_a_handed_over_item_is_refused_for_what_is_here_or_not_ours_or_written),
      PEERS_TEST(test_a_mirror_gives_way_to_a_handed_over_item),
      PEERS_TEST(test_adding_without_memory_adds_nothing),
      PEERS_TEST(test_dropping_all_empties_every_group_and_detaches_all_loads),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
