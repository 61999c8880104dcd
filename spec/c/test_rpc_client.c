#include "test_rpc_client_support.h"

#include <string.h>

#define CALLS 300u

/* ---- answers ---- */

static void a_unary_call_is_answered_with_the_servers_message(void **state) {
  struct both *both = *state;
  struct answer answer;
  ask(&answer, &both->peer, "/t.T/Echo", lc_slice_of("a\0b", 3));
  expect_status(&answer, LC_GRPC_OK, "");
  assert_int_equal(answer.reply.len, 3);
  assert_memory_equal(answer.reply.data, "a\0b", 3);
  assert_false(answer.transport);
  answer_fini(&answer);
}

static void an_empty_message_is_a_message(void **state) {
  struct both *both = *state;
  struct answer answer;
  ask(&answer, &both->peer, "/t.T/Echo", lc_slice_str(""));
  expect_reply(&answer, "");
  answer_fini(&answer);
}

static void an_error_comes_with_its_text_unescaped_and_no_reply(void **state) {
  struct both *both = *state;
  struct answer answer;
  const char *text = "50% of \"k\xc3\xa9y\" is\nbad: \xff";
  ask(&answer, &both->peer, "/t.T/Fail", lc_slice_str(text));
  expect_status(&answer, LC_GRPC_INVALID_ARGUMENT, text);
  assert_int_equal(answer.reply.len, 0);
  assert_false(answer.transport);
  answer_fini(&answer);
}

static void an_unknown_method_is_unimplemented(void **state) {
  struct both *both = *state;
  struct answer answer;
  ask(&answer, &both->peer, "/t.T/Nothing", lc_slice_str("x"));
  expect_status(&answer, LC_GRPC_UNIMPLEMENTED, "unknown service or method");
  answer_fini(&answer);
}

static void megabytes_come_whole(void **state) {
  struct both *both = *state;
  struct answer answer;
  ask(&answer, &both->peer, "/t.T/Big", lc_slice_str("20000000"));
  expect_status(&answer, LC_GRPC_OK, "");
  assert_int_equal(answer.reply.len, 20000000);
  for (size_t i = 0; i < answer.reply.len; i++) {
    if (answer.reply.data[i] != big_byte(i))
      fail_msg("byte %zu differs", i);
  }
  answer_fini(&answer);
}

static void a_large_request_goes_whole(void **state) {
  struct both *both = *state;
  struct answer answer;
  size_t len = (1 << 20) - 1;
  uint8_t *bytes = malloc(len);
  for (size_t i = 0; i < len; i++)
    bytes[i] = big_byte(i);
  ask(&answer, &both->peer, "/t.T/Echo", lc_slice_of(bytes, len));
  expect_status(&answer, LC_GRPC_OK, "");
  assert_int_equal(answer.reply.len, len);
  assert_memory_equal(answer.reply.data, bytes, len);
  free(bytes);
  answer_fini(&answer);
}

static void a_reply_over_the_clients_limit_is_refused_and_the_connection_lives(void **state) {
  struct both *both = *state;
  struct answer answer;
  peer_close(&both->peer);
  both->peer.config.max_message = 1000;
  peer_open(&both->peer);
  ask(&answer, &both->peer, "/t.T/Big", lc_slice_str("1001"));
  expect_status(&answer, LC_GRPC_RESOURCE_EXHAUSTED, "the reply is over this client's message limit");
  answer_fini(&answer);
  ask(&answer, &both->peer, "/t.T/Big", lc_slice_str("1000"));
  expect_status(&answer, LC_GRPC_OK, "");
  assert_int_equal(answer.reply.len, 1000);
  answer_fini(&answer);
  assert_int_equal(both->peer.down.count, 0);
}

static void a_reply_may_come_long_before_its_status(void **state) {
  struct both *both = *state;
  struct answer answer;
  answer_init(&answer, &both->peer, "/t.T/Late", lc_slice_str("kept until then"));
  answer_start(&answer);
  gate_wait(&both->seen.messages, 1);
  struct answer over; /* what came before this has been read, and is written over by it */
  ask(&over, &both->peer, "/t.T/Big", lc_slice_str("5000"));
  answer_fini(&over);
  assert_int_equal(answer.done, 0);
  on_worker(both->net.workers[0].worker, finish_late, &both->seen);
  answer_wait(&answer);
  expect_reply(&answer, "kept until then");
  answer_fini(&answer);
}

static void large_replies_in_turn_come_whole(void **state) {
  struct both *both = *state;
  const char *sizes[] = {"1000000", "70000", "3000000", "8192", "1000000", "0"};
  for (size_t k = 0; k < sizeof sizes / sizeof *sizes; k++) {
    struct answer answer;
    ask(&answer, &both->peer, "/t.T/Big", lc_slice_str(sizes[k]));
    expect_status(&answer, LC_GRPC_OK, "");
    assert_int_equal(answer.reply.len, strtoul(sizes[k], NULL, 10));
    for (size_t i = 0; i < answer.reply.len; i++) {
      if (answer.reply.data[i] != big_byte(i))
        fail_msg("byte %zu of %s differs", i, sizes[k]);
    }
    answer_fini(&answer);
  }
}

static void take_half_of_the_buffers(void *arg) {
  assert_true(lc_worker_charge(arg, PEER_BUFFER_BYTES / 2));
}

static void give_the_half_back(void *arg) {
  lc_worker_uncharge(arg, PEER_BUFFER_BYTES / 2);
}

static void a_reply_that_the_workers_buffers_have_no_room_for_is_refused(void **state) {
  struct both *both = *state;
  struct answer answer;
  char size[32];
  snprintf(size, sizeof size, "%u", PEER_BUFFER_BYTES / 2);
  peer_close(&both->peer);
  both->peer.config.max_message = SIZE_MAX;
  peer_open(&both->peer);
  on_worker(both->peer.worker, take_half_of_the_buffers, both->peer.worker);
  ask(&answer, &both->peer, "/t.T/Big", lc_slice_str(size));
  expect_status(&answer, LC_GRPC_RESOURCE_EXHAUSTED, "out of memory for the reply");
  assert_false(answer.transport);
  answer_fini(&answer);
  expect_works(&both->peer);
  on_worker(both->peer.worker, give_the_half_back, both->peer.worker);
}

static void ok_without_a_message_is_an_error(void **state) {
  struct both *both = *state;
  struct answer answer;
  ask(&answer, &both->peer, "/t.T/None", lc_slice_str("x"));
  expect_status(&answer, LC_GRPC_INTERNAL, "the server's reply had no message");
  answer_fini(&answer);
}

static void two_messages_for_one_call_are_an_error(void **state) {
  struct both *both = *state;
  struct answer answer;
  ask(&answer, &both->peer, "/t.T/Two", lc_slice_str("x"));
  expect_status(&answer, LC_GRPC_INTERNAL, "malformed reply");
  assert_int_equal(answer.reply.len, 0);
  answer_fini(&answer);
}

/* ---- many calls ---- */

struct many {
  struct peer *peer;
  struct answer answers[CALLS];
};

static void open_and_start_many(void *arg) {
  struct many *many = arg;
  struct peer *peer = many->peer;
  peer->rc = lc_rpc_client_create(&peer->config, &peer->client, &peer->err);
  for (unsigned i = 0; i < CALLS; i++)
    answer_start_here(&many->answers[i]);
}

static void hundreds_of_calls_share_the_connection_and_need_not_wait_for_it(void **state) {
  struct both *both = *state;
  struct many *many = malloc(sizeof *many);
  many->peer = &both->peer;
  for (unsigned i = 0; i < CALLS; i++) {
    char text[32];
    snprintf(text, sizeof text, i % 3 == 0 ? "error %u" : "message %u", i);
    answer_init(&many->answers[i], &both->peer, i % 3 == 0 ? "/t.T/Fail" : "/t.T/Echo", lc_slice_str(text));
  }
  peer_close(&both->peer);
  gate_wait(&both->net.ended, 1);
  on_worker(both->peer.worker, open_and_start_many, many);
  for (unsigned i = 0; i < CALLS; i++) {
    struct answer *answer = &many->answers[i];
    char text[32];
    snprintf(text, sizeof text, i % 3 == 0 ? "error %u" : "message %u", i);
    assert_int_equal(answer->rc, 0);
    answer_wait(answer);
    if (i % 3 == 0)
      expect_status(answer, LC_GRPC_INVALID_ARGUMENT, text);
    else
      expect_reply(answer, text);
    answer_fini(answer);
  }
  assert_int_equal(net_connections(&both->net, 0), 1);
  free(many);
}

static void a_call_may_follow_create_at_once(void **state) {
  struct both *both = *state;
  struct answer answer;
  struct early early = {&both->peer, &answer};
  peer_close(&both->peer);
  answer_init(&answer, &both->peer, "/t.T/Echo", lc_slice_str("at once"));
  on_worker(both->peer.worker, open_and_call, &early);
  assert_int_equal(answer.rc, 0);
  answer_wait(&answer);
  expect_reply(&answer, "at once");
  answer_fini(&answer);
}

static void start_another(struct answer *answer) {
  answer->on_done = NULL;
  struct answer *next = answer + 1;
  answer_start_here(next);
}

static void done_may_start_another_call(void **state) {
  struct both *both = *state;
  struct answer answers[2];
  answer_init(&answers[1], &both->peer, "/t.T/Echo", lc_slice_str("second"));
  answer_init(&answers[0], &both->peer, "/t.T/Echo", lc_slice_str("first"));
  answers[0].on_done = start_another;
  answer_start(&answers[0]);
  answer_wait(&answers[0]);
  answer_wait(&answers[1]);
  expect_reply(&answers[1], "second");
  answer_fini(&answers[0]);
  answer_fini(&answers[1]);
}

/* ---- giving up ---- */

static void a_deadline_ends_the_call_here_and_there(void **state) {
  struct both *both = *state;
  struct answer answer;
  answer_init(&answer, &both->peer, "/t.T/Hang", lc_slice_str("x"));
  answer.timeout_ms = 30;
  uint64_t before = lc_clock_ms();
  answer_start(&answer);
  answer_wait(&answer);
  assert_int_equal(answer.status, LC_GRPC_DEADLINE_EXCEEDED);
  assert_true(lc_clock_ms() - before >= 29);
  gate_wait(&both->seen.cancels, 1);
  expect_works(&both->peer);
  answer_fini(&answer);
}

static void a_deadline_does_not_wait_for_a_server_that_is_silent(void **state) {
  struct both *both = *state;
  struct answer answer;
  uint16_t port;
  int listener = listen_socket(1, &port); /* accepts in the kernel, says nothing */
  peer_close(&both->peer);
  both->peer.config.address.port = port;
  peer_open(&both->peer);
  answer_init(&answer, &both->peer, "/t.T/Echo", lc_slice_str("x"));
  answer.timeout_ms = 20;
  answer_start(&answer);
  answer_wait(&answer);
  expect_status(&answer, LC_GRPC_DEADLINE_EXCEEDED, "no reply before the deadline");
  assert_false(answer.transport);
  close(listener);
  answer_fini(&answer);
}

static void a_cancelled_call_ends_at_the_server_and_calls_nobody(void **state) {
  struct both *both = *state;
  struct answer answer;
  answer_init(&answer, &both->peer, "/t.T/Hang", lc_slice_str("x"));
  answer_start(&answer);
  gate_wait(&both->seen.messages, 1);
  on_worker(both->peer.worker, cancel_here, &answer);
  gate_wait(&both->seen.cancels, 1);
  expect_works(&both->peer);
  assert_int_equal(answer.done, 0);
  answer_fini(&answer);
}

static void start_and_cancel(void *arg) {
  answer_start_here(arg);
  cancel_here(arg);
}

static void a_call_cancelled_before_it_went_out_calls_nobody(void **state) {
  struct both *both = *state;
  struct answer answer;
  answer_init(&answer, &both->peer, "/t.T/Echo", lc_slice_str("x"));
  on_worker(both->peer.worker, start_and_cancel, &answer);
  assert_int_equal(answer.rc, 0);
  expect_works(&both->peer);
  assert_int_equal(answer.done, 0);
  answer_fini(&answer);
}

static void cancel_the_next(struct answer *answer) {
  lc_rpc_client_cancel((answer + 1)->call);
}

static void done_may_cancel_another_call(void **state) {
  struct both *both = *state;
  struct answer answers[2];
  answer_init(&answers[0], &both->peer, "/t.T/Echo", lc_slice_str("x"));
  answer_init(&answers[1], &both->peer, "/t.T/Hang", lc_slice_str("x"));
  answers[0].on_done = cancel_the_next;
  answer_start(&answers[1]);
  answer_start(&answers[0]);
  answer_wait(&answers[0]);
  gate_wait(&both->seen.cancels, 1);
  assert_int_equal(answers[1].done, 0);
  answer_fini(&answers[0]);
  answer_fini(&answers[1]);
}

static void done_may_cancel_another_call_while_the_connection_ends(void **state) {
  struct both *both = *state;
  struct answer answers[2];
  answer_init(&answers[0], &both->peer, "/t.T/Hang", lc_slice_str("x"));
  answer_init(&answers[1], &both->peer, "/t.T/Hang", lc_slice_str("x"));
  answers[0].on_done = cancel_the_next;
  answer_start(&answers[0]); /* the older one ends first */
  answer_start(&answers[1]);
  gate_wait(&both->seen.messages, 2);
  net_stop(&both->net);
  answer_wait(&answers[0]);
  gate_wait(&both->peer.down, 1);
  assert_int_equal(answers[1].done, 0);
  answer_fini(&answers[0]);
  answer_fini(&answers[1]);
  both_restart_server(both);
}

static void destroy_here(struct answer *answer) {
  lc_rpc_client_destroy(answer->peer->client);
  answer->peer->client = NULL;
}

static void done_may_destroy_the_client_while_calls_are_in_progress(void **state) {
  struct both *both = *state;
  struct answer answers[2];
  answer_init(&answers[0], &both->peer, "/t.T/Echo", lc_slice_str("x"));
  answer_init(&answers[1], &both->peer, "/t.T/Hang", lc_slice_str("x"));
  answers[0].on_done = destroy_here;
  answer_start(&answers[1]);
  answer_start(&answers[0]);
  answer_wait(&answers[0]);
  gate_wait(&both->seen.cancels, 1);
  gate_wait(&both->net.ended, 1);
  assert_int_equal(answers[1].done, 0);
  assert_int_equal(both->peer.down.count, 0);
  answer_fini(&answers[0]);
  answer_fini(&answers[1]);
}

static void done_at_the_deadline_may_destroy_the_client(void **state) {
  struct both *both = *state;
  struct answer answer;
  answer_init(&answer, &both->peer, "/t.T/Hang", lc_slice_str("x"));
  answer.timeout_ms = 10;
  answer.on_done = destroy_here;
  answer_start(&answer);
  answer_wait(&answer);
  assert_int_equal(answer.status, LC_GRPC_DEADLINE_EXCEEDED);
  gate_wait(&both->net.ended, 1);
  answer_fini(&answer);
}

static void destroy_with_calls_in_progress_calls_nobody(void **state) {
  struct both *both = *state;
  struct answer answers[20];
  for (unsigned i = 0; i < 20; i++) {
    answer_init(&answers[i], &both->peer, "/t.T/Hang", lc_slice_str("x"));
    answers[i].timeout_ms = 60000;
    answer_start(&answers[i]);
  }
  gate_wait(&both->seen.messages, 20);
  peer_close(&both->peer);
  gate_wait(&both->seen.cancels, 20);
  for (unsigned i = 0; i < 20; i++) {
    assert_int_equal(answers[i].done, 0);
    answer_fini(&answers[i]);
  }
}

#define TEST(name_) cmocka_unit_test_setup_teardown(name_, both_setup, both_teardown)

int main(void) {
  const struct CMUnitTest tests[] = {
      TEST(a_unary_call_is_answered_with_the_servers_message),
      TEST(an_empty_message_is_a_message),
      TEST(an_error_comes_with_its_text_unescaped_and_no_reply),
      TEST(an_unknown_method_is_unimplemented),
      TEST(megabytes_come_whole),
      TEST(a_large_request_goes_whole),
      TEST(a_reply_over_the_clients_limit_is_refused_and_the_connection_lives),
      TEST(a_reply_may_come_long_before_its_status),
      TEST(large_replies_in_turn_come_whole),
      TEST(a_reply_that_the_workers_buffers_have_no_room_for_is_refused),
      TEST(ok_without_a_message_is_an_error),
      TEST(two_messages_for_one_call_are_an_error),
      TEST(hundreds_of_calls_share_the_connection_and_need_not_wait_for_it),
      TEST(a_call_may_follow_create_at_once),
      TEST(done_may_start_another_call),
      TEST(a_deadline_ends_the_call_here_and_there),
      TEST(a_deadline_does_not_wait_for_a_server_that_is_silent),
      TEST(a_cancelled_call_ends_at_the_server_and_calls_nobody),
      TEST(a_call_cancelled_before_it_went_out_calls_nobody),
      TEST(done_may_cancel_another_call),
      TEST(done_may_cancel_another_call_while_the_connection_ends),
      TEST(done_may_destroy_the_client_while_calls_are_in_progress),
      TEST(done_at_the_deadline_may_destroy_the_client),
      TEST(destroy_with_calls_in_progress_calls_nobody),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
