/* A cluster's life: made, opened on each worker, its control thread started and stopped, freed. */
#include <errno.h>
#include <semaphore.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>

#include "base/alloc.h"
#include "cluster/control.h"

#define CONTROL_BUFFER_BYTES ((size_t)64 << 20)
#define REGISTRY_REPLY_MAX ((size_t)64 << 20)

/* ---- create and destroy ---- */

static int draw_process_id(uint64_t *process) {
  do {
    if (getrandom(process, sizeof *process, 0) != (ssize_t)sizeof *process)
      return LC_EIO;
  } while (*process == 0);
  return LC_OK;
}

static int make_parts(struct lc_cluster *cluster) {
  int rc = lc_join_create(cluster);
  if (rc == LC_OK)
    rc = lc_fence_create(cluster);
  if (rc == LC_OK)
    rc = lc_write_log_create(&cluster->log);
  if (rc == LC_OK)
    rc = lc_touched_create(&cluster->touched);
  if (rc != LC_OK)
    return rc;
  pthread_mutex_lock(&cluster->lock);
  rc = lc_view_publish(cluster); /* this node alone */
  pthread_mutex_unlock(&cluster->lock);
  return rc;
}

static int make_workers(struct lc_cluster *cluster) {
  cluster->worker = lc_calloc(cluster->workers + 1, sizeof *cluster->worker);
  if (!cluster->worker)
    return LC_ENOMEM;
  for (unsigned i = 0; i <= cluster->workers; i++) {
    struct lc_cluster_worker *worker = &cluster->worker[i];
    worker->cluster = cluster;
    worker->index = i;
    lc_list_init(&worker->corked_gets);
    lc_list_init(&worker->parked);
  }
  return LC_OK;
}

/* Not running yet, but there: whoever answers a Hello may post to it. */
static int make_control(struct lc_cluster *cluster) {
  const struct lc_worker_config config = {.index = cluster->workers, .buffer_limit_bytes = CONTROL_BUFFER_BYTES};
  int rc = lc_worker_create(&config, &cluster->control, NULL);
  cluster->worker[cluster->workers].worker = cluster->control;
  return rc;
}

static int make_all(struct lc_cluster *cluster) {
  int rc = draw_process_id(&cluster->process);
  lc_control_init(cluster);
  if (rc == LC_OK)
    rc = make_workers(cluster);
  if (rc == LC_OK)
    rc = make_control(cluster);
  return rc == LC_OK ? make_parts(cluster) : rc;
}

int lc_cluster_create(const struct lc_cluster_config *config, struct lc_cluster **out, struct lc_err *err) {
  struct lc_cluster *cluster = lc_calloc(1, sizeof *cluster);
  if (!cluster)
    return lc_err_set(err, LC_ENOMEM, "out of memory");
  pthread_mutex_init(&cluster->lock, NULL);
  pthread_mutex_init(&cluster->view_lock, NULL);
  cluster->workers = config->exec->workers;
  atomic_init(&cluster->arriving, true);
  cluster->exec = config->exec;
  lc_format_address(&config->advertise, cluster->self, sizeof cluster->self);
  lc_cluster_fill_peers(cluster);
  cluster->service = (struct lc_rpc_service){lc_peer_methods, lc_peer_method_count, cluster};
  cluster->leave_task.run = lc_members_leave;
  cluster->publish_task.run = lc_members_publish;
  int rc = lc_cluster_config_copy(config, &cluster->config);
  if (rc == LC_OK)
    rc = make_all(cluster);
  if (rc != LC_OK) {
    lc_cluster_destroy(cluster);
    return lc_err_set(err, rc, "can't make the cluster's parts: %s", lc_code_name(rc));
  }
  *out = cluster;
  return LC_OK;
}

void lc_cluster_destroy(struct lc_cluster *cluster) {
  if (!cluster)
    return;
  for (unsigned i = 0; cluster->worker && i <= cluster->workers; i++)
    lc_view_unref(cluster->worker[i].view);
  lc_view_unref(cluster->view);
  for (size_t i = 0; i < cluster->known_count; i++)
    lc_peer_unref(cluster->known[i]);
  lc_free(cluster->known);
  lc_write_log_destroy(cluster->log);
  lc_touched_destroy(cluster->touched);
  lc_fence_destroy(cluster->fence);
  lc_join_destroy(cluster);
  lc_worker_destroy(cluster->control);
  lc_free(cluster->worker);
  lc_cluster_config_free(&cluster->config);
  pthread_mutex_destroy(&cluster->view_lock);
  pthread_mutex_destroy(&cluster->lock);
  lc_free(cluster);
}

const struct lc_peers *lc_cluster_peers(const struct lc_cluster *cluster) {
  return &cluster->peers;
}

const struct lc_rpc_service *lc_cluster_service(const struct lc_cluster *cluster) {
  return &cluster->service;
}

void lc_cluster_bind(struct lc_cluster *cluster, struct lc_groups *groups) {
  cluster->groups = groups;
}

/* ---- on each worker ---- */

int lc_cluster_worker_open(struct lc_cluster *cluster, unsigned index, struct lc_worker *worker) {
  cluster->worker[index].worker = worker;
  int rc = lc_links_open(cluster, index);
  if (rc == LC_OK)
    lc_fence_open(cluster, index);
  return rc;
}

void lc_cluster_worker_close(struct lc_cluster *cluster, unsigned index) {
  struct lc_cluster_worker *worker = &cluster->worker[index];
  lc_fence_close(cluster, index);
  lc_links_close(cluster, index);
  lc_view_unref(worker->view);
  worker->view = NULL;
}

/* ---- the control thread ---- */

struct starting {
  struct lc_err err;
  sem_t done;
};

static int make_fixed(struct lc_cluster *cluster) {
  size_t count = cluster->config.peer_count;
  struct lc_registry_member *members = lc_calloc(count + 1, sizeof *members);
  char(*names)[LC_NODE_ADDRESS_SIZE] = lc_calloc(count + 1, sizeof *names);
  int rc = members && names ? LC_OK : LC_ENOMEM;
  for (size_t i = 0; rc == LC_OK && i < count; i++) {
    lc_format_address(&cluster->config.peers[i], names[i], sizeof names[i]);
    members[i] = (struct lc_registry_member){names[i], 1};
  }
  if (rc == LC_OK)
    rc = lc_registry_fixed_create(cluster->control, members, count, &lc_members_handler, cluster, &cluster->registry);
  lc_free(members);
  lc_free(names);
  return rc;
}

static int make_etcd(struct lc_cluster *cluster, struct lc_err *err) {
  const struct lc_cluster_config *from = &cluster->config;
  const struct lc_etcd_config config = {
      .worker = cluster->control,
      .fetcher = cluster->fetcher,
      .endpoints = from->etcd,
      .endpoint_count = from->etcd_count,
      .service = from->service,
      .lease_ms = from->lease_ms,
      .user = from->etcd_user,
      .password = from->etcd_password,
      .tls = from->etcd_tls,
      .log = from->log,
  };
  return lc_registry_etcd_create(&config, &lc_members_handler, cluster, &cluster->registry, err);
}

static int make_registry(struct lc_cluster *cluster, struct lc_err *err) {
  const struct lc_fetcher_config config = {.worker = cluster->control, .max_response_bytes = REGISTRY_REPLY_MAX};
  if (cluster->config.etcd_count == 0) {
    int rc = make_fixed(cluster);
    return rc == LC_OK ? LC_OK : lc_err_set(err, rc, "out of memory for the list of peers");
  }
  int rc = lc_fetcher_create(&config, &cluster->fetcher, err);
  return rc == LC_OK ? make_etcd(cluster, err) : rc;
}

static void close_registry(struct lc_cluster *cluster) {
  lc_registry_destroy(cluster->registry);
  cluster->registry = NULL;
  if (cluster->fetcher)
    lc_fetcher_destroy(cluster->fetcher, NULL, NULL);
  cluster->fetcher = NULL;
}

static void on_control_stop(void *arg) {
  struct lc_cluster *cluster = arg;
  close_registry(cluster);
  lc_leave_cancel(cluster);
  lc_handover_cancel(cluster);
  lc_control_stop(cluster);
  lc_cluster_worker_close(cluster, cluster->workers);
  lc_outq_fini(&cluster->request);
}

static int on_control_start(void *arg) {
  struct lc_cluster *cluster = arg;
  struct starting *starting = cluster->starting;
  lc_outq_init(&cluster->request, lc_worker_pool(cluster->control));
  cluster->started_ms = lc_clock_ms();
  int rc = lc_cluster_worker_open(cluster, cluster->workers, cluster->control);
  if (rc != LC_OK) {
    lc_err_set(&starting->err, rc, "out of memory for the control thread");
  } else {
    rc = make_registry(cluster, &starting->err);
    if (rc != LC_OK) {
      close_registry(cluster);
      lc_cluster_worker_close(cluster, cluster->workers);
    }
  }
  if (rc == LC_OK) {
    lc_control_start(cluster);
    lc_registry_start(cluster->registry);
  }
  cluster->starting = NULL;
  sem_post(&starting->done);
  return rc;
}

static int wait_for_start(struct lc_cluster *cluster, struct starting *starting) {
  int rc = lc_worker_run(cluster->control, on_control_start, on_control_stop, cluster);
  if (rc != LC_OK)
    return lc_err_set(&starting->err, rc, "can't start the control thread: %s", lc_code_name(rc));
  while (sem_wait(&starting->done) != 0 && errno == EINTR)
    ;
  return starting->err.code;
}

int lc_cluster_start(struct lc_cluster *cluster, void (*on_ready)(void *arg), void *arg, struct lc_err *err) {
  struct starting starting = {0};
  cluster->on_ready = on_ready;
  cluster->on_ready_arg = arg;
  cluster->starting = &starting;
  sem_init(&starting.done, 0, 0);
  int rc = wait_for_start(cluster, &starting);
  if (rc != LC_OK && err)
    *err = starting.err;
  sem_destroy(&starting.done);
  return rc;
}

void lc_cluster_leave(struct lc_cluster *cluster, uint64_t timeout_ms, void (*done)(void *arg), void *arg) {
  if (!atomic_load(&cluster->running)) {
    done(arg);
    return;
  }
  cluster->leave_deadline_ms = lc_clock_ms() + timeout_ms;
  cluster->on_left = done;
  cluster->on_left_arg = arg;
  lc_worker_post(cluster->control, &cluster->leave_task);
}

void lc_cluster_stop(struct lc_cluster *cluster) {
  lc_worker_stop(cluster->control);
  lc_worker_join(cluster->control);
}
