#include "test_wire_h2_pair.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/alloc.h"

static struct pair_stream *new_stream(struct side *side, int32_t id) {
  assert_true(side->count < PAIR_STREAMS);
  struct pair_stream *stream = &side->streams[side->count++];
  stream->side = side;
  stream->id = id;
  lc_outq_init(&stream->body, side->pool);
  return stream;
}

static void *on_begin(void *arg, int32_t id) {
  struct side *side = arg;
  if (side->pair->accept && !side->pair->accept(side->pair))
    return NULL;
  return new_stream(side, id);
}

static int on_header(void *arg, void *object, struct lc_slice name, struct lc_slice value) {
  struct side *side = arg;
  struct pair_stream *stream = object;
  assert_int_equal(stream->closes, 0);
  /* What the test writes down isn't subject to the faults it injects into the session. */
  lc_buf_append(&stream->fields, name.ptr, name.len);
  lc_buf_append(&stream->fields, ": ", 2);
  lc_buf_append(&stream->fields, value.ptr, value.len);
  lc_buf_append(&stream->fields, "\n", 1);
  return side->server && side->pair->on_header ? side->pair->on_header(stream, name, value) : 0;
}

static void on_head(void *arg, void *object, bool trailers) {
  struct side *side = arg;
  struct pair_stream *stream = object;
  assert_int_equal(stream->closes, 0);
  struct lc_buf *to = trailers ? &stream->trailers : &stream->head;
  lc_buf_fini(to);
  *to = stream->fields;
  lc_buf_init(&stream->fields);
  *(trailers ? &stream->trailer_heads : &stream->heads) += 1;
  if (side->server && !trailers && side->pair->on_head)
    side->pair->on_head(stream);
}

static void on_data(void *arg, void *object, struct lc_slice data) {
  struct side *side = arg;
  struct pair_stream *stream = object;
  assert_int_equal(stream->closes, 0);
  assert_int_equal(stream->ends, 0);
  assert_true(data.len > 0);
  lc_buf_append(&stream->data, data.ptr, data.len);
  if (side->server && side->pair->on_data)
    side->pair->on_data(stream, data);
}

static void on_end(void *arg, void *object) {
  struct side *side = arg;
  struct pair_stream *stream = object;
  assert_int_equal(stream->closes, 0);
  stream->ends++;
  if (side->server && side->pair->on_end)
    side->pair->on_end(stream);
}

static void on_close(void *arg, void *object, uint32_t error_code) {
  struct side *side = arg;
  struct pair_stream *stream = object;
  stream->closes++;
  stream->error_code = error_code;
  lc_outq_fini(&stream->body);
  if (side->pair->on_close)
    side->pair->on_close(stream);
}

static void on_goaway(void *arg, int32_t last, uint32_t code) {
  struct side *side = arg;
  side->goaways++;
  side->goaway_last = last;
  side->goaway_code = code;
}

static void on_ping_ack(void *arg, const uint8_t opaque[8]) {
  struct side *side = arg;
  (void)opaque;
  side->ping_acks++;
}

static struct lc_outq *body(void *arg, void *object) {
  (void)arg;
  return &((struct pair_stream *)object)->body;
}

static const struct lc_h2_handler handler = {on_begin, on_header, on_head,     on_data, on_end,
                                             on_close, on_goaway, on_ping_ack, body};

static int open_side(struct pair *pair, struct side *side, bool server, uint32_t window, uint32_t max_streams) {
  side->pair = pair;
  side->server = server;
  side->streams = calloc(PAIR_STREAMS, sizeof *side->streams);
  side->pool = lc_mempool_create(0);
  if (!side->pool)
    return LC_ENOMEM;
  lc_outq_init(&side->out, side->pool);
  struct lc_h2_config config;
  lc_h2_config_init(&config, server);
  config.pool = side->pool;
  config.handler = &handler;
  config.arg = side;
  if (window)
    config.stream_window = config.conn_window = window;
  if (max_streams)
    config.max_streams = max_streams;
  return lc_h2_create(&config, &side->h2);
}

int pair_open(struct pair *pair, uint32_t window, uint32_t max_streams) {
  int rc = open_side(pair, &pair->server, true, window, max_streams);
  return rc ? rc : open_side(pair, &pair->client, false, window, max_streams);
}

static void close_side(struct side *side) {
  lc_h2_destroy(side->h2);
  for (int i = 0; side->streams && i < side->count; i++) {
    struct pair_stream *stream = &side->streams[i];
    assert_int_equal(stream->closes, 1);
    lc_buf_fini(&stream->head);
    lc_buf_fini(&stream->data);
    lc_buf_fini(&stream->trailers);
    lc_buf_fini(&stream->fields);
  }
  if (side->pool)
    lc_outq_fini(&side->out);
  lc_mempool_destroy(side->pool);
  free(side->streams);
}

void pair_close(struct pair *pair) {
  close_side(&pair->server);
  close_side(&pair->client);
}

static void deliver(struct pair *pair, struct side *to, const uint8_t *bytes, size_t len) {
  while (len > 0 && to->recv_rc == 0) {
    size_t cut = pair->max_cut ? 1 + (size_t)rand() % pair->max_cut : len;
    if (cut > len)
      cut = len;
    uint8_t *copy = malloc(cut); /* so that a session that keeps a pointer is caught */
    memcpy(copy, bytes, cut);
    to->recv_rc = lc_h2_recv(to->h2, copy, cut);
    free(copy);
    bytes += cut;
    len -= cut;
  }
}

size_t pair_step(struct pair *pair, struct side *from, struct side *to) {
  from->pull_rc = lc_h2_pull(from->h2, &from->out, pair->pull_limit ? pair->pull_limit : 1 << 20);
  size_t len = from->out.bytes;
  uint8_t *bytes = malloc(len + 1);
  lc_outq_read(&from->out, bytes, len);
  if (from->pull_rc == 0)
    deliver(pair, to, bytes, len);
  free(bytes);
  return len;
}

size_t pair_run(struct pair *pair) {
  size_t total = 0, moved;
  do {
    moved = pair_step(pair, &pair->client, &pair->server);
    moved += pair_step(pair, &pair->server, &pair->client);
    total += moved;
    pair->lost = pair->client.recv_rc || pair->client.pull_rc || pair->server.recv_rc || pair->server.pull_rc;
  } while (moved > 0 && !pair->lost);
  return total;
}

struct pair_stream *pair_request(struct pair *pair, int *rc) {
  const struct lc_h2_field fields[] = {
      LC_H2_FIXED(":method", "POST"),
      LC_H2_FIXED(":scheme", "http"),
      LC_H2_FIXED(":path", "/lcache.v1.Cache/Get"),
      LC_H2_FIXED(":authority", "localhost:8001"),
      LC_H2_FIXED("content-type", "application/grpc"),
      LC_H2_FIXED("te", "trailers"),
      LC_H2_FIXED("user-agent", "spec/1"),
  };
  struct side *client = &pair->client;
  struct pair_stream *stream = new_stream(client, 0);
  *rc = lc_h2_request(client->h2, fields, sizeof fields / sizeof *fields, stream, &stream->id);
  if (*rc == 0)
    return stream;
  client->count--;
  *stream = (struct pair_stream){0};
  return NULL;
}

struct pair_stream *pair_request_with(struct pair *pair, const void *bytes, size_t len) {
  int rc;
  struct pair_stream *stream = pair_request(pair, &rc);
  if (!stream)
    return NULL;
  if (lc_outq_append(&stream->body, bytes, len) != 0 || lc_h2_finish(pair->client.h2, stream->id, NULL, 0) != 0)
    lc_h2_reset(pair->client.h2, stream->id, LC_H2_INTERNAL_ERROR);
  return stream;
}

static const struct lc_h2_field reply_head[] = {LC_H2_FIXED(":status", "200"),
                                                LC_H2_FIXED("content-type", "application/grpc")};

int pair_reply(struct pair_stream *stream, const void *bytes, size_t len) {
  static const struct lc_h2_field trailers[] = {LC_H2_FIXED("grpc-status", "0")};
  int rc = lc_outq_append(&stream->body, bytes, len);
  return rc ? rc : lc_h2_reply(stream->side->h2, stream->id, reply_head, 2, trailers, 1);
}

int pair_reply_error(struct pair_stream *stream) {
  static const struct lc_h2_field fields[] = {
      LC_H2_FIXED(":status", "200"), LC_H2_FIXED("content-type", "application/grpc"), LC_H2_FIXED("grpc-status", "5"),
      LC_H2_FIXED("grpc-message", "no such group")};
  return lc_h2_respond(stream->side->h2, stream->id, fields, 4, true);
}

struct pair_stream *pair_peer(struct pair *pair, const struct pair_stream *stream) {
  for (int i = 0; i < pair->server.count; i++) {
    if (pair->server.streams[i].id == stream->id)
      return &pair->server.streams[i];
  }
  return NULL;
}

bool pair_has(const struct lc_buf *fields, const char *line) {
  return fields->len > 0 && memmem(fields->data, fields->len, line, strlen(line)) != NULL;
}
