#include <assert.h>

#include "wire/h2_internal.h"

#define FIELDS_MAX 64u

/* nghttp2 doesn't write through these; its struct serves both directions. */
static uint8_t *unconst(const uint8_t *bytes) {
  return (uint8_t *)(uintptr_t)bytes;
}

static void to_nv(const struct lc_h2_field *fields, size_t count, nghttp2_nv *nv) {
  const uint8_t borrow = NGHTTP2_NV_FLAG_NO_COPY_NAME | NGHTTP2_NV_FLAG_NO_COPY_VALUE;
  for (size_t i = 0; i < count; i++) {
    nv[i] = (nghttp2_nv){unconst(fields[i].name.ptr), unconst(fields[i].value.ptr), fields[i].name.len,
                         fields[i].value.len, fields[i].fixed ? borrow : NGHTTP2_NV_FLAG_NONE};
  }
}

static uint8_t *put(uint8_t *at, struct lc_slice bytes, struct lc_slice *kept) {
  *kept = lc_slice_of(at, bytes.len);
  if (bytes.len)
    memcpy(at, bytes.ptr, bytes.len);
  return at + bytes.len;
}

static int copy_trailers(struct lc_h2 *h2, struct lc_h2_stream *stream) {
  const struct lc_h2_field *fields = stream->trailers;
  size_t count = stream->trailer_count, bytes = 0;
  for (size_t i = 0; i < count; i++)
    bytes += fields[i].name.len + fields[i].value.len;
  struct lc_h2_field *kept = lc_mempool_alloc(h2->pool, count * sizeof *kept + bytes);
  if (!kept)
    return LC_ENOMEM;
  uint8_t *at = (uint8_t *)(kept + count);
  for (size_t i = 0; i < count; i++) {
    kept[i].fixed = false;
    at = put(at, fields[i].name, &kept[i].name);
    at = put(at, fields[i].value, &kept[i].value);
  }
  stream->trailers = stream->kept = kept;
  return 0;
}

static int keep_trailers(struct lc_h2 *h2, struct lc_h2_stream *stream, const struct lc_h2_field *fields,
                         size_t count) {
  bool fixed = true;
  for (size_t i = 0; i < count; i++)
    fixed &= fields[i].fixed;
  stream->trailers = fields;
  stream->trailer_count = count;
  return fixed ? 0 : copy_trailers(h2, stream);
}

static ssize_t end_body(struct lc_h2 *h2, struct lc_h2_stream *stream, size_t n, uint32_t *flags) {
  *flags |= NGHTTP2_DATA_FLAG_EOF;
  if (stream->trailer_count == 0)
    return (ssize_t)n;
  *flags |= NGHTTP2_DATA_FLAG_NO_END_STREAM;
  nghttp2_nv nv[FIELDS_MAX];
  to_nv(stream->trailers, stream->trailer_count, nv);
  int rc = nghttp2_submit_trailer(h2->session, stream->id, nv, stream->trailer_count);
  return rc == 0 ? (ssize_t)n : NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
}

/* How much of the body goes into the next frame. The bytes themselves are taken in send_data: none is copied twice. */
static ssize_t read_body(nghttp2_session *session, int32_t id, uint8_t *buf, size_t len, uint32_t *flags,
                         nghttp2_data_source *source, void *arg) {
  (void)session, (void)id, (void)buf;
  struct lc_h2 *h2 = arg;
  struct lc_h2_stream *stream = source->ptr;
  const struct lc_outq *body = h2->handler->body(h2->arg, stream->object);
  size_t n = body->bytes < len ? body->bytes : len;
  if (n == 0 && !stream->finished) {
    stream->deferred = true;
    return NGHTTP2_ERR_DEFERRED;
  }
  *flags |= NGHTTP2_DATA_FLAG_NO_COPY;
  return stream->finished && n == body->bytes ? end_body(h2, stream, n, flags) : (ssize_t)n;
}

/* A frame that is mostly head is cheaper copied in one go than moved run by run. */
#define COPY_MAX 1024u
#define FRAME_HEAD 9u

static int queue_data(struct lc_outq *out, const uint8_t *head, struct lc_outq *body, size_t len) {
  if (len <= COPY_MAX) {
    uint8_t *at = lc_outq_reserve(out, FRAME_HEAD + len);
    if (!at)
      return LC_ENOMEM;
    memcpy(at, head, FRAME_HEAD);
    lc_outq_read(body, at + FRAME_HEAD, len);
    return 0;
  }
  size_t before = out->bytes;
  int rc = lc_outq_append(out, head, FRAME_HEAD);
  if (rc == 0)
    rc = lc_outq_move(out, body, len);
  if (rc != 0)
    lc_outq_truncate(out, before);
  return rc;
}

static int send_data(nghttp2_session *session, nghttp2_frame *frame, const uint8_t *head, size_t len,
                     nghttp2_data_source *source, void *arg) {
  (void)session, (void)frame;
  struct lc_h2 *h2 = arg;
  struct lc_h2_stream *stream = source->ptr;
  if (queue_data(h2->out, head, h2->handler->body(h2->arg, stream->object), len) != 0) {
    h2->pull_failed = true;
    return NGHTTP2_ERR_WOULDBLOCK;
  }
  lc_h2_flood_data_sent(&h2->flood);
  return h2->out->bytes >= h2->out_limit ? NGHTTP2_ERR_PAUSE : 0;
}

/* A reply that ends before the request does: tell the client to stop sending (RFC 9113, 8.1). */
static int on_frame_send(nghttp2_session *session, const nghttp2_frame *frame, void *arg) {
  struct lc_h2 *h2 = arg;
  if (h2->early_count == 0 || !(frame->hd.flags & NGHTTP2_FLAG_END_STREAM) ||
      (frame->hd.type != NGHTTP2_HEADERS && frame->hd.type != NGHTTP2_DATA))
    return 0;
  struct lc_h2_stream *stream = lc_h2_find(h2, frame->hd.stream_id);
  if (!stream || stream->remote_ended)
    return 0;
  stream->reset = true;
  int rc = nghttp2_submit_rst_stream(session, NGHTTP2_FLAG_NONE, stream->id, NGHTTP2_NO_ERROR);
  return nghttp2_is_fatal(rc) ? NGHTTP2_ERR_CALLBACK_FAILURE : 0;
}

void lc_h2_send_callbacks(nghttp2_session_callbacks *callbacks) {
  nghttp2_session_callbacks_set_send_data_callback(callbacks, send_data);
  nghttp2_session_callbacks_set_on_frame_send_callback(callbacks, on_frame_send);
}

/* Replies of which so much is to come go out one after the other. */
#define LARGE_BODY (64u * 1024)

/*
 * nghttp2 would take a frame of each stream in turn: then all large replies are under way for as long as it takes to
 * send them all, and whoever gathers them needs memory for all. A stream that depends on another is sent after it, or
 * when that one can't go on; small replies still come between. It is no more than a wish: a failure doesn't matter.
 */
static void line_up(struct lc_h2 *h2, struct lc_h2_stream *stream) {
  if (!h2->server || h2->handler->body(h2->arg, stream->object)->bytes < LARGE_BODY)
    return;
  if (h2->large_id && nghttp2_session_find_stream(h2->session, h2->large_id)) {
    nghttp2_priority_spec after;
    nghttp2_priority_spec_init(&after, h2->large_id, NGHTTP2_DEFAULT_WEIGHT, 0);
    (void)nghttp2_session_change_stream_priority(h2->session, stream->id, &after);
  }
  h2->large_id = stream->id;
}

/* The reply is complete as queued. */
static void end_reply(struct lc_h2 *h2, struct lc_h2_stream *stream) {
  stream->finished = true;
  if (!h2->server || stream->remote_ended)
    return;
  stream->early = true;
  h2->early_count++;
}

int lc_h2_respond(struct lc_h2 *h2, int32_t stream_id, const struct lc_h2_field *fields, size_t count, bool end) {
  struct lc_h2_stream *stream = lc_h2_find(h2, stream_id);
  if (!stream || stream->reset)
    return LC_ENOTFOUND;
  if (stream->responded || count > FIELDS_MAX)
    return LC_EINVAL;
  nghttp2_nv nv[FIELDS_MAX];
  to_nv(fields, count, nv);
  nghttp2_data_provider body = {{.ptr = stream}, read_body};
  int rc = nghttp2_submit_response(h2->session, stream_id, nv, count, end ? NULL : &body);
  if (rc != 0)
    return lc_h2_error(rc);
  stream->responded = true;
  if (end)
    end_reply(h2, stream);
  return 0;
}

int lc_h2_finish(struct lc_h2 *h2, int32_t stream_id, const struct lc_h2_field *trailers, size_t count) {
  struct lc_h2_stream *stream = lc_h2_find(h2, stream_id);
  if (!stream || stream->reset)
    return LC_ENOTFOUND;
  if (stream->finished || count > FIELDS_MAX)
    return LC_EINVAL;
  int rc = keep_trailers(h2, stream, trailers, count);
  if (rc != 0)
    return rc;
  line_up(h2, stream);
  end_reply(h2, stream);
  return lc_h2_resume(h2, stream_id);
}

int lc_h2_reply(struct lc_h2 *h2, int32_t stream_id, const struct lc_h2_field *head, size_t head_count,
                const struct lc_h2_field *trailers, size_t trailer_count) {
  int rc = lc_h2_respond(h2, stream_id, head, head_count, false);
  return rc != 0 ? rc : lc_h2_finish(h2, stream_id, trailers, trailer_count);
}

int lc_h2_resume(struct lc_h2 *h2, int32_t stream_id) {
  struct lc_h2_stream *stream = lc_h2_find(h2, stream_id);
  if (!stream || stream->reset)
    return LC_ENOTFOUND;
  if (!stream->deferred)
    return 0;
  stream->deferred = false;
  return lc_h2_error(nghttp2_session_resume_data(h2->session, stream_id));
}

/* nghttp2 would queue requests over the other side's limit, where nobody could see or bound them. */
static bool may_open(const struct lc_h2 *h2) {
  uint32_t limit = nghttp2_session_get_remote_settings(h2->session, NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS);
  return h2->stream_count < limit && nghttp2_session_check_request_allowed(h2->session);
}

int lc_h2_request(struct lc_h2 *h2, const struct lc_h2_field *fields, size_t count, void *object, int32_t *stream_id) {
  assert(!h2->server);
  if (count > FIELDS_MAX)
    return LC_EINVAL;
  if (!may_open(h2))
    return LC_EEXHAUSTED;
  nghttp2_nv nv[FIELDS_MAX];
  to_nv(fields, count, nv);
  struct lc_h2_stream *stream = lc_h2_stream_add(h2, object, 0);
  if (!stream)
    return LC_ENOMEM;
  nghttp2_data_provider body = {{.ptr = stream}, read_body};
  int32_t id = nghttp2_submit_request(h2->session, NULL, nv, count, &body, stream);
  if (id < 0) {
    lc_h2_stream_drop(h2, stream);
    return lc_h2_error(id);
  }
  stream->responded = true;
  stream->id = *stream_id = id;
  return 0;
}

int lc_h2_request_whole(struct lc_h2 *h2, const struct lc_h2_field *fields, size_t count, void *object,
                        int32_t *stream_id) {
  int rc = lc_h2_request(h2, fields, count, object, stream_id);
  if (rc == 0)
    h2->last->finished = true;
  return rc;
}

int lc_h2_reset(struct lc_h2 *h2, int32_t stream_id, uint32_t error_code) {
  struct lc_h2_stream *stream = lc_h2_find(h2, stream_id);
  if (!stream)
    return LC_ENOTFOUND;
  stream->reset = true;
  return lc_h2_error(nghttp2_submit_rst_stream(h2->session, NGHTTP2_FLAG_NONE, stream_id, error_code));
}
