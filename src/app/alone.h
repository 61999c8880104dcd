#ifndef LC_APP_ALONE_H
#define LC_APP_ALONE_H

#include "base/parse.h"
#include "group/peer.h"

/* What Admin shows of a node that has no peers: it owns every key. The domain has NULL for peers then. */
struct lc_alone {
  char self[LC_NODE_ADDRESS_SIZE];
  char ring_id[LC_RING_ID_SIZE];
  struct lc_peers peers; /* what admin asks alone is set; ctx is this object, which must stay where it is */
};

void lc_alone_init(struct lc_alone *alone, const struct lc_address *address);

#endif
