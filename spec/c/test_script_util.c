#include "test_script_util.h"

#include <dirent.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"

#define WORKERS_MAX 4
#define GIVE_UP_S 30

void script_write(struct script_dir *dir, const char *source) {
  char folder[] = "/tmp/lc-script-XXXXXX";
  assert_non_null(mkdtemp(folder));
  snprintf(dir->path, sizeof dir->path, "%s/", folder);
  snprintf(dir->script, sizeof dir->script, "%sapp.lua", dir->path);
  script_add_file(dir, "app.lua", source);
}

void script_add_file(const struct script_dir *dir, const char *name, const char *text) {
  char path[256];
  snprintf(path, sizeof path, "%s%s", dir->path, name);
  FILE *file = fopen(path, "w");
  assert_non_null(file);
  fputs(text, file);
  fclose(file);
}

void script_remove(struct script_dir *dir) {
  char path[512];
  DIR *entries = opendir(dir->path);
  assert_non_null(entries);
  for (struct dirent *entry; (entry = readdir(entries));) {
    if (entry->d_name[0] == '.')
      continue;
    snprintf(path, sizeof path, "%s%s", dir->path, entry->d_name);
    unlink(path);
  }
  closedir(entries);
  rmdir(dir->path);
}

/* Cuts every occurrence of the folder out of the text. */
static void cut(char *text, const char *folder) {
  size_t len = strlen(folder);
  for (char *at; (at = strstr(text, folder));)
    memmove(at, at + len, strlen(at + len) + 1);
}

const char *describe_error(const char *source) {
  static struct lc_err err;
  struct script_dir dir;
  struct lc_script_description *description = NULL;
  err = (struct lc_err){0};
  script_write(&dir, source);
  struct lc_script_options options = {.path = dir.script, .load_budget_ms = 300, .memory_bytes = 8 << 20};
  int code = lc_script_describe(&options, &description, &err);
  lc_script_description_destroy(description);
  script_remove(&dir);
  cut(err.msg, dir.path);
  if (code == LC_OK)
    return "";
  assert_int_equal(code, err.code);
  return err.msg;
}

void assert_describes(const char *source) {
  assert_string_equal(describe_error(source), "");
}

/* ---- a node ---- */

struct script_node {
  struct script_dir dir;
  unsigned count;
  struct lc_worker *workers[WORKERS_MAX];
  struct lc_fetcher *fetchers[WORKERS_MAX];
  struct lc_script *scripts[WORKERS_MAX];
  struct lc_exec exec;
  struct lc_loader loader;
  struct lc_groups *groups;
  struct lc_script_description *description;
  struct lc_script_options options;
  struct lc_log *log;
  FILE *log_file;
  pthread_mutex_t lock;
  pthread_cond_t changed;
};

struct errand {
  struct lc_task task;
  struct script_node *node;
  void (*fn)(struct script_node *node, void *arg);
  void *arg;
  bool *done; /* set when it is over; NULL: fn sees to that */
};

void node_finish(struct script_node *node, bool *done) {
  pthread_mutex_lock(&node->lock);
  *done = true;
  pthread_cond_broadcast(&node->changed);
  pthread_mutex_unlock(&node->lock);
}

void node_await(struct script_node *node, const bool *done) {
  struct timespec until;
  clock_gettime(CLOCK_REALTIME, &until);
  until.tv_sec += GIVE_UP_S;
  int failed = 0;
  pthread_mutex_lock(&node->lock);
  while (!*done && !failed)
    failed = pthread_cond_timedwait(&node->changed, &node->lock, &until);
  pthread_mutex_unlock(&node->lock);
  if (failed)
    fail_msg("gave up after %d s", GIVE_UP_S);
}

static void run_errand(struct lc_task *task) {
  struct errand *errand = (struct errand *)task;
  errand->fn(errand->node, errand->arg);
  if (errand->done)
    node_finish(errand->node, errand->done);
}

static void run_on(struct script_node *node, unsigned worker, void (*fn)(struct script_node *, void *), void *arg) {
  bool done = false;
  struct errand errand = {.task.run = run_errand, .node = node, .fn = fn, .arg = arg, .done = &done};
  lc_worker_post(node->workers[worker], &errand.task);
  node_await(node, &done);
}

void node_run(struct script_node *node, void (*fn)(struct script_node *node, void *arg), void *arg) {
  run_on(node, 0, fn, arg);
}

static void exec_post(void *ctx, unsigned worker, struct lc_task *task) {
  struct script_node *node = ctx;
  lc_worker_post(node->workers[worker], task);
}

static struct lc_timers *exec_timers(void *ctx, unsigned worker) {
  struct script_node *node = ctx;
  return lc_worker_timers(node->workers[worker]);
}

static uint64_t exec_now(void *ctx, unsigned worker) {
  struct script_node *node = ctx;
  return lc_worker_now_ms(node->workers[worker]);
}

static int worker_nothing(void *arg) {
  (void)arg;
  return 0;
}

static void worker_end(void *arg) {
  (void)arg;
}

static void create_script(struct script_node *node, void *arg) {
  unsigned i = *(unsigned *)arg;
  struct lc_err err = {0};
  struct lc_fetcher_config fetcher = {.worker = node->workers[i]};
  if (lc_fetcher_create(&fetcher, &node->fetchers[i], &err) != LC_OK)
    fail_msg("%s", err.msg);
  struct lc_script_config config = {.options = node->options,
                                    .worker = node->workers[i],
                                    .fetcher = node->fetchers[i],
                                    .description = node->description};
  if (lc_script_create(&config, &node->scripts[i], &err) != LC_OK)
    fail_msg("%s", err.msg);
  lc_script_bind(node->scripts[i], node->groups);
}

static void start_worker(struct script_node *node, unsigned i) {
  struct lc_err err = {0};
  struct lc_worker_config config = {.index = i, .buffer_limit_bytes = 64 << 20};
  if (lc_worker_create(&config, &node->workers[i], &err) != LC_OK)
    fail_msg("%s", err.msg);
  assert_int_equal(lc_worker_run(node->workers[i], worker_nothing, worker_end, NULL), 0);
}

static void create_groups(struct script_node *node) {
  struct lc_err err = {0};
  const struct lc_group_options *options;
  size_t count = lc_script_groups(node->description, &options);
  node->exec = (struct lc_exec){node, node->count, exec_post, exec_timers, exec_now};
  lc_script_loader(node->scripts, &node->loader);
  struct lc_groups_config config = {.options = options,
                                    .count = count,
                                    .memory_bytes = 64 << 20,
                                    .max_message_bytes = 4 << 20,
                                    .exec = &node->exec,
                                    .loader = &node->loader,
                                    .log = node->log};
  if (lc_groups_create(&config, &node->groups, &err) != LC_OK)
    fail_msg("%s", err.msg);
}

struct script_node *node_start(const struct node_config *config) {
  struct script_node *node = calloc(1, sizeof *node);
  struct lc_err err = {0};
  script_write(&node->dir, config->source);
  pthread_mutex_init(&node->lock, NULL);
  pthread_cond_init(&node->changed, NULL);
  node->count = config->workers ? config->workers : 1;
  node->log_file = tmpfile();
  assert_int_equal(lc_log_create(fileno(node->log_file), LC_LOG_DEBUG, LC_LOG_TEXT, &node->log), 0);
  node->options = config->opts;
  node->options.path = node->dir.script;
  node->options.log = node->log;
  if (lc_script_describe(&node->options, &node->description, &err) != LC_OK)
    fail_msg("%s", err.msg);
  for (unsigned i = 0; i < node->count; i++)
    start_worker(node, i);
  create_groups(node);
  for (unsigned i = 0; i < node->count; i++)
    run_on(node, i, create_script, &i);
  return node;
}

struct script_node *node_start_source(const char *source) {
  return node_start(&(struct node_config){.source = source});
}

struct ending {
  unsigned worker;
  bool done;
  struct script_node *node;
};

static void fetcher_gone(void *arg) {
  struct ending *ending = arg;
  node_finish(ending->node, &ending->done);
}

static void end_script(struct script_node *node, void *arg) {
  struct ending *ending = arg;
  lc_script_destroy(node->scripts[ending->worker]);
  node->scripts[ending->worker] = NULL;
  lc_fetcher_destroy(node->fetchers[ending->worker], fetcher_gone, ending);
}

void node_stop(struct script_node *node) {
  for (unsigned i = 0; i < node->count; i++) {
    struct ending ending = {.worker = i, .node = node};
    run_on(node, i, end_script, &ending);
    node_await(node, &ending.done);
  }
  for (unsigned i = 0; i < node->count; i++) {
    lc_worker_stop(node->workers[i]);
    lc_worker_join(node->workers[i]);
    lc_worker_destroy(node->workers[i]);
  }
  lc_groups_destroy(node->groups);
  lc_script_description_destroy(node->description);
  lc_log_destroy(node->log);
  fclose(node->log_file);
  script_remove(&node->dir);
  pthread_cond_destroy(&node->changed);
  pthread_mutex_destroy(&node->lock);
  free(node);
}

struct lc_groups *node_groups(struct script_node *node) {
  return node->groups;
}

static void drop_script(struct script_node *node, void *arg) {
  (void)arg;
  lc_script_destroy(node->scripts[0]);
  node->scripts[0] = NULL;
}

void node_end_script(struct script_node *node) {
  run_on(node, 0, drop_script, NULL);
}

void node_stats(struct script_node *node, struct lc_script_stats *stats) {
  lc_script_stats(node->scripts[0], stats);
}

char *node_log(struct script_node *node) {
  static const size_t size = 1 << 20;
  char *text = malloc(size);
  ssize_t len = pread(fileno(node->log_file), text, size - 1, 0);
  text[len > 0 ? len : 0] = '\0';
  cut(text, node->dir.path);
  return text;
}

void node_wait_log(struct script_node *node, const char *text) {
  uint64_t until = lc_clock_ms() + 10000;
  for (;;) {
    char *log = node_log(node);
    bool found = strstr(log, text) != NULL;
    if (!found && lc_clock_ms() > until)
      fail_msg("not in the log: %s\n%s", text, log);
    free(log);
    if (found)
      return;
    usleep(1000);
  }
}

void node_wait_idle(struct script_node *node) {
  uint64_t until = lc_clock_ms() + 10000;
  struct lc_script_stats stats;
  for (node_stats(node, &stats); stats.tasks > 0; node_stats(node, &stats)) {
    if (lc_clock_ms() > until)
      fail_msg("%d getters still in progress", (int)stats.tasks);
    usleep(1000);
  }
}

/* ---- Gets ---- */

struct asking {
  struct lc_get get;
  struct script_node *node;
  struct node_result *result;
  bool done;
};

static void take_result(struct asking *asking) {
  struct node_result *result = asking->result;
  const struct lc_get *get = &asking->get;
  *result = (struct node_result){.code = get->code, .from = get->from, .ttl_ms = get->ttl_ms};
  snprintf(result->message, sizeof result->message, "%s", get->message);
  if (get->code == LC_OK) {
    struct lc_slice value = lc_item_value(get->item);
    result->value_len = value.len;
    size_t kept = value.len < sizeof result->value ? value.len : sizeof result->value - 1;
    memcpy(result->value, value.ptr, kept);
  }
  lc_get_fini(&asking->get);
  node_finish(asking->node, &asking->done);
}

static void got(struct lc_get *get) {
  take_result((struct asking *)get);
}

static void ask(struct script_node *node, void *arg) {
  struct asking *asking = arg;
  if (lc_group_get(node->groups, &asking->get) != LC_PENDING)
    take_result(asking);
}

void node_get(struct script_node *node, const char *group, const char *key, struct node_result *result) {
  struct asking asking = {.node = node, .result = result};
  asking.get.group = lc_slice_str(group);
  asking.get.key = lc_slice_str(key);
  asking.get.done = got;
  node_run(node, ask, &asking);
  node_await(node, &asking.done);
}

void assert_value(struct script_node *node, const char *group, const char *key, const char *value) {
  struct node_result result;
  node_get(node, group, key, &result);
  if (result.code != LC_OK)
    fail_msg("%s(%s): %s: %s", group, key, lc_code_name(result.code), result.message);
  assert_string_equal(result.value, value);
}

void assert_error(struct script_node *node, const char *group, const char *key, int code, const char *message) {
  struct node_result result;
  node_get(node, group, key, &result);
  assert_string_equal(result.code == LC_OK ? result.value : result.message, message);
  assert_int_equal(result.code, code);
}

struct abandoning {
  const char *group;
  unsigned count, pending;
};

static void never(struct lc_get *get) {
  (void)get;
  abort();
}

static void abandon(struct script_node *node, void *arg) {
  struct abandoning *a = arg;
  struct lc_get *gets = calloc(a->count, sizeof *gets);
  char(*keys)[16] = calloc(a->count, sizeof *keys);
  for (unsigned i = 0; i < a->count; i++) {
    gets[i].group = lc_slice_str(a->group);
    gets[i].key = lc_slice_of(keys[i], (size_t)snprintf(keys[i], sizeof keys[i], "%u", i));
    gets[i].done = never;
    if (lc_group_get(node->groups, &gets[i]) == LC_PENDING)
      a->pending++;
  }
  for (unsigned i = 0; i < a->count; i++) {
    if (gets[i].code == LC_OK && !gets[i].item && !lc_get_cancel(node->groups, &gets[i]))
      abort();
    lc_get_fini(&gets[i]);
  }
  free(gets);
  free(keys);
}

unsigned node_abandon(struct script_node *node, const char *group, unsigned count) {
  struct abandoning a = {group, count, 0};
  node_run(node, abandon, &a);
  return a.pending;
}

static void begin(struct script_node *node, void *arg) {
  if (lc_group_get(node->groups, arg) != LC_PENDING)
    abort();
}

struct lc_get *node_begin(struct script_node *node, const char *group, const char *key) {
  struct lc_get *get = calloc(1, sizeof *get);
  get->group = lc_slice_str(group);
  get->key = lc_slice_str(key);
  get->done = never;
  node_run(node, begin, get);
  return get;
}

static void give_up(struct script_node *node, void *arg) {
  if (!lc_get_cancel(node->groups, arg))
    abort();
  lc_get_fini(arg);
}

void node_give_up(struct script_node *node, struct lc_get *get) {
  node_run(node, give_up, get);
  free(get);
}
