/*
 * The control connections: one a peer, always pinged, for Hello, invalidations, hand-over and leaving. What state a
 * peer is in is decided here.
 *
 *   not dialled --dial--> Hello under way --answer--> connected --ends--> dialled again at once
 *        ^                      |                         |                     |
 *        '------- backoff ------+------- no answer -------'--- silence: DOWN ---'--- fails: DOWN
 */
#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "base/arena.h"
#include "base/buf.h"
#include "cluster/control.h"

#define HELLO "/lcache.v1.Peer/Hello"
#define BACKOFF_MIN_MS 200u /* halved by the jitter */
#define BACKOFF_MAX_MS 1000u
#define BACKOFF_STRANGER_MAX_MS 5000u /* who is no member is expected to come to us */
#define ALIAS_RETRY_MS 60000u
#define REPLY_MAX ((size_t)1 << 20)

static uint64_t now_of(const struct lc_cluster *cluster) {
  return lc_cluster_now(cluster, cluster->workers);
}

static void start_retry(struct lc_peer *peer, uint64_t delay_ms) {
  struct lc_cluster *cluster = peer->cluster;
  lc_timer_start(lc_worker_timers(cluster->control), &peer->retry, now_of(cluster) + delay_ms);
}

/* Between a half of ms and all of it, so that nodes don't knock in step. */
static uint64_t jittered(struct lc_cluster *cluster, uint64_t ms) {
  cluster->jitter = cluster->jitter * 6364136223846793005u + 1442695040888963407u;
  return ms / 2 + (cluster->jitter >> 33) % (ms / 2 + 1);
}

static bool is_member(struct lc_peer *peer) {
  pthread_mutex_lock(&peer->cluster->lock);
  bool member = peer->member;
  pthread_mutex_unlock(&peer->cluster->lock);
  return member;
}

static void retry_later(struct lc_peer *peer) {
  uint64_t most = is_member(peer) ? BACKOFF_MAX_MS : BACKOFF_STRANGER_MAX_MS;
  uint64_t ms = (uint64_t)BACKOFF_MIN_MS << (peer->attempts < 8 ? peer->attempts : 8);
  peer->attempts++;
  start_retry(peer, jittered(peer->cluster, ms < most ? ms : most));
}

static void log_peer(struct lc_peer *peer, enum lc_log_level level, const char *event, const char *why) {
  lc_log_event(peer->cluster->config.log, level, event, LC_F_STR("peer", peer->name), LC_F_STR("why", why));
}

/* ---- contact lost ---- */

static void hang_up(struct lc_peer *peer) {
  struct lc_cluster *cluster = peer->cluster;
  struct lc_rpc_client *client = peer->client;
  bool was_connected = peer->connected;
  lc_timer_stop(lc_worker_timers(cluster->control), &peer->retry);
  peer->client = NULL;
  peer->hello_call = NULL;
  peer->connected = false;
  lc_rpc_client_destroy(client);
  if (!was_connected)
    return;
  peer->lost_ms = now_of(cluster);
  pthread_mutex_lock(&cluster->lock);
  peer->seen_ms = lc_clock_ms();
  pthread_mutex_unlock(&cluster->lock);
  lc_deliver_disconnected(peer);
}

/* Writes stop waiting for it, forwards to it fall back. */
static void give_up(struct lc_peer *peer, const char *why) {
  bool was_down = lc_peer_state(peer) == LC_PEER_DOWN;
  if (was_down && !peer->told)
    log_peer(peer, LC_LOG_WARN, "peer can't be reached", why);
  peer->told = true;
  if (was_down && !atomic_load(&peer->waited))
    return;
  atomic_store_explicit(&peer->state, LC_PEER_DOWN, memory_order_release);
  lc_deliver_down(peer);
  lc_links_check_all(peer->cluster);
  if (!was_down) /* one that said that it leaves is expected to go */
    log_peer(peer, atomic_load(&peer->leaving) ? LC_LOG_INFO : LC_LOG_WARN, "peer down", why);
}

static void dial(struct lc_peer *peer);

/* It said Hello itself, and was told that writes wait for it: it stood still, and goes on. Given up now it would not
 * know, and serve what it has. */
static bool spoke_lately(struct lc_peer *peer) {
  pthread_mutex_lock(&peer->cluster->lock);
  uint64_t seen_ms = peer->seen_ms;
  pthread_mutex_unlock(&peer->cluster->lock);
  return atomic_load(&peer->waited) && lc_clock_ms() - seen_ms < LC_STALL_MS;
}

/* The connection, or the try to make one, has failed. A connection that broke is made anew at once, before the peer
 * counts as down; one that fell silent, or a second failure, is enough. */
static void contact_lost(struct lc_peer *peer, const char *why, bool silent) {
  struct lc_cluster *cluster = peer->cluster;
  /* Who hangs up at once each time isn't dialled in a loop. */
  bool again = peer->connected && !silent && now_of(cluster) - peer->connected_ms >= LC_HELLO_GAP_MS;
  again = again || (silent && spoke_lately(peer) && now_of(cluster) - peer->dialled_ms >= LC_STALL_MS);
  char text[LC_ERR_MSG_SIZE];
  snprintf(text, sizeof text, "%s", why); /* may be the client's, which goes */
  hang_up(peer);
  peer->tried = true;
  if (again) {
    dial(peer);
    return;
  }
  give_up(peer, text);
  retry_later(peer);
  lc_join_step(cluster);
}

static void on_down(void *arg, const struct lc_err *err) {
  contact_lost(arg, err->msg, err->code == LC_EDEADLINE);
}

/* ---- Hello ---- */

static void connected(struct lc_peer *peer, const struct lc_msg_hello_response *reply) {
  uint64_t before = peer->greeted_process;
  bool same = before == reply->process;
  if (!same && before != 0)
    lc_loss_gone(peer);
  atomic_store(&peer->parted, false); /* said of the one before */
  if (!peer->connected || !same)
    peer->connected_ms = now_of(peer->cluster);
  peer->connected = peer->in_contact = peer->tried = true;
  peer->told = false;
  peer->greeted_process = reply->process;
  peer->hello_head = reply->head;
  if (lc_peer_state(peer) == LC_PEER_DOWN || !same) {
    atomic_store_explicit(&peer->state, LC_PEER_SYNCING, memory_order_release);
  }
  atomic_store(&peer->gave_up, false); /* our Hello said so */
  if (same && !reply->was_waited) {
    lc_loss_given_up(peer);
    lc_fence_cut_off(peer->cluster, peer);
  }
  if (same && !reply->on_ring)
    lc_join_again(peer->cluster);
  lc_fence_greeted(peer, reply);
  lc_deliver_connected(peer);
  lc_join_step(peer->cluster);
}

/* Nobody to be connected with answers there. */
static void was_other(struct lc_peer *peer, const char *who) {
  if (!peer->told)
    lc_log_event(peer->cluster->config.log, LC_LOG_INFO, "address answers by another name",
                 LC_F_STR("peer", peer->name), LC_F_STR("name", who));
  hang_up(peer);
  peer->tried = peer->told = true;
  give_up(peer, "its address is another node's");
  start_retry(peer, ALIAS_RETRY_MS);
  lc_control_dial_new(peer->cluster);
  lc_join_step(peer->cluster);
}

static void take_reply(struct lc_peer *peer, struct lc_slice bytes) {
  char first[1024], name[LC_NODE_ADDRESS_SIZE] = "";
  struct lc_arena arena;
  struct lc_msg_hello_response reply;
  struct lc_err err = {0};
  lc_arena_init(&arena, first, sizeof first, REPLY_MAX);
  enum lc_greeted result = LC_GREETED_REFUSED;
  if (lc_msg_hello_response_decode(&arena, bytes, &reply, &err) == LC_OK)
    result = lc_greet_answered(peer, &reply, &err);
  switch (result) {
  case LC_GREETED:
    connected(peer, &reply);
    break;
  case LC_GREETED_SELF:
    was_other(peer, peer->cluster->self);
    break;
  case LC_GREETED_OTHER:
    memcpy(name, reply.address.ptr, reply.address.len); /* its length was checked */
    was_other(peer, name);
    break;
  case LC_GREETED_REFUSED:
    contact_lost(peer, err.msg, true);
    break;
  }
  lc_arena_fini(&arena);
}

static void on_hello(void *arg, const struct lc_rpc_result *result) {
  struct lc_peer *peer = arg;
  peer->hello_call = NULL;
  if (result->status == LC_GRPC_OK)
    take_reply(peer, result->reply);
  else if (peer->connected)
    start_retry(peer, LC_HELLO_GAP_MS); /* if the connection is gone it says so itself */
  else
    contact_lost(peer, result->message[0] ? result->message : lc_grpc_status_name(result->status), true);
}

struct lc_outq *lc_control_request(struct lc_cluster *cluster) {
  lc_outq_consume(&cluster->request, cluster->request.bytes);
  return &cluster->request;
}

static int frame_hello(struct lc_peer *peer, struct lc_outq *q) {
  struct lc_cluster *cluster = peer->cluster;
  struct lc_msg_hello_request request = {
      .from = cluster->process,
      .address = lc_slice_str(cluster->self),
      .weight = lc_peer_weight(cluster->config.weight),
      .protocol = LC_PROTOCOL,
      .ring_version = LC_RING_VERSION,
      .given_up = atomic_load(&peer->gave_up),
      .service = lc_greet_service(cluster),
  };
  struct lc_buf buf;
  lc_buf_init(&buf);
  pthread_mutex_lock(&cluster->lock);
  request.ring = lc_ring_id(cluster->view->now->ring);
  request.leaving = cluster->leaving;
  pthread_mutex_unlock(&cluster->lock);
  int rc = lc_msg_hello_request_encode(&request, &buf);
  if (rc == LC_OK)
    rc = lc_grpc_frame(q, lc_buf_slice(&buf));
  lc_buf_fini(&buf);
  return rc;
}

static int say_hello(struct lc_peer *peer) {
  struct lc_cluster *cluster = peer->cluster;
  struct lc_outq *request = lc_control_request(cluster);
  int rc = frame_hello(peer, request);
  if (rc == LC_OK)
    rc = lc_rpc_client_call(peer->client, HELLO, request, LC_SILENCE_MS, on_hello, peer, &peer->hello_call);
  peer->hello_ms = now_of(cluster);
  return rc;
}

void lc_control_hello(struct lc_peer *peer) {
  if (!peer->connected) {
    lc_control_look(peer->cluster, peer);
    return;
  }
  /* An answer that is on its way may be older than what made the caller ask. */
  if (peer->hello_call)
    lc_rpc_client_cancel(peer->hello_call);
  peer->hello_call = NULL;
  if (say_hello(peer) != LC_OK)
    start_retry(peer, LC_HELLO_GAP_MS);
}

/* ---- dialling ---- */

static void dial(struct lc_peer *peer) {
  struct lc_cluster *cluster = peer->cluster;
  struct lc_rpc_client_config config;
  struct lc_err err = {0};
  lc_rpc_client_config_init(&config);
  config.worker = cluster->control;
  config.address = peer->address;
  config.connect_timeout_ms = config.silence_ms = LC_SILENCE_MS;
  config.ping_ms = LC_PING_MS;
  config.ping_always = true;
  config.max_message = REPLY_MAX;
  config.on_down = on_down;
  config.arg = peer;
  lc_timer_stop(lc_worker_timers(cluster->control), &peer->retry);
  peer->dialled_ms = now_of(cluster);
  int rc = lc_rpc_client_create(&config, &peer->client, &err);
  if (rc == LC_OK)
    rc = say_hello(peer);
  if (rc != LC_OK)
    contact_lost(peer, err.code ? err.msg : lc_code_name(rc), true);
}

void lc_control_retry(struct lc_timer *timer) {
  struct lc_peer *peer = lc_container_of(timer, struct lc_peer, retry);
  if (!peer->client)
    dial(peer);
  else if (peer->connected && !peer->hello_call)
    lc_control_hello(peer);
}

void lc_control_dial_new(struct lc_cluster *cluster) {
  if (!atomic_load(&cluster->running))
    return;
  struct lc_view *view = lc_view_acquire(cluster);
  for (size_t i = 0; i < view->peer_count; i++) {
    struct lc_peer *peer = view->peers[i];
    if (!peer->client && !peer->retry.active && !peer->dropped)
      dial(peer);
  }
  lc_view_unref(view);
}

/* ---- looking ---- */

static void look_at(struct lc_peer *peer) {
  uint64_t now_ms = now_of(peer->cluster), last_ms = peer->client ? peer->hello_ms : peer->dialled_ms;
  if (peer->dropped || (peer->client && (!peer->connected || peer->hello_call)))
    return; /* of no use, or under way */
  if (now_ms - last_ms < LC_HELLO_GAP_MS)
    start_retry(peer, LC_HELLO_GAP_MS - (now_ms - last_ms));
  else if (peer->client)
    lc_control_hello(peer);
  else
    dial(peer);
}

static void run_look(struct lc_task *task) {
  struct lc_cluster *cluster = lc_container_of(task, struct lc_cluster, look_task);
  atomic_store(&cluster->look_posted, false);
  if (!atomic_load(&cluster->running))
    return;
  struct lc_view *view = lc_view_acquire(cluster);
  for (size_t i = 0; i < view->peer_count; i++) {
    if (atomic_exchange(&view->peers[i]->look, false))
      look_at(view->peers[i]);
  }
  lc_view_unref(view);
}

void lc_control_look(struct lc_cluster *cluster, struct lc_peer *peer) {
  atomic_store(&peer->look, true);
  if (!atomic_exchange(&cluster->look_posted, true))
    lc_worker_post(cluster->control, &cluster->look_task);
}

/* ---- for the others on this thread ---- */

int lc_control_call(struct lc_peer *peer, const char *path, struct lc_outq *request, uint64_t timeout_ms,
                    lc_rpc_client_done done, void *arg, struct lc_rpc_client_call **out) {
  if (!peer->connected)
    return LC_EUNAVAILABLE;
  return lc_rpc_client_call(peer->client, path, request, timeout_ms, done, arg, out);
}

void lc_control_synced(struct lc_peer *peer) {
  if (!peer->connected || lc_peer_state(peer) != LC_PEER_SYNCING)
    return;
  atomic_store_explicit(&peer->state, LC_PEER_UP, memory_order_release);
  peer->attempts = 0;
  lc_log_event(peer->cluster->config.log, LC_LOG_INFO, "peer up", LC_F_STR("peer", peer->name));
}

/* ---- the thread's clockwork ---- */

/* This process stood still: whoever wasn't connected had no chance to be heard, and the lease may be gone. */
static void lost_time(struct lc_cluster *cluster) {
  pthread_mutex_lock(&cluster->lock);
  for (size_t i = 0; i < cluster->known_count; i++)
    cluster->known[i]->seen_ms = lc_clock_ms();
  pthread_mutex_unlock(&cluster->lock);
  if (cluster->registry)
    lc_registry_refresh(cluster->registry);
}

static void on_tick(struct lc_timer *timer) {
  struct lc_cluster *cluster = lc_container_of(timer, struct lc_cluster, tick);
  uint64_t now_ms = lc_clock_ms();
  if (now_ms - cluster->ticked_ms > LC_STALL_MS)
    lost_time(cluster);
  cluster->ticked_ms = now_ms;
  lc_timer_start(lc_worker_timers(cluster->control), timer, now_of(cluster) + LC_TICK_MS);
  lc_fence_tick(cluster);
  lc_members_tick(cluster);
  lc_control_dial_new(cluster);
}

static void run_refresh(struct lc_task *task) {
  struct lc_cluster *cluster = lc_container_of(task, struct lc_cluster, refresh_task);
  atomic_store(&cluster->refresh_posted, false);
  if (cluster->registry)
    lc_registry_refresh(cluster->registry);
}

void lc_control_init(struct lc_cluster *cluster) {
  cluster->look_task.run = run_look;
  cluster->refresh_task.run = run_refresh;
  cluster->tick.fire = on_tick;
  cluster->jitter = cluster->process;
}

void lc_control_start(struct lc_cluster *cluster) {
  atomic_store(&cluster->running, true);
  cluster->ticked_ms = lc_clock_ms();
  lc_timer_start(lc_worker_timers(cluster->control), &cluster->tick, now_of(cluster) + LC_TICK_MS);
}

void lc_control_drop(struct lc_peer *peer) {
  peer->dropped = true;
  hang_up(peer);
  lc_deliver_down(peer);
}

void lc_control_stop(struct lc_cluster *cluster) {
  atomic_store(&cluster->running, false);
  lc_timer_stop(lc_worker_timers(cluster->control), &cluster->tick);
  struct lc_view *view = lc_view_acquire(cluster);
  for (size_t i = 0; i < view->peer_count; i++)
    hang_up(view->peers[i]);
  lc_view_unref(view);
}
