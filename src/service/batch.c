#include "base/alloc.h"
#include "service/internal.h"
#include "wire/grpc.h"

/*
 * lcache.v1.Cache BatchGet: many Gets under one call, a bounded number of them loading at a time, in a reply no larger
 * than a message may be. They are begun by the hundred, so that the keys of one other node go there in one call. A
 * value that no longer fits is left out with a status of its own, so that one large value doesn't fail the others.
 */

#define IN_FLIGHT_MAX 1024u
#define REFILL_AT (IN_FLIGHT_MAX / 2)
#define FULL_MESSAGE "the reply is full: get this key by itself"

struct batch;

struct batch_get {
  struct lc_get get;
  struct batch *batch;
  bool pending, dropped; /* dropped: loaded, but without room in the reply */
};

struct batch {
  struct lc_services *services;
  struct lc_rpc_call *call;
  struct batch_get *gets;
  size_t count, next, over; /* begun so far; ended so far */
  size_t in_flight;
  size_t room; /* bytes left for values and messages in the reply */
  bool cancelled;
};

struct batch_state {
  struct batch *batch;
};

static struct lc_msg_batch_result result_of(const struct batch_get *item) {
  const struct lc_get *get = &item->get;
  struct lc_msg_batch_result result = {.key = get->key};
  if (item->dropped) {
    result.code = LC_GRPC_RESOURCE_EXHAUSTED;
    result.message = lc_slice_str(FULL_MESSAGE);
  } else if (get->code == LC_OK) {
    result.value = lc_item_value(get->item);
    result.served_from = (int)get->from;
    result.owner = get->item;
  } else {
    result.code = lc_grpc_status_of(get->code);
    result.message = lc_slice_str(get->message);
  }
  return result;
}

/* What every key costs in the reply at least: its result with FULL_MESSAGE. */
static size_t floor_size(struct lc_slice key) {
  struct lc_msg_batch_result result = {
      .key = key, .code = LC_GRPC_RESOURCE_EXHAUSTED, .message = lc_slice_str(FULL_MESSAGE)};
  return lc_msg_batch_result_size(&result);
}

static void batch_free(struct batch *batch) {
  struct lc_rpc_call *call = batch->call;
  for (size_t i = 0; i < batch->next; i++)
    lc_get_fini(&batch->gets[i].get);
  lc_free(batch->gets);
  lc_free(batch);
  struct batch_state *state = lc_rpc_state(call);
  state->batch = NULL;
  lc_rpc_release(call);
}

static void reply(struct batch *batch) {
  struct lc_rpc_call *call = batch->call;
  struct lc_msg_batch_result *results = lc_calloc(batch->count ? batch->count : 1, sizeof(*results));
  int rc = results ? LC_OK : LC_ENOMEM;
  if (results) {
    for (size_t i = 0; i < batch->count; i++)
      results[i] = result_of(&batch->gets[i]);
    struct lc_msg_batch_get_response response = {.results = results, .result_count = batch->count};
    rc = lc_msg_batch_get_response_frame(&response, &lc_item_hold_ops, lc_rpc_out(call));
  }
  lc_free(results);
  lc_rpc_finish_framed(call, rc);
}

/* One key is over: keeps its value only while there is room for it. */
static void settle(struct batch_get *item) {
  struct batch *batch = item->batch;
  batch->over++;
  struct lc_msg_batch_result result = result_of(item);
  size_t least = floor_size(item->get.key);
  size_t size = lc_msg_batch_result_size(&result);
  size_t more = size > least ? size - least : 0;
  if (more <= batch->room) {
    batch->room -= more;
    return;
  }
  item->dropped = true;
  lc_get_fini(&item->get);
}

static void advance(struct batch *batch);

static void item_done(struct lc_get *get) {
  struct batch_get *item = lc_container_of(get, struct batch_get, get);
  struct batch *batch = item->batch;
  item->pending = false;
  batch->in_flight--;
  settle(item);
  advance(batch);
}

static void start_item(struct batch *batch, struct batch_get *item) {
  item->batch = batch;
  item->get.worker = lc_worker_index(lc_rpc_worker(batch->call));
  item->get.done = item_done;
  if (lc_group_get(batch->services->config.groups, &item->get) == LC_PENDING) {
    item->pending = true;
    batch->in_flight++;
  } else {
    settle(item);
  }
}

static void start_items(struct batch *batch) {
  struct lc_groups *groups = batch->services->config.groups;
  unsigned worker = lc_worker_index(lc_rpc_worker(batch->call));
  lc_groups_cork(groups, worker);
  while (batch->next < batch->count && batch->in_flight < IN_FLIGHT_MAX)
    start_item(batch, &batch->gets[batch->next++]);
  lc_groups_uncork(groups, worker);
}

static void advance(struct batch *batch) {
  if (!batch->cancelled && batch->next < batch->count && batch->in_flight <= REFILL_AT)
    start_items(batch);
  if (batch->in_flight > 0)
    return;
  if (!batch->cancelled)
    reply(batch);
  batch_free(batch);
}

static void cancel_batch(struct lc_rpc_call *call, void *ctx) {
  struct lc_services *services = ctx;
  struct batch *batch = ((struct batch_state *)lc_rpc_state(call))->batch;
  if (!batch)
    return;
  batch->cancelled = true;
  for (size_t i = 0; i < batch->next; i++) {
    struct batch_get *item = &batch->gets[i];
    if (item->pending && lc_get_cancel(services->config.groups, &item->get)) {
      item->pending = false;
      batch->in_flight--;
    }
  }
  if (batch->in_flight == 0)
    batch_free(batch);
}

/* Copies what the keys point to: they must outlive the bytes that were read. */
static int keep_keys(struct lc_rpc_call *call, struct batch *batch, const struct lc_msg_batch_get_request *request) {
  struct lc_slice group = request->group;
  int rc = lc_rpc_keep(call, &group);
  for (size_t i = 0; rc == LC_OK && i < batch->count; i++) {
    struct lc_get *get = &batch->gets[i].get;
    get->group = group;
    get->key = request->keys[i];
    rc = lc_rpc_keep(call, &get->key);
  }
  return rc;
}

/* 0, or LC_ETOOBIG when even a reply without a value would be too large. */
static int measure(struct lc_rpc_call *call, struct batch *batch) {
  size_t limit = lc_rpc_max_message(call);
  size_t total = 0;
  for (size_t i = 0; i < batch->count; i++)
    total += floor_size(batch->gets[i].get.key);
  if (total > limit)
    return LC_ETOOBIG;
  batch->room = limit - total;
  return LC_OK;
}

static int create_batch(struct lc_services *services, struct lc_rpc_call *call,
                        const struct lc_msg_batch_get_request *request) {
  if (!lc_rpc_charge(call, request->key_count * sizeof(struct batch_get)))
    return LC_ENOMEM;
  struct batch *batch = lc_calloc(1, sizeof(*batch));
  if (!batch)
    return LC_ENOMEM;
  *batch = (struct batch){.services = services, .call = call, .count = request->key_count};
  batch->gets = lc_calloc(batch->count ? batch->count : 1, sizeof(batch->gets[0]));
  int rc = batch->gets ? keep_keys(call, batch, request) : LC_ENOMEM;
  if (rc == LC_OK)
    rc = measure(call, batch);
  if (rc != LC_OK) {
    lc_free(batch->gets);
    lc_free(batch);
    return rc;
  }
  ((struct batch_state *)lc_rpc_state(call))->batch = batch;
  return LC_OK;
}

static const char *refusal(int code) {
  return code == LC_ETOOBIG ? "the keys alone fill the largest reply: ask for fewer" : "out of memory for the request";
}

static void batch_get(struct lc_rpc_call *call, void *ctx, struct lc_slice message) {
  struct lc_services *services = ctx;
  struct lc_msg_batch_get_request request;
  struct lc_err err;
  struct lc_group *group;
  int rc = lc_msg_batch_get_request_decode(lc_rpc_arena(call), message, &request, &err);
  if (rc == LC_OK)
    rc = lc_groups_resolve(services->config.groups, request.group, &group, &err);
  if (rc != LC_OK) {
    lc_rpc_finish_code(call, rc, err.msg);
    return;
  }
  rc = create_batch(services, call, &request);
  if (rc != LC_OK) {
    lc_rpc_finish(call, LC_GRPC_RESOURCE_EXHAUSTED, refusal(rc));
    return;
  }
  lc_rpc_hold(call);
  advance(((struct batch_state *)lc_rpc_state(call))->batch);
}

const struct lc_rpc_method lc_batch_methods[] = {{
    .path = "/lcache.v1.Cache/BatchGet",
    .state_size = sizeof(struct batch_state),
    .on_message = batch_get,
    .on_cancel = cancel_batch,
}};
const size_t lc_batch_method_count = sizeof(lc_batch_methods) / sizeof(lc_batch_methods[0]);
