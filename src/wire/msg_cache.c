#include <stddef.h>

#include "wire/grpc.h"
#include "wire/msg.h"
#include "wire/pb.h"

#define MESSAGE_MAX 0x7fffffffu

#define MEMBER(kind_, type_, member_)                                                                                  \
  { kind_, offsetof(struct type_, member_) }
#define MESSAGE(name_, type_)                                                                                          \
  static const struct lc_pb_message type_ = {name_, sizeof(struct type_), type_##_members,                             \
                                             sizeof type_##_members / sizeof *type_##_members}

static const struct lc_pb_member lc_msg_get_request_members[] = {
    MEMBER(LC_PB_STRING, lc_msg_get_request, group),
    MEMBER(LC_PB_BYTES, lc_msg_get_request, key),
    MEMBER(LC_PB_BOOL, lc_msg_get_request, only_if_cached),
    MEMBER(LC_PB_BOOL, lc_msg_get_request, refresh),
};
MESSAGE("GetRequest", lc_msg_get_request);

static const struct lc_pb_member lc_msg_get_response_members[] = {
    MEMBER(LC_PB_BYTES, lc_msg_get_response, value),
    MEMBER(LC_PB_INT64, lc_msg_get_response, ttl_ms),
    MEMBER(LC_PB_INT32, lc_msg_get_response, served_from),
};
MESSAGE("GetResponse", lc_msg_get_response);

static const struct lc_pb_member lc_msg_set_request_members[] = {
    MEMBER(LC_PB_STRING, lc_msg_set_request, group),
    MEMBER(LC_PB_BYTES, lc_msg_set_request, key),
    MEMBER(LC_PB_BYTES, lc_msg_set_request, value),
    MEMBER(LC_PB_INT64, lc_msg_set_request, ttl_ms),
};
MESSAGE("SetRequest", lc_msg_set_request);
#define SET_REQUEST_VALUE 3u

static const struct lc_pb_member lc_msg_delete_request_members[] = {
    MEMBER(LC_PB_STRING, lc_msg_delete_request, group),
    MEMBER(LC_PB_BYTES, lc_msg_delete_request, key),
};
MESSAGE("DeleteRequest", lc_msg_delete_request);

static const struct lc_pb_member lc_msg_delete_response_members[] = {
    MEMBER(LC_PB_BOOL, lc_msg_delete_response, deleted),
};
MESSAGE("DeleteResponse", lc_msg_delete_response);

static const struct lc_pb_member lc_msg_batch_result_members[] = {
    MEMBER(LC_PB_BYTES, lc_msg_batch_result, key),         MEMBER(LC_PB_BYTES, lc_msg_batch_result, value),
    MEMBER(LC_PB_INT32, lc_msg_batch_result, code),        MEMBER(LC_PB_STRING, lc_msg_batch_result, message),
    MEMBER(LC_PB_INT32, lc_msg_batch_result, served_from),
};
MESSAGE("BatchGetResponse.Result", lc_msg_batch_result);
#define BATCH_RESULT_VALUE 2u

static const struct lc_pb_member lc_msg_pb_request_members[] = {
    MEMBER(LC_PB_STRING, lc_msg_pb_request, group),
    MEMBER(LC_PB_STRING, lc_msg_pb_request, key),
    MEMBER(LC_PB_BYTES, lc_msg_pb_request, value),
};
MESSAGE("Request", lc_msg_pb_request);

static const struct lc_pb_member lc_msg_pb_get_response_members[] = {
    MEMBER(LC_PB_BYTES, lc_msg_pb_get_response, value),
};
MESSAGE("ResponseForGet", lc_msg_pb_get_response);

static const struct lc_pb_member lc_msg_pb_delete_response_members[] = {
    MEMBER(LC_PB_BOOL, lc_msg_pb_delete_response, value),
};
MESSAGE("ResponseForDelete", lc_msg_pb_delete_response);

/* The flat messages: their codecs are the tables above. */
#define CODEC(type_)                                                                                                   \
  int type_##_decode(struct lc_arena *arena, struct lc_slice bytes, struct type_ *out, struct lc_err *err) {           \
    (void)arena;                                                                                                       \
    return lc_pb_decode(&type_, bytes, out, err);                                                                      \
  }                                                                                                                    \
  int type_##_encode(const struct type_ *msg, struct lc_buf *buf) {                                                    \
    return lc_pb_encode(&type_, msg, buf);                                                                             \
  }

CODEC(lc_msg_get_request)
CODEC(lc_msg_get_response)
CODEC(lc_msg_set_request)
CODEC(lc_msg_delete_request)
CODEC(lc_msg_delete_response)
CODEC(lc_msg_pb_request)
CODEC(lc_msg_pb_get_response)
CODEC(lc_msg_pb_delete_response)

int lc_msg_empty_decode(struct lc_slice bytes, struct lc_err *err) {
  static const struct lc_pb_message empty = {.name = "message"};
  char nothing[1];
  return lc_pb_decode(&empty, bytes, nothing, err);
}

/* The flat view of the batch messages, which checks them whole; of a repeated field it keeps the last. */
struct batch_request_head {
  struct lc_slice group, last_key;
};

static const struct lc_pb_member batch_request_head_members[] = {
    MEMBER(LC_PB_STRING, batch_request_head, group),
    MEMBER(LC_PB_BYTES, batch_request_head, last_key),
};
MESSAGE("BatchGetRequest", batch_request_head);
#define BATCH_KEYS 2u

struct batch_response_head {
  struct lc_slice last_result;
};

static const struct lc_pb_member batch_response_head_members[] = {
    MEMBER(LC_PB_BYTES, batch_response_head, last_result),
};
MESSAGE("BatchGetResponse", batch_response_head);
#define BATCH_RESULTS 1u

/* The next field of that number, of bytes that have been checked. */
static bool next_repeated(struct lc_slice *in, uint32_t number, struct lc_slice *bytes) {
  struct lc_pb_field field;
  while (lc_pb_next(in, &field, NULL) == 1) {
    if (field.number != number)
      continue;
    *bytes = field.bytes;
    return true;
  }
  return false;
}

/* How often it occurs, and an array for it: *items stays NULL for none. */
static int make_repeated(struct lc_arena *arena, struct lc_slice in, uint32_t number, size_t item_size, void **items,
                         struct lc_err *err) {
  size_t count = 0;
  struct lc_slice bytes;
  while (next_repeated(&in, number, &bytes))
    count++;
  if (count > LC_BATCH_KEYS_MAX)
    return lc_err_set(err, LC_EINVAL, "%zu keys, a batch has at most %u", count, LC_BATCH_KEYS_MAX);
  if (count == 0)
    return 0;
  *items = lc_arena_alloc(arena, count * item_size);
  return *items ? 0 : lc_err_set(err, LC_ENOMEM, "no memory for a batch");
}

int lc_msg_batch_get_request_decode(struct lc_arena *arena, struct lc_slice bytes, struct lc_msg_batch_get_request *out,
                                    struct lc_err *err) {
  *out = (struct lc_msg_batch_get_request){0};
  struct batch_request_head head;
  void *keys = NULL;
  int rc = lc_pb_decode(&batch_request_head, bytes, &head, err);
  if (rc == 0)
    rc = make_repeated(arena, bytes, BATCH_KEYS, sizeof *out->keys, &keys, err);
  if (rc != 0)
    return rc;
  out->group = head.group;
  out->keys = keys;
  while (out->keys && next_repeated(&bytes, BATCH_KEYS, &out->keys[out->key_count]))
    out->key_count++;
  return 0;
}

int lc_msg_batch_get_request_encode(const struct lc_msg_batch_get_request *msg, struct lc_buf *buf) {
  size_t before = buf->len;
  struct batch_request_head head = {.group = msg->group};
  int rc = lc_pb_encode(&batch_request_head, &head, buf);
  for (size_t i = 0; rc == 0 && i < msg->key_count; i++) {
    struct lc_slice key = msg->keys[i];
    rc = lc_buf_reserve(buf, key.len + 16);
    if (rc != 0)
      break;
    uint8_t *at = lc_pb_put_len(buf->data + buf->len, BATCH_KEYS, key.len);
    buf->len = (size_t)(at - buf->data);
    lc_buf_append(buf, key.ptr, key.len);
  }
  if (rc != 0)
    buf->len = before;
  return rc;
}

int lc_msg_batch_get_response_decode(struct lc_arena *arena, struct lc_slice bytes,
                                     struct lc_msg_batch_get_response *out, struct lc_err *err) {
  *out = (struct lc_msg_batch_get_response){0};
  struct batch_response_head head;
  void *results = NULL;
  int rc = lc_pb_decode(&batch_response_head, bytes, &head, err);
  if (rc == 0)
    rc = make_repeated(arena, bytes, BATCH_RESULTS, sizeof *out->results, &results, err);
  out->results = results;
  struct lc_slice one;
  while (rc == 0 && results && next_repeated(&bytes, BATCH_RESULTS, &one))
    rc = lc_pb_decode(&lc_msg_batch_result, one, &out->results[out->result_count++], err);
  return rc;
}

/* A getter's message may hold any bytes. One that isn't UTF-8 would make clients refuse the whole batch: it is cut. */
static struct lc_msg_batch_result clean(const struct lc_msg_batch_result *result) {
  struct lc_msg_batch_result copy = *result;
  copy.message.len = lc_pb_utf8_len(copy.message);
  return copy;
}

static size_t clean_size(const struct lc_msg_batch_result *result) {
  size_t size = lc_pb_size(&lc_msg_batch_result, result);
  return 1 + lc_pb_varint_size(size) + size;
}

size_t lc_msg_batch_result_size(const struct lc_msg_batch_result *result) {
  struct lc_msg_batch_result copy = clean(result);
  return clean_size(&copy);
}

int lc_msg_batch_get_response_encode(const struct lc_msg_batch_get_response *msg, struct lc_buf *buf) {
  size_t before = buf->len;
  for (size_t i = 0; i < msg->result_count; i++) {
    struct lc_msg_batch_result result = clean(&msg->results[i]);
    if (lc_buf_reserve(buf, clean_size(&result)) != 0) {
      buf->len = before;
      return LC_ENOMEM;
    }
    uint8_t *at = lc_pb_put_len(buf->data + buf->len, BATCH_RESULTS, lc_pb_size(&lc_msg_batch_result, &result));
    at = lc_pb_write(&lc_msg_batch_result, &result, at);
    buf->len = (size_t)(at - buf->data);
  }
  return 0;
}

struct holder {
  void *owner;
  const struct lc_hold_ops *ops;
};

/* A message with one large member, `last`, put after the others; `lead` bytes before it are the caller's to fill. */
static int queue_message(const struct lc_pb_message *message, const void *msg, size_t size, uint32_t last, size_t lead,
                         const struct holder *holder, struct lc_outq *q, uint8_t **lead_at) {
  const char *member = (const char *)msg + message->members[last - 1].offset;
  struct lc_slice value = *(const struct lc_slice *)(const void *)member;
  bool inside = value.len < LC_MSG_REF_MIN;
  size_t head = lead + size - (inside ? 0 : value.len);
  uint8_t *at = lc_outq_reserve(q, head);
  if (!at)
    return LC_ENOMEM;
  *lead_at = at;
  at = lc_pb_write_head(message, msg, last, at + lead);
  if (!inside)
    return holder->owner ? lc_outq_append_ref(q, value, holder->owner, holder->ops)
                         : lc_outq_append(q, value.ptr, value.len);
  if (value.len)
    memcpy(at, value.ptr, value.len);
  return 0;
}

/* The reply of a hit, written straight: the tables would cost as much as the look-up. ttl and from 0 leave no trace. */
static int frame_value(struct lc_slice value, int64_t ttl_ms, int served_from, void *owner,
                       const struct lc_hold_ops *ops, struct lc_outq *q) {
  uint8_t head[LC_GRPC_PREFIX + 40], *at = head + LC_GRPC_PREFIX;
  if (ttl_ms != 0) {
    *at++ = 2 << 3 | LC_PB_VARINT;
    at = lc_pb_put_varint(at, (uint64_t)ttl_ms);
  }
  if (served_from != 0) {
    *at++ = 3 << 3 | LC_PB_VARINT;
    at = lc_pb_put_varint(at, (uint64_t)(int64_t)served_from);
  }
  if (value.len > 0)
    at = lc_pb_put_len(at, 1, value.len);
  size_t head_len = (size_t)(at - head), size = head_len - LC_GRPC_PREFIX + value.len, before = q->bytes;
  if (size > MESSAGE_MAX)
    return LC_ETOOBIG;
  lc_grpc_write_prefix(head, (uint32_t)size);
  bool inside = value.len < LC_MSG_REF_MIN;
  at = lc_outq_reserve(q, inside ? head_len + value.len : head_len);
  if (!at)
    return LC_ENOMEM;
  memcpy(at, head, head_len);
  int rc = 0;
  if (!inside)
    rc = owner ? lc_outq_append_ref(q, value, owner, ops) : lc_outq_append(q, value.ptr, value.len);
  else if (value.len > 0)
    memcpy(at + head_len, value.ptr, value.len);
  if (rc != 0)
    lc_outq_truncate(q, before);
  return rc;
}

int lc_msg_get_response_frame(const struct lc_msg_get_response *msg, void *owner, const struct lc_hold_ops *ops,
                              struct lc_outq *q) {
  return frame_value(msg->value, msg->ttl_ms, msg->served_from, owner, ops, q);
}

int lc_msg_pb_get_response_frame(const struct lc_msg_pb_get_response *msg, void *owner, const struct lc_hold_ops *ops,
                                 struct lc_outq *q) {
  return frame_value(msg->value, 0, 0, owner, ops, q);
}

int lc_msg_set_request_frame(const struct lc_msg_set_request *msg, void *owner, const struct lc_hold_ops *ops,
                             struct lc_outq *q) {
  size_t size = lc_pb_size(&lc_msg_set_request, msg), before = q->bytes;
  if (size > MESSAGE_MAX)
    return LC_ETOOBIG;
  struct holder holder = {owner, ops};
  uint8_t *prefix;
  int rc = queue_message(&lc_msg_set_request, msg, size, SET_REQUEST_VALUE, LC_GRPC_PREFIX, &holder, q, &prefix);
  if (rc == 0)
    lc_grpc_write_prefix(prefix, (uint32_t)size);
  else
    lc_outq_truncate(q, before);
  return rc;
}

int lc_msg_batch_get_response_frame(const struct lc_msg_batch_get_response *msg, const struct lc_hold_ops *ops,
                                    struct lc_outq *q) {
  size_t total = 0, before = q->bytes;
  for (size_t i = 0; i < msg->result_count; i++)
    total += lc_msg_batch_result_size(&msg->results[i]);
  if (total > MESSAGE_MAX)
    return LC_ETOOBIG;
  uint8_t *prefix = lc_outq_reserve(q, LC_GRPC_PREFIX);
  int rc = prefix ? 0 : LC_ENOMEM;
  if (prefix)
    lc_grpc_write_prefix(prefix, (uint32_t)total);
  for (size_t i = 0; rc == 0 && i < msg->result_count; i++) {
    struct lc_msg_batch_result result = clean(&msg->results[i]);
    size_t size = lc_pb_size(&lc_msg_batch_result, &result);
    uint8_t *at;
    struct holder holder = {result.owner, ops};
    rc = queue_message(&lc_msg_batch_result, &result, size, BATCH_RESULT_VALUE, 1 + lc_pb_varint_size(size), &holder, q,
                       &at);
    if (rc == 0)
      lc_pb_put_len(at, BATCH_RESULTS, size);
  }
  if (rc != 0)
    lc_outq_truncate(q, before);
  return rc;
}
