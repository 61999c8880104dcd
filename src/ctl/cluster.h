#ifndef LC_CTL_CLUSTER_H
#define LC_CTL_CLUSTER_H

#include "ctl/commands.h"

/*
 * `lcachectl stats --cluster`: the server names the nodes, and each node that isn't down tells its own statistics.
 * A node that can't be asked is a line of the answer, no error of the whole.
 */

/* One node, and what came of asking it. */
struct lc_ctl_cluster_node {
  const struct lc_msg_node *node;
  bool has_stats;
  struct lc_msg_stats_response stats; /* if so */
  int status;                         /* else a gRPC status, LC_GRPC_OK: it was not asked */
  char message[LC_ERR_MSG_SIZE];
};

struct lc_ctl_cluster {
  struct lc_msg_nodes_response members;
  struct lc_ctl_cluster_node *nodes; /* one for each member, in that order */
  struct lc_arena arena;             /* holds all of it */
};

/* Makes a call, as lc_ctl_call does; a test has its own. */
typedef int (*lc_ctl_call_fn)(const struct lc_ctl_options *options, struct lc_ctl_answer *answer, struct lc_err *err);

/* Asks the server and then the nodes, and prints. Returns the exit code. */
int lc_ctl_cluster_stats(const struct lc_ctl_options *options, lc_ctl_call_fn call, FILE *out, FILE *errors);

/* cluster_print.c: both return the exit code */
int lc_ctl_cluster_text(const struct lc_ctl_cluster *cluster, FILE *out);
int lc_ctl_cluster_json(const struct lc_ctl_cluster *cluster, FILE *out);

#endif
