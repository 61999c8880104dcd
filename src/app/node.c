#include "app/node.h"

#include <stdio.h>

#include "app/exec.h"
#include "app/node_internal.h"
#include "base/alloc.h"
#include "base/clock.h"
#include "base/version.h"

#define WATCH_MS 250u

static void on_wake(uv_async_t *wake) {
  lc_node_advance(wake->data);
}

static void on_watch(uv_timer_t *watch) {
  lc_node_watch(watch->data, lc_clock_ms());
}

static int open_loop(struct lc_node *node, struct lc_err *err) {
  int rc = uv_loop_init(&node->loop);
  if (rc == 0) {
    rc = uv_async_init(&node->loop, &node->wake, on_wake);
    if (rc)
      uv_loop_close(&node->loop);
  }
  if (rc)
    return lc_err_set(err, rc == UV_ENOMEM ? LC_ENOMEM : LC_EIO, "no event loop: %s", uv_strerror(rc));
  node->loop_open = true;
  uv_timer_init(&node->loop, &node->watch);
  uv_timer_init(&node->loop, &node->deadline);
  node->wake.data = node->watch.data = node->deadline.data = node;
  if (uv_sem_init(&node->booted, 0))
    return lc_err_set(err, LC_EIO, "no semaphore");
  node->sem_open = true;
  return LC_OK;
}

static int create_workers(struct lc_node *node, struct lc_err *err) {
  const struct lc_config *settings = &node->setup->config;
  node->workers = lc_calloc(node->count, sizeof(struct lc_worker *));
  node->scripts = lc_calloc(node->count, sizeof(struct lc_script *));
  node->state = lc_calloc(node->count, sizeof(struct lc_node_worker));
  if (!node->workers || !node->scripts || !node->state)
    return lc_err_set(err, LC_ENOMEM, "out of memory");
  for (unsigned i = 0; i < node->count; i++) {
    const struct lc_worker_config config = {
        .index = i, .buffer_limit_bytes = (size_t)(settings->buffer_memory_bytes / node->count)};
    node->state[i].node = node;
    node->state[i].index = i;
    int code = lc_worker_create(&config, &node->workers[i], err);
    if (code)
      return code;
  }
  lc_exec_over_workers(node->workers, node->count, &node->exec);
  return LC_OK;
}

static int create_groups(struct lc_node *node, struct lc_err *err) {
  lc_script_loader(node->scripts, &node->loader);
  const struct lc_peers *peers = node->cluster ? lc_cluster_peers(node->cluster) : NULL;
  int code = lc_setup_groups(node->setup, &node->exec, &node->loader, peers, node->log, &node->groups, err);
  if (code == LC_OK && node->cluster)
    lc_cluster_bind(node->cluster, node->groups);
  return code;
}

static int create_listener(struct lc_node *node, struct lc_err *err) {
  const struct lc_config *settings = &node->setup->config;
  const struct lc_listener_config config = {
      .loop = &node->loop,
      .workers = node->workers,
      .worker_count = node->count,
      .log = node->log,
      .max_connections = (size_t)settings->max_connections,
      .option = "--listen",
      .on_accept = lc_node_accept,
      .arg = node,
  };
  int code = lc_listener_create(&config, &settings->listen.address, &node->listener, err);
  /* What this machine doesn't have is no mistake in the settings as such. */
  return code == LC_EINVAL ? LC_EIO : code;
}

static int create_services(struct lc_node *node, struct lc_err *err) {
  struct lc_address self;
  lc_node_address(node, &self);
  if (node->setup->config.advertise.on)
    self = node->setup->config.advertise.address;
  lc_alone_init(&node->alone, &self);
  const struct lc_services_config config = {
      .groups = node->groups,
      .peers = node->cluster ? lc_cluster_peers(node->cluster) : &node->alone.peers,
      .exec = &node->exec,
      .version = LC_VERSION,
      .started_ms = node->started_ms,
      .memory_limit_bytes = node->setup->config.memory_bytes,
      .worker_stats = lc_node_worker_stats,
      .ctx = node,
      .extra = node->cluster ? lc_cluster_service(node->cluster) : NULL,
      .extra_count = node->cluster ? 1 : 0,
  };
  int code = lc_services_create(&config, &node->services);
  if (code)
    return lc_err_set(err, code, "out of memory");
  atomic_store(&node->joined, !node->cluster);
  lc_services_set_serving(node->services, !node->cluster);
  return LC_OK;
}

static int run_workers(struct lc_node *node, struct lc_err *err) {
  int code = LC_OK;
  while (code == LC_OK && node->running < node->count) {
    code = lc_worker_run(node->workers[node->running], lc_node_worker_start, NULL, &node->state[node->running]);
    if (code)
      lc_err_set(err, code, "worker %u: no thread", node->running);
    else
      node->running++;
  }
  for (unsigned i = 0; i < node->running; i++)
    uv_sem_wait(&node->booted);
  for (unsigned i = 0; i < node->running && code == LC_OK; i++) {
    code = node->state[i].boot_code;
    if (code && err)
      *err = node->state[i].boot_err;
  }
  return code;
}

static int start(struct lc_node *node, struct lc_err *err) {
  int (*const steps[])(struct lc_node *,
                       struct lc_err *) = {open_loop,     create_workers,  create_listener, lc_node_create_cluster,
                                           create_groups, create_services, run_workers,     lc_node_start_cluster};
  for (size_t i = 0; i < sizeof steps / sizeof steps[0]; i++) {
    int code = steps[i](node, err);
    if (code)
      return code;
  }
  node->last_watch_ms = lc_clock_ms();
  uv_timer_start(&node->watch, on_watch, WATCH_MS, WATCH_MS);
  return LC_OK;
}

int lc_node_create(const struct lc_setup *setup, struct lc_log *log, struct lc_node **out, struct lc_err *err) {
  struct lc_node *node = lc_calloc(1, sizeof *node);
  if (!node)
    return lc_err_set(err, LC_ENOMEM, "out of memory");
  node->setup = setup;
  node->log = log;
  node->count = (unsigned)setup->config.workers;
  node->started_ms = lc_clock_ms();
  int code = start(node, err);
  if (code) {
    lc_node_destroy(node);
    return code;
  }
  *out = node;
  return LC_OK;
}

void lc_node_address(const struct lc_node *node, struct lc_address *address) {
  lc_listener_address(node->listener, address);
}

void lc_node_ready_line(const struct lc_node *node, char out[LC_READY_LINE_SIZE]) {
  struct lc_address address;
  char text[LC_HOST_SIZE + 9];
  lc_node_address(node, &address);
  lc_format_address(&address, text, sizeof text);
  snprintf(out, LC_READY_LINE_SIZE, "ready grpc=%s http=off workers=%u groups=%zu", text, node->count,
           lc_groups_count(node->groups));
}

uv_loop_t *lc_node_loop(struct lc_node *node) {
  return &node->loop;
}

bool lc_node_join(struct lc_node *node) {
  while (node->phase == LC_NODE_SERVING && !atomic_load(&node->joined))
    uv_run(&node->loop, UV_RUN_ONCE);
  return node->phase == LC_NODE_SERVING;
}

int lc_node_run(struct lc_node *node) {
  while (node->phase != LC_NODE_STOPPED && !node->stuck)
    uv_run(&node->loop, UV_RUN_DEFAULT);
  return node->stuck ? LC_EDEADLINE : LC_OK;
}

void lc_node_stop(struct lc_node *node) {
  atomic_store(&node->stop_asked, true);
  uv_async_send(&node->wake);
}

static void close_loop(struct lc_node *node) {
  uv_close((uv_handle_t *)&node->wake, NULL);
  uv_close((uv_handle_t *)&node->watch, NULL);
  uv_close((uv_handle_t *)&node->deadline, NULL);
  uv_run(&node->loop, UV_RUN_DEFAULT);
  uv_loop_close(&node->loop);
}

/* Everything in the reverse order of its making; what was not made is NULL. */
void lc_node_destroy(struct lc_node *node) {
  if (!node)
    return;
  if (node->running) {
    lc_node_stop_now(node);
    if (lc_node_run(node))
      return; /* a thread still uses all this */
  }
  if (node->listener)
    lc_listener_stop(node->listener);
  if (node->loop_open)
    close_loop(node);
  if (node->sem_open)
    uv_sem_destroy(&node->booted);
  lc_services_destroy(node->services);
  lc_listener_destroy(node->listener);
  lc_groups_destroy(node->groups);
  lc_cluster_destroy(node->cluster);
  for (unsigned i = 0; node->workers && i < node->count; i++)
    lc_worker_destroy(node->workers[i]);
  lc_free(node->state);
  lc_free(node->scripts);
  lc_free(node->workers);
  lc_free(node);
}
