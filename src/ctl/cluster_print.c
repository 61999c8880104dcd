#include <inttypes.h>
#include <string.h>

#include "ctl/cluster.h"
#include "wire/grpc.h"

#define NAME_WIDTH 24

/* A name in a column of its own. */
static void put_name(struct lc_slice name, FILE *out) {
  int columns = lc_ctl_put_escaped(name, out);
  fprintf(out, "%*s", columns < NAME_WIDTH ? NAME_WIDTH - columns : 0, "");
}

static const struct lc_msg_group_stats *group_of(const struct lc_ctl_cluster_node *node, struct lc_slice name) {
  for (size_t i = 0; node->has_stats && i < node->stats.group_count; i++) {
    if (lc_slice_eq(node->stats.groups[i].name, name))
      return &node->stats.groups[i];
  }
  return NULL;
}

static uint64_t field_of(const struct lc_msg_group_stats *group, size_t index) {
  uint64_t value;
  memcpy(&value, (const char *)group + lc_ctl_group_fields[index].offset, sizeof(value));
  return value;
}

/* All nodes' counters of one group, added up. */
static struct lc_msg_group_stats total_of(const struct lc_ctl_cluster *cluster, struct lc_slice name) {
  struct lc_msg_group_stats total = {.name = name};
  for (size_t n = 0; n < cluster->members.node_count; n++) {
    const struct lc_msg_group_stats *group = group_of(&cluster->nodes[n], name);
    for (size_t i = 0; group && i < lc_ctl_group_field_count; i++) {
      uint64_t sum = field_of(&total, i) + field_of(group, i);
      memcpy((char *)&total + lc_ctl_group_fields[i].offset, &sum, sizeof(sum));
    }
  }
  return total;
}

/* True if a node before this one has the group already: each is shown where it is first met. */
static bool was_shown(const struct lc_ctl_cluster *cluster, size_t before, struct lc_slice name) {
  for (size_t n = 0; n < before; n++) {
    if (group_of(&cluster->nodes[n], name))
      return true;
  }
  return false;
}

/* Calls `each` for every group of the cluster, once. */
static void each_group(const struct lc_ctl_cluster *cluster,
                       void (*each)(const struct lc_ctl_cluster *cluster, struct lc_slice name, void *arg), void *arg) {
  for (size_t n = 0; n < cluster->members.node_count; n++) {
    const struct lc_ctl_cluster_node *node = &cluster->nodes[n];
    for (size_t i = 0; node->has_stats && i < node->stats.group_count; i++) {
      struct lc_slice name = node->stats.groups[i].name;
      if (!was_shown(cluster, n, name))
        each(cluster, name, arg);
    }
  }
}

/* ---- text ---- */

static void put_node(const struct lc_ctl_cluster_node *node, FILE *out) {
  put_name(node->node->address, out);
  fprintf(out, " %-8.*s", (int)node->node->state.len, (const char *)node->node->state.ptr);
  if (node->has_stats) {
    fprintf(out, " %10.1f s %14" PRIu64 " of %" PRIu64 "\n", (double)node->stats.uptime_ms / 1000.0,
            node->stats.memory_used_bytes, node->stats.memory_limit_bytes);
  } else if (node->status != LC_GRPC_OK) {
    fprintf(out, " %s: ", lc_grpc_status_name(node->status));
    lc_ctl_put_escaped(lc_slice_str(node->message), out);
    fputc('\n', out);
  } else {
    fputs(" (not asked)\n", out);
  }
}

static void put_row(struct lc_slice name, const struct lc_msg_group_stats *group, FILE *out) {
  put_name(name, out);
  fprintf(out, " %12" PRIu64 " %14" PRIu64 " %12" PRIu64 " %12" PRIu64 " %12" PRIu64, group->items, group->bytes,
          group->gets, group->hits, group->loads);
  double rate = lc_ctl_hit_rate(group);
  if (rate >= 0)
    fprintf(out, " %8.1f%%\n", rate);
  else
    fprintf(out, " %9s\n", "-");
}

static void put_group(const struct lc_ctl_cluster *cluster, struct lc_slice name, void *arg) {
  FILE *out = arg;
  fputs("\ngroup ", out);
  lc_ctl_put_escaped(name, out);
  fprintf(out, "\n%-*s %12s %14s %12s %12s %12s %9s\n", NAME_WIDTH, "NODE", "ITEMS", "BYTES", "GETS", "HITS", "LOADS",
          "HIT RATE");
  for (size_t n = 0; n < cluster->members.node_count; n++) {
    const struct lc_msg_group_stats *group = group_of(&cluster->nodes[n], name);
    if (group)
      put_row(cluster->nodes[n].node->address, group, out);
  }
  struct lc_msg_group_stats total = total_of(cluster, name);
  put_row(lc_slice_str("all"), &total, out);
}

int lc_ctl_cluster_text(const struct lc_ctl_cluster *cluster, FILE *out) {
  fprintf(out, "ring %.*s\n%-*s %-8s %12s %s\n", (int)cluster->members.ring.len,
          (const char *)cluster->members.ring.ptr, NAME_WIDTH, "NODE", "STATE", "UPTIME", "  MEMORY BYTES");
  for (size_t n = 0; n < cluster->members.node_count; n++)
    put_node(&cluster->nodes[n], out);
  each_group(cluster, put_group, out);
  return LC_CTL_OK;
}

/* ---- JSON ---- */

static void put_json_node(struct lc_buf *buf, const struct lc_ctl_cluster_node *node) {
  lc_buf_str(buf, "{\"address\":");
  lc_buf_json(buf, node->node->address);
  lc_buf_str(buf, ",\"state\":");
  lc_buf_json(buf, node->node->state);
  if (node->has_stats) {
    lc_buf_str(buf, ",\"stats\":");
    lc_ctl_put_json_stats(buf, &node->stats);
  } else if (node->status != LC_GRPC_OK) {
    lc_buf_printf(buf, ",\"code\":\"%s\",\"message\":", lc_grpc_status_name(node->status));
    lc_buf_json(buf, lc_slice_str(node->message));
  }
  lc_buf_char(buf, '}');
}

struct json_groups {
  struct lc_buf *buf;
  size_t count;
};

static void put_json_total(const struct lc_ctl_cluster *cluster, struct lc_slice name, void *arg) {
  struct json_groups *groups = arg;
  struct lc_msg_group_stats total = total_of(cluster, name);
  lc_buf_str(groups->buf, groups->count++ > 0 ? "," : "");
  lc_ctl_put_json_group(groups->buf, &total);
}

int lc_ctl_cluster_json(const struct lc_ctl_cluster *cluster, FILE *out) {
  struct lc_buf buf;
  struct json_groups groups = {.buf = &buf};
  lc_buf_init(&buf);
  lc_buf_str(&buf, "{\"ring\":");
  lc_buf_json(&buf, cluster->members.ring);
  lc_buf_str(&buf, ",\"nodes\":[");
  for (size_t n = 0; n < cluster->members.node_count; n++) {
    lc_buf_str(&buf, n > 0 ? "," : "");
    put_json_node(&buf, &cluster->nodes[n]);
  }
  lc_buf_str(&buf, "],\"groups\":[");
  each_group(cluster, put_json_total, &groups);
  lc_buf_str(&buf, "]}\n");
  bool failed = buf.failed || fwrite(buf.data, 1, buf.len, out) != buf.len;
  lc_buf_fini(&buf);
  return failed ? LC_CTL_FAILED : LC_CTL_OK;
}
