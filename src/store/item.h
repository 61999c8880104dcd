#ifndef LC_STORE_ITEM_H
#define LC_STORE_ITEM_H

#include <stdbool.h>

#include "base/outq.h"
#include "base/slice.h"

/*
 * One cached value: key, value, version and expiry in one block of memory, immutable once it is shared and counted by
 * references. The store holds one reference for as long as the item is in it; a reader holds its own, so eviction never
 * frees bytes in use. Items are created by whoever has the value (a load, a Set) and put into a store, or not.
 */
struct lc_item;

#define LC_KEY_MAX 65535u        /* no group's max_key is above this */
#define LC_VALUE_MAX 0xffffffffu /* nor any max_value above this */

/*
 * A new item with the bytes copied in; one reference, the caller's. expires_ms is monotonic (lc_clock_ms),
 * LC_TIME_NEVER for none (times of 2^48 ms and more, 8,900 years, count as none). Versions count modulo 2^48, of two
 * the later is less than 2^47 ahead; version 0 asks the store to give one at put. NULL when memory is out, key.len >
 * LC_KEY_MAX or value.len > LC_VALUE_MAX.
 */
struct lc_item *lc_item_create(struct lc_slice key, struct lc_slice value, uint64_t expires_ms, uint64_t version);

/*
 * Where in a cluster's life an item belongs: the number of the view (ring) under which it is stored, and whether it is
 * a mirror, a short-lived copy of another node's key. Set once, before the item is shared; a new item has view 0 and is
 * no mirror. Views count modulo 2^15.
 */
#define LC_ITEM_VIEW_MASK 0x7fffu
void lc_item_set_view(struct lc_item *item, unsigned view, bool mirror);
unsigned lc_item_view(const struct lc_item *item);
bool lc_item_mirror(const struct lc_item *item);

struct lc_item *lc_item_ref(struct lc_item *item); /* returns item; any thread */
void lc_item_unref(struct lc_item *item);          /* frees at the last; any thread; NULL is fine */
void lc_item_unref_void(void *item);               /* the same, as a release callback */

/* Holds an item for as long as its bytes are in an output queue (lc_outq_append_ref). */
extern const struct lc_hold_ops lc_item_hold_ops;

struct lc_slice lc_item_key(const struct lc_item *item);
struct lc_slice lc_item_value(const struct lc_item *item);
uint64_t lc_item_version(const struct lc_item *item);
uint64_t lc_item_expires_ms(const struct lc_item *item);

/* Milliseconds left at now_ms as the wire has it: 0 means no expiry; an item about to expire gives at least 1. */
int64_t lc_item_ttl_ms(const struct lc_item *item, uint64_t now_ms);

/* What one such item is charged: key, value, header, its share of the index and the allocator's rounding. */
size_t lc_item_charge(size_t key_len, size_t value_len);

#endif
