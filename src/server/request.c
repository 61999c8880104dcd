#include <string.h>

#include "server/internal.h"

void *lc_request_begin(void *arg, int32_t stream_id) {
  struct lc_session *session = arg;
  struct lc_server *server = session->server;
  const struct lc_face *face = server->config.face;
  if (!lc_worker_charge(server->worker, face->request_size))
    return NULL;
  struct lc_request *request = lc_mempool_alloc(server->pool, face->request_size);
  if (!request) {
    lc_worker_uncharge(server->worker, face->request_size);
    return NULL;
  }

  /* The inline arena bytes need no zeroing, and they are most of the object. */
  memset(request, 0, offsetof(struct lc_request, first));
  memset((char *)request + sizeof(*request), 0, face->zeroed_size - sizeof(*request));
  request->server = server;
  request->session = session;
  request->stream_id = stream_id;
  request->begun_ms = lc_worker_now_ms(server->worker);
  lc_outq_init(&request->body, server->pool);
  lc_arena_init(&request->arena, request->first, sizeof(request->first), face->arena_limit);
  lc_list_push_back(&session->incomplete, &request->incomplete);
  server->streams++;
  face->on_begin(server->config.face_arg, request);
  return request;
}

int lc_request_header(void *arg, void *stream, struct lc_slice name, struct lc_slice value) {
  struct lc_server *server = ((struct lc_session *)arg)->server;
  return server->config.face->on_header(server->config.face_arg, stream, name, value);
}

void lc_request_head(void *arg, void *stream, bool trailers) {
  struct lc_server *server = ((struct lc_session *)arg)->server;
  if (!trailers)
    server->config.face->on_head(server->config.face_arg, stream);
}

void lc_request_data(void *arg, void *stream, struct lc_slice data) {
  struct lc_server *server = ((struct lc_session *)arg)->server;
  server->config.face->on_data(server->config.face_arg, stream, data);
}

void lc_request_end(void *arg, void *stream) {
  struct lc_server *server = ((struct lc_session *)arg)->server;
  struct lc_request *request = stream;
  request->ended = true;
  lc_list_remove(&request->incomplete);
  server->config.face->on_end(server->config.face_arg, request);
}

void lc_request_close(void *arg, void *stream, uint32_t error_code) {
  (void)error_code;
  struct lc_server *server = ((struct lc_session *)arg)->server;
  struct lc_request *request = stream;
  lc_list_remove(&request->incomplete);
  server->streams--;
  bool kept = server->config.face->on_close(server->config.face_arg, request);
  request->session = NULL;
  if (!kept) {
    lc_request_free(request);
    return;
  }
  lc_outq_fini(&request->body);
  lc_outq_init(&request->body, server->pool);
}

struct lc_outq *lc_request_body(void *arg, void *stream) {
  (void)arg;
  return &((struct lc_request *)stream)->body;
}

struct lc_worker *lc_request_worker(const struct lc_request *request) {
  return request->server->worker;
}

struct lc_h2 *lc_request_h2(const struct lc_request *request) {
  return request->session ? request->session->h2 : NULL;
}

void lc_request_came(struct lc_request *request) {
  lc_list_remove(&request->incomplete);
}

void lc_request_kick(struct lc_request *request) {
  struct lc_session *session = request->session;
  if (session && !session->reading)
    lc_conn_flush_later(session->conn);
}

void lc_request_reset(struct lc_request *request, uint32_t error_code) {
  if (!request->session)
    return;
  int rc = lc_h2_reset(request->session->h2, request->stream_id, error_code);
  /* Out of memory for a RST_STREAM: the stream ends with its connection. */
  if (rc != LC_OK && rc != LC_ENOTFOUND)
    lc_session_abort(request->session);
  lc_request_kick(request);
}

bool lc_request_account(struct lc_request *request, size_t bytes) {
  struct lc_worker *worker = request->server->worker;
  if (bytes < request->charged)
    lc_worker_uncharge(worker, request->charged - bytes);
  else if (bytes > request->charged && !lc_worker_charge(worker, bytes - request->charged))
    return false;
  request->charged = bytes;
  return true;
}

void lc_request_free(struct lc_request *request) {
  struct lc_server *server = request->server;
  lc_worker_uncharge(server->worker, request->charged + server->config.face->request_size);
  lc_outq_fini(&request->body);
  lc_arena_fini(&request->arena);
  lc_mempool_free(server->pool, request);
}
