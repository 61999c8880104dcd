#include "base/utf8.h"

static bool continues(struct lc_slice text, size_t at, size_t count) {
  if (text.len - at < count)
    return false;
  for (size_t i = 1; i < count; i++) {
    if ((text.ptr[at + i] & 0xc0) != 0x80)
      return false;
  }
  return true;
}

size_t lc_utf8_char_len(struct lc_slice text, size_t at) {
  uint8_t lead = text.ptr[at];
  if (lead < 0x80)
    return 1;
  size_t len = lead >= 0xf0 ? 4 : lead >= 0xe0 ? 3 : 2;
  if (lead < 0xc2 || lead > 0xf4 || !continues(text, at, len))
    return 0;
  uint8_t second = text.ptr[at + 1];
  bool overlong = (lead == 0xe0 && second < 0xa0) || (lead == 0xf0 && second < 0x90);
  bool surrogate = lead == 0xed && second > 0x9f;
  bool too_high = lead == 0xf4 && second > 0x8f;
  return overlong || surrogate || too_high ? 0 : len;
}

bool lc_utf8_valid(struct lc_slice text) {
  size_t len;
  for (size_t at = 0; at < text.len; at += len) {
    len = lc_utf8_char_len(text, at);
    if (len == 0)
      return false;
  }
  return true;
}
