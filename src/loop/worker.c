#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>

#include "base/alloc.h"
#include "base/clock.h"
#include "loop/turn.h"

#define STACK_BYTES ((size_t)8 << 20)
#define SMALL_CHARGE 4096u
#define RESERVE_PART 64u
#define RESERVE_MAX (512u << 10)
#define TASKS_PER_BATCH 512u /* then I/O has its turn */
#define POOL_KEEP_BYTES (4u << 20)

struct lc_worker {
  unsigned index;
  struct lc_mempool *pool;
  size_t buffer_limit_bytes, charged_bytes;

  uv_loop_t loop;
  uv_async_t wake;
  uv_prepare_t prepare;
  uv_check_t check;
  uv_idle_t idle; /* active: don't block in poll */
  uv_timer_t timer;
  struct lc_timers timers;
  uint64_t armed_ms; /* what `timer` is set to, LC_TIME_NEVER: stopped */

  struct lc_task *tasks, **tasks_end; /* to run, in order; this thread's */
  struct lc_list turn_ends;

  pthread_t thread;
  bool running; /* a thread to join */
  int (*start)(void *arg);
  void (*stop)(void *arg);
  void *arg;
  int result;

  struct lc_task stop_task;
  uint64_t clock_offset_ms; /* of lc_clock_ms over uv_now */

  char read_buffer[LC_READ_BUFFER_SIZE];

  /* Written by other threads: the buffer keeps it off the cache lines that this thread works on. */
  _Atomic(struct lc_task *) inbox; /* latest first */
  atomic_bool stop_asked;
};

/* The worker whose thread this is: tells a post from within. */
static _Thread_local const struct lc_worker *this_worker;

unsigned lc_worker_index(const struct lc_worker *worker) {
  return worker->index;
}

uv_loop_t *lc_worker_loop(struct lc_worker *worker) {
  return &worker->loop;
}

struct lc_timers *lc_worker_timers(struct lc_worker *worker) {
  return &worker->timers;
}

/* libuv reads the clock of lc_clock_ms, counted from another start, when a turn begins and after each poll. */
uint64_t lc_worker_now_ms(const struct lc_worker *worker) {
  return uv_now(&worker->loop) + worker->clock_offset_ms;
}

static void measure_clock_offset(struct lc_worker *worker) {
  uint64_t before, after;
  do {
    before = lc_clock_ms();
    uv_update_time(&worker->loop);
    after = lc_clock_ms();
  } while (before != after);
  worker->clock_offset_ms = after - uv_now(&worker->loop);
}

struct lc_mempool *lc_worker_pool(struct lc_worker *worker) {
  return worker->pool;
}

char *lc_worker_read_buffer(struct lc_worker *worker) {
  return worker->read_buffer;
}

/* What large charges leave over: readers that don't read large values must not starve everybody's small requests. */
static size_t reserve(const struct lc_worker *worker, size_t bytes) {
  if (bytes <= SMALL_CHARGE)
    return 0;
  size_t part = worker->buffer_limit_bytes / RESERVE_PART;
  return part < RESERVE_MAX ? part : RESERVE_MAX;
}

bool lc_worker_charge(struct lc_worker *worker, size_t bytes) {
  size_t left = worker->buffer_limit_bytes - worker->charged_bytes, kept = reserve(worker, bytes);
  if (left < kept || bytes > left - kept)
    return false;
  worker->charged_bytes += bytes;
  return true;
}

void lc_worker_uncharge(struct lc_worker *worker, size_t bytes) {
  worker->charged_bytes -= bytes;
}

size_t lc_worker_charged(const struct lc_worker *worker) {
  return worker->charged_bytes;
}

/* ---- tasks ---- */

static void append_task(struct lc_worker *worker, struct lc_task *task) {
  task->next = NULL;
  *worker->tasks_end = task;
  worker->tasks_end = &task->next;
}

void lc_worker_post(struct lc_worker *worker, struct lc_task *task) {
  if (this_worker == worker) {
    append_task(worker, task);
    return;
  }
  struct lc_task *top = atomic_load_explicit(&worker->inbox, memory_order_relaxed);
  do {
    task->next = top;
  } while (
      !atomic_compare_exchange_weak_explicit(&worker->inbox, &top, task, memory_order_release, memory_order_relaxed));
  /* Whoever finds the inbox empty wakes the worker; it takes all that is there at once. */
  if (top == NULL)
    uv_async_send(&worker->wake);
}

static void take_inbox(struct lc_worker *worker) {
  if (atomic_load_explicit(&worker->inbox, memory_order_relaxed) == NULL)
    return;
  struct lc_task *latest = atomic_exchange_explicit(&worker->inbox, NULL, memory_order_acquire);
  struct lc_task *oldest = NULL;
  while (latest != NULL) {
    struct lc_task *next = latest->next;
    latest->next = oldest;
    oldest = latest;
    latest = next;
  }
  while (oldest != NULL) {
    struct lc_task *next = oldest->next;
    append_task(worker, oldest);
    oldest = next;
  }
}

static void run_tasks(struct lc_worker *worker) {
  take_inbox(worker);
  for (unsigned n = 0; n < TASKS_PER_BATCH && worker->tasks != NULL; n++) {
    struct lc_task *task = worker->tasks;
    worker->tasks = task->next;
    if (worker->tasks == NULL)
      worker->tasks_end = &worker->tasks;
    task->run(task);
  }
}

/* ---- turns ---- */

void lc_worker_at_turn_end(struct lc_worker *worker, struct lc_turn_end *turn_end) {
  if (lc_list_empty(&turn_end->link))
    lc_list_push_back(&worker->turn_ends, &turn_end->link);
}

static void run_turn_ends(struct lc_worker *worker) {
  struct lc_list now;
  lc_list_init(&now);
  lc_list_splice_back(&now, &worker->turn_ends);
  for (struct lc_list *link; (link = lc_list_pop_front(&now)) != NULL;) {
    struct lc_turn_end *turn_end = lc_container_of(link, struct lc_turn_end, link);
    turn_end->run(turn_end);
  }
}

static void end_turn(struct lc_worker *worker) {
  run_tasks(worker);
  run_turn_ends(worker);
}

static bool has_work(const struct lc_worker *worker) {
  return worker->tasks != NULL || !lc_list_empty(&worker->turn_ends) ||
         atomic_load_explicit(&worker->inbox, memory_order_relaxed) != NULL;
}

static void on_timer(uv_timer_t *timer) {
  struct lc_worker *worker = timer->data;
  worker->armed_ms = LC_TIME_NEVER;
  lc_timers_expire(&worker->timers, lc_worker_now_ms(worker));
}

static void arm_timer(struct lc_worker *worker) {
  uint64_t due = lc_timers_next(&worker->timers);
  if (due == worker->armed_ms)
    return;
  worker->armed_ms = due;
  if (due == LC_TIME_NEVER) {
    uv_timer_stop(&worker->timer);
    return;
  }
  uint64_t now = lc_worker_now_ms(worker);
  uv_timer_start(&worker->timer, on_timer, due > now ? due - now : 0, 0);
}

static void on_idle(uv_idle_t *idle) {
  (void)idle;
}

static void on_prepare(uv_prepare_t *prepare) {
  struct lc_worker *worker = prepare->data;
  end_turn(worker);
  arm_timer(worker);
  if (has_work(worker)) {
    uv_idle_start(&worker->idle, on_idle);
  } else {
    uv_idle_stop(&worker->idle);
  }
}

static void on_check(uv_check_t *check) {
  end_turn(check->data);
}

/* Being woken is all: on_check takes the inbox. */
static void on_wake(uv_async_t *wake) {
  (void)wake;
}

/* ---- life ---- */

static void run_stop(struct lc_task *task) {
  uv_stop(&lc_container_of(task, struct lc_worker, stop_task)->loop);
}

/* All handles but `wake` are in libuv's eyes no reason to go on. */
static void init_handles(struct lc_worker *worker) {
  uv_prepare_init(&worker->loop, &worker->prepare);
  uv_check_init(&worker->loop, &worker->check);
  uv_idle_init(&worker->loop, &worker->idle);
  uv_timer_init(&worker->loop, &worker->timer);
  worker->prepare.data = worker->check.data = worker->timer.data = worker;
  uv_prepare_start(&worker->prepare, on_prepare);
  uv_check_start(&worker->check, on_check);
  uv_unref((uv_handle_t *)&worker->prepare);
  uv_unref((uv_handle_t *)&worker->check);
  uv_unref((uv_handle_t *)&worker->idle);
  uv_unref((uv_handle_t *)&worker->timer);
}

int lc_worker_create(const struct lc_worker_config *config, struct lc_worker **out, struct lc_err *err) {
  struct lc_worker *worker = NULL;
  struct lc_mempool *pool = lc_mempool_create(POOL_KEEP_BYTES);
  if (pool == NULL)
    goto no_memory;
  worker = lc_calloc(1, sizeof *worker);
  if (worker == NULL)
    goto no_memory;
  worker->index = config->index;
  worker->buffer_limit_bytes = config->buffer_limit_bytes;
  worker->pool = pool;
  worker->tasks_end = &worker->tasks;
  worker->armed_ms = LC_TIME_NEVER;
  worker->stop_task.run = run_stop;
  atomic_init(&worker->inbox, NULL);
  atomic_init(&worker->stop_asked, false);
  lc_list_init(&worker->turn_ends);
  lc_timers_init(&worker->timers);
  int rc = uv_loop_init(&worker->loop);
  if (rc != 0)
    goto no_loop;
  rc = uv_async_init(&worker->loop, &worker->wake, on_wake);
  if (rc != 0) {
    uv_loop_close(&worker->loop);
    goto no_loop;
  }
  init_handles(worker);
  measure_clock_offset(worker);
  *out = worker;
  return 0;

no_loop:
  lc_free(worker);
  lc_mempool_destroy(pool);
  return lc_err_set(err, rc == UV_ENOMEM ? LC_ENOMEM : LC_EIO, "worker %u: no event loop: %s", config->index,
                    uv_strerror(rc));
no_memory:
  lc_mempool_destroy(pool);
  return lc_err_set(err, LC_ENOMEM, "worker %u: out of memory", config->index);
}

/* Goes on until nothing that stop() left to close is open, and no task waits. */
static void wind_down(struct lc_worker *worker) {
  uv_unref((uv_handle_t *)&worker->wake);
  for (;;) {
    if (uv_loop_alive(&worker->loop)) {
      uv_run(&worker->loop, UV_RUN_ONCE);
    } else if (has_work(worker)) {
      end_turn(worker);
    } else {
      break;
    }
  }
}

static void *thread_main(void *arg) {
  struct lc_worker *worker = arg;
  this_worker = worker;
  char name[16];
  snprintf(name, sizeof name, "worker-%u", worker->index);
  pthread_setname_np(pthread_self(), name);
  uv_update_time(&worker->loop);
  worker->result = worker->start != NULL ? worker->start(worker->arg) : 0;
  if (worker->result == 0) {
    uv_run(&worker->loop, UV_RUN_DEFAULT);
    if (worker->stop != NULL)
      worker->stop(worker->arg);
  }
  wind_down(worker);
  this_worker = NULL;
  return NULL;
}

/* With a stack of known size, whatever `ulimit -s` says: scripts run here, and their recursion is bounded against it.
 */
static int create_thread(struct lc_worker *worker) {
  pthread_attr_t attr;
  int rc = pthread_attr_init(&attr);
  if (rc != 0)
    return rc;
  rc = pthread_attr_setstacksize(&attr, STACK_BYTES);
  if (rc == 0)
    rc = pthread_create(&worker->thread, &attr, thread_main, worker);
  pthread_attr_destroy(&attr);
  return rc;
}

int lc_worker_run(struct lc_worker *worker, int (*start)(void *arg), void (*stop)(void *arg), void *arg) {
  worker->start = start;
  worker->stop = stop;
  worker->arg = arg;
  /* Signals are the main thread's; with SIGPIPE blocked here a write to a closed socket is just an error. */
  sigset_t all, before;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before);
  int rc = create_thread(worker);
  pthread_sigmask(SIG_SETMASK, &before, NULL);
  if (rc != 0)
    return rc == ENOMEM ? LC_ENOMEM : LC_EIO;
  worker->running = true;
  return 0;
}

void lc_worker_stop(struct lc_worker *worker) {
  if (!atomic_exchange(&worker->stop_asked, true))
    lc_worker_post(worker, &worker->stop_task);
}

int lc_worker_join(struct lc_worker *worker) {
  if (worker->running)
    pthread_join(worker->thread, NULL);
  worker->running = false;
  return worker->result;
}

void lc_worker_destroy(struct lc_worker *worker) {
  if (worker == NULL)
    return;
  uv_close((uv_handle_t *)&worker->prepare, NULL);
  uv_close((uv_handle_t *)&worker->check, NULL);
  uv_close((uv_handle_t *)&worker->idle, NULL);
  uv_close((uv_handle_t *)&worker->timer, NULL);
  /* Open until now, so that a late post from another worker is harmless. */
  uv_close((uv_handle_t *)&worker->wake, NULL);
  uv_run(&worker->loop, UV_RUN_DEFAULT);
  uv_loop_close(&worker->loop);
  lc_mempool_destroy(worker->pool);
  lc_free(worker);
}
