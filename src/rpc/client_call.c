#include <string.h>

#include "base/alloc.h"
#include "rpc/client_internal.h"

struct lc_rpc_client_call {
  struct lc_list link; /* in one of the client's lists */
  struct lc_rpc_client *client;
  const char *path;
  uint64_t timeout_ms;
  int32_t stream_id; /* 0: it waits for one */
  int http_status;
  int status;
  bool has_reply, has_status;
  bool transport;
  lc_rpc_client_done done;
  void *arg;
  const char *fault; /* our own words for what went wrong, instead of the server's */
  struct lc_outq body;
  struct lc_timer deadline;
  struct lc_buf message; /* grpc-message, decoded */
  struct lc_slice reply; /* in the bytes just read, in `kept` or in the deframer */
  void *kept;            /* from the worker's pool */
  struct lc_grpc_deframer deframer;
  size_t charged; /* of what the deframer has */
};

static struct lc_mempool *pool_of(const struct lc_rpc_client *client) {
  return lc_worker_pool(client->worker);
}

/* Charges what has been taken for the reply. 0, or LC_ENOMEM: the worker's buffers have no room for it. */
static int account(struct lc_rpc_client_call *call) {
  size_t cap = call->deframer.cap;
  if (cap > call->charged && !lc_worker_charge(call->client->worker, cap - call->charged))
    return LC_ENOMEM;
  call->charged = cap;
  return 0;
}

/* ---- the end of a call ---- */

static void call_free(struct lc_rpc_client_call *call) {
  struct lc_rpc_client *client = call->client;
  if (call->stream_id == 0)
    client->waiting_bytes -= call->body.bytes + sizeof(*call);
  lc_list_remove(&call->link);
  lc_timer_stop(lc_worker_timers(client->worker), &call->deadline);
  lc_outq_fini(&call->body);
  lc_worker_uncharge(client->worker, call->charged);
  lc_grpc_deframer_fini(&call->deframer);
  lc_mempool_free(pool_of(client), call->kept);
  if (call->message.data)
    lc_buf_fini(&call->message);
  lc_mempool_free(pool_of(client), call);
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
    result.reply = call->reply;
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

/* ---- what comes ---- */

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

static bool is(struct lc_slice name, const char *text, size_t len) {
  return name.len == len && memcmp(name.ptr, text, len) == 0;
}
#define IS(name_, text_) is((name_), (text_), sizeof(text_) - 1)

static int on_header(void *arg, void *stream, struct lc_slice name, struct lc_slice value) {
  (void)arg;
  struct lc_rpc_client_call *call = stream;
  if (IS(name, ":status")) {
    call->http_status = parse_number(value);
  } else if (IS(name, "grpc-status") && !call->fault) {
    call->status = parse_number(value);
    call->has_status = true;
  } else if (IS(name, "grpc-message")) {
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

/* Mostly the trailers have come in the same read: then the reply is handed on from where it lies. */
static int take_reply(struct lc_rpc_client_call *call, struct lc_slice message) {
  if (call->has_reply)
    return LC_EPROTO;
  call->has_reply = true;
  call->reply = message;
  if (lc_grpc_deframer_holds(&call->deframer, message))
    return account(call);
  lc_list_remove(&call->link);
  lc_list_push_back(&call->client->borrowed, &call->link);
  return 0;
}

static void refuse_reply(struct lc_rpc_client_call *call, int rc) {
  if (rc == LC_ETOOBIG)
    set_fault(call, LC_GRPC_RESOURCE_EXHAUSTED, "the reply is over this client's message limit");
  else if (rc == LC_ENOMEM)
    set_fault(call, LC_GRPC_RESOURCE_EXHAUSTED, "out of memory for the reply");
  else
    set_fault(call, LC_GRPC_INTERNAL, "malformed reply");
  call_reset(call);
}

static void on_data(void *arg, void *stream, struct lc_slice data) {
  (void)arg;
  struct lc_rpc_client_call *call = stream;
  int rc;
  do {
    struct lc_slice message;
    rc = lc_grpc_deframe(&call->deframer, &data, &message);
    if (rc >= 0)
      rc = rc == 1 ? take_reply(call, message) : account(call);
  } while (rc == 0 && data.len > 0);
  if (rc < 0)
    refuse_reply(call, rc);
}

static int keep_reply(struct lc_rpc_client_call *call) {
  if (call->reply.len == 0)
    return 0;
  call->kept = lc_mempool_alloc(pool_of(call->client), call->reply.len);
  if (!call->kept)
    return LC_ENOMEM;
  memcpy(call->kept, call->reply.ptr, call->reply.len);
  call->reply.ptr = call->kept;
  return 0;
}

void lc_rpc_client_keep_replies(struct lc_rpc_client *client) {
  for (struct lc_list *link; (link = lc_list_pop_front(&client->borrowed)) != NULL;) {
    struct lc_rpc_client_call *call = lc_container_of(link, struct lc_rpc_client_call, link);
    lc_list_push_back(&client->calls, &call->link);
    if (keep_reply(call) != 0)
      refuse_reply(call, LC_ENOMEM);
  }
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

const struct lc_h2_handler lc_rpc_client_h2_handler = {
    .on_begin = on_begin,
    .on_header = on_header,
    .on_head = on_head,
    .on_data = on_data,
    .on_close = on_stream_close,
    .on_goaway = on_goaway,
    .body = body_of,
};

/* ---- calls ---- */

static void on_deadline(struct lc_timer *timer) {
  struct lc_rpc_client_call *call = lc_container_of(timer, struct lc_rpc_client_call, deadline);
  set_fault(call, LC_GRPC_DEADLINE_EXCEEDED, "no reply before the deadline");
  if (call->stream_id == 0) {
    call_end(call);
    return;
  }
  call_reset(call);
  call_tell(call); /* now, not when the stream has ended: the connection may be stuck */
}

/*
 * The deadline as the server is told it: rounded up by at most 1/32, so that the calls of a moment say the same, which
 * HTTP/2 then sends as one byte. We end the call by the exact one.
 */
static const char *timeout_text(struct lc_rpc_client *client, uint64_t ms) {
  unsigned bits = 64u - (unsigned)__builtin_clzll(ms | 1), shift = bits > 6 ? bits - 6 : 0;
  if (shift > 0 && ms < UINT64_MAX >> 8)
    ms = (ms + (1ull << shift) - 1) >> shift << shift;
  if (ms != client->timeout_ms)
    lc_grpc_format_timeout(ms, client->timeout_text);
  client->timeout_ms = ms;
  return client->timeout_text;
}

/* Before the server has said how many streams it takes; RFC 9113, 6.5.2: no limit below that is recommended. */
#define STREAMS_UNTOLD 100u

/* Gives the call a stream. 0, LC_EEXHAUSTED (the server has no room now) or LC_ENOMEM. */
static int submit(struct lc_rpc_client_call *call) {
  struct lc_rpc_client *client = call->client;
  struct lc_h2_field fields[] = {
      LC_H2_FIXED(":method", "POST"),
      LC_H2_FIXED(":scheme", "http"),
      {lc_slice_str(":path"), lc_slice_str(call->path), true},
      {lc_slice_str(":authority"), lc_slice_str(client->authority), true},
      LC_H2_FIXED("te", "trailers"),
      LC_H2_FIXED("content-type", "application/grpc"),
      {lc_slice_str("grpc-timeout"), {0}, false},
  };
  size_t count = sizeof(fields) / sizeof(fields[0]) - 1;
  if (!client->up && lc_h2_streams(client->h2) >= STREAMS_UNTOLD)
    return LC_EEXHAUSTED;
  if (call->timeout_ms > 0)
    fields[count++].value = lc_slice_str(timeout_text(client, call->timeout_ms));
  return lc_h2_request_whole(client->h2, fields, count, call, &call->stream_id);
}

void lc_rpc_client_start_waiting(struct lc_rpc_client *client) {
  while (!lc_list_empty(&client->waiting) && !client->down) {
    struct lc_rpc_client_call *call = lc_container_of(client->waiting.next, struct lc_rpc_client_call, link);
    size_t bytes = call->body.bytes + sizeof(*call);
    int rc = submit(call);
    if (rc == LC_EEXHAUSTED && lc_h2_streams(client->h2) == 0)
      lc_rpc_client_give_up(client, LC_EUNAVAILABLE, "the connection has no streams left");
    if (rc == LC_EEXHAUSTED)
      return;
    if (rc != 0) {
      set_fault(call, LC_GRPC_RESOURCE_EXHAUSTED, "out of memory for the call");
      call_end(call);
      continue;
    }
    client->waiting_bytes -= bytes;
    lc_list_remove(&call->link);
    lc_list_push_back(&client->calls, &call->link);
  }
}

void lc_rpc_client_end_waiting(struct lc_rpc_client *client) {
  while (!lc_list_empty(&client->waiting))
    call_end(lc_container_of(client->waiting.next, struct lc_rpc_client_call, link));
}

static void forget(struct lc_list *calls) {
  for (struct lc_list *link = calls->next; link != calls; link = link->next)
    lc_container_of(link, struct lc_rpc_client_call, link)->done = NULL;
}

void lc_rpc_client_forget_calls(struct lc_rpc_client *client) {
  forget(&client->calls);
  forget(&client->borrowed);
  forget(&client->waiting);
}

static int take_request(struct lc_rpc_client_call *call, struct lc_outq *request) {
  if (call->body.pool != request->pool)
    return lc_outq_move(&call->body, request, request->bytes);
  call->body = *request;
  lc_outq_init(request, request->pool);
  return 0;
}

static struct lc_rpc_client_call *call_create(struct lc_rpc_client *client, struct lc_outq *request) {
  struct lc_rpc_client_call *call = lc_mempool_alloc(pool_of(client), sizeof(*call));
  if (!call)
    return NULL;
  memset(call, 0, sizeof(*call));
  call->client = client;
  lc_outq_init(&call->body, pool_of(client));
  if (take_request(call, request) != 0) {
    lc_mempool_free(pool_of(client), call);
    return NULL;
  }
  lc_grpc_deframer_init(&call->deframer, NULL, client->config.max_message);
  return call;
}

/* Begins it or puts it in the queue. */
static int call_start(struct lc_rpc_client_call *call) {
  struct lc_rpc_client *client = call->client;
  int rc = lc_list_empty(&client->waiting) ? submit(call) : LC_EEXHAUSTED;
  if (rc == 0) {
    lc_list_push_back(&client->calls, &call->link);
    lc_conn_flush_later(client->conn);
    return 0;
  }
  size_t bytes = call->body.bytes + sizeof(*call);
  if (rc == LC_EEXHAUSTED && client->waiting_bytes + bytes <= client->config.queue_limit_bytes) {
    client->waiting_bytes += bytes;
    lc_list_push_back(&client->waiting, &call->link);
    return 0;
  }
  client->waiting_bytes += bytes; /* call_free takes it off again */
  lc_list_init(&call->link);
  call_free(call);
  return rc;
}

int lc_rpc_client_call(struct lc_rpc_client *client, const char *path, struct lc_outq *request, uint64_t timeout_ms,
                       lc_rpc_client_done done, void *arg, struct lc_rpc_client_call **out) {
  if (client->down || !client->conn)
    return LC_EUNAVAILABLE;
  struct lc_rpc_client_call *call = call_create(client, request);
  if (!call)
    return LC_ENOMEM;
  call->path = path;
  call->timeout_ms = timeout_ms;
  call->done = done;
  call->arg = arg;
  call->deadline.fire = on_deadline;
  int rc = call_start(call);
  if (rc != 0)
    return rc;
  if (timeout_ms > 0)
    lc_timer_start(lc_worker_timers(client->worker), &call->deadline, lc_worker_now_ms(client->worker) + timeout_ms);
  lc_rpc_client_watch(client);
  if (out)
    *out = call;
  return LC_OK;
}

void lc_rpc_client_cancel(struct lc_rpc_client_call *call) {
  call->done = NULL;
  if (call->stream_id == 0)
    call_free(call);
  else
    call_reset(call);
}
