#include "test_service_support.h"

#include <string.h>

/* lcache.v1.Cache BatchGet. */

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

struct batch {
  struct answer answer;
  struct lc_arena arena;
  struct lc_msg_batch_get_response response;
};

static void encode(struct lc_buf *buf, const char *group, struct lc_slice *keys, size_t count) {
  const struct lc_msg_batch_get_request request = {.group = lc_slice_str(group), .keys = keys, .key_count = count};
  lc_buf_init(buf);
  assert_int_equal(lc_msg_batch_get_request_encode(&request, buf), 0);
}

static void batch_init(struct batch *batch, struct peer *peer, const char *group, struct lc_slice *keys, size_t count) {
  struct lc_buf buf;
  encode(&buf, group, keys, count);
  answer_init(&batch->answer, peer, "/lcache.v1.Cache/BatchGet", lc_buf_slice(&buf));
  lc_arena_init(&batch->arena, NULL, 0, 64u << 20);
  lc_buf_fini(&buf);
}

static void batch_run(struct batch *batch, struct peer *peer, const char *group, struct lc_slice *keys, size_t count) {
  batch_init(batch, peer, group, keys, count);
  answer_start(&batch->answer);
  answer_wait(&batch->answer);
}

static void batch_decode(struct batch *batch, size_t count) {
  expect_status(&batch->answer, LC_GRPC_OK, "");
  assert_int_equal(
      lc_msg_batch_get_response_decode(&batch->arena, lc_buf_slice(&batch->answer.reply), &batch->response, NULL), 0);
  assert_int_equal(batch->response.result_count, count);
}

static void batch_fini(struct batch *batch) {
  lc_arena_fini(&batch->arena);
  answer_fini(&batch->answer);
}

static void expect_item(const struct lc_msg_batch_result *result, const char *key, const char *value, int from) {
  assert_int_equal(result->code, LC_GRPC_OK);
  assert_int_equal(result->key.len, strlen(key));
  assert_memory_equal(result->key.ptr, key, strlen(key));
  assert_int_equal(result->value.len, strlen(value));
  assert_memory_equal(result->value.ptr, value, strlen(value));
  assert_int_equal(result->served_from, from);
  assert_int_equal(result->message.len, 0);
}

static void expect_failed(const struct lc_msg_batch_result *result, int code, const char *message) {
  assert_int_equal(result->code, code);
  assert_int_equal(result->message.len, strlen(message));
  assert_memory_equal(result->message.ptr, message, strlen(message));
  assert_int_equal(result->value.len, 0);
}

static void each_key_has_a_result_of_its_own_in_order(void **state) {
  struct world *world = *state;
  struct batch batch;
  struct lc_slice keys[] = {lc_slice_str("a"),       lc_slice_str("nil"),     lc_slice_str("later:b"),
                            lc_slice_str("fail"),    lc_slice_str("raise"),   lc_slice_str("set"),
                            lc_slice_str(""),        lc_slice_str("nilx"),    lc_slice_str("a"),
                            lc_slice_str("later:b"), lc_slice_str("big:5000")};
  size_t count = sizeof keys / sizeof *keys;
  set_key(&world->peer, "g", "set", "value");
  batch_run(&batch, &world->peer, "g", keys, count);
  batch_decode(&batch, count);
  const struct lc_msg_batch_result *results = batch.response.results;
  expect_item(&results[0], "a", "a", LC_MSG_FROM_SOURCE);
  expect_failed(&results[1], LC_GRPC_NOT_FOUND, "not found");
  expect_item(&results[2], "later:b", "b", LC_MSG_FROM_SOURCE);
  expect_failed(&results[3], LC_GRPC_UNAVAILABLE, "the source is away");
  expect_failed(&results[4], LC_GRPC_INTERNAL, "getter failed");
  expect_item(&results[5], "set", "value", LC_MSG_FROM_STORE);
  expect_failed(&results[6], LC_GRPC_INVALID_ARGUMENT, "the key is empty");
  expect_failed(&results[7], LC_GRPC_NOT_FOUND, "not found");
  expect_item(&results[8], "a", "a", LC_MSG_FROM_STORE);        /* asked for twice, loaded once */
  expect_item(&results[9], "later:b", "b", LC_MSG_FROM_SOURCE); /* one that waited for the same load */
  assert_int_equal(results[10].value.len, 5000);
  assert_int_equal(world->loads.started, 7);
  batch_fini(&batch);
}

static void a_batch_of_nothing_is_empty(void **state) {
  struct world *world = *state;
  struct batch batch;
  batch_run(&batch, &world->peer, "g", NULL, 0);
  batch_decode(&batch, 0);
  batch_fini(&batch);
}

static void a_wrong_group_fails_the_whole_batch(void **state) {
  struct world *world = *state;
  struct batch batch;
  struct lc_slice key = lc_slice_str("a");
  batch_run(&batch, &world->peer, "nope", &key, 1);
  expect_status(&batch.answer, LC_GRPC_NOT_FOUND, "unknown group \"nope\"");
  batch_fini(&batch);
  batch_run(&batch, &world->peer, "", &key, 1);
  expect_status(&batch.answer, LC_GRPC_INVALID_ARGUMENT, "the group is empty");
  batch_fini(&batch);
}

static struct lc_slice *number_keys(char (*texts)[24], size_t count, const char *prefix) {
  struct lc_slice *keys = malloc(count * sizeof *keys);
  for (size_t i = 0; i < count; i++) {
    snprintf(texts[i], sizeof texts[i], "%s%zu", prefix, i);
    keys[i] = lc_slice_str(texts[i]);
  }
  return keys;
}

static void ten_thousand_keys_are_the_most(void **state) {
  struct world *world = *state;
  struct batch batch;
  char(*texts)[24] = malloc(10001 * sizeof *texts);
  struct lc_slice *keys = number_keys(texts, 10001, "");
  batch_run(&batch, &world->peer, "g", keys, 10001);
  assert_int_equal(batch.answer.status, LC_GRPC_INVALID_ARGUMENT);
  assert_non_null(strstr(batch.answer.message, "10000"));
  assert_int_equal(world->loads.started, 0);
  batch_fini(&batch);
  batch_run(&batch, &world->peer, "g", keys, 10000);
  batch_decode(&batch, 10000);
  for (size_t i = 0; i < 10000; i++)
    expect_item(&batch.response.results[i], texts[i], texts[i], LC_MSG_FROM_SOURCE);
  batch_fini(&batch);
  free(keys);
  free(texts);
}

static void at_most_1024_keys_of_a_batch_load_at_a_time(void **state) {
  struct world *world = *state;
  struct batch batch;
  char(*texts)[24] = malloc(3000 * sizeof *texts);
  struct lc_slice *keys = number_keys(texts, 3000, "later:");
  batch_run(&batch, &world->peer, "g", keys, 3000);
  batch_decode(&batch, 3000);
  for (size_t i = 0; i < 3000; i++)
    expect_item(&batch.response.results[i], texts[i], texts[i] + 6, LC_MSG_FROM_SOURCE);
  assert_int_equal(world->loads.started, 3000);
  assert_int_equal(world->loads.most, 1024);
  batch_fini(&batch);
  free(keys);
  free(texts);
}

static void a_value_for_which_the_reply_has_no_room_is_left_out(void **state) {
  struct world *world = *state;
  struct batch batch;
  struct lc_slice keys[] = {lc_slice_str("big:400001"), lc_slice_str("big:400002"), lc_slice_str("big:400003"),
                            lc_slice_str("tiny"), lc_slice_str("big:200001")};
  batch_run(&batch, &world->peer, "g", keys, 5);
  batch_decode(&batch, 5);
  const struct lc_msg_batch_result *results = batch.response.results;
  assert_int_equal(results[0].value.len, 400001);
  assert_int_equal(results[1].value.len, 400002);
  expect_failed(&results[2], LC_GRPC_RESOURCE_EXHAUSTED, "the reply is full: get this key by itself");
  expect_item(&results[3], "tiny", "tiny", LC_MSG_FROM_SOURCE);
  assert_int_equal(results[4].value.len, 200001);
  assert_true(batch.answer.reply.len <= world->net.max_message);
  batch_fini(&batch);
}

static void the_reply_never_passes_the_message_limit(void **state) {
  struct world *world = *state;
  char(*texts)[24] = malloc(300 * sizeof *texts);
  struct lc_slice *keys = number_keys(texts, 300, "big:50");
  struct batch batch;
  batch_run(&batch, &world->peer, "g", keys, 300); /* about 2.6 MB of values */
  batch_decode(&batch, 300);
  size_t left_out = 0, values = 0;
  for (size_t i = 0; i < 300; i++) {
    left_out += batch.response.results[i].code == LC_GRPC_RESOURCE_EXHAUSTED;
    values += batch.response.results[i].value.len;
  }
  assert_in_range(left_out, 1, 299);
  assert_in_range(batch.answer.reply.len, values, world->net.max_message);
  assert_true(values > world->net.max_message - 100000); /* and it is well filled */
  batch_fini(&batch);
  free(keys);
  free(texts);
}

static void keys_that_alone_fill_the_reply_are_refused(void **state) {
  struct world *world = *state;
  struct batch batch;
  struct lc_slice *keys = malloc(10000 * sizeof *keys);
  char key[81];
  memset(key, 'k', 80);
  for (size_t i = 0; i < 10000; i++)
    keys[i] = lc_slice_of(key, 80);
  batch_run(&batch, &world->peer, "g", keys, 10000);
  expect_status(&batch.answer, LC_GRPC_RESOURCE_EXHAUSTED, "the keys alone fill the largest reply: ask for fewer");
  assert_int_equal(world->loads.started, 0);
  batch_fini(&batch);
  free(keys);
}

static void cancel_here(void *arg) {
  lc_rpc_client_cancel(((struct answer *)arg)->call);
}

static void a_cancelled_batch_cancels_what_it_loads_and_starts_nothing_more(void **state) {
  struct world *world = *state;
  struct batch batch;
  char(*texts)[24] = malloc(3000 * sizeof *texts);
  struct lc_slice *keys = number_keys(texts, 3000, "hang");
  batch_init(&batch, &world->peer, "g", keys, 3000);
  answer_start(&batch.answer);
  world_until_loads(world, 1024);
  on_worker(world->peer.worker, cancel_here, &batch.answer);
  world_until_cancelled(world, 1024);
  expect_get(&world->peer, "g", "key", "key", LC_MSG_FROM_SOURCE);
  assert_int_equal(world->loads.started, 1025);
  assert_int_equal(batch.answer.done, 0);
  batch_fini(&batch);
  free(keys);
  free(texts);
}

static void a_batch_keeps_its_deadline(void **state) {
  struct world *world = *state;
  struct batch batch;
  struct lc_slice keys[] = {lc_slice_str("a"), lc_slice_str("hang")};
  batch_init(&batch, &world->peer, "g", keys, 2);
  batch.answer.timeout_ms = 20;
  answer_start(&batch.answer);
  answer_wait(&batch.answer);
  assert_int_equal(batch.answer.status, LC_GRPC_DEADLINE_EXCEEDED);
  world_until_cancelled(world, 1);
  batch_fini(&batch);
}

static void a_batch_that_waits_is_charged_to_the_buffers(void **state) {
  struct world *world = *state;
  struct batch batch;
  char(*texts)[24] = malloc(5000 * sizeof *texts);
  struct lc_slice *keys = number_keys(texts, 5000, "held:");
  batch_init(&batch, &world->peer, "g", keys, 5000);
  answer_start(&batch.answer);
  world_until_loads(world, 1024);
  assert_true(net_charged(&world->net, 0) > 5000 * sizeof(struct lc_get));
  world_let_go(world);
  answer_wait(&batch.answer);
  batch_decode(&batch, 5000);
  batch_fini(&batch);
  free(keys);
  free(texts);
}

#define TEST(name_) cmocka_unit_test_setup_teardown(name_, setup, teardown)

int main(void) {
  const struct CMUnitTest tests[] = {
      TEST(each_key_has_a_result_of_its_own_in_order),
      TEST(a_batch_of_nothing_is_empty),
      TEST(a_wrong_group_fails_the_whole_batch),
      TEST(ten_thousand_keys_are_the_most),
      TEST(at_most_1024_keys_of_a_batch_load_at_a_time),
      TEST(a_value_for_which_the_reply_has_no_room_is_left_out),
      TEST(the_reply_never_passes_the_message_limit),
      TEST(keys_that_alone_fill_the_reply_are_refused),
      TEST(a_cancelled_batch_cancels_what_it_loads_and_starts_nothing_more),
      TEST(a_batch_keeps_its_deadline),
      TEST(a_batch_that_waits_is_charged_to_the_buffers),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
