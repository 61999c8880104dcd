#include "test_bench_server.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/outq.h"
#include "wire/h2.h"

#define STATUSES 17

struct bench_server {
  struct lc_mempool *pool;
  struct lc_h2 *h2;
  bool http;
  uint32_t random;
  uint64_t answered[STATUSES], bodies;
};

struct request {
  struct bench_server *server;
  int32_t id;
  struct lc_outq body;
};

static uint32_t next_random(struct bench_server *server) {
  server->random = server->random * 1664525u + 1013904223u;
  return server->random >> 8;
}

static void *on_begin(void *arg, int32_t id) {
  struct bench_server *server = arg;
  struct request *request = calloc(1, sizeof(*request));
  request->server = server;
  request->id = id;
  lc_outq_init(&request->body, server->pool);
  return request;
}

static void on_close(void *arg, void *stream, uint32_t error_code) {
  (void)arg;
  struct request *request = stream;
  assert_int_equal(error_code, LC_H2_NO_ERROR);
  lc_outq_fini(&request->body);
  free(request);
}

static struct lc_outq *body(void *arg, void *stream) {
  (void)arg;
  return &((struct request *)stream)->body;
}

static void queue_body(struct request *request) {
  static const uint8_t bytes[300];
  size_t len = 1 + next_random(request->server) % sizeof(bytes);
  assert_int_equal(lc_outq_append(&request->body, bytes, len), 0);
  request->server->bodies += len;
}

static void answer_http(struct request *request) {
  struct bench_server *server = request->server;
  static const char *const statuses[] = {"200", "404", "503", "429"};
  static const int as[] = {0, 5, 2, 2};
  uint32_t choice = next_random(server) % 8;
  unsigned which = choice < 4 ? choice : 0;
  char age[12];
  snprintf(age, sizeof(age), "%u", next_random(server) % 200);
  const struct lc_h2_field head[] = {{lc_slice_str(":status"), lc_slice_str(statuses[which]), false},
                                     {lc_slice_str("x-age"), lc_slice_str(age), false}};
  queue_body(request);
  assert_int_equal(lc_h2_reply(server->h2, request->id, head, 2, NULL, 0), 0);
  server->answered[as[which]]++;
}

/* Failures without a message are blocks of two bytes, which mean another status whenever a message has moved the table.
 */
static void answer_grpc(struct request *request) {
  struct bench_server *server = request->server;
  static const struct lc_h2_field head[] = {LC_H2_FIXED(":status", "200"),
                                            LC_H2_FIXED("content-type", "application/grpc")};
  unsigned status = next_random(server) % 2 ? 0 : next_random(server) % STATUSES;
  bool with_message = next_random(server) % 4 == 0;
  char number[12], message[64];
  snprintf(number, sizeof(number), "%u", status);
  snprintf(message, sizeof(message), "message number %u", next_random(server) % 200);
  const struct lc_h2_field fields[] = {head[0],
                                       {lc_slice_str("grpc-status"), lc_slice_str(number), false},
                                       {lc_slice_str("grpc-message"), lc_slice_str(message), false}};
  server->answered[status]++;
  if (status != 0) {
    assert_int_equal(lc_h2_respond(server->h2, request->id, fields, with_message ? 3 : 2, true), 0);
    return;
  }
  queue_body(request);
  assert_int_equal(lc_h2_reply(server->h2, request->id, head, 2, fields + 1, with_message ? 2 : 1), 0);
}

static void on_end(void *arg, void *stream) {
  struct bench_server *server = arg;
  if (server->http)
    answer_http(stream);
  else
    answer_grpc(stream);
}

static const struct lc_h2_handler handler = {
    .on_begin = on_begin, .on_end = on_end, .on_close = on_close, .body = body};

struct bench_server *bench_server_open(bool http) {
  struct bench_server *server = calloc(1, sizeof(*server));
  server->http = http;
  server->pool = lc_mempool_create(1 << 20);
  struct lc_h2_config config;
  lc_h2_config_init(&config, true);
  config.pool = server->pool;
  config.handler = &handler;
  config.arg = server;
  assert_int_equal(lc_h2_create(&config, &server->h2), 0);
  return server;
}

void bench_server_close(struct bench_server *server) {
  lc_h2_destroy(server->h2);
  lc_mempool_destroy(server->pool);
  free(server);
}

void bench_server_recv(struct bench_server *server, const uint8_t *data, size_t len) {
  assert_int_equal(lc_h2_recv(server->h2, data, len), 0);
}

void bench_server_pull(struct bench_server *server, struct lc_buf *out) {
  struct lc_outq q;
  lc_outq_init(&q, server->pool);
  assert_int_equal(lc_h2_pull(server->h2, &q, SIZE_MAX), 0);
  size_t len = q.bytes;
  assert_int_equal(lc_buf_reserve(out, len), 0);
  lc_outq_read(&q, out->data + out->len, len);
  out->len += len;
  lc_outq_fini(&q);
}

const uint64_t *bench_server_answered(const struct bench_server *server) {
  return server->answered;
}

uint64_t bench_server_bodies(const struct bench_server *server) {
  return server->bodies;
}
