/* Whether stored copies may be served: after a stop of the process, of a worker, of the control thread. */
#include "test_cluster_fence_util.h"

static void test_a_node_that_never_met_another_is_always_fresh(void **state) {
  (void)state;
  fake_advance(1000);
  fake_jump(STOP_MS);
  assert_true(fresh());
  fake_advance(1000);
  assert_true(fresh());
  assert_int_equal(fake.groups.drops, 0);
}

static void test_contact_is_enough_to_be_careful(void **state) {
  (void)state;
  bool was_waited;
  fake_advance(1000);
  lc_deliver_greeted(&fake.cluster, &fake.peer[0], true, &was_waited); /* they said Hello */
  assert_true(fresh());
  fake_jump(501);
  assert_false(fresh());
}

static void test_while_all_run_copies_are_served(void **state) {
  (void)state;
  for (unsigned i = 0; i < 500; i++) {
    fake_advance(10);
    assert_true(fresh());
  }
  assert_int_equal(fake.hellos[0], 0);
}

static void test_while_others_are_down_copies_are_served(void **state) {
  (void)state;
  fake_down(0);
  fake_down(1);
  for (unsigned i = 0; i < 300; i++) {
    fake_advance(10);
    assert_true(fresh());
  }
  assert_int_equal(fake.groups.drops, 0);
}

static void test_after_a_stop_nothing_is_served_before_any_thread_has_noticed(void **state) {
  (void)state;
  fake_jump(600);
  assert_false(fresh());
}

static void test_a_short_stop_costs_nothing(void **state) {
  (void)state;
  fake_advance(100);
  fake_jump(300);
  assert_true(fresh());
  fake_advance(200);
  assert_true(fresh());
  assert_int_equal(fake.hellos[0], 0);
}

static void test_after_a_stop_gets_wait_until_all_peers_have_been_heard(void **state) {
  (void)state;
  struct getter getter;
  fake_jump(STOP_MS);
  park(&getter);
  fake_advance(30);
  assert_int_equal(fake.hellos[0], 1);
  assert_int_equal(fake.hellos[1], 1);
  assert_int_equal(fake.hellos[2], 0);
  answer(0, 0);
  fake_advance(100);
  assert_false(fresh());
  answer(1, 7);
  fake_advance(100);
  assert_false(fresh()); /* it knows of 7 writes, and we of none */
  assert_int_equal(getter.done, 0);
  apply_up_to(1, 7);
  fake_run();
  assert_true(fresh());
  assert_int_equal(getter.done, 1);
  assert_int_equal(fake.groups.drops, 0);
}

static void test_the_control_thread_may_run_first_after_a_stop(void **state) {
  (void)state;
  fake_jump(STOP_MS);
  lc_fence_tick(&fake.cluster); /* the workers' beats are still the old ones */
  assert_false(fresh());
  fake_advance(30);
  assert_false(fresh());
  answer(0, 0);
  answer(1, 0);
  fake_run();
  assert_true(fresh());
}

static void test_the_workers_may_run_first_after_a_stop(void **state) {
  (void)state;
  fake_jump(STOP_MS);
  for (unsigned i = 0; i < FAKE_WORKERS; i++)
    lc_timers_expire(&fake.worker[i].timers, lc_clock_ms());
  assert_false(fresh()); /* fresh beats alone prove nothing */
  lc_fence_tick(&fake.cluster);
  assert_false(fresh());
  assert_int_equal(fake.hellos[0], 1);
}

static void test_an_answer_from_before_the_stop_does_not_count(void **state) {
  (void)state;
  fake_jump(STOP_MS);
  answer(0, 0); /* was in the socket when it was stopped; comes before the stop is noticed */
  answer(1, 0);
  fake_advance(30);
  assert_false(fresh());
  assert_int_equal(fake.hellos[0], 1);
}

static void test_a_hello_that_was_said_before_the_stop_is_said_again(void **state) {
  (void)state;
  fake_hang_up(0);
  fake.peer[0].hello_call = (struct lc_rpc_client_call *)(void *)&fake; /* a dial is under way */
  fake_jump(STOP_MS);
  fake_advance(30);
  assert_int_equal(fake.hellos[0], 0);
  assert_int_equal(fake.looks[0], 1);
  fake.peer[0].hello_call = NULL;
  fake.peer[0].connected = true;
  answer(1, 0);
  answer(0, 0);
  fake_advance(30);
  assert_false(fresh());
  assert_int_equal(fake.hellos[0], 1);
  answer(0, 0);
  fake_run();
  assert_true(fresh());
}

static void test_after_a_second_all_is_dropped_if_a_peer_does_not_answer(void **state) {
  (void)state;
  struct getter getter;
  fake_jump(STOP_MS);
  park(&getter);
  fake_advance(30);
  answer(0, 0);
  fake_advance(900);
  assert_int_equal(fake.groups.drops, 0);
  assert_false(fresh());
  fake_advance(120);
  assert_int_equal(fake.groups.drops, 1);
  assert_true(fresh());
  assert_int_equal(getter.done, 1);
}

static void test_after_a_second_all_is_dropped_if_a_log_has_not_come(void **state) {
  (void)state;
  stop_and_go_on();
  answer(0, 0);
  answer(1, 5);
  apply_up_to(1, 4);
  fake_advance(1010);
  assert_int_equal(fake.groups.drops, 1);
  assert_true(fresh());
}

static void test_a_peer_that_was_down_before_the_stop_is_not_waited_for(void **state) {
  (void)state;
  fake_down(1);
  fake_advance(3000);
  stop_and_go_on();
  assert_int_equal(fake.hellos[1] + fake.looks[1], 0);
  answer(0, 0);
  fake_run();
  assert_true(fresh());
  assert_int_equal(fake.groups.drops, 0);
}

static void test_a_peer_whose_connection_ended_during_the_stop_is_waited_for(void **state) {
  (void)state;
  fake_jump(STOP_MS);
  fake_down(1); /* the first thing that the control thread sees */
  fake_advance(30);
  assert_int_equal(fake.looks[1], 1);
  answer(0, 0);
  fake_advance(500);
  assert_false(fresh());
  fake_greet(1);
  answer(1, 0);
  fake_run();
  assert_true(fresh());
  assert_int_equal(fake.groups.drops, 0);
}

static void test_a_peer_that_was_restarted_meanwhile_took_its_log_along(void **state) {
  (void)state;
  fake_jump(STOP_MS);
  fake_restart(1);
  fake_advance(30);
  assert_int_equal(fake.groups.drops, 1);
  assert_true(fresh());
}

static void answer_ring(unsigned index, uint64_t ring) {
  const struct lc_msg_hello_response reply = {.process = atomic_load(&fake.peer[index].process), .ring = ring};
  lc_fence_greeted(&fake.peer[index], &reply);
}

/* Somebody may have come meanwhile, who owns keys by now and doesn't know us. */
static void test_after_a_stop_rings_must_be_the_same_before_copies_are_served(void **state) {
  (void)state;
  uint64_t ring = lc_ring_id(fake.members.ring);
  stop_and_go_on();
  answer_ring(0, ring + 1);
  answer_ring(1, ring);
  fake_advance(200);
  assert_false(fresh());
  assert_int_equal(fake.hellos[0], 2); /* it was asked again */
  answer_ring(0, ring);
  answer_ring(1, ring);
  fake_advance(20);
  assert_true(fresh());
  assert_int_equal(fake.groups.drops, 0);
}

static void test_after_a_second_with_another_ring_all_is_dropped(void **state) {
  (void)state;
  uint64_t ring = lc_ring_id(fake.members.ring);
  stop_and_go_on();
  answer_ring(0, ring + 1);
  answer_ring(1, ring);
  fake_advance(1010);
  assert_int_equal(fake.groups.drops, 1);
  assert_true(fresh());
}

static void test_a_restart_before_the_stop_is_no_reason_to_drop(void **state) {
  (void)state;
  fake_hang_up(1);
  fake_restart(1);
  fake_greet(1);
  fake_advance(1000);
  stop_and_go_on();
  answer(0, 0);
  answer(1, 0);
  fake_run();
  assert_true(fresh());
  assert_int_equal(fake.groups.drops, 0);
}

static void test_with_nobody_in_contact_there_is_nobody_to_ask(void **state) {
  (void)state;
  fake_down(0);
  fake_down(1);
  fake_advance(3000);
  fake_jump(STOP_MS);
  assert_false(fresh());
  fake_advance(30);
  assert_true(fresh());
  assert_int_equal(fake.groups.drops, 0);
}

static void test_a_second_stop_asks_anew(void **state) {
  (void)state;
  stop_and_go_on();
  answer(0, 0);
  fake_jump(STOP_MS);
  answer(1, 0); /* said before it */
  lc_fence_tick(&fake.cluster);
  assert_false(fresh());
  fake_advance(30);
  assert_int_equal(fake.hellos[0], 2);
  answer(0, 0);
  answer(1, 0);
  fake_run();
  assert_true(fresh());
  assert_int_equal(fake.groups.drops, 0);
}

static void test_a_stop_between_the_answers_and_the_end_of_the_fence_is_noticed(void **state) {
  (void)state;
  stop_and_go_on();
  answer(0, 0);
  answer(1, 0);
  fake_jump(STOP_MS);
  lc_fence_tick(&fake.cluster);
  assert_false(fresh());
}

/* ---- threads that stand still alone ---- */

static void test_a_stuck_worker_keeps_the_others_from_serving(void **state) {
  (void)state;
  struct getter getter;
  fake.worker[0].stopped = true;
  fake_advance(700);
  assert_false(lc_fence_fresh(&fake.cluster, 1));
  assert_int_equal(fake.hellos[0], 0); /* asking is of no use while it is stuck */
  park(&getter);
  fake.worker[0].stopped = false;
  fake_advance(30);
  assert_int_equal(fake.hellos[0], 1);
  answer(0, 0);
  answer(1, 0);
  fake_run();
  assert_int_equal(getter.done, 1);
  assert_int_equal(fake.groups.drops, 0);
}

static void test_a_worker_stuck_for_long_costs_the_copies_but_not_the_others_work(void **state) {
  (void)state;
  fake.worker[0].stopped = true;
  fake_advance(2000);
  assert_int_equal(fake.groups.drops, 1);
  for (unsigned i = 0; i < 300; i++) {
    fake_advance(10);
    assert_true(lc_fence_fresh(&fake.cluster, 1));
  }
  fake.worker[0].stopped = false;
  fake_advance(110);
  assert_false(fresh()); /* now the peers can be asked */
  assert_int_equal(fake.hellos[0], 1);
  answer(0, 0);
  answer(1, 0);
  fake_run();
  assert_true(fresh());
  assert_int_equal(fake.groups.drops, 1);
}

static void test_a_stall_between_two_looks_is_told_of_by_the_worker(void **state) {
  (void)state;
  fake.worker[0].stopped = true;
  fake_advance(300);
  fake.worker[FAKE_WORKERS].stopped = true; /* the control thread is late as well, by less than 500 ms */
  fake_advance(450);
  fake.worker[0].stopped = false;
  fake_advance(10); /* its beat is fresh again before anybody looked */
  fake.worker[FAKE_WORKERS].stopped = false;
  fake_advance(10);
  assert_false(fresh());
  assert_int_equal(fake.hellos[0], 1);
}

/* Whatever the phase of the workers' beats. */
static void test_a_late_control_thread_parks_gets_without_asking(void **state) {
  (void)state;
  struct getter getter;
  unsigned parked = 0;
  for (unsigned phase = 0; phase < 100; phase += 10) {
    fake_advance(phase);
    lc_fence_tick(&fake.cluster);
    fake.worker[FAKE_WORKERS].stopped = true;
    fake_advance(490);
    parked += !fresh();
    park(&getter);
    fake.worker[FAKE_WORKERS].stopped = false;
    fake_advance(10);
    assert_true(fresh());
    assert_int_equal(getter.done, 1);
  }
  assert_true(parked > 0);
  assert_int_equal(fake.hellos[0], 0);
}

static void test_a_stuck_control_thread_is_a_stall(void **state) {
  (void)state;
  fake.worker[FAKE_WORKERS].stopped = true;
  fake_advance(700);
  assert_false(fresh());
  fake.worker[FAKE_WORKERS].stopped = false;
  fake_advance(20);
  assert_false(fresh());
  assert_int_equal(fake.hellos[0], 1);
}

/* ---- given up by others, without a stall of ours ---- */

static void test_who_was_given_up_serves_nothing_until_it_is_up_to_date(void **state) {
  (void)state;
  struct getter getter;
  lc_fence_cut_off(&fake.cluster, &fake.peer[0]);
  assert_false(fresh()); /* at once */
  park(&getter);
  fake_run();
  assert_int_equal(fake.hellos[0], 1);
  answer(0, 3);
  answer(1, 0);
  fake_advance(100);
  assert_false(fresh());
  apply_up_to(0, 3);
  fake_run();
  assert_true(fresh());
  assert_int_equal(getter.done, 1);
}

static void test_who_was_given_up_and_stays_cut_off_goes_on_alone_after_a_second(void **state) {
  (void)state;
  lc_fence_cut_off(&fake.cluster, &fake.peer[0]);
  fake_advance(950);
  assert_false(fresh());
  fake_advance(100);
  assert_true(fresh());
  assert_int_equal(fake.groups.drops, 0);
}

static void test_a_stall_while_cut_off_is_a_stall(void **state) {
  (void)state;
  lc_fence_cut_off(&fake.cluster, &fake.peer[0]);
  fake_advance(50);
  fake_jump(STOP_MS);
  fake_advance(30);
  assert_int_equal(fake.hellos[0], 2);
  assert_false(fresh());
  fake_advance(1000);
  assert_int_equal(fake.groups.drops, 1);
  assert_true(fresh());
}

/* ---- while everything is dropped ---- */

static void drop_slowly(void *arg) {
  (void)arg;
  for (unsigned ms = 0; ms < 900; ms += 10) { /* the workers go on meanwhile */
    fake_jump(10);
    for (unsigned i = 0; i < FAKE_WORKERS; i++)
      lc_timers_expire(&fake.worker[i].timers, lc_clock_ms());
  }
}

static void test_a_slow_drop_is_no_stall(void **state) {
  (void)state;
  fake.groups.on_drop = drop_slowly;
  stop_and_go_on();
  fake_advance(1010);
  assert_int_equal(fake.groups.drops, 1);
  assert_true(fresh());
  unsigned hellos = fake.hellos[0];
  fake_advance(300);
  assert_true(fresh());
  assert_int_equal(fake.hellos[0], hellos);
}

static void stop_in_drop(void *arg) {
  (void)arg;
  fake.groups.on_drop = NULL;
  fake_jump(STOP_MS);
}

static void test_a_stop_during_the_drop_raises_the_fence_again(void **state) {
  (void)state;
  fake.groups.on_drop = stop_in_drop;
  stop_and_go_on();
  while (fake.groups.drops == 0)
    fake_advance(10);
  assert_false(fresh());
  unsigned hellos = fake.hellos[0];
  fake_advance(30);
  assert_int_equal(fake.hellos[0], hellos + 1);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      TEST_ALONE(test_a_node_that_never_met_another_is_always_fresh),
      TEST_ALONE(test_contact_is_enough_to_be_careful),
      TEST(test_while_all_run_copies_are_served),
      TEST(test_while_others_are_down_copies_are_served),
      TEST(test_after_a_stop_nothing_is_served_before_any_thread_has_noticed),
      TEST(test_a_short_stop_costs_nothing),
      TEST(test_after_a_stop_gets_wait_until_all_peers_have_been_heard),
      TEST(test_the_control_thread_may_run_first_after_a_stop),
      TEST(test_the_workers_may_run_first_after_a_stop),
      TEST(test_an_answer_from_before_the_stop_does_not_count),
      TEST(test_a_hello_that_was_said_before_the_stop_is_said_again),
      TEST(test_after_a_second_all_is_dropped_if_a_peer_does_not_answer),
      TEST(test_after_a_second_all_is_dropped_if_a_log_has_not_come),
      TEST(test_a_peer_that_was_down_before_the_stop_is_not_waited_for),
      TEST(test_a_peer_whose_connection_ended_during_the_stop_is_waited_for),
      TEST(test_a_peer_that_was_restarted_meanwhile_took_its_log_along),
      TEST(test_after_a_stop_rings_must_be_the_same_before_copies_are_served),
      TEST(test_after_a_second_with_another_ring_all_is_dropped),
      TEST(test_a_restart_before_the_stop_is_no_reason_to_drop),
      TEST(test_with_nobody_in_contact_there_is_nobody_to_ask),
      TEST(test_a_second_stop_asks_anew),
      TEST(test_a_stop_between_the_answers_and_the_end_of_the_fence_is_noticed),
      TEST(test_a_stuck_worker_keeps_the_others_from_serving),
      TEST(test_a_worker_stuck_for_long_costs_the_copies_but_not_the_others_work),
      TEST(test_a_stall_between_two_looks_is_told_of_by_the_worker),
      TEST(test_a_late_control_thread_parks_gets_without_asking),
      TEST(test_a_stuck_control_thread_is_a_stall),
      TEST(test_who_was_given_up_serves_nothing_until_it_is_up_to_date),
      TEST(test_who_was_given_up_and_stays_cut_off_goes_on_alone_after_a_second),
      TEST(test_a_stall_while_cut_off_is_a_stall),
      TEST(test_a_slow_drop_is_no_stall),
      TEST(test_a_stop_during_the_drop_raises_the_fence_again),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
