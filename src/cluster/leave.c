/*
 * Leaving: off the registry, then Leave to everybody who is connected, then off our own ring, then the items to their
 * new owners. Requests are answered all along.
 */
#include <string.h>

#include "base/alloc.h"
#include "base/buf.h"
#include "cluster/control.h"

#define LEAVE "/lcache.v1.Peer/Leave"

struct leave {
  struct lc_cluster *cluster;
  struct lc_timer timer; /* at most so long for the answers */
  size_t waiting;        /* calls without an answer yet */
  bool asked;            /* all calls were made */
};

static uint64_t now_of(const struct lc_cluster *cluster) {
  return lc_cluster_now(cluster, cluster->workers);
}

static void left(struct lc_cluster *cluster) {
  void (*on_left)(void *arg) = cluster->on_left;
  cluster->on_left = NULL;
  if (!on_left)
    return;
  lc_log_event(cluster->config.log, LC_LOG_INFO, "left the cluster");
  on_left(cluster->on_left_arg);
}

/* Everybody knows; what is stored here now belongs to others. */
static void hand_over(struct leave *leave) {
  struct lc_cluster *cluster = leave->cluster;
  if (cluster->leave != leave)
    return;
  lc_timer_stop(lc_worker_timers(cluster->control), &leave->timer);
  cluster->leave = NULL;
  lc_free(leave);
  pthread_mutex_lock(&cluster->lock);
  cluster->off_ring = true;
  lc_view_publish(cluster);
  pthread_mutex_unlock(&cluster->lock);
  lc_handover_push(cluster, cluster->leave_deadline_ms, left);
}

static void on_answer(void *arg, const struct lc_rpc_result *result) {
  struct lc_cluster *cluster = arg;
  struct leave *leave = cluster->leave;
  (void)result; /* who didn't understand will see the key go */
  if (!leave)
    return;
  leave->waiting--;
  if (leave->asked && leave->waiting == 0)
    hand_over(leave);
}

static int frame_leave(const struct lc_peer *peer, struct lc_outq *q) {
  const struct lc_msg_leave_request request = {.from = peer->cluster->process, .to = peer->greeted_process};
  struct lc_buf buf;
  lc_buf_init(&buf);
  int rc = lc_msg_leave_request_encode(&request, &buf);
  if (rc == LC_OK)
    rc = lc_grpc_frame(q, lc_buf_slice(&buf));
  lc_buf_fini(&buf);
  return rc;
}

static bool tell(struct lc_peer *peer) {
  struct lc_cluster *cluster = peer->cluster;
  struct lc_outq *request = lc_control_request(cluster);
  return peer->connected && frame_leave(peer, request) == LC_OK &&
         lc_control_call(peer, LEAVE, request, LC_LEAVE_MS, on_answer, cluster, NULL) == LC_OK;
}

static void on_timer(struct lc_timer *timer) {
  hand_over(lc_container_of(timer, struct leave, timer));
}

/* The key is gone, or the registry couldn't be asked: the others are told in any case. */
static void on_deregistered(void *arg) {
  struct leave *leave = arg;
  struct lc_cluster *cluster = leave->cluster;
  struct lc_view *view = lc_view_acquire(cluster);
  lc_timer_start(lc_worker_timers(cluster->control), &leave->timer, now_of(cluster) + LC_LEAVE_MS);
  for (size_t i = 0; i < view->peer_count; i++)
    leave->waiting += tell(view->peers[i]);
  lc_view_unref(view);
  leave->asked = true;
  if (leave->waiting == 0)
    hand_over(leave);
}

/* What the registry gets of the time that is left, so that the hand-over has most of it. */
static uint64_t registry_ms(const struct lc_cluster *cluster) {
  uint64_t now_ms = lc_clock_ms();
  uint64_t left_ms = cluster->leave_deadline_ms > now_ms ? cluster->leave_deadline_ms - now_ms : 0;
  return left_ms / 4 < LC_LEAVE_MS ? left_ms / 4 + 1 : LC_LEAVE_MS;
}

void lc_members_leave(struct lc_task *task) {
  struct lc_cluster *cluster = lc_container_of(task, struct lc_cluster, leave_task);
  if (!atomic_load(&cluster->running))
    return;
  struct leave *leave = lc_calloc(1, sizeof *leave);
  pthread_mutex_lock(&cluster->lock);
  cluster->leaving = true;
  pthread_mutex_unlock(&cluster->lock);
  if (!leave || !cluster->registry) {
    lc_free(leave);
    left(cluster); /* the others will see the connections end */
    return;
  }
  leave->cluster = cluster;
  leave->timer.fire = on_timer;
  cluster->leave = leave;
  lc_registry_leave(cluster->registry, registry_ms(cluster), on_deregistered, leave);
}

void lc_leave_cancel(struct lc_cluster *cluster) {
  struct leave *leave = cluster->leave;
  cluster->leave = NULL;
  if (!leave)
    return;
  lc_timer_stop(lc_worker_timers(cluster->control), &leave->timer);
  lc_free(leave);
}
