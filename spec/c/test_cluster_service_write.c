/* lcache.v1.Peer Set and Delete, and the calls of the control connection: Hello, Leave, Invalidate, HandOver. */
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

/* ---- Set and Delete ---- */

static struct lc_msg_peer_set_request set_request(const char *key, const char *value) {
  return (struct lc_msg_peer_set_request){.from = OTHER_PROCESS,
                                          .to = served.cluster->process,
                                          .group = lc_slice_str("g"),
                                          .key = lc_slice_str(key),
                                          .value = lc_slice_str(value)};
}

static struct lc_msg_peer_delete_request delete_request(const char *key) {
  return (struct lc_msg_peer_delete_request){
      .from = OTHER_PROCESS, .to = served.cluster->process, .group = lc_slice_str("g"), .key = lc_slice_str(key)};
}

static void start_set(struct answer *answer, const struct lc_msg_peer_set_request *request) {
  START_CALL(answer, &served.client, "Set", peer_set_request, request);
}

static struct lc_msg_peer_write_response write_got(struct answer *answer) {
  struct lc_msg_peer_write_response reply;
  answer_wait(answer);
  expect_status(answer, LC_GRPC_OK, "");
  assert_int_equal(lc_msg_peer_write_response_decode(NULL, lc_buf_slice(&answer->reply), &reply, NULL), 0);
  return reply;
}

static void expect_set(const struct lc_msg_peer_set_request *request, int outcome, int code) {
  struct answer answer;
  start_set(&answer, request);
  const struct lc_msg_peer_write_response reply = write_got(&answer);
  assert_int_equal(reply.outcome, outcome);
  assert_int_equal(reply.code, code);
  assert_true((reply.message.len > 0) == (code != 0));
  answer_fini(&answer);
}

static void expect_delete(const struct lc_msg_peer_delete_request *request, int outcome, bool deleted) {
  struct answer answer;
  START_CALL(&answer, &served.client, "Delete", peer_delete_request, request);
  const struct lc_msg_peer_write_response reply = write_got(&answer);
  assert_int_equal(reply.outcome, outcome);
  assert_int_equal(reply.deleted, deleted);
  answer_fini(&answer);
}

static void the_owner_applies_a_write_and_says_its_ring(void **state) {
  (void)state;
  char key[64];
  struct answer answer;
  key_of(&served, true, "k", 0, key);
  const struct lc_msg_peer_set_request set = set_request(key, "new");
  const struct lc_msg_peer_delete_request del = delete_request(key);
  start_set(&answer, &set);
  const struct lc_msg_peer_write_response reply = write_got(&answer);
  assert_int_equal(reply.outcome, LC_OUTCOME_OK);
  struct lc_view *view = lc_view_acquire(served.cluster);
  assert_int_equal(reply.ring, lc_ring_id(view->now->ring));
  lc_view_unref(view);
  answer_fini(&answer);
  expect_peek(&served, "g", key, LC_OUTCOME_VALUE, "new");
  expect_delete(&del, LC_OUTCOME_OK, true);
  expect_delete(&del, LC_OUTCOME_OK, false);
  expect_peek(&served, "g", key, LC_OUTCOME_NOT_CACHED, "");
}

static void a_write_of_a_key_that_is_not_ours_is_not_applied(void **state) {
  (void)state;
  char key[64];
  key_of(&served, false, "k", 0, key);
  const struct lc_msg_peer_set_request set = set_request(key, "new");
  const struct lc_msg_peer_delete_request del = delete_request(key);
  expect_set(&set, LC_OUTCOME_NOT_OWNER, 0);
  expect_delete(&del, LC_OUTCOME_NOT_OWNER, false);
  expect_get(&served, "g", key, LC_OUTCOME_VALUE, key);
}

static void a_node_that_not_all_know_yet_takes_no_writes(void **state) {
  (void)state;
  char key[64];
  key_of(&served, true, "k", 0, key);
  const struct lc_msg_peer_set_request set = set_request(key, "new");
  const struct lc_msg_peer_delete_request del = delete_request(key);
  atomic_store(&served.cluster->arriving, true);
  expect_set(&set, LC_OUTCOME_NOT_OWNER, 0);
  expect_delete(&del, LC_OUTCOME_NOT_OWNER, false);
  atomic_store(&served.cluster->arriving, false);
  expect_set(&set, LC_OUTCOME_OK, 0);
}

static void a_node_that_stood_still_takes_no_writes(void **state) {
  (void)state;
  char key[64];
  key_of(&served, true, "k", 0, key);
  const struct lc_msg_peer_set_request set = set_request(key, "new");
  set_stale(&served, true);
  expect_set(&set, LC_OUTCOME_NOT_OWNER, 0);
  set_stale(&served, false);
  expect_set(&set, LC_OUTCOME_OK, 0);
}

static void a_refused_set_fails_and_removes_the_old_value(void **state) {
  (void)state;
  char key[64] = "", *large = malloc(102);
  memset(large, 'x', 101);
  large[101] = '\0';
  struct lc_msg_peer_set_request set = set_request(key, "old");
  set.group = lc_slice_str("small");
  unsigned n = 0;
  const struct lc_view *view = lc_view_acquire(served.cluster);
  do
    snprintf(key, sizeof key, "k%u", n++);
  while (lc_view_owner(view, lc_hash_ring(set.group, lc_slice_str(key))));
  lc_view_unref((struct lc_view *)view);
  set.key = lc_slice_str(key);
  expect_set(&set, LC_OUTCOME_OK, 0);
  set.value = lc_slice_str(large);
  expect_set(&set, LC_OUTCOME_FAILED, LC_GRPC_INVALID_ARGUMENT);
  expect_peek(&served, "small", key, LC_OUTCOME_NOT_CACHED, "");
  free(large);
}

static void hostile_writes_fail_or_are_strangers(void **state) {
  (void)state;
  struct lc_msg_peer_set_request set = set_request("", "v");
  struct lc_msg_peer_delete_request del = delete_request("k");
  expect_set(&set, LC_OUTCOME_FAILED, LC_GRPC_INVALID_ARGUMENT);
  set.key = lc_slice_str("k");
  set.ttl_ms = -2;
  expect_set(&set, LC_OUTCOME_FAILED, LC_GRPC_INVALID_ARGUMENT);
  set.group = lc_slice_str("nobody's");
  expect_set(&set, LC_OUTCOME_FAILED, LC_GRPC_NOT_FOUND);
  set.group = lc_slice_str("");
  expect_set(&set, LC_OUTCOME_FAILED, LC_GRPC_INVALID_ARGUMENT);
  set.from = 0;
  expect_set(&set, LC_OUTCOME_STRANGER, 0);
  set.from = OTHER_PROCESS;
  set.to = 0;
  expect_set(&set, LC_OUTCOME_STRANGER, 0);
  del.to++;
  expect_delete(&del, LC_OUTCOME_STRANGER, false);
  del = delete_request("k");
  del.from = served.cluster->process;
  expect_delete(&del, LC_OUTCOME_STRANGER, false);
}

static void a_write_is_acknowledged_when_all_nodes_know(void **state) {
  (void)state;
  char key[64];
  struct answer answer;
  key_of(&served, true, "k", 0, key);
  const struct lc_msg_peer_set_request set = set_request(key, "new");
  atomic_store(&served.hold_writes, true);
  start_set(&answer, &set);
  gate_wait(&served.waits, 1);
  expect_peek(&served, "g", key, LC_OUTCOME_VALUE, "new");
  assert_int_equal(answer.done, 0);
  let_write_go(&served);
  assert_int_equal(write_got(&answer).outcome, LC_OUTCOME_OK);
  answer_fini(&answer);
}

static bool no_wait(void *arg) {
  (void)arg;
  return served.wait == NULL;
}

static void a_write_that_waits_may_be_cancelled(void **state) {
  (void)state;
  char key[64];
  struct answer answer;
  key_of(&served, true, "k", 0, key);
  const struct lc_msg_peer_set_request set = set_request(key, "new");
  atomic_store(&served.hold_writes, true);
  start_set(&answer, &set);
  gate_wait(&served.waits, 1);
  cancel_answer(&answer);
  net_until(&served.net, 0, no_wait, NULL);
  answer_fini(&answer);
  expect_peek(&served, "g", key, LC_OUTCOME_VALUE, "new"); /* it has happened all the same */
}

static bool no_call(void *arg) {
  (void)arg;
  return lc_server_connections(served.net.workers[0].server) == 0;
}

static void a_call_may_break_while_its_acknowledgement_is_on_its_way(void **state) {
  (void)state;
  char key[64];
  struct answer answer;
  key_of(&served, true, "k", 0, key);
  const struct lc_msg_peer_set_request set = set_request(key, "new");
  atomic_store(&served.hold_writes, true);
  start_set(&answer, &set);
  gate_wait(&served.waits, 1);
  atomic_store(&served.wait_on_its_way, true);
  peer_close(&served.client);
  net_until(&served.net, 0, no_call, NULL);
  let_write_go(&served);
  assert_int_equal(answer.done, 0);
  answer_fini(&answer);
}

/* ---- the control connection's calls ---- */

static struct lc_msg_hello_response say_hello(uint64_t from, const char *address, char out[64]) {
  struct answer answer;
  struct lc_msg_hello_response reply;
  const struct lc_msg_hello_request request = {.from = from,
                                               .address = lc_slice_str(address),
                                               .weight = 1,
                                               .protocol = LC_PROTOCOL,
                                               .ring_version = LC_RING_VERSION};
  START_CALL(&answer, &served.client, "Hello", hello_request, &request);
  answer_wait(&answer);
  expect_status(&answer, LC_GRPC_OK, "");
  assert_int_equal(lc_msg_hello_response_decode(NULL, lc_buf_slice(&answer.reply), &reply, NULL), 0);
  copy_text(out, 64, reply.address);
  answer_fini(&answer);
  return reply;
}

static void hello_says_who_we_are_and_makes_the_caller_known(void **state) {
  (void)state;
  char address[64];
  const struct lc_msg_hello_response reply = say_hello(99, "127.0.0.1:10", address);
  assert_int_equal(reply.process, served.cluster->process);
  assert_string_equal(address, SELF);
  assert_false(reply.was_waited);
  struct lc_msg_peer_get_request request = get_request(&served, "g", "k");
  request.from = 99;
  struct answer answer;
  ask_get(&answer, &served, &request);
  assert_int_equal(got(&answer).outcome, LC_OUTCOME_VALUE);
  answer_fini(&answer);
}

static void our_own_hello_is_recognised(void **state) {
  (void)state;
  char address[64];
  const struct lc_msg_hello_response reply = say_hello(served.cluster->process, "127.0.0.1:10", address);
  assert_int_equal(reply.process, served.cluster->process);
  assert_string_equal(address, SELF);
  assert_int_equal(served.cluster->known_count, 1);
}

static void a_hello_that_does_not_fit_is_refused_with_a_reason(void **state) {
  (void)state;
  struct answer answer;
  const struct lc_msg_hello_request request = {.from = 99, .address = lc_slice_str("127.0.0.1:10"), .protocol = 9};
  START_CALL(&answer, &served.client, "Hello", hello_request, &request);
  answer_wait(&answer);
  assert_int_equal(answer.status, LC_GRPC_INVALID_ARGUMENT);
  assert_non_null(strstr(answer.message, "protocol"));
  answer_fini(&answer);
}

static int leave(uint64_t from, uint64_t to) {
  struct answer answer;
  struct lc_msg_leave_response reply;
  const struct lc_msg_leave_request request = {.from = from, .to = to};
  START_CALL(&answer, &served.client, "Leave", leave_request, &request);
  answer_wait(&answer);
  expect_status(&answer, LC_GRPC_OK, "");
  assert_int_equal(lc_msg_leave_response_decode(NULL, lc_buf_slice(&answer.reply), &reply, NULL), 0);
  answer_fini(&answer);
  return reply.outcome;
}

static void who_leaves_is_off_the_ring_and_still_answered(void **state) {
  (void)state;
  char key[64];
  key_of(&served, false, "k", 0, key);
  assert_int_equal(leave(OTHER_PROCESS + 1, served.cluster->process), LC_OUTCOME_STRANGER);
  assert_int_equal(leave(OTHER_PROCESS, 0), LC_OUTCOME_STRANGER);
  const struct lc_msg_peer_set_request set = set_request(key, "new");
  expect_set(&set, LC_OUTCOME_NOT_OWNER, 0);
  assert_int_equal(leave(OTHER_PROCESS, served.cluster->process), LC_OUTCOME_OK);
  expect_set(&set, LC_OUTCOME_OK, 0); /* ours now */
}

static struct lc_msg_invalidate_response invalidate(const struct lc_msg_invalidate_request *request) {
  struct answer answer;
  struct lc_msg_invalidate_response reply;
  START_CALL(&answer, &served.client, "Invalidate", invalidate_request, request);
  answer_wait(&answer);
  expect_status(&answer, LC_GRPC_OK, "");
  assert_int_equal(lc_msg_invalidate_response_decode(NULL, lc_buf_slice(&answer.reply), &reply, NULL), 0);
  answer_fini(&answer);
  return reply;
}

static void an_invalidation_drops_the_copy(void **state) {
  (void)state;
  char key[64];
  key_of(&served, true, "k", 0, key);
  struct lc_msg_name entries[] = {{lc_slice_str("g"), lc_slice_str(key)}};
  struct lc_msg_invalidate_request request = {
      .from = OTHER_PROCESS + 1, .to = served.cluster->process, .entries = entries, .entry_count = 1};
  expect_get(&served, "g", key, LC_OUTCOME_VALUE, key);
  assert_int_equal(invalidate(&request).outcome, LC_OUTCOME_STRANGER);
  expect_peek(&served, "g", key, LC_OUTCOME_VALUE, key);
  request.from = OTHER_PROCESS;
  const struct lc_msg_invalidate_response reply = invalidate(&request);
  assert_int_equal(reply.outcome, LC_OUTCOME_OK);
  assert_int_equal(reply.applied, 1);
  assert_false(reply.mismatch);
  expect_peek(&served, "g", key, LC_OUTCOME_NOT_CACHED, "");
}

static struct lc_msg_handover_response hand_over(const struct lc_msg_handover_request *request) {
  struct answer answer;
  struct lc_msg_handover_response reply;
  START_CALL(&answer, &served.client, "HandOver", handover_request, request);
  answer_wait(&answer);
  expect_status(&answer, LC_GRPC_OK, "");
  assert_int_equal(lc_msg_handover_response_decode(NULL, lc_buf_slice(&answer.reply), &reply, NULL), 0);
  answer_fini(&answer);
  return reply;
}

static void an_item_handed_over_by_a_node_we_know_is_stored(void **state) {
  (void)state;
  char key[64];
  key_of(&served, true, "k", 0, key);
  struct lc_msg_handover_item items[] = {{lc_slice_str("g"), lc_slice_str(key), 0, lc_slice_str("theirs"), NULL}};
  struct lc_msg_handover_request request = {
      .from = OTHER_PROCESS, .to = served.cluster->process + 1, .items = items, .item_count = 1};
  assert_int_equal(hand_over(&request).outcome, LC_OUTCOME_STRANGER);
  expect_peek(&served, "g", key, LC_OUTCOME_NOT_CACHED, "");
  request.to = served.cluster->process;
  const struct lc_msg_handover_response reply = hand_over(&request);
  assert_int_equal(reply.outcome, LC_OUTCOME_OK);
  assert_int_equal(reply.taken, 1);
  expect_peek(&served, "g", key, LC_OUTCOME_VALUE, "theirs");
}

/* ---- hostile bytes, and memory ---- */

static const char *const PATHS[] = {"/lcache.v1.Peer/Hello",    "/lcache.v1.Peer/Get",    "/lcache.v1.Peer/BatchGet",
                                    "/lcache.v1.Peer/Set",      "/lcache.v1.Peer/Delete", "/lcache.v1.Peer/Invalidate",
                                    "/lcache.v1.Peer/HandOver", "/lcache.v1.Peer/Leave"};

static void bytes_that_are_no_message_are_refused_by_every_method(void **state) {
  (void)state;
  for (size_t i = 0; i < sizeof PATHS / sizeof *PATHS; i++) {
    struct answer answer;
    ask(&answer, &served.client, PATHS[i], lc_slice_of("\xff\xff\xff", 3));
    assert_int_equal(answer.status, LC_GRPC_INTERNAL);
    assert_non_null(strstr(answer.message, "malformed"));
    answer_fini(&answer);
  }
}

/* Hello needs somebody who says it; the others are from nobody. */
static void an_empty_message_is_a_strangers(void **state) {
  (void)state;
  for (size_t i = 0; i < sizeof PATHS / sizeof *PATHS; i++) {
    struct answer answer;
    ask(&answer, &served.client, PATHS[i], lc_slice_of("", 0));
    assert_int_equal(answer.status, i == 0 ? LC_GRPC_INVALID_ARGUMENT : LC_GRPC_OK);
    if (i > 0)
      assert_true(answer.reply.len >= 2 && memcmp(answer.reply.data, "\x08\x08", 2) == 0); /* outcome STRANGER */
    answer_fini(&answer);
  }
}

static void start_a_write(struct answer *answer) {
  char key[64];
  key_of(&served, true, "k", 0, key);
  const struct lc_msg_peer_set_request set = set_request(key, "new");
  start_set(answer, &set);
}

static void a_write_is_answered_whatever_allocation_fails(void **state) {
  (void)state;
  if (!lc_alloc_faults_built())
    skip();
  expect_answers(&served, start_a_write);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, start, stop)

int main(void) {
  const struct CMUnitTest tests[] = {
      TEST(the_owner_applies_a_write_and_says_its_ring),
      TEST(a_write_of_a_key_that_is_not_ours_is_not_applied),
      TEST(a_node_that_not_all_know_yet_takes_no_writes),
      TEST(a_node_that_stood_still_takes_no_writes),
      TEST(a_refused_set_fails_and_removes_the_old_value),
      TEST(hostile_writes_fail_or_are_strangers),
      TEST(a_write_is_acknowledged_when_all_nodes_know),
      TEST(a_write_that_waits_may_be_cancelled),
      TEST(a_call_may_break_while_its_acknowledgement_is_on_its_way),
      TEST(hello_says_who_we_are_and_makes_the_caller_known),
      TEST(our_own_hello_is_recognised),
      TEST(a_hello_that_does_not_fit_is_refused_with_a_reason),
      TEST(who_leaves_is_off_the_ring_and_still_answered),
      TEST(an_invalidation_drops_the_copy),
      TEST(an_item_handed_over_by_a_node_we_know_is_stored),
      TEST(bytes_that_are_no_message_are_refused_by_every_method),
      TEST(an_empty_message_is_a_strangers),
      TEST(a_write_is_answered_whatever_allocation_fails),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
