#include "app/node_internal.h"

#define STALLED_MS 1000u

/* True if the worker's loop stands still: a script that calls into C for long, for example. */
static bool look_at(struct lc_node *node, struct lc_node_worker *state, uint64_t now_ms) {
  uint64_t beat_ms = atomic_load_explicit(&state->beat_ms, memory_order_relaxed);
  bool stalled = now_ms > beat_ms && now_ms - beat_ms > STALLED_MS;
  if (stalled && !state->stalled) {
    state->stalled_since_ms = beat_ms;
    lc_log_event(node->log, LC_LOG_ERROR, "worker stands still", LC_F_INT("worker", state->index),
                 LC_F_INT("for_ms", now_ms - beat_ms));
  } else if (!stalled && state->stalled) {
    lc_log_event(node->log, LC_LOG_WARN, "worker goes on", LC_F_INT("worker", state->index),
                 LC_F_INT("stood_ms", beat_ms - state->stalled_since_ms));
  }
  state->stalled = stalled;
  return stalled;
}

void lc_node_watch(struct lc_node *node, uint64_t now_ms) {
  uint64_t last_ms = node->last_watch_ms;
  node->last_watch_ms = now_ms;
  /* This thread was held up itself (the process stopped, the machine suspended): that says nothing of the workers. */
  if (now_ms - last_ms > STALLED_MS)
    return;
  bool any = false;
  for (unsigned i = 0; i < node->running; i++)
    any = look_at(node, &node->state[i], now_ms) || any;
  if (node->phase == LC_NODE_SERVING)
    lc_services_set_serving(node->services, !any);
}
