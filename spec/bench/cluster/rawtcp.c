/*
 * Raw TCP between two libuv processes, as a yardstick for what peers move: `bench_rawtcp serve` prints its port and
 * writes for as long as somebody reads; `bench_rawtcp read PORT SECONDS` reads and prints bytes per second. One
 * connection.
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <uv.h>

#define PIECE (1u << 20)
#define PENDING 4u /* writes under way, so that the socket never waits for us */

static char piece[PIECE];

static void die(const char *what, int rc) {
  if (rc >= 0)
    return;
  fprintf(stderr, "bench_rawtcp: %s: %s\n", what, uv_strerror(rc));
  exit(2);
}

/* ---- serve ---- */

static uv_buf_t whole_piece(void) {
  return uv_buf_init(piece, PIECE);
}

static void on_written(uv_write_t *request, int status) {
  uv_buf_t buf = whole_piece();
  if (status < 0)
    exit(0); /* the reader has had enough */
  die("write", uv_write(request, request->handle, &buf, 1, on_written));
}

static void on_connection(uv_stream_t *listener, int status) {
  static uv_tcp_t connection;
  static uv_write_t requests[PENDING];
  die("listen", status);
  die("socket", uv_tcp_init(listener->loop, &connection));
  die("accept", uv_accept(listener, (uv_stream_t *)&connection));
  for (size_t i = 0; i < PENDING; i++) {
    uv_buf_t buf = whole_piece();
    die("write", uv_write(&requests[i], (uv_stream_t *)&connection, &buf, 1, on_written));
  }
}

static int serve(uv_loop_t *loop) {
  static uv_tcp_t listener;
  struct sockaddr_in address;
  struct sockaddr_in bound;
  int len = (int)sizeof(bound);
  die("address", uv_ip4_addr("127.0.0.1", 0, &address));
  die("socket", uv_tcp_init(loop, &listener));
  die("bind", uv_tcp_bind(&listener, (const struct sockaddr *)&address, 0));
  die("listen", uv_listen((uv_stream_t *)&listener, 1, on_connection));
  die("name", uv_tcp_getsockname(&listener, (struct sockaddr *)&bound, &len));
  uint8_t port[2];
  memcpy(port, &bound.sin_port, sizeof(port));
  printf("%u\n", port[0] * 256u + port[1]);
  fflush(stdout);
  return uv_run(loop, UV_RUN_DEFAULT);
}

/* ---- read ---- */

struct reader {
  uv_tcp_t tcp;
  uv_timer_t timer;
  uv_connect_t connect;
  uint64_t begun_ns, bytes;
};

static struct reader reader;

static void on_alloc(uv_handle_t *handle, size_t suggested, uv_buf_t *buf) {
  (void)handle;
  (void)suggested;
  *buf = whole_piece();
}

static void on_read(uv_stream_t *stream, ssize_t count, const uv_buf_t *buf) {
  (void)stream;
  (void)buf;
  die("read", (int)(count < 0 ? count : 0));
  reader.bytes += (uint64_t)count;
}

static void on_end(uv_timer_t *timer) {
  (void)timer;
  printf("%.0f\n", (double)reader.bytes / ((double)(uv_hrtime() - reader.begun_ns) / 1e9));
  exit(0);
}

static void on_connected(uv_connect_t *connect, int status) {
  die("connect", status);
  reader.begun_ns = uv_hrtime();
  die("read", uv_read_start(connect->handle, on_alloc, on_read));
}

static int read_for(uv_loop_t *loop, int port, double seconds) {
  struct sockaddr_in address;
  die("address", uv_ip4_addr("127.0.0.1", port, &address));
  die("socket", uv_tcp_init(loop, &reader.tcp));
  die("timer", uv_timer_init(loop, &reader.timer));
  die("timer", uv_timer_start(&reader.timer, on_end, (uint64_t)(seconds * 1000.0), 0));
  die("connect", uv_tcp_connect(&reader.connect, &reader.tcp, (const struct sockaddr *)&address, on_connected));
  return uv_run(loop, UV_RUN_DEFAULT);
}

int main(int argc, char **argv) {
  uv_loop_t *loop = uv_default_loop();
  if (argc == 2 && strcmp(argv[1], "serve") == 0)
    return serve(loop);
  if (argc == 4 && strcmp(argv[1], "read") == 0)
    return read_for(loop, atoi(argv[2]), atof(argv[3]));
  fprintf(stderr, "usage: bench_rawtcp serve | bench_rawtcp read PORT SECONDS\n");
  return 2;
}
