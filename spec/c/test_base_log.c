#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <cjson/cJSON.h>
#include <dirent.h>
#include <fcntl.h>
#include <limits.h>
#include <math.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/buf.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/log_line.h"
#include "base/utf8.h"

#define DEADLINE_MS 20000

/* A log into a pipe, and what came out of it. */
struct sink {
  int read_fd, write_fd;
  struct lc_log *log;
  struct lc_buf out;
};

static void open_sink(struct sink *sink, enum lc_log_level level, enum lc_log_format format) {
  int fds[2];
  assert_int_equal(pipe2(fds, O_CLOEXEC), 0);
  sink->read_fd = fds[0];
  sink->write_fd = fds[1];
  lc_buf_init(&sink->out);
  assert_int_equal(lc_log_create(fds[1], level, format, &sink->log), LC_OK);
}

static void read_some(struct sink *sink) {
  struct pollfd fd = {.fd = sink->read_fd, .events = POLLIN};
  assert_int_equal(poll(&fd, 1, DEADLINE_MS), 1);
  assert_int_equal(lc_buf_reserve(&sink->out, 65537), LC_OK);
  ssize_t got = read(sink->read_fd, sink->out.data + sink->out.len, 65536);
  assert_true(got > 0);
  sink->out.len += (size_t)got;
  sink->out.data[sink->out.len] = '\0';
}

/* Ends the log and gives its whole text, which lives until close_sink. */
static char *finish(struct sink *sink) {
  lc_log_destroy(sink->log);
  sink->log = NULL;
  assert_int_equal(write(sink->write_fd, "\n", 1), 1);
  do
    read_some(sink);
  while (sink->out.len < 2 ? sink->out.data[0] != '\n' : memcmp(sink->out.data + sink->out.len - 2, "\n\n", 2) != 0);
  sink->out.data[--sink->out.len] = '\0';
  return (char *)sink->out.data;
}

static void close_sink(struct sink *sink) {
  lc_log_destroy(sink->log);
  close(sink->read_fd);
  close(sink->write_fd);
  lc_buf_fini(&sink->out);
}

static size_t count_of(const char *text, const char *part) {
  size_t count = 0;
  for (const char *p = text; (p = strstr(p, part)); p += strlen(part))
    count++;
  return count;
}

static const struct timespec fixed_time = {.tv_sec = 1795470127, .tv_nsec = 123999999};

#define FORMAT(line_, format_, event_, ...)                                                                            \
  lc_log_line_format((line_), (format_), fixed_time, LC_LOG_WARN, (event_),                                            \
                     (const struct lc_log_field[]){__VA_ARGS__, {0}})

static void assert_line(const struct lc_log_line *line, const char *text) {
  assert_int_equal(line->len, strlen(text));
  assert_memory_equal(line->data, text, line->len);
}

static void test_a_text_line_is_quoted_only_where_needed(void **state) {
  (void)state;
  struct lc_log_line line;
  FORMAT(&line, LC_LOG_TEXT, "load failed", LC_F_STR("group", "scores"), LC_F_KEY(lc_slice_of("a\0b", 3)),
         LC_F_STR("error", "source answered 500"), LC_F_INT("ms", -12), LC_F_STR("empty", ""), LC_F_STR("sum", "a=b"));
  assert_line(&line, "2026-11-23T21:42:07.123Z warn load failed group=scores key=\"a\\x00b\" "
                     "error=\"source answered 500\" ms=-12 empty=\"\" sum=\"a=b\"\n");
}

static void test_a_json_line_has_the_same_parts(void **state) {
  (void)state;
  struct lc_log_line line;
  FORMAT(&line, LC_LOG_JSON, "load failed", LC_F_STR("group", "scores"), LC_F_KEY(lc_slice_of("a\0\"b", 4)),
         LC_F_STR("error", "say \"no\"\n"), LC_F_INT("ms", INT64_MIN));
  assert_line(
      &line, "{\"time\":\"2026-11-23T21:42:07.123Z\",\"level\":\"warn\",\"event\":\"load failed\",\"group\":\"scores\","
             "\"key\":\"a\\\\x00\\\\\\\"b\",\"error\":\"say \\\"no\\\"\\n\",\"ms\":-9223372036854775808}\n");
}

static void test_numbers_and_booleans_are_themselves_in_json(void **state) {
  (void)state;
  struct lc_log_line line;
  FORMAT(&line, LC_LOG_JSON, "e", LC_F_REAL("ms", 12.5), LC_F_REAL("big", 1e300), LC_F_BOOL("hit", true),
         LC_F_BOOL("old", false), LC_F_REAL("inf", INFINITY));
  assert_line(&line, "{\"time\":\"2026-11-23T21:42:07.123Z\",\"level\":\"warn\",\"event\":\"e\",\"ms\":12.5,"
                     "\"big\":1e+300,\"hit\":true,\"old\":false,\"inf\":\"inf\"}\n");
  FORMAT(&line, LC_LOG_TEXT, "e", LC_F_REAL("ms", 12.5), LC_F_BOOL("hit", true), LC_F_REAL("inf", -INFINITY));
  assert_line(&line, "2026-11-23T21:42:07.123Z warn e ms=12.5 hit=true inf=-inf\n");
}

static void test_text_never_moves_a_terminal_and_stays_one_line(void **state) {
  (void)state;
  struct lc_log_line line;
  FORMAT(&line, LC_LOG_TEXT, "e", LC_F_STR("error", "\x1b[2J\r\n\tcaf\xc3\xa9 \xc2\x9b \xff \x7f"));
  assert_line(&line, "2026-11-23T21:42:07.123Z warn e error=\"\\x1b[2J\\r\\n\\tcaf\xc3\xa9 \\xc2\\x9b \\xff \\x7f\"\n");
}

static void test_a_key_is_cut_at_64_bytes_and_tells_its_length(void **state) {
  (void)state;
  char key[300];
  memset(key, 'k', 64);
  memset(key + 64, 'S', sizeof key - 64);
  struct lc_log_line line;
  FORMAT(&line, LC_LOG_TEXT, "e", LC_F_KEY(lc_slice_of(key, 64)));
  assert_null(memmem(line.data, line.len, "key_bytes", 9));
  FORMAT(&line, LC_LOG_TEXT, "e", LC_F_KEY(lc_slice_of(key, sizeof key)));
  assert_null(memchr(line.data, 'S', line.len));
  assert_non_null(memmem(line.data, line.len, "kkk key_bytes=300\n", 18));
  FORMAT(&line, LC_LOG_JSON, "e", LC_F_KEY(lc_slice_of(key, sizeof key)));
  assert_null(memchr(line.data, 'S', line.len));
  assert_non_null(memmem(line.data, line.len, "kkk\",\"key_bytes\":300}\n", 22));
}

static uint32_t next_random(uint32_t *seed) {
  *seed = *seed * 1664525u + 1013904223u;
  return *seed >> 8;
}

/* Mostly bytes that make trouble. */
static size_t random_bytes(uint8_t *out, size_t max, uint32_t *seed) {
  static const char nasty[] = "\"\\ =\n\xc3\xa9\xe2\x82\xac\xed\xa0\xf0\x9f\x98\x80\x1b";
  size_t len = next_random(seed) % (max + 1);
  for (size_t i = 0; i < len; i++)
    out[i] = next_random(seed) % 2 ? (uint8_t)nasty[next_random(seed) % sizeof nasty] : (uint8_t)next_random(seed);
  return len;
}

/* Undoes \xNN, \n, \r, \t, \" and \\ up to a quote or, bare, a space. */
static size_t unescape(const char *at, uint8_t *out) {
  bool quoted = *at == '"';
  size_t len = 0;
  for (at += quoted; quoted ? *at != '"' : (unsigned char)*at > ' '; at++) {
    unsigned byte = (unsigned char)*at;
    if (*at == '\\') {
      at++;
      byte = *at == 'n' ? '\n' : *at == 'r' ? '\r' : *at == 't' ? '\t' : (unsigned char)*at;
      if (*at == 'x') {
        assert_int_equal(sscanf(at + 1, "%2x", &byte), 1);
        at += 2;
      }
    }
    out[len++] = (uint8_t)byte;
  }
  return len;
}

static void assert_field(const char *line, const char *name, const uint8_t *bytes, size_t len) {
  uint8_t got[1000];
  const char *at = strstr(line, name);
  assert_non_null(at);
  assert_int_equal(unescape(at + strlen(name), got), len);
  assert_memory_equal(got, bytes, len);
}

static void test_any_bytes_in_a_text_line_read_back(void **state) {
  (void)state;
  uint32_t seed = 5;
  for (int round = 0; round < 20000; round++) {
    uint8_t key[64], text[200];
    size_t key_len = random_bytes(key, sizeof key, &seed), text_len = random_bytes(text, sizeof text, &seed);
    struct lc_log_line line;
    FORMAT(&line, LC_LOG_TEXT, "e", LC_F_KEY(lc_slice_of(key, key_len)),
           LC_F_TEXT("error", lc_slice_of(text, text_len)));
    assert_ptr_equal(memchr(line.data, '\n', line.len), line.data + line.len - 1);
    line.data[line.len] = '\0';
    assert_field(line.data, " key=", key, key_len);
    const char *after_key = line.data + strlen("2026-11-23T21:42:07.123Z warn e key=");
    const char *error = strstr(after_key, key_len && *after_key != '"' ? " error=" : "\" error=");
    assert_non_null(error);
    assert_field(error, " error=", text, text_len);
  }
}

static cJSON *parse_json(const struct lc_log_line *line) {
  struct lc_slice text = lc_slice_of(line->data, line->len);
  for (size_t at = 0; at < text.len; at += lc_utf8_char_len(text, at))
    assert_true(lc_utf8_char_len(text, at) > 0);
  assert_ptr_equal(memchr(line->data, '\n', line->len), line->data + line->len - 1);
  cJSON *json = cJSON_ParseWithLength(line->data, line->len);
  assert_non_null(json);
  return json;
}

static void test_any_bytes_make_valid_json(void **state) {
  (void)state;
  uint32_t seed = 6;
  for (int round = 0; round < 20000; round++) {
    uint8_t key[64], text[200], back[64];
    size_t key_len = random_bytes(key, sizeof key, &seed), text_len = random_bytes(text, sizeof text, &seed);
    struct lc_log_line line;
    FORMAT(&line, LC_LOG_JSON, "e", LC_F_KEY(lc_slice_of(key, key_len)),
           LC_F_TEXT("error", lc_slice_of(text, text_len)));
    cJSON *json = parse_json(&line);
    const char *shown = cJSON_GetStringValue(cJSON_GetObjectItem(json, "key"));
    char quoted[400];
    snprintf(quoted, sizeof quoted, "\"%s\"", shown);
    assert_int_equal(unescape(quoted, back), key_len);
    assert_memory_equal(back, key, key_len);
    assert_true(cJSON_IsString(cJSON_GetObjectItem(json, "error")));
    cJSON_Delete(json);
  }
}

static void test_a_long_line_is_cut_and_still_well_formed(void **state) {
  (void)state;
  static char text[LC_LOG_LINE_SIZE + 100];
  /* Each length puts the cut elsewhere: in a value, before a number, inside a field's name, between two fields. */
  for (size_t len = LC_LOG_LINE_SIZE - 200; len < sizeof text; len++) {
    memset(text, '"', len);
    memset(text, 'x', len - len % 100);
    struct lc_log_line line;
    for (int json = 0; json < 2; json++) {
      FORMAT(&line, json ? LC_LOG_JSON : LC_LOG_TEXT, "e", LC_F_TEXT("error", lc_slice_of(text, len)),
             LC_F_INT("number", 123456789), LC_F_STR("last", "the \"end\""));
      assert_true(line.len <= LC_LOG_LINE_SIZE);
      const char *mark = json ? ",\"cut\":true}\n" : " cut=true\n";
      bool marked = memcmp(line.data + line.len - strlen(mark), mark, strlen(mark)) == 0;
      assert_int_equal(marked, line.cut);
      assert_true(line.cut || memmem(line.data, line.len, "last", 4));
      assert_true(line.cut || line.len + 150 > LC_LOG_LINE_SIZE - 200);
      if (json)
        cJSON_Delete(parse_json(&line));
    }
  }
}

static void test_an_event_too_long_for_a_line_is_cut_too(void **state) {
  (void)state;
  static char event[2 * LC_LOG_LINE_SIZE];
  memset(event, 'x', sizeof event - 1);
  struct lc_log_line line;
  FORMAT(&line, LC_LOG_JSON, event, LC_F_INT("n", 1));
  cJSON *json = parse_json(&line);
  assert_true(cJSON_IsTrue(cJSON_GetObjectItem(json, "cut")));
  cJSON_Delete(json);
}

static void test_only_levels_from_the_threshold_on_are_written(void **state) {
  (void)state;
  struct sink sink;
  open_sink(&sink, LC_LOG_WARN, LC_LOG_TEXT);
  assert_false(lc_log_enabled(sink.log, LC_LOG_INFO));
  assert_true(lc_log_enabled(sink.log, LC_LOG_WARN));
  lc_log_event(sink.log, LC_LOG_INFO, "quiet");
  lc_log_event(sink.log, LC_LOG_WARN, "first", LC_F_INT("n", 1));
  lc_log_event(sink.log, LC_LOG_ERROR, "second");
  const char *text = finish(&sink);
  assert_null(strstr(text, "quiet"));
  assert_non_null(strstr(text, "Z warn first n=1\n"));
  assert_non_null(strstr(text, "Z error second\n"));
  close_sink(&sink);
}

static void test_a_null_log_takes_everything_and_does_nothing(void **state) {
  (void)state;
  lc_log_event(NULL, LC_LOG_ERROR, "nowhere");
  assert_false(lc_log_enabled(NULL, LC_LOG_ERROR));
  assert_int_equal(lc_log_dropped(NULL), 0);
  lc_log_destroy(NULL);
}

static void test_destroy_writes_what_is_queued(void **state) {
  (void)state;
  struct sink sink;
  open_sink(&sink, LC_LOG_DEBUG, LC_LOG_TEXT);
  for (int i = 0; i < 500; i++)
    lc_log_event(sink.log, LC_LOG_DEBUG, "line", LC_F_INT("n", i));
  assert_int_equal(count_of(finish(&sink), " debug line n="), 500);
  close_sink(&sink);
}

static const char *line_text(int size) {
  static char text[2001];
  memset(text, 'x', sizeof text - 1);
  return text + sizeof text - 1 - size;
}

/* Of whole lines only: the text may end within one. */
static uint64_t sum_of_notices(const char *text) {
  static const char notice[] = " warn log lines dropped lines=";
  uint64_t sum = 0;
  for (const char *p = text; (p = strstr(p, notice)) && strchr(p, '\n');) {
    p += sizeof notice - 1;
    sum += strtoull(p, NULL, 10);
  }
  return sum;
}

static void test_a_blocked_pipe_never_blocks_the_caller_and_drops_are_told(void **state) {
  (void)state;
  enum { LINES = 3000 };
  struct sink sink;
  open_sink(&sink, LC_LOG_INFO, LC_LOG_TEXT);
  uint64_t start_ms = lc_clock_ms();
  for (int i = 0; i < LINES; i++)
    lc_log_event(sink.log, LC_LOG_INFO, "flood", LC_F_STR("text", line_text(1000)));
  assert_true(lc_clock_ms() - start_ms < DEADLINE_MS);
  uint64_t dropped = lc_log_dropped(sink.log);
  assert_in_range(dropped, LINES - 1300, LINES - 900);

  do
    read_some(&sink);
  while (sum_of_notices((char *)sink.out.data) < dropped);
  assert_int_equal(count_of((char *)sink.out.data, " info flood "), LINES - dropped);

  lc_log_event(sink.log, LC_LOG_INFO, "after");
  const char *text = finish(&sink);
  assert_non_null(strstr(text, " info after\n"));
  assert_int_equal(sum_of_notices(text), dropped);
  close_sink(&sink);
}

static unsigned count_threads(void) {
  unsigned count = 0;
  DIR *dir = opendir("/proc/self/task");
  assert_non_null(dir);
  for (struct dirent *entry; (entry = readdir(dir));)
    count += entry->d_name[0] != '.';
  closedir(dir);
  return count;
}

static void test_destroy_waits_at_most_a_second_for_a_blocked_pipe(void **state) {
  (void)state;
  struct sink sink;
  unsigned threads = count_threads();
  open_sink(&sink, LC_LOG_INFO, LC_LOG_TEXT);
  for (int i = 0; i < 500; i++)
    lc_log_event(sink.log, LC_LOG_INFO, "flood", LC_F_STR("text", line_text(1000)));
  uint64_t start_ms = lc_clock_ms();
  lc_log_destroy(sink.log);
  sink.log = NULL;
  assert_in_range(lc_clock_ms() - start_ms, 900, 2500);
  while (count_threads() > threads)
    assert_true(lc_clock_ms() - start_ms < DEADLINE_MS);
  close_sink(&sink);
}

/* A terminal's write blocks half-way where poll had promised room. */
static void test_destroy_leaves_a_stuck_terminal_behind(void **state) {
  (void)state;
  int terminal = posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC);
  if (terminal < 0 || grantpt(terminal) || unlockpt(terminal))
    skip();
  int fd = open(ptsname(terminal), O_RDWR | O_NOCTTY | O_CLOEXEC);
  assert_true(fd >= 0);
  struct lc_log *log;
  assert_int_equal(lc_log_create(fd, LC_LOG_INFO, LC_LOG_TEXT, &log), LC_OK);
  for (int i = 0; i < 200; i++)
    lc_log_event(log, LC_LOG_INFO, "flood", LC_F_STR("text", line_text(1000)));
  uint64_t start_ms = lc_clock_ms();
  lc_log_destroy(log);
  assert_true(lc_clock_ms() - start_ms < 5000);
  close(terminal); /* not fd, which the thread may still be writing to */
}

/* Each write to a pipe with O_DIRECT is a packet that a read returns alone. */
static void test_each_write_ends_with_a_whole_line(void **state) {
  (void)state;
  enum { LINES = 40 };
  int fds[2];
  if (pipe2(fds, O_CLOEXEC | O_DIRECT))
    skip();
  struct lc_log *log;
  assert_int_equal(lc_log_create(fds[1], LC_LOG_INFO, LC_LOG_TEXT, &log), LC_OK);
  for (int i = 0; i < LINES; i++)
    lc_log_event(log, LC_LOG_INFO, "line", LC_F_STR("text", line_text(1000)));
  for (int lines = 0; lines < LINES;) {
    char packet[65536];
    struct pollfd fd = {.fd = fds[0], .events = POLLIN};
    assert_int_equal(poll(&fd, 1, DEADLINE_MS), 1);
    ssize_t len = read(fds[0], packet, sizeof packet);
    assert_in_range(len, 1, PIPE_BUF);
    assert_int_equal(packet[len - 1], '\n');
    for (ssize_t i = 0; i < len; i++)
      lines += packet[i] == '\n';
  }
  lc_log_destroy(log);
  close(fds[0]);
  close(fds[1]);
}

static void test_a_closed_reader_costs_lines_but_not_the_process(void **state) {
  (void)state;
  struct sink sink;
  open_sink(&sink, LC_LOG_INFO, LC_LOG_TEXT);
  close(sink.read_fd);
  lc_log_event(sink.log, LC_LOG_INFO, "lost");
  uint64_t deadline_ms = lc_clock_ms() + DEADLINE_MS;
  while (lc_log_dropped(sink.log) != 1) {
    assert_true(lc_clock_ms() < deadline_ms);
    sched_yield();
  }
  sink.read_fd = dup(sink.write_fd);
  close_sink(&sink);
}

enum { WRITERS = 4, LINES_EACH = 2000 };

static void *write_many(void *arg) {
  struct sink *sink = arg;
  for (int i = 0; i < LINES_EACH; i++)
    lc_log_event(sink->log, LC_LOG_INFO, "many", LC_F_INT("n", i), LC_F_STR("text", line_text(100)));
  return NULL;
}

static void *read_to_end(void *arg) {
  struct sink *sink = arg;
  ssize_t got;
  do {
    lc_buf_reserve(&sink->out, 65537);
    got = read(sink->read_fd, sink->out.data + sink->out.len, 65536);
    sink->out.len += got > 0 ? (size_t)got : 0;
    sink->out.data[sink->out.len] = '\0';
  } while (got > 0);
  return NULL;
}

static void test_lines_of_several_threads_stay_whole(void **state) {
  (void)state;
  struct sink sink;
  line_text(1); /* fills the text before the threads read it */
  open_sink(&sink, LC_LOG_INFO, LC_LOG_TEXT);
  pthread_t writers[WRITERS], reader;
  assert_int_equal(pthread_create(&reader, NULL, read_to_end, &sink), 0);
  for (int i = 0; i < WRITERS; i++)
    assert_int_equal(pthread_create(&writers[i], NULL, write_many, &sink), 0);
  for (int i = 0; i < WRITERS; i++)
    pthread_join(writers[i], NULL);
  uint64_t dropped = lc_log_dropped(sink.log);
  lc_log_destroy(sink.log);
  close(sink.write_fd);
  pthread_join(reader, NULL);
  size_t whole = 0;
  for (char *line = strtok((char *)sink.out.data, "\n"); line; line = strtok(NULL, "\n")) {
    int end = 0;
    sscanf(line, "%*s info many n=%*d text=%*[x]%n", &end);
    whole += end == (int)strlen(line) && strlen(strstr(line, "text=")) == 105;
  }
  assert_int_equal(whole, WRITERS * LINES_EACH - dropped);
  close(sink.read_fd);
  lc_buf_fini(&sink.out);
}

static volatile sig_atomic_t signalled;

static void on_signal(int number) {
  (void)number;
  signalled = 1;
}

static void test_its_thread_takes_no_signals(void **state) {
  (void)state;
  struct sink sink;
  sigset_t usr1, pending;
  sigemptyset(&usr1);
  sigaddset(&usr1, SIGUSR1);
  signal(SIGUSR1, on_signal);
  open_sink(&sink, LC_LOG_INFO, LC_LOG_TEXT);
  pthread_sigmask(SIG_BLOCK, &usr1, NULL);
  kill(getpid(), SIGUSR1);
  lc_log_event(sink.log, LC_LOG_INFO, "line");
  finish(&sink);
  sigpending(&pending);
  assert_int_equal(signalled, 0);
  assert_true(sigismember(&pending, SIGUSR1));
  pthread_sigmask(SIG_UNBLOCK, &usr1, NULL);
  assert_int_equal(signalled, 1);
  signal(SIGUSR1, SIG_DFL);
  close_sink(&sink);
}

static void test_out_of_memory_at_the_start_is_an_error(void **state) {
  (void)state;
  if (!lc_alloc_faults_built())
    skip();
  struct lc_log *log;
  lc_alloc_fail_at(1);
  assert_int_equal(lc_log_create(STDERR_FILENO, LC_LOG_INFO, LC_LOG_TEXT, &log), LC_ENOMEM);
  lc_alloc_fail_at(0);
}

static void test_a_line_needs_no_allocation(void **state) {
  (void)state;
  if (!lc_alloc_faults_built())
    skip();
  struct sink sink;
  open_sink(&sink, LC_LOG_INFO, LC_LOG_JSON);
  lc_alloc_fail_at(0);
  lc_log_event(sink.log, LC_LOG_INFO, "line", LC_F_KEY(lc_slice_str("k")), LC_F_STR("text", line_text(2000)));
  assert_int_equal(lc_alloc_fail_at(0), 0);
  close_sink(&sink);
}

static void test_levels_and_formats_are_words(void **state) {
  (void)state;
  enum lc_log_level level = LC_LOG_DEBUG;
  enum lc_log_format format = LC_LOG_TEXT;
  assert_int_equal(lc_log_parse_level("error", &level), LC_OK);
  assert_int_equal(level, LC_LOG_ERROR);
  assert_int_equal(lc_log_parse_level("debug", &level), LC_OK);
  assert_int_equal(level, LC_LOG_DEBUG);
  assert_int_equal(lc_log_parse_level("loud", &level), LC_EINVAL);
  assert_int_equal(lc_log_parse_format("json", &format), LC_OK);
  assert_int_equal(format, LC_LOG_JSON);
  assert_int_equal(lc_log_parse_format("text", &format), LC_OK);
  assert_int_equal(format, LC_LOG_TEXT);
  assert_int_equal(lc_log_parse_format("xml", &format), LC_EINVAL);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_a_text_line_is_quoted_only_where_needed),
      cmocka_unit_test(test_a_json_line_has_the_same_parts),
      cmocka_unit_test(test_numbers_and_booleans_are_themselves_in_json),
      cmocka_unit_test(test_text_never_moves_a_terminal_and_stays_one_line),
      cmocka_unit_test(test_a_key_is_cut_at_64_bytes_and_tells_its_length),
      cmocka_unit_test(test_any_bytes_in_a_text_line_read_back),
      cmocka_unit_test(test_any_bytes_make_valid_json),
      cmocka_unit_test(test_a_long_line_is_cut_and_still_well_formed),
      cmocka_unit_test(test_an_event_too_long_for_a_line_is_cut_too),
      cmocka_unit_test(test_only_levels_from_the_threshold_on_are_written),
      cmocka_unit_test(test_a_null_log_takes_everything_and_does_nothing),
      cmocka_unit_test(test_destroy_writes_what_is_queued),
      cmocka_unit_test(test_a_blocked_pipe_never_blocks_the_caller_and_drops_are_told),
      cmocka_unit_test(test_destroy_waits_at_most_a_second_for_a_blocked_pipe),
      cmocka_unit_test(test_destroy_leaves_a_stuck_terminal_behind),
      cmocka_unit_test(test_each_write_ends_with_a_whole_line),
      cmocka_unit_test(test_a_closed_reader_costs_lines_but_not_the_process),
      cmocka_unit_test(test_lines_of_several_threads_stay_whole),
      cmocka_unit_test(test_its_thread_takes_no_signals),
      cmocka_unit_test(test_out_of_memory_at_the_start_is_an_error),
      cmocka_unit_test(test_a_line_needs_no_allocation),
      cmocka_unit_test(test_levels_and_formats_are_words),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
