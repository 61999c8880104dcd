#include "registry/internal.h"

void lc_registry_start(struct lc_registry *registry) {
  registry->ops->start(registry);
}

void lc_registry_enter(struct lc_registry *registry, const char *address, unsigned weight) {
  registry->ops->enter(registry, address, weight);
}

bool lc_registry_entered(const struct lc_registry *registry) {
  return registry->ops->entered(registry);
}

void lc_registry_leave(struct lc_registry *registry, uint64_t timeout_ms, void (*done)(void *arg), void *arg) {
  registry->ops->leave(registry, timeout_ms, done, arg);
}

void lc_registry_refresh(struct lc_registry *registry) {
  registry->ops->refresh(registry);
}

void lc_registry_destroy(struct lc_registry *registry) {
  if (registry != NULL)
    registry->ops->destroy(registry);
}
