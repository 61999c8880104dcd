/* Others' logs, as they are applied here. */
#include <stdio.h>

#include "test_cluster_fake.h"

#define PROCESS 100u /* of peer 0 */

static struct lc_peer *peer;

static int setup(void **state) {
  fake_setup(state);
  peer = fake_greet(0);
  return 0;
}

static struct lc_msg_invalidate_response apply(uint64_t from, uint64_t prev, const char *keys, bool drop_all) {
  struct lc_msg_name entries[16];
  struct lc_msg_invalidate_request request = {.from = from, .to = 1, .prev = prev, .drop_all = drop_all};
  struct lc_msg_invalidate_response reply = {.outcome = 99};
  for (size_t i = 0; keys[i]; i++)
    entries[request.entry_count++] = (struct lc_msg_name){lc_slice_str("g"), lc_slice_of(keys + i, 1)};
  request.entries = entries;
  lc_apply_invalidate(&fake.cluster, 0, peer, &request, &reply);
  return reply;
}

static uint64_t applied(void) {
  return atomic_load(&peer->applied);
}

static bool allows(const char *key, uint64_t seq) {
  const struct lc_msg_applied list[] = {{PROCESS, seq}};
  return lc_touched_allows(fake.cluster.touched, lc_hash_ring(lc_slice_str("g"), lc_slice_str(key)), list, 1);
}

static void test_entries_that_follow_are_applied_in_order(void **state) {
  (void)state;
  struct lc_msg_invalidate_response reply = apply(PROCESS, 0, "abc", false);
  assert_int_equal(reply.outcome, LC_OUTCOME_OK);
  assert_int_equal(reply.applied, 3);
  assert_false(reply.mismatch);
  assert_int_equal(fake.groups.invalidated, 3);
  assert_string_equal(fake.groups.last_key, "c");
  assert_int_equal(apply(PROCESS, 3, "d", false).applied, 4);
  assert_int_equal(applied(), 4);
}

static void test_what_does_not_follow_is_not_applied_and_says_how_far_we_are(void **state) {
  (void)state;
  apply(PROCESS, 0, "abc", false);
  struct lc_msg_invalidate_response reply = apply(PROCESS, 4, "e", false); /* one was lost */
  assert_true(reply.mismatch);
  assert_int_equal(reply.applied, 3);
  reply = apply(PROCESS, 0, "abc", false); /* comes twice */
  assert_true(reply.mismatch);
  assert_int_equal(reply.applied, 3);
  assert_int_equal(fake.groups.invalidated, 3);
}

static void test_an_empty_call_tells_how_far_we_are(void **state) {
  (void)state;
  apply(PROCESS, 0, "abc", false);
  struct lc_msg_invalidate_response reply = apply(PROCESS, 3, "", false);
  assert_false(reply.mismatch);
  assert_int_equal(reply.applied, 3);
}

static void test_another_process_at_that_address_is_a_stranger(void **state) {
  (void)state;
  assert_int_equal(apply(PROCESS + 1, 0, "abc", false).outcome, LC_OUTCOME_STRANGER);
  assert_int_equal(apply(PROCESS + 1, 7, "", true).outcome, LC_OUTCOME_STRANGER);
  assert_int_equal(fake.groups.invalidated, 0);
  assert_int_equal(applied(), 0);
}

static void test_each_entry_is_noted_for_hand_over_under_its_keys_lock(void **state) {
  (void)state;
  apply(PROCESS, 0, "ab", false);
  assert_false(allows("b", 1));
  assert_true(allows("b", 2));
  assert_true(allows("a", 1));
  assert_true(allows("z", 0));
}

static void check_not_yet(void *arg) {
  (void)arg;
  assert_int_equal(applied(), 0);
}

static void test_applied_moves_only_after_the_copies_are_gone(void **state) {
  (void)state;
  fake.groups.on_invalidate = fake.groups.on_drop = check_not_yet;
  apply(PROCESS, 0, "ab", false);
  assert_int_equal(applied(), 2);
  fake_restart(0);
  assert_int_equal(apply(PROCESS + 100, 50, "", true).applied, 50);
  assert_int_equal(applied(), 50);
}

static void test_drop_all_drops_everything_and_goes_on_from_there(void **state) {
  (void)state;
  apply(PROCESS, 0, "ab", false);
  struct lc_msg_invalidate_response reply = apply(PROCESS, 900, "", true);
  assert_int_equal(reply.outcome, LC_OUTCOME_OK);
  assert_int_equal(reply.applied, 900);
  assert_int_equal(fake.groups.drops, 1);
  assert_int_equal(apply(PROCESS, 900, "c", false).applied, 901);
}

static void check_floor(void *arg) {
  (void)arg;
  assert_false(allows("z", 899)); /* refused before the drop began */
  struct lc_msg_applied list[4];
  assert_int_equal(lc_touched_applied(fake.cluster.touched, list, 4), 1);
  assert_int_equal(list[0].seq, 2); /* and nobody is told that it is done */
}

static void test_drop_all_refuses_older_items_that_are_handed_over(void **state) {
  (void)state;
  apply(PROCESS, 0, "ab", false);
  fake.groups.on_drop = check_floor;
  apply(PROCESS, 900, "", true);
  assert_false(allows("a", 899));
  assert_true(allows("a", 900));
  struct lc_msg_applied list[4];
  lc_touched_applied(fake.cluster.touched, list, 4);
  assert_int_equal(list[0].seq, 900);
}

static void test_a_restarted_peer_begins_at_nothing(void **state) {
  (void)state;
  apply(PROCESS, 0, "ab", false);
  fake_restart(0);
  assert_int_equal(apply(PROCESS + 100, 0, "c", false).applied, 1);
  assert_int_equal(apply(PROCESS, 2, "d", false).outcome, LC_OUTCOME_STRANGER);
}

/* ---- several threads: a call that was made twice, by a sender that thinks the first was lost ---- */

static void *apply_again(void *arg) {
  (void)arg;
  for (unsigned i = 0; i < 2000; i++)
    apply(PROCESS, i, "a", false);
  return NULL;
}

static void test_calls_that_come_twice_at_once_are_applied_once(void **state) {
  (void)state;
  pthread_t threads[2];
  for (unsigned i = 0; i < 2; i++)
    pthread_create(&threads[i], NULL, apply_again, NULL);
  for (unsigned i = 0; i < 2; i++)
    pthread_join(threads[i], NULL);
  assert_int_equal(fake.groups.invalidated, applied()); /* counted without a lock: apply_lock is one */
}

#define TEST(name_) cmocka_unit_test_setup_teardown(name_, setup, fake_teardown)

int main(void) {
  const struct CMUnitTest tests[] = {
      TEST(test_entries_that_follow_are_applied_in_order),
      TEST(test_what_does_not_follow_is_not_applied_and_says_how_far_we_are),
      TEST(test_an_empty_call_tells_how_far_we_are),
      TEST(test_another_process_at_that_address_is_a_stranger),
      TEST(test_each_entry_is_noted_for_hand_over_under_its_keys_lock),
      TEST(test_applied_moves_only_after_the_copies_are_gone),
      TEST(test_drop_all_drops_everything_and_goes_on_from_there),
      TEST(test_drop_all_refuses_older_items_that_are_handed_over),
      TEST(test_a_restarted_peer_begins_at_nothing),
      TEST(test_calls_that_come_twice_at_once_are_applied_once),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
