#include <string.h>

#include "base/alloc.h"
#include "script/internal.h"

/* lcache.get: a getter asks another group. The Get may outlive the coroutine, so it has an object of its own. */
struct lc_script_get {
  struct lc_get get;
  struct lc_groups *groups;
  struct lc_coro *coro; /* NULL when nobody waits for it any more */
  bool pending;
  char bytes[]; /* group, key */
};

static void get_free(struct lc_script_get *get) {
  lc_get_fini(&get->get);
  lc_free(get);
}

void lc_script_get_drop(struct lc_script_get *get) {
  if (!get)
    return;
  get->coro = NULL;
  if (get->pending && !lc_get_cancel(get->groups, &get->get))
    return; /* done comes, and frees it */
  get_free(get);
}

static int push_result(lua_State *L, const struct lc_get *get) {
  if (get->code == LC_OK) {
    struct lc_slice value = lc_item_value(get->item);
    lua_pushlstring(L, (const char *)value.ptr, value.len);
    return 1;
  }
  lua_pushnil(L);
  if (get->code == LC_ENOTFOUND)
    return 1;
  lua_pushstring(L, get->message);
  return 2;
}

static int deliver_get(lua_State *L) {
  const struct lc_script_get *get = lua_touserdata(L, 1);
  return push_result(L, &get->get);
}

static void got(struct lc_get *done) {
  struct lc_script_get *get = lc_container_of(done, struct lc_script_get, get);
  get->pending = false;
  struct lc_coro *coro = get->coro;
  if (!coro) {
    get_free(get);
    return;
  }
  lc_coro_resume(coro, deliver_get, get);
}

static struct lc_script_get *get_create(struct lc_coro *coro, struct lc_slice group, struct lc_slice key) {
  struct lc_script_get *get = lc_calloc(1, sizeof *get + group.len + key.len);
  if (!get)
    return NULL;
  memcpy(get->bytes, group.ptr, group.len);
  memcpy(get->bytes + group.len, key.ptr, key.len);
  get->coro = coro;
  get->groups = coro->script->groups;
  get->get.group = lc_slice_of(get->bytes, group.len);
  get->get.key = lc_slice_of(get->bytes + group.len, key.len);
  get->get.worker = lc_worker_index(coro->script->worker);
  get->get.parent = coro->load;
  get->get.done = got;
  return get;
}

static struct lc_slice check_slice(lua_State *L, int idx) {
  size_t len;
  const char *text = luaL_checklstring(L, idx, &len);
  return lc_slice_of(text, len);
}

static int core_get(lua_State *L) {
  struct lc_slice group = check_slice(L, 1), key = check_slice(L, 2);
  struct lc_coro *coro = lc_coro_waiting(L, "lcache.get");
  struct lc_groups *groups = coro->script->groups;
  if (!groups || !lc_groups_find(groups, group))
    return luaL_error(L, "lcache.get: there is no group \"%s\"", (const char *)group.ptr);
  lc_coro_drop_wait(coro);
  struct lc_script_get *get = coro->get = get_create(coro, group, key);
  if (!get)
    return luaL_error(L, "not enough memory");
  if (lc_group_get(groups, &get->get) == LC_PENDING) {
    get->pending = true;
    return lc_coro_yield(L, coro, LC_WAIT_GET);
  }
  return push_result(L, &get->get);
}

void lc_bind_get(lua_State *L) {
  static const luaL_Reg functions[] = {{"get", core_get}, {NULL, NULL}};
  luaL_setfuncs(L, functions, 0);
}
