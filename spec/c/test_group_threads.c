/*
 * The domain on real threads: workers with mailboxes, random Gets, Sets, Deletes and cancels, loads that end later on
 * the worker they began on. Meant for TSan above all; it holds the promises to account as it runs.
 */
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "test_group_fake.h"

#define WORKERS 4u
#define KEYS 12u
#define RING 6u /* keys of group "h" that ask for each other in a circle */
#define CALLS 24u

struct world;

struct caller {
  struct lc_get get;
  struct worker *worker;
  bool pending;
  uint64_t acked; /* what the key's writer had finished when this Get began */
  uint64_t ended; /* writes and cancels of the key that had ended then */
  unsigned key;
  char name[16];
};

/* One running load, the loader's side. */
struct job {
  struct job *next, **link;
  struct lc_load *load; /* NULL once cancelled: only the nested Get keeps the job */
  uint64_t value;
  unsigned key;
  bool hangs, asks;
  struct lc_get nested;
  struct worker *worker;
};

struct worker {
  struct world *world;
  unsigned index;
  pthread_t thread;
  pthread_mutex_t lock;
  struct lc_task *head, **tail;
  struct lc_timers timers;
  uint64_t now_ms;
  uint64_t random;
  struct job *jobs;
  struct caller calls[CALLS];
  struct caller *starting;
  size_t pending, left;
};

/* What is known of a key of group "g", outside the cache. */
struct key {
  _Atomic uint64_t source;       /* what a load reads */
  _Atomic uint64_t acked;        /* the last write that was acknowledged */
  _Atomic uint64_t begun, ended; /* Sets, Deletes, cancels */
  pthread_mutex_t lock;
  struct lc_load *latest; /* the load that started last, while it runs */
  uint64_t latest_ended;  /* `ended` when its Get began */
};

struct world {
  struct lc_exec exec;
  struct lc_loader loader;
  struct lc_groups *groups;
  struct worker workers[WORKERS];
  struct key keys[KEYS];
  bool writes, cancels, hangs;
  atomic_size_t answered, idle_workers;
};

#define check(cond)                                                                                                    \
  do {                                                                                                                 \
    if (!(cond)) {                                                                                                     \
      fprintf(stderr, "%s:%d: does not hold: %s\n", __FILE__, __LINE__, #cond);                                        \
      abort();                                                                                                         \
    }                                                                                                                  \
  } while (0)

static unsigned draw(struct worker *worker, unsigned below) {
  worker->random = worker->random * 6364136223846793005u + 1442695040888963407u;
  return (unsigned)(worker->random >> 33) % below;
}

static void post(void *ctx, unsigned index, struct lc_task *task) {
  struct worker *worker = &((struct world *)ctx)->workers[index];
  pthread_mutex_lock(&worker->lock);
  task->next = NULL;
  *worker->tail = task;
  worker->tail = &task->next;
  pthread_mutex_unlock(&worker->lock);
}

static struct lc_timers *timers(void *ctx, unsigned index) {
  return &((struct world *)ctx)->workers[index].timers;
}

static uint64_t now_ms(void *ctx, unsigned index) {
  return ((struct world *)ctx)->workers[index].now_ms;
}

static void job_unlink(struct job *job) {
  *job->link = job->next;
  if (job->next)
    job->next->link = job->link;
}

static void job_link(struct worker *worker, struct job *job) {
  job->next = worker->jobs;
  job->link = &worker->jobs;
  if (job->next)
    job->next->link = &job->next;
  worker->jobs = job;
}

/*
 * Two loads of a key at once are right only if something detached the elder since its Get began. Which is the elder
 * isn't known here: a worker can be held up between beginning a flight and starting its load.
 */
static void key_starts(struct key *key, struct lc_load *load, uint64_t ended_before) {
  pthread_mutex_lock(&key->lock);
  if (key->latest) {
    uint64_t elder = key->latest_ended < ended_before ? key->latest_ended : ended_before;
    check(atomic_load(&key->begun) > elder);
  }
  key->latest = load;
  key->latest_ended = ended_before;
  pthread_mutex_unlock(&key->lock);
}

static void key_stops(struct key *key, const struct lc_load *load) {
  pthread_mutex_lock(&key->lock);
  if (key->latest == load)
    key->latest = NULL;
  pthread_mutex_unlock(&key->lock);
}

static void set_number(struct lc_load *load, uint64_t number) {
  lc_load_set_value(load, lc_slice_of(&number, sizeof number), -1);
}

static uint64_t number_of(const struct lc_item *item) {
  uint64_t number;
  check(lc_item_value(item).len == sizeof number);
  memcpy(&number, lc_item_value(item).ptr, sizeof number);
  return number;
}

static void job_end(struct job *job) {
  struct lc_load *load = job->load;
  if (!job->asks) {
    key_stops(&job->worker->world->keys[job->key], load);
    set_number(load, job->value);
  }
  free(job);
  lc_load_done(load);
}

static void nested_done(struct lc_get *get) {
  struct job *job = lc_container_of(get, struct job, nested);
  if (job->load) {
    lc_load_set_error(job->load, LC_EINTERNAL, get->message, strlen(get->message));
    lc_get_fini(get);
    job_end(job);
  } else {
    lc_get_fini(get);
    free(job);
  }
}

/* A key of "h" asks for the next one: whoever closes the circle is refused, and the refusal travels back. */
static int start_asking(struct worker *worker, struct lc_load *load, struct job *job) {
  static const char *const names[RING] = {"0", "1", "2", "3", "4", "5"};
  unsigned own = (unsigned)(lc_load_key(load).ptr[0] - '0');
  job->asks = true;
  job->nested = (struct lc_get){.group = lc_slice_str("h"),
                                .key = lc_slice_str(names[(own + 1) % RING]),
                                .worker = worker->index,
                                .parent = load,
                                .done = nested_done};
  int rc = lc_group_get(worker->world->groups, &job->nested);
  if (rc == LC_PENDING)
    return LC_PENDING;
  lc_load_set_error(load, LC_EINTERNAL, job->nested.message, strlen(job->nested.message));
  lc_get_fini(&job->nested);
  free(job);
  return LC_OK;
}

static int start(void *ctx, struct lc_load *load) {
  struct world *world = ctx;
  struct worker *worker = &world->workers[lc_load_worker(load)];
  struct job *job = calloc(1, sizeof *job);
  job->load = load;
  job->worker = worker;
  lc_load_set_impl(load, job);
  if (lc_load_group_index(load) == 1)
    return start_asking(worker, load, job);
  job->key = worker->starting->key;
  struct key *key = &world->keys[job->key];
  key_starts(key, load, worker->starting->ended);
  job->value = atomic_load(&key->source);
  job->hangs = world->hangs && draw(worker, 50) == 0;
  if (!job->hangs && draw(worker, 8) == 0) {
    key_stops(key, load);
    set_number(load, job->value);
    free(job);
    return LC_OK;
  }
  job_link(worker, job);
  return LC_PENDING;
}

static void cancel(void *ctx, struct lc_load *load) {
  struct world *world = ctx;
  struct job *job = lc_load_impl(load);
  job->load = NULL;
  if (!job->asks) {
    key_stops(&world->keys[job->key], load);
    job_unlink(job);
    free(job);
  } else if (lc_get_cancel(world->groups, &job->nested)) {
    lc_get_fini(&job->nested);
    free(job);
  }
}

static void evicted(void *ctx, unsigned group_index, struct lc_item *item, int reason) {
  (void)ctx;
  (void)reason;
  check(group_index == 0);
  check(lc_item_value(item).len == 0);
}

static void call_over(struct caller *call) {
  struct worker *worker = call->worker;
  if (call->get.code == LC_OK) {
    check(number_of(call->get.item) >= call->acked);
  } else {
    check(call->get.code == LC_ECANCELLED || call->get.code == LC_EINTERNAL ||
          (worker->world->hangs && call->get.code == LC_EDEADLINE));
  }
  if (call->pending)
    worker->pending--;
  call->pending = false;
  lc_get_fini(&call->get);
  atomic_fetch_add(&worker->world->answered, 1);
}

static void call_done(struct lc_get *get) {
  call_over(lc_container_of(get, struct caller, get));
}

static void begin_get(struct worker *worker) {
  struct world *world = worker->world;
  struct caller *call = &worker->calls[draw(worker, CALLS)];
  if (call->pending)
    return;
  bool asks = draw(worker, 4) == 0;
  memset(call, 0, sizeof *call);
  call->worker = worker;
  call->key = draw(worker, asks ? RING : KEYS);
  snprintf(call->name, sizeof call->name, "%u", call->key);
  call->get.group = lc_slice_str(asks ? "h" : "g");
  call->get.key = lc_slice_str(call->name);
  call->get.worker = worker->index;
  call->get.done = call_done;
  if (!asks) {
    call->ended = atomic_load(&world->keys[call->key].ended);
    call->acked = atomic_load(&world->keys[call->key].acked);
  }
  worker->left--;
  worker->starting = call;
  if (lc_group_get(world->groups, &call->get) == LC_PENDING) {
    call->pending = true;
    worker->pending++;
  } else {
    call_over(call);
  }
}

/* Each key has one writer, so that its writes have an order to be held against. */
static void write_key(struct worker *worker) {
  unsigned index = worker->index + WORKERS * draw(worker, KEYS / WORKERS);
  struct key *key = &worker->world->keys[index];
  char name[16];
  snprintf(name, sizeof name, "%u", index);
  uint64_t value = atomic_fetch_add(&key->source, 1) + 1;
  struct lc_write write = {.group = lc_slice_str("g"),
                           .key = lc_slice_str(name),
                           .worker = worker->index,
                           .value = lc_slice_of(&value, sizeof value)};
  atomic_fetch_add(&key->begun, 1);
  if (draw(worker, 2) == 0) {
    check(lc_group_set(worker->world->groups, &write) == LC_OK);
  } else {
    check(lc_group_delete(worker->world->groups, &write) == LC_OK);
  }
  atomic_fetch_add(&key->ended, 1);
  atomic_store(&key->acked, value);
}

/* Only every other caller ever gives up: a load that hangs for one who doesn't must time out. */
static void cancel_some(struct worker *worker) {
  struct caller *call = &worker->calls[2 * draw(worker, CALLS / 2)];
  if (!call->pending)
    return;
  struct key *key = &worker->world->keys[call->key];
  atomic_fetch_add(&key->begun, 1);
  bool over = lc_get_cancel(worker->world->groups, &call->get);
  atomic_fetch_add(&key->ended, 1);
  if (over)
    call_over(call);
}

static void end_some_jobs(struct worker *worker) {
  struct job *next;
  for (struct job *job = worker->jobs; job; job = next) {
    next = job->next;
    if (job->hangs || draw(worker, 3) > 0)
      continue;
    job_unlink(job);
    job_end(job);
  }
}

static bool run_tasks(struct worker *worker) {
  pthread_mutex_lock(&worker->lock);
  struct lc_task *task = worker->head;
  worker->head = NULL;
  worker->tail = &worker->head;
  pthread_mutex_unlock(&worker->lock);
  bool any = task != NULL;
  for (struct lc_task *next; task; task = next) {
    next = task->next;
    task->run(task);
  }
  return any;
}

static void turn(struct worker *worker) {
  struct world *world = worker->world;
  worker->now_ms = lc_clock_ms();
  lc_timers_expire(&worker->timers, worker->now_ms);
  bool busy = run_tasks(worker);
  end_some_jobs(worker);
  for (int i = 0; i < 4 && worker->left > 0; i++)
    begin_get(worker);
  if (world->writes && worker->left > 0 && draw(worker, 3) == 0)
    write_key(worker);
  if (world->cancels && draw(worker, 3) == 0)
    cancel_some(worker);
  if (draw(worker, 16) == 0)
    lc_groups_sweep(world->groups, worker->index);
  if (!busy && (worker->left == 0 || worker->pending == CALLS))
    sched_yield();
}

/* A worker goes on until nobody anywhere needs it: others' waiters may hang on its loads. */
static void *work(void *arg) {
  struct worker *worker = arg;
  struct world *world = worker->world;
  while (worker->left > 0 || worker->pending > 0)
    turn(worker);
  atomic_fetch_add(&world->idle_workers, 1);
  while (atomic_load(&world->idle_workers) < WORKERS || lc_groups_flights(world->groups) > 0)
    turn(worker);
  return NULL;
}

static void world_open(struct world *world, uint64_t timeout_ms) {
  struct lc_group_options options[2];
  world->exec = (struct lc_exec){world, WORKERS, post, timers, now_ms};
  world->loader = (struct lc_loader){world, start, cancel, evicted};
  for (int i = 0; i < 2; i++) {
    lc_group_options_init(&options[i]);
    options[i].name = i == 0 ? "g" : "h";
    options[i].limit_bytes = 1u << 20;
    options[i].timeout_ms = i == 0 ? timeout_ms : 600000;
  }
  options[0].ttl_ms = 5;
  options[0].wants_evict = true;
  const struct lc_groups_config config = {
      .options = options, .count = 2, .memory_bytes = 4u << 20, .exec = &world->exec, .loader = &world->loader};
  assert_int_equal(lc_groups_create(&config, &world->groups, NULL), LC_OK);
  for (unsigned i = 0; i < KEYS; i++)
    pthread_mutex_init(&world->keys[i].lock, NULL);
}

static void world_run(struct world *world, size_t gets) {
  for (unsigned i = 0; i < WORKERS; i++) {
    struct worker *worker = &world->workers[i];
    worker->world = world;
    worker->index = i;
    worker->random = 77 + i;
    worker->left = gets;
    worker->tail = &worker->head;
    worker->now_ms = lc_clock_ms();
    lc_timers_init(&worker->timers);
    pthread_mutex_init(&worker->lock, NULL);
  }
  alarm(120); /* a Get that is never answered would wait for ever */
  for (unsigned i = 0; i < WORKERS; i++) {
    assert_int_equal(pthread_create(&world->workers[i].thread, NULL, work, &world->workers[i]), 0);
  }
  for (unsigned i = 0; i < WORKERS; i++)
    pthread_join(world->workers[i].thread, NULL);
  for (unsigned i = 0; i < WORKERS; i++)
    run_tasks(&world->workers[i]);
  alarm(0);
}

/* Runs it, holds the sums against each other, returns group "g"'s statistics. */
static struct lc_group_stats live(struct world *world, uint64_t timeout_ms, size_t gets) {
  struct lc_group_stats stats[2];
  world_open(world, timeout_ms);
  world_run(world, gets);
  for (size_t i = 0; i < 2; i++) {
    lc_group_stats(world->groups, i, &stats[i]);
    assert_int_equal(stats[i].flights, 0);
    assert_int_equal(stats[i].waiters, 0);
  }
  assert_int_equal(world->answered, WORKERS * gets);
  assert_int_equal(stats[1].timeouts, 0);
  assert_true(stats[1].load_errors > 0);
  assert_true(stats[0].hits > 0);
  assert_true(stats[0].coalesced > 0);
  lc_groups_destroy(world->groups);
  return stats[0];
}

static void test_without_writes_two_loads_of_a_key_never_run_at_once(void **state) {
  (void)state;
  struct world *world = calloc(1, sizeof *world);
  struct lc_group_stats stats = live(world, 600000, 20000);
  assert_int_equal(stats.load_errors, 0);
  free(world);
}

static void test_after_a_write_no_get_returns_an_older_value(void **state) {
  (void)state;
  struct world *world = calloc(1, sizeof *world);
  world->writes = true;
  struct lc_group_stats stats = live(world, 600000, 20000);
  assert_true(stats.sets > 0);
  assert_true(stats.deletes > 0);
  assert_int_equal(stats.load_errors, 0);
  free(world);
}

static void test_writes_cancels_and_timeouts_together_answer_every_get(void **state) {
  (void)state;
  struct world *world = calloc(1, sizeof *world);
  world->writes = world->cancels = world->hangs = true;
  struct lc_group_stats stats = live(world, 3, 10000);
  assert_true(stats.timeouts > 0);
  free(world);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_without_writes_two_loads_of_a_key_never_run_at_once),
      cmocka_unit_test(test_after_a_write_no_get_returns_an_older_value),
      cmocka_unit_test(test_writes_cancels_and_timeouts_together_answer_every_get),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
