#ifndef LC_BASE_LOG_LINE_H
#define LC_BASE_LOG_LINE_H

#include <time.h>

#include "base/log.h"

/* How a log line looks: log.c's own, apart from it so that log.c is only about the queue and its thread. */

#define LC_LOG_LINE_SIZE 8192

struct lc_log_line {
  size_t len;
  bool cut; /* what followed did not fit */
  char data[LC_LOG_LINE_SIZE];
};

/* Fills `line` with one whole line, its newline included. */
void lc_log_line_format(struct lc_log_line *line, enum lc_log_format format, struct timespec wall,
                        enum lc_log_level level, const char *event, const struct lc_log_field *fields);

#endif
