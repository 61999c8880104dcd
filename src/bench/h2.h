#ifndef LC_BENCH_H2_H
#define LC_BENCH_H2_H

#include "bench/bench.h"
#include "wire/hpack.h"

/*
 * The client half of HTTP/2 that a load generator needs. Its own framing, and not wire/h2.h, because the generator has
 * to cost much less than the server that it loads: a general session costs a client as much as it costs the server, and
 * on one core each the generator would be what is measured. Requests are constant bytes but for key and stream id;
 * replies are told apart by their frame heads, and header blocks decoded only when their bytes are new.
 */
#define LC_BENCH_MEMO 8u
#define LC_BENCH_MEMO_BYTES 24u

struct lc_bench_h2 {
  struct lc_hpack *hpack;
  uint8_t first_head[512], next_head[64]; /* HPACK blocks of the first Get and of the others */
  uint8_t set_head[512];                  /* of each Set: leaves the table alone */
  size_t first_len, next_len, set_len;
  bool first_sent;
  uint32_t max_streams, initial_window; /* the server's */
  int64_t send_window;                  /* of the connection */
  uint64_t consumed;                    /* since our last WINDOW_UPDATE */
  uint64_t last_tag;                    /* none from this one on: 0 after the server's GOAWAY, else UINT64_MAX */
  bool any_frame, settled;              /* something came from the server; its SETTINGS did */
  struct {
    uint8_t bytes[LC_BENCH_MEMO_BYTES];
    size_t len;
    int status; /* -1: the block has none */
  } memo[LC_BENCH_MEMO];
  unsigned memo_count;
  uint32_t *body_bytes; /* of each tag's reply so far */
  bool http;            /* the HTTP status counts, not grpc-status */
};

int lc_bench_h2_open(struct lc_bench_conn *conn, struct lc_bench_h2 *h2);
void lc_bench_h2_close(struct lc_bench_h2 *h2);
bool lc_bench_h2_ready(const struct lc_bench_conn *conn, const struct lc_bench_h2 *h2, size_t body_len);

/*
 * A field of the requests' heads, which the first Get adds to the dynamic table and later ones name by number. A Set
 * has set_value instead where that isn't NULL, and names everything in full. Values are under 127 bytes.
 */
void lc_bench_h2_field(struct lc_bench_h2 *h2, const char *name, const char *value, const char *set_value);
void lc_bench_h2_static(struct lc_bench_h2 *h2, uint8_t index); /* a field of RFC 7541's static table, before others */

/* Appends a request: HEADERS and, if there is a body, DATA. 0, LC_ENOMEM, or LC_ETOOBIG: over the server's window. */
int lc_bench_h2_request(struct lc_bench_conn *conn, struct lc_bench_h2 *h2, enum lc_bench_op op, uint32_t tag,
                        struct lc_slice body);

long lc_bench_h2_parse(struct lc_bench_conn *conn, struct lc_bench_h2 *h2, const uint8_t *data, size_t len,
                       struct lc_err *err);

#endif
