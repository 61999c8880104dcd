#include <string.h>

#include "script/internal.h"

/*
 * The life of one load in Lua: a coroutine begins, runs, waits, runs again, ends. run() is the one place that resumes.
 */
static void coro_end(struct lc_coro *coro) {
  struct lc_script *script = coro->script;
  lc_coro_drop_wait(coro);
  lc_list_remove(&coro->link);
  atomic_fetch_sub_explicit(&script->task_count, 1, memory_order_relaxed);
  if (coro->load)
    lc_load_set_impl(coro->load, NULL);
  coro->load = NULL;
  /* The last: the collector may take the coroutine, and coro with it, from now on. */
  luaL_unref(script->L, LUA_REGISTRYINDEX, coro->anchor);
}

/* Resumes with `args` values on the coroutine's stack. True: it is over, its load has the result, coro is gone. */
static bool run(struct lc_coro *coro, int args) {
  struct lc_script *script = coro->script;
  struct lc_coro *outer = script->current;
  struct lc_script_budget outer_budget;
  script->current = coro;
  coro->running = true;
  coro->wait = LC_WAIT_NONE;
  lc_budget_begin(script, script->cpu_budget_ns, "the getter", &outer_budget);
  int status = lua_resume(coro->co, args);
  bool passed = lc_budget_end(script, &outer_budget);
  coro->running = false;
  script->current = outer;
  if (status == LUA_YIELD && coro->wait != LC_WAIT_NONE && !passed && coro->load)
    return false;
  bool refused = script->memory.refused;
  if (coro->load)
    lc_coro_set_result(coro, status, passed);
  coro_end(coro);
  /* Only now can what filled the memory be collected. */
  if (refused)
    lc_script_collect(script);
  return true;
}

struct beginning {
  struct lc_load *load;
  struct lc_coro *coro;
};

static void coro_init(struct lc_coro *coro, struct lc_script *script, struct lc_load *load, lua_State *co) {
  memset(coro, 0, sizeof *coro);
  coro->script = script;
  coro->load = load;
  coro->co = co;
  lc_list_push_back(&script->tasks, &coro->link);
  atomic_fetch_add_explicit(&script->task_count, 1, memory_order_relaxed);
}

/* Leaves on the coroutine: its userdata, then what runs: getter, key, ctx. Nothing is linked before nothing can raise.
 */
static int begin(lua_State *L) {
  struct lc_script *script = lc_script_of(L);
  struct beginning *beginning = lua_touserdata(L, 1);
  struct lc_load *load = beginning->load;
  struct lc_slice key = lc_load_key(load);
  lua_State *co = lua_newthread(L);
  struct lc_coro *coro = lua_newuserdata(L, sizeof *coro);
  memset(coro, 0, sizeof *coro);
  luaL_getmetatable(L, LC_CTX_MT);
  lua_setmetatable(L, -2);
  lua_rawgeti(L, LUA_REGISTRYINDEX, script->declared.groups[lc_load_group_index(load)].getter);
  lua_pushlstring(L, (const char *)key.ptr, key.len);
  lua_pushvalue(L, -3);
  lua_xmove(L, co, 4);
  int anchor = luaL_ref(L, LUA_REGISTRYINDEX);
  coro_init(coro, script, load, co);
  coro->anchor = anchor;
  beginning->coro = coro;
  return 0;
}

int lc_coro_start(struct lc_script *script, struct lc_load *load) {
  static const char full[] = "no memory left for another load";
  struct beginning beginning = {.load = load};
  lc_script_collect_if_needed(script);
  if (lc_script_protect(script, begin, &beginning, NULL) != LC_OK) {
    lc_load_set_error(load, LC_EEXHAUSTED, full, sizeof full - 1);
    return LC_OK;
  }
  lc_load_set_impl(load, beginning.coro);
  return run(beginning.coro, 2) ? LC_OK : LC_PENDING;
}

void lc_coro_cancel(struct lc_coro *coro) {
  if (coro->load)
    lc_load_set_impl(coro->load, NULL);
  coro->load = NULL;
  if (!coro->running)
    coro_end(coro);
}

struct delivery {
  struct lc_coro *coro;
  lc_script_fn deliver;
  void *arg;
  int count;
};

static int deliver(lua_State *L) {
  struct delivery *delivery = lua_touserdata(L, 1);
  lua_pushlightuserdata(L, delivery->arg);
  lua_replace(L, 1);
  int count = delivery->deliver(L);
  lua_xmove(L, delivery->coro->co, count);
  delivery->count = count;
  return 0;
}

void lc_coro_resume(struct lc_coro *coro, lc_script_fn fn, void *arg) {
  struct lc_load *load = coro->load;
  struct delivery delivery = {.coro = coro, .deliver = fn, .arg = arg};
  if (fn && lc_script_protect(coro->script, deliver, &delivery, NULL) != LC_OK) {
    lc_coro_set_memory_error(coro);
    coro_end(coro);
    lc_load_done(load);
    return;
  }
  if (run(coro, delivery.count))
    lc_load_done(load);
}
