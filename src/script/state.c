#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/alloc.h"
#include "script/internal.h"

struct lc_script *lc_script_of(lua_State *L) {
  void *script;
  lua_getallocf(L, &script);
  return script;
}

void lc_lua_raise(lua_State *L, const char *fmt, ...) {
  va_list args;
  luaL_where(L, 1);
  va_start(args, fmt);
  lua_pushvfstring(L, fmt, args);
  va_end(args);
  lua_concat(L, 2);
  lua_error(L);
  abort();
}

struct lc_slice lc_lua_check_text(lua_State *L, int idx, const char *what) {
  size_t len;
  if (!lua_isstring(L, idx))
    lc_lua_raise(L, "%s must be a string, got %s%s", what, lua_isnoneornil(L, idx) ? "" : "a ",
                 lua_isnone(L, idx) ? "nil" : luaL_typename(L, idx));
  const char *text = lua_tolstring(L, idx, &len);
  return lc_slice_of(text, len);
}

/* Only an error outside lc_script_protect and lua_resume comes here: one of ours. */
static int panic(lua_State *L) {
  const char *message = lua_tostring(L, -1);
  fprintf(stderr, "lcache: error outside of a protected call to Lua: %s\n", message ? message : "?");
  abort();
}

static int error_of(struct lc_script *script, int status, struct lc_err *err) {
  lua_State *L = script->L;
  if (status == LUA_ERRMEM)
    return lc_err_set(err, LC_ENOMEM, "%s: no memory, or over its cap", script->path);
  if (lua_type(L, -1) != LUA_TSTRING)
    return lc_err_set(err, LC_EINVAL, "%s: it raised a %s, not a text: error(a %s)", script->path, luaL_typename(L, -1),
                      luaL_typename(L, -1));
  return lc_err_set(err, LC_EINVAL, "%s", lua_tostring(L, -1));
}

int lc_script_protect(struct lc_script *script, lc_script_fn fn, void *arg, struct lc_err *err) {
  int top = lua_gettop(script->L);
  int status = lua_cpcall(script->L, fn, arg);
  int code = status == 0 ? LC_OK : error_of(script, status, err);
  lua_settop(script->L, top);
  if (script->memory.refused)
    lc_script_collect(script);
  return code;
}

static void script_free(struct lc_script *script) {
  lc_declared_fini(&script->declared);
  lc_free(script->path);
  lc_free(script->secrets_dir);
  lc_free(script);
}

static int script_alloc(const struct lc_script_options *options, struct lc_script **script) {
  struct lc_script *s = lc_calloc(1, sizeof *s);
  if (!s)
    return LC_ENOMEM;
  lc_list_init(&s->tasks);
  s->memory.limit = options->memory_bytes ? options->memory_bytes : LC_SCRIPT_MEMORY_DEFAULT;
  s->memory.collect_at = s->memory.limit / 4 * 3;
  s->cpu_budget_ns = (options->cpu_budget_ms ? options->cpu_budget_ms : LC_SCRIPT_CPU_BUDGET_MS) * 1000000;
  s->load_budget_ns = (options->load_budget_ms ? options->load_budget_ms : LC_SCRIPT_LOAD_BUDGET_MS) * 1000000;
  s->jit = options->jit;
  s->log = options->log;
  s->path = lc_strdup(options->path);
  s->secrets_dir = options->secrets_dir ? lc_strdup(options->secrets_dir) : NULL;
  if (!s->path || (options->secrets_dir && !s->secrets_dir)) {
    script_free(s);
    return LC_ENOMEM;
  }
  *script = s;
  return LC_OK;
}

static int open_state(lua_State *L) {
  struct lc_script *script = lc_script_of(L);
  lc_sandbox_open(L, script);
  /* The first luaL_unref would make the slot of the free list, and it runs where nobody catches an error. */
  lua_pushboolean(L, 1);
  luaL_unref(L, LUA_REGISTRYINDEX, luaL_ref(L, LUA_REGISTRYINDEX));
  lc_budget_install(script);
  return 0;
}

static int run_file(lua_State *L) {
  const struct lc_script *script = lc_script_of(L);
  if (luaL_loadfilex(L, script->path, "t") != 0)
    return lua_error(L);
  lua_call(L, 0, 0);
  return 0;
}

static int check_file(const char *path, struct lc_err *err) {
  if (access(path, R_OK) == 0)
    return LC_OK;
  char reason[128];
  return lc_err_set(err, LC_EINVAL, "%s: %s", path, strerror_r(errno, reason, sizeof reason));
}

static int run(struct lc_script *script, struct lc_err *err) {
  struct lc_script_budget outer;
  lc_budget_begin(script, script->load_budget_ns, "the script", &outer);
  script->loading = true;
  int code = lc_script_protect(script, run_file, NULL, err);
  script->loading = false;
  if (lc_budget_end(script, &outer) && code == LC_OK)
    code = lc_err_set(err, LC_EINVAL, "%s: the script passed its CPU budget", script->path);
  if (code == LC_OK && script->declared.group_count == 0)
    code = lc_err_set(err, LC_EINVAL,
                      "%s: no group declared, add one: "
                      "lcache.group(\"scores\", { getter = function(key, ctx) return key end })",
                      script->path);
  return code;
}

int lc_script_open(const struct lc_script_config *config, struct lc_script **script, struct lc_err *err) {
  int code = check_file(config->options.path, err);
  if (code != LC_OK)
    return code;
  struct lc_script *s;
  if (script_alloc(&config->options, &s) != LC_OK)
    return lc_err_set(err, LC_ENOMEM, "no memory for the script");
  s->worker = config->worker;
  s->fetcher = config->fetcher;
  lc_json_decode_init();
  s->L = lc_script_newstate(s);
  if (!s->L) {
    script_free(s);
    return lc_err_set(err, LC_ENOMEM, "no memory for the script's state");
  }
  lua_atpanic(s->L, panic);
  code = lc_script_protect(s, open_state, NULL, err);
  if (code == LC_OK)
    code = run(s, err);
  if (code != LC_OK) {
    lc_script_destroy(s);
    return code;
  }
  *script = s;
  return LC_OK;
}

void lc_script_bind(struct lc_script *script, struct lc_groups *groups) {
  script->groups = groups;
}

void lc_script_destroy(struct lc_script *script) {
  if (!script)
    return;
  while (!lc_list_empty(&script->tasks))
    lc_coro_cancel(lc_container_of(script->tasks.next, struct lc_coro, link));
  lua_close(script->L);
  script_free(script);
}

void lc_script_stats(const struct lc_script *script, struct lc_script_stats *stats) {
  stats->bytes = atomic_load_explicit(&script->memory.used, memory_order_relaxed);
  stats->limit_bytes = script->memory.limit;
  stats->tasks = atomic_load_explicit(&script->task_count, memory_order_relaxed);
  stats->cap_hits = atomic_load_explicit(&script->memory.cap_hits, memory_order_relaxed);
  stats->budget_hits = atomic_load_explicit(&script->budget_hits, memory_order_relaxed);
}
