#include "service/internal.h"

/*
 * lcache.v1.Cache Get, Set and Delete, and the same of pb.LCache, the Go LCache's own service. BatchGet is in batch.c.
 */

struct get_state {
  struct lc_get get;
  struct lc_rpc_call *call;
  bool pb;
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
  lc_reply_code(call, rc, rc == LC_OK ? NULL : "out of memory for the reply");
}

static void reply_get(struct get_state *state) {
  struct lc_get *get = &state->get;
  /* A call whose deadline passed while the result was on its way takes no value: its reply is already made. */
  if (get->code == LC_OK && !lc_rpc_over(state->call))
    reply_item(state->call, get, state->pb);
  else
    lc_reply_code(state->call, get->code, get->message);
  lc_get_fini(get);
}

static void get_done(struct lc_get *get) {
  struct get_state *state = lc_container_of(get, struct get_state, get);
  struct lc_rpc_call *call = state->call;
  reply_get(state);
  lc_rpc_release(call);
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
  if (lc_keep_slice(call, &state->get.group) == LC_OK && lc_keep_slice(call, &state->get.key) == LC_OK)
    return;
  cancel_get(call, services);
  lc_reply_code(call, LC_ENOMEM, "out of memory for the request");
}

static void start_get(struct lc_services *services, struct lc_rpc_call *call, struct get_state *state) {
  state->call = call;
  state->get.worker = lc_worker_index(lc_rpc_worker(call));
  state->get.done = get_done;
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
    lc_reply_code(call, rc, err.msg);
    return;
  }
  struct get_state *state = lc_rpc_state(call);
  state->get.group = request.group;
  state->get.key = request.key;
  state->get.only_if_cached = request.only_if_cached;
  state->get.refresh = request.refresh;
  start_get(ctx, call, state);
}

static void pb_get(struct lc_rpc_call *call, void *ctx, struct lc_slice message) {
  struct lc_msg_pb_request request;
  struct lc_err err;
  int rc = lc_msg_pb_request_decode(lc_rpc_arena(call), message, &request, &err);
  if (rc != LC_OK) {
    lc_reply_code(call, rc, err.msg);
    return;
  }
  struct get_state *state = lc_rpc_state(call);
  state->get.group = request.group;
  state->get.key = request.key;
  state->pb = true;
  start_get(ctx, call, state);
}

static int set(struct lc_services *services, struct lc_rpc_call *call, struct lc_write *write) {
  struct lc_err err = {0};
  write->worker = lc_worker_index(lc_rpc_worker(call));
  int rc = lc_group_set(services->config.groups, write, &err);
  if (rc != LC_OK)
    lc_reply_code(call, rc, err.msg);
  return rc;
}

static void cache_set(struct lc_rpc_call *call, void *ctx, struct lc_slice message) {
  struct lc_msg_set_request request;
  struct lc_err err;
  int rc = lc_msg_set_request_decode(lc_rpc_arena(call), message, &request, &err);
  if (rc != LC_OK) {
    lc_reply_code(call, rc, err.msg);
    return;
  }
  struct lc_write write = {
      .group = request.group, .key = request.key, .value = request.value, .ttl_ms = request.ttl_ms};
  if (set(ctx, call, &write) != LC_OK)
    return;
  struct lc_buf empty;
  lc_buf_init(&empty);
  lc_reply_buf(call, &empty);
}

static void pb_set(struct lc_rpc_call *call, void *ctx, struct lc_slice message) {
  struct lc_msg_pb_request request;
  struct lc_err err;
  int rc = lc_msg_pb_request_decode(lc_rpc_arena(call), message, &request, &err);
  if (rc != LC_OK) {
    lc_reply_code(call, rc, err.msg);
    return;
  }
  struct lc_write write = {.group = request.group, .key = request.key, .value = request.value, .ttl_ms = LC_TTL_GROUP};
  if (set(ctx, call, &write) != LC_OK)
    return;
  struct lc_msg_pb_get_response reply = {.value = request.value};
  rc = lc_msg_pb_get_response_frame(&reply, NULL, NULL, lc_rpc_out(call));
  lc_reply_code(call, rc, rc == LC_OK ? NULL : "out of memory for the reply");
}

/* True if the call goes on with write->deleted set; otherwise it has been answered. */
static bool delete_key(struct lc_services *services, struct lc_rpc_call *call, struct lc_write *write) {
  struct lc_err err = {0};
  write->worker = lc_worker_index(lc_rpc_worker(call));
  int rc = lc_group_delete(services->config.groups, write, &err);
  if (rc != LC_OK)
    lc_reply_code(call, rc, err.msg);
  return rc == LC_OK;
}

static void cache_delete(struct lc_rpc_call *call, void *ctx, struct lc_slice message) {
  struct lc_msg_delete_request request;
  struct lc_err err;
  int rc = lc_msg_delete_request_decode(lc_rpc_arena(call), message, &request, &err);
  if (rc != LC_OK) {
    lc_reply_code(call, rc, err.msg);
    return;
  }
  struct lc_write write = {.group = request.group, .key = request.key};
  if (!delete_key(ctx, call, &write))
    return;
  struct lc_buf buf;
  lc_buf_init(&buf);
  lc_msg_delete_response_encode(&(struct lc_msg_delete_response){.deleted = write.deleted}, &buf);
  lc_reply_buf(call, &buf);
}

static void pb_delete(struct lc_rpc_call *call, void *ctx, struct lc_slice message) {
  struct lc_msg_pb_request request;
  struct lc_err err;
  int rc = lc_msg_pb_request_decode(lc_rpc_arena(call), message, &request, &err);
  if (rc != LC_OK) {
    lc_reply_code(call, rc, err.msg);
    return;
  }
  struct lc_write write = {.group = request.group, .key = request.key};
  if (!delete_key(ctx, call, &write))
    return;
  struct lc_buf buf;
  lc_buf_init(&buf);
  lc_msg_pb_delete_response_encode(&(struct lc_msg_pb_delete_response){.value = write.deleted}, &buf);
  lc_reply_buf(call, &buf);
}

#define UNARY(path_, handler_)                                                                                         \
  { .path = (path_), .on_message = (handler_) }
#define GET(path_, handler_)                                                                                           \
  { .path = (path_), .state_size = sizeof(struct get_state), .on_message = (handler_), .on_cancel = cancel_get }

const struct lc_rpc_method lc_cache_methods[] = {
    GET("/lcache.v1.Cache/Get", cache_get),
    UNARY("/lcache.v1.Cache/Set", cache_set),
    UNARY("/lcache.v1.Cache/Delete", cache_delete),
};
const size_t lc_cache_method_count = sizeof(lc_cache_methods) / sizeof(lc_cache_methods[0]);

const struct lc_rpc_method lc_pb_methods[] = {
    GET("/pb.LCache/Get", pb_get),
    UNARY("/pb.LCache/Set", pb_set),
    UNARY("/pb.LCache/Delete", pb_delete),
};
const size_t lc_pb_method_count = sizeof(lc_pb_methods) / sizeof(lc_pb_methods[0]);
