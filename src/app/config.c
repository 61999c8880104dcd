#include "app/config.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <strings.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/alloc.h"

#define SHOWN_MAX 256 /* of a value, in a message */

/* Where a value came from. */
struct place {
  enum lc_config_place kind;
  const char *where; /* LC_FROM_SCRIPT: the file and line */
};

struct value {
  char *text; /* LC_OPTION_TEXT: owned */
  struct lc_config_address address;
  uint64_t number;
  bool on;
  enum lc_log_level level;
  enum lc_log_format format;
};

static void *field_of(struct lc_config *config, const struct lc_option *option) {
  return (char *)config + option->offset;
}

static int parse_switch(const char *word, bool *on, struct lc_err *err) {
  static const char *const words[2][4] = {{"off", "false", "no", "0"}, {"on", "true", "yes", "1"}};
  for (size_t i = 0; i < 8; i++) {
    if (strcasecmp(word, words[i / 4][i % 4]) == 0) {
      *on = i / 4 == 1;
      return LC_OK;
    }
  }
  return lc_err_set(err, LC_EINVAL, "neither on nor off");
}

static int parse_kind(enum lc_option_kind kind, const char *word, uint64_t *number, struct lc_err *err) {
  switch (kind) {
  case LC_OPTION_SIZE:
    return lc_parse_size(word, number, err);
  case LC_OPTION_DURATION:
    return lc_parse_duration_ms(word, number, err);
  default:
    return lc_parse_uint(word, 0, UINT64_MAX, number, err);
  }
}

/* The parsers of base/ put the word itself in front of what is wrong with it; here the message names it its own way. */
static int without_word(const char *word, struct lc_err *err) {
  size_t shown = *word ? strnlen(word, SHOWN_MAX) : strlen("\"\"");
  assert(strncmp(err->msg + shown, ": ", 2) == 0);
  memmove(err->msg, err->msg + shown + 2, strlen(err->msg + shown + 2) + 1);
  return err->code;
}

static int parse_number(const struct lc_option *option, const char *word, uint64_t *number, struct lc_err *err) {
  uint64_t min = 0, max = 0;
  parse_kind(option->kind, option->min, &min, NULL);
  parse_kind(option->kind, option->max, &max, NULL);
  if (option->kind == LC_OPTION_NUMBER)
    return lc_parse_uint(word, min, max, number, err) ? without_word(word, err) : LC_OK;
  if (parse_kind(option->kind, word, number, err))
    return without_word(word, err);
  if (*number < min)
    return lc_err_set(err, LC_EINVAL, "too little, use at least %s", option->min);
  if (*number > max)
    return lc_err_set(err, LC_EINVAL, "too much, use at most %s", option->max);
  return LC_OK;
}

static int parse_address(const struct lc_option *option, const char *word, struct lc_config_address *out,
                         struct lc_err *err) {
  out->on = !(option->kind == LC_OPTION_ADDRESS_OR_OFF && strcmp(word, "off") == 0);
  if (!out->on)
    return LC_OK;
  int code = lc_parse_address(word, &out->address, err) ? without_word(word, err) : LC_OK;
  if (code && option->kind == LC_OPTION_ADDRESS_OR_OFF) {
    const struct lc_err plain = *err;
    lc_err_set(err, code, "%s, or off", plain.msg);
  }
  return code;
}

static int parse_text(const char *word, char **text, struct lc_err *err) {
  if (!*word)
    return lc_err_set(err, LC_EINVAL, "is empty");
  *text = lc_strdup(word);
  return *text ? LC_OK : LC_ENOMEM;
}

static int parse(const struct lc_option *option, const char *word, struct value *value, struct lc_err *err) {
  switch (option->kind) {
  case LC_OPTION_TEXT:
    return parse_text(word, &value->text, err);
  case LC_OPTION_ADDRESS:
  case LC_OPTION_ADDRESS_OR_OFF:
    return parse_address(option, word, &value->address, err);
  case LC_OPTION_NUMBER:
  case LC_OPTION_SIZE:
  case LC_OPTION_DURATION:
    return parse_number(option, word, &value->number, err);
  case LC_OPTION_SWITCH:
    return parse_switch(word, &value->on, err);
  case LC_OPTION_LEVEL:
    return lc_log_parse_level(word, &value->level)
               ? lc_err_set(err, LC_EINVAL, "not a level, use debug, info, warn or error")
               : LC_OK;
  case LC_OPTION_FORMAT:
    return lc_log_parse_format(word, &value->format) ? lc_err_set(err, LC_EINVAL, "not a format, use text or json")
                                                     : LC_OK;
  case LC_OPTION_UNBUILT:
    break;
  }
  return lc_err_set(err, LC_EUNSUPPORTED, "%s", option->help);
}

static void store(struct lc_config *config, const struct lc_option *option, struct value *value) {
  void *field = field_of(config, option);
  switch (option->kind) {
  case LC_OPTION_TEXT:
    lc_free(*(char **)field);
    *(char **)field = value->text;
    value->text = NULL;
    break;
  case LC_OPTION_ADDRESS:
  case LC_OPTION_ADDRESS_OR_OFF:
    *(struct lc_config_address *)field = value->address;
    break;
  case LC_OPTION_NUMBER:
  case LC_OPTION_SIZE:
  case LC_OPTION_DURATION:
    *(uint64_t *)field = value->number;
    break;
  case LC_OPTION_SWITCH:
    *(bool *)field = value->on;
    break;
  case LC_OPTION_LEVEL:
    *(enum lc_log_level *)field = value->level;
    break;
  case LC_OPTION_FORMAT:
    *(enum lc_log_format *)field = value->format;
    break;
  case LC_OPTION_UNBUILT:
    break;
  }
}

/* A user's word in a message: cut, and on one line. */
static const char *shown(const char *word, char out[SHOWN_MAX + 4]) {
  size_t len = strnlen(word, SHOWN_MAX + 1);
  for (size_t i = 0; i < len && i < SHOWN_MAX; i++)
    out[i] = (char)((unsigned char)word[i] < ' ' || word[i] == 0x7f ? '?' : word[i]);
  if (len > SHOWN_MAX)
    memcpy(out + SHOWN_MAX, "...", sizeof "...");
  else
    out[len] = '\0';
  return out;
}

static int mistake(const struct place *place, const struct lc_option *option, const char *word, const char *what,
                   struct lc_buf *mistakes) {
  char name[LC_OPTION_NAME_SIZE], text[SHOWN_MAX + 4];
  shown(word, text);
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
  struct value value = {0};
  struct lc_err err = {0};
  int code = parse(option, word, &value, &err);
  if (code == LC_ENOMEM)
    return code;
  if (code)
    return mistake(place, option, word, err.msg, mistakes);
  uint8_t *from = &config->from[option - lc_options];
  if (place->kind >= *from) {
    store(config, option, &value);
    *from = (uint8_t)place->kind;
  }
  lc_free(value.text);
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
    if (!lc_options[i].fallback)
      continue;
    struct lc_buf none;
    lc_buf_init(&none);
    int code = apply(config, &place, &lc_options[i], lc_options[i].fallback, &none);
    assert(code == LC_OK);
    (void)code;
    lc_buf_fini(&none);
  }
}

void lc_config_fini(struct lc_config *config) {
  lc_free(config->script);
  config->script = NULL;
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
  char text[SHOWN_MAX + 4];
  lc_buf_printf(mistakes, "%.*s: unknown option, ", (int)len, shown(argument, text));
  if (nearest)
    lc_buf_printf(mistakes, "did you mean --%s?\n", nearest);
  else
    lc_buf_str(mistakes, "see lcache --help\n");
  return mistakes->failed ? LC_ENOMEM : LC_EINVAL;
}

static int not_a_flag(const char *argument, struct lc_buf *mistakes) {
  char text[SHOWN_MAX + 4];
  shown(argument, text);
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
  struct stat status;
  if (stat(config->script, &status) != 0)
    return mistake(&place, option, config->script, errno == ENOENT ? "no such file" : strerror(errno), mistakes);
  return S_ISDIR(status.st_mode) ? mistake(&place, option, config->script, "is a folder", mistakes) : LC_OK;
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
  char text[SHOWN_MAX + 4];
  const char *nearest = lc_option_nearest(name, len - (size_t)(name - variable));
  const struct lc_option *option = nearest ? lc_option_find(nearest, strlen(nearest), '-') : NULL;
  lc_buf_printf(lines, "%.*s is not an option", (int)len, shown(variable, text));
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
  char text[SHOWN_MAX + 4];
  lc_buf_printf(mistakes, "%s: configure: unknown field \"%s\"", where, shown(name, text));
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

int lc_config_finish(struct lc_config *config, struct lc_buf *mistakes) {
  size_t before = mistakes->len;
  if (!config->script && !config->strange_word)
    lc_buf_str(mistakes, "--script is missing: lcache --script app.lua (see lcache --help)\n");
  check_buffer_memory(config, mistakes);
  if (mistakes->failed)
    return LC_ENOMEM;
  return mistakes->len > before ? LC_EINVAL : LC_OK;
}
