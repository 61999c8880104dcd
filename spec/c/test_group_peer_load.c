#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "test_group_peers.h"

/* Loads on a node that has peers: forwards, mirrors, peeks. */

/* ---- forwarding ---- */

static void test_another_nodes_key_is_asked_of_its_owner(void **state) {
  struct peers *peers = *state;
  struct call call, second;
  peers->ours = false;
  begin(peers, &call, "k");
  assert_int_equal(call_get(&peers->fake, &second, 1, "g", "k"), LC_PENDING);
  assert_int_equal(peers->got, 1);
  assert_false(peers->gets[0]->peek);
  assert_false(peers->gets[0]->refresh);
  assert_int_equal(peers->gets[0]->deadline_ms, peers->fake.now_ms + 5000);
  assert_string_equal(peers->lineage, "");
  assert_int_equal(fake_stats(&peers->fake, 0).flights, 1);
  peers_value(peers, 0, "theirs", 7000, true);
  assert_value(&call, LC_FROM_PEER, "theirs");
  assert_value(&second, LC_FROM_PEER, "theirs");
  assert_int_equal(call.get.ttl_ms, 7000);
  call_fini(&call);
  call_fini(&second);
  struct lc_group_stats stats = stats_of(peers);
  assert_int_equal(stats.forwards, 1);
  assert_int_equal(stats.forward_fails, 0);
  assert_int_equal(stats.loads, 0);
  assert_int_equal(stats.coalesced, 1);
  assert_int_equal(stats.flights, 0);
  assert_int_equal(peers->fake.started, 0);
  expect_none(peers, "k"); /* not hot */
}

static void test_not_found_and_failures_there_are_answers(void **state) {
  struct peers *peers = *state;
  struct call call;
  peers->ours = false;
  begin(peers, &call, "a");
  peers_outcome(peers, 0, LC_PEER_NOT_FOUND, 0, "");
  assert_failed(&call, LC_ENOTFOUND, "not found");
  call_fini(&call);
  begin(peers, &call, "b");
  peers_outcome(peers, 1, LC_PEER_FAILED, LC_EUNAVAILABLE, "the source is down");
  assert_failed(&call, LC_EUNAVAILABLE, "the source is down");
  call_fini(&call);
  begin(peers, &call, "c");
  peers_outcome(peers, 2, LC_PEER_FAILED, 0, "odd");
  assert_failed(&call, LC_EINTERNAL, "odd");
  call_fini(&call);
  assert_int_equal(peers->fake.started, 0);
  assert_int_equal(stats_of(peers).forward_fails, 0);
  assert_int_equal(stats_of(peers).load_errors, 0); /* counted where it was loaded */
}

static void test_what_the_owner_cannot_answer_is_loaded_here_as_a_mirror(void **state) {
  struct peers *peers = *state;
  const enum lc_peer_outcome outcomes[] = {LC_PEER_UNREACHED, LC_PEER_NOT_CACHED, LC_PEER_NOT_OWNER};
  peers->ours = false;
  for (size_t i = 0; i < 3; i++) {
    struct call call;
    char key[8];
    snprintf(key, sizeof key, "k%zu", i);
    begin(peers, &call, key);
    peers_outcome(peers, i, outcomes[i], 0, "");
    assert_int_equal(call.done, 0);
    fake_finish(&peers->fake, i, "loaded");
    assert_value(&call, LC_FROM_SOURCE, "loaded");
    assert_int_equal(call.get.ttl_ms, 0); /* of the value, not of the copy */
    call_fini(&call);
    expect_from(peers, key, LC_FROM_MIRROR, "loaded");
  }
  assert_int_equal(stats_of(peers).forward_fails, 3);
  assert_int_equal(stats_of(peers).loads, 3);
  assert_int_equal(stats_of(peers).store.mirrors, 3);
}

static void test_a_mirror_lives_as_long_as_mirror_ttl_from_when_its_load_began(void **state) {
  struct peers *peers = *state;
  struct call call;
  peers->ours = false;
  peers->get_rc = LC_EUNAVAILABLE;
  begin(peers, &call, "k");
  fake_advance(&peers->fake, 1000);
  fake_finish(&peers->fake, 0, "v");
  call_fini(&call);
  fake_advance(&peers->fake, 3999);
  expect_from(peers, "k", LC_FROM_MIRROR, "v");
  fake_advance(&peers->fake, 1);
  expect_none(peers, "k");
}

static void ttl_of_two_seconds(struct lc_group_options options[2]) {
  options[0].ttl_ms = 2000;
}

static void test_a_ttl_shorter_than_mirror_ttl_is_kept(void **state) {
  (void)state;
  struct peers peers;
  peers_init(&peers, ttl_of_two_seconds);
  mirror_copy(&peers, "k");
  peers.ours = false;
  fake_advance(&peers.fake, 1999);
  expect_from(&peers, "k", LC_FROM_MIRROR, "now");
  fake_advance(&peers.fake, 1);
  expect_none(&peers, "k");
  peers_fini(&peers);
}

static void no_mirrors(struct lc_group_options options[2]) {
  options[0].mirror_ttl_ms = 0;
  options[1].mirror_ttl_ms = 0;
}

static void test_without_mirror_ttl_nothing_of_other_nodes_is_kept(void **state) {
  (void)state;
  struct peers peers;
  peers_init(&peers, no_mirrors);
  peers.ours = false;
  mirror_copy(&peers, "k");
  expect_none(&peers, "k");
  for (size_t i = 0; i < 20; i++) {
    struct call call;
    begin(&peers, &call, "k");
    peers_value(&peers, i, "theirs", 0, true);
    call_fini(&call);
  }
  expect_none(&peers, "k");
  peers_fini(&peers);
}

static void test_a_down_owner_is_not_waited_for(void **state) {
  struct peers *peers = *state;
  struct call call;
  peers->ours = false;
  peers->get_rc = LC_EUNAVAILABLE;
  begin(peers, &call, "k");
  assert_int_equal(peers->got, 0);
  fake_finish(&peers->fake, 0, "v");
  assert_value(&call, LC_FROM_SOURCE, "v");
  call_fini(&call);
  assert_int_equal(stats_of(peers).forwards, 1);
  assert_int_equal(stats_of(peers).forward_fails, 1);
}

static void test_no_memory_for_a_forward_is_an_error_not_a_load(void **state) {
  struct peers *peers = *state;
  struct call call;
  peers->ours = false;
  peers->get_rc = LC_ENOMEM;
  assert_int_equal(call_get(&peers->fake, &call, 0, "g", "k"), LC_ENOMEM);
  assert_failed(&call, LC_ENOMEM, "out of memory");
  call_fini(&call);
  peers->get_rc = LC_EEXHAUSTED;
  assert_int_equal(call_get(&peers->fake, &call, 0, "g", "k"), LC_EEXHAUSTED);
  call_fini(&call);
  assert_int_equal(peers->fake.started, 0);
}

static void one_load(struct lc_group_options options[2]) {
  options[0].max_loads = 1;
}

static void test_max_loads_bounds_getters_and_not_forwards(void **state) {
  (void)state;
  struct peers peers;
  struct call calls[3];
  peers_init(&peers, one_load);
  peers.ours = false;
  begin(&peers, &calls[0], "a");
  begin(&peers, &calls[1], "b");
  begin(&peers, &calls[2], "c");
  peers_outcome(&peers, 0, LC_PEER_UNREACHED, 0, "");
  peers_outcome(&peers, 1, LC_PEER_UNREACHED, 0, "");
  assert_int_equal(calls[0].done, 0);
  assert_int_equal(calls[1].get.code, LC_EEXHAUSTED);
  peers_value(&peers, 2, "v", 0, false);
  fake_finish(&peers.fake, 0, "v");
  for (int i = 0; i < 3; i++)
    call_fini(&calls[i]);
  assert_int_equal(stats_of(&peers).refused, 1);
  peers_fini(&peers);
}

static void test_draining_refuses_new_forwards_and_lets_begun_ones_fall_back(void **state) {
  struct peers *peers = *state;
  struct call begun, late;
  peers->ours = false;
  begin(peers, &begun, "a");
  assert_false(lc_groups_draining(peers->fake.groups));
  lc_groups_drain(peers->fake.groups);
  assert_true(lc_groups_draining(peers->fake.groups));
  assert_int_equal(call_get(&peers->fake, &late, 0, "g", "b"), LC_EUNAVAILABLE);
  call_fini(&late);
  peers_outcome(peers, 0, LC_PEER_UNREACHED, 0, "");
  fake_finish(&peers->fake, 0, "v");
  assert_value(&begun, LC_FROM_SOURCE, "v");
  call_fini(&begun);
}

/* ---- peeking ---- */

static void test_an_owner_asks_the_previous_one_before_the_source(void **state) {
  struct peers *peers = *state;
  struct call call;
  peers->peek_rc = LC_PENDING;
  begin(peers, &call, "k");
  assert_int_equal(peers->got, 1);
  assert_true(peers->gets[0]->peek);
  assert_int_equal(peers->fake.started, 0);
  fake_advance(&peers->fake, 50);
  peers_value(peers, 0, "kept", 1000, true);
  assert_value(&call, LC_FROM_PEER, "kept");
  assert_int_equal(call.get.ttl_ms, 950);
  call_fini(&call);
  expect_from(peers, "k", LC_FROM_STORE, "kept");
  fake_advance(&peers->fake, 950);
  expect_none(peers, "k");
  assert_int_equal(stats_of(peers).peeks, 1);
  assert_int_equal(stats_of(peers).peek_hits, 1);
  assert_int_equal(stats_of(peers).loads, 0);
}

static void test_a_peek_that_finds_nothing_goes_on_to_the_source(void **state) {
  struct peers *peers = *state;
  const enum lc_peer_outcome outcomes[] = {LC_PEER_NOT_CACHED, LC_PEER_UNREACHED, LC_PEER_NOT_FOUND, LC_PEER_FAILED};
  peers->peek_rc = LC_PENDING;
  for (size_t i = 0; i < 4; i++) {
    struct call call;
    char key[8];
    snprintf(key, sizeof key, "k%zu", i);
    begin(peers, &call, key);
    peers_outcome(peers, i, outcomes[i], LC_EINTERNAL, "no");
    fake_finish(&peers->fake, i, "loaded");
    assert_value(&call, LC_FROM_SOURCE, "loaded");
    call_fini(&call);
    expect_from(peers, key, LC_FROM_STORE, "loaded");
  }
  assert_int_equal(stats_of(peers).peek_hits, 0);
  assert_int_equal(stats_of(peers).store.mirrors, 0);
}

static void test_a_peek_without_memory_goes_on_to_the_source(void **state) {
  struct peers *peers = *state;
  peers->peek_rc = LC_ENOMEM;
  peers->fake.on_start = fake_answer_now;
  expect_from(peers, "k", LC_FROM_SOURCE, "now");
}

static void test_an_owners_load_is_tagged_with_the_view_it_began_under(void **state) {
  struct peers *peers = *state;
  struct call call;
  begin(peers, &call, "k");
  peers->view++;
  peers->ours = false;
  fake_finish(&peers->fake, 0, "v");
  call_fini(&call);
  expect_none(peers, "k");
  struct lc_item *item = lc_group_peek(peers->fake.groups, lc_slice_str("g"), lc_slice_str("k"), 0);
  assert_non_null(item);
  assert_int_equal(lc_item_view(item), 1);
  lc_item_unref(item);
}

static void lose_the_key(struct fake *fake) {
  struct peers *peers = lc_container_of(fake, struct peers, fake);
  peers->ours = false;
  peers->view = 2;
}

/* Another thread changes the ring between the question who owns the key and the load's own look at the view. */
static void test_a_load_that_began_while_the_key_was_lost_ends_as_a_former_copy(void **state) {
  struct peers *peers = *state;
  struct call call;
  call_init(&peers->fake, &call, 0, "g", "k");
  call.get.refresh = true; /* so that nobody asks for the time before the load */
  peers->fake.on_now = lose_the_key;
  assert_int_equal(call_start(&peers->fake, &call), LC_PENDING);
  peers->fake.on_now = NULL;
  fake_finish(&peers->fake, 0, "v");
  call_fini(&call);
  expect_none(peers, "k");
}

/* ---- refresh ---- */

static void refresh(struct peers *peers, struct call *call, const char *key) {
  call_init(&peers->fake, call, 0, "g", key);
  call->get.refresh = true;
  assert_int_equal(call_start(&peers->fake, call), LC_PENDING);
}

static void test_a_refresh_skips_the_peek(void **state) {
  struct peers *peers = *state;
  struct call call;
  peers->peek_rc = LC_PENDING;
  refresh(peers, &call, "k");
  assert_int_equal(peers->got, 0);
  fake_finish(&peers->fake, 0, "new");
  assert_value(&call, LC_FROM_SOURCE, "new");
  call_fini(&call);
}

static void test_a_refresh_of_another_nodes_key_drops_the_old_mirror(void **state) {
  struct peers *peers = *state;
  struct call call;
  mirror_copy(peers, "k");
  peers->ours = false;
  refresh(peers, &call, "k");
  assert_true(peers->gets[0]->refresh);
  peers_value(peers, 0, "new", 0, true);
  assert_value(&call, LC_FROM_PEER, "new");
  call_fini(&call);
  expect_none(peers, "k");
}

static void test_a_refresh_of_a_hot_key_replaces_the_mirror(void **state) {
  struct peers *peers = *state;
  struct call call;
  peers->ours = false;
  assert_int_equal(forward_often(peers, "k", 100, true), 7);
  refresh(peers, &call, "k");
  peers_value(peers, peers->got - 1, "new", 0, true);
  call_fini(&call);
  expect_from(peers, "k", LC_FROM_MIRROR, "new");
}

/* ---- detach, cancel and time-out in each step ---- */

enum step { FORWARD, PEEK, FALLBACK };

static void begin_step(struct peers *peers, struct call *call, enum step step) {
  peers->ours = step == PEEK;
  peers->peek_rc = LC_PENDING;
  begin(peers, call, "k");
  if (step == FALLBACK)
    peers_outcome(peers, peers->got - 1, LC_PEER_UNREACHED, 0, "");
}

static void end_step(struct peers *peers, enum step step, const char *value) {
  if (step == FALLBACK)
    fake_finish(&peers->fake, peers->fake.started - 1, value);
  else
    peers_value(peers, peers->got - 1, value, 0, true);
}

static void test_an_invalidation_detaches_a_load_in_each_step(void **state) {
  struct peers *peers = *state;
  for (enum step step = FORWARD; step <= FALLBACK; step++) {
    struct call call;
    peers->ours = false;
    forward_often(peers, "k", 6, false); /* the next would be kept */
    begin_step(peers, &call, step);
    assert_false(lc_group_invalidate(peers->fake.groups, lc_slice_str("g"), lc_slice_str("k"), 0, NULL, NULL));
    end_step(peers, step, "old");
    assert_int_equal(call.get.code, LC_OK);
    call_fini(&call);
    expect_none(peers, "k");
    assert_int_equal(stats_of(peers).store.items, 0);
  }
}

static void test_the_last_waiter_cancels_each_step(void **state) {
  struct peers *peers = *state;
  for (enum step step = FORWARD; step <= FALLBACK; step++) {
    struct call call;
    size_t cancels = peers->get_cancels, loads = peers->fake.cancelled;
    begin_step(peers, &call, step);
    assert_true(lc_get_cancel(peers->fake.groups, &call.get));
    fake_run(&peers->fake);
    assert_int_equal(peers->get_cancels, cancels + (step != FALLBACK));
    assert_int_equal(peers->fake.cancelled, loads + (step == FALLBACK));
    call_fini(&call);
    assert_int_equal(stats_of(peers).flights, 0);
  }
}

static void test_the_groups_timeout_ends_each_step(void **state) {
  struct peers *peers = *state;
  for (enum step step = FORWARD; step <= FALLBACK; step++) {
    struct call call;
    begin_step(peers, &call, step);
    fake_advance(&peers->fake, 4999);
    assert_int_equal(call.done, 0);
    fake_advance(&peers->fake, 1);
    assert_failed(&call, LC_EDEADLINE, "load timed out after 5s");
    call_fini(&call);
  }
  assert_int_equal(stats_of(peers).timeouts, 3);
  assert_int_equal(peers->get_cancels, 2);
}

static void test_a_fallback_has_what_is_left_of_the_time(void **state) {
  struct peers *peers = *state;
  struct call call;
  peers->ours = false;
  begin(peers, &call, "k");
  fake_advance(&peers->fake, 3000);
  peers_outcome(peers, 0, LC_PEER_UNREACHED, 0, "");
  fake_advance(&peers->fake, 2000);
  assert_failed(&call, LC_EDEADLINE, "load timed out after 5s");
  call_fini(&call);
}

/* One of each kind of Get, in which any allocation may fail. */
static void live(struct peers *peers) {
  struct call calls[3];
  const struct lc_flight_name from = {lc_slice_str("h"), lc_slice_str("x")};
  peers->ours = false;
  if (call_get(&peers->fake, &calls[0], 0, "g", "a") == LC_PENDING)
    peers_value(peers, peers->got - 1, "v", 0, true);
  peers->peek_rc = LC_PENDING;
  peers->ours = true;
  if (call_get(&peers->fake, &calls[1], 0, "g", "b") == LC_PENDING)
    peers_value(peers, peers->got - 1, "v", 0, true);
  peers->peek_rc = LC_EUNAVAILABLE;
  peers->stale = true;
  forwarded(peers, &calls[2], "c", &from, 1);
  calls[2].get.worker = 0;
  call_start(&peers->fake, &calls[2]);
  peers->fake.on_start = fake_answer_now;
  peers_fresh(peers);
  for (int i = 0; i < 3; i++) {
    assert_true(calls[i].get.code == LC_OK || calls[i].get.code == LC_ENOMEM);
    call_fini(&calls[i]);
  }
}

static void test_each_failed_allocation_leaves_no_leak_and_no_stuck_key(void **state) {
  (void)state;
  if (!lc_alloc_faults_built())
    skip();
  size_t n = 1, made = 1;
  for (; n <= made; n++) {
    struct peers peers;
    peers_init(&peers, NULL);
    lc_alloc_fail_at(n);
    live(&peers);
    made = lc_alloc_fail_at(0);
    peers_fini(&peers);
  }
  assert_true(n > 6);
}

static void test_creation_fails_cleanly_at_each_allocation(void **state) {
  (void)state;
  if (!lc_alloc_faults_built())
    skip();
  struct peers peers;
  struct lc_err err = {0};
  size_t n = 0;
  do
    lc_alloc_fail_at(++n);
  while (peers_create(&peers, NULL, &err) == LC_ENOMEM);
  lc_alloc_fail_at(0);
  assert_true(n > 10);
  peers_fini(&peers);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      PEERS_TEST(test_another_nodes_key_is_asked_of_its_owner),
      PEERS_TEST(test_not_found_and_failures_there_are_answers),
      PEERS_TEST(test_what_the_owner_cannot_answer_is_loaded_here_as_a_mirror),
      PEERS_TEST(test_a_mirror_lives_as_long_as_mirror_ttl_from_when_its_load_began),
      cmocka_unit_test(test_a_ttl_shorter_than_mirror_ttl_is_kept),
      cmocka_unit_test(test_without_mirror_ttl_nothing_of_other_nodes_is_kept),
      PEERS_TEST(test_a_down_owner_is_not_waited_for),
      PEERS_TEST(test_no_memory_for_a_forward_is_an_error_not_a_load),
      cmocka_unit_test(test_max_loads_bounds_getters_and_not_forwards),
      PEERS_TEST(test_draining_refuses_new_forwards_and_lets_begun_ones_fall_back),
      PEERS_TEST(test_an_owner_asks_the_previous_one_before_the_source),
      PEERS_TEST(test_a_peek_that_finds_nothing_goes_on_to_the_source),
      PEERS_TEST(test_a_peek_without_memory_goes_on_to_the_source),
      PEERS_TEST(test_an_owners_load_is_tagged_with_the_view_it_began_under),
      PEERS_TEST(test_a_load_that_began_while_the_key_was_lost_ends_as_a_former_copy),
      PEERS_TEST(test_a_refresh_skips_the_peek),
      PEERS_TEST(test_a_refresh_of_another_nodes_key_drops_the_old_mirror),
      PEERS_TEST(test_a_refresh_of_a_hot_key_replaces_the_mirror),
      PEERS_TEST(test_an_invalidation_detaches_a_load_in_each_step),
      PEERS_TEST(test_the_last_waiter_cancels_each_step),
      PEERS_TEST(test_the_groups_timeout_ends_each_step),
      PEERS_TEST(test_a_fallback_has_what_is_left_of_the_time),
      cmocka_unit_test(test_each_failed_allocation_leaves_no_leak_and_no_stuck_key),
      cmocka_unit_test(test_creation_fails_cleanly_at_each_allocation),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
