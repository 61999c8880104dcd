#ifndef LC_BENCH_RUN_H
#define LC_BENCH_RUN_H

#include "bench/bench.h"

/* The state of a run, for run.c. */
enum lc_bench_phase { LC_BENCH_FILLING, LC_BENCH_WARMING, LC_BENCH_MEASURING };

struct lc_bench_run {
  const struct lc_bench_options *options;
  struct lc_bench_result *result;
  struct lc_bench_conn *conns;
  struct lc_bench_keys keys;
  struct lc_slice value;
  uint8_t *read_buffer;
  int epoll;
  enum lc_bench_phase phase;
  bool measuring;
  unsigned alive;
  uint64_t begun, done, wanted; /* requests of this phase */
  uint64_t now_ns, phase_began_ns, last_reply_ns;
  struct lc_err failure; /* of the first connection that failed */
};

#endif
