#include "test_cluster_fake.h"

#include <stdio.h>

#include "base/arena.h"
#include "base/buf.h"

struct fake fake;
static _Atomic uint64_t now_ms = FAKE_START_MS;
static uint64_t tick_ms;

/* ---- the clock ---- */

uint64_t lc_clock_ms(void) {
  return atomic_load(&now_ms);
}

uint64_t lc_clock_ns(void) {
  return atomic_load(&now_ms) * 1000000u;
}

uint64_t lc_clock_thread_cpu_ns(void) {
  return 1;
}

/* ---- workers ---- */

void lc_worker_post(struct lc_worker *worker, struct lc_task *task) {
  pthread_mutex_lock(&worker->lock);
  task->next = NULL;
  *worker->tail = task;
  worker->tail = &task->next;
  pthread_mutex_unlock(&worker->lock);
}

struct lc_timers *lc_worker_timers(struct lc_worker *worker) {
  return &worker->timers;
}

uint64_t lc_worker_now_ms(const struct lc_worker *worker) {
  (void)worker;
  return lc_clock_ms();
}

static void post(void *ctx, unsigned worker, struct lc_task *task) {
  (void)ctx;
  lc_worker_post(&fake.worker[worker], task);
}

static bool run_one(struct lc_worker *worker) {
  pthread_mutex_lock(&worker->lock);
  struct lc_task *task = worker->head;
  if (task) {
    worker->head = task->next;
    if (!worker->head)
      worker->tail = &worker->head;
  }
  pthread_mutex_unlock(&worker->lock);
  if (task)
    task->run(task);
  return task != NULL;
}

void fake_run(void) {
  bool any = true;
  while (any) {
    any = false;
    for (unsigned i = 0; i <= FAKE_WORKERS; i++)
      any = (!fake.worker[i].stopped && run_one(&fake.worker[i])) || any;
  }
}

void fake_advance(uint64_t ms) {
  fake_run();
  for (uint64_t step = 0; step < ms; step += 10) {
    atomic_fetch_add(&now_ms, 10);
    for (unsigned i = 0; i <= FAKE_WORKERS; i++) {
      if (!fake.worker[i].stopped)
        lc_timers_expire(&fake.worker[i].timers, lc_clock_ms());
    }
    if (lc_clock_ms() >= tick_ms && !fake.worker[FAKE_WORKERS].stopped) {
      tick_ms = lc_clock_ms() + 100;
      lc_fence_tick(&fake.cluster);
    }
    fake_run();
  }
}

void fake_jump(uint64_t ms) {
  atomic_fetch_add(&now_ms, ms);
}

/* ---- the control thread's connections ---- */

int lc_control_call(struct lc_peer *peer, const char *path, struct lc_outq *request, uint64_t timeout_ms,
                    lc_rpc_client_done done, void *arg, struct lc_rpc_client_call **out) {
  assert_true(timeout_ms > 0);
  if (!peer->connected || fake.refuse_calls)
    return LC_EUNAVAILABLE;
  for (unsigned i = 0; i < FAKE_CALLS; i++) {
    struct fake_call *call = &fake.calls[i];
    if (call->peer)
      continue;
    *call = (struct fake_call){.peer = peer, .done = done, .arg = arg};
    snprintf(call->path, sizeof call->path, "%s", path);
    call->bytes = malloc(request->bytes);
    call->len = request->bytes - LC_GRPC_PREFIX;
    lc_outq_read(request, call->bytes, LC_GRPC_PREFIX);
    lc_outq_read(request, call->bytes, call->len);
    *out = (struct lc_rpc_client_call *)(void *)call;
    return LC_OK;
  }
  fail_msg("too many calls");
  return LC_EEXHAUSTED;
}

static void free_call(struct fake_call *call) {
  free(call->bytes);
  *call = (struct fake_call){0};
}

void lc_rpc_client_cancel(struct lc_rpc_client_call *client_call) {
  struct fake_call *call = (struct fake_call *)(void *)client_call;
  assert_non_null(call->peer);
  fake.cancelled++;
  free_call(call);
}

struct lc_outq *lc_control_request(struct lc_cluster *cluster) {
  lc_outq_consume(&cluster->request, cluster->request.bytes);
  return &cluster->request;
}

static unsigned index_of(const struct lc_peer *peer) {
  return (unsigned)(peer - fake.peer);
}

void lc_control_hello(struct lc_peer *peer) {
  fake.hellos[index_of(peer)]++;
  peer->hello_ms = lc_clock_ms();
}

void lc_control_look(struct lc_cluster *cluster, struct lc_peer *peer) {
  (void)cluster;
  fake.looks[index_of(peer)]++;
}

void lc_control_synced(struct lc_peer *peer) {
  fake.synced[index_of(peer)]++;
  atomic_store(&peer->state, LC_PEER_UP);
}

/* ---- views and peers ---- */

struct lc_view *lc_view_acquire(struct lc_cluster *cluster) {
  (void)cluster;
  return &fake.view;
}

void lc_view_unref(struct lc_view *view) {
  (void)view;
}

struct lc_view *lc_cluster_view(struct lc_cluster *cluster, unsigned index) {
  (void)cluster;
  (void)index;
  return &fake.view;
}

struct lc_peer *lc_view_owner(const struct lc_view *view, uint64_t hash) {
  (void)view;
  return fake.owner ? fake.owner(hash) : NULL;
}

struct lc_peer *lc_peer_ref(struct lc_peer *peer) {
  atomic_fetch_add(&peer->refs, 1);
  return peer;
}

void lc_peer_unref(struct lc_peer *peer) {
  if (peer)
    atomic_fetch_sub(&peer->refs, 1);
}

/* ---- groups ---- */

size_t lc_groups_count(const struct lc_groups *groups) {
  return groups->count;
}

struct lc_group *lc_groups_at(struct lc_groups *groups, size_t index) {
  return &groups->at[index];
}

const char *lc_group_name(const struct lc_group *group) {
  return group->name;
}

struct lc_store *lc_group_store(const struct lc_group *group) {
  return group->store;
}

bool lc_group_invalidate(struct lc_groups *groups, struct lc_slice group, struct lc_slice key, unsigned worker,
                         void (*under)(void *arg), void *arg) {
  (void)group;
  (void)worker;
  groups->invalidated++;
  snprintf(groups->last_key, sizeof groups->last_key, "%.*s", (int)key.len, (const char *)key.ptr);
  under(arg);
  if (groups->on_invalidate)
    groups->on_invalidate(groups->on_invalidate_arg);
  return true;
}

bool lc_group_add(struct lc_groups *groups, struct lc_slice group, struct lc_slice key, struct lc_slice value,
                  int64_t ttl_ms, unsigned worker, bool (*allow)(void *arg), void *arg) {
  (void)group;
  (void)key;
  (void)value;
  (void)ttl_ms;
  (void)worker;
  bool allowed = allow(arg);
  groups->added += allowed;
  groups->refused += !allowed;
  return allowed;
}

void lc_groups_drop_all(struct lc_groups *groups) {
  groups->drops++;
  if (groups->on_drop)
    groups->on_drop(groups->on_drop_arg);
}

/* ---- a world ---- */

static void open_workers(void) {
  for (unsigned i = 0; i <= FAKE_WORKERS; i++) {
    struct lc_worker *worker = &fake.worker[i];
    lc_timers_init(&worker->timers);
    pthread_mutex_init(&worker->lock, NULL);
    worker->tail = &worker->head;
    fake.cluster_worker[i] = (struct lc_cluster_worker){.cluster = &fake.cluster, .index = i, .worker = worker};
    lc_list_init(&fake.cluster_worker[i].parked);
  }
  for (unsigned i = 0; i <= FAKE_WORKERS; i++)
    lc_fence_open(&fake.cluster, i);
}

static void open_peers(void) {
  struct lc_ring_member ring[FAKE_PEERS];
  for (unsigned i = 0; i < FAKE_PEERS; i++) {
    struct lc_peer *peer = fake.peers[i] = &fake.peer[i];
    peer->cluster = &fake.cluster;
    peer->slot = i;
    snprintf(peer->name, sizeof peer->name, "peer%u:1", i);
    ring[i] = (struct lc_ring_member){peer->name, 1};
    atomic_init(&peer->refs, 1);
    pthread_mutex_init(&peer->apply_lock, NULL);
  }
  assert_int_equal(lc_ring_create(ring, FAKE_PEERS, &fake.members.ring, NULL), LC_OK);
  fake.view = (struct lc_view){.now = &fake.members, .peers = fake.peers, .peer_count = FAKE_PEERS};
}

void fake_open(void) {
  struct lc_cluster *cluster = &fake.cluster;
  fake = (struct fake){.exec = {.workers = FAKE_WORKERS, .post = post}};
  atomic_store(&now_ms, FAKE_START_MS);
  tick_ms = 0;
  cluster->exec = &fake.exec;
  cluster->workers = FAKE_WORKERS;
  cluster->worker = fake.cluster_worker;
  cluster->control = &fake.worker[FAKE_WORKERS];
  cluster->process = 1;
  cluster->groups = &fake.groups;
  cluster->config.max_message = (size_t)4 << 20;
  fake.groups.at[0].name = "g";
  fake.groups.at[1].name = "h";
  assert_int_equal(lc_fence_create(cluster), LC_OK);
  assert_int_equal(lc_write_log_create(&cluster->log), LC_OK);
  assert_int_equal(lc_touched_create(&cluster->touched), LC_OK);
  fake.pool = lc_mempool_create((size_t)1 << 20);
  assert_non_null(fake.pool);
  lc_outq_init(&cluster->request, fake.pool);
  open_peers();
  open_workers();
}

void fake_close(void) {
  struct lc_cluster *cluster = &fake.cluster;
  for (unsigned i = 0; i <= FAKE_WORKERS; i++) {
    lc_fence_close(cluster, i);
    assert_null(fake.worker[i].timers.root);
    pthread_mutex_destroy(&fake.worker[i].lock);
  }
  for (unsigned i = 0; i < FAKE_CALLS; i++)
    free_call(&fake.calls[i]);
  lc_write_log_destroy(cluster->log);
  lc_touched_destroy(cluster->touched);
  lc_fence_destroy(cluster->fence);
  lc_outq_fini(&cluster->request);
  lc_mempool_destroy(fake.pool);
  for (unsigned i = 0; i < FAKE_PEERS; i++) {
    assert_int_equal(atomic_load(&fake.peer[i].refs), 1);
    pthread_mutex_destroy(&fake.peer[i].apply_lock);
  }
  lc_ring_destroy(fake.members.ring);
}

int fake_setup(void **state) {
  (void)state;
  fake_open();
  return 0;
}

int fake_teardown(void **state) {
  (void)state;
  fake_close();
  return 0;
}

/* ---- what happens to peers ---- */

static void take_process(struct lc_peer *peer, uint64_t process) {
  bool fresh = atomic_load(&peer->process) != process, was_waited;
  if (fresh) {
    atomic_store(&peer->process, process);
    atomic_store(&peer->applied, 0);
  }
  lc_deliver_greeted(&fake.cluster, peer, fresh, &was_waited);
}

struct lc_peer *fake_greet(unsigned index) {
  struct lc_peer *peer = &fake.peer[index];
  uint64_t process = atomic_load(&peer->process);
  take_process(peer, process ? process : 100 + index);
  peer->connected = peer->in_contact = true;
  if (lc_peer_state(peer) == LC_PEER_DOWN)
    atomic_store(&peer->state, LC_PEER_SYNCING);
  lc_deliver_connected(peer);
  return peer;
}

void fake_restart(unsigned index) {
  struct lc_peer *peer = &fake.peer[index];
  take_process(peer, atomic_load(&peer->process) + 100);
}

void fake_hang_up(unsigned index) {
  struct lc_peer *peer = &fake.peer[index];
  for (unsigned i = 0; i < FAKE_CALLS; i++) {
    if (fake.calls[i].peer == peer)
      free_call(&fake.calls[i]);
  }
  peer->connected = false;
  peer->lost_ms = lc_clock_ms();
  lc_deliver_disconnected(peer);
}

void fake_down(unsigned index) {
  fake_hang_up(index);
  atomic_store(&fake.peer[index].state, LC_PEER_DOWN);
  lc_deliver_down(&fake.peer[index]);
}

/* ---- calls ---- */

struct fake_call *fake_call_to(unsigned index) {
  struct fake_call *found = NULL;
  for (unsigned i = 0; i < FAKE_CALLS; i++) {
    if (fake.calls[i].peer != &fake.peer[index])
      continue;
    assert_null(found); /* one at a time */
    found = &fake.calls[i];
  }
  return found;
}

static void finish(struct fake_call *call, const struct lc_rpc_result *result) {
  lc_rpc_client_done done = call->done;
  void *arg = call->arg;
  free_call(call);
  done(arg, result);
}

void fake_fail(struct fake_call *call, int status) {
  const struct lc_rpc_result result = {.status = status, .transport = true, .message = ""};
  finish(call, &result);
}

void fake_answer(struct fake_call *call, struct lc_buf *reply) {
  const struct lc_rpc_result result = {.status = LC_GRPC_OK, .message = "", .reply = lc_buf_slice(reply)};
  finish(call, &result);
  lc_buf_fini(reply);
}

void fake_decode(const struct fake_call *call, struct lc_arena *arena, struct lc_msg_invalidate_request *out) {
  struct lc_err err;
  assert_non_null(call);
  assert_int_equal(lc_msg_invalidate_request_decode(arena, lc_slice_of(call->bytes, call->len), out, &err), LC_OK);
}

static void answer_invalidate(struct fake_call *call, const struct lc_msg_invalidate_response *reply) {
  struct lc_buf buf;
  assert_non_null(call);
  lc_buf_init(&buf);
  assert_int_equal(lc_msg_invalidate_response_encode(reply, &buf), LC_OK);
  fake_answer(call, &buf);
}

void fake_applied(struct fake_call *call, uint64_t applied, bool mismatch) {
  const struct lc_msg_invalidate_response reply = {LC_OUTCOME_OK, applied, mismatch};
  answer_invalidate(call, &reply);
}

void fake_outcome(struct fake_call *call, int outcome) {
  const struct lc_msg_invalidate_response reply = {.outcome = outcome};
  answer_invalidate(call, &reply);
}

uint64_t fake_write(const char *key) {
  return lc_deliver_written(&fake.cluster, lc_slice_str("g"), lc_slice_str(key));
}
