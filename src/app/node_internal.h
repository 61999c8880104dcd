#ifndef LC_APP_NODE_INTERNAL_H
#define LC_APP_NODE_INTERNAL_H

#include <stdatomic.h>

#include "app/alone.h"
#include "app/node.h"
#include "base/timer.h"
#include "cluster/cluster.h"
#include "group/group.h"
#include "loop/fetch.h"
#include "loop/listener.h"
#include "loop/worker.h"
#include "rpc/server.h"
#include "script/script.h"
#include "server/server.h"
#include "service/service.h"

/* Inside app/ only. */

/* What one worker runs. Its own thread's, but for what says otherwise. */
struct lc_node_worker {
  struct lc_node *node;
  unsigned index;
  struct lc_fetcher *fetcher;
  struct lc_rpc_server *rpc;
  struct lc_server *server;
  struct lc_timer tick;
  int boot_code; /* of the start; read by the main thread after `booted` */
  struct lc_err boot_err;

  /* One step of a stop, or of a dump, at a time: posted by the main thread. */
  struct lc_task step, cut, dump;

  /* Written at each tick, read by any thread. */
  _Atomic uint64_t beat_ms, buffer_bytes, streams;

  /* The main thread's. */
  bool stalled;
  uint64_t stalled_since_ms;
};

enum lc_node_phase {
  LC_NODE_SERVING,
  LC_NODE_HANDING_OVER,
  LC_NODE_DRAINING,
  LC_NODE_SETTLING,
  LC_NODE_CLOSING,
  LC_NODE_STOPPED
};

struct lc_node {
  const struct lc_setup *setup;
  struct lc_log *log;
  unsigned count;               /* workers */
  struct lc_worker **workers;   /* by index */
  struct lc_script **scripts;   /* by worker */
  struct lc_node_worker *state; /* by worker */
  struct lc_exec exec;
  struct lc_loader loader;
  struct lc_groups *groups;
  struct lc_alone alone;      /* who we are, where there are no others */
  struct lc_cluster *cluster; /* NULL: a node alone */
  bool cluster_started;
  atomic_bool joined; /* the others are found, or not waited for any more */
  atomic_bool left;   /* off the ring, items handed over */
  struct lc_services *services;
  struct lc_listener *listener;
  uint64_t started_ms;

  uv_loop_t loop; /* the main thread's */
  bool loop_open;
  uv_async_t wake; /* a step is over on all workers, or a stop is asked for */
  uv_timer_t watch, deadline;
  uv_sem_t booted;
  bool sem_open;

  unsigned running; /* workers whose thread was started */
  atomic_bool stop_asked;
  atomic_uint pending; /* workers that have not ended the present step */
  atomic_uint dumping; /* workers that have not written their line */
  enum lc_node_phase phase;
  unsigned settled; /* rounds of LC_NODE_SETTLING */
  bool cut;
  bool stuck; /* gave up waiting */
  uint64_t last_watch_ms;
  uint64_t next_trim_ms, requests_seen; /* by the last look at how busy it is */
  bool was_busy;
};

/* node_worker.c: on the worker's thread. */
int lc_node_worker_start(void *arg);
void lc_node_worker_drain(struct lc_task *step);
void lc_node_worker_settle(struct lc_task *step);
void lc_node_worker_close(struct lc_task *step);
void lc_node_worker_cut(struct lc_task *cut);
void lc_node_accept(void *arg, struct lc_worker *worker, int fd);

/* node_stop.c: on the main thread. */
void lc_node_advance(struct lc_node *node);  /* after a wake: the next step, if the present one is over */
void lc_node_stop_now(struct lc_node *node); /* begins to stop, without waiting for requests */

/* node_cluster.c: on the main thread. */
bool lc_node_has_peers(const struct lc_node *node); /* the settings name others, or where to find them */
int lc_node_create_cluster(struct lc_node *node, struct lc_err *err);
int lc_node_start_cluster(struct lc_node *node, struct lc_err *err);
void lc_node_leave_cluster(struct lc_node *node);

/* node_watch.c */
void lc_node_watch(struct lc_node *node, uint64_t now_ms);

/* node_dump.c */
void lc_node_worker_stats(void *ctx, unsigned worker, struct lc_msg_worker_stats *stats);

#endif
