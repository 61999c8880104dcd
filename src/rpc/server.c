#include "rpc/server.h"

#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "base/clock.h"
#include "rpc/table.h"

/* The design's bound on what one request may take beside its own message: decoded fields, gathered pieces. */
#define ARENA_FACTOR 4

struct lc_rpc_server {
  struct lc_face face; /* first: the face's argument is this object */
  const struct lc_rpc_table *table;
  size_t max_message;
  struct lc_log *log;
  const struct lc_rpc_route *last; /* clients mostly repeat themselves */
};

struct lc_rpc_call {
  struct lc_request request; /* first */
  struct lc_rpc_server *server;
  const struct lc_rpc_route *route;
  struct lc_grpc_deframer deframer;
  struct lc_timer deadline;
  uint64_t deadline_ms;
  uint64_t timeout_ms; /* as sent; UINT64_MAX for none */
  unsigned holds;
  size_t extra_bytes; /* lc_rpc_charge */
  bool is_post, is_grpc, compressed;
  bool bad_timeout;
  bool started; /* the handler was given a message */
  bool head_sent;
  bool over;
  _Alignas(16) char state[LC_RPC_STATE_SIZE]; /* zeroed as far as the method uses it, once that is known */
};

#define TEXT(text_)                                                                                                    \
  { (const uint8_t *)(text_), sizeof(text_) - 1 }
#define FIELD(name_, value_)                                                                                           \
  { .name = TEXT(name_), .value = TEXT(value_), .fixed = true }

static const struct lc_h2_field OK_HEAD[] = {FIELD(":status", "200"), FIELD("content-type", "application/grpc")};
static const struct lc_h2_field OK_TRAILERS[] = {FIELD("grpc-status", "0")};

static bool is(struct lc_slice a, const char *text, size_t len) {
  return a.len == len && memcmp(a.ptr, text, len) == 0;
}
#define IS(slice_, text_) is((slice_), (text_), sizeof(text_) - 1)

static void stop_timer(struct lc_rpc_call *call) {
  lc_timer_stop(lc_worker_timers(lc_request_worker(&call->request)), &call->deadline);
}

/* "application/grpc", alone or with a suffix or parameter; not "application/grpc-web". */
static bool is_grpc_type(struct lc_slice type) {
  static const char NAME[] = "application/grpc";
  size_t len = sizeof(NAME) - 1;
  if (type.len < len || memcmp(type.ptr, NAME, len) != 0)
    return false;
  return type.len == len || type.ptr[len] == '+' || type.ptr[len] == ';';
}

static const struct lc_rpc_route *find_route(struct lc_rpc_server *server, struct lc_slice path) {
  if (server->last && lc_slice_eq(server->last->path, path))
    return server->last;
  const struct lc_rpc_route *route = lc_rpc_table_find(server->table, path);
  if (route)
    server->last = route;
  return route;
}

static void on_begin(void *arg, struct lc_request *request) {
  struct lc_rpc_call *call = (struct lc_rpc_call *)request;
  call->server = arg;
  call->timeout_ms = UINT64_MAX;
  call->deadline_ms = LC_TIME_NEVER;
  lc_grpc_deframer_init(&call->deframer, &request->arena, call->server->max_message);
}

static int on_header(void *arg, struct lc_request *request, struct lc_slice name, struct lc_slice value) {
  struct lc_rpc_call *call = (struct lc_rpc_call *)request;
  switch (name.len) {
  case 5:
    if (IS(name, ":path"))
      call->route = find_route(arg, value);
    break;
  case 7:
    if (IS(name, ":method"))
      call->is_post = IS(value, "POST");
    break;
  case 12:
    if (IS(name, "content-type"))
      call->is_grpc = is_grpc_type(value);
    else if (IS(name, "grpc-timeout"))
      call->bad_timeout = lc_grpc_parse_timeout(value, &call->timeout_ms) != 0;
    break;
  case 13:
    if (IS(name, "grpc-encoding"))
      call->compressed = !IS(value, "identity");
    break;
  default:
    break;
  }
  return LC_OK;
}

static void reply_http(struct lc_rpc_call *call, const char *status) {
  struct lc_h2 *h2 = lc_request_h2(&call->request);
  call->over = true;
  if (!h2)
    return;
  const struct lc_h2_field fields[] = {{lc_slice_str(":status"), lc_slice_str(status), false}};
  if (lc_h2_respond(h2, call->request.stream_id, fields, 1, true) != 0)
    lc_request_reset(&call->request, LC_H2_INTERNAL_ERROR);
  lc_request_kick(&call->request);
}

static size_t max_message(const struct lc_rpc_call *call) {
  return call->server->max_message + (call->route ? call->route->method->extra_message : 0);
}

static void accept_call(struct lc_rpc_call *call) {
  const struct lc_rpc_method *method = call->route->method;
  memset(call->state, 0, method->state_size);
  if (method->extra_message > 0) {
    call->deframer.limit += method->extra_message;
    call->request.arena.limit_bytes += method->extra_message * ARENA_FACTOR;
  }
  if (call->timeout_ms != UINT64_MAX)
    call->deadline_ms = call->request.begun_ms + call->timeout_ms;
}

static void on_head(void *arg, struct lc_request *request) {
  (void)arg;
  struct lc_rpc_call *call = (struct lc_rpc_call *)request;
  if (!call->is_post)
    reply_http(call, "405");
  else if (!call->is_grpc)
    reply_http(call, "415");
  else if (!call->route)
    lc_rpc_finish(call, LC_GRPC_UNIMPLEMENTED, "unknown service or method");
  else if (call->bad_timeout)
    lc_rpc_finish(call, LC_GRPC_INTERNAL, "malformed grpc-timeout");
  else if (call->compressed)
    lc_rpc_finish(call, LC_GRPC_UNIMPLEMENTED, "compressed messages are not supported: send grpc-encoding identity");
  else if (call->timeout_ms == 0)
    lc_rpc_finish(call, LC_GRPC_DEADLINE_EXCEEDED, "deadline passed");
  else
    accept_call(call);
}

static void cancel_handler(struct lc_rpc_call *call) {
  if (call->started && call->route->method->on_cancel)
    call->route->method->on_cancel(call, call->route->ctx);
}

static void on_deadline(struct lc_timer *timer) {
  struct lc_rpc_call *call = lc_container_of(timer, struct lc_rpc_call, deadline);
  cancel_handler(call);
  lc_rpc_finish(call, LC_GRPC_DEADLINE_EXCEEDED, "deadline passed");
}

/* Charges what the call holds: pieces of its message, decoded fields, the handler's own, output. */
static bool account(struct lc_rpc_call *call) {
  size_t held = call->request.arena.used_bytes + call->request.body.bytes + call->extra_bytes;
  return held == call->request.charged || lc_request_account(&call->request, held);
}

static void run_handler(struct lc_rpc_call *call, struct lc_slice message) {
  const struct lc_rpc_method *method = call->route->method;
  if (call->started && !method->streaming) {
    cancel_handler(call);
    lc_rpc_finish(call, LC_GRPC_INTERNAL, "more than one message for a unary call");
    return;
  }
  if (!call->started)
    lc_request_came(&call->request);
  call->started = true;
  method->on_message(call, call->route->ctx, message);
  if (call->over || call->deadline_ms == LC_TIME_NEVER || call->deadline.active)
    return;
  call->deadline.fire = on_deadline;
  lc_timer_start(lc_worker_timers(lc_request_worker(&call->request)), &call->deadline, call->deadline_ms);
}

static void refuse_message(struct lc_rpc_call *call, int rc) {
  char text[96];
  cancel_handler(call);
  switch (rc) {
  case LC_ETOOBIG:
    snprintf(text, sizeof(text), "message over the limit of %zu bytes", max_message(call));
    lc_rpc_finish(call, LC_GRPC_RESOURCE_EXHAUSTED, text);
    break;
  case LC_ENOMEM:
    lc_rpc_finish(call, LC_GRPC_RESOURCE_EXHAUSTED, "out of memory for requests");
    break;
  default:
    lc_rpc_finish(call, LC_GRPC_INTERNAL, "malformed gRPC frame");
    break;
  }
}

static void on_data(void *arg, struct lc_request *request, struct lc_slice data) {
  (void)arg;
  struct lc_rpc_call *call = (struct lc_rpc_call *)request;
  while (!call->over) {
    struct lc_slice message;
    int rc = lc_grpc_deframe(&call->deframer, &data, &message);
    if (rc == 1) {
      run_handler(call, message);
      continue;
    }
    if (rc == 0 && !account(call))
      rc = LC_ENOMEM;
    if (rc < 0)
      refuse_message(call, rc);
    return;
  }
}

static void on_end(void *arg, struct lc_request *request) {
  (void)arg;
  struct lc_rpc_call *call = (struct lc_rpc_call *)request;
  if (call->over)
    return;
  if (lc_grpc_deframer_partial(&call->deframer)) {
    cancel_handler(call);
    lc_rpc_finish(call, LC_GRPC_INTERNAL, "the request ended inside a message");
  } else if (call->route->method->streaming) {
    if (call->route->method->on_half_close)
      call->route->method->on_half_close(call, call->route->ctx);
  } else if (!call->started) {
    lc_rpc_finish(call, LC_GRPC_INTERNAL, "the request had no message");
  }
}

static bool on_close(void *arg, struct lc_request *request) {
  (void)arg;
  struct lc_rpc_call *call = (struct lc_rpc_call *)request;
  stop_timer(call);
  if (!call->over) {
    call->over = true;
    cancel_handler(call);
  }
  return call->holds > 0;
}

static void drop_output(struct lc_rpc_call *call) {
  struct lc_outq *out = &call->request.body;
  lc_outq_consume(out, out->bytes);
}

/* The status as fields: an error-only reply (head and trailers in one) or trailers. */
static int send_error(struct lc_rpc_call *call, struct lc_h2 *h2, int status, const char *message) {
  char number[12];
  int number_len = snprintf(number, sizeof(number), "%d", status);
  struct lc_buf text;
  lc_buf_init(&text);
  int rc = lc_grpc_encode_message(lc_slice_str(message ? message : ""), &text);
  struct lc_h2_field fields[4] = {OK_HEAD[0], OK_HEAD[1]};
  fields[2] = (struct lc_h2_field){lc_slice_str("grpc-status"), lc_slice_of(number, (size_t)number_len), false};
  fields[3] = (struct lc_h2_field){lc_slice_str("grpc-message"), lc_buf_slice(&text), false};
  size_t count = rc == 0 && text.len > 0 ? 4 : 3;
  int32_t id = call->request.stream_id;
  if (call->head_sent)
    rc = lc_h2_finish(h2, id, fields + 2, count - 2);
  else
    rc = lc_h2_respond(h2, id, fields, count, true);
  lc_buf_fini(&text);
  return rc;
}

static int send_ok(struct lc_rpc_call *call, struct lc_h2 *h2) {
  if (call->head_sent)
    return lc_h2_finish(h2, call->request.stream_id, OK_TRAILERS, 1);
  return lc_h2_reply(h2, call->request.stream_id, OK_HEAD, 2, OK_TRAILERS, 1);
}

void lc_rpc_finish(struct lc_rpc_call *call, enum lc_grpc_status status, const char *message) {
  if (call->over)
    return;
  call->over = true;
  if (call->deadline.active)
    stop_timer(call);
  struct lc_h2 *h2 = lc_request_h2(&call->request);
  if (!h2)
    return;
  if (status == LC_GRPC_OK && !account(call)) {
    status = LC_GRPC_RESOURCE_EXHAUSTED;
    message = "out of buffer memory for replies";
  }
  int rc;
  if (status == LC_GRPC_OK) {
    rc = send_ok(call, h2);
  } else {
    if (!call->head_sent)
      drop_output(call);
    rc = send_error(call, h2, (int)status, message);
  }
  if (rc != 0)
    lc_request_reset(&call->request, LC_H2_INTERNAL_ERROR);
  lc_request_kick(&call->request);
}

/* What a client doesn't take may not pile up: neither over the budget nor over what one message may be. */
static bool may_send(struct lc_rpc_call *call) {
  size_t queued = call->request.body.bytes;
  return queued <= max_message(call) + LC_GRPC_PREFIX && account(call);
}

void lc_rpc_send(struct lc_rpc_call *call) {
  struct lc_h2 *h2 = lc_request_h2(&call->request);
  if (call->over || !h2)
    return;
  if (!may_send(call)) {
    call->over = true;
    cancel_handler(call);
    lc_request_reset(&call->request, LC_H2_ENHANCE_YOUR_CALM); /* to a client: RESOURCE_EXHAUSTED */
    return;
  }
  int rc;
  if (!call->head_sent) {
    rc = lc_h2_respond(h2, call->request.stream_id, OK_HEAD, 2, false);
    call->head_sent = true;
  } else {
    rc = lc_h2_resume(h2, call->request.stream_id);
  }
  if (rc != 0)
    lc_request_reset(&call->request, LC_H2_INTERNAL_ERROR);
  lc_request_kick(&call->request);
}

struct lc_worker *lc_rpc_worker(const struct lc_rpc_call *call) {
  return lc_request_worker(&call->request);
}

struct lc_arena *lc_rpc_arena(struct lc_rpc_call *call) {
  return &call->request.arena;
}

void *lc_rpc_state(struct lc_rpc_call *call) {
  return call->state;
}

size_t lc_rpc_max_message(const struct lc_rpc_call *call) {
  return max_message(call);
}

bool lc_rpc_over(const struct lc_rpc_call *call) {
  return call->over;
}

bool lc_rpc_charge(struct lc_rpc_call *call, size_t bytes) {
  call->extra_bytes += bytes;
  return account(call);
}

struct lc_outq *lc_rpc_out(struct lc_rpc_call *call) {
  return &call->request.body;
}

void lc_rpc_hold(struct lc_rpc_call *call) {
  call->holds++;
}

void lc_rpc_release(struct lc_rpc_call *call) {
  if (--call->holds == 0 && !call->request.session)
    lc_request_free(&call->request);
}

int lc_rpc_server_create(const struct lc_rpc_server_config *config, struct lc_rpc_server **out) {
  struct lc_rpc_server *server = lc_calloc(1, sizeof(*server));
  if (!server)
    return LC_ENOMEM;
  server->table = config->table;
  server->max_message = config->max_message;
  server->log = config->log;
  server->face = (struct lc_face){
      .request_size = sizeof(struct lc_rpc_call),
      .zeroed_size = offsetof(struct lc_rpc_call, state),
      .arena_limit = config->max_message * ARENA_FACTOR + 65536,
      .on_begin = on_begin,
      .on_header = on_header,
      .on_head = on_head,
      .on_data = on_data,
      .on_end = on_end,
      .on_close = on_close,
  };
  *out = server;
  return LC_OK;
}

void lc_rpc_server_destroy(struct lc_rpc_server *server) {
  lc_free(server);
}

const struct lc_face *lc_rpc_server_face(const struct lc_rpc_server *server) {
  return &server->face;
}
