#ifndef LC_CLUSTER_SERVICE_H
#define LC_CLUSTER_SERVICE_H

#include "cluster/internal.h"
#include "rpc/reply.h"

/* What the files of the service lcache.v1.Peer share. */

unsigned lc_peer_worker(const struct lc_rpc_call *call);

/* Who asks; NULL: a stranger, or it asks for a process that we are not. Valid until the worker's next view. */
struct lc_peer *lc_peer_sender(struct lc_cluster *cluster, unsigned worker, uint64_t from, uint64_t to);

/* service_get.c */
#define LC_PEER_GET_STATE LC_RPC_STATE_SIZE
#define LC_PEER_BATCH_STATE sizeof(void *)
void lc_peer_get_message(struct lc_rpc_call *call, void *ctx, struct lc_slice message);
void lc_peer_get_cancel(struct lc_rpc_call *call, void *ctx);
void lc_peer_batch_message(struct lc_rpc_call *call, void *ctx, struct lc_slice message);
void lc_peer_batch_cancel(struct lc_rpc_call *call, void *ctx);

#endif
