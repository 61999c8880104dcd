# The libraries that lcache stands on, all from Debian's packages. Each becomes PkgConfig::<name>.
find_package(PkgConfig REQUIRED)
set(THREADS_PREFER_PTHREAD_FLAG ON)
find_package(Threads REQUIRED)

function(lc_package name module version)
  pkg_check_modules(${name} IMPORTED_TARGET ${module}>=${version})
  if(NOT ${name}_FOUND)
    message(FATAL_ERROR "${module} ${version} or newer is missing. spec/support/install build installs what the build needs.")
  endif()
endfunction()

lc_package(xxhash libxxhash 0.8)
lc_package(uv libuv 1.44)
lc_package(curl libcurl 7.88)
lc_package(cjson libcjson 1.7)
lc_package(protobuf-c libprotobuf-c 1.4)
lc_package(nghttp2 libnghttp2 1.52)
lc_package(luajit luajit 2.1)

find_program(LC_PROTOC protoc REQUIRED)
find_program(LC_PROTOC_C protoc-c REQUIRED)
