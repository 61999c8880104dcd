#ifndef LC_BASE_UTF8_H
#define LC_BASE_UTF8_H

#include "base/slice.h"

/*
 * How many bytes the well-formed UTF-8 character (RFC 3629: shortest form, no surrogates, at most U+10FFFF) at `at`
 * takes: 1 to 4, or 0 if the bytes there are no such character. `at` is less than text.len.
 */
size_t lc_utf8_char_len(struct lc_slice text, size_t at);

/* True if all of it is such characters. */
bool lc_utf8_valid(struct lc_slice text);

#endif
