#include "bench/h2.h"

#include <stdio.h>
#include <string.h>

#include "base/alloc.h"

enum { DATA = 0, HEADERS = 1, RST_STREAM = 3, SETTINGS = 4, PING = 6, GOAWAY = 7, WINDOW_UPDATE = 8, CONTINUATION = 9 };
enum { END_STREAM = 1, ACK = 1, END_HEADERS = 4, PADDED = 8, PRIORITY = 32 };

#define FRAME_HEAD 9u
#define FRAME_MAX 16384u
#define WINDOW 0x7fffffffu
#define WINDOW_STEP (16u << 20)
#define STATUS_RESET 16 /* counted under a number of its own that gRPC doesn't use here: UNAUTHENTICATED */

static void put_u32(uint8_t *at, uint32_t value) {
  at[0] = (uint8_t)(value >> 24);
  at[1] = (uint8_t)(value >> 16);
  at[2] = (uint8_t)(value >> 8);
  at[3] = (uint8_t)value;
}

static uint32_t get_u32(const uint8_t *at) {
  return (uint32_t)at[0] << 24 | (uint32_t)at[1] << 16 | (uint32_t)at[2] << 8 | at[3];
}

static void put_head(uint8_t *at, size_t len, uint8_t type, uint8_t flags, uint32_t stream) {
  put_u32(at, (uint32_t)len << 8);
  at[3] = type;
  at[4] = flags;
  put_u32(at + 5, stream);
}

static int put_frame(struct lc_bench_conn *conn, uint8_t type, uint8_t flags, const void *payload, size_t len) {
  uint8_t head[FRAME_HEAD];
  put_head(head, len, type, flags, 0);
  int rc = lc_buf_append(&conn->out, head, sizeof(head));
  return rc == LC_OK ? lc_buf_append(&conn->out, payload, len) : rc;
}

int lc_bench_h2_open(struct lc_bench_conn *conn, struct lc_bench_h2 *h2) {
  static const char preface[] = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
  uint8_t settings[12] = {0, 2, 0, 0, 0, 0, 0, 4}; /* ENABLE_PUSH 0, INITIAL_WINDOW_SIZE */
  uint8_t update[4];
  put_u32(settings + 8, WINDOW);
  put_u32(update, WINDOW - 65535);
  h2->max_streams = 100; /* until the server's SETTINGS come; the fewest that RFC 9113 advises */
  h2->initial_window = 65535;
  h2->send_window = 65535;
  h2->last_tag = UINT64_MAX;
  h2->body_bytes = lc_calloc((size_t)conn->mask + 1, sizeof(uint32_t));
  if (!h2->body_bytes || lc_hpack_create(&h2->hpack) != LC_OK)
    return LC_ENOMEM;
  int rc = lc_buf_append(&conn->out, preface, sizeof(preface) - 1);
  if (rc == LC_OK)
    rc = put_frame(conn, SETTINGS, 0, settings, sizeof(settings));
  if (rc == LC_OK)
    rc = put_frame(conn, WINDOW_UPDATE, 0, update, sizeof(update));
  return rc;
}

void lc_bench_h2_close(struct lc_bench_h2 *h2) {
  lc_hpack_destroy(h2->hpack);
  lc_free(h2->body_bytes);
}

bool lc_bench_h2_ready(const struct lc_bench_conn *conn, const struct lc_bench_h2 *h2, size_t body_len) {
  bool fits = body_len <= h2->initial_window;
  if (!fits && h2->settled)
    return true; /* it never will: lc_bench_h2_request says so */
  return fits && conn->outstanding < h2->max_streams && h2->send_window >= (int64_t)body_len &&
         conn->next_tag < h2->last_tag;
}

void lc_bench_h2_static(struct lc_bench_h2 *h2, uint8_t index) {
  h2->first_head[h2->first_len++] = (uint8_t)(0x80 | index);
  h2->next_head[h2->next_len++] = (uint8_t)(0x80 | index);
  h2->set_head[h2->set_len++] = (uint8_t)(0x80 | index);
}

static size_t put_text(uint8_t *at, const char *text) {
  struct lc_slice bytes = lc_slice_str(text); /* under 127: one length byte, not Huffman-coded */
  at[0] = (uint8_t)bytes.len;
  memcpy(at + 1, bytes.ptr, bytes.len);
  return bytes.len + 1;
}

static size_t put_literal(uint8_t *at, uint8_t kind, const char *name, const char *value) {
  at[0] = kind;
  size_t len = 1 + put_text(at + 1, name);
  return len + put_text(at + len, value);
}

void lc_bench_h2_field(struct lc_bench_h2 *h2, const char *name, const char *value, const char *set_value) {
  enum { WITH_INDEXING = 0x40, WITHOUT_INDEXING = 0x00, NEWEST = 0x80 | 62 };
  h2->first_len += put_literal(h2->first_head + h2->first_len, WITH_INDEXING, name, value);
  h2->set_len += put_literal(h2->set_head + h2->set_len, WITHOUT_INDEXING, name, set_value ? set_value : value);
  /* Each new entry is the newest, and moves the older ones up by one. */
  for (size_t i = 0; i < h2->next_len; i++) {
    if (h2->next_head[i] >= NEWEST)
      h2->next_head[i]++;
  }
  h2->next_head[h2->next_len++] = NEWEST;
}

static struct lc_slice head_block(struct lc_bench_h2 *h2, enum lc_bench_op op) {
  if (op == LC_BENCH_SET)
    return lc_slice_of(h2->set_head, h2->set_len);
  if (h2->first_sent)
    return lc_slice_of(h2->next_head, h2->next_len);
  h2->first_sent = true;
  return lc_slice_of(h2->first_head, h2->first_len);
}

static int put_body(struct lc_bench_conn *conn, uint32_t stream, struct lc_slice body) {
  uint8_t head[FRAME_HEAD];
  int rc = LC_OK;
  for (size_t at = 0; rc == LC_OK && at < body.len; at += FRAME_MAX) {
    size_t len = body.len - at < FRAME_MAX ? body.len - at : FRAME_MAX;
    put_head(head, len, DATA, at + len == body.len ? END_STREAM : 0, stream);
    rc = lc_buf_append(&conn->out, head, sizeof(head));
    if (rc == LC_OK)
      rc = lc_buf_append(&conn->out, body.ptr + at, len);
  }
  return rc;
}

int lc_bench_h2_request(struct lc_bench_conn *conn, struct lc_bench_h2 *h2, enum lc_bench_op op, uint32_t tag,
                        struct lc_slice body) {
  uint32_t stream = tag * 2 + 1;
  uint8_t head[FRAME_HEAD];
  if (body.len > h2->initial_window)
    return LC_ETOOBIG;
  struct lc_slice block = head_block(h2, op);
  put_head(head, block.len, HEADERS, (uint8_t)(END_HEADERS | (body.len ? 0 : END_STREAM)), stream);
  int rc = lc_buf_append(&conn->out, head, sizeof(head));
  if (rc == LC_OK)
    rc = lc_buf_append(&conn->out, block.ptr, block.len);
  h2->body_bytes[tag & conn->mask] = 0;
  h2->send_window -= (int64_t)body.len;
  return rc == LC_OK ? put_body(conn, stream, body) : rc;
}

struct found {
  bool http;
  int status;
};

static int number_of(struct lc_slice text) {
  int number = 0;
  for (size_t i = 0; i < text.len && i < 4; i++)
    number = number * 10 + (text.ptr[i] - '0');
  return number;
}

static void on_field(void *arg, struct lc_slice name, struct lc_slice value) {
  struct found *found = arg;
  if (!found->http && lc_slice_eq(name, lc_slice_str("grpc-status")))
    found->status = number_of(value);
  else if (found->http && lc_slice_eq(name, lc_slice_str(":status")))
    found->status = number_of(value) == 200 ? 0 : number_of(value) == 404 ? 5 : 2;
}

/* The status in a header block, -1 if it has none, or a negative code under -1. */
static int block_status(struct lc_bench_h2 *h2, struct lc_slice block) {
  bool indexed = lc_hpack_is_indexed(block) && block.len <= LC_BENCH_MEMO_BYTES;
  for (unsigned i = 0; indexed && i < h2->memo_count; i++) {
    if (h2->memo[i].len == block.len && memcmp(h2->memo[i].bytes, block.ptr, block.len) == 0)
      return h2->memo[i].status;
  }
  struct found found = {.http = h2->http, .status = -1};
  int rc = lc_hpack_decode(h2->hpack, block, on_field, &found);
  if (rc != LC_OK)
    return rc - 1;
  if (!indexed) {
    h2->memo_count = 0; /* the table has moved */
  } else if (h2->memo_count < LC_BENCH_MEMO) {
    unsigned i = h2->memo_count++;
    memcpy(h2->memo[i].bytes, block.ptr, block.len);
    h2->memo[i].len = block.len;
    h2->memo[i].status = found.status;
  }
  return found.status;
}

static int on_headers(struct lc_bench_conn *conn, struct lc_bench_h2 *h2, uint8_t flags, uint32_t tag,
                      struct lc_slice payload, struct lc_err *err) {
  if (!(flags & END_HEADERS) || (flags & (PADDED | PRIORITY)))
    return lc_err_set(err, LC_EPROTO, "a reply's HEADERS are padded or in more than one frame");
  int status = block_status(h2, payload);
  if (status < -1)
    return lc_err_set(err, LC_EPROTO, "a reply's header block is malformed");
  uint32_t *bytes = &h2->body_bytes[tag & conn->mask];
  if (h2->http && status >= 0)
    *bytes |= (uint32_t)status << 28; /* until the body's end */
  if (flags & END_STREAM)
    lc_bench_reply(conn, tag, h2->http ? (int)(*bytes >> 28) : status < 0 ? 2 : status, *bytes & 0xfffffff);
  return LC_OK;
}

static int on_data(struct lc_bench_conn *conn, struct lc_bench_h2 *h2, uint8_t flags, uint32_t tag, size_t len) {
  uint32_t *bytes = &h2->body_bytes[tag & conn->mask];
  *bytes += (uint32_t)len;
  if (flags & END_STREAM)
    lc_bench_reply(conn, tag, h2->http ? (int)(*bytes >> 28) : 2, *bytes & 0xfffffff);
  h2->consumed += len;
  if (h2->consumed < WINDOW_STEP)
    return LC_OK;
  uint8_t update[4];
  put_u32(update, (uint32_t)h2->consumed);
  h2->consumed = 0;
  return put_frame(conn, WINDOW_UPDATE, 0, update, sizeof(update));
}

static int on_settings(struct lc_bench_conn *conn, struct lc_bench_h2 *h2, uint8_t flags, struct lc_slice payload) {
  if (flags & ACK)
    return LC_OK;
  if (!h2->settled)
    h2->max_streams = UINT32_MAX;
  h2->settled = true;
  for (size_t at = 0; at + 6 <= payload.len; at += 6) {
    uint32_t value = get_u32(payload.ptr + at + 2);
    if (payload.ptr[at + 1] == 3)
      h2->max_streams = value;
    else if (payload.ptr[at + 1] == 4)
      h2->initial_window = value;
  }
  return put_frame(conn, SETTINGS, ACK, "", 0);
}

static int on_frame(struct lc_bench_conn *conn, struct lc_bench_h2 *h2, const uint8_t *head, struct lc_slice payload,
                    struct lc_err *err) {
  uint8_t flags = head[4];
  uint32_t stream = get_u32(head + 5) & 0x7fffffff, tag = stream / 2;
  switch (head[3]) {
  case DATA:
    return on_data(conn, h2, flags, tag, payload.len);
  case HEADERS:
    return on_headers(conn, h2, flags, tag, payload, err);
  case CONTINUATION:
    return lc_err_set(err, LC_EPROTO, "a reply's HEADERS are padded or in more than one frame");
  case RST_STREAM:
    lc_bench_reply(conn, tag, STATUS_RESET, 0);
    return LC_OK;
  case SETTINGS:
    return on_settings(conn, h2, flags, payload);
  case PING:
    return flags & ACK ? LC_OK : put_frame(conn, PING, ACK, payload.ptr, payload.len);
  case GOAWAY:
    if (payload.len >= 8 && get_u32(payload.ptr + 4) != 0)
      return lc_err_set(err, LC_EPROTO, "the server ended the connection (HTTP/2 error %u)", get_u32(payload.ptr + 4));
    h2->last_tag = 0;
    return LC_OK;
  case WINDOW_UPDATE:
    if (stream == 0 && payload.len == 4)
      h2->send_window += get_u32(payload.ptr) & 0x7fffffff;
    return LC_OK;
  default:
    return LC_OK;
  }
}

long lc_bench_h2_parse(struct lc_bench_conn *conn, struct lc_bench_h2 *h2, const uint8_t *data, size_t len,
                       struct lc_err *err) {
  size_t at = 0;
  while (len - at >= FRAME_HEAD) {
    size_t payload = get_u32(data + at) >> 8;
    if (payload > FRAME_MAX || (!h2->any_frame && data[at + 3] != SETTINGS))
      return lc_err_set(err, LC_EPROTO, "the server does not speak HTTP/2");
    if (len - at < FRAME_HEAD + payload)
      break;
    h2->any_frame = true;
    int rc = on_frame(conn, h2, data + at, lc_slice_of(data + at + FRAME_HEAD, payload), err);
    if (rc != LC_OK)
      return rc;
    at += FRAME_HEAD + payload;
  }
  return (long)at;
}
