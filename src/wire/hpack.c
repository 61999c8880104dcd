#include "wire/hpack.h"

#include <nghttp2/nghttp2.h>

#include "base/alloc.h"

struct lc_hpack {
  nghttp2_hd_inflater *inflater;
};

int lc_hpack_create(struct lc_hpack **out) {
  struct lc_hpack *hpack = lc_calloc(1, sizeof(*hpack));
  if (!hpack)
    return LC_ENOMEM;
  if (nghttp2_hd_inflate_new(&hpack->inflater) != 0) {
    lc_free(hpack);
    return LC_ENOMEM;
  }
  *out = hpack;
  return LC_OK;
}

void lc_hpack_destroy(struct lc_hpack *hpack) {
  if (!hpack)
    return;
  nghttp2_hd_inflate_del(hpack->inflater);
  lc_free(hpack);
}

int lc_hpack_decode(struct lc_hpack *hpack, struct lc_slice block, lc_hpack_field_fn field, void *arg) {
  int flags = 0;
  while (!(flags & NGHTTP2_HD_INFLATE_FINAL)) {
    nghttp2_nv nv;
    ssize_t used = nghttp2_hd_inflate_hd2(hpack->inflater, &nv, &flags, block.ptr, block.len, 1);
    if (used < 0)
      return used == NGHTTP2_ERR_NOMEM ? LC_ENOMEM : LC_EPROTO;
    block = lc_slice_of(block.ptr + used, block.len - (size_t)used);
    if (flags & NGHTTP2_HD_INFLATE_EMIT)
      field(arg, lc_slice_of(nv.name, nv.namelen), lc_slice_of(nv.value, nv.valuelen));
    else if (used == 0 && block.len == 0 && !(flags & NGHTTP2_HD_INFLATE_FINAL))
      return LC_EPROTO;
  }
  nghttp2_hd_inflate_end_headers(hpack->inflater);
  return LC_OK;
}

bool lc_hpack_is_indexed(struct lc_slice block) {
  size_t at = 0;
  while (at < block.len) {
    uint8_t byte = block.ptr[at++];
    if (!(byte & 0x80))
      return false;
    if (byte == 0xff) { /* an index over 126 goes on in the next bytes */
      while (at < block.len && (block.ptr[at] & 0x80))
        at++;
      at++;
    }
  }
  return block.len > 0;
}
