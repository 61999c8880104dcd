#ifndef TEST_SCRIPT_SOURCE_H
#define TEST_SCRIPT_SOURCE_H

/*
 * A small HTTP source on a free port. By path: /status/N answers N with the body "status N"; /hang never answers;
 * /big/N answers N bytes; /json and /broken answer JSON; /echo answers with the request; /redirect leads to
 * /status/200.
 */
struct source;

struct source *source_start(void);
void source_stop(struct source *source);
unsigned source_port(const struct source *source);
unsigned source_requests(struct source *source);                  /* whose head came whole */
void source_wait_closed(struct source *source, unsigned count);   /* until so many connections were closed by clients */
void source_wait_requests(struct source *source, unsigned count); /* until that many came; fails after 10 s */

#endif
