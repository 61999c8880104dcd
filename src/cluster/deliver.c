/*
 * The log's way to the peers, and the writes that wait for it. The control thread sends each connected peer what lies
 * behind its cursor, one Invalidate at a time; the reply says how far the peer is, whatever we believed. Everything
 * that other threads touch is under the log's lock.
 */
#include "base/alloc.h"
#include "base/buf.h"
#include "cluster/log.h"

#define INVALIDATE "/lcache.v1.Peer/Invalidate"
#define TIMEOUT_MS 5000u
#define DROP_TIMEOUT_MS 30000u /* dropping a large store takes its time */
#define STRANGER_GAP_MS 100u
#define RELEASE_BATCH 64u
#define REPLY_ARENA_BYTES 256u

/* ---- waiting ---- */

static void count_acknowledged(struct lc_write_log *log) {
  uint64_t least = UINT64_MAX;
  for (struct lc_list *at = log->waited.next; at != &log->waited; at = at->next) {
    const struct lc_peer *peer = lc_container_of(at, struct lc_peer, waited_link);
    least = peer->cursor < least ? peer->cursor : least;
  }
  log->acknowledged = least;
}

static void run_wait(struct lc_task *task) {
  struct lc_peer_wait *wait = lc_container_of(task, struct lc_peer_wait, task);
  wait->done(wait);
}

static size_t take_released(struct lc_write_log *log, struct lc_peer_wait **out) {
  size_t count = 0;
  pthread_mutex_lock(&log->lock);
  while (count < RELEASE_BATCH && !lc_list_empty(&log->waiting)) {
    struct lc_peer_wait *wait = lc_container_of(log->waiting.next, struct lc_peer_wait, link);
    if (wait->seq > log->acknowledged)
      break;
    lc_list_remove(&wait->link);
    out[count++] = wait;
  }
  pthread_mutex_unlock(&log->lock);
  return count;
}

/* Tells the writes that have waited long enough, each on its worker. The lock is not held. */
static void release(struct lc_cluster *cluster) {
  const struct lc_exec *exec = cluster->exec;
  struct lc_peer_wait *released[RELEASE_BATCH];
  size_t count;
  while ((count = take_released(cluster->log, released)) > 0) {
    for (size_t i = 0; i < count; i++) {
      released[i]->task.run = run_wait;
      exec->post(exec->ctx, released[i]->worker, &released[i]->task);
    }
  }
}

static void run_deliver(struct lc_task *task);

static void wake(struct lc_cluster *cluster) {
  if (!cluster->control || atomic_exchange(&cluster->deliver_posted, true))
    return;
  cluster->deliver_task.run = run_deliver;
  lc_worker_post(cluster->control, &cluster->deliver_task);
}

uint64_t lc_deliver_written(void *ctx, struct lc_slice group, struct lc_slice key) {
  struct lc_cluster *cluster = ctx;
  lc_write_log_lock(cluster);
  uint64_t seq = lc_write_log_append(cluster->log, group, key);
  lc_write_log_unlock(cluster);
  lc_touched_note(cluster->touched, lc_hash_ring(group, key), cluster->process, seq);
  return seq;
}

/* By seq; writes come nearly in that order, so the place is near the end. */
static void enqueue(struct lc_write_log *log, struct lc_peer_wait *wait) {
  struct lc_list *at = log->waiting.prev;
  while (at != &log->waiting && lc_container_of(at, struct lc_peer_wait, link)->seq > wait->seq)
    at = at->prev;
  lc_list_insert_after(at, &wait->link);
}

int lc_deliver_wait(void *ctx, struct lc_peer_wait *wait) {
  struct lc_cluster *cluster = ctx;
  struct lc_write_log *log = cluster->log;
  lc_list_init(&wait->link);
  lc_write_log_lock(cluster);
  bool waits = wait->seq > log->acknowledged;
  if (waits)
    enqueue(log, wait);
  lc_write_log_unlock(cluster);
  if (!waits)
    return LC_OK;
  wake(cluster);
  return LC_PENDING;
}

bool lc_deliver_cancel_wait(void *ctx, struct lc_peer_wait *wait) {
  struct lc_cluster *cluster = ctx;
  lc_write_log_lock(cluster);
  bool waits = !lc_list_empty(&wait->link);
  lc_list_remove(&wait->link);
  lc_write_log_unlock(cluster);
  return waits;
}

/* ---- sending ---- */

struct parcel {
  struct lc_msg_invalidate_request request;
  uint64_t timeout_ms;
};

/* What the peer has to be told next; false: nothing. */
static bool pack(struct lc_peer *peer, struct parcel *parcel) {
  struct lc_cluster *cluster = peer->cluster;
  struct lc_write_log *log = cluster->log;
  struct lc_msg_invalidate_request *request = &parcel->request;
  *parcel = (struct parcel){.timeout_ms = TIMEOUT_MS};
  request->from = cluster->process;
  lc_write_log_lock(cluster);
  bool any = peer->lost_track || peer->cursor < log->head;
  request->to = atomic_load_explicit(&peer->process, memory_order_acquire);
  peer->deliver_epoch = peer->epoch;
  if (any && (peer->lost_track || !lc_write_log_reaches(log, peer->cursor + 1))) {
    request->prev = log->head;
    request->drop_all = true;
    parcel->timeout_ms = DROP_TIMEOUT_MS;
  } else if (any) {
    lc_write_log_copy(log, peer->cursor + 1);
    request->prev = peer->cursor;
    request->entries = log->batch->names;
    request->entry_count = log->batch->count;
  }
  lc_write_log_unlock(cluster);
  return any;
}

static int frame(const struct lc_msg_invalidate_request *request, struct lc_outq *q) {
  struct lc_buf buf;
  lc_buf_init(&buf);
  int rc = lc_msg_invalidate_request_encode(request, &buf);
  if (rc == LC_OK)
    rc = lc_grpc_frame(q, lc_buf_slice(&buf));
  lc_buf_fini(&buf);
  return rc;
}

static void on_reply(void *arg, const struct lc_rpc_result *result);

/* What fails here is tried again by the next tick. */
static void send_next(struct lc_peer *peer) {
  struct parcel parcel;
  if (!peer->connected || peer->deliver_call || !pack(peer, &parcel))
    return;
  struct lc_outq *q = lc_control_request(peer->cluster);
  if (frame(&parcel.request, q) != LC_OK ||
      lc_control_call(peer, INVALIDATE, q, parcel.timeout_ms, on_reply, peer, &peer->deliver_call) != LC_OK)
    peer->deliver_call = NULL;
}

/* The peer says how far it is. True: it has all that it must have to count as up. */
static bool move_cursor(struct lc_peer *peer, uint64_t applied) {
  struct lc_cluster *cluster = peer->cluster;
  struct lc_write_log *log = cluster->log;
  bool synced = false;
  lc_write_log_lock(cluster);
  if (peer->deliver_epoch == peer->epoch) { /* else it was said by the process before */
    peer->lost_track = applied > log->head;
    if (!peer->lost_track)
      peer->cursor = applied;
    count_acknowledged(log);
    synced = !peer->lost_track && peer->cursor >= peer->sync_goal;
  }
  lc_write_log_unlock(cluster);
  release(cluster);
  return synced;
}

/* One of the two was restarted, or the peer forgot us. */
static void greet_again(struct lc_peer *peer) {
  if (lc_cluster_now(peer->cluster, peer->cluster->workers) - peer->hello_ms >= STRANGER_GAP_MS)
    lc_control_hello(peer);
}

static void on_reply(void *arg, const struct lc_rpc_result *result) {
  struct lc_peer *peer = arg;
  struct lc_msg_invalidate_response reply;
  struct lc_arena arena;
  char first[REPLY_ARENA_BYTES];
  peer->deliver_call = NULL;
  if (result->status != LC_GRPC_OK)
    return;
  lc_arena_init(&arena, first, sizeof first, sizeof first);
  int rc = lc_msg_invalidate_response_decode(&arena, result->reply, &reply, NULL);
  lc_arena_fini(&arena);
  if (rc == LC_OK && reply.outcome == LC_OUTCOME_STRANGER)
    greet_again(peer);
  if (rc != LC_OK || reply.outcome != LC_OUTCOME_OK)
    return;
  if (move_cursor(peer, reply.applied))
    lc_control_synced(peer);
  send_next(peer);
}

void lc_deliver_run(struct lc_cluster *cluster) {
  struct lc_view *view = lc_view_acquire(cluster);
  for (size_t i = 0; i < view->peer_count; i++)
    send_next(view->peers[i]);
  lc_view_unref(view);
}

static void run_deliver(struct lc_task *task) {
  struct lc_cluster *cluster = lc_container_of(task, struct lc_cluster, deliver_task);
  atomic_store(&cluster->deliver_posted, false);
  lc_deliver_run(cluster);
}

/* ---- who is waited for ---- */

uint64_t lc_deliver_greeted(struct lc_cluster *cluster, struct lc_peer *peer, bool fresh_process, bool *was_waited) {
  struct lc_write_log *log = cluster->log;
  lc_write_log_lock(cluster);
  lc_fence_contact(cluster, fresh_process && peer->epoch > 0);
  *was_waited = atomic_load(&peer->waited);
  if (!*was_waited)
    lc_list_push_back(&log->waited, &lc_peer_ref(peer)->waited_link);
  atomic_store(&peer->waited, true);
  if (fresh_process) {
    *was_waited = false;
    peer->epoch++;
    peer->cursor = 0;
    peer->lost_track = false;
    atomic_store(&peer->gave_up, false);
  }
  uint64_t head = log->head;
  peer->sync_goal = head;
  count_acknowledged(log);
  lc_write_log_unlock(cluster);
  return head;
}

void lc_deliver_connected(struct lc_peer *peer) {
  struct lc_cluster *cluster = peer->cluster;
  lc_write_log_lock(cluster);
  bool synced = !peer->lost_track && peer->cursor >= peer->sync_goal;
  lc_write_log_unlock(cluster);
  if (synced)
    lc_control_synced(peer);
  send_next(peer);
}

void lc_deliver_disconnected(struct lc_peer *peer) {
  peer->deliver_call = NULL;
  lc_handover_disconnected(peer);
}

void lc_deliver_down(struct lc_peer *peer) {
  struct lc_cluster *cluster = peer->cluster;
  lc_write_log_lock(cluster);
  bool was_waited = atomic_exchange(&peer->waited, false);
  if (was_waited) {
    lc_list_remove(&peer->waited_link);
    atomic_store(&peer->gave_up, true);
  }
  count_acknowledged(cluster->log);
  lc_write_log_unlock(cluster);
  release(cluster);
  if (was_waited)
    lc_peer_unref(peer);
}
