#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "test_group_peers.h"

/* Set and Delete on a node that has peers. */

static bool cancel(struct peers *peers, struct writing *writing) {
  return lc_write_cancel(peers->fake.groups, &writing->write);
}

static void assert_write(const struct writing *writing, int code, const char *message) {
  assert_int_equal(writing->done, 1);
  assert_int_equal(writing->write.code, code);
  assert_string_equal(writing->write.err.msg, message);
  assert_null(writing->write.op);
}

/* ---- as the owner ---- */

static void test_the_owner_writes_and_records_and_is_done_where_nobody_waits(void **state) {
  struct peers *peers = *state;
  struct writing writing = {0};
  assert_int_equal(writing_set(peers, &writing, "k", "v"), LC_OK);
  assert_string_equal(peers->last_written, "g/k");
  expect_from(peers, "k", LC_FROM_STORE, "v");
  assert_int_equal(writing_delete(peers, &writing, "k"), LC_OK);
  assert_true(writing.write.deleted);
  assert_int_equal(peers->seq, 2);
  expect_none(peers, "k");
  assert_int_equal(writing_delete(peers, &writing, "k"), LC_OK);
  assert_false(writing.write.deleted);
  assert_int_equal(peers->seq, 3); /* others may have what we don't */
  assert_int_equal(writing.done, 0);
  assert_int_equal(stats_of(peers).sets, 1);
  assert_int_equal(stats_of(peers).deletes, 2);
}

static void test_the_owner_waits_until_all_nodes_know(void **state) {
  struct peers *peers = *state;
  struct writing writing = {0};
  peers->must_wait = true;
  char key[] = "k", value[] = "v";
  assert_int_equal(writing_set(peers, &writing, key, value), LC_PENDING);
  key[0] = value[0] = '?';
  expect_from(peers, "k", LC_FROM_STORE, "v");
  fake_advance(&peers->fake, 4999);
  assert_int_equal(writing.done, 0);
  peers_known(peers);
  assert_write(&writing, LC_OK, "");
}

static void test_a_write_that_not_all_hear_of_in_time_fails(void **state) {
  struct peers *peers = *state;
  struct writing writing = {0};
  peers->must_wait = true;
  assert_int_equal(writing_set(peers, &writing, "k", "v"), LC_PENDING);
  fake_advance(&peers->fake, 5000);
  assert_write(&writing, LC_EDEADLINE, "the write timed out; it may or may not have happened");
  assert_int_equal(peers->wait_cancels, 1);
}

static void test_a_wait_that_ends_at_the_deadline_counts(void **state) {
  struct peers *peers = *state;
  struct writing writing = {0};
  peers->must_wait = peers->too_late = true;
  assert_int_equal(writing_set(peers, &writing, "k", "v"), LC_PENDING);
  fake_advance(&peers->fake, 5000);
  assert_int_equal(writing.done, 0);
  assert_false(cancel(peers, &writing));
  peers_known(peers);
  assert_write(&writing, LC_OK, "");
}

static void limit_values(struct lc_group_options options[2]) {
  options[0].max_value = 4;
}

static void test_a_refused_set_removes_the_old_value_everywhere(void **state) {
  (void)state;
  struct peers peers;
  struct writing writing = {0};
  peers_init(&peers, limit_values);
  writing_set(&peers, &writing, "k", "old");
  peers.must_wait = true;
  assert_int_equal(writing_set(&peers, &writing, "k", "too long"), LC_PENDING);
  assert_int_equal(peers.seq, 2);
  expect_none(&peers, "k");
  peers_known(&peers);
  assert_write(&writing, LC_ETOOBIG, "value of 8 bytes is over the group's max_value of 4");
  assert_int_equal(stats_of(&peers).refused, 1);
  peers_fini(&peers);
}

static void test_sizes_are_the_owners_to_check(void **state) {
  (void)state;
  struct peers peers;
  struct writing writing = {0};
  peers_init(&peers, limit_values);
  peers.ours = false;
  assert_int_equal(writing_set(&peers, &writing, "k", "too long"), LC_PENDING);
  peers_written(&peers, 0, LC_PEER_FAILED, LC_ETOOBIG, "over its limit");
  assert_write(&writing, LC_ETOOBIG, "over its limit");
  peers_fini(&peers);
}

static void test_a_write_detaches_a_peek(void **state) {
  struct peers *peers = *state;
  struct call call;
  struct writing writing = {0};
  peers->peek_rc = LC_PENDING;
  assert_int_equal(call_get(&peers->fake, &call, 0, "g", "k"), LC_PENDING);
  assert_int_equal(writing_set(peers, &writing, "k", "new"), LC_OK);
  peers_value(peers, 0, "old", 0, true);
  assert_value(&call, LC_FROM_PEER, "old");
  call_fini(&call);
  expect_from(peers, "k", LC_FROM_STORE, "new");
}

/* ---- at another node ---- */

static void test_another_nodes_key_is_written_there(void **state) {
  struct peers *peers = *state;
  struct writing writing = {0};
  peers->ours = false;
  char key[] = "k", value[] = "v";
  writing.write.ttl_ms = 77;
  assert_int_equal(writing_set(peers, &writing, key, value), LC_PENDING);
  key[0] = value[0] = '?';
  struct lc_peer_write *sent = peers->writes[0];
  assert_true(lc_slice_eq(sent->group, lc_slice_str("g")));
  assert_true(lc_slice_eq(sent->key, lc_slice_str("k")));
  assert_true(lc_slice_eq(lc_item_value(sent->item), lc_slice_str("v")));
  assert_int_equal(sent->ttl_ms, 77);
  assert_int_equal(sent->deadline_ms, peers->fake.now_ms + 5000);
  peers_written(peers, 0, LC_PEER_OK, 0, "");
  assert_write(&writing, LC_OK, "");
  assert_int_equal(peers->seq, 0);
  assert_int_equal(stats_of(peers).sets, 0); /* the owner counts it */
  assert_int_equal(stats_of(peers).store.items, 0);
}

static void test_a_delete_there_says_whether_something_was_there(void **state) {
  struct peers *peers = *state;
  struct writing writing = {0};
  peers->ours = false;
  assert_int_equal(writing_delete(peers, &writing, "k"), LC_PENDING);
  assert_null(peers->writes[0]->item);
  peers_written(peers, 0, LC_PEER_OK, 0, "");
  assert_write(&writing, LC_OK, "");
  assert_true(writing.write.deleted);
}

static void test_who_wrote_is_not_answered_by_an_old_mirror(void **state) {
  struct peers *peers = *state;
  struct writing writing = {0};
  struct call call;
  peers->ours = false;
  peers->get_rc = LC_EUNAVAILABLE;
  peers->fake.on_start = fake_answer_now;
  expect_from(peers, "k", LC_FROM_SOURCE, "now");
  expect_from(peers, "k", LC_FROM_MIRROR, "now");
  peers->get_rc = LC_PENDING;
  call_init(&peers->fake, &call, 0, "g", "k");
  assert_int_equal(writing_set(peers, &writing, "k", "new"), LC_PENDING);
  peers_written(peers, 0, LC_PEER_OK, 0, "");
  expect_none(peers, "k");
}

static void test_an_unreachable_owner_is_named(void **state) {
  struct peers *peers = *state;
  struct writing writing = {0};
  const char *const message = "owner there:1 can't be reached; the write may or may not have happened";
  peers->ours = false;
  assert_int_equal(writing_set(peers, &writing, "k", "v"), LC_PENDING);
  peers_written(peers, 0, LC_PEER_UNREACHED, 0, "broken");
  assert_write(&writing, LC_EUNAVAILABLE, message);
  peers->write_rc = LC_EUNAVAILABLE;
  assert_int_equal(writing_set(peers, &writing, "k", "v"), LC_EUNAVAILABLE);
  assert_int_equal(writing.done, 0);
  assert_int_equal(writing.write.code, LC_EUNAVAILABLE);
  assert_string_equal(writing.write.err.msg, message);
}

static void test_other_failures_to_start_are_told(void **state) {
  struct peers *peers = *state;
  struct writing writing = {0};
  peers->ours = false;
  peers->write_rc = LC_ENOMEM;
  assert_int_equal(writing_set(peers, &writing, "k", "v"), LC_ENOMEM);
  assert_string_equal(writing.write.err.msg, "out of memory");
  peers->write_rc = LC_EEXHAUSTED;
  assert_int_equal(writing_set(peers, &writing, "k", "v"), LC_EEXHAUSTED);
  assert_string_equal(writing.write.err.msg, "too many requests wait for the key's owner");
}

static void test_a_failure_there_is_the_answer(void **state) {
  struct peers *peers = *state;
  struct writing writing = {0};
  peers->ours = false;
  assert_int_equal(writing_set(peers, &writing, "k", "v"), LC_PENDING);
  peers_written(peers, 0, LC_PEER_FAILED, LC_ENOMEM, "out of memory there");
  assert_write(&writing, LC_ENOMEM, "out of memory there");
  assert_int_equal(writing_set(peers, &writing, "k", "v"), LC_PENDING);
  peers_written(peers, 1, LC_PEER_FAILED, 0, "");
  assert_write(&writing, LC_EINTERNAL, "");
}

/* ---- rings that differ ---- */

static void test_a_write_that_is_not_taken_is_tried_again_with_growing_pauses(void **state) {
  struct peers *peers = *state;
  struct writing writing = {0};
  const unsigned pauses[] = {10, 20, 40, 80, 160, 200, 200};
  peers->ours = false;
  assert_int_equal(writing_set(peers, &writing, "k", "v"), LC_PENDING);
  for (size_t i = 0; i < 7; i++) {
    peers_written(peers, i, LC_PEER_NOT_OWNER, 0, "");
    assert_int_equal(peers->refreshes, i + 1);
    fake_advance(&peers->fake, pauses[i] - 1);
    assert_int_equal(peers->wrote, i + 1);
    fake_advance(&peers->fake, 1);
    assert_int_equal(peers->wrote, i + 2);
  }
  peers_written(peers, 7, LC_PEER_OK, 0, "");
  assert_write(&writing, LC_OK, "");
}

static void test_a_write_whose_key_became_ours_is_made_here(void **state) {
  struct peers *peers = *state;
  struct writing writing = {0};
  peers->ours = false;
  peers->write_rc = LC_ENOTOWNER;
  assert_int_equal(writing_set(peers, &writing, "k", "v"), LC_PENDING);
  peers->ours = true;
  peers->view = 2;
  fake_advance(&peers->fake, 10);
  assert_write(&writing, LC_OK, "");
  peers->ours = false; /* the tag must be the present view's */
  expect_from(peers, "k", LC_FROM_STORE, "v");
  assert_int_equal(peers->seq, 1);
}

static void test_a_node_that_stood_still_writes_nothing_until_it_is_fresh(void **state) {
  struct peers *peers = *state;
  struct writing writing = {0};
  peers->stale = true;
  assert_int_equal(writing_set(peers, &writing, "k", "v"), LC_PENDING);
  assert_int_equal(peers->seq, 0);
  peers->stale = false;
  fake_advance(&peers->fake, 10);
  assert_write(&writing, LC_OK, "");
  assert_int_equal(peers->seq, 1);
}

static void test_a_write_that_nobody_takes_ends_at_its_deadline(void **state) {
  struct peers *peers = *state;
  struct writing writing = {0};
  peers->ours = false;
  peers->write_rc = LC_ENOTOWNER;
  writing.write.deadline_ms = peers->fake.now_ms + 100;
  assert_int_equal(writing_delete(peers, &writing, "k"), LC_PENDING);
  for (int i = 0; i < 10; i++) {
    assert_int_equal(writing.done, 0);
    fake_advance(&peers->fake, 10);
  }
  assert_write(&writing, LC_EDEADLINE, "the write timed out; no node took it for its own");
}

static void test_the_callers_deadline_counts_if_it_is_sooner(void **state) {
  struct peers *peers = *state;
  struct writing writing = {0};
  peers->ours = false;
  writing.write.deadline_ms = peers->fake.now_ms + 100;
  assert_int_equal(writing_set(peers, &writing, "k", "v"), LC_PENDING);
  assert_int_equal(peers->writes[0]->deadline_ms, peers->fake.now_ms + 100);
  fake_advance(&peers->fake, 100);
  assert_write(&writing, LC_EDEADLINE, "the write timed out; it may or may not have happened");
  assert_int_equal(peers->write_cancels, 1);
  writing.write.deadline_ms = peers->fake.now_ms + 100000;
  assert_int_equal(writing_set(peers, &writing, "k", "v"), LC_PENDING);
  assert_int_equal(peers->writes[1]->deadline_ms, peers->fake.now_ms + 5000);
  fake_advance(&peers->fake, 5000);
  assert_int_equal(writing.write.code, LC_EDEADLINE);
}

static void test_a_forwarded_write_is_made_here_or_refused(void **state) {
  struct peers *peers = *state;
  struct writing writing = {.write.forwarded = true};
  assert_int_equal(writing_set(peers, &writing, "k", "v"), LC_OK);
  peers->stale = true;
  assert_int_equal(writing_set(peers, &writing, "k", "w"), LC_ENOTOWNER);
  peers->stale = false;
  peers->ours = false;
  assert_int_equal(writing_delete(peers, &writing, "k"), LC_ENOTOWNER);
  assert_int_equal(peers->wrote, 0);
  assert_int_equal(peers->seq, 1);
  assert_int_equal(writing.done, 0);
}

static void lose_the_key(struct fake *fake) {
  struct peers *peers = lc_container_of(fake, struct peers, fake);
  peers->ours = false;
  peers->view++;
}

/* Another thread changes the ring while this one makes up its mind. */
static void test_a_forwarded_write_is_not_sent_on_if_the_key_is_lost_meanwhile(void **state) {
  struct peers *peers = *state;
  struct writing writing = {.write.forwarded = true};
  peers->fake.on_now = lose_the_key;
  assert_int_equal(writing_set(peers, &writing, "k", "v"), LC_ENOTOWNER);
  peers->fake.on_now = NULL;
  assert_int_equal(peers->wrote, 0);
  assert_int_equal(writing.done, 0);
}

static void lose_the_key_in_the_commit(struct fake *fake) {
  struct peers *peers = lc_container_of(fake, struct peers, fake);
  if (++peers->refreshes == 3)
    lose_the_key(fake);
}

static void test_what_was_written_while_the_key_was_lost_is_a_former_copy(void **state) {
  struct peers *peers = *state;
  struct writing writing = {0};
  peers->fake.on_now = lose_the_key_in_the_commit;
  assert_int_equal(writing_set(peers, &writing, "k", "v"), LC_OK);
  peers->fake.on_now = NULL;
  assert_false(peers->ours);
  expect_none(peers, "k");
}

static void test_bad_arguments_are_refused_at_once(void **state) {
  struct peers *peers = *state;
  struct writing writing = {0};
  peers->ours = false;
  assert_int_equal(writing_set(peers, &writing, "", "v"), LC_EINVAL);
  writing.write.ttl_ms = -2;
  assert_int_equal(writing_set(peers, &writing, "k", "v"), LC_EINVAL);
  assert_int_equal(writing.write.code, LC_EINVAL);
  assert_int_equal(peers->wrote, 0);
}

/* ---- cancelling ---- */

static void test_a_write_can_be_cancelled_in_each_state(void **state) {
  struct peers *peers = *state;
  struct writing writing = {0};
  peers->ours = false;
  assert_int_equal(writing_set(peers, &writing, "k", "v"), LC_PENDING);
  assert_true(cancel(peers, &writing));
  assert_int_equal(peers->write_cancels, 1);
  assert_int_equal(writing.write.code, LC_ECANCELLED);
  assert_false(cancel(peers, &writing));

  assert_int_equal(writing_set(peers, &writing, "k", "v"), LC_PENDING);
  peers_written(peers, 1, LC_PEER_NOT_OWNER, 0, "");
  assert_true(cancel(peers, &writing));

  peers->ours = peers->must_wait = true;
  assert_int_equal(writing_set(peers, &writing, "k", "v"), LC_PENDING);
  assert_true(cancel(peers, &writing));
  assert_int_equal(peers->wait_cancels, 1);
  fake_advance(&peers->fake, 10000);
  assert_int_equal(writing.done, 0);
}

static void test_a_write_that_is_over_cannot_be_cancelled(void **state) {
  struct peers *peers = *state;
  struct writing writing = {0};
  assert_int_equal(writing_set(peers, &writing, "k", "v"), LC_OK);
  assert_false(cancel(peers, &writing));
}

static void live(struct peers *peers) {
  struct writing writing = {0};
  int rc = writing_set(peers, &writing, "a", "v");
  assert_true(rc == LC_OK || rc == LC_ENOMEM);
  rc = writing_delete(peers, &writing, "a");
  assert_true(rc == LC_OK || rc == LC_ENOMEM);
  peers->ours = false;
  rc = writing_set(peers, &writing, "b", "v");
  assert_true(rc == LC_PENDING || rc == LC_ENOMEM);
  if (rc == LC_PENDING)
    peers_written(peers, 0, LC_PEER_OK, 0, "");
}

static void test_each_failed_allocation_is_an_error_like_another(void **state) {
  (void)state;
  if (!lc_alloc_faults_built())
    skip();
  size_t n = 1, made = 1;
  for (; n <= made; n++) {
    struct peers peers;
    peers_init(&peers, NULL);
    lc_alloc_fail_at(n);
    live(&peers);
    made = lc_alloc_fail_at(0);
    peers_fini(&peers);
  }
  assert_true(n > 5);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      PEERS_TEST(test_the_owner_writes_and_records_and_is_done_where_nobody_waits),
      PEERS_TEST(test_the_owner_waits_until_all_nodes_know),
      PEERS_TEST(test_a_write_that_not_all_hear_of_in_time_fails),
      PEERS_TEST(test_a_wait_that_ends_at_the_deadline_counts),
      cmocka_unit_test(test_a_refused_set_removes_the_old_value_everywhere),
      cmocka_unit_test(test_sizes_are_the_owners_to_check),
      PEERS_TEST(test_a_write_detaches_a_peek),
      PEERS_TEST(test_another_nodes_key_is_written_there),
      PEERS_TEST(test_a_delete_there_says_whether_something_was_there),
      PEERS_TEST(test_who_wrote_is_not_answered_by_an_old_mirror),
      PEERS_TEST(test_an_unreachable_owner_is_named),
      PEERS_TEST(test_other_failures_to_start_are_told),
      PEERS_TEST(test_a_failure_there_is_the_answer),
      PEERS_TEST(test_a_write_that_is_not_taken_is_tried_again_with_growing_pauses),
      PEERS_TEST(test_a_write_whose_key_became_ours_is_made_here),
      PEERS_TEST(test_a_node_that_stood_still_writes_nothing_until_it_is_fresh),
      PEERS_TEST(test_a_write_that_nobody_takes_ends_at_its_deadline),
      PEERS_TEST(test_the_callers_deadline_counts_if_it_is_sooner),
      PEERS_TEST(test_a_forwarded_write_is_made_here_or_refused),
      PEERS_TEST(test_a_forwarded_write_is_not_sent_on_if_the_key_is_lost_meanwhile),
      PEERS_TEST(test_what_was_written_while_the_key_was_lost_is_a_former_copy),
      PEERS_TEST(test_bad_arguments_are_refused_at_once),
      PEERS_TEST(test_a_write_can_be_cancelled_in_each_state),
      PEERS_TEST(test_a_write_that_is_over_cannot_be_cancelled),
      cmocka_unit_test(test_each_failed_allocation_is_an_error_like_another),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
