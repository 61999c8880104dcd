#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/alloc.h"
#include "test_wire_h2_pair.h"

static struct pair *new_pair(uint32_t window, uint32_t max_streams) {
  struct pair *pair = calloc(1, sizeof *pair);
  assert_int_equal(pair_open(pair, window, max_streams), 0);
  return pair;
}

static void end_pair(struct pair *pair) {
  pair_close(pair);
  free(pair);
}

static uint8_t *pattern(size_t len) {
  uint8_t *bytes = malloc(len + 1);
  for (size_t i = 0; i < len; i++)
    bytes[i] = (uint8_t)(i * 7 + i / 251);
  return bytes;
}

static void echo(struct pair_stream *stream) {
  assert_int_equal(pair_reply(stream, stream->data.data, stream->data.len), 0);
}

static void answer_error(struct pair_stream *stream) {
  assert_int_equal(pair_reply_error(stream), 0);
}

static void assert_echoed(const struct pair_stream *stream, const uint8_t *bytes, size_t len) {
  assert_int_equal(stream->heads, 1);
  assert_int_equal(stream->trailer_heads, 1);
  assert_int_equal(stream->ends, 1);
  assert_int_equal(stream->closes, 1);
  assert_int_equal(stream->error_code, LC_H2_NO_ERROR);
  assert_true(pair_has(&stream->head, ":status: 200\n"));
  assert_true(pair_has(&stream->trailers, "grpc-status: 0\n"));
  assert_int_equal(stream->data.len, len);
  if (len)
    assert_memory_equal(stream->data.data, bytes, len);
}

static void echo_sizes(size_t max_cut, uint32_t window, size_t limit, const size_t *sizes, size_t count) {
  struct pair *pair = new_pair(window, 0);
  pair->max_cut = max_cut;
  pair->pull_limit = limit;
  pair->on_end = echo;
  for (size_t i = 0; i < count; i++) {
    uint8_t *bytes = pattern(sizes[i]);
    struct pair_stream *stream = pair_request_with(pair, bytes, sizes[i]);
    pair_run(pair);
    assert_false(pair->lost);
    assert_echoed(stream, bytes, sizes[i]);
    assert_int_equal(lc_h2_streams(pair->server.h2), 0);
    assert_int_equal(lc_h2_streams(pair->client.h2), 0);
    free(bytes);
  }
  end_pair(pair);
}

static void a_request_is_answered_with_head_body_and_trailers(void **state) {
  (void)state;
  const size_t sizes[] = {0, 1, 100, 4096, 16384, 100000};
  echo_sizes(0, 0, 0, sizes, 6);
}

static void bytes_may_be_cut_anywhere(void **state) {
  (void)state;
  const size_t sizes[] = {0, 100, 20000};
  echo_sizes(1, 0, 0, sizes, 3);
  for (size_t cut = 2; cut < 40; cut += 7)
    echo_sizes(cut, 0, 0, sizes, 3);
}

static void large_bodies_pass_small_windows_both_ways(void **state) {
  (void)state;
  const size_t sizes[] = {1 << 20, 65535, 65536, 1 << 20};
  echo_sizes(0, 65535, 0, sizes, 4);
  echo_sizes(1000, 65535, 10000, sizes, 1);
}

static void pull_stops_at_its_limit_and_goes_on_later(void **state) {
  (void)state;
  struct pair *pair = new_pair(8 << 20, 0);
  pair->on_end = echo;
  uint8_t *bytes = pattern(1 << 20);
  struct pair_stream *stream = pair_request_with(pair, bytes, 1 << 20);
  size_t rounds = 0, sent = 0;
  pair_step(pair, &pair->server, &pair->client);
  for (;;) {
    assert_int_equal(lc_h2_pull(pair->client.h2, &pair->client.out, 32768), 0);
    if (pair->client.out.bytes == 0)
      break;
    assert_in_range(pair->client.out.bytes, 1, 32768 + 16384 + 9);
    sent += pair->client.out.bytes;
    rounds++;
    uint8_t chunk[65536];
    size_t len = pair->client.out.bytes;
    lc_outq_read(&pair->client.out, chunk, len);
    assert_int_equal(lc_h2_recv(pair->server.h2, chunk, len), 0);
  }
  assert_true(rounds >= 20 && sent > 1 << 20);
  pair_run(pair);
  assert_echoed(stream, bytes, 1 << 20);
  free(bytes);
  end_pair(pair);
}

/* Large replies to all of `count` requests and a small one to one more, of which a part has been sent. */
static struct pair *send_a_part(const uint8_t *bytes, size_t len, int count, size_t part) {
  struct pair *pair = new_pair(8 << 20, 0);
  for (int i = 0; i <= count; i++)
    assert_non_null(pair_request_with(pair, "12345", 5));
  pair_run(pair);
  for (int i = 0; i <= count; i++)
    assert_int_equal(pair_reply(&pair->server.streams[i], bytes, i < count ? len : 5), 0);
  pair->pull_limit = part;
  pair_step(pair, &pair->server, &pair->client);
  pair->pull_limit = 0;
  return pair;
}

static void large_replies_go_out_one_after_the_other(void **state) {
  (void)state;
  const size_t len = 200000;
  uint8_t *bytes = pattern(len);
  struct pair *pair = send_a_part(bytes, len, 6, 3 * len);
  const struct pair_stream *streams = pair->client.streams;
  assert_echoed(&streams[0], bytes, len);
  assert_echoed(&streams[1], bytes, len);
  assert_int_equal(streams[4].data.len + streams[5].data.len, 0);
  assert_echoed(&streams[6], bytes, 5); /* the small one has not waited for them */
  pair_run(pair);
  for (int i = 0; i < 6; i++)
    assert_echoed(&streams[i], bytes, len);
  free(bytes);
  end_pair(pair);
}

static void a_large_reply_that_was_reset_holds_up_no_other(void **state) {
  (void)state;
  const size_t len = 200000;
  uint8_t *bytes = pattern(len);
  struct pair *pair = send_a_part(bytes, len, 4, len / 2);
  for (int i = 0; i < 4; i += 2)
    assert_int_equal(lc_h2_reset(pair->client.h2, pair->client.streams[i].id, LC_H2_CANCEL), 0);
  pair_run(pair);
  assert_echoed(&pair->client.streams[1], bytes, len);
  assert_echoed(&pair->client.streams[3], bytes, len);
  free(bytes);
  end_pair(pair);
}

static void many_requests_in_one_read_are_answered_in_one_pull(void **state) {
  (void)state;
  struct pair *pair = new_pair(0, 0);
  pair->on_end = echo;
  for (int i = 0; i < 100; i++)
    assert_non_null(pair_request_with(pair, "12345", 5));
  pair_step(pair, &pair->client, &pair->server);
  pair_step(pair, &pair->server, &pair->client);
  for (int i = 0; i < 100; i++)
    assert_echoed(&pair->client.streams[i], (const uint8_t *)"12345", 5);
  end_pair(pair);
}

static void an_error_reply_is_one_head_that_ends_the_stream(void **state) {
  (void)state;
  struct pair *pair = new_pair(0, 0);
  pair->on_end = answer_error;
  struct pair_stream *stream = pair_request_with(pair, "x", 1);
  pair_run(pair);
  assert_int_equal(stream->heads, 1);
  assert_int_equal(stream->trailer_heads, 0);
  assert_int_equal(stream->ends, 1);
  assert_int_equal(stream->closes, 1);
  assert_true(pair_has(&stream->head, "grpc-status: 5\n"));
  assert_true(pair_has(&stream->head, "grpc-message: no such group\n"));
  end_pair(pair);
}

static void an_answer_before_the_request_ends_stops_the_sender(void **state) {
  (void)state;
  struct pair *pair = new_pair(65535, 0);
  pair->on_head = answer_error;
  uint8_t *bytes = pattern(1 << 20);
  struct pair_stream *stream = pair_request_with(pair, bytes, 1 << 20);
  size_t moved = pair_run(pair);
  assert_true(moved < 200000);
  assert_int_equal(stream->heads, 1);
  assert_int_equal(stream->closes, 1);
  assert_int_equal(stream->error_code, LC_H2_NO_ERROR);
  assert_int_equal(pair_peer(pair, stream)->closes, 1);
  free(bytes);
  end_pair(pair);
}

static void a_body_can_come_in_pieces(void **state) {
  (void)state;
  struct pair *pair = new_pair(0, 0);
  int rc;
  struct pair_stream *stream = pair_request(pair, &rc);
  for (int i = 0; i < 5; i++) {
    pair_run(pair);
    lc_outq_append(&stream->body, "piece", 5);
    assert_int_equal(lc_h2_resume(pair->client.h2, stream->id), 0);
  }
  pair_run(pair);
  struct pair_stream *peer = pair_peer(pair, stream);
  assert_int_equal(peer->data.len, 25);
  assert_int_equal(peer->ends, 0);
  assert_int_equal(lc_h2_finish(pair->client.h2, stream->id, NULL, 0), 0);
  pair_run(pair);
  assert_int_equal(peer->ends, 1);
  assert_int_equal(pair_reply(peer, "ok", 2), 0);
  pair_run(pair);
  assert_echoed(stream, (const uint8_t *)"ok", 2);
  end_pair(pair);
}

static void a_streamed_reply_ends_with_trailers_after_the_last_piece(void **state) {
  (void)state;
  struct pair *pair = new_pair(0, 0);
  struct pair_stream *stream = pair_request_with(pair, "x", 1);
  pair_run(pair);
  struct pair_stream *peer = pair_peer(pair, stream);
  char name[] = "grpc-status", value[] = "0"; /* not fixed: copied when they are given */
  const struct lc_h2_field head = LC_H2_FIXED(":status", "200");
  const struct lc_h2_field trailer = {lc_slice_str(name), lc_slice_str(value), false};
  assert_int_equal(lc_h2_respond(pair->server.h2, peer->id, &head, 1, false), 0);
  for (int i = 0; i < 3; i++) {
    lc_outq_append(&peer->body, "tick", 4);
    assert_int_equal(lc_h2_resume(pair->server.h2, peer->id), 0);
    pair_run(pair);
    assert_int_equal(stream->data.len, 4 * (i + 1));
  }
  assert_int_equal(stream->ends, 0);
  assert_int_equal(lc_h2_finish(pair->server.h2, peer->id, &trailer, 1), 0);
  assert_int_equal(lc_h2_finish(pair->server.h2, peer->id, &trailer, 1), LC_EINVAL);
  memset(name, 'x', sizeof name - 1);
  value[0] = 'x';
  pair_run(pair);
  assert_echoed(stream, (const uint8_t *)"tickticktick", 12);
  end_pair(pair);
}

static void streams_over_the_limit_are_told_to_the_client(void **state) {
  (void)state;
  struct pair *pair = new_pair(0, 3);
  pair_run(pair);
  int rc;
  for (int i = 0; i < 3; i++)
    assert_non_null(pair_request(pair, &rc));
  assert_null(pair_request(pair, &rc));
  assert_int_equal(rc, LC_EEXHAUSTED);
  lc_h2_reset(pair->client.h2, pair->client.streams[0].id, LC_H2_CANCEL);
  pair_run(pair);
  assert_non_null(pair_request(pair, &rc));
  end_pair(pair);
}

static bool refuse(struct pair *pair) {
  (void)pair;
  return false;
}

static void a_refused_stream_closes_with_refused_stream(void **state) {
  (void)state;
  struct pair *pair = new_pair(0, 0);
  pair->accept = refuse;
  struct pair_stream *stream = pair_request_with(pair, "x", 1);
  pair_run(pair);
  assert_int_equal(stream->closes, 1);
  assert_int_equal(stream->error_code, LC_H2_REFUSED_STREAM);
  assert_int_equal(lc_h2_streams(pair->server.h2), 0);
  pair->accept = NULL;
  pair->on_end = echo;
  stream = pair_request_with(pair, "x", 1);
  pair_run(pair);
  assert_echoed(stream, (const uint8_t *)"x", 1);
  end_pair(pair);
}

static int dislike_path(struct pair_stream *stream, struct lc_slice name, struct lc_slice value) {
  (void)stream, (void)value;
  return lc_slice_eq(name, lc_slice_str(":path")) ? LC_EINVAL : 0;
}

static void a_disliked_field_resets_the_stream_only(void **state) {
  (void)state;
  struct pair *pair = new_pair(0, 0);
  pair->on_header = dislike_path;
  struct pair_stream *stream = pair_request_with(pair, "x", 1);
  pair_run(pair);
  assert_int_equal(stream->closes, 1);
  assert_int_equal(stream->error_code, LC_H2_INTERNAL_ERROR);
  assert_true(lc_h2_alive(pair->client.h2));
  end_pair(pair);
}

static void a_head_over_its_limit_resets_the_stream_only(void **state) {
  (void)state;
  struct pair *pair = new_pair(0, 0);
  pair->on_end = echo;
  char *long_value = malloc(20000);
  memset(long_value, 'a', 20000);
  const struct lc_h2_field fields[] = {LC_H2_FIXED(":method", "POST"),
                                       LC_H2_FIXED(":scheme", "http"),
                                       LC_H2_FIXED(":path", "/"),
                                       LC_H2_FIXED(":authority", "a"),
                                       {lc_slice_str("x"), lc_slice_of(long_value, 20000), false}};
  int rc;
  struct pair_stream *stream = pair_request(pair, &rc);
  lc_h2_reset(pair->client.h2, stream->id, LC_H2_CANCEL);
  pair_run(pair);
  struct pair_stream *big = &pair->client.streams[pair->client.count++];
  big->side = &pair->client;
  lc_outq_init(&big->body, pair->client.pool);
  assert_int_equal(lc_h2_request(pair->client.h2, fields, 5, big, &big->id), 0);
  pair_run(pair);
  assert_int_equal(big->closes, 1);
  assert_int_equal(big->error_code, LC_H2_ENHANCE_YOUR_CALM);
  assert_false(pair->lost);
  free(long_value);
  end_pair(pair);
}

static void pings_are_answered(void **state) {
  (void)state;
  struct pair *pair = new_pair(0, 0);
  assert_int_equal(lc_h2_ping(pair->client.h2, (const uint8_t *)"12345678"), 0);
  assert_int_equal(lc_h2_ping(pair->server.h2, (const uint8_t *)"12345678"), 0);
  pair_run(pair);
  assert_int_equal(pair->client.ping_acks, 1);
  assert_int_equal(pair->server.ping_acks, 1);
  end_pair(pair);
}

static void a_graceful_goaway_lets_streams_end_and_refuses_new_ones(void **state) {
  (void)state;
  struct pair *pair = new_pair(0, 0);
  struct pair_stream *stream = pair_request_with(pair, "x", 1);
  pair_run(pair);
  assert_int_equal(lc_h2_goaway(pair->server.h2, false), 0);
  pair_run(pair);
  assert_int_equal(pair->client.goaways, 1);
  assert_int_equal(pair->client.goaway_last, INT32_MAX);
  assert_int_equal(pair->server.ping_acks, 1);
  int rc;
  assert_null(pair_request(pair, &rc));
  assert_int_equal(rc, LC_EEXHAUSTED);
  assert_int_equal(lc_h2_goaway(pair->server.h2, true), 0);
  pair_run(pair);
  assert_int_equal(pair->client.goaways, 2);
  assert_int_equal(pair->client.goaway_last, stream->id);
  assert_true(lc_h2_alive(pair->server.h2));
  assert_int_equal(pair_reply(pair_peer(pair, stream), "ok", 2), 0);
  pair_run(pair);
  assert_echoed(stream, (const uint8_t *)"ok", 2);
  assert_false(lc_h2_alive(pair->server.h2));
  assert_false(lc_h2_alive(pair->client.h2));
  end_pair(pair);
}

static void requests_that_a_goaway_passed_by_are_closed_as_refused(void **state) {
  (void)state;
  struct pair *pair = new_pair(0, 0);
  struct pair_stream *first = pair_request_with(pair, "x", 1);
  pair_run(pair);
  assert_int_equal(lc_h2_goaway(pair->server.h2, true), 0);
  struct pair_stream *late = pair_request_with(pair, "y", 1);
  assert_int_equal(lc_h2_pull(pair->client.h2, &pair->client.out, 1 << 20), 0);
  pair_step(pair, &pair->server, &pair->client);
  assert_int_equal(late->closes, 1);
  assert_int_equal(late->error_code, LC_H2_REFUSED_STREAM);
  assert_int_equal(first->closes, 0);
  end_pair(pair);
}

static void bytes_of_a_closed_stream_go_back_to_the_connection_window(void **state) {
  (void)state;
  struct pair *pair = new_pair(65535, 0);
  uint8_t *bytes = pattern(65535);
  for (int i = 0; i < 5; i++) {
    struct pair_stream *stream = pair_request_with(pair, bytes, 60000);
    pair_run(pair);
    assert_int_equal(pair_peer(pair, stream)->data.len, 60000);
    lc_h2_reset(pair->client.h2, stream->id, LC_H2_CANCEL);
    pair_run(pair);
    assert_int_equal(pair_peer(pair, stream)->closes, 1);
  }
  free(bytes);
  end_pair(pair);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(a_request_is_answered_with_head_body_and_trailers),
      cmocka_unit_test(bytes_may_be_cut_anywhere),
      cmocka_unit_test(large_bodies_pass_small_windows_both_ways),
      cmocka_unit_test(pull_stops_at_its_limit_and_goes_on_later),
      cmocka_unit_test(large_replies_go_out_one_after_the_other),
      cmocka_unit_test(a_large_reply_that_was_reset_holds_up_no_other),
      cmocka_unit_test(many_requests_in_one_read_are_answered_in_one_pull),
      cmocka_unit_test(an_error_reply_is_one_head_that_ends_the_stream),
      cmocka_unit_test(an_answer_before_the_request_ends_stops_the_sender),
      cmocka_unit_test(a_body_can_come_in_pieces),
      cmocka_unit_test(a_streamed_reply_ends_with_trailers_after_the_last_piece),
      cmocka_unit_test(streams_over_the_limit_are_told_to_the_client),
      cmocka_unit_test(a_refused_stream_closes_with_refused_stream),
      cmocka_unit_test(a_disliked_field_resets_the_stream_only),
      cmocka_unit_test(a_head_over_its_limit_resets_the_stream_only),
      cmocka_unit_test(pings_are_answered),
      cmocka_unit_test(a_graceful_goaway_lets_streams_end_and_refuses_new_ones),
      cmocka_unit_test(requests_that_a_goaway_passed_by_are_closed_as_refused),
      cmocka_unit_test(bytes_of_a_closed_stream_go_back_to_the_connection_window),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
