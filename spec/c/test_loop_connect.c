#include "test_loop_owner.h"

static void connect_to(struct owner *owner, const char *host, uint16_t port, uint64_t timeout_ms) {
  snprintf(owner->address.host, sizeof owner->address.host, "%s", host);
  owner->address.port = port;
  owner->timeout_ms = timeout_ms;
  on_worker(owner->worker, owner_connect, owner);
  assert_int_equal(owner->rc, 0);
}

static void check_connects(struct lc_worker *worker, const char *host) {
  struct owner owner = owner_new(worker);
  owner.greeting = "hello";
  uint16_t port;
  int listener = listen_socket(8, &port);
  connect_to(&owner, host, port, 20000);
  int fd = accept(listener, NULL, NULL);
  char back[5];
  assert_int_equal(recv_all(fd, back, 5), 5);
  gate_wait(&owner.connected, 1);
  assert_int_equal(owner.connect_code, LC_OK);
  assert_string_equal(owner.error, "");
  gate_wait(&owner.drained, 1); /* connecting counts as blocked */
  close(listener);
  owner_leave(&owner, fd);
  assert_int_equal(owner.reason, LC_OK);
}

static void connecting_sends_what_was_queued_before(void **state) {
  check_connects(*state, "127.0.0.1");
}

/* The name's IPv6 address, where it has one, refuses: the next is tried. */
static void connecting_by_name_tries_its_addresses(void **state) {
  check_connects(*state, "localhost");
}

static void a_refused_connection_says_so_and_closes(void **state) {
  struct owner owner = owner_new(*state);
  uint16_t port;
  close(listen_socket(1, &port));
  connect_to(&owner, "127.0.0.1", port, 20000);
  gate_wait(&owner.closed, 1);
  assert_int_equal(owner.connect_code, LC_EUNAVAILABLE);
  assert_int_equal(owner.reason, LC_EUNAVAILABLE);
  assert_string_equal(owner.error, "connection refused");
}

/* A socket whose backlog is full answers no further SYN. */
static int full_listener(uint16_t *port, int fillers[4]) {
  int listener = listen_socket(0, port);
  for (int i = 0; i < 4; i++) {
    struct sockaddr_in addr = {
        .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK), .sin_port = htons(*port)};
    fillers[i] = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    (void)connect(fillers[i], (struct sockaddr *)&addr, sizeof addr);
  }
  return listener;
}

static void close_full_listener(int listener, const int fillers[4]) {
  for (int i = 0; i < 4; i++)
    close(fillers[i]);
  close(listener);
}

static void connecting_times_out(void **state) {
  struct owner owner = owner_new(*state);
  uint16_t port;
  int fillers[4], listener = full_listener(&port, fillers);
  connect_to(&owner, "127.0.0.1", port, 50);
  gate_wait(&owner.closed, 1);
  close_full_listener(listener, fillers);
  assert_int_equal(owner.connect_code, LC_EDEADLINE);
  assert_int_equal(owner.reason, LC_EDEADLINE);
  assert_string_equal(owner.error, "connection timed out");
}

static void aborting_while_connecting_calls_on_close_only(void **state) {
  struct owner owner = owner_new(*state);
  uint16_t port;
  int fillers[4], listener = full_listener(&port, fillers);
  connect_to(&owner, "127.0.0.1", port, 20000);
  on_worker(owner.worker, owner_abort, &owner);
  gate_wait(&owner.closed, 1);
  close_full_listener(listener, fillers);
  assert_int_equal(owner.connect_code, 99);
  assert_int_equal(owner.reason, LC_ECANCELLED);
}

static void connect_and_abort(void *arg) {
  owner_connect(arg);
  owner_abort(arg);
}

static void aborting_while_a_name_is_looked_up_calls_on_close_only(void **state) {
  struct owner owner = owner_new(*state);
  owner.address = (struct lc_address){"localhost", 1};
  owner.timeout_ms = 20000;
  on_worker(owner.worker, connect_and_abort, &owner);
  gate_wait(&owner.closed, 1);
  assert_int_equal(owner.connect_code, 99);
  assert_int_equal(owner.reason, LC_ECANCELLED);
}

static void aborting_inside_on_connect_is_fine(void **state) {
  struct owner owner = owner_new(*state);
  owner.abort_on_connect = true;
  uint16_t port;
  int listener = listen_socket(8, &port);
  connect_to(&owner, "127.0.0.1", port, 20000);
  gate_wait(&owner.closed, 1);
  assert_int_equal(owner.reason, LC_ECANCELLED);
  close(listener);
}

static void an_address_out_of_reach_is_told_by_on_connect(void **state) {
  struct owner owner = owner_new(*state);
  connect_to(&owner, "255.255.255.255", 9, 20000);
  gate_wait(&owner.closed, 1);
  assert_int_equal(owner.connect_code, LC_EUNAVAILABLE);
}

static void connecting_survives_each_failed_allocation(void **state) {
  if (!lc_alloc_faults_built())
    skip();
  uint16_t port;
  close(listen_socket(8, &port));
  for (size_t n = 1;; n++) {
    struct starved starved = {.owner = owner_new(*state), .n = n, .start = owner_connect};
    starved.owner.address = (struct lc_address){"localhost", port};
    starved.owner.timeout_ms = 20000;
    on_worker(starved.owner.worker, owner_start_starved, &starved);
    if (starved.owner.rc == 0) {
      assert_true(n > 2);
      gate_wait(&starved.owner.closed, 1);
      return;
    }
    assert_int_equal(starved.owner.rc, LC_ENOMEM);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(connecting_sends_what_was_queued_before),
      cmocka_unit_test(connecting_by_name_tries_its_addresses),
      cmocka_unit_test(a_refused_connection_says_so_and_closes),
      cmocka_unit_test(connecting_times_out),
      cmocka_unit_test(aborting_while_connecting_calls_on_close_only),
      cmocka_unit_test(aborting_while_a_name_is_looked_up_calls_on_close_only),
      cmocka_unit_test(aborting_inside_on_connect_is_fine),
      cmocka_unit_test(an_address_out_of_reach_is_told_by_on_connect),
      cmocka_unit_test(connecting_survives_each_failed_allocation),
  };
  return cmocka_run_group_tests(tests, owner_setup, owner_teardown);
}
