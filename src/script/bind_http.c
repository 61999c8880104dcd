#include <string.h>

#include "script/internal.h"

/* lcache.http: lua/lcache/init.lua has checked the options; the fetcher does the work. */
#define LC_HTTP_HEADERS_MAX 100
#define LC_HTTP_CONNECT_TIMEOUT_MS 3000
#define AFTER_DEADLINE_MS 1000u

/* A name or value that would end its line could add headers, or a request. */
static const char *check_header(lua_State *L, int idx) {
  size_t len;
  if (lua_type(L, idx) != LUA_TSTRING)
    luaL_error(L, "lcache.http: headers must be strings, got a %s", luaL_typename(L, idx));
  const char *text = lua_tolstring(L, idx, &len);
  if (strlen(text) != len || strpbrk(text, "\r\n"))
    luaL_error(L, "lcache.http: a header holds a line end or a NUL");
  return text;
}

/* The strings are the table's, which the caller's stack holds. */
static size_t read_headers(lua_State *L, int table, struct lc_fetch_header *headers) {
  size_t count = 0;
  if (lua_isnoneornil(L, table))
    return 0;
  luaL_checktype(L, table, LUA_TTABLE);
  lua_pushnil(L);
  while (lua_next(L, table)) {
    if (count == LC_HTTP_HEADERS_MAX)
      luaL_error(L, "lcache.http: more than %d headers", LC_HTTP_HEADERS_MAX);
    headers[count++] = (struct lc_fetch_header){check_header(L, -2), check_header(L, -1)};
    lua_pop(L, 1);
  }
  return count;
}

static const char *check_text(lua_State *L, int idx, const char *what) {
  size_t len;
  const char *text = luaL_checklstring(L, idx, &len);
  if (strlen(text) != len)
    luaL_error(L, "lcache.http: the %s contains a NUL", what);
  return text;
}

static const char *check_method(lua_State *L, int idx) {
  const char *method = check_text(L, idx, "method");
  if (!*method || strspn(method, "ABCDEFGHIJKLMNOPQRSTUVWXYZ") != strlen(method))
    luaL_error(L, "lcache.http: a method is made of capital letters");
  return method;
}

static uint64_t least(uint64_t a, uint64_t b) {
  return a < b ? a : b;
}

static uint64_t number_or(lua_State *L, int idx, uint64_t otherwise) {
  return lua_isnoneornil(L, idx) ? otherwise : lc_lua_count(luaL_checknumber(L, idx));
}

/* At least 1: 0 would mean no limit to the fetcher. */
static uint64_t at_least_1(uint64_t n) {
  return n ? n : 1;
}

static void read_limits(lua_State *L, const struct lc_coro *coro, struct lc_fetch_request *request) {
  uint64_t remaining = lc_coro_remaining_ms(coro);
  /* A response is copied into Lua: one that takes half of what the state may have would only fail there. */
  uint64_t most = coro->script->memory.limit / 2;
  uint64_t wanted = number_or(L, 5, remaining);
  /* Where the load's deadline is the bound it must be what ends the wait: it cancels the request, and callers hear
   * DEADLINE_EXCEEDED and not, by a race, that the source failed. */
  request->timeout_ms = at_least_1(wanted < remaining ? wanted : remaining + AFTER_DEADLINE_MS);
  request->connect_timeout_ms = at_least_1(least(number_or(L, 6, LC_HTTP_CONNECT_TIMEOUT_MS), request->timeout_ms));
  request->max_response_bytes = (size_t)at_least_1(least(number_or(L, 7, most), most));
  request->max_redirects = (unsigned)least(number_or(L, 8, 0), 20);
}

/* One name twice: the values in a row, as RFC 9110 5.3 lets us. */
static void push_header(lua_State *L, const struct lc_fetch_header *header) {
  lua_getfield(L, -1, header->name);
  if (lua_isnil(L, -1)) {
    lua_pushstring(L, header->value);
  } else {
    lua_pushfstring(L, "%s, %s", lua_tostring(L, -1), header->value);
  }
  lua_setfield(L, -3, header->name);
  lua_pop(L, 1);
}

static int deliver_response(lua_State *L) {
  const struct lc_fetch_response *response = lua_touserdata(L, 1);
  if (response->code != LC_OK) {
    lua_pushnil(L);
    lua_pushstring(L, response->message ? response->message : lc_code_name(response->code));
    return 2;
  }
  lua_createtable(L, 0, 3);
  lua_pushinteger(L, (lua_Integer)response->status);
  lua_setfield(L, -2, "status");
  lua_pushlstring(L, (const char *)response->body.ptr, response->body.len);
  lua_setfield(L, -2, "body");
  lua_createtable(L, 0, (int)response->header_count);
  for (size_t i = 0; i < response->header_count; i++)
    push_header(L, &response->headers[i]);
  lua_setfield(L, -2, "headers");
  return 1;
}

static void fetched(void *arg, const struct lc_fetch_response *response) {
  struct lc_coro *coro = arg;
  coro->fetch = NULL;
  lc_coro_resume(coro, deliver_response, (void *)(uintptr_t)response);
}

/* core.fetch(method, url, headers, body, timeout_ms, connect_timeout_ms, max_bytes, redirects) */
static int core_fetch(lua_State *L) {
  struct lc_fetch_header headers[LC_HTTP_HEADERS_MAX];
  struct lc_fetch_request request = {.method = check_method(L, 1), .url = check_text(L, 2, "URL")};
  struct lc_err err = {0};
  request.headers = headers;
  request.header_count = read_headers(L, 3, headers);
  if (!lua_isnoneornil(L, 4)) {
    request.body.ptr = (const uint8_t *)luaL_checklstring(L, 4, &request.body.len);
    request.has_body = true;
  }
  struct lc_coro *coro = lc_coro_waiting(L, "lcache.http");
  if (!coro->script->fetcher)
    return luaL_error(L, "lcache.http: there is no HTTP here");
  read_limits(L, coro, &request);
  if (lc_fetch_start(coro->script->fetcher, &request, fetched, coro, &coro->fetch, &err) == LC_OK)
    return lc_coro_yield(L, coro, LC_WAIT_FETCH);
  coro->fetch = NULL;
  lua_pushnil(L);
  lua_pushstring(L, err.msg);
  return 2;
}

static int core_escape(lua_State *L) {
  struct lc_slice text = lc_lua_check_text(L, 1, "lcache.http.escape: the text");
  struct lc_buf *buf = lc_lua_buf_push(L);
  if ((text.len == 1 || text.len == 2) && strspn((const char *)text.ptr, ".") == text.len) {
    /* A key between slashes: libcurl would go to the folder above. */
    lc_buf_str(buf, text.len == 2 ? "%2E%2E" : "%2E");
  } else {
    (void)lc_fetch_escape(text, buf);
  }
  return lc_lua_buf_result(L, buf);
}

void lc_bind_http(lua_State *L) {
  static const luaL_Reg functions[] = {{"fetch", core_fetch}, {"escape", core_escape}, {NULL, NULL}};
  luaL_setfuncs(L, functions, 0);
}
