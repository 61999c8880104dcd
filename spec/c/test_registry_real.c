#include "test_registry_process.h"

/* Against Debian's etcd: what the fake can't vouch for. Skipped where it isn't installed. */

struct real {
  struct real_etcd etcd;
  struct proxy proxy; /* registries reach it through this */
};

static struct real *setup(struct world *world, bool tls) {
  if (access(ETCD_PROGRAM, X_OK) != 0)
    skip();
  struct real *real = calloc(1, sizeof *real);
  real_init(&real->etcd, tls);
  real_start(&real->etcd);
  proxy_start(&real->proxy, real->etcd.port);
  world->urls[0] = real->proxy.url;
  world->config.lease_ms = 10000;
  world->config.reconcile_ms = 0;
  return real;
}

static void finish(struct world *world, struct real *real) {
  destroy_registry(world);
  proxy_stop(&real->proxy);
  real_fini(&real->etcd);
  free(real);
}

static bool is_registered(struct real *real) {
  char value[64];
  return real_field(&real->etcd, SELF, "value", value);
}

static void wait_until(uint64_t at_ms) {
  while (lc_clock_ms() < at_ms)
    poll(NULL, 0, 5);
}

static void grant(struct real *real, char lease[64]) {
  char out[4096];
  real_post(&real->etcd, "lease/grant", "{\"TTL\":\"1\"}", out);
  const char *id = strstr(out, "\"ID\":\"");
  assert_non_null(id);
  snprintf(lease, 64, "%.*s", (int)strcspn(id + 6, "\""), id + 6);
}

static void members_come_go_and_run_out(void **state) {
  struct world *world = *state;
  struct real *real = setup(world, false);
  char lease[64], value[64];
  real_put(&real->etcd, "a:1", NULL);
  begin_entered(world);
  WAIT_FOR(list_is(world, SELF "*1 a:1*1 ") || (list_is(world, "a:1*1 ") && was_told(world, "+" SELF "*1 ")));
  assert_true(real_field(&real->etcd, SELF, "value", value));
  assert_string_equal(value, "MTI3LjAuMC4xOjgwMDE=");
  real_put(&real->etcd, "b:2", NULL);
  WAIT_FOR(was_told(world, "+b:2*1 "));
  real_delete(&real->etcd, "b:2");
  WAIT_FOR(was_told(world, "-b:2 "));
  grant(real, lease);
  real_put(&real->etcd, "c:3", lease);
  WAIT_FOR(was_told(world, "-c:3 "));
  real_delete(&real->etcd, SELF);
  WAIT_FOR(is_registered(real));
  leave(world, 5000);
  gate_wait(&world->left, 1);
  assert_false(is_registered(real));
  finish(world, real);
}

static uint64_t back_after(struct real *real) {
  uint64_t begun = lc_clock_ms();
  WAIT_FOR(is_registered(real));
  return lc_clock_ms() - begun;
}

static void a_killed_etcd_and_a_wiped_one_have_the_node_within_2_s(void **state) {
  struct world *world = *state;
  struct real *real = setup(world, false);
  begin_entered(world);
  real_put(&real->etcd, "a:1", NULL);
  WAIT_FOR(was_told(world, "+a:1*1 "));
  real_kill(&real->etcd);
  WAIT_FOR(unreached_of(world) == 1);
  wait_until(lc_clock_ms() + 4000);
  real_start(&real->etcd);
  WAIT_FOR(reached_of(world) == 2);
  assert_true(is_registered(real));
  real_kill(&real->etcd);
  WAIT_FOR(unreached_of(world) == 2);
  real_wipe(&real->etcd);
  real_start(&real->etcd);
  uint64_t took = back_after(real);
  print_message("          registered again %llu ms after a wiped etcd's return\n", (unsigned long long)took);
  assert_true(took < 2000);
  real_put(&real->etcd, "b:2", NULL);
  WAIT_FOR(was_told(world, "+b:2*1 "));
  assert_int_equal(world->deletes, 0);
  assert_int_equal(lines_with(world, "etcd unreachable"), 2);
  finish(world, real);
}

static void a_compacted_history_is_listed(void **state) {
  struct world *world = *state;
  struct real *real = setup(world, false);
  char out[4096];
  real_put(&real->etcd, "a:1", NULL);
  begin_entered(world);
  real->proxy.cut = true;
  WAIT_FOR(unreached_of(world) == 1);
  for (int i = 0; i < 10; i++)
    real_put(&real->etcd, "b:2", NULL);
  real_delete(&real->etcd, "a:1");
  real_post(&real->etcd, "kv/compaction", "{\"revision\":\"13\"}", out);
  assert_non_null(strstr(out, " 200 OK"));
  real->proxy.cut = false;
  WAIT_FOR(lines_with(world, "etcd watch compacted") == 1);
  WAIT_FOR(list_is(world, SELF "*1 b:2*1 "));
  real_put(&real->etcd, "c:3", NULL); /* before that list, or after it */
  WAIT_FOR(was_told(world, "+c:3*1 ") || list_is(world, SELF "*1 b:2*1 c:3*1 "));
  real_put(&real->etcd, "d:4", NULL);
  WAIT_FOR(was_told(world, "+d:4*1 "));
  finish(world, real);
}

/* Replies come 5 s late; the lease is 10 s. */
static void a_slow_etcd_costs_nobody_the_lease(void **state) {
  struct world *world = *state;
  struct real *real = setup(world, false);
  char before[64], after[64];
  begin_entered(world);
  assert_true(real_field(&real->etcd, SELF, "create_revision", before));
  real->proxy.delay_ms = 5000;
  for (uint64_t until = lc_clock_ms() + 25000; lc_clock_ms() < until; wait_until(lc_clock_ms() + 100))
    assert_true(is_registered(real));
  assert_true(real_field(&real->etcd, SELF, "create_revision", after));
  assert_string_equal(before, after);
  assert_int_equal(lines_with(world, "lease lost"), 0);
  assert_int_equal(unreached_of(world), 0);
  real_put(&real->etcd, "a:1", NULL);
  WAIT_FOR(was_told(world, "+a:1*1 "));
  finish(world, real);
}

/* No RST, no FIN, no answer: the lease runs out meanwhile. */
static void a_network_that_goes_silent_is_noticed_and_survived(void **state) {
  struct world *world = *state;
  struct real *real = setup(world, false);
  world->config.lease_ms = 3000;
  world->config.reconcile_ms = 1000;
  begin_entered(world);
  real->proxy.frozen = true;
  WAIT_FOR(unreached_of(world) == 1);
  WAIT_FOR(!is_registered(real));
  real->proxy.frozen = false;
  uint64_t took = back_after(real);
  print_message("          registered again %llu ms after the network's return\n", (unsigned long long)took);
  assert_true(took < 2000);
  real_put(&real->etcd, "a:1", NULL);
  WAIT_FOR(was_told(world, "+a:1*1 ") || list_is(world, SELF "*1 a:1*1 "));
  finish(world, real);
}

static void post_ok(struct real *real, const char *path, const char *body) {
  char out[4096];
  real_post(&real->etcd, path, body, out);
  assert_non_null(strstr(out, " 200 OK"));
}

static void enable_users(struct real *real) {
  post_ok(real, "auth/user/add", "{\"name\":\"root\",\"password\":\"secret\"}");
  post_ok(real, "auth/role/add", "{\"name\":\"root\"}");
  post_ok(real, "auth/user/grant", "{\"user\":\"root\",\"role\":\"root\"}");
  post_ok(real, "auth/enable", "{}");
}

static void a_user_and_password_open_it(void **state) {
  struct world *world = *state;
  struct real *real = setup(world, false);
  enable_users(real);
  begin(world);
  WAIT_FOR(unreached_of(world) == 1);
  assert_non_null(strstr(world->why, "user name is empty"));
  destroy_registry(world);
  world->config.user = "root";
  world->config.password = "wrong";
  begin(world);
  WAIT_FOR(unreached_of(world) == 2);
  assert_non_null(strstr(world->why, "authentication failed"));
  destroy_registry(world);
  world->config.password = "secret";
  begin_entered(world);
  wait_until(lc_clock_ms() + 1100);
  real_kill(&real->etcd); /* and with it the tokens it gave out */
  WAIT_FOR(unreached_of(world) == 3);
  real_start(&real->etcd);
  WAIT_FOR(list_is(world, SELF "*1 ") && reached_of(world) >= 2);
  leave(world, 5000);
  gate_wait(&world->left, 1);
  WAIT_FOR(was_told(world, "-" SELF " "));
  finish(world, real);
}

static void tls_with_certificates_on_both_sides(void **state) {
  struct world *world = *state;
  struct real *real = setup(world, true);
  char ca[96], cert[96], key[96];
  snprintf(ca, sizeof ca, "%s/ca.pem", real->etcd.dir);
  snprintf(cert, sizeof cert, "%s/cert.pem", real->etcd.dir);
  snprintf(key, sizeof key, "%s/key.pem", real->etcd.dir);
  world->urls[0] = real->etcd.url;
  begin(world);
  WAIT_FOR(unreached_of(world) == 1);
  assert_non_null(strstr(world->why, "certificate"));
  destroy_registry(world);
  world->config.tls.ca_file = ca;
  begin(world);
  WAIT_FOR(unreached_of(world) == 2);
  destroy_registry(world);
  world->config.tls.cert_file = cert;
  world->config.tls.key_file = key;
  begin_entered(world);
  WAIT_FOR(was_told(world, "+" SELF "*1 ") || list_is(world, SELF "*1 "));
  leave(world, 5000);
  gate_wait(&world->left, 1);
  WAIT_FOR(was_told(world, "-" SELF " "));
  finish(world, real);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      WORLD_TEST(members_come_go_and_run_out),
      WORLD_TEST(a_killed_etcd_and_a_wiped_one_have_the_node_within_2_s),
      WORLD_TEST(a_compacted_history_is_listed),
      WORLD_TEST(a_slow_etcd_costs_nobody_the_lease),
      WORLD_TEST(a_network_that_goes_silent_is_noticed_and_survived),
      WORLD_TEST(a_user_and_password_open_it),
      WORLD_TEST(tls_with_certificates_on_both_sides),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
