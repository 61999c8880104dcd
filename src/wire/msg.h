#ifndef LC_WIRE_MSG_H
#define LC_WIRE_MSG_H

#include <stdbool.h>

#include "base/arena.h"
#include "base/buf.h"
#include "base/err.h"
#include "base/outq.h"
#include "base/slice.h"

/*
 * The messages of proto/ as plain structs, and their codecs, for servers and clients. Nothing of protobuf-c shows here.
 *
 * Decoding: lc_msg_<message>_decode(arena, bytes, out, err) fills all of `out`. Slices in it point into `bytes` or into
 * the arena: keep both. Fields that are unknown are skipped. 0, or with a text in err (which may be NULL):
 *   LC_EPROTO   cut short, a wrong wire type, a string that isn't UTF-8 (Admin, health, reflection: or holds a NUL)
 *   LC_EINVAL   more than LC_BATCH_KEYS_MAX keys
 *   LC_ENOMEM   the arena is at its limit
 * No message costs more arena than 8 KiB + 128 x its length; those of Cache and pb.LCache cost none, a
 * batch an array of its keys or results.
 *
 * Encoding: lc_msg_<message>_encode(msg, buf) appends the bare message; 0 or LC_ENOMEM (and buf->failed).
 * lc_msg_<message>_frame puts it with its gRPC prefix into an output queue; large values go by reference. 0, LC_ENOMEM,
 * or LC_ETOOBIG (over 2 GiB), and then the queue is as it was.
 *
 * Why Cache and pb.LCache have codecs of their own and the rest goes through protobuf-c: protobuf-c copies every field
 * (a Set's value would be copied three times), cuts strings at a NUL (two keys of pb.LCache would become one),
 * allocates several times the size of a hostile message, and takes about a tenth of a Get. Tests hold both codecs
 * against each other on random and mutated input.
 */

#define LC_BATCH_KEYS_MAX 10000u

/* ServedFrom on the wire. */
enum lc_msg_from {
  LC_MSG_FROM_UNSPECIFIED,
  LC_MSG_FROM_STORE,
  LC_MSG_FROM_MIRROR,
  LC_MSG_FROM_PEER,
  LC_MSG_FROM_SOURCE,
  LC_MSG_FROM_STALE
};

/* lcache.v1.Cache */

struct lc_msg_get_request {
  struct lc_slice group, key;
  bool only_if_cached, refresh;
};

struct lc_msg_get_response {
  struct lc_slice value;
  int64_t ttl_ms;
  int served_from; /* enum lc_msg_from, or a number that this version doesn't know */
};

struct lc_msg_set_request {
  struct lc_slice group, key, value;
  int64_t ttl_ms;
};

struct lc_msg_delete_request {
  struct lc_slice group, key;
};

struct lc_msg_delete_response {
  bool deleted;
};

struct lc_msg_batch_get_request {
  struct lc_slice group;
  struct lc_slice *keys;
  size_t key_count;
};

struct lc_msg_batch_result {
  struct lc_slice key, value;
  int32_t code;            /* a gRPC status */
  struct lc_slice message; /* encoded up to its first byte that isn't UTF-8 */
  int served_from;
  void *owner; /* for _frame: holds value's bytes; NULL: they are copied */
};

struct lc_msg_batch_get_response {
  struct lc_msg_batch_result *results;
  size_t result_count;
};

int lc_msg_get_request_decode(struct lc_arena *arena, struct lc_slice bytes, struct lc_msg_get_request *out,
                              struct lc_err *err);
int lc_msg_get_response_decode(struct lc_arena *arena, struct lc_slice bytes, struct lc_msg_get_response *out,
                               struct lc_err *err);
int lc_msg_set_request_decode(struct lc_arena *arena, struct lc_slice bytes, struct lc_msg_set_request *out,
                              struct lc_err *err);
int lc_msg_delete_request_decode(struct lc_arena *arena, struct lc_slice bytes, struct lc_msg_delete_request *out,
                                 struct lc_err *err);
int lc_msg_delete_response_decode(struct lc_arena *arena, struct lc_slice bytes, struct lc_msg_delete_response *out,
                                  struct lc_err *err);
int lc_msg_batch_get_request_decode(struct lc_arena *arena, struct lc_slice bytes, struct lc_msg_batch_get_request *out,
                                    struct lc_err *err);
int lc_msg_batch_get_response_decode(struct lc_arena *arena, struct lc_slice bytes,
                                     struct lc_msg_batch_get_response *out, struct lc_err *err);

/* SetResponse, NodesRequest: nothing inside. Checks that the bytes are a message, and encodes to no bytes at all. */
int lc_msg_empty_decode(struct lc_slice bytes, struct lc_err *err);

int lc_msg_get_request_encode(const struct lc_msg_get_request *msg, struct lc_buf *buf);
int lc_msg_get_response_encode(const struct lc_msg_get_response *msg, struct lc_buf *buf);
int lc_msg_set_request_encode(const struct lc_msg_set_request *msg, struct lc_buf *buf);
int lc_msg_delete_request_encode(const struct lc_msg_delete_request *msg, struct lc_buf *buf);
int lc_msg_delete_response_encode(const struct lc_msg_delete_response *msg, struct lc_buf *buf);
int lc_msg_batch_get_request_encode(const struct lc_msg_batch_get_request *msg, struct lc_buf *buf);
int lc_msg_batch_get_response_encode(const struct lc_msg_batch_get_response *msg, struct lc_buf *buf);

/*
 * The hot path of a server. A value of LC_MSG_REF_MIN bytes and more is queued by reference and `owner` retained once
 * for it by ops; a shorter one is copied. owner NULL: always copied. The value is the last field of the frame, so that
 * a frame is one run of head and one of value.
 */
#define LC_MSG_REF_MIN 4096u
int lc_msg_get_response_frame(const struct lc_msg_get_response *msg, void *owner, const struct lc_hold_ops *ops,
                              struct lc_outq *q);
int lc_msg_batch_get_response_frame(const struct lc_msg_batch_get_response *msg, const struct lc_hold_ops *ops,
                                    struct lc_outq *q);
int lc_msg_set_request_frame(const struct lc_msg_set_request *msg, void *owner, const struct lc_hold_ops *ops,
                             struct lc_outq *q);

/* Bytes that one result adds to a BatchGetResponse, so that a server can bound the reply before it is built. */
size_t lc_msg_batch_result_size(const struct lc_msg_batch_result *result);

/* pb.LCache: Request serves Get, Set and Delete; its key is text. ResponseForGet answers Get and Set. */

struct lc_msg_pb_request {
  struct lc_slice group, key, value;
};

struct lc_msg_pb_get_response {
  struct lc_slice value;
};

struct lc_msg_pb_delete_response {
  bool value;
};

int lc_msg_pb_request_decode(struct lc_arena *arena, struct lc_slice bytes, struct lc_msg_pb_request *out,
                             struct lc_err *err);
int lc_msg_pb_get_response_decode(struct lc_arena *arena, struct lc_slice bytes, struct lc_msg_pb_get_response *out,
                                  struct lc_err *err);
int lc_msg_pb_delete_response_decode(struct lc_arena *arena, struct lc_slice bytes,
                                     struct lc_msg_pb_delete_response *out, struct lc_err *err);
int lc_msg_pb_request_encode(const struct lc_msg_pb_request *msg, struct lc_buf *buf);
int lc_msg_pb_get_response_encode(const struct lc_msg_pb_get_response *msg, struct lc_buf *buf);
int lc_msg_pb_delete_response_encode(const struct lc_msg_pb_delete_response *msg, struct lc_buf *buf);
int lc_msg_pb_get_response_frame(const struct lc_msg_pb_get_response *msg, void *owner, const struct lc_hold_ops *ops,
                                 struct lc_outq *q);

/* lcache.v1.Admin */

struct lc_msg_stats_request {
  struct lc_slice group; /* empty: all */
};

struct lc_msg_worker_stats {
  uint32_t index;
  uint64_t connections, requests, loads, buffer_bytes, lua_bytes;
};

struct lc_msg_group_stats {
  struct lc_slice name;
  uint64_t items, bytes, level2_items, limit_bytes, pool_used_bytes, flights, waiters; /* now */
  uint64_t gets, hits, misses, loads, load_errors, not_found, coalesced, timeouts, sets, deletes, refused,
      evict_dropped;
  uint64_t store_puts, store_deletes, store_refused, demotions;
  uint64_t evicted_size, evicted_expired, evicted_deleted, evicted_cleared;
  uint64_t mirrors, mirror_bytes; /* now */
  uint64_t mirror_hits, forwards, forward_fails, peeks, peek_hits, served, invalidated, added;
};

struct lc_msg_stats_response {
  struct lc_slice node, version;
  uint64_t uptime_ms;
  struct lc_msg_worker_stats *workers;
  size_t worker_count;
  uint64_t memory_used_bytes, memory_limit_bytes;
  struct lc_msg_group_stats *groups;
  size_t group_count;
};

struct lc_msg_node {
  struct lc_slice address;
  struct lc_slice state; /* "up", "down", "leaving" */
  double share;          /* of the keys, 0 to 1 */
};

struct lc_msg_nodes_response {
  struct lc_slice self, ring;
  struct lc_msg_node *nodes;
  size_t node_count;
};

struct lc_msg_owner_request {
  struct lc_slice group, key;
};

struct lc_msg_owner_response {
  struct lc_slice address;
  bool self;
};

int lc_msg_stats_request_decode(struct lc_arena *arena, struct lc_slice bytes, struct lc_msg_stats_request *out,
                                struct lc_err *err);
int lc_msg_stats_response_decode(struct lc_arena *arena, struct lc_slice bytes, struct lc_msg_stats_response *out,
                                 struct lc_err *err);
int lc_msg_nodes_response_decode(struct lc_arena *arena, struct lc_slice bytes, struct lc_msg_nodes_response *out,
                                 struct lc_err *err);
int lc_msg_owner_request_decode(struct lc_arena *arena, struct lc_slice bytes, struct lc_msg_owner_request *out,
                                struct lc_err *err);
int lc_msg_owner_response_decode(struct lc_arena *arena, struct lc_slice bytes, struct lc_msg_owner_response *out,
                                 struct lc_err *err);
int lc_msg_stats_request_encode(const struct lc_msg_stats_request *msg, struct lc_buf *buf);
int lc_msg_stats_response_encode(const struct lc_msg_stats_response *msg, struct lc_buf *buf);
int lc_msg_nodes_response_encode(const struct lc_msg_nodes_response *msg, struct lc_buf *buf);
int lc_msg_owner_request_encode(const struct lc_msg_owner_request *msg, struct lc_buf *buf);
int lc_msg_owner_response_encode(const struct lc_msg_owner_response *msg, struct lc_buf *buf);

/* grpc.health.v1.Health */

enum lc_msg_serving { LC_MSG_SERVING_UNKNOWN, LC_MSG_SERVING, LC_MSG_NOT_SERVING, LC_MSG_SERVICE_UNKNOWN };

struct lc_msg_health_request {
  struct lc_slice service;
};

struct lc_msg_health_response {
  int status; /* enum lc_msg_serving */
};

int lc_msg_health_request_decode(struct lc_arena *arena, struct lc_slice bytes, struct lc_msg_health_request *out,
                                 struct lc_err *err);
int lc_msg_health_response_decode(struct lc_arena *arena, struct lc_slice bytes, struct lc_msg_health_response *out,
                                  struct lc_err *err);
int lc_msg_health_request_encode(const struct lc_msg_health_request *msg, struct lc_buf *buf);
int lc_msg_health_response_encode(const struct lc_msg_health_response *msg, struct lc_buf *buf);

/* grpc.reflection: v1 and v1alpha have the same bytes. */

enum lc_msg_reflection_kind {
  LC_MSG_REFLECTION_NONE,
  LC_MSG_REFLECTION_FILE,              /* text: a file's name */
  LC_MSG_REFLECTION_SYMBOL,            /* text: a full name */
  LC_MSG_REFLECTION_EXTENSION,         /* text: the extended type; number */
  LC_MSG_REFLECTION_EXTENSION_NUMBERS, /* text: a type */
  LC_MSG_REFLECTION_LIST               /* text: ignored */
};

struct lc_msg_reflection_request {
  struct lc_slice host;
  enum lc_msg_reflection_kind kind;
  struct lc_slice text;
  int32_t number;
};

/* One of the three answers is given: an error if error_code isn't 0, else files if file_count isn't 0, else services.
 */
struct lc_msg_reflection_response {
  struct lc_msg_reflection_request original;
  struct lc_slice *files; /* serialized FileDescriptorProtos */
  size_t file_count;
  struct lc_slice *services;
  size_t service_count;
  int32_t error_code; /* a gRPC status */
  struct lc_slice error_message;
};

int lc_msg_reflection_request_decode(struct lc_arena *arena, struct lc_slice bytes,
                                     struct lc_msg_reflection_request *out, struct lc_err *err);
int lc_msg_reflection_response_decode(struct lc_arena *arena, struct lc_slice bytes,
                                      struct lc_msg_reflection_response *out, struct lc_err *err);
int lc_msg_reflection_request_encode(const struct lc_msg_reflection_request *msg, struct lc_buf *buf);
int lc_msg_reflection_response_encode(const struct lc_msg_reflection_response *msg, struct lc_buf *buf);

#endif
