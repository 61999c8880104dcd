#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "script/internal.h"

/* lcache.secret(name): $LCACHE_SECRET_<name>, or a file of that name in the folder for secrets; never logged. */
#define LC_SECRET_MAX 16384
#define LC_SECRET_NAME_MAX 128

static const char *check_name(lua_State *L) {
  const char *name = luaL_checkstring(L, 1);
  size_t len = strlen(name);
  size_t good = strspn(name, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_");
  if (len == 0 || len > LC_SECRET_NAME_MAX || good != len || lua_objlen(L, 1) != len)
    luaL_error(L, "lcache.secret: a name is made of letters, digits and '_'");
  return name;
}

static const char *from_environment(const char *name) {
  char variable[LC_SECRET_NAME_MAX + 32];
  snprintf(variable, sizeof variable, "LCACHE_SECRET_%s", name);
  return getenv(variable);
}

static const char *folder(const struct lc_script *script) {
  if (script->secrets_dir)
    return script->secrets_dir;
  const char *dir = getenv("LCACHE_SECRETS_DIR");
  return dir ? dir : getenv("CREDENTIALS_DIRECTORY");
}

/* Bytes read into `secret`, or -1: no such file, or it is too large. */
static long read_file(const char *dir, const char *name, char secret[LC_SECRET_MAX + 1]) {
  char path[4096];
  int n = snprintf(path, sizeof path, "%s/%s", dir, name);
  FILE *file = n > 0 && (size_t)n < sizeof path ? fopen(path, "re") : NULL;
  if (!file)
    return -1;
  size_t len = fread(secret, 1, LC_SECRET_MAX + 1, file);
  bool failed = ferror(file) != 0;
  fclose(file);
  return failed || len > LC_SECRET_MAX ? -1 : (long)len;
}

static int core_secret(lua_State *L) {
  const char *name = check_name(L);
  const char *value = from_environment(name), *dir = folder(lc_script_of(L));
  char secret[LC_SECRET_MAX + 1];
  if (value) {
    lua_pushstring(L, value);
    return 1;
  }
  long len = dir ? read_file(dir, name, secret) : -1;
  if (len < 0)
    return 0;
  if (len > 0 && secret[len - 1] == '\n')
    len--;
  lua_pushlstring(L, secret, (size_t)len);
  explicit_bzero(secret, sizeof secret);
  return 1;
}

void lc_bind_secret(lua_State *L) {
  static const luaL_Reg functions[] = {{"secret", core_secret}, {NULL, NULL}};
  luaL_setfuncs(L, functions, 0);
}
