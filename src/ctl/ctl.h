#ifndef LC_CTL_CTL_H
#define LC_CTL_CTL_H

#include <stdbool.h>
#include <stdio.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/parse.h"
#include "base/slice.h"

/*
 * lcachectl: one command, one call to a server, its answer as text or JSON. options.c reads the command line, call.c
 * makes the call, commands.c knows what each command asks and what its answer means, and text.c and json.c print.
 */

enum { LC_CTL_OK = 0, LC_CTL_NOT_FOUND = 1, LC_CTL_FAILED = 2 }; /* exit codes */

struct lc_ctl_command;

struct lc_ctl_options {
  struct lc_address server;
  char server_text[LC_HOST_SIZE + 9];
  bool json, only_if_cached, refresh, cluster;
  uint64_t timeout_ms;
  int64_t ttl_ms;                       /* as on the wire: 0 the group's, -1 never */
  const struct lc_ctl_command *command; /* NULL: text was asked for, print it */
  const char *text;                     /* of --help or --version */
  char **args;                          /* after the command's name; point into argv */
  size_t arg_count;
  struct lc_buf stdin_value; /* of `set GROUP KEY -` */
};

/* 0, or LC_EINVAL with what is wrong. `server_env` is LCACHE_SERVER's value or NULL. */
int lc_ctl_parse(int argc, char **argv, const char *server_env, struct lc_ctl_options *options, struct lc_err *err);
void lc_ctl_options_fini(struct lc_ctl_options *options);

/* An answer, for the printers. Bytes are owned by the answer. */
struct lc_ctl_answer {
  int status; /* a gRPC status */
  char message[LC_ERR_MSG_SIZE];
  struct lc_buf reply;
  double time_ms;
};

/* Makes the call and waits for its end. 0, or a negative code with `err` when it could not be begun. */
int lc_ctl_call(const struct lc_ctl_options *options, struct lc_ctl_answer *answer, struct lc_err *err);

/* Prints an answer to `out`, an error to `errors` (with --json to `out`). Returns the exit code. */
int lc_ctl_print(const struct lc_ctl_options *options, const struct lc_ctl_answer *answer, FILE *out, FILE *errors);

/* Prints one error in the form that was asked for; returns the exit code for that status. */
int lc_ctl_print_error(const struct lc_ctl_options *options, int status, const char *message, FILE *out, FILE *errors);

#endif
