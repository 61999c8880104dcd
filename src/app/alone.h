#ifndef LC_APP_ALONE_H
#define LC_APP_ALONE_H

#include "base/parse.h"
#include "group/peer.h"

/* The peers of a node that has none: it owns every key. */
struct lc_alone {
  char self[LC_HOST_SIZE + 9];
  char ring_id[17];
  struct lc_peers peers; /* for who asks; ctx is this object, which must stay where it is */
};

void lc_alone_init(struct lc_alone *alone, const struct lc_address *address);

#endif
