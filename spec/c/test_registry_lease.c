#include "test_registry_support.h"

/* Our own key: that it is there, whatever etcd or others do to it. The lease is 2 s, a keepalive is due each 667 ms. */

static bool is_registered(struct world *world) {
  return fake_value(&world->etcd, SELF, NULL, NULL);
}

static int64_t lease_of(struct world *world) {
  int64_t lease = 0;
  fake_value(&world->etcd, SELF, NULL, &lease);
  return lease;
}

static void a_node_registers_under_its_lease(void **state) {
  struct world *world = *state;
  char value[128], body[512];
  int64_t lease = 0;
  begin_entered(world);
  assert_true(fake_value(&world->etcd, SELF, value, &lease));
  assert_string_equal(value, SELF);
  assert_true(lease != 0);
  fake_last_body(&world->etcd, "grant", body);
  assert_string_equal(body, "{\"TTL\":\"2\"}");
  WAIT_FOR(lines_with(world, "registered address=" SELF) == 1);
  WAIT_FOR(was_told(world, "+" SELF "*1 ") || list_is(world, SELF "*1 "));
}

static void a_weight_stands_in_the_value(void **state) {
  struct world *world = *state;
  char value[128];
  begin(world);
  enter(world, 12);
  WAIT_FOR(is_entered(world));
  fake_value(&world->etcd, SELF, value, NULL);
  assert_string_equal(value, SELF " weight=12");
}

static void keepalives_go_by_the_clock_whatever_is_answered(void **state) {
  struct world *world = *state;
  begin_entered(world);
  fake_answer(&world->etcd, "keepalive", 200, NULL, UINT32_MAX);
  unsigned before = fake_count(&world->etcd, "keepalive");
  uint64_t begun = lc_clock_ms();
  WAIT_FOR(fake_count(&world->etcd, "keepalive") >= before + 3);
  uint64_t took = lc_clock_ms() - begun;
  assert_true(took > 1000 && took < 3000);
}

static void an_unknown_lease_is_granted_and_registered_again(void **state) {
  struct world *world = *state;
  begin_entered(world);
  int64_t lease = lease_of(world);
  fake_forget_leases(&world->etcd, false);
  WAIT_FOR(lease_of(world) != lease);
  WAIT_FOR(is_entered(world));
  WAIT_FOR(lines_with(world, "lease lost address=" SELF) == 1);
}

static void a_lease_that_ran_out_is_granted_and_registered_at_once(void **state) {
  struct world *world = *state;
  world->config.lease_ms = 60000;
  world->config.reconcile_ms = 600000;
  begin_entered(world);
  fake_forget_leases(&world->etcd, true);
  WAIT_FOR(is_registered(world));
  WAIT_FOR(was_told(world, "-" SELF " +" SELF "*1 "));
}

static void a_key_that_somebody_deletes_comes_back(void **state) {
  struct world *world = *state;
  world->config.reconcile_ms = 600000;
  begin_entered(world);
  int64_t lease = lease_of(world);
  WAIT_FOR(fake_watches(&world->etcd) == 1);
  fake_delete(&world->etcd, SELF);
  WAIT_FOR(is_registered(world));
  assert_true(lease_of(world) == lease);
  WAIT_FOR(lines_with(world, "registration lost") == 1);
}

static void a_key_that_a_list_lacks_comes_back(void **state) {
  struct world *world = *state;
  begin_entered(world);
  WAIT_FOR(fake_watches(&world->etcd) == 1);
  fake_mute(&world->etcd, true);
  fake_delete(&world->etcd, SELF);
  WAIT_FOR(is_registered(world));
}

static void a_key_under_another_lease_is_taken_back_without_a_fight(void **state) {
  struct world *world = *state;
  begin_entered(world);
  int64_t lease = lease_of(world);
  unsigned puts = fake_count(&world->etcd, "put");
  uint64_t begun = lc_clock_ms();
  for (int i = 0; i < 2; i++) {
    fake_put(&world->etcd, SELF, SELF, 4711);
    WAIT_FOR(lease_of(world) == lease && is_entered(world));
  }
  assert_int_equal(fake_count(&world->etcd, "put"), puts + 2);
  assert_true(lc_clock_ms() - begun >= 2000);
  WAIT_FOR(lines_with(world, "another process registers the same address") == 1);
}

static void a_wiped_etcd_has_the_node_again(void **state) {
  struct world *world = *state;
  begin_entered(world);
  fake_wipe(&world->etcd);
  uint64_t begun = lc_clock_ms();
  WAIT_FOR(is_registered(world));
  assert_true(lc_clock_ms() - begun < 2000);
}

static void check_registers_after(struct world *world, const char *path, int status, const char *body) {
  fake_answer(&world->etcd, path, status, body, 4);
  fake_forget_leases(&world->etcd, true);
  WAIT_FOR(is_registered(world) && is_entered(world));
}

static void a_registration_that_fails_is_tried_again_and_logged_once(void **state) {
  struct world *world = *state;
  begin_entered(world);
  check_registers_after(world, "grant", 200, "{\"header\":{\"revision\":\"3\"}}");
  check_registers_after(world, "grant", 200, "{\"ID\":{},\"TTL\":[]}");
  check_registers_after(world, "grant", 200, "rubbish");
  check_registers_after(world, "put", 200, "{}");
  check_registers_after(world, "put", 429, "{\"error\":\"etcdserver: mvcc: database space exceeded\"}");
  check_registers_after(world, "keepalive", 200, "{\"result\":3}");
  check_registers_after(world, "keepalive", 503, "{\"error\":\"etcdserver: no leader\"}");
  WAIT_FOR(lines_with(world, "database space exceeded") == 1);
  WAIT_FOR(lines_with(world, "a granted lease without ID or TTL") == 1);
  assert_int_equal(unreached_of(world), 0);
}

/* ---- leaving ---- */

static void leaving_revokes_the_lease(void **state) {
  struct world *world = *state;
  begin_entered(world);
  leave(world, 10000);
  gate_wait(&world->left, 1);
  assert_false(is_registered(world));
  assert_false(is_entered(world));
  unsigned lists = lists_of(world);
  WAIT_FOR(lists_of(world) >= lists + 3);
  assert_false(is_registered(world));
}

static void leaving_while_nobody_answers_ends_with_its_timeout(void **state) {
  struct world *world = *state;
  begin_entered(world);
  fake_answer(&world->etcd, "revoke", 200, NULL, UINT32_MAX);
  uint64_t begun = lc_clock_ms();
  leave(world, 300);
  gate_wait(&world->left, 1);
  uint64_t took = lc_clock_ms() - begun;
  assert_true(took >= 290 && took < 1500);
}

static void leaving_tries_again_while_there_is_time(void **state) {
  struct world *world = *state;
  begin_entered(world);
  fake_answer(&world->etcd, "revoke", 503, "{\"error\":\"etcdserver: no leader\"}", 2);
  leave(world, 10000);
  gate_wait(&world->left, 1);
  assert_false(is_registered(world));
}

static void leaving_without_having_entered_is_done_at_once(void **state) {
  struct world *world = *state;
  fake_down(&world->etcd);
  begin(world);
  leave(world, 60000);
  gate_wait(&world->left, 1);
  destroy_registry(world);
  create_registry(world);
  leave(world, 60000);
  gate_wait(&world->left, 2);
}

static void a_node_that_left_may_enter_again(void **state) {
  struct world *world = *state;
  begin_entered(world);
  leave(world, 10000);
  gate_wait(&world->left, 1);
  enter(world, 1);
  WAIT_FOR(is_registered(world) && is_entered(world));
}

int main(void) {
  const struct CMUnitTest tests[] = {
      WORLD_TEST(a_node_registers_under_its_lease),
      WORLD_TEST(a_weight_stands_in_the_value),
      WORLD_TEST(keepalives_go_by_the_clock_whatever_is_answered),
      WORLD_TEST(an_unknown_lease_is_granted_and_registered_again),
      WORLD_TEST(a_lease_that_ran_out_is_granted_and_registered_at_once),
      WORLD_TEST(a_key_that_somebody_deletes_comes_back),
      WORLD_TEST(a_key_that_a_list_lacks_comes_back),
      WORLD_TEST(a_key_under_another_lease_is_taken_back_without_a_fight),
      WORLD_TEST(a_wiped_etcd_has_the_node_again),
      WORLD_TEST(a_registration_that_fails_is_tried_again_and_logged_once),
      WORLD_TEST(leaving_revokes_the_lease),
      WORLD_TEST(leaving_while_nobody_answers_ends_with_its_timeout),
      WORLD_TEST(leaving_tries_again_while_there_is_time),
      WORLD_TEST(leaving_without_having_entered_is_done_at_once),
      WORLD_TEST(a_node_that_left_may_enter_again),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
