#include "server/server.h"

#include <unistd.h>

#include "base/alloc.h"
#include "server/internal.h"

#define TICK_MIN_MS 10u
#define TICK_MAX_MS 1000u

void lc_server_config_init(struct lc_server_config *config) {
  *config = (struct lc_server_config){
      .max_streams = 4096,
      .hello_timeout_ms = 10000,
      .request_timeout_ms = 60000,
      .stuck_timeout_ms = 60000,
      .idle_ping_ms = 120000,
      .ping_timeout_ms = 20000,
  };
}

static void tick(struct lc_timer *timer) {
  struct lc_server *server = lc_container_of(timer, struct lc_server, tick);
  uint64_t now_ms = lc_worker_now_ms(server->worker);
  for (struct lc_list *node = server->sessions.next, *next; node != &server->sessions; node = next) {
    next = node->next; /* a check may close a session, but on_close comes in a later loop turn */
    lc_session_check(lc_container_of(node, struct lc_session, link), now_ms);
  }
  lc_timer_start(lc_worker_timers(server->worker), timer, now_ms + server->tick_ms);
}

/* A quarter of the shortest time that is watched over: each is kept to that much. */
static uint64_t tick_ms(const struct lc_server_config *config) {
  const uint64_t times[] = {config->hello_timeout_ms, config->request_timeout_ms, config->stuck_timeout_ms,
                            config->idle_ping_ms, config->ping_timeout_ms};
  uint64_t least = TICK_MAX_MS * 4u;
  for (size_t i = 0; i < sizeof(times) / sizeof(times[0]); i++)
    least = times[i] < least ? times[i] : least;
  return least / 4 > TICK_MIN_MS ? least / 4 : TICK_MIN_MS;
}

int lc_server_create(const struct lc_server_config *config, struct lc_server **out) {
  struct lc_server *server = lc_calloc(1, sizeof(*server));
  if (!server)
    return LC_ENOMEM;
  server->config = *config;
  server->worker = config->worker;
  server->pool = lc_worker_pool(config->worker);
  lc_list_init(&server->sessions);
  server->tick.fire = tick;
  server->tick_ms = tick_ms(config);
  lc_timer_start(lc_worker_timers(server->worker), &server->tick, lc_worker_now_ms(server->worker) + server->tick_ms);
  *out = server;
  return LC_OK;
}

void lc_server_destroy(struct lc_server *server) {
  if (!server)
    return;
  lc_timer_stop(lc_worker_timers(server->worker), &server->tick);
  lc_free(server);
}

void lc_server_accept(struct lc_server *server, int fd) {
  int rc = LC_EUNAVAILABLE;
  if (server->draining) {
    close(fd);
  } else {
    rc = lc_session_open(server, fd);
  }
  if (rc != LC_OK && server->config.on_ended)
    server->config.on_ended(server->config.on_ended_arg);
}

void lc_server_drain(struct lc_server *server, void (*drained)(void *arg), void *arg) {
  server->draining = true;
  server->drained = drained;
  server->drained_arg = arg;
  for (struct lc_list *node = server->sessions.next, *next; node != &server->sessions; node = next) {
    next = node->next;
    lc_session_drain(lc_container_of(node, struct lc_session, link));
  }
  if (server->connections == 0 && server->drained) {
    server->drained = NULL;
    drained(arg);
  }
}

void lc_server_abort(struct lc_server *server) {
  for (struct lc_list *node = server->sessions.next, *next; node != &server->sessions; node = next) {
    next = node->next;
    lc_session_abort(lc_container_of(node, struct lc_session, link));
  }
}

unsigned lc_server_connections(const struct lc_server *server) {
  return server->connections;
}

size_t lc_server_streams(const struct lc_server *server) {
  return server->streams;
}
