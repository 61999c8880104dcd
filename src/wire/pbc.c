#include "wire/pbc.h"

#include "wire/pb.h"

#define DEPTH_MAX 8u
#define MEMORY_BASE 4096u
#define MEMORY_FACTOR 64u

struct bounded {
  ProtobufCAllocator allocator; /* first: its data is this */
  struct lc_arena *arena;
  size_t left;
  bool failed;
};

static void *bounded_alloc(void *data, size_t size) {
  struct bounded *bounded = data;
  void *ptr = size <= bounded->left ? lc_arena_alloc(bounded->arena, size) : NULL;
  if (!ptr) {
    bounded->failed = true;
    return NULL;
  }
  bounded->left -= size;
  return ptr;
}

static void bounded_free(void *data, void *ptr) {
  (void)data, (void)ptr;
}

static bool wire_fits(const ProtobufCFieldDescriptor *known, enum lc_pb_wire wire) {
  switch (known->type) {
  case PROTOBUF_C_TYPE_STRING:
  case PROTOBUF_C_TYPE_BYTES:
  case PROTOBUF_C_TYPE_MESSAGE:
    return wire == LC_PB_LEN;
  case PROTOBUF_C_TYPE_DOUBLE:
    return wire == LC_PB_FIXED64;
  default: /* all others that proto/ has are numbers in varints, packed where they repeat */
    return wire == LC_PB_VARINT || (wire == LC_PB_LEN && known->label == PROTOBUF_C_LABEL_REPEATED);
  }
}

static int check(const ProtobufCMessageDescriptor *descriptor, struct lc_slice in, unsigned depth, struct lc_err *err);

static int check_field(const ProtobufCFieldDescriptor *known, const struct lc_pb_field *field, unsigned depth,
                       struct lc_err *err) {
  if (!wire_fits(known, field->wire))
    return lc_err_set(err, LC_EPROTO, "malformed message: %s has a wrong wire type", known->name);
  if (known->type == PROTOBUF_C_TYPE_MESSAGE)
    return check(known->descriptor, field->bytes, depth + 1, err);
  if (known->type != PROTOBUF_C_TYPE_STRING)
    return 0;
  if (!lc_pb_is_utf8(field->bytes))
    return lc_err_set(err, LC_EPROTO, "malformed message: %s is not UTF-8", known->name);
  if (field->bytes.len && memchr(field->bytes.ptr, 0, field->bytes.len))
    return lc_err_set(err, LC_EPROTO, "malformed message: %s holds a NUL", known->name);
  return 0;
}

/* What protobuf-c doesn't look at: whether strings are UTF-8, whether its C strings would be cut, and the depth. */
static int check(const ProtobufCMessageDescriptor *descriptor, struct lc_slice in, unsigned depth, struct lc_err *err) {
  if (depth > DEPTH_MAX)
    return lc_err_set(err, LC_EPROTO, "malformed message: nested too deep");
  struct lc_pb_field field;
  int rc;
  while ((rc = lc_pb_next(&in, &field, err)) == 1) {
    const ProtobufCFieldDescriptor *known = protobuf_c_message_descriptor_get_field(descriptor, field.number);
    if (known)
      rc = check_field(known, &field, depth, err);
    if (rc < 0)
      return rc;
  }
  return rc;
}

int lc_pbc_unpack(const ProtobufCMessageDescriptor *descriptor, struct lc_arena *arena, struct lc_slice bytes,
                  void *message, struct lc_err *err) {
  int rc = check(descriptor, bytes, 0, err);
  if (rc != 0)
    return rc;
  struct bounded bounded = {.allocator = {bounded_alloc, bounded_free, NULL}, .arena = arena};
  bounded.allocator.allocator_data = &bounded;
  bounded.left = MEMORY_BASE + MEMORY_FACTOR * bytes.len;
  ProtobufCMessage *unpacked = protobuf_c_message_unpack(descriptor, &bounded.allocator, bytes.len, bytes.ptr);
  if (!unpacked)
    return bounded.failed ? lc_err_set(err, LC_ENOMEM, "no memory for a message")
                          : lc_err_set(err, LC_EPROTO, "malformed message");
  memcpy(message, (void *)&unpacked, sizeof(void *));
  return 0;
}

int lc_pbc_pack(const void *message, struct lc_buf *buf) {
  size_t size = protobuf_c_message_get_packed_size(message);
  if (lc_buf_reserve(buf, size) != 0)
    return LC_ENOMEM;
  buf->len += protobuf_c_message_pack(message, buf->data + buf->len);
  return 0;
}

void lc_pbc_scratch_init(struct lc_pbc_scratch *scratch) {
  scratch->failed = false;
  lc_arena_init(&scratch->arena, scratch->first, sizeof scratch->first, SIZE_MAX / 2);
}

int lc_pbc_scratch_pack(struct lc_pbc_scratch *scratch, const void *message, struct lc_buf *buf) {
  int rc = scratch->failed ? LC_ENOMEM : lc_pbc_pack(message, buf);
  if (scratch->failed)
    buf->failed = true;
  lc_arena_fini(&scratch->arena);
  return rc;
}

char *lc_pbc_str(struct lc_pbc_scratch *scratch, struct lc_slice text) {
  char *copy = lc_arena_alloc(&scratch->arena, text.len + 1);
  if (!copy) {
    scratch->failed = true;
    return (char *)(uintptr_t) ""; /* nobody writes to it, nor packs it */
  }
  if (text.len)
    memcpy(copy, text.ptr, text.len);
  copy[text.len] = '\0';
  for (size_t at = 0; (at += lc_pb_utf8_len(lc_slice_of(copy + at, text.len - at))) < text.len;)
    copy[at] = '?';
  return copy;
}

void *lc_pbc_array(struct lc_pbc_scratch *scratch, size_t count, size_t size) {
  size_t bytes;
  if (count == 0)
    return NULL;
  if (__builtin_mul_overflow(count, size + sizeof(void *) + 16, &bytes)) {
    scratch->failed = true;
    return NULL;
  }
  void **pointers = lc_arena_alloc(&scratch->arena, count * sizeof *pointers);
  char *structs = lc_arena_alloc(&scratch->arena, count * size);
  if (!pointers || !structs) {
    scratch->failed = true;
    return NULL;
  }
  memset(structs, 0, count * size);
  for (size_t i = 0; i < count; i++)
    pointers[i] = structs + i * size;
  return pointers;
}
