#ifndef LC_BASE_TIMER_H
#define LC_BASE_TIMER_H

#include <stdbool.h>
#include <stdint.h>

/*
 * Timers of one thread: a pairing heap (Fredman, Sedgewick, Sleator, Tarjan 1986) of timers that live in their owners'
 * objects: starting and stopping never allocates. Time is an argument; the worker's loop drives it.
 */
struct lc_timer {
  struct lc_timer *child, *next, *prev; /* prev: the parent, for a first child */
  uint64_t due_ms;
  bool active;
  void (*fire)(struct lc_timer *timer);
};

struct lc_timers {
  struct lc_timer *root;
  uint64_t not_before_ms; /* while lc_timers_expire runs, the earliest time to start a timer for; else 0 */
};

void lc_timers_init(struct lc_timers *timers);

/* Starts, or moves an active one to a new time. `fire` must be set. */
void lc_timer_start(struct lc_timers *timers, struct lc_timer *timer, uint64_t due_ms);
void lc_timer_stop(struct lc_timers *timers, struct lc_timer *timer); /* harmless when not active */

/* When the next one is due, or LC_TIME_NEVER. */
uint64_t lc_timers_next(const struct lc_timers *timers);

/*
 * Fires what is due at now_ms, each once, earliest first, inactive while it fires. `fire` may start and stop any timer,
 * itself too, and free its own; what it starts for now_ms or before is due at now_ms + 1, so that this call ends. Not
 * to be called from `fire`. Returns how many fired.
 */
unsigned lc_timers_expire(struct lc_timers *timers, uint64_t now_ms);

#endif
