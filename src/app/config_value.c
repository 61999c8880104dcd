#include "app/config_value.h"

#include <arpa/inet.h>
#include <assert.h>
#include <errno.h>
#include <strings.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/alloc.h"

static void *field_of(struct lc_config *config, const struct lc_option *option) {
  return (char *)config + option->offset;
}

const char *lc_config_shown(const char *word, char out[LC_CONFIG_SHOWN_MAX + 4]) {
  size_t len = strnlen(word, LC_CONFIG_SHOWN_MAX + 1);
  for (size_t i = 0; i < len && i < LC_CONFIG_SHOWN_MAX; i++)
    out[i] = (char)((unsigned char)word[i] < ' ' || word[i] == 0x7f ? '?' : word[i]);
  if (len > LC_CONFIG_SHOWN_MAX)
    memcpy(out + LC_CONFIG_SHOWN_MAX, "...", sizeof "...");
  else
    out[len] = '\0';
  return out;
}

bool lc_config_is_wildcard(const struct lc_address *address) {
  struct in_addr v4;
  struct in6_addr v6;
  if (inet_pton(AF_INET, address->host, &v4) == 1)
    return v4.s_addr == htonl(INADDR_ANY);
  return inet_pton(AF_INET6, address->host, &v6) == 1 && memcmp(&v6, &in6addr_any, sizeof v6) == 0;
}

const char *lc_config_file_fault(const char *path) {
  struct stat status;
  if (stat(path, &status) != 0)
    return errno == ENOENT ? "no such file" : strerror(errno);
  if (S_ISDIR(status.st_mode))
    return "is a folder";
  return access(path, R_OK) != 0 ? strerror(errno) : NULL;
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
  size_t shown = *word ? strnlen(word, LC_CONFIG_SHOWN_MAX) : strlen("\"\"");
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

/* Why the text can't be such a value, NULL if it can. */
static const char *text_fault(enum lc_option_kind kind, const char *word) {
  if (!*word)
    return "is empty";
  if (kind == LC_OPTION_FILE)
    return lc_config_file_fault(word);
  if (kind != LC_OPTION_NAME)
    return NULL;
  for (const char *p = word; *p; p++) {
    if (*p == '/' || *p == 0x7f || (unsigned char)*p <= ' ')
      return "not a name (a slash, a space or a control character), use lcache";
  }
  return NULL;
}

static int parse_text(const struct lc_option *option, const char *word, struct lc_config_value *value,
                      struct lc_err *err) {
  const char *fault = text_fault(option->kind, word);
  if (fault)
    return lc_err_set(err, LC_EINVAL, "%s", fault);
  value->block = lc_strdup(word);
  return value->block ? LC_OK : LC_ENOMEM;
}

/* Cuts the spaces at both ends; the word ends at `end`. */
static char *trim(char *word, char *end) {
  while (*word == ' ')
    word++;
  while (end > word && end[-1] == ' ')
    end--;
  *end = '\0';
  return word;
}

/* The elements of a list with commas, in one block with their text. */
static char **split(const char *word, size_t *count) {
  size_t elements = 1, len = strlen(word);
  for (const char *p = word; *p; p++)
    elements += *p == ',';
  char **list = lc_malloc(elements * sizeof *list + len + 1);
  if (!list)
    return NULL;
  char *text = memcpy(list + elements, word, len + 1);
  for (*count = 0; *count < elements; ++*count) {
    char *end = text + strcspn(text, ",");
    char *next = end + 1;
    list[*count] = trim(text, end);
    text = next;
  }
  return list;
}

/* What is wrong with one element of a list, which is named if there are others. */
static int bad_element(struct lc_err *err, const char *element, size_t count, const char *what) {
  char text[LC_CONFIG_SHOWN_MAX + 4];
  if (count == 1)
    return lc_err_set(err, LC_EINVAL, "%s", what);
  return lc_err_set(err, LC_EINVAL, "%s: %s", *element ? lc_config_shown(element, text) : "\"\"", what);
}

static int parse_peer(const char *word, size_t count, struct lc_address *out, struct lc_err *err) {
  struct lc_err why = {0};
  if (lc_parse_address(word, out, &why)) {
    without_word(word, &why);
    return bad_element(err, word, count, why.msg);
  }
  if (out->port == 0)
    return bad_element(err, word, count, "port 0 is no node's, use the port that it listens on");
  if (lc_config_is_wildcard(out))
    return bad_element(err, word, count, "a wildcard is no node's address, use the one that others reach it by");
  return LC_OK;
}

static int parse_peers(char *const *words, size_t count, struct lc_config_value *value, struct lc_err *err) {
  struct lc_address *peers = lc_calloc(count, sizeof *peers);
  if (!peers)
    return LC_ENOMEM;
  value->block = peers;
  int code = LC_OK;
  for (size_t i = 0; i < count && code == LC_OK; i++)
    code = parse_peer(words[i], count, &peers[i], err);
  if (code)
    lc_config_value_fini(value);
  return code;
}

/* Cuts a slash at the end; NULL, or what is wrong. */
static const char *endpoint_fault(char *url) {
  static const char fault[] = "not a URL of etcd, use http://127.0.0.1:2379";
  struct lc_address address;
  size_t scheme = strncasecmp(url, "https://", 8) == 0 ? 8 : strncasecmp(url, "http://", 7) == 0 ? 7 : 0;
  if (scheme == 0)
    return fault;
  if (strchr(url, '@'))
    return "a URL with a user in it, use etcd-user and etcd-password";
  size_t len = strlen(url);
  if (url[len - 1] == '/' && len > scheme)
    url[len - 1] = '\0';
  return lc_parse_address(url + scheme, &address, NULL) || address.port == 0 ? fault : NULL;
}

static int parse_endpoints(char **urls, size_t count, struct lc_err *err) {
  for (size_t i = 0; i < count; i++) {
    const char *fault = endpoint_fault(urls[i]);
    if (fault)
      return bad_element(err, strchr(urls[i], '@') ? "..." : urls[i], count, fault);
  }
  return LC_OK;
}

static int parse_list(const struct lc_option *option, const char *word, struct lc_config_value *value,
                      struct lc_err *err) {
  if (!*word)
    return lc_err_set(err, LC_EINVAL, "is empty");
  char **words = split(word, &value->count);
  if (!words)
    return LC_ENOMEM;
  int code;
  if (value->count > LC_CONFIG_LIST_MAX)
    code = lc_err_set(err, LC_EINVAL, "a list of %zu, use at most %u", value->count, LC_CONFIG_LIST_MAX);
  else if (option->kind == LC_OPTION_PEERS)
    code = parse_peers(words, value->count, value, err);
  else
    code = parse_endpoints(words, value->count, err);
  if (code == LC_OK && option->kind == LC_OPTION_ENDPOINTS)
    value->block = words;
  else
    lc_free(words);
  return code;
}

int lc_config_value_parse(struct lc_config_value *value, const struct lc_option *option, const char *word,
                          struct lc_err *err) {
  switch (option->kind) {
  case LC_OPTION_TEXT:
  case LC_OPTION_FILE:
  case LC_OPTION_NAME:
    return parse_text(option, word, value, err);
  case LC_OPTION_ADDRESS:
  case LC_OPTION_ADDRESS_OR_OFF:
    return parse_address(option, word, &value->address, err);
  case LC_OPTION_PEERS:
  case LC_OPTION_ENDPOINTS:
    return parse_list(option, word, value, err);
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

void lc_config_value_store(struct lc_config_value *value, const struct lc_option *option, struct lc_config *config) {
  void *field = field_of(config, option);
  switch (option->kind) {
  case LC_OPTION_TEXT:
  case LC_OPTION_FILE:
  case LC_OPTION_NAME:
    lc_free(*(char **)field);
    *(char **)field = value->block;
    break;
  case LC_OPTION_PEERS:
    lc_free(config->peers);
    config->peers = value->block;
    config->peer_count = value->count;
    break;
  case LC_OPTION_ENDPOINTS:
    lc_free(config->etcd);
    config->etcd = value->block;
    config->etcd_count = value->count;
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
  value->block = NULL;
}

void lc_config_value_fini(struct lc_config_value *value) {
  lc_free(value->block);
  value->block = NULL;
}
