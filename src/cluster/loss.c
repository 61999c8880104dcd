/*
 * Writes that nobody will tell us of. A node that was cut off is told what it missed by each owner's log when contact
 * is back; but an owner that died meanwhile took its log along. Two signs together say that this may have happened: a
 * process is gone for good and its end was not one that everybody saw, and another says that it had stopped waiting for
 * us. Then every stored copy goes.
 */
#include "cluster/control.h"

#define MARGIN_MS 2000u /* contact that ended around the same time tells nothing */

static void drop(struct lc_cluster *cluster, struct lc_view *view) {
  cluster->lost_unsynced = false;
  for (size_t i = 0; i < view->peer_count; i++)
    view->peers[i]->suspect = false;
  lc_apply_drop_all(cluster, "cut off from the others, and a node that may have written meanwhile is gone");
  atomic_store(&cluster->doubtful, false);
}

/* All others were in contact with us without a break while this one went: we were not the one who was cut off. */
static bool vouched(const struct lc_peer *peer, const struct lc_view *view) {
  for (size_t i = 0; i < view->peer_count; i++) {
    struct lc_peer *other = view->peers[i];
    if (other == peer || !other->in_contact || atomic_load(&other->leaving))
      continue;
    if (!other->connected || other->connected_ms + MARGIN_MS > peer->lost_ms)
      return false;
  }
  return true;
}

void lc_loss_gone(struct lc_peer *peer) {
  struct lc_cluster *cluster = peer->cluster;
  if (!peer->in_contact)
    return;
  struct lc_view *view = lc_view_acquire(cluster);
  if (peer->suspect)
    drop(cluster, view);
  else if (!atomic_load(&peer->leaving) && !atomic_load(&peer->parted) && !vouched(peer, view))
    cluster->lost_unsynced = true;
  peer->in_contact = false;
  lc_view_unref(view);
}

void lc_loss_given_up(struct lc_peer *peer) {
  struct lc_cluster *cluster = peer->cluster;
  struct lc_view *view = lc_view_acquire(cluster);
  for (size_t i = 0; i < view->peer_count; i++) {
    struct lc_peer *other = view->peers[i];
    /* Who told us that it leaves was in contact then, and has owned nothing since. */
    bool behind = atomic_load(&other->applied) < other->hello_head;
    if (other->in_contact && !atomic_load(&other->leaving) &&
        (behind || (other != peer && (!other->connected || lc_peer_state(other) != LC_PEER_UP)))) {
      other->suspect = true;
      atomic_store(&cluster->doubtful, true);
    }
  }
  if (cluster->lost_unsynced)
    drop(cluster, view);
  lc_view_unref(view);
}

/* Some say in their own Hello that they had given us up. Who is back as the same process, and has told all that it had
 * written, is no suspect. */
void lc_loss_tick(struct lc_cluster *cluster) {
  struct lc_view *view = lc_cluster_view(cluster, cluster->workers);
  bool any = false;
  for (size_t i = 0; i < view->peer_count; i++) {
    if (atomic_exchange(&view->peers[i]->gave_us_up, false))
      lc_loss_given_up(view->peers[i]);
  }
  for (size_t i = 0; i < view->peer_count; i++) {
    struct lc_peer *peer = view->peers[i];
    if (peer->suspect && peer->connected && atomic_load(&peer->applied) >= peer->hello_head)
      peer->suspect = false;
    any = any || peer->suspect;
  }
  atomic_store(&cluster->doubtful, any);
}
