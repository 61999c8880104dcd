#include "test_registry_support.h"

/* An etcd that can't be reached, several of them, authentication; no memory; ends of all kinds. */

static bool is_registered(struct world *world) {
  return fake_value(&world->etcd, SELF, NULL, NULL);
}

static void an_outage_is_told_at_its_ends_and_changes_nothing(void **state) {
  struct world *world = *state;
  fake_put(&world->etcd, "a:1", "a:1", 0);
  begin_entered(world);
  WAIT_FOR(list_is(world, SELF "*1 a:1*1 "));
  fake_down(&world->etcd);
  WAIT_FOR(unreached_of(world) == 1);
  assert_non_null(strstr(world->why, "connection refused"));
  assert_int_equal(world->deletes, 0);
  fake_up(&world->etcd);
  WAIT_FOR(reached_of(world) == 2);
  WAIT_FOR(lines_with(world, "etcd unreachable") == 1 && lines_with(world, "etcd reached") == 2);
  assert_true(list_is(world, SELF "*1 a:1*1 "));
  assert_true(is_entered(world));
}

static void an_etcd_that_comes_back_empty_has_the_node_within_2_s(void **state) {
  struct world *world = *state;
  begin_entered(world);
  fake_down(&world->etcd);
  WAIT_FOR(unreached_of(world) == 1);
  fake_wipe(&world->etcd);
  fake_up(&world->etcd);
  uint64_t begun = lc_clock_ms();
  WAIT_FOR(is_registered(world));
  assert_true(lc_clock_ms() - begun < 2000);
}

static void a_node_started_before_etcd_joins_when_it_comes(void **state) {
  struct world *world = *state;
  fake_down(&world->etcd);
  begin(world);
  enter(world, 1);
  WAIT_FOR(unreached_of(world) == 1);
  assert_false(is_entered(world));
  assert_int_equal(lists_of(world), 0);
  fake_up(&world->etcd);
  WAIT_FOR(is_registered(world));
}

static void note_cpu(void *arg) {
  *(uint64_t *)arg = lc_clock_thread_cpu_ns();
}

static void an_outage_costs_no_cpu(void **state) {
  struct world *world = *state;
  uint64_t before, after;
  fake_down(&world->etcd);
  begin(world);
  enter(world, 1);
  WAIT_FOR(unreached_of(world) == 1);
  on_worker(world->worker, note_cpu, &before);
  uint64_t until = lc_clock_ms() + 3000;
  WAIT_FOR(lc_clock_ms() >= until);
  on_worker(world->worker, note_cpu, &after);
  print_message("          %llu us of CPU in 3 s\n", (unsigned long long)(after - before) / 1000);
  assert_true(after - before < 60000000);
  assert_int_equal(unreached_of(world), 1);
}

/* Two that are no more, one that is. */
static void all_endpoints_are_tried_in_turn(void **state) {
  struct world *world = *state;
  struct fake_etcd gone[2];
  for (int i = 0; i < 2; i++) {
    fake_start(&gone[i]);
    fake_down(&gone[i]);
    world->urls[i] = gone[i].url;
  }
  world->urls[2] = world->etcd.url;
  world->config.endpoint_count = 3;
  begin_entered(world);
  assert_int_equal(unreached_of(world), 0);
  fake_down(&world->etcd);
  WAIT_FOR(unreached_of(world) == 1);
  fake_up(&gone[0]);
  WAIT_FOR(fake_value(&gone[0], SELF, NULL, NULL));
  destroy_registry(world);
  for (int i = 0; i < 2; i++)
    fake_stop(&gone[i]);
}

static void an_endpoint_that_never_answers_is_left_for_the_next(void **state) {
  struct world *world = *state;
  struct fake_etcd mute;
  fake_start(&mute);
  fake_answer(&mute, "range", 200, NULL, UINT32_MAX);
  world->urls[0] = mute.url;
  world->urls[1] = world->etcd.url;
  world->config.endpoint_count = 2;
  begin(world);
  enter(world, 1);
  WAIT_FOR(is_registered(world));
  assert_int_equal(unreached_of(world), 0);
  destroy_registry(world);
  fake_stop(&mute);
}

/* ---- authentication ---- */

static void a_user_is_authenticated_and_again_when_the_token_is_old(void **state) {
  struct world *world = *state;
  fake_require_token(&world->etcd);
  world->config.user = "ro\"ot";
  world->config.password = "secret";
  begin_entered(world);
  unsigned watches = fake_count(&world->etcd, "watch");
  uint64_t until = lc_clock_ms() + 1100;
  WAIT_FOR(lc_clock_ms() >= until);
  unsigned lists = lists_of(world);
  fake_require_token(&world->etcd);
  WAIT_FOR(lists_of(world) >= lists + 2);
  assert_int_equal(unreached_of(world), 0);
  fake_forget_leases(&world->etcd, true);
  WAIT_FOR(is_registered(world));
  fake_break_watches(&world->etcd);
  WAIT_FOR(fake_count(&world->etcd, "watch") > watches && fake_watches(&world->etcd) == 1);
  assert_true(fake_count(&world->etcd, "authenticate") < 10);
  assert_int_equal(unreached_of(world), 0);
}

static void a_wrong_password_is_told(void **state) {
  struct world *world = *state;
  fake_require_token(&world->etcd);
  world->config.user = "root";
  world->config.password = "wrong";
  begin(world);
  WAIT_FOR(unreached_of(world) == 1);
  assert_non_null(strstr(world->why, "/v3/auth/authenticate: 400 etcdserver: authentication failed"));
  assert_null(strstr(world->why, "wrong"));
  WAIT_FOR(fake_count(&world->etcd, "authenticate") >= 3);
  assert_int_equal(unreached_of(world), 1);
  assert_int_equal(fake_count(&world->etcd, "range"), 0);
}

static void a_user_is_no_harm_where_nobody_asks_for_one(void **state) {
  struct world *world = *state;
  world->config.user = "root";
  begin_entered(world);
  assert_int_equal(fake_count(&world->etcd, "authenticate"), 1);
}

static void without_a_user_a_refusal_is_told(void **state) {
  struct world *world = *state;
  fake_require_token(&world->etcd);
  begin(world);
  WAIT_FOR(unreached_of(world) == 1);
  assert_non_null(strstr(world->why, "/v3/kv/range: 401 etcdserver: invalid auth token"));
}

/* ---- ends ---- */

static void destroying_works_in_any_state(void **state) {
  struct world *world = *state;
  static const char *const hanging[] = {"range", "grant", "put", "keepalive", "watch", "revoke"};
  create_registry(world);
  destroy_registry(world);
  for (unsigned i = 0; i < sizeof hanging / sizeof *hanging; i++) {
    unsigned before = fake_count(&world->etcd, hanging[i]);
    fake_answer(&world->etcd, hanging[i], 200, NULL, UINT32_MAX);
    begin(world);
    enter(world, 1);
    if (strcmp(hanging[i], "revoke") == 0) {
      WAIT_FOR(is_entered(world));
      leave(world, 60000);
    }
    WAIT_FOR(fake_count(&world->etcd, hanging[i]) > before);
    destroy_registry(world);
    fake_answer(&world->etcd, hanging[i], 200, "", 0);
  }
  assert_int_equal(world->left.count, 0);
}

static void arm(void *arg) {
  ((struct world *)arg)->destroys = true;
}

static void destroying_inside_a_callback_is_fine(void **state) {
  struct world *world = *state;
  for (unsigned i = 1; i <= 4; i++) {
    if (i == 1)
      arm(world); /* on_reach */
    begin(world);
    if (i == 2) {
      WAIT_FOR(reached_of(world) >= 2);
      on_worker(world->worker, arm, world); /* on_list */
    } else if (i >= 3) {
      WAIT_FOR(fake_watches(&world->etcd) == 1);
      on_worker(world->worker, arm, world); /* on_put, or a list */
      fake_put(&world->etcd, "a:1", "a:1", 0);
    }
    gate_wait(&world->left, i);
    WAIT_FOR(fake_watches(&world->etcd) == 0);
  }
}

struct starving {
  struct world *world;
  size_t n;
};

static void enter_starved(void *arg) {
  struct starving *starving = arg;
  lc_registry_start(starving->world->registry);
  lc_registry_enter(starving->world->registry, SELF, 1);
  lc_alloc_fail_at(starving->n);
}

static void feed(void *arg) {
  (void)arg;
  lc_alloc_fail_at(0);
}

/* The worker's n-th allocation from the start on fails, once. Whatever it was for, in the end the node is there. */
static void each_failed_allocation_only_delays(void **state) {
  struct world *world = *state;
  if (!lc_alloc_faults_built())
    skip();
  fake_put(&world->etcd, "a:1", "a:1", 0);
  for (size_t n = 1; n < 150; n += n < 40 ? 1 : 7) {
    struct starving starving = {world, n};
    create_registry(world);
    assert_int_equal(world->rc, 0);
    unsigned lists = lists_of(world);
    on_worker(world->worker, enter_starved, &starving);
    WAIT_FOR(is_entered(world) && lists_of(world) > lists && fake_watches(&world->etcd) == 1);
    on_worker(world->worker, feed, NULL);
    destroy_registry(world);
    WAIT_FOR(fake_watches(&world->etcd) == 0);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      WORLD_TEST(an_outage_is_told_at_its_ends_and_changes_nothing),
      WORLD_TEST(an_etcd_that_comes_back_empty_has_the_node_within_2_s),
      WORLD_TEST(a_node_started_before_etcd_joins_when_it_comes),
      WORLD_TEST(an_outage_costs_no_cpu),
      WORLD_TEST(all_endpoints_are_tried_in_turn),
      WORLD_TEST(an_endpoint_that_never_answers_is_left_for_the_next),
      WORLD_TEST(a_user_is_authenticated_and_again_when_the_token_is_old),
      WORLD_TEST(a_wrong_password_is_told),
      WORLD_TEST(a_user_is_no_harm_where_nobody_asks_for_one),
      WORLD_TEST(without_a_user_a_refusal_is_told),
      WORLD_TEST(destroying_works_in_any_state),
      WORLD_TEST(destroying_inside_a_callback_is_fine),
      WORLD_TEST(each_failed_allocation_only_delays),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
