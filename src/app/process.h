#ifndef LC_APP_PROCESS_H
#define LC_APP_PROCESS_H

#include "base/log.h"

/* What concerns the whole process, and is therefore main's and not a node's. */

/* Before any thread: ignores SIGPIPE, tunes the allocator. */
void lc_process_prepare(void);

/* Raises the limit on open files to the hard limit; logs a warning if it can't. */
void lc_process_raise_file_limit(struct lc_log *log);

#endif
