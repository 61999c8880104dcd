# cmake -D IN=set.pb -D OUT=descriptor_set.c -P embed_descriptor_set.cmake
include(${CMAKE_CURRENT_LIST_DIR}/hex.cmake)
lc_hex(${IN} bytes)
file(WRITE ${OUT} "#include \"wire/descriptor_set.h\"

const unsigned char lc_descriptor_set[] = {
${bytes}
};
const size_t lc_descriptor_set_len = sizeof lc_descriptor_set - 1;
")
