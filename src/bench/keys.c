#include <math.h>
#include <stdio.h>
#include <string.h>

#include "bench/bench.h"

static uint64_t rotl(uint64_t x, int k) {
  return (x << k) | (x >> (64 - k));
}

uint64_t lc_bench_random(struct lc_bench_keys *keys) {
  uint64_t s0 = keys->state[0], s1 = keys->state[1], result = s0 + s1;
  s1 ^= s0;
  keys->state[0] = rotl(s0, 24) ^ s1 ^ (s1 << 16);
  keys->state[1] = rotl(s1, 37);
  return result;
}

static double unit(struct lc_bench_keys *keys) {
  return (double)(lc_bench_random(keys) >> 11) * 0x1.0p-53;
}

static double zeta(uint64_t n, double theta) {
  double sum = 0;
  for (uint64_t i = 1; i <= n; i++)
    sum += 1.0 / pow((double)i, theta);
  return sum;
}

void lc_bench_keys_init(struct lc_bench_keys *keys, const struct lc_bench_options *options, uint64_t seed) {
  *keys =
      (struct lc_bench_keys){.count = options->keys, .distribution = options->distribution, .theta = options->theta};
  keys->state[0] = seed * 0x9e3779b97f4a7c15u + 1;
  keys->state[1] = seed ^ 0xd1b54a32d192ed03u;
  for (int i = 0; i < 16; i++)
    lc_bench_random(keys);
  if (keys->distribution != LC_BENCH_ZIPF)
    return;
  keys->zeta = zeta(keys->count, keys->theta);
  keys->alpha = 1.0 / (1.0 - keys->theta);
  keys->eta = (1.0 - pow(2.0 / (double)keys->count, 1.0 - keys->theta)) / (1.0 - zeta(2, keys->theta) / keys->zeta);
}

/* Rank 0 is the most popular. */
static uint64_t zipf(struct lc_bench_keys *keys) {
  double u = unit(keys), uz = u * keys->zeta;
  if (uz < 1.0 || keys->count < 2)
    return 0;
  if (uz < 1.0 + pow(0.5, keys->theta))
    return 1;
  uint64_t rank = (uint64_t)((double)keys->count * pow(keys->eta * u - keys->eta + 1.0, keys->alpha));
  return rank < keys->count ? rank : keys->count - 1;
}

uint64_t lc_bench_keys_next(struct lc_bench_keys *keys) {
  switch (keys->distribution) {
  case LC_BENCH_SEQUENTIAL:
    return keys->next++ % keys->count;
  case LC_BENCH_ZIPF:
    return zipf(keys);
  case LC_BENCH_SINGLE:
    return 0;
  default:
    return (uint64_t)(((unsigned __int128)lc_bench_random(keys) * keys->count) >> 64);
  }
}

size_t lc_bench_key_format(const char *prefix, uint64_t number, char out[LC_BENCH_KEY_MAX]) {
  size_t len = 0;
  for (; prefix[len] != '\0'; len++)
    out[len] = prefix[len];
  for (int digit = 11; digit >= 0; digit--) {
    out[len + (size_t)digit] = (char)('0' + number % 10);
    number /= 10;
  }
  return len + 12;
}
