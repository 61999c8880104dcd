/* lcache.v1.Peer Get: outcomes, peeks, `keep`, whom it answers, cancelling at any time, hostile input. */
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

/* ---- Get ---- */

static void a_get_is_loaded_once_then_served_from_the_store(void **state) {
  (void)state;
  struct answer answer;
  const struct lc_msg_peer_get_request request = get_request(&served, "ttl", "k");
  for (int i = 0; i < 2; i++) {
    ask_get(&answer, &served, &request);
    const struct lc_msg_peer_get_response reply = got(&answer);
    assert_int_equal(reply.outcome, LC_OUTCOME_VALUE);
    assert_true(lc_slice_eq(reply.value, lc_slice_str("k")));
    assert_true(reply.ttl_ms > 50000 && reply.ttl_ms <= 60000);
    assert_true(reply.keep);
    answer_fini(&answer);
  }
  assert_int_equal(served.loads.count, 1);
}

static void a_get_of_a_key_that_is_not_ours_is_answered_here(void **state) {
  (void)state;
  char key[64];
  key_of(&served, false, "k", 0, key);
  expect_get(&served, "g", key, LC_OUTCOME_VALUE, key);
  assert_int_equal(served.loads.count, 1);
}

static void an_asker_for_whom_writes_do_not_wait_may_not_keep_the_value(void **state) {
  (void)state;
  struct answer answer;
  char key[64];
  key_of(&served, true, "k", 0, key);
  atomic_store(&served.other->waited, false);
  const struct lc_msg_peer_get_request request = get_request(&served, "g", key);
  ask_get(&answer, &served, &request);
  assert_int_equal(got(&answer).outcome, LC_OUTCOME_VALUE);
  assert_false(got(&answer).keep);
  answer_fini(&answer);
  expect_peek(&served, "g", key, LC_OUTCOME_NOT_CACHED, "");
}

/* A write between the two would not wait for the asker. */
static void keep_is_decided_when_the_get_comes(void **state) {
  (void)state;
  struct answer answer;
  const struct lc_msg_peer_get_request request = get_request(&served, "g", "held");
  atomic_store(&served.other->waited, false);
  start_get(&answer, &served.client, &request);
  gate_wait(&served.loads, 1);
  atomic_store(&served.other->waited, true);
  let_go(&served, 0);
  answer_wait(&answer);
  assert_false(got(&answer).keep);
  answer_fini(&answer);
}

static void not_found_and_failure_are_answers(void **state) {
  (void)state;
  struct answer answer;
  expect_get(&served, "g", "nil", LC_OUTCOME_NOT_FOUND, "");
  const struct lc_msg_peer_get_request request = get_request(&served, "g", "fail");
  ask_get(&answer, &served, &request);
  const struct lc_msg_peer_get_response reply = got(&answer);
  assert_int_equal(reply.outcome, LC_OUTCOME_FAILED);
  assert_int_equal(reply.code, LC_GRPC_UNAVAILABLE);
  assert_true(lc_slice_eq(reply.message, lc_slice_str("the source is away")));
  answer_fini(&answer);
}

static void expect_failed(const struct lc_msg_peer_get_request *request, int code) {
  struct answer answer;
  ask_get(&answer, &served, request);
  const struct lc_msg_peer_get_response reply = got(&answer);
  assert_int_equal(reply.outcome, LC_OUTCOME_FAILED);
  assert_int_equal(reply.code, code);
  assert_true(reply.message.len > 0);
  answer_fini(&answer);
}

static void hostile_gets_fail_or_are_strangers(void **state) {
  (void)state;
  char *long_key = malloc(500001);
  memset(long_key, 'x', 500000);
  long_key[500000] = '\0';
  struct lc_msg_peer_get_request request = get_request(&served, "g", "");
  expect_failed(&request, LC_GRPC_INVALID_ARGUMENT);
  request.key = lc_slice_str(long_key);
  expect_failed(&request, LC_GRPC_INVALID_ARGUMENT);
  expect_peek(&served, "g", "", LC_OUTCOME_NOT_CACHED, "");
  expect_peek(&served, "g", long_key, LC_OUTCOME_NOT_CACHED, "");
  expect_get(&served, "", "k", LC_OUTCOME_UNKNOWN_GROUP, "");
  expect_get(&served, "nobody's", "k", LC_OUTCOME_UNKNOWN_GROUP, "");
  expect_get(&served, long_key, "k", LC_OUTCOME_UNKNOWN_GROUP, "");
  assert_int_equal(served.loads.count, 0);
  free(long_key);
}

static void expect_stranger(uint64_t from, uint64_t to) {
  struct answer answer;
  struct lc_msg_peer_get_request request = get_request(&served, "g", "k");
  request.from = from;
  request.to = to;
  ask_get(&answer, &served, &request);
  assert_int_equal(got(&answer).outcome, LC_OUTCOME_STRANGER);
  answer_fini(&answer);
}

static void only_a_node_that_we_know_and_that_knows_us_is_answered(void **state) {
  (void)state;
  uint64_t own = served.cluster->process;
  expect_stranger(0, own);
  expect_stranger(0, 0);
  expect_stranger(OTHER_PROCESS, 0);
  expect_stranger(OTHER_PROCESS, own + 1);
  expect_stranger(OTHER_PROCESS + 1, own);
  expect_stranger(own, own);
  assert_int_equal(served.loads.count, 0);
}

static void a_refresh_loads_anew(void **state) {
  (void)state;
  struct answer answer;
  struct lc_msg_peer_get_request request = get_request(&served, "g", "k");
  expect_get(&served, "g", "k", LC_OUTCOME_VALUE, "k");
  request.refresh = true;
  ask_get(&answer, &served, &request);
  assert_int_equal(got(&answer).outcome, LC_OUTCOME_VALUE);
  answer_fini(&answer);
  assert_int_equal(served.loads.count, 2);
}

static void a_get_that_waits_for_itself_fails(void **state) {
  (void)state;
  struct lc_msg_name names[LC_PEER_LINEAGE_MAX + 1] = {{lc_slice_str("g"), lc_slice_str("k")}};
  struct lc_msg_peer_get_request request = get_request(&served, "g", "k");
  struct answer answer;
  request.lineage = names;
  request.lineage_count = 1;
  expect_failed(&request, LC_GRPC_INVALID_ARGUMENT);
  names[0].key = lc_slice_str("another");
  ask_get(&answer, &served, &request);
  assert_int_equal(got(&answer).outcome, LC_OUTCOME_VALUE);
  answer_fini(&answer);
}

static void hostile_lineages_are_bounded(void **state) {
  (void)state;
  struct lc_msg_name names[LC_PEER_LINEAGE_MAX + 1] = {{{0}, {0}}};
  struct lc_msg_peer_get_request request = get_request(&served, "g", "k");
  struct answer answer;
  char *large = malloc(100000);
  memset(large, 'x', 100000);
  request.lineage = names;
  request.lineage_count = LC_PEER_LINEAGE_MAX + 1;
  ask_get(&answer, &served, &request);
  assert_int_equal(answer.status, LC_GRPC_INVALID_ARGUMENT);
  answer_fini(&answer);
  for (unsigned i = 0; i < LC_PEER_LINEAGE_MAX; i++)
    names[i] = (struct lc_msg_name){lc_slice_of(large, 50000), lc_slice_of(large, 50000 + i)};
  request.lineage_count = LC_PEER_LINEAGE_MAX;
  ask_get(&answer, &served, &request);
  assert_int_equal(got(&answer).outcome, LC_OUTCOME_VALUE);
  answer_fini(&answer);
  free(large);
}

static void a_draining_node_answers_what_it_has_and_says_draining_else(void **state) {
  (void)state;
  expect_get(&served, "g", "k", LC_OUTCOME_VALUE, "k");
  lc_groups_drain(served.groups);
  expect_get(&served, "g", "k", LC_OUTCOME_VALUE, "k");
  expect_get(&served, "g", "another", LC_OUTCOME_DRAINING, "");
}

static void a_large_value_comes_whole(void **state) {
  (void)state;
  struct answer answer;
  const struct lc_msg_peer_get_request request = get_request(&served, "g", "big:1000000");
  ask_get(&answer, &served, &request);
  const struct lc_msg_peer_get_response reply = got(&answer);
  assert_int_equal(reply.value.len, 1000000);
  assert_int_equal(reply.value.ptr[999999], 'b');
  answer_fini(&answer);
}

/* ---- peeks ---- */

static void a_peek_finds_copies_and_loads_nothing(void **state) {
  (void)state;
  char key[64];
  key_of(&served, true, "k", 0, key);
  expect_peek(&served, "g", key, LC_OUTCOME_NOT_CACHED, "");
  expect_peek(&served, "nobody's", key, LC_OUTCOME_UNKNOWN_GROUP, "");
  assert_int_equal(served.loads.count, 0);
  expect_get(&served, "g", key, LC_OUTCOME_VALUE, key);
  expect_peek(&served, "g", key, LC_OUTCOME_VALUE, key);
}

static void a_node_that_may_have_missed_writes_gives_no_copies_to_others(void **state) {
  (void)state;
  char key[64];
  key_of(&served, true, "k", 0, key);
  expect_get(&served, "g", key, LC_OUTCOME_VALUE, key);
  atomic_store(&served.cluster->doubtful, true);
  expect_peek(&served, "g", key, LC_OUTCOME_NOT_CACHED, "");
  atomic_store(&served.cluster->doubtful, false);
  expect_peek(&served, "g", key, LC_OUTCOME_VALUE, key);
}

static void a_peek_says_how_far_it_has_heard_of_writes(void **state) {
  (void)state;
  struct answer answer;
  struct lc_msg_applied applied[16];
  char key[64];
  bool said = false;
  key_of(&served, true, "k", 0, key);
  expect_get(&served, "g", key, LC_OUTCOME_VALUE, key);
  lc_touched_seen(served.cluster->touched, OTHER_PROCESS, 42);
  struct lc_msg_peer_get_request request = get_request(&served, "g", key);
  request.only_if_cached = true;
  ask_get(&answer, &served, &request);
  size_t count = lc_msg_applied_unpack(got(&answer).applied, applied, 16);
  for (size_t i = 0; i < count; i++)
    said |= applied[i].process == OTHER_PROCESS && applied[i].seq == 42;
  assert_true(said);
  answer_fini(&answer);
}

static void no_copy_is_given_while_writes_may_have_been_missed(void **state) {
  (void)state;
  char key[64];
  key_of(&served, true, "k", 0, key);
  expect_get(&served, "g", key, LC_OUTCOME_VALUE, key);
  atomic_store(&served.cluster->doubtful, true);
  expect_peek(&served, "g", key, LC_OUTCOME_NOT_CACHED, "");
}

static void a_mirror_answers_no_peek(void **state) {
  (void)state;
  char key[64];
  key_of(&served, false, "k", 0, key);
  expect_get(&served, "g", key, LC_OUTCOME_VALUE, key);
  expect_get(&served, "g", key, LC_OUTCOME_VALUE, key);
  assert_int_equal(served.loads.count, 1); /* so there is one */
  expect_peek(&served, "g", key, LC_OUTCOME_NOT_CACHED, "");
}

/* ---- a node that stood still ---- */

static void gets_wait_and_peeks_find_nothing_while_copies_may_be_old(void **state) {
  (void)state;
  struct answer answer;
  const struct lc_msg_peer_get_request request = get_request(&served, "g", "k");
  expect_get(&served, "g", "k", LC_OUTCOME_VALUE, "k");
  set_stale(&served, true);
  expect_peek(&served, "g", "k", LC_OUTCOME_NOT_CACHED, "");
  start_get(&answer, &served.client, &request);
  expect_peek(&served, "g", "k", LC_OUTCOME_NOT_CACHED, ""); /* behind it */
  assert_int_equal(answer.done, 0);
  set_stale(&served, false);
  answer_wait(&answer);
  assert_int_equal(got(&answer).outcome, LC_OUTCOME_VALUE);
  answer_fini(&answer);
  assert_int_equal(served.loads.count, 1);
}

static bool nothing_parked(void *arg) {
  (void)arg;
  return lc_list_empty(&served.parked[0]);
}

static void a_get_that_waits_for_fresh_copies_may_be_cancelled(void **state) {
  (void)state;
  struct answer answer;
  struct lc_msg_peer_get_request request = get_request(&served, "g", "k");
  struct lc_msg_name name = {lc_slice_str("g"), lc_slice_str("parent")};
  request.lineage = &name;
  request.lineage_count = 1;
  set_stale(&served, true);
  start_get(&answer, &served.client, &request);
  expect_peek(&served, "g", "k", LC_OUTCOME_NOT_CACHED, "");
  cancel_answer(&answer);
  net_until(&served.net, 0, nothing_parked, NULL);
  answer_fini(&answer);
}

/* ---- cancelling ---- */

static void a_cancelled_get_cancels_its_load(void **state) {
  (void)state;
  struct answer answer;
  const struct lc_msg_peer_get_request request = get_request(&served, "g", "held");
  start_get(&answer, &served.client, &request);
  gate_wait(&served.loads, 1);
  cancel_answer(&answer);
  gate_wait(&served.cancelled, 1);
  answer_fini(&answer);
}

static void a_get_ends_at_its_deadline(void **state) {
  (void)state;
  struct answer answer;
  const struct lc_msg_peer_get_request request = get_request(&served, "g", "held");
  struct lc_buf buf;
  lc_buf_init(&buf);
  assert_int_equal(lc_msg_peer_get_request_encode(&request, &buf), 0);
  answer_init(&answer, &served.client, "/lcache.v1.Peer/Get", lc_buf_slice(&buf));
  answer.timeout_ms = 30;
  answer_start(&answer);
  answer_wait(&answer);
  assert_int_equal(answer.status, LC_GRPC_DEADLINE_EXCEEDED);
  gate_wait(&served.cancelled, 1);
  lc_buf_fini(&buf);
  answer_fini(&answer);
}

static void expect_waiters(uint64_t count) {
  struct lc_group_stats stats = {0};
  for (int i = 0; i < PATIENCE_S * 1000 && stats.waiters != count; i++) {
    poll(NULL, 0, 1);
    lc_group_stats(served.groups, 0, &stats);
  }
  assert_int_equal(stats.waiters, count);
}

static void a_call_may_break_while_its_result_is_on_its_way(void **state) {
  (void)state;
  struct peer second;
  struct answer answer, first;
  const struct lc_msg_peer_get_request request = get_request(&served, "g", "held");
  lead_on_the_other_worker(&served, &second, &first);
  start_get(&answer, &served.client, &request);
  expect_waiters(2);
  on_worker(served.net.workers[0].worker, let_go_and_cut, &served);
  answer_wait(&answer);
  assert_true(answer.transport);
  answer_wait(&first);
  assert_int_equal(got(&first).outcome, LC_OUTCOME_VALUE);
  answer_fini(&answer);
  answer_fini(&first);
  peer_stop(&second);
}

/* ---- memory ---- */

static void start_a_get(struct answer *answer) {
  struct lc_msg_peer_get_request request = get_request(&served, "ttl", "big:5000");
  struct lc_msg_name name = {lc_slice_str("g"), lc_slice_str("parent")};
  request.lineage = &name;
  request.lineage_count = 1;
  start_get(answer, &served.client, &request);
}

static void a_get_is_answered_whatever_allocation_fails(void **state) {
  (void)state;
  if (!lc_alloc_faults_built())
    skip();
  expect_answers(&served, start_a_get);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, start, stop)

int main(void) {
  const struct CMUnitTest tests[] = {
      TEST(a_get_is_loaded_once_then_served_from_the_store),
      TEST(a_get_of_a_key_that_is_not_ours_is_answered_here),
      TEST(an_asker_for_whom_writes_do_not_wait_may_not_keep_the_value),
      TEST(keep_is_decided_when_the_get_comes),
      TEST(not_found_and_failure_are_answers),
      TEST(hostile_gets_fail_or_are_strangers),
      TEST(only_a_node_that_we_know_and_that_knows_us_is_answered),
      TEST(a_refresh_loads_anew),
      TEST(a_get_that_waits_for_itself_fails),
      TEST(hostile_lineages_are_bounded),
      TEST(a_draining_node_answers_what_it_has_and_says_draining_else),
      TEST(a_large_value_comes_whole),
      TEST(a_peek_finds_copies_and_loads_nothing),
      TEST(a_node_that_may_have_missed_writes_gives_no_copies_to_others),
      TEST(a_peek_says_how_far_it_has_heard_of_writes),
      TEST(no_copy_is_given_while_writes_may_have_been_missed),
      TEST(a_mirror_answers_no_peek),
      TEST(gets_wait_and_peeks_find_nothing_while_copies_may_be_old),
      TEST(a_get_that_waits_for_fresh_copies_may_be_cancelled),
      TEST(a_cancelled_get_cancels_its_load),
      TEST(a_get_ends_at_its_deadline),
      TEST(a_call_may_break_while_its_result_is_on_its_way),
      TEST(a_get_is_answered_whatever_allocation_fails),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
