#ifndef LC_CLUSTER_LOG_H
#define LC_CLUSTER_LOG_H

#include "cluster/internal.h"

/* The log of writes and what hangs on it, for log.c and deliver.c. All under its lock, but for the batch. */
#define LC_LOG_BATCH_ENTRIES 1024u
#define LC_LOG_BATCH_BYTES ((size_t)256 << 10)

struct lc_log_entry {
  uint32_t at; /* in bytes: the group's name, then the key */
  uint16_t key_len;
  uint8_t group_len;
};

/* A copy of some entries; the control thread's. */
struct lc_log_batch {
  struct lc_msg_name names[LC_LOG_BATCH_ENTRIES];
  size_t count;
  uint8_t bytes[LC_LOG_BATCH_BYTES];
};

struct lc_write_log {
  pthread_mutex_t lock;
  uint64_t head, oldest;        /* numbers; oldest == head + 1: empty */
  struct lc_log_entry *entries; /* number n is entries[n % LC_LOG_ENTRIES] */
  uint8_t *bytes;               /* a ring of LC_LOG_BYTES; no entry wraps */
  size_t end;                   /* where the next one goes, if there is room */

  struct lc_list waited;  /* peers, by waited_link, with references */
  uint64_t acknowledged;  /* by all of them; UINT64_MAX: there are none */
  struct lc_list waiting; /* struct lc_peer_wait, by seq */
  struct lc_log_batch *batch;
};

uint64_t lc_write_log_append(struct lc_write_log *log, struct lc_slice group, struct lc_slice key);

/* Copies entries from number `first` on, which must be kept, into the batch: as many as there are and go in. */
void lc_write_log_copy(struct lc_write_log *log, uint64_t first);

/* Whether the entry numbered `first`, and all after it, are kept. */
static inline bool lc_write_log_reaches(const struct lc_write_log *log, uint64_t first) {
  return first >= log->oldest;
}

#endif
