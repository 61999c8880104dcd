#include "service/service.h"

#include "base/alloc.h"
#include "service/internal.h"
#include "wire/grpc.h"

static int create_table(struct lc_services *services) {
  const struct lc_rpc_service own[] = {
      {lc_cache_methods, lc_cache_method_count, services},
      {lc_pb_methods, lc_pb_method_count, services},
      {lc_batch_methods, lc_batch_method_count, services},
      {lc_admin_methods, lc_admin_method_count, services},
      {lc_health_methods, lc_health_method_count, services->health},
      {lc_reflection_methods, lc_reflection_method_count, services},
  };
  const size_t own_count = sizeof(own) / sizeof(own[0]);
  const struct lc_services_config *config = &services->config;
  struct lc_rpc_service *list = lc_calloc(own_count + config->extra_count, sizeof(list[0]));
  if (!list)
    return LC_ENOMEM;
  memcpy(list, own, sizeof(own));
  for (size_t i = 0; i < config->extra_count; i++)
    list[own_count + i] = config->extra[i];
  int rc = lc_rpc_table_create(list, own_count + config->extra_count, &services->table);
  lc_free(list);
  return rc;
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
