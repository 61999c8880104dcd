#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "test_group_peers.h"

/* Gets on a node that has peers: hits, the fence, Gets of other nodes. */

/* ---- hits ---- */

static void test_a_copy_answers_by_its_tag_and_by_who_owns_the_key(void **state) {
  const struct {
    bool mirror, other_view, ours;
    enum lc_from from; /* LC_FROM_UNSPECIFIED: it doesn't answer */
  } rows[] = {
      {false, false, true, LC_FROM_STORE},       {false, true, true, LC_FROM_STORE},
      {false, true, false, LC_FROM_UNSPECIFIED}, {true, false, false, LC_FROM_MIRROR},
      {true, true, false, LC_FROM_MIRROR},       {true, true, true, LC_FROM_UNSPECIFIED},
  };
  struct peers *peers = *state;
  for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
    char key[8];
    snprintf(key, sizeof key, "k%zu", i);
    if (rows[i].mirror)
      mirror_copy(peers, key);
    else
      own_copy(peers, key, "now");
    peers->view += rows[i].other_view;
    peers->ours = rows[i].ours;
    if (rows[i].from == LC_FROM_UNSPECIFIED)
      expect_none(peers, key);
    else
      expect_from(peers, key, rows[i].from, "now");
  }
  assert_int_equal(stats_of(peers).mirror_hits, 2);
}

static void test_views_are_compared_modulo_their_bits(void **state) {
  struct peers *peers = *state;
  peers->view = LC_ITEM_VIEW_MASK + 3;
  own_copy(peers, "k", "v");
  peers->ours = false; /* the tag alone decides */
  expect_from(peers, "k", LC_FROM_STORE, "v");
  peers->view++;
  expect_none(peers, "k");
}

static void test_a_former_owners_copy_serves_again_when_it_owns_again(void **state) {
  struct peers *peers = *state;
  own_copy(peers, "k", "v");
  peers->view++;
  peers->ours = false;
  expect_none(peers, "k");
  peers->view++;
  peers->ours = true;
  expect_from(peers, "k", LC_FROM_STORE, "v");
}

static void test_a_mirror_is_never_promoted_but_replaced_by_a_load(void **state) {
  struct peers *peers = *state;
  struct call call;
  mirror_copy(peers, "k");
  peers->view++;
  peers->ours = true;
  begin(peers, &call, "k");
  fake_finish(&peers->fake, peers->fake.started - 1, "own");
  assert_value(&call, LC_FROM_SOURCE, "own");
  call_fini(&call);
  expect_from(peers, "k", LC_FROM_STORE, "own");
  fake_advance(&peers->fake, 60000);
  expect_from(peers, "k", LC_FROM_STORE, "own");
}

static void test_a_hit_allocates_nothing_with_peers_either(void **state) {
  if (!lc_alloc_faults_built())
    skip();
  struct peers *peers = *state;
  own_copy(peers, "k", "v");
  lc_alloc_fail_at(0);
  expect_from(peers, "k", LC_FROM_STORE, "v");
  assert_int_equal(lc_alloc_fail_at(0), 0);
}

/* ---- the fence ---- */

static void test_gets_wait_while_copies_may_not_be_served(void **state) {
  struct peers *peers = *state;
  struct call hit, cached, miss;
  own_copy(peers, "k", "v");
  peers->stale = true;
  begin(peers, &hit, "k");
  call_init(&peers->fake, &cached, 1, "g", "none");
  cached.get.only_if_cached = true;
  assert_int_equal(call_start(&peers->fake, &cached), LC_PENDING);
  begin(peers, &miss, "m");
  fake_advance(&peers->fake, 100);
  assert_int_equal(hit.done + cached.done + miss.done, 0);
  assert_int_equal(peers->fake.started, 0);
  cached.get.worker = 0; /* the fake wakes all on worker 0 */
  peers_fresh(peers);
  assert_int_equal(hit.done, 1);
  assert_value(&hit, LC_FROM_STORE, "v");
  assert_int_equal(cached.done, 1);
  assert_failed(&cached, LC_ENOTFOUND, "not in the cache");
  assert_int_equal(miss.done, 0);
  fake_finish(&peers->fake, 0, "loaded");
  assert_value(&miss, LC_FROM_SOURCE, "loaded");
  assert_int_equal(stats_of(peers).gets, 3);
  call_fini(&hit);
  call_fini(&cached);
  call_fini(&miss);
}

static void test_a_parked_get_that_is_cancelled_is_over(void **state) {
  struct peers *peers = *state;
  struct call call;
  peers->stale = true;
  begin(peers, &call, "k");
  assert_true(lc_get_cancel(peers->fake.groups, &call.get));
  assert_failed(&call, LC_ECANCELLED, "cancelled");
  assert_false(lc_get_cancel(peers->fake.groups, &call.get));
  assert_true(lc_list_empty(&peers->parked));
  peers_fresh(peers);
  assert_int_equal(call.done, 0);
  call_fini(&call);
}

static void test_a_get_that_was_parked_can_be_cancelled_while_it_loads(void **state) {
  struct peers *peers = *state;
  struct call call;
  peers->stale = true;
  begin(peers, &call, "k");
  peers_fresh(peers);
  assert_true(lc_get_cancel(peers->fake.groups, &call.get));
  fake_run(&peers->fake);
  assert_int_equal(peers->fake.cancelled, 1);
  call_fini(&call);
}

static void test_a_node_that_stood_still_again_parks_again(void **state) {
  struct peers *peers = *state;
  struct call call;
  own_copy(peers, "k", "v");
  peers->stale = true;
  begin(peers, &call, "k");
  struct lc_list *node = lc_list_pop_front(&peers->parked);
  struct lc_peer_fresh *waiting = lc_container_of(node, struct lc_peer_fresh, link);
  waiting->done(waiting);
  assert_int_equal(call.done, 0);
  assert_int_equal(peers->parked_times, 2);
  peers_fresh(peers);
  assert_value(&call, LC_FROM_STORE, "v");
  call_fini(&call);
}

static void test_bad_arguments_are_refused_without_waiting(void **state) {
  struct peers *peers = *state;
  struct call call;
  peers->stale = true;
  assert_int_equal(call_get(&peers->fake, &call, 0, "nope", "k"), LC_ENOTFOUND);
  call_fini(&call);
}

/* ---- what other nodes forward to us ---- */

static void test_a_forwarded_get_is_loaded_here_whatever_the_ring_says(void **state) {
  struct peers *peers = *state;
  struct call call;
  peers->ours = false;
  forwarded(peers, &call, "k", NULL, 0);
  assert_int_equal(call_start(&peers->fake, &call), LC_PENDING);
  assert_int_equal(peers->got, 0);
  fake_finish(&peers->fake, 0, "v");
  assert_value(&call, LC_FROM_SOURCE, "v");
  call_fini(&call);
  expect_from(peers, "k", LC_FROM_MIRROR, "v");
  assert_int_equal(stats_of(peers).served, 1);
}

static void test_a_forwarded_get_may_peek_where_we_own_the_key(void **state) {
  struct peers *peers = *state;
  struct call call;
  peers->peek_rc = LC_PENDING;
  forwarded(peers, &call, "k", NULL, 0);
  assert_int_equal(call_start(&peers->fake, &call), LC_PENDING);
  peers_value(peers, 0, "kept", 0, true);
  assert_value(&call, LC_FROM_PEER, "kept");
  call_fini(&call);
}

static void test_a_forwarded_get_does_not_wait_for_a_forward(void **state) {
  struct peers *peers = *state;
  struct call local, call, other;
  peers->ours = false;
  begin(peers, &local, "k");
  forwarded(peers, &call, "k", NULL, 0);
  assert_int_equal(call_start(&peers->fake, &call), LC_PENDING);
  assert_int_equal(peers->fake.started, 1);
  forwarded(peers, &other, "k", NULL, 0);
  assert_int_equal(call_start(&peers->fake, &other), LC_PENDING);
  assert_int_equal(peers->fake.started, 1); /* but joins a load that runs here */
  fake_finish(&peers->fake, 0, "here");
  assert_value(&call, LC_FROM_SOURCE, "here");
  assert_value(&other, LC_FROM_SOURCE, "here");
  peers_value(peers, 0, "there", 0, true);
  assert_value(&local, LC_FROM_PEER, "there");
  call_fini(&local);
  call_fini(&call);
  call_fini(&other);
}

static void test_a_local_get_joins_what_was_forwarded_here(void **state) {
  struct peers *peers = *state;
  struct call local, call;
  peers->ours = false;
  forwarded(peers, &call, "k", NULL, 0);
  assert_int_equal(call_start(&peers->fake, &call), LC_PENDING);
  begin(peers, &local, "k");
  assert_int_equal(peers->got, 0);
  fake_finish(&peers->fake, 0, "here");
  assert_value(&local, LC_FROM_SOURCE, "here");
  call_fini(&local);
  call_fini(&call);
}

/* ---- lineage ---- */

static void ask_from(struct peers *peers, struct call *call, size_t load, const char *key) {
  call_init(&peers->fake, call, 0, "g", key);
  call->get.parent = fake_load(&peers->fake, load);
}

static void test_a_forward_carries_the_loads_that_wait_for_it(void **state) {
  struct peers *peers = *state;
  struct call outer, middle, inner;
  const struct lc_flight_name from = {lc_slice_str("h"), lc_slice_str("x")};
  forwarded(peers, &outer, "a", &from, 1);
  outer.get.worker = 0;
  assert_int_equal(call_start(&peers->fake, &outer), LC_PENDING);
  ask_from(peers, &middle, 0, "b");
  assert_int_equal(call_start(&peers->fake, &middle), LC_PENDING);
  ask_from(peers, &inner, 1, "far");
  assert_int_equal(call_start(&peers->fake, &inner), LC_PENDING);
  assert_string_equal(peers->lineage, "h/x g/a g/b");
  peers_value(peers, 0, "v", 0, false);
  fake_finish(&peers->fake, 1, "v");
  fake_finish(&peers->fake, 0, "v");
  call_fini(&outer);
  call_fini(&middle);
  call_fini(&inner);
}

static void test_a_forwarded_get_for_a_key_that_waits_for_it_is_refused(void **state) {
  struct peers *peers = *state;
  struct call outer, inner, back;
  begin(peers, &outer, "a");
  ask_from(peers, &inner, 0, "far");
  assert_int_equal(call_start(&peers->fake, &inner), LC_PENDING);
  const struct lc_flight_name lineage[] = {{lc_slice_str("g"), lc_slice_str("a")},
                                           {lc_slice_str("g"), lc_slice_str("far")}};
  forwarded(peers, &back, "a", lineage, 2); /* the other node's getter asks us for a */
  assert_int_equal(call_start(&peers->fake, &back), LC_EINVAL);
  call_fini(&back);
  peers_outcome(peers, 0, LC_PEER_FAILED, LC_EINVAL, "g/\"a\" waits for itself");
  fake_finish(&peers->fake, 0, "v");
  call_fini(&outer);
  call_fini(&inner);
}

static void test_a_parked_get_keeps_its_lineage(void **state) {
  struct peers *peers = *state;
  struct call call;
  char group[] = "g", key[] = "a";
  struct lc_flight_name lineage[] = {{lc_slice_str(group), lc_slice_str(key)}};
  peers->stale = true;
  forwarded(peers, &call, "a", lineage, 1);
  call.get.worker = 0;
  assert_int_equal(call_start(&peers->fake, &call), LC_PENDING);
  group[0] = key[0] = '?';
  memset(lineage, 0, sizeof lineage);
  peers_fresh(peers);
  assert_int_equal(call.get.code, LC_EINVAL);
  assert_int_equal(call.done, 1);
  call_fini(&call);
}

static void test_corking_reaches_the_peers(void **state) {
  struct peers *peers = *state;
  lc_groups_cork(peers->fake.groups, 0);
  assert_int_equal(peers->corked, 1);
  lc_groups_uncork(peers->fake.groups, 0);
  assert_int_equal(peers->corked, 0);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      PEERS_TEST(test_a_copy_answers_by_its_tag_and_by_who_owns_the_key),
      PEERS_TEST(test_views_are_compared_modulo_their_bits),
      PEERS_TEST(test_a_former_owners_copy_serves_again_when_it_owns_again),
      PEERS_TEST(test_a_mirror_is_never_promoted_but_replaced_by_a_load),
      PEERS_TEST(test_a_hit_allocates_nothing_with_peers_either),
      PEERS_TEST(test_gets_wait_while_copies_may_not_be_served),
      PEERS_TEST(test_a_parked_get_that_is_cancelled_is_over),
      PEERS_TEST(test_a_get_that_was_parked_can_be_cancelled_while_it_loads),
      PEERS_TEST(test_a_node_that_stood_still_again_parks_again),
      PEERS_TEST(test_bad_arguments_are_refused_without_waiting),
      PEERS_TEST(test_a_forwarded_get_is_loaded_here_whatever_the_ring_says),
      PEERS_TEST(test_a_forwarded_get_may_peek_where_we_own_the_key),
      PEERS_TEST(test_a_forwarded_get_does_not_wait_for_a_forward),
      PEERS_TEST(test_a_local_get_joins_what_was_forwarded_here),
      PEERS_TEST(test_a_forward_carries_the_loads_that_wait_for_it),
      PEERS_TEST(test_a_forwarded_get_for_a_key_that_waits_for_it_is_refused),
      PEERS_TEST(test_a_parked_get_keeps_its_lineage),
      PEERS_TEST(test_corking_reaches_the_peers),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
