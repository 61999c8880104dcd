#include "test_registry_fake.h"

#include <cjson/cJSON.h>
#include <inttypes.h>

#include "registry/base64.h"

#define PREFIX "/services/lcache/"

static const char *const paths[8] = {"range", "grant", "put", "keepalive", "revoke", "watch", "authenticate", "other"};

struct peer {
  struct fake_etcd *fake;
  int fd;
};

static unsigned index_of(const char *path) {
  unsigned i = 0;
  while (i < 7 && strcmp(paths[i], path) != 0)
    i++;
  return i;
}

/* ---- its state, under the lock ---- */

static void note(struct fake_etcd *fake, const struct fake_key *key, bool is_delete) {
  assert_true(fake->event_count < FAKE_EVENTS);
  fake->events[fake->event_count++] = (struct fake_event){*key, is_delete};
  pthread_cond_broadcast(&fake->changed);
}

static struct fake_key *find_key(struct fake_etcd *fake, const char *key) {
  for (unsigned i = 0; i < FAKE_KEYS; i++) {
    if (strcmp(fake->keys[i].key, key) == 0)
      return &fake->keys[i];
  }
  return NULL;
}

static void set_key(struct fake_etcd *fake, const char *key, const char *value, int64_t lease) {
  struct fake_key *place = find_key(fake, key);
  if (place == NULL)
    place = find_key(fake, "");
  assert_non_null(place);
  *place = (struct fake_key){.lease = lease, .revision = ++fake->revision};
  snprintf(place->key, sizeof place->key, "%s", key);
  snprintf(place->value, sizeof place->value, "%s", value);
  note(fake, place, false);
}

static void drop_key(struct fake_etcd *fake, struct fake_key *key) {
  key->revision = ++fake->revision;
  note(fake, key, true);
  memset(key, 0, sizeof *key);
}

static int64_t *find_lease(struct fake_etcd *fake, int64_t lease) {
  for (unsigned i = 0; i < FAKE_KEYS; i++) {
    if (fake->leases[i] == lease)
      return &fake->leases[i];
  }
  return NULL;
}

static void end_lease(struct fake_etcd *fake, int64_t lease) {
  int64_t *place = find_lease(fake, lease);
  if (place != NULL)
    *place = 0;
  for (unsigned i = 0; i < FAKE_KEYS; i++) {
    if (fake->keys[i].key[0] != '\0' && fake->keys[i].lease == lease)
      drop_key(fake, &fake->keys[i]);
  }
}

/* ---- JSON ---- */

static void put_base64(struct lc_buf *out, const char *text) {
  lc_buf_char(out, '"');
  lc_base64_encode(lc_slice_str(text), out);
  lc_buf_char(out, '"');
}

static void put_header(struct fake_etcd *fake, struct lc_buf *out) {
  lc_buf_printf(out, "{\"header\":{\"cluster_id\":\"1\",\"revision\":\"%" PRId64 "\"}", fake->revision);
}

/* Zero fields are absent, as etcd has it. */
static void put_kv(struct lc_buf *out, const struct fake_key *key, bool is_delete) {
  lc_buf_str(out, "{\"key\":");
  put_base64(out, key->key);
  lc_buf_printf(out, ",\"mod_revision\":\"%" PRId64 "\"", key->revision);
  if (!is_delete && key->value[0] != '\0') {
    lc_buf_str(out, ",\"value\":");
    put_base64(out, key->value);
  }
  if (!is_delete && key->lease != 0)
    lc_buf_printf(out, ",\"lease\":\"%" PRId64 "\"", key->lease);
  lc_buf_char(out, '}');
}

static int64_t number_of(const cJSON *body, const char *name) {
  const cJSON *item = cJSON_GetObjectItemCaseSensitive(body, name);
  return cJSON_IsString(item) ? strtoll(item->valuestring, NULL, 10) : 0;
}

static void text_of(const cJSON *body, const char *name, char out[128]) {
  const cJSON *item = cJSON_GetObjectItemCaseSensitive(body, name);
  struct lc_buf bytes;
  lc_buf_init(&bytes);
  if (cJSON_IsString(item))
    assert_int_equal(lc_base64_decode(lc_slice_str(item->valuestring), &bytes), 0);
  snprintf(out, 128, "%.*s", (int)bytes.len, (const char *)bytes.data);
  lc_buf_fini(&bytes);
}

/* ---- what the paths do, under the lock; the status ---- */

static int do_range(struct fake_etcd *fake, struct lc_buf *out) {
  unsigned count = 0;
  put_header(fake, out);
  for (unsigned i = 0; i < FAKE_KEYS; i++) {
    if (fake->keys[i].key[0] == '\0')
      continue;
    lc_buf_str(out, count++ == 0 ? ",\"kvs\":[" : ",");
    put_kv(out, &fake->keys[i], false);
  }
  lc_buf_printf(out, "%s}", count > 0 ? "]" : "");
  return 200;
}

static int do_grant(struct fake_etcd *fake, const cJSON *body, struct lc_buf *out) {
  *find_lease(fake, 0) = ++fake->next_lease;
  put_header(fake, out);
  lc_buf_printf(out, ",\"ID\":\"%" PRId64 "\",\"TTL\":\"%" PRId64 "\"}", fake->next_lease, number_of(body, "TTL"));
  return 200;
}

static int do_put(struct fake_etcd *fake, const cJSON *body, struct lc_buf *out) {
  char key[128], value[128];
  int64_t lease = number_of(body, "lease");
  if (find_lease(fake, lease) == NULL) {
    lc_buf_str(out, "{\"error\":\"etcdserver: requested lease not found\",\"code\":5}Grpc-Trailer-Content-Type: x");
    return 404;
  }
  text_of(body, "key", key);
  text_of(body, "value", value);
  set_key(fake, key, value, lease);
  put_header(fake, out);
  lc_buf_char(out, '}');
  return 200;
}

static int do_keepalive(struct fake_etcd *fake, const cJSON *body, struct lc_buf *out) {
  int64_t lease = number_of(body, "ID");
  lc_buf_str(out, "{\"result\":");
  put_header(fake, out);
  lc_buf_printf(out, ",\"ID\":\"%" PRId64 "\"%s}}\n", lease, find_lease(fake, lease) != NULL ? ",\"TTL\":\"2\"" : "");
  return 200;
}

static int do_revoke(struct fake_etcd *fake, const cJSON *body, struct lc_buf *out) {
  end_lease(fake, number_of(body, "ID"));
  put_header(fake, out);
  lc_buf_char(out, '}');
  return 200;
}

static int do_authenticate(struct fake_etcd *fake, const cJSON *body, struct lc_buf *out) {
  const cJSON *password = cJSON_GetObjectItemCaseSensitive(body, "password");
  if (fake->token[0] == '\0') {
    lc_buf_str(out, "{\"error\":\"etcdserver: authentication is not enabled\",\"code\":9}");
    return 400;
  }
  if (!cJSON_IsString(password) || strcmp(password->valuestring, "secret") != 0) {
    lc_buf_str(out, "{\"error\":\"etcdserver: authentication failed, invalid user ID or password\",\"code\":3}");
    return 400;
  }
  put_header(fake, out);
  lc_buf_printf(out, ",\"token\":\"%s\"}", fake->token);
  return 200;
}

static bool has_token(const struct fake_etcd *fake, const char *head) {
  char line[64];
  snprintf(line, sizeof line, "\r\nAuthorization: %s\r\n", fake->token);
  return fake->token[0] == '\0' || strstr(head, line) != NULL;
}

static int respond(struct fake_etcd *fake, unsigned path, const char *head, const cJSON *body, struct lc_buf *out) {
  if (path != 6 && !has_token(fake, head)) {
    lc_buf_str(out, "{\"error\":\"etcdserver: invalid auth token\",\"code\":16}");
    return 401;
  }
  switch (path) {
  case 0:
    return do_range(fake, out);
  case 1:
    return do_grant(fake, body, out);
  case 2:
    return do_put(fake, body, out);
  case 3:
    return do_keepalive(fake, body, out);
  case 4:
    return do_revoke(fake, body, out);
  case 6:
    return do_authenticate(fake, body, out);
  default:
    return 404;
  }
}

/* ---- connections ---- */

static bool send_reply(int fd, int status, const void *body, size_t len) {
  char head[128];
  int n = snprintf(head, sizeof head, "HTTP/1.1 %d X\r\nContent-Length: %zu\r\n\r\n", status, len);
  return send_all(fd, head, (size_t)n) && send_all(fd, body, len);
}

/* In chunks of 13 bytes. */
static bool send_line(int fd, struct lc_buf *line) {
  struct lc_buf out;
  lc_buf_init(&out);
  lc_buf_char(line, '\n');
  for (size_t at = 0; at < line->len; at += 13) {
    size_t n = line->len - at < 13 ? line->len - at : 13;
    lc_buf_printf(&out, "%zx\r\n", n);
    lc_buf_append(&out, line->data + at, n);
    lc_buf_str(&out, "\r\n");
  }
  bool sent = send_all(fd, out.data, out.len);
  lc_buf_fini(&out);
  line->len = 0;
  return sent;
}

static bool is_closed(int fd) {
  char byte;
  return recv(fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT) == 0;
}

/* Two events a line where there are two. False: the end. */
static bool send_events(struct fake_etcd *fake, int fd, unsigned *at, int64_t start, struct lc_buf *line) {
  unsigned n = 0;
  if (*at > fake->event_count) /* wiped */
    *at = 0;
  for (; !fake->mute && *at < fake->event_count && n < 2; (*at)++) {
    const struct fake_event *event = &fake->events[*at];
    if (event->key.revision < start)
      continue;
    if (n == 0) {
      lc_buf_str(line, "{\"result\":");
      put_header(fake, line);
    }
    lc_buf_str(line, n++ == 0 ? ",\"events\":[{" : ",{");
    lc_buf_str(line, event->is_delete ? "\"type\":\"DELETE\",\"kv\":" : "\"kv\":");
    put_kv(line, &event->key, event->is_delete);
    lc_buf_char(line, '}');
  }
  if (n == 0)
    return true;
  lc_buf_str(line, "]}}");
  return send_line(fd, line);
}

static void wait_a_little(struct fake_etcd *fake) {
  struct timespec until;
  clock_gettime(CLOCK_REALTIME, &until);
  until.tv_nsec += 20000000;
  if (until.tv_nsec >= 1000000000) {
    until.tv_sec++;
    until.tv_nsec -= 1000000000;
  }
  pthread_cond_timedwait(&fake->changed, &fake->lock, &until);
}

/* Under the lock, which it lets go while it waits. */
static void serve_watch(struct fake_etcd *fake, int fd, const cJSON *body) {
  int64_t start = number_of(cJSON_GetObjectItemCaseSensitive(body, "create_request"), "start_revision");
  struct lc_buf line;
  unsigned at = 0;
  lc_buf_init(&line);
  bool open = send_all(fd, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", 47);
  lc_buf_str(&line, "{\"result\":");
  put_header(fake, &line);
  lc_buf_str(&line, ",\"created\":true}}");
  open = open && send_line(fd, &line);
  if (open && start <= fake->compacted) {
    lc_buf_printf(&line, "{\"result\":{\"canceled\":true,\"compact_revision\":\"%" PRId64 "\"}}", fake->compacted);
    send_line(fd, &line);
  }
  fake->watches++;
  while (open && fake->up && !is_closed(fd)) {
    open = send_events(fake, fd, &at, start, &line);
    if (open && (at == fake->event_count || fake->mute))
      wait_a_little(fake);
  }
  fake->watches--;
  lc_buf_fini(&line);
}

static bool read_request(int fd, char *text, size_t size) {
  size_t have = 0;
  for (text[0] = '\0'; strstr(text, "\r\n\r\n") == NULL; text[++have] = '\0') {
    if (have == size - 1 || recv(fd, text + have, 1, 0) != 1)
      return false;
    text[have + 1] = '\0';
  }
  const char *field = strcasestr(text, "\r\ncontent-length:");
  size_t body = field != NULL ? strtoul(field + 17, NULL, 10) : 0;
  if (body > size - 1 - have || recv_all(fd, text + have, body) != body)
    return false;
  text[have + body] = '\0';
  return true;
}

static struct fake_answer *find_answer(struct fake_etcd *fake, const char *path) {
  for (unsigned i = 0; i < 8; i++) {
    if (fake->answers[i].times > 0 && strcmp(fake->answers[i].path, path) == 0)
      return &fake->answers[i];
  }
  return NULL;
}

/* Under the lock. */
static bool serve_request(struct fake_etcd *fake, int fd, unsigned path, const char *text, const char *body_text) {
  struct fake_answer *answer = find_answer(fake, paths[path]);
  if (answer != NULL) {
    answer->times -= answer->times != UINT32_MAX;
    while (answer->body == NULL && answer->times > 0 && fake->up && !is_closed(fd))
      wait_a_little(fake);
    return answer->body != NULL && send_reply(fd, answer->status, answer->body, strlen(answer->body));
  }
  cJSON *body = cJSON_Parse(body_text);
  bool open = false;
  if (path == 5 && has_token(fake, text)) {
    serve_watch(fake, fd, body);
  } else {
    struct lc_buf out;
    lc_buf_init(&out);
    int status = respond(fake, path, text, body, &out);
    open = send_reply(fd, status, out.data, out.len);
    lc_buf_fini(&out);
  }
  cJSON_Delete(body);
  return open;
}

static bool handle(struct fake_etcd *fake, int fd, const char *text) {
  char name[64] = "";
  const char *body = strstr(text, "\r\n\r\n") + 4;
  sscanf(text, "POST /v3/%*[a-z]/%63[a-z]", name);
  unsigned path = strncmp(text, "POST /v3/watch ", 15) == 0 ? 5 : index_of(name);
  pthread_mutex_lock(&fake->lock);
  fake->counts[path]++;
  snprintf(fake->bodies[path], sizeof fake->bodies[path], "%s", body);
  snprintf(fake->last_head, sizeof fake->last_head, "%s", text);
  bool open = fake->up && serve_request(fake, fd, path, text, body);
  pthread_mutex_unlock(&fake->lock);
  return open;
}

static void *serve_peer(void *arg) {
  struct peer peer = *(struct peer *)arg;
  struct fake_etcd *fake = peer.fake;
  char text[4096];
  free(arg);
  while (read_request(peer.fd, text, sizeof text) && handle(fake, peer.fd, text)) {
  }
  pthread_mutex_lock(&fake->lock);
  for (unsigned i = 0; i < 64; i++) {
    if (fake->fds[i] == peer.fd)
      fake->fds[i] = -1;
  }
  close(peer.fd);
  fake->open--;
  pthread_mutex_unlock(&fake->lock);
  return NULL;
}

static void adopt(struct fake_etcd *fake, int fd) {
  struct peer *peer = malloc(sizeof *peer);
  pthread_t thread;
  *peer = (struct peer){fake, fd};
  pthread_mutex_lock(&fake->lock);
  unsigned i = 0;
  while (i < 64 && fake->fds[i] >= 0)
    i++;
  assert_true(i < 64);
  fake->fds[i] = fd;
  fake->open++;
  fake->connections++;
  pthread_create(&thread, NULL, serve_peer, peer);
  pthread_detach(thread);
  pthread_mutex_unlock(&fake->lock);
}

static void *serve(void *arg) {
  struct fake_etcd *fake = arg;
  for (int fd; (fd = accept(fake->listener, NULL, NULL)) >= 0;)
    adopt(fake, fd);
  return NULL;
}

/* ---- up and down ---- */

static int bind_socket(uint16_t port) {
  int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), on = 1;
  struct sockaddr_in addr = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK), .sin_port = htons(port)};
  setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &on, sizeof on);
  setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  assert_int_equal(bind(fd, (struct sockaddr *)&addr, sizeof addr), 0);
  return fd;
}

void fake_up(struct fake_etcd *fake) {
  fake->up = true;
  fake->listener = bind_socket(fake->port);
  assert_int_equal(listen(fake->listener, 64), 0);
  pthread_create(&fake->thread, NULL, serve, fake);
}

static unsigned count_open(struct fake_etcd *fake) {
  pthread_mutex_lock(&fake->lock);
  unsigned open = fake->open;
  pthread_mutex_unlock(&fake->lock);
  return open;
}

void fake_down(struct fake_etcd *fake) {
  shutdown(fake->listener, SHUT_RDWR);
  pthread_join(fake->thread, NULL);
  close(fake->listener);
  pthread_mutex_lock(&fake->lock);
  fake->up = false;
  for (unsigned i = 0; i < 64; i++) {
    if (fake->fds[i] >= 0)
      shutdown(fake->fds[i], SHUT_RDWR);
  }
  pthread_cond_broadcast(&fake->changed);
  pthread_mutex_unlock(&fake->lock);
  uint64_t give_up = lc_clock_ms() + PATIENCE_S * 1000;
  while (count_open(fake) > 0 && lc_clock_ms() < give_up)
    sched_yield();
  assert_int_equal(count_open(fake), 0);
}

void fake_start(struct fake_etcd *fake) {
  struct sockaddr_in addr;
  socklen_t len = sizeof addr;
  *fake = (struct fake_etcd){.lock = PTHREAD_MUTEX_INITIALIZER,
                             .changed = PTHREAD_COND_INITIALIZER,
                             .revision = 1,
                             .next_lease = 7000000000000000000};
  memset(fake->fds, -1, sizeof fake->fds);
  fake->reserve = bind_socket(0);
  assert_int_equal(getsockname(fake->reserve, (struct sockaddr *)&addr, &len), 0);
  fake->port = ntohs(addr.sin_port);
  snprintf(fake->url, sizeof fake->url, "http://127.0.0.1:%u", fake->port);
  fake_up(fake);
}

void fake_stop(struct fake_etcd *fake) {
  if (fake->up)
    fake_down(fake);
  close(fake->reserve);
}

/* ---- what tests do to it ---- */

static void lock(struct fake_etcd *fake) {
  pthread_mutex_lock(&fake->lock);
}

static void unlock(struct fake_etcd *fake) {
  pthread_cond_broadcast(&fake->changed);
  pthread_mutex_unlock(&fake->lock);
}

static const char *key_of(const char *address, char out[128]) {
  snprintf(out, 128, "%s%s", *address == '/' ? "" : PREFIX, address);
  return out;
}

void fake_put(struct fake_etcd *fake, const char *address, const char *value, int64_t lease) {
  char key[128];
  lock(fake);
  set_key(fake, key_of(address, key), value, lease);
  unlock(fake);
}

void fake_delete(struct fake_etcd *fake, const char *address) {
  char key[128];
  lock(fake);
  struct fake_key *found = find_key(fake, key_of(address, key));
  if (found != NULL)
    drop_key(fake, found);
  unlock(fake);
  assert_non_null(found);
}

void fake_forget_leases(struct fake_etcd *fake, bool with_keys) {
  lock(fake);
  for (unsigned i = 0; i < FAKE_KEYS; i++) {
    if (fake->leases[i] != 0 && with_keys)
      end_lease(fake, fake->leases[i]);
    fake->leases[i] = 0;
  }
  unlock(fake);
}

void fake_wipe(struct fake_etcd *fake) {
  lock(fake);
  memset(fake->keys, 0, sizeof fake->keys);
  memset(fake->leases, 0, sizeof fake->leases);
  fake->event_count = 0;
  fake->revision = 1;
  fake->compacted = 0;
  unlock(fake);
}

static void cut(struct fake_etcd *fake) {
  for (unsigned i = 0; i < 64; i++) {
    if (fake->fds[i] >= 0)
      shutdown(fake->fds[i], SHUT_RDWR);
  }
}

void fake_break_watches(struct fake_etcd *fake) {
  lock(fake);
  cut(fake);
  unlock(fake);
}

void fake_compact(struct fake_etcd *fake) {
  lock(fake);
  fake->compacted = fake->revision;
  fake->event_count = 0;
  cut(fake);
  unlock(fake);
}

void fake_answer(struct fake_etcd *fake, const char *path, int status, const char *body, unsigned times) {
  lock(fake);
  struct fake_answer *place = find_answer(fake, path);
  for (unsigned i = 0; place == NULL && i < 8; i++)
    place = fake->answers[i].times == 0 ? &fake->answers[i] : NULL;
  if (place == NULL)
    abort(); /* too many scripted answers */
  snprintf(place->path, sizeof place->path, "%s", path);
  place->status = status;
  place->body = body;
  place->times = times;
  unlock(fake);
}

void fake_mute(struct fake_etcd *fake, bool mute) {
  lock(fake);
  fake->mute = mute;
  unlock(fake);
}

void fake_require_token(struct fake_etcd *fake) {
  lock(fake);
  snprintf(fake->token, sizeof fake->token, "token.%u", ++fake->token_count);
  unlock(fake);
}

unsigned fake_count(struct fake_etcd *fake, const char *path) {
  lock(fake);
  unsigned count = fake->counts[index_of(path)];
  unlock(fake);
  return count;
}

bool fake_value(struct fake_etcd *fake, const char *address, char out[128], int64_t *lease) {
  char key[128];
  lock(fake);
  const struct fake_key *found = find_key(fake, key_of(address, key));
  if (found != NULL && out != NULL)
    snprintf(out, 128, "%s", found->value);
  if (found != NULL && lease != NULL)
    *lease = found->lease;
  unlock(fake);
  return found != NULL;
}

void fake_last_body(struct fake_etcd *fake, const char *path, char out[512]) {
  lock(fake);
  snprintf(out, 512, "%s", fake->bodies[index_of(path)]);
  unlock(fake);
}

unsigned fake_watches(struct fake_etcd *fake) {
  lock(fake);
  unsigned watches = fake->watches;
  unlock(fake);
  return watches;
}
