#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/alloc.h"
#include "test_wire_h2_pair.h"

/* A peer that misbehaves, streams that are reset at the worst time, memory that runs out. */

static struct pair *new_pair(uint32_t window) {
  struct pair *pair = calloc(1, sizeof *pair);
  assert_int_equal(pair_open(pair, window, 0), 0);
  return pair;
}

static void end_pair(struct pair *pair) {
  pair_close(pair);
  free(pair);
}

static void echo(struct pair_stream *stream) {
  if (pair_reply(stream, stream->data.data, stream->data.len) != 0)
    lc_h2_reset(stream->side->h2, stream->id, LC_H2_INTERNAL_ERROR);
}

static void reset_at(int steps, bool by_server) {
  struct pair *pair = new_pair(65535);
  pair->on_end = echo;
  pair->pull_limit = 30000;
  uint8_t *bytes = calloc(1, 150000);
  struct pair_stream *stream = pair_request_with(pair, bytes, 150000);
  for (int i = 0; i < steps; i++)
    pair_step(pair, i % 2 ? &pair->server : &pair->client, i % 2 ? &pair->client : &pair->server);
  struct pair_stream *peer = pair_peer(pair, stream);
  bool was_open = by_server ? peer && !peer->closes : !stream->closes;
  if (was_open && by_server)
    assert_int_equal(lc_h2_reset(pair->server.h2, peer->id, LC_H2_CANCEL), 0);
  else if (was_open)
    assert_int_equal(lc_h2_reset(pair->client.h2, stream->id, LC_H2_CANCEL), 0);
  pair_run(pair);
  assert_int_equal(stream->closes, 1);
  peer = pair_peer(pair, stream);
  assert_true(!peer || peer->closes == 1);
  assert_int_equal(lc_h2_streams(pair->server.h2) + lc_h2_streams(pair->client.h2), 0);
  assert_int_equal(lc_h2_reset(pair->client.h2, stream->id, LC_H2_CANCEL), LC_ENOTFOUND);
  stream = pair_request_with(pair, bytes, 150000);
  pair_run(pair);
  assert_int_equal(stream->data.len, 150000);
  free(bytes);
  end_pair(pair);
}

static void a_stream_can_be_reset_at_any_moment_by_either_side(void **state) {
  (void)state;
  for (int steps = 0; steps < 40; steps++) {
    reset_at(steps, false);
    reset_at(steps, true);
  }
}

static void reset_itself(struct pair_stream *stream) {
  lc_h2_reset(stream->side->h2, stream->id, LC_H2_CANCEL);
}

static void reset_on_data(struct pair_stream *stream, struct lc_slice data) {
  (void)data;
  reset_itself(stream);
}

static int reset_on_header(struct pair_stream *stream, struct lc_slice name, struct lc_slice value) {
  (void)name, (void)value;
  reset_itself(stream);
  return 0;
}

static void a_callback_may_reset_its_stream(void **state) {
  (void)state;
  for (int kind = 0; kind < 5; kind++) {
    struct pair *pair = new_pair(0);
    pair->on_header = kind == 0 ? reset_on_header : NULL;
    pair->on_head = kind == 1 ? reset_itself : NULL;
    pair->on_data = kind == 2 ? reset_on_data : NULL;
    pair->on_end = kind == 3 ? reset_itself : NULL;
    pair->on_close = kind == 4 ? reset_itself : NULL;
    struct pair_stream *stream = pair_request_with(pair, "12345", 5);
    pair_run(pair);
    if (kind == 4)
      lc_h2_reset(pair->client.h2, stream->id, LC_H2_CANCEL);
    pair_run(pair);
    assert_int_equal(stream->closes, 1);
    assert_int_equal(stream->error_code, LC_H2_CANCEL);
    assert_int_equal(pair_peer(pair, stream)->ends, kind >= 3);
    assert_int_equal(lc_h2_streams(pair->server.h2), 0);
    end_pair(pair);
  }
}

static void frame(struct lc_buf *buf, uint8_t type, uint8_t flags, uint32_t id, const void *payload, size_t len) {
  uint8_t head[9] = {(uint8_t)(len >> 16), (uint8_t)(len >> 8), (uint8_t)len,       type,       flags,
                     (uint8_t)(id >> 24),  (uint8_t)(id >> 16), (uint8_t)(id >> 8), (uint8_t)id};
  lc_buf_append(buf, head, 9);
  lc_buf_append(buf, payload, len);
}

enum {
  DATA = 0,
  HEADERS = 1,
  PRIORITY = 2,
  RST = 3,
  SETTINGS = 4,
  PING = 6,
  WINDOW = 8,
  CONTINUATION = 9,
  UNKNOWN = 66
};

/* :method POST, :scheme http, :path /, :authority a */
static const uint8_t hpack[] = {0x83, 0x86, 0x84, 0x01, 0x01, 'a'};

static void preface(struct lc_buf *buf) {
  lc_buf_str(buf, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
  frame(buf, SETTINGS, 0, 0, "", 0);
}

static void open_stream(struct lc_buf *buf, uint32_t id) {
  frame(buf, HEADERS, 4, id, hpack, sizeof hpack);
}

static void flood_frame(struct lc_buf *buf, int type, uint32_t i) {
  static const uint8_t zeros[8] = {0}, one[4] = {0, 0, 0, 1}, padded[200] = {199};
  switch (type) {
  case DATA:
    frame(buf, DATA, i % 2 ? 8 : 0, 1, padded, i % 2 ? sizeof padded : 0);
    return;
  case PRIORITY:
    frame(buf, PRIORITY, 0, 101, zeros, 5);
    return;
  case RST:
    open_stream(buf, 2 * i + 3);
    frame(buf, RST, 0, 2 * i + 3, zeros, 4);
    return;
  case PING:
    frame(buf, PING, 0, 0, zeros, 8);
    return;
  case WINDOW:
    frame(buf, WINDOW, 0, i % 2, one, 4);
    return;
  case CONTINUATION:
    frame(buf, i == 0 ? HEADERS : CONTINUATION, 0, 3, hpack, i == 0 ? sizeof hpack : 0);
    return;
  default:
    frame(buf, (uint8_t)type, 0, 0, "", 0);
  }
}

/* How many of 200,000 frames a server took before it ended the session. */
static uint32_t flood(int type, uint32_t per_ms) {
  struct pair *pair = new_pair(0);
  struct side *server = &pair->server;
  struct lc_buf buf;
  lc_buf_init(&buf);
  preface(&buf);
  open_stream(&buf, 1);
  uint32_t i = 0;
  int rc = 0;
  while (i < 200000 && rc == 0) {
    for (int k = 0; k < 100; k++)
      flood_frame(&buf, type, i++);
    lc_h2_set_now(server->h2, 1 + i / per_ms);
    rc = lc_h2_recv(server->h2, buf.data, buf.len);
    buf.len = 0;
    lc_h2_pull(server->h2, &server->out, SIZE_MAX);
    if (!lc_h2_alive(server->h2))
      break;
    lc_outq_consume(&server->out, server->out.bytes);
  }
  assert_true(i >= 200000 || rc == LC_EPROTO || !lc_h2_alive(server->h2));
  lc_buf_fini(&buf);
  end_pair(pair);
  return i;
}

static void floods_of_frames_that_carry_nothing_end_the_session(void **state) {
  (void)state;
  const int types[] = {DATA, PRIORITY, RST, SETTINGS, PING, WINDOW, CONTINUATION, UNKNOWN};
  for (size_t i = 0; i < sizeof types / sizeof *types; i++) {
    uint32_t taken = flood(types[i], 1000000);
    if (taken > 15000)
      fail_msg("type %d: %u frames taken", types[i], taken);
  }
}

static void a_flood_is_told_to_calm_down(void **state) {
  (void)state;
  struct pair *pair = new_pair(0);
  pair_run(pair);
  struct lc_buf buf;
  lc_buf_init(&buf);
  for (uint32_t i = 0; i < 20000; i++)
    flood_frame(&buf, UNKNOWN, i);
  assert_int_equal(lc_h2_recv(pair->server.h2, buf.data, buf.len), LC_EPROTO);
  pair_step(pair, &pair->server, &pair->client);
  assert_int_equal(pair->client.goaways, 1);
  assert_int_equal(pair->client.goaway_code, LC_H2_ENHANCE_YOUR_CALM);
  assert_false(lc_h2_alive(pair->server.h2));
  lc_buf_fini(&buf);
  end_pair(pair);
}

static bool refuse_all(struct pair *pair) {
  (void)pair;
  return false;
}

/* Refusals that are never pulled, as on a connection whose output is stuck. */
static void a_client_that_reads_no_refusal_cannot_pile_them_up(void **state) {
  (void)state;
  struct pair *pair = new_pair(0);
  pair->accept = refuse_all;
  struct lc_buf buf;
  lc_buf_init(&buf);
  preface(&buf);
  uint32_t opened = 0;
  int rc = 0;
  while (rc == 0 && opened < 200000) {
    for (int i = 0; i < 100; i++)
      open_stream(&buf, 2 * opened++ + 1);
    rc = lc_h2_recv(pair->server.h2, buf.data, buf.len);
    buf.len = 0;
  }
  assert_int_equal(rc, LC_EPROTO);
  assert_in_range(opened, 8192, 25000);
  lc_buf_fini(&buf);
  end_pair(pair);
}

static void a_trickle_of_pings_goes_on_for_ever(void **state) {
  (void)state;
  assert_int_equal(flood(PING, 1), 200000);
}

static void a_client_that_pings_with_every_reply_is_honest(void **state) {
  (void)state;
  struct pair *pair = new_pair(0);
  pair->on_end = echo;
  for (int i = 0; i < 200; i++) {
    for (int k = 0; k < 100; k++) {
      struct pair_stream *stream = pair_request_with(pair, "12345", 5);
      assert_non_null(stream);
      for (int pings = 0; pings < 3; pings++)
        assert_int_equal(lc_h2_ping(pair->client.h2, (const uint8_t *)"honestly"), 0);
    }
    pair_run(pair);
    assert_false(pair->lost);
    for (int k = 0; k < pair->client.count; k++) {
      struct pair_stream *both[] = {&pair->client.streams[k], &pair->server.streams[k]};
      for (int side = 0; side < 2; side++) {
        assert_int_equal(both[side]->closes, 1);
        lc_buf_fini(&both[side]->head);
        lc_buf_fini(&both[side]->data);
        lc_buf_fini(&both[side]->trailers);
        *both[side] = (struct pair_stream){0};
      }
    }
    pair->client.count = pair->server.count = 0;
  }
  assert_int_equal(pair->client.ping_acks, 60000);
  end_pair(pair);
}

static void bytes_that_are_not_http2_are_refused(void **state) {
  (void)state;
  struct pair *pair = new_pair(0);
  assert_int_equal(lc_h2_recv(pair->server.h2, (const uint8_t *)"GET / HTTP/1.1\r\n\r\n", 18), LC_EPROTO);
  end_pair(pair);
}

static void a_broken_frame_ends_the_session_with_a_goaway(void **state) {
  (void)state;
  struct pair *pair = new_pair(0);
  pair_run(pair);
  struct lc_buf buf;
  lc_buf_init(&buf);
  frame(&buf, PING, 0, 0, "abc", 3);
  lc_h2_recv(pair->server.h2, buf.data, buf.len);
  pair_step(pair, &pair->server, &pair->client);
  assert_int_equal(pair->client.goaways, 1);
  assert_int_equal(pair->client.goaway_code, 6); /* FRAME_SIZE_ERROR */
  assert_false(lc_h2_alive(pair->server.h2));
  lc_buf_fini(&buf);
  end_pair(pair);
}

/* What a client (or a server) says in an ordinary conversation. */
static void record(bool from_client, struct lc_buf *bytes) {
  struct pair *pair = new_pair(65535);
  pair->on_end = echo;
  uint8_t *body = calloc(1, 3000);
  for (int i = 0; i < 5; i++)
    pair_request_with(pair, body, 600 * (size_t)i);
  lc_h2_ping(pair->client.h2, (const uint8_t *)"12345678");
  for (int i = 0; i < 6; i++) {
    struct side *from = i % 2 ? &pair->server : &pair->client, *to = i % 2 ? &pair->client : &pair->server;
    lc_h2_pull(from->h2, &from->out, SIZE_MAX);
    size_t len = from->out.bytes;
    lc_buf_reserve(bytes, len);
    lc_outq_read(&from->out, bytes->data + bytes->len, len);
    lc_h2_recv(to->h2, bytes->data + bytes->len, len);
    if ((from == &pair->client) == from_client)
      bytes->len += len;
  }
  free(body);
  end_pair(pair);
}

static void mutate(struct lc_buf *bytes) {
  int changes = 1 + rand() % 6;
  for (int i = 0; i < changes; i++) {
    size_t at = (size_t)rand() % bytes->len;
    switch (rand() % 3) {
    case 0:
      bytes->data[at] = (uint8_t)rand();
      break;
    case 1:
      bytes->data[at] ^= (uint8_t)(1 << rand() % 8);
      break;
    default:
      memmove(bytes->data + at, bytes->data + at + 1, bytes->len - at - 1);
    }
  }
}

static void feed_mutated(const struct lc_buf *recorded, bool to_server) {
  struct pair *pair = new_pair(65535);
  pair->on_end = echo;
  struct side *side = to_server ? &pair->server : &pair->client;
  if (!to_server) {
    for (int i = 0; i < 5; i++)
      pair_request_with(pair, "12345", 5);
  }
  struct lc_buf bytes;
  lc_buf_init(&bytes);
  lc_buf_append(&bytes, recorded->data, recorded->len);
  mutate(&bytes);
  size_t at = 0;
  while (at < bytes.len && side->recv_rc == 0 && lc_h2_alive(side->h2)) {
    size_t cut = 1 + (size_t)rand() % 700;
    if (cut > bytes.len - at)
      cut = bytes.len - at;
    side->recv_rc = lc_h2_recv(side->h2, bytes.data + at, cut);
    lc_h2_pull(side->h2, &side->out, SIZE_MAX);
    at += cut;
  }
  lc_buf_fini(&bytes);
  end_pair(pair);
}

static void mutated_conversations_never_crash_a_session(void **state) {
  (void)state;
  srand(11);
  for (int side = 0; side < 2; side++) {
    struct lc_buf recorded;
    lc_buf_init(&recorded);
    record(side == 0, &recorded);
    for (int i = 0; i < 1500; i++)
      feed_mutated(&recorded, side == 0);
    lc_buf_fini(&recorded);
  }
}

static void random_bytes_never_crash_a_session(void **state) {
  (void)state;
  srand(12);
  for (int i = 0; i < 1000; i++) {
    struct pair *pair = new_pair(0);
    struct lc_buf buf;
    lc_buf_init(&buf);
    preface(&buf);
    open_stream(&buf, 1);
    for (int k = 0; k < 60; k++) {
      uint8_t payload[40];
      for (size_t b = 0; b < sizeof payload; b++)
        payload[b] = (uint8_t)rand();
      frame(&buf, (uint8_t)(rand() % 12), (uint8_t)rand(), (uint32_t)rand() % 4, payload, (size_t)rand() % 40);
    }
    lc_h2_recv(pair->server.h2, buf.data, buf.len);
    lc_h2_pull(pair->server.h2, &pair->server.out, SIZE_MAX);
    lc_buf_fini(&buf);
    end_pair(pair);
  }
}

/* A conversation in which the n-th allocation fails. True if there was an n-th. */
static bool converse_with_fault(size_t n, uint8_t *body) {
  struct pair *pair = calloc(1, sizeof *pair);
  pair->on_end = echo;
  pair->max_cut = 5000;
  lc_alloc_fail_at(n);
  if (pair_open(pair, 65535, 0) == 0) {
    struct pair_stream *small = pair_request_with(pair, "12345", 5);
    struct pair_stream *large = pair_request_with(pair, body, 70000);
    pair_run(pair);
    lc_h2_ping(pair->client.h2, (const uint8_t *)"12345678");
    lc_h2_goaway(pair->server.h2, false);
    pair_run(pair);
    lc_h2_goaway(pair->server.h2, true);
    pair_run(pair);
    /* Either the session said that it is lost, or every stream has come to its end. */
    bool lost = pair->lost || !lc_h2_alive(pair->server.h2) || !lc_h2_alive(pair->client.h2);
    assert_true(lost || !small || small->closes == 1);
    assert_true(lost || !large || large->closes == 1);
  }
  size_t made = lc_alloc_fail_at(0);
  end_pair(pair);
  return made >= n;
}

static void every_failed_allocation_ends_a_stream_or_the_session(void **state) {
  (void)state;
  if (!lc_alloc_faults_built())
    skip();
  uint8_t *body = calloc(1, 70000);
  size_t n = 1;
  while (converse_with_fault(n, body))
    n++;
  assert_in_range(n, 100, 5000);
  free(body);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(a_stream_can_be_reset_at_any_moment_by_either_side),
      cmocka_unit_test(a_callback_may_reset_its_stream),
      cmocka_unit_test(floods_of_frames_that_carry_nothing_end_the_session),
      cmocka_unit_test(a_flood_is_told_to_calm_down),
      cmocka_unit_test(a_client_that_reads_no_refusal_cannot_pile_them_up),
      cmocka_unit_test(a_trickle_of_pings_goes_on_for_ever),
      cmocka_unit_test(a_client_that_pings_with_every_reply_is_honest),
      cmocka_unit_test(bytes_that_are_not_http2_are_refused),
      cmocka_unit_test(a_broken_frame_ends_the_session_with_a_goaway),
      cmocka_unit_test(mutated_conversations_never_crash_a_session),
      cmocka_unit_test(random_bytes_never_crash_a_session),
      cmocka_unit_test(every_failed_allocation_ends_a_stream_or_the_session),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
