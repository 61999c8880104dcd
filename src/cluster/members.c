/* Who is a member: what the registry says, and how long to believe it. */
#include <string.h>

#include "cluster/control.h"

static bool is_static(const struct lc_cluster *cluster) {
  return cluster->config.etcd_count == 0;
}

/* cluster->lock held. True: views change. */
static bool take_in(struct lc_cluster *cluster, const struct lc_registry_member *member) {
  struct lc_peer *peer = lc_peer_obtain(cluster, member->address);
  if (!peer) {
    lc_log_event(cluster->config.log, LC_LOG_WARN, "member ignored: no address, or too many",
                 LC_F_STR("peer", member->address));
    return false;
  }
  unsigned weight = is_static(cluster) ? peer->weight : lc_peer_weight(member->weight);
  bool changed = !peer->member || weight != peer->weight;
  peer->listed = peer->member = true;
  peer->lacked = false;
  peer->weight = weight;
  return changed;
}

/* It is no member any more; cluster->lock held. */
static void take_out(struct lc_peer *peer) {
  peer->member = peer->lacked = false;
}

/* Off the ring while nobody reaches it: what it wrote last may be known elsewhere only. */
static void gone(struct lc_peer *peer, const char *why) {
  lc_log_event(peer->cluster->config.log, LC_LOG_INFO, "peer is no member any more", LC_F_STR("peer", peer->name),
               LC_F_STR("why", why));
  if (!peer->connected && !atomic_load(&peer->leaving))
    lc_loss_gone(peer);
}

static bool is_self(const struct lc_cluster *cluster, const char *address) {
  return strcmp(address, cluster->self) == 0;
}

/* A list that lacks a member says nothing of why: it may be a registry that has lost everything. cluster->lock held. */
static void note_lacking(struct lc_cluster *cluster) {
  for (size_t i = 0; i < cluster->known_count; i++) {
    struct lc_peer *peer = cluster->known[i];
    if (peer->member && !peer->listed && !is_static(cluster))
      peer->lacked = true;
  }
}

static void on_list(void *arg, const struct lc_registry_member *members, size_t count) {
  struct lc_cluster *cluster = arg;
  bool changed = false, self = false;
  pthread_mutex_lock(&cluster->lock);
  for (size_t i = 0; i < cluster->known_count; i++)
    cluster->known[i]->listed = false;
  for (size_t i = 0; i < count; i++) {
    if (is_self(cluster, members[i].address))
      self = true;
    else
      changed |= take_in(cluster, &members[i]);
  }
  note_lacking(cluster);
  if (changed)
    lc_view_publish(cluster);
  pthread_mutex_unlock(&cluster->lock);
  lc_join_self(cluster, self || is_static(cluster));
  lc_control_dial_new(cluster);
  lc_join_listed(cluster);
}

/* Events come in bursts, and a ring of many members takes long to build: one for all that is here. cluster->lock held.
 */
static void publish_soon(struct lc_cluster *cluster) {
  cluster->publish_again = true;
  if (!cluster->publish_posted)
    lc_worker_post(cluster->control, &cluster->publish_task);
  cluster->publish_posted = true;
}

void lc_members_publish(struct lc_task *task) {
  struct lc_cluster *cluster = lc_container_of(task, struct lc_cluster, publish_task);
  pthread_mutex_lock(&cluster->lock);
  cluster->publish_posted = false;
  if (cluster->publish_again)
    lc_view_publish(cluster);
  pthread_mutex_unlock(&cluster->lock);
  lc_control_dial_new(cluster);
}

static void on_put(void *arg, const struct lc_registry_member *member) {
  struct lc_cluster *cluster = arg;
  if (is_self(cluster, member->address)) {
    lc_join_self(cluster, true);
    lc_join_step(cluster);
    return;
  }
  pthread_mutex_lock(&cluster->lock);
  if (take_in(cluster, member))
    publish_soon(cluster);
  pthread_mutex_unlock(&cluster->lock);
}

static void on_delete(void *arg, const char *address) {
  struct lc_cluster *cluster = arg;
  if (is_self(cluster, address)) {
    lc_join_self(cluster, false);
    return;
  }
  pthread_mutex_lock(&cluster->lock);
  struct lc_peer *peer = lc_peer_find(cluster, address);
  bool was = peer && peer->member;
  if (was) {
    take_out(peer);
    publish_soon(cluster);
  }
  pthread_mutex_unlock(&cluster->lock);
  if (was)
    gone(peer, "its key is gone");
}

static void on_reach(void *arg, bool reached, const char *why) {
  lc_join_reach(arg, reached, why);
}

const struct lc_registry_handler lc_members_handler = {
    .on_list = on_list,
    .on_put = on_put,
    .on_delete = on_delete,
    .on_reach = on_reach,
};

/* ---- as time goes by ---- */

static bool silent_for(const struct lc_peer *peer, uint64_t now_ms, uint64_t ms) {
  return !peer->connected && (int64_t)(now_ms - peer->seen_ms) > (int64_t)ms;
}

/* One that is due, taken out of the members or the known; NULL: no more. cluster->lock held. */
static struct lc_peer *take_lacked(struct lc_cluster *cluster, uint64_t now_ms) {
  for (size_t i = 0; i < cluster->known_count; i++) {
    struct lc_peer *peer = cluster->known[i];
    if (peer->lacked && silent_for(peer, now_ms, cluster->config.lease_ms)) {
      take_out(peer);
      return peer;
    }
  }
  return NULL;
}

/* Who said Hello and never answered one makes room soon for others who say Hello. */
static bool is_forgettable(const struct lc_peer *peer, uint64_t now_ms) {
  return !peer->member && lc_peer_state(peer) == LC_PEER_DOWN &&
         silent_for(peer, now_ms, peer->greeted_process != 0 ? LC_PEER_FORGET_MS : LC_STRANGER_FORGET_MS);
}

static struct lc_peer *take_forgotten(struct lc_cluster *cluster, uint64_t now_ms) {
  for (size_t i = 0; i < cluster->known_count; i++) {
    struct lc_peer *peer = cluster->known[i];
    if (is_forgettable(peer, now_ms)) {
      lc_peer_ref(peer);
      lc_peer_forget(cluster, i);
      return peer;
    }
  }
  return NULL;
}

/* With its lock taken for each: what follows may not happen under it. True: views change. */
static bool expire(struct lc_cluster *cluster, uint64_t now_ms) {
  pthread_mutex_lock(&cluster->lock);
  struct lc_peer *lacked = take_lacked(cluster, now_ms);
  struct lc_peer *forgotten = lacked ? NULL : take_forgotten(cluster, now_ms);
  pthread_mutex_unlock(&cluster->lock);
  if (lacked)
    gone(lacked, "the registry lacks it, and it is silent");
  if (forgotten)
    lc_control_drop(forgotten);
  lc_peer_unref(forgotten);
  return lacked || forgotten;
}

void lc_members_tick(struct lc_cluster *cluster) {
  uint64_t now_ms = lc_clock_ms();
  bool changed = false;
  while (expire(cluster, now_ms))
    changed = true;
  pthread_mutex_lock(&cluster->lock);
  if (changed || cluster->publish_again)
    lc_view_publish(cluster);
  pthread_mutex_unlock(&cluster->lock);
  lc_loss_tick(cluster);
  lc_join_step(cluster);
}
