#include "service/internal.h"
#include "wire/grpc.h"
#include "wire/schema.h"

/* Server reflection, so that grpcurl and its like work without .proto files. v1 and v1alpha have the same messages. */

static struct lc_slice SERVICES[] = {
#define NAME(text_)                                                                                                    \
  { (const uint8_t *)(text_), sizeof(text_) - 1 }
    NAME("lcache.v1.Cache"),
    NAME("lcache.v1.Admin"),
    NAME("pb.LCache"),
    NAME("grpc.health.v1.Health"),
    NAME("grpc.reflection.v1.ServerReflection"),
    NAME("grpc.reflection.v1alpha.ServerReflection"),
};

static void answer(const struct lc_msg_reflection_request *request, struct lc_msg_reflection_response *response,
                   struct lc_slice files[LC_SCHEMA_FILES_MAX]) {
  int found;
  *response = (struct lc_msg_reflection_response){.original = *request};
  switch (request->kind) {
  case LC_MSG_REFLECTION_LIST:
    response->services = SERVICES;
    response->service_count = sizeof(SERVICES) / sizeof(SERVICES[0]);
    return;
  case LC_MSG_REFLECTION_FILE:
    found = lc_schema_by_file(request->text, files);
    break;
  case LC_MSG_REFLECTION_SYMBOL:
    found = lc_schema_by_symbol(request->text, files);
    break;
  default:
    found = LC_ENOTFOUND; /* no message here has extensions */
    break;
  }
  if (found > 0) {
    response->files = files;
    response->file_count = (size_t)found;
  } else {
    response->error_code = LC_GRPC_NOT_FOUND;
    response->error_message = lc_slice_str("not found");
  }
}

static void on_request(struct lc_rpc_call *call, void *ctx, struct lc_slice message) {
  (void)ctx;
  struct lc_msg_reflection_request request;
  struct lc_msg_reflection_response response;
  struct lc_slice files[LC_SCHEMA_FILES_MAX];
  struct lc_err err;
  int rc = lc_msg_reflection_request_decode(lc_rpc_arena(call), message, &request, &err);
  if (rc != LC_OK) {
    lc_rpc_finish_code(call, rc, err.msg);
    return;
  }
  answer(&request, &response, files);
  struct lc_buf buf;
  lc_buf_init(&buf);
  lc_msg_reflection_response_encode(&response, &buf);
  rc = lc_rpc_append(call, &buf);
  if (rc != LC_OK)
    lc_rpc_finish_framed(call, rc);
  else
    lc_rpc_send(call);
}

static void on_half_close(struct lc_rpc_call *call, void *ctx) {
  (void)ctx;
  lc_rpc_finish(call, LC_GRPC_OK, NULL);
}

#define INFO(path_)                                                                                                    \
  { .path = (path_), .streaming = true, .on_message = on_request, .on_half_close = on_half_close }

const struct lc_rpc_method lc_reflection_methods[] = {
    INFO("/grpc.reflection.v1.ServerReflection/ServerReflectionInfo"),
    INFO("/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo"),
};
const size_t lc_reflection_method_count = sizeof(lc_reflection_methods) / sizeof(lc_reflection_methods[0]);
