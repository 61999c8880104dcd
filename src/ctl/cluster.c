#include "ctl/cluster.h"

#include <string.h>

#include "wire/grpc.h"

#define ARENA_LIMIT (512u << 20)

static const struct lc_ctl_command *command_named(const char *name) {
  for (size_t i = 0; i < lc_ctl_command_count; i++) {
    if (strcmp(lc_ctl_commands[i].name, name) == 0)
      return &lc_ctl_commands[i];
  }
  return NULL;
}

/* The reply's bytes, moved into the arena: what is decoded points into them. */
static int keep(struct lc_arena *arena, struct lc_ctl_answer *answer, struct lc_slice *bytes) {
  size_t len = answer->reply.len;
  char *copy = lc_arena_alloc(arena, len);
  if (copy && len > 0)
    memcpy(copy, answer->reply.data, len);
  lc_buf_fini(&answer->reply);
  *bytes = lc_slice_of(copy, len);
  return copy ? LC_OK : LC_ENOMEM;
}

/* One call and its decoding. LC_GRPC_OK, or another status with `message`. */
static int ask(const struct lc_ctl_options *options, lc_ctl_call_fn call, struct lc_arena *arena,
               union lc_ctl_reply *reply, char message[LC_ERR_MSG_SIZE]) {
  struct lc_ctl_answer answer;
  struct lc_slice bytes;
  struct lc_err err = {0};
  int rc = call(options, &answer, &err);
  if (rc == LC_OK && answer.status != LC_GRPC_OK) {
    memcpy(message, answer.message, LC_ERR_MSG_SIZE);
    lc_buf_fini(&answer.reply);
    return answer.status;
  }
  if (rc == LC_OK && keep(arena, &answer, &bytes) != LC_OK)
    rc = lc_err_set(&err, LC_ENOMEM, "out of memory for the reply");
  if (rc == LC_OK && options->command->decode(arena, bytes, reply, &err) == LC_OK)
    return LC_GRPC_OK;
  memcpy(message, err.msg, LC_ERR_MSG_SIZE);
  return rc == LC_OK ? LC_GRPC_INTERNAL : lc_grpc_status_of(rc);
}

/* The options of the same command for another server; LC_EINVAL if its address is none. */
static int options_for(const struct lc_ctl_options *options, struct lc_slice address, struct lc_ctl_options *out,
                       struct lc_err *err) {
  *out = *options;
  size_t len = address.len < sizeof(out->server_text) ? address.len : sizeof(out->server_text) - 1;
  if (len > 0)
    memcpy(out->server_text, address.ptr, len);
  out->server_text[len] = '\0';
  return lc_parse_address(out->server_text, &out->server, err);
}

static void ask_node(const struct lc_ctl_options *options, lc_ctl_call_fn call, struct lc_arena *arena,
                     struct lc_ctl_cluster_node *node) {
  struct lc_ctl_options own;
  union lc_ctl_reply reply;
  struct lc_err err = {0};
  if (lc_slice_eq(node->node->state, lc_slice_str("down")))
    return;
  if (options_for(options, node->node->address, &own, &err) != LC_OK) {
    node->status = LC_GRPC_INTERNAL;
    memcpy(node->message, err.msg, sizeof(node->message));
    return;
  }
  node->status = ask(&own, call, arena, &reply, node->message);
  node->has_stats = node->status == LC_GRPC_OK;
  if (node->has_stats)
    node->stats = reply.stats;
}

static int gather(const struct lc_ctl_options *options, lc_ctl_call_fn call, struct lc_ctl_cluster *cluster,
                  char message[LC_ERR_MSG_SIZE]) {
  struct lc_ctl_options first = *options;
  union lc_ctl_reply reply;
  first.command = command_named("nodes");
  first.arg_count = 0;
  int status = ask(&first, call, &cluster->arena, &reply, message);
  if (status != LC_GRPC_OK)
    return status;
  cluster->members = reply.nodes;
  size_t size = cluster->members.node_count * sizeof(*cluster->nodes);
  cluster->nodes = lc_arena_alloc(&cluster->arena, size);
  if (!cluster->nodes) {
    memcpy(message, "out of memory", sizeof "out of memory");
    return LC_GRPC_RESOURCE_EXHAUSTED;
  }
  if (size > 0)
    memset(cluster->nodes, 0, size);
  for (size_t i = 0; i < cluster->members.node_count; i++) {
    cluster->nodes[i].node = &cluster->members.nodes[i];
    ask_node(options, call, &cluster->arena, &cluster->nodes[i]);
  }
  return LC_GRPC_OK;
}

int lc_ctl_cluster_stats(const struct lc_ctl_options *options, lc_ctl_call_fn call, FILE *out, FILE *errors) {
  struct lc_ctl_cluster cluster = {0};
  char message[LC_ERR_MSG_SIZE] = "";
  int exit_code;
  lc_arena_init(&cluster.arena, NULL, 0, ARENA_LIMIT);
  int status = gather(options, call, &cluster, message);
  if (status != LC_GRPC_OK)
    exit_code = lc_ctl_print_error(options, status, message, out, errors);
  else
    exit_code = options->json ? lc_ctl_cluster_json(&cluster, out) : lc_ctl_cluster_text(&cluster, out);
  lc_arena_fini(&cluster.arena);
  if (fflush(out) != 0 || ferror(out)) {
    fprintf(errors, "lcachectl: can't write the answer\n");
    return LC_CTL_FAILED;
  }
  return exit_code;
}
