#include <luajit.h>
#include <lualib.h>
#include <string.h>

#include "script/embedded.h"
#include "script/internal.h"

/*
 * What a script finds in its state: Lua's libraries without what blocks a worker for long, ends the process, reads
 * bytecode or reaches into C. This keeps mistakes of a script away from the server; it is no jail for hostile scripts.
 */
#ifndef LC_SHARE_DIR
#define LC_SHARE_DIR "/usr/local/share/lcache/lua"
#endif

static void open_library(lua_State *L, const char *name, lua_CFunction open) {
  lua_pushcfunction(L, open);
  lua_pushstring(L, name);
  lua_call(L, 1, 0);
}

/* Sets fields of the table on top to nil. */
static void remove_fields(lua_State *L, const char *const *names) {
  for (; *names; names++) {
    lua_pushnil(L);
    lua_setfield(L, -2, *names);
  }
}

static void remove_from(lua_State *L, const char *library, const char *const *names) {
  lua_getglobal(L, library);
  remove_fields(L, names);
  lua_pop(L, 1);
}

/* Keeps only the named fields of a global library. */
static void keep_only(lua_State *L, const char *library, const char *const *names) {
  lua_newtable(L);
  lua_getglobal(L, library);
  for (; *names; names++) {
    lua_getfield(L, -1, *names);
    lua_setfield(L, -3, *names);
  }
  lua_pop(L, 1);
  lua_pushvalue(L, -1);
  lua_setglobal(L, library);
  lua_getfield(L, LUA_REGISTRYINDEX, "_LOADED");
  lua_insert(L, -2);
  lua_setfield(L, -2, library);
  lua_pop(L, 1);
}

/* load and loadstring for text only: bytecode isn't checked, and broken bytecode breaks the process. */
static int load_text(lua_State *L) {
  lua_settop(L, 4);
  lua_pushliteral(L, "t");
  lua_replace(L, 3);
  lua_pushvalue(L, lua_upvalueindex(1));
  lua_insert(L, 1);
  lua_call(L, 4, LUA_MULTRET);
  return lua_gettop(L);
}

static int load_file(lua_State *L) {
  if (luaL_loadfilex(L, luaL_checkstring(L, 1), "t") == 0)
    return 1;
  lua_pushnil(L);
  lua_insert(L, -2);
  return 2;
}

static int do_file(lua_State *L) {
  if (luaL_loadfilex(L, luaL_checkstring(L, 1), "t") != 0)
    return lua_error(L);
  lua_call(L, 0, LUA_MULTRET);
  return lua_gettop(L) - 1;
}

/* Without "stop" and the tuning knobs, which are the server's. */
static int collect_garbage(lua_State *L) {
  static const char *const actions[] = {"collect", "count", "step", NULL};
  lc_budget_check(L);
  switch (luaL_checkoption(L, 1, "collect", actions)) {
  case 0:
    lua_gc(L, LUA_GCCOLLECT, 0);
    lua_pushinteger(L, 0);
    return 1;
  case 1:
    lua_pushnumber(L, (lua_Number)lua_gc(L, LUA_GCCOUNT, 0) + (lua_Number)lua_gc(L, LUA_GCCOUNTB, 0) / 1024);
    return 1;
  default:
    lua_pushboolean(L, lua_gc(L, LUA_GCSTEP, (int)luaL_optinteger(L, 2, 0)));
    return 1;
  }
}

static void replace_base(lua_State *L) {
  static const char *const gone[] = {"newproxy", "gcinfo", NULL};
  static const luaL_Reg ours[] = {{"loadfile", load_file},
                                  {"dofile", do_file},
                                  {"collectgarbage", collect_garbage},
                                  {"print", lc_script_print},
                                  {NULL, NULL}};
  lua_pushvalue(L, LUA_GLOBALSINDEX);
  luaL_setfuncs(L, ours, 0);
  remove_fields(L, gone);
  lua_getfield(L, -1, "load");
  lua_pushcclosure(L, load_text, 1);
  lua_pushvalue(L, -1);
  lua_setfield(L, -3, "load");
  lua_setfield(L, -2, "loadstring");
  lua_pop(L, 1);
}

/* The searcher of `require` for files, on package.path, for text only. */
static int search_path(lua_State *L) {
  const char *name = luaL_checkstring(L, 1);
  lua_getfield(L, LUA_REGISTRYINDEX, "_LOADED");
  lua_getfield(L, -1, "package");
  lua_getfield(L, -1, "searchpath");
  lua_pushvalue(L, 1);
  lua_getfield(L, -3, "path");
  lua_call(L, 2, 2);
  if (lua_isnil(L, -2))
    return 1;
  const char *file = lua_tostring(L, -2);
  if (luaL_loadfilex(L, file, "t") == 0)
    return 1;
  return luaL_error(L, "cannot load module '%s': %s", name, lua_tostring(L, -1));
}

static int load_embedded(lua_State *L) {
  const struct lc_embedded_lua *module = lua_touserdata(L, lua_upvalueindex(1));
  lua_pushfstring(L, "=%s", module->name);
  if (luaL_loadbufferx(L, module->source, module->len, lua_tostring(L, -1), "t") != 0)
    return lua_error(L);
  lua_pushstring(L, module->name);
  lua_call(L, 1, 1);
  return 1;
}

static int load_core(lua_State *L) {
  lc_bind_core(L);
  return 1;
}

/* With package on top: only our own modules are there without a file. */
static void set_preload(lua_State *L) {
  lua_getfield(L, -1, "preload");
  lua_pushnil(L);
  while (lua_next(L, -2)) {
    lua_pop(L, 1);
    lua_pushvalue(L, -1);
    lua_pushnil(L);
    lua_rawset(L, -4);
  }
  for (const struct lc_embedded_lua *module = lc_embedded_lua; module->name; module++) {
    lua_pushlightuserdata(L, (void *)(uintptr_t)module);
    lua_pushcclosure(L, load_embedded, 1);
    lua_setfield(L, -2, module->name);
  }
  lua_pushcfunction(L, load_core);
  lua_setfield(L, -2, "lcache.core");
  lua_pop(L, 1);
}

static void add_folder(luaL_Buffer *b, const char *dir, size_t len, const char *below) {
  static const char *const files[] = {"?.lua;", "?/init.lua;"};
  for (size_t i = 0; i < 2; i++) {
    luaL_addlstring(b, dir, len);
    luaL_addstring(b, below);
    luaL_addstring(b, files[i]);
  }
}

static void set_path(lua_State *L, const char *script) {
  const char *slash = strrchr(script, '/');
  size_t dir_len = slash ? (size_t)(slash - script) + 1 : 2;
  const char *dir = slash ? script : "./";
  luaL_Buffer b;
  luaL_buffinit(L, &b);
  add_folder(&b, dir, dir_len, "");
  add_folder(&b, dir, dir_len, "lua/");
  add_folder(&b, "./", 2, "lua/");
  add_folder(&b, LC_SHARE_DIR, strlen(LC_SHARE_DIR), "/");
  luaL_pushresult(&b);
  lua_setfield(L, -2, "path");
  lua_pushliteral(L, "");
  lua_setfield(L, -2, "cpath");
}

static void set_package(lua_State *L, const char *script) {
  static const char *const gone[] = {"loadlib", NULL};
  lua_getglobal(L, "package");
  remove_fields(L, gone);
  set_preload(L);
  set_path(L, script);
  lua_getfield(L, -1, "loaders");
  lua_pushcfunction(L, search_path);
  lua_rawseti(L, -2, 2);
  for (int i = 3; i <= 4; i++) {
    lua_pushnil(L);
    lua_rawseti(L, -2, i);
  }
  lua_pop(L, 2);
}

static void open_jit(lua_State *L, bool on) {
  static const char *const loaded[] = {"jit", "jit.opt", "jit.util", NULL};
  if (on) {
    open_library(L, LUA_JITLIBNAME, luaopen_jit);
    lua_pushnil(L);
    lua_setglobal(L, "jit");
    lua_getfield(L, LUA_REGISTRYINDEX, "_LOADED");
    remove_fields(L, loaded);
    lua_pop(L, 1);
  }
  luaJIT_setmode(L, 0, LUAJIT_MODE_ENGINE | (on ? LUAJIT_MODE_ON : LUAJIT_MODE_OFF));
}

void lc_sandbox_open(lua_State *L, struct lc_script *script) {
  static const char *const os_kept[] = {"time", "clock", "date", "difftime", "getenv", NULL};
  static const char *const io_kept[] = {"open", "lines", "type", NULL};
  static const char *const string_gone[] = {"dump", NULL};
  open_library(L, "", luaopen_base);
  open_library(L, LUA_LOADLIBNAME, luaopen_package);
  open_library(L, LUA_TABLIBNAME, luaopen_table);
  open_library(L, LUA_STRLIBNAME, luaopen_string);
  open_library(L, LUA_MATHLIBNAME, luaopen_math);
  open_library(L, LUA_BITLIBNAME, luaopen_bit);
  open_library(L, LUA_OSLIBNAME, luaopen_os);
  open_library(L, LUA_IOLIBNAME, luaopen_io);
  open_jit(L, script->jit);
  lc_guard_open(L);
  keep_only(L, LUA_OSLIBNAME, os_kept);
  keep_only(L, LUA_IOLIBNAME, io_kept);
  remove_from(L, LUA_STRLIBNAME, string_gone);
  replace_base(L);
  set_package(L, script->path);
  lc_bind_ctx(L);
}
