#include "test_registry_support.h"

#include "registry/base64.h"

/* What a registry tells of the other members: lists, events, and what becomes of them when etcd misbehaves. */

static void slow_reconcile(struct world *world) {
  world->config.reconcile_ms = 600000;
}

static void begin_watching(struct world *world) {
  begin(world);
  WAIT_FOR(fake_watches(&world->etcd) == 1);
}

/* ---- lists and events ---- */

static void members_are_listed_with_their_weights(void **state) {
  struct world *world = *state;
  fake_put(&world->etcd, "10.0.0.2:8001", "10.0.0.2:8001 weight=3", 0);
  fake_put(&world->etcd, "10.0.0.1:8001", "10.0.0.1:8001", 0);
  fake_put(&world->etcd, "[::1]:8001", "[::1]:8001", 0);
  begin(world);
  WAIT_FOR(list_is(world, "10.0.0.1:8001*1 10.0.0.2:8001*3 [::1]:8001*1 "));
  assert_int_equal(reached_of(world), 1);
}

static void an_empty_service_is_an_empty_list(void **state) {
  begin(*state);
  WAIT_FOR(list_is(*state, ""));
}

static void the_range_ends_with_the_service(void **state) {
  struct world *world = *state;
  char body[512];
  begin_watching(world);
  fake_last_body(&world->etcd, "range", body);
  assert_non_null(strstr(body, "\"key\":\"L3NlcnZpY2VzL2xjYWNoZS8=\",\"range_end\":\"L3NlcnZpY2VzL2xjYWNoZTA=\""));
  fake_last_body(&world->etcd, "watch", body);
  assert_non_null(strstr(body, "\"key\":\"L3NlcnZpY2VzL2xjYWNoZS8=\",\"range_end\":\"L3NlcnZpY2VzL2xjYWNoZTA=\""));
  assert_non_null(strcasestr(world->etcd.last_head, "\r\nGrpc-Metadata-hasleader: true\r\n"));
}

static void events_are_told_though_chunks_cut_their_lines(void **state) {
  struct world *world = *state;
  slow_reconcile(world);
  begin_watching(world);
  fake_put(&world->etcd, "a:1", "a:1 weight=5", 0);
  fake_put(&world->etcd, "b:2", "b:2", 0);
  WAIT_FOR(was_told(world, "+a:1*5 +b:2*1 "));
  fake_delete(&world->etcd, "a:1");
  WAIT_FOR(was_told(world, "-a:1 "));
  assert_int_equal(world->lists, 1);
}

static void what_is_no_address_is_ignored_and_told_once(void **state) {
  struct world *world = *state;
  fake_put(&world->etcd, "nonsense", "x", 0);
  fake_put(&world->etcd, "a:0", "a:0", 0);
  fake_put(&world->etcd, "a b:1", "a b:1", 0);
  fake_put(&world->etcd, "c:3", "c:3", 0);
  begin(world);
  WAIT_FOR(lists_of(world) >= 3);
  assert_true(list_is(world, "c:3*1 "));
  WAIT_FOR(lines_with(world, "etcd key ignored: not HOST:PORT") == 3);
  assert_int_equal(fake_watches(&world->etcd), 1);
}

static void a_value_that_says_something_else_is_tolerated(void **state) {
  struct world *world = *state;
  fake_put(&world->etcd, "a:1", "127.0.0.1:9999", 0);
  fake_put(&world->etcd, "b:2", "b:2 weight=many", 0);
  fake_put(&world->etcd, "c:3", "c:3 weight=101", 0);
  fake_put(&world->etcd, "d:4", "", 0);
  begin(world);
  WAIT_FOR(lists_of(world) >= 3);
  assert_true(list_is(world, "a:1*1 b:2*1 c:3*1 d:4*1 "));
  WAIT_FOR(lines_with(world, "etcd value is not its key's address") == 3);
}

/* ---- watches that end, or don't tell ---- */

static void a_watch_that_breaks_goes_on_where_it_was(void **state) {
  struct world *world = *state;
  slow_reconcile(world);
  fake_put(&world->etcd, "a:1", "a:1", 0);
  begin_watching(world);
  fake_mute(&world->etcd, true);
  fake_delete(&world->etcd, "a:1");
  fake_put(&world->etcd, "b:2", "b:2", 0);
  fake_break_watches(&world->etcd);
  WAIT_FOR(list_is(world, "b:2*1 "));
  assert_false(was_told(world, "-a:1 "));
  fake_mute(&world->etcd, false);
  WAIT_FOR(was_told(world, "-a:1 "));
  assert_false(was_told(world, "+b:2"));
}

static void a_member_that_is_back_already_is_not_told_as_gone(void **state) {
  struct world *world = *state;
  slow_reconcile(world);
  fake_put(&world->etcd, "a:1", "a:1", 0);
  begin_watching(world);
  fake_mute(&world->etcd, true);
  fake_delete(&world->etcd, "a:1");
  fake_put(&world->etcd, "a:1", "a:1 weight=2", 0);
  fake_break_watches(&world->etcd);
  WAIT_FOR(list_is(world, "a:1*2 "));
  fake_put(&world->etcd, "b:2", "b:2", 0);
  fake_mute(&world->etcd, false);
  WAIT_FOR(was_told(world, "+b:2*1 ") || list_is(world, "a:1*2 b:2*1 "));
  fake_put(&world->etcd, "c:3", "c:3", 0);
  WAIT_FOR(was_told(world, "+c:3*1 "));
  assert_int_equal(world->deletes, 0);
}

static void a_compacted_watch_lists_and_begins_behind_it(void **state) {
  struct world *world = *state;
  char body[512];
  slow_reconcile(world);
  fake_put(&world->etcd, "a:1", "a:1", 0);
  begin_watching(world);
  fake_mute(&world->etcd, true);
  fake_put(&world->etcd, "b:2", "b:2", 0);
  fake_delete(&world->etcd, "a:1");
  fake_compact(&world->etcd);
  fake_mute(&world->etcd, false);
  WAIT_FOR(list_is(world, "b:2*1 "));
  WAIT_FOR(lines_with(world, "etcd watch compacted") == 1);
  fake_put(&world->etcd, "c:3", "c:3", 0); /* before that list, or after it */
  WAIT_FOR(was_told(world, "+c:3*1 ") || list_is(world, "b:2*1 c:3*1 "));
  fake_put(&world->etcd, "d:4", "d:4", 0);
  WAIT_FOR(was_told(world, "+d:4*1 "));
  fake_last_body(&world->etcd, "watch", body);
  assert_true(strstr(body, "\"start_revision\":\"5\"") != NULL || strstr(body, "\"start_revision\":\"6\"") != NULL);
  assert_int_equal(fake_watches(&world->etcd), 1);
}

static void a_watch_that_is_silent_is_replaced(void **state) {
  struct world *world = *state;
  fake_put(&world->etcd, "a:1", "a:1", 0);
  begin_watching(world);
  fake_mute(&world->etcd, true);
  fake_delete(&world->etcd, "a:1");
  WAIT_FOR(list_is(world, ""));
  fake_mute(&world->etcd, false);
  WAIT_FOR(was_told(world, "-a:1 "));
}

static void a_dead_watch_is_replaced_though_it_stays_silent(void **state) {
  struct world *world = *state;
  begin_watching(world);
  fake_mute(&world->etcd, true);
  fake_put(&world->etcd, "a:1", "a:1", 0);
  WAIT_FOR(lines_with(world, "etcd watch was silent") >= 1);
  WAIT_FOR(fake_count(&world->etcd, "watch") >= 2);
}

static void a_list_finds_what_the_watch_lost(void **state) {
  struct world *world = *state;
  begin_watching(world);
  fake_mute(&world->etcd, true);
  fake_put(&world->etcd, "a:1", "a:1", 0);
  WAIT_FOR(list_is(world, "a:1*1 "));
}

static void an_etcd_that_lost_its_data_is_listed_and_watched_anew(void **state) {
  struct world *world = *state;
  for (int i = 0; i < 20; i++)
    fake_put(&world->etcd, "a:1", "a:1", 0);
  begin_watching(world);
  fake_wipe(&world->etcd);
  WAIT_FOR(list_is(world, ""));
  WAIT_FOR(lines_with(world, "etcd has lost its data") == 1);
  fake_put(&world->etcd, "b:2", "b:2", 0);
  WAIT_FOR(was_told(world, "+b:2*1 "));
}

static void a_hint_lists_at_once_but_not_for_each_call(void **state) {
  struct world *world = *state;
  slow_reconcile(world);
  begin_watching(world);
  fake_mute(&world->etcd, true);
  fake_put(&world->etcd, "a:1", "a:1", 0);
  uint64_t begun = lc_clock_ms();
  for (int i = 0; i < 200; i++)
    refresh(world);
  WAIT_FOR(list_is(world, "a:1*1 "));
  assert_true(fake_count(&world->etcd, "range") <= 3 + (lc_clock_ms() - begun) / 200);
}

/* ---- broken and hostile answers ---- */

static void check_kept(struct world *world, int status, const char *body, const char *why) {
  unsigned lists = lists_of(world), unreached = unreached_of(world);
  unsigned asked = fake_count(&world->etcd, "range");
  fake_answer(&world->etcd, "range", status, body, UINT32_MAX);
  WAIT_FOR(unreached_of(world) == unreached + 1);
  WAIT_FOR(fake_count(&world->etcd, "range") >= asked + 3);
  assert_int_equal(unreached_of(world), unreached + 1);
  assert_true(lists_of(world) <= lists + 1);
  assert_true(list_is(world, "a:1*1 "));
  assert_non_null(strstr(world->why, why));
  unsigned reached = reached_of(world);
  fake_answer(&world->etcd, "range", 200, "", 0);
  WAIT_FOR(reached_of(world) == reached + 1);
}

static void a_broken_list_changes_nothing(void **state) {
  struct world *world = *state;
  static char huge[3u << 20], deep[20000];
  memset(huge, ' ', sizeof huge - 1);
  memset(deep, '[', sizeof deep - 1);
  fake_put(&world->etcd, "a:1", "a:1", 0);
  begin_watching(world);
  check_kept(world, 200, "<html>hello</html>", "/v3/kv/range: not JSON");
  check_kept(world, 200, "{\"header\":{\"revision\":\"9\"}", "/v3/kv/range: not JSON");
  check_kept(world, 200, "[]", "not JSON");
  check_kept(world, 200, "", "not JSON");
  check_kept(world, 200, deep, "not JSON");
  check_kept(world, 200, huge, "response over 2097152 bytes");
  check_kept(world, 200, "{}", "a list without a revision");
  check_kept(world, 200, "{\"header\":7}", "a list without a revision");
  check_kept(world, 200, "{\"header\":{\"revision\":\"x\"}}", "a list without a revision");
  check_kept(world, 200, "{\"header\":{\"revision\":\"99999999999999999999\"}}", "a list without a revision");
  check_kept(world, 200, "{\"header\":{\"revision\":\"9\"},\"kvs\":{}}", "kvs is no array");
  check_kept(world, 200, "{\"header\":{\"revision\":\"9\"},\"kvs\":[1]}", "a malformed entry");
  check_kept(world, 200, "{\"header\":{\"revision\":\"9\"},\"kvs\":[{\"key\":\"%%\",\"mod_revision\":\"1\"}]}",
             "a malformed entry");
  check_kept(world, 200, "{\"header\":{\"revision\":\"9\"},\"kvs\":[{\"key\":\"YTox\",\"mod_revision\":\"1\"}]}",
             "a malformed entry");
  check_kept(world, 503, "{\"error\":\"etcdserver: no leader\",\"code\":14}",
             "/v3/kv/range: 503 etcdserver: no leader");
  check_kept(world, 404, "404 page not found", "/v3/kv/range: 404 ");
}

static void check_watch_survives(struct world *world, const char *body) {
  static int number;
  char address[32], event[40];
  unsigned watches = fake_count(&world->etcd, "watch");
  fake_answer(&world->etcd, "watch", 200, body, 2);
  fake_break_watches(&world->etcd);
  WAIT_FOR(fake_count(&world->etcd, "watch") >= watches + 3 && fake_watches(&world->etcd) == 1);
  snprintf(address, sizeof address, "n:%d", ++number);
  snprintf(event, sizeof event, "+%s*1 ", address);
  fake_put(&world->etcd, address, address, 0);
  WAIT_FOR(was_told(world, event));
}

static void a_broken_watch_is_left_for_another(void **state) {
  struct world *world = *state;
  static char huge[3u << 20];
  memset(huge, 'x', sizeof huge - 1);
  slow_reconcile(world);
  begin_watching(world);
  check_watch_survives(world, "what?\n");
  check_watch_survives(world, "[]\n");
  check_watch_survives(world, "{}\n");
  check_watch_survives(world, "{\"result\":1}\n");
  check_watch_survives(world, "{\"result\":{\"events\":1}}\n");
  check_watch_survives(world, "{\"result\":{\"events\":[1]}}\n");
  check_watch_survives(world, "{\"result\":{\"events\":[{\"type\":\"DELETE\",\"kv\":{}}]}}\n");
  check_watch_survives(world, "{\"result\":{\"events\":[{\"type\":\"BANG\"}]}}\n");
  check_watch_survives(world, "{\"result\":{\"events\":[{\"kv\":{\"key\":7,\"mod_revision\":\"2\"}}]}}\n");
  check_watch_survives(world, "{\"error\":{\"grpc_code\":14,\"message\":\"etcdserver: no leader\"}}\n");
  check_watch_survives(world, "{\"result\":{\"canceled\":true,\"cancel_reason\":\"permission denied\"}}\n");
  check_watch_survives(world, huge);
  WAIT_FOR(lines_with(world, "/v3/watch: not JSON") == 1);
  WAIT_FOR(lines_with(world, "a line too long") == 1);
  WAIT_FOR(lines_with(world, "etcdserver: no leader") == 1);
}

static void thousands_of_members_are_bounded(void **state) {
  struct world *world = *state;
  struct lc_buf body;
  lc_buf_init(&body);
  lc_buf_str(&body, "{\"header\":{\"revision\":\"9\"},\"kvs\":[");
  for (int i = 0; i < 5000; i++) {
    char key[64];
    struct lc_buf text;
    lc_buf_init(&text);
    snprintf(key, sizeof key, "/services/lcache/h%04d:80", i);
    lc_base64_encode(lc_slice_str(key), &text);
    lc_buf_printf(&body, "%s{\"key\":\"%.*s\",\"mod_revision\":\"3\"}", i > 0 ? "," : "", (int)text.len,
                  (const char *)text.data);
    lc_buf_fini(&text);
  }
  lc_buf_str(&body, "]}");
  lc_buf_char(&body, '\0');
  fake_answer(&world->etcd, "range", 200, (const char *)body.data, UINT32_MAX);
  begin(world);
  WAIT_FOR(lists_of(world) >= 3);
  assert_int_equal(world->list_count, 4096);
  WAIT_FOR(lines_with(world, "etcd has too many members") == 1);
  fake_answer(&world->etcd, "range", 200, "", 0);
  lc_buf_fini(&body);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      WORLD_TEST(members_are_listed_with_their_weights),
      WORLD_TEST(an_empty_service_is_an_empty_list),
      WORLD_TEST(the_range_ends_with_the_service),
      WORLD_TEST(events_are_told_though_chunks_cut_their_lines),
      WORLD_TEST(what_is_no_address_is_ignored_and_told_once),
      WORLD_TEST(a_value_that_says_something_else_is_tolerated),
      WORLD_TEST(a_watch_that_breaks_goes_on_where_it_was),
      WORLD_TEST(a_member_that_is_back_already_is_not_told_as_gone),
      WORLD_TEST(a_compacted_watch_lists_and_begins_behind_it),
      WORLD_TEST(a_watch_that_is_silent_is_replaced),
      WORLD_TEST(a_dead_watch_is_replaced_though_it_stays_silent),
      WORLD_TEST(a_list_finds_what_the_watch_lost),
      WORLD_TEST(an_etcd_that_lost_its_data_is_listed_and_watched_anew),
      WORLD_TEST(a_hint_lists_at_once_but_not_for_each_call),
      WORLD_TEST(a_broken_list_changes_nothing),
      WORLD_TEST(a_broken_watch_is_left_for_another),
      WORLD_TEST(thousands_of_members_are_bounded),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
