#ifndef LC_WIRE_MSG_PEER_H
#define LC_WIRE_MSG_PEER_H

#include "wire/msg.h"

/*
 * The messages of lcache.v1.Peer (proto/lcache/v1/peer.proto), with the conventions of wire/msg.h. Codecs of our own,
 * for the reasons given there: values and keys are not copied, lists are arrays in the arena. Lists over their bound
 * are LC_EINVAL.
 */
#define LC_PEER_LINEAGE_MAX 8u
#define LC_PEER_ENTRIES_MAX 4096u /* of one Invalidate, and items of one HandOver */
#define LC_PEER_APPLIED_MAX 4096u

enum lc_msg_outcome {
  LC_OUTCOME_UNSPECIFIED,
  LC_OUTCOME_VALUE,
  LC_OUTCOME_NOT_FOUND,
  LC_OUTCOME_FAILED,
  LC_OUTCOME_NOT_CACHED,
  LC_OUTCOME_DRAINING,
  LC_OUTCOME_UNKNOWN_GROUP,
  LC_OUTCOME_NOT_OWNER,
  LC_OUTCOME_STRANGER,
  LC_OUTCOME_OK,
};

struct lc_msg_hello_request {
  uint64_t from;
  struct lc_slice address;
  uint32_t weight, protocol, ring_version;
  uint64_t ring;
  bool leaving, given_up;
  struct lc_slice service;
};

struct lc_msg_hello_response {
  uint64_t process;
  struct lc_slice address;
  uint32_t weight, protocol, ring_version;
  uint64_t ring;
  bool leaving;
  uint64_t head;
  bool was_waited, on_ring;
  struct lc_slice service;
};

/* A group and key: an entry of a lineage, of an Invalidate. */
struct lc_msg_name {
  struct lc_slice group, key;
};

struct lc_msg_peer_get_request {
  uint64_t from, to;
  struct lc_slice group, key;
  bool only_if_cached, refresh;
  struct lc_msg_name *lineage;
  size_t lineage_count;
};

struct lc_msg_applied {
  uint64_t process, seq;
};

struct lc_msg_peer_get_response {
  int outcome; /* enum lc_msg_outcome, or a number that this version doesn't know */
  int32_t code;
  struct lc_slice message;
  int64_t ttl_ms;
  bool keep;
  struct lc_slice value;
  struct lc_slice applied; /* lc_msg_applied_pack */
  void *owner;             /* for _frame of a batch: holds value's bytes; NULL: they are copied */
};

struct lc_msg_peer_batch_get_request {
  uint64_t from, to;
  struct lc_slice group;
  struct lc_slice *keys;
  size_t key_count;
};

struct lc_msg_peer_batch_get_response {
  int outcome;
  struct lc_msg_peer_get_response *results;
  size_t result_count;
};

struct lc_msg_peer_set_request {
  uint64_t from, to;
  struct lc_slice group, key;
  int64_t ttl_ms;
  struct lc_slice value;
};

struct lc_msg_peer_delete_request {
  uint64_t from, to;
  struct lc_slice group, key;
};

struct lc_msg_peer_write_response {
  int outcome;
  int32_t code;
  struct lc_slice message;
  bool deleted;
  uint64_t ring;
};

struct lc_msg_invalidate_request {
  uint64_t from, to, prev;
  struct lc_msg_name *entries;
  size_t entry_count;
  bool drop_all;
};

struct lc_msg_invalidate_response {
  int outcome;
  uint64_t applied;
  bool mismatch;
};

struct lc_msg_handover_item {
  struct lc_slice group, key;
  int64_t ttl_ms;
  struct lc_slice value;
  void *owner; /* for _frame */
};

struct lc_msg_handover_request {
  uint64_t from, to;
  struct lc_msg_applied *applied;
  size_t applied_count;
  struct lc_msg_handover_item *items;
  size_t item_count;
};

struct lc_msg_handover_response {
  int outcome;
  uint32_t taken;
};

struct lc_msg_leave_request {
  uint64_t from, to;
};

struct lc_msg_leave_response {
  int outcome;
};

/* A list of them as a peek's answer has it, LC_APPLIED_SIZE bytes each. Unpacking fills at most max and returns how
 * many; a last piece that is too short is left out. */
#define LC_APPLIED_SIZE 16u
void lc_msg_applied_pack(const struct lc_msg_applied *applied, size_t count, uint8_t *out);
size_t lc_msg_applied_unpack(struct lc_slice bytes, struct lc_msg_applied *out, size_t max);

#define LC_MSG_PEER_CODEC(name_)                                                                                       \
  int lc_msg_##name_##_decode(struct lc_arena *arena, struct lc_slice bytes, struct lc_msg_##name_ *out,               \
                              struct lc_err *err);                                                                     \
  int lc_msg_##name_##_encode(const struct lc_msg_##name_ *msg, struct lc_buf *buf)

LC_MSG_PEER_CODEC(hello_request);
LC_MSG_PEER_CODEC(hello_response);
LC_MSG_PEER_CODEC(peer_get_request);
LC_MSG_PEER_CODEC(peer_get_response);
LC_MSG_PEER_CODEC(peer_batch_get_request);
LC_MSG_PEER_CODEC(peer_batch_get_response);
LC_MSG_PEER_CODEC(peer_set_request);
LC_MSG_PEER_CODEC(peer_delete_request);
LC_MSG_PEER_CODEC(peer_write_response);
LC_MSG_PEER_CODEC(invalidate_request);
LC_MSG_PEER_CODEC(invalidate_response);
LC_MSG_PEER_CODEC(handover_request);
LC_MSG_PEER_CODEC(handover_response);
LC_MSG_PEER_CODEC(leave_request);
LC_MSG_PEER_CODEC(leave_response);

/* Framed with prefix into an output queue; large values by reference, `owner` retained by ops (wire/msg.h). */
int lc_msg_peer_get_request_frame(const struct lc_msg_peer_get_request *msg, struct lc_outq *q);
int lc_msg_peer_get_response_frame(const struct lc_msg_peer_get_response *msg, void *owner,
                                   const struct lc_hold_ops *ops, struct lc_outq *q);
int lc_msg_peer_batch_get_response_frame(const struct lc_msg_peer_batch_get_response *msg,
                                         const struct lc_hold_ops *ops, struct lc_outq *q);
int lc_msg_peer_set_request_frame(const struct lc_msg_peer_set_request *msg, void *owner, const struct lc_hold_ops *ops,
                                  struct lc_outq *q);
int lc_msg_handover_request_frame(const struct lc_msg_handover_request *msg, const struct lc_hold_ops *ops,
                                  struct lc_outq *q);

/* What a message may be longer than --max-message: fields of a Peer call around a value that a client sent whole. */
#define LC_PEER_MESSAGE_EXTRA 65536u
size_t lc_msg_handover_item_size(const struct lc_msg_handover_item *item);
size_t lc_msg_peer_batch_result_size(const struct lc_msg_peer_get_response *result);

#endif
