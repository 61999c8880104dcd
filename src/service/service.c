#include "service/service.h"

#include "base/alloc.h"
#include "service/internal.h"
#include "wire/grpc.h"

static void retain_item(void *item) {
  lc_item_ref(item);
}

const struct lc_hold_ops lc_item_hold_ops = {.retain = retain_item, .release = lc_item_unref_void};

void lc_reply_code(struct lc_rpc_call *call, int code, const char *message) {
  lc_rpc_finish(call, (enum lc_grpc_status)lc_grpc_status_of(code), message);
}

int lc_append_message(struct lc_rpc_call *call, struct lc_buf *buf) {
  int rc = buf->failed ? LC_ENOMEM : lc_grpc_frame(lc_rpc_out(call), lc_buf_slice(buf));
  lc_buf_fini(buf);
  return rc;
}

void lc_reply_buf(struct lc_rpc_call *call, struct lc_buf *buf) {
  int rc = lc_append_message(call, buf);
  lc_reply_code(call, rc, rc == LC_OK ? NULL : "out of memory for the reply");
}

int lc_keep_slice(struct lc_rpc_call *call, struct lc_slice *bytes) {
  void *copy = lc_arena_alloc(lc_rpc_arena(call), bytes->len);
  if (!copy)
    return LC_ENOMEM;
  if (bytes->len > 0)
    memcpy(copy, bytes->ptr, bytes->len);
  bytes->ptr = copy;
  return LC_OK;
}

static int create_table(struct lc_services *services) {
  const struct lc_rpc_service list[] = {
      {lc_cache_methods, lc_cache_method_count, services},
      {lc_pb_methods, lc_pb_method_count, services},
      {lc_batch_methods, lc_batch_method_count, services},
      {lc_admin_methods, lc_admin_method_count, services},
      {lc_health_methods, lc_health_method_count, services->health},
      {lc_reflection_methods, lc_reflection_method_count, services},
  };
  return lc_rpc_table_create(list, sizeof(list) / sizeof(list[0]), &services->table);
}

int lc_services_create(const struct lc_services_config *config, struct lc_services **out) {
  struct lc_services *services = lc_calloc(1, sizeof(*services));
  if (!services)
    return LC_ENOMEM;
  services->config = *config;
  int rc = lc_health_create(config->exec, &services->health);
  if (rc == LC_OK)
    rc = create_table(services);
  if (rc != LC_OK) {
    lc_services_destroy(services);
    return rc;
  }
  *out = services;
  return LC_OK;
}

void lc_services_destroy(struct lc_services *services) {
  if (!services)
    return;
  lc_rpc_table_destroy(services->table);
  lc_health_destroy(services->health);
  lc_free(services);
}

const struct lc_rpc_table *lc_services_table(const struct lc_services *services) {
  return services->table;
}

void lc_services_set_serving(struct lc_services *services, bool serving) {
  lc_health_set(services->health, serving);
}

void lc_services_drain(struct lc_services *services) {
  lc_health_drain(services->health);
}
