#ifndef LC_SPEC_BENCH_SERVER_H
#define LC_SPEC_BENCH_SERVER_H

#include "base/buf.h"

/* A server session in memory that answers each request with one of many statuses and messages, and counts them. */
struct bench_server;

struct bench_server *bench_server_open(bool http); /* http: HTTP statuses and bodies, else gRPC */
void bench_server_close(struct bench_server *server);
void bench_server_recv(struct bench_server *server, const uint8_t *data, size_t len);
void bench_server_pull(struct bench_server *server, struct lc_buf *out);

/* Answers by status as lcache-bench counts them: of HTTP 200 is 0, 404 is 5, others are 2. */
const uint64_t *bench_server_answered(const struct bench_server *server);
uint64_t bench_server_bodies(const struct bench_server *server); /* bytes */

#endif
