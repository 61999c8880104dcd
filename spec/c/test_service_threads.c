#include "test_service_support.h"

#include <poll.h>
#include <string.h>

/* Two workers, clients on both, the same few keys: for ThreadSanitizer, and for what must hold whatever the order. And
 * one call after another with each allocation of the server failing. */

#define PEERS 4u
#define OUTSTANDING 16u
#define CALLS 300u /* of each peer */

struct hammer {
  struct world *world;
  struct peer peer;
  unsigned number, started, ended, failed;
  struct answer answers[OUTSTANDING];
  struct gate over;
};

static void fill_request(struct hammer *hammer, struct answer *answer) {
  static const char *const keys[] = {"later:1", "later:2", "plain", "nilx", "later:3"};
  unsigned n = hammer->started * 7 + hammer->number * 3;
  struct lc_slice group = lc_slice_str("g"), key = lc_slice_str(keys[n % 5]);
  struct lc_slice batch[3] = {key, lc_slice_str("later:9"), lc_slice_str("big:9000")};
  int rc;
  answer->request.len = 0;
  switch (n % 11) {
  case 0:
    answer->path = "/lcache.v1.Cache/Delete";
    rc = lc_msg_delete_request_encode(&(struct lc_msg_delete_request){.group = group, .key = key}, &answer->request);
    break;
  case 1:
    answer->path = "/lcache.v1.Cache/Set";
    rc = lc_msg_set_request_encode(
        &(struct lc_msg_set_request){.group = group, .key = lc_slice_str("plain"), .value = lc_slice_str("plain")},
        &answer->request);
    break;
  case 2:
    answer->path = "/lcache.v1.Cache/BatchGet";
    rc = lc_msg_batch_get_request_encode(
        &(struct lc_msg_batch_get_request){.group = group, .keys = batch, .key_count = 3}, &answer->request);
    break;
  case 3:
    answer->path = "/lcache.v1.Admin/Stats";
    rc = 0;
    break;
  default:
    answer->path = "/lcache.v1.Cache/Get";
    rc = lc_msg_get_request_encode(&(struct lc_msg_get_request){.group = group, .key = key, .refresh = n % 13 == 0},
                                   &answer->request);
    break;
  }
  assert_int_equal(rc, 0);
}

static void start_one(struct hammer *hammer, struct answer *answer) {
  fill_request(hammer, answer);
  hammer->started++;
  answer_start_here(answer);
  if (answer->rc != 0)
    hammer->failed++;
}

static void on_answer(struct answer *answer) {
  struct hammer *hammer = lc_container_of(answer->peer, struct hammer, peer);
  bool fine =
      answer->status == LC_GRPC_OK || (answer->status == LC_GRPC_NOT_FOUND && !strcmp(answer->message, "not found"));
  hammer->ended++;
  if (!fine)
    hammer->failed++;
  free(answer->reply.data);
  answer->reply = (struct lc_buf){0};
  if (hammer->started < CALLS)
    start_one(hammer, answer);
  else if (hammer->ended == CALLS)
    gate_raise(&hammer->over);
}

static void start_all(void *arg) {
  struct hammer *hammer = arg;
  for (unsigned i = 0; i < OUTSTANDING; i++)
    start_one(hammer, &hammer->answers[i]);
}

static void clients_of_two_workers_share_keys(void **state) {
  (void)state;
  struct world *world = malloc(sizeof *world);
  struct hammer *hammers = calloc(PEERS, sizeof *hammers);
  world_init(world, 2);
  world_start(world);
  for (unsigned i = 0; i < PEERS; i++) {
    struct hammer *hammer = &hammers[i];
    hammer->world = world;
    hammer->number = i;
    hammer->over = (struct gate)GATE_INIT;
    peer_start(&hammer->peer, world->net.port);
    for (unsigned j = 0; j < OUTSTANDING; j++) {
      answer_init(&hammer->answers[j], &hammer->peer, "", lc_slice_str(""));
      hammer->answers[j].on_done = on_answer;
    }
  }
  for (unsigned i = 0; i < PEERS; i++)
    on_worker(hammers[i].peer.worker, start_all, &hammers[i]);
  for (int i = 0; i < 20; i++)
    lc_services_set_serving(world->services, i % 2 == 1);
  for (unsigned i = 0; i < PEERS; i++) {
    gate_wait(&hammers[i].over, 1);
    assert_int_equal(hammers[i].failed, 0);
    peer_stop(&hammers[i].peer);
    for (unsigned j = 0; j < OUTSTANDING; j++)
      answer_fini(&hammers[i].answers[j]);
  }
  assert_true(lc_groups_worker_requests(world->groups, 0) > 100);
  assert_true(lc_groups_worker_requests(world->groups, 1) > 100);
  world_stop(world);
  free(hammers);
  free(world);
}

static void until_waiters(struct world *world, uint64_t count) {
  uint64_t patience = lc_clock_ms() + PATIENCE_S * 1000u;
  struct lc_group_stats stats;
  do {
    assert_true(lc_clock_ms() < patience);
    poll(NULL, 0, 1);
    lc_group_stats(world->groups, 0, &stats);
  } while (stats.waiters != count);
}

static void waiters_on_another_worker_may_give_up_at_any_time(void **state) {
  (void)state;
  struct world *world = malloc(sizeof *world);
  world_init(world, 2);
  world_start(world);
  struct lc_buf buf;
  lc_buf_init(&buf);
  const struct lc_msg_get_request request = {.group = lc_slice_str("g"), .key = lc_slice_str("hang")};
  assert_int_equal(lc_msg_get_request_encode(&request, &buf), 0);
  for (int round = 0; round < 20; round++) { /* two connections, one a worker; both vanish */
    struct raw *raws[2];
    for (int i = 0; i < 2; i++) {
      raws[i] = raw_connect(world->net.port);
      struct raw_stream *stream = raw_open(raws[i], "/lcache.v1.Cache/Get");
      assert_int_equal(lc_grpc_frame(&stream->body, lc_buf_slice(&buf)), 0);
      raw_end(stream);
    }
    until_waiters(world, 2);
    raw_close(raws[0]);
    raw_close(raws[1]);
    world_until_cancelled(world, (unsigned)round + 1);
    assert_int_equal(atomic_load(&world->loads.started), (unsigned)round + 1);
    until_waiters(world, 0);
  }
  lc_buf_fini(&buf);
  world_stop(world);
  free(world);
}

/* ---- no memory ---- */

struct failing {
  size_t n, made;
};

static void fail_nth(void *arg) {
  lc_alloc_fail_at(((struct failing *)arg)->n);
}

static void fail_no_more(void *arg) {
  ((struct failing *)arg)->made = lc_alloc_fail_at(0);
}

/* One call on a fresh node whose n-th allocation from then on fails; true if there were so many. */
static bool call_with_failure(size_t n, const char *path, struct lc_slice message) {
  struct world *world = malloc(sizeof *world);
  struct failing failing = {n, 0};
  struct answer answer;
  world_init(world, 1);
  world_start(world);
  expect_get(&world->peer, "g", "before", "before", LC_MSG_FROM_SOURCE); /* the connection stands */
  struct lc_worker *worker = world->net.workers[0].worker;
  on_worker(worker, fail_nth, &failing);
  answer_init(&answer, &world->peer, path, message);
  answer_start(&answer);
  answer_wait(&answer);
  on_worker(worker, fail_no_more, &failing);
  if (answer.status != LC_GRPC_OK && answer.status != LC_GRPC_RESOURCE_EXHAUSTED &&
      answer.status != LC_GRPC_UNAVAILABLE && answer.status != LC_GRPC_INTERNAL)
    fail_msg("allocation %zu: %s \"%s\"", n, lc_grpc_status_name(answer.status), answer.message);
  if (answer.status == LC_GRPC_INTERNAL)
    assert_true(answer.transport || answer.message[0] != '\0');
  answer_fini(&answer);
  struct peer fresh;
  peer_start(&fresh, world->net.port);
  expect_get(&fresh, "g", "later:after", "after", LC_MSG_FROM_SOURCE);
  peer_stop(&fresh);
  world_stop(world);
  free(world);
  return failing.made >= n;
}

static void fail_each(const char *path, struct lc_buf *message) {
  if (!lc_alloc_faults_built())
    skip();
  size_t n = 1;
  while (call_with_failure(n, path, lc_buf_slice(message)))
    n++;
  assert_true(n > 2);
}

static void every_allocation_of_a_get_may_fail_once(void **state) {
  (void)state;
  struct lc_buf buf;
  static const char *const keys[] = {"later:x", "big:100000", "fail", "plain"};
  for (int i = 0; i < 4; i++) {
    const struct lc_msg_get_request request = {.group = lc_slice_str("g"), .key = lc_slice_str(keys[i])};
    lc_buf_init(&buf);
    assert_int_equal(lc_msg_get_request_encode(&request, &buf), 0);
    fail_each("/lcache.v1.Cache/Get", &buf);
    lc_buf_fini(&buf);
  }
}

static void every_allocation_of_a_batch_may_fail_once(void **state) {
  (void)state;
  struct lc_slice keys[] = {lc_slice_str("later:a"), lc_slice_str("b"),    lc_slice_str("nil"),
                            lc_slice_str("later:c"), lc_slice_str("fail"), lc_slice_str("big:9000")};
  struct lc_buf buf;
  const struct lc_msg_batch_get_request request = {.group = lc_slice_str("g"), .keys = keys, .key_count = 6};
  lc_buf_init(&buf);
  assert_int_equal(lc_msg_batch_get_request_encode(&request, &buf), 0);
  fail_each("/lcache.v1.Cache/BatchGet", &buf);
  lc_buf_fini(&buf);
}

static void every_allocation_of_what_describes_the_node_may_fail_once(void **state) {
  (void)state;
  struct lc_buf none, owner;
  lc_buf_init(&none);
  lc_buf_init(&owner);
  fail_each("/lcache.v1.Admin/Stats", &none);
  fail_each("/lcache.v1.Admin/Nodes", &none);
  const struct lc_msg_owner_request request = {.group = lc_slice_str("g"), .key = lc_slice_str("key")};
  assert_int_equal(lc_msg_owner_request_encode(&request, &owner), 0);
  fail_each("/lcache.v1.Admin/Owner", &owner);
  lc_buf_fini(&owner);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(clients_of_two_workers_share_keys),
      cmocka_unit_test(waiters_on_another_worker_may_give_up_at_any_time),
      cmocka_unit_test(every_allocation_of_a_get_may_fail_once),
      cmocka_unit_test(every_allocation_of_a_batch_may_fail_once),
      cmocka_unit_test(every_allocation_of_what_describes_the_node_may_fail_once),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
