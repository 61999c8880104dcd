#include <inttypes.h>
#include <string.h>
#include <unistd.h>

#include "base/utf8.h"
#include "ctl/commands.h"
#include "wire/grpc.h"

/* What people read. A value goes out as it is; only a terminal gets a line's end after it. */

#define KEY_WIDTH_MAX 60 /* of a column */

static int width(struct lc_slice text) {
  return (int)(text.len > 200 ? 200 : text.len);
}

static void put_value(struct lc_slice value, FILE *out) {
  if (value.len > 0)
    fwrite(value.ptr, 1, value.len, out);
  bool ended = value.len > 0 && value.ptr[value.len - 1] == '\n';
  if (!ended && isatty(fileno(out)))
    fputc('\n', out);
}

int lc_ctl_text_get(const struct lc_ctl_options *options, const union lc_ctl_reply *reply, FILE *out) {
  (void)options;
  put_value(reply->get.value, out);
  return LC_CTL_OK;
}

int lc_ctl_text_none(const struct lc_ctl_options *options, const union lc_ctl_reply *reply, FILE *out) {
  (void)options;
  (void)reply;
  (void)out;
  return LC_CTL_OK;
}

int lc_ctl_text_delete(const struct lc_ctl_options *options, const union lc_ctl_reply *reply, FILE *out) {
  (void)options;
  fputs(reply->deleted.deleted ? "deleted\n" : "was not there\n", out);
  return LC_CTL_OK;
}

static bool is_control(struct lc_slice text, size_t at, size_t len) {
  uint8_t c = text.ptr[at];
  return len == 0 || c < 0x20 || c == 0x7f || (c == 0xc2 && text.ptr[at + 1] < 0xa0);
}

int lc_ctl_put_escaped(struct lc_slice text, FILE *out) {
  int columns = 0;
  for (size_t at = 0; at < text.len;) {
    size_t len = lc_utf8_char_len(text, at);
    bool control = is_control(text, at, len);
    len = len ? len : 1;
    if (control)
      columns += 4 * (int)len;
    else
      columns++;
    for (size_t i = 0; out && i < len; i++)
      fprintf(out, control ? "\\x%02x" : "%c", text.ptr[at + i]);
    at += len;
  }
  return columns;
}

int lc_ctl_text_batch(const struct lc_ctl_options *options, const union lc_ctl_reply *reply, FILE *out) {
  (void)options;
  int key_width = 3;
  for (size_t i = 0; i < reply->batch.result_count; i++) {
    int columns = lc_ctl_put_escaped(reply->batch.results[i].key, NULL);
    key_width = columns > key_width && columns <= KEY_WIDTH_MAX ? columns : key_width;
  }
  fprintf(out, "%-*s  %-18s  %s\n", key_width, "KEY", "FROM", "VALUE");
  for (size_t i = 0; i < reply->batch.result_count; i++) {
    const struct lc_msg_batch_result *result = &reply->batch.results[i];
    bool ok = result->code == LC_GRPC_OK;
    int columns = lc_ctl_put_escaped(result->key, out);
    const char *from = ok ? lc_ctl_from_name(result->served_from) : lc_grpc_status_name(result->code);
    fprintf(out, "%*s  %-18s  ", columns < key_width ? key_width - columns : 0, "", from);
    lc_ctl_put_escaped(ok ? result->value : result->message, out);
    fputc('\n', out);
  }
  return lc_ctl_batch_exit(&reply->batch);
}

static void put_workers(const struct lc_msg_stats_response *stats, FILE *out) {
  fprintf(out, "\n%-7s %12s %14s %12s %14s %12s\n", "WORKER", "CONNECTIONS", "REQUESTS", "LOADS", "BUFFER BYTES",
          "LUA BYTES");
  for (size_t i = 0; i < stats->worker_count; i++) {
    const struct lc_msg_worker_stats *worker = &stats->workers[i];
    fprintf(out, "%-7" PRIu32 " %12" PRIu64 " %14" PRIu64 " %12" PRIu64 " %14" PRIu64 " %12" PRIu64 "\n", worker->index,
            worker->connections, worker->requests, worker->loads, worker->buffer_bytes, worker->lua_bytes);
  }
}

double lc_ctl_hit_rate(const struct lc_msg_group_stats *group) {
  uint64_t passed_on = group->forwards > group->forward_fails ? group->forwards - group->forward_fails : 0;
  uint64_t own = group->gets > passed_on ? group->gets - passed_on : 0;
  if (own < group->hits) /* the counters aren't all read in one moment */
    own = group->hits;
  return own > 0 ? 100.0 * (double)group->hits / (double)own : -1;
}

static void put_group(const struct lc_msg_group_stats *group, FILE *out) {
  fprintf(out, "\ngroup %.*s\n", width(group->name), (const char *)group->name.ptr);
  for (size_t i = 0; i < lc_ctl_group_field_count; i++) {
    uint64_t value;
    memcpy(&value, (const char *)group + lc_ctl_group_fields[i].offset, sizeof(value));
    fprintf(out, "  %-16s %14" PRIu64 "\n", lc_ctl_group_fields[i].name, value);
  }
  double rate = lc_ctl_hit_rate(group);
  if (rate >= 0)
    fprintf(out, "  %-16s %13.1f%%\n", "hit_rate", rate);
}

int lc_ctl_text_stats(const struct lc_ctl_options *options, const union lc_ctl_reply *reply, FILE *out) {
  (void)options;
  const struct lc_msg_stats_response *stats = &reply->stats;
  fprintf(out, "node    %.*s\nversion %.*s\nuptime  %.1f s\nmemory  %" PRIu64 " of %" PRIu64 " bytes\n",
          width(stats->node), (const char *)stats->node.ptr, width(stats->version), (const char *)stats->version.ptr,
          (double)stats->uptime_ms / 1000.0, stats->memory_used_bytes, stats->memory_limit_bytes);
  put_workers(stats, out);
  for (size_t i = 0; i < stats->group_count; i++)
    put_group(&stats->groups[i], out);
  return LC_CTL_OK;
}

int lc_ctl_text_nodes(const struct lc_ctl_options *options, const union lc_ctl_reply *reply, FILE *out) {
  (void)options;
  const struct lc_msg_nodes_response *nodes = &reply->nodes;
  fprintf(out, "ring %.*s\n%-24s %-8s %6s\n", width(nodes->ring), (const char *)nodes->ring.ptr, "NODE", "STATE",
          "SHARE");
  for (size_t i = 0; i < nodes->node_count; i++) {
    const struct lc_msg_node *node = &nodes->nodes[i];
    bool self = lc_slice_eq(node->address, nodes->self);
    fprintf(out, "%-24.*s %-8.*s %5.1f%%%s\n", width(node->address), (const char *)node->address.ptr,
            width(node->state), (const char *)node->state.ptr, 100.0 * node->share, self ? "  (asked)" : "");
  }
  return LC_CTL_OK;
}

int lc_ctl_text_owner(const struct lc_ctl_options *options, const union lc_ctl_reply *reply, FILE *out) {
  (void)options;
  fprintf(out, "%.*s\n", width(reply->owner.address), (const char *)reply->owner.address.ptr);
  return LC_CTL_OK;
}
