#ifndef LC_REGISTRY_INTERNAL_H
#define LC_REGISTRY_INTERNAL_H

#include "registry/registry.h"

/* What a kind of registry implements; registry.c calls it. `enter` to `destroy` as in registry.h. */
struct lc_registry_ops {
  void (*start)(struct lc_registry *registry);
  void (*enter)(struct lc_registry *registry, const char *address, unsigned weight);
  bool (*entered)(const struct lc_registry *registry);
  void (*leave)(struct lc_registry *registry, uint64_t timeout_ms, void (*done)(void *arg), void *arg);
  void (*refresh)(struct lc_registry *registry);
  void (*destroy)(struct lc_registry *registry);
};

/* The first member of each kind's struct. */
struct lc_registry {
  const struct lc_registry_ops *ops;
  struct lc_worker *worker;
  struct lc_registry_handler handler;
  void *arg;
};

#endif
