#ifndef LC_TEST_CLUSTER_DELIVER_UTIL_H
#define LC_TEST_CLUSTER_DELIVER_UTIL_H

#include "base/arena.h"
#include "test_cluster_fake.h"

/* Writes that wait, and what is sent to a peer; for the test_cluster_deliver tests. */
struct waiter {
  struct lc_peer_wait wait;
  unsigned done;
};

static inline void on_done(struct lc_peer_wait *wait) {
  lc_container_of(wait, struct waiter, wait)->done++;
}

static inline int start(struct waiter *waiter, uint64_t seq) {
  *waiter = (struct waiter){.wait = {.seq = seq, .worker = 1, .done = on_done}};
  return lc_deliver_wait(&fake.cluster, &waiter->wait);
}

/* The Invalidate that is under way to the peer. */
static inline struct lc_msg_invalidate_request sent(unsigned peer) {
  static char memory[1 << 20];
  struct lc_arena arena;
  struct lc_msg_invalidate_request request;
  lc_arena_init(&arena, memory, sizeof memory, sizeof memory);
  fake_decode(fake_call_to(peer), &arena, &request);
  assert_int_equal(request.from, 1);
  assert_int_equal(request.to, atomic_load(&fake.peer[peer].process));
  return request;
}

#define TEST(name_) cmocka_unit_test_setup_teardown(name_, fake_setup, fake_teardown)

#endif
