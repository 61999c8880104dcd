#ifndef LC_CLUSTER_CLUSTER_H
#define LC_CLUSTER_CLUSTER_H

#include "base/log.h"
#include "group/exec.h"
#include "group/group.h"
#include "group/peer.h"
#include "loop/fetch.h"
#include "loop/worker.h"
#include "rpc/server.h"

/*
 * This node among others: the ring, the connections to peers, the promises about writes, joining and leaving. README.md
 * in this folder has the state table (which copies of a key can exist where, and what each event does to them) and the
 * way through the files. It implements group/peer.h, and the service lcache.v1.Peer that other nodes call.
 */
struct lc_cluster;

struct lc_cluster_config {
  const struct lc_exec *exec; /* of the data workers; borrowed */
  struct lc_log *log;
  struct lc_address advertise;
  unsigned weight;
  size_t max_message; /* bytes; --max-message */
  uint64_t lease_ms, join_timeout_ms;

  /* A fixed list, or etcd; neither is a mistake. All copied. */
  const struct lc_address *peers;
  size_t peer_count;
  const char *const *etcd;
  size_t etcd_count;
  const char *service, *etcd_user, *etcd_password;
  struct lc_fetch_tls etcd_tls;
};

/* 0, LC_ENOMEM, LC_EIO, LC_EINVAL with a message. */
int lc_cluster_create(const struct lc_cluster_config *config, struct lc_cluster **out, struct lc_err *err);
void lc_cluster_destroy(struct lc_cluster *cluster); /* after lc_cluster_stop and the workers' end; NULL is fine */

const struct lc_peers *lc_cluster_peers(const struct lc_cluster *cluster);
const struct lc_rpc_service *lc_cluster_service(const struct lc_cluster *cluster);

/* The groups that were made with these peers; before the first worker starts. */
void lc_cluster_bind(struct lc_cluster *cluster, struct lc_groups *groups);

/* On each data worker's thread, before it serves, and when it closes. After close no call of `peers` may be made on it;
 * calls in progress end without their callback. 0 or LC_ENOMEM. */
int lc_cluster_worker_open(struct lc_cluster *cluster, unsigned index, struct lc_worker *worker);
void lc_cluster_worker_close(struct lc_cluster *cluster, unsigned index);

/*
 * Starts the control thread: finds the others and joins them. on_ready (any thread; once) comes when the ring is known
 * and this node is on it, or the join timeout has passed: it then serves alone and joins later. All workers must be
 * open, and the listener must answer by now, for others say Hello back.
 */
int lc_cluster_start(struct lc_cluster *cluster, void (*on_ready)(void *arg), void *arg, struct lc_err *err);

/*
 * Leaves: off the registry, off everybody's ring, then hands the items over; `done` (any thread; once) comes when that
 * is through or timeout_ms has passed. Requests are still answered. Any thread; once.
 */
void lc_cluster_leave(struct lc_cluster *cluster, uint64_t timeout_ms, void (*done)(void *arg), void *arg);

/* Ends the control thread. On the main thread, after all requests have ended, before the workers close. */
void lc_cluster_stop(struct lc_cluster *cluster);

/* Some lines for the log: ring, peers, log of writes. Any thread. */
void lc_cluster_dump(struct lc_cluster *cluster);

#endif
