/* Other nodes as objects: counted by references, found by name, with a slot each. */
#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "cluster/control.h"

unsigned lc_peer_weight(uint64_t weight) {
  if (weight < 1)
    return 1;
  return weight < LC_RING_WEIGHT_MAX ? (unsigned)weight : LC_RING_WEIGHT_MAX;
}

struct lc_peer *lc_peer_ref(struct lc_peer *peer) {
  atomic_fetch_add_explicit(&peer->refs, 1, memory_order_relaxed);
  return peer;
}

static void give_slot_back(struct lc_cluster *cluster, unsigned slot) {
  atomic_fetch_and_explicit(&cluster->slots[slot / 64], ~(UINT64_C(1) << slot % 64), memory_order_release);
}

void lc_peer_unref(struct lc_peer *peer) {
  if (!peer || atomic_fetch_sub_explicit(&peer->refs, 1, memory_order_acq_rel) != 1)
    return;
  give_slot_back(peer->cluster, peer->slot);
  pthread_mutex_destroy(&peer->apply_lock);
  lc_free(peer);
}

/* The lowest free slot; only whoever holds cluster->lock takes slots. LC_RING_MEMBERS_MAX: none. */
static unsigned take_slot(struct lc_cluster *cluster) {
  for (unsigned i = 0; i < LC_RING_MEMBERS_MAX / 64; i++) {
    uint64_t used = atomic_load_explicit(&cluster->slots[i], memory_order_acquire);
    if (used == UINT64_MAX)
      continue;
    unsigned bit = (unsigned)__builtin_ctzll(~used);
    atomic_fetch_or_explicit(&cluster->slots[i], UINT64_C(1) << bit, memory_order_relaxed);
    return i * 64 + bit;
  }
  return LC_RING_MEMBERS_MAX;
}

static struct lc_peer *create(struct lc_cluster *cluster, const char *name, const struct lc_address *address) {
  struct lc_peer *peer = lc_calloc(1, sizeof *peer);
  if (!peer)
    return NULL;
  peer->slot = take_slot(cluster);
  if (peer->slot == LC_RING_MEMBERS_MAX) {
    lc_free(peer);
    return NULL;
  }
  peer->cluster = cluster;
  peer->address = *address;
  snprintf(peer->name, sizeof peer->name, "%s", name);
  peer->weight = 1;
  peer->retry.fire = lc_control_retry;
  peer->seen_ms = lc_clock_ms();
  lc_list_init(&peer->waited_link);
  atomic_init(&peer->refs, 1);
  atomic_init(&peer->state, LC_PEER_DOWN);
  pthread_mutex_init(&peer->apply_lock, NULL);
  return peer;
}

/* Where the name stands among the known, or would. */
static size_t place_of(const struct lc_cluster *cluster, const char *name, bool *there) {
  size_t low = 0, high = cluster->known_count;
  *there = false;
  while (low < high) {
    size_t middle = low + (high - low) / 2;
    int order = strcmp(cluster->known[middle]->name, name);
    if (order == 0) {
      *there = true;
      return middle;
    }
    if (order < 0)
      low = middle + 1;
    else
      high = middle;
  }
  return low;
}

struct lc_peer *lc_peer_find(struct lc_cluster *cluster, const char *name) {
  bool there;
  size_t at = place_of(cluster, name, &there);
  return there ? cluster->known[at] : NULL;
}

/* A name goes into log lines and replies: what can't be an address there is none here. */
static bool parse_name(const char *name, struct lc_address *address) {
  for (const char *at = name; *at; at++) {
    if (*at <= ' ' || *at > '~')
      return false;
  }
  return strlen(name) < LC_NODE_ADDRESS_SIZE && lc_parse_address(name, address, NULL) == LC_OK && address->port != 0;
}

struct lc_peer *lc_peer_obtain(struct lc_cluster *cluster, const char *name) {
  struct lc_address address;
  bool there;
  size_t at = place_of(cluster, name, &there);
  if (there)
    return cluster->known[at];
  if (cluster->known_count + 1 >= LC_RING_MEMBERS_MAX || !parse_name(name, &address))
    return NULL;
  struct lc_peer **known = lc_realloc(cluster->known, (cluster->known_count + 1) * sizeof(struct lc_peer *));
  if (!known)
    return NULL;
  cluster->known = known;
  struct lc_peer *peer = create(cluster, name, &address);
  if (!peer)
    return NULL;
  memmove(known + at + 1, known + at, (cluster->known_count - at) * sizeof(struct lc_peer *));
  known[at] = peer;
  cluster->known_count++;
  return peer;
}

void lc_peer_forget(struct lc_cluster *cluster, size_t index) {
  struct lc_peer *peer = cluster->known[index];
  cluster->known_count--;
  memmove(cluster->known + index, cluster->known + index + 1,
          (cluster->known_count - index) * sizeof(struct lc_peer *));
  lc_peer_unref(peer);
}

size_t lc_peer_strangers(const struct lc_cluster *cluster) {
  size_t count = 0;
  for (size_t i = 0; i < cluster->known_count; i++)
    count += !cluster->known[i]->member;
  return count;
}
