/*
 * The data connections: one a peer and data worker, made when it is first needed, multiplexing that worker's forwarded
 * Gets and writes. A connection that breaks is tried again at the next call, then with backoff; a peer that is DOWN has
 * none. Liveness is the client's: pings while calls are in progress. Links are freed in tasks of their own and at the
 * worker's close, never inside a call's end.
 */
#include <assert.h>
#include <string.h>

#include "base/alloc.h"
#include "cluster/data.h"

#define BACKOFF_MIN_MS 50u
#define BACKOFF_MAX_MS 1000u

struct lc_mempool *lc_link_pool(const struct lc_link *link) {
  return lc_worker_pool(link->worker->worker);
}

static uint64_t backoff_ms(struct lc_link *link) {
  unsigned shift = link->failures < 6 ? link->failures : 6;
  uint64_t ms = (uint64_t)BACKOFF_MIN_MS << shift;
  if (ms > BACKOFF_MAX_MS)
    ms = BACKOFF_MAX_MS;
  /* Spread by what differs between the links, so that they don't knock together. */
  uint64_t salt = (uint64_t)(uintptr_t)link / 64 + link->failures;
  return ms / 2 + (salt * 2654435761u >> 7) % (ms / 2 + 1);
}

/*
 * Gives the connection up, and ends the calls on it. A `lost` may start calls, on another link or none, and cancel
 * others that are still to be told: their client is gone by then.
 */
static void drop(struct lc_link *link, const char *why) {
  struct lc_rpc_client *client = link->client;
  struct lc_list lost;
  link->client = NULL;
  lc_rpc_client_destroy(client);
  lc_list_init(&lost);
  lc_list_splice_back(&lost, &link->calls);
  for (struct lc_list *node = lost.next; node != &lost; node = node->next)
    lc_container_of(node, struct lc_call, link)->rpc = NULL;
  for (struct lc_list *node; (node = lc_list_pop_front(&lost)) != NULL;) {
    struct lc_call *call = lc_container_of(node, struct lc_call, link);
    call->lost(call, why);
  }
}

static void on_up(void *arg) {
  struct lc_link *link = arg;
  link->failures = 0;
}

/* The client has told all its calls. */
static void on_down(void *arg, const struct lc_err *err) {
  (void)err;
  struct lc_link *link = arg;
  assert(lc_list_empty(&link->calls));
  if (link->failures++ > 0)
    link->retry_at_ms = lc_worker_now_ms(link->worker->worker) + backoff_ms(link);
  lc_rpc_client_destroy(link->client);
  link->client = NULL;
  lc_control_look(link->worker->cluster, link->peer);
}

static int connect_link(struct lc_link *link) {
  struct lc_worker *worker = link->worker->worker;
  if (lc_worker_now_ms(worker) < link->retry_at_ms)
    return LC_EUNAVAILABLE;
  struct lc_rpc_client_config config;
  lc_rpc_client_config_init(&config);
  config.worker = worker;
  config.address = link->peer->address;
  config.connect_timeout_ms = LC_SILENCE_MS;
  config.max_message = link->worker->cluster->config.max_message + LC_PEER_MESSAGE_EXTRA;
  config.ping_ms = LC_PING_MS;
  config.silence_ms = LC_SILENCE_MS;
  config.on_up = on_up;
  config.on_down = on_down;
  config.arg = link;
  struct lc_err err;
  return lc_rpc_client_create(&config, &link->client, &err);
}

static int grow(struct lc_cluster_worker *worker, unsigned slot) {
  size_t count = worker->link_count ? worker->link_count : 16;
  while (count <= slot)
    count *= 2;
  struct lc_link **links = lc_calloc(count, sizeof(struct lc_link *));
  if (!links)
    return LC_ENOMEM;
  if (worker->link_count)
    memcpy(links, worker->links, worker->link_count * sizeof(struct lc_link *));
  lc_free(worker->links);
  worker->links = links;
  worker->link_count = count;
  return LC_OK;
}

static void destroy(struct lc_cluster_worker *worker, unsigned slot, const char *why) {
  struct lc_link *link = worker->links[slot];
  if (!link)
    return;
  worker->links[slot] = NULL;
  drop(link, why);
  lc_peer_unref(link->peer);
  lc_free(link);
}

static struct lc_link *create(struct lc_cluster_worker *worker, struct lc_peer *peer) {
  if (peer->slot >= worker->link_count && grow(worker, peer->slot) != LC_OK)
    return NULL;
  struct lc_link *link = lc_calloc(1, sizeof *link);
  if (!link)
    return NULL;
  link->worker = worker;
  link->peer = lc_peer_ref(peer); /* so the slot isn't given to another as long as the link is there */
  lc_list_init(&link->calls);
  worker->links[peer->slot] = link;
  return link;
}

struct lc_link *lc_link_to(struct lc_cluster *cluster, unsigned index, struct lc_peer *peer) {
  if (lc_peer_state(peer) != LC_PEER_UP)
    return NULL;
  struct lc_cluster_worker *worker = &cluster->worker[index];
  struct lc_link *link = peer->slot < worker->link_count ? worker->links[peer->slot] : NULL;
  if (!link)
    link = create(worker, peer);
  if (!link || (!link->client && connect_link(link) != LC_OK))
    return NULL;
  return link;
}

int lc_link_call(struct lc_call *call, const char *path, struct lc_outq *request, uint64_t deadline_ms,
                 lc_rpc_client_done done) {
  struct lc_link *link = call->on;
  if (!link->client)
    return LC_EUNAVAILABLE;
  uint64_t now_ms = lc_worker_now_ms(link->worker->worker);
  uint64_t timeout_ms = deadline_ms > now_ms ? deadline_ms - now_ms : 1;
  int rc = lc_rpc_client_call(link->client, path, request, timeout_ms, done, call, &call->rpc);
  if (rc == LC_OK)
    lc_list_push_back(&link->calls, &call->link);
  return rc;
}

void lc_link_ended(struct lc_call *call) {
  call->rpc = NULL;
  lc_list_remove(&call->link);
}

void lc_link_cancel(struct lc_call *call) {
  if (call->rpc)
    lc_rpc_client_cancel(call->rpc);
  lc_link_ended(call);
}

enum lc_peer_outcome lc_link_trouble(const struct lc_rpc_result *result, int *code) {
  switch (result->transport ? LC_GRPC_UNAVAILABLE : result->status) {
  case LC_GRPC_DEADLINE_EXCEEDED: /* of the load, or of the write: there is no time left for anything else */
    *code = LC_EDEADLINE;
    return LC_PEER_FAILED;
  case LC_GRPC_RESOURCE_EXHAUSTED: /* it has too much to do: asking the source ourselves would make it worse */
    *code = LC_EEXHAUSTED;
    return LC_PEER_FAILED;
  default:
    return LC_PEER_UNREACHED;
  }
}

/* ---- the worker's life ---- */

static void on_check(struct lc_task *task) {
  struct lc_cluster_worker *worker = lc_container_of(task, struct lc_cluster_worker, check);
  atomic_store(&worker->check_posted, false);
  lc_links_check(worker->cluster, worker->index);
}

int lc_links_open(struct lc_cluster *cluster, unsigned index) {
  struct lc_cluster_worker *worker = &cluster->worker[index];
  worker->check.run = on_check;
  lc_calls_open(worker);
  return LC_OK;
}

/* Who comes back begins anew, without backoff. A peer that is forgotten was DOWN before. */
void lc_links_check(struct lc_cluster *cluster, unsigned index) {
  struct lc_cluster_worker *worker = &cluster->worker[index];
  for (unsigned slot = 0; slot < worker->link_count; slot++) {
    const struct lc_link *link = worker->links[slot];
    if (link && lc_peer_state(link->peer) == LC_PEER_DOWN)
      destroy(worker, slot, "the node is down");
  }
}

void lc_links_check_all(struct lc_cluster *cluster) {
  for (unsigned i = 0; i < cluster->workers; i++) {
    struct lc_cluster_worker *worker = &cluster->worker[i];
    if (worker->worker && !atomic_exchange(&worker->check_posted, true))
      lc_worker_post(worker->worker, &worker->check);
  }
}

void lc_links_close(struct lc_cluster *cluster, unsigned index) {
  struct lc_cluster_worker *worker = &cluster->worker[index];
  for (unsigned slot = 0; slot < worker->link_count; slot++)
    destroy(worker, slot, NULL);
  lc_calls_close(worker);
  lc_free(worker->links);
  worker->links = NULL;
  worker->link_count = 0;
}
