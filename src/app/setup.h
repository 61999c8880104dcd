#ifndef LC_APP_SETUP_H
#define LC_APP_SETUP_H

#include "app/config.h"
#include "group/group.h"
#include "script/script.h"

/*
 * What a node is made from: the settings of all places, and what the script declares.
 */
struct lc_setup {
  struct lc_config config;
  struct lc_script_description *description; /* NULL until the script has been read */
};

void lc_setup_init(struct lc_setup *setup);
void lc_setup_fini(struct lc_setup *setup);

/*
 * Reads the command line and the environment, then runs the script once to see its groups and settings (not for --help
 * and --version). 0; LC_EINVAL with all mistakes found, one a line; LC_ENOMEM.
 */
int lc_setup_load(struct lc_setup *setup, int argc, char *const *argv, char *const *environment,
                  struct lc_buf *mistakes);

/* The script options that the settings ask for. Strings are the setup's. */
void lc_setup_script_options(const struct lc_setup *setup, struct lc_log *log, struct lc_script_options *options);

/* The groups, over the executor, the loader and the other nodes (NULL: alone). As lc_groups_create; messages about a
 * group begin with its file and line. */
int lc_setup_groups(const struct lc_setup *setup, const struct lc_exec *exec, const struct lc_loader *loader,
                    const struct lc_peers *peers, struct lc_log *log, struct lc_groups **groups, struct lc_err *err);

/* For --check: what lc_setup_load can't see, without starting anything; then `ok: N groups` and the groups, one a line.
 */
int lc_setup_check(const struct lc_setup *setup, struct lc_buf *out);

#endif
