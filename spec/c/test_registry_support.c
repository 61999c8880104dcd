#include "test_registry_support.h"

#include <sys/mman.h>

/* ---- what is told ---- */

static void add(char *text, size_t size, const char *mark, const char *address, unsigned weight) {
  size_t used = strlen(text);
  if (weight != 0) {
    snprintf(text + used, size - used, "%s%s*%u ", mark, address, weight);
  } else {
    snprintf(text + used, size - used, "%s%s ", mark, address);
  }
}

static void told(struct world *world) {
  pthread_mutex_unlock(&world->lock);
  if (world->destroys) {
    world->destroys = false;
    lc_registry_destroy(world->registry);
    world->registry = NULL;
    gate_raise(&world->left);
  }
}

static void on_list(void *arg, const struct lc_registry_member *members, size_t count) {
  struct world *world = arg;
  pthread_mutex_lock(&world->lock);
  world->lists++;
  world->list_count = count;
  world->list[0] = '\0';
  for (size_t i = 0; i < count; i++)
    add(world->list, sizeof world->list, "", members[i].address, members[i].weight);
  told(world);
}

static void on_put(void *arg, const struct lc_registry_member *member) {
  struct world *world = arg;
  pthread_mutex_lock(&world->lock);
  world->puts++;
  add(world->events, sizeof world->events, "+", member->address, member->weight);
  told(world);
}

static void on_delete(void *arg, const char *address) {
  struct world *world = arg;
  pthread_mutex_lock(&world->lock);
  world->deletes++;
  add(world->events, sizeof world->events, "-", address, 0);
  told(world);
}

static void on_reach(void *arg, bool reached, const char *why) {
  struct world *world = arg;
  pthread_mutex_lock(&world->lock);
  if (reached) {
    world->reached++;
  } else {
    world->unreached++;
    snprintf(world->why, sizeof world->why, "%s", why);
  }
  told(world);
}

bool was_told(struct world *world, const char *event) {
  pthread_mutex_lock(&world->lock);
  bool found = strstr(world->events, event) != NULL;
  pthread_mutex_unlock(&world->lock);
  return found;
}

bool list_is(struct world *world, const char *list) {
  pthread_mutex_lock(&world->lock);
  bool same = world->lists > 0 && strcmp(world->list, list) == 0;
  pthread_mutex_unlock(&world->lock);
  return same;
}

static unsigned read_count(struct world *world, const unsigned *count) {
  pthread_mutex_lock(&world->lock);
  unsigned n = *count;
  pthread_mutex_unlock(&world->lock);
  return n;
}

unsigned lists_of(struct world *world) {
  return read_count(world, &world->lists);
}

unsigned reached_of(struct world *world) {
  return read_count(world, &world->reached);
}

unsigned unreached_of(struct world *world) {
  return read_count(world, &world->unreached);
}

/* The log's thread writes in its own time: callers wait for what they expect, and flush by what came after. */
unsigned lines_with(struct world *world, const char *text) {
  static char log[1 << 20];
  ssize_t n = pread(world->log_fd, log, sizeof log - 1, 0);
  unsigned count = 0;
  log[n > 0 ? n : 0] = '\0';
  for (const char *at = log; (at = strstr(at, text)) != NULL; at++)
    count++;
  return count;
}

/* ---- on the worker ---- */

struct act {
  struct world *world;
  uint64_t number;
  bool flag;
};

static void do_create(void *arg) {
  static const struct lc_registry_handler handler = {on_list, on_put, on_delete, on_reach};
  struct world *world = arg;
  world->registry = NULL;
  world->rc = lc_registry_etcd_create(&world->config, &handler, world, &world->registry, &world->err);
}

static void do_start(void *arg) {
  lc_registry_start(((struct world *)arg)->registry);
}

static void do_enter(void *arg) {
  struct act *act = arg;
  lc_registry_enter(act->world->registry, SELF, (unsigned)act->number);
}

static void on_left(void *arg) {
  gate_raise(&((struct world *)arg)->left);
}

static void do_leave(void *arg) {
  struct act *act = arg;
  lc_registry_leave(act->world->registry, act->number, on_left, act->world);
}

static void do_refresh(void *arg) {
  lc_registry_refresh(((struct world *)arg)->registry);
}

static void do_destroy(void *arg) {
  struct world *world = arg;
  lc_registry_destroy(world->registry);
  world->registry = NULL;
}

static void do_ask(void *arg) {
  struct act *act = arg;
  act->flag = lc_registry_entered(act->world->registry);
}

void create_registry(struct world *world) {
  on_worker(world->worker, do_create, world);
}

void begin(struct world *world) {
  create_registry(world);
  assert_int_equal(world->rc, 0);
  on_worker(world->worker, do_start, world);
}

void enter(struct world *world, unsigned weight) {
  struct act act = {.world = world, .number = weight};
  on_worker(world->worker, do_enter, &act);
}

void begin_entered(struct world *world) {
  begin(world);
  enter(world, 1);
  WAIT_FOR(is_entered(world));
}

void leave(struct world *world, uint64_t timeout_ms) {
  struct act act = {.world = world, .number = timeout_ms};
  on_worker(world->worker, do_leave, &act);
}

void refresh(struct world *world) {
  on_worker(world->worker, do_refresh, world);
}

void destroy_registry(struct world *world) {
  on_worker(world->worker, do_destroy, world);
}

bool is_entered(struct world *world) {
  struct act act = {.world = world};
  on_worker(world->worker, do_ask, &act);
  return act.flag;
}

/* ---- the world ---- */

static void create_fetcher(void *arg) {
  struct world *world = arg;
  struct lc_fetcher_config config = {.worker = world->worker, .max_response_bytes = 1 << 20};
  assert_int_equal(lc_fetcher_create(&config, &world->fetcher, NULL), 0);
}

static void on_closed(void *arg) {
  gate_raise(&((struct world *)arg)->closed);
}

static void destroy_fetcher(void *arg) {
  struct world *world = arg;
  lc_fetcher_destroy(world->fetcher, on_closed, world);
}

int world_setup(void **state) {
  struct world *world = calloc(1, sizeof *world);
  world->closed = world->left = (struct gate)GATE_INIT;
  pthread_mutex_init(&world->lock, NULL);
  fake_start(&world->etcd);
  world->log_fd = memfd_create("log", MFD_CLOEXEC);
  assert_int_equal(lc_log_create(world->log_fd, LC_LOG_INFO, LC_LOG_TEXT, &world->log), 0);
  world->worker = start_worker(0);
  on_worker(world->worker, create_fetcher, world);
  world->urls[0] = world->etcd.url;
  world->config = (struct lc_etcd_config){.worker = world->worker,
                                          .fetcher = world->fetcher,
                                          .endpoints = world->urls,
                                          .endpoint_count = 1,
                                          .service = "lcache",
                                          .lease_ms = 2000,
                                          .reconcile_ms = 200,
                                          .log = world->log};
  *state = world;
  return 0;
}

int world_teardown(void **state) {
  struct world *world = *state;
  destroy_registry(world);
  on_worker(world->worker, destroy_fetcher, world);
  gate_wait(&world->closed, 1);
  end_worker(world->worker);
  lc_log_destroy(world->log);
  close(world->log_fd);
  fake_stop(&world->etcd);
  free(world);
  return 0;
}
