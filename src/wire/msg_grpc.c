#include "grpc/health/v1/health.pb-c.h"
#include "grpc/reflection/v1/reflection.pb-c.h"
#include "wire/msg.h"
#include "wire/pbc.h"

/* The services that gRPC itself defines. Reflection v1alpha has v1's messages under another name. */

typedef Grpc__Reflection__V1__ServerReflectionRequest Request;
typedef Grpc__Reflection__V1__ServerReflectionResponse Response;
typedef Grpc__Reflection__V1__ExtensionRequest Extension;
typedef Grpc__Reflection__V1__ServiceResponse Service;

#define REQUEST_IS(name_) GRPC__REFLECTION__V1__SERVER_REFLECTION_REQUEST__MESSAGE_REQUEST_##name_
#define RESPONSE_IS(name_) GRPC__REFLECTION__V1__SERVER_REFLECTION_RESPONSE__MESSAGE_RESPONSE_##name_

int lc_msg_health_request_decode(struct lc_arena *arena, struct lc_slice bytes, struct lc_msg_health_request *out,
                                 struct lc_err *err) {
  Grpc__Health__V1__HealthCheckRequest *in;
  *out = (struct lc_msg_health_request){0};
  int rc = lc_pbc_unpack(&grpc__health__v1__health_check_request__descriptor, arena, bytes, &in, err);
  if (rc == 0)
    out->service = lc_slice_str(in->service);
  return rc;
}

int lc_msg_health_request_encode(const struct lc_msg_health_request *msg, struct lc_buf *buf) {
  struct lc_pbc_scratch scratch;
  lc_pbc_scratch_init(&scratch);
  Grpc__Health__V1__HealthCheckRequest out = GRPC__HEALTH__V1__HEALTH_CHECK_REQUEST__INIT;
  out.service = lc_pbc_str(&scratch, msg->service);
  return lc_pbc_scratch_pack(&scratch, &out, buf);
}

int lc_msg_health_response_decode(struct lc_arena *arena, struct lc_slice bytes, struct lc_msg_health_response *out,
                                  struct lc_err *err) {
  Grpc__Health__V1__HealthCheckResponse *in;
  *out = (struct lc_msg_health_response){0};
  int rc = lc_pbc_unpack(&grpc__health__v1__health_check_response__descriptor, arena, bytes, &in, err);
  if (rc == 0)
    out->status = (int)in->status;
  return rc;
}

int lc_msg_health_response_encode(const struct lc_msg_health_response *msg, struct lc_buf *buf) {
  Grpc__Health__V1__HealthCheckResponse out = GRPC__HEALTH__V1__HEALTH_CHECK_RESPONSE__INIT;
  out.status = (Grpc__Health__V1__HealthCheckResponse__ServingStatus)msg->status;
  return lc_pbc_pack(&out, buf);
}

static void from_request(const Request *in, struct lc_msg_reflection_request *out) {
  out->host = lc_slice_str(in->host);
  switch (in->message_request_case) {
  case REQUEST_IS(FILE_BY_FILENAME):
    out->kind = LC_MSG_REFLECTION_FILE;
    out->text = lc_slice_str(in->file_by_filename);
    break;
  case REQUEST_IS(FILE_CONTAINING_SYMBOL):
    out->kind = LC_MSG_REFLECTION_SYMBOL;
    out->text = lc_slice_str(in->file_containing_symbol);
    break;
  case REQUEST_IS(FILE_CONTAINING_EXTENSION):
    out->kind = LC_MSG_REFLECTION_EXTENSION;
    out->text = lc_slice_str(in->file_containing_extension->containing_type);
    out->number = in->file_containing_extension->extension_number;
    break;
  case REQUEST_IS(ALL_EXTENSION_NUMBERS_OF_TYPE):
    out->kind = LC_MSG_REFLECTION_EXTENSION_NUMBERS;
    out->text = lc_slice_str(in->all_extension_numbers_of_type);
    break;
  case REQUEST_IS(LIST_SERVICES):
    out->kind = LC_MSG_REFLECTION_LIST;
    out->text = lc_slice_str(in->list_services);
    break;
  default:
    out->kind = LC_MSG_REFLECTION_NONE;
  }
}

static void to_request(struct lc_pbc_scratch *scratch, const struct lc_msg_reflection_request *msg, Request *out,
                       Extension *extension) {
  grpc__reflection__v1__server_reflection_request__init(out);
  grpc__reflection__v1__extension_request__init(extension);
  out->host = lc_pbc_str(scratch, msg->host);
  char *text = lc_pbc_str(scratch, msg->text);
  switch (msg->kind) {
  case LC_MSG_REFLECTION_FILE:
    out->message_request_case = REQUEST_IS(FILE_BY_FILENAME);
    out->file_by_filename = text;
    break;
  case LC_MSG_REFLECTION_SYMBOL:
    out->message_request_case = REQUEST_IS(FILE_CONTAINING_SYMBOL);
    out->file_containing_symbol = text;
    break;
  case LC_MSG_REFLECTION_EXTENSION:
    out->message_request_case = REQUEST_IS(FILE_CONTAINING_EXTENSION);
    out->file_containing_extension = extension;
    extension->containing_type = text;
    extension->extension_number = msg->number;
    break;
  case LC_MSG_REFLECTION_EXTENSION_NUMBERS:
    out->message_request_case = REQUEST_IS(ALL_EXTENSION_NUMBERS_OF_TYPE);
    out->all_extension_numbers_of_type = text;
    break;
  case LC_MSG_REFLECTION_LIST:
    out->message_request_case = REQUEST_IS(LIST_SERVICES);
    out->list_services = text;
    break;
  default:
    break;
  }
}

int lc_msg_reflection_request_decode(struct lc_arena *arena, struct lc_slice bytes,
                                     struct lc_msg_reflection_request *out, struct lc_err *err) {
  Request *in;
  *out = (struct lc_msg_reflection_request){0};
  int rc = lc_pbc_unpack(&grpc__reflection__v1__server_reflection_request__descriptor, arena, bytes, &in, err);
  if (rc == 0)
    from_request(in, out);
  return rc;
}

int lc_msg_reflection_request_encode(const struct lc_msg_reflection_request *msg, struct lc_buf *buf) {
  struct lc_pbc_scratch scratch;
  lc_pbc_scratch_init(&scratch);
  Request out;
  Extension extension;
  to_request(&scratch, msg, &out, &extension);
  return lc_pbc_scratch_pack(&scratch, &out, buf);
}

static int make_slices(struct lc_arena *arena, size_t count, struct lc_slice **slices, struct lc_err *err) {
  *slices = lc_arena_alloc(arena, count * sizeof **slices);
  return *slices ? 0 : lc_err_set(err, LC_ENOMEM, "no memory for a message");
}

static int from_files(struct lc_arena *arena, const Grpc__Reflection__V1__FileDescriptorResponse *in,
                      struct lc_msg_reflection_response *out, struct lc_err *err) {
  int rc = make_slices(arena, in->n_file_descriptor_proto, &out->files, err);
  for (; rc == 0 && out->file_count < in->n_file_descriptor_proto; out->file_count++)
    out->files[out->file_count] = lc_pbc_slice(in->file_descriptor_proto[out->file_count]);
  return rc;
}

static int from_services(struct lc_arena *arena, const Grpc__Reflection__V1__ListServiceResponse *in,
                         struct lc_msg_reflection_response *out, struct lc_err *err) {
  int rc = make_slices(arena, in->n_service, &out->services, err);
  for (; rc == 0 && out->service_count < in->n_service; out->service_count++)
    out->services[out->service_count] = lc_slice_str(in->service[out->service_count]->name);
  return rc;
}

int lc_msg_reflection_response_decode(struct lc_arena *arena, struct lc_slice bytes,
                                      struct lc_msg_reflection_response *out, struct lc_err *err) {
  Response *in;
  *out = (struct lc_msg_reflection_response){0};
  int rc = lc_pbc_unpack(&grpc__reflection__v1__server_reflection_response__descriptor, arena, bytes, &in, err);
  if (rc != 0)
    return rc;
  if (in->original_request)
    from_request(in->original_request, &out->original);
  switch (in->message_response_case) {
  case RESPONSE_IS(FILE_DESCRIPTOR_RESPONSE):
    return from_files(arena, in->file_descriptor_response, out, err);
  case RESPONSE_IS(LIST_SERVICES_RESPONSE):
    return from_services(arena, in->list_services_response, out, err);
  case RESPONSE_IS(ERROR_RESPONSE):
    out->error_code = in->error_response->error_code;
    out->error_message = lc_slice_str(in->error_response->error_message);
    return 0;
  default:
    return 0;
  }
}

static void to_files(struct lc_pbc_scratch *scratch, const struct lc_msg_reflection_response *msg,
                     Grpc__Reflection__V1__FileDescriptorResponse *out) {
  grpc__reflection__v1__file_descriptor_response__init(out);
  ProtobufCBinaryData *files = lc_arena_alloc(&scratch->arena, msg->file_count * sizeof *files);
  if (!files) {
    scratch->failed = true;
    return;
  }
  out->file_descriptor_proto = files;
  for (; out->n_file_descriptor_proto < msg->file_count; out->n_file_descriptor_proto++)
    files[out->n_file_descriptor_proto] = lc_pbc_bytes(msg->files[out->n_file_descriptor_proto]);
}

static void to_services(struct lc_pbc_scratch *scratch, const struct lc_msg_reflection_response *msg,
                        Grpc__Reflection__V1__ListServiceResponse *out) {
  grpc__reflection__v1__list_service_response__init(out);
  Service **services = lc_pbc_array(scratch, msg->service_count, sizeof **services);
  out->service = services;
  for (; services && out->n_service < msg->service_count; out->n_service++) {
    grpc__reflection__v1__service_response__init(services[out->n_service]);
    services[out->n_service]->name = lc_pbc_str(scratch, msg->services[out->n_service]);
  }
}

int lc_msg_reflection_response_encode(const struct lc_msg_reflection_response *msg, struct lc_buf *buf) {
  struct lc_pbc_scratch scratch;
  lc_pbc_scratch_init(&scratch);
  Response out = GRPC__REFLECTION__V1__SERVER_REFLECTION_RESPONSE__INIT;
  Request original;
  Extension extension;
  Grpc__Reflection__V1__FileDescriptorResponse files;
  Grpc__Reflection__V1__ListServiceResponse services;
  Grpc__Reflection__V1__ErrorResponse error = GRPC__REFLECTION__V1__ERROR_RESPONSE__INIT;
  to_request(&scratch, &msg->original, &original, &extension);
  out.valid_host = original.host;
  out.original_request = &original;
  if (msg->error_code != 0) {
    out.message_response_case = RESPONSE_IS(ERROR_RESPONSE);
    out.error_response = &error;
    error.error_code = msg->error_code;
    error.error_message = lc_pbc_str(&scratch, msg->error_message);
  } else if (msg->file_count > 0) {
    out.message_response_case = RESPONSE_IS(FILE_DESCRIPTOR_RESPONSE);
    out.file_descriptor_response = &files;
    to_files(&scratch, msg, &files);
  } else {
    out.message_response_case = RESPONSE_IS(LIST_SERVICES_RESPONSE);
    out.list_services_response = &services;
    to_services(&scratch, msg, &services);
  }
  return lc_pbc_scratch_pack(&scratch, &out, buf);
}
