#include "test_loop_owner.h"

struct owner owner_new(struct lc_worker *worker) {
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

void owner_accept(void *arg) {
  struct owner *owner = arg;
  owner->rc = lc_conn_accept(owner->worker, owner->fd, &handler, owner, &owner->conn);
  if (owner->rc == 0 && owner->greeting != NULL) {
    lc_outq_append(lc_conn_out(owner->conn), owner->greeting, strlen(owner->greeting));
    lc_conn_flush_later(owner->conn);
  }
}

void owner_connect(void *arg) {
  struct owner *owner = arg;
  owner->rc = lc_conn_connect(owner->worker, &owner->address, owner->timeout_ms, &handler, owner, &owner->conn);
  if (owner->rc == 0 && owner->greeting != NULL) {
    lc_outq_append(lc_conn_out(owner->conn), owner->greeting, strlen(owner->greeting));
  }
}

int owner_join(struct owner *owner) {
  uint16_t port;
  int listener = listen_socket(8, &port);
  int fd = connect_socket(port);
  owner->fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
  close(listener);
  on_worker(owner->worker, owner_accept, owner);
  assert_int_equal(owner->rc, 0);
  return fd;
}

void owner_abort(void *arg) {
  lc_conn_abort(((struct owner *)arg)->conn);
}

void owner_supply_now(void *arg) {
  struct owner *owner = arg;
  on_drain(owner);
  lc_conn_flush_later(owner->conn);
}

void owner_leave(struct owner *owner, int fd) {
  if (fd >= 0)
    close(fd);
  gate_wait(&owner->closed, 1);
}

void owner_start_starved(void *arg) {
  struct starved *starved = arg;
  lc_alloc_fail_at(starved->n);
  starved->start(&starved->owner);
  lc_alloc_fail_at(0);
}

int owner_setup(void **state) {
  *state = start_worker(0);
  return 0;
}

int owner_teardown(void **state) {
  end_worker(*state);
  return 0;
}
