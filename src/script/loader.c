#include "script/internal.h"

/* struct lc_loader: what the domain calls, passed on to the worker's script. */
static int loader_start(void *ctx, struct lc_load *load) {
  static const char none[] = "the script is not running";
  struct lc_script *script = ((struct lc_script **)ctx)[lc_load_worker(load)];
  if (script)
    return lc_coro_start(script, load);
  lc_load_set_error(load, LC_EUNAVAILABLE, none, sizeof none - 1);
  return LC_OK;
}

static void loader_cancel(void *ctx, struct lc_load *load) {
  (void)ctx;
  struct lc_coro *coro = lc_load_impl(load);
  if (coro)
    lc_coro_cancel(coro);
}

struct eviction {
  unsigned group;
  struct lc_slice key;
  int reason;
};

static int call_on_evict(lua_State *L) {
  static const char *const reasons[] = {[LC_EVICT_SIZE] = "size",
                                        [LC_EVICT_EXPIRED] = "expired",
                                        [LC_EVICT_DELETED] = "deleted",
                                        [LC_EVICT_CLEARED] = "cleared"};
  const struct eviction *eviction = lua_touserdata(L, 1);
  lua_rawgeti(L, LUA_REGISTRYINDEX, lc_script_of(L)->declared.groups[eviction->group].on_evict);
  lua_pushlstring(L, (const char *)eviction->key.ptr, eviction->key.len);
  lua_pushstring(L, reasons[eviction->reason]);
  lua_call(L, 2, 0);
  return 0;
}

void lc_script_evicted(struct lc_script *script, unsigned group_index, struct lc_item *item, int reason) {
  const struct lc_script_group *group = &script->declared.groups[group_index];
  if (group->on_evict == LUA_NOREF)
    return;
  struct eviction eviction = {group_index, lc_item_key(item), reason};
  struct lc_coro *outer = script->current;
  struct lc_script_budget outer_budget;
  struct lc_err err = {0};
  script->current = NULL;
  lc_budget_begin(script, script->cpu_budget_ns, "on_evict", &outer_budget);
  int code = lc_script_protect(script, call_on_evict, &eviction, &err);
  bool passed = lc_budget_end(script, &outer_budget);
  script->current = outer;
  if (code == LC_OK && !passed)
    return;
  const char *error = code != LC_OK ? err.msg : "it passed its CPU budget";
  struct lc_script_failure line = {
      "on_evict failed", lc_slice_str(group->options.name), eviction.key, error, NULL, NULL};
  lc_script_log_failure(script, &line);
}

static void loader_evicted(void *ctx, unsigned group_index, struct lc_item *item, int reason) {
  struct lc_script *script = ((struct lc_script **)ctx)[0];
  if (script)
    lc_script_evicted(script, group_index, item, reason);
}

void lc_script_loader(struct lc_script **by_worker, struct lc_loader *loader) {
  *loader =
      (struct lc_loader){.ctx = by_worker, .start = loader_start, .cancel = loader_cancel, .evicted = loader_evicted};
}
