/*
 * Gets that were corked: one BatchGet an owner and group. A reply that had no room for a value says so, and that Get is
 * sent again by itself.
 */
#include "base/alloc.h"
#include "cluster/calls.h"

#define BATCH_GET "/lcache.v1.Peer/BatchGet"
#define KEYS_MAX 1000u
#define KEY_BYTES_MAX ((size_t)256 << 10)
#define KEY_OVERHEAD 4u    /* of a key in the message, */
#define REQUEST_REST 1024u /* and of all else */
#define RESULTS_ARENA_MAX ((size_t)4 << 20)

/* ---- answers ---- */

/* Each Get is taken out of the batch before it is told: what it does may cancel others of the batch. */
static struct lc_peer_get *take_out(struct lc_get_call *call, size_t i) {
  struct lc_peer_get *get = call->gets[i];
  call->gets[i] = NULL;
  if (get)
    call->live--;
  return get;
}

/* Puts the outcome into a Get. False: it isn't over. */
typedef bool (*answer_fn)(struct lc_get_call *call, struct lc_peer_get *get, size_t i, const void *arg);

/* Tells all that weren't cancelled, and frees the batch. Meanwhile `live` doesn't reach 0 by a cancel, which would free
 * it: one is added for the telling itself. */
static void tell_all(struct lc_get_call *call, answer_fn answer, const void *arg) {
  call->live++;
  for (size_t i = 0; i < call->count; i++) {
    struct lc_peer_get *get = take_out(call, i);
    if (get && answer(call, get, i, arg))
      get->done(get);
  }
  lc_calls_free(call);
}

static bool answer_trouble(struct lc_get_call *call, struct lc_peer_get *get, size_t i, const void *arg) {
  (void)call, (void)i;
  lc_calls_trouble(get, arg);
  return true;
}

static bool answer_unreached(struct lc_get_call *call, struct lc_peer_get *get, size_t i, const void *arg) {
  (void)call, (void)i;
  lc_calls_unreached(get, arg);
  return true;
}

/* The batch as a whole was refused. */
static bool answer_refused(struct lc_get_call *call, struct lc_peer_get *get, size_t i, const void *arg) {
  (void)i;
  const struct lc_msg_peer_batch_get_response *reply = arg;
  const struct lc_msg_peer_get_response refusal = {.outcome = reply->outcome};
  struct lc_link *link = call->call.on;
  lc_calls_take(link->worker->cluster, link->peer, get, &refusal);
  return true;
}

static bool answer_result(struct lc_get_call *call, struct lc_peer_get *get, size_t i, const void *arg) {
  const struct lc_msg_peer_batch_get_response *reply = arg;
  struct lc_link *link = call->call.on;
  struct lc_cluster *cluster = link->worker->cluster;
  if (reply->results[i].outcome != LC_OUTCOME_UNSPECIFIED) {
    lc_calls_take(cluster, link->peer, get, &reply->results[i]);
    return true;
  }
  int rc = lc_calls_send(cluster, get, link->peer, NULL, get->deadline_ms);
  if (rc != LC_OK)
    lc_calls_unsent(get, rc);
  return rc != LC_OK;
}

static answer_fn how_to_answer(const struct lc_get_call *call, const struct lc_msg_peer_batch_get_response *reply) {
  switch (reply->outcome) {
  case LC_OUTCOME_OK:
    return reply->result_count == call->count ? answer_result : NULL;
  case LC_OUTCOME_DRAINING:
  case LC_OUTCOME_UNKNOWN_GROUP:
  case LC_OUTCOME_STRANGER:
    return answer_refused;
  default:
    return NULL;
  }
}

static void take_reply(struct lc_get_call *call, struct lc_slice bytes) {
  struct lc_msg_peer_batch_get_response reply;
  struct lc_arena arena;
  lc_arena_init(&arena, NULL, 0, RESULTS_ARENA_MAX);
  answer_fn answer = NULL;
  if (lc_msg_peer_batch_get_response_decode(&arena, bytes, &reply, NULL) == LC_OK)
    answer = how_to_answer(call, &reply);
  if (answer)
    tell_all(call, answer, &reply);
  else
    tell_all(call, answer_unreached, "the node's answer is malformed");
  lc_arena_fini(&arena);
}

static void on_batch(void *arg, const struct lc_rpc_result *result) {
  struct lc_get_call *call = lc_container_of(arg, struct lc_get_call, call);
  lc_link_ended(&call->call);
  if (result->status == LC_GRPC_OK)
    take_reply(call, result->reply);
  else
    tell_all(call, answer_trouble, result);
}

static void on_batch_lost(struct lc_call *base, const char *why) {
  struct lc_get_call *call = lc_container_of(base, struct lc_get_call, call);
  if (why) {
    tell_all(call, answer_unreached, why);
    return;
  }
  for (size_t i = 0; i < call->count; i++) {
    if (call->gets[i])
      lc_calls_forget(call->gets[i]);
  }
  lc_calls_free(call);
}

/* ---- sending ---- */

static int frame_batch(struct lc_cluster *cluster, const struct lc_peer *peer, struct lc_peer_get **gets, size_t count,
                       struct lc_outq *out) {
  struct lc_slice *keys = lc_calloc(count, sizeof *keys);
  if (!keys)
    return LC_ENOMEM;
  for (size_t i = 0; i < count; i++)
    keys[i] = gets[i]->key;
  const struct lc_msg_peer_batch_get_request request = {
      .from = cluster->process,
      .to = atomic_load_explicit(&peer->process, memory_order_relaxed),
      .group = gets[0]->group,
      .keys = keys,
      .key_count = count,
  };
  struct lc_buf buf;
  lc_buf_init(&buf);
  int rc = lc_msg_peer_batch_get_request_encode(&request, &buf);
  if (rc == LC_OK)
    rc = lc_grpc_frame(out, lc_buf_slice(&buf));
  lc_buf_fini(&buf);
  lc_free(keys);
  return rc;
}

static uint64_t latest_deadline(struct lc_peer_get **gets, size_t count) {
  uint64_t latest_ms = 0;
  for (size_t i = 0; i < count; i++) {
    if (gets[i]->deadline_ms > latest_ms)
      latest_ms = gets[i]->deadline_ms;
  }
  return latest_ms;
}

/* Sends Gets of one group together. 0; or LC_EUNAVAILABLE, LC_ENOMEM, LC_EEXHAUSTED, and none of them is under way. */
static int send_batch(struct lc_cluster_worker *worker, struct lc_peer *peer, struct lc_peer_get **gets, size_t count) {
  struct lc_link *link = lc_link_to(worker->cluster, worker->index, peer);
  if (!link)
    return LC_EUNAVAILABLE;
  struct lc_get_call *call = lc_calls_create(link, count, on_batch_lost);
  if (!call)
    return LC_ENOMEM;
  struct lc_outq request;
  lc_outq_init(&request, lc_link_pool(link));
  int rc = frame_batch(worker->cluster, peer, gets, count, &request);
  if (rc == LC_OK)
    rc = lc_link_call(&call->call, BATCH_GET, &request, latest_deadline(gets, count), on_batch);
  lc_outq_fini(&request);
  if (rc != LC_OK) {
    lc_calls_free(call);
    return rc;
  }
  for (size_t i = 0; i < count; i++) {
    call->gets[i] = gets[i];
    gets[i]->impl[0] = call;
    gets[i]->impl[1] = (void *)(uintptr_t)i;
  }
  return LC_OK;
}

/* ---- Gets that could not be sent: nobody is told inside uncork ---- */

static void on_fail(struct lc_task *task) {
  struct lc_cluster_worker *worker = lc_container_of(task, struct lc_cluster_worker, fail);
  worker->fail_posted = false;
  struct lc_list failed;
  lc_list_init(&failed);
  lc_list_splice_back(&failed, &worker->failed_gets);
  for (struct lc_list *node; (node = lc_list_pop_front(&failed)) != NULL;) {
    struct lc_peer_get *get = lc_get_of_node(node);
    get->done(get);
  }
}

static void fail_later(struct lc_cluster_worker *worker, struct lc_peer_get *get, int rc) {
  lc_calls_forget(get);
  lc_calls_unsent(get, rc);
  lc_list_push_back(&worker->failed_gets, lc_get_node(get));
  if (worker->fail_posted)
    return;
  worker->fail_posted = true;
  lc_worker_post(worker->worker, &worker->fail);
}

void lc_calls_open(struct lc_cluster_worker *worker) {
  lc_list_init(&worker->corked_gets);
  lc_list_init(&worker->failed_gets);
  worker->fail.run = on_fail;
}

void lc_calls_close(struct lc_cluster_worker *worker) {
  for (struct lc_list *node; (node = lc_list_pop_front(&worker->failed_gets)) != NULL;)
    lc_calls_forget(lc_get_of_node(node));
}

/* ---- cork and uncork ---- */

static size_t key_bytes_max(const struct lc_cluster *cluster) {
  size_t limit = cluster->config.max_message + LC_PEER_MESSAGE_EXTRA - REQUEST_REST;
  return limit < KEY_BYTES_MAX ? limit : KEY_BYTES_MAX;
}

/* Takes the first corked Get and all that go with it: the same peer and group, up to the bounds of a batch. */
static size_t gather(struct lc_cluster_worker *worker, struct lc_peer_get *gets[KEYS_MAX]) {
  struct lc_list *next = worker->corked_gets.next;
  const struct lc_peer_get *first = lc_get_of_node(next);
  size_t count = 0, room = key_bytes_max(worker->cluster);
  while (next != &worker->corked_gets && count < KEYS_MAX) {
    struct lc_peer_get *get = lc_get_of_node(next);
    size_t bytes = get->key.len + KEY_OVERHEAD;
    next = next->next;
    if (get->impl[1] != first->impl[1] || !lc_slice_eq(get->group, first->group))
      continue;
    if (count > 0 && bytes > room)
      break;
    lc_list_remove(lc_get_node(get));
    room -= bytes < room ? bytes : room;
    gets[count++] = get;
  }
  return count;
}

static void flush(struct lc_cluster_worker *worker) {
  struct lc_peer_get *gets[KEYS_MAX];
  size_t count;
  while ((count = gather(worker, gets)) > 0) {
    struct lc_peer *peer = gets[0]->impl[1];
    int rc = count == 1 ? lc_calls_send(worker->cluster, gets[0], peer, NULL, gets[0]->deadline_ms)
                        : send_batch(worker, peer, gets, count);
    for (size_t i = 0; i < count; i++) {
      lc_peer_unref(peer);
      if (rc != LC_OK)
        fail_later(worker, gets[i], rc);
    }
  }
}

void lc_calls_cork(void *ctx, unsigned worker) {
  ((struct lc_cluster *)ctx)->worker[worker].corked++;
}

void lc_calls_uncork(void *ctx, unsigned worker) {
  struct lc_cluster_worker *of = &((struct lc_cluster *)ctx)->worker[worker];
  if (--of->corked == 0)
    flush(of);
}
