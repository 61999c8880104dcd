#ifndef LC_WIRE_MSG_TABLE_H
#define LC_WIRE_MSG_TABLE_H

#include <stddef.h>

#include "wire/pb.h"

/* How msg_cache.c and msg_peer.c write the tables of pb.h and the codecs made of them. */

#define LC_MEMBER(kind_, type_, member_)                                                                               \
  { LC_PB_##kind_, offsetof(struct type_, member_), NULL }
#define LC_MEMBER_LIST(type_, member_, list_)                                                                          \
  { LC_PB_LIST, offsetof(struct type_, member_), list_ }

/* Of the table <type>_members; MESSAGE_LARGE for one with a member that goes by reference. */
#define LC_MESSAGE(name_, type_) LC_MESSAGE_LARGE(name_, type_, 0, 0)
#define LC_MESSAGE_LARGE(name_, type_, large_, owner_offset_)                                                          \
  static const struct lc_pb_message type_ = {name_,           sizeof(struct type_),                                    \
                                             type_##_members, sizeof type_##_members / sizeof *type_##_members,        \
                                             large_,          owner_offset_}

#define LC_CODEC(type_)                                                                                                \
  int type_##_decode(struct lc_arena *arena, struct lc_slice bytes, struct type_ *out, struct lc_err *err) {           \
    return lc_pb_decode(&type_, arena, bytes, out, err);                                                               \
  }                                                                                                                    \
  int type_##_encode(const struct type_ *msg, struct lc_buf *buf) {                                                    \
    return lc_pb_encode(&type_, msg, buf);                                                                             \
  }

#endif
