#include "app/options.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>

#include "app/config.h"

#define FIELD(name_) offsetof(struct lc_config, name_)
#define TLS "TLS is not built yet"

const struct lc_option lc_options[] = {
    {.name = "script",
     .kind = LC_OPTION_TEXT,
     .before_script = true,
     .offset = FIELD(script),
     .operand = "FILE",
     .help = "the application script: its groups and getters (required)"},
    {.name = "listen",
     .kind = LC_OPTION_ADDRESS,
     .offset = FIELD(listen),
     .operand = "HOST:PORT",
     .fallback = "127.0.0.1:8001",
     .help = "gRPC; port 0 takes any free port"},
    {.name = "http",
     .kind = LC_OPTION_ADDRESS_OR_OFF,
     .offset = FIELD(http),
     .operand = "HOST:PORT|off",
     .fallback = "127.0.0.1:8080",
     .help = "REST, metrics, health, panel: accepted, not built yet"},
    {.name = "advertise",
     .kind = LC_OPTION_ADDRESS,
     .offset = FIELD(advertise),
     .operand = "HOST:PORT",
     .help = "how others reach this node (default: the listen address)"},
    {.name = "peers",
     .kind = LC_OPTION_PEERS,
     .offset = FIELD(peers),
     .operand = "HOST:PORT,...",
     .help = "all nodes of the cluster, this one may be among them; or use --etcd"},
    {.name = "etcd",
     .kind = LC_OPTION_ENDPOINTS,
     .offset = FIELD(etcd),
     .operand = "URL,...",
     .help = "where nodes register and find one another: http://HOST:PORT or https://HOST:PORT"},
    {.name = "service",
     .kind = LC_OPTION_NAME,
     .offset = FIELD(service),
     .operand = "NAME",
     .fallback = "lcache",
     .help = "the cluster's name in etcd, /services/NAME/HOST:PORT"},
    {.name = "weight",
     .kind = LC_OPTION_NUMBER,
     .offset = FIELD(weight),
     .operand = "N",
     .fallback = "1",
     .min = "1",
     .max = "100",
     .help = "this node's part of the keys, beside the others'"},
    {.name = "lease",
     .kind = LC_OPTION_DURATION,
     .offset = FIELD(lease_ms),
     .operand = "DURATION",
     .fallback = "10s",
     .min = "2s",
     .max = "10m",
     .help = "how long a node that no longer answers stays a member"},
    {.name = "join-timeout",
     .kind = LC_OPTION_DURATION,
     .offset = FIELD(join_timeout_ms),
     .operand = "DURATION",
     .fallback = "5s",
     .min = "0",
     .max = "10m",
     .help = "how long a start waits for the others before it serves alone"},
    {.name = "etcd-user",
     .kind = LC_OPTION_TEXT,
     .offset = FIELD(etcd_user),
     .operand = "NAME",
     .help = "where etcd asks for a user"},
    {.name = "etcd-password",
     .kind = LC_OPTION_TEXT,
     .offset = FIELD(etcd_password),
     .operand = "PASSWORD",
     .help = "of that user; better as LCACHE_ETCD_PASSWORD: everybody can read a command line"},
    {.name = "etcd-ca",
     .kind = LC_OPTION_FILE,
     .offset = FIELD(etcd_ca),
     .operand = "FILE",
     .help = "PEM: who may have signed etcd's certificate (default: the system's CAs)"},
    {.name = "etcd-cert",
     .kind = LC_OPTION_FILE,
     .offset = FIELD(etcd_cert),
     .operand = "FILE",
     .help = "PEM: the certificate to show to etcd"},
    {.name = "etcd-key", .kind = LC_OPTION_FILE, .offset = FIELD(etcd_key), .operand = "FILE", .help = "PEM: its key"},
    {.name = "workers",
     .kind = LC_OPTION_NUMBER,
     .offset = FIELD(workers),
     .operand = "N",
     .min = "1",
     .max = "256",
     .help = "worker threads (default: the number of CPUs)"},
    {.name = "memory",
     .kind = LC_OPTION_SIZE,
     .offset = FIELD(memory_bytes),
     .operand = "SIZE",
     .fallback = "256MB",
     .min = "1MB",
     .max = "16384GB",
     .help = "items and index of all groups together"},
    {.name = "lua-memory",
     .kind = LC_OPTION_SIZE,
     .offset = FIELD(lua_memory_bytes),
     .operand = "SIZE",
     .fallback = "32MB",
     .min = "1MB",
     .max = "64GB",
     .help = "the script's state in each worker"},
    {.name = "buffer-memory",
     .kind = LC_OPTION_SIZE,
     .offset = FIELD(buffer_memory_bytes),
     .operand = "SIZE",
     .fallback = "64MB",
     .min = "1MB",
     .max = "1024GB",
     .help = "requests, output, values held by slow readers; by default room for two messages a worker"},
    {.name = "cpu-budget",
     .kind = LC_OPTION_DURATION,
     .offset = FIELD(cpu_budget_ms),
     .operand = "DURATION",
     .fallback = "100ms",
     .min = "1ms",
     .max = "60s",
     .help = "CPU time a getter may use between two waits"},
    {.name = "jit",
     .kind = LC_OPTION_SWITCH,
     .offset = FIELD(jit),
     .help = "compile hot Lua code; an endless loop can then not be stopped"},
    {.name = "max-message",
     .kind = LC_OPTION_SIZE,
     .offset = FIELD(max_message_bytes),
     .operand = "SIZE",
     .fallback = "4MB",
     .min = "1KB",
     .max = "1GB",
     .help = "one gRPC message; a longer one is refused"},
    {.name = "max-connections",
     .kind = LC_OPTION_NUMBER,
     .offset = FIELD(max_connections),
     .operand = "N",
     .fallback = "10000",
     .min = "1",
     .max = "1000000",
     .help = "connections at a time; more wait"},
    {.name = "max-streams",
     .kind = LC_OPTION_NUMBER,
     .offset = FIELD(max_streams),
     .operand = "N",
     .fallback = "4096",
     .min = "1",
     .max = "1000000",
     .help = "requests at a time on one connection"},
    {.name = "source-connections",
     .kind = LC_OPTION_NUMBER,
     .offset = FIELD(source_connections),
     .operand = "N",
     .fallback = "2048",
     .min = "1",
     .max = "65536",
     .help = "connections to one host of a source, all workers together; more requests wait"},
    {.name = "drain-timeout",
     .kind = LC_OPTION_DURATION,
     .offset = FIELD(drain_timeout_ms),
     .operand = "DURATION",
     .fallback = "10s",
     .min = "0",
     .max = "1h",
     .help = "how long a stop waits for requests in progress"},
    {.name = "log-level",
     .kind = LC_OPTION_LEVEL,
     .offset = FIELD(log_level),
     .operand = "debug|info|warn|error",
     .fallback = "info",
     .help = "the least level that is logged"},
    {.name = "log-format",
     .kind = LC_OPTION_FORMAT,
     .offset = FIELD(log_format),
     .operand = "text|json",
     .fallback = "text",
     .help = "of the log on standard error, one line an event"},
    {.name = "check",
     .kind = LC_OPTION_SWITCH,
     .flag_only = true,
     .offset = FIELD(check),
     .help = "load and validate script and options, print what is wrong, exit"},
    {.name = "version",
     .kind = LC_OPTION_SWITCH,
     .flag_only = true,
     .offset = FIELD(version),
     .help = "print the version, exit"},
    {.name = "help", .kind = LC_OPTION_SWITCH, .flag_only = true, .offset = FIELD(help), .help = "print this, exit"},
    {.name = "tls-cert", .kind = LC_OPTION_UNBUILT, .help = TLS},
    {.name = "tls-key", .kind = LC_OPTION_UNBUILT, .help = TLS},
    {.name = "tls-ca", .kind = LC_OPTION_UNBUILT, .help = TLS},
};
const size_t lc_options_count = sizeof lc_options / sizeof lc_options[0];
_Static_assert(sizeof lc_options / sizeof lc_options[0] <= LC_OPTIONS_MAX, "lc_config.from has room for each option");

static char same_separator(char c, char separator) {
  return (char)(c == separator ? '-' : c == '-' ? '_' : c);
}

static bool has_name(const struct lc_option *option, const char *name, size_t len, char separator) {
  if (strlen(option->name) != len)
    return false;
  for (size_t i = 0; i < len; i++) {
    char c = separator == '-' ? name[i] : same_separator(name[i], separator);
    if (option->name[i] != c)
      return false;
  }
  return true;
}

const struct lc_option *lc_option_find(const char *name, size_t len, char separator) {
  for (size_t i = 0; i < lc_options_count; i++) {
    if (has_name(&lc_options[i], name, len, separator))
      return &lc_options[i];
  }
  return NULL;
}

#define WORD_MAX 31u

static unsigned least(unsigned a, unsigned b) {
  return a < b ? a : b;
}

/* Edits between two words, a swap of neighbours being one: optimal string alignment. */
static unsigned edits(const char *a, size_t a_len, const char *b, size_t b_len) {
  unsigned rows[3][WORD_MAX + 1];
  unsigned *before = rows[0], *last = rows[1], *row = rows[2];
  for (unsigned j = 0; j <= b_len; j++)
    last[j] = j;
  for (size_t i = 1; i <= a_len; i++) {
    row[0] = (unsigned)i;
    for (size_t j = 1; j <= b_len; j++) {
      unsigned change = last[j - 1] + (a[i - 1] != b[j - 1]);
      row[j] = least(change, least(last[j], row[j - 1]) + 1);
      if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1])
        row[j] = least(row[j], before[j - 2] + 1);
    }
    unsigned *oldest = before;
    before = last;
    last = row;
    row = oldest;
  }
  return last[b_len];
}

const char *lc_option_nearest(const char *name, size_t len) {
  char word[WORD_MAX];
  if (len == 0 || len > WORD_MAX)
    return NULL;
  for (size_t i = 0; i < len; i++)
    word[i] = (char)(name[i] == '_' ? '-' : tolower((unsigned char)name[i]));
  const char *nearest = NULL;
  unsigned best = len < 4 ? 2 : 3; /* more edits are another word */
  for (size_t i = 0; i < lc_options_count; i++) {
    const char *candidate = lc_options[i].name;
    if (len >= 3 && strncmp(candidate, word, len) == 0)
      return candidate;
    unsigned distance = edits(word, len, candidate, strlen(candidate));
    if (distance < best) {
      best = distance;
      nearest = candidate;
    }
  }
  return nearest;
}

static void convert(const char *name, char *out, size_t out_len, int (*letter)(int)) {
  size_t i = 0;
  for (; name[i] && i + 1 < out_len; i++)
    out[i] = (char)(name[i] == '-' ? '_' : letter((unsigned char)name[i]));
  out[i] = '\0';
}

void lc_option_env_name(const struct lc_option *option, char out[LC_OPTION_NAME_SIZE]) {
  static const char prefix[] = "LCACHE_";
  memcpy(out, prefix, sizeof prefix);
  convert(option->name, out + sizeof prefix - 1, LC_OPTION_NAME_SIZE - (sizeof prefix - 1), toupper);
}

void lc_option_field_name(const struct lc_option *option, char out[LC_OPTION_NAME_SIZE]) {
  convert(option->name, out, LC_OPTION_NAME_SIZE, tolower);
}

const struct lc_option *lc_option_of_variable(const char *name, size_t len) {
  for (size_t i = 0; i < lc_options_count; i++) {
    char variable[LC_OPTION_NAME_SIZE];
    lc_option_env_name(&lc_options[i], variable);
    if (strlen(variable) == len && strncmp(variable, name, len) == 0)
      return &lc_options[i];
  }
  return NULL;
}

static void help_line(const struct lc_option *option, struct lc_buf *out) {
  char left[96];
  snprintf(left, sizeof left, "--%s%s%s", option->name, option->operand ? " " : "",
           option->operand ? option->operand : "");
  lc_buf_printf(out, "  %-35s %s", left, option->help);
  if (option->fallback)
    lc_buf_printf(out, " (default: %s)", option->fallback);
  lc_buf_char(out, '\n');
}

int lc_options_help(struct lc_buf *out) {
  lc_buf_str(out, "usage: lcache --script app.lua [options]\n"
                  "\n"
                  "Serves the groups that the script declares over gRPC; loads what it does not have.\n"
                  "\n");
  for (size_t i = 0; i < lc_options_count; i++) {
    if (lc_options[i].kind != LC_OPTION_UNBUILT)
      help_line(&lc_options[i], out);
  }
  return lc_buf_str(
      out,
      "\n"
      "Each option is also an environment variable (--lua-memory: LCACHE_LUA_MEMORY) and, but for --script, a field\n"
      "of lcache.configure{...} in the script (lua_memory). The flag wins over the variable, the variable over the\n"
      "script. --check, --version and --help are flags only.\n"
      "\n"
      "On standard error: the log, and when it serves one line in plain text, with --log-format json too:\n"
      "ready grpc=127.0.0.1:8001 http=off workers=2 groups=1\n"
      "\n"
      "Sizes: 4096, 64KB, 256MB, 1GB (powers of 1024). Durations: 250ms, 60s, 5m, 1h, or a number of seconds.\n"
      "Signals: TERM and INT drain and exit 0 (a second one exits at once), USR2 writes the node's state to the log.\n"
      "Exit status: 0; 1 for a failure at run time, a port in use for example; 2 for a mistake in options or "
      "script.\n");
}
