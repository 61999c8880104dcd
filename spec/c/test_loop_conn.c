#include "test_loop_owner.h"

#define HUGE_BYTES (8u << 20)

static void close_it(void *arg) {
  lc_conn_close(((struct owner *)arg)->conn, ((struct owner *)arg)->timeout_ms);
}

static uint8_t *pattern(size_t len) {
  uint8_t *data = malloc(len);
  for (size_t i = 0; i < len; i++)
    data[i] = (uint8_t)(i * 31 + (i >> 8) + (i >> 16));
  return data;
}

/* ---- reading and writing ---- */

static void a_reply_to_what_was_read_goes_out_without_a_flush(void **state) {
  struct owner owner = owner_new(*state);
  owner.echo = true;
  int fd = owner_join(&owner);
  char back[5] = {0};
  assert_true(send_all(fd, "hello", 5));
  assert_int_equal(recv_all(fd, back, 5), 5);
  assert_memory_equal(back, "hello", 5);
  owner_leave(&owner, fd);
  assert_int_equal(owner.reason, LC_OK);
}

/* Two connections that are read in one turn; each is answered with `len` bytes. */
struct twin {
  struct lc_conn *conn;
  struct twin *other;
  int fd, peer;
  size_t len;
  bool answered;
  int wait_ms;    /* for the other's reply, where it should be there */
  bool other_had; /* the other was read first, and its peer had the reply before this one was answered */
  struct gate *read, *closed;
};

static void twin_read(void *arg, const uint8_t *data, size_t len) {
  (void)data, (void)len;
  static const uint8_t zeroes[16384];
  struct twin *twin = arg;
  struct pollfd other = {.fd = twin->other->peer, .events = POLLIN};
  twin->other_had = twin->other->answered && poll(&other, 1, twin->wait_ms) == 1;
  lc_outq_append(lc_conn_out(twin->conn), zeroes, twin->len);
  twin->answered = true;
  gate_raise(twin->read);
}

static void twin_closed(void *arg, int reason) {
  (void)reason;
  gate_raise(((struct twin *)arg)->closed);
}

struct twins {
  struct lc_worker *worker;
  struct twin twin[2];
};

static void accept_and_ask_both(void *arg) {
  static const struct lc_conn_handler twin_handler = {.on_read = twin_read, .on_close = twin_closed};
  struct twins *twins = arg;
  for (int i = 0; i < 2; i++) {
    struct twin *twin = &twins->twin[i];
    assert_int_equal(lc_conn_accept(twins->worker, twin->fd, &twin_handler, twin, &twin->conn), 0);
    assert_true(send_all(twin->peer, "ask", 3));
  }
}

/* Whether the reply to the first one read was there when the second was read. */
static bool first_reply_was_early(struct lc_worker *worker, size_t len, int wait_ms) {
  struct gate read = GATE_INIT, closed = GATE_INIT;
  struct twins twins = {.worker = worker};
  uint16_t port;
  int listener = listen_socket(8, &port);
  char back[16384];
  for (int i = 0; i < 2; i++) {
    struct twin *twin = &twins.twin[i];
    *twin = (struct twin){.other = &twins.twin[1 - i], .len = len, .wait_ms = wait_ms};
    twin->read = &read;
    twin->closed = &closed;
    twin->peer = connect_socket(port);
    twin->fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
  }
  on_worker(worker, accept_and_ask_both, &twins);
  gate_wait(&read, 2);
  for (int i = 0; i < 2; i++)
    assert_int_equal(recv_all(twins.twin[i].peer, back, len), len);
  for (int i = 0; i < 2; i++)
    close(twins.twin[i].peer);
  gate_wait(&closed, 2);
  close(listener);
  return twins.twin[0].other_had || twins.twin[1].other_had;
}

static void short_replies_wait_until_all_connections_of_a_turn_were_read(void **state) {
  assert_false(first_reply_was_early(*state, 1000, 0));
  assert_true(first_reply_was_early(*state, 16384, 5000));
}

struct sender {
  int fd;
  const uint8_t *data;
  size_t len;
};

static void *send_thread(void *arg) {
  struct sender *sender = arg;
  send_all(sender->fd, sender->data, sender->len);
  return NULL;
}

static void megabytes_come_back_unchanged(void **state) {
  struct owner owner = owner_new(*state);
  owner.echo = true;
  int fd = owner_join(&owner);
  uint8_t *data = pattern(HUGE_BYTES), *back = malloc(HUGE_BYTES);
  struct sender sender = {fd, data, HUGE_BYTES};
  pthread_t thread;
  pthread_create(&thread, NULL, send_thread, &sender);
  assert_int_equal(recv_all(fd, back, HUGE_BYTES), HUGE_BYTES);
  pthread_join(thread, NULL);
  assert_memory_equal(data, back, HUGE_BYTES);
  free(data);
  free(back);
  owner_leave(&owner, fd);
}

static void large_output_is_asked_for_piece_by_piece(void **state) {
  struct owner owner = owner_new(*state);
  int fd = owner_join(&owner);
  uint8_t *data = pattern(HUGE_BYTES), *back = malloc(HUGE_BYTES);
  owner.supply = data;
  owner.supply_len = HUGE_BYTES;
  owner.piece = 64u << 10;
  on_worker(owner.worker, owner_supply_now, &owner);
  assert_int_equal(recv_all(fd, back, HUGE_BYTES), HUGE_BYTES);
  assert_memory_equal(data, back, HUGE_BYTES);
  free(data);
  free(back);
  owner_leave(&owner, fd);
  assert_true(owner.drains >= HUGE_BYTES / owner.piece);
}

struct late {
  struct owner *owner;
  size_t queued;
};

static void queue_and_flush_later(void *arg) {
  struct late *late = arg;
  lc_outq_append(lc_conn_out(late->owner->conn), "one ", 4);
  lc_conn_flush_later(late->owner->conn);
  lc_outq_append(lc_conn_out(late->owner->conn), "two ", 4);
  lc_conn_flush_later(late->owner->conn);
  late->queued = lc_conn_out(late->owner->conn)->bytes;
}

static void a_later_flush_asks_for_more_first_and_writes_once(void **state) {
  struct owner owner = owner_new(*state);
  int fd = owner_join(&owner);
  char back[13] = {0};
  owner.supply = (const uint8_t *)"three";
  owner.supply_len = owner.piece = 5;
  struct late late = {.owner = &owner};
  on_worker(owner.worker, queue_and_flush_later, &late);
  assert_int_equal(late.queued, 8);
  assert_int_equal(recv_all(fd, back, 13), 13);
  assert_memory_equal(back, "one two three", 13);
  owner_leave(&owner, fd);
  assert_int_equal(owner.drains, 1);
}

struct stuck {
  struct owner *owner;
  bool blocked;
  uint64_t since_ms;
  size_t queued, bytes_read;
  unsigned drains;
};

static void look_whether_stuck(void *arg) {
  struct stuck *stuck = arg;
  stuck->blocked = lc_conn_blocked(stuck->owner->conn);
  stuck->since_ms = lc_conn_stuck_since_ms(stuck->owner->conn);
  stuck->queued = lc_conn_out(stuck->owner->conn)->bytes;
  stuck->bytes_read = stuck->owner->bytes_read;
  stuck->drains = stuck->owner->drains;
}

static void a_slow_reader_blocks_the_output_until_it_reads(void **state) {
  struct owner owner = owner_new(*state);
  int fd = owner_join(&owner);
  uint8_t *data = pattern(HUGE_BYTES), *back = malloc(HUGE_BYTES);
  owner.supply = data;
  owner.supply_len = HUGE_BYTES;
  owner.piece = HUGE_BYTES;
  struct stuck stuck = {.owner = &owner};
  on_worker(owner.worker, look_whether_stuck, &stuck);
  assert_false(stuck.blocked);
  assert_int_equal(stuck.since_ms, 0);
  uint64_t before = lc_clock_ms();
  on_worker(owner.worker, owner_supply_now, &owner);
  on_worker(owner.worker, look_whether_stuck, &stuck);
  on_worker(owner.worker, look_whether_stuck, &stuck);
  assert_true(stuck.blocked);
  assert_true(stuck.queued > 0);
  assert_true(stuck.since_ms + 10 >= before && stuck.since_ms <= lc_clock_ms() + 10);
  assert_int_equal(stuck.drains, 2); /* owner_supply_now's, and that of its flush */
  assert_int_equal(recv_all(fd, back, HUGE_BYTES), HUGE_BYTES);
  gate_wait(&owner.drained, 3);
  assert_memory_equal(data, back, HUGE_BYTES);
  on_worker(owner.worker, look_whether_stuck, &stuck);
  assert_false(stuck.blocked);
  assert_int_equal(stuck.since_ms, 0);
  free(data);
  free(back);
  owner_leave(&owner, fd);
}

static void pause_it(void *arg) {
  lc_conn_pause(((struct owner *)arg)->conn, true);
}

static void resume_it(void *arg) {
  lc_conn_pause(((struct owner *)arg)->conn, false);
}

static void nothing_is_read_while_paused(void **state) {
  struct owner owner = owner_new(*state);
  owner.echo = true;
  int fd = owner_join(&owner);
  char back[4];
  on_worker(owner.worker, pause_it, &owner);
  assert_true(send_all(fd, "wait", 4));
  struct stuck stuck = {.owner = &owner};
  for (int turn = 0; turn < 50; turn++)
    on_worker(owner.worker, look_whether_stuck, &stuck);
  assert_int_equal(stuck.bytes_read, 0);
  on_worker(owner.worker, resume_it, &owner);
  assert_int_equal(recv_all(fd, back, 4), 4);
  owner_leave(&owner, fd);
}

static void look_at_peer(void *arg) {
  struct owner *owner = arg;
  snprintf(owner->error, sizeof owner->error, "%s", lc_conn_peer(owner->conn));
}

static void a_connection_knows_its_peer(void **state) {
  struct owner owner = owner_new(*state);
  int fd = owner_join(&owner);
  struct sockaddr_in addr;
  socklen_t len = sizeof addr;
  getsockname(fd, (struct sockaddr *)&addr, &len);
  char expected[32];
  snprintf(expected, sizeof expected, "127.0.0.1:%u", ntohs(addr.sin_port));
  on_worker(owner.worker, look_at_peer, &owner);
  assert_string_equal(owner.error, expected);
  owner_leave(&owner, fd);
}

/* ---- ending ---- */

static void a_peer_that_ends_its_half_still_gets_the_reply(void **state) {
  struct owner owner = owner_new(*state);
  owner.echo = true;
  int fd = owner_join(&owner);
  char back[8];
  assert_true(send_all(fd, "last", 4));
  shutdown(fd, SHUT_WR);
  assert_int_equal(recv_all(fd, back, sizeof back), 4);
  owner_leave(&owner, fd);
  assert_int_equal(owner.reason, LC_OK);
}

static void closing_sends_all_that_is_queued_then_ends(void **state) {
  struct owner owner = owner_new(*state);
  int fd = owner_join(&owner);
  uint8_t *data = pattern(HUGE_BYTES), *back = malloc(HUGE_BYTES + 1);
  owner.supply = data;
  owner.supply_len = owner.piece = HUGE_BYTES;
  owner.timeout_ms = 20000;
  on_worker(owner.worker, owner_supply_now, &owner);
  on_worker(owner.worker, close_it, &owner);
  assert_true(send_all(fd, "ignored", 7)); /* unread bytes must not turn the end into a reset */
  assert_int_equal(recv_all(fd, back, HUGE_BYTES + 1), HUGE_BYTES);
  assert_memory_equal(data, back, HUGE_BYTES);
  free(data);
  free(back);
  owner_leave(&owner, fd);
  assert_int_equal(owner.reason, LC_OK);
  assert_int_equal(owner.bytes_read, 0);
}

static void supply_and_close(void *arg) {
  owner_supply_now(arg);
  close_it(arg);
}

/* The kernel takes the megabyte at once; closing the socket with unread bytes in it would then drop most of it. */
static void bytes_that_nobody_read_do_not_cost_the_peer_our_last_ones(void **state) {
  struct owner owner = owner_new(*state);
  int fd = owner_join(&owner);
  size_t len = 1u << 20;
  uint8_t *data = pattern(len), *back = malloc(len);
  owner.supply = data;
  owner.supply_len = owner.piece = len;
  owner.timeout_ms = 20000;
  on_worker(owner.worker, pause_it, &owner);
  assert_true(send_all(fd, "unread", 6));
  on_worker(owner.worker, supply_and_close, &owner);
  assert_int_equal(recv_all(fd, back, len), len);
  assert_memory_equal(data, back, len);
  assert_int_equal(recv(fd, back, 1, 0), 0); /* an end, not a reset */
  free(data);
  free(back);
  owner_leave(&owner, fd);
  assert_int_equal(owner.reason, LC_OK);
}

static void closing_gives_up_on_a_peer_that_does_not_read(void **state) {
  struct owner owner = owner_new(*state);
  int fd = owner_join(&owner);
  uint8_t *data = pattern(HUGE_BYTES);
  owner.supply = data;
  owner.supply_len = owner.piece = HUGE_BYTES;
  owner.timeout_ms = 30;
  on_worker(owner.worker, owner_supply_now, &owner);
  on_worker(owner.worker, close_it, &owner);
  gate_wait(&owner.closed, 1);
  assert_int_equal(owner.reason, LC_EDEADLINE);
  free(data);
  close(fd);
}

static void closing_does_not_wait_long_for_a_peer_that_stays(void **state) {
  struct owner owner = owner_new(*state);
  owner.greeting = "bye";
  owner.timeout_ms = 30;
  int fd = owner_join(&owner);
  char back[4];
  on_worker(owner.worker, close_it, &owner);
  assert_int_equal(recv_all(fd, back, 4), 3);
  gate_wait(&owner.closed, 1);
  assert_int_equal(owner.reason, LC_OK);
  close(fd);
}

static void closing_inside_on_read_sends_the_reply(void **state) {
  struct owner owner = owner_new(*state);
  owner.echo = true;
  owner.close_on_read_ms = 20000;
  int fd = owner_join(&owner);
  char back[8];
  assert_true(send_all(fd, "once", 4));
  assert_int_equal(recv_all(fd, back, sizeof back), 4);
  owner_leave(&owner, fd);
  assert_int_equal(owner.reason, LC_OK);
}

static unsigned holds;

static void hold(void *arg) {
  (void)arg;
  holds++;
}

static void unhold(void *arg) {
  (void)arg;
  holds--;
}

static void queue_held_bytes(void *arg) {
  struct owner *owner = arg;
  static const struct lc_hold_ops ops = {hold, unhold};
  struct lc_slice bytes = lc_slice_of(owner->supply, owner->supply_len);
  owner->rc = lc_outq_append_ref(lc_conn_out(owner->conn), bytes, owner, &ops);
  lc_conn_flush_later(owner->conn);
}

static void aborting_resets_and_lets_go_of_the_output(void **state) {
  struct owner owner = owner_new(*state);
  int fd = owner_join(&owner);
  uint8_t *data = pattern(HUGE_BYTES);
  owner.supply = data;
  owner.supply_len = HUGE_BYTES;
  on_worker(owner.worker, queue_held_bytes, &owner);
  struct stuck stuck = {.owner = &owner};
  on_worker(owner.worker, look_whether_stuck, &stuck);
  assert_int_equal(holds, 1);
  on_worker(owner.worker, owner_abort, &owner);
  gate_wait(&owner.closed, 1);
  assert_int_equal(owner.reason, LC_ECANCELLED);
  assert_int_equal(holds, 0);
  assert_true(recv_all(fd, data, HUGE_BYTES) < HUGE_BYTES);
  free(data);
  close(fd);
}

static void aborting_inside_on_read_is_fine(void **state) {
  struct owner owner = owner_new(*state);
  owner.echo = owner.abort_on_read = true;
  int fd = owner_join(&owner);
  assert_true(send_all(fd, "x", 1));
  char back;
  assert_int_equal(recv_all(fd, &back, 1), 0);
  owner_leave(&owner, fd);
  assert_int_equal(owner.reason, LC_ECANCELLED);
}

static void abort_at_next_drain(void *arg) {
  ((struct owner *)arg)->abort_on_drain = true;
}

static void aborting_inside_on_drain_is_fine(void **state) {
  struct owner owner = owner_new(*state);
  int fd = owner_join(&owner);
  uint8_t *data = pattern(HUGE_BYTES);
  owner.supply = data;
  owner.supply_len = owner.piece = HUGE_BYTES;
  on_worker(owner.worker, owner_supply_now, &owner);
  on_worker(owner.worker, abort_at_next_drain, &owner);
  recv_all(fd, data, HUGE_BYTES);
  owner_leave(&owner, fd);
  assert_int_equal(owner.reason, LC_ECANCELLED);
  free(data);
}

static void a_reset_by_the_peer_is_an_error(void **state) {
  struct owner owner = owner_new(*state);
  int fd = owner_join(&owner);
  struct linger reset = {.l_onoff = 1};
  setsockopt(fd, SOL_SOCKET, SO_LINGER, &reset, sizeof reset);
  owner_leave(&owner, fd);
  assert_int_equal(owner.reason, LC_EIO);
}

/* ---- no memory ---- */

static void accepting_survives_each_failed_allocation(void **state) {
  if (!lc_alloc_faults_built())
    skip();
  for (size_t n = 1;; n++) {
    struct starved starved = {.owner = owner_new(*state), .n = n, .start = owner_accept};
    uint16_t port;
    int listener = listen_socket(8, &port);
    int fd = connect_socket(port);
    starved.owner.fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
    close(listener);
    on_worker(starved.owner.worker, owner_start_starved, &starved);
    char end;
    if (starved.owner.rc == 0) {
      assert_true(n > 1);
      owner_leave(&starved.owner, fd);
      return;
    }
    assert_int_equal(starved.owner.rc, LC_ENOMEM);
    assert_int_equal(recv_all(fd, &end, 1), 0); /* closed */
    close(fd);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(a_reply_to_what_was_read_goes_out_without_a_flush),
      cmocka_unit_test(short_replies_wait_until_all_connections_of_a_turn_were_read),
      cmocka_unit_test(megabytes_come_back_unchanged),
      cmocka_unit_test(large_output_is_asked_for_piece_by_piece),
      cmocka_unit_test(a_later_flush_asks_for_more_first_and_writes_once),
      cmocka_unit_test(a_slow_reader_blocks_the_output_until_it_reads),
      cmocka_unit_test(nothing_is_read_while_paused),
      cmocka_unit_test(a_connection_knows_its_peer),
      cmocka_unit_test(a_peer_that_ends_its_half_still_gets_the_reply),
      cmocka_unit_test(closing_sends_all_that_is_queued_then_ends),
      cmocka_unit_test(bytes_that_nobody_read_do_not_cost_the_peer_our_last_ones),
      cmocka_unit_test(closing_gives_up_on_a_peer_that_does_not_read),
      cmocka_unit_test(closing_does_not_wait_long_for_a_peer_that_stays),
      cmocka_unit_test(closing_inside_on_read_sends_the_reply),
      cmocka_unit_test(aborting_resets_and_lets_go_of_the_output),
      cmocka_unit_test(aborting_inside_on_read_is_fine),
      cmocka_unit_test(aborting_inside_on_drain_is_fine),
      cmocka_unit_test(a_reset_by_the_peer_is_an_error),
      cmocka_unit_test(accepting_survives_each_failed_allocation),
  };
  return cmocka_run_group_tests(tests, owner_setup, owner_teardown);
}
