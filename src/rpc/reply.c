#include "rpc/reply.h"

#include <string.h>

void lc_rpc_finish_code(struct lc_rpc_call *call, int code, const char *message) {
  lc_rpc_finish(call, (enum lc_grpc_status)lc_grpc_status_of(code), message);
}

void lc_rpc_finish_framed(struct lc_rpc_call *call, int rc) {
  lc_rpc_finish_code(call, rc, rc == LC_OK ? NULL : "out of memory for the reply");
}

int lc_rpc_append(struct lc_rpc_call *call, struct lc_buf *buf) {
  int rc = buf->failed ? LC_ENOMEM : lc_grpc_frame(lc_rpc_out(call), lc_buf_slice(buf));
  lc_buf_fini(buf);
  return rc;
}

void lc_rpc_reply(struct lc_rpc_call *call, struct lc_buf *buf) {
  lc_rpc_finish_framed(call, lc_rpc_append(call, buf));
}

int lc_rpc_keep(struct lc_rpc_call *call, struct lc_slice *bytes) {
  void *copy = lc_arena_alloc(lc_rpc_arena(call), bytes->len);
  if (!copy)
    return LC_ENOMEM;
  if (bytes->len > 0)
    memcpy(copy, bytes->ptr, bytes->len);
  bytes->ptr = copy;
  return LC_OK;
}
