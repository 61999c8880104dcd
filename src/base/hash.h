#ifndef LC_BASE_HASH_H
#define LC_BASE_HASH_H

#include "base/slice.h"

/*
 * XXH3 (Yann Collet, xxHash specification) in two uses: keyed, for tables that
 * clients can fill, and unkeyed, for what all nodes must compute alike.
 */

#define LC_HASH_SECRET_SIZE 192

/* A process's secret; drawn once at start from the kernel, never sent anywhere. */
struct lc_hash_key {
  uint8_t secret[LC_HASH_SECRET_SIZE];
};

/* Fills `key` from getrandom(2). 0 or LC_EIO. */
int lc_hash_key_init(struct lc_hash_key *key);

/* Keyed 64-bit hash: an attacker who can't see `key` can't choose collisions. */
uint64_t lc_hash_keyed(const struct lc_hash_key *key, struct lc_slice data);

/* Where (group, key) lies on the ring: XXH3-64, seed 0, of le32 group length, group, key. */
uint64_t lc_hash_ring(struct lc_slice group, struct lc_slice key);

#endif
