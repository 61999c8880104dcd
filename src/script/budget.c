#include "base/clock.h"
#include "script/internal.h"

/*
 * CPU budgets by LuaJIT's count hook, which is one for the whole state, whatever coroutine runs. The hook of an entry
 * that comes first notes the time and later ones compare, so that a short run never asks for the time. Past the budget
 * the hook comes at every instruction, so that a loop of pcall ends too.
 */
#define LC_HOOK_INSTRUCTIONS 10000

static void on_count(lua_State *L, lua_Debug *ar);

static int pass(lua_State *L, struct lc_script *script) {
  struct lc_script_budget *budget = &script->budget;
  if (!budget->passed) {
    budget->passed = true;
    atomic_fetch_add_explicit(&script->budget_hits, 1, memory_order_relaxed);
    lua_sethook(L, on_count, LUA_MASKCOUNT, 1);
  }
  luaL_where(L, 0);
  lua_pushfstring(L, "%s passed its CPU budget of %dms", budget->what, (int)(budget->limit_ns / 1000000));
  lua_concat(L, 2);
  return lua_error(L);
}

static void on_count(lua_State *L, lua_Debug *ar) {
  (void)ar;
  struct lc_script *script = lc_script_of(L);
  struct lc_script_budget *budget = &script->budget;
  if (!budget->passed) {
    uint64_t now = lc_clock_thread_cpu_ns();
    if (budget->started_ns == 0)
      budget->started_ns = now;
    if (now - budget->started_ns < budget->limit_ns)
      return;
  }
  pass(L, script);
}

void lc_budget_install(struct lc_script *script) {
  lua_sethook(script->L, on_count, LUA_MASKCOUNT, LC_HOOK_INSTRUCTIONS);
}

void lc_budget_begin(struct lc_script *script, uint64_t limit_ns, const char *what, struct lc_script_budget *outer) {
  *outer = script->budget;
  script->budget = (struct lc_script_budget){.limit_ns = limit_ns, .what = what};
  /* An entry inside another (a getter that asks for another group) pays for itself. */
  if (outer->started_ns)
    script->budget.started_ns = lc_clock_thread_cpu_ns();
}

bool lc_budget_end(struct lc_script *script, const struct lc_script_budget *outer) {
  struct lc_script_budget inner = script->budget;
  script->budget = *outer;
  if (inner.passed)
    lc_budget_install(script);
  if (outer->started_ns)
    script->budget.started_ns += lc_clock_thread_cpu_ns() - inner.started_ns;
  return inner.passed;
}
