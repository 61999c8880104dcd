#include "app/node_internal.h"
#include "base/clock.h"
#include "flight/flight.h"

/* What a stop waits for cut connections, and for workers to close, before it gives a worker up. */
#define GRACE_MS 2000u

/*
 * A stop goes through phases, each a step that all workers take on their own threads; the last worker to end a step
 * wakes the main thread, which begins the next.
 *   handing over  in a cluster: the node leaves the ring and gives its items away; requests are answered as before
 *   draining  connections end when their requests have; after the drain timeout they are cut
 *   settling  rounds of the mailboxes: results and cancellations that were on their way to another worker arrive
 *   closing   server, script and fetcher of each worker
 *   stopped   threads joined
 */
static void begin_step(struct lc_node *node, enum lc_node_phase phase, void (*run)(struct lc_task *)) {
  node->phase = phase;
  atomic_store(&node->pending, node->running);
  for (unsigned i = 0; i < node->running; i++) {
    node->state[i].step.run = run;
    lc_worker_post(node->workers[i], &node->state[i].step);
  }
  if (node->running == 0)
    lc_node_advance(node);
}

static void log_stuck(struct lc_node *node) {
  for (unsigned i = 0; i < node->running; i++) {
    uint64_t still_ms = lc_clock_ms() - atomic_load(&node->state[i].beat_ms);
    if (still_ms > GRACE_MS / 2)
      lc_log_event(node->log, LC_LOG_ERROR, "worker given up: it does not end", LC_F_INT("worker", i),
                   LC_F_INT("still_ms", still_ms));
  }
}

/* Requests in progress, at each worker's last tick. */
static uint64_t requests_in_progress(const struct lc_node *node) {
  uint64_t total = 0;
  for (unsigned i = 0; i < node->running; i++)
    total += atomic_load_explicit(&node->state[i].streams, memory_order_relaxed);
  return total;
}

static void on_deadline(uv_timer_t *timer) {
  struct lc_node *node = timer->data;
  if (node->cut || node->phase != LC_NODE_DRAINING) {
    node->stuck = true;
    log_stuck(node);
    uv_stop(&node->loop);
    return;
  }
  node->cut = true;
  if (atomic_load(&node->stop_asked))
    lc_log_event(node->log, LC_LOG_WARN, "drain timeout passed", LC_F_INT("requests_cut", requests_in_progress(node)));
  lc_groups_drain(node->groups);
  for (unsigned i = 0; i < node->running; i++) {
    node->state[i].cut.run = lc_node_worker_cut;
    lc_worker_post(node->workers[i], &node->state[i].cut);
  }
  uv_timer_start(timer, on_deadline, GRACE_MS, 0);
}

static void begin_drain(struct lc_node *node, uint64_t timeout_ms) {
  if (node->services)
    lc_services_drain(node->services);
  if (node->listener)
    lc_listener_stop(node->listener);
  uv_timer_start(&node->deadline, on_deadline, timeout_ms, 0);
  begin_step(node, LC_NODE_DRAINING, lc_node_worker_drain);
}

static void join(struct lc_node *node) {
  uv_timer_stop(&node->deadline);
  for (unsigned i = 0; i < node->running; i++)
    lc_worker_stop(node->workers[i]);
  for (unsigned i = 0; i < node->running; i++)
    lc_worker_join(node->workers[i]);
  node->running = 0;
  node->phase = LC_NODE_STOPPED;
  uv_stop(&node->loop);
}

static void close_workers(struct lc_node *node) {
  if (node->cluster_started)
    lc_cluster_stop(node->cluster);
  node->cluster_started = false;
  begin_step(node, LC_NODE_CLOSING, lc_node_worker_close);
}

void lc_node_advance(struct lc_node *node) {
  if (node->phase == LC_NODE_SERVING && atomic_load(&node->stop_asked))
    lc_node_leave_cluster(node);
  if (node->phase == LC_NODE_HANDING_OVER && atomic_load(&node->left)) {
    lc_log_event(node->log, LC_LOG_INFO, "draining", LC_F_INT("timeout_ms", node->setup->config.drain_timeout_ms),
                 LC_F_INT("requests", requests_in_progress(node)));
    begin_drain(node, node->setup->config.drain_timeout_ms);
    return;
  }
  if (node->phase <= LC_NODE_HANDING_OVER)
    return;
  if (atomic_load(&node->pending) > 0)
    return;
  switch (node->phase) {
  case LC_NODE_DRAINING:
    uv_timer_start(&node->deadline, on_deadline, GRACE_MS, 0);
    begin_step(node, LC_NODE_SETTLING, lc_node_worker_settle);
    break;
  case LC_NODE_SETTLING:
    if (++node->settled <= LC_FLIGHT_MAX_DEPTH) /* a cancellation goes one load up its chain in a round */
      begin_step(node, LC_NODE_SETTLING, lc_node_worker_settle);
    else
      close_workers(node);
    break;
  case LC_NODE_CLOSING:
    join(node);
    break;
  default:
    break;
  }
}

void lc_node_stop_now(struct lc_node *node) {
  if (node->phase <= LC_NODE_HANDING_OVER)
    begin_drain(node, 0);
}
