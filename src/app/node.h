#ifndef LC_APP_NODE_H
#define LC_APP_NODE_H

#include <stdbool.h>
#include <uv.h>

#include "app/setup.h"
#include "base/log.h"
#include "base/parse.h"

/*
 * A running node: the workers with their servers and scripts, the groups, the listener. A process can hold several.
 * The calling thread is the node's main thread: it accepts connections and oversees the workers.
 */
struct lc_node;

/*
 * Starts everything in order: groups, listener, workers, each with its script. 0; LC_EINVAL for a mistake in settings
 * or script; LC_EBUSY, LC_EIO, LC_ENOMEM for what the machine refuses. On failure all is as before. `setup` and `log`
 * are borrowed until lc_node_destroy.
 */
int lc_node_create(const struct lc_setup *setup, struct lc_log *log, struct lc_node **out, struct lc_err *err);

/* The bound gRPC address. */
void lc_node_address(const struct lc_node *node, struct lc_address *address);

/*
 * Waits until the other nodes are found and this one is among them, or the join timeout has passed; answers meanwhile.
 * True at once for a node alone. False: a stop was asked for.
 */
bool lc_node_join(struct lc_node *node);

/* `ready grpc=127.0.0.1:8001 http=off workers=2 groups=1`, without a line end. */
#define LC_READY_LINE_SIZE (LC_HOST_SIZE + 96)
void lc_node_ready_line(const struct lc_node *node, char out[LC_READY_LINE_SIZE]);

/* The loop that lc_node_run runs, for signals. What the caller opens on it, it closes before lc_node_destroy. */
uv_loop_t *lc_node_loop(struct lc_node *node);

/*
 * Serves until a stop has ended. 0, or LC_EDEADLINE: a worker stood still and could not be ended; the node is then not
 * to be destroyed, the process should exit.
 */
int lc_node_run(struct lc_node *node);

/*
 * Begins to stop: health says NOT_SERVING, no connection is accepted any more, those that are there get GOAWAY and end
 * when their requests have; what is left after the drain timeout is cut. Any thread, any number of times.
 */
void lc_node_stop(struct lc_node *node);

/* Logs the state of workers and groups, some lines. On the main thread. */
void lc_node_dump(struct lc_node *node);

/* Stops at once if it still runs. NULL is fine. */
void lc_node_destroy(struct lc_node *node);

#endif
