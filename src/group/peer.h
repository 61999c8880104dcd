#ifndef LC_GROUP_PEER_H
#define LC_GROUP_PEER_H

#include "base/slice.h"

/*
 * Who owns which key. A node alone owns all (app/alone.c); cluster/ will implement this over the ring, and add getting,
 * setting, deleting and invalidating at another node.
 */
enum lc_node_state { LC_NODE_UP, LC_NODE_DOWN, LC_NODE_LEAVING };

struct lc_node_info {
  const char *address; /* HOST:PORT; valid as long as the peers */
  enum lc_node_state state;
  double share; /* of the ring, 0 to 1 */
};

struct lc_peers {
  void *ctx;
  const char *(*self)(void *ctx);    /* this node's advertised HOST:PORT */
  const char *(*ring_id)(void *ctx); /* the snapshot's id, hexadecimal */

  /* The owner of a key; its address. */
  const char *(*owner)(void *ctx, struct lc_slice group, struct lc_slice key);

  /* Fills at most max nodes; returns how many there are. */
  size_t (*nodes)(void *ctx, struct lc_node_info *nodes, size_t max);
};

#endif
