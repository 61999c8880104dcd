#ifndef LC_APP_OPTIONS_H
#define LC_APP_OPTIONS_H

#include <stdbool.h>
#include <stddef.h>

#include "base/buf.h"

/*
 * The one table of options. An option's name gives the flag (--lua-memory), the environment variable
 * (LCACHE_LUA_MEMORY) and the field of lcache.configure (lua_memory).
 */
enum lc_option_kind {
  LC_OPTION_TEXT,           /* char * */
  LC_OPTION_FILE,           /* the same; there must be such a file, and it can be read */
  LC_OPTION_NAME,           /* the same; goes into a path of names: no slash */
  LC_OPTION_ADDRESS,        /* struct lc_config_address */
  LC_OPTION_ADDRESS_OR_OFF, /* the same */
  LC_OPTION_PEERS,          /* lc_config.peers and peer_count */
  LC_OPTION_ENDPOINTS,      /* lc_config.etcd and etcd_count */
  LC_OPTION_NUMBER,         /* uint64_t */
  LC_OPTION_SIZE,           /* uint64_t, bytes */
  LC_OPTION_DURATION,       /* uint64_t, milliseconds */
  LC_OPTION_SWITCH,         /* bool */
  LC_OPTION_LEVEL,          /* enum lc_log_level */
  LC_OPTION_FORMAT,         /* enum lc_log_format */
  LC_OPTION_UNBUILT,        /* known, and refused: `help` says what is missing */
};

struct lc_option {
  const char *name;
  enum lc_option_kind kind;
  bool flag_only;        /* neither in the environment nor in the script */
  bool before_script;    /* not in the script: needed to find it */
  size_t offset;         /* in struct lc_config */
  const char *operand;   /* as --help shows it; NULL for a switch */
  const char *fallback;  /* the default, as a user would type it; NULL: none */
  const char *min, *max; /* of numbers, sizes and durations, as a user would type them */
  const char *help;
};

#define LC_OPTIONS_MAX 48

extern const struct lc_option lc_options[];
extern const size_t lc_options_count;

/* The option of that name, NULL if there is none. Words are joined by `-` in `name`, or by `separator`. */
const struct lc_option *lc_option_find(const char *name, size_t len, char separator);

/* The name that the user may have meant; NULL if none is near. Ignores whether it has - or _. */
const char *lc_option_nearest(const char *name, size_t len);

/* The option whose environment variable has that name, NULL if there is none. */
const struct lc_option *lc_option_of_variable(const char *name, size_t len);

#define LC_OPTION_NAME_SIZE 48
void lc_option_env_name(const struct lc_option *option, char out[LC_OPTION_NAME_SIZE]);   /* LCACHE_LUA_MEMORY */
void lc_option_field_name(const struct lc_option *option, char out[LC_OPTION_NAME_SIZE]); /* lua_memory */

/* The text of --help. 0 or LC_ENOMEM. */
int lc_options_help(struct lc_buf *out);

#endif
