#ifndef LC_CLUSTER_DATA_H
#define LC_CLUSTER_DATA_H

#include "cluster/internal.h"

/* What link.c, calls.c and batch.c share: a worker's connections to its peers, and the calls on them. */

struct lc_link {
  struct lc_cluster_worker *worker;
  struct lc_peer *peer;         /* with a reference */
  struct lc_rpc_client *client; /* NULL: not connected */
  struct lc_list calls;         /* in progress */
  unsigned failures;            /* since it last worked */
  uint64_t retry_at_ms;
};

/* A call in progress on a link, which outlives it. Embedded in what its kind needs (calls.c). */
struct lc_call {
  struct lc_list link; /* in the link's calls */
  struct lc_link *on;
  struct lc_rpc_client_call *rpc;

  /* The connection was given up here: the call ends without an answer. It is unlinked already. `why` NULL: this worker
   * closes, nobody is to be told. */
  void (*lost)(struct lc_call *call, const char *why);
};

/* The link to a peer that is UP; NULL if there is no connection and none can be begun now, or memory is out. */
struct lc_link *lc_link_to(struct lc_cluster *cluster, unsigned index, struct lc_peer *peer);

/*
 * Starts a unary call whose `on` is set; `request` is emptied or the caller's to free. 0, then done once, or
 * call->lost once, both later; or LC_EUNAVAILABLE, LC_ENOMEM, LC_EEXHAUSTED (too much waits for the connection). `done`
 * must begin with lc_link_ended.
 */
int lc_link_call(struct lc_call *call, const char *path, struct lc_outq *request, uint64_t deadline_ms,
                 lc_rpc_client_done done);
void lc_link_ended(struct lc_call *call); /* takes it off its link */
void lc_link_cancel(struct lc_call *call);

void lc_calls_open(struct lc_cluster_worker *worker);
void lc_calls_close(struct lc_cluster_worker *worker); /* nobody is told any more */

struct lc_mempool *lc_link_pool(const struct lc_link *link);

/* What a call without an answer of the peer's own means: LC_PEER_UNREACHED, or LC_PEER_FAILED with *code. */
enum lc_peer_outcome lc_link_trouble(const struct lc_rpc_result *result, int *code);

#endif
