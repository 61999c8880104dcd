#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "bench/run.h"
#include "test_bench_server.h"

/*
 * The drivers' parsers, given replies that are cut at any byte. The HTTP/2 replies come from our own server session,
 * whose HPACK encoder fills and turns over its table: the driver's memory of header blocks must keep up with it.
 */

#define SLOTS 4096u

struct fixture {
  struct lc_bench_options options;
  struct lc_bench_run run;
  struct lc_bench_conn conn;
  struct lc_err err;
};

static struct fixture *begin(const struct lc_bench_driver *driver) {
  struct fixture *f = calloc(1, sizeof(*f));
  f->options = (struct lc_bench_options){.server = {"127.0.0.1", 8001}, .driver = driver, .group = "g"};
  f->options.value_size = 100;
  f->options.outstanding = SLOTS;
  f->run = (struct lc_bench_run){.options = &f->options, .measuring = true, .now_ns = 1000};
  f->run.result = calloc(1, sizeof(*f->run.result));
  f->conn = (struct lc_bench_conn){.run = &f->run, .fd = -1, .writable = true, .mask = SLOTS - 1};
  f->conn.begun_ns = calloc(SLOTS, sizeof(uint64_t));
  f->conn.driver_state = calloc(1, driver->state_size + 1);
  assert_int_equal(driver->open(&f->conn), LC_OK);
  return f;
}

static void end(struct fixture *f) {
  if (f->options.driver->close)
    f->options.driver->close(&f->conn);
  lc_buf_fini(&f->conn.in);
  lc_buf_fini(&f->conn.out);
  free(f->conn.begun_ns);
  free(f->conn.driver_state);
  free(f->run.result);
  free(f);
}

static void ask(struct fixture *f, enum lc_bench_op op) {
  static uint8_t value[100];
  uint32_t tag = f->conn.next_tag++;
  struct lc_slice key = lc_slice_str("key");
  assert_true(!f->options.driver->ready || f->options.driver->ready(&f->conn, op));
  assert_int_equal(f->options.driver->request(&f->conn, op, tag, key, lc_slice_of(value, sizeof(value))), LC_OK);
  f->conn.begun_ns[tag & f->conn.mask] = 1;
  f->conn.outstanding++;
}

/* Gives bytes as run.c does: what the driver leaves is given again with what comes next. Memory of the exact size, so
 * that the sanitizer sees a read beyond it. */
static void give(struct fixture *f, const uint8_t *data, size_t len) {
  struct lc_buf *in = &f->conn.in;
  if (len == 0)
    return;
  assert_int_equal(lc_buf_append(in, data, len), LC_OK);
  uint8_t *exact = malloc(in->len);
  memcpy(exact, in->data, in->len);
  long used = f->options.driver->parse(&f->conn, exact, in->len, &f->err);
  free(exact);
  if (used < 0)
    return;
  assert_true((size_t)used <= in->len);
  lc_buf_consume(in, (size_t)used);
}

static uint64_t count(const struct fixture *f, int status) {
  return f->run.result->by_status[status];
}

/* `replies`: five answers, of which three are values of `bytes` in all, one is a miss, one an error. */
static void check_cut_anywhere(const struct lc_bench_driver *driver, const char *replies, size_t bytes) {
  size_t len = strlen(replies);
  for (size_t cut = 0; cut <= len; cut++) {
    struct fixture *f = begin(driver);
    for (int i = 0; i < 5; i++)
      ask(f, LC_BENCH_GET);
    if (cut < len) {
      give(f, (const uint8_t *)replies, cut);
      give(f, (const uint8_t *)replies + cut, len - cut);
    } else { /* byte by byte */
      for (size_t i = 0; i < len; i++)
        give(f, (const uint8_t *)replies + i, 1);
    }
    assert_int_equal(count(f, 0), 3);
    assert_int_equal(count(f, 5), 1);
    assert_int_equal(count(f, 2), 1);
    assert_int_equal(f->run.result->bytes, bytes);
    assert_int_equal(f->conn.outstanding, 0);
    assert_int_equal(f->conn.in.len, 0);
    end(f);
  }
}

static void redis_replies_may_be_cut_anywhere(void **state) {
  (void)state;
  check_cut_anywhere(&lc_bench_redis, "$5\r\na\r\nb\n\r\n$-1\r\n+OK\r\n-ERR no such\r\n$0\r\n\r\n", 5);
}

static void memcached_replies_may_be_cut_anywhere(void **state) {
  (void)state;
  check_cut_anywhere(&lc_bench_memcached,
                     "VALUE key 0 5\r\nEND\r\n\r\nEND\r\nEND\r\nSTORED\r\nSERVER_ERROR out of memory\r\n"
                     "VALUE key 0 0\r\n\r\nEND\r\n",
                     5);
}

static void line_protocols_ask_what_their_servers_understand(void **state) {
  (void)state;
  struct fixture *f = begin(&lc_bench_redis);
  ask(f, LC_BENCH_GET);
  static const char get[] = "*2\r\n$3\r\nGET\r\n$3\r\nkey\r\n";
  assert_int_equal(f->conn.out.len, sizeof(get) - 1);
  assert_memory_equal(f->conn.out.data, get, sizeof(get) - 1);
  end(f);
  f = begin(&lc_bench_memcached);
  ask(f, LC_BENCH_SET);
  static const char set[] = "set key 0 0 100\r\n";
  assert_int_equal(f->conn.out.len, sizeof(set) - 1 + 100 + 2);
  assert_memory_equal(f->conn.out.data, set, sizeof(set) - 1);
  end(f);
}

/* Moves bytes both ways until nobody has more to say; those for the driver in pieces of 1 to max_cut bytes. */
static void talk(struct fixture *f, struct bench_server *server, size_t max_cut) {
  uint32_t random = 7;
  for (;;) {
    bench_server_recv(server, f->conn.out.data, f->conn.out.len);
    f->conn.out.len = 0;
    struct lc_buf replies;
    lc_buf_init(&replies);
    bench_server_pull(server, &replies);
    if (replies.len == 0 && f->conn.out.len == 0)
      break;
    for (size_t at = 0; at < replies.len;) {
      random = random * 1664525u + 1013904223u;
      size_t step = 1 + (random >> 8) % max_cut;
      step = step < replies.len - at ? step : replies.len - at;
      give(f, replies.data + at, step);
      at += step;
    }
    lc_buf_fini(&replies);
    assert_int_equal(f->err.code, LC_OK);
  }
}

/*
 * 4,000 replies of a real server session: found, missing and failed ones with 200 different messages, so that entries
 * of the table are added, moved and dropped between blocks with the same bytes.
 */
static void check_against_a_server(const struct lc_bench_driver *driver, size_t max_cut) {
  struct fixture *f = begin(driver);
  struct bench_server *server = bench_server_open(driver == &lc_bench_http2);
  talk(f, server, max_cut);
  for (int round = 0; round < 40; round++) {
    for (int i = 0; i < 100; i++)
      ask(f, driver == &lc_bench_grpc && i % 10 == 9 ? LC_BENCH_SET : LC_BENCH_GET);
    talk(f, server, max_cut);
    assert_int_equal(f->conn.outstanding, 0);
  }
  const uint64_t *answered = bench_server_answered(server);
  assert_true(answered[0] > 1000 && answered[2] > 50 && answered[5] > 50);
  for (int status = 0; status < 17; status++)
    assert_int_equal(count(f, status), answered[status]);
  assert_int_equal(bench_server_bodies(server), f->run.result->bytes);
  bench_server_close(server);
  end(f);
}

static void grpc_statuses_are_those_that_the_server_sent(void **state) {
  (void)state;
  check_against_a_server(&lc_bench_grpc, 100000);
}

static void grpc_replies_may_be_cut_anywhere(void **state) {
  (void)state;
  check_against_a_server(&lc_bench_grpc, 1);
  check_against_a_server(&lc_bench_grpc, 40);
}

static void http2_statuses_are_those_that_the_server_sent(void **state) {
  (void)state;
  check_against_a_server(&lc_bench_http2, 100000);
  check_against_a_server(&lc_bench_http2, 40);
}

/* Payload of `len` bytes behind a frame head. */
static void give_frame(struct fixture *f, uint8_t type, uint8_t flags, uint8_t stream, const char *payload,
                       size_t len) {
  uint8_t head[9] = {0, (uint8_t)(len >> 8), (uint8_t)len, type, flags, 0, 0, 0, stream};
  give(f, head, sizeof(head));
  if (len > 0)
    give(f, (const uint8_t *)payload, len);
}

enum { HEADERS = 1, RST_STREAM = 3, SETTINGS = 4, GOAWAY = 7, END_STREAM = 1, END_HEADERS = 4 };

static void a_server_that_does_not_speak_http2_is_named_as_such(void **state) {
  (void)state;
  struct fixture *f = begin(&lc_bench_grpc);
  static const char http1[] = "HTTP/1.1 400 Bad Request\r\n\r\n";
  give(f, (const uint8_t *)http1, sizeof(http1) - 1);
  assert_int_equal(f->err.code, LC_EPROTO);
  assert_string_equal(f->err.msg, "the server does not speak HTTP/2");
  end(f);
}

static void a_reset_stream_counts_as_failed(void **state) {
  (void)state;
  struct fixture *f = begin(&lc_bench_grpc);
  give_frame(f, SETTINGS, 0, 0, "", 0);
  ask(f, LC_BENCH_GET);
  give_frame(f, RST_STREAM, 0, 1, "\0\0\0\7", 4);
  assert_int_equal(count(f, 16), 1);
  assert_int_equal(f->conn.outstanding, 0);
  give_frame(f, RST_STREAM, 0, 1, "\0\0\0\7", 4); /* of a request that was answered */
  give_frame(f, RST_STREAM, 0, 99, "\0\0\0\7", 4);
  assert_int_equal(count(f, 16), 1);
  end(f);
}

static void a_malformed_header_block_ends_the_connection(void **state) {
  (void)state;
  struct fixture *f = begin(&lc_bench_grpc);
  give_frame(f, SETTINGS, 0, 0, "", 0);
  ask(f, LC_BENCH_GET);
  give_frame(f, HEADERS, END_STREAM | END_HEADERS, 1, "\xff\xff\xff", 3);
  assert_int_equal(f->err.code, LC_EPROTO);
  assert_string_equal(f->err.msg, "a reply's header block is malformed");
  end(f);
}

static void the_servers_limits_hold_until_it_changes_them(void **state) {
  (void)state;
  struct fixture *f = begin(&lc_bench_grpc);
  give_frame(f, SETTINGS, 0, 0, "\0\3\0\0\0\2", 6); /* 2 streams */
  ask(f, LC_BENCH_GET);
  assert_true(f->options.driver->ready(&f->conn, LC_BENCH_GET));
  ask(f, LC_BENCH_GET);
  assert_false(f->options.driver->ready(&f->conn, LC_BENCH_GET));
  give_frame(f, SETTINGS, 0, 0, "\0\4\0\1\0\0", 6); /* says nothing of streams */
  assert_false(f->options.driver->ready(&f->conn, LC_BENCH_GET));
  give_frame(f, SETTINGS, 0, 0, "\0\3\0\0\0\3", 6);
  assert_true(f->options.driver->ready(&f->conn, LC_BENCH_GET));
  give_frame(f, GOAWAY, 0, 0, "\0\0\0\3\0\0\0\0", 8); /* without an error: goes on with what is under way */
  assert_int_equal(f->err.code, LC_OK);
  assert_false(f->options.driver->ready(&f->conn, LC_BENCH_GET));
  give_frame(f, GOAWAY, 0, 0, "\0\0\0\3\0\0\0\013", 8);
  assert_string_equal(f->err.msg, "the server ended the connection (HTTP/2 error 11)");
  end(f);
}

static void a_value_over_the_servers_window_is_refused_not_waited_for(void **state) {
  (void)state;
  struct fixture *f = begin(&lc_bench_grpc);
  f->options.value_size = 70000;
  assert_false(f->options.driver->ready(&f->conn, LC_BENCH_SET)); /* its SETTINGS may allow more */
  give_frame(f, SETTINGS, 0, 0, "", 0);
  assert_true(f->options.driver->ready(&f->conn, LC_BENCH_SET));
  uint8_t *value = calloc(1, 70000);
  int rc = f->options.driver->request(&f->conn, LC_BENCH_SET, 0, lc_slice_str("key"), lc_slice_of(value, 70000));
  assert_int_equal(rc, LC_ETOOBIG);
  free(value);
  end(f);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(redis_replies_may_be_cut_anywhere),
      cmocka_unit_test(memcached_replies_may_be_cut_anywhere),
      cmocka_unit_test(line_protocols_ask_what_their_servers_understand),
      cmocka_unit_test(grpc_statuses_are_those_that_the_server_sent),
      cmocka_unit_test(grpc_replies_may_be_cut_anywhere),
      cmocka_unit_test(http2_statuses_are_those_that_the_server_sent),
      cmocka_unit_test(a_server_that_does_not_speak_http2_is_named_as_such),
      cmocka_unit_test(a_reset_stream_counts_as_failed),
      cmocka_unit_test(a_malformed_header_block_ends_the_connection),
      cmocka_unit_test(the_servers_limits_hold_until_it_changes_them),
      cmocka_unit_test(a_value_over_the_servers_window_is_refused_not_waited_for),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
