/* Views: what a ring's change does to numbers, owners and previous owners; readers while views change. */
#include "test_cluster_support.h"

#define A "10.0.0.1:8001"
#define B "10.0.0.2:8001"
#define C "10.0.0.3:8001"
#define D "10.0.0.4:8001"

static struct alone alone;

static int start(void **state) {
  (void)state;
  alone_start(&alone, true);
  alone_enter(&alone);
  return 0;
}

static int end(void **state) {
  (void)state;
  alone_end(&alone);
  return 0;
}

static uint64_t hash_of(unsigned i) {
  char key[32];
  snprintf(key, sizeof key, "key-%u", i);
  return lc_hash_ring(lc_slice_str("group"), lc_slice_str(key));
}

static const char *name_of(const struct lc_peer *peer) {
  return peer ? peer->name : SELF;
}

static void a_new_cluster_owns_every_key_alone(void **state) {
  (void)state;
  assert_int_equal(view_of(&alone)->number, 1);
  assert_int_equal(ring_size(&alone), 1);
  assert_true(on_ring(&alone, SELF));
  for (unsigned i = 0; i < 100; i++)
    assert_null(lc_view_owner(view_of(&alone), hash_of(i)));
}

static void owners_are_what_the_ring_picks(void **state) {
  (void)state;
  const struct lc_ring_member list[] = {{C, 1}, {SELF, 1}, {A, 1}, {B, 2}};
  struct lc_ring *ring = NULL;
  assert_int_equal(lc_ring_create(list, 4, &ring, NULL), 0);
  put(&alone, B, 2);
  put(&alone, A, 1);
  put(&alone, C, 1);
  assert_int_equal(lc_ring_id(view_of(&alone)->now->ring), lc_ring_id(ring));
  for (unsigned i = 0; i < 1000; i++) {
    const char *want = lc_ring_at(ring, lc_ring_pick(ring, hash_of(i)))->address;
    assert_string_equal(name_of(lc_view_owner(view_of(&alone), hash_of(i))), want);
  }
  lc_ring_destroy(ring);
}

static void the_number_changes_with_the_ring_only(void **state) {
  (void)state;
  put(&alone, A, 1);
  unsigned number = view_of(&alone)->number;
  uint64_t serial = view_of(&alone)->serial;
  assert_int_equal(number, 2);
  assert_int_equal(hello(&alone, 11, A), 0);
  assert_int_equal(hello(&alone, 12, B), 0); /* no member */
  assert_int_equal(view_of(&alone)->number, number);
  assert_true(view_of(&alone)->serial > serial);
  put(&alone, A, 3);
  assert_int_equal(view_of(&alone)->number, number + 1);
  erase(&alone, A);
  assert_int_equal(view_of(&alone)->number, number + 2);
  erase(&alone, A);
  assert_int_equal(view_of(&alone)->number, number + 2);
}

static void the_number_goes_round_and_is_never_zero(void **state) {
  (void)state;
  view_of(&alone)->number = LC_ITEM_VIEW_MASK;
  put(&alone, A, 1);
  assert_int_equal(view_of(&alone)->number, 1);
}

static void a_worker_keeps_its_view_until_there_is_another(void **state) {
  (void)state;
  struct lc_view *first = lc_cluster_view(alone.cluster, 0);
  assert_ptr_equal(lc_cluster_view(alone.cluster, 0), first);
  assert_ptr_equal(lc_cluster_view(alone.cluster, 1), first);
  put(&alone, A, 1);
  struct lc_view *second = lc_cluster_view(alone.cluster, 0);
  assert_ptr_not_equal(second, first);
  assert_ptr_equal(lc_cluster_view(alone.cluster, 1), second);
}

static void a_process_is_found_until_another_takes_its_place(void **state) {
  (void)state;
  char name[32];
  for (unsigned i = 1; i <= 40; i++) {
    snprintf(name, sizeof name, "10.1.0.%u:8001", i);
    assert_int_equal(hello(&alone, i * 1024, name), 0); /* all begin their probes at one place */
  }
  assert_string_equal(lc_view_peer_of(view_of(&alone), 17 * 1024)->name, "10.1.0.17:8001");
  assert_null(lc_view_peer_of(view_of(&alone), 99));
  assert_null(lc_view_peer_of(view_of(&alone), 0));
  assert_int_equal(hello(&alone, 5, "10.1.0.17:8001"), 0);
  assert_null(lc_view_peer_of(view_of(&alone), 17 * 1024));
  assert_string_equal(lc_view_peer_of(view_of(&alone), 5)->name, "10.1.0.17:8001");
}

/* A key that the ring in force gives to `owner` (NULL: us), and the one in `before` to `previous`. */
static uint64_t moved_key(const struct lc_ring *before, const char *previous, const char *owner) {
  for (unsigned i = 0; i < 100000; i++) {
    uint64_t hash = hash_of(i);
    if (strcmp(lc_ring_at(before, lc_ring_pick(before, hash))->address, previous) == 0 &&
        strcmp(name_of(lc_view_owner(view_of(&alone), hash)), owner) == 0)
      return hash;
  }
  fail_msg("no key moved from %s to %s", previous, owner);
  return 0;
}

static struct lc_ring *ring_of(const struct lc_ring_member *list, size_t count) {
  struct lc_ring *ring = NULL;
  assert_int_equal(lc_ring_create(list, count, &ring, NULL), 0);
  return ring;
}

static void who_owned_a_key_before_a_change_is_asked_for_five_minutes(void **state) {
  (void)state;
  struct lc_peer *out[2];
  put(&alone, A, 1);
  put(&alone, B, 1);
  struct lc_ring *before = ring_of((struct lc_ring_member[]){{SELF, 1}, {A, 1}, {B, 1}}, 3);
  set_state(&alone, A, LC_PEER_UP);
  set_state(&alone, B, LC_PEER_UP);
  erase(&alone, A);                         /* left, but still there */
  assert_int_equal(hello(&alone, 9, C), 0); /* a view, but no ring */
  assert_null(view_of(&alone)->past[2].members);
  uint64_t hash = moved_key(before, A, SELF), now_ms = lc_clock_ms();
  assert_int_equal(lc_view_previous(view_of(&alone), hash, now_ms, out, 2), 1);
  assert_string_equal(out[0]->name, A);
  assert_int_equal(lc_view_previous(view_of(&alone), hash, now_ms, out, 0), 0);
  assert_int_equal(lc_view_previous(view_of(&alone), hash, now_ms + LC_PREVIOUS_MS + 1000, out, 2), 0);
  set_state(&alone, A, LC_PEER_DOWN);
  assert_int_equal(lc_view_previous(view_of(&alone), hash, now_ms, out, 2), 0);
  lc_ring_destroy(before);
}

static void only_the_newest_three_rings_count(void **state) {
  (void)state;
  static const char *const names[] = {A, B, C, D};
  for (size_t i = 0; i < 4; i++) {
    put(&alone, names[i], 1);
    set_state(&alone, names[i], LC_PEER_UP);
  }
  for (size_t i = 0; i < 4; i++)
    erase(&alone, names[i]);
  /* The rings without A, without A and B, without A, B and C: A was on none of them. */
  struct lc_view *view = view_of(&alone);
  for (size_t i = 0; i < LC_PREVIOUS_MAX; i++) {
    assert_non_null(view->past[i].members);
    assert_int_equal(lc_ring_count(view->past[i].members->ring), i + 2);
    assert_int_equal(lc_ring_find(view->past[i].members->ring, A), LC_RING_NONE);
  }
  for (unsigned i = 0; i < 1000; i++) {
    struct lc_peer *out[2];
    size_t count = lc_view_previous(view, hash_of(i), lc_clock_ms(), out, 2);
    assert_true(count <= 2);
    for (size_t j = 0; j < count; j++)
      assert_string_not_equal(out[j]->name, A);
    if (count == 2)
      assert_ptr_not_equal(out[0], out[1]);
  }
}

static void after_our_own_join_the_pick_without_us_is_asked(void **state) {
  (void)state;
  struct lc_peer *out[2];
  alone.cluster->entered = false;
  put(&alone, A, 1);
  put(&alone, B, 1);
  set_state(&alone, A, LC_PEER_UP);
  set_state(&alone, B, LC_PEER_UP);
  alone.cluster->joined_until_ms = lc_clock_ms() + 1000;
  alone_enter(&alone);
  struct lc_ring *before = ring_of((struct lc_ring_member[]){{A, 1}, {B, 1}}, 2);
  uint64_t from_a = moved_key(before, A, SELF), from_b = moved_key(before, B, SELF);
  assert_int_equal(lc_view_previous(view_of(&alone), from_a, lc_clock_ms(), out, 2), 1);
  assert_string_equal(out[0]->name, A);
  assert_int_equal(lc_view_previous(view_of(&alone), from_b, lc_clock_ms(), out, 2), 1);
  assert_string_equal(out[0]->name, B);
  assert_int_equal(lc_view_previous(view_of(&alone), from_b, lc_clock_ms() + 2000, out, 2), 0);
  lc_ring_destroy(before);
}

static void without_memory_the_old_view_stays(void **state) {
  (void)state;
  if (!lc_alloc_faults_built())
    skip();
  put(&alone, A, 1);
  for (size_t n = 1;; n++) {
    struct lc_view *before = view_of(&alone);
    pthread_mutex_lock(&alone.cluster->lock);
    lc_peer_find(alone.cluster, A)->weight = 2 + n % 2;
    lc_alloc_fail_at(n);
    int rc = lc_view_publish(alone.cluster);
    lc_alloc_fail_at(0);
    bool again = alone.cluster->publish_again;
    pthread_mutex_unlock(&alone.cluster->lock);
    assert_int_equal(again, rc != 0);
    if (rc == 0)
      break;
    assert_int_equal(rc, LC_ENOMEM);
    assert_ptr_equal(view_of(&alone), before);
  }
}

static void creating_without_memory_fails_and_leaves_nothing(void **state) {
  (void)state;
  if (!lc_alloc_faults_built())
    skip();
  static const char *const endpoints[] = {"http://127.0.0.1:1", "http://127.0.0.1:2"};
  const struct lc_exec exec = {.workers = 2};
  struct lc_cluster_config config = {.exec = &exec, .etcd = endpoints, .etcd_count = 2, .service = "test"};
  struct lc_cluster *cluster = NULL;
  assert_int_equal(lc_parse_address(SELF, &config.advertise, NULL), 0);
  for (size_t n = 1;; n++) {
    lc_alloc_fail_at(n);
    int rc = lc_cluster_create(&config, &cluster, NULL);
    lc_alloc_fail_at(0);
    if (rc == 0)
      break;
    assert_int_equal(rc, LC_ENOMEM);
  }
  lc_cluster_destroy(cluster);
}

static void a_hello_without_memory_is_refused_and_can_be_said_again(void **state) {
  (void)state;
  if (!lc_alloc_faults_built())
    skip();
  for (size_t n = 1;; n++) {
    lc_alloc_fail_at(n);
    int rc = hello(&alone, 7, A);
    lc_alloc_fail_at(0);
    if (rc == 0)
      break;
    assert_int_equal(rc, LC_ENOMEM);
  }
  assert_string_equal(lc_view_peer_of(view_of(&alone), 7)->name, A);
  assert_int_equal(view_of(&alone)->peer_count, 1);
}

struct reader {
  pthread_t thread;
  unsigned index;
  atomic_bool *stop;
  unsigned changes;
};

static void *read_views(void *arg) {
  struct reader *reader = arg;
  unsigned last = 0;
  do {
    struct lc_view *view = lc_cluster_view(alone.cluster, reader->index);
    reader->changes += view->number != last;
    last = view->number;
    struct lc_peer *out[2];
    for (unsigned i = 0; i < 20; i++) {
      struct lc_peer *owner = lc_view_owner(view, hash_of(i));
      assert_true(!owner || owner->name[0] == '1');
      lc_view_previous(view, hash_of(i), 1, out, 2);
    }
    lc_view_peer_of(view, 3);
  } while (!atomic_load(reader->stop));
  return NULL;
}

static void readers_see_whole_views_while_they_change(void **state) {
  (void)state;
  atomic_bool stop = false;
  struct reader readers[2] = {{.index = 0, .stop = &stop}, {.index = 1, .stop = &stop}};
  for (int i = 0; i < 2; i++)
    assert_int_equal(pthread_create(&readers[i].thread, NULL, read_views, &readers[i]), 0);
  for (unsigned i = 0; i < 150; i++) {
    put(&alone, i % 2 ? A : B, 1);
    hello(&alone, 3 + i, C);
    erase(&alone, i % 3 ? B : A);
  }
  atomic_store(&stop, true);
  for (int i = 0; i < 2; i++) {
    pthread_join(readers[i].thread, NULL);
    assert_true(readers[i].changes > 0);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test_setup_teardown(a_new_cluster_owns_every_key_alone, start, end),
      cmocka_unit_test_setup_teardown(owners_are_what_the_ring_picks, start, end),
      cmocka_unit_test_setup_teardown(the_number_changes_with_the_ring_only, start, end),
      cmocka_unit_test_setup_teardown(the_number_goes_round_and_is_never_zero, start, end),
      cmocka_unit_test_setup_teardown(a_worker_keeps_its_view_until_there_is_another, start, end),
      cmocka_unit_test_setup_teardown(a_process_is_found_until_another_takes_its_place, start, end),
      cmocka_unit_test_setup_teardown(who_owned_a_key_before_a_change_is_asked_for_five_minutes, start, end),
      cmocka_unit_test_setup_teardown(only_the_newest_three_rings_count, start, end),
      cmocka_unit_test_setup_teardown(after_our_own_join_the_pick_without_us_is_asked, start, end),
      cmocka_unit_test_setup_teardown(without_memory_the_old_view_stays, start, end),
      cmocka_unit_test(creating_without_memory_fails_and_leaves_nothing),
      cmocka_unit_test_setup_teardown(a_hello_without_memory_is_refused_and_can_be_said_again, start, end),
      cmocka_unit_test_setup_teardown(readers_see_whole_views_while_they_change, start, end),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
