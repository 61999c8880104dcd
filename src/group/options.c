#include <string.h>

#include "base/parse.h"
#include "group/group.h"
#include "group/internal.h"

#define MIN_LIMIT_BYTES 4096u

void lc_group_options_init(struct lc_group_options *options) {
  *options = (struct lc_group_options){
      .timeout_ms = 5000,
      .policy = LC_POLICY_LRU2,
      .max_key = 4096,
      .max_loads = 10000,
      .mirror_ttl_ms = 5000,
  };
}

static int check_max_value(struct lc_group_options *options, uint64_t budget_bytes, uint64_t max_message_bytes,
                           struct lc_err *err) {
  const char *name = options->name;
  char given[LC_SIZE_TEXT], most[LC_SIZE_TEXT];
  uint64_t quarter = budget_bytes / 4;
  if (options->max_value > quarter) {
    return lc_err_set(err, LC_EINVAL,
                      "group \"%s\": max_value %s is over a quarter of the group's bytes, use at most %s", name,
                      lc_format_size(options->max_value, given), lc_format_size(quarter, most));
  }
  if (max_message_bytes > 0 && options->max_value > max_message_bytes) {
    return lc_err_set(err, LC_EINVAL, "group \"%s\": max_value %s is over the limit of a message, --max-message %s",
                      name, lc_format_size(options->max_value, given), lc_format_size(max_message_bytes, most));
  }
  if (options->max_value == 0) {
    uint64_t limit = max_message_bytes > 0 && max_message_bytes < quarter ? max_message_bytes : quarter;
    options->max_value = (size_t)limit;
  }
  return LC_OK;
}

int lc_group_options_check(struct lc_group_options *options, uint64_t budget_bytes, uint64_t max_message_bytes,
                           struct lc_err *err) {
  const char *name = options->name;
  if (!name || name[0] == '\0')
    return lc_err_set(err, LC_EINVAL, "a group's name is empty");
  size_t len = strlen(name);
  if (len > LC_GROUP_NAME_MAX) {
    return lc_err_set(err, LC_EINVAL, "group \"%.32s...\": a name of %zu bytes, use at most %u", name, len,
                      LC_GROUP_NAME_MAX);
  }
  if (options->max_key == 0 || options->max_key > LC_KEY_MAX) {
    return lc_err_set(err, LC_EINVAL, "group \"%s\": max_key of %zu bytes, use 1 to %u", name, options->max_key,
                      LC_KEY_MAX);
  }
  if (options->timeout_ms == 0)
    return lc_err_set(err, LC_EINVAL, "group \"%s\": the timeout is 0", name);
  if (options->max_loads == 0)
    return lc_err_set(err, LC_EINVAL, "group \"%s\": max_loads is 0", name);
  if (budget_bytes < MIN_LIMIT_BYTES) {
    return lc_err_set(err, LC_EINVAL, "group \"%s\": %llu bytes is too little, use at least %u", name,
                      (unsigned long long)budget_bytes, MIN_LIMIT_BYTES);
  }
  return check_max_value(options, budget_bytes, max_message_bytes, err);
}
