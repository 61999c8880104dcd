#ifndef LC_BASE_OUTQ_H
#define LC_BASE_OUTQ_H

#include "base/err.h"
#include "base/pool.h"
#include "base/slice.h"

/*
 * Bytes on their way out: a queue of copied runs and of references to bytes that somebody else holds. A stream queues
 * its reply in one, a connection its frames in another; a value moves between them without being copied.
 * Small appends are gathered into chunks from the thread's pool. Not thread-safe.
 */

/* How to hold what a reference points into. */
struct lc_hold_ops {
  void (*retain)(void *owner);
  void (*release)(void *owner);
};

struct lc_outq_seg;

struct lc_outq {
  struct lc_mempool *pool;
  struct lc_outq_seg *head, *tail;
  size_t bytes; /* queued */
};

void lc_outq_init(struct lc_outq *q, struct lc_mempool *pool); /* pool borrowed */
void lc_outq_fini(struct lc_outq *q);                          /* drops and releases what is queued */

/* Copies. 0 or LC_ENOMEM with the queue as it was. */
int lc_outq_append(struct lc_outq *q, const void *data, size_t len);

/* Room for len bytes at the end, contiguous, counted as queued: the caller fills them at once. NULL: no
 * memory. */
uint8_t *lc_outq_reserve(struct lc_outq *q, size_t len);

/* Queues a reference; retains `owner` once (released when consumed or dropped). Runs under 256 bytes are copied
 * instead. */
int lc_outq_append_ref(struct lc_outq *q, struct lc_slice bytes, void *owner, const struct lc_hold_ops *ops);

/* Keeps the first `bytes` bytes (at most q->bytes) and drops what is behind them: undoes appends. Costs a walk. */
void lc_outq_truncate(struct lc_outq *q, size_t bytes);

/* Moves the first n bytes (n at most from->bytes) to the end of `to`: copied runs are copied, references are shared. 0
 * or LC_ENOMEM (nothing moved). */
int lc_outq_move(struct lc_outq *to, struct lc_outq *from, size_t n);

/* Copies out and consumes the first n bytes, n at most q->bytes. */
void lc_outq_read(struct lc_outq *q, void *dst, size_t n);

/* The first runs, for a gathering write; returns how many of max were filled. */
unsigned lc_outq_peek(const struct lc_outq *q, struct lc_slice *runs, unsigned max);

void lc_outq_consume(struct lc_outq *q, size_t n); /* n at most q->bytes */

#endif
