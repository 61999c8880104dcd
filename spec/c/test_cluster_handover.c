/* A leaving node's items, pushed to their new owners; and taking them. */
#include <sched.h>
#include <stdio.h>
#include <time.h>

#include "base/arena.h"
#include "base/buf.h"
#include "cluster/handover.h"
#include "test_cluster_fake.h"

#define WAIT_S 20
#define DEADLINE_MS (FAKE_START_MS + 10000)

static struct lc_pool *pool;
static struct lc_hash_key hash_key;
static unsigned done;

static void on_done(struct lc_cluster *cluster) {
  assert_ptr_equal(cluster, &fake.cluster);
  done++;
}

static struct lc_peer *all_to_0(uint64_t hash) {
  (void)hash;
  return &fake.peer[0];
}

static struct lc_peer *between_0_and_1(uint64_t hash) {
  return &fake.peer[hash % 2];
}

static struct lc_peer *half_stays(uint64_t hash) {
  return hash % 2 ? &fake.peer[0] : NULL;
}

static int setup(void **state) {
  fake_setup(state);
  done = 0;
  fake.owner = all_to_0;
  fake.groups.count = FAKE_GROUPS;
  fake.members.self = LC_RING_NONE; /* it is leaving */
  assert_int_equal(lc_pool_create((size_t)64 << 20, &pool), LC_OK);
  const struct lc_store_config config = {
      .pool = pool, .shards = 1, .key = &hash_key, .mirror_limit_bytes = (size_t)1 << 20};
  for (unsigned i = 0; i < FAKE_GROUPS; i++)
    assert_int_equal(lc_store_create(&config, &fake.groups.at[i].store), LC_OK);
  fake_greet(0);
  fake_greet(1);
  return 0;
}

static int teardown(void **state) {
  for (unsigned i = 0; i < FAKE_GROUPS; i++)
    lc_store_destroy(fake.groups.at[i].store);
  lc_pool_destroy(pool);
  return fake_teardown(state);
}

/* ---- what is stored ---- */

static void put_value(unsigned group, const char *key, struct lc_slice value, uint64_t expires_ms, bool mirror) {
  struct lc_store *store = fake.groups.at[group].store;
  struct lc_item *item = lc_item_create(lc_slice_str(key), value, expires_ms, 0);
  lc_item_set_view(item, 1, mirror);
  assert_int_equal(lc_store_put(store, item, lc_store_hash(store, lc_slice_str(key)), lc_clock_ms()), LC_OK);
  lc_item_unref(item);
}

static void put(unsigned group, const char *key) {
  put_value(group, key, lc_slice_str("value"), LC_TIME_NEVER, false);
}

static void put_many(unsigned group, unsigned count) {
  char key[16];
  for (unsigned i = 0; i < count; i++) {
    snprintf(key, sizeof key, "%c%06u", group == 0 ? 'k' : 'm', i);
    put(group, key);
  }
}

static void remove_key(unsigned group, const char *key) {
  struct lc_store *store = fake.groups.at[group].store;
  assert_true(lc_store_delete(store, lc_slice_str(key), lc_store_hash(store, lc_slice_str(key)), lc_clock_ms()));
}

/* ---- the push ---- */

static bool in_time(const struct timespec *began) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  sched_yield();
  return now.tv_sec - began->tv_sec < WAIT_S;
}

/* The collecting is on a thread of its own. */
static void wait_for_calls(void) {
  struct timespec began;
  clock_gettime(CLOCK_MONOTONIC, &began);
  while (!done && !fake_call_to(0) && !fake_call_to(1) && in_time(&began))
    fake_run();
  assert_true(done || fake_call_to(0) || fake_call_to(1));
}

static void push(void) {
  lc_handover_push(&fake.cluster, DEADLINE_MS, on_done);
  assert_int_equal(done, 0);
  wait_for_calls();
}

struct request {
  struct lc_arena arena;
  struct lc_msg_handover_request msg;
};

static void decode(unsigned peer, struct request *request) {
  struct lc_err err;
  const struct fake_call *call = fake_call_to(peer);
  assert_non_null(call);
  lc_arena_init(&request->arena, NULL, 0, (size_t)16 << 20);
  assert_int_equal(
      lc_msg_handover_request_decode(&request->arena, lc_slice_of(call->bytes, call->len), &request->msg, &err), LC_OK);
  assert_int_equal(request->msg.from, 1);
  assert_int_equal(request->msg.to, atomic_load(&fake.peer[peer].process));
}

static size_t items_in(unsigned peer) {
  struct request request;
  decode(peer, &request);
  size_t count = request.msg.item_count;
  lc_arena_fini(&request.arena);
  return count;
}

static bool has_key(unsigned peer, const char *key) {
  struct request request;
  bool found = false;
  decode(peer, &request);
  for (size_t i = 0; i < request.msg.item_count; i++)
    found = found || lc_slice_eq(request.msg.items[i].key, lc_slice_str(key));
  lc_arena_fini(&request.arena);
  return found;
}

static void reply(unsigned peer, int outcome, uint32_t taken) {
  const struct lc_msg_handover_response response = {outcome, taken};
  struct lc_buf buf;
  lc_buf_init(&buf);
  assert_int_equal(lc_msg_handover_response_encode(&response, &buf), LC_OK);
  fake_answer(fake_call_to(peer), &buf);
}

static void test_items_go_out_with_value_ttl_and_group_newest_first(void **state) {
  (void)state;
  struct request request;
  put(0, "old");
  put_value(0, "new", lc_slice_str("other"), FAKE_START_MS + 5000, false);
  push();
  decode(0, &request);
  assert_int_equal(request.msg.item_count, 2);
  const struct lc_msg_handover_item *first = &request.msg.items[0], *second = &request.msg.items[1];
  assert_true(lc_slice_eq(first->key, lc_slice_str("new")));
  assert_true(lc_slice_eq(first->group, lc_slice_str("g")));
  assert_true(lc_slice_eq(first->value, lc_slice_str("other")));
  assert_int_equal(first->ttl_ms, 5000);
  assert_true(lc_slice_eq(second->key, lc_slice_str("old")));
  assert_int_equal(second->ttl_ms, 0);
  lc_arena_fini(&request.arena);
  assert_int_equal(done, 0);
  reply(0, LC_OUTCOME_OK, 2);
  assert_int_equal(done, 1);
  assert_null(fake.cluster.handover);
}

static void test_with_nothing_stored_the_end_is_told_of_later(void **state) {
  (void)state;
  push();
  assert_int_equal(done, 1);
}

static void test_mirrors_and_our_own_keys_stay(void **state) {
  (void)state;
  fake.owner = half_stays;
  put_many(0, 100);
  put_value(0, "mirror", lc_slice_str("value"), FAKE_START_MS + 5000, true);
  push();
  size_t sent = items_in(0);
  assert_in_range(sent, 20, 80);
  assert_false(has_key(0, "mirror"));
  reply(0, LC_OUTCOME_OK, 0);
  assert_int_equal(done, 1);
}

static void put_tagged(const char *key, unsigned view) {
  struct lc_store *store = fake.groups.at[0].store;
  struct lc_item *item = lc_item_create(lc_slice_str(key), lc_slice_str("value"), LC_TIME_NEVER, 0);
  lc_item_set_view(item, view, false);
  assert_int_equal(lc_store_put(store, item, lc_store_hash(store, lc_slice_str(key)), lc_clock_ms()), LC_OK);
  lc_item_unref(item);
}

static bool is_stored(const char *key) {
  struct lc_store *store = fake.groups.at[0].store;
  struct lc_item *item =
      lc_store_peek(store, lc_slice_str(key), lc_store_hash(store, lc_slice_str(key)), lc_clock_ms());
  lc_item_unref(item);
  return item != NULL;
}

static void test_copies_of_any_ring_are_sent_and_stay_for_those_who_peek(void **state) {
  (void)state;
  fake.view.number = 5;
  put_tagged("owner's", 5);
  put_tagged("former", 3);
  push();
  assert_true(has_key(0, "owner's"));
  assert_true(has_key(0, "former"));
  reply(0, LC_OUTCOME_OK, 2);
  assert_int_equal(done, 1);
  assert_true(is_stored("owner's"));
  assert_true(is_stored("former"));
}

static void test_each_owner_gets_its_own_at_the_same_time(void **state) {
  (void)state;
  fake.owner = between_0_and_1;
  put_many(0, 500);
  push();
  assert_int_equal(items_in(0) + items_in(1), 500);
  assert_true(has_key(0, "k000007") != has_key(1, "k000007"));
  reply(1, LC_OUTCOME_OK, 1);
  assert_int_equal(done, 0);
  reply(0, LC_OUTCOME_OK, 1);
  assert_int_equal(done, 1);
}

static void test_a_call_has_at_most_1000_items(void **state) {
  (void)state;
  put_many(0, 2500);
  push();
  assert_int_equal(items_in(0), 1000);
  assert_true(has_key(0, "k002499")); /* the newest */
  reply(0, LC_OUTCOME_OK, 1000);
  assert_int_equal(items_in(0), 1000);
  reply(0, LC_OUTCOME_OK, 1000);
  assert_int_equal(items_in(0), 500);
  assert_true(has_key(0, "k000000"));
  reply(0, LC_OUTCOME_OK, 500);
  assert_int_equal(done, 1);
}

static void test_a_call_has_at_most_a_mebibyte_but_one_item_always_goes(void **state) {
  (void)state;
  char *value = calloc(1, (size_t)3 << 20);
  for (unsigned i = 0; i < 5; i++) {
    char key[] = {(char)('a' + i), 0};
    put_value(0, key, lc_slice_of(value, 400000), LC_TIME_NEVER, false);
  }
  put_value(0, "large", lc_slice_of(value, (size_t)3 << 20), LC_TIME_NEVER, false);
  push();
  assert_int_equal(items_in(0), 1);
  assert_true(has_key(0, "large"));
  reply(0, LC_OUTCOME_OK, 1);
  assert_int_equal(items_in(0), 2);
  reply(0, LC_OUTCOME_OK, 2);
  reply(0, LC_OUTCOME_OK, 2);
  reply(0, LC_OUTCOME_OK, 1);
  assert_int_equal(done, 1);
  free(value);
}

static void test_groups_take_turns(void **state) {
  (void)state;
  put_many(0, 1500);
  put_many(1, 500);
  push();
  struct request request;
  unsigned of_h = 0;
  decode(0, &request);
  for (size_t i = 0; i < request.msg.item_count; i++)
    of_h += lc_slice_eq(request.msg.items[i].group, lc_slice_str("h"));
  lc_arena_fini(&request.arena);
  assert_in_range(of_h, 249, 251);
  lc_handover_cancel(&fake.cluster);
}

static void test_what_was_written_or_expired_meanwhile_is_not_sent(void **state) {
  (void)state;
  put_value(0, "short", lc_slice_str("value"), FAKE_START_MS + 50, false);
  put_many(0, 1000);
  put_many(1, 1002); /* groups take turns: the oldest of g are in the second call */
  push();
  assert_false(has_key(0, "k000001"));
  remove_key(0, "k000001");
  put(0, "k000002");
  fake_jump(100);
  reply(0, LC_OUTCOME_OK, 0);
  assert_false(has_key(0, "k000001"));
  assert_false(has_key(0, "k000002"));
  assert_false(has_key(0, "short"));
  assert_true(has_key(0, "k000000"));
  assert_int_equal(items_in(0), 1000);
  reply(0, LC_OUTCOME_OK, 0);
  assert_int_equal(done, 1);
}

static void test_calls_say_how_far_each_log_is_in_force(void **state) {
  (void)state;
  struct request request;
  fake_write("x");
  fake_write("y");
  lc_touched_note(fake.cluster.touched, 1, 101, 9);
  put(0, "a");
  push();
  decode(0, &request);
  assert_int_equal(request.msg.applied_count, 2);
  assert_int_equal(request.msg.applied[0].process, 1);
  assert_int_equal(request.msg.applied[0].seq, 2);
  assert_int_equal(request.msg.applied[1].process, 101);
  assert_int_equal(request.msg.applied[1].seq, 9);
  lc_arena_fini(&request.arena);
  lc_handover_cancel(&fake.cluster);
}

static void test_a_failed_call_is_tried_again_with_the_same_items(void **state) {
  (void)state;
  put_many(0, 10);
  push();
  fake_fail(fake_call_to(0), LC_GRPC_RESOURCE_EXHAUSTED);
  assert_null(fake_call_to(0));
  fake_advance(110);
  assert_int_equal(items_in(0), 10);
  reply(0, LC_OUTCOME_OK, 10);
  assert_int_equal(done, 1);
}

static void test_a_peer_that_keeps_failing_is_given_up_and_the_others_go_on(void **state) {
  (void)state;
  fake.owner = between_0_and_1;
  put_many(0, 100);
  push();
  for (unsigned i = 0; i < 6; i++) {
    assert_non_null(fake_call_to(0));
    fake_fail(fake_call_to(0), LC_GRPC_UNAVAILABLE);
    fake_advance(110);
  }
  assert_null(fake_call_to(0));
  assert_int_equal(done, 0);
  reply(1, LC_OUTCOME_OK, 0);
  assert_int_equal(done, 1);
}

static void test_a_connection_that_breaks_silently_is_no_end(void **state) {
  (void)state;
  put_many(0, 10);
  push();
  fake_hang_up(0);
  fake_advance(110);
  assert_null(fake_call_to(0));
  fake.peer[0].connected = true;
  fake_advance(110);
  assert_int_equal(items_in(0), 10);
  reply(0, LC_OUTCOME_OK, 10);
  assert_int_equal(done, 1);
}

static void test_a_peer_that_leaves_itself_gets_no_more(void **state) {
  (void)state;
  put_many(0, 1500);
  push();
  reply(0, LC_OUTCOME_DRAINING, 0);
  assert_null(fake_call_to(0));
  assert_int_equal(done, 1);
}

static void test_the_deadline_ends_it(void **state) {
  (void)state;
  put_many(0, 10);
  push();
  fake_advance(9900);
  assert_int_equal(done, 0);
  fake_advance(200);
  assert_int_equal(done, 1);
  assert_int_equal(fake.cancelled, 1);
  assert_null(fake_call_to(0));
}

static void test_a_cancelled_push_tells_nobody(void **state) {
  (void)state;
  put_many(0, 10);
  push();
  lc_handover_cancel(&fake.cluster);
  assert_int_equal(fake.cancelled, 1);
  fake_advance(20000);
  assert_int_equal(done, 0);
  lc_handover_cancel(&fake.cluster); /* harmless */
}

static void test_a_push_can_be_cancelled_while_it_collects(void **state) {
  (void)state;
  put_many(0, 5000);
  lc_handover_push(&fake.cluster, DEADLINE_MS, on_done);
  lc_handover_cancel(&fake.cluster);
  fake_run();
  assert_int_equal(done, 0);
  assert_null(fake_call_to(0));
}

/* Where each allocation of the collecting fails in turn, nothing is handed over and nothing leaks. */
static void test_without_memory_nothing_is_collected(void **state) {
  (void)state;
  if (!lc_alloc_faults_built())
    skip();
  put_many(0, 50);
  put_many(1, 50);
  atomic_bool stop = false;
  struct lc_handover_load load;
  size_t needed, refused = 0;
  lc_alloc_fail_at(0);
  lc_handover_collect(&fake.groups, &fake.view, &stop, &load);
  needed = lc_alloc_fail_at(0);
  assert_int_equal(load.count, 100);
  lc_handover_unload(&load);
  for (size_t n = 1; n <= needed; n++) {
    lc_alloc_fail_at(n);
    lc_handover_collect(&fake.groups, &fake.view, &stop, &load);
    lc_alloc_fail_at(0);
    assert_true(load.count == 0 || load.count == 100); /* a list that couldn't be made smaller does no harm */
    refused += load.count == 0;
    assert_int_equal(load.target_count, load.count == 0 ? 0 : 1);
    lc_handover_unload(&load);
  }
  assert_true(refused >= 5);
  lc_alloc_fail_at(1);
  lc_handover_push(&fake.cluster, DEADLINE_MS, on_done);
  lc_alloc_fail_at(0);
  assert_int_equal(done, 1);
}

static void test_a_stopped_collection_is_empty(void **state) {
  (void)state;
  put_many(0, 50);
  atomic_bool stop = true;
  struct lc_handover_load load;
  lc_handover_collect(&fake.groups, &fake.view, &stop, &load);
  assert_int_equal(load.count, 0);
  lc_handover_unload(&load);
}

/* ---- taking ---- */

static struct lc_msg_handover_response take(uint64_t applied) {
  struct lc_msg_applied list[] = {{100, applied}};
  struct lc_msg_handover_item items[] = {
      {.group = lc_slice_str("g"), .key = lc_slice_str("a"), .value = lc_slice_str("1")},
      {.group = lc_slice_str("g"), .key = lc_slice_str("b"), .value = lc_slice_str("2")},
  };
  const struct lc_msg_handover_request request = {
      .from = 100, .to = 1, .applied = list, .applied_count = 1, .items = items, .item_count = 2};
  struct lc_msg_handover_response response = {.outcome = 99};
  lc_handover_take(&fake.cluster, 0, &fake.peer[0], &request, &response);
  return response;
}

static void test_items_are_taken_unless_the_key_was_written_since(void **state) {
  (void)state;
  fake.members.self = 0;
  lc_touched_note(fake.cluster.touched, lc_hash_ring(lc_slice_str("g"), lc_slice_str("a")), 100, 5);
  struct lc_msg_handover_response response = take(4);
  assert_int_equal(response.outcome, LC_OUTCOME_OK);
  assert_int_equal(response.taken, 1);
  assert_int_equal(fake.groups.refused, 1);
  assert_int_equal(take(5).taken, 2);
}

static void test_who_leaves_takes_nothing(void **state) {
  (void)state;
  struct lc_msg_handover_response response = take(4);
  assert_int_equal(response.outcome, LC_OUTCOME_DRAINING);
  assert_int_equal(fake.groups.added, 0);
}

#define TEST(name_) cmocka_unit_test_setup_teardown(name_, setup, teardown)

int main(void) {
  const struct CMUnitTest tests[] = {
      TEST(test_items_go_out_with_value_ttl_and_group_newest_first),
      TEST(test_with_nothing_stored_the_end_is_told_of_later),
      TEST(test_mirrors_and_our_own_keys_stay),
      TEST(test_copies_of_any_ring_are_sent_and_stay_for_those_who_peek),
      TEST(test_each_owner_gets_its_own_at_the_same_time),
      TEST(test_a_call_has_at_most_1000_items),
      TEST(test_a_call_has_at_most_a_mebibyte_but_one_item_always_goes),
      TEST(test_groups_take_turns),
      TEST(test_what_was_written_or_expired_meanwhile_is_not_sent),
      TEST(test_calls_say_how_far_each_log_is_in_force),
      TEST(test_a_failed_call_is_tried_again_with_the_same_items),
      TEST(test_a_peer_that_keeps_failing_is_given_up_and_the_others_go_on),
      TEST(test_a_connection_that_breaks_silently_is_no_end),
      TEST(test_a_peer_that_leaves_itself_gets_no_more),
      TEST(test_the_deadline_ends_it),
      TEST(test_a_cancelled_push_tells_nobody),
      TEST(test_a_push_can_be_cancelled_while_it_collects),
      TEST(test_without_memory_nothing_is_collected),
      TEST(test_a_stopped_collection_is_empty),
      TEST(test_items_are_taken_unless_the_key_was_written_since),
      TEST(test_who_leaves_takes_nothing),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
