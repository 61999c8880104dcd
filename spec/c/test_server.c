#include "test_rpc_support.h"

#include <string.h>

/* Connections: how they begin, stand still, and end. The calls on them are test_rpc_server.c's. */

struct both {
  struct seen seen;
  struct net net;
};

static int setup_with(void **state, void (*change)(struct net *net)) {
  struct both *both = malloc(sizeof *both);
  seen_init(&both->seen);
  net_init(&both->net, both->seen.table);
  if (change)
    change(&both->net);
  net_start(&both->net);
  *state = both;
  return 0;
}

static int setup(void **state) {
  return setup_with(state, NULL);
}

static void impatient(struct net *net) {
  net->config.hello_timeout_ms = 60;
  net->config.request_timeout_ms = 60;
  net->config.stuck_timeout_ms = 60;
}

static int setup_impatient(void **state) {
  return setup_with(state, impatient);
}

static void pinging(struct net *net) {
  net->config.idle_ping_ms = 40;
  net->config.ping_timeout_ms = 80;
}

static int setup_pinging(void **state) {
  return setup_with(state, pinging);
}

static int teardown(void **state) {
  struct both *both = *state;
  net_stop(&both->net);
  seen_fini(&both->seen);
  free(both);
  return 0;
}

static void expect_echo(struct raw *raw) {
  struct raw_stream *stream = raw_open(raw, "/t.T/Echo");
  raw_message(stream, "x");
  raw_end(stream);
  raw_until_closed(raw, stream);
  expect_trailer(stream, "0", "");
}

/* ---- beginning ---- */

static const char EXPLAINED[] = "HTTP/1.1 505 HTTP Version Not Supported\r\n"
                                "content-type: text/plain\r\nconnection: close\r\ncontent-length: 67\r\n\r\n"
                                "This port speaks gRPC (HTTP/2 with prior knowledge), not HTTP/1.1.\n";

static void expect_explained(int fd) {
  char reply[1024];
  size_t len = recv_all(fd, reply, sizeof reply);
  assert_int_equal(len, sizeof EXPLAINED - 1);
  assert_memory_equal(reply, EXPLAINED, len);
  const char *body = strstr(EXPLAINED, "\r\n\r\n") + 4;
  assert_int_equal(strlen(body), 67);
  close(fd);
}

static void http1_is_told_what_this_port_speaks(void **state) {
  struct both *both = *state;
  const char *requests[] = {"GET / HTTP/1.1\r\nhost: here\r\n\r\n", "POST /t.T/Echo HTTP/1.1\r\n\r\n",
                            "PRI * HTTP/1.1\r\n\r\n", "\x16\x03\x01\x02\x00\x01\x00\x01"};
  for (size_t i = 0; i < sizeof requests / sizeof *requests; i++) {
    int fd = connect_socket(both->net.port);
    assert_true(send_all(fd, requests[i], strlen(requests[i])));
    expect_explained(fd);
  }
  gate_wait(&both->net.ended, 4);
}

static bool has_connection(void *arg) {
  return lc_server_connections(((struct net *)arg)->workers[0].server) > 0;
}

static void http1_that_begins_like_http2_in_a_packet_of_its_own_is_told_too(void **state) {
  struct both *both = *state;
  int fd = connect_socket(both->net.port);
  assert_true(send_all(fd, "P", 1));
  net_until(&both->net, 0, has_connection, &both->net);
  assert_true(send_all(fd, "OST / HTTP/1.1\r\n\r\n", 18));
  expect_explained(fd);
}

static void a_preface_may_come_byte_by_byte(void **state) {
  struct both *both = *state;
  struct raw *raw = raw_connect(both->net.port);
  struct raw_stream *stream = raw_open(raw, "/t.T/Echo");
  assert_int_equal(lc_grpc_frame(&stream->body, lc_slice_str("x")), 0);
  assert_int_equal(lc_h2_finish(raw->h2, stream->id, NULL, 0), 0);
  struct lc_outq out;
  lc_outq_init(&out, raw->pool);
  assert_int_equal(lc_h2_pull(raw->h2, &out, SIZE_MAX), 0);
  int on = 1;
  setsockopt(raw->fd, 6 /* TCP */, 1 /* NODELAY */, &on, sizeof on);
  while (out.bytes > 0) {
    uint8_t byte;
    lc_outq_read(&out, &byte, 1);
    assert_true(send_all(raw->fd, &byte, 1));
  }
  lc_outq_fini(&out);
  raw_until_closed(raw, stream);
  expect_trailer(stream, "0", "");
  raw_close(raw);
}

static void broken_frames_end_their_connection_only(void **state) {
  struct both *both = *state;
  struct raw *good = raw_connect(both->net.port), *bad = raw_connect(both->net.port);
  expect_echo(good);
  expect_echo(bad);
  assert_true(send_all(bad->fd, "\0\0\4\4\0\0\0\0\0abcd", 13)); /* SETTINGS of four bytes: there are none such */
  raw_until_eof(bad);
  assert_int_equal(bad->goaways, 1);
  assert_int_equal(bad->goaway_code, 6); /* FRAME_SIZE_ERROR */
  expect_echo(good);
  raw_close(good);
  raw_close(bad);
}

static void a_silent_connection_is_closed_after_hello_timeout(void **state) {
  struct both *both = *state;
  int silent = connect_socket(both->net.port), slow = connect_socket(both->net.port);
  char byte;
  uint64_t before = lc_clock_ms();
  assert_true(send_all(slow, "PRI * HTTP/2.0\r\n", 16));
  assert_int_equal(recv_all(silent, &byte, 1), 0);
  assert_int_equal(recv_all(slow, &byte, 1), 0);
  assert_true(lc_clock_ms() - before >= 55);
  gate_wait(&both->net.ended, 2);
  close(silent);
  close(slow);
}

/* ---- standing still ---- */

static void a_request_that_never_ends_is_reset_and_others_go_on(void **state) {
  struct both *both = *state;
  struct raw *raw = raw_connect(both->net.port);
  struct raw_stream *partial = raw_open(raw, "/t.T/Echo"), *pending = raw_open(raw, "/t.T/Held");
  raw_write(partial, "\0\0\0\0\7abc", 8);
  raw_message(pending, "x");
  raw_end(pending);
  raw_until_closed(raw, partial);
  assert_int_equal(partial->error_code, LC_H2_CANCEL);
  assert_string_equal(partial->grpc_status, "");
  assert_false(pending->closed);
  on_worker(both->net.workers[0].worker, finish_held, &both->seen);
  raw_until_closed(raw, pending);
  expect_trailer(pending, "0", "");
  raw_close(raw);
}

static void a_stream_of_messages_may_stay_open_for_longer_than_a_request_may_take(void **state) {
  struct both *both = *state;
  struct raw *raw = raw_connect(both->net.port);
  struct raw_stream *stream = raw_open(raw, "/t.T/Stream"), *partial = raw_open(raw, "/t.T/Stream");
  raw_message(stream, "x");
  raw_until_closed(raw, partial); /* the one without a message; the time is up */
  assert_int_equal(partial->error_code, LC_H2_CANCEL);
  raw_message(stream, "y");
  raw_end(stream);
  raw_until_closed(raw, stream);
  expect_trailer(stream, "0", "");
  raw_close(raw);
}

static void a_client_that_does_not_read_is_cut_after_stuck_timeout(void **state) {
  struct both *both = *state;
  struct raw *raw = raw_connect_windows(both->net.port, 64u << 20, 64u << 20);
  struct raw_stream *stream = raw_open(raw, "/t.T/Big");
  raw_message(stream, "30000000"); /* more than the kernel takes */
  raw_end(stream);
  gate_wait(&both->net.ended, 1);
  assert_int_equal(net_charged(&both->net, 0), 0);
  raw_close(raw);
}

static void a_client_that_reads_slowly_is_not_stuck(void **state) {
  struct both *both = *state;
  struct raw *raw = raw_connect_windows(both->net.port, 64u << 20, 64u << 20);
  struct raw_stream *stream = raw_open(raw, "/t.T/Big");
  raw_message(stream, "20000000");
  raw_end(stream);
  raw_until_closed(raw, stream); /* 64 KiB at a time, unpacked in between */
  expect_trailer(stream, "0", "");
  assert_int_equal(stream->data.len, 20000000 + LC_GRPC_PREFIX);
  raw_close(raw);
}

static void a_peer_that_answers_no_ping_is_cut(void **state) {
  struct both *both = *state;
  struct raw *dead = raw_connect(both->net.port), *idle = raw_connect(both->net.port);
  expect_echo(dead);
  expect_echo(idle);
  uint64_t until = lc_clock_ms() + 400;
  while (lc_clock_ms() < until)
    raw_turn(idle, 5); /* answers pings, does nothing else */
  gate_wait(&both->net.ended, 1);
  assert_int_equal(net_connections(&both->net, 0), 1);
  expect_echo(idle);
  raw_close(dead);
  raw_close(idle);
}

/* ---- stopping ---- */

static void draining_lets_a_call_end_between_two_goaways(void **state) {
  struct both *both = *state;
  struct raw *raw = raw_connect(both->net.port);
  struct raw_stream *stream = raw_open(raw, "/t.T/Held");
  raw_message(stream, "x");
  raw_end(stream);
  gate_wait(&both->seen.messages, 1);
  net_drain(&both->net, 0);
  while (raw->goaways == 0)
    assert_true(raw_turn(raw, PATIENCE_S * 1000));
  assert_int_equal(raw->last_id, INT32_MAX);
  while (raw->goaways < 2)
    assert_true(raw_turn(raw, PATIENCE_S * 1000)); /* its PING is answered by then */
  assert_int_equal(raw->last_id, stream->id);
  assert_int_equal(raw->goaway_code, LC_H2_NO_ERROR);
  assert_false(stream->closed);
  assert_int_equal(both->net.workers[0].drained.count, 0);
  on_worker(both->net.workers[0].worker, finish_held, &both->seen);
  raw_until_closed(raw, stream);
  expect_trailer(stream, "0", "");
  raw_until_eof(raw);
  raw_close(raw);
  gate_wait(&both->net.workers[0].drained, 1);
}

static void draining_ends_an_idle_connection(void **state) {
  struct both *both = *state;
  struct raw *raw = raw_connect(both->net.port);
  expect_echo(raw);
  net_drain(&both->net, 0);
  raw_until_eof(raw);
  assert_true(raw->goaways > 0);
  raw_close(raw);
  gate_wait(&both->net.workers[0].drained, 1);
}

static void draining_ends_a_connection_whose_client_says_nothing(void **state) {
  struct both *both = *state;
  struct raw *raw = raw_connect(both->net.port);
  expect_echo(raw);
  net_drain(&both->net, 0);
  gate_wait(&both->net.workers[0].drained, 1); /* neither its PING answered nor its end read */
  raw_close(raw);
}

static void draining_ends_a_connection_that_has_not_begun(void **state) {
  struct both *both = *state;
  int fd = connect_socket(both->net.port);
  net_until(&both->net, 0, has_connection, &both->net);
  net_drain(&both->net, 0);
  char byte;
  assert_int_equal(recv_all(fd, &byte, 1), 0);
  close(fd);
  gate_wait(&both->net.workers[0].drained, 1);
}

static void draining_nothing_is_done_at_once(void **state) {
  struct both *both = *state;
  net_drain(&both->net, 0);
  assert_int_equal(both->net.workers[0].drained.count, 1);
}

static void a_connection_that_comes_while_draining_is_closed(void **state) {
  struct both *both = *state;
  net_drain(&both->net, 0);
  int fd = connect_socket(both->net.port);
  char byte;
  assert_int_equal(recv_all(fd, &byte, 1), 0);
  close(fd);
  gate_wait(&both->net.ended, 1);
}

static void large_replies_are_whole_when_draining_ends(void **state) {
  struct both *both = *state;
  struct raw *raw = raw_connect_windows(both->net.port, 64u << 20, 64u << 20);
  struct raw_stream *stream = raw_open(raw, "/t.T/Big");
  raw_message(stream, "20000000");
  raw_end(stream);
  gate_wait(&both->seen.messages, 1);
  net_drain(&both->net, 0);
  raw_until_closed(raw, stream);
  expect_trailer(stream, "0", "");
  assert_int_equal(stream->data.len, 20000000 + LC_GRPC_PREFIX);
  raw_until_eof(raw);
  raw_close(raw);
  gate_wait(&both->net.workers[0].drained, 1);
}

static void abort_here(void *arg) {
  lc_server_abort(arg);
}

static void aborting_cuts_connections_and_cancels_calls(void **state) {
  struct both *both = *state;
  struct raw *raw = raw_connect(both->net.port);
  raw_message(raw_open(raw, "/t.T/Hang"), "x");
  gate_wait(&both->seen.messages, 1);
  net_drain(&both->net, 0);
  on_worker(both->net.workers[0].worker, abort_here, both->net.workers[0].server);
  gate_wait(&both->seen.cancels, 1);
  gate_wait(&both->net.workers[0].drained, 1);
  raw_close(raw);
}

#define TEST(name_) cmocka_unit_test_setup_teardown(name_, setup, teardown)
#define TEST_IMPATIENT(name_) cmocka_unit_test_setup_teardown(name_, setup_impatient, teardown)

int main(void) {
  const struct CMUnitTest tests[] = {
      TEST(http1_is_told_what_this_port_speaks),
      TEST(http1_that_begins_like_http2_in_a_packet_of_its_own_is_told_too),
      TEST(a_preface_may_come_byte_by_byte),
      TEST(broken_frames_end_their_connection_only),
      TEST_IMPATIENT(a_silent_connection_is_closed_after_hello_timeout),
      TEST_IMPATIENT(a_request_that_never_ends_is_reset_and_others_go_on),
      TEST_IMPATIENT(a_stream_of_messages_may_stay_open_for_longer_than_a_request_may_take),
      TEST_IMPATIENT(a_client_that_does_not_read_is_cut_after_stuck_timeout),
      TEST_IMPATIENT(a_client_that_reads_slowly_is_not_stuck),
      cmocka_unit_test_setup_teardown(a_peer_that_answers_no_ping_is_cut, setup_pinging, teardown),
      TEST(draining_lets_a_call_end_between_two_goaways),
      TEST(draining_ends_an_idle_connection),
      TEST(draining_ends_a_connection_whose_client_says_nothing),
      TEST(draining_ends_a_connection_that_has_not_begun),
      TEST(draining_nothing_is_done_at_once),
      TEST(a_connection_that_comes_while_draining_is_closed),
      TEST(large_replies_are_whole_when_draining_ends),
      TEST(aborting_cuts_connections_and_cancels_calls),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
