/* The data connections: made when needed, lost in the middle, refused, given up, closed; memory that runs out. */
#include "test_cluster_link_support.h"

static struct asker asker;
static struct node *const node = &asker.nodes[0];

static int start(void **state) {
  (void)state;
  asker_start(&asker, 1);
  return 0;
}

static int stop(void **state) {
  (void)state;
  asker_stop(&asker);
  return 0;
}

static void start_hanging(struct asked *asked, unsigned n) {
  char key[64];
  key_of(&asker, node, "hang", n, key);
  asked_init(asked, &asker, key);
  asked_start(asked);
}

static void a_get_whose_connection_breaks_is_unreached_and_the_next_dials_again(void **state) {
  (void)state;
  struct asked asked[3], next;
  for (unsigned i = 0; i < 3; i++)
    start_hanging(&asked[i], i);
  gate_wait(&node->calls, 3);
  node_cut(node);
  for (unsigned i = 0; i < 3; i++) {
    asked_wait(&asked[i]);
    assert_int_equal(asked[i].get.outcome, LC_PEER_UNREACHED);
  }
  ask_node(&next, &asker, node, "value");
  expect_asked(&next, LC_PEER_VALUE, "");
  assert_true(node_looked_at(node));
}

static void calls_to_a_node_that_goes_down_end_at_once(void **state) {
  (void)state;
  struct asked asked[2];
  struct written written;
  char key[64];
  key_of(&asker, node, "hang", 9, key);
  written_init(&written, &asker, key, "v");
  written_start(&written);
  for (unsigned i = 0; i < 2; i++)
    start_hanging(&asked[i], i);
  gate_wait(&node->calls, 3);
  node_state(node, LC_PEER_DOWN);
  for (unsigned i = 0; i < 2; i++) {
    asked_wait(&asked[i]);
    expect_asked(&asked[i], LC_PEER_UNREACHED, "the node is down");
  }
  written_wait(&written);
  assert_int_equal(written.write.outcome, LC_PEER_UNREACHED);
  assert_null(node_link(node, 0)); /* nothing keeps a peer that may be forgotten */
  written_fini(&written);
}

static void cancel_other(struct asked *asked) {
  asked_cancel_here(asked->other);
}

static void who_is_told_of_a_loss_may_cancel_who_is_not_told_yet(void **state) {
  (void)state;
  struct asked asked[3], *told = &asked[0];
  for (unsigned i = 0; i < 3; i++)
    start_hanging(&asked[i], i);
  told->on_done = cancel_other;
  told->other = &asked[1];
  gate_wait(&node->calls, 3);
  node_state(node, LC_PEER_DOWN);
  asked_wait(told);
  asked_wait(&asked[2]);
  assert_int_equal(asked[1].done, 0);
}

static struct gate told;

static void cancel_other_and_say(struct asked *asked) {
  asked_cancel_here(asked->other);
  gate_raise(&told);
}

static void who_is_told_of_a_broken_connection_may_cancel_others_on_it(void **state) {
  (void)state;
  struct asked asked[2], next;
  told = (struct gate)GATE_INIT;
  for (unsigned i = 0; i < 2; i++) {
    start_hanging(&asked[i], i);
    asked[i].on_done = cancel_other_and_say;
    asked[i].other = &asked[1 - i];
  }
  gate_wait(&node->calls, 2);
  node_cut(node);
  gate_wait(&told, 1);
  ask_node(&next, &asker, node, "value");
  expect_asked(&next, LC_PEER_VALUE, "");
  assert_int_equal(asked[0].done + asked[1].done, 1);
}

static void start_other(struct asked *asked) {
  asked_start_here(asked->other);
}

static void who_is_told_of_a_loss_may_ask_again(void **state) {
  (void)state;
  struct asked asked, again;
  char key[64];
  key_of(&asker, node, "value", 0, key);
  asked_init(&again, &asker, key);
  start_hanging(&asked, 0);
  asked.on_done = start_other;
  asked.other = &again;
  gate_wait(&node->calls, 1);
  node_state(node, LC_PEER_DOWN);
  asked_wait(&asked);
  assert_int_equal(again.rc, LC_EUNAVAILABLE);
}

static void refused_connections_are_retried_with_backoff(void **state) {
  (void)state;
  struct asked asked;
  char key[64];
  node_stop(node);
  for (int i = 0; i < 2; i++) { /* the second try is made at once */
    ask_node(&asked, &asker, node, "value");
    assert_int_equal(asked.get.outcome, LC_PEER_UNREACHED);
    assert_true(strstr(asked.message, "can't connect"));
    assert_null(node_link(node, 0)->client);
    assert_true(node_looked_at(node));
  }
  key_of(&asker, node, "value", 0, key);
  asked_init(&asked, &asker, key);
  asked_start(&asked);
  assert_int_equal(asked.rc, LC_EUNAVAILABLE);
  assert_true(node_link(node, 0)->retry_at_ms <= lc_clock_ms() + 1000);
}

static void a_node_that_comes_back_is_dialled_without_backoff(void **state) {
  (void)state;
  struct asked asked;
  uint16_t port = node->peer->address.port;
  int fd = listen_socket(1, &node->peer->address.port); /* somewhere that refuses */
  close(fd);
  for (int i = 0; i < 2; i++)
    ask_node(&asked, &asker, node, "value");
  assert_int_equal(asked.get.outcome, LC_PEER_UNREACHED);
  node->peer->address.port = port;
  node_state(node, LC_PEER_DOWN);
  node_state(node, LC_PEER_UP);
  ask_node(&asked, &asker, node, "value");
  expect_asked(&asked, LC_PEER_VALUE, "");
}

static void a_connection_that_works_again_forgets_its_failures(void **state) {
  (void)state;
  struct asked asked;
  ask_node(&asked, &asker, node, "value");
  for (int i = 0; i < 4; i++) {
    start_hanging(&asked, 0);
    gate_wait(&node->calls, 2 * (unsigned)i + 2);
    node_cut(node);
    asked_wait(&asked);
    ask_node(&asked, &asker, node, "value");
    expect_asked(&asked, LC_PEER_VALUE, "");
  }
}

static void a_node_that_says_nothing_is_given_up(void **state) {
  (void)state;
  uint16_t port;
  int fd = listen_socket(16, &port); /* the kernel accepts, nobody answers */
  node->peer->address.port = port;
  struct asked asked;
  uint64_t before_ms = lc_clock_ms();
  ask_node(&asked, &asker, node, "value");
  assert_int_equal(asked.get.outcome, LC_PEER_UNREACHED);
  uint64_t took_ms = lc_clock_ms() - before_ms;
  assert_true(took_ms >= LC_SILENCE_MS - LC_PING_MS && took_ms < 5000);
  close(fd);
}

enum { WRITES = 20, GETS = 8000 };
static struct written writes[WRITES];
static struct asked gets[GETS];

/* Writes of 1 MiB until there is no room for one, then Gets until there is none for one. */
static void fill_queue(void *arg) {
  size_t *filled = arg, i = 0;
  do {
    assert_true(i < WRITES);
    writes[i].rc = lc_calls_write(asker.cluster, &writes[i].write);
  } while (writes[i++].rc == LC_PENDING);
  assert_int_equal(writes[i - 1].rc, LC_EEXHAUSTED);
  assert_true(i > 10);
  for (i = 0; i < GETS; i++) {
    asked_start_here(&gets[i]);
    if (gets[i].rc != LC_PENDING)
      break;
  }
  *filled = i;
}

static void gather_two(void *arg) {
  struct asked *asked = arg;
  lc_calls_cork(asker.cluster, 0);
  asked_start_here(&asked[0]);
  asked_start_here(&asked[1]);
  lc_calls_uncork(asker.cluster, 0);
}

/* A server that takes one call at a time; what is refused here is no reason to go to the source instead. */
static void restart_with_one_stream(void) {
  node_stop(node);
  net_init(&node->net, node->table);
  node->net.config.max_streams = 1;
  net_start(&node->net);
  node->peer->address.port = node->net.port;
}

static void what_waits_for_an_owner_is_bounded(void **state) {
  (void)state;
  struct asked asked[2], first;
  char key[64], *value = malloc(1u << 20);
  size_t filled;
  memset(value, 'v', (1u << 20) - 1);
  value[(1u << 20) - 1] = '\0';
  restart_with_one_stream();
  ask_node(&first, &asker, node, "value");
  key_of(&asker, node, "hang", 0, key);
  start_hanging(&first, 0);
  written_init(&writes[0], &asker, key, value);
  for (size_t i = 1; i < WRITES; i++) {
    written_init(&writes[i], &asker, key, NULL);
    writes[i].write.item = writes[0].write.item;
  }
  for (size_t i = 0; i < GETS; i++)
    asked_init(&gets[i], &asker, key);
  on_worker(asker.workers[0], fill_queue, &filled);
  assert_true(filled < GETS);
  assert_int_equal(gets[filled].rc, LC_EEXHAUSTED);
  for (unsigned n = 0; n < 2; n++)
    asked_init(&asked[n], &asker, key);
  on_worker(asker.workers[0], gather_two, asked);
  for (unsigned n = 0; n < 2; n++) {
    asked_wait(&asked[n]);
    expect_asked(&asked[n], LC_PEER_FAILED, "too many requests wait for the key's owner");
    assert_int_equal(asked[n].get.code, LC_EEXHAUSTED);
  }
  asker_close(&asker, 0);
  assert_int_equal(writes[0].done, 0);
  written_fini(&writes[0]);
  free(value);
}

static void a_worker_that_closes_tells_nobody(void **state) {
  (void)state;
  struct asked asked[2];
  struct written written;
  char key[64];
  for (unsigned i = 0; i < 2; i++)
    start_hanging(&asked[i], i);
  key_of(&asker, node, "hang", 9, key);
  written_init(&written, &asker, key, "v");
  written_start(&written);
  gate_wait(&node->calls, 3);
  asker_close(&asker, 0);
  gate_wait(&node->cancels, 3);
  assert_int_equal(asked[0].done + asked[1].done + written.done, 0);
  asked_cancel(&asked[0]); /* harmless */
  written_cancel(&written);
  written_fini(&written);
}

static void the_check_finds_links_of_peers_with_high_slots(void **state) {
  (void)state;
  char name[32];
  struct asked asked;
  ask_node(&asked, &asker, node, "value");
  struct lc_peer *last = NULL;
  pthread_mutex_lock(&asker.cluster->lock);
  for (unsigned i = 0; i < 40; i++) {
    snprintf(name, sizeof name, "127.0.0.2:%u", 9000 + i);
    last = lc_peer_obtain(asker.cluster, name);
  }
  last->address = node->peer->address;
  last->member = true;
  atomic_store(&last->process, node->process);
  atomic_store(&last->state, LC_PEER_UP);
  node->peer->member = false;
  pthread_mutex_unlock(&asker.cluster->lock);
  asker_publish(&asker);
  assert_true(last->slot >= 16);
  struct node far = {.peer = last, .cluster = asker.cluster};
  ask_node(&asked, &asker, &far, "value");
  expect_asked(&asked, LC_PEER_VALUE, "");
  assert_non_null(node_link(&far, 0));
  assert_non_null(node_link(node, 0));
  node_state(&far, LC_PEER_DOWN);
  assert_null(node_link(&far, 0));
  assert_non_null(node_link(node, 0));
}

/* ---- memory ---- */

static void made_here(void *arg) {
  *(size_t *)arg = lc_alloc_fail_at(0);
}

static size_t allocations(void) {
  size_t made;
  on_worker(asker.workers[0], made_here, &made);
  return made;
}

static void begin_anew(void) {
  node_state(node, LC_PEER_DOWN);
  node_state(node, LC_PEER_UP);
  allocations();
}

/* Each allocation of a Get fails in turn, with those of its connection, until it has its answer. */
static void a_get_without_memory_is_refused_or_told_once(void **state) {
  (void)state;
  bool value = false;
  if (!lc_alloc_faults_built())
    skip();
  for (size_t n = 1; n < 1000; n++) {
    struct asked asked;
    char key[64];
    key_of(&asker, node, "value", 0, key);
    begin_anew();
    asked_init(&asked, &asker, key);
    asked.fail_at = n;
    asked_start(&asked);
    if (asked.rc == LC_PENDING)
      asked_wait(&asked);
    else
      assert_true(asked.rc == LC_ENOMEM || asked.rc == LC_EUNAVAILABLE);
    value = asked.rc == LC_PENDING && asked.get.outcome == LC_PEER_VALUE;
    if (allocations() < n)
      break;
  }
  assert_true(value);
}

static void a_write_without_memory_is_refused_or_told_once(void **state) {
  (void)state;
  bool ok = false;
  if (!lc_alloc_faults_built())
    skip();
  for (size_t n = 1; n < 2000; n++) {
    struct written written;
    char key[64];
    key_of(&asker, node, "ok", 0, key);
    begin_anew();
    written_init(&written, &asker, key, n % 2 ? "v" : NULL);
    written.fail_at = n;
    written_start(&written);
    if (written.rc == LC_PENDING)
      written_wait(&written);
    else
      assert_true(written.rc == LC_ENOMEM || written.rc == LC_EUNAVAILABLE);
    ok = written.rc == LC_PENDING && written.write.outcome == LC_PEER_OK;
    written_fini(&written);
    if (allocations() < n)
      break;
  }
  assert_true(ok);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, start, stop)

int main(void) {
  const struct CMUnitTest tests[] = {
      TEST(a_get_whose_connection_breaks_is_unreached_and_the_next_dials_again),
      TEST(calls_to_a_node_that_goes_down_end_at_once),
      TEST(who_is_told_of_a_loss_may_cancel_who_is_not_told_yet),
      TEST(who_is_told_of_a_broken_connection_may_cancel_others_on_it),
      TEST(who_is_told_of_a_loss_may_ask_again),
      TEST(refused_connections_are_retried_with_backoff),
      TEST(a_node_that_comes_back_is_dialled_without_backoff),
      TEST(a_connection_that_works_again_forgets_its_failures),
      TEST(a_node_that_says_nothing_is_given_up),
      TEST(what_waits_for_an_owner_is_bounded),
      TEST(a_worker_that_closes_tells_nobody),
      TEST(the_check_finds_links_of_peers_with_high_slots),
      TEST(a_get_without_memory_is_refused_or_told_once),
      TEST(a_write_without_memory_is_refused_or_told_once),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
