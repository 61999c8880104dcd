#include "base/log_line.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>

#include "base/utf8.h"

#define KEY_BYTES 64

/* Kept free for what ends a line: a closing quote, the mark of a cut line, a brace, the newline. */
#define RESERVE 24

static const char *const level_names[] = {"debug", "info", "warn", "error"};

/* One character as the line shows it: at most `\u0000` or four bytes of UTF-8. */
struct piece {
  char text[8];
  size_t len;
  size_t taken; /* bytes of the source that it stands for */
};

typedef struct piece (*escape_fn)(struct lc_slice text, size_t at);

static void put_end(struct lc_log_line *line, const char *s) {
  size_t len = strlen(s);
  memcpy(line->data + line->len, s, len);
  line->len += len;
}

/* All or nothing: once something did not fit nothing more goes in, so that no later part seems to follow. */
static void put(struct lc_log_line *line, const char *s, size_t len) {
  if (line->cut || len > sizeof line->data - RESERVE - line->len) {
    line->cut = true;
    return;
  }
  memcpy(line->data + line->len, s, len);
  line->len += len;
}

static void put_str(struct lc_log_line *line, const char *s) {
  put(line, s, strlen(s));
}

static void put_escaped(struct lc_log_line *line, struct lc_slice text, escape_fn escape) {
  for (size_t at = 0; at < text.len && !line->cut;) {
    struct piece piece = escape(text, at);
    put(line, piece.text, piece.len);
    at += piece.taken;
  }
}

static struct piece piece_raw(struct lc_slice text, size_t at, size_t len) {
  struct piece piece = {.len = len, .taken = len};
  memcpy(piece.text, text.ptr + at, len);
  return piece;
}

static struct piece piece_printed(const char *form, unsigned byte) {
  struct piece piece = {.taken = 1};
  piece.len = (size_t)snprintf(piece.text, sizeof piece.text, form, byte);
  return piece;
}

static struct piece piece_pair(char letter) {
  return (struct piece){.text = {'\\', letter}, .len = 2, .taken = 1};
}

static bool is_printable_ascii(uint8_t c) {
  return c >= 0x20 && c < 0x7f;
}

/* Keys: whatever is not printable ASCII as \xNN, so that any bytes can be told apart. */
static struct piece escape_key(struct lc_slice text, size_t at) {
  uint8_t c = text.ptr[at];
  if (c == '"' || c == '\\')
    return piece_pair((char)c);
  return is_printable_ascii(c) ? piece_raw(text, at, 1) : piece_printed("\\x%02x", c);
}

/* Messages: UTF-8 stays legible, but not its C1 control characters, which move terminals. */
static struct piece escape_text(struct lc_slice text, size_t at) {
  uint8_t c = text.ptr[at];
  size_t len = lc_utf8_char_len(text, at);
  if (c == '\n' || c == '\r' || c == '\t')
    return piece_pair(c == '\n' ? 'n' : c == '\r' ? 'r' : 't');
  if (len > 1 && !(c == 0xc2 && text.ptr[at + 1] < 0xa0))
    return piece_raw(text, at, len);
  return escape_key(text, at);
}

static struct piece escape_json(struct lc_slice text, size_t at) {
  uint8_t c = text.ptr[at];
  size_t len = lc_utf8_char_len(text, at);
  if (len == 0)
    return (struct piece){.text = "\\ufffd", .len = 6, .taken = 1};
  if (len > 1)
    return piece_raw(text, at, len);
  if (c == '"' || c == '\\')
    return piece_pair((char)c);
  if (c == '\n' || c == '\r' || c == '\t')
    return piece_pair(c == '\n' ? 'n' : c == '\r' ? 'r' : 't');
  return is_printable_ascii(c) ? piece_raw(text, at, 1) : piece_printed("\\u%04x", c);
}

/* A key in JSON: escaped as in text, then its backslashes for JSON, so that both formats show the same. */
static struct piece escape_json_key(struct lc_slice text, size_t at) {
  struct piece piece = escape_key(text, at);
  if (piece.text[0] != '\\')
    return piece;
  struct piece doubled = {.text = "\\\\", .len = 2, .taken = 1};
  if (text.ptr[at] == '"' || text.ptr[at] == '\\')
    doubled.text[doubled.len++] = '\\';
  memcpy(doubled.text + doubled.len, piece.text + 1, piece.len - 1);
  doubled.len += piece.len - 1;
  return doubled;
}

/* Bare text must read as one word that ends at the next space. */
static bool needs_quotes(struct lc_slice text, escape_fn escape) {
  for (size_t at = 0; at < text.len;) {
    struct piece piece = escape(text, at);
    if (piece.text[0] == '\\' || piece.text[0] == ' ' || piece.text[0] == '=')
      return true;
    at += piece.taken;
  }
  return text.len == 0;
}

/* ` name=` or `,"name":`, with the quote if one follows; nothing of it if not all fits. */
static bool begin_field(struct lc_log_line *line, enum lc_log_format format, const char *name, bool quoted) {
  size_t start = line->len;
  put_str(line, format == LC_LOG_JSON ? ",\"" : " ");
  put_escaped(line, lc_slice_str(name), format == LC_LOG_JSON ? escape_json : escape_text);
  put_str(line, format == LC_LOG_JSON ? "\":" : "=");
  if (quoted)
    put_str(line, "\"");
  if (line->cut)
    line->len = start;
  return !line->cut;
}

static void put_string(struct lc_log_line *line, enum lc_log_format format, const char *name, struct lc_slice text,
                       escape_fn escape) {
  bool quoted = format == LC_LOG_JSON || needs_quotes(text, escape);
  if (!begin_field(line, format, name, quoted))
    return;
  put_escaped(line, text, escape);
  if (quoted)
    put_end(line, "\"");
}

/* A value that is bare in both formats. */
static void put_word(struct lc_log_line *line, enum lc_log_format format, const char *name, const char *word) {
  size_t start = line->len;
  if (!begin_field(line, format, name, false))
    return;
  put_str(line, word);
  if (line->cut)
    line->len = start;
}

static void put_number(struct lc_log_line *line, enum lc_log_format format, const char *name, int64_t number) {
  char digits[24];
  snprintf(digits, sizeof digits, "%" PRId64, number);
  put_word(line, format, name, digits);
}

static void put_real(struct lc_log_line *line, enum lc_log_format format, const char *name, double real) {
  char digits[32];
  snprintf(digits, sizeof digits, "%.14g", real);
  if (isfinite(real)) {
    put_word(line, format, name, digits);
  } else {
    put_string(line, format, name, lc_slice_str(digits), escape_text);
  }
}

static void put_key(struct lc_log_line *line, enum lc_log_format format, const char *name, struct lc_slice key) {
  struct lc_slice shown = lc_slice_of(key.ptr, key.len < KEY_BYTES ? key.len : KEY_BYTES);
  put_string(line, format, name, shown, format == LC_LOG_JSON ? escape_json_key : escape_key);
  char length_name[64];
  snprintf(length_name, sizeof length_name, "%s_bytes", name);
  if (shown.len < key.len)
    put_number(line, format, length_name, (int64_t)key.len);
}

static void put_field(struct lc_log_line *line, enum lc_log_format format, const struct lc_log_field *field) {
  switch (field->kind) {
  case LC_FIELD_STR:
    put_string(line, format, field->name, field->text, format == LC_LOG_JSON ? escape_json : escape_text);
    break;
  case LC_FIELD_KEY:
    put_key(line, format, field->name, field->text);
    break;
  case LC_FIELD_INT:
    put_number(line, format, field->name, field->number);
    break;
  case LC_FIELD_REAL:
    put_real(line, format, field->name, field->real);
    break;
  case LC_FIELD_BOOL:
    put_word(line, format, field->name, field->number ? "true" : "false");
    break;
  case LC_FIELD_END:
    break;
  }
}

static void put_time(struct lc_log_line *line, struct timespec wall) {
  struct tm utc;
  char seconds[40], whole[56];
  gmtime_r(&wall.tv_sec, &utc);
  strftime(seconds, sizeof seconds, "%Y-%m-%dT%H:%M:%S", &utc);
  snprintf(whole, sizeof whole, "%s.%03dZ", seconds, (int)(wall.tv_nsec / 1000000));
  put_str(line, whole);
}

static void put_head(struct lc_log_line *line, enum lc_log_format format, struct timespec wall, const char *level,
                     struct lc_slice event) {
  bool json = format == LC_LOG_JSON;
  put_str(line, json ? "{\"time\":\"" : "");
  put_time(line, wall);
  put_str(line, json ? "\",\"level\":\"" : " ");
  put_str(line, level);
  put_str(line, json ? "\",\"event\":\"" : " ");
  put_escaped(line, event, json ? escape_json : escape_text);
  if (json)
    put_end(line, "\"");
}

void lc_log_line_format(struct lc_log_line *line, enum lc_log_format format, struct timespec wall,
                        enum lc_log_level level, const char *event, const struct lc_log_field *fields) {
  bool json = format == LC_LOG_JSON;
  line->len = 0;
  line->cut = false;
  put_head(line, format, wall, level_names[level], lc_slice_str(event));
  for (; fields->kind != LC_FIELD_END && !line->cut; fields++)
    put_field(line, format, fields);
  if (line->cut)
    put_end(line, json ? ",\"cut\":true" : " cut=true");
  put_end(line, json ? "}\n" : "\n");
}
