#include "base/clock.h"
#include "script/internal.h"

/*
 * CPU budgets by LuaJIT's count hook, which is one for the whole state, whatever coroutine runs. The hook of an entry
 * that comes first notes the time and later ones compare, so that a short run never asks for the time. Past the budget
 * the hook comes at every instruction, so that a loop of pcall ends too. Instructions between two hooks may be calls
 * into C that take a while each, so they are few.
 */
#define LC_HOOK_INSTRUCTIONS 1000

/* LuaJIT bounds Lua's stack, but not C's: string.gsub alone takes 8 KiB of it at each level. A thread has 2 MiB or
 * more. */
#define LC_STACK_MAX ((size_t)1 << 20)

static void on_count(lua_State *L, lua_Debug *ar);

static void pass(lua_State *L, struct lc_script *script, int level) {
  struct lc_script_budget *budget = &script->budget;
  if (!budget->passed) {
    budget->passed = true;
    atomic_fetch_add_explicit(&script->budget_hits, 1, memory_order_relaxed);
    lua_sethook(L, on_count, LUA_MASKCOUNT, 1);
  }
  luaL_where(L, level);
  lua_pushfstring(L, "%s passed its CPU budget of %dms", budget->what, (int)(budget->limit_ns / 1000000));
  lua_concat(L, 2);
  lua_error(L);
}

/* Asking for CPU time is a system call and for wall time is none, and no thread uses more of the one than the other. */
static bool is_over(struct lc_script_budget *budget) {
  if (budget->passed)
    return true;
  uint64_t wall = lc_clock_ns();
  if (budget->wall_ns == 0)
    budget->wall_ns = wall;
  if (budget->started_ns == 0)
    budget->started_ns = lc_clock_thread_cpu_ns();
  return wall - budget->wall_ns >= budget->limit_ns &&
         lc_clock_thread_cpu_ns() - budget->started_ns >= budget->limit_ns;
}

static void check_stack(lua_State *L, const struct lc_script *script, int level) {
  const char *here = __builtin_frame_address(0);
  if ((size_t)(script->stack - here) <= LC_STACK_MAX)
    return;
  luaL_where(L, level);
  lua_pushliteral(L, "stack overflow (too many functions that C calls, or coroutines, inside one another)");
  lua_concat(L, 2);
  lua_error(L);
}

static void on_count(lua_State *L, lua_Debug *ar) {
  (void)ar;
  struct lc_script *script = lc_script_of(L);
  if (is_over(&script->budget))
    pass(L, script, 0);
  check_stack(L, script, 0);
}

void lc_budget_check(lua_State *L) {
  struct lc_script *script = lc_script_of(L);
  if (is_over(&script->budget))
    pass(L, script, 1);
}

int lc_budget_check_stack(lua_State *L) {
  check_stack(L, lc_script_of(L), 2);
  return 0;
}

void lc_budget_install(struct lc_script *script) {
  lua_sethook(script->L, on_count, LUA_MASKCOUNT, LC_HOOK_INSTRUCTIONS);
}

void lc_budget_begin(struct lc_script *script, uint64_t limit_ns, const char *what, struct lc_script_budget *outer) {
  *outer = script->budget;
  if (!outer->what)
    script->stack = __builtin_frame_address(0);
  script->budget = (struct lc_script_budget){.limit_ns = limit_ns, .what = what};
  /* An entry inside another (a getter that asks for another group) pays for itself. */
  if (outer->started_ns) {
    script->budget.started_ns = lc_clock_thread_cpu_ns();
    script->budget.wall_ns = lc_clock_ns();
  }
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
