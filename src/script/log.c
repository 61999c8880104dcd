#include <string.h>

#include "base/clock.h"
#include "script/internal.h"

#define LC_SCRIPT_LINES_A_SECOND 100
#define LC_SCRIPT_LOG_FIELDS 16
#define LC_SCRIPT_PRINT_MAX ((size_t)16384) /* a line of the log is cut before that */

bool lc_rate_take(struct lc_script *script, struct lc_script_rate *rate) {
  uint64_t second = lc_clock_ms() / 1000;
  if (second != rate->second) {
    unsigned dropped = rate->dropped;
    *rate = (struct lc_script_rate){.second = second};
    if (dropped)
      lc_log_event(script->log, LC_LOG_WARN, "script lines dropped", LC_F_INT("lines", dropped));
  }
  if (rate->lines++ < LC_SCRIPT_LINES_A_SECOND)
    return true;
  rate->dropped++;
  return false;
}

void lc_script_log_failure(struct lc_script *script, const struct lc_script_failure *failure) {
  struct lc_log_field fields[6] = {LC_F_TEXT("group", failure->group), LC_F_KEY(failure->key),
                                   LC_F_STR("error", failure->error)};
  unsigned n = 3;
  if (!lc_log_enabled(script->log, LC_LOG_WARN) || !lc_rate_take(script, &script->failure_rate))
    return;
  if (failure->getter)
    fields[n++] = LC_F_STR("getter", failure->getter);
  if (failure->traceback)
    fields[n++] = LC_F_STR("traceback", failure->traceback);
  lc_log_fields(script->log, LC_LOG_WARN, failure->event, fields);
}

/* Every worker runs the script, and a describing state did before: one of them is enough to log what it says then. */
static bool wanted(struct lc_script *script, enum lc_log_level level) {
  if (!lc_log_enabled(script->log, level))
    return false;
  if (script->loading && (!script->worker || lc_worker_index(script->worker) != 0))
    return false;
  return lc_rate_take(script, &script->log_rate);
}

static bool name_ok(const char *name) {
  return *name && strspn(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.-") == strlen(name);
}

static struct lc_slice slice_at(lua_State *L, int idx) {
  size_t len;
  const char *text = lua_tolstring(L, idx, &len);
  return lc_slice_of(text, len);
}

/* What a line has anyway: in JSON a second one of that name would hide it, or be hidden. */
static bool name_taken(const char *name) {
  static const char *const taken[] = {"time", "level", "event", "message", "cut"};
  for (size_t i = 0; i < sizeof taken / sizeof taken[0]; i++)
    if (strcmp(name, taken[i]) == 0)
      return true;
  return false;
}

/* Text stays where it is. */
static bool read_field(lua_State *L, int idx, struct lc_log_field *field) {
  switch (lua_type(L, idx)) {
  case LUA_TSTRING:
    *field = LC_F_TEXT(NULL, slice_at(L, idx));
    return true;
  case LUA_TBOOLEAN:
    *field = LC_F_BOOL(NULL, lua_toboolean(L, idx));
    return true;
  case LUA_TNUMBER:
    *field = LC_F_REAL(NULL, lua_tonumber(L, idx));
    if (lc_lua_whole(lua_tonumber(L, idx)))
      *field = LC_F_INT(NULL, lua_tonumber(L, idx));
    return true;
  default:
    return false;
  }
}

/* The names and texts are the table's, which the caller's stack holds. */
static void read_fields(lua_State *L, int table, struct lc_log_field *fields) {
  size_t n = 1;
  lua_pushnil(L);
  while (lua_next(L, table)) {
    const char *name = lua_type(L, -2) == LUA_TSTRING ? lua_tostring(L, -2) : "";
    if (!name_ok(name))
      luaL_error(L, "lcache.log: a field's name must be of letters, digits, '_', '.' and '-'");
    if (name_taken(name))
      luaL_error(L, "lcache.log: a field can't be named %s: the line has one of its own", name);
    if (n > LC_SCRIPT_LOG_FIELDS)
      luaL_error(L, "lcache.log: more than %d fields", LC_SCRIPT_LOG_FIELDS);
    if (!read_field(L, -1, &fields[n]))
      luaL_error(L, "lcache.log: field %s must be a string, a number or a boolean, got a %s", name,
                 luaL_typename(L, -1));
    fields[n++].name = name;
    lua_pop(L, 1);
  }
}

static int write_log(lua_State *L, enum lc_log_level level) {
  struct lc_script *script = lc_script_of(L);
  struct lc_log_field fields[LC_SCRIPT_LOG_FIELDS + 2] = {{0}};
  lc_lua_check_text(L, 1, "lcache.log: the message");
  fields[0] = LC_F_TEXT("message", slice_at(L, 1));
  if (!lua_isnoneornil(L, 2)) {
    luaL_checktype(L, 2, LUA_TTABLE);
    read_fields(L, 2, fields);
  }
  if (wanted(script, level))
    lc_log_fields(script->log, level, "script", fields);
  return 0;
}

static int log_debug(lua_State *L) {
  return write_log(L, LC_LOG_DEBUG);
}

static int log_info(lua_State *L) {
  return write_log(L, LC_LOG_INFO);
}

static int log_warn(lua_State *L) {
  return write_log(L, LC_LOG_WARN);
}

static int log_error(lua_State *L) {
  return write_log(L, LC_LOG_ERROR);
}

static void append_printed(struct lc_buf *buf, const char *text, size_t len, bool first) {
  size_t room = buf->len < LC_SCRIPT_PRINT_MAX ? LC_SCRIPT_PRINT_MAX - buf->len : 0;
  if (!first && room)
    lc_buf_char(buf, ' ');
  lc_buf_append(buf, text, len < room ? len : room);
}

int lc_script_print(lua_State *L) {
  struct lc_script *script = lc_script_of(L);
  int n = lua_gettop(L);
  struct lc_buf *buf = lc_lua_buf_push(L);
  lua_getglobal(L, "tostring");
  for (int i = 1; i <= n; i++) {
    size_t len;
    lua_pushvalue(L, -1);
    lua_pushvalue(L, i);
    lua_call(L, 1, 1);
    if (lua_type(L, -1) != LUA_TSTRING)
      return luaL_error(L, "print: tostring gave no string");
    const char *text = lua_tolstring(L, -1, &len);
    append_printed(buf, text, len, i == 1);
    lua_pop(L, 1);
  }
  if (wanted(script, LC_LOG_INFO))
    lc_log_event(script->log, LC_LOG_INFO, "script", LC_F_TEXT("message", lc_buf_slice(buf)));
  lc_buf_fini(buf);
  return 0;
}

void lc_bind_log(lua_State *L) {
  static const luaL_Reg functions[] = {
      {"debug", log_debug}, {"info", log_info}, {"warn", log_warn}, {"error", log_error}, {NULL, NULL}};
  lua_newtable(L);
  luaL_setfuncs(L, functions, 0);
  lua_setfield(L, -2, "log");
}
