#include "app/alone.h"

#include <inttypes.h>
#include <stdio.h>

#include "base/hash.h"

static const char *self(void *ctx) {
  return ((struct lc_alone *)ctx)->self;
}

static const char *ring_id(void *ctx) {
  return ((struct lc_alone *)ctx)->ring_id;
}

static const char *owner(void *ctx, struct lc_slice group, struct lc_slice key) {
  (void)group;
  (void)key;
  return self(ctx);
}

static size_t nodes(void *ctx, struct lc_node_info *out, size_t max) {
  if (max > 0)
    out[0] = (struct lc_node_info){.address = self(ctx), .state = LC_NODE_UP, .share = 1.0};
  return 1;
}

void lc_alone_init(struct lc_alone *alone, const struct lc_address *address) {
  lc_format_address(address, alone->self, sizeof alone->self);
  uint64_t id = lc_hash_ring(lc_slice_str(""), lc_slice_str(alone->self));
  snprintf(alone->ring_id, sizeof alone->ring_id, "%016" PRIx64, id);
  alone->peers = (struct lc_peers){.ctx = alone, .self = self, .ring_id = ring_id, .owner = owner, .nodes = nodes};
}
