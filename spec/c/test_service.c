#include "test_service_support.h"

#include <string.h>

/* lcache.v1.Cache Get, Set and Delete, and pb.LCache: every status of the design by a real call. */

static int setup(void **state) {
  struct world *world = malloc(sizeof *world);
  world_init(world, 1);
  world_start(world);
  *state = world;
  return 0;
}

static int teardown(void **state) {
  world_stop(*state);
  free(*state);
  return 0;
}

static void call_with(struct answer *answer, struct peer *peer, const char *path,
                      int (*encode)(const void *request, struct lc_buf *buf), const void *request) {
  struct lc_buf buf;
  lc_buf_init(&buf);
  assert_int_equal(encode(request, &buf), 0);
  ask(answer, peer, path, lc_buf_slice(&buf));
  lc_buf_fini(&buf);
}

static int encode_set(const void *request, struct lc_buf *buf) {
  return lc_msg_set_request_encode(request, buf);
}

static int encode_delete(const void *request, struct lc_buf *buf) {
  return lc_msg_delete_request_encode(request, buf);
}

static void expect_set(struct peer *peer, const struct lc_msg_set_request *request, int status, const char *message) {
  struct answer answer;
  call_with(&answer, peer, "/lcache.v1.Cache/Set", encode_set, request);
  expect_status(&answer, status, message);
  answer_fini(&answer);
}

static struct lc_msg_set_request set_of(const char *group, const char *key, const char *value) {
  return (struct lc_msg_set_request){
      .group = lc_slice_str(group), .key = lc_slice_str(key), .value = lc_slice_str(value)};
}

static void expect_delete(struct peer *peer, const char *group, const char *key, bool deleted) {
  struct answer answer;
  const struct lc_msg_delete_request request = {.group = lc_slice_str(group), .key = lc_slice_str(key)};
  struct lc_msg_delete_response response;
  struct lc_arena arena;
  call_with(&answer, peer, "/lcache.v1.Cache/Delete", encode_delete, &request);
  expect_status(&answer, LC_GRPC_OK, "");
  lc_arena_init(&arena, NULL, 0, 0);
  assert_int_equal(lc_msg_delete_response_decode(&arena, lc_buf_slice(&answer.reply), &response, NULL), 0);
  assert_int_equal(response.deleted, deleted);
  answer_fini(&answer);
}

/* ---- Get ---- */

static void a_miss_is_loaded_and_then_a_hit(void **state) {
  struct world *world = *state;
  expect_get(&world->peer, "g", "key", "key", LC_MSG_FROM_SOURCE);
  expect_get(&world->peer, "g", "key", "key", LC_MSG_FROM_STORE);
  expect_get(&world->peer, "g", "later:x", "x", LC_MSG_FROM_SOURCE);
  expect_get(&world->peer, "g", "later:x", "x", LC_MSG_FROM_STORE);
  assert_int_equal(world->loads.started, 2);
}

static void a_value_tells_how_long_it_lives(void **state) {
  struct world *world = *state;
  struct answer answer;
  for (int i = 0; i < 2; i++) {
    get_key(&answer, &world->peer, "ttl", "key");
    assert_in_range(got(&answer).ttl_ms, 30000, 60000);
    answer_fini(&answer);
    get_key(&answer, &world->peer, "g", "key");
    assert_int_equal(got(&answer).ttl_ms, 0);
    answer_fini(&answer);
  }
}

static void expect_big(struct peer *peer, size_t len, int from) {
  struct answer answer;
  char key[32];
  snprintf(key, sizeof key, "big:%zu", len);
  get_key(&answer, peer, "g", key);
  struct lc_msg_get_response response = got(&answer);
  assert_int_equal(response.served_from, from);
  assert_int_equal(response.value.len, len);
  for (size_t at = 0; at < len; at++) {
    if (response.value.ptr[at] != 'b')
      fail_msg("byte %zu of %zu", at, len);
  }
  answer_fini(&answer);
}

static void values_of_every_size_come_whole(void **state) {
  struct world *world = *state;
  const size_t sizes[] = {0, 1, 255, 256, 4095, 4096, 16384, 262144, 1000000};
  for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
    expect_big(&world->peer, sizes[i], LC_MSG_FROM_SOURCE);
    expect_big(&world->peer, sizes[i], LC_MSG_FROM_STORE);
  }
}

static void keys_are_any_bytes(void **state) {
  struct world *world = *state;
  struct answer answer;
  const struct lc_msg_get_request request = {.group = lc_slice_str("g"), .key = lc_slice_of("\0\xff\n", 3)};
  get(&answer, &world->peer, &request);
  struct lc_msg_get_response response = got(&answer);
  assert_int_equal(response.value.len, 3);
  assert_memory_equal(response.value.ptr, "\0\xff\n", 3);
  answer_fini(&answer);
}

static void what_is_not_there_is_not_found(void **state) {
  struct world *world = *state;
  struct answer answer;
  expect_get_fails(&world->peer, "nope", "key", LC_GRPC_NOT_FOUND, "unknown group \"nope\"");
  expect_get_fails(&world->peer, "g", "nil", LC_GRPC_NOT_FOUND, "not found");
  expect_get_fails(&world->peer, "g", "nilx", LC_GRPC_NOT_FOUND, "not found");
  const struct lc_msg_get_request request = {
      .group = lc_slice_str("g"), .key = lc_slice_str("key"), .only_if_cached = true};
  get(&answer, &world->peer, &request);
  expect_status(&answer, LC_GRPC_NOT_FOUND, "not in the cache");
  answer_fini(&answer);
  assert_int_equal(world->loads.started, 2);
}

static void wrong_arguments_are_invalid(void **state) {
  struct world *world = *state;
  struct answer answer;
  char *longest = malloc(4098);
  memset(longest, 'k', 4097);
  longest[4097] = '\0';
  expect_get_fails(&world->peer, "", "key", LC_GRPC_INVALID_ARGUMENT, "the group is empty");
  expect_get_fails(&world->peer, "g", "", LC_GRPC_INVALID_ARGUMENT, "the key is empty");
  expect_get_fails(&world->peer, "g", longest, LC_GRPC_INVALID_ARGUMENT,
                   "key of 4097 bytes is over the group's max_key of 4096");
  const struct lc_msg_get_request request = {
      .group = lc_slice_str("g"), .key = lc_slice_str("key"), .only_if_cached = true, .refresh = true};
  get(&answer, &world->peer, &request);
  expect_status(&answer, LC_GRPC_INVALID_ARGUMENT, "only_if_cached and refresh exclude each other");
  answer_fini(&answer);
  longest[4096] = '\0';
  expect_get(&world->peer, "g", longest, longest, LC_MSG_FROM_SOURCE);
  free(longest);
}

static void failures_of_the_source_and_of_the_getter_differ(void **state) {
  struct world *world = *state;
  expect_get_fails(&world->peer, "g", "fail", LC_GRPC_UNAVAILABLE, "the source is away");
  expect_get_fails(&world->peer, "g", "raise", LC_GRPC_INTERNAL, "getter failed");
}

static void a_passed_deadline_is_told_whoevers_it_is(void **state) {
  struct world *world = *state;
  struct answer answer;
  struct lc_buf buf;
  expect_get_fails(&world->peer, "quick", "hang", LC_GRPC_DEADLINE_EXCEEDED, "load timed out after 40ms");
  world_until_cancelled(world, 1);
  lc_buf_init(&buf);
  const struct lc_msg_get_request request = {.group = lc_slice_str("g"), .key = lc_slice_str("hang")};
  assert_int_equal(lc_msg_get_request_encode(&request, &buf), 0);
  answer_init(&answer, &world->peer, "/lcache.v1.Cache/Get", lc_buf_slice(&buf));
  answer.timeout_ms = 20;
  answer_start(&answer);
  answer_wait(&answer);
  assert_int_equal(answer.status, LC_GRPC_DEADLINE_EXCEEDED);
  world_until_cancelled(world, 2); /* nobody waits for the load any more */
  lc_buf_fini(&buf);
  answer_fini(&answer);
}

static void too_many_loads_are_refused(void **state) {
  struct world *world = *state;
  struct answer held;
  struct lc_buf buf;
  lc_buf_init(&buf);
  const struct lc_msg_get_request request = {.group = lc_slice_str("one"), .key = lc_slice_str("held:x")};
  assert_int_equal(lc_msg_get_request_encode(&request, &buf), 0);
  answer_init(&held, &world->peer, "/lcache.v1.Cache/Get", lc_buf_slice(&buf));
  answer_start(&held);
  world_until_loads(world, 1);
  expect_get_fails(&world->peer, "one", "other", LC_GRPC_RESOURCE_EXHAUSTED,
                   "the group has as many loads as its max_loads allows: try again later");
  world_let_go(world);
  answer_wait(&held);
  expect_status(&held, LC_GRPC_OK, "");
  lc_buf_fini(&buf);
  answer_fini(&held);
}

static void a_draining_node_serves_what_it_has_only(void **state) {
  struct world *world = *state;
  expect_get(&world->peer, "g", "key", "key", LC_MSG_FROM_SOURCE);
  lc_groups_drain(world->groups);
  expect_get(&world->peer, "g", "key", "key", LC_MSG_FROM_STORE);
  expect_get_fails(&world->peer, "g", "new", LC_GRPC_UNAVAILABLE, "draining: this node is stopping, ask another");
}

static void refresh_loads_anew(void **state) {
  struct world *world = *state;
  struct answer answer;
  set_key(&world->peer, "g", "key", "set");
  const struct lc_msg_get_request request = {.group = lc_slice_str("g"), .key = lc_slice_str("key"), .refresh = true};
  get(&answer, &world->peer, &request);
  assert_int_equal(got(&answer).served_from, LC_MSG_FROM_SOURCE);
  answer_fini(&answer);
  expect_get(&world->peer, "g", "key", "key", LC_MSG_FROM_STORE);
}

static void broken_messages_are_told_and_harm_nobody(void **state) {
  struct world *world = *state;
  static const char *const paths[] = {
      "/lcache.v1.Cache/Get",   "/lcache.v1.Cache/Set",         "/lcache.v1.Cache/Delete", "/lcache.v1.Cache/BatchGet",
      "/lcache.v1.Admin/Stats", "/lcache.v1.Admin/Nodes",       "/lcache.v1.Admin/Owner",  "/pb.LCache/Get",
      "/pb.LCache/Set",         "/grpc.health.v1.Health/Check", "/pb.LCache/Delete"};
  for (size_t i = 0; i < sizeof paths / sizeof *paths; i++) {
    struct answer answer;
    ask(&answer, &world->peer, paths[i], lc_slice_of("\x0a\x7fgg", 4)); /* says 127 bytes, has two */
    assert_int_equal(answer.status, LC_GRPC_INTERNAL);
    assert_true(answer.message[0] != '\0');
    answer_fini(&answer);
  }
  expect_get(&world->peer, "g", "key", "key", LC_MSG_FROM_SOURCE);
}

static void a_key_that_comes_in_pieces_is_whole(void **state) {
  struct world *world = *state;
  struct lc_buf buf;
  lc_buf_init(&buf);
  const char *keys[] = {"later:in small pieces", "at once, in small pieces"};
  struct raw *raw = raw_connect(world->net.port);
  for (int i = 0; i < 2; i++) {
    struct raw_stream *stream = raw_open(raw, "/lcache.v1.Cache/Get");
    const struct lc_msg_get_request request = {.group = lc_slice_str("g"), .key = lc_slice_str(keys[i])};
    buf.len = 0;
    assert_int_equal(lc_msg_get_request_encode(&request, &buf), 0);
    uint8_t prefix[LC_GRPC_PREFIX];
    lc_grpc_write_prefix(prefix, (uint32_t)buf.len);
    raw_write(stream, prefix, sizeof prefix);
    for (size_t at = 0; at < buf.len; at++)
      raw_write(stream, buf.data + at, 1);
    raw_end(stream);
    raw_until_closed(raw, stream);
    expect_trailer(stream, "0", "");
  }
  lc_buf_fini(&buf);
  raw_close(raw);
  expect_get(&world->peer, "g", keys[0], "in small pieces", LC_MSG_FROM_STORE);
  expect_get(&world->peer, "g", keys[1], keys[1], LC_MSG_FROM_STORE);
}

static void a_client_that_goes_away_cancels_its_load(void **state) {
  struct world *world = *state;
  struct raw *raw = raw_connect(world->net.port);
  struct raw_stream *stream = raw_open(raw, "/lcache.v1.Cache/Get");
  struct lc_buf buf;
  lc_buf_init(&buf);
  const struct lc_msg_get_request request = {.group = lc_slice_str("g"), .key = lc_slice_str("hang")};
  assert_int_equal(lc_msg_get_request_encode(&request, &buf), 0);
  assert_int_equal(lc_grpc_frame(&stream->body, lc_buf_slice(&buf)), 0);
  raw_end(stream);
  world_until_loads(world, 1);
  raw_close(raw);
  world_until_cancelled(world, 1);
  lc_buf_fini(&buf);
}

/* ---- Set and Delete ---- */

static void what_was_set_is_served_until_it_is_deleted(void **state) {
  struct world *world = *state;
  set_key(&world->peer, "g", "nil", "one");
  expect_get(&world->peer, "g", "nil", "one", LC_MSG_FROM_STORE);
  set_key(&world->peer, "g", "nil", "");
  expect_get(&world->peer, "g", "nil", "", LC_MSG_FROM_STORE);
  expect_delete(&world->peer, "g", "nil", true);
  expect_delete(&world->peer, "g", "nil", false);
  expect_get_fails(&world->peer, "g", "nil", LC_GRPC_NOT_FOUND, "not found");
}

static void a_set_value_lives_as_long_as_was_asked(void **state) {
  struct world *world = *state;
  struct answer answer;
  const int64_t asked[] = {0, -1, 5000};
  const int64_t least[] = {30000, 0, 1}, most[] = {60000, 0, 5000};
  for (int i = 0; i < 3; i++) {
    struct lc_msg_set_request request = set_of("ttl", "key", "value");
    request.ttl_ms = asked[i];
    expect_set(&world->peer, &request, LC_GRPC_OK, "");
    get_key(&answer, &world->peer, "ttl", "key");
    assert_in_range(got(&answer).ttl_ms, least[i], most[i]);
    answer_fini(&answer);
  }
}

static void a_wrong_set_is_invalid(void **state) {
  struct world *world = *state;
  struct lc_msg_set_request request = set_of("", "key", "value");
  expect_set(&world->peer, &request, LC_GRPC_INVALID_ARGUMENT, "the group is empty");
  request = set_of("g", "", "value");
  expect_set(&world->peer, &request, LC_GRPC_INVALID_ARGUMENT, "the key is empty");
  request = set_of("nope", "key", "value");
  expect_set(&world->peer, &request, LC_GRPC_NOT_FOUND, "unknown group \"nope\"");
  request = set_of("g", "key", "value");
  request.ttl_ms = -2;
  expect_set(&world->peer, &request, LC_GRPC_INVALID_ARGUMENT,
             "ttl_ms of -2: use milliseconds, 0 for the group's, -1 for never");
}

static void a_set_over_the_limit_is_refused_and_removes_the_old_value(void **state) {
  struct world *world = *state;
  char large[102];
  memset(large, 'v', 101);
  large[101] = '\0';
  set_key(&world->peer, "small", "nil", "old");
  struct lc_msg_set_request request = set_of("small", "nil", large);
  expect_set(&world->peer, &request, LC_GRPC_INVALID_ARGUMENT,
             "value of 101 bytes is over the group's max_value of 100");
  expect_get_fails(&world->peer, "small", "nil", LC_GRPC_NOT_FOUND, "not found");
}

/* ---- pb.LCache ---- */

static int encode_pb(const void *request, struct lc_buf *buf) {
  const struct lc_msg_pb_request *pb = request;
  const struct lc_msg_set_request same = {.group = pb->group, .key = pb->key, .value = pb->value}; /* the same fields */
  return lc_msg_set_request_encode(&same, buf);
}

static void expect_pb(struct peer *peer, const char *path, const char *key, const char *value, int status,
                      const char *message, const char *reply, size_t reply_len) {
  struct answer answer;
  const struct lc_msg_pb_request request = {
      .group = lc_slice_str("g"), .key = lc_slice_str(key), .value = lc_slice_str(value)};
  call_with(&answer, peer, path, encode_pb, &request);
  expect_status(&answer, status, message);
  assert_int_equal(answer.reply.len, reply_len);
  if (reply_len > 0)
    assert_memory_equal(answer.reply.data, reply, reply_len);
  answer_fini(&answer);
}

static void the_go_services_calls_mean_the_same(void **state) {
  struct peer *peer = &((struct world *)*state)->peer;
  expect_pb(peer, "/pb.LCache/Get", "key", "", LC_GRPC_OK, "", "\x0a\x03key", 5);
  expect_pb(peer, "/pb.LCache/Get", "later:x", "", LC_GRPC_OK, "", "\x0a\x01x", 3);
  expect_pb(peer, "/pb.LCache/Get", "nil", "", LC_GRPC_NOT_FOUND, "not found", NULL, 0);
  expect_pb(peer, "/pb.LCache/Set", "key", "new", LC_GRPC_OK, "", "\x0a\x03new", 5);
  expect_pb(peer, "/pb.LCache/Get", "key", "", LC_GRPC_OK, "", "\x0a\x03new", 5);
  expect_pb(peer, "/pb.LCache/Delete", "key", "", LC_GRPC_OK, "", "\x08\x01", 2);
  expect_pb(peer, "/pb.LCache/Delete", "key", "", LC_GRPC_OK, "", NULL, 0); /* false is the default: no bytes */
  expect_pb(peer, "/pb.LCache/Set", "", "new", LC_GRPC_INVALID_ARGUMENT, "the key is empty", NULL, 0);
  expect_pb(peer, "/pb.LCache/Delete", "", "", LC_GRPC_INVALID_ARGUMENT, "the key is empty", NULL, 0);
  expect_get(peer, "g", "key", "key", LC_MSG_FROM_SOURCE);
}

#define TEST(name_) cmocka_unit_test_setup_teardown(name_, setup, teardown)

int main(void) {
  const struct CMUnitTest tests[] = {
      TEST(a_miss_is_loaded_and_then_a_hit),
      TEST(a_value_tells_how_long_it_lives),
      TEST(values_of_every_size_come_whole),
      TEST(keys_are_any_bytes),
      TEST(what_is_not_there_is_not_found),
      TEST(wrong_arguments_are_invalid),
      TEST(failures_of_the_source_and_of_the_getter_differ),
      TEST(a_passed_deadline_is_told_whoevers_it_is),
      TEST(too_many_loads_are_refused),
      TEST(a_draining_node_serves_what_it_has_only),
      TEST(refresh_loads_anew),
      TEST(broken_messages_are_told_and_harm_nobody),
      TEST(a_key_that_comes_in_pieces_is_whole),
      TEST(a_client_that_goes_away_cancels_its_load),
      TEST(what_was_set_is_served_until_it_is_deleted),
      TEST(a_set_value_lives_as_long_as_was_asked),
      TEST(a_wrong_set_is_invalid),
      TEST(a_set_over_the_limit_is_refused_and_removes_the_old_value),
      TEST(the_go_services_calls_mean_the_same),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
