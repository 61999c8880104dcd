#ifndef LC_BENCH_BENCH_H
#define LC_BENCH_BENCH_H

#include <stdbool.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/parse.h"
#include "base/slice.h"

/*
 * lcache-bench: a load generator that costs much less than the servers it loads. One thread, non-blocking sockets,
 * requests built by copying. options.c reads the command line, run.c keeps the connections busy, a driver (grpc.c,
 * redis.c, memcached.c, http2.c) knows a protocol's bytes, keys.c chooses keys, histogram.c keeps latencies.
 */

enum lc_bench_distribution { LC_BENCH_UNIFORM, LC_BENCH_ZIPF, LC_BENCH_SEQUENTIAL, LC_BENCH_SINGLE };

struct lc_bench_driver;

struct lc_bench_options {
  struct lc_address server;
  const struct lc_bench_driver *driver;
  const char *group, *key_prefix;
  uint64_t keys;
  enum lc_bench_distribution distribution;
  double theta;      /* of zipf, over 0, not 1 */
  bool fill;         /* Set all keys first */
  size_t value_size; /* bytes of each Set */
  uint64_t ttl_ms;
  unsigned connections, outstanding; /* outstanding: of each connection */
  double rate;                       /* requests a second in all; 0: as fast as replies come */
  uint64_t duration_ms;              /* of the measured part, unless requests is given */
  uint64_t requests;
  uint64_t warmup_ms;
  unsigned get_percent; /* the others are Sets */
  bool json;
  const char *text; /* of --help or --version: print it, do nothing else */
};

int lc_bench_parse(int argc, char **argv, struct lc_bench_options *options, struct lc_err *err); /* 0 or LC_EINVAL */

/* Keys by number and choice: "k000000000042". */
#define LC_BENCH_KEY_MAX 128u
struct lc_bench_keys {
  uint64_t state[2]; /* xoroshiro128+ (Blackman, Vigna) */
  uint64_t count, next;
  enum lc_bench_distribution distribution;
  double theta, zeta, alpha, eta; /* of Gray et al., "Quickly generating billion-record synthetic databases", 1994 */
};
void lc_bench_keys_init(struct lc_bench_keys *keys, const struct lc_bench_options *options, uint64_t seed);
uint64_t lc_bench_keys_next(struct lc_bench_keys *keys);
uint64_t lc_bench_random(struct lc_bench_keys *keys);
size_t lc_bench_key_format(const char *prefix, uint64_t number, char out[LC_BENCH_KEY_MAX]); /* its length */

/* Latencies in nanoseconds, within 1.6% (64 steps for each doubling). */
#define LC_BENCH_BUCKETS (64u * 40u)
struct lc_bench_histogram {
  uint64_t counts[LC_BENCH_BUCKETS];
  uint64_t total, max_ns;
  double sum_ns;
};
void lc_bench_histogram_add(struct lc_bench_histogram *histogram, uint64_t ns);
uint64_t lc_bench_histogram_at(const struct lc_bench_histogram *histogram, double percentile); /* 0 to 100; ns */

/* One connection. `driver_state` is the driver's. */
struct lc_bench_conn {
  struct lc_bench_run *run;
  int fd;
  bool writable, failed;
  unsigned outstanding;
  struct lc_buf in, out;
  size_t sent;        /* of out */
  uint64_t *begun_ns; /* by tag, 0: free */
  uint32_t mask, next_tag;
  void *driver_state;
  uint64_t replies;
};

enum lc_bench_op { LC_BENCH_GET, LC_BENCH_SET };

struct lc_bench_driver {
  const char *name;
  size_t state_size;
  int (*open)(struct lc_bench_conn *conn);   /* queues what comes before the first request; 0 or negative */
  void (*close)(struct lc_bench_conn *conn); /* may be NULL */

  /* True if one more request may be sent now (the server's limits); NULL: always. */
  bool (*ready)(const struct lc_bench_conn *conn, enum lc_bench_op op);

  /* Appends a request to conn->out, to be answered under `tag`. Tags count up from 0. 0 or LC_ENOMEM. */
  int (*request)(struct lc_bench_conn *conn, enum lc_bench_op op, uint32_t tag, struct lc_slice key,
                 struct lc_slice value);

  /* Parses replies; calls lc_bench_reply for each. Returns bytes used, or negative with the reason in `err`. */
  long (*parse)(struct lc_bench_conn *conn, const uint8_t *data, size_t len, struct lc_err *err);
};

extern const struct lc_bench_driver lc_bench_grpc, lc_bench_http2, lc_bench_redis, lc_bench_memcached;

/* status: a gRPC status (other protocols: 0, 5 for a miss, 2 for an error); bytes: of the value. */
void lc_bench_reply(struct lc_bench_conn *conn, uint32_t tag, int status, size_t bytes);

/* The options of the run that a connection belongs to. */
const struct lc_bench_options *lc_bench_conn_options(const struct lc_bench_conn *conn);

#define LC_BENCH_STATUSES 18u
struct lc_bench_result {
  struct lc_bench_histogram histogram;
  uint64_t by_status[LC_BENCH_STATUSES]; /* the last: any other */
  uint64_t bytes, broken;                /* broken: requests whose connection failed */
  double seconds;
};

/* Runs it all. 0, or negative with `err`. `result` is large: not for the stack. */
int lc_bench_run(const struct lc_bench_options *options, struct lc_bench_result *result, struct lc_err *err);

/* Prints; returns the exit code: 0, or 1 when requests failed. */
int lc_bench_print(const struct lc_bench_options *options, const struct lc_bench_result *result);

#endif
