#include "test_loop_support.h"

#define POSTERS 4
#define POSTS 50000

/* ---- tasks ---- */

struct numbered {
  struct lc_task task;
  unsigned poster, number;
  unsigned *next; /* of each poster: the number that must come next */
  atomic_uint *out_of_order;
  struct gate *done;
};

static void run_numbered(struct lc_task *task) {
  struct numbered *numbered = lc_container_of(task, struct numbered, task);
  if (numbered->next[numbered->poster]++ != numbered->number)
    atomic_fetch_add(numbered->out_of_order, 1);
  if (numbered->number == POSTS - 1)
    gate_raise(numbered->done);
}

struct poster {
  struct lc_worker *worker;
  struct numbered *tasks;
  pthread_t thread;
};

static void *post_all(void *arg) {
  struct poster *poster = arg;
  for (unsigned i = 0; i < POSTS; i++)
    lc_worker_post(poster->worker, &poster->tasks[i].task);
  return NULL;
}

static void tasks_of_four_threads_all_run_each_threads_in_order(void **state) {
  (void)state;
  struct lc_worker *worker = start_worker(0);
  struct poster posters[POSTERS];
  unsigned next[POSTERS] = {0};
  atomic_uint out_of_order = 0;
  struct gate done = GATE_INIT;
  for (unsigned p = 0; p < POSTERS; p++) {
    posters[p] = (struct poster){.worker = worker, .tasks = calloc(POSTS, sizeof(struct numbered))};
    for (unsigned i = 0; i < POSTS; i++) {
      posters[p].tasks[i] = (struct numbered){.task.run = run_numbered,
                                              .poster = p,
                                              .number = i,
                                              .next = next,
                                              .out_of_order = &out_of_order,
                                              .done = &done};
    }
  }
  for (unsigned p = 0; p < POSTERS; p++)
    pthread_create(&posters[p].thread, NULL, post_all, &posters[p]);
  for (unsigned p = 0; p < POSTERS; p++)
    pthread_join(posters[p].thread, NULL);
  gate_wait(&done, POSTERS);
  end_worker(worker);
  assert_int_equal(out_of_order, 0);
  for (unsigned p = 0; p < POSTERS; p++) {
    assert_int_equal(next[p], POSTS);
    free(posters[p].tasks);
  }
}

struct nested {
  struct lc_worker *worker;
  struct lc_task inner;
  bool inner_ran, ran_inside_post;
  struct gate done;
};

static void run_inner(struct lc_task *task) {
  struct nested *nested = lc_container_of(task, struct nested, inner);
  nested->inner_ran = true;
  gate_raise(&nested->done);
}

static void post_inner(void *arg) {
  struct nested *nested = arg;
  lc_worker_post(nested->worker, &nested->inner);
  nested->ran_inside_post = nested->inner_ran;
}

static void a_post_from_the_worker_itself_runs_later_without_another_event(void **state) {
  (void)state;
  struct nested nested = {.worker = start_worker(0), .inner.run = run_inner, .done = GATE_INIT};
  on_worker(nested.worker, post_inner, &nested);
  gate_wait(&nested.done, 1);
  assert_false(nested.ran_inside_post);
  end_worker(nested.worker);
}

struct busy {
  struct lc_worker *worker;
  struct lc_task task;
  uv_poll_t poll;
  int fds[2];
  bool seen;
  struct gate done;
};

static void run_busy(struct lc_task *task) {
  struct busy *busy = lc_container_of(task, struct busy, task);
  if (!busy->seen)
    lc_worker_post(busy->worker, &busy->task);
}

static void on_busy_readable(uv_poll_t *poll, int status, int events) {
  (void)status;
  (void)events;
  struct busy *busy = poll->data;
  busy->seen = true;
  uv_close((uv_handle_t *)poll, NULL);
  gate_raise(&busy->done);
}

static void start_busy(void *arg) {
  struct busy *busy = arg;
  uv_poll_init(lc_worker_loop(busy->worker), &busy->poll, busy->fds[0]);
  busy->poll.data = busy;
  uv_poll_start(&busy->poll, UV_READABLE, on_busy_readable);
  lc_worker_post(busy->worker, &busy->task);
}

static void a_task_that_posts_itself_for_ever_does_not_starve_sockets(void **state) {
  (void)state;
  struct busy busy = {.worker = start_worker(0), .task.run = run_busy, .done = GATE_INIT};
  assert_int_equal(pipe(busy.fds), 0);
  on_worker(busy.worker, start_busy, &busy);
  assert_int_equal(write(busy.fds[1], "x", 1), 1);
  gate_wait(&busy.done, 1);
  end_worker(busy.worker);
  close(busy.fds[0]);
  close(busy.fds[1]);
}

/* ---- timers ---- */

#define TIMERS 5

struct timed {
  struct lc_timer timer;
  struct timing *timing;
};

struct timing {
  struct lc_worker *worker;
  struct timed timers[TIMERS];
  unsigned order[TIMERS], fired, early;
  struct gate done;
};

static void on_timed(struct lc_timer *timer) {
  struct timed *timed = lc_container_of(timer, struct timed, timer);
  struct timing *timing = timed->timing;
  if (lc_worker_now_ms(timing->worker) < timer->due_ms)
    timing->early++;
  timing->order[timing->fired++] = (unsigned)(timed - timing->timers);
  gate_raise(&timing->done);
}

static void start_timers(void *arg) {
  struct timing *timing = arg;
  static const unsigned delays[TIMERS] = {40, 5, 20, 0, 1000};
  struct lc_timers *timers = lc_worker_timers(timing->worker);
  uint64_t now = lc_worker_now_ms(timing->worker);
  for (unsigned i = 0; i < TIMERS; i++) {
    timing->timers[i] = (struct timed){.timer.fire = on_timed, .timing = timing};
    lc_timer_start(timers, &timing->timers[i].timer, now + delays[i]);
  }
  lc_timer_stop(timers, &timing->timers[2].timer);
  lc_timer_start(timers, &timing->timers[4].timer, now + 30);
}

static void timers_fire_in_order_and_not_early_stopped_ones_never(void **state) {
  (void)state;
  struct timing timing = {.worker = start_worker(0), .done = GATE_INIT};
  on_worker(timing.worker, start_timers, &timing);
  gate_wait(&timing.done, 4);
  end_worker(timing.worker);
  static const unsigned expected[] = {3, 1, 4, 0};
  assert_memory_equal(timing.order, expected, sizeof expected);
  assert_int_equal(timing.fired, 4);
  assert_int_equal(timing.early, 0);
}

static void start_one_timer(void *arg) {
  struct timing *timing = arg;
  timing->timers[0] = (struct timed){.timer.fire = on_timed, .timing = timing};
  lc_timer_start(lc_worker_timers(timing->worker), &timing->timers[0].timer,
                 lc_worker_now_ms(timing->worker) + 3600000);
}

static void bring_timer_forward(void *arg) {
  struct timing *timing = arg;
  lc_timer_start(lc_worker_timers(timing->worker), &timing->timers[0].timer, lc_worker_now_ms(timing->worker) + 1);
}

static void a_sleeping_timer_can_be_brought_forward(void **state) {
  (void)state;
  struct timing timing = {.worker = start_worker(0), .done = GATE_INIT};
  on_worker(timing.worker, start_one_timer, &timing);
  on_worker(timing.worker, bring_timer_forward, &timing);
  gate_wait(&timing.done, 1);
  end_worker(timing.worker);
}

struct instant {
  struct lc_worker *worker;
  uint64_t before, now, after;
};

static void take_instant(void *arg) {
  struct instant *instant = arg;
  instant->now = lc_worker_now_ms(instant->worker);
  instant->after = lc_clock_ms();
}

static void now_is_the_clocks_time(void **state) {
  (void)state;
  struct instant instant = {.worker = start_worker(0), .before = lc_clock_ms()};
  on_worker(instant.worker, take_instant, &instant);
  end_worker(instant.worker);
  /* 10 ms of play for a kernel whose coarse clock libuv prefers. */
  assert_true(instant.now + 10 >= instant.before);
  assert_true(instant.now <= instant.after + 10);
}

/* ---- life ---- */

struct life {
  struct lc_worker *worker;
  int start_result;
  unsigned started, stopped;
  struct lc_task last;
  bool last_ran;
};

static int on_start(void *arg) {
  struct life *life = arg;
  life->started++;
  return life->start_result;
}

static void run_last(struct lc_task *task) {
  lc_container_of(task, struct life, last)->last_ran = true;
}

static void on_stop(void *arg) {
  struct life *life = arg;
  life->stopped++;
  life->last.run = run_last;
  lc_worker_post(life->worker, &life->last);
}

static struct lc_worker *new_worker(void) {
  struct lc_worker_config config = {.buffer_limit_bytes = 100};
  struct lc_worker *worker = NULL;
  assert_int_equal(lc_worker_create(&config, &worker, NULL), 0);
  return worker;
}

static void start_and_stop_run_on_the_thread_and_tasks_posted_by_stop_too(void **state) {
  (void)state;
  struct life life = {.worker = new_worker()};
  assert_int_equal(lc_worker_run(life.worker, on_start, on_stop, &life), 0);
  lc_worker_stop(life.worker);
  lc_worker_stop(life.worker);
  assert_int_equal(lc_worker_join(life.worker), 0);
  lc_worker_destroy(life.worker);
  assert_int_equal(life.started, 1);
  assert_int_equal(life.stopped, 1);
  assert_true(life.last_ran);
}

static void a_start_that_fails_is_what_join_returns_and_stop_is_not_called(void **state) {
  (void)state;
  struct life life = {.worker = new_worker(), .start_result = LC_EINVAL};
  assert_int_equal(lc_worker_run(life.worker, on_start, on_stop, &life), 0);
  assert_int_equal(lc_worker_join(life.worker), LC_EINVAL);
  lc_worker_destroy(life.worker);
  assert_int_equal(life.started, 1);
  assert_int_equal(life.stopped, 0);
}

static void a_stop_that_was_asked_for_before_the_thread_ran_is_obeyed_after_earlier_tasks(void **state) {
  (void)state;
  struct life life = {.worker = new_worker(), .last.run = run_last};
  lc_worker_post(life.worker, &life.last);
  lc_worker_stop(life.worker);
  assert_int_equal(lc_worker_run(life.worker, NULL, NULL, NULL), 0);
  assert_int_equal(lc_worker_join(life.worker), 0);
  assert_true(life.last_ran);
  lc_worker_destroy(life.worker);
}

static void a_post_after_the_thread_has_ended_is_harmless(void **state) {
  (void)state;
  struct life life = {.worker = new_worker(), .last.run = run_last};
  assert_int_equal(lc_worker_run(life.worker, NULL, NULL, NULL), 0);
  lc_worker_stop(life.worker);
  assert_int_equal(lc_worker_join(life.worker), 0);
  lc_worker_post(life.worker, &life.last);
  assert_false(life.last_ran);
  lc_worker_destroy(life.worker);
}

static void a_worker_that_never_ran_can_be_destroyed(void **state) {
  (void)state;
  lc_worker_destroy(new_worker());
  lc_worker_destroy(NULL);
}

static void charges_stop_at_the_limit(void **state) {
  (void)state;
  struct lc_worker *worker = new_worker();
  assert_true(lc_worker_charge(worker, 60));
  assert_false(lc_worker_charge(worker, 41));
  assert_false(lc_worker_charge(worker, SIZE_MAX));
  assert_true(lc_worker_charge(worker, 40));
  lc_worker_uncharge(worker, 100);
  assert_int_equal(lc_worker_charged(worker), 0);
  lc_worker_destroy(worker);
}

static void large_charges_leave_room_for_small_ones(void **state) {
  (void)state;
  struct lc_worker_config config = {.buffer_limit_bytes = 1 << 20};
  struct lc_worker *worker;
  assert_int_equal(lc_worker_create(&config, &worker, NULL), 0);
  const size_t most = (1 << 20) - (1 << 14); /* but a 64th */
  assert_false(lc_worker_charge(worker, most + 1));
  assert_true(lc_worker_charge(worker, most));
  assert_false(lc_worker_charge(worker, 4097));
  for (int i = 0; i < 4; i++)
    assert_true(lc_worker_charge(worker, 4096));
  assert_false(lc_worker_charge(worker, 1));
  assert_false(lc_worker_charge(worker, 5000));
  lc_worker_uncharge(worker, 1 << 20);
  lc_worker_destroy(worker);
}

static void creating_survives_each_failed_allocation(void **state) {
  (void)state;
  if (!lc_alloc_faults_built())
    skip();
  for (size_t n = 1;; n++) {
    struct lc_worker_config config = {.index = 3};
    struct lc_worker *worker = NULL;
    struct lc_err err = {0};
    lc_alloc_fail_at(n);
    int rc = lc_worker_create(&config, &worker, &err);
    lc_alloc_fail_at(0);
    if (rc == 0) {
      assert_true(n > 2);
      lc_worker_destroy(worker);
      return;
    }
    assert_int_equal(rc, LC_ENOMEM);
    assert_non_null(strstr(err.msg, "worker 3"));
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(tasks_of_four_threads_all_run_each_threads_in_order),
      cmocka_unit_test(a_post_from_the_worker_itself_runs_later_without_another_event),
      cmocka_unit_test(a_task_that_posts_itself_for_ever_does_not_starve_sockets),
      cmocka_unit_test(timers_fire_in_order_and_not_early_stopped_ones_never),
      cmocka_unit_test(a_sleeping_timer_can_be_brought_forward),
      cmocka_unit_test(now_is_the_clocks_time),
      cmocka_unit_test(start_and_stop_run_on_the_thread_and_tasks_posted_by_stop_too),
      cmocka_unit_test(a_start_that_fails_is_what_join_returns_and_stop_is_not_called),
      cmocka_unit_test(a_stop_that_was_asked_for_before_the_thread_ran_is_obeyed_after_earlier_tasks),
      cmocka_unit_test(a_post_after_the_thread_has_ended_is_harmless),
      cmocka_unit_test(a_worker_that_never_ran_can_be_destroyed),
      cmocka_unit_test(charges_stop_at_the_limit),
      cmocka_unit_test(large_charges_leave_room_for_small_ones),
      cmocka_unit_test(creating_survives_each_failed_allocation),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
