#include "base/timer.h"

#include <assert.h>
#include <stddef.h>

#include "base/clock.h"

void lc_timers_init(struct lc_timers *timers) {
  *timers = (struct lc_timers){0};
}

/* Makes the later of two roots the first child of the earlier, which is returned. */
static struct lc_timer *meld(struct lc_timer *a, struct lc_timer *b) {
  if (!a || !b)
    return a ? a : b;
  if (b->due_ms < a->due_ms) {
    struct lc_timer *swap = a;
    a = b;
    b = swap;
  }
  b->next = a->child;
  if (b->next)
    b->next->prev = b;
  b->prev = a;
  a->child = b;
  return a;
}

/* Two passes over siblings: meld them in pairs from the left, then the pairs from the right. */
static struct lc_timer *meld_siblings(struct lc_timer *first) {
  struct lc_timer *pairs = NULL, *root = NULL;
  while (first) {
    struct lc_timer *a = first, *b = first->next;
    first = b ? b->next : NULL;
    struct lc_timer *pair = meld(a, b);
    pair->next = pairs;
    pairs = pair;
  }
  while (pairs) {
    struct lc_timer *pair = pairs;
    pairs = pair->next;
    root = meld(root, pair);
  }
  if (root)
    root->next = root->prev = NULL;
  return root;
}

static void cut(struct lc_timer *timer) {
  if (timer->prev->child == timer)
    timer->prev->child = timer->next;
  else
    timer->prev->next = timer->next;
  if (timer->next)
    timer->next->prev = timer->prev;
}

void lc_timer_start(struct lc_timers *timers, struct lc_timer *timer, uint64_t due_ms) {
  lc_timer_stop(timers, timer);
  if (due_ms < timers->not_before_ms)
    due_ms = timers->not_before_ms;
  timer->child = timer->next = timer->prev = NULL;
  timer->due_ms = due_ms;
  timer->active = true;
  timers->root = meld(timers->root, timer);
}

void lc_timer_stop(struct lc_timers *timers, struct lc_timer *timer) {
  if (!timer->active)
    return;
  struct lc_timer *rest = meld_siblings(timer->child);
  if (timers->root == timer) {
    timers->root = rest;
  } else {
    cut(timer);
    timers->root = meld(timers->root, rest);
  }
  timer->active = false;
}

uint64_t lc_timers_next(const struct lc_timers *timers) {
  return timers->root ? timers->root->due_ms : LC_TIME_NEVER;
}

unsigned lc_timers_expire(struct lc_timers *timers, uint64_t now_ms) {
  assert(timers->not_before_ms == 0 && now_ms != LC_TIME_NEVER);
  unsigned fired = 0;
  timers->not_before_ms = now_ms + 1;
  while (timers->root && timers->root->due_ms <= now_ms) {
    struct lc_timer *timer = timers->root;
    lc_timer_stop(timers, timer);
    timer->fire(timer);
    fired++;
  }
  timers->not_before_ms = 0;
  return fired;
}
