#include "test_loop_http.h"

struct connection {
  struct http_source *source;
  int fd;
};

static void note_open(struct http_source *source) {
  atomic_fetch_add(&source->connections, 1);
  unsigned open = atomic_fetch_add(&source->open, 1) + 1;
  unsigned most = atomic_load(&source->most_open);
  while (open > most && !atomic_compare_exchange_weak(&source->most_open, &most, open)) {
  }
}

static bool reply(int fd, const char *status, const char *headers, const void *body, size_t len) {
  char head[1024];
  int n = snprintf(head, sizeof head, "HTTP/1.1 %s\r\nContent-Length: %zu\r\n%s\r\n", status, len, headers);
  return send_all(fd, head, (size_t)n) && send_all(fd, body, len);
}

static void wait_for_end(int fd) {
  char byte;
  while (recv(fd, &byte, 1, 0) > 0) {
  }
}

static bool hang(struct http_source *source, int fd) {
  gate_raise(&source->hanging);
  wait_for_end(fd);
  return false;
}

/* As long as the other side takes it; chunked, so that no length warns it. */
static bool endless(struct http_source *source, int fd) {
  static char chunk[65536 + 9];
  snprintf(chunk, sizeof chunk, "10000\r\n");
  memset(chunk + 7, 'x', 65536);
  chunk[7 + 65536] = '\r';
  chunk[7 + 65537] = '\n';
  if (!send_all(fd, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", 47))
    return false;
  while (send_all(fd, chunk, sizeof chunk))
    atomic_fetch_add(&source->sent, 65536);
  return false;
}

/* "hello gzip" as a stored block. */
static bool gzipped(int fd) {
  static const unsigned char data[] = {0x1f, 0x8b, 8,    0,    0,    0,    0,    0,   0,   3,   1,
                                       10,   0,    0xf5, 0xff, 'h',  'e',  'l',  'l', 'o', ' ', 'g',
                                       'z',  'i',  'p',  0x19, 0x6a, 0xd2, 0xdf, 10,  0,   0,   0};
  return reply(fd, "200 OK", "Content-Encoding: gzip\r\n", data, sizeof data);
}

/* A deflate block of fixed codes (RFC 1951): a zero byte, then copies of 258 zeros, 13 bits each. 32 KB make 5 MB. */
static bool gzip_bomb(int fd) {
  static unsigned char data[32768] = {0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 3};
  static const char start[] = "110" /* last block, fixed codes */
                              "00110000" /* the literal 0 */;
  static const char copy[] = "1100010100000"; /* length 258, distance 1 */
  size_t bit = 10 * 8;
  for (const char *at = start; *at != '\0'; at++, bit++)
    data[bit / 8] |= (unsigned char)((*at - '0') << (bit % 8));
  while (bit + 13 < sizeof data * 8) {
    for (const char *at = copy; *at != '\0'; at++, bit++)
      data[bit / 8] |= (unsigned char)((*at - '0') << (bit % 8));
  }
  return reply(fd, "200 OK", "Content-Encoding: gzip\r\n", data, sizeof data);
}

static bool endless_head(int fd) {
  char line[1024];
  memset(line, 'h', sizeof line);
  line[1] = ':';
  line[sizeof line - 2] = '\r';
  line[sizeof line - 1] = '\n';
  if (!send_all(fd, "HTTP/1.1 200 OK\r\n", 17))
    return false;
  while (send_all(fd, line, sizeof line)) {
  }
  return false;
}

static bool redirect(struct http_source *source, int fd, const char *path) {
  char location[128];
  if (strcmp(path, "/redirect-file") == 0) {
    return reply(fd, "302 Found", "Location: file:///etc/passwd\r\n", "", 0);
  }
  snprintf(location, sizeof location, "Location: http://127.0.0.1:%u%s\r\n", source->port,
           strcmp(path, "/redirect-loop") == 0 ? "/redirect-loop" : "/hello");
  return reply(fd, "302 Found", location, "moved", 5);
}

/* False: close the connection. */
static bool answer(struct http_source *source, int fd, const char *method, const char *path) {
  if (strcmp(path, "/hang") == 0)
    return hang(source, fd);
  if (strcmp(path, "/hang-in-body") == 0) {
    return send_all(fd, "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf", 43) && hang(source, fd);
  }
  if (strcmp(path, "/cut") == 0) {
    send_all(fd, "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf", 43);
    return false;
  }
  if (strcmp(path, "/nothing") == 0)
    return false;
  if (strcmp(path, "/garbage") == 0)
    return send_all(fd, "EHLO there\r\n\r\n", 14) && false;
  if (strcmp(path, "/endless") == 0)
    return endless(source, fd);
  if (strcmp(path, "/endless-head") == 0)
    return endless_head(fd);
  if (strcmp(path, "/gzip") == 0)
    return gzipped(fd);
  if (strcmp(path, "/bomb") == 0)
    return gzip_bomb(fd);
  if (strncmp(path, "/redirect", 9) == 0)
    return redirect(source, fd, path);
  if (strcmp(path, "/missing") == 0)
    return reply(fd, "404 Not Found", "", "no such thing", 13);
  if (strcmp(path, "/close") == 0)
    return reply(fd, "200 OK", "Connection: close\r\n", "hello", 5) && false;
  if (strcmp(method, "HEAD") == 0)
    return reply(fd, "200 OK", "X-Head: yes\r\n", "", 0);
  return reply(fd, "200 OK", "X-Mixed-Case:  some value \r\nX-Empty:\r\n", "hello", 5);
}

static size_t content_length(const char *head) {
  const char *field = strcasestr(head, "\r\ncontent-length:");
  return field != NULL ? (size_t)strtoul(field + 17, NULL, 10) : 0;
}

/* One request, head and body, into `text`; false at the end. */
static bool read_request(int fd, char *text, size_t size) {
  size_t have = 0;
  text[0] = '\0';
  while (strstr(text, "\r\n\r\n") == NULL) {
    if (have == size - 1 || recv(fd, text + have, 1, 0) != 1)
      return false;
    text[++have] = '\0';
  }
  size_t body = content_length(text);
  if (body > size - 1 - have || recv_all(fd, text + have, body) != body)
    return false;
  text[have + body] = '\0';
  return true;
}

static void *serve_connection(void *arg) {
  struct connection *connection = arg;
  struct http_source *source = connection->source;
  char text[4096], method[16], path[128];
  bool open = true;
  while (open && read_request(connection->fd, text, sizeof text) && sscanf(text, "%15s %127s", method, path) == 2) {
    atomic_fetch_add(&source->requests, 1);
    pthread_mutex_lock(&source->lock);
    memcpy(source->last_request, text, sizeof text);
    pthread_mutex_unlock(&source->lock);
    open = answer(source, connection->fd, method, path);
  }
  close(connection->fd);
  atomic_fetch_sub(&source->open, 1);
  free(connection);
  return NULL;
}

static void *serve(void *arg) {
  struct http_source *source = arg;
  pthread_attr_t detached;
  pthread_attr_init(&detached);
  pthread_attr_setdetachstate(&detached, PTHREAD_CREATE_DETACHED);
  for (int fd; (fd = accept(source->listener, NULL, NULL)) >= 0;) {
    struct connection *connection = malloc(sizeof *connection);
    *connection = (struct connection){source, fd};
    note_open(source);
    pthread_t thread;
    pthread_create(&thread, &detached, serve_connection, connection);
  }
  pthread_attr_destroy(&detached);
  return NULL;
}

void http_source_start(struct http_source *source) {
  *source = (struct http_source){.hanging = GATE_INIT, .lock = PTHREAD_MUTEX_INITIALIZER};
  source->listener = listen_socket(128, &source->port);
  pthread_create(&source->thread, NULL, serve, source);
}

void http_source_stop(struct http_source *source) {
  shutdown(source->listener, SHUT_RDWR);
  pthread_join(source->thread, NULL);
  close(source->listener);
  uint64_t give_up = lc_clock_ms() + PATIENCE_S * 1000;
  while (atomic_load(&source->open) > 0 && lc_clock_ms() < give_up)
    sched_yield();
  assert_int_equal(atomic_load(&source->open), 0);
}

void http_source_last_request(struct http_source *source, char *out, size_t size) {
  pthread_mutex_lock(&source->lock);
  snprintf(out, size, "%s", source->last_request);
  pthread_mutex_unlock(&source->lock);
}
