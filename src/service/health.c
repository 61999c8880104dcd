#include "service/health.h"

#include <stdatomic.h>

#include "base/alloc.h"
#include "base/list.h"
#include "service/internal.h"

/* The watchers of one worker: touched on that worker only, but for the task's flag. */
struct watchers {
  struct lc_task task; /* tells them of a change */
  atomic_bool posted;
  struct lc_list list;
  struct lc_health *health;
};

struct lc_health {
  const struct lc_exec *exec;
  atomic_bool serving;
  atomic_bool draining; /* watches end once they have been told */
  struct watchers workers[];
};

struct watch {
  struct lc_list link;
  struct lc_rpc_call *call; /* NULL before the request came */
  int told;                 /* the last status sent */
  bool known;               /* the service asked about is one of ours */
};

static bool known_service(struct lc_slice name) {
  static const char *const names[] = {"", "lcache.v1.Cache", "lcache.v1.Admin", "pb.LCache"};
  for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
    if (lc_slice_eq(name, lc_slice_str(names[i])))
      return true;
  }
  return false;
}

static int status_now(const struct lc_health *health, bool known) {
  if (!known)
    return LC_MSG_SERVICE_UNKNOWN;
  bool serving = atomic_load(&health->serving) && !atomic_load(&health->draining);
  return serving ? LC_MSG_SERVING : LC_MSG_NOT_SERVING;
}

static int append_status(struct lc_rpc_call *call, int status) {
  struct lc_buf buf;
  lc_buf_init(&buf);
  lc_msg_health_response_encode(&(struct lc_msg_health_response){.status = status}, &buf);
  return lc_rpc_append(call, &buf);
}

static void drop_watch(struct watch *watch) {
  if (!watch->call)
    return;
  lc_list_remove(&watch->link);
  watch->call = NULL;
}

static int send_status(struct watch *watch, int status) {
  int rc = append_status(watch->call, status);
  watch->told = status;
  if (rc == LC_OK)
    lc_rpc_send(watch->call);
  return rc;
}

static void tell(struct lc_health *health, struct watch *watch) {
  struct lc_rpc_call *call = watch->call;
  bool draining = atomic_load(&health->draining);
  int status = status_now(health, watch->known);
  int rc = status != watch->told ? send_status(watch, status) : LC_OK;
  if (rc == LC_OK && !draining)
    return;
  drop_watch(watch);
  if (rc != LC_OK)
    lc_rpc_finish_framed(call, rc);
  else
    lc_rpc_finish_code(call, LC_EUNAVAILABLE, "draining: this node is stopping");
}

static void tell_all(struct lc_task *task) {
  struct watchers *watchers = lc_container_of(task, struct watchers, task);
  atomic_store(&watchers->posted, false);
  for (struct lc_list *node = watchers->list.next, *next; node != &watchers->list; node = next) {
    next = node->next;
    tell(watchers->health, lc_container_of(node, struct watch, link));
  }
}

int lc_health_create(const struct lc_exec *exec, struct lc_health **out) {
  struct lc_health *health = lc_calloc(1, sizeof(*health) + exec->workers * sizeof(health->workers[0]));
  if (!health)
    return LC_ENOMEM;
  health->exec = exec;
  atomic_init(&health->serving, true);
  atomic_init(&health->draining, false);
  for (unsigned i = 0; i < exec->workers; i++) {
    struct watchers *watchers = &health->workers[i];
    watchers->task.run = tell_all;
    watchers->health = health;
    atomic_init(&watchers->posted, false);
    lc_list_init(&watchers->list);
  }
  *out = health;
  return LC_OK;
}

void lc_health_destroy(struct lc_health *health) {
  lc_free(health);
}

static void tell_workers(struct lc_health *health) {
  for (unsigned i = 0; i < health->exec->workers; i++) {
    struct watchers *watchers = &health->workers[i];
    if (!atomic_exchange(&watchers->posted, true))
      health->exec->post(health->exec->ctx, i, &watchers->task);
  }
}

void lc_health_set(struct lc_health *health, bool serving) {
  if (atomic_exchange(&health->serving, serving) != serving)
    tell_workers(health);
}

void lc_health_drain(struct lc_health *health) {
  if (!atomic_exchange(&health->draining, true))
    tell_workers(health);
}

static int decode(struct lc_rpc_call *call, struct lc_slice message, struct lc_msg_health_request *request) {
  struct lc_err err;
  int rc = lc_msg_health_request_decode(lc_rpc_arena(call), message, request, &err);
  if (rc != LC_OK)
    lc_rpc_finish_code(call, rc, err.msg);
  return rc;
}

static void check(struct lc_rpc_call *call, void *ctx, struct lc_slice message) {
  struct lc_msg_health_request request;
  if (decode(call, message, &request) != LC_OK)
    return;
  if (!known_service(request.service)) {
    lc_rpc_finish(call, LC_GRPC_NOT_FOUND, "unknown service");
    return;
  }
  int rc = append_status(call, status_now(ctx, true));
  lc_rpc_finish_framed(call, rc);
}

static void watch(struct lc_rpc_call *call, void *ctx, struct lc_slice message) {
  struct lc_health *health = ctx;
  struct watch *state = lc_rpc_state(call);
  struct lc_msg_health_request request;
  if (state->call) {
    drop_watch(state);
    lc_rpc_finish(call, LC_GRPC_INTERNAL, "Watch takes one request");
    return;
  }
  if (decode(call, message, &request) != LC_OK)
    return;
  state->call = call;
  state->known = known_service(request.service);
  state->told = -1;
  lc_list_push_back(&health->workers[lc_worker_index(lc_rpc_worker(call))].list, &state->link);
  tell(health, state);
}

static void end_watch(struct lc_rpc_call *call, void *ctx) {
  (void)ctx;
  drop_watch(lc_rpc_state(call));
}

static void watch_half_close(struct lc_rpc_call *call, void *ctx) {
  (void)ctx;
  if (!((struct watch *)lc_rpc_state(call))->call)
    lc_rpc_finish(call, LC_GRPC_INTERNAL, "the request had no message");
}

const struct lc_rpc_method lc_health_methods[] = {
    {.path = "/grpc.health.v1.Health/Check", .on_message = check},
    {.path = "/grpc.health.v1.Health/Watch",
     .streaming = true,
     .state_size = sizeof(struct watch),
     .on_message = watch,
     .on_half_close = watch_half_close,
     .on_cancel = end_watch},
};
const size_t lc_health_method_count = sizeof(lc_health_methods) / sizeof(lc_health_methods[0]);
