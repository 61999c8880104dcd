#include "test_cluster_service_support.h"

/* ---- the loader ---- */

static bool begins(struct lc_slice key, const char *word) {
  return key.len >= strlen(word) && memcmp(key.ptr, word, strlen(word)) == 0;
}

static int hold_load(struct served *served, struct lc_load *load) {
  pthread_mutex_lock(&served->lock);
  unsigned i = 0;
  while (served->held[i].load)
    i++;
  assert_true(i < HELD_MAX);
  served->held[i].load = load;
  served->held[i].worker = lc_load_worker(load);
  pthread_mutex_unlock(&served->lock);
  return LC_PENDING;
}

static void set_big(struct lc_load *load, struct lc_slice key) {
  char text[32];
  copy_text(text, sizeof text, key);
  size_t len = strtoul(strchr(text, ':') + 1, NULL, 10);
  char *bytes = malloc(len);
  memset(bytes, 'b', len);
  lc_load_set_value(load, lc_slice_of(bytes, len), -1);
  free(bytes);
}

static int load_start(void *ctx, struct lc_load *load) {
  struct served *served = ctx;
  struct lc_slice key = lc_load_key(load);
  int rc = LC_OK;
  if (begins(key, "held"))
    rc = hold_load(served, load);
  else if (begins(key, "nil"))
    lc_load_set_not_found(load);
  else if (begins(key, "fail"))
    lc_load_set_error(load, LC_EUNAVAILABLE, "the source is away", 18);
  else if (begins(key, "big:"))
    set_big(load, key);
  else
    lc_load_set_value(load, key, -1);
  gate_raise(&served->loads);
  return rc;
}

static void load_cancel(void *ctx, struct lc_load *load) {
  struct served *served = ctx;
  pthread_mutex_lock(&served->lock);
  for (unsigned i = 0; i < HELD_MAX; i++) {
    if (served->held[i].load == load)
      served->held[i].load = NULL;
  }
  pthread_mutex_unlock(&served->lock);
  gate_raise(&served->cancelled);
}

static struct lc_load *take_held(struct served *served, unsigned worker) {
  struct lc_load *load = NULL;
  pthread_mutex_lock(&served->lock);
  for (unsigned i = 0; i < HELD_MAX && !load; i++) {
    if (served->held[i].worker != worker)
      continue;
    load = served->held[i].load;
    served->held[i].load = NULL;
  }
  pthread_mutex_unlock(&served->lock);
  return load;
}

struct place {
  struct served *served;
  unsigned worker;
};

static void finish_loads(void *arg) {
  const struct place *place = arg;
  for (struct lc_load *load; (load = take_held(place->served, place->worker)) != NULL;) {
    if (begins(lc_load_key(load), "heldbig:"))
      set_big(load, lc_load_key(load));
    else
      lc_load_set_value(load, lc_load_key(load), -1);
    lc_load_done(load);
  }
}

void let_go(struct served *served, unsigned worker) {
  on_worker(served->net.workers[worker].worker, finish_loads, &(struct place){served, worker});
}

void let_go_and_cut(void *arg) {
  struct served *served = arg;
  let_go(served, 1);
  lc_server_abort(served->net.workers[0].server);
}

/* ---- what the control thread would decide ---- */

static struct served *of_peers(void *ctx);

static bool fresh(void *ctx, unsigned worker) {
  (void)worker;
  return !atomic_load(&of_peers(ctx)->stale);
}

static void wait_fresh(void *ctx, unsigned worker, struct lc_peer_fresh *waiter) {
  lc_list_push_back(&of_peers(ctx)->parked[worker], &waiter->link);
}

static void unpark(void *arg) {
  const struct place *place = arg;
  for (struct lc_list *node; (node = lc_list_pop_front(&place->served->parked[place->worker])) != NULL;) {
    struct lc_peer_fresh *waiter = lc_container_of(node, struct lc_peer_fresh, link);
    waiter->done(waiter);
  }
}

void set_stale(struct served *served, bool stale) {
  atomic_store(&served->stale, stale);
  for (unsigned i = 0; i < 2 && !stale; i++)
    on_worker(served->net.workers[i].worker, unpark, &(struct place){served, i});
}

static int wait_known(void *ctx, struct lc_peer_wait *wait) {
  struct served *served = of_peers(ctx);
  if (!atomic_load(&served->hold_writes))
    return LC_OK;
  served->wait = wait;
  gate_raise(&served->waits);
  return LC_PENDING;
}

static bool cancel_wait(void *ctx, struct lc_peer_wait *wait) {
  struct served *served = of_peers(ctx);
  (void)wait;
  if (atomic_load(&served->wait_on_its_way))
    return false;
  served->wait = NULL;
  return true;
}

static void write_known(void *arg) {
  struct lc_peer_wait *wait = arg;
  wait->done(wait);
}

void let_write_go(struct served *served) {
  on_worker(served->net.workers[0].worker, write_known, served->wait);
}

/* ---- the node ---- */

static struct served *the_served; /* the cluster's callbacks have the cluster for their argument */

static struct served *of_peers(void *ctx) {
  assert_ptr_equal(ctx, the_served->cluster);
  return the_served;
}

static void post(void *ctx, unsigned worker, struct lc_task *task) {
  lc_worker_post(((struct served *)ctx)->net.workers[worker].worker, task);
}

static struct lc_timers *timers(void *ctx, unsigned worker) {
  return lc_worker_timers(((struct served *)ctx)->net.workers[worker].worker);
}

static uint64_t now_ms(void *ctx, unsigned worker) {
  return lc_worker_now_ms(((struct served *)ctx)->net.workers[worker].worker);
}

static void make_cluster(struct served *served) {
  struct lc_cluster_config config = {
      .exec = &served->exec, .weight = 1, .lease_ms = 10000, .join_timeout_ms = 1000, .max_message = 1u << 20};
  assert_int_equal(lc_parse_address(SELF, &config.advertise, NULL), 0);
  assert_int_equal(lc_cluster_create(&config, &served->cluster, NULL), 0);
  pthread_mutex_lock(&served->cluster->lock);
  served->other = lc_peer_obtain(served->cluster, OTHER);
  served->other->member = true;
  atomic_store(&served->other->process, OTHER_PROCESS);
  atomic_store(&served->other->waited, true);
  served->cluster->entered = true;
  atomic_store(&served->cluster->arriving, false);
  assert_int_equal(lc_view_publish(served->cluster), 0);
  pthread_mutex_unlock(&served->cluster->lock);
  served->peers = *lc_cluster_peers(served->cluster);
  served->peers.fresh = fresh;
  served->peers.wait_fresh = wait_fresh;
  served->peers.wait = wait_known;
  served->peers.cancel_wait = cancel_wait;
}

static void make_groups(struct served *served) {
  static const char *const names[] = {"g", "ttl", "small"};
  struct lc_group_options options[3];
  struct lc_err err = {0};
  for (int i = 0; i < 3; i++) {
    lc_group_options_init(&options[i]);
    options[i].name = names[i];
    options[i].timeout_ms = 60000;
  }
  options[1].ttl_ms = 60000;
  options[2].max_value = 100;
  const struct lc_groups_config config = {.options = options,
                                          .count = 3,
                                          .memory_bytes = 64u << 20,
                                          .max_message_bytes = 1u << 20,
                                          .exec = &served->exec,
                                          .loader = &served->loader,
                                          .peers = &served->peers};
  if (lc_groups_create(&config, &served->groups, &err) != 0)
    fail_msg("%s", err.msg);
}

static void open_links(void *arg) {
  const struct place *place = arg;
  struct lc_cluster *cluster = place->served->cluster;
  cluster->worker[place->worker].worker = place->served->net.workers[place->worker].worker;
  assert_int_equal(lc_links_open(cluster, place->worker), 0);
}

void served_start(struct served *served) {
  *served = (struct served){.loads = GATE_INIT, .cancelled = GATE_INIT, .waits = GATE_INIT};
  the_served = served;
  pthread_mutex_init(&served->lock, NULL);
  served->exec = (struct lc_exec){served, 2, post, timers, now_ms};
  served->loader = (struct lc_loader){.ctx = served, .start = load_start, .cancel = load_cancel};
  make_cluster(served);
  make_groups(served);
  lc_cluster_bind(served->cluster, served->groups);
  assert_int_equal(lc_rpc_table_create(lc_cluster_service(served->cluster), 1, &served->table), 0);
  net_init(&served->net, served->table);
  served->net.count = 2;
  for (unsigned i = 0; i < 2; i++)
    lc_list_init(&served->parked[i]);
  net_start(&served->net);
  for (unsigned i = 0; i < 2; i++)
    on_worker(served->net.workers[i].worker, open_links, &(struct place){served, i});
  peer_start(&served->client, served->net.port);
  struct answer answer;
  ask_get(&answer, served, &(struct lc_msg_peer_get_request){.from = 1}); /* so that it has connected first */
  answer_fini(&answer);
}

void served_stop(struct served *served) {
  peer_stop(&served->client);
  net_stop(&served->net);
  assert_int_equal(lc_groups_flights(served->groups), 0);
  assert_null(take_held(served, 0));
  assert_null(take_held(served, 1));
  lc_rpc_table_destroy(served->table);
  lc_groups_destroy(served->groups);
  lc_cluster_destroy(served->cluster);
}

void key_of(struct served *served, bool own, const char *word, unsigned n, char out[64]) {
  struct lc_view *view = lc_view_acquire(served->cluster);
  bool found = false;
  for (unsigned i = 0; i < 10000 && !found; i++) {
    snprintf(out, 64, "%s-%u", word, n * 10000 + i);
    found = !lc_view_owner(view, lc_hash_ring(lc_slice_str("g"), lc_slice_str(out))) == own;
  }
  lc_view_unref(view);
  assert_true(found);
}

/* ---- calls ---- */

struct lc_msg_peer_get_request get_request(struct served *served, const char *group, const char *key) {
  return (struct lc_msg_peer_get_request){
      .from = OTHER_PROCESS, .to = served->cluster->process, .group = lc_slice_str(group), .key = lc_slice_str(key)};
}

void start_get(struct answer *answer, struct peer *client, const struct lc_msg_peer_get_request *request) {
  START_CALL(answer, client, "Get", peer_get_request, request);
}

void ask_get(struct answer *answer, struct served *served, const struct lc_msg_peer_get_request *request) {
  start_get(answer, &served->client, request);
  answer_wait(answer);
}

struct lc_msg_peer_get_response got(const struct answer *answer) {
  struct lc_msg_peer_get_response reply;
  expect_status(answer, LC_GRPC_OK, "");
  assert_int_equal(lc_msg_peer_get_response_decode(NULL, lc_buf_slice(&answer->reply), &reply, NULL), 0);
  return reply;
}

static void expect(struct served *served, const struct lc_msg_peer_get_request *request, int outcome,
                   const char *value) {
  struct answer answer;
  ask_get(&answer, served, request);
  struct lc_msg_peer_get_response reply = got(&answer);
  assert_int_equal(reply.outcome, outcome);
  assert_true(lc_slice_eq(reply.value, lc_slice_str(value)));
  answer_fini(&answer);
}

void expect_get(struct served *served, const char *group, const char *key, int outcome, const char *value) {
  const struct lc_msg_peer_get_request request = get_request(served, group, key);
  expect(served, &request, outcome, value);
}

void expect_peek(struct served *served, const char *group, const char *key, int outcome, const char *value) {
  struct lc_msg_peer_get_request request = get_request(served, group, key);
  request.only_if_cached = true;
  expect(served, &request, outcome, value);
}

static void cancel_here(void *arg) {
  struct answer *answer = arg;
  lc_rpc_client_cancel(answer->call);
}

void cancel_answer(struct answer *answer) {
  on_worker(answer->peer->worker, cancel_here, answer);
}

void lead_on_the_other_worker(struct served *served, struct peer *client, struct answer *answer) {
  const struct lc_msg_peer_get_request request = get_request(served, "g", "held");
  peer_start(client, served->net.port);
  start_get(answer, client, &request);
  gate_wait(&served->loads, 1);
}

/* ---- memory ---- */

struct fault {
  size_t at, made;
};

static void fail_here(void *arg) {
  struct fault *fault = arg;
  fault->made = lc_alloc_fail_at(fault->at);
}

static size_t fail_at(struct served *served, size_t n) {
  struct fault fault = {.at = n};
  on_worker(served->net.workers[0].worker, fail_here, &fault);
  return fault.made;
}

/* A connection that is worker 0's, after one that broke. */
static void connect_again(struct served *served) {
  do {
    peer_stop(&served->client);
    peer_start(&served->client, served->net.port);
    expect_peek(served, "g", "k", LC_OUTCOME_NOT_CACHED, "");
  } while (net_connections(&served->net, 0) == 0);
}

void expect_answers(struct served *served, void (*start_call)(struct answer *answer)) {
  size_t n = 0, made;
  do {
    struct answer answer;
    fail_at(served, ++n);
    start_call(&answer);
    answer_wait(&answer);
    made = fail_at(served, 0);
    if (answer.transport)
      connect_again(served);
    assert_true(made >= n || answer.status == LC_GRPC_OK);
    answer_fini(&answer);
    expect_get(served, "g", "k", LC_OUTCOME_VALUE, "k");
    lc_groups_drop_all(served->groups);
  } while (made >= n && n < 2000);
  assert_true(n > 3 && n < 2000);
}
