#ifndef LC_SCRIPT_PATH_H
#define LC_SCRIPT_PATH_H

#include <limits.h>

/* Where `require` looks: folders, each with its last slash, none twice. */
#define LC_FOLDERS_MAX 5

struct lc_folders {
  unsigned count;
  int own; /* the one that has lcache's own getters, or -1 */
  char names[LC_FOLDERS_MAX][PATH_MAX];
};

/*
 * The script's folder, its lua/, ./lua/, the folder that belongs to the program `exe`, and `share`, the one of the
 * installed program. A program of a build tree, CLONE/.build/PRESET/bin/lcache, has CLONE/lua; any other,
 * PREFIX/bin/lcache, has PREFIX/share/lcache/lua. `exe` may be NULL. A name over PATH_MAX is left out.
 */
void lc_folders_find(struct lc_folders *folders, const char *script, const char *exe, const char *share);

/* The path of the running program, or NULL if the system doesn't tell it. */
const char *lc_folders_exe(char out[PATH_MAX]);

#endif
