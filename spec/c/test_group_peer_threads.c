#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/clock.h"
#include "group/group.h"

/*
 * Two nodes of two workers each, all threads of this process; what goes between the nodes is posted from mailbox to
 * mailbox. Even keys are the first node's. Each key has one writer, so that what a Get may answer is known: nothing
 * older than the last write that was over when it began.
 */
#define NODES 2u
#define WORKERS 2u
#define KEYS 8u
#define ROUNDS 10000u
#define CALLS 16u
#define LOG (1u << 16)

static void check_at(bool holds, const char *what, int line) {
  if (holds)
    return;
  fprintf(stderr, "line %d: %s\n", line, what);
  abort();
}
#define check(condition) check_at(condition, #condition, __LINE__)

struct key {
  atomic_uint_fast64_t source; /* what the source has */
  atomic_uint_fast64_t acked;  /* of the last write that was over */
};

struct worker;

struct caller {
  struct lc_get get;
  struct worker *worker;
  bool pending;
  uint64_t acked; /* when it began */
  char name[16];
};

struct worker {
  struct node *node;
  unsigned index, number, seed;
  pthread_t thread;
  pthread_mutex_t lock;
  struct lc_task *head, **tail;
  struct lc_timers timers;
  struct caller calls[CALLS];
  struct lc_write write;
  char write_name[16];
  uint64_t write_value;
  bool writing;
  unsigned pending, rounds;
};

struct node {
  struct sim *sim;
  unsigned index;
  struct lc_exec exec;
  struct lc_loader loader;
  struct lc_peers peers;
  struct lc_groups *groups;
  struct worker workers[WORKERS];
  pthread_mutex_t log_lock;
  uint64_t head;
  unsigned log[LOG];
  uint64_t applied; /* of the other's log; its worker 0's */
};

struct sim {
  struct node nodes[NODES];
  struct key keys[KEYS];
  atomic_uint busy; /* workers that have something left to do */
};

static unsigned draw(struct worker *worker, unsigned below) {
  worker->seed = worker->seed * 1103515245u + 12345u;
  return (worker->seed >> 16) % below;
}

static unsigned number_of(struct lc_slice key) {
  return (unsigned)atoi((const char[]){(char)key.ptr[0], '\0'});
}

static uint64_t value_of(struct lc_slice value) {
  uint64_t number;
  check(value.len == sizeof number);
  memcpy(&number, value.ptr, sizeof number);
  return number;
}

/* ---- what a worker is ---- */

static void post_to(struct worker *worker, struct lc_task *task) {
  pthread_mutex_lock(&worker->lock);
  task->next = NULL;
  *worker->tail = task;
  worker->tail = &task->next;
  pthread_mutex_unlock(&worker->lock);
}

static void post(void *ctx, unsigned worker, struct lc_task *task) {
  post_to(&((struct node *)ctx)->workers[worker], task);
}

static struct lc_timers *timers(void *ctx, unsigned worker) {
  return &((struct node *)ctx)->workers[worker].timers;
}

static uint64_t now_ms(void *ctx, unsigned worker) {
  (void)ctx, (void)worker;
  return lc_clock_ms();
}

static bool run_tasks(struct worker *worker) {
  pthread_mutex_lock(&worker->lock);
  struct lc_task *task = worker->head;
  worker->head = NULL;
  worker->tail = &worker->head;
  pthread_mutex_unlock(&worker->lock);
  bool any = task;
  while (task) {
    struct lc_task *next = task->next;
    task->run(task);
    task = next;
  }
  return any;
}

/* ---- loads: the source is read when they begin, and answers later ---- */

struct job {
  struct lc_task task;
  struct lc_load *load; /* NULL: cancelled */
  uint64_t value;
};

static void job_end(struct lc_task *task) {
  struct job *job = lc_container_of(task, struct job, task);
  if (job->load) {
    lc_load_set_value(job->load, lc_slice_of(&job->value, sizeof job->value), -1);
    lc_load_done(job->load);
  }
  free(job);
}

static int load_start(void *ctx, struct lc_load *load) {
  struct node *node = ctx;
  struct job *job = calloc(1, sizeof *job);
  *job = (struct job){.task.run = job_end, .load = load};
  job->value = atomic_load(&node->sim->keys[number_of(lc_load_key(load))].source);
  lc_load_set_impl(load, job);
  post(node, lc_load_worker(load), &job->task);
  return LC_PENDING;
}

static void load_cancel(void *ctx, struct lc_load *load) {
  (void)ctx;
  ((struct job *)lc_load_impl(load))->load = NULL;
}

/* ---- the other node ---- */

static struct node *other_of(struct node *node) {
  return &node->sim->nodes[1 - node->index];
}

static bool owns(void *ctx, unsigned worker, struct lc_slice group, struct lc_slice key) {
  (void)worker, (void)group;
  return number_of(key) % NODES == ((struct node *)ctx)->index;
}

static unsigned view(void *ctx, unsigned worker) {
  (void)ctx, (void)worker;
  return 1;
}

static bool fresh(void *ctx, unsigned worker) {
  (void)ctx, (void)worker;
  return true;
}

static void wait_fresh(void *ctx, unsigned worker, struct lc_peer_fresh *waiting) {
  (void)ctx, (void)worker, (void)waiting;
  abort();
}

static void refresh(void *ctx) {
  (void)ctx;
}

static void cork(void *ctx, unsigned worker) {
  (void)ctx, (void)worker;
}

struct remote {
  struct lc_task task;
  struct node *from;
  struct lc_peer_get *get; /* NULL: cancelled; the asking worker's */
  struct lc_peer_write *write;
  unsigned worker;
  char key[4];
  struct lc_get there;
  struct lc_write written;
};

static void get_back(struct lc_task *task) {
  struct remote *remote = lc_container_of(task, struct remote, task);
  struct lc_peer_get *get = remote->get;
  if (get) {
    bool ok = remote->there.code == LC_OK;
    get->outcome = ok ? LC_PEER_VALUE : LC_PEER_FAILED;
    get->code = remote->there.code;
    get->message = lc_slice_str(remote->there.message);
    if (ok)
      get->value = lc_item_value(remote->there.item);
    get->keep = true;
    get->done(get);
  }
  lc_get_fini(&remote->there);
  free(remote);
}

static void got_there(struct lc_get *get) {
  struct remote *remote = lc_container_of(get, struct remote, there);
  remote->task.run = get_back;
  post(remote->from, remote->worker, &remote->task);
}

static void get_there(struct lc_task *task) {
  struct remote *remote = lc_container_of(task, struct remote, task);
  if (lc_group_get(other_of(remote->from)->groups, &remote->there) != LC_PENDING)
    got_there(&remote->there);
}

static struct remote *remote_create(struct node *from, struct lc_slice key, unsigned worker) {
  struct remote *remote = calloc(1, sizeof *remote);
  remote->from = from;
  remote->worker = worker;
  memcpy(remote->key, key.ptr, key.len);
  return remote;
}

static int peer_get(void *ctx, struct lc_peer_get *get) {
  if (get->peek)
    return LC_EUNAVAILABLE;
  struct remote *remote = remote_create(ctx, get->key, get->worker);
  remote->get = get;
  get->impl[0] = remote;
  remote->there.group = lc_slice_str("g");
  remote->there.key = lc_slice_str(remote->key);
  remote->there.worker = get->worker;
  remote->there.forwarded = true;
  remote->there.refresh = get->refresh;
  remote->there.done = got_there;
  remote->task.run = get_there;
  post(other_of(ctx), get->worker, &remote->task);
  return LC_PENDING;
}

static void cancel_get(void *ctx, struct lc_peer_get *get) {
  (void)ctx;
  ((struct remote *)get->impl[0])->get = NULL;
}

static void write_back(struct lc_task *task) {
  struct remote *remote = lc_container_of(task, struct remote, task);
  struct lc_peer_write *write = remote->write;
  check(remote->written.code == LC_OK);
  write->outcome = LC_PEER_OK;
  write->done(write);
  free(remote);
}

static void written_there(struct lc_write *write) {
  struct remote *remote = lc_container_of(write, struct remote, written);
  remote->task.run = write_back;
  post(remote->from, remote->worker, &remote->task);
}

static void write_there(struct lc_task *task) {
  struct remote *remote = lc_container_of(task, struct remote, task);
  struct lc_groups *groups = other_of(remote->from)->groups;
  struct lc_peer_write *write = remote->write; /* the asker waits for us, so it stays as it is */
  int code;
  if (write->item) {
    remote->written.value = lc_item_value(write->item);
    code = lc_group_set(groups, &remote->written);
  } else {
    code = lc_group_delete(groups, &remote->written);
  }
  if (code != LC_PENDING)
    written_there(&remote->written);
}

static int peer_write(void *ctx, struct lc_peer_write *write) {
  struct remote *remote = remote_create(ctx, write->key, write->worker);
  remote->write = write;
  remote->written.group = lc_slice_str("g");
  remote->written.key = lc_slice_str(remote->key);
  remote->written.worker = write->worker;
  remote->written.forwarded = true;
  remote->written.done = written_there;
  remote->task.run = write_there;
  post(other_of(ctx), write->worker, &remote->task);
  return LC_PENDING;
}

static uint64_t written(void *ctx, struct lc_slice group, struct lc_slice key) {
  struct node *node = ctx;
  (void)group;
  pthread_mutex_lock(&node->log_lock);
  uint64_t seq = ++node->head;
  node->log[seq % LOG] = number_of(key);
  pthread_mutex_unlock(&node->log_lock);
  return seq;
}

/* Brings the other node's copies up to the write's number, then comes back. */
struct news {
  struct lc_task task;
  struct node *from;
  struct lc_peer_wait *wait;
};

static void news_back(struct lc_task *task) {
  struct news *news = lc_container_of(task, struct news, task);
  struct lc_peer_wait *wait = news->wait;
  free(news);
  wait->done(wait);
}

static void news_there(struct lc_task *task) {
  struct news *news = lc_container_of(task, struct news, task);
  struct node *there = other_of(news->from);
  while (there->applied < news->wait->seq) {
    pthread_mutex_lock(&news->from->log_lock);
    unsigned key = news->from->log[++there->applied % LOG];
    pthread_mutex_unlock(&news->from->log_lock);
    char name[4] = {(char)('0' + key), '\0'};
    lc_group_invalidate(there->groups, lc_slice_str("g"), lc_slice_str(name), 0, NULL, NULL);
  }
  news->task.run = news_back;
  post(news->from, news->wait->worker, &news->task);
}

static int wait_known(void *ctx, struct lc_peer_wait *wait) {
  struct news *news = calloc(1, sizeof *news);
  *news = (struct news){.task.run = news_there, .from = ctx, .wait = wait};
  post(other_of(ctx), 0, &news->task);
  return LC_PENDING;
}

static bool cancel_wait(void *ctx, struct lc_peer_wait *wait) {
  (void)ctx, (void)wait;
  return false;
}

/* ---- what the workers do ---- */

static void call_over(struct caller *call) {
  if (call->pending)
    call->worker->pending--;
  call->pending = false;
  if (call->get.code == LC_OK)
    check(value_of(lc_item_value(call->get.item)) >= call->acked);
  else
    check(call->get.code == LC_ECANCELLED);
  lc_get_fini(&call->get);
}

static void call_done(struct lc_get *get) {
  call_over(lc_container_of(get, struct caller, get));
}

static bool begin_get(struct worker *worker) {
  struct caller *call = &worker->calls[draw(worker, CALLS)];
  if (call->pending)
    return false;
  unsigned key = draw(worker, KEYS);
  memset(call, 0, sizeof *call);
  call->worker = worker;
  snprintf(call->name, sizeof call->name, "%u", key);
  call->get.group = lc_slice_str("g");
  call->get.key = lc_slice_str(call->name);
  call->get.worker = worker->index;
  call->get.refresh = draw(worker, 50) == 0;
  call->get.done = call_done;
  call->acked = atomic_load(&worker->node->sim->keys[key].acked);
  if (lc_group_get(worker->node->groups, &call->get) == LC_PENDING) {
    call->pending = true;
    worker->pending++;
  } else {
    call_over(call);
  }
  return true;
}

static void write_over(struct lc_write *write) {
  struct worker *worker = lc_container_of(write, struct worker, write);
  check(write->code == LC_OK);
  worker->writing = false;
  atomic_store(&worker->node->sim->keys[number_of(lc_slice_str(worker->write_name))].acked, worker->write_value);
}

static void begin_write(struct worker *worker) {
  if (worker->writing)
    return;
  unsigned all = NODES * WORKERS;
  unsigned key = worker->number + all * draw(worker, KEYS / all);
  snprintf(worker->write_name, sizeof worker->write_name, "%u", key);
  worker->write_value = atomic_fetch_add(&worker->node->sim->keys[key].source, 1) + 1;
  worker->write = (struct lc_write){.group = lc_slice_str("g"),
                                    .key = lc_slice_str(worker->write_name),
                                    .worker = worker->index,
                                    .value = lc_slice_of(&worker->write_value, sizeof worker->write_value),
                                    .done = write_over};
  worker->writing = true;
  int code = draw(worker, 3) ? lc_group_set(worker->node->groups, &worker->write)
                             : lc_group_delete(worker->node->groups, &worker->write);
  if (code != LC_PENDING)
    write_over(&worker->write);
}

static void cancel_one(struct worker *worker) {
  struct caller *call = &worker->calls[draw(worker, CALLS)];
  if (call->pending && lc_get_cancel(worker->node->groups, &call->get))
    call_over(call);
}

static void play(struct worker *worker) {
  if (!begin_get(worker)) {
    sched_yield();
    return;
  }
  worker->rounds++;
  if (draw(worker, 20) == 0)
    begin_write(worker);
  if (draw(worker, 10) == 0)
    cancel_one(worker);
}

static void *run(void *arg) {
  struct worker *worker = arg;
  struct sim *sim = worker->node->sim;
  bool busy = true;
  while (atomic_load(&sim->busy) > 0) {
    bool ran = run_tasks(worker);
    if (worker->rounds < ROUNDS)
      play(worker);
    else if (busy && !worker->pending && !worker->writing) {
      busy = false;
      atomic_fetch_sub(&sim->busy, 1);
    } else if (!ran) {
      sched_yield();
    }
    lc_timers_expire(&worker->timers, lc_clock_ms());
  }
  return NULL;
}

static void node_init(struct sim *sim, unsigned index) {
  struct node *node = &sim->nodes[index];
  struct lc_group_options options;
  node->sim = sim;
  node->index = index;
  pthread_mutex_init(&node->log_lock, NULL);
  node->exec = (struct lc_exec){node, WORKERS, post, timers, now_ms};
  node->loader = (struct lc_loader){node, load_start, load_cancel, NULL};
  node->peers = (struct lc_peers){.ctx = node,
                                  .view = view,
                                  .owns = owns,
                                  .fresh = fresh,
                                  .wait_fresh = wait_fresh,
                                  .get = peer_get,
                                  .cancel_get = cancel_get,
                                  .cork = cork,
                                  .uncork = cork,
                                  .write = peer_write,
                                  .refresh = refresh,
                                  .written = written,
                                  .wait = wait_known,
                                  .cancel_wait = cancel_wait};
  for (unsigned i = 0; i < WORKERS; i++) {
    struct worker *worker = &node->workers[i];
    worker->node = node;
    worker->index = i;
    worker->number = index * WORKERS + i;
    worker->seed = 77 + worker->number;
    worker->tail = &worker->head;
    pthread_mutex_init(&worker->lock, NULL);
    lc_timers_init(&worker->timers);
  }
  lc_group_options_init(&options);
  options.name = "g";
  options.timeout_ms = 60000;
  const struct lc_groups_config config = {.options = &options,
                                          .count = 1,
                                          .memory_bytes = 16u << 20,
                                          .max_message_bytes = 1u << 20,
                                          .exec = &node->exec,
                                          .loader = &node->loader,
                                          .peers = &node->peers};
  check(lc_groups_create(&config, &node->groups, NULL) == LC_OK);
}

/* What was cancelled may still be on its way from one mailbox to another. */
static void settle(struct sim *sim) {
  for (bool ran = true; ran;) {
    ran = false;
    for (unsigned i = 0; i < NODES * WORKERS; i++)
      ran = run_tasks(&sim->nodes[i / WORKERS].workers[i % WORKERS]) || ran;
  }
}

static void test_no_get_is_older_than_a_write_that_was_over_on_any_node(void **state) {
  (void)state;
  struct sim *sim = calloc(1, sizeof *sim);
  for (unsigned i = 0; i < NODES; i++)
    node_init(sim, i);
  atomic_store(&sim->busy, NODES * WORKERS);
  for (unsigned i = 0; i < NODES * WORKERS; i++) {
    struct worker *worker = &sim->nodes[i / WORKERS].workers[i % WORKERS];
    check(pthread_create(&worker->thread, NULL, run, worker) == 0);
  }
  for (unsigned i = 0; i < NODES * WORKERS; i++)
    pthread_join(sim->nodes[i / WORKERS].workers[i % WORKERS].thread, NULL);
  settle(sim);
  struct lc_group_stats stats, sum = {0};
  for (unsigned i = 0; i < NODES; i++) {
    lc_group_stats(sim->nodes[i].groups, 0, &stats);
    sum.mirror_hits += stats.mirror_hits;
    sum.forwards += stats.forwards;
    sum.served += stats.served;
    sum.invalidated += stats.invalidated;
    assert_int_equal(lc_groups_flights(sim->nodes[i].groups), 0);
    assert_int_equal(stats.flights, 0);
    lc_groups_destroy(sim->nodes[i].groups);
  }
  assert_true(sum.mirror_hits > 0);
  assert_true(sum.forwards > 0);
  assert_int_equal(sum.served, sum.forwards);
  assert_true(sum.invalidated > 0);
  free(sim);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_no_get_is_older_than_a_write_that_was_over_on_any_node),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
