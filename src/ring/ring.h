#ifndef LC_RING_RING_H
#define LC_RING_RING_H

#include <stdbool.h>
#include <stddef.h>

#include "base/err.h"
#include "base/slice.h"

/*
 * The consistent-hash ring (Karger et al. 1997) with virtual nodes: who owns a key. A ring is immutable once built and
 * knows nothing of who is up; any thread may use it. Nodes that agree on members and weights build the same ring, in
 * whatever order they list them; README.md in this folder has the algorithm, to the byte, and test vectors.
 */
#define LC_RING_VERSION 1u            /* of the algorithm: nodes on one ring must have the same */
#define LC_RING_POINTS 3072u          /* of a member of weight 1 */
#define LC_RING_POINTS_MAX (1u << 20) /* of all members: above it every member has fewer, in proportion */
#define LC_RING_WEIGHT_MAX 100u
#define LC_RING_MEMBERS_MAX 4096u
#define LC_RING_NONE SIZE_MAX

struct lc_ring_member {
  const char *address; /* HOST:PORT as advertised; its name on the ring */
  unsigned weight;     /* 1 to LC_RING_WEIGHT_MAX */
};

struct lc_ring;

/*
 * Builds a ring; members are copied and sorted by address. An address that is listed twice counts once, with the
 * greater weight. No members: an empty ring, whose picks are LC_RING_NONE. 0; LC_ENOMEM; or LC_EINVAL with a message (a
 * weight of 0 or over the maximum, an empty address, too many members). About 5 ms for 64 members, 60 for 1,000.
 */
int lc_ring_create(const struct lc_ring_member *members, size_t count, struct lc_ring **out, struct lc_err *err);
void lc_ring_destroy(struct lc_ring *ring); /* NULL is fine */

size_t lc_ring_count(const struct lc_ring *ring);
const struct lc_ring_member *lc_ring_at(const struct lc_ring *ring, size_t member); /* by address, ascending */
size_t lc_ring_find(const struct lc_ring *ring, const char *address);               /* LC_RING_NONE: not a member */

/* A hash of the sorted members and weights, and of LC_RING_VERSION. */
uint64_t lc_ring_id(const struct lc_ring *ring);

/* The member that owns what hashes to `hash` (lc_hash_ring). */
size_t lc_ring_pick(const struct lc_ring *ring, uint64_t hash);

/*
 * The owner if `without` were no member: who owned the key before it joined. LC_RING_NONE if nobody else is there; as
 * lc_ring_pick if it is no member. Exact while the members need no more than LC_RING_POINTS_MAX points; above it, the
 * others would have more points without it, so that some answers differ: one in a thousand with 1,000 members.
 */
size_t lc_ring_pick_without(const struct lc_ring *ring, uint64_t hash, size_t without);

/* The part of all hashes that the member owns, 0 to 1; exact, from the points. */
double lc_ring_share(const struct lc_ring *ring, size_t member);

#endif
