/*
 * on_evict. The store tells of evictions on whatever thread caused them, also under a flight's lock; the loader hears
 * of them on worker 0, some in each turn of its loop. What doesn't fit into the queue is dropped and counted: a slow
 * script must not hold memory.
 */
#include "base/alloc.h"
#include "group/internal.h"

#define QUEUE_ITEMS 4096u
#define QUEUE_BYTES (4u << 20)
#define TURN_ITEMS 64u
#define TURN_MS 10u /* after so long the loop goes on: an on_evict may be slow */

struct eviction {
  struct lc_group *group;
  struct lc_item *item; /* key only */
  enum lc_evict_reason reason;
};

struct lc_evict_queue {
  struct lc_groups *groups;
  struct lc_task task;
  pthread_mutex_t lock;
  bool posted;
  size_t head, count, bytes;
  struct eviction ring[QUEUE_ITEMS];
};

static size_t item_bytes(const struct lc_item *item) {
  return lc_item_charge(lc_item_key(item).len, 0);
}

static void post(struct lc_evict_queue *queue) {
  const struct lc_exec *exec = queue->groups->exec;
  exec->post(exec->ctx, 0, &queue->task);
}

/* True if the item's reference went to the queue; *post_it if the task must be posted. */
static bool push(struct lc_evict_queue *queue, struct eviction eviction, bool *post_it) {
  pthread_mutex_lock(&queue->lock);
  bool fits = queue->count < QUEUE_ITEMS && queue->bytes + item_bytes(eviction.item) <= QUEUE_BYTES;
  if (fits) {
    queue->ring[(queue->head + queue->count++) % QUEUE_ITEMS] = eviction;
    queue->bytes += item_bytes(eviction.item);
    *post_it = !queue->posted;
    queue->posted = true;
  }
  pthread_mutex_unlock(&queue->lock);
  return fits;
}

void lc_evict_push(void *arg, struct lc_item *item, enum lc_evict_reason reason) {
  struct lc_group *group = arg;
  struct lc_evict_queue *queue = group->groups->evict_queue;
  bool post_it = false;
  struct lc_item *key_only = lc_item_create(lc_item_key(item), lc_slice_of(NULL, 0), LC_TIME_NEVER, 0);
  if (!key_only || !push(queue, (struct eviction){group, key_only, reason}, &post_it)) {
    lc_item_unref(key_only);
    atomic_fetch_add_explicit(&group->evict_dropped, 1, memory_order_relaxed);
  }
  if (post_it)
    post(queue);
}

static bool take(struct lc_evict_queue *queue, struct eviction *eviction) {
  pthread_mutex_lock(&queue->lock);
  bool any = queue->count > 0;
  if (any) {
    *eviction = queue->ring[queue->head];
    queue->head = (queue->head + 1) % QUEUE_ITEMS;
    queue->count--;
    queue->bytes -= item_bytes(eviction->item);
  }
  pthread_mutex_unlock(&queue->lock);
  return any;
}

static bool post_again(struct lc_evict_queue *queue) {
  pthread_mutex_lock(&queue->lock);
  bool more = queue->posted = queue->count > 0;
  pthread_mutex_unlock(&queue->lock);
  return more;
}

static void run(struct lc_task *task) {
  struct lc_evict_queue *queue = lc_container_of(task, struct lc_evict_queue, task);
  const struct lc_loader *loader = queue->groups->loader;
  struct eviction eviction;
  uint64_t until_ms = lc_clock_ms() + TURN_MS;
  for (unsigned i = 0; i < TURN_ITEMS && lc_clock_ms() < until_ms && take(queue, &eviction); i++) {
    loader->evicted(loader->ctx, eviction.group->index, eviction.item, (int)eviction.reason);
    lc_item_unref(eviction.item);
  }
  if (post_again(queue))
    post(queue);
}

int lc_evict_queue_create(struct lc_groups *groups, struct lc_evict_queue **queue) {
  struct lc_evict_queue *made = lc_calloc(1, sizeof *made);
  if (!made)
    return LC_ENOMEM;
  made->groups = groups;
  made->task.run = run;
  pthread_mutex_init(&made->lock, NULL);
  *queue = made;
  return LC_OK;
}

void lc_evict_queue_destroy(struct lc_evict_queue *queue) {
  if (!queue)
    return;
  while (queue->count > 0) {
    lc_item_unref(queue->ring[queue->head].item);
    queue->head = (queue->head + 1) % QUEUE_ITEMS;
    queue->count--;
  }
  pthread_mutex_destroy(&queue->lock);
  lc_free(queue);
}
