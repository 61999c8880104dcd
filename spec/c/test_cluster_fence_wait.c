/* Gets that wait for the fence; and the fence under several threads. */
#include "test_cluster_fence_util.h"

#define READERS 3u

static void test_a_parked_get_that_is_cancelled_is_not_called(void **state) {
  (void)state;
  struct getter getter;
  fake_jump(STOP_MS);
  park(&getter);
  lc_list_remove(&getter.fresh.link);
  fake_advance(1100);
  assert_true(fresh());
  assert_int_equal(getter.done, 0);
}

static void test_one_that_parks_again_waits_behind_the_others(void **state) {
  (void)state;
  struct getter getters[2];
  fake_jump(STOP_MS);
  told = 0;
  park(&getters[0]);
  park(&getters[1]);
  getters[0].again = true;
  fake_advance(1200);
  assert_int_equal(getters[1].done, 1);
  assert_int_equal(getters[1].at, 2);
  assert_int_equal(getters[0].done, 2);
  assert_int_equal(getters[0].at, 3);
}

static void test_one_that_parks_when_all_is_well_is_called_soon(void **state) {
  (void)state;
  struct getter getter;
  park(&getter);
  assert_int_equal(getter.done, 0); /* never before it returns */
  fake_run();
  assert_int_equal(getter.done, 1);
}

static void test_closing_a_worker_drops_who_waits_there(void **state) {
  (void)state;
  struct getter getter;
  fake_jump(STOP_MS);
  park(&getter);
  lc_fence_close(&fake.cluster, 1);
  fake_advance(1200);
  assert_int_equal(getter.done, 0);
  assert_true(fresh()); /* a closed worker's beat isn't waited for */
}

static void test_without_memory_none_is_made(void **state) {
  (void)state;
  struct lc_cluster cluster = {.workers = 2};
  if (!lc_alloc_faults_built())
    skip();
  for (size_t n = 1; n <= 2; n++) {
    lc_alloc_fail_at(n);
    assert_int_equal(lc_fence_create(&cluster), LC_ENOMEM);
    assert_null(cluster.fence);
  }
  lc_alloc_fail_at(0);
}

/* ---- threads ---- */

static atomic_bool stop_readers;

static void *read_fresh(void *arg) {
  unsigned *count = arg;
  while (!atomic_load(&stop_readers)) {
    *count += lc_fence_fresh(&fake.cluster, 0);
    lc_fence_applied(&fake.cluster);
    lc_fence_contact(&fake.cluster, false);
  }
  return NULL;
}

static void test_any_thread_may_ask_while_the_fence_comes_and_goes(void **state) {
  (void)state;
  pthread_t threads[READERS];
  unsigned counts[READERS] = {0};
  atomic_store(&stop_readers, false);
  for (unsigned i = 0; i < READERS; i++)
    pthread_create(&threads[i], NULL, read_fresh, &counts[i]);
  for (unsigned i = 0; i < 20; i++) {
    stop_and_go_on();
    answer(0, 0);
    answer(1, 0);
    fake_advance(50);
    assert_true(fresh());
  }
  atomic_store(&stop_readers, true);
  for (unsigned i = 0; i < READERS; i++)
    pthread_join(threads[i], NULL);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      TEST(test_a_parked_get_that_is_cancelled_is_not_called),
      TEST(test_one_that_parks_again_waits_behind_the_others),
      TEST(test_one_that_parks_when_all_is_well_is_called_soon),
      TEST(test_closing_a_worker_drops_who_waits_there),
      TEST_ALONE(test_without_memory_none_is_made),
      TEST(test_any_thread_may_ask_while_the_fence_comes_and_goes),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
