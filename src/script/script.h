#ifndef LC_SCRIPT_SCRIPT_H
#define LC_SCRIPT_SCRIPT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "base/log.h"
#include "group/group.h"
#include "group/loader.h"
#include "loop/fetch.h"
#include "loop/worker.h"

/*
 * The application script: LuaJIT states, one a worker, and the getters that run in them as coroutines. First a script
 * is described (in a throw-away state, before anything is bound), then each worker creates its own.
 */

#define LC_SCRIPT_MEMORY_DEFAULT (32u << 20)
#define LC_SCRIPT_CPU_BUDGET_MS 100u
#define LC_SCRIPT_LOAD_BUDGET_MS 5000u

struct lc_script_options {
  const char *path;        /* the script; messages name it as it is given here */
  size_t memory_bytes;     /* of one state; 0: LC_SCRIPT_MEMORY_DEFAULT */
  uint64_t cpu_budget_ms;  /* of a getter between two waits; 0: LC_SCRIPT_CPU_BUDGET_MS */
  uint64_t load_budget_ms; /* of the script's own run, once a state; 0: LC_SCRIPT_LOAD_BUDGET_MS */
  bool jit;                /* compile hot code: then neither budget holds */
  const char *secrets_dir; /* files of lcache.secret; NULL: $LCACHE_SECRETS_DIR, else $CREDENTIALS_DIRECTORY */
  struct lc_log *log;      /* borrowed, may be NULL */
};

/* One field of lcache.configure{...}. Numbers and booleans come as text ("2", "true"), a list as "a,b". */
struct lc_script_setting {
  const char *name, *value;
  const char *where; /* "app.lua:3", of the call */
};

/* What a script declares. Owns all its strings. */
struct lc_script_description;

/*
 * Runs the script once in a state of its own and throws that away. 0, or LC_EINVAL with a message that begins with the
 * file, and the line where there is one: no such file, a syntax error, misuse (`app.lua:7: group "scores": ttl must be
 * a duration, got "soon"`), a group twice, no group at all, a budget or cap passed; LC_ENOMEM. Whether settings are
 * known and valid is for the caller to say. Any thread.
 */
int lc_script_describe(const struct lc_script_options *options, struct lc_script_description **description,
                       struct lc_err *err);
void lc_script_description_destroy(struct lc_script_description *description); /* NULL is fine */

size_t lc_script_settings(const struct lc_script_description *description, const struct lc_script_setting **settings);
size_t lc_script_groups(const struct lc_script_description *description, const struct lc_group_options **groups);

/* Where a group was declared: "app.lua:7". */
const char *lc_script_group_where(const struct lc_script_description *description, size_t index);

/* The script of one worker. All calls on that worker's thread but lc_script_stats. */
struct lc_script;

struct lc_script_config {
  struct lc_script_options options;                /* strings need to live during the call only */
  struct lc_worker *worker;                        /* borrowed; outlives the script */
  struct lc_fetcher *fetcher;                      /* borrowed; outlives the script. NULL: lcache.http raises */
  const struct lc_script_description *description; /* what this run must agree with; needed during the call only */
};

/*
 * Runs the script in a new state. Its groups take the description's order. 0, LC_ENOMEM, or LC_EINVAL with a message:
 * as lc_script_describe, or that the groups differ from the description and in what.
 */
int lc_script_create(const struct lc_script_config *config, struct lc_script **script, struct lc_err *err);

/* What lcache.get asks. Before the first load; borrowed until lc_script_destroy. */
void lc_script_bind(struct lc_script *script, struct lc_groups *groups);

/*
 * Ends it: what getters wait for is cancelled and lc_load_done is not called for them, so no load may be left that
 * somebody waits for. Before the worker's loop, the fetcher and the groups end. NULL is fine.
 */
void lc_script_destroy(struct lc_script *script);

/*
 * Fills `loader` for lc_groups_create. by_worker[i] is worker i's script, set before its first load; the array must
 * outlive the groups. A worker whose script is NULL (not yet, or no longer) fails loads with LC_EUNAVAILABLE.
 */
void lc_script_loader(struct lc_script **by_worker, struct lc_loader *loader);

struct lc_script_stats {
  uint64_t bytes;       /* of the state now */
  uint64_t limit_bytes; /* its cap */
  uint64_t tasks;       /* getters that have begun and not ended */
  uint64_t cap_hits;    /* times that the cap was reached, since the start */
  uint64_t budget_hits; /* times that the CPU budget was passed */
};

/* Any thread, while the script exists. */
void lc_script_stats(const struct lc_script *script, struct lc_script_stats *stats);

#endif
