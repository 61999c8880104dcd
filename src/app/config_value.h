#ifndef LC_APP_CONFIG_VALUE_H
#define LC_APP_CONFIG_VALUE_H

#include "app/config.h"

/* One value of an option: from the word that says it to its field in the configuration. Private to config*.c. */

#define LC_CONFIG_SHOWN_MAX 256 /* of a value, in a message */
#define LC_CONFIG_LIST_MAX 1024 /* nodes or endpoints in one list */

struct lc_config_value {
  void *block; /* owned: a text, or the elements of a list */
  size_t count;
  struct lc_config_address address;
  uint64_t number;
  bool on;
  enum lc_log_level level;
  enum lc_log_format format;
};

/* 0; LC_EINVAL or LC_EUNSUPPORTED with a message that doesn't repeat the word; LC_ENOMEM. */
int lc_config_value_parse(struct lc_config_value *value, const struct lc_option *option, const char *word,
                          struct lc_err *err);

/* Puts the value into the option's field; what it owns is the configuration's then, and what the field owned is gone.
 */
void lc_config_value_store(struct lc_config_value *value, const struct lc_option *option, struct lc_config *config);
void lc_config_value_fini(struct lc_config_value *value);

/* Why the file can't be read, NULL if it can. */
const char *lc_config_file_fault(const char *path);

/* 0.0.0.0 or [::]: all addresses of a machine, and none that others could reach it by. */
bool lc_config_is_wildcard(const struct lc_address *address);

/* A user's word in a message: cut, and on one line. Returns `out`. */
const char *lc_config_shown(const char *word, char out[LC_CONFIG_SHOWN_MAX + 4]);

#endif
