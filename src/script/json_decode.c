#include <cjson/cJSON.h>
#include <pthread.h>
#include <string.h>

#include "base/alloc.h"
#include "script/internal.h"

/* JSON to Lua by cJSON's tree, whose memory is bounded by what the state has left. */

/*
 * cJSON's hooks are the process's and know no context, so each thread says what its parse may still take. Threads
 * without scripts parse too (the registry's), and bound what they parse themselves.
 */
static _Thread_local size_t parse_bytes_left = SIZE_MAX;
static _Thread_local bool parse_refused; /* an allocation of this parse */

static void *parse_malloc(size_t size) {
  void *ptr = size <= parse_bytes_left ? lc_malloc(size) : NULL;
  if (ptr) {
    parse_bytes_left -= size;
  } else {
    parse_refused = true;
  }
  return ptr;
}

static void set_hooks(void) {
  cJSON_InitHooks(&(cJSON_Hooks){.malloc_fn = parse_malloc, .free_fn = lc_free});
}

void lc_json_decode_init(void) {
  static pthread_once_t once = PTHREAD_ONCE_INIT;
  pthread_once(&once, set_hooks);
}

static void push(lua_State *L, const cJSON *json, int depth);

static void push_array(lua_State *L, const cJSON *json, int depth) {
  int i = 1;
  lua_newtable(L);
  luaL_getmetatable(L, LC_JSON_ARRAY_MT);
  lua_setmetatable(L, -2);
  for (const cJSON *child = json->child; child; child = child->next) {
    push(L, child, depth);
    lua_rawseti(L, -2, i++);
  }
}

static void push_object(lua_State *L, const cJSON *json, int depth) {
  lua_newtable(L);
  for (const cJSON *child = json->child; child; child = child->next) {
    lua_pushstring(L, child->string);
    push(L, child, depth);
    lua_rawset(L, -3);
  }
}

static void push(lua_State *L, const cJSON *json, int depth) {
  if (depth > LC_JSON_DEPTH)
    luaL_error(L, "nested deeper than %d", LC_JSON_DEPTH);
  luaL_checkstack(L, 8, "lcache.json.decode");
  switch (json->type & 0xff) {
  case cJSON_True:
  case cJSON_False:
    lua_pushboolean(L, (json->type & 0xff) == cJSON_True);
    return;
  case cJSON_Number:
    lua_pushnumber(L, json->valuedouble);
    return;
  case cJSON_String:
    lua_pushstring(L, json->valuestring);
    return;
  case cJSON_Array:
    push_array(L, json, depth + 1);
    return;
  case cJSON_Object:
    push_object(L, json, depth + 1);
    return;
  default:
    lua_pushlightuserdata(L, NULL);
  }
}

/* How deep arrays and objects are nested, outside of strings; exact for what parses. */
static bool too_deep(const char *text, size_t len) {
  int depth = 0;
  bool in_string = false;
  for (size_t i = 0; i < len; i++) {
    char c = text[i];
    if (in_string && c == '\\') {
      i++;
    } else if (c == '"') {
      in_string = !in_string;
    } else if (!in_string && (c == '[' || c == '{') && ++depth > LC_JSON_DEPTH) {
      return true;
    } else if (!in_string && (c == ']' || c == '}')) {
      depth--;
    }
  }
  return false;
}

/* \u0000 would end a string of cJSON's early, and what follows would be lost without a word. */
static bool has_nul_escape(const char *text, size_t len) {
  const char *end = text + len, *at = text;
  while ((at = memmem(at, (size_t)(end - at), "\\u0000", 6))) {
    size_t backslashes = 1;
    while (at - backslashes >= text && at[-(ptrdiff_t)backslashes] == '\\')
      backslashes++;
    if (backslashes % 2 == 1)
      return true;
    at += 6;
  }
  return false;
}

static int refuse(lua_State *L, const char *message) {
  lua_pushnil(L);
  lua_pushstring(L, message);
  return 2;
}

static void free_json(void *json) {
  cJSON_Delete(json);
}

int lc_json_decode(lua_State *L) {
  struct lc_slice json = lc_lua_check_text(L, 1, "lcache.json.decode: the text");
  const char *end = NULL, *text = (const char *)json.ptr;
  size_t len = json.len;
  lc_budget_check(L);
  if (too_deep(text, len))
    return refuse(L, "JSON is nested too deep");
  if (has_nul_escape(text, len))
    return refuse(L, "JSON with \\u0000 in a string can't be read");
  struct lc_holder *holder = lc_holder_push(L, free_json);
  parse_refused = false;
  parse_bytes_left = lc_script_memory_left(lc_script_of(L));
  /* The NUL behind every Lua string is part of the text for cJSON, which needs it to see that nothing follows. */
  holder->ptr = cJSON_ParseWithLengthOpts(text, len + 1, &end, 1);
  if (!holder->ptr && parse_refused)
    return refuse(L, "JSON is too large for the memory that is left to the script");
  if (!holder->ptr) {
    lua_pushnil(L);
    lua_pushfstring(L, "not JSON at byte %d", (int)(end ? end - text + 1 : 1));
    return 2;
  }
  push(L, holder->ptr, 0);
  lc_holder_free(holder);
  return 1;
}
