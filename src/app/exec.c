#include "app/exec.h"

static void post(void *ctx, unsigned worker, struct lc_task *task) {
  struct lc_worker **workers = ctx;
  lc_worker_post(workers[worker], task);
}

static struct lc_timers *timers(void *ctx, unsigned worker) {
  struct lc_worker **workers = ctx;
  return lc_worker_timers(workers[worker]);
}

static uint64_t now_ms(void *ctx, unsigned worker) {
  struct lc_worker **workers = ctx;
  return lc_worker_now_ms(workers[worker]);
}

void lc_exec_over_workers(struct lc_worker **workers, unsigned count, struct lc_exec *exec) {
  *exec = (struct lc_exec){.ctx = workers, .workers = count, .post = post, .timers = timers, .now_ms = now_ms};
}
