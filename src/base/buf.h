#ifndef LC_BASE_BUF_H
#define LC_BASE_BUF_H

#include <stdarg.h>
#include <stdbool.h>

#include "base/slice.h"

/*
 * A growable run of bytes. A failed append leaves the contents as they were
 * and sets `failed`; until the caller clears it every append fails, so that a
 * chain of appends is checked once, at its end.
 */
struct lc_buf {
  uint8_t *data;
  size_t len, cap;
  bool failed;
};

void lc_buf_init(struct lc_buf *buf);
void lc_buf_fini(struct lc_buf *buf);

/* 0 or LC_ENOMEM; after it `cap - len` is at least `more`. */
int lc_buf_reserve(struct lc_buf *buf, size_t more);
int lc_buf_append(struct lc_buf *buf, const void *data, size_t len);
int lc_buf_str(struct lc_buf *buf, const char *s);
int lc_buf_char(struct lc_buf *buf, char c);
int lc_buf_printf(struct lc_buf *buf, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* Appends bytes as a JSON string with its quotes; bytes that are not UTF-8 become \ufffd. */
int lc_buf_json(struct lc_buf *buf, struct lc_slice text);

/* Drops the first n bytes (n at most len). */
void lc_buf_consume(struct lc_buf *buf, size_t n);

static inline struct lc_slice lc_buf_slice(const struct lc_buf *buf) {
  return lc_slice_of(buf->data, buf->len);
}

#endif
