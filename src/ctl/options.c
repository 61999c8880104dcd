#include <stdlib.h>
#include <string.h>

#include "base/version.h"
#include "ctl/commands.h"

#define DEFAULT_SERVER "127.0.0.1:8001"
#define DEFAULT_TIMEOUT_MS 10000u

static const char HELP[] = "Usage: lcachectl [options] COMMAND\n"
                           "\n"
                           "Commands:\n"
                           "  get GROUP KEY         print a key's value, loading it if it isn't cached\n"
                           "  set GROUP KEY VALUE   store a value (VALUE - reads standard input)\n"
                           "  delete GROUP KEY      drop a key\n"
                           "  batch GROUP KEY...    get many keys in one call\n"
                           "  stats [GROUP]         show the node's counters\n"
                           "  nodes                 show the cluster's nodes\n"
                           "  owner GROUP KEY       show which node owns a key\n"
                           "\n"
                           "Options:\n"
                           "  --server HOST:PORT    the node to ask (default " DEFAULT_SERVER ", or $LCACHE_SERVER)\n"
                           "  --json                print JSON; a value that isn't UTF-8 as \"value_base64\", a key\n"
                           "                        as \"key_base64\"\n"
                           "  --timeout DURATION    give up after this long (default 10s)\n"
                           "  --only-if-cached      get: don't load\n"
                           "  --refresh             get: load anew even if it is cached\n"
                           "  --cluster             stats: of every node of the server's cluster, and their sums\n"
                           "  --ttl DURATION        set: how long it lives (default the group's; `never` for no end)\n"
                           "  --help, --version     (also lcachectl help)\n"
                           "  --                    what follows is not an option: lcachectl get scores -- --odd-key\n"
                           "\n"
                           "Exit status: 0, 1 for not found, 2 for any other error with one line on standard error.\n";

static int parse_ttl(struct lc_ctl_options *options, const char *word, struct lc_err *err) {
  if (strcmp(word, "never") == 0) {
    options->ttl_ms = -1;
    return LC_OK;
  }
  uint64_t ms = 0;
  if (lc_parse_duration_ms(word, &ms, NULL) != LC_OK || ms == 0)
    return lc_err_set(err, LC_EINVAL, "%s: not a time to live, use 60s or never", *word ? word : "\"\"");
  options->ttl_ms = (int64_t)ms;
  return LC_OK;
}

static int parse_timeout(struct lc_ctl_options *options, const char *word, struct lc_err *err) {
  int rc = lc_parse_duration_ms(word, &options->timeout_ms, err);
  if (rc == LC_OK && options->timeout_ms == 0)
    rc = lc_err_set(err, LC_EINVAL, "%s: not a timeout, use 5s", word);
  return rc;
}

static int parse_server(struct lc_ctl_options *options, const char *word, struct lc_err *err) {
  int rc = lc_parse_address(word, &options->server, err);
  if (rc == LC_OK)
    lc_format_address(&options->server, options->server_text, sizeof(options->server_text));
  return rc;
}

struct valued {
  const char *name;
  int (*parse)(struct lc_ctl_options *options, const char *word, struct lc_err *err);
};

static const struct valued VALUED[] = {{"--server", parse_server}, {"--timeout", parse_timeout}, {"--ttl", parse_ttl}};

/* `--name value` or `--name=value`: runs its parser. Returns how many words were used, 0 if it is none of these. */
static int take_valued(struct lc_ctl_options *options, int argc, char **argv, int at, struct lc_err *err) {
  int used = 0;
  for (size_t i = 0; used == 0 && i < sizeof(VALUED) / sizeof(VALUED[0]); i++) {
    const char *value = NULL;
    struct lc_err why = {0};
    used = lc_parse_option(argc, argv, at, VALUED[i].name, &value, err);
    if (used > 0 && VALUED[i].parse(options, value, &why) != LC_OK)
      return lc_err_set(err, LC_EINVAL, "%s %s", VALUED[i].name, why.msg);
  }
  return used;
}

static bool take_flag(struct lc_ctl_options *options, const char *word) {
  if (strcmp(word, "--json") == 0)
    options->json = true;
  else if (strcmp(word, "--only-if-cached") == 0)
    options->only_if_cached = true;
  else if (strcmp(word, "--refresh") == 0)
    options->refresh = true;
  else if (strcmp(word, "--cluster") == 0)
    options->cluster = true;
  else if (strcmp(word, "--help") == 0 || strcmp(word, "-h") == 0)
    options->text = HELP;
  else if (strcmp(word, "--version") == 0)
    options->text = "lcachectl " LC_VERSION "\n";
  else
    return false;
  return true;
}

/* Sorts options from words: the words are moved to the front of argv, and their number returned. */
static int sort_words(int argc, char **argv, struct lc_ctl_options *options, struct lc_err *err) {
  int words = 0;
  bool only_words = false;
  for (int at = 1; at < argc;) {
    bool is_option = !only_words && argv[at][0] == '-' && argv[at][1] != '\0';
    if (!is_option) {
      argv[words++] = argv[at++];
    } else if (strcmp(argv[at], "--") == 0) {
      only_words = true;
      at++;
    } else if (take_flag(options, argv[at])) {
      at++;
    } else {
      int used = take_valued(options, argc, argv, at, err);
      if (used == 0)
        used = lc_err_set(err, LC_EINVAL,
                          "%s: unknown option (lcachectl --help lists them; -- before a word that begins with -)",
                          argv[at]);
      if (used < 0)
        return used;
      at += used;
    }
  }
  return words;
}

static int find_command(struct lc_ctl_options *options, const char *name, struct lc_err *err) {
  for (size_t i = 0; i < lc_ctl_command_count; i++) {
    if (strcmp(lc_ctl_commands[i].name, name) == 0) {
      options->command = &lc_ctl_commands[i];
      return LC_OK;
    }
  }
  return lc_err_set(err, LC_EINVAL, "%s: unknown command, use get, set, delete, batch, stats, nodes or owner", name);
}

static int check_use(const struct lc_ctl_options *options, struct lc_err *err) {
  const struct lc_ctl_command *command = options->command;
  bool is_get = strcmp(command->name, "get") == 0;
  if (options->arg_count > LC_BATCH_KEYS_MAX + 1)
    return lc_err_set(err, LC_EINVAL, "%zu keys are too many for one batch: at most %u", options->arg_count - 1,
                      LC_BATCH_KEYS_MAX);
  if (options->arg_count < command->min_args || options->arg_count > command->max_args)
    return lc_err_set(err, LC_EINVAL, "usage: lcachectl %s", command->usage);
  if ((options->only_if_cached || options->refresh) && !is_get)
    return lc_err_set(err, LC_EINVAL, "--only-if-cached and --refresh go with get");
  if (options->cluster && strcmp(command->name, "stats") != 0)
    return lc_err_set(err, LC_EINVAL, "--cluster goes with stats");
  if (options->ttl_ms != 0 && strcmp(command->name, "set") != 0)
    return lc_err_set(err, LC_EINVAL, "--ttl goes with set");
  return LC_OK;
}

/* The flag wins over the variable, which then may be anything. */
static int default_server(struct lc_ctl_options *options, const char *server_env, struct lc_err *err) {
  if (options->server_text[0])
    return LC_OK;
  struct lc_err why = {0};
  if (parse_server(options, server_env && server_env[0] ? server_env : DEFAULT_SERVER, &why) != LC_OK)
    return lc_err_set(err, LC_EINVAL, "LCACHE_SERVER=%s", why.msg);
  return LC_OK;
}

int lc_ctl_parse(int argc, char **argv, const char *server_env, struct lc_ctl_options *options, struct lc_err *err) {
  *options = (struct lc_ctl_options){.timeout_ms = DEFAULT_TIMEOUT_MS};
  lc_buf_init(&options->stdin_value);
  int words = sort_words(argc, argv, options, err);
  if (words < 0)
    return words;
  if (options->text)
    return LC_OK;
  if (words == 0)
    return lc_err_set(err, LC_EINVAL, "no command (lcachectl --help)");
  if (strcmp(argv[0], "help") == 0) {
    options->text = HELP;
    return LC_OK;
  }
  int rc = find_command(options, argv[0], err);
  if (rc != LC_OK)
    return rc;
  options->args = argv + 1;
  options->arg_count = (size_t)words - 1;
  rc = check_use(options, err);
  return rc == LC_OK ? default_server(options, server_env, err) : rc;
}

void lc_ctl_options_fini(struct lc_ctl_options *options) {
  lc_buf_fini(&options->stdin_value);
}
