#include <stdio.h>
#include <string.h>

#include "bench/h2.h"
#include "wire/grpc.h"

/* lcache.v1.Cache Get and Set. */

struct grpc_state {
  struct lc_bench_h2 h2;
  struct lc_buf body;
};

static int grpc_open(struct lc_bench_conn *conn) {
  struct lc_bench_h2 *h2 = &((struct grpc_state *)conn->driver_state)->h2;
  int rc = lc_bench_h2_open(conn, h2);
  char authority[LC_HOST_SIZE + 9];
  lc_format_address(&lc_bench_conn_options(conn)->server, authority, sizeof(authority));
  authority[126] = '\0';     /* a head's bytes are few; the server doesn't look at it */
  lc_bench_h2_static(h2, 3); /* :method POST */
  lc_bench_h2_static(h2, 6); /* :scheme http */
  lc_bench_h2_field(h2, ":path", "/lcache.v1.Cache/Get", "/lcache.v1.Cache/Set");
  lc_bench_h2_field(h2, ":authority", authority, NULL);
  lc_bench_h2_field(h2, "content-type", "application/grpc", NULL);
  lc_bench_h2_field(h2, "te", "trailers", NULL);
  lc_bench_h2_field(h2, "user-agent", "lcache-bench", NULL);
  return rc;
}

static void grpc_close(struct lc_bench_conn *conn) {
  struct grpc_state *state = conn->driver_state;
  lc_bench_h2_close(&state->h2);
  lc_buf_fini(&state->body);
}

static size_t varint_len(size_t value) {
  size_t len = 1;
  while (value >= 0x80) {
    value >>= 7;
    len++;
  }
  return len;
}

static uint8_t *put_bytes(uint8_t *at, uint8_t field, struct lc_slice bytes) {
  size_t len = bytes.len;
  *at++ = (uint8_t)(field << 3 | 2);
  for (; len >= 0x80; len >>= 7)
    *at++ = (uint8_t)(len | 0x80);
  *at++ = (uint8_t)len;
  memcpy(at, bytes.ptr, bytes.len);
  return at + bytes.len;
}

static size_t field_len(struct lc_slice bytes) {
  return 1 + varint_len(bytes.len) + bytes.len;
}

static size_t body_len(const struct lc_bench_options *options, enum lc_bench_op op, size_t key_len) {
  size_t len = LC_GRPC_PREFIX + field_len(lc_slice_str(options->group)) + 1 + varint_len(key_len) + key_len;
  return op == LC_BENCH_SET ? len + 1 + varint_len(options->value_size) + options->value_size : len;
}

static bool grpc_ready(const struct lc_bench_conn *conn, enum lc_bench_op op) {
  const struct lc_bench_options *options = lc_bench_conn_options(conn);
  return lc_bench_h2_ready(conn, &((struct grpc_state *)conn->driver_state)->h2,
                           body_len(options, op, LC_BENCH_KEY_MAX));
}

static int grpc_request(struct lc_bench_conn *conn, enum lc_bench_op op, uint32_t tag, struct lc_slice key,
                        struct lc_slice value) {
  struct grpc_state *state = conn->driver_state;
  const struct lc_bench_options *options = lc_bench_conn_options(conn);
  size_t len = body_len(options, op, key.len);
  state->body.len = 0;
  if (lc_buf_reserve(&state->body, len) != LC_OK)
    return LC_ENOMEM;
  lc_grpc_write_prefix(state->body.data, (uint32_t)(len - LC_GRPC_PREFIX));
  uint8_t *at = put_bytes(state->body.data + LC_GRPC_PREFIX, 1, lc_slice_str(options->group));
  at = put_bytes(at, 2, key);
  if (op == LC_BENCH_SET)
    put_bytes(at, 3, value);
  return lc_bench_h2_request(conn, &state->h2, op, tag, lc_slice_of(state->body.data, len));
}

static long grpc_parse(struct lc_bench_conn *conn, const uint8_t *data, size_t len, struct lc_err *err) {
  return lc_bench_h2_parse(conn, &((struct grpc_state *)conn->driver_state)->h2, data, len, err);
}

const struct lc_bench_driver lc_bench_grpc = {.name = "grpc",
                                              .state_size = sizeof(struct grpc_state),
                                              .open = grpc_open,
                                              .close = grpc_close,
                                              .ready = grpc_ready,
                                              .request = grpc_request,
                                              .parse = grpc_parse};
