#ifndef LC_BASE_LOG_H
#define LC_BASE_LOG_H

#include <stdbool.h>

#include "base/err.h"
#include "base/slice.h"

/*
 * The log: one line an event, to a file descriptor, text or JSON.
 *
 *   2026-11-23T21:42:07.123Z warn load failed group=scores key="a\x00b" error="source answered 500"
 *   {"time":"…","level":"warn","event":"load failed","group":"scores",…}
 *
 * Lines go through a bounded queue to a thread of the logger's own, so that a
 * blocked pipe never blocks a worker: when the queue is full the line is
 * dropped and counted, and the count is logged when there is room again.
 * Values of a cache are never logged; keys are escaped and cut at 64 bytes, then a
 * field key_bytes tells the full length. All functions are thread-safe, and none
 * but lc_log_create allocates.
 */

enum lc_log_level { LC_LOG_DEBUG, LC_LOG_INFO, LC_LOG_WARN, LC_LOG_ERROR };
enum lc_log_format { LC_LOG_TEXT, LC_LOG_JSON };

struct lc_log;

/* Starts the logger's thread. `fd` stays the caller's. 0 or LC_ENOMEM, LC_EIO. */
int lc_log_create(int fd, enum lc_log_level level, enum lc_log_format format, struct lc_log **log_out);

/*
 * Writes what is queued (waits at most one second for a blocked pipe) and ends the thread. A thread that the system
 * holds in a write longer than that (a stopped terminal) is left behind and still uses the fd. No other call may be
 * under way. NULL is fine.
 */
void lc_log_destroy(struct lc_log *log);

/* One field of a line. Build with the LC_F_ macros. */
struct lc_log_field {
  const char *name;
  enum { LC_FIELD_END, LC_FIELD_STR, LC_FIELD_KEY, LC_FIELD_INT, LC_FIELD_REAL, LC_FIELD_BOOL } kind;
  struct lc_slice text;
  int64_t number; /* LC_FIELD_INT; LC_FIELD_BOOL: 0 or 1 */
  double real;    /* 14 digits are shown; what JSON has no number for (inf, nan) is a string there */
};

#define LC_F_STR(name_, s_) ((struct lc_log_field){.name = (name_), .kind = LC_FIELD_STR, .text = lc_slice_str(s_)})
#define LC_F_TEXT(name_, slice_) ((struct lc_log_field){.name = (name_), .kind = LC_FIELD_STR, .text = (slice_)})
#define LC_F_KEY(slice_) ((struct lc_log_field){.name = "key", .kind = LC_FIELD_KEY, .text = (slice_)})
#define LC_F_INT(name_, n_) ((struct lc_log_field){.name = (name_), .kind = LC_FIELD_INT, .number = (int64_t)(n_)})
#define LC_F_REAL(name_, x_) ((struct lc_log_field){.name = (name_), .kind = LC_FIELD_REAL, .real = (x_)})
#define LC_F_BOOL(name_, b_) ((struct lc_log_field){.name = (name_), .kind = LC_FIELD_BOOL, .number = (b_) ? 1 : 0})

/* True if a line of that level would be written: check before building costly fields. NULL log: false. */
bool lc_log_enabled(const struct lc_log *log, enum lc_log_level level);

/*
 * Logs an event with fields up to a zeroed one; they are copied. A line over 8 KiB is cut, still well formed, and ends
 * with the field cut=true. NULL log: nothing.
 */
void lc_log_fields(struct lc_log *log, enum lc_log_level level, const char *event, const struct lc_log_field *fields);

#define lc_log_event(log_, level_, event_, ...)                                                                        \
  lc_log_fields((log_), (level_), (event_), (const struct lc_log_field[]){__VA_ARGS__ __VA_OPT__(, ){0}})

/* Lines dropped since the start. */
uint64_t lc_log_dropped(const struct lc_log *log);

int lc_log_parse_level(const char *word, enum lc_log_level *level);    /* 0 or LC_EINVAL */
int lc_log_parse_format(const char *word, enum lc_log_format *format); /* 0 or LC_EINVAL */

#endif
