#include <string.h>

#include "bench/bench.h"
#include "wire/grpc.h"

/* Redis (RESP2) and memcached (text protocol), for comparison: replies come in the order of the requests. */

struct line_state {
  uint32_t next_tag; /* that the next reply answers */
};

static int line_open(struct lc_bench_conn *conn) {
  (void)conn;
  return LC_OK;
}

/* The line at `data` without its CRLF; 0 if its end has not come. */
static size_t line_len(const uint8_t *data, size_t len) {
  const uint8_t *end = memchr(data, '\n', len);
  return end ? (size_t)(end - data) + 1 : 0;
}

/* The digits at `data`; what was received has no NUL for strtoul. */
static size_t number_at(const uint8_t *data, size_t len) {
  size_t number = 0;
  for (size_t i = 0; i < len && data[i] >= '0' && data[i] <= '9'; i++)
    number = number * 10 + (size_t)(data[i] - '0');
  return number;
}

static int redis_request(struct lc_bench_conn *conn, enum lc_bench_op op, uint32_t tag, struct lc_slice key,
                         struct lc_slice value) {
  (void)tag;
  if (op == LC_BENCH_GET) {
    lc_buf_printf(&conn->out, "*2\r\n$3\r\nGET\r\n$%zu\r\n", key.len);
    lc_buf_append(&conn->out, key.ptr, key.len);
    return lc_buf_append(&conn->out, "\r\n", 2);
  }
  lc_buf_printf(&conn->out, "*3\r\n$3\r\nSET\r\n$%zu\r\n", key.len);
  lc_buf_append(&conn->out, key.ptr, key.len);
  lc_buf_printf(&conn->out, "\r\n$%zu\r\n", value.len);
  lc_buf_append(&conn->out, value.ptr, value.len);
  return lc_buf_append(&conn->out, "\r\n", 2);
}

/* One reply at `data`: its whole length, or 0 if it is cut; its status and value length. */
static size_t redis_reply(const uint8_t *data, size_t len, int *status, size_t *bytes) {
  size_t line = line_len(data, len);
  *status = data[0] == '+' || data[0] == '$' ? LC_GRPC_OK : LC_GRPC_UNKNOWN;
  *bytes = 0;
  if (line == 0 || data[0] != '$')
    return line;
  if (data[1] == '-') {
    *status = LC_GRPC_NOT_FOUND;
    return line;
  }
  *bytes = number_at(data + 1, line - 1);
  size_t whole = line + *bytes + 2;
  return whole <= len ? whole : 0;
}

static int memcached_request(struct lc_bench_conn *conn, enum lc_bench_op op, uint32_t tag, struct lc_slice key,
                             struct lc_slice value) {
  (void)tag;
  lc_buf_str(&conn->out, op == LC_BENCH_GET ? "get " : "set ");
  lc_buf_append(&conn->out, key.ptr, key.len);
  if (op == LC_BENCH_GET)
    return lc_buf_append(&conn->out, "\r\n", 2);
  lc_buf_printf(&conn->out, " 0 0 %zu\r\n", value.len);
  lc_buf_append(&conn->out, value.ptr, value.len);
  return lc_buf_append(&conn->out, "\r\n", 2);
}

static size_t memcached_reply(const uint8_t *data, size_t len, int *status, size_t *bytes) {
  size_t line = line_len(data, len);
  *status = LC_GRPC_OK;
  *bytes = 0;
  if (line == 0 || memcmp(data, "STORED", line < 6 ? line : 6) == 0)
    return line;
  if (data[0] == 'E' && data[1] == 'N') { /* END: nothing found */
    *status = LC_GRPC_NOT_FOUND;
    return line;
  }
  if (data[0] != 'V') {
    *status = LC_GRPC_UNKNOWN;
    return line;
  }
  size_t at = line - 2; /* VALUE key flags length\r\n */
  while (at > 0 && data[at - 1] != ' ')
    at--;
  *bytes = number_at(data + at, line - at);
  size_t whole = line + *bytes + 2 + 5; /* value CRLF END CRLF */
  return whole <= len ? whole : 0;
}

typedef size_t (*reply_fn)(const uint8_t *data, size_t len, int *status, size_t *bytes);

static long parse_all(struct lc_bench_conn *conn, const uint8_t *data, size_t len, reply_fn reply) {
  struct line_state *state = conn->driver_state;
  size_t at = 0;
  while (at < len) {
    int status;
    size_t bytes;
    size_t used = reply(data + at, len - at, &status, &bytes);
    if (used == 0)
      break;
    lc_bench_reply(conn, state->next_tag++, status, bytes);
    at += used;
  }
  return (long)at;
}

static long redis_parse(struct lc_bench_conn *conn, const uint8_t *data, size_t len, struct lc_err *err) {
  (void)err;
  return parse_all(conn, data, len, redis_reply);
}

static long memcached_parse(struct lc_bench_conn *conn, const uint8_t *data, size_t len, struct lc_err *err) {
  (void)err;
  return parse_all(conn, data, len, memcached_reply);
}

const struct lc_bench_driver lc_bench_redis = {.name = "redis",
                                               .state_size = sizeof(struct line_state),
                                               .open = line_open,
                                               .request = redis_request,
                                               .parse = redis_parse};
const struct lc_bench_driver lc_bench_memcached = {.name = "memcached",
                                                   .state_size = sizeof(struct line_state),
                                                   .open = line_open,
                                                   .request = memcached_request,
                                                   .parse = memcached_parse};
