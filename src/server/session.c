#include <string.h>
#include <unistd.h>

#include "base/alloc.h"
#include "server/internal.h"

/* Frames are made for at most this much output at a time: what a slow reader can hold, and one write's worth. Less when
 * the worker's budget has no room for that. */
#define OUTPUT_LIMIT (256u * 1024)
#define OUTPUT_FLOOR (16u * 1024)
#define DRAIN_BYTES (64u * 1024) /* lc_conn calls on_drain after so much */
#define LINGER_MS 1000u
#define FINAL_GOAWAY_MS 1000u

static const char PREFACE[] = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
#define PREFACE_LEN ((uint8_t)(sizeof(PREFACE) - 1))

static const uint8_t IDLE_PING[8] = "lc-idle";

static const char NOT_HTTP2[] = "HTTP/1.1 505 HTTP Version Not Supported\r\n"
                                "content-type: text/plain\r\nconnection: close\r\ncontent-length: 67\r\n\r\n"
                                "This port speaks gRPC (HTTP/2 with prior knowledge), not HTTP/1.1.\n";

static void close_session(struct lc_session *session) {
  if (session->closing)
    return;
  session->closing = true;
  lc_conn_close(session->conn, LINGER_MS);
}

void lc_session_abort(struct lc_session *session) {
  session->closing = true;
  lc_conn_abort(session->conn);
}

/*
 * Keeps the worker's account of what this connection holds back. What on_drain won't tell of (it is small and not
 * blocked) leaves at the end of this turn and isn't worth counting. Without room in the budget the account stays
 * behind.
 */
static void account_output(struct lc_session *session) {
  struct lc_worker *worker = session->server->worker;
  size_t held = lc_conn_out(session->conn)->bytes;
  if (held < DRAIN_BYTES && !lc_conn_blocked(session->conn))
    held = 0;
  if (held < session->charged)
    lc_worker_uncharge(worker, session->charged - held);
  else if (held == session->charged || !lc_worker_charge(worker, held - session->charged))
    return;
  session->charged = held;
}

static size_t output_limit(struct lc_worker *worker) {
  if (!lc_worker_charge(worker, OUTPUT_LIMIT))
    return OUTPUT_FLOOR;
  lc_worker_uncharge(worker, OUTPUT_LIMIT);
  return OUTPUT_LIMIT;
}

/* Makes frames of what is ready, unless the last ones still wait for the kernel: then on_drain will. */
static void pull_frames(struct lc_session *session) {
  struct lc_outq *out = lc_conn_out(session->conn);
  if (session->closing)
    return;
  size_t limit = output_limit(session->server->worker);
  if (!lc_conn_blocked(session->conn) && lc_h2_pull(session->h2, out, limit) != 0) {
    lc_session_abort(session);
    return;
  }
  account_output(session);
  if (lc_conn_blocked(session->conn) || out->bytes >= DRAIN_BYTES)
    return; /* on_drain comes */
  if (out->bytes >= limit)
    lc_conn_flush_later(session->conn); /* so that it comes */
  else if (!lc_h2_alive(session->h2))
    close_session(session);
}

/*
 * Tells a client that speaks HTTP/1 to this port what it speaks, in words that it can show. Returns false when the
 * bytes can't be the HTTP/2 preface.
 */
static bool check_preface(struct lc_session *session, const uint8_t *data, size_t len) {
  size_t left = (size_t)(PREFACE_LEN - session->preface_len);
  size_t n = len < left ? len : left;
  if (memcmp(data, PREFACE + session->preface_len, n) != 0) {
    lc_outq_append(lc_conn_out(session->conn), NOT_HTTP2, sizeof(NOT_HTTP2) - 1);
    close_session(session);
    return false;
  }
  session->preface_len = (uint8_t)(session->preface_len + n);
  session->greeted = session->preface_len == PREFACE_LEN;
  return true;
}

static void on_read(void *arg, const uint8_t *data, size_t len) {
  struct lc_session *session = arg;
  if (session->closing)
    return;
  if (!session->greeted && !check_preface(session, data, len))
    return;
  lc_h2_set_now(session->h2, lc_worker_now_ms(session->server->worker));
  session->reading = true;
  int rc = lc_h2_recv(session->h2, data, len);
  session->reading = false;
  if (session->greeted)
    pull_frames(session);
  if (rc != 0)
    close_session(session);
}

static void on_drain(void *arg) {
  pull_frames(arg);
}

static void finish_drain(struct lc_server *server) {
  if (!server->draining || server->connections > 0 || !server->drained)
    return;
  void (*drained)(void *) = server->drained;
  server->drained = NULL;
  drained(server->drained_arg);
}

static void on_close(void *arg, int reason) {
  (void)reason;
  struct lc_session *session = arg;
  struct lc_server *server = session->server;
  session->closing = true;
  lc_h2_destroy(session->h2);
  if (session->charged)
    lc_worker_uncharge(server->worker, session->charged);
  lc_list_remove(&session->link);
  lc_free(session);
  server->connections--;
  if (server->config.on_ended)
    server->config.on_ended(server->config.on_ended_arg);
  finish_drain(server);
}

static void send_final_goaway(struct lc_session *session) {
  session->final_sent = true;
  if (lc_h2_goaway(session->h2, true) != 0)
    lc_session_abort(session);
  else
    lc_conn_flush_later(session->conn);
}

/* The ack of the ping behind the first GOAWAY: what the client began before it knew has come. */
static void on_ping_ack(void *arg, const uint8_t opaque[8]) {
  struct lc_session *session = arg;
  bool idle = memcmp(opaque, IDLE_PING, sizeof(IDLE_PING)) == 0;
  if (!idle && session->final_ms && !session->final_sent)
    send_final_goaway(session);
}

const struct lc_h2_handler lc_session_h2_handler = {
    .on_begin = lc_request_begin,
    .on_header = lc_request_header,
    .on_head = lc_request_head,
    .on_data = lc_request_data,
    .on_end = lc_request_end,
    .on_close = lc_request_close,
    .on_ping_ack = on_ping_ack,
    .body = lc_request_body,
};

static const struct lc_conn_handler conn_handler = {.on_read = on_read, .on_drain = on_drain, .on_close = on_close};

static int open_h2(struct lc_session *session) {
  struct lc_h2_config config;
  lc_h2_config_init(&config, true);
  config.pool = session->server->pool;
  config.max_streams = session->server->config.max_streams;
  config.handler = &lc_session_h2_handler;
  config.arg = session;
  return lc_h2_create(&config, &session->h2);
}

int lc_session_open(struct lc_server *server, int fd) {
  struct lc_session *session = lc_calloc(1, sizeof(*session));
  if (!session)
    goto fail_fd;
  session->server = server;
  session->opened_ms = lc_worker_now_ms(server->worker);
  lc_list_init(&session->incomplete);
  if (open_h2(session) != LC_OK)
    goto fail_session;
  if (lc_conn_accept(server->worker, fd, &conn_handler, session, &session->conn) != LC_OK) {
    lc_h2_destroy(session->h2);
    lc_free(session);
    return LC_ENOMEM; /* the connection has closed the socket */
  }
  lc_list_push_back(&server->sessions, &session->link);
  server->connections++;
  return LC_OK;

fail_session:
  lc_free(session);
fail_fd:
  close(fd);
  return LC_ENOMEM;
}

void lc_session_drain(struct lc_session *session) {
  if (session->closing || session->final_ms)
    return;
  session->final_ms = lc_worker_now_ms(session->server->worker) + FINAL_GOAWAY_MS;
  if (!session->greeted) {
    close_session(session); /* it has asked for nothing yet */
    return;
  }
  if (lc_h2_goaway(session->h2, false) != 0)
    lc_session_abort(session);
  lc_conn_flush_later(session->conn);
}

static void ping_when_idle(struct lc_session *session, uint64_t now_ms) {
  uint64_t last = lc_conn_last_read_ms(session->conn);
  if (last < session->opened_ms)
    last = session->opened_ms;
  if (session->pinged_ms && last >= session->pinged_ms)
    session->pinged_ms = 0;
  if (session->pinged_ms) {
    if (now_ms - session->pinged_ms >= session->server->config.ping_timeout_ms)
      lc_session_abort(session);
    return;
  }
  if (now_ms - last < session->server->config.idle_ping_ms)
    return;
  session->pinged_ms = now_ms;
  if (lc_h2_ping(session->h2, IDLE_PING) == 0)
    lc_conn_flush_later(session->conn);
}

/* Resets the requests that did not come whole in their time; the connection's other streams go on. */
static void expire_requests(struct lc_session *session, uint64_t now_ms) {
  uint64_t limit = session->server->config.request_timeout_ms;
  while (!lc_list_empty(&session->incomplete)) {
    struct lc_request *request = lc_container_of(session->incomplete.next, struct lc_request, incomplete);
    if (now_ms - request->begun_ms < limit)
      return;
    lc_list_remove(&request->incomplete);
    lc_request_reset(request, LC_H2_CANCEL);
    if (session->closing)
      return;
  }
}

void lc_session_check(struct lc_session *session, uint64_t now_ms) {
  const struct lc_server_config *config = &session->server->config;
  uint64_t stuck = lc_conn_stuck_since_ms(session->conn);
  if (stuck && now_ms - stuck >= config->stuck_timeout_ms) {
    lc_session_abort(session);
    return;
  }
  if (session->closing)
    return;
  account_output(session); /* it may have become stuck after the last frames were made */
  if (!session->greeted) {
    if (now_ms - session->opened_ms >= config->hello_timeout_ms)
      lc_session_abort(session);
    return;
  }
  if (session->final_ms && !session->final_sent && now_ms >= session->final_ms)
    send_final_goaway(session);
  expire_requests(session, now_ms);
  if (!session->closing)
    ping_when_idle(session, now_ms);
}
