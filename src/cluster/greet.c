/*
 * Hello, asked and answered: who is there, under which name, and that from now on writes wait for it. A Hello may come
 * to any worker; replies to ours come to the control thread.
 */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "cluster/control.h"

#define SERVICE_SHOWN 64u
#define REFUSED_LOG_MS 10000u

/* What either side of a Hello says of itself. */
struct speaker {
  uint64_t process;
  uint32_t weight;
  bool leaving;
};

int lc_greet_versions(uint32_t protocol, uint32_t ring_version, struct lc_err *err) {
  if (protocol + 1 < LC_PROTOCOL || protocol > LC_PROTOCOL + 1 || protocol == 0)
    return lc_err_set(err, LC_EINVAL, "peer protocol %" PRIu32 " and %u don't work together (neighbours do)", protocol,
                      LC_PROTOCOL);
  if (ring_version != LC_RING_VERSION)
    return lc_err_set(err, LC_EINVAL, "ring version %" PRIu32 " and %u don't work together (they must be equal)",
                      ring_version, LC_RING_VERSION);
  return LC_OK;
}

struct lc_slice lc_greet_service(const struct lc_cluster *cluster) {
  return lc_slice_str(cluster->config.service ? cluster->config.service : "");
}

/* Who says nothing is let in: a neighbouring version may not know the field. */
static int check_service(const struct lc_cluster *cluster, struct lc_slice theirs, struct lc_err *err) {
  struct lc_slice ours = lc_greet_service(cluster);
  if (theirs.len == 0 || lc_slice_eq(theirs, ours))
    return LC_OK;
  return lc_err_set(err, LC_EINVAL, "it is a node of the service %.*s, this one of %.*s (--service)",
                    (int)(theirs.len < SERVICE_SHOWN ? theirs.len : SERVICE_SHOWN), (const char *)theirs.ptr,
                    (int)ours.len, (const char *)ours.ptr);
}

static int copy_address(struct lc_slice address, char out[LC_NODE_ADDRESS_SIZE], struct lc_err *err) {
  if (address.len == 0 || address.len >= LC_NODE_ADDRESS_SIZE || memchr(address.ptr, '\0', address.len))
    return lc_err_set(err, LC_EINVAL, "a Hello without an address");
  memcpy(out, address.ptr, address.len);
  out[address.len] = '\0';
  return LC_OK;
}

static bool is_static(const struct lc_cluster *cluster) {
  return cluster->config.etcd_count == 0;
}

/* Another process answers at the peer's address: what was known of the one before is over. */
static void take_over(struct lc_peer *peer, uint64_t process) {
  pthread_mutex_lock(&peer->apply_lock);
  atomic_store_explicit(&peer->process, process, memory_order_release);
  atomic_store_explicit(&peer->applied, 0, memory_order_release);
  pthread_mutex_unlock(&peer->apply_lock);
}

/* Notes what a process says of itself; cluster->lock held. *fresh: another process than before. True: views change. */
static bool note_speaker(struct lc_peer *peer, const struct speaker *speaker, bool *fresh) {
  bool changed = peer->alias;
  bool leaving = atomic_load_explicit(&peer->leaving, memory_order_relaxed);
  peer->alias = false;
  peer->seen_ms = lc_clock_ms();
  *fresh = atomic_load_explicit(&peer->process, memory_order_relaxed) != speaker->process;
  if (*fresh) {
    atomic_store(&peer->parted, leaving);
    take_over(peer, speaker->process);
    changed = true;
  }
  /* A process that once said so never comes back; another one at the same address does. */
  bool leaves = speaker->leaving || (leaving && !*fresh);
  atomic_store_explicit(&peer->leaving, leaves, memory_order_release);
  /* A process keeps its weight: each change would cost everybody a new ring. */
  unsigned weight = is_static(peer->cluster) && *fresh ? lc_peer_weight(speaker->weight) : peer->weight;
  changed = changed || leaves != leaving || weight != peer->weight;
  peer->weight = weight;
  return changed;
}

/* ---- a Hello from another process ---- */

static void fill_reply(struct lc_cluster *cluster, struct lc_msg_hello_response *reply) {
  *reply = (struct lc_msg_hello_response){
      .process = cluster->process,
      .address = lc_slice_str(cluster->self),
      .weight = lc_peer_weight(cluster->config.weight),
      .protocol = LC_PROTOCOL,
      .ring_version = LC_RING_VERSION,
      .ring = lc_ring_id(cluster->view->now->ring),
      .leaving = cluster->leaving,
      .service = lc_greet_service(cluster),
  };
}

/* The peer of that name, made if it is not known yet and there is room. */
static struct lc_peer *meet(struct lc_cluster *cluster, const char *name) {
  struct lc_peer *peer = lc_peer_find(cluster, name);
  if (peer || lc_peer_strangers(cluster) >= LC_STRANGERS_MAX)
    return peer;
  return lc_peer_obtain(cluster, name);
}

/* Somebody else is in contact under that address: its predecessor, whose end we haven't noticed yet, or another node
 * that advertises the same. Who answers at the address decides. */
static bool is_taken(const struct lc_peer *peer, const struct speaker *speaker) {
  uint64_t process = atomic_load_explicit(&peer->process, memory_order_relaxed);
  return process != 0 && process != speaker->process && lc_peer_state(peer) != LC_PEER_DOWN &&
         !atomic_load_explicit(&peer->leaving, memory_order_relaxed);
}

/* *out: with a reference, a peer to be looked at; also where it is refused. */
static int greeted(struct lc_cluster *cluster, const char *name, const struct speaker *speaker, bool given_up,
                   struct lc_msg_hello_response *reply, struct lc_peer **out, struct lc_err *err) {
  struct lc_peer *peer = meet(cluster, name);
  bool fresh = false, was_waited = false;
  if (!peer)
    return lc_err_set(err, LC_ENOMEM, "no room for another peer");
  if (is_taken(peer, speaker)) {
    *out = lc_peer_ref(peer);
    return lc_err_set(err, LC_EINVAL, "%s answers as another process (two nodes with the same --advertise?)", name);
  }
  bool changed = note_speaker(peer, speaker, &fresh);
  reply->head = lc_deliver_greeted(cluster, peer, fresh, &was_waited);
  reply->was_waited = was_waited && !fresh && !atomic_load(&peer->gave_up);
  if (given_up) {
    atomic_store(&peer->gave_us_up, true);
    lc_fence_cut_off(cluster, peer);
  }
  reply->on_ring = lc_view_on_ring(peer);
  if ((changed || cluster->publish_again) && lc_view_publish(cluster) != LC_OK)
    return lc_err_set(err, LC_ENOMEM, "out of memory for another peer");
  if (fresh || lc_peer_state(peer) == LC_PEER_DOWN)
    *out = lc_peer_ref(peer);
  return LC_OK;
}

static int check_request(const struct lc_cluster *cluster, const struct lc_msg_hello_request *from_them,
                         char name[LC_NODE_ADDRESS_SIZE], struct lc_err *err) {
  struct lc_address address;
  int rc = copy_address(from_them->address, name, err);
  if (rc == LC_OK)
    rc = lc_greet_versions(from_them->protocol, from_them->ring_version, err);
  if (rc == LC_OK)
    rc = check_service(cluster, from_them->service, err);
  if (rc == LC_OK)
    rc = lc_parse_address(name, &address, err);
  if (rc != LC_OK)
    return rc;
  if (from_them->from == 0 || address.port == 0)
    return lc_err_set(err, LC_EINVAL, "a Hello without a process id, or from port 0");
  if (strcmp(name, cluster->self) == 0)
    return lc_err_set(err, LC_EINVAL, "%s is this node's own address (two nodes with the same --advertise?)", name);
  return LC_OK;
}

/* Who is refused tries again and again, and so do hostile ones: one line now and then says why. */
static void log_refused(struct lc_cluster *cluster, const char *name, const struct lc_err *err) {
  uint64_t now_ms = lc_clock_ms(), last_ms = atomic_load(&cluster->refused_ms);
  if ((last_ms == 0 || now_ms - last_ms >= REFUSED_LOG_MS) &&
      atomic_compare_exchange_strong(&cluster->refused_ms, &last_ms, now_ms))
    lc_log_event(cluster->config.log, LC_LOG_WARN, "hello refused", LC_F_STR("peer", name),
                 LC_F_STR("error", err->msg));
}

int lc_members_greeted(struct lc_cluster *cluster, const struct lc_msg_hello_request *from_them,
                       struct lc_msg_hello_response *reply, struct lc_err *err) {
  char name[LC_NODE_ADDRESS_SIZE] = "";
  struct lc_peer *look = NULL;
  struct lc_err why = {0};
  const struct speaker speaker = {from_them->from, from_them->weight, from_them->leaving};
  bool itself = from_them->from == cluster->process;
  int rc = itself ? LC_OK : check_request(cluster, from_them, name, &why);
  pthread_mutex_lock(&cluster->lock);
  fill_reply(cluster, reply);
  if (rc == LC_OK && !itself)
    rc = greeted(cluster, name, &speaker, from_them->given_up, reply, &look, &why);
  pthread_mutex_unlock(&cluster->lock);
  if (rc != LC_OK)
    log_refused(cluster, name, &why);
  if (rc != LC_OK && err)
    *err = why;
  if (look)
    lc_control_look(cluster, look);
  lc_peer_unref(look);
  return rc;
}

void lc_members_left(struct lc_cluster *cluster, struct lc_peer *peer) {
  pthread_mutex_lock(&cluster->lock);
  bool before = atomic_exchange_explicit(&peer->leaving, true, memory_order_acq_rel);
  peer->seen_ms = lc_clock_ms();
  if (!before)
    lc_view_publish(cluster); /* without memory the next tick does it */
  pthread_mutex_unlock(&cluster->lock);
  if (!before)
    lc_log_event(cluster->config.log, LC_LOG_INFO, "peer leaves", LC_F_STR("peer", peer->name));
}

/* ---- the answer to our Hello ---- */

/* Somebody of another name answers at the peer's address: that one is a peer of its own, and on a fixed list the member
 * that was meant. */
static enum lc_greeted other_name(struct lc_peer *peer, const char *name, const struct speaker *speaker) {
  struct lc_cluster *cluster = peer->cluster;
  struct lc_peer *other = lc_peer_find(cluster, name);
  if (!other) {
    other = meet(cluster, name);
    if (!other)
      return LC_GREETED_REFUSED;
    other->address = peer->address; /* nobody else knows it yet, and this one answers */
  }
  if (is_static(cluster) && peer->member) {
    other->member = true;
    other->weight = lc_peer_weight(speaker->weight);
  }
  peer->alias = true;
  lc_view_publish(cluster);
  return LC_GREETED_OTHER;
}

static enum lc_greeted itself(struct lc_peer *peer) {
  if (!peer->alias) {
    peer->alias = true;
    lc_view_publish(peer->cluster);
  }
  return LC_GREETED_SELF;
}

static enum lc_greeted answered(struct lc_peer *peer, const char *name, const struct speaker *speaker) {
  struct lc_cluster *cluster = peer->cluster;
  bool fresh = false, was_waited = false;
  if (speaker->process == cluster->process)
    return itself(peer);
  if (strcmp(name, peer->name) != 0)
    return other_name(peer, name, speaker);
  bool changed = note_speaker(peer, speaker, &fresh);
  lc_deliver_greeted(cluster, peer, fresh, &was_waited);
  if (changed)
    lc_view_publish(cluster);
  return LC_GREETED;
}

enum lc_greeted lc_greet_answered(struct lc_peer *peer, const struct lc_msg_hello_response *reply, struct lc_err *err) {
  struct lc_cluster *cluster = peer->cluster;
  const struct speaker speaker = {reply->process, reply->weight, reply->leaving};
  char name[LC_NODE_ADDRESS_SIZE] = "";
  bool self = reply->process == cluster->process;
  lc_err_set(err, LC_ENOMEM, "no room for another peer");
  if (reply->process == 0)
    lc_err_set(err, LC_EPROTO, "a Hello reply without a process id");
  if (reply->process == 0 || (!self && lc_greet_versions(reply->protocol, reply->ring_version, err) != LC_OK) ||
      check_service(cluster, reply->service, err) != LC_OK || copy_address(reply->address, name, err) != LC_OK)
    return LC_GREETED_REFUSED;
  if (!self && strcmp(name, cluster->self) == 0) {
    lc_err_set(err, LC_EINVAL, "it takes itself for %s, which is this node (two nodes with the same --advertise?)",
               name);
    return LC_GREETED_REFUSED;
  }
  pthread_mutex_lock(&cluster->lock);
  enum lc_greeted result = answered(peer, name, &speaker);
  pthread_mutex_unlock(&cluster->lock);
  return result;
}
