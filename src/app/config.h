#ifndef LC_APP_CONFIG_H
#define LC_APP_CONFIG_H

#include <stdbool.h>

#include "app/options.h"
#include "base/buf.h"
#include "base/err.h"
#include "base/log.h"
#include "base/parse.h"

/*
 * The settings of a node. They come from the command line, the environment and the script's lcache.configure, in this
 * order of precedence and in whichever order they are applied here. A mistake is a line of text that names where the
 * value came from:
 *
 *   --memory 12XB: not a size, use 256MB
 *   LCACHE_WORKERS=zero: not a number from 1 to 256
 *   app.lua:3: configure: memory "12XB": not a size, use 256MB
 *
 * Mistakes are collected, one a line, so that a user sees all of them at once; a value that a stronger place overrides
 * is checked all the same.
 */
enum lc_config_place { LC_FROM_DEFAULT, LC_FROM_SCRIPT, LC_FROM_ENVIRONMENT, LC_FROM_FLAG };

/* HOST:PORT or off. */
struct lc_config_address {
  bool on;
  struct lc_address address;
};

struct lc_config {
  char *script; /* NULL until given; the configuration's own, as all it points to */
  struct lc_config_address listen, http, advertise;
  struct lc_address *peers; /* of a fixed list; NULL: none given */
  size_t peer_count;
  char **etcd; /* its endpoints, scheme://HOST:PORT; one block with their text. NULL: none given */
  size_t etcd_count;
  char *service;                   /* NULL until lc_config_finish, if not given */
  char *etcd_user, *etcd_password; /* NULL: not given, as the files */
  char *etcd_ca, *etcd_cert, *etcd_key;
  uint64_t weight, lease_ms, join_timeout_ms;
  uint64_t workers, memory_bytes, lua_memory_bytes, buffer_memory_bytes;
  uint64_t cpu_budget_ms, drain_timeout_ms;
  uint64_t max_message_bytes, max_connections, max_streams, source_connections;
  bool jit, check, version, help;
  bool strange_word; /* the command line has a word that is no option: it may have been meant for one */
  enum lc_log_level log_level;
  enum lc_log_format log_format;
  uint8_t from[LC_OPTIONS_MAX]; /* enum lc_config_place, by the option's place in the table */
};

/* The defaults. */
void lc_config_init(struct lc_config *config);
void lc_config_fini(struct lc_config *config);

/* Each: 0; LC_EINVAL with lines added to `mistakes`; LC_ENOMEM. */
int lc_config_flags(struct lc_config *config, int argc, char *const *argv, struct lc_buf *mistakes);
int lc_config_environment(struct lc_config *config, char *const *environment, struct lc_buf *mistakes);

/* Is there such a script at all? As above. */
int lc_config_check_script(const struct lc_config *config, struct lc_buf *mistakes);

/*
 * Names the variables that begin with LCACHE_ but are nobody's, one a line: no mistakes, other programs may use them.
 * 0 or LC_ENOMEM.
 */
int lc_config_strange_variables(char *const *environment, struct lc_buf *lines);

/* One field of lcache.configure; where: "app.lua:3". */
int lc_config_setting(struct lc_config *config, const char *where, const char *name, const char *value,
                      struct lc_buf *mistakes);

/* After all places: what is wrong with the settings taken together; and the defaults that need memory. */
int lc_config_finish(struct lc_config *config, struct lc_buf *mistakes);

/* Where the option got its value from. The name must be one of the table's. */
enum lc_config_place lc_config_from(const struct lc_config *config, const char *name);

#endif
