#ifndef LC_RPC_CLIENT_INTERNAL_H
#define LC_RPC_CLIENT_INTERNAL_H

#include "base/list.h"
#include "loop/conn.h"
#include "rpc/client.h"
#include "wire/h2.h"

/* What client.c (the connection), client_call.c (calls) and client_live.c (pings) share. */

struct lc_rpc_client {
  struct lc_rpc_client_config config;
  struct lc_worker *worker;
  struct lc_conn *conn; /* NULL once closed; h2 with it */
  struct lc_h2 *h2;
  struct lc_list calls;    /* that have a stream */
  struct lc_list borrowed; /* of them, while bytes are being dealt with: the reply lies in those bytes */
  struct lc_list waiting;  /* for a stream */
  size_t waiting_bytes;
  uint64_t timeout_ms; /* that timeout_text says */
  char timeout_text[16];
  char authority[LC_HOST_SIZE + 9];
  struct lc_err down_err; /* why the connection could not be made, or ended */

  struct lc_timer tick; /* of liveness: runs while there is something to wait for */
  uint64_t ticked_ms, ping_due_ms;
  uint64_t asked_ms; /* since when something is being waited for */
  bool suspect;      /* the time is up; what has come by now is read first */

  bool connected;
  bool heard;     /* the server has sent something */
  bool up;        /* on_up was called */
  bool down;      /* no new calls */
  bool closing;   /* the calls are being ended: a callback may destroy the client meanwhile */
  bool destroyed; /* freed when the connection has closed */
};

static inline bool lc_rpc_client_busy(const struct lc_rpc_client *client) {
  return !lc_list_empty(&client->calls) || !lc_list_empty(&client->borrowed) || !lc_list_empty(&client->waiting);
}

/* client.c: ends the connection for a reason of ours, unless there already is one. */
void lc_rpc_client_give_up(struct lc_rpc_client *client, int code, const char *why);

/* client_call.c */
extern const struct lc_h2_handler lc_rpc_client_h2_handler;
void lc_rpc_client_keep_replies(struct lc_rpc_client *client); /* the borrowed ones, before their bytes go */
void lc_rpc_client_start_waiting(struct lc_rpc_client *client);
void lc_rpc_client_end_waiting(struct lc_rpc_client *client);
void lc_rpc_client_forget_calls(struct lc_rpc_client *client); /* none of them is called back any more */

/* client_live.c */
void lc_rpc_client_watch(struct lc_rpc_client *client); /* something is being waited for; cheap to call often */
void lc_rpc_client_unwatch(struct lc_rpc_client *client);

#endif
