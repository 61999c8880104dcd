/* lcache.v1.Peer BatchGet: results in order, what has no room, bounds, cancelling at any time. */
#include "test_cluster_service_support.h"

static struct served served;

static int start(void **state) {
  (void)state;
  served_start(&served);
  return 0;
}

static int stop(void **state) {
  (void)state;
  served_stop(&served);
  return 0;
}

static struct lc_arena arena;

static void start_batch(struct answer *answer, const char *group, const char *const *names, size_t count) {
  struct lc_slice *keys = calloc(count + 1, sizeof *keys);
  for (size_t i = 0; i < count; i++)
    keys[i] = lc_slice_str(names[i]);
  const struct lc_msg_peer_batch_get_request request = {.from = OTHER_PROCESS,
                                                        .to = served.cluster->process,
                                                        .group = lc_slice_str(group),
                                                        .keys = keys,
                                                        .key_count = count};
  START_CALL(answer, &served.client, "BatchGet", peer_batch_get_request, &request);
  free(keys);
}

static struct lc_msg_peer_batch_get_response batch_got(struct answer *answer) {
  struct lc_msg_peer_batch_get_response reply;
  answer_wait(answer);
  expect_status(answer, LC_GRPC_OK, "");
  lc_arena_init(&arena, NULL, 0, 64u << 20);
  assert_int_equal(lc_msg_peer_batch_get_response_decode(&arena, lc_buf_slice(&answer->reply), &reply, NULL), 0);
  return reply;
}

static void end_batch(struct answer *answer) {
  lc_arena_fini(&arena);
  answer_fini(answer);
}

static void a_batch_is_answered_key_by_key_in_its_order(void **state) {
  (void)state;
  static const char *const keys[] = {"a", "nil", "held", "fail", "", "a"};
  struct answer answer;
  start_batch(&answer, "g", keys, 6);
  gate_wait(&served.loads, 4);
  let_go(&served, 0);
  const struct lc_msg_peer_batch_get_response reply = batch_got(&answer);
  static const int outcomes[] = {LC_OUTCOME_VALUE,  LC_OUTCOME_NOT_FOUND, LC_OUTCOME_VALUE,
                                 LC_OUTCOME_FAILED, LC_OUTCOME_FAILED,    LC_OUTCOME_VALUE};
  assert_int_equal(reply.outcome, LC_OUTCOME_OK);
  assert_int_equal(reply.result_count, 6);
  for (size_t i = 0; i < 6; i++) {
    assert_int_equal(reply.results[i].outcome, outcomes[i]);
    if (outcomes[i] == LC_OUTCOME_VALUE)
      assert_true(lc_slice_eq(reply.results[i].value, lc_slice_str(keys[i])) && reply.results[i].keep);
  }
  assert_int_equal(reply.results[4].code, LC_GRPC_INVALID_ARGUMENT);
  end_batch(&answer);
}

static void an_empty_batch_or_one_that_is_refused_has_no_results(void **state) {
  (void)state;
  static const char *const keys[] = {"a"};
  struct answer answer;
  start_batch(&answer, "g", keys, 0);
  assert_int_equal(batch_got(&answer).outcome, LC_OUTCOME_OK);
  end_batch(&answer);
  start_batch(&answer, "nobody's", keys, 1);
  assert_int_equal(batch_got(&answer).outcome, LC_OUTCOME_UNKNOWN_GROUP);
  end_batch(&answer);
  atomic_store(&served.other->process, OTHER_PROCESS + 1);
  start_batch(&answer, "g", keys, 1);
  assert_int_equal(batch_got(&answer).outcome, LC_OUTCOME_STRANGER);
  end_batch(&answer);
  atomic_store(&served.other->process, OTHER_PROCESS);
}

/* As much as the asker takes, and every key has a result, if only that there was no room for it. */
static void values_without_room_are_left_out(void **state) {
  (void)state;
  enum { COUNT = 3000 };
  const char **keys = calloc(COUNT, sizeof *keys);
  struct answer answer;
  for (size_t i = 0; i < COUNT; i++)
    keys[i] = i == 0 ? "big:1000000" : i == 1 ? "big:100000" : "big:2000";
  start_batch(&answer, "g", keys, COUNT);
  const struct lc_msg_peer_batch_get_response reply = batch_got(&answer);
  assert_true(answer.reply.len <= (1u << 20) + LC_PEER_MESSAGE_EXTRA);
  assert_true(answer.reply.len > (1u << 20) + LC_PEER_MESSAGE_EXTRA - 2500);
  assert_int_equal(reply.result_count, COUNT);
  size_t values = 0, left_out = 0;
  for (size_t i = 0; i < COUNT; i++) {
    values += reply.results[i].outcome == LC_OUTCOME_VALUE && reply.results[i].value.len >= 2000;
    left_out += reply.results[i].outcome == LC_OUTCOME_UNSPECIFIED && reply.results[i].value.len == 0;
  }
  assert_int_equal(values + left_out, COUNT);
  assert_true(values > 3);
  assert_int_equal(reply.results[0].outcome, LC_OUTCOME_VALUE);
  assert_int_equal(reply.results[COUNT - 1].outcome, LC_OUTCOME_UNSPECIFIED);
  end_batch(&answer);
  free(keys);
}

static void a_value_without_room_that_comes_late_is_left_out(void **state) {
  (void)state;
  static const char *const keys[] = {"heldbig:600000", "heldbig:600001", "a"};
  struct answer answer;
  start_batch(&answer, "g", keys, 3);
  gate_wait(&served.loads, 3);
  let_go(&served, 0);
  const struct lc_msg_peer_batch_get_response reply = batch_got(&answer);
  assert_int_equal(reply.results[0].value.len, 600000);
  assert_int_equal(reply.results[1].outcome, LC_OUTCOME_UNSPECIFIED);
  assert_int_equal(reply.results[2].outcome, LC_OUTCOME_VALUE);
  end_batch(&answer);
}

static void batches_are_bounded(void **state) {
  (void)state;
  const char **keys = calloc(LC_BATCH_KEYS_MAX + 1, sizeof *keys);
  struct answer answer;
  for (size_t i = 0; i <= LC_BATCH_KEYS_MAX; i++)
    keys[i] = "a";
  start_batch(&answer, "g", keys, LC_BATCH_KEYS_MAX + 1);
  answer_wait(&answer);
  assert_int_equal(answer.status, LC_GRPC_INVALID_ARGUMENT);
  answer_fini(&answer);
  start_batch(&answer, "g", keys, LC_BATCH_KEYS_MAX);
  assert_int_equal(batch_got(&answer).result_count, LC_BATCH_KEYS_MAX);
  end_batch(&answer);
  free(keys);
}

static void a_cancelled_batch_cancels_its_loads(void **state) {
  (void)state;
  static const char *const keys[] = {"held1", "a", "held2"};
  struct answer answer;
  start_batch(&answer, "g", keys, 3);
  gate_wait(&served.loads, 3);
  cancel_answer(&answer);
  gate_wait(&served.cancelled, 2);
  answer_fini(&answer);
}

static void a_batch_may_break_while_some_results_are_on_their_way(void **state) {
  (void)state;
  static const char *const keys[] = {"held", "held2"};
  struct peer second;
  struct answer answer, first;
  lead_on_the_other_worker(&served, &second, &first);
  start_batch(&answer, "g", keys, 2);
  gate_wait(&served.loads, 2);
  on_worker(served.net.workers[0].worker, let_go_and_cut, &served);
  answer_wait(&answer);
  assert_true(answer.transport);
  gate_wait(&served.cancelled, 1); /* held2 */
  answer_wait(&first);
  answer_fini(&answer);
  answer_fini(&first);
  peer_stop(&second);
}

/* ---- memory ---- */

static void start_a_batch(struct answer *answer) {
  static const char *const keys[] = {"k", "nil", "fail", "big:5000"};
  start_batch(answer, "g", keys, 4);
}

static void a_batch_is_answered_whatever_allocation_fails(void **state) {
  (void)state;
  if (!lc_alloc_faults_built())
    skip();
  expect_answers(&served, start_a_batch);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, start, stop)

int main(void) {
  const struct CMUnitTest tests[] = {
      TEST(a_batch_is_answered_key_by_key_in_its_order),
      TEST(an_empty_batch_or_one_that_is_refused_has_no_results),
      TEST(values_without_room_are_left_out),
      TEST(a_value_without_room_that_comes_late_is_left_out),
      TEST(batches_are_bounded),
      TEST(a_cancelled_batch_cancels_its_loads),
      TEST(a_batch_may_break_while_some_results_are_on_their_way),
      TEST(a_batch_is_answered_whatever_allocation_fails),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
