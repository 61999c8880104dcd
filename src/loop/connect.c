#include <stdio.h>

#include "base/alloc.h"
#include "loop/conn_state.h"

void lc_conn_forget_resolve(struct lc_conn *conn) {
  if (conn->resolve != NULL)
    conn->resolve->conn = NULL;
  conn->resolve = NULL;
}

/* This address is no good: libuv's handle must be closed and made anew for the next, if there is one. */
static void on_attempt_closed(uv_handle_t *handle);

static void give_up_attempt(struct lc_conn *conn, int uv_err) {
  conn->uv_err = uv_err;
  uv_close((uv_handle_t *)&conn->tcp, on_attempt_closed);
}

static void on_connected(uv_connect_t *connect, int status) {
  struct lc_conn *conn = connect->data;
  if (conn->state == LC_CONN_CLOSED || uv_is_closing((uv_handle_t *)&conn->tcp))
    return;
  if (status == 0)
    status = lc_conn_begin_reading(conn);
  if (status != 0) {
    conn->state = LC_CONN_CONNECTING;
    give_up_attempt(conn, status);
    return;
  }
  conn->uv_err = 0;
  lc_timer_stop(lc_worker_timers(conn->worker), &conn->timer);
  if (conn->handler->on_connect != NULL)
    conn->handler->on_connect(conn->arg, LC_OK);
  lc_conn_begin_writing(conn);
}

static void attempt(struct lc_conn *conn, const struct sockaddr *addr) {
  conn->connect.data = conn;
  int rc = uv_tcp_connect(&conn->connect, &conn->tcp, addr, on_connected);
  if (rc != 0)
    give_up_attempt(conn, rc);
}

static void attempt_next(struct lc_conn *conn) {
  struct addrinfo *next = conn->next_address;
  conn->next_address = next->ai_next;
  attempt(conn, next->ai_addr);
}

static int connect_code(int uv_err) {
  switch (uv_err) {
  case UV_ETIMEDOUT:
    return LC_EDEADLINE;
  case UV_ENOMEM:
    return LC_ENOMEM;
  default:
    return LC_EUNAVAILABLE;
  }
}

static void on_attempt_closed(uv_handle_t *handle) {
  struct lc_conn *conn = handle->data;
  if (conn->state == LC_CONN_CONNECTING && conn->next_address != NULL) {
    uv_tcp_init(lc_worker_loop(conn->worker), &conn->tcp);
    attempt_next(conn);
    return;
  }
  if (conn->state == LC_CONN_CONNECTING) {
    conn->state = LC_CONN_CLOSED;
    conn->reason = connect_code(conn->uv_err);
    if (conn->handler->on_connect != NULL)
      conn->handler->on_connect(conn->arg, conn->reason);
  }
  lc_conn_finish(conn);
}

static void on_resolved(uv_getaddrinfo_t *req, int status, struct addrinfo *addresses) {
  struct lc_resolve *resolve = lc_container_of(req, struct lc_resolve, req);
  struct lc_conn *conn = resolve->conn;
  lc_free(resolve);
  if (conn == NULL) {
    uv_freeaddrinfo(addresses);
    return;
  }
  conn->resolve = NULL;
  conn->addresses = conn->next_address = addresses;
  if (status == 0 && addresses != NULL) {
    attempt_next(conn);
  } else {
    give_up_attempt(conn, status);
  }
}

static int start_resolving(struct lc_conn *conn, const struct lc_address *address) {
  struct lc_resolve *resolve = lc_calloc(1, sizeof *resolve);
  if (resolve == NULL)
    return LC_ENOMEM;
  char port[6];
  snprintf(port, sizeof port, "%u", (unsigned)address->port);
  struct addrinfo hints = {.ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM, .ai_flags = AI_ADDRCONFIG};
  resolve->conn = conn;
  int rc = uv_getaddrinfo(lc_worker_loop(conn->worker), &resolve->req, on_resolved, address->host, port, &hints);
  if (rc != 0) {
    lc_free(resolve);
    return LC_ENOMEM;
  }
  conn->resolve = resolve;
  return 0;
}

static int start_connecting(struct lc_conn *conn, const struct lc_address *address) {
  struct sockaddr_storage addr;
  if (uv_ip4_addr(address->host, address->port, (struct sockaddr_in *)&addr) != 0 &&
      uv_ip6_addr(address->host, address->port, (struct sockaddr_in6 *)&addr) != 0) {
    return start_resolving(conn, address);
  }
  attempt(conn, (struct sockaddr *)&addr);
  return 0;
}

int lc_conn_connect(struct lc_worker *worker, const struct lc_address *address, uint64_t timeout_ms,
                    const struct lc_conn_handler *handler, void *arg, struct lc_conn **out) {
  struct lc_conn *conn = lc_conn_new(worker, handler, arg);
  if (conn == NULL)
    return LC_ENOMEM;
  conn->state = LC_CONN_CONNECTING;
  lc_format_address(address, conn->peer, sizeof conn->peer);
  int rc = start_connecting(conn, address);
  if (rc != 0) {
    lc_conn_discard(conn);
    return rc;
  }
  lc_conn_start_timer(conn, timeout_ms);
  *out = conn;
  return 0;
}

void lc_conn_connect_timed_out(struct lc_conn *conn) {
  lc_conn_forget_resolve(conn);
  conn->next_address = NULL;
  conn->uv_err = UV_ETIMEDOUT;
  if (!uv_is_closing((uv_handle_t *)&conn->tcp))
    give_up_attempt(conn, UV_ETIMEDOUT);
}
