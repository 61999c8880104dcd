#ifndef LC_CLUSTER_CALLS_H
#define LC_CLUSTER_CALLS_H

#include "cluster/data.h"

/*
 * Inside calls.c and batch.c. What a lc_peer_get's impl[] holds:
 *   [0]     the struct lc_get_call that carries it; NULL while it is corked or couldn't be sent
 *   [1]     its place in a batch; while corked the peer, with a reference
 *   [2, 3]  a list's node while corked or not sent
 */
struct lc_get_call {
  struct lc_call call;
  struct lc_peer_get *get; /* of a single Get; NULL for a batch */
  struct lc_peer *next;    /* a peek's second choice, with a reference, or NULL */
  uint64_t deadline_ms;
  size_t count, live;         /* of a batch: Gets, and those neither cancelled nor told */
  struct lc_peer_get *gets[]; /* of a batch; NULL: cancelled or told */
};

static inline struct lc_list *lc_get_node(struct lc_peer_get *get) {
  return (struct lc_list *)(void *)&get->impl[2];
}

static inline struct lc_peer_get *lc_get_of_node(struct lc_list *node) {
  return lc_container_of(node, struct lc_peer_get, impl[2]);
}

/* NULL: no memory. `count`: of a batch. */
struct lc_get_call *lc_calls_create(struct lc_link *link, size_t count,
                                    void (*lost)(struct lc_call *call, const char *why));
void lc_calls_free(struct lc_get_call *call);

/* Sends one Get by itself. 0; LC_EUNAVAILABLE, LC_ENOMEM, LC_EEXHAUSTED. */
int lc_calls_send(struct lc_cluster *cluster, struct lc_peer_get *get, struct lc_peer *peer, struct lc_peer *next,
                  uint64_t deadline_ms);

/* Puts an outcome into a Get, which isn't told yet: a peer's answer; the end of a call without one; the code of a send
 * that failed; nobody's. */
void lc_calls_take(struct lc_cluster *cluster, struct lc_peer *peer, struct lc_peer_get *get,
                   const struct lc_msg_peer_get_response *reply);
void lc_calls_trouble(struct lc_peer_get *get, const struct lc_rpc_result *result);
void lc_calls_unsent(struct lc_peer_get *get, int rc);
void lc_calls_unreached(struct lc_peer_get *get, const char *why);

/* No longer under way, and never told. It may still be cancelled. */
void lc_calls_forget(struct lc_peer_get *get);

#endif
