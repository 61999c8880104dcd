#ifndef LC_BASE_TASK_H
#define LC_BASE_TASK_H

/*
 * Something to run on a worker, later: embedded in its owner's object, so that posting never allocates and never fails.
 * A task may be posted again only after it began to run.
 */
struct lc_task {
  struct lc_task *next; /* the mailbox's */
  void (*run)(struct lc_task *task);
};

#endif
