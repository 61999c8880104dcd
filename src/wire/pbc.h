#ifndef LC_WIRE_PBC_H
#define LC_WIRE_PBC_H

#include <protobuf-c/protobuf-c.h>

#include "base/arena.h"
#include "base/buf.h"
#include "base/err.h"
#include "base/slice.h"

/* protobuf-c behind the rules of msg.h: arena memory, bounded, strings checked. For wire/ only. */

/*
 * Checks and unpacks; the message lives in the arena and is never freed on its own. 0, LC_EPROTO or LC_ENOMEM.
 */
int lc_pbc_unpack(const ProtobufCMessageDescriptor *descriptor, struct lc_arena *arena, struct lc_slice bytes,
                  void *message, struct lc_err *err);

/* Appends the packed message. 0 or LC_ENOMEM. */
int lc_pbc_pack(const void *message, struct lc_buf *buf);

/* Scratch memory while a message is put together for packing. Its calls never return NULL: they set `failed`. */
struct lc_pbc_scratch {
  struct lc_arena arena;
  bool failed;
  char first[512];
};

void lc_pbc_scratch_init(struct lc_pbc_scratch *scratch);

/* Packs unless something failed, and frees the scratch. 0 or LC_ENOMEM. */
int lc_pbc_scratch_pack(struct lc_pbc_scratch *scratch, const void *message, struct lc_buf *buf);

char *lc_pbc_str(struct lc_pbc_scratch *scratch,
                 struct lc_slice text); /* a copy with a NUL; what isn't UTF-8 becomes '?' */

/* `count` structs of `size`, zeroed, and an array of pointers to them, which is returned; NULL if count is 0 or memory
 * is out. */
void *lc_pbc_array(struct lc_pbc_scratch *scratch, size_t count, size_t size);

static inline ProtobufCBinaryData lc_pbc_bytes(struct lc_slice bytes) {
  return (ProtobufCBinaryData){bytes.len, (uint8_t *)(uintptr_t)bytes.ptr};
}

static inline struct lc_slice lc_pbc_slice(ProtobufCBinaryData bytes) {
  return lc_slice_of(bytes.data, bytes.len);
}

#endif
