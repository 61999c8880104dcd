#include "ring/ring.h"

#include <assert.h>
#include <stdlib.h>

#include "base/alloc.h"
#include "base/hash.h"

/*
 * A point is one 64-bit word: its place on the ring, the upper 48 bits of its hash, above the number of its member.
 * Words in ascending order are then points by place, and by address where two share one, and a pick reads its answer
 * in the word that it stops at.
 */
#define MEMBER_BITS 16
#define MEMBER_MASK ((UINT64_C(1) << MEMBER_BITS) - 1)
#define PLACE_MASK (~MEMBER_MASK)
#define PLACES (UINT64_C(1) << (64 - MEMBER_BITS))
#define ID_DOMAIN "lcache ring 1" /* LC_RING_VERSION in it */
#define RADIX_BITS 8
#define RADIX (1u << RADIX_BITS)

_Static_assert(LC_RING_MEMBERS_MAX <= MEMBER_MASK, "a member's number fits below its place");
_Static_assert(LC_RING_POINTS_MAX / LC_RING_WEIGHT_MAX >= LC_RING_MEMBERS_MAX, "each member has a point or more");

struct lc_ring {
  struct lc_ring_member *members; /* by address */
  char *text;                     /* their addresses */
  uint64_t *places;               /* of each member: how many of the PLACES it owns */
  uint64_t *points;               /* ascending, and after the last one a copy of the first at the ring's end */
  uint32_t *starts;               /* of each value of a hash's upper bits: the first point that is not before it */
  size_t count, point_count;
  unsigned shift; /* hash >> shift: those upper bits */
  uint64_t id;
};

static int by_address(const void *a, const void *b) {
  const struct lc_ring_member *x = a, *y = b;
  int order = strcmp(x->address, y->address);
  return order ? order : (x->weight < y->weight) - (x->weight > y->weight);
}

static int check(const struct lc_ring_member *members, size_t count, struct lc_err *err) {
  for (size_t i = 0; i < count; i++) {
    const struct lc_ring_member *member = &members[i];
    if (!member->address || !member->address[0])
      return lc_err_set(err, LC_EINVAL, "a member of the ring has an empty address");
    if (member->weight == 0 || member->weight > LC_RING_WEIGHT_MAX)
      return lc_err_set(err, LC_EINVAL, "%.256s: a weight of %u, use 1 to %u", member->address, member->weight,
                        LC_RING_WEIGHT_MAX);
  }
  return LC_OK;
}

/* Sorts; of an address that is there more than once the greatest weight, which is the first, stays. */
static size_t sort_members(struct lc_ring_member *members, size_t count) {
  size_t kept = 0;
  qsort(members, count, sizeof *members, by_address);
  for (size_t i = 0; i < count; i++) {
    if (kept == 0 || strcmp(members[kept - 1].address, members[i].address) != 0)
      members[kept++] = members[i];
  }
  return kept;
}

/* Lets the members' addresses be the ring's own. */
static int copy_text(struct lc_ring *ring) {
  size_t size = 0;
  for (size_t i = 0; i < ring->count; i++)
    size += strlen(ring->members[i].address) + 1;
  char *at = ring->text = lc_malloc(size);
  if (!at)
    return LC_ENOMEM;
  for (size_t i = 0; i < ring->count; i++) {
    size_t len = strlen(ring->members[i].address) + 1;
    ring->members[i].address = memcpy(at, ring->members[i].address, len);
    at += len;
  }
  return LC_OK;
}

static int take_members(struct lc_ring *ring, const struct lc_ring_member *members, size_t count, struct lc_err *err) {
  if (check(members, count, err))
    return LC_EINVAL;
  if (count == 0)
    return LC_OK;
  ring->members = lc_calloc(count, sizeof *members);
  if (!ring->members)
    return LC_ENOMEM;
  memcpy(ring->members, members, count * sizeof *members);
  ring->count = sort_members(ring->members, count);
  if (ring->count > LC_RING_MEMBERS_MAX)
    return lc_err_set(err, LC_EINVAL, "%zu members are too many for the ring, use at most %u", ring->count,
                      LC_RING_MEMBERS_MAX);
  return copy_text(ring);
}

static uint8_t *put_le32(uint8_t *out, uint32_t number) {
  for (unsigned i = 0; i < 4; i++)
    *out++ = (uint8_t)(number >> (8 * i));
  return out;
}

static int compute_id(struct lc_ring *ring) {
  size_t size = 0;
  for (size_t i = 0; i < ring->count; i++)
    size += strlen(ring->members[i].address) + 8;
  uint8_t *list = lc_malloc(size + 1);
  if (!list)
    return LC_ENOMEM;
  uint8_t *at = list;
  for (size_t i = 0; i < ring->count; i++) {
    size_t len = strlen(ring->members[i].address);
    at = put_le32(at, (uint32_t)len);
    memcpy(at, ring->members[i].address, len);
    at = put_le32(at + len, ring->members[i].weight);
  }
  ring->id = lc_hash_ring(lc_slice_str(ID_DOMAIN), lc_slice_of(list, size));
  lc_free(list);
  return LC_OK;
}

static uint64_t total_weight(const struct lc_ring *ring) {
  uint64_t total = 0;
  for (size_t i = 0; i < ring->count; i++)
    total += ring->members[i].weight;
  return total;
}

static size_t points_of(unsigned weight, uint64_t total) {
  if (total * LC_RING_POINTS <= LC_RING_POINTS_MAX)
    return (size_t)weight * LC_RING_POINTS;
  return (size_t)((uint64_t)weight * LC_RING_POINTS_MAX / total);
}

static size_t all_points(const struct lc_ring *ring, uint64_t total) {
  size_t points = 0;
  for (size_t i = 0; i < ring->count; i++)
    points += points_of(ring->members[i].weight, total);
  return points;
}

static void hash_points(struct lc_ring *ring, uint64_t total) {
  uint64_t *point = ring->points;
  for (size_t i = 0; i < ring->count; i++) {
    struct lc_slice address = lc_slice_str(ring->members[i].address);
    size_t points = points_of(ring->members[i].weight, total);
    for (uint32_t n = 0; n < points; n++) {
      uint8_t number[4];
      put_le32(number, n);
      *point++ = (lc_hash_ring(address, lc_slice_of(number, sizeof number)) & PLACE_MASK) | i;
    }
  }
}

/* One pass of the sort: by the digit at `shift`, and where it is the same in the order they are in. */
static void sort_pass(const uint64_t *from, uint64_t *to, size_t count, unsigned shift) {
  uint32_t at[RADIX] = {0};
  for (size_t i = 0; i < count; i++)
    at[(from[i] >> shift) % RADIX]++;
  uint32_t sum = 0;
  for (size_t digit = 0; digit < RADIX; digit++) {
    uint32_t here = at[digit];
    at[digit] = sum;
    sum += here;
  }
  for (size_t i = 0; i < count; i++)
    to[at[(from[i] >> shift) % RADIX]++] = from[i];
}

/* Radix sort by place. Points are made member by member, so those of one place are in order already. */
static void sort_points(uint64_t *points, uint64_t *spare, size_t count) {
  _Static_assert((64 - MEMBER_BITS) / RADIX_BITS % 2 == 0, "an even number of passes ends where it began");
  for (unsigned shift = MEMBER_BITS; shift < 64; shift += 2 * RADIX_BITS) {
    sort_pass(points, spare, count, shift);
    sort_pass(spare, points, count, shift + RADIX_BITS);
  }
}

static int make_points(struct lc_ring *ring) {
  uint64_t total = total_weight(ring);
  size_t count = ring->point_count = all_points(ring, total);
  ring->points = lc_calloc(count + 1, sizeof *ring->points);
  uint64_t *spare = lc_calloc(count, sizeof *spare);
  if (!ring->points || !spare) {
    lc_free(spare);
    return LC_ENOMEM;
  }
  hash_points(ring, total);
  sort_points(ring->points, spare, count);
  ring->points[count] = PLACE_MASK | (ring->points[0] & MEMBER_MASK);
  lc_free(spare);
  return LC_OK;
}

/* Slots for the upper bits of hashes, one for two to four points: few enough to stay in the CPU's caches. */
static int make_index(struct lc_ring *ring) {
  unsigned bits = 1;
  while ((size_t)4 << bits < ring->point_count)
    bits++;
  size_t slots = (size_t)1 << bits, point = 0;
  ring->shift = 64 - bits;
  ring->starts = lc_calloc(slots, sizeof *ring->starts);
  if (!ring->starts)
    return LC_ENOMEM;
  for (size_t slot = 0; slot < slots; slot++) {
    while (point < ring->point_count && ring->points[point] >> ring->shift < slot)
      point++;
    ring->starts[slot] = (uint32_t)point;
  }
  return LC_OK;
}

/* A point's member owns the places after the point before it, up to and with its own. */
static int measure(struct lc_ring *ring) {
  ring->places = lc_calloc(ring->count, sizeof *ring->places);
  if (!ring->places)
    return LC_ENOMEM;
  uint64_t last = ring->points[ring->point_count - 1] >> MEMBER_BITS;
  uint64_t before = last - PLACES; /* the last point is before the first, a round earlier */
  for (size_t i = 0; i < ring->point_count; i++) {
    uint64_t place = ring->points[i] >> MEMBER_BITS;
    ring->places[ring->points[i] & MEMBER_MASK] += place - before;
    before = place;
  }
  return LC_OK;
}

static int build(struct lc_ring *ring, const struct lc_ring_member *members, size_t count, struct lc_err *err) {
  int code = take_members(ring, members, count, err);
  if (!code)
    code = compute_id(ring);
  if (code || ring->count == 0)
    return code;
  code = make_points(ring);
  if (!code)
    code = make_index(ring);
  return code ? code : measure(ring);
}

int lc_ring_create(const struct lc_ring_member *members, size_t count, struct lc_ring **out, struct lc_err *err) {
  struct lc_ring *ring = lc_calloc(1, sizeof *ring);
  int code = ring ? build(ring, members, count, err) : LC_ENOMEM;
  if (code == LC_ENOMEM)
    lc_err_set(err, code, "no memory for a ring of %zu members", count);
  if (code) {
    lc_ring_destroy(ring);
    return code;
  }
  *out = ring;
  return LC_OK;
}

void lc_ring_destroy(struct lc_ring *ring) {
  if (!ring)
    return;
  lc_free(ring->members);
  lc_free(ring->text);
  lc_free(ring->places);
  lc_free(ring->points);
  lc_free(ring->starts);
  lc_free(ring);
}

size_t lc_ring_count(const struct lc_ring *ring) {
  return ring->count;
}

const struct lc_ring_member *lc_ring_at(const struct lc_ring *ring, size_t member) {
  assert(member < ring->count);
  return &ring->members[member];
}

size_t lc_ring_find(const struct lc_ring *ring, const char *address) {
  size_t low = 0, high = ring->count;
  while (low < high) {
    size_t middle = (low + high) / 2;
    int order = strcmp(ring->members[middle].address, address);
    if (order == 0)
      return middle;
    if (order < 0)
      low = middle + 1;
    else
      high = middle;
  }
  return LC_RING_NONE;
}

uint64_t lc_ring_id(const struct lc_ring *ring) {
  return ring->id;
}

/* The first point at the hash's place or after it; the copy at the end stands for the first of the ring. */
static inline size_t seek(const struct lc_ring *ring, uint64_t hash) {
  size_t point = ring->starts[hash >> ring->shift];
  while (ring->points[point] < (hash & PLACE_MASK))
    point++;
  return point;
}

size_t lc_ring_pick(const struct lc_ring *ring, uint64_t hash) {
  if (ring->count == 0)
    return LC_RING_NONE;
  return ring->points[seek(ring, hash)] & MEMBER_MASK;
}

size_t lc_ring_pick_without(const struct lc_ring *ring, uint64_t hash, size_t without) {
  if (ring->count < 2 && (ring->count == 0 || without == 0))
    return LC_RING_NONE;
  size_t point = seek(ring, hash);
  while ((ring->points[point] & MEMBER_MASK) == without)
    point = point < ring->point_count ? point + 1 : 1;
  return ring->points[point] & MEMBER_MASK;
}

double lc_ring_share(const struct lc_ring *ring, size_t member) {
  assert(member < ring->count);
  return (double)ring->places[member] / (double)PLACES;
}
