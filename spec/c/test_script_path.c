#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "script/path.h"

/* What of the folders is expected, "" ends it. */
static void assert_folders(const struct lc_folders *folders, const char *const *names) {
  unsigned i = 0;
  for (; *names[i]; i++) {
    assert_true(i < folders->count);
    assert_string_equal(folders->names[i], names[i]);
  }
  assert_int_equal(folders->count, i);
}

static void a_program_finds_the_share_folder_beside_it(void **state) {
  (void)state;
  struct lc_folders folders;
  lc_folders_find(&folders, "/none/app.lua", "/opt/none/bin/lcache", "/usr/none/lua");
  assert_folders(&folders, (const char *const[]){"/none/", "/none/lua/", "./lua/", "/opt/none/share/lcache/lua/",
                                                 "/usr/none/lua/", ""});
}

static void a_program_of_a_build_tree_finds_its_clone(void **state) {
  (void)state;
  struct lc_folders folders;
  lc_folders_find(&folders, "/none/app.lua", "/none/clone/.build/release/bin/lcache", "/usr/none/lua");
  assert_folders(&folders,
                 (const char *const[]){"/none/", "/none/lua/", "./lua/", "/none/clone/lua/", "/usr/none/lua/", ""});
}

static void a_folder_comes_once_whatever_its_names(void **state) {
  (void)state;
  struct lc_folders folders;
  char clone[] = "/tmp/lc-path-XXXXXX", lua[64], exe[64], script[64];
  assert_non_null(mkdtemp(clone));
  snprintf(lua, sizeof lua, "%s/lua", clone);
  snprintf(exe, sizeof exe, "%s/.build/debug/bin/lcache", clone);
  snprintf(script, sizeof script, "%s/./app.lua", clone);
  assert_int_equal(mkdir(lua, 0700), 0);
  lc_folders_find(&folders, script, exe, lua);
  assert_int_equal(folders.count, 3);
  assert_int_equal(strncmp(folders.names[1], clone, strlen(clone)), 0);
  assert_string_equal(folders.names[2], "./lua/");
  lc_folders_find(&folders, "app.lua", NULL, "./lua");
  assert_folders(&folders, (const char *const[]){"./", "./lua/", ""});
  rmdir(lua);
  rmdir(clone);
}

static void the_folder_with_our_getters_is_known(void **state) {
  (void)state;
  struct lc_folders folders;
  char share[] = "/tmp/lc-path-XXXXXX", getters[64], file[80];
  assert_non_null(mkdtemp(share));
  lc_folders_find(&folders, "/none/app.lua", NULL, share);
  assert_int_equal(folders.own, -1);
  snprintf(getters, sizeof getters, "%s/getters", share);
  snprintf(file, sizeof file, "%s/static.lua", getters);
  assert_int_equal(mkdir(getters, 0700), 0);
  FILE *made = fopen(file, "w");
  assert_non_null(made);
  fclose(made);
  lc_folders_find(&folders, "/none/app.lua", NULL, share);
  assert_int_equal(folders.own, 3);
  unlink(file);
  rmdir(getters);
  rmdir(share);
}

static void a_name_that_is_too_long_is_left_out(void **state) {
  (void)state;
  static char script[PATH_MAX + 20];
  struct lc_folders folders;
  memset(script, 'x', PATH_MAX);
  memcpy(script + PATH_MAX - 3, "/app.lua", 9);
  lc_folders_find(&folders, script, NULL, "/usr/none/lua");
  assert_string_equal(folders.names[folders.count - 1], "/usr/none/lua/");
  assert_true(folders.count < 4);
}

static void the_running_program_is_known(void **state) {
  (void)state;
  char exe[PATH_MAX];
  assert_non_null(lc_folders_exe(exe));
  assert_non_null(strstr(exe, "/test_script_path"));
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(a_program_finds_the_share_folder_beside_it),
      cmocka_unit_test(a_program_of_a_build_tree_finds_its_clone),
      cmocka_unit_test(a_folder_comes_once_whatever_its_names),
      cmocka_unit_test(the_folder_with_our_getters_is_known),
      cmocka_unit_test(a_name_that_is_too_long_is_left_out),
      cmocka_unit_test(the_running_program_is_known),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
