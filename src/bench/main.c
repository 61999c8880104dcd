#include <stdio.h>

#include "base/alloc.h"
#include "bench/bench.h"

static int run(const struct lc_bench_options *options) {
  struct lc_err err = {0};
  struct lc_bench_result *result = lc_malloc(sizeof(*result));
  int rc = result ? lc_bench_run(options, result, &err) : lc_err_set(&err, LC_ENOMEM, "out of memory");
  int exit_code = 2;
  if (rc != LC_OK)
    fprintf(stderr, "lcache-bench: %s\n", err.msg);
  else
    exit_code = lc_bench_print(options, result);
  lc_free(result);
  return exit_code;
}

int main(int argc, char **argv) {
  struct lc_bench_options options;
  struct lc_err err = {0};
  if (lc_bench_parse(argc, argv, &options, &err) != LC_OK) {
    fprintf(stderr, "lcache-bench: %s\n", err.msg);
    return 2;
  }
  if (options.text) {
    fputs(options.text, stdout);
    return 0;
  }
  return run(&options);
}
