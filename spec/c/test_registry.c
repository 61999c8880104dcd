#include "test_registry_support.h"

#include "registry/base64.h"

/* ---- a fixed list ---- */

struct fixed_world {
  struct lc_worker *worker;
  struct lc_registry *registry;
  struct gate told, left;
  char list[256];
};

static void on_fixed_list(void *arg, const struct lc_registry_member *members, size_t count) {
  struct fixed_world *world = arg;
  for (size_t i = 0; i < count; i++) {
    size_t used = strlen(world->list);
    snprintf(world->list + used, sizeof world->list - used, "%s*%u ", members[i].address, members[i].weight);
  }
  gate_raise(&world->told);
}

static void on_fixed_left(void *arg) {
  gate_raise(&((struct fixed_world *)arg)->left);
}

static void start_fixed(void *arg) {
  struct fixed_world *world = arg;
  char address[] = "b:2";
  struct lc_registry_member members[] = {{"a:1", 1}, {address, 7}};
  struct lc_registry_handler handler = {.on_list = on_fixed_list};
  assert_int_equal(lc_registry_fixed_create(world->worker, members, 2, &handler, world, &world->registry), 0);
  memset(address, 'x', 3);
  lc_registry_start(world->registry);
  lc_registry_refresh(world->registry);
  assert_string_equal(world->list, "");
}

static void leave_fixed(void *arg) {
  struct fixed_world *world = arg;
  lc_registry_enter(world->registry, "a:1", 1);
  assert_true(lc_registry_entered(world->registry));
  lc_registry_leave(world->registry, 1000, on_fixed_left, world);
  assert_int_equal(world->left.count, 0);
}

static void destroy_fixed(void *arg) {
  lc_registry_destroy(((struct fixed_world *)arg)->registry);
}

static void a_fixed_list_is_told_once_and_later(void **state) {
  (void)state;
  struct fixed_world world = {.worker = start_worker(0), .told = GATE_INIT, .left = GATE_INIT};
  on_worker(world.worker, start_fixed, &world);
  gate_wait(&world.told, 1);
  assert_string_equal(world.list, "a:1*1 b:2*7 ");
  on_worker(world.worker, leave_fixed, &world);
  gate_wait(&world.left, 1);
  on_worker(world.worker, destroy_fixed, &world);
  end_worker(world.worker);
  assert_int_equal(world.told.count, 1);
}

static void create_fixed_starved(void *arg) {
  struct fixed_world *world = arg;
  struct lc_registry_member member = {"a:1", 1};
  struct lc_registry_handler handler = {0};
  lc_alloc_fail_at(1);
  assert_int_equal(lc_registry_fixed_create(world->worker, &member, 1, &handler, world, &world->registry), LC_ENOMEM);
  lc_alloc_fail_at(0);
}

static void a_fixed_list_without_memory_is_an_error(void **state) {
  (void)state;
  if (!lc_alloc_faults_built())
    skip();
  struct fixed_world world = {.worker = start_worker(0)};
  on_worker(world.worker, create_fixed_starved, &world);
  end_worker(world.worker);
}

/* ---- what is refused ---- */

static void check_refused(struct world *world, const char *url, const char *service, uint64_t lease_ms,
                          const char *message) {
  world->urls[0] = url;
  world->config.service = service;
  world->config.lease_ms = lease_ms;
  create_registry(world);
  assert_int_equal(world->rc, LC_EINVAL);
  assert_null(world->registry);
  assert_string_equal(world->err.msg, message);
}

static void what_cannot_work_is_refused(void **state) {
  static const char url[] = "http://127.0.0.1:2379";
  check_refused(*state, "127.0.0.1:2379", "s", 10000, "127.0.0.1:2379: not a URL of etcd, use http://127.0.0.1:2379");
  check_refused(*state, "http://", "s", 10000, "http://: not a URL of etcd, use http://127.0.0.1:2379");
  check_refused(*state, "http://h:1/v3", "s", 10000, "http://h:1/v3: not a URL of etcd, use http://127.0.0.1:2379");
  check_refused(*state, "http://me:pw@h:1", "s", 10000, "a URL of etcd has no user in it: there are options for that");
  check_refused(*state, url, "a/b", 10000, "a/b: not a service name: it must not be empty, nor have a slash");
  check_refused(*state, url, "", 10000, ": not a service name: it must not be empty, nor have a slash");
  check_refused(*state, url, "s", 1999, "a lease lasts at least 2s");
}

static void create_starved(void *arg) {
  struct world *world = arg;
  struct lc_registry_handler handler = {0};
  world->config.user = world->config.password = world->config.tls.ca_file = "x";
  int rc = LC_ENOMEM;
  for (size_t n = 1; rc != 0; n++) {
    lc_alloc_fail_at(n);
    rc = lc_registry_etcd_create(&world->config, &handler, NULL, &world->registry, NULL);
    lc_alloc_fail_at(0);
    assert_true(rc == 0 || rc == LC_ENOMEM);
    world->lists++;
  }
}

static void creating_survives_each_failed_allocation(void **state) {
  struct world *world = *state;
  if (!lc_alloc_faults_built())
    skip();
  on_worker(world->worker, create_starved, world);
  assert_true(world->lists > 8);
  assert_non_null(world->registry);
}

/* ---- base64 (RFC 4648, 10) ---- */

static void check_base64(const char *plain, const char *coded) {
  struct lc_buf buf;
  lc_buf_init(&buf);
  assert_int_equal(lc_base64_encode(lc_slice_str(plain), &buf), 0);
  assert_true(lc_slice_eq(lc_buf_slice(&buf), lc_slice_str(coded)));
  buf.len = 0;
  assert_int_equal(lc_base64_decode(lc_slice_str(coded), &buf), 0);
  assert_true(lc_slice_eq(lc_buf_slice(&buf), lc_slice_str(plain)));
  lc_buf_fini(&buf);
}

static void base64_has_the_vectors_of_the_rfc(void **state) {
  (void)state;
  check_base64("", "");
  check_base64("f", "Zg==");
  check_base64("fo", "Zm8=");
  check_base64("foo", "Zm9v");
  check_base64("foob", "Zm9vYg==");
  check_base64("fooba", "Zm9vYmE=");
  check_base64("foobar", "Zm9vYmFy");
  check_base64("\xfb\xff\xbe", "+/++");
}

static void what_is_not_base64_is_refused(void **state) {
  (void)state;
  static const char *const bad[] = {
      "Z", "Zg", "Zg=", "Zg===", "Zh==", "Zm9=", "Z===", "====", "Zg==Zg==", "Zm 9", "Zm9v\n", "Zm-_", "\xc3\xa4Zm"};
  for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
    struct lc_buf buf;
    lc_buf_init(&buf);
    assert_int_equal(lc_base64_decode(lc_slice_str(bad[i]), &buf), LC_EPROTO);
    lc_buf_fini(&buf);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(a_fixed_list_is_told_once_and_later),
      cmocka_unit_test(a_fixed_list_without_memory_is_an_error),
      WORLD_TEST(what_cannot_work_is_refused),
      WORLD_TEST(creating_survives_each_failed_allocation),
      cmocka_unit_test(base64_has_the_vectors_of_the_rfc),
      cmocka_unit_test(what_is_not_base64_is_refused),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
