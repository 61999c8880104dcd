# What the build writes itself, all below ${LC_GEN}: the version header, protobuf code, the descriptor set that gRPC
# reflection serves, and the Lua modules that are part of the binary.
set(LC_GEN ${CMAKE_BINARY_DIR}/gen)
set(LC_CMAKE_DIR ${CMAKE_CURRENT_LIST_DIR})

configure_file(${LC_CMAKE_DIR}/version.h.in ${LC_GEN}/base/version.h @ONLY)
configure_file(${LC_CMAKE_DIR}/descriptor_set.h.in ${LC_GEN}/wire/descriptor_set.h COPYONLY)
configure_file(${LC_CMAKE_DIR}/embedded.h.in ${LC_GEN}/script/embedded.h COPYONLY)

# lc_proto: proto/**/*.proto as C by protoc-c. proto/a/b.proto is included as "a/b.pb-c.h". Only wire/ links it.
# Sets LC_DESCRIPTOR_SET_C to the source file that holds the descriptor set.
function(lc_generate_proto)
  set(root ${CMAKE_SOURCE_DIR}/proto)
  file(GLOB_RECURSE protos CONFIGURE_DEPENDS RELATIVE ${root} ${root}/*.proto)
  if(NOT protos)
    return()
  endif()
  set(sources)
  foreach(proto IN LISTS protos)
    string(REGEX REPLACE "\\.proto$" ".pb-c" stem ${LC_GEN}/proto/${proto})
    add_custom_command(
      OUTPUT ${stem}.c ${stem}.h
      COMMAND ${CMAKE_COMMAND} -E make_directory ${LC_GEN}/proto
      COMMAND ${LC_PROTOC_C} --proto_path=${root} --c_out=${LC_GEN}/proto ${proto}
      DEPENDS ${root}/${proto}
      VERBATIM)
    list(APPEND sources ${stem}.c)
  endforeach()

  add_library(lc_proto STATIC ${sources})
  target_include_directories(lc_proto SYSTEM PUBLIC ${LC_GEN}/proto)
  target_link_libraries(lc_proto PUBLIC PkgConfig::protobuf-c)
  target_compile_options(lc_proto PRIVATE -w)

  set(set_pb ${LC_GEN}/descriptor_set.pb)
  set(set_c ${LC_GEN}/wire/descriptor_set.c)
  list(TRANSFORM protos PREPEND ${root}/ OUTPUT_VARIABLE paths)
  add_custom_command(
    OUTPUT ${set_c}
    COMMAND ${LC_PROTOC} --proto_path=${root} --include_imports --descriptor_set_out=${set_pb} ${protos}
    COMMAND ${CMAKE_COMMAND} -D IN=${set_pb} -D OUT=${set_c} -P ${LC_CMAKE_DIR}/embed_descriptor_set.cmake
    DEPENDS ${paths} ${LC_CMAKE_DIR}/embed_descriptor_set.cmake ${LC_CMAKE_DIR}/hex.cmake
    VERBATIM)
  set(LC_DESCRIPTOR_SET_C ${set_c} PARENT_SCOPE)
endfunction()

# Sets LC_EMBEDDED_LUA_C to the source file that holds lua/lcache/**.lua.
function(lc_generate_lua)
  set(root ${CMAKE_SOURCE_DIR}/lua)
  file(GLOB_RECURSE files CONFIGURE_DEPENDS RELATIVE ${root} ${root}/lcache/*.lua)
  list(TRANSFORM files PREPEND ${root}/ OUTPUT_VARIABLE paths)
  set(out ${LC_GEN}/script/embedded.c)
  add_custom_command(
    OUTPUT ${out}
    COMMAND ${CMAKE_COMMAND} -D ROOT=${root} -D "FILES=${files}" -D OUT=${out} -P ${LC_CMAKE_DIR}/embed_lua.cmake
    DEPENDS ${paths} ${LC_CMAKE_DIR}/embed_lua.cmake ${LC_CMAKE_DIR}/hex.cmake
    VERBATIM)
  set(LC_EMBEDDED_LUA_C ${out} PARENT_SCOPE)
endfunction()
