#define XXH_INLINE_ALL
#ifndef NDEBUG
#define XXH_NO_INLINE_HINTS 1 /* gcc's -Og can't follow xxHash's always_inline */
#endif
#include "base/hash.h"

#include <errno.h>
#include <sys/random.h>
#include <xxhash.h>

#include "base/err.h"

/* Group and key up to this many bytes are put together on the stack: several times faster than XXH3's streaming. */
#define ONE_SHOT_BYTES 512

int lc_hash_key_init(struct lc_hash_key *key) {
  size_t filled = 0;
  while (filled < sizeof key->secret) {
    ssize_t got = getrandom(key->secret + filled, sizeof key->secret - filled, 0);
    if (got < 0 && errno != EINTR)
      return LC_EIO;
    if (got > 0)
      filled += (size_t)got;
  }
  return LC_OK;
}

/*
 * The secret alone is the key. A seed would not help: up to 240 bytes XXH3's variant with secret and seed ignores the
 * secret and mixes 64 bits of seed into a published one, and a seed mixed into the result separates no colliding pair.
 */
uint64_t lc_hash_keyed(const struct lc_hash_key *key, struct lc_slice data) {
  return XXH3_64bits_withSecret(data.ptr, data.len, key->secret, sizeof key->secret);
}

static size_t put(uint8_t *out, size_t at, struct lc_slice bytes) {
  if (bytes.len)
    memcpy(out + at, bytes.ptr, bytes.len);
  return at + bytes.len;
}

static uint64_t hash_streamed(struct lc_slice head, struct lc_slice group, struct lc_slice key) {
  XXH3_state_t state;
  XXH3_64bits_reset(&state);
  XXH3_64bits_update(&state, head.ptr, head.len);
  XXH3_64bits_update(&state, group.ptr, group.len);
  XXH3_64bits_update(&state, key.ptr, key.len);
  return XXH3_64bits_digest(&state);
}

uint64_t lc_hash_ring(struct lc_slice group, struct lc_slice key) {
  const uint8_t length[4] = {(uint8_t)group.len, (uint8_t)(group.len >> 8), (uint8_t)(group.len >> 16),
                             (uint8_t)(group.len >> 24)};
  struct lc_slice head = lc_slice_of(length, sizeof length);
  if (group.len > ONE_SHOT_BYTES || key.len > ONE_SHOT_BYTES || group.len + key.len > ONE_SHOT_BYTES)
    return hash_streamed(head, group, key);
  uint8_t joined[sizeof length + ONE_SHOT_BYTES];
  size_t len = put(joined, put(joined, put(joined, 0, head), group), key);
  return XXH3_64bits(joined, len);
}
