#include "test_rpc_client_support.h"

/* Is the server there? Pings, silence, on_up. */

#define PING_MS 20u
#define SILENCE_MS 120u

static void with_pings(struct both *both) {
  both->peer.config.ping_ms = PING_MS;
  both->peer.config.silence_ms = SILENCE_MS;
}

static int setup(void **state) {
  return both_setup_with(state, with_pings);
}

static void with_pings_always(struct both *both) {
  with_pings(both);
  both->peer.config.ping_always = true;
}

static int setup_always(void **state) {
  return both_setup_with(state, with_pings_always);
}

/* ---- a server that stops, and time that passes ---- */

/* Stops the worker's thread from its posting until `go`. */
struct stop {
  struct lc_task task;
  struct gate stopped, go, over;
};

static void stop_here(struct lc_task *task) {
  struct stop *stop = lc_container_of(task, struct stop, task);
  gate_raise(&stop->stopped);
  gate_wait(&stop->go, 1);
  gate_raise(&stop->over);
}

static void stop_worker(struct stop *stop, struct lc_worker *worker) {
  *stop = (struct stop){{.run = stop_here}, GATE_INIT, GATE_INIT, GATE_INIT};
  lc_worker_post(worker, &stop->task);
  gate_wait(&stop->stopped, 1);
}

static void go_on(struct stop *stop) {
  gate_raise(&stop->go);
  gate_wait(&stop->over, 1);
}

/* Time as the peer's worker has it: turns of its loop go by. */
struct pause {
  struct lc_timer timer;
  struct lc_worker *worker;
  uint64_t ms;
  struct gate over;
};

static void pause_over(struct lc_timer *timer) {
  gate_raise(&lc_container_of(timer, struct pause, timer)->over);
}

static void pause_here(void *arg) {
  struct pause *pause = arg;
  lc_timer_start(lc_worker_timers(pause->worker), &pause->timer, lc_worker_now_ms(pause->worker) + pause->ms);
}

static void let_pass(struct lc_worker *worker, uint64_t ms) {
  struct pause pause = {{.fire = pause_over}, worker, ms, GATE_INIT};
  on_worker(worker, pause_here, &pause);
  gate_wait(&pause.over, 1);
}

static void expect_given_up(struct peer *peer, const struct answer *answer) {
  char expected[64];
  snprintf(expected, sizeof expected, "127.0.0.1:%u: no answer for %u ms", (unsigned)peer->config.address.port,
           SILENCE_MS);
  gate_wait(&peer->down, 1);
  assert_int_equal(peer->down_err.code, LC_EDEADLINE);
  assert_string_equal(peer->down_err.msg, expected);
  if (!answer)
    return;
  expect_status(answer, LC_GRPC_UNAVAILABLE, expected);
  assert_true(answer->transport);
}

/* ---- silence ---- */

static void a_server_that_accepts_and_never_answers_is_given_up(void **state) {
  struct both *both = *state;
  struct answer answer;
  peer_close(&both->peer);
  int listener = listen_socket(1, &both->peer.config.address.port);
  struct early early = {&both->peer, &answer};
  answer_init(&answer, &both->peer, "/t.T/Echo", lc_slice_str("x"));
  uint64_t before = lc_clock_ms();
  on_worker(both->peer.worker, open_and_call, &early);
  answer_wait(&answer);
  assert_true(lc_clock_ms() - before >= SILENCE_MS - 1);
  expect_given_up(&both->peer, &answer);
  close(listener);
  answer_fini(&answer);
}

static void connecting_is_silence(void **state) {
  struct both *both = *state;
  struct answer answer;
  int fillers[4];
  peer_close(&both->peer);
  both->peer.config.connect_timeout_ms = 1000u * PATIENCE_S;
  int listener = full_listener(&both->peer.config.address.port, fillers, 4);
  struct early early = {&both->peer, &answer};
  answer_init(&answer, &both->peer, "/t.T/Echo", lc_slice_str("x"));
  on_worker(both->peer.worker, open_and_call, &early);
  answer_wait(&answer);
  expect_given_up(&both->peer, &answer);
  for (int i = 0; i < 4; i++)
    close(fillers[i]);
  close(listener);
  answer_fini(&answer);
}

static void a_server_that_answers_pings_may_take_its_time(void **state) {
  struct both *both = *state;
  struct answer answer;
  answer_init(&answer, &both->peer, "/t.T/Hang", lc_slice_str("x"));
  answer.timeout_ms = 4 * SILENCE_MS;
  answer_start(&answer);
  answer_wait(&answer);
  assert_int_equal(answer.status, LC_GRPC_DEADLINE_EXCEEDED);
  assert_int_equal(both->peer.down.count, 0);
  expect_works(&both->peer);
  answer_fini(&answer);
}

static void a_server_that_stops_answering_is_given_up(void **state) {
  struct both *both = *state;
  struct answer answers[2];
  for (int i = 0; i < 2; i++) {
    answer_init(&answers[i], &both->peer, "/t.T/Hang", lc_slice_str("x"));
    answer_start(&answers[i]);
  }
  gate_wait(&both->seen.messages, 2);
  struct stop stop;
  stop_worker(&stop, both->net.workers[0].worker);
  uint64_t before = lc_clock_ms();
  for (int i = 0; i < 2; i++) {
    answer_wait(&answers[i]);
    expect_given_up(&both->peer, &answers[i]);
    answer_fini(&answers[i]);
  }
  assert_true(lc_clock_ms() - before >= SILENCE_MS - 2 * PING_MS);
  go_on(&stop);
}

static void destroy_here(struct answer *answer) {
  lc_rpc_client_destroy(answer->peer->client);
  answer->peer->client = NULL;
}

static void done_by_silence_may_destroy_the_client(void **state) {
  struct both *both = *state;
  struct answer answer;
  struct stop stop;
  expect_works(&both->peer);
  stop_worker(&stop, both->net.workers[0].worker);
  answer_init(&answer, &both->peer, "/t.T/Echo", lc_slice_str("x"));
  answer.on_done = destroy_here;
  answer_start(&answer);
  answer_wait(&answer);
  assert_true(answer.transport);
  assert_int_equal(both->peer.down.count, 0);
  go_on(&stop);
  answer_fini(&answer);
}

static void an_idle_client_does_not_watch(void **state) {
  struct both *both = *state;
  struct stop stop;
  expect_works(&both->peer);
  stop_worker(&stop, both->net.workers[0].worker);
  let_pass(both->peer.worker, 3 * SILENCE_MS);
  go_on(&stop);
  assert_int_equal(both->peer.down.count, 0);
  expect_works(&both->peer);
}

static void an_idle_client_that_always_pings_notices(void **state) {
  struct both *both = *state;
  struct stop stop;
  gate_wait(&both->peer.up, 1);
  let_pass(both->peer.worker, 3 * SILENCE_MS);
  assert_int_equal(both->peer.down.count, 0);
  stop_worker(&stop, both->net.workers[0].worker);
  expect_given_up(&both->peer, NULL);
  go_on(&stop);
}

static void a_stop_of_our_own_is_not_the_servers_silence(void **state) {
  struct both *both = *state;
  gate_wait(&both->peer.up, 1);
  for (uint64_t ms = SILENCE_MS - PING_MS; ms <= 3 * SILENCE_MS; ms += PING_MS - 3) {
    struct stop stop;
    stop_worker(&stop, both->peer.worker);
    let_pass(both->net.workers[0].worker, ms);
    go_on(&stop);
    let_pass(both->peer.worker, PING_MS / 2);
    assert_int_equal(both->peer.down.count, 0);
  }
  expect_works(&both->peer);
}

static void after_a_stop_of_our_own_the_server_has_its_time_again(void **state) {
  struct both *both = *state;
  struct stop ours, theirs;
  gate_wait(&both->peer.up, 1);
  stop_worker(&ours, both->peer.worker);
  let_pass(both->net.workers[0].worker, 2 * SILENCE_MS);
  stop_worker(&theirs, both->net.workers[0].worker);
  go_on(&ours);
  let_pass(both->peer.worker, SILENCE_MS / 3);
  assert_int_equal(both->peer.down.count, 0);
  go_on(&theirs);
  expect_works(&both->peer);
}

/* ---- up ---- */

static void up_is_told_once_and_only_of_a_server_that_speaks_http2(void **state) {
  struct both *both = *state;
  gate_wait(&both->peer.up, 1);
  expect_works(&both->peer);
  expect_works(&both->peer);
  assert_int_equal(both->peer.up.count, 1);
  peer_close(&both->peer);
  int listener = listen_socket(1, &both->peer.config.address.port);
  peer_open(&both->peer);
  int fd = accept(listener, NULL, NULL);
  assert_true(send_all(fd, "HTTP/1.1 400 Bad Request\r\n\r\n", 28));
  gate_wait(&both->peer.down, 1);
  assert_int_equal(both->peer.up.count, 1);
  close(fd);
  close(listener);
}

static void destroy_when_up(struct peer *peer) {
  lc_rpc_client_destroy(peer->client);
  peer->client = NULL;
}

static void up_may_destroy_the_client(void **state) {
  struct both *both = *state;
  gate_wait(&both->peer.up, 1);
  peer_close(&both->peer);
  both->peer.on_up = destroy_when_up;
  peer_open(&both->peer);
  gate_wait(&both->peer.up, 2);
  gate_wait(&both->net.ended, 2);
  assert_int_equal(both->peer.down.count, 0);
}

#define TEST(name_) cmocka_unit_test_setup_teardown(name_, setup, both_teardown)
#define TEST_ALWAYS(name_) cmocka_unit_test_setup_teardown(name_, setup_always, both_teardown)

int main(void) {
  const struct CMUnitTest tests[] = {
      TEST(a_server_that_accepts_and_never_answers_is_given_up),
      TEST(connecting_is_silence),
      TEST(a_server_that_answers_pings_may_take_its_time),
      TEST(a_server_that_stops_answering_is_given_up),
      TEST(done_by_silence_may_destroy_the_client),
      TEST(an_idle_client_does_not_watch),
      TEST_ALWAYS(an_idle_client_that_always_pings_notices),
      TEST_ALWAYS(a_stop_of_our_own_is_not_the_servers_silence),
      TEST_ALWAYS(after_a_stop_of_our_own_the_server_has_its_time_again),
      TEST(up_is_told_once_and_only_of_a_server_that_speaks_http2),
      TEST_ALWAYS(up_may_destroy_the_client),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
