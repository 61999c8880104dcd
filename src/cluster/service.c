/*
 * lcache.v1.Peer, the answering side: what other nodes ask of this one. Gets are in service_get.c.
 */
#include "cluster/service.h"

unsigned lc_peer_worker(const struct lc_rpc_call *call) {
  return lc_worker_index(lc_rpc_worker(call));
}

struct lc_peer *lc_peer_sender(struct lc_cluster *cluster, unsigned worker, uint64_t from, uint64_t to) {
  return to == cluster->process ? lc_view_peer_of(lc_cluster_view(cluster, worker), from) : NULL;
}

/* ---- Hello, Leave ---- */

static void hello(struct lc_rpc_call *call, void *ctx, struct lc_slice message) {
  struct lc_cluster *cluster = ctx;
  struct lc_msg_hello_request request;
  struct lc_msg_hello_response reply;
  struct lc_err err;
  int rc = lc_msg_hello_request_decode(lc_rpc_arena(call), message, &request, &err);
  if (rc == LC_OK)
    rc = lc_members_greeted(cluster, &request, &reply, &err);
  if (rc != LC_OK) {
    lc_rpc_finish_code(call, rc, err.msg);
    return;
  }
  struct lc_buf buf;
  lc_buf_init(&buf);
  lc_msg_hello_response_encode(&reply, &buf);
  lc_rpc_reply(call, &buf);
}

static void leave(struct lc_rpc_call *call, void *ctx, struct lc_slice message) {
  struct lc_cluster *cluster = ctx;
  struct lc_msg_leave_request request;
  struct lc_err err;
  int rc = lc_msg_leave_request_decode(lc_rpc_arena(call), message, &request, &err);
  if (rc != LC_OK) {
    lc_rpc_finish_code(call, rc, err.msg);
    return;
  }
  struct lc_peer *peer = lc_peer_sender(cluster, lc_peer_worker(call), request.from, request.to);
  struct lc_msg_leave_response reply = {.outcome = peer ? LC_OUTCOME_OK : LC_OUTCOME_STRANGER};
  if (peer)
    lc_members_left(cluster, peer);
  struct lc_buf buf;
  lc_buf_init(&buf);
  lc_msg_leave_response_encode(&reply, &buf);
  lc_rpc_reply(call, &buf);
}

/* ---- Invalidate, HandOver ---- */

static void invalidate(struct lc_rpc_call *call, void *ctx, struct lc_slice message) {
  struct lc_cluster *cluster = ctx;
  unsigned worker = lc_peer_worker(call);
  struct lc_msg_invalidate_request request;
  struct lc_err err;
  int rc = lc_msg_invalidate_request_decode(lc_rpc_arena(call), message, &request, &err);
  if (rc != LC_OK) {
    lc_rpc_finish_code(call, rc, err.msg);
    return;
  }
  struct lc_msg_invalidate_response reply = {.outcome = LC_OUTCOME_STRANGER};
  struct lc_peer *peer = lc_peer_sender(cluster, worker, request.from, request.to);
  if (peer)
    lc_apply_invalidate(cluster, worker, peer, &request, &reply);
  struct lc_buf buf;
  lc_buf_init(&buf);
  lc_msg_invalidate_response_encode(&reply, &buf);
  lc_rpc_reply(call, &buf);
}

static void hand_over(struct lc_rpc_call *call, void *ctx, struct lc_slice message) {
  struct lc_cluster *cluster = ctx;
  unsigned worker = lc_peer_worker(call);
  struct lc_msg_handover_request request;
  struct lc_err err;
  int rc = lc_msg_handover_request_decode(lc_rpc_arena(call), message, &request, &err);
  if (rc != LC_OK) {
    lc_rpc_finish_code(call, rc, err.msg);
    return;
  }
  struct lc_msg_handover_response reply = {.outcome = LC_OUTCOME_STRANGER};
  struct lc_peer *peer = lc_peer_sender(cluster, worker, request.from, request.to);
  if (peer)
    lc_handover_take(cluster, worker, peer, &request, &reply);
  struct lc_buf buf;
  lc_buf_init(&buf);
  lc_msg_handover_response_encode(&reply, &buf);
  lc_rpc_reply(call, &buf);
}

/* ---- Set, Delete ---- */

/* In the call's arena: the state of every call has no room for it. */
struct peer_write {
  struct lc_write write;
  struct lc_cluster *cluster;
  struct lc_rpc_call *call;
};

struct write_state {
  struct peer_write *pending; /* NULL: not begun, or over */
};

static int outcome_of(int code) {
  switch (code) {
  case LC_OK:
    return LC_OUTCOME_OK;
  case LC_ENOTOWNER:
    return LC_OUTCOME_NOT_OWNER;
  default:
    return LC_OUTCOME_FAILED;
  }
}

static void reply_write(struct lc_rpc_call *call, const struct lc_msg_peer_write_response *reply) {
  struct lc_buf buf;
  lc_buf_init(&buf);
  lc_msg_peer_write_response_encode(reply, &buf);
  lc_rpc_reply(call, &buf);
}

static void answer_write(struct peer_write *peer_write) {
  const struct lc_write *write = &peer_write->write;
  const struct lc_view *view = lc_cluster_view(peer_write->cluster, write->worker);
  struct lc_msg_peer_write_response reply = {
      .outcome = outcome_of(write->code), .deleted = write->deleted, .ring = lc_ring_id(view->now->ring)};
  if (reply.outcome == LC_OUTCOME_FAILED) {
    reply.code = lc_grpc_status_of(write->code);
    reply.message = lc_slice_str(write->err.msg);
  }
  reply_write(peer_write->call, &reply);
}

static void free_write(struct peer_write *peer_write) {
  lc_mempool_free(lc_worker_pool(lc_rpc_worker(peer_write->call)), peer_write);
}

static void write_done(struct lc_write *write) {
  struct peer_write *peer_write = lc_container_of(write, struct peer_write, write);
  struct lc_rpc_call *call = peer_write->call;
  ((struct write_state *)lc_rpc_state(call))->pending = NULL;
  if (!lc_rpc_over(call))
    answer_write(peer_write);
  free_write(peer_write);
  lc_rpc_release(call);
}

static void cancel_write(struct lc_rpc_call *call, void *ctx) {
  struct lc_cluster *cluster = ctx;
  struct write_state *state = lc_rpc_state(call);
  if (!state->pending || !lc_write_cancel(cluster->groups, &state->pending->write))
    return; /* the end is on its way: write_done releases the call */
  free_write(state->pending);
  state->pending = NULL;
  lc_rpc_release(call);
}

static void start_write(struct lc_cluster *cluster, struct lc_rpc_call *call, const struct lc_write *asked,
                        int (*start)(struct lc_groups *groups, struct lc_write *write)) {
  struct peer_write *peer_write = lc_mempool_alloc(lc_worker_pool(lc_rpc_worker(call)), sizeof *peer_write);
  if (!peer_write) {
    lc_rpc_finish_code(call, LC_ENOMEM, "out of memory for the request");
    return;
  }
  *peer_write = (struct peer_write){.write = *asked, .cluster = cluster, .call = call};
  peer_write->write.worker = lc_peer_worker(call);
  peer_write->write.forwarded = true;
  peer_write->write.done = write_done;
  if (start(cluster->groups, &peer_write->write) != LC_PENDING) {
    answer_write(peer_write);
    free_write(peer_write);
    return;
  }
  ((struct write_state *)lc_rpc_state(call))->pending = peer_write;
  lc_rpc_hold(call);
  if (lc_rpc_charge(call, sizeof *peer_write))
    return;
  cancel_write(call, cluster);
  lc_rpc_finish_code(call, LC_ENOMEM, "out of memory for the request; the write may or may not have happened");
}

/* Nothing is done, and the sender tries again: it is a stranger; or we have just begun, and somebody with copies may
 * not be waited for yet. */
static bool refused(struct lc_cluster *cluster, struct lc_rpc_call *call, uint64_t from, uint64_t to) {
  struct lc_msg_peer_write_response reply = {.outcome = LC_OUTCOME_STRANGER};
  if (lc_peer_sender(cluster, lc_peer_worker(call), from, to)) {
    if (!atomic_load(&cluster->arriving))
      return false;
    reply.outcome = LC_OUTCOME_NOT_OWNER;
  }
  reply_write(call, &reply);
  return true;
}

static void peer_set(struct lc_rpc_call *call, void *ctx, struct lc_slice message) {
  struct lc_cluster *cluster = ctx;
  struct lc_msg_peer_set_request request;
  struct lc_err err;
  int rc = lc_msg_peer_set_request_decode(lc_rpc_arena(call), message, &request, &err);
  if (rc != LC_OK) {
    lc_rpc_finish_code(call, rc, err.msg);
    return;
  }
  if (refused(cluster, call, request.from, request.to))
    return;
  const struct lc_write write = {
      .group = request.group, .key = request.key, .value = request.value, .ttl_ms = request.ttl_ms};
  start_write(cluster, call, &write, lc_group_set);
}

static void peer_delete(struct lc_rpc_call *call, void *ctx, struct lc_slice message) {
  struct lc_cluster *cluster = ctx;
  struct lc_msg_peer_delete_request request;
  struct lc_err err;
  int rc = lc_msg_peer_delete_request_decode(lc_rpc_arena(call), message, &request, &err);
  if (rc != LC_OK) {
    lc_rpc_finish_code(call, rc, err.msg);
    return;
  }
  if (refused(cluster, call, request.from, request.to))
    return;
  const struct lc_write write = {.group = request.group, .key = request.key};
  start_write(cluster, call, &write, lc_group_delete);
}

/* ---- the table ---- */

#define METHOD(name_, ...)                                                                                             \
  { .path = "/lcache.v1.Peer/" name_, .extra_message = LC_PEER_MESSAGE_EXTRA, __VA_ARGS__ }

const struct lc_rpc_method lc_peer_methods[] = {
    METHOD("Hello", .on_message = hello),
    METHOD("Get", .state_size = LC_PEER_GET_STATE, .on_message = lc_peer_get_message, .on_cancel = lc_peer_get_cancel),
    METHOD("BatchGet", .state_size = LC_PEER_BATCH_STATE, .on_message = lc_peer_batch_message,
           .on_cancel = lc_peer_batch_cancel),
    METHOD("Set", .state_size = sizeof(struct write_state), .on_message = peer_set, .on_cancel = cancel_write),
    METHOD("Delete", .state_size = sizeof(struct write_state), .on_message = peer_delete, .on_cancel = cancel_write),
    METHOD("Invalidate", .on_message = invalidate),
    METHOD("HandOver", .on_message = hand_over),
    METHOD("Leave", .on_message = leave),
};
const size_t lc_peer_method_count = sizeof lc_peer_methods / sizeof lc_peer_methods[0];
