/* Gets between cork and uncork: one call an owner and group; members that are cancelled at any time; a reply without
 * room; what a batch that fails means for each. */
#include "test_cluster_link_support.h"

static struct asker asker;
static struct node *const node = &asker.nodes[0], *const second = &asker.nodes[1];

#define GETS_MAX 2500u
static struct asked asked[GETS_MAX];
static char *long_keys[GETS_MAX];

static int start(void **state) {
  (void)state;
  asker_start(&asker, 1);
  return 0;
}

static int start_two(void **state) {
  (void)state;
  asker_start(&asker, 2);
  return 0;
}

static int stop(void **state) {
  (void)state;
  asker_stop(&asker);
  return 0;
}

static void prepare(size_t i, struct node *owner, const char *word) {
  char key[64];
  key_of(&asker, owner, word, (unsigned)i, key);
  asked_init(&asked[i], &asker, key);
}

struct batch {
  size_t count;
  size_t fail_at; /* an allocation, counted from the uncorking */
  void (*corked)(void);
};

static void start_here(void *arg) {
  struct batch *batch = arg;
  lc_calls_cork(asker.cluster, 0);
  lc_calls_cork(asker.cluster, 0); /* depth counts */
  for (size_t i = 0; i < batch->count; i++)
    asked_start_here(&asked[i]);
  lc_calls_uncork(asker.cluster, 0);
  if (batch->corked)
    batch->corked();
  lc_alloc_fail_at(batch->fail_at);
  lc_calls_uncork(asker.cluster, 0);
  for (size_t i = 0; i < batch->count; i++)
    assert_int_equal(asked[i].done, 0);
}

static void start_all(size_t count) {
  on_worker(asker.workers[0], start_here, &(struct batch){.count = count});
}

static void wait_all(size_t count) {
  for (size_t i = 0; i < count; i++)
    asked_wait(&asked[i]);
}

static void the_gets_of_an_owner_travel_in_one_call(void **state) {
  (void)state;
  static const char *const words[] = {"value", "nil", "fail", "draining", "nogroup", "odd", "badcode"};
  for (size_t i = 0; i < 7; i++)
    prepare(i, node, words[i]);
  start_all(7);
  wait_all(7);
  expect_asked(&asked[0], LC_PEER_VALUE, "");
  assert_string_equal(asked[0].value, asked[0].key);
  assert_int_equal(asked[0].get.ttl_ms, 1234);
  assert_true(asked[0].get.keep);
  expect_asked(&asked[1], LC_PEER_NOT_FOUND, "");
  expect_asked(&asked[2], LC_PEER_FAILED, "the source is away");
  assert_int_equal(asked[2].get.code, LC_EUNAVAILABLE);
  expect_asked(&asked[3], LC_PEER_UNREACHED, "the node is draining");
  expect_asked(&asked[4], LC_PEER_UNREACHED, "the node has no such group");
  assert_int_equal(asked[5].get.outcome, LC_PEER_UNREACHED);
  assert_int_equal(asked[6].get.outcome, LC_PEER_FAILED);
  assert_int_equal(node->calls.count, 1);
  assert_int_equal(atomic_load(&node->keys), 7);
  assert_int_equal(atomic_load(&node->to), node->process);
}

static void one_get_travels_by_itself(void **state) {
  (void)state;
  prepare(0, node, "value");
  start_all(1);
  wait_all(1);
  assert_int_equal(node->calls.count, 1);
  assert_int_equal(node->batches.count, 0);
}

static void each_owner_gets_its_own(void **state) {
  (void)state;
  for (size_t i = 0; i < 20; i++)
    prepare(i, i % 2 ? node : second, "value");
  start_all(20);
  wait_all(20);
  for (size_t i = 0; i < 20; i++) {
    expect_asked(&asked[i], LC_PEER_VALUE, "");
    assert_string_equal(asked[i].value, asked[i].key);
  }
  assert_int_equal(node->batches.count, 1);
  assert_int_equal(second->batches.count, 1);
  assert_int_equal(atomic_load(&node->keys), 10);
}

static void groups_are_not_mixed(void **state) {
  (void)state;
  for (size_t i = 0; i < 4; i++)
    prepare(i, node, "value");
  asked[1].get.group = asked[3].get.group = lc_slice_str("h");
  unsigned n = 0;
  const struct lc_view *view = lc_view_acquire(asker.cluster);
  for (size_t i = 1; i < 4; i += 2) {
    do
      snprintf(asked[i].key, sizeof asked[i].key, "value:h%u", n++);
    while (lc_view_owner(view, lc_hash_ring(lc_slice_str("h"), lc_slice_str(asked[i].key))) != node->peer);
    asked[i].get.key = lc_slice_str(asked[i].key);
  }
  lc_view_unref((struct lc_view *)view);
  start_all(4);
  wait_all(4);
  assert_int_equal(node->batches.count, 2);
  for (size_t i = 0; i < 4; i++)
    assert_string_equal(asked[i].value, asked[i].key);
}

static void a_refresh_or_a_get_with_lineage_is_not_held_back(void **state) {
  (void)state;
  const struct lc_flight_name name = {lc_slice_str("g"), lc_slice_str("parent")};
  for (size_t i = 0; i < 2; i++)
    prepare(i, node, "value");
  asked[0].get.refresh = true;
  asked[1].get.lineage = &name;
  asked[1].get.lineage_count = 1;
  start_all(2);
  wait_all(2);
  assert_int_equal(node->calls.count, 2);
  assert_int_equal(node->batches.count, 0);
}

static void many_gets_travel_in_bounded_calls(void **state) {
  (void)state;
  for (size_t i = 0; i < GETS_MAX; i++)
    prepare(i, node, "value");
  start_all(GETS_MAX);
  wait_all(GETS_MAX);
  assert_int_equal(node->batches.count, 3);
}

/* Neither over 256 KiB nor over what the other node takes for one message. */
static void long_keys_travel_in_bounded_calls(void **state) {
  (void)state;
  const size_t len = 60000, count = 20;
  asker.cluster->config.max_message = 1024;
  node_stop(node);
  net_init(&node->net, node->table);
  node->net.max_message = 1024 + LC_PEER_MESSAGE_EXTRA;
  net_start(&node->net);
  node->peer->address.port = node->net.port;
  for (size_t i = 0; i < count; i++) {
    unsigned n = 0;
    long_keys[i] = malloc(len);
    memset(long_keys[i], 'x', len);
    prepare(i, node, "value");
    asked[i].get.key = lc_slice_of(long_keys[i], len);
    const struct lc_view *view = lc_view_acquire(asker.cluster);
    do
      snprintf(long_keys[i], len, "value:%zu:%u:", i, n++);
    while (lc_view_owner(view, lc_hash_ring(lc_slice_str("g"), asked[i].get.key)) != node->peer);
    lc_view_unref((struct lc_view *)view);
  }
  start_all(count);
  wait_all(count);
  for (size_t i = 0; i < count; i++) {
    expect_asked(&asked[i], LC_PEER_VALUE, "");
    assert_int_equal(asked[i].value_len, len);
    free(long_keys[i]);
  }
  assert_int_equal(node->calls.count, count);
}

static void a_value_without_room_is_asked_for_alone(void **state) {
  (void)state;
  for (size_t i = 0; i < 4; i++)
    prepare(i, node, i % 2 ? "room" : "value");
  start_all(4);
  wait_all(4);
  for (size_t i = 0; i < 4; i++) {
    expect_asked(&asked[i], LC_PEER_VALUE, "");
    assert_string_equal(asked[i].value, asked[i].key);
  }
  assert_int_equal(node->batches.count, 1);
  assert_int_equal(node->calls.count, 3);
}

static void expect_whole(const char *word, enum lc_peer_outcome outcome, const char *message) {
  prepare(0, node, word);
  prepare(1, node, "value");
  start_all(2);
  wait_all(2);
  for (size_t i = 0; i < 2; i++)
    expect_asked(&asked[i], outcome, message);
}

static void a_batch_that_is_refused_is_refused_for_each(void **state) {
  (void)state;
  expect_whole("alldraining", LC_PEER_UNREACHED, "the node is draining");
  assert_false(node_looked_at(node));
  expect_whole("allstranger", LC_PEER_UNREACHED, "the node was restarted");
  assert_true(node_looked_at(node));
  expect_whole("full", LC_PEER_FAILED, "too many loads");
  assert_int_equal(asked[1].get.code, LC_EEXHAUSTED);
  expect_whole("internal", LC_PEER_UNREACHED, "a bug");
}

static void a_malformed_reply_reaches_nobody(void **state) {
  (void)state;
  expect_whole("broken", LC_PEER_UNREACHED, "the node's answer is malformed");
  expect_whole("few", LC_PEER_UNREACHED, "the node's answer is malformed");
  expect_whole("allvalue", LC_PEER_UNREACHED, "the node's answer is malformed");
}

static void a_batch_ends_at_its_latest_deadline(void **state) {
  (void)state;
  prepare(0, node, "hang");
  prepare(1, node, "value");
  asked[0].get.deadline_ms = lc_clock_ms() + 1;
  asked[1].get.deadline_ms = lc_clock_ms() + 60;
  start_all(2);
  wait_all(2);
  assert_true(lc_clock_ms() >= asked[1].get.deadline_ms);
  for (size_t i = 0; i < 2; i++)
    assert_int_equal(asked[i].get.code, LC_EDEADLINE);
}

/* ---- cancelling ---- */

static void start_hanging(size_t count) {
  prepare(0, node, "hang");
  for (size_t i = 1; i < count; i++)
    prepare(i, node, "value");
  start_all(count);
  gate_wait(&node->batches, 1);
}

static void a_batch_that_nobody_waits_for_is_cancelled_there(void **state) {
  (void)state;
  start_hanging(3);
  asked_cancel(&asked[1]);
  asked_cancel(&asked[0]);
  assert_int_equal(node->cancels.count, 0);
  asked_cancel(&asked[2]);
  gate_wait(&node->cancels, 1);
  for (size_t i = 0; i < 3; i++)
    assert_int_equal(asked[i].done, 0);
}

static void cancel_two(void) {
  asked_cancel_here(&asked[0]);
  asked_cancel_here(&asked[2]);
}

static void what_is_cancelled_while_corked_is_not_sent(void **state) {
  (void)state;
  for (size_t i = 0; i < 4; i++)
    prepare(i, node, "value");
  on_worker(asker.workers[0], start_here, &(struct batch){.count = 4, .corked = cancel_two});
  asked_wait(&asked[1]);
  asked_wait(&asked[3]);
  assert_int_equal(atomic_load(&node->keys), 2);
  assert_int_equal(asked[0].done + asked[2].done, 0);
}

static void cancel_rest(struct asked *told) {
  for (size_t i = 0; i < 5; i++) {
    if (&asked[i] != told && !asked[i].done)
      asked_cancel_here(&asked[i]);
  }
}

static void expect_one_told(void) {
  struct asked next;
  asked_wait(&asked[0]);
  if (lc_peer_state(node->peer) == LC_PEER_UP) {
    ask_node(&next, &asker, node, "value");
    expect_asked(&next, LC_PEER_VALUE, "");
  }
  for (size_t i = 1; i < 5; i++)
    assert_int_equal(asked[i].done, 0);
}

static void who_is_told_may_cancel_all_others(void **state) {
  (void)state;
  for (size_t i = 0; i < 5; i++)
    prepare(i, node, i == 3 ? "room" : "value");
  asked[0].on_done = cancel_rest;
  start_all(5);
  expect_one_told();
}

static void who_is_told_of_a_loss_may_cancel_all_others(void **state) {
  (void)state;
  prepare(0, node, "hang");
  for (size_t i = 1; i < 5; i++)
    prepare(i, node, "value");
  asked[0].on_done = cancel_rest;
  start_all(5);
  gate_wait(&node->batches, 1);
  node_state(node, LC_PEER_DOWN);
  expect_one_told();
  expect_asked(&asked[0], LC_PEER_UNREACHED, "the node is down");
}

/* The second is asked for again when the third, which is told then, cancels it. */
static void cancel_resent(struct asked *told) {
  (void)told;
  asked_cancel_here(&asked[1]);
}

static void who_is_asked_for_again_may_be_cancelled(void **state) {
  (void)state;
  struct asked next;
  prepare(0, node, "value");
  prepare(1, node, "room");
  prepare(2, node, "value");
  asked[2].on_done = cancel_resent;
  start_all(3);
  asked_wait(&asked[0]);
  asked_wait(&asked[2]);
  ask_node(&next, &asker, node, "value");
  assert_int_equal(asked[1].done, 0);
}

/* ---- owners that go, workers that close ---- */

static void down(void) {
  atomic_store(&node->peer->state, LC_PEER_DOWN);
}

static void gets_whose_owner_went_down_while_corked_are_told_later(void **state) {
  (void)state;
  for (size_t i = 0; i < 3; i++)
    prepare(i, node, "value");
  on_worker(asker.workers[0], start_here, &(struct batch){.count = 3, .corked = down});
  wait_all(3);
  for (size_t i = 0; i < 3; i++)
    expect_asked(&asked[i], LC_PEER_UNREACHED, "there is no connection to the node");
}

static void forget(void) {
  struct lc_cluster *cluster = asker.cluster;
  pthread_mutex_lock(&cluster->lock);
  atomic_store(&node->peer->state, LC_PEER_DOWN);
  lc_peer_forget(cluster, 0);
  assert_int_equal(lc_view_publish(cluster), 0);
  pthread_mutex_unlock(&cluster->lock);
  assert_int_equal(lc_cluster_view(cluster, 0)->peer_count, 0);
}

static void gets_whose_owner_was_forgotten_while_corked_are_told_later(void **state) {
  (void)state;
  for (size_t i = 0; i < 3; i++)
    prepare(i, node, "value");
  on_worker(asker.workers[0], start_here, &(struct batch){.count = 3, .corked = forget});
  wait_all(3);
  for (size_t i = 0; i < 3; i++)
    assert_int_equal(asked[i].get.outcome, LC_PEER_UNREACHED);
}

static void down_and_cancel_one(void *arg) {
  start_here(arg);
  asked_cancel_here(&asked[1]);
}

static void gets_that_could_not_be_sent_may_be_cancelled(void **state) {
  (void)state;
  for (size_t i = 0; i < 3; i++)
    prepare(i, node, "value");
  on_worker(asker.workers[0], down_and_cancel_one, &(struct batch){.count = 3, .corked = down});
  asked_wait(&asked[0]);
  asked_wait(&asked[2]);
  assert_int_equal(asked[1].done, 0);
}

static void down_and_close(void *arg) {
  start_here(arg);
  lc_links_close(asker.cluster, 0);
}

static void a_worker_that_closes_tells_nobody(void **state) {
  (void)state;
  start_hanging(3);
  asked_cancel(&asked[1]);
  asker_close(&asker, 0);
  gate_wait(&node->cancels, 1);
  asked_cancel(&asked[0]); /* harmless */
  for (size_t i = 0; i < 3; i++)
    assert_int_equal(asked[i].done, 0);
}

static void a_worker_that_closes_tells_nobody_of_what_could_not_be_sent(void **state) {
  (void)state;
  for (size_t i = 0; i < 3; i++)
    prepare(i, node, "value");
  on_worker(asker.workers[0], down_and_close, &(struct batch){.count = 3, .corked = down});
  asked_cancel(&asked[0]); /* after the task that would have told them */
  for (size_t i = 0; i < 3; i++)
    assert_int_equal(asked[i].done, 0);
}

/* ---- memory ---- */

static void made_here(void *arg) {
  *(size_t *)arg = lc_alloc_fail_at(0);
}

static void each_get_is_told_once_whatever_allocation_fails(void **state) {
  (void)state;
  size_t made, n = 0;
  if (!lc_alloc_faults_built())
    skip();
  do {
    node_state(node, LC_PEER_DOWN);
    node_state(node, LC_PEER_UP);
    for (size_t i = 0; i < 3; i++)
      prepare(i, node, i ? "value" : "room");
    on_worker(asker.workers[0], start_here, &(struct batch){.count = 3, .fail_at = ++n});
    wait_all(3);
    on_worker(asker.workers[0], made_here, &made);
  } while (made >= n && n < 2000);
  assert_true(n > 10 && n < 2000);
  for (size_t i = 0; i < 3; i++)
    expect_asked(&asked[i], LC_PEER_VALUE, "");
}

#define ONE(name) cmocka_unit_test_setup_teardown(name, start, stop)
#define TWO(name) cmocka_unit_test_setup_teardown(name, start_two, stop)

int main(void) {
  const struct CMUnitTest tests[] = {
      ONE(the_gets_of_an_owner_travel_in_one_call),
      ONE(one_get_travels_by_itself),
      TWO(each_owner_gets_its_own),
      ONE(groups_are_not_mixed),
      ONE(a_refresh_or_a_get_with_lineage_is_not_held_back),
      ONE(many_gets_travel_in_bounded_calls),
      ONE(long_keys_travel_in_bounded_calls),
      ONE(a_value_without_room_is_asked_for_alone),
      ONE(a_batch_that_is_refused_is_refused_for_each),
      ONE(a_malformed_reply_reaches_nobody),
      ONE(a_batch_ends_at_its_latest_deadline),
      ONE(a_batch_that_nobody_waits_for_is_cancelled_there),
      ONE(what_is_cancelled_while_corked_is_not_sent),
      ONE(who_is_told_may_cancel_all_others),
      ONE(who_is_told_of_a_loss_may_cancel_all_others),
      ONE(who_is_asked_for_again_may_be_cancelled),
      ONE(gets_whose_owner_went_down_while_corked_are_told_later),
      ONE(gets_whose_owner_was_forgotten_while_corked_are_told_later),
      ONE(gets_that_could_not_be_sent_may_be_cancelled),
      ONE(a_worker_that_closes_tells_nobody),
      ONE(a_worker_that_closes_tells_nobody_of_what_could_not_be_sent),
      ONE(each_get_is_told_once_whatever_allocation_fails),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
