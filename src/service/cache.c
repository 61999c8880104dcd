#include "service/internal.h"

/*
 * lcache.v1.Cache Get, Set and Delete, and the same of pb.LCache, the Go LCache's own service. BatchGet is in batch.c.
 */

struct get_state {
  struct lc_get get; /* its done tells which of the two services asks */
  struct lc_rpc_call *call;
};

_Static_assert(sizeof(struct get_state) <= LC_RPC_STATE_SIZE, "a Get's state lies in its call");

static void reply_item(struct lc_rpc_call *call, const struct lc_get *get, bool pb) {
  struct lc_slice value = lc_item_value(get->item);
  int rc;
  if (pb) {
    struct lc_msg_pb_get_response reply = {.value = value};
    rc = lc_msg_pb_get_response_frame(&reply, get->item, &lc_item_hold_ops, lc_rpc_out(call));
  } else {
    struct lc_msg_get_response reply = {.value = value, .ttl_ms = get->ttl_ms, .served_from = (int)get->from};
    rc = lc_msg_get_response_frame(&reply, get->item, &lc_item_hold_ops, lc_rpc_out(call));
  }
  lc_rpc_finish_framed(call, rc);
}

static void pb_get_done(struct lc_get *get);

static void reply_get(struct get_state *state) {
  struct lc_get *get = &state->get;
  /* A call whose deadline passed while the result was on its way takes no value: its reply is already made. */
  if (get->code == LC_OK && !lc_rpc_over(state->call))
    reply_item(state->call, get, get->done == pb_get_done);
  else
    lc_rpc_finish_code(state->call, get->code, get->message);
  lc_get_fini(get);
}

static void answer_get(struct lc_get *get) {
  struct get_state *state = lc_container_of(get, struct get_state, get);
  struct lc_rpc_call *call = state->call;
  reply_get(state);
  lc_rpc_release(call);
}

static void get_done(struct lc_get *get) {
  answer_get(get);
}

static void pb_get_done(struct lc_get *get) {
  answer_get(get);
}

static void cancel_get(struct lc_rpc_call *call, void *ctx) {
  struct lc_services *services = ctx;
  struct get_state *state = lc_rpc_state(call);
  if (!state->call)
    return;
  if (!lc_get_cancel(services->config.groups, &state->get))
    return; /* the result is on its way: get_done releases the call */
  lc_get_fini(&state->get);
  lc_rpc_release(call);
}

/* The group and key of a pending Get outlive the bytes that were read. */
static void keep_pending(struct lc_services *services, struct get_state *state) {
  struct lc_rpc_call *call = state->call;
  lc_rpc_hold(call);
  if (lc_rpc_keep(call, &state->get.group) == LC_OK && lc_rpc_keep(call, &state->get.key) == LC_OK)
    return;
  cancel_get(call, services);
  lc_rpc_finish_code(call, LC_ENOMEM, "out of memory for the request");
}

static void start_get(struct lc_services *services, struct lc_rpc_call *call, struct get_state *state,
                      void (*done)(struct lc_get *get)) {
  state->call = call;
  state->get.worker = lc_worker_index(lc_rpc_worker(call));
  state->get.done = done;
  if (lc_group_get(services->config.groups, &state->get) == LC_PENDING)
    keep_pending(services, state);
  else
    reply_get(state);
}

static void cache_get(struct lc_rpc_call *call, void *ctx, struct lc_slice message) {
  struct lc_msg_get_request request;
  struct lc_err err;
  int rc = lc_msg_get_request_decode(lc_rpc_arena(call), message, &request, &err);
  if (rc != LC_OK) {
    lc_rpc_finish_code(call, rc, err.msg);
    return;
  }
  struct get_state *state = lc_rpc_state(call);
  state->get.group = request.group;
  state->get.key = request.key;
  state->get.only_if_cached = request.only_if_cached;
  state->get.refresh = request.refresh;
  start_get(ctx, call, state, get_done);
}

static void pb_get(struct lc_rpc_call *call, void *ctx, struct lc_slice message) {
  struct lc_msg_pb_request request;
  struct lc_err err;
  int rc = lc_msg_pb_request_decode(lc_rpc_arena(call), message, &request, &err);
  if (rc != LC_OK) {
    lc_rpc_finish_code(call, rc, err.msg);
    return;
  }
  struct get_state *state = lc_rpc_state(call);
  state->get.group = request.group;
  state->get.key = request.key;
  start_get(ctx, call, state, pb_get_done);
}

/* A Set or Delete in progress, from the worker's pool: it is too large for the state of every call. */
struct write_call {
  struct lc_write write;
  struct lc_rpc_call *call;
  void (*reply)(struct write_call *write); /* on LC_OK */
  struct lc_slice value;                   /* of a Set */
};

struct write_state {
  struct write_call *pending;
};

static void reply_set(struct write_call *write) {
  struct lc_buf empty;
  lc_buf_init(&empty);
  lc_rpc_reply(write->call, &empty);
}

static void reply_pb_set(struct write_call *write) {
  struct lc_msg_pb_get_response reply = {.value = write->value};
  int rc = lc_msg_pb_get_response_frame(&reply, NULL, NULL, lc_rpc_out(write->call));
  lc_rpc_finish_framed(write->call, rc);
}

static void reply_delete(struct write_call *write) {
  struct lc_buf buf;
  lc_buf_init(&buf);
  lc_msg_delete_response_encode(&(struct lc_msg_delete_response){.deleted = write->write.deleted}, &buf);
  lc_rpc_reply(write->call, &buf);
}

static void reply_pb_delete(struct write_call *write) {
  struct lc_buf buf;
  lc_buf_init(&buf);
  lc_msg_pb_delete_response_encode(&(struct lc_msg_pb_delete_response){.value = write->write.deleted}, &buf);
  lc_rpc_reply(write->call, &buf);
}

static void free_write(struct write_call *write) {
  lc_mempool_free(lc_worker_pool(lc_rpc_worker(write->call)), write);
}

/* And it is over. */
static void reply_write(struct write_call *write) {
  if (!lc_rpc_over(write->call)) {
    if (write->write.code == LC_OK)
      write->reply(write);
    else
      lc_rpc_finish_code(write->call, write->write.code, write->write.err.msg);
  }
  free_write(write);
}

static void write_done(struct lc_write *done) {
  struct write_call *write = lc_container_of(done, struct write_call, write);
  struct lc_rpc_call *call = write->call;
  ((struct write_state *)lc_rpc_state(call))->pending = NULL;
  reply_write(write);
  lc_rpc_release(call);
}

static void cancel_write(struct lc_rpc_call *call, void *ctx) {
  struct lc_services *services = ctx;
  struct write_state *state = lc_rpc_state(call);
  if (!state->pending || !lc_write_cancel(services->config.groups, &state->pending->write))
    return; /* done is on its way, and releases the call */
  free_write(state->pending);
  state->pending = NULL;
  lc_rpc_release(call);
}

/* The domain holds a copy of the value, and pb's reply needs another. */
static void keep_write(struct lc_services *services, struct write_call *write) {
  struct lc_rpc_call *call = write->call;
  struct write_state *state = lc_rpc_state(call);
  state->pending = write;
  lc_rpc_hold(call);
  bool kept = lc_rpc_charge(call, sizeof *write + write->value.len);
  if (kept && write->reply == reply_pb_set)
    kept = lc_rpc_keep(call, &write->value) == LC_OK;
  if (kept)
    return;
  cancel_write(call, services);
  lc_rpc_finish_code(call, LC_ENOMEM, "out of memory for the request; the write may or may not have happened");
}

static struct write_call *new_write(struct lc_rpc_call *call, struct lc_slice group, struct lc_slice key,
                                    void (*reply)(struct write_call *write)) {
  /* Not from the call's arena: it would take a block of the heap for each write, among the items. */
  struct write_call *write = lc_mempool_alloc(lc_worker_pool(lc_rpc_worker(call)), sizeof *write);
  if (!write) {
    lc_rpc_finish_code(call, LC_ENOMEM, "out of memory for the request");
    return NULL;
  }
  *write = (struct write_call){.call = call, .reply = reply};
  write->write.group = group;
  write->write.key = key;
  write->write.worker = lc_worker_index(lc_rpc_worker(call));
  write->write.done = write_done;
  return write;
}

static void start_set(struct lc_services *services, struct write_call *write, struct lc_slice value, int64_t ttl_ms) {
  write->value = write->write.value = value;
  write->write.ttl_ms = ttl_ms;
  if (lc_group_set(services->config.groups, &write->write) == LC_PENDING)
    keep_write(services, write);
  else
    reply_write(write);
}

static void start_delete(struct lc_services *services, struct write_call *write) {
  if (lc_group_delete(services->config.groups, &write->write) == LC_PENDING)
    keep_write(services, write);
  else
    reply_write(write);
}

static void cache_set(struct lc_rpc_call *call, void *ctx, struct lc_slice message) {
  struct lc_msg_set_request request;
  struct lc_err err;
  int rc = lc_msg_set_request_decode(lc_rpc_arena(call), message, &request, &err);
  if (rc != LC_OK) {
    lc_rpc_finish_code(call, rc, err.msg);
    return;
  }
  struct write_call *write = new_write(call, request.group, request.key, reply_set);
  if (write)
    start_set(ctx, write, request.value, request.ttl_ms);
}

static void pb_set(struct lc_rpc_call *call, void *ctx, struct lc_slice message) {
  struct lc_msg_pb_request request;
  struct lc_err err;
  int rc = lc_msg_pb_request_decode(lc_rpc_arena(call), message, &request, &err);
  if (rc != LC_OK) {
    lc_rpc_finish_code(call, rc, err.msg);
    return;
  }
  struct write_call *write = new_write(call, request.group, request.key, reply_pb_set);
  if (write)
    start_set(ctx, write, request.value, LC_TTL_GROUP);
}

static void cache_delete(struct lc_rpc_call *call, void *ctx, struct lc_slice message) {
  struct lc_msg_delete_request request;
  struct lc_err err;
  int rc = lc_msg_delete_request_decode(lc_rpc_arena(call), message, &request, &err);
  if (rc != LC_OK) {
    lc_rpc_finish_code(call, rc, err.msg);
    return;
  }
  struct write_call *write = new_write(call, request.group, request.key, reply_delete);
  if (write)
    start_delete(ctx, write);
}

static void pb_delete(struct lc_rpc_call *call, void *ctx, struct lc_slice message) {
  struct lc_msg_pb_request request;
  struct lc_err err;
  int rc = lc_msg_pb_request_decode(lc_rpc_arena(call), message, &request, &err);
  if (rc != LC_OK) {
    lc_rpc_finish_code(call, rc, err.msg);
    return;
  }
  struct write_call *write = new_write(call, request.group, request.key, reply_pb_delete);
  if (write)
    start_delete(ctx, write);
}

#define WRITE(path_, handler_)                                                                                         \
  { .path = (path_), .state_size = sizeof(struct write_state), .on_message = (handler_), .on_cancel = cancel_write }
#define GET(path_, handler_)                                                                                           \
  { .path = (path_), .state_size = sizeof(struct get_state), .on_message = (handler_), .on_cancel = cancel_get }

const struct lc_rpc_method lc_cache_methods[] = {
    GET("/lcache.v1.Cache/Get", cache_get),
    WRITE("/lcache.v1.Cache/Set", cache_set),
    WRITE("/lcache.v1.Cache/Delete", cache_delete),
};
const size_t lc_cache_method_count = sizeof(lc_cache_methods) / sizeof(lc_cache_methods[0]);

const struct lc_rpc_method lc_pb_methods[] = {
    GET("/pb.LCache/Get", pb_get),
    WRITE("/pb.LCache/Set", pb_set),
    WRITE("/pb.LCache/Delete", pb_delete),
};
const size_t lc_pb_method_count = sizeof(lc_pb_methods) / sizeof(lc_pb_methods[0]);
