/* Who is a member: what the registry, a Hello, a Leave and silence each do to the ring. */
#include "test_cluster_support.h"

#define A "10.0.0.1:8001"
#define B "10.0.0.2:8001"
#define LISTED "node-a:8001"

static struct alone alone;

static int start_etcd(void **state) {
  (void)state;
  alone_start(&alone, true);
  alone_enter(&alone);
  return 0;
}

static int start_static(void **state) {
  (void)state;
  alone_start(&alone, false);
  alone_enter(&alone);
  return 0;
}

static int end(void **state) {
  (void)state;
  alone_end(&alone);
  return 0;
}

static void list(const struct lc_registry_member *members, size_t count) {
  lc_members_handler.on_list(alone.cluster, members, count);
}

static void silent_since(const char *address, uint64_t ms) {
  find(&alone, address)->seen_ms = lc_clock_ms() - ms;
}

static size_t known(void) {
  pthread_mutex_lock(&alone.cluster->lock);
  size_t count = alone.cluster->known_count;
  pthread_mutex_unlock(&alone.cluster->lock);
  return count;
}

/* ---- the registry ---- */

static void a_put_takes_a_node_on_the_ring_and_a_delete_takes_it_off(void **state) {
  (void)state;
  put(&alone, A, 1);
  assert_true(on_ring(&alone, A));
  erase(&alone, A);
  assert_false(on_ring(&alone, A));
  assert_non_null(find(&alone, A)); /* it may still answer, and is told of writes */
}

static void a_burst_of_events_builds_one_ring(void **state) {
  (void)state;
  unsigned number = view_of(&alone)->number;
  lc_members_handler.on_put(alone.cluster, &(struct lc_registry_member){A, 1});
  lc_members_handler.on_put(alone.cluster, &(struct lc_registry_member){B, 1});
  lc_members_handler.on_delete(alone.cluster, A);
  run_publish(&alone);
  assert_int_equal(view_of(&alone)->number, number + 1);
  assert_true(on_ring(&alone, B));
  assert_false(on_ring(&alone, A));
}

static void this_node_is_on_its_ring_whatever_the_registry_says(void **state) {
  (void)state;
  list(NULL, 0);
  erase(&alone, SELF);
  assert_true(on_ring(&alone, SELF));
  put(&alone, SELF, 1);
  assert_int_equal(ring_size(&alone), 1);
  assert_int_equal(known(), 0);
}

static void a_member_that_a_list_lacks_stays_while_it_answers(void **state) {
  (void)state;
  put(&alone, A, 1);
  put(&alone, B, 1);
  find(&alone, A)->connected = true;
  silent_since(A, 60000);
  silent_since(B, 60000);
  list((struct lc_registry_member[]){{B, 1}}, 1);
  lc_members_tick(alone.cluster);
  assert_true(on_ring(&alone, A));
  assert_true(on_ring(&alone, B));
}

static void a_member_that_a_list_lacks_goes_when_it_was_silent_for_a_lease(void **state) {
  (void)state;
  put(&alone, A, 1);
  list(NULL, 0);
  silent_since(A, 9000);
  lc_members_tick(alone.cluster);
  assert_true(on_ring(&alone, A));
  silent_since(A, 10100);
  lc_members_tick(alone.cluster);
  assert_false(on_ring(&alone, A));
}

static void a_member_that_is_listed_again_is_not_lacked(void **state) {
  (void)state;
  put(&alone, A, 1);
  list(NULL, 0);
  list((struct lc_registry_member[]){{A, 1}}, 1);
  silent_since(A, 60000);
  lc_members_tick(alone.cluster);
  assert_true(on_ring(&alone, A));
}

static void silent_members_of_a_fixed_list_stay(void **state) {
  (void)state;
  list((struct lc_registry_member[]){{A, 1}, {B, 1}, {SELF, 1}}, 3);
  silent_since(A, 3600000);
  lc_members_tick(alone.cluster);
  assert_int_equal(ring_size(&alone), 3);
}

static unsigned weight_on_ring(const char *address) {
  const struct lc_ring *ring = view_of(&alone)->now->ring;
  return lc_ring_at(ring, lc_ring_find(ring, address))->weight;
}

static void weights_come_from_the_registry_within_bounds(void **state) {
  (void)state;
  put(&alone, A, 0);
  put(&alone, B, 4000000000u);
  assert_int_equal(weight_on_ring(A), 1);
  assert_int_equal(weight_on_ring(B), LC_RING_WEIGHT_MAX);
  struct lc_msg_hello_request request = hello_of(1, A);
  struct lc_msg_hello_response reply;
  request.weight = 7;
  assert_int_equal(lc_members_greeted(alone.cluster, &request, &reply, NULL), 0);
  assert_int_equal(weight_on_ring(A), 1);
}

static void weights_come_from_hello_where_the_list_is_fixed(void **state) {
  (void)state;
  list((struct lc_registry_member[]){{A, 1}}, 1);
  struct lc_msg_hello_request request = hello_of(1, A);
  struct lc_msg_hello_response reply;
  request.weight = 7;
  assert_int_equal(lc_members_greeted(alone.cluster, &request, &reply, NULL), 0);
  assert_int_equal(weight_on_ring(A), 7);
  request.weight = 8; /* by the same process */
  assert_int_equal(lc_members_greeted(alone.cluster, &request, &reply, NULL), 0);
  assert_int_equal(weight_on_ring(A), 7);
}

static void hostile_entries_of_the_registry_are_ignored(void **state) {
  (void)state;
  char long_name[400];
  memset(long_name, 'x', sizeof long_name);
  memcpy(long_name + 390, ":80", 4);
  static const char *const bad[] = {"",           "nonsense",  ":80",     "host",  "host:0",
                                    "host:99999", "ho\nst:80", "h st:80", "\x80:1"};
  for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
    put(&alone, bad[i], 1);
  put(&alone, long_name, 1);
  assert_int_equal(known(), 0);
}

/* ---- Hello ---- */

static void a_node_of_another_service_is_refused(void **state) {
  (void)state;
  struct lc_msg_hello_request request = hello_of(1, A);
  struct lc_msg_hello_response reply;
  struct lc_err err = {0};
  request.service = lc_slice_str("elsewhere");
  assert_int_equal(lc_members_greeted(alone.cluster, &request, &reply, &err), LC_EINVAL);
  assert_non_null(strstr(err.msg, "elsewhere"));
  assert_int_equal(known(), 0);
  request.service = reply.service; /* which is ours */
  assert_int_equal(lc_members_greeted(alone.cluster, &request, &reply, &err), 0);
  assert_int_equal(known(), 1);
}

static void a_stranger_who_says_hello_is_told_of_writes_but_not_on_the_ring(void **state) {
  (void)state;
  struct lc_msg_hello_request request = hello_of(77, A);
  struct lc_msg_hello_response reply;
  assert_int_equal(lc_members_greeted(alone.cluster, &request, &reply, NULL), 0);
  assert_int_equal(reply.process, alone.cluster->process);
  assert_true(lc_slice_eq(reply.address, lc_slice_str(SELF)));
  assert_int_equal(reply.ring, lc_ring_id(view_of(&alone)->now->ring));
  assert_false(reply.was_waited);
  assert_false(reply.on_ring);
  assert_false(reply.leaving);
  assert_true(atomic_load(&find(&alone, A)->waited));
  assert_string_equal(lc_view_peer_of(view_of(&alone), 77)->name, A);
  assert_false(on_ring(&alone, A));
  put(&alone, A, 1);
  assert_int_equal(lc_members_greeted(alone.cluster, &request, &reply, NULL), 0);
  assert_true(reply.was_waited);
  assert_true(reply.on_ring);
}

static void our_own_hello_makes_no_peer(void **state) {
  (void)state;
  struct lc_msg_hello_request request = hello_of(alone.cluster->process, SELF);
  struct lc_msg_hello_response reply;
  assert_int_equal(lc_members_greeted(alone.cluster, &request, &reply, NULL), 0);
  assert_int_equal(reply.process, alone.cluster->process);
  assert_int_equal(known(), 0);
}

static void versions_that_do_not_work_together_are_refused(void **state) {
  (void)state;
  struct lc_msg_hello_response reply;
  struct lc_err err;
  struct lc_msg_hello_request request = hello_of(1, A);
  request.protocol = LC_PROTOCOL + 1;
  assert_int_equal(lc_members_greeted(alone.cluster, &request, &reply, &err), 0);
  request.protocol = LC_PROTOCOL + 2;
  assert_int_equal(lc_members_greeted(alone.cluster, &request, &reply, &err), LC_EINVAL);
  assert_non_null(strstr(err.msg, "protocol 3 and 1"));
  request.protocol = 0;
  assert_int_equal(lc_members_greeted(alone.cluster, &request, &reply, &err), LC_EINVAL);
  request = hello_of(1, A);
  request.ring_version = LC_RING_VERSION + 1;
  assert_int_equal(lc_members_greeted(alone.cluster, &request, &reply, &err), LC_EINVAL);
  assert_non_null(strstr(err.msg, "ring version 2 and 1"));
}

static void hostile_hellos_are_refused(void **state) {
  (void)state;
  char long_name[4000];
  memset(long_name, 'x', sizeof long_name);
  memcpy(long_name + sizeof long_name - 4, ":80", 4);
  assert_int_equal(hello(&alone, 0, A), LC_EINVAL);
  assert_int_equal(hello(&alone, 1, SELF), LC_EINVAL);
  assert_int_equal(hello(&alone, 1, ""), LC_EINVAL);
  assert_int_equal(hello(&alone, 1, "nonsense"), LC_EINVAL);
  assert_int_equal(hello(&alone, 1, "host:0"), LC_EINVAL);
  assert_int_equal(hello(&alone, 1, long_name), LC_EINVAL);
  struct lc_msg_hello_request request = hello_of(1, A);
  struct lc_msg_hello_response reply;
  request.address = lc_slice_of("10.0.0.1:8001\0x", 15);
  assert_int_equal(lc_members_greeted(alone.cluster, &request, &reply, NULL), LC_EINVAL);
  assert_int_not_equal(hello(&alone, 1, "ho\nst:80"), 0);
  assert_int_equal(known(), 0);
}

static void strangers_are_bounded_and_leave_room_for_members(void **state) {
  (void)state;
  char name[32];
  unsigned taken = 0;
  for (unsigned i = 0; i < 2000; i++) {
    snprintf(name, sizeof name, "10.%u.%u.1:8001", i / 200, i % 200);
    int rc = hello(&alone, i + 1, name);
    assert_true(rc == 0 || rc == LC_ENOMEM);
    taken += rc == 0;
  }
  assert_int_equal(taken, LC_STRANGERS_MAX);
  assert_int_equal(known(), LC_STRANGERS_MAX);
  put(&alone, B, 1);
  assert_true(on_ring(&alone, B));
  assert_int_equal(hello(&alone, 9999, B), 0);
}

static void another_process_at_an_address_begins_anew(void **state) {
  (void)state;
  put(&alone, A, 1);
  assert_int_equal(hello(&alone, 1, A), 0);
  struct lc_peer *peer = find(&alone, A);
  atomic_store(&peer->applied, 42);
  assert_int_equal(hello(&alone, 1, A), 0);
  assert_int_equal(atomic_load(&peer->applied), 42);
  unsigned number = view_of(&alone)->number;
  struct lc_msg_hello_request request = hello_of(2, A);
  struct lc_msg_hello_response reply;
  assert_int_equal(lc_members_greeted(alone.cluster, &request, &reply, NULL), 0);
  assert_false(reply.was_waited); /* the one before was */
  assert_int_equal(atomic_load(&peer->applied), 0);
  assert_null(lc_view_peer_of(view_of(&alone), 1));
  assert_ptr_equal(lc_view_peer_of(view_of(&alone), 2), peer);
  assert_int_equal(view_of(&alone)->number, number);
}

/* ---- leaving ---- */

static void an_address_that_is_up_is_not_taken_over_by_a_hello(void **state) {
  (void)state;
  put(&alone, A, 1);
  assert_int_equal(answer(&alone, A, 1, A), LC_GREETED);
  set_state(&alone, A, LC_PEER_UP);
  atomic_store(&find(&alone, A)->applied, 7);
  assert_int_equal(hello(&alone, 2, A), LC_EINVAL);
  assert_int_equal(atomic_load(&find(&alone, A)->process), 1);
  assert_int_equal(atomic_load(&find(&alone, A)->applied), 7);
  assert_true(atomic_load(&find(&alone, A)->look)); /* who answers there decides */
  assert_int_equal(hello(&alone, 1, A), 0);
  assert_int_equal(answer(&alone, A, 2, A), LC_GREETED);
  assert_int_equal(atomic_load(&find(&alone, A)->process), 2);
}

static void the_successor_of_a_node_that_leaves_is_taken_at_its_word(void **state) {
  (void)state;
  put(&alone, A, 1);
  assert_int_equal(hello(&alone, 1, A), 0);
  set_state(&alone, A, LC_PEER_UP);
  lc_members_left(alone.cluster, find(&alone, A));
  assert_int_equal(hello(&alone, 2, A), 0);
  assert_int_equal(atomic_load(&find(&alone, A)->process), 2);
}

static void a_node_that_leaves_stays_out_until_another_process_speaks_for_its_address(void **state) {
  (void)state;
  put(&alone, A, 1);
  assert_int_equal(hello(&alone, 1, A), 0);
  lc_members_left(alone.cluster, find(&alone, A));
  assert_false(on_ring(&alone, A));
  put(&alone, A, 1); /* an event that was late */
  assert_int_equal(hello(&alone, 1, A), 0);
  assert_false(on_ring(&alone, A));
  assert_int_equal(hello(&alone, 2, A), 0);
  assert_true(on_ring(&alone, A));
}

static void a_hello_can_say_leaving(void **state) {
  (void)state;
  put(&alone, A, 1);
  struct lc_msg_hello_request request = hello_of(1, A);
  struct lc_msg_hello_response reply;
  request.leaving = true;
  assert_int_equal(lc_members_greeted(alone.cluster, &request, &reply, NULL), 0);
  assert_false(on_ring(&alone, A));
}

static enum lc_node_state state_of(const char *address, double *share) {
  struct lc_node_info nodes[8];
  size_t count = alone.cluster->peers.nodes(alone.cluster, nodes, 8);
  for (size_t i = 0; i < count; i++) {
    if (strcmp(nodes[i].address, address) == 0) {
      *share = nodes[i].share;
      return nodes[i].state;
    }
  }
  fail_msg("%s isn't listed", address);
  return LC_NODE_DOWN;
}

static void nodes_lists_the_ring_and_who_is_leaving(void **state) {
  (void)state;
  double share = 0, sum = 0;
  put(&alone, A, 1);
  put(&alone, B, 1);
  set_state(&alone, A, LC_PEER_UP);
  assert_int_equal(state_of(SELF, &sum), LC_NODE_UP);
  assert_int_equal(state_of(A, &share), LC_NODE_UP);
  assert_true(share > 0.2 && share < 0.5);
  sum += share;
  assert_int_equal(state_of(B, &share), LC_NODE_DOWN);
  assert_true(sum + share > 0.999 && sum + share < 1.001);
  lc_members_left(alone.cluster, find(&alone, A));
  assert_int_equal(state_of(A, &share), LC_NODE_LEAVING);
  assert_true(share == 0);
  set_state(&alone, A, LC_PEER_DOWN);
  assert_int_equal(alone.cluster->peers.nodes(alone.cluster, NULL, 0), 2);
}

static void a_node_that_left_lists_itself_as_leaving_and_owns_nothing(void **state) {
  (void)state;
  double share = 1;
  put(&alone, A, 1);
  alone.cluster->leaving = alone.cluster->off_ring = true;
  alone_publish(&alone);
  assert_int_equal(state_of(SELF, &share), LC_NODE_LEAVING);
  assert_true(share == 0);
  assert_false(alone.cluster->peers.owns(alone.cluster, 0, lc_slice_str("g"), lc_slice_str("k")));
  char owner[LC_NODE_ADDRESS_SIZE];
  alone.cluster->peers.owner(alone.cluster, lc_slice_str("g"), lc_slice_str("k"), owner);
  assert_string_equal(owner, A);
  struct lc_msg_hello_request request = hello_of(1, A);
  struct lc_msg_hello_response reply;
  assert_int_equal(lc_members_greeted(alone.cluster, &request, &reply, NULL), 0);
  assert_true(reply.leaving);
}

/* ---- names ---- */

static void a_listed_address_that_is_ourselves_is_no_member(void **state) {
  (void)state;
  list((struct lc_registry_member[]){{"localhost:7000", 1}, {A, 1}}, 2);
  assert_int_equal(ring_size(&alone), 3);
  assert_int_equal(answer(&alone, "localhost:7000", alone.cluster->process, SELF), LC_GREETED_SELF);
  assert_int_equal(ring_size(&alone), 2);
  assert_false(on_ring(&alone, "localhost:7000"));
}

static void a_listed_address_takes_the_name_that_the_node_advertises(void **state) {
  (void)state;
  list((struct lc_registry_member[]){{LISTED, 1}}, 1);
  assert_int_equal(answer(&alone, LISTED, 5, A), LC_GREETED_OTHER);
  assert_true(on_ring(&alone, A));
  assert_false(on_ring(&alone, LISTED));
  assert_string_equal(find(&alone, A)->address.host, "node-a"); /* where it answered */
  assert_int_equal(answer(&alone, A, 5, A), LC_GREETED);
  assert_int_equal(ring_size(&alone), 2);
}

static void two_listed_addresses_of_one_node_are_one_member(void **state) {
  (void)state;
  list((struct lc_registry_member[]){{LISTED, 1}, {A, 1}}, 2);
  assert_int_equal(hello(&alone, 5, A), 0);
  assert_int_equal(answer(&alone, LISTED, 5, A), LC_GREETED_OTHER);
  assert_int_equal(ring_size(&alone), 2);
  assert_true(on_ring(&alone, A));
}

static void a_registered_address_where_another_answers_is_off_the_ring_until_its_own_node_does(void **state) {
  (void)state;
  put(&alone, A, 1);
  assert_int_equal(answer(&alone, A, 5, B), LC_GREETED_OTHER);
  assert_false(on_ring(&alone, A));
  assert_false(on_ring(&alone, B)); /* the registry hasn't got it */
  assert_int_equal(answer(&alone, A, 6, A), LC_GREETED);
  assert_true(on_ring(&alone, A));
}

static void replies_that_make_no_sense_are_refused(void **state) {
  (void)state;
  struct lc_err err;
  put(&alone, A, 1);
  assert_int_equal(answer(&alone, A, 0, A), LC_GREETED_REFUSED);
  assert_int_equal(answer(&alone, A, 3, ""), LC_GREETED_REFUSED);
  assert_int_equal(answer(&alone, A, 3, SELF), LC_GREETED_REFUSED);
  assert_int_equal(answer(&alone, A, 3, "nonsense"), LC_GREETED_REFUSED);
  struct lc_msg_hello_response reply = {
      .process = 3, .address = lc_slice_str(A), .protocol = LC_PROTOCOL, .ring_version = 9};
  assert_int_equal(lc_greet_answered(find(&alone, A), &reply, &err), LC_GREETED_REFUSED);
  assert_non_null(strstr(err.msg, "ring version 9"));
  assert_int_equal(known(), 1);
}

/* ---- forgetting ---- */

static void who_is_no_member_and_silent_for_ten_minutes_is_forgotten(void **state) {
  (void)state;
  assert_int_equal(hello(&alone, 1, A), 0);
  find(&alone, A)->greeted_process = 1;
  put(&alone, B, 1);
  silent_since(A, LC_PEER_FORGET_MS - 60000);
  silent_since(B, LC_PEER_FORGET_MS * 2);
  lc_members_tick(alone.cluster);
  assert_non_null(find(&alone, A));
  silent_since(A, LC_PEER_FORGET_MS + 1);
  lc_members_tick(alone.cluster);
  assert_null(find(&alone, A));
  assert_non_null(find(&alone, B));
  assert_null(lc_view_peer_of(view_of(&alone), 1));
}

static void who_said_hello_and_never_answered_one_is_forgotten_in_a_minute(void **state) {
  (void)state;
  assert_int_equal(hello(&alone, 1, A), 0);
  silent_since(A, LC_STRANGER_FORGET_MS - 10000);
  lc_members_tick(alone.cluster);
  assert_non_null(find(&alone, A));
  silent_since(A, LC_STRANGER_FORGET_MS + 1);
  lc_members_tick(alone.cluster);
  assert_null(find(&alone, A));
}

static void slots_are_given_anew_when_the_last_view_has_let_go(void **state) {
  (void)state;
  for (unsigned i = 0; i < 3; i++) {
    assert_int_equal(hello(&alone, i + 1, A), 0);
    assert_int_equal(find(&alone, A)->slot, 0);
    assert_int_equal(view_of(&alone)->peer_count, 1);
    lc_deliver_down(find(&alone, A));
    silent_since(A, LC_PEER_FORGET_MS + 1);
    lc_members_tick(alone.cluster);
    lc_cluster_view(alone.cluster, 0);
    lc_cluster_view(alone.cluster, 2);
  }
}

#define ETCD(test_) cmocka_unit_test_setup_teardown(test_, start_etcd, end)
#define STATIC(test_) cmocka_unit_test_setup_teardown(test_, start_static, end)

int main(void) {
  const struct CMUnitTest tests[] = {
      ETCD(a_put_takes_a_node_on_the_ring_and_a_delete_takes_it_off),
      ETCD(a_burst_of_events_builds_one_ring),
      ETCD(this_node_is_on_its_ring_whatever_the_registry_says),
      ETCD(a_member_that_a_list_lacks_stays_while_it_answers),
      ETCD(a_member_that_a_list_lacks_goes_when_it_was_silent_for_a_lease),
      ETCD(a_member_that_is_listed_again_is_not_lacked),
      STATIC(silent_members_of_a_fixed_list_stay),
      ETCD(weights_come_from_the_registry_within_bounds),
      STATIC(weights_come_from_hello_where_the_list_is_fixed),
      ETCD(hostile_entries_of_the_registry_are_ignored),
      ETCD(a_node_of_another_service_is_refused),
      ETCD(a_stranger_who_says_hello_is_told_of_writes_but_not_on_the_ring),
      ETCD(our_own_hello_makes_no_peer),
      ETCD(versions_that_do_not_work_together_are_refused),
      ETCD(hostile_hellos_are_refused),
      ETCD(strangers_are_bounded_and_leave_room_for_members),
      ETCD(another_process_at_an_address_begins_anew),
      ETCD(an_address_that_is_up_is_not_taken_over_by_a_hello),
      ETCD(the_successor_of_a_node_that_leaves_is_taken_at_its_word),
      ETCD(a_node_that_leaves_stays_out_until_another_process_speaks_for_its_address),
      ETCD(a_hello_can_say_leaving),
      ETCD(nodes_lists_the_ring_and_who_is_leaving),
      ETCD(a_node_that_left_lists_itself_as_leaving_and_owns_nothing),
      STATIC(a_listed_address_that_is_ourselves_is_no_member),
      STATIC(a_listed_address_takes_the_name_that_the_node_advertises),
      STATIC(two_listed_addresses_of_one_node_are_one_member),
      ETCD(a_registered_address_where_another_answers_is_off_the_ring_until_its_own_node_does),
      ETCD(replies_that_make_no_sense_are_refused),
      ETCD(who_is_no_member_and_silent_for_ten_minutes_is_forgotten),
      ETCD(who_said_hello_and_never_answered_one_is_forgotten_in_a_minute),
      ETCD(slots_are_given_anew_when_the_last_view_has_let_go),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
