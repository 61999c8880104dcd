#include "wire/grpc.h"
#include "wire/msg.h"
#include "wire/msg_table.h"

#define MESSAGE_MAX 0x7fffffffu

static const struct lc_pb_member lc_msg_get_request_members[] = {
    LC_MEMBER(STRING, lc_msg_get_request, group),
    LC_MEMBER(BYTES, lc_msg_get_request, key),
    LC_MEMBER(BOOL, lc_msg_get_request, only_if_cached),
    LC_MEMBER(BOOL, lc_msg_get_request, refresh),
};
LC_MESSAGE("GetRequest", lc_msg_get_request);

static const struct lc_pb_member lc_msg_get_response_members[] = {
    LC_MEMBER(BYTES, lc_msg_get_response, value),
    LC_MEMBER(INT64, lc_msg_get_response, ttl_ms),
    LC_MEMBER(INT32, lc_msg_get_response, served_from),
};
LC_MESSAGE("GetResponse", lc_msg_get_response);

static const struct lc_pb_member lc_msg_set_request_members[] = {
    LC_MEMBER(STRING, lc_msg_set_request, group),
    LC_MEMBER(BYTES, lc_msg_set_request, key),
    LC_MEMBER(BYTES, lc_msg_set_request, value),
    LC_MEMBER(INT64, lc_msg_set_request, ttl_ms),
};
LC_MESSAGE_LARGE("SetRequest", lc_msg_set_request, 3, 0);

static const struct lc_pb_member lc_msg_delete_request_members[] = {
    LC_MEMBER(STRING, lc_msg_delete_request, group),
    LC_MEMBER(BYTES, lc_msg_delete_request, key),
};
LC_MESSAGE("DeleteRequest", lc_msg_delete_request);

static const struct lc_pb_member lc_msg_delete_response_members[] = {
    LC_MEMBER(BOOL, lc_msg_delete_response, deleted),
};
LC_MESSAGE("DeleteResponse", lc_msg_delete_response);

static const struct lc_pb_member lc_msg_batch_result_members[] = {
    LC_MEMBER(BYTES, lc_msg_batch_result, key),         LC_MEMBER(BYTES, lc_msg_batch_result, value),
    LC_MEMBER(INT32, lc_msg_batch_result, code),        LC_MEMBER(TEXT, lc_msg_batch_result, message),
    LC_MEMBER(INT32, lc_msg_batch_result, served_from),
};
LC_MESSAGE_LARGE("BatchGetResponse.Result", lc_msg_batch_result, 2, offsetof(struct lc_msg_batch_result, owner));

static const struct lc_pb_list batch_keys = {NULL, offsetof(struct lc_msg_batch_get_request, key_count),
                                             LC_BATCH_KEYS_MAX, "keys, a batch has"};
static const struct lc_pb_member lc_msg_batch_get_request_members[] = {
    LC_MEMBER(STRING, lc_msg_batch_get_request, group),
    LC_MEMBER_LIST(lc_msg_batch_get_request, keys, &batch_keys),
};
LC_MESSAGE("BatchGetRequest", lc_msg_batch_get_request);

static const struct lc_pb_list batch_results = {&lc_msg_batch_result,
                                                offsetof(struct lc_msg_batch_get_response, result_count),
                                                LC_BATCH_KEYS_MAX, "keys, a batch has"};
static const struct lc_pb_member lc_msg_batch_get_response_members[] = {
    LC_MEMBER_LIST(lc_msg_batch_get_response, results, &batch_results),
};
LC_MESSAGE("BatchGetResponse", lc_msg_batch_get_response);

static const struct lc_pb_member lc_msg_pb_request_members[] = {
    LC_MEMBER(STRING, lc_msg_pb_request, group),
    LC_MEMBER(STRING, lc_msg_pb_request, key),
    LC_MEMBER(BYTES, lc_msg_pb_request, value),
};
LC_MESSAGE("Request", lc_msg_pb_request);

static const struct lc_pb_member lc_msg_pb_get_response_members[] = {
    LC_MEMBER(BYTES, lc_msg_pb_get_response, value),
};
LC_MESSAGE("ResponseForGet", lc_msg_pb_get_response);

static const struct lc_pb_member lc_msg_pb_delete_response_members[] = {
    LC_MEMBER(BOOL, lc_msg_pb_delete_response, value),
};
LC_MESSAGE("ResponseForDelete", lc_msg_pb_delete_response);

LC_CODEC(lc_msg_get_request)
LC_CODEC(lc_msg_get_response)
LC_CODEC(lc_msg_set_request)
LC_CODEC(lc_msg_delete_request)
LC_CODEC(lc_msg_delete_response)
LC_CODEC(lc_msg_batch_get_request)
LC_CODEC(lc_msg_batch_get_response)
LC_CODEC(lc_msg_pb_request)
LC_CODEC(lc_msg_pb_get_response)
LC_CODEC(lc_msg_pb_delete_response)

int lc_msg_empty_decode(struct lc_slice bytes, struct lc_err *err) {
  static const struct lc_pb_message empty = {.name = "message"};
  char nothing[1];
  return lc_pb_decode(&empty, NULL, bytes, nothing, err);
}

size_t lc_msg_batch_result_size(const struct lc_msg_batch_result *result) {
  return lc_pb_item_size(&lc_msg_batch_result, result);
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
  return lc_pb_frame(&lc_msg_set_request, msg, owner, ops, q);
}

int lc_msg_batch_get_response_frame(const struct lc_msg_batch_get_response *msg, const struct lc_hold_ops *ops,
                                    struct lc_outq *q) {
  return lc_pb_frame(&lc_msg_batch_get_response, msg, NULL, ops, q);
}
