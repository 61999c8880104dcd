#include "app/node_internal.h"

/* How a node joins the others, and leaves them; on the main thread. */

bool lc_node_has_peers(const struct lc_node *node) {
  const struct lc_config *settings = &node->setup->config;
  return settings->peer_count > 0 || settings->etcd_count > 0;
}

int lc_node_create_cluster(struct lc_node *node, struct lc_err *err) {
  const struct lc_config *settings = &node->setup->config;
  if (!lc_node_has_peers(node))
    return LC_OK;
  struct lc_cluster_config config = {
      .exec = &node->exec,
      .log = node->log,
      .weight = (unsigned)settings->weight,
      .max_message = (size_t)settings->max_message_bytes,
      .lease_ms = settings->lease_ms,
      .join_timeout_ms = settings->join_timeout_ms,
      .peers = settings->peers,
      .peer_count = settings->peer_count,
      .etcd = (const char *const *)settings->etcd,
      .etcd_count = settings->etcd_count,
      .service = settings->service,
      .etcd_user = settings->etcd_user,
      .etcd_password = settings->etcd_password,
      .etcd_tls = {settings->etcd_ca, settings->etcd_cert, settings->etcd_key},
  };
  lc_node_address(node, &config.advertise);
  if (settings->advertise.on)
    config.advertise = settings->advertise.address;
  return lc_cluster_create(&config, &node->cluster, err);
}

static void on_joined(void *arg) {
  struct lc_node *node = arg;
  atomic_store(&node->joined, true);
  uv_async_send(&node->wake);
}

int lc_node_start_cluster(struct lc_node *node, struct lc_err *err) {
  if (!node->cluster)
    return LC_OK;
  int code = lc_cluster_start(node->cluster, on_joined, node, err);
  node->cluster_started = code == LC_OK;
  return code;
}

static void on_left(void *arg) {
  struct lc_node *node = arg;
  atomic_store(&node->left, true);
  uv_async_send(&node->wake);
}

void lc_node_leave_cluster(struct lc_node *node) {
  node->phase = LC_NODE_HANDING_OVER;
  if (!node->cluster_started) {
    atomic_store(&node->left, true);
    return;
  }
  uint64_t timeout_ms = node->setup->config.drain_timeout_ms;
  lc_log_event(node->log, LC_LOG_INFO, "leaving the cluster", LC_F_INT("timeout_ms", timeout_ms));
  lc_services_drain(node->services);
  lc_cluster_leave(node->cluster, timeout_ms, on_left, node);
}
