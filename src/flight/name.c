#include "flight/name.h"

#include <stdio.h>

static size_t quote_byte(char *out, uint8_t byte) {
  if (byte == '"' || byte == '\\') {
    out[0] = '\\';
    out[1] = (char)byte;
    return 2;
  }
  if (byte >= 0x20 && byte < 0x7f) {
    out[0] = (char)byte;
    return 1;
  }
  return (size_t)snprintf(out, 5, "\\x%02x", byte);
}

size_t lc_name_quote(char out[LC_NAME_QUOTED_SIZE], struct lc_slice bytes) {
  size_t shown = bytes.len < LC_NAME_SHOWN ? bytes.len : LC_NAME_SHOWN;
  size_t len = 0;
  out[len++] = '"';
  for (size_t i = 0; i < shown; i++)
    len += quote_byte(out + len, bytes.ptr[i]);
  if (shown < bytes.len)
    len += (size_t)snprintf(out + len, 4, "...");
  out[len++] = '"';
  out[len] = '\0';
  return len;
}
