# cmake -D ROOT=lua -D FILES="lcache/init.lua;…" -D OUT=embedded.c -P embed_lua.cmake
include(${CMAKE_CURRENT_LIST_DIR}/hex.cmake)
set(arrays "")
set(rows "")
set(index 0)
foreach(file IN LISTS FILES)
  lc_hex(${ROOT}/${file} bytes)
  string(REGEX REPLACE "(/init)?\\.lua$" "" name ${file})
  string(REPLACE "/" "." name ${name})
  string(APPEND arrays "static const unsigned char module_${index}[] = {\n${bytes}\n};\n")
  string(APPEND rows "    {\"${name}\", (const char *) module_${index}, sizeof module_${index} - 1},\n")
  math(EXPR index "${index} + 1")
endforeach()
file(WRITE ${OUT} "#include \"script/embedded.h\"

${arrays}
const struct lc_embedded_lua lc_embedded_lua[] = {
${rows}    {NULL, NULL, 0},
};
")
