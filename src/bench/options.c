#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/version.h"
#include "bench/bench.h"

static const char HELP[] =
    "Usage: lcache-bench [options]\n"
    "\n"
    "Loads a cache server and prints throughput and latency.\n"
    "\n"
    "  --server HOST:PORT       the server (default 127.0.0.1:8001)\n"
    "  --protocol NAME          grpc (lcache), or to compare: redis, memcached, http2 (GET /GROUP)\n"
    "  --group NAME             the group to ask (default bench)\n"
    "  --keys N                 how many different keys (default 10000)\n"
    "  --key-prefix TEXT        keys are this and twelve digits (default key-)\n"
    "  --distribution NAME      uniform, zipf:0.99, sequential or single (default uniform)\n"
    "  --fill                   Set all keys first\n"
    "  --value-size SIZE        of each Set (default 100)\n"
    "  --mix get:90,set:10      what to send (default get:100)\n"
    "  --connections N          (default 8)\n"
    "  --outstanding N          requests under way on each connection (default 32)\n"
    "  --rate N                 open loop: N requests a second in all, latency from the time each was due\n"
    "  --duration DURATION      of the measurement (default 10s)\n"
    "  --requests N             instead of --duration: exactly so many\n"
    "  --warmup DURATION        before it (default 1s; 0s with --requests)\n"
    "  --json                   print JSON\n"
    "  --help, --version\n"
    "\n"
    "Exit status: 0, 1 when requests failed, 2 when the run could not be made.\n";

static int parse_distribution(const char *word, struct lc_bench_options *options, struct lc_err *err) {
  options->theta = 0.99;
  if (strcmp(word, "uniform") == 0) {
    options->distribution = LC_BENCH_UNIFORM;
  } else if (strcmp(word, "sequential") == 0) {
    options->distribution = LC_BENCH_SEQUENTIAL;
  } else if (strcmp(word, "single") == 0) {
    options->distribution = LC_BENCH_SINGLE;
  } else if (strncmp(word, "zipf", 4) == 0 && (word[4] == '\0' || word[4] == ':')) {
    options->distribution = LC_BENCH_ZIPF;
    char *end = NULL;
    if (word[4] == ':')
      options->theta = strtod(word + 5, &end);
    if (end && (*end != '\0' || !(options->theta > 0 && options->theta < 1)))
      return lc_err_set(err, LC_EINVAL, "%s: zipf's exponent lies between 0 and 1, use zipf:0.99", word);
  } else {
    return lc_err_set(err, LC_EINVAL, "%s: not a distribution, use uniform, zipf:0.99, sequential or single", word);
  }
  return LC_OK;
}

static int parse_mix(const char *word, struct lc_bench_options *options, struct lc_err *err) {
  unsigned get = 0, set = 0;
  char rest;
  bool good = sscanf(word, "get:%3u,set:%3u%c", &get, &set, &rest) == 2 ||
              sscanf(word, "get:%3u%c", &get, &rest) == 1 || sscanf(word, "set:%3u%c", &set, &rest) == 1;
  if (!good || get > 100 || get + set != 100 || strpbrk(word, "+- "))
    return lc_err_set(err, LC_EINVAL, "%s: not a mix, use get:90,set:10 (together 100)", word);
  options->get_percent = get;
  return LC_OK;
}

static int parse_protocol(const char *word, struct lc_bench_options *options, struct lc_err *err) {
  static const struct lc_bench_driver *const drivers[] = {&lc_bench_grpc, &lc_bench_redis, &lc_bench_memcached,
                                                          &lc_bench_http2};
  for (size_t i = 0; i < sizeof(drivers) / sizeof(drivers[0]); i++) {
    if (strcmp(drivers[i]->name, word) == 0) {
      options->driver = drivers[i];
      return LC_OK;
    }
  }
  return lc_err_set(err, LC_EINVAL, "%s: not a protocol, use grpc, redis, memcached or http2", word);
}

static int parse_server(const char *word, struct lc_bench_options *options, struct lc_err *err) {
  return lc_parse_address(word, &options->server, err);
}

static int parse_text(const char *word, const char **text, size_t max, struct lc_err *err) {
  if (word[0] == '\0' || strlen(word) > max)
    return lc_err_set(err, LC_EINVAL, "%.60s: not a text of 1 to %zu bytes", *word ? word : "\"\"", max);
  *text = word;
  return LC_OK;
}

static int parse_group(const char *word, struct lc_bench_options *options, struct lc_err *err) {
  return parse_text(word, &options->group, 120, err);
}

static int parse_prefix(const char *word, struct lc_bench_options *options, struct lc_err *err) {
  return parse_text(word, &options->key_prefix, LC_BENCH_KEY_MAX - 12, err);
}

static int parse_rate(const char *word, struct lc_bench_options *options, struct lc_err *err) {
  char *end;
  options->rate = strtod(word, &end);
  if (*end != '\0' || !(options->rate > 0 && options->rate < 1e9))
    return lc_err_set(err, LC_EINVAL, "%s: not a rate, use 10000", *word ? word : "\"\"");
  return LC_OK;
}

static int parse_number(const char *word, uint64_t min, uint64_t max, uint64_t *out, struct lc_err *err) {
  return lc_parse_uint(word, min, max, out, err);
}

static int parse_keys(const char *word, struct lc_bench_options *options, struct lc_err *err) {
  return parse_number(word, 1, 1000000000, &options->keys, err);
}

static int parse_requests(const char *word, struct lc_bench_options *options, struct lc_err *err) {
  return parse_number(word, 1, UINT64_MAX - 1, &options->requests, err);
}

static int parse_unsigned(const char *word, uint64_t max, unsigned *out, struct lc_err *err) {
  uint64_t number = 0;
  int rc = lc_parse_uint(word, 1, max, &number, err);
  *out = (unsigned)number;
  return rc;
}

static int parse_connections(const char *word, struct lc_bench_options *options, struct lc_err *err) {
  return parse_unsigned(word, 10000, &options->connections, err);
}

static int parse_outstanding(const char *word, struct lc_bench_options *options, struct lc_err *err) {
  return parse_unsigned(word, 1000000, &options->outstanding, err);
}

static int parse_value_size(const char *word, struct lc_bench_options *options, struct lc_err *err) {
  uint64_t bytes = 0;
  int rc = lc_parse_size(word, &bytes, err);
  if (rc == LC_OK && bytes > (64u << 20))
    rc = lc_err_set(err, LC_EINVAL, "%s: at most 64MB", word);
  options->value_size = (size_t)bytes;
  return rc;
}

static int parse_duration(const char *word, struct lc_bench_options *options, struct lc_err *err) {
  int rc = lc_parse_duration_ms(word, &options->duration_ms, err);
  if (rc == LC_OK && options->duration_ms == 0)
    rc = lc_err_set(err, LC_EINVAL, "%s: more than 0, use 10s", word);
  return rc;
}

static int parse_warmup(const char *word, struct lc_bench_options *options, struct lc_err *err) {
  return lc_parse_duration_ms(word, &options->warmup_ms, err);
}

static const struct {
  const char *name;
  int (*parse)(const char *word, struct lc_bench_options *options, struct lc_err *err);
} VALUED[] = {
    {"--server", parse_server},
    {"--protocol", parse_protocol},
    {"--group", parse_group},
    {"--keys", parse_keys},
    {"--key-prefix", parse_prefix},
    {"--distribution", parse_distribution},
    {"--value-size", parse_value_size},
    {"--mix", parse_mix},
    {"--connections", parse_connections},
    {"--outstanding", parse_outstanding},
    {"--rate", parse_rate},
    {"--duration", parse_duration},
    {"--requests", parse_requests},
    {"--warmup", parse_warmup},
};

static bool take_flag(const char *word, struct lc_bench_options *options) {
  if (strcmp(word, "--fill") == 0)
    options->fill = true;
  else if (strcmp(word, "--json") == 0)
    options->json = true;
  else if (strcmp(word, "--help") == 0 || strcmp(word, "-h") == 0)
    options->text = HELP;
  else if (strcmp(word, "--version") == 0)
    options->text = "lcache-bench " LC_VERSION "\n";
  else
    return false;
  return true;
}

/* Returns how many words were used, or LC_EINVAL. */
static int take_valued(int argc, char **argv, int at, struct lc_bench_options *options, struct lc_err *err) {
  int used = 0;
  for (size_t i = 0; used == 0 && i < sizeof(VALUED) / sizeof(VALUED[0]); i++) {
    const char *value = NULL;
    struct lc_err why = {0};
    used = lc_parse_option(argc, argv, at, VALUED[i].name, &value, err);
    if (used > 0 && VALUED[i].parse(value, options, &why) != LC_OK)
      return lc_err_set(err, LC_EINVAL, "%s %s", VALUED[i].name, why.msg);
  }
  if (used == 0)
    return lc_err_set(err, LC_EINVAL, "%s: unknown option (lcache-bench --help lists them)", argv[at]);
  return used;
}

int lc_bench_parse(int argc, char **argv, struct lc_bench_options *options, struct lc_err *err) {
  *options = (struct lc_bench_options){.server = {"127.0.0.1", 8001},
                                       .driver = &lc_bench_grpc,
                                       .group = "bench",
                                       .key_prefix = "key-",
                                       .keys = 10000,
                                       .value_size = 100,
                                       .connections = 8,
                                       .outstanding = 32,
                                       .duration_ms = 10000,
                                       .warmup_ms = UINT64_MAX,
                                       .get_percent = 100};
  for (int at = 1; at < argc;) {
    int used = take_flag(argv[at], options) ? 1 : take_valued(argc, argv, at, options, err);
    if (used < 0)
      return used;
    at += used;
  }
  if (options->warmup_ms == UINT64_MAX)
    options->warmup_ms = options->requests ? 0 : 1000;
  if (options->driver == &lc_bench_http2 && (options->fill || options->get_percent != 100))
    return lc_err_set(err, LC_EINVAL, "--protocol http2 only gets: no --fill, no set in --mix");
  return LC_OK;
}
