#include "test_registry_process.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>

#include "base/buf.h"
#include "registry/base64.h"

/* ---- etcd ---- */

static uint16_t free_port(void) {
  uint16_t port;
  int fd = listen_socket(1, &port);
  close(fd);
  return port;
}

static void run(const char *dir, const char *command) {
  char line[1024];
  snprintf(line, sizeof line, "cd %s && (%s) >>out.log 2>&1", dir, command);
  assert_int_equal(system(line), 0);
}

void real_init(struct real_etcd *etcd, bool tls) {
  *etcd =
      (struct real_etcd){.tls = tls, .port = free_port(), .peer_port = free_port(), .dir = "/tmp/lcache-etcd-XXXXXX"};
  assert_non_null(mkdtemp(etcd->dir));
  snprintf(etcd->url, sizeof etcd->url, "%s://127.0.0.1:%u", tls ? "https" : "http", etcd->port);
  if (tls) {
    run(etcd->dir, "openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=test -keyout key.pem -out cert.pem "
                   "-addext subjectAltName=IP:127.0.0.1 && cp cert.pem ca.pem");
  }
}

static void exec_etcd(const struct real_etcd *etcd) {
  char peer[64], cluster[80];
  int log = open("out.log", O_WRONLY | O_CREAT | O_APPEND, 0600);
  snprintf(peer, sizeof peer, "http://127.0.0.1:%u", etcd->peer_port);
  snprintf(cluster, sizeof cluster, "n=%s", peer);
  const char *argv[32] = {ETCD_PROGRAM,
                          "--name=n",
                          "--data-dir=data",
                          "--log-outputs=stderr",
                          "--listen-client-urls",
                          etcd->url,
                          "--advertise-client-urls",
                          etcd->url,
                          "--listen-peer-urls",
                          peer,
                          "--initial-advertise-peer-urls",
                          peer,
                          "--initial-cluster",
                          cluster};
  static const char *const tls[] = {"--cert-file=cert.pem", "--key-file=key.pem", "--trusted-ca-file=ca.pem",
                                    "--client-cert-auth"};
  for (int i = 0; etcd->tls && i < 4; i++)
    argv[14 + i] = tls[i];
  dup2(log, 1);
  dup2(log, 2);
  execv(ETCD_PROGRAM, (char *const *)(uintptr_t)argv);
  _exit(127);
}

static bool accepts(uint16_t port) {
  int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  struct sockaddr_in addr = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK), .sin_port = htons(port)};
  bool ok = connect(fd, (struct sockaddr *)&addr, sizeof addr) == 0;
  close(fd);
  return ok;
}

void real_start(struct real_etcd *etcd) {
  etcd->pid = fork();
  assert_true(etcd->pid >= 0);
  if (etcd->pid == 0) {
    if (prctl(PR_SET_PDEATHSIG, SIGKILL) == 0 && chdir(etcd->dir) == 0) /* a test that fails leaves none behind */
      exec_etcd(etcd);
    _exit(127);
  }
  WAIT_FOR(accepts(etcd->port));
}

void real_kill(struct real_etcd *etcd) {
  kill(etcd->pid, SIGKILL);
  waitpid(etcd->pid, NULL, 0);
  etcd->pid = 0;
}

void real_wipe(struct real_etcd *etcd) {
  run(etcd->dir, "rm -rf data");
}

void real_fini(struct real_etcd *etcd) {
  char line[128];
  if (etcd->pid != 0)
    real_kill(etcd);
  snprintf(line, sizeof line, "rm -rf %s", etcd->dir);
  assert_int_equal(system(line), 0);
}

/* ---- requests ---- */

void real_post(struct real_etcd *etcd, const char *path, const char *body, char out[4096]) {
  char request[2048];
  int fd = connect_socket(etcd->port);
  int n = snprintf(request, sizeof request,
                   "POST /v3/%s HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: %zu\r\n\r\n%s", path,
                   strlen(body), body);
  assert_true(send_all(fd, request, (size_t)n));
  out[recv_all(fd, out, 4095)] = '\0';
  close(fd);
}

static void put_key(struct lc_buf *body, const char *address) {
  char key[128];
  snprintf(key, sizeof key, "/services/lcache/%s", address);
  lc_buf_str(body, "{\"key\":\"");
  lc_base64_encode(lc_slice_str(key), body);
  lc_buf_char(body, '"');
}

static void post_key(struct real_etcd *etcd, const char *path, const char *address, const char *lease, char out[4096]) {
  struct lc_buf body;
  lc_buf_init(&body);
  put_key(&body, address);
  if (lease != NULL) {
    lc_buf_str(&body, ",\"value\":\"");
    lc_base64_encode(lc_slice_str(address), &body);
    lc_buf_printf(&body, "\",\"lease\":\"%s\"", lease);
  }
  lc_buf_append(&body, "}", 2);
  real_post(etcd, path, (const char *)body.data, out);
  lc_buf_fini(&body);
}

void real_put(struct real_etcd *etcd, const char *address, const char *lease) {
  char out[4096];
  post_key(etcd, "kv/put", address, lease != NULL ? lease : "0", out);
  assert_non_null(strstr(out, " 200 OK"));
}

void real_delete(struct real_etcd *etcd, const char *address) {
  char out[4096];
  post_key(etcd, "kv/deleterange", address, NULL, out);
  assert_non_null(strstr(out, "\"deleted\":\"1\""));
}

bool real_field(struct real_etcd *etcd, const char *address, const char *name, char out[64]) {
  char reply[4096], mark[64];
  post_key(etcd, "kv/range", address, NULL, reply);
  int len = snprintf(mark, sizeof mark, "\"%s\":\"", name);
  const char *kvs = strstr(reply, "\"kvs\""), *field = kvs != NULL ? strstr(kvs, mark) : NULL;
  if (field == NULL)
    return false;
  snprintf(out, 64, "%.*s", (int)strcspn(field + len, "\""), field + len);
  return true;
}

/* ---- the proxy ---- */

struct way {
  struct proxy *proxy;
  int from, to;
  struct pipe_end *ends;
};

/* Two threads share a connection's two sockets; the last one closes them. */
struct pipe_end {
  atomic_int users;
  int fds[2];
};

struct late {
  struct late *next;
  uint64_t due_ms;
  size_t len;
  char data[];
};

static struct late *take_in(struct way *way) {
  char data[16384];
  ssize_t n = recv(way->from, data, sizeof data, 0);
  if (n <= 0)
    return NULL;
  struct late *late = malloc(sizeof *late + (size_t)n);
  *late = (struct late){.due_ms = lc_clock_ms() + way->proxy->delay_ms / 2, .len = (size_t)n};
  memcpy(late->data, data, (size_t)n);
  return late;
}

static bool send_due(struct way *way, struct late **first) {
  while (*first != NULL && (*first)->due_ms <= lc_clock_ms()) {
    struct late *late = *first;
    *first = late->next;
    bool sent = send_all(way->to, late->data, late->len);
    free(late);
    if (!sent)
      return false;
  }
  return true;
}

static void append(struct late **first, struct late *late) {
  while (*first)
    first = &(*first)->next;
  *first = late;
}

static void *carry(void *arg) {
  struct way *way = arg;
  struct late *first = NULL;
  for (bool open = true; open && !way->proxy->cut;) {
    struct pollfd ready = {.fd = way->from, .events = POLLIN};
    if (poll(&ready, way->proxy->frozen ? 0 : 1, 5) > 0) {
      struct late *late = take_in(way);
      open = late != NULL;
      append(&first, late);
    }
    open = open && (way->proxy->frozen || send_due(way, &first));
  }
  for (struct late *late; (late = first) != NULL; free(late))
    first = late->next;
  shutdown(way->from, SHUT_RDWR);
  shutdown(way->to, SHUT_RDWR);
  if (atomic_fetch_sub(&way->ends->users, 1) == 1) {
    close(way->ends->fds[0]);
    close(way->ends->fds[1]);
    free(way->ends);
  }
  atomic_fetch_sub(&way->proxy->open, 1);
  free(way);
  return NULL;
}

static void start_way(struct proxy *proxy, int from, int to, struct pipe_end *ends) {
  struct way *way = malloc(sizeof *way);
  pthread_t thread;
  *way = (struct way){proxy, from, to, ends};
  atomic_fetch_add(&proxy->open, 1);
  pthread_create(&thread, NULL, carry, way);
  pthread_detach(thread);
}

static void *accept_all(void *arg) {
  struct proxy *proxy = arg;
  for (int fd; (fd = accept(proxy->listener, NULL, NULL)) >= 0;) {
    if (proxy->cut || !accepts(proxy->to)) {
      close(fd);
      continue;
    }
    struct pipe_end *ends = malloc(sizeof *ends);
    *ends = (struct pipe_end){.users = 2, .fds = {fd, connect_socket(proxy->to)}};
    start_way(proxy, ends->fds[0], ends->fds[1], ends);
    start_way(proxy, ends->fds[1], ends->fds[0], ends);
  }
  return NULL;
}

void proxy_start(struct proxy *proxy, uint16_t to) {
  *proxy = (struct proxy){.to = to};
  proxy->listener = listen_socket(64, &proxy->port);
  snprintf(proxy->url, sizeof proxy->url, "http://127.0.0.1:%u", proxy->port);
  pthread_create(&proxy->thread, NULL, accept_all, proxy);
}

void proxy_stop(struct proxy *proxy) {
  proxy->cut = true;
  shutdown(proxy->listener, SHUT_RDWR);
  pthread_join(proxy->thread, NULL);
  close(proxy->listener);
  WAIT_FOR(proxy->open == 0);
}
