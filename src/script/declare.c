#include <string.h>

#include "base/alloc.h"
#include "base/parse.h"
#include "script/internal.h"

/* What a script declares while it loads. lua/lcache/init.lua has checked the types and worded the mistakes before. */
#define LC_SCRIPT_GROUPS_MAX 4096
#define LC_SCRIPT_SETTINGS_MAX 256

static const double max_exact = 9007199254740992.0;

bool lc_lua_duration_ms(lua_State *L, int idx, uint64_t *ms) {
  if (lua_type(L, idx) == LUA_TNUMBER) {
    double seconds = lua_tonumber(L, idx);
    if (!(seconds >= 0) || seconds * 1000 > max_exact)
      return false;
    *ms = (uint64_t)(seconds * 1000);
    if ((double)*ms < seconds * 1000)
      ++*ms;
    return true;
  }
  return lua_type(L, idx) == LUA_TSTRING && lc_parse_duration_ms(lua_tostring(L, idx), ms, NULL) == LC_OK;
}

bool lc_lua_size(lua_State *L, int idx, uint64_t *bytes) {
  if (lua_type(L, idx) == LUA_TNUMBER) {
    double n = lua_tonumber(L, idx);
    if (!(n >= 0) || n > max_exact || (double)(uint64_t)n != n)
      return false;
    *bytes = (uint64_t)n;
    return true;
  }
  return lua_type(L, idx) == LUA_TSTRING && lc_parse_size(lua_tostring(L, idx), bytes, NULL) == LC_OK;
}

static int core_duration(lua_State *L) {
  uint64_t ms;
  if (!lc_lua_duration_ms(L, 1, &ms))
    return 0;
  lua_pushnumber(L, (lua_Number)ms);
  return 1;
}

static int core_size(lua_State *L) {
  uint64_t bytes;
  if (!lc_lua_size(L, 1, &bytes))
    return 0;
  lua_pushnumber(L, (lua_Number)bytes);
  return 1;
}

/* core.where(level): "app.lua:7" of the function that many levels above the caller. */
static int core_where(lua_State *L) {
  lua_Debug ar;
  if (!lua_getstack(L, (int)luaL_checkinteger(L, 1), &ar) || !lua_getinfo(L, "Sl", &ar)) {
    lua_pushliteral(L, "?");
    return 1;
  }
  lua_pushfstring(L, "%s:%d", ar.source[0] == '@' ? ar.source + 1 : ar.short_src, ar.currentline);
  return 1;
}

/* core.loading(): true while lcache.group and lcache.configure may be called. */
static int core_loading(lua_State *L) {
  lua_pushboolean(L, lc_script_of(L)->loading);
  return 1;
}

static void *grow(void *items, size_t count, size_t size) {
  bool full = (count & (count - 1)) == 0;
  return full ? lc_realloc(items, (count ? count * 2 : 1) * size) : items;
}

static int raise_memory(lua_State *L) {
  return luaL_error(L, "not enough memory");
}

static struct lc_script_group *add_group(lua_State *L, struct lc_script_declared *declared) {
  if (declared->group_count == LC_SCRIPT_GROUPS_MAX)
    lc_lua_raise(L, "more than %d groups", LC_SCRIPT_GROUPS_MAX);
  struct lc_script_group *groups = grow(declared->groups, declared->group_count, sizeof *groups);
  if (!groups)
    lc_lua_raise(L, "not enough memory");
  declared->groups = groups;
  struct lc_script_group *group = &groups[declared->group_count];
  *group = (struct lc_script_group){.getter = LUA_NOREF, .on_evict = LUA_NOREF};
  lc_group_options_init(&group->options);
  group->options.name = NULL;
  declared->group_count++;
  return group;
}

static bool option(lua_State *L, int idx, uint64_t *value) {
  if (lua_isnoneornil(L, idx))
    return false;
  *value = lc_lua_count(luaL_checknumber(L, idx));
  return true;
}

static void read_options(lua_State *L, struct lc_group_options *options) {
  uint64_t number;
  if (option(L, 4, &number))
    options->limit_bytes = number;
  if (option(L, 5, &number))
    options->ttl_ms = number;
  if (option(L, 6, &number))
    options->timeout_ms = number;
  if (!lua_isnoneornil(L, 7))
    options->policy = strcmp(lua_tostring(L, 7), "lru") == 0 ? LC_POLICY_LRU : LC_POLICY_LRU2;
  if (option(L, 8, &number))
    options->max_key = number;
  if (option(L, 9, &number))
    options->max_value = number;
  if (option(L, 10, &number))
    options->mirror_ttl_ms = number;
}

/* core.declared(name): where the group was declared, or nil. */
static int core_declared(lua_State *L) {
  const char *name = luaL_checkstring(L, 1);
  const struct lc_script_declared *declared = &lc_script_of(L)->declared;
  for (size_t i = 0; i < declared->group_count; i++) {
    if (strcmp(declared->groups[i].options.name, name) != 0)
      continue;
    lua_pushstring(L, declared->groups[i].where);
    return 1;
  }
  return 0;
}

/* core.group(name, getter, on_evict, bytes, ttl_ms, timeout_ms, policy, max_key, max_value, mirror_ttl_ms, where) */
static int core_group(lua_State *L) {
  struct lc_script *script = lc_script_of(L);
  if (!script->loading)
    return luaL_error(L, "groups are declared while the script loads");
  const char *name = luaL_checkstring(L, 1);
  luaL_checktype(L, 2, LUA_TFUNCTION);
  luaL_optstring(L, 7, NULL);
  const char *where = luaL_checkstring(L, 11);
  struct lc_script_group *group = add_group(L, &script->declared);
  group->options.name = lc_strdup(name);
  group->where = lc_strdup(where);
  if (!group->options.name || !group->where) {
    /* Everyone else may take it that both are there. */
    script->declared.group_count--;
    lc_free((void *)(uintptr_t)group->options.name);
    lc_free(group->where);
    return raise_memory(L);
  }
  read_options(L, &group->options);
  lua_pushvalue(L, 2);
  group->getter = luaL_ref(L, LUA_REGISTRYINDEX);
  if (!lua_isnoneornil(L, 3)) {
    lua_pushvalue(L, 3);
    group->on_evict = luaL_ref(L, LUA_REGISTRYINDEX);
    group->options.wants_evict = true;
  }
  return 0;
}

static bool set_setting(struct lc_script_setting *setting, const char *name, const char *value, const char *where) {
  *setting = (struct lc_script_setting){lc_strdup(name), lc_strdup(value), lc_strdup(where)};
  return setting->name && setting->value && setting->where;
}

/* core.setting(name, value, where); returns where it was set before, or nothing. */
static int core_setting(lua_State *L) {
  struct lc_script_declared *declared = &lc_script_of(L)->declared;
  const char *name = luaL_checkstring(L, 1), *value = luaL_checkstring(L, 2), *where = luaL_checkstring(L, 3);
  for (size_t i = 0; i < declared->setting_count; i++) {
    if (strcmp(declared->settings[i].name, name) != 0)
      continue;
    lua_pushstring(L, declared->settings[i].where);
    return 1;
  }
  if (declared->setting_count == LC_SCRIPT_SETTINGS_MAX)
    return luaL_error(L, "too many settings");
  struct lc_script_setting *settings = grow(declared->settings, declared->setting_count, sizeof *settings);
  if (!settings)
    return raise_memory(L);
  declared->settings = settings;
  if (!set_setting(&settings[declared->setting_count++], name, value, where))
    return raise_memory(L);
  return 0;
}

static void setting_fini(struct lc_script_setting *setting) {
  lc_free((void *)(uintptr_t)setting->name);
  lc_free((void *)(uintptr_t)setting->value);
  lc_free((void *)(uintptr_t)setting->where);
}

void lc_declared_fini(struct lc_script_declared *declared) {
  for (size_t i = 0; i < declared->group_count; i++) {
    lc_free((void *)(uintptr_t)declared->groups[i].options.name);
    lc_free(declared->groups[i].where);
  }
  for (size_t i = 0; i < declared->setting_count; i++)
    setting_fini(&declared->settings[i]);
  lc_free(declared->groups);
  lc_free(declared->settings);
  *declared = (struct lc_script_declared){0};
}

void lc_bind_declare(lua_State *L) {
  static const luaL_Reg functions[] = {
      {"duration", core_duration}, {"size", core_size},   {"where", core_where},     {"loading", core_loading},
      {"declared", core_declared}, {"group", core_group}, {"setting", core_setting}, {NULL, NULL}};
  luaL_setfuncs(L, functions, 0);
}
