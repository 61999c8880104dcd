#include "base/alloc.h"
#include "base/clock.h"
#include "service/internal.h"

/* lcache.v1.Admin: what lcachectl's stats, nodes and owner show. */

#define NODES_MAX 1024

static void fill_group(struct lc_groups *groups, size_t index, struct lc_msg_group_stats *out) {
  struct lc_group_stats stats;
  lc_group_stats(groups, index, &stats);
  const struct lc_store_stats *store = &stats.store;
  *out = (struct lc_msg_group_stats){
      .name = lc_slice_str(lc_group_name(lc_groups_at(groups, index))),
      .items = store->items,
      .bytes = store->bytes,
      .level2_items = store->level2_items,
      .limit_bytes = stats.limit_bytes,
      .pool_used_bytes = stats.pool_used_bytes,
      .flights = stats.flights,
      .waiters = stats.waiters,
      .gets = stats.gets,
      .hits = stats.hits,
      .misses = stats.misses,
      .loads = stats.loads,
      .load_errors = stats.load_errors,
      .not_found = stats.not_found,
      .coalesced = stats.coalesced,
      .timeouts = stats.timeouts,
      .sets = stats.sets,
      .deletes = stats.deletes,
      .refused = stats.refused,
      .evict_dropped = stats.evict_dropped,
      .store_puts = store->puts,
      .store_deletes = store->deletes,
      .store_refused = store->refused,
      .demotions = store->demotions,
      .evicted_size = store->evictions[LC_EVICT_SIZE],
      .evicted_expired = store->evictions[LC_EVICT_EXPIRED],
      .evicted_deleted = store->evictions[LC_EVICT_DELETED],
      .evicted_cleared = store->evictions[LC_EVICT_CLEARED],
      .mirrors = store->mirrors,
      .mirror_bytes = store->mirror_bytes,
      .mirror_hits = stats.mirror_hits,
      .forwards = stats.forwards,
      .forward_fails = stats.forward_fails,
      .peeks = stats.peeks,
      .peek_hits = stats.peek_hits,
      .served = stats.served,
      .invalidated = stats.invalidated,
      .added = stats.added,
  };
}

static void fill_workers(struct lc_services *services, struct lc_msg_stats_response *reply) {
  for (unsigned i = 0; i < reply->worker_count; i++) {
    struct lc_msg_worker_stats *worker = &reply->workers[i];
    *worker =
        (struct lc_msg_worker_stats){.index = i, .requests = lc_groups_worker_requests(services->config.groups, i)};
    services->config.worker_stats(services->config.ctx, i, worker);
  }
}

/* Groups are listed whole, or the one that was asked for. */
static size_t fill_groups(struct lc_services *services, struct lc_slice only, struct lc_msg_group_stats *out,
                          uint64_t *used) {
  struct lc_groups *groups = services->config.groups;
  size_t count = 0;
  *used = 0;
  for (size_t i = 0; i < lc_groups_count(groups); i++) {
    struct lc_msg_group_stats stats;
    fill_group(groups, i, &stats);
    *used += stats.bytes;
    if (only.len == 0 || lc_slice_eq(only, stats.name))
      out[count++] = stats;
  }
  return count;
}

static void stats(struct lc_rpc_call *call, void *ctx, struct lc_slice message) {
  struct lc_services *services = ctx;
  struct lc_groups *groups = services->config.groups;
  struct lc_msg_stats_request request;
  struct lc_err err;
  struct lc_group *group;
  int rc = lc_msg_stats_request_decode(lc_rpc_arena(call), message, &request, &err);
  if (rc == LC_OK && request.group.len > 0)
    rc = lc_groups_resolve(groups, request.group, &group, &err);
  if (rc != LC_OK) {
    lc_rpc_finish_code(call, rc, err.msg);
    return;
  }
  struct lc_msg_stats_response reply = {
      .node = lc_slice_str(services->config.peers->self(services->config.peers->ctx)),
      .version = lc_slice_str(services->config.version),
      .uptime_ms = lc_clock_ms() - services->config.started_ms,
      .memory_limit_bytes = services->config.memory_limit_bytes,
      .worker_count = services->config.exec->workers,
  };
  reply.workers = lc_calloc(reply.worker_count, sizeof(reply.workers[0]));
  reply.groups = lc_calloc(lc_groups_count(groups), sizeof(reply.groups[0]));
  struct lc_buf buf;
  lc_buf_init(&buf);
  if (reply.workers && reply.groups) {
    fill_workers(services, &reply);
    reply.group_count = fill_groups(services, request.group, reply.groups, &reply.memory_used_bytes);
    lc_msg_stats_response_encode(&reply, &buf);
  } else {
    buf.failed = true;
  }
  lc_free(reply.workers);
  lc_free(reply.groups);
  lc_rpc_reply(call, &buf);
}

static const char *state_name(enum lc_node_state state) {
  switch (state) {
  case LC_NODE_DOWN:
    return "down";
  case LC_NODE_LEAVING:
    return "leaving";
  default:
    return "up";
  }
}

static size_t list_nodes(const struct lc_peers *peers, struct lc_node_info *infos, struct lc_msg_node *out) {
  size_t count = peers->nodes(peers->ctx, infos, NODES_MAX);
  if (count > NODES_MAX)
    count = NODES_MAX;
  for (size_t i = 0; i < count; i++) {
    out[i] = (struct lc_msg_node){.address = lc_slice_str(infos[i].address),
                                  .state = lc_slice_str(state_name(infos[i].state)),
                                  .share = infos[i].share};
  }
  return count;
}

static void nodes(struct lc_rpc_call *call, void *ctx, struct lc_slice message) {
  const struct lc_peers *peers = ((struct lc_services *)ctx)->config.peers;
  struct lc_err err;
  int rc = lc_msg_empty_decode(message, &err);
  if (rc != LC_OK) {
    lc_rpc_finish_code(call, rc, err.msg);
    return;
  }
  char ring[LC_RING_ID_SIZE];
  peers->ring_id(peers->ctx, ring);
  struct lc_msg_nodes_response reply = {.self = lc_slice_str(peers->self(peers->ctx)), .ring = lc_slice_str(ring)};
  struct lc_node_info *infos = lc_calloc(NODES_MAX, sizeof(infos[0]));
  reply.nodes = lc_calloc(NODES_MAX, sizeof(reply.nodes[0]));
  struct lc_buf buf;
  lc_buf_init(&buf);
  if (infos && reply.nodes) {
    reply.node_count = list_nodes(peers, infos, reply.nodes);
    lc_msg_nodes_response_encode(&reply, &buf);
  } else {
    buf.failed = true;
  }
  lc_free(reply.nodes);
  lc_free(infos);
  lc_rpc_reply(call, &buf);
}

static void owner(struct lc_rpc_call *call, void *ctx, struct lc_slice message) {
  struct lc_services *services = ctx;
  const struct lc_peers *peers = services->config.peers;
  struct lc_msg_owner_request request;
  struct lc_err err;
  struct lc_group *group;
  int rc = lc_msg_owner_request_decode(lc_rpc_arena(call), message, &request, &err);
  if (rc == LC_OK)
    rc = lc_groups_resolve(services->config.groups, request.group, &group, &err);
  if (rc == LC_OK && request.key.len == 0)
    rc = lc_err_set(&err, LC_EINVAL, "the key is empty");
  if (rc != LC_OK) {
    lc_rpc_finish_code(call, rc, err.msg);
    return;
  }
  char address[LC_NODE_ADDRESS_SIZE];
  peers->owner(peers->ctx, request.group, request.key, address);
  struct lc_msg_owner_response reply = {.address = lc_slice_str(address),
                                        .self = strcmp(address, peers->self(peers->ctx)) == 0};
  struct lc_buf buf;
  lc_buf_init(&buf);
  lc_msg_owner_response_encode(&reply, &buf);
  lc_rpc_reply(call, &buf);
}

const struct lc_rpc_method lc_admin_methods[] = {
    {.path = "/lcache.v1.Admin/Stats", .on_message = stats},
    {.path = "/lcache.v1.Admin/Nodes", .on_message = nodes},
    {.path = "/lcache.v1.Admin/Owner", .on_message = owner},
};
const size_t lc_admin_method_count = sizeof(lc_admin_methods) / sizeof(lc_admin_methods[0]);
