#ifndef LC_SERVICE_SERVICE_H
#define LC_SERVICE_SERVICE_H

#include <stdbool.h>

#include "base/err.h"
#include "group/group.h"
#include "group/peer.h"
#include "rpc/server.h"
#include "wire/msg.h"

/*
 * The gRPC services of a node: lcache.v1.Cache, lcache.v1.Admin, pb.LCache, grpc.health.v1.Health and server
 * reflection. One object serves all workers; a call is handled on the worker of its connection.
 */
struct lc_services;

struct lc_services_config {
  struct lc_groups *groups;           /* borrowed */
  const struct lc_peers *peers;       /* borrowed */
  const struct lc_rpc_service *extra; /* borrowed: more methods for the table, of other layers; may be NULL */
  size_t extra_count;
  const struct lc_exec *exec; /* borrowed: tells the health watchers of each worker */
  const char *version;
  uint64_t started_ms; /* lc_clock_ms */
  uint64_t memory_limit_bytes;

  /* Fills connections, loads, buffer_bytes, lua_bytes of a worker (index and requests are set). Any thread. */
  void (*worker_stats)(void *ctx, unsigned worker, struct lc_msg_worker_stats *stats);
  void *ctx;
};

int lc_services_create(const struct lc_services_config *config, struct lc_services **out); /* 0 or LC_ENOMEM */
void lc_services_destroy(struct lc_services *services); /* when no call is left; NULL is fine */

const struct lc_rpc_table *lc_services_table(const struct lc_services *services);

/* What health answers: SERVING at first. Watchers are told on their workers. Any thread. */
void lc_services_set_serving(struct lc_services *services, bool serving);

/* This node is going: health answers NOT_SERVING for good; watches are told and ended, or they would keep their
 * connections open. Any thread. */
void lc_services_drain(struct lc_services *services);

#endif
