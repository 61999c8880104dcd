#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "base/err.h"
#include "base/hash.h"

static struct lc_hash_key fixed_key(uint8_t first) {
  struct lc_hash_key key;
  for (size_t i = 0; i < sizeof key.secret; i++)
    key.secret[i] = (uint8_t)(first + i * 37);
  return key;
}

static void test_a_drawn_key_is_not_the_one_before(void **state) {
  (void)state;
  struct lc_hash_key a = {{0}}, b = {{0}};
  assert_int_equal(lc_hash_key_init(&a), LC_OK);
  assert_int_equal(lc_hash_key_init(&b), LC_OK);
  assert_memory_not_equal(a.secret, b.secret, sizeof a.secret);
  for (size_t i = 0; i < sizeof a.secret; i += 32)
    assert_memory_not_equal(a.secret + i, b.secret + i, 32);
}

static void test_two_keys_hash_every_length_differently(void **state) {
  (void)state;
  uint8_t data[600] = {0};
  struct lc_hash_key a = fixed_key(1), b = fixed_key(2);
  for (size_t len = 0; len <= sizeof data; len++) {
    struct lc_slice slice = lc_slice_of(data, len);
    assert_true(lc_hash_keyed(&a, slice) != lc_hash_keyed(&b, slice));
    assert_true(lc_hash_keyed(&a, slice) == lc_hash_keyed(&a, slice));
  }
}

static void test_the_whole_secret_is_the_key_at_every_length(void **state) {
  (void)state;
  uint8_t data[600];
  memset(data, 'x', sizeof data);
  struct lc_hash_key a = fixed_key(1), b = a;
  /* Were only a seed drawn from the secret, changing its later bytes would change nothing. */
  memset(b.secret + 64, 0x5a, 64);
  assert_true(lc_hash_keyed(&a, lc_slice_of(data, 240)) != lc_hash_keyed(&b, lc_slice_of(data, 240)));
  b = a;
  memset(b.secret + LC_HASH_SECRET_SIZE - 32, 0x5a, 32);
  assert_true(lc_hash_keyed(&a, lc_slice_of(data, 600)) != lc_hash_keyed(&b, lc_slice_of(data, 600)));
}

static void test_similar_keys_spread_over_all_shards(void **state) {
  (void)state;
  enum { SHARDS = 64, KEYS = 64000 };
  struct lc_hash_key key = fixed_key(3);
  unsigned low[SHARDS] = {0}, high[SHARDS] = {0};
  for (int i = 0; i < KEYS; i++) {
    char name[32];
    snprintf(name, sizeof name, "user:%d", i);
    uint64_t hash = lc_hash_keyed(&key, lc_slice_str(name));
    low[hash % SHARDS]++;
    high[hash >> 58]++;
  }
  /* 1,000 expected, with a deviation of 31: six of them. */
  for (int i = 0; i < SHARDS; i++) {
    assert_in_range(low[i], 810, 1190);
    assert_in_range(high[i], 810, 1190);
  }
}

/* Computed with xxHash's own library over le32(group length), group, key: all nodes, of any version, must agree. */
static void test_ring_hashes_are_fixed(void **state) {
  (void)state;
  assert_true(lc_hash_ring(lc_slice_str(""), lc_slice_str("")) == UINT64_C(0x48b2c92616fc193d));
  assert_true(lc_hash_ring(lc_slice_of(NULL, 0), lc_slice_of(NULL, 0)) == UINT64_C(0x48b2c92616fc193d));
  assert_true(lc_hash_ring(lc_slice_str("scores"), lc_slice_str("Tom")) == UINT64_C(0x3a7dc67d7cc21d62));
  assert_true(lc_hash_ring(lc_slice_str("score"), lc_slice_str("sTom")) == UINT64_C(0x4162c22c2a8b855e));
  assert_true(lc_hash_ring(lc_slice_str("g"), lc_slice_of("\0\xff", 2)) == UINT64_C(0xa44f4a744ffb3fce));
}

static void test_long_ring_keys_hash_like_short_ones(void **state) {
  (void)state;
  uint8_t bytes[4096];
  for (size_t i = 0; i < sizeof bytes; i++)
    bytes[i] = (uint8_t)i;
  assert_true(lc_hash_ring(lc_slice_str("scores"), lc_slice_of(bytes, 506)) == UINT64_C(0xd680d36d265c5146));
  assert_true(lc_hash_ring(lc_slice_str("scores"), lc_slice_of(bytes, 507)) == UINT64_C(0x28d0af6a4c5d89));
  uint8_t group[300];
  memset(group, 'g', sizeof group);
  memset(bytes, 'k', sizeof bytes);
  assert_true(lc_hash_ring(lc_slice_of(group, 300), lc_slice_of(bytes, 4096)) == UINT64_C(0x1b162d3b6e045890));
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_a_drawn_key_is_not_the_one_before),
      cmocka_unit_test(test_two_keys_hash_every_length_differently),
      cmocka_unit_test(test_the_whole_secret_is_the_key_at_every_length),
      cmocka_unit_test(test_similar_keys_spread_over_all_shards),
      cmocka_unit_test(test_ring_hashes_are_fixed),
      cmocka_unit_test(test_long_ring_keys_hash_like_short_ones),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
