/*
 * Loads per CPU-second of a getter that returns a constant: lc_group_get of keys that nobody asked for before, in one
 * worker's thread, with the flight, the item and the store. Prints the median of the rounds.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "script/script.h"

#define ROUNDS 15
#define LOADS 200000
#define TARGET 400000.0

static const char source[] = "local lcache = require 'lcache'\n"
                             "lcache.group('constant', { getter = function() return 'a constant value' end })\n";

struct bench {
  struct lc_worker *worker;
  struct lc_script *scripts[1];
  struct lc_groups *groups;
  unsigned next;
  char path[64];
};

static void die(const char *what, const struct lc_err *err) {
  fprintf(stderr, "bench: %s: %s\n", what, err ? err->msg : "failed");
  exit(2);
}

static void post(void *ctx, unsigned worker, struct lc_task *task) {
  (void)worker;
  lc_worker_post(((struct bench *)ctx)->worker, task);
}

static struct lc_timers *timers(void *ctx, unsigned worker) {
  (void)worker;
  return lc_worker_timers(((struct bench *)ctx)->worker);
}

static uint64_t now_ms(void *ctx, unsigned worker) {
  (void)worker;
  return lc_worker_now_ms(((struct bench *)ctx)->worker);
}

static void never(struct lc_get *get) {
  (void)get;
  abort();
}

static double round_of(struct bench *bench) {
  char key[32];
  uint64_t begun = lc_clock_thread_cpu_ns();
  for (unsigned i = 0; i < LOADS; i++) {
    struct lc_get get = {.group = lc_slice_str("constant"), .done = never};
    get.key = lc_slice_of(key, (size_t)snprintf(key, sizeof key, "key:%u", bench->next++));
    if (lc_group_get(bench->groups, &get) != LC_OK || get.from != LC_FROM_SOURCE)
      die(get.message, NULL);
    lc_get_fini(&get);
  }
  return LOADS * 1e9 / (double)(lc_clock_thread_cpu_ns() - begun);
}

static int by_value(const void *a, const void *b) {
  double x = *(const double *)a, y = *(const double *)b;
  return (x > y) - (x < y);
}

static void measure(struct bench *bench) {
  double rounds[ROUNDS];
  round_of(bench);
  for (int i = 0; i < ROUNDS; i++)
    rounds[i] = round_of(bench);
  qsort(rounds, ROUNDS, sizeof rounds[0], by_value);
  double median = rounds[ROUNDS / 2];
  printf("loads per CPU-second, constant getter: %.0f (%.0f to %.0f in %d rounds), target %.0f: %s\n", median,
         rounds[0], rounds[ROUNDS - 1], ROUNDS, TARGET, median >= TARGET ? "met" : "missed");
}

static int run(void *arg) {
  struct bench *bench = arg;
  struct lc_err err = {0};
  struct lc_exec exec = {bench, 1, post, timers, now_ms};
  struct lc_loader loader;
  struct lc_script_description *description;
  struct lc_script_config config = {.options.path = bench->path, .worker = bench->worker};
  if (lc_script_describe(&config.options, &description, &err) != LC_OK)
    die("describe", &err);
  config.description = description;
  if (lc_script_create(&config, &bench->scripts[0], &err) != LC_OK)
    die("create", &err);
  lc_script_loader(bench->scripts, &loader);
  struct lc_groups_config groups = {
      .memory_bytes = 64 << 20, .max_message_bytes = 4 << 20, .exec = &exec, .loader = &loader};
  groups.count = lc_script_groups(description, &groups.options);
  if (lc_groups_create(&groups, &bench->groups, &err) != LC_OK)
    die("groups", &err);
  lc_script_bind(bench->scripts[0], bench->groups);
  measure(bench);
  lc_script_destroy(bench->scripts[0]);
  lc_groups_destroy(bench->groups);
  lc_script_description_destroy(description);
  lc_worker_stop(bench->worker);
  return 0;
}

static void end(void *arg) {
  (void)arg;
}

int main(void) {
  struct bench bench = {.path = "/tmp/lc-bench-XXXXXX"};
  struct lc_err err = {0};
  int fd = mkstemp(bench.path);
  if (fd < 0 || write(fd, source, strlen(source)) < 0)
    die("script file", NULL);
  close(fd);
  if (lc_worker_create(&(struct lc_worker_config){.buffer_limit_bytes = 1 << 20}, &bench.worker, &err) != LC_OK)
    die("worker", &err);
  if (lc_worker_run(bench.worker, run, end, &bench) != LC_OK)
    die("worker", NULL);
  lc_worker_join(bench.worker);
  lc_worker_destroy(bench.worker);
  unlink(bench.path);
  return 0;
}
