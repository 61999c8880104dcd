#include "script/path.h"

#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static bool same_folder(const char *a, const char *b) {
  struct stat x, y;
  if (strcmp(a, b) == 0)
    return true;
  return stat(a, &x) == 0 && stat(b, &y) == 0 && x.st_dev == y.st_dev && x.st_ino == y.st_ino;
}

/* Returns where the folder is in the list, or -1. */
__attribute__((format(printf, 2, 3))) static int add(struct lc_folders *folders, const char *form, ...) {
  char *name = folders->names[folders->count];
  va_list args;
  va_start(args, form);
  int len = vsnprintf(name, PATH_MAX, form, args);
  va_end(args);
  if (len < 0 || len >= PATH_MAX)
    return -1;
  for (unsigned i = 0; i < folders->count; i++)
    if (same_folder(folders->names[i], name))
      return (int)i;
  return (int)folders->count++;
}

/* Cuts off the last part of the path. */
static void go_up(char *path) {
  char *slash = strrchr(path, '/');
  *(slash ? slash : path) = '\0';
}

static const char *last_part(const char *path) {
  const char *slash = strrchr(path, '/');
  return slash ? slash + 1 : path;
}

static int add_of_program(struct lc_folders *folders, const char *exe) {
  char prefix[PATH_MAX], above[PATH_MAX];
  snprintf(prefix, sizeof prefix, "%s", exe);
  go_up(prefix);
  go_up(prefix);
  memcpy(above, prefix, sizeof above);
  go_up(above);
  if (strcmp(last_part(above), ".build") == 0) {
    go_up(above);
    return add(folders, "%s/lua/", above);
  }
  return add(folders, "%s/share/lcache/lua/", prefix);
}

static bool has_getters(const struct lc_folders *folders, int index) {
  char path[PATH_MAX + 32];
  if (index < 0)
    return false;
  snprintf(path, sizeof path, "%sgetters/static.lua", folders->names[index]);
  return access(path, R_OK) == 0;
}

void lc_folders_find(struct lc_folders *folders, const char *script, const char *exe, const char *share) {
  const char *slash = strrchr(script, '/');
  int len = slash ? (int)(slash - script) + 1 : 2;
  const char *dir = slash ? script : "./";
  folders->count = 0;
  add(folders, "%.*s", len, dir);
  add(folders, "%.*slua/", len, dir);
  add(folders, "./lua/");
  int beside = exe ? add_of_program(folders, exe) : -1;
  int installed = add(folders, "%s/", share);
  folders->own = has_getters(folders, beside) ? beside : has_getters(folders, installed) ? installed : -1;
}

const char *lc_folders_exe(char out[PATH_MAX]) {
  ssize_t len = readlink("/proc/self/exe", out, PATH_MAX - 1);
  if (len <= 0)
    return NULL;
  out[len] = '\0';
  return out;
}
