#include <malloc.h>

#include "app/node_internal.h"

#define STALLED_MS 1000u
#define TRIM_EVERY_MS 2000u
#define QUIET_REQUESTS 100u /* since the last look: fewer is a quiet time */

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

/*
 * What a busy time took goes back to the system when it is over: glibc keeps freed memory that lies between used
 * blocks. It locks the heap for some milliseconds, so not while there is work.
 */
static void trim(struct lc_node *node, uint64_t now_ms) {
  if (now_ms < node->next_trim_ms)
    return;
  node->next_trim_ms = now_ms + TRIM_EVERY_MS;
  uint64_t requests = 0;
  for (unsigned i = 0; i < node->count; i++)
    requests += lc_groups_worker_requests(node->groups, i);
  bool busy = requests - node->requests_seen >= QUIET_REQUESTS;
  node->requests_seen = requests;
  if (!busy && node->was_busy)
    malloc_trim(0);
  node->was_busy = busy;
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
    lc_services_set_serving(node->services, !any && atomic_load(&node->joined));
  trim(node, now_ms);
}
