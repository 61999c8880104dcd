#ifndef LC_BASE_PARSE_H
#define LC_BASE_PARSE_H

#include "base/err.h"
#include "base/slice.h"

/*
 * Words that people type. Each returns 0 or LC_EINVAL with a message in `err`
 * that quotes the word, says what it is not, and shows a right one:
 * `12XB: not a size, use 256MB`.
 */

/* "4096", "64KB", "256MB", "1GB" (powers of 1024, case ignored; a bare number is bytes). */
int lc_parse_size(const char *word, uint64_t *bytes, struct lc_err *err);

#define LC_SIZE_TEXT 24

/* Writes a size as people type it, in the largest unit that needs no fraction: "64MB", "1000". Returns `out`. */
const char *lc_format_size(uint64_t bytes, char out[LC_SIZE_TEXT]);

/*
 * "250ms", "60s", "5m", "1h", "1.5s", or a bare number of seconds ("0.25"). Parts of a millisecond round up; at most
 * 100 years, so that adding one to a clock cannot overflow.
 */
int lc_parse_duration_ms(const char *word, uint64_t *ms, struct lc_err *err);

/* A whole number in decimal digits: `99: not a number from 1 to 64`. */
int lc_parse_uint(const char *word, uint64_t min, uint64_t max, uint64_t *value, struct lc_err *err);

#define LC_HOST_SIZE 256

/* "HOST:PORT", "[::1]:8001"; the message says why a word is none, for ":8001" `(no host)`, and
 * shows a right one, with the word's port where that is all it has. Port 0 to 65535. */
struct lc_address {
  char host[LC_HOST_SIZE]; /* without brackets */
  uint16_t port;
};

int lc_parse_address(const char *word, struct lc_address *address, struct lc_err *err);

/* Writes "HOST:PORT", IPv6 hosts in brackets; `out` has at least LC_HOST_SIZE + 9 bytes. */
void lc_format_address(const struct lc_address *address, char *out, size_t out_len);

/*
 * An option with a value on a command line, `--name value` or `--name=value`. Returns how many words of argv it takes,
 * 1 or 2, with *value set; 0 if argv[at] is something else; LC_EINVAL if the value is missing.
 */
int lc_parse_option(int argc, char **argv, int at, const char *name, const char **value, struct lc_err *err);

#endif
