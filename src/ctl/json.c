#include <inttypes.h>
#include <string.h>

#include "base/utf8.h"
#include "ctl/commands.h"
#include "wire/grpc.h"

/* What scripts read: one JSON object on one line. Bytes that aren't UTF-8 come as base64 under NAME_base64. */

static int finish(struct lc_buf *buf, FILE *out) {
  lc_buf_char(buf, '\n'); /* so it isn't empty */
  bool failed = buf->failed || fwrite(buf->data, 1, buf->len, out) != buf->len;
  lc_buf_fini(buf);
  return failed ? LC_CTL_FAILED : LC_CTL_OK;
}

static void put_base64(struct lc_buf *buf, struct lc_slice bytes) {
  static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  for (size_t i = 0; i < bytes.len; i += 3) {
    size_t n = bytes.len - i < 3 ? bytes.len - i : 3;
    uint32_t v = (uint32_t)bytes.ptr[i] << 16;
    v |= n > 1 ? (uint32_t)bytes.ptr[i + 1] << 8 : 0;
    v |= n > 2 ? (uint32_t)bytes.ptr[i + 2] : 0;
    char four[4] = {digits[v >> 18], digits[(v >> 12) & 63], n > 1 ? digits[(v >> 6) & 63] : '=',
                    n > 2 ? digits[v & 63] : '='};
    lc_buf_append(buf, four, 4);
  }
}

static void put_bytes(struct lc_buf *buf, const char *name, struct lc_slice bytes) {
  if (lc_utf8_valid(bytes)) {
    lc_buf_printf(buf, "\"%s\":", name);
    lc_buf_json(buf, bytes);
    return;
  }
  lc_buf_printf(buf, "\"%s_base64\":\"", name);
  put_base64(buf, bytes);
  lc_buf_char(buf, '"');
}

static void put_text(struct lc_buf *buf, const char *name, struct lc_slice text) {
  lc_buf_printf(buf, "\"%s\":", name);
  lc_buf_json(buf, text);
}

int lc_ctl_json_get(const struct lc_ctl_options *options, const union lc_ctl_reply *reply, double time_ms, FILE *out) {
  (void)options;
  struct lc_buf buf;
  lc_buf_init(&buf);
  lc_buf_char(&buf, '{');
  put_bytes(&buf, "value", reply->get.value);
  lc_buf_printf(&buf, ",\"served_from\":\"%s\",\"ttl_ms\":%" PRId64 ",\"time_ms\":%.3f}",
                lc_ctl_from_name(reply->get.served_from), reply->get.ttl_ms, time_ms);
  return finish(&buf, out);
}

int lc_ctl_json_none(const struct lc_ctl_options *options, const union lc_ctl_reply *reply, double time_ms, FILE *out) {
  (void)options;
  (void)reply;
  struct lc_buf buf;
  lc_buf_init(&buf);
  lc_buf_printf(&buf, "{\"time_ms\":%.3f}", time_ms);
  return finish(&buf, out);
}

int lc_ctl_json_delete(const struct lc_ctl_options *options, const union lc_ctl_reply *reply, double time_ms,
                       FILE *out) {
  (void)options;
  struct lc_buf buf;
  lc_buf_init(&buf);
  lc_buf_printf(&buf, "{\"deleted\":%s,\"time_ms\":%.3f}", reply->deleted.deleted ? "true" : "false", time_ms);
  return finish(&buf, out);
}

static void put_result(struct lc_buf *buf, const struct lc_msg_batch_result *result) {
  lc_buf_char(buf, '{');
  put_bytes(buf, "key", result->key);
  lc_buf_printf(buf, ",\"code\":\"%s\",", lc_grpc_status_name(result->code));
  if (result->code == LC_GRPC_OK) {
    put_bytes(buf, "value", result->value);
    lc_buf_printf(buf, ",\"served_from\":\"%s\"", lc_ctl_from_name(result->served_from));
  } else {
    put_text(buf, "message", result->message);
  }
  lc_buf_char(buf, '}');
}

int lc_ctl_json_batch(const struct lc_ctl_options *options, const union lc_ctl_reply *reply, double time_ms,
                      FILE *out) {
  (void)options;
  struct lc_buf buf;
  lc_buf_init(&buf);
  lc_buf_str(&buf, "{\"results\":[");
  for (size_t i = 0; i < reply->batch.result_count; i++) {
    if (i > 0)
      lc_buf_char(&buf, ',');
    put_result(&buf, &reply->batch.results[i]);
  }
  lc_buf_printf(&buf, "],\"time_ms\":%.3f}", time_ms);
  int exit_code = finish(&buf, out);
  return exit_code == LC_CTL_OK ? lc_ctl_batch_exit(&reply->batch) : exit_code;
}

static void put_worker(struct lc_buf *buf, const struct lc_msg_worker_stats *worker) {
  lc_buf_printf(buf,
                "{\"index\":%" PRIu32 ",\"connections\":%" PRIu64 ",\"requests\":%" PRIu64 ",\"loads\":%" PRIu64
                ",\"buffer_bytes\":%" PRIu64 ",\"lua_bytes\":%" PRIu64 "}",
                worker->index, worker->connections, worker->requests, worker->loads, worker->buffer_bytes,
                worker->lua_bytes);
}

void lc_ctl_put_json_group(struct lc_buf *buf, const struct lc_msg_group_stats *group) {
  lc_buf_char(buf, '{');
  put_text(buf, "name", group->name);
  for (size_t i = 0; i < lc_ctl_group_field_count; i++) {
    uint64_t value;
    memcpy(&value, (const char *)group + lc_ctl_group_fields[i].offset, sizeof(value));
    lc_buf_printf(buf, ",\"%s\":%" PRIu64, lc_ctl_group_fields[i].name, value);
  }
  lc_buf_char(buf, '}');
}

void lc_ctl_put_json_stats(struct lc_buf *buf, const struct lc_msg_stats_response *stats) {
  lc_buf_char(buf, '{');
  put_text(buf, "node", stats->node);
  lc_buf_char(buf, ',');
  put_text(buf, "version", stats->version);
  lc_buf_printf(buf,
                ",\"uptime_ms\":%" PRIu64 ",\"memory_used_bytes\":%" PRIu64 ",\"memory_limit_bytes\":%" PRIu64
                ",\"workers\":[",
                stats->uptime_ms, stats->memory_used_bytes, stats->memory_limit_bytes);
  for (size_t i = 0; i < stats->worker_count; i++) {
    lc_buf_str(buf, i > 0 ? "," : "");
    put_worker(buf, &stats->workers[i]);
  }
  lc_buf_str(buf, "],\"groups\":[");
  for (size_t i = 0; i < stats->group_count; i++) {
    lc_buf_str(buf, i > 0 ? "," : "");
    lc_ctl_put_json_group(buf, &stats->groups[i]);
  }
  lc_buf_str(buf, "]}");
}

int lc_ctl_json_stats(const struct lc_ctl_options *options, const union lc_ctl_reply *reply, double time_ms,
                      FILE *out) {
  (void)options;
  (void)time_ms;
  struct lc_buf buf;
  lc_buf_init(&buf);
  lc_ctl_put_json_stats(&buf, &reply->stats);
  return finish(&buf, out);
}

int lc_ctl_json_nodes(const struct lc_ctl_options *options, const union lc_ctl_reply *reply, double time_ms,
                      FILE *out) {
  (void)options;
  (void)time_ms;
  struct lc_buf buf;
  lc_buf_init(&buf);
  lc_buf_char(&buf, '{');
  put_text(&buf, "self", reply->nodes.self);
  lc_buf_char(&buf, ',');
  put_text(&buf, "ring", reply->nodes.ring);
  lc_buf_str(&buf, ",\"nodes\":[");
  for (size_t i = 0; i < reply->nodes.node_count; i++) {
    const struct lc_msg_node *node = &reply->nodes.nodes[i];
    lc_buf_str(&buf, i > 0 ? ",{" : "{");
    put_text(&buf, "address", node->address);
    lc_buf_char(&buf, ',');
    put_text(&buf, "state", node->state);
    lc_buf_printf(&buf, ",\"share\":%.4g}", node->share);
  }
  lc_buf_str(&buf, "]}");
  return finish(&buf, out);
}

int lc_ctl_json_owner(const struct lc_ctl_options *options, const union lc_ctl_reply *reply, double time_ms,
                      FILE *out) {
  (void)options;
  (void)time_ms;
  struct lc_buf buf;
  lc_buf_init(&buf);
  lc_buf_char(&buf, '{');
  put_text(&buf, "address", reply->owner.address);
  lc_buf_printf(&buf, ",\"self\":%s}", reply->owner.self ? "true" : "false");
  return finish(&buf, out);
}
