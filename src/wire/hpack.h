#ifndef LC_WIRE_HPACK_H
#define LC_WIRE_HPACK_H

#include "base/err.h"
#include "base/slice.h"

/*
 * Header decompression (RFC 7541) by itself, for a client that cuts its frames on its own (src/bench/). A connection's
 * blocks must all be given in their order, but for those that only use the table (see lc_hpack_is_indexed).
 */
struct lc_hpack;

int lc_hpack_create(struct lc_hpack **out); /* 0 or LC_ENOMEM */
void lc_hpack_destroy(struct lc_hpack *hpack);

/* Decodes a block; calls field for each, bytes valid during the call. 0, LC_EPROTO or LC_ENOMEM. */
typedef void (*lc_hpack_field_fn)(void *arg, struct lc_slice name, struct lc_slice value);
int lc_hpack_decode(struct lc_hpack *hpack, struct lc_slice block, lc_hpack_field_fn field, void *arg);

/* True if the block names table entries only: decoding it leaves the table as it is, so equal bytes mean equal fields.
 */
bool lc_hpack_is_indexed(struct lc_slice block);

#endif
