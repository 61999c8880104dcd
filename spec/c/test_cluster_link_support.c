#include "test_cluster_link_support.h"

#include "rpc/reply.h"

/* ---- the other nodes: what they answer ---- */

static struct lc_slice word_of(struct lc_slice key) {
  const uint8_t *colon = memchr(key.ptr, ':', key.len);
  return lc_slice_of(key.ptr, colon ? (size_t)(colon - key.ptr) : key.len);
}

static bool is(struct lc_slice key, const char *word) {
  return lc_slice_eq(word_of(key), lc_slice_str(word));
}

static const struct {
  const char *word;
  int outcome;
} OUTCOMES[] = {
    {"value", LC_OUTCOME_VALUE},          {"negative", LC_OUTCOME_VALUE},
    {"nil", LC_OUTCOME_NOT_FOUND},        {"fail", LC_OUTCOME_FAILED},
    {"badcode", LC_OUTCOME_FAILED},       {"cached", LC_OUTCOME_NOT_CACHED},
    {"draining", LC_OUTCOME_DRAINING},    {"nogroup", LC_OUTCOME_UNKNOWN_GROUP},
    {"stranger", LC_OUTCOME_STRANGER},    {"odd", 77},
    {"notowner", LC_OUTCOME_NOT_OWNER},   {"ok", LC_OUTCOME_OK},
    {"room", LC_OUTCOME_VALUE},           {"allstranger", LC_OUTCOME_STRANGER},
    {"alldraining", LC_OUTCOME_DRAINING}, {"allvalue", LC_OUTCOME_VALUE},
};

static int outcome_of(struct lc_slice key) {
  for (size_t i = 0; i < sizeof OUTCOMES / sizeof *OUTCOMES; i++) {
    if (is(key, OUTCOMES[i].word))
      return OUTCOMES[i].outcome;
  }
  return LC_OUTCOME_VALUE;
}

static struct lc_msg_peer_get_response answer_of(const struct node *node, struct lc_slice key) {
  struct lc_msg_peer_get_response reply = {.outcome = outcome_of(key)};
  if (is(key, "first") && node->first)
    reply.outcome = LC_OUTCOME_NOT_CACHED;
  if (reply.outcome == LC_OUTCOME_VALUE) {
    reply.value = key;
    reply.ttl_ms = is(key, "negative") ? -5 : 1234;
    reply.keep = !is(key, "negative");
    reply.applied = lc_slice_of(node->applied, sizeof node->applied);
  } else if (reply.outcome == LC_OUTCOME_FAILED) {
    reply.code = is(key, "badcode") ? 0 : LC_GRPC_UNAVAILABLE;
    reply.message = lc_slice_str("the source is away");
  }
  return reply;
}

/* The words that mean the same for every call. True: it is answered, or never will be. */
static bool is_trouble(struct lc_rpc_call *call, struct lc_slice key) {
  if (is(key, "hang"))
    return true;
  if (is(key, "full"))
    lc_rpc_finish(call, LC_GRPC_RESOURCE_EXHAUSTED, "too many loads");
  else if (is(key, "internal"))
    lc_rpc_finish(call, LC_GRPC_INTERNAL, "a bug");
  else if (is(key, "broken"))
    lc_rpc_finish_framed(call, lc_grpc_frame(lc_rpc_out(call), lc_slice_of("\xff\xff\xff", 3)));
  else
    return false;
  return true;
}

static void on_get(struct lc_rpc_call *call, void *ctx, struct lc_slice message) {
  struct node *node = ctx;
  struct lc_msg_peer_get_request request;
  assert_int_equal(lc_msg_peer_get_request_decode(lc_rpc_arena(call), message, &request, NULL), 0);
  assert_int_equal(request.from, node->cluster->process);
  assert_true(lc_slice_eq(request.group, lc_slice_str("g")));
  atomic_store(&node->to, request.to);
  atomic_store(&node->peek, request.only_if_cached);
  atomic_store(&node->refresh, request.refresh);
  atomic_store(&node->lineage, request.lineage_count);
  if (request.lineage_count > 0)
    copy_text(node->lineage_key, sizeof node->lineage_key, request.lineage[0].key);
  gate_raise(&node->calls);
  if (is_trouble(call, request.key))
    return;
  const struct lc_msg_peer_get_response reply = answer_of(node, request.key);
  lc_rpc_finish_framed(call, lc_msg_peer_get_response_frame(&reply, NULL, NULL, lc_rpc_out(call)));
}

static void on_batch(struct lc_rpc_call *call, void *ctx, struct lc_slice message) {
  struct node *node = ctx;
  struct lc_msg_peer_batch_get_request request;
  assert_int_equal(lc_msg_peer_batch_get_request_decode(lc_rpc_arena(call), message, &request, NULL), 0);
  assert_int_equal(request.from, node->cluster->process);
  atomic_store(&node->to, request.to);
  atomic_store(&node->keys, request.key_count);
  gate_raise(&node->batches);
  gate_raise(&node->calls);
  if (is_trouble(call, request.keys[0]))
    return;
  struct lc_msg_peer_get_response *results = calloc(request.key_count, sizeof *results);
  struct lc_msg_peer_batch_get_response reply = {
      .outcome = LC_OUTCOME_OK, .results = results, .result_count = request.key_count};
  for (size_t i = 0; i < request.key_count; i++) {
    results[i] = answer_of(node, request.keys[i]);
    if (is(request.keys[i], "room"))
      results[i] = (struct lc_msg_peer_get_response){.outcome = LC_OUTCOME_UNSPECIFIED};
  }
  if (is(request.keys[0], "few"))
    reply.result_count--;
  else if (request.keys[0].len > 3 && memcmp(request.keys[0].ptr, "all", 3) == 0)
    reply = (struct lc_msg_peer_batch_get_response){.outcome = outcome_of(request.keys[0])};
  lc_rpc_finish_framed(call, lc_msg_peer_batch_get_response_frame(&reply, NULL, lc_rpc_out(call)));
  free(results);
}

static void answer_write(struct lc_rpc_call *call, struct lc_slice key, bool deleted) {
  struct lc_msg_peer_write_response reply = {.outcome = outcome_of(key), .deleted = deleted};
  if (reply.outcome == LC_OUTCOME_FAILED) {
    reply.code = is(key, "badcode") ? 0 : LC_GRPC_INVALID_ARGUMENT;
    reply.message = lc_slice_str("the value is too large");
  }
  struct lc_buf buf;
  lc_buf_init(&buf);
  lc_msg_peer_write_response_encode(&reply, &buf);
  lc_rpc_reply(call, &buf);
}

static void on_set(struct lc_rpc_call *call, void *ctx, struct lc_slice message) {
  struct node *node = ctx;
  struct lc_msg_peer_set_request request;
  assert_int_equal(lc_msg_peer_set_request_decode(lc_rpc_arena(call), message, &request, NULL), 0);
  assert_int_equal(request.from, node->cluster->process);
  atomic_store(&node->to, request.to);
  atomic_store(&node->value_len, request.value.len);
  atomic_store(&node->ttl_ms, request.ttl_ms);
  gate_raise(&node->calls);
  if (!is_trouble(call, request.key))
    answer_write(call, request.key, false);
}

static void on_delete(struct lc_rpc_call *call, void *ctx, struct lc_slice message) {
  struct node *node = ctx;
  struct lc_msg_peer_delete_request request;
  assert_int_equal(lc_msg_peer_delete_request_decode(lc_rpc_arena(call), message, &request, NULL), 0);
  assert_int_equal(request.from, node->cluster->process);
  atomic_store(&node->to, request.to);
  gate_raise(&node->calls);
  if (!is_trouble(call, request.key))
    answer_write(call, request.key, true);
}

static void on_cancel(struct lc_rpc_call *call, void *ctx) {
  (void)call;
  gate_raise(&((struct node *)ctx)->cancels);
}

static const struct lc_rpc_method METHODS[] = {
    {.path = "/lcache.v1.Peer/Get", .on_message = on_get, .on_cancel = on_cancel},
    {.path = "/lcache.v1.Peer/BatchGet", .on_message = on_batch, .on_cancel = on_cancel},
    {.path = "/lcache.v1.Peer/Set", .on_message = on_set, .on_cancel = on_cancel},
    {.path = "/lcache.v1.Peer/Delete", .on_message = on_delete, .on_cancel = on_cancel},
};

/* ---- nodes and asker ---- */

static void start_node(struct asker *asker, struct node *node, unsigned index) {
  const struct lc_rpc_service service = {METHODS, sizeof METHODS / sizeof *METHODS, node};
  char name[32];
  *node = (struct node){.cluster = asker->cluster, .process = 1000 + index, .first = index == 0};
  node->calls = node->cancels = node->batches = (struct gate)GATE_INIT;
  assert_int_equal(lc_rpc_table_create(&service, 1, &node->table), 0);
  net_init(&node->net, node->table);
  net_start(&node->net);
  snprintf(name, sizeof name, "127.0.0.1:%u", node->net.port);
  pthread_mutex_lock(&asker->cluster->lock);
  node->peer = lc_peer_obtain(asker->cluster, name);
  node->peer->member = true;
  atomic_store(&node->peer->process, node->process);
  atomic_store(&node->peer->state, LC_PEER_UP);
  pthread_mutex_unlock(&asker->cluster->lock);
}

void asker_publish(struct asker *asker) {
  pthread_mutex_lock(&asker->cluster->lock);
  assert_int_equal(lc_view_publish(asker->cluster), 0);
  pthread_mutex_unlock(&asker->cluster->lock);
}

struct opening {
  struct asker *asker;
  unsigned index;
};

static void open_here(void *arg) {
  struct opening *opening = arg;
  struct asker *asker = opening->asker;
  asker->cluster->worker[opening->index].worker = asker->workers[opening->index];
  assert_int_equal(lc_links_open(asker->cluster, opening->index), 0);
}

static void close_here(void *arg) {
  struct opening *opening = arg;
  lc_links_close(opening->asker->cluster, opening->index);
}

void asker_close(struct asker *asker, unsigned worker) {
  on_worker(asker->workers[worker], close_here, &(struct opening){asker, worker});
}

void asker_start(struct asker *asker, unsigned nodes) {
  *asker = (struct asker){.exec.workers = 2, .count = nodes};
  struct lc_cluster_config config = {
      .exec = &asker->exec, .weight = 1, .lease_ms = 10000, .join_timeout_ms = 1000, .max_message = 1u << 20};
  assert_int_equal(lc_parse_address(SELF, &config.advertise, NULL), 0);
  assert_int_equal(lc_cluster_create(&config, &asker->cluster, NULL), 0);
  for (unsigned i = 0; i < 2; i++) {
    const struct lc_worker_config worker = {.index = i, .buffer_limit_bytes = 64u << 20};
    assert_int_equal(lc_worker_create(&worker, &asker->workers[i], NULL), 0);
    assert_int_equal(lc_worker_run(asker->workers[i], NULL, NULL, NULL), 0);
    on_worker(asker->workers[i], open_here, &(struct opening){asker, i});
  }
  for (unsigned i = 0; i < nodes; i++)
    start_node(asker, &asker->nodes[i], i);
  asker->cluster->entered = true;
  asker_publish(asker);
}

void asker_stop(struct asker *asker) {
  for (unsigned i = 0; i < 2; i++)
    asker_close(asker, i);
  for (unsigned i = 0; i < 2; i++) {
    lc_worker_stop(asker->workers[i]);
    assert_int_equal(lc_worker_join(asker->workers[i]), 0);
    assert_int_equal(lc_worker_charged(asker->workers[i]), 0);
    lc_worker_destroy(asker->workers[i]);
  }
  for (unsigned i = 0; i < asker->count; i++) {
    if (asker->nodes[i].net.port)
      net_stop(&asker->nodes[i].net);
    lc_rpc_table_destroy(asker->nodes[i].table);
  }
  lc_cluster_destroy(asker->cluster);
}

static void nothing(void *arg) {
  (void)arg;
}

void node_state(struct node *node, enum lc_peer_state state) {
  atomic_store(&node->peer->state, state);
  lc_links_check_all(node->cluster);
  for (unsigned i = 0; i < node->cluster->workers; i++)
    on_worker(node->cluster->worker[i].worker, nothing, NULL);
}

static void abort_here(void *arg) {
  lc_server_abort(arg);
}

void node_cut(struct node *node) {
  on_worker(node->net.workers[0].worker, abort_here, node->net.workers[0].server);
}

void node_stop(struct node *node) {
  net_stop(&node->net);
  node->net.port = 0;
}

bool node_looked_at(const struct node *node) {
  return atomic_exchange(&node->peer->look, false);
}

struct look {
  struct node *node;
  unsigned worker;
  struct lc_link *link;
};

static void look_here(void *arg) {
  struct look *look = arg;
  const struct lc_cluster_worker *worker = &look->node->cluster->worker[look->worker];
  unsigned slot = look->node->peer->slot;
  look->link = slot < worker->link_count ? worker->links[slot] : NULL;
}

struct lc_link *node_link(struct node *node, unsigned worker) {
  struct look look = {node, worker, NULL};
  on_worker(node->cluster->worker[worker].worker, look_here, &look);
  return look.link;
}

/* ---- keys ---- */

#define TRIES 100000u

void key_of(struct asker *asker, struct node *owner, const char *word, unsigned n, char out[64]) {
  struct lc_view *view = lc_view_acquire(asker->cluster);
  bool found = false;
  for (unsigned i = 0; i < TRIES && !found; i++) {
    snprintf(out, 64, "%s:%u", word, n * TRIES + i);
    found = lc_view_owner(view, lc_hash_ring(lc_slice_str("g"), lc_slice_str(out))) == (owner ? owner->peer : NULL);
  }
  lc_view_unref(view);
  assert_true(found);
}

static bool are_previous(const struct lc_view *view, uint64_t hash, struct node *const *nodes, size_t count) {
  struct lc_peer *previous[2];
  if (lc_view_owner(view, hash) || lc_view_previous(view, hash, lc_clock_ms(), previous, 2) != count)
    return false;
  for (size_t i = 0; i < count; i++) {
    if (previous[i] != nodes[i]->peer)
      return false;
  }
  return true;
}

void key_to_peek(struct asker *asker, const char *word, struct node *first, struct node *second, char out[64]) {
  struct node *nodes[] = {first, second};
  size_t count = second ? 2 : first ? 1 : 0;
  struct lc_view *view = lc_view_acquire(asker->cluster);
  bool found = false;
  for (unsigned i = 0; i < TRIES && !found; i++) {
    snprintf(out, 64, "%s:%u", word, i);
    found = are_previous(view, lc_hash_ring(lc_slice_str("g"), lc_slice_str(out)), nodes, count);
  }
  lc_view_unref(view);
  assert_true(found);
}

/* ---- a Get ---- */

static void keep_text(char *out, size_t size, struct lc_slice text) {
  out[0] = '\0';
  if (text.len > 0)
    copy_text(out, size, text);
}

static void asked_done(struct lc_peer_get *get) {
  struct asked *asked = lc_container_of(get, struct asked, get);
  assert_true(asked->started);
  asked->done++;
  keep_text(asked->message, sizeof asked->message, get->message);
  keep_text(asked->value, sizeof asked->value, get->value);
  asked->value_len = get->value.len;
  if (asked->on_done)
    asked->on_done(asked);
  gate_raise(&asked->over);
}

void asked_init(struct asked *asked, struct asker *asker, const char *key) {
  *asked = (struct asked){.asker = asker, .over = GATE_INIT};
  snprintf(asked->key, sizeof asked->key, "%s", key);
  asked->get = (struct lc_peer_get){.group = lc_slice_str("g"),
                                    .key = lc_slice_str(asked->key),
                                    .deadline_ms = lc_clock_ms() + PATIENCE_S * 1000u,
                                    .done = asked_done};
}

void asked_start_here(struct asked *asked) {
  lc_alloc_fail_at(asked->fail_at);
  asked->rc = lc_calls_get(asked->asker->cluster, &asked->get);
  asked->started = true;
}

static void start_get(void *arg) {
  asked_start_here(arg);
}

void asked_start(struct asked *asked) {
  on_worker(asked->asker->workers[asked->get.worker], start_get, asked);
}

void asked_cancel_here(struct asked *asked) {
  lc_calls_cancel_get(asked->asker->cluster, &asked->get);
}

static void cancel_get(void *arg) {
  asked_cancel_here(arg);
}

void asked_cancel(struct asked *asked) {
  on_worker(asked->asker->workers[asked->get.worker], cancel_get, asked);
}

void asked_wait(struct asked *asked) {
  assert_int_equal(asked->rc, LC_PENDING);
  gate_wait(&asked->over, 1);
  assert_int_equal(asked->done, 1);
}

void ask_node(struct asked *asked, struct asker *asker, struct node *node, const char *word) {
  char key[64];
  key_of(asker, node, word, 0, key);
  asked_init(asked, asker, key);
  asked_start(asked);
  asked_wait(asked);
}

void expect_asked(const struct asked *asked, enum lc_peer_outcome outcome, const char *message) {
  if (asked->get.outcome != outcome || strcmp(asked->message, message) != 0)
    fail_msg("%s: got %d \"%s\", not %d \"%s\"", asked->key, (int)asked->get.outcome, asked->message, (int)outcome,
             message);
}

/* ---- a write ---- */

static void written_done(struct lc_peer_write *write) {
  struct written *written = lc_container_of(write, struct written, write);
  assert_true(written->started);
  written->done++;
  keep_text(written->message, sizeof written->message, write->message);
  gate_raise(&written->over);
}

void written_init(struct written *written, struct asker *asker, const char *key, const char *value) {
  *written = (struct written){.asker = asker, .over = GATE_INIT};
  snprintf(written->key, sizeof written->key, "%s", key);
  written->write = (struct lc_peer_write){.group = lc_slice_str("g"),
                                          .key = lc_slice_str(written->key),
                                          .deadline_ms = lc_clock_ms() + PATIENCE_S * 1000u,
                                          .done = written_done};
  if (value)
    written->write.item = lc_item_create(written->write.key, lc_slice_str(value), LC_TIME_NEVER, 0);
}

static void start_write(void *arg) {
  struct written *written = arg;
  lc_alloc_fail_at(written->fail_at);
  written->rc = lc_calls_write(written->asker->cluster, &written->write);
  written->started = true;
}

void written_start(struct written *written) {
  on_worker(written->asker->workers[written->write.worker], start_write, written);
}

static void cancel_write(void *arg) {
  struct written *written = arg;
  lc_calls_cancel_write(written->asker->cluster, &written->write);
}

void written_cancel(struct written *written) {
  on_worker(written->asker->workers[written->write.worker], cancel_write, written);
}

void written_wait(struct written *written) {
  assert_int_equal(written->rc, LC_PENDING);
  gate_wait(&written->over, 1);
  assert_int_equal(written->done, 1);
}

void written_fini(struct written *written) {
  lc_item_unref(written->write.item);
}
