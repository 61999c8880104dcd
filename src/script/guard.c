#include <errno.h>
#include <string.h>
#include <sys/stat.h>

#include "script/internal.h"

/*
 * Functions of Lua's own that a mistake in a script would turn against the whole worker, with a guard before them. They
 * end in a tail call, so that errors name the script's line as ever.
 */
static const char source[] =
    "local pcall, check_stack, is_pipe, gsub, open, lines = ...\n"

    /* LuaJIT runs an error's handler with hooks off: an endless one would never end. So ours runs after the error. */
    "local function finish(handler, ok, ...)\n"
    "  if ok then return true, ... end\n"
    "  local _, message = pcall(handler, (...))\n"
    "  return false, message\n"
    "end\n"
    "function xpcall(f, handler, ...) return finish(handler, pcall(f, ...)) end\n"

    "function string.gsub(...) check_stack() return gsub(...) end\n"

    "function io.open(path, ...)\n"
    "  if is_pipe(path) then return nil, path .. ': a named pipe would block the worker', 22 end\n"
    "  return open(path, ...)\n"
    "end\n"
    "function io.lines(path, ...)\n"
    "  if path == nil then error(\"bad argument #1 to 'lines' (a file's name expected, got nil)\", 2) end\n"
    "  if is_pipe(path) then error(path .. ': a named pipe would block the worker', 2) end\n"
    "  return lines(path, ...)\n"
    "end\n";

_Static_assert(EINVAL == 22, "the number in io.open");

/* Opening one waits until somebody opens its other end. */
static int is_pipe(lua_State *L) {
  struct stat status;
  const char *path = lua_type(L, 1) == LUA_TSTRING ? lua_tostring(L, 1) : "";
  lua_pushboolean(L, stat(path, &status) == 0 && S_ISFIFO(status.st_mode));
  return 1;
}

static void push_field(lua_State *L, const char *library, const char *name) {
  lua_getglobal(L, library);
  lua_getfield(L, -1, name);
  lua_remove(L, -2);
}

static void open_guards(lua_State *L) {
  if (luaL_loadbuffer(L, source, sizeof source - 1, "=guard") != 0)
    lua_error(L);
  lua_getglobal(L, "pcall");
  lua_pushcfunction(L, lc_budget_check_stack);
  lua_pushcfunction(L, is_pipe);
  push_field(L, "string", "gsub");
  push_field(L, "io", "open");
  push_field(L, "io", "lines");
  lua_call(L, 6, 0);
}

/* Copies the methods of the metatable on top into a table, which it pushes. */
static void push_methods(lua_State *L) {
  lua_newtable(L);
  lua_pushnil(L);
  while (lua_next(L, -3)) {
    lua_pushvalue(L, -2);
    lua_insert(L, -2);
    if (lua_type(L, -2) == LUA_TSTRING && strncmp(lua_tostring(L, -2), "__", 2) != 0) {
      lua_rawset(L, -4);
    } else {
      lua_pop(L, 2);
    }
  }
}

/* A finalizer runs with hooks off, so a script must not be able to set one: file.__index would be the metatable. */
static void hide_file_metatable(lua_State *L) {
  push_field(L, "io", "stdout");
  if (lua_getmetatable(L, -1)) {
    push_methods(L);
    lua_setfield(L, -2, "__index");
    lua_pushboolean(L, 0);
    lua_setfield(L, -2, "__metatable");
    lua_pop(L, 1);
  }
  lua_pop(L, 1);
}

void lc_guard_open(lua_State *L) {
  hide_file_metatable(L);
  open_guards(L);
}
