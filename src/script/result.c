#include <math.h>
#include <stdio.h>
#include <string.h>

#include "script/internal.h"

/* What a getter returned, or how it failed, as the load's result. */
#define LC_MESSAGE_MAX 1024u

static const char memory_message[] = "getter passed its memory cap";

static void set_error(struct lc_coro *coro, int code, const char *message) {
  lc_load_set_error(coro->load, code, message, strlen(message));
}

struct failure {
  struct lc_coro *coro;
  const char *why; /* NULL: the error value on top of the coroutine's stack */
};

/* Pushes where the getter begins: an error of a tail call, or a wrong result, has no line of its own. */
static const char *push_where(lua_State *L, const struct lc_coro *coro) {
  lua_Debug ar;
  lua_rawgeti(L, LUA_REGISTRYINDEX, coro->script->declared.groups[lc_load_group_index(coro->load)].getter);
  if (!lua_getinfo(L, ">S", &ar))
    return "?";
  return lua_pushfstring(L, "%s:%d", ar.source[0] == '@' ? ar.source + 1 : ar.short_src, ar.linedefined);
}

static bool has_lua_frame(lua_State *co) {
  lua_Debug ar;
  for (int level = 0; lua_getstack(co, level, &ar); level++)
    if (lua_getinfo(co, "S", &ar) && *ar.what != 'C')
      return true;
  return false;
}

/* With the error value of the coroutine on top. Where C was called last, by a tail call, no line of the script is left.
 */
static void read_error(lua_State *L, lua_State *co, struct lc_script_failure *line) {
  line->error =
      lua_type(L, -1) == LUA_TSTRING ? lua_tostring(L, -1) : lua_pushfstring(L, "error(a %s)", luaL_typename(L, -1));
  if (has_lua_frame(co)) {
    luaL_traceback(L, co, NULL, 0);
    line->traceback = lua_tostring(L, -1);
  } else {
    line->error = lua_pushfstring(L, "%s, in the getter at %s", line->error, line->getter);
  }
}

static int log_failure(lua_State *L) {
  const struct failure *failure = lua_touserdata(L, 1);
  const struct lc_load *load = failure->coro->load;
  struct lc_script_failure line = {"getter failed", lc_load_group(load), lc_load_key(load), failure->why, NULL, NULL};
  line.getter = push_where(L, failure->coro);
  if (!line.error) {
    lua_xmove(failure->coro->co, L, 1);
    read_error(L, failure->coro->co, &line);
  }
  lc_script_log_failure(failure->coro->script, &line);
  return 0;
}

static void fail(struct lc_coro *coro, const char *why, const char *message) {
  struct failure failure = {coro, why};
  struct lc_script *script = coro->script;
  /* What the line takes is little, and often it tells that the cap was reached. */
  script->memory.uncapped = true;
  if (lc_script_protect(script, log_failure, &failure, NULL) != LC_OK) {
    struct lc_script_failure line = {
        "getter failed", lc_load_group(coro->load), lc_load_key(coro->load), message, NULL, NULL};
    lc_script_log_failure(script, &line);
  }
  script->memory.uncapped = false;
  set_error(coro, LC_EINTERNAL, message);
  lc_load_set_logged(coro->load);
}

void lc_coro_set_memory_error(struct lc_coro *coro) {
  fail(coro, "not enough memory", memory_message);
}

static void fail_return(struct lc_coro *coro, const char *why) {
  fail(coro, why, "getter failed");
}

/* True with the TTL in ms as lc_load_set_value takes it. */
static bool read_ttl(lua_State *co, int idx, int64_t *ttl_ms) {
  uint64_t ms;
  *ttl_ms = -1;
  if (lua_isnoneornil(co, idx))
    return true;
  if (lua_type(co, idx) == LUA_TNUMBER && lua_tonumber(co, idx) == HUGE_VAL) {
    *ttl_ms = 0;
    return true;
  }
  if (!lc_lua_duration_ms(co, idx, &ms) || ms == 0 || ms > INT64_MAX)
    return false;
  *ttl_ms = (int64_t)ms;
  return true;
}

static void set_value(struct lc_coro *coro, int first) {
  lua_State *co = coro->co;
  size_t len;
  int64_t ttl_ms;
  if (!lua_isnoneornil(co, first + 1)) {
    fail_return(coro,
                "the getter returned a second result beside its value; a TTL is the third: return value, nil, ttl");
  } else if (!read_ttl(co, first + 2, &ttl_ms)) {
    fail_return(coro, "the getter's third result must be a TTL: seconds more than 0, or a duration such as \"60s\"");
  } else {
    const char *value = lua_tolstring(co, first, &len);
    lc_load_set_value(coro->load, lc_slice_of(value, len), ttl_ms);
  }
}

static void set_source_error(struct lc_coro *coro, int idx) {
  size_t len;
  const char *message = lua_tolstring(coro->co, idx, &len);
  lc_load_set_error(coro->load, LC_EUNAVAILABLE, message, len < LC_MESSAGE_MAX ? len : LC_MESSAGE_MAX);
}

static void set_returned(struct lc_coro *coro) {
  lua_State *co = coro->co;
  const int first = 2; /* above the userdata */
  char why[128];
  int type = lua_type(co, first), second = lua_type(co, first + 1);
  if (type == LUA_TSTRING) {
    set_value(coro, first);
  } else if (type != LUA_TNIL && type != LUA_TNONE) {
    snprintf(why, sizeof why, "the getter returned a %s; a value is a string", lua_typename(co, type));
    fail_return(coro, why);
  } else if (second == LUA_TSTRING) {
    set_source_error(coro, first + 1);
  } else if (second == LUA_TNIL || second == LUA_TNONE) {
    lc_load_set_not_found(coro->load);
  } else {
    snprintf(why, sizeof why, "the getter returned nil and a %s; a message is a string", lua_typename(co, second));
    fail_return(coro, why);
  }
}

void lc_coro_set_result(struct lc_coro *coro, int status, bool budget_passed) {
  if (budget_passed) {
    char message[64];
    snprintf(message, sizeof message, "getter passed its CPU budget of %dms",
             (int)(coro->script->cpu_budget_ns / 1000000));
    fail(coro, status > LUA_YIELD ? NULL : message, message);
  } else if (status == LUA_OK) {
    set_returned(coro);
  } else if (status == LUA_YIELD) {
    fail_return(coro, "the getter called coroutine.yield, and nobody will resume it; to wait, call lcache.sleep, "
                      "lcache.http or lcache.get");
  } else {
    fail(coro, NULL, status == LUA_ERRMEM ? memory_message : "getter failed");
  }
}
