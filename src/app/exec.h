#ifndef LC_APP_EXEC_H
#define LC_APP_EXEC_H

#include "group/exec.h"
#include "loop/worker.h"

/* The domain's executor over workers: `workers` is borrowed and outlives `exec`; workers[i] has index i. */
void lc_exec_over_workers(struct lc_worker **workers, unsigned count, struct lc_exec *exec);

#endif
