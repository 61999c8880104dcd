#include "base/parse.h"

#include <arpa/inet.h>
#include <inttypes.h>
#include <stdio.h>
#include <strings.h>

#define MAX_DURATION_MS (UINT64_C(100) * 365 * 24 * 3600 * 1000)
#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

/* `word: not a size, use 256MB`; an empty word shows as "". */
static int refuse(struct lc_err *err, const char *word, const char *what) {
  return lc_err_set(err, LC_EINVAL, "%.256s: %s", *word ? word : "\"\"", what);
}

static bool is_digit(char c) {
  return c >= '0' && c <= '9';
}

static const char *after_digits(const char *p) {
  while (is_digit(*p))
    p++;
  return p;
}

/* The number that the digits from `p` to `end` spell; false if it doesn't fit. */
static bool digits_value(const char *p, const char *end, uint64_t *value) {
  *value = 0;
  for (; p < end; p++) {
    if (__builtin_mul_overflow(*value, UINT64_C(10), value) ||
        __builtin_add_overflow(*value, (uint64_t)(*p - '0'), value))
      return false;
  }
  return true;
}

int lc_parse_size(const char *word, uint64_t *bytes, struct lc_err *err) {
  static const struct {
    const char *name;
    unsigned shift;
  } units[] = {{"", 0}, {"KB", 10}, {"MB", 20}, {"GB", 30}};
  const char *unit = after_digits(word);
  size_t i = 0;
  while (i < COUNT(units) && strcasecmp(unit, units[i].name) != 0)
    i++;
  if (unit == word || i == COUNT(units))
    return refuse(err, word, "not a size, use 256MB");
  uint64_t count;
  if (!digits_value(word, unit, &count) || count > UINT64_MAX >> units[i].shift)
    return refuse(err, word, "too large for a size, use 256MB");
  *bytes = count << units[i].shift;
  return LC_OK;
}

const char *lc_format_size(uint64_t bytes, char out[LC_SIZE_TEXT]) {
  static const char *const units[] = {"", "KB", "MB", "GB"};
  size_t i = 0;
  for (; i + 1 < COUNT(units) && bytes && bytes % 1024 == 0; i++)
    bytes /= 1024;
  snprintf(out, LC_SIZE_TEXT, "%" PRIu64 "%s", bytes, units[i]);
  return out;
}

/* Milliseconds in a unit's name, 0 for none known. */
static uint64_t unit_ms(const char *name) {
  static const struct {
    const char *name;
    uint64_t ms;
  } units[] = {{"", 1000}, {"ms", 1}, {"s", 1000}, {"m", 60000}, {"h", 3600000}};
  for (size_t i = 0; i < COUNT(units); i++) {
    if (strcmp(name, units[i].name) == 0)
      return units[i].ms;
  }
  return 0;
}

/* The digits after the point, times unit, rounded up: "0.4ms" must not become 0, which is "none" for some options. */
static uint64_t fraction_ms(const char *p, const char *end, uint64_t unit) {
  const uint64_t one = UINT64_C(1000000000);
  uint64_t billionths = 0, rest = 0;
  for (uint64_t scale = one / 10; p < end; p++, scale /= 10) {
    billionths += (uint64_t)(*p - '0') * scale;
    rest |= scale == 0 && *p != '0';
  }
  return ((billionths + rest) * unit + one - 1) / one;
}

int lc_parse_duration_ms(const char *word, uint64_t *ms, struct lc_err *err) {
  const char *point = after_digits(word);
  const char *end = *point == '.' ? after_digits(point + 1) : point;
  uint64_t unit = unit_ms(end);
  if (point == word || unit == 0 || (*point == '.' && end == point + 1))
    return refuse(err, word, "not a duration, use 60s");
  uint64_t whole;
  if (!digits_value(word, point, &whole) || whole > MAX_DURATION_MS / unit)
    return refuse(err, word, "too long for a duration, use 60s");
  *ms = whole * unit + (end > point ? fraction_ms(point + 1, end, unit) : 0);
  return LC_OK;
}

int lc_parse_uint(const char *word, uint64_t min, uint64_t max, uint64_t *value, struct lc_err *err) {
  const char *end = after_digits(word);
  uint64_t number;
  if (end == word || *end || !digits_value(word, end, &number) || number < min || number > max)
    return lc_err_set(err, LC_EINVAL, "%.256s: not a number from %" PRIu64 " to %" PRIu64, *word ? word : "\"\"", min,
                      max);
  *value = number;
  return LC_OK;
}

/* Why the text can't be a host name or an IPv4 address; NULL if it can. */
static const char *name_fault(struct lc_slice host) {
  static const char allowed[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789.-_:";
  for (size_t i = 0; i < host.len; i++) {
    if (!host.ptr[i] || !strchr(allowed, host.ptr[i]))
      return "not an address (bad host name), use 127.0.0.1:8001";
  }
  return memchr(host.ptr, ':', host.len) ? "not an address (IPv6 hosts go in brackets), use [::1]:8001" : NULL;
}

/* The same for what stood in brackets: an IPv6 address, perhaps with a %zone. */
static const char *ipv6_fault(struct lc_slice host) {
  static const char fault[] = "not an address (not IPv6 in the brackets), use [::1]:8001";
  char text[INET6_ADDRSTRLEN] = "";
  const uint8_t *zone = memchr(host.ptr, '%', host.len);
  size_t len = zone ? (size_t)(zone - host.ptr) : host.len;
  if (len >= sizeof text)
    return fault;
  memcpy(text, host.ptr, len);
  struct in6_addr address;
  if (inet_pton(AF_INET6, text, &address) != 1)
    return fault;
  if (!zone)
    return NULL;
  struct lc_slice name = lc_slice_of(zone + 1, host.len - len - 1);
  return name.len && !name_fault(name) ? NULL : fault;
}

/* Splits the word at the colon before the port; `host` is then without brackets. */
static const char *split_address(const char *word, struct lc_slice *host, const char **port) {
  const char *colon = strrchr(word, ':');
  const char *close = strrchr(word, ']');
  if (!colon || (close && colon < close))
    return "not an address (no port), use 127.0.0.1:8001";
  *port = colon + 1;
  *host = lc_slice_of(word, (size_t)(colon - word));
  if (host->len == 0)
    return "not an address (no host), use 127.0.0.1:8001";
  if (word[0] != '[')
    return name_fault(*host);
  if (!close || close + 1 != colon)
    return "not an address (brackets don't match), use [::1]:8001";
  *host = lc_slice_of(word + 1, host->len - 2);
  return ipv6_fault(*host);
}

/* For "8080" and ":8080", which are only a port: false if the word is none. */
static bool refuse_bare_port(struct lc_err *err, const char *word) {
  uint64_t port = 0;
  if (lc_parse_uint(word + (*word == ':'), 0, UINT16_MAX, &port, NULL) != LC_OK)
    return false;
  lc_err_set(err, LC_EINVAL, "%.256s: not an address (no host), use 127.0.0.1:%" PRIu64, word, port);
  return true;
}

int lc_parse_address(const char *word, struct lc_address *address, struct lc_err *err) {
  struct lc_slice host;
  const char *port;
  if (refuse_bare_port(err, word))
    return LC_EINVAL;
  const char *fault = split_address(word, &host, &port);
  if (!fault && host.len >= LC_HOST_SIZE)
    fault = "not an address (host name too long), use 127.0.0.1:8001";
  if (fault)
    return refuse(err, word, fault);
  uint64_t number = 0;
  if (lc_parse_uint(port, 0, UINT16_MAX, &number, NULL) != LC_OK)
    return refuse(err, word, "not an address (port not from 0 to 65535), use 127.0.0.1:8001");
  memcpy(address->host, host.ptr, host.len);
  address->host[host.len] = '\0';
  address->port = (uint16_t)number;
  return LC_OK;
}

void lc_format_address(const struct lc_address *address, char *out, size_t out_len) {
  const char *form = strchr(address->host, ':') ? "[%s]:%u" : "%s:%u";
  snprintf(out, out_len, form, address->host, (unsigned)address->port);
}

int lc_parse_option(int argc, char **argv, int at, const char *name, const char **value, struct lc_err *err) {
  size_t len = strlen(name);
  if (strncmp(argv[at], name, len) != 0 || (argv[at][len] != '\0' && argv[at][len] != '='))
    return 0;
  bool joined = argv[at][len] == '=';
  if (!joined && at + 1 >= argc)
    return lc_err_set(err, LC_EINVAL, "%s needs a value", name);
  *value = joined ? argv[at] + len + 1 : argv[at + 1];
  return joined ? 1 : 2;
}
