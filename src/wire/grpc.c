#include "wire/grpc.h"

#include <stdio.h>

#include "base/warm.h"

#define TIMEOUT_DIGITS 8u
#define TIMEOUT_MAX 99999999u
#define GATHER_MIN 4096u
#define GATHER_LARGE ((size_t)64 << 10)
#define GATHER_WHOLE ((size_t)4 << 20)

static const struct {
  int code, status;
} statuses[] = {
    /* The first row of a status is the one that a client gets back from it. */
    {LC_OK, LC_GRPC_OK},
    {LC_ECANCELLED, LC_GRPC_CANCELLED},
    {LC_EINVAL, LC_GRPC_INVALID_ARGUMENT},
    {LC_ETOOBIG, LC_GRPC_INVALID_ARGUMENT},
    {LC_EDEADLINE, LC_GRPC_DEADLINE_EXCEEDED},
    {LC_ENOTFOUND, LC_GRPC_NOT_FOUND},
    {LC_EEXHAUSTED, LC_GRPC_RESOURCE_EXHAUSTED},
    {LC_ENOMEM, LC_GRPC_RESOURCE_EXHAUSTED},
    {LC_EUNSUPPORTED, LC_GRPC_UNIMPLEMENTED},
    {LC_EINTERNAL, LC_GRPC_INTERNAL},
    {LC_EPROTO, LC_GRPC_INTERNAL},
    {LC_EUNAVAILABLE, LC_GRPC_UNAVAILABLE},
    {LC_EIO, LC_GRPC_UNAVAILABLE},
    {LC_EBUSY, LC_GRPC_UNAVAILABLE},
};

int lc_grpc_status_of(int lc_code) {
  for (size_t i = 0; i < sizeof statuses / sizeof *statuses; i++) {
    if (statuses[i].code == lc_code)
      return statuses[i].status;
  }
  return LC_GRPC_UNKNOWN;
}

int lc_grpc_code_of(int grpc_status) {
  for (size_t i = 0; i < sizeof statuses / sizeof *statuses; i++) {
    if (statuses[i].status == grpc_status)
      return statuses[i].code;
  }
  return LC_EINTERNAL;
}

const char *lc_grpc_status_name(int status) {
  static const char *const names[] = {
      "OK",        "CANCELLED",       "UNKNOWN",           "INVALID_ARGUMENT",   "DEADLINE_EXCEEDED",
      "NOT_FOUND", "ALREADY_EXISTS",  "PERMISSION_DENIED", "RESOURCE_EXHAUSTED", "FAILED_PRECONDITION",
      "ABORTED",   "OUT_OF_RANGE",    "UNIMPLEMENTED",     "INTERNAL",           "UNAVAILABLE",
      "DATA_LOSS", "UNAUTHENTICATED",
  };
  return status >= 0 && status < (int)(sizeof names / sizeof *names) ? names[status] : "UNKNOWN";
}

static uint64_t unit_ns(uint8_t unit) {
  switch (unit) {
  case 'H':
    return 3600000000000u;
  case 'M':
    return 60000000000u;
  case 'S':
    return 1000000000u;
  case 'm':
    return 1000000u;
  case 'u':
    return 1000u;
  case 'n':
    return 1u;
  default:
    return 0;
  }
}

int lc_grpc_parse_timeout(struct lc_slice text, uint64_t *ms) {
  if (text.len < 2 || text.len > TIMEOUT_DIGITS + 1)
    return LC_EINVAL;
  uint64_t count = 0;
  for (size_t i = 0; i < text.len - 1; i++) {
    if (text.ptr[i] < '0' || text.ptr[i] > '9')
      return LC_EINVAL;
    count = count * 10 + (uint64_t)(text.ptr[i] - '0');
  }
  uint64_t unit = unit_ns(text.ptr[text.len - 1]);
  if (unit == 0)
    return LC_EINVAL;
  /* 99,999,999 hours in nanoseconds don't fit, in milliseconds they do. */
  *ms = unit >= 1000000u ? count * (unit / 1000000u) : (count * unit + 999999u) / 1000000u;
  return 0;
}

void lc_grpc_format_timeout(uint64_t ms, char out[16]) {
  static const struct {
    char name;
    uint32_t ms;
  } units[] = {{'H', 3600000}, {'M', 60000}, {'S', 1000}, {'m', 1}};
  enum { COUNT = sizeof units / sizeof *units };
  size_t pick = 0;
  while (pick < COUNT - 1 && (ms == 0 || ms % units[pick].ms != 0))
    pick++;
  while (pick > 0 && ms / units[pick].ms > TIMEOUT_MAX)
    pick--;
  uint64_t count = ms / units[pick].ms;
  snprintf(out, 16, "%u%c", count < TIMEOUT_MAX ? (unsigned)count : TIMEOUT_MAX, units[pick].name);
}

static bool is_plain(uint8_t c) {
  return c >= 0x20 && c <= 0x7e && c != '%';
}

int lc_grpc_encode_message(struct lc_slice text, struct lc_buf *out) {
  static const char hex[] = "0123456789ABCDEF";
  size_t run = 0;
  for (size_t i = 0; i < text.len; i++) {
    uint8_t c = text.ptr[i];
    if (is_plain(c))
      continue;
    lc_buf_append(out, text.ptr + run, i - run);
    lc_buf_append(out, (char[]){'%', hex[c >> 4], hex[c & 15]}, 3);
    run = i + 1;
  }
  if (run < text.len)
    lc_buf_append(out, text.ptr + run, text.len - run);
  return out->failed ? LC_ENOMEM : 0;
}

static int hex_digit(uint8_t c) {
  if (c >= '0' && c <= '9')
    return c - '0';
  c |= 0x20;
  return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

int lc_grpc_decode_message(struct lc_slice text, struct lc_buf *out) {
  size_t at = 0;
  while (at < text.len) {
    int high = -1, low = -1;
    if (text.ptr[at] == '%' && text.len - at >= 3) {
      high = hex_digit(text.ptr[at + 1]);
      low = hex_digit(text.ptr[at + 2]);
    }
    bool escape = high >= 0 && low >= 0;
    uint8_t byte = text.ptr[at];
    if (escape)
      byte = (uint8_t)(high * 16 + low);
    lc_buf_append(out, &byte, 1);
    at += escape ? 3 : 1;
  }
  return out->failed ? LC_ENOMEM : 0;
}

void lc_grpc_write_prefix(uint8_t prefix[LC_GRPC_PREFIX], uint32_t len) {
  prefix[0] = 0;
  for (unsigned i = 0; i < 4; i++)
    prefix[1 + i] = (uint8_t)(len >> (24 - 8 * i));
}

int lc_grpc_frame(struct lc_outq *q, struct lc_slice message) {
  if (message.len > UINT32_MAX)
    return LC_ETOOBIG;
  size_t before = q->bytes;
  uint8_t *prefix = lc_outq_reserve(q, LC_GRPC_PREFIX);
  if (!prefix)
    return LC_ENOMEM;
  lc_grpc_write_prefix(prefix, (uint32_t)message.len);
  int rc = lc_outq_append(q, message.ptr, message.len);
  if (rc != 0)
    lc_outq_truncate(q, before);
  return rc;
}

void lc_grpc_deframer_init(struct lc_grpc_deframer *deframer, struct lc_arena *arena, size_t limit) {
  *deframer = (struct lc_grpc_deframer){.arena = arena, .limit = limit};
}

void lc_grpc_deframer_fini(struct lc_grpc_deframer *deframer) {
  lc_warm_free(deframer->gather, deframer->cap);
  deframer->gather = NULL;
  deframer->have = deframer->cap = 0;
}

static struct lc_slice take(struct lc_slice *in, size_t len) {
  struct lc_slice taken = lc_slice_of(in->ptr, len);
  in->ptr += len;
  in->len -= len;
  return taken;
}

static int read_prefix(struct lc_grpc_deframer *d, const uint8_t *prefix) {
  if (prefix[0] != 0)
    return LC_EPROTO;
  d->prefix_len = LC_GRPC_PREFIX;
  d->need = (size_t)prefix[1] << 24 | (size_t)prefix[2] << 16 | (size_t)prefix[3] << 8 | prefix[4];
  d->have = 0;
  if (d->arena) {
    d->gather = NULL;
    d->cap = 0;
  }
  return d->need > d->limit ? LC_ETOOBIG : 1;
}

/* 1 when the prefix is complete, else 0 or an error. */
static int take_prefix(struct lc_grpc_deframer *d, struct lc_slice *in) {
  if (d->prefix_len == 0 && in->len >= LC_GRPC_PREFIX)
    return read_prefix(d, take(in, LC_GRPC_PREFIX).ptr);
  size_t missing = LC_GRPC_PREFIX - d->prefix_len;
  size_t len = in->len < missing ? in->len : missing;
  if (len == 0)
    return 0;
  memcpy(d->prefix + d->prefix_len, take(in, len).ptr, len);
  d->prefix_len = (uint8_t)(d->prefix_len + len);
  if (d->prefix[0] != 0)
    return LC_EPROTO;
  return d->prefix_len < LC_GRPC_PREFIX ? 0 : read_prefix(d, d->prefix);
}

/*
 * Grows by fours, so that all blocks of one message together stay under 4/3 of it and under four times what has come.
 * A block of our own, once some of the message has come, skips the sizes that are never warm, and the whole message's
 * is warm the most often.
 */
static size_t next_cap(const struct lc_grpc_deframer *d, size_t len) {
  size_t cap = d->cap < GATHER_MIN / 4 ? GATHER_MIN : d->cap * 4;
  if (!d->arena && cap > GATHER_LARGE && d->need <= GATHER_WHOLE)
    cap = d->need;
  if (cap < d->have + len)
    cap = d->have + len;
  return cap < d->need ? cap : d->need;
}

static int make_room(struct lc_grpc_deframer *d, size_t len) {
  if (d->cap - d->have >= len)
    return 0;
  size_t cap = next_cap(d, len);
  uint8_t *gather = d->arena ? lc_arena_alloc(d->arena, cap) : lc_warm_alloc(cap);
  if (!gather)
    return LC_ENOMEM;
  if (d->have > 0)
    memcpy(gather, d->gather, d->have);
  if (!d->arena)
    lc_warm_free(d->gather, d->cap);
  d->gather = gather;
  d->cap = cap;
  return 0;
}

int lc_grpc_deframe(struct lc_grpc_deframer *deframer, struct lc_slice *in, struct lc_slice *message) {
  struct lc_grpc_deframer *d = deframer;
  if (d->prefix_len < LC_GRPC_PREFIX) {
    int rc = take_prefix(d, in);
    if (rc <= 0)
      return rc;
  }
  if (d->have == 0 && in->len >= d->need) {
    *message = take(in, d->need);
    d->prefix_len = 0;
    return 1;
  }
  size_t missing = d->need - d->have;
  size_t len = in->len < missing ? in->len : missing;
  if (len == 0)
    return 0;
  int rc = make_room(d, len);
  if (rc != 0)
    return rc;
  memcpy(d->gather + d->have, take(in, len).ptr, len);
  d->have += len;
  if (d->have < d->need)
    return 0;
  *message = lc_slice_of(d->gather, d->need);
  d->prefix_len = 0;
  return 1;
}

bool lc_grpc_deframer_partial(const struct lc_grpc_deframer *deframer) {
  return deframer->prefix_len > 0;
}
