#include "ctl/commands.h"

#include <string.h>

#include "wire/grpc.h"

static struct lc_slice arg(const struct lc_ctl_options *options, size_t index) {
  return index < options->arg_count ? lc_slice_str(options->args[index]) : lc_slice_str("");
}

static int encode_get(const struct lc_ctl_options *options, struct lc_buf *buf) {
  return lc_msg_get_request_encode(&(struct lc_msg_get_request){.group = arg(options, 0),
                                                                .key = arg(options, 1),
                                                                .only_if_cached = options->only_if_cached,
                                                                .refresh = options->refresh},
                                   buf);
}

static int encode_set(const struct lc_ctl_options *options, struct lc_buf *buf) {
  bool from_stdin = strcmp(options->args[2], "-") == 0;
  struct lc_slice value = from_stdin ? lc_buf_slice(&options->stdin_value) : arg(options, 2);
  return lc_msg_set_request_encode(
      &(struct lc_msg_set_request){
          .group = arg(options, 0), .key = arg(options, 1), .value = value, .ttl_ms = options->ttl_ms},
      buf);
}

static int encode_delete(const struct lc_ctl_options *options, struct lc_buf *buf) {
  return lc_msg_delete_request_encode(&(struct lc_msg_delete_request){.group = arg(options, 0), .key = arg(options, 1)},
                                      buf);
}

static int encode_batch(const struct lc_ctl_options *options, struct lc_buf *buf) {
  struct lc_buf keys;
  lc_buf_init(&keys);
  size_t count = options->arg_count - 1;
  int rc = lc_buf_reserve(&keys, count * sizeof(struct lc_slice));
  if (rc == LC_OK) {
    struct lc_slice *slices = (struct lc_slice *)(void *)keys.data;
    for (size_t i = 0; i < count; i++)
      slices[i] = arg(options, i + 1);
    rc = lc_msg_batch_get_request_encode(
        &(struct lc_msg_batch_get_request){.group = arg(options, 0), .keys = slices, .key_count = count}, buf);
  }
  lc_buf_fini(&keys);
  return rc;
}

static int encode_stats(const struct lc_ctl_options *options, struct lc_buf *buf) {
  return lc_msg_stats_request_encode(&(struct lc_msg_stats_request){.group = arg(options, 0)}, buf);
}

static int encode_nodes(const struct lc_ctl_options *options, struct lc_buf *buf) {
  (void)options;
  (void)buf;
  return LC_OK; /* NodesRequest has no fields */
}

static int encode_owner(const struct lc_ctl_options *options, struct lc_buf *buf) {
  return lc_msg_owner_request_encode(&(struct lc_msg_owner_request){.group = arg(options, 0), .key = arg(options, 1)},
                                     buf);
}

static int decode_get(struct lc_arena *arena, struct lc_slice bytes, union lc_ctl_reply *reply, struct lc_err *err) {
  return lc_msg_get_response_decode(arena, bytes, &reply->get, err);
}

static int decode_none(struct lc_arena *arena, struct lc_slice bytes, union lc_ctl_reply *reply, struct lc_err *err) {
  (void)arena;
  (void)reply;
  return lc_msg_empty_decode(bytes, err);
}

static int decode_delete(struct lc_arena *arena, struct lc_slice bytes, union lc_ctl_reply *reply, struct lc_err *err) {
  return lc_msg_delete_response_decode(arena, bytes, &reply->deleted, err);
}

static int decode_batch(struct lc_arena *arena, struct lc_slice bytes, union lc_ctl_reply *reply, struct lc_err *err) {
  return lc_msg_batch_get_response_decode(arena, bytes, &reply->batch, err);
}

static int decode_stats(struct lc_arena *arena, struct lc_slice bytes, union lc_ctl_reply *reply, struct lc_err *err) {
  return lc_msg_stats_response_decode(arena, bytes, &reply->stats, err);
}

static int decode_nodes(struct lc_arena *arena, struct lc_slice bytes, union lc_ctl_reply *reply, struct lc_err *err) {
  return lc_msg_nodes_response_decode(arena, bytes, &reply->nodes, err);
}

static int decode_owner(struct lc_arena *arena, struct lc_slice bytes, union lc_ctl_reply *reply, struct lc_err *err) {
  return lc_msg_owner_response_decode(arena, bytes, &reply->owner, err);
}

const struct lc_ctl_command lc_ctl_commands[] = {
    {"get", "get GROUP KEY", "print a key's value, loading it if it isn't cached", 2, 2, "/lcache.v1.Cache/Get",
     encode_get, decode_get, lc_ctl_text_get, lc_ctl_json_get},
    {"set", "set GROUP KEY VALUE", "store a value (VALUE - reads standard input)", 3, 3, "/lcache.v1.Cache/Set",
     encode_set, decode_none, lc_ctl_text_none, lc_ctl_json_none},
    {"delete", "delete GROUP KEY", "drop a key", 2, 2, "/lcache.v1.Cache/Delete", encode_delete, decode_delete,
     lc_ctl_text_delete, lc_ctl_json_delete},
    {"batch", "batch GROUP KEY...", "get many keys in one call", 2, LC_BATCH_KEYS_MAX + 1, "/lcache.v1.Cache/BatchGet",
     encode_batch, decode_batch, lc_ctl_text_batch, lc_ctl_json_batch},
    {"stats", "stats [GROUP]", "show the node's counters", 0, 1, "/lcache.v1.Admin/Stats", encode_stats, decode_stats,
     lc_ctl_text_stats, lc_ctl_json_stats},
    {"nodes", "nodes", "show the cluster's nodes", 0, 0, "/lcache.v1.Admin/Nodes", encode_nodes, decode_nodes,
     lc_ctl_text_nodes, lc_ctl_json_nodes},
    {"owner", "owner GROUP KEY", "show which node owns a key", 2, 2, "/lcache.v1.Admin/Owner", encode_owner,
     decode_owner, lc_ctl_text_owner, lc_ctl_json_owner},
};
const size_t lc_ctl_command_count = sizeof(lc_ctl_commands) / sizeof(lc_ctl_commands[0]);

const char *lc_ctl_from_name(int served_from) {
  static const char *const names[] = {"UNSPECIFIED", "STORE", "MIRROR", "PEER", "SOURCE", "STALE"};
  bool known = served_from >= 0 && (size_t)served_from < sizeof(names) / sizeof(names[0]);
  return known ? names[served_from] : "UNKNOWN";
}

int lc_ctl_batch_exit(const struct lc_msg_batch_get_response *reply) {
  int worst = LC_CTL_OK;
  for (size_t i = 0; i < reply->result_count; i++) {
    int code = reply->results[i].code;
    int exit_code = code == LC_GRPC_OK ? LC_CTL_OK : code == LC_GRPC_NOT_FOUND ? LC_CTL_NOT_FOUND : LC_CTL_FAILED;
    if (exit_code > worst)
      worst = exit_code;
  }
  return worst;
}

#define FIELD(name_)                                                                                                   \
  { #name_, offsetof(struct lc_msg_group_stats, name_) }

const struct lc_ctl_group_field lc_ctl_group_fields[] = {
    FIELD(items),
    FIELD(bytes),
    FIELD(level2_items),
    FIELD(limit_bytes),
    FIELD(pool_used_bytes),
    FIELD(flights),
    FIELD(waiters),
    FIELD(gets),
    FIELD(hits),
    FIELD(misses),
    FIELD(loads),
    FIELD(load_errors),
    FIELD(not_found),
    FIELD(coalesced),
    FIELD(timeouts),
    FIELD(sets),
    FIELD(deletes),
    FIELD(refused),
    FIELD(evict_dropped),
    FIELD(store_puts),
    FIELD(store_deletes),
    FIELD(store_refused),
    FIELD(demotions),
    FIELD(evicted_size),
    FIELD(evicted_expired),
    FIELD(evicted_deleted),
    FIELD(evicted_cleared),
    FIELD(mirrors),
    FIELD(mirror_bytes),
    FIELD(mirror_hits),
    FIELD(forwards),
    FIELD(forward_fails),
    FIELD(peeks),
    FIELD(peek_hits),
    FIELD(served),
    FIELD(invalidated),
    FIELD(added),
};
const size_t lc_ctl_group_field_count = sizeof(lc_ctl_group_fields) / sizeof(lc_ctl_group_fields[0]);
