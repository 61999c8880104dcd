#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "test_group_peers.h"

/* Keys that are forwarded often become mirrors. */

static void test_a_key_forwarded_often_becomes_a_mirror_for_mirror_ttl(void **state) {
  struct peers *peers = *state;
  peers->ours = false;
  assert_int_equal(forward_often(peers, "k", 100, true), 7);
  expect_from(peers, "k", LC_FROM_MIRROR, "theirs");
  assert_int_equal(stats_of(peers).store.mirrors, 1);
  fake_advance(&peers->fake, 5000);
  expect_none(peers, "k");
}

static void test_a_hot_key_that_may_not_be_kept_is_not(void **state) {
  struct peers *peers = *state;
  peers->ours = false;
  assert_int_equal(forward_often(peers, "k", 30, false), 30);
  expect_none(peers, "k");
}

static void test_a_key_of_another_group_is_not_heated(void **state) {
  struct peers *peers = *state;
  struct call call;
  peers->ours = false;
  forward_often(peers, "k", 7, false);
  assert_int_equal(call_get(&peers->fake, &call, 0, "h", "k"), LC_PENDING);
  peers_value(peers, peers->got - 1, "v", 0, true);
  call_fini(&call);
  assert_int_equal(fake_stats(&peers->fake, 1).store.mirrors, 0);
}

static void small(struct lc_group_options options[2]) {
  options[0].limit_bytes = 65536;
}

static void test_mirrors_stay_within_an_eighth_of_the_groups_bytes(void **state) {
  (void)state;
  struct peers peers;
  peers_init(&peers, small);
  peers.ours = false;
  peers.get_rc = LC_EUNAVAILABLE;
  peers.fake.on_start = fake_answer_now;
  for (int i = 0; i < 500; i++) {
    char key[16];
    snprintf(key, sizeof key, "k%d", i);
    struct call call;
    call_get(&peers.fake, &call, 0, "g", key);
    call_fini(&call);
  }
  struct lc_group_stats stats = stats_of(&peers);
  assert_in_range(stats.store.mirror_bytes, 7000, 8192);
  assert_int_equal(stats.store.items, stats.store.mirrors);
  peers_fini(&peers);
}

static void test_a_mirror_for_a_key_that_became_ours_is_not_stored(void **state) {
  struct peers *peers = *state;
  struct call call;
  peers->ours = false;
  forward_often(peers, "k", 6, true);
  begin(peers, &call, "k");
  peers->ours = true;
  peers->view++;
  own_copy(peers, "other", "v");
  peers_value(peers, peers->got - 1, "theirs", 0, true);
  assert_value(&call, LC_FROM_PEER, "theirs");
  call_fini(&call);
  assert_int_equal(stats_of(peers).store.mirrors, 0);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      PEERS_TEST(test_a_key_forwarded_often_becomes_a_mirror_for_mirror_ttl),
      PEERS_TEST(test_a_hot_key_that_may_not_be_kept_is_not),
      PEERS_TEST(test_a_key_of_another_group_is_not_heated),
      cmocka_unit_test(test_mirrors_stay_within_an_eighth_of_the_groups_bytes),
      PEERS_TEST(test_a_mirror_for_a_key_that_became_ours_is_not_stored),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
