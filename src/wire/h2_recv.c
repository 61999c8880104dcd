#include "wire/h2_internal.h"

/* Consumed bytes are told to nghttp2 in portions of this part of a window: it looks up the stream each time. */
#define GIVE_BACK_PART 8u

/* RFC 9113, 6.5.2: what a field counts beyond its name and value. */
#define FIELD_OVERHEAD 32u

static int refuse(struct lc_h2 *h2, int32_t id, uint32_t error_code) {
  int rc = nghttp2_submit_rst_stream(h2->session, NGHTTP2_FLAG_NONE, id, error_code);
  return nghttp2_is_fatal(rc) ? NGHTTP2_ERR_CALLBACK_FAILURE : NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
}

static int on_begin_headers(nghttp2_session *session, const nghttp2_frame *frame, void *arg) {
  struct lc_h2 *h2 = arg;
  int32_t id = frame->hd.stream_id;
  if (frame->headers.cat != NGHTTP2_HCAT_REQUEST) {
    h2->heading = lc_h2_find(h2, id);
    return 0;
  }
  struct lc_h2_stream *stream = lc_h2_stream_add(h2, NULL, id);
  h2->heading = stream;
  if (!stream)
    return refuse(h2, id, NGHTTP2_REFUSED_STREAM);
  stream->object = h2->handler->on_begin(h2->arg, id);
  if (!stream->object) {
    lc_h2_stream_drop(h2, stream);
    return refuse(h2, id, NGHTTP2_REFUSED_STREAM);
  }
  nghttp2_session_set_stream_user_data(session, id, stream);
  return 0;
}

/* Called for every field of every request. The owner's "no" becomes RST_STREAM(INTERNAL_ERROR). */
static int on_header(nghttp2_session *session, const nghttp2_frame *frame, const uint8_t *name, size_t name_len,
                     const uint8_t *value, size_t value_len, uint8_t flags, void *arg) {
  (void)session, (void)frame, (void)flags;
  struct lc_h2 *h2 = arg;
  struct lc_h2_stream *stream = h2->heading;
  if (!stream || stream->reset)
    return 0;
  stream->head_bytes += (uint32_t)(name_len + value_len + FIELD_OVERHEAD);
  if (stream->head_bytes > h2->max_header_list)
    return refuse(h2, stream->id, NGHTTP2_ENHANCE_YOUR_CALM);
  stream->pseudo |= name[0] == ':'; /* nghttp2 ends names with a NUL */
  if (!h2->handler->on_header)
    return 0;
  int rc = h2->handler->on_header(h2->arg, stream->object, lc_slice_of(name, name_len), lc_slice_of(value, value_len));
  return rc < 0 ? NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE : 0;
}

static int on_data_chunk(nghttp2_session *session, uint8_t flags, int32_t id, const uint8_t *data, size_t len,
                         void *arg) {
  (void)flags;
  struct lc_h2 *h2 = arg;
  struct lc_h2_stream *stream = lc_h2_find(h2, id);
  h2->conn_owed += len;
  if (!stream)
    return 0;
  stream->owed += len;
  if (stream->owed >= h2->stream_window / GIVE_BACK_PART) {
    size_t owed = stream->owed;
    stream->owed = 0;
    if (nghttp2_is_fatal(nghttp2_session_consume_stream(session, id, owed)))
      return NGHTTP2_ERR_CALLBACK_FAILURE;
  }
  if (h2->handler->on_data && !stream->reset)
    h2->handler->on_data(h2->arg, stream->object, lc_slice_of(data, len));
  return 0;
}

static void ended(struct lc_h2 *h2, struct lc_h2_stream *stream) {
  stream->remote_ended = true;
  if (h2->handler->on_end && !stream->reset)
    h2->handler->on_end(h2->arg, stream->object);
}

static void on_headers_frame(struct lc_h2 *h2, const nghttp2_frame *frame) {
  struct lc_h2_stream *stream = lc_h2_find(h2, frame->hd.stream_id);
  if (!stream || stream->reset)
    return;
  bool trailers = !stream->pseudo;
  stream->pseudo = false;
  stream->head_bytes = 0;
  if (h2->handler->on_head)
    h2->handler->on_head(h2->arg, stream->object, trailers);
  if (frame->hd.flags & NGHTTP2_FLAG_END_STREAM)
    ended(h2, stream);
}

static void on_data_frame(struct lc_h2 *h2, const nghttp2_frame *frame) {
  if (!(frame->hd.flags & NGHTTP2_FLAG_END_STREAM))
    return;
  struct lc_h2_stream *stream = lc_h2_find(h2, frame->hd.stream_id);
  if (stream)
    ended(h2, stream);
}

static int on_frame_recv(nghttp2_session *session, const nghttp2_frame *frame, void *arg) {
  (void)session;
  struct lc_h2 *h2 = arg;
  switch (frame->hd.type) {
  case NGHTTP2_HEADERS:
    on_headers_frame(h2, frame);
    return 0;
  case NGHTTP2_DATA:
    on_data_frame(h2, frame);
    return 0;
  case NGHTTP2_GOAWAY:
    if (h2->handler->on_goaway)
      h2->handler->on_goaway(h2->arg, frame->goaway.last_stream_id, frame->goaway.error_code);
    return 0;
  case NGHTTP2_PING:
    if ((frame->hd.flags & NGHTTP2_FLAG_ACK) && h2->handler->on_ping_ack)
      h2->handler->on_ping_ack(h2->arg, frame->ping.opaque_data);
    return 0;
  default:
    return 0;
  }
}

static int on_stream_close(nghttp2_session *session, int32_t id, uint32_t error_code, void *arg) {
  (void)session;
  struct lc_h2 *h2 = arg;
  struct lc_h2_stream *stream = lc_h2_find(h2, id);
  if (!stream)
    return 0;
  lc_h2_stream_close(h2, stream, error_code);
  return 0;
}

void lc_h2_recv_callbacks(nghttp2_session_callbacks *callbacks) {
  nghttp2_session_callbacks_set_on_begin_headers_callback(callbacks, on_begin_headers);
  nghttp2_session_callbacks_set_on_header_callback(callbacks, on_header);
  nghttp2_session_callbacks_set_on_data_chunk_recv_callback(callbacks, on_data_chunk);
  nghttp2_session_callbacks_set_on_frame_recv_callback(callbacks, on_frame_recv);
  nghttp2_session_callbacks_set_on_stream_close_callback(callbacks, on_stream_close);
}

int lc_h2_give_back(struct lc_h2 *h2) {
  if (h2->conn_owed < h2->conn_window / GIVE_BACK_PART)
    return 0;
  size_t owed = h2->conn_owed;
  h2->conn_owed = 0;
  return lc_h2_error(nghttp2_session_consume_connection(h2->session, owed));
}
