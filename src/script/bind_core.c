#include <string.h>

#include "base/clock.h"
#include "script/internal.h"

/* ctx, the second argument of a getter: a userdata that answers from its load, so that a load makes no table for it. */
static struct lc_coro *check_ctx(lua_State *L) {
  struct lc_coro *coro = luaL_checkudata(L, 1, LC_CTX_MT);
  if (!coro->load)
    luaL_error(L, "the load of this ctx is over");
  return coro;
}

static int ctx_remaining(lua_State *L) {
  lua_pushnumber(L, (lua_Number)lc_coro_remaining_ms(check_ctx(L)) / 1000);
  return 1;
}

static int push_slice(lua_State *L, struct lc_slice slice) {
  lua_pushlstring(L, (const char *)slice.ptr, slice.len);
  return 1;
}

/* Upvalue 1: the function `remaining`. */
static int ctx_index(lua_State *L) {
  const struct lc_coro *coro = check_ctx(L);
  const char *field = lua_type(L, 2) == LUA_TSTRING ? lua_tostring(L, 2) : "";
  if (strcmp(field, "key") == 0)
    return push_slice(L, lc_load_key(coro->load));
  if (strcmp(field, "group") == 0)
    return push_slice(L, lc_load_group(coro->load));
  if (strcmp(field, "remaining") != 0)
    return 0;
  lua_pushvalue(L, lua_upvalueindex(1));
  return 1;
}

static int ctx_newindex(lua_State *L) {
  return luaL_error(L, "ctx can't be written to");
}

void lc_bind_ctx(lua_State *L) {
  luaL_newmetatable(L, LC_CTX_MT);
  lua_pushcfunction(L, ctx_remaining);
  lua_pushcclosure(L, ctx_index, 1);
  lua_setfield(L, -2, "__index");
  lua_pushcfunction(L, ctx_newindex);
  lua_setfield(L, -2, "__newindex");
  lua_pushboolean(L, 0);
  lua_setfield(L, -2, "__metatable");
  lua_pop(L, 1);
}

void lc_bind_core(lua_State *L) {
  lua_newtable(L);
  lc_bind_declare(L);
  lc_bind_wait(L);
  lc_bind_get(L);
  lc_bind_http(L);
  lc_bind_json(L);
  lc_bind_log(L);
  lc_bind_secret(L);
}
