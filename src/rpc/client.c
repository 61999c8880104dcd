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

/* Ends a call: tells its caller, if it still has one, and frees it. */
static void call_end(struct lc_rpc_client_call *call) {
  if (!call->has_status) {
    call->status = LC_GRPC_UNAVAILABLE;
    call->transport = true;
    call->fault =
        call->client->down_err.code ? call->client->down_err.msg : "the server ended the call without a status";
  } else if (call->status == LC_GRPC_OK && !call->has_reply) {
    call->status = LC_GRPC_INTERNAL;
    call->fault = "the server's reply had no message";
  }
  struct lc_rpc_result result = {.status = call->status,
                                 .transport = call->transport,
                                 .message = message_of(call),
                                 .reply = lc_buf_slice(&call->reply)};
  lc_timer_stop(lc_worker_timers(call->client->worker), &call->deadline);
  if (call->done)
    call->done(call->arg, &result);
  call_free(call);
}

static void *on_begin(void *arg, int32_t stream_id) {
  (void)arg;
  (void)stream_id;
  return NULL; /* a server may not open streams */
}

static int parse_number(struct lc_slice text) {
  int number = 0;
  for (size_t i = 0; i < text.len && i < 4; i++) {
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
  struct lc_rpc_client *client = arg;
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
  set_fault(call, rc == LC_ETOOBIG ? LC_GRPC_RESOURCE_EXHAUSTED : LC_GRPC_INTERNAL,
            rc == LC_ETOOBIG ? "the reply is over this client's message limit" : "malformed reply");
  lc_h2_reset(client->h2, call->stream_id, LC_H2_CANCEL);
}

static void on_stream_close(void *arg, void *stream, uint32_t error_code) {
  (void)arg;
  struct lc_rpc_client_call *call = stream;
  if (!call->has_status && error_code == LC_H2_REFUSED_STREAM)
    set_fault(call, LC_GRPC_UNAVAILABLE, "the server refused the stream (it is stopping, or has too many)");
  call_end(call);
}

static void on_goaway(void *arg, int32_t last_stream_id, uint32_t error_code) {
  struct lc_rpc_client *client = arg;
  (void)last_stream_id;
  (void)error_code;
  if (!client->down)
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

static void pull_frames(struct lc_rpc_client *client) {
  struct lc_outq *out = lc_conn_out(client->conn);
  if (!lc_conn_blocked(client->conn) && lc_h2_pull(client->h2, out, OUTPUT_LIMIT) != 0)
    lc_conn_abort(client->conn);
  else if (out->bytes == 0 && !lc_h2_alive(client->h2))
    lc_conn_close(client->conn, 0);
}

static void on_read(void *arg, const uint8_t *data, size_t len) {
  struct lc_rpc_client *client = arg;
  lc_h2_set_now(client->h2, lc_worker_now_ms(client->worker));
  if (lc_h2_recv(client->h2, data, len) != 0 && !client->down_err.code)
    lc_err_set(&client->down_err, LC_EPROTO, "%s: not an HTTP/2 server", client->authority);
  pull_frames(client);
  if (client->down_err.code == LC_EPROTO)
    lc_conn_close(client->conn, 0);
}

static void on_drain(void *arg) {
  pull_frames(arg);
}

static void on_connect(void *arg, int code) {
  struct lc_rpc_client *client = arg;
  if (code != LC_OK)
    lc_err_set(&client->down_err, code, "%s: %s", client->authority,
               code == LC_EDEADLINE ? "no answer to the connection request"
                                    : "can't connect (is lcache running there?)");
}

static void on_conn_close(void *arg, int reason) {
  struct lc_rpc_client *client = arg;
  (void)reason;
  client->down = true;
  client->conn = NULL;
  client->closing = true;
  if (!client->down_err.code)
    lc_err_set(&client->down_err, LC_EUNAVAILABLE, "%s: the connection was closed", client->authority);
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
  client->config.on_down = NULL;
  client->destroyed = true;
  if (client->conn)
    lc_conn_abort(client->conn);
  else if (!client->closing)
    lc_free(client);
}

static void on_deadline(struct lc_timer *timer) {
  struct lc_rpc_client_call *call = lc_container_of(timer, struct lc_rpc_client_call, deadline);
  set_fault(call, LC_GRPC_DEADLINE_EXCEEDED, "no reply before the deadline");
  lc_h2_reset(call->client->h2, call->stream_id, LC_H2_CANCEL);
  lc_conn_flush_later(call->client->conn);
}

static int submit(struct lc_rpc_client_call *call, const char *path, uint64_t timeout_ms) {
  struct lc_rpc_client *client = call->client;
  char timeout[16];
  struct lc_h2_field fields[] = {
      {lc_slice_str(":method"), lc_slice_str("POST")},
      {lc_slice_str(":scheme"), lc_slice_str("http")},
      {lc_slice_str(":path"), lc_slice_str(path)},
      {lc_slice_str(":authority"), lc_slice_str(client->authority)},
      {lc_slice_str("content-type"), lc_slice_str("application/grpc")},
      {lc_slice_str("te"), lc_slice_str("trailers")},
      {lc_slice_str("user-agent"), lc_slice_str("lcache")},
      {lc_slice_str("grpc-timeout"), {0}},
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
  lc_h2_reset(call->client->h2, call->stream_id, LC_H2_CANCEL);
  lc_conn_flush_later(call->client->conn);
}
