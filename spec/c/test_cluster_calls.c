/* Gets, peeks and writes at other nodes: what each answer comes to, cancelling, and what goes over the wire. */
#include "test_cluster_link_support.h"

static struct asker asker;
static struct node *const node = &asker.nodes[0], *const second = &asker.nodes[1];

static int start_one(void **state) {
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

/* ---- Gets ---- */

static void a_value_comes_with_what_is_left_of_its_time(void **state) {
  (void)state;
  struct asked asked;
  ask_node(&asked, &asker, node, "value");
  expect_asked(&asked, LC_PEER_VALUE, "");
  assert_string_equal(asked.value, asked.key);
  assert_int_equal(asked.get.ttl_ms, 1234);
  assert_true(asked.get.keep);
  assert_int_equal(atomic_load(&node->to), node->process);
  assert_false(atomic_load(&node->peek));
  assert_false(atomic_load(&node->refresh));
  assert_int_equal(atomic_load(&node->lineage), 0);
  ask_node(&asked, &asker, node, "negative");
  assert_int_equal(asked.get.ttl_ms, 0);
  assert_false(asked.get.keep);
}

static void not_found_and_failure_are_answers(void **state) {
  (void)state;
  struct asked asked;
  ask_node(&asked, &asker, node, "nil");
  expect_asked(&asked, LC_PEER_NOT_FOUND, "");
  ask_node(&asked, &asker, node, "fail");
  expect_asked(&asked, LC_PEER_FAILED, "the source is away");
  assert_int_equal(asked.get.code, LC_EUNAVAILABLE);
  ask_node(&asked, &asker, node, "badcode");
  expect_asked(&asked, LC_PEER_FAILED, "the source is away");
  assert_int_equal(asked.get.code, LC_EINTERNAL);
}

static void a_node_that_cannot_answer_is_unreached(void **state) {
  (void)state;
  struct asked asked;
  ask_node(&asked, &asker, node, "draining");
  expect_asked(&asked, LC_PEER_UNREACHED, "the node is draining");
  ask_node(&asked, &asker, node, "nogroup");
  expect_asked(&asked, LC_PEER_UNREACHED, "the node has no such group");
  ask_node(&asked, &asker, node, "odd");
  expect_asked(&asked, LC_PEER_UNREACHED, "the node's answer is not one that this version knows");
  ask_node(&asked, &asker, node, "broken");
  expect_asked(&asked, LC_PEER_UNREACHED, "the node's answer is malformed");
  ask_node(&asked, &asker, node, "internal");
  expect_asked(&asked, LC_PEER_UNREACHED, "a bug");
  assert_false(node_looked_at(node));
}

static void a_restarted_node_is_unreached_and_looked_at(void **state) {
  (void)state;
  struct asked asked;
  ask_node(&asked, &asker, node, "stranger");
  expect_asked(&asked, LC_PEER_UNREACHED, "the node was restarted");
  assert_true(node_looked_at(node));
}

static void a_node_with_too_much_to_do_is_an_answer(void **state) {
  (void)state;
  struct asked asked;
  ask_node(&asked, &asker, node, "full");
  expect_asked(&asked, LC_PEER_FAILED, "too many loads");
  assert_int_equal(asked.get.code, LC_EEXHAUSTED);
}

static void a_get_ends_at_its_deadline(void **state) {
  (void)state;
  struct asked asked;
  char key[64];
  key_of(&asker, node, "hang", 0, key);
  asked_init(&asked, &asker, key);
  asked.get.deadline_ms = lc_clock_ms() + 30;
  asked_start(&asked);
  asked_wait(&asked);
  assert_int_equal(asked.get.outcome, LC_PEER_FAILED);
  assert_int_equal(asked.get.code, LC_EDEADLINE);
  assert_true(lc_clock_ms() >= asked.get.deadline_ms);
  gate_wait(&node->cancels, 1);
}

static void flags_and_lineage_are_told(void **state) {
  (void)state;
  struct lc_flight_name names[LC_FLIGHT_MAX_DEPTH + 1];
  static const char *const keys[] = {"k0", "k1", "k2", "k3", "k4", "k5", "k6", "k7", "k8"};
  struct asked asked;
  char key[64];
  for (size_t i = 0; i < sizeof names / sizeof *names; i++)
    names[i] = (struct lc_flight_name){lc_slice_str("h"), lc_slice_str(keys[i])};
  key_of(&asker, node, "value", 0, key);
  asked_init(&asked, &asker, key);
  asked.get.refresh = true;
  asked.get.lineage = names;
  asked.get.lineage_count = 9;
  asked_start(&asked);
  asked_wait(&asked);
  assert_true(atomic_load(&node->refresh));
  assert_int_equal(atomic_load(&node->lineage), LC_PEER_LINEAGE_MAX); /* the nearest */
  assert_string_equal(node->lineage_key, "k1");
}

static void a_get_of_our_own_key_or_a_down_owners_is_refused_at_once(void **state) {
  (void)state;
  struct asked asked;
  char key[64];
  key_of(&asker, NULL, "value", 0, key);
  asked_init(&asked, &asker, key);
  asked_start(&asked);
  assert_int_equal(asked.rc, LC_EUNAVAILABLE);
  key_of(&asker, node, "value", 0, key);
  asked_init(&asked, &asker, key);
  node_state(node, LC_PEER_SYNCING);
  asked_start(&asked);
  assert_int_equal(asked.rc, LC_EUNAVAILABLE);
  node_state(node, LC_PEER_DOWN);
  asked_start(&asked);
  assert_int_equal(asked.rc, LC_EUNAVAILABLE);
  assert_int_equal(asked.done, 0);
}

static void a_cancelled_get_is_cancelled_there_and_not_told(void **state) {
  (void)state;
  struct asked asked, other;
  char key[64];
  key_of(&asker, node, "hang", 0, key);
  asked_init(&asked, &asker, key);
  asked_start(&asked);
  gate_wait(&node->calls, 1);
  asked_cancel(&asked);
  gate_wait(&node->cancels, 1);
  ask_node(&other, &asker, node, "value");
  expect_asked(&other, LC_PEER_VALUE, "");
  assert_int_equal(asked.done, 0);
}

static void a_get_cancelled_before_the_connection_is_made_is_never_sent(void **state) {
  (void)state;
  struct asked asked, other;
  char key[64];
  key_of(&asker, node, "hang", 0, key);
  asked_init(&asked, &asker, key);
  asked_start(&asked);
  asked_cancel(&asked);
  ask_node(&other, &asker, node, "value");
  expect_asked(&other, LC_PEER_VALUE, "");
  assert_int_equal(asked.done, 0);
}

static void start_other(struct asked *asked) {
  asked_start_here(asked->other);
}

static void an_answer_can_begin_the_next_get(void **state) {
  (void)state;
  struct asked asked, next;
  char key[64];
  key_of(&asker, node, "value", 1, key);
  asked_init(&next, &asker, key);
  key_of(&asker, node, "value", 0, key);
  asked_init(&asked, &asker, key);
  asked.on_done = start_other;
  asked.other = &next;
  asked_start(&asked);
  asked_wait(&asked);
  asked_wait(&next);
  expect_asked(&next, LC_PEER_VALUE, "");
}

static void each_worker_has_a_connection_of_its_own(void **state) {
  (void)state;
  struct asked asked[2];
  char key[64];
  for (unsigned i = 0; i < 2; i++) {
    key_of(&asker, node, "value", i, key);
    asked_init(&asked[i], &asker, key);
    asked[i].get.worker = i;
    asked_start(&asked[i]);
    asked_wait(&asked[i]);
  }
  assert_int_equal(net_connections(&node->net, 0), 2);
  ask_node(&asked[0], &asker, node, "value");
  assert_int_equal(net_connections(&node->net, 0), 2);
}

/* ---- peeks ---- */

/* This node has just joined, so its keys were the others'; and before them, the second was alone. */
static void join_lately(void) {
  asker.cluster->off_ring = true;
  node->peer->member = false;
  asker_publish(&asker);
  asker.cluster->off_ring = false;
  node->peer->member = true;
  asker.cluster->joined_until_ms = lc_clock_ms() + LC_PREVIOUS_MS;
  asker_publish(&asker);
}

static void start_peek(struct asked *asked, const char *word, struct node *first, struct node *next) {
  char key[64];
  key_to_peek(&asker, word, first, next, key);
  asked_init(asked, &asker, key);
  asked->get.peek = true;
  asked_start(asked);
}

/* A whole one that had the time it needs: a busy machine may keep it from the processor for longer than it may take. */
static void peek_in_time(struct asked *asked, const char *word, struct node *first, struct node *next) {
  uint64_t began_ms;
  int tries = 0;
  do {
    assert_true(tries++ < 100);
    began_ms = lc_clock_ms();
    start_peek(asked, word, first, next);
    asked_wait(asked);
  } while (lc_clock_ms() - began_ms >= LC_PEEK_MS);
}

static void a_peek_asks_the_previous_owner_only_for_a_copy(void **state) {
  (void)state;
  struct asked asked;
  join_lately();
  peek_in_time(&asked, "value", second, NULL);
  expect_asked(&asked, LC_PEER_VALUE, "");
  assert_string_equal(asked.value, asked.key);
  assert_true(atomic_load(&second->peek));
}

static void a_peek_that_finds_nothing_asks_the_second_choice(void **state) {
  (void)state;
  struct asked asked;
  join_lately();
  peek_in_time(&asked, "first", node, second);
  expect_asked(&asked, LC_PEER_VALUE, "");
  gate_wait(&node->calls, 1);
  gate_wait(&second->calls, 1);
}

static void a_peek_without_any_copy_ends_as_not_cached(void **state) {
  (void)state;
  static const char *const words[] = {"cached", "nil", "fail", "draining", "stranger", "broken", "full", "internal"};
  struct asked asked;
  join_lately();
  for (unsigned i = 0; i < sizeof words / sizeof *words; i++) {
    unsigned before[] = {node->calls.count, second->calls.count};
    peek_in_time(&asked, words[i], node, second);
    assert_int_equal(asked.get.outcome, LC_PEER_NOT_CACHED);
    assert_true(node->calls.count > before[0] && second->calls.count > before[1]);
  }
}

static void a_peek_takes_a_tenth_of_a_second_at_most(void **state) {
  (void)state;
  struct asked asked;
  join_lately();
  uint64_t before_ms = lc_clock_ms();
  start_peek(&asked, "hang", node, second);
  asked_wait(&asked);
  assert_true(lc_clock_ms() - before_ms >= LC_PEEK_MS - 2);
  assert_int_equal(asked.get.outcome, LC_PEER_NOT_CACHED);
  assert_int_equal(second->calls.count, 0); /* no time is left for it */
}

static void a_peek_goes_to_the_second_choice_if_the_first_cannot_be_dialled(void **state) {
  (void)state;
  struct asked asked;
  join_lately();
  node_stop(node);
  peek_in_time(&asked, "first", node, second);
  expect_asked(&asked, LC_PEER_VALUE, "");
}

static void a_peek_with_nobody_to_ask_is_refused_at_once(void **state) {
  (void)state;
  struct asked asked;
  start_peek(&asked, "value", NULL, NULL);
  assert_int_equal(asked.rc, LC_EUNAVAILABLE);
}

/* Otherwise an acknowledged write, known here, would be undone by the copy of a node that hadn't heard of it. */
static void a_peeked_copy_older_than_a_write_that_we_know_is_refused(void **state) {
  (void)state;
  struct asked asked;
  join_lately();
  lc_msg_applied_pack(&(struct lc_msg_applied){55, 6}, 1, second->applied);
  for (unsigned i = 0; i < 2; i++) {
    peek_in_time(&asked, "value", second, NULL);
    expect_asked(&asked, i == 0 ? LC_PEER_VALUE : LC_PEER_NOT_CACHED, "");
    lc_touched_note(asker.cluster->touched, lc_hash_ring(asked.get.group, asked.get.key), 55, 7);
  }
  lc_msg_applied_pack(&(struct lc_msg_applied){55, 7}, 1, second->applied);
  peek_in_time(&asked, "value", second, NULL);
  expect_asked(&asked, LC_PEER_VALUE, "");
}

static void cancel_if_not_over(void *arg) {
  struct asked *asked = arg;
  if (!asked->done)
    asked_cancel_here(asked);
}

static void a_cancelled_peek_asks_nobody_else(void **state) {
  (void)state;
  struct asked asked, other;
  join_lately();
  start_peek(&asked, "hang", node, second);
  gate_wait(&node->calls, 1);
  on_worker(asker.workers[0], cancel_if_not_over, &asked);
  gate_wait(&node->cancels, 1);
  ask_node(&other, &asker, second, "value");
  assert_int_equal(second->calls.count, 1);
}

/* ---- writes ---- */

static void write_to(struct written *written, struct node *owner, const char *word, const char *value) {
  char key[64];
  key_of(&asker, owner, word, 0, key);
  written_init(written, &asker, key, value);
  written_start(written);
}

static void expect_write(const char *word, enum lc_peer_outcome outcome, const char *message) {
  struct written written;
  write_to(&written, node, word, "v");
  written_wait(&written);
  if (written.write.outcome != outcome || strcmp(written.message, message) != 0)
    fail_msg("%s: got %d \"%s\"", word, (int)written.write.outcome, written.message);
  assert_string_equal(written.write.owner, node->peer->name);
  written_fini(&written);
}

static void a_set_takes_its_value_and_time_to_the_owner(void **state) {
  (void)state;
  struct written written;
  char key[64], *value = malloc(100001);
  memset(value, 'v', 100000);
  value[100000] = '\0';
  key_of(&asker, node, "ok", 0, key);
  written_init(&written, &asker, key, value);
  written.write.ttl_ms = -1;
  written_start(&written);
  written_wait(&written);
  assert_int_equal(written.write.outcome, LC_PEER_OK);
  assert_false(written.write.deleted);
  assert_int_equal(atomic_load(&node->value_len), 100000);
  assert_int_equal(atomic_load(&node->ttl_ms), -1);
  assert_int_equal(atomic_load(&node->to), node->process);
  written_fini(&written);
  free(value);
}

static void a_delete_says_whether_there_was_a_copy(void **state) {
  (void)state;
  struct written written;
  write_to(&written, node, "ok", NULL);
  written_wait(&written);
  assert_int_equal(written.write.outcome, LC_PEER_OK);
  assert_true(written.write.deleted);
}

static void a_write_that_was_not_done_is_not_the_owners(void **state) {
  (void)state;
  expect_write("notowner", LC_PEER_NOT_OWNER, "the rings of the nodes differ");
  assert_false(node_looked_at(node));
  expect_write("stranger", LC_PEER_NOT_OWNER, "the owner was restarted");
  assert_true(node_looked_at(node));
}

static void a_refused_write_fails_with_the_owners_words(void **state) {
  (void)state;
  struct written written;
  expect_write("fail", LC_PEER_FAILED, "the value is too large");
  write_to(&written, node, "badcode", "v");
  written_wait(&written);
  assert_int_equal(written.write.outcome, LC_PEER_FAILED);
  assert_int_equal(written.write.code, LC_EINTERNAL);
  written_fini(&written);
  write_to(&written, node, "full", "v");
  written_wait(&written);
  assert_int_equal(written.write.outcome, LC_PEER_FAILED);
  assert_int_equal(written.write.code, LC_EEXHAUSTED);
  written_fini(&written);
}

static void a_write_that_nobody_took_is_unreached(void **state) {
  (void)state;
  expect_write("draining", LC_PEER_UNREACHED, "the owner is draining");
  expect_write("odd", LC_PEER_UNREACHED, "the owner can't take the write");
  expect_write("broken", LC_PEER_UNREACHED, "the owner's answer is malformed");
  expect_write("internal", LC_PEER_UNREACHED, "a bug");
}

static void a_write_is_refused_at_once_where_there_is_nobody_to_ask(void **state) {
  (void)state;
  struct written written;
  write_to(&written, NULL, "ok", "v");
  assert_int_equal(written.rc, LC_ENOTOWNER);
  written_fini(&written);
  node_state(node, LC_PEER_SYNCING);
  write_to(&written, node, "ok", "v");
  assert_int_equal(written.rc, LC_ENOTOWNER); /* in a moment */
  written_fini(&written);
  node_state(node, LC_PEER_DOWN);
  write_to(&written, node, "ok", "v");
  assert_int_equal(written.rc, LC_EUNAVAILABLE);
  assert_string_equal(written.write.owner, node->peer->name);
  written_fini(&written);
  assert_int_equal(node->calls.count, 0);
}

static void a_write_ends_at_its_deadline(void **state) {
  (void)state;
  struct written written;
  char key[64];
  key_of(&asker, node, "hang", 0, key);
  written_init(&written, &asker, key, "v");
  written.write.deadline_ms = lc_clock_ms() + 30;
  written_start(&written);
  written_wait(&written);
  assert_int_equal(written.write.outcome, LC_PEER_FAILED);
  assert_int_equal(written.write.code, LC_EDEADLINE);
  written_fini(&written);
}

static void a_cancelled_write_is_not_told(void **state) {
  (void)state;
  struct written written;
  struct asked other;
  write_to(&written, node, "hang", "v");
  gate_wait(&node->calls, 1);
  written_cancel(&written);
  written_fini(&written); /* what goes out holds the value itself */
  gate_wait(&node->cancels, 1);
  ask_node(&other, &asker, node, "value");
  assert_int_equal(written.done, 0);
}

static void a_write_whose_connection_breaks_is_unreached(void **state) {
  (void)state;
  struct written written;
  write_to(&written, node, "hang", "v");
  gate_wait(&node->calls, 1);
  node_cut(node);
  written_wait(&written);
  assert_int_equal(written.write.outcome, LC_PEER_UNREACHED);
  written_fini(&written);
}

#define ONE(name) cmocka_unit_test_setup_teardown(name, start_one, stop)
#define TWO(name) cmocka_unit_test_setup_teardown(name, start_two, stop)

int main(void) {
  const struct CMUnitTest tests[] = {
      ONE(a_value_comes_with_what_is_left_of_its_time),
      ONE(not_found_and_failure_are_answers),
      ONE(a_node_that_cannot_answer_is_unreached),
      ONE(a_restarted_node_is_unreached_and_looked_at),
      ONE(a_node_with_too_much_to_do_is_an_answer),
      ONE(a_get_ends_at_its_deadline),
      ONE(flags_and_lineage_are_told),
      ONE(a_get_of_our_own_key_or_a_down_owners_is_refused_at_once),
      ONE(a_cancelled_get_is_cancelled_there_and_not_told),
      ONE(a_get_cancelled_before_the_connection_is_made_is_never_sent),
      ONE(an_answer_can_begin_the_next_get),
      ONE(each_worker_has_a_connection_of_its_own),
      TWO(a_peek_asks_the_previous_owner_only_for_a_copy),
      TWO(a_peek_that_finds_nothing_asks_the_second_choice),
      TWO(a_peek_without_any_copy_ends_as_not_cached),
      TWO(a_peek_takes_a_tenth_of_a_second_at_most),
      TWO(a_peek_goes_to_the_second_choice_if_the_first_cannot_be_dialled),
      TWO(a_peek_with_nobody_to_ask_is_refused_at_once),
      TWO(a_peeked_copy_older_than_a_write_that_we_know_is_refused),
      TWO(a_cancelled_peek_asks_nobody_else),
      ONE(a_set_takes_its_value_and_time_to_the_owner),
      ONE(a_delete_says_whether_there_was_a_copy),
      ONE(a_write_that_was_not_done_is_not_the_owners),
      ONE(a_refused_write_fails_with_the_owners_words),
      ONE(a_write_that_nobody_took_is_unreached),
      ONE(a_write_is_refused_at_once_where_there_is_nobody_to_ask),
      ONE(a_write_ends_at_its_deadline),
      ONE(a_cancelled_write_is_not_told),
      ONE(a_write_whose_connection_breaks_is_unreached),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
