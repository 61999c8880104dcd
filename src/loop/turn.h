#ifndef LC_LOOP_TURN_H
#define LC_LOOP_TURN_H

#include "base/list.h"
#include "loop/worker.h"

/*
 * What the files of loop/ share of a worker; not for other layers. A turn of the loop is: timers, tasks, turn ends,
 * poll for I/O, tasks, turn ends.
 */

#define LC_READ_BUFFER_SIZE 65536u

/* Something to do once when the events of this turn have been handled. Link must be initialised; running unlinks it. */
struct lc_turn_end {
  struct lc_list link;
  void (*run)(struct lc_turn_end *turn_end);
};

/* Harmless when it is waiting already. One that asks again while it runs is run again soon, after a poll for I/O. */
void lc_worker_at_turn_end(struct lc_worker *worker, struct lc_turn_end *turn_end);

/* LC_READ_BUFFER_SIZE bytes that every connection of the worker reads into; free for use until the callback returns. */
char *lc_worker_read_buffer(struct lc_worker *worker);

#endif
