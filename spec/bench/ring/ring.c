/*
 * The ring's figures beside their targets: ring [SETS]. SETS sets of random addresses for each number of nodes
 * (default 100). Exits 1 when a target is not met.
 */
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/clock.h"
#include "ring/ring.h"

#define NODES_MAX 1001u
#define ADDRESS_SIZE 32
#define PICKS 20000000u

static bool all_met = true;

struct nodes {
  char text[NODES_MAX][ADDRESS_SIZE];
  struct lc_ring_member members[NODES_MAX];
};

/* splitmix64 (Steele, Lea, Flood 2014). */
static uint64_t next_random(uint64_t *state) {
  uint64_t x = *state += UINT64_C(0x9e3779b97f4a7c15);
  x = (x ^ x >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
  x = (x ^ x >> 27) * UINT64_C(0x94d049bb133111eb);
  return x ^ x >> 31;
}

static void name_nodes(struct nodes *nodes, size_t count, uint64_t *random) {
  for (size_t i = 0; i < count; i++) {
    uint64_t bits = next_random(random);
    snprintf(nodes->text[i], ADDRESS_SIZE, "10.%u.%u.%u:%u", (unsigned)(bits & 255), (unsigned)(bits >> 8 & 255),
             (unsigned)(bits >> 16 & 255), (unsigned)(bits >> 24 & 0x7fff) + 1024);
    nodes->members[i] = (struct lc_ring_member){nodes->text[i], 1};
  }
}

static struct lc_ring *build(const struct nodes *nodes, size_t count) {
  struct lc_ring *ring = NULL;
  struct lc_err err = {0};
  if (lc_ring_create(nodes->members, count, &ring, &err)) {
    fprintf(stderr, "%s\n", err.msg);
    exit(1);
  }
  return ring;
}

static void print(const char *what, double figure, const char *unit, double target) {
  bool met = figure <= target;
  all_met = all_met && met;
  printf("%-48s %8.3f %-3s at most %g%s\n", what, figure, unit, target, met ? "" : "  MISSED");
}

static double peak_over_mean(const struct lc_ring *ring) {
  double peak = 0;
  for (size_t i = 0; i < lc_ring_count(ring); i++)
    peak = lc_ring_share(ring, i) > peak ? lc_ring_share(ring, i) : peak;
  return peak * (double)lc_ring_count(ring);
}

static void balance(struct nodes *nodes, size_t count, unsigned sets, uint64_t *random) {
  double worst = 0;
  char what[64];
  for (unsigned i = 0; i < sets; i++) {
    name_nodes(nodes, count, random);
    struct lc_ring *ring = build(nodes, count);
    double peak = peak_over_mean(ring);
    worst = peak > worst ? peak : worst;
    lc_ring_destroy(ring);
  }
  snprintf(what, sizeof what, "peak over mean, %zu nodes, worst of %u sets", count, sets);
  print(what, worst, "", 1.10);
}

/* The join of one more node: the part of the keys that moves. */
static void join(struct nodes *nodes, size_t count, uint64_t *random) {
  const unsigned keys = 1000000;
  unsigned moved = 0;
  char what[64];
  name_nodes(nodes, count + 1, random);
  struct lc_ring *before = build(nodes, count), *after = build(nodes, count + 1);
  for (unsigned i = 0; i < keys; i++) {
    uint64_t hash = next_random(random);
    moved += strcmp(lc_ring_at(before, lc_ring_pick(before, hash))->address,
                    lc_ring_at(after, lc_ring_pick(after, hash))->address) != 0;
  }
  lc_ring_destroy(before);
  lc_ring_destroy(after);
  snprintf(what, sizeof what, "keys that a join moves, %zu to %zu nodes", count, count + 1);
  print(what, 100.0 * moved / keys, "%", 100.0 / (double)(count + 1) + 5);
}

static void build_time(struct nodes *nodes, size_t count, double target_ms, uint64_t *random) {
  double best = 1e9;
  char what[64];
  name_nodes(nodes, count, random);
  for (unsigned i = 0; i < 5; i++) {
    uint64_t start = lc_clock_thread_cpu_ns();
    lc_ring_destroy(build(nodes, count));
    double ms = (double)(lc_clock_thread_cpu_ns() - start) / 1e6;
    best = ms < best ? ms : best;
  }
  snprintf(what, sizeof what, "build, %zu nodes", count);
  print(what, best, "ms", target_ms);
}

/* The next hash is made from the last answer, so that each pick waits for the one before it. */
static void pick_time(struct nodes *nodes, size_t count, bool without, double target_ns, uint64_t *random) {
  char what[64];
  name_nodes(nodes, count, random);
  struct lc_ring *ring = build(nodes, count);
  uint64_t start = lc_clock_thread_cpu_ns();
  uint64_t state = start;
  for (unsigned i = 0; i < PICKS; i++) {
    uint64_t hash = next_random(&state);
    state += without ? lc_ring_pick_without(ring, hash, i % count) : lc_ring_pick(ring, hash);
  }
  double ns = (double)(lc_clock_thread_cpu_ns() - start) / PICKS;
  lc_ring_destroy(ring);
  snprintf(what, sizeof what, "%s, %zu nodes", without ? "pick without one" : "pick", count);
  print(what, ns, "ns", target_ns);
  if (state == 0)
    puts("");
}

int main(int argc, char **argv) {
  static const size_t counts[] = {3, 4, 5, 8, 16, 32, 64};
  unsigned sets = argc > 1 ? (unsigned)strtoul(argv[1], NULL, 10) : 100;
  struct nodes *nodes = malloc(sizeof *nodes);
  uint64_t random = 1;
  if (!nodes || sets == 0) {
    free(nodes);
    fprintf(stderr, "usage: %s [SETS]\n", argv[0]);
    return 1;
  }
  for (size_t i = 0; i < sizeof counts / sizeof counts[0]; i++)
    balance(nodes, counts[i], sets, &random);
  join(nodes, 3, &random);
  join(nodes, 63, &random);
  join(nodes, 1000, &random);
  build_time(nodes, 64, 100, &random);
  build_time(nodes, 1000, 100, &random);
  pick_time(nodes, 3, false, 200, &random);
  pick_time(nodes, 64, false, 200, &random);
  pick_time(nodes, 64, true, 200, &random);
  pick_time(nodes, 1000, false, 400, &random);
  free(nodes);
  return all_met ? 0 : 1;
}
