#ifndef LC_CTL_COMMANDS_H
#define LC_CTL_COMMANDS_H

#include "base/arena.h"
#include "ctl/ctl.h"
#include "wire/msg.h"

/* The decoded reply of any command. */
union lc_ctl_reply {
  struct lc_msg_get_response get;
  struct lc_msg_delete_response deleted;
  struct lc_msg_batch_get_response batch;
  struct lc_msg_stats_response stats;
  struct lc_msg_nodes_response nodes;
  struct lc_msg_owner_response owner;
};

struct lc_ctl_command {
  const char *name, *usage, *about;
  size_t min_args, max_args;
  const char *path;

  /* Appends the bare request message. 0 or LC_ENOMEM. */
  int (*encode)(const struct lc_ctl_options *options, struct lc_buf *buf);
  int (*decode)(struct lc_arena *arena, struct lc_slice bytes, union lc_ctl_reply *reply, struct lc_err *err);

  /* Prints the reply; returns the exit code. */
  int (*text)(const struct lc_ctl_options *options, const union lc_ctl_reply *reply, FILE *out);
  int (*json)(const struct lc_ctl_options *options, const union lc_ctl_reply *reply, double time_ms, FILE *out);
};

extern const struct lc_ctl_command lc_ctl_commands[];
extern const size_t lc_ctl_command_count;

/* text.c */
/* Writes text so that it stays on its line and does nothing to a terminal: control characters and what isn't UTF-8 come
 * as \xNN. Returns its width in columns; out NULL: only that. */
int lc_ctl_put_escaped(struct lc_slice text, FILE *out);

int lc_ctl_text_get(const struct lc_ctl_options *options, const union lc_ctl_reply *reply, FILE *out);
int lc_ctl_text_none(const struct lc_ctl_options *options, const union lc_ctl_reply *reply, FILE *out);
int lc_ctl_text_delete(const struct lc_ctl_options *options, const union lc_ctl_reply *reply, FILE *out);
int lc_ctl_text_batch(const struct lc_ctl_options *options, const union lc_ctl_reply *reply, FILE *out);
int lc_ctl_text_stats(const struct lc_ctl_options *options, const union lc_ctl_reply *reply, FILE *out);
int lc_ctl_text_nodes(const struct lc_ctl_options *options, const union lc_ctl_reply *reply, FILE *out);
int lc_ctl_text_owner(const struct lc_ctl_options *options, const union lc_ctl_reply *reply, FILE *out);

/* json.c */
int lc_ctl_json_get(const struct lc_ctl_options *options, const union lc_ctl_reply *reply, double time_ms, FILE *out);
int lc_ctl_json_none(const struct lc_ctl_options *options, const union lc_ctl_reply *reply, double time_ms, FILE *out);
int lc_ctl_json_delete(const struct lc_ctl_options *options, const union lc_ctl_reply *reply, double time_ms,
                       FILE *out);
int lc_ctl_json_batch(const struct lc_ctl_options *options, const union lc_ctl_reply *reply, double time_ms, FILE *out);
int lc_ctl_json_stats(const struct lc_ctl_options *options, const union lc_ctl_reply *reply, double time_ms, FILE *out);
int lc_ctl_json_nodes(const struct lc_ctl_options *options, const union lc_ctl_reply *reply, double time_ms, FILE *out);
int lc_ctl_json_owner(const struct lc_ctl_options *options, const union lc_ctl_reply *reply, double time_ms, FILE *out);

/* Append one object, as `stats --json` has it. */
void lc_ctl_put_json_group(struct lc_buf *buf, const struct lc_msg_group_stats *group);
void lc_ctl_put_json_stats(struct lc_buf *buf, const struct lc_msg_stats_response *stats);

/* Of the gets that a node answered itself, how many from memory, in percent; below 0 if there was none. A Get that it
 * passed on counts at the owner alone. */
double lc_ctl_hit_rate(const struct lc_msg_group_stats *group);

/* "STORE", "SOURCE"... */
const char *lc_ctl_from_name(int served_from);

/* Ends with not found when the only thing asked for wasn't there. */
int lc_ctl_batch_exit(const struct lc_msg_batch_get_response *reply);

/* The fields of a group's statistics, in the order in which both printers show them. */
struct lc_ctl_group_field {
  const char *name;
  size_t offset; /* of a uint64_t in struct lc_msg_group_stats */
};
extern const struct lc_ctl_group_field lc_ctl_group_fields[];
extern const size_t lc_ctl_group_field_count;

#endif
