#include "lcache/v1/admin.pb-c.h"
#include "wire/msg.h"
#include "wire/pbc.h"

/* Numbers that the C structs and protobuf-c's have under the same name. */
/* clang-format off */
#define WORKER_NUMBERS(X) X(index) X(connections) X(requests) X(loads) X(buffer_bytes) X(lua_bytes)
#define GROUP_NUMBERS(X)                                                                                               \
  X(items) X(bytes) X(level2_items) X(limit_bytes) X(pool_used_bytes) X(flights) X(waiters) X(gets) X(hits) X(misses)  \
  X(loads) X(load_errors) X(not_found) X(coalesced) X(timeouts) X(sets) X(deletes) X(refused) X(evict_dropped)         \
  X(store_puts) X(store_deletes) X(store_refused) X(demotions) X(evicted_size) X(evicted_expired) X(evicted_deleted)   \
  X(evicted_cleared) X(mirrors) X(mirror_bytes) X(mirror_hits) X(forwards) X(forward_fails) X(peeks) X(peek_hits)      \
  X(served) X(invalidated) X(added)
/* clang-format on */
#define COPY(member_) to->member_ = from->member_;

int lc_msg_stats_request_decode(struct lc_arena *arena, struct lc_slice bytes, struct lc_msg_stats_request *out,
                                struct lc_err *err) {
  Lcache__V1__StatsRequest *in;
  *out = (struct lc_msg_stats_request){0};
  int rc = lc_pbc_unpack(&lcache__v1__stats_request__descriptor, arena, bytes, &in, err);
  if (rc == 0)
    out->group = lc_slice_str(in->group);
  return rc;
}

int lc_msg_stats_request_encode(const struct lc_msg_stats_request *msg, struct lc_buf *buf) {
  struct lc_pbc_scratch scratch;
  lc_pbc_scratch_init(&scratch);
  Lcache__V1__StatsRequest out = LCACHE__V1__STATS_REQUEST__INIT;
  out.group = lc_pbc_str(&scratch, msg->group);
  return lc_pbc_scratch_pack(&scratch, &out, buf);
}

static void from_worker(struct lc_msg_worker_stats *to, const Lcache__V1__WorkerStats *from) {
  WORKER_NUMBERS(COPY)
}

static void to_worker(Lcache__V1__WorkerStats *to, const struct lc_msg_worker_stats *from) {
  lcache__v1__worker_stats__init(to);
  WORKER_NUMBERS(COPY)
}

static void from_group(struct lc_msg_group_stats *to, const Lcache__V1__GroupStats *from) {
  to->name = lc_slice_str(from->name);
  GROUP_NUMBERS(COPY)
}

static void to_group(struct lc_pbc_scratch *scratch, Lcache__V1__GroupStats *to,
                     const struct lc_msg_group_stats *from) {
  lcache__v1__group_stats__init(to);
  to->name = lc_pbc_str(scratch, from->name);
  GROUP_NUMBERS(COPY)
}

int lc_msg_stats_response_decode(struct lc_arena *arena, struct lc_slice bytes, struct lc_msg_stats_response *out,
                                 struct lc_err *err) {
  Lcache__V1__StatsResponse *in;
  *out = (struct lc_msg_stats_response){0};
  int rc = lc_pbc_unpack(&lcache__v1__stats_response__descriptor, arena, bytes, &in, err);
  if (rc != 0)
    return rc;
  out->node = lc_slice_str(in->node);
  out->version = lc_slice_str(in->version);
  out->uptime_ms = in->uptime_ms;
  out->memory_used_bytes = in->memory_used_bytes;
  out->memory_limit_bytes = in->memory_limit_bytes;
  out->workers = lc_arena_alloc(arena, in->n_workers * sizeof *out->workers);
  out->groups = lc_arena_alloc(arena, in->n_groups * sizeof *out->groups);
  if (!out->workers || !out->groups)
    return lc_err_set(err, LC_ENOMEM, "no memory for a message");
  for (; out->worker_count < in->n_workers; out->worker_count++)
    from_worker(&out->workers[out->worker_count], in->workers[out->worker_count]);
  for (; out->group_count < in->n_groups; out->group_count++)
    from_group(&out->groups[out->group_count], in->groups[out->group_count]);
  return 0;
}

int lc_msg_stats_response_encode(const struct lc_msg_stats_response *msg, struct lc_buf *buf) {
  struct lc_pbc_scratch scratch;
  lc_pbc_scratch_init(&scratch);
  Lcache__V1__StatsResponse out = LCACHE__V1__STATS_RESPONSE__INIT;
  out.node = lc_pbc_str(&scratch, msg->node);
  out.version = lc_pbc_str(&scratch, msg->version);
  out.uptime_ms = msg->uptime_ms;
  out.memory_used_bytes = msg->memory_used_bytes;
  out.memory_limit_bytes = msg->memory_limit_bytes;
  out.workers = lc_pbc_array(&scratch, msg->worker_count, sizeof **out.workers);
  out.groups = lc_pbc_array(&scratch, msg->group_count, sizeof **out.groups);
  for (; out.workers && out.n_workers < msg->worker_count; out.n_workers++)
    to_worker(out.workers[out.n_workers], &msg->workers[out.n_workers]);
  for (; out.groups && out.n_groups < msg->group_count; out.n_groups++)
    to_group(&scratch, out.groups[out.n_groups], &msg->groups[out.n_groups]);
  return lc_pbc_scratch_pack(&scratch, &out, buf);
}

int lc_msg_nodes_response_decode(struct lc_arena *arena, struct lc_slice bytes, struct lc_msg_nodes_response *out,
                                 struct lc_err *err) {
  Lcache__V1__NodesResponse *in;
  *out = (struct lc_msg_nodes_response){0};
  int rc = lc_pbc_unpack(&lcache__v1__nodes_response__descriptor, arena, bytes, &in, err);
  if (rc != 0)
    return rc;
  out->self = lc_slice_str(in->self);
  out->ring = lc_slice_str(in->ring);
  out->nodes = lc_arena_alloc(arena, in->n_nodes * sizeof *out->nodes);
  if (!out->nodes)
    return lc_err_set(err, LC_ENOMEM, "no memory for a message");
  for (; out->node_count < in->n_nodes; out->node_count++) {
    const Lcache__V1__Node *node = in->nodes[out->node_count];
    out->nodes[out->node_count] =
        (struct lc_msg_node){lc_slice_str(node->address), lc_slice_str(node->state), node->share};
  }
  return 0;
}

int lc_msg_nodes_response_encode(const struct lc_msg_nodes_response *msg, struct lc_buf *buf) {
  struct lc_pbc_scratch scratch;
  lc_pbc_scratch_init(&scratch);
  Lcache__V1__NodesResponse out = LCACHE__V1__NODES_RESPONSE__INIT;
  out.self = lc_pbc_str(&scratch, msg->self);
  out.ring = lc_pbc_str(&scratch, msg->ring);
  out.nodes = lc_pbc_array(&scratch, msg->node_count, sizeof **out.nodes);
  for (; out.nodes && out.n_nodes < msg->node_count; out.n_nodes++) {
    Lcache__V1__Node *node = out.nodes[out.n_nodes];
    const struct lc_msg_node *from = &msg->nodes[out.n_nodes];
    lcache__v1__node__init(node);
    node->address = lc_pbc_str(&scratch, from->address);
    node->state = lc_pbc_str(&scratch, from->state);
    node->share = from->share;
  }
  return lc_pbc_scratch_pack(&scratch, &out, buf);
}

int lc_msg_owner_request_decode(struct lc_arena *arena, struct lc_slice bytes, struct lc_msg_owner_request *out,
                                struct lc_err *err) {
  Lcache__V1__OwnerRequest *in;
  *out = (struct lc_msg_owner_request){0};
  int rc = lc_pbc_unpack(&lcache__v1__owner_request__descriptor, arena, bytes, &in, err);
  if (rc == 0)
    *out = (struct lc_msg_owner_request){lc_slice_str(in->group), lc_pbc_slice(in->key)};
  return rc;
}

int lc_msg_owner_request_encode(const struct lc_msg_owner_request *msg, struct lc_buf *buf) {
  struct lc_pbc_scratch scratch;
  lc_pbc_scratch_init(&scratch);
  Lcache__V1__OwnerRequest out = LCACHE__V1__OWNER_REQUEST__INIT;
  out.group = lc_pbc_str(&scratch, msg->group);
  out.key = lc_pbc_bytes(msg->key);
  return lc_pbc_scratch_pack(&scratch, &out, buf);
}

int lc_msg_owner_response_decode(struct lc_arena *arena, struct lc_slice bytes, struct lc_msg_owner_response *out,
                                 struct lc_err *err) {
  Lcache__V1__OwnerResponse *in;
  *out = (struct lc_msg_owner_response){0};
  int rc = lc_pbc_unpack(&lcache__v1__owner_response__descriptor, arena, bytes, &in, err);
  if (rc == 0)
    *out = (struct lc_msg_owner_response){lc_slice_str(in->address), in->self};
  return rc;
}

int lc_msg_owner_response_encode(const struct lc_msg_owner_response *msg, struct lc_buf *buf) {
  struct lc_pbc_scratch scratch;
  lc_pbc_scratch_init(&scratch);
  Lcache__V1__OwnerResponse out = LCACHE__V1__OWNER_RESPONSE__INIT;
  out.address = lc_pbc_str(&scratch, msg->address);
  out.self = msg->self;
  return lc_pbc_scratch_pack(&scratch, &out, buf);
}
