/* What people and the domain ask of the cluster: lc_peers but for its calls, and the lines of a dump. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "cluster/control.h"

static const char *self(void *ctx) {
  return ((struct lc_cluster *)ctx)->self;
}

static void format_id(const struct lc_view *view, char out[LC_RING_ID_SIZE]) {
  snprintf(out, LC_RING_ID_SIZE, "%016" PRIx64, lc_ring_id(view->now->ring));
}

static void ring_id(void *ctx, char out[LC_RING_ID_SIZE]) {
  struct lc_view *view = lc_view_acquire(ctx);
  format_id(view, out);
  lc_view_unref(view);
}

static void owner(void *ctx, struct lc_slice group, struct lc_slice key, char out[LC_NODE_ADDRESS_SIZE]) {
  struct lc_cluster *cluster = ctx;
  struct lc_view *view = lc_view_acquire(cluster);
  const struct lc_peer *peer = lc_view_owner(view, lc_hash_ring(group, key));
  snprintf(out, LC_NODE_ADDRESS_SIZE, "%s", peer ? peer->name : cluster->self);
  lc_view_unref(view);
}

/* ---- nodes ---- */

struct nodes {
  struct lc_node_info *at;
  size_t max, count;
};

static void add_node(struct nodes *nodes, const char *address, enum lc_node_state state, double share) {
  if (nodes->count < nodes->max) {
    struct lc_node_info *node = &nodes->at[nodes->count];
    snprintf(node->address, sizeof node->address, "%s", address);
    node->state = state;
    node->share = share;
  }
  nodes->count++;
}

static enum lc_node_state state_of(const struct lc_peer *peer) {
  return lc_peer_state(peer) == LC_PEER_UP ? LC_NODE_UP : LC_NODE_DOWN;
}

static void add_ring(struct nodes *nodes, const struct lc_members *now, bool leaving) {
  for (size_t i = 0; i < lc_ring_count(now->ring); i++) {
    const struct lc_peer *peer = now->peers[i];
    enum lc_node_state own = leaving ? LC_NODE_LEAVING : LC_NODE_UP;
    add_node(nodes, lc_ring_at(now->ring, i)->address, peer ? state_of(peer) : own, lc_ring_share(now->ring, i));
  }
}

/* Nodes that are on their way out, but still there. */
static void add_leaving(struct nodes *nodes, const struct lc_view *view) {
  for (size_t i = 0; i < view->peer_count; i++) {
    const struct lc_peer *peer = view->peers[i];
    if (atomic_load(&peer->leaving) && lc_peer_state(peer) != LC_PEER_DOWN &&
        lc_ring_find(view->now->ring, peer->name) == LC_RING_NONE)
      add_node(nodes, peer->name, LC_NODE_LEAVING, 0);
  }
}

static size_t list_nodes(void *ctx, struct lc_node_info *out, size_t max) {
  struct lc_cluster *cluster = ctx;
  struct nodes nodes = {.at = out, .max = max};
  pthread_mutex_lock(&cluster->lock);
  bool leaving = cluster->leaving;
  pthread_mutex_unlock(&cluster->lock);
  struct lc_view *view = lc_view_acquire(cluster);
  add_ring(&nodes, view->now, leaving);
  add_leaving(&nodes, view);
  if (view->now->self == LC_RING_NONE)
    add_node(&nodes, cluster->self, LC_NODE_LEAVING, 0);
  lc_view_unref(view);
  return nodes.count;
}

/* ---- what the domain asks, on a worker ---- */

static unsigned view_number(void *ctx, unsigned worker) {
  return lc_cluster_view(ctx, worker)->number;
}

static bool owns(void *ctx, unsigned worker, struct lc_slice group, struct lc_slice key) {
  return lc_view_owner(lc_cluster_view(ctx, worker), lc_hash_ring(group, key)) == NULL;
}

static void refresh(void *ctx) {
  struct lc_cluster *cluster = ctx;
  if (!atomic_exchange(&cluster->refresh_posted, true))
    lc_worker_post(cluster->control, &cluster->refresh_task);
}

void lc_cluster_fill_peers(struct lc_cluster *cluster) {
  cluster->peers = (struct lc_peers){
      .ctx = cluster,
      .self = self,
      .ring_id = ring_id,
      .owner = owner,
      .nodes = list_nodes,
      .view = view_number,
      .owns = owns,
      .fresh = lc_fence_fresh,
      .wait_fresh = lc_fence_wait,
      .get = lc_calls_get,
      .cancel_get = lc_calls_cancel_get,
      .cork = lc_calls_cork,
      .uncork = lc_calls_uncork,
      .write = lc_calls_write,
      .cancel_write = lc_calls_cancel_write,
      .refresh = refresh,
      .written = lc_deliver_written,
      .wait = lc_deliver_wait,
      .cancel_wait = lc_deliver_cancel_wait,
  };
}

/* ---- dump ---- */

static const char *state_name(const struct lc_peer *peer) {
  static const char *const names[] = {[LC_PEER_DOWN] = "down", [LC_PEER_SYNCING] = "syncing", [LC_PEER_UP] = "up"};
  return names[lc_peer_state(peer)];
}

static void dump_peer(struct lc_cluster *cluster, struct lc_peer *peer, const struct lc_view *view) {
  lc_write_log_lock(cluster);
  uint64_t cursor = peer->cursor;
  lc_write_log_unlock(cluster);
  lc_log_event(cluster->config.log, LC_LOG_INFO, "dump peer", LC_F_STR("peer", peer->name),
               LC_F_STR("state", state_name(peer)), LC_F_BOOL("leaving", atomic_load(&peer->leaving)),
               LC_F_BOOL("on_ring", lc_ring_find(view->now->ring, peer->name) != LC_RING_NONE),
               LC_F_BOOL("waited", atomic_load(&peer->waited)), LC_F_INT("delivered", cursor),
               LC_F_INT("applied", atomic_load(&peer->applied)));
}

#define DUMP_PEERS_MAX 64u

void lc_cluster_dump(struct lc_cluster *cluster) {
  char id[LC_RING_ID_SIZE];
  struct lc_view *view = lc_view_acquire(cluster);
  lc_write_log_lock(cluster);
  uint64_t head = lc_write_log_head(cluster->log), oldest = lc_write_log_oldest(cluster->log);
  lc_write_log_unlock(cluster);
  format_id(view, id);
  lc_log_event(cluster->config.log, LC_LOG_INFO, "dump cluster", LC_F_STR("self", cluster->self), LC_F_STR("ring", id),
               LC_F_INT("members", lc_ring_count(view->now->ring)), LC_F_INT("view", view->number),
               LC_F_INT("peers", view->peer_count), LC_F_INT("written", head), LC_F_INT("oldest_kept", oldest));
  for (size_t i = 0; i < view->peer_count && i < DUMP_PEERS_MAX; i++)
    dump_peer(cluster, view->peers[i], view);
  lc_view_unref(view);
}
