/*
 * Gets, peeks and writes at other nodes, as the domain asks for them (group/peer.h), on the calling worker's
 * connections (link.c). Gets between cork and uncork go together (batch.c).
 */
#include "cluster/calls.h"

#include <stdio.h>

#include "base/alloc.h"

#define GET "/lcache.v1.Peer/Get"
#define SET "/lcache.v1.Peer/Set"
#define DELETE "/lcache.v1.Peer/Delete"
#define APPLIED_MAX 256u

/* ---- answers ---- */

void lc_calls_unreached(struct lc_peer_get *get, const char *why) {
  get->outcome = LC_PEER_UNREACHED;
  get->message = lc_slice_str(why);
}

static void failed(struct lc_peer_get *get, int code, struct lc_slice message) {
  get->outcome = LC_PEER_FAILED;
  get->code = code < 0 ? code : LC_EINTERNAL;
  get->message = message;
}

/* While rings differ, the node that answered may not have heard yet of a write that another owner had us apply. */
static bool may_keep(struct lc_cluster *cluster, const struct lc_peer *peer, const struct lc_peer_get *get) {
  uint64_t process = atomic_load_explicit(&peer->process, memory_order_relaxed);
  return get->peek || !lc_touched_elsewhere(cluster->touched, lc_hash_ring(get->group, get->key), process,
                                            lc_cluster_now(cluster, get->worker));
}

void lc_calls_take(struct lc_cluster *cluster, struct lc_peer *peer, struct lc_peer_get *get,
                   const struct lc_msg_peer_get_response *reply) {
  switch (reply->outcome) {
  case LC_OUTCOME_VALUE:
    get->outcome = LC_PEER_VALUE;
    get->value = reply->value;
    get->ttl_ms = reply->ttl_ms < 0 ? 0 : reply->ttl_ms;
    get->keep = reply->keep && may_keep(cluster, peer, get);
    break;
  case LC_OUTCOME_NOT_FOUND:
    get->outcome = LC_PEER_NOT_FOUND;
    break;
  case LC_OUTCOME_FAILED:
    failed(get, lc_grpc_code_of(reply->code), reply->message);
    break;
  case LC_OUTCOME_NOT_CACHED:
    get->outcome = LC_PEER_NOT_CACHED;
    break;
  case LC_OUTCOME_DRAINING:
    lc_calls_unreached(get, "the node is draining");
    break;
  case LC_OUTCOME_UNKNOWN_GROUP:
    lc_calls_unreached(get, "the node has no such group");
    break;
  case LC_OUTCOME_STRANGER:
    lc_control_look(cluster, peer);
    lc_calls_unreached(get, "the node was restarted");
    break;
  default:
    lc_calls_unreached(get, "the node's answer is not one that this version knows");
  }
}

void lc_calls_trouble(struct lc_peer_get *get, const struct lc_rpc_result *result) {
  int code = 0;
  if (lc_link_trouble(result, &code) == LC_PEER_FAILED)
    failed(get, code, lc_slice_str(result->message));
  else
    lc_calls_unreached(get, result->message);
}

void lc_calls_unsent(struct lc_peer_get *get, int rc) {
  switch (rc) {
  case LC_EUNAVAILABLE:
    lc_calls_unreached(get, "there is no connection to the node");
    break;
  case LC_EEXHAUSTED: /* as an answer: asking the source instead would make it worse */
    failed(get, rc, lc_slice_str("too many requests wait for the key's owner"));
    break;
  default:
    failed(get, rc, lc_slice_str("out of memory"));
  }
}

void lc_calls_forget(struct lc_peer_get *get) {
  get->impl[0] = get->impl[1] = NULL;
  lc_list_init(lc_get_node(get));
}

/* ---- the objects of Gets under way ---- */

struct lc_get_call *lc_calls_create(struct lc_link *link, size_t count,
                                    void (*lost)(struct lc_call *call, const char *why)) {
  struct lc_get_call *call;
  call = lc_mempool_calloc(lc_link_pool(link), 1, sizeof *call + count * sizeof(struct lc_peer_get *));
  if (!call)
    return NULL;
  call->call.on = link;
  call->call.lost = lost;
  call->count = call->live = count;
  return call;
}

void lc_calls_free(struct lc_get_call *call) {
  lc_peer_unref(call->next);
  lc_mempool_free(lc_link_pool(call->call.on), call);
}

/* A peek that found nothing goes on to its second choice, if there is one and time for it. */
static bool try_next(struct lc_get_call *call) {
  struct lc_cluster *cluster = call->call.on->worker->cluster;
  struct lc_peer_get *get = call->get;
  struct lc_peer *next = call->next;
  if (!next || lc_cluster_now(cluster, get->worker) >= call->deadline_ms)
    return false;
  uint64_t deadline_ms = call->deadline_ms;
  call->next = NULL;
  get->message = lc_slice_str(""); /* the first one's bytes go */
  int rc = lc_calls_send(cluster, get, next, NULL, deadline_ms);
  lc_peer_unref(next);
  return rc == LC_OK;
}

/* The call is over and its Get has an outcome. */
static void finish(struct lc_get_call *call) {
  struct lc_peer_get *get = call->get;
  if (get->peek && get->outcome != LC_PEER_VALUE) {
    get->outcome = LC_PEER_NOT_CACHED;
    if (try_next(call)) {
      lc_calls_free(call);
      return;
    }
  }
  lc_calls_free(call);
  get->done(get);
}

/*
 * A write that was applied here before this Get began, and that the peeked node hadn't heard of when it read its copy:
 * nothing of ours is detached by it any more. Writes after that detach the Get's flight.
 */
static bool is_overtaken(struct lc_cluster *cluster, const struct lc_peer_get *get,
                         const struct lc_msg_peer_get_response *reply) {
  struct lc_msg_applied applied[APPLIED_MAX];
  if (reply->outcome != LC_OUTCOME_VALUE)
    return false;
  size_t count = lc_msg_applied_unpack(reply->applied, applied, APPLIED_MAX);
  return !lc_touched_allows(cluster->touched, lc_hash_ring(get->group, get->key), applied, count);
}

static void on_get(void *arg, const struct lc_rpc_result *result) {
  struct lc_get_call *call = lc_container_of(arg, struct lc_get_call, call);
  struct lc_peer_get *get = call->get;
  struct lc_link *link = call->call.on;
  struct lc_cluster *cluster = link->worker->cluster;
  struct lc_msg_peer_get_response reply;
  lc_link_ended(&call->call);
  if (result->status != LC_GRPC_OK)
    lc_calls_trouble(get, result);
  else if (lc_msg_peer_get_response_decode(NULL, result->reply, &reply, NULL) != LC_OK)
    lc_calls_unreached(get, "the node's answer is malformed");
  else if (get->peek && is_overtaken(cluster, get, &reply))
    get->outcome = LC_PEER_NOT_CACHED;
  else
    lc_calls_take(cluster, link->peer, get, &reply);
  finish(call);
}

static void on_get_lost(struct lc_call *base, const char *why) {
  struct lc_get_call *call = lc_container_of(base, struct lc_get_call, call);
  if (!why) {
    lc_calls_forget(call->get);
    lc_calls_free(call);
    return;
  }
  lc_calls_unreached(call->get, why);
  finish(call);
}

/* ---- Gets ---- */

static int frame_get(struct lc_cluster *cluster, const struct lc_peer_get *get, const struct lc_peer *peer,
                     struct lc_outq *out) {
  struct lc_msg_name lineage[LC_PEER_LINEAGE_MAX];
  size_t skipped = get->lineage_count > LC_PEER_LINEAGE_MAX ? get->lineage_count - LC_PEER_LINEAGE_MAX : 0;
  size_t count = get->lineage_count - skipped;
  for (size_t i = 0; i < count; i++)
    lineage[i] = (struct lc_msg_name){get->lineage[skipped + i].group, get->lineage[skipped + i].key};
  const struct lc_msg_peer_get_request request = {
      .from = cluster->process,
      .to = atomic_load_explicit(&peer->process, memory_order_relaxed),
      .group = get->group,
      .key = get->key,
      .only_if_cached = get->peek,
      .refresh = get->refresh,
      .lineage = lineage,
      .lineage_count = count,
  };
  return lc_msg_peer_get_request_frame(&request, out);
}

int lc_calls_send(struct lc_cluster *cluster, struct lc_peer_get *get, struct lc_peer *peer, struct lc_peer *next,
                  uint64_t deadline_ms) {
  struct lc_link *link = lc_link_to(cluster, get->worker, peer);
  if (!link)
    return LC_EUNAVAILABLE;
  struct lc_get_call *call = lc_calls_create(link, 0, on_get_lost);
  if (!call)
    return LC_ENOMEM;
  call->get = get;
  call->deadline_ms = deadline_ms;
  struct lc_outq request;
  lc_outq_init(&request, lc_link_pool(link));
  int rc = frame_get(cluster, get, peer, &request);
  if (rc == LC_OK)
    rc = lc_link_call(&call->call, GET, &request, deadline_ms, on_get);
  lc_outq_fini(&request);
  if (rc != LC_OK) {
    lc_calls_free(call);
    return rc;
  }
  call->next = next ? lc_peer_ref(next) : NULL;
  get->impl[0] = call;
  return LC_OK;
}

/* Each of the two is given what is left of the time: a second choice is for a first that answers, but has no copy. */
static int peek(struct lc_cluster *cluster, struct lc_peer_get *get, uint64_t hash) {
  struct lc_peer *previous[2];
  uint64_t now_ms = lc_cluster_now(cluster, get->worker);
  const struct lc_view *view = lc_cluster_view(cluster, get->worker);
  size_t count = lc_view_previous(view, hash, now_ms, previous, 2);
  uint64_t deadline_ms = now_ms + LC_PEEK_MS < get->deadline_ms ? now_ms + LC_PEEK_MS : get->deadline_ms;
  int rc = LC_EUNAVAILABLE;
  for (size_t i = 0; i < count && rc == LC_EUNAVAILABLE; i++)
    rc = lc_calls_send(cluster, get, previous[i], i + 1 < count ? previous[i + 1] : NULL, deadline_ms);
  return rc == LC_OK ? LC_PENDING : rc;
}

static void cork_get(struct lc_cluster_worker *worker, struct lc_peer_get *get, struct lc_peer *peer) {
  get->impl[0] = NULL;
  get->impl[1] = lc_peer_ref(peer);
  lc_list_push_back(&worker->corked_gets, lc_get_node(get));
}

int lc_calls_get(void *ctx, struct lc_peer_get *get) {
  struct lc_cluster *cluster = ctx;
  uint64_t hash = lc_hash_ring(get->group, get->key);
  if (get->peek)
    return peek(cluster, get, hash);
  struct lc_peer *owner = lc_view_owner(lc_cluster_view(cluster, get->worker), hash);
  if (!owner || lc_peer_state(owner) != LC_PEER_UP)
    return LC_EUNAVAILABLE;
  struct lc_cluster_worker *worker = &cluster->worker[get->worker];
  if (worker->corked > 0 && !get->refresh && get->lineage_count == 0) {
    cork_get(worker, get, owner);
    return LC_PENDING;
  }
  int rc = lc_calls_send(cluster, get, owner, NULL, get->deadline_ms);
  return rc == LC_OK ? LC_PENDING : rc;
}

static void cancel_in_batch(struct lc_get_call *call, struct lc_peer_get *get) {
  call->gets[(uintptr_t)get->impl[1]] = NULL;
  if (--call->live > 0)
    return;
  lc_link_cancel(&call->call);
  lc_calls_free(call);
}

void lc_calls_cancel_get(void *ctx, struct lc_peer_get *get) {
  (void)ctx;
  struct lc_get_call *call = get->impl[0];
  if (!call) {
    lc_list_remove(lc_get_node(get));
    lc_peer_unref(get->impl[1]);
  } else if (!call->get) {
    cancel_in_batch(call, get);
  } else {
    lc_link_cancel(&call->call);
    lc_calls_free(call);
  }
}

/* ---- writes ---- */

struct write_call {
  struct lc_call call;
  struct lc_peer_write *write;
};

static void free_write(struct write_call *call) {
  lc_mempool_free(lc_link_pool(call->call.on), call);
}

static void finish_write(struct write_call *call, enum lc_peer_outcome outcome, struct lc_slice message) {
  struct lc_peer_write *write = call->write;
  write->outcome = outcome;
  write->message = message;
  free_write(call);
  write->done(write);
}

static void take_write(struct write_call *call, const struct lc_msg_peer_write_response *reply) {
  struct lc_peer_write *write = call->write;
  struct lc_link *link = call->call.on;
  write->deleted = reply->deleted;
  switch (reply->outcome) {
  case LC_OUTCOME_OK:
    finish_write(call, LC_PEER_OK, lc_slice_str(""));
    break;
  case LC_OUTCOME_STRANGER:
    lc_control_look(link->worker->cluster, link->peer);
    finish_write(call, LC_PEER_NOT_OWNER, lc_slice_str("the owner was restarted"));
    break;
  case LC_OUTCOME_NOT_OWNER:
    finish_write(call, LC_PEER_NOT_OWNER, lc_slice_str("the rings of the nodes differ"));
    break;
  case LC_OUTCOME_FAILED:
    write->code = lc_grpc_code_of(reply->code);
    if (write->code >= 0)
      write->code = LC_EINTERNAL;
    finish_write(call, LC_PEER_FAILED, reply->message);
    break;
  case LC_OUTCOME_DRAINING:
    finish_write(call, LC_PEER_UNREACHED, lc_slice_str("the owner is draining"));
    break;
  default:
    finish_write(call, LC_PEER_UNREACHED, lc_slice_str("the owner can't take the write"));
  }
}

static void on_write(void *arg, const struct lc_rpc_result *result) {
  struct write_call *call = lc_container_of(arg, struct write_call, call);
  struct lc_msg_peer_write_response reply;
  lc_link_ended(&call->call);
  if (result->status != LC_GRPC_OK)
    finish_write(call, lc_link_trouble(result, &call->write->code), lc_slice_str(result->message));
  else if (lc_msg_peer_write_response_decode(NULL, result->reply, &reply, NULL) != LC_OK)
    finish_write(call, LC_PEER_UNREACHED, lc_slice_str("the owner's answer is malformed"));
  else
    take_write(call, &reply);
}

static void on_write_lost(struct lc_call *base, const char *why) {
  struct write_call *call = lc_container_of(base, struct write_call, call);
  if (why) {
    finish_write(call, LC_PEER_UNREACHED, lc_slice_str(why));
    return;
  }
  call->write->impl[0] = NULL;
  free_write(call);
}

static int frame_write(struct lc_cluster *cluster, const struct lc_peer_write *write, const struct lc_peer *owner,
                       struct lc_outq *out) {
  uint64_t to = atomic_load_explicit(&owner->process, memory_order_relaxed);
  if (write->item) {
    const struct lc_msg_peer_set_request request = {.from = cluster->process,
                                                    .to = to,
                                                    .group = write->group,
                                                    .key = write->key,
                                                    .ttl_ms = write->ttl_ms,
                                                    .value = lc_item_value(write->item)};
    return lc_msg_peer_set_request_frame(&request, write->item, &lc_item_hold_ops, out);
  }
  const struct lc_msg_peer_delete_request request = {
      .from = cluster->process, .to = to, .group = write->group, .key = write->key};
  struct lc_buf buf;
  lc_buf_init(&buf);
  int rc = lc_msg_peer_delete_request_encode(&request, &buf);
  if (rc == LC_OK)
    rc = lc_grpc_frame(out, lc_buf_slice(&buf));
  lc_buf_fini(&buf);
  return rc;
}

static int send_write(struct lc_cluster *cluster, struct lc_peer_write *write, struct lc_link *link) {
  struct lc_mempool *pool = lc_link_pool(link);
  struct write_call *call = lc_mempool_calloc(pool, 1, sizeof *call);
  if (!call)
    return LC_ENOMEM;
  call->call.on = link;
  call->call.lost = on_write_lost;
  call->write = write;
  struct lc_outq request;
  lc_outq_init(&request, pool);
  int rc = frame_write(cluster, write, link->peer, &request);
  if (rc == LC_OK)
    rc = lc_link_call(&call->call, write->item ? SET : DELETE, &request, write->deadline_ms, on_write);
  lc_outq_fini(&request);
  if (rc != LC_OK) {
    free_write(call);
    return rc;
  }
  write->impl[0] = call;
  return LC_PENDING;
}

int lc_calls_write(void *ctx, struct lc_peer_write *write) {
  struct lc_cluster *cluster = ctx;
  uint64_t hash = lc_hash_ring(write->group, write->key);
  struct lc_peer *owner = lc_view_owner(lc_cluster_view(cluster, write->worker), hash);
  if (!owner)
    return LC_ENOTOWNER;
  snprintf(write->owner, sizeof write->owner, "%s", owner->name);
  /* A node that has just come is in contact in a moment: the caller tries again. */
  if (lc_peer_state(owner) == LC_PEER_SYNCING)
    return LC_ENOTOWNER;
  struct lc_link *link = lc_link_to(cluster, write->worker, owner);
  return link ? send_write(cluster, write, link) : LC_EUNAVAILABLE;
}

void lc_calls_cancel_write(void *ctx, struct lc_peer_write *write) {
  (void)ctx;
  struct write_call *call = write->impl[0];
  if (!call)
    return; /* this worker closes */
  lc_link_cancel(&call->call);
  free_write(call);
}
