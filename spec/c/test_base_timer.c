#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/clock.h"
#include "base/list.h"
#include "base/timer.h"

enum { TIMERS = 200 };

/* A timer beside what a plain table says of it. */
struct entry {
  struct lc_timer timer;
  struct model *model;
  uint64_t due_ms;
  bool active;
  unsigned fired_in_call; /* the number of the expire call that last fired it */
};

struct model {
  struct lc_timers timers;
  struct entry entries[TIMERS];
  uint32_t seed;
  uint64_t now_ms;
  unsigned call;
  bool firing;
  unsigned fired;
};

static uint32_t next_random(struct model *model) {
  model->seed = model->seed * 1664525u + 1013904223u;
  return model->seed >> 8;
}

static uint64_t model_next(const struct model *model) {
  uint64_t next = LC_TIME_NEVER;
  for (int i = 0; i < TIMERS; i++) {
    if (model->entries[i].active && model->entries[i].due_ms < next)
      next = model->entries[i].due_ms;
  }
  return next;
}

static void random_step(struct model *model) {
  struct entry *entry = &model->entries[next_random(model) % TIMERS];
  if (next_random(model) % 3 == 0) {
    lc_timer_stop(&model->timers, &entry->timer);
    entry->active = false;
  } else {
    uint64_t due_ms = model->now_ms - 20 + next_random(model) % 100;
    lc_timer_start(&model->timers, &entry->timer, due_ms);
    entry->active = true;
    entry->due_ms = model->firing && due_ms <= model->now_ms ? model->now_ms + 1 : due_ms;
  }
  assert_int_equal(entry->timer.active, entry->active);
  assert_int_equal(lc_timers_next(&model->timers), model_next(model));
}

static void fire_checked(struct lc_timer *timer) {
  struct entry *entry = lc_container_of(timer, struct entry, timer);
  struct model *model = entry->model;
  assert_true(entry->active);
  assert_false(timer->active);
  assert_true(entry->due_ms <= model->now_ms);
  assert_int_equal(entry->due_ms, model_next(model));
  assert_int_not_equal(entry->fired_in_call, model->call);
  entry->fired_in_call = model->call;
  entry->active = false;
  model->fired++;
  for (uint32_t steps = next_random(model) % 3; steps > 0; steps--)
    random_step(model);
}

static void expire_checked(struct model *model) {
  model->call++;
  model->fired = 0;
  model->firing = true;
  unsigned fired = lc_timers_expire(&model->timers, model->now_ms);
  assert_int_equal(fired, model->fired);
  model->firing = false;
  assert_true(model_next(model) > model->now_ms);
  assert_int_equal(lc_timers_next(&model->timers), model_next(model));
}

static void test_timers_agree_with_a_table_under_random_operations(void **state) {
  (void)state;
  struct model model = {.seed = 11, .now_ms = 1000};
  lc_timers_init(&model.timers);
  for (int i = 0; i < TIMERS; i++) {
    model.entries[i].model = &model;
    model.entries[i].timer.fire = fire_checked;
  }
  for (int round = 0; round < 5000; round++) {
    for (uint32_t steps = next_random(&model) % 20; steps > 0; steps--)
      random_step(&model);
    model.now_ms += next_random(&model) % 30;
    expire_checked(&model);
  }
}

struct again {
  struct lc_timer timer;
  struct lc_timers *timers;
  struct again *other;
  uint64_t due_ms;
  unsigned fired;
};

static void fire_again(struct lc_timer *timer) {
  struct again *self = lc_container_of(timer, struct again, timer);
  self->fired++;
  lc_timer_start(self->timers, self->other ? &self->other->timer : timer, self->due_ms);
}

static void test_a_timer_restarted_for_the_past_waits_for_the_next_call(void **state) {
  (void)state;
  struct lc_timers timers;
  lc_timers_init(&timers);
  struct again again = {.timer.fire = fire_again, .timers = &timers, .due_ms = 5};
  lc_timer_start(&timers, &again.timer, 10);
  assert_int_equal(lc_timers_expire(&timers, 10), 1);
  assert_int_equal(lc_timers_next(&timers), 11);
  assert_int_equal(lc_timers_expire(&timers, 11), 1);
  assert_int_equal(again.fired, 2);
}

static void test_two_timers_that_start_each_other_end_the_call(void **state) {
  (void)state;
  struct lc_timers timers;
  lc_timers_init(&timers);
  struct again a = {.timer.fire = fire_again, .timers = &timers}, b = a;
  a.other = &b;
  b.other = &a;
  lc_timer_start(&timers, &a.timer, 0);
  assert_int_equal(lc_timers_expire(&timers, 0), 1);
  assert_int_equal(lc_timers_expire(&timers, 1), 1);
  assert_int_equal(a.fired + b.fired, 2);
}

static void fire_never(struct lc_timer *timer) {
  (void)timer;
  fail();
}

static void fire_stop_other(struct lc_timer *timer) {
  struct again *self = lc_container_of(timer, struct again, timer);
  lc_timer_stop(self->timers, &self->other->timer);
}

static void test_a_due_timer_that_another_stops_does_not_fire(void **state) {
  (void)state;
  struct lc_timers timers;
  lc_timers_init(&timers);
  struct again victim = {.timer.fire = fire_never};
  struct again first = {.timer.fire = fire_stop_other, .timers = &timers, .other = &victim};
  lc_timer_start(&timers, &victim.timer, 2);
  lc_timer_start(&timers, &first.timer, 1);
  assert_int_equal(lc_timers_expire(&timers, 5), 1);
  assert_false(victim.timer.active);
}

static void test_stopping_twice_is_harmless_and_an_empty_heap_is_never_due(void **state) {
  (void)state;
  struct lc_timers timers;
  struct lc_timer timer = {.fire = fire_never};
  lc_timers_init(&timers);
  lc_timer_stop(&timers, &timer);
  lc_timer_start(&timers, &timer, 3);
  lc_timer_stop(&timers, &timer);
  lc_timer_stop(&timers, &timer);
  assert_true(lc_timers_next(&timers) == LC_TIME_NEVER);
  assert_int_equal(lc_timers_expire(&timers, 100), 0);
}

static void fire_once(struct lc_timer *timer) {
  lc_container_of(timer, struct again, timer)->fired++;
}

static void test_a_large_crowd_fires_each_once_when_due(void **state) {
  (void)state;
  enum { CROWD = 20000 };
  static struct again crowd[CROWD];
  struct lc_timers timers;
  lc_timers_init(&timers);
  for (int i = 0; i < CROWD; i++) {
    crowd[i].timer.fire = fire_once;
    lc_timer_start(&timers, &crowd[i].timer, (uint64_t)(i % 2 ? i : 2 * CROWD - i));
  }
  assert_int_equal(lc_timers_expire(&timers, CROWD), CROWD / 2);
  assert_int_equal(lc_timers_expire(&timers, (uint64_t)2 * CROWD), CROWD / 2);
  for (int i = 0; i < CROWD; i++)
    assert_int_equal(crowd[i].fired, 1);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_timers_agree_with_a_table_under_random_operations),
      cmocka_unit_test(test_a_timer_restarted_for_the_past_waits_for_the_next_call),
      cmocka_unit_test(test_two_timers_that_start_each_other_end_the_call),
      cmocka_unit_test(test_a_due_timer_that_another_stops_does_not_fire),
      cmocka_unit_test(test_stopping_twice_is_harmless_and_an_empty_heap_is_never_due),
      cmocka_unit_test(test_a_large_crowd_fires_each_once_when_due),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
