#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "script/internal.h"

/*
 * Lua to JSON, straight into a buffer: cJSON's printer ends strings at a NUL, which Lua strings may contain. Tables are
 * read raw. Misuse raises, a table that contains itself by the limit on depth.
 */
struct encoder {
  lua_State *L;
  struct lc_buf *buf;
  size_t limit;
};

static void encode(struct encoder *e, int depth);

static void check_room(struct encoder *e) {
  if (e->buf->failed)
    luaL_error(e->L, "not enough memory");
  if (e->buf->len > e->limit)
    luaL_error(e->L, "lcache.json.encode: the text is larger than the memory that is left");
}

static void encode_number(struct encoder *e, double number) {
  char text[32];
  if (!isfinite(number))
    luaL_error(e->L, "lcache.json.encode: JSON has no inf and no nan");
  if (lc_lua_whole(number)) {
    snprintf(text, sizeof text, "%.0f", number == 0 ? 0.0 : number);
  } else {
    snprintf(text, sizeof text, "%.15g", number);
    if (strtod(text, NULL) != number)
      snprintf(text, sizeof text, "%.17g", number);
  }
  lc_buf_str(e->buf, text);
}

static void encode_string(struct encoder *e, int idx) {
  size_t len;
  const char *text = lua_tolstring(e->L, idx, &len);
  lc_buf_json(e->buf, lc_slice_of(text, len));
  check_room(e);
}

static void encode_array(struct encoder *e, size_t count, int depth) {
  lc_buf_char(e->buf, '[');
  for (size_t i = 1; i <= count; i++) {
    if (i > 1)
      lc_buf_char(e->buf, ',');
    lua_rawgeti(e->L, -1, (int)i);
    encode(e, depth);
    lua_pop(e->L, 1);
  }
  lc_buf_char(e->buf, ']');
}

static void encode_object(struct encoder *e, int depth) {
  bool first = true;
  lc_buf_char(e->buf, '{');
  lua_pushnil(e->L);
  while (lua_next(e->L, -2)) {
    if (lua_type(e->L, -2) != LUA_TSTRING)
      luaL_error(
          e->L, "lcache.json.encode: a table with holes, or with keys of different types, is neither array nor object");
    if (!first)
      lc_buf_char(e->buf, ',');
    first = false;
    encode_string(e, -2);
    lc_buf_char(e->buf, ':');
    encode(e, depth);
    lua_pop(e->L, 1);
  }
  lc_buf_char(e->buf, '}');
}

static bool is_marked_array(lua_State *L) {
  if (!lua_getmetatable(L, -1))
    return false;
  luaL_getmetatable(L, LC_JSON_ARRAY_MT);
  bool marked = lua_rawequal(L, -1, -2);
  lua_pop(L, 2);
  return marked;
}

/* True if the keys of the table on top are 1 to *count, and nothing else. */
static bool is_sequence(lua_State *L, size_t *count) {
  size_t pairs = 0;
  *count = lua_objlen(L, -1);
  lua_pushnil(L);
  while (lua_next(L, -2)) {
    lua_pop(L, 1);
    double key = lua_type(L, -1) == LUA_TNUMBER ? lua_tonumber(L, -1) : 0;
    if (!(key >= 1) || key > (double)*count || !lc_lua_whole(key)) {
      lua_pop(L, 1);
      return false;
    }
    pairs++;
  }
  return pairs == *count;
}

static void encode_table(struct encoder *e, int depth) {
  size_t count;
  if (depth >= LC_JSON_DEPTH)
    luaL_error(e->L, "lcache.json.encode: nested deeper than %d (does the table contain itself?)", LC_JSON_DEPTH);
  luaL_checkstack(e->L, 8, "lcache.json.encode");
  lc_budget_check(e->L);
  bool marked = is_marked_array(e->L), sequence = is_sequence(e->L, &count);
  if (marked && !sequence)
    luaL_error(e->L, "lcache.json.encode: an array has holes or keys that are no positions");
  if (marked || (sequence && count > 0)) {
    encode_array(e, count, depth + 1);
  } else {
    encode_object(e, depth + 1);
  }
  check_room(e);
}

static void encode(struct encoder *e, int depth) {
  lua_State *L = e->L;
  switch (lua_type(L, -1)) {
  case LUA_TTABLE:
    encode_table(e, depth);
    return;
  case LUA_TSTRING:
    encode_string(e, -1);
    return;
  case LUA_TNUMBER:
    encode_number(e, lua_tonumber(L, -1));
    return;
  case LUA_TBOOLEAN:
    lc_buf_str(e->buf, lua_toboolean(L, -1) ? "true" : "false");
    return;
  case LUA_TLIGHTUSERDATA:
    if (lua_touserdata(L, -1))
      break;
    lc_buf_str(e->buf, "null");
    return;
  case LUA_TNIL:
    lc_buf_str(e->buf, "null");
    return;
  default:
    break;
  }
  luaL_error(L, "lcache.json.encode: a %s has no form in JSON", luaL_typename(L, -1));
}

int lc_json_encode(lua_State *L) {
  luaL_checkany(L, 1);
  lua_settop(L, 1);
  lc_budget_check(L);
  struct encoder e = {.L = L, .buf = lc_lua_buf_push(L), .limit = lc_script_memory_left(lc_script_of(L))};
  lua_pushvalue(L, 1);
  encode(&e, 0);
  return lc_lua_buf_result(L, e.buf);
}
