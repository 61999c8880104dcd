#include "app/config.h"

#include <assert.h>
#include <string.h>
#include <unistd.h>

#include "app/config_value.h"
#include "base/alloc.h"

/* Where a value came from. */
struct place {
  enum lc_config_place kind;
  const char *where; /* LC_FROM_SCRIPT: the file and line */
};

static int mistake(const struct place *place, const struct lc_option *option, const char *word, const char *what,
                   struct lc_buf *mistakes) {
  char name[LC_OPTION_NAME_SIZE], text[LC_CONFIG_SHOWN_MAX + 4];
  bool has_secret = option->kind == LC_OPTION_ENDPOINTS && strchr(word, '@');
  lc_config_shown(has_secret ? "..." : word, text);
  switch (place->kind) {
  case LC_FROM_ENVIRONMENT:
    lc_option_env_name(option, name);
    lc_buf_printf(mistakes, "%s=%s: %s\n", name, text, what);
    break;
  case LC_FROM_SCRIPT:
    lc_option_field_name(option, name);
    lc_buf_printf(mistakes, "%s: configure: %s \"%s\": %s\n", place->where, name, text, what);
    break;
  default:
    if (option->kind == LC_OPTION_UNBUILT && !*text)
      lc_buf_printf(mistakes, "--%s: %s\n", option->name, what);
    else
      lc_buf_printf(mistakes, "--%s %s: %s\n", option->name, *text ? text : "\"\"", what);
  }
  return mistakes->failed ? LC_ENOMEM : LC_EINVAL;
}

static int apply(struct lc_config *config, const struct place *place, const struct lc_option *option, const char *word,
                 struct lc_buf *mistakes) {
  struct lc_config_value value = {0};
  struct lc_err err = {0};
  int code = lc_config_value_parse(&value, option, word, &err);
  if (code == LC_ENOMEM)
    return code;
  if (code)
    return mistake(place, option, word, err.msg, mistakes);
  uint8_t *from = &config->from[option - lc_options];
  if (place->kind >= *from) {
    lc_config_value_store(&value, option, config);
    *from = (uint8_t)place->kind;
  }
  lc_config_value_fini(&value);
  return LC_OK;
}

static uint64_t cpus(void) {
  long count = sysconf(_SC_NPROCESSORS_ONLN);
  return count < 1 ? 1 : count > 256 ? 256 : (uint64_t)count;
}

void lc_config_init(struct lc_config *config) {
  *config = (struct lc_config){.workers = cpus()};
  const struct place place = {.kind = LC_FROM_DEFAULT};
  for (size_t i = 0; i < lc_options_count; i++) {
    if (!lc_options[i].fallback || lc_options[i].kind == LC_OPTION_NAME)
      continue; /* a name needs memory: lc_config_finish */
    struct lc_buf none;
    lc_buf_init(&none);
    int code = apply(config, &place, &lc_options[i], lc_options[i].fallback, &none);
    assert(code == LC_OK);
    (void)code;
    lc_buf_fini(&none);
  }
}

void lc_config_fini(struct lc_config *config) {
  char **const texts[] = {&config->script,  &config->service,   &config->etcd_user, &config->etcd_password,
                          &config->etcd_ca, &config->etcd_cert, &config->etcd_key};
  for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
    lc_free(*texts[i]);
    *texts[i] = NULL;
  }
  lc_free(config->peers);
  lc_free(config->etcd);
  config->peers = NULL;
  config->etcd = NULL;
  config->peer_count = config->etcd_count = 0;
}

enum lc_config_place lc_config_from(const struct lc_config *config, const char *name) {
  const struct lc_option *option = lc_option_find(name, strlen(name), '-');
  assert(option);
  return (enum lc_config_place)config->from[option - lc_options];
}

/* Keeps the first failure, but "no memory" before all. */
static void keep(int *code, int next) {
  if (*code == LC_OK || next == LC_ENOMEM)
    *code = next;
}

static int unknown_flag(const char *argument, size_t len, struct lc_buf *mistakes) {
  const char *nearest = lc_option_nearest(argument + 2, len - 2);
  char text[LC_CONFIG_SHOWN_MAX + 4];
  lc_buf_printf(mistakes, "%.*s: unknown option, ", (int)len, lc_config_shown(argument, text));
  if (nearest)
    lc_buf_printf(mistakes, "did you mean --%s?\n", nearest);
  else
    lc_buf_str(mistakes, "see lcache --help\n");
  return mistakes->failed ? LC_ENOMEM : LC_EINVAL;
}

static int not_a_flag(const char *argument, struct lc_buf *mistakes) {
  char text[LC_CONFIG_SHOWN_MAX + 4];
  lc_config_shown(argument, text);
  size_t len = strlen(text);
  if (len > 4 && strcmp(text + len - 4, ".lua") == 0)
    lc_buf_printf(mistakes, "%s: not an option, use --script %s\n", text, text);
  else
    lc_buf_printf(mistakes, "%s: not an option, see lcache --help\n", *text ? text : "\"\"");
  return mistakes->failed ? LC_ENOMEM : LC_EINVAL;
}

static int no_value(const struct lc_option *option, struct lc_buf *mistakes) {
  return lc_buf_printf(mistakes, "--%s: needs a value, %s\n", option->name, option->operand) ? LC_ENOMEM : LC_EINVAL;
}

/* The word after an unknown flag is most likely its value: nothing to complain of on its own. */
static int strange_flag(struct lc_config *config, int argc, char *const *argv, int *i, size_t len,
                        struct lc_buf *mistakes) {
  const char *argument = argv[*i];
  config->strange_word = true;
  if (!argument[len] && *i + 1 < argc && argv[*i + 1][0] != '-')
    ++*i;
  return unknown_flag(argument, len, mistakes);
}

/* Applies the argument at *i, and the next one if that is its value. */
static int apply_flag(struct lc_config *config, int argc, char *const *argv, int *i, struct lc_buf *mistakes) {
  const struct place place = {.kind = LC_FROM_FLAG};
  const char *argument = strcmp(argv[*i], "-h") == 0 ? "--help" : argv[*i];
  if (strncmp(argument, "--", 2) != 0 || !argument[2]) {
    config->strange_word = true;
    return not_a_flag(argument, mistakes);
  }
  const char *value = strchr(argument, '=');
  size_t len = value ? (size_t)(value - argument) : strlen(argument);
  const struct lc_option *option = lc_option_find(argument + 2, len - 2, '-');
  if (!option)
    return strange_flag(config, argc, argv, i, len, mistakes);
  if (value)
    value++;
  else if (option->kind == LC_OPTION_SWITCH)
    value = "on";
  else if (*i + 1 < argc && strncmp(argv[*i + 1], "--", 2) != 0)
    value = argv[++*i];
  else if (option->kind == LC_OPTION_UNBUILT)
    value = "";
  else
    return no_value(option, mistakes);
  return apply(config, &place, option, value, mistakes);
}

int lc_config_flags(struct lc_config *config, int argc, char *const *argv, struct lc_buf *mistakes) {
  int code = LC_OK;
  for (int i = 1; i < argc; i++)
    keep(&code, apply_flag(config, argc, argv, &i, mistakes));
  return code;
}

int lc_config_environment(struct lc_config *config, char *const *environment, struct lc_buf *mistakes) {
  const struct place place = {.kind = LC_FROM_ENVIRONMENT};
  int code = LC_OK;
  for (size_t i = 0; i < lc_options_count; i++) {
    char name[LC_OPTION_NAME_SIZE];
    lc_option_env_name(&lc_options[i], name);
    size_t len = strlen(name);
    for (char *const *entry = environment; *entry && !lc_options[i].flag_only; entry++) {
      /* An empty variable counts as none: that is how a shell or a compose file takes one back. */
      if (strncmp(*entry, name, len) == 0 && (*entry)[len] == '=' && (*entry)[len + 1])
        keep(&code, apply(config, &place, &lc_options[i], *entry + len + 1, mistakes));
    }
  }
  return code;
}

int lc_config_check_script(const struct lc_config *config, struct lc_buf *mistakes) {
  const struct lc_option *option = lc_option_find("script", strlen("script"), '-');
  const struct place place = {.kind = lc_config_from(config, "script")};
  const char *fault = lc_config_file_fault(config->script);
  return fault ? mistake(&place, option, config->script, fault, mistakes) : LC_OK;
}

/* Not an option's, yet somebody's: scripts', lcachectl's, those that Kubernetes makes for a service named lcache. */
static bool is_known_variable(const char *name, size_t len) {
  static const char *const whole[] = {"SECRETS_DIR", "SERVER", "BIN_DIR", "PRESET", "PORT"};
  static const char *const begun[] = {"SECRET_", "SERVICE_", "PORT_"};
  for (size_t i = 0; i < sizeof whole / sizeof whole[0]; i++) {
    if (strlen(whole[i]) == len && strncmp(name, whole[i], len) == 0)
      return true;
  }
  for (size_t i = 0; i < sizeof begun / sizeof begun[0]; i++) {
    if (strncmp(name, begun[i], strlen(begun[i])) == 0)
      return true;
  }
  return false;
}

static void name_strange_variable(const char *variable, size_t len, const char *name, struct lc_buf *lines) {
  char text[LC_CONFIG_SHOWN_MAX + 4];
  const char *nearest = lc_option_nearest(name, len - (size_t)(name - variable));
  const struct lc_option *option = nearest ? lc_option_find(nearest, strlen(nearest), '-') : NULL;
  lc_buf_printf(lines, "%.*s is not an option", (int)len, lc_config_shown(variable, text));
  if (option && option->flag_only)
    lc_buf_printf(lines, ", did you mean the flag --%s?", option->name);
  else if (option) {
    char right[LC_OPTION_NAME_SIZE];
    lc_option_env_name(option, right);
    lc_buf_printf(lines, ", did you mean %s?", right);
  }
  lc_buf_char(lines, '\n');
}

int lc_config_strange_variables(char *const *environment, struct lc_buf *lines) {
  static const char prefix[] = "LCACHE_";
  for (char *const *entry = environment; *entry; entry++) {
    size_t len = strcspn(*entry, "=");
    if (strncmp(*entry, prefix, sizeof prefix - 1) != 0 || !(*entry)[len] || !(*entry)[len + 1])
      continue;
    const char *name = *entry + sizeof prefix - 1;
    size_t name_len = len - (sizeof prefix - 1);
    const struct lc_option *option = lc_option_of_variable(*entry, len);
    if ((!option || option->flag_only) && !is_known_variable(name, name_len))
      name_strange_variable(*entry, len, name, lines);
  }
  return lines->failed ? LC_ENOMEM : LC_OK;
}

static int unknown_field(const char *where, const char *name, struct lc_buf *mistakes) {
  const char *nearest = lc_option_nearest(name, strlen(name));
  const struct lc_option *option = nearest ? lc_option_find(nearest, strlen(nearest), '-') : NULL;
  char text[LC_CONFIG_SHOWN_MAX + 4];
  lc_buf_printf(mistakes, "%s: configure: unknown field \"%s\"", where, lc_config_shown(name, text));
  if (option && !option->flag_only && !option->before_script) {
    char field[LC_OPTION_NAME_SIZE];
    lc_option_field_name(option, field);
    lc_buf_printf(mistakes, ", did you mean \"%s\"?", field);
  }
  return lc_buf_char(mistakes, '\n') ? LC_ENOMEM : LC_EINVAL;
}

int lc_config_setting(struct lc_config *config, const char *where, const char *name, const char *value,
                      struct lc_buf *mistakes) {
  const struct place place = {.kind = LC_FROM_SCRIPT, .where = where};
  const struct lc_option *option = lc_option_find(name, strlen(name), '_');
  if (!option)
    return unknown_field(where, name, mistakes);
  if (option->flag_only || option->before_script)
    return lc_buf_printf(mistakes, "%s: configure: %s can't be set in the script\n", where, name) ? LC_ENOMEM
                                                                                                  : LC_EINVAL;
  return apply(config, &place, option, value, mistakes);
}
