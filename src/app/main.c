#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "app/node.h"
#include "app/process.h"
#include "app/setup.h"
#include "base/version.h"

#define EXIT_RUNTIME 1
#define EXIT_MISTAKE 2
#define READY_WAIT_MS 1000

static const int handled_signals[] = {SIGTERM, SIGINT, SIGHUP, SIGUSR2};
#define SIGNAL_COUNT (sizeof handled_signals / sizeof handled_signals[0])

struct program {
  struct lc_setup setup;
  struct lc_log *log;
  struct lc_node *node;
  bool stopping;
  uv_signal_t signals[SIGNAL_COUNT];
};

static void print(int fd, struct lc_buf *text) {
  for (size_t done = 0; done < text->len;) {
    ssize_t n = write(fd, text->data + done, text->len - done);
    if (n < 0 && errno != EINTR)
      return;
    done += n > 0 ? (size_t)n : 0;
  }
}

static int exit_of(int code) {
  return code == LC_OK ? 0 : code == LC_EINVAL ? EXIT_MISTAKE : EXIT_RUNTIME;
}

static void on_signal(uv_signal_t *handle, int number) {
  struct program *program = handle->data;
  switch (number) {
  case SIGHUP:
    lc_log_event(program->log, LC_LOG_WARN, "reload is not built yet");
    break;
  case SIGUSR2:
    lc_node_dump(program->node);
    break;
  default:
    if (program->stopping)
      _exit(128 + number);
    program->stopping = true;
    lc_node_stop(program->node);
  }
}

static void open_signals(struct program *program) {
  for (size_t i = 0; i < SIGNAL_COUNT; i++) {
    uv_signal_init(lc_node_loop(program->node), &program->signals[i]);
    program->signals[i].data = program;
    uv_signal_start(&program->signals[i], on_signal, handled_signals[i]);
  }
}

static void close_signals(struct program *program) {
  for (size_t i = 0; i < SIGNAL_COUNT; i++)
    uv_close((uv_handle_t *)&program->signals[i], NULL);
}

/* In one write, past the log's queue: a supervisor reads this line. A reader that has stopped reading loses it. */
static void print_ready(const struct lc_node *node) {
  char line[LC_READY_LINE_SIZE + 1];
  lc_node_ready_line(node, line);
  size_t len = strlen(line);
  line[len++] = '\n';
  struct pollfd fd = {.fd = STDERR_FILENO, .events = POLLOUT};
  if (poll(&fd, 1, READY_WAIT_MS) > 0 && write(STDERR_FILENO, line, len) < 0)
    return;
}

static int serve(struct program *program) {
  struct lc_err err = {0};
  int code = lc_node_create(&program->setup, program->log, &program->node, &err);
  if (code) {
    dprintf(STDERR_FILENO, "%s\n", err.msg);
    return exit_of(code);
  }
  open_signals(program);
  if (lc_node_join(program->node))
    print_ready(program->node);
  if (lc_node_run(program->node)) {
    lc_log_destroy(program->log);
    _exit(EXIT_RUNTIME); /* a worker can't be ended, so nothing that it uses can be freed */
  }
  close_signals(program);
  lc_node_destroy(program->node);
  lc_log_event(program->log, LC_LOG_INFO, "stopped");
  return 0;
}

/* A misspelt variable would go unnoticed otherwise. */
static void warn_of_variables(struct lc_log *log) {
  struct lc_buf lines;
  lc_buf_init(&lines);
  if (lc_config_strange_variables(environ, &lines) == LC_OK && lc_buf_char(&lines, '\0') == LC_OK) {
    char *rest = NULL;
    for (char *line = strtok_r((char *)lines.data, "\n", &rest); line; line = strtok_r(NULL, "\n", &rest))
      lc_log_event(log, LC_LOG_WARN, line);
  }
  lc_buf_fini(&lines);
}

static int start_log_and_serve(struct program *program) {
  const struct lc_config *config = &program->setup.config;
  int code = lc_log_create(STDERR_FILENO, config->log_level, config->log_format, &program->log);
  if (code) {
    dprintf(STDERR_FILENO, "no log: %s\n", lc_code_name(code));
    return EXIT_RUNTIME;
  }
  lc_process_raise_file_limit(program->log);
  warn_of_variables(program->log);
  if (config->http.on && lc_config_from(config, "http") != LC_FROM_DEFAULT)
    lc_log_event(program->log, LC_LOG_WARN, "the HTTP face is not built yet: --http does nothing");
  int status = serve(program);
  lc_log_destroy(program->log);
  return status;
}

static int show(struct program *program, struct lc_buf *text) {
  const struct lc_config *config = &program->setup.config;
  int code;
  if (config->help)
    code = lc_options_help(text);
  else if (config->version)
    code = lc_buf_str(text, "lcache " LC_VERSION "\n");
  else
    code = lc_setup_check(&program->setup, text);
  print(code ? STDERR_FILENO : STDOUT_FILENO, text);
  return exit_of(code);
}

int main(int argc, char **argv) {
  struct program program = {0};
  struct lc_buf text;
  lc_process_prepare();
  lc_buf_init(&text);
  lc_setup_init(&program.setup);
  int code = lc_setup_load(&program.setup, argc, argv, environ, &text);
  const struct lc_config *config = &program.setup.config;
  int status;
  if (code) {
    print(STDERR_FILENO, &text);
    status = exit_of(code);
  } else if (config->help || config->version || config->check) {
    status = show(&program, &text);
  } else {
    status = start_log_and_serve(&program);
  }
  lc_setup_fini(&program.setup);
  lc_buf_fini(&text);
  return status;
}
