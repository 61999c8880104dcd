#include "base/clock.h"
#include "script/internal.h"

struct lc_coro *lc_coro_waiting(lua_State *L, const char *call) {
  const struct lc_script *script = lc_script_of(L);
  struct lc_coro *coro = script->current;
  if (script->loading)
    lc_lua_raise(L, "%s can be called only by a getter, not while the script loads", call);
  if (!coro || !coro->load)
    lc_lua_raise(L, "%s can be called only by a getter", call);
  if (coro->co != L)
    lc_lua_raise(L, "%s was called in a coroutine that the script made; call it in the getter itself", call);
  if (!lua_isyieldable(L))
    lc_lua_raise(L,
                 "%s has to wait, and can't inside a function that table.sort, string.gsub, require, load or another C "
                 "function calls (attempt to yield across C-call boundary); call it before or after",
                 call);
  return coro;
}

int lc_coro_yield(lua_State *L, struct lc_coro *coro, enum lc_coro_wait wait) {
  coro->wait = wait;
  return lua_yield(L, 0);
}

uint64_t lc_coro_remaining_ms(const struct lc_coro *coro) {
  uint64_t now = lc_clock_ms(), deadline = lc_load_deadline_ms(coro->load);
  return deadline > now ? deadline - now : 0;
}

void lc_coro_drop_wait(struct lc_coro *coro) {
  if (coro->timer.active)
    lc_timer_stop(lc_worker_timers(coro->script->worker), &coro->timer);
  if (coro->fetch)
    lc_fetch_cancel(coro->fetch);
  coro->fetch = NULL;
  lc_script_get_drop(coro->get);
  coro->get = NULL;
}

static void slept(struct lc_timer *timer) {
  lc_coro_resume(lc_container_of(timer, struct lc_coro, timer), NULL, NULL);
}

static int core_sleep(lua_State *L) {
  uint64_t ms;
  if (!lc_lua_duration_ms(L, 1, &ms))
    return luaL_error(L, "lcache.sleep: the time must be seconds or a duration such as \"250ms\", got a %s",
                      luaL_typename(L, 1));
  struct lc_coro *coro = lc_coro_waiting(L, "lcache.sleep");
  struct lc_worker *worker = coro->script->worker;
  uint64_t now = lc_worker_now_ms(worker);
  coro->timer.fire = slept;
  lc_timer_start(lc_worker_timers(worker), &coro->timer, ms < LC_TIME_NEVER - now ? now + ms : LC_TIME_NEVER);
  return lc_coro_yield(L, coro, LC_WAIT_SLEEP);
}

void lc_bind_wait(lua_State *L) {
  static const luaL_Reg functions[] = {{"sleep", core_sleep}, {NULL, NULL}};
  luaL_setfuncs(L, functions, 0);
}
