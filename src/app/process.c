#include "app/process.h"

#include <errno.h>
#include <malloc.h>
#include <signal.h>
#include <string.h>
#include <sys/resource.h>

void lc_process_prepare(void) {
  signal(SIGPIPE, SIG_IGN);
  /* An arena a thread is glibc's default: memory freed on another thread than its own would stay where nobody reuses
   * it. */
  mallopt(M_ARENA_MAX, 2);
  /* Fixed, so that one freed value of some megabytes doesn't teach glibc to keep as much for ever. */
  mallopt(M_MMAP_THRESHOLD, 256 * 1024);
  mallopt(M_TRIM_THRESHOLD, 1024 * 1024);
}

void lc_process_raise_file_limit(struct lc_log *log) {
  struct rlimit limit;
  if (getrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_cur == limit.rlim_max)
    return;
  rlim_t before = limit.rlim_cur;
  limit.rlim_cur = limit.rlim_max;
  if (setrlimit(RLIMIT_NOFILE, &limit) != 0)
    lc_log_event(log, LC_LOG_WARN, "limit on open files not raised", LC_F_INT("limit", before),
                 LC_F_STR("error", strerror(errno)));
}
