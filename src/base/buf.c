#include "base/buf.h"

#include <stdio.h>

#include "base/alloc.h"
#include "base/err.h"
#include "base/utf8.h"

#define FIRST_BYTES ((size_t)64)

void lc_buf_init(struct lc_buf *buf) {
  *buf = (struct lc_buf){0};
}

void lc_buf_fini(struct lc_buf *buf) {
  lc_free(buf->data);
  lc_buf_init(buf);
}

static int fail(struct lc_buf *buf) {
  buf->failed = true;
  return LC_ENOMEM;
}

static int grow(struct lc_buf *buf, size_t more) {
  if (more > SIZE_MAX / 2 || buf->len > SIZE_MAX / 2 - more)
    return fail(buf);
  size_t cap = buf->cap ? buf->cap : FIRST_BYTES;
  while (cap < buf->len + more)
    cap *= 2;
  uint8_t *data = lc_realloc(buf->data, cap);
  if (!data)
    return fail(buf);
  buf->data = data;
  buf->cap = cap;
  return LC_OK;
}

int lc_buf_reserve(struct lc_buf *buf, size_t more) {
  if (buf->failed)
    return LC_ENOMEM;
  return buf->cap - buf->len >= more ? LC_OK : grow(buf, more);
}

int lc_buf_append(struct lc_buf *buf, const void *data, size_t len) {
  int code = lc_buf_reserve(buf, len);
  if (code != LC_OK || len == 0)
    return code;
  memcpy(buf->data + buf->len, data, len);
  buf->len += len;
  return LC_OK;
}

int lc_buf_str(struct lc_buf *buf, const char *s) {
  return lc_buf_append(buf, s, strlen(s));
}

int lc_buf_char(struct lc_buf *buf, char c) {
  return lc_buf_append(buf, &c, 1);
}

int lc_buf_printf(struct lc_buf *buf, const char *fmt, ...) {
  va_list args, again;
  va_start(args, fmt);
  va_copy(again, args);
  int code = LC_EINVAL;
  int len = vsnprintf(NULL, 0, fmt, args);
  if (len < 0)
    buf->failed = true;
  else
    code = lc_buf_reserve(buf, (size_t)len + 1); /* vsnprintf writes a NUL, which len leaves out */
  if (code == LC_OK) {
    vsnprintf((char *)buf->data + buf->len, (size_t)len + 1, fmt, again);
    buf->len += (size_t)len;
  }
  va_end(again);
  va_end(args);
  return code;
}

static void json_ascii(struct lc_buf *buf, char c) {
  static const char letters[] = "b\bf\fn\nr\rt\t\"\"\\\\";
  for (const char *p = letters; *p; p += 2) {
    if (p[1] == c) {
      lc_buf_append(buf, (const char[]){'\\', p[0]}, 2);
      return;
    }
  }
  lc_buf_printf(buf, "\\u%04x", (unsigned)c);
}

static bool json_plain(uint8_t c) {
  return c >= 0x20 && c < 0x7f && c != '"' && c != '\\';
}

/* Appends the character at `at`, escaped where JSON asks for it, and returns how many bytes of text it was. */
static size_t json_char(struct lc_buf *buf, struct lc_slice text, size_t at) {
  size_t len = lc_utf8_char_len(text, at);
  if (len == 0)
    lc_buf_str(buf, "\\ufffd");
  else if (len == 1)
    json_ascii(buf, (char)text.ptr[at]);
  else
    lc_buf_append(buf, text.ptr + at, len);
  return len ? len : 1;
}

int lc_buf_json(struct lc_buf *buf, struct lc_slice text) {
  size_t before = buf->len;
  lc_buf_char(buf, '"');
  for (size_t at = 0; at < text.len && !buf->failed;) {
    size_t end = at;
    while (end < text.len && json_plain(text.ptr[end]))
      end++;
    lc_buf_append(buf, text.ptr + at, end - at);
    at = end < text.len ? end + json_char(buf, text, end) : end;
  }
  lc_buf_char(buf, '"');
  if (!buf->failed)
    return LC_OK;
  buf->len = before;
  return LC_ENOMEM;
}

void lc_buf_consume(struct lc_buf *buf, size_t n) {
  if (n == 0)
    return;
  buf->len -= n;
  if (buf->len)
    memmove(buf->data, buf->data + n, buf->len);
}
