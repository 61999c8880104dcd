/*
 * Joining: the registry's list, Hello to everybody on it, then the ring and our own key in the registry. Others put us
 * on their rings when they see the key, so by then they know us, and we them.
 */
#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "cluster/control.h"

enum phase {
  FINDING,  /* who the members are is not known */
  GREETING, /* Hello is on its way to them */
  IN,       /* they are on our ring, and our key is in the registry, or will be */
};

struct lc_joining {
  enum phase phase;
  uint64_t greet_until_ms;
  bool listed; /* the registry has had this node since it entered */
  bool reached;
  char why[256]; /* the registry can't be reached */
};

int lc_join_create(struct lc_cluster *cluster) {
  cluster->joining = lc_calloc(1, sizeof *cluster->joining);
  return cluster->joining ? LC_OK : LC_ENOMEM;
}

void lc_join_destroy(struct lc_cluster *cluster) {
  lc_free(cluster->joining);
}

void lc_join_reach(struct lc_cluster *cluster, bool reached, const char *why) {
  struct lc_joining *joining = cluster->joining;
  joining->reached = reached;
  snprintf(joining->why, sizeof joining->why, "%s", why ? why : "");
}

/* ---- ready ---- */

static void tell_ready(struct lc_cluster *cluster) {
  if (cluster->ready_told)
    return;
  cluster->ready_told = true;
  if (cluster->on_ready)
    cluster->on_ready(cluster->on_ready_arg);
}

static const char *why_alone(const struct lc_joining *joining) {
  if (!joining->reached && joining->why[0])
    return joining->why;
  return joining->phase == IN ? "this node's key is not in the registry yet" : "the registry has not answered yet";
}

static void check_ready(struct lc_cluster *cluster) {
  const struct lc_joining *joining = cluster->joining;
  if (cluster->ready_told || !cluster->registry)
    return;
  bool is_static = cluster->config.etcd_count == 0;
  if (joining->phase == IN && (is_static || lc_registry_entered(cluster->registry))) {
    tell_ready(cluster);
  } else if (lc_clock_ms() - cluster->started_ms >= cluster->config.join_timeout_ms) {
    lc_log_event(cluster->config.log, LC_LOG_WARN, "serving alone, will join when that is possible",
                 LC_F_STR("why", why_alone(joining)));
    tell_ready(cluster);
  }
}

/* ---- the steps ---- */

void lc_join_listed(struct lc_cluster *cluster) {
  struct lc_joining *joining = cluster->joining;
  if (joining->phase == FINDING) {
    joining->phase = GREETING;
    joining->greet_until_ms = lc_clock_ms() + LC_JOIN_HELLO_MS;
  }
  lc_join_step(cluster);
}

static bool all_tried(struct lc_cluster *cluster) {
  bool all = true;
  pthread_mutex_lock(&cluster->lock);
  for (size_t i = 0; i < cluster->known_count; i++) {
    const struct lc_peer *peer = cluster->known[i];
    all = all && (!peer->member || peer->alias || peer->tried);
  }
  pthread_mutex_unlock(&cluster->lock);
  return all;
}

static bool has_others(const struct lc_cluster *cluster) {
  for (size_t i = 0; i < cluster->known_count; i++) {
    if (lc_view_on_ring(cluster->known[i]))
      return true;
  }
  return false;
}

/* Everybody on one ring. False: no memory, to be tried again. */
static bool publish_ring(struct lc_cluster *cluster) {
  pthread_mutex_lock(&cluster->lock);
  cluster->entered = true;
  if (!cluster->joined && has_others(cluster)) {
    cluster->joined = true;
    cluster->joined_until_ms = lc_clock_ms() + LC_PREVIOUS_MS;
  }
  bool ok = lc_view_publish(cluster) == LC_OK;
  pthread_mutex_unlock(&cluster->lock);
  return ok;
}

static void enter(struct lc_cluster *cluster) {
  if (cluster->leaving || !publish_ring(cluster))
    return;
  cluster->joining->phase = IN;
  if (cluster->registry)
    lc_registry_enter(cluster->registry, cluster->self, lc_peer_weight(cluster->config.weight));
}

static bool all_waited(struct lc_cluster *cluster) {
  bool all = true;
  pthread_mutex_lock(&cluster->lock);
  for (size_t i = 0; i < cluster->known_count; i++) {
    const struct lc_peer *peer = cluster->known[i];
    all = all && (!peer->member || peer->alias || atomic_load(&peer->waited));
  }
  pthread_mutex_unlock(&cluster->lock);
  return all;
}

/* Others forward writes to an address as soon as one Hello was answered there. Those who have copies, of the process
 * before this one, must be known by then, or they would not be told. */
static void check_arrived(struct lc_cluster *cluster) {
  const struct lc_joining *joining = cluster->joining;
  if (!atomic_load(&cluster->arriving))
    return;
  bool greeted = joining->phase == IN && (lc_clock_ms() >= joining->greet_until_ms || all_waited(cluster));
  if (greeted || lc_clock_ms() - cluster->started_ms >= cluster->config.join_timeout_ms)
    atomic_store(&cluster->arriving, false);
}

void lc_join_step(struct lc_cluster *cluster) {
  struct lc_joining *joining = cluster->joining;
  if (joining->phase == GREETING && (all_tried(cluster) || lc_clock_ms() >= joining->greet_until_ms))
    enter(cluster);
  check_arrived(cluster);
  check_ready(cluster);
}

/* ---- again ---- */

void lc_join_again(struct lc_cluster *cluster) {
  pthread_mutex_lock(&cluster->lock);
  uint64_t until_ms = lc_clock_ms() + LC_PREVIOUS_MS;
  /* A second of difference makes no view. */
  if (cluster->entered && has_others(cluster) && cluster->joined_until_ms + 1000 < until_ms) {
    cluster->joined_until_ms = until_ms;
    lc_view_publish(cluster);
  }
  pthread_mutex_unlock(&cluster->lock);
}

void lc_join_self(struct lc_cluster *cluster, bool listed) {
  struct lc_joining *joining = cluster->joining;
  if (joining->phase != IN || joining->listed == listed)
    return;
  bool first = !joining->listed && !cluster->ready_told;
  joining->listed = listed;
  if (!first)
    lc_join_again(cluster);
}
