#ifndef LC_TEST_CLUSTER_FENCE_UTIL_H
#define LC_TEST_CLUSTER_FENCE_UTIL_H

#include "test_cluster_fake.h"

/* Gets that wait for the fence, and peers that answer it; for the test_cluster_fence tests. */
#define STOP_MS 20000u

struct getter {
  struct lc_peer_fresh fresh;
  unsigned done;
  unsigned at; /* which of all that were told */
  bool again;  /* parks itself anew, once, when it is told */
};

static unsigned told; /* all of them */

static inline void on_fresh(struct lc_peer_fresh *fresh) {
  struct getter *getter = lc_container_of(fresh, struct getter, fresh);
  getter->done++;
  getter->at = ++told;
  if (getter->again)
    lc_fence_wait(&fake.cluster, 1, fresh);
  getter->again = false;
}

static inline void park(struct getter *getter) {
  *getter = (struct getter){.fresh.done = on_fresh};
  lc_fence_wait(&fake.cluster, 1, &getter->fresh);
}

static inline bool fresh(void) {
  return lc_fence_fresh(&fake.cluster, 0);
}

/* Peers 0 and 1 are in contact, 2 never was. */
static inline int setup(void **state) {
  fake_setup(state);
  fake_greet(0);
  fake_greet(1);
  fake_advance(1000);
  assert_true(fresh());
  return 0;
}

/* Only so far: the Hellos have gone out. */
static inline void stop_and_go_on(void) {
  fake_jump(STOP_MS);
  fake_advance(30);
}

static inline void answer(unsigned index, uint64_t head) {
  const struct lc_msg_hello_response reply = {.process = atomic_load(&fake.peer[index].process), .head = head};
  lc_fence_greeted(&fake.peer[index], &reply);
}

static inline void apply_up_to(unsigned index, uint64_t applied) {
  atomic_store(&fake.peer[index].applied, applied);
  lc_fence_applied(&fake.cluster);
}

#define TEST(name_) cmocka_unit_test_setup_teardown(name_, setup, fake_teardown)
#define TEST_ALONE(name_) cmocka_unit_test_setup_teardown(name_, fake_setup, fake_teardown)

#endif
