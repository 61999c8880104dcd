/*
 * A leaving node's items, to their new owners. A thread collects what is stored and sorts it by owner, the most
 * recently used first; the control thread pushes it in batches, one call at a time a peer. An item is looked at again
 * when its batch is made, after `applied` was read: see touched.c for what that is good for.
 */
#include <pthread.h>

#include "base/alloc.h"
#include "cluster/handover.h"

#define HAND_OVER "/lcache.v1.Peer/HandOver"
#define TIMEOUT_MS 5000u
#define BATCH_BYTES ((size_t)1 << 20)
#define BATCH_ITEMS 1000u
#define APPLIED_MAX 1024u
#define RETRY_MS 100u
#define FAILURES_MAX 5u /* in a row */
#define REPLY_ARENA_BYTES 256u

struct target {
  struct push *push;
  struct lc_peer *peer; /* the view's */
  size_t next, end;     /* of the load's items; before next: given away */
  size_t sent;          /* of them, in the call under way */
  struct lc_rpc_client_call *call;
  struct lc_timer retry;
  unsigned failures;
  bool over;
  uint64_t taken;
};

struct push {
  struct lc_cluster *cluster;
  void (*done)(struct lc_cluster *cluster);
  uint64_t began_ms, deadline_ms;
  struct lc_timer deadline;
  struct lc_view *view;
  struct lc_handover_load load;
  pthread_t thread;
  bool collecting; /* the thread's task hasn't run yet */
  atomic_bool stop;
  struct lc_task collected;
  struct target *targets;
  size_t running;
  struct lc_msg_handover_item items[BATCH_ITEMS];
  struct lc_msg_applied applied[APPLIED_MAX];
};

static struct lc_timers *timers_of(const struct push *push) {
  return lc_worker_timers(push->cluster->control);
}

/* ---- the end ---- */

static void free_push(struct push *push) {
  lc_handover_unload(&push->load);
  lc_view_unref(push->view);
  lc_free(push->targets);
  lc_free(push);
}

static void stop_targets(struct push *push) {
  lc_timer_stop(timers_of(push), &push->deadline);
  for (size_t i = 0; push->targets && i < push->load.target_count; i++) {
    struct target *target = &push->targets[i];
    lc_timer_stop(timers_of(push), &target->retry);
    if (target->call)
      lc_rpc_client_cancel(target->call);
    target->call = NULL;
  }
}

static void finish(struct push *push) {
  struct lc_cluster *cluster = push->cluster;
  void (*done)(struct lc_cluster * cluster) = push->done;
  uint64_t taken = 0;
  for (size_t i = 0; push->targets && i < push->load.target_count; i++)
    taken += push->targets[i].taken;
  lc_log_event(cluster->config.log, LC_LOG_INFO, "handed over", LC_F_INT("items", push->load.count),
               LC_F_INT("taken", taken), LC_F_INT("ms", lc_clock_ms() - push->began_ms));
  stop_targets(push);
  cluster->handover = NULL;
  free_push(push);
  done(cluster);
}

/* ---- one batch after the other ---- */

static void send_batch(struct target *target);

/* The last one ends the whole; nothing may be touched after it. */
static void end_target(struct target *target) {
  struct push *push = target->push;
  target->over = true;
  if (--push->running == 0)
    finish(push);
}

static void give_away(struct target *target, size_t end) {
  struct lc_handover_item *items = target->push->load.items;
  for (; target->next < end; target->next++) {
    lc_item_unref(items[target->next].item);
    items[target->next].item = NULL;
  }
}

static void try_again(struct target *target) {
  struct push *push = target->push;
  if (++target->failures > FAILURES_MAX)
    end_target(target);
  else
    lc_timer_start(timers_of(push), &target->retry, lc_cluster_now(push->cluster, push->cluster->workers) + RETRY_MS);
}

static void on_retry(struct lc_timer *timer) {
  send_batch(lc_container_of(timer, struct target, retry));
}

static void on_reply(void *arg, const struct lc_rpc_result *result) {
  struct target *target = arg;
  struct lc_msg_handover_response reply;
  struct lc_arena arena;
  char first[REPLY_ARENA_BYTES];
  target->call = NULL;
  if (result->status != LC_GRPC_OK) {
    try_again(target);
    return;
  }
  lc_arena_init(&arena, first, sizeof first, sizeof first);
  int rc = lc_msg_handover_response_decode(&arena, result->reply, &reply, NULL);
  lc_arena_fini(&arena);
  if (rc != LC_OK || reply.outcome != LC_OUTCOME_OK) {
    end_target(target);
    return;
  }
  target->taken += reply.taken;
  target->failures = 0;
  give_away(target, target->next + target->sent);
  send_batch(target);
}

void lc_handover_disconnected(struct lc_peer *peer) {
  struct push *push = peer->cluster->handover;
  for (size_t i = 0; push && push->targets && i < push->load.target_count; i++) {
    struct target *target = &push->targets[i];
    if (target->peer == peer && target->call) {
      target->call = NULL;
      try_again(target);
      return;
    }
  }
}

/* Whether the item is still what the store has for its key, and worth sending. */
static bool fill_item(const struct push *push, const struct lc_handover_item *from, uint64_t now_ms,
                      struct lc_msg_handover_item *out) {
  struct lc_item *item = from->item;
  const struct lc_group *group = lc_groups_at(push->cluster->groups, from->group);
  struct lc_store *store = lc_group_store(group);
  if (lc_item_expires_ms(item) <= now_ms || !lc_store_holds(store, item, lc_store_hash(store, lc_item_key(item))))
    return false;
  *out = (struct lc_msg_handover_item){.group = lc_slice_str(lc_group_name(group)),
                                       .key = lc_item_key(item),
                                       .ttl_ms = lc_item_ttl_ms(item, now_ms),
                                       .value = lc_item_value(item),
                                       .owner = item};
  return true;
}

/* The next items, as many as go into one call; target->sent says how many it stands for, the stale ones included. */
static void pack(struct target *target, struct lc_msg_handover_request *request) {
  struct push *push = target->push;
  struct lc_cluster *cluster = push->cluster;
  uint64_t now_ms = lc_clock_ms();
  size_t max = cluster->config.max_message < BATCH_BYTES ? cluster->config.max_message : BATCH_BYTES, bytes = 0;
  *request = (struct lc_msg_handover_request){.from = cluster->process,
                                              .to = atomic_load(&target->peer->process),
                                              .applied = push->applied,
                                              .items = push->items};
  request->applied_count = lc_touched_applied(cluster->touched, push->applied, APPLIED_MAX);
  size_t at = target->next;
  for (; at < target->end && request->item_count < BATCH_ITEMS; at++) {
    struct lc_msg_handover_item *item = &push->items[request->item_count];
    if (!fill_item(push, &push->load.items[at], now_ms, item))
      continue;
    bytes += lc_msg_handover_item_size(item);
    if (bytes > max && request->item_count > 0)
      break;
    request->item_count++;
  }
  target->sent = at - target->next;
}

static void send_batch(struct target *target) {
  struct push *push = target->push;
  struct lc_msg_handover_request request;
  pack(target, &request);
  if (request.item_count == 0) {
    end_target(target);
    return;
  }
  uint64_t now_ms = lc_clock_ms(), left_ms = push->deadline_ms > now_ms ? push->deadline_ms - now_ms : 1;
  struct lc_outq *q = lc_control_request(push->cluster);
  if (lc_msg_handover_request_frame(&request, &lc_item_hold_ops, q) != LC_OK ||
      lc_control_call(target->peer, HAND_OVER, q, left_ms < TIMEOUT_MS ? left_ms : TIMEOUT_MS, on_reply, target,
                      &target->call) != LC_OK) {
    lc_outq_consume(q, q->bytes);
    target->call = NULL;
    try_again(target);
  }
}

/* ---- start ---- */

static void on_deadline(struct lc_timer *timer) {
  struct push *push = lc_container_of(timer, struct push, deadline);
  atomic_store(&push->stop, true);
  if (!push->collecting)
    finish(push);
}

static void start_targets(struct push *push) {
  size_t count = push->load.target_count;
  push->targets = lc_calloc(count + 1, sizeof *push->targets);
  push->running = 1; /* until all have begun */
  for (size_t i = 0; push->targets && i < count; i++) {
    struct target *target = &push->targets[i];
    *target = (struct target){.push = push, .retry.fire = on_retry};
    target->peer = push->load.targets[i].peer;
    target->next = push->load.targets[i].begin;
    target->end = push->load.targets[i].end;
    push->running++;
  }
  for (size_t i = 0; push->targets && i < count; i++)
    send_batch(&push->targets[i]);
  if (--push->running == 0)
    finish(push);
}

/* If nobody waits for it any more, what is left is freed here. */
static void run_collected(struct lc_task *task) {
  struct push *push = lc_container_of(task, struct push, collected);
  bool cancelled = push->cluster->handover != push;
  push->collecting = false;
  if (!cancelled)
    pthread_join(push->thread, NULL);
  if (cancelled)
    free_push(push);
  else if (atomic_load(&push->stop))
    finish(push);
  else
    start_targets(push);
}

static void *collect(void *arg) {
  struct push *push = arg;
  lc_handover_collect(push->cluster->groups, push->view, &push->stop, &push->load);
  lc_worker_post(push->cluster->control, &push->collected);
  return NULL;
}

/* Where no thread can be had there is nothing to hand over; the end is told of all the same, later. */
static void start_collecting(struct push *push) {
  push->collecting = true;
  push->collected.run = run_collected;
  if (pthread_create(&push->thread, NULL, collect, push) == 0)
    return;
  push->collecting = false;
  lc_timer_start(timers_of(push), &push->deadline, 0);
}

void lc_handover_push(struct lc_cluster *cluster, uint64_t deadline_ms, void (*done)(struct lc_cluster *cluster)) {
  struct push *push = lc_calloc(1, sizeof *push);
  if (!push) {
    done(cluster);
    return;
  }
  push->cluster = cluster;
  push->done = done;
  push->began_ms = lc_clock_ms();
  push->deadline_ms = deadline_ms;
  push->view = lc_view_acquire(cluster);
  push->deadline.fire = on_deadline;
  cluster->handover = push;
  uint64_t left_ms = deadline_ms > push->began_ms ? deadline_ms - push->began_ms : 0;
  lc_timer_start(timers_of(push), &push->deadline, lc_cluster_now(cluster, cluster->workers) + left_ms);
  start_collecting(push);
}

void lc_handover_cancel(struct lc_cluster *cluster) {
  struct push *push = cluster->handover;
  if (!push)
    return;
  cluster->handover = NULL;
  stop_targets(push);
  atomic_store(&push->stop, true);
  if (push->collecting)
    pthread_join(push->thread, NULL); /* its task is in the mailbox, and frees the rest */
  else
    free_push(push);
}

/* ---- the new owner ---- */

struct taking {
  struct lc_cluster *cluster;
  const struct lc_msg_handover_request *request;
  uint64_t hash;
};

static bool allow(void *arg) {
  const struct taking *taking = arg;
  return lc_touched_allows(taking->cluster->touched, taking->hash, taking->request->applied,
                           taking->request->applied_count);
}

void lc_handover_take(struct lc_cluster *cluster, unsigned worker, struct lc_peer *peer,
                      const struct lc_msg_handover_request *request, struct lc_msg_handover_response *reply) {
  (void)peer;
  *reply = (struct lc_msg_handover_response){.outcome = LC_OUTCOME_OK};
  if (lc_cluster_view(cluster, worker)->now->self == LC_RING_NONE) {
    reply->outcome = LC_OUTCOME_DRAINING;
    return;
  }
  for (size_t i = 0; i < request->item_count; i++) {
    const struct lc_msg_handover_item *item = &request->items[i];
    struct taking taking = {cluster, request, lc_hash_ring(item->group, item->key)};
    reply->taken +=
        lc_group_add(cluster->groups, item->group, item->key, item->value, item->ttl_ms, worker, allow, &taking);
  }
}
