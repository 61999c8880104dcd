#include "test_loop_support.h"

#include "loop/conn.h"

#define HUGE_BYTES (8u << 20)

/* The owner of a connection on the worker; the test's thread is the other side, or looks at it by on_worker. */
struct owner {
  struct lc_worker *worker;
  struct lc_conn *conn;
  int fd; /* to accept */
  int rc;
  struct lc_address address;
  uint64_t timeout_ms;
  bool echo, abort_on_read, abort_on_connect, abort_on_drain;
  uint64_t close_on_read_ms; /* non-zero: linger */
  const char *greeting;      /* queued before the connection stands */
  const uint8_t *supply;     /* given out by on_drain, in pieces */
  size_t supply_len, piece;

  int connect_code, reason;
  char error[64];
  size_t bytes_read;
  unsigned drains;
  struct gate connected, read, drained, closed;
};

static struct owner new_owner(struct lc_worker *worker) {
  return (struct owner){.worker = worker,
                        .connect_code = 99,
                        .connected = GATE_INIT,
                        .read = GATE_INIT,
                        .drained = GATE_INIT,
                        .closed = GATE_INIT};
}

static void on_connect(void *arg, int code) {
  struct owner *owner = arg;
  owner->connect_code = code;
  snprintf(owner->error, sizeof owner->error, "%s", lc_conn_error(owner->conn));
  if (owner->abort_on_connect)
    lc_conn_abort(owner->conn);
  gate_raise(&owner->connected);
}

static void on_read(void *arg, const uint8_t *data, size_t len) {
  struct owner *owner = arg;
  owner->bytes_read += len;
  if (owner->echo)
    lc_outq_append(lc_conn_out(owner->conn), data, len);
  if (owner->close_on_read_ms != 0)
    lc_conn_close(owner->conn, owner->close_on_read_ms);
  if (owner->abort_on_read)
    lc_conn_abort(owner->conn);
  gate_raise(&owner->read);
}

static void on_drain(void *arg) {
  struct owner *owner = arg;
  owner->drains++;
  if (owner->abort_on_drain)
    lc_conn_abort(owner->conn);
  size_t len = owner->supply_len < owner->piece ? owner->supply_len : owner->piece;
  lc_outq_append(lc_conn_out(owner->conn), owner->supply, len);
  owner->supply += len;
  owner->supply_len -= len;
  gate_raise(&owner->drained);
}

static void on_close(void *arg, int reason) {
  struct owner *owner = arg;
  owner->reason = reason;
  owner->conn = NULL;
  gate_raise(&owner->closed);
}

static const struct lc_conn_handler handler = {on_connect, on_read, on_drain, on_close};

static void accept_it(void *arg) {
  struct owner *owner = arg;
  owner->rc = lc_conn_accept(owner->worker, owner->fd, &handler, owner, &owner->conn);
  if (owner->rc == 0 && owner->greeting != NULL) {
    lc_outq_append(lc_conn_out(owner->conn), owner->greeting, strlen(owner->greeting));
    lc_conn_flush_later(owner->conn);
  }
}

static void connect_it(void *arg) {
  struct owner *owner = arg;
  owner->rc = lc_conn_connect(owner->worker, &owner->address, owner->timeout_ms, &handler, owner, &owner->conn);
  if (owner->rc == 0 && owner->greeting != NULL) {
    lc_outq_append(lc_conn_out(owner->conn), owner->greeting, strlen(owner->greeting));
  }
}

/* Returns our end of a connection whose other end the owner has. */
static int join(struct owner *owner) {
  uint16_t port;
  int listener = listen_socket(8, &port);
  int fd = connect_socket(port);
  owner->fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
  close(listener);
  on_worker(owner->worker, accept_it, owner);
  assert_int_equal(owner->rc, 0);
  return fd;
}

static void abort_it(void *arg) {
  lc_conn_abort(((struct owner *)arg)->conn);
}

static void close_it(void *arg) {
  lc_conn_close(((struct owner *)arg)->conn, ((struct owner *)arg)->timeout_ms);
}

static void leave(struct owner *owner, int fd) {
  if (fd >= 0)
    close(fd);
  gate_wait(&owner->closed, 1);
}

static uint8_t *pattern(size_t len) {
  uint8_t *data = malloc(len);
  for (size_t i = 0; i < len; i++)
    data[i] = (uint8_t)(i * 31 + (i >> 8) + (i >> 16));
  return data;
}

/* ---- reading and writing ---- */

static void a_reply_to_what_was_read_goes_out_without_a_flush(void **state) {
  struct owner owner = new_owner(*state);
  owner.echo = true;
  int fd = join(&owner);
  char back[5] = {0};
  assert_true(send_all(fd, "hello", 5));
  assert_int_equal(recv_all(fd, back, 5), 5);
  assert_memory_equal(back, "hello", 5);
  leave(&owner, fd);
  assert_int_equal(owner.reason, LC_OK);
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
  struct owner owner = new_owner(*state);
  owner.echo = true;
  int fd = join(&owner);
  uint8_t *data = pattern(HUGE_BYTES), *back = malloc(HUGE_BYTES);
  struct sender sender = {fd, data, HUGE_BYTES};
  pthread_t thread;
  pthread_create(&thread, NULL, send_thread, &sender);
  assert_int_equal(recv_all(fd, back, HUGE_BYTES), HUGE_BYTES);
  pthread_join(thread, NULL);
  assert_memory_equal(data, back, HUGE_BYTES);
  free(data);
  free(back);
  leave(&owner, fd);
}

static void supply_now(void *arg) {
  struct owner *owner = arg;
  on_drain(owner);
  lc_conn_flush_later(owner->conn);
}

static void large_output_is_asked_for_piece_by_piece(void **state) {
  struct owner owner = new_owner(*state);
  int fd = join(&owner);
  uint8_t *data = pattern(HUGE_BYTES), *back = malloc(HUGE_BYTES);
  owner.supply = data;
  owner.supply_len = HUGE_BYTES;
  owner.piece = 64u << 10;
  on_worker(owner.worker, supply_now, &owner);
  assert_int_equal(recv_all(fd, back, HUGE_BYTES), HUGE_BYTES);
  assert_memory_equal(data, back, HUGE_BYTES);
  free(data);
  free(back);
  leave(&owner, fd);
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
  struct owner owner = new_owner(*state);
  int fd = join(&owner);
  char back[13] = {0};
  owner.supply = (const uint8_t *)"three";
  owner.supply_len = owner.piece = 5;
  struct late late = {.owner = &owner};
  on_worker(owner.worker, queue_and_flush_later, &late);
  assert_int_equal(late.queued, 8);
  assert_int_equal(recv_all(fd, back, 13), 13);
  assert_memory_equal(back, "one two three", 13);
  leave(&owner, fd);
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
  struct owner owner = new_owner(*state);
  int fd = join(&owner);
  uint8_t *data = pattern(HUGE_BYTES), *back = malloc(HUGE_BYTES);
  owner.supply = data;
  owner.supply_len = HUGE_BYTES;
  owner.piece = HUGE_BYTES;
  struct stuck stuck = {.owner = &owner};
  on_worker(owner.worker, look_whether_stuck, &stuck);
  assert_false(stuck.blocked);
  assert_int_equal(stuck.since_ms, 0);
  uint64_t before = lc_clock_ms();
  on_worker(owner.worker, supply_now, &owner);
  on_worker(owner.worker, look_whether_stuck, &stuck);
  on_worker(owner.worker, look_whether_stuck, &stuck);
  assert_true(stuck.blocked);
  assert_true(stuck.queued > 0);
  assert_true(stuck.since_ms + 10 >= before && stuck.since_ms <= lc_clock_ms() + 10);
  assert_int_equal(stuck.drains, 2); /* supply_now's, and that of its flush */
  assert_int_equal(recv_all(fd, back, HUGE_BYTES), HUGE_BYTES);
  gate_wait(&owner.drained, 3);
  assert_memory_equal(data, back, HUGE_BYTES);
  on_worker(owner.worker, look_whether_stuck, &stuck);
  assert_false(stuck.blocked);
  assert_int_equal(stuck.since_ms, 0);
  free(data);
  free(back);
  leave(&owner, fd);
}

static void pause_it(void *arg) {
  lc_conn_pause(((struct owner *)arg)->conn, true);
}

static void resume_it(void *arg) {
  lc_conn_pause(((struct owner *)arg)->conn, false);
}

static void nothing_is_read_while_paused(void **state) {
  struct owner owner = new_owner(*state);
  owner.echo = true;
  int fd = join(&owner);
  char back[4];
  on_worker(owner.worker, pause_it, &owner);
  assert_true(send_all(fd, "wait", 4));
  struct stuck stuck = {.owner = &owner};
  for (int turn = 0; turn < 50; turn++)
    on_worker(owner.worker, look_whether_stuck, &stuck);
  assert_int_equal(stuck.bytes_read, 0);
  on_worker(owner.worker, resume_it, &owner);
  assert_int_equal(recv_all(fd, back, 4), 4);
  leave(&owner, fd);
}

static void look_at_peer(void *arg) {
  struct owner *owner = arg;
  snprintf(owner->error, sizeof owner->error, "%s", lc_conn_peer(owner->conn));
}

static void a_connection_knows_its_peer(void **state) {
  struct owner owner = new_owner(*state);
  int fd = join(&owner);
  struct sockaddr_in addr;
  socklen_t len = sizeof addr;
  getsockname(fd, (struct sockaddr *)&addr, &len);
  char expected[32];
  snprintf(expected, sizeof expected, "127.0.0.1:%u", ntohs(addr.sin_port));
  on_worker(owner.worker, look_at_peer, &owner);
  assert_string_equal(owner.error, expected);
  leave(&owner, fd);
}

/* ---- ending ---- */

static void a_peer_that_ends_its_half_still_gets_the_reply(void **state) {
  struct owner owner = new_owner(*state);
  owner.echo = true;
  int fd = join(&owner);
  char back[8];
  assert_true(send_all(fd, "last", 4));
  shutdown(fd, SHUT_WR);
  assert_int_equal(recv_all(fd, back, sizeof back), 4);
  leave(&owner, fd);
  assert_int_equal(owner.reason, LC_OK);
}

static void closing_sends_all_that_is_queued_then_ends(void **state) {
  struct owner owner = new_owner(*state);
  int fd = join(&owner);
  uint8_t *data = pattern(HUGE_BYTES), *back = malloc(HUGE_BYTES + 1);
  owner.supply = data;
  owner.supply_len = owner.piece = HUGE_BYTES;
  owner.timeout_ms = 20000;
  on_worker(owner.worker, supply_now, &owner);
  on_worker(owner.worker, close_it, &owner);
  assert_true(send_all(fd, "ignored", 7)); /* unread bytes must not turn the end into a reset */
  assert_int_equal(recv_all(fd, back, HUGE_BYTES + 1), HUGE_BYTES);
  assert_memory_equal(data, back, HUGE_BYTES);
  free(data);
  free(back);
  leave(&owner, fd);
  assert_int_equal(owner.reason, LC_OK);
  assert_int_equal(owner.bytes_read, 0);
}

static void supply_and_close(void *arg) {
  supply_now(arg);
  close_it(arg);
}

/* The kernel takes the megabyte at once; closing the socket with unread bytes in it would then drop most of it. */
static void bytes_that_nobody_read_do_not_cost_the_peer_our_last_ones(void **state) {
  struct owner owner = new_owner(*state);
  int fd = join(&owner);
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
  leave(&owner, fd);
  assert_int_equal(owner.reason, LC_OK);
}

static void closing_gives_up_on_a_peer_that_does_not_read(void **state) {
  struct owner owner = new_owner(*state);
  int fd = join(&owner);
  uint8_t *data = pattern(HUGE_BYTES);
  owner.supply = data;
  owner.supply_len = owner.piece = HUGE_BYTES;
  owner.timeout_ms = 30;
  on_worker(owner.worker, supply_now, &owner);
  on_worker(owner.worker, close_it, &owner);
  gate_wait(&owner.closed, 1);
  assert_int_equal(owner.reason, LC_EDEADLINE);
  free(data);
  close(fd);
}

static void closing_does_not_wait_long_for_a_peer_that_stays(void **state) {
  struct owner owner = new_owner(*state);
  owner.greeting = "bye";
  owner.timeout_ms = 30;
  int fd = join(&owner);
  char back[4];
  on_worker(owner.worker, close_it, &owner);
  assert_int_equal(recv_all(fd, back, 4), 3);
  gate_wait(&owner.closed, 1);
  assert_int_equal(owner.reason, LC_OK);
  close(fd);
}

static void closing_inside_on_read_sends_the_reply(void **state) {
  struct owner owner = new_owner(*state);
  owner.echo = true;
  owner.close_on_read_ms = 20000;
  int fd = join(&owner);
  char back[8];
  assert_true(send_all(fd, "once", 4));
  assert_int_equal(recv_all(fd, back, sizeof back), 4);
  leave(&owner, fd);
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
  struct owner owner = new_owner(*state);
  int fd = join(&owner);
  uint8_t *data = pattern(HUGE_BYTES);
  owner.supply = data;
  owner.supply_len = HUGE_BYTES;
  on_worker(owner.worker, queue_held_bytes, &owner);
  struct stuck stuck = {.owner = &owner};
  on_worker(owner.worker, look_whether_stuck, &stuck);
  assert_int_equal(holds, 1);
  on_worker(owner.worker, abort_it, &owner);
  gate_wait(&owner.closed, 1);
  assert_int_equal(owner.reason, LC_ECANCELLED);
  assert_int_equal(holds, 0);
  assert_true(recv_all(fd, data, HUGE_BYTES) < HUGE_BYTES);
  free(data);
  close(fd);
}

static void aborting_inside_on_read_is_fine(void **state) {
  struct owner owner = new_owner(*state);
  owner.echo = owner.abort_on_read = true;
  int fd = join(&owner);
  assert_true(send_all(fd, "x", 1));
  char back;
  assert_int_equal(recv_all(fd, &back, 1), 0);
  leave(&owner, fd);
  assert_int_equal(owner.reason, LC_ECANCELLED);
}

static void abort_at_next_drain(void *arg) {
  ((struct owner *)arg)->abort_on_drain = true;
}

static void aborting_inside_on_drain_is_fine(void **state) {
  struct owner owner = new_owner(*state);
  int fd = join(&owner);
  uint8_t *data = pattern(HUGE_BYTES);
  owner.supply = data;
  owner.supply_len = owner.piece = HUGE_BYTES;
  on_worker(owner.worker, supply_now, &owner);
  on_worker(owner.worker, abort_at_next_drain, &owner);
  recv_all(fd, data, HUGE_BYTES);
  leave(&owner, fd);
  assert_int_equal(owner.reason, LC_ECANCELLED);
  free(data);
}

static void a_reset_by_the_peer_is_an_error(void **state) {
  struct owner owner = new_owner(*state);
  int fd = join(&owner);
  struct linger reset = {.l_onoff = 1};
  setsockopt(fd, SOL_SOCKET, SO_LINGER, &reset, sizeof reset);
  leave(&owner, fd);
  assert_int_equal(owner.reason, LC_EIO);
}

/* ---- connecting ---- */

static void connect_to(struct owner *owner, const char *host, uint16_t port, uint64_t timeout_ms) {
  snprintf(owner->address.host, sizeof owner->address.host, "%s", host);
  owner->address.port = port;
  owner->timeout_ms = timeout_ms;
  on_worker(owner->worker, connect_it, owner);
  assert_int_equal(owner->rc, 0);
}

static void check_connects(struct lc_worker *worker, const char *host) {
  struct owner owner = new_owner(worker);
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
  leave(&owner, fd);
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
  struct owner owner = new_owner(*state);
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
  struct owner owner = new_owner(*state);
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
  struct owner owner = new_owner(*state);
  uint16_t port;
  int fillers[4], listener = full_listener(&port, fillers);
  connect_to(&owner, "127.0.0.1", port, 20000);
  on_worker(owner.worker, abort_it, &owner);
  gate_wait(&owner.closed, 1);
  close_full_listener(listener, fillers);
  assert_int_equal(owner.connect_code, 99);
  assert_int_equal(owner.reason, LC_ECANCELLED);
}

static void connect_and_abort(void *arg) {
  connect_it(arg);
  abort_it(arg);
}

static void aborting_while_a_name_is_looked_up_calls_on_close_only(void **state) {
  struct owner owner = new_owner(*state);
  owner.address = (struct lc_address){"localhost", 1};
  owner.timeout_ms = 20000;
  on_worker(owner.worker, connect_and_abort, &owner);
  gate_wait(&owner.closed, 1);
  assert_int_equal(owner.connect_code, 99);
  assert_int_equal(owner.reason, LC_ECANCELLED);
}

static void aborting_inside_on_connect_is_fine(void **state) {
  struct owner owner = new_owner(*state);
  owner.abort_on_connect = true;
  uint16_t port;
  int listener = listen_socket(8, &port);
  connect_to(&owner, "127.0.0.1", port, 20000);
  gate_wait(&owner.closed, 1);
  assert_int_equal(owner.reason, LC_ECANCELLED);
  close(listener);
}

static void an_address_out_of_reach_is_told_by_on_connect(void **state) {
  struct owner owner = new_owner(*state);
  connect_to(&owner, "255.255.255.255", 9, 20000);
  gate_wait(&owner.closed, 1);
  assert_int_equal(owner.connect_code, LC_EUNAVAILABLE);
}

/* ---- no memory ---- */

struct starved {
  struct owner owner;
  size_t n;
  void (*start)(void *arg);
};

static void start_starved(void *arg) {
  struct starved *starved = arg;
  lc_alloc_fail_at(starved->n);
  starved->start(&starved->owner);
  lc_alloc_fail_at(0);
}

static void accepting_survives_each_failed_allocation(void **state) {
  if (!lc_alloc_faults_built())
    skip();
  for (size_t n = 1;; n++) {
    struct starved starved = {.owner = new_owner(*state), .n = n, .start = accept_it};
    uint16_t port;
    int listener = listen_socket(8, &port);
    int fd = connect_socket(port);
    starved.owner.fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
    close(listener);
    on_worker(starved.owner.worker, start_starved, &starved);
    char end;
    if (starved.owner.rc == 0) {
      assert_true(n > 1);
      leave(&starved.owner, fd);
      return;
    }
    assert_int_equal(starved.owner.rc, LC_ENOMEM);
    assert_int_equal(recv_all(fd, &end, 1), 0); /* closed */
    close(fd);
  }
}

static void connecting_survives_each_failed_allocation(void **state) {
  if (!lc_alloc_faults_built())
    skip();
  uint16_t port;
  close(listen_socket(8, &port));
  for (size_t n = 1;; n++) {
    struct starved starved = {.owner = new_owner(*state), .n = n, .start = connect_it};
    starved.owner.address = (struct lc_address){"localhost", port};
    starved.owner.timeout_ms = 20000;
    on_worker(starved.owner.worker, start_starved, &starved);
    if (starved.owner.rc == 0) {
      assert_true(n > 2);
      gate_wait(&starved.owner.closed, 1);
      return;
    }
    assert_int_equal(starved.owner.rc, LC_ENOMEM);
  }
}

static int setup(void **state) {
  *state = start_worker(0);
  return 0;
}

static int teardown(void **state) {
  end_worker(*state);
  return 0;
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(a_reply_to_what_was_read_goes_out_without_a_flush),
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
      cmocka_unit_test(connecting_sends_what_was_queued_before),
      cmocka_unit_test(connecting_by_name_tries_its_addresses),
      cmocka_unit_test(a_refused_connection_says_so_and_closes),
      cmocka_unit_test(connecting_times_out),
      cmocka_unit_test(aborting_while_connecting_calls_on_close_only),
      cmocka_unit_test(aborting_while_a_name_is_looked_up_calls_on_close_only),
      cmocka_unit_test(aborting_inside_on_connect_is_fine),
      cmocka_unit_test(an_address_out_of_reach_is_told_by_on_connect),
      cmocka_unit_test(accepting_survives_each_failed_allocation),
      cmocka_unit_test(connecting_survives_each_failed_allocation),
  };
  return cmocka_run_group_tests(tests, setup, teardown);
}
