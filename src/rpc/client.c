#include "rpc/client.h"

#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "base/clock.h"
#include "base/list.h"
#include "loop/conn.h"
#include "wire/h2.h"

#define OUTPUT_LIMIT (256u * 1024)
#define ARENA_SLACK 4096u

struct lc_rpc_client {
  struct lc_rpc_client_config config;
  struct lc_worker *worker;
  struct lc_conn *conn;
  struct lc_h2 *h2;
  struct lc_list calls;
  char authority[LC_HOST_SIZE + 9];
  struct lc_err down_err; /* why the connection could not be made, or ended */
  bool heard;             /* the server has sent something */
  bool down;              /* no new calls */
  bool closing;           /* the calls are being ended: a callback may destroy the client meanwhile */
  bool destroyed;         /* freed when the connection has closed */
};

struct lc_rpc_client_call {
  struct lc_list link;
  struct lc_rpc_client *client;
  int32_t stream_id;
  struct lc_outq body;
  struct lc_arena arena;
  struct lc_grpc_deframer deframer;
  struct lc_timer deadline;
  struct lc_buf reply;   /* the message, until the trailers tell how it ended */
  struct lc_buf message; /* grpc-message, decoded */
  bool has_reply, has_status;
  int http_status;
  int status;
  bool transport;
  const char *fault; /* our own words for what went wrong, instead of the server's */
  lc_rpc_client_done done;
  void *arg;
};

void lc_rpc_client_config_init(struct lc_rpc_client_config *config) {
  *config = (struct lc_rpc_client_config){.connect_timeout_ms = 3000, .max_message = 64u << 20};
}

static void call_free(struct lc_rpc_client_call *call) {
  lc_list_remove(&call->link);
  lc_timer_stop(lc_worker_timers(call->client->worker), &call->deadline);
  lc_outq_fini(&call->body);
  lc_arena_fini(&call->arena);
  lc_buf_fini(&call->reply);
  lc_buf_fini(&call->message);
  lc_free(call);
}

static void set_fault(struct lc_rpc_client_call *call, int status, const char *fault) {
  if (call->fault)
    return;
  call->status = status;
  call->has_status = true;
  call->fault = fault;
}

static const char *message_of(struct lc_rpc_client_call *call) {
  if (call->fault)
    return call->fault;
  if (call->message.len == 0 || lc_buf_char(&call->message, '\0') != 0)
    return "";
  return (const char *)call->message.data;
}

/* Tells the caller, if there still is one. It may destroy the client. */
static void call_tell(struct lc_rpc_client_call *call) {
  if (!call->done)
    return;
  struct lc_rpc_result result = {.status = call->status, .transport = call->transport, .message = message_of(call)};
  if (call->status == LC_GRPC_OK)
    result.reply = lc_buf_slice(&call->reply);
  lc_rpc_client_done done = call->done;
  call->done = NULL;
  done(call->arg, &result);
}

/* Nothing more comes for this call. */
static void call_end(struct lc_rpc_client_call *call) {
  const struct lc_err *down_err = &call->client->down_err;
  if (!call->has_status) {
    call->transport = true;
    set_fault(call, LC_GRPC_UNAVAILABLE, down_err->code ? down_err->msg : "the server ended the call without a status");
  } else if (call->status == LC_GRPC_OK && !call->has_reply) {
    set_fault(call, LC_GRPC_INTERNAL, "the server's reply had no message");
  }
  lc_timer_stop(lc_worker_timers(call->client->worker), &call->deadline);
  call_tell(call);
  call_free(call);
}

/* The server need not go on; the call is freed when its stream has ended. */
static void call_reset(struct lc_rpc_client_call *call) {
  struct lc_rpc_client *client = call->client;
  if (!client->conn)
    return; /* its streams are being ended */
  if (lc_h2_reset(client->h2, call->stream_id, LC_H2_CANCEL) == LC_ENOMEM)
    lc_conn_abort(client->conn);
  else
    lc_conn_flush_later(client->conn);
}

static void *on_begin(void *arg, int32_t stream_id) {
  (void)arg;
  (void)stream_id;
  return NULL; /* a server may not open streams */
}

static int parse_number(struct lc_slice text) {
  int number = 0;
  if (text.len == 0 || text.len > 4)
    return LC_GRPC_UNKNOWN;
  for (size_t i = 0; i < text.len; i++) {
    if (text.ptr[i] < '0' || text.ptr[i] > '9')
      return LC_GRPC_UNKNOWN;
    number = number * 10 + (text.ptr[i] - '0');
  }
  return number;
}

static int on_header(void *arg, void *stream, struct lc_slice name, struct lc_slice value) {
  (void)arg;
  struct lc_rpc_client_call *call = stream;
  if (lc_slice_eq(name, lc_slice_str(":status"))) {
    call->http_status = parse_number(value);
  } else if (lc_slice_eq(name, lc_slice_str("grpc-status")) && !call->fault) {
    call->status = parse_number(value);
    call->has_status = true;
  } else if (lc_slice_eq(name, lc_slice_str("grpc-message"))) {
    lc_buf_consume(&call->message, call->message.len);
    lc_grpc_decode_message(value, &call->message);
  }
  return LC_OK;
}

static void on_head(void *arg, void *stream, bool trailers) {
  (void)arg;
  struct lc_rpc_client_call *call = stream;
  if (!trailers && call->http_status != 200)
    set_fault(call, LC_GRPC_UNKNOWN, "the server is not a gRPC server (its HTTP status is not 200)");
}

static void on_data(void *arg, void *stream, struct lc_slice data) {
  (void)arg;
  struct lc_rpc_client_call *call = stream;
  struct lc_slice message;
  int rc;
  while ((rc = lc_grpc_deframe(&call->deframer, &data, &message)) == 1) {
    if (call->has_reply)
      rc = LC_EPROTO;
    else
      rc = lc_buf_append(&call->reply, message.ptr, message.len);
    call->has_reply = true;
    if (rc != 0)
      break;
  }
  if (rc == 0)
    return;
  if (rc == LC_ETOOBIG)
    set_fault(call, LC_GRPC_RESOURCE_EXHAUSTED, "the reply is over this client's message limit");
  else if (rc == LC_ENOMEM)
    set_fault(call, LC_GRPC_RESOURCE_EXHAUSTED, "out of memory for the reply");
  else
    set_fault(call, LC_GRPC_INTERNAL, "malformed reply");
  call_reset(call);
}

static void on_stream_close(void *arg, void *stream, uint32_t error_code) {
  (void)arg;
  struct lc_rpc_client_call *call = stream;
  if (!call->has_status && error_code == LC_H2_REFUSED_STREAM) {
    call->transport = true;
    set_fault(call, LC_GRPC_UNAVAILABLE, "the server refused the stream (it is stopping, or has too many)");
  }
  call_end(call);
}

static void on_goaway(void *arg, int32_t last_stream_id, uint32_t error_code) {
  struct lc_rpc_client *client = arg;
  (void)last_stream_id;
  if (error_code != LC_H2_NO_ERROR)
    lc_err_set(&client->down_err, LC_EUNAVAILABLE, "%s: the server ended the connection (HTTP/2 error %u)",
               client->authority, (unsigned)error_code);
  else if (!client->down)
    lc_err_set(&client->down_err, LC_EUNAVAILABLE, "%s: the server is stopping", client->authority);
  client->down = true;
}

static struct lc_outq *body_of(void *arg, void *stream) {
  (void)arg;
  return &((struct lc_rpc_client_call *)stream)->body;
}

static const struct lc_h2_handler H2_HANDLER = {
    .on_begin = on_begin,
    .on_header = on_header,
    .on_head = on_head,
    .on_data = on_data,
    .on_close = on_stream_close,
    .on_goaway = on_goaway,
    .body = body_of,
};

#define NOT_HTTP2 "not an HTTP/2 server (is this the server's --listen address?)"

/* Ends the connection for a reason of ours, unless there already is one. */
static void give_up(struct lc_rpc_client *client, int code, const char *why) {
  client->down = true;
  if (!client->down_err.code)
    lc_err_set(&client->down_err, code, "%s: %s", client->authority, why);
  lc_conn_close(client->conn, 0);
}

/* Makes frames of what is ready, unless the last ones still wait for the kernel: then on_drain will. */
static void pull_frames(struct lc_rpc_client *client) {
  if (client->destroyed || lc_conn_blocked(client->conn))
    return;
  if (lc_h2_pull(client->h2, lc_conn_out(client->conn), OUTPUT_LIMIT) != 0)
    give_up(client, LC_ENOMEM, "out of memory");
  else if (!lc_h2_alive(client->h2))
    give_up(client, LC_EPROTO, NOT_HTTP2);
}

/* The first bytes tell a server of the wrong kind. */
static bool is_http1(struct lc_rpc_client *client, const uint8_t *data, size_t len) {
  static const char name[] = "HTTP/";
  bool first = !client->heard;
  client->heard = true;
  return first && len >= sizeof(name) - 1 && memcmp(data, name, sizeof(name) - 1) == 0;
}

static void on_read(void *arg, const uint8_t *data, size_t len) {
  struct lc_rpc_client *client = arg;
  if (client->destroyed)
    return;
  if (is_http1(client, data, len)) {
    give_up(client, LC_EPROTO, "answers in HTTP/1, not gRPC (is this the server's --listen address?)");
    return;
  }
  lc_h2_set_now(client->h2, lc_worker_now_ms(client->worker));
  int rc = lc_h2_recv(client->h2, data, len);
  pull_frames(client);
  if (rc != 0 && !client->destroyed)
    give_up(client, rc, rc == LC_ENOMEM ? "out of memory" : NOT_HTTP2);
}

static void on_drain(void *arg) {
  pull_frames(arg);
}

static void on_connect(void *arg, int code) {
  struct lc_rpc_client *client = arg;
  if (code == LC_EDEADLINE)
    lc_err_set(&client->down_err, code, "%s: can't connect (no answer; is lcache running there?)", client->authority);
  else if (code != LC_OK && lc_conn_unresolved(client->conn))
    lc_err_set(&client->down_err, code, "%s: can't resolve the name (%s)", client->authority,
               lc_conn_error(client->conn));
  else if (code != LC_OK)
    lc_err_set(&client->down_err, code, "%s: can't connect (is lcache running there? %s)", client->authority,
               lc_conn_error(client->conn));
}

static void on_conn_close(void *arg, int reason) {
  struct lc_rpc_client *client = arg;
  (void)reason;
  const char *why = lc_conn_error(client->conn);
  if (!client->down_err.code)
    lc_err_set(&client->down_err, LC_EUNAVAILABLE, "%s: the connection was closed%s%s", client->authority,
               why[0] ? ": " : "", why);
  client->down = true;
  client->conn = NULL;
  client->closing = true;
  lc_h2_destroy(client->h2); /* ends the calls in progress */
  client->h2 = NULL;
  client->closing = false;
  if (client->destroyed)
    lc_free(client);
  else if (client->config.on_down)
    client->config.on_down(client->config.arg, &client->down_err);
}

static const struct lc_conn_handler CONN_HANDLER = {
    .on_connect = on_connect, .on_read = on_read, .on_drain = on_drain, .on_close = on_conn_close};

static int open_h2(struct lc_rpc_client *client) {
  struct lc_h2_config config;
  lc_h2_config_init(&config, false);
  config.pool = lc_worker_pool(client->worker);
  config.handler = &H2_HANDLER;
  config.arg = client;
  return lc_h2_create(&config, &client->h2);
}

int lc_rpc_client_create(const struct lc_rpc_client_config *config, struct lc_rpc_client **out, struct lc_err *err) {
  struct lc_rpc_client *client = lc_calloc(1, sizeof(*client));
  if (!client)
    return lc_err_set(err, LC_ENOMEM, "out of memory");
  client->config = *config;
  client->worker = config->worker;
  lc_list_init(&client->calls);
  lc_format_address(&config->address, client->authority, sizeof(client->authority));
  int rc = open_h2(client);
  if (rc != LC_OK)
    goto fail;
  rc = lc_conn_connect(client->worker, &config->address, config->connect_timeout_ms, &CONN_HANDLER, client,
                       &client->conn);
  if (rc != LC_OK)
    goto fail;
  lc_conn_flush_later(client->conn);
  *out = client;
  return LC_OK;

fail:
  lc_h2_destroy(client->h2);
  lc_free(client);
  return lc_err_set(err, rc, "can't begin to connect: %s", lc_code_name(rc));
}

void lc_rpc_client_destroy(struct lc_rpc_client *client) {
  if (!client)
    return;
  for (struct lc_list *node = client->calls.next; node != &client->calls; node = node->next)
    lc_container_of(node, struct lc_rpc_client_call, link)->done = NULL;
  client->destroyed = true;
  if (client->conn)
    lc_conn_abort(client->conn);
  else if (!client->closing)
    lc_free(client);
}

static void on_deadline(struct lc_timer *timer) {
  struct lc_rpc_client_call *call = lc_container_of(timer, struct lc_rpc_client_call, deadline);
  set_fault(call, LC_GRPC_DEADLINE_EXCEEDED, "no reply before the deadline");
  call_reset(call);
  call_tell(call); /* now, not when the stream has ended: the connection may be stuck */
}

static int submit(struct lc_rpc_client_call *call, const char *path, uint64_t timeout_ms) {
  struct lc_rpc_client *client = call->client;
  char timeout[16];
  struct lc_h2_field fields[] = {
      {lc_slice_str(":method"), lc_slice_str("POST"), false},
      {lc_slice_str(":scheme"), lc_slice_str("http"), false},
      {lc_slice_str(":path"), lc_slice_str(path), false},
      {lc_slice_str(":authority"), lc_slice_str(client->authority), false},
      {lc_slice_str("content-type"), lc_slice_str("application/grpc"), false},
      {lc_slice_str("te"), lc_slice_str("trailers"), false},
      {lc_slice_str("user-agent"), lc_slice_str("lcache"), false},
      {lc_slice_str("grpc-timeout"), {0}, false},
  };
  size_t count = sizeof(fields) / sizeof(fields[0]) - 1;
  if (timeout_ms > 0) {
    lc_grpc_format_timeout(timeout_ms, timeout);
    fields[count++].value = lc_slice_str(timeout);
  }
  return lc_h2_request(client->h2, fields, count, call, &call->stream_id);
}

static struct lc_rpc_client_call *call_create(struct lc_rpc_client *client, lc_rpc_client_done done, void *arg) {
  struct lc_rpc_client_call *call = lc_calloc(1, sizeof(*call));
  if (!call)
    return NULL;
  call->client = client;
  call->done = done;
  call->arg = arg;
  call->deadline.fire = on_deadline;
  lc_outq_init(&call->body, lc_worker_pool(client->worker));
  lc_arena_init(&call->arena, NULL, 0, client->config.max_message * 2 + ARENA_SLACK);
  lc_grpc_deframer_init(&call->deframer, &call->arena, client->config.max_message);
  lc_buf_init(&call->reply);
  lc_buf_init(&call->message);
  lc_list_push_back(&client->calls, &call->link);
  return call;
}

int lc_rpc_client_call(struct lc_rpc_client *client, const char *path, struct lc_outq *request, uint64_t timeout_ms,
                       lc_rpc_client_done done, void *arg, struct lc_rpc_client_call **out) {
  if (client->down || !client->conn)
    return LC_EUNAVAILABLE;
  struct lc_rpc_client_call *call = call_create(client, done, arg);
  if (!call)
    return LC_ENOMEM;
  int rc = lc_outq_move(&call->body, request, request->bytes);
  if (rc == LC_OK)
    rc = submit(call, path, timeout_ms);
  if (rc != LC_OK) {
    call_free(call);
    return rc;
  }
  rc = lc_h2_finish(client->h2, call->stream_id, NULL, 0);
  if (rc != LC_OK) {
    lc_rpc_client_cancel(call);
    return rc;
  }
  if (timeout_ms > 0)
    lc_timer_start(lc_worker_timers(client->worker), &call->deadline, lc_worker_now_ms(client->worker) + timeout_ms);
  lc_conn_flush_later(client->conn);
  if (out)
    *out = call;
  return LC_OK;
}

void lc_rpc_client_cancel(struct lc_rpc_client_call *call) {
  call->done = NULL;
  call_reset(call);
}
