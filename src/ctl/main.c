#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "ctl/cluster.h"
#include "ctl/commands.h"
#include "wire/grpc.h"

static int read_stdin(struct lc_ctl_options *options, struct lc_err *err) {
  bool wanted = strcmp(options->command->name, "set") == 0 && strcmp(options->args[2], "-") == 0;
  char chunk[65536];
  ssize_t n;
  while (wanted && (n = read(STDIN_FILENO, chunk, sizeof(chunk))) != 0) {
    if (n < 0)
      return lc_err_set(err, LC_EIO, "can't read standard input");
    if (lc_buf_append(&options->stdin_value, chunk, (size_t)n) != LC_OK)
      return lc_err_set(err, LC_ENOMEM, "the value on standard input is too large");
  }
  return LC_OK;
}

static int run(struct lc_ctl_options *options) {
  struct lc_ctl_answer answer;
  struct lc_err err = {0};
  int rc = read_stdin(options, &err);
  if (rc != LC_OK)
    return lc_ctl_print_error(options, lc_grpc_status_of(rc), err.msg, stdout, stderr);
  if (options->cluster)
    return lc_ctl_cluster_stats(options, lc_ctl_call, stdout, stderr);
  rc = lc_ctl_call(options, &answer, &err);
  if (rc != LC_OK)
    return lc_ctl_print_error(options, lc_grpc_status_of(rc), err.msg, stdout, stderr);
  int exit_code = lc_ctl_print(options, &answer, stdout, stderr);
  lc_buf_fini(&answer.reply);
  return exit_code;
}

int main(int argc, char **argv) {
  struct lc_ctl_options options;
  struct lc_err err = {0};
  int exit_code;
  if (lc_ctl_parse(argc, argv, getenv("LCACHE_SERVER"), &options, &err) != LC_OK) {
    fprintf(stderr, "lcachectl: %s\n", err.msg);
    exit_code = LC_CTL_FAILED;
  } else if (options.text) {
    fputs(options.text, stdout);
    exit_code = LC_CTL_OK;
  } else {
    exit_code = run(&options);
  }
  lc_ctl_options_fini(&options);
  return exit_code;
}
