#include "test_rpc_client_support.h"

/* More calls than the server allows streams: they wait in the client. */

#define STREAMS 2u
#define CALLS 60u

static void two_streams(struct both *both) {
  both->net.config.max_streams = STREAMS;
}

static int setup(void **state) {
  both_setup_with(state, two_streams);
  expect_works(&((struct both *)*state)->peer); /* the limit is known now */
  return 0;
}

/* Calls that hang take all streams. */
static void fill(struct both *both, struct answer *hung) {
  unsigned before = both->seen.messages.count;
  for (unsigned i = 0; i < STREAMS; i++) {
    answer_init(&hung[i], &both->peer, "/t.T/Hang", lc_slice_str("x"));
    answer_start(&hung[i]);
    assert_int_equal(hung[i].rc, 0);
  }
  gate_wait(&both->seen.messages, before + STREAMS);
}

static void fini(struct answer *answers, unsigned count) {
  for (unsigned i = 0; i < count; i++)
    answer_fini(&answers[i]);
}

struct order {
  struct answer *answers;
  unsigned ended[CALLS], count;
};

static struct order order;

static void note(struct answer *answer) {
  order.ended[order.count++] = (unsigned)(answer - order.answers);
}

static void note_and_start_the_last(struct answer *answer) {
  note(answer);
  answer_start_here(&order.answers[CALLS - 1]);
}

static void start_all_but_the_last(void *arg) {
  for (unsigned i = 0; i < CALLS - 1; i++)
    answer_start_here((struct answer *)arg + i);
}

static void calls_over_the_limit_wait_and_are_answered_in_order(void **state) {
  struct both *both = *state;
  struct answer answers[CALLS];
  order = (struct order){.answers = answers};
  for (unsigned i = 0; i < CALLS; i++) {
    answer_init(&answers[i], &both->peer, "/t.T/Echo", lc_slice_of(&i, sizeof i));
    answers[i].on_done = note;
  }
  answers[0].on_done = note_and_start_the_last; /* its stream is free then, but others wait */
  on_worker(both->peer.worker, start_all_but_the_last, answers);
  for (unsigned i = 0; i < CALLS; i++) {
    answer_wait(&answers[i]);
    expect_status(&answers[i], LC_GRPC_OK, "");
    assert_memory_equal(answers[i].reply.data, &i, sizeof i);
    assert_int_equal(order.ended[i], i);
  }
  fini(answers, CALLS);
}

static void a_full_queue_refuses(void **state) {
  struct both *both = *state;
  struct answer hung[STREAMS], first, second;
  char big[3000];
  peer_close(&both->peer);
  both->peer.config.queue_limit_bytes = 4000;
  peer_open(&both->peer);
  expect_works(&both->peer);
  fill(both, hung);
  memset(big, 'x', sizeof big);
  answer_init(&first, &both->peer, "/t.T/Echo", lc_slice_of(big, sizeof big));
  answer_start(&first);
  assert_int_equal(first.rc, 0);
  answer_init(&second, &both->peer, "/t.T/Echo", lc_slice_of(big, sizeof big));
  answer_start(&second);
  assert_int_equal(second.rc, LC_EEXHAUSTED);
  on_worker(both->peer.worker, cancel_here, &first); /* its room is free again */
  answer_start(&second);
  assert_int_equal(second.rc, 0);
  on_worker(both->peer.worker, cancel_here, &hung[0]);
  answer_wait(&second);
  expect_status(&second, LC_GRPC_OK, "");
  assert_int_equal(first.done, 0);
  fini(hung, STREAMS);
  answer_fini(&first);
  answer_fini(&second);
}

static void without_a_queue_calls_over_the_limit_are_refused(void **state) {
  struct both *both = *state;
  struct answer hung[STREAMS], answer;
  peer_close(&both->peer);
  both->peer.config.queue_limit_bytes = 0;
  peer_open(&both->peer);
  expect_works(&both->peer);
  fill(both, hung);
  answer_init(&answer, &both->peer, "/t.T/Echo", lc_slice_str("x"));
  answer_start(&answer);
  assert_int_equal(answer.rc, LC_EEXHAUSTED);
  assert_int_equal(answer.done, 0);
  fini(hung, STREAMS);
  answer_fini(&answer);
}

static void a_cancelled_call_makes_room_for_one_that_waits(void **state) {
  struct both *both = *state;
  struct answer hung[STREAMS], answer;
  fill(both, hung);
  answer_init(&answer, &both->peer, "/t.T/Echo", lc_slice_str("waited"));
  answer_start(&answer);
  assert_int_equal(answer.rc, 0);
  on_worker(both->peer.worker, cancel_here, &hung[1]);
  answer_wait(&answer);
  expect_reply(&answer, "waited");
  assert_int_equal(hung[0].done, 0);
  fini(hung, STREAMS);
  answer_fini(&answer);
}

static void a_waiting_call_may_be_cancelled(void **state) {
  struct both *both = *state;
  struct answer hung[STREAMS], answers[2];
  fill(both, hung);
  for (int i = 0; i < 2; i++) {
    answer_init(&answers[i], &both->peer, "/t.T/Echo", lc_slice_str("x"));
    answer_start(&answers[i]);
  }
  on_worker(both->peer.worker, cancel_here, &answers[0]);
  on_worker(both->peer.worker, cancel_here, &hung[0]);
  answer_wait(&answers[1]);
  assert_int_equal(answers[0].done, 0);
  assert_int_equal(both->seen.messages.count, 1 + STREAMS + 1); /* the cancelled one never went out */
  fini(hung, STREAMS);
  fini(answers, 2);
}

static void a_deadline_may_pass_while_a_call_waits(void **state) {
  struct both *both = *state;
  struct answer hung[STREAMS], answer;
  fill(both, hung);
  answer_init(&answer, &both->peer, "/t.T/Echo", lc_slice_str("x"));
  answer.timeout_ms = 10;
  answer_start(&answer);
  answer_wait(&answer);
  expect_status(&answer, LC_GRPC_DEADLINE_EXCEEDED, "no reply before the deadline");
  assert_false(answer.transport);
  on_worker(both->peer.worker, cancel_here, &hung[0]);
  expect_works(&both->peer);
  assert_int_equal(both->seen.messages.count, 1 + STREAMS + 1);
  fini(hung, STREAMS);
  answer_fini(&answer);
}

static void waiting_calls_end_with_the_connection(void **state) {
  struct both *both = *state;
  struct answer hung[STREAMS], answers[3];
  fill(both, hung);
  for (int i = 0; i < 3; i++) {
    answer_init(&answers[i], &both->peer, "/t.T/Echo", lc_slice_str("x"));
    answer_start(&answers[i]);
  }
  net_stop(&both->net);
  for (int i = 0; i < 3; i++) {
    answer_wait(&answers[i]);
    assert_int_equal(answers[i].status, LC_GRPC_UNAVAILABLE);
    assert_true(answers[i].transport);
  }
  gate_wait(&both->peer.down, 1);
  fini(hung, STREAMS);
  fini(answers, 3);
  both_restart_server(both);
}

static void waiting_calls_end_when_the_server_stops_taking_new_ones(void **state) {
  struct both *both = *state;
  struct answer hung[STREAMS], answer;
  fill(both, hung);
  answer_init(&answer, &both->peer, "/t.T/Echo", lc_slice_str("x"));
  answer_start(&answer);
  net_drain(&both->net, 0);
  answer_wait(&answer);
  assert_int_equal(answer.status, LC_GRPC_UNAVAILABLE);
  assert_true(answer.transport);
  assert_non_null(strstr(answer.message, ": the server is stopping"));
  for (unsigned i = 0; i < STREAMS; i++)
    assert_int_equal(hung[i].done, 0);
  fini(hung, STREAMS);
  answer_fini(&answer);
}

static void destroy_here(struct answer *answer) {
  lc_rpc_client_destroy(answer->peer->client);
  answer->peer->client = NULL;
}

static void destroy_forgets_waiting_calls(void **state) {
  struct both *both = *state;
  struct answer hung[STREAMS], answers[3];
  fill(both, hung);
  for (int i = 0; i < 3; i++) {
    answer_init(&answers[i], &both->peer, "/t.T/Echo", lc_slice_str("x"));
    answers[i].timeout_ms = i ? 60000 : 10;
    answers[i].on_done = destroy_here;
    answer_start(&answers[i]);
  }
  answer_wait(&answers[0]); /* by its deadline, inside which the client is destroyed */
  gate_wait(&both->seen.cancels, STREAMS);
  assert_int_equal(answers[1].done + answers[2].done, 0);
  fini(hung, STREAMS);
  fini(answers, 3);
}

static void cancel_the_next(struct answer *answer) {
  lc_rpc_client_cancel((answer + 1)->call);
}

static void done_of_a_waiting_call_may_cancel_another(void **state) {
  struct both *both = *state;
  struct answer hung[STREAMS], answers[3];
  fill(both, hung);
  for (int i = 0; i < 3; i++) {
    answer_init(&answers[i], &both->peer, "/t.T/Echo", lc_slice_str("x"));
    answers[i].on_done = i == 0 ? cancel_the_next : NULL;
    answer_start(&answers[i]);
  }
  net_stop(&both->net);
  answer_wait(&answers[0]);
  answer_wait(&answers[2]);
  assert_int_equal(answers[1].done, 0);
  fini(hung, STREAMS);
  fini(answers, 3);
  both_restart_server(both);
}

/* ---- no memory ---- */

#define FEW 8

struct failing {
  struct answer *answers;
  size_t n, made;
};

static void start_failing(void *arg) {
  struct failing *failing = arg;
  lc_alloc_fail_at(failing->n);
  for (int i = 0; i < FEW; i++)
    answer_start_here(&failing->answers[i]);
}

static void fail_no_more(void *arg) {
  ((struct failing *)arg)->made = lc_alloc_fail_at(0);
}

static bool calls_with_failure(struct both *both, size_t n) {
  struct peer peer;
  struct answer answers[FEW];
  struct failing failing = {answers, n, 0};
  peer_start(&peer, both->net.port);
  expect_works(&peer);
  for (int i = 0; i < FEW; i++)
    answer_init(&answers[i], &peer, "/t.T/Big", lc_slice_str("30000"));
  on_worker(peer.worker, start_failing, &failing);
  for (int i = 0; i < FEW; i++) {
    if (answers[i].rc == 0)
      answer_wait(&answers[i]);
    else
      assert_int_equal(answers[i].rc, LC_ENOMEM);
    if (answers[i].status == LC_GRPC_OK)
      assert_int_equal(answers[i].reply.len, 30000);
  }
  on_worker(peer.worker, fail_no_more, &failing);
  fini(answers, FEW);
  peer_stop(&peer);
  return failing.made >= n;
}

static void every_allocation_may_fail_once_while_calls_wait(void **state) {
  if (!lc_alloc_faults_built())
    skip();
  size_t n = 1;
  while (calls_with_failure(*state, n))
    n++;
  assert_true(n > 8);
}

#define TEST(name_) cmocka_unit_test_setup_teardown(name_, setup, both_teardown)

int main(void) {
  const struct CMUnitTest tests[] = {
      TEST(calls_over_the_limit_wait_and_are_answered_in_order),
      TEST(a_full_queue_refuses),
      TEST(without_a_queue_calls_over_the_limit_are_refused),
      TEST(a_cancelled_call_makes_room_for_one_that_waits),
      TEST(a_waiting_call_may_be_cancelled),
      TEST(a_deadline_may_pass_while_a_call_waits),
      TEST(waiting_calls_end_with_the_connection),
      TEST(waiting_calls_end_when_the_server_stops_taking_new_ones),
      TEST(destroy_forgets_waiting_calls),
      TEST(done_of_a_waiting_call_may_cancel_another),
      TEST(every_allocation_may_fail_once_while_calls_wait),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
