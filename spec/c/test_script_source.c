#include "test_script_source.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"

#define CONNECTIONS_MAX 64

struct source {
  int listener;
  unsigned port;
  pthread_t thread;
  atomic_uint requests, closed;
  unsigned count;
  struct connection {
    struct source *source;
    int fd;
    pthread_t thread;
  } connections[CONNECTIONS_MAX];
};

static void send_all(int fd, const char *data, size_t len) {
  while (len > 0) {
    ssize_t n = send(fd, data, len, MSG_NOSIGNAL);
    if (n <= 0)
      return;
    data += n;
    len -= (size_t)n;
  }
}

static void reply(int fd, int status, const char *more, const char *body, size_t len) {
  char head[512];
  int n = snprintf(head, sizeof head, "HTTP/1.1 %d X\r\nContent-Length: %zu\r\nX-Twice: one\r\nX-Twice: two\r\n%s\r\n",
                   status, len, more);
  send_all(fd, head, (size_t)n);
  send_all(fd, body, len);
}

static void answer(int fd, char *request, size_t len) {
  const char *path = strchr(request, ' ') + 1;
  char body[64];
  if (strncmp(path, "/status/", 8) == 0) {
    int status = atoi(path + 8);
    reply(fd, status, "", body, (size_t)snprintf(body, sizeof body, "status %d", status));
  } else if (strncmp(path, "/big/", 5) == 0) {
    size_t size = (size_t)atol(path + 5);
    char *big = calloc(1, size);
    memset(big, 'b', size);
    reply(fd, 200, "", big, size);
    free(big);
  } else if (strncmp(path, "/json", 5) == 0) {
    reply(fd, 200, "Content-Type: application/json\r\n", "{\"score\":42}", 12);
  } else if (strncmp(path, "/broken", 7) == 0) {
    reply(fd, 200, "", "{\"score\":", 9);
  } else if (strncmp(path, "/redirect", 9) == 0) {
    reply(fd, 302, "Location: /status/200\r\n", "", 0);
  } else if (strncmp(path, "/echo", 5) == 0) {
    reply(fd, 200, "", request, len);
  }
}

/* Bytes of the head and the body that it announces, or 0: more to come. */
static size_t whole(const char *buffer, size_t len) {
  const char *end = memmem(buffer, len, "\r\n\r\n", 4);
  if (!end)
    return 0;
  size_t head = (size_t)(end - buffer) + 4;
  const char *length = strcasestr(buffer, "content-length:");
  size_t body = length && length < end ? (size_t)atol(length + 15) : 0;
  return head + body <= len ? head + body : 0;
}

static void *serve(void *arg) {
  struct connection *connection = arg;
  char buffer[65536];
  size_t len = 0;
  for (ssize_t n; (n = recv(connection->fd, buffer + len, sizeof buffer - 1 - len, 0)) > 0;) {
    len += (size_t)n;
    buffer[len] = '\0';
    size_t size = whole(buffer, len);
    if (size == 0)
      continue;
    answer(connection->fd, buffer, size);
    atomic_fetch_add(&connection->source->requests, 1);
    len = 0;
  }
  atomic_fetch_add(&connection->source->closed, 1);
  return NULL;
}

static void *accept_all(void *arg) {
  struct source *source = arg;
  for (int fd; source->count < CONNECTIONS_MAX && (fd = accept(source->listener, NULL, NULL)) >= 0;) {
    struct connection *connection = &source->connections[source->count++];
    connection->source = source;
    connection->fd = fd;
    pthread_create(&connection->thread, NULL, serve, connection);
  }
  return NULL;
}

struct source *source_start(void) {
  struct source *source = calloc(1, sizeof *source);
  struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
  socklen_t len = sizeof address;
  source->listener = socket(AF_INET, SOCK_STREAM, 0);
  if (bind(source->listener, (struct sockaddr *)&address, len) != 0 || listen(source->listener, 64) != 0)
    abort();
  getsockname(source->listener, (struct sockaddr *)&address, &len);
  source->port = ntohs(address.sin_port);
  pthread_create(&source->thread, NULL, accept_all, source);
  return source;
}

void source_stop(struct source *source) {
  shutdown(source->listener, SHUT_RDWR);
  pthread_join(source->thread, NULL);
  for (unsigned i = 0; i < source->count; i++) {
    shutdown(source->connections[i].fd, SHUT_RDWR);
    pthread_join(source->connections[i].thread, NULL);
    close(source->connections[i].fd);
  }
  close(source->listener);
  free(source);
}

unsigned source_port(const struct source *source) {
  return source->port;
}

unsigned source_requests(struct source *source) {
  return atomic_load(&source->requests);
}

static void wait_count(atomic_uint *value, unsigned count) {
  uint64_t until = lc_clock_ms() + 10000;
  while (atomic_load(value) < count) {
    if (lc_clock_ms() > until) {
      fprintf(stderr, "source: gave up waiting for %u\n", count);
      abort();
    }
    usleep(1000);
  }
}

void source_wait_requests(struct source *source, unsigned count) {
  wait_count(&source->requests, count);
}

void source_wait_closed(struct source *source, unsigned count) {
  wait_count(&source->closed, count);
}
