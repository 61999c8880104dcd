#include <stdlib.h>
#include <string.h>

#include "test_group_peers.h"

/*
 * Cells of the table "The copies of a key" in src/cluster/README.md, as far as they are the groups' and no other test
 * is about them: what an event does to a copy that is stored, under way in a load, or handed over.
 */

enum copy { OWN, FORMER, MIRROR }; /* that is stored */

/* The keys are ours, or not, by another ring than before. */
static void ring_changes(struct peers *peers, bool ours) {
  peers->ours = ours;
  peers->view++;
}

static void set_here(struct peers *peers, const char *key, const char *value) {
  struct writing writing = {0};
  assert_int_equal(writing_set(peers, &writing, key, value), LC_OK);
}

/* "old" under the key; afterwards the key is ours only for OWN. */
static void store_copy(struct peers *peers, enum copy copy, const char *key) {
  ring_changes(peers, copy != MIRROR);
  if (copy == MIRROR) {
    struct call call;
    peers->get_rc = LC_EUNAVAILABLE;
    assert_int_equal(call_get(&peers->fake, &call, 0, "g", key), LC_PENDING);
    fake_finish(&peers->fake, peers->fake.started - 1, "old");
    call_fini(&call);
    peers->get_rc = LC_PENDING;
    expect_from(peers, key, LC_FROM_MIRROR, "old");
    return;
  }
  set_here(peers, key, "old");
  if (copy == FORMER)
    ring_changes(peers, false);
}

static struct lc_item *peek(struct peers *peers, const char *key) {
  return lc_group_peek(peers->fake.groups, lc_slice_str("g"), lc_slice_str(key), 0);
}

static void expect_peek(struct peers *peers, const char *key, const char *value) {
  struct lc_item *item = peek(peers, key);
  assert_non_null(item);
  assert_true(lc_slice_eq(lc_item_value(item), lc_slice_str(value)));
  lc_item_unref(item);
}

static size_t items(struct peers *peers) {
  return fake_stats(&peers->fake, 0).store.items;
}

static bool invalidate(struct peers *peers, const char *key) {
  return lc_group_invalidate(peers->fake.groups, lc_slice_str("g"), lc_slice_str(key), 0, NULL, NULL);
}

static bool allow(void *arg) {
  (void)arg;
  return true;
}

static bool hand_over(struct peers *peers, const char *key, const char *value) {
  return lc_group_add(peers->fake.groups, lc_slice_str("g"), lc_slice_str(key), lc_slice_str(value), 0, 0, allow, NULL);
}

/* ---- loads of "k", all of whose values would be kept ---- */

enum load { GETTER, PEEK, FORWARD, FALLBACK }; /* the first two as the owner; a fallback was a forward */
#define LOADS 4

static void heat(struct peers *peers) {
  for (int i = 0; i < 8; i++) {
    struct call call;
    assert_int_equal(call_get(&peers->fake, &call, 0, "g", "k"), LC_PENDING);
    peers_value(peers, peers->got - 1, "warm", 0, false);
    call_fini(&call);
  }
}

static void begin_load(struct peers *peers, struct call *call, enum load load) {
  ring_changes(peers, false);
  heat(peers);
  ring_changes(peers, load == GETTER || load == PEEK);
  peers->peek_rc = load == PEEK ? LC_PENDING : LC_EUNAVAILABLE;
  assert_int_equal(call_get(&peers->fake, call, 0, "g", "k"), LC_PENDING);
  if (load == FALLBACK)
    peers_outcome(peers, peers->got - 1, LC_PEER_UNREACHED, 0, "");
}

/* It comes to "old", for those who wait at least. */
static void end_load(struct peers *peers, struct call *call, enum load load) {
  if (load == GETTER || load == FALLBACK)
    fake_finish(&peers->fake, peers->fake.started - 1, "old");
  else
    peers_value(peers, peers->got - 1, "old", 0, true);
  assert_int_equal(call->done, 1);
  assert_value(call, load == GETTER || load == FALLBACK ? LC_FROM_SOURCE : LC_FROM_PEER, "old");
  call_fini(call);
}

/* Without this the tests below would prove nothing. */
static void test_each_load_here_is_one_whose_value_is_kept(void **state) {
  struct peers *peers = *state;
  for (enum load load = 0; load < LOADS; load++) {
    struct call call;
    begin_load(peers, &call, load);
    end_load(peers, &call, load);
    expect_from(peers, "k", load == GETTER || load == PEEK ? LC_FROM_STORE : LC_FROM_MIRROR, "old");
    assert_true(invalidate(peers, "k"));
  }
}

/* ---- Get here ---- */

static void test_a_get_of_a_former_copy_is_forwarded(void **state) {
  struct peers *peers = *state;
  struct call call;
  store_copy(peers, FORMER, "k");
  assert_int_equal(call_get(&peers->fake, &call, 0, "g", "k"), LC_PENDING);
  assert_int_equal(peers->got, 1);
  assert_false(peers->gets[0]->peek);
  expect_peek(peers, "k", "old"); /* to others it is still of use */
  peers_value(peers, 0, "theirs", 0, true);
  assert_value(&call, LC_FROM_PEER, "theirs");
  call_fini(&call);
}

static void test_gets_join_a_load_in_each_step(void **state) {
  struct peers *peers = *state;
  for (enum load load = 0; load < LOADS; load++) {
    struct call first, second;
    begin_load(peers, &first, load);
    size_t asked = peers->got, started = peers->fake.started;
    assert_int_equal(call_get(&peers->fake, &second, 1, "g", "k"), LC_PENDING);
    assert_int_equal(peers->got, asked);
    assert_int_equal(peers->fake.started, started);
    end_load(peers, &first, load);
    assert_int_equal(second.done, 1);
    call_fini(&second);
    assert_true(invalidate(peers, "k"));
  }
}

static void test_an_item_that_comes_during_a_load_gives_way_to_what_is_loaded(void **state) {
  struct peers *peers = *state;
  struct call call;
  ring_changes(peers, true);
  assert_int_equal(call_get(&peers->fake, &call, 0, "g", "k"), LC_PENDING);
  assert_true(hand_over(peers, "k", "given"));
  expect_from(peers, "k", LC_FROM_STORE, "given");
  fake_finish(&peers->fake, 0, "loaded");
  call_fini(&call);
  expect_from(peers, "k", LC_FROM_STORE, "loaded");
}

/* ---- Set and Delete ---- */

static void test_an_owners_write_replaces_or_removes_any_copy_and_is_logged(void **state) {
  struct peers *peers = *state;
  for (enum copy copy = OWN; copy <= MIRROR; copy++) {
    struct writing writing = {0};
    store_copy(peers, copy, "set");
    store_copy(peers, copy, "del");
    ring_changes(peers, true);
    uint64_t seq = peers->seq;
    set_here(peers, "set", "new");
    assert_int_equal(writing_delete(peers, &writing, "del"), LC_OK);
    assert_true(writing.write.deleted);
    assert_int_equal(peers->seq, seq + 2);
    expect_from(peers, "set", LC_FROM_STORE, "new");
    expect_none(peers, "del");
    assert_int_equal(items(peers), 1);
    assert_int_equal(fake_stats(&peers->fake, 0).store.mirrors, 0);
  }
}

static void test_an_owners_write_detaches_a_load_in_each_step(void **state) {
  struct peers *peers = *state;
  for (enum load load = 0; load < LOADS; load++) {
    struct call call;
    begin_load(peers, &call, load);
    ring_changes(peers, true);
    set_here(peers, "k", "new");
    ring_changes(peers, load == GETTER || load == PEEK); /* whose key it is doesn't keep the old value out */
    end_load(peers, &call, load);
    expect_peek(peers, "k", "new");
    assert_int_equal(items(peers), 1);
    assert_true(invalidate(peers, "k"));
  }
}

static void write_there(struct peers *peers, const char *key) {
  struct writing writing = {0};
  assert_int_equal(writing_set(peers, &writing, key, "new"), LC_PENDING);
  peers_written(peers, peers->wrote - 1, LC_PEER_OK, 0, "");
  assert_int_equal(writing.done, 1);
}

/* Also where the owner, who gave this node up, told it nothing. */
static void test_a_write_sent_on_leaves_no_copy_here(void **state) {
  struct peers *peers = *state;
  store_copy(peers, FORMER, "former");
  store_copy(peers, MIRROR, "mirror");
  write_there(peers, "former");
  write_there(peers, "mirror");
  assert_null(peek(peers, "former"));
  expect_none(peers, "mirror");
  assert_int_equal(items(peers), 0);
}

static void test_a_write_sent_on_detaches_a_load_in_each_step(void **state) {
  struct peers *peers = *state;
  for (enum load load = 0; load < LOADS; load++) {
    struct call call;
    begin_load(peers, &call, load);
    ring_changes(peers, false);
    write_there(peers, "k");
    end_load(peers, &call, load);
    assert_int_equal(items(peers), 0);
  }
}

/* ---- invalidations and drops ---- */

static void test_an_invalidation_detaches_an_owners_getter(void **state) {
  struct peers *peers = *state;
  struct call call;
  begin_load(peers, &call, GETTER);
  assert_false(invalidate(peers, "k"));
  end_load(peers, &call, GETTER);
  assert_int_equal(items(peers), 0);
}

static void test_a_drop_of_everything_takes_all_copies_and_detaches_all_loads(void **state) {
  struct peers *peers = *state;
  for (enum load load = 0; load < LOADS; load++) {
    struct call call;
    begin_load(peers, &call, load);
    bool ours = peers->ours;
    store_copy(peers, MIRROR, "mirror");
    store_copy(peers, FORMER, "former");
    store_copy(peers, OWN, "own");
    assert_int_equal(items(peers), 3);
    ring_changes(peers, ours);
    lc_groups_drop_all(peers->fake.groups);
    /* by its place: the copies above were loaded after it */
    if (load == GETTER || load == FALLBACK) {
      fake_finish(&peers->fake, peers->fake.started - 2, "old");
      assert_value(&call, LC_FROM_SOURCE, "old");
      call_fini(&call);
    } else {
      end_load(peers, &call, load);
    }
    assert_int_equal(items(peers), 0);
  }
}

/* ---- the ring changes ---- */

static void test_what_was_handed_over_outlives_a_forward_that_began_before(void **state) {
  const enum load loads[] = {FORWARD, FALLBACK};
  struct peers *peers = *state;
  for (size_t i = 0; i < 2; i++) {
    struct call call;
    begin_load(peers, &call, loads[i]);
    ring_changes(peers, true);
    assert_true(hand_over(peers, "k", "given"));
    end_load(peers, &call, loads[i]);
    expect_from(peers, "k", LC_FROM_STORE, "given");
    assert_true(invalidate(peers, "k"));
  }
}

static void test_what_an_owner_loads_while_it_loses_the_key_is_a_former_copy(void **state) {
  const enum load loads[] = {GETTER, PEEK};
  struct peers *peers = *state;
  for (size_t i = 0; i < 2; i++) {
    struct call call;
    begin_load(peers, &call, loads[i]);
    ring_changes(peers, false);
    end_load(peers, &call, loads[i]);
    expect_none(peers, "k");
    expect_peek(peers, "k", "old");
    ring_changes(peers, true);
    expect_from(peers, "k", LC_FROM_STORE, "old");
    assert_true(invalidate(peers, "k"));
  }
}

static void test_a_former_copy_stays_one_through_more_changes(void **state) {
  struct peers *peers = *state;
  store_copy(peers, FORMER, "k");
  for (int i = 0; i < 3; i++) {
    ring_changes(peers, false);
    expect_none(peers, "k");
    expect_peek(peers, "k", "old");
  }
}

static void test_a_mirror_stays_one_until_it_expires_whatever_the_ring_does(void **state) {
  struct peers *peers = *state;
  store_copy(peers, MIRROR, "k");
  ring_changes(peers, true);
  expect_none(peers, "k");
  ring_changes(peers, false);
  fake_advance(&peers->fake, 4999);
  expect_from(peers, "k", LC_FROM_MIRROR, "old");
  fake_advance(&peers->fake, 1);
  expect_none(peers, "k");
}

static void test_a_forward_goes_on_when_the_key_goes_to_a_third_node(void **state) {
  const enum load loads[] = {FORWARD, FALLBACK};
  struct peers *peers = *state;
  for (size_t i = 0; i < 2; i++) {
    struct call call;
    begin_load(peers, &call, loads[i]);
    ring_changes(peers, false);
    end_load(peers, &call, loads[i]);
    expect_from(peers, "k", LC_FROM_MIRROR, "old");
    assert_null(peek(peers, "k"));
    assert_true(invalidate(peers, "k"));
  }
}

/* ---- this node stood still ---- */

static void test_no_kind_of_copy_is_served_while_this_node_is_behind(void **state) {
  struct peers *peers = *state;
  for (enum copy copy = OWN; copy <= MIRROR; copy++) {
    struct call call;
    store_copy(peers, copy, "k");
    ring_changes(peers, copy == OWN);
    peers->stale = true;
    assert_null(peek(peers, "k"));
    call_init(&peers->fake, &call, 0, "g", "k");
    call.get.only_if_cached = true;
    assert_int_equal(call_start(&peers->fake, &call), LC_PENDING);
    assert_true(invalidate(peers, "k")); /* that is what it had missed */
    peers_fresh(peers);
    assert_int_equal(call.done, 1);
    assert_failed(&call, LC_ENOTFOUND, "not in the cache");
    call_fini(&call);
  }
}

static void test_loads_go_on_while_this_node_is_behind_and_end_by_what_is_heard(void **state) {
  struct peers *peers = *state;
  for (enum load load = 0; load < LOADS; load++) {
    for (int heard = 0; heard < 2; heard++) {
      struct call call;
      begin_load(peers, &call, load);
      peers->stale = true;
      if (heard)
        assert_false(invalidate(peers, "k"));
      end_load(peers, &call, load);
      peers->stale = false;
      assert_int_equal(items(peers), 1 - heard);
      invalidate(peers, "k");
    }
  }
}

static void test_an_item_that_comes_while_this_node_is_behind_goes_by_what_is_heard(void **state) {
  struct peers *peers = *state;
  ring_changes(peers, true);
  peers->stale = true;
  assert_true(hand_over(peers, "k", "given"));
  assert_true(hand_over(peers, "written", "given"));
  assert_null(peek(peers, "k"));
  assert_true(invalidate(peers, "written"));
  peers_fresh(peers);
  expect_from(peers, "k", LC_FROM_STORE, "given");
  expect_none(peers, "written");
}

int main(void) {
  const struct CMUnitTest tests[] = {
      PEERS_TEST(test_each_load_here_is_one_whose_value_is_kept),
      PEERS_TEST(test_a_get_of_a_former_copy_is_forwarded),
      PEERS_TEST(test_gets_join_a_load_in_each_step),
      PEERS_TEST(test_an_item_that_comes_during_a_load_gives_way_to_what_is_loaded),
      PEERS_TEST(test_an_owners_write_replaces_or_removes_any_copy_and_is_logged),
      PEERS_TEST(test_an_owners_write_detaches_a_load_in_each_step),
      PEERS_TEST(test_a_write_sent_on_leaves_no_copy_here),
      PEERS_TEST(test_a_write_sent_on_detaches_a_load_in_each_step),
      PEERS_TEST(test_an_invalidation_detaches_an_owners_getter),
      PEERS_TEST(test_a_drop_of_everything_takes_all_copies_and_detaches_all_loads),
      PEERS_TEST(test_what_was_handed_over_outlives_a_forward_that_began_before),
      PEERS_TEST(test_what_an_owner_loads_while_it_loses_the_key_is_a_former_copy),
      PEERS_TEST(test_a_former_copy_stays_one_through_more_changes),
      PEERS_TEST(test_a_mirror_stays_one_until_it_expires_whatever_the_ring_does),
      PEERS_TEST(test_a_forward_goes_on_when_the_key_goes_to_a_third_node),
      PEERS_TEST(test_no_kind_of_copy_is_served_while_this_node_is_behind),
      PEERS_TEST(test_loads_go_on_while_this_node_is_behind_and_end_by_what_is_heard),
      PEERS_TEST(test_an_item_that_comes_while_this_node_is_behind_goes_by_what_is_heard),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
