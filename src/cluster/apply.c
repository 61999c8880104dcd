/*
 * Others' logs, here: each entry drops the key's copy and detaches its flight, in the order of the sender's log.
 * `applied` says how far that has come, and never says too much: it moves when all is done that it stands for.
 */
#include "cluster/internal.h"

struct note {
  struct lc_touched *touched;
  uint64_t hash, writer, seq;
};

static void note_touched(void *arg) {
  const struct note *note = arg;
  lc_touched_note(note->touched, note->hash, note->writer, note->seq);
}

static void apply_entry(struct lc_cluster *cluster, unsigned worker, const struct lc_msg_name *entry, uint64_t writer,
                        uint64_t seq) {
  struct note note = {cluster->touched, lc_hash_ring(entry->group, entry->key), writer, seq};
  lc_group_invalidate(cluster->groups, entry->group, entry->key, worker, note_touched, &note);
}

/* The process that sends is not, or no longer, the one that we know there; apply_lock held. */
static bool is_stranger(const struct lc_peer *peer, const struct lc_msg_invalidate_request *request) {
  return atomic_load_explicit(&peer->process, memory_order_acquire) != request->from;
}

/*
 * The sender's log doesn't reach back to what was missed. Not under apply_lock: it may take long, and who says Hello
 * waits for that lock. Whatever else of the sender's is applied meanwhile, and however `applied` moves, it says too
 * little at worst.
 */
static void apply_drop_all(struct lc_cluster *cluster, struct lc_peer *peer,
                           const struct lc_msg_invalidate_request *request, struct lc_msg_invalidate_response *reply) {
  lc_touched_floor(cluster->touched, request->from, request->prev);
  lc_apply_drop_all(cluster, "a peer no longer knows all that it wrote since it last told us");
  lc_touched_seen(cluster->touched, request->from, request->prev);
  pthread_mutex_lock(&peer->apply_lock);
  if (is_stranger(peer, request))
    reply->outcome = LC_OUTCOME_STRANGER;
  else
    atomic_store_explicit(&peer->applied, request->prev, memory_order_release);
  pthread_mutex_unlock(&peer->apply_lock);
  reply->applied = request->prev;
}

static void apply_entries(struct lc_cluster *cluster, unsigned worker, struct lc_peer *peer,
                          const struct lc_msg_invalidate_request *request, struct lc_msg_invalidate_response *reply) {
  pthread_mutex_lock(&peer->apply_lock);
  uint64_t applied = atomic_load_explicit(&peer->applied, memory_order_relaxed);
  if (is_stranger(peer, request)) {
    reply->outcome = LC_OUTCOME_STRANGER;
  } else if (request->prev != applied) {
    reply->mismatch = true;
  } else {
    for (size_t i = 0; i < request->entry_count; i++)
      apply_entry(cluster, worker, &request->entries[i], request->from, applied + i + 1);
    applied += request->entry_count;
    atomic_store_explicit(&peer->applied, applied, memory_order_release);
  }
  pthread_mutex_unlock(&peer->apply_lock);
  reply->applied = applied;
}

void lc_apply_invalidate(struct lc_cluster *cluster, unsigned worker, struct lc_peer *peer,
                         const struct lc_msg_invalidate_request *request, struct lc_msg_invalidate_response *reply) {
  *reply = (struct lc_msg_invalidate_response){.outcome = LC_OUTCOME_OK};
  lc_peer_ref(peer); /* the groups may ask for a newer view, which need not have it */
  if (request->drop_all)
    apply_drop_all(cluster, peer, request, reply);
  else
    apply_entries(cluster, worker, peer, request, reply);
  lc_peer_unref(peer);
  lc_fence_applied(cluster);
}

void lc_apply_drop_all(struct lc_cluster *cluster, const char *why) {
  lc_log_event(cluster->config.log, LC_LOG_WARN, "dropped all copies", LC_F_STR("why", why));
  lc_groups_drop_all(cluster->groups);
}
