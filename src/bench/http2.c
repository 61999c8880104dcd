#include <stdio.h>

#include "bench/h2.h"

/* GET of /GROUP over HTTP/2: what a file server such as nghttpd answers, for comparison. */

static int http2_open(struct lc_bench_conn *conn) {
  struct lc_bench_h2 *h2 = conn->driver_state;
  char path[127];
  int rc = lc_bench_h2_open(conn, h2);
  h2->http = true;
  snprintf(path, sizeof(path), "/%s", lc_bench_conn_options(conn)->group);
  lc_bench_h2_static(h2, 2); /* :method GET */
  lc_bench_h2_static(h2, 6); /* :scheme http */
  lc_bench_h2_field(h2, ":path", path, NULL);
  lc_bench_h2_field(h2, ":authority", "localhost", NULL);
  lc_bench_h2_field(h2, "user-agent", "lcache-bench", NULL);
  return rc;
}

static void http2_close(struct lc_bench_conn *conn) {
  lc_bench_h2_close(conn->driver_state);
}

static bool http2_ready(const struct lc_bench_conn *conn, enum lc_bench_op op) {
  (void)op;
  return lc_bench_h2_ready(conn, conn->driver_state, 0);
}

static int http2_request(struct lc_bench_conn *conn, enum lc_bench_op op, uint32_t tag, struct lc_slice key,
                         struct lc_slice value) {
  (void)key;
  (void)value;
  return op == LC_BENCH_GET ? lc_bench_h2_request(conn, conn->driver_state, op, tag, (struct lc_slice){0})
                            : LC_EUNSUPPORTED;
}

static long http2_parse(struct lc_bench_conn *conn, const uint8_t *data, size_t len, struct lc_err *err) {
  return lc_bench_h2_parse(conn, conn->driver_state, data, len, err);
}

const struct lc_bench_driver lc_bench_http2 = {.name = "http2",
                                               .state_size = sizeof(struct lc_bench_h2),
                                               .open = http2_open,
                                               .close = http2_close,
                                               .ready = http2_ready,
                                               .request = http2_request,
                                               .parse = http2_parse};
