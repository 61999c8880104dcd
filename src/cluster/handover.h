#ifndef LC_CLUSTER_HANDOVER_H
#define LC_CLUSTER_HANDOVER_H

#include "cluster/internal.h"

/* What a leaving node has for others: for handover.c, made in collect.c. */
struct lc_handover_item {
  struct lc_item *item; /* a reference; NULL: given away */
  uint32_t group;       /* index */
  uint32_t target;
};

struct lc_handover_target {
  struct lc_peer *peer; /* the view's */
  size_t begin, end;    /* of items */
};

struct lc_handover_load {
  struct lc_handover_item *items; /* by target; of each the most recently used first */
  size_t count;
  struct lc_handover_target *targets;
  size_t target_count;
};

/*
 * All that is stored here and that the view gives to another node. Groups take turns, in proportion to what they have.
 * Without memory, or once `stop` is true, the load is empty. Any thread.
 */
void lc_handover_collect(struct lc_groups *groups, const struct lc_view *view, const atomic_bool *stop,
                         struct lc_handover_load *load);
void lc_handover_unload(struct lc_handover_load *load);

#endif
