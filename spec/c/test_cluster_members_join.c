/* Joining step by step, with a registry that does nothing by itself; nodes lost out of contact. */
#include "test_cluster_support.h"

#include "registry/internal.h"

#define A "10.0.0.1:8001"
#define B "10.0.0.2:8001"

static struct alone alone;

static int start_inside(void **state) {
  (void)state;
  alone_start(&alone, true);
  alone_enter(&alone);
  return 0;
}

static int start_outside(void **state) {
  (void)state;
  alone_start(&alone, true);
  return 0;
}

static int end(void **state) {
  (void)state;
  alone_end(&alone);
  return 0;
}

static void list(const struct lc_registry_member *members, size_t count) {
  lc_members_handler.on_list(alone.cluster, members, count);
}

/* ---- joining ---- */

struct fake {
  struct lc_registry base;
  bool entered, has_us;
  char address[64];
};

static void fake_enter(struct lc_registry *registry, const char *address, unsigned weight) {
  struct fake *fake = (struct fake *)(void *)registry;
  assert_int_equal(weight, 1);
  assert_false(fake->entered);
  fake->entered = true;
  snprintf(fake->address, sizeof fake->address, "%s", address);
  assert_int_equal(ring_size(&alone), 2); /* first the ring, then the registry */
}

static bool fake_entered(const struct lc_registry *registry) {
  return ((const struct fake *)(const void *)registry)->has_us;
}

static const struct lc_registry_ops fake_ops = {.enter = fake_enter, .entered = fake_entered};

static void told_ready(void *arg) {
  ++*(unsigned *)arg;
}

static void join_with(struct fake *fake, unsigned *ready) {
  *fake = (struct fake){.base.ops = &fake_ops};
  *ready = 0;
  alone.cluster->registry = &fake->base;
  alone.cluster->on_ready = told_ready;
  alone.cluster->on_ready_arg = ready;
  alone.cluster->started_ms = lc_clock_ms();
  alone.cluster->config.join_timeout_ms = 60000;
}

static void joining_waits_for_the_list_then_for_those_on_it_then_for_our_key(void **state) {
  (void)state;
  struct fake fake;
  unsigned ready;
  join_with(&fake, &ready);
  lc_members_tick(alone.cluster);
  assert_int_equal(ready, 0);
  list((struct lc_registry_member[]){{A, 1}}, 1);
  assert_int_equal(ring_size(&alone), 1); /* it hasn't been greeted */
  assert_false(fake.entered);
  find(&alone, A)->tried = true;
  lc_join_step(alone.cluster);
  assert_true(fake.entered);
  assert_string_equal(fake.address, SELF);
  assert_int_equal(ring_size(&alone), 2);
  assert_true(view_of(&alone)->joined_until_ms > lc_clock_ms());
  assert_int_equal(ready, 0);
  fake.has_us = true;
  put(&alone, SELF, 1);
  assert_int_equal(ready, 1);
  lc_members_tick(alone.cluster);
  assert_int_equal(ready, 1);
}

static void members_that_do_not_answer_are_waited_for_a_second_only(void **state) {
  (void)state;
  struct fake fake;
  unsigned ready;
  join_with(&fake, &ready);
  list((struct lc_registry_member[]){{A, 1}}, 1);
  uint64_t began = lc_clock_ms();
  while (!fake.entered && lc_clock_ms() < began + PATIENCE_S * 1000u) {
    poll(NULL, 0, 5);
    lc_members_tick(alone.cluster);
  }
  assert_true(fake.entered);
  assert_true(lc_clock_ms() - began >= LC_JOIN_HELLO_MS);
}

static void after_the_join_timeout_it_serves_alone_and_joins_later(void **state) {
  (void)state;
  struct fake fake;
  unsigned ready;
  join_with(&fake, &ready);
  lc_members_handler.on_reach(alone.cluster, false, "127.0.0.1:1: connection refused");
  alone.cluster->config.join_timeout_ms = 0;
  lc_members_tick(alone.cluster);
  assert_int_equal(ready, 1);
  assert_int_equal(ring_size(&alone), 1);
  lc_members_handler.on_reach(alone.cluster, true, "");
  put(&alone, A, 1); /* before the first list: known, not yet on the ring */
  assert_int_equal(ring_size(&alone), 1);
  find(&alone, A)->tried = true;
  list((struct lc_registry_member[]){{A, 1}}, 1);
  assert_true(fake.entered);
  assert_int_equal(ring_size(&alone), 2);
  assert_int_equal(ready, 1);
}

static void a_node_whose_lease_was_lost_asks_previous_owners_again(void **state) {
  (void)state;
  struct fake fake;
  unsigned ready;
  join_with(&fake, &ready);
  put(&alone, A, 1);
  find(&alone, A)->tried = true;
  list((struct lc_registry_member[]){{A, 1}}, 1);
  put(&alone, SELF, 1);
  alone.cluster->joined_until_ms = 1; /* long ago */
  list((struct lc_registry_member[]){{A, 1}, {SELF, 1}}, 2);
  alone_publish(&alone);
  assert_int_equal(view_of(&alone)->joined_until_ms, 1);
  erase(&alone, SELF);
  assert_true(view_of(&alone)->joined_until_ms > lc_clock_ms());
  assert_int_equal(ring_size(&alone), 2);
}

/* ---- losses ---- */

static void met(const char *address, uint64_t process, uint64_t connected_ms) {
  put(&alone, address, 1);
  assert_int_equal(hello(&alone, process, address), 0);
  struct lc_peer *peer = find(&alone, address);
  peer->in_contact = peer->connected = true;
  peer->connected_ms = connected_ms;
  atomic_store(&peer->state, LC_PEER_UP);
}

static void hang_up(const char *address, uint64_t when_ms) {
  struct lc_peer *peer = find(&alone, address);
  peer->connected = false;
  peer->lost_ms = when_ms;
  atomic_store(&peer->state, LC_PEER_DOWN);
}

static void a_death_that_all_others_saw_costs_nothing(void **state) {
  (void)state;
  met(A, 1, 1000);
  met(B, 2, 1000);
  hang_up(A, 60000);
  erase(&alone, A);
  assert_false(alone.cluster->lost_unsynced);
}

static void while_another_node_is_down_copies_are_given_to_those_who_peek(void **state) {
  (void)state;
  met(A, 1, 1000);
  met(B, 2, 59000);
  hang_up(A, 60000);
  lc_loss_tick(alone.cluster);
  assert_false(atomic_load(&alone.cluster->doubtful));
}

static void a_death_while_others_were_out_of_contact_is_remembered(void **state) {
  (void)state;
  met(A, 1, 1000);
  met(B, 2, 59000); /* contact with B broke around the same time */
  hang_up(A, 60000);
  erase(&alone, A);
  assert_true(alone.cluster->lost_unsynced);
}

static void a_node_that_left_and_was_started_again_is_no_loss(void **state) {
  (void)state;
  met(A, 1, 1000);
  met(B, 2, 59000); /* restarted a moment before */
  lc_members_left(alone.cluster, find(&alone, A));
  hang_up(A, 60000);
  assert_int_equal(answer(&alone, A, 3, A), LC_GREETED);
  lc_loss_gone(find(&alone, A)); /* another process answers: control.c */
  assert_false(alone.cluster->lost_unsynced);
  find(&alone, A)->in_contact = true;
  assert_int_equal(answer(&alone, A, 4, A), LC_GREETED);
  lc_loss_gone(find(&alone, A)); /* that one had not left */
  assert_true(alone.cluster->lost_unsynced);
}

static void who_was_out_of_contact_when_another_gave_us_up_is_a_suspect_until_it_has_told_all(void **state) {
  (void)state;
  met(A, 1, 1000);
  met(B, 2, 1000);
  hang_up(A, 60000);
  lc_loss_given_up(find(&alone, B));
  struct lc_peer *peer = find(&alone, A);
  assert_true(peer->suspect);
  assert_false(find(&alone, B)->suspect);
  peer->connected = true;
  peer->hello_head = 10;
  atomic_store(&peer->applied, 9);
  lc_loss_tick(alone.cluster);
  assert_true(peer->suspect);
  atomic_store(&peer->applied, 10);
  lc_loss_tick(alone.cluster);
  assert_false(peer->suspect);
}

/* The first word of contact may be theirs: their Hello says that they had given us up, and their answer to ours, later,
 * has nothing more to say. */
static void who_gave_us_up_may_say_so_in_its_own_hello(void **state) {
  (void)state;
  struct lc_msg_hello_request request = hello_of(2, B);
  struct lc_msg_hello_response reply;
  met(A, 1, 1000);
  met(B, 2, 1000);
  hang_up(A, 60000);
  request.given_up = true;
  assert_int_equal(lc_members_greeted(alone.cluster, &request, &reply, NULL), 0);
  lc_loss_tick(alone.cluster);
  assert_true(find(&alone, A)->suspect);
  assert_true(atomic_load(&alone.cluster->doubtful));
}

static void who_gave_us_up_is_a_suspect_itself_until_its_log_is_here(void **state) {
  (void)state;
  met(A, 1, 1000);
  struct lc_peer *peer = find(&alone, A);
  peer->hello_head = 10;
  lc_loss_given_up(peer);
  lc_loss_tick(alone.cluster);
  assert_true(peer->suspect);
  atomic_store(&peer->applied, 10);
  lc_loss_tick(alone.cluster);
  assert_false(peer->suspect);
  assert_false(atomic_load(&alone.cluster->doubtful));
}

static void forwarded_writes_are_taken_once_all_members_know_us(void **state) {
  (void)state;
  struct fake fake;
  unsigned ready;
  join_with(&fake, &ready);
  put(&alone, A, 1);
  find(&alone, A)->tried = true; /* it refused our Hello: its own is still to come */
  list((struct lc_registry_member[]){{A, 1}}, 1);
  lc_join_step(alone.cluster);
  assert_true(fake.entered);
  assert_true(atomic_load(&alone.cluster->arriving));
  assert_int_equal(hello(&alone, 1, A), 0);
  lc_join_step(alone.cluster);
  assert_false(atomic_load(&alone.cluster->arriving));
}

#define INSIDE(test_) cmocka_unit_test_setup_teardown(test_, start_inside, end)
#define OUTSIDE(test_) cmocka_unit_test_setup_teardown(test_, start_outside, end)

int main(void) {
  const struct CMUnitTest tests[] = {
      OUTSIDE(forwarded_writes_are_taken_once_all_members_know_us),
      INSIDE(a_node_that_left_and_was_started_again_is_no_loss),
      INSIDE(who_gave_us_up_may_say_so_in_its_own_hello),
      INSIDE(who_gave_us_up_is_a_suspect_itself_until_its_log_is_here),
      OUTSIDE(joining_waits_for_the_list_then_for_those_on_it_then_for_our_key),
      OUTSIDE(members_that_do_not_answer_are_waited_for_a_second_only),
      OUTSIDE(after_the_join_timeout_it_serves_alone_and_joins_later),
      OUTSIDE(a_node_whose_lease_was_lost_asks_previous_owners_again),
      INSIDE(a_death_that_all_others_saw_costs_nothing),
      INSIDE(while_another_node_is_down_copies_are_given_to_those_who_peek),
      INSIDE(a_death_while_others_were_out_of_contact_is_remembered),
      INSIDE(who_was_out_of_contact_when_another_gave_us_up_is_a_suspect_until_it_has_told_all),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
