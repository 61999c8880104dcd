/*
 * Views: immutable snapshots of ring and peers. Readers keep the last one they saw and look at one atomic number to
 * know whether there is a newer; a lock is taken only then.
 */
#include <string.h>

#include "base/alloc.h"
#include "cluster/control.h"

/* ---- life ---- */

static void members_unref(struct lc_members *members) {
  if (!members || atomic_fetch_sub_explicit(&members->refs, 1, memory_order_acq_rel) != 1)
    return;
  size_t count = members->ring && members->peers ? lc_ring_count(members->ring) : 0;
  for (size_t i = 0; i < count; i++)
    lc_peer_unref(members->peers[i]);
  lc_ring_destroy(members->ring);
  lc_free(members->peers);
  lc_free(members);
}

static struct lc_members *members_ref(struct lc_members *members) {
  atomic_fetch_add_explicit(&members->refs, 1, memory_order_relaxed);
  return members;
}

void lc_view_unref(struct lc_view *view) {
  if (!view || atomic_fetch_sub_explicit(&view->refs, 1, memory_order_acq_rel) != 1)
    return;
  members_unref(view->now);
  for (size_t i = 0; i < LC_PREVIOUS_MAX; i++)
    members_unref(view->past[i].members);
  for (size_t i = 0; i < view->peer_count; i++)
    lc_peer_unref(view->peers[i]);
  lc_free(view->peers);
  lc_free(view->by_process);
  lc_free(view);
}

struct lc_view *lc_view_acquire(struct lc_cluster *cluster) {
  pthread_mutex_lock(&cluster->view_lock);
  struct lc_view *view = cluster->view;
  atomic_fetch_add_explicit(&view->refs, 1, memory_order_relaxed);
  pthread_mutex_unlock(&cluster->view_lock);
  return view;
}

struct lc_view *lc_cluster_view(struct lc_cluster *cluster, unsigned index) {
  struct lc_cluster_worker *worker = &cluster->worker[index];
  uint64_t serial = atomic_load_explicit(&cluster->view_serial, memory_order_acquire);
  if (!worker->view || worker->view->serial != serial) {
    struct lc_view *old = worker->view;
    worker->view = lc_view_acquire(cluster);
    lc_view_unref(old);
  }
  return worker->view;
}

/* ---- the ring of a new view ---- */

bool lc_view_on_ring(const struct lc_peer *peer) {
  return peer->cluster->entered && peer->member && !peer->alias &&
         !atomic_load_explicit(&peer->leaving, memory_order_relaxed);
}

/* Whether the ring in force has just the members that it should have. */
static bool same_members(const struct lc_cluster *cluster, const struct lc_members *now) {
  size_t count = 0;
  if ((now->self == LC_RING_NONE) != cluster->off_ring)
    return false;
  for (size_t i = 0; i < cluster->known_count; i++) {
    struct lc_peer *peer = cluster->known[i];
    if (!lc_view_on_ring(peer))
      continue;
    size_t at = lc_ring_find(now->ring, peer->name);
    if (at == LC_RING_NONE || now->peers[at] != peer || lc_ring_at(now->ring, at)->weight != peer->weight)
      return false;
    count++;
  }
  return count + !cluster->off_ring == lc_ring_count(now->ring);
}

static int build_ring(const struct lc_cluster *cluster, struct lc_ring **out) {
  struct lc_ring_member *list = lc_calloc(cluster->known_count + 1, sizeof *list);
  size_t count = 0;
  if (!list)
    return LC_ENOMEM;
  if (!cluster->off_ring)
    list[count++] = (struct lc_ring_member){cluster->self, lc_peer_weight(cluster->config.weight)};
  for (size_t i = 0; i < cluster->known_count; i++) {
    const struct lc_peer *peer = cluster->known[i];
    if (lc_view_on_ring(peer))
      list[count++] = (struct lc_ring_member){peer->name, peer->weight};
  }
  int rc = lc_ring_create(list, count, out, NULL);
  lc_free(list);
  return rc;
}

static struct lc_members *make_members(struct lc_cluster *cluster) {
  struct lc_members *members = lc_calloc(1, sizeof *members);
  if (!members)
    return NULL;
  atomic_init(&members->refs, 1);
  members->self = LC_RING_NONE;
  if (build_ring(cluster, &members->ring) != LC_OK)
    goto fail;
  size_t count = lc_ring_count(members->ring);
  members->peers = lc_calloc(count + 1, sizeof(struct lc_peer *));
  if (!members->peers)
    goto fail;
  for (size_t i = 0; i < count; i++) {
    struct lc_peer *peer = lc_peer_find(cluster, lc_ring_at(members->ring, i)->address);
    members->peers[i] = peer ? lc_peer_ref(peer) : NULL;
  }
  members->self = lc_ring_find(members->ring, cluster->self);
  return members;

fail:
  members_unref(members);
  return NULL;
}

/* ---- a new view ---- */

static int list_peers(const struct lc_cluster *cluster, struct lc_view *view) {
  size_t size = 2;
  while (size < cluster->known_count * 2)
    size *= 2;
  view->peers = lc_calloc(cluster->known_count + 1, sizeof(struct lc_peer *));
  view->by_process = lc_calloc(size, sizeof(struct lc_peer *));
  if (!view->peers || !view->by_process)
    return LC_ENOMEM;
  view->process_mask = size - 1;
  for (size_t i = 0; i < cluster->known_count; i++) {
    struct lc_peer *peer = cluster->known[i];
    view->peers[view->peer_count++] = lc_peer_ref(peer);
    uint64_t process = atomic_load_explicit(&peer->process, memory_order_relaxed);
    if (process == 0)
      continue;
    size_t at = (size_t)process & view->process_mask;
    while (view->by_process[at])
      at = (at + 1) & view->process_mask;
    view->by_process[at] = peer;
  }
  return LC_OK;
}

static void add_past(struct lc_view *view, struct lc_members *members, uint64_t until_ms, uint64_t now_ms) {
  size_t at = 0;
  while (at < LC_PREVIOUS_MAX && view->past[at].members)
    at++;
  if (at < LC_PREVIOUS_MAX && members && until_ms > now_ms)
    view->past[at] = (struct lc_past){members_ref(members), until_ms};
}

/* Past rings, newest first; one that had nobody but this node tells nothing. */
static void keep_past(struct lc_view *view, const struct lc_view *old) {
  uint64_t now_ms = lc_clock_ms();
  size_t others = lc_ring_count(old->now->ring) - (old->now->self != LC_RING_NONE);
  if (view->now != old->now && others > 0)
    add_past(view, old->now, now_ms + LC_PREVIOUS_MS, now_ms);
  for (size_t i = 0; i < LC_PREVIOUS_MAX; i++)
    add_past(view, old->past[i].members, old->past[i].until_ms, now_ms);
}

static struct lc_view *make_view(struct lc_cluster *cluster) {
  const struct lc_view *old = cluster->view;
  struct lc_view *view = lc_calloc(1, sizeof *view);
  if (!view)
    return NULL;
  atomic_init(&view->refs, 1);
  view->serial = old ? old->serial + 1 : 1;
  view->joined_until_ms = cluster->joined_until_ms;
  view->now = old && same_members(cluster, old->now) ? members_ref(old->now) : make_members(cluster);
  if (!view->now || list_peers(cluster, view) != LC_OK) {
    lc_view_unref(view);
    return NULL;
  }
  view->number = 1;
  if (old) {
    keep_past(view, old);
    view->number = view->now == old->now ? old->number : old->number % LC_ITEM_VIEW_MASK + 1;
  }
  return view;
}

static void log_ring(const struct lc_cluster *cluster, const struct lc_view *view) {
  char id[LC_RING_ID_SIZE];
  cluster->peers.ring_id(cluster->peers.ctx, id);
  lc_log_event(cluster->config.log, LC_LOG_INFO, "ring changed", LC_F_STR("ring", id),
               LC_F_INT("members", lc_ring_count(view->now->ring)), LC_F_INT("number", view->number));
}

int lc_view_publish(struct lc_cluster *cluster) {
  struct lc_view *old = cluster->view, *view = make_view(cluster);
  cluster->publish_again = view == NULL;
  if (!view)
    return LC_ENOMEM;
  bool changed = old && old->now != view->now;
  pthread_mutex_lock(&cluster->view_lock);
  cluster->view = view;
  atomic_store_explicit(&cluster->view_serial, view->serial, memory_order_release);
  pthread_mutex_unlock(&cluster->view_lock);
  lc_view_unref(old);
  if (changed)
    log_ring(cluster, view);
  return LC_OK;
}

/* ---- reading a view ---- */

struct lc_peer *lc_view_peer_of(const struct lc_view *view, uint64_t process) {
  if (process == 0)
    return NULL;
  for (size_t at = (size_t)process & view->process_mask; view->by_process[at]; at = (at + 1) & view->process_mask) {
    struct lc_peer *peer = view->by_process[at];
    if (atomic_load_explicit(&peer->process, memory_order_acquire) == process)
      return peer;
  }
  return NULL;
}

struct lc_peer *lc_view_owner(const struct lc_view *view, uint64_t hash) {
  size_t at = lc_ring_pick(view->now->ring, hash);
  return at == LC_RING_NONE ? NULL : view->now->peers[at];
}

static size_t consider(struct lc_peer **out, size_t count, const struct lc_members *members, size_t pick) {
  struct lc_peer *peer = pick == LC_RING_NONE ? NULL : members->peers[pick];
  if (!peer || lc_peer_state(peer) != LC_PEER_UP)
    return count;
  for (size_t i = 0; i < count; i++) {
    if (out[i] == peer)
      return count;
  }
  out[count] = peer;
  return count + 1;
}

size_t lc_view_previous(const struct lc_view *view, uint64_t hash, uint64_t now_ms, struct lc_peer **out, size_t max) {
  const struct lc_members *now = view->now;
  size_t count = 0;
  if (now_ms < view->joined_until_ms && now->self != LC_RING_NONE && max > 0)
    count = consider(out, count, now, lc_ring_pick_without(now->ring, hash, now->self));
  for (size_t i = 0; i < LC_PREVIOUS_MAX && count < max; i++) {
    const struct lc_past *past = &view->past[i];
    if (past->members && now_ms < past->until_ms)
      count = consider(out, count, past->members, lc_ring_pick(past->members->ring, hash));
  }
  return count;
}
