#include <assert.h>

#include "wire/h2_internal.h"

#define STREAMS_AT_FIRST 4096u

/* nghttp2 counts resets alone, h2_flood.c weighs them against useful frames: a busy client may have many time-outs. */
#define RESETS_UNLIMITED 1000000000u

/*
 * Frames of a server that wait to be pulled: a few for each stream. A client that reads nothing makes more with each
 * stream that it opens and has refused, or resets, and nghttp2 keeps them all.
 */
#define WAITING_PER_STREAM 4u
#define WAITING_BASE 4096u

void lc_h2_config_init(struct lc_h2_config *config, bool server) {
  *config = (struct lc_h2_config){
      .server = server,
      .max_streams = 4096,
      .stream_window = server ? 256u * 1024 : 1024u * 1024,
      .conn_window = server ? 1024u * 1024 : 16u * 1024 * 1024,
      .max_header_list = 16u * 1024,
  };
}

int lc_h2_error(int nghttp2_error) {
  switch (nghttp2_error) {
  case 0:
    return LC_OK;
  case NGHTTP2_ERR_NOMEM:
    return LC_ENOMEM;
  case NGHTTP2_ERR_STREAM_ID_NOT_AVAILABLE:
    return LC_EEXHAUSTED;
  case NGHTTP2_ERR_INVALID_ARGUMENT:
  case NGHTTP2_ERR_INVALID_STATE:
  case NGHTTP2_ERR_DATA_EXIST:
    return LC_EINVAL;
  default:
    return LC_EPROTO;
  }
}

static void *mem_malloc(size_t size, void *pool) {
  return lc_mempool_alloc(pool, size);
}

static void mem_free(void *ptr, void *pool) {
  lc_mempool_free(pool, ptr);
}

static void *mem_calloc(size_t count, size_t size, void *pool) {
  return lc_mempool_calloc(pool, count, size);
}

static void *mem_realloc(void *ptr, size_t size, void *pool) {
  return lc_mempool_realloc(pool, ptr, size);
}

struct lc_h2_stream *lc_h2_stream_add(struct lc_h2 *h2, void *object, int32_t id) {
  struct lc_h2_stream *stream = lc_mempool_alloc(h2->pool, sizeof *stream);
  if (!stream)
    return NULL;
  *stream = (struct lc_h2_stream){.object = object, .id = id};
  lc_list_push_back(&h2->streams, &stream->node);
  h2->stream_count++;
  h2->last = stream;
  return stream;
}

/* nghttp2 knows a stream only once its HEADERS have gone out; a client's newest requests are only in our list. */
static struct lc_h2_stream *find_unsent(const struct lc_h2 *h2, int32_t id) {
  for (struct lc_list *node = h2->streams.prev; node != &h2->streams; node = node->prev) {
    struct lc_h2_stream *stream = lc_container_of(node, struct lc_h2_stream, node);
    if (stream->id <= id)
      return stream->id == id ? stream : NULL;
  }
  return NULL;
}

struct lc_h2_stream *lc_h2_find_slow(struct lc_h2 *h2, int32_t id) {
  if (h2->destroying || id == h2->closing_id)
    return NULL;
  struct lc_h2_stream *found = nghttp2_session_get_stream_user_data(h2->session, id);
  if (!found && !h2->server)
    found = find_unsent(h2, id);
  if (found)
    h2->last = found;
  return found;
}

void lc_h2_stream_drop(struct lc_h2 *h2, struct lc_h2_stream *stream) {
  lc_list_remove(&stream->node);
  h2->stream_count--;
  if (h2->last == stream)
    h2->last = NULL;
  if (h2->heading == stream)
    h2->heading = NULL;
  h2->early_count -= stream->early;
  lc_mempool_free(h2->pool, stream->kept);
  lc_mempool_free(h2->pool, stream);
}

void lc_h2_stream_close(struct lc_h2 *h2, struct lc_h2_stream *stream, uint32_t error_code) {
  void *object = stream->object;
  h2->closing_id = stream->id;
  lc_h2_stream_drop(h2, stream);
  if (h2->handler->on_close)
    h2->handler->on_close(h2->arg, object, error_code);
  h2->closing_id = 0;
}

static int new_session(struct lc_h2 *h2, const nghttp2_session_callbacks *callbacks, const nghttp2_option *option) {
  nghttp2_mem mem = {h2->pool, mem_malloc, mem_free, mem_calloc, mem_realloc};
  if (h2->server)
    return nghttp2_session_server_new3(&h2->session, callbacks, h2, option, &mem);
  return nghttp2_session_client_new3(&h2->session, callbacks, h2, option, &mem);
}

static void set_options(nghttp2_option *option, bool server) {
  /* A client looks at a few fields of a server that it chose, and at each for itself: no rules of HTTP beyond that. */
  if (!server)
    nghttp2_option_set_no_http_messaging(option, 1);
  /* Windows open again in portions, see h2_recv.c. */
  nghttp2_option_set_no_auto_window_update(option, 1);
  nghttp2_option_set_no_closed_streams(option, 1);
  /* A client's, until the server's SETTINGS have come: nghttp2 would take 100. */
  nghttp2_option_set_peer_max_concurrent_streams(option, STREAMS_AT_FIRST);
  nghttp2_option_set_stream_reset_rate_limit(option, RESETS_UNLIMITED, RESETS_UNLIMITED);
}

static int open_session(struct lc_h2 *h2) {
  nghttp2_session_callbacks *callbacks = NULL;
  nghttp2_option *option = NULL;
  int rc = nghttp2_session_callbacks_new(&callbacks);
  if (rc == 0)
    rc = nghttp2_option_new(&option);
  if (rc == 0) {
    set_options(option, h2->server);
    lc_h2_recv_callbacks(callbacks);
    lc_h2_send_callbacks(callbacks);
    rc = new_session(h2, callbacks, option);
  }
  nghttp2_option_del(option);
  nghttp2_session_callbacks_del(callbacks);
  return rc;
}

static int queue_settings(struct lc_h2 *h2, const struct lc_h2_config *config) {
  nghttp2_settings_entry entries[] = {
      {NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS, config->max_streams},
      {NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, config->stream_window},
      {NGHTTP2_SETTINGS_MAX_HEADER_LIST_SIZE, config->max_header_list},
      {NGHTTP2_SETTINGS_ENABLE_PUSH, 0},
      /*
       * Not NO_RFC7540_PRIORITIES, though it saves 1%: in that mode nghttp2 1.52 frees a DATA item twice when its queue
       * can't grow.
       */
  };
  size_t count = sizeof entries / sizeof *entries - (config->server ? 1 : 0);
  int rc = nghttp2_submit_settings(h2->session, NGHTTP2_FLAG_NONE, entries, count);
  if (rc != 0)
    return rc;
  return nghttp2_session_set_local_window_size(h2->session, NGHTTP2_FLAG_NONE, 0, (int32_t)config->conn_window);
}

int lc_h2_create(const struct lc_h2_config *config, struct lc_h2 **out) {
  assert(config->conn_window <= INT32_MAX && config->stream_window <= INT32_MAX && config->handler->on_begin);
  struct lc_h2 *h2 = lc_mempool_calloc(config->pool, 1, sizeof *h2);
  if (!h2)
    return LC_ENOMEM;
  h2->pool = config->pool;
  h2->handler = config->handler;
  h2->arg = config->arg;
  h2->server = config->server;
  h2->stream_window = config->stream_window;
  h2->conn_window = config->conn_window;
  h2->max_header_list = config->max_header_list;
  h2->max_waiting = config->server ? WAITING_BASE + (size_t)WAITING_PER_STREAM * config->max_streams : SIZE_MAX;
  lc_list_init(&h2->streams);
  lc_h2_flood_init(&h2->flood, config->server);
  int rc = open_session(h2);
  if (rc == 0)
    rc = queue_settings(h2, config);
  if (rc != 0) {
    lc_h2_destroy(h2);
    return lc_h2_error(rc);
  }
  *out = h2;
  return 0;
}

void lc_h2_destroy(struct lc_h2 *h2) {
  if (!h2)
    return;
  assert(!h2->in_call);
  h2->destroying = true;
  while (!lc_list_empty(&h2->streams)) {
    struct lc_h2_stream *stream = lc_container_of(h2->streams.next, struct lc_h2_stream, node);
    lc_h2_stream_close(h2, stream, LC_H2_CANCEL);
  }
  nghttp2_session_del(h2->session);
  lc_mempool_free(h2->pool, h2);
}

void lc_h2_set_now(struct lc_h2 *h2, uint64_t now_ms) {
  if (h2->flood.filled_ms == 0)
    h2->flood.filled_ms = now_ms;
  h2->flood.now_ms = now_ms;
}

static int end_by_flood(struct lc_h2 *h2) {
  h2->flooded = true;
  int rc = nghttp2_session_terminate_session(h2->session, NGHTTP2_ENHANCE_YOUR_CALM);
  if (rc == NGHTTP2_ERR_NOMEM)
    h2->failed = LC_ENOMEM;
  return h2->failed ? LC_ENOMEM : LC_EPROTO;
}

int lc_h2_recv(struct lc_h2 *h2, const uint8_t *data, size_t len) {
  assert(!h2->in_call);
  if (h2->failed || h2->flooded)
    return h2->failed ? h2->failed : LC_EPROTO;
  if (!lc_h2_flood_recv(&h2->flood, data, len) ||
      nghttp2_session_get_outbound_queue_size(h2->session) > h2->max_waiting)
    return end_by_flood(h2);
  h2->in_call = true;
  ssize_t taken = nghttp2_session_mem_recv(h2->session, data, len);
  h2->in_call = false;
  if (taken < 0)
    return h2->failed = taken == NGHTTP2_ERR_NOMEM ? LC_ENOMEM : LC_EPROTO;
  return lc_h2_give_back(h2);
}

/* Appends what one call of nghttp2 gives: 1, 0 if it has nothing now, or LC_ENOMEM. */
static int pull_some(struct lc_h2 *h2, struct lc_outq *out) {
  const uint8_t *frames;
  ssize_t len = nghttp2_session_mem_send(h2->session, &frames);
  if (len < 0 || h2->pull_failed)
    return LC_ENOMEM;
  if (len == 0)
    return 0;
  return lc_outq_append(out, frames, (size_t)len) == 0 ? 1 : LC_ENOMEM;
}

int lc_h2_pull(struct lc_h2 *h2, struct lc_outq *out, size_t limit) {
  assert(!h2->in_call);
  if (h2->failed)
    return h2->failed == LC_ENOMEM ? LC_ENOMEM : 0;
  h2->in_call = true;
  h2->out = out;
  h2->out_limit = limit;
  int rc = 1;
  while (rc == 1 && out->bytes < limit)
    rc = pull_some(h2, out);
  h2->out = NULL;
  h2->in_call = false;
  if (rc < 0)
    h2->failed = rc;
  return rc < 0 ? rc : 0;
}

bool lc_h2_alive(const struct lc_h2 *h2) {
  if (h2->failed)
    return false;
  return nghttp2_session_want_read(h2->session) != 0 || nghttp2_session_want_write(h2->session) != 0;
}

int lc_h2_ping(struct lc_h2 *h2, const uint8_t opaque[8]) {
  return lc_h2_error(nghttp2_submit_ping(h2->session, NGHTTP2_FLAG_NONE, opaque));
}

int lc_h2_goaway(struct lc_h2 *h2, bool final) {
  static const uint8_t opaque[8] = "lc_drain";
  if (!final) {
    int rc = nghttp2_submit_shutdown_notice(h2->session);
    return rc != 0 ? lc_h2_error(rc) : lc_h2_ping(h2, opaque);
  }
  int32_t last = nghttp2_session_get_last_proc_stream_id(h2->session);
  return lc_h2_error(nghttp2_submit_goaway(h2->session, NGHTTP2_FLAG_NONE, last, NGHTTP2_NO_ERROR, NULL, 0));
}

size_t lc_h2_streams(const struct lc_h2 *h2) {
  return h2->stream_count;
}
