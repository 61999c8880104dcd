#ifndef LC_SCRIPT_INTERNAL_H
#define LC_SCRIPT_INTERNAL_H

#include <lauxlib.h>
#include <lua.h>
#include <stdatomic.h>

#include "base/buf.h"
#include "base/list.h"
#include "base/timer.h"
#include "script/script.h"

/*
 * What the files of script/ share. Three rules hold in all of them:
 * - Lua errors leave as struct lc_err: C enters Lua by lc_script_protect, or by the one lua_resume in task.c.
 * - A C function that Lua calls holds nothing across a call that may raise, unless a userdata or a task owns it.
 * - Nothing is pushed on a coroutine that doesn't run but by lua_xmove: an error there would have no one to catch it.
 */

/* The Lua heap of a state, counted and capped (memory.c). */
struct lc_script_memory {
  size_t limit;
  atomic_size_t used;
  atomic_ulong cap_hits;
  size_t collect_at; /* bytes at which the next load collects first */
  void *reserve;     /* while the state is made */
  bool refused;      /* an allocation was refused since the last collection */
  bool uncapped;     /* while collecting */
};

/* The CPU budget of the entry into Lua that runs now (budget.c). */
struct lc_script_budget {
  uint64_t limit_ns;
  uint64_t started_ns; /* thread CPU time; 0 until the first hook of this entry */
  uint64_t wall_ns;    /* the same for wall time */
  bool passed;
  const char *what; /* "the getter", for the message; NULL while no script's code runs */
};

/* At most so many lines a second (log.c). */
struct lc_script_rate {
  uint64_t second;
  unsigned lines, dropped;
};

struct lc_script_group {
  struct lc_group_options options; /* name is owned */
  char *where;
  int getter, on_evict; /* registry references; LUA_NOREF for none */
};

/* What the script declared; filled while it loads (declare.c). */
struct lc_script_declared {
  struct lc_script_group *groups;
  size_t group_count;
  struct lc_script_setting *settings; /* strings are owned */
  size_t setting_count;
};

struct lc_script {
  lua_State *L;
  struct lc_script_memory memory;
  struct lc_script_budget budget;
  const char *stack; /* where the thread's stack was at the outermost entry */
  struct lc_script_declared declared;
  uint64_t cpu_budget_ns, load_budget_ns;
  bool jit, loading;
  char *path, *secrets_dir;
  struct lc_log *log;
  struct lc_worker *worker; /* NULL in a describing state */
  struct lc_fetcher *fetcher;
  struct lc_groups *groups;
  struct lc_list tasks;
  struct lc_coro *current; /* the getter that runs now */
  atomic_ulong task_count, budget_hits;
  struct lc_script_rate failure_rate, log_rate;
};

/* state.c */
struct lc_script *lc_script_of(lua_State *L);
int lc_script_open(const struct lc_script_config *config, struct lc_script **script, struct lc_err *err);
typedef int (*lc_script_fn)(lua_State *L); /* its argument: lua_touserdata(L, 1); at index 1 */

/* luaL_error that says to the compiler that it doesn't return. */
_Noreturn void lc_lua_raise(lua_State *L, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/*
 * Runs fn on the main state. 0; or LC_ENOMEM, or LC_EINVAL with the Lua error in `err`. Whatever fn leaves on the stack
 * is dropped.
 */
int lc_script_protect(struct lc_script *script, lc_script_fn fn, void *arg, struct lc_err *err);

/* memory.c */
void *lc_script_alloc(void *ud, void *ptr, size_t old_size, size_t new_size);
lua_State *lc_script_newstate(struct lc_script *script);    /* NULL: no memory */
void lc_script_collect(struct lc_script *script);           /* all that can be had back; never fails */
void lc_script_collect_if_needed(struct lc_script *script); /* before a load */
size_t lc_script_memory_left(const struct lc_script *script);

/* Gives Lua the ownership of a C object: pushes a userdata that frees it when collected. Set ptr after the push. */
struct lc_holder {
  void *ptr;
  void (*free)(void *ptr);
};
struct lc_holder *lc_holder_push(lua_State *L, void (*free)(void *ptr));
void lc_holder_free(struct lc_holder *holder); /* now rather than when collected */

/* The same for a buffer: pushes it; then its bytes as a string, or raises if an append failed, and empties it. */
struct lc_buf *lc_lua_buf_push(lua_State *L);
int lc_lua_buf_result(lua_State *L, struct lc_buf *buf);

/* budget.c: around each entry that runs the script's code; entries nest. */
void lc_budget_install(struct lc_script *script);
void lc_budget_begin(struct lc_script *script, uint64_t limit_ns, const char *what, struct lc_script_budget *outer);
bool lc_budget_end(struct lc_script *script, const struct lc_script_budget *outer); /* true: it was passed */
void lc_budget_check(lua_State *L);      /* for C that takes long: raises if the budget was passed */
int lc_budget_check_stack(lua_State *L); /* for Lua: raises in its caller's caller if little of C's stack is left */

/* sandbox.c, guard.c, bind_*.c, declare.c: they fill the state, inside lc_script_protect. */
void lc_sandbox_open(lua_State *L, struct lc_script *script);
void lc_guard_open(lua_State *L);
void lc_bind_core(lua_State *L); /* pushes the module lcache.core */
void lc_bind_ctx(lua_State *L);
void lc_bind_json(lua_State *L);    /* adds to the table on top */
void lc_bind_log(lua_State *L);     /* the same */
void lc_bind_http(lua_State *L);    /* the same */
void lc_bind_wait(lua_State *L);    /* the same */
void lc_bind_get(lua_State *L);     /* the same */
void lc_bind_secret(lua_State *L);  /* the same */
void lc_bind_declare(lua_State *L); /* the same */
void lc_declared_fini(struct lc_script_declared *declared);
int lc_script_print(lua_State *L); /* print: a line of the log */

/* The string (or number, made one) at idx, or raises "`what` must be a string, got a table": with its name also where a
 * tail call has left Lua none. */
struct lc_slice lc_lua_check_text(lua_State *L, int idx, const char *what);

/* A whole number that a double and "%.0f" have exactly. */
static inline bool lc_lua_whole(double n) {
  return n > -1e15 && n < 1e15 && (double)(int64_t)n == n;
}

/* A double as a count: not below 0, not above what a double has exactly; nan is 0. */
static inline uint64_t lc_lua_count(double n) {
  return n >= 1 ? (uint64_t)(n < 9007199254740992.0 ? n : 9007199254740992.0) : 0;
}

/* "250ms", 0.25 -> milliseconds; "64MB", 4096 -> bytes. False: the value at idx is none. */
bool lc_lua_duration_ms(lua_State *L, int idx, uint64_t *ms);
bool lc_lua_size(lua_State *L, int idx, uint64_t *bytes);

/* json_encode.c, json_decode.c */
#define LC_JSON_DEPTH 128
#define LC_JSON_ARRAY_MT "lcache.json.array"
int lc_json_encode(lua_State *L);
int lc_json_decode(lua_State *L);
void lc_json_decode_init(void);

/* log.c */
bool lc_rate_take(struct lc_script *script, struct lc_script_rate *rate);
struct lc_script_failure {
  const char *event;
  struct lc_slice group, key;
  const char *error, *getter, *traceback; /* getter, where it begins, and traceback may be NULL */
};
void lc_script_log_failure(struct lc_script *script, const struct lc_script_failure *failure);

/*
 * One run of a getter: a coroutine, and what it waits for. It lives in the userdata that the getter sees as ctx, at the
 * bottom of the coroutine's stack.
 */
enum lc_coro_wait { LC_WAIT_NONE, LC_WAIT_SLEEP, LC_WAIT_FETCH, LC_WAIT_GET };

struct lc_coro {
  struct lc_script *script;
  struct lc_load *load; /* NULL when it is over or was cancelled */
  lua_State *co;
  struct lc_list link; /* in script->tasks */
  int anchor;          /* registry reference of co */
  bool running;
  enum lc_coro_wait wait;
  struct lc_timer timer;
  struct lc_fetch *fetch;
  struct lc_script_get *get; /* kept until its result is on the Lua side */
};

#define LC_CTX_MT "lcache.ctx"

/* task.c */
int lc_coro_start(struct lc_script *script, struct lc_load *load); /* as lc_loader.start */
void lc_coro_cancel(struct lc_coro *coro);                         /* drops it; the load isn't touched */

/*
 * What it waited for is here: `fn` pushes the results on the main state, in protected mode (arg as for
 * lc_script_protect), and returns how many; they become what the waiting call returns. NULL: none.
 */
void lc_coro_resume(struct lc_coro *coro, lc_script_fn fn, void *arg);

/* wait.c */
struct lc_coro *lc_coro_waiting(lua_State *L,
                                const char *call); /* the getter that calls, or raises: it can't wait here */
int lc_coro_yield(lua_State *L, struct lc_coro *coro, enum lc_coro_wait wait);
void lc_coro_drop_wait(struct lc_coro *coro);
uint64_t lc_coro_remaining_ms(const struct lc_coro *coro);

/* bind_get.c */
void lc_script_get_drop(struct lc_script_get *get); /* NULL is fine */

/* result.c */
void lc_coro_set_result(struct lc_coro *coro, int status, bool budget_passed);
void lc_coro_set_memory_error(struct lc_coro *coro);

/* loader.c */
void lc_script_evicted(struct lc_script *script, unsigned group_index, struct lc_item *item, int reason);

#endif
