#include "test_service_support.h"

#include <poll.h>
#include <string.h>

/*
 * The services over groups that have peers: writes and batches that wait for another node. Keys that begin with "far"
 * are the other node's, which takes a write some turns later; "farhang" is never answered, "farfail" is refused.
 */
struct far {
  struct world world;
  struct lc_peers domain;
  atomic_uint wrote, cancelled, corked, uncorked;
  uint8_t value[16]; /* of the last Set there */
  size_t value_len;
};

static bool begins(struct lc_slice key, const char *with) {
  return key.len >= strlen(with) && memcmp(key.ptr, with, strlen(with)) == 0;
}

static unsigned view(void *ctx, unsigned worker) {
  (void)ctx, (void)worker;
  return 1;
}

static bool owns(void *ctx, unsigned worker, struct lc_slice group, struct lc_slice key) {
  (void)ctx, (void)worker, (void)group;
  return !begins(key, "far");
}

static bool fresh(void *ctx, unsigned worker) {
  (void)ctx, (void)worker;
  return true;
}

static int get_there(void *ctx, struct lc_peer_get *get) {
  (void)ctx, (void)get;
  return LC_EUNAVAILABLE;
}

static void cork(void *ctx, unsigned worker) {
  (void)worker;
  atomic_fetch_add(&((struct far *)ctx)->corked, 1);
}

static void uncork(void *ctx, unsigned worker) {
  (void)worker;
  atomic_fetch_add(&((struct far *)ctx)->uncorked, 1);
}

struct sent {
  struct lc_task task;
  struct lc_peer_write *write;
};

static void answer_later(struct lc_task *task) {
  struct sent *sent = lc_container_of(task, struct sent, task);
  struct lc_peer_write *write = sent->write;
  free(sent);
  bool fails = begins(write->key, "farfail");
  write->outcome = fails ? LC_PEER_FAILED : LC_PEER_OK;
  write->code = LC_EEXHAUSTED;
  write->message = lc_slice_str("full there");
  write->deleted = !write->item;
  write->done(write);
}

static int write_there(void *ctx, struct lc_peer_write *write) {
  struct far *far = ctx;
  if (write->item) {
    struct lc_slice value = lc_item_value(write->item);
    far->value_len = value.len < sizeof far->value ? value.len : sizeof far->value;
    memcpy(far->value, value.ptr, far->value_len);
  }
  atomic_fetch_add(&far->wrote, 1);
  if (begins(write->key, "farhang"))
    return LC_PENDING;
  struct sent *sent = calloc(1, sizeof *sent);
  *sent = (struct sent){.task.run = answer_later, .write = write};
  far->world.exec.post(far->world.exec.ctx, write->worker, &sent->task);
  return LC_PENDING;
}

static void cancel_write(void *ctx, struct lc_peer_write *write) {
  (void)write;
  atomic_fetch_add(&((struct far *)ctx)->cancelled, 1);
}

static uint64_t written(void *ctx, struct lc_slice group, struct lc_slice key) {
  (void)ctx, (void)group, (void)key;
  return 1;
}

static int wait_known(void *ctx, struct lc_peer_wait *wait) {
  (void)ctx, (void)wait;
  return LC_OK;
}

static int setup(void **state) {
  struct far *far = calloc(1, sizeof *far);
  world_init(&far->world, 1);
  far->domain = (struct lc_peers){.ctx = far,
                                  .view = view,
                                  .owns = owns,
                                  .fresh = fresh,
                                  .get = get_there,
                                  .cork = cork,
                                  .uncork = uncork,
                                  .write = write_there,
                                  .cancel_write = cancel_write,
                                  .written = written,
                                  .wait = wait_known};
  far->world.domain = &far->domain;
  world_start(&far->world);
  *state = far;
  return 0;
}

static int teardown(void **state) {
  struct far *far = *state;
  world_stop(&far->world);
  free(far);
  return 0;
}

static void init_set(struct answer *answer, struct far *far, const char *key, struct lc_slice value) {
  struct lc_buf buf;
  const struct lc_msg_set_request request = {.group = lc_slice_str("g"), .key = lc_slice_str(key), .value = value};
  lc_buf_init(&buf);
  assert_int_equal(lc_msg_set_request_encode(&request, &buf), 0);
  answer_init(answer, &far->world.peer, "/lcache.v1.Cache/Set", lc_buf_slice(&buf));
  lc_buf_fini(&buf);
}

static void init_delete(struct answer *answer, struct far *far, const char *key) {
  struct lc_buf buf;
  const struct lc_msg_delete_request request = {.group = lc_slice_str("g"), .key = lc_slice_str(key)};
  lc_buf_init(&buf);
  assert_int_equal(lc_msg_delete_request_encode(&request, &buf), 0);
  answer_init(answer, &far->world.peer, "/lcache.v1.Cache/Delete", lc_buf_slice(&buf));
  lc_buf_fini(&buf);
}

static void init_pb(struct answer *answer, struct far *far, const char *path, const char *key, const char *value) {
  struct lc_buf buf;
  const struct lc_msg_pb_request request = {
      .group = lc_slice_str("g"), .key = lc_slice_str(key), .value = lc_slice_str(value)};
  lc_buf_init(&buf);
  assert_int_equal(lc_msg_pb_request_encode(&request, &buf), 0);
  answer_init(answer, &far->world.peer, path, lc_buf_slice(&buf));
  lc_buf_fini(&buf);
}

static void finish(struct answer *answer, int status, const char *message, const char *reply, size_t len) {
  answer_start(answer);
  answer_wait(answer);
  expect_status(answer, status, message);
  assert_int_equal(answer->reply.len, len);
  if (len > 0)
    assert_memory_equal(answer->reply.data, reply, len);
  answer_fini(answer);
}

static void writes_that_another_node_makes_are_answered_when_it_has(void **state) {
  struct far *far = *state;
  struct answer answer;
  init_set(&answer, far, "far", lc_slice_str("value"));
  finish(&answer, LC_GRPC_OK, "", NULL, 0);
  assert_int_equal(far->value_len, 5);
  assert_memory_equal(far->value, "value", 5);
  init_delete(&answer, far, "far");
  finish(&answer, LC_GRPC_OK, "", "\x08\x01", 2);
  init_pb(&answer, far, "/pb.LCache/Set", "far", "given");
  finish(&answer, LC_GRPC_OK, "", "\x0a\x05given", 7);
  init_pb(&answer, far, "/pb.LCache/Delete", "far", "");
  finish(&answer, LC_GRPC_OK, "", "\x08\x01", 2);
  assert_int_equal(far->wrote, 4);
}

static void a_refusal_there_is_the_answer(void **state) {
  struct far *far = *state;
  struct answer answer;
  init_set(&answer, far, "farfail", lc_slice_str("value"));
  finish(&answer, LC_GRPC_RESOURCE_EXHAUSTED, "full there", NULL, 0);
  init_pb(&answer, far, "/pb.LCache/Set", "farfail", "value");
  finish(&answer, LC_GRPC_RESOURCE_EXHAUSTED, "full there", NULL, 0);
}

static void until(atomic_uint *count, unsigned least) {
  uint64_t patience = lc_clock_ms() + 20000;
  while (atomic_load(count) < least) {
    if (lc_clock_ms() > patience)
      fail_msg("waited for %u, got %u", least, atomic_load(count));
    poll(NULL, 0, 1);
  }
}

static void a_write_keeps_its_callers_deadline(void **state) {
  struct far *far = *state;
  struct answer answer;
  init_set(&answer, far, "farhang", lc_slice_str("value"));
  answer.timeout_ms = 20;
  answer_start(&answer);
  answer_wait(&answer);
  assert_int_equal(answer.status, LC_GRPC_DEADLINE_EXCEEDED);
  answer_fini(&answer);
  until(&far->cancelled, 1);
}

static void cancel_here(void *arg) {
  lc_rpc_client_cancel(((struct answer *)arg)->call);
}

static void a_write_that_waits_is_charged_to_the_buffers(void **state) {
  struct far *far = *state;
  struct answer answer;
  static char big[500000];
  init_set(&answer, far, "farhang", lc_slice_of(big, sizeof big));
  answer_start(&answer);
  until(&far->wrote, 1);
  size_t charged = net_charged(&far->world.net, 0);
  on_worker(far->world.peer.worker, cancel_here, &answer);
  until(&far->cancelled, 1);
  answer_fini(&answer);
  assert_true(charged >= 2 * sizeof big); /* the message, and the copy that goes to the other node */
}

static void our_own_keys_are_written_as_ever(void **state) {
  struct far *far = *state;
  set_key(&far->world.peer, "g", "near", "value");
  expect_get(&far->world.peer, "g", "near", "value", LC_MSG_FROM_STORE);
  assert_int_equal(far->wrote, 0);
}

static void a_batch_is_begun_between_cork_and_uncork(void **state) {
  struct far *far = *state;
  struct answer answer;
  struct lc_buf buf;
  struct lc_slice keys[] = {lc_slice_str("a"), lc_slice_str("far"), lc_slice_str("b")};
  const struct lc_msg_batch_get_request request = {.group = lc_slice_str("g"), .keys = keys, .key_count = 3};
  lc_buf_init(&buf);
  assert_int_equal(lc_msg_batch_get_request_encode(&request, &buf), 0);
  answer_init(&answer, &far->world.peer, "/lcache.v1.Cache/BatchGet", lc_buf_slice(&buf));
  lc_buf_fini(&buf);
  answer_start(&answer);
  answer_wait(&answer);
  expect_status(&answer, LC_GRPC_OK, "");
  answer_fini(&answer);
  assert_int_equal(far->corked, 1);
  assert_int_equal(far->uncorked, 1);
}

static void hello(struct lc_rpc_call *call, void *ctx, struct lc_slice message) {
  (void)ctx, (void)message;
  lc_rpc_finish(call, LC_GRPC_UNIMPLEMENTED, "extra");
}

static void methods_of_other_layers_are_in_the_table(void **state) {
  (void)state;
  struct world world;
  struct answer answer;
  const struct lc_rpc_method methods[] = {{.path = "/lcache.v1.Extra/Hello", .on_message = hello}};
  const struct lc_rpc_service extra = {methods, 1, NULL};
  world_init(&world, 1);
  world.extra = &extra;
  world_start(&world);
  answer_init(&answer, &world.peer, "/lcache.v1.Extra/Hello", lc_slice_str(""));
  finish(&answer, LC_GRPC_UNIMPLEMENTED, "extra", NULL, 0);
  expect_get(&world.peer, "g", "key", "key", LC_MSG_FROM_SOURCE);
  world_stop(&world);
}

#define TEST(name_) cmocka_unit_test_setup_teardown(name_, setup, teardown)

int main(void) {
  const struct CMUnitTest tests[] = {
      TEST(writes_that_another_node_makes_are_answered_when_it_has),
      TEST(a_refusal_there_is_the_answer),
      TEST(a_write_keeps_its_callers_deadline),
      TEST(a_write_that_waits_is_charged_to_the_buffers),
      TEST(our_own_keys_are_written_as_ever),
      TEST(a_batch_is_begun_between_cork_and_uncork),
      cmocka_unit_test(methods_of_other_layers_are_in_the_table),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
