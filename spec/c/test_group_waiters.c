#include <stdlib.h>
#include <string.h>

#include "group/internal.h"
#include "test_group_fake.h"

#define CROWD 3000
static void test_three_thousand_waiters_cost_one_load(void **state) {
  struct fake *fake = *state;
  struct call *calls = calloc(CROWD, sizeof *calls);
  for (unsigned i = 0; i < CROWD; i++) {
    assert_int_equal(call_get(fake, &calls[i], i % FAKE_WORKERS, "g", "k"), LC_PENDING);
  }
  assert_int_equal(fake_stats(fake, 0).waiters, CROWD);
  assert_int_equal(fake_stats(fake, 0).flights, 1);
  fake_finish(fake, 0, "v");
  for (unsigned i = 0; i < CROWD; i++) {
    assert_int_equal(calls[i].done, 1);
    assert_value(&calls[i], LC_FROM_SOURCE, "v");
    assert_ptr_equal(calls[i].get.item, calls[0].get.item);
  }
  for (unsigned i = 0; i < CROWD; i++)
    call_fini(&calls[i]);
  free(calls);
  struct lc_group_stats stats = fake_stats(fake, 0);
  assert_int_equal(stats.loads, 1);
  assert_int_equal(stats.misses, CROWD);
  assert_int_equal(stats.coalesced, CROWD - 1);
  assert_int_equal(stats.waiters, 0);
}

static int looks;
/* A look at the store asks for the time first: what arrives at the second look has missed the first. */
static void put_at_the_second_look(struct fake *fake) {
  if (++looks != 2)
    return;
  struct lc_store *store = lc_groups_at(fake->groups, 0)->store;
  struct lc_slice key = lc_slice_str("k");
  struct lc_item *item = lc_item_create(key, lc_slice_str("just in time"), LC_TIME_NEVER, 0);
  lc_store_put(store, item, lc_store_hash(store, key), fake->now_ms);
  lc_item_unref(item);
}

static void test_a_value_that_comes_between_look_and_join_is_a_hit(void **state) {
  struct fake *fake = *state;
  looks = 0;
  fake->on_now = put_at_the_second_look;
  expect_hit(fake, "k", "just in time");
  assert_int_equal(fake->started, 0);
  assert_int_equal(fake_stats(fake, 0).hits, 1);
  assert_int_equal(fake_stats(fake, 0).misses, 0);
}

static void test_a_waiter_that_cancels_leaves_the_others(void **state) {
  struct fake *fake = *state;
  struct call first, second;
  call_get(fake, &first, 0, "g", "k");
  call_get(fake, &second, 1, "g", "k");
  assert_true(lc_get_cancel(fake->groups, &first.get));
  assert_failed(&first, LC_ECANCELLED, "cancelled");
  fake_run(fake);
  assert_int_equal(fake->cancelled, 0);
  fake_finish(fake, 0, "v");
  assert_int_equal(first.done, 0);
  assert_value(&second, LC_FROM_SOURCE, "v");
  call_fini(&first);
  call_fini(&second);
}

static void test_the_last_waiter_that_cancels_ends_the_load_on_its_worker(void **state) {
  struct fake *fake = *state;
  struct call first, second;
  call_get(fake, &first, 0, "g", "k");
  call_get(fake, &second, 1, "g", "k");
  assert_true(lc_get_cancel(fake->groups, &first.get));
  assert_true(lc_get_cancel(fake->groups, &second.get));
  assert_int_equal(fake->cancelled, 0);
  fake_run(fake);
  assert_int_equal(fake->cancelled, 1);
  assert_int_equal(fake_stats(fake, 0).load_errors, 0);
  call_fini(&first);
  call_fini(&second);
}

static void test_a_get_after_the_last_cancel_loads_anew(void **state) {
  struct fake *fake = *state;
  struct call first, second;
  call_get(fake, &first, 0, "g", "k");
  assert_true(lc_get_cancel(fake->groups, &first.get));
  assert_int_equal(call_get(fake, &second, 1, "g", "k"), LC_PENDING);
  assert_int_equal(fake->started, 2);
  fake_run(fake);
  assert_int_equal(fake->cancelled, 1);
  fake_finish(fake, 1, "v");
  assert_value(&second, LC_FROM_SOURCE, "v");
  call_fini(&first);
  call_fini(&second);
}

static void test_a_load_that_ends_before_its_cancel_arrives_is_not_cancelled(void **state) {
  struct fake *fake = *state;
  struct call call;
  call_get(fake, &call, 0, "g", "k");
  assert_true(lc_get_cancel(fake->groups, &call.get));
  fake_finish(fake, 0, "v");
  assert_int_equal(fake->cancelled, 0);
  assert_int_equal(call.done, 0);
  call_fini(&call);
  expect_absent(fake, "k");
}

static void test_a_cancel_after_the_end_comes_too_late(void **state) {
  struct fake *fake = *state;
  struct call call;
  call_get(fake, &call, 0, "g", "k");
  struct lc_load *load = fake_load(fake, 0);
  lc_load_set_value(load, lc_slice_str("v"), -1);
  lc_load_done(load);
  assert_false(lc_get_cancel(fake->groups, &call.get));
  fake_run(fake);
  assert_int_equal(call.done, 1);
  assert_value(&call, LC_FROM_SOURCE, "v");
  call_fini(&call);
}

static void test_a_load_times_out_for_all_its_waiters(void **state) {
  struct fake *fake = *state;
  struct call first, second;
  call_get(fake, &first, 0, "g", "k");
  fake_advance(fake, 4999);
  call_get(fake, &second, 1, "g", "k");
  assert_int_equal(first.done, 0);
  fake_advance(fake, 1);
  assert_int_equal(fake->cancelled, 1);
  assert_int_equal(first.done, 1);
  assert_failed(&first, LC_EDEADLINE, "load timed out after 5s");
  assert_failed(&second, LC_EDEADLINE, "load timed out after 5s");
  call_fini(&first);
  call_fini(&second);
  assert_int_equal(fake_stats(fake, 0).timeouts, 1);
  assert_int_equal(fake_stats(fake, 0).load_errors, 1);
}

static void test_a_load_that_ended_does_not_time_out(void **state) {
  struct fake *fake = *state;
  struct call call;
  call_get(fake, &call, 0, "g", "k");
  fake_finish(fake, 0, "v");
  fake_advance(fake, 60000);
  assert_int_equal(fake->cancelled, 0);
  assert_int_equal(call.done, 1);
  call_fini(&call);
}

static void test_draining_refuses_new_loads_only(void **state) {
  struct fake *fake = *state;
  struct call running, joined, refused;
  set_value(fake, "hit", "v");
  call_get(fake, &running, 0, "g", "k");
  lc_groups_drain(fake->groups);
  expect_hit(fake, "hit", "v");
  assert_int_equal(call_get(fake, &joined, 0, "g", "k"), LC_PENDING);
  assert_int_equal(call_get(fake, &refused, 0, "g", "new"), LC_EUNAVAILABLE);
  assert_failed(&refused, LC_EUNAVAILABLE, "draining: this node is stopping, ask another");
  fake_finish(fake, 0, "v");
  assert_value(&running, LC_FROM_SOURCE, "v");
  assert_value(&joined, LC_FROM_SOURCE, "v");
  assert_int_equal(fake_stats(fake, 0).refused, 1);
  call_fini(&running);
  call_fini(&joined);
  call_fini(&refused);
}

static int ask_for_own_key(struct fake *fake, struct lc_load *load) {
  struct call nested;
  call_init(fake, &nested, lc_load_worker(load), "g", "k");
  nested.get.parent = load;
  assert_int_equal(call_start(fake, &nested), LC_EINVAL);
  lc_load_set_error(load, LC_EINTERNAL, nested.get.message, strlen(nested.get.message));
  call_fini(&nested);
  return LC_OK;
}

static void test_a_getter_that_asks_for_its_own_key_fails_at_once(void **state) {
  struct fake *fake = *state;
  struct call call;
  fake->on_start = ask_for_own_key;
  assert_int_equal(call_get(fake, &call, 0, "g", "k"), LC_EINTERNAL);
  assert_failed(&call, LC_EINTERNAL, "g/\"k\" waits for itself");
  call_fini(&call);
}

static void nested_get(struct fake *fake, struct call *call, struct lc_load *parent, const char *group,
                       const char *key) {
  call_init(fake, call, lc_load_worker(parent), group, key);
  call->get.parent = parent;
}

static void test_loads_that_turn_to_each_other_fail_at_once(void **state) {
  struct fake *fake = *state;
  struct call a, b, a_asks, b_asks;
  call_get(fake, &a, 0, "g", "a");
  call_get(fake, &b, 1, "h", "b");
  nested_get(fake, &a_asks, fake_load(fake, 0), "h", "b");
  assert_int_equal(call_start(fake, &a_asks), LC_PENDING);
  nested_get(fake, &b_asks, fake_load(fake, 1), "g", "a");
  assert_int_equal(call_start(fake, &b_asks), LC_EINVAL);
  assert_failed(&b_asks, LC_EINVAL, "g/\"a\" waits for itself, by h/\"b\"");
  fake_finish(fake, 1, "b");
  assert_value(&a_asks, LC_FROM_SOURCE, "b");
  fake_finish(fake, 0, "a");
  call_fini(&a);
  call_fini(&b);
  call_fini(&a_asks);
  call_fini(&b_asks);
}

static int depth;
static int ask_one_deeper(struct fake *fake, struct lc_load *load) {
  char key[16];
  struct call nested;
  snprintf(key, sizeof key, "%d", ++depth);
  nested_get(fake, &nested, load, "g", key);
  int rc = call_start(fake, &nested);
  if (rc == LC_OK) {
    lc_load_set_value(load, lc_item_value(nested.get.item), -1);
  } else {
    assert_int_equal(rc, LC_EINVAL);
    lc_load_set_value(load, lc_slice_str("deepest"), -1);
  }
  call_fini(&nested);
  return LC_OK;
}

static void test_loads_nest_eight_deep_and_no_deeper(void **state) {
  struct fake *fake = *state;
  struct call call;
  depth = 0;
  fake->on_start = ask_one_deeper;
  assert_int_equal(call_get(fake, &call, 0, "g", "0"), LC_OK);
  assert_value(&call, LC_FROM_SOURCE, "deepest");
  assert_int_equal(fake->started, 9);
  call_fini(&call);
}

static struct call held;
static void drop_nested(struct fake *fake, struct lc_load *load) {
  if (lc_load_impl(load))
    assert_true(lc_get_cancel(fake->groups, lc_load_impl(load)));
}

static void test_a_timed_out_load_takes_the_load_it_waits_for_along(void **state) {
  struct fake *fake = *state;
  struct call call;
  fake->on_cancel = drop_nested;
  call_get(fake, &call, 0, "g", "a");
  fake_advance(fake, 1000);
  nested_get(fake, &held, fake_load(fake, 0), "h", "b");
  lc_load_set_impl(fake_load(fake, 0), &held.get);
  assert_int_equal(call_start(fake, &held), LC_PENDING);
  fake_advance(fake, 4000);
  assert_int_equal(fake->cancelled, 2);
  assert_int_equal(call.get.code, LC_EDEADLINE);
  assert_int_equal(held.done, 0);
  call_fini(&held);
  call_fini(&call);
}

static void test_draining_lets_a_running_load_ask_on(void **state) {
  struct fake *fake = *state;
  struct call call, nested;
  call_get(fake, &call, 0, "g", "a");
  lc_groups_drain(fake->groups);
  nested_get(fake, &nested, fake_load(fake, 0), "h", "b");
  assert_int_equal(call_start(fake, &nested), LC_PENDING);
  fake_finish(fake, 1, "b");
  fake_finish(fake, 0, "a");
  assert_value(&call, LC_FROM_SOURCE, "a");
  call_fini(&nested);
  call_fini(&call);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      FAKE_TEST(test_three_thousand_waiters_cost_one_load),
      FAKE_TEST(test_a_value_that_comes_between_look_and_join_is_a_hit),
      FAKE_TEST(test_a_waiter_that_cancels_leaves_the_others),
      FAKE_TEST(test_the_last_waiter_that_cancels_ends_the_load_on_its_worker),
      FAKE_TEST(test_a_get_after_the_last_cancel_loads_anew),
      FAKE_TEST(test_a_load_that_ends_before_its_cancel_arrives_is_not_cancelled),
      FAKE_TEST(test_a_cancel_after_the_end_comes_too_late),
      FAKE_TEST(test_a_load_times_out_for_all_its_waiters),
      FAKE_TEST(test_a_load_that_ended_does_not_time_out),
      FAKE_TEST(test_draining_refuses_new_loads_only),
      FAKE_TEST(test_a_getter_that_asks_for_its_own_key_fails_at_once),
      FAKE_TEST(test_loads_that_turn_to_each_other_fail_at_once),
      FAKE_TEST(test_loads_nest_eight_deep_and_no_deeper),
      FAKE_TEST(test_a_timed_out_load_takes_the_load_it_waits_for_along),
      FAKE_TEST(test_draining_lets_a_running_load_ask_on),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
