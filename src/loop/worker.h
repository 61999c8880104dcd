#ifndef LC_LOOP_WORKER_H
#define LC_LOOP_WORKER_H

#include <stdbool.h>
#include <uv.h>

#include "base/err.h"
#include "base/pool.h"
#include "base/task.h"
#include "base/timer.h"

/*
 * A worker: a thread with a libuv loop, a mailbox, timers and a pool of small blocks. All that belongs to a worker is
 * used on its thread only, but lc_worker_post.
 */
struct lc_worker;

struct lc_worker_config {
  unsigned index;
  size_t buffer_limit_bytes; /* this worker's part of --buffer-memory */
};

/* 0, LC_ENOMEM, or LC_EIO (no file descriptors) with a message. */
int lc_worker_create(const struct lc_worker_config *config, struct lc_worker **out, struct lc_err *err);

/*
 * Runs the loop on a thread of its own and returns: there first start(arg), then what happens until lc_worker_stop,
 * then stop(arg), which must close all connections and fetchers of the worker or have them closing; the thread ends
 * when the last is closed and no task waits. A start that returns non-zero cleans up after itself: the thread ends,
 * stop isn't called. Either may be NULL. All signals are blocked on the thread. 0, LC_ENOMEM or LC_EIO. Once only.
 */
int lc_worker_run(struct lc_worker *worker, int (*start)(void *arg), void (*stop)(void *arg), void *arg);

/* Any thread, any number of times: the loop ends after what is posted by now has run. */
void lc_worker_stop(struct lc_worker *worker);
int lc_worker_join(struct lc_worker *worker);     /* 0, or what start returned */
void lc_worker_destroy(struct lc_worker *worker); /* after join, when no thread posts any more; NULL is fine */

/*
 * Runs the task on the worker, soon; never before it returns. Tasks of one thread run in the order in which they were
 * posted, a bounded number between two looks at the sockets. Any thread (cheaper on the worker's own, which takes no
 * lock and makes no system call). Never fails. A task posted after the worker's thread has ended never runs.
 */
void lc_worker_post(struct lc_worker *worker, struct lc_task *task);

unsigned lc_worker_index(const struct lc_worker *worker);
uv_loop_t *lc_worker_loop(struct lc_worker *worker);
struct lc_timers *lc_worker_timers(struct lc_worker *worker); /* driven by the loop; just start timers */
uint64_t
lc_worker_now_ms(const struct lc_worker *worker); /* lc_clock_ms, taken twice a turn: at its start and after polling */
struct lc_mempool *lc_worker_pool(struct lc_worker *worker);

/*
 * What connections buffer on this worker (requests, output, values held by slow readers) is charged here.
 * lc_worker_charge returns false, charging nothing, when it would pass the limit. The last 64th (512 KiB at most)
 * is for charges of up to 4 KiB alone.
 */
bool lc_worker_charge(struct lc_worker *worker, size_t bytes);
void lc_worker_uncharge(struct lc_worker *worker, size_t bytes);
size_t lc_worker_charged(const struct lc_worker *worker);

#endif
