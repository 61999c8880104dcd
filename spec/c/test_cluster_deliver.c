/* The log's way to the peers, and writes that wait for it. */
#include "test_cluster_deliver_util.h"

static void test_a_write_without_peers_waits_for_nobody(void **state) {
  (void)state;
  struct waiter waiter;
  assert_int_equal(fake_write("a"), 1);
  assert_int_equal(start(&waiter, 1), LC_OK);
  fake_run();
  assert_int_equal(waiter.done, 0);
}

static void test_a_write_waits_until_the_peer_has_applied_it(void **state) {
  (void)state;
  struct waiter waiter;
  fake_greet(0);
  assert_int_equal(start(&waiter, fake_write("a")), LC_PENDING);
  fake_run();
  struct lc_msg_invalidate_request request = sent(0);
  assert_int_equal(request.prev, 0);
  assert_int_equal(request.entry_count, 1);
  assert_true(lc_slice_eq(request.entries[0].group, lc_slice_str("g")));
  assert_true(lc_slice_eq(request.entries[0].key, lc_slice_str("a")));
  assert_int_equal(waiter.done, 0);
  fake_applied(fake_call_to(0), 1, false);
  fake.worker[1].stopped = true;
  fake_run();
  assert_int_equal(waiter.done, 0); /* told on its own worker */
  fake.worker[1].stopped = false;
  fake_run();
  assert_int_equal(waiter.done, 1);
  assert_null(fake_call_to(0));
}

static void test_a_write_waits_for_the_slowest_peer(void **state) {
  (void)state;
  struct waiter waiter;
  fake_greet(0);
  fake_greet(1);
  start(&waiter, fake_write("a"));
  fake_run();
  fake_applied(fake_call_to(1), 1, false);
  fake_run();
  assert_int_equal(waiter.done, 0);
  fake_applied(fake_call_to(0), 1, false);
  fake_run();
  assert_int_equal(waiter.done, 1);
}

static void test_what_comes_during_a_call_goes_with_the_next(void **state) {
  (void)state;
  struct waiter waiters[3];
  fake_greet(0);
  start(&waiters[0], fake_write("a"));
  fake_run();
  start(&waiters[1], fake_write("b"));
  start(&waiters[2], fake_write("c"));
  fake_run();
  assert_int_equal(sent(0).entry_count, 1);
  fake_applied(fake_call_to(0), 1, false);
  assert_int_equal(sent(0).prev, 1);
  assert_int_equal(sent(0).entry_count, 2);
  fake_run();
  assert_int_equal(waiters[0].done, 1);
  assert_int_equal(waiters[1].done + waiters[2].done, 0);
  fake_applied(fake_call_to(0), 3, false);
  fake_run();
  assert_int_equal(waiters[1].done + waiters[2].done, 2);
}

static void test_writes_that_wait_in_any_order_are_released_by_number(void **state) {
  (void)state;
  struct waiter waiters[4];
  static const unsigned order[] = {2, 0, 3, 1};
  fake_greet(0);
  for (unsigned i = 0; i < 4; i++)
    fake_write("a");
  for (unsigned i = 0; i < 4; i++)
    start(&waiters[order[i]], order[i] + 1);
  fake_run();
  fake_applied(fake_call_to(0), 2, false); /* it got no further */
  fake_run();
  for (unsigned i = 0; i < 4; i++)
    assert_int_equal(waiters[i].done, i < 2);
  fake_applied(fake_call_to(0), 4, false);
  fake_run();
  assert_int_equal(waiters[2].done + waiters[3].done, 2);
}

static void test_a_peer_that_goes_down_is_not_waited_for(void **state) {
  (void)state;
  struct waiter waiters[2];
  fake_greet(0);
  fake_greet(1);
  start(&waiters[0], fake_write("a"));
  fake_run();
  fake_applied(fake_call_to(1), 1, false);
  fake_down(0);
  fake_run();
  assert_int_equal(waiters[0].done, 1);
  assert_false(atomic_load(&fake.peer[0].waited));
  fake_down(1);
  assert_int_equal(start(&waiters[1], fake_write("b")), LC_OK);
}

static void test_a_peer_that_is_back_is_told_what_it_missed_before_it_is_up(void **state) {
  (void)state;
  struct waiter waiter;
  bool was_waited;
  fake_greet(0);
  start(&waiter, fake_write("a"));
  fake_run();
  fake_applied(fake_call_to(0), 1, false);
  fake_run();
  fake_down(0);
  for (unsigned i = 0; i < 3000; i++)
    fake_write("b");
  assert_int_equal(lc_deliver_greeted(&fake.cluster, &fake.peer[0], false, &was_waited), 3001);
  assert_false(was_waited);
  assert_int_equal(lc_deliver_greeted(&fake.cluster, &fake.peer[0], false, &was_waited), 3001);
  assert_true(was_waited);
  fake.synced[0] = 0;
  fake_greet(0);
  assert_int_equal(start(&waiter, fake_write("c")), LC_PENDING); /* from the Hello on */
  uint64_t applied = 1;
  while (applied < 3001) {
    assert_int_equal(fake.synced[0], 0);
    assert_int_equal(sent(0).prev, applied);
    applied += sent(0).entry_count;
    fake_applied(fake_call_to(0), applied, false);
  }
  assert_true(fake.synced[0] > 0);
  fake_run();
  assert_int_equal(waiter.done, applied >= 3002);
}

static void test_a_peer_that_missed_nothing_is_up_at_once(void **state) {
  (void)state;
  fake_greet(0);
  assert_int_equal(fake.synced[0], 1);
  assert_null(fake_call_to(0));
}

static void test_a_mismatch_rewinds_the_cursor(void **state) {
  (void)state;
  struct waiter waiter;
  fake_greet(0);
  for (unsigned i = 0; i < 4; i++)
    fake_write("a");
  start(&waiter, fake_write("a"));
  fake_run();
  fake_applied(fake_call_to(0), 5, false);
  fake_run();
  start(&waiter, fake_write("b"));
  fake_run();
  assert_int_equal(sent(0).prev, 5);
  fake_applied(fake_call_to(0), 2, true);
  assert_int_equal(sent(0).prev, 2);
  assert_int_equal(sent(0).entry_count, 4);
  fake_applied(fake_call_to(0), 6, false);
  fake_run();
  assert_int_equal(waiter.done, 1);
}

static void test_a_peer_too_far_behind_is_told_to_drop_all(void **state) {
  (void)state;
  struct waiter waiter;
  fake_greet(0);
  fake_down(0);
  for (unsigned i = 0; i <= LC_LOG_ENTRIES; i++)
    fake_write("a");
  fake_greet(0);
  assert_true(sent(0).drop_all);
  assert_int_equal(sent(0).prev, LC_LOG_ENTRIES + 1);
  assert_int_equal(sent(0).entry_count, 0);
  assert_int_equal(start(&waiter, fake_write("b")), LC_PENDING);
  fake_applied(fake_call_to(0), LC_LOG_ENTRIES + 1, false);
  assert_false(sent(0).drop_all);
  assert_int_equal(sent(0).prev, LC_LOG_ENTRIES + 1);
  fake_applied(fake_call_to(0), LC_LOG_ENTRIES + 2, false);
  fake_run();
  assert_int_equal(waiter.done, 1);
}

static void test_a_peer_that_claims_more_than_was_written_is_told_to_drop_all(void **state) {
  (void)state;
  struct waiter waiter;
  fake_greet(0);
  start(&waiter, fake_write("a"));
  fake_run();
  fake_applied(fake_call_to(0), 77, true);
  fake_run();
  assert_int_equal(waiter.done, 0);
  assert_true(sent(0).drop_all);
  assert_int_equal(sent(0).prev, 1);
  fake_applied(fake_call_to(0), 1, false);
  fake_run();
  assert_int_equal(waiter.done, 1);
}

static void test_a_restarted_peer_begins_anew_and_old_replies_do_not_count(void **state) {
  (void)state;
  struct waiter waiter;
  fake_greet(0);
  start(&waiter, fake_write("a"));
  fake_run();
  fake_restart(0);                         /* while the call to the old process is under way */
  fake_applied(fake_call_to(0), 1, false); /* the old one's last words */
  fake_run();
  assert_int_equal(waiter.done, 0);
  assert_int_equal(fake.peer[0].cursor, 0);
  fake_hang_up(0);
  fake_greet(0);
  assert_int_equal(sent(0).prev, 0);
  fake_applied(fake_call_to(0), 1, false);
  fake_run();
  assert_int_equal(waiter.done, 1);
}

static void test_a_restarted_peer_is_told_from_the_start_before_it_is_up(void **state) {
  (void)state;
  fake_greet(0);
  fake_write("a");
  lc_deliver_run(&fake.cluster);
  fake_applied(fake_call_to(0), 1, false);
  fake_down(0);
  fake_restart(0);
  fake.synced[0] = 0;
  fake_greet(0);
  assert_int_equal(sent(0).prev, 0);
  assert_int_equal(fake.synced[0], 0);
  fake_applied(fake_call_to(0), 1, false);
  assert_int_equal(fake.synced[0], 1);
}

static void test_a_failed_call_is_made_again_by_the_tick(void **state) {
  (void)state;
  struct waiter waiter;
  fake_greet(0);
  start(&waiter, fake_write("a"));
  fake_run();
  fake_fail(fake_call_to(0), LC_GRPC_DEADLINE_EXCEEDED);
  assert_null(fake_call_to(0));
  fake_advance(200);
  fake_applied(fake_call_to(0), 1, false);
  fake_run();
  assert_int_equal(waiter.done, 1);
}

static void test_a_call_that_cannot_be_made_is_made_by_the_tick(void **state) {
  (void)state;
  struct waiter waiter;
  fake_greet(0);
  fake.refuse_calls = true;
  assert_int_equal(start(&waiter, fake_write("a")), LC_PENDING);
  fake_run();
  assert_null(fake_call_to(0));
  fake.refuse_calls = false;
  fake_advance(200);
  assert_non_null(fake_call_to(0));
}

static void test_what_nobody_waits_for_is_delivered_all_the_same(void **state) {
  (void)state;
  fake_greet(0);
  fake_write("a");
  fake_run();
  assert_null(fake_call_to(0));
  fake_advance(200);
  assert_int_equal(sent(0).entry_count, 1);
}

static void test_a_stranger_is_greeted_again_but_not_in_a_frenzy(void **state) {
  (void)state;
  fake_greet(0);
  fake_advance(1000);
  for (unsigned i = 0; i < 20; i++) {
    fake_write("a");
    lc_deliver_run(&fake.cluster);
    fake_outcome(fake_call_to(0), LC_OUTCOME_STRANGER);
  }
  assert_int_equal(fake.hellos[0], 1);
  fake_advance(200);
  fake_outcome(fake_call_to(0), LC_OUTCOME_STRANGER);
  assert_int_equal(fake.hellos[0], 2);
}

static void test_rubbish_for_a_reply_moves_nothing(void **state) {
  (void)state;
  struct waiter waiter;
  struct lc_buf buf;
  fake_greet(0);
  start(&waiter, fake_write("a"));
  fake_run();
  lc_buf_init(&buf);
  lc_buf_str(&buf, "\xff\xff\xff");
  fake_answer(fake_call_to(0), &buf);
  fake_run();
  assert_int_equal(waiter.done, 0);
  assert_int_equal(fake.peer[0].cursor, 0);
}

static void test_a_cancelled_wait_is_not_called_back(void **state) {
  (void)state;
  struct waiter waiters[2];
  fake_greet(0);
  start(&waiters[0], fake_write("a"));
  start(&waiters[1], fake_write("b"));
  fake_run();
  assert_true(lc_deliver_cancel_wait(&fake.cluster, &waiters[0].wait));
  fake_applied(fake_call_to(0), 1, false);
  fake_applied(fake_call_to(0), 2, false);
  assert_false(lc_deliver_cancel_wait(&fake.cluster, &waiters[1].wait)); /* on its way */
  fake_run();
  assert_int_equal(waiters[0].done, 0);
  assert_int_equal(waiters[1].done, 1);
}

static void test_a_peer_is_waited_for_from_the_hello_that_comes_before_the_connection(void **state) {
  (void)state;
  struct waiter waiter;
  bool was_waited = true;
  atomic_store(&fake.peer[0].process, 100);
  assert_int_equal(lc_deliver_greeted(&fake.cluster, &fake.peer[0], true, &was_waited), 0);
  assert_false(was_waited);
  assert_int_equal(start(&waiter, fake_write("a")), LC_PENDING);
  fake_run();
  assert_null(fake_call_to(0)); /* no connection yet */
  lc_deliver_down(&fake.peer[0]);
  fake_run();
  assert_int_equal(waiter.done, 1);
}

static void test_own_writes_refuse_older_items_that_are_handed_over(void **state) {
  (void)state;
  uint64_t seq = fake_write("a"), hash = lc_hash_ring(lc_slice_str("g"), lc_slice_str("a"));
  const struct lc_msg_applied before = {1, seq - 1}, after = {1, seq};
  assert_false(lc_touched_allows(fake.cluster.touched, hash, &before, 1));
  assert_true(lc_touched_allows(fake.cluster.touched, hash, &after, 1));
}

/* Each allocation of a delivery fails in turn: it is made later, and no write is told too early. */
static void test_without_memory_delivery_is_later(void **state) {
  (void)state;
  struct waiter waiter;
  if (!lc_alloc_faults_built())
    skip();
  fake_greet(0);
  for (size_t n = 1; n <= 3; n++) {
    start(&waiter, fake_write("a"));
    lc_alloc_fail_at(n);
    fake_run();
    lc_alloc_fail_at(0);
    assert_int_equal(waiter.done, 0);
    fake_advance(200);
    uint64_t prev = sent(0).prev, count = sent(0).entry_count;
    fake_applied(fake_call_to(0), prev + count, false);
    fake_run();
    assert_int_equal(waiter.done, 1);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      TEST(test_a_write_without_peers_waits_for_nobody),
      TEST(test_a_write_waits_until_the_peer_has_applied_it),
      TEST(test_a_write_waits_for_the_slowest_peer),
      TEST(test_what_comes_during_a_call_goes_with_the_next),
      TEST(test_writes_that_wait_in_any_order_are_released_by_number),
      TEST(test_a_peer_that_goes_down_is_not_waited_for),
      TEST(test_a_peer_that_is_back_is_told_what_it_missed_before_it_is_up),
      TEST(test_a_peer_that_missed_nothing_is_up_at_once),
      TEST(test_a_mismatch_rewinds_the_cursor),
      TEST(test_a_peer_too_far_behind_is_told_to_drop_all),
      TEST(test_a_peer_that_claims_more_than_was_written_is_told_to_drop_all),
      TEST(test_a_restarted_peer_begins_anew_and_old_replies_do_not_count),
      TEST(test_a_restarted_peer_is_told_from_the_start_before_it_is_up),
      TEST(test_a_failed_call_is_made_again_by_the_tick),
      TEST(test_a_call_that_cannot_be_made_is_made_by_the_tick),
      TEST(test_what_nobody_waits_for_is_delivered_all_the_same),
      TEST(test_a_stranger_is_greeted_again_but_not_in_a_frenzy),
      TEST(test_rubbish_for_a_reply_moves_nothing),
      TEST(test_a_cancelled_wait_is_not_called_back),
      TEST(test_a_peer_is_waited_for_from_the_hello_that_comes_before_the_connection),
      TEST(test_own_writes_refuse_older_items_that_are_handed_over),
      TEST(test_without_memory_delivery_is_later),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
