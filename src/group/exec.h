#ifndef LC_GROUP_EXEC_H
#define LC_GROUP_EXEC_H

#include "base/task.h"
#include "base/timer.h"

/*
 * What the domain needs of the threads it runs on. Implemented in app/ over loop/; a test implements it with a list and
 * a clock of its own.
 */
struct lc_exec {
  void *ctx;
  unsigned workers;

  /* Runs the task on that worker, soon, never before post returns. Any thread. Never fails. */
  void (*post)(void *ctx, unsigned worker, struct lc_task *task);

  /* The worker's timers; to be used on that worker only. */
  struct lc_timers *(*timers)(void *ctx, unsigned worker);

  /* The worker's idea of now (lc_clock_ms, taken once a loop turn). On that worker only. */
  uint64_t (*now_ms)(void *ctx, unsigned worker);
};

#endif
