#include <stdio.h>

#include "rpc/client_internal.h"

/*
 * Is the server there? The time counts from the last byte read, or from when we began to wait, whichever is later.
 * After a stop of our own (a suspended process, a long callback) it begins anew: pings didn't go out meanwhile.
 */

static uint64_t silent_since(const struct lc_rpc_client *client) {
  uint64_t read_ms = lc_conn_last_read_ms(client->conn);
  return read_ms > client->asked_ms ? read_ms : client->asked_ms;
}

static void start_tick(struct lc_rpc_client *client, uint64_t due_ms) {
  lc_timer_start(lc_worker_timers(client->worker), &client->tick, due_ms);
}

static void ping(struct lc_rpc_client *client, uint64_t now) {
  static const uint8_t opaque[8] = "lc_alive";
  client->ping_due_ms = now + client->config.ping_ms;
  if (!client->connected)
    return;
  (void)lc_h2_ping(client->h2, opaque); /* without memory for it the next one may go out */
  lc_conn_flush_later(client->conn);
}

static void time_is_up(struct lc_rpc_client *client) {
  char why[64];
  snprintf(why, sizeof(why), "no answer for %llu ms", (unsigned long long)client->config.silence_ms);
  lc_rpc_client_give_up(client, LC_EDEADLINE, why);
  lc_conn_abort(client->conn);
}

static void on_tick(struct lc_timer *timer) {
  struct lc_rpc_client *client = lc_container_of(timer, struct lc_rpc_client, tick);
  if (!client->config.ping_always && !lc_rpc_client_busy(client))
    return;
  uint64_t now = lc_worker_now_ms(client->worker);
  if (now - client->ticked_ms > 2 * client->config.ping_ms)
    client->asked_ms = now;
  client->ticked_ms = now;
  uint64_t end = silent_since(client) + client->config.silence_ms;
  if (now >= end && client->suspect) {
    time_is_up(client);
    return;
  }
  client->suspect = now >= end;
  if (now >= client->ping_due_ms)
    ping(client, now);
  start_tick(client, client->suspect ? now + 1 : end < client->ping_due_ms ? end : client->ping_due_ms);
}

void lc_rpc_client_watch(struct lc_rpc_client *client) {
  const struct lc_rpc_client_config *config = &client->config;
  if (client->tick.active || client->down || config->ping_ms == 0 || config->silence_ms == 0)
    return;
  client->tick.fire = on_tick;
  client->asked_ms = client->ticked_ms = lc_worker_now_ms(client->worker);
  client->ping_due_ms = client->asked_ms + config->ping_ms;
  client->suspect = false;
  start_tick(client,
             config->silence_ms < config->ping_ms ? client->asked_ms + config->silence_ms : client->ping_due_ms);
}

void lc_rpc_client_unwatch(struct lc_rpc_client *client) {
  lc_timer_stop(lc_worker_timers(client->worker), &client->tick);
}
