#include "base/alloc.h"
#include "base/list.h"
#include "registry/internal.h"

/* A list that somebody typed. It never changes, and nobody has to be told that this node comes or goes. */
struct fixed {
  struct lc_registry base;
  struct lc_timer timer; /* tells the list, or that a leave is done: later, as the interface has it */
  bool started, listed, entered;
  void (*left)(void *arg);
  void *left_arg;
  size_t count;
  struct lc_registry_member members[];
};

static struct fixed *of(struct lc_registry *registry) {
  return (struct fixed *)(void *)registry;
}

static void wake(struct fixed *fixed) {
  lc_timer_start(lc_worker_timers(fixed->base.worker), &fixed->timer, lc_worker_now_ms(fixed->base.worker));
}

/* A callback may destroy the registry: one a turn, and nothing is touched after it. */
static void on_timer(struct lc_timer *timer) {
  struct fixed *fixed = lc_container_of(timer, struct fixed, timer);
  const struct lc_registry_handler *handler = &fixed->base.handler;
  void (*left)(void *arg) = fixed->left;
  if (fixed->started && !fixed->listed) {
    fixed->listed = true;
    if (left != NULL)
      wake(fixed);
    if (handler->on_list != NULL)
      handler->on_list(fixed->base.arg, fixed->members, fixed->count);
  } else if (left != NULL) {
    fixed->left = NULL;
    left(fixed->left_arg);
  }
}

static void start(struct lc_registry *registry) {
  of(registry)->started = true;
  wake(of(registry));
}

static void enter(struct lc_registry *registry, const char *address, unsigned weight) {
  (void)address;
  (void)weight;
  of(registry)->entered = true;
}

static bool entered(const struct lc_registry *registry) {
  return ((const struct fixed *)(const void *)registry)->entered;
}

static void leave(struct lc_registry *registry, uint64_t timeout_ms, void (*done)(void *arg), void *arg) {
  (void)timeout_ms;
  of(registry)->entered = false;
  of(registry)->left = done;
  of(registry)->left_arg = arg;
  wake(of(registry));
}

static void refresh(struct lc_registry *registry) {
  (void)registry;
}

static void destroy(struct lc_registry *registry) {
  lc_timer_stop(lc_worker_timers(registry->worker), &of(registry)->timer);
  lc_free(registry);
}

static const struct lc_registry_ops ops = {start, enter, entered, leave, refresh, destroy};

static size_t text_size(const struct lc_registry_member *members, size_t count) {
  size_t size = 0;
  for (size_t i = 0; i < count; i++)
    size += strlen(members[i].address) + 1;
  return size;
}

/* The list and its texts are one block. */
int lc_registry_fixed_create(struct lc_worker *worker, const struct lc_registry_member *members, size_t count,
                             const struct lc_registry_handler *handler, void *arg, struct lc_registry **out) {
  struct fixed *fixed = lc_calloc(1, sizeof *fixed + count * sizeof *members + text_size(members, count));
  if (fixed == NULL)
    return LC_ENOMEM;
  fixed->base = (struct lc_registry){.ops = &ops, .worker = worker, .handler = *handler, .arg = arg};
  fixed->timer.fire = on_timer;
  fixed->count = count;
  char *text = (char *)(fixed->members + count);
  for (size_t i = 0; i < count; i++) {
    size_t size = strlen(members[i].address) + 1;
    memcpy(text, members[i].address, size);
    fixed->members[i] = (struct lc_registry_member){.address = text, .weight = members[i].weight};
    text += size;
  }
  *out = &fixed->base;
  return 0;
}
