#include "script/internal.h"

/* lcache.json. null is the light userdata NULL, which is true in a condition; arrays that came from JSON are marked. */
static int json_array(lua_State *L) {
  if (lua_isnoneornil(L, 1)) {
    lua_settop(L, 0);
    lua_newtable(L);
  }
  luaL_checktype(L, 1, LUA_TTABLE);
  lua_settop(L, 1);
  luaL_getmetatable(L, LC_JSON_ARRAY_MT);
  lua_setmetatable(L, 1);
  return 1;
}

void lc_bind_json(lua_State *L) {
  static const luaL_Reg functions[] = {
      {"encode", lc_json_encode}, {"decode", lc_json_decode}, {"array", json_array}, {NULL, NULL}};
  lua_newtable(L);
  luaL_setfuncs(L, functions, 0);
  lua_pushlightuserdata(L, NULL);
  lua_setfield(L, -2, "null");
  luaL_newmetatable(L, LC_JSON_ARRAY_MT);
  lua_setfield(L, -2, "array_mt");
  lua_setfield(L, -2, "json");
}
