/*
 * lcache.v1.Peer Get and BatchGet. A forwarded Get is answered here whatever our ring says, so that rings which differ
 * for a moment can't send it round. `keep` is decided before the store is looked at: an asker for whom our writes don't
 * wait must not store what it gets.
 */
#include "base/alloc.h"
#include "cluster/service.h"
#include "store/item.h"

#define OUTCOME_SIZE 2u /* of a batch's own outcome, in the reply */

/* The answer that the Get's result is; bytes are the Get's. */
static struct lc_msg_peer_get_response answer_of(struct lc_cluster *cluster, const struct lc_get *get, bool keep) {
  struct lc_msg_peer_get_response reply = {.keep = keep};
  switch (get->code) {
  case LC_OK:
    reply.outcome = LC_OUTCOME_VALUE;
    reply.value = lc_item_value(get->item);
    reply.ttl_ms = get->ttl_ms;
    reply.owner = get->item;
    break;
  case LC_ENOTFOUND:
    reply.outcome = LC_OUTCOME_NOT_FOUND;
    break;
  default:
    if (get->code == LC_EUNAVAILABLE && lc_groups_draining(cluster->groups)) {
      reply.outcome = LC_OUTCOME_DRAINING;
      break;
    }
    reply.outcome = LC_OUTCOME_FAILED;
    reply.code = lc_grpc_status_of(get->code);
    reply.message = lc_slice_str(get->message);
  }
  return reply;
}

/* ---- Get ---- */

struct get_state {
  struct lc_get get;
  struct lc_rpc_call *call; /* NULL: not pending */
  struct lc_cluster *cluster;
  bool keep;
};

_Static_assert(sizeof(struct get_state) <= LC_PEER_GET_STATE, "a Get's state lies in its call");
_Static_assert(LC_PEER_LINEAGE_MAX <= LC_FLIGHT_MAX_DEPTH, "a lineage that was decoded can be joined with");

static void reply_get(struct lc_rpc_call *call, const struct lc_msg_peer_get_response *reply) {
  lc_rpc_finish_framed(call, lc_msg_peer_get_response_frame(reply, reply->owner, &lc_item_hold_ops, lc_rpc_out(call)));
}

static void reply_outcome(struct lc_rpc_call *call, int outcome) {
  const struct lc_msg_peer_get_response reply = {.outcome = outcome};
  reply_get(call, &reply);
}

static void end_get(struct get_state *state, struct lc_rpc_call *call) {
  if (!lc_rpc_over(call)) {
    struct lc_msg_peer_get_response reply = answer_of(state->cluster, &state->get, state->keep);
    reply_get(call, &reply);
  }
  lc_get_fini(&state->get);
}

static void get_done(struct lc_get *get) {
  struct get_state *state = lc_container_of(get, struct get_state, get);
  struct lc_rpc_call *call = state->call;
  end_get(state, call);
  lc_rpc_release(call);
}

void lc_peer_get_cancel(struct lc_rpc_call *call, void *ctx) {
  struct lc_cluster *cluster = ctx;
  struct get_state *state = lc_rpc_state(call);
  if (!state->call || !lc_get_cancel(cluster->groups, &state->get))
    return;
  lc_get_fini(&state->get);
  lc_rpc_release(call);
}

static void keep_pending(struct lc_rpc_call *call, struct get_state *state) {
  state->call = call;
  lc_rpc_hold(call);
  if (lc_rpc_keep(call, &state->get.group) == LC_OK && lc_rpc_keep(call, &state->get.key) == LC_OK)
    return;
  lc_peer_get_cancel(call, state->cluster);
  lc_rpc_finish_code(call, LC_ENOMEM, "out of memory for the request");
}

static void get(struct lc_rpc_call *call, struct lc_cluster *cluster, const struct lc_msg_peer_get_request *request,
                bool keep) {
  struct lc_flight_name lineage[LC_PEER_LINEAGE_MAX];
  struct get_state *state = lc_rpc_state(call);
  for (size_t i = 0; i < request->lineage_count; i++)
    lineage[i] = (struct lc_flight_name){request->lineage[i].group, request->lineage[i].key};
  state->cluster = cluster;
  state->keep = keep;
  state->get = (struct lc_get){.group = request->group,
                               .key = request->key,
                               .worker = lc_peer_worker(call),
                               .refresh = request->refresh,
                               .forwarded = true,
                               .lineage = lineage,
                               .lineage_count = request->lineage_count,
                               .done = get_done};
  if (lc_group_get(cluster->groups, &state->get) == LC_PENDING)
    keep_pending(call, state);
  else
    end_get(state, call);
}

#define PEEK_APPLIED_MAX 256u /* beyond, the asker may refuse the copy */

/* A peek: our own copy, if there is one that may be served, no write may have been missed, and the asker hears of
 * writes: what it stores of it would outlive a drop here. */
static void peek(struct lc_rpc_call *call, struct lc_cluster *cluster, const struct lc_msg_peer_get_request *request,
                 bool keep) {
  unsigned worker = lc_peer_worker(call);
  struct lc_msg_applied applied[PEEK_APPLIED_MAX];
  uint8_t packed[PEEK_APPLIED_MAX * LC_APPLIED_SIZE];
  size_t count = lc_touched_applied(cluster->touched, applied, PEEK_APPLIED_MAX); /* before the copy is read */
  bool give = keep && !atomic_load(&cluster->doubtful);
  struct lc_item *item = give ? lc_group_peek(cluster->groups, request->group, request->key, worker) : NULL;
  if (!item) {
    reply_outcome(call, LC_OUTCOME_NOT_CACHED);
    return;
  }
  lc_msg_applied_pack(applied, count, packed);
  const struct lc_msg_peer_get_response reply = {.outcome = LC_OUTCOME_VALUE,
                                                 .value = lc_item_value(item),
                                                 .ttl_ms = lc_item_ttl_ms(item, lc_cluster_now(cluster, worker)),
                                                 .keep = true,
                                                 .applied = lc_slice_of(packed, count * LC_APPLIED_SIZE),
                                                 .owner = item};
  reply_get(call, &reply);
  lc_item_unref(item);
}

void lc_peer_get_message(struct lc_rpc_call *call, void *ctx, struct lc_slice message) {
  struct lc_cluster *cluster = ctx;
  struct lc_msg_peer_get_request request;
  struct lc_err err;
  int rc = lc_msg_peer_get_request_decode(lc_rpc_arena(call), message, &request, &err);
  if (rc != LC_OK) {
    lc_rpc_finish_code(call, rc, err.msg);
    return;
  }
  const struct lc_peer *peer = lc_peer_sender(cluster, lc_peer_worker(call), request.from, request.to);
  if (!peer) {
    reply_outcome(call, LC_OUTCOME_STRANGER);
    return;
  }
  if (!lc_groups_find(cluster->groups, request.group)) {
    reply_outcome(call, LC_OUTCOME_UNKNOWN_GROUP);
    return;
  }
  bool keep = atomic_load(&peer->waited);
  if (request.only_if_cached)
    peek(call, cluster, &request, keep);
  else
    get(call, cluster, &request, keep);
}

/* ---- BatchGet ---- */

struct batch;

struct batch_get {
  struct lc_get get;
  struct batch *batch;
  bool pending, dropped; /* dropped: its value has no room in the reply */
};

struct batch {
  struct lc_cluster *cluster;
  struct lc_rpc_call *call;
  struct batch_get *gets;
  size_t count, pending;
  size_t room; /* bytes left in the reply, where every key has a result without a value */
  bool keep, starting, cancelled;
};

static void free_batch(struct batch *batch) {
  struct lc_rpc_call *call = batch->call;
  for (size_t i = 0; i < batch->count; i++)
    lc_get_fini(&batch->gets[i].get);
  lc_free(batch->gets);
  lc_free(batch);
  *(struct batch **)lc_rpc_state(call) = NULL;
  lc_rpc_release(call);
}

/* Values for which the message has no room are asked for again, each by itself. */
static const struct lc_msg_peer_get_response NO_ROOM = {.outcome = LC_OUTCOME_UNSPECIFIED};

static size_t room_for_values(const struct lc_rpc_call *call, size_t count) {
  size_t limit = lc_rpc_max_message(call), least = count * lc_msg_peer_batch_result_size(&NO_ROOM) + OUTCOME_SIZE;
  return limit > least ? limit - least : 0;
}

static struct lc_msg_peer_get_response result_of(const struct batch_get *item) {
  return item->dropped ? NO_ROOM : answer_of(item->batch->cluster, &item->get, item->batch->keep);
}

/* One key is over: its value is kept only while there is room for it. */
static void settle(struct batch_get *item) {
  struct batch *batch = item->batch;
  const struct lc_msg_peer_get_response result = result_of(item);
  size_t size = lc_msg_peer_batch_result_size(&result);
  if (size <= batch->room) {
    batch->room -= size;
    return;
  }
  item->dropped = true;
  lc_get_fini(&item->get);
}

static void reply_batch(struct batch *batch) {
  struct lc_rpc_call *call = batch->call;
  struct lc_msg_peer_get_response *results = lc_calloc(batch->count + 1, sizeof *results);
  int rc = LC_ENOMEM;
  if (results) {
    for (size_t i = 0; i < batch->count; i++)
      results[i] = result_of(&batch->gets[i]);
    const struct lc_msg_peer_batch_get_response reply = {
        .outcome = LC_OUTCOME_OK, .results = results, .result_count = batch->count};
    rc = lc_msg_peer_batch_get_response_frame(&reply, &lc_item_hold_ops, lc_rpc_out(call));
  }
  lc_free(results);
  lc_rpc_finish_framed(call, rc);
}

static void advance(struct batch *batch) {
  if (batch->starting || batch->pending > 0)
    return;
  if (!batch->cancelled)
    reply_batch(batch);
  free_batch(batch);
}

static void batch_get_done(struct lc_get *get) {
  struct batch_get *item = lc_container_of(get, struct batch_get, get);
  item->pending = false;
  item->batch->pending--;
  settle(item);
  advance(item->batch);
}

void lc_peer_batch_cancel(struct lc_rpc_call *call, void *ctx) {
  struct lc_cluster *cluster = ctx;
  struct batch *batch = *(struct batch **)lc_rpc_state(call);
  if (!batch)
    return;
  batch->cancelled = true;
  for (size_t i = 0; i < batch->count; i++) {
    struct batch_get *item = &batch->gets[i];
    if (item->pending && lc_get_cancel(cluster->groups, &item->get)) {
      item->pending = false;
      batch->pending--;
    }
  }
  advance(batch);
}

/* The keys must outlive the bytes that were read. 0 or LC_ENOMEM. */
static int fill_gets(struct batch *batch, const struct lc_msg_peer_batch_get_request *request) {
  struct lc_rpc_call *call = batch->call;
  struct lc_slice group = request->group;
  int rc = lc_rpc_keep(call, &group);
  for (size_t i = 0; rc == LC_OK && i < batch->count; i++) {
    struct batch_get *item = &batch->gets[i];
    item->batch = batch;
    item->get = (struct lc_get){.group = group,
                                .key = request->keys[i],
                                .worker = lc_peer_worker(call),
                                .forwarded = true,
                                .done = batch_get_done};
    rc = lc_rpc_keep(call, &item->get.key);
  }
  return rc;
}

/* NULL: no memory. */
static struct batch *create_batch(struct lc_rpc_call *call, struct lc_cluster *cluster,
                                  const struct lc_msg_peer_batch_get_request *request) {
  if (!lc_rpc_charge(call, request->key_count * sizeof(struct batch_get)))
    return NULL;
  struct batch *batch = lc_calloc(1, sizeof *batch);
  if (!batch)
    return NULL;
  *batch = (struct batch){.cluster = cluster, .call = call, .count = request->key_count};
  batch->room = room_for_values(call, batch->count);
  batch->gets = lc_calloc(batch->count + 1, sizeof *batch->gets);
  if (batch->gets && fill_gets(batch, request) == LC_OK)
    return batch;
  lc_free(batch->gets);
  lc_free(batch);
  return NULL;
}

static void start_batch(struct batch *batch) {
  struct lc_groups *groups = batch->cluster->groups;
  batch->starting = true;
  for (size_t i = 0; i < batch->count; i++) {
    struct batch_get *item = &batch->gets[i];
    item->pending = lc_group_get(groups, &item->get) == LC_PENDING;
    if (item->pending)
      batch->pending++;
    else
      settle(item);
  }
  batch->starting = false;
  advance(batch);
}

static void refuse_batch(struct lc_rpc_call *call, int outcome) {
  const struct lc_msg_peer_batch_get_response reply = {.outcome = outcome};
  struct lc_buf buf;
  lc_buf_init(&buf);
  lc_msg_peer_batch_get_response_encode(&reply, &buf);
  lc_rpc_reply(call, &buf);
}

void lc_peer_batch_message(struct lc_rpc_call *call, void *ctx, struct lc_slice message) {
  struct lc_cluster *cluster = ctx;
  struct lc_msg_peer_batch_get_request request;
  struct lc_err err;
  int rc = lc_msg_peer_batch_get_request_decode(lc_rpc_arena(call), message, &request, &err);
  if (rc != LC_OK) {
    lc_rpc_finish_code(call, rc, err.msg);
    return;
  }
  const struct lc_peer *peer = lc_peer_sender(cluster, lc_peer_worker(call), request.from, request.to);
  if (!peer || !lc_groups_find(cluster->groups, request.group)) {
    refuse_batch(call, peer ? LC_OUTCOME_UNKNOWN_GROUP : LC_OUTCOME_STRANGER);
    return;
  }
  bool keep = atomic_load(&peer->waited);
  struct batch *batch = create_batch(call, cluster, &request);
  if (!batch) {
    lc_rpc_finish_code(call, LC_ENOMEM, "out of memory for the request");
    return;
  }
  batch->keep = keep;
  *(struct batch **)lc_rpc_state(call) = batch;
  lc_rpc_hold(call);
  start_batch(batch);
}
