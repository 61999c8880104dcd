#include "app/alone.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/hash.h"

static const char *self(void *ctx) {
  return ((struct lc_alone *)ctx)->self;
}

static void ring_id(void *ctx, char out[LC_RING_ID_SIZE]) {
  memcpy(out, ((struct lc_alone *)ctx)->ring_id, LC_RING_ID_SIZE);
}

static void owner(void *ctx, struct lc_slice group, struct lc_slice key, char out[LC_NODE_ADDRESS_SIZE]) {
  (void)group;
  (void)key;
  snprintf(out, LC_NODE_ADDRESS_SIZE, "%s", self(ctx));
}

static size_t nodes(void *ctx, struct lc_node_info *nodes, size_t max) {
  if (max > 0) {
    nodes[0] = (struct lc_node_info){.state = LC_NODE_UP, .share = 1.0};
    snprintf(nodes[0].address, sizeof nodes[0].address, "%s", self(ctx));
  }
  return 1;
}

void lc_alone_init(struct lc_alone *alone, const struct lc_address *address) {
  lc_format_address(address, alone->self, sizeof alone->self);
  uint64_t id = lc_hash_ring(lc_slice_str(""), lc_slice_str(alone->self));
  snprintf(alone->ring_id, sizeof alone->ring_id, "%016" PRIx64, id);
  alone->peers = (struct lc_peers){.ctx = alone, .self = self, .ring_id = ring_id, .owner = owner, .nodes = nodes};
}
