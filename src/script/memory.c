#include "base/alloc.h"
#include "base/buf.h"
#include "script/internal.h"

/* lua_newstate crashes when one of its first allocations fails, so it gets what it needs or isn't called. */
#define LC_RESERVE 65536

static void count(struct lc_script_memory *memory, size_t old_size, size_t new_size) {
  size_t used = atomic_load_explicit(&memory->used, memory_order_relaxed);
  atomic_store_explicit(&memory->used, used - old_size + new_size, memory_order_relaxed);
}

static void refuse(struct lc_script_memory *memory) {
  if (!memory->refused)
    atomic_fetch_add_explicit(&memory->cap_hits, 1, memory_order_relaxed);
  memory->refused = true;
}

static void *take(struct lc_script_memory *memory, void *ptr, size_t size) {
  void *moved = lc_realloc(ptr, size);
  if (moved || !memory->reserve)
    return moved;
  lc_free(memory->reserve);
  memory->reserve = NULL;
  return lc_realloc(ptr, size);
}

lua_State *lc_script_newstate(struct lc_script *script) {
  script->memory.reserve = lc_malloc(LC_RESERVE);
  if (!script->memory.reserve)
    return NULL;
  lua_State *L = lua_newstate(lc_script_alloc, script);
  lc_free(script->memory.reserve);
  script->memory.reserve = NULL;
  return L;
}

void *lc_script_alloc(void *ud, void *ptr, size_t old_size, size_t new_size) {
  struct lc_script_memory *memory = &((struct lc_script *)ud)->memory;
  if (new_size == 0) {
    lc_free(ptr);
    count(memory, old_size, 0);
    return NULL;
  }
  if (new_size > old_size && !memory->uncapped && new_size - old_size > lc_script_memory_left(ud)) {
    refuse(memory);
    return NULL;
  }
  void *moved = take(memory, ptr, new_size);
  if (!moved) {
    memory->refused = true;
    /* Lua takes it that making a block smaller can't fail. */
    if (new_size > old_size)
      return NULL;
    moved = ptr;
  }
  count(memory, old_size, new_size);
  return moved;
}

size_t lc_script_memory_left(const struct lc_script *script) {
  size_t used = atomic_load_explicit(&script->memory.used, memory_order_relaxed);
  return used < script->memory.limit ? script->memory.limit - used : 0;
}

static int collect(lua_State *L) {
  lua_gc(L, LUA_GCCOLLECT, 0);
  return 0;
}

/* After a refused allocation a state stays wedged, its garbage in place, until this. */
void lc_script_collect(struct lc_script *script) {
  struct lc_script_memory *memory = &script->memory;
  memory->uncapped = true;
  if (lua_cpcall(script->L, collect, NULL) != 0)
    lua_pop(script->L, 1);
  memory->uncapped = false;
  memory->refused = false;
  size_t used = atomic_load_explicit(&memory->used, memory_order_relaxed);
  size_t three_quarters = memory->limit / 4 * 3;
  /* When most of the cap is live, every load would collect: halve the distance instead. */
  memory->collect_at = used < three_quarters ? three_quarters : used + (memory->limit - used) / 2;
  if (used > memory->limit)
    memory->collect_at = memory->limit;
}

void lc_script_collect_if_needed(struct lc_script *script) {
  size_t used = atomic_load_explicit(&script->memory.used, memory_order_relaxed);
  if (used > script->memory.collect_at)
    lc_script_collect(script);
}

static void hide_metatable(lua_State *L, lua_CFunction gc) {
  lua_pushcfunction(L, gc);
  lua_setfield(L, -2, "__gc");
  lua_pushboolean(L, 0);
  lua_setfield(L, -2, "__metatable");
}

static int holder_gc(lua_State *L) {
  lc_holder_free(lua_touserdata(L, 1));
  return 0;
}

void lc_holder_free(struct lc_holder *holder) {
  if (holder->ptr)
    holder->free(holder->ptr);
  holder->ptr = NULL;
}

struct lc_holder *lc_holder_push(lua_State *L, void (*free)(void *ptr)) {
  struct lc_holder *holder = lua_newuserdata(L, sizeof *holder);
  *holder = (struct lc_holder){NULL, free};
  if (luaL_newmetatable(L, "lcache.holder"))
    hide_metatable(L, holder_gc);
  lua_setmetatable(L, -2);
  return holder;
}

static int buf_gc(lua_State *L) {
  lc_buf_fini(lua_touserdata(L, 1));
  return 0;
}

struct lc_buf *lc_lua_buf_push(lua_State *L) {
  struct lc_buf *buf = lua_newuserdata(L, sizeof *buf);
  lc_buf_init(buf);
  if (luaL_newmetatable(L, "lcache.buf"))
    hide_metatable(L, buf_gc);
  lua_setmetatable(L, -2);
  return buf;
}

int lc_lua_buf_result(lua_State *L, struct lc_buf *buf) {
  if (buf->failed)
    return luaL_error(L, "not enough memory");
  lua_pushlstring(L, (const char *)buf->data, buf->len);
  lc_buf_fini(buf);
  lc_buf_init(buf);
  return 1;
}
