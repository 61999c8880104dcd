#include "test_rpc_support.h"

#include <string.h>

/* The raw HTTP/2 client: wire/h2.h over a blocking socket on the test's thread. */

static void *raw_begin(void *arg, int32_t id) {
  (void)arg, (void)id;
  return NULL;
}

static int raw_header(void *arg, void *object, struct lc_slice name, struct lc_slice value) {
  (void)arg;
  struct raw_stream *stream = object;
  if (lc_slice_eq(name, lc_slice_str(":status")))
    copy_text(stream->http_status, sizeof stream->http_status, value);
  if (lc_slice_eq(name, lc_slice_str("grpc-status")))
    copy_text(stream->grpc_status, sizeof stream->grpc_status, value);
  if (lc_slice_eq(name, lc_slice_str("grpc-message")))
    copy_text(stream->message, sizeof stream->message, value);
  return 0;
}

static void raw_head(void *arg, void *object, bool trailers) {
  (void)arg, (void)trailers;
  ((struct raw_stream *)object)->head = true;
}

static void raw_data(void *arg, void *object, struct lc_slice data) {
  (void)arg;
  assert_int_equal(lc_buf_append(&((struct raw_stream *)object)->data, data.ptr, data.len), 0);
}

static void raw_ended(void *arg, void *object) {
  (void)arg;
  ((struct raw_stream *)object)->ended = true;
}

static void raw_closed(void *arg, void *object, uint32_t error_code) {
  (void)arg;
  struct raw_stream *stream = object;
  stream->closed = true;
  stream->error_code = error_code;
}

static void raw_goaway(void *arg, int32_t last_stream_id, uint32_t error_code) {
  struct raw *raw = arg;
  raw->goaways++;
  raw->last_id = last_stream_id;
  raw->goaway_code = error_code;
}

static struct lc_outq *raw_body(void *arg, void *object) {
  (void)arg;
  return &((struct raw_stream *)object)->body;
}

static const struct lc_h2_handler RAW_HANDLER = {.on_begin = raw_begin,
                                                 .on_header = raw_header,
                                                 .on_head = raw_head,
                                                 .on_data = raw_data,
                                                 .on_end = raw_ended,
                                                 .on_close = raw_closed,
                                                 .on_goaway = raw_goaway,
                                                 .body = raw_body};

struct raw *raw_connect_windows(uint16_t port, uint32_t stream_window, uint32_t conn_window) {
  struct raw *raw = calloc(1, sizeof *raw);
  raw->fd = connect_socket(port);
  raw->pool = lc_mempool_create(1 << 20);
  struct lc_h2_config config;
  lc_h2_config_init(&config, false);
  config.pool = raw->pool;
  config.handler = &RAW_HANDLER;
  config.arg = raw;
  if (stream_window)
    config.stream_window = stream_window;
  if (conn_window)
    config.conn_window = conn_window;
  assert_int_equal(lc_h2_create(&config, &raw->h2), 0);
  return raw;
}

struct raw *raw_connect(uint16_t port) {
  return raw_connect_windows(port, 0, 0);
}

void raw_close(struct raw *raw) {
  if (raw->fd >= 0)
    close(raw->fd);
  lc_h2_destroy(raw->h2);
  for (unsigned i = 0; i < raw->count; i++) {
    lc_outq_fini(&raw->streams[i].body);
    lc_buf_fini(&raw->streams[i].data);
  }
  lc_mempool_destroy(raw->pool);
  free(raw);
}

void raw_send(struct raw *raw) {
  struct lc_outq out;
  lc_outq_init(&out, raw->pool);
  assert_int_equal(lc_h2_pull(raw->h2, &out, SIZE_MAX), 0);
  size_t len = out.bytes;
  uint8_t *bytes = malloc(len + 1);
  lc_outq_read(&out, bytes, len);
  if (!send_all(raw->fd, bytes, len))
    raw->eof = true;
  free(bytes);
  lc_outq_fini(&out);
}

bool raw_turn(struct raw *raw, int timeout_ms) {
  uint8_t bytes[65536];
  struct pollfd wait = {.fd = raw->fd, .events = POLLIN};
  raw_send(raw);
  if (poll(&wait, 1, timeout_ms) != 1)
    return false;
  ssize_t n = recv(raw->fd, bytes, sizeof bytes, 0);
  if (n <= 0) {
    raw->eof = true;
    return true;
  }
  assert_int_equal(lc_h2_recv(raw->h2, bytes, (size_t)n), 0);
  raw_send(raw);
  return true;
}

void raw_until_closed(struct raw *raw, struct raw_stream *stream) {
  while (!stream->closed) {
    if (raw->eof || !raw_turn(raw, PATIENCE_S * 1000))
      fail_msg("the stream was not ended");
  }
}

void raw_until_eof(struct raw *raw) {
  while (!raw->eof) {
    if (!raw_turn(raw, PATIENCE_S * 1000))
      fail_msg("the connection was not ended");
  }
}

struct raw_stream *raw_open_fields(struct raw *raw, const struct lc_h2_field *fields, size_t count) {
  assert_true(raw->count < RAW_STREAMS);
  struct raw_stream *stream = &raw->streams[raw->count++];
  stream->raw = raw;
  lc_outq_init(&stream->body, raw->pool);
  lc_buf_init(&stream->data);
  assert_int_equal(lc_h2_request(raw->h2, fields, count, stream, &stream->id), 0);
  return stream;
}

struct raw_stream *raw_open(struct raw *raw, const char *path) {
  const struct lc_h2_field fields[] = {FIELD(":method", "POST"), FIELD(":scheme", "http"),
                                       FIELD(":path", path),     FIELD(":authority", "there"),
                                       FIELD("te", "trailers"),  FIELD("content-type", "application/grpc")};
  return raw_open_fields(raw, fields, sizeof fields / sizeof *fields);
}

void raw_write(struct raw_stream *stream, const void *data, size_t len) {
  assert_int_equal(lc_outq_append(&stream->body, data, len), 0);
  assert_int_equal(lc_h2_resume(stream->raw->h2, stream->id), 0);
  raw_send(stream->raw);
}

void raw_message(struct raw_stream *stream, const char *text) {
  assert_int_equal(lc_grpc_frame(&stream->body, lc_slice_str(text)), 0);
  assert_int_equal(lc_h2_resume(stream->raw->h2, stream->id), 0);
  raw_send(stream->raw);
}

void raw_end(struct raw_stream *stream) {
  assert_int_equal(lc_h2_finish(stream->raw->h2, stream->id, NULL, 0), 0);
  raw_send(stream->raw);
}

void expect_trailer(const struct raw_stream *stream, const char *status, const char *message) {
  assert_string_equal(stream->http_status, "200");
  if (strcmp(stream->grpc_status, status) != 0 || strcmp(stream->message, message) != 0)
    fail_msg("got %s \"%s\", not %s \"%s\"", stream->grpc_status, stream->message, status, message);
}
