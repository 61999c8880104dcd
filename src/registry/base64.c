#include "registry/base64.h"

#include "base/err.h"

int lc_base64_encode(struct lc_slice bytes, struct lc_buf *out) {
  static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  for (size_t i = 0; i < bytes.len; i += 3) {
    size_t n = bytes.len - i < 3 ? bytes.len - i : 3;
    uint32_t v = (uint32_t)bytes.ptr[i] << 16;
    v |= n > 1 ? (uint32_t)bytes.ptr[i + 1] << 8 : 0;
    v |= n > 2 ? (uint32_t)bytes.ptr[i + 2] : 0;
    char four[4] = {digits[v >> 18], digits[(v >> 12) & 63], '=', '='};
    four[2] = n > 1 ? digits[(v >> 6) & 63] : '=';
    four[3] = n > 2 ? digits[v & 63] : '=';
    lc_buf_append(out, four, 4);
  }
  return out->failed ? LC_ENOMEM : 0;
}

/* 0 to 63, or 64: not a digit. */
static uint32_t value_of(uint8_t c) {
  if (c >= 'A' && c <= 'Z')
    return (uint32_t)(c - 'A');
  if (c >= 'a' && c <= 'z')
    return (uint32_t)(c - 'a') + 26;
  if (c >= '0' && c <= '9')
    return (uint32_t)(c - '0') + 52;
  return c == '+' ? 62 : c == '/' ? 63 : 64;
}

/* Four digits, the last `pad` of them '='. The bits that padding leaves over must be 0, or two texts mean the same. */
static int decode_group(const uint8_t *at, unsigned pad, struct lc_buf *out) {
  uint32_t v = 0;
  for (unsigned i = 0; i < 4; i++) {
    uint32_t digit = i < 4 - pad ? value_of(at[i]) : 0;
    if (digit > 63)
      return LC_EPROTO;
    v = v << 6 | digit;
  }
  if ((pad == 1 && (v & 0xff) != 0) || (pad == 2 && (v & 0xffff) != 0))
    return LC_EPROTO;
  uint8_t bytes[3] = {(uint8_t)(v >> 16), (uint8_t)(v >> 8), (uint8_t)v};
  return lc_buf_append(out, bytes, 3 - pad);
}

int lc_base64_decode(struct lc_slice text, struct lc_buf *out) {
  if (text.len % 4 != 0)
    return LC_EPROTO;
  for (size_t i = 0; i < text.len; i += 4) {
    unsigned pad = 0;
    if (i + 4 == text.len && text.ptr[i + 3] == '=')
      pad = text.ptr[i + 2] == '=' ? 2 : 1;
    int rc = decode_group(text.ptr + i, pad, out);
    if (rc != 0)
      return rc;
  }
  return 0;
}
