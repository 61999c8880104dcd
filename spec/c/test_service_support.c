#include "test_service_support.h"

#include <string.h>

/* ---- the loader ---- */

struct pending {
  struct lc_task task;
  struct lc_timer timer;
  struct world *world;
  struct lc_load *load; /* NULL: cancelled while its task was on its way */
  unsigned worker;
  bool posted;
};

static bool begins(struct lc_slice key, const char *prefix) {
  return key.len >= strlen(prefix) && memcmp(key.ptr, prefix, strlen(prefix)) == 0;
}

static struct lc_slice after_colon(struct lc_slice key) {
  const uint8_t *colon = memchr(key.ptr, ':', key.len);
  return lc_slice_of(colon + 1, (size_t)(key.ptr + key.len - colon - 1));
}

static void finish(struct pending *pending) {
  struct lc_load *load = pending->load;
  struct lc_slice key = lc_load_key(load);
  if (begins(key, "nilx"))
    lc_load_set_not_found(load);
  else
    lc_load_set_value(load, after_colon(key), -1);
  atomic_fetch_sub(&pending->world->loads.now, 1);
  free(pending);
  lc_load_done(load);
}

/* Some turns of the loop later, so that others come in between. */
static void run_later(struct lc_task *task) {
  struct pending *pending = lc_container_of(task, struct pending, task);
  if (!pending->load)
    free(pending);
  else
    finish(pending);
}

static void look_soon(struct pending *pending) {
  struct lc_worker *worker = pending->world->net.workers[pending->worker].worker;
  lc_timer_start(lc_worker_timers(worker), &pending->timer, lc_worker_now_ms(worker) + 1);
}

static void look_whether_let_go(struct lc_timer *timer) {
  struct pending *pending = lc_container_of(timer, struct pending, timer);
  if (atomic_load(&pending->world->loads.let_go))
    finish(pending);
  else
    look_soon(pending);
}

static int start_pending(struct world *world, struct lc_load *load) {
  struct lc_slice key = lc_load_key(load);
  unsigned worker = lc_load_worker(load);
  struct pending *pending = calloc(1, sizeof *pending);
  *pending = (struct pending){.world = world, .load = load, .worker = worker, .task.run = run_later};
  lc_load_set_impl(load, pending);
  unsigned now = atomic_fetch_add(&world->loads.now, 1) + 1, most = atomic_load(&world->loads.most);
  while (now > most && !atomic_compare_exchange_weak(&world->loads.most, &most, now)) {
  }
  if (begins(key, "held:")) {
    pending->timer.fire = look_whether_let_go;
    look_soon(pending);
  } else if (!begins(key, "hang")) {
    pending->posted = true;
    lc_worker_post(world->net.workers[worker].worker, &pending->task);
  }
  return LC_PENDING;
}

static void set_big(struct lc_load *load, struct lc_slice key) {
  char text[32];
  struct lc_slice number = after_colon(key);
  snprintf(text, sizeof text, "%.*s", (int)number.len, (const char *)number.ptr);
  size_t len = strtoul(text, NULL, 10);
  char *bytes = malloc(len + 1);
  memset(bytes, 'b', len);
  lc_load_set_value(load, lc_slice_of(bytes, len), -1);
  free(bytes);
}

static int load_start(void *ctx, struct lc_load *load) {
  struct world *world = ctx;
  struct lc_slice key = lc_load_key(load);
  atomic_fetch_add(&world->loads.started, 1);
  if (begins(key, "hang") || begins(key, "later:") || begins(key, "held:") || begins(key, "nilx"))
    return start_pending(world, load);
  if (begins(key, "nil"))
    lc_load_set_not_found(load);
  else if (begins(key, "fail"))
    lc_load_set_error(load, LC_EUNAVAILABLE, "the source is away", 18);
  else if (begins(key, "raise"))
    lc_load_set_error(load, LC_EINTERNAL, "getter failed", 13);
  else if (begins(key, "big:"))
    set_big(load, key);
  else
    lc_load_set_value(load, key, -1);
  return LC_OK;
}

static void load_cancel(void *ctx, struct lc_load *load) {
  struct world *world = ctx;
  struct pending *pending = lc_load_impl(load);
  atomic_fetch_add(&world->loads.cancelled, 1);
  atomic_fetch_sub(&world->loads.now, 1);
  lc_timer_stop(lc_worker_timers(world->net.workers[pending->worker].worker), &pending->timer);
  pending->load = NULL;
  if (!pending->posted)
    free(pending);
}

static void load_evicted(void *ctx, unsigned group_index, struct lc_item *item, int reason) {
  (void)ctx, (void)group_index, (void)item, (void)reason;
}

/* ---- the node ---- */

static void post(void *ctx, unsigned worker, struct lc_task *task) {
  lc_worker_post(((struct world *)ctx)->net.workers[worker].worker, task);
}

static struct lc_timers *timers(void *ctx, unsigned worker) {
  return lc_worker_timers(((struct world *)ctx)->net.workers[worker].worker);
}

static uint64_t now_ms(void *ctx, unsigned worker) {
  return lc_worker_now_ms(((struct world *)ctx)->net.workers[worker].worker);
}

static const char *self(void *ctx) {
  (void)ctx;
  return "10.0.0.1:8001";
}

static void ring_id(void *ctx, char out[LC_RING_ID_SIZE]) {
  (void)ctx;
  snprintf(out, LC_RING_ID_SIZE, "00c0ffee");
}

static void owner(void *ctx, struct lc_slice group, struct lc_slice key, char out[LC_NODE_ADDRESS_SIZE]) {
  (void)group;
  snprintf(out, LC_NODE_ADDRESS_SIZE, "%s", begins(key, "other") ? "10.0.0.2:8001" : self(ctx));
}

static size_t nodes(void *ctx, struct lc_node_info *nodes, size_t max) {
  (void)ctx;
  assert_true(max >= 2);
  nodes[0] = (struct lc_node_info){.address = "10.0.0.1:8001", .state = LC_NODE_UP, .share = 0.75};
  nodes[1] = (struct lc_node_info){.address = "10.0.0.2:8001", .state = LC_NODE_LEAVING, .share = 0.25};
  return 2;
}

static void worker_stats(void *ctx, unsigned worker, struct lc_msg_worker_stats *stats) {
  (void)ctx;
  stats->connections = 10 + worker;
  stats->lua_bytes = 1000 + worker;
}

static void create_groups(struct world *world) {
  static const char *const names[] = {"g", "quick", "one", "ttl", "small"};
  struct lc_group_options options[5];
  struct lc_err err = {0};
  for (int i = 0; i < 5; i++) {
    lc_group_options_init(&options[i]);
    options[i].name = names[i];
    options[i].timeout_ms = 60000;
  }
  options[1].timeout_ms = 40;
  options[2].max_loads = 1;
  options[3].ttl_ms = 60000;
  options[4].max_value = 100;
  const struct lc_groups_config config = {.options = options,
                                          .count = 5,
                                          .memory_bytes = 64u << 20,
                                          .max_message_bytes = world->net.max_message,
                                          .exec = &world->exec,
                                          .loader = &world->loader,
                                          .peers = world->domain};
  if (lc_groups_create(&config, &world->groups, &err) != 0)
    fail_msg("%s", err.msg);
}

void world_init(struct world *world, unsigned workers) {
  memset(world, 0, sizeof *world);
  net_init(&world->net, NULL);
  world->net.count = workers;
  world->exec = (struct lc_exec){world, workers, post, timers, now_ms};
  world->loader = (struct lc_loader){world, load_start, load_cancel, load_evicted};
  world->peers = (struct lc_peers){.ctx = world, .self = self, .ring_id = ring_id, .owner = owner, .nodes = nodes};
}

void world_start(struct world *world) {
  create_groups(world);
  const struct lc_services_config config = {.groups = world->groups,
                                            .peers = &world->peers,
                                            .extra = world->extra,
                                            .extra_count = world->extra ? 1 : 0,
                                            .exec = &world->exec,
                                            .version = "1.2.3",
                                            .started_ms = lc_clock_ms(),
                                            .memory_limit_bytes = 64u << 20,
                                            .worker_stats = worker_stats,
                                            .ctx = world};
  assert_int_equal(lc_services_create(&config, &world->services), 0);
  world->net.table = lc_services_table(world->services);
  net_start(&world->net);
  peer_start(&world->peer, world->net.port);
}

void world_stop(struct world *world) {
  peer_stop(&world->peer);
  net_stop(&world->net);
  assert_int_equal(lc_groups_flights(world->groups), 0);
  assert_int_equal(world->loads.now, 0);
  lc_services_destroy(world->services);
  lc_groups_destroy(world->groups);
}

void world_let_go(struct world *world) {
  atomic_store(&world->loads.let_go, true);
}

static void until(atomic_uint *count, unsigned least) {
  uint64_t patience = lc_clock_ms() + PATIENCE_S * 1000u;
  while (atomic_load(count) < least) {
    if (lc_clock_ms() > patience)
      fail_msg("waited %d s for %u, got %u", PATIENCE_S, least, atomic_load(count));
    poll(NULL, 0, 1);
  }
}

void world_until_loads(struct world *world, unsigned started) {
  until(&world->loads.started, started);
}

void world_until_cancelled(struct world *world, unsigned cancelled) {
  until(&world->loads.cancelled, cancelled);
}

/* ---- calls ---- */

void get(struct answer *answer, struct peer *peer, const struct lc_msg_get_request *request) {
  struct lc_buf buf;
  lc_buf_init(&buf);
  assert_int_equal(lc_msg_get_request_encode(request, &buf), 0);
  ask(answer, peer, "/lcache.v1.Cache/Get", lc_buf_slice(&buf));
  lc_buf_fini(&buf);
}

void get_key(struct answer *answer, struct peer *peer, const char *group, const char *key) {
  const struct lc_msg_get_request request = {.group = lc_slice_str(group), .key = lc_slice_str(key)};
  get(answer, peer, &request);
}

struct lc_msg_get_response got(const struct answer *answer) {
  struct lc_msg_get_response response;
  struct lc_arena arena;
  expect_status(answer, LC_GRPC_OK, "");
  lc_arena_init(&arena, NULL, 0, 0);
  assert_int_equal(lc_msg_get_response_decode(&arena, lc_buf_slice(&answer->reply), &response, NULL), 0);
  lc_arena_fini(&arena);
  return response;
}

void expect_get(struct peer *peer, const char *group, const char *key, const char *value, int from) {
  struct answer answer;
  get_key(&answer, peer, group, key);
  struct lc_msg_get_response response = got(&answer);
  assert_int_equal(response.value.len, strlen(value));
  assert_memory_equal(response.value.ptr, value, response.value.len);
  assert_int_equal(response.served_from, from);
  answer_fini(&answer);
}

void expect_get_fails(struct peer *peer, const char *group, const char *key, int status, const char *message) {
  struct answer answer;
  get_key(&answer, peer, group, key);
  expect_status(&answer, status, message);
  answer_fini(&answer);
}

void set_key(struct peer *peer, const char *group, const char *key, const char *value) {
  struct answer answer;
  struct lc_buf buf;
  const struct lc_msg_set_request request = {
      .group = lc_slice_str(group), .key = lc_slice_str(key), .value = lc_slice_str(value)};
  lc_buf_init(&buf);
  assert_int_equal(lc_msg_set_request_encode(&request, &buf), 0);
  ask(&answer, peer, "/lcache.v1.Cache/Set", lc_buf_slice(&buf));
  expect_status(&answer, LC_GRPC_OK, "");
  assert_int_equal(answer.reply.len, 0);
  lc_buf_fini(&buf);
  answer_fini(&answer);
}
