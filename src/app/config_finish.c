#include <stdio.h>
#include <string.h>

#include "app/config_value.h"
#include "base/alloc.h"

#define ORIGIN_SIZE (LC_OPTION_NAME_SIZE + 16)

static void check_buffer_memory(struct lc_config *config, struct lc_buf *mistakes) {
  char given[LC_SIZE_TEXT], message[LC_SIZE_TEXT];
  uint64_t least = config->workers * config->max_message_bytes;
  if (config->buffer_memory_bytes >= 2 * least)
    return;
  if (lc_config_from(config, "buffer-memory") == LC_FROM_DEFAULT)
    config->buffer_memory_bytes = 2 * least;
  else if (config->buffer_memory_bytes < least)
    lc_buf_printf(mistakes,
                  "buffer-memory: %s is too little for one message (max-message, %s) on each of %llu workers, use at "
                  "least %lluMB\n",
                  lc_format_size(config->buffer_memory_bytes, given),
                  lc_format_size(config->max_message_bytes, message), (unsigned long long)config->workers,
                  ((unsigned long long)least >> 20) + 1);
}

/* The option by the name that it was given under. */
static const char *origin(const struct lc_config *config, const char *name, char out[ORIGIN_SIZE]) {
  const struct lc_option *option = lc_option_find(name, strlen(name), '-');
  char of_place[LC_OPTION_NAME_SIZE];
  switch (lc_config_from(config, name)) {
  case LC_FROM_ENVIRONMENT:
    lc_option_env_name(option, of_place);
    snprintf(out, ORIGIN_SIZE, "%s", of_place);
    break;
  case LC_FROM_SCRIPT:
    lc_option_field_name(option, of_place);
    snprintf(out, ORIGIN_SIZE, "configure: %s", of_place);
    break;
  default:
    snprintf(out, ORIGIN_SIZE, "--%s", name);
  }
  return out;
}

static void check_membership(const struct lc_config *config, struct lc_buf *mistakes) {
  char peers[ORIGIN_SIZE], etcd[ORIGIN_SIZE];
  if (config->peer_count > 0 && config->etcd_count > 0)
    lc_buf_printf(mistakes, "%s and %s are both given, use one of them: a fixed list of nodes, or membership by etcd\n",
                  origin(config, "peers", peers), origin(config, "etcd", etcd));
}

/* Others must be able to reach this node. */
static void check_advertise(const struct lc_config *config, struct lc_buf *mistakes) {
  char from[ORIGIN_SIZE], text[LC_HOST_SIZE + 9];
  const struct lc_config_address *address = config->advertise.on ? &config->advertise : &config->listen;
  lc_format_address(&address->address, text, sizeof text);
  if (!config->advertise.on && lc_config_is_wildcard(&address->address))
    lc_buf_printf(mistakes, "%s %s: no address that other nodes can reach, add --advertise HOST:PORT with one\n",
                  origin(config, "listen", from), text);
  else if (config->advertise.on && (lc_config_is_wildcard(&address->address) || address->address.port == 0))
    lc_buf_printf(mistakes, "%s %s: no address that other nodes can reach, use this node's own HOST:PORT\n",
                  origin(config, "advertise", from), text);
}

static void check_pair(const struct lc_config *config, const char *given, bool has, bool has_other, const char *advice,
                       struct lc_buf *mistakes) {
  char from[ORIGIN_SIZE];
  if (has && !has_other)
    lc_buf_printf(mistakes, "%s: not without %s\n", origin(config, given, from), advice);
}

static void check_cluster(const struct lc_config *config, struct lc_buf *mistakes) {
  check_membership(config, mistakes);
  if (config->peer_count > 0 || config->etcd_count > 0)
    check_advertise(config, mistakes);
  check_pair(config, "etcd-cert", config->etcd_cert, config->etcd_key, "its key, add --etcd-key FILE", mistakes);
  check_pair(config, "etcd-key", config->etcd_key, config->etcd_cert, "its certificate, add --etcd-cert FILE",
             mistakes);
  check_pair(config, "etcd-user", config->etcd_user, config->etcd_password, "a password, set LCACHE_ETCD_PASSWORD",
             mistakes);
  check_pair(config, "etcd-password", config->etcd_password, config->etcd_user, "a user, add --etcd-user NAME",
             mistakes);
}

static int name_service(struct lc_config *config) {
  if (!config->service)
    config->service = lc_strdup(lc_option_find("service", strlen("service"), '-')->fallback);
  return config->service ? LC_OK : LC_ENOMEM;
}

int lc_config_finish(struct lc_config *config, struct lc_buf *mistakes) {
  size_t before = mistakes->len;
  if (!config->script && !config->strange_word)
    lc_buf_str(mistakes, "--script is missing: lcache --script app.lua (see lcache --help)\n");
  check_buffer_memory(config, mistakes);
  check_cluster(config, mistakes);
  if (mistakes->failed || name_service(config))
    return LC_ENOMEM;
  return mistakes->len > before ? LC_EINVAL : LC_OK;
}
