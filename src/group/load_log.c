#include "group/internal.h"

#define WINDOW_MS 1000u

/* Begins a new second if the last one is over; returns how many lines the last one left out. With the lock held. */
static uint64_t roll_window(struct lc_log_limit *limit, uint64_t now_ms) {
  if (now_ms < limit->window_ms + WINDOW_MS)
    return 0;
  uint64_t suppressed = limit->suppressed;
  limit->window_ms = now_ms;
  limit->lines = 0;
  limit->suppressed = 0;
  return suppressed;
}

static bool admit_line(struct lc_log_limit *limit, uint64_t now_ms, uint64_t *suppressed) {
  pthread_mutex_lock(&limit->lock);
  *suppressed = roll_window(limit, now_ms);
  bool admitted = limit->lines < LC_LOG_BURST;
  if (admitted) {
    limit->lines++;
  } else {
    limit->suppressed++;
  }
  pthread_mutex_unlock(&limit->lock);
  return admitted;
}

static void log_suppressed(const struct lc_group *group, uint64_t suppressed) {
  if (suppressed == 0)
    return;
  lc_log_event(group->groups->log, LC_LOG_WARN, "load failures not logged", LC_F_TEXT("group", group->name),
               LC_F_INT("count", suppressed));
}

void lc_load_log_error(struct lc_group *group, struct lc_slice key, uint64_t now_ms, int code, const char *message) {
  if (!lc_log_enabled(group->groups->log, LC_LOG_WARN))
    return;
  uint64_t suppressed = 0;
  bool admitted = admit_line(&group->log_limit, now_ms, &suppressed);
  log_suppressed(group, suppressed);
  if (!admitted)
    return;
  lc_log_event(group->groups->log, LC_LOG_WARN, "load failed", LC_F_TEXT("group", group->name), LC_F_KEY(key),
               LC_F_STR("code", lc_code_name(code)), LC_F_STR("error", message));
}

void lc_load_log_flush(struct lc_group *group, uint64_t now_ms) {
  pthread_mutex_lock(&group->log_limit.lock);
  uint64_t suppressed = group->log_limit.suppressed > 0 ? roll_window(&group->log_limit, now_ms) : 0;
  pthread_mutex_unlock(&group->log_limit.lock);
  log_suppressed(group, suppressed);
}
