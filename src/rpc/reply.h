#ifndef LC_RPC_REPLY_H
#define LC_RPC_REPLY_H

#include "base/buf.h"
#include "rpc/server.h"

/* What the handlers of unary methods have in common: ending a call by an enum lc_code, with a message or without. */

/* Ends a call with the status that a code means; LC_OK sends what was appended. `message` may be NULL. */
void lc_rpc_finish_code(struct lc_rpc_call *call, int code, const char *message);

/* Ends a call whose reply was framed into its output: rc is LC_OK, or the framing's error (RESOURCE_EXHAUSTED). */
void lc_rpc_finish_framed(struct lc_rpc_call *call, int rc);

/* Appends the bare message in buf, with its prefix, to the call's output; buf is freed. 0 or LC_ENOMEM, also for a buf
 * that failed. */
int lc_rpc_append(struct lc_rpc_call *call, struct lc_buf *buf);

/* The two together: ends a call with the bare message in buf. */
void lc_rpc_reply(struct lc_rpc_call *call, struct lc_buf *buf);

/* Makes *bytes a copy that lives as long as the call. 0 or LC_ENOMEM. */
int lc_rpc_keep(struct lc_rpc_call *call, struct lc_slice *bytes);

#endif
