#ifndef LC_GROUP_WRITE_H
#define LC_GROUP_WRITE_H

#include "group/internal.h"

/* Writes, as write.c (where they begin), commit.c (the change itself) and write_op.c (in a cluster) see them. */

/* A checked write: what is to be changed. */
struct lc_change {
  struct lc_group *group;
  struct lc_slice key;
  bool set;
  size_t value_len;     /* Set */
  struct lc_item *item; /* Set; may be NULL where the value is over its limit */
};

/* What a Set's value would be as an item; NULL without memory. */
struct lc_item *lc_write_item(const struct lc_group *group, const struct lc_write *write);

static inline bool lc_write_fits(const struct lc_group *group, const struct lc_write *write) {
  return write->value.len <= group->options.max_value;
}

/*
 * Changes the store, under the lock of the key's flight, and tells the peers' log. The result goes into write (deleted,
 * err); returns its code. *seq is the number of the change, without peers 0.
 */
int lc_write_commit(const struct lc_change *change, struct lc_write *write, uint64_t *seq);

/* On a node that has peers: LC_PENDING, or the code. */
int lc_write_start(struct lc_group *group, struct lc_write *write, bool set);

#endif
