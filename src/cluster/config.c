/* A copy of its own of all that the configuration points to. */
#include <string.h>

#include "base/alloc.h"
#include "cluster/control.h"

static bool copy_text(const char **text) {
  if (!*text)
    return true;
  *text = lc_strdup(*text);
  return *text != NULL;
}

static bool copy_endpoints(struct lc_cluster_config *config) {
  const char *const *from = config->etcd;
  const char **endpoints = lc_calloc(config->etcd_count + 1, sizeof *endpoints);
  config->etcd = endpoints;
  if (!endpoints)
    return false;
  for (size_t i = 0; i < config->etcd_count; i++) {
    endpoints[i] = lc_strdup(from[i]);
    if (!endpoints[i])
      return false;
  }
  return true;
}

static bool copy_peers(struct lc_cluster_config *config) {
  struct lc_address *peers = lc_calloc(config->peer_count + 1, sizeof *peers);
  if (peers && config->peer_count > 0)
    memcpy(peers, config->peers, config->peer_count * sizeof *peers);
  config->peers = peers;
  return peers != NULL;
}

int lc_cluster_config_copy(const struct lc_cluster_config *from, struct lc_cluster_config *to) {
  *to = *from;
  /* All of it in any case: each field is then a copy, or NULL. */
  bool ok = copy_text(&to->service);
  ok &= copy_text(&to->etcd_user);
  ok &= copy_text(&to->etcd_password);
  ok &= copy_text(&to->etcd_tls.ca_file);
  ok &= copy_text(&to->etcd_tls.cert_file);
  ok &= copy_text(&to->etcd_tls.key_file);
  ok &= copy_endpoints(to);
  ok &= copy_peers(to);
  return ok ? LC_OK : LC_ENOMEM;
}

void lc_cluster_config_free(struct lc_cluster_config *config) {
  for (size_t i = 0; config->etcd && i < config->etcd_count; i++)
    lc_free((void *)(uintptr_t)config->etcd[i]);
  const void *blocks[] = {config->etcd,
                          config->peers,
                          config->service,
                          config->etcd_user,
                          config->etcd_password,
                          config->etcd_tls.ca_file,
                          config->etcd_tls.cert_file,
                          config->etcd_tls.key_file};
  for (size_t i = 0; i < sizeof blocks / sizeof *blocks; i++)
    lc_free((void *)(uintptr_t)blocks[i]);
}
