#include "test_rpc_client_support.h"

#include <string.h>

/* A client whose connection fails, or whose memory does. test_rpc_client.c has the calls. */

/* ---- connections that fail ---- */

static void a_deadline_does_not_wait_for_a_connection(void **state) {
  struct both *both = *state;
  struct answer answer;
  int fillers[4];
  int listener = full_listener(&both->peer.config.address.port, fillers, 4);
  peer_close(&both->peer);
  both->peer.config.connect_timeout_ms = 10000;
  peer_open(&both->peer);
  answer_init(&answer, &both->peer, "/t.T/Echo", lc_slice_str("x"));
  answer.timeout_ms = 20;
  uint64_t before = lc_clock_ms();
  answer_start(&answer);
  answer_wait(&answer);
  expect_status(&answer, LC_GRPC_DEADLINE_EXCEEDED, "no reply before the deadline");
  assert_true(lc_clock_ms() - before < 8000);
  for (int i = 0; i < 4; i++)
    close(fillers[i]);
  close(listener);
  answer_fini(&answer);
}

static void no_answer_to_the_connection_request_is_told(void **state) {
  struct both *both = *state;
  struct answer answer;
  int fillers[4];
  int listener = full_listener(&both->peer.config.address.port, fillers, 4);
  peer_close(&both->peer);
  both->peer.config.connect_timeout_ms = 30;
  struct early early = {&both->peer, &answer};
  answer_init(&answer, &both->peer, "/t.T/Echo", lc_slice_str("x"));
  on_worker(both->peer.worker, open_and_call, &early);
  answer_wait(&answer);
  assert_int_equal(answer.status, LC_GRPC_UNAVAILABLE);
  assert_true(answer.transport);
  assert_non_null(strstr(answer.message, ": can't connect (no answer; is lcache running there?)"));
  gate_wait(&both->peer.down, 1);
  assert_int_equal(both->peer.down_err.code, LC_EDEADLINE);
  for (int i = 0; i < 4; i++)
    close(fillers[i]);
  close(listener);
  answer_fini(&answer);
}

static void nobody_listening_is_told_with_the_address(void **state) {
  struct both *both = *state;
  struct answer answer;
  uint16_t port;
  close(listen_socket(1, &port));
  peer_close(&both->peer);
  both->peer.config.address.port = port;
  struct early early = {&both->peer, &answer};
  answer_init(&answer, &both->peer, "/t.T/Echo", lc_slice_str("x"));
  on_worker(both->peer.worker, open_and_call, &early);
  answer_wait(&answer);
  char expected[128];
  snprintf(expected, sizeof expected, "127.0.0.1:%u: can't connect (is lcache running there? connection refused)",
           (unsigned)port);
  expect_status(&answer, LC_GRPC_UNAVAILABLE, expected);
  assert_true(answer.transport);
  gate_wait(&both->peer.down, 1);
  assert_int_equal(both->peer.down_err.code, LC_EUNAVAILABLE);
  assert_string_equal(both->peer.down_err.msg, expected);
  answer_fini(&answer);
}

static void a_name_that_has_no_address_is_told(void **state) {
  struct both *both = *state;
  struct answer answer;
  peer_close(&both->peer);
  strcpy(both->peer.config.address.host, "a..b"); /* no name server is asked for an empty label */
  both->peer.config.address.port = 1;
  struct early early = {&both->peer, &answer};
  answer_init(&answer, &both->peer, "/t.T/Echo", lc_slice_str("x"));
  on_worker(both->peer.worker, open_and_call, &early);
  answer_wait(&answer);
  expect_status(&answer, LC_GRPC_UNAVAILABLE, "a..b:1: can't resolve the name (unknown node or service)");
  answer_fini(&answer);
}

static void a_server_that_goes_down_fails_its_calls_and_then_new_ones(void **state) {
  struct both *both = *state;
  struct answer answer, late;
  answer_init(&answer, &both->peer, "/t.T/Hang", lc_slice_str("x"));
  answer_start(&answer);
  gate_wait(&both->seen.messages, 1);
  net_stop(&both->net);
  answer_wait(&answer);
  assert_int_equal(answer.status, LC_GRPC_UNAVAILABLE);
  assert_true(answer.transport);
  gate_wait(&both->peer.down, 1);
  answer_init(&late, &both->peer, "/t.T/Echo", lc_slice_str("x"));
  answer_start(&late);
  assert_int_equal(late.rc, LC_EUNAVAILABLE);
  assert_int_equal(late.done, 0);
  assert_int_equal(both->peer.down.count, 1);
  answer_fini(&answer);
  answer_fini(&late);
  both_restart_server(both);
}

static void a_stopping_server_finishes_what_it_has_and_gets_nothing_new(void **state) {
  struct both *both = *state;
  struct answer answer, late;
  answer_init(&answer, &both->peer, "/t.T/Held", lc_slice_str("x"));
  answer_start(&answer);
  gate_wait(&both->seen.messages, 1);
  net_drain(&both->net, 0);
  answer_init(&late, &both->peer, "/t.T/Echo", lc_slice_str("x"));
  uint64_t until = lc_clock_ms() + PATIENCE_S * 1000u;
  do { /* until the GOAWAY has come */
    answer_fini(&late);
    answer_init(&late, &both->peer, "/t.T/Hang", lc_slice_str("x"));
    answer_start(&late);
    assert_true(lc_clock_ms() < until);
    if (late.rc == 0)
      on_worker(both->peer.worker, cancel_here, &late);
  } while (late.rc == 0);
  assert_int_equal(late.rc, LC_EUNAVAILABLE);
  assert_int_equal(answer.done, 0);
  on_worker(both->net.workers[0].worker, finish_held, &both->seen);
  answer_wait(&answer);
  expect_reply(&answer, "finished");
  gate_wait(&both->peer.down, 1);
  assert_non_null(strstr(both->peer.down_err.msg, ": the server is stopping"));
  answer_fini(&answer);
  answer_fini(&late);
}

static void an_http1_server_is_named_as_such(void **state) {
  struct both *both = *state;
  struct answer answer;
  uint16_t port;
  int listener = listen_socket(1, &port);
  peer_close(&both->peer);
  both->peer.config.address.port = port;
  peer_open(&both->peer);
  answer_init(&answer, &both->peer, "/t.T/Echo", lc_slice_str("x"));
  answer_start(&answer);
  int fd = accept(listener, NULL, NULL);
  static const char reply[] = "HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n";
  assert_true(send_all(fd, reply, sizeof reply - 1));
  answer_wait(&answer);
  char expected[160];
  snprintf(expected, sizeof expected,
           "127.0.0.1:%u: answers in HTTP/1, not gRPC (is this the server's --listen address?)", (unsigned)port);
  expect_status(&answer, LC_GRPC_UNAVAILABLE, expected);
  close(fd);
  close(listener);
  answer_fini(&answer);
}

static void a_server_that_talks_rubbish_is_not_http2(void **state) {
  struct both *both = *state;
  struct answer answer;
  uint16_t port;
  int listener = listen_socket(1, &port);
  peer_close(&both->peer);
  both->peer.config.address.port = port;
  peer_open(&both->peer);
  answer_init(&answer, &both->peer, "/t.T/Echo", lc_slice_str("x"));
  answer_start(&answer);
  int fd = accept(listener, NULL, NULL);
  assert_true(send_all(fd, "220 mail.example.org ESMTP ready, and more words\r\n", 50));
  answer_wait(&answer);
  assert_int_equal(answer.status, LC_GRPC_UNAVAILABLE);
  assert_non_null(strstr(answer.message, ": not an HTTP/2 server (is this the server's --listen address?)"));
  close(fd);
  close(listener);
  answer_fini(&answer);
}

/* ---- no memory ---- */

struct failing {
  struct peer *peer;
  struct answer *answer;
  size_t n, made;
};

static void fail_nth(void *arg) {
  struct failing *failing = arg;
  failing->peer->client = NULL;
  lc_alloc_fail_at(failing->n);
  struct lc_err err;
  failing->peer->rc = lc_rpc_client_create(&failing->peer->config, &failing->peer->client, &err);
  if (failing->peer->rc == 0)
    answer_start_here(failing->answer);
}

static void fail_no_more(void *arg) {
  struct failing *failing = arg;
  failing->made = lc_alloc_fail_at(0);
}

/* A whole call on a fresh worker whose n-th allocation fails; true if there were so many. */
static bool call_with_failure(struct both *both, size_t n) {
  struct peer peer;
  struct answer answer;
  struct failing failing = {&peer, &answer, n, 0};
  peer_worker(&peer);
  peer.config.address.port = both->net.port;
  answer_init(&answer, &peer, "/t.T/Big", lc_slice_str("300000"));
  on_worker(peer.worker, fail_nth, &failing);
  if (peer.rc == 0 && answer.rc == 0) {
    answer_wait(&answer);
    if (answer.status == LC_GRPC_OK)
      assert_int_equal(answer.reply.len, 300000);
    else if (answer.status != LC_GRPC_UNAVAILABLE && answer.status != LC_GRPC_RESOURCE_EXHAUSTED)
      fail_msg("allocation %zu: %s \"%s\"", n, lc_grpc_status_name(answer.status), answer.message);
  } else {
    assert_int_equal(peer.rc != 0 ? peer.rc : answer.rc, LC_ENOMEM);
    assert_int_equal(answer.done, 0);
  }
  on_worker(peer.worker, fail_no_more, &failing);
  answer_fini(&answer);
  peer_stop(&peer);
  return failing.made >= n;
}

static void every_allocation_may_fail_once(void **state) {
  if (!lc_alloc_faults_built())
    skip();
  size_t n = 1;
  while (call_with_failure(*state, n))
    n++;
  assert_true(n > 20);
}

#define TEST(name_) cmocka_unit_test_setup_teardown(name_, both_setup, both_teardown)

int main(void) {
  const struct CMUnitTest tests[] = {
      TEST(a_deadline_does_not_wait_for_a_connection),
      TEST(no_answer_to_the_connection_request_is_told),
      TEST(nobody_listening_is_told_with_the_address),
      TEST(a_name_that_has_no_address_is_told),
      TEST(a_server_that_goes_down_fails_its_calls_and_then_new_ones),
      TEST(a_stopping_server_finishes_what_it_has_and_gets_nothing_new),
      TEST(an_http1_server_is_named_as_such),
      TEST(a_server_that_talks_rubbish_is_not_http2),
      TEST(every_allocation_may_fail_once),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
