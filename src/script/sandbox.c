#include <luajit.h>
#include <lualib.h>
#include <string.h>

#include "script/embedded.h"
#include "script/internal.h"
#include "script/path.h"

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

static int raise_blocking(lua_State *L) {
  lc_lua_raise(L, "%s is not available in lcache: it blocks the worker", lua_tostring(L, lua_upvalueindex(1)));
}

/* What scripts reach for first says why it isn't there. */
static void refuse_blocking(lua_State *L, const char *library, const char *name) {
  lua_getglobal(L, library);
  lua_pushfstring(L, "%s.%s", library, name);
  lua_pushcclosure(L, raise_blocking, 1);
  lua_setfield(L, -2, name);
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

/* Pushes a field of the library package, which a script may have replaced. */
static void push_package_field(lua_State *L, const char *field) {
  lua_getfield(L, LUA_REGISTRYINDEX, "_LOADED");
  lua_getfield(L, -1, "package");
  lua_getfield(L, -1, field);
  lua_replace(L, -3);
  lua_pop(L, 1);
}

/* The searcher of `require` for our own modules: Lua's, without a line in the message of what was not found. */
static int search_preload(lua_State *L) {
  luaL_checkstring(L, 1);
  push_package_field(L, "preload");
  lua_pushvalue(L, 1);
  lua_gettable(L, -2);
  return 1;
}

/* Pushes what `require` says of a module that is nowhere. */
static int explain_missing(lua_State *L) {
  bool getter = strncmp(lua_tostring(L, 1), "getters.", 8) == 0;
  const char *file = luaL_gsub(L, lua_tostring(L, 1), ".", "/");
  lua_pushfstring(L, "\n\tno %s.lua or %s/init.lua in %s%s", file, file, lua_tostring(L, lua_upvalueindex(2)),
                  getter ? lua_tostring(L, lua_upvalueindex(3)) : "");
  return 1;
}

/* The searcher of `require` for files, on package.path, for text only. Upvalues: our path, its folders, our getters. */
static int search_path(lua_State *L) {
  const char *name = luaL_checkstring(L, 1);
  push_package_field(L, "searchpath");
  lua_pushvalue(L, 1);
  push_package_field(L, "path");
  bool ours = lua_rawequal(L, -1, lua_upvalueindex(1));
  lua_call(L, 2, 2);
  if (lua_isnil(L, -2))
    return ours ? explain_missing(L) : 1;
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

/* Pushes package.path, then its folders for a message. */
static void push_folders(lua_State *L, const struct lc_folders *folders) {
  luaL_Buffer b;
  luaL_buffinit(L, &b);
  for (unsigned i = 0; i < folders->count; i++) {
    luaL_addstring(&b, folders->names[i]);
    luaL_addstring(&b, "?.lua;");
    luaL_addstring(&b, folders->names[i]);
    luaL_addstring(&b, "?/init.lua;");
  }
  luaL_pushresult(&b);
  luaL_buffinit(L, &b);
  for (unsigned i = 0; i < folders->count; i++) {
    luaL_addstring(&b, i ? ", " : "");
    luaL_addstring(&b, folders->names[i]);
  }
  luaL_pushresult(&b);
}

/* With package on top: its path, and the searcher for it, which it pushes. */
static void set_path(lua_State *L, const char *script) {
  struct lc_folders folders;
  char exe[PATH_MAX];
  lc_folders_find(&folders, script, lc_folders_exe(exe), LC_SHARE_DIR);
  push_folders(L, &folders);
  lua_pushvalue(L, -2);
  lua_setfield(L, -4, "path");
  lua_pushliteral(L, "");
  lua_setfield(L, -4, "cpath");
  if (folders.own >= 0) {
    lua_pushfstring(L, "\n\tlcache's own getters are in %sgetters/", folders.names[folders.own]);
  } else {
    lua_pushfstring(L, "\n\tlcache's own getters are not installed: they belong in %sgetters/",
                    folders.names[folders.count - 1]);
  }
  lua_pushcclosure(L, search_path, 3);
}

static void set_package(lua_State *L, const char *script) {
  static const char *const gone[] = {"loadlib", NULL};
  lua_getglobal(L, "package");
  remove_fields(L, gone);
  set_preload(L);
  lua_getfield(L, -1, "loaders");
  lua_pushcfunction(L, search_preload);
  lua_rawseti(L, -2, 1);
  lua_insert(L, -2);
  set_path(L, script);
  lua_rawseti(L, -3, 2);
  lua_pop(L, 1);
  for (int i = 3; i <= 4; i++) {
    lua_pushnil(L);
    lua_rawseti(L, -2, i);
  }
  lua_pop(L, 1);
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
  refuse_blocking(L, LUA_OSLIBNAME, "execute");
  refuse_blocking(L, LUA_IOLIBNAME, "popen");
  remove_from(L, LUA_STRLIBNAME, string_gone);
  replace_base(L);
  set_package(L, script->path);
  lc_bind_ctx(L);
}
