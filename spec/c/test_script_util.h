#ifndef TEST_SCRIPT_UTIL_H
#define TEST_SCRIPT_UTIL_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "script/script.h"

/* A script in a folder of its own, and a node of real workers, fetchers and groups around it, without a network face.
 */
struct script_dir {
  char path[64]; /* /tmp/…/ */
  char script[80];
};

void script_write(struct script_dir *dir, const char *source); /* makes the folder; the script is app.lua there */
void script_add_file(const struct script_dir *dir, const char *name, const char *text);
void script_remove(struct script_dir *dir);

/* Describes a source; the error's message with the folder cut off ("app.lua:1: …"), or "" if it is fine. Static. */
const char *describe_error(const char *source);
void assert_describes(const char *source); /* fails with the message if it doesn't */

struct script_node;

struct node_config {
  const char *source;
  unsigned workers;              /* 0: 1 */
  struct lc_script_options opts; /* path is set by node_start */
};

struct script_node *node_start(const struct node_config *config);
struct script_node *node_start_source(const char *source);
void node_stop(struct script_node *node);
struct lc_groups *node_groups(struct script_node *node);
void node_stats(struct script_node *node, struct lc_script_stats *stats); /* of worker 0 */
char *node_log(struct script_node *node);                       /* what was logged so far; the caller frees it */
void node_wait_log(struct script_node *node, const char *text); /* until it is in the log; fails after 10 s */

struct node_result {
  int code;
  enum lc_from from;
  int64_t ttl_ms;
  char value[4096]; /* cut */
  size_t value_len;
  char message[1200];
};

void node_wait_idle(struct script_node *node); /* until no getter is in progress; fails after 10 s */

/* A Get from the outside, on worker 0, to its end. */
void node_get(struct script_node *node, const char *group, const char *key, struct node_result *result);
void assert_value(struct script_node *node, const char *group, const char *key, const char *value);
void assert_error(struct script_node *node, const char *group, const char *key, int code, const char *message);

/* Begins `count` Gets of keys "0", "1"…, and gives them all up. Returns how many were pending. */
unsigned node_abandon(struct script_node *node, const char *group, unsigned count);

/* A Get that stays pending, and its end. */
struct lc_get *node_begin(struct script_node *node, const char *group, const char *key);
void node_give_up(struct script_node *node, struct lc_get *get);

/* Runs fn on worker 0 and waits for it. */
void node_run(struct script_node *node, void (*fn)(struct script_node *node, void *arg), void *arg);

/* For what ends later: sets *done under the node's lock; waits for that, at most 30 s. */
void node_finish(struct script_node *node, bool *done);
void node_await(struct script_node *node, const bool *done);
void node_end_script(struct script_node *node); /* destroys that of worker 0 */

#endif
