#include "test_rpc_support.h"

#include <string.h>

/* Calls as no well-behaved client makes them, and their life at the server. Connections are test_server.c's. */

struct both {
  struct seen seen;
  struct net net;
  struct raw *raw;
};

static int setup_with(void **state, void (*change)(struct net *net)) {
  struct both *both = malloc(sizeof *both);
  seen_init(&both->seen);
  net_init(&both->net, both->seen.table);
  if (change)
    change(&both->net);
  net_start(&both->net);
  both->raw = raw_connect(both->net.port);
  *state = both;
  return 0;
}

static int setup(void **state) {
  return setup_with(state, NULL);
}

static int teardown(void **state) {
  struct both *both = *state;
  raw_close(both->raw);
  net_stop(&both->net);
  seen_fini(&both->seen);
  free(both);
  return 0;
}

static void expect_echo(struct raw *raw) {
  struct raw_stream *stream = raw_open(raw, "/t.T/Echo");
  raw_message(stream, "still here");
  raw_end(stream);
  raw_until_closed(raw, stream);
  expect_trailer(stream, "0", "");
  assert_int_equal(stream->data.len, LC_GRPC_PREFIX + 10);
  assert_memory_equal(stream->data.data + LC_GRPC_PREFIX, "still here", 10);
}

static struct raw_stream *open_with(struct raw *raw, const char *method, const char *type, const char *name,
                                    const char *value) {
  const struct lc_h2_field fields[] = {FIELD(":method", method),    FIELD(":scheme", "http"),
                                       FIELD(":path", "/t.T/Echo"), FIELD(":authority", "there"),
                                       FIELD("content-type", type), FIELD(name, value)};
  return raw_open_fields(raw, fields, sizeof fields / sizeof *fields);
}

/* ---- heads ---- */

static void expect_http(struct raw *raw, struct raw_stream *stream, const char *status) {
  raw_until_closed(raw, stream); /* although our half is not ended */
  assert_string_equal(stream->http_status, status);
  assert_string_equal(stream->grpc_status, "");
  assert_int_equal(stream->error_code, LC_H2_NO_ERROR);
}

static void another_content_type_gets_415(void **state) {
  struct raw *raw = ((struct both *)*state)->raw;
  const char *types[] = {"application/json", "application/grpc-web", "application/grp", "text/html"};
  for (size_t i = 0; i < sizeof types / sizeof *types; i++)
    expect_http(raw, open_with(raw, "POST", types[i], "te", "trailers"), "415");
  expect_echo(raw);
}

static void content_types_of_grpc_may_name_a_codec_or_parameters(void **state) {
  struct raw *raw = ((struct both *)*state)->raw;
  const char *types[] = {"application/grpc", "application/grpc+proto", "application/grpc;charset=utf-8"};
  for (size_t i = 0; i < sizeof types / sizeof *types; i++) {
    struct raw_stream *stream = open_with(raw, "POST", types[i], "te", "trailers");
    raw_message(stream, "x");
    raw_end(stream);
    raw_until_closed(raw, stream);
    expect_trailer(stream, "0", "");
  }
}

static void another_method_gets_405(void **state) {
  struct raw *raw = ((struct both *)*state)->raw;
  expect_http(raw, open_with(raw, "GET", "application/grpc", "te", "trailers"), "405");
  expect_http(raw, open_with(raw, "PUT", "application/grpc", "te", "trailers"), "405");
  expect_echo(raw);
}

static void an_unknown_method_is_unimplemented_at_once(void **state) {
  struct raw *raw = ((struct both *)*state)->raw;
  const char *paths[] = {"/t.T/Nothing", "/t.T/Ech", "/t.T/Echoo", "/", "/lcache.v1.Cache/Get"};
  for (size_t i = 0; i < sizeof paths / sizeof *paths; i++) {
    struct raw_stream *stream = raw_open(raw, paths[i]);
    raw_until_closed(raw, stream);
    expect_trailer(stream, "12", "unknown service or method");
  }
}

static void compressed_messages_are_unimplemented(void **state) {
  struct raw *raw = ((struct both *)*state)->raw;
  struct raw_stream *stream = open_with(raw, "POST", "application/grpc", "grpc-encoding", "gzip");
  raw_until_closed(raw, stream);
  expect_trailer(stream, "12", "compressed messages are not supported: send grpc-encoding identity");
  stream = open_with(raw, "POST", "application/grpc", "grpc-encoding", "identity");
  raw_message(stream, "x");
  raw_end(stream);
  raw_until_closed(raw, stream);
  expect_trailer(stream, "0", "");
}

static void a_malformed_timeout_is_told(void **state) {
  struct raw *raw = ((struct both *)*state)->raw;
  const char *timeouts[] = {"soon", "123456789S", "5", "-1S", ""};
  for (size_t i = 0; i < sizeof timeouts / sizeof *timeouts; i++) {
    struct raw_stream *stream = open_with(raw, "POST", "application/grpc", "grpc-timeout", timeouts[i]);
    raw_until_closed(raw, stream);
    expect_trailer(stream, "13", "malformed grpc-timeout");
  }
}

static void a_timeout_of_nothing_has_passed(void **state) {
  struct both *both = *state;
  struct raw_stream *stream = open_with(both->raw, "POST", "application/grpc", "grpc-timeout", "0S");
  raw_until_closed(both->raw, stream);
  expect_trailer(stream, "4", "deadline passed");
  assert_int_equal(both->seen.messages.count, 0);
}

/* ---- messages ---- */

static void a_message_may_come_byte_by_byte(void **state) {
  struct both *both = *state;
  struct raw_stream *stream = raw_open(both->raw, "/t.T/Echo");
  uint8_t bytes[LC_GRPC_PREFIX + 300];
  lc_grpc_write_prefix(bytes, 300);
  for (size_t i = 0; i < 300; i++)
    bytes[LC_GRPC_PREFIX + i] = big_byte(i);
  for (size_t i = 0; i < sizeof bytes; i++) {
    raw_write(stream, &bytes[i], 1);
    if (i % 100 == 0)
      raw_turn(both->raw, 0);
  }
  raw_end(stream);
  raw_until_closed(both->raw, stream);
  expect_trailer(stream, "0", "");
  assert_int_equal(stream->data.len, sizeof bytes);
  assert_memory_equal(stream->data.data, bytes, sizeof bytes);
}

static void the_end_may_come_in_an_empty_frame_long_after(void **state) {
  struct both *both = *state;
  struct raw_stream *stream = raw_open(both->raw, "/t.T/Held");
  raw_message(stream, "x");
  gate_wait(&both->seen.messages, 1);
  raw_end(stream);
  on_worker(both->net.workers[0].worker, finish_held, &both->seen);
  raw_until_closed(both->raw, stream);
  expect_trailer(stream, "0", "");
}

static void an_answer_does_not_wait_for_the_end_of_the_request(void **state) {
  struct both *both = *state;
  struct raw_stream *stream = raw_open(both->raw, "/t.T/Echo");
  raw_message(stream, "x"); /* and no end */
  raw_until_closed(both->raw, stream);
  expect_trailer(stream, "0", "");
  assert_int_equal(stream->error_code, LC_H2_NO_ERROR);
  assert_int_equal(net_streams(&both->net, 0), 0);
}

static void two_messages_cancel_a_unary_call_in_progress(void **state) {
  struct both *both = *state;
  struct raw_stream *stream = raw_open(both->raw, "/t.T/Hang");
  raw_message(stream, "one");
  raw_message(stream, "two");
  raw_until_closed(both->raw, stream);
  expect_trailer(stream, "13", "more than one message for a unary call");
  assert_int_equal(both->seen.messages.count, 1);
  assert_int_equal(both->seen.cancels.count, 1);
}

static void a_second_message_in_the_same_frame_does_not_reach_the_handler(void **state) {
  struct both *both = *state;
  struct raw_stream *stream = raw_open(both->raw, "/t.T/Echo");
  assert_int_equal(lc_grpc_frame(&stream->body, lc_slice_str("one")), 0);
  raw_message(stream, "two");
  raw_end(stream);
  raw_until_closed(both->raw, stream);
  expect_trailer(stream, "0", "");
  assert_int_equal(both->seen.messages.count, 1);
  assert_int_equal(stream->data.len, LC_GRPC_PREFIX + 3);
}

static void a_request_that_ends_inside_a_message_is_told(void **state) {
  struct both *both = *state;
  const size_t lengths[] = {1, 4, 5, 9}; /* of 15 */
  for (size_t i = 0; i < sizeof lengths / sizeof *lengths; i++) {
    struct raw_stream *stream = raw_open(both->raw, "/t.T/Echo");
    uint8_t bytes[LC_GRPC_PREFIX + 10] = {0};
    lc_grpc_write_prefix(bytes, 10);
    raw_write(stream, bytes, lengths[i]);
    raw_end(stream);
    raw_until_closed(both->raw, stream);
    expect_trailer(stream, "13", "the request ended inside a message");
  }
  assert_int_equal(both->seen.messages.count, 0);
}

static void a_request_without_a_message_is_told(void **state) {
  struct raw *raw = ((struct both *)*state)->raw;
  struct raw_stream *stream = raw_open(raw, "/t.T/Echo");
  raw_end(stream);
  raw_until_closed(raw, stream);
  expect_trailer(stream, "13", "the request had no message");
}

static void a_message_over_the_limit_is_refused_by_its_prefix(void **state) {
  struct both *both = *state;
  const uint32_t lengths[] = {(1 << 20) + 1, UINT32_MAX};
  for (size_t i = 0; i < sizeof lengths / sizeof *lengths; i++) {
    uint8_t prefix[LC_GRPC_PREFIX];
    struct raw_stream *stream = raw_open(both->raw, "/t.T/Echo");
    lc_grpc_write_prefix(prefix, lengths[i]);
    raw_write(stream, prefix, sizeof prefix);
    raw_until_closed(both->raw, stream);
    expect_trailer(stream, "8", "message over the limit of 1048576 bytes");
  }
  assert_int_equal(net_charged(&both->net, 0), 0);
  expect_echo(both->raw);
}

static void a_method_may_take_longer_messages(void **state) {
  struct both *both = *state;
  static uint8_t bytes[LC_GRPC_PREFIX + (1 << 20) + LONGER_BY];
  struct raw_stream *stream = raw_open(both->raw, "/t.T/Longer");
  lc_grpc_write_prefix(bytes, (1 << 20) + LONGER_BY);
  raw_write(stream, bytes, sizeof bytes);
  raw_end(stream);
  raw_until_closed(both->raw, stream);
  expect_trailer(stream, "0", "");
  assert_int_equal(stream->data.len, sizeof bytes);
  stream = raw_open(both->raw, "/t.T/Longer");
  lc_grpc_write_prefix(bytes, (1 << 20) + LONGER_BY + 1);
  raw_write(stream, bytes, LC_GRPC_PREFIX);
  raw_until_closed(both->raw, stream);
  expect_trailer(stream, "8", "message over the limit of 1114112 bytes");
}

static void a_large_prefix_alone_takes_no_memory(void **state) {
  struct both *both = *state;
  uint8_t prefix[LC_GRPC_PREFIX];
  lc_grpc_write_prefix(prefix, 1 << 20);
  for (int i = 0; i < 50; i++) {
    struct raw_stream *stream = raw_open(both->raw, "/t.T/Echo");
    raw_write(stream, prefix, sizeof prefix);
  }
  expect_echo(both->raw);
  assert_int_equal(net_streams(&both->net, 0), 50);
  assert_true(net_charged(&both->net, 0) < 50 * 8192);
}

static void a_compression_flag_is_a_malformed_frame(void **state) {
  struct raw *raw = ((struct both *)*state)->raw;
  struct raw_stream *stream = raw_open(raw, "/t.T/Echo");
  raw_write(stream, "\1\0\0\0\1x", 6);
  raw_until_closed(raw, stream);
  expect_trailer(stream, "13", "malformed gRPC frame");
  expect_echo(raw);
}

/* ---- ends ---- */

static void a_reset_cancels_the_handler_once(void **state) {
  struct both *both = *state;
  struct raw_stream *stream = raw_open(both->raw, "/t.T/Hang");
  raw_message(stream, "x");
  gate_wait(&both->seen.messages, 1);
  assert_int_equal(lc_h2_reset(both->raw->h2, stream->id, LC_H2_CANCEL), 0);
  raw_send(both->raw);
  gate_wait(&both->seen.cancels, 1);
  assert_true(both->seen.over_when_cancelled);
  expect_echo(both->raw);
  assert_int_equal(both->seen.cancels.count, 1);
}

static void a_lost_connection_cancels_its_calls(void **state) {
  struct both *both = *state;
  for (int i = 0; i < 10; i++)
    raw_message(raw_open(both->raw, "/t.T/Hang"), "x");
  gate_wait(&both->seen.messages, 10);
  close(both->raw->fd);
  both->raw->fd = -1;
  gate_wait(&both->seen.cancels, 10);
  gate_wait(&both->net.ended, 1);
  assert_int_equal(net_streams(&both->net, 0), 0);
}

static void a_deadline_cancels_the_handler_and_is_told(void **state) {
  struct both *both = *state;
  const struct lc_h2_field fields[] = {FIELD(":method", "POST"),
                                       FIELD(":scheme", "http"),
                                       FIELD(":path", "/t.T/Hang"),
                                       FIELD(":authority", "there"),
                                       FIELD("content-type", "application/grpc"),
                                       FIELD("grpc-timeout", "20m")};
  uint64_t before = lc_clock_ms();
  struct raw_stream *stream = raw_open_fields(both->raw, fields, sizeof fields / sizeof *fields);
  raw_message(stream, "x");
  raw_end(stream);
  raw_until_closed(both->raw, stream);
  expect_trailer(stream, "4", "deadline passed");
  assert_true(lc_clock_ms() - before >= 19);
  assert_int_equal(both->seen.cancels.count, 1);
  assert_false(both->seen.over_when_cancelled);
}

static void a_held_call_outlives_its_connection(void **state) {
  struct both *both = *state;
  raw_message(raw_open(both->raw, "/t.T/Held"), "x");
  gate_wait(&both->seen.messages, 1);
  close(both->raw->fd);
  both->raw->fd = -1;
  gate_wait(&both->seen.cancels, 1);
  gate_wait(&both->net.ended, 1);
  on_worker(both->net.workers[0].worker, finish_held, &both->seen);
  assert_int_equal(net_charged(&both->net, 0), 0);
}

static void a_held_call_that_was_cancelled_may_still_be_finished(void **state) {
  struct both *both = *state;
  struct raw_stream *stream = raw_open(both->raw, "/t.T/Held");
  raw_message(stream, "x");
  gate_wait(&both->seen.messages, 1);
  assert_int_equal(lc_h2_reset(both->raw->h2, stream->id, LC_H2_CANCEL), 0);
  raw_send(both->raw);
  gate_wait(&both->seen.cancels, 1);
  on_worker(both->net.workers[0].worker, finish_held, &both->seen);
  expect_echo(both->raw);
}

static void an_errors_text_is_percent_encoded_and_replaces_what_was_appended(void **state) {
  struct raw *raw = ((struct both *)*state)->raw;
  struct raw_stream *stream = raw_open(raw, "/t.T/Fail");
  raw_message(stream, "50% \n\xff~");
  raw_end(stream);
  raw_until_closed(raw, stream);
  expect_trailer(stream, "3", "50%25 %0A%FF~");
  assert_int_equal(stream->data.len, 0);
}

/* ---- streams of messages ---- */

static void a_streaming_method_takes_and_gives_many_messages(void **state) {
  struct both *both = *state;
  struct raw_stream *stream = raw_open(both->raw, "/t.T/Stream");
  raw_message(stream, "one");
  while (stream->data.len < LC_GRPC_PREFIX + 3)
    assert_true(raw_turn(both->raw, PATIENCE_S * 1000));
  assert_int_equal(lc_grpc_frame(&stream->body, lc_slice_str("two")), 0); /* two in one frame */
  raw_message(stream, "three");
  raw_end(stream);
  raw_until_closed(both->raw, stream);
  expect_trailer(stream, "0", "");
  assert_int_equal(stream->data.len, 3 * LC_GRPC_PREFIX + 11);
  assert_memory_equal(stream->data.data + stream->data.len - 5, "three", 5);
  assert_int_equal(both->seen.messages.count, 3);
  assert_int_equal(both->seen.half_closes.count, 1);
  assert_int_equal(both->seen.cancels.count, 0);
}

static void a_streaming_call_may_have_no_messages(void **state) {
  struct both *both = *state;
  struct raw_stream *stream = raw_open(both->raw, "/t.T/Stream");
  raw_end(stream);
  raw_until_closed(both->raw, stream);
  expect_trailer(stream, "0", "");
  assert_int_equal(both->seen.half_closes.count, 1);
}

static void a_broken_message_ends_a_stream_after_its_head(void **state) {
  struct both *both = *state;
  struct raw_stream *stream = raw_open(both->raw, "/t.T/Stream");
  raw_message(stream, "one");
  while (stream->data.len < LC_GRPC_PREFIX + 3)
    assert_true(raw_turn(both->raw, PATIENCE_S * 1000));
  raw_write(stream, "\1\0\0\0\1x", 6);
  raw_until_closed(both->raw, stream);
  expect_trailer(stream, "13", "malformed gRPC frame");
  assert_int_equal(stream->data.len, LC_GRPC_PREFIX + 3);
  assert_int_equal(both->seen.cancels.count, 1);
}

static void a_client_that_sends_and_never_reads_is_reset(void **state) {
  struct both *both = *state;
  struct raw *raw = raw_connect_windows(both->net.port, 1000, 65535);
  struct raw_stream *stream = raw_open(raw, "/t.T/Stream");
  char *text = malloc(100001);
  memset(text, 'x', 100000);
  text[100000] = '\0';
  for (int i = 0; i < 30 && !stream->closed; i++) {
    if (!stream->closed)
      raw_message(stream, text);
    raw->streams[0].data.len = 0;
    raw_turn(raw, 5);
  }
  raw_until_closed(raw, stream);
  assert_int_equal(stream->error_code, LC_H2_ENHANCE_YOUR_CALM);
  assert_int_equal(both->seen.cancels.count, 1);
  free(text);
  raw_close(raw);
}

/* ---- budgets ---- */

static void small_budget(struct net *net) {
  net->buffer_bytes = 4u << 20;
}

static int setup_small_budget(void **state) {
  return setup_with(state, small_budget);
}

static void replies_that_wait_are_bounded_by_the_buffer_budget(void **state) {
  struct both *both = *state;
  struct raw_stream *streams[10];
  struct raw *raw = raw_connect_windows(both->net.port, 1000, 65535);
  unsigned refused = 0, served = 0;
  for (int i = 0; i < 10; i++) {
    streams[i] = raw_open(raw, "/t.T/Big");
    raw_message(streams[i], "1000000");
    raw_end(streams[i]);
  }
  gate_wait(&both->seen.messages, 10);
  for (int i = 0; i < 10; i++) {
    raw_until_closed(raw, streams[i]);
    if (strcmp(streams[i]->grpc_status, "0") == 0) {
      served++;
      assert_int_equal(streams[i]->data.len, 1000000 + LC_GRPC_PREFIX);
    } else {
      refused++;
      expect_trailer(streams[i], "8", "out of buffer memory for replies");
    }
  }
  assert_int_equal(served, 4); /* of a million bytes in 4 MiB */
  assert_int_equal(refused, 6);
  raw_close(raw);
  expect_echo(both->raw);
}

static void requests_in_pieces_are_bounded_by_the_buffer_budget(void **state) {
  struct both *both = *state;
  struct raw_stream *streams[8];
  uint8_t prefix[LC_GRPC_PREFIX], *bytes = calloc(1, 900000);
  unsigned refused = 0;
  lc_grpc_write_prefix(prefix, 1000000);
  for (int i = 0; i < 8; i++) {
    streams[i] = raw_open(both->raw, "/t.T/Echo");
    raw_write(streams[i], prefix, sizeof prefix);
    if (!streams[i]->closed)
      raw_write(streams[i], bytes, 900000);
    while (!streams[i]->closed && streams[i]->body.bytes > 0)
      assert_true(raw_turn(both->raw, PATIENCE_S * 1000));
  }
  expect_echo(both->raw);
  for (int i = 0; i < 8; i++) {
    if (!streams[i]->closed)
      continue;
    expect_trailer(streams[i], "8", "out of memory for requests");
    refused++;
  }
  assert_in_range(refused, 4, 5);
  free(bytes);
}

/* ---- no memory ---- */

struct failing {
  size_t n, made;
};

static void fail_nth(void *arg) {
  lc_alloc_fail_at(((struct failing *)arg)->n);
}

static void fail_no_more(void *arg) {
  ((struct failing *)arg)->made = lc_alloc_fail_at(0);
}

/* A connection and three calls on a fresh server whose n-th allocation fails; true if there were so many. */
static bool serve_with_failure(size_t n) {
  struct seen seen;
  struct net net;
  struct failing failing = {n, 0};
  seen_init(&seen);
  net_init(&net, seen.table);
  net_start(&net);
  on_worker(net.workers[0].worker, fail_nth, &failing);
  struct raw *raw = raw_connect(net.port);
  const char *paths[] = {"/t.T/Echo", "/t.T/Fail", "/t.T/Stream"};
  for (int i = 0; i < 3 && !raw->eof; i++) {
    struct raw_stream *stream = raw_open(raw, paths[i]);
    char *text = malloc(30001);
    memset(text, 'a' + i, 30000);
    text[i == 1 ? 30 : 30000] = '\0';
    raw_message(stream, text);
    raw_end(stream);
    while (!stream->closed && !raw->eof)
      assert_true(raw_turn(raw, PATIENCE_S * 1000));
    if (strcmp(stream->grpc_status, "0") == 0)
      assert_int_equal(stream->data.len, 30000 + LC_GRPC_PREFIX);
    free(text);
  }
  on_worker(net.workers[0].worker, fail_no_more, &failing);
  raw_close(raw);
  raw = raw_connect(net.port);
  expect_echo(raw);
  raw_close(raw);
  net_stop(&net);
  seen_fini(&seen);
  return failing.made >= n;
}

static void every_allocation_may_fail_once(void **state) {
  (void)state;
  if (!lc_alloc_faults_built())
    skip();
  size_t n = 1;
  while (serve_with_failure(n))
    n++;
  assert_true(n > 20);
}

#define TEST(name_) cmocka_unit_test_setup_teardown(name_, setup, teardown)

int main(void) {
  const struct CMUnitTest tests[] = {
      TEST(another_content_type_gets_415),
      TEST(content_types_of_grpc_may_name_a_codec_or_parameters),
      TEST(another_method_gets_405),
      TEST(an_unknown_method_is_unimplemented_at_once),
      TEST(compressed_messages_are_unimplemented),
      TEST(a_malformed_timeout_is_told),
      TEST(a_timeout_of_nothing_has_passed),
      TEST(a_message_may_come_byte_by_byte),
      TEST(the_end_may_come_in_an_empty_frame_long_after),
      TEST(an_answer_does_not_wait_for_the_end_of_the_request),
      TEST(two_messages_cancel_a_unary_call_in_progress),
      TEST(a_second_message_in_the_same_frame_does_not_reach_the_handler),
      TEST(a_request_that_ends_inside_a_message_is_told),
      TEST(a_request_without_a_message_is_told),
      TEST(a_message_over_the_limit_is_refused_by_its_prefix),
      TEST(a_method_may_take_longer_messages),
      TEST(a_large_prefix_alone_takes_no_memory),
      TEST(a_compression_flag_is_a_malformed_frame),
      TEST(a_reset_cancels_the_handler_once),
      TEST(a_lost_connection_cancels_its_calls),
      TEST(a_deadline_cancels_the_handler_and_is_told),
      TEST(a_held_call_outlives_its_connection),
      TEST(a_held_call_that_was_cancelled_may_still_be_finished),
      TEST(an_errors_text_is_percent_encoded_and_replaces_what_was_appended),
      TEST(a_streaming_method_takes_and_gives_many_messages),
      TEST(a_streaming_call_may_have_no_messages),
      TEST(a_broken_message_ends_a_stream_after_its_head),
      TEST(a_client_that_sends_and_never_reads_is_reset),
      cmocka_unit_test_setup_teardown(replies_that_wait_are_bounded_by_the_buffer_budget, setup_small_budget, teardown),
      cmocka_unit_test_setup_teardown(requests_in_pieces_are_bounded_by_the_buffer_budget, setup_small_budget,
                                      teardown),
      cmocka_unit_test(every_allocation_may_fail_once),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
