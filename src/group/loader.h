#ifndef LC_GROUP_LOADER_H
#define LC_GROUP_LOADER_H

#include "base/err.h"
#include "base/slice.h"

/*
 * How the domain gets values that it does not have. Implemented by script/ with Lua coroutines.
 */
struct lc_item;
struct lc_load;

struct lc_loader {
  void *ctx;

  /*
   * Starts a load on the calling worker. Returns LC_OK with a result set (lc_load_set_…), or LC_PENDING and calls
   * lc_load_done later, on the same worker, exactly once unless cancelled. It never fails: an error is a result.
   */
  int (*start)(void *ctx, struct lc_load *load);

  /* Nobody waits any more, or its time is up: lc_load_done must not be called after. On the load's worker. */
  void (*cancel)(void *ctx, struct lc_load *load);

  /*
   * An item left a group that has on_evict. On worker 0, off the hot path. `reason` is an enum lc_evict_reason. The
   * item stands for its key and has no value: a queue of values would hold the memory that eviction was to free.
   */
  void (*evicted)(void *ctx, unsigned group_index, struct lc_item *item, int reason);
};

/* What a load is about. Bytes stay valid until the load is done or cancelled. */
struct lc_slice lc_load_group(const struct lc_load *load);
struct lc_slice lc_load_key(const struct lc_load *load);
unsigned lc_load_group_index(const struct lc_load *load); /* index into the options that made the groups */
unsigned lc_load_worker(const struct lc_load *load);
uint64_t lc_load_deadline_ms(const struct lc_load *load); /* monotonic */

/* The loader's own pointer, NULL at first. */
void lc_load_set_impl(struct lc_load *load, void *impl);
void *lc_load_impl(const struct lc_load *load);

/*
 * The result; exactly one of these, before start returns LC_OK or before lc_load_done. Bytes are copied.
 * ttl_ms: -1 the group's, 0 never expires, else milliseconds. A value over the group's max_value becomes an
 * LC_EINTERNAL error that says so.
 */
void lc_load_set_value(struct lc_load *load, struct lc_slice value, int64_t ttl_ms);
void lc_load_set_not_found(struct lc_load *load);
void lc_load_set_error(struct lc_load *load, int code, const char *message, size_t len);

/* The loader has logged this failure itself, with more than the domain knows: one line for one failure. */
void lc_load_set_logged(struct lc_load *load);

/* The pending load has its result. The load must not be touched after. */
void lc_load_done(struct lc_load *load);

#endif
