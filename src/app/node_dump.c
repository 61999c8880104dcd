#include "app/node_internal.h"
#include "base/clock.h"

void lc_node_worker_stats(void *ctx, unsigned worker, struct lc_msg_worker_stats *stats) {
  struct lc_node *node = ctx;
  struct lc_script_stats script;
  lc_script_stats(node->scripts[worker], &script);
  stats->connections = lc_listener_connections(node->listener, worker);
  stats->loads = script.tasks;
  stats->lua_bytes = script.bytes;
  stats->buffer_bytes = atomic_load_explicit(&node->state[worker].buffer_bytes, memory_order_relaxed);
}

static void dump_worker(struct lc_task *task) {
  struct lc_node_worker *state = lc_container_of(task, struct lc_node_worker, dump);
  struct lc_node *node = state->node;
  if (state->server) {
    struct lc_msg_worker_stats stats;
    lc_node_worker_stats(node, state->index, &stats);
    lc_log_event(node->log, LC_LOG_INFO, "state of a worker", LC_F_INT("worker", state->index),
                 LC_F_INT("connections", lc_server_connections(state->server)),
                 LC_F_INT("streams", lc_server_streams(state->server)),
                 LC_F_INT("requests", lc_groups_worker_requests(node->groups, state->index)),
                 LC_F_INT("loads", stats.loads),
                 LC_F_INT("buffer_bytes", lc_worker_charged(node->workers[state->index])),
                 LC_F_INT("lua_bytes", stats.lua_bytes));
  }
  atomic_fetch_sub(&node->dumping, 1);
}

static void dump_group(struct lc_node *node, size_t index) {
  struct lc_group_stats stats;
  lc_group_stats(node->groups, index, &stats);
  lc_log_event(node->log, LC_LOG_INFO, "state of a group",
               LC_F_STR("group", lc_group_name(lc_groups_at(node->groups, index))),
               LC_F_INT("items", stats.store.items), LC_F_INT("bytes", stats.store.bytes),
               LC_F_INT("limit_bytes", stats.limit_bytes), LC_F_INT("flights", stats.flights),
               LC_F_INT("waiters", stats.waiters), LC_F_INT("gets", stats.gets), LC_F_INT("hits", stats.hits),
               LC_F_INT("loads", stats.loads), LC_F_INT("load_errors", stats.load_errors));
}

void lc_node_dump(struct lc_node *node) {
  static const char *const phases[] = {"serving", "handing over", "draining", "settling", "closing", "stopped"};
  lc_log_event(
      node->log, LC_LOG_INFO, "state of the node", LC_F_STR("phase", phases[node->phase]),
      LC_F_STR("self", node->cluster ? lc_cluster_peers(node->cluster)->self(lc_cluster_peers(node->cluster)->ctx)
                                     : node->alone.self),
      LC_F_INT("uptime_ms", lc_clock_ms() - node->started_ms), LC_F_INT("workers", node->count),
      LC_F_INT("flights", lc_groups_flights(node->groups)), LC_F_INT("log_lines_dropped", lc_log_dropped(node->log)));
  for (size_t i = 0; i < lc_groups_count(node->groups); i++)
    dump_group(node, i);
  if (node->cluster)
    lc_cluster_dump(node->cluster);
  /* A worker that has not got round to the last one yet is left out. */
  if (atomic_load(&node->dumping) > 0)
    return;
  atomic_store(&node->dumping, node->running);
  for (unsigned i = 0; i < node->running; i++) {
    node->state[i].dump.run = dump_worker;
    lc_worker_post(node->workers[i], &node->state[i].dump);
  }
}
