#include "app/setup.h"

#include <stdio.h>
#include <string.h>

/* A script that has not said how much memory it needs may take this much to say it. */
#define DESCRIBE_MEMORY_BYTES ((size_t)1 << 30)

void lc_setup_init(struct lc_setup *setup) {
  lc_config_init(&setup->config);
  setup->description = NULL;
}

void lc_setup_fini(struct lc_setup *setup) {
  lc_script_description_destroy(setup->description);
  setup->description = NULL;
  lc_config_fini(&setup->config);
}

void lc_setup_script_options(const struct lc_setup *setup, struct lc_log *log, struct lc_script_options *options) {
  const struct lc_config *config = &setup->config;
  *options = (struct lc_script_options){
      .path = config->script,
      .memory_bytes = (size_t)config->lua_memory_bytes,
      .cpu_budget_ms = config->cpu_budget_ms,
      .jit = config->jit,
      .log = log,
  };
}

static int describe(struct lc_setup *setup, struct lc_buf *mistakes) {
  struct lc_script_options options;
  lc_setup_script_options(setup, NULL, &options);
  if (lc_config_from(&setup->config, "lua-memory") == LC_FROM_DEFAULT)
    options.memory_bytes = DESCRIBE_MEMORY_BYTES;
  struct lc_err err = {0};
  int code = lc_script_describe(&options, &setup->description, &err);
  if (code == LC_OK)
    return code;
  /* Also where the script took more memory than it may. */
  return lc_buf_printf(mistakes, "%s\n", err.msg) ? LC_ENOMEM : LC_EINVAL;
}

static void keep(int *code, int next) {
  if (*code == LC_OK || next == LC_ENOMEM)
    *code = next;
}

static int apply_script(struct lc_setup *setup, struct lc_buf *mistakes) {
  int code = describe(setup, mistakes);
  if (code)
    return code;
  const struct lc_script_setting *settings;
  size_t count = lc_script_settings(setup->description, &settings);
  for (size_t i = 0; i < count; i++)
    keep(&code, lc_config_setting(&setup->config, settings[i].where, settings[i].name, settings[i].value, mistakes));
  return code;
}

int lc_setup_load(struct lc_setup *setup, int argc, char *const *argv, char *const *environment,
                  struct lc_buf *mistakes) {
  struct lc_config *config = &setup->config;
  int code = lc_config_flags(config, argc, argv, mistakes);
  if (config->help || config->version)
    return code;
  keep(&code, lc_config_environment(config, environment, mistakes));
  if (config->script) {
    int missing = lc_config_check_script(config, mistakes);
    keep(&code, missing ? missing : apply_script(setup, mistakes));
  }
  keep(&code, lc_config_finish(config, mistakes));
  return code;
}

/* Puts the file and line of the group that the message is about in front of it. */
static void locate(const struct lc_setup *setup, struct lc_err *err) {
  const struct lc_group_options *groups;
  size_t count = lc_script_groups(setup->description, &groups);
  for (size_t i = 0; i < count; i++) {
    char about[LC_GROUP_NAME_MAX + 16];
    int len = snprintf(about, sizeof about, "group \"%s\"", groups[i].name);
    if (strncmp(err->msg, about, (size_t)len) != 0)
      continue;
    const struct lc_err plain = *err;
    lc_err_set(err, plain.code, "%s: %s", lc_script_group_where(setup->description, i), plain.msg);
    return;
  }
}

int lc_setup_groups(const struct lc_setup *setup, const struct lc_exec *exec, const struct lc_loader *loader,
                    const struct lc_peers *peers, struct lc_log *log, struct lc_groups **groups, struct lc_err *err) {
  struct lc_groups_config config = {
      .memory_bytes = setup->config.memory_bytes,
      .max_message_bytes = setup->config.max_message_bytes,
      .exec = exec,
      .loader = loader,
      .peers = peers,
      .log = log,
  };
  config.count = lc_script_groups(setup->description, &config.options);
  int code = lc_groups_create(&config, groups, err);
  if (code == LC_EINVAL && err)
    locate(setup, err);
  return code;
}

/* In the largest unit that needs no fraction. */
static void print_duration(uint64_t ms, struct lc_buf *out) {
  static const char *const units[] = {"ms", "s", "m", "h"};
  static const uint64_t factors[] = {1000, 60, 60};
  size_t i = 0;
  while (i < 3 && ms && ms % factors[i] == 0)
    ms /= factors[i++];
  if (ms)
    lc_buf_printf(out, "%llu%s", (unsigned long long)ms, units[i]);
  else
    lc_buf_str(out, "none");
}

static void print_group(const struct lc_group_options *group, const char *where, struct lc_buf *out) {
  char size[LC_SIZE_TEXT];
  lc_format_size(group->limit_bytes, size);
  lc_buf_printf(out, "%s: group %s bytes=%s ttl=", where, group->name, group->limit_bytes ? size : "shared");
  print_duration(group->ttl_ms, out);
  lc_buf_str(out, " timeout=");
  print_duration(group->timeout_ms, out);
  lc_buf_printf(out, " policy=%s\n", group->policy == LC_POLICY_LRU ? "lru" : "lru2");
}

int lc_setup_check(const struct lc_setup *setup, struct lc_buf *out) {
  const struct lc_exec no_exec = {.workers = 1};
  const struct lc_loader no_loader = {0};
  struct lc_groups *groups = NULL;
  struct lc_err err = {0};
  int code = lc_setup_groups(setup, &no_exec, &no_loader, NULL, NULL, &groups, &err);
  if (code) {
    lc_buf_printf(out, "%s\n", err.msg);
    return code;
  }
  lc_groups_destroy(groups);
  const struct lc_group_options *options;
  size_t count = lc_script_groups(setup->description, &options);
  lc_buf_printf(out, "ok: %zu group%s\n", count, count == 1 ? "" : "s");
  for (size_t i = 0; i < count; i++)
    print_group(&options[i], lc_script_group_where(setup->description, i), out);
  return out->failed ? LC_ENOMEM : LC_OK;
}
