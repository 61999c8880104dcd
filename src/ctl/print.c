#include "base/arena.h"
#include "ctl/commands.h"
#include "wire/grpc.h"

#define ARENA_LIMIT (512u << 20)

int lc_ctl_print_error(const struct lc_ctl_options *options, int status, const char *message, FILE *out, FILE *errors) {
  const char *name = lc_grpc_status_name(status);
  if (options->json) {
    struct lc_buf buf;
    lc_buf_init(&buf);
    lc_buf_printf(&buf, "{\"code\":\"%s\",\"message\":", name);
    lc_buf_json(&buf, lc_slice_str(message));
    lc_buf_str(&buf, "}\n");
    if (!buf.failed)
      fwrite(buf.data, 1, buf.len, out);
    lc_buf_fini(&buf);
  }
  fprintf(errors, "lcachectl: %s%s", name, message[0] ? ": " : "");
  lc_ctl_put_escaped(lc_slice_str(message), errors);
  fputc('\n', errors);
  return status == LC_GRPC_NOT_FOUND ? LC_CTL_NOT_FOUND : LC_CTL_FAILED;
}

int lc_ctl_print(const struct lc_ctl_options *options, const struct lc_ctl_answer *answer, FILE *out, FILE *errors) {
  if (answer->status != LC_GRPC_OK)
    return lc_ctl_print_error(options, answer->status, answer->message, out, errors);
  struct lc_arena arena;
  union lc_ctl_reply reply;
  struct lc_err err = {0};
  int exit_code;
  lc_arena_init(&arena, NULL, 0, ARENA_LIMIT);
  if (options->command->decode(&arena, lc_buf_slice(&answer->reply), &reply, &err) != LC_OK)
    exit_code = lc_ctl_print_error(options, LC_GRPC_INTERNAL, err.msg, out, errors);
  else if (options->json)
    exit_code = options->command->json(options, &reply, answer->time_ms, out);
  else
    exit_code = options->command->text(options, &reply, out);
  lc_arena_fini(&arena);
  if (fflush(out) != 0 || ferror(out)) {
    fprintf(errors, "lcachectl: can't write the answer\n");
    return LC_CTL_FAILED;
  }
  return exit_code;
}
