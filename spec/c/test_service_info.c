#include "test_service_support.h"

#include <string.h>

/* What describes a node: health, reflection, lcache.v1.Admin. */

static int setup(void **state) {
  struct world *world = malloc(sizeof *world);
  world_init(world, 2);
  world_start(world);
  *state = world;
  return 0;
}

static int teardown(void **state) {
  world_stop(*state);
  free(*state);
  return 0;
}

/* ---- health ---- */

static struct lc_buf health_request(const char *service) {
  struct lc_buf buf;
  const struct lc_msg_health_request request = {.service = lc_slice_str(service)};
  lc_buf_init(&buf);
  assert_int_equal(lc_msg_health_request_encode(&request, &buf), 0);
  return buf;
}

static int serving_of(struct lc_slice bytes) {
  struct lc_msg_health_response response;
  struct lc_arena arena;
  lc_arena_init(&arena, NULL, 0, 65536);
  assert_int_equal(lc_msg_health_response_decode(&arena, bytes, &response, NULL), 0);
  lc_arena_fini(&arena);
  return response.status;
}

static void expect_health(struct peer *peer, const char *service, int status) {
  struct answer answer;
  struct lc_buf buf = health_request(service);
  ask(&answer, peer, "/grpc.health.v1.Health/Check", lc_buf_slice(&buf));
  expect_status(&answer, LC_GRPC_OK, "");
  assert_int_equal(serving_of(lc_buf_slice(&answer.reply)), status);
  lc_buf_fini(&buf);
  answer_fini(&answer);
}

static void health_is_that_of_the_node_for_each_service(void **state) {
  struct world *world = *state;
  static const char *const services[] = {"", "lcache.v1.Cache", "lcache.v1.Admin", "pb.LCache"};
  for (size_t i = 0; i < sizeof services / sizeof *services; i++) {
    expect_health(&world->peer, services[i], LC_MSG_SERVING);
    lc_services_set_serving(world->services, false);
    expect_health(&world->peer, services[i], LC_MSG_NOT_SERVING);
    lc_services_set_serving(world->services, true);
    expect_health(&world->peer, services[i], LC_MSG_SERVING);
  }
}

static void the_health_of_an_unknown_service_is_not_found(void **state) {
  struct world *world = *state;
  struct answer answer;
  struct lc_buf buf = health_request("lcache.v1.Cach");
  ask(&answer, &world->peer, "/grpc.health.v1.Health/Check", lc_buf_slice(&buf));
  expect_status(&answer, LC_GRPC_NOT_FOUND, "unknown service");
  lc_buf_fini(&buf);
  answer_fini(&answer);
}

static struct raw_stream *watch(struct raw *raw, const char *service) {
  struct raw_stream *stream = raw_open(raw, "/grpc.health.v1.Health/Watch");
  struct lc_buf buf = health_request(service);
  assert_int_equal(lc_grpc_frame(&stream->body, lc_buf_slice(&buf)), 0);
  raw_end(stream);
  lc_buf_fini(&buf);
  return stream;
}

/* Takes the next message of the stream; its bytes are valid until the next turn. */
static struct lc_slice next_message(struct raw *raw, struct raw_stream *stream, size_t *at) {
  for (;;) {
    const uint8_t *bytes = stream->data.data + *at;
    size_t have = stream->data.len - *at;
    if (have >= LC_GRPC_PREFIX) {
      size_t len = (size_t)bytes[1] << 24 | (size_t)bytes[2] << 16 | (size_t)bytes[3] << 8 | bytes[4];
      if (have >= LC_GRPC_PREFIX + len) {
        *at += LC_GRPC_PREFIX + len;
        return lc_slice_of(bytes + LC_GRPC_PREFIX, len);
      }
    }
    if (stream->closed || !raw_turn(raw, PATIENCE_S * 1000))
      fail_msg("no further message");
  }
}

static void watchers_on_each_worker_hear_of_changes(void **state) {
  struct world *world = *state;
  struct raw *raws[3];
  struct raw_stream *streams[3];
  size_t at[3] = {0, 0, 0};
  for (int i = 0; i < 3; i++) {
    raws[i] = raw_connect(world->net.port);
    streams[i] = watch(raws[i], i == 0 ? "" : "lcache.v1.Cache");
    assert_int_equal(serving_of(next_message(raws[i], streams[i], &at[i])), LC_MSG_SERVING);
  }
  for (int round = 0; round < 4; round++) {
    lc_services_set_serving(world->services, round % 2 == 1);
    lc_services_set_serving(world->services, round % 2 == 1); /* no change */
    for (int i = 0; i < 3; i++) {
      int status = serving_of(next_message(raws[i], streams[i], &at[i]));
      assert_int_equal(status, round % 2 == 1 ? LC_MSG_SERVING : LC_MSG_NOT_SERVING);
    }
  }
  raw_close(raws[1]); /* goes away in between */
  lc_services_set_serving(world->services, false);
  assert_int_equal(serving_of(next_message(raws[0], streams[0], &at[0])), LC_MSG_NOT_SERVING);
  raw_close(raws[0]);
  raw_close(raws[2]);
}

static void watching_an_unknown_service_says_so_and_goes_on(void **state) {
  struct world *world = *state;
  struct raw *raw = raw_connect(world->net.port);
  struct raw_stream *stream = watch(raw, "other.Service");
  size_t at = 0;
  assert_int_equal(serving_of(next_message(raw, stream, &at)), LC_MSG_SERVICE_UNKNOWN);
  assert_false(stream->closed);
  raw_close(raw);
}

static void draining_tells_watchers_and_ends_their_calls(void **state) {
  struct world *world = *state;
  struct raw *raw = raw_connect(world->net.port);
  struct raw_stream *stream = watch(raw, "");
  size_t at = 0;
  assert_int_equal(serving_of(next_message(raw, stream, &at)), LC_MSG_SERVING);
  lc_services_drain(world->services);
  assert_int_equal(serving_of(next_message(raw, stream, &at)), LC_MSG_NOT_SERVING);
  raw_until_closed(raw, stream);
  expect_trailer(stream, "14", "draining: this node is stopping");
  lc_services_set_serving(world->services, true); /* for good: not any more */
  expect_health(&world->peer, "", LC_MSG_NOT_SERVING);
  stream = watch(raw, "");
  at = 0;
  assert_int_equal(serving_of(next_message(raw, stream, &at)), LC_MSG_NOT_SERVING);
  raw_until_closed(raw, stream);
  raw_close(raw);
}

static void a_watch_takes_one_request(void **state) {
  struct world *world = *state;
  struct raw *raw = raw_connect(world->net.port);
  struct raw_stream *stream = raw_open(raw, "/grpc.health.v1.Health/Watch");
  raw_message(stream, "");
  raw_message(stream, "");
  raw_until_closed(raw, stream);
  expect_trailer(stream, "13", "Watch takes one request");
  stream = raw_open(raw, "/grpc.health.v1.Health/Watch");
  raw_end(stream);
  raw_until_closed(raw, stream);
  expect_trailer(stream, "13", "the request had no message");
  stream = raw_open(raw, "/grpc.health.v1.Health/Watch");
  raw_message(stream, "\x0a\x7fx");
  raw_until_closed(raw, stream);
  assert_string_equal(stream->grpc_status, "13");
  raw_close(raw);
}

/* ---- reflection ---- */

struct reflection {
  struct raw *raw;
  struct raw_stream *stream;
  size_t at;
  struct lc_arena arena;
};

static void reflection_open(struct reflection *reflection, uint16_t port, const char *path) {
  reflection->raw = raw_connect(port);
  reflection->stream = raw_open(reflection->raw, path);
  reflection->at = 0;
  lc_arena_init(&reflection->arena, NULL, 0, 4u << 20);
}

static void reflection_close(struct reflection *reflection) {
  raw_end(reflection->stream);
  raw_until_closed(reflection->raw, reflection->stream);
  expect_trailer(reflection->stream, "0", "");
  raw_close(reflection->raw);
  lc_arena_fini(&reflection->arena);
}

static struct lc_msg_reflection_response reflect(struct reflection *reflection, enum lc_msg_reflection_kind kind,
                                                 const char *text) {
  struct lc_msg_reflection_response response;
  const struct lc_msg_reflection_request request = {.kind = kind, .text = lc_slice_str(text)};
  struct lc_buf buf;
  lc_buf_init(&buf);
  assert_int_equal(lc_msg_reflection_request_encode(&request, &buf), 0);
  assert_int_equal(lc_grpc_frame(&reflection->stream->body, lc_buf_slice(&buf)), 0);
  assert_int_equal(lc_h2_resume(reflection->raw->h2, reflection->stream->id), 0);
  struct lc_slice bytes = next_message(reflection->raw, reflection->stream, &reflection->at);
  assert_int_equal(lc_msg_reflection_response_decode(&reflection->arena, bytes, &response, NULL), 0);
  assert_int_equal(response.original.kind, kind);
  lc_buf_fini(&buf);
  return response;
}

static bool contains(struct lc_slice bytes, const char *text) {
  return memmem(bytes.ptr, bytes.len, text, strlen(text)) != NULL;
}

static void expect_reflection(struct world *world, const char *path) {
  static const char *const services[] = {"lcache.v1.Cache",
                                         "lcache.v1.Admin",
                                         "pb.LCache",
                                         "grpc.health.v1.Health",
                                         "grpc.reflection.v1.ServerReflection",
                                         "grpc.reflection.v1alpha.ServerReflection"};
  struct reflection reflection;
  reflection_open(&reflection, world->net.port, path);
  struct lc_msg_reflection_response response = reflect(&reflection, LC_MSG_REFLECTION_LIST, "*");
  assert_int_equal(response.service_count, 6);
  for (size_t i = 0; i < 6; i++)
    assert_true(lc_slice_eq(response.services[i], lc_slice_str(services[i])));
  for (size_t i = 0; i < 6; i++) { /* each is described */
    response = reflect(&reflection, LC_MSG_REFLECTION_SYMBOL, services[i]);
    assert_true(response.file_count >= 1);
    assert_true(contains(response.files[0], strrchr(services[i], '.') + 1));
  }
  response = reflect(&reflection, LC_MSG_REFLECTION_SYMBOL, "lcache.v1.Cache.BatchGet");
  assert_true(contains(response.files[0], "BatchGetResponse"));
  response = reflect(&reflection, LC_MSG_REFLECTION_FILE, "pb/lcache.proto");
  assert_int_equal(response.file_count, 1);
  assert_true(contains(response.files[0], "LCache"));
  response = reflect(&reflection, LC_MSG_REFLECTION_FILE, "nothing.proto");
  assert_int_equal(response.error_code, LC_GRPC_NOT_FOUND);
  response = reflect(&reflection, LC_MSG_REFLECTION_SYMBOL, "lcache.v1.Nothing");
  assert_int_equal(response.error_code, LC_GRPC_NOT_FOUND);
  response = reflect(&reflection, LC_MSG_REFLECTION_EXTENSION_NUMBERS, "lcache.v1.GetRequest");
  assert_int_equal(response.error_code, LC_GRPC_NOT_FOUND);
  reflection_close(&reflection);
}

static void reflection_lists_and_describes_every_service(void **state) {
  expect_reflection(*state, "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo");
}

static void the_older_reflection_does_the_same(void **state) {
  expect_reflection(*state, "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo");
}

static void a_reflection_request_of_nothing_is_not_found(void **state) {
  struct world *world = *state;
  struct reflection reflection;
  reflection_open(&reflection, world->net.port, "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo");
  struct lc_msg_reflection_response response = reflect(&reflection, LC_MSG_REFLECTION_NONE, "");
  assert_int_equal(response.error_code, LC_GRPC_NOT_FOUND);
  reflection_close(&reflection);
}

static void a_broken_reflection_request_ends_the_call(void **state) {
  struct world *world = *state;
  struct raw *raw = raw_connect(world->net.port);
  struct raw_stream *stream = raw_open(raw, "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo");
  raw_message(stream, "\x0a\x7fx");
  raw_until_closed(raw, stream);
  assert_string_equal(stream->grpc_status, "13");
  raw_close(raw);
}

/* ---- Admin ---- */

static struct lc_msg_stats_response stats(struct peer *peer, struct answer *answer, struct lc_arena *arena,
                                          const char *group) {
  struct lc_msg_stats_response response;
  struct lc_buf buf;
  const struct lc_msg_stats_request request = {.group = lc_slice_str(group)};
  lc_buf_init(&buf);
  assert_int_equal(lc_msg_stats_request_encode(&request, &buf), 0);
  ask(answer, peer, "/lcache.v1.Admin/Stats", lc_buf_slice(&buf));
  expect_status(answer, LC_GRPC_OK, "");
  lc_arena_init(arena, NULL, 0, 1 << 20);
  assert_int_equal(lc_msg_stats_response_decode(arena, lc_buf_slice(&answer->reply), &response, NULL), 0);
  lc_buf_fini(&buf);
  return response;
}

static void stats_count_what_happened(void **state) {
  struct world *world = *state;
  struct answer answer;
  struct lc_arena arena;
  expect_get(&world->peer, "g", "key", "key", LC_MSG_FROM_SOURCE);
  expect_get(&world->peer, "g", "key", "key", LC_MSG_FROM_STORE);
  expect_get_fails(&world->peer, "g", "nil", LC_GRPC_NOT_FOUND, "not found");
  expect_get_fails(&world->peer, "g", "fail", LC_GRPC_UNAVAILABLE, "the source is away");
  set_key(&world->peer, "ttl", "key", "value");
  struct lc_msg_stats_response response = stats(&world->peer, &answer, &arena, "");
  assert_true(lc_slice_eq(response.node, lc_slice_str("10.0.0.1:8001")));
  assert_true(lc_slice_eq(response.version, lc_slice_str("1.2.3")));
  assert_int_equal(response.memory_limit_bytes, 64u << 20);
  assert_true(response.uptime_ms < PATIENCE_S * 1000u);
  assert_int_equal(response.worker_count, 2);
  assert_int_equal(response.workers[0].requests, 5);
  assert_int_equal(response.workers[1].requests, 0);
  assert_int_equal(response.workers[1].index, 1);
  assert_int_equal(response.workers[1].connections, 11);
  assert_int_equal(response.workers[1].lua_bytes, 1001);
  assert_int_equal(response.group_count, 5);
  const struct lc_msg_group_stats *g = &response.groups[0], *ttl = &response.groups[3];
  assert_true(lc_slice_eq(g->name, lc_slice_str("g")));
  assert_int_equal(g->gets, 4);
  assert_int_equal(g->hits, 1);
  assert_int_equal(g->misses, 3);
  assert_int_equal(g->loads, 3);
  assert_int_equal(g->load_errors, 1);
  assert_int_equal(g->not_found, 1);
  assert_int_equal(g->items, 1);
  assert_int_equal(ttl->sets, 1);
  assert_int_equal(ttl->items, 1);
  assert_int_equal(response.memory_used_bytes, g->bytes + ttl->bytes);
  lc_arena_fini(&arena);
  answer_fini(&answer);
}

static void stats_of_one_group_leave_out_the_others(void **state) {
  struct world *world = *state;
  struct answer answer;
  struct lc_arena arena;
  struct lc_msg_stats_response response = stats(&world->peer, &answer, &arena, "ttl");
  assert_int_equal(response.group_count, 1);
  assert_true(lc_slice_eq(response.groups[0].name, lc_slice_str("ttl")));
  lc_arena_fini(&arena);
  answer_fini(&answer);
  ask(&answer, &world->peer, "/lcache.v1.Admin/Stats", lc_slice_str("\x0a\x04nope"));
  expect_status(&answer, LC_GRPC_NOT_FOUND, "unknown group \"nope\"");
  answer_fini(&answer);
}

static void nodes_are_listed_with_their_state(void **state) {
  struct world *world = *state;
  struct answer answer;
  struct lc_arena arena;
  struct lc_msg_nodes_response response;
  ask(&answer, &world->peer, "/lcache.v1.Admin/Nodes", lc_slice_str(""));
  expect_status(&answer, LC_GRPC_OK, "");
  lc_arena_init(&arena, NULL, 0, 65536);
  assert_int_equal(lc_msg_nodes_response_decode(&arena, lc_buf_slice(&answer.reply), &response, NULL), 0);
  assert_true(lc_slice_eq(response.self, lc_slice_str("10.0.0.1:8001")));
  assert_true(lc_slice_eq(response.ring, lc_slice_str("00c0ffee")));
  assert_int_equal(response.node_count, 2);
  assert_true(lc_slice_eq(response.nodes[0].state, lc_slice_str("up")));
  assert_true(lc_slice_eq(response.nodes[1].state, lc_slice_str("leaving")));
  assert_true(lc_slice_eq(response.nodes[1].address, lc_slice_str("10.0.0.2:8001")));
  assert_true(response.nodes[1].share > 0.249 && response.nodes[1].share < 0.251);
  lc_arena_fini(&arena);
  answer_fini(&answer);
}

static void expect_owner(struct peer *peer, const char *group, const char *key, const char *address, bool is_self) {
  struct answer answer;
  struct lc_arena arena;
  struct lc_buf buf;
  struct lc_msg_owner_response response;
  const struct lc_msg_owner_request request = {.group = lc_slice_str(group), .key = lc_slice_str(key)};
  lc_buf_init(&buf);
  assert_int_equal(lc_msg_owner_request_encode(&request, &buf), 0);
  ask(&answer, peer, "/lcache.v1.Admin/Owner", lc_buf_slice(&buf));
  lc_arena_init(&arena, NULL, 0, 65536);
  if (address) {
    expect_status(&answer, LC_GRPC_OK, "");
    assert_int_equal(lc_msg_owner_response_decode(&arena, lc_buf_slice(&answer.reply), &response, NULL), 0);
    assert_true(lc_slice_eq(response.address, lc_slice_str(address)));
    assert_int_equal(response.self, is_self);
  } else {
    assert_int_equal(answer.status, is_self ? LC_GRPC_NOT_FOUND : LC_GRPC_INVALID_ARGUMENT);
  }
  lc_arena_fini(&arena);
  lc_buf_fini(&buf);
  answer_fini(&answer);
}

static void the_owner_of_a_key_is_named(void **state) {
  struct peer *peer = &((struct world *)*state)->peer;
  expect_owner(peer, "g", "key", "10.0.0.1:8001", true);
  expect_owner(peer, "g", "other key", "10.0.0.2:8001", false);
  expect_owner(peer, "nope", "key", NULL, true);
  expect_owner(peer, "g", "", NULL, false);
  expect_owner(peer, "", "key", NULL, false);
}

#define TEST(name_) cmocka_unit_test_setup_teardown(name_, setup, teardown)

int main(void) {
  const struct CMUnitTest tests[] = {
      TEST(health_is_that_of_the_node_for_each_service),
      TEST(the_health_of_an_unknown_service_is_not_found),
      TEST(watchers_on_each_worker_hear_of_changes),
      TEST(watching_an_unknown_service_says_so_and_goes_on),
      TEST(draining_tells_watchers_and_ends_their_calls),
      TEST(a_watch_takes_one_request),
      TEST(reflection_lists_and_describes_every_service),
      TEST(the_older_reflection_does_the_same),
      TEST(a_reflection_request_of_nothing_is_not_found),
      TEST(a_broken_reflection_request_ends_the_call),
      TEST(stats_count_what_happened),
      TEST(stats_of_one_group_leave_out_the_others),
      TEST(nodes_are_listed_with_their_state),
      TEST(the_owner_of_a_key_is_named),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
