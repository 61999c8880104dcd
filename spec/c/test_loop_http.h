#ifndef LC_TEST_LOOP_HTTP_H
#define LC_TEST_LOOP_HTTP_H

#include "test_loop_support.h"

/* A source for the tests of fetch: a thread a connection, behaviour by path. */
struct http_source {
  uint16_t port;
  int listener;
  pthread_t thread;
  atomic_uint connections, open, most_open, requests;
  atomic_ullong sent;  /* of /endless */
  struct gate hanging; /* raised by each request for /hang and /hang-in-body */
  char last_request[4096];
  pthread_mutex_t lock; /* of last_request */
};

void http_source_start(struct http_source *source);
void http_source_stop(struct http_source *source); /* waits until all connections are closed: close them first */

/* The head and body of the last request as it came. */
void http_source_last_request(struct http_source *source, char *out, size_t size);

#endif
