#include <unistd.h>

#include "app/node_internal.h"
#include "base/clock.h"

#define TICK_MS 100u

static void tick(struct lc_timer *timer) {
  struct lc_node_worker *state = lc_container_of(timer, struct lc_node_worker, tick);
  struct lc_node *node = state->node;
  struct lc_worker *worker = node->workers[state->index];
  uint64_t now_ms = lc_worker_now_ms(worker);
  atomic_store_explicit(&state->beat_ms, now_ms, memory_order_relaxed);
  atomic_store_explicit(&state->buffer_bytes, lc_worker_charged(worker), memory_order_relaxed);
  atomic_store_explicit(&state->streams, lc_server_streams(state->server), memory_order_relaxed);
  lc_groups_sweep(node->groups, state->index);
  lc_timer_start(lc_worker_timers(worker), timer, now_ms + TICK_MS);
}

/* ---- start ---- */

static int start_script(struct lc_node_worker *state) {
  struct lc_node *node = state->node;
  struct lc_script_config config = {
      .worker = node->workers[state->index], .fetcher = state->fetcher, .description = node->setup->description};
  lc_setup_script_options(node->setup, node->log, &config.options);
  int code = lc_script_create(&config, &node->scripts[state->index], &state->boot_err);
  if (code == LC_OK)
    lc_script_bind(node->scripts[state->index], node->groups);
  return code;
}

static void on_connection_ended(void *arg) {
  struct lc_node_worker *state = arg;
  lc_listener_ended(state->node->listener, state->index);
}

static int start_server(struct lc_node_worker *state) {
  struct lc_node *node = state->node;
  const struct lc_config *settings = &node->setup->config;
  const struct lc_rpc_server_config rpc = {
      .table = lc_services_table(node->services), .max_message = (size_t)settings->max_message_bytes, .log = node->log};
  int code = lc_rpc_server_create(&rpc, &state->rpc);
  if (code)
    return code;
  struct lc_server_config config;
  lc_server_config_init(&config);
  config.worker = node->workers[state->index];
  config.face = lc_rpc_server_face(state->rpc);
  config.face_arg = state->rpc;
  config.max_streams = (uint32_t)settings->max_streams;
  config.on_ended = on_connection_ended;
  config.on_ended_arg = state;
  return lc_server_create(&config, &state->server);
}

static int start(struct lc_node_worker *state) {
  const struct lc_node *node = state->node;
  uint64_t connections = node->setup->config.source_connections;
  const struct lc_fetcher_config config = {.worker = node->workers[state->index],
                                           .max_host_connections = (unsigned)(connections / node->count + 1)};
  int code = lc_fetcher_create(&config, &state->fetcher, &state->boot_err);
  if (code == LC_OK && node->cluster)
    code = lc_cluster_worker_open(node->cluster, state->index, node->workers[state->index]);
  if (code == LC_OK)
    code = start_script(state);
  if (code == LC_OK)
    code = start_server(state);
  if (code == LC_ENOMEM)
    return lc_err_set(&state->boot_err, code, "worker %u: out of memory", state->index);
  if (code)
    return code;
  state->tick.fire = tick;
  tick(&state->tick);
  return LC_OK;
}

/* Its loop runs in any case, so that what was begun can be closed. */
int lc_node_worker_start(void *arg) {
  struct lc_node_worker *state = arg;
  state->boot_code = start(state);
  atomic_store(&state->beat_ms, lc_clock_ms());
  uv_sem_post(&state->node->booted);
  return LC_OK;
}

void lc_node_accept(void *arg, struct lc_worker *worker, int fd) {
  struct lc_node *node = arg;
  struct lc_node_worker *state = &node->state[lc_worker_index(worker)];
  if (state->server) {
    lc_server_accept(state->server, fd);
    return;
  }
  close(fd);
  lc_listener_ended(node->listener, state->index);
}

/* ---- stop ---- */

static void step_over(void *arg) {
  struct lc_node *node = ((struct lc_node_worker *)arg)->node;
  if (atomic_fetch_sub(&node->pending, 1) == 1)
    uv_async_send(&node->wake);
}

void lc_node_worker_drain(struct lc_task *step) {
  struct lc_node_worker *state = lc_container_of(step, struct lc_node_worker, step);
  if (state->server)
    lc_server_drain(state->server, step_over, state);
  else
    step_over(state);
}

void lc_node_worker_cut(struct lc_task *cut) {
  struct lc_node_worker *state = lc_container_of(cut, struct lc_node_worker, cut);
  if (state->server)
    lc_server_abort(state->server);
}

void lc_node_worker_settle(struct lc_task *step) {
  step_over(lc_container_of(step, struct lc_node_worker, step));
}

void lc_node_worker_close(struct lc_task *step) {
  struct lc_node_worker *state = lc_container_of(step, struct lc_node_worker, step);
  struct lc_node *node = state->node;
  lc_timer_stop(lc_worker_timers(node->workers[state->index]), &state->tick);
  lc_server_destroy(state->server);
  lc_rpc_server_destroy(state->rpc);
  if (node->cluster)
    lc_cluster_worker_close(node->cluster, state->index);
  lc_script_destroy(node->scripts[state->index]);
  node->scripts[state->index] = NULL;
  state->server = NULL;
  state->rpc = NULL;
  struct lc_fetcher *fetcher = state->fetcher;
  state->fetcher = NULL;
  if (fetcher)
    lc_fetcher_destroy(fetcher, step_over, state);
  else
    step_over(state);
}
