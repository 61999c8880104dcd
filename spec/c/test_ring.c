#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/alloc.h"
#include "base/hash.h"
#include "ring/ring.h"

#define NODES_MAX 64u
#define MEMBERS(...)                                                                                                   \
  (const struct lc_ring_member[]) {                                                                                    \
    __VA_ARGS__                                                                                                        \
  }

#define A1 "10.0.0.1:8001"
#define A2 "10.0.0.2:8001"
#define A3 "10.0.0.3:8001"

struct nodes {
  char text[NODES_MAX][32];
  struct lc_ring_member members[NODES_MAX];
};

/* splitmix64. */
static uint64_t next_random(uint64_t *state) {
  uint64_t x = *state += UINT64_C(0x9e3779b97f4a7c15);
  x = (x ^ x >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
  x = (x ^ x >> 27) * UINT64_C(0x94d049bb133111eb);
  return x ^ x >> 31;
}

static void name_nodes(struct nodes *nodes, size_t count, uint64_t *random) {
  for (size_t i = 0; i < count; i++) {
    uint64_t bits = next_random(random);
    snprintf(nodes->text[i], sizeof nodes->text[i], "10.%u.%u.%u:%u", (unsigned)(bits & 255),
             (unsigned)(bits >> 8 & 255), (unsigned)(bits >> 16 & 255), 1024 + (unsigned)i);
    nodes->members[i] = (struct lc_ring_member){nodes->text[i], 1};
  }
}

static struct lc_ring *ring_of(const struct lc_ring_member *members, size_t count) {
  struct lc_ring *ring = NULL;
  struct lc_err err = {0};
  assert_int_equal(lc_ring_create(members, count, &ring, &err), LC_OK);
  assert_int_equal(err.code, 0);
  return ring;
}

static const char *owner(const struct lc_ring *ring, uint64_t hash) {
  return lc_ring_at(ring, lc_ring_pick(ring, hash))->address;
}

static uint64_t hash_of(const char *group, const char *key) {
  return lc_hash_ring(lc_slice_str(group), lc_slice_str(key));
}

static uint64_t point(const char *address, uint32_t n) {
  const uint8_t number[4] = {(uint8_t)n, (uint8_t)(n >> 8), (uint8_t)(n >> 16), (uint8_t)(n >> 24)};
  return lc_hash_ring(lc_slice_str(address), lc_slice_of(number, sizeof number));
}

static void points_are_the_documented_ones(void **state) {
  (void)state;
  assert_true(point(A1, 0) == UINT64_C(0xc79b06ccde5fd286));
  assert_true(point(A1, 3071) == UINT64_C(0x7951c4cc2480d5f5));
  assert_true(point("[::1]:8001", 1) == UINT64_C(0x63ec848e2dc98bfd));
}

/* src/ring/README.md has the same table. */
static void owners_and_ids_are_the_documented_ones(void **state) {
  (void)state;
  static const struct {
    const char *key;
    uint64_t hash;
    const char *a, *b, *c;
  } rows[] = {
      {"scores 42", UINT64_C(0xe3eb4e674d42ac94), A3, A3, "n0:1"},
      {"scores 2", UINT64_C(0x1856156fc5bd0db4), A1, A2, "n1:1"},
      {"scores 7", UINT64_C(0xdc19456385ede70b), A3, A2, "n1:1"},
      {"g alice", UINT64_C(0x1b19ec43bd05d134), A2, A2, "n2:1"},
      {"g bob", UINT64_C(0x28a4c1ed699e6d47), A1, A1, "n3:1"},
      {NULL, 0, A2, A2, "n2:1"},
      {NULL, UINT64_MAX, A2, A2, "n2:1"},
  };
  struct lc_ring *a = ring_of(MEMBERS({A1, 1}, {A2, 1}, {A3, 1}), 3);
  struct lc_ring *b = ring_of(MEMBERS({A1, 1}, {A2, 2}, {A3, 1}), 3);
  struct lc_ring *c = ring_of(MEMBERS({"n0:1", 100}, {"n1:1", 100}, {"n2:1", 100}, {"n3:1", 100}), 4);
  for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
    char words[32] = "";
    if (rows[i].key) {
      snprintf(words, sizeof words, "%s", rows[i].key);
      char *space = strchr(words, ' ');
      *space = '\0';
      assert_true(hash_of(words, space + 1) == rows[i].hash);
    }
    assert_string_equal(owner(a, rows[i].hash), rows[i].a);
    assert_string_equal(owner(b, rows[i].hash), rows[i].b);
    assert_string_equal(owner(c, rows[i].hash), rows[i].c);
  }
  assert_true(lc_ring_id(a) == UINT64_C(0xa7992f051e7333fb));
  assert_true(lc_ring_id(b) == UINT64_C(0xbc9a388d0ee3b5b6));
  assert_true(lc_ring_id(c) == UINT64_C(0x786dc0b5f332d95e));
  lc_ring_destroy(a);
  lc_ring_destroy(b);
  lc_ring_destroy(c);
}

static void a_place_that_two_have_is_the_first_address(void **state) {
  (void)state;
  const uint64_t place = UINT64_C(0x1766b20b62a9);
  assert_true(point("n6651:1", 812) >> 16 == place && point("n10403:1", 1367) >> 16 == place);
  for (int turn = 0; turn < 2; turn++) {
    struct lc_ring *ring = turn ? ring_of(MEMBERS({"n6651:1", 1}, {"n10403:1", 1}), 2)
                                : ring_of(MEMBERS({"n10403:1", 1}, {"n6651:1", 1}), 2);
    assert_string_equal(owner(ring, place << 16), "n10403:1");
    assert_string_equal(owner(ring, place << 16 | 0xffff), "n10403:1");
    size_t other = lc_ring_pick_without(ring, place << 16, lc_ring_find(ring, "n10403:1"));
    assert_string_equal(lc_ring_at(ring, other)->address, "n6651:1");
    lc_ring_destroy(ring);
  }
}

/* The definition, word for word: the nearest point at the hash's place or after it. */
static const char *slow_owner(const struct lc_ring_member *members, size_t count, uint64_t hash, const char *without) {
  const char *best = NULL;
  uint64_t best_distance = 0;
  for (size_t i = 0; i < count; i++) {
    for (uint32_t n = 0; n < members[i].weight * LC_RING_POINTS; n++) {
      uint64_t distance = ((point(members[i].address, n) >> 16) - (hash >> 16)) & ((UINT64_C(1) << 48) - 1);
      if (without && strcmp(members[i].address, without) == 0)
        break;
      if (!best || distance < best_distance || (distance == best_distance && strcmp(members[i].address, best) < 0)) {
        best = members[i].address;
        best_distance = distance;
      }
    }
  }
  return best;
}

static void a_pick_is_the_nearest_point_after_the_hash(void **state) {
  (void)state;
  uint64_t random = 7;
  for (size_t count = 1; count <= 9; count++) {
    struct nodes nodes;
    name_nodes(&nodes, count, &random);
    for (size_t i = 0; i < count; i++)
      nodes.members[i].weight = 1 + (unsigned)(next_random(&random) % 3);
    struct lc_ring *ring = ring_of(nodes.members, count);
    for (unsigned i = 0; i < 60; i++) {
      uint64_t hash = next_random(&random);
      if (i % 3 == 0) /* at a point, just before it, just after it */
        hash = (point(nodes.text[0], i) & ~UINT64_C(0xffff)) + ((uint64_t)(i / 3 % 3) - 1) * 0x10000;
      assert_string_equal(owner(ring, hash), slow_owner(nodes.members, count, hash, NULL));
      size_t without = next_random(&random) % count;
      size_t other = lc_ring_pick_without(ring, hash, without);
      const char *right = slow_owner(nodes.members, count, hash, lc_ring_at(ring, without)->address);
      if (right)
        assert_string_equal(lc_ring_at(ring, other)->address, right);
      else
        assert_true(other == LC_RING_NONE);
    }
    lc_ring_destroy(ring);
  }
}

static void shuffle(struct lc_ring_member *members, size_t count, uint64_t *random) {
  for (size_t i = count; i > 1; i--) {
    size_t j = next_random(random) % i;
    struct lc_ring_member swap = members[i - 1];
    members[i - 1] = members[j];
    members[j] = swap;
  }
}

static void another_order_gives_the_same_ring(void **state) {
  (void)state;
  struct nodes nodes;
  uint64_t random = 3;
  name_nodes(&nodes, 20, &random);
  struct lc_ring *first = ring_of(nodes.members, 20);
  for (unsigned turn = 0; turn < 20; turn++) {
    shuffle(nodes.members, 20, &random);
    struct lc_ring *ring = ring_of(nodes.members, 20);
    assert_true(lc_ring_id(ring) == lc_ring_id(first));
    for (unsigned i = 0; i < 1000; i++) {
      uint64_t hash = next_random(&random);
      assert_string_equal(owner(ring, hash), owner(first, hash));
    }
    lc_ring_destroy(ring);
  }
  lc_ring_destroy(first);
}

static void members_are_copied_sorted_and_found(void **state) {
  (void)state;
  char address[] = "b:1";
  struct lc_ring *ring = ring_of(MEMBERS({"c:1", 3}, {address, 2}, {"a:1", 1}, {"a:10", 4}), 4);
  address[0] = 'x';
  static const char *const sorted[] = {"a:1", "a:10", "b:1", "c:1"};
  static const unsigned weights[] = {1, 4, 2, 3};
  assert_int_equal(lc_ring_count(ring), 4);
  for (size_t i = 0; i < 4; i++) {
    assert_string_equal(lc_ring_at(ring, i)->address, sorted[i]);
    assert_int_equal(lc_ring_at(ring, i)->weight, weights[i]);
    assert_true(lc_ring_find(ring, sorted[i]) == i);
  }
  assert_true(lc_ring_find(ring, "a:2") == LC_RING_NONE);
  assert_true(lc_ring_find(ring, "d:1") == LC_RING_NONE);
  assert_true(lc_ring_find(ring, "") == LC_RING_NONE);
  lc_ring_destroy(ring);
}

static void an_address_listed_twice_counts_once_with_its_greater_weight(void **state) {
  (void)state;
  struct lc_ring *twice = ring_of(MEMBERS({"a:1", 1}, {"b:1", 2}, {"a:1", 3}, {"a:1", 2}), 4);
  struct lc_ring *once = ring_of(MEMBERS({"a:1", 3}, {"b:1", 2}), 2);
  assert_int_equal(lc_ring_count(twice), 2);
  assert_true(lc_ring_id(twice) == lc_ring_id(once));
  assert_true(lc_ring_share(twice, 0) == lc_ring_share(once, 0));
  lc_ring_destroy(twice);
  lc_ring_destroy(once);
}

static void the_id_tells_members_and_weights_apart(void **state) {
  (void)state;
  struct lc_ring *rings[] = {
      ring_of(NULL, 0),
      ring_of(MEMBERS({"a:1", 1}), 1),
      ring_of(MEMBERS({"a:1", 2}), 1),
      ring_of(MEMBERS({"a:2", 1}), 1),
      ring_of(MEMBERS({"a:1", 1}, {"a:2", 1}), 2),
      ring_of(MEMBERS({"a:1", 1}, {"a:2", 2}), 2),
      ring_of(MEMBERS({"a:1", 2}, {"a:2", 1}), 2),
  };
  size_t count = sizeof rings / sizeof rings[0];
  assert_true(lc_ring_id(rings[0]) == UINT64_C(0xbb62981ee992331c));
  for (size_t i = 0; i < count; i++) {
    for (size_t j = 0; j < i; j++)
      assert_true(lc_ring_id(rings[i]) != lc_ring_id(rings[j]));
  }
  for (size_t i = 0; i < count; i++)
    lc_ring_destroy(rings[i]);
}

static void an_empty_ring_picks_nobody(void **state) {
  (void)state;
  struct lc_ring *ring = ring_of(NULL, 0);
  assert_int_equal(lc_ring_count(ring), 0);
  assert_true(lc_ring_pick(ring, 1) == LC_RING_NONE);
  assert_true(lc_ring_pick_without(ring, 1, LC_RING_NONE) == LC_RING_NONE);
  assert_true(lc_ring_find(ring, "a:1") == LC_RING_NONE);
  lc_ring_destroy(ring);
  lc_ring_destroy(NULL);
}

static void one_member_owns_all_and_nobody_does_without_it(void **state) {
  (void)state;
  struct lc_ring *ring = ring_of(MEMBERS({"a:1", 1}), 1);
  assert_true(lc_ring_share(ring, 0) == 1.0);
  assert_true(lc_ring_pick(ring, UINT64_MAX) == 0);
  assert_true(lc_ring_pick_without(ring, 5, 0) == LC_RING_NONE);
  assert_true(lc_ring_pick_without(ring, 5, LC_RING_NONE) == 0);
  lc_ring_destroy(ring);
}

static double peak_over_mean(const struct lc_ring *ring) {
  double peak = 0, sum = 0;
  for (size_t i = 0; i < lc_ring_count(ring); i++) {
    double share = lc_ring_share(ring, i);
    sum += share;
    peak = share > peak ? share : peak;
  }
  assert_true(sum > 0.999999999 && sum < 1.000000001);
  return peak * (double)lc_ring_count(ring);
}

static void the_busiest_of_3_to_64_nodes_has_a_tenth_over_the_mean_at_most(void **state) {
  (void)state;
  static const size_t counts[] = {3, 4, 5, 7, 12, 24, 48, 64};
  uint64_t random = 11;
  for (size_t i = 0; i < sizeof counts / sizeof counts[0]; i++) {
    for (unsigned set = 0; set < 40; set++) {
      struct nodes nodes;
      name_nodes(&nodes, counts[i], &random);
      struct lc_ring *ring = ring_of(nodes.members, counts[i]);
      double peak = peak_over_mean(ring);
      lc_ring_destroy(ring);
      if (peak > 1.10)
        fail_msg("%zu nodes, set %u: %.3f", counts[i], set, peak);
    }
  }
}

static void a_share_is_the_part_of_the_picks(void **state) {
  (void)state;
  enum { PICKS = 200000 };
  struct lc_ring *ring = ring_of(MEMBERS({"a:1", 1}, {"b:1", 2}, {"c:1", 5}), 3);
  unsigned picks[3] = {0};
  uint64_t random = 5;
  for (unsigned i = 0; i < PICKS; i++)
    picks[lc_ring_pick(ring, next_random(&random))]++;
  for (size_t i = 0; i < 3; i++) {
    double share = (double)picks[i] / PICKS;
    assert_true(share > lc_ring_share(ring, i) - 0.01 && share < lc_ring_share(ring, i) + 0.01);
  }
  lc_ring_destroy(ring);
}

/* The owner's part of the weights, to a tenth. */
static void expect_shares_by_weight(const struct lc_ring *ring) {
  double total = 0;
  for (size_t i = 0; i < lc_ring_count(ring); i++)
    total += lc_ring_at(ring, i)->weight;
  for (size_t i = 0; i < lc_ring_count(ring); i++) {
    double part = lc_ring_share(ring, i) * total / lc_ring_at(ring, i)->weight;
    if (part < 0.9 || part > 1.1)
      fail_msg("%s: %.3f of its due", lc_ring_at(ring, i)->address, part);
  }
}

static void shares_are_in_proportion_to_weights(void **state) {
  (void)state;
  struct lc_ring *few = ring_of(MEMBERS({"a:1", 1}, {"b:1", 2}, {"c:1", 5}, {"d:1", 10}), 4);
  expect_shares_by_weight(few);
  struct lc_ring *many = ring_of(MEMBERS({"a:1", 1}, {"b:1", 50}, {"c:1", 100}, {"d:1", 100}), 4);
  expect_shares_by_weight(many); /* 251 x 3,072 points, under the limit */
  struct lc_ring *over = ring_of(MEMBERS({"a:1", 10}, {"b:1", 50}, {"c:1", 100}, {"d:1", 100}, {"e:1", 100}), 5);
  expect_shares_by_weight(over); /* 360 x 3,072 would be over it */
  lc_ring_destroy(few);
  lc_ring_destroy(many);
  lc_ring_destroy(over);
}

static void each_of_the_most_members_has_a_share(void **state) {
  (void)state;
  struct lc_ring_member *members = calloc(LC_RING_MEMBERS_MAX + 1, sizeof *members);
  char(*text)[16] = calloc(LC_RING_MEMBERS_MAX + 1, sizeof *text);
  assert_true(members && text);
  for (unsigned i = 0; i <= LC_RING_MEMBERS_MAX; i++) {
    snprintf(text[i], sizeof text[i], "n%u:1", i);
    members[i] = (struct lc_ring_member){text[i], i ? LC_RING_WEIGHT_MAX : 1};
  }
  struct lc_ring *ring = ring_of(members, LC_RING_MEMBERS_MAX);
  for (size_t i = 0; i < LC_RING_MEMBERS_MAX; i++)
    assert_true(lc_ring_share(ring, i) > 0);
  lc_ring_destroy(ring);
  struct lc_err err = {0};
  assert_int_equal(lc_ring_create(members, LC_RING_MEMBERS_MAX + 1, &ring, &err), LC_EINVAL);
  assert_string_equal(err.msg, "4097 members are too many for the ring, use at most 4096");
  free(members);
  free(text);
}

/* The last of the nodes joins the others. Nothing moves but to it, and without it all is as before. */
static double join(const struct nodes *nodes, size_t count, uint64_t *random) {
  enum { KEYS = 20000 };
  struct lc_ring *before = ring_of(nodes->members, count - 1), *after = ring_of(nodes->members, count);
  const char *joiner = nodes->members[count - 1].address;
  size_t number = lc_ring_find(after, joiner);
  unsigned moved = 0;
  for (unsigned i = 0; i < KEYS; i++) {
    uint64_t hash = next_random(random);
    const char *old = owner(before, hash), *now = owner(after, hash);
    assert_true(strcmp(now, old) == 0 || strcmp(now, joiner) == 0);
    assert_string_equal(lc_ring_at(after, lc_ring_pick_without(after, hash, number))->address, old);
    moved += strcmp(now, old) != 0;
  }
  lc_ring_destroy(before);
  lc_ring_destroy(after);
  return (double)moved / KEYS;
}

static void a_join_moves_the_joiners_share_and_nothing_else(void **state) {
  (void)state;
  uint64_t random = 21;
  for (size_t count = 2; count <= NODES_MAX; count += count < 8 ? 1 : 8) {
    struct nodes nodes;
    name_nodes(&nodes, count, &random);
    assert_true(join(&nodes, count, &random) <= 1.0 / (double)count + 0.05);
    nodes.members[0].weight = 2;
    nodes.members[count - 1].weight = 3;
    join(&nodes, count, &random);
  }
}

/* Where a join lets every member have fewer points, some keys move between the others: few. */
static void a_join_above_the_most_points_moves_little(void **state) {
  (void)state;
  enum { KEYS = 100000, NODES = 1001 };
  static char text[NODES][16];
  static struct lc_ring_member members[NODES];
  for (unsigned i = 0; i < NODES; i++) {
    snprintf(text[i], sizeof text[i], "n%u:8001", i);
    members[i] = (struct lc_ring_member){text[i], 1};
  }
  struct lc_ring *before = ring_of(members, NODES - 1), *after = ring_of(members, NODES);
  uint64_t random = 9;
  unsigned moved = 0;
  for (unsigned i = 0; i < KEYS; i++) {
    uint64_t hash = next_random(&random);
    moved += strcmp(owner(before, hash), owner(after, hash)) != 0;
  }
  assert_true((double)moved / KEYS < 0.01);
  lc_ring_destroy(before);
  lc_ring_destroy(after);
}

static void wrong_members_are_refused(void **state) {
  (void)state;
  static const struct {
    struct lc_ring_member member;
    const char *message;
  } cases[] = {
      {{"b:1", 0}, "b:1: a weight of 0, use 1 to 100"},
      {{"b:1", 101}, "b:1: a weight of 101, use 1 to 100"},
      {{"", 1}, "a member of the ring has an empty address"},
      {{NULL, 1}, "a member of the ring has an empty address"},
  };
  for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
    struct lc_ring *ring = NULL;
    struct lc_err err = {0};
    assert_int_equal(lc_ring_create(MEMBERS({"a:1", 1}, cases[i].member), 2, &ring, &err), LC_EINVAL);
    assert_string_equal(err.msg, cases[i].message);
    assert_null(ring);
  }
}

static void no_memory_is_an_error_at_every_allocation(void **state) {
  (void)state;
  if (!lc_alloc_faults_built())
    skip();
  int code = LC_ENOMEM;
  size_t n = 1;
  for (; code == LC_ENOMEM; n++) {
    struct lc_ring *ring = NULL;
    struct lc_err err = {0};
    lc_alloc_fail_at(n);
    code = lc_ring_create(MEMBERS({"a:1", 1}, {"b:1", 1}), 2, &ring, &err);
    lc_alloc_fail_at(0);
    assert_int_equal(err.code, code);
    assert_true((ring == NULL) == (code == LC_ENOMEM));
    lc_ring_destroy(ring);
    assert_true(n < 50);
  }
  assert_int_equal(code, LC_OK);
  assert_true(n > 8);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(points_are_the_documented_ones),
      cmocka_unit_test(owners_and_ids_are_the_documented_ones),
      cmocka_unit_test(a_place_that_two_have_is_the_first_address),
      cmocka_unit_test(a_pick_is_the_nearest_point_after_the_hash),
      cmocka_unit_test(another_order_gives_the_same_ring),
      cmocka_unit_test(members_are_copied_sorted_and_found),
      cmocka_unit_test(an_address_listed_twice_counts_once_with_its_greater_weight),
      cmocka_unit_test(the_id_tells_members_and_weights_apart),
      cmocka_unit_test(an_empty_ring_picks_nobody),
      cmocka_unit_test(one_member_owns_all_and_nobody_does_without_it),
      cmocka_unit_test(the_busiest_of_3_to_64_nodes_has_a_tenth_over_the_mean_at_most),
      cmocka_unit_test(a_share_is_the_part_of_the_picks),
      cmocka_unit_test(shares_are_in_proportion_to_weights),
      cmocka_unit_test(each_of_the_most_members_has_a_share),
      cmocka_unit_test(a_join_moves_the_joiners_share_and_nothing_else),
      cmocka_unit_test(a_join_above_the_most_points_moves_little),
      cmocka_unit_test(wrong_members_are_refused),
      cmocka_unit_test(no_memory_is_an_error_at_every_allocation),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
